/* A state as bytes. All numbers are little-endian; docs/checkpoints.md has the layout. */
#ifndef PSGD_CORE_CHECKPOINT_FORMAT_H
#define PSGD_CORE_CHECKPOINT_FORMAT_H

#include "core/state.h"

/* What a file says of itself. */
typedef struct psgd_checkpoint_info {
    psgd_error_form_t form;         /* PSGD_ERROR_MEAN; PSGD_ERROR_LOCAL: a file of one worker */
    uint32_t          num_workers;  /* that saved it */
    uint32_t          worker_index; /* PSGD_ERROR_LOCAL: whose it is; else 0 */
    uint64_t          save_id;      /* the same in all files of one save */
} psgd_checkpoint_info_t;

/* *bytes_p is freed by psgd_free(). The state has a step. Errors: PSGD_ERR_HOST_MEMORY, PSGD_ERR_STATE. */
psgd_status_t psgd_checkpoint_encode(const psgd_state_t *state, const psgd_checkpoint_info_t *info,
                                     unsigned char **bytes_p, size_t *count_p);

/* Reads nothing but these bytes, and allocates no more than they hold. `name` is that of the file, in errors. *state_p is freed by
 * psgd_state_destroy(). Errors: PSGD_ERR_FILE where the bytes are not such a file, or damaged; PSGD_ERR_UNSUPPORTED where a newer
 * version wrote it; PSGD_ERR_HOST_MEMORY. */
psgd_status_t psgd_checkpoint_decode(const unsigned char *bytes, size_t count, const char *name,
                                     psgd_checkpoint_info_t *info_p, psgd_state_t **state_p);

/* The file that stands for the files of all workers: the same header, no sections, and form PSGD_ERROR_NONE. */
psgd_status_t psgd_checkpoint_encode_manifest(const psgd_checkpoint_info_t *info, uint64_t step,
                                              unsigned char **bytes_p, size_t *count_p);

#endif

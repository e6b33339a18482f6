/* Checks that the doors of the library share. */
#ifndef PSGD_API_ARGUMENTS_H
#define PSGD_API_ARGUMENTS_H

#include <psgd/psgd.h>

#include "base/log.h"
#include "core/reducer.h"

/* A struct of the caller's, compiled against an older, equal or newer header, as one of this header: what an older one lacks stays as
 * in *known, what a newer one has beyond must be zero. `what` names it in errors, with the macro that initializes it.
 *
 *   given         the caller's struct; its first member is its size
 *   first_bytes   the size of the struct in the first release that had it */
psgd_status_t psgd_copy_struct(const void *given, size_t first_bytes, const char *what, const char *init_macro, void *known,
                               size_t known_bytes);

/* The same for an output: how many bytes may be written to it. */
psgd_status_t psgd_check_output_struct(const void *given, size_t first_bytes, const char *what, const char *init_macro,
                                       size_t known_bytes, size_t *writable_bytes_p);

/* config, or the defaults for NULL, with every option checked that the plan does not check. */
psgd_status_t psgd_read_config(const psgd_config_t *given, psgd_config_t *config_p);

/* num_tensors tensors of the caller's struct size as an array of this header's; freed by psgd_free(). */
psgd_status_t psgd_read_tensors(const psgd_tensor_t *given, size_t num_tensors, psgd_tensor_t **tensors_p);

/* A reducer that no step is under way in (psgd_reducer_submit()); what it still had to wait for has been waited for. */
psgd_status_t psgd_check_idle(psgd_reducer_t *reducer, const char *function);

/* A communicator that can be used: its size, workers and required functions. */
psgd_status_t psgd_check_comm(const psgd_comm_t *comm);

#endif

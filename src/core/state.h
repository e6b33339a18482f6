/* State: host arrays keyed by tensor name, and how a reducer gives and takes them. */
#ifndef PSGD_CORE_STATE_H
#define PSGD_CORE_STATE_H

#include "core/reducer.h"

/* One tensor's part. */
typedef struct psgd_state_entry {
    char    *name;
    uint64_t cols;
    uint32_t rank;         /* 0: no factor */
    float   *factor;       /* cols x rank, row-major */
    uint64_t error_elems;  /* 0: no error */
    float   *error;
} psgd_state_entry_t;

struct psgd_state {
    bool                has_step;
    uint64_t            step, seed;
    uint64_t            half_iterations;
    psgd_state_entry_t *entries;
    size_t              num_entries;
    size_t              capacity;
};

/* The entry of this name, or NULL. */
psgd_state_entry_t *psgd_state_find(const psgd_state_t *state, const char *name);

/* What the reducer holds, as psgd_reducer_export_state() says. With PSGD_ERROR_MEAN a collective, which every worker reaches. */
psgd_status_t psgd_reducer_state_export(psgd_reducer_t *reducer, psgd_error_form_t form, psgd_state_t **state_p);

/* Whether all of it fits. */
psgd_status_t psgd_reducer_state_check(const psgd_reducer_t *reducer, const psgd_state_t *state);

/* All of it, or nothing. */
psgd_status_t psgd_reducer_state_import(psgd_reducer_t *reducer, const psgd_state_t *state);

#endif

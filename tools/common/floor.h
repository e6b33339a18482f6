/* The floor: the moves of memory that a step cannot do without, by kernels that do nothing else. */
#ifndef PSGD_TOOLS_FLOOR_H
#define PSGD_TOOLS_FLOOR_H

#include "gpu.h"

/* Passes over N elements, and what they move in units of N. */
typedef enum floor_form {
    FLOOR_UPDATE_ONLY   = 3, /* no error feedback: read for P, read for Q, write the update */
    FLOOR_LAZY          = 5, /* --finite: add in place (3), read (1), write (1) */
    FLOOR_TRANSACTIONAL = 7  /* the default: add in place (3), read (1), read one and write two (3) */
} floor_form_t;

typedef struct floor {
    const gpu_t *gpu;
    floor_form_t form;
    uint64_t     elems; /* of each array: N, rounded up to whole vectors; 0: there is nothing to do */
    cl_mem       a, b;
    cl_mem       partials, total; /* of the sum */
    size_t       groups;          /* work-groups of a launch */
    size_t       group_items;
    size_t       partial_items; /* of the one work-group that adds up the partials */
} floor_t;

/* Two arrays of N elements. Freed by floor_destroy(), also after an error. */
tool_status_t floor_create(const gpu_t *gpu, floor_form_t form, uint64_t elems, floor_t *floor_p);
void          floor_destroy(floor_t *floor);

/* Enqueues all passes once, and waits for them. */
tool_status_t floor_run(const floor_t *floor);

/* Runs the passes, and compares what the read-and-sum found with what the arrays hold. TOOL_WRONG where it is not that:
 * then the passes do not do what they are timed for. */
tool_status_t floor_check(const floor_t *floor);

#endif

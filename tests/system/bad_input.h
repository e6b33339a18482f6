/* What the tests of bad input share: a good call of everything, of which a test spoils one thing; and the count of cases. */
#ifndef PSGD_TESTS_SYSTEM_BAD_INPUT_H
#define PSGD_TESTS_SYSTEM_BAD_INPUT_H

#include <stdint.h>

#include "support/job.h"
#include "support/suite.h"
#include "support/workers.h"

enum { ROWS = 24, COLS = 40, ELEMS = ROWS * COLS, BENCH_ELEMS = ELEMS + ROWS };

/* ---- cases ---- */

/* One case: the call is refused with exactly this status, and with a sentence of its own that contains `words`. */
#define assert_refused(call_, status_, words_) \
    do { \
        psgd_comm_fail(PSGD_OK, "the sentence of an earlier call"); \
        assert_fails(call_, status_, words_); \
        bad_input_count_case(); \
    } while (0)

/* The same, and no byte of `object` has changed, which the call might have written to. */
#define assert_refused_unwritten(object_, call_, status_, words_) \
    do { \
        unsigned char before_[sizeof(object_)]; \
        memcpy(before_, &(object_), sizeof(object_)); \
        assert_refused(call_, status_, words_); \
        ck_assert_mem_eq(before_, &(object_), sizeof(object_)); \
    } while (0)

/* Called on the main thread, once a case. */
void bad_input_count_case(void);

/* Runs the suite, prints how many cases it tried, and returns what main() returns: failure also where they are fewer than
 * min_cases. */
int bad_input_run(Suite *suite, uint32_t min_cases);

/* For reducers whose failures are expected. */
void ignore_line(psgd_log_level_t level, const char *line, void *user);

/* ---- creation ---- */

/* What psgd_reducer_create() is called with; a test spoils one field. */
typedef struct creation {
    cl_context       context;
    cl_device_id     device;
    cl_command_queue queue;
    psgd_tensor_t    tensors[2];
    size_t           num_tensors;
    psgd_config_t    config;
} creation_t;

/* A matrix 'first.weight', which is compressed with rank 4, and a vector 'second.bias', on worker 0's device. */
creation_t    good_creation(void);
psgd_status_t create(const creation_t *creation, const psgd_comm_t *comm, psgd_reducer_t **reducer_p);

/* ---- one reducer ---- */

/* The reducer of a good creation on the main thread, with everything that a step takes in device memory. */
typedef struct bench {
    psgd_comm_t    *comm;
    psgd_reducer_t *reducer;
    cl_mem          mem;    /* the gradients, one behind the other */
    cl_mem          params; /* parameters, momenta and copies in 16 bits, BENCH_ELEMS floats apart */
    psgd_buffer_t   grads[2];
} bench_t;

bench_t open_bench(void);
bench_t open_bench_on(psgd_comm_t *comm); /* which close_bench() destroys */
void    close_bench(bench_t *bench);

/* One good step of random gradients; out: BENCH_ELEMS. */
void good_step(const bench_t *bench, uint64_t stream, float *out);

/* What psgd_reducer_step_with() is called with, an optimizer included; the members of pointers point into the struct itself. */
typedef struct call {
    psgd_buffer_t       grads[2];
    size_t              num_grads;
    psgd_step_options_t options;
    psgd_optimizer_t    optimizer;
    psgd_buffer_t       params[2], momenta[2], halves[2];
    uint8_t             has_gradient[2];
} call_t;

void good_call(const bench_t *bench, call_t *call_p);

/* After the spoilt calls on `bench`, which has made steps 0 to steps_before - 1 of good_step(), it has the stats, the parameters and, in
 * its next steps, without an optimizer and with one, the bits of a reducer that never saw them. */
void assert_unharmed(bench_t *bench, uint32_t steps_before);

#endif

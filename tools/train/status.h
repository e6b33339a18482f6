/* How psgd-train reports failure: the function that first decides "this is an error" stores a sentence, those above
 * forward the status, and main prints the sentence once. A status is also the exit code, but for the last. */
#ifndef PSGD_TRAIN_STATUS_H
#define PSGD_TRAIN_STATUS_H

#include <psgd/psgd.h>

typedef enum train_status {
    TRAIN_OK     = 0,
    TRAIN_FAILED = 1, /* the data, the device, the workers or the training */
    TRAIN_USAGE  = 2, /* the command line */

    TRAIN_ALL_FAILED = 3 /* TRAIN_FAILED where every worker knows that all have failed alike; not an exit code */
} train_status_t;

/* Stores the sentence and returns `status`. */
train_status_t train_fail(train_status_t status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The last sentence stored; "" before any. */
const char *train_last_error(void);

/* TRAIN_OK where `result` is PSGD_OK; else TRAIN_FAILED with "<doing>: <the library's sentence>". */
train_status_t train_check(psgd_status_t result, const char *doing);

/* *memory_p = count zeroed elements of elem_bytes each (at least one byte); freed by free(). `what` names it in the
 * sentence. */
train_status_t train_alloc(size_t count, size_t elem_bytes, const char *what, void *memory_pp);

#endif

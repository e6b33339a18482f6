/* --selftest: the library's known answers, and compressed steps against the double precision reference. */
#ifndef PSGD_DEVICEQUERY_SELFTEST_H
#define PSGD_DEVICEQUERY_SELFTEST_H

#include <stdbool.h>

#include <psgd/psgd.h>

/* Deviations are maxima over all elements, relative to the largest element of gradient plus error memory. fp32 leaves some
 * 1e-7; a wrong formula leaves 1e-2 and more. */
#define SELFTEST_BOUND 2e-5

typedef struct selftest {
    psgd_selftest_t known;            /* what psgd_device_selftest() found */
    unsigned        steps;            /* compressed steps that were run */
    double          update_deviation; /* of the updates */
    double          error_deviation;  /* of the error memories after the last step */
    double          plain_deviation;  /* of the tensors that are not compressed */
    bool            passed;
    char            message[4096]; /* where something could not be run: why; else "" */
} selftest_t;

/* Never fails as a call: what goes wrong is in the result. */
selftest_t selftest_run(const psgd_device_info_t *info);

#endif

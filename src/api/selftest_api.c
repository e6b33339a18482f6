/* The public door of the self-test. */
#include <string.h>

#include <psgd/psgd.h>

#include "api/arguments.h"
#include "base/status.h"
#include "ops/selftest.h"

/* The struct as it was first released ends behind `passed`. */
enum { FIRST_SELFTEST_BYTES = offsetof(psgd_selftest_t, passed) + sizeof(((psgd_selftest_t *)0)->passed) };

psgd_status_t psgd_device_selftest(cl_device_id device, psgd_selftest_t *selftest_p)
{
    psgd_selftest_t found          = PSGD_SELFTEST_INIT;
    size_t          writable_bytes = 0;
    psgd_status_t   status;

    if (device == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_device_selftest: device is NULL: take one from psgd_device_find()");
    }
    if (selftest_p == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_device_selftest: selftest_p is NULL");
    }
    status = psgd_check_output_struct(selftest_p, FIRST_SELFTEST_BYTES, "psgd_device_selftest: selftest_p",
                                      "PSGD_SELFTEST_INIT", sizeof(found), &writable_bytes);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_selftest_run(device, &found);
    if (status != PSGD_OK) {
        return psgd_fail_in(status, "psgd_device_selftest");
    }
    found.struct_size = selftest_p->struct_size;
    memcpy(selftest_p, &found, writable_bytes);
    return PSGD_OK;
}

/* A device whose arithmetic is wrong, as lying_layer.c makes it, is found out before a worker relies on it. */
#include <string.h>

#include "support/job.h"
#include "support/suite.h"
#include "support/workers.h"

static psgd_status_t create(worker_t *worker)
{
    psgd_tensor_t   tensor  = job_tensor("w", 24, 20);
    psgd_config_t   config  = PSGD_CONFIG_INIT;
    psgd_reducer_t *reducer = NULL;
    psgd_status_t   status;

    config.rank   = 2;
    config.engine = PSGD_ENGINE_FUSED;
    status        = psgd_reducer_create(worker->device->context, worker->device->id, worker->device->queue, &tensor, 1,
                                        &config, worker->comm, &reducer);
    psgd_reducer_destroy(reducer);
    return status;
}

START_TEST(create__refuses_a_device_that_forms_updates_wrongly)
{
    worker_outcome_t outcomes[WORKERS_MAX];

    workers_try(2, create, NULL, outcomes);
    for (uint32_t w = 0; w < 2; ++w) {
        ck_assert_int_eq(outcomes[w].status, PSGD_ERR_DEVICE_UNSUITABLE);
        ck_assert_ptr_nonnull(strstr(outcomes[w].sentence, "forms updates wrongly"));
    }
}
END_TEST

START_TEST(create__alone_may_drift_from_nobody)
{
    workers_run(1, create, NULL);
}
END_TEST

START_TEST(selftest__says_that_it_did_not_pass)
{
    psgd_selftest_t found = PSGD_SELFTEST_INIT;

    ck_assert_int_eq(psgd_device_selftest(workers_device(0)->id, &found), PSGD_OK);
    ck_assert_int_eq(found.passed, 0);
    ck_assert_uint_gt(found.update_wrong, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wrong_device");
    TCase *tcase = tcase_create("fma");
    int    result;

    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, create__refuses_a_device_that_forms_updates_wrongly);
    tcase_add_test(tcase, create__alone_may_drift_from_nobody);
    tcase_add_test(tcase, selftest__says_that_it_did_not_pass);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}

#include "support/suite.h"

#include <stdlib.h>

int psgd_run_suite(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    int      failed;

    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int psgd_test_shapes_are_reduced(void)
{
    const char *shapes = getenv("PSGD_TEST_SHAPES");

    return (shapes != NULL) && (strcmp(shapes, "reduced") == 0);
}

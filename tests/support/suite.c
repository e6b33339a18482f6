#include "support/suite.h"

#include <stdlib.h>

/* In place of Check's _mark_point(), by the linker's --wrap: every assertion that holds would write where it stands into a file, for
 * a process that waits for this one. There is none here, and tests make millions of assertions. */
void __wrap__mark_point(const char *file, int line);

void __wrap__mark_point(const char *file, int line)
{
    (void)file;
    (void)line;
}

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

/*
 * unit.h: what every tests/unit/check_<module>.c ends with. Prints TAP through Check (the environment
 * that make check sets), one line per test function; run by hand it prints Check's own summary.
 *
 *     START_TEST(grows) { ... } END_TEST
 *
 *     static void add_tests(TCase *tc) { tcase_add_test(tc, grows); }
 *     UNIT_MAIN("buf", add_tests)
 */
#ifndef CB_UNIT_H
#define CB_UNIT_H

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A test that is to end its process can only run in one of its own (make check-valgrind has one for all). */
static inline bool unit_forks(void)
{
    const char *fork = getenv("CK_FORK");
    return !fork || strcmp(fork, "no") != 0;
}

/*
 * Runs the tests that add_tests() puts into one case named after the module; returns the exit status.
 * With TAP that is success even when tests failed, since the lines have said so: the driver would count
 * another status as one more failure.
 */
static inline int unit_run(const char *module, void (*add_tests)(TCase *))
{
    Suite *suite = suite_create(module);
    TCase *tc = tcase_create(module);
    tcase_set_timeout(tc, 60);
    add_tests(tc);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 || getenv("CK_TAP_LOG_FILE_NAME") != NULL ? EXIT_SUCCESS : EXIT_FAILURE;
}

#define UNIT_MAIN(module, add_tests)                                                               \
    int main(void)                                                                                 \
    {                                                                                              \
        return unit_run(module, add_tests);                                                        \
    }

#endif

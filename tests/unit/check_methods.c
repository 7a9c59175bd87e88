/*
 * check_methods.c: common/methods and common/nearest.
 */
#include "common/compat.h"
#include "common/methods.h"
#include "common/nearest.h"

#include "tests/unit/unit.h"

START_TEST(each_method_is_found_by_its_name)
{
    for (int i = 0; i < METHOD_COUNT; i++)
        ck_assert_int_eq(methods_find(methods[i].name), i);
    ck_assert_int_eq(methods_find(""), -1);
    ck_assert_int_eq(methods_find("task.creat"), -1);
    ck_assert_int_eq(methods_find("task.createx"), -1);
}
END_TEST

START_TEST(what_finishes_work_also_writes)
{
    for (int i = 0; i < METHOD_COUNT; i++) {
        if (methods[i].flags & (METHOD_FINISHES | METHOD_CREATES | METHOD_BATCH))
            ck_assert_msg(methods[i].flags & METHOD_WRITE, "%s", methods[i].name);
        ck_assert_msg(!(methods[i].flags & METHOD_FINISHES) || !(methods[i].flags & METHOD_CREATES),
                      "%s", methods[i].name);
    }
}
END_TEST

START_TEST(a_typing_error_has_a_neighbour)
{
    ck_assert_str_eq(methods_nearest("task.creat"), "task.create");
    ck_assert_str_eq(methods_nearest("taskcreate"), "task.create");
    ck_assert_str_eq(methods_nearest("system.helth"), "system.health");
    ck_assert_ptr_null(methods_nearest("completely.different"));
    ck_assert_ptr_null(methods_nearest(""));
}
END_TEST

static const char *word_at(size_t i, const void *arg)
{
    const char *const *words = arg;
    return words[i];
}

START_TEST(the_nearest_word_is_the_one_with_the_fewest_edits)
{
    static const char *const words[] = {"status", "stop", "start", NULL};
    char huge[200];

    ck_assert_str_eq(nearest_name("statu", word_at, words), "status");
    ck_assert_str_eq(nearest_name("stpo", word_at, words), "stop");
    ck_assert_str_eq(nearest_name("strat", word_at, words), "start");
    memset(huge, 's', sizeof huge - 1);
    huge[sizeof huge - 1] = '\0';
    ck_assert_ptr_null(nearest_name(huge, word_at, words));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, each_method_is_found_by_its_name);
    tcase_add_test(tc, what_finishes_work_also_writes);
    tcase_add_test(tc, a_typing_error_has_a_neighbour);
    tcase_add_test(tc, the_nearest_word_is_the_one_with_the_fewest_edits);
}
UNIT_MAIN("methods", add_tests)

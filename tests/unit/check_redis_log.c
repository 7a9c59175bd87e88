/*
 * check_redis_log.c: supervisor/redis_log: what a server that did not start has said.
 */
#include "common/compat.h"
#include "supervisor/redis_log.h"

#include "tests/unit/unit.h"

#include <fcntl.h>

static char path[] = "/tmp/check_redis_log.XXXXXX";

#define START                                                                                      \
    "8:C 21 Nov 2026 21:42:58.413 # oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo\n"               \
    "8:C 21 Nov 2026 21:42:58.413 # Redis version=7.0.15, bits=64, commit=00000000\n"              \
    "8:C 21 Nov 2026 21:42:58.413 # Configuration loaded\n"                                        \
    "8:M 21 Nov 2026 21:42:58.413 * monotonic clock: POSIX clock_gettime\n"                        \
    "8:M 21 Nov 2026 21:42:58.413 # Server initialized\n"                                          \
    "8:M 21 Nov 2026 21:42:58.414 # WARNING Memory overcommit must be enabled!\n"
#define BAD                                                                                        \
    "8:M 21 Nov 2026 21:42:58.414 # Bad file format reading the append only file a.incr.aof: "     \
    "make a backup of your AOF file, then use ./redis-check-aof --fix <filename.manifest>\n"

static void append(const char *text)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void setup(void)
{
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void teardown(void)
{
    unlink(path);
    memcpy(path + sizeof path - 7, "XXXXXX", 6);
}

static const char *words_since(int64_t mark)
{
    static struct buf out = BUF_INIT;

    buf_reset(&out);
    redis_log_last_words(path, mark, &out);
    return buf_peek(&out);
}

START_TEST(a_start_that_goes_well_says_nothing)
{
    append(START "8:M 21 Nov 2026 21:42:58.415 * Ready to accept connections\n");
    ck_assert_str_eq(words_since(0), "");
}
END_TEST

START_TEST(the_reason_is_the_last_warning)
{
    append(START BAD);
    ck_assert(strncmp(words_since(0), "Bad file format reading", 23) == 0);
    ck_assert(redis_log_blames_data(words_since(0)));
}
END_TEST

START_TEST(two_at_most_and_the_last_line_may_be_unfinished)
{
    append(START "1:M 21 # first\n1:M 21 # second\n1:M 21 # third");
    ck_assert_str_eq(words_since(0), "second; third");
}
END_TEST

START_TEST(what_an_earlier_start_said_does_not_count)
{
    append(START BAD);
    int64_t mark = redis_log_mark(path);
    append(START "8:M 21 Nov 2026 21:42:58.415 # Can't chdir to '/x': Permission denied\n");
    ck_assert_str_eq(words_since(mark), "Can't chdir to '/x': Permission denied");
    ck_assert(!redis_log_blames_data(words_since(mark)));
    ck_assert_str_eq(words_since(redis_log_mark(path)), "");
}
END_TEST

START_TEST(a_long_log_and_long_lines_are_cut)
{
    char line[1000];

    memset(line, 'x', sizeof line);
    memcpy(line, "1:M 21 # ", 9);
    line[sizeof line - 2] = '\n';
    line[sizeof line - 1] = '\0';
    for (int i = 0; i < 200; i++)
        append(line);
    ck_assert_uint_eq(strlen(words_since(0)), 2 * 240 + 2);
}
END_TEST

START_TEST(no_log_no_words)
{
    unlink(path);
    ck_assert_int_eq(redis_log_mark(path), 0);
    ck_assert_str_eq(words_since(0), "");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_start_that_goes_well_says_nothing);
    tcase_add_test(tc, the_reason_is_the_last_warning);
    tcase_add_test(tc, two_at_most_and_the_last_line_may_be_unfinished);
    tcase_add_test(tc, what_an_earlier_start_said_does_not_count);
    tcase_add_test(tc, a_long_log_and_long_lines_are_cut);
    tcase_add_test(tc, no_log_no_words);
}

UNIT_MAIN("redis_log", add_tests)

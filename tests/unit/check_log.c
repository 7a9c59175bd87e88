/*
 * check_log.c: common/log: how lines look, that values cannot forge them, how many there are, where
 * they go.
 */
#include "common/compat.h"
#include "common/log.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/mem.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>

/* 2026-11-21T18:20:00.123Z */
static const int64_t wall_us = INT64_C(1795285200123000);

/* The clock moves on from test to test, because the log counts lines by it. */
static int64_t mono_us;

static char path[] = "/tmp/check_log.XXXXXX";

static void open_log(enum log_level level, enum log_format format)
{
    const struct log_settings settings = {level, format, path};
    struct cb_error err;
    ck_assert_msg(log_open(&settings, &err) == 0, "%s", err.text);
}

static void setup(void)
{
    memcpy(path + sizeof path - 7, "XXXXXX", 6);
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    unsetenv("JOURNAL_STREAM");
    mono_us += 1000 * INT64_C(1000000);
    clock_fake_set(mono_us, wall_us);
    log_ident("claudebenchd", NULL);
    open_log(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
}

static void teardown(void)
{
    log_close();
    unlink(path);
    clock_fake_stop();
}

/* What the log file holds, then empties it; the caller frees. */
static char *taken_from(const char *file)
{
    struct buf text = BUF_INIT;
    int fd = open(file, O_RDWR);
    ck_assert_int_ge(fd, 0);
    for (;;) {
        ssize_t n = read(fd, buf_reserve(&text, 4096), 4096);
        ck_assert_int_ge(n, 0);
        if (n == 0)
            break;
        text.len += (size_t)n;
        text.data[text.len] = '\0';
    }
    ck_assert_int_eq(ftruncate(fd, 0), 0);
    close(fd);
    return buf_take(&text);
}

static void wrote(const char *expected)
{
    char *text = taken_from(path);
    ck_assert_str_eq(text, expected);
    free(text);
}

/* The one line that was written, behind its head. */
static void wrote_fields(const char *expected)
{
    char *line = mem_printf("2026-11-21T18:20:00.123Z warn claudebenchd[%d] event=child_died%s\n",
                            (int)getpid(), expected);
    wrote(line);
    free(line);
}

START_TEST(a_line)
{
    char *line = mem_printf(
        "2026-11-21T18:20:00.123Z warn claudebenchd[%d] event=child_died service=task pid=12 "
        "load=0.25 password=***\n",
        (int)getpid());
    log_event(EV_child_died, LOG_S("service", "task"), LOG_I("pid", 12), LOG_F("load", 0.25),
              LOG_SECRET("password"));
    wrote(line);
    free(line);
    log_event(EV_child_died);
    wrote_fields("");
}
END_TEST

START_TEST(context_is_in_every_line)
{
    char *line = mem_printf("2026-11-21T18:20:00.123Z warn claudebench-worker[%d] event=child_died "
                            "context=a/task/0.1\n",
                            (int)getpid());
    log_ident("claudebench-worker", "a/task/0.1");
    log_event(EV_child_died);
    wrote(line);
    free(line);
}
END_TEST

START_TEST(values_are_quoted)
{
    static const char *const rows[][2] = {
        {"plain", " v=plain"},
        {"/a/b-c_d:1.2", " v=/a/b-c_d:1.2"},
        {"\xc3\xa4", " v=\xc3\xa4"},
        {"", " v=\"\""},
        {"two words", " v=\"two words\""},
        {"a=b", " v=\"a=b\""},
        {"say \"x\"", " v=\"say \\\"x\\\"\""},
        {"a\\b", " v=\"a\\\\b\""},
        {"x\nwarn event=forged", " v=\"x\\nwarn event=forged\""},
        {"\r\t", " v=\"\\r\\t\""},
        {"\x1b[31m", " v=\"\\x1b[31m\""},
        {"\xc2\x9b"
         "31m",
         " v=\"\\xc2\\x9b31m\""},
        {"\xff\xfe", " v=\"\\xff\\xfe\""},
        {"\xe2\x80\xae", " v=\"\\xe2\\x80\\xae\""},
        {"%s%n", " v=%s%n"},
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(rows); i++) {
        clock_fake_set(mono_us + (int64_t)i * 1000000, wall_us);
        log_event(EV_child_died, LOG_S("v", rows[i][0]));
        wrote_fields(rows[i][1]);
    }
}
END_TEST

START_TEST(other_values)
{
    log_event(EV_child_died, LOG_S("none", NULL), LOG_SN("cut", "abcdef", 3),
              LOG_SN("nul", "a\0b", 3));
    wrote_fields(" none=- cut=abc nul=\"a\\x00b\"");
    log_event(EV_child_died, LOG_I("min", INT64_MIN), LOG_I("max", INT64_MAX), LOG_F("nan", NAN),
              LOG_F("inf", INFINITY));
    wrote_fields(" min=-9223372036854775808 max=9223372036854775807 nan=- inf=-");
}
END_TEST

START_TEST(long_values_are_cut)
{
    char *long_text = mem_alloc(10001);
    struct buf expected = BUF_INIT;
    memset(long_text, 'x', 10000);
    memcpy(long_text + 2047, "\xc3\xa4", 2); /* would be cut in two */
    buf_puts(&expected, " v=\"");
    buf_append(&expected, long_text, 2047);
    buf_puts(&expected, "… (10000 bytes)\"");
    log_event(EV_child_died, LOG_S("v", long_text));
    wrote_fields(buf_peek(&expected));
    buf_done(&expected);
    free(long_text);
}
END_TEST

START_TEST(json_lines)
{
    char *line = mem_printf(
        "{\"time\":\"2026-11-21T18:20:00.123Z\",\"level\":\"warn\",\"program\":\"claudebenchd\","
        "\"process\":%d,\"event\":\"child_died\",\"a\":\"q\\\"\\\\ \\u000a\\u001b\\u009b\\u202e"
        "\\ufffd \xc3\xa4\",\"n\":5,\"f\":0.5,\"nan\":null,\"none\":null,\"secret\":\"***\"}\n",
        (int)getpid());
    open_log(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    log_event(EV_child_died, LOG_S("a", "q\"\\ \n\x1b\xc2\x9b\xe2\x80\xae\xff \xc3\xa4"),
              LOG_I("n", 5), LOG_F("f", 0.5), LOG_F("nan", NAN), LOG_S("none", NULL),
              LOG_SECRET("secret"));
    wrote(line);
    free(line);
}
END_TEST

START_TEST(levels)
{
    ck_assert(log_is_wanted(EV_daemon_started));
    ck_assert(!log_is_wanted(EV_worker_started));
    log_event(EV_worker_started);
    wrote("");
    open_log(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    ck_assert_int_eq(log_get_level(), LOG_LEVEL_ERROR);
    log_event(EV_child_died);
    wrote("");
    log_set_subsystem_level(LOG_SUBSYSTEM_children, LOG_LEVEL_INFO);
    ck_assert(log_is_wanted(EV_child_started));
    ck_assert(log_is_wanted(EV_drain_finished)); /* the last row of children */
    ck_assert(!log_is_wanted(EV_config_loaded));
    ck_assert(!log_is_wanted(EV_instance_registered));
    log_set_subsystem_level(LOG_SUBSYSTEM_cluster, LOG_LEVEL_DEBUG);
    ck_assert(log_is_wanted(EV_tasks_assigned));
    for (int i = 0; i < LOG_SUBSYSTEMS; i++) {
        ck_assert_int_eq(log_subsystem_find(log_subsystem_name((enum log_subsystem)i)), i);
        log_set_subsystem_level((enum log_subsystem)i, -1);
    }
    ck_assert_int_eq(log_subsystem_find("none"), -1);
    ck_assert_int_eq(log_level_find("info"), LOG_LEVEL_INFO);
    ck_assert_int_eq(log_level_find("loud"), -1);
    ck_assert(!log_is_wanted(EV_child_started));
    open_log(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
    log_event(EV_worker_started);
    char *text = taken_from(path);
    ck_assert_ptr_nonnull(strstr(text, " debug claudebenchd["));
    free(text);
}
END_TEST

static size_t lines_of(char *text)
{
    size_t n = 0;
    for (const char *c = text; *c; c++)
        n += *c == '\n';
    free(text);
    return n;
}

START_TEST(repeated_lines_are_counted)
{
    for (int i = 0; i < 1000; i++)
        log_event(EV_redis_lost, LOG_I("i", i));
    ck_assert_uint_eq(lines_of(taken_from(path)), LOG_EVENTS_PER_SECOND);
    log_event(EV_child_died); /* another event has its own allowance */
    wrote_fields("");

    clock_fake_set(mono_us + 999999, wall_us);
    log_event(EV_redis_lost);
    wrote("");
    clock_fake_set(mono_us + 1000000, wall_us);
    log_event(EV_redis_lost);
    char *text = taken_from(path);
    ck_assert_ptr_nonnull(strstr(text, "event=redis_lost suppressed=996\n"));
    free(text);
    log_event(EV_redis_lost);
    text = taken_from(path);
    ck_assert_ptr_null(strstr(text, "suppressed"));
    free(text);
}
END_TEST

START_TEST(trouble_that_goes_on)
{
    struct log_repeat r = {0};
    unsigned times = 0;

    clock_fake_set(5000000, 0);
    ck_assert(log_repeat_may(&r, "no room", &times));
    ck_assert_uint_eq(times, 1);
    for (int i = 0; i < 10; i++)
        ck_assert(!log_repeat_may(&r, "no room", &times));
    ck_assert(log_repeat_may(&r, "no right", &times)); /* that is news */
    ck_assert_uint_eq(times, 1);
    ck_assert(!log_repeat_may(&r, "no right", NULL));
    clock_fake_advance_us(LOG_REPEAT_MS * INT64_C(1000) - 1000);
    ck_assert(!log_repeat_may(&r, "no right", NULL));
    clock_fake_advance_us(1000);
    ck_assert(log_repeat_may(&r, "no right", &times));
    ck_assert_uint_eq(times, 3);
    log_repeat_over(&r);
    ck_assert(log_repeat_may(&r, "no right", NULL));
    clock_fake_stop();
}
END_TEST

START_TEST(rotation)
{
    char *old = mem_printf("%s.1", path);
    ck_assert_int_eq(rename(path, old), 0);
    log_event(EV_child_died);
    ck_assert_uint_eq(lines_of(taken_from(old)), 1);
    ck_assert_int_eq(log_reopen(NULL), 0);
    log_event(EV_child_died);
    ck_assert_uint_eq(lines_of(taken_from(path)), 1);
    ck_assert_uint_eq(lines_of(taken_from(old)), 0);

    /* A name that cannot be opened: the old file stays. */
    struct cb_error err;
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(unlink(old), 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(log_reopen(&err), -1);
    ck_assert_int_eq(err.code, EISDIR);
    log_event(EV_child_died);
    ck_assert_int_eq(rmdir(path), 0);
    free(old);
}
END_TEST

START_TEST(a_bad_destination_changes_nothing)
{
    struct cb_error err;
    struct log_settings settings = {LOG_LEVEL_DEBUG, LOG_FORMAT_JSON, "/nonexistent/x.log"};
    ck_assert_int_eq(log_open(&settings, &err), -1);
    ck_assert_int_eq(err.code, ENOENT);
    settings.destination = "nowhere";
    ck_assert_int_eq(log_open(&settings, &err), -1);
    ck_assert_int_eq(log_get_level(), LOG_LEVEL_INFO);
    log_event(EV_child_died);
    wrote_fields("");
}
END_TEST

START_TEST(errno_is_kept)
{
    errno = ENOTTY;
    log_event(EV_child_died);
    ck_assert_int_eq(errno, ENOTTY);
}
END_TEST

/* Runs one event with stderr in the log file and gives back the text. */
static char *said_on_stderr(void)
{
    int saved = dup(STDERR_FILENO);
    int fd = open(path, O_WRONLY | O_APPEND);
    const struct log_settings settings = {LOG_LEVEL_INFO, LOG_FORMAT_TEXT, NULL};
    ck_assert_int_ge(saved, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(log_open(&settings, NULL), 0);
    dup2(fd, STDERR_FILENO);
    log_event(EV_child_died, LOG_S("x", "y"));
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fd);
    return taken_from(path);
}

START_TEST(the_journal_gets_priorities)
{
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    char *ours = mem_printf("%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    setenv("JOURNAL_STREAM", ours, 1);
    char *text = said_on_stderr();
    ck_assert_str_eq(text, "<4>warn event=child_died x=y\n");
    free(text);

    setenv("JOURNAL_STREAM", "1:1", 1); /* stderr was redirected since */
    text = said_on_stderr();
    ck_assert_int_eq(text[0], '2'); /* the year */
    free(text);
    setenv("JOURNAL_STREAM", "nonsense", 1);
    text = said_on_stderr();
    ck_assert_int_eq(text[0], '2'); /* the year */
    free(text);
    unsetenv("JOURNAL_STREAM");
    free(ours);
}
END_TEST

START_TEST(tables)
{
    for (int ev = 0; ev < EV_COUNT; ev++) {
        const char *text = log_event_text((enum log_event)ev);
        size_t len = strlen(text);
        ck_assert_msg(len > 10 && text[len - 1] == '.', "%s", log_event_name((enum log_event)ev));
        ck_assert_ptr_nonnull(log_level_name(log_event_level((enum log_event)ev)));
    }
    ck_assert_str_eq(log_level_name(LOG_LEVEL_WARN), "warn");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_line);
    tcase_add_test(tc, context_is_in_every_line);
    tcase_add_test(tc, values_are_quoted);
    tcase_add_test(tc, other_values);
    tcase_add_test(tc, long_values_are_cut);
    tcase_add_test(tc, json_lines);
    tcase_add_test(tc, levels);
    tcase_add_test(tc, repeated_lines_are_counted);
    tcase_add_test(tc, trouble_that_goes_on);
    tcase_add_test(tc, rotation);
    tcase_add_test(tc, a_bad_destination_changes_nothing);
    tcase_add_test(tc, errno_is_kept);
    tcase_add_test(tc, the_journal_gets_priorities);
    tcase_add_test(tc, tables);
}

UNIT_MAIN("log", add_tests)

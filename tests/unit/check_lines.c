/*
 * check_lines.c: reading lines in constant memory.
 */
#include "common/compat.h"
#include "unit.h"

#include "client/lines.h"

#include <sys/mman.h>

static int file_with(const char *data, size_t len)
{
    int fd = memfd_create("lines", MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq((int)write(fd, data, len), (int)len);
    lseek(fd, 0, SEEK_SET);
    return fd;
}

static void expect(struct lines *l, const char *want)
{
    const char *line;
    size_t len;
    ck_assert(lines_next(l, &line, &len));
    if (!want) {
        ck_assert_ptr_null(line);
        return;
    }
    ck_assert_uint_eq(len, strlen(want));
    ck_assert(memcmp(line, want, len) == 0);
}

static void expect_end(struct lines *l)
{
    const char *line;
    size_t len;
    ck_assert(!lines_next(l, &line, &len));
    ck_assert_int_eq(l->error, 0);
    close(l->fd);
    lines_done(l);
}

START_TEST(lines_of_all_kinds)
{
    static const char data[] = "\xef\xbb\xbf"
                               "one\n\ntwo\r\n\xef\xbb\xbfthree";
    struct lines l;
    lines_init(&l, file_with(data, sizeof data - 1), 100);
    expect(&l, "one");
    expect(&l, "");
    expect(&l, "two\r");
    expect(&l, "\xef\xbb\xbfthree");
    ck_assert_int_eq(l.number, 4);
    ck_assert_int_eq(l.offset, (int64_t)sizeof data - 1);
    expect_end(&l);
}
END_TEST

START_TEST(nothing)
{
    struct lines l;
    lines_init(&l, file_with("", 0), 100);
    expect_end(&l);
}
END_TEST

/* A line over the limit is told and skipped, and memory stays small whatever its length. */
START_TEST(a_line_that_is_too_long)
{
    struct buf data = BUF_INIT;
    struct lines l;
    buf_puts(&data, "first\n");
    for (int i = 0; i < 3000000; i++)
        buf_putc(&data, 'x');
    buf_puts(&data, "\nlast\n");
    lines_init(&l, file_with(data.data, data.len), 1000);
    expect(&l, "first");
    expect(&l, NULL);
    ck_assert_int_eq(l.number, 2);
    expect(&l, "last");
    ck_assert_uint_lt(l.data.cap, 300000);
    expect_end(&l);
    buf_done(&data);
}
END_TEST

START_TEST(the_limit_itself)
{
    struct lines l;
    lines_init(&l, file_with("12345\n123456\n12345", 18), 5);
    expect(&l, "12345");
    expect(&l, NULL);
    expect(&l, "12345");
    expect_end(&l);
}
END_TEST

START_TEST(a_folder_cannot_be_read)
{
    struct lines l;
    const char *line;
    size_t len;
    FILE *f = fopen("/", "r");
    ck_assert_ptr_nonnull(f);
    lines_init(&l, fileno(f), 5);
    ck_assert(!lines_next(&l, &line, &len));
    ck_assert_int_eq(l.error, EISDIR);
    fclose(f);
    lines_done(&l);
}
END_TEST

START_TEST(ready_means_no_waiting)
{
    int ends[2];
    struct lines l;
    const char *line;
    size_t len;

    ck_assert_int_eq(pipe(ends), 0);
    lines_init(&l, ends[0], 10);
    ck_assert(!lines_is_ready(&l));
    ck_assert_int_eq(write(ends[1], "one\ntw", 6), 6);
    ck_assert(lines_is_ready(&l));
    ck_assert(lines_next(&l, &line, &len) && len == 3);
    ck_assert(!lines_is_ready(&l)); /* half a line */
    ck_assert_int_eq(write(ends[1], "o\n", 2), 2);
    ck_assert(lines_is_ready(&l));
    ck_assert(lines_next(&l, &line, &len) && len == 3);
    ck_assert_int_eq(write(ends[1], "longer than ten", 15), 15);
    ck_assert(lines_is_ready(&l)); /* to be dropped, whatever comes */
    ck_assert_int_eq(write(ends[1], "\n", 1), 1);
    ck_assert(lines_next(&l, &line, &len) && !line);
    close(ends[1]);
    ck_assert(lines_is_ready(&l)); /* for its end */
    ck_assert(!lines_next(&l, &line, &len));
    close(ends[0]);
    lines_done(&l);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, lines_of_all_kinds);
    tcase_add_test(tc, nothing);
    tcase_add_test(tc, a_line_that_is_too_long);
    tcase_add_test(tc, the_limit_itself);
    tcase_add_test(tc, a_folder_cannot_be_read);
    tcase_add_test(tc, ready_means_no_waiting);
}

UNIT_MAIN("lines", add_tests)

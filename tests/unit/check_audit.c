/*
 * check_audit.c: common/audit_chain and supervisor/audit_file: lines that are made and checked, and a file that is cut, changed
 * or taken away in every way.
 */
#include "common/compat.h"
#include "common/audit_chain.h"

#include "supervisor/audit_file.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static char dir[] = "/tmp/cb-audit-XXXXXX";
static char path[64];

static void setup(void)
{
    memcpy(dir + sizeof dir - 7, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/audit.jsonl", dir);
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

static void put(struct audit_position *p, const char *data, struct buf *out)
{
    char id[STREAM_ID_SIZE];

    snprintf(id, sizeof id, "1795309243791-%" PRId64, p->n + 1);
    struct audit_entry e = {.id = id,
                            .n = p->n + 1,
                            .kind = {"hook.pre_tool", 13},
                            .at_ms = 1795309243791,
                            .data = {data, strlen(data)}};
    audit_chain_put(p, &e, out);
}

static void put_many(struct audit_position *p, int n, struct buf *out)
{
    for (int i = 0; i < n; i++)
        put(p, "{\"decision\":\"deny\"}", out);
}

static void write_file(const char *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
    close(fd);
}

/* ---- lines ---- */

START_TEST(a_line_is_as_the_manual_says)
{
    struct audit_position p;
    struct audit_line line;
    struct buf out = BUF_INIT;

    audit_position_init(&p);
    put(&p, "{\"a\":\n[1,\r 2]}", &out);
    ck_assert_str_eq(
        out.data,
        "{\"seq\":1,\"n\":1,\"id\":\"1795309243791-1\",\"kind\":\"hook.pre_tool\","
        "\"at\":\"2026-11-22T01:00:43.791Z\",\"data\":{\"a\": [1,  2]},"
        "\"prev\":\"0000000000000000000000000000000000000000000000000000000000000000\","
        "\"hash\":\"aed6069a5ac6b5f8c20f05c25c5ae28e05be232e31c4765295ab2425f5e6715d\"}\n");
    ck_assert_ptr_null(audit_chain_check(out.data, out.len - 1, &line));
    ck_assert_int_eq(line.at.seq, 1);
    ck_assert_str_eq(line.at.hash, p.hash);
    ck_assert(json_string_equals(line.kind, "hook.pre_tool"));
    buf_done(&out);
}
END_TEST

/* No byte of a line can be another one. */
START_TEST(every_changed_byte_is_found)
{
    struct audit_position p;
    struct audit_line line;
    struct buf out = BUF_INIT;

    audit_position_init(&p);
    put(&p, "{\"a\":\"b\",\"c\":[1.5,true,null]}", &out);
    for (size_t i = 0; i + 1 < out.len; i++)
        for (int bit = 0; bit < 8; bit++) {
            out.data[i] = (char)(out.data[i] ^ (1 << bit));
            ck_assert_ptr_nonnull(audit_chain_check(out.data, out.len - 1, &line));
            out.data[i] = (char)(out.data[i] ^ (1 << bit));
        }
    for (size_t len = 0; len < out.len - 1; len++)
        ck_assert_ptr_nonnull(audit_chain_check(out.data, len, &line));
    ck_assert_ptr_null(audit_chain_check(out.data, out.len - 1, &line));
    buf_done(&out);
}
END_TEST

START_TEST(data_that_is_no_json_is_a_string)
{
    static const char *const all[] = {"",         "{",   "{}{}", "{\"a\":1,\"a\":2}",
                                      "\xff\xfe", "nul", "\n",   "\"\n\""};
    struct audit_line line;

    for (size_t i = 0; i < CB_ARRAY_LEN(all); i++) {
        struct audit_position p;
        struct buf out = BUF_INIT;
        audit_position_init(&p);
        put(&p, all[i], &out);
        ck_assert_ptr_null(audit_chain_check(out.data, out.len - 1, &line));
        ck_assert_int_eq(json_type_of(line.data), JSON_STRING);
        ck_assert_ptr_eq(memchr(out.data, '\n', out.len), out.data + out.len - 1);
        buf_done(&out);
    }
}
END_TEST

START_TEST(ids_are_numbers)
{
    ck_assert_int_lt(stream_id_compare_texts("9-0", "10-0"), 0);
    ck_assert_int_lt(stream_id_compare_texts("10-9", "10-10"), 0);
    ck_assert_int_eq(stream_id_compare_texts("10", "10-0"), 0);
    ck_assert_int_gt(stream_id_compare_texts("18446744073709551615-1", "18446744073709551614-9"),
                     0);
}
END_TEST

START_TEST(positions_are_read_as_they_are_written)
{
    static const char *const bad[] = {"",          "1 2 3-4",     "1 2 3 0000",
                                      "x 1 0-0 0", "-1 1 0-0 00", "1 1 0-0 zz",
                                      "1 1 -0 00", "1 1 0-0-0 00"};
    struct audit_position p, q;
    struct buf out = BUF_INIT;

    audit_position_init(&p);
    put_many(&p, 3, &out);
    buf_reset(&out);
    audit_position_put(&p, &out);
    ck_assert_int_eq(audit_position_parse(out.data, &q), 0);
    ck_assert_int_eq(memcmp(&p.seq, &q.seq, sizeof p.seq), 0);
    ck_assert_str_eq(p.id, q.id);
    ck_assert_str_eq(p.hash, q.hash);
    for (size_t i = 0; i < CB_ARRAY_LEN(bad); i++)
        ck_assert_int_eq(audit_position_parse(bad[i], &q), -1);
    buf_done(&out);
}
END_TEST

/* ---- the file ---- */

static int open_file(struct audit_file *f, struct audit_found *found)
{
    struct cb_error err = {0};

    audit_file_init(f, path);
    return audit_file_open(f, found, &err);
}

/* A death in the middle of a line, after any byte of it. */
START_TEST(an_unfinished_line_is_cut_off)
{
    struct audit_position p, whole;
    struct audit_file f;
    struct audit_found found;
    struct stat st;
    struct buf out = BUF_INIT;

    audit_position_init(&p);
    put_many(&p, 2, &out);
    whole = p;
    size_t before = out.len;
    put(&p, "{\"x\":\"y\"}", &out);
    for (size_t len = before; len < out.len; len++) {
        write_file(out.data, len);
        ck_assert_int_eq(open_file(&f, &found), 0);
        ck_assert_int_eq(found.torn_bytes, (int64_t)(len - before));
        ck_assert(found.has_position);
        ck_assert_str_eq(found.position.hash, whole.hash);
        ck_assert_int_eq(f.size, (off_t)before);
        ck_assert_int_eq(stat(path, &st), 0);
        ck_assert_int_eq(st.st_size, (off_t)before);
        audit_file_close(&f);
    }
    for (size_t len = 0; len < 20; len++) { /* nothing but that */
        write_file(out.data, len);
        ck_assert_int_eq(open_file(&f, &found), 0);
        ck_assert(!found.has_position && f.size == 0);
        audit_file_close(&f);
    }
    buf_done(&out);
}
END_TEST

/* The end is looked for in growing pieces: lines that are longer than these, and none that is ours. */
START_TEST(long_and_foreign_lines)
{
    struct audit_position p;
    struct audit_file f;
    struct audit_found found;
    struct buf out = BUF_INIT, data = BUF_INIT;

    audit_position_init(&p);
    put_many(&p, 3, &out);
    buf_puts(&data, "\"");
    for (int i = 0; i < 300000; i++)
        buf_putc(&data, 'x');
    buf_puts(&data, "\"");
    put(&p, data.data, &out);
    for (int i = 0; i < 3; i++)
        buf_puts(&out, "none of ours\n");
    buf_append(&out, "\0\0\0\0", 4);
    write_file(out.data, out.len);
    ck_assert_int_eq(open_file(&f, &found), 0);
    ck_assert_str_eq(found.position.hash, p.hash);
    ck_assert_int_eq(found.bad_lines, 3);
    ck_assert_int_eq(found.torn_bytes, 4);
    audit_file_close(&f);
    write_file("a\nb\n", 4);
    ck_assert_int_eq(open_file(&f, &found), 0);
    ck_assert(!found.has_position);
    ck_assert_int_eq(found.bad_lines, 2);
    audit_file_close(&f);
    buf_done(&out);
    buf_done(&data);
}
END_TEST

static int append(struct audit_file *f, struct audit_position *p, bool is_start,
                  struct audit_found *found)
{
    struct cb_error err = {0};
    struct audit_position next = *p;
    struct buf out = BUF_INIT;

    put_many(&next, 2, &out);
    int status = audit_file_append(f, &out, is_start, AUDIT_FSYNC_ALWAYS, found, &err);
    if (status == 0 && !found->was && !found->is)
        ck_assert(!f->is_dirty);
    if (status == 0)
        *p = next;
    buf_done(&out);
    return status;
}

START_TEST(appending_beside_others)
{
    struct audit_position p;
    struct audit_file f, other;
    struct audit_found found;
    struct stat st;

    audit_position_init(&p);
    ck_assert_int_eq(open_file(&f, &found), 0);
    ck_assert_int_eq(open_file(&other, &found), -1); /* locked */
    ck_assert_int_eq(append(&f, &p, true, &found), 0);
    ck_assert_int_eq(append(&f, &p, false, &found), 0);
    ck_assert_int_eq(truncate(path, 0), 0); /* copytruncate */
    ck_assert_int_eq(append(&f, &p, false, &found), 1);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_size, 0);
    ck_assert_int_eq(append(&f, &p, true, &found), 0);
    int fd = open(path, O_WRONLY | O_APPEND);
    ck_assert_int_eq(write(fd, "half", 4), 4); /* somebody else's half a line */
    close(fd);
    ck_assert_int_eq(append(&f, &p, false, &found), 0);
    ck_assert_int_eq(found.is - found.was, 4);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(append(&f, &p, false, &found), 1);
    ck_assert_int_eq(append(&f, &p, true, &found), 0);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_size, f.size);
    ck_assert_int_eq(st.st_mode & 0777, 0640);
    audit_file_close(&f);
}
END_TEST

START_TEST(what_is_no_file_is_refused)
{
    struct audit_file f;
    struct audit_found found;

    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_int_eq(open_file(&f, &found), -1);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(open_file(&f, &found), -1);
    ck_assert_int_eq(f.fd, -1);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_line_is_as_the_manual_says);
    tcase_add_test(tc, every_changed_byte_is_found);
    tcase_add_test(tc, data_that_is_no_json_is_a_string);
    tcase_add_test(tc, ids_are_numbers);
    tcase_add_test(tc, positions_are_read_as_they_are_written);
    tcase_add_test(tc, an_unfinished_line_is_cut_off);
    tcase_add_test(tc, long_and_foreign_lines);
    tcase_add_test(tc, appending_beside_others);
    tcase_add_test(tc, what_is_no_file_is_refused);
}

UNIT_MAIN("audit", add_tests)

/*
 * check_options_files.c: common/options: the round trip through options_dump(), comparison, and the files that they are
 * read from.
 */
#include "common/compat.h"
#include "tests/unit/options_fixture.h"

#include "common/log.h"
#include "common/mem.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- the round trip ---- */

static void survives_dump(const struct options *o, bool with_comments)
{
    struct buf first = BUF_INIT;
    struct buf second = BUF_INIT;
    options_dump(o, &first, with_comments);
    struct options *again = load(buf_peek(&first));
    ck_assert_uint_eq(options_compare(o, again, NULL, NULL, NULL), 0);
    options_dump(again, &second, with_comments);
    ck_assert_str_eq(buf_peek(&first), buf_peek(&second));
    options_free(again);
    buf_done(&first);
    buf_done(&second);
}

START_TEST(dump_reads_back)
{
    static const char *const texts[] = {
        "",
        "redis: {embedded: false, url: 'redis://h:1/2', user: \"a \\\" \\\\ # ' {b\", "
        "password_file: /p}\n",
        "log: {destination: \"/a b/\xc3\xa4\\\"\\\\/\\uFFFE\\U0001FFFF\xe2\x82\xac: #\"}\n",
        "redis: {appendfsync: no, prefix: 'null', maxmemory: 64MiB}\ninstance: {id: 0x10}\n",
        "redis: {embedded: false, sentinel: {master: m, nodes: ['a', 'b:1', '[::1]:2']}}\n",
        "redis: {embedded: false, sentinel: {master: m, nodes: a b}}\n",
        "limits: {params_bytes: 1025, idempotency_bytes: 3GiB}\nlog: {level: error, format: "
        "json}\n",
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(texts); i++) {
        struct options *o = load(texts[i]);
        survives_dump(o, false);
        survives_dump(o, true);
        options_free(o);
    }
}
END_TEST

/* Each option changed alone is seen by options_compare() with the right flag, and survives a dump.
 * */
START_TEST(every_option_counts)
{
    struct options *base = defaults();
    for (const struct option_row *row = options_table; row->name; row++) {
        if (row->type == OPTION_STR || row->type == OPTION_LIST || row->type == OPTION_PATH ||
            row->min == row->max)
            continue;
        struct options *o = defaults();
        bool wants_restart = false;
        char *member = (char *)o + row->offset;
        if (row->type == OPTION_BOOL)
            *(bool *)member = !*(bool *)member;
        else if (row->type == OPTION_ENUM)
            *(int *)(void *)member = 0;
        else
            *(int64_t *)(void *)member += 1;
        ck_assert_msg(options_compare(base, o, NULL, NULL, &wants_restart) == 1, "%s", row->name);
        ck_assert_int_eq(wants_restart, (row->flags & OPTION_RESTART) != 0);
        options_free(o);
    }
    options_free(base);
}
END_TEST

static void note_change(void *arg, const struct option_row *option, const char *old_value,
                        const char *new_value)
{
    buf_printf(arg, "%s %s->%s\n", option->name, old_value, new_value);
}

START_TEST(comparison)
{
    struct options *a = load("log: {level: warn}\n");
    struct options *b = load(
        "log: {level: debug}\nlimits: {params_bytes: 1MiB}\nredis: {prefix: x}\n");
    struct buf seen = BUF_INIT;
    bool wants_restart = false;
    ck_assert_uint_eq(options_compare(a, b, note_change, &seen, &wants_restart), 3);
    ck_assert(wants_restart);
    ck_assert_str_eq(
        buf_peek(&seen),
        "redis.prefix cb->x\nlimits.params_bytes 256KiB->1MiB\nlog.level warn->debug\n");
    ck_assert_uint_eq(options_compare(a, a, note_change, &seen, &wants_restart), 0);
    ck_assert(!wants_restart);
    buf_done(&seen);
    options_free(a);
    options_free(b);
}
END_TEST

/* ---- reload ---- */

START_TEST(a_reload_keeps_what_needs_a_restart)
{
    struct options_errors errs = OPTIONS_ERRORS_INIT;
    struct options *in_force = load("redis: {embedded: false, url: redis://h:1/2, prefix: p}\n");
    struct options *fresh = load("redis: {timeout_ms: 900, url: 'unix:///s'}\nlog: {destination: "
                                 "/l}\ntask: {assignment: push}\n");
    struct buf seen = BUF_INIT;

    ck_assert_int_eq(options_prepare_reload(fresh, in_force, note_change, &seen, &errs), 0);
    ck_assert_str_eq(buf_peek(&seen), "redis.embedded false->true\n"
                                      "redis.url redis://h:1/2->unix:///s\n"
                                      "redis.prefix p->cb\nredis.timeout_ms 5000->900\n"
                                      "task.assignment pull->push\nlog.destination stderr->/l\n");
    const char *id = in_force->instance.id;
    options_put_in_force(in_force, fresh);
    options_free(fresh);
    ck_assert_str_eq(in_force->redis.prefix, "p");
    ck_assert_str_eq(in_force->redis.url, "redis://h:1/2");
    ck_assert(!in_force->redis.embedded);
    ck_assert_int_eq(in_force->redis.timeout_ms, 900);
    ck_assert_int_eq(in_force->task.assignment, ASSIGNMENT_PUSH);
    ck_assert_str_eq(in_force->log.destination, "/l");
    ck_assert_ptr_eq(in_force->instance.id, id); /* who holds it still may */
    options_free(in_force);
    buf_done(&seen);
}
END_TEST

/* Each file is right by itself, but what is kept does not fit what is new. */
START_TEST(a_reload_is_checked_with_what_is_kept)
{
    struct options_errors errs = OPTIONS_ERRORS_INIT;
    struct options *in_force = load("");
    struct options *fresh = load("redis: {embedded: false, url: redis://h:1/2, user: u}\n");

    ck_assert_int_eq(options_prepare_reload(fresh, in_force, NULL, NULL, &errs), 0);
    ck_assert_str_eq(fresh->redis.user, "");
    fresh->cluster.leader_lease_ms = fresh->cluster.tick_ms;
    ck_assert_int_eq(options_prepare_reload(fresh, in_force, NULL, NULL, &errs), -1);
    ck_assert_str_eq(errs.items[0].option, "cluster.leader_lease_ms");
    ck_assert_int_eq(in_force->cluster.leader_lease_ms, 2000);
    options_errors_done(&errs);
    options_free(fresh);
    options_free(in_force);
}
END_TEST

/* ---- files ---- */

static char folder[] = "/tmp/check_options.XXXXXX";

static void write_file(const char *name, const char *text)
{
    char *path = mem_printf("%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    ck_assert_int_eq(fclose(file), 0);
    free(path);
}

static void make_folder(const char *name)
{
    char *path = mem_printf("%s/%s", folder, name);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    free(path);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void setup(void)
{
    memcpy(folder + sizeof folder - 7, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    unsetenv("CLAUDEBENCH_CONFIG");
}

static void teardown(void)
{
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static int load_folder(struct options **opts, struct buf *out)
{
    struct options_errors errs = OPTIONS_ERRORS_INIT;
    struct options_source source = {mem_printf("%s/claudebench.yaml", folder), PATHS_SYSTEM};
    *opts = NULL;
    int status = options_load(&source, opts, &errs);
    buf_reset(out);
    options_errors_put(&errs, out);
    options_errors_done(&errs);
    options_source_done(&source);
    return status;
}

START_TEST(later_files_override)
{
    struct options *o;
    struct buf out = BUF_INIT;
    make_folder("conf.d");
    write_file("claudebench.yaml", "log: {level: warn}\ntask: {lease_ms: 1000, max_attempts: 5}\n");
    write_file("conf.d/20-b.yaml", "log: {level: debug}\n");
    write_file("conf.d/10-a.yaml", "log: {level: error}\ntask: {lease_ms: 2000}\n");
    write_file("conf.d/.hidden.yaml", "nonsense: 1\n");
    write_file("conf.d/30.yaml.bak", "nonsense: 1\n");
    write_file("conf.d/yaml", "nonsense: 1\n");
    ck_assert_msg(load_folder(&o, &out) == 0, "%s", buf_peek(&out));
    ck_assert_int_eq(o->log.level, LOG_LEVEL_DEBUG);
    ck_assert_int_eq(o->task.lease_ms, 2000);
    ck_assert_int_eq(o->task.max_attempts, 5);
    const char *from = options_origin(o, options_find("task.lease_ms")).file;
    ck_assert_str_eq(strrchr(from, '/'), "/10-a.yaml");
    options_free(o);
    buf_done(&out);
}
END_TEST

START_TEST(errors_name_their_file)
{
    struct options *o;
    struct buf out = BUF_INIT;
    make_folder("conf.d");
    write_file("claudebench.yaml", "a: 1\n");
    write_file("conf.d/x.yaml", "\nlog: {level: x}\n");
    make_folder("conf.d/y.yaml");
    ck_assert_int_eq(load_folder(&o, &out), -1);
    ck_assert_ptr_nonnull(strstr(buf_peek(&out), "/claudebench.yaml:1:1: a: unknown option"));
    ck_assert_ptr_nonnull(strstr(buf_peek(&out), "/conf.d/x.yaml:2:14: log.level: \"x\""));
    ck_assert_ptr_nonnull(strstr(buf_peek(&out), "/conf.d/y.yaml: cannot be read: Is a directory"));
    buf_done(&out);
}
END_TEST

START_TEST(a_missing_file_is_an_error)
{
    struct options *o;
    struct buf out = BUF_INIT;
    ck_assert_int_eq(load_folder(&o, &out), -1);
    ck_assert_ptr_nonnull(strstr(buf_peek(&out), "cannot be read: No such file"));
    buf_done(&out);
}
END_TEST

START_TEST(a_pipe_is_read_unless_nobody_writes)
{
    struct options *o = NULL;
    struct buf out = BUF_INIT;
    char *path = mem_printf("%s/claudebench.yaml", folder);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_int_eq(load_folder(&o, &out), -1);
    ck_assert_ptr_nonnull(strstr(buf_peek(&out), "cannot be read: Connection timed out"));

    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        int fd = open(path, O_WRONLY | O_CLOEXEC); /* waits for the reader */
        _exit(write(fd, "log: {level: warn}\n", 19) == 19 ? 0 : 1);
    }
    ck_assert_msg(load_folder(&o, &out) == 0, "%s", buf_peek(&out));
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_int_eq(o->log.level, LOG_LEVEL_WARN);
    options_free(o);
    buf_done(&out);
    free(path);
}
END_TEST

START_TEST(search_order)
{
    struct options_source source = {0};
    struct cb_error err;
    char *a = mem_printf("%s/a.yaml", folder);
    char *b = mem_printf("%s/b.yaml", folder);
    write_file("a.yaml", "");
    write_file("b.yaml", "");

    ck_assert_int_eq(setenv("CLAUDEBENCH_CONFIG", b, 1), 0);
    ck_assert_int_eq(options_find_file(a, &source, &err), 0);
    ck_assert_str_eq(source.file, a);
    options_source_done(&source);
    ck_assert_int_eq(options_find_client_file(a, &source, &err), 0);
    ck_assert_str_eq(source.file, a);
    options_source_done(&source);
    ck_assert_int_eq(options_find_client_file(NULL, &source, &err), 0);
    ck_assert_str_eq(source.file, b);
    options_source_done(&source);
    ck_assert_int_eq(options_find_file(NULL, &source, &err), 0);
    ck_assert_str_eq(source.file, b);
    ck_assert_int_eq(source.mode, PATHS_AUTO);
    options_source_done(&source);

    ck_assert_int_eq(unlink(b), 0);
    ck_assert_int_eq(options_find_file(NULL, &source, &err), -1);
    ck_assert_int_eq(err.code, 78);
    ck_assert_ptr_nonnull(strstr(err.text, "CLAUDEBENCH_CONFIG"));
    ck_assert_ptr_null(source.file);
    ck_assert_int_eq(options_find_file(b, &source, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "-c"));
    unsetenv("CLAUDEBENCH_CONFIG");
    free(a);
    free(b);
}
END_TEST

/* Whoever asks a running daemon needs its socket, whatever else is wrong. */
START_TEST(lenient_loading_keeps_what_is_right)
{
    struct options_source source = {.mode = PATHS_SYSTEM};
    struct options *opts = NULL;

    write_file("a.yaml", "supervisor: {control_socket: /s}\nno_such: 1\ntask: {lease_ms: never}\n");
    source.file = mem_printf("%s/a.yaml", folder);
    ck_assert_int_eq(options_load_leniently(&source, &opts), 0);
    ck_assert_str_eq(opts->supervisor.control_socket, "/s");
    ck_assert_int_eq(opts->task.lease_ms, 30000);
    options_free(opts);
    options_source_done(&source);
}
END_TEST

START_TEST(relative_names_become_absolute)
{
    struct options_source source = {0};
    char *cwd = getcwd(NULL, 0);
    char *expected = mem_printf("%s/a.yaml", folder);
    write_file("a.yaml", "");
    ck_assert_int_eq(chdir(folder), 0);
    ck_assert_int_eq(options_find_file("a.yaml", &source, NULL), 0);
    ck_assert_str_eq(source.file, expected);
    ck_assert_int_eq(chdir(cwd), 0);
    options_source_done(&source);
    free(cwd);
    free(expected);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, dump_reads_back);
    tcase_add_test(tc, every_option_counts);
    tcase_add_test(tc, comparison);
    tcase_add_test(tc, a_reload_keeps_what_needs_a_restart);
    tcase_add_test(tc, a_reload_is_checked_with_what_is_kept);
    tcase_add_test(tc, later_files_override);
    tcase_add_test(tc, errors_name_their_file);
    tcase_add_test(tc, a_missing_file_is_an_error);
    tcase_add_test(tc, a_pipe_is_read_unless_nobody_writes);
    tcase_add_test(tc, search_order);
    tcase_add_test(tc, lenient_loading_keeps_what_is_right);
    tcase_add_test(tc, relative_names_become_absolute);
}

UNIT_MAIN("options_files", add_tests)

/*
 * check_options.c: common/options: the table, defaults, reading, and everything that is refused (with its place).
 * Files, the round trip through options_dump() and comparison are in check_options_files.c.
 */
#include "common/compat.h"
#include "tests/unit/options_fixture.h"

#include "common/log.h"
#include "common/mem.h"

/* ---- the table ---- */

START_TEST(table_is_sound)
{
    for (const struct option_row *o = options_table; o->name; o++) {
        ck_assert_msg(o->text[0] != '\0', "%s", o->name);
        for (const struct option_row *p = o + 1; p->name; p++)
            ck_assert_str_ne(o->name, p->name);
        if (o->type == OPTION_STR || o->type == OPTION_LIST || o->type == OPTION_PATH)
            ck_assert_ptr_nonnull(o->fallback);
        else if (o->type != OPTION_BOOL && o->type != OPTION_ENUM)
            ck_assert_msg(o->min <= o->fallback_num && o->fallback_num <= o->max, "%s", o->name);
        /* Milliseconds that somebody puts into an int or poll() must be told apart by their row. */
        if (o->type == OPTION_TIME && strncmp(o->name, "task.", 5) != 0)
            ck_assert_msg(o->max <= INT_MAX, "%s", o->name);
    }
}
END_TEST

START_TEST(defaults_are_the_design)
{
    struct options *o = defaults();
    ck_assert_int_eq(o->config_version, 1);
    ck_assert(o->redis.embedded);
    ck_assert_str_eq(o->redis.url, "unix://" CB_RUNSTATEDIR "/claudebench/redis.sock");
    ck_assert_str_eq(o->redis.dir, CB_LOCALSTATEDIR "/lib/claudebench/redis");
    ck_assert_int_eq(o->redis.appendfsync, APPENDFSYNC_EVERYSEC);
    ck_assert_str_eq(o->redis.prefix, "cb");
    ck_assert_str_eq(o->redis.password_file, "");
    ck_assert_str_eq(o->supervisor.control_socket, CB_RUNSTATEDIR "/claudebench/control.sock");
    ck_assert_int_eq(o->supervisor.watchdog_ms, 1500);
    ck_assert_int_eq(o->domains.task.workers, 2);
    ck_assert_int_eq(o->domains.task.batch, 64);
    ck_assert_int_eq(o->domains.test.workers, 0);
    ck_assert_int_eq(o->cluster.offline_ms, 2500);
    ck_assert_int_eq(o->task.keep_finished_ms, 86400000);
    ck_assert_int_eq(o->limits.batch_params_bytes, 4 << 20);
    ck_assert_int_eq(o->limits.idempotency_bytes, 256 << 20);
    ck_assert_int_eq(o->limits.dead_bytes, 64 << 20);
    ck_assert_int_eq(o->log.level, LOG_LEVEL_INFO);
    ck_assert_int_eq(o->log.format, LOG_FORMAT_TEXT);
    ck_assert_str_eq(o->log.destination, "stderr");
    ck_assert(o->instance.id[0] != '\0');
    options_free(o);
    options_free(NULL);
}
END_TEST

START_TEST(domains_by_name)
{
    struct options *o = defaults();
    ck_assert_ptr_eq(options_domain(o, "task"), &o->domains.task);
    ck_assert_ptr_eq(options_domain(o, "system"), &o->domains.system);
    ck_assert_ptr_eq(options_domain(o, "hook"), &o->domains.hook);
    ck_assert_ptr_null(options_domain(o, "nonsense"));
    size_t n = 0;
    for (const char *const *name = options_domain_names(); *name; name++, n++)
        ck_assert_ptr_nonnull(options_domain(o, *name));
    ck_assert_uint_eq(n, 5);
    options_free(o);
}
END_TEST

/* ---- reading ---- */

START_TEST(values_of_each_type)
{
    struct options *o = load(
        "config_version: 1\n"
        "instance: {id: 12}\n"
        "redis:\n"
        "  embedded: false\n"
        "  url: redis://[::1]:6380/3\n"
        "  appendfsync: no\n"
        "  prefix: \"{cb}\"\n"
        "  password_file: /etc/secret\n"
        "domains:\n"
        "  task: {workers: 0}\n"
        "limits:\n"
        "  params_bytes: 512KiB\n"
        "  text_bytes: 400\n"
        "  idempotency_bytes: 2 GiB\n"
        "  dead_bytes: 2MiB\n"
        "log: {level: debug, format: json, destination: /tmp/\xc3\xa4 b.log}\n");
    ck_assert_str_eq(o->instance.id, "12");
    ck_assert(!o->redis.embedded);
    ck_assert_str_eq(o->redis.url, "redis://[::1]:6380/3");
    ck_assert_int_eq(o->redis.appendfsync, APPENDFSYNC_NO);
    ck_assert_str_eq(o->redis.prefix, "{cb}");
    ck_assert_str_eq(o->redis.password_file, "/etc/secret");
    ck_assert_int_eq(o->domains.task.workers, 0);
    ck_assert_int_eq(o->limits.params_bytes, 512 << 10);
    ck_assert_int_eq(o->limits.text_bytes, 400);
    ck_assert_int_eq(o->limits.idempotency_bytes, INT64_C(2) << 30);
    ck_assert_int_eq(o->limits.dead_bytes, 2 << 20);
    ck_assert_int_eq(o->log.level, LOG_LEVEL_DEBUG);
    ck_assert_int_eq(o->log.format, LOG_FORMAT_JSON);
    ck_assert_str_eq(o->log.destination, "/tmp/\xc3\xa4 b.log");
    struct option_origin at = options_origin(o, options_find("redis.prefix"));
    ck_assert_str_eq(at.file, "test.yaml");
    ck_assert_int_eq(at.line, 7);
    ck_assert_int_eq(at.col, 11);
    ck_assert_ptr_null(options_origin(o, options_find("redis.dir")).file);
    options_free(o);
}
END_TEST

START_TEST(empty_configurations)
{
    static const char *const texts[] = {"",
                                        "# nothing\n",
                                        "---\n",
                                        "{}\n",
                                        "redis:\n",
                                        "domains:\n  task:\n",
                                        "config_version: 1\n"};
    for (size_t i = 0; i < CB_ARRAY_LEN(texts); i++)
        options_free(load(texts[i]));
}
END_TEST

START_TEST(unknown_keys)
{
    refused("reddis: {}\n", "t:1:1: reddis: unknown option (did you mean redis?)\n");
    refused("cluster:\n  tick: 5\n",
            "t:2:3: cluster.tick: unknown option (expected tick_ms, "
            "suspect_ms, offline_ms, leader_lease_ms or agent_lease_ms)\n");
    refused("cluster: {tik_ms: 500}\n",
            "t:1:11: cluster.tik_ms: unknown option (did you mean cluster.tick_ms?)\n");
    refused("task: {tick_ms: 500}\n",
            "t:1:8: task.tick_ms: unknown option (did you mean cluster.tick_ms?)\n");
    refused("log.level: debug\n",
            "t:1:1: log.level: unknown option (did you mean log.level, written "
            "as log: and its key below?)\n");
    refused("domains: {task: {workers: {x: 1}}}\n",
            "t:1:27: domains.task.workers: has a mapping (expected whole number, 0 to 64)\n");
    refused("domains: {tsk: {workers: 1}}\n",
            "t:1:11: domains.tsk: unknown option (did you mean domains.task?)\n");
    refused("log: {\"\\e[31m\": 1}\n",
            "t:1:7: log.\\x1b[31m: unknown option (expected level, format or destination)\n");
    refused("log: {\"level\\0x\": debug}\n",
            "t:1:7: log.level\\x00x: unknown option (did you mean log.level?)\n");
}
END_TEST

START_TEST(types)
{
    const char *range = "(expected milliseconds, 50 to 60000)\n";
    static const char *const bad[] = {"fast",
                                      "500ms",
                                      "5e2",
                                      "0x1F4",
                                      "0500",
                                      "+500",
                                      "500.0",
                                      "5_00",
                                      "1:30",
                                      "500 000",
                                      ".inf",
                                      "true",
                                      "99999999999999999999",
                                      "--5"};
    for (size_t i = 0; i < CB_ARRAY_LEN(bad); i++) {
        char *text = mem_printf("cluster:\n  tick_ms: %s\n", bad[i]);
        char *expected = mem_printf("t:2:12: cluster.tick_ms: \"%s\" is not a whole number %s",
                                    bad[i], range);
        refused(text, expected);
        free(text);
        free(expected);
    }
    refused("cluster: {tick_ms: 49}\n",
            "t:1:20: cluster.tick_ms: \"49\" is too small (expected milliseconds, 50 to 60000)\n");
    refused(
        "cluster: {tick_ms: -500}\n",
        "t:1:20: cluster.tick_ms: \"-500\" is too small (expected milliseconds, 50 to 60000)\n");
    refused(
        "cluster: {tick_ms: 60001}\n",
        "t:1:20: cluster.tick_ms: \"60001\" is too large (expected milliseconds, 50 to 60000)\n");
    refused("cluster: {tick_ms: '500'}\n",
            "t:1:20: cluster.tick_ms: \"500\" is text because of its quotes "
            "(expected milliseconds, 50 to 60000)\n");
    refused("cluster: {tick_ms: [1]}\n",
            "t:1:20: cluster.tick_ms: has a list (expected milliseconds, 50 to 60000)\n");
    refused("cluster: {tick_ms: }\n",
            "t:1:20: cluster.tick_ms: has no value (expected milliseconds, 50 to 60000)\n");
    refused("cluster: 5\n",
            "t:1:10: cluster: is a section (expected a mapping with tick_ms, suspect_ms, "
            "offline_ms, leader_lease_ms or agent_lease_ms)\n");
    refused("- 1\n", "t:1:1: not a mapping (expected sections such as redis: and task:)\n");
    refused("hello\n", "t:1:1: not a mapping (expected sections such as redis: and task:)\n");
}
END_TEST

START_TEST(booleans)
{
    static const char *const bad[] = {"yes",  "no", "on", "off", "True",
                                      "TRUE", "y",  "1",  "0",   "enabled"};
    for (size_t i = 0; i < CB_ARRAY_LEN(bad); i++) {
        char *text = mem_printf("redis:\n  embedded: %s\n", bad[i]);
        char *expected = mem_printf(
            "t:2:13: redis.embedded: \"%s\" is not a boolean (expected true or false)\n", bad[i]);
        refused(text, expected);
        free(text);
        free(expected);
    }
    refused("redis: {embedded: \"true\"}\n", "t:1:19: redis.embedded: \"true\" is text because of "
                                             "its quotes (expected true or false)\n");
}
END_TEST

START_TEST(sizes)
{
    static const char *const bad[] = {"1K",     "1kB",   "1.5MiB",      "MiB", "KiB",
                                      "1  KiB", "-1KiB", "99999999TiB", "1mib"};
    for (size_t i = 0; i < CB_ARRAY_LEN(bad); i++) {
        char *text = mem_printf("limits: {params_bytes: %s}\n", bad[i]);
        struct options_errors errs = OPTIONS_ERRORS_INIT;
        struct options *opts = NULL;
        ck_assert_msg(options_load_text(text, strlen(text), "t", &opts, &errs) == -1, "%s", bad[i]);
        options_errors_done(&errs);
        free(text);
    }
    refused("limits: {params_bytes: 1MB}\n",
            "t:1:24: limits.params_bytes: \"1MB\" is not a size (expected "
            "size, 1KiB to 16MiB)\n");
}
END_TEST

START_TEST(strings)
{
    refused("log: {level: notice}\n",
            "t:1:14: log.level: \"notice\" is not known (expected error, warn, info or debug)\n");
    refused("log: {level: INFO}\n",
            "t:1:14: log.level: \"INFO\" is not known (expected error, warn, info or debug)\n");
    refused(
        "log: {destination: logs/x}\n",
        "t:1:20: log.destination: is not known (expected stderr, syslog or an absolute path)\n");
    refused("log: {destination: }\n",
            "t:1:20: log.destination: has no value (expected text of 1 to 4096 bytes)\n");
    refused("log: {destination: ''}\n",
            "t:1:20: log.destination: is too short (expected text of 1 to 4096 bytes)\n");
    refused("supervisor: {pidfile: run/x.pid}\n",
            "t:1:23: supervisor.pidfile: \"run/x.pid\" is not an absolute "
            "path (expected absolute path)\n");
    refused("supervisor: {pidfile: \"/run/\\e[31m\"}\n",
            "t:1:23: supervisor.pidfile: \"/run/\\x1b[31m\" has control characters (expected "
            "absolute path)\n");
    refused("supervisor: {pidfile: \"/run/\\0\"}\n",
            "t:1:23: supervisor.pidfile: \"/run/\\x00\" has control characters (expected absolute "
            "path)\n");
    refused("instance: {id: a/b}\n",
            "t:1:16: instance.id: has a character that is not allowed (expected letters, "
            "digits, _ . - and a letter or digit first)\n");
    refused("instance: {id: .a}\n",
            "t:1:16: instance.id: has a character that is not allowed (expected letters, "
            "digits, _ . - and a letter or digit first)\n");
    refused("redis: {prefix: 'a b'}\n", "t:1:17: redis.prefix: has a character that is not allowed "
                                        "(expected letters, digits, _ { } : -)\n");
    refused("redis: {prefix: 'a*'}\n", "t:1:17: redis.prefix: has a character that is not allowed "
                                       "(expected letters, digits, _ { } : -)\n");
    refused("redis: {prefix: '{}'}\n",
            "t:1:17: redis.prefix: has braces that do not mark a part (expected one pair "
            "with something inside, such as {cb})\n");
    refused("redis: {prefix: 'a}{b'}\n",
            "t:1:17: redis.prefix: has braces that do not mark a part (expected one pair "
            "with something inside, such as {cb})\n");
}
END_TEST

START_TEST(relations)
{
    refused("cluster:\n  offline_ms: 1000\n",
            "t:2:15: cluster.offline_ms: 1000 is too small (expected more than cluster.suspect_ms, "
            "which is 1500)\n");
    refused("cluster:\n  suspect_ms: 2500\n",
            "t:2:15: cluster.offline_ms: 2500 is too small (expected more than cluster.suspect_ms, "
            "which is 2500)\n");
    refused("cluster:\n  leader_lease_ms: 1000\n",
            "t:2:20: cluster.leader_lease_ms: 1000 is too small (expected more than 2 times "
            "cluster.tick_ms, which is 500)\n");
    refused("limits: {params_bytes: 8MiB}\n",
            "t:1:24: limits.batch_params_bytes: 4MiB is too small (expected at least "
            "limits.params_bytes, which is 8MiB)\n");
    /* A value that was refused itself takes no part. */
    refused(
        "cluster:\n  offline_ms: 1\n  suspect_ms: 9000\n",
        "t:2:15: cluster.offline_ms: \"1\" is too small (expected milliseconds, 100 to 600000)\n");
    options_free(
        load("cluster: {tick_ms: 50, suspect_ms: 100, offline_ms: 101, leader_lease_ms: 101}\n"));
    options_free(load("supervisor: {restart_min_ms: 70000, restart_max_ms: 70000}\n"));
}
END_TEST

START_TEST(redis_rules)
{
    refused("redis: {embedded: false}\n",
            "t:1:19: redis.url: is not given, but redis.embedded is false "
            "(expected unix:///path, redis://host:port/db, or redis.sentinel.master)\n");
    refused("redis: {url: redis://localhost}\n",
            "t:1:14: redis.url: is not a unix socket, but redis.embedded is true (expected "
            "unix:///path, or "
            "redis.embedded: false)\n");
    refused("redis: {embedded: false, url: redis://u:hunter2@h/0}\n",
            "t:1:31: redis.url: names a user or a password (expected redis.user and "
            "redis.password_file for "
            "these)\n");
    refused("redis: {user: bob, password_file: /x}\n",
            "t:1:15: redis.user: is for an external Redis, but redis.embedded is true (expected "
            "\"\": the "
            "embedded one has its own users)\n"
            "t:1:35: redis.password_file: is for an external Redis, but redis.embedded is true "
            "(expected \"\": the "
            "embedded one has its own users)\n");
    refused("redis: {embedded: false, url: unix:///r, client_user: c}\n",
            "t:1:55: redis.client_user: is given without redis.client_password_file "
            "(expected both or none)\n");
    refused("redis: {maxmemory: 1MiB}\n",
            "t:1:20: redis.maxmemory: is too small to run (expected 0 or at least 4MiB)\n");
    refused("redis: {embedded: false, url: /run/r.sock, maxmemory: 1GiB}\n",
            "t:1:55: redis.maxmemory: is for the embedded Redis, but redis.embedded is false "
            "(expected 0; an "
            "external one has its own setting)\n");
    static const char *const bad[] = {"rediss://h", "http://h", "redis://",   "redis://h:99999",
                                      "unix://x",   "h:6379",   "redis://h/x"};
    for (size_t i = 0; i < CB_ARRAY_LEN(bad); i++) {
        struct options_errors errs = OPTIONS_ERRORS_INIT;
        struct options *opts = NULL;
        char *text = mem_printf("redis: {embedded: false, url: \"%s\"}\n", bad[i]);
        ck_assert_msg(options_load_text(text, strlen(text), "t", &opts, &errs) == -1, "%s", bad[i]);
        ck_assert_str_eq(errs.items[0].option, "redis.url");
        ck_assert_int_eq(errs.items[0].col, 31);
        options_errors_done(&errs);
        free(text);
    }
}
END_TEST

START_TEST(sentinel_rules)
{
    struct options *o = load(
        "redis: {embedded: false, sentinel: {master: m, nodes: [a, 'b:1']}}\n");
    ck_assert_str_eq(o->redis.sentinel.nodes, "a b:1");
    options_free(o);
    refused("redis: {sentinel: {master: m, nodes: [a]}}\n",
            "t:1:28: redis.sentinel.master: is for an external Redis, but redis.embedded is true "
            "(expected redis.embedded: false)\n");
    refused(
        "redis: {embedded: false, url: 'redis://h', sentinel: {master: m, nodes: [a]}}\n",
        "t:1:31: redis.url: is given, and redis.sentinel.master, too (expected one of them: the "
        "sentinels tell where the master is)\n");
    refused("redis: {embedded: false, sentinel: {master: m}}\n",
            "t:1:45: redis.sentinel.nodes: no sentinel is named (expected host:port)\n");
    refused(
        "redis: {embedded: false, sentinel: {master: m, nodes: [a, 'h:x']}}\n",
        "t:1:55: redis.sentinel.nodes: \"h:x\" is no address of a sentinel: Redis URL: the port "
        "must be a number from 1 to 65535\n");
    refused(
        "redis: {embedded: false, sentinel: {master: m, nodes: [{a: b}]}}\n",
        "t:1:55: redis.sentinel.nodes: \"?\" is no address of a sentinel: expected host:port\n");
    refused("redis: {embedded: false, sentinel: {master: m, nodes: {a: b}}}\n",
            "t:1:55: redis.sentinel.nodes: has a mapping (expected list of texts, at most 1024 "
            "bytes)\n");
    refused("redis: {embedded: false, sentinel: {master: 'a b', nodes: [a]}}\n",
            "t:1:45: redis.sentinel.master: has a character that is not allowed (expected letters, "
            "digits, _ . -)\n");
    refused(
        "redis: {sentinel: {nodes: [a], user: u, password_file: /p}}\n",
        "t:1:27: redis.sentinel.nodes: is given, but redis.sentinel.master is not (expected both)\n"
        "t:1:38: redis.sentinel.user: is given, but redis.sentinel.master is not (expected both)\n"
        "t:1:56: redis.sentinel.password_file: is given, but redis.sentinel.master is not "
        "(expected both)\n");
}
END_TEST

START_TEST(socket_paths_are_short)
{
    char path[140];
    memset(path, 'x', sizeof path);
    path[0] = '/';
    path[107] = '\0';
    char *text = mem_printf("supervisor: {control_socket: %s}\n", path);
    options_free(load(text));
    free(text);
    path[107] = 'x';
    path[108] = '\0';
    text = mem_printf("supervisor: {control_socket: %s}\n", path);
    refused(
        text,
        "t:1:30: supervisor.control_socket: is too long for a socket with 108 bytes (expected at "
        "most 107)\n");
    free(text);
}
END_TEST

START_TEST(project_files_stay_in_their_project)
{
    static const char *const bad[] = {"/x", "../x", "a/../x", "./x", "a/.", "a/"};

    options_free(load("hooks: {project_file: a/.b/..c}\n"));
    options_free(load("hooks: {project_file: \"\"}\n"));
    for (size_t i = 0; i < CB_ARRAY_LEN(bad); i++) {
        char *text = mem_printf("hooks: {project_file: %s}\n", bad[i]);
        refused(text, "t:1:23: hooks.project_file: is not the name of a file in a project "
                      "(expected a relative path without . and ..)\n");
        free(text);
    }
}
END_TEST

/* The text of a refusal never has what was refused. */
#define HAS_PASSWORD                                                                                 \
    "t:1:22: postgres.conninfo: has a password (expected one in a file: passfile=…, ~/.pgpass or " \
    "a service file)\n"
START_TEST(archive_rules)
{
    struct options *o = load("postgres: {conninfo: \"host=db passfile=/etc/pgpass\"}\n");
    ck_assert_int_eq(o->domains.archive.workers, 1); /* not said: as configured */
    options_free(o);
    o = load("postgres: {conninfo: \"postgresql://me@db:5432/x?sslmode=require\"}\n"
             "domains: {archive: {workers: 0}}\n");
    ck_assert_int_eq(o->domains.archive.workers, 0);
    options_free(o);
    o = load("{}\n");
    ck_assert_int_eq(o->domains.archive.workers, 0);
    options_free(o);
    refused("postgres: {conninfo: \"host=db password=secret\"}\n", HAS_PASSWORD);
    refused("postgres: {conninfo: \"sslpassword = 'secret'\"}\n", HAS_PASSWORD);
    refused("postgres: {conninfo: \"postgres://me:secret@db/x\"}\n", HAS_PASSWORD);
    refused("postgres: {conninfo: \"postgres://db/x?p%61ssword=secret\"}\n", HAS_PASSWORD);
    refused("domains: {archive: {workers: 1}}\n",
            "t:1:30: postgres.conninfo: is not given, but there are to be archive workers "
            "(expected the address of a database, or domains.archive.workers: 0)\n");
}
END_TEST

START_TEST(versions)
{
    refused("config_version: 2\nfoo: 1\n",
            "t:1:17: config_version: \"2\" is too large (expected 1)\n");
    refused("foo: 1\nconfig_version: x\n",
            "t:2:17: config_version: \"x\" is not a whole number (expected 1)\n");
}
END_TEST

START_TEST(all_errors_are_reported)
{
    refused("a: 1\nredis:\n  embedded: yes\n  url: &x 5\ntask:\n  lease_ms: 1\n  lease_ms: "
            "2\nevents: 7\n",
            "t:4:8: anchors (&name) are not accepted\n"
            "t:7:3: duplicate key \"lease_ms\" (first on line 6)\n"
            "t:1:1: a: unknown option (expected config_version, instance, redis, supervisor, "
            "domains, cluster, "
            "task, events, limits, hooks, audit, postgres, archive, metrics, log or methods)\n"
            "t:3:13: redis.embedded: \"yes\" is not a boolean (expected true or false)\n"
            "t:6:13: task.lease_ms: \"1\" is too small (expected milliseconds, 100 to 86400000)\n"
            "t:8:9: events: is a section (expected a mapping with transport, maxlen, max_bytes, "
            "reader_idle_ms, dedupe_ms or dedupe_ids)\n");
}
END_TEST

START_TEST(errors_are_capped)
{
    struct buf text = BUF_INIT;
    struct options_errors errs = OPTIONS_ERRORS_INIT;
    struct options *opts = NULL;
    for (int i = 0; i < 150; i++)
        buf_printf(&text, "key_%03d: 1\n", i);
    ck_assert_int_eq(options_load_text(text.data, text.len, "t", &opts, &errs), -1);
    ck_assert_uint_eq(errs.len, 100);
    ck_assert_uint_eq(errs.total, 150);
    buf_reset(&text);
    options_errors_put(&errs, &text);
    ck_assert_ptr_nonnull(strstr(buf_peek(&text), "key_099"));
    ck_assert_ptr_null(strstr(buf_peek(&text), "key_100"));
    ck_assert_ptr_nonnull(strstr(buf_peek(&text), "\nand 50 more errors\n"));
    options_errors_done(&errs);
    buf_done(&text);
}
END_TEST

START_TEST(too_large)
{
    char *text = mem_alloc(OPTIONS_FILE_MAX + 2);
    struct options_errors errs = OPTIONS_ERRORS_INIT;
    struct options *opts = NULL;
    memset(text, '\n', OPTIONS_FILE_MAX + 1);
    ck_assert_int_eq(options_load_text(text, OPTIONS_FILE_MAX, "t", &opts, &errs), 0);
    options_free(opts);
    opts = NULL;
    ck_assert_int_eq(options_load_text(text, OPTIONS_FILE_MAX + 1, "t", &opts, &errs), -1);
    ck_assert_str_eq(errs.items[0].text, "too large (expected at most 1MiB)");
    options_errors_done(&errs);
    free(text);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, table_is_sound);
    tcase_add_test(tc, defaults_are_the_design);
    tcase_add_test(tc, domains_by_name);
    tcase_add_test(tc, values_of_each_type);
    tcase_add_test(tc, empty_configurations);
    tcase_add_test(tc, unknown_keys);
    tcase_add_test(tc, types);
    tcase_add_test(tc, booleans);
    tcase_add_test(tc, sizes);
    tcase_add_test(tc, strings);
    tcase_add_test(tc, relations);
    tcase_add_test(tc, redis_rules);
    tcase_add_test(tc, sentinel_rules);
    tcase_add_test(tc, socket_paths_are_short);
    tcase_add_test(tc, project_files_stay_in_their_project);
    tcase_add_test(tc, archive_rules);
    tcase_add_test(tc, versions);
    tcase_add_test(tc, all_errors_are_reported);
    tcase_add_test(tc, errors_are_capped);
    tcase_add_test(tc, too_large);
}

UNIT_MAIN("options", add_tests)

/*
 * cmd_status.c: claudebench status: asks the supervisor over its control socket. Redis is not
 * needed, so the answer comes at once also when Redis is stopped.
 *
 * Exit 0 healthy, 1 degraded or unhealthy, 69 when no daemon answers, 77 when it may not be asked.
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/ask.h"
#include "client/session.h"
#include "client/table.h"
#include "client/watch.h"
#include "common/exitcode.h"

enum { STATUS_TIMEOUT_MS = 2000 };

static const struct cli_option status_options[] = {
    WATCH_OPTION,
    {'j', "json", NULL, "Print the daemon's answer as JSON."},
    {0, NULL, NULL, NULL},
};

static int run_status(const struct cli *cli);

const struct cli_verb verb_status = {
    .name = "status",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .summary = "Show how the daemon, its workers and Redis are.",
    .notes =
        "Exit 0: healthy; 1: degraded or unhealthy; 69: no daemon; 77: no permission to ask it.\n",
    .options = status_options,
    .run = run_status,
};

/* ---- reading the answer ---- */

/* Appends the text of a member ("a.b": inside an object), or "-". */
static void put_value(struct buf *out, struct json_span object, const char *path)
{
    struct json_item item = {.value = object};
    char name[32];

    for (size_t len; *path; path += len + (path[len] == '.')) {
        len = strcspn(path, ".");
        snprintf(name, sizeof name, "%.*s", (int)len, path);
        if (json_type_of(item.value) != JSON_OBJECT || !json_find(item.value, name, &item) ||
            item.type == JSON_NULL) {
            buf_puts(out, "-");
            return;
        }
    }
    if (item.type == JSON_STRING && item.value.len > 2)
        json_decode_string(item.value, out);
    else if (item.type == JSON_STRING)
        buf_puts(out, "-");
    else
        buf_append(out, item.value.at, item.value.len);
}

static int64_t int_value(struct json_span object, const char *name)
{
    struct json_item item;
    int64_t n = 0;

    if (json_find(object, name, &item) && item.type == JSON_NUMBER)
        json_decode_int(item.value, &n);
    return n;
}

static void put_age(struct buf *out, int64_t ms)
{
    int64_t s = ms / 1000;

    if (s < 60)
        buf_printf(out, "%.1f s", (double)ms / 1000.0);
    else if (s < 3600)
        buf_printf(out, "%" PRId64 " min %" PRId64 " s", s / 60, s % 60);
    else if (s < 86400)
        buf_printf(out, "%" PRId64 " h %" PRId64 " min", s / 3600, s / 60 % 60);
    else
        buf_printf(out, "%" PRId64 " d %" PRId64 " h", s / 86400, s / 3600 % 24);
}

/* "label  value", escaped. */
static void put_line(struct buf *out, const char *label, const struct buf *value)
{
    buf_printf(out, "%-10s", label);
    term_put(out, buf_peek(value), value->len);
    buf_putc(out, '\n');
}

static void put_word(struct buf *value, struct json_span status, const char *path,
                     const char *before)
{
    buf_puts(value, before);
    put_value(value, status, path);
}

/* Decisions of the rules; and how many the clients had to make alone, which somebody should know. */
static void put_hooks(struct buf *out, struct json_span status, struct buf *value)
{
    static const char *const decisions[] = {"none", "allow", "modify", "ask", "deny"};
    struct json_item hooks;
    int64_t all = 0;

    if (!json_find(status, "hooks", &hooks) || hooks.type != JSON_OBJECT)
        return;
    for (size_t i = 0; i < CB_ARRAY_LEN(decisions); i++)
        all += int_value(hooks.value, decisions[i]);
    buf_reset(value);
    buf_printf(value,
               "%" PRId64 " rules  %" PRId64 " decisions  %" PRId64 " denied  %" PRId64 " asked",
               int_value(hooks.value, "rules"), all, int_value(hooks.value, "deny"),
               int_value(hooks.value, "ask"));
    if (int_value(hooks.value, "fallbacks") > 0)
        buf_printf(value, "  %" PRId64 " without the daemon", int_value(hooks.value, "fallbacks"));
    put_line(out, "hooks", value);
}

/* What a reload has left to do, or to the administrator. */
static void put_config(struct buf *out, struct json_span status, struct buf *value)
{
    struct json_item config, list, option;
    struct json_iter it;

    if (!json_find(status, "config", &config) || config.type != JSON_OBJECT)
        return;
    buf_reset(value);
    int64_t old = int_value(config.value, "old_workers");
    if (old > 0) {
        buf_printf(value, "%" PRId64 " workers that finish and leave", old);
        put_line(out, "old", value);
    }
    if (!json_find(config.value, "needs_restart", &list) || list.type != JSON_ARRAY ||
        json_count(list.value) == 0)
        return;
    buf_reset(value);
    buf_puts(value, "needed for new values of");
    json_iter_init(&it, list.value);
    for (const char *before = " "; json_iter_next(&it, &option); before = ", ") {
        buf_puts(value, before);
        put_value(value, option.value, "option");
    }
    put_line(out, "restart", value);
}

/* The audit file; and how many calls clients have decided alone, which somebody should know. */
static void put_audit(struct buf *out, struct json_span status, struct buf *value)
{
    struct json_item audit;

    if (!json_find(status, "audit", &audit) || audit.type != JSON_OBJECT)
        return;
    buf_reset(value);
    put_word(value, audit.value, "file", "");
    put_word(value, audit.value, "records", "  ");
    put_word(value, audit.value, "waiting", " records since the start  ");
    buf_puts(value, " waiting");
    if (int_value(audit.value, "lost") > 0)
        put_word(value, audit.value, "lost", "  lost: ");
    put_line(out, "audit", value);
    if (int_value(audit.value, "local_last_hour") > 0) {
        buf_reset(value);
        buf_printf(value, "%" PRId64 " calls decided locally in the last hour",
                   int_value(audit.value, "local_last_hour"));
        put_line(out, "", value);
    }
}

static void put_summary(struct buf *out, struct json_span status)
{
    struct buf value = BUF_INIT;
    struct json_item reasons, reason;
    struct json_iter it;

    put_word(&value, status, "status", "");
    put_line(out, "status", &value);
    if (json_find(status, "reasons", &reasons) && reasons.type == JSON_ARRAY) {
        json_iter_init(&it, reasons.value);
        while (json_iter_next(&it, &reason)) {
            buf_reset(&value);
            if (reason.type == JSON_STRING)
                json_decode_string(reason.value, &value);
            put_line(out, "reason", &value);
        }
    }
    buf_reset(&value);
    put_word(&value, status, "instance", "");
    put_word(&value, status, "pid", "  pid ");
    put_word(&value, status, "version", "  version ");
    buf_puts(&value, "  up ");
    put_age(&value, int_value(status, "uptime_ms"));
    put_line(out, "daemon", &value);
    buf_reset(&value);
    put_word(&value, status, "redis.state", "");
    put_word(&value, status, "redis.url", "  ");
    put_line(out, "redis", &value);
    buf_reset(&value);
    put_word(&value, status, "leader.id", "");
    put_line(out, "leader", &value);
    put_hooks(out, status, &value);
    put_config(out, status, &value);
    put_audit(out, status, &value);
    buf_done(&value);
}

/* ---- tables ---- */

struct listed {
    struct table_column column;
    const char *member; /* NULL: the row's own name */
    double scale; /* 0: as it is; else the number is divided by it and shown with two digits */
};

static const struct listed worker_columns[] = {
    {{"DOMAIN", TABLE_LEFT, TABLE_KEEP}, "domain", 0},
    {{"SLOT", TABLE_RIGHT, TABLE_KEEP}, "slot", 0},
    {{"PID", TABLE_RIGHT, TABLE_KEEP}, "pid", 0},
    {{"STATE", TABLE_LEFT, TABLE_KEEP}, "state", 0},
    {{"METHOD", TABLE_LEFT, TABLE_FLEX}, "method", 0},
    {{"REQUESTS", TABLE_RIGHT, TABLE_KEEP}, "requests", 0},
    {{"AGE s", TABLE_RIGHT, TABLE_KEEP}, "age_ms", 1000},
    {{"RESTARTS", TABLE_RIGHT, TABLE_DROP}, "restarts", 0},
};

static const struct listed method_columns[] = {
    {{"METHOD", TABLE_LEFT, TABLE_FLEX}, NULL, 0},
    {{"REQUESTS", TABLE_RIGHT, TABLE_KEEP}, "requests", 0},
    {{"ERRORS", TABLE_RIGHT, TABLE_KEEP}, "errors", 0},
    {{"REFUSED", TABLE_RIGHT, TABLE_DROP}, "refused", 0},
    {{"p50 ms", TABLE_RIGHT, TABLE_KEEP}, "p50_us", 1000},
    {{"p95 ms", TABLE_RIGHT, TABLE_KEEP}, "p95_us", 1000},
    {{"p99 ms", TABLE_RIGHT, TABLE_KEEP}, "p99_us", 1000},
};

static void put_listed(struct table *t, const struct json_item *row, const struct listed *columns,
                       size_t n)
{
    struct buf text = BUF_INIT;

    for (size_t i = 0; i < n; i++) {
        buf_reset(&text);
        if (!columns[i].member)
            json_decode_string(row->key, &text);
        else if (columns[i].scale > 0)
            buf_printf(&text, "%.2f",
                       (double)int_value(row->value, columns[i].member) / columns[i].scale);
        else
            put_value(&text, row->value, columns[i].member);
        table_cell(t, buf_peek(&text), text.len);
    }
    buf_done(&text);
}

/* A table of an array's or an object's members. */
static void put_list(struct buf *out, struct json_span status, const char *name,
                     const struct listed *columns, size_t n, struct term term)
{
    struct table_column heads[TABLE_COLUMNS_MAX];
    struct json_item list, row;
    struct json_iter it;
    struct table t;

    if (!json_find(status, name, &list) || (list.type != JSON_ARRAY && list.type != JSON_OBJECT) ||
        json_count(list.value) == 0)
        return;
    for (size_t i = 0; i < n; i++)
        heads[i] = columns[i].column;
    table_init(&t, heads, n);
    json_iter_init(&it, list.value);
    while (json_iter_next(&it, &row))
        if (row.type == JSON_OBJECT)
            put_listed(&t, &row, columns, n);
    buf_putc(out, '\n');
    table_put(&t, term, out);
    table_done(&t);
}

static int show(const struct cli *cli, struct json_span status)
{
    struct buf out = BUF_INIT, word = BUF_INIT;
    struct term term = term_detect(STDOUT_FILENO);

    if (cli_is_set(cli, "json")) {
        session_put_json(&out, status, term);
    } else {
        put_summary(&out, status);
        put_list(&out, status, "workers", worker_columns, CB_ARRAY_LEN(worker_columns), term);
        put_list(&out, status, "methods", method_columns, CB_ARRAY_LEN(method_columns), term);
    }
    put_value(&word, status, "status");
    bool is_healthy = strcmp(buf_peek(&word), "healthy") == 0;
    int written = cli_write(&out);
    buf_done(&word);
    buf_done(&out);
    /* To watch it is to see it become healthy again. */
    return is_healthy || written != EXITCODE_OK || cli_is_set(cli, "watch") ? written
                                                                            : EXITCODE_FAILURE;
}

/* The configuration is read each time: it says where the socket is, and may have changed. */
static int ask_and_show(const struct cli *cli, struct session *unused)
{
    struct ask a CB_CLEANUP(ask_done) = ASK_INIT;
    int code = ask_load(&a, cli);
    (void)unused;

    if (code < 0)
        code = ask_daemon(&a, "{\"cmd\":\"status\"}\n", STATUS_TIMEOUT_MS);
    return code < 0 ? show(cli, a.json) : code;
}

static int run_status(const struct cli *cli)
{
    return watch(cli, NULL, ask_and_show);
}

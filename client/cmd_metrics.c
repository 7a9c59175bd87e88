/*
 * cmd_metrics.c: claudebench metrics: the daemon's metrics (common/metrics.def), asked for over its control socket; Redis is not
 * needed.
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/ask.h"
#include "client/peek.h"
#include "client/session.h"
#include "client/table.h"
#include "client/watch.h"
#include "common/clock.h"
#include "common/exitcode.h"
#include "common/mem.h"
#include "common/metrics.h"
#include "common/nearest.h"

enum { METRICS_TIMEOUT_MS = 2000 };

static const struct cli_option metrics_options[] = {
    WATCH_OPTION,
    {'p', "prometheus", NULL, "Print the text format of Prometheus."},
    {'j', "json", NULL, "Print one JSON object: each metric with its samples."},
    {0, NULL, NULL, NULL},
};

static int run_metrics(const struct cli *cli);

const struct cli_verb verb_metrics = {
    .name = "metrics",
    .operands = "[METRIC]...",
    .min_operands = 0,
    .max_operands = -1,
    .summary = "Show what the daemon and its workers have counted and measured.",
    .notes = "METRIC: only these, with claudebench_ before the name or without.\n"
             "See claudebenchd(8), METRICS, also for metrics.textfile.\n",
    .options = metrics_options,
    .run = run_metrics,
};

/* Labels have no column of their own: beside the longest name and the longest value there would not be room for them. */
static const struct table_column columns[] = {
    {"METRIC", TABLE_LEFT, TABLE_FLEX},
    {"VALUE", TABLE_RIGHT, TABLE_KEEP},
};

static const char *bare_name(const char *name)
{
    size_t len = strlen(METRICS_PREFIX);

    return strncmp(name, METRICS_PREFIX, len) == 0 ? name + len : name;
}

static const char *name_at(size_t i, const void *arg)
{
    (void)arg;
    return i < METRIC_COUNT ? bare_name(metrics[i].name) : NULL;
}

static bool is_metric(const char *name)
{
    for (size_t i = 0; i < METRIC_COUNT; i++)
        if (strcmp(bare_name(metrics[i].name), bare_name(name)) == 0)
            return true;
    return false;
}

static bool is_wanted(const struct cli *cli, const char *name)
{
    for (int i = 0; i < cli->noperands; i++)
        if (strcmp(bare_name(cli->operands[i]), bare_name(name)) == 0)
            return true;
    return cli->noperands == 0;
}

static bool ends_in(const char *text, const char *end)
{
    size_t len = strlen(text), n = strlen(end);

    return len >= n && strcmp(text + len - n, end) == 0;
}

/* ---- the table ---- */

static void put_seconds(struct buf *out, double s)
{
    if (s < 1)
        buf_printf(out, "%.3f ms", s * 1000);
    else
        buf_printf(out, "%.3f s", s);
}

static void put_labels(struct buf *out, struct json_span sample)
{
    struct json_item labels, label;
    struct json_iter it;

    if (!peek_find(sample, "labels", &labels))
        return;
    json_iter_init(&it, labels.value);
    while (json_iter_next(&it, &label)) {
        buf_putc(out, ' ');
        peek_put(label.key, "", out);
        buf_putc(out, '=');
        peek_put(label.value, "", out);
    }
}

static void put_value(struct buf *out, const char *name, struct json_span sample)
{
    struct json_item item;
    double value = peek_number(sample, "value");

    if (peek_find(sample, "count", &item)) {
        int64_t n = peek_int(sample, "count");
        buf_printf(out, "%" PRId64 ", mean ", n);
        put_seconds(out, n > 0 ? peek_number(sample, "sum") / (double)n : 0);
    } else if (ends_in(name, "_time_seconds")) {
        char text[CLOCK_RFC3339_SIZE];
        clock_format_rfc3339((int64_t)(value * 1000), text);
        buf_append(out, text, strlen("2026-11-22T08:00:00"));
        buf_putc(out, 'Z');
    } else if (ends_in(name, "_seconds")) {
        put_seconds(out, value);
    } else if (ends_in(name, "_bytes")) {
        peek_put_bytes(out, (int64_t)value);
    } else {
        peek_put(sample, "value", out);
    }
}

static void put_row(struct table *t, const char *name, struct json_span sample)
{
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;

    buf_puts(&text, bare_name(name));
    put_labels(&text, sample);
    table_cell(t, buf_peek(&text), text.len);
    buf_reset(&text);
    put_value(&text, name, sample);
    table_cell(t, buf_peek(&text), text.len);
}

static void put_table(const struct cli *cli, struct json_span answer, struct term term,
                      struct buf *out)
{
    struct table table CB_CLEANUP(table_done);
    struct json_item list, metric, samples, sample;
    struct json_iter it, each;

    table_init(&table, columns, CB_ARRAY_LEN(columns));
    if (peek_find(answer, "metrics", &list))
        json_iter_init(&it, list.value);
    else
        json_iter_init(&it, (struct json_span){"[]", 2});
    while (json_iter_next(&it, &metric)) {
        struct buf name CB_CLEANUP(buf_done) = BUF_INIT;
        peek_put(metric.value, "name", &name);
        if (!is_wanted(cli, buf_peek(&name)) || !peek_find(metric.value, "samples", &samples))
            continue;
        json_iter_init(&each, samples.value);
        while (json_iter_next(&each, &sample))
            put_row(&table, buf_peek(&name), sample.value);
    }
    table_put(&table, term, out);
}

/* ---- for programs ---- */

static void put_wanted_metrics(const struct cli *cli, struct json_span list, struct buf *out)
{
    struct json_item metric;
    struct json_iter it;

    buf_putc(out, '[');
    json_iter_init(&it, list);
    while (json_iter_next(&it, &metric)) {
        struct buf name CB_CLEANUP(buf_done) = BUF_INIT;
        peek_put(metric.value, "name", &name);
        if (!is_wanted(cli, buf_peek(&name)))
            continue;
        json_put_comma(out);
        buf_append(out, metric.value.at, metric.value.len);
    }
    buf_putc(out, ']');
}

/* The answer as it came, but for metrics that are not wanted. */
static void put_json(const struct cli *cli, struct json_span answer, struct term term,
                     struct buf *out)
{
    struct buf kept CB_CLEANUP(buf_done) = BUF_INIT;
    struct json_item member;
    struct json_iter it;

    buf_putc(&kept, '{');
    json_iter_init(&it, answer);
    while (json_iter_next(&it, &member)) {
        struct buf key CB_CLEANUP(buf_done) = BUF_INIT;
        json_decode_string(member.key, &key);
        json_put_key(&kept, buf_peek(&key));
        if (strcmp(buf_peek(&key), "metrics") == 0 && member.type == JSON_ARRAY)
            put_wanted_metrics(cli, member.value, &kept);
        else
            buf_append(&kept, member.value.at, member.value.len);
    }
    buf_putc(&kept, '}');
    session_put_json(out, (struct json_span){kept.data, kept.len}, term);
}

/* Each family begins with its line of help. */
static void put_prometheus(const struct cli *cli, struct json_span answer, struct buf *out)
{
    static const char head[] = "# HELP ";
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
    bool has_to_stay = true;

    peek_put(answer, "text", &text);
    for (const char *line = buf_peek(&text), *next; *line; line = next) {
        next = line + strcspn(line, "\n");
        next += *next != '\0';
        if (strncmp(line, head, strlen(head)) == 0) {
            const char *at = line + strlen(head);
            char *name CB_CLEANUP(mem_free_ptr) = mem_strndup(at, strcspn(at, " \n"));
            has_to_stay = is_wanted(cli, name);
        }
        if (has_to_stay)
            buf_append(out, line, (size_t)(next - line));
    }
}

/* ---- the verb ---- */

static int show(const struct cli *cli, const struct ask *a)
{
    struct buf out CB_CLEANUP(buf_done) = BUF_INIT;
    struct term term = term_detect(STDOUT_FILENO);

    if (ask_error(a, &out)) {
        cli_say("%s", buf_peek(&out));
        return EXITCODE_UNAVAILABLE;
    }
    if (cli_is_set(cli, "prometheus"))
        put_prometheus(cli, a->json, &out);
    else if (cli_is_set(cli, "json"))
        put_json(cli, a->json, term, &out);
    else
        put_table(cli, a->json, term, &out);
    return cli_write(&out);
}

static int ask_and_show(const struct cli *cli, struct session *unused)
{
    struct ask a CB_CLEANUP(ask_done) = ASK_INIT;
    int code = ask_load(&a, cli);
    (void)unused;

    if (code < 0)
        code = ask_daemon(&a,
                          cli_is_set(cli, "prometheus")
                              ? "{\"cmd\":\"metrics\",\"format\":\"prometheus\"}\n"
                              : "{\"cmd\":\"metrics\"}\n",
                          METRICS_TIMEOUT_MS);
    return code < 0 ? show(cli, &a) : code;
}

static int run_metrics(const struct cli *cli)
{
    if (cli_is_set(cli, "prometheus") && cli_is_set(cli, "json"))
        return cli_wrong_use(cli->verb, "--prometheus and --json exclude each other");
    for (int i = 0; i < cli->noperands; i++) {
        if (is_metric(cli->operands[i]))
            continue;
        const char *near = nearest_name(bare_name(cli->operands[i]), name_at, NULL);
        return cli_wrong_use(cli->verb, "no metric \"%s\"%s%s%s", cli->operands[i],
                             near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    return watch(cli, NULL, ask_and_show);
}

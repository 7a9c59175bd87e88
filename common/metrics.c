/*
 * metrics.c: see metrics.h.
 */
#include "common/compat.h"
#include "common/metrics.h"

#include "common/mem.h"

#include <math.h>

const struct metric metrics[METRIC_COUNT] = {
#define METRIC(id, type_, label_1, label_2, source_, help_)                                        \
    [METRIC_##id] = {.name = METRICS_PREFIX #id,                                                   \
                     .type = METRIC_##type_,                                                       \
                     .labels = {label_1, label_2},                                                 \
                     .source = METRIC_##source_,                                                   \
                     .help = (help_)},
#include "common/metrics.def"
#undef METRIC
};

const char *metric_type_name(enum metric_type type)
{
    static const char *const names[] = {"counter", "gauge", "histogram", "summary"};
    return names[type];
}

void metrics_done(struct metrics *m)
{
    for (size_t i = 0; i < METRIC_COUNT; i++)
        free(m->by[i].items);
    *m = (struct metrics)METRICS_INIT;
}

struct metric_sample *metrics_add(struct metrics *m, enum metric_id id, double value,
                                  const char *label_1, const char *label_2)
{
    const char *values[METRIC_LABELS] = {label_1, label_2};
    size_t len = m->by[id].len++;

    if ((len & (len - 1)) == 0) /* 0, 1, 2, 4, …: full */
        m->by[id].items = mem_realloc(m->by[id].items,
                                      (len ? len * 2 : 1) * sizeof *m->by[id].items);
    struct metric_sample *s = &m->by[id].items[len];
    *s = (struct metric_sample){.value = value};
    for (size_t i = 0; i < METRIC_LABELS && metrics[id].labels[i]; i++)
        snprintf(s->labels[i], sizeof s->labels[i], "%s", values[i]);
    return s;
}

/* ---- the text format ---- */

/* In values of labels quotes are escaped, in help they are not. */
static void put_escaped(struct buf *out, const char *text, bool is_label)
{
    for (const char *p = text; *p; p++) {
        if (*p == '\n')
            buf_puts(out, "\\n");
        else if (*p == '\\' || (*p == '"' && is_label))
            buf_printf(out, "\\%c", *p);
        else
            buf_putc(out, *p);
    }
}

void metrics_put_number(struct buf *out, double value)
{
    if (value == floor(value) && fabs(value) < 1e15)
        buf_printf(out, "%.0f", value);
    else
        buf_printf(out, "%.15g", value);
}

/* Name, suffix and labels; `le` NULL: none. */
static void put_name(struct buf *out, const struct metric *m, const char *suffix,
                     const struct metric_sample *s, const char *le)
{
    const char *before = "{";

    buf_printf(out, "%s%s", m->name, suffix);
    for (size_t i = 0; i < METRIC_LABELS && m->labels[i]; i++) {
        buf_printf(out, "%s%s=\"", before, m->labels[i]);
        put_escaped(out, s->labels[i], true);
        buf_putc(out, '"');
        before = ",";
    }
    if (le)
        buf_printf(out, "%sle=\"%s\"", before, le);
    buf_puts(out, m->labels[0] || le ? "} " : " ");
}

static void put_buckets(struct buf *out, const struct metric *m, const struct metric_sample *s)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < SCOREBOARD_BOUNDS; i++) {
        sum += s->bounded[i];
        put_name(out, m, "_bucket", s, scoreboard_bounds_s[i]);
        buf_printf(out, "%" PRIu64 "\n", sum);
    }
    /* Counted one after the other, while a worker goes on: never less than what is in the buckets. */
    uint64_t all = s->count > sum ? s->count : sum;
    put_name(out, m, "_bucket", s, "+Inf");
    buf_printf(out, "%" PRIu64 "\n", all);
    put_name(out, m, "_sum", s, NULL);
    metrics_put_number(out, s->value);
    buf_putc(out, '\n');
    put_name(out, m, "_count", s, NULL);
    buf_printf(out, "%" PRIu64 "\n", all);
}

static void put_sample(struct buf *out, const struct metric *m, const struct metric_sample *s)
{
    if (m->type == METRIC_HISTOGRAM) {
        put_buckets(out, m, s);
        return;
    }
    put_name(out, m, m->type == METRIC_SUMMARY ? "_sum" : "", s, NULL);
    metrics_put_number(out, s->value);
    buf_putc(out, '\n');
    if (m->type == METRIC_SUMMARY) {
        put_name(out, m, "_count", s, NULL);
        buf_printf(out, "%" PRIu64 "\n", s->count);
    }
}

void metrics_put_text(const struct metrics *all, struct buf *out)
{
    for (size_t id = 0; id < METRIC_COUNT; id++) {
        const struct metric *m = &metrics[id];
        if (all->by[id].len == 0)
            continue;
        buf_printf(out, "# HELP %s ", m->name);
        put_escaped(out, m->help, false);
        buf_printf(out, "\n# TYPE %s %s\n", m->name, metric_type_name(m->type));
        for (size_t i = 0; i < all->by[id].len; i++)
            put_sample(out, m, &all->by[id].items[i]);
    }
}

/*
 * metrics.h: the table of metrics (metrics.def), samples of them, and the text format of Prometheus (0.0.4).
 */
#ifndef CB_METRICS_H
#define CB_METRICS_H

#include "common/buf.h"
#include "common/scoreboard.h"

#include <stddef.h>
#include <stdint.h>

#define METRICS_PREFIX "claudebench_"
enum { METRIC_LABELS = 2, METRIC_LABEL_SIZE = 64 };

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM, METRIC_SUMMARY };
const char *metric_type_name(enum metric_type type);

enum metric_source { METRIC_HOST, METRIC_ALL };

enum metric_id {
#define METRIC(id, type, label_1, label_2, source, help) METRIC_##id,
#include "common/metrics.def"
#undef METRIC
    METRIC_COUNT
};

struct metric {
    const char *name; /* with the prefix */
    const char *help;
    const char *labels[METRIC_LABELS]; /* names; NULL: no more */
    enum metric_type type;
    enum metric_source source;
};
extern const struct metric metrics[METRIC_COUNT];

struct metric_sample {
    char labels[METRIC_LABELS][METRIC_LABEL_SIZE]; /* values, as many as there are names */
    double value;                                  /* histogram, summary: the sum */
    uint64_t count;                                /* histogram, summary */
    uint64_t bounded[SCOREBOARD_BOUNDS]; /* histogram: not cumulative, by scoreboard_bounds_us */
};

/* All samples at one moment, by metric. */
struct metrics {
    struct {
        struct metric_sample *items;
        size_t len;
    } by[METRIC_COUNT];
};
#define METRICS_INIT                                                                               \
    {                                                                                              \
        .by = {                                                                                    \
            {NULL, 0},                                                                             \
        }                                                                                          \
    }
void metrics_done(struct metrics *m); /* fits CB_CLEANUP */

/* A new sample, for the caller to fill in the rest. Values of labels: as many as there are names, "" for no more; what is too
 * long is cut. It is valid until the next one of its metric. */
struct metric_sample *metrics_add(struct metrics *m, enum metric_id id, double value,
                                  const char *label_1, const char *label_2);

/* Numbers as Prometheus has them. */
void metrics_put_number(struct buf *out, double value);
/* Appends HELP, TYPE and samples of each metric that has any. */
void metrics_put_text(const struct metrics *m, struct buf *out);

#endif

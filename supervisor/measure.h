/*
 * measure.h: takes samples of all metrics (common/metrics.def) from what the supervisor has: scoreboard, workers, the state of its
 * parts, and what Redis said last (figures.h). Waits for nobody.
 */
#ifndef CB_MEASURE_H
#define CB_MEASURE_H

#include "common/metrics.h"
#include "supervisor/jsonc.h"

struct supervisor;

/* `ret` is METRICS_INIT. What only Redis knows is left out when it was not heard of for a minute. */
void measure(struct supervisor *s, struct metrics *ret);

/* Answers for the control socket: the samples, {"version":1,"metrics":[…]}; and {"text":…}, the text format of Prometheus. */
json_object *measure_object(struct supervisor *s);
json_object *measure_text_object(struct supervisor *s);

#endif

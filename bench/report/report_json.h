/*
 * report_json.h: the JSON of --json: {"program", "machine", "rounds", "runs": [{"aof", "pinned", "rows": [{…, "ratio",
 * "median", "all"}], "growth": [{"row", "what", "points": [{"value",
 * "void", "all"}]}], "patterns": [{"pattern", "letter", "whole", "all"}], "depth", "idle", "task_bytes"}]}. Times in seconds or as their names say.
 */
#ifndef CB_BENCH_REPORT_JSON_H
#define CB_BENCH_REPORT_JSON_H

#include "bench/capacity/footprint.h"
#include "bench/env/machine.h"
#include "bench/growth/depth.h"
#include "bench/growth/growth.h"
#include "bench/patterns/pattern.h"
#include "bench/rows/pair.h"

struct report_json;
struct report_json *report_json_new(const struct machine *machine, unsigned rounds);
void report_json_section(struct report_json *j, const char *aof, const char *layout);
void report_json_pair(struct report_json *j, const struct pair *pair);
/* These belong to the section that was begun last. */
void report_json_depth(struct report_json *j, const struct depth *depth);
void report_json_growth(struct report_json *j, const struct growth *growth, unsigned rounds);
void report_json_pattern(struct report_json *j, const struct pattern_result *result,
                         unsigned rounds);
void report_json_idle(struct report_json *j, const struct footprint_idle *idle);
void report_json_task_bytes(struct report_json *j, double bytes);
/* The text, which the caller frees; the report is freed. */
char *report_json_take(struct report_json *j);

#endif

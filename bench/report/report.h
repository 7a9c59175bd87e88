/*
 * report.h: the figures as Markdown on stdout, row by row, and all of them as JSON at the end.
 */
#ifndef CB_BENCH_REPORT_H
#define CB_BENCH_REPORT_H

#include "bench/capacity/footprint.h"
#include "bench/growth/depth.h"
#include "bench/growth/growth.h"
#include "bench/patterns/pattern.h"
#include "bench/rows/pair.h"

struct report;
/* Prints the heading: the machine, the versions, the build. */
struct report *report_new(struct env *env, unsigned rounds, bool is_quick);
/* One AOF setting begins. */
void report_section(struct report *r, const struct env *env);
void report_pair(struct report *r, const struct pair *pair);
/* The section's rows are all there: prints the table of memory. */
void report_section_end(struct report *r);
void report_idle(struct report *r, const struct footprint_idle *idle);
void report_depth(struct report *r, const struct depth *depth);
/* On stderr: it takes minutes. */
void report_growth_progress(const struct report *r, const struct growth *growth, unsigned round);
/* Returns false when a point's figures mean nothing. */
bool report_growth(struct report *r, const struct growth *growth);
void report_pattern(struct report *r, const struct pattern_result *result, bool is_first);
void report_task_bytes(struct report *r, double bytes);
/* Writes the JSON to `path` when it is not NULL, and frees the report. Ends the program when it cannot. */
void report_finish(struct report *r, const char *path);

#endif

/*
 * figures.h: what a status and metrics show that only Redis knows: tasks, queues, instances, backlogs (lua/status_figures.lua,
 * lua/metrics_figures.lua).
 *
 * Asked for when somebody asks for a status, never else: an idle daemon pays nothing. Whoever asks waits a moment for them
 * (control.c), and is told the last ones when Redis does not answer.
 */
#ifndef CB_FIGURES_H
#define CB_FIGURES_H

#include "common/options.h"
#include "supervisor/jsonc.h"
#include "supervisor/redis_conn.h"

struct figures;

/* `script`: SCRIPT_STATUS_FIGURES, or SCRIPT_METRICS_FIGURES, which tells what metrics show and no more. `came` is called when what figures_ask() has asked for is there, or will not come. All arguments are borrowed. */
struct figures *figures_new(const struct options *opts, struct redis_conn *conn,
                            enum script_id script, void (*came)(void *arg), void *arg);
void figures_free(struct figures *f); /* accepts NULL */

/* True: asked for, `came` follows. False: those that are there are young enough, or Redis is not. */
bool figures_ask(struct figures *f);
/* The last ones, NULL when there are none, or none that are worth showing; *ret_age_ms is how old they are. Borrowed. */
json_object *figures_peek(const struct figures *f, int64_t *ret_age_ms);

#endif

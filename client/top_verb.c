/*
 * top_verb.c: the options of claudebench top, for claudebench, which executes claudebench-top, and for that program itself.
 */
#include "common/compat.h"
#include "client/verbs.h"

static const struct cli_option top_options[] = {
    {'d', "delay", "TIME", "Look so often, 200ms to 60s (default 1s)."},
    {0, "view", "NAME", "Begin with workers (the default), queues, instances or methods."},
    {'s', "sort", "COLUMN", "Sort by the column of this title."},
    {'r', "reverse", NULL, "Sort the other way round."},
    {0, NULL, NULL, NULL},
};

const struct cli_verb verb_top = {
    .name = "top",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .summary = "Watch workers, queues, instances and methods on a full screen.",
    .notes = "The key ? shows the keys, q ends it. It goes on while the daemon is away.\n",
    .options = top_options,
    .run = top_run,
};

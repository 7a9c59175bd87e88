/*
 * archive_verbs.c: see archive_verbs.h.
 */
#include "common/compat.h"
#include "client/archive_verbs.h"

static const struct cli_option query_options[] = {
    {'s', "state", "STATE", "Only tasks in this state."},
    {'q', "queue", "QUEUE", "Only tasks of this queue."},
    {'w', "worker", "ID", "Only what this worker holds, or had last."},
    {0, "search", "WORDS", "Only tasks whose text has these words: \"a phrase\", or, -not."},
    {0, "open", NULL, "Only tasks that are still to be done."},
    {0, "dead", NULL, "Only tasks that failed for good."},
    {0, "lost", NULL, "Only tasks whose end the archive did not see."},
    {0, "since", "TIME", "Changed (attempts: begun) at this time or later; 6h: so long ago."},
    {0, "until", "TIME", "…before this time."},
    {0, "attempts", NULL, "List attempts: who worked on what, when, and what came of it."},
    {0, "outcome", "WORD", "Only attempts that ended so: completed, failed, lost…"},
    {0, "generation", "ID", "Only of this generation of the data in Redis (archive status)."},
    {'n', "limit", "N", "At most so many (default 50); 0: all."},
    {0, "after", "CURSOR", "Go on behind an earlier page."},
    {'j', "json", NULL, "Print one JSON object, with what --after takes in `next`."},
    {0, "jsonl", NULL, "Print one JSON object per line."},
    {0, "explain", NULL, "Show how PostgreSQL would look for it."},
    {0, NULL, NULL, NULL},
};

const struct cli_verb verb_archive_query = {
    .name = "archive query",
    .operands = "[ID...]",
    .min_operands = 0,
    .max_operands = -1,
    .summary = "List tasks and attempts of the archive in PostgreSQL, the newest first.",
    .notes = "Exit 66: there is none of the IDs; 69: PostgreSQL cannot be reached; 78: no archive "
             "is configured, or its schema is not one that this program reads.\n",
    .options = query_options,
    .run = archive_query_run,
};

static const struct cli_option restore_options[] = {
    {0, "generation", "ID", "Of this generation (default: the last one that Redis does not have)."},
    {0, NULL, NULL, NULL},
};

const struct cli_verb verb_archive_restore = {
    .name = "archive restore",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .summary = "Put open tasks and schedules of the archive back into an empty Redis.",
    .notes = "Runs as the daemon's user of Redis, while a daemon runs. May be repeated when it was "
             "interrupted; until it ends nothing is claimed. Exit 66: there is nothing to restore; "
             "73: Redis is not empty.\n",
    .options = restore_options,
    .run = archive_restore_run,
};

static const struct cli_option status_options[] = {
    {'j', "json", NULL, "Print it as one JSON object."},
    {0, NULL, NULL, NULL},
};

const struct cli_verb verb_archive_status = {
    .name = "archive status",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .summary = "Show how far the archive in PostgreSQL reaches, and its schema.",
    .notes = "Exit 0: its schema is the one that this program knows; 1: it is not; 69: PostgreSQL "
             "cannot be reached; 78: no archive is configured.\n",
    .options = status_options,
    .run = archive_status_run,
};

static const struct cli_option migrate_options[] = {
    {0, "to", "VERSION", "Not farther than this one; 0 only makes sure that the database answers."},
    {0, NULL, NULL, NULL},
};

const struct cli_verb verb_archive_migrate = {
    .name = "archive migrate",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .summary = "Bring the archive's tables in PostgreSQL up to date.",
    .notes = "The archive worker does the same when it connects; by hand it may be done as another "
             "user, who may create tables. Exit 0: done, or nothing was left to do; 69, 78: see "
             "status.\n",
    .options = migrate_options,
    .run = archive_migrate_run,
};

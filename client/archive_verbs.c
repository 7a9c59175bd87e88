/*
 * archive_verbs.c: see archive_verbs.h.
 */
#include "common/compat.h"
#include "client/archive_verbs.h"

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
    .notes = "Exit 0: its schema is the one that this program knows; 1: it is not; 69: PostgreSQL\n"
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
    .notes =
        "The archive worker does the same when it connects; by hand it may be done as another\n"
        "user, who may create tables. Exit 0: done, or nothing was left to do; 69, 78: see "
        "status.\n",
    .options = migrate_options,
    .run = archive_migrate_run,
};

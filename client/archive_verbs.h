/*
 * archive_verbs.h: the verbs of `claudebench archive`.
 *
 * Two programs have them: claudebench, which knows their options and help and then executes the other one (cmd_archive.c), so that it
 * needs no libpq; and claudebench-archive, which does the work (archive/cmd_*.c). So each function that is declared here
 * is defined twice, once in each.
 */
#ifndef CB_ARCHIVE_VERBS_H
#define CB_ARCHIVE_VERBS_H

#include "client/cli.h"

extern const struct cli_verb verb_archive_query;
extern const struct cli_verb verb_archive_restore;
extern const struct cli_verb verb_archive_status;
extern const struct cli_verb verb_archive_migrate;

int archive_query_run(const struct cli *cli);
int archive_restore_run(const struct cli *cli);
int archive_status_run(const struct cli *cli);
int archive_migrate_run(const struct cli *cli);

#endif

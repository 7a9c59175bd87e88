/*
 * cmd_archive.c: claudebench archive …: executes claudebench-archive, the program that has libpq, with the same command line.
 */
#include "common/compat.h"
#include "client/archive_verbs.h"

#include "client/helper_program.h"

static int run_program(const struct cli *cli)
{
    const char *const words[] = {"claudebench", "archive", strchr(cli->verb->name, ' ') + 1, NULL};

    return helper_program_run("claudebench-archive", words, cli,
                              "; is this build without PostgreSQL?");
}

int archive_query_run(const struct cli *cli)
{
    return run_program(cli);
}

int archive_restore_run(const struct cli *cli)
{
    return run_program(cli);
}

int archive_status_run(const struct cli *cli)
{
    return run_program(cli);
}

int archive_migrate_run(const struct cli *cli)
{
    return run_program(cli);
}

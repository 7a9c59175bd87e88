/*
 * cmd_migrate.c: claudebench archive migrate.
 */
#include "common/compat.h"
#include "client/archive_verbs.h"

#include "archive/migrate.h"
#include "archive/open.h"
#include "common/exitcode.h"

static void say_applied(void *arg, const struct migration *m)
{
    (void)arg;
    printf("applied %03d_%s\n", m->version, m->name);
}

int archive_migrate_run(const struct cli *cli)
{
    CB_CLEANUP(archive_close) struct archive_session a = {.pg = NULL};
    struct cb_error err = {0};
    int64_t to;
    int version = 0;

    if (cli_int(cli, "to", 0, migrate_latest(), migrate_latest(), &to) != 0)
        return EXITCODE_USAGE;
    int status = archive_open(&a, cli);
    if (status >= 0)
        return status;
    if (migrate_to(a.pg, (int)to, say_applied, NULL, &err) != 0 ||
        migrate_version(a.pg, &version, &err) != 0)
        return archive_failed("the archive's schema", &err);
    printf("%s: schema %d", pg_describe(a.pg), version);
    if (version < migrate_latest())
        printf(" of %d", migrate_latest());
    else if (version > migrate_latest())
        printf(", newer than this program's %d", migrate_latest());
    putchar('\n');
    return EXITCODE_OK;
}

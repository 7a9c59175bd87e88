/*
 * open.c: see open.h.
 */
#include "common/compat.h"
#include "archive/open.h"

#include "archive/migrate.h"
#include "common/exitcode.h"

struct pg_config archive_pg_config(const struct options *opts)
{
    return (struct pg_config){.conninfo = opts->postgres.conninfo,
                              .application = "claudebench",
                              .connect_timeout_ms = (int)opts->postgres.connect_timeout_ms,
                              .timeout_ms = (int)opts->postgres.timeout_ms};
}

int archive_failed(const char *what, const struct cb_error *err)
{
    cli_say("%s: %s", what, err->text);
    switch (err->code) {
    case PG_LOST:
    case PG_READONLY:
        return EXITCODE_UNAVAILABLE;
    case PG_REFUSED:
        return EXITCODE_NOPERM;
    case PG_FULL:
    case PG_CONFLICT:
        return EXITCODE_TEMPFAIL;
    default:
        return EXITCODE_SOFTWARE;
    }
}

int archive_open(struct archive_session *a, const struct cli *cli)
{
    struct cb_error err = {0};

    int status = session_load(&a->s, cli);
    if (status >= 0)
        return status;
    if (!a->s.opts->postgres.conninfo[0]) {
        cli_say("no archive is configured: postgres.conninfo is empty");
        return EXITCODE_CONFIG;
    }
    struct pg_config config = archive_pg_config(a->s.opts);
    a->pg = pg_new(&config);
    if (pg_connect(a->pg, &err) == 0)
        return -1;
    return archive_failed("PostgreSQL", &err);
}

int archive_check_schema(struct archive_session *a)
{
    struct cb_error err = {0};
    int version = 0;

    if (migrate_version(a->pg, &version, &err) != 0)
        return archive_failed("the archive", &err);
    if (version >= migrate_latest())
        return -1; /* a newer one: what is asked for may well be as it was */
    if (version == 0)
        cli_say("%s has no archive yet: claudebench archive migrate makes its tables",
                pg_describe(a->pg));
    else
        cli_say("the archive's schema is %d, and this program wants %d: claudebench archive "
                "migrate brings it up to date",
                version, migrate_latest());
    return EXITCODE_CONFIG;
}

void archive_close(struct archive_session *a)
{
    pg_free(a->pg);
    session_close(&a->s);
}

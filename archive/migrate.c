/*
 * migrate.c: see migrate.h.
 */
#include "common/compat.h"
#include "archive/migrate.h"

#include "common/buf.h"
#include "common/fault.h"

/* Any number, the same in all programs of ours. */
#define LOCK "SELECT pg_advisory_xact_lock(hashtext('claudebench.migrate'))"

static const char table_sql[] = "BEGIN; " LOCK "; "
                                "CREATE SCHEMA IF NOT EXISTS claudebench; "
                                "CREATE TABLE IF NOT EXISTS claudebench.migration ("
                                "version integer PRIMARY KEY, name text NOT NULL, applied_at "
                                "timestamptz NOT NULL DEFAULT now(), "
                                "program text NOT NULL); COMMIT";

int migrate_latest(void)
{
    int latest = 0;

    for (const struct migration *m = migrations; m->version; m++)
        latest = m->version;
    return latest;
}

/* The first column of the first row as a number, 0 when there is none or it is null. */
static int64_t number_of(const PGresult *result)
{
    if (PQntuples(result) == 0 || PQgetisnull(result, 0, 0))
        return 0;
    return strtoll(PQgetvalue(result, 0, 0), NULL, 10);
}

int migrate_version(struct pg *pg, int *ret_version, struct cb_error *err)
{
    PGresult *there CB_CLEANUP(pg_result_free) = NULL;
    PGresult *version CB_CLEANUP(pg_result_free) = NULL;

    if (pg_exec(pg, "SELECT count(to_regclass('claudebench.migration'))", &there, err) != 0)
        return -1;
    if (number_of(there) == 0) {
        *ret_version = 0;
        return 0;
    }
    if (pg_exec(pg, "SELECT max(version) FROM claudebench.migration", &version, err) != 0)
        return -1;
    *ret_version = (int)number_of(version);
    return 0;
}

/* Undoes a transaction that failed; the error stays what it was. */
static void roll_back(struct pg *pg)
{
    struct cb_error ignored = {0};

    if (pg_is_up(pg))
        pg_exec(pg, "ROLLBACK", NULL, &ignored);
}

/* Whether somebody else has applied it since we looked is seen under the lock. */
static int apply(struct pg *pg, const struct migration *m, migrate_said_fn *said, void *arg,
                 struct cb_error *err)
{
    CB_CLEANUP(buf_done) struct buf sql = BUF_INIT;
    int version = 0;

    if (pg_exec(pg, "BEGIN; " LOCK, NULL, err) != 0 || migrate_version(pg, &version, err) != 0) {
        roll_back(pg);
        return -1;
    }
    if (version >= m->version) {
        roll_back(pg);
        return 0;
    }
    buf_puts(&sql, m->sql);
    buf_printf(&sql,
               "INSERT INTO claudebench.migration (version, name, program) VALUES (%d, '%s', "
               "'claudebench " PACKAGE_VERSION "')",
               m->version, m->name);
    int status = pg_exec(pg, buf_peek(&sql), NULL, err);
    fault_point("migrate.before_commit");
    if (status != 0 || pg_exec(pg, "COMMIT", NULL, err) != 0) {
        roll_back(pg);
        return cb_error_prefix(err, "migration %03d_%s", m->version, m->name);
    }
    if (said)
        said(arg, m);
    return 0;
}

int migrate_to(struct pg *pg, int version, migrate_said_fn *said, void *arg, struct cb_error *err)
{
    int has = 0;

    if (migrate_version(pg, &has, err) != 0)
        return -1;
    if (has == 0 && version > 0 && pg_exec(pg, table_sql, NULL, err) != 0) {
        roll_back(pg);
        return -1;
    }
    for (const struct migration *m = migrations; m->version && m->version <= version; m++)
        if (m->version > has && apply(pg, m, said, arg, err) != 0)
            return -1;
    return 0;
}

/*
 * cmd_status.c: claudebench archive status: the schema, and how far each namespace is archived, as the database has it. How the worker is, is
 * said by claudebench status and system.health.
 */
#include "common/compat.h"
#include "client/archive_verbs.h"

#include "archive/migrate.h"
#include "archive/open.h"
#include "client/table.h"
#include "common/exitcode.h"
#include "common/json.h"

static const char generations_sql[] =
    "SELECT prefix, generation, to_char(last_seen_at, 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), "
    "coalesce(events_upto, ''), audit_upto, to_char(walked_at, "
    "'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') "
    "FROM claudebench.generation ORDER BY last_seen_at DESC LIMIT 100";

static const struct table_column columns[] = {
    {"PREFIX", TABLE_LEFT, TABLE_KEEP},      {"GENERATION", TABLE_LEFT, TABLE_FLEX},
    {"SEEN", TABLE_LEFT, TABLE_KEEP},        {"EVENTS UP TO", TABLE_LEFT, TABLE_KEEP},
    {"AUDIT UP TO", TABLE_LEFT, TABLE_DROP}, {"WALKED", TABLE_LEFT, TABLE_DROP + 1},
};
static const char *const names[] = {"prefix",     "generation", "lastSeenAt",
                                    "eventsUpTo", "auditUpTo",  "walkedAt"};

static void put_table(const PGresult *rows, struct buf *out)
{
    struct table t;

    table_init(&t, columns, CB_ARRAY_LEN(columns));
    for (int i = 0; i < PQntuples(rows); i++)
        for (int c = 0; c < (int)CB_ARRAY_LEN(columns); c++)
            table_cell_str(&t, PQgetvalue(rows, i, c)[0] ? PQgetvalue(rows, i, c) : "-");
    if (PQntuples(rows) > 0)
        table_put(&t, term_detect(STDOUT_FILENO), out);
    table_done(&t);
}

static void put_json(const char *where, int version, const PGresult *rows, struct buf *out)
{
    buf_puts(out, "{\"database\":");
    json_put_cstr(out, where);
    buf_printf(out, ",\"schema\":%d,\"knows\":%d,\"namespaces\":[", version, migrate_latest());
    for (int i = 0; rows && i < PQntuples(rows); i++) {
        buf_puts(out, i ? ",{" : "{");
        for (int c = 0; c < (int)CB_ARRAY_LEN(names); c++) {
            buf_printf(out, "%s\"%s\":", c ? "," : "", names[c]);
            if (PQgetvalue(rows, i, c)[0])
                json_put_cstr(out, PQgetvalue(rows, i, c));
            else
                buf_puts(out, "null");
        }
        buf_putc(out, '}');
    }
    buf_puts(out, "]}\n");
}

static void put_text(const char *where, int version, const PGresult *rows, struct buf *out)
{
    buf_printf(out, "database  %s\nschema    %d%s\n", where, version,
               version < migrate_latest()   ? ": claudebench archive migrate brings it up to date"
               : version > migrate_latest() ? ": newer than this program knows"
                                            : "");
    if (rows)
        put_table(rows, out);
}

int archive_status_run(const struct cli *cli)
{
    CB_CLEANUP(archive_close) struct archive_session a = {.pg = NULL};
    CB_CLEANUP(buf_done) struct buf out = BUF_INIT;
    PGresult *rows CB_CLEANUP(pg_result_free) = NULL;
    struct cb_error err = {0};
    int version = 0;

    int status = archive_open(&a, cli);
    if (status >= 0)
        return status;
    if (migrate_version(a.pg, &version, &err) != 0 ||
        (version > 0 && pg_exec(a.pg, generations_sql, &rows, &err) != 0))
        return archive_failed("the archive", &err);
    if (cli_is_set(cli, "json"))
        put_json(pg_describe(a.pg), version, rows, &out);
    else
        put_text(pg_describe(a.pg), version, rows, &out);
    status = cli_write(&out);
    return status != EXITCODE_OK         ? status
           : version == migrate_latest() ? EXITCODE_OK
                                         : EXITCODE_FAILURE;
}

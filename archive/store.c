/*
 * store.c: see store.h. What is sent up to one sync of the pipeline is one transaction of the server's. Every statement is prepared when
 * the connection is made; parameters are binary.
 */
#include "common/compat.h"
#include "archive/store.h"

#include "common/fault.h"
#include "common/mem.h"

#include <time.h>

enum { MONTHS_MAX = 256 };

/* Of several workers the one with the earlier events may commit later: what is archived does not go back by that. */
static const char place_sql[] =
    "INSERT INTO claudebench.generation AS g (generation, prefix, events_upto, audit_upto, "
    "audit_entries, last_number, walked_at) "
    "VALUES ($1, $2, nullif($3, ''), coalesce(nullif($4, ''), '0-0'), $5::bigint, $6::bigint, "
    "CASE WHEN $7 = '1' THEN now() END) "
    "ON CONFLICT (generation) DO UPDATE SET prefix = excluded.prefix, last_seen_at = now(), "
    "events_upto = CASE WHEN g.events_upto IS NULL OR string_to_array(excluded.events_upto, '-')::"
    "numeric[] > string_to_array(g.events_upto, '-')::numeric[] THEN excluded.events_upto "
    "ELSE g.events_upto END, "
    "audit_upto = CASE WHEN $4 = '' THEN g.audit_upto ELSE excluded.audit_upto END, "
    "audit_entries = CASE WHEN $4 = '' THEN g.audit_entries ELSE excluded.audit_entries END, "
    "last_number = greatest(g.last_number, excluded.last_number), "
    "walked_at = coalesce(excluded.walked_at, g.walked_at)";

/* A month that has its partition. */
struct month {
    const char *parent;
    int month; /* of all since the year 0 */
};

struct store {
    struct pg *pg;
    struct month months[MONTHS_MAX];
    size_t nmonths;
    int under_way; /* statements */
};

struct store *store_new(struct pg *pg)
{
    struct store *s = mem_alloc(sizeof *s);

    s->pg = pg;
    return s;
}

void store_free(struct store *s)
{
    free(s);
}

bool store_is_busy(const struct store *s)
{
    return s->under_way > 0;
}

static int lost(struct store *s, struct cb_error *err)
{
    char text[sizeof err->text];

    snprintf(text, sizeof text, "%s", PQerrorMessage(pg_conn(s->pg)));
    text[strcspn(text, "\n")] = '\0';
    pg_disconnect(s->pg);
    s->under_way = 0;
    return cb_error_set(err, PG_LOST, "%s", text);
}

/* ---- the end of what was sent ---- */

/* The results of one statement. The first failure counts: those behind it were not carried out. */
static int take_results(struct store *s, struct cb_error *err, bool *ret_is_sync)
{
    PGresult *result;
    int status = 0;

    for (;;) {
        if (pg_next_result(s->pg, &result, err) != 0) {
            s->under_way = 0;
            return -1;
        }
        if (!result)
            return status;
        ExecStatusType said = PQresultStatus(result);
        *ret_is_sync = said == PGRES_PIPELINE_SYNC;
        if (said == PGRES_FATAL_ERROR)
            status = pg_result_error(result, err);
        else if (said == PGRES_PIPELINE_ABORTED && status == 0)
            status = cb_error_set(err, PG_ERROR, "not carried out");
        PQclear(result);
        if (*ret_is_sync)
            return status;
    }
}

int store_wait(struct store *s, struct cb_error *err)
{
    struct cb_error later;
    int status = 0;

    if (s->under_way == 0)
        return 0;
    for (bool is_sync = false; !is_sync;) {
        int one = take_results(s, status == 0 ? err : &later, &is_sync);
        if (one != 0 && !pg_is_up(s->pg))
            return status == 0 ? -1 : cb_error_set(err, PG_LOST, "%s", later.text);
        if (status == 0)
            status = one;
    }
    s->under_way = 0;
    if (status != 0)
        s->nmonths = 0; /* perhaps retention has dropped one */
    if (!PQexitPipelineMode(pg_conn(s->pg)))
        return lost(s, err);
    fault_point("archive.after_commit");
    return status;
}

/* ---- months ---- */

static int month_of(int64_t us)
{
    time_t seconds = (time_t)(us / 1000000);
    struct tm tm;

    gmtime_r(&seconds, &tm);
    return (tm.tm_year + 1900) * 12 + tm.tm_mon;
}

static bool has_month(const struct store *s, const char *parent, int month)
{
    for (size_t i = 0; i < s->nmonths; i++)
        if (s->months[i].month == month && strcmp(s->months[i].parent, parent) == 0)
            return true;
    return false;
}

static int make_month(struct store *s, const char *parent, int month, struct cb_error *err)
{
    char day[48];
    const char *values[] = {parent, day};

    if (has_month(s, parent, month))
        return 0;
    snprintf(day, sizeof day, "%04d-%02d-01 00:00+00", month / 12, month % 12 + 1);
    if (pg_query(s->pg, "SELECT claudebench.make_month($1, $2::timestamptz)", 2, values, NULL,
                 err) != 0)
        return -1;
    if (s->nmonths == MONTHS_MAX)
        s->nmonths = 0;
    s->months[s->nmonths++] = (struct month){parent, month};
    return 0;
}

static int make_months(struct store *s, const struct batch *b, struct cb_error *err)
{
    for (int i = 0; i < TABLE_COUNT; i++) {
        const struct table_rows *t = &b->tables[i];
        int last = -1;
        for (int row = 0; t->def->parent && row < t->rows; row++) {
            int month = month_of(column_time(&t->columns[t->def->month_column], row));
            if (month != last && make_month(s, t->def->parent, month, err) != 0)
                return -1;
            last = month;
        }
    }
    return 0;
}

/* ---- sending ---- */

int store_open(struct store *s, struct cb_error *err)
{
    PGconn *conn = pg_conn(s->pg);

    s->nmonths = 0;
    s->under_way = 0;
    if (!PQenterPipelineMode(conn) || !PQsendPrepare(conn, "place", place_sql, 0, NULL))
        return lost(s, err);
    for (int i = 0; i < TABLE_COUNT; i++) {
        CB_CLEANUP(buf_done) struct buf sql = BUF_INIT;
        table_put_sql((enum table_id)i, &sql);
        if (!PQsendPrepare(conn, table_def((enum table_id)i)->name, buf_peek(&sql), 0, NULL))
            return lost(s, err);
    }
    s->under_way = TABLE_COUNT + 1;
    if (!PQpipelineSync(conn))
        return lost(s, err);
    return store_wait(s, err);
}

static int send_table(struct store *s, struct table_rows *t, const char *generation,
                      struct cb_error *err)
{
    const char *values[1 + TABLE_COLUMNS_MAX];
    int lens[1 + TABLE_COLUMNS_MAX], formats[1 + TABLE_COLUMNS_MAX];

    if (t->rows == 0)
        return 0;
    values[0] = generation;
    lens[0] = 0;
    formats[0] = 0;
    for (int c = 0; c < t->def->ncolumns; c++) {
        values[c + 1] = column_finish(&t->columns[c], &lens[c + 1]);
        formats[c + 1] = 1;
    }
    if (!PQsendQueryPrepared(pg_conn(s->pg), t->def->name, t->def->ncolumns + 1, values, lens,
                             formats, 0))
        return lost(s, err);
    s->under_way++;
    return 0;
}

static int send_place(struct store *s, const struct store_place *p, struct cb_error *err)
{
    char entries[24], number[24];
    const char *values[] = {p->generation, p->prefix, p->events_upto,         p->audit_upto,
                            entries,       number,    p->is_walked ? "1" : ""};

    snprintf(entries, sizeof entries, "%" PRId64, p->audit_entries);
    snprintf(number, sizeof number, "%" PRId64, p->last_number);
    if (!PQsendQueryPrepared(pg_conn(s->pg), "place", (int)CB_ARRAY_LEN(values), values, NULL, NULL,
                             0))
        return lost(s, err);
    s->under_way++;
    return 0;
}

int store_send(struct store *s, struct batch *b, const struct store_place *place,
               struct cb_error *err)
{
    cb_assert(s->under_way == 0);
    if (!pg_is_up(s->pg))
        return cb_error_set(err, PG_LOST, "not connected");
    if (make_months(s, b, err) != 0)
        return -1;
    if (!PQenterPipelineMode(pg_conn(s->pg)))
        return lost(s, err);
    for (int i = 0; i < TABLE_COUNT; i++)
        if (send_table(s, &b->tables[i], place->generation, err) != 0)
            return -1;
    if (send_place(s, place, err) != 0)
        return -1;
    fault_point("archive.before_commit");
    if (!PQpipelineSync(pg_conn(s->pg)))
        return lost(s, err);
    if (pg_flush(s->pg, err) == 0)
        return 0;
    s->under_way = 0;
    return -1;
}

int store_write(struct store *s, struct batch *b, const struct store_place *place,
                struct cb_error *err)
{
    return store_send(s, b, place, err) != 0 ? -1 : store_wait(s, err);
}

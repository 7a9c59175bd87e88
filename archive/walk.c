/*
 * walk.c: see walk.h.
 */
#include "common/compat.h"
#include "archive/pg.h"
#include "archive/walk.h"

#include "common/clock.h"
#include "common/keys.h"

enum { PAGE = 500 };
#define PAGE_TEXT "500"

void walk_begin(struct walk *w)
{
    *w = (struct walk){.stage = WALK_TASKS};
}

bool walk_is_on(const struct walk *w)
{
    return w->stage != WALK_NONE;
}

static void next_stage(struct walk *w)
{
    w->stage = w->stage == WALK_OPEN ? WALK_NONE : w->stage + 1;
    w->rank = 0;
}

/* ---- tasks ---- */

static int page_of_tasks(struct walk *w, struct source *s, struct touched_set *set,
                         struct cb_error *err)
{
    CB_CLEANUP(arena_done) struct arena a = ARENA_INIT;
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
    struct script_call call;

    script_call_init(&call, SCRIPT_ARCHIVE_WALK);
    script_call_key(&call, keys_make(&a, s->opts->redis.prefix, KEY_QUEUES));
    script_call_arg_str(&call, arena_printf(&a, "%s:", s->opts->redis.prefix));
    script_call_arg_str(&call, w->cursor);
    script_call_arg_int(&call, PAGE);
    int status = scripts_run(s->link, &call, &reply, err);
    script_call_done(&call);
    if (status != 0)
        return -1;
    const reply_t *ids = reply_at(reply, 1);
    for (size_t i = 0; i < reply_count(ids); i++)
        touched_add(set, TOUCHED_TASK, reply_str(reply_at(ids, i)), reply_bytes(reply_at(ids, i)));
    if (reply_bytes(reply_at(reply, 0)) >= sizeof w->cursor)
        return cb_error_set(err, REDIS_ERROR, "a cursor of %zu bytes",
                            reply_bytes(reply_at(reply, 0)));
    snprintf(w->cursor, sizeof w->cursor, "%s", reply_str(reply_at(reply, 0)));
    if (!w->cursor[0])
        next_stage(w);
    return 0;
}

/* ---- the other records: sorted sets of their ids ---- */

static int page_of_ids(struct walk *w, struct source *s, enum key_id key, enum touched_kind kind,
                       struct touched_set *set, struct cb_error *err)
{
    CB_CLEANUP(arena_done) struct arena a = ARENA_INIT;
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;

    if (redis_link_callv(s->link, &reply, err, "ZRANGE", keys_make(&a, s->opts->redis.prefix, key),
                         arena_int(&a, w->rank), arena_int(&a, w->rank + PAGE - 1), NULL) != 0)
        return -1;
    for (size_t i = 0; i < reply_count(reply); i++)
        touched_add(set, kind, reply_str(reply_at(reply, i)), reply_bytes(reply_at(reply, i)));
    w->rank += PAGE;
    if (reply_count(reply) < PAGE)
        next_stage(w);
    return 0;
}

/* ---- what the archive has as open ---- */

/* A cursor that lives beside the transactions of this connection. */
static int open_cursor(struct walk *w, struct source *s, struct pg *pg, struct cb_error *err)
{
    const char *generation = s->generation;
    PGresult *quoted CB_CLEANUP(pg_result_free) = NULL;
    struct buf sql CB_CLEANUP(buf_done) = BUF_INIT;

    /* DECLARE takes no parameters. */
    if (pg_query(pg, "SELECT quote_literal($1::text)", 1, &generation, &quoted, err) != 0)
        return -1;
    buf_printf(&sql,
               "DECLARE claudebench_walk NO SCROLL CURSOR WITH HOLD FOR SELECT id FROM "
               "claudebench.task WHERE generation = %s AND ended_at IS NULL AND gone_at IS NULL",
               PQgetvalue(quoted, 0, 0));
    if (pg_exec(pg, buf_peek(&sql), NULL, err) != 0)
        return -1;
    w->has_cursor = true;
    return 0;
}

static int page_of_open(struct walk *w, struct source *s, struct pg *pg, struct touched_set *set,
                        struct cb_error *err)
{
    PGresult *rows CB_CLEANUP(pg_result_free) = NULL;
    int64_t now_ms = clock_wall_ms();

    if (!w->has_cursor && open_cursor(w, s, pg, err) != 0)
        return -1;
    if (pg_exec(pg, "FETCH " PAGE_TEXT " FROM claudebench_walk", &rows, err) != 0)
        return -1;
    for (int i = 0; i < PQntuples(rows); i++) {
        struct touched *t = touched_add(set, TOUCHED_TASK, PQgetvalue(rows, i, 0),
                                        (size_t)PQgetlength(rows, i, 0));
        if (t)
            t->at_ms = now_ms;
    }
    if (PQntuples(rows) == PAGE)
        return 0;
    w->has_cursor = false;
    next_stage(w);
    return pg_exec(pg, "CLOSE claudebench_walk", NULL, err);
}

int walk_page(struct walk *w, struct source *s, struct pg *pg, struct touched_set *set,
              bool *ret_marks_lost, struct cb_error *err)
{
    int status = 0;

    *ret_marks_lost = w->stage == WALK_OPEN;
    switch (w->stage) {
    case WALK_NONE:
        break;
    case WALK_TASKS:
        status = page_of_tasks(w, s, set, err);
        break;
    case WALK_ACTIVE:
        status = page_of_ids(w, s, KEY_INSTANCES_ACTIVE, TOUCHED_INSTANCE, set, err);
        break;
    case WALK_OFFLINE:
        status = page_of_ids(w, s, KEY_INSTANCES_OFFLINE, TOUCHED_INSTANCE, set, err);
        break;
    case WALK_DECISIONS:
        status = page_of_ids(w, s, KEY_QUORUM_OPEN, TOUCHED_DECISION, set, err);
        break;
    case WALK_SCHEDULES:
        status = page_of_ids(w, s, KEY_SCHEDULES_IDS, TOUCHED_SCHEDULE, set, err);
        break;
    case WALK_OPEN:
        status = page_of_open(w, s, pg, set, err);
        break;
    }
    w->records += set->len;
    return status;
}

/*
 * record_task.c: a task's hash as rows of `task` and `attempt` (records.h). The names of its fields are those of lua/include/task.lua.
 */
#include "common/compat.h"
#include "archive/records_int.h"

#include "common/mem.h"

enum { ATTEMPTS_MAX = 12 }; /* ten that failed, and one more (history.lua) */

/* The fields that are looked at, in any order. */
/* clang-format off */
enum task_field {
    F_st, F_text, F_pr, F_q, F_ro, F_up, F_v, F_at, F_ma, F_cc, F_mc, F_bo, F_lm, F_ho, F_du, F_en, F_de, F_dr, F_sc, F_af, F_of,
    F_uk, F_pn, F_payload, F_meta, F_result, F_err, F_hy, F_tk, F_dop, F_dtk, F_dby, F_s, F_c, F_n, F_l,
    FIELDS
};
/* clang-format on */

struct task {
    const char *id;
    int64_t created_us;
    struct json_span f[FIELDS];
};

/* Names differ in their first four bytes. */
#define NAME(a, b, c, d)                                                                           \
    ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

/* clang-format off */
static int field_of(const char *name, size_t len)
{
    unsigned char c[4] = {0};

    memcpy(c, name, len < 4 ? len : 4);
    switch (NAME(c[0], c[1], c[2], c[3])) {
    case NAME('s', 't', 0, 0): return F_st;
    case NAME('t', 'e', 'x', 't'): return F_text;
    case NAME('p', 'r', 0, 0): return F_pr;
    case NAME('q', 0, 0, 0): return F_q;
    case NAME('r', 'o', 0, 0): return F_ro;
    case NAME('u', 'p', 0, 0): return F_up;
    case NAME('v', 0, 0, 0): return F_v;
    case NAME('a', 't', 0, 0): return F_at;
    case NAME('m', 'a', 0, 0): return F_ma;
    case NAME('c', 'c', 0, 0): return F_cc;
    case NAME('m', 'c', 0, 0): return F_mc;
    case NAME('b', 'o', 0, 0): return F_bo;
    case NAME('l', 'm', 0, 0): return F_lm;
    case NAME('h', 'o', 0, 0): return F_ho;
    case NAME('d', 'u', 0, 0): return F_du;
    case NAME('e', 'n', 0, 0): return F_en;
    case NAME('d', 'e', 0, 0): return F_de;
    case NAME('d', 'r', 0, 0): return F_dr;
    case NAME('s', 'c', 0, 0): return F_sc;
    case NAME('a', 'f', 0, 0): return F_af;
    case NAME('o', 'f', 0, 0): return F_of;
    case NAME('u', 'k', 0, 0): return F_uk;
    case NAME('p', 'n', 0, 0): return F_pn;
    case NAME('p', 'a', 'y', 'l'): return F_payload;
    case NAME('m', 'e', 't', 'a'): return F_meta;
    case NAME('r', 'e', 's', 'u'): return F_result;
    case NAME('e', 'r', 'r', 0): return F_err;
    case NAME('h', 'y', 0, 0): return F_hy;
    case NAME('t', 'k', 0, 0): return F_tk;
    case NAME('d', 'o', 'p', 0): return F_dop;
    case NAME('d', 't', 'k', 0): return F_dtk;
    case NAME('d', 'b', 'y', 0): return F_dby;
    case NAME('s', 0, 0, 0): return F_s;
    case NAME('c', 0, 0, 0): return F_c;
    case NAME('n', 0, 0, 0): return F_n;
    case NAME('l', 0, 0, 0): return F_l;
    default: return -1;
    }
}
/* clang-format on */

/* Takes a field apart that is several values, joined by spaces; the last one may have spaces. -1: passed over. */
static void split_field(struct task *t, enum task_field from, const int *to, size_t n)
{
    struct json_span rest = t->f[from];

    for (size_t i = 0; i < n && rest.at; i++) {
        const char *space = i + 1 < n ? memchr(rest.at, ' ', rest.len) : NULL;
        size_t len = space ? (size_t)(space - rest.at) : rest.len;
        if (to[i] >= 0)
            t->f[to[i]] = (struct json_span){rest.at, len};
        rest = space ? (struct json_span){space + 1, rest.len - len - 1}
                     : (struct json_span){NULL, 0};
    }
}

static bool is_word(struct json_span s, const char *word)
{
    return s.at && s.len == strlen(word) && memcmp(s.at, word, s.len) == 0;
}

/* lua/include/task_fields.lua. A task that no script has touched since schema 2 has `n` and `l` instead of `s`, and its state by itself;
 * since schema 1, each value by itself. */
static void split_fields(struct task *t)
{
    static const int state[] = {F_st, F_v, F_at, F_up, -1, -1, -1, F_ho},
                     constants[] = {F_pr, F_ma, F_mc, -1, -1, F_q},
                     numbers[] = {F_v, F_at, F_up, F_en}, hold[] = {-1, -1, -1, F_ho};

    split_field(t, F_c, constants, CB_ARRAY_LEN(constants));
    if (!t->f[F_s].at) {
        split_field(t, F_n, numbers, CB_ARRAY_LEN(numbers));
        split_field(t, F_l, hold, CB_ARRAY_LEN(hold));
        return;
    }
    split_field(t, F_s, state, CB_ARRAY_LEN(state));
    if (is_word(t->f[F_st], "completed") || is_word(t->f[F_st], "failed") ||
        is_word(t->f[F_st], "cancelled"))
        t->f[F_en] = t->f[F_up];
}

static void read_fields(const reply_t *fields, struct task *ret)
{
    for (size_t i = 0; i + 1 < reply_count(fields); i += 2) {
        const reply_t *name = reply_at(fields, i), *value = reply_at(fields, i + 1);
        int field = field_of(reply_str(name), reply_bytes(name));
        if (field >= 0)
            ret->f[field] = (struct json_span){reply_str(value), reply_bytes(value)};
    }
    split_fields(ret);
}

static bool is_state(struct json_span s)
{
    static const char *const states[] = {"blocked",   "delayed", "pending",  "in_progress",
                                         "completed", "failed",  "cancelled"};

    for (size_t i = 0; i < CB_ARRAY_LEN(states); i++)
        if (is_word(s, states[i]))
            return true;
    return false;
}

int64_t record_task_created_us(const char *id)
{
    int64_t us;
    struct json_span digits = {id + 2, strlen(id) - (id[0] && id[1] ? 2 : 0)};

    if (strncmp(id, "t-", 2) != 0 || digits.at[strspn(digits.at, "0123456789")] ||
        !record_int(digits, &us) || us >= RECORD_MS_MAX * 1000)
        return -1;
    return us;
}

/* ---- attempts ---- */

/* A lease's token begins with the microsecond of its claim; the history has milliseconds. */
static bool token_start(struct json_span token, int64_t *ret_us)
{
    const char *dash = token.at ? memchr(token.at, '-', token.len) : NULL;

    if (!dash || !record_int((struct json_span){token.at, (size_t)(dash - token.at)}, ret_us) ||
        *ret_us < 0 || *ret_us >= RECORD_MS_MAX * 1000)
        return false;
    *ret_us -= *ret_us % 1000;
    return true;
}

/* Begins a row of `attempt`: its key. */
static bool begin_attempt(struct batch *b, const char *id, int64_t start_us, int64_t attempt)
{
    char key[64];

    snprintf(key, sizeof key, "%s %" PRId64 " %" PRId64, id, start_us, attempt);
    if (!batch_begin_row(b, TABLE_ATTEMPT, key))
        return false;
    batch_cstr(b, TABLE_ATTEMPT, id);
    batch_int(b, TABLE_ATTEMPT, start_us);
    batch_int(b, TABLE_ATTEMPT, attempt);
    return true;
}

/* One that runs, or was completed: `token` and `worker` are the task's. */
static void add_attempt(struct batch *b, const struct task *t, enum task_field token,
                        enum task_field worker, const char *outcome)
{
    int64_t start_us, attempt;

    if (!token_start(t->f[token], &start_us) || !record_int(t->f[F_at], &attempt) || attempt < 0 ||
        attempt > INT32_MAX || !begin_attempt(b, t->id, start_us, attempt))
        return;
    record_put_span(b, TABLE_ATTEMPT, t->f[worker]);
    if (is_word(t->f[F_st], "in_progress"))
        batch_null(b, TABLE_ATTEMPT);
    else
        record_put_ms(b, TABLE_ATTEMPT, t->f[F_en]);
    batch_cstr(b, TABLE_ATTEMPT, outcome);
    batch_null(b, TABLE_ATTEMPT);
    batch_null(b, TABLE_ATTEMPT);
    batch_end_row(b, TABLE_ATTEMPT);
}

/* A line of the history: {"attempt":…,"worker":…,"startedAt":…,"endedAt":…,"outcome":…[,"error":…][,"signal":…]}. */
static void add_line(struct batch *b, const struct task *t, struct json_span line)
{
    struct json_item item, error;
    enum json_type type;
    int64_t start_us, end_us, attempt;

    if (json_check(line.at, line.len, &line, &type, NULL) != 0 || type != JSON_OBJECT ||
        !json_find(line, "attempt", &item) || json_decode_int(item.value, &attempt) != 0 ||
        attempt < 0 || attempt > INT32_MAX || !record_member_time(line, "startedAt", &start_us) ||
        !record_member_time(line, "endedAt", &end_us) || !json_find(line, "outcome", &item) ||
        item.type != JSON_STRING || !begin_attempt(b, t->id, start_us, attempt))
        return;
    record_put_member(b, TABLE_ATTEMPT, line, "worker");
    batch_int(b, TABLE_ATTEMPT, end_us);
    record_put_string(b, TABLE_ATTEMPT, item.value);
    record_put_member(b, TABLE_ATTEMPT, line, "signal");
    if (json_find(line, "error", &error))
        record_put_span(b, TABLE_ATTEMPT, error.value);
    else
        batch_null(b, TABLE_ATTEMPT);
    batch_end_row(b, TABLE_ATTEMPT);
}

static void add_attempts(struct batch *b, const struct task *t)
{
    struct json_span rest = t->f[F_hy];

    if (is_word(t->f[F_st], "in_progress"))
        add_attempt(b, t, F_tk, F_ho, "running");
    else if (is_word(t->f[F_st], "completed") && t->f[F_tk].at) /* keeps its holder: complete.lua */
        add_attempt(b, t, F_tk, F_ho, "completed");
    else if (is_word(t->f[F_st], "completed") && is_word(t->f[F_dop], "complete"))
        add_attempt(b, t, F_dtk, F_dby, "completed");
    for (int i = 0; rest.at && rest.len > 0 && i < ATTEMPTS_MAX; i++) {
        const char *end = memchr(rest.at, '\n', rest.len);
        size_t len = end ? (size_t)(end - rest.at) : rest.len;
        add_line(b, t, (struct json_span){rest.at, len});
        len += end != NULL;
        rest = (struct json_span){rest.at + len, rest.len - len};
    }
}

/* ---- the task ---- */

/* "<due, wall ms> <schedule>" */
static void put_schedule(struct batch *b, struct json_span s)
{
    const char *space = s.at ? memchr(s.at, ' ', s.len) : NULL;
    size_t len = space ? (size_t)(space - s.at) : 0;

    if (!space) {
        batch_null(b, TABLE_TASK);
        batch_null(b, TABLE_TASK);
        return;
    }
    batch_text(b, TABLE_TASK, space + 1, s.len - len - 1);
    record_put_ms(b, TABLE_TASK, (struct json_span){s.at, len});
}

static void put_or(struct batch *b, struct json_span s, int64_t fallback)
{
    int64_t n;

    batch_int(b, TABLE_TASK, record_int(s, &n) && n >= INT32_MIN && n <= INT32_MAX ? n : fallback);
}

static void put_bigint(struct batch *b, struct json_span s)
{
    int64_t n;

    if (record_int(s, &n))
        batch_int(b, TABLE_TASK, n);
    else
        batch_null(b, TABLE_TASK);
}

static void add_task(struct batch *b, const struct task *t, int64_t version, int64_t updated_ms)
{
    const struct json_span *f = t->f;
    const enum table_id T = TABLE_TASK;
    bool waits = is_word(f[F_st], "delayed") || is_word(f[F_st], "blocked");

    batch_cstr(b, T, t->id);
    batch_int(b, T, t->created_us);
    batch_int(b, T, version);
    record_put_span(b, T, f[F_st]);
    record_put_string(b, T, f[F_text]);
    record_put_span(b, T, f[F_q]);
    record_put_int(b, T, f[F_pr]);
    record_put_span(b, T, f[F_ro]);
    record_put_span(b, T,
                    f[F_ho].at                      ? f[F_ho]
                    : is_word(f[F_st], "completed") ? f[F_dby]
                                                    : f[F_ho]);
    put_or(b, f[F_at], 0);
    record_put_int(b, T, f[F_ma]);
    put_or(b, f[F_cc], 0);
    record_put_int(b, T, f[F_mc]);
    batch_int(b, T, updated_ms * 1000);
    record_put_ms(b, T, f[F_en]);
    record_put_ms(b, T, waits ? f[F_du] : (struct json_span){NULL, 0});
    batch_int(b, T, is_word(f[F_de], "1"));
    record_put_span(b, T, f[F_dr]);
    record_put_span(b, T, f[F_af]);
    record_put_span(b, T, f[F_of]);
    record_put_span(b, T, f[F_uk]);
    record_put_span(b, T, f[F_pn]);
    put_schedule(b, f[F_sc]);
    record_put_span(b, T, f[F_bo]);
    put_bigint(b, f[F_lm]);
    record_put_json(b, T, f[F_payload]);
    record_put_json(b, T, f[F_meta]);
    record_put_json(b, T, f[F_result]);
    record_put_json(b, T, f[F_err]);
    batch_end_row(b, T);
}

bool record_task(struct batch *b, const char *id, const reply_t *fields)
{
    struct task t = {.id = id, .created_us = record_task_created_us(id)};
    int64_t version, updated_ms;

    read_fields(fields, &t);
    if (t.created_us < 0 || !is_state(t.f[F_st]) || !record_int(t.f[F_v], &version) ||
        version < 1 || !record_int(t.f[F_up], &updated_ms) || updated_ms < 0 ||
        updated_ms >= RECORD_MS_MAX)
        return false;
    if (!batch_begin_row(b, TABLE_TASK, id))
        return true;
    add_task(b, &t, version, updated_ms);
    add_attempts(b, &t);
    return true;
}

void record_task_end(struct batch *b, const char *id, const struct record_end *end)
{
    const enum table_id T = TABLE_TASK_END;
    int64_t created_us = record_task_created_us(id);

    if (created_us < 0 || !batch_begin_row(b, T, id))
        return;
    batch_cstr(b, T, id);
    batch_int(b, T, created_us);
    batch_int(b, T, 0);
    batch_cstr(b, T, end->state ? end->state : "unknown");
    batch_int(b, T, end->at_ms * 1000 + (end->state ? 999 : 0)); /* tables.c: IS_TOLD */
    if (end->state)
        batch_int(b, T, end->at_ms * 1000);
    else
        batch_null(b, T);
    batch_cstr(b, T, end->worker);
    batch_int(b, T, end->is_dead);
    if (end->is_deleted || end->is_lost)
        batch_int(b, T, end->at_ms * 1000);
    else
        batch_null(b, T);
    batch_cstr(b, T, end->is_deleted ? "deleted" : end->is_lost ? "lost" : NULL);
    batch_end_row(b, T);
}

static struct json_span status_of(const reply_t *fields)
{
    struct json_span s = record_find(fields, "s");
    const char *space = s.at ? memchr(s.at, ' ', s.len) : NULL;

    if (!s.at)
        return record_find(fields, "st");
    return (struct json_span){s.at, space ? (size_t)(space - s.at) : s.len};
}

void record_attempt_end(struct batch *b, const char *id, const reply_t *fields, int64_t at_ms)
{
    const enum table_id T = TABLE_ATTEMPT_END;
    int64_t created_us = record_task_created_us(id), running_us;

    if (created_us < 0 || !batch_begin_row(b, T, id))
        return;
    batch_cstr(b, T, id);
    batch_int(b, T, created_us);
    batch_int(b, T, at_ms * 1000);
    batch_cstr(b, T, "released");
    if (is_word(status_of(fields), "in_progress") &&
        token_start(record_find(fields, "tk"), &running_us))
        batch_int(b, T, running_us);
    else
        batch_null(b, T);
    batch_end_row(b, T);
}

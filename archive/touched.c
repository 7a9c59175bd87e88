/*
 * touched.c: see touched.h. The kinds of events are those that the scripts emit (lua/).
 */
#include "common/compat.h"
#include "archive/touched.h"

#include "common/mem.h"

enum { ID_MAX = 256 };

static const struct event_field *find(const struct event_entry *e, const char *name)
{
    for (size_t i = 0; i < e->nfields; i++)
        if (strcmp(e->fields[i].name, name) == 0)
            return &e->fields[i];
    return NULL;
}

static bool begins_with(const char *s, const char *start)
{
    return strncmp(s, start, strlen(start)) == 0;
}

struct touched *touched_add(struct touched_set *s, enum touched_kind kind, const char *id,
                            size_t len)
{
    char key[ID_MAX + 1];
    struct touched *t = NULL;

    if (len == 0 || len > ID_MAX || memchr(id, '\0', len))
        return NULL;
    key[0] = (char)('A' + kind);
    memcpy(key + 1, id, len);
    HASH_FIND(hh, s->all, key, len + 1, t);
    if (t)
        return t;
    t = mem_alloc(sizeof *t + len + 2);
    t->kind = kind;
    memcpy(t->key, key, len + 1);
    t->id = t->key + 1;
    HASH_ADD_KEYPTR(hh, s->all, t->key, len + 1, t);
    s->len++;
    return t;
}

static int by_key(const struct touched *a, const struct touched *b)
{
    return strcmp(a->key, b->key);
}

void touched_sort(struct touched_set *s)
{
    HASH_SORT(s->all, by_key);
}

void touched_clear(struct touched_set *s)
{
    struct touched *t = s->all, *next;

    HASH_CLEAR(hh, s->all);
    for (; t; t = next) {
        next = t->hh.next;
        free(t->worker);
        free(t);
    }
    s->len = 0;
}

/* What an event says of a task; a later one overrules an earlier one, but a task that was deleted stays so. */
static void note_task(struct touched *t, const struct event_entry *e, int64_t at_ms)
{
    static const struct {
        const char *type;
        const char *state;
    } ends[] = {{"task.completed", "completed"},
                {"task.cancelled", "cancelled"},
                {"task.failed", "failed"}};
    const struct event_field *dead = find(e, "dead"), *worker = find(e, "worker");

    t->at_ms = at_ms;
    if (strcmp(e->type, "task.released") == 0 || strcmp(e->type, "task.reassigned") == 0)
        t->released_ms = at_ms;
    if (strcmp(e->type, "task.deleted") == 0) {
        t->end.is_deleted = true;
        return;
    }
    t->end.state = NULL;
    for (size_t i = 0; i < CB_ARRAY_LEN(ends); i++)
        if (strcmp(e->type, ends[i].type) == 0)
            t->end.state = ends[i].state;
    t->end.is_dead = dead && strcmp(dead->value, "1") == 0;
    if (t->end.state && strcmp(t->end.state, "failed") == 0 && !t->end.is_dead)
        t->end.state = NULL; /* it will be tried again */
    free(t->worker);
    bool is_completed = t->end.state && strcmp(t->end.state, "completed") == 0;
    t->worker = is_completed && worker && !strchr(worker->value, ' ') ? mem_strdup(worker->value)
                                                                      : NULL;
    t->end.worker = t->worker;
}

/* "id", or "ids" joined by spaces. */
static void note_tasks(struct touched_set *s, const struct event_entry *e, int64_t at_ms)
{
    const struct event_field *ids = find(e, "ids");

    if (!ids)
        ids = find(e, "id");
    if (!ids)
        return;
    for (const char *p = ids->value; *p;) {
        size_t len = strcspn(p, " ");
        struct touched *t = touched_add(s, TOUCHED_TASK, p, len);
        if (t)
            note_task(t, e, at_ms);
        p += len;
        p += strspn(p, " ");
    }
}

static void note_one(struct touched_set *s, enum touched_kind kind, const struct event_entry *e,
                     const char *field, int64_t at_ms)
{
    const struct event_field *id = find(e, field);
    struct touched *t = id ? touched_add(s, kind, id->value, id->value_len) : NULL;

    if (t)
        t->at_ms = at_ms;
}

void touched_event(struct touched_set *s, const struct event_entry *e)
{
    const struct event_field *at = find(e, "at");
    int64_t at_ms = at ? strtoll(at->value, NULL, 10) : (int64_t)e->id.ms;

    if (at_ms <= 0 || at_ms > (int64_t)e->id.ms + 1000)
        at_ms = (int64_t)e->id.ms;
    if (begins_with(e->type, "task.")) {
        if (strcmp(e->type, "task.progress") != 0) /* changes nothing that is kept */
            note_tasks(s, e, at_ms);
    } else if (begins_with(e->type, "instance.")) {
        note_one(s, TOUCHED_INSTANCE, e, "instance", at_ms);
    } else if (begins_with(e->type, "quorum.")) {
        note_one(s, TOUCHED_DECISION, e, "decision", at_ms);
    } else if (begins_with(e->type, "schedule.")) {
        note_one(s, TOUCHED_SCHEDULE, e, "schedule", at_ms);
    }
}

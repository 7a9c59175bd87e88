/*
 * read.c: an agent's event into a neutral record. See hook.h.
 *
 * Unknown members and events are tolerated: agents get new ones with every release. What stands where something is known to
 * be, and is of another type, counts as absent; a tool's input always becomes an object, so that a rule is held against it.
 */
#include "common/compat.h"
#include "client/hook/hook.h"

enum { ID_MAX = 128 }; /* bytes of what goes into a request's envelope */

struct reader {
    struct json_span event; /* the agent's object */
    struct arena *arena;
    struct hook_record *out;
};

/* ---- members ---- */

/* A member by any of its names ("a|b"). */
static bool find_any(struct json_span object, const char *names, struct json_item *ret)
{
    for (const char *at = names; at && *at;) {
        size_t len = strcspn(at, "|");
        char name[64];
        cb_assert(len < sizeof name);
        memcpy(name, at, len);
        name[len] = '\0';
        if (json_find(object, name, ret))
            return true;
        at += len + (at[len] == '|');
    }
    return false;
}

static const char *decoded(struct arena *arena, struct json_span literal)
{
    struct buf text = BUF_INIT;

    json_decode_string(literal, &text);
    /* A NUL would end the text early for whoever looks at it as a C string: it becomes visible instead. */
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\0')
            text.data[i] = '?';
    }
    const char *copy = arena_strndup(arena, buf_peek(&text), text.len);
    buf_done(&text);
    return copy;
}

/* NULL when there is none, or it is no string, or it is empty. */
static const char *text_of(struct arena *arena, struct json_span object, const char *names)
{
    struct json_item item;

    if (object.len == 0 || !find_any(object, names, &item) || item.type != JSON_STRING ||
        item.value.len == 2)
        return NULL;
    return decoded(arena, item.value);
}

/* An id for the envelope: short, and on a character's border. */
static const char *id_of(struct reader *r, const char *names)
{
    const char *text = text_of(r->arena, r->event, names);
    size_t len = text ? strlen(text) : 0;

    if (len <= ID_MAX)
        return text;
    len = ID_MAX;
    while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
        len--;
    return arena_strndup(r->arena, text, len);
}

static struct json_span keep(struct arena *arena, struct buf *json)
{
    struct json_span span = {arena_strndup(arena, buf_peek(json), json->len), json->len};
    buf_done(json);
    return span;
}

/* JSON inside of a string: what it holds when that is an object, else nothing. */
static struct json_span object_in_string(struct arena *arena, struct json_span literal)
{
    struct buf text = BUF_INIT;
    struct json_span value = {0}, kept = {0};
    enum json_type type = JSON_NULL;

    json_decode_string(literal, &text);
    if (json_check(buf_peek(&text), text.len, &value, &type, NULL) == 0 && type == JSON_OBJECT)
        kept = (struct json_span){arena_strndup(arena, value.at, value.len), value.len};
    buf_done(&text);
    return kept;
}

/* ---- the tool and its input ---- */

/* Anything as an object: {} for nothing, {"input": …} for what is none. */
static struct json_span as_object(struct arena *arena, const struct json_item *item)
{
    struct buf json = BUF_INIT;
    struct json_span inner = {0};

    if (item->type == JSON_OBJECT)
        return item->value;
    if (item->type == JSON_STRING)
        inner = object_in_string(arena, item->value);
    if (inner.len)
        return inner;
    buf_puts(&json, "{");
    if (item->type != JSON_NULL) {
        json_put_key(&json, "input");
        buf_append(&json, item->value.at, item->value.len);
    }
    buf_puts(&json, "}");
    return keep(arena, &json);
}

/* Anything as a string's literal: what a rule looks for may stand in a list of parts, too. */
static struct json_span as_string(struct arena *arena, const struct json_item *item)
{
    struct buf json = BUF_INIT;

    if (item->type == JSON_STRING)
        return item->value;
    json_put_string(&json, item->value.at, item->value.len);
    return keep(arena, &json);
}

/* An object of some of the event's own members. */
static struct json_span object_of(struct reader *r, const char *names)
{
    struct buf json = BUF_INIT;
    struct json_item item;

    buf_putc(&json, '{');
    for (const char *at = names; *at;) {
        size_t len = strcspn(at, "|");
        const char *name = arena_strndup(r->arena, at, len);
        if (json_find(r->event, name, &item)) {
            json_put_key(&json, name);
            buf_append(&json, item.value.at, item.value.len);
        }
        at += len + (at[len] == '|');
    }
    buf_putc(&json, '}');
    return keep(r->arena, &json);
}

static void read_tool(struct reader *r)
{
    const struct hook_agent *agent = r->out->agent;
    const struct hook_event *event = r->out->event;
    struct json_item item = {.type = JSON_NULL};

    r->out->tool = event->tool ? event->tool : text_of(r->arena, r->event, agent->tool);
    if (!r->out->tool)
        r->out->tool = "unknown"; /* rules for all tools are held against it */
    if (event->input) {
        r->out->input = object_of(r, event->input);
        return;
    }
    if (!find_any(r->event, agent->input, &item))
        item.type = JSON_NULL;
    r->out->input = as_object(r->arena, &item);
}

static void read_result(struct reader *r)
{
    struct json_item item;

    if (find_any(r->event, r->out->agent->result, &item) || json_find(r->event, "error", &item))
        r->out->result = item.value;
    r->out->is_error = r->out->event->is_failure;
    r->out->duration_ms = -1;
    if ((json_find(r->event, "duration_ms", &item) || json_find(r->event, "duration", &item)) &&
        (json_decode_int(item.value, &r->out->duration_ms) != 0 || r->out->duration_ms < 0))
        r->out->duration_ms = -1;
}

/* ---- work lists ---- */

/* The tool's result as an object; some agents send it as text. */
static struct json_span result_object(struct reader *r)
{
    struct json_span result = r->out->result;

    if (result.len == 0 || json_type_of(result) == JSON_OBJECT)
        return result;
    if (json_type_of(result) == JSON_STRING)
        return object_in_string(r->arena, result);
    return (struct json_span){0};
}

static void read_created_task(struct reader *r)
{
    struct json_span result = result_object(r);
    struct json_item item;

    if (result.len == 0 || !json_find(result, "task", &item) || item.type != JSON_OBJECT)
        return;
    r->out->task = (struct hook_task){
        .id = text_of(r->arena, item.value, "id"),
        .subject = text_of(r->arena, r->out->input, "subject"),
        .description = text_of(r->arena, r->out->input, "description"),
        .status = "pending",
    };
}

static void read_updated_task(struct reader *r)
{
    struct json_span result = result_object(r);
    struct json_item item;

    if (result.len && json_find(result, "success", &item) && item.value.len == 5 &&
        memcmp(item.value.at, "false", 5) == 0)
        return;
    r->out->task = (struct hook_task){
        .id = text_of(r->arena, r->out->input, "taskId"),
        .subject = text_of(r->arena, r->out->input, "subject"),
        .description = text_of(r->arena, r->out->input, "description"),
        .status = text_of(r->arena, r->out->input, "status"),
    };
}

/* The tools that keep a list of tasks, once they have run. */
static void read_list_tools(struct reader *r)
{
    struct json_item item;

    if (r->out->is_error)
        return;
    if (strcmp(r->out->tool, "TodoWrite") == 0) {
        if (json_find(r->out->input, "todos", &item) && item.type == JSON_ARRAY)
            r->out->todos = item.value;
    } else if (strcmp(r->out->tool, "TaskCreate") == 0) {
        read_created_task(r);
    } else if (strcmp(r->out->tool, "TaskUpdate") == 0) {
        read_updated_task(r);
    }
}

static void read_task_event(struct reader *r)
{
    bool is_done = strcmp(r->out->event->name, "TaskCompleted") == 0;

    r->out->task = (struct hook_task){
        .id = text_of(r->arena, r->event, "task_id"),
        .subject = text_of(r->arena, r->event, "task_subject"),
        .description = text_of(r->arena, r->event, "task_description"),
        .status = is_done ? "completed" : "pending",
    };
}

/* ---- the event ---- */

/* Which event it is when the agent does not say: by what is in it, or a call would go unseen. */
static const char *guess_event(const struct hook_agent *agent, struct json_span event)
{
    struct json_item item;
    enum hook_kind kind = HOOK_PROMPT;

    if (find_any(event, agent->tool, &item))
        kind = find_any(event, agent->result, &item) ? HOOK_POST_TOOL : HOOK_PRE_TOOL;
    else if (!json_find(event, "prompt", &item))
        return NULL;
    for (const struct hook_event *e = agent->events; e->name; e++) {
        if (e->kind == kind)
            return e->name;
    }
    return NULL;
}

/* Where the agent works; some only say which folders are open. */
static const char *read_cwd(struct reader *r)
{
    const char *cwd = text_of(r->arena, r->event, "cwd");
    struct json_item roots, first;
    struct json_iter it;

    if (!cwd && json_find(r->event, "workspace_roots", &roots) && roots.type == JSON_ARRAY) {
        json_iter_init(&it, roots.value);
        if (json_iter_next(&it, &first) && first.type == JSON_STRING)
            cwd = decoded(r->arena, first.value);
    }
    return cwd && cwd[0] == '/' ? cwd : NULL;
}

static enum hook_read read_event(struct reader *r)
{
    struct hook_record *out = r->out;
    struct json_item item;
    const char *name = text_of(r->arena, r->event, "hook_event_name|hookEventName");

    if (!name)
        name = guess_event(out->agent, r->event);
    out->event = name ? hook_event_find(out->agent, name) : NULL;
    if (!out->event)
        return HOOK_READ_IGNORED;
    out->session = id_of(r, out->agent->session);
    out->use_id = id_of(r, out->agent->use_id);
    out->cwd = read_cwd(r);
    out->duration_ms = -1;
    switch (out->event->kind) {
    case HOOK_PRE_TOOL:
    case HOOK_PERMISSION:
        read_tool(r);
        break;
    case HOOK_POST_TOOL:
        read_tool(r);
        read_result(r);
        read_list_tools(r);
        break;
    case HOOK_PROMPT:
        if (!json_find(r->event, "prompt", &item))
            return HOOK_READ_IGNORED;
        out->prompt = as_string(r->arena, &item);
        break;
    case HOOK_TASK:
        read_task_event(r);
        break;
    }
    return HOOK_READ_OK;
}

enum hook_read hook_read(const struct hook_agent *agent, const char *text, size_t len,
                         struct arena *arena, struct hook_record *ret, struct cb_error *err)
{
    struct hook_record record = {.agent = agent};
    struct reader r = {.arena = arena, .out = &record};
    struct json_error problem;
    enum json_type type = JSON_NULL;

    /* Some programs write a byte order mark. */
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        len -= 3;
    }
    if (json_check(text, len, &r.event, &type, &problem) != 0) {
        cb_error_set(err, 0, "the agent's event is no JSON: %s, at its byte %zu", problem.text,
                     problem.offset + 1);
        return HOOK_READ_BAD;
    }
    if (type != JSON_OBJECT) {
        cb_error_set(err, 0, "the agent's event is no object");
        return HOOK_READ_BAD;
    }
    enum hook_read status = read_event(&r);
    if (status == HOOK_READ_OK)
        *ret = record;
    return status;
}

/* ---- for the rules ---- */

struct json_span hook_rules_input(const struct hook_record *record, struct arena *arena)
{
    struct buf json = BUF_INIT;

    if (record->event->kind == HOOK_PRE_TOOL || record->event->kind == HOOK_PERMISSION)
        return record->input;
    buf_putc(&json, '{');
    if (record->event->kind == HOOK_PROMPT) {
        json_put_key(&json, "prompt");
        buf_append(&json, record->prompt.at, record->prompt.len);
    } else {
        json_put_key(&json, "params");
        if (record->input.len)
            buf_append(&json, record->input.at, record->input.len);
        else
            buf_puts(&json, "{}");
        if (record->result.len) {
            json_put_key(&json, "result");
            buf_append(&json, record->result.at, record->result.len);
        }
    }
    buf_putc(&json, '}');
    return keep(arena, &json);
}

enum rules_event hook_rules_event(const struct hook_record *record)
{
    switch (record->event->kind) {
    case HOOK_PROMPT:
        return RULES_USER_PROMPT;
    case HOOK_POST_TOOL:
    case HOOK_TASK:
        return RULES_POST_TOOL;
    default:
        return RULES_PRE_TOOL;
    }
}

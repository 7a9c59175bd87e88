/*
 * hook_todo_write.c: hook.todo_write (lua/hook_todo_write.lua): what an agent's own list says, as tasks of the queue `todo`.
 *
 * A line of the list is known by a name that is made here of what it says: the SHA-256 of its content and which of several
 * equal ones it is, or of the id that the agent gave it.
 */
#include "common/compat.h"
#include "worker/handlers/hook/hook_tables.h"
#include "worker/handlers/task/task_tables.h"

#include "common/utf8.h"

#include <sha256.h>

enum { TODOS_MAX = 100, CONTENT_MAX = 8192, NAME_HEX = 32, NAME_SIZE = NAME_HEX + 8 };

static const char *const modes[] = {"list", "one", NULL};
static const char *const todo_states[] = {"pending", "in_progress", "completed", NULL};
/* Of older agents; as tasks have it. */
static const char *const todo_priorities[] = {"high", "medium", "low", NULL};
static const int64_t task_priorities[] = {75, 50, 25};
enum { PRIORITY_MEDIUM = 1 };
static const char *const change_states[] = {"pending", "in_progress", "completed", "deleted", NULL};

static const struct field todo_fields[] = {
    FIELD_STR("content", REQUIRED, 1, CONTENT_MAX,
              "What is to be done. The same content is the same task."),
    FIELD_ENUM("status", REQUIRED, todo_states, "How far it is."),
    FIELD_STR("activeForm", OPTIONAL, 0, CONTENT_MAX, "The same, as it is said while it is done."),
    FIELD_STR("id", OPTIONAL, 0, 128, "The agent's own number of it; kept with the task."),
    FIELD_ENUM("priority", OPTIONAL, todo_priorities,
               "How important it is: 75, 50 or 25 (default: medium)."),
    FIELD_END,
};
static const struct field todo_element[] = {
    FIELD_OBJECT("", REQUIRED, todo_fields, "One line of the list."),
    FIELD_END,
};
static const struct field change_fields[] = {
    FIELD_STR("id", REQUIRED, 1, 128,
              "The agent's own number of it: the same id is the same task."),
    FIELD_STR("subject", OPTIONAL, 1, CONTENT_MAX,
              "What is to be done. Without it, nothing comes of a task that is not known yet."),
    FIELD_STR("description", OPTIONAL, 0, 65536, "More about it."),
    FIELD_ENUM("status", OPTIONAL, change_states,
               "How far it is (default: as it is; a new one is pending)."),
    FIELD_END,
};

static const struct field params[] = {
    FIELD_ENUM("mode", DEFAULT("list"), modes,
               "list: `todos` is the whole list, and what is not on it any more is cancelled. one: "
               "`task` is a change to one."),
    FIELD_LIST("todos", OPTIONAL, 0, TODOS_MAX, todo_element, "The list, in its order."),
    FIELD_OBJECT("task", OPTIONAL, change_fields, "The change."),
    FIELD_NAME("event", OPTIONAL, "The agent's event that tells of it; named in todo.written."),
    FIELD_END,
};

static const struct field id_element[] = {
    FIELD_TASK_ID("", REQUIRED, "A task's id."),
    FIELD_END,
};
static const struct field result[] = {
    FIELD_BOOL("processed", REQUIRED, "True."),
    FIELD_LIST("created", REQUIRED, 0, TODOS_MAX, id_element, "New tasks."),
    FIELD_LIST("updated", REQUIRED, 0, TODOS_MAX, id_element, "Tasks whose state or text is new."),
    FIELD_LIST("cancelled", REQUIRED, 0, TODOS_MAX, id_element,
               "Tasks that are not on the list any more, and had not ended."),
    FIELD_LIST("kept", OPTIONAL, 1, TODOS_MAX, id_element,
               "Tasks that are not as the list says, since another worker has claimed them."),
    FIELD_END,
};

static const struct field_value absent = {.is_set = false};

/* `out` has room for NAME_SIZE. */
static void make_name(char kind, const struct field_value *of, char *out)
{
    char hex[SHA256_DIGEST_STRING_LENGTH];

    SHA256Data((const uint8_t *)of->str, of->len, hex);
    snprintf(out, NAME_SIZE, "%c%.*s", kind, NAME_HEX, hex);
}

/* Two lines that say the same are two tasks: the first, the second… of that content. */
static void count_equal(char (*names)[NAME_SIZE], size_t i)
{
    size_t before = 0;

    for (size_t k = 0; k < i; k++)
        before += strncmp(names[k], names[i], 1 + NAME_HEX) == 0;
    snprintf(names[i] + 1 + NAME_HEX, NAME_SIZE - 1 - NAME_HEX, ".%zu", before);
}

/* What fits into a task's text, as a JSON literal; true when that is not all of it. */
static bool put_text(struct prepare *p, const struct field_value *v)
{
    static const char more[] = "\xe2\x80\xa6"; /* an ellipsis */
    size_t most = (size_t)p->ctx->opts->limits.text_bytes, len = v->len;
    bool is_cut = v->is_set && len > most;
    struct buf text = BUF_INIT, literal = BUF_INIT;

    if (is_cut)
        for (len = most > sizeof more ? most - (sizeof more - 1) : most;
             len > 0 && ((unsigned char)v->str[len] & 0xc0) == 0x80; len--)
            ;
    if (v->is_set) {
        buf_append(&text, v->str, len);
        if (is_cut && most > sizeof more)
            buf_puts(&text, more);
        json_put_string(&literal, buf_peek(&text), text.len);
    }
    prepare_arg(p, arena_strndup(p->arena, buf_peek(&literal), literal.len), literal.len);
    buf_done(&text);
    buf_done(&literal);
    return is_cut;
}

static void put_member(struct buf *out, const char *name, const struct field_value *v)
{
    if (!v->is_set || v->len == 0)
        return;
    buf_printf(out, ",\"%s\":", name);
    json_put_string(out, v->str, v->len);
}

static void put_item(struct prepare *p, const char *name, const char *state,
                     const struct field_value *text, const struct field_value *id,
                     const struct field_value *active, const struct field_value *description,
                     const struct field_value *priority)
{
    struct buf members = BUF_INIT;

    prepare_arg_str(p, arena_strndup(p->arena, name, strlen(name)));
    prepare_arg_str(p, state);
    bool is_cut = put_text(p, text);
    put_member(&members, "todo", id);
    put_member(&members, "activeForm", active);
    if (is_cut)
        put_member(&members, "content", text);
    prepare_arg(p, arena_strndup(p->arena, buf_peek(&members), members.len), members.len);
    buf_reset(&members);
    put_member(&members, "description", description);
    prepare_arg(p, arena_strndup(p->arena, buf_peek(&members), members.len), members.len);
    prepare_arg_int(p, task_priorities[priority->is_set ? priority->num : PRIORITY_MEDIUM]);
    buf_done(&members);
}

static void put_list(struct prepare *p, const struct field_value *todos)
{
    char names[TODOS_MAX][NAME_SIZE];

    prepare_arg_int(p, (int64_t)todos->len);
    for (size_t i = 0; i < todos->len; i++) {
        const struct field_value *v = todos->sub[i].sub;
        const struct field_value *content = &v[fields_index(todo_fields, "content")];
        make_name('c', content, names[i]);
        count_equal(names, i);
        put_item(p, names[i], v[fields_index(todo_fields, "status")].str, content,
                 &v[fields_index(todo_fields, "id")], &v[fields_index(todo_fields, "activeForm")],
                 &absent, &v[fields_index(todo_fields, "priority")]);
    }
    p->operations = TODOS_MAX; /* as many may be cancelled */
}

static void put_one(struct prepare *p, const struct field_value *task)
{
    const struct field_value *v = task->sub;
    const struct field_value *id = &v[fields_index(change_fields, "id")];
    const struct field_value *state = &v[fields_index(change_fields, "status")];
    char name[NAME_SIZE];

    make_name('t', id, name);
    prepare_arg_int(p, 1);
    put_item(p, name,
             !state->is_set                       ? ""
             : strcmp(state->str, "deleted") == 0 ? "cancelled"
                                                  : state->str,
             &v[fields_index(change_fields, "subject")], id, &absent,
             &v[fields_index(change_fields, "description")], &absent);
}

static int prepare(struct prepare *p)
{
    const struct field_value *mode = prepare_value(p, "mode");
    const struct field_value *todos = prepare_value(p, "todos");
    const struct field_value *task = prepare_value(p, "task");
    bool is_one = strcmp(mode->str, "one") == 0;

    if (!(is_one ? task : todos)->is_set)
        return prepare_refuse(p, is_one ? "task" : "todos",
                              is_one ? "a change, with `mode` one" : "a list", "nothing");
    if ((is_one ? todos : task)->is_set)
        return prepare_refuse(p, is_one ? "todos" : "task",
                              "`todos` with `mode` list, `task` with `mode` one", "both");
    prepare_arg_text(p, mode);
    prepare_arg_text(p, prepare_value(p, "event"));
    prepare_arg_secret(p);
    if (is_one)
        put_one(p, task);
    else
        put_list(p, todos);
    return 0;
}

static void operation(const struct handler_context *ctx, struct arena *arena, struct arg_list *keys,
                      struct arg_list *args)
{
    task_retention_operation(ctx, arena, keys, args);
    arg_list_add_int(arena, args, ctx->opts->task.max_pending);
    arg_list_add_int(arena, args, ctx->opts->task.max_attempts);
    arg_list_add_int(arena, args, ctx->opts->task.max_crashes);
}

const struct handler handler_hook_todo_write = {
    .method = METHOD_hook_todo_write,
    .summary = "Make the tasks of a session say what its agent's own list says.",
    .params = params,
    .result = result,
    .script = SCRIPT_HOOK_TODO_WRITE,
    .prepare = prepare,
    .operation = operation,
};

/*
 * task_list.c: task.list (lua/task_list.lua).
 *
 * The cursor that a caller gets and gives back is the script's own; here it is only checked for its form,
 * so that no key of another kind can be reached with one.
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

static const char *const orders[] = {"oldest", "newest", NULL};

static const struct field params[] = {
    FIELD_ENUM("status", OPTIONAL, task_states, "Only tasks in this state."),
    FIELD_NAME("queue", OPTIONAL, "Only tasks of this queue."),
    FIELD_ID("assignedTo", OPTIONAL, "Only tasks that this instance holds."),
    FIELD_STR("text", OPTIONAL, 1, 200, "Only tasks whose text contains this."),
    FIELD_STR("cursor", OPTIONAL, 1, 300, "`next` of the page before."),
    FIELD_INT("limit", DEFAULT(50), 1, 500, "Most tasks on this page."),
    FIELD_ENUM(
        "order", DEFAULT("oldest"), orders,
        "Which of the tasks that have ended come first; give it with the cursor, too. Others "
        "are in the order in which they are taken, due or lost."),
    FIELD_END,
};

static const struct field task_element[] = {
    FIELD_OBJECT("", REQUIRED, task_fields, "A task, without payload and result."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_LIST("tasks", REQUIRED, 0, 500, task_element,
               "The page; it may be empty and have a next one."),
    FIELD_STR("next", OPTIONAL, 1, 300, "Where the next page begins; absent on the last one."),
    FIELD_END,
};

/* The text as it stands inside a stored literal: escaped, without the quotes. */
static void put_search_text(struct prepare *p, const struct field_value *v)
{
    struct buf literal = BUF_INIT;

    if (v->is_set)
        json_put_string(&literal, v->str, v->len);
    size_t len = literal.len ? literal.len - 2 : 0;
    prepare_arg(p, arena_strndup(p->arena, literal.len ? literal.data + 1 : "", len), len);
    buf_done(&literal);
}

static int prepare(struct prepare *p)
{
    const struct field_value *cursor = prepare_value(p, "cursor");

    if (cursor->is_set && !task_is_cursor(cursor->str, '7'))
        return prepare_refuse(p, "cursor", "`next` of a page", "something else");
    prepare_arg_text(p, prepare_value(p, "status"));
    prepare_arg_text(p, prepare_value(p, "queue"));
    prepare_arg_text(p, prepare_value(p, "assignedTo"));
    put_search_text(p, prepare_value(p, "text"));
    prepare_arg_number(p, prepare_value(p, "limit"));
    prepare_arg_text(p, cursor);
    prepare_arg_text(p, prepare_value(p, "order"));
    p->operations = 100; /* a page is as much work as a batch: one a group */
    return 0;
}

const struct handler handler_task_list = {
    .method = METHOD_task_list,
    .summary = "List tasks, page by page.",
    .params = params,
    .result = result,
    .script = SCRIPT_TASK_LIST,
    .prepare = prepare,
};

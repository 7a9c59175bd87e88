/*
 * cmd_handlers.c: claudebench handlers: the methods that the workers answer (system.discover).
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/peek.h"
#include "client/session.h"
#include "client/show.h"
#include "client/table.h"
#include "common/exitcode.h"
#include "common/methods.h"

static const struct cli_option handlers_options[] = {
    {'j', "json", NULL, "Print system.discover's result: with the JSON Schemas of each."},
    {0, NULL, NULL, NULL},
};

static int run_handlers(const struct cli *cli);

const struct cli_verb verb_handlers = {
    .name = "handlers",
    .operands = "[METHOD]",
    .min_operands = 0,
    .max_operands = 1,
    .summary = "List the methods that can be called, and what they do.",
    .notes = "w: it writes; c: it makes Redis larger, and is refused when memory is full; f: it "
             "finishes work, and is served also then. See claudebench-methods(7).\n",
    .options = handlers_options,
    .run = run_handlers,
};

static const struct table_column columns[] = {
    {"METHOD", TABLE_LEFT, TABLE_KEEP},
    {"FLAGS", TABLE_LEFT, TABLE_KEEP},
    {"WHAT IT DOES", TABLE_LEFT, TABLE_FLEX},
};

static void put_table(struct json_span list, struct buf *out)
{
    static const char *const flags[] = {"write", "creates", "finishes"};
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
    struct table table CB_CLEANUP(table_done);
    struct json_item method;
    struct json_iter it;

    table_init(&table, columns, CB_ARRAY_LEN(columns));
    json_iter_init(&it, list);
    while (json_iter_next(&it, &method)) {
        buf_reset(&text);
        show_put_member(&text, method.value, "name");
        table_cell(&table, buf_peek(&text), text.len);
        buf_reset(&text);
        for (size_t i = 0; i < CB_ARRAY_LEN(flags); i++)
            buf_putc(&text, peek_is_true(method.value, flags[i]) ? flags[i][0] : '-');
        table_cell(&table, buf_peek(&text), text.len);
        buf_reset(&text);
        show_put_member(&text, method.value, "summary");
        table_cell(&table, buf_peek(&text), text.len);
    }
    table_put(&table, term_detect(STDOUT_FILENO), out);
}

static int run_handlers(const struct cli *cli)
{
    struct session s CB_CLEANUP(session_close) = SESSION_INIT;
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT, out CB_CLEANUP(buf_done) = BUF_INIT;
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
    struct json_item list;
    const char *only = cli->operands[0];

    if (only && methods_find(only) < 0) {
        const char *near = methods_nearest(only);
        return cli_wrong_use(cli->verb, "no method \"%s\"%s%s%s", only,
                             near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    buf_puts(&params, "{");
    if (only)
        json_put_text(&params, "method", only);
    buf_puts(&params, "}");
    int status = session_open(&s, cli);
    if (status >= 0 || (status = session_call(&s, "system.discover", &params, NULL, &reply)) >= 0)
        return status;
    if (cli_is_set(cli, "json"))
        return show_json(reply.result);
    if (json_find(reply.result, "methods", &list) && list.type == JSON_ARRAY)
        put_table(list.value, &out);
    return cli_write(&out);
}

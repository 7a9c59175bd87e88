/*
 * cmd_instances.c: claudebench instances: daemons and agents, as Redis knows them (system.get_state).
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/peek.h"
#include "client/session.h"
#include "client/views.h"
#include "client/watch.h"
#include "common/exitcode.h"

static const struct cli_option instances_options[] = {
    WATCH_OPTION,
    {'j', "json", NULL, "Print one JSON object: leader, instances and how many there are."},
    {0, NULL, NULL, NULL},
};

static int run_instances(const struct cli *cli);

const struct cli_verb verb_instances = {
    .name = "instances",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .summary = "List daemons and agents, and which daemon leads.",
    .notes = "* is the leader; CAP: tasks that it takes at once; HELD: that it has; BEAT: heard of "
             "so long ago. At most 100, those that are alive first.\n",
    .options = instances_options,
    .run = run_instances,
};

static void put_json(struct json_span state, struct term term, struct buf *out)
{
    struct buf doc CB_CLEANUP(buf_done) = BUF_INIT;

    buf_puts(&doc, "{\"leader\":");
    struct json_item item;
    bool has_leader = peek_find(state, "leader", &item);
    buf_append(&doc, has_leader ? item.value.at : "null", has_leader ? item.value.len : 4);
    json_put_int(&doc, "instanceCount", peek_int(state, "instanceCount"));
    json_put_key(&doc, "instances");
    bool has_list = peek_find(state, "instances", &item);
    buf_append(&doc, has_list ? item.value.at : "[]", has_list ? item.value.len : 2);
    buf_puts(&doc, "}");
    session_put_json(out, (struct json_span){doc.data, doc.len}, term);
}

static void put_table(struct json_span state, struct term term, struct buf *out)
{
    struct json_item list, leader;
    struct view_context ctx = {.seconds = 0};
    int64_t more = peek_int(state, "instanceCount") - (int64_t)peek_count(state, "instances");

    if (peek_find(state, "leader", &leader))
        ctx.leader = leader.value;
    if ((peek_count(state, "instances") > 0 || term.is_tty) && peek_find(state, "instances", &list))
        view_put(&views[VIEW_INSTANCES], list.value, &ctx, term, out);
    if (more > 0)
        buf_printf(out, "… %" PRId64 " more\n", more);
}

static int show_instances(const struct cli *cli, struct session *s)
{
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT, out CB_CLEANUP(buf_done) = BUF_INIT;
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
    struct term term = term_detect(STDOUT_FILENO);

    buf_puts(&params, "{}");
    int status = session_call(s, "system.get_state", &params, NULL, &reply);
    if (status >= 0)
        return status;
    if (cli_is_set(cli, "json"))
        put_json(reply.result, term, &out);
    else
        put_table(reply.result, term, &out);
    return cli_write(&out);
}

static int run_instances(const struct cli *cli)
{
    struct session s CB_CLEANUP(session_close) = SESSION_INIT;
    int status = session_open(&s, cli);

    return status >= 0 ? status : watch(cli, &s, show_instances);
}

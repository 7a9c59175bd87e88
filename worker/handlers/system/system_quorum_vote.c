/*
 * system_quorum_vote.c: system.quorum.vote (lua/system_quorum_vote.lua).
 */
#include "common/compat.h"
#include "worker/handlers/system/system_tables.h"

static const struct field params[] = {
    FIELD_NAME("decision", REQUIRED, "What is decided. The first vote opens it."),
    FIELD_ID("instanceId", REQUIRED, "Who votes."),
    FIELD_TOKEN("incarnation", OPTIONAL,
                "From system.register: refused when the instance was registered again."),
    FIELD_STR("value", REQUIRED, 1, 200,
              "The vote. Until the decision falls, a later one replaces it."),
    FIELD_NAME("role", DEFAULT("voter"),
               "Who has a vote: the instances that are registered with this role when the decision "
               "opens, at most 100."),
    FIELD_INT("timeout_ms", DEFAULT(60000), 100, 86400000,
              "How long the decision stays open; counts in the vote that opens it."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_BOOL("voted", REQUIRED,
               "False: the decision had ended before, and this vote is not counted."),
    SYSTEM_QUORUM_FIELDS,
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    const struct field_value *role = prepare_value(p, "role");

    prepare_arg_text(p, prepare_value(p, "decision"));
    prepare_arg_text(p, prepare_value(p, "instanceId"));
    prepare_arg_text(p, prepare_value(p, "incarnation"));
    prepare_arg_literal(p, prepare_value(p, "value"));
    prepare_arg_str(p, role->is_default ? "" : role->str);
    prepare_arg_number(p, prepare_value(p, "timeout_ms"));
    p->operations = 10; /* an electorate of 100 is read and counted */
    return 0;
}

const struct handler handler_system_quorum_vote = {
    .method = METHOD_system_quorum_vote,
    .summary = "Vote on a decision; the majority of those who have a vote decides.",
    .params = params,
    .result = result,
    .script = SCRIPT_SYSTEM_QUORUM_VOTE,
    .prepare = prepare,
};

/*
 * system_quorum_get.c: system.quorum.get (lua/system_quorum_get.lua).
 */
#include "common/compat.h"
#include "worker/handlers/system/system_tables.h"

static const struct field params[] = {
    FIELD_NAME("decision", REQUIRED, "What is decided."),
    FIELD_END,
};

static const struct field vote_fields[] = {
    FIELD_ID("instanceId", REQUIRED, "Who voted."),
    FIELD_STR("value", REQUIRED, 1, 200, "For what."),
    FIELD_END,
};
static const struct field vote_element[] = {
    FIELD_OBJECT("", REQUIRED, vote_fields, "A vote."),
    FIELD_END,
};
static const struct field member_element[] = {FIELD_ID("", REQUIRED, "An instance."), FIELD_END};

static const struct field result[] = {
    SYSTEM_QUORUM_FIELDS,
    FIELD_NAME("role", REQUIRED, "Who had this role at the opening has a vote."),
    FIELD_TIME("openedAt", REQUIRED, "When the first vote came."),
    FIELD_TIME("closedAt", OPTIONAL, "When it ended."),
    FIELD_LIST("votes", REQUIRED, 0, 100, vote_element, "The votes."),
    FIELD_LIST("missing", REQUIRED, 0, 100, member_element, "Who has not voted."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    prepare_arg_text(p, prepare_value(p, "decision"));
    p->operations = 10;
    return 0;
}

const struct handler handler_system_quorum_get = {
    .method = METHOD_system_quorum_get,
    .summary = "Show a decision: how it stands, and who voted for what.",
    .params = params,
    .result = result,
    .script = SCRIPT_SYSTEM_QUORUM_GET,
    .prepare = prepare,
};

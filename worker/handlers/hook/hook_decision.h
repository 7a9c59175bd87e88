/*
 * hook_decision.h: a decision about a call or a prompt: made, or found in the cache, and put into the words of the reply and of
 * the audit trail. For hook.pre_tool and hook.user_prompt (lua/hook_decide.lua).
 */
#ifndef CB_WORKER_HOOK_DECISION_H
#define CB_WORKER_HOOK_DECISION_H

#include "worker/handlers/hook/hook_tables.h"

/* What both methods say of a decision. */
#define HOOK_DECISION_FIELDS                                                                       \
    FIELD_BOOL("allow", REQUIRED, "False when it is denied, or the user is to be asked."),         \
        FIELD_ENUM("decision", REQUIRED, hook_decisions,                                           \
                   "none: no rule has an opinion. allow: a rule allows it, so the user need not "  \
                   "be asked. modify: only as rewritten. ask: the user decides. deny: no."),       \
        FIELD_STR("reason", REQUIRED, 0, 0,                                                        \
                  "For the agent and its user; empty when there is none."),                        \
        FIELD_STR("rule", OPTIONAL, 1, 0, "The rule that decided: group/name."),                   \
        FIELD_ENUM("severity", OPTIONAL, hook_severities, "How grave what it stops is."),          \
        FIELD_STR("field", OPTIONAL, 0, 0, "JSON pointer of the text that matched."),              \
        FIELD_STR("matched", OPTIONAL, 0, 1024, "What matched, cut and escaped."),                 \
        FIELD_LIST("notes", REQUIRED, 0, POLICY_NOTES_MAX, hook_note,                              \
                   "Warnings, and who rewrote; empty when it is denied."),                         \
        FIELD_BOOL("cached", REQUIRED,                                                             \
                   "Taken from the cache: only decisions that take long are kept there."),         \
        FIELD_STR("rules", REQUIRED, 0, 64, "Version of the rules: SHA-256 of all their files.")

/* What the request says for the audit trail, as members of a JSON object without the braces: "tool":…,"use_id":…. */
struct hook_subject {
    struct policy_call call;
    const char *audit;
};

/*
 * Decides, and adds the script's arguments: kind, result, audit record; and when the decision is worth keeping, its key in
 * Redis as a key and TTL and record as arguments.
 */
void hook_decide(struct prepare *p, const char *kind, const struct hook_subject *subject);

#endif

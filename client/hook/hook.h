/*
 * hook.h: the parts of `claudebench hook`, the program that an agent runs before and after it does something.
 *
 *   agents.c   what each agent's events look like, and how each is answered: a table
 *   read.c     the agent's JSON into one neutral record
 *   policy.c   which configuration and which folders count
 *   ask.c      the daemon's decision, within a deadline
 *   verdict.c  what is decided about an event, whoever decides it
 *   local.c    the decision when there is no daemon, and what a project's own rules say
 *   chain.c    which rule files were registered with the daemon, remembered for when it is away
 *   spool.c    the records of decisions made here, until a daemon takes them
 *   say.c      a verdict into what the agent understands
 *   run.c      one call from stdin to answer
 *   guard.c    a process around it, so that whatever happens there is an answer
 *
 * Beside them, for `claudebench hook install` (settings.h): places.c, where each agent keeps its hooks, and settings.c, settings_edit.c and
 * settings_file.c, which put our lines there and take them out.
 *
 * Nothing here prints but guard.c, and everything ends in an answer: in doubt a refusal. Texts and spans of a record and a
 * verdict are in the call's arena, or in the text that the agent sent.
 */
#ifndef CB_CLIENT_HOOK_H
#define CB_CLIENT_HOOK_H

#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/json.h"
#include "common/options.h"
#include "common/rules/rules.h"

enum {
    HOOK_STDIN_MAX = 16 << 20, /* bytes of one event */
    HOOK_STDIN_MS = 2000,      /* until an event has to be there */
    HOOK_TEXT_MAX = 8000, /* bytes of one text that we say: Claude Code cuts at 10 000 characters */
    HOOK_GUARD_MS = 4500, /* then it is refused; the installed line says 5 s */
    HOOK_EXIT_BLOCK = 2,  /* the only exit code but 0 */
};

/* A tool that no agent has: a call of it goes the whole way and is refused (claudebench hook check). */
#define HOOK_CHECK_TOOL "claudebench-hook-check"

/* ---- agents.c ---- */

enum hook_kind {
    HOOK_PRE_TOOL,
    HOOK_PERMISSION, /* a question that the user would be asked; the tool's rules have been looked at before */
    HOOK_POST_TOOL,
    HOOK_PROMPT,
    HOOK_TASK, /* a list of tasks has changed: nothing is decided */
};

/* How an answer is written: say.c. */
enum hook_style {
    HOOK_SAY_CLAUDE_TOOL,
    HOOK_SAY_CLAUDE_PERMISSION,
    HOOK_SAY_CLAUDE_BLOCK, /* decision: block, and additionalContext */
    HOOK_SAY_GEMINI,
    HOOK_SAY_CURSOR,
    HOOK_SAY_CURSOR_PROMPT,
    HOOK_SAY_COPILOT,
    HOOK_SAY_NOTHING, /* but the exit code and stderr */
};

/* What an agent does as we say. What it cannot do becomes the stronger decision. */
enum hook_can {
    HOOK_CAN_ASK = 1u << 0,        /* else it is refused */
    HOOK_CAN_REWRITE = 1u << 1,    /* else it is refused, with what to run instead */
    HOOK_CAN_ALLOW = 1u << 2,      /* else nothing is said */
    HOOK_CAN_NOTE = 1u << 3,       /* text for the model without a decision */
    HOOK_REWRITE_ALLOWS = 1u << 4, /* a rewrite is heard only together with "allow" */
};

/* Names of members: alternatives with | between them. */
struct hook_event {
    const char *name; /* as the agent says it */
    enum hook_kind kind;
    enum hook_style style;
    unsigned can;
    bool is_failure;   /* a tool that failed */
    const char *tool;  /* the event is about this tool; NULL: it says which */
    const char *input; /* these members are the tool's input; NULL: the agent's member */
};

struct hook_agent {
    const char *name; /* --agent */
    const char *session;
    const char *tool;
    const char *input;
    const char *result;
    const char *use_id;
    const struct hook_event *events; /* ends with name NULL */
};

extern const struct hook_agent hook_agents[]; /* ends with name NULL */
/* NULL when there is none of that name. */
const struct hook_agent *hook_agent_find(const char *name);
const struct hook_event *hook_event_find(const struct hook_agent *agent, const char *name);

/* ---- read.c ---- */

struct hook_task {
    const char *id; /* NULL: there is none */
    const char *subject;
    const char *description;
    const char *status;
};

/* One event of any agent. Texts are NULL and spans empty when they are not known. */
struct hook_record {
    const struct hook_agent *agent;
    const struct hook_event *event;
    const char *session;
    const char *cwd; /* absolute */
    const char *use_id;
    const char *tool;
    struct json_span input;  /* an object */
    struct json_span result; /* what the tool said, as it came */
    struct json_span prompt; /* a string's literal */
    struct json_span todos;  /* an array */
    struct hook_task task;
    bool is_error;
    int64_t duration_ms; /* -1: not known */
};

enum hook_read {
    HOOK_READ_OK,
    HOOK_READ_IGNORED, /* an event that we have no opinion about */
    HOOK_READ_BAD,     /* err says why */
};
/* `text` is borrowed as long as the record. */
enum hook_read hook_read(const struct hook_agent *agent, const char *text, size_t len,
                         struct arena *arena, struct hook_record *ret, struct cb_error *err);
/* What rules_decide() gets to see: the tool's input, a prompt, or both sides of a call that is over. */
struct json_span hook_rules_input(const struct hook_record *record, struct arena *arena);
enum rules_event hook_rules_event(const struct hook_record *record);

/* ---- policy.c ---- */

struct hook_policy {
    bool is_system; /* the system has a policy: what its user could set does not count */
    struct options *opts;
    char *home;      /* NULL: not known */
    char *state_dir; /* for the spool; NULL: there is none */
};

/* True when the system's folder has a configuration or rules: then -c, CLAUDEBENCH_CONFIG and XDG are not looked at. */
bool hook_policy_is_system(void);
/* Returns 0, or -1 with what is wrong. */
int hook_policy_load(const char *config, struct hook_policy *ret, struct cb_error *err);
void hook_policy_done(struct hook_policy *policy);

/* ---- verdicts ---- */

struct hook_verdict {
    enum rules_action action; /* never RULES_WARN */
    enum rules_severity severity;
    const char *rule;   /* group/name; NULL: none */
    const char *reason; /* one line; NULL for RULES_NONE */
    const char *
        message; /* the same without what matched, which may be a secret: for records; NULL: none */
    struct json_span input; /* rewritten */
    const char *context;    /* text for the model, or NULL */
    const char *version;    /* of the rules that it was decided by, when the daemon says so */
    const struct rules_note *notes;
    size_t nnotes;
};

struct hook {
    const struct hook_record *record;
    const struct hook_policy *policy;
    struct arena *arena;
};

/* The stronger of two, with the notes and texts of both. */
void hook_verdict_join(struct hook_verdict *verdict, const struct hook_verdict *other,
                       struct arena *arena);
/* What hooks.on_error says about this event, for this reason. */
void hook_verdict_error(const struct hook *hook, const char *reason, struct hook_verdict *ret);

/* ---- ask.c ---- */

struct hook_link;

/*
 * Asks the daemon. Returns 0 with its verdict, or -1 when there was none in time (`why` says it in a few words); then what
 * was asked for is not carried out later, but for reports of what is over. *ret_link is for hook_spool_send(), and may be
 * NULL; hook_link_close() takes that, too.
 */
int hook_ask(const struct hook *hook, struct hook_verdict *ret, struct hook_link **ret_link,
             struct cb_error *why);
/* One more request within `timeout_ms`: 0 when it was carried out, 1 when it was refused for good, -1 when it is not known.
 * Its result is appended to `ret_result`, if that is not NULL. */
int hook_link_call(struct hook_link *link, const char *method, const struct buf *params,
                   const char *idem, int64_t timeout_ms, struct buf *ret_result);
void hook_link_close(struct hook_link *link);
/* A string of a result; NULL: it has none of that name. */
const char *hook_text_member(struct arena *arena, struct json_span object, const char *name);

/* ---- local.c ---- */

/* By the rules of the system and the project. Always gives a verdict. */
void hook_decide_here(const struct hook *hook, struct hook_verdict *ret);
/* Only by the project's rules, when it has any: beside the daemon's verdict, which may have rewritten the input. True when they
 * have made it stricter, of which the daemon knows nothing. */
bool hook_decide_by_project(const struct hook *hook, struct hook_verdict *verdict);

/* ---- chain.c ---- */

/* A rule file of the event's chain, in the order in which they are asked. */
struct hook_member {
    const char *name;
    const char *path;
};
/* Has the chain of the daemon's rules at hand when it will be away. Asks only when `version` is another than that of the last time. */
void hook_chain_remember(const struct hook_policy *policy, struct hook_link *link,
                         const char *version, int budget_ms);
/* The members that are about this call. Returns how many, or -1 when what was remembered cannot be read. */
int hook_chain_members(const struct hook *hook, const struct hook_member **ret);

/* ---- spool.c ---- */

/* Notes a verdict that the daemon does not know of, and `why`. What cannot be written is counted, if that can be. */
void hook_spool_add(const struct hook *hook, const struct hook_verdict *verdict, const char *why);
/* Sends what is there, if nobody else does; stops after `budget_ms`. */
void hook_spool_send(const struct hook_policy *policy, struct hook_link *link, int budget_ms);
/* Records that wait; -1 when that is not known. */
int64_t hook_spool_count(const struct hook_policy *policy);

/* ---- say.c ---- */

struct hook_answer {
    int exit; /* 0 or HOOK_EXIT_BLOCK */
    struct buf out;
    struct buf err;
};
void hook_say(const struct hook_record *record, const struct hook_verdict *verdict,
              struct arena *arena, struct hook_answer *ret);
/* A refusal when not even the event is known: stderr and the exit code. */
void hook_say_refusal(const char *reason, struct hook_answer *ret);

/* ---- run.c, guard.c ---- */

struct hook_call {
    const struct hook_agent *agent;
    const char *config; /* -c */
    int fd;             /* where the event comes from */
};
/* Calls `answer` once, as soon as it is known, and goes on with what nobody waits for. */
typedef void hook_answer_fn(void *arg, const struct hook_answer *answer);
void hook_run(const struct hook_call *call, hook_answer_fn *answer, void *arg);
/* The same in a process of its own; writes the answer. Returns the exit code: 0 or HOOK_EXIT_BLOCK. */
int hook_guarded(const struct hook_call *call);

#endif

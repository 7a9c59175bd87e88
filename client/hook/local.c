/*
 * local.c: the decision without a daemon, by the same rules and the same engine; and the rules that a project brings, which
 * the daemon may not even be able to read. See hook.h.
 *
 * A project's rules are in hooks.project_file, in the folder in which the agent works and in all above it. They can only
 * make things stricter.
 */
#include "common/compat.h"
#include "client/hook/hook.h"

#include <limits.h>
#include <sys/stat.h>

enum {
    PROJECT_FILES_MAX = 16,
    LARGE = 64 *
            1024, /* bytes of input from which on compiling the patterns costs less than it saves */
};

struct project {
    const char *files[PROJECT_FILES_MAX];
    size_t n;
    uid_t owner;         /* of the folder that the agent works in */
    const char *problem; /* why these are not all of them; NULL: they are */
};

/* ---- the project's files ---- */

static void add_if_there(const struct hook *hook, struct project *p, const char *dir, size_t len)
{
    char *path = arena_printf(hook->arena, "%.*s/%s", (int)len, dir,
                              hook->policy->opts->hooks.project_file);

    struct stat st;
    if (stat(path, &st) != 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return;
        /* What is there and cannot be looked at is an error, when it is read. */
    } else if (st.st_uid != geteuid() && st.st_uid != 0 && st.st_uid != p->owner) {
        return; /* anybody may put a file into /tmp, which is above many projects */
    }
    for (size_t i = 0; i < p->n; i++) {
        if (strcmp(p->files[i], path) == 0)
            return;
    }
    /* An agent can make folders in its project: the outermost file, which is the last, must not go missing. */
    if (p->n == PROJECT_FILES_MAX)
        p->problem = "more than 16 files with rules lie in the project's folders";
    else
        p->files[p->n++] = path;
}

/* The folder and all above it. */
static void find_upwards(const struct hook *hook, struct project *p, const char *dir)
{
    size_t len = dir && dir[0] == '/' ? strlen(dir) : 0;

    if (len >= PATH_MAX) {
        p->problem = "the folder's name is too long";
        return;
    }
    while (len > 0 && !p->problem) {
        while (len > 0 && dir[len - 1] == '/')
            len--;
        add_if_there(hook, p, dir, len);
        while (len > 0 && dir[len - 1] != '/')
            len--;
    }
}

/* Where the agent works, and where it was started. */
static void find_project(const struct hook *hook, struct project *p)
{
    struct stat st;

    *p = (struct project){.owner = geteuid()};
    if (hook->record->cwd && stat(hook->record->cwd, &st) == 0)
        p->owner = st.st_uid;
    if (!hook->policy->opts->hooks.project_file[0])
        return;
    find_upwards(hook, p, hook->record->cwd);
    find_upwards(hook, p, getenv("CLAUDE_PROJECT_DIR"));
    find_upwards(hook, p, getenv("GEMINI_PROJECT_DIR"));
}

static void join_problem(const struct hook *hook, const struct project *p,
                         struct hook_verdict *verdict)
{
    struct hook_verdict problem;

    if (!p->problem)
        return;
    hook_verdict_error(hook, p->problem, &problem);
    hook_verdict_join(verdict, &problem, hook->arena);
}

/* ---- deciding ---- */

static void use(const struct hook *hook, const struct rules_decision *d, struct hook_verdict *ret)
{
    struct buf reason = BUF_INIT;

    rules_explain(d, &reason);
    *ret = (struct hook_verdict){
        .action = d->action,
        .severity = d->severity,
        .rule = d->rule,
        .message = d->message,
        .reason = reason.len ? arena_strndup(hook->arena, reason.data, reason.len) : NULL,
        .input = {d->input, d->input_len},
        .notes = d->notes,
        .nnotes = d->nnotes,
    };
    buf_done(&reason);
}

static enum rules_action on_unparsable(const struct options *opts)
{
    static const enum rules_action actions[] = {
        [HOOKS_NONE] = RULES_NONE, [HOOKS_ASK] = RULES_ASK, [HOOKS_DENY] = RULES_DENY};
    return actions[opts->hooks.on_unparsable];
}

static void decide(const struct hook *hook, struct rules *rules, struct json_span input,
                   struct hook_verdict *ret)
{
    struct rules_decision decision;
    struct rules_call call = {
        .event = hook_rules_event(hook->record),
        .tool = hook->record->tool ? hook->record->tool : "",
        .input = input,
        .cwd = hook->record->cwd,
        .home = hook->policy->home,
        .resolve_links = true,
        .on_unparsable = on_unparsable(hook->policy->opts),
    };

    rules_decide(rules, &call, hook->arena, &decision);
    use(hook, &decision, ret);
}

/* The verdict outlives the rule set: what is not in the arena is copied. */
static void detach(const struct hook *hook, struct hook_verdict *v)
{
    struct rules_note *notes = arena_alloc(hook->arena, (v->nnotes + 1) * sizeof *notes);

    if (v->rule)
        v->rule = arena_strndup(hook->arena, v->rule, strlen(v->rule));
    if (v->message)
        v->message = arena_strndup(hook->arena, v->message, strlen(v->message));
    for (size_t i = 0; i < v->nnotes; i++) {
        notes[i].rule = arena_strndup(hook->arena, v->notes[i].rule, strlen(v->notes[i].rule));
        notes[i].message = arena_strndup(hook->arena, v->notes[i].message,
                                         strlen(v->notes[i].message));
    }
    v->notes = notes;
}

/* What is over cannot be undone: a rule that refuses says why, like one that warns. So does the daemon. */
static void make_note(const struct hook *hook, struct hook_verdict *v)
{
    struct rules_note *notes;

    if (hook->record->event->kind != HOOK_POST_TOOL || v->action < RULES_ASK)
        return;
    notes = arena_alloc(hook->arena, (v->nnotes + 1) * sizeof *notes);
    notes[0] = (struct rules_note){.rule = v->rule ? v->rule : "hooks", .message = v->message};
    for (size_t i = 0; i < v->nnotes; i++)
        notes[i + 1] = v->notes[i];
    v->notes = notes;
    v->nnotes++;
    v->action = RULES_NONE;
}

static void cannot_load(const struct hook *hook, const struct options_errors *errs,
                        struct hook_verdict *ret)
{
    const struct options_error *e = errs->len ? &errs->items[0] : NULL;
    const char *text = "the rules cannot be read";

    if (e)
        text = arena_printf(hook->arena, "the rules cannot be read: %s:%d:%d: %s",
                            e->file ? e->file : "?", e->line, e->col, e->text);
    hook_verdict_error(hook, text, ret);
}

/* NULL after a complaint. */
static struct rules *load(const struct hook *hook, const struct rules_load_options *options,
                          struct hook_verdict *ret)
{
    struct options_errors errs = OPTIONS_ERRORS_INIT;
    struct rules *rules = NULL;

    if (rules_load(options, &rules, &errs) != 0) {
        rules = NULL;
        cannot_load(hook, &errs, ret);
    }
    options_errors_done(&errs);
    return rules;
}

/* A file of some 100 kB would not be searched in time without. */
static bool is_large(const struct hook *hook)
{
    return hook->record->input.len + hook->record->result.len + hook->record->prompt.len > LARGE;
}

/* ---- all sets, one after the other ---- */

enum { SETS_MAX = 33, ROUNDS_MAX = 4 };

struct sets {
    struct rules *at[SETS_MAX]; /* the system's and the project's, then the chain's */
    size_t n;
};

/* Each set sees what those in front of it made of the input. Returns whether one behind the first has rewritten it. */
static bool run_round(const struct hook *hook, const struct sets *sets, struct json_span *input,
                      struct hook_verdict *verdict)
{
    bool is_rewritten_behind = false;

    for (size_t i = 0; i < sets->n && verdict->action != RULES_DENY; i++) {
        struct hook_verdict own;
        decide(hook, sets->at[i], *input, &own);
        detach(hook, &own);
        make_note(hook, &own);
        if (own.input.len) {
            *input = own.input;
            is_rewritten_behind |= i > 0;
        }
        hook_verdict_join(verdict, &own, hook->arena);
    }
    return is_rewritten_behind && verdict->action != RULES_DENY;
}

/* When a member of the chain has rewritten the input all look at it once more, as they do in the daemon. */
static void run_sets(const struct hook *hook, const struct sets *sets, struct json_span input,
                     struct hook_verdict *verdict)
{
    for (int round = 0; round < ROUNDS_MAX; round++) {
        if (!run_round(hook, sets, &input, verdict))
            return;
    }
    struct hook_verdict endless = {.action = RULES_DENY,
                                   .severity = RULES_HIGH,
                                   .reason = "the rules go on rewriting this call without an end",
                                   .message = "the rules go on rewriting this call without an end"};
    hook_verdict_join(verdict, &endless, hook->arena);
}

static void free_sets(struct sets *sets)
{
    for (size_t i = 0; i < sets->n; i++)
        rules_free(sets->at[i]);
}

/* Adds the chain. A member that cannot be read is an error, never left out. */
static void add_chain(const struct hook *hook, struct sets *sets, struct hook_verdict *verdict)
{
    const struct hook_member *members = NULL;
    struct hook_verdict problem = {.action = RULES_NONE};
    int n = hook_chain_members(hook, &members);

    if (n < 0 || n >= SETS_MAX) {
        hook_verdict_error(hook, "the daemon's chain of rules is not known", &problem);
        hook_verdict_join(verdict, &problem, hook->arena);
        return;
    }
    for (int i = 0; i < n; i++) {
        struct rules_load_options options = {.project_files = &members[i].path,
                                             .nproject_files = 1,
                                             .are_system_files = true,
                                             .want_jit = is_large(hook),
                                             .is_for_one = true};
        struct rules *rules = load(hook, &options, &problem);
        if (rules)
            sets->at[sets->n++] = rules;
        else
            hook_verdict_join(verdict, &problem, hook->arena);
    }
}

void hook_decide_here(const struct hook *hook, struct hook_verdict *ret)
{
    struct sets sets = {.n = 0};
    struct project project;

    *ret = (struct hook_verdict){.action = RULES_NONE};
    if (hook->record->event->kind == HOOK_TASK)
        return;
    find_project(hook, &project);
    struct rules_load_options options = {.dir = hook->policy->opts->hooks.rules_dir,
                                         .project_files = project.files,
                                         .nproject_files = project.n,
                                         .want_jit = is_large(hook),
                                         .is_for_one = true};
    struct rules *rules = load(hook, &options, ret);
    if (rules)
        sets.at[sets.n++] = rules;
    add_chain(hook, &sets, ret);
    join_problem(hook, &project, ret);
    run_sets(hook, &sets, hook_rules_input(hook->record, hook->arena), ret);
    free_sets(&sets);
}

bool hook_decide_by_project(const struct hook *hook, struct hook_verdict *verdict)
{
    enum rules_action before = verdict->action;
    struct sets sets = {.n = 0};
    struct hook_verdict problem;
    struct project project;

    if (hook->record->event->kind == HOOK_TASK)
        return false;
    find_project(hook, &project);
    join_problem(hook, &project, verdict);
    if (project.n == 0)
        return verdict->action != before;
    struct rules_load_options options = {.project_files = project.files,
                                         .nproject_files = project.n,
                                         .want_jit = is_large(hook),
                                         .is_for_one = true};
    struct rules *rules = load(hook, &options, &problem);
    if (!rules) {
        hook_verdict_join(verdict, &problem, hook->arena);
        return verdict->action != before;
    }
    sets.at[sets.n++] = rules;
    struct json_span rewritten = verdict->input;
    run_sets(hook, &sets, hook_rules_input(hook->record, hook->arena), verdict);
    if (rewritten.len)
        run_sets(hook, &sets, rewritten, verdict);
    free_sets(&sets);
    return verdict->action != before;
}

/*
 * local.c: the decision without a daemon, by the same rules and the same engine; and the rules that a project brings, which
 * the daemon may not even be able to read. See hook.h.
 *
 * A project's rules are in hooks.project_file, in the folder in which the agent works and in all above it. They can only
 * make things stricter.
 */
#include "common/compat.h"
#include "client/hook/hook.h"

enum { PROJECT_FILES_MAX = 16 };

struct project {
    const char *files[PROJECT_FILES_MAX];
    size_t n;
};

/* ---- the project's files ---- */

static void add_if_there(const struct hook *hook, struct project *p, const char *dir, size_t len)
{
    char *path = arena_printf(hook->arena, "%.*s/%s", (int)len, dir,
                              hook->policy->opts->hooks.project_file);

    /* What is there and cannot be read is an error, when it is read. */
    if (p->n == PROJECT_FILES_MAX ||
        (access(path, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR)))
        return;
    for (size_t i = 0; i < p->n; i++) {
        if (strcmp(p->files[i], path) == 0)
            return;
    }
    p->files[p->n++] = path;
}

/* The folder and all above it. */
static void find_upwards(const struct hook *hook, struct project *p, const char *dir)
{
    size_t len = dir && dir[0] == '/' ? strlen(dir) : 0;

    while (len > 0) {
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
    *p = (struct project){.n = 0};
    if (!hook->policy->opts->hooks.project_file[0])
        return;
    find_upwards(hook, p, hook->record->cwd);
    find_upwards(hook, p, getenv("CLAUDE_PROJECT_DIR"));
    find_upwards(hook, p, getenv("GEMINI_PROJECT_DIR"));
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

/* With the rules of `dir` (NULL: none) and the project's. */
static void decide_with(const struct hook *hook, const char *dir, const struct project *project,
                        struct json_span input, struct hook_verdict *ret)
{
    struct rules_load_options options = {.dir = dir,
                                         .project_files = project->files,
                                         .nproject_files = project->n,
                                         .is_for_one = true};
    struct options_errors errs = OPTIONS_ERRORS_INIT;
    struct rules *rules = NULL;

    if (rules_load(&options, &rules, &errs) != 0) {
        cannot_load(hook, &errs, ret);
    } else {
        decide(hook, rules, input, ret);
        detach(hook, ret);
        make_note(hook, ret);
        rules_free(rules);
    }
    options_errors_done(&errs);
}

void hook_decide_here(const struct hook *hook, struct hook_verdict *ret)
{
    struct project project;

    if (hook->record->event->kind == HOOK_TASK) {
        *ret = (struct hook_verdict){.action = RULES_NONE};
        return;
    }
    find_project(hook, &project);
    decide_with(hook, hook->policy->opts->hooks.rules_dir, &project,
                hook_rules_input(hook->record, hook->arena), ret);
}

void hook_decide_by_project(const struct hook *hook, struct hook_verdict *verdict)
{
    struct hook_verdict own;
    struct project project;

    if (hook->record->event->kind == HOOK_TASK)
        return;
    find_project(hook, &project);
    if (project.n) {
        decide_with(hook, NULL, &project, hook_rules_input(hook->record, hook->arena), &own);
        hook_verdict_join(verdict, &own, hook->arena);
        if (verdict->input.len) {
            decide_with(hook, NULL, &project, verdict->input, &own);
            own.nnotes = 0; /* said already */
            hook_verdict_join(verdict, &own, hook->arena);
        }
    }
}

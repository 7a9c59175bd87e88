/*
 * local.c: the decision without a daemon, by the same rules and the same engine; and the rules that a project brings, which
 * the daemon may not even be able to read. See hook.h.
 *
 * A project's rules are the *.yaml in .claudebench/rules.d of its folder. They can only make things stricter.
 */
#include "common/compat.h"
#include "client/hook/hook.h"

#include "common/mem.h"

#include <dirent.h>
#include <sys/stat.h>

#define PROJECT_RULES ".claudebench/rules.d"

struct project {
    const char **files;
    size_t n;
    bool is_bad; /* there is a folder, and it cannot be read */
    char *dir;
};

/* ---- the project's files ---- */

/* The folder that the agent was started in, or works in. */
static const char *project_root(const struct hook *hook)
{
    const char *root = getenv("CLAUDE_PROJECT_DIR");

    if (!root || root[0] != '/')
        root = getenv("GEMINI_PROJECT_DIR");
    return root && root[0] == '/' ? root : hook->record->cwd;
}

static int is_rule_file(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return entry->d_name[0] != '.' && len > 5 && strcmp(entry->d_name + len - 5, ".yaml") == 0;
}

static void find_project(const struct hook *hook, struct project *p)
{
    const char *root = project_root(hook);
    struct dirent **entries = NULL;

    *p = (struct project){0};
    if (!root)
        return;
    p->dir = mem_printf("%s/" PROJECT_RULES, root);
    int n = scandir(p->dir, &entries, is_rule_file, alphasort);
    p->is_bad = n > RULES_FILES_MAX || (n < 0 && errno != ENOENT && errno != ENOTDIR);
    p->files = mem_calloc(n > 0 ? (size_t)n : 1, sizeof *p->files);
    for (int i = 0; i < n; i++) {
        p->files[p->n++] = arena_printf(hook->arena, "%s/%s", p->dir, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
}

static void free_project(struct project *p)
{
    free(p->files);
    free(p->dir);
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
    for (size_t i = 0; i < v->nnotes; i++) {
        notes[i].rule = arena_strndup(hook->arena, v->notes[i].rule, strlen(v->notes[i].rule));
        notes[i].message = arena_strndup(hook->arena, v->notes[i].message,
                                         strlen(v->notes[i].message));
    }
    v->notes = notes;
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

    if (project->is_bad) {
        hook_verdict_error(hook, arena_printf(hook->arena, "%s cannot be read", project->dir), ret);
        return;
    }
    if (rules_load(&options, &rules, &errs) != 0) {
        cannot_load(hook, &errs, ret);
    } else {
        decide(hook, rules, input, ret);
        detach(hook, ret);
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
    free_project(&project);
}

void hook_decide_by_project(const struct hook *hook, struct hook_verdict *verdict)
{
    struct hook_verdict own;
    struct project project;

    if (hook->record->event->kind == HOOK_TASK)
        return;
    find_project(hook, &project);
    if (project.n || project.is_bad) {
        decide_with(hook, NULL, &project, hook_rules_input(hook->record, hook->arena), &own);
        hook_verdict_join(verdict, &own, hook->arena);
        if (verdict->input.len) {
            decide_with(hook, NULL, &project, verdict->input, &own);
            own.nnotes = 0; /* said already */
            hook_verdict_join(verdict, &own, hook->arena);
        }
    }
    free_project(&project);
}

/*
 * match_command.c: what a rule asks of one command. See rules_int.h.
 */
#include "common/compat.h"
#include "common/rules/rules_int.h"

enum { LINE_MAX_BYTES = 1 << 16 };

/* The text without what is not known in it, in `out`; false when nothing is left or it is too long. */
static bool without_any(const char *text, char *out, size_t size)
{
    size_t n = 0;
    for (; *text; text++) {
        if (*text == SHELL_ANY)
            continue;
        if (n + 1 == size)
            return false;
        out[n++] = *text;
    }
    out[n] = '\0';
    return n > 0;
}

/* ---- names ---- */

static bool match_name(const struct rules_strings *names, const struct shell_command *c,
                       bool has_or_unknown)
{
    if (c->nwords == 0)
        return false;
    const struct shell_word *word = &c->words[0];
    const char *name = shell_command_name(c);
    char known[256];

    if (word->flags & SHELL_UNKNOWN) {
        if (!without_any(name, known, sizeof known))
            return has_or_unknown;
        name = known;
    }
    for (size_t i = 0; i < names->n; i++) {
        const char *glob = names->at[i];
        const char *text = strchr(glob, '/') ? word->text : name;
        if (rules_glob(glob, text, strlen(text)))
            return true;
        if ((word->flags & SHELL_GLOB) && rules_path_glob(glob, name, true, NULL))
            return true;
    }
    return false;
}

static bool is_named(const struct shell_command *c, const struct rules_strings *names)
{
    return match_name(names, c, false);
}

/* via: a command that runs it, by its name or by how it runs it ("sh -c"). */
static bool match_via(const struct rules_strings *via, const struct shell_script *script,
                      int command)
{
    while (command >= 0) {
        const struct shell_command *c = &script->commands[command];
        for (size_t i = 0; c->via && i < via->n; i++) {
            if (rules_glob(via->at[i], c->via, strlen(c->via)))
                return true;
        }
        command = c->parent;
        if (command >= 0 && is_named(&script->commands[command], via))
            return true;
    }
    return false;
}

/* fed_by: a command whose output it gets, itself or through others. Who feeds stands in front of who is fed. */
static bool match_fed_by(struct rules_input *input, const struct rules_strings *names,
                         const struct shell_script *script, int command)
{
    bool *is_source = arena_alloc(input->arena, (size_t)script->ncommands * sizeof *is_source);

    /* The shell that runs it is fed, too. */
    for (int i = command; i >= 0; i = script->commands[i].parent)
        is_source[i] = true;
    for (int i = script->ncommands - 1; i >= 0; i--) {
        const struct shell_command *c = &script->commands[i];
        bool feeds = false;
        for (int to = c->feeds_from; c->feeds_from >= 0 && to < c->feeds_to && !feeds; to++)
            feeds = is_source[to];
        if (feeds && is_named(c, names))
            return true;
        is_source[i] |= feeds;
    }
    return false;
}

/* ---- options ---- */

/* GNU programs whose long options may be cut short. */
static bool has_gnu_options(const char *name)
{
    static const char *const names[] = {"rm", "chmod", "chown", "chgrp",    "cp",
                                        "mv", "ln",    "shred", "truncate", "git"};
    for (size_t i = 0; i < CB_ARRAY_LEN(names); i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

/* One option word against one name of a flag. */
static bool is_flag(const struct shell_word *word, const char *flag, size_t len, bool is_gnu)
{
    const char *text = word->text;
    if (flag[0] == '-') {
        /* As it is written: -delete; a value may follow. */
        return strncmp(text, flag, len) == 0 && (text[len] == '\0' || text[len] == '=');
    }
    if (text[0] != '-' || text[1] == '\0')
        return false;
    if (text[1] != '-')
        return len == 1 && strchr(text + 1, flag[0]) != NULL;
    size_t n = strcspn(text + 2, "=");
    if (len == 1 || n == 0)
        return false;
    return n == len ? memcmp(text + 2, flag, len) == 0
                    : is_gnu && n < len && memcmp(text + 2, flag, n) == 0;
}

static bool has_flag(const struct shell_command *c, const char *flag, size_t len, bool is_gnu)
{
    for (uint32_t i = 1; i < c->nwords; i++) {
        if (strcmp(c->words[i].text, "--") == 0)
            break;
        if (is_flag(&c->words[i], flag, len, is_gnu))
            return true;
    }
    return false;
}

/* "r|recursive": one of them. For GNU programs r means R and --recursive, f means --force, too. */
static bool has_alternative(const struct shell_command *c, const char *alternatives)
{
    bool is_gnu = has_gnu_options(shell_command_name(c)) ||
                  (c->nwords && (c->words[0].flags & SHELL_UNKNOWN));
    for (const char *at = alternatives; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL) {
        size_t len = strcspn(at, "|");
        if (len == 0)
            continue;
        if (has_flag(c, at, len, is_gnu))
            return true;
        if (is_gnu && len == 1 && (*at == 'r' || *at == 'R') &&
            (has_flag(c, *at == 'r' ? "R" : "r", 1, true) || has_flag(c, "recursive", 9, true)))
            return true;
        if (is_gnu && len == 1 && *at == 'f' && has_flag(c, "force", 5, true))
            return true;
    }
    return false;
}

static bool match_flags(const struct rules_strings *flags, const struct shell_command *c)
{
    for (size_t i = 0; i < flags->n; i++) {
        if (!has_alternative(c, flags->at[i]))
            return false;
    }
    return true;
}

/* ---- arguments ---- */

static bool match_args(const struct rules_strings *args, const struct shell_command *c)
{
    for (uint32_t w = 1; w < c->nwords; w++) {
        for (size_t i = 0; i < args->n; i++) {
            if (rules_glob(args->at[i], c->words[w].text, c->words[w].len))
                return true;
        }
    }
    return false;
}

/* Options in front of a subcommand that take the next word. */
static bool takes_next(const char *name, const char *option)
{
    static const struct {
        const char *name;
        const char *options;
    } rows[] = {
        {"claudebench", " -c --config -a --agent "},
        {"git", " -C -c --git-dir --work-tree --namespace --super-prefix --config-env "},
        {"docker", " -H --host -c --context --config -l --log-level "},
        {"podman", " -H --host -c --connection --config --log-level --root --url "},
        {"kubectl", " -n --namespace --context --cluster --kubeconfig -s --server --user --token "},
        {"helm", " -n --namespace --kube-context --kubeconfig "},
        {"systemctl", " -H --host -M --machine -t --type --state -p --property "},
        {"npm", " --prefix -C --registry --loglevel "},
        {"yarn", " --cwd "},
        {"cargo", " --config -Z -C --color --manifest-path "},
        {"gh", " -R --repo "},
        {"aws", " --profile --region --output --endpoint-url "},
        {"gcloud", " --project --account --configuration "},
        {"terraform", ""},
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(rows); i++) {
        if (strcmp(rows[i].name, name) != 0)
            continue;
        size_t len = strlen(option);
        for (const char *at = strstr(rows[i].options, option); at; at = strstr(at + 1, option)) {
            if (at > rows[i].options && at[-1] == ' ' && at[len] == ' ')
                return true;
        }
    }
    return false;
}

/* "push" is the first operand; "compose down" the first two. */
static bool match_subcommand(const struct rules_strings *subcommands, const struct shell_command *c)
{
    const char *name = shell_command_name(c);
    char words[256] = "";
    size_t n = 0, count = 0;

    for (uint32_t i = 1; i < c->nwords && count < 3; i++) {
        const struct shell_word *word = &c->words[i];
        if (word->text[0] == '-') {
            i += takes_next(name, word->text);
            continue;
        }
        int added = snprintf(words + n, sizeof words - n, "%s%s", n ? " " : "", word->text);
        if (added < 0 || (size_t)added >= sizeof words - n)
            break;
        n += (size_t)added;
        count++;
        for (size_t s = 0; s < subcommands->n; s++) {
            if (rules_glob(subcommands->at[s], words, n))
                return true;
        }
    }
    return false;
}

static bool match_env(const struct rules_strings *env, const struct shell_command *c)
{
    for (size_t i = 0; i < env->n; i++) {
        for (uint32_t a = 0; a < c->nassigns; a++) {
            if (rules_glob(env->at[i], c->assigns[a].text, c->assigns[a].len))
                return true;
        }
        /* env X=1 cmd, export X=1 */
        for (uint32_t w = 1; w < c->nwords; w++) {
            if (strchr(c->words[w].text, '=') &&
                rules_glob(env->at[i], c->words[w].text, c->words[w].len))
                return true;
        }
    }
    return false;
}

static bool match_lines(struct rules_input *input, const struct rules_regexes *lines,
                        const struct shell_command *c)
{
    struct buf line = BUF_INIT;
    bool is_match = false;

    for (uint32_t i = 0; i < c->nwords && line.len < LINE_MAX_BYTES; i++) {
        if (i)
            buf_putc(&line, ' ');
        buf_append(&line, c->words[i].text, c->words[i].len);
    }
    /* What is not known is a question mark there: patterns may be UTF-8. */
    for (size_t i = 0; i < line.len; i++) {
        if (line.data[i] == SHELL_ANY)
            line.data[i] = '?';
    }
    const char *text = arena_strndup(input->arena, buf_peek(&line), line.len);
    for (size_t i = 0; i < lines->n && !is_match; i++)
        is_match = rules_regex_search(input, &lines->at[i], text, line.len);
    buf_done(&line);
    return is_match;
}

static bool match_redirects(struct rules_input *input, const struct rules_strings *globs,
                            struct rules_script *script, int command)
{
    const struct shell_command *c = &script->shell.commands[command];
    for (uint32_t i = 0; i < c->nredirects; i++) {
        const struct shell_redirect *r = &c->redirects[i];
        if (r->kind == SHELL_HERE || r->kind == SHELL_DUPLICATE)
            continue;
        const char *path = rules_normalise_path(input->arena, r->target.text, r->target.len, c->cwd,
                                                input->call->home);
        for (size_t g = 0; g < globs->n; g++) {
            if (rules_path_glob(globs->at[g], path, (r->target.flags & SHELL_GLOB) != 0,
                                input->call->home))
                return true;
        }
    }
    return false;
}

bool rules_match_command(struct rules_input *input, const struct rules_command_test *test,
                         struct rules_script *script, int command)
{
    const struct shell_command *c = &script->shell.commands[command];

    if (test->names.n && !match_name(&test->names, c, test->has_or_unknown))
        return false;
    if (test->has_runs_input && !(c->flags & SHELL_RUNS_INPUT))
        return false;
    if (test->has_runs_itself && !(c->flags & SHELL_RUNS_ITSELF))
        return false;
    if (test->subcommands.n && !match_subcommand(&test->subcommands, c))
        return false;
    if (test->flags.n && !match_flags(&test->flags, c))
        return false;
    if (test->args.n && !match_args(&test->args, c))
        return false;
    if (test->env.n && !match_env(&test->env, c))
        return false;
    if (test->via.n && !match_via(&test->via, &script->shell, command))
        return false;
    if (test->paths.n &&
        !rules_match_targets(input, &test->paths, RULES_NAMES | RULES_READS | RULES_WRITES, script,
                             command))
        return false;
    if (test->redirects.n && !match_redirects(input, &test->redirects, script, command))
        return false;
    if (test->fed_by.n && !match_fed_by(input, &test->fed_by, &script->shell, command))
        return false;
    return test->lines.n == 0 || match_lines(input, &test->lines, c);
}

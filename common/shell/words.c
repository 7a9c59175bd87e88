/*
 * words.c: entry of the shell parser, its limits, the list of commands and the variables.
 * See words.h. Everything is in the caller's arena.
 */
#include "common/compat.h"
#include "common/shell/shell_int.h"

bool shell_is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

bool shell_is_name_char(char c)
{
    return shell_is_name_start(c) || (c >= '0' && c <= '9');
}

const char *shell_find_any(const char *text, size_t len)
{
    return len ? memchr(text, (unsigned char)SHELL_ANY, len) : NULL;
}

/* ---- problems and limits ---- */

void shell_fail(struct shell_parser *p, uint32_t at, const char *text)
{
    struct shell_problem *problem = &p->state->script->problem;
    p->has_failed = true;
    if (problem->text || p->is_guess)
        return;
    problem->text = text;
    problem->via = p->is_given ? NULL : p->via;
    problem->at = p->is_given ? at : p->outer_at;
}

void shell_fail_limit(struct shell_parser *p, const char *text)
{
    /* A limit counts in guesses, too: what comes behind would not be looked at. */
    bool is_guess = p->is_guess;
    p->is_guess = false;
    shell_fail(p, p->pos, text);
    p->is_guess = is_guess;
    p->state->is_over = true;
}

bool shell_is_over(const struct shell_parser *p)
{
    return p->has_failed || p->state->is_over;
}

bool shell_enter(struct shell_parser *p)
{
    if (p->state->depth == SHELL_DEPTH_MAX) {
        shell_fail_limit(p, "nested too deep");
        return false;
    }
    p->state->depth++;
    return true;
}

void shell_leave(struct shell_parser *p)
{
    p->state->depth--;
}

/* ---- the list ---- */

int shell_emit(struct shell_parser *p, const struct shell_command *command)
{
    struct shell_state *s = p->state;
    struct shell_script *script = s->script;

    s->nwords += command->nwords + command->nassigns + command->nredirects;
    if (script->ncommands == SHELL_COMMANDS_MAX || s->nwords > SHELL_WORDS_MAX) {
        shell_fail_limit(p, "too many commands");
        return -1;
    }
    if (script->ncommands == s->cap) {
        int cap = s->cap ? 2 * s->cap : 8;
        struct shell_command *more = arena_alloc(s->arena, (size_t)cap * sizeof *more);
        if (script->ncommands)
            memcpy(more, script->commands, (size_t)script->ncommands * sizeof *more);
        script->commands = more;
        s->cap = cap;
    }
    struct shell_command *c = &script->commands[script->ncommands];
    *c = *command;
    c->feeds_from = -1;
    c->feeds_to = -1;
    if (p->is_guess)
        c->flags |= SHELL_GUESS;
    return script->ncommands++;
}

const char *shell_command_name(const struct shell_command *command)
{
    if (command->nwords == 0)
        return "";
    const char *slash = strrchr(command->words[0].text, '/');
    return slash ? slash + 1 : command->words[0].text;
}

/* ---- texts ---- */

static void parse_text(struct shell_parser *p)
{
    struct shell_state *s = p->state;

    s->work += p->end;
    if (s->work > s->work_max) {
        shell_fail_limit(p, "too much to look at");
        return;
    }
    const char *nul = p->end ? memchr(p->text, '\0', p->end) : NULL;
    if (nul) {
        shell_fail(p, (uint32_t)(nul - p->text), "NUL character");
        return;
    }
    if (!shell_enter(p))
        return;
    shell_parse_list(p, SHELL_TO_END);
    shell_leave(p);
}

struct shell_text shell_parse_inner(struct shell_parser *p, struct shell_text text, const char *via,
                                    int parent, bool is_guess)
{
    struct shell_parser inner = {
        .state = p->state,
        .text = text.at,
        .end = text.len,
        .via = via,
        .parent = parent,
        .is_guess = p->is_guess || is_guess,
        .outer_at = p->is_given ? p->pos : p->outer_at,
        .cwd = p->cwd,
        .variables = p->variables,
        .nvariables = p->nvariables,
        .separators = p->separators,
        .input = p->input,
    };
    if (!shell_is_over(p))
        parse_text(&inner);
    if (strcmp(via, "eval") == 0) {
        p->cwd = inner.cwd;
        p->variables = inner.variables;
        p->nvariables = inner.nvariables;
    }
    return (struct shell_text){inner.output.bytes ? inner.output.bytes : "", inner.output.len};
}

/* ---- variables ---- */

static bool is_called(const struct shell_variable *v, struct shell_text name)
{
    return v->name_len == name.len && memcmp(v->name, name.at, name.len) == 0;
}

static struct shell_variable *add_variable(struct shell_parser *p, struct shell_text name)
{
    struct shell_variable *v = arena_alloc(p->state->arena, sizeof *v);
    if (p->nvariables == SHELL_VARIABLES_MAX) {
        /* Keeping the old ones would be wrong values; nothing is only not known. */
        p->variables = NULL;
        p->nvariables = 0;
    }
    v->name = arena_strndup(p->state->arena, name.at, name.len);
    v->name_len = name.len;
    v->next = p->variables;
    p->variables = v;
    p->nvariables++;
    return v;
}

void shell_set_variable(struct shell_parser *p, struct shell_text name,
                        const struct shell_word *fields, uint32_t nfields, bool is_list)
{
    struct shell_variable *v = add_variable(p, name);
    if (name.len == 3 && memcmp(name.at, "IFS", 3) == 0 && nfields == 1)
        p->separators = fields[0].text;
    v->fields = fields;
    v->nfields = nfields;
    v->is_list = is_list;
    v->is_known = true;
}

void shell_set_positional(struct shell_parser *p, const struct shell_word *words, uint32_t n)
{
    static const char digits[] = "123456789";
    shell_set_variable(p, (struct shell_text){"@", 1}, words, n, true);
    shell_set_variable(p, (struct shell_text){"*", 1}, words, n, true);
    for (uint32_t i = 0; i < n && i < 9; i++)
        shell_set_variable(p, (struct shell_text){digits + i, 1}, words + i, 1, false);
}

void shell_forget_variable(struct shell_parser *p, struct shell_text name)
{
    add_variable(p, name);
}

const struct shell_variable *shell_find_variable(const struct shell_parser *p,
                                                 struct shell_text name)
{
    for (const struct shell_variable *v = p->variables; v; v = v->next) {
        if (is_called(v, name))
            return v->is_known ? v : NULL;
    }
    return NULL;
}

static void set_known(struct shell_parser *p, const char *name, const char *value)
{
    if (!value)
        return;
    struct shell_word *field = arena_alloc(p->state->arena, sizeof *field);
    *field = shell_word_of(p, value, strlen(value), 0);
    shell_set_variable(p, (struct shell_text){name, (uint32_t)strlen(name)}, field, 1, false);
}

const char *shell_join_path(const struct shell_parser *p, struct shell_text dir)
{
    if (shell_find_any(dir.at, dir.len))
        return NULL;
    if (dir.len && dir.at[0] == '/')
        return arena_strndup(p->state->arena, dir.at, dir.len);
    if (!p->cwd)
        return NULL;
    /* As many `cd x` as there is room for in a path; behind that it is not known. */
    size_t len = strlen(p->cwd) + 1 + dir.len;
    return len < 4096 ? arena_printf(p->state->arena, "%s/%.*s", p->cwd, (int)dir.len, dir.at)
                      : NULL;
}

/* ---- entry ---- */

static void start(struct shell_parser *p, struct shell_state *s,
                  const struct shell_context *context, struct arena *arena,
                  struct shell_script *script)
{
    memset(script, 0, sizeof *script);
    *s = (struct shell_state){.script = script, .arena = arena, .context = context};
    *p = (struct shell_parser){.state = s, .parent = -1, .cwd = context->cwd};
    set_known(p, "HOME", context->home);
    set_known(p, "PWD", context->cwd);
    set_known(p, "IFS", " \t\n");
    /* Whatever shell it is, it is one. */
    set_known(p, "SHELL", "/bin/sh");
    set_known(p, "BASH", "/bin/bash");
    set_known(p, "0", "sh");
}

int shell_parse(const char *text, size_t len, const struct shell_context *context,
                struct arena *arena, struct shell_script *ret)
{
    struct shell_state s;
    struct shell_parser p;

    start(&p, &s, context, arena, ret);
    p.is_given = true;
    if (len > SHELL_BYTES_MAX) {
        shell_fail(&p, SHELL_BYTES_MAX, "too long");
        return -1;
    }
    s.work_max = len * SHELL_PASSES + 4096;
    p.text = text;
    p.end = (uint32_t)len;
    parse_text(&p);
    return ret->problem.text ? -1 : 0;
}

int shell_parse_argv(const struct shell_word *words, size_t nwords,
                     const struct shell_context *context, struct arena *arena,
                     struct shell_script *ret)
{
    struct shell_state s;
    struct shell_parser p;
    size_t len = 0;

    start(&p, &s, context, arena, ret);
    for (size_t i = 0; i < nwords; i++)
        len += words[i].len + 1;
    if (len > SHELL_BYTES_MAX || nwords > SHELL_WORDS_MAX) {
        shell_fail(&p, 0, "too long");
        return -1;
    }
    s.work_max = len * SHELL_PASSES + 4096;
    struct shell_command command = {
        .words = words, .nwords = (uint32_t)nwords, .cwd = p.cwd, .parent = -1};
    int index = shell_emit(&p, &command);
    if (index >= 0)
        shell_unwrap(&p, index);
    return ret->problem.text ? -1 : 0;
}

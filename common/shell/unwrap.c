/*
 * unwrap.c: commands that run commands, as one table. See shell_int.h.
 *
 * A row says how the command that it would run is found among its arguments. Options not named in the row are
 * taken to have no value; a wrong guess shows a command of another name, never fewer commands.
 */
#include "common/compat.h"
#include "common/shell/shell_int.h"

enum wrap {
    WRAP_PREFIX, /* operands to skip, then the command's words */
    WRAP_ENV,    /* the same behind NAME=value words */
    WRAP_SHELL,  /* sh: -c TEXT, a script, or stdin */
    WRAP_SOURCE, /* . FILE */
    WRAP_JOIN,   /* operands to skip, then words that make a text together */
    WRAP_TEXT, /* the value of an option is a text; else as WRAP_PREFIX when there are operands to skip */
    WRAP_CODE,    /* an interpreter: code in an option, a script, or stdin */
    WRAP_PROGRAM, /* the same, but code is the first operand */
    WRAP_VALUES,  /* each argument NAME=TEXT */
    WRAP_EACH,    /* each operand is a text */
    WRAP_RUNNER,  /* a subcommand out of `code`, then as WRAP_PREFIX */
    WRAP_GIT,
    WRAP_FIND,
    WRAP_XARGS,
    WRAP_PARALLEL,
    WRAP_FD,
    WRAP_SED,
    WRAP_VI,
    WRAP_INPUT, /* runs what it reads, if it has no operand (at) or reads it with - (crontab) */
};

struct wrapper {
    const char *name; /* "*" at the end: any ending */
    enum wrap wrap;
    uint32_t skip;
    struct shell_option_spec spec;
    const char *code; /* options with a text as value: letters, then long names */
};

static const struct wrapper WRAPPERS[] = {
#define SHELL_WRAPPER(name, kind, skip, shorts, longs, code)                                       \
    {name, WRAP_##kind, skip, {shorts, longs}, code},
#include "common/shell/wrappers.def"
#undef SHELL_WRAPPER
};

/* ---- the table ---- */

static bool is_name_of(const struct wrapper *w, const char *name)
{
    size_t len = strlen(w->name);
    if (w->name[len - 1] != '*')
        return strcmp(w->name, name) == 0;
    /* python3.11, not python-config */
    return strncmp(w->name, name, len - 1) == 0 &&
           strspn(name + len - 1, "0123456789.") == strlen(name + len - 1);
}

static const struct wrapper *find_wrapper(const char *name)
{
    for (size_t i = 0; i < CB_ARRAY_LEN(WRAPPERS); i++) {
        if (WRAPPERS[i].name[0] == name[0] && is_name_of(&WRAPPERS[i], name))
            return &WRAPPERS[i];
    }
    return NULL;
}

bool shell_word_is(const struct shell_word *word, const char *text)
{
    return strcmp(word->text, text) == 0;
}

/* ---- options ---- */

/* True when `name` (len bytes) is one of the names in a list with blanks around each. */
static bool is_listed(const char *list, const char *name, size_t len)
{
    for (const char *at = list; len && (at = strstr(at, " ")) != NULL; at++) {
        if (strncmp(at + 1, name, len) == 0 && at[1 + len] == ' ')
            return true;
    }
    return false;
}

static bool is_option(const struct shell_word *word)
{
    cb_assert(word->text);
    return word->len > 1 && word->text[0] == '-' && !shell_word_is(word, "--");
}

/* True when the option takes the next word as its value. */
static bool takes_next(const struct shell_option_spec *spec, const struct shell_word *word)
{
    if (word->text[1] == '-')
        return !strchr(word->text, '=') &&
               is_listed(spec->long_with_value, word->text + 2, word->len - 2);
    for (const char *at = word->text + 1; *at; at++) {
        if (strchr(spec->with_value, *at))
            return at[1] == '\0';
    }
    return false;
}

uint32_t shell_skip_options(const struct shell_option_spec *spec, const struct shell_word *words,
                            uint32_t nwords, uint32_t i)
{
    while (i < nwords) {
        if (shell_word_is(&words[i], "--"))
            return i + 1;
        if (!is_option(&words[i]))
            break;
        i += takes_next(spec, &words[i]) ? 2 : 1;
    }
    return i < nwords ? i : nwords;
}

/* The text that words[i] (an option) brings with it, itself or in the next word: -c TEXT, -cTEXT, --command=TEXT.
 * `code` is the letters, then the long names. NULL: it is no such option. */
static const char *option_text(const char *code, const struct shell_word *words, uint32_t nwords,
                               uint32_t i)
{
    const struct shell_word *word = &words[i];
    const char *longs = strchr(code, ' ');
    size_t nletters = longs ? (size_t)(longs - code) : strlen(code);

    if (word->text[1] == '-') {
        const char *equals = strchr(word->text, '=');
        size_t len = equals ? (size_t)(equals - word->text) - 2 : word->len - 2;
        if (!longs || !is_listed(longs, word->text + 2, len))
            return NULL;
        return equals ? equals + 1 : i + 1 < nwords ? words[i + 1].text : NULL;
    }
    for (const char *at = word->text + 1; *at; at++) {
        if (!memchr(code, *at, nletters))
            continue;
        return at[1] ? at + 1 : i + 1 < nwords ? words[i + 1].text : NULL;
    }
    return NULL;
}

/* ---- running ---- */

int shell_unwrap_to(struct shell_parser *p, int parent, const char *via,
                    const struct shell_word *words, uint32_t nwords, uint32_t flags)
{
    const struct shell_command *outer = &p->state->script->commands[parent];
    struct shell_command command = {
        .words = words,
        .nwords = nwords,
        .flags = flags,
        .cwd = outer->cwd,
        .via = via,
        .parent = parent,
    };
    /* A place that can be named: from its first word to the end of the outer one. */
    if (nwords && words[0].end > words[0].begin && words[nwords - 1].end) {
        command.begin = words[0].begin;
        command.end = words[nwords - 1].end;
    }
    if (nwords == 0 || !shell_enter(p))
        return -1;
    int index = shell_emit(p, &command);
    if (index >= 0)
        shell_unwrap(p, index);
    shell_leave(p);
    return index;
}

static bool is_known_text(struct shell_text text)
{
    for (uint32_t i = 0; i < text.len; i++) {
        if (text.at[i] != SHELL_ANY && text.at[i] != '\n' && text.at[i] != ' ')
            return true;
    }
    return false;
}

void shell_run_text(struct shell_parser *p, const char *text, const char *via, int command)
{
    struct shell_text t = {text, (uint32_t)strlen(text)};
    if (shell_find_any(text, t.len))
        p->state->script->commands[command].flags |= SHELL_RUNS_INPUT;
    shell_parse_inner(p, t, via, command, false);
}

static const char *via_of(struct shell_parser *p, const struct shell_command *c, const char *option)
{
    const char *name = shell_command_name(c);
    return arena_printf(p->state->arena, *option ? "%.64s %s" : "%.64s%s", name, option);
}

static bool is_code(const struct wrapper *w)
{
    return w->wrap == WRAP_CODE || w->wrap == WRAP_PROGRAM;
}

void shell_run_input(struct shell_parser *p, int command, struct shell_text text)
{
    struct shell_command c = p->state->script->commands[command];
    const struct wrapper *w = c.nwords ? find_wrapper(shell_command_name(&c)) : NULL;

    if (!w || !is_known_text(text) || shell_is_over(p))
        return;
    if (w->wrap == WRAP_XARGS || w->wrap == WRAP_PARALLEL) {
        struct shell_text input = p->input;
        p->input = text;
        if (w->wrap == WRAP_XARGS)
            shell_unwrap_xargs(p, command);
        else
            shell_unwrap_parallel(p, command);
        p->input = input;
    } else if (c.flags & SHELL_RUNS_INPUT) {
        const char *via = via_of(p, &c, "");
        if (is_code(w))
            shell_parse_code(p, text, via, command);
        else
            shell_parse_inner(p, text, via, command, false);
    }
}

static void runs_input(struct shell_parser *p, int command, struct shell_text text)
{
    p->state->script->commands[command].flags |= SHELL_RUNS_INPUT;
    shell_run_input(p, command, text);
}

/* ---- one function for each kind ---- */

/* A script as operand: - and /dev/stdin are stdin, <(…) is what is printed there. */
static void unwrap_script(struct shell_parser *p, int command, const struct shell_word *script)
{
    if (!script || shell_word_is(script, "-") || shell_word_is(script, "/dev/stdin") ||
        shell_word_is(script, "/dev/fd/0") || shell_word_is(script, "/proc/self/fd/0"))
        runs_input(p, command, p->input);
    else if (script->flags & SHELL_PROCESS)
        runs_input(p, command, shell_text_of(script));
}

static void unwrap_shell(struct shell_parser *p, int command, const struct wrapper *w)
{
    struct shell_command c = p->state->script->commands[command];
    bool has_text = false, has_stdin = false;
    uint32_t i = 1;

    while (i < c.nwords && ((is_option(&c.words[i]) || c.words[i].text[0] == '+') ||
                            shell_word_is(&c.words[i], "--"))) {
        const struct shell_word *word = &c.words[i];
        if (shell_word_is(word, "--")) {
            i++;
            break;
        }
        has_text |= word->text[0] == '-' && word->text[1] != '-' && strchr(word->text, 'c');
        has_text |= shell_word_is(word, "--command");
        has_stdin |= word->text[0] == '-' && word->text[1] != '-' && strchr(word->text, 's');
        i += takes_next(&w->spec, word) ? 2 : 1;
    }
    if (has_text && i < c.nwords) {
        struct shell_variable *variables = p->variables;
        unsigned nvariables = p->nvariables;
        if (i + 1 < c.nwords) {
            shell_set_variable(p, (struct shell_text){"0", 1}, &c.words[i + 1], 1, false);
            shell_set_positional(p, c.words + i + 2, c.nwords - i - 2);
        }
        shell_run_text(p, c.words[i].text, via_of(p, &c, "-c"), command);
        p->variables = variables;
        p->nvariables = nvariables;
    } else if (!has_text)
        unwrap_script(p, command, i < c.nwords && !has_stdin ? &c.words[i] : NULL);
}

static void unwrap_code(struct shell_parser *p, int command, const struct wrapper *w)
{
    struct shell_command c = p->state->script->commands[command];
    bool has_code = false;
    uint32_t i = 1;

    for (; i < c.nwords && is_option(&c.words[i]); i++) {
        const char *text = w->code ? option_text(w->code, c.words, c.nwords, i) : NULL;
        if (text) {
            struct shell_text code = {text, (uint32_t)strlen(text)};
            has_code = true;
            if (shell_find_any(text, code.len))
                p->state->script->commands[command].flags |= SHELL_RUNS_INPUT;
            shell_parse_code(p, code, via_of(p, &c, w->code[0] == 'c' ? "-c" : "-e"), command);
            i += text == c.words[i + 1 < c.nwords ? i + 1 : i].text;
        } else if (strcmp(c.words[i].text, "-m") == 0) {
            return; /* a module: what it reads is data */
        } else if (takes_next(&w->spec, &c.words[i])) {
            i++;
        }
    }
    if (has_code)
        return;
    if (w->wrap == WRAP_PROGRAM) {
        if (i < c.nwords)
            shell_parse_code(p, shell_text_of(&c.words[i]), via_of(p, &c, ""), command);
        return;
    }
    if (w->skip && i + 1 < c.nwords && shell_word_is(&c.words[i], "eval"))
        shell_parse_code(p, shell_text_of(&c.words[i + 1]), via_of(p, &c, "eval"), command);
    else if (c.nwords == 1 || i < c.nwords)
        unwrap_script(p, command, i < c.nwords ? &c.words[i] : NULL);
}

/* Words as a text that is read as the same words again. */
static struct shell_text quote_words(struct shell_parser *p, const struct shell_word *words,
                                     uint32_t n)
{
    struct shell_token out = {0};
    shell_token_put(p, &out, ' ', SHELL_K_QUOTED);
    for (uint32_t i = 0; i < n && !p->state->is_over; i++) {
        shell_token_puts(p, &out, " '", 2, SHELL_K_QUOTED);
        for (const char *at = words[i].text; *at; at++) {
            if (*at == '\'')
                shell_token_puts(p, &out, "'\\''", 4, SHELL_K_QUOTED);
            else
                shell_token_put(p, &out, *at, SHELL_K_QUOTED);
        }
        shell_token_put(p, &out, '\'', SHELL_K_QUOTED);
    }
    return (struct shell_text){arena_strndup(p->state->arena, out.bytes, out.len), out.len};
}

/* env -C DIR, sudo -D DIR: where the command is run. NULL: the folder is not changed. */
static const char *find_dir(const struct shell_command *c, const struct wrapper *w, uint32_t end)
{
    const char *code = strcmp(w->name, "env") == 0 ? "C chdir " : "D chdir ";
    const char *dir = NULL;

    for (uint32_t i = 1; w->wrap == WRAP_ENV && i < end; i++) {
        const char *text = is_option(&c->words[i]) ? option_text(code, c->words, c->nwords, i)
                                                   : NULL;
        dir = text ? text : dir;
    }
    return dir;
}

static void unwrap_prefix_in(struct shell_parser *p, int command, const struct wrapper *w,
                             uint32_t i)
{
    struct shell_command c = p->state->script->commands[command];

    for (uint32_t o = 1; w->code && o < i; o++) {
        const char *text = is_option(&c.words[o]) ? option_text(w->code, c.words, c.nwords, o)
                                                  : NULL;
        if (text) {
            /* The words behind it are arguments of what is in the text. */
            uint32_t next = o + (o + 1 < c.nwords && text == c.words[o + 1].text ? 2 : 1);
            struct shell_text rest = quote_words(p, c.words + next, c.nwords - next);
            shell_run_text(p, arena_printf(p->state->arena, "%s %s", text, rest.at),
                           via_of(p, &c, "-S"), command);
            return;
        }
    }
    if (w->wrap == WRAP_ENV) {
        while (i < c.nwords && shell_is_name_start(c.words[i].text[0]) &&
               strchr(c.words[i].text, '='))
            i++;
    }
    i += w->skip;
    if (i < c.nwords && shell_word_is(&c.words[i], "--"))
        i++;
    if (i < c.nwords)
        shell_unwrap_to(p, command, w->name, c.words + i, c.nwords - i, 0);
    /* sudo -s, sudo -i, doas -s with nothing behind: a shell on stdin. */
    else if (w->wrap == WRAP_ENV && c.nwords > 1 && strchr(c.words[c.nwords - 1].text, 's'))
        runs_input(p, command, p->input);
}

static void unwrap_prefix(struct shell_parser *p, int command, const struct wrapper *w)
{
    const struct shell_command *c = &p->state->script->commands[command];
    uint32_t i = shell_skip_options(&w->spec, c->words, c->nwords, 1);
    const char *dir = find_dir(c, w, i), *cwd = p->cwd, *outer = c->cwd;

    if (dir)
        p->state->script->commands[command].cwd = p->cwd = shell_join_path(
            p, (struct shell_text){dir, (uint32_t)strlen(dir)});
    unwrap_prefix_in(p, command, w, i);
    p->state->script->commands[command].cwd = outer;
    p->cwd = cwd;
}

/* uv run CMD, bundle exec CMD. */
static void unwrap_runner(struct shell_parser *p, int command, const struct wrapper *w)
{
    struct shell_command c = p->state->script->commands[command];
    uint32_t i = shell_skip_options(&w->spec, c.words, c.nwords, 1);

    if (i >= c.nwords || !is_listed(w->code, c.words[i].text, c.words[i].len))
        return;
    i = shell_skip_options(&w->spec, c.words, c.nwords, i + 1) + w->skip;
    if (i < c.nwords && shell_word_is(&c.words[i], "--"))
        i++;
    if (i < c.nwords)
        shell_unwrap_to(p, command, w->name, c.words + i, c.nwords - i, 0);
}

static void unwrap_text(struct shell_parser *p, int command, const struct wrapper *w)
{
    struct shell_command c = p->state->script->commands[command];
    for (uint32_t i = 1; i < c.nwords; i++) {
        const char *text = is_option(&c.words[i]) ? option_text(w->code, c.words, c.nwords, i)
                                                  : NULL;
        if (text) {
            text += strspn(text, "!"); /* gdb -ex '!cmd' */
            shell_run_text(p, text, via_of(p, &c, "-c"), command);
            return;
        }
    }
    uint32_t first = shell_skip_options(&w->spec, c.words, c.nwords, 1) + w->skip;
    bool is_command = strcmp(w->name, "runuser") == 0 || w->skip;
    if (is_command && first < c.nwords)
        shell_unwrap_to(p, command, w->name, c.words + first, c.nwords - first, 0);
    else if (strcmp(w->name, "su") == 0)
        runs_input(p, command, p->input);
}

static void unwrap_join(struct shell_parser *p, int command, const struct wrapper *w)
{
    struct shell_command c = p->state->script->commands[command];
    uint32_t first = shell_skip_options(&w->spec, c.words, c.nwords, 1) + w->skip;

    /* ssh host -p 22 cmd: it goes on looking for options behind the host. */
    if (w->skip && first < c.nwords)
        first = shell_skip_options(&w->spec, c.words, c.nwords, first);
    if (first < c.nwords) {
        struct shell_text text = shell_join_words(p, c.words + first, c.nwords - first);
        const char *cwd = p->cwd;
        if (w->skip)
            p->cwd = NULL; /* elsewhere */
        shell_run_text(p, text.at, w->name, command);
        if (w->skip)
            p->cwd = cwd;
    } else if (w->skip && first == c.nwords) {
        runs_input(p, command, p->input);
    }
}

static void unwrap_each(struct shell_parser *p, int command, const struct wrapper *w)
{
    struct shell_command c = p->state->script->commands[command];
    for (uint32_t i = 1; i < c.nwords && !shell_is_over(p); i++) {
        const char *text = c.words[i].text;
        if (w->wrap == WRAP_VALUES) {
            text = strchr(text, '=');
            if (text)
                shell_parse_inner(p, (struct shell_text){text + 1, (uint32_t)strlen(text + 1)},
                                  w->name, command, true);
        } else if (!is_option(&c.words[i]) && strpbrk(text, " \t\n;")) {
            shell_parse_inner(p, shell_text_of(&c.words[i]), w->name, command, true);
        }
    }
}

/* at, batch: what they read. */
static void unwrap_input(struct shell_parser *p, int command, const struct wrapper *w)
{
    struct shell_command c = p->state->script->commands[command];
    for (uint32_t i = 1; i < c.nwords; i++) {
        if (is_option(&c.words[i]) && strchr(c.words[i].text, 'f'))
            return;
    }
    (void)w;
    runs_input(p, command, p->input);
}

static void unwrap_by(struct shell_parser *p, int command, const struct wrapper *w)
{
    const struct shell_command *c = &p->state->script->commands[command];
    switch (w->wrap) {
    case WRAP_PREFIX:
    case WRAP_ENV:
        unwrap_prefix(p, command, w);
        break;
    case WRAP_SHELL:
        unwrap_shell(p, command, w);
        break;
    case WRAP_SOURCE:
        unwrap_script(p, command, c->nwords > 1 ? &c->words[1] : NULL);
        break;
    case WRAP_JOIN:
        unwrap_join(p, command, w);
        break;
    case WRAP_TEXT:
        unwrap_text(p, command, w);
        break;
    case WRAP_CODE:
    case WRAP_PROGRAM:
        unwrap_code(p, command, w);
        break;
    case WRAP_VALUES:
    case WRAP_EACH:
        unwrap_each(p, command, w);
        break;
    case WRAP_RUNNER:
        unwrap_runner(p, command, w);
        break;
    case WRAP_GIT:
        shell_unwrap_git(p, command);
        break;
    case WRAP_FIND:
        shell_unwrap_find(p, command);
        break;
    case WRAP_XARGS:
        shell_unwrap_xargs(p, command);
        break;
    case WRAP_PARALLEL:
        shell_unwrap_parallel(p, command);
        break;
    case WRAP_FD:
        shell_unwrap_fd(p, command);
        break;
    case WRAP_SED:
        shell_unwrap_sed(p, command);
        break;
    case WRAP_VI:
        shell_unwrap_vi(p, command);
        break;
    case WRAP_INPUT:
        unwrap_input(p, command, w);
        break;
    }
}

void shell_unwrap(struct shell_parser *p, int command)
{
    struct shell_command *c = &p->state->script->commands[command];
    if (c->nwords == 0 || shell_is_over(p))
        return;
    if (c->words[0].flags & SHELL_UNKNOWN) {
        c->flags |= SHELL_RUNS_INPUT;
        return;
    }
    const struct wrapper *w = find_wrapper(shell_command_name(c));
    if (!shell_enter(p))
        return;
    /* What a wrapper runs has these words, too: they are looked at once. */
    if (c->parent < 0 || c->begin == c->end)
        shell_unwrap_all_carried(p, command);
    if (w)
        unwrap_by(p, command, w);
    shell_leave(p);
}

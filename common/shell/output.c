/*
 * output.c: what a command would print, for those whose output is easy to know: echo, printf, cat of a
 * here-document, which, pwd, dirname, find. All others print SHELL_ANY. See shell_int.h.
 */
#include "common/compat.h"
#include "common/shell/shell_int.h"

static void put_line_end(struct shell_parser *p)
{
    shell_token_put(p, &p->output, '\n', SHELL_K_QUOTED);
}

static void put_word(struct shell_parser *p, const struct shell_word *word)
{
    shell_token_value(p, &p->output, word->text, word->len, true);
}

/* The text with its backslash escapes. */
static void put_escaped(struct shell_parser *p, const char *at, const char *end)
{
    while (at < end && !p->state->is_over) {
        if (*at == '\\') {
            at++;
            at += shell_put_escape(p, &p->output, at, end);
        } else {
            shell_token_value(p, &p->output, at++, 1, true);
        }
    }
}

static void put_echo(struct shell_parser *p, const struct shell_command *c)
{
    uint32_t i = 1;
    bool has_escapes = false, has_newline = true;

    while (i < c->nwords && c->words[i].len > 1 && c->words[i].text[0] == '-' &&
           strspn(c->words[i].text + 1, "neE") == c->words[i].len - 1) {
        has_escapes |= strchr(c->words[i].text, 'e') != NULL;
        has_newline &= strchr(c->words[i].text, 'n') == NULL;
        i++;
    }
    for (uint32_t first = i; i < c->nwords && !p->state->is_over; i++) {
        if (i > first)
            shell_token_put(p, &p->output, ' ', SHELL_K_QUOTED);
        if (has_escapes)
            put_escaped(p, c->words[i].text, c->words[i].text + c->words[i].len);
        else
            put_word(p, &c->words[i]);
    }
    if (has_newline)
        put_line_end(p);
}

/* One conversion of a format; at is behind the %. Returns where the format goes on. */
static const char *put_conversion(struct shell_parser *p, const struct shell_command *c,
                                  const char *at, const char *end, uint32_t *arg)
{
    while (at < end && strchr("-+ #0123456789.", *at))
        at++;
    if (at == end)
        return at;
    if (*at == '%') {
        shell_token_put(p, &p->output, '%', SHELL_K_QUOTED);
        return at + 1;
    }
    if (*arg < c->nwords) {
        const struct shell_word *word = &c->words[(*arg)++];
        if (*at == 'b')
            put_escaped(p, word->text, word->text + word->len);
        else if (*at == 'c')
            shell_token_value(p, &p->output, word->text, word->len ? 1 : 0, true);
        else
            put_word(p, word);
    }
    return at + 1;
}

static void put_printf(struct shell_parser *p, const struct shell_command *c)
{
    uint32_t arg = 1;
    if (arg < c->nwords && shell_word_is(&c->words[arg], "--"))
        arg++;
    if (arg >= c->nwords)
        return;
    const struct shell_word *format = &c->words[arg++];
    const char *end = format->text + format->len;
    uint32_t before = 0;

    /* The format is used again as long as it takes arguments and there are any. */
    do {
        before = arg;
        for (const char *at = format->text; at < end && !p->state->is_over;) {
            if (*at == '%') {
                at = put_conversion(p, c, at + 1, end, &arg);
            } else if (*at == '\\') {
                at++;
                at += shell_put_escape(p, &p->output, at, end);
            } else {
                shell_token_value(p, &p->output, at++, 1, true);
            }
        }
    } while (arg > before && arg < c->nwords && !p->state->is_over);
}

static bool has_operand(const struct shell_command *c)
{
    for (uint32_t i = 1; i < c->nwords; i++) {
        if (c->words[i].text[0] != '-')
            return true;
    }
    return false;
}

/* dirname and basename of what is known. */
static void put_path_part(struct shell_parser *p, const struct shell_command *c, bool is_dir)
{
    for (uint32_t i = 1; i < c->nwords && !p->state->is_over; i++) {
        const struct shell_word *word = &c->words[i];
        if (word->text[0] == '-')
            continue;
        const char *slash = strrchr(word->text, '/');
        size_t at = slash ? (size_t)(slash - word->text) : 0;
        if (!is_dir && slash)
            shell_token_value(p, &p->output, slash + 1, word->len - at - 1, true);
        else if (!is_dir)
            put_word(p, word);
        else if (slash)
            shell_token_value(p, &p->output, at ? word->text : "/", at ? at : 1, true);
        else
            shell_token_put(p, &p->output, '.', SHELL_K_QUOTED);
        put_line_end(p);
    }
}

/* ls -d prints its operands; without -d it prints what is in them, which is not known. */
static bool put_listed(struct shell_parser *p, const struct shell_command *c)
{
    bool has_d = false;
    for (uint32_t i = 1; i < c->nwords; i++)
        has_d |= c->words[i].text[0] == '-' && c->words[i].text[1] != '-' &&
                 strchr(c->words[i].text, 'd');
    for (uint32_t i = 1; has_d && i < c->nwords && !p->state->is_over; i++) {
        if (c->words[i].text[0] == '-')
            continue;
        put_word(p, &c->words[i]);
        put_line_end(p);
    }
    return has_d;
}

/* printf -v NAME …: into a variable instead. */
static bool put_variable(struct shell_parser *p, const struct shell_command *c)
{
    if (c->nwords < 4 || !shell_word_is(&c->words[1], "-v"))
        return false;
    struct shell_token saved = p->output;
    struct shell_command rest = *c;
    struct shell_word *value = arena_alloc(p->state->arena, sizeof *value);
    rest.words = c->words + 2;
    rest.nwords = c->nwords - 2;
    memset(&p->output, 0, sizeof p->output);
    put_printf(p, &rest);
    *value = shell_token_word(p, &p->output, 0, 0);
    shell_set_variable(p, shell_text_of(&c->words[2]), value, 1, false);
    p->output = saved;
    return true;
}

/* The name that which, type -p or command -v looks for. */
static const struct shell_word *looked_up(const struct shell_command *c, const char *name)
{
    uint32_t i = 1;
    bool is_lookup = strcmp(name, "which") == 0 || strcmp(name, "type") == 0;
    for (; i < c->nwords && c->words[i].text[0] == '-'; i++)
        is_lookup |= strcmp(name, "command") == 0 && strpbrk(c->words[i].text, "vV") != NULL;
    return is_lookup && i < c->nwords ? &c->words[i] : NULL;
}

void shell_put_output(struct shell_parser *p, const struct shell_command *command)
{
    static const char *const silent[] = {"cd", "export", "set",   "true",
                                         ":",  "unset",  "local", "declare"};
    const char *name = shell_command_name(command);
    const struct shell_word *found = NULL;

    for (size_t i = 0; i < CB_ARRAY_LEN(silent); i++) {
        if (strcmp(name, silent[i]) == 0)
            return;
    }
    if (strcmp(name, "echo") == 0) {
        put_echo(p, command);
    } else if (strcmp(name, "printf") == 0) {
        if (!put_variable(p, command))
            put_printf(p, command);
    } else if (strcmp(name, "dirname") == 0 || strcmp(name, "basename") == 0) {
        put_path_part(p, command, name[0] == 'd');
    } else if (strcmp(name, "ls") == 0 && put_listed(p, command)) {
        return;
    } else if ((strcmp(name, "cat") == 0 || strcmp(name, "tee") == 0) && p->input.at &&
               !(name[0] == 'c' && has_operand(command))) {
        /* A here-document comes when its body is read. */
        shell_token_value(p, &p->output, p->input.at, p->input.len, true);
    } else if (strcmp(name, "find") == 0) {
        shell_put_found(p, command);
    } else if (strcmp(name, "pwd") == 0 && p->cwd) {
        shell_token_value(p, &p->output, p->cwd, strlen(p->cwd), true);
        put_line_end(p);
    } else if ((found = looked_up(command, name)) != NULL) {
        put_word(p, found);
        put_line_end(p);
    } else {
        shell_token_any(p, &p->output);
        put_line_end(p);
    }
}

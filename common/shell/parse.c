/*
 * parse.c: lists, pipelines and compound commands of a shell text. See shell_int.h.
 *
 * It is lenient: what a shell would refuse as a syntax error is read as if the odd word were not there, since all
 * that counts is which commands could run. Only what hides where a command begins (quotes, parentheses) is a
 * problem.
 */
#include "common/compat.h"
#include "common/shell/shell_int.h"

static void parse_pipeline(struct shell_parser *p);
static void parse_stage(struct shell_parser *p);

/* ---- looking at what comes ---- */

static bool has_char(const struct shell_parser *p, uint32_t at, char c)
{
    return at < p->end && p->text[at] == c;
}

static bool ends_word(const struct shell_parser *p, uint32_t at)
{
    return at >= p->end || strchr(" \t\n;&|()<>", p->text[at]);
}

/* True when the word at pos is exactly this one, without quotes. */
static bool is_keyword(const struct shell_parser *p, const char *word)
{
    size_t len = strlen(word);
    return p->end - p->pos >= len && memcmp(p->text + p->pos, word, len) == 0 &&
           ends_word(p, p->pos + (uint32_t)len);
}

static bool take_keyword(struct shell_parser *p, const char *word)
{
    if (!is_keyword(p, word))
        return false;
    p->pos += (uint32_t)strlen(word);
    return true;
}

void shell_skip_blanks(struct shell_parser *p)
{
    while (p->pos < p->end) {
        char c = p->text[p->pos];
        if (c == ' ' || c == '\t')
            p->pos++;
        else if (c == '\\' && has_char(p, p->pos + 1, '\n'))
            p->pos += 2;
        else
            break;
    }
}

static void skip_comment(struct shell_parser *p)
{
    const char *newline = memchr(p->text + p->pos, '\n', p->end - p->pos);
    p->pos = newline ? (uint32_t)(newline - p->text) : p->end;
}

void shell_skip_lines(struct shell_parser *p)
{
    while (!shell_is_over(p)) {
        shell_skip_blanks(p);
        if (has_char(p, p->pos, '#')) {
            skip_comment(p);
        } else if (has_char(p, p->pos, '\n')) {
            p->pos++;
            if (p->heredocs)
                shell_read_heredocs(p);
        } else {
            break;
        }
    }
}

/* ---- compound commands ---- */

static void skip_word(struct shell_parser *p)
{
    struct shell_token unused = {0};
    shell_read_word(p, &unused);
}

static void parse_to(struct shell_parser *p, enum shell_close close)
{
    if (!shell_enter(p))
        return;
    shell_parse_list(p, close);
    shell_leave(p);
}

/* pos is at "(". */
static void parse_subshell(struct shell_parser *p)
{
    uint32_t open = p->pos++;
    const char *cwd = p->cwd;
    struct shell_variable *variables = p->variables;
    unsigned nvariables = p->nvariables;

    parse_to(p, SHELL_TO_PAREN);
    p->cwd = cwd;
    p->variables = variables;
    p->nvariables = nvariables;
    if (shell_is_over(p))
        return;
    if (p->pos < p->end)
        p->pos++;
    else
        shell_fail(p, open, "parenthesis without end");
}

/* "((" at pos: true when it is arithmetic, which is read then. */
static bool parse_arithmetic(struct shell_parser *p)
{
    if (!has_char(p, p->pos + 1, '('))
        return false;
    p->pos += 2;
    p->state->work += 16;
    uint32_t end = shell_find_arithmetic_end(p);
    if (!end) {
        p->pos -= 2;
        return false;
    }
    struct shell_text inside = {p->text + p->pos, end - p->pos};
    shell_read_arithmetic(p, end);
    /* To dash these are two subshells. */
    shell_parse_inner(p, inside, "((…))", p->parent, true);
    if (!shell_is_over(p))
        p->pos = end + 2;
    return true;
}

/* [[ … ]]: no command in it but those of substitutions. */
static void parse_test(struct shell_parser *p)
{
    uint32_t open = p->pos;
    while (!shell_is_over(p)) {
        shell_skip_lines(p);
        if (take_keyword(p, "]]"))
            break;
        if (p->pos >= p->end || has_char(p, p->pos, ';')) {
            shell_fail(p, open, "[[ without end");
            break;
        }
        uint32_t before = p->pos;
        skip_word(p);
        if (p->pos == before)
            p->pos++;
    }
}

/* for x in …, select x in …: pos is behind the keyword. */
static void parse_for(struct shell_parser *p)
{
    struct shell_words words = {0};
    struct shell_token name = {0};

    shell_skip_blanks(p);
    if (has_char(p, p->pos, '(') && parse_arithmetic(p))
        return;
    shell_read_word(p, &name);
    struct shell_text text = {name.bytes ? name.bytes : "", name.len};
    shell_skip_lines(p);
    if (!take_keyword(p, "in")) {
        shell_forget_variable(p, text);
        return;
    }
    while (!shell_is_over(p)) {
        shell_skip_blanks(p);
        uint32_t begin = p->pos;
        struct shell_token token = {0};
        shell_read_word(p, &token);
        if (p->pos == begin)
            break;
        shell_token_words(p, &token, begin, p->pos, &words);
    }
    shell_set_variable(p, text, words.at, words.n, true);
}

/* One `a|b)` of a case. */
static void parse_patterns(struct shell_parser *p)
{
    shell_skip_blanks(p);
    p->pos += has_char(p, p->pos, '(');
    while (p->pos < p->end && !shell_is_over(p)) {
        shell_skip_lines(p);
        uint32_t before = p->pos;
        skip_word(p);
        shell_skip_blanks(p);
        if (has_char(p, p->pos, ')')) {
            p->pos++;
            break;
        }
        if (p->pos < p->end && (p->pos == before || p->text[p->pos] == '|'))
            p->pos++;
    }
}

/* case x in …: pos is behind the keyword. */
static void parse_case(struct shell_parser *p)
{
    uint32_t open = p->pos;
    shell_skip_blanks(p);
    skip_word(p);
    shell_skip_lines(p);
    if (!take_keyword(p, "in"))
        return;
    for (;;) {
        shell_skip_lines(p);
        if (shell_is_over(p) || take_keyword(p, "esac"))
            return;
        if (p->pos >= p->end) {
            /* Behind a pattern that never ends nobody knows what is a command. */
            shell_fail(p, open, "case without esac");
            return;
        }
        parse_patterns(p);
        parse_to(p, SHELL_TO_ITEM);
        if (has_char(p, p->pos, ';') && p->pos + 1 < p->end)
            p->pos += 2;
        p->pos += has_char(p, p->pos, '&');
    }
}

static bool is_named(const struct shell_command *c, struct shell_text name)
{
    return c->nwords && c->words[0].len == name.len &&
           memcmp(c->words[0].text, name.at, name.len) == 0;
}

/* f() { f | f & }; f: it starts itself twice, at the same time. */
static void mark_bomb(struct shell_parser *p, int from, struct shell_text name)
{
    struct shell_script *script = p->state->script;
    int count = 0;
    bool is_parallel = false;
    for (int i = from; i < script->ncommands; i++) {
        const struct shell_command *c = &script->commands[i];
        if (is_named(c, name)) {
            count++;
            is_parallel |= c->feeds_from >= 0 || (c->flags & SHELL_BACKGROUND);
        }
    }
    for (int i = from; i < script->ncommands && count > 1 && is_parallel; i++) {
        if (is_named(&script->commands[i], name))
            script->commands[i].flags |= SHELL_RUNS_ITSELF;
    }
}

void shell_parse_body(struct shell_parser *p, struct shell_text name)
{
    int from = p->state->script->ncommands;
    shell_skip_lines(p);
    if (!shell_enter(p))
        return;
    parse_stage(p);
    shell_leave(p);
    mark_bomb(p, from, name);
}

/* function f [()]: pos is behind the keyword. The body follows as a command. */
static void parse_function(struct shell_parser *p)
{
    struct shell_token name = {0};
    shell_skip_blanks(p);
    shell_read_word(p, &name);
    shell_skip_blanks(p);
    if (has_char(p, p->pos, '(')) {
        p->pos++;
        shell_skip_blanks(p);
        p->pos += has_char(p, p->pos, ')');
    }
    shell_parse_body(p, (struct shell_text){name.bytes ? name.bytes : "", name.len});
}

/* True when there was a compound command at pos; the redirections behind it are read, too. */
static bool parse_compound(struct shell_parser *p)
{
    if (has_char(p, p->pos, '(')) {
        if (!parse_arithmetic(p))
            parse_subshell(p);
    } else if (take_keyword(p, "{")) {
        parse_to(p, SHELL_TO_BRACE);
    } else if (take_keyword(p, "if")) {
        parse_to(p, SHELL_TO_FI);
    } else if (take_keyword(p, "while") || take_keyword(p, "until")) {
        parse_to(p, SHELL_TO_DONE);
    } else if (take_keyword(p, "for") || take_keyword(p, "select")) {
        parse_for(p);
        parse_to(p, SHELL_TO_DONE);
    } else if (take_keyword(p, "case")) {
        parse_case(p);
    } else if (take_keyword(p, "[[")) {
        parse_test(p);
    } else if (take_keyword(p, "function")) {
        parse_function(p);
        return true;
    } else {
        return false;
    }
    shell_parse_redirects(p);
    return true;
}

/* `time` in front of a compound command. In front of others it is a wrapper like any. */
static bool take_time(struct shell_parser *p)
{
    uint32_t begin = p->pos;
    if (!take_keyword(p, "time"))
        return false;
    shell_skip_blanks(p);
    if (take_keyword(p, "-p"))
        shell_skip_blanks(p);
    if (has_char(p, p->pos, '(') || is_keyword(p, "{") || is_keyword(p, "if") ||
        is_keyword(p, "while") || is_keyword(p, "until") || is_keyword(p, "for") ||
        is_keyword(p, "case") || is_keyword(p, "[[") || is_keyword(p, "!"))
        return true;
    p->pos = begin;
    return false;
}

static void parse_stage(struct shell_parser *p)
{
    for (;;) {
        shell_skip_blanks(p);
        if (!take_keyword(p, "!") && !take_keyword(p, "coproc") && !take_time(p))
            break;
    }
    if (!parse_compound(p))
        shell_parse_simple(p);
}

/* ---- pipelines ---- */

/* The commands from … to - 1, but those that feed another already, feed to … end - 1. */
static void link_stages(struct shell_parser *p, int from, int to, int end)
{
    struct shell_command *commands = p->state->script->commands;
    for (int i = from; i < to && to < end; i++) {
        if (commands[i].feeds_from < 0) {
            commands[i].feeds_from = to;
            commands[i].feeds_to = end;
        }
    }
}

static bool take_pipe(struct shell_parser *p)
{
    shell_skip_blanks(p);
    if (!has_char(p, p->pos, '|') || has_char(p, p->pos + 1, '|'))
        return false;
    p->pos += 1 + has_char(p, p->pos + 1, '&');
    shell_skip_lines(p);
    return true;
}

static void parse_pipeline(struct shell_parser *p)
{
    struct shell_script *script = p->state->script;
    struct shell_token printed = p->output;
    struct shell_text input = p->input;
    int previous = -1, first = script->ncommands;

    for (;;) {
        int from = script->ncommands;
        memset(&p->output, 0, sizeof p->output);
        parse_stage(p);
        if (previous >= 0)
            link_stages(p, previous, from, script->ncommands);
        if (shell_is_over(p) || !take_pipe(p))
            break;
        previous = from;
        p->input = (struct shell_text){p->output.bytes ? p->output.bytes : "", p->output.len};
    }
    p->input = input;
    shell_skip_blanks(p);
    if (has_char(p, p->pos, '&') && !has_char(p, p->pos + 1, '&')) {
        for (int i = first; i < script->ncommands; i++)
            script->commands[i].flags |= SHELL_BACKGROUND;
    }
    /* What the last stage prints comes behind what was printed before. */
    if (printed.len) {
        struct shell_token last = p->output;
        p->output = printed;
        if (last.len)
            shell_token_puts(p, &p->output, last.bytes, last.len, SHELL_K_QUOTED);
    }
}

/* ---- lists ---- */

/* The words that end one part of a compound command and begin the next. */
static bool take_divider(struct shell_parser *p)
{
    return take_keyword(p, "then") || take_keyword(p, "do") || take_keyword(p, "else") ||
           take_keyword(p, "elif") || take_keyword(p, "in");
}

/* True at the end of this list. A closing word that belongs to nothing is passed over. */
static bool take_close(struct shell_parser *p, enum shell_close close)
{
    static const struct {
        const char *word;
        enum shell_close close;
    } closers[] = {{"}", SHELL_TO_BRACE}, {"fi", SHELL_TO_FI}, {"done", SHELL_TO_DONE}};

    if (close == SHELL_TO_ITEM &&
        (is_keyword(p, "esac") || (has_char(p, p->pos, ';') &&
                                   (has_char(p, p->pos + 1, ';') || has_char(p, p->pos + 1, '&')))))
        return true;
    if (has_char(p, p->pos, ')')) {
        if (close == SHELL_TO_PAREN)
            return true;
        p->pos++;
        return false;
    }
    for (size_t i = 0; i < CB_ARRAY_LEN(closers); i++) {
        if (take_keyword(p, closers[i].word))
            return close == closers[i].close;
    }
    return false;
}

void shell_parse_list(struct shell_parser *p, enum shell_close close)
{
    while (!shell_is_over(p)) {
        shell_skip_lines(p);
        uint32_t before = p->pos;
        if (p->pos >= p->end || shell_is_over(p) || take_close(p, close))
            return;
        if (p->pos > before || take_divider(p))
            continue;
        if (strchr(";&|", p->text[p->pos]) && !has_char(p, p->pos + 1, '>')) {
            p->pos++;
            continue;
        }
        parse_pipeline(p);
        if (p->pos == before)
            p->pos++;
    }
}

/*
 * simple.c: simple commands of a shell text, redirections, here-documents, and the builtins that change
 * what comes behind them (cd, variables). See shell_int.h.
 */
#include "common/compat.h"
#include "common/shell/shell_int.h"

/* A command while it is read. */
struct builder {
    struct shell_words words;
    struct shell_words assigns;
    struct shell_redirects redirects;
    int first; /* commands from here on were found in its substitutions */
    unsigned first_heredoc;
    int fed_from; /* commands in >(…), which get what this one prints; -1: none */
    int fed_to;
    uint32_t begin;
    uint32_t end; /* behind its last word */
};

static bool has_char(const struct shell_parser *p, uint32_t at, char c)
{
    return at < p->end && p->text[at] == c;
}

/* ---- redirections ---- */

static void add_redirect(struct shell_parser *p, struct shell_redirects *list,
                         struct shell_redirect redirect)
{
    if (list->n == list->cap) {
        uint32_t cap = list->cap ? 2 * list->cap : 4;
        struct shell_redirect *more = arena_alloc(p->state->arena, cap * sizeof *more);
        if (list->n)
            memcpy(more, list->at, list->n * sizeof *more);
        list->at = more;
        list->cap = cap;
    }
    list->at[list->n++] = redirect;
}

struct redirect_op {
    const char *text;
    enum shell_redirect_kind kind;
};

/* Longer ones first. */
static const struct redirect_op OPERATORS[] = {
    {"&>>", SHELL_APPEND}, {"<<<", SHELL_HERE},     {"<<-", SHELL_HERE},     {"&>", SHELL_WRITE},
    {">>", SHELL_APPEND},  {">|", SHELL_WRITE},     {">&", SHELL_DUPLICATE}, {">!", SHELL_WRITE},
    {"<<", SHELL_HERE},    {"<&", SHELL_DUPLICATE}, {"<>", SHELL_READWRITE}, {">", SHELL_WRITE},
    {"<", SHELL_READ},
};

static const struct redirect_op *find_operator(const struct shell_parser *p)
{
    for (size_t i = 0; i < CB_ARRAY_LEN(OPERATORS); i++) {
        size_t len = strlen(OPERATORS[i].text);
        if (p->end - p->pos >= len && memcmp(p->text + p->pos, OPERATORS[i].text, len) == 0)
            return &OPERATORS[i];
    }
    return NULL;
}

/* `2>&1`, `>&-`: the target is a descriptor, not a file. */
static bool is_descriptor(const struct shell_word *word)
{
    return word->len && strspn(word->text, "0123456789-") == word->len;
}

static void add_heredoc(struct shell_parser *p, const struct shell_token *delimiter, bool has_tabs,
                        uint32_t redirect)
{
    struct shell_heredoc *h = arena_alloc(p->state->arena, sizeof *h), **tail = &p->heredocs;
    unsigned n = 0;
    for (; *tail; n++)
        tail = &(*tail)->next;
    if (n == SHELL_HEREDOCS_MAX) {
        shell_fail_limit(p, "too many here-documents");
        return;
    }
    h->delimiter = delimiter->bytes ? delimiter->bytes : "";
    h->delimiter_len = delimiter->len;
    h->is_literal = delimiter->is_quoted;
    h->has_tabs = has_tabs;
    h->command = -1;
    h->redirect = redirect;
    h->serial = p->nheredocs++;
    *tail = h;
}

/* <(…), >(…) */
static void read_process(struct shell_parser *p, struct builder *b, struct shell_token *token)
{
    int from = p->state->script->ncommands;
    bool is_output = p->text[p->pos] == '>';
    shell_read_process(p, token);
    if (is_output && p->state->script->ncommands > from) {
        b->fed_from = from;
        b->fed_to = p->state->script->ncommands;
    }
}

/* pos is at the operator. */
static void parse_redirect(struct shell_parser *p, const struct redirect_op *op, struct builder *b)
{
    struct shell_redirects *list = &b->redirects;
    struct shell_redirect redirect = {.kind = op->kind};
    struct shell_token token = {0};
    size_t op_len = strlen(op->text);
    bool is_document = op->kind == SHELL_HERE && strcmp(op->text, "<<<") != 0;

    p->pos += (uint32_t)op_len;
    shell_skip_blanks(p);
    uint32_t begin = p->pos;
    if (p->end - p->pos >= 2 && p->text[p->pos + 1] == '(' && strchr("<>", p->text[p->pos]))
        read_process(p, b, &token);
    else
        shell_read_word(p, &token);
    redirect.target = shell_token_word(p, &token, begin, p->pos);
    if (redirect.kind == SHELL_DUPLICATE && !is_descriptor(&redirect.target))
        redirect.kind = op->text[0] == '>' ? SHELL_WRITE : SHELL_READ;
    if (is_document) {
        redirect.target = shell_word_of(p, "", 0, 0);
        add_heredoc(p, &token, op_len == 3, list->n);
    }
    add_redirect(p, list, redirect);
}

/* ---- here-documents ---- */

static bool is_run_by(const struct shell_script *script, int i, int command)
{
    while (i > command)
        i = script->commands[i].parent;
    return i == command;
}

static void run_document(struct shell_parser *p, int command, struct shell_text text)
{
    struct shell_script *script = p->state->script;
    /* It belongs to the command and to those that this one would run (sudo sh <<EOF). */
    int n = script->ncommands;
    for (int i = command; i < n; i++) {
        if (is_run_by(script, i, command))
            shell_run_input(p, i, text);
    }
    struct shell_command *c = &script->commands[command];
    if (strcmp(shell_command_name(c), "cat") != 0 && strcmp(shell_command_name(c), "tee") != 0)
        return;
    /* cat <<EOF | sh */
    for (int i = c->feeds_from; c->feeds_from >= 0 && i < c->feeds_to; i++)
        shell_run_input(p, i, text);
    shell_token_puts(p, &p->output, text.at, text.len, SHELL_K_QUOTED);
}

/* True when the line at `at` is the delimiter; *ret_next is where the next line begins. */
static bool is_delimiter(const struct shell_parser *p, const struct shell_heredoc *h, uint32_t at,
                         uint32_t *ret_next)
{
    const char *newline = memchr(p->text + at, '\n', p->end - at);
    uint32_t to = newline ? (uint32_t)(newline - p->text) : p->end;

    *ret_next = newline ? to + 1 : to;
    while (h->has_tabs && has_char(p, at, '\t'))
        at++;
    return to - at == h->delimiter_len && memcmp(p->text + at, h->delimiter, to - at) == 0;
}

static void read_body(struct shell_parser *p, struct shell_heredoc *h)
{
    uint32_t begin = p->pos, line = p->pos, next = p->pos;
    struct shell_token body = {0};

    while (line < p->end && !is_delimiter(p, h, line, &next))
        line = next;
    if (h->is_literal) {
        shell_token_value(p, &body, p->text + begin, line - begin, true);
        p->pos = line;
    } else {
        /* The others begin behind this one, not at a newline in its substitutions. */
        struct shell_heredoc *others = p->heredocs;
        p->heredocs = NULL;
        shell_read_here_text(p, &body, line);
        p->heredocs = others;
    }
    if (shell_is_over(p))
        return;
    p->pos = line < p->end ? next : p->end;
    if (h->command < 0)
        return;
    struct shell_text text = {body.bytes ? body.bytes : "", body.len};
    struct shell_command *c = &p->state->script->commands[h->command];
    struct shell_redirect *redirects = (struct shell_redirect *)c->redirects;
    if (h->redirect < c->nredirects)
        redirects[h->redirect].target = shell_word_of(p, text.at, text.len, SHELL_QUOTED);
    run_document(p, h->command, text);
}

void shell_read_heredocs(struct shell_parser *p)
{
    while (p->heredocs && !shell_is_over(p)) {
        struct shell_heredoc *h = p->heredocs;
        p->heredocs = h->next;
        read_body(p, h);
    }
}

/* ---- builtins that change what follows ---- */

/* NAME=value, NAME+=value, NAME[i]=value at the start of a word: the length of NAME, else 0. */
static uint32_t name_of_assignment(const struct shell_token *t, uint32_t *ret_value_at)
{
    uint32_t i = 0;
    while (i < t->len && t->kinds[i] == SHELL_K_PLAIN &&
           (i ? shell_is_name_char(t->bytes[i]) : shell_is_name_start(t->bytes[i])))
        i++;
    uint32_t name_len = i;
    if (i && i < t->len && t->bytes[i] == '[' && t->kinds[i] == SHELL_K_PLAIN) {
        const char *close = memchr(t->bytes + i, ']', t->len - i);
        i = close ? (uint32_t)(close - t->bytes) + 1 : t->len;
    }
    if (i < t->len && t->bytes[i] == '+' && t->kinds[i] == SHELL_K_PLAIN)
        i++;
    if (name_len == 0 || i >= t->len || t->bytes[i] != '=' || t->kinds[i] != SHELL_K_PLAIN)
        return 0;
    *ret_value_at = i + 1;
    return name_len;
}

static void assign_word(struct shell_parser *p, const struct shell_word *word)
{
    const char *equals = strchr(word->text, '=');
    if (!equals)
        return;
    struct shell_text name = {word->text, (uint32_t)(equals - word->text)};
    bool is_append = name.len && name.at[name.len - 1] == '+';
    bool is_element = memchr(name.at, '[', name.len) != NULL;
    struct shell_word *value = arena_alloc(p->state->arena, sizeof *value);

    name.len -= is_append;
    if (is_element) {
        name.len = (uint32_t)((const char *)memchr(name.at, '[', name.len) - name.at);
        shell_forget_variable(p, name);
        return;
    }
    *value = shell_word_of(p, equals + 1, word->len - (size_t)(equals + 1 - word->text), 0);
    const struct shell_variable *old = is_append ? shell_find_variable(p, name) : NULL;
    if (old && old->nfields == 1) {
        struct shell_token both = {0};
        shell_token_value(p, &both, old->fields[0].text, old->fields[0].len, true);
        shell_token_value(p, &both, value->text, value->len, true);
        *value = shell_token_word(p, &both, 0, 0);
    }
    shell_set_variable(p, name, value, 1, false);
}

static void change_dir(struct shell_parser *p, const struct shell_command *c)
{
    uint32_t i = 1;
    while (i < c->nwords && c->words[i].text[0] == '-' && c->words[i].len > 1)
        i++;
    if (i >= c->nwords)
        p->cwd = p->state->context->home;
    else if (shell_word_is(&c->words[i], "-"))
        p->cwd = NULL;
    else
        p->cwd = shell_join_path(p, shell_text_of(&c->words[i]));
    if (p->cwd) {
        struct shell_word *field = arena_alloc(p->state->arena, sizeof *field);
        *field = shell_word_of(p, p->cwd, strlen(p->cwd), 0);
        shell_set_variable(p, (struct shell_text){"PWD", 3}, field, 1, false);
    } else {
        shell_forget_variable(p, (struct shell_text){"PWD", 3});
    }
}

/* `… | while read x`: x is each line in turn, as far as they are known. */
static void read_input(struct shell_parser *p, const struct shell_word *name)
{
    struct shell_words fields = {0};
    struct shell_token token = {0};

    shell_token_value(p, &token, p->input.at, p->input.len, false);
    shell_token_words(p, &token, 0, 0, &fields);
    if (fields.n)
        shell_set_variable(p, shell_text_of(name), fields.at, fields.n, true);
}

static void run_builtin(struct shell_parser *p, const struct shell_command *c)
{
    static const char *const declaring[] = {"export", "declare", "local", "readonly", "typeset"};
    const char *name = shell_command_name(c);
    struct shell_command inner = *c;

    /* builtin cd /x */
    while (inner.nwords > 1 && (strcmp(name, "builtin") == 0 || strcmp(name, "command") == 0)) {
        inner.words++;
        inner.nwords--;
        name = shell_command_name(&inner);
    }
    c = &inner;
    if (strcmp(name, "cd") == 0 || strcmp(name, "pushd") == 0) {
        change_dir(p, c);
    } else if (strcmp(name, "popd") == 0) {
        p->cwd = NULL;
    } else if (strcmp(name, "set") == 0) {
        for (uint32_t i = 1; i < c->nwords; i++) {
            if (shell_word_is(&c->words[i], "--")) {
                shell_set_positional(p, c->words + i + 1, c->nwords - i - 1);
                break;
            }
        }
    } else if (strcmp(name, "unset") == 0 || strcmp(name, "read") == 0) {
        for (uint32_t i = 1; i < c->nwords; i++)
            shell_forget_variable(p, shell_text_of(&c->words[i]));
        if (name[0] == 'r' && c->nwords > 1)
            read_input(p, &c->words[c->nwords - 1]);
    } else {
        for (size_t i = 0; i < CB_ARRAY_LEN(declaring); i++) {
            for (uint32_t w = 1; w < c->nwords && strcmp(name, declaring[i]) == 0; w++)
                assign_word(p, &c->words[w]);
        }
    }
}

/* ---- the command ---- */

/* a=(…): pos is at the parenthesis. */
static void parse_array(struct shell_parser *p, const struct shell_token *name_token,
                        uint32_t name_len)
{
    struct shell_words words = {0};
    uint32_t open = p->pos++;

    for (;;) {
        shell_skip_lines(p);
        if (shell_is_over(p))
            return;
        if (p->pos >= p->end) {
            shell_fail(p, open, "parenthesis without end");
            return;
        }
        if (has_char(p, p->pos, ')'))
            break;
        uint32_t begin = p->pos;
        struct shell_token token = {0};
        shell_read_word(p, &token);
        if (p->pos == begin)
            p->pos++;
        else
            shell_token_words(p, &token, begin, p->pos, &words);
    }
    p->pos++;
    shell_set_variable(p, (struct shell_text){name_token->bytes, name_len}, words.at, words.n,
                       true);
}

static void add_word(struct shell_parser *p, struct builder *b)
{
    struct shell_token token = {0};
    uint32_t begin = p->pos, value_at = 0;

    shell_read_word(p, &token);
    uint32_t name_len = b->words.n ? 0 : name_of_assignment(&token, &value_at);
    if (name_len && value_at == token.len && has_char(p, p->pos, '(')) {
        parse_array(p, &token, name_len);
        shell_token_put(p, &token, '(', SHELL_K_QUOTED);
        shell_token_any(p, &token);
    }
    if (shell_is_over(p))
        return;
    if (name_len)
        shell_words_add(p, &b->assigns, shell_token_word(p, &token, begin, p->pos));
    else
        shell_token_words(p, &token, begin, p->pos, &b->words);
    b->end = p->pos;
}

static void add_process(struct shell_parser *p, struct builder *b)
{
    struct shell_token token = {0};
    uint32_t begin = p->pos;
    read_process(p, b, &token);
    if (!shell_is_over(p))
        shell_words_add(p, &b->words, shell_token_word(p, &token, begin, p->pos));
    b->end = p->pos;
}

/* `2` of `2>`: a number right before < or >. */
static void skip_descriptor(struct shell_parser *p)
{
    uint32_t at = p->pos;
    while (at < p->end && p->text[at] >= '0' && p->text[at] <= '9')
        at++;
    if (has_char(p, at, '<') || has_char(p, at, '>'))
        p->pos = at;
}

/* name ( ): pos is at the parenthesis. True when a function is defined here; pos is behind it then. */
static bool take_function(struct shell_parser *p)
{
    uint32_t at = p->pos + 1;
    while (has_char(p, at, ' ') || has_char(p, at, '\t'))
        at++;
    if (!has_char(p, at, ')'))
        return false;
    p->pos = at + 1;
    return true;
}

/* Words and redirections up to the end of the command; true when it turns out to define a function. */
static bool parse_words(struct shell_parser *p, struct builder *b)
{
    while (!shell_is_over(p)) {
        shell_skip_blanks(p);
        if (p->pos >= p->end || strchr("\n;|)", p->text[p->pos]))
            break;
        char c = p->text[p->pos];
        if (c == '#') {
            const char *newline = memchr(p->text + p->pos, '\n', p->end - p->pos);
            p->pos = newline ? (uint32_t)(newline - p->text) : p->end;
            break;
        }
        if (c == '(')
            return b->words.n == 1 && take_function(p);
        skip_descriptor(p);
        if (strchr("<>", p->text[p->pos]) && has_char(p, p->pos + 1, '(')) {
            add_process(p, b);
            continue;
        }
        const struct redirect_op *op = find_operator(p);
        if (op)
            parse_redirect(p, op, b);
        else if (p->text[p->pos] == '&')
            break;
        else
            add_word(p, b);
    }
    return false;
}

static void own_heredocs(struct shell_parser *p, unsigned first, int command)
{
    for (struct shell_heredoc *h = p->heredocs; h; h = h->next) {
        if (h->command < 0 && h->serial >= first)
            h->command = command;
    }
}

/* What its substitutions print goes into it. */
static void feed_from(struct shell_parser *p, const struct builder *b, int command)
{
    struct shell_script *script = p->state->script;
    for (int i = b->first; i < command; i++) {
        bool is_fed = b->fed_from >= 0 && i >= b->fed_from && i < b->fed_to;
        if (script->commands[i].feeds_from < 0 && !is_fed) {
            script->commands[i].feeds_from = command;
            script->commands[i].feeds_to = script->ncommands;
        }
    }
    for (int i = command; b->fed_from >= 0 && i < script->ncommands; i++) {
        script->commands[i].feeds_from = b->fed_from;
        script->commands[i].feeds_to = b->fed_to;
    }
}

/* stdin of a command whose redirections change it. */
static struct shell_text input_of(const struct shell_parser *p,
                                  const struct shell_redirects *redirects)
{
    struct shell_text input = p->input;
    for (uint32_t i = 0; i < redirects->n; i++) {
        const struct shell_redirect *r = &redirects->at[i];
        if (r->kind == SHELL_HERE)
            input = shell_text_of(&r->target);
        else if (r->kind == SHELL_READ)
            input = (r->target.flags & SHELL_PROCESS) ? shell_text_of(&r->target)
                                                      : (struct shell_text){0};
    }
    return input;
}

static void finish(struct shell_parser *p, struct builder *b)
{
    if (b->words.n == 0 && b->assigns.n == 0 && b->redirects.n == 0)
        return;
    struct shell_command command = {
        .words = b->words.at,
        .nwords = b->words.n,
        .assigns = b->assigns.at,
        .nassigns = b->assigns.n,
        .redirects = b->redirects.at,
        .nredirects = b->redirects.n,
        .cwd = p->cwd,
        .via = p->via,
        .parent = p->parent,
        .begin = p->is_given ? b->begin : 0,
        .end = p->is_given ? b->end : 0,
    };
    int index = shell_emit(p, &command);
    if (index < 0)
        return;
    own_heredocs(p, b->first_heredoc, index);
    if (command.nwords == 0) {
        for (uint32_t i = 0; i < command.nassigns; i++) {
            if (!strchr(command.assigns[i].text, '(') ||
                !(command.assigns[i].flags & SHELL_UNKNOWN))
                assign_word(p, &command.assigns[i]);
        }
        feed_from(p, b, index);
        return;
    }
    struct shell_text input = p->input;
    p->input = input_of(p, &b->redirects);
    shell_put_output(p, &command);
    shell_unwrap(p, index);
    feed_from(p, b, index);
    run_builtin(p, &command);
    p->input = input;
}

static struct builder start(const struct shell_parser *p)
{
    return (struct builder){
        .first = p->state->script->ncommands,
        .first_heredoc = p->nheredocs,
        .fed_from = -1,
        .begin = p->pos,
        .end = p->pos,
    };
}

void shell_parse_simple(struct shell_parser *p)
{
    struct builder b = start(p);

    if (parse_words(p, &b)) {
        shell_parse_body(p, shell_text_of(&b.words.at[0]));
        return;
    }
    if (!shell_is_over(p))
        finish(p, &b);
}

void shell_parse_redirects(struct shell_parser *p)
{
    struct builder b = start(p);

    while (!shell_is_over(p)) {
        shell_skip_blanks(p);
        skip_descriptor(p);
        const struct redirect_op *op = find_operator(p);
        if (!op)
            break;
        parse_redirect(p, op, &b);
    }
    if (!shell_is_over(p))
        finish(p, &b);
}

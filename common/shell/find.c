/*
 * find.c: what find, fd, xargs and parallel would run, with the paths that find would start from in place of
 * {}. See shell_int.h.
 *
 * A find that looks for certain names only is taken to find them somewhere below its start, never the start
 * itself: `find ~ -name '*.pyc' -delete` deletes some *.pyc under <home>, `find ~ -delete` deletes <home>.
 */
#include "common/compat.h"
#include "common/shell/shell_int.h"

/* ---- find ---- */

struct find {
    uint32_t first_start; /* the paths that it starts from: words first_start … first_test - 1 */
    uint32_t first_test;
    const struct shell_word *name; /* the pattern of the names that it looks for; NULL: all */
};

static bool is_test(const struct shell_word *word)
{
    return word->len && strchr("-(!", word->text[0]) &&
           !(word->flags & SHELL_UNKNOWN && word->text[0] != '-');
}

/* A pattern that leaves out most files. */
static bool is_selective(const struct shell_word *pattern)
{
    unsigned letters = 0;
    for (uint32_t i = 0; i < pattern->len; i++)
        letters += !strchr("*?[]/", pattern->text[i]) && pattern->text[i] != SHELL_ANY;
    return letters >= 2;
}

static struct find read_find(const struct shell_command *c)
{
    struct find f = {.first_start = 1};
    while (f.first_start < c->nwords && (shell_word_is(&c->words[f.first_start], "-H") ||
                                         shell_word_is(&c->words[f.first_start], "-L") ||
                                         shell_word_is(&c->words[f.first_start], "-P")))
        f.first_start++;
    f.first_test = f.first_start;
    while (f.first_test < c->nwords && !is_test(&c->words[f.first_test]))
        f.first_test++;
    for (uint32_t i = f.first_test; i + 1 < c->nwords; i++) {
        const char *text = c->words[i].text;
        if (strcmp(text, "-o") == 0 || strcmp(text, "-or") == 0 || strcmp(text, ",") == 0) {
            f.name = NULL;
            break;
        }
        bool is_name = strcmp(text, "-name") == 0 || strcmp(text, "-iname") == 0;
        bool is_negated = i > f.first_test && (shell_word_is(&c->words[i - 1], "!") ||
                                               shell_word_is(&c->words[i - 1], "-not"));
        if (is_name && !is_negated && is_selective(&c->words[i + 1]))
            f.name = &c->words[i + 1];
    }
    return f;
}

/* What find would print for one start. */
static struct shell_word found_word(struct shell_parser *p, const struct find *f,
                                    const struct shell_word *start)
{
    struct shell_token token = {0};
    shell_token_value(p, &token, start->text, start->len, true);
    bool is_root = start->len && strspn(start->text, "/") == start->len;
    if (f->name && !is_root) {
        shell_token_puts(p, &token, "/_/", 3, SHELL_K_QUOTED);
        for (uint32_t i = 0; i < f->name->len; i++) {
            if (f->name->text[i] == SHELL_ANY)
                shell_token_any(p, &token);
            else
                shell_token_put(p, &token, f->name->text[i], SHELL_K_VALUE);
        }
    }
    struct shell_word word = shell_token_word(p, &token, 0, 0);
    word.flags |= SHELL_FOUND;
    return word;
}

static struct shell_words found_words(struct shell_parser *p, const struct shell_command *c,
                                      const struct find *f)
{
    struct shell_words found = {0};
    struct shell_word here = shell_word_of(p, ".", 1, 0);
    for (uint32_t i = f->first_start; i < f->first_test && !p->state->is_over; i++)
        shell_words_add(p, &found, found_word(p, f, &c->words[i]));
    if (found.n == 0)
        shell_words_add(p, &found, found_word(p, f, &here));
    return found;
}

void shell_put_found(struct shell_parser *p, const struct shell_command *command)
{
    struct find f = read_find(command);
    struct shell_words found = found_words(p, command, &f);
    for (uint32_t i = 0; i < found.n && !p->state->is_over; i++) {
        shell_token_value(p, &p->output, found.at[i].text, found.at[i].len, true);
        shell_token_put(p, &p->output, '\n', SHELL_K_QUOTED);
    }
}

/* ---- putting words in ---- */

static struct shell_word replace_braces(struct shell_parser *p, const struct shell_word *word,
                                        const char *mark, const struct shell_word *value)
{
    struct shell_token token = {0};
    size_t mark_len = strlen(mark);
    const char *at = word->text;

    for (const char *hit; (hit = strstr(at, mark)) != NULL && !p->state->is_over;
         at = hit + mark_len) {
        shell_token_value(p, &token, at, (size_t)(hit - at), true);
        shell_token_value(p, &token, value->text, value->len, true);
    }
    shell_token_value(p, &token, at, strlen(at), true);
    struct shell_word out = shell_token_word(p, &token, 0, 0);
    out.flags |= value->flags & (SHELL_FOUND | SHELL_GLOB);
    return out;
}

/* words[0…n-1] with `values` where the mark stands; without a mark (NULL), behind them. */
static struct shell_words put_in(struct shell_parser *p, const struct shell_word *words, uint32_t n,
                                 const char *mark, const struct shell_words *values)
{
    struct shell_words out = {0};
    for (uint32_t i = 0; i < n && !p->state->is_over; i++) {
        if (mark && shell_word_is(&words[i], mark)) {
            for (uint32_t v = 0; v < values->n; v++)
                shell_words_add(p, &out, values->at[v]);
        } else if (mark && values->n && strstr(words[i].text, mark)) {
            shell_words_add(p, &out, replace_braces(p, &words[i], mark, &values->at[0]));
        } else {
            shell_words_add(p, &out, words[i]);
        }
    }
    for (uint32_t v = 0; !mark && v < values->n && !p->state->is_over; v++)
        shell_words_add(p, &out, values->at[v]);
    return out;
}

static bool is_one_of(const struct shell_word *word, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (shell_word_is(word, names[i]))
            return true;
    }
    return false;
}

/* find -delete: as rm of what it finds. */
static void unwrap_delete(struct shell_parser *p, int command, const struct shell_words *found)
{
    struct shell_words words = {0};
    shell_words_add(p, &words, shell_word_of(p, "rm", 2, 0));
    shell_words_add(p, &words, shell_word_of(p, "-rf", 3, 0));
    for (uint32_t i = 0; i < found->n; i++)
        shell_words_add(p, &words, found->at[i]);
    shell_unwrap_to(p, command, "find -delete", words.at, words.n, 0);
}

void shell_unwrap_find(struct shell_parser *p, int command)
{
    static const char *const executing[] = {"-exec", "-execdir", "-ok", "-okdir"};
    struct shell_command c = p->state->script->commands[command];
    struct find f = read_find(&c);
    struct shell_words found = found_words(p, &c, &f);

    for (uint32_t i = f.first_test; i < c.nwords && !p->state->is_over; i++) {
        if (shell_word_is(&c.words[i], "-delete")) {
            unwrap_delete(p, command, &found);
        } else if (is_one_of(&c.words[i], executing, CB_ARRAY_LEN(executing))) {
            uint32_t from = i + 1, to = from;
            while (to < c.nwords && !shell_word_is(&c.words[to], ";") &&
                   !(shell_word_is(&c.words[to], "+") && shell_word_is(&c.words[to - 1], "{}")))
                to++;
            struct shell_words words = put_in(p, c.words + from, to - from, "{}", &found);
            if (words.n)
                shell_unwrap_to(p, command, "find -exec", words.at, words.n, 0);
            i = to;
        }
    }
}

/* ---- xargs ---- */

static struct shell_words split_input(struct shell_parser *p)
{
    struct shell_words out = {0};
    struct shell_token token = {0};
    shell_token_value(p, &token, p->input.at, p->input.len, false);
    shell_token_words(p, &token, 0, 0, &out);
    return out;
}

/* One word a line, as xargs -I and parallel take them. */
static struct shell_words split_lines(struct shell_parser *p)
{
    struct shell_words out = {0};
    const char *end = p->input.len ? p->input.at + p->input.len : p->input.at;
    for (const char *line = p->input.at; line < end && !p->state->is_over;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *to = newline ? newline : end;
        if (to > line)
            shell_words_add(p, &out, shell_word_of(p, line, (size_t)(to - line), 0));
        line = newline ? newline + 1 : end;
    }
    return out;
}

void shell_unwrap_xargs(struct shell_parser *p, int command)
{
    static const struct shell_option_spec spec = {
        "adEILnPs", " arg-file delimiter max-lines max-args max-procs max-chars process-slot-var "};
    struct shell_command c = p->state->script->commands[command];
    uint32_t first = shell_skip_options(&spec, c.words, c.nwords, 1);
    const char *mark = NULL;

    for (uint32_t i = 1; i < first; i++) {
        const char *text = c.words[i].text;
        if (strncmp(text, "-I", 2) == 0)
            mark = text[2] ? text + 2 : i + 1 < c.nwords ? c.words[i + 1].text : "{}";
        else if ((strcmp(text, "-a") == 0 || strcmp(text, "--arg-file") == 0) && i + 1 < c.nwords)
            p->input = (c.words[i + 1].flags & SHELL_PROCESS) ? shell_text_of(&c.words[i + 1])
                                                              : (struct shell_text){0};
        else if (strncmp(text, "--replace", 9) == 0 || strncmp(text, "-i", 2) == 0)
            mark = "{}";
    }
    if (mark && !*mark)
        mark = NULL;
    if (first >= c.nwords)
        return;
    struct shell_words values = mark ? split_lines(p) : split_input(p);
    uint32_t flags = values.n == 0 || (values.at[0].flags & SHELL_UNKNOWN) ? SHELL_MORE_ARGS : 0;
    /* With a mark it is one command a line. */
    uint32_t nruns = mark && values.n ? values.n : 1;
    for (uint32_t i = 0; i < nruns && !p->state->is_over; i++) {
        struct shell_words some = mark && values.n ? (struct shell_words){values.at + i, 1, 1}
                                                   : values;
        struct shell_words words = put_in(p, c.words + first, c.nwords - first, mark, &some);
        shell_unwrap_to(p, command, "xargs", words.at, words.n, flags);
    }
}

/* ---- fd ---- */

/* fd pattern path … -x cmd */
void shell_unwrap_fd(struct shell_parser *p, int command)
{
    static const char *const executing[] = {"-x", "-X", "--exec", "--exec-batch"};
    struct shell_command c = p->state->script->commands[command];
    struct shell_words starts = {0};
    uint32_t i = 1, noperands = 0;

    for (; i < c.nwords && !is_one_of(&c.words[i], executing, CB_ARRAY_LEN(executing)); i++) {
        if (c.words[i].text[0] != '-' && noperands++)
            shell_words_add(p, &starts, c.words[i]);
    }
    if (starts.n == 0)
        shell_words_add(p, &starts, shell_word_of(p, ".", 1, 0));
    if (i + 1 >= c.nwords)
        return;
    bool has_mark = false;
    for (uint32_t w = i + 1; w < c.nwords; w++)
        has_mark |= strstr(c.words[w].text, "{}") != NULL;
    struct shell_words words = put_in(p, c.words + i + 1, c.nwords - i - 1, has_mark ? "{}" : NULL,
                                      &starts);
    shell_unwrap_to(p, command, "fd -x", words.at, words.n, 0);
}

/* ---- parallel ---- */

void shell_unwrap_parallel(struct shell_parser *p, int command)
{
    static const struct shell_option_spec spec = {
        "jSaNLnIsCdEPUX",
        " jobs sshlogin arg-file max-args max-replace-args delay timeout joblog colsep "};
    struct shell_command c = p->state->script->commands[command];
    uint32_t first = shell_skip_options(&spec, c.words, c.nwords, 1), to = first;
    struct shell_words values = split_lines(p);

    while (to < c.nwords && strncmp(c.words[to].text, ":::", 3) != 0)
        to++;
    if (to < c.nwords)
        values.n = 0;
    for (uint32_t i = to + 1; i < c.nwords; i++)
        shell_words_add(p, &values, c.words[i]);
    if (to == first) {
        /* Each argument is a command line by itself. */
        for (uint32_t v = 0; v < values.n && !p->state->is_over; v++)
            shell_parse_inner(p, shell_text_of(&values.at[v]), "parallel", command, false);
        return;
    }
    bool has_mark = false;
    for (uint32_t i = first; i < to; i++)
        has_mark |= strstr(c.words[i].text, "{}") != NULL;
    struct shell_words words = put_in(p, c.words + first, to - first, has_mark ? "{}" : NULL,
                                      &values);
    /* It hands the line to a shell. */
    shell_parse_inner(p, shell_join_words(p, words.at, words.n), "parallel", command, false);
}

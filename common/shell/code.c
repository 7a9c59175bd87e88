/*
 * code.c: strings in a piece of Python, Perl, Ruby, JavaScript, PHP, awk … that may be run as commands. See
 * shell_int.h.
 *
 * Nothing is known of the language: when there is a word in it that means running something (system, exec, popen …), each
 * string is taken as a command line, strings with little between them ("rm", ["-rf", "/"]) as the words of one
 * command, and those with + or . between them as one string. Guesses: what cannot be read in them is no problem.
 */
#include "common/compat.h"
#include "common/shell/shell_int.h"

enum { CODE_WORDS_MAX = 64, BETWEEN_MAX = 16 };

static bool is_letter(const char *code, const char *at, const char *end)
{
    return at >= code && at < end && shell_is_name_char(*at);
}

/* True when `word` is in the code, not as part of a longer name in front (subprocess, os.system and execSync count). */
static bool has_word(struct shell_text code, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = code.at, *end = code.at + code.len;
         (at = memchr(at, word[0], (size_t)(end - at))) != NULL; at++) {
        if ((size_t)(end - at) >= len && memcmp(at, word, len) == 0 &&
            !is_letter(code.at, at - 1, end))
            return true;
        if (at + 1 >= end)
            break;
    }
    return false;
}

static bool runs_something(struct shell_text code)
{
    static const char *const words[] = {
        "system",  "exec",   "popen", "spawn",     "subprocess", "Popen", "qx",
        "call",    "check_", "shell", "proc_open", "passthru",   "run",   "Open3",
        "execute", "pty",    "fork",  "Command",   "%x",
    };
    if (memchr(code.at, '`', code.len) || memchr(code.at, '|', code.len))
        return true;
    for (size_t i = 0; i < CB_ARRAY_LEN(words); i++) {
        if (has_word(code, words[i]))
            return true;
    }
    return false;
}

/* What closes a string that this opens: quotes, and behind q, qx, %x … brackets. 0: no string begins here. */
static char opens_string(struct shell_text code, const char *at, const char *end,
                         const char **ret_text)
{
    static const char open[] = "({[<|/!", close[] = ")}]>|/!";
    const char *start = at;

    if (strchr("'\"`", *at)) {
        *ret_text = at + 1;
        return *at;
    }
    bool is_percent = *at == '%';
    if ((!is_percent && *at != 'q') || is_letter(code.at, at - 1, end))
        return 0;
    at++;
    if (at < end && strchr("qQxwW", *at))
        at++;
    while (at < end && *at == ' ' && !is_percent)
        at++;
    const char *bracket = at < end && *at ? strchr(open, *at) : NULL;
    /* 7 % (x) is no string. */
    if (!bracket || (is_percent && at == start + 1))
        return 0;
    *ret_text = at + 1;
    return close[bracket - open];
}

/* The string up to `close`; `at` is behind what opens it. Returns what is behind it, NULL when it does not end. */
static const char *read_string(struct shell_parser *p, struct shell_token *token, const char *at,
                               const char *end, char close)
{
    while (at < end && *at != close && !p->state->is_over) {
        if (*at == '\\' && at + 1 < end) {
            at++;
            at += shell_put_escape(p, token, at, end);
        } else {
            shell_token_value(p, token, at++, 1, true);
        }
    }
    return at < end ? at + 1 : NULL;
}

static void run_strings(struct shell_parser *p, struct shell_words *words, const char *via,
                        int parent)
{
    /* A command line each; together the words of one. */
    for (uint32_t i = 0; i < words->n && !p->state->is_over; i++) {
        if (words->at[i].len > 1)
            shell_parse_inner(p, shell_text_of(&words->at[i]), via, parent, true);
    }
    if (words->n > 1 && !p->state->is_over)
        shell_unwrap_to(p, parent, via, words->at, words->n, SHELL_GUESS);
    *words = (struct shell_words){0};
}

/* What stands between two strings: 's' puts them side by side, '+' together, 0 ends them. */
static char between(const char *at, const char *end)
{
    size_t len = (size_t)(end - at);
    char kind = 's';
    if (len > BETWEEN_MAX)
        return 0;
    for (size_t i = 0; i < len; i++) {
        if (strchr(";)}\n", at[i]) && at[i] != '\n')
            return 0;
        if (at[i] == '+' || at[i] == '.')
            kind = '+';
        else if (at[i] != ' ' && at[i] != '\n')
            kind = 's';
    }
    return kind;
}

void shell_parse_code(struct shell_parser *p, struct shell_text code, const char *via, int parent)
{
    struct shell_words words = {0};
    struct shell_token token = {0};
    const char *end = code.at + code.len, *last = NULL, *text = NULL;

    if (code.len == 0 || !runs_something(code))
        return;
    p->state->work += code.len;
    for (const char *at = code.at; at && at < end && !shell_is_over(p);) {
        char close = opens_string(code, at, end, &text);
        if (!close) {
            at++;
            continue;
        }
        char kind = last ? between(last, at) : 0;
        if (kind == 0 || words.n == CODE_WORDS_MAX)
            run_strings(p, &words, via, parent);
        if (kind == '+' && words.n)
            words.n--;
        else
            token = (struct shell_token){0};
        at = last = read_string(p, &token, text, end, close);
        if (at)
            shell_words_add(p, &words, shell_token_word(p, &token, 0, 0));
    }
    run_strings(p, &words, via, parent);
}

/*
 * shell_code.c: strings in a piece of Python, Perl, Ruby, JavaScript, PHP, awk … that may be run as commands. See
 * shell_int.h.
 *
 * Nothing is known of the language: when there is a word in it that means running something (system, exec, popen …), each
 * string is taken as a command line, and strings with only commas and brackets between them ("rm", ["-rf", "/"]) as the words
 * of one command. Guesses: what cannot be read in them is no problem.
 */
#include "common/compat.h"
#include "common/shell_int.h"

enum { CODE_WORDS_MAX = 64 };

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
        "system", "exec",  "popen",   "spawn", "subprocess", "Popen",
        "qx",     "call",  "check_",  "shell", "proc_open",  "passthru",
        "run",    "Open3", "execute", "pty",   "fork",       "Command",
    };
    if (memchr(code.at, '`', code.len) || memchr(code.at, '|', code.len))
        return true;
    for (size_t i = 0; i < CB_ARRAY_LEN(words); i++) {
        if (has_word(code, words[i]))
            return true;
    }
    return false;
}

/* The string at `at` (a quote); pos behind it in *ret_next, false when it does not end. */
static bool read_string(struct shell_parser *p, const char *at, const char *end,
                        struct shell_word *ret_word, const char **ret_next)
{
    struct shell_token token = {0};
    char quote = *at++;

    while (at < end && *at != quote && !p->state->is_over) {
        if (*at == '\\' && at + 1 < end) {
            at++;
            at += shell_put_escape(p, &token, at, end);
        } else {
            shell_token_value(p, &token, at++, 1, true);
        }
    }
    if (at >= end)
        return false;
    *ret_word = shell_token_word(p, &token, 0, 0);
    *ret_next = at + 1;
    return true;
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

void shell_parse_code(struct shell_parser *p, struct shell_text code, const char *via, int parent)
{
    struct shell_words words = {0};
    const char *end = code.at + code.len;

    if (code.len == 0 || !runs_something(code))
        return;
    p->state->work += code.len;
    for (const char *at = code.at; at < end && !shell_is_over(p);) {
        struct shell_word word;
        if (strchr("'\"`", *at)) {
            if (read_string(p, at, end, &word, &at)) {
                shell_words_add(p, &words, word);
                continue;
            }
            break;
        }
        bool is_between = strchr(" \t\n,[(", *at) != NULL;
        if (!is_between || words.n == CODE_WORDS_MAX)
            run_strings(p, &words, via, parent);
        at++;
    }
    run_strings(p, &words, via, parent);
}

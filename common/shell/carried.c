/*
 * carried.c: commands that stand inside of the arguments of others, each in its own way: git aliases and hooks of its
 * subcommands, sed's e, vi's !, and NAME=command options and variables. See shell_int.h.
 */
#include "common/compat.h"
#include "common/shell/shell_int.h"

/* git -c alias.x='!cmd' …, git config alias.x '!cmd', submodule foreach, bisect run, rebase --exec, filters. */
void shell_unwrap_git(struct shell_parser *p, int command)
{
    struct shell_command c = p->state->script->commands[command];
    for (uint32_t i = 1; i < c.nwords && !shell_is_over(p); i++) {
        const struct shell_word *word = &c.words[i];
        const char *text = word->text;
        const char *bang = strncmp(text, "alias.", 6) == 0 ? strstr(text, "=!") : NULL;
        bool is_last = i + 1 == c.nwords;
        if (bang)
            shell_run_text(p, bang + 2, "git alias", command);
        else if (strncmp(text, "alias.", 6) == 0 && !is_last && c.words[i + 1].text[0] == '!')
            shell_run_text(p, c.words[i + 1].text + 1, "git alias", command);
        else if (!is_last && i && shell_word_is(word, "foreach") &&
                 shell_word_is(&c.words[i - 1], "submodule"))
            shell_run_text(p, shell_join_words(p, word + 1, c.nwords - i - 1).at,
                           "git submodule foreach", command);
        else if (!is_last && shell_word_is(word, "run") && shell_word_is(&c.words[i - 1], "bisect"))
            shell_unwrap_to(p, command, "git bisect run", word + 1, c.nwords - i - 1, 0);
        else if (!is_last &&
                 (shell_word_is(word, "--exec") ||
                  (shell_word_is(word, "-x") && i > 1 && shell_word_is(&c.words[1], "rebase"))))
            shell_run_text(p, word[1].text, "git rebase --exec", command);
        else if (strncmp(text, "--exec=", 7) == 0)
            shell_run_text(p, text + 7, "git rebase --exec", command);
        else if (!is_last && strncmp(text, "--", 2) == 0 && word->len > 9 &&
                 strcmp(text + word->len - 7, "-filter") == 0)
            shell_run_text(p, word[1].text, "git filter-branch", command);
    }
}

/* The e command of GNU sed, at the start of a line of the script, behind an address: 1e cmd. */
void shell_unwrap_sed(struct shell_parser *p, int command)
{
    struct shell_command c = p->state->script->commands[command];
    for (uint32_t i = 1; i < c.nwords && !shell_is_over(p); i++) {
        for (const char *line = c.words[i].text; line && *line; line = strpbrk(line, ";\n{")) {
            line += strspn(line, ";{ \t\n0123456789,$!");
            if (*line == '/' && strchr(line + 1, '/'))
                line = strchr(line + 1, '/') + 1;
            line += strspn(line, " \t,$!0123456789");
            if (line[0] == 'e' && (line[1] == ' ' || line[1] == '\t'))
                shell_parse_inner(p,
                                  (struct shell_text){line + 1, (uint32_t)strcspn(line + 1, "\n")},
                                  "sed e", command, true);
        }
    }
}

/* -c, ex -sc: the next word is a command of the editor. */
static bool is_ex_option(const struct shell_word *word)
{
    const char *text = word->text;

    return shell_word_is(word, "--cmd") ||
           (text[0] == '-' && text[1] != '-' && word->len > 1 && text[word->len - 1] == 'c');
}

/* vi -c '!cmd', vi '+!cmd'. */
void shell_unwrap_vi(struct shell_parser *p, int command)
{
    struct shell_command c = p->state->script->commands[command];
    for (uint32_t i = 1; i < c.nwords && !shell_is_over(p); i++) {
        const char *text = c.words[i].text;
        bool is_ex = text[0] == '+' || is_ex_option(&c.words[i - 1]);
        const char *bang = is_ex ? strchr(text, '!') : NULL;
        if (bang)
            shell_parse_inner(p, (struct shell_text){bang + 1, (uint32_t)strlen(bang + 1)}, "vi",
                              command, true);
        else if (is_ex)
            shell_parse_code(p, shell_text_of(&c.words[i]), "vi", command);
    }
}

/* NAME=TEXT in a word or an assignment, where TEXT is a command, whatever the program. */
static void unwrap_carried(struct shell_parser *p, int command, const struct shell_word *word)
{
    static const char *const names[] = {
        "ProxyCommand=",
        "LocalCommand=",
        "KnownHostsCommand=",
        "--to-command=",
        "--use-compress-program=",
        "--checkpoint-action=exec=",
        "--rsh=",
        "--upload-pack=",
        "--receive-pack=",
        "core.sshCommand=",
        "core.pager=",
        "core.editor=",
        "core.fsmonitor=",
        "core.askPass=",
        "diff.external=",
        "sequence.editor=",
        "credential.helper=!",
        "GIT_SSH_COMMAND=",
        "GIT_SSH=",
        "GIT_EDITOR=",
        "GIT_SEQUENCE_EDITOR=",
        "GIT_PAGER=",
        "GIT_EXTERNAL_DIFF=",
        "GIT_ASKPASS=",
        "EDITOR=",
        "VISUAL=",
        "PAGER=",
        "MANPAGER=",
        "LESSOPEN=|",
        "PROMPT_COMMAND=",
        "PS1=",
        "PS4=",
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(names); i++) {
        size_t len = strlen(names[i]);
        if (word->len <= len)
            continue;
        /* -oProxyCommand=… */
        const char *text = word->text[0] == '-' && word->text[1] == 'o' ? word->text + 2
                                                                        : word->text;
        if (strncmp(text, names[i], len) == 0)
            shell_parse_inner(p, (struct shell_text){text + len, (uint32_t)strlen(text + len)},
                              names[i], command, true);
    }
}

void shell_unwrap_all_carried(struct shell_parser *p, int command)
{
    struct shell_command c = p->state->script->commands[command];
    for (uint32_t i = 0; i < c.nassigns && !shell_is_over(p); i++)
        unwrap_carried(p, command, &c.assigns[i]);
    for (uint32_t i = 1; i < c.nwords && !shell_is_over(p); i++) {
        if (strchr(c.words[i].text, '='))
            unwrap_carried(p, command, &c.words[i]);
    }
}

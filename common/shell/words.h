/*
 * words.h: which commands a piece of shell would run, as far as that can be known by reading it.
 *
 * Used by the rules (common/rules), never to run anything. shell_parse() takes a command line or script as
 * bash, dash or zsh would get it and lists every simple command in it: those of lists, pipelines,
 * compound commands, functions, substitutions and here-documents; and those that other commands would run
 * (sudo, env, xargs, find -exec, sh -c, eval, ssh, python -c …), each as one more command whose `parent` is
 * the one that runs it. Nothing is executed and no file is looked at.
 *
 * Words come with quotes, escapes, braces, ~ and known variables resolved: r''m, \rm, $'\x72m', {rm,-rf,/},
 * $(echo rm) and X=rm; $X all give "rm". What cannot be known is the byte SHELL_ANY in the text, and
 * SHELL_UNKNOWN in the flags. Variables that the text itself sets are followed from top to bottom, as if
 * every branch were taken and every function body run in place.
 *
 * Time is linear in the text (each byte is read at most SHELL_PASSES times), memory is bounded, recursion ends
 * at SHELL_DEPTH_MAX. What goes beyond, or has no end (quotes, parentheses), is reported as a problem with its
 * place; the commands found before it are listed all the same, since a shell would have run them.
 */
#ifndef CB_SHELL_WORDS_H
#define CB_SHELL_WORDS_H

#include "common/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SHELL_BYTES_MAX = 1 << 20, /* of the text */
    SHELL_DEPTH_MAX = 32,      /* of substitutions, compound commands and wrappers, together */
    SHELL_COMMANDS_MAX = 4096, /* listed */
    SHELL_WORDS_MAX = 1 << 16, /* in all commands */
    SHELL_PASSES = 16,         /* of the text, re-reading sh -c '…' and the like */
    SHELL_BRACES_MAX = 256,    /* words that one word's braces may give */
    SHELL_HEREDOCS_MAX = 64,   /* on one line */
    SHELL_VARIABLES_MAX = 256, /* followed at a time */
};

/* Stands for any bytes, also none, in a word's text. Not UTF-8, so it is in no text that JSON brought. */
#define SHELL_ANY '\xff'

/* The first SHELL_ANY in a text; NULL: none. */
const char *shell_find_any(const char *text, size_t len);

enum shell_word_flag {
    SHELL_UNKNOWN = 1u << 0, /* has SHELL_ANY in it */
    SHELL_GLOB = 1u << 1,    /* has a * ? or [ that the shell would expand */
    SHELL_QUOTED = 1u << 2,  /* some of it was quoted */
    SHELL_PROCESS = 1u << 3, /* <(…) or >(…) */
    SHELL_FOUND = 1u << 4,   /* stands for what find or xargs would put here */
};

struct shell_word {
    const char *text; /* NUL-terminated */
    uint32_t len;
    uint32_t flags;
    uint32_t begin; /* place in the text that was given; begin == end: not written there */
    uint32_t end;
};

enum shell_redirect_kind {
    SHELL_READ,      /* < */
    SHELL_WRITE,     /* > >| &> >& file */
    SHELL_APPEND,    /* >> &>> */
    SHELL_READWRITE, /* <> */
    SHELL_DUPLICATE, /* 2>&1 */
    SHELL_HERE,      /* << and <<<; the target is the text, as far as known */
};

struct shell_redirect {
    enum shell_redirect_kind kind;
    struct shell_word target;
};

enum shell_command_flag {
    /* Runs what it is fed as code: `sh`, `sh -c "$(…)"`, `source <(…)`, `eval …`. */
    SHELL_RUNS_INPUT = 1u << 0,
    SHELL_MORE_ARGS = 1u << 1,   /* gets arguments that are not known (xargs) */
    SHELL_BACKGROUND = 1u << 3,  /* & stands behind it */
    SHELL_RUNS_ITSELF = 1u << 4, /* part of a function that starts itself twice: a fork bomb */
    SHELL_GUESS = 1u << 2,       /* found in a string of another language */
};

struct shell_command {
    const struct shell_word *words; /* command, arguments; none when it only assigns or redirects */
    uint32_t nwords;
    uint32_t nassigns;
    const struct shell_word *assigns; /* NAME=value in front */
    const struct shell_redirect *redirects;
    uint32_t nredirects;
    uint32_t flags;
    const char *cwd; /* where it runs; NULL: not known */
    const char *via; /* "sudo", "sh -c", …; NULL: stands in the text itself */
    int parent;      /* the command that would run it, -1: the shell that reads the text */
    int feeds_from;  /* its output goes to the commands feeds_from ≤ i < feeds_to; -1: to none */
    int feeds_to;
    uint32_t begin; /* place in the text that was given; begin == end: not written there */
    uint32_t end;
};

struct shell_problem {
    const char *text; /* "double quote without end"; NULL: none */
    const char *via;  /* the wrapper in whose text it is; NULL: in the text itself */
    uint32_t at;      /* offset in the text that was given */
};

struct shell_script {
    struct shell_command *commands;
    int ncommands;
    struct shell_problem problem; /* the first */
};

/* What the parser may know of where the text would run. Each may be NULL: not known. */
struct shell_context {
    const char *cwd;
    const char *home;
};

/*
 * Lists the commands of a text. Everything is in the arena, which the caller owns. Returns 0, or -1 when there is a problem
 * (then the list is not complete).
 */
int shell_parse(const char *text, size_t len, const struct shell_context *context,
                struct arena *arena, struct shell_script *ret);

/* The same for one command that is given as an argument vector. */
int shell_parse_argv(const struct shell_word *words, size_t nwords,
                     const struct shell_context *context, struct arena *arena,
                     struct shell_script *ret);

/* The last component of the command's first word; "" when it has none. */
const char *shell_command_name(const struct shell_command *command);

#endif

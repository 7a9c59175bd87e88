/*
 * cli.h: the command line. Each verb declares its options once; the parser, --help,
 * the "did you mean" and the test that compares help with the manual are made from the rows.
 */
#ifndef CB_CLI_H
#define CB_CLI_H

#include "client/term.h"
#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli_option {
    char letter;      /* 0: long form only */
    const char *name; /* without the dashes; NULL ends a table */
    const char *arg;  /* what help calls the value; NULL: a switch */
    const char *text;
};

struct cli;

struct cli_verb {
    const char *name;     /* "task add" */
    const char *also;     /* NULL, or another name, which is taken but not listed */
    const char *operands; /* for help: "TEXT" */
    int min_operands;
    int max_operands; /* -1: any number */
    bool is_command;  /* the first operand ends our options (work -- COMMAND…) */
    const char *summary;
    const char *notes; /* NULL or lines that end with a newline, however long: help wraps them */
    const struct cli_option *options;
    int (*run)(const struct cli *cli); /* returns the exit code */
};

struct cli_value {
    const struct cli_option *option;
    const char *value; /* NULL for a switch */
};

/* A parsed command line; everything is borrowed from argv but the arrays. */
struct cli {
    const struct cli_verb *verb;
    struct cli_value *values;
    size_t nvalues;
    char **operands; /* NULL-terminated */
    int noperands;
};

extern const struct cli_verb *const cli_verbs[]; /* main.c; NULL-terminated */

/* The verb that these words begin with, and how many of them are its name; NULL: there is none. (main.c) */
const struct cli_verb *cli_find_verb(int argc, char **argv, int *ret_words);
/* Is it the first of a verb's two words ("hook" of "hook install")? */
bool cli_is_group(const char *word);
/* The i-th option of the verb, its own first; NULL behind the last. */
const struct cli_option *cli_option_at(const struct cli_verb *verb, size_t i);

/*
 * Parses what follows the verb. Returns -1 to go on, or the exit code when the program is done
 * (--help, wrong use); messages are printed.
 */
int cli_parse(struct cli *cli, const struct cli_verb *verb, int argc, char **argv);
void cli_done(struct cli *cli);

bool cli_is_set(const struct cli *cli, const char *name);
/* The last value given, or `fallback`. Asserts that the verb has such an option. */
const char *cli_value(const struct cli *cli, const char *name, const char *fallback);
/* All values of a repeatable option, each split at commas, put as a JSON array of strings. */
void cli_put_list(const struct cli *cli, const char *name, struct buf *out);
/* An integer option in low..high. Returns 0, or -1 after a message (exit 64). */
int cli_int(const struct cli *cli, const char *name, int64_t low, int64_t high, int64_t fallback,
            int64_t *ret);
/* The same for a length of time, written as in interval.h: without a unit in seconds. The limits, the fallback and what is
 * returned are in ms. */
int cli_time(const struct cli *cli, const char *name, int64_t low, int64_t high, int64_t fallback,
             int64_t *ret_ms);

/* Prints "claudebench VERB: text" and where help is to stderr; returns EXITCODE_USAGE. */
int cli_wrong_use(const struct cli_verb *verb, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* "claudebench: text" to stderr, escaped for the terminal. */
void cli_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

void cli_put_help(const struct cli_verb *verb, struct buf *out);
/* All verbs; or, with `group` = "task", those that begin with that word. */
void cli_put_usage(struct buf *out, const char *group);
/* Writes to stdout; returns EXITCODE_OK, or EXITCODE_FAILURE when stdout can't take it: then it has said why, unless nobody
 * reads there any more. */
int cli_write(const struct buf *out);
/* Nobody reads stdout any more, as a pipe tells before it is written to: a verb that waits for something to show asks that
 * now and then, and ends with EXITCODE_FAILURE. */
bool cli_reader_is_gone(void);
/* Writes what printf(3) has kept. Returns `status`, or EXITCODE_FAILURE in the place of EXITCODE_OK when stdout did not take
 * all of it. */
int cli_flush(int status);
/* A screen of its own: what is written until cli_screen_end() takes the place of what stdout, a terminal, showed. What does
 * not fit below is left out, and cli_screen_end() says how much: else the head would scroll away. */
void cli_screen_begin(struct term term);
int cli_screen_end(void);

#endif

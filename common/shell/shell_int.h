/*
 * shell_int.h: what the files of the shell parser share. Not for others: see words.h.
 *
 *   words.c    entry, limits, the list of commands, variables
 *   token.c    a word while it is read: bytes and where each came from; braces, fields
 *   expand.c   quotes, $…, `…`
 *   param.c    $name, ${…}
 *   parse.c    lists, pipelines, compound commands
 *   simple.c   simple commands, redirections, here-documents
 *   output.c   what echo, printf and cat would print
 *   unwrap.c   commands that run commands, by the rows of wrappers.def
 *   carried.c  commands inside of arguments: git aliases, sed e, ProxyCommand=…
 *   find.c     the same for find, xargs and parallel
 *   code.c     strings in python -c, perl -e …
 */
#ifndef CB_SHELL_INT_H
#define CB_SHELL_INT_H

#include "common/shell/words.h"

/* Where a byte of a token came from. */
enum shell_kind {
    SHELL_K_PLAIN,  /* the source, not quoted: may be a brace, a glob, a tilde */
    SHELL_K_QUOTED, /* stands for itself */
    SHELL_K_VALUE,  /* an expansion that was not quoted: may be a glob */
    SHELL_K_ANY,    /* SHELL_ANY */
    SHELL_K_BREAK,  /* ends a field; the byte has no meaning */
};

struct shell_token {
    char *bytes;
    unsigned char *kinds;
    uint32_t len;
    uint32_t cap;
    bool is_quoted;      /* so that "" is a word */
    bool has_positional; /* $1, $@: nothing, unless the word would be empty */
    bool has_brace;
    bool has_break;
    bool is_process;
};

struct shell_text {
    const char *at;
    uint32_t len;
};

struct shell_words {
    struct shell_word *at;
    uint32_t n;
    uint32_t cap;
};

struct shell_redirects {
    struct shell_redirect *at;
    uint32_t n;
    uint32_t cap;
};

struct shell_variable {
    struct shell_variable *next; /* older ones */
    const char *name;
    uint32_t name_len;
    uint32_t nfields;
    const struct shell_word *fields;
    bool is_list;  /* "$x" gives all fields, too */
    bool is_known; /* else: set to what is not known */
};

/* A here-document whose body begins behind the next newline. */
struct shell_heredoc {
    struct shell_heredoc *next;
    const char *delimiter;
    uint32_t delimiter_len;
    bool is_literal; /* the delimiter was quoted */
    bool has_tabs;   /* <<- */
    unsigned serial;
    int command;       /* -1: not listed (yet) */
    uint32_t redirect; /* which of the command's */
};

/* What all parsers of one call share. */
struct shell_state {
    struct shell_script *script;
    struct arena *arena;
    const struct shell_context *context;
    size_t work; /* bytes that were given to parsers */
    size_t work_max;
    size_t nwords;
    int cap;
    unsigned depth;
    bool is_over; /* a limit was hit: everybody returns */
};

/* One text that is being read. */
struct shell_parser {
    struct shell_state *state;
    const char *text;
    uint32_t pos;
    uint32_t end;
    bool is_given; /* it is the text that was given: places have a meaning */
    bool is_guess;
    bool has_failed; /* nothing behind pos can be read */
    const char *via;
    int parent;
    uint32_t outer_at; /* place of what this text came from, for problems */
    const char *cwd;
    struct shell_variable *variables;
    unsigned nvariables;
    const char *separators; /* of fields, besides blanks: what IFS was set to; NULL: nothing */
    struct shell_heredoc *heredocs;
    unsigned nheredocs;
    struct shell_text input;   /* what stdin has; at NULL: not known */
    struct shell_token output; /* what the stage has printed so far */
};

/* words.c */
void shell_fail(struct shell_parser *p, uint32_t at, const char *text);
void shell_fail_limit(struct shell_parser *p, const char *text);
bool shell_enter(struct shell_parser *p); /* one level deeper; false: too deep */
void shell_leave(struct shell_parser *p);
bool shell_is_over(const struct shell_parser *p);
/* Appends to the list; the arrays are taken as they are. Returns its index, or -1 when the list is full. */
int shell_emit(struct shell_parser *p, const struct shell_command *command);
/* Lists the commands of a text that a listed command would run. Its commands get `via` and `parent`. Returns what
 * it would print, in the arena. */
struct shell_text shell_parse_inner(struct shell_parser *p, struct shell_text text, const char *via,
                                    int parent, bool is_guess);
void shell_set_variable(struct shell_parser *p, struct shell_text name,
                        const struct shell_word *fields, uint32_t nfields, bool is_list);
/* $1, $2, … and "$@". */
void shell_set_positional(struct shell_parser *p, const struct shell_word *words, uint32_t n);
void shell_forget_variable(struct shell_parser *p, struct shell_text name);
const struct shell_variable *shell_find_variable(const struct shell_parser *p,
                                                 struct shell_text name);
/* dir joined to the parser's cwd, in the arena; NULL when not known. */
const char *shell_join_path(const struct shell_parser *p, struct shell_text dir);
bool shell_is_name_start(char c);
bool shell_is_name_char(char c);

/* token.c */
void shell_token_put(struct shell_parser *p, struct shell_token *token, char c,
                     enum shell_kind kind);
void shell_token_puts(struct shell_parser *p, struct shell_token *token, const char *s, size_t len,
                      enum shell_kind kind);
void shell_token_any(struct shell_parser *p, struct shell_token *token);
/* Appends a value: in quotes as it is, else in fields. */
void shell_token_value(struct shell_parser *p, struct shell_token *token, const char *s, size_t len,
                       bool is_quoted);
void shell_words_add(struct shell_parser *p, struct shell_words *words, struct shell_word word);
/* Appends the words that a token gives: none, one or many. */
void shell_token_words(struct shell_parser *p, const struct shell_token *token, uint32_t begin,
                       uint32_t end, struct shell_words *words);
/* The token as one word, without braces and fields. */
struct shell_word shell_token_word(struct shell_parser *p, const struct shell_token *token,
                                   uint32_t begin, uint32_t end);
struct shell_word shell_word_of(struct shell_parser *p, const char *s, size_t len, uint32_t flags);
struct shell_text shell_text_of(const struct shell_word *word);
/* The words with a blank between them. */
struct shell_text shell_join_words(struct shell_parser *p, const struct shell_word *words,
                                   size_t n);

/* expand.c: each begins at the character named and ends behind what it read. */
void shell_read_word(struct shell_parser *p, struct shell_token *token);
void shell_read_single(struct shell_parser *p, struct shell_token *token); /* '…' */
void shell_read_double(struct shell_parser *p, struct shell_token *token); /* "…" */
void shell_read_dollar(struct shell_parser *p, struct shell_token *token, bool is_quoted);
void shell_read_backtick(struct shell_parser *p, struct shell_token *token, bool is_quoted);
/* Reads up to `end` as in a here-document: only $ ` and \ mean something. */
void shell_read_here_text(struct shell_parser *p, struct shell_token *token, uint32_t end);
void shell_read_process(struct shell_parser *p, struct shell_token *token);
/* pos is behind "((": the place of the closing "))", or 0 when this is no arithmetic. */
uint32_t shell_find_arithmetic_end(const struct shell_parser *p);
void shell_read_arithmetic(struct shell_parser *p, uint32_t end);
/* Appends what an escape of $'…', echo -e or printf stands for; at is behind the backslash. Returns the bytes read. */
size_t shell_put_escape(struct shell_parser *p, struct shell_token *token, const char *at,
                        const char *end);

/* param.c */
/* The name or special parameter at `at`; empty when there is none. */
struct shell_text shell_read_name(const struct shell_parser *p, uint32_t at);
void shell_put_parameter(struct shell_parser *p, struct shell_token *token, struct shell_text name,
                         bool is_quoted);
/* ${…}: pos is behind the brace. */
void shell_read_braced(struct shell_parser *p, struct shell_token *token, bool is_quoted);

/* parse.c */
enum shell_close {
    SHELL_TO_END,
    SHELL_TO_PAREN,
    SHELL_TO_BRACE,
    SHELL_TO_FI,
    SHELL_TO_DONE,
    SHELL_TO_ITEM
};
void shell_parse_list(struct shell_parser *p, enum shell_close close);
/* The body of a function of this name; pos is behind its head. */
void shell_parse_body(struct shell_parser *p, struct shell_text name);
void shell_skip_blanks(struct shell_parser *p);
/* Blanks, comments and newlines; reads the bodies of here-documents. */
void shell_skip_lines(struct shell_parser *p);

/* simple.c */
void shell_parse_simple(struct shell_parser *p);
/* The redirections behind a compound command. */
void shell_parse_redirects(struct shell_parser *p);
void shell_read_heredocs(struct shell_parser *p);

/* output.c */
/* Appends to p->output what a command would print, as far as known. */
void shell_put_output(struct shell_parser *p, const struct shell_command *command);

/* unwrap.c */
/* Lists the commands that a listed command would run. */
void shell_unwrap(struct shell_parser *p, int command);
/* Lists words[0…] as a command of `parent`, and what it would run in turn. */
int shell_unwrap_to(struct shell_parser *p, int parent, const char *via,
                    const struct shell_word *words, uint32_t nwords, uint32_t flags);
/* What a command that runs its input finds there, once that is known. */
void shell_run_input(struct shell_parser *p, int command, struct shell_text text);
struct shell_option_spec {
    const char *with_value;      /* letters of short options that take a value */
    const char *long_with_value; /* names of long ones, a blank before and behind each */
};
/* The index of the first operand from i on. */
uint32_t shell_skip_options(const struct shell_option_spec *spec, const struct shell_word *words,
                            uint32_t nwords, uint32_t i);
bool shell_word_is(const struct shell_word *word, const char *text);
/* Lists the commands of a text that a listed command would run; what is not known in it makes that one run its input. */
void shell_run_text(struct shell_parser *p, const char *text, const char *via, int command);

/* carried.c */
void shell_unwrap_git(struct shell_parser *p, int command);
void shell_unwrap_sed(struct shell_parser *p, int command);
void shell_unwrap_vi(struct shell_parser *p, int command);
/* NAME=TEXT words and assignments, whatever the program. */
void shell_unwrap_all_carried(struct shell_parser *p, int command);

/* find.c */
void shell_unwrap_find(struct shell_parser *p, int command);
void shell_unwrap_xargs(struct shell_parser *p, int command);
void shell_unwrap_parallel(struct shell_parser *p, int command);
void shell_unwrap_fd(struct shell_parser *p, int command);
/* Appends the paths that find would print, one a line. */
void shell_put_found(struct shell_parser *p, const struct shell_command *command);

/* code.c */
/* Lists what the strings in a piece of another language may run. */
void shell_parse_code(struct shell_parser *p, struct shell_text code, const char *via, int parent);

#endif

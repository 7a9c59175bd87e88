/*
 * rules_int.h: what the files of the rules engine share. Not for others: see rules.h.
 *
 *   files.c      folders, files, version
 *   load.c       groups and rules from YAML        load_match.c   the match part
 *   load_more.c  replacements and examples         load_int.h     what these three share
 *   glob.c       globs for names and paths         path.c         normalised paths
 *   tools.c      which tools are shells, editors … targets.c      which files a command reads and writes
 *   regex.c      PCRE2 with its limits             input.c        one call, taken apart
 *   match.c      a rule against a call             match_command.c  … against one command
 *   decide.c     the decision                      rewrite.c      replacements
 *   explain.c    why                               examples.c     examples
 */
#ifndef CB_RULES_INT_H
#define CB_RULES_INT_H

#include "common/rules/rules.h"
#include "common/shell/words.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum {
    RULES_MATCHED_MAX = 200, /* bytes of a matched text that are shown */
    RULES_REWRITES_MAX = 8,  /* times that one rule may rewrite one call */
};

struct rules_strings {
    const char **at;
    size_t n;
};

struct rules_regex {
    pcre2_code *code;
    const char *text;
    bool is_utf; /* the pattern has characters beyond ASCII */
    bool has_jit;
};

struct rules_regexes {
    struct rules_regex *at;
    size_t n;
};

/* What is asked of one command. Empty lists ask nothing. */
struct rules_command_test {
    struct rules_strings names;       /* any */
    struct rules_strings subcommands; /* any */
    struct rules_strings flags;       /* all; each "r|recursive" */
    struct rules_strings args;        /* any */
    struct rules_strings paths;       /* any; globs */
    struct rules_strings redirects;   /* any; globs */
    struct rules_strings via;         /* any */
    struct rules_strings fed_by;      /* any */
    struct rules_strings env;         /* any; NAME=value globs */
    struct rules_regexes lines;       /* any; against the words with a blank between them */
    bool has_runs_input;
    bool has_runs_itself;
    bool has_or_unknown; /* a command whose name is not known counts as named */
};

struct rules_match {
    bool has_command; /* asks something of `command` */
    struct rules_command_test command;
    /* Any; globs: files that a command or an editing tool would change. */
    struct rules_strings writes;
    struct rules_strings reads;
    struct rules_strings files;  /* any; globs: paths in the input of a tool */
    struct rules_strings fields; /* where `patterns` look; none: in every string */
    struct rules_regexes patterns;
    struct rules_match *all; /* lists, by `next` */
    struct rules_match *any;
    struct rules_match *none;
    struct rules_match *next;
};

enum rules_replacement_kind { RULES_SUBSTITUTE, RULES_UNWRAP, RULES_SET };

struct rules_replacement {
    enum rules_replacement_kind kind;
    struct rules_regex regex; /* SUBSTITUTE */
    const char *with;
    struct rules_strings fields; /* SUBSTITUTE */
    const char *field;           /* SET: name of a member of the input */
    const char *value;           /* SET: JSON */
};

struct rules_example {
    struct rules_example *next;
    int line;
    bool is_match; /* else the rule must not match */
    unsigned event;
    const char *tool;
    const char *input; /* JSON */
    const char *cwd;
    const char *becomes; /* JSON of the rewritten input; NULL: not looked at */
};

struct rule {
    const char *id; /* group/name */
    const char *file;
    int line;
    int col;
    enum rules_action action;
    enum rules_severity severity;
    unsigned events;
    int priority;
    size_t order; /* in which it was read */
    bool is_project;
    bool is_disabled;
    const char *message;
    struct rules_strings tools; /* none: all */
    struct rules_match *match;
    struct rules_replacement *replacement;
    struct rules_example *examples;
    struct rule *next;
};

/* A file that was read, or the folder. */
struct rules_file {
    struct rules_file *next;
    char *path;
    int64_t mtime_ns;
    int64_t size;
    uint64_t inode;
};

struct rules {
    struct arena arena;
    struct rule **sorted; /* by priority, then order */
    size_t n;
    struct rule *list;
    struct rules_file *files;
    char version[RULES_KEY_SIZE];
    struct rules_regex **regexes; /* all, to free them */
    size_t nregexes;
    size_t regexes_cap;
    pcre2_match_context *context;
    pcre2_match_data *data;
    pcre2_jit_stack *jit_stack;
    pcre2_general_context *general;
};

/* ---- one call, taken apart: input.c ---- */

struct rules_leaf {
    const char *pointer; /* "/edits/0/new_string" */
    const char *name;    /* "new_string"; of an element, the list's */
    struct json_span literal;
    const char *text; /* decoded, not always followed by a NUL */
    size_t len;
    const char *path; /* normalised, for the names of paths; NULL: is none */
};

enum rules_role { RULES_NAMES = 1u << 0, RULES_READS = 1u << 1, RULES_WRITES = 1u << 2 };

/* A file that a command names. */
struct rules_target {
    const char *path; /* normalised */
    unsigned roles;
    bool is_glob;
    const struct shell_word *word;
    struct rules_target *next;
};

struct rules_script {
    struct rules_script *next;
    const struct rules_leaf *leaf;
    struct shell_script shell;
    struct rules_target **targets; /* one list a command, made when it is asked for */
    bool *has_targets;
};

/* What matched. */
struct rules_hit {
    const struct rules_leaf *leaf;
    const struct rules_script *script;
    int command; /* -1: none */
    const char *text;
    size_t len;
};

struct rules_input {
    struct rules *rules;
    const struct rules_call *call;
    struct arena *arena;
    struct json_span json;
    int64_t deadline_us;
    unsigned tool_kind; /* enum rules_tool_kind */
    struct rules_leaf *leaves;
    size_t nleaves;
    size_t leaves_cap;
    struct rules_script *scripts;
    bool has_limit; /* a limit was hit since it was last cleared */
    /* It has more strings than are looked at: every rule that does not match hits a limit. */
    bool is_partial;
    bool is_late;    /* the time is up: nothing is looked at any more */
    bool has_looked; /* at the file system */
    struct rules_hit hit;
};

/* Returns 0, or -1 when the input is no JSON object. */
int rules_input_init(struct rules_input *input, struct rules *rules, const struct rules_call *call,
                     struct json_span json, struct arena *arena, int64_t deadline_us);
/* The first command that cannot be read; NULL: none. Only for tools that run shells. */
const struct rules_script *rules_input_problem(const struct rules_input *input);
bool rules_field_matches(const char *field, const struct rules_leaf *leaf);
bool rules_is_late(struct rules_input *input);
/* The files that a command names. */
const struct rules_target *rules_targets(struct rules_input *input, struct rules_script *script,
                                         int command);

/* ---- tools.c ---- */

enum rules_tool_kind {
    RULES_TOOL_SHELL = 1u << 0,
    RULES_TOOL_EDIT = 1u << 1,
    RULES_TOOL_READ = 1u << 2,
    RULES_TOOL_FOREIGN_SHELL = 1u << 3, /* PowerShell: not to be read as sh */
};
unsigned rules_tool_kind(const char *tool);
/* A glob, or @shell, @edit, @read. */
bool rules_tool_matches(const char *pattern, const char *tool);
/* False for an @name that is none. */
bool rules_is_tool_pattern(const char *pattern);

/* ---- glob.c ---- */

/* A name: * is any bytes, ? one. */
bool rules_glob(const char *pattern, const char *text, size_t len);
/* The same whatever the case. */
bool rules_glob_nocase(const char *pattern, const char *text);
/* A path: one star and ? do not go over slashes, two stars do. Two at the end behind a slash mean the folder itself, too.
 * ~ at the start of the pattern is `home`. is_glob: the path has wildcards itself. */
bool rules_path_glob(const char *pattern, const char *path, bool is_glob, const char *home);

/* ---- path.c ---- */

/* Without ., .., doubled slashes; ~ and $HOME resolved; relative ones put behind cwd (not known: behind a byte that only
 * wildcards match). */
const char *rules_normalise_path(struct arena *arena, const char *path, size_t len, const char *cwd,
                                 const char *home);
/* As far as it exists, without symbolic links; NULL when that is the same path. */
const char *rules_resolve_path(struct arena *arena, const char *path);

/* ---- regex.c ---- */

/* Returns 0, or -1 with what is wrong in `problem`. */
int rules_regex_compile(struct rules *rules, const char *text, size_t len, bool want_jit,
                        struct rules_regex *ret, char *problem, size_t problem_size);
/* True when it matches; sets the input's hit, or has_limit. */
bool rules_regex_search(struct rules_input *input, const struct rules_regex *regex,
                        const char *text, size_t len);
/* The text with every match replaced, in the arena; NULL when nothing matched or a limit was hit. */
const char *rules_regex_replace(struct rules_input *input, const struct rules_regex *regex,
                                const char *with, const char *text, size_t len, size_t *ret_len);

/* ---- match.c, match_command.c ---- */

/* True when a rule matches the call: then input->hit says what. A limit that was hit on the way is in has_limit. */
bool rules_match(struct rules_input *input, const struct rule *rule);
bool rules_applies(const struct rules_input *input, const struct rule *rule);
bool rules_match_command(struct rules_input *input, const struct rules_command_test *test,
                         struct rules_script *script, int command);
bool rules_match_targets(struct rules_input *input, const struct rules_strings *globs,
                         unsigned roles, struct rules_script *script, int command);

/* ---- rewrite.c ---- */

enum rules_rewritten { RULES_UNCHANGED, RULES_CHANGED, RULES_CANNOT };
/* What a rule that matched makes of the input. */
enum rules_rewritten rules_rewrite(struct rules_input *input, const struct rule *rule,
                                   struct json_span *ret_json);

#endif

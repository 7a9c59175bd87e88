/*
 * yaml_load.h: strict YAML into a tree, with a place for each node.
 *
 * Only the plain part of YAML: mappings, lists, scalars. Refused, each with line and column:
 * anchors, aliases, tags, directives, a second document, duplicate keys, keys that are not scalars,
 * bytes that are not UTF-8, control characters, too deep nesting, too many nodes. The meaning of
 * scalars is the caller's: nothing here knows that `no` could be a boolean.
 */
#ifndef CB_YAML_LOAD_H
#define CB_YAML_LOAD_H

#include "common/arena.h"

#include <stdbool.h>
#include <stddef.h>

enum { YAML_LOAD_DEPTH_MAX = 32, YAML_LOAD_NODES_MAX = 20000 };

enum yaml_node_type {
    YAML_IS_SCALAR,
    YAML_IS_MAP,
    YAML_IS_LIST,
    YAML_IS_BAD, /* something refused stood here and was reported */
};

struct yaml_node {
    enum yaml_node_type type;
    bool is_plain;    /* scalar without quotes */
    int line;         /* of the value, from 1 */
    int col;          /* in characters, from 1 */
    const char *text; /* scalar; a NUL follows, and "\0" may have put one inside */
    size_t len;
    const char *key; /* member of a mapping: its name; else NULL */
    size_t key_len;
    int key_line;
    int key_col;
    struct yaml_node *child; /* mapping, list: the first */
    struct yaml_node *next;  /* the next of the same parent */
};

/* Called for each problem; `text` is one line, escaped. */
typedef void yaml_problem_fn(void *arg, int line, int col, const char *text);

/*
 * Reads one document. Everything lives in the arena. *ret_root is NULL for an empty document.
 * Returns 0, or -1 when a problem was reported; then *ret_root has what could be read (without the
 * duplicates), so that the caller can report more.
 */
int yaml_load(const char *text, size_t len, struct arena *arena, struct yaml_node **ret_root,
              yaml_problem_fn *report, void *arg);

/* True for a scalar that stands for nothing: empty, ~ or null, without quotes. */
bool yaml_is_null(const struct yaml_node *node);

/* As scandir(): a folder's files that are meant to be read, whose names end with .yaml and do not begin with a dot. Their
 * order, which decides who comes first, is that of the names' bytes, whatever the locale says. */
struct dirent;
int yaml_list_folder(const char *dir, struct dirent ***ret_entries);

#endif

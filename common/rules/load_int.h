/*
 * load_int.h: what the loader's files share. See rules_int.h.
 */
#ifndef CB_RULES_LOAD_INT_H
#define CB_RULES_LOAD_INT_H

#include "common/rules/rules_int.h"

#include "common/options.h"
#include "common/yaml_load.h"

struct loader {
    struct rules *rules;
    const struct rules_load_options *options;
    struct options_errors *errs;
    const char *file; /* in the rule set's arena */
    bool is_project;
    const char *where; /* group/name, for errors */
    struct rules_disabled *disabled;
    struct rules_list *lists; /* of this file */
};

/* lists: {system: [/etc, /usr]}, to be named as "@system". */
struct rules_list {
    struct rules_list *next;
    const char *name;
    struct rules_strings items;
};

/* A rule that a system file switches off. */
struct rules_disabled {
    struct rules_disabled *next;
    const char *id;
    const char *file;
    int line;
    int col;
};

/* load.c */
void load_error(struct loader *l, const struct yaml_node *node, const char *fmt, ...)
    CB_PRINTF(3, 4);
/* Complains about keys that are not in the list (NULL at its end), and about what is no mapping. */
bool load_keys(struct loader *l, const struct yaml_node *map, const char *const *known);
const struct yaml_node *load_get(const struct yaml_node *map, const char *key);
/* The text of a scalar, in the rule set's arena; NULL after a complaint. */
const char *load_text(struct loader *l, const struct yaml_node *node, size_t max);
/* A text, or a list of them. */
bool load_texts(struct loader *l, const struct yaml_node *node, struct rules_strings *ret);
/* The same; @name stands for a list of the file. */
bool load_expanded(struct loader *l, const struct yaml_node *node, struct rules_strings *ret);
bool load_bool(struct loader *l, const struct yaml_node *node, bool *ret);
/* Index of the word in the list (NULL at its end), or -1 after a complaint. */
int load_word(struct loader *l, const struct yaml_node *node, const char *const *words);
/* One file's groups, behind those that are there. */
void load_file(struct loader *l, const char *text, size_t len);
/* What can be checked only when all files are read; sorts the rules. */
void load_finish(struct loader *l);

/* load_match.c */
struct rules_match *load_match(struct loader *l, const struct yaml_node *node);
bool load_regex(struct loader *l, const struct yaml_node *node, struct rules_regex *ret);

/* load_more.c */
struct rules_replacement *load_replacement(struct loader *l, const struct yaml_node *node,
                                           const struct rule *rule);
void load_examples(struct loader *l, const struct yaml_node *node, struct rule *rule);

#endif

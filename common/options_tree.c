/*
 * options_tree.c: from the YAML tree of one file to option values. Finds everything that is wrong,
 * not only the first; says which known key is nearest to an unknown one.
 */
#include "common/compat.h"
#include "common/options_private.h"

#include "common/nearest.h"
#include "common/utf8.h"

struct reader {
    struct options *opts;
    struct options_errors *errs;
    const char *file;   /* in the options' memory */
    struct arena arena; /* tree and names, for the time of reading */
};

static void read_map(struct reader *r, const struct yaml_node *map, const char *prefix);

static void report_yaml(void *arg, int line, int col, const char *text)
{
    struct reader *r = arg;
    options_errors_add(r->errs, r->file, line, col, "", "%s", text);
}

/* ---- names ---- */

/* The dotted name of a key, escaped so that it can be shown; a key of ours needs no escapes. */
static char *dotted_name(struct reader *r, const char *prefix, const struct yaml_node *node)
{
    enum { KEY_SHOWN_MAX = 100 };
    struct buf name = BUF_INIT;

    buf_puts(&name, prefix);
    utf8_put_escaped(&name, node->key,
                     node->key_len < KEY_SHOWN_MAX ? node->key_len : KEY_SHOWN_MAX, '"');
    char *copy = arena_strndup(&r->arena, buf_peek(&name), name.len);
    buf_done(&name);
    return copy;
}

static bool is_below(const struct option_row *option, const char *section)
{
    size_t len = strlen(section);
    return strncmp(option->name, section, len) == 0 && option->name[len] == '.';
}

static bool is_section(const char *name)
{
    for (const struct option_row *o = options_table; o->name; o++) {
        if (is_below(o, name))
            return true;
    }
    return false;
}

/* The keys that a section (prefix "a.b." or "") may have, each once. */
struct siblings {
    const char *names[OPTIONS_COUNT + 1];
    size_t count;
};

static void add_sibling(struct siblings *s, struct arena *arena, const char *at)
{
    size_t len = strcspn(at, ".");

    for (size_t i = 0; i < s->count; i++) {
        if (strlen(s->names[i]) == len && memcmp(s->names[i], at, len) == 0)
            return;
    }
    s->names[s->count++] = arena_strndup(arena, at, len);
}

static void find_siblings(struct reader *r, const char *prefix, struct siblings *s)
{
    size_t len = strlen(prefix);

    s->count = 0;
    for (const struct option_row *o = options_table; o->name; o++) {
        if (strncmp(o->name, prefix, len) == 0)
            add_sibling(s, &r->arena, o->name + len);
    }
    if (len == 0)
        add_sibling(s, &r->arena, "methods");
}

static const char *sibling_at(size_t i, const void *arg)
{
    const struct siblings *s = arg;
    return i < s->count ? s->names[i] : NULL;
}

/* ---- unknown keys ---- */

/* An option of another section with this last word, or with these words all in one ("a.b" at the
 * top). */
static const char *find_elsewhere(const char *key)
{
    for (const struct option_row *o = options_table; o->name; o++) {
        const char *dot = strrchr(o->name, '.');
        if (dot && (strcmp(dot + 1, key) == 0 || strcmp(o->name, key) == 0))
            return o->name;
    }
    return NULL;
}

static void put_siblings(const struct siblings *s, struct buf *out)
{
    for (size_t i = 0; i < s->count; i++)
        buf_printf(out, "%s%s", i == 0 ? "" : i + 1 == s->count ? " or " : ", ", s->names[i]);
}

static void refuse_unknown(struct reader *r, const struct yaml_node *node, const char *prefix,
                           const char *name)
{
    struct siblings known;
    struct buf expected = BUF_INIT;

    find_siblings(r, prefix, &known);
    const char *near = nearest_name(node->key, sibling_at, &known);
    const char *elsewhere = near ? NULL : find_elsewhere(node->key);
    if (near)
        buf_printf(&expected, "did you mean %s%s?", prefix, near);
    else if (elsewhere && strcmp(elsewhere, node->key) == 0)
        buf_printf(&expected, "did you mean %s, written as %.*s: and its key below?", elsewhere,
                   (int)strcspn(elsewhere, "."), elsewhere);
    else if (elsewhere)
        buf_printf(&expected, "did you mean %s?", elsewhere);
    else {
        buf_puts(&expected, "expected ");
        put_siblings(&known, &expected);
    }
    options_errors_add(r->errs, r->file, node->key_line, node->key_col, name, "unknown option (%s)",
                       buf_peek(&expected));
    buf_done(&expected);
}

/* ---- values ---- */

static void refuse_shape(struct reader *r, const struct yaml_node *node,
                         const struct option_row *option)
{
    struct buf expected = BUF_INIT;

    options_put_expected(option, &expected);
    options_errors_add(r->errs, r->file, node->line, node->col, option->name,
                       "has a %s (expected %s)", node->type == YAML_IS_MAP ? "mapping" : "list",
                       buf_peek(&expected));
    buf_done(&expected);
}

static void read_option(struct reader *r, const struct yaml_node *node,
                        const struct option_row *option)
{
    struct buf problem = BUF_INIT, joined = BUF_INIT;
    size_t row = options_row(option);
    bool is_good = false;
    struct yaml_node scalar = *node;

    if (node->type == YAML_IS_LIST && option->type == OPTION_LIST) {
        options_join_list(node, &joined);
        scalar.type = YAML_IS_SCALAR;
        scalar.is_plain = false; /* [] is no null */
        scalar.text = buf_peek(&joined);
        scalar.len = joined.len;
    }
    if (scalar.type == YAML_IS_MAP || scalar.type == YAML_IS_LIST)
        refuse_shape(r, node, option);
    else if (scalar.type == YAML_IS_SCALAR) {
        is_good = options_set(r->opts, option, &scalar, &problem) == 0;
        if (!is_good)
            options_errors_add(r->errs, r->file, node->line, node->col, option->name, "%s",
                               buf_peek(&problem));
    }
    r->opts->origins->is_bad[row] = !is_good;
    r->opts->origins->origin[row] = (struct option_origin){r->file, node->line, node->col};
    buf_done(&problem);
    buf_done(&joined);
}

/* A section whose keys are all commented out is null: the same as an empty one. */
static void read_section(struct reader *r, const struct yaml_node *node, const char *name)
{
    if (node->type == YAML_IS_MAP) {
        char *prefix = arena_printf(&r->arena, "%s.", name);
        read_map(r, node, prefix);
    } else if (node->type != YAML_IS_BAD && !yaml_is_null(node)) {
        struct siblings known;
        struct buf expected = BUF_INIT;
        find_siblings(r, arena_printf(&r->arena, "%s.", name), &known);
        put_siblings(&known, &expected);
        options_errors_add(r->errs, r->file, node->line, node->col, name,
                           "is a section (expected a mapping with %s)", buf_peek(&expected));
        buf_done(&expected);
    }
}

static void read_map(struct reader *r, const struct yaml_node *map, const char *prefix)
{
    for (const struct yaml_node *node = map->child; node; node = node->next) {
        const char *name = dotted_name(r, prefix, node);
        /* A key with a dot in it is not the same as a key in a section. */
        bool is_word = strcspn(node->key, ".") == node->key_len;
        const struct option_row *option = is_word ? options_find(name) : NULL;
        if (option)
            read_option(r, node, option);
        else if (strcmp(name, "methods") == 0)
            options_methods_read(r->opts, node, r->file, r->errs);
        else if (is_word && is_section(name))
            read_section(r, node, name);
        else
            refuse_unknown(r, node, prefix, name);
    }
}

/* ---- the file ---- */

/* A file of another version is not looked at further: its other errors would mislead. */
static bool is_our_version(struct reader *r, const struct yaml_node *root)
{
    const struct option_row *version = options_find("config_version");

    for (const struct yaml_node *node = root->child; node; node = node->next) {
        if (strcmp(node->key, version->name) == 0) {
            read_option(r, node, version);
            return !r->opts->origins->is_bad[options_row(version)];
        }
    }
    return true;
}

void options_read_text(struct options *opts, const char *text, size_t len, const char *file,
                       struct options_errors *errs)
{
    struct reader r = {.opts = opts, .errs = errs, .arena = ARENA_INIT};
    struct yaml_node *root;

    r.file = arena_strndup(&opts->strings, file, strlen(file));
    if (len > OPTIONS_FILE_MAX) {
        options_errors_add(errs, r.file, 0, 0, "", "too large (expected at most 1MiB)");
        return;
    }
    yaml_load(text, len, &r.arena, &root, report_yaml, &r);
    if (root && root->type == YAML_IS_MAP) {
        if (is_our_version(&r, root))
            read_map(&r, root, "");
    } else if (root && root->type != YAML_IS_BAD && !yaml_is_null(root)) {
        options_errors_add(errs, r.file, root->line, root->col, "",
                           "not a mapping (expected sections such as redis: and task:)");
    }
    arena_done(&r.arena);
}

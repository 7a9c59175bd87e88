/*
 * options_methods.c: the section `methods`: options of single methods (options_methods.def), and of all under "*". A row of
 * the table stands for one option of each method; options_method_row() makes the row of one, which all that works on a row
 * takes. What a method does not set itself comes from "*", when all files have been read.
 */
#include "common/compat.h"
#include "common/options_private.h"

#include "common/nearest.h"
#include "common/utf8.h"

/* ---- the table ---- */

#define IS_A(type, member)    _Generic(((struct method_options *)0)->member, type : 1, default : 0)
#define OPT_INT(n, m, ...)    _Static_assert(IS_A(int64_t, m), n);
#define OPT_TIME(n, m, ...)   _Static_assert(IS_A(int64_t, m), n);
#define OPT_FACTOR(n, m, ...) _Static_assert(IS_A(int64_t, m), n);
#define OPT_STR(n, m, ...)    _Static_assert(IS_A(const char *, m), n);
#include "common/options_methods.def"
#undef OPT_INT
#undef OPT_TIME
#undef OPT_FACTOR
#undef OPT_STR

#define ROW(n, kind, member, when, doc)                                                            \
    .name = (n), .type = (kind), .offset = offsetof(struct method_options, member),                \
    .flags = OPTION_##when, .text = (doc)
#define NUMBER(n, kind, m, dflt, lo, hi, when, doc)                                                \
    {ROW(n, kind, m, when, doc), .fallback_num = (dflt), .min = (lo), .max = (hi)},
#define OPT_INT(n, m, ...)    NUMBER(n, OPTION_INT, m, __VA_ARGS__)
#define OPT_TIME(n, m, ...)   NUMBER(n, OPTION_TIME, m, __VA_ARGS__)
#define OPT_FACTOR(n, m, ...) NUMBER(n, OPTION_FACTOR, m, __VA_ARGS__)
#define OPT_STR(n, m, dflt, lo, hi, when, doc)                                                     \
    {ROW(n, OPTION_STR, m, when, doc), .fallback = (dflt), .min = (lo), .max = (hi)},

const struct option_row options_method_table[] = {
#include "common/options_methods.def"
    {.name = NULL},
};
_Static_assert(CB_ARRAY_LEN(options_method_table) == OPTIONS_OF_METHOD + 1, "OPTIONS_OF_METHOD");

static const char *method_name(size_t method)
{
    return method == OPTIONS_ALL_METHODS ? "*" : methods[method].name;
}

struct option_row options_method_row(size_t method, size_t row, char *name, size_t size)
{
    struct option_row made = options_method_table[row];

    snprintf(name, size, "methods.%s.%s", method_name(method), made.name);
    made.name = name;
    made.offset += offsetof(struct options, methods) + method * sizeof(struct method_options);
    return made;
}

void options_methods_default(struct options *opts)
{
    char name[OPTIONS_METHOD_NAME_SIZE];

    for (size_t m = 0; m <= OPTIONS_ALL_METHODS; m++)
        for (size_t i = 0; i < OPTIONS_OF_METHOD; i++) {
            struct option_row row = options_method_row(m, i, name, sizeof name);
            if (options_is_string(&row))
                options_set_string(opts, &row, row.fallback, strlen(row.fallback));
            else
                options_set_number(opts, &row, row.fallback_num);
        }
}

bool options_method_is_given(const struct options *opts, size_t method, size_t row)
{
    return opts->origins->of_methods[method][row].file != NULL;
}

/* ---- reading ---- */

struct place {
    struct options *opts;
    const char *file;
    struct options_errors *errs;
    size_t method;
    const char *prefix; /* "" or "breaker." */
};

static const char *row_name_at(size_t i, const void *arg)
{
    const char *prefix = arg;
    size_t len = strlen(prefix);
    static const char *const breaker = "breaker";

    for (size_t row = 0; row < OPTIONS_OF_METHOD; row++) {
        const char *name = options_method_table[row].name;
        if (strncmp(name, prefix, len) != 0 || (!prefix[0] && strchr(name, '.')))
            continue;
        if (i-- == 0)
            return name + len;
    }
    return !prefix[0] && i == 0 ? breaker : NULL;
}

static void refuse_unknown(const struct place *at, const struct yaml_node *node)
{
    struct buf name = BUF_INIT, expected = BUF_INIT;
    const char *near = nearest_name(node->key, row_name_at, at->prefix);

    buf_printf(&name, "methods.%s.%s", method_name(at->method), at->prefix);
    utf8_put_escaped(&name, node->key, node->key_len < 100 ? node->key_len : 100, '"');
    if (near)
        buf_printf(&expected, "did you mean %s%s?", at->prefix, near);
    for (size_t i = 0; !near && row_name_at(i, at->prefix); i++)
        buf_printf(&expected, "%s%s",
                   i == 0                           ? "expected "
                   : row_name_at(i + 1, at->prefix) ? ", "
                                                    : " or ",
                   row_name_at(i, at->prefix));
    options_errors_add(at->errs, at->file, node->key_line, node->key_col, buf_peek(&name),
                       "unknown option (%s)", buf_peek(&expected));
    buf_done(&name);
    buf_done(&expected);
}

static void read_option(const struct place *at, const struct yaml_node *node, size_t i)
{
    char name[OPTIONS_METHOD_NAME_SIZE];
    struct option_row row = options_method_row(at->method, i, name, sizeof name);
    struct buf problem = BUF_INIT, joined = BUF_INIT;
    struct yaml_node scalar = *node;

    if (node->type == YAML_IS_LIST && row.type == OPTION_STR) {
        options_join_list(node, &joined); /* kept as one text, which is read back as well */
        scalar.type = YAML_IS_SCALAR;
        scalar.text = buf_peek(&joined);
        scalar.len = joined.len;
    } else if (node->type != YAML_IS_SCALAR && node->type != YAML_IS_BAD) {
        buf_printf(&problem, "has a %s (expected ", node->type == YAML_IS_MAP ? "mapping" : "list");
        options_put_expected(&row, &problem);
        buf_putc(&problem, ')');
    }
    if (!problem.len && node->type != YAML_IS_BAD)
        options_set(at->opts, &row, &scalar, &problem);
    if (problem.len)
        options_errors_add(at->errs, at->file, node->line, node->col, name, "%s",
                           buf_peek(&problem));
    else
        at->opts->origins->of_methods[at->method][i] = (struct option_origin){at->file, node->line,
                                                                              node->col};
    buf_done(&problem);
    buf_done(&joined);
}

static void read_options(const struct place *at, const struct yaml_node *map, const char *name)
{
    if (map->type != YAML_IS_MAP) {
        if (map->type != YAML_IS_BAD && !yaml_is_null(map))
            options_errors_add(at->errs, at->file, map->line, map->col, name,
                               "is a section (expected a mapping of options)");
        return;
    }
    for (const struct yaml_node *node = map->child; node; node = node->next) {
        char full[64];
        size_t i = 0;
        snprintf(full, sizeof full, "%s%.48s", at->prefix, node->key);
        while (i < OPTIONS_OF_METHOD && strcmp(options_method_table[i].name, full) != 0)
            i++;
        bool is_word = strcspn(node->key, ".") == node->key_len;
        if (is_word && i < OPTIONS_OF_METHOD) {
            read_option(at, node, i);
        } else if (!at->prefix[0] && strcmp(node->key, "breaker") == 0) {
            struct place below = *at;
            below.prefix = "breaker.";
            snprintf(full, sizeof full, "methods.%.32s.breaker", method_name(at->method));
            read_options(&below, node, full);
        } else {
            refuse_unknown(at, node);
        }
    }
}

static void refuse_method(struct options_errors *errs, const char *file,
                          const struct yaml_node *node)
{
    struct buf name = BUF_INIT, near_text = BUF_INIT;
    const char *near = methods_nearest(node->key);

    buf_puts(&name, "methods.");
    utf8_put_escaped(&name, node->key, node->key_len < 100 ? node->key_len : 100, '"');
    if (near)
        buf_printf(&near_text, "did you mean \"%s\"?", near);
    else
        buf_puts(&near_text, "expected the name of a method, or \"*\"");
    options_errors_add(errs, file, node->key_line, node->key_col, buf_peek(&name),
                       "unknown method (%s)", buf_peek(&near_text));
    buf_done(&name);
    buf_done(&near_text);
}

void options_methods_read(struct options *opts, const struct yaml_node *section, const char *file,
                          struct options_errors *errs)
{
    struct place at = {.opts = opts, .file = file, .errs = errs, .prefix = ""};
    char name[OPTIONS_METHOD_NAME_SIZE];

    if (section->type != YAML_IS_MAP) {
        if (section->type != YAML_IS_BAD && !yaml_is_null(section))
            options_errors_add(errs, file, section->line, section->col, "methods",
                               "is a section (expected a mapping by names of methods)");
        return;
    }
    for (const struct yaml_node *node = section->child; node; node = node->next) {
        int id = strlen(node->key) == node->key_len ? methods_find(node->key) : -1;
        if (id < 0 && strcmp(node->key, "*") != 0) {
            refuse_method(errs, file, node);
            continue;
        }
        at.method = id < 0 ? OPTIONS_ALL_METHODS : (size_t)id;
        snprintf(name, sizeof name, "methods.%s", method_name(at.method));
        read_options(&at, node, name);
    }
}

void options_methods_resolve(struct options *opts)
{
    char name[OPTIONS_METHOD_NAME_SIZE];

    for (size_t m = 0; m < OPTIONS_ALL_METHODS; m++)
        for (size_t i = 0; i < OPTIONS_OF_METHOD; i++) {
            if (options_method_is_given(opts, m, i) ||
                !options_method_is_given(opts, OPTIONS_ALL_METHODS, i))
                continue;
            struct option_row to = options_method_row(m, i, name, sizeof name);
            struct option_row from = options_method_row(OPTIONS_ALL_METHODS, i, name, sizeof name);
            if (options_is_string(&to)) {
                const char *text = options_get_string(opts, &from);
                options_set_string(opts, &to, text, strlen(text));
            } else {
                options_set_number(opts, &to, options_get_number(opts, &from));
            }
        }
}

/* ---- checks ---- */

enum { MESSAGE_SIZE = 200 };

/* At the first option of the breaker that was given for the method, else under "*". */
static void fail(const struct options *opts, size_t method, const char *option, const char *text,
                 struct options_errors *errs)
{
    struct option_origin at = {.file = NULL};
    char name[OPTIONS_METHOD_NAME_SIZE];

    for (size_t i = 0; i < OPTIONS_OF_METHOD; i++) {
        if (strncmp(options_method_table[i].name, "breaker.", 8) != 0)
            continue;
        struct option_origin own = opts->origins->of_methods[method][i];
        bool is_it = strcmp(options_method_table[i].name, option) == 0;
        if (own.file && (is_it || !at.file))
            at = own;
    }
    snprintf(name, sizeof name, "methods.%s.%s", method_name(method), option);
    options_errors_add(errs, at.file, at.line, at.col, name, "%s", text);
}

static void check_dependencies(const struct options *opts, size_t method,
                               struct options_errors *errs)
{
    const char *at = opts->methods[method].breaker.depends_on;
    char name[64], text[MESSAGE_SIZE];

    for (size_t len; at += strspn(at, " "), *at; at += len) {
        len = strcspn(at, " ");
        snprintf(name, sizeof name, "%.*s", (int)len, at);
        int id = methods_find(name);
        if (id >= 0 && (size_t)id != method)
            continue;
        const char *near = methods_nearest(name);
        if (id >= 0)
            snprintf(text, sizeof text, "names the method itself (expected others)");
        else if (near)
            snprintf(text, sizeof text, "names an unknown method (did you mean %s?)", near);
        else
            snprintf(text, sizeof text, "names an unknown method (expected a list of methods)");
        fail(opts, method, "breaker.depends_on", text, errs);
    }
}

static bool has_own_breaker(const struct options *opts, size_t method, bool *ret_has_threshold)
{
    bool found = false;

    *ret_has_threshold = false;
    for (size_t i = 0; i < OPTIONS_OF_METHOD; i++) {
        if (strncmp(options_method_table[i].name, "breaker.", 8) != 0 ||
            !options_method_is_given(opts, method, i))
            continue;
        found = true;
        if (strcmp(options_method_table[i].name, "breaker.threshold") == 0)
            *ret_has_threshold = true;
    }
    return found;
}

void options_methods_check(const struct options *opts, struct options_errors *errs)
{
    for (size_t m = 0; m <= OPTIONS_ALL_METHODS; m++) {
        const struct breaker_options *b = &opts->methods[m].breaker;
        bool has_threshold;
        if (!has_own_breaker(opts, m, &has_threshold))
            continue;
        if (b->threshold == 0 && !has_threshold && m != OPTIONS_ALL_METHODS)
            fail(opts, m, "breaker.threshold",
                 "is not given, so that there is no breaker (expected a whole number, 1 to 1000)",
                 errs);
        if (b->close_after > b->half_open)
            fail(opts, m, "breaker.close_after",
                 "is too large (expected at most breaker.half_open)", errs);
        if (b->open_max_ms < b->open_ms)
            fail(opts, m, "breaker.open_max_ms", "is too small (expected at least breaker.open_ms)",
                 errs);
        check_dependencies(opts, m, errs);
    }
}

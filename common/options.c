/*
 * options.c: the table of options and what works on it without reading a file: defaults, access by
 * row, domains, comparison. Reading is in options_load.c (files), options_tree.c (YAML),
 * options_value.c (one value) and options_check.c; writing in options_doc.c; the options of methods are in
 * options_methods.c.
 */
#include "common/compat.h"
#include "common/options.h"

#include "common/exitcode.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/options_private.h"

/* ---- the table ---- */

/* A row's member must have the type that the row's kind is stored with. */
#define IS_A(type, member)   _Generic(((struct options *)0)->member, type : 1, default : 0)
#define OPT_BOOL(n, m, ...)  _Static_assert(IS_A(bool, m), n);
#define OPT_INT(n, m, ...)   _Static_assert(IS_A(int64_t, m), n);
#define OPT_TIME(n, m, ...)  _Static_assert(IS_A(int64_t, m), n);
#define OPT_BYTES(n, m, ...) _Static_assert(IS_A(int64_t, m), n);
#define OPT_STR(n, m, ...)   _Static_assert(IS_A(const char *, m), n);
#define OPT_LIST(n, m, ...)  _Static_assert(IS_A(const char *, m), n);
#define OPT_PATH(n, m, ...)  _Static_assert(IS_A(const char *, m), n);
#define OPT_ENUM(n, m, ...)  _Static_assert(IS_A(int, m), n);
#include "common/options.def"
#undef OPT_BOOL
#undef OPT_INT
#undef OPT_TIME
#undef OPT_BYTES
#undef OPT_STR
#undef OPT_LIST
#undef OPT_PATH
#undef OPT_ENUM

#define ROW(n, kind, member, when, doc)                                                            \
    .name = (n), .type = (kind), .offset = offsetof(struct options, member),                       \
    .flags = OPTION_##when, .text = (doc)
#define OPT_BOOL(n, m, dflt, when, doc) {ROW(n, OPTION_BOOL, m, when, doc), .fallback_num = (dflt)},
#define OPT_INT(n, m, dflt, lo, hi, when, doc)                                                     \
    {ROW(n, OPTION_INT, m, when, doc), .fallback_num = (dflt), .min = (lo), .max = (hi)},
#define OPT_TIME(n, m, dflt, lo, hi, when, doc)                                                    \
    {ROW(n, OPTION_TIME, m, when, doc), .fallback_num = (dflt), .min = (lo), .max = (hi)},
#define OPT_BYTES(n, m, dflt, lo, hi, when, doc)                                                   \
    {ROW(n, OPTION_BYTES, m, when, doc), .fallback_num = (dflt), .min = (lo), .max = (hi)},
#define OPT_STR(n, m, dflt, lo, hi, when, doc)                                                     \
    {ROW(n, OPTION_STR, m, when, doc), .fallback = (dflt), .min = (lo), .max = (hi)},
#define OPT_LIST(n, m, hi, when, doc)                                                              \
    {ROW(n, OPTION_LIST, m, when, doc), .fallback = "", .max = (hi)},
#define OPT_PATH(n, m, dflt, lo, when, doc)                                                        \
    {ROW(n, OPTION_PATH, m, when, doc), .fallback = (dflt), .min = (lo), .max = PATH_MAX - 1},
#define OPT_ENUM(n, m, dflt, words, when, doc)                                                     \
    {ROW(n, OPTION_ENUM, m, when, doc), .fallback_num = (dflt), .choices = (words)},

const struct option_row options_table[] = {
#include "common/options.def"
    {.name = NULL},
};
_Static_assert(CB_ARRAY_LEN(options_table) == OPTIONS_COUNT + 1, "OPTIONS_COUNT");

const struct option_row *options_find(const char *name)
{
    for (const struct option_row *o = options_table; o->name; o++) {
        if (strcmp(o->name, name) == 0)
            return o;
    }
    return NULL;
}

size_t options_row(const struct option_row *option)
{
    return (size_t)(option - options_table);
}

bool options_is_string(const struct option_row *option)
{
    return option->type == OPTION_STR || option->type == OPTION_LIST || option->type == OPTION_PATH;
}

/* ---- values by row ---- */

int64_t options_get_number(const struct options *opts, const struct option_row *option)
{
    const char *at = (const char *)opts + option->offset;

    cb_assert(!options_is_string(option));
    if (option->type == OPTION_BOOL)
        return *(const bool *)at;
    if (option->type == OPTION_ENUM)
        return *(const int *)(const void *)at;
    return *(const int64_t *)(const void *)at;
}

const char *options_get_string(const struct options *opts, const struct option_row *option)
{
    const char *at = (const char *)opts + option->offset;

    cb_assert(options_is_string(option));
    return *(const char *const *)(const void *)at;
}

void options_set_number(struct options *opts, const struct option_row *option, int64_t n)
{
    char *at = (char *)opts + option->offset;

    cb_assert(!options_is_string(option));
    if (option->type == OPTION_BOOL)
        *(bool *)at = n != 0;
    else if (option->type == OPTION_ENUM)
        *(int *)(void *)at = (int)n;
    else
        *(int64_t *)(void *)at = n;
}

void options_set_string(struct options *opts, const struct option_row *option, const char *s,
                        size_t len)
{
    char *at = (char *)opts + option->offset;

    cb_assert(options_is_string(option));
    *(const char **)(void *)at = arena_strndup(&opts->strings, s, len);
}

void options_put_value(const struct options *opts, const struct option_row *option, struct buf *out)
{
    if (options_is_string(option))
        buf_puts(out, options_get_string(opts, option));
    else
        options_put_number(option, options_get_number(opts, option), out);
}

struct option_origin options_origin(const struct options *opts, const struct option_row *option)
{
    return opts->origins->origin[options_row(option)];
}

/* ---- defaults ---- */

/* The host's name as an instance.id: what is not allowed there becomes '-'. */
static void host_id(char out[65])
{
    char name[HOST_NAME_MAX + 1] = "";

    if (gethostname(name, sizeof name) != 0)
        name[0] = '\0';
    name[HOST_NAME_MAX] = '\0';
    snprintf(out, 65, "%.64s", name[0] ? name : "localhost");
    for (char *c = out; *c; c++) {
        bool is_alnum = (*c >= '0' && *c <= '9') || (*c >= 'A' && *c <= 'Z') ||
                        (*c >= 'a' && *c <= 'z');
        if (!is_alnum && (c == out || !strchr("_.-", *c)))
            *c = c == out ? 'x' : '-';
    }
}

/* Appends the default of a string option, with what its $WORD stands for. */
static void expand(const char *fallback, const struct paths *paths, const char *host,
                   const char *rules, struct buf *out)
{
    const struct {
        const char *word;
        const char *value;
    } words[] = {
        {"$RUN", paths->run_dir}, {"$STATE", paths->state_dir}, {"$HOST", host}, {"$RULES", rules}};

    while (*fallback) {
        size_t skip = 0;
        for (size_t i = 0; i < CB_ARRAY_LEN(words) && !skip; i++) {
            size_t len = strlen(words[i].word);
            if (strncmp(fallback, words[i].word, len) == 0) {
                buf_puts(out, words[i].value);
                skip = len;
            }
        }
        if (!skip)
            buf_putc(out, *fallback);
        fallback += skip ? skip : 1;
    }
}

int options_new(enum paths_mode mode, struct options **ret, struct cb_error *err)
{
    struct paths paths;
    struct buf text = BUF_INIT;
    char host[65];

    if (paths_init(&paths, mode, err))
        return -1;
    host_id(host);
    char *rules CB_CLEANUP(mem_free_ptr) = paths_rules_dir(&paths);
    struct options *opts = mem_alloc(sizeof *opts);
    opts->origins = mem_alloc(sizeof *opts->origins);
    for (const struct option_row *o = options_table; o->name; o++) {
        if (!options_is_string(o)) {
            options_set_number(opts, o, o->fallback_num);
            continue;
        }
        buf_reset(&text);
        expand(o->fallback, &paths, host, rules, &text);
        options_set_string(opts, o, buf_peek(&text), text.len);
    }
    options_methods_default(opts);
    buf_done(&text);
    paths_done(&paths);
    *ret = opts;
    return 0;
}

const char *options_assignment_name(int assignment)
{
    static const char *const names[] = {
        [ASSIGNMENT_PULL] = "pull", [ASSIGNMENT_PUSH] = "push", [ASSIGNMENT_HYBRID] = "hybrid"};

    return names[assignment];
}

void options_archive_resolve(struct options *opts)
{
    const struct option_row *workers = options_find("domains.archive.workers");

    if (opts->postgres.conninfo[0] && !options_origin(opts, workers).file)
        opts->domains.archive.workers = 1;
}

const char *options_events_policy(const struct options *opts, struct arena *arena)
{
    static const char *const names[] = {
        [EVENTS_STREAM] = "stream", [EVENTS_PUBSUB] = "pubsub", [EVENTS_BOTH] = "both"};

    return arena_printf(arena, "%s %" PRId64 " %" PRId64 " %" PRId64, names[opts->events.transport],
                        opts->events.maxlen, opts->events.max_bytes, opts->events.reader_idle_ms);
}

void options_free(struct options *opts)
{
    if (!opts)
        return;
    arena_done(&opts->strings);
    free(opts->origins);
    free(opts);
}

void options_free_ptr(struct options **opts)
{
    options_free(*opts);
}

/* ---- domains ---- */

const char *const *options_domain_names(void)
{
    static const char *const names[] = {
        "task", "system", "hook", "archive", "test", NULL,
    };
    return names;
}

unsigned options_domain_number(const char *name)
{
    const char *const *names = options_domain_names();
    unsigned i = 0;

    while (names[i] && strcmp(names[i], name) != 0)
        i++;
    return i;
}

bool options_domain_has_requests(const char *name)
{
    return strcmp(name, "archive") != 0;
}

const struct domain_options *options_domain(const struct options *opts, const char *name)
{
    if (strcmp(name, "task") == 0)
        return &opts->domains.task;
    if (strcmp(name, "system") == 0)
        return &opts->domains.system;
    if (strcmp(name, "hook") == 0)
        return &opts->domains.hook;
    if (strcmp(name, "archive") == 0)
        return &opts->domains.archive;
    if (strcmp(name, "test") == 0)
        return &opts->domains.test;
    return NULL;
}

/* ---- comparison ---- */

static bool is_same(const struct options *a, const struct options *b,
                    const struct option_row *option)
{
    if (options_is_string(option))
        return strcmp(options_get_string(a, option), options_get_string(b, option)) == 0;
    return options_get_number(a, option) == options_get_number(b, option);
}

/* Returns whether they differ; tells it then. */
static bool compare_row(const struct options *old_opts, const struct options *new_opts,
                        const struct option_row *row, options_change_fn *fn, void *arg)
{
    if (is_same(old_opts, new_opts, row))
        return false;
    if (!fn)
        return true;
    struct buf old_text = BUF_INIT;
    struct buf new_text = BUF_INIT;
    options_put_value(old_opts, row, &old_text);
    options_put_value(new_opts, row, &new_text);
    fn(arg, row, buf_peek(&old_text), buf_peek(&new_text));
    buf_done(&old_text);
    buf_done(&new_text);
    return true;
}

/* Whether the option of one method is what "*" says. */
static bool is_that_of_all(const struct options *opts, size_t method, size_t option)
{
    char name[OPTIONS_METHOD_NAME_SIZE];
    struct buf one CB_CLEANUP(buf_done) = BUF_INIT, all CB_CLEANUP(buf_done) = BUF_INIT;
    struct option_row row = options_method_row(method, option, name, sizeof name);

    options_put_value(opts, &row, &one);
    row = options_method_row(OPTIONS_ALL_METHODS, option, name, sizeof name);
    options_put_value(opts, &row, &all);
    return strcmp(buf_peek(&one), buf_peek(&all)) == 0;
}

/* Those of "*" are told once, and not again for each method that follows it. */
static size_t compare_methods(const struct options *old_opts, const struct options *new_opts,
                              options_change_fn *fn, void *arg)
{
    size_t changes = 0;
    char name[OPTIONS_METHOD_NAME_SIZE];

    for (size_t i = 0; i < OPTIONS_OF_METHOD; i++) {
        struct option_row row = options_method_row(OPTIONS_ALL_METHODS, i, name, sizeof name);
        bool is_told = compare_row(old_opts, new_opts, &row, fn, arg);
        changes += is_told;
        for (size_t m = 0; m < OPTIONS_ALL_METHODS; m++) {
            row = options_method_row(m, i, name, sizeof name);
            if (is_same(old_opts, new_opts, &row) ||
                (is_told && is_that_of_all(old_opts, m, i) && is_that_of_all(new_opts, m, i)))
                continue;
            changes += compare_row(old_opts, new_opts, &row, fn, arg);
        }
    }
    return changes;
}

size_t options_compare(const struct options *old_opts, const struct options *new_opts,
                       options_change_fn *fn, void *arg, bool *ret_restart)
{
    size_t changes = 0;
    bool wants_restart = false;

    for (const struct option_row *o = options_table; o->name; o++) {
        if (!compare_row(old_opts, new_opts, o, fn, arg))
            continue;
        changes++;
        wants_restart |= (o->flags & OPTION_RESTART) != 0;
    }
    changes += compare_methods(old_opts, new_opts, fn, arg);
    if (ret_restart)
        *ret_restart = wants_restart;
    return changes;
}

/* ---- reload ---- */

static void copy_value(struct options *to, const struct options *from,
                       const struct option_row *option)
{
    if (options_is_string(option)) {
        const char *value = options_get_string(from, option);
        options_set_string(to, option, value, strlen(value));
    } else {
        options_set_number(to, option, options_get_number(from, option));
    }
}

int options_prepare_reload(struct options *fresh, const struct options *in_force,
                           options_change_fn *fn, void *arg, struct options_errors *errs)
{
    size_t errors_before = errs->total;

    options_compare(in_force, fresh, fn, arg, NULL);
    for (const struct option_row *o = options_table; o->name; o++) {
        if (!(o->flags & OPTION_RESTART) || is_same(in_force, fresh, o))
            continue;
        copy_value(fresh, in_force, o);
        fresh->origins->origin[options_row(o)] = in_force->origins->origin[options_row(o)];
    }
    options_check(fresh, errs);
    return errs->total > errors_before ? -1 : 0;
}

/* With its origin, by which a dump knows that it was given. */
static void put_method_option(struct options *to, const struct options *from, size_t method,
                              size_t i)
{
    struct option_origin *origin = &to->origins->of_methods[method][i];
    char name[OPTIONS_METHOD_NAME_SIZE];
    struct option_row row = options_method_row(method, i, name, sizeof name);

    if (!is_same(to, from, &row))
        copy_value(to, from, &row);
    if ((origin->file != NULL) == options_method_is_given(from, method, i))
        return;
    *origin = from->origins->of_methods[method][i];
    if (origin->file)
        origin->file = arena_strndup(&to->strings, origin->file, strlen(origin->file));
}

void options_put_in_force(struct options *in_force, const struct options *fresh)
{
    for (const struct option_row *o = options_table; o->name; o++)
        if (!is_same(in_force, fresh, o))
            copy_value(in_force, fresh, o);
    for (size_t m = 0; m <= OPTIONS_ALL_METHODS; m++)
        for (size_t i = 0; i < OPTIONS_OF_METHOD; i++)
            put_method_option(in_force, fresh, m, i);
}

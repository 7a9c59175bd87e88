/*
 * options_doc.c: the option table as YAML (effective configuration, sample file) and as manual
 * text.
 */
#include "common/compat.h"
#include "common/options_doc.h"

#include "common/mdoc.h"
#include "common/mem.h"
#include "common/options_private.h"
#include "common/utf8.h"

enum { TEXT_WIDTH = 100 };

static const char METHODS_TEXT[] =
    "Limits of single methods, by their names; under \"*\" those of every method that does not set "
    "the option "
    "itself. See claudebenchd(8), section CIRCUIT BREAKERS AND RATE LIMITS.";

/* ---- YAML ---- */

/* A double-quoted scalar: what yaml_load() reads back as these bytes. Strings have no controls
 * (checked when they were set; paths from the environment too), but some characters only stand in
 * YAML escaped. */
static void put_quoted(const char *s, struct buf *out)
{
    size_t len = strlen(s);

    buf_putc(out, '"');
    for (size_t at = 0; at < len;) {
        uint32_t cp = 0;
        size_t n = utf8_decode(s + at, len - at, &cp);
        if (cp == '"' || cp == '\\')
            buf_printf(out, "\\%c", (char)cp);
        else if (n == 0 || utf8_is_control(cp) || (cp & 0xFFFE) == 0xFFFE)
            buf_printf(out, "\\U%08X", n ? cp : 0xFFFDu);
        else
            buf_append(out, s + at, n);
        at += n ? n : 1;
    }
    buf_putc(out, '"');
}

/* Of items separated by spaces: a list in one line. */
static void put_list(const char *items, struct buf *out)
{
    buf_putc(out, '[');
    for (const char *at = items + strspn(items, " "); *at; at += strspn(at, " ")) {
        size_t len = strcspn(at, " ");
        char *item CB_CLEANUP(mem_free_ptr) = mem_strndup(at, len);
        buf_puts(out, out->data[out->len - 1] == '[' ? "" : ", ");
        put_quoted(item, out);
        at += len;
    }
    buf_putc(out, ']');
}

static void put_text(const struct option_row *option, const char *text, struct buf *out)
{
    if (option->type == OPTION_LIST)
        put_list(text, out);
    else
        put_quoted(text, out);
}

static void put_indent(size_t depth, struct buf *out)
{
    for (size_t i = 0; i < depth; i++)
        buf_puts(out, "  ");
}

/* Number of dots in the first `len` bytes: how deep a name is. */
static size_t depth_of(const char *name)
{
    size_t depth = 0;
    for (; *name; name++)
        depth += *name == '.';
    return depth;
}

/* Length of the sections that two names share, with the dot: "domains." of domains.task.x,
 * domains.test.y. */
static size_t shared_sections(const char *a, const char *b)
{
    size_t shared = 0;

    for (size_t i = 0; a[i] && a[i] == b[i]; i++) {
        if (a[i] == '.')
            shared = i + 1;
    }
    return shared;
}

/* Appends "section:" lines for those sections of `name` that `previous` was not in. */
static void put_sections(const char *previous, const char *name, struct buf *out)
{
    size_t at = shared_sections(previous, name);
    size_t depth = 0;

    for (size_t i = 0; i < at; i++)
        depth += name[i] == '.';
    for (const char *dot; (dot = strchr(name + at, '.')); at = (size_t)(dot - name) + 1) {
        put_indent(depth++, out);
        buf_append(out, name + at, (size_t)(dot - name) - at);
        buf_puts(out, ":\n");
    }
}

/* Appends the text as comment lines of at most TEXT_WIDTH columns. */
static void put_comment(const char *text, size_t depth, struct buf *out)
{
    const size_t room = TEXT_WIDTH - 2 * depth - 2;

    while (*text) {
        size_t len = strlen(text);
        if (len > room) {
            len = room;
            while (len > 0 && text[len] != ' ')
                len--;
            len = len ? len : strcspn(text, " ");
        }
        put_indent(depth, out);
        buf_puts(out, "# ");
        buf_append(out, text, len);
        buf_putc(out, '\n');
        text += len;
        text += strspn(text, " ");
    }
}

static void put_accepted(const struct option_row *option, struct buf *out)
{
    buf_puts(out, "Accepted: ");
    options_put_expected(option, out);
    buf_putc(out, '.');
}

/* What a reload does not put in force. For the others the head of the document says that it does. */
static void put_restart(const struct option_row *option, struct buf *out)
{
    if (option->flags & OPTION_RESTART)
        buf_puts(out, " A new value needs a restart.");
}

static void put_description(const struct option_row *option, struct buf *out)
{
    struct buf accepted = BUF_INIT;
    size_t depth = depth_of(option->name);

    put_comment(option->text, depth, out);
    put_accepted(option, &accepted);
    put_restart(option, &accepted);
    put_comment(buf_peek(&accepted), depth, out);
    buf_done(&accepted);
}

static const char *last_word(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

/* What was given for methods, and only that: the others have the same options. */
static void dump_methods(const struct options *opts, struct buf *out)
{
    char name[OPTIONS_METHOD_NAME_SIZE];
    bool is_begun = false;

    for (size_t m = 0; m <= OPTIONS_ALL_METHODS; m++) {
        const char *previous = NULL;
        for (size_t i = 0; i < OPTIONS_OF_METHOD; i++) {
            const char *own_name = options_method_table[i].name;
            struct option_row row = options_method_row(m, i, name, sizeof name);
            if (!options_method_is_given(opts, m, i))
                continue;
            if (!is_begun)
                buf_puts(out, "\nmethods:\n");
            if (!previous)
                buf_printf(out, "  \"%s\":\n", m == OPTIONS_ALL_METHODS ? "*" : methods[m].name);
            if (strchr(own_name, '.') && (!previous || !strchr(previous, '.')))
                buf_puts(out, "    breaker:\n");
            put_indent(2 + depth_of(own_name), out);
            buf_printf(out, "%s: ", last_word(own_name));
            if (options_is_string(&row))
                put_quoted(options_get_string(opts, &row), out);
            else
                options_put_value(opts, &row, out);
            buf_putc(out, '\n');
            previous = own_name;
            is_begun = true;
        }
    }
}

/* The address is the sentinels' to tell: whoever reads the dump is not to find a second one. */
static bool is_without_effect(const struct options *opts, const struct option_row *option)
{
    return opts->redis.sentinel.master[0] && strcmp(option->name, "redis.url") == 0;
}

void options_dump(const struct options *opts, struct buf *out, bool with_comments)
{
    const char *previous = "";

    for (const struct option_row *o = options_table; o->name; o++) {
        if (is_without_effect(opts, o))
            continue;
        if (previous[0] && (with_comments || shared_sections(previous, o->name) == 0))
            buf_putc(out, '\n');
        put_sections(previous, o->name, out);
        if (with_comments)
            put_description(o, out);
        put_indent(depth_of(o->name), out);
        buf_printf(out, "%s: ", last_word(o->name));
        if (options_is_string(o))
            put_text(o, options_get_string(opts, o), out);
        else
            options_put_value(opts, o, out);
        buf_putc(out, '\n');
        previous = o->name;
    }
    dump_methods(opts, out);
}

/* ---- the sample ---- */

/* The default as a package has it. The host's name differs everywhere: an example stands for it. */
static void put_package_default(const struct option_row *option, struct buf *out)
{
    static const struct {
        const char *word;
        const char *value;
    } words[] = {{"$RUN", "/run/claudebench"},
                 {"$STATE", "/var/lib/claudebench"},
                 {"$HOST", "host-a"},
                 {"$RULES", "/etc/claudebench/rules.d"}};

    if (!options_is_string(option)) {
        options_put_number(option, option->fallback_num, out);
        return;
    }
    for (const char *at = option->fallback; *at;) {
        size_t skip = 0;
        for (size_t i = 0; i < CB_ARRAY_LEN(words) && !skip; i++) {
            if (strncmp(at, words[i].word, strlen(words[i].word)) == 0) {
                buf_puts(out, words[i].value);
                skip = strlen(words[i].word);
            }
        }
        if (!skip)
            buf_putc(out, *at);
        at += skip ? skip : 1;
    }
}

static bool is_host_name(const struct option_row *option)
{
    return options_is_string(option) && strcmp(option->fallback, "$HOST") == 0;
}

static void put_sample_option(const struct option_row *option, struct buf *out)
{
    size_t depth = depth_of(option->name);
    struct buf value = BUF_INIT;

    put_description(option, out);
    if (is_host_name(option))
        put_comment("Default: the host's name.", depth, out);
    put_package_default(option, &value);
    put_indent(depth, out);
    buf_printf(out, "%s%s: ", depth ? "#" : "", last_word(option->name));
    if (options_is_string(option))
        put_text(option, buf_peek(&value), out);
    else
        buf_puts(out, buf_peek(&value));
    buf_putc(out, '\n');
    buf_done(&value);
}

static void put_sample_methods(struct buf *out)
{
    bool is_inner = false;

    buf_putc(out, '\n');
    put_comment(METHODS_TEXT, 0, out);
    buf_puts(out, "methods:\n  #\"task.create\":\n");
    for (const struct option_row *o = options_method_table; o->name; o++) {
        size_t depth = 2 + depth_of(o->name);
        struct buf text = BUF_INIT;
        if (depth > 2 && !is_inner)
            buf_puts(out, "    #breaker:\n");
        is_inner = depth > 2;
        put_comment(o->text, depth, out);
        put_accepted(o, &text);
        put_comment(buf_peek(&text), depth, out);
        buf_reset(&text);
        put_package_default(o, &text);
        put_indent(depth, out);
        buf_printf(out, "#%s: %s\n", last_word(o->name), text.len ? buf_peek(&text) : "\"\"");
        buf_done(&text);
    }
}

void options_doc_sample(struct buf *out)
{
    const char *previous = "";

    buf_puts(out,
             "# Configuration of ClaudeBench: see claudebench.yaml(5).\n"
             "#\n"
             "# Every option stands here with its default, commented out. Files conf.d/*.yaml "
             "beside this\n"
             "# one are read after it, in sorted order; the later value counts. To check: "
             "claudebenchd -t\n"
             "# A new value counts after a reload (claudebench ctl reload, or SIGHUP), unless it "
             "needs a restart.\n"
             "#\n"
             "# Made from the option table by make update-docs.\n"
             "\n");
    for (const struct option_row *o = options_table; o->name; o++) {
        if (previous[0])
            buf_putc(out, '\n');
        put_sections(previous, o->name, out);
        put_sample_option(o, out);
        previous = o->name;
    }
    put_sample_methods(out);
}

/* ---- the manual ---- */

static void put_mdoc_option(const struct option_row *option, struct buf *out)
{
    struct buf text = BUF_INIT;

    buf_printf(out, ".It Cm %s\n", option->name);
    mdoc_put_text(out, option->text);
    put_accepted(option, &text);
    put_restart(option, &text);
    mdoc_put_text(out, buf_peek(&text));
    buf_reset(&text);
    put_package_default(option, &text);
    if (is_host_name(option))
        buf_puts(out, "Default: the host's name.\n");
    else if (text.len == 0)
        buf_puts(out, "Default: empty.\n");
    else
        buf_printf(out, "Default:\n.Ql %s .\n", buf_peek(&text));
    buf_done(&text);
}

void options_doc_mdoc(struct buf *out)
{
    const char *previous = "";

    for (const struct option_row *o = options_table; o->name; o++) {
        size_t len = strcspn(o->name, ".");
        if (strncmp(previous, o->name, len) != 0 || previous[len] != o->name[len]) {
            if (previous[0])
                buf_puts(out, ".El\n");
            buf_printf(out, ".Ss %.*s\n.Bl -tag -width Ds\n", (int)len, o->name);
        }
        put_mdoc_option(o, out);
        previous = o->name;
    }
    buf_puts(out, ".El\n.Ss methods\n");
    mdoc_put_text(out, METHODS_TEXT);
    buf_puts(out, ".Bl -tag -width Ds\n");
    for (size_t i = 0; i < OPTIONS_OF_METHOD; i++) {
        struct option_row row = options_method_table[i];
        char name[OPTIONS_METHOD_NAME_SIZE];
        snprintf(name, sizeof name, "methods.METHOD.%s", row.name);
        row.name = name;
        put_mdoc_option(&row, out);
    }
    buf_puts(out, ".El\n");
}

/*
 * cmd_config.c: claudebench config: the effective configuration, what differs from the defaults, and where each value comes from.
 * The same code as the daemon's: options_load(), options_dump().
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/session.h"
#include "client/table.h"
#include "common/exitcode.h"
#include "common/nearest.h"

static const struct cli_option config_options[] = {
    {'n', "non-default", NULL, "Only options whose value is not the default."},
    {'o', "origins", NULL, "Show where each value comes from: file, line and column."},
    {'j', "json", NULL, "Print one JSON object: value, default or not, and origin of each option."},
    {0, NULL, NULL, NULL},
};

static int run_config(const struct cli *cli);

const struct cli_verb verb_config = {
    .name = "config",
    .operands = "[OPTION|SECTION]...",
    .min_operands = 0,
    .max_operands = -1,
    .summary = "Show the effective configuration, or the values of single options.",
    .notes =
        "SECTION: all options in it, such as task or redis.sentinel.\n"
        "Without OPTION it prints what claudebenchd -T prints. It reads the files as they are "
        "now: what a running daemon has not loaded yet, `claudebench ctl reload` puts in force.\n"
        "Exit 78: the configuration is wrong.\n",
    .options = config_options,
    .run = run_config,
};

struct listing {
    const struct cli *cli;
    struct table table;
    struct buf json;
    bool has_origins, is_changed_only;
};

static const struct table_column columns[] = {
    {"OPTION", TABLE_LEFT, TABLE_KEEP},
    {"VALUE", TABLE_LEFT, TABLE_FLEX},
    {"ORIGIN", TABLE_LEFT, TABLE_KEEP},
};

/* "task" names all that begin with "task." */
static bool is_in_section(const char *option, const char *section)
{
    size_t len = strlen(section);

    return strncmp(option, section, len) == 0 && option[len] == '.';
}

static bool is_section(const char *name)
{
    for (size_t i = 0; options_table[i].name; i++)
        if (is_in_section(options_table[i].name, name))
            return true;
    return strcmp(name, "methods") == 0;
}

static bool is_asked_for(const struct listing *l, const struct option_state *o)
{
    if (l->is_changed_only && o->is_default)
        return false;
    for (int i = 0; i < l->cli->noperands; i++)
        if (strcmp(l->cli->operands[i], o->row->name) == 0 ||
            is_in_section(o->row->name, l->cli->operands[i]))
            return true;
    return l->cli->noperands == 0;
}

static void put_origin(const struct option_origin *origin, struct buf *out)
{
    if (origin->file)
        buf_printf(out, "%s:%d:%d", origin->file, origin->line, origin->col);
    else
        buf_puts(out, "default");
}

static void put_json_option(struct listing *l, const struct option_state *o)
{
    struct buf origin CB_CLEANUP(buf_done) = BUF_INIT;
    bool is_literal = o->row->type == OPTION_BOOL || o->row->type == OPTION_INT ||
                      o->row->type == OPTION_TIME;

    json_put_key(&l->json, o->row->name);
    buf_puts(&l->json, "{\"value\":");
    if (is_literal)
        buf_puts(&l->json, o->value);
    else
        json_put_cstr(&l->json, o->value);
    json_put_key(&l->json, "default");
    buf_puts(&l->json, o->is_default ? "true" : "false");
    json_put_key(&l->json, "origin");
    put_origin(&o->origin, &origin);
    if (o->origin.file)
        json_put_cstr(&l->json, buf_peek(&origin));
    else
        buf_puts(&l->json, "null");
    buf_puts(&l->json, "}");
}

static void take_option(void *arg, const struct option_state *o)
{
    struct listing *l = arg;
    struct buf origin CB_CLEANUP(buf_done) = BUF_INIT;

    if (!is_asked_for(l, o))
        return;
    put_json_option(l, o);
    table_cell_str(&l->table, o->row->name);
    table_cell_str(&l->table, o->value[0] ? o->value : "\"\"");
    if (l->has_origins) {
        put_origin(&o->origin, &origin);
        table_cell_str(&l->table, buf_peek(&origin));
    }
}

/* One option by its name: the value alone, for scripts. */
static void put_values(const struct listing *l, struct buf *out)
{
    size_t n = l->table.ncolumns;

    for (size_t i = 0; i < l->table.ncells; i += n) {
        const char *value = l->table.cells[i + 1];
        buf_puts(out, strcmp(value, "\"\"") == 0 ? "" : value);
        buf_putc(out, '\n');
    }
}

static const char *option_name_at(size_t i, const void *arg)
{
    (void)arg;
    return options_table[i].name;
}

/* ---- "methods.task.claim.rate_limit" ---- */

static const char method_section[] = "methods.";

static bool is_method_name(const char *name)
{
    return strncmp(name, method_section, strlen(method_section)) == 0;
}

/* What stands behind the method ("rate_limit"; "" when nothing does); NULL when there is no such method. */
static const char *option_of_method(const char *name)
{
    const char *rest = name + strlen(method_section);

    for (size_t m = 0; m <= METHOD_COUNT; m++) {
        const char *method = m < METHOD_COUNT ? methods[m].name : "*";
        size_t len = strlen(method);
        if (strncmp(rest, method, len) == 0 && (!rest[len] || rest[len] == '.'))
            return rest + len + (rest[len] == '.');
    }
    return NULL;
}

static const char *method_option_at(size_t i, const void *arg)
{
    (void)arg;
    return options_method_table[i].name;
}

static int check_method_name(const struct cli *cli, const char *name)
{
    const char *rest = name + strlen(method_section);
    const char *option = option_of_method(name);

    for (size_t m = 0; !option && m < METHOD_COUNT; m++)
        if (is_in_section(methods[m].name, rest)) /* "methods.task" */
            return -1;
    if (!option) {
        const char *near = methods_nearest(rest);
        return cli_wrong_use(cli->verb, "no method \"%s\"%s%s%s", rest,
                             near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    if (!*option)
        return -1;
    for (size_t i = 0; options_method_table[i].name; i++)
        if (strcmp(options_method_table[i].name, option) == 0 ||
            is_in_section(options_method_table[i].name, option))
            return -1;
    const char *near = nearest_name(option, method_option_at, NULL);
    return cli_wrong_use(cli->verb, "no option \"%s\" of a method%s%s%s", option,
                         near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

/* What was not given for a method, but asked for, has a value all the same. */
static void take_options_of_methods(struct listing *l, const struct options *opts,
                                    const struct options *defaults)
{
    for (int i = 0; i < l->cli->noperands; i++) {
        const char *name = l->cli->operands[i];
        bool is_there = false;
        for (size_t k = 0; k < l->table.ncells; k += l->table.ncolumns)
            is_there |= strcmp(l->table.cells[k], name) == 0;
        if (!is_there && is_method_name(name))
            options_of_method(opts, defaults, name, take_option, l);
    }
}

static int check_names(const struct cli *cli)
{
    for (int i = 0; i < cli->noperands; i++) {
        const char *name = cli->operands[i];
        const char *near = nearest_name(name, option_name_at, NULL);
        if (is_method_name(name)) {
            int status = check_method_name(cli, name);
            if (status >= 0)
                return status;
            continue;
        }
        if (options_find(name) || is_section(name))
            continue;
        return cli_wrong_use(cli->verb, "no option \"%s\"%s%s%s", name,
                             near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    return -1;
}

static int list_options(const struct cli *cli, const struct options *opts,
                        const struct options *defaults, struct buf *out)
{
    struct term term = term_detect(STDOUT_FILENO);
    struct listing l = {.cli = cli, .json = BUF_INIT};

    l.has_origins = cli_is_set(cli, "origins");
    l.is_changed_only = cli_is_set(cli, "non-default");
    table_init(&l.table, columns, l.has_origins ? 3 : 2);
    buf_puts(&l.json, "{");
    options_each(opts, defaults, take_option, &l);
    take_options_of_methods(&l, opts, defaults);
    buf_puts(&l.json, "}");
    bool is_nothing = l.table.ncells == 0;
    if (cli_is_set(cli, "json"))
        session_put_json(out, (struct json_span){l.json.data, l.json.len}, term);
    else if (cli->noperands == 1 && !l.has_origins && !is_nothing &&
             strcmp(l.table.cells[0], cli->operands[0]) == 0)
        put_values(&l, out);
    else if (!is_nothing)
        table_put(&l.table, term, out);
    table_done(&l.table);
    buf_done(&l.json);
    if (!is_nothing || cli->noperands == 0)
        return -1;
    cli_say("%s", l.is_changed_only ? "they have their defaults" : "not set for that method");
    return EXITCODE_NOINPUT;
}

static int run_config(const struct cli *cli)
{
    struct session s CB_CLEANUP(session_close) = SESSION_INIT;
    struct buf out CB_CLEANUP(buf_done) = BUF_INIT;
    struct options_source source CB_CLEANUP(options_source_done) = {0};
    struct options *defaults CB_CLEANUP(options_free_ptr) = NULL;
    struct options_errors errors = OPTIONS_ERRORS_INIT;
    struct cb_error err = {0};
    bool is_plain = cli->noperands == 0 && !cli_is_set(cli, "json") &&
                    !cli_is_set(cli, "origins") && !cli_is_set(cli, "non-default");
    int status = check_names(cli);

    if (status >= 0 || (status = session_load(&s, cli)) >= 0)
        return status;
    if (options_find_file(cli_value(cli, "config", NULL), &source, &err) != 0 ||
        options_defaults(source.mode, &defaults, &errors) != 0) {
        options_errors_done(&errors);
        return EXITCODE_CONFIG;
    }
    if (is_plain)
        options_dump(s.opts, &out, true);
    else
        status = list_options(cli, s.opts, defaults, &out);
    int written = cli_write(&out);
    return status >= 0 ? status : written;
}

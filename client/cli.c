/*
 * cli.c: see cli.h. Long options may be cut as far as they stay unique, take their value behind '='
 * or as the next argument, and stand before or behind operands; "--" ends them.
 */
#include "common/compat.h"
#include "client/cli.h"

#include "client/interval.h"
#include "client/term.h"
#include "common/exitcode.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/nearest.h"

#include <poll.h>

/* What every verb takes. */
static const struct cli_option common_options[] = {
    {'c', "config", "FILE", "Read this configuration file."},
    {'h', "help", NULL, "Show this help."},
    {0, NULL, NULL, NULL},
};

/* ---- messages ---- */

static void say_line(const char *prefix, const char *text)
{
    struct buf line = BUF_INIT;

    buf_puts(&line, prefix);
    buf_puts(&line, ": ");
    term_put(&line, text, strlen(text));
    buf_putc(&line, '\n');
    fwrite(line.data, 1, line.len, stderr);
    buf_done(&line);
}

void cli_say(const char *fmt, ...)
{
    va_list ap;
    struct buf text = BUF_INIT;

    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    say_line("claudebench", buf_peek(&text));
    buf_done(&text);
}

int cli_wrong_use(const struct cli_verb *verb, const char *fmt, ...)
{
    struct buf prefix = BUF_INIT, text = BUF_INIT;
    va_list ap;

    buf_printf(&prefix, "claudebench%s%s", verb ? " " : "", verb ? verb->name : "");
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    say_line(buf_peek(&prefix), buf_peek(&text));
    fprintf(stderr, "Try '%s --help'.\n", buf_peek(&prefix));
    buf_done(&prefix);
    buf_done(&text);
    return EXITCODE_USAGE;
}

/*
 * ---- a screen of its own ----
 * It is written over, and only what is left of the old one is erased: a screen that is erased as a whole flickers, and some
 * terminals keep each in what can be scrolled back.
 */

enum { SPARE_ROWS = 2 }; /* for what is said at the end, and for the cursor */

static struct {
    bool is_on, is_begun;
    int width, rows; /* rows that are free; INT_MAX: who knows */
    size_t nleft_out;
} screen;

/* Columns of a line that term_put() has made safe: the only escapes in it are those of our colours. */
static size_t columns_of(const char *line, size_t len)
{
    size_t columns = 0;

    for (size_t i = 0, n; i < len; i += n) {
        const char *esc = memchr(line + i, '\033', len - i);
        const char *end = esc ? memchr(esc, 'm', len - (size_t)(esc - line)) : NULL;
        columns += term_width(line + i, esc ? (size_t)(esc - line) - i : len - i);
        n = end ? (size_t)(end + 1 - line) - i : len - i;
    }
    return columns;
}

static void put_line_on_screen(const char *line, size_t len, struct buf *out)
{
    size_t width = (size_t)screen.width;
    size_t columns = columns_of(line, len);
    size_t rows = columns > width ? (columns + width - 1) / width : 1;

    if (rows > (size_t)screen.rows) {
        screen.nleft_out++;
        len = term_fit(line, len, (size_t)screen.rows * width);
        rows = (size_t)screen.rows;
        columns = rows * width;
    }
    if (rows == 0)
        return;
    buf_append(out, line, len);
    if (columns == 0 || columns % width != 0) /* else the cursor is still on the last character */
        buf_puts(out, "\033[K");
    buf_putc(out, '\n');
    screen.rows -= (int)rows;
}

static void begin_screen(struct buf *out)
{
    if (!screen.is_begun)
        buf_puts(out, "\033[H");
    screen.is_begun = true;
}

static void put_on_screen(const struct buf *in, struct buf *out)
{
    begin_screen(out);
    for (size_t i = 0, len; i < in->len; i += len + 1) {
        const char *end = memchr(in->data + i, '\n', in->len - i);
        len = end ? (size_t)(end - in->data) - i : in->len - i;
        put_line_on_screen(in->data + i, len, out);
    }
}

void cli_screen_begin(struct term term)
{
    screen.is_on = true;
    screen.is_begun = false;
    screen.width = term.width > 0 ? term.width : 80;
    screen.rows = term.height > SPARE_ROWS ? term.height - SPARE_ROWS : INT_MAX;
    screen.nleft_out = 0;
}

int cli_screen_end(void)
{
    struct buf out CB_CLEANUP(buf_done) = BUF_INIT;

    begin_screen(&out);
    screen.is_on = false;
    if (screen.nleft_out > 0)
        buf_printf(&out, "... %zu more lines\033[K\n", screen.nleft_out);
    buf_puts(&out, "\033[J");
    return cli_write(&out);
}

static int write_all(const struct buf *out)
{
    static bool is_told; /* once: some go on until they know what else there is to say */

    errno = 0;
    if ((out->len == 0 || fwrite(out->data, 1, out->len, stdout) == out->len) &&
        fflush(stdout) == 0)
        return EXITCODE_OK;
    if (errno != EPIPE && !is_told) /* a reader that has enough is no surprise */
        cli_say("cannot write%s%s", errno ? ": " : "", errno ? strerror(errno) : "");
    is_told = true;
    return EXITCODE_FAILURE;
}

int cli_write(const struct buf *out)
{
    struct buf shown CB_CLEANUP(buf_done) = BUF_INIT;

    if (!screen.is_on)
        return write_all(out);
    put_on_screen(out, &shown);
    return write_all(&shown);
}

bool cli_reader_is_gone(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO};

    return poll(&out, 1, 0) == 1 && (out.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
}

int cli_flush(int status)
{
    struct buf nothing = BUF_INIT;
    /* What stdio had to write before, and could not, is forgotten by fflush(3). */
    bool was_lost = ferror(stdout) != 0;
    int written = write_all(&nothing);

    return status == EXITCODE_OK && was_lost ? EXITCODE_FAILURE
           : status == EXITCODE_OK           ? written
                                             : status;
}

/* ---- the option table of a verb ---- */

const struct cli_option *cli_option_at(const struct cli_verb *verb, size_t i)
{
    size_t own = 0;

    while (verb->options && verb->options[own].name)
        own++;
    if (i < own)
        return &verb->options[i];
    return i - own < CB_ARRAY_LEN(common_options) - 1 ? &common_options[i - own] : NULL;
}

static const char *option_name_at(size_t i, const void *arg)
{
    const struct cli_option *o = cli_option_at(arg, i);
    return o ? o->name : NULL;
}

static const struct cli_option *option_by_letter(const struct cli_verb *verb, char letter)
{
    const struct cli_option *o;

    for (size_t i = 0; (o = cli_option_at(verb, i)); i++)
        if (o->letter && o->letter == letter)
            return o;
    return NULL;
}

/* By its name or an unambiguous start of it. */
static const struct cli_option *option_by_name(const struct cli_verb *verb, const char *name,
                                               size_t len)
{
    const struct cli_option *o, *found = NULL;
    bool is_ambiguous = false;

    for (size_t i = 0; (o = cli_option_at(verb, i)); i++) {
        if (strncmp(o->name, name, len) != 0)
            continue;
        if (strlen(o->name) == len)
            return o;
        is_ambiguous = found != NULL;
        found = o;
    }
    return is_ambiguous ? NULL : found;
}

/* ---- parsing ---- */

static void add_value(struct cli *cli, const struct cli_option *option, const char *value)
{
    cli->values = mem_realloc(cli->values, (cli->nvalues + 1) * sizeof *cli->values);
    cli->values[cli->nvalues++] = (struct cli_value){option, value};
}

/* The options that the start of a name may stand for. */
static void put_beginning_with(const struct cli_verb *verb, const char *name, struct buf *out)
{
    const struct cli_option *o;

    for (size_t i = 0; (o = cli_option_at(verb, i)); i++)
        if (strncmp(o->name, name, strlen(name)) == 0)
            buf_printf(out, "%s--%s", out->len ? ", " : "", o->name);
}

static int unknown_option(const struct cli_verb *verb, const char *arg, size_t len)
{
    char *name CB_CLEANUP(mem_free_ptr) = mem_strndup(arg, len);
    struct buf several CB_CLEANUP(buf_done) = BUF_INIT;

    if (len > 0)
        put_beginning_with(verb, name, &several);
    if (several.len)
        return cli_wrong_use(verb, "option --%s is ambiguous: %s", name, buf_peek(&several));
    const char *near = nearest_name(name, option_name_at, verb);

    if (near)
        return cli_wrong_use(verb, "unknown option --%s; did you mean --%s?", name, near);
    return cli_wrong_use(verb, "unknown option --%s", name);
}

/* "--name", "--name=value" or "--name" "value". Moves *i; returns -1 or an exit code. */
static int parse_long(struct cli *cli, int argc, char **argv, int *i)
{
    const char *name = argv[*i] + 2;
    const char *equals = strchr(name, '=');
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    const struct cli_option *o = option_by_name(cli->verb, name, len);

    if (!o)
        return unknown_option(cli->verb, name, len);
    if (!o->arg) {
        if (equals)
            return cli_wrong_use(cli->verb, "option --%s takes no value", o->name);
        add_value(cli, o, NULL);
        return -1;
    }
    if (!equals && *i + 1 >= argc)
        return cli_wrong_use(cli->verb, "option --%s needs a value (%s)", o->name, o->arg);
    add_value(cli, o, equals ? equals + 1 : argv[++*i]);
    return -1;
}

/* "-x", "-xy", "-xvalue" or "-x" "value". */
static int parse_letters(struct cli *cli, int argc, char **argv, int *i)
{
    for (const char *p = argv[*i] + 1; *p; p++) {
        const struct cli_option *o = option_by_letter(cli->verb, *p);
        if (!o)
            return cli_wrong_use(cli->verb, "unknown option -%c", *p);
        if (!o->arg) {
            add_value(cli, o, NULL);
            continue;
        }
        if (!p[1] && *i + 1 >= argc)
            return cli_wrong_use(cli->verb, "option -%c needs a value (%s)", *p, o->arg);
        add_value(cli, o, p[1] ? p + 1 : argv[++*i]);
        break;
    }
    return -1;
}

static int check_operands(const struct cli *cli)
{
    const struct cli_verb *verb = cli->verb;

    if (cli->noperands < verb->min_operands)
        return cli_wrong_use(verb, "%s is missing", verb->operands);
    if (verb->max_operands >= 0 && cli->noperands > verb->max_operands)
        return cli_wrong_use(verb, "unexpected argument \"%s\"", cli->operands[verb->max_operands]);
    return -1;
}

static int parse_all(struct cli *cli, int argc, char **argv)
{
    for (int i = 0, status; i < argc; i++) {
        const char *arg = argv[i];
        if (strcmp(arg, "--") == 0) {
            while (++i < argc)
                cli->operands[cli->noperands++] = argv[i];
        } else if (arg[0] == '-' && arg[1] == '-') {
            if ((status = parse_long(cli, argc, argv, &i)) >= 0)
                return status;
        } else if (arg[0] == '-' && arg[1]) {
            if ((status = parse_letters(cli, argc, argv, &i)) >= 0)
                return status;
        } else {
            cli->operands[cli->noperands++] = argv[i];
            while (cli->verb->is_command && ++i < argc)
                cli->operands[cli->noperands++] = argv[i];
        }
    }
    return -1;
}

int cli_parse(struct cli *cli, const struct cli_verb *verb, int argc, char **argv)
{
    *cli = (struct cli){.verb = verb};
    cli->operands = mem_calloc((size_t)argc + 1, sizeof *cli->operands);
    int status = parse_all(cli, argc, argv);
    if (status >= 0)
        return status;
    if (cli_is_set(cli, "help")) {
        struct buf out = BUF_INIT;
        cli_put_help(verb, &out);
        status = cli_write(&out);
        buf_done(&out);
        return status;
    }
    return check_operands(cli);
}

void cli_done(struct cli *cli)
{
    free(cli->values);
    free(cli->operands);
    *cli = (struct cli){0};
}

/* ---- values ---- */

static const struct cli_value *find_value(const struct cli *cli, const char *name)
{
    cb_assert(option_by_name(cli->verb, name, strlen(name)) != NULL);
    for (size_t i = cli->nvalues; i-- > 0;)
        if (strcmp(cli->values[i].option->name, name) == 0)
            return &cli->values[i];
    return NULL;
}

bool cli_is_set(const struct cli *cli, const char *name)
{
    return find_value(cli, name) != NULL;
}

const char *cli_value(const struct cli *cli, const char *name, const char *fallback)
{
    const struct cli_value *v = find_value(cli, name);
    return v && v->value ? v->value : fallback;
}

void cli_put_list(const struct cli *cli, const char *name, struct buf *out)
{
    buf_putc(out, '[');
    for (size_t i = 0; i < cli->nvalues; i++) {
        const char *s = cli->values[i].value;
        if (strcmp(cli->values[i].option->name, name) != 0 || !s)
            continue;
        while (*s) {
            size_t len = strcspn(s, ",");
            if (len) {
                json_put_comma(out);
                json_put_string(out, s, len);
            }
            s += len + (s[len] == ',');
        }
    }
    buf_putc(out, ']');
}

int cli_int(const struct cli *cli, const char *name, int64_t low, int64_t high, int64_t fallback,
            int64_t *ret)
{
    const char *s = cli_value(cli, name, NULL);
    char *end;

    *ret = fallback;
    if (!s)
        return 0;
    errno = 0;
    long long n = strtoll(s, &end, 10);
    if (!errno && end != s && !*end && n >= low && n <= high) {
        *ret = n;
        return 0;
    }
    const struct cli_option *o = option_by_name(cli->verb, name, strlen(name));
    if (low == INT64_MIN &&
        high == INT64_MAX) /* its limits are the method's: the help tells them */
        cli_wrong_use(cli->verb, "--%s: \"%s\" is not an integer; --%s=%s: %s", name, s, name,
                      o->arg, o->text);
    else if (high == INT64_MAX)
        cli_wrong_use(cli->verb, "--%s: \"%s\" is not an integer from %" PRId64 " on", name, s,
                      low);
    else
        cli_wrong_use(cli->verb, "--%s: \"%s\" is not an integer from %" PRId64 " to %" PRId64,
                      name, s, low, high);
    return -1;
}

int cli_time(const struct cli *cli, const char *name, int64_t low, int64_t high, int64_t fallback,
             int64_t *ret_ms)
{
    const char *s = cli_value(cli, name, NULL);
    struct buf range CB_CLEANUP(buf_done) = BUF_INIT;
    int64_t ms = 0;

    *ret_ms = fallback;
    if (!s)
        return 0;
    bool is_time = interval_parse(s, false, &ms) == 0;
    if (is_time && ms >= low && ms <= high) {
        *ret_ms = ms;
        return 0;
    }
    if (is_time) {
        interval_put(&range, low);
        buf_puts(&range, " to ");
        interval_put(&range, high);
        cli_wrong_use(cli->verb, "--%s: %s is out of range (%s)", name, s, buf_peek(&range));
    } else {
        cli_wrong_use(cli->verb, "--%s: \"%s\" is not a time, such as 500ms, 90s, 15m or 6h", name,
                      s);
    }
    return -1;
}

/* ---- help ---- */

enum { HELP_COLUMN = 26, HELP_WIDTH = 80 };

/* The text up to its end or to a line's, from `indent` on, where the line at hand is already, broken at spaces. Returns what is left. */
static const char *put_wrapped(struct buf *out, const char *text, int indent)
{
    size_t column = (size_t)indent;

    while (*text && *text != '\n') {
        size_t len = strcspn(text, " \n");
        if (column + len > HELP_WIDTH && column > (size_t)indent) {
            out->len--; /* the space before the break */
            buf_printf(out, "\n%*s", indent, "");
            column = (size_t)indent;
        }
        buf_append(out, text, len);
        column += len;
        text += len;
        if (*text == ' ') {
            buf_putc(out, ' ');
            column++;
            text++;
        }
    }
    buf_putc(out, '\n');
    return *text ? text + 1 : text;
}

static void put_option(struct buf *out, const struct cli_option *o)
{
    size_t start = out->len;

    if (o->letter)
        buf_printf(out, "  -%c, --%s", o->letter, o->name);
    else
        buf_printf(out, "      --%s", o->name);
    if (o->arg)
        buf_printf(out, "=%s", o->arg);
    size_t column = out->len - start;
    if (column + 2 > HELP_COLUMN) {
        buf_putc(out, '\n');
        column = 0;
    }
    buf_printf(out, "%*s", (int)(HELP_COLUMN - column), "");
    put_wrapped(out, o->text, HELP_COLUMN);
}

static bool has_time(const struct cli_verb *verb)
{
    for (const struct cli_option *o = verb->options; o && o->name; o++)
        if (o->arg && strcmp(o->arg, "TIME") == 0)
            return true;
    return false;
}

void cli_put_help(const struct cli_verb *verb, struct buf *out)
{
    static const char times[] =
        "A length of time is a number with its unit (ms, s, m, h, d), such as 90s; without a unit "
        "it is in seconds.\n";
    const struct cli_option *o;

    buf_printf(out, "Usage: claudebench %s [OPTION]...%s%s\n\n%s\n\nOptions:\n", verb->name,
               verb->operands[0] ? " " : "", verb->operands, verb->summary);
    for (size_t i = 0; (o = cli_option_at(verb, i)); i++)
        put_option(out, o);
    if (has_time(verb)) {
        buf_putc(out, '\n');
        put_wrapped(out, times, 0);
    }
    if (verb->notes)
        buf_putc(out, '\n');
    for (const char *line = verb->notes; line && *line;)
        line = put_wrapped(out, line, 0);
}

static bool is_in_group(const struct cli_verb *verb, const char *group)
{
    size_t len = strlen(group);
    return strncmp(verb->name, group, len) == 0 && verb->name[len] == ' ';
}

bool cli_is_group(const char *word)
{
    for (size_t i = 0; cli_verbs[i]; i++)
        if (is_in_group(cli_verbs[i], word))
            return true;
    return false;
}

void cli_put_usage(struct buf *out, const char *group)
{
    bool is_all = !group;

    group = is_all ? "" : group;
    buf_printf(out,
               "Usage: claudebench [-c FILE] %s%sCOMMAND [OPTION]... [ARGUMENT]...\n\nCommands:\n",
               group, is_all ? "" : " ");
    for (size_t i = 0; cli_verbs[i]; i++) {
        if (!is_all && !is_in_group(cli_verbs[i], group))
            continue;
        size_t start = out->len;
        buf_printf(out, "  %s %s", cli_verbs[i]->name, cli_verbs[i]->operands);
        size_t column = term_width(out->data + start, out->len - start);
        if (column + 2 > HELP_COLUMN) {
            buf_putc(out, '\n');
            column = 0;
        }
        buf_printf(out, "%*s", (int)(HELP_COLUMN - column), "");
        put_wrapped(out, cli_verbs[i]->summary, HELP_COLUMN);
    }
    if (!is_all) {
        buf_printf(out, "\n'claudebench %s COMMAND --help' shows a command's options.\n", group);
        return;
    }
    buf_puts(out, "\nOptions:\n"
                  "  -c, --config=FILE       Read this configuration file.\n"
                  "  -h, --help              Show this help; with a COMMAND, or as\n"
                  "                          'help COMMAND': that command's.\n"
                  "      --version           Show the version; with --verbose libraries, too.\n"
                  "\nManual: claudebench(1), claudebench-work(1), claudebench-hook(1).\n");
}

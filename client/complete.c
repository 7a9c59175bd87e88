/*
 * complete.c: what could come next on a command line, for the shells' completions (completions/). Not a verb for people:
 *
 *   claudebench @complete [WORD]... CURRENT    the words behind `claudebench`, and the one that is being typed, which may be empty
 *
 * prints a candidate a line, with a tab and a description behind it if there is one. Exit 0; COMPLETE_FILES and COMPLETE_COMMANDS: files
 * or commands, too, which the shell knows better. Everything comes from the verbs' own tables. Ids, queues and instances are asked for;
 * after LIVE_MS all of it is given up, so that a key is never dead for long. Nothing is ever said on stderr.
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/hook/hook.h"
#include "client/peek.h"
#include "client/session.h"
#include "common/exitcode.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/methods.h"
#include "common/metrics.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/time.h>

enum { LIVE_MS = 200, COMPLETE_FILES = 3, COMPLETE_COMMANDS = 4 };

enum kind {
    KIND_NONE,
    KIND_WORDS, /* separated by spaces */
    KIND_FILES,
    KIND_COMMANDS,
    KIND_AGENTS,
    KIND_DOMAINS,
    KIND_METHODS,
    KIND_METRICS,
    KIND_OPTIONS,
    KIND_SUBSYSTEMS,
    KIND_TASKS, /* the rest is asked for */
    KIND_QUEUES,
    KIND_INSTANCES,
    KIND_SCHEDULES,
};

/* What an operand or an option's value may be, by the word that help calls it; the first row that fits. */
static const struct {
    const char *verb;   /* NULL: any; else the verb's name begins so */
    const char *option; /* NULL: any, or an operand */
    const char *word;
    enum kind kind;
    const char *words;
} rows[] = {
    {"schedule", NULL, "STATUS", KIND_WORDS, "active paused ended"},
    {"task update", NULL, "STATUS", KIND_WORDS, "pending cancelled"},
    {NULL, NULL, "ORDER", KIND_WORDS, "newest oldest"},
    {NULL, NULL, "STATUS", KIND_WORDS,
     "blocked delayed pending in_progress completed failed cancelled"},
    {"schedule add", "id", "ID", KIND_NONE, NULL},
    {NULL, "session", "ID", KIND_NONE, NULL},
    {"work", "id", "ID", KIND_NONE, NULL},
    {"schedule", NULL, "ID", KIND_SCHEDULES, NULL},
    {NULL, NULL, "ID", KIND_TASKS, NULL},
    {NULL, NULL, "QUEUE", KIND_QUEUES, NULL},
    {NULL, NULL, "INSTANCE", KIND_INSTANCES, NULL},
    {NULL, NULL, "WORKER", KIND_INSTANCES, NULL},
    {NULL, "agent", "NAME", KIND_AGENTS, NULL},
    {"top", "view", "NAME", KIND_WORDS, "workers queues instances methods"},
    {"top", "sort", "COLUMN", KIND_WORDS,
     "DOMAIN STATE METHOD REQ/S REQUESTS AGE QUEUE PENDING RUNNING OLDEST ID HELD BEAT ERRORS"},
    {NULL, "missed", "POLICY", KIND_WORDS, "skip once all"},
    {NULL, "ack", "LEVEL", KIND_WORDS, "memory local-fsync replica:1"},
    {"ctl log-level", NULL, "LEVEL", KIND_WORDS, "error warn info debug default"},
    {"audit", "decision", "WORD", KIND_WORDS, "deny ask allow modify none"},
    {NULL, NULL, "DOMAIN", KIND_DOMAINS, NULL},
    {NULL, NULL, "METHOD", KIND_METHODS, NULL},
    {NULL, NULL, "METRIC", KIND_METRICS, NULL},
    {NULL, NULL, "OPTION", KIND_OPTIONS, NULL},
    {NULL, NULL, "SUBSYSTEM", KIND_SUBSYSTEMS, NULL},
    {NULL, NULL, "COMMAND", KIND_COMMANDS, NULL},
    {NULL, NULL, "verify", KIND_WORDS, "verify"},
    {NULL, NULL, "FILE", KIND_FILES, NULL},
    {NULL, NULL, "FILE.jsonl", KIND_FILES, NULL},
};

struct complete {
    const char *current;
    const char *before; /* of `current`, that stands before each candidate: "--status=" */
    const struct cli_verb *verb;
    char **argv; /* words behind the verb, the one being typed not included */
    int argc;
    const char *config;
    struct buf out;
    int code;
};

/* ---- candidates ---- */

/* Only what is what one sees: with escapes it would be another name. */
static bool is_plain(const char *s, size_t len)
{
    struct buf shown CB_CLEANUP(buf_done) = BUF_INIT;

    term_put(&shown, s, len);
    return len > 0 && shown.len == len && memcmp(buf_peek(&shown), s, len) == 0;
}

static void add(struct complete *c, const char *word, const char *text)
{
    size_t skip = strlen(c->before);
    const char *typed = c->current + skip;

    if (strncmp(word, typed, strlen(typed)) != 0 || !is_plain(word, strlen(word)))
        return;
    buf_append(&c->out, c->current, skip);
    buf_puts(&c->out, word);
    if (text && *text) {
        buf_putc(&c->out, '\t');
        term_put(&c->out, text, strlen(text));
    }
    buf_putc(&c->out, '\n');
}

static void add_words(struct complete *c, const char *words, const char *separators)
{
    for (size_t len; *words; words += len + (words[len] != '\0')) {
        len = strcspn(words, separators);
        char *word CB_CLEANUP(mem_free_ptr) = mem_strndup(words, len);
        add(c, word, NULL);
    }
}

/* ---- what is asked for ---- */

/* Gives up: the process, as it is in the middle of anything. */
static void on_time_over(int sig)
{
    (void)sig;
    _exit(EXITCODE_OK);
}

static void limit_time(void)
{
    const struct itimerval limit = {.it_value = {.tv_usec = LIVE_MS * 1000}};

    signal(SIGALRM, on_time_over);
    setitimer(ITIMER_REAL, &limit, NULL);
}

/* Each element of the list `path` in the method's result: its `name`, and two members as description. */
static void add_live(struct complete *c, const char *method, const char *params, const char *path,
                     const char *name, const char *first, const char *second)
{
    static const struct cli_option options[] = {{'c', "config", "FILE", ""}, {0, NULL, NULL, NULL}};
    static const struct cli_verb none = {.name = "", .operands = "", .options = options};
    struct cli_value value = {&options[0], c->config};
    const struct cli cli = {.verb = &none, .values = &value, .nvalues = c->config ? 1 : 0};
    struct session s CB_CLEANUP(session_close) = SESSION_INIT;
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT, id CB_CLEANUP(buf_done) = BUF_INIT;
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
    struct json_item list, item;
    struct json_iter it;

    limit_time();
    buf_puts(&text, params);
    if (session_open(&s, &cli) >= 0 || session_call(&s, method, &text, NULL, &reply) >= 0 ||
        !peek_find(reply.result, path, &list) || list.type != JSON_ARRAY)
        return;
    json_iter_init(&it, list.value);
    while (json_iter_next(&it, &item)) {
        buf_reset(&text);
        buf_reset(&id);
        peek_put(item.value, name, &id);
        peek_put(item.value, first, &text);
        buf_putc(&text, ' ');
        peek_put(item.value, second, &text);
        add(c, buf_peek(&id), buf_peek(&text));
    }
}

/* ---- a value ---- */

static void add_kind(struct complete *c, enum kind kind, const char *words)
{
    switch (kind) {
    case KIND_NONE:
        break;
    case KIND_WORDS:
        add_words(c, words, " ");
        break;
    case KIND_FILES:
        c->code = COMPLETE_FILES;
        break;
    case KIND_COMMANDS:
        c->code = COMPLETE_COMMANDS;
        break;
    case KIND_AGENTS:
        for (const struct hook_agent *a = hook_agents; a->name; a++)
            add(c, a->name, NULL);
        break;
    case KIND_DOMAINS:
        for (const char *const *d = options_domain_names(); *d; d++)
            add(c, *d, NULL);
        break;
    case KIND_METHODS:
        for (int i = 0; i < METHOD_COUNT; i++)
            add(c, methods[i].name, NULL);
        break;
    case KIND_METRICS:
        for (size_t i = 0; i < METRIC_COUNT; i++)
            add(c, metrics[i].name + strlen(METRICS_PREFIX), metrics[i].help);
        break;
    case KIND_OPTIONS:
        for (const struct option_row *o = options_table; o->name; o++)
            add(c, o->name, o->text);
        break;
    case KIND_SUBSYSTEMS:
        add(c, "all", NULL);
        for (int i = 0; i < LOG_SUBSYSTEMS; i++)
            add(c, log_subsystem_name((enum log_subsystem)i), NULL);
        break;
    case KIND_TASKS:
        add_live(c, "task.list", "{\"limit\":200}", "tasks", "id", "status", "text");
        break;
    case KIND_QUEUES:
        add_live(c, "task.queues", "{\"limit\":100}", "queues", "queue", "pending", "in_progress");
        break;
    case KIND_INSTANCES:
        add_live(c, "system.get_state", "{}", "instances", "id", "kind", "status");
        break;
    case KIND_SCHEDULES:
        add_live(c, "schedule.list", "{\"limit\":100}", "schedules", "id", "status", "text");
        break;
    }
}

/* By what help calls it: "QUEUE", "fail|ignore|block". */
static void add_value(struct complete *c, const char *option, const char *word, size_t len)
{
    const char *bar = memchr(word, '|', len);

    for (size_t i = 0; i < CB_ARRAY_LEN(rows); i++) {
        if (strlen(rows[i].word) == len && memcmp(rows[i].word, word, len) == 0 &&
            (!rows[i].verb || strncmp(c->verb->name, rows[i].verb, strlen(rows[i].verb)) == 0) &&
            (!rows[i].option || (option && strcmp(rows[i].option, option) == 0))) {
            add_kind(c, rows[i].kind, rows[i].words);
            return;
        }
    }
    if (!bar)
        return;
    char *words CB_CLEANUP(mem_free_ptr) = mem_strndup(word, len);
    if (words[0] >= 'a' && words[0] <= 'z')
        add_words(c, words, "|");
    else
        add_value(c, option, word, (size_t)(bar - word)); /* "FILE.jsonl|-" */
}

/* ---- options ---- */

static void add_options(struct complete *c)
{
    const struct cli_option *o;

    for (size_t i = 0; (o = cli_option_at(c->verb, i)); i++) {
        char *word CB_CLEANUP(mem_free_ptr) = mem_printf("--%s%s", o->name, o->arg ? "=" : "");
        add(c, word, o->text);
    }
}

/* The option whose value is being typed, as a word of its own; NULL: none is. */
static const struct cli_option *option_before(const struct complete *c, const char *word)
{
    const struct cli_option *o;

    for (size_t i = 0; (o = cli_option_at(c->verb, i)); i++) {
        if (!o->arg || word[0] != '-')
            continue;
        if (word[1] == '-' ? strcmp(word + 2, o->name) == 0
                           : o->letter && strlen(word) >= 2 && word[strlen(word) - 1] == o->letter)
            return o;
    }
    return NULL;
}

/* "--status=pen": true when it is such a word, whose option is known or not. */
static bool add_value_behind_equals(struct complete *c)
{
    const char *equals = strchr(c->current, '=');
    const struct cli_option *o;

    if (strncmp(c->current, "--", 2) != 0 || !equals)
        return false;
    size_t len = (size_t)(equals - c->current) - 2;
    for (size_t i = 0; (o = cli_option_at(c->verb, i)); i++) {
        if (strlen(o->name) != len || strncmp(o->name, c->current + 2, len) != 0 || !o->arg)
            continue;
        char *before CB_CLEANUP(mem_free_ptr) = mem_strndup(c->current, len + 3);
        c->before = before;
        add_value(c, o->name, o->arg, strlen(o->arg));
        c->before = "";
    }
    return true;
}

/* ---- operands ---- */

/* The name of the i-th operand in "[ID] PERCENT", "ID...", "[FILE|DIR]..."; the last one repeats if it says so. */
static const char *operand_word(const char *spec, int i, size_t *ret_len)
{
    for (;;) {
        size_t len = strcspn(spec, " ");
        bool is_last = !spec[len];
        bool repeats = memmem(spec, len, "...", 3);
        if (i-- == 0 || (is_last && repeats)) {
            spec += strspn(spec, "[");
            *ret_len = strcspn(spec, " ].");
            if (strncmp(spec, "FILE.jsonl", 10) == 0)
                *ret_len = 10;
            return spec;
        }
        if (is_last)
            return NULL;
        spec += len + 1;
    }
}

static void add_operand(struct complete *c, int place)
{
    size_t len = 0;
    const char *word = operand_word(c->verb->operands, place, &len);

    if (c->verb->is_command) /* "-- COMMAND..." */
        add_kind(c, place > 0 ? KIND_FILES : KIND_COMMANDS, NULL);
    else if (word)
        add_value(c, NULL, word, len);
}

static void complete_verb(struct complete *c)
{
    int operands = 0;
    bool is_over = false; /* "--" */
    const struct cli_option *valued = NULL;

    for (int i = 0; i < c->argc; i++) {
        const char *word = c->argv[i];
        if (valued)
            valued = NULL;
        else if (!is_over && strcmp(word, "--") == 0)
            is_over = true;
        else if (!is_over && word[0] == '-' && word[1])
            valued = option_before(c, word);
        else
            operands++;
        if (c->verb->is_command && operands > 0)
            is_over = true;
    }
    if (valued)
        add_value(c, valued->name, valued->arg, strlen(valued->arg));
    else if (!is_over && c->current[0] == '-' && !add_value_behind_equals(c))
        add_options(c);
    else if (is_over || c->current[0] != '-')
        add_operand(c, operands);
}

/* ---- verbs ---- */

/* The verbs' next words: behind `group`, or the first ones. */
static void add_verbs(struct complete *c, const char *group)
{
    size_t skip = group ? strlen(group) + 1 : 0;
    const char *last = "";
    size_t last_len = 0;

    for (size_t i = 0; cli_verbs[i]; i++) {
        const char *name = cli_verbs[i]->name;
        if (group && (strncmp(name, group, skip - 1) != 0 || name[skip - 1] != ' '))
            continue;
        size_t len = strcspn(name + skip, " ");
        bool is_group = name[skip + len] == ' ';
        if (len == last_len && strncmp(name + skip, last, len) == 0)
            continue;
        last = name + skip;
        last_len = len;
        char *word CB_CLEANUP(mem_free_ptr) = mem_strndup(last, len);
        add(c, word, is_group ? NULL : cli_verbs[i]->summary);
    }
}

/* Options before the verb; moves behind them. */
static void skip_globals(struct complete *c)
{
    while (c->argc > 0 && c->argv[0][0] == '-') {
        bool has_value = strcmp(c->argv[0], "-c") == 0 || strcmp(c->argv[0], "--config") == 0;
        if (has_value && c->argc > 1)
            c->config = c->argv[1];
        else if (strncmp(c->argv[0], "--config=", 9) == 0)
            c->config = c->argv[0] + 9;
        int used = has_value && c->argc > 1 ? 2 : 1;
        if (has_value && c->argc == 1)
            c->code = COMPLETE_FILES;
        c->argv += used;
        c->argc -= used;
    }
}

static void complete(struct complete *c)
{
    int words = 0;

    skip_globals(c);
    if (c->code)
        return;
    if (c->argc == 0 && c->current[0] == '-') {
        add_words(c, "--config= --help --version --verbose", " ");
        return;
    }
    if (c->argc == 0) {
        add_verbs(c, NULL);
        return;
    }
    c->verb = cli_find_verb(c->argc, c->argv, &words);
    if (c->argc == 1 && cli_is_group(c->argv[0]) && c->current[0] != '-')
        add_verbs(c, c->argv[0]);
    if (!c->verb)
        return;
    c->argv += words;
    c->argc -= words;
    for (int i = 0; i + 1 < c->argc; i++)
        if (strcmp(c->argv[i], "-c") == 0 || strcmp(c->argv[i], "--config") == 0)
            c->config = c->argv[i + 1];
    complete_verb(c);
}

int complete_main(int argc, char **argv)
{
    struct complete c = {.current = argc > 0 ? argv[argc - 1] : "",
                         .before = "",
                         .argv = argv,
                         .argc = argc > 0 ? argc - 1 : 0,
                         .out = BUF_INIT};
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    if (null >= 0)
        dup2(null, STDERR_FILENO);
    complete(&c);
    int written = cli_write(&c.out);
    buf_done(&c.out);
    return c.code ? c.code : written;
}

/*
 * cmd_hook_check.c: claudebench hook check: would the agent's hook stop a call? See client/hook/settings.h.
 *
 * What stands in the settings is looked at, and then run as the agent would run it, with a call that is always refused.
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/hook/settings.h"
#include "common/clock.h"
#include "common/exitcode.h"
#include "common/mem.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { RUN_MS = 10000, OUT_MAX = 1 << 20, ARGS_MAX = 16 };

static const struct cli_option check_options[] = {
    {'a', "agent", "NAME", "Of claude (the default), codex, gemini, cursor or copilot."},
    {'p', "project", NULL, "Only the settings of the project in this folder."},
    {'u', "user", NULL, "Only your own settings."},
    {0, NULL, NULL, NULL},
};

static int run_check(const struct cli *cli);

const struct cli_verb verb_hook_check = {
    .name = "hook check",
    .operands = "",
    .summary = "See whether an agent's hook would stop a call.",
    .notes = "Runs the installed lines with a call that is always refused. Exit 1 when something "
             "is wrong.\n",
    .options = check_options,
    .run = run_check,
};

struct check {
    const struct settings_place *place;
    const struct hook_agent *agent;
    const char *path;
    const char *config;
    size_t nours;   /* handlers of ours in this file */
    size_t nothers; /* of others, in events that we are in */
    size_t nfailed;
    bool is_tried; /* the same line is run once */
};

static void say(struct check *c, bool is_good, const char *fmt, ...) CB_PRINTF(3, 4);
static void say(struct check *c, bool is_good, const char *fmt, ...)
{
    va_list ap;

    printf("%-7s ", is_good ? "ok" : "WRONG");
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    c->nfailed += !is_good;
}

/* ---- running a line ---- */

struct outcome {
    int status; /* of wait */
    bool is_late;
    struct buf out, err;
    int64_t ms;
};

static void feed(int fd, const struct buf *text)
{
    size_t at = 0;

    while (at < text->len) {
        ssize_t n = write(fd, text->data + at, text->len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    close(fd);
}

static void drain(int out, int err, struct outcome *o)
{
    struct pollfd fds[] = {{.fd = out, .events = POLLIN}, {.fd = err, .events = POLLIN}};
    struct buf *bufs[] = {&o->out, &o->err};
    int64_t until = clock_mono_ms() + RUN_MS;

    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
        int64_t left = until - clock_mono_ms();
        int ready = left > 0 ? poll(fds, 2, (int)left) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0) {
            o->is_late = true;
            return;
        }
        for (int i = 0; i < 2; i++) {
            if (!fds[i].revents)
                continue;
            ssize_t n = read(fds[i].fd, buf_reserve(bufs[i], 4096), 4096);
            if (n > 0)
                bufs[i]->len += (size_t)n;
            if (n <= 0 || bufs[i]->len > OUT_MAX)
                fds[i].fd = -1;
        }
    }
}

static CB_NORETURN void become(char *const *argv, const int in[2], const int out[2],
                               const int err[2])
{
    signal(SIGPIPE, SIG_DFL);
    if (dup2(in[0], STDIN_FILENO) < 0 || dup2(out[1], STDOUT_FILENO) < 0 ||
        dup2(err[1], STDERR_FILENO) < 0)
        _exit(126);
    execv(argv[0], argv);
    _exit(127);
}

static int run_line(char *const *argv, const struct buf *event, struct outcome *ret)
{
    int in[2], out[2], err[2];
    int64_t start = clock_mono_ms();

    *ret = (struct outcome){.status = -1};
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0)
        return -1; /* the program ends soon after */
    pid_t pid = fork();
    if (pid == 0)
        become(argv, in, out, err);
    close(in[0]);
    close(out[1]);
    close(err[1]);
    if (pid > 0) {
        feed(in[1], event);
        drain(out[0], err[0], ret);
        if (ret->is_late)
            kill(pid, SIGKILL);
        while (waitpid(pid, &ret->status, 0) < 0 && errno == EINTR)
            continue;
    } else {
        close(in[1]);
    }
    close(out[0]);
    close(err[0]);
    ret->ms = clock_mono_ms() - start;
    return pid > 0 ? 0 : -1;
}

/* ---- a call that is refused ---- */

static void put_first(struct buf *out, const char *names, const char *text)
{
    char *name CB_CLEANUP(mem_free_ptr) = mem_strndup(names, strcspn(names, "|"));
    json_put_text(out, name, text);
}

static void put_call(const struct check *c, const char *event, struct buf *out)
{
    buf_putc(out, '{');
    put_first(out, "hook_event_name", event);
    put_first(out, c->agent->session, "claudebench-hook-check");
    put_first(out, c->agent->tool, HOOK_CHECK_TOOL);
    char *input CB_CLEANUP(mem_free_ptr) = mem_strndup(c->agent->input,
                                                       strcspn(c->agent->input, "|"));
    json_put_key(out, input);
    buf_puts(out, "{}");
    put_first(out, "cwd", "/");
    buf_puts(out, "}\n");
}

static void try_line(struct check *c, const char *event, char *const *argv)
{
    struct buf call CB_CLEANUP(buf_done) = BUF_INIT;
    struct outcome o;

    put_call(c, event, &call);
    if (run_line(argv, &call, &o) != 0) {
        say(c, false, "it cannot be started: %s", strerror(errno));
    } else if (o.is_late) {
        say(c, false, "a call that is to be refused was not, within %d s", RUN_MS / 1000);
    } else if (!WIFEXITED(o.status) || WEXITSTATUS(o.status) != HOOK_EXIT_BLOCK) {
        say(c, false,
            "a call that is to be refused ended with %s %d: the agent would let it through",
            WIFEXITED(o.status) ? "exit" : "signal",
            WIFEXITED(o.status) ? WEXITSTATUS(o.status) : WTERMSIG(o.status));
    } else if (json_check(buf_peek(&o.out), o.out.len, NULL, NULL, NULL) != 0 || o.err.len == 0) {
        say(c, false, "a refusal without a reason");
    } else {
        bool is_alone = strstr(buf_peek(&o.err), "without the daemon") != NULL;
        say(c, true, "a call was refused, in %" PRId64 " ms", o.ms);
        if (is_alone)
            printf("note    %.*s\n", (int)strcspn(buf_peek(&o.err), "\n"), buf_peek(&o.err));
    }
    buf_done(&o.out);
    buf_done(&o.err);
}

/* ---- one handler ---- */

static bool text_member(struct json_span object, const char *name, struct buf *out)
{
    struct json_item item;

    if (!json_find(object, name, &item) || item.type != JSON_STRING)
        return false;
    json_decode_string(item.value, out);
    return true;
}

/* The words that the agent would run. Returns false after a complaint. */
static bool words_of(struct check *c, struct json_span handler, struct arena *arena, char **argv)
{
    struct buf command CB_CLEANUP(buf_done) = BUF_INIT;
    struct json_item args, item;
    struct json_iter it;
    size_t n = 0;

    if (!text_member(handler, "command", &command) && !text_member(handler, "bash", &command))
        return false;
    if (!json_find(handler, "args", &args) || args.type != JSON_ARRAY) {
        static char sh[] = "/bin/sh", dash_c[] = "-c";
        argv[n++] = sh;
        argv[n++] = dash_c;
        argv[n++] = arena_strndup(arena, command.data, command.len);
        argv[n] = NULL;
        if (strcmp(c->place->agent, hook_agents[0].name) == 0)
            say(c, false, "the line has no args: it goes through a shell");
        return true;
    }
    argv[n++] = arena_strndup(arena, command.data, command.len);
    json_iter_init(&it, args.value);
    while (json_iter_next(&it, &item) && n < ARGS_MAX - 1) {
        struct buf word CB_CLEANUP(buf_done) = BUF_INIT;
        if (item.type == JSON_STRING)
            json_decode_string(item.value, &word);
        argv[n++] = arena_strndup(arena, buf_peek(&word), word.len);
    }
    argv[n] = NULL;
    if (argv[0][0] != '/')
        say(c, false, "%s is not an absolute path", argv[0]);
    else if (access(argv[0], X_OK) != 0)
        say(c, false, "%s cannot be run: %s; the agent would let every call through", argv[0],
            strerror(errno));
    return argv[0][0] == '/';
}

static void check_handler(void *arg, const char *event, struct json_span handler, bool is_ours)
{
    struct check *c = arg;
    struct arena arena = ARENA_INIT;
    char *argv[ARGS_MAX];
    struct json_item item;
    bool is_claude = strcmp(c->place->agent, hook_agents[0].name) == 0;
    const struct settings_event *e = c->place->events;

    while (e->name && strcmp(e->name, event) != 0)
        e++;
    c->nothers += !is_ours && e->name;
    if (!is_ours)
        return;
    c->nours++;
    if (is_claude && e->name && e->blocks &&
        (!json_find(handler, "onFailure", &item) || !json_string_equals(item.value, "block")))
        say(c, false,
            "%s: without \"onFailure\": \"block\" a hook that fails lets the call through", event);
    if (json_find(handler, "async", &item) && item.value.len == 4)
        say(c, false, "%s: an async hook decides nothing", event);
    if (e->name && e->blocks && !c->is_tried && words_of(c, handler, &arena, argv)) {
        c->is_tried = true;
        try_line(c, event, argv);
    }
    arena_done(&arena);
}

/* ---- a file ---- */

static void count_ours(void *arg, const char *event, struct json_span handler, bool is_ours)
{
    (void)event;
    (void)handler;
    *(size_t *)arg += is_ours;
}

static void check_text(struct check *c, struct json_span root)
{
    struct json_item item;

    for (const struct settings_event *e = c->place->events; e->name; e++) {
        size_t n = 0;
        settings_each(c->place, root, e->name, count_ours, &n);
        if (n == 1)
            say(c, true, "%s is installed", e->name);
        else
            say(c, false, n ? "%s has %zu lines of ours" : "%s is not installed", e->name, n);
        struct buf matcher CB_CLEANUP(buf_done) = BUF_INIT;
        if (e->blocks && settings_find_narrow(c->place, root, e->name, &matcher))
            printf(
                "note    %s: only tools that match %s are asked about; no other call is checked\n",
                e->name, buf_peek(&matcher));
    }
    settings_each(c->place, root, NULL, check_handler, c);
    if (c->nothers)
        printf("note    %zu other hooks in the same events: the strictest decision counts\n",
               c->nothers);
    if (json_find(root, "disableAllHooks", &item) && item.value.len == 4)
        say(c, false, "\"disableAllHooks\": true: no hook is run at all");
}

/* Returns whether there is a line of ours in this file. */
static bool check_file(struct check *c, bool is_project)
{
    struct settings_file file;
    struct cb_error err = {0};
    struct json_span root;
    size_t n = 0;

    c->nours = c->nothers = 0;
    c->is_tried = false;
    if (access(c->path, F_OK) != 0 && errno == ENOENT)
        return false;
    if (settings_open(c->path, is_project, false, &file, &err) != 0) {
        say(c, false, "%s", err.text);
        return true;
    }
    size_t bom = file.text.len >= 3 && memcmp(file.text.data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    if (settings_check(buf_peek(&file.text) + bom, file.text.len - bom, &err) != 0) {
        say(c, false, "%s:%s", c->path, err.text);
    } else {
        json_check(file.text.data + bom, file.text.len - bom, &root, NULL, NULL);
        settings_each(c->place, root, NULL, count_ours, &n);
        if (n) {
            printf("%s\n", c->path);
            check_text(c, root);
        }
    }
    settings_close(&file);
    return n > 0;
}

/* ---- the agent itself ---- */

/* onFailure came with 2.1.295: an older one ignores it. */
static bool is_old(const char *version)
{
    static const long needed[] = {2, 1, 295};
    const char *at = version;

    for (size_t i = 0; i < CB_ARRAY_LEN(needed); i++) {
        char *end;
        long n = strtol(at, &end, 10);
        if (end == at || n != needed[i])
            return end != at && n < needed[i];
        at = end + (*end == '.');
    }
    return false;
}

static void check_version(struct check *c)
{
    static char sh[] = "/bin/sh", dash_c[] = "-c", line[] = "claude --version";
    char *argv[] = {sh, dash_c, line, NULL};
    struct buf nothing = BUF_INIT;
    struct outcome o;

    if (strcmp(c->place->agent, hook_agents[0].name) != 0 || run_line(argv, &nothing, &o) != 0)
        return;
    if (!WIFEXITED(o.status) || WEXITSTATUS(o.status) != 0)
        printf("note    claude is not in PATH: its version is not known (2.1.295 or later is "
               "wanted)\n");
    else
        say(c, !is_old(buf_peek(&o.out)), "claude %.*s%s", (int)strcspn(buf_peek(&o.out), " \n"),
            buf_peek(&o.out),
            is_old(buf_peek(&o.out)) ? " ignores onFailure (2.1.295 is needed)" : "");
    buf_done(&o.out);
    buf_done(&o.err);
}

static void check_policy(struct check *c)
{
    struct hook_policy policy = {0};
    struct cb_error err = {0};

    if (hook_policy_load(c->config, &policy, &err) != 0) {
        say(c, false, "%s", err.text);
    } else {
        int64_t waiting = hook_spool_count(&policy);
        printf("note    rules: %s%s\n", policy.opts->hooks.rules_dir,
               policy.is_system ? ", the system's policy" : "");
        if (waiting > 0)
            printf("note    %" PRId64
                   " decisions were made without the daemon, which does not know of them yet\n",
                   waiting);
    }
    hook_policy_done(&policy);
}

static int run_check(const struct cli *cli)
{
    const char *name = cli_value(cli, "agent", hook_agents[0].name);
    struct check c = {.place = settings_place_find(name),
                      .agent = hook_agent_find(name),
                      .config = cli_value(cli, "config", NULL)};
    const char *home = getenv("HOME"), *config_dir = getenv("CLAUDE_CONFIG_DIR");
    char *cwd CB_CLEANUP(mem_free_ptr) = getcwd(NULL, 0);
    bool all = cli_is_set(cli, "project") == cli_is_set(cli, "user");
    bool is_found = false;

    if (!c.place || !c.agent)
        return cli_wrong_use(
            cli->verb, "--agent: \"%s\" is none of claude, codex, gemini, cursor, copilot", name);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (home && (all || cli_is_set(cli, "user"))) {
        char *path CB_CLEANUP(mem_free_ptr) = config_dir && config_dir[0] == '/' &&
                                                      strcmp(name, hook_agents[0].name) == 0
                                                  ? mem_printf("%s/settings.json", config_dir)
                                                  : mem_printf("%s/%s", home, c.place->user_file);
        c.path = path;
        is_found |= check_file(&c, false);
    }
    if (cwd && (all || cli_is_set(cli, "project"))) {
        char *path CB_CLEANUP(mem_free_ptr) = mem_printf("%s/%s", cwd, c.place->project_file);
        c.path = path;
        /* In the home folder they are one file. */
        if (!all || !home || strcmp(cwd, home) != 0 ||
            strcmp(c.place->user_file, c.place->project_file) != 0)
            is_found |= check_file(&c, true);
    }
    if (!is_found)
        say(&c, false, "no settings of %s have a line of claudebench: 'claudebench hook install'",
            name);
    check_policy(&c);
    if (is_found)
        check_version(&c);
    return c.nfailed ? EXITCODE_FAILURE : EXITCODE_OK;
}

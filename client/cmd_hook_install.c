/*
 * cmd_hook_install.c: claudebench hook install, hook uninstall: our lines in an agent's settings. See client/hook/settings.h.
 *
 * Nothing is installed that would refuse every call: configuration and rules are looked at first.
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/hook/settings.h"
#include "common/exitcode.h"
#include "common/mem.h"

static const struct cli_option install_options[] = {
    {'a', "agent", "NAME", "For claude (the default), codex, gemini, cursor or copilot."},
    {'p', "project", NULL, "In the settings of the project in this folder."},
    {'u', "user", NULL, "In your own settings, for all projects (the default)."},
    {0, NULL, NULL, NULL},
};

static int run_install(const struct cli *cli);
static int run_uninstall(const struct cli *cli);

const struct cli_verb verb_hook_install = {
    .name = "hook install",
    .operands = "",
    .summary = "Have an agent ask before it uses a tool.",
    .notes =
        "Puts lines for 'claudebench hook' into the agent's settings; all else stays as it is.\n"
        "Doing it again changes nothing. With -c the hook uses that configuration.\n",
    .options = install_options,
    .run = run_install,
};

const struct cli_verb verb_hook_uninstall = {
    .name = "hook uninstall",
    .operands = "",
    .summary = "Take those lines out again.",
    .notes = "If nothing else was changed since, the file is byte by byte what it was.\n",
    .options = install_options,
    .run = run_uninstall,
};

/* ---- what, and where ---- */

struct job {
    const struct settings_place *place;
    bool is_project;
    char *path;
    struct settings_file file;
    size_t bom; /* bytes of a byte order mark: not JSON, and not ours to drop */
};

static int choose(const struct cli *cli, struct job *job)
{
    const char *agent = cli_value(cli, "agent", hook_agents[0].name);
    const char *home = getenv("HOME");
    char *cwd CB_CLEANUP(mem_free_ptr) = getcwd(NULL, 0);

    job->place = settings_place_find(agent);
    if (!job->place)
        return cli_wrong_use(
            cli->verb, "--agent: \"%s\" is none of claude, codex, gemini, cursor, copilot", agent);
    if (cli_is_set(cli, "project") && cli_is_set(cli, "user"))
        return cli_wrong_use(cli->verb, "--project and --user are one or the other");
    job->is_project = cli_is_set(cli, "project");
    if (job->is_project ? !cwd : !home || home[0] != '/') {
        cli_say("%s", job->is_project ? "this folder has no name" : "HOME is not set");
        return EXITCODE_NOINPUT;
    }
    const char *config_dir = getenv("CLAUDE_CONFIG_DIR");
    if (!job->is_project && strcmp(agent, "claude") == 0 && config_dir && config_dir[0] == '/')
        job->path = mem_printf("%s/settings.json", config_dir);
    else
        job->path = mem_printf("%s/%s", job->is_project ? cwd : home,
                               job->is_project ? job->place->project_file : job->place->user_file);
    return -1;
}

static bool is_blank(const struct buf *text)
{
    return strspn(buf_peek(text), " \t\r\n") == text->len;
}

/* Opens the file and looks at what is in it. An empty one is one without settings. */
static int open_file(struct job *job)
{
    struct cb_error err = {0};

    if (settings_open(job->path, job->is_project, true, &job->file, &err) != 0) {
        cli_say("%s", err.text);
        return err.code == EACCES || err.code == EPERM || err.code == EROFS ? EXITCODE_NOPERM
                                                                            : EXITCODE_NOINPUT;
    }
    struct buf *text = &job->file.text;
    job->bom = text->len >= 3 && memcmp(text->data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    if (!is_blank(text) && settings_check(text->data + job->bom, text->len - job->bom, &err) != 0) {
        cli_say("%s:%s; nothing was changed", job->file.path, err.text);
        return EXITCODE_DATAERR;
    }
    return -1;
}

static void close_job(struct job *job)
{
    if (job->file.path)
        settings_close(&job->file);
    free(job->path);
}

/* The text to work on: what stands behind the mark, or an empty object. */
static void body(const struct job *job, const struct buf *text, struct buf *out)
{
    if (is_blank(text))
        buf_puts(out, "{}\n");
    else
        buf_append(out, text->data + job->bom, text->len - job->bom);
}

static void strip(const struct job *job, const struct buf *text, struct buf *out)
{
    struct buf whole CB_CLEANUP(buf_done) = BUF_INIT;

    body(job, text, &whole);
    settings_strip(job->place, whole.data, whole.len, out);
}

/* ---- install ---- */

/* The program by its own path: PATH and links may change. */
static char *own_path(struct cb_error *err)
{
    char *path = realpath("/proc/self/exe", NULL);

    if (!path)
        cb_error_set(err, errno, "cannot find out where this program is: %s", strerror(errno));
    return path;
}

/* Nothing is worse than a gate that refuses everything and nobody knows why. */
static int try_policy(const char *config)
{
    struct hook_policy policy = {0};
    struct options_errors errors = OPTIONS_ERRORS_INIT;
    struct cb_error err = {0};
    struct rules *rules = NULL;

    if (hook_policy_load(config, &policy, &err) != 0) {
        cli_say("%s; nothing was changed", err.text);
        hook_policy_done(&policy);
        return EXITCODE_CONFIG;
    }
    struct rules_load_options options = {.dir = policy.opts->hooks.rules_dir, .is_for_one = true};
    int status = rules_load(&options, &rules, &errors);
    if (status != 0) {
        struct buf text = BUF_INIT;
        options_errors_put(&errors, &text);
        fwrite(buf_peek(&text), 1, text.len, stderr);
        cli_say("the rules cannot be used; nothing was changed");
        buf_done(&text);
    }
    rules_free(status == 0 ? rules : NULL);
    options_errors_done(&errors);
    hook_policy_done(&policy);
    return status == 0 ? -1 : EXITCODE_CONFIG;
}

static int write_lines(struct job *job, const char *const *argv)
{
    struct buf base CB_CLEANUP(buf_done) = BUF_INIT, made CB_CLEANUP(buf_done) = BUF_INIT;
    struct buf was CB_CLEANUP(buf_done) = BUF_INIT;
    struct cb_error err = {0};
    int status = 0;

    body(job, &job->file.text, &was);
    strip(job, &job->file.text, &base);
    if (job->bom)
        buf_puts(&made, "\xef\xbb\xbf");
    settings_add(job->place, base.data, base.len, argv, &made);
    bool had_lines = base.len != was.len;
    if (settings_has_all(job->place, was.data, was.len, argv)) {
        printf("%s has these lines already\n", job->file.path);
        return EXITCODE_OK;
    }
    if (job->file.exists && !had_lines)
        status = settings_keep_backup(&job->file, &err);
    if (status == 0)
        status = settings_write(&job->file, made.data, made.len, &err);
    if (status != 0) {
        cli_say("%s; nothing was changed", err.text);
        return err.code == EAGAIN ? EXITCODE_TEMPFAIL : EXITCODE_NOPERM;
    }
    printf("%s: %s now asks claudebench before it uses a tool\n", job->file.path,
           job->place->agent);
    if (job->place->hint)
        printf("%s\n", job->place->hint);
    return EXITCODE_OK;
}

static int run_install(const struct cli *cli)
{
    struct job job = {.file = {.dir_fd = -1}};
    struct cb_error err = {0};
    const char *argv[8] = {NULL};
    const char *config = cli_value(cli, "config", NULL);
    char *real_config CB_CLEANUP(mem_free_ptr) = config ? realpath(config, NULL) : NULL;
    char *program CB_CLEANUP(mem_free_ptr) = own_path(&err);
    size_t n = 0;

    int status = choose(cli, &job);
    if (status < 0 && !program) {
        cli_say("%s", err.text);
        status = EXITCODE_SOFTWARE;
    }
    if (status < 0)
        status = try_policy(config);
    if (status < 0)
        status = open_file(&job);
    argv[n++] = program;
    argv[n++] = "hook";
    if (strcmp(job.place ? job.place->agent : "", hook_agents[0].name) != 0) {
        argv[n++] = "--agent";
        argv[n++] = job.place ? job.place->agent : NULL;
    }
    if (real_config) {
        argv[n++] = "--config";
        argv[n++] = real_config;
    }
    if (status < 0)
        status = write_lines(&job, argv);
    close_job(&job);
    return status;
}

/* ---- uninstall ---- */

/* What was there before, byte by byte, if nothing but our lines has been changed since. */
static bool was_before(const struct job *job, const struct buf *now, struct buf *ret)
{
    static const char *const argv[] = {"/claudebench", "hook", NULL};
    struct buf with CB_CLEANUP(buf_done) = BUF_INIT, without CB_CLEANUP(buf_done) = BUF_INIT;
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;

    body(job, ret, &text);
    if (settings_check(text.data, text.len, NULL) != 0)
        return false;
    settings_add(job->place, text.data, text.len, argv, &with);
    settings_strip(job->place, with.data, with.len, &without);
    return settings_same(without.data, without.len, now->data, now->len);
}

static int take_lines(struct job *job)
{
    struct buf base CB_CLEANUP(buf_done) = BUF_INIT, was CB_CLEANUP(buf_done) = BUF_INIT;
    struct buf before CB_CLEANUP(buf_done) = BUF_INIT, made CB_CLEANUP(buf_done) = BUF_INIT;
    struct cb_error err = {0};
    int status;

    body(job, &job->file.text, &was);
    strip(job, &job->file.text, &base);
    if (!job->file.exists || base.len == was.len) {
        printf("%s has no line of claudebench\n", job->file.path);
        return EXITCODE_OK;
    }
    bool has_backup = settings_read_backup(&job->file, &before);
    if (was_before(job, &base, &before)) {
        /* Without a copy there was no file. */
        status = has_backup ? settings_write(&job->file, buf_peek(&before), before.len, &err)
                            : settings_remove(&job->file, &err);
    } else {
        if (job->bom)
            buf_puts(&made, "\xef\xbb\xbf");
        buf_append(&made, base.data, base.len);
        status = settings_write(&job->file, made.data, made.len, &err);
    }
    if (status != 0) {
        cli_say("%s; nothing was changed", err.text);
        return err.code == EAGAIN ? EXITCODE_TEMPFAIL : EXITCODE_NOPERM;
    }
    if (has_backup)
        settings_drop_backup(&job->file);
    printf("%s: %s no longer asks claudebench\n", job->file.path, job->place->agent);
    return EXITCODE_OK;
}

static int run_uninstall(const struct cli *cli)
{
    struct job job = {.file = {.dir_fd = -1}};
    int status = choose(cli, &job);

    if (status < 0 && job.path && access(job.path, F_OK) != 0 && errno == ENOENT) {
        printf("%s has no line of claudebench\n", job.path);
        status = EXITCODE_OK;
    }
    if (status < 0)
        status = open_file(&job);
    if (status < 0)
        status = take_lines(&job);
    close_job(&job);
    return status;
}

/*
 * preflight.c: see preflight.h. One function for each thing that main.c and supervisor_init() open, in their order.
 */
#include "common/compat.h"
#include "supervisor/preflight.h"

#include "common/connect.h"
#include "common/exitcode.h"
#include "common/lockfile.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/rules/rules.h"
#include "supervisor/config.h"
#include "supervisor/redis_dir.h"
#include "supervisor/redis_process.h"
#include "supervisor/secret.h"
#include "supervisor/setup.h"

#include <sys/stat.h>

struct preflight {
    const struct options *opts;
    const struct config *config;
    struct options_errors *errs;
    int code;
};

/* ---- what was found ---- */

/* Where the option was set; nowhere when the command line, or we, have set it, or when it is none of them (NULL). */
static struct option_origin origin(const struct preflight *p, const char *option)
{
    struct option_origin nowhere = {0};

    if (!option)
        return nowhere;
    bool is_own = (p->config->pidfile && strcmp(option, "supervisor.pidfile") == 0) ||
                  (p->config->is_own_log && strcmp(option, "log.destination") == 0);

    return is_own ? nowhere : options_origin(p->opts, options_find(option));
}

/* `option` NULL: none of them. */
static void fail(struct preflight *p, const char *option, int code, const char *text)
{
    struct option_origin at = origin(p, option);

    options_errors_add(p->errs, at.file, at.line, at.col, option ? option : "", "%s", text);
    p->code = p->code ? p->code : code;
}

static void warn(struct preflight *p, const char *option, const char *text)
{
    struct option_origin at = origin(p, option);

    options_errors_add(p->errs, at.file, at.line, at.col, "warning", "%s: %s", option, text);
}

/* ---- folders and files ---- */

static bool look_at_dir(struct preflight *p, const char *option, const char *path)
{
    struct cb_error err = {0};

    if (paths_check_dir(path, &err) == 0)
        return true;
    fail(p, option, EXITCODE_CONFIG, err.text);
    return false;
}

static bool look_at_dir_of(struct preflight *p, const char *option, const char *path)
{
    char *dir CB_CLEANUP(mem_free_ptr) = paths_dirname(path);

    return look_at_dir(p, option, dir);
}

static void look_at_lock(struct preflight *p, const char *option, const char *path)
{
    struct cb_error err = {0};

    if (lockfile_check(path, &err) < 0)
        fail(p, option, EXITCODE_CONFIG, err.text);
}

/* ---- what a start opens ---- */

static void look_at_log(struct preflight *p)
{
    const char *to = p->opts->log.destination;
    struct cb_error err = {0};

    if (p->config->is_syslog_absent)
        options_errors_add(p->errs, NULL, 0, 0, "warning",
                           "log.destination: there is no syslog: the log would be %s", to);
    if (to[0] != '/')
        return;
    if (p->config->is_own_log) /* its folder is made */
        look_at_dir_of(p, "log.destination", to);
    else if (paths_check_file(to, &err) < 0)
        fail(p, "log.destination", EXITCODE_CONFIG, err.text);
}

static void look_at_pidfile(struct preflight *p)
{
    const char *path = p->opts->supervisor.pidfile;

    if (look_at_dir_of(p, "supervisor.pidfile", path))
        look_at_lock(p, "supervisor.pidfile", path);
}

static void look_at_state(struct preflight *p)
{
    const char *dir = p->opts->supervisor.state_dir;
    char *lock CB_CLEANUP(mem_free_ptr) = mem_printf("%s/claudebenchd.lock", dir);
    char *secret CB_CLEANUP(mem_free_ptr) = mem_printf("%s/instance.secret", dir);
    struct cb_error err = {0};

    if (!look_at_dir(p, "supervisor.state_dir", dir))
        return;
    look_at_lock(p, "supervisor.state_dir", lock);
    if (secret_check(secret, &err) < 0)
        fail(p, "supervisor.state_dir", EXITCODE_CONFIG, err.text);
}

static void look_at_control(struct preflight *p)
{
    const char *path = p->opts->supervisor.control_socket;
    char *lock CB_CLEANUP(mem_free_ptr) = mem_printf("%s.lock", path);
    struct stat st;

    if (!look_at_dir_of(p, "supervisor.control_socket", path))
        return;
    look_at_lock(p, "supervisor.control_socket", lock);
    if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
        char *text CB_CLEANUP(mem_free_ptr) = mem_printf("%s: is there already, and is no socket",
                                                         path);
        fail(p, "supervisor.control_socket", EXITCODE_CONFIG, text);
    }
}

static void look_at_worker(struct preflight *p)
{
    char *path CB_CLEANUP(mem_free_ptr) = NULL;
    struct cb_error err = {0};

    if (setup_worker_path(&path, &err) < 0)
        fail(p, NULL, err.code, err.text);
}

static void look_at_embedded_redis(struct preflight *p)
{
    char *path CB_CLEANUP(mem_free_ptr) = NULL;
    struct cb_error err = {0};

    if (redis_process_find(&path, &err) < 0)
        fail(p, "redis.embedded", err.code, err.text);
    if (redis_dir_check(p->opts, &err) < 0)
        fail(p, "redis.dir", err.code, err.text);
}

/* The password files. */
static void look_at_external_redis(struct preflight *p)
{
    struct redis_target target = {0};
    struct cb_error err = {0};

    if (connect_target(p->opts, CONNECT_DAEMON, &target, &err) < 0)
        fail(p, NULL, err.code, err.text);
    else
        redis_target_done(&target);
}

/* ---- what a daemon can do without, for a while ---- */

/* Hook workers answer what hooks.on_error says until the rules can be read. */
static void look_at_rules(struct preflight *p)
{
    struct rules_load_options options = {.dir = p->opts->hooks.rules_dir};
    struct options_errors found = OPTIONS_ERRORS_INIT;
    struct rules *rules = NULL;

    if (p->opts->domains.hook.workers == 0)
        return;
    if (rules_load(&options, &rules, &found) == 0)
        rules_free(rules);
    for (size_t i = 0; i < found.len; i++) {
        const struct options_error *e = &found.items[i];
        /* A folder that cannot be read is the option's mistake, and stands where that was set. */
        if (e->file && strcmp(e->file, p->opts->hooks.rules_dir) == 0) {
            char *text CB_CLEANUP(mem_free_ptr) = mem_printf("%s: %s", e->file, e->text);
            warn(p, "hooks.rules_dir", text);
        } else if (e->file) {
            options_errors_add(p->errs, e->file, e->line, e->col, "warning", "%s%s%s", e->option,
                               e->option[0] ? ": " : "", e->text);
        } else {
            warn(p, "hooks.rules_dir", e->text);
        }
    }
    options_errors_done(&found);
}

static void look_at_kept_file(struct preflight *p, const char *option, const char *path)
{
    char *dir CB_CLEANUP(mem_free_ptr) = paths_dirname(path);
    bool is_in_state = strcmp(dir, p->opts->supervisor.state_dir) == 0;
    struct cb_error err = {0};

    /* The folder of state is made before. */
    if (path[0] && !(is_in_state && access(dir, F_OK) < 0) && paths_check_file(path, &err) < 0)
        warn(p, option, err.text);
}

int preflight(const struct options *opts, const struct config *config, struct options_errors *errs)
{
    struct preflight p = {.opts = opts, .config = config, .errs = errs};

    look_at_log(&p);
    look_at_pidfile(&p);
    look_at_state(&p);
    look_at_control(&p);
    look_at_worker(&p);
    if (opts->redis.embedded)
        look_at_embedded_redis(&p);
    else
        look_at_external_redis(&p);
    look_at_rules(&p);
    look_at_kept_file(&p, "audit.file", opts->audit.file);
    look_at_kept_file(&p, "metrics.textfile", opts->metrics.textfile);
    return p.code;
}

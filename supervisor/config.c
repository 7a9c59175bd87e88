/*
 * config.c: see config.h.
 */
#include "common/compat.h"
#include "supervisor/config.h"

#include "common/log.h"
#include "common/mem.h"
#include "supervisor/daemonize.h"

/* The background works in "/". */
static char *make_absolute(const char *path)
{
    char *cwd CB_CLEANUP(mem_free_ptr) = path[0] == '/' ? NULL : getcwd(NULL, 0);
    return cwd ? mem_printf("%s/%s", cwd, path) : mem_strdup(path);
}

void config_init(struct config *c, const struct args *args)
{
    *c = (struct config){.args = args};
    if (args->pidfile)
        c->pidfile = make_absolute(args->pidfile);
}

void config_done(struct config *c)
{
    options_source_done(&c->source);
    free(c->pidfile);
    c->pidfile = NULL;
}

static int find(struct config *c, struct cb_error *err)
{
    CB_CLEANUP(paths_done) struct paths paths = {0};

    if (c->source.file)
        return 0;
    if (options_find_file(c->args->config, &c->source, err) < 0 ||
        paths_init(&paths, c->source.mode, err) < 0)
        return -1;
    c->is_system = paths.is_system;
    return 0;
}

/* The background has no stderr. Without a syslog, as in most containers, the log is a file of the state folder. Asked for anew at each
 * reload: a syslog may come up after us. */
static const char *own_log(const struct config *c, struct options *opts)
{
    if (c->args->is_daemon && !c->is_syslog_absent && log_has_syslog())
        return "syslog";
    return c->args->is_daemon
               ? arena_printf(&opts->strings, "%s/claudebenchd.log", opts->supervisor.state_dir)
               : "stderr";
}

static void apply_args(struct config *c, struct options *opts)
{
    c->is_syslog_absent = strcmp(opts->log.destination, "syslog") == 0 && !log_has_syslog();
    c->is_own_log = c->is_syslog_absent ||
                    (c->args->is_daemon && strcmp(opts->log.destination, "stderr") == 0);
    if (c->args->is_verbose)
        opts->log.level = LOG_LEVEL_DEBUG;
    if (c->is_own_log)
        opts->log.destination = own_log(c, opts);
    if (c->pidfile)
        opts->supervisor.pidfile = arena_printf(&opts->strings, "%s", c->pidfile);
}

int config_load(struct config *c, struct options **ret, struct options_errors *errs)
{
    struct cb_error err = {0};
    struct options *opts = NULL;

    if (find(c, &err) < 0) {
        options_errors_add(errs, NULL, 0, 0, "", "%s", err.text);
        return -1;
    }
    if (options_load(&c->source, &opts, errs) < 0)
        return -1;
    apply_args(c, opts);
    *ret = opts;
    return 0;
}

void config_log_destination(const struct config *c, const struct options *opts)
{
    if (c->is_syslog_absent)
        log_event(EV_syslog_absent, LOG_S("destination", opts->log.destination));
}

const char *config_name(const struct config *c)
{
    return c->source.file ? c->source.file : "built-in defaults";
}

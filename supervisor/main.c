/*
 * main.c: claudebenchd from the command line to the loop and back.
 */
#include "common/compat.h"

#include "common/exitcode.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/options.h"
#include "common/sdnotify.h"
#include "supervisor/args.h"
#include "supervisor/daemonize.h"
#include "supervisor/pidfile.h"
#include "supervisor/setup.h"
#include "supervisor/supervisor.h"

#include <fcntl.h>
#include <sys/stat.h>

static int complain(const struct cb_error *err)
{
    fprintf(stderr, "claudebenchd: %s\n", err->text);
    return err->code;
}

/* 0, 1 and 2 must be open: what is opened first would become one of them. */
static void secure_stdio(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR | O_NOCTTY);
    while (fd >= 0 && fd < 3);
    if (fd >= 0)
        close(fd);
}

/* *ret_file: where the configuration came from, NULL for the defaults; the caller frees. */
static int load(const struct args *args, struct options **ret, bool *ret_is_system, char **ret_file)
{
    CB_CLEANUP(options_source_done) struct options_source source = {0};
    struct options_errors errs = OPTIONS_ERRORS_INIT;
    CB_CLEANUP(paths_done) struct paths paths = {0};
    struct cb_error err = {0};

    if (options_find_file(args->config, &source, &err) < 0 ||
        paths_init(&paths, source.mode, &err) < 0)
        return complain(&err);
    *ret_is_system = paths.is_system;
    *ret_file = source.file ? mem_strdup(source.file) : NULL;
    if (options_load(&source, ret, &errs) == 0)
        return EXITCODE_OK;
    CB_CLEANUP(buf_done) struct buf text = BUF_INIT;
    options_errors_put(&errs, &text);
    fputs(buf_peek(&text), stderr);
    options_errors_done(&errs);
    return EXITCODE_CONFIG;
}

/* The background has no stderr. Without a syslog, as in most containers, the log is a file of the state folder. */
static const char *background_log(struct options *opts)
{
    return log_has_syslog()
               ? "syslog"
               : arena_printf(&opts->strings, "%s/claudebenchd.log", opts->supervisor.state_dir);
}

/* The background works in "/". */
static const char *absolute_path(struct options *opts, const char *path)
{
    char *cwd CB_CLEANUP(mem_free_ptr) = path[0] == '/' ? NULL : getcwd(NULL, 0);
    return cwd ? arena_printf(&opts->strings, "%s/%s", cwd, path) : path;
}

/* Before the options are in use by anybody. Returns whether it chose where the log goes. */
static bool apply_args(const struct args *args, struct options *opts)
{
    bool needs_log = args->is_daemon && strcmp(opts->log.destination, "stderr") == 0;

    if (args->is_verbose)
        opts->log.level = LOG_LEVEL_DEBUG;
    if (needs_log)
        opts->log.destination = background_log(opts);
    if (args->pidfile)
        opts->supervisor.pidfile = absolute_path(opts, args->pidfile);
    return needs_log;
}

/* Where the log is, when nobody would look for it there. */
static void announce_log(const struct options *opts, bool is_own_choice)
{
    if (strcmp(opts->log.destination, "syslog") == 0 && !log_has_syslog())
        fprintf(stderr, "claudebenchd: nobody listens on /dev/log: the log is lost\n");
    else if (is_own_choice && opts->log.destination[0] == '/')
        fprintf(stderr, "claudebenchd: there is no syslog: the log is %s\n", opts->log.destination);
}

static int open_log(const struct options *opts, bool is_system, bool is_own_choice)
{
    struct log_settings settings = {.level = (enum log_level)opts->log.level,
                                    .format = (enum log_format)opts->log.format,
                                    .destination = opts->log.destination};
    struct cb_error err = {0};

    log_ident("claudebenchd", NULL);
    if ((!is_own_choice || opts->log.destination[0] != '/' ||
         setup_dir_of(opts->log.destination, is_system, &err) == 0) &&
        log_open(&settings, &err) == 0)
        return EXITCODE_OK;
    err.code = EXITCODE_CONFIG;
    cb_error_prefix(&err, "log.destination");
    return complain(&err);
}

/* On the terminal, and in the log when that is somewhere else. */
static int refuse(const struct options *opts, enum log_event event, const struct cb_error *err)
{
    if (strcmp(opts->log.destination, "stderr") != 0)
        log_event(event, LOG_S("error", err->text), LOG_I("code", err->code));
    return complain(err);
}

static int run(const struct options *opts, bool is_system)
{
    struct pidfile pidfile = PIDFILE_INIT;
    struct supervisor s;
    struct cb_error err = {0};
    int code;

    if (setup_dir_of(opts->supervisor.pidfile, is_system, &err) < 0)
        return refuse(opts, EV_daemon_failed, &err);
    if (pidfile_open(&pidfile, opts->supervisor.pidfile, &err) < 0)
        return refuse(opts, err.code == EXITCODE_TEMPFAIL ? EV_already_running : EV_daemon_failed,
                      &err);
    sdnotify_init();
    if (supervisor_init(&s, opts, is_system, &err) == 0)
        code = supervisor_run(&s);
    else
        code = refuse(opts, EV_daemon_failed, &err);
    supervisor_done(&s);
    sdnotify_done();
    pidfile_close(&pidfile);
    return code;
}

static int start(const struct args *args, const struct options *opts, const char *file,
                 bool is_system, bool is_own_log)
{
    umask(0077);
    if (args->is_daemon)
        daemonize_start();
    int code = open_log(opts, is_system, is_own_log);
    if (code == EXITCODE_OK) {
        announce_log(opts, is_own_log);
        log_event(EV_config_loaded, LOG_S("file", file ? file : "built-in defaults"));
        code = run(opts, is_system);
    }
    log_close();
    return code;
}

static int dump(const struct options *opts)
{
    CB_CLEANUP(buf_done) struct buf text = BUF_INIT;

    options_dump(opts, &text, true);
    fputs(buf_peek(&text), stdout);
    return fflush(stdout) == 0 ? EXITCODE_OK : EXITCODE_FAILURE;
}

int main(int argc, char **argv)
{
    CB_CLEANUP(options_free_ptr) struct options *opts = NULL;
    CB_CLEANUP(mem_free_ptr) char *file = NULL;
    struct args args;
    bool is_system = false;

    secure_stdio();
    int code = args_parse(argc, argv, &args);
    if (code < 0)
        code = load(&args, &opts, &is_system, &file);
    else
        return code;
    if (code != EXITCODE_OK)
        return code;
    cb_assert(opts);
    bool is_own_log = apply_args(&args, opts);
    switch (args.mode) {
    case ARGS_TEST:
        printf("claudebenchd: the configuration is good\n");
        return EXITCODE_OK;
    case ARGS_DUMP:
        return dump(opts);
    default:
        return start(&args, opts, file, is_system, is_own_log);
    }
}

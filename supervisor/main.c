/*
 * main.c: claudebenchd from the command line to the loop and back.
 */
#include "common/compat.h"

#include "common/exitcode.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/options.h"
#include "common/sdnotify.h"
#include "common/standard_fds.h"
#include "supervisor/args.h"
#include "supervisor/config.h"
#include "supervisor/daemonize.h"
#include "supervisor/inherit.h"
#include "supervisor/pidfile.h"
#include "supervisor/preflight.h"
#include "supervisor/setup.h"
#include "supervisor/supervisor.h"

#include <event2/event.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int complain(const struct cb_error *err)
{
    fprintf(stderr, "claudebenchd: %s\n", err->text);
    return err->code;
}

/* Those in files begin with the file, where an editor finds them; the others with who says it. */
static void print_errors(const struct options_errors *errs)
{
    for (size_t i = 0; i < errs->len; i++) {
        CB_CLEANUP(buf_done) struct buf text = BUF_INIT;
        options_error_put(&errs->items[i], &text);
        fprintf(stderr, "%s%s\n", errs->items[i].file ? "" : "claudebenchd: ", buf_peek(&text));
    }
    if (errs->total > errs->len)
        fprintf(stderr, "claudebenchd: and %zu more errors\n", errs->total - errs->len);
}

static int load(struct config *config, struct options **ret)
{
    struct options_errors errs = OPTIONS_ERRORS_INIT;

    if (config_load(config, ret, &errs) == 0)
        return EXITCODE_OK;
    print_errors(&errs);
    options_errors_done(&errs);
    return EXITCODE_CONFIG;
}

/* Where the log is, when nobody would look for it there. */
static void announce_log(const struct options *opts, const struct config *config)
{
    if (config->is_own_log && strcmp(opts->log.destination, "syslog") != 0)
        fprintf(stderr, "claudebenchd: there is no syslog: the log is %s\n", opts->log.destination);
    config_log_destination(config, opts);
}

static int open_log(const struct options *opts, const struct config *config)
{
    struct log_settings settings = {.level = (enum log_level)opts->log.level,
                                    .format = (enum log_format)opts->log.format,
                                    .destination = opts->log.destination};
    struct cb_error err = {0};

    log_ident("claudebenchd", NULL);
    if ((!config->is_own_log || opts->log.destination[0] != '/' ||
         setup_dir_of(opts->log.destination, config->is_system, &err) == 0) &&
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

/* Locked by us; after an upgrade in place it is already. */
static int open_pidfile(struct pidfile *pidfile, const struct options *opts,
                        const struct config *config, struct inherit *in, struct cb_error *err)
{
    int fd = inherit_take_fd(in, "pidfile");

    if (fd >= 0) {
        pidfile_inherit(pidfile, opts->supervisor.pidfile, fd);
        return 0;
    }
    if (setup_dir_of(opts->supervisor.pidfile, config->is_system, err) < 0)
        return -1;
    return pidfile_open(pidfile, opts->supervisor.pidfile, err);
}

static int run(struct options *opts, struct config *config, struct inherit *in)
{
    struct pidfile pidfile = PIDFILE_INIT;
    struct supervisor s;
    struct cb_error err = {0};
    int code;

    if (open_pidfile(&pidfile, opts, config, in, &err) < 0)
        return refuse(opts, err.code == EXITCODE_TEMPFAIL ? EV_already_running : EV_daemon_failed,
                      &err);
    sdnotify_init();
    if (supervisor_init(&s, opts, config, &pidfile, in, &err) == 0)
        code = supervisor_run(&s);
    else
        code = refuse(opts, EV_daemon_failed, &err);
    supervisor_done(&s);
    sdnotify_done();
    pidfile_close(&pidfile);
    return code;
}

/* An option that needs a restart keeps its value over an upgrade: locks, sockets and Redis stay. */
static int keep_options(struct options *opts, const struct inherit *in)
{
    CB_CLEANUP(options_free_ptr) struct options *in_force = inherit_options(in);
    struct options_errors errs = OPTIONS_ERRORS_INIT;

    if (!in_force || options_prepare_reload(opts, in_force, NULL, NULL, &errs) == 0)
        return EXITCODE_OK;
    options_errors_done(&errs);
    return refuse(opts, EV_daemon_failed,
                  &(struct cb_error){.code = EXITCODE_CONFIG,
                                     .text = "the configuration does not fit the one in force"});
}

/* The file was good when the earlier program asked whether we can take over, and is not any more: nobody stops for that. */
static int load_inherited(const struct inherit *in, struct options **ret)
{
    *ret = inherit_options(in);
    return *ret ? EXITCODE_OK : EXITCODE_CONFIG;
}

static void log_config(const struct config *config, bool is_refused)
{
    if (is_refused)
        log_event(
            EV_config_refused,
            LOG_S("problem", "changed during the upgrade; claudebenchd -t says what is wrong"),
            LOG_I("problems", 1));
    else
        log_event(EV_config_loaded, LOG_S("file", config_name(config)));
}

static int start(struct options *opts, struct config *config, struct inherit *in, bool is_refused)
{
    umask(0077);
    if (in && inherit_int(in, "background", 0))
        daemonize_resume();
    else if (config->args->is_daemon)
        daemonize_start();
    int code = open_log(opts, config);
    if (code == EXITCODE_OK)
        code = keep_options(opts, in);
    if (code == EXITCODE_OK) {
        announce_log(opts, config);
        log_config(config, is_refused);
        if (in)
            log_event(EV_upgraded, LOG_S("from", inherit_string(in, "version", "?")),
                      LOG_S("to", PACKAGE_VERSION));
        code = run(opts, config, in);
    }
    log_close();
    return code;
}

/* Writes what stdout has kept: returns `code`, or EXITCODE_FAILURE in the place of EXITCODE_OK when it was not taken. */
static int flush_stdout(int code)
{
    /* What printf had to write before, and could not, fflush does not tell again. */
    bool is_lost = ferror(stdout) != 0;

    if (fflush(stdout) == 0 && !is_lost)
        return code;
    if (errno != EPIPE) /* a reader that has enough is no surprise */
        fprintf(stderr, "claudebenchd: cannot write: %s\n", strerror(errno));
    return code == EXITCODE_OK ? EXITCODE_FAILURE : code;
}

/* -t: also whether an upgrade in place is possible, when a running daemon asks that. */
static int test(const struct options *opts, const struct config *config)
{
    struct options_errors errs = OPTIONS_ERRORS_INIT;
    struct cb_error err = {0};

    if (inherit_check(&err) < 0)
        return complain(&err);
    int code = preflight(opts, config, &errs);
    print_errors(&errs);
    if (code == EXITCODE_OK)
        printf("claudebenchd: the configuration is good%s\n", errs.len ? ", with warnings" : "");
    options_errors_done(&errs);
    return flush_stdout(code);
}

static int dump(const struct options *opts)
{
    CB_CLEANUP(buf_done) struct buf text = BUF_INIT;

    options_dump(opts, &text, true);
    errno = 0;
    fputs(buf_peek(&text), stdout);
    return flush_stdout(EXITCODE_OK);
}

int main(int argc, char **argv)
{
    CB_CLEANUP(options_free_ptr) struct options *opts = NULL;
    CB_CLEANUP(config_done) struct config config = {0};
    struct inherit *in = NULL;
    struct cb_error err = {0};
    struct args args;

    standard_fds_open_silent();
    event_set_mem_functions(mem_malloc, mem_realloc, free);
    if (inherit_open(&in, &err) < 0)
        return complain(&err);
    int code = args_parse(argc, argv, &args);
    if (code >= 0)
        return flush_stdout(code);
    config_init(&config, &args);
    code = load(&config, &opts);
    bool is_refused = code != EXITCODE_OK && in;
    if (is_refused)
        code = load_inherited(in, &opts);
    if (code != EXITCODE_OK)
        return code;
    cb_assert(opts);
    switch (args.mode) {
    case ARGS_TEST:
        return test(opts, &config);
    case ARGS_DUMP:
        return dump(opts);
    default:
        code = start(opts, &config, in, is_refused);
        inherit_free(in);
        return code;
    }
}

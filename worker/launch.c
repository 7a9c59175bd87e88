/*
 * launch.c: see launch.h.
 */
#include "common/compat.h"
#include "worker/launch.h"

#include "common/exitcode.h"
#include "common/log.h"
#include "common/mem.h"

#include <fcntl.h>
#include <getopt.h>

int launch_parse(struct launch *l, int argc, char **argv)
{
    int opt;

    *l = (struct launch){.slot = UINT_MAX};
    while ((opt = getopt(argc, argv, "d:s:g:i:c")) != -1) {
        if (opt == 'd')
            l->domain = optarg;
        else if (opt == 's')
            l->slot = (unsigned)strtoul(optarg, NULL, 10);
        else if (opt == 'g')
            l->generation = strtoull(optarg, NULL, 10);
        else if (opt == 'i')
            l->instance = optarg;
        else if (opt == 'c')
            l->is_careful = true;
        else
            return -1;
    }
    return l->domain && l->instance && l->slot < SCOREBOARD_SLOTS && optind == argc &&
                   fcntl(FRAME_FD, F_GETFD) >= 0
               ? 0
               : -1;
}

/* The supervisor's memfd; read by offset, since its position is shared with our siblings. */
static int read_options(struct options **ret, struct cb_error *err)
{
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
    struct options_errors errors = OPTIONS_ERRORS_INIT;
    ssize_t n;

    while ((n = pread(OPTIONS_FD, buf_reserve(&text, 4096), 4096, (off_t)text.len)) > 0)
        text.len += (size_t)n;
    close(OPTIONS_FD);
    if (n < 0)
        return cb_error_set(err, EXITCODE_CONFIG, "cannot read the configuration: %s",
                            strerror(errno));
    int status = options_load_text(buf_peek(&text), text.len, "supervisor", ret, &errors);
    if (status != 0)
        cb_error_set(err, EXITCODE_CONFIG, "the supervisor's configuration is refused: %s",
                     errors.len ? errors.items[0].text : "?");
    options_errors_done(&errors);
    return status;
}

int launch_begin(struct launch *l, const char *program)
{
    struct cb_error err = {0};

    l->consumer = mem_printf("%s/%s/%u.%" PRIu64, l->instance, l->domain, l->slot, l->generation);
    log_ident(program, strchr(l->consumer, '/') + 1);
    if (read_options(&l->opts, &err) != 0 ||
        supervised_init(&l->sup, l->slot, l->generation, &err) != 0) {
        log_event(EV_worker_failed, LOG_S("reason", err.text));
        launch_done(l);
        return EXITCODE_CONFIG;
    }
    struct log_settings settings = {.level = (enum log_level)l->opts->log.level,
                                    .format = (enum log_format)l->opts->log.format,
                                    .destination = l->opts->log.destination};
    if (log_open(&settings, &err) != 0)
        log_event(EV_worker_failed, LOG_S("reason", err.text), LOG_S("next", "log to stderr"));
    log_event(EV_worker_started, LOG_S("version", PACKAGE_VERSION));
    return -1;
}

void launch_done(struct launch *l)
{
    scoreboard_detach(l->sup.board);
    free(l->consumer);
    options_free(l->opts);
}

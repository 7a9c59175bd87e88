/*
 * main.c: claudebench-worker. Started by the supervisor only (claudebench-worker(8)): fd 3 is the control
 * socket, fd 4 the configuration, fd 5 the scoreboard. Exits 0 after a drain, 78 when a restart would not
 * help, 70 otherwise.
 */
#include "common/compat.h"

#include "common/exitcode.h"
#include "common/log.h"
#include "common/mem.h"
#include "worker/consume.h"
#include "worker/policy.h"
#include "worker/registry.h"

#include <fcntl.h>
#include <getopt.h>
#include <sys/stat.h>

struct arguments {
    const char *domain;
    const char *instance;
    unsigned slot;
    uint64_t generation;
};

static int parse_arguments(int argc, char **argv, struct arguments *ret)
{
    int opt;

    *ret = (struct arguments){.slot = UINT_MAX};
    while ((opt = getopt(argc, argv, "d:s:g:i:V")) != -1) {
        if (opt == 'd')
            ret->domain = optarg;
        else if (opt == 's')
            ret->slot = (unsigned)strtoul(optarg, NULL, 10);
        else if (opt == 'g')
            ret->generation = strtoull(optarg, NULL, 10);
        else if (opt == 'i')
            ret->instance = optarg;
        else
            return -1;
    }
    return ret->domain && ret->instance && ret->slot < SCOREBOARD_SLOTS && optind == argc ? 0 : -1;
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

static void name_rows(struct scoreboard_slot *slot)
{
    _Static_assert((int)METHOD_COUNT <= (int)SCOREBOARD_METHODS,
                   "the scoreboard holds all methods");
    for (int i = 0; i < METHOD_COUNT; i++)
        snprintf(slot->methods[i].name, sizeof slot->methods[i].name, "%s", methods[i].name);
    _Static_assert((int)SCRIPT_COUNT <= (int)SCOREBOARD_SCRIPTS, "and all scripts");
    for (int i = 0; i < SCRIPT_COUNT; i++)
        snprintf(slot->scripts[i].name, sizeof slot->scripts[i].name, "%s",
                 scripts_name((enum script_id)i));
}

/* Connect, say READY, wait for GO, work, say BYE. Returns the exit code. */
static int serve(struct supervised *sup, const struct options *opts, const struct arguments *args,
                 const char *consumer)
{
    struct handler_context ctx = {
        .opts = opts, .prefix = opts->redis.prefix, .domain = args->domain, .board = sup->board};
    struct cb_error err = {0};
    struct session session;
    int status = -1;

    if (session_init(&session, opts, sup, args->domain, consumer, &err) != 0) {
        log_event(EV_worker_failed, LOG_S("reason", err.text));
        return EXITCODE_SOFTWARE; /* the supervisor could read it: it may be readable again */
    }
    if (strcmp(args->domain, "hook") == 0) {
        ctx.policy = policy_new(opts, sup->slot, &session.link);
        policy_look(ctx.policy,
                    false); /* before READY, so that the first call does not wait for it */
    }
    if (session_restore(&session, &err) == 0 && supervised_ready(sup, session.link_id, &err) == 0) {
        log_event(EV_worker_ready, LOG_I("redis_id", session.link_id));
        while (!sup->may_go && !sup->is_draining)
            supervised_wait(sup, REDIS_LINK_IDLE_MS);
        status = sup->may_go ? consume_run(&session, &ctx, &err) : 0;
    }
    log_event(EV_worker_stopping, LOG_I("requests", atomic_load(&sup->slot->requests)));
    int code = status == 0 || sup->is_draining ? EXITCODE_OK : EXITCODE_SOFTWARE;
    if (code != EXITCODE_OK) {
        log_event(EV_worker_failed, LOG_S("reason", err.text));
        if (err.code == SESSION_UNSUITABLE)
            code = EXITCODE_CONFIG;
    }
    policy_free(ctx.policy);
    session_done(&session);
    supervised_bye(sup, code == EXITCODE_OK       ? BYE_DRAINED
                        : code == EXITCODE_CONFIG ? BYE_CONFIG
                                                  : BYE_FAILED);
    return code;
}

int main(int argc, char **argv)
{
    struct arguments args;
    struct supervised sup;
    struct options *opts CB_CLEANUP(options_free_ptr) = NULL;
    struct cb_error err = {0};

    if (argc == 2 && strcmp(argv[1], "-V") == 0) {
        printf("claudebench-worker %s\n", PACKAGE_VERSION);
        return EXITCODE_OK;
    }
    if (parse_arguments(argc, argv, &args) != 0 || fcntl(FRAME_FD, F_GETFD) < 0) {
        fprintf(stderr, "claudebench-worker is started by claudebenchd, not by hand; see "
                        "claudebench-worker(8).\n");
        return EXITCODE_USAGE;
    }
    registry_check();
    char *consumer = mem_printf("%s/%s/%u.%" PRIu64, args.instance, args.domain, args.slot,
                                args.generation);
    log_ident("claudebench-worker", strchr(consumer, '/') + 1);
    if (read_options(&opts, &err) != 0 ||
        supervised_init(&sup, args.slot, args.generation, &err) != 0) {
        log_event(EV_worker_failed, LOG_S("reason", err.text));
        free(consumer);
        return EXITCODE_CONFIG;
    }
    struct log_settings settings = {.level = (enum log_level)opts->log.level,
                                    .format = (enum log_format)opts->log.format,
                                    .destination = opts->log.destination};
    if (log_open(&settings, &err) != 0)
        log_event(EV_worker_failed, LOG_S("reason", err.text), LOG_S("next", "log to stderr"));
    log_event(EV_worker_started, LOG_S("version", PACKAGE_VERSION));
    name_rows(sup.slot);
    int code = serve(&sup, opts, &args, consumer);
    scoreboard_detach(sup.board);
    free(consumer);
    return code;
}

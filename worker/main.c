/*
 * main.c: claudebench-worker. Started by the supervisor only (claudebench-worker(8)): fd 3 is the control
 * socket, fd 4 the configuration, fd 5 the scoreboard. Exits 0 after a drain, 78 when a restart would not
 * help, 70 otherwise.
 */
#include "common/compat.h"

#include "common/exitcode.h"
#include "common/log.h"
#include "common/spawn.h"
#include "worker/consume.h"
#include "worker/launch.h"
#include "worker/policy.h"
#include "worker/registry.h"

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
static int serve(struct launch *l)
{
    struct supervised *sup = &l->sup;
    const struct options *opts = l->opts;
    struct handler_context ctx = {
        .opts = opts, .prefix = opts->redis.prefix, .domain = l->domain, .board = sup->board};
    struct cb_error err = {0};
    struct session session;
    int status = -1;

    if (session_init(&session, opts, sup, l->domain, l->consumer, &err) != 0) {
        log_event(EV_worker_failed, LOG_S("reason", err.text));
        return EXITCODE_SOFTWARE; /* the supervisor could read it: it may be readable again */
    }
    if (strcmp(l->domain, "hook") == 0) {
        ctx.policy = policy_new(opts, sup->slot, &session.link);
        policy_look(ctx.policy,
                    false); /* before READY, so that the first call does not wait for it */
    }
    if (session_restore(&session, &err) == 0 && supervised_ready(sup, session.link_id, &err) == 0) {
        log_event(EV_worker_ready, LOG_I("redis_id", session.link_id));
        while (!sup->may_go && !sup->is_draining)
            supervised_wait(sup, REDIS_LINK_IDLE_MS);
        status = sup->may_go ? consume_run(&session, &ctx, l->is_careful, &err) : 0;
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

/* The archive's worker has libpq, which no other is to load: it is a program of its own, beside this one. Returns the exit code when it cannot be
 * executed: a restart would not help. */
static int become_archive(char **argv)
{
    char dir[PATH_MAX] = ".", path[PATH_MAX + 32];

    spawn_own_dir(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/claudebench-archive", dir);
    execv(path, argv);
    log_event(EV_worker_failed, LOG_S("program", path), LOG_S("reason", strerror(errno)));
    return EXITCODE_CONFIG;
}

int main(int argc, char **argv)
{
    struct launch l;

    if (argc == 2 && strcmp(argv[1], "-V") == 0) {
        printf("claudebench-worker %s\n", PACKAGE_VERSION);
        return EXITCODE_OK;
    }
    if (launch_parse(&l, argc, argv) != 0) {
        fprintf(stderr, "claudebench-worker is started by claudebenchd, not by hand; see "
                        "claudebench-worker(8).\n");
        return EXITCODE_USAGE;
    }
    if (strcmp(l.domain, "archive") == 0)
        return become_archive(argv);
    registry_check();
    int code = launch_begin(&l, "claudebench-worker");
    if (code >= 0)
        return code;
    name_rows(l.sup.slot);
    code = serve(&l);
    launch_done(&l);
    return code;
}

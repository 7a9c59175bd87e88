/*
 * herd.c: as many clients as a test asks for, each a process of its own, as `claudebench work` and `claudebench events -f` are
 * to Redis: every second one has a claim that waits, the others follow the events. (The programs themselves would be 500 times
 * a shell and a configuration file.) It connects to $HERD_URL, and stays until its standard input ends; then it exits with 0,
 * or with 1 when one of them had given up.
 *
 *   herd COUNT
 */
#include "common/compat.h"

#include "common/event_reader.h"
#include "common/requests_client.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HERD_MAX = 2000, CLAIM_TIMEOUT_MS = 120000 };

static void follow(const struct redis_target *target)
{
    const struct event_reader_config config = {
        .target = target, .prefix = "cb", .client_name = "herd", .is_following = true};
    struct event_reader *reader = event_reader_new(&config);

    for (;;) {
        const struct event_entry *event;
        struct event_gap gap;
        struct cb_error err = {0};
        if (event_reader_next(reader, 1000, &event, &gap, &err) == EVENT_DENIED) {
            fprintf(stderr, "herd: events: %s\n", err.text);
            exit(1);
        }
    }
}

static void claim(const struct redis_target *target, int number)
{
    char name[32];
    char params[80];
    struct requests_client *rc;
    struct cb_error err = {0};

    snprintf(name, sizeof name, "herd-%d", number);
    int len = snprintf(params, sizeof params, "{\"workerId\":\"%s\",\"wait_ms\":30000}", name);
    const struct requests_config config = {
        .target = target, .prefix = "cb", .actor = name, .client_name = "herd"};
    if (requests_client_open(&config, &rc, &err) != 0) {
        fprintf(stderr, "herd: %s\n", err.text);
        exit(1);
    }
    for (;;) {
        const struct requests_call call = {.method = "task.claim",
                                           .params = params,
                                           .params_len = (size_t)len,
                                           .timeout_ms = CLAIM_TIMEOUT_MS};
        struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
        requests_client_call(rc, &call, &reply);
        if (reply.outcome != REQUESTS_RESULT) {
            fprintf(stderr, "herd: task.claim: %s\n", reply.message);
            exit(1);
        }
    }
}

static pid_t start_one(const struct redis_target *target, int number)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(STDIN_FILENO);
    if (number % 2 == 0)
        claim(target, number);
    follow(target);
    _exit(1);
}

int main(int argc, char **argv)
{
    struct redis_target target;
    struct cb_error err = {0};
    pid_t pids[HERD_MAX];
    char byte;
    int count = argc == 2 ? (int)strtol(argv[1], NULL, 10) : 0;
    const char *url = getenv("HERD_URL");

    if (!url || count < 1 || count > HERD_MAX || redis_target_parse(url, &target, &err) != 0) {
        fprintf(stderr, "usage: HERD_URL=redis://... herd COUNT (at most %d) %s\n", HERD_MAX,
                err.text);
        return 64;
    }
    int started = 0;
    while (started < count && (pids[started] = start_one(&target, started)) > 0)
        started++;
    while (started == count && read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    int failed = started < count;
    for (int i = 0; i < started; i++)
        kill(pids[i], SIGTERM);
    for (int i = 0; i < started; i++) {
        int status;
        if (waitpid(pids[i], &status, 0) == pids[i] &&
            !(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM))
            failed = 1;
    }
    redis_target_done(&target);
    return failed;
}

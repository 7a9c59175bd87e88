/*
 * silence.c: see silence.h.
 */
#include "common/compat.h"
#include "client/silence.h"

#include "client/ask.h"
#include "client/peek.h"
#include "common/mem.h"

enum { PATIENCE_MS = 500 };

static int count_workers(struct json_span status, const char *domain)
{
    struct json_item list, worker;
    struct json_iter it;
    int n = 0;

    if (peek_count(status, "workers") == 0 || !peek_find(status, "workers", &list))
        return 0;
    json_iter_init(&it, list.value);
    while (json_iter_next(&it, &worker))
        n += peek_is(worker.value, "domain", domain) && peek_int(worker.value, "pid") > 0;
    return n;
}

/* Schedules are the task workers' (requests_client_link.c). */
static char *domain_of(const char *method)
{
    char *domain = mem_strndup(method, strcspn(method, "."));

    if (strcmp(domain, "schedule") != 0)
        return domain;
    free(domain);
    return mem_strdup("task");
}

static void say_workers(struct json_span status, const char *method, char *at, size_t room)
{
    char *domain CB_CLEANUP(mem_free_ptr) = domain_of(method);
    int n = count_workers(status, domain);

    if (n == 0)
        snprintf(at, room,
                 "; claudebenchd runs, but has no %s worker: after ctl drain, claudebench ctl "
                 "reload, else ctl scale",
                 domain);
    else
        snprintf(at, room,
                 "; claudebenchd runs and has %d %s worker%s: the request may still be handled", n,
                 domain, n == 1 ? "" : "s");
}

void silence_explain(struct options *opts, const char *method, char *text, size_t size)
{
    struct ask ask = {.opts = opts, .answer = BUF_INIT};
    struct buf error CB_CLEANUP(buf_done) = BUF_INIT;
    struct cb_error err = {0};
    char *at = strstr(text, SILENCE_GUESS);
    size_t room = at ? size - (size_t)(at - text) : 0;

    if (!at)
        return;
    int code = ask_daemon_quietly(&ask, "{\"cmd\":\"status\"}\n", PATIENCE_MS, &err);
    if (code >= 0 && ask.holder)
        snprintf(at, room, "; claudebenchd runs, pid %ld, but its control socket is gone",
                 (long)ask.holder);
    else if (code >= 0 && ask.is_absent)
        snprintf(at, room, "; claudebenchd does not run on this host");
    else if (code < 0 && !ask_error(&ask, &error) && method)
        say_workers(ask.json, method, at, room);
    else if (code < 0 && error.len == 0)
        snprintf(at, room, "; claudebenchd runs: claudebench status says how its Redis is");
    buf_done(&ask.answer);
}

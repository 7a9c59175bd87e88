/*
 * cmd_doctor.c: claudebench doctor: is anything wrong, or about to be? See doctor.h for its parts.
 *
 * What is on this host is looked at by itself; what is in Redis through a worker, what only the daemon knows through its control
 * socket. So it does what it can while the daemon is down, and says what it could not look at.
 */
#include "common/compat.h"
#include "client/doctor.h"
#include "client/verbs.h"

#include "common/exitcode.h"
#include "common/mem.h"

#include <poll.h>

enum { PROBE_MS = 2000, SETTLE_MS = 5000, SETTLE_LOOK_MS = 200 };

static const struct cli_option options[] = {
    {0, "repair", NULL,
     "Put right what can be put right without harm; what is behind it is left alone."},
    {'j', "json", NULL, "Print one JSON object for each finding, and one with the totals."},
    {0, NULL, NULL, NULL},
};

static int run_doctor(const struct cli *cli);

const struct cli_verb verb_doctor = {
    .name = "doctor",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .summary = "Check tasks, keys, Redis and this host for what is wrong, and repair it.",
    .notes = "Exit 0: nothing is wrong, or all of it was repaired; 1: something is; 69: nothing "
             "could be looked at.\n"
             "Changes nothing without --repair, but says what it would do. May be run while tasks "
             "are worked on.\n",
    .options = options,
    .run = run_doctor,
};

/* ---- findings ---- */

struct doctor_finding *doctor_find(struct doctor *d, const char *check,
                                   enum doctor_severity severity, const char *problem,
                                   const char *where, const char *advice, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (d->nfindings == d->findings_cap) {
        d->findings_cap = d->findings_cap ? 2 * d->findings_cap : 32;
        d->findings = mem_realloc(d->findings, d->findings_cap * sizeof *d->findings);
    }
    struct doctor_finding *f = &d->findings[d->nfindings++];
    *f = (struct doctor_finding){.check = check,
                                 .severity = severity,
                                 .problem = problem,
                                 .where = mem_strdup(where),
                                 .text = mem_strdup(text),
                                 .advice = mem_strdup(advice)};
    return f;
}

void doctor_keep_members(struct doctor_finding *f, struct json_span said)
{
    struct buf members CB_CLEANUP(buf_done) = BUF_INIT;
    struct json_iter it;
    struct json_item item;

    json_iter_init(&it, said);
    while (json_iter_next(&it, &item))
        if (item.key.len > 0 && !json_string_equals(item.key, "problem")) {
            buf_putc(&members, ',');
            buf_append(&members, item.key.at, item.key.len);
            buf_putc(&members, ':');
            buf_append(&members, item.value.at, item.value.len);
        }
    f->members = mem_strdup(buf_peek(&members));
}

static CB_PRINTF(3, 0) void add_text(char ***list, size_t *n, const char *fmt, va_list ap)
{
    char text[1024];

    vsnprintf(text, sizeof text, fmt, ap);
    *list = mem_realloc(*list, (*n + 1) * sizeof **list);
    (*list)[(*n)++] = mem_strdup(text);
}

void doctor_unchecked(struct doctor *d, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    add_text(&d->unchecked, &d->nunchecked, fmt, ap);
    va_end(ap);
}

void doctor_repaired(struct doctor *d, int64_t n, const char *fmt, ...)
{
    va_list ap;

    d->repaired += n;
    va_start(ap, fmt);
    add_text(&d->repairs, &d->nrepairs, fmt, ap);
    va_end(ap);
}

void doctor_forget(struct doctor *d)
{
    for (size_t i = 0; i < d->nfindings; i++) {
        free(d->findings[i].where);
        free(d->findings[i].text);
        free(d->findings[i].advice);
        free(d->findings[i].members);
    }
    for (size_t i = 0; i < d->nunchecked; i++)
        free(d->unchecked[i]);
    d->nfindings = d->nunchecked = 0;
    d->examined = d->not_compared = d->checked = 0;
}

int64_t doctor_number(struct json_span object, const char *name)
{
    struct json_item item;
    int64_t n = 0;

    if (json_find(object, name, &item))
        json_decode_int(item.value, &n);
    return n < -DOCTOR_NUMBER_MAX  ? -DOCTOR_NUMBER_MAX
           : n < DOCTOR_NUMBER_MAX ? n
                                   : DOCTOR_NUMBER_MAX;
}

void doctor_text(struct json_span object, const char *name, char *text, size_t size)
{
    struct buf value CB_CLEANUP(buf_done) = BUF_INIT;
    struct json_item item;

    if (json_find(object, name, &item) && item.type == JSON_STRING)
        json_decode_string(item.value, &value);
    else if (json_find(object, name, &item))
        buf_append(&value, item.value.at, item.value.len);
    snprintf(text, size, "%s", buf_peek(&value));
}

/* ---- connecting ---- */

/* Does a worker answer? It may be one of another host, so the daemon of this one does not matter. While that runs, it is a finding
 * that none does; who only may not ask can do nothing about it. */
static void connect_workers(struct doctor *d)
{
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
    struct requests_call call = {.method = "task.queues",
                                 .params = "{\"limit\":1}",
                                 .params_len = strlen("{\"limit\":1}"),
                                 .timeout_ms = d->is_running ? CALL_TIMEOUT_MS : PROBE_MS};

    int status = session_connect(&d->s, NULL, 0, 0);
    d->may_not_connect = status == EXITCODE_NOPERM;
    if (status >= 0)
        return;
    requests_client_call(d->s.rc, &call, &reply);
    d->is_connected = reply.outcome == REQUESTS_RESULT || reply.outcome == REQUESTS_ERROR;
    if (!d->is_connected && d->is_running)
        cli_say("no worker answers in %d s", CALL_TIMEOUT_MS / 1000);
    else if (!d->is_connected)
        cli_say("no worker answers: %s", reply.message);
}

/* ---- looking, repairing ---- */

/* A question that was refused (a message has said why) is a finding beside the others: this is when they are wanted. */
static void look_at_shared(struct doctor *d)
{
    if (!d->is_connected) {
        doctor_unchecked(d, "tasks, keys and Redis: no worker answers");
        if (d->is_running && !d->may_not_connect)
            doctor_find(d, "daemon", DOCTOR_ERROR, "no_answer", "workers",
                        "claudebench status shows its workers and where it has Redis; "
                        "claudebench ctl scale gives it workers",
                        "the daemon runs, but no worker of it answers: tasks, keys and Redis could "
                        "not be looked at");
        return;
    }
    int status = doctor_tasks_look(d);
    doctor_tasks_report(d);
    if (status < 0)
        status = doctor_shared_look(d);
    if (status < 0)
        return;
    doctor_find(d, "redis", DOCTOR_ERROR, "refused", "redis",
                "mend what the message says, then run claudebench doctor again",
                "tasks, keys and Redis could not be looked at, or not to the end");
    doctor_unchecked(d, "tasks, keys and Redis: a question about them was refused");
}

static void look(struct doctor *d)
{
    doctor_forget(d);
    doctor_host_look(d);
    doctor_daemon_look(d);
    look_at_shared(d);
}

static size_t count_repairable(const struct doctor *d)
{
    size_t n = 0;

    for (size_t i = 0; i < d->nfindings; i++)
        n += d->findings[i].is_repairable;
    return n;
}

/* What the daemon does on our behalf takes it a moment: it is looked at until it is done, or does not get done. */
static int repair(struct doctor *d)
{
    int status = -1;

    doctor_host_repair(d);
    if (d->is_connected && (status = doctor_tasks_repair(d)) < 0)
        status = doctor_shared_repair(d);
    for (int waited = 0; status < 0 && waited <= SETTLE_MS; waited += SETTLE_LOOK_MS) {
        look(d);
        if (!d->is_settling || count_repairable(d) == 0)
            break;
        poll(NULL, 0, SETTLE_LOOK_MS);
    }
    return status;
}

static void done(struct doctor *d)
{
    doctor_forget(d);
    free(d->findings);
    free(d->unchecked);
    for (size_t i = 0; i < d->nrepairs; i++)
        free(d->repairs[i]);
    free(d->repairs);
    doctor_tasks_free(d->tasks);
    ask_done(&d->ask);
    session_close(&d->s);
}

static int run_doctor(const struct cli *cli)
{
    struct doctor d = {
        .cli = cli, .s = SESSION_INIT, .ask = ASK_INIT, .term = term_detect(STDOUT_FILENO)};
    int status = session_load(&d.s, cli);

    if (status < 0)
        status = ask_load(&d.ask, cli);
    if (status < 0) {
        d.is_running = ask_daemon_quietly(&d.ask, "{\"cmd\":\"status\"}\n", CALL_TIMEOUT_MS,
                                          &d.why_not) < 0;
        connect_workers(&d);
        look(&d);
    }
    if (status < 0 && cli_is_set(cli, "repair") && count_repairable(&d) > 0)
        status = repair(&d);
    if (status < 0 && !d.is_connected && !d.is_running && d.checked == 0)
        status = EXITCODE_UNAVAILABLE; /* said already */
    if (status < 0)
        status = doctor_show(&d);
    done(&d);
    return status;
}

/*
 * control_commands.c: see control_commands.h.
 *
 *   ping, status
 *   metrics  format                   "json", or "prometheus": its text as the member `text`
 *   reload  wait_ms                   the configuration is read again
 *   scale   wait_ms, domain, workers  so many workers, until a reload
 *   drain   wait_ms                   no workers, until a reload
 *   stop                              as TERM does
 *   hand_on  domain, consumer          what a consumer that is gone had taken is handed on
 *   log_level  subsystem, level       what is logged of a subsystem, until a reload; without them: shows
 */
#include "common/compat.h"
#include "supervisor/control_commands.h"

#include "common/exitcode.h"
#include "common/log.h"
#include "supervisor/durable.h"
#include "supervisor/lineage.h"
#include "supervisor/measure.h"
#include "supervisor/status.h"
#include "supervisor/supervisor.h"

enum { WAIT_MS_MAX = 3600000, CONSUMER_MAX = 1024 };

/* ---- what was asked ---- */

static void refuse(struct control_answer *ret, int code, const char *fmt, ...) CB_PRINTF(3, 4);
static void refuse(struct control_answer *ret, int code, const char *fmt, ...)
{
    va_list ap;

    ret->code = code;
    va_start(ap, fmt);
    vsnprintf(ret->error, sizeof ret->error, fmt, ap);
    va_end(ap);
}

/* A member that is absent is `fallback`. Returns 0, or -1 after a refusal. */
static int get_int(json_object *request, const char *name, int64_t low, int64_t high,
                   int64_t fallback, int64_t *ret_n, struct control_answer *ret)
{
    json_object *o = NULL;

    *ret_n = fallback;
    if (!json_object_object_get_ex(request, name, &o))
        return 0;
    *ret_n = json_object_get_int64(o);
    if (json_object_is_type(o, json_type_int) && *ret_n >= low && *ret_n <= high)
        return 0;
    refuse(ret, EXITCODE_USAGE, "%s is not a whole number from %" PRId64 " to %" PRId64, name, low,
           high);
    return -1;
}

static const char *get_string(json_object *request, const char *name)
{
    json_object *o = NULL;

    return json_object_object_get_ex(request, name, &o) && json_object_is_type(o, json_type_string)
               ? json_object_get_string(o)
               : NULL;
}

static json_object *make_ok(void)
{
    json_object *o = json_object_new_object();

    json_object_object_add(o, "ok", json_object_new_boolean(true));
    json_object_object_add(o, "pid", json_object_new_int64(getpid()));
    return o;
}

static int get_wait(json_object *request, struct control_answer *ret)
{
    return get_int(request, "wait_ms", 0, WAIT_MS_MAX, 0, &ret->wait_ms, ret);
}

static void log_command(const char *name)
{
    log_event(EV_signal_received, LOG_S("signal", name), LOG_S("from", "control socket"));
}

/* ---- the commands ---- */

static void do_ping(struct supervisor *s, json_object *request, struct control_answer *ret)
{
    (void)s, (void)request;
    ret->json = make_ok();
}

static void do_status(struct supervisor *s, json_object *request, struct control_answer *ret)
{
    (void)request;
    lineage_look(s->lineage); /* for whoever asks again: nobody waits for these */
    durable_look(s->durable);
    ret->figures = s->figures;
    ret->make = status_object;
}

static void do_metrics(struct supervisor *s, json_object *request, struct control_answer *ret)
{
    const char *format = get_string(request, "format");

    if (format && strcmp(format, "json") != 0 && strcmp(format, "prometheus") != 0) {
        refuse(ret, EXITCODE_USAGE, "format is not json or prometheus");
        return;
    }
    ret->figures = s->metrics_figures;
    ret->make = format && strcmp(format, "prometheus") == 0 ? measure_text_object : measure_object;
}

static void do_stop(struct supervisor *s, json_object *request, struct control_answer *ret)
{
    (void)s, (void)request;
    log_command("stop");
    ret->json = make_ok();
    ret->after = supervisor_stop;
}

static void do_reload(struct supervisor *s, json_object *request, struct control_answer *ret)
{
    if (get_wait(request, ret) < 0)
        return;
    log_command("reload");
    ret->json = reload_now(s);
    if (json_object_object_get_ex(ret->json, "error", NULL))
        ret->wait_ms = 0;
}

static void refuse_domain(struct control_answer *ret, const char *domain)
{
    CB_CLEANUP(buf_done) struct buf names = BUF_INIT;

    for (const char *const *name = options_domain_names(); *name; name++)
        buf_printf(&names, "%s%s", names.len ? ", " : "", *name);
    if (domain)
        refuse(ret, EXITCODE_USAGE, "\"%s\" is no domain (expected one of %s)", domain,
               buf_peek(&names));
    else
        refuse(ret, EXITCODE_USAGE, "domain is missing (expected one of %s)", buf_peek(&names));
}

static void do_scale(struct supervisor *s, json_object *request, struct control_answer *ret)
{
    const char *domain = get_string(request, "domain");
    struct service *service = domain ? services_find(&s->services, domain) : NULL;
    struct cb_error err = {0};
    int64_t workers;

    if (!service) {
        refuse_domain(ret, domain);
        return;
    }
    if (get_int(request, "workers", 0, SERVICE_WORKERS_MAX, -1, &workers, ret) < 0 ||
        get_wait(request, ret) < 0)
        return;
    if (workers < 0) {
        refuse(ret, EXITCODE_USAGE, "workers is missing");
        return;
    }
    size_t before = service->wanted;
    if (services_scale(&s->services, service, (size_t)workers, &err) < 0) {
        refuse(ret, err.code == EBUSY ? EXITCODE_TEMPFAIL : EXITCODE_USAGE, "%s", err.text);
        return;
    }
    log_event(EV_workers_scaled, LOG_S("service", service->name), LOG_I("from", before),
              LOG_I("to", workers));
    ret->json = make_ok();
    json_object_object_add(ret->json, "domain", json_object_new_string(service->name));
    json_object_object_add(ret->json, "from", json_object_new_int64((int64_t)before));
    json_object_object_add(ret->json, "to", json_object_new_int64(workers));
}

static void do_drain(struct supervisor *s, json_object *request, struct control_answer *ret)
{
    if (get_wait(request, ret) < 0)
        return;
    log_command("drain");
    supervisor_drain(s);
    ret->json = make_ok();
}

/* Whether the instance that a consumer is named after is this one, and the worker one that we have. */
static bool is_alive(const struct supervisor *s, const char *consumer)
{
    size_t len = strlen(s->opts->instance.id);
    const char *dot = strrchr(consumer, '.');

    return strncmp(consumer, s->opts->instance.id, len) == 0 && consumer[len] == '/' && dot &&
           services_have(&s->services, strtoull(dot + 1, NULL, 10));
}

/* Of an instance that is alive elsewhere its own daemon takes care; who asks (claudebench doctor) has seen that it is gone. What is
 * handed on from one that is not takes effect once all the same: the XACK test decides. */
static void do_hand_on(struct supervisor *s, json_object *request, struct control_answer *ret)
{
    const char *domain = get_string(request, "domain");
    const char *consumer = get_string(request, "consumer");
    struct service *service = domain ? services_find(&s->services, domain) : NULL;

    if (!service || !consumer || !consumer[0] || strlen(consumer) > CONSUMER_MAX) {
        refuse(ret, EXITCODE_USAGE, "domain or consumer is missing, unknown or too long");
        return;
    }
    if (is_alive(s, consumer)) {
        refuse(ret, EXITCODE_CONFLICT, "the consumer is a worker of this daemon, which is alive");
        return;
    }
    const struct handon_item item = {
        .domain = service->name, .consumer = consumer, .entry = "", .how = "consumer gone"};
    log_command("hand_on");
    handon_add(s->handon, &item);
    ret->json = make_ok();
}

static json_object *levels_object(const struct supervisor *s)
{
    json_object *o = json_object_new_object();

    for (int i = 0; i < LOG_SUBSYSTEMS; i++) {
        int own = atomic_load(&s->scoreboard->global.log_levels[i]);
        enum log_level level = own > 0 ? (enum log_level)(own - 1) : log_get_level();
        json_object_object_add(o, log_subsystem_name((enum log_subsystem)i),
                               json_object_new_string(log_level_name(level)));
    }
    return o;
}

/* "all", or one. */
static void set_levels(struct supervisor *s, int subsystem, int level)
{
    for (int i = 0; i < LOG_SUBSYSTEMS; i++)
        if (subsystem < 0 || i == subsystem)
            supervisor_set_log_level(s, (enum log_subsystem)i, level);
}

static void do_log_level(struct supervisor *s, json_object *request, struct control_answer *ret)
{
    const char *subsystem = get_string(request, "subsystem");
    const char *level = get_string(request, "level");
    bool is_all = subsystem && strcmp(subsystem, "all") == 0;
    bool is_default = level && strcmp(level, "default") == 0;

    if (subsystem || level) {
        if (!subsystem || (!is_all && log_subsystem_find(subsystem) < 0)) {
            refuse(ret, EXITCODE_USAGE, "there is no such subsystem of the log");
            return;
        }
        if (!level || (!is_default && log_level_find(level) < 0)) {
            refuse(ret, EXITCODE_USAGE, "level is not error, warn, info, debug or default");
            return;
        }
        set_levels(s, is_all ? -1 : log_subsystem_find(subsystem),
                   is_default ? -1 : log_level_find(level));
        log_event(EV_log_level_set, LOG_S("subsystem", subsystem), LOG_S("level", level));
    }
    ret->json = make_ok();
    json_object_object_add(ret->json, "levels", levels_object(s));
}

static const struct {
    const char *name;
    void (*fn)(struct supervisor *s, json_object *request, struct control_answer *ret);
    bool is_change; /* refused while the daemon stops */
} commands[] = {
    {"ping", do_ping, false},  {"status", do_status, false},       {"metrics", do_metrics, false},
    {"stop", do_stop, false},  {"reload", do_reload, true},        {"scale", do_scale, true},
    {"drain", do_drain, true}, {"log_level", do_log_level, false}, {"hand_on", do_hand_on, true},
};

void control_command(struct supervisor *s, json_object *request, struct control_answer *ret)
{
    const char *name = get_string(request, "cmd");

    if (!name) {
        refuse(ret, EXITCODE_USAGE, "cmd is missing");
        return;
    }
    for (size_t i = 0; i < CB_ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, name) != 0)
            continue;
        if (commands[i].is_change && stop_is_stopping(&s->stop))
            refuse(ret, EXITCODE_TEMPFAIL, "the daemon stops");
        else
            commands[i].fn(s, request, ret);
        return;
    }
    refuse(ret, EXITCODE_USAGE, "unknown cmd");
}

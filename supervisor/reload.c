/*
 * reload.c: see reload.h. Everything that can fail comes first: reading, checking, what the workers will read, the log. What follows
 * cannot.
 */
#include "common/compat.h"
#include "supervisor/jsonc.h"
#include "supervisor/reload.h"

#include "common/clock.h"
#include "common/exitcode.h"
#include "common/log.h"
#include "common/sdnotify.h"
#include "supervisor/config.h"
#include "supervisor/setup.h"
#include "supervisor/supervisor.h"
#include "supervisor/textfile.h"

/* Each mistake has a line, as far as the log takes them; who wants more has claudebenchd -t. */
enum { LOGGED_ERRORS = LOG_EVENTS_PER_SECOND };

/* What a reload would change. */
struct change {
    struct options *fresh;
    json_object *changed; /* names */
    json_object *restart; /* see reload.h */
    bool is_for_workers;
    bool ends_scale; /* or a drain: the numbers of workers are the configured ones again */
};

static void change_done(struct change *c)
{
    options_free(c->fresh);
    json_object_put(c->changed);
    json_object_put(c->restart);
}

/* ---- what is different ---- */

/* Those that no worker reads: the numbers of workers, and how the supervisor deals with them. */
static bool is_for_workers(const char *name)
{
    size_t len = strlen(name);
    return strncmp(name, "supervisor.", 11) != 0 && strncmp(name, "metrics.", 8) != 0 &&
           (len < 8 || strcmp(name + len - 8, ".workers") != 0);
}

static void note_change(void *arg, const struct option_row *option, const char *in_force,
                        const char *loaded)
{
    struct change *c = arg;

    if (!(option->flags & OPTION_RESTART)) {
        json_object_array_add(c->changed, json_object_new_string(option->name));
        c->is_for_workers |= is_for_workers(option->name);
        return;
    }
    json_object *o = json_object_new_object();
    json_object_object_add(o, "option", json_object_new_string(option->name));
    json_object_object_add(o, "in_force", json_object_new_string(in_force));
    json_object_object_add(o, "loaded", json_object_new_string(loaded));
    json_object_array_add(c->restart, o);
}

static int open_log(const struct options *opts, struct options_errors *errs)
{
    struct log_settings settings = {.level = (enum log_level)opts->log.level,
                                    .format = (enum log_format)opts->log.format,
                                    .destination = opts->log.destination};
    struct cb_error err = {0};

    if (log_open(&settings, &err) == 0)
        return 0;
    options_errors_add(errs, NULL, 0, 0, "log.destination", "%s", err.text);
    return -1;
}

/* All that can fail. *ret_fd: for the workers, -1 when they need nothing new. */
static int prepare(struct supervisor *s, struct change *c, int *ret_fd, struct options_errors *errs)
{
    struct cb_error err = {0};
    int fd = -1;

    if (config_load(s->config, &c->fresh, errs) < 0 ||
        options_prepare_reload(c->fresh, s->opts, note_change, c, errs) < 0)
        return -1;
    if (c->is_for_workers && (fd = setup_options_fd(c->fresh, &err)) < 0) {
        options_errors_add(errs, NULL, 0, 0, "", "%s", err.text);
        return -1;
    }
    if (open_log(c->fresh, errs) < 0) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    *ret_fd = fd;
    return 0;
}

/* ---- putting it in force ---- */

static void apply(struct supervisor *s, const struct change *c, int fd)
{
    options_put_in_force(s->opts, c->fresh);
    if (fd >= 0) {
        close(s->options_fd);
        s->options_fd = fd;
    }
    s->target.timeout_ms = (int)s->opts->redis.timeout_ms;
    if (s->embedded)
        embedded_redis_options_changed(s->embedded);
    services_renew(&s->services, fd >= 0, s->options_fd);
    for (int i = 0; i < LOG_SUBSYSTEMS; i++)
        supervisor_set_log_level(s, (enum log_subsystem)i, -1);
    instance_resume(s->instance);
    assign_options_changed(s->assign);
    textfile_options_changed(s->textfile);
}

static const char *member(json_object *o, const char *key)
{
    json_object *value = NULL;
    json_object_object_get_ex(o, key, &value);
    return json_object_get_string(value);
}

static void log_reloaded(const struct supervisor *s, const struct change *c)
{
    CB_CLEANUP(buf_done) struct buf names = BUF_INIT;

    for (size_t i = 0; i < json_object_array_length(c->changed); i++)
        buf_printf(&names, "%s%s", i ? "," : "",
                   json_object_get_string(json_object_array_get_idx(c->changed, i)));
    log_event(EV_config_reloaded, LOG_S("file", config_name(s->config)),
              LOG_S("changed", buf_peek(&names)),
              LOG_S("workers", c->is_for_workers ? "replace" : "keep"));
    config_log_destination(s->config, s->opts);
    for (size_t i = 0; i < json_object_array_length(c->restart); i++) {
        json_object *o = json_object_array_get_idx(c->restart, i);
        log_event(EV_option_needs_restart, LOG_S("option", member(o, "option")),
                  LOG_S("in_force", member(o, "in_force")), LOG_S("loaded", member(o, "loaded")));
    }
}

static json_object *accept_change(struct supervisor *s, const struct change *c)
{
    json_object *answer = json_object_new_object();

    s->reload.count++;
    atomic_fetch_add(&s->scoreboard->global.reloads, 1);
    s->reload.loaded_ms = clock_wall_ms();
    s->reload.began_ms = services_are_settled(&s->services) ? 0 : clock_mono_ms();
    json_object_put(s->reload.restart);
    s->reload.restart = json_object_get(c->restart);
    json_object_object_add(answer, "ok", json_object_new_boolean(true));
    json_object_object_add(answer, "file", json_object_new_string(config_name(s->config)));
    json_object_object_add(answer, "changed", json_object_get(c->changed));
    json_object_object_add(answer, "restart", json_object_get(c->restart));
    json_object_object_add(answer, "ends_scale", json_object_new_boolean(c->ends_scale));
    return answer;
}

/* ---- refusing it ---- */

static json_object *refuse(struct supervisor *s, const struct options_errors *errs)
{
    json_object *answer = json_object_new_object();
    json_object *lines = json_object_new_array();

    s->reload.refused++;
    atomic_fetch_add(&s->scoreboard->global.reloads_refused, 1);
    for (size_t i = 0; i < errs->len; i++) {
        CB_CLEANUP(buf_done) struct buf line = BUF_INIT;
        options_error_put(&errs->items[i], &line);
        json_object_array_add(lines, json_object_new_string(buf_peek(&line)));
        if (i < LOGGED_ERRORS)
            log_event(EV_config_refused, LOG_S("problem", buf_peek(&line)),
                      LOG_I("problems", errs->total));
    }
    json_object_object_add(
        answer, "error",
        json_object_new_string("the configuration is wrong; the one in force stays"));
    json_object_object_add(answer, "code", json_object_new_int(EXITCODE_CONFIG));
    json_object_object_add(answer, "errors", lines);
    return answer;
}

/* ---- interface ---- */

json_object *reload_now(struct supervisor *s)
{
    struct options_errors errs = OPTIONS_ERRORS_INIT;
    struct change c = {.changed = json_object_new_array(), .restart = json_object_new_array()};
    json_object *answer;
    int fd = -1;

    sdnotify_send("RELOADING=1\nMONOTONIC_USEC=%" PRId64, clock_mono_us());
    if (prepare(s, &c, &fd, &errs) == 0) {
        c.ends_scale = !services_are_as_configured(&s->services);
        apply(s, &c, fd);
        log_reloaded(s, &c);
        answer = accept_change(s, &c);
    } else {
        answer = refuse(s, &errs);
    }
    sdnotify_send("READY=1");
    options_errors_done(&errs);
    change_done(&c);
    return answer;
}

void reload_settled(struct reload *r)
{
    if (!r->began_ms)
        return;
    log_event(EV_workers_settled, LOG_I("took_ms", clock_mono_ms() - r->began_ms));
    r->began_ms = 0;
}

void reload_init(struct reload *r)
{
    *r = (struct reload){.loaded_ms = clock_wall_ms(), .restart = json_object_new_array()};
}

void reload_done(struct reload *r)
{
    json_object_put(r->restart);
    r->restart = NULL;
}

/*
 * ask.c: the daemon's decision about one event, within hooks.deadline_ms. See hook.h.
 *
 * Requests carry a ttl of the same length where they ask: whoever gets no answer decides by himself, and the daemon is not to
 * decide the same again later. Reports of what is over have none: they are carried out whenever there is a worker.
 *
 * A daemon that took all the time it had is left alone for AWAY_MS, so that a hung one costs one call its deadline, not
 * all of them; the mark is a file in the spool's folder.
 */
#include "common/compat.h"
#include "client/hook/hook.h"

#include "common/clock.h"
#include "common/connect.h"
#include "common/mem.h"
#include "common/requests_client.h"

#include <fcntl.h>
#include <sys/stat.h>

enum { AWAY_MS = 2000, WINDOW = 2, TAG_DECISION = 1, TAG_REPORT = 2 };

struct hook_link {
    struct redis_target target;
    struct requests_client *rc;
    char *actor;
};

/* ---- a daemon that does not answer ---- */

static char *away_file(const struct hook *hook)
{
    return hook->policy->state_dir ? mem_printf("%s/away", hook->policy->state_dir) : NULL;
}

static void mark_away(const struct hook *hook)
{
    char *path CB_CLEANUP(mem_free_ptr) = away_file(hook);

    if (!path || paths_make_dir(hook->policy->state_dir, 0700, NULL) != 0)
        return;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0)
        return;
    futimens(fd, NULL);
    close(fd);
}

static bool is_away(const struct hook *hook)
{
    char *path CB_CLEANUP(mem_free_ptr) = away_file(hook);
    struct stat st;

    if (!path || lstat(path, &st) != 0)
        return false;
    int64_t age = clock_wall_ms() -
                  ((int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000);
    return age >= 0 && age < AWAY_MS; /* a mark from the future is a clock that was set back */
}

/* ---- params ---- */

static void put_text(struct buf *out, const char *key, const char *text)
{
    if (text && text[0])
        json_put_text(out, key, text);
}

static void put_span(struct buf *out, const char *key, struct json_span value)
{
    if (value.len == 0)
        return;
    json_put_key(out, key);
    buf_append(out, value.at, value.len);
}

static void put_place(const struct hook *hook, struct buf *out)
{
    put_text(out, "cwd", hook->record->cwd);
    put_text(out, "home", hook->policy->home);
}

static const char *tool_params(const struct hook *hook, bool has_result, struct buf *out)
{
    const struct hook_record *r = hook->record;

    buf_putc(out, '{');
    put_text(out, "tool", r->tool);
    put_span(out, "params", r->input);
    put_text(out, "event", r->event->name);
    put_text(out, "use_id", r->use_id);
    put_place(hook, out);
    if (r->event->kind != HOOK_POST_TOOL) {
        buf_putc(out, '}');
        return "hook.pre_tool";
    }
    if (has_result)
        put_span(out, "result", r->result);
    if (r->is_error)
        buf_puts(out, ",\"is_error\":true");
    if (r->duration_ms >= 0)
        buf_printf(out, ",\"duration_ms\":%" PRId64, r->duration_ms);
    buf_putc(out, '}');
    return "hook.post_tool";
}

static const char *prompt_params(const struct hook *hook, struct buf *out)
{
    buf_putc(out, '{');
    put_span(out, "prompt", hook->record->prompt);
    put_place(hook, out);
    buf_putc(out, '}');
    return "hook.user_prompt";
}

/* False when the event is about no work list. */
static bool todo_params(const struct hook_record *r, struct buf *out)
{
    if (!r->todos.len && !r->task.id)
        return false;
    buf_putc(out, '{');
    if (r->todos.len) {
        put_span(out, "todos", r->todos);
    } else {
        put_text(out, "mode", "one");
        put_text(out, "event", r->event->kind == HOOK_TASK ? r->event->name : r->tool);
        json_put_key(out, "task");
        buf_putc(out, '{');
        put_text(out, "id", r->task.id);
        put_text(out, "subject", r->task.subject);
        put_text(out, "description", r->task.description);
        put_text(out, "status", r->task.status);
        buf_putc(out, '}');
    }
    buf_putc(out, '}');
    return true;
}

/* ---- results ---- */

const char *hook_text_member(struct arena *arena, struct json_span object, const char *name)
{
    struct buf text = BUF_INIT;
    struct json_item item;

    if (!json_find(object, name, &item) || item.type != JSON_STRING)
        return NULL;
    json_decode_string(item.value, &text);
    const char *copy = arena_strndup(arena, buf_peek(&text), text.len);
    buf_done(&text);
    return copy;
}

static void read_notes(struct arena *arena, struct json_span result, struct hook_verdict *v)
{
    struct json_item list, item;
    struct json_iter it;

    if (!json_find(result, "notes", &list) || list.type != JSON_ARRAY)
        return;
    struct rules_note *notes = arena_alloc(arena, (json_count(list.value) + 1) * sizeof *notes);
    json_iter_init(&it, list.value);
    while (json_iter_next(&it, &item)) {
        const char *rule = item.type == JSON_OBJECT ? hook_text_member(arena, item.value, "rule")
                                                    : NULL;
        const char *text = rule ? hook_text_member(arena, item.value, "message") : NULL;
        if (text)
            notes[v->nnotes++] = (struct rules_note){.rule = rule, .message = text};
    }
    v->notes = notes;
}

static bool read_action(const char *word, enum rules_action *ret)
{
    static const enum rules_action actions[] = {RULES_NONE, RULES_ALLOW, RULES_MODIFY, RULES_ASK,
                                                RULES_DENY};

    for (size_t i = 0; word && i < CB_ARRAY_LEN(actions); i++) {
        if (strcmp(word, rules_action_name(actions[i])) == 0) {
            *ret = actions[i];
            return true;
        }
    }
    return false;
}

/* The rule and what it saw, unless the reason says so already. */
static const char *read_reason(struct arena *arena, struct json_span result, const char *rule)
{
    const char *reason = hook_text_member(arena, result, "reason");
    const char *matched = hook_text_member(arena, result, "matched");
    const char *field = hook_text_member(arena, result, "field");

    if (!reason || !rule || strstr(reason, rule))
        return reason;
    return arena_printf(arena, "%s [rule %s%s%s%s%s]", reason, rule, field ? ", " : "",
                        field ? field : "", matched ? ": " : "", matched ? matched : "");
}

/* Returns 0, or -1 when it is no verdict: then it is as if there had been no answer. */
static int read_decision(struct arena *arena, struct json_span result, struct hook_verdict *v)
{
    struct json_item item;
    const char *severity = hook_text_member(arena, result, "severity");

    if (!read_action(hook_text_member(arena, result, "decision"), &v->action))
        return -1;
    if (json_find(result, "allow", &item) && item.type == JSON_BOOL && item.value.len == 5 &&
        v->action < RULES_ASK)
        return -1; /* it contradicts itself */
    v->rule = hook_text_member(arena, result, "rule");
    v->reason = read_reason(arena, result, v->rule);
    v->message = v->reason;
    for (int i = RULES_LOW; severity && i <= RULES_CRITICAL; i++) {
        if (strcmp(severity, rules_severity_name((enum rules_severity)i)) == 0)
            v->severity = (enum rules_severity)i;
    }
    if (json_find(result, "modified", &item) && item.type == JSON_OBJECT)
        v->input = (struct json_span){arena_strndup(arena, item.value.at, item.value.len),
                                      item.value.len};
    return v->action == RULES_MODIFY && v->input.len == 0 ? -1 : 0;
}

static int read_result(const struct hook *hook, struct json_span result, struct hook_verdict *ret)
{
    struct hook_verdict v = {.action = RULES_NONE};

    if (json_type_of(result) != JSON_OBJECT)
        return -1;
    if (hook->record->event->kind != HOOK_POST_TOOL && read_decision(hook->arena, result, &v) != 0)
        return -1;
    v.context = hook_text_member(hook->arena, result, "context");
    v.version = hook_text_member(hook->arena, result, "rules");
    /* The text for the model has them in words already. */
    if (!v.context)
        read_notes(hook->arena, result, &v);
    *ret = v;
    return 0;
}

/* ---- the connection ---- */

static int open_link(const struct hook *hook, int64_t until_ms, struct hook_link **ret,
                     struct cb_error *err)
{
    struct hook_link *link = mem_alloc(sizeof *link);
    char host[65] = "localhost";
    int64_t left = until_ms - clock_mono_ms();

    if (connect_target(hook->policy->opts, CONNECT_CLIENT, &link->target, err) != 0) {
        free(link);
        return -1;
    }
    link->target.timeout_ms = left > 1 ? (int)left : 1;
    gethostname(host, sizeof host - 1);
    /* Not the user's name: to look that up may take longer than all the rest. */
    link->actor = mem_printf("uid:%u@%s", (unsigned)geteuid(), host);
    struct requests_config config = {
        .target = &link->target,
        .prefix = hook->policy->opts->redis.prefix,
        .actor = link->actor,
        .session = hook->record->session,
        .agent = hook->record->agent->name,
        .trace = getenv("TRACEPARENT"),
        .client_name = "claudebench-hook",
        .window = WINDOW,
        .patience_ms = 1, /* a Redis that loads its data is away */
    };
    if (requests_client_open(&config, &link->rc, err) != 0) {
        hook_link_close(link);
        return -1;
    }
    *ret = link;
    return 0;
}

void hook_link_close(struct hook_link *link)
{
    if (!link)
        return;
    requests_client_free(link->rc);
    redis_target_done(&link->target);
    free(link->actor);
    free(link);
}

static void submit(struct hook_link *link, const char *method, const struct buf *params,
                   int64_t timeout_ms, int64_t ttl_ms, uint64_t tag)
{
    struct requests_call call = {
        .method = method,
        .params = buf_peek(params),
        .params_len = params->len,
        .timeout_ms = timeout_ms > 1 ? timeout_ms : 1,
        .ttl_ms = ttl_ms > 0 ? ttl_ms : 0,
        .tag = tag,
    };
    requests_client_submit(link->rc, &call);
}

static void say_why(const struct requests_reply *reply, struct cb_error *why)
{
    cb_error_set(why, reply->outcome == REQUESTS_ERROR ? reply->code : 0, "%s",
                 reply->message[0] ? reply->message : "no answer");
}

/* Takes the answers; 0 when the one that decides is there and can be understood. */
static int collect(const struct hook *hook, struct hook_link *link, struct hook_verdict *ret,
                   bool wants_decision, struct cb_error *why)
{
    int status = wants_decision ? -1 : 0;
    bool is_slow = false;

    for (unsigned left = requests_client_in_flight(link->rc); left > 0; left--) {
        struct requests_reply reply = REQUESTS_REPLY_INIT;
        if (requests_client_next(link->rc, -1, &reply) != 1)
            break;
        bool is_decision = reply.tag == TAG_DECISION;
        is_slow |= reply.outcome == REQUESTS_UNKNOWN;
        if (is_decision && reply.outcome != REQUESTS_RESULT)
            say_why(&reply, why);
        else if (is_decision && (status = read_result(hook, reply.result, ret)) != 0)
            cb_error_set(why, 0, "the daemon's answer cannot be understood");
        requests_reply_done(&reply);
    }
    if (is_slow)
        mark_away(hook);
    return status;
}

int hook_ask(const struct hook *hook, struct hook_verdict *ret, struct hook_link **ret_link,
             struct cb_error *why)
{
    const struct options *opts = hook->policy->opts;
    int64_t deadline_ms = opts->hooks.deadline_ms, until = clock_mono_ms() + deadline_ms;
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT, todo CB_CLEANUP(buf_done) = BUF_INIT;
    enum hook_kind kind = hook->record->event->kind;
    const char *method = NULL;
    struct hook_link *link = NULL;

    *ret_link = NULL;
    if (kind == HOOK_PROMPT)
        method = prompt_params(hook, &params);
    else if (kind != HOOK_TASK)
        method = tool_params(hook, true, &params);
    bool has_todo = todo_params(hook->record, &todo);
    if (kind == HOOK_POST_TOOL && (int64_t)params.len > opts->limits.batch_params_bytes) {
        buf_reset(&params); /* that it was called counts, whatever it gave */
        method = tool_params(hook, false, &params);
    }
    if ((int64_t)params.len > opts->limits.batch_params_bytes)
        return cb_error_set(why, 0, "the call is too large for the daemon");
    if (is_away(hook))
        return cb_error_set(why, 0, "the daemon did not answer a moment ago");
    if (open_link(hook, until, &link, why) != 0) {
        if (clock_mono_ms() >= until)
            mark_away(hook);
        return -1;
    }
    int64_t left = until - clock_mono_ms();
    if (method)
        submit(link, method, &params, left, kind == HOOK_POST_TOOL ? 0 : left, TAG_DECISION);
    if (has_todo && (int64_t)todo.len <= opts->limits.params_bytes)
        submit(link, "hook.todo_write", &todo, left, 0, TAG_REPORT);
    if (collect(hook, link, ret, method != NULL, why) != 0) {
        hook_link_close(link);
        return -1;
    }
    *ret_link = link;
    return 0;
}

int hook_link_call(struct hook_link *link, const char *method, const struct buf *params,
                   const char *idem, int64_t timeout_ms, struct buf *ret_result)
{
    struct requests_reply reply = REQUESTS_REPLY_INIT;
    struct requests_call call = {
        .method = method,
        .params = buf_peek(params),
        .params_len = params->len,
        .idem = idem,
        .timeout_ms = timeout_ms,
    };

    requests_client_call(link->rc, &call, &reply);
    int status = reply.outcome == REQUESTS_RESULT ? 0
                 : reply.outcome == REQUESTS_ERROR && (reply.code == -32600 || reply.code == -32602)
                     ? 1
                     : -1;
    if (status == 0 && ret_result)
        buf_append(ret_result, reply.result.at, reply.result.len);
    requests_reply_done(&reply);
    return status;
}

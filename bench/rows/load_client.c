/*
 * load_client.c: see load_client.h: what is sent, and what is made of the replies.
 */
#include "common/compat.h"
#include "bench/rows/load_client.h"

#include "bench/env/stop.h"
#include "common/clock.h"
#include "common/keys.h"
#include "common/mem.h"
#include "common/rnd.h"

/* ---- sending ---- */

/* The second step of a row when the client knows enough tasks for it. */
static const struct step *next_step(const struct load_client *c)
{
    const struct step *const *steps = c->load->row->kind->steps;
    if (!steps[1] || c->nheld < step_about(steps[1], c->load->row->items))
        return steps[0];
    return steps[1];
}

/* The tasks that the next request is about; of a client's own, they are not its any more. */
static const struct task_ref *take_tasks(struct load_client *c, const struct step *step)
{
    struct load *l = c->load;
    unsigned n = step_about(step, l->row->items);
    struct load_stock *stock = l->stock;

    if (n == 0)
        return NULL;
    if (l->row->kind->steps[1]) {
        c->nheld -= n;
        return &c->held[c->nheld];
    }
    if (stock->is_reused && stock->next + n > stock->len)
        stock->next = 0;
    if (stock->next + n > stock->len)
        stop_failed("%s: too few tasks were prepared", l->row->name);
    stock->next += n;
    return &stock->tasks[stock->next - n];
}

static void append_request(struct load_client *c, const struct step *step, unsigned number)
{
    struct load *l = c->load;
    char id[16], idem[48];
    enum { HEAD = 3, FIELDS = 12 };
    const char *argv[HEAD + FIELDS];
    int argc = 0;

    snprintf(id, sizeof id, "%u", number);
    snprintf(idem, sizeof idem, "%s%016u", c->token, number); /* 40 bytes */
    argv[argc++] = "XADD";
    argv[argc++] = l->stream;
    argv[argc++] = "*";
    const char *const fields[] = {"id",     id,
                                  "method", methods[step->method].name,
                                  "params", buf_peek(&l->writer.params),
                                  "reply",  c->token,
                                  "actor",  "bench",
                                  "idem",   idem};
    for (size_t i = 0; i < CB_ARRAY_LEN(fields) - (l->row->has_idem ? 0 : 2); i++)
        argv[argc++] = fields[i];
    redis_link_append(c->link, argc, argv, NULL);
}

static void submit(struct load_client *c)
{
    struct load *l = c->load;
    const struct step *step = next_step(c);
    unsigned number = l->first + l->sent;
    struct load_request *r = &l->requests[l->sent++];
    struct step_input in = {.number = number,
                            .worker = c->worker,
                            .literal = l->literal,
                            .items = l->row->items,
                            .tasks = take_tasks(c, step)};

    buf_reset(&l->writer.params);
    step->put(&l->writer, &in);
    append_request(c, step, number);
    c->in_flight++;
    c->adds_due++;
    r->step = step;
    r->sent_us = clock_mono_us();
}

void load_client_fill(struct load_client *c)
{
    struct load *l = c->load;
    struct cb_error err;

    while (l->sent < l->total && c->in_flight < l->row->in_flight)
        submit(c);
    if (c->in_flight > 0 && !c->is_popping) {
        redis_link_appendv(c->link, "BLMPOP", "5", "1", c->reply_key, "LEFT", "COUNT", "64", NULL);
        c->is_popping = true;
    }
    if (redis_link_wants_write(c->link) && redis_link_on_writable(c->link, &err) != 0)
        stop_failed("redis: %s", err.text);
}

/* ---- replies ---- */

static void copy_text(char *out, size_t size, const char *from)
{
    memcpy(out, from, size - 1);
    out[size - 1] = '\0';
}

static void keep(struct load_client *c, const char *id, const char *token)
{
    struct load_stock *collect = c->load->collect;
    struct task_ref task = {0};

    copy_text(task.id, sizeof task.id, id);
    if (token)
        copy_text(task.token, sizeof task.token, token);
    if (collect) {
        if (collect->len % 1024 == 0)
            collect->tasks = mem_realloc(collect->tasks, (collect->len + 1024) * sizeof task);
        collect->tasks[collect->len++] = task;
    } else if (c->load->row->kind->steps[1]) {
        if (c->nheld % 1024 == 0)
            c->held = mem_realloc(c->held, (c->nheld + 1024) * sizeof task);
        c->held[c->nheld++] = task;
    }
}

/* "ids":["t-…","t-…"] of create_batch */
static void keep_ids(struct load_client *c, const char *text)
{
    static const char head[] = "\"ids\":[\"";
    const char *at = strstr(text, head);

    for (at = at ? at + sizeof head - 1 : NULL; at && strncmp(at, "t-", 2) == 0;
         at += sizeof((struct task_ref *)0)->id + 2)
        keep(c, at, NULL);
}

/* "tasks":[{"id":"t-…",…,"lease_token":"…",…},…]: how many there are. */
static unsigned take_given(struct load_client *c, const char *text)
{
    static const char head[] = "\"tasks\":[", id[] = "{\"id\":\"", token[] = "\"lease_token\":\"";
    const char *at = strstr(text, head);
    unsigned n = 0;

    at = at ? at + sizeof head - 1 : NULL;
    while (at && strncmp(at, id, sizeof id - 1) == 0) {
        const char *its_id = at + sizeof id - 1;
        at = strstr(at, token);
        if (!at)
            break;
        keep(c, its_id, at + sizeof token - 1);
        n++;
        at = strchr(at, '}'); /* behind the token there is but the lease's end */
        at = at && at[1] == ',' ? at + 2 : NULL;
    }
    return n;
}

/* {"jsonrpc":"2.0","id":"<number>","result":… */
static void take_reply(struct load_client *c, const char *text, int64_t now)
{
    static const char head[] = "{\"jsonrpc\":\"2.0\",\"id\":\"";
    struct load *l = c->load;
    char *end;

    if (strncmp(text, head, sizeof head - 1) != 0)
        stop_failed("a reply is not as it should be: %.100s", text);
    unsigned long number = strtoul(text + sizeof head - 1, &end, 10);
    if (number < l->first || number - l->first >= l->sent ||
        l->requests[number - l->first].latency_us)
        stop_failed("a reply for nothing that was asked: %.100s", text);
    struct load_request *r = &l->requests[number - l->first];
    r->latency_us = now > r->sent_us ? now - r->sent_us : 1;
    c->in_flight--;
    l->answered++;
    if (strncmp(end, "\",\"error\"", 9) == 0) {
        if (l->errors++ == 0)
            fprintf(stderr, "claudebench-bench: %s: %.300s\n", l->row->name, text);
        return;
    }
    unsigned wanted = r->step->about == STEP_ABOUT_ONE ? 1 : l->row->items;
    if (r->step->takes && take_given(c, end) < wanted)
        l->short_replies++;
    else if (l->collect && !r->step->takes)
        keep_ids(c, end);
    if (r->step == row_main_step(l->row))
        l->tasks += wanted;
}

static void take_popped(struct load_client *c, const reply_t *reply)
{
    const reply_t *list = reply_at(reply, 1);
    int64_t now = clock_mono_us();

    c->is_popping = false;
    if (!list)
        stop_failed("%s: no reply in five seconds", c->load->row->name);
    for (size_t i = 0; i < reply_count(list); i++)
        take_reply(c, reply_str(reply_at(list, i)), now);
}

void load_client_read(struct load_client *c)
{
    struct cb_error err;

    if (redis_link_on_readable(c->link, &err) != 0)
        stop_failed("redis: %s", err.text);
    for (;;) {
        reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
        if (redis_link_take(c->link, &reply, &err) != 0)
            stop_failed("redis: %s", err.text);
        if (!reply)
            return;
        if (reply_is_error(reply))
            stop_failed("redis: %s", reply_str(reply));
        if (c->adds_due > 0)
            c->adds_due--;
        else
            take_popped(c, reply);
    }
}

/* ---- life ---- */

void load_client_init(struct load_client *c, struct load *load, unsigned number)
{
    struct arena arena CB_CLEANUP(arena_done) = ARENA_INIT;

    *c = (struct load_client){.load = load, .link = env_link(load->env, "bench")};
    rnd_token(c->token, sizeof c->token - 1);
    snprintf(c->reply_key, sizeof c->reply_key, "%s",
             keys_make(&arena, load->env->opts->redis.prefix, KEY_REPLY, c->token));
    snprintf(c->worker, sizeof c->worker, STEP_WORKER, number);
}

void load_client_done(struct load_client *c)
{
    redis_link_free(c->link);
    free(c->held);
}

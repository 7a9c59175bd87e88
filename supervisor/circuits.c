/*
 * circuits.c: see circuits.h. A circuit that opens and closes between two ticks is in the event stream only.
 */
#include "common/compat.h"
#include "supervisor/circuits.h"

#include "common/log.h"

static const struct circuit *find(const struct circuits *c, const char *method)
{
    for (size_t i = 0; i < c->len; i++)
        if (strcmp(c->items[i].method, method) == 0)
            return &c->items[i];
    return NULL;
}

static void take_text(char *to, size_t size, const reply_t *reply)
{
    snprintf(to, size, "%s", reply_str(reply));
}

static struct circuits parse(const reply_t *rows)
{
    struct circuits c = {.len = 0};

    for (size_t i = 0; i < reply_count(rows) && c.len < CIRCUITS_MAX; i++) {
        const reply_t *row = reply_at(rows, i);
        struct circuit *item = &c.items[c.len++];
        take_text(item->method, sizeof item->method, reply_at(row, 0));
        take_text(item->state, sizeof item->state, reply_at(row, 1));
        item->since_ms = strtoll(reply_str(reply_at(row, 2)), NULL, 10);
        take_text(item->reason, sizeof item->reason, reply_at(row, 3));
    }
    return c;
}

static void say(const struct circuit *c)
{
    enum log_event ev = strcmp(c->state, "open") == 0 ? EV_circuit_opened : EV_circuit_half_open;
    log_event(ev, LOG_S("method", c->method), LOG_S("reason", c->reason));
}

bool circuits_take(struct circuits *c, const reply_t *rows)
{
    struct circuits now = parse(rows);
    bool is_changed = false;

    for (size_t i = 0; i < now.len; i++) {
        const struct circuit *before = find(c, now.items[i].method);
        if (before && before->since_ms == now.items[i].since_ms &&
            strcmp(before->state, now.items[i].state) == 0)
            continue;
        say(&now.items[i]);
        is_changed = true;
    }
    for (size_t i = 0; i < c->len; i++) {
        if (find(&now, c->items[i].method))
            continue;
        log_event(EV_circuit_closed, LOG_S("method", c->items[i].method));
        is_changed = true;
    }
    *c = now;
    return is_changed;
}

/*
 * handler.c: helpers with which handlers put their script's arguments together. See handler.h.
 */
#include "common/compat.h"
#include "worker/handler.h"

#include "common/rnd.h"

struct field_value *prepare_value(const struct prepare *p, const char *name)
{
    return &p->values[fields_index(p->handler->params, name)];
}

void arg_list_add(struct arena *arena, struct arg_list *list, const char *data, size_t len)
{
    if (list->len == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 16;
        struct arg *items = arena_alloc(arena, cap * sizeof *items);
        if (list->len)
            memcpy(items, list->items, list->len * sizeof *items);
        list->items = items;
        list->cap = cap;
    }
    list->items[list->len++] = (struct arg){data, len};
}

void arg_list_add_str(struct arena *arena, struct arg_list *list, const char *s)
{
    arg_list_add(arena, list, s, strlen(s));
}

void arg_list_add_int(struct arena *arena, struct arg_list *list, int64_t n)
{
    arg_list_add_str(arena, list, arena_int(arena, n));
}

void prepare_key(struct prepare *p, const char *key)
{
    arg_list_add_str(p->arena, &p->keys, key);
}

void prepare_arg(struct prepare *p, const char *data, size_t len)
{
    arg_list_add(p->arena, &p->args, data, len);
}

void prepare_arg_str(struct prepare *p, const char *s)
{
    prepare_arg(p, s, strlen(s));
}

void prepare_arg_int(struct prepare *p, int64_t n)
{
    prepare_arg_str(p, arena_int(p->arena, n));
}

void prepare_arg_text(struct prepare *p, const struct field_value *v)
{
    if (v->is_set)
        prepare_arg(p, v->str, v->len);
    else
        prepare_arg(p, "", 0);
}

void prepare_arg_raw(struct prepare *p, const struct field_value *v)
{
    if (v->is_set)
        prepare_arg(p, v->raw.at, v->raw.len);
    else
        prepare_arg(p, "", 0);
}

void prepare_arg_literal(struct prepare *p, const struct field_value *v)
{
    if (!v->is_set) {
        prepare_arg(p, "", 0);
        return;
    }
    if (v->raw.len == v->len + 2) { /* without an escape it is what we would make of it */
        prepare_arg(p, v->raw.at, v->raw.len);
        return;
    }
    struct buf literal = BUF_INIT;
    json_put_string(&literal, v->str, v->len);
    prepare_arg(p, arena_strndup(p->arena, literal.data, literal.len), literal.len);
    buf_done(&literal);
}

void prepare_arg_number(struct prepare *p, const struct field_value *v)
{
    if (v->is_set)
        prepare_arg_int(p, v->num);
    else
        prepare_arg(p, "", 0);
}

/* The caller's literal may have any number of digits; ours has few. */
void prepare_arg_real(struct prepare *p, const struct field_value *v)
{
    prepare_arg_str(p, v->is_set ? arena_printf(p->arena, "%.15g", v->real) : "");
}

void prepare_arg_names(struct prepare *p, const struct field_value *v)
{
    if (!v->is_set) {
        prepare_arg(p, "", 0);
        return;
    }
    struct buf names = BUF_INIT;
    for (size_t i = 0; i < v->len; i++) {
        if (i > 0)
            buf_putc(&names, ' ');
        buf_append(&names, v->sub[i].str, v->sub[i].len);
    }
    prepare_arg(p, arena_strndup(p->arena, buf_peek(&names), names.len), names.len);
    buf_done(&names);
}

void prepare_arg_secret(struct prepare *p)
{
    char *secret = arena_alloc(p->arena, RND_LEASE_SECRET + 1);

    rnd_token(secret, RND_LEASE_SECRET);
    prepare_arg(p, secret, RND_LEASE_SECRET);
}

int prepare_refuse(struct prepare *p, const char *path, const char *expected, const char *got)
{
    p->problem->code = -32602;
    snprintf(p->problem->path, sizeof p->problem->path, "%s", path);
    snprintf(p->problem->expected, sizeof p->problem->expected, "%s", expected);
    snprintf(p->problem->got, sizeof p->problem->got, "%s", got);
    return -1;
}

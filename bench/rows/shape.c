/*
 * shape.c: see shape.h.
 */
#include "common/compat.h"
#include "bench/rows/shape.h"

#include "common/mem.h"

static void add(struct shape_piece **list, size_t *len, const struct shape_piece *piece)
{
    if (*len % 64 == 0)
        *list = mem_realloc(*list, (*len + 64) * sizeof **list);
    (*list)[(*len)++] = *piece;
}

void shape_done(struct shape *shape)
{
    free(shape->keys);
    free(shape->args);
    *shape = (struct shape){0};
}

void shape_put(struct shape_writer *w, const char *text)
{
    buf_puts(&w->params, text);
    if (w->shape)
        w->shape->params_len = w->params.len;
}

static struct shape_piece here(const struct shape_writer *w, const char *text)
{
    return (struct shape_piece){.at = w->params.len, .len = strlen(text)};
}

void shape_put_arg(struct shape_writer *w, const char *text)
{
    struct shape_piece piece = here(w, text);
    if (w->shape)
        add(&w->shape->args, &w->shape->nargs, &piece);
    shape_put(w, text);
}

void shape_put_id(struct shape_writer *w, const char *id)
{
    struct shape_piece piece = here(w, id);
    if (w->shape)
        add(&w->shape->keys, &w->shape->nkeys, &piece);
    shape_put_arg(w, id);
}

void shape_arg(struct shape_writer *w, const char *text)
{
    struct shape_piece piece = {.is_constant = true, .len = strlen(text)};

    if (!w->shape)
        return;
    cb_assert(piece.len < sizeof piece.text);
    snprintf(piece.text, sizeof piece.text, "%s", text);
    add(&w->shape->args, &w->shape->nargs, &piece);
}

void shape_arg_drawn(struct shape_writer *w, const char *text)
{
    shape_arg(w, text);
    if (w->shape)
        w->shape->args[w->shape->nargs - 1].is_drawn = true;
}

void shape_arg_int(struct shape_writer *w, int64_t n)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, n);
    shape_arg(w, text);
}

static void add_behind(struct shape_writer *w, const char *head, struct shape_piece piece)
{
    cb_assert(!piece.is_constant && strlen(head) < sizeof piece.text);
    snprintf(piece.text, sizeof piece.text, "%s", head);
    add(&w->shape->args, &w->shape->nargs, &piece);
}

void shape_put_behind(struct shape_writer *w, const char *head, const char *text)
{
    if (w->shape)
        add_behind(w, head, here(w, text));
    shape_put(w, text);
}

void shape_arg_again(struct shape_writer *w, const char *head, size_t i)
{
    if (!w->shape)
        return;
    cb_assert(i < w->shape->nargs);
    add_behind(w, head, w->shape->args[i]);
}

void shape_operations(struct shape_writer *w, unsigned n)
{
    if (w->shape)
        w->shape->operations = n;
}

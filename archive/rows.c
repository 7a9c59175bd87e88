/*
 * rows.c: see rows.h. The binary form of an array: dimensions, whether there are nulls, the type of its elements, then for the one
 * dimension its length and first index, then each element behind its length, -1 for null.
 */
#include "common/compat.h"
#include "archive/rows.h"

#include <endian.h>

enum { HEADER = 20 };

/* From pg_type.dat: they never change. */
static const struct {
    const char *sql;
    uint32_t element;
} types[] = {
    [COLUMN_TEXT] = {"text[]", 25},     [COLUMN_JSON] = {"json[]", 114},
    [COLUMN_WORDS] = {"text[]", 25},    [COLUMN_LINES] = {"text[]", 25},
    [COLUMN_BIGINT] = {"bigint[]", 20}, [COLUMN_INT] = {"integer[]", 23},
    [COLUMN_BOOL] = {"boolean[]", 16},  [COLUMN_TIME] = {"timestamptz[]", 1184},
};

/* 2000-01-01, from which PostgreSQL counts. */
static const int64_t epoch_us = INT64_C(946684800000000);

const char *column_type_sql(enum column_type type)
{
    return types[type].sql;
}

static void put32(char *at, uint32_t n)
{
    n = htobe32(n);
    memcpy(at, &n, sizeof n);
}

static void append32(struct buf *b, uint32_t n)
{
    n = htobe32(n);
    buf_append(b, &n, sizeof n);
}

static void append64(struct buf *b, int64_t n)
{
    uint64_t u = htobe64((uint64_t)n);
    buf_append(b, &u, sizeof u);
}

void column_init(struct column *c, enum column_type type)
{
    *c = (struct column){.type = type};
    column_reset(c);
}

void column_done(struct column *c)
{
    buf_done(&c->data);
}

void column_reset(struct column *c)
{
    static const char header[HEADER];

    buf_reset(&c->data);
    buf_append(&c->data, header, HEADER);
    c->rows = 0;
    c->has_null = false;
}

void column_null(struct column *c)
{
    append32(&c->data, UINT32_MAX);
    c->has_null = true;
    c->rows++;
}

void column_text(struct column *c, const char *s, size_t len)
{
    cb_assert(c->type <= COLUMN_LINES && len <= INT32_MAX);
    append32(&c->data, (uint32_t)len);
    buf_append(&c->data, s, len);
    c->rows++;
}

void column_int(struct column *c, int64_t n)
{
    switch (c->type) {
    case COLUMN_BIGINT:
    case COLUMN_TIME:
        append32(&c->data, 8);
        append64(&c->data, c->type == COLUMN_TIME ? n - epoch_us : n);
        break;
    case COLUMN_INT:
        append32(&c->data, 4);
        append32(&c->data, (uint32_t)(int32_t)n);
        break;
    default:
        cb_assert(c->type == COLUMN_BOOL);
        append32(&c->data, 1);
        buf_putc(&c->data, n != 0);
    }
    c->rows++;
}

int64_t column_time(const struct column *c, int row)
{
    uint64_t u;

    cb_assert(c->type == COLUMN_TIME && !c->has_null && row < c->rows);
    memcpy(&u, c->data.data + HEADER + (size_t)row * 12 + 4, sizeof u);
    return (int64_t)be64toh(u) + epoch_us;
}

const char *column_finish(struct column *c, int *ret_len)
{
    char *at = c->data.data;

    put32(at, c->rows > 0);
    put32(at + 4, c->has_null);
    put32(at + 8, types[c->type].element);
    put32(at + 12, (uint32_t)c->rows);
    put32(at + 16, 1);
    *ret_len = (int)c->data.len;
    return at;
}

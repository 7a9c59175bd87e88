/*
 * redis_reply.c: what is in a reply, and what kind of failure an error reply is (redis_link.h).
 *
 * Called by everything that talks to Redis. A reply of a shape that the caller did not expect reads
 * as empty rather than as a crash: nil, "", 0, NULL.
 */
#include "common/compat.h"
#include "common/redis_link.h"

#include <hiredis/hiredis.h>

enum reply_type reply_type(const reply_t *r)
{
    if (!r)
        return REPLY_NIL;
    switch (r->type) {
    case REDIS_REPLY_STRING:
        return REPLY_STRING;
    case REDIS_REPLY_ARRAY:
        return REPLY_ARRAY;
    case REDIS_REPLY_INTEGER:
        return REPLY_INT;
    case REDIS_REPLY_STATUS:
        return REPLY_STATUS;
    case REDIS_REPLY_ERROR:
        return REPLY_ERROR;
    default:
        return REPLY_NIL;
    }
}

bool reply_is_error(const reply_t *r)
{
    return reply_type(r) == REPLY_ERROR;
}

static bool has_str(const reply_t *r)
{
    enum reply_type type = reply_type(r);
    return type == REPLY_STRING || type == REPLY_STATUS || type == REPLY_ERROR;
}

const char *reply_str(const reply_t *r)
{
    return has_str(r) ? r->str : "";
}

/* Not one function for both lengths: an array where text was expected would be "" of so many bytes. */
size_t reply_bytes(const reply_t *r)
{
    return has_str(r) ? r->len : 0;
}

size_t reply_count(const reply_t *r)
{
    return reply_type(r) == REPLY_ARRAY ? r->elements : 0;
}

int64_t reply_int(const reply_t *r)
{
    if (reply_type(r) == REPLY_INT)
        return r->integer;
    if (reply_type(r) != REPLY_STRING || r->len == 0)
        return 0;
    /* strtoll would also take white space and a plus sign. */
    if (r->str[0] != '-' && (r->str[0] < '0' || r->str[0] > '9'))
        return 0;
    char *end;
    errno = 0;
    long long n = strtoll(r->str, &end, 10);
    return errno == 0 && end == r->str + r->len ? n : 0;
}

const reply_t *reply_at(const reply_t *r, size_t i)
{
    return reply_type(r) == REPLY_ARRAY && i < r->elements ? r->element[i] : NULL;
}

void reply_free(reply_t *r)
{
    if (r)
        freeReplyObject(r);
}

void reply_free_ptr(reply_t **r)
{
    reply_free(*r);
    *r = NULL;
}

const struct redis_fault_row redis_fault_rows[] = {
#define REDIS_FAULT(prefix, kind, meaning, reaction) {prefix, kind, meaning, reaction},
#include "common/redis_faults.def"
#undef REDIS_FAULT
    {.prefix = NULL},
};

/* NULL when it is none of those that we know. */
static const struct redis_fault_row *row_of(const reply_t *r)
{
    /* An error that a script raised keeps its word; redis.error_reply may leave the dash on it. */
    const char *text = r->str[0] == '-' ? r->str + 1 : r->str;
    for (const struct redis_fault_row *row = redis_fault_rows; row->prefix; row++) {
        size_t len = strlen(row->prefix);
        if (strncmp(text, row->prefix, len) == 0 && strchr(" \r\n", text[len]))
            return row;
    }
    return NULL;
}

enum redis_fault reply_fault(const reply_t *r)
{
    if (!reply_is_error(r))
        return REDIS_OK;
    const struct redis_fault_row *row = row_of(r);
    return row ? row->fault : REDIS_ERROR;
}

int reply_error(const reply_t *r, struct cb_error *err)
{
    const struct redis_fault_row *row = reply_is_error(r) ? row_of(r) : NULL;

    if (!err)
        return -1;
    if (row)
        cb_error_set(err, (int)row->fault, "%s (%s)", row->meaning, reply_str(r));
    else
        cb_error_set(err, (int)reply_fault(r), "%s", reply_str(r));
    for (char *c = err->text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127)
            *c = ' ';
    return -1;
}

bool redis_fault_is_elsewhere(enum redis_fault fault)
{
    return fault == REDIS_READONLY || fault == REDIS_MOVED || fault == REDIS_MIGRATING ||
           fault == REDIS_CLUSTERDOWN;
}

bool redis_fault_passes(enum redis_fault fault)
{
    return fault == REDIS_LOADING || fault == REDIS_MOVED || fault == REDIS_MIGRATING ||
           fault == REDIS_CLUSTERDOWN;
}

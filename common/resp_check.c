/*
 * resp_check.c: see resp_check.h. A state machine; one step per byte, bulk strings in one stride.
 *
 * It must end every element exactly where hiredis does (hiredis takes the first CR LF of a line as
 * its end, a lone CR or LF as data) and may only be stricter.
 */
#include "common/compat.h"
#include "common/resp_check.h"

enum { AT_TYPE, IN_LINE, IN_LENGTH, IN_LENGTH_LF, IN_BULK, IN_BULK_CR, IN_BULK_LF };

enum step { STEP_MORE, STEP_REPLY, STEP_BAD };

void resp_check_init(struct resp_check *check)
{
    *check = (struct resp_check){.state = AT_TYPE};
}

static enum step bad(const char **ret_reason, const char *reason)
{
    *ret_reason = reason;
    return STEP_BAD;
}

/* An element is over; so are the arrays that it was the last of. */
static enum step end_element(struct resp_check *c)
{
    c->state = AT_TYPE;
    while (c->depth > 0) {
        if (--c->left[c->depth - 1] > 0)
            return STEP_MORE;
        c->depth--;
    }
    c->bytes = 0;
    c->elements = 0;
    return STEP_REPLY;
}

static enum step begin_element(struct resp_check *c, char type, const char **ret_reason)
{
    if (type == '\0' || !strchr("+-:$*", type))
        return bad(ret_reason, "not a RESP2 reply");
    if (c->bytes > RESP_MAX_REPLY_BYTES)
        return bad(ret_reason, "a reply over the limit of 64 MiB");
    c->type = type;
    c->last = '\0';
    c->line = 0;
    c->digits = 0;
    c->number = 0;
    c->is_negative = false;
    c->state = type == '$' || type == '*' ? IN_LENGTH : IN_LINE;
    return STEP_MORE;
}

static enum step line_byte(struct resp_check *c, char byte, const char **ret_reason)
{
    if (++c->line > RESP_MAX_LINE)
        return bad(ret_reason, "a line over the limit of 64 KiB");
    if (byte == '\n' && c->last == '\r')
        return end_element(c);
    c->last = byte;
    return STEP_MORE;
}

/* The canonical forms only, as hiredis: -1, 0, or digits without a leading zero. */
static enum step length_byte(struct resp_check *c, char byte, const char **ret_reason)
{
    bool is_first = c->digits == 0 && !c->is_negative;
    if (byte == '-' && is_first) {
        c->is_negative = true;
        return STEP_MORE;
    }
    if (byte == '\r' && c->digits > 0) {
        c->state = IN_LENGTH_LF;
        return STEP_MORE;
    }
    if (byte < '0' || byte > '9' || (c->digits > 0 && c->number == 0) || c->digits == 10)
        return bad(ret_reason, "a bad length");
    c->number = c->number * 10 + (byte - '0');
    c->digits++;
    if (c->is_negative && c->number != 1)
        return bad(ret_reason, "a bad length");
    return STEP_MORE;
}

static enum step begin_array(struct resp_check *c, const char **ret_reason)
{
    if (c->number > RESP_MAX_ELEMENTS || c->elements + (size_t)c->number > RESP_MAX_ELEMENTS)
        return bad(ret_reason, "more array elements than the limit of 1048576");
    if (c->depth == RESP_MAX_DEPTH)
        return bad(ret_reason, "arrays nested deeper than the limit of 7");
    c->elements += (size_t)c->number;
    c->left[c->depth++] = (uint32_t)c->number;
    c->state = AT_TYPE;
    return STEP_MORE;
}

static enum step begin_bulk(struct resp_check *c, const char **ret_reason)
{
    if (c->number > RESP_MAX_REPLY_BYTES || c->bytes + (size_t)c->number > RESP_MAX_REPLY_BYTES)
        return bad(ret_reason, "a reply over the limit of 64 MiB");
    c->bytes += (size_t)c->number;
    c->bytes_due = (size_t)c->number;
    c->state = c->bytes_due > 0 ? IN_BULK : IN_BULK_CR;
    return STEP_MORE;
}

static enum step end_length(struct resp_check *c, char byte, const char **ret_reason)
{
    if (byte != '\n')
        return bad(ret_reason, "a bad length");
    if (c->is_negative || (c->type == '*' && c->number == 0))
        return end_element(c);
    return c->type == '*' ? begin_array(c, ret_reason) : begin_bulk(c, ret_reason);
}

static enum step take_byte(struct resp_check *c, char byte, const char **ret_reason)
{
    c->bytes++;
    switch (c->state) {
    case AT_TYPE:
        return begin_element(c, byte, ret_reason);
    case IN_LINE:
        return line_byte(c, byte, ret_reason);
    case IN_LENGTH:
        return length_byte(c, byte, ret_reason);
    case IN_LENGTH_LF:
        return end_length(c, byte, ret_reason);
    case IN_BULK_CR:
        c->state = IN_BULK_LF;
        return byte == '\r' ? STEP_MORE : bad(ret_reason, "a bulk string longer than announced");
    default:
        return byte == '\n' ? end_element(c) : bad(ret_reason, "a bulk string that ends badly");
    }
}

ssize_t resp_check_scan(struct resp_check *check, const char *data, size_t len, bool *ret_complete,
                        const char **ret_reason)
{
    size_t at = 0;
    *ret_complete = false;
    while (at < len) {
        if (check->state == IN_BULK) {
            size_t stride = len - at < check->bytes_due ? len - at : check->bytes_due;
            at += stride;
            check->bytes_due -= stride;
            if (check->bytes_due == 0)
                check->state = IN_BULK_CR;
            continue;
        }
        enum step step = take_byte(check, data[at++], ret_reason);
        if (step == STEP_BAD)
            return -1;
        if (step == STEP_REPLY) {
            *ret_complete = true;
            break;
        }
    }
    return (ssize_t)at;
}

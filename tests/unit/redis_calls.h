/*
 * redis_calls.h: short forms of calls on a link, for its tests.
 */
#ifndef CB_REDIS_CALLS_H
#define CB_REDIS_CALLS_H

#include "common/redis_link.h"
#include "tests/unit/unit.h"

static inline void expect_status(struct redis_link *link, const char *expected)
{
    struct cb_error err = {0};
    reply_t *reply = NULL;
    ck_assert_msg(redis_link_read(link, 5000, &reply, &err) == 0, "%s", err.text);
    ck_assert_str_eq(reply_str(reply), expected);
    reply_free(reply);
}

/* Sends one command made of words and returns what comes back. */
#define COMMAND(link, ...) (redis_link_appendv((link), __VA_ARGS__, NULL), read_reply(link))
static inline reply_t *read_reply(struct redis_link *link)
{
    struct cb_error err = {0};
    reply_t *reply = NULL;
    ck_assert_msg(redis_link_read(link, 5000, &reply, &err) == 0, "%s", err.text);
    return reply;
}

#define EXPECT_FAULT(link, fault, ...)                                                             \
    do {                                                                                           \
        struct cb_error fault_err = {0};                                                           \
        int fault_rc = redis_link_callv((link), NULL, &fault_err, __VA_ARGS__, NULL);              \
        ck_assert_int_eq(fault_rc, -1);                                                            \
        ck_assert_msg(fault_err.code == (fault), "fault %d: %s", fault_err.code, fault_err.text);  \
    } while (0)

static inline void call_ok(struct redis_link *link, const char *a, const char *b, const char *c,
                           const char *d)
{
    struct cb_error err = {0};
    ck_assert_msg(redis_link_callv(link, NULL, &err, a, b, c, d, NULL) == 0, "%s", err.text);
}

static inline void expect_open_fails(const struct redis_target *target, enum redis_fault fault)
{
    struct redis_link *link = NULL;
    struct cb_error err = {0};
    ck_assert_int_eq(redis_link_open(target, NULL, &link, &err), -1);
    ck_assert_ptr_null(link);
    ck_assert_msg(err.code == (int)fault, "fault %d: %s", err.code, err.text);
}

#endif

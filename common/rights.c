/*
 * rights.c: see rights.h.
 *
 * The client's user has more than one set of rights (Redis 7: selectors): a command is allowed when one set has both it and
 * all its keys. So XREADGROUP reaches the event stream and no request stream, and what a script of a client's own runs
 * stays within the same sets; EVALSHA, which Redis takes to read and write its keys, is alone in the set of its keys.
 */
#include "common/compat.h"
#include "common/rights.h"

enum {
    DAEMON = 1 << 0,
    CLIENT = 1 << 1,
    ASK = 1 << 2,
    READ = 1 << 3,
    FOLLOW = 1 << 4,
    TAKE = 1 << 5,
    ALONE = 1 << 6,
};

static const struct {
    unsigned who;
    const char *command;
} rights[] = {
#define RIGHT(who_, command_) {who_, command_},
#include "common/rights.def"
#undef RIGHT
};

static void put_commands(struct buf *out, unsigned who)
{
    for (size_t i = 0; i < CB_ARRAY_LEN(rights); i++)
        if (rights[i].who & who)
            buf_printf(out, " +%s", rights[i].command);
}

static void put_daemon(struct buf *out, const char *p, unsigned who)
{
    buf_printf(out, " ~%s:* &%s:events:* -@all", p, p);
    put_commands(out, who);
}

static void put_client(struct buf *out, const char *p)
{
    static const char *const public_keys[] = {"stream:events", "stream:audit", "partition:*",
                                              "audit:head:*"};

    buf_printf(out, " &%s:events:*", p);
    for (size_t i = 0; i < CB_ARRAY_LEN(public_keys); i++)
        buf_printf(out, " %%R~%s:%s", p, public_keys[i]);
    buf_puts(out, " -@all");
    put_commands(out, CLIENT | READ);
    buf_printf(out, " (~%s:requests:* -@all", p);
    put_commands(out, ASK);
    buf_printf(out, ") (~%s:stream:events -@all", p);
    put_commands(out, FOLLOW);
    buf_printf(out, ") (~%s:reply:* -@all", p);
    put_commands(out, TAKE);
    buf_puts(out, ")");
}

void rights_put_user(struct buf *out, enum rights_user user, const char *name, const char *hash,
                     const char *prefix)
{
    buf_printf(out, "user %s reset on #%s", name, hash);
    if (user == RIGHTS_DAEMON)
        put_daemon(out, prefix, DAEMON);
    else if (user == RIGHTS_DAEMON_ALONE)
        put_daemon(out, prefix, DAEMON | ALONE);
    else if (user == RIGHTS_CLIENT)
        put_client(out, prefix);
    else
        buf_puts(out, " -@all +replconf +sync"); /* sent by redis-cli --rdb */
    buf_puts(out, "\n");
}

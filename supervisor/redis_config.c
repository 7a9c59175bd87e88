/*
 * redis_config.c: see redis_config.h.
 *
 * Two users. `daemon` is the supervisor and its workers: every data command under our prefix, nothing
 * that administers the server but what handing on needs. `client` is claudebench: it appends requests,
 * pops its replies, and reads the public streams.
 *
 * The default user is off and has no password, so nobody can be it; yet it keeps all rights, because
 * Redis loads its append-only file as that user and checks EXEC: with -@all every transaction in the file,
 * and so every effect of a script, is silently left out at the next start (seen with 7.0.15).
 */
#include "common/compat.h"
#include "supervisor/redis_config.h"

#include "common/mem.h"

static const char *const fixed_lines[] = {
    "port 0",
    "daemonize no",
    "supervised no",
    "databases 1",
    "always-show-logo no",
    "set-proc-title yes",
    "loglevel notice",
    "unixsocketperm 770",
    "protected-mode yes",
    "enable-protected-configs no",
    "enable-debug-command no",
    "enable-module-command no",
    "timeout 0",
    "save \"\"",
    "appendonly yes",
    "appendfilename \"appendonly.aof\"",
    "appenddirname \"appendonlydir\"",
    "aof-load-truncated yes",
    "aof-use-rdb-preamble yes",
    "auto-aof-rewrite-percentage 100",
    "auto-aof-rewrite-min-size 64mb",
    "maxmemory-policy noeviction",
    "hash-max-listpack-value 1024",
    "hash-max-listpack-entries 128",
    "lazyfree-lazy-expire yes", /* a generation of idempotency outcomes is large */
};

static const char daemon_rights[] = "-@all +@all -@admin -@dangerous +info +role +config|get "
                                    "+client|list +client|kill +client|unblock";

static const char client_rights[] = "-@all +auth +hello +ping +echo +quit +reset +select "
                                    "+client|setname +client|getname +client|id "
                                    "+xadd +xlen +xrange +xrevrange +xread +xinfo|stream +evalsha "
                                    "+get +script|load +script|exists +time "
                                    "+wait +subscribe +psubscribe +unsubscribe +punsubscribe";

/* A reader of events whose place is kept moves it by itself. */
static const char reader_rights[] = "+xreadgroup +xack";

static const char reply_rights[] = "+blmpop +lmpop +lpop +llen +unlink +exists";

/* In double quotes, for Redis's line splitter. */
static void put_quoted(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, "%s \"", name);
    for (const char *p = value; *p; p++) {
        if (*p == '"' || *p == '\\')
            buf_putc(out, '\\');
        if ((unsigned char)*p < ' ')
            buf_printf(out, "\\x%02x", (unsigned char)*p);
        else
            buf_putc(out, *p);
    }
    buf_puts(out, "\"\n");
}

static const char *fsync_word(int appendfsync)
{
    switch (appendfsync) {
    case APPENDFSYNC_ALWAYS:
        return "always";
    case APPENDFSYNC_NO:
        return "no";
    default:
        return "everysec";
    }
}

static void put_users(const struct redis_config *cfg, struct buf *out)
{
    const char *p = cfg->opts->redis.prefix;

    buf_puts(out, "user default off resetpass ~* &* +@all\n");
    buf_printf(out, "user daemon on #%s resetkeys resetchannels ~%s:* &%s:* &%s:events:* %s\n",
               cfg->daemon_hash, p, p, p, daemon_rights);
    buf_printf(out, "user client on #%s resetkeys resetchannels ~%s:requests:* ", cfg->client_hash,
               p);
    buf_printf(out, "%%R~%s:stream:events %%R~%s:partition:* %%R~%s:stream:dead ", p, p, p);
    buf_printf(out, "%%R~%s:stream:audit %%R~%s:audit:head:* &%s:events:* %s ", p, p, p,
               client_rights);
    buf_printf(out, "(~%s:stream:events %s) ", p, reader_rights);
    buf_printf(out, "(~%s:reply:* %s)\n", p, reply_rights);
}

void redis_config_put(const struct redis_config *cfg, struct buf *out)
{
    for (size_t i = 0; i < CB_ARRAY_LEN(fixed_lines); i++)
        buf_printf(out, "%s\n", fixed_lines[i]);
    put_quoted(out, "unixsocket", cfg->socket);
    put_quoted(out, "dir", cfg->opts->redis.dir);
    char *logfile CB_CLEANUP(mem_free_ptr) = mem_printf("%s/redis.log", cfg->opts->redis.dir);
    put_quoted(out, "logfile", logfile);
    buf_printf(out, "appendfsync %s\n", fsync_word(cfg->opts->redis.appendfsync));
    buf_printf(out, "maxmemory %" PRId64 "\n", cfg->opts->redis.maxmemory);
    put_users(cfg, out);
}

/*
 * redis_config.c: see redis_config.h.
 *
 * Three users, `daemon`, `client` and `backup`, with the rights of common/rights.h.
 *
 * The default user is off and has no password, so nobody can be it; yet it keeps all rights, because
 * Redis loads its append-only file as that user and checks EXEC: with -@all every transaction in the file,
 * and so every effect of a script, is silently left out at the next start (seen with 7.0.15).
 */
#include "common/compat.h"
#include "supervisor/redis_config.h"

#include "common/mem.h"
#include "common/rights.h"

static const char *const fixed_lines[] = {
    "port 0",
    "daemonize no",
    "supervised no",
    "databases 1",
    "always-show-logo no",
    "set-proc-title yes",
    "loglevel notice",
    "unixsocketperm 660",
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
    "zset-max-listpack-entries 16", /* leases and queues: a list is searched from end to end by each change */
    "repl-diskless-sync yes",     /* a backup is a replica for once: straight to it, */
    "repl-diskless-sync-delay 0", /* at once */
    "lazyfree-lazy-expire yes",   /* a generation of idempotency outcomes is large */
};

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
    const char *prefix = cfg->opts->redis.prefix;

    buf_puts(out, "user default off resetpass ~* &* +@all\n");
    rights_put_user(out, RIGHTS_DAEMON_ALONE, "daemon", cfg->daemon_hash, prefix);
    rights_put_user(out, RIGHTS_CLIENT, "client", cfg->client_hash, prefix);
    rights_put_user(out, RIGHTS_BACKUP, "backup", cfg->backup_hash, prefix);
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

/*
 * lineage.c: see lineage.h. The file is one line: generation, the one before it ("-" = none), wall ms of the change.
 */
#include "common/compat.h"
#include "supervisor/lineage.h"

#include "common/clock.h"
#include "common/keys.h"
#include "common/log.h"
#include "common/mem.h"

#include <fcntl.h>

enum { LOOK_MS = 10000, GENERATION_SIZE = 65 };
#define KEPT_MS (INT64_C(7) * 86400000)

struct lineage {
    struct redis_conn *conn;
    struct event *timer;
    char *path;
    char *key; /* cb:meta */
    char generation[GENERATION_SIZE];
    char before[GENERATION_SIZE];
    int64_t changed_ms;
};

/* ---- the file ---- */

static void recall(struct lineage *l)
{
    FILE *f = fopen(l->path, "re");
    char changed[32] = "";

    if (!f)
        return;
    if (fscanf(f, "%64s %64s %31s", l->generation, l->before, changed) != 3 ||
        strcmp(l->before, "-") == 0)
        l->before[0] = '\0';
    l->changed_ms = strtoll(changed, NULL, 10);
    (void)fclose(f);
}

/* Whole or not at all. Should it fail, the next start sees a change that has been seen before: that is told twice. */
static void remember(const struct lineage *l)
{
    char *temporary CB_CLEANUP(mem_free_ptr) = mem_printf("%s.new", l->path);
    char *text CB_CLEANUP(mem_free_ptr) = mem_printf("%s %s %" PRId64 "\n", l->generation,
                                                     l->before[0] ? l->before : "-", l->changed_ms);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    size_t len = strlen(text);

    if (fd < 0)
        return;
    bool is_written = write(fd, text, len) == (ssize_t)len;
    close(fd);
    if (!is_written || rename(temporary, l->path) != 0)
        unlink(temporary);
}

/* ---- Redis ---- */

static void on_generation(void *arg, const reply_t *reply)
{
    struct lineage *l = arg;
    bool is_row = reply && reply_type(reply) == REPLY_ARRAY && reply_count(reply) == 2;
    const char *found = is_row ? reply_str(reply_at(reply, 0)) : "";
    bool is_restored = is_row && reply_bytes(reply_at(reply, 1)) > 0;

    if (!found || !found[0] || strlen(found) >= GENERATION_SIZE || strpbrk(found, " \t\r\n") ||
        strcmp(found, l->generation) == 0)
        return;
    if (l->generation[0])
        log_event(EV_data_changed, LOG_S("before", l->generation), LOG_S("now", found));
    /* Data that somebody has put back are what they are to be, even if there are none. */
    if (is_restored)
        l->before[0] = '\0';
    else
        memcpy(l->before, l->generation, sizeof l->before);
    snprintf(l->generation, sizeof l->generation, "%s", found);
    l->changed_ms = clock_wall_ms();
    remember(l);
}

void lineage_look(struct lineage *l)
{
    if (redis_conn_is_up(l->conn))
        redis_conn_call(l->conn, on_generation, l, "HMGET", l->key, "generation", "restored_from",
                        NULL);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    lineage_look(arg);
}

/* ---- interface ---- */

struct lineage *lineage_new(struct event_base *base, const struct options *opts,
                            struct redis_conn *conn)
{
    struct lineage *l = mem_alloc(sizeof *l);
    const struct timeval tv = {.tv_sec = LOOK_MS / 1000};
    CB_CLEANUP(arena_done) struct arena arena = ARENA_INIT;

    *l = (struct lineage){.conn = conn,
                          .path = mem_printf("%s/data.generation", opts->supervisor.state_dir),
                          .key = mem_strdup(keys_make(&arena, opts->redis.prefix, KEY_META))};
    recall(l);
    l->timer = event_new(base, -1, EV_PERSIST, on_timer, l);
    cb_assert(l->timer);
    evtimer_add(l->timer, &tv);
    return l;
}

void lineage_free(struct lineage *l)
{
    if (!l)
        return;
    event_free(l->timer);
    free(l->path);
    free(l->key);
    free(l);
}

const char *lineage_generation(const struct lineage *l)
{
    return l->generation;
}

const char *lineage_before(const struct lineage *l)
{
    return clock_wall_ms() - l->changed_ms < KEPT_MS ? l->before : "";
}

/*
 * scoreboard.c: see scoreboard.h. Owns nothing but the mapping; the memfd is its creator's.
 */
#include "common/compat.h"
#include "common/scoreboard.h"

#include "common/clock.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { SCOREBOARD_MAGIC = 0x43425342, READ_TRIES = 64 };

const char *worker_state_name(enum worker_state state)
{
    static const char *const names[] = {
        [WORKER_EMPTY] = "empty",         [WORKER_STARTING] = "starting",
        [WORKER_READY] = "ready",         [WORKER_IDLE] = "idle",
        [WORKER_HANDLING] = "handling",   [WORKER_COMMIT] = "commit",
        [WORKER_RECONNECT] = "reconnect", [WORKER_REFUSED] = "refused",
        [WORKER_DRAINING] = "draining",
    };
    return (size_t)state < CB_ARRAY_LEN(names) ? names[state] : "unknown";
}

static int map_scoreboard(int fd, struct scoreboard **ret, struct cb_error *err)
{
    void *p = mmap(NULL, sizeof(struct scoreboard), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return cb_error_set(err, errno, "scoreboard: mmap: %s", strerror(errno));
    *ret = p;
    return 0;
}

int scoreboard_create(struct scoreboard **ret, struct cb_error *err)
{
    struct scoreboard *sb = NULL;
    int fd = memfd_create("claudebench-scoreboard", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return cb_error_set(err, errno, "scoreboard: memfd_create: %s", strerror(errno));
    if (ftruncate(fd, sizeof(struct scoreboard)) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        cb_error_set(err, errno, "scoreboard: memfd: %s", strerror(errno));
        goto fail;
    }
    if (map_scoreboard(fd, &sb, err) < 0)
        goto fail;
    sb->global.magic = SCOREBOARD_MAGIC;
    sb->global.version = SCOREBOARD_VERSION;
    *ret = sb;
    return fd;

fail:
    close(fd);
    return -1;
}

int scoreboard_attach(int fd, struct scoreboard **ret, struct cb_error *err)
{
    struct scoreboard *sb = NULL;
    struct stat st;

    if (fstat(fd, &st) < 0)
        return cb_error_set(err, errno, "scoreboard: fd %d: %s", fd, strerror(errno));
    if (st.st_size != (off_t)sizeof(struct scoreboard))
        return cb_error_set(err, EINVAL, "scoreboard: %lld bytes, expected %zu",
                            (long long)st.st_size, sizeof(struct scoreboard));
    if (map_scoreboard(fd, &sb, err) < 0)
        return -1;
    if (sb->global.magic != SCOREBOARD_MAGIC || sb->global.version != SCOREBOARD_VERSION) {
        cb_error_set(err, EINVAL, "scoreboard: magic %08x, version %u", (unsigned)sb->global.magic,
                     (unsigned)sb->global.version);
        scoreboard_detach(sb);
        return -1;
    }
    *ret = sb;
    return 0;
}

void scoreboard_detach(struct scoreboard *sb)
{
    if (sb)
        munmap(sb, sizeof *sb);
}

bool scoreboard_memory_is_short(uint64_t used_bytes, uint64_t max_bytes)
{
    return max_bytes > 0 && used_bytes >= max_bytes / 10 * 9;
}

bool scoreboard_is_memory_short(const struct scoreboard_global *g)
{
    return scoreboard_memory_is_short(atomic_load_explicit(&g->used_memory, memory_order_relaxed),
                                      atomic_load_explicit(&g->max_memory, memory_order_relaxed));
}

static void add(_Atomic uint64_t *sum, const _Atomic uint64_t *n)
{
    atomic_fetch_add_explicit(sum, atomic_load_explicit(n, memory_order_relaxed),
                              memory_order_relaxed);
}

static void add_all(_Atomic uint64_t *sums, const _Atomic uint64_t *counts, size_t len)
{
    for (size_t i = 0; i < len; i++)
        add(&sums[i], &counts[i]);
}

/* After an upgrade in place a row may be another method's or script's: then any that has this name, or none. Counts go only when
 * all rows are taken, by names of versions that are gone. `first` is the name in the first row. */
static size_t retired_row(const char *first, size_t row_size, size_t rows, size_t own,
                          const char *name)
{
    size_t empty = rows;

    if (!first[own * row_size] || strcmp(first + own * row_size, name) == 0)
        return own;
    for (size_t i = 0; i < rows; i++) {
        if (strcmp(first + i * row_size, name) == 0)
            return i;
        if (!first[i * row_size])
            empty = i;
    }
    return empty < rows ? empty : own;
}

static void retire_method(struct scoreboard_method *rows, size_t own,
                          const struct scoreboard_method *m)
{
    struct scoreboard_method
        *sum = &rows[retired_row(rows[0].name, sizeof rows[0], SCOREBOARD_METHODS, own, m->name)];

    if (sum->name[0] && strcmp(sum->name, m->name) != 0)
        return;
    memcpy(sum->name, m->name, sizeof sum->name);
    add(&sum->requests, &m->requests);
    add(&sum->errors, &m->errors);
    add(&sum->refused, &m->refused);
    add(&sum->total_us, &m->total_us);
    add_all(sum->buckets, m->buckets, SCOREBOARD_BUCKETS);
    add_all(sum->bounded, m->bounded, SCOREBOARD_BOUNDS);
    add_all(sum->codes, m->codes, SCOREBOARD_CODES);
}

static void raise_to(_Atomic uint64_t *max, uint64_t n)
{
    if (n > atomic_load_explicit(max, memory_order_relaxed))
        atomic_store_explicit(max, n, memory_order_relaxed);
}

void scoreboard_add_script(struct scoreboard_script *sum, const struct scoreboard_script *s)
{
    if (!s->name[0] || (sum->name[0] && strcmp(sum->name, s->name) != 0))
        return;
    memcpy(sum->name, s->name, sizeof sum->name);
    add(&sum->calls, &s->calls);
    add(&sum->requests, &s->requests);
    add(&sum->total_us, &s->total_us);
    raise_to(&sum->max_us, atomic_load_explicit(&s->max_us, memory_order_relaxed));
}

void scoreboard_observe_script(struct scoreboard_script *s, size_t requests, int64_t us)
{
    uint64_t spent = us > 0 ? (uint64_t)us : 0;

    atomic_fetch_add_explicit(&s->calls, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->requests, requests, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->total_us, spent, memory_order_relaxed);
    raise_to(&s->max_us, spent);
}

void scoreboard_retire(struct scoreboard *sb, const struct scoreboard_slot *slot)
{
    struct scoreboard_script *scripts = sb->retired.scripts;

    add(&sb->retired.requests, &slot->requests);
    add(&sb->retired.duplicates, &slot->duplicates);
    add(&sb->retired.commits, &slot->commits);
    add(&sb->retired.reconnects, &slot->reconnects);
    add(&sb->retired.archive_events, &slot->archive_events);
    add(&sb->retired.archive_rows, &slot->archive_rows);
    add(&sb->retired.archive_refused, &slot->archive_refused);
    add(&sb->retired.archive_gaps, &slot->archive_gaps);
    add_all(sb->retired.decisions, slot->decisions, SCOREBOARD_DECISIONS);
    for (size_t i = 0; i < SCOREBOARD_HOOK_EVENTS; i++)
        add_all(sb->retired.hook_events[i], slot->hook_events[i], SCOREBOARD_DECISIONS);
    add_all(sb->retired.claims, slot->claims, SCOREBOARD_CLAIMS);
    add_all(sb->retired.nameless, slot->nameless, SCOREBOARD_CODES);
    for (size_t i = 0; i < SCOREBOARD_METHODS; i++)
        if (slot->methods[i].name[0])
            retire_method(sb->retired.methods, i, &slot->methods[i]);
    for (size_t i = 0; i < SCOREBOARD_SCRIPTS; i++)
        scoreboard_add_script(&scripts[retired_row(scripts[0].name, sizeof scripts[0],
                                                   SCOREBOARD_SCRIPTS, i, slot->scripts[i].name)],
                              &slot->scripts[i]);
}

void scoreboard_slot_reset(struct scoreboard_slot *slot, const char *domain, uint64_t generation)
{
    memset(slot, 0, sizeof *slot);
    snprintf(slot->domain, sizeof slot->domain, "%s", domain);
    atomic_store_explicit(&slot->generation, generation, memory_order_relaxed);
    atomic_store_explicit(&slot->method, -1, memory_order_relaxed);
}

void scoreboard_beat(struct scoreboard_slot *slot)
{
    atomic_store_explicit(&slot->beat_us, clock_mono_us(), memory_order_relaxed);
}

/* ---- texts, which others read while they are written ---- */

/* Returns what end_write() takes. An odd number is left by a writer that died while it wrote. */
static uint32_t begin_write(_Atomic uint32_t *seq)
{
    uint32_t now = atomic_load_explicit(seq, memory_order_relaxed);

    now += now & 1;
    atomic_store_explicit(seq, now + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    return now + 2;
}

static void end_write(_Atomic uint32_t *seq, uint32_t next)
{
    atomic_store_explicit(seq, next, memory_order_release);
}

struct text_copy {
    char *to;
    const char *from;
    size_t size;
};

/* Consistent copies; false, and "" in all of them, when the writer died while writing. */
static bool read_texts(const _Atomic uint32_t *seq, const struct text_copy *copies, size_t n)
{
    bool is_whole = false;

    for (int i = 0; i < READ_TRIES && !is_whole; i++) {
        uint32_t before = atomic_load_explicit(seq, memory_order_acquire);
        if (before & 1)
            continue;
        for (size_t k = 0; k < n; k++)
            memcpy(copies[k].to, copies[k].from, copies[k].size);
        atomic_thread_fence(memory_order_acquire);
        is_whole = atomic_load_explicit(seq, memory_order_relaxed) == before;
    }
    for (size_t k = 0; k < n; k++)
        copies[k].to[is_whole ? copies[k].size - 1 : 0] = '\0';
    return is_whole;
}

static bool read_text(const _Atomic uint32_t *seq, char *to, const char *from, size_t size)
{
    return read_texts(seq, &(struct text_copy){to, from, size}, 1);
}

void scoreboard_set_entry(struct scoreboard_slot *slot, const char *entry_id)
{
    uint32_t next = begin_write(&slot->entry_seq);
    size_t len = entry_id ? strnlen(entry_id, sizeof slot->entry_id - 1) : 0;

    memcpy(slot->entry_id, entry_id ? entry_id : "", len);
    slot->entry_id[len] = '\0';
    end_write(&slot->entry_seq, next);
}

void scoreboard_get_entry(const struct scoreboard_slot *slot, char out[STREAM_ID_SIZE])
{
    read_text(&slot->entry_seq, out, slot->entry_id, sizeof slot->entry_id);
}

/* Copies a text so that it is cut before a character, not in it. */
static void put_cut(char *out, size_t size, const char *text)
{
    size_t len = strlen(text);

    if (len >= size) {
        len = size - 1;
        while (len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80)
            len--;
    }
    memcpy(out, text, len);
    out[len] = '\0';
}

/* ---- what the supervisor sees ---- */

void scoreboard_set_trouble(struct scoreboard_global *g, enum scoreboard_trouble which,
                            const char *what)
{
    struct scoreboard_text *t = &g->troubles[which];
    uint32_t next = begin_write(&t->seq);

    put_cut(t->text, sizeof t->text, what ? what : "");
    end_write(&t->seq, next);
}

bool scoreboard_get_trouble(const struct scoreboard_global *g, enum scoreboard_trouble which,
                            char out[SCOREBOARD_TEXT_SIZE])
{
    const struct scoreboard_text *t = &g->troubles[which];

    return read_text(&t->seq, out, t->text, sizeof t->text) && out[0];
}

/* ---- rules ---- */

const char *scoreboard_decision_name(enum scoreboard_decision decision)
{
    static const char *const names[SCOREBOARD_DECISIONS] = {
        [DECISION_NONE] = "none",     [DECISION_ALLOW] = "allow", [DECISION_MODIFY] = "modify",
        [DECISION_ASK] = "ask",       [DECISION_DENY] = "deny",   [DECISION_FALLBACK] = "fallbacks",
        [DECISION_CACHED] = "cached",
    };
    return (size_t)decision < CB_ARRAY_LEN(names) ? names[decision] : "unknown";
}

void scoreboard_set_rules(struct scoreboard_slot *slot, const char *version, size_t rules,
                          const char *problem)
{
    uint32_t next = begin_write(&slot->rules_seq);

    snprintf(slot->rules_version, sizeof slot->rules_version, "%s", version);
    put_cut(slot->rules_problem, sizeof slot->rules_problem, problem ? problem : "");
    atomic_store_explicit(&slot->rules, (uint32_t)rules, memory_order_relaxed);
    end_write(&slot->rules_seq, next);
}

bool scoreboard_get_rules(const struct scoreboard_slot *slot, char version[17],
                          char problem[SCOREBOARD_TEXT_SIZE])
{
    const struct text_copy copies[] = {
        {version, slot->rules_version, sizeof slot->rules_version},
        {problem, slot->rules_problem, sizeof slot->rules_problem},
    };

    return read_texts(&slot->rules_seq, copies, CB_ARRAY_LEN(copies)) && version[0];
}

void scoreboard_sum_rules(const struct scoreboard *sb, struct scoreboard_rules *ret)
{
    *ret = (struct scoreboard_rules){0};
    for (size_t i = 0; i < SCOREBOARD_SLOTS; i++) {
        const struct scoreboard_slot *slot = &sb->slots[i];
        char version[17], problem[SCOREBOARD_TEXT_SIZE];
        if (atomic_load_explicit(&slot->state, memory_order_relaxed) == WORKER_EMPTY ||
            !scoreboard_get_rules(slot, version, problem))
            continue;
        ret->workers++;
        ret->rules = atomic_load_explicit(&slot->rules, memory_order_relaxed);
        memcpy(ret->version, version, sizeof version);
        if (!problem[0])
            continue;
        ret->troubled++;
        if (ret->troubled == 1)
            memcpy(ret->problem, problem, sizeof problem);
    }
}

/* ---- the archive ---- */

void scoreboard_set_archive(struct scoreboard_slot *slot, enum scoreboard_archive state,
                            const char *problem)
{
    uint32_t next = begin_write(&slot->archive_seq);

    put_cut(slot->archive_problem, sizeof slot->archive_problem, problem ? problem : "");
    atomic_store_explicit(&slot->archive_state, (int)state, memory_order_relaxed);
    end_write(&slot->archive_seq, next);
}

static void sum_archive(const struct scoreboard_slot *slot, struct scoreboard_archives *ret)
{
    ret->events += atomic_load_explicit(&slot->archive_events, memory_order_relaxed);
    ret->rows += atomic_load_explicit(&slot->archive_rows, memory_order_relaxed);
    ret->refused += atomic_load_explicit(&slot->archive_refused, memory_order_relaxed);
    ret->gaps += atomic_load_explicit(&slot->archive_gaps, memory_order_relaxed);
}

void scoreboard_sum_archives(const struct scoreboard *sb, struct scoreboard_archives *ret)
{
    *ret = (struct scoreboard_archives){0};
    sum_archive(&sb->retired, ret);
    for (size_t i = 0; i < SCOREBOARD_SLOTS; i++) {
        const struct scoreboard_slot *slot = &sb->slots[i];
        int state = atomic_load_explicit(&slot->archive_state, memory_order_relaxed);
        if (state == ARCHIVE_NONE)
            continue;
        sum_archive(slot, ret);
        uint64_t waiting = atomic_load_explicit(&slot->archive_waiting, memory_order_relaxed);
        int64_t lag_ms = atomic_load_explicit(&slot->archive_lag_ms, memory_order_relaxed);
        if (ret->workers++ == 0 || waiting < ret->waiting)
            ret->waiting = waiting;
        if (ret->workers == 1 || lag_ms < ret->lag_ms)
            ret->lag_ms = lag_ms;
        ret->down += state == ARCHIVE_DOWN;
        if (state == ARCHIVE_DOWN && !ret->problem[0])
            read_text(&slot->archive_seq, ret->problem, slot->archive_problem,
                      sizeof slot->archive_problem);
    }
}

uint64_t scoreboard_decisions(const struct scoreboard *sb, enum scoreboard_decision decision)
{
    uint64_t n = atomic_load_explicit(&sb->retired.decisions[decision], memory_order_relaxed);

    for (size_t i = 0; i < SCOREBOARD_SLOTS; i++)
        n += atomic_load_explicit(&sb->slots[i].decisions[decision], memory_order_relaxed);
    return n;
}

/* ---- what metrics tell apart ---- */

static const struct {
    int code;
    const char *name;
} error_codes[SCOREBOARD_CODES - CODE_FIRST_ERROR] = {
    {-32700, "-32700"}, {-32600, "-32600"}, {-32601, "-32601"}, {-32602, "-32602"},
    {-32603, "-32603"}, {-32000, "-32000"}, {-32001, "-32001"}, {-32002, "-32002"},
    {-32004, "-32004"}, {-32005, "-32005"}, {-32006, "-32006"}, {-32007, "-32007"},
};

enum scoreboard_code scoreboard_code(int64_t code)
{
    if (code >= 0)
        return CODE_OK;
    for (size_t i = 0; i < CB_ARRAY_LEN(error_codes); i++)
        if (error_codes[i].code == code)
            return (enum scoreboard_code)(CODE_FIRST_ERROR + i);
    return CODE_OTHER;
}

const char *scoreboard_code_name(enum scoreboard_code code)
{
    if (code >= CODE_FIRST_ERROR && code < SCOREBOARD_CODES)
        return error_codes[code - CODE_FIRST_ERROR].name;
    return code == CODE_OK ? "ok" : "other";
}

const char *scoreboard_claim_name(enum scoreboard_claim claim)
{
    static const char *const names[SCOREBOARD_CLAIMS] = {
        [CLAIM_CLAIMED] = "claimed",   [CLAIM_EMPTY] = "empty",     [CLAIM_WAITING] = "waiting",
        [CLAIM_REPEATED] = "repeated", [CLAIM_REFUSED] = "refused",
    };
    return names[claim];
}

const char *scoreboard_hook_event_name(enum scoreboard_hook_event event)
{
    static const char *const names[SCOREBOARD_HOOK_EVENTS] = {
        [HOOK_EVENT_PRE_TOOL] = "pre_tool",
        [HOOK_EVENT_USER_PROMPT] = "user_prompt",
    };
    return names[event];
}

const char *scoreboard_restart_name(enum scoreboard_restart reason)
{
    static const char *const names[SCOREBOARD_RESTARTS] = {
        [RESTART_SIGNAL] = "signal",
        [RESTART_EXIT] = "exit",
        [RESTART_HUNG] = "hung",
        [RESTART_NOT_READY] = "not_ready",
    };
    return names[reason];
}

const int64_t scoreboard_bounds_us[SCOREBOARD_BOUNDS] = {
    50,    100,   250,    500,    1000,   2500,    5000,    10000,
    25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000,
};
const char *const scoreboard_bounds_s[SCOREBOARD_BOUNDS] = {
    "0.00005", "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01",
    "0.025",   "0.05",   "0.1",     "0.25",   "0.5",   "1",      "2.5",   "5",
};

/* ---- latencies: bucket 4·o + q holds [2^(o + q/4), 2^(o + (q+1)/4)) µs ---- */

static const double quarter[4] = {1.0, 1.189207115002721, 1.414213562373095, 1.681792830507429};

static double bucket_start(unsigned bucket)
{
    return (double)(UINT64_C(1) << (bucket / 4)) * quarter[bucket % 4];
}

unsigned scoreboard_bucket(int64_t us)
{
    if (us <= 1)
        return 0;
    unsigned octave = 63 - (unsigned)__builtin_clzll((unsigned long long)us);
    unsigned bucket = octave * 4;
    if (bucket >= SCOREBOARD_BUCKETS)
        return SCOREBOARD_BUCKETS - 1;
    while (bucket < octave * 4 + 3 && (double)us >= bucket_start(bucket + 1))
        bucket++;
    return bucket;
}

void scoreboard_observe(struct scoreboard_method *m, int64_t us)
{
    if (us < 0)
        us = 0;
    atomic_fetch_add_explicit(&m->total_us, (uint64_t)us, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->buckets[scoreboard_bucket(us)], 1, memory_order_relaxed);
    for (size_t i = 0; i < SCOREBOARD_BOUNDS; i++)
        if (us <= scoreboard_bounds_us[i]) {
            atomic_fetch_add_explicit(&m->bounded[i], 1, memory_order_relaxed);
            break;
        }
}

int64_t scoreboard_percentile_us(const uint64_t buckets[SCOREBOARD_BUCKETS], double p)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < SCOREBOARD_BUCKETS; i++)
        total += buckets[i];

    double wanted = p * (double)total;
    double seen = 0;
    for (unsigned i = 0; i < SCOREBOARD_BUCKETS; i++) {
        double here = (double)buckets[i];
        if (here > 0 && seen + here >= wanted) {
            double from = bucket_start(i);
            double share = (wanted - seen) / here; /* straight line inside the bucket */
            return (int64_t)(from + (bucket_start(i + 1) - from) * share + 0.5);
        }
        seen += here;
    }
    return 0;
}

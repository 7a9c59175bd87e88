/*
 * spool.c: records of decisions that were made here, kept until a daemon takes them for its audit trail. See hook.h.
 *
 *   spool         one JSON object a line, each written with one write(2) to the end
 *   spool.sent    what is being sent: the spool under another name; spool.lock says how much of it was taken
 *   spool.lost    one byte for each record that found no room, could not be read or was refused
 *
 * Whoever adds a line holds the file's lock, shared, and looks again at whether it still has that name; whoever takes the
 * file away renames it first and then waits for that lock, so no line comes after the last look. One process sends at a
 * time. A batch that was sent and not confirmed is sent again with the same idempotency key, which is the batch's hash.
 */
#include "common/compat.h"
#include "client/hook/hook.h"

#include "common/clock.h"
#include "common/mem.h"

#include <fcntl.h>
#include <poll.h>
#include <sha2.h>
#include <sys/file.h>
#include <sys/stat.h>

enum {
    SPOOL_MAX = 1 << 20, /* bytes of the file */
    LOST_MAX = 1 << 20,  /* records that are counted */
    REASON_MAX = 1000,   /* bytes in a record */
    WHY_MAX = 300,
    BATCH = 100, /* records a request */
    OPEN_TRIES = 50,
    TRY_MS = 2,
};

static int open_in(const struct hook_policy *policy, const char *name, int flags)
{
    char *path CB_CLEANUP(mem_free_ptr) = mem_printf("%s/%s", policy->state_dir, name);
    return open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0600);
}

static int64_t size_of(const struct hook_policy *policy, const char *name)
{
    char *path CB_CLEANUP(mem_free_ptr) = mem_printf("%s/%s", policy->state_dir, name);
    struct stat st;
    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) ? (int64_t)st.st_size : 0;
}

/* ---- adding ---- */

static void put_text(struct buf *out, const char *key, const char *text)
{
    if (text && text[0])
        json_put_text(out, key, text);
}

static void put_cut(struct buf *out, const char *key, const char *text, size_t max)
{
    size_t len = text ? strlen(text) : 0;

    if (len == 0)
        return;
    if (len > max) {
        len = max;
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
            len--;
    }
    json_put_key(out, key);
    json_put_string(out, text, len);
}

/* The input itself may hold anything, passwords as well: only its hash is kept. */
static void put_hash(const struct hook *hook, struct buf *out)
{
    struct json_span input = hook_rules_input(hook->record, hook->arena);
    char hex[SHA256_DIGEST_STRING_LENGTH];

    SHA256Data((const uint8_t *)input.at, input.len, hex);
    put_text(out, "input_hash", hex);
}

static void put_record(const struct hook *hook, const struct hook_verdict *v, const char *why,
                       struct buf *out)
{
    const struct hook_record *r = hook->record;
    char at[CLOCK_RFC3339_SIZE];

    clock_format_rfc3339(clock_wall_ms(), at);
    buf_putc(out, '{');
    put_text(out, "at", at);
    put_text(out, "agent", r->agent->name);
    put_text(out, "session", r->session);
    put_cut(out, "tool", r->tool, REASON_MAX);
    put_text(out, "use_id", r->use_id);
    put_text(out, "event", r->event->name);
    put_text(out, "decision", rules_action_name(v->action));
    put_text(out, "rule", v->rule);
    /* Without what matched: in a prompt or in a file's content that may be the very secret that the rule is about. */
    put_cut(out, "reason", v->message, REASON_MAX);
    put_cut(out, "why", why, WHY_MAX);
    if (v->action != RULES_NONE)
        put_text(out, "severity", rules_severity_name(v->severity));
    put_hash(hook, out);
    buf_puts(out, "}\n");
}

/* The spool, locked, and certainly the file of that name; -1 when that cannot be. */
static int open_spool(const struct hook_policy *policy)
{
    char *path CB_CLEANUP(mem_free_ptr) = mem_printf("%s/spool", policy->state_dir);

    for (int i = 0; i < OPEN_TRIES; i++) {
        struct stat mine, named;
        int fd = open_in(policy, "spool", O_RDWR | O_APPEND | O_CREAT);
        if (fd < 0)
            return -1;
        /* Whoever takes it away has the lock for a moment; who keeps it for longer is not waited for. */
        if (flock(fd, LOCK_SH | LOCK_NB) == 0 && fstat(fd, &mine) == 0 && S_ISREG(mine.st_mode) &&
            lstat(path, &named) == 0 && named.st_ino == mine.st_ino && named.st_dev == mine.st_dev)
            return fd;
        close(fd);
        poll(NULL, 0, TRY_MS);
    }
    return -1;
}

/* A disk that was full, or a death, may have left half a line: what follows is to stay whole. */
static bool is_in_line(int fd, off_t size)
{
    char last;
    return size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n';
}

static void count_lost(const struct hook_policy *policy)
{
    int fd = size_of(policy, "spool.lost") < LOST_MAX
                 ? open_in(policy, "spool.lost", O_WRONLY | O_APPEND | O_CREAT)
                 : -1;
    if (fd < 0)
        return;
    ssize_t n = write(fd, ".", 1);
    (void)n; /* then it is not counted, too */
    close(fd);
}

void hook_spool_add(const struct hook *hook, const struct hook_verdict *verdict, const char *why)
{
    const struct hook_policy *policy = hook->policy;
    struct buf line = BUF_INIT, record = BUF_INIT;
    struct stat st;
    bool is_written = false;

    if (!policy->state_dir || paths_make_dir(policy->state_dir, 0700, NULL) != 0)
        return;
    put_record(hook, verdict, why, &record);
    int fd = open_spool(policy);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size + (off_t)record.len < SPOOL_MAX) {
        buf_puts(&line, is_in_line(fd, st.st_size) ? "\n" : "");
        buf_append(&line, record.data, record.len);
        is_written = write(fd, line.data, line.len) == (ssize_t)line.len;
    }
    if (fd >= 0)
        close(fd);
    if (!is_written)
        count_lost(policy);
    buf_done(&line);
    buf_done(&record);
}

/* ---- sending ---- */

struct sender {
    const struct hook_policy *policy;
    struct hook_link *link;
    int lock;
    int64_t until_ms;
};

static int64_t read_offset(int lock)
{
    char text[24] = "";
    ssize_t n = pread(lock, text, sizeof text - 1, 0);

    return n > 0 ? strtoll(text, NULL, 10) : 0;
}

static bool write_offset(int lock, int64_t offset)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%" PRId64 "\n", offset);

    /* Shorter numbers never follow longer ones but at a new file, which begins with an empty one. */
    return pwrite(lock, text, (size_t)len, 0) == len;
}

static int read_file(int fd, struct buf *out)
{
    for (;;) {
        ssize_t n = read(fd, buf_reserve(out, 65536), 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return (int)n;
        out->len += (size_t)n;
        if (out->len > 2 * SPOOL_MAX)
            return 0;
    }
}

/* Takes at most `most` lines from *at on: valid objects only. Returns how many; *ret_bad are no records. */
static size_t take_batch(const struct buf *text, size_t most, size_t *at, struct buf *params,
                         size_t *ret_bad)
{
    size_t n = 0, bad = 0;

    buf_reset(params);
    buf_puts(params, "{\"records\":[");
    while (n < most && *at < text->len) {
        const char *line = text->data + *at;
        const char *eol = memchr(line, '\n', text->len - *at);
        size_t len = eol ? (size_t)(eol - line) : text->len - *at;
        struct json_span value;
        enum json_type type;
        if (json_check(line, len, &value, &type, NULL) == 0 && type == JSON_OBJECT) {
            json_put_comma(params);
            buf_append(params, value.at, value.len);
            n++;
        } else if (len > 0) {
            bad++;
        }
        *at += len + (eol ? 1 : 0);
    }
    buf_puts(params, "]}");
    *ret_bad = bad;
    return n;
}

/* As hook_link_call(): 0, 1 when it is refused for good, -1 when it is to be tried again. Records that say the same are told
 * from one another by where they stand. */
static int send_batch(struct sender *s, const struct buf *params, size_t at)
{
    char hex[SHA256_DIGEST_STRING_LENGTH], idem[32 + SHA256_DIGEST_STRING_LENGTH];
    int64_t left = s->until_ms - clock_mono_ms();

    SHA256Data((const uint8_t *)params->data, params->len, hex);
    snprintf(idem, sizeof idem, "spool-%s-%zu", hex, at);
    return left > 0 ? hook_link_call(s->link, "hook.spool", params, idem, left, NULL) : -1;
}

/* True when all of it was taken, or can never be. One record that is refused does not take those beside it along. */
static bool send_text(struct sender *s, const struct buf *text)
{
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
    int64_t start = read_offset(s->lock);
    size_t at = start > 0 && (size_t)start <= text->len ? (size_t)start : 0;
    size_t singly_until = 0; /* a batch that was refused ends here */

    while (at < text->len) {
        size_t before = at, bad = 0;
        size_t n = take_batch(text, at < singly_until ? 1 : BATCH, &at, &params, &bad);
        int status = n > 0 ? send_batch(s, &params, before) : 0;
        if (status < 0)
            return false;
        if (status > 0 && n > 1) {
            singly_until = at;
            at = before;
            continue;
        }
        if (!write_offset(s->lock, (int64_t)at))
            return false;
        for (bad += status > 0; bad > 0; bad--)
            count_lost(s->policy);
    }
    return true;
}

/* Makes the spool the file that is sent. Returns it, with nobody writing to it any more; -1: there is nothing to send. */
static int take_spool(const struct hook_policy *policy)
{
    char *from CB_CLEANUP(mem_free_ptr) = mem_printf("%s/spool", policy->state_dir);
    char *to CB_CLEANUP(mem_free_ptr) = mem_printf("%s/spool.sent", policy->state_dir);
    int fd = open_in(policy, "spool.sent", O_RDONLY);

    if (fd < 0 && rename(from, to) == 0)
        fd = open_in(policy, "spool.sent", O_RDONLY);
    /* Whoever was about to write has done so then; nobody takes the lock for this name any more. */
    if (fd >= 0 && flock(fd, LOCK_EX) == 0)
        flock(fd, LOCK_UN);
    return fd;
}

static void send_file(struct sender *s)
{
    char *path CB_CLEANUP(mem_free_ptr) = mem_printf("%s/spool.sent", s->policy->state_dir);
    struct buf text = BUF_INIT;
    int fd = take_spool(s->policy);

    if (fd >= 0 && read_file(fd, &text) == 0 && send_text(s, &text)) {
        /* In this order: what dies in between sends the last batch again, under the key that it had. */
        if (ftruncate(s->lock, 0) == 0)
            unlink(path);
    }
    if (fd >= 0)
        close(fd);
    buf_done(&text);
}

/* What found no room is told as one record. */
static void send_lost(struct sender *s)
{
    char *path CB_CLEANUP(mem_free_ptr) = mem_printf("%s/spool.lost", s->policy->state_dir);
    int64_t lost = size_of(s->policy, "spool.lost");
    int64_t left = s->until_ms - clock_mono_ms();
    struct buf params = BUF_INIT;
    char at[CLOCK_RFC3339_SIZE];

    if (lost == 0 || left <= 0)
        return;
    clock_format_rfc3339(clock_wall_ms(), at);
    buf_printf(&params,
               "{\"records\":[{\"at\":\"%s\",\"event\":\"spool\",\"decision\":\"none\",\"reason\":"
               "\"%" PRId64
               " records of decisions made here found no room or were not readable\"}]}",
               at, lost);
    if (hook_link_call(s->link, "hook.spool", &params, NULL, left, NULL) >= 0)
        unlink(path);
    buf_done(&params);
}

void hook_spool_send(const struct hook_policy *policy, struct hook_link *link, int budget_ms)
{
    struct sender s = {.policy = policy, .link = link, .until_ms = clock_mono_ms() + budget_ms};

    /* Nearly always there is nothing: that costs three calls and no lock. */
    if (!policy->state_dir ||
        (size_of(policy, "spool") == 0 && size_of(policy, "spool.sent") == 0 &&
         size_of(policy, "spool.lost") == 0))
        return;
    s.lock = open_in(policy, "spool.lock", O_RDWR | O_CREAT);
    if (s.lock >= 0 && flock(s.lock, LOCK_EX | LOCK_NB) == 0) {
        send_file(&s);
        send_lost(&s);
    }
    if (s.lock >= 0)
        close(s.lock);
}

int64_t hook_spool_count(const struct hook_policy *policy)
{
    static const char *const names[] = {"spool", "spool.sent"};
    int64_t lines = 0;

    for (size_t i = 0; policy->state_dir && i < CB_ARRAY_LEN(names); i++) {
        struct buf text = BUF_INIT;
        int fd = open_in(policy, names[i], O_RDONLY);
        if (fd >= 0 && read_file(fd, &text) == 0)
            for (size_t k = 0; k < text.len; k++)
                lines += text.data[k] == '\n';
        if (fd >= 0)
            close(fd);
        buf_done(&text);
    }
    return policy->state_dir ? lines + size_of(policy, "spool.lost") : -1;
}

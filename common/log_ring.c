/*
 * log_ring.c: see log_ring.h.
 */
#include "common/compat.h"
#include "common/log_ring.h"

static const char ELLIPSIS[] = "\xe2\x80\xa6";

static size_t cut_len(const char *text, size_t len)
{
    len = len < LOG_RING_TEXT - sizeof ELLIPSIS ? len : LOG_RING_TEXT - sizeof ELLIPSIS;
    for (int i = 0; i < 3 && len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80; i++)
        len--;
    return len;
}

static void put_text(struct log_ring_line *to, const char *text, size_t len)
{
    bool is_cut = len >= LOG_RING_TEXT;

    len = is_cut ? cut_len(text, len) : len;
    memcpy(to->text, text, len);
    to->text[len] = '\0';
    if (is_cut)
        memcpy(to->text + len, ELLIPSIS, sizeof ELLIPSIS);
}

void log_ring_put(struct log_ring *ring, const struct log_ring_line *line, const char *text,
                  size_t len)
{
    uint64_t n = atomic_fetch_add(&ring->next, 1);
    struct log_ring_line *to = &ring->lines[n % LOG_RING_LINES];

    atomic_store_explicit(&to->seq, 2 * n + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    to->wall_ms = line->wall_ms;
    to->pid = line->pid;
    to->level = line->level;
    memcpy(to->program, line->program, sizeof to->program);
    put_text(to, text, len);
    atomic_store_explicit(&to->seq, 2 * n + 2, memory_order_release);
}

/* False when it is not the n-th line, or not whole. */
static bool read_line(const struct log_ring *ring, uint64_t n, struct log_ring_line *ret)
{
    const struct log_ring_line *from = &ring->lines[n % LOG_RING_LINES];

    if (atomic_load_explicit(&from->seq, memory_order_acquire) != 2 * n + 2)
        return false;
    memcpy(ret, from, sizeof *ret);
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load_explicit(&from->seq, memory_order_relaxed) != 2 * n + 2)
        return false;
    ret->program[sizeof ret->program - 1] = '\0';
    ret->text[sizeof ret->text - 1] = '\0';
    return true;
}

size_t log_ring_read(const struct log_ring *ring, struct log_ring_line *ret, size_t max)
{
    uint64_t end = atomic_load(&ring->next);
    uint64_t n = end > LOG_RING_LINES ? end - LOG_RING_LINES : 0;
    size_t found = 0;

    if (end - n > max)
        n = end - max;
    for (; n < end && found < max; n++)
        found += read_line(ring, n, &ret[found]);
    return found;
}

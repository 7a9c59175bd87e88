/*
 * reading_turn.c: see reading_turn.h.
 */
#include "common/compat.h"
#include "worker/reading_turn.h"

#include "common/clock.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Across processes, so not FUTEX_PRIVATE. */
static long futex(_Atomic uint32_t *word, int operation, uint32_t value,
                  const struct timespec *timeout)
{
    return syscall(SYS_futex, word, operation, value, timeout, NULL, 0);
}

void reading_turn_init(struct reading_turn *t, struct scoreboard *board, unsigned domain,
                       unsigned slot)
{
    _Static_assert(sizeof(_Atomic uint32_t) == sizeof(uint32_t), "a futex is a plain word");
    cb_assert(domain < SCOREBOARD_DOMAINS);
    t->shared = &board->global.turns[domain];
    t->self = slot + 1;
}

void reading_turn_note(struct reading_turn *t, size_t requests)
{
    if (requests > 1)
        atomic_store_explicit(&t->shared->busy_until_us, clock_mono_us() + READING_TURN_US,
                              memory_order_relaxed);
}

bool reading_turn_is_busy(const struct reading_turn *t)
{
    return clock_mono_us() < atomic_load_explicit(&t->shared->busy_until_us, memory_order_relaxed);
}

static bool try_take(struct reading_turn *t, uint32_t from)
{
    return atomic_compare_exchange_strong(&t->shared->holder, &from, t->self);
}

bool reading_turn_take(struct reading_turn *t)
{
    return !reading_turn_is_busy(t) || try_take(t, 0) || atomic_load(&t->shared->holder) == t->self;
}

void reading_turn_wait(struct reading_turn *t)
{
    int64_t until_us = clock_mono_us() + READING_TURN_US;

    while (!try_take(t, 0)) {
        uint32_t holder = atomic_load(&t->shared->holder);
        int64_t left_us = until_us - clock_mono_us();
        if (left_us <= 0) {
            try_take(t, holder); /* fails when somebody else was faster: then we read without it */
            return;
        }
        struct timespec left = {.tv_nsec = left_us * 1000};
        if (holder != 0 && futex(&t->shared->holder, FUTEX_WAIT, holder, &left) != 0 &&
            errno == EINTR)
            return;
    }
}

void reading_turn_give(struct reading_turn *t)
{
    uint32_t self = t->self;

    if (atomic_compare_exchange_strong(&t->shared->holder, &self, 0))
        futex(&t->shared->holder, FUTEX_WAKE, 1, NULL);
}

/*
 * interrupt.c: see interrupt.h.
 */
#include "common/compat.h"
#include "client/interrupt.h"

#include <signal.h>

static volatile sig_atomic_t came;

static void on_signal(int sig)
{
    came = sig;
}

void interrupt_catch(void)
{
    static const int signals[] = {SIGINT, SIGTERM};
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

    sigemptyset(&sa.sa_mask);
    for (size_t i = 0; i < CB_ARRAY_LEN(signals); i++) {
        struct sigaction old;
        /* Who ignores it (nohup, a background job) wants it ignored. */
        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(signals[i], &sa, NULL);
    }
}

bool interrupt_came(void)
{
    return came != 0;
}

void interrupt_end(void)
{
    if (!came)
        return;
    signal(came, SIG_DFL);
    raise(came);
}

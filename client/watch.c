/*
 * watch.c: see watch.h.
 */
#include "common/compat.h"
#include "client/watch.h"

#include "client/interrupt.h"
#include "client/term.h"
#include "common/exitcode.h"

#include <time.h>

enum { WATCH_MS = 1000 };

/* In steps, since a signal just before a wait does not end it. */
static void pause_between(void)
{
    for (int ms = 0; ms < WATCH_MS && !interrupt_came(); ms += INTERRUPT_LOOK_MS)
        nanosleep(&(struct timespec){.tv_nsec = INTERRUPT_LOOK_MS * 1000000L}, NULL);
}

static int show_on_screen(const struct cli *cli, struct session *s,
                          int (*show)(const struct cli *, struct session *), struct term term)
{
    cli_screen_begin(term);
    int status = show(cli, s);
    return status == EXITCODE_OK ? cli_screen_end() : status;
}

int watch(const struct cli *cli, struct session *s,
          int (*show)(const struct cli *, struct session *))
{
    int status;

    if (!cli_is_set(cli, "watch"))
        return show(cli, s);
    interrupt_catch();
    do {
        struct term term = term_detect(STDOUT_FILENO); /* it may have another size by now */
        status = term.is_tty ? show_on_screen(cli, s, show, term) : show(cli, s);
        if (status == EXITCODE_OK)
            pause_between();
    } while (status == EXITCODE_OK && !interrupt_came());
    interrupt_end();
    return status;
}

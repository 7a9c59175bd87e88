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

static int clear_screen(void)
{
    struct buf out CB_CLEANUP(buf_done) = BUF_INIT;

    buf_puts(&out, "\033[H\033[2J");
    return cli_write(&out);
}

int watch(const struct cli *cli, struct session *s,
          int (*show)(const struct cli *, struct session *))
{
    int status;

    if (!cli_is_set(cli, "watch"))
        return show(cli, s);
    bool is_tty = term_detect(STDOUT_FILENO).is_tty;
    interrupt_catch();
    do {
        status = is_tty ? clear_screen() : EXITCODE_OK;
        if (status == EXITCODE_OK)
            status = show(cli, s);
        if (status == EXITCODE_OK)
            pause_between();
    } while (status == EXITCODE_OK && !interrupt_came());
    interrupt_end();
    return status;
}

/*
 * watch.h: --watch of the verbs that show something: shows it again and again.
 */
#ifndef CB_WATCH_H
#define CB_WATCH_H

#include "client/session.h"

/* The row of --watch in a verb's option table. */
#define WATCH_OPTION                                                                               \
    {                                                                                              \
        'w', "watch", NULL, "Show it again every second, until interrupted."                       \
    }

/*
 * Calls show() once; with --watch every second, in place of what was there when stdout is a terminal, until it fails or a signal
 * comes, by which the program then ends. `s` is for show() alone, and may be NULL. Returns show()'s exit code.
 */
int watch(const struct cli *cli, struct session *s,
          int (*show)(const struct cli *, struct session *));

#endif

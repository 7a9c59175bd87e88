/*
 * progress.h: a bar on a terminal's stderr; nothing at all elsewhere.
 */
#ifndef CB_PROGRESS_H
#define CB_PROGRESS_H

#include "client/term.h"

#include <stdint.h>

struct progress {
    struct term term;
    const char *label;
    int64_t started_ms;
    int64_t shown_ms; /* of the last drawing */
    bool is_shown;
    bool is_late; /* an update came too soon after the one before it, and is not shown */
};

void progress_init(struct progress *p, const char *label);
/* Draws at most ten times a second. total 0 = unknown: no bar, only the note. `note` is shown
 * behind it. */
void progress_update(struct progress *p, int64_t done, int64_t total, const char *note);
/* When an update that was not drawn may be drawn (clock_mono_ms()); 0: there is none. Who waits for longer than that has to
 * update it then: else the line would tell what is over. */
int64_t progress_due_ms(const struct progress *p);
/* Wipes the line, so that something else can be written; the next update draws it again. */
void progress_clear(struct progress *p);
/* Milliseconds since the start. */
int64_t progress_elapsed_ms(const struct progress *p);

#endif

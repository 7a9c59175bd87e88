/*
 * textfile.h: the file metrics.textfile, for node_exporter's textfile collector: written every metrics.interval_ms, as a whole
 * (a temporary file beside it is renamed), with mode 0644.
 *
 * A thread writes it, so that a disk that hangs keeps the supervisor from nothing; while one write hangs, none is begun. What only
 * Redis knows is asked for once before each write. Without the option there is no timer, and nothing is asked.
 */
#ifndef CB_TEXTFILE_H
#define CB_TEXTFILE_H

#include "common/err.h"

struct supervisor;
struct textfile;

/* NULL when there are no descriptors for it, with *err. */
struct textfile *textfile_new(struct supervisor *s, struct cb_error *err);
/* Removes the file: what is not written any more is not to be taken for what is. Waits for the disk, but not for ever. Accepts NULL. */
void textfile_free(struct textfile *t);

/* The options in force have changed: writes it now; removes it from where it was, if that is another place. */
void textfile_options_changed(struct textfile *t);
/* What it has asked of Redis is there, or will not come. Accepts NULL. */
void textfile_figures_came(struct textfile *t);

#endif

/*
 * top.h: what the files of claudebench-top share. main.c asks the daemon and waits for keys; rows.c sorts a list and makes a table
 * of it; draw.c puts all on the screen; keys.c says what keys do; terminal.c has the terminal, and gives it back whatever happens.
 */
#ifndef CB_TOP_H
#define CB_TOP_H

#include "client/ask.h"
#include "client/views.h"

enum { DELAY_MIN_MS = 200, DELAY_MAX_MS = 60000, DELAY_DEFAULT_MS = 1000 };

struct sample {
    struct buf text;         /* the daemon's answer */
    struct json_span status; /* points into it; len 0: none yet */
    int64_t at_ms;
};

struct sort {
    size_t column;
    bool is_reverse; /* numbers begin with the largest, texts with the first: the other way round */
};

struct top {
    struct ask ask;
    struct sample now, before; /* rates are reckoned from one to the other */
    struct cb_error trouble;   /* why the daemon does not answer; code 0: it does */
    int64_t delay_ms, next_ms;
    enum view_id view;
    struct sort sort[VIEWS];
    size_t offset; /* of the first row that is shown */
    size_t nrows;  /* that there are */
    size_t page;   /* that fit */
    bool is_paused, shows_help, is_done;
};

/* ---- rows.c ---- */

/* Appends the view's table, title line first, and sets nrows. */
void rows_put(struct top *t, int width, struct buf *out);
/* The column of this title, any case; false when there is none. */
bool rows_find_column(const struct view *v, const char *title, size_t *ret);

/* ---- draw.c ---- */

void draw(struct top *t);

/* ---- keys.c ---- */

/* A line for the bottom, and a line each for the help. */
extern const char keys_line[];
extern const char *const keys_help[]; /* NULL-terminated */
void keys_press(struct top *t, int key);

/* ---- terminal.c ---- */

/* Returns -1 to go on, or the exit code after a message. */
int terminal_open(void);
void terminal_close(void); /* idempotent */
/* The signal that is to end us, 0: none. */
int terminal_signal(void);
bool terminal_is_utf8(void);
/* Waits for keys, and for what can be read from `fd` (-1: nothing): true when there is a key; false when the time is over or something
 * else came. */
bool terminal_wait(int timeout_ms, int fd, bool *ret_is_gone);

enum color { COLOR_PLAIN, COLOR_GOOD, COLOR_DOUBT, COLOR_BAD };
int terminal_attr(enum color color); /* attributes for attrset() */

#endif

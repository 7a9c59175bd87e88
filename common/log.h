/*
 * log.h: log lines. Programs log, libraries return (ARCHITECTURE.md, "The library").
 *
 * Every line is an event declared once in log_events.def with its level:
 *
 *   log_event(EV_child_died, LOG_S("service", name), LOG_I("pid", pid), LOG_I("signal", sig));
 *
 *   2026-11-21T18:20:00.123Z warn claudebenchd[123] event=child_died service=task pid=12 signal=9
 *
 * Values that need it are quoted and escaped (space, quote, =, controls, ESC, C1, bad UTF-8 ->
 * \xNN), so a value never forges a line and never reaches a terminal as a control sequence. At most
 * LOG_EVENTS_PER_SECOND lines a second per event; the next one that passes carries suppressed=N.
 * Trouble that goes on for hours is asked about first: log_repeat_may().
 * Before log_open() lines go to stderr as text. One thread only. errno is preserved.
 */
#ifndef CB_LOG_H
#define CB_LOG_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LOG_EVENTS_PER_SECOND = 5, LOG_REPEAT_MS = 60000 };

/* In the order of the option log.level. (Not LOG_INFO etc.: these are macros of syslog.h.) */
enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* In the order of the option log.format. */
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

#define LOG_EVENT(name, level, text) EV_##name,
enum log_event {
#include "common/log_events.def"
    EV_COUNT
};
#undef LOG_EVENT

#define LOG_EVENT(name, level, text)
#define LOG_SUBSYSTEM(name) LOG_SUBSYSTEM_##name,
enum log_subsystem {
#include "common/log_events.def"
    LOG_SUBSYSTEMS
};
#undef LOG_EVENT

struct log_settings {
    enum log_level level;
    enum log_format format;
    const char *destination; /* "stderr", "syslog" or an absolute path; NULL = stderr. Copied. */
};

/*
 * Opens the destination and uses the settings from the next line on. A file is created 0640 and
 * appended to. On failure everything stays as it was. Returns 0 or -1 (err->code is an errno).
 */
int log_open(const struct log_settings *settings, struct cb_error *err);
/* Somebody listens on /dev/log. Otherwise lines to "syslog" are lost. */
bool log_has_syslog(void);
/* After a rotation: opens the file of the same name again; keeps the old one when that fails. */
int log_reopen(struct cb_error *err);
enum log_level log_get_level(void);
/* "error" … as the option says it; -1 for another word. */
int log_level_find(const char *name);
/* A subsystem's own level, in place of the general one; -1: the general one again. */
void log_set_subsystem_level(enum log_subsystem subsystem, int level);
const char *log_subsystem_name(enum log_subsystem subsystem);
int log_subsystem_find(const char *name); /* -1: there is none of that name */
/* Lines from now on are kept there too, whatever the destination is; NULL: no longer. Borrowed. */
struct log_ring;
void log_set_ring(struct log_ring *ring);
/* Flushes nothing (lines are written at once); closes file or syslog and falls back to stderr. */
void log_close(void);

/*
 * Who speaks: `program` is the word before [pid]; `context`, if not NULL, is put in every line as
 * context=… behind the event (a worker's name). Both are copied. Cheap: call it again when the context changes, and
 * after fork (the pid is read anew).
 */
void log_ident(const char *program, const char *context);

enum log_field_type {
    LOG_FIELD_END,
    LOG_FIELD_STR,
    LOG_FIELD_INT,
    LOG_FIELD_REAL,
    LOG_FIELD_SECRET
};

struct log_field {
    enum log_field_type type;
    const char *key; /* a C identifier, ours */
    const char *str;
    size_t len;
    int64_t num;
    double real;
};

/* clang-format off */
#define LOG_FIELD_WHOLE ((size_t)-1)
/* A C string; NULL is printed as -. */
#define LOG_S(k, s) {.type = LOG_FIELD_STR, .key = (k), .str = (s), .len = LOG_FIELD_WHOLE}
/* `n` bytes. */
#define LOG_SN(k, s, n) {.type = LOG_FIELD_STR, .key = (k), .str = (s), .len = (n)}
#define LOG_I(k, i) {.type = LOG_FIELD_INT, .key = (k), .num = (int64_t)(i)}
#define LOG_F(k, f) {.type = LOG_FIELD_REAL, .key = (k), .real = (double)(f)}
/* That there is a secret, never which: key=*** */
#define LOG_SECRET(k) {.type = LOG_FIELD_SECRET, .key = (k)}

#define log_event(ev, ...)                                                                         \
    log_event_fields(                                                                              \
        (ev), (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.type = LOG_FIELD_END}})
/* clang-format on */

/* What log_event() calls; `fields` ends with LOG_FIELD_END. */
void log_event_fields(enum log_event ev, const struct log_field *fields);

/* True when the level lets the event through: for values that are costly to make. */
bool log_is_wanted(enum log_event ev);

/* One kind of trouble that may come again and again. Zeroes: it has not been said yet. */
struct log_repeat {
    uint64_t what; /* hash of the text that was said last, 0 = none */
    int64_t said_ms;
    unsigned times; /* that it came since */
};
/* Whether to say it now: its text is new, or LOG_REPEAT_MS have passed since it was said. *ret_times, which may
 * be NULL, is how often it has come since then, this time included. */
bool log_repeat_may(struct log_repeat *r, const char *text, unsigned *ret_times);
/* It is over: the next time is news. */
void log_repeat_over(struct log_repeat *r);

const char *log_event_name(enum log_event ev);
const char *log_event_text(enum log_event ev);
enum log_level log_event_level(enum log_event ev);
const char *log_level_name(enum log_level level); /* "error", "warn", "info", "debug" */

#endif

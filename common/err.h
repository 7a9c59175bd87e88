/*
 * err.h: how a library function tells its caller what went wrong.
 *
 * Functions return 0 or a negative status; where a person will read the reason they take a
 * `struct cb_error *` last. It may be NULL. Only programs log (ARCHITECTURE.md, "The library").
 */
#ifndef CB_ERR_H
#define CB_ERR_H

struct cb_error {
    int code;       /* an enum exitcode, a JSON-RPC code or an errno: the function says which */
    char text[256]; /* one line, no newline, no secret */
};

/* Fills `err` (if not NULL) and returns -1, so that callers can say: return cb_error_set(...). */
int cb_error_set(struct cb_error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the text that is there. Returns -1. */
int cb_error_prefix(struct cb_error *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif

/*
 * reload.h: a changed configuration put in force while the daemon works (HUP, claudebench ctl reload): all of it or nothing.
 */
#ifndef CB_RELOAD_H
#define CB_RELOAD_H

#include <stdbool.h>
#include <stdint.h>

struct json_object;
struct options;
struct supervisor;

/* What the status and the log say about reloads. */
struct reload {
    int64_t loaded_ms; /* wall time at which the configuration in force was read */
    int64_t began_ms;  /* monotonic; 0: no workers are being replaced */
    uint64_t count;
    uint64_t refused;
    struct json_object *restart; /* array: options whose new values wait for a restart */
};

void reload_init(struct reload *r);
void reload_done(struct reload *r);
/*
 * Reads and checks the configuration completely, then puts it in force; workers follow (settle.c). When anything is wrong, nothing
 * changes. Logs either. Returns the answer for the control socket, which the caller puts: {"ok":true,"file",
 * "changed":[name],"restart":[{"option","in_force","loaded"}],"ends_scale":bool} or {"error","errors":[line]}; ends_scale: a
 * scale or drain is over by it.
 */
struct json_object *reload_now(struct supervisor *s);
/* The workers are as wanted. */
void reload_settled(struct reload *r);

#endif

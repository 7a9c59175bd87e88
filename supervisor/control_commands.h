/*
 * control_commands.h: what the control socket is asked for, one function a command. control.c has the socket.
 */
#ifndef CB_CONTROL_COMMANDS_H
#define CB_CONTROL_COMMANDS_H

#include "supervisor/jsonc.h"

#include <stdbool.h>
#include <stdint.h>

struct figures;
struct supervisor;

struct control_answer {
    json_object *json; /* NULL: refused, see error. Belongs to the caller */
    char error[256];
    int code;                /* of the refusal: what `claudebench ctl` exits with */
    int64_t wait_ms;         /* > 0: to be given when the workers are as wanted, or after so long */
    struct figures *figures; /* to be made when these are there: */
    json_object *(*make)(struct supervisor *s);
    void (*after)(struct supervisor *s); /* to be done when it is on its way; NULL: nothing */
};

/* Carries out {"cmd":…}. `ret` is all zeroes. */
void control_command(struct supervisor *s, json_object *request, struct control_answer *ret);

#endif

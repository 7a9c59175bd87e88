/*
 * upgrade.h: a new version of this program in our place, while the workers work (USR2). The process stays: pid, pid file,
 * children, the embedded Redis and who talks to it.
 */
#ifndef CB_UPGRADE_H
#define CB_UPGRADE_H

#include <event2/event.h>
#include <stdbool.h>
#include <sys/types.h>

struct cb_error;
struct supervisor;

struct upgrade {
    struct supervisor *supervisor;
    char *program;       /* our own path, as it was when we began: the file may be replaced */
    int pidfile_fd;      /* borrowed */
    pid_t checker;       /* the new program, asked whether it can; 0: none */
    int output_fd;       /* what it says; -1: none */
    struct event *timer; /* its time is over */
};

void upgrade_init(struct upgrade *u, struct supervisor *s, int pidfile_fd);
void upgrade_done(
    struct upgrade *u); /* accepts a struct of zeroes that upgrade_init() has not seen */
/*
 * Asks the program at our path whether it can take over with our configuration; when it says yes, executes it. When
 * anything goes wrong, it is logged and we go on as before.
 */
void upgrade_begin(struct upgrade *u);
/* True when it was the one that was asked. Does not return when it takes over. */
bool upgrade_reaped(struct upgrade *u, pid_t pid, int status);

#endif

/*
 * config.h: the configuration of claudebenchd: its files, and what the command line lays over them. Read at the start
 * and again at each reload, by the same rules.
 */
#ifndef CB_CONFIG_H
#define CB_CONFIG_H

#include "common/options.h"
#include "supervisor/args.h"

struct config {
    const struct args *args;      /* borrowed */
    struct options_source source; /* file NULL: built-in defaults */
    char *pidfile;                /* of -p, absolute; NULL: none */
    bool is_system;               /* folders are for everybody */
    bool is_own_log;              /* the log goes where we chose */
    bool is_syslog_absent;        /* …because log.destination is syslog, and there is none */
};

/* Before the working folder changes. */
void config_init(struct config *c, const struct args *args);
void config_done(struct config *c);
/*
 * Finds the file, the first time or when there was none, reads everything and checks it. Returns 0, or -1 with all that is
 * wrong in *errs.
 */
int config_load(struct config *c, struct options **ret, struct options_errors *errs);
/* Says in the log that it is not where it was to be. */
void config_log_destination(const struct config *c, const struct options *opts);
/* The file, or what stands for it when there is none. */
const char *config_name(const struct config *c);

#endif

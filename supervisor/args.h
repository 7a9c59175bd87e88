/*
 * args.h: the command line of claudebenchd.
 */
#ifndef CB_ARGS_H
#define CB_ARGS_H

#include <stdbool.h>
#include <stdio.h>

enum args_mode { ARGS_RUN, ARGS_TEST, ARGS_DUMP };

struct args {
    enum args_mode mode;
    bool is_daemon;      /* -d */
    bool is_verbose;     /* -v */
    const char *config;  /* -c, NULL */
    const char *pidfile; /* -p, NULL */
};

/*
 * Parses. Returns -1 to go on, else the exit code: 0 after -h and -V (which are answered on stdout), 64
 * after a wrong command line (said on stderr).
 */
int args_parse(int argc, char **argv, struct args *ret);

#endif

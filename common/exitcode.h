/*
 * exitcode.h: the exit codes of all our programs (sysexits where one fits; EXIT STATUS in the manual).
 */
#ifndef CB_EXITCODE_H
#define CB_EXITCODE_H

enum exitcode {
    EXITCODE_OK = 0,
    EXITCODE_FAILURE = 1,      /* daemon: children lost at the stop; status: not healthy */
    EXITCODE_USAGE = 64,       /* wrong command line, unknown method */
    EXITCODE_DATAERR = 65,     /* parse error, invalid request, invalid params */
    EXITCODE_NOINPUT = 66,     /* not found */
    EXITCODE_UNAVAILABLE = 69, /* Redis or the daemon cannot be reached */
    EXITCODE_SOFTWARE = 70,    /* internal error */
    EXITCODE_NOMEM = 71,       /* out of memory: work that was not acked survives */
    EXITCODE_CONFLICT = 73,    /* conflict: state, version, stale lease */
    EXITCODE_TEMPFAIL = 75,    /* try again: rate limit, circuit, deadline, full, already running */
    EXITCODE_NOPERM = 77,      /* role required, no permission */
    EXITCODE_CONFIG = 78,      /* configuration error; a worker that exits so is never restarted */
};

#endif

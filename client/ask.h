/*
 * ask.h: one request to the daemon over its control socket, for status and ctl. Redis is not needed.
 */
#ifndef CB_ASK_H
#define CB_ASK_H

#include "client/cli.h"
#include "common/buf.h"
#include "common/json.h"
#include "common/options.h"

#include <stdbool.h>
#include <stdint.h>

struct ask {
    struct options *opts;
    struct buf answer;
    struct json_span json; /* the answer, an object; points into it */
    bool is_asked;         /* ask_begin(): the answer is to come from `fd` until `until_ms` */
    int fd;
    int64_t until_ms;
    bool is_absent; /* the last question failed because nobody listens there */
    pid_t
        holder; /* is_absent: the daemon that runs all the same, by its lock; 0: none, as far as we may know */
};
#define ASK_INIT                                                                                   \
    {                                                                                              \
        .answer = BUF_INIT                                                                         \
    }

/*
 * Reads the configuration, which says where the socket is. Other mistakes in it are for the daemon to find: whoever edits it must be
 * able to ask. Returns -1 to go on, or the exit code after a message.
 */
int ask_load(struct ask *a, const struct cli *cli);
/*
 * Sends the line and waits for the answer. Returns -1 to go on, with a->json, which may have the member "error"; or the
 * exit code after a message: 69 no daemon, 77 not permitted, 75 turned away.
 */
int ask_daemon(struct ask *a, const char *line, int64_t timeout_ms);
/* The same without a message, for who has a screen: err->code is the exit code, err->text says why. */
int ask_daemon_quietly(struct ask *a, const char *line, int64_t timeout_ms, struct cb_error *err);
/*
 * The same in two steps, for who has other things to do meanwhile. ask_begin() returns -1 when it is asked; then ask_look(), which does not
 * wait, returns ASK_PENDING as long as there is no answer and time is left: a->fd can be polled. Both otherwise return as above.
 */
enum { ASK_PENDING = -2 };
int ask_begin(struct ask *a, const char *line, int64_t timeout_ms, struct cb_error *err);
int ask_look(struct ask *a, struct cb_error *err);
void ask_done(struct ask *a);

/* The text of the answer's member "error", appended; false when there is none. */
bool ask_error(const struct ask *a, struct buf *out);

#endif

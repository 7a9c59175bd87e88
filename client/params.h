/*
 * params.h: options and operands of a verb as members of a request's params.
 *
 * Each function appends a member when its option was given. They return -1 to go on, or the exit code after a message.
 */
#ifndef CB_PARAMS_H
#define CB_PARAMS_H

#include "client/cli.h"

/* "{" and the first operand as `id`. */
void params_put_id(const struct cli *cli, struct buf *params);
/* The i-th operand as a text; it must be UTF-8. */
int params_put_operand(const struct cli *cli, struct buf *params, int i, const char *member);
/* A JSON literal that the user wrote; checked, or it would change what stands around it. */
int params_put_literal(const struct cli *cli, struct buf *params, const char *option,
                       const char *member);
int params_put_int(const struct cli *cli, struct buf *params, const char *option,
                   const char *member);
/* A length of time, as milliseconds. */
int params_put_time(const struct cli *cli, struct buf *params, const char *option,
                    const char *member);
/* A queue, a state: what it may be is the daemon's to say. */
void params_put_word(const struct cli *cli, struct buf *params, const char *option);
/* Text of that name; it must be UTF-8. */
int params_put_text(const struct cli *cli, struct buf *params, const char *option);
int params_put_text_as(const struct cli *cli, struct buf *params, const char *option,
                       const char *member);
/* The options that task add and schedule add share, and the task's text, as members of task.create's params. */
int params_put_task(const struct cli *cli, struct buf *params, const char *text);

/* Their rows. */
#define PARAMS_TASK_OPTIONS                                                                        \
    {'p', "priority", "N", "0 to 100, higher is sooner (default 50)."},                            \
        {'q', "queue", "QUEUE", "Queue (default: default)."},                                      \
        {'r', "role", "ROLE",                                                                      \
         "Only workers with this role may claim it; may be repeated, or a list with commas."},     \
        {0, "payload", "JSON", "Any JSON for the worker."},                                        \
        {0, "metadata", "JSON", "A JSON object that is kept with the task."},                      \
        {0, "max-attempts", "N",                                                                   \
         "Attempts before the task counts as failed for good (default 3)."},                       \
        {0, "max-crashes", "N",                                                                    \
         "Workers that it may lose before it counts as failed (default 3)."},                      \
        {0, "backoff", "TIME",                                                                     \
         "Pause after the first failure; it doubles each time (default 1s)."},                     \
        {0, "backoff-max", "TIME", "Longest pause after a failure (default an hour)."},            \
        {0, "partition", "NAME", "What happens to it is told in cb:partition:NAME, too."},         \
        {0, "unique", "KEY", "None while a task of the queue with this key has not ended."},       \
    {                                                                                              \
        0, "lease", "TIME", "How long a worker may be silent about this task before it goes back." \
    }

#endif

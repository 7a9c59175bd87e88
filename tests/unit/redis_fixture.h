/*
 * redis_fixture.h: a private redis-server for a unit test, on a unix socket in a folder of its own.
 *
 * Whatever ends the test (a failed check, a crash, a kill by Check), the server dies with the process
 * that started it and the folder is removed by a keeper that waits for that process to be gone. All
 * functions fail the test (ck_abort_msg) rather than return an error.
 */
#ifndef CB_REDIS_FIXTURE_H
#define CB_REDIS_FIXTURE_H

#include "common/redis_link.h"

#include <sys/types.h>

/* A temporary folder that is removed by fixture_folder_remove, or when this process has ended. */
struct fixture_folder {
    char path[64];
    int keeper_fd;
    pid_t keeper;
};
void fixture_folder_make(struct fixture_folder *folder);
void fixture_folder_remove(struct fixture_folder *folder);

struct redis_fixture {
    struct fixture_folder folder;
    struct redis_target target; /* unix socket; timeout_ms 5000; change what you like */
    char url[112];              /* unix:///… */
    char socket_path[96];
    int port;       /* 0 unless started with redis_fixture_start_tcp */
    pid_t pid;      /* 0 while it is killed */
    char *args[48]; /* of redis-server, NULL-terminated */
};

/* Starts a server without persistence and waits until it answers PING (or asks for a password).
 * `extra` are further arguments ("--requirepass", "x", NULL), or NULL; later ones win. */
struct redis_fixture *redis_fixture_start(const char *const *extra);
/* The same, listening on 127.0.0.1:port as well. */
struct redis_fixture *redis_fixture_start_tcp(const char *const *extra);
/* Other arguments for the next (re)start. */
void redis_fixture_set_args(struct redis_fixture *fixture, const char *const *extra);
/* Kills the server and removes its folder. Accepts NULL. */
void redis_fixture_free(struct redis_fixture *fixture);

/* SIGSTOP / SIGCONT; the server has stopped / goes on when they return. */
void redis_fixture_stop(struct redis_fixture *fixture);
void redis_fixture_cont(struct redis_fixture *fixture);
/* kill -9; the process is gone when it returns. */
void redis_fixture_kill(struct redis_fixture *fixture);
/* Starts it again after redis_fixture_kill, with the same arguments; waits as start does … */
void redis_fixture_restart(struct redis_fixture *fixture);
/* … or not at all. */
void redis_fixture_spawn(struct redis_fixture *fixture);
void redis_fixture_wait(struct redis_fixture *fixture);

/* A new connection with the fixture's target. */
struct redis_link *redis_fixture_link(struct redis_fixture *fixture);
/* Waits until `is_true(arg)`, asking every few ms; fails the test after `timeout_ms`. */
void fixture_wait_until(bool (*is_true)(void *arg), void *arg, int timeout_ms, const char *what);

#endif

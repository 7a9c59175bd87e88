/*
 * setup.h: what claudebenchd needs around it before it can start: folders, its lock and secret, the
 * worker's program, the configuration for workers.
 */
#ifndef CB_SETUP_H
#define CB_SETUP_H

#include "common/options.h"

/* All: 0, or -1 with err->code an exit code. `is_system`: others may look into the folders. */

/* Creates and locks supervisor.state_dir; reads the secret that is kept there, or draws it. *ret_fd that is not negative
 * is the folder's lock already. */
int setup_state_dir(const struct options *opts, bool is_system, int *ret_fd, char **ret_secret,
                    struct cb_error *err);
/* The folder of the control socket. (That of the pid file: setup_dir_of.) */
int setup_run_dirs(const struct options *opts, bool is_system, struct cb_error *err);
int setup_dir_of(const char *path, bool is_system, struct cb_error *err);
/* CLAUDEBENCH_WORKER, beside our own binary, then libexec. The caller frees. */
int setup_worker_path(char **ret, struct cb_error *err);
/* A sealed memfd with the options as YAML. Returns the fd. */
int setup_options_fd(const struct options *opts, struct cb_error *err);

#endif

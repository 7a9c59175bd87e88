/*
 * paths.h: where files live when the configuration does not say.
 *
 * System mode (root, or a configuration under /etc): the folders that configure fixed, by default
 * /etc/claudebench, /run/claudebench, /var/lib/claudebench, /var/log/claudebench.
 * User mode: the XDG base directories. XDG_RUNTIME_DIR counts only when it is a folder that we own;
 * otherwise /run/user/<uid> if that is one, otherwise <state>/run.
 */
#ifndef CB_PATHS_H
#define CB_PATHS_H

#include "common/err.h"

#include <stdbool.h>
#include <sys/types.h>

enum paths_mode {
    PATHS_AUTO, /* system for root, user otherwise */
    PATHS_SYSTEM,
    PATHS_USER,
};

struct paths {
    bool is_system;
    char *config_dir; /* /etc/claudebench             $XDG_CONFIG_HOME/claudebench */
    char *run_dir;    /* /run/claudebench             $XDG_RUNTIME_DIR/claudebench */
    char *state_dir;  /* /var/lib/claudebench         $XDG_STATE_HOME/claudebench */
    char *log_dir;    /* /var/log/claudebench         $XDG_STATE_HOME/claudebench/log */
};

/*
 * Finds the folders; creates nothing. Fails when there is no home folder or a name in the
 * environment has control characters or is not UTF-8. Returns 0 or -1 (err->code is
 * EXITCODE_CONFIG).
 */
int paths_init(struct paths *p, enum paths_mode mode, struct cb_error *err);
/* Frees the strings. Accepts a struct of zeroes. Fits CB_CLEANUP(paths_done). */
void paths_done(struct paths *p);

/*
 * The folder of rules that counts when none is configured: rules.d beside the configuration, for a user else the
 * system's, else the one beside the program (in a build tree) or that was installed with it. The caller frees.
 */
char *paths_rules_dir(const struct paths *p);

/*
 * mkdir -p. The last folder, when it is created, gets `mode` exactly, whatever the umask; missing
 * parents get 0700 when `mode` has nothing for group and others, else 0755. The last folder must be
 * (or be a link to) a folder that belongs to us or to root and is not writable for everybody.
 * Returns 0 or -1 (err->code is an errno).
 */
int paths_make_dir(const char *path, mode_t mode, struct cb_error *err);

/*
 * Whether paths_make_dir() could do that, and whether we could then make files there; makes nothing. Root, who may be asking for
 * another user, is not told who owns the folder. Returns 0 or -1 (err->code is an errno).
 */
int paths_check_dir(const char *path, struct cb_error *err);
/* Whether a file could be opened for writing, or made where it is not: opens nothing. Returns 0 or -1 (err->code is an errno). */
int paths_check_file(const char *path, struct cb_error *err);

/* The folder part of a path, "." when there is none; the caller frees. */
char *paths_dirname(const char *path);

/* True when `file` lies under the system's configuration folder. */
bool paths_is_system_config(const char *file);
/* For clients: the system has a configuration, we may use its daemon (root's folder of state belongs to a group of ours), and there
 * is no daemon of our own. */
bool paths_is_system_client(void);

#endif

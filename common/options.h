/*
 * options.h: the configuration, from one table (options.def).
 *
 * Load builds a complete new struct options or says everything that is wrong; nobody writes into
 * one that is in use. The client, the supervisor and the workers read the same struct; workers get
 * it as the text of options_dump() through a memfd.
 */
#ifndef CB_OPTIONS_H
#define CB_OPTIONS_H

#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/methods.h"
#include "common/paths.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OPTIONS_FILE_MAX = 1024 * 1024, OPTIONS_ERRORS_MAX = 100 };

/* events.transport, task.assignment, redis.appendfsync; the words are in options.def, in this order. */
enum options_transport { EVENTS_STREAM, EVENTS_PUBSUB, EVENTS_BOTH };
enum options_assignment { ASSIGNMENT_PULL, ASSIGNMENT_PUSH, ASSIGNMENT_HYBRID };
/* audit.fsync, as the above. */
enum audit_fsync { AUDIT_FSYNC_ALWAYS, AUDIT_FSYNC_EVERYSEC, AUDIT_FSYNC_NO };
enum options_appendfsync { APPENDFSYNC_ALWAYS, APPENDFSYNC_EVERYSEC, APPENDFSYNC_NO };
/* hooks.on_error and hooks.on_unparsable. */
enum options_hooks_doubt { HOOKS_NONE, HOOKS_ASK, HOOKS_DENY };
/* log.level and log.format: enum log_level and enum log_format of log.h. */

struct domain_options {
    int64_t workers;
    int64_t batch;
};

/* Of one method (options_methods.def); texts as below. */
struct breaker_options {
    int64_t threshold; /* 0 = no breaker */
    int64_t window_ms;
    int64_t open_ms;
    int64_t backoff; /* thousandths */
    int64_t open_max_ms;
    int64_t half_open;
    int64_t close_after;
    int64_t permit_ms;
    const char *depends_on; /* names of methods, separated by spaces */
};
struct method_options {
    int64_t rate_limit; /* 0 = none */
    int64_t rate_window_ms;
    int64_t timeout_ms; /* 0 = none */
    struct breaker_options breaker;
};
enum { OPTIONS_ALL_METHODS = METHOD_COUNT }; /* "*" */

struct options_origins;

/* Times are ms, sizes bytes. Strings belong to the options and are never NULL ("" = not set). */
struct options {
    int64_t config_version;
    struct {
        const char *id;
    } instance;
    struct {
        bool embedded;
        const char *url;
        const char *dir;
        int appendfsync; /* enum options_appendfsync */
        const char *prefix;
        const char *user;
        const char *password_file;
        const char *client_user;
        const char *client_password_file;
        int64_t maxmemory; /* 0 = no limit; embedded only */
        int64_t timeout_ms;
        int64_t wait_replicas;
        struct {
            const char *master; /* "" = no Sentinel */
            const char *nodes;  /* host:port, separated by spaces */
            const char *user;
            const char *password_file;
        } sentinel;
    } redis;
    struct {
        const char *pidfile;
        const char *control_socket;
        const char *state_dir;
        int64_t ready_timeout_ms;
        int64_t watchdog_ms;
        int64_t stop_timeout_ms;
        int64_t restart_min_ms;
        int64_t restart_max_ms;
    } supervisor;
    struct {
        struct domain_options task;
        struct domain_options system;
        struct domain_options hook;
        struct domain_options archive;
        struct domain_options test;
    } domains;
    struct {
        int64_t tick_ms;
        int64_t suspect_ms;
        int64_t offline_ms;
        int64_t leader_lease_ms;
        int64_t agent_lease_ms;
    } cluster;
    struct {
        int assignment; /* enum options_assignment */
        int64_t auto_assign_ms;
        int64_t lease_ms;
        int64_t max_attempts;
        int64_t max_crashes;
        int64_t backoff_ms;
        int64_t backoff_max_ms;
        int64_t max_pending;
        int64_t max_schedules;
        int64_t keep_finished;
        int64_t keep_finished_ms;
        int64_t keep_finished_min_ms;
        int64_t keep_finished_bytes;
        int64_t deny_ms;
        int64_t aging_ms;
    } task;
    struct {
        int transport; /* enum options_transport */
        int64_t maxlen;
        int64_t max_bytes;
        int64_t reader_idle_ms;
        int64_t dedupe_ms;
        int64_t dedupe_ids;
    } events;
    struct {
        int64_t params_bytes;
        int64_t batch_params_bytes;
        int64_t text_bytes;
        int64_t backlog;
        int64_t idempotency_ttl_ms;
        int64_t idempotency_bytes;
        int64_t dead_entries;
        int64_t dead_bytes;
        int64_t audit_entries;
        int64_t waiters;
    } limits;
    struct {
        const char *rules_dir;
        const char *chain_dir; /* "" = `chain` in rules_dir */
        const char *project_file;
        int on_error;      /* enum options_hooks_doubt */
        int on_unparsable; /* the same */
        int64_t deadline_ms;
        int64_t alert_after;
        int64_t alert_window_ms;
    } hooks;
    struct {
        const char *file; /* "": none */
        int fsync;        /* enum audit_fsync */
    } audit;
    struct {
        const char *conninfo; /* "": none */
        int64_t connect_timeout_ms;
        int64_t timeout_ms;
    } postgres;
    struct {
        int64_t keep_days; /* 0 = for ever */
        int64_t lag_ms;
    } archive;
    struct {
        const char *textfile; /* "": none */
        int64_t interval_ms;
    } metrics;
    struct {
        int level;  /* enum log_level */
        int format; /* enum log_format */
        const char *destination;
    } log;

    /* By enum method_id, what is set for all of them included; the last one is "*" itself. */
    struct method_options methods[OPTIONS_ALL_METHODS + 1];

    /* Private to options*.c. */
    struct arena strings;
    struct options_origins *origins;
};

/* ---- errors ---- */

struct options_error {
    char *file; /* NULL: not about a place in a file */
    int line;   /* 0 when unknown */
    int col;
    char *option; /* dotted name or "" */
    char *text;   /* one line, escaped, may name what was expected */
};

/* What is wrong, in the order in which it was found. At most OPTIONS_ERRORS_MAX are kept. */
struct options_errors {
    struct options_error *items;
    size_t len;
    size_t total;
};
#define OPTIONS_ERRORS_INIT                                                                        \
    {                                                                                              \
        NULL, 0, 0                                                                                 \
    }
/* Adds one; `file` may be NULL. For those who load files of their own in the same manner. */
void options_errors_add(struct options_errors *errs, const char *file, int line, int col,
                        const char *option, const char *fmt, ...) CB_PRINTF(6, 7);
void options_errors_done(struct options_errors *errs);
/* Appends one of them, without the end of the line: `file:line:col: option: problem (expected …)`, from `option` on when it has no file. */
void options_error_put(const struct options_error *e, struct buf *out);
/* Appends a line for each, and "and N more errors". */
void options_errors_put(const struct options_errors *errs, struct buf *out);

/* ---- load ---- */

/* Where the configuration comes from. */
struct options_source {
    char *file;           /* NULL: there is none, built-in defaults */
    enum paths_mode mode; /* which folders the defaults name */
};

/*
 * Search order: `from_command_line` (-c; may be NULL), CLAUDEBENCH_CONFIG, then for root
 * /etc/claudebench/claudebench.yaml and for others $XDG_CONFIG_HOME/claudebench/claudebench.yaml,
 * else built-in defaults. A file that was named and is missing, or one that is there and cannot be
 * read, is an error, never a fall-through. A file under /etc/claudebench means system mode for
 * everybody. Returns 0 or -1 (err->code is EXITCODE_CONFIG).
 */
int options_find_file(const char *from_command_line, struct options_source *ret_source,
                      struct cb_error *err);
/* The same for clients: who has no configuration and no daemon of their own, and may use the system's daemon, uses that. */
int options_find_client_file(const char *from_command_line, struct options_source *ret_source,
                             struct cb_error *err);
void options_source_done(struct options_source *source);

/*
 * Reads source->file, then conf.d/<name>.yaml beside it in sorted order; later files override.
 * Returns 0, or -1 with everything that is wrong in *errs (the caller prints and exits
 * EXITCODE_CONFIG).
 */
int options_load(const struct options_source *source, struct options **ret,
                 struct options_errors *errs);
/*
 * The same, but what is wrong is left out and has its default: for those who have to reach a running daemon although
 * somebody is editing its configuration. Returns 0, or -1 when there are not even defaults.
 */
int options_load_leniently(const struct options_source *source, struct options **ret);
/* The same from a text, without conf.d; `name` stands for the file in errors. What the text does
 * not say has its default in system mode. */
int options_load_text(const char *text, size_t len, const char *name, struct options **ret,
                      struct options_errors *errs);
/* The same, leniently. */
int options_load_text_leniently(const char *text, size_t len, struct options **ret);
/* Built-in defaults. */
int options_defaults(enum paths_mode mode, struct options **ret, struct options_errors *errs);
/* The word of an enum options_assignment. */
const char *options_assignment_name(int assignment);
/* What scripts are told of events, in the words of lua/include/emit.lua: the one place where these options are read. */
const char *options_events_policy(const struct options *opts, struct arena *arena);
void options_free(struct options *opts);      /* accepts NULL */
void options_free_ptr(struct options **opts); /* CB_CLEANUP */

/*
 * The whole configuration as YAML that options_load_text() reads back to the same values
 * (claudebenchd -T, the memfd for workers).
 */
void options_dump(const struct options *opts, struct buf *out, bool with_comments);

/* ---- domains ---- */

/* NULL-terminated. */
const char *const *options_domain_names(void);
/* Its place in these; the number of domains when there is none of that name. */
unsigned options_domain_number(const char *name);
/* Whether its workers read a stream of requests; the archive's read events. */
bool options_domain_has_requests(const char *name);
/* NULL when there is no such domain. */
const struct domain_options *options_domain(const struct options *opts, const char *name);

/* ---- the table ---- */

enum option_type {
    OPTION_BOOL,   /* bool */
    OPTION_INT,    /* int64_t */
    OPTION_TIME,   /* int64_t, ms */
    OPTION_BYTES,  /* int64_t; KiB, MiB, GiB, TiB accepted */
    OPTION_STR,    /* const char *; min, max = bytes */
    OPTION_LIST,   /* const char *, items separated by spaces; max = bytes */
    OPTION_PATH,   /* const char *, absolute or (min 0) empty */
    OPTION_ENUM,   /* int, index into choices */
    OPTION_FACTOR, /* int64_t, thousandths: 1.5 is 1500 */
};

enum option_flag {
    OPTION_RELOADABLE = 1u << 0, /* HUP puts a new value in force */
    OPTION_RESTART = 1u << 1,    /* a new value needs a restart */
};

struct option_row {
    const char *name; /* dotted */
    enum option_type type;
    unsigned flags;
    size_t offset; /* in struct options */
    const char *
        fallback; /* STR, LIST, PATH: the default; $RUN, $STATE, $HOST stand for what paths.h finds */
    int64_t fallback_num; /* all others */
    int64_t min;
    int64_t max;
    const char *choices; /* ENUM: "text|json" */
    const char *text;
};

extern const struct option_row
    options_table[]; /* in the order of options.def; ends with name NULL */
extern const struct option_row
    options_method_table[]; /* what each method has; offset in struct method_options */
/* NULL when there is none. Options of methods have no rows of their own here. */
const struct option_row *options_find(const char *name);
/* Appends one value as text, e.g. "4MiB", "true", "everysec" (no quotes). */
void options_put_value(const struct options *opts, const struct option_row *option,
                       struct buf *out);

/* Where a value came from; file NULL: the built-in default. */
struct option_origin {
    const char *file;
    int line;
    int col;
};
struct option_origin options_origin(const struct options *opts, const struct option_row *option);

/* One option as it is in a configuration. All is borrowed for the time of the call. */
struct option_state {
    const struct option_row *row; /* of a method's option its name is the whole one */
    const char *value;            /* as text */
    bool is_default;              /* it has the value of `defaults`, wherever that comes from */
    struct option_origin origin;
};
/* Calls fn for each option of the table, in its order, and then for each that was given of a method. */
typedef void options_each_fn(void *arg, const struct option_state *option);
void options_each(const struct options *opts, const struct options *defaults, options_each_fn *fn,
                  void *arg);
/* Calls fn for one option of a method by its whole name ("methods.task.claim.rate_limit"), given or not, with the value that is in
 * force for it; the origin may be that of "*". False, without a call, when there is no such option. */
bool options_of_method(const struct options *opts, const struct options *defaults, const char *name,
                       options_each_fn *fn, void *arg);

/*
 * Calls fn for each option whose value differs (old and new as text) and returns how many there
 * were, one of all methods counted once; *ret_restart (may be NULL) tells whether one of them needs a restart.
 */
typedef void options_change_fn(void *arg, const struct option_row *option, const char *old_value,
                               const char *new_value);
size_t options_compare(const struct options *old_opts, const struct options *new_opts,
                       options_change_fn *fn, void *arg, bool *ret_restart);

/* ---- reload ---- */

/*
 * Makes `fresh`, just loaded, what a reload would put in force in place of `in_force`: an option that needs a
 * restart keeps its value in force. Calls fn for each option that differs: for one that needs a restart with
 * the value in force and the one that was loaded. Then checks again, since what is kept may not fit what is new.
 * Returns 0, or -1 with what is wrong in *errs; `in_force` is not touched.
 */
int options_prepare_reload(struct options *fresh, const struct options *in_force,
                           options_change_fn *fn, void *arg, struct options_errors *errs);
/*
 * Puts the values of `fresh` in force. A daemon has one struct options, which keeps its address and the strings that
 * have not changed, so that no part of it is ever left with old ones. It does this between two events.
 */
void options_put_in_force(struct options *in_force, const struct options *fresh);

#endif

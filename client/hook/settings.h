/*
 * settings.h: our lines in an agent's settings, put in and taken out as an editor would: nothing else changes by a byte.
 *
 * A settings file is text to us: keys that we do not know, their order, indentation and line ends are not ours. What was put in
 * is found again by what it runs: a program named claudebench with the word hook.
 */
#ifndef CB_CLIENT_HOOK_SETTINGS_H
#define CB_CLIENT_HOOK_SETTINGS_H

#include "client/hook/hook.h"

struct settings_event {
    const char *name;
    const char *matcher; /* NULL: the event has none */
    bool blocks;         /* when the hook itself fails, that is a refusal */
};

/* Where an agent keeps its hooks, and in what form. */
struct settings_place {
    const char *agent;
    const char *user_file;    /* below the home folder */
    const char *project_file; /* below the project's */
    bool is_flat;             /* events hold handlers, not groups of them */
    bool has_version;         /* the file says "version": 1 */
    const struct settings_event *events;
    void (*put_handler)(const struct settings_event *event, const char *const *argv,
                        struct buf *out); /* one handler as JSON */
    const char *hint;                     /* what the user has to do besides, or NULL */
};
extern const struct settings_place settings_places[]; /* ends with agent NULL */
const struct settings_place *settings_place_find(const char *agent);

/* ---- texts ---- */

/* Returns 0, or -1 with the place of what is no JSON, or not of the form that the agent wants. */
int settings_check(const char *text, size_t len, struct cb_error *err);
/* Appends the text without our lines; containers that hold nothing else go with them. */
void settings_strip(const struct settings_place *place, const char *text, size_t len,
                    struct buf *out);
/* Appends the text with our lines, which `argv` (NULL at its end) runs; it must have none of them. */
void settings_add(const struct settings_place *place, const char *text, size_t len,
                  const char *const *argv, struct buf *out);
/* True when each event has one line of ours, as settings_add() would write it now, and no other event has one. */
bool settings_has_all(const struct settings_place *place, const char *text, size_t len,
                      const char *const *argv);
/* True when both are the same JSON but for white space. */
bool settings_same(const char *a, size_t a_len, const char *b, size_t b_len);

/* Whether a handler is one of our lines: it runs a program named claudebench with the word hook. */
bool settings_is_ours(struct json_span handler);
/* Calls fn for each handler of an event (all events when it is NULL); `is_ours` as above. */
typedef void settings_handler_fn(void *arg, const char *event, struct json_span handler,
                                 bool is_ours);
void settings_each(const struct settings_place *place, struct json_span root, const char *event,
                   settings_handler_fn *fn, void *arg);

/* ---- files ---- */

struct settings_file {
    char *path;   /* as people know it */
    char *target; /* what is edited: behind a symbolic link */
    char *dir;
    int dir_fd; /* locked; -1 */
    struct buf text;
    bool exists;
    unsigned mode;
};

/*
 * The matcher of a group with a handler of ours, when it leaves out tools: appended to `out`. False: there is none such.
 */
bool settings_find_narrow(const struct settings_place *place, struct json_span root,
                          const char *event, struct buf *out);

/*
 * Opens, locks and reads a settings file. May a symbolic link be followed? One of the user's own to a file of his; never one of a
 * project. Returns 0 or -1 with what is wrong.
 */
int settings_open(const char *path, bool is_project, bool will_write, struct settings_file *ret,
                  struct cb_error *err);
/* Replaces the file: temporary file, fsync, rename. Fails when somebody else has changed it meanwhile. */
int settings_write(struct settings_file *file, const char *text, size_t len, struct cb_error *err);
/* Takes the file away. */
int settings_remove(struct settings_file *file, struct cb_error *err);
void settings_close(struct settings_file *file);

/* The copy of what was there before the first line of ours: <file>.before-claudebench. */
int settings_keep_backup(const struct settings_file *file, struct cb_error *err);
bool settings_read_backup(const struct settings_file *file, struct buf *out);
void settings_drop_backup(const struct settings_file *file);

#endif

/*
 * inherit.c: see inherit.h.
 */
#include "common/compat.h"
#include "supervisor/inherit.h"

#include "common/exitcode.h"
#include "common/frame.h"
#include "common/mem.h"
#include "common/schema.h"
#include "common/scoreboard.h"

#include <fcntl.h>
#include <sys/stat.h>

enum { DOCUMENT_VERSION = 1, DOCUMENT_MAX = 1 << 20 };

struct inherit {
    json_object *doc;
    int options_fd;
};

const char *inherit_versions(void)
{
    static char text[64];

    /* With another schema the old workers, which go on for a while, would not know what the new ones write. */
    snprintf(text, sizeof text, "%d.%d.%zu.%d.%d", DOCUMENT_VERSION, (int)SCOREBOARD_VERSION,
             sizeof(struct scoreboard), (int)FRAME_PROTOCOL, (int)SCHEMA_MAX);
    return text;
}

int inherit_check(struct cb_error *err)
{
    const char *wanted = getenv(INHERIT_CHECK_ENV);

    if (!wanted || strcmp(wanted, inherit_versions()) == 0)
        return 0;
    return cb_error_set(err, EXITCODE_CONFIG,
                        "version %s cannot take over from one that runs: it needs a restart",
                        PACKAGE_VERSION);
}

/* ---- the document ---- */

static json_object *read_document(int fd, struct cb_error *err)
{
    CB_CLEANUP(buf_done) struct buf text = BUF_INIT;
    struct stat st;

    if (fstat(fd, &st) == 0 && st.st_size > 0 && st.st_size < DOCUMENT_MAX) {
        ssize_t n = pread(fd, buf_reserve(&text, (size_t)st.st_size), (size_t)st.st_size, 0);
        text.len = n > 0 ? (size_t)n : 0;
        text.data[text.len] = '\0';
    }
    json_object *doc = text.len ? json_tokener_parse(buf_peek(&text)) : NULL;
    if (!json_object_is_type(doc, json_type_object)) {
        json_object_put(doc);
        cb_error_set(err, EXITCODE_SOFTWARE, "what was inherited cannot be read");
        return NULL;
    }
    return doc;
}

static int take_int(json_object *o, const char *name)
{
    json_object *n = NULL;
    int fd = json_object_object_get_ex(o, name, &n) ? json_object_get_int(n) : -1;

    if (n)
        json_object_object_del(o, name);
    if (fd >= 0)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}

int inherit_open(struct inherit **ret, struct cb_error *err)
{
    const char *text = getenv(INHERIT_ENV);
    int fd = text ? (int)strtol(text, NULL, 10) : -1;

    *ret = NULL;
    unsetenv(INHERIT_ENV);
    if (fd < 3)
        return 0;
    json_object *doc = read_document(fd, err);
    close(fd);
    if (!doc)
        return -1;
    struct inherit *in = mem_alloc(sizeof *in);
    in->doc = doc;
    in->options_fd = inherit_take_fd(in, "options");
    *ret = in;
    return 0;
}

static void close_rest(json_object *fds)
{
    struct json_object_iterator it = json_object_iter_begin(fds);
    struct json_object_iterator end = json_object_iter_end(fds);

    for (; !json_object_iter_equal(&it, &end); json_object_iter_next(&it))
        close(json_object_get_int(json_object_iter_peek_value(&it)));
}

void inherit_free(struct inherit *in)
{
    json_object *fds = NULL;

    if (!in)
        return;
    if (json_object_object_get_ex(in->doc, "fds", &fds))
        close_rest(fds);
    if (in->options_fd >= 0)
        close(in->options_fd);
    json_object_put(in->doc);
    free(in);
}

/* ---- what is in it ---- */

int inherit_take_fd(struct inherit *in, const char *name)
{
    json_object *fds = NULL;

    return in && json_object_object_get_ex(in->doc, "fds", &fds) ? take_int(fds, name) : -1;
}

int64_t inherit_int(const struct inherit *in, const char *name, int64_t fallback)
{
    json_object *n = NULL;

    return in && json_object_object_get_ex(in->doc, name, &n) ? json_object_get_int64(n) : fallback;
}

const char *inherit_string(const struct inherit *in, const char *name, const char *fallback)
{
    json_object *s = NULL;

    return in && json_object_object_get_ex(in->doc, name, &s) ? json_object_get_string(s)
                                                              : fallback;
}

json_object *inherit_workers(const struct inherit *in)
{
    json_object *workers = NULL;

    return in && json_object_object_get_ex(in->doc, "workers", &workers) ? workers : NULL;
}

int64_t inherit_worker_int(json_object *worker, const char *name)
{
    json_object *n = NULL;

    return json_object_object_get_ex(worker, name, &n) ? json_object_get_int64(n) : 0;
}

int inherit_take_worker_fd(json_object *worker)
{
    return take_int(worker, "fd");
}

struct options *inherit_options(const struct inherit *in)
{
    CB_CLEANUP(buf_done) struct buf text = BUF_INIT;
    struct options *opts = NULL;
    struct stat st;

    if (!in || in->options_fd < 0 || fstat(in->options_fd, &st) < 0)
        return NULL;
    ssize_t n = pread(in->options_fd, buf_reserve(&text, (size_t)st.st_size + 1),
                      (size_t)st.st_size, 0);
    text.len = n > 0 ? (size_t)n : 0;
    text.data[text.len] = '\0';
    return options_load_text_leniently(buf_peek(&text), text.len, &opts) == 0 ? opts : NULL;
}

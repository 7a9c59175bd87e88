/*
 * options_load.c: which files make up the configuration, and reading them. See options.h.
 */
#include "common/compat.h"
#include "common/options.h"

#include "common/exitcode.h"
#include "common/mem.h"
#include "common/options_private.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>

#define FILE_NAME "claudebench.yaml"

enum { PIPE_WAIT_MS = 1000 };

/* ---- the search ---- */

static char *make_absolute(const char *path)
{
    char *cwd = path[0] == '/' ? NULL : getcwd(NULL, 0);
    char *absolute = cwd ? mem_printf("%s/%s", cwd, path) : mem_strdup(path);
    free(cwd);
    return absolute;
}

/* 1: can be read, 0: is not there, -1: error. */
static int probe_file(const char *path, struct cb_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd >= 0) {
        close(fd);
        return 1;
    }
    if (errno == ENOENT || errno == ENOTDIR)
        return 0;
    return cb_error_set(err, EXITCODE_CONFIG, "cannot read the configuration %s: %s", path,
                        strerror(errno));
}

/* A file that somebody named: has to be there. */
static int use_named(const char *path, const char *who, struct options_source *ret_source,
                     struct cb_error *err)
{
    int found = probe_file(path, err);

    if (found == 0)
        return cb_error_set(err, EXITCODE_CONFIG, "the configuration %s (from %s) does not exist",
                            path, who);
    if (found < 0)
        return -1;
    ret_source->file = make_absolute(path);
    ret_source->mode = paths_is_system_config(ret_source->file) ? PATHS_SYSTEM : PATHS_AUTO;
    return 0;
}

static int use_usual(struct options_source *ret_source, struct cb_error *err)
{
    struct paths paths;

    if (paths_init(&paths, PATHS_AUTO, err))
        return -1;
    char *file = mem_printf("%s/" FILE_NAME, paths.config_dir);
    paths_done(&paths);
    int found = probe_file(file, err);
    if (found != 1) {
        free(file);
        file = NULL;
    }
    if (found < 0)
        return -1;
    ret_source->file = file;
    ret_source->mode = PATHS_AUTO;
    return 0;
}

int options_find_file(const char *from_command_line, struct options_source *ret_source,
                      struct cb_error *err)
{
    const char *from_env = getenv("CLAUDEBENCH_CONFIG");

    if (from_command_line)
        return use_named(from_command_line, "-c", ret_source, err);
    if (from_env && from_env[0])
        return use_named(from_env, "CLAUDEBENCH_CONFIG", ret_source, err);
    return use_usual(ret_source, err);
}

int options_find_client_file(const char *from_command_line, struct options_source *ret_source,
                             struct cb_error *err)
{
    if (options_find_file(from_command_line, ret_source, err) != 0)
        return -1;
    if (!ret_source->file && paths_is_system_client()) {
        ret_source->file = mem_strdup(CB_SYSCONFDIR "/claudebench/" FILE_NAME);
        ret_source->mode = PATHS_SYSTEM;
    }
    return 0;
}

void options_source_done(struct options_source *source)
{
    free(source->file);
    source->file = NULL;
}

/* ---- reading files ---- */

/* A shell's <(command) is a pipe. One that nobody writes to must not keep the daemon waiting at a reload. */
static int wait_for_data(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n = poll(&p, 1, PIPE_WAIT_MS); /* a file can always be read */

    if (n == 0)
        errno = ETIMEDOUT;
    return n > 0 || (n < 0 && errno == EINTR) ? 0 : -1;
}

/* At most one byte more than is allowed, so that the reader sees that it is too much. */
static int read_all(int fd, struct buf *out)
{
    while (out->len <= OPTIONS_FILE_MAX) {
        if (wait_for_data(fd) != 0)
            return -1;
        size_t room = OPTIONS_FILE_MAX + 1 - out->len;
        room = room < 65536 ? room : 65536;
        char *to = buf_reserve(out, room);
        ssize_t n = read(fd, to, room);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            return 0;
        out->len += (size_t)n;
        out->data[out->len] = '\0';
    }
    return 0;
}

static void read_file(struct options *opts, const char *path, struct options_errors *errs)
{
    struct buf text = BUF_INIT;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0 || read_all(fd, &text) != 0)
        options_errors_add(errs, path, 0, 0, "", "cannot be read: %s", strerror(errno));
    else
        options_read_text(opts, buf_peek(&text), text.len, path, errs);
    if (fd >= 0)
        close(fd);
    buf_done(&text);
}

static void read_folder(struct options *opts, const char *dir, struct options_errors *errs)
{
    struct dirent **entries = NULL;
    int n = yaml_list_folder(dir, &entries);

    if (n < 0) {
        if (errno != ENOENT)
            options_errors_add(errs, dir, 0, 0, "", "cannot be read: %s", strerror(errno));
        return;
    }
    for (int i = 0; i < n; i++) {
        char *path = mem_printf("%s/%s", dir, entries[i]->d_name);
        read_file(opts, path, errs);
        free(path);
        free(entries[i]);
    }
    free(entries);
}

/* ---- loading ---- */

static struct options *begin(enum paths_mode mode, struct options_errors *errs)
{
    struct options *opts = NULL;
    struct cb_error err = {0};

    if (options_new(mode, &opts, &err))
        options_errors_add(errs, NULL, 0, 0, "", "%s", err.text);
    return opts;
}

/* Hands the options out when nothing was wrong. */
static int finish(struct options *opts, size_t errors_before, struct options **ret,
                  struct options_errors *errs)
{
    options_methods_resolve(opts);
    options_archive_resolve(opts);
    options_check(opts, errs);
    if (errs->total > errors_before) {
        options_free(opts);
        return -1;
    }
    *ret = opts;
    return 0;
}

static void read_source(struct options *opts, const struct options_source *source,
                        struct options_errors *errs)
{
    if (!source->file)
        return;
    char *dir = paths_dirname(source->file);
    char *conf_d = mem_printf("%s/conf.d", dir);
    read_file(opts, source->file, errs);
    read_folder(opts, conf_d, errs);
    free(conf_d);
    free(dir);
}

int options_load(const struct options_source *source, struct options **ret,
                 struct options_errors *errs)
{
    size_t errors_before = errs->total;
    struct options *opts = begin(source->mode, errs);

    if (!opts)
        return -1;
    read_source(opts, source, errs);
    return finish(opts, errors_before, ret, errs);
}

int options_load_leniently(const struct options_source *source, struct options **ret)
{
    struct options_errors errs = OPTIONS_ERRORS_INIT;
    struct options *opts = begin(source->mode, &errs);

    if (opts) {
        read_source(opts, source, &errs);
        *ret = opts;
    }
    options_errors_done(&errs);
    return opts ? 0 : -1;
}

int options_load_text(const char *text, size_t len, const char *name, struct options **ret,
                      struct options_errors *errs)
{
    size_t errors_before = errs->total;
    struct options *opts = begin(PATHS_SYSTEM, errs);

    if (!opts)
        return -1;
    options_read_text(opts, text, len, name, errs);
    return finish(opts, errors_before, ret, errs);
}

int options_load_text_leniently(const char *text, size_t len, struct options **ret)
{
    struct options_errors errs = OPTIONS_ERRORS_INIT;
    struct options *opts = begin(PATHS_SYSTEM, &errs);

    if (opts) {
        options_read_text(opts, text, len, "text", &errs);
        *ret = opts;
    }
    options_errors_done(&errs);
    return opts ? 0 : -1;
}

int options_defaults(enum paths_mode mode, struct options **ret, struct options_errors *errs)
{
    const struct options_source none = {.file = NULL, .mode = mode};
    return options_load(&none, ret, errs);
}

/*
 * paths.c: see paths.h.
 */
#include "common/compat.h"
#include "common/paths.h"

#include "common/exitcode.h"
#include "common/mem.h"
#include "common/spawn.h"
#include "common/utf8.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>

#define SYSTEM_CONFIG_DIR CB_SYSCONFDIR "/claudebench"

/* A path from the environment goes into the configuration and into logs. */
static int check_path(const char *what, const char *path, struct cb_error *err)
{
    size_t len = strlen(path);
    size_t at = 0;

    while (at < len) {
        uint32_t cp;
        size_t n = utf8_decode(path + at, len - at, &cp);
        if (n == 0 || utf8_is_control(cp))
            return cb_error_set(err, EXITCODE_CONFIG, "%s: has control characters or is not UTF-8",
                                what);
        at += n;
    }
    return 0;
}

/* An absolute path from the environment, or NULL; the XDG specification says to ignore relative
 * ones. */
static const char *env_path(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] == '/' ? value : NULL;
}

static char *home_dir(struct cb_error *err)
{
    const char *home = env_path("HOME");

    if (!home) {
        const struct passwd *pw = getpwuid(geteuid());
        home = pw && pw->pw_dir && pw->pw_dir[0] == '/' ? pw->pw_dir : NULL;
    }
    if (home && check_path("HOME", home, err))
        return NULL;
    if (!home)
        cb_error_set(err, EXITCODE_CONFIG, "HOME is not set and user %u has no home folder",
                     (unsigned)geteuid());
    return home ? mem_strdup(home) : NULL;
}

static bool is_own_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
}

/* "<$name or home/fallback>/claudebench", or NULL with an error. */
static char *xdg_dir(const char *name, const char *home, const char *fallback, struct cb_error *err)
{
    const char *base = env_path(name);

    if (base && check_path(name, base, err))
        return NULL;
    return base ? mem_printf("%s/claudebench", base)
                : mem_printf("%s/%s/claudebench", home, fallback);
}

static char *user_run_dir(const char *state_dir, struct cb_error *err)
{
    const char *base = env_path("XDG_RUNTIME_DIR");
    char usual[64];

    snprintf(usual, sizeof usual, "/run/user/%u", (unsigned)geteuid());
    if (!base || !is_own_dir(base))
        base = is_own_dir(usual) ? usual : NULL;
    if (base && check_path("XDG_RUNTIME_DIR", base, err))
        return NULL;
    return base ? mem_printf("%s/claudebench", base) : mem_printf("%s/run", state_dir);
}

static int init_user(struct paths *p, struct cb_error *err)
{
    char *home = home_dir(err);

    if (!home)
        return -1;
    p->config_dir = xdg_dir("XDG_CONFIG_HOME", home, ".config", err);
    if (p->config_dir)
        p->state_dir = xdg_dir("XDG_STATE_HOME", home, ".local/state", err);
    if (p->state_dir)
        p->run_dir = user_run_dir(p->state_dir, err);
    if (p->run_dir)
        p->log_dir = mem_printf("%s/log", p->state_dir);
    free(home);
    return p->log_dir ? 0 : -1;
}

int paths_init(struct paths *p, enum paths_mode mode, struct cb_error *err)
{
    struct paths found = {.is_system = mode == PATHS_SYSTEM ||
                                       (mode == PATHS_AUTO && geteuid() == 0)};

    if (found.is_system) {
        found.config_dir = mem_strdup(SYSTEM_CONFIG_DIR);
        found.run_dir = mem_strdup(CB_RUNSTATEDIR "/claudebench");
        found.state_dir = mem_strdup(CB_LOCALSTATEDIR "/lib/claudebench");
        found.log_dir = mem_strdup(CB_LOCALSTATEDIR "/log/claudebench");
    } else if (init_user(&found, err)) {
        paths_done(&found);
        return -1;
    }
    *p = found;
    return 0;
}

void paths_done(struct paths *p)
{
    free(p->config_dir);
    free(p->run_dir);
    free(p->state_dir);
    free(p->log_dir);
    *p = (struct paths){0};
}

static bool is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

char *paths_rules_dir(const struct paths *p)
{
    char *own = mem_printf("%s/rules.d", p->config_dir);
    char program_dir[PATH_MAX];

    if (is_dir(own))
        return own;
    free(own);
    if (is_dir(SYSTEM_CONFIG_DIR "/rules.d"))
        return mem_strdup(SYSTEM_CONFIG_DIR "/rules.d");
    if (spawn_own_dir(program_dir, sizeof program_dir) == 0) { /* a build tree */
        own = mem_printf("%s/etc/rules.d", program_dir);
        if (is_dir(own))
            return own;
        free(own);
    }
    return mem_strdup(CB_DATADIR "/claudebench/rules.d");
}

/* Creates one folder; one that is there is fine. */
static int make_one(const char *path, mode_t mode, struct cb_error *err)
{
    if (mkdir(path, mode & 0777) != 0) {
        if (errno == EEXIST)
            return 0;
        int saved = errno;
        return cb_error_set(err, saved, "cannot create the folder %s: %s", path, strerror(saved));
    }
    if (chmod(path, mode) != 0) { /* the umask took bits away */
        int saved = errno;
        return cb_error_set(err, saved, "cannot set the mode of %s: %s", path, strerror(saved));
    }
    return 0;
}

static int make_parents(const char *path, mode_t mode, struct cb_error *err)
{
    char *copy = mem_strdup(path);
    int status = 0;

    for (char *slash = strchr(copy + 1, '/'); slash && status == 0;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        struct stat st;
        if (stat(copy, &st) != 0)
            status = make_one(copy, mode, err);
        *slash = '/';
    }
    free(copy);
    return status;
}

static int check_dir(const char *path, bool want_owner, struct cb_error *err)
{
    struct stat st;

    if (stat(path, &st) != 0) {
        int saved = errno;
        return cb_error_set(err, saved, "%s: %s", path, strerror(saved));
    }
    if (!S_ISDIR(st.st_mode))
        return cb_error_set(err, ENOTDIR, "%s is not a folder", path);
    if (want_owner && st.st_uid != geteuid() && st.st_uid != 0)
        return cb_error_set(err, EPERM, "%s belongs to another user (%u)", path,
                            (unsigned)st.st_uid);
    if (st.st_mode & S_IWOTH)
        return cb_error_set(err, EPERM, "%s is writable for everybody", path);
    return 0;
}

int paths_make_dir(const char *path, mode_t mode, struct cb_error *err)
{
    if (!path[0])
        return cb_error_set(err, ENOENT, "a folder without a name");
    if (make_parents(path, mode & 0077 ? 0755 : 0700, err) || make_one(path, mode, err))
        return -1;
    return check_dir(path, true, err);
}

static int check_access(const char *path, int mode, struct cb_error *err)
{
    if (faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0)
        return 0;
    int saved = errno;
    return cb_error_set(err, saved, "%s: %s", path, strerror(saved));
}

/* The folder itself, or the one above it that is there. */
static char *find_existing(const char *path)
{
    char *at = mem_strdup(path);
    struct stat st;

    while (lstat(at, &st) != 0 && (errno == ENOENT || errno == ENOTDIR)) {
        char *parent = paths_dirname(at);
        free(at);
        at = parent;
    }
    return at;
}

static int check_place(const char *at, struct cb_error *err)
{
    struct stat st;

    if (stat(at, &st) == 0 && !S_ISDIR(st.st_mode))
        return cb_error_set(err, ENOTDIR, "%s is not a folder", at);
    return check_access(at, W_OK | X_OK, err);
}

int paths_check_dir(const char *path, struct cb_error *err)
{
    char *at CB_CLEANUP(mem_free_ptr) = find_existing(path);
    bool is_there = strcmp(at, path) == 0;

    if (!path[0])
        return cb_error_set(err, ENOENT, "a folder without a name");
    if (is_there && check_dir(path, geteuid() != 0, err) != 0)
        return -1;
    if (check_place(at, err) == 0)
        return 0;
    return is_there ? -1 : cb_error_prefix(err, "%s cannot be made", path);
}

int paths_check_file(const char *path, struct cb_error *err)
{
    struct stat st;

    if (lstat(path, &st) != 0 && errno == ENOENT) {
        char *dir CB_CLEANUP(mem_free_ptr) = paths_dirname(path);
        return check_access(dir, W_OK | X_OK, err);
    }
    if (check_access(path, W_OK, err) != 0)
        return -1;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return cb_error_set(err, EISDIR, "%s: %s", path, strerror(EISDIR));
    return 0;
}

char *paths_dirname(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return mem_strdup(".");
    return mem_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

bool paths_is_system_config(const char *file)
{
    return strncmp(file, SYSTEM_CONFIG_DIR "/", sizeof SYSTEM_CONFIG_DIR) == 0;
}

static bool is_member(gid_t group)
{
    gid_t groups[1024];
    int n = getgroups((int)CB_ARRAY_LEN(groups), groups);

    for (int i = 0; i < n; i++)
        if (groups[i] == group)
            return true;
    return getegid() == group;
}

bool paths_is_system_client(void)
{
    struct paths own = {0};
    struct stat st;

    if (geteuid() == 0 || access(SYSTEM_CONFIG_DIR "/claudebench.yaml", R_OK) != 0 ||
        stat(CB_LOCALSTATEDIR "/lib/claudebench", &st) != 0 || !is_member(st.st_gid) ||
        paths_init(&own, PATHS_USER, NULL) != 0)
        return false;
    char *socket = mem_printf("%s/control.sock", own.run_dir);
    bool has_own = access(socket, F_OK) == 0;
    free(socket);
    paths_done(&own);
    return !has_own;
}

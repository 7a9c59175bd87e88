/*
 * policy.c: which configuration and which folders count. See hook.h.
 *
 * The hook runs with the environment that the agent gives it, and a project's settings may add to that. Where the system
 * has a policy, nothing that can be set from there is looked at: not -c, CLAUDEBENCH_CONFIG, XDG_*, nor HOME.
 */
#include "common/compat.h"
#include "client/hook/hook.h"

#include "common/mem.h"

#include <pwd.h>
#include <sys/stat.h>

#define CONFIG_FILE "claudebench.yaml"

/* The system's folder of configuration. Test builds may look at another one. */
static const char *system_dir(void)
{
#ifdef CB_FAILPOINTS
    const char *dir = getenv("CLAUDEBENCH_TEST_SYSTEM_DIR");
    if (dir && dir[0] == '/')
        return dir;
#endif
    return CB_SYSCONFDIR "/claudebench";
}

/* Whatever stands there counts, even what we may not read: then that is an error, not another policy. */
static bool is_there(const char *name)
{
    char *path CB_CLEANUP(mem_free_ptr) = mem_printf("%s/%s", system_dir(), name);
    struct stat st;

    return lstat(path, &st) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

bool hook_policy_is_system(void)
{
    return is_there(CONFIG_FILE) || is_there("rules.d");
}

static int load_options(struct options_source *source, struct options **ret, struct cb_error *err)
{
    struct options_errors errors = OPTIONS_ERRORS_INIT;
    int status = options_load(source, ret, &errors);

    if (status != 0 && errors.len > 0) {
        const struct options_error *e = &errors.items[0];
        cb_error_set(err, 0, "the configuration is wrong: %s:%d:%d: %s%s%s",
                     e->file ? e->file : "default", e->line, e->col, e->option,
                     e->option[0] ? ": " : "", e->text);
    }
    options_errors_done(&errors);
    return status;
}

static int system_options(struct options **ret, struct cb_error *err)
{
    struct options_source source = {.mode = PATHS_SYSTEM};

    if (is_there(CONFIG_FILE))
        source.file = mem_printf("%s/" CONFIG_FILE, system_dir());
    int status = load_options(&source, ret, err);
    options_source_done(&source);
    return status;
}

static int user_options(const char *config, struct options **ret, struct cb_error *err)
{
    struct options_source source = {0};

    if (options_find_file(config, &source, err) != 0)
        return -1;
    int status = load_options(&source, ret, err);
    options_source_done(&source);
    return status;
}

/* The home folder: what the system says, where the environment does not count. */
static char *find_home(bool is_system)
{
    const char *home = is_system ? NULL : getenv("HOME");

    if (!home || home[0] != '/') {
        const struct passwd *pw = getpwuid(geteuid());
        home = pw && pw->pw_dir && pw->pw_dir[0] == '/' ? pw->pw_dir : NULL;
    }
    return home ? mem_strdup(home) : NULL;
}

/* Where the spool is: with the daemon's state if that is ours, else a folder of the user who runs the agent. */
static char *find_state_dir(const struct hook_policy *policy)
{
    const char *dir = policy->opts ? policy->opts->supervisor.state_dir : NULL;

    if (dir && (geteuid() == 0 || !policy->is_system) &&
        (access(dir, W_OK) == 0 || errno == ENOENT))
        return mem_printf("%s/hook", dir);
    return policy->home ? mem_printf("%s/.local/state/claudebench/hook", policy->home) : NULL;
}

int hook_policy_load(const char *config, struct hook_policy *ret, struct cb_error *err)
{
    struct hook_policy policy = {.is_system = hook_policy_is_system()};
    int status = policy.is_system ? system_options(&policy.opts, err)
                                  : user_options(config, &policy.opts, err);

    policy.home = find_home(policy.is_system);
    policy.state_dir = find_state_dir(&policy);
    *ret = policy;
    return status;
}

void hook_policy_done(struct hook_policy *policy)
{
    options_free(policy->opts);
    free(policy->home);
    free(policy->state_dir);
    *policy = (struct hook_policy){0};
}

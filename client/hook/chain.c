/*
 * chain.c: the rule files that were registered with the daemon (hook.register), remembered for when it is away. See hook.h.
 *
 * Which they are stands in Redis, which may be what is away; so the daemon's list (hook.list) is kept as it came, in the file
 * `chain` of the spool's folder. Each decision of the daemon names the version of all its rules; the list is asked for when
 * that is another one, after the agent has its answer.
 */
#include "common/compat.h"
#include "client/hook/hook.h"

#include "common/clock.h"
#include "common/mem.h"

#include <fcntl.h>
#include <sys/stat.h>

enum { CHAIN_MAX = 1 << 20, AGAIN_MS = 1000 };

static char *chain_file(const struct hook_policy *policy)
{
    return policy->state_dir ? mem_printf("%s/chain", policy->state_dir) : NULL;
}

/* ---- the file ---- */

/* Returns 1 with the text, 0 when there is none, -1 when it cannot be read. */
static int read_chain(const struct hook_policy *policy, struct buf *out, struct stat *ret_st)
{
    char *path CB_CLEANUP(mem_free_ptr) = chain_file(policy);
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
    ssize_t n = 0;

    if (fd < 0)
        return !path || errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0 : -1;
    if (fstat(fd, ret_st) != 0 || !S_ISREG(ret_st->st_mode) || ret_st->st_size > CHAIN_MAX)
        n = -1;
    while (n >= 0 && (n = read(fd, buf_reserve(out, 16384), 16384)) > 0)
        out->len += (size_t)n;
    close(fd);
    return n < 0 ? -1 : 1;
}

static void write_chain(const struct hook_policy *policy, const struct buf *text)
{
    char *path CB_CLEANUP(mem_free_ptr) = chain_file(policy);
    char *temp CB_CLEANUP(mem_free_ptr) = mem_printf("%s/chain.XXXXXX", policy->state_dir);

    if (paths_make_dir(policy->state_dir, 0700, NULL) != 0)
        return;
    int fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0)
        return;
    bool is_whole = write(fd, text->data, text->len) == (ssize_t)text->len;
    close(fd);
    if (!is_whole || rename(temp, path) != 0)
        unlink(temp);
}

/* The document of what was read; false when it is none. */
static bool parse(const struct buf *text, struct json_span *ret, struct json_item *ret_members)
{
    enum json_type type = JSON_NULL;

    return json_check(buf_peek(text), text->len, ret, &type, NULL) == 0 && type == JSON_OBJECT &&
           json_find(*ret, "members", ret_members) && ret_members->type == JSON_ARRAY;
}

/* ---- remembering ---- */

/* It is this version, or it was asked for a moment ago: hosts with other rules may take turns. */
static bool is_known(const struct hook_policy *policy, const char *version)
{
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
    struct json_span document;
    struct json_item item;
    struct stat st;

    if (read_chain(policy, &text, &st) != 1 || !parse(&text, &document, &item))
        return false;
    if (json_find(document, "rules", &item) && item.type == JSON_STRING &&
        json_string_equals(item.value, version))
        return true;
    int64_t age = clock_wall_ms() -
                  ((int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000);
    return age >= 0 && age < AGAIN_MS;
}

void hook_chain_remember(const struct hook_policy *policy, struct hook_link *link,
                         const char *version, int budget_ms)
{
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT, list CB_CLEANUP(buf_done) = BUF_INIT;
    struct json_span document;
    struct json_item item;

    if (!policy->state_dir || !version || is_known(policy, version))
        return;
    buf_puts(&params, "{}");
    if (hook_link_call(link, "hook.list", &params, NULL, budget_ms, &list) == 0 &&
        list.len <= CHAIN_MAX && parse(&list, &document, &item))
        write_chain(policy, &list);
}

/* ---- asking ---- */

/* As the daemon sees it: about the agents in a folder, and about those that do not say where they are. */
static bool is_in_scope(const char *scope, const char *cwd)
{
    size_t len = scope ? strlen(scope) : 0;

    while (len > 1 && scope[len - 1] == '/')
        len--;
    return len <= 1 || !cwd ||
           (strncmp(cwd, scope, len) == 0 && (cwd[len] == '/' || cwd[len] == '\0'));
}

/* False when the member is not one that a daemon would have told. */
static bool take_member(const struct hook *hook, struct json_span object, struct hook_member *ret,
                        bool *ret_is_wanted)
{
    const struct options *opts = hook->policy->opts;
    const char *type = hook_text_member(hook->arena, object, "type");
    const char *file = hook_text_member(hook->arena, object, "file");
    const char *name = hook_text_member(hook->arena, object, "name");

    if (!type || !name || !file || !file[0] || file[0] == '.' || strchr(file, '/'))
        return false;
    *ret_is_wanted = strcmp(type, rules_event_name(hook_rules_event(hook->record))) == 0 &&
                     is_in_scope(hook_text_member(hook->arena, object, "scope"), hook->record->cwd);
    ret->name = name;
    ret->path = opts->hooks.chain_dir[0]
                    ? arena_printf(hook->arena, "%s/%s", opts->hooks.chain_dir, file)
                    : arena_printf(hook->arena, "%s/chain/%s", opts->hooks.rules_dir, file);
    return true;
}

int hook_chain_members(const struct hook *hook, const struct hook_member **ret)
{
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
    struct json_span document;
    struct json_item members, item;
    struct json_iter it;
    struct stat st;
    int n = 0;

    int status = read_chain(hook->policy, &text, &st);
    if (status <= 0)
        return status;
    if (!parse(&text, &document, &members))
        return -1;
    struct hook_member *list = arena_alloc(hook->arena,
                                           (json_count(members.value) + 1) * sizeof *list);
    json_iter_init(&it, members.value);
    while (json_iter_next(&it, &item)) {
        bool is_wanted = false;
        if (item.type != JSON_OBJECT || !take_member(hook, item.value, &list[n], &is_wanted))
            return -1;
        n += is_wanted;
    }
    *ret = list;
    return n;
}

/*
 * policy_chain.c: the chains of rule files that are registered in Redis: cb:hooks:<event>, one sorted set for each event.
 * An element is {"name":…,"file":…[,"scope":…]}, its score minus the priority. The field `hooks` of cb:meta changes with
 * every change of them, so that looking costs one HGET. See policy.h.
 *
 * The chains that were read last stay in force when Redis cannot be asked: without it nothing is committed either. A worker
 * that has never read them decides nothing by itself (chain_problem).
 */
#include "common/compat.h"
#include "worker/policy_int.h"

#include "common/json.h"
#include "common/keys.h"
#include "common/mem.h"

static const enum rules_event events[POLICY_EVENTS] = {RULES_PRE_TOOL, RULES_POST_TOOL,
                                                       RULES_USER_PROMPT};

static void link_done(struct policy_link *m)
{
    policy_set_done(&m->set);
    free(m->name);
    free(m->file);
    free(m->scope);
    *m = (struct policy_link){0};
}

void policy_chain_done(struct policy *p)
{
    for (unsigned e = 0; e < POLICY_EVENTS; e++) {
        while (p->nchain[e] > 0)
            link_done(&p->chains[e][--p->nchain[e]]);
    }
    free(p->chain_number);
    free(p->chain_problem);
    p->chain_number = p->chain_problem = NULL;
}

char *policy_chain_path(const struct policy *p, const char *file)
{
    const char *dir = p->opts->hooks.chain_dir;

    return dir[0] ? mem_printf("%s/%s", dir, file)
                  : mem_printf("%s/chain/%s", p->opts->hooks.rules_dir, file);
}

/* ---- reading ---- */

static char *text_of(struct json_span object, const char *name)
{
    struct json_item item;
    struct buf text = BUF_INIT;

    if (!json_find(object, name, &item) || item.type != JSON_STRING)
        return NULL;
    json_decode_string(item.value, &text);
    return buf_take(&text);
}

/* Names that would lead elsewhere were refused by hook.register; whoever wrote this one did not ask it. */
static bool is_plain(const char *file)
{
    return file[0] && file[0] != '.' && !strchr(file, '/');
}

static bool read_link(const struct policy *p, const reply_t *element, const reply_t *score,
                      struct policy_link *ret)
{
    struct json_span object;
    enum json_type type;

    if (json_check(reply_str(element), reply_bytes(element), &object, &type, NULL) != 0 ||
        type != JSON_OBJECT)
        return false;
    *ret = (struct policy_link){.name = text_of(object, "name"),
                                .file = text_of(object, "file"),
                                .scope = text_of(object, "scope"),
                                .priority = -(int64_t)strtoll(reply_str(score), NULL, 10)};
    if (!ret->name || !ret->file || !is_plain(ret->file)) {
        link_done(ret);
        return false;
    }
    char *path = policy_chain_path(p, ret->file);
    policy_set_init(&ret->set, path, true);
    free(path);
    return true;
}

/* A set that is loaded already is kept. */
static void adopt_set(struct policy_link *from, size_t n, struct policy_link *m)
{
    for (size_t i = 0; i < n; i++) {
        if (from[i].set.path && strcmp(from[i].set.path, m->set.path) == 0) {
            struct policy_set empty = m->set;
            m->set = from[i].set;
            from[i].set = empty;
            return;
        }
    }
}

static int take_chain(struct policy *p, unsigned e, const reply_t *list, char **ret_problem)
{
    struct policy_link *read = mem_calloc(POLICY_MEMBERS_MAX, sizeof *read);
    size_t n = 0;

    for (size_t i = 0; i + 1 < reply_count(list) && !*ret_problem; i += 2) {
        if (n == POLICY_MEMBERS_MAX ||
            !read_link(p, reply_at(list, i), reply_at(list, i + 1), &read[n]))
            *ret_problem = mem_printf("the chain of %s is damaged", rules_event_name(events[e]));
        else
            n++;
    }
    for (size_t i = 0; i < n && !*ret_problem; i++)
        adopt_set(p->chains[e], p->nchain[e], &read[i]);
    struct policy_link *old = *ret_problem ? read : p->chains[e];
    size_t nold = *ret_problem ? n : p->nchain[e];
    for (size_t i = 0; i < nold; i++)
        link_done(&old[i]);
    if (!*ret_problem) {
        memcpy(p->chains[e], read, n * sizeof *read);
        p->nchain[e] = n;
    }
    free(read);
    return *ret_problem ? -1 : 0;
}

static int read_chains(struct policy *p, struct arena *arena, char **ret_problem)
{
    for (unsigned e = 0; e < POLICY_EVENTS; e++) {
        reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
        struct cb_error err = {0};
        const char *key = keys_make(arena, p->opts->redis.prefix, KEY_HOOKS,
                                    rules_event_name(events[e]));
        if (redis_link_callv(*p->link, &reply, &err, "ZRANGE", key, "0", "-1", "WITHSCORES",
                             NULL)) {
            *ret_problem = mem_printf("the chain of %s cannot be read: %s",
                                      rules_event_name(events[e]), err.text);
            return -1;
        }
        if (take_chain(p, e, reply, ret_problem) != 0)
            return -1;
    }
    return 0;
}

/* Files may have changed since they were in another chain. */
static void look_at_files(struct policy *p)
{
    for (unsigned e = 0; e < POLICY_EVENTS; e++)
        for (size_t i = 0; i < p->nchain[e]; i++)
            policy_set_look(&p->chains[e][i].set);
}

static bool is_same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool policy_chain_look(struct policy *p)
{
    struct arena arena = ARENA_INIT;
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
    struct cb_error err = {0};
    char *problem = NULL;
    bool is_changed = false;

    if (!*p->link || redis_link_is_lost(*p->link))
        return false;
    if (redis_link_callv(*p->link, &reply, &err, "HGET",
                         keys_make(&arena, p->opts->redis.prefix, KEY_META), "hooks", NULL) != 0) {
        if (!p->chain_number)
            problem = mem_printf("the chain cannot be read: %s", err.text);
    } else if (!p->chain_number || p->chain_problem ||
               strcmp(p->chain_number, reply_str(reply)) != 0) {
        is_changed = true;
        if (read_chains(p, &arena, &problem) == 0) {
            free(p->chain_number);
            p->chain_number = mem_strdup(reply_str(reply));
        }
        look_at_files(p);
    }
    is_changed |= !is_same(problem, p->chain_problem);
    if (problem && !is_same(problem, p->chain_problem))
        log_event(EV_rules_failed, LOG_S("path", "redis"), LOG_S("problem", problem));
    free(p->chain_problem);
    p->chain_problem = problem;
    p->is_chain_due = problem != NULL;
    arena_done(&arena);
    return is_changed;
}

/* ---- showing ---- */

bool policy_member(const struct policy *p, enum rules_event event, size_t i,
                   struct policy_member *ret)
{
    unsigned e = policy_event_index(event);

    if (i >= p->nchain[e])
        return false;
    const struct policy_link *m = &p->chains[e][i];
    *ret = (struct policy_member){.name = m->name,
                                  .file = m->file,
                                  .scope = m->scope,
                                  .priority = m->priority,
                                  .problem = m->set.rules ? NULL : m->set.problem,
                                  .rules = m->set.rules ? rules_count(m->set.rules) : 0};
    return true;
}

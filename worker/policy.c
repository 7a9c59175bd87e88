/*
 * policy.c: see policy.h.
 */
#include "common/compat.h"
#include "worker/policy_int.h"

#include "common/clock.h"
#include "common/mem.h"

#include <sha2.h>

enum { FAILURES_MAX = 2, LOOKS_MAX = 3, RELOAD_MS = 1000, QUIET_MS = 300 };

/* ---- one set ---- */

void policy_set_init(struct policy_set *s, const char *path, bool is_file)
{
    *s = (struct policy_set){.path = mem_strdup(path), .is_file = is_file};
}

void policy_set_done(struct policy_set *s)
{
    rules_free(s->rules);
    rules_free(s->fresh);
    free(s->path);
    free(s->problem);
    *s = (struct policy_set){0};
}

static int load(const struct policy_set *s, struct rules **ret, char **ret_problem)
{
    const char *const files[] = {s->path};
    struct rules_load_options options = {.want_jit = true};
    struct options_errors errs = OPTIONS_ERRORS_INIT;

    options.dir = s->is_file ? NULL : s->path;
    options.project_files = files;
    options.nproject_files = s->is_file ? 1 : 0;
    options.are_system_files = true;
    int status = rules_load(&options, ret, &errs);
    if (status != 0 && errs.len > 0 && errs.items[0].file && errs.items[0].line)
        *ret_problem = mem_printf("%s:%d:%d: %s%s%s", errs.items[0].file, errs.items[0].line,
                                  errs.items[0].col, errs.items[0].option,
                                  errs.items[0].option[0] ? ": " : "", errs.items[0].text);
    else if (status != 0)
        *ret_problem = mem_printf("%s: %s", s->path, errs.len > 0 ? errs.items[0].text : "?");
    options_errors_done(&errs);
    return status;
}

static void say_failed(struct policy_set *s)
{
    unsigned times;

    if (log_repeat_may(&s->said, s->problem, &times))
        log_event(EV_rules_failed, LOG_S("path", s->path), LOG_S("problem", s->problem),
                  LOG_I("times", times));
}

/* A failed load is tried again, not at every look when it goes on failing. */
static bool is_due(const struct policy_set *s)
{
    if (s->fresh)
        return rules_have_changed(s->fresh);
    if (s->problem)
        return s->failures <= FAILURES_MAX || clock_mono_ms() - s->loaded_ms >= RELOAD_MS;
    return !s->rules || rules_have_changed(s->rules);
}

static bool take_fresh(struct policy_set *s)
{
    bool is_new = !s->rules || strcmp(rules_version(s->fresh), rules_version(s->rules)) != 0;

    rules_free(s->rules);
    s->rules = s->fresh;
    s->fresh = NULL;
    s->looks = 0;
    if (is_new)
        log_event(EV_rules_loaded, LOG_S("path", s->path), LOG_I("rules", rules_count(s->rules)),
                  LOG_SN("version", rules_version(s->rules), 16));
    return is_new;
}

static bool give_up(struct policy_set *s)
{
    bool was_good = s->rules != NULL || s->failures == 1;

    rules_free(s->rules);
    s->rules = NULL;
    s->looks = 0;
    say_failed(s);
    return was_good;
}

/* Nobody is writing; a time that is still to come says nothing. */
static bool is_quiet(const struct rules *rules)
{
    int64_t age = clock_wall_ms() - rules_written_ms(rules);
    return age < 0 || age >= QUIET_MS;
}

/*
 * Files that were written a moment ago may be in the middle of it. What is read of them in place of rules in force counts only
 * when the next look finds them as they were, and that they cannot be read only when the next look cannot either; after
 * LOOKS_MAX looks at files that go on changing they are taken as they are.
 */
bool policy_set_look(struct policy_set *s)
{
    char *problem = NULL;

    if (!is_due(s))
        return s->fresh && take_fresh(s);
    rules_free(s->fresh);
    s->fresh = NULL;
    s->looks++;
    s->loaded_ms = clock_mono_ms();
    int status = load(s, &s->fresh, &problem);
    bool may_wait = s->rules && s->looks <= LOOKS_MAX;
    free(s->problem);
    s->problem = problem;
    if (status == 0) {
        s->failures = 0;
        log_repeat_over(&s->said);
        return (!may_wait || is_quiet(s->fresh)) && take_fresh(s);
    }
    s->failures++;
    return (!may_wait || s->failures >= FAILURES_MAX || is_quiet(s->rules)) && give_up(s);
}

/* ---- all of them ---- */

struct policy *policy_new(const struct options *opts, struct scoreboard_slot *slot,
                          struct redis_link *const *link)
{
    struct policy *p = mem_alloc(sizeof *p);

    p->opts = opts;
    p->slot = slot;
    p->link = link;
    p->is_chain_due = true;
    policy_set_init(&p->system, opts->hooks.rules_dir, false);
    return p;
}

void policy_free(struct policy *p)
{
    if (!p)
        return;
    policy_chain_done(p);
    policy_set_done(&p->system);
    free(p);
}

unsigned policy_event_index(enum rules_event event)
{
    return event == RULES_PRE_TOOL ? 0 : event == RULES_POST_TOOL ? 1 : 2;
}

static void hash(SHA2_CTX *sha, const char *text)
{
    uint64_t size = strlen(text);
    SHA256Update(sha, (const uint8_t *)&size, sizeof size);
    SHA256Update(sha, (const uint8_t *)text, size);
}

static const char *set_version(const struct policy_set *s)
{
    return s->rules ? rules_version(s->rules) : "none";
}

/* Without a chain it is the system's alone, so that it can be compared with what a client has. */
static void make_version(struct policy *p)
{
    SHA2_CTX sha;

    snprintf(p->version, sizeof p->version, "%s", set_version(&p->system));
    if (p->nchain[0] + p->nchain[1] + p->nchain[2] == 0)
        return;
    SHA256Init(&sha);
    hash(&sha, p->version);
    for (unsigned e = 0; e < POLICY_EVENTS; e++) {
        for (size_t i = 0; i < p->nchain[e]; i++) {
            const struct policy_link *m = &p->chains[e][i];
            const char *texts[] = {e == 0   ? "0"
                                   : e == 1 ? "1"
                                            : "2",
                                   m->name, m->file, m->scope ? m->scope : "",
                                   set_version(&m->set)};
            for (size_t k = 0; k < CB_ARRAY_LEN(texts); k++)
                hash(&sha, texts[k]);
        }
    }
    SHA256End(&sha, p->version);
}

/* What is wrong, for `claudebench status` and system.health: the system's rules first. */
static void publish(const struct policy *p)
{
    const char *problem = p->system.rules ? p->chain_problem : p->system.problem;
    size_t rules = p->system.rules ? rules_count(p->system.rules) : 0;

    for (unsigned e = 0; e < POLICY_EVENTS; e++) {
        for (size_t i = 0; i < p->nchain[e]; i++) {
            const struct policy_set *s = &p->chains[e][i].set;
            rules += s->rules ? rules_count(s->rules) : 0;
            if (!problem && !s->rules)
                problem = s->problem;
        }
    }
    scoreboard_set_rules(p->slot, p->version, rules, problem);
}

static bool look_at_files(struct policy *p)
{
    bool is_changed = policy_set_look(&p->system);

    for (unsigned e = 0; e < POLICY_EVENTS; e++)
        for (size_t i = 0; i < p->nchain[e]; i++)
            is_changed |= policy_set_look(&p->chains[e][i].set);
    return is_changed;
}

void policy_look(struct policy *p, bool with_chain)
{
    int64_t now = clock_mono_ms();
    bool is_changed = false;

    if (p->files_ms == 0 || now - p->files_ms >= POLICY_LOOK_MS) {
        is_changed |= look_at_files(p);
        p->files_ms = clock_mono_ms();
    }
    if (with_chain && (p->is_chain_due || now - p->chain_ms >= POLICY_LOOK_MS)) {
        is_changed |= policy_chain_look(p);
        p->chain_ms = clock_mono_ms();
    }
    if (is_changed) {
        make_version(p);
        publish(p);
    }
}

void policy_chain_changed(struct policy *p)
{
    p->is_chain_due = true;
}

const char *policy_version(const struct policy *p)
{
    return p->version;
}

const char *policy_problem(const struct policy *p)
{
    return p->system.rules ? NULL : p->system.problem;
}

size_t policy_rules(const struct policy *p)
{
    return p->system.rules ? rules_count(p->system.rules) : 0;
}

/* The folder is known to whoever configured it; the room is for the reason. */
static const char *without_folder(const char *problem, const char *path, const char *file)
{
    size_t folder = strlen(path) - strlen(file);
    return strncmp(problem, path, folder) == 0 ? problem + folder : problem;
}

bool policy_try_file(const struct policy *p, const char *file, struct arena *arena,
                     const char **ret_problem)
{
    char *path CB_CLEANUP(mem_free_ptr) = policy_chain_path(p, file);
    struct policy_set set;
    char *problem = NULL;

    policy_set_init(&set, path, true);
    if (load(&set, &set.rules, &problem) != 0) {
        const char *shown = without_folder(problem, path, file);
        *ret_problem = arena_strndup(arena, shown, strlen(shown));
    }
    bool is_good = set.rules != NULL;
    free(problem);
    policy_set_done(&set);
    return is_good;
}

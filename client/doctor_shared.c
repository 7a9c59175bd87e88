/*
 * doctor_shared.c: what all daemons share, by system.audit, and what the one of this host says. See doctor.h.
 */
#include "common/compat.h"
#include "client/doctor.h"

#include "common/clock.h"
#include "common/exitcode.h"
#include "common/keys.h"
#include "common/mem.h"
#include "common/rfc3339.h"
#include "common/schema.h"
#include "common/scoreboard.h"

enum { SKEW_MS = 1000, REPAIR_AT_ONCE = 100 };

static bool is_true(struct json_span object, const char *name)
{
    struct json_item item;

    return json_find(object, name, &item) && item.type == JSON_BOOL && item.value.at[0] == 't';
}

/* ---- the daemon of this host ---- */

static void look_at_reasons(struct doctor *d)
{
    struct json_item list, reason;
    struct json_iter it;
    char state[16];

    doctor_text(d->ask.json, "status", state, sizeof state);
    if (strcmp(state, "healthy") == 0 || !json_find(d->ask.json, "reasons", &list))
        return;
    json_iter_init(&it, list.value);
    while (json_iter_next(&it, &reason)) {
        struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
        json_decode_string(reason.value, &text);
        doctor_find(d, "daemon", strcmp(state, "unhealthy") == 0 ? DOCTOR_ERROR : DOCTOR_WARNING,
                    "degraded", "daemon",
                    "claudebench status shows it; the runbook says what to do", "%s",
                    buf_peek(&text));
    }
}

/* What the file says and the daemon does not do yet: clients go by the file, so they may look for Redis elsewhere. */
static void look_at_restart(struct doctor *d)
{
    struct buf names CB_CLEANUP(buf_done) = BUF_INIT;
    struct json_item config, list, option;
    struct json_iter it;

    if (!json_find(d->ask.json, "config", &config) ||
        !json_find(config.value, "needs_restart", &list))
        return;
    json_iter_init(&it, list.value);
    while (json_iter_next(&it, &option)) {
        char name[128];
        doctor_text(option.value, "option", name, sizeof name);
        buf_printf(&names, "%s%s", names.len ? ", " : "", name);
    }
    if (names.len)
        doctor_find(d, "daemon", DOCTOR_WARNING, "needs_restart", "daemon",
                    "restart claudebenchd, or take the change back and claudebench ctl reload",
                    "it goes by older values than those of the file: %s", buf_peek(&names));
}

static void look_at_persistence(struct doctor *d)
{
    struct json_item redis;
    char fsync[16];

    if (!json_find(d->ask.json, "redis", &redis))
        return;
    doctor_text(redis.value, "appendfsync", fsync, sizeof fsync);
    if (strcmp(fsync, "no") == 0)
        doctor_find(d, "redis", DOCTOR_WARNING, "appendfsync", "redis",
                    "set appendfsync everysec (redis.appendfsync, or in redis.conf)",
                    "appendfsync is no: a power cut loses half a minute of accepted work");
}

void doctor_daemon_look(struct doctor *d)
{
    char version[32];

    if (!d->is_running && d->why_not.code == EXITCODE_NOPERM) {
        doctor_find(d, "daemon", DOCTOR_WARNING, "denied", "daemon",
                    "run claudebench doctor as root, or as the daemon's user", "%s",
                    d->why_not.text);
        doctor_unchecked(d, "the daemon, appendfsync, the data's history: no permission");
        return;
    }
    if (!d->is_running) {
        doctor_find(d, "daemon", DOCTOR_ERROR, "down", "daemon",
                    d->ask.holder ? "end it and start it again" : "start claudebenchd",
                    "no daemon answers on %s%s", d->ask.opts->supervisor.control_socket,
                    d->ask.holder ? ", but its lock is held: was its socket removed?" : "");
        doctor_unchecked(d, "appendfsync, the audit file, the data's history: the daemon is down");
        return;
    }
    doctor_text(d->ask.json, "version", version, sizeof version);
    if (strcmp(version, PACKAGE_VERSION) != 0)
        doctor_find(d, "daemon", DOCTOR_WARNING, "version", "daemon",
                    "upgrade in place: kill -USR2 its pid (claudebenchd(8))",
                    "the daemon is version %s, this is %s", version, PACKAGE_VERSION);
    look_at_reasons(d);
    look_at_restart(d);
    look_at_persistence(d);
}

/* ---- Redis ---- */

static void look_at_memory(struct doctor *d, struct json_span server)
{
    int64_t most = doctor_number(server, "maxmemory");
    int64_t used = doctor_number(server, "used_memory");
    int64_t host = doctor_number(server, "system_memory");
    char policy[64];

    doctor_text(server, "policy", policy, sizeof policy);
    if (strcmp(policy, "noeviction") != 0)
        doctor_find(d, "redis", DOCTOR_ERROR, "eviction", "redis",
                    "CONFIG SET maxmemory-policy noeviction, and in redis.conf",
                    "maxmemory-policy is %s: Redis may throw tasks away", policy);
    if (most > 0 && used > 0 && scoreboard_memory_is_short((uint64_t)used, (uint64_t)most))
        doctor_find(d, "redis", DOCTOR_ERROR, "memory", "redis",
                    "raise maxmemory (redis.maxmemory), or keep less (task.keep_finished…)",
                    "%" PRId64 " of %" PRId64 " MiB are used: nothing new is accepted", used >> 20,
                    most >> 20);
    if (host > 0 && most > host)
        doctor_find(d, "redis", DOCTOR_WARNING, "maxmemory", "redis", "lower maxmemory",
                    "maxmemory is more than its host has: %" PRId64 " of %" PRId64 " MiB",
                    most >> 20, host >> 20);
    if (most == 0)
        doctor_find(d, "redis", DOCTOR_NOTE, "maxmemory", "redis",
                    "set redis.maxmemory, so that creating is refused before the host is full",
                    "Redis has no maxmemory");
}

static bool is_known_schema(const char *text)
{
    for (int schema = SCHEMA_MIN; schema <= SCHEMA_MAX; schema++) {
        char known[16];
        snprintf(known, sizeof known, "%d", schema);
        if (strcmp(text, known) == 0)
            return true;
    }
    return false;
}

static void look_at_server(struct doctor *d, struct json_span server)
{
    char version[64], text[64], role[64];

    doctor_text(server, "version", version, sizeof version);
    if (version[0] && strtol(version, NULL, 10) < 7)
        doctor_find(d, "redis", DOCTOR_ERROR, "version", "redis", "upgrade to Redis 7.0 or later",
                    "Redis is %s", version);
    doctor_text(server, "role", role, sizeof role);
    if (role[0] && strcmp(role, "master") != 0)
        doctor_find(d, "redis", DOCTOR_ERROR, "replica", "redis", "redis.url has to be the master",
                    "this Redis is a replica");
    if (!is_true(server, "aof"))
        doctor_find(d, "redis", DOCTOR_ERROR, "aof", "redis",
                    "CONFIG SET appendonly yes, and in redis.conf",
                    "appendonly is off: what Redis holds does not survive its end");
    static const char *const states[] = {"aof_write", "aof_rewrite", "rdb_save"};
    for (size_t i = 0; i < CB_ARRAY_LEN(states); i++) {
        doctor_text(server, states[i], text, sizeof text);
        if (text[0] && strcmp(text, "ok") != 0)
            doctor_find(d, "redis", DOCTOR_ERROR, states[i], "redis",
                        "look at its disk and its log", "the last %s of Redis failed: %s",
                        states[i], text);
    }
    doctor_text(server, "schema", text, sizeof text);
    if (!is_known_schema(text))
        doctor_find(
            d, "data", DOCTOR_ERROR, "schema", "namespace",
            "another program, or another version, uses redis.prefix: give us one of our own",
            "the data in the namespace have the schema \"%s\", this version knows %d to %d", text,
            SCHEMA_MIN, SCHEMA_MAX);
    look_at_memory(d, server);
}

/* The folder of state remembers which data it served; now there are others, and no task in them. */
static void look_at_generation(struct doctor *d)
{
    struct json_item data;
    char before[65] = "";

    if (d->is_running && json_find(d->ask.json, "data", &data))
        doctor_text(data.value, "before", before, sizeof before);
    if (before[0])
        doctor_find(
            d, "data", DOCTOR_ERROR, "lost", "namespace",
            "claudebench restore (a backup) or claudebench archive restore (PostgreSQL); to begin "
            "anew, go on: this is about a namespace without tasks",
            "this daemon served other data before (%s), and the namespace is empty now", before);
}

/* `before`, `after`: our clock around the question. */
static void look_at_clock(struct doctor *d, struct json_span page, int64_t before, int64_t after)
{
    char at[40];
    int64_t theirs = 0;

    doctor_text(page, "at", at, sizeof at);
    if (rfc3339_parse(at, strlen(at), &theirs) != 0)
        return;
    int64_t skew = theirs < before ? theirs - before : theirs > after ? theirs - after : 0;
    if (skew < -SKEW_MS || skew > SKEW_MS)
        doctor_find(d, "host", DOCTOR_WARNING, "clock", "clock",
                    "let both keep time (NTP): run_at, schedules and TTLs go by that of Redis",
                    "the clock of Redis' host is %.1f s %s ours",
                    (double)(skew < 0 ? -skew : skew) / 1000, skew < 0 ? "behind" : "ahead of");
}

/* ---- keys, consumers, instances ---- */

static const char end_it[] = "claudebench doctor --repair gives it its time";
static const char wrong_type[] = "somebody else wrote there: look at it with redis-cli; "
                                 "a prefix belongs to one system";

static const struct {
    const char *problem;
    const char *text;
    const char *advice;
    enum doctor_severity severity;
    bool is_repairable;
} meanings[] = {
    {"wrong_type", "is of another type than it should be", wrong_type, DOCTOR_ERROR, false},
    {"over_cap", "has more entries than its cap", "", DOCTOR_WARNING, false},
    {"over_bytes", "takes more memory than its cap",
     "the leader trims it within seconds: is there one? (claudebench status)", DOCTOR_WARNING,
     false},
    {"no_ttl", "would stay for ever", end_it, DOCTOR_WARNING, true},
    {"long_ttl", "would stay for longer than it should", end_it, DOCTOR_WARNING, true},
    {"missing", "is listed and does not exist", "register it again, or unregister it",
     DOCTOR_WARNING, false},
    {"dead_consumer", "is gone and has requests",
     "claudebench doctor --repair has the daemon hand them on", DOCTOR_ERROR, true},
    {"offline_holder", "has been offline for long and holds tasks",
     "claudebench doctor --repair sweeps once; else their leases bring them back", DOCTOR_ERROR,
     true},
    {"unknown", "has a problem that this claudebench has no words for",
     "the daemon is newer than claudebench: --json shows what it says", DOCTOR_WARNING, false},
};

static char *key_of(const struct doctor *d, const char *family, const char *name)
{
    const char *percent = strchr(family, '%');

    return percent ? mem_printf("%s:%.*s%s%s", d->s.opts->redis.prefix, (int)(percent - family),
                                family, name, percent + 1)
                   : mem_printf("%s:%s", d->s.opts->redis.prefix, family);
}

static bool is_stream(const char *family)
{
    return strcmp(family, "stream:dead") == 0 || strcmp(family, "stream:audit") == 0 ||
           strcmp(family, "partition:%") == 0;
}

static void take_finding(struct doctor *d, struct json_span finding)
{
    char problem[32], family[128], name[1100], consumer[1100];
    size_t i = 0;

    doctor_text(finding, "problem", problem, sizeof problem);
    doctor_text(finding, "family", family, sizeof family);
    doctor_text(finding, "name", name, sizeof name);
    doctor_text(finding, "consumer", consumer, sizeof consumer);
    while (i + 1 < CB_ARRAY_LEN(meanings) && strcmp(problem, meanings[i].problem) != 0)
        i++;
    bool is_trimmed = (strcmp(problem, "over_cap") == 0 && is_stream(family)) ||
                      (strcmp(problem, "over_bytes") == 0 && strcmp(family, "stream:dead") == 0);
    const char *advice = is_trimmed ? "claudebench doctor --repair trims it"
                         : meanings[i].advice[0]
                             ? meanings[i].advice
                             : "is its option smaller than before? else who writes there?";
    char *where CB_CLEANUP(mem_free_ptr) = consumer[0] ? mem_printf("consumer %s", consumer)
                                                       : key_of(d, family, name);
    char figures[80] = "";
    int64_t found = doctor_number(finding, "found"), limit = doctor_number(finding, "limit");
    if (found && limit)
        snprintf(figures, sizeof figures, ": %" PRId64 " of %" PRId64, found, limit);
    else if (found)
        snprintf(figures, sizeof figures, ": %" PRId64, found);
    struct doctor_finding *f = doctor_find(d, "keys", meanings[i].severity, meanings[i].problem,
                                           where, advice, "%s%s", meanings[i].text, figures);
    f->is_repairable = meanings[i].is_repairable || is_trimmed;
    doctor_keep_members(f, finding);
}

static void say_unlisted(struct doctor *d)
{
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;

#define AUDIT(id, names, cap, bytes, ttl_ms)
#define UNLISTED(id, why)                                                                          \
    if (strncmp(why, "named", 5) == 0)                                                             \
        buf_printf(&text, "%s%s", text.len ? ", " : "", keys_row(KEY_##id)->pattern);
#include "common/keys_audit.def"
#undef AUDIT
#undef UNLISTED
    doctor_unchecked(d,
                     "keys that nothing lists, and that end by themselves or with what they are "
                     "about: %s",
                     buf_peek(&text));
    doctor_unchecked(d, "keys of others: nothing is searched for (no KEYS, no SCAN)");
}

int doctor_shared_look(struct doctor *d)
{
    struct buf cursor CB_CLEANUP(buf_done) = BUF_INIT;
    int status = -1;

    do {
        struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
        struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
        struct json_item item, list;
        struct json_iter it;
        int64_t before = clock_wall_ms();
        buf_puts(&params, "{");
        session_put_cursor(&params, &cursor);
        buf_puts(&params, "}");
        if ((status = session_call(&d->s, "system.audit", &params, NULL, &reply)) >= 0)
            return status;
        d->examined += doctor_number(reply.result, "examined");
        if (json_find(reply.result, "server", &item)) {
            look_at_server(d, item.value);
            if (is_true(item.value, "empty"))
                look_at_generation(d);
            look_at_clock(d, reply.result, before, clock_wall_ms());
        }
        if (json_find(reply.result, "findings", &list)) {
            json_iter_init(&it, list.value);
            while (json_iter_next(&it, &item))
                take_finding(d, item.value);
        }
        session_next_page(reply.result, &cursor);
    } while (cursor.len);
    say_unlisted(d);
    return status;
}

/* ---- repair ---- */

static void put_member(struct buf *out, struct json_span finding, const char *name, const char *key)
{
    struct json_item item;

    if (!json_find(finding, name, &item))
        return;
    json_put_key(out, key);
    buf_append(out, item.value.at, item.value.len);
}

/* Only the daemon closes connections and hands on what they had taken. */
static void hand_on(struct doctor *d, const char *where, struct json_span finding)
{
    struct buf line CB_CLEANUP(buf_done) = BUF_INIT;
    struct buf why CB_CLEANUP(buf_done) = BUF_INIT;
    struct cb_error err = {0};

    buf_puts(&line, "{\"cmd\":\"hand_on\"");
    put_member(&line, finding, "name", "domain");
    put_member(&line, finding, "consumer", "consumer");
    buf_puts(&line, "}\n");
    struct ask ask = {.opts = d->ask.opts, .answer = BUF_INIT};
    if (ask_daemon_quietly(&ask, buf_peek(&line), CALL_TIMEOUT_MS, &err) >= 0)
        cli_say("%s", err.text);
    else if (ask_error(&ask, &why))
        cli_say("%s", buf_peek(&why));
    else {
        doctor_repaired(d, 1, "%s: what it had taken is handed on", where);
        d->is_settling = true;
    }
    buf_done(&ask.answer);
}

static int sweep(struct doctor *d)
{
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;

    buf_puts(&params, "{}");
    int status = session_call(&d->s, "system.check_health", &params, NULL, &reply);
    if (status < 0)
        doctor_repaired(d, 1, "instances: swept once");
    d->is_settling = true;
    return status;
}

/* Keys that wait for one request: which they are, for that, and what is said when they are put right. */
struct keys {
    struct buf json;
    struct buf said; /* a line each */
    int n;
};

static void add_key(struct keys *keys, const struct doctor_finding *f, struct json_span finding)
{
    buf_puts(&keys->json, keys->n ? ",{" : "{");
    put_member(&keys->json, finding, "family", "family");
    put_member(&keys->json, finding, "name", "name");
    buf_puts(&keys->json, "}");
    buf_printf(&keys->said, "%s: %s\n", f->where,
               strncmp(f->problem, "over_", strlen("over_")) == 0 ? "trimmed to its cap"
                                                                  : "has its time to live");
    keys->n++;
}

/* Fewer than were asked for are put right when others are at it: then only how many is known. */
static void say_keys(struct doctor *d, struct keys *keys, int64_t repaired)
{
    if (repaired > 0 && repaired < keys->n)
        doctor_repaired(d, repaired, "%" PRId64 " of %d keys", repaired, keys->n);
    if (repaired < keys->n)
        return;
    for (char *at = keys->said.data, *end; *at; at = end + 1) {
        end = strchr(at, '\n');
        doctor_repaired(d, 1, "%.*s", (int)(end - at), at);
    }
}

static int send_keys(struct doctor *d, struct keys *keys)
{
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;

    if (keys->n == 0)
        return -1;
    buf_printf(&params, "{\"keys\":[%s]}", keys->json.data);
    int status = session_call(&d->s, "system.repair", &params, NULL, &reply);
    if (status < 0)
        say_keys(d, keys, doctor_number(reply.result, "repaired"));
    buf_reset(&keys->json);
    buf_reset(&keys->said);
    keys->n = 0;
    return status;
}

static int repair_one(struct doctor *d, const struct doctor_finding *f, struct keys *keys,
                      bool *is_swept)
{
    char *json CB_CLEANUP(mem_free_ptr) = mem_printf("{%s}", f->members + (f->members[0] == ','));
    struct json_span finding = {json, strlen(json)};
    int status = -1;

    if (strcmp(f->problem, "dead_consumer") == 0) {
        hand_on(d, f->where, finding);
    } else if (strcmp(f->problem, "offline_holder") == 0) {
        status = *is_swept ? -1 : sweep(d);
        *is_swept = true;
    } else {
        add_key(keys, f, finding);
        status = keys->n == REPAIR_AT_ONCE ? send_keys(d, keys) : -1;
    }
    return status;
}

int doctor_shared_repair(struct doctor *d)
{
    struct keys keys = {.json = BUF_INIT, .said = BUF_INIT};
    bool is_swept = false;
    int status = -1;

    for (size_t i = 0; i < d->nfindings && status < 0; i++)
        if (d->findings[i].is_repairable && strcmp(d->findings[i].check, "keys") == 0)
            status = repair_one(d, &d->findings[i], &keys, &is_swept);
    if (status < 0)
        status = send_keys(d, &keys);
    buf_done(&keys.json);
    buf_done(&keys.said);
    return status;
}

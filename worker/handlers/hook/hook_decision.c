/*
 * hook_decision.c: see hook_decision.h.
 *
 * The cache (cb:cache:hook:<hash>). A usual decision takes some ten microseconds, a question to Redis ten times that, so it
 * would only make decisions slower to look there first. Only what is not decided within QUICK_US is looked for, and, when it has
 * been decided after all, kept: then a large input costs every instance after the first one that little. The write is a part of
 * the commit. The key has the call and the versions of all rules in it, so a change of the rules needs no clearing, and
 * instances whose rules differ never share a decision; nor do decisions get in that depend on anything else: files that were
 * looked at, time that ran out, rules that could not be read.
 */
#include "common/compat.h"
#include "worker/handlers/hook/hook_decision.h"

#include "common/clock.h"

enum { QUICK_US = 2000, MATCHED_MAX = 200, MODIFIED_MAX = 960 * 1024 /* a reply has 1 MiB */ };

/* How long a decision is kept: the graver, the sooner it is made anew. */
static const int64_t ttl_ms[] = {
    [RULES_LOW] = 300000, [RULES_MEDIUM] = 180000, [RULES_HIGH] = 60000, [RULES_CRITICAL] = 30000};

static enum scoreboard_decision counted_as(enum rules_action action)
{
    return action == RULES_DENY     ? DECISION_DENY
           : action == RULES_ASK    ? DECISION_ASK
           : action == RULES_MODIFY ? DECISION_MODIFY
           : action == RULES_ALLOW  ? DECISION_ALLOW
                                    : DECISION_NONE;
}

/* ---- in words ---- */

static void put_notes(struct buf *out, const struct policy_decision *d)
{
    json_put_key(out, "notes");
    buf_putc(out, '[');
    for (size_t i = 0; i < d->nnotes; i++) {
        json_put_comma(out);
        buf_putc(out, '{');
        hook_put_text(out, "rule", d->notes[i].rule);
        hook_put_text(out, "message", d->notes[i].message);
        buf_putc(out, '}');
    }
    buf_putc(out, ']');
}

static void put_reason(struct buf *out, const struct policy_decision *d)
{
    struct rules_decision shown = {.action = d->action,
                                   .rule = d->rule,
                                   .message = d->message,
                                   .field = d->field,
                                   .matched = d->matched};
    struct buf text = BUF_INIT;

    rules_explain(&shown, &text);
    json_put_key(out, "reason");
    json_put_string(out, buf_peek(&text), text.len);
    buf_done(&text);
}

/* A prompt cannot be rewritten, but something can be said beside it. */
static void put_context(struct buf *out, const struct policy_decision *d)
{
    struct buf text = BUF_INIT;

    for (size_t i = 0; i < d->nnotes; i++)
        buf_printf(&text, "%s%s", i ? "\n" : "", d->notes[i].message);
    if (text.len > 0) {
        json_put_key(out, "context");
        json_put_string(out, text.data, text.len);
    }
    buf_done(&text);
}

/* The members of the result, without the braces and without what is not known when it is kept. */
static void put_result(struct buf *out, const struct policy_decision *d, bool is_prompt)
{
    bool is_decided = d->action != RULES_NONE;

    buf_puts(out, d->action >= RULES_ASK ? "\"allow\":false" : "\"allow\":true");
    buf_putc(out, ',');
    buf_puts(out, "\"decision\":");
    json_put_cstr(out, rules_action_name(d->action));
    put_reason(out, d);
    hook_put_text(out, "rule", d->rule);
    hook_put_text(out, "severity", is_decided ? rules_severity_name(d->severity) : NULL);
    hook_put_text(out, "field", d->field);
    hook_put_text(out, "matched", d->matched);
    if (d->input.at) {
        json_put_key(out, "modified");
        buf_append(out, d->input.at, d->input.len);
    }
    put_notes(out, d);
    if (is_prompt)
        put_context(out, d);
}

/*
 * What may stand in a record of the audit trail: a command or the name of a file. Anything else that a rule matched, in a
 * prompt or in the content of a file, may be the very secret that the rule is about.
 */
static bool may_be_told(const char *field)
{
    static const char *const names[] = {"command", "cmd",           "script",   "file_path",
                                        "path",    "notebook_path", "filename", "directory",
                                        "url",     "pattern",       "query"};
    const char *name = field ? strrchr(field, '/') : NULL;

    for (size_t i = 0; name && i < CB_ARRAY_LEN(names); i++)
        if (strcmp(name + 1, names[i]) == 0)
            return true;
    return false;
}

static bool is_secret_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '=' || c == '_';
}

/* A word of a shell, or what stands in quotes. */
static size_t value_len(const char *text)
{
    char quote[] = {text[0], '\0'};

    if (text[0] != '\'' && text[0] != '"')
        return strcspn(text, " \t\r\n;|<>'\"");
    size_t len = 1 + strcspn(text + 1, quote);
    return len + (text[len] == quote[0]);
}

/* PASSWORD=…, --api-token …, Bearer …: the bytes of the name and what parts it from its value; 0: this begins no such thing. */
static size_t secret_name_len(const char *text)
{
    static const char *const words[] = {"pass", "pwd", "secret", "token", "key", "auth", "bearer"};
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    size_t len = strspn(text, letters);
    size_t gap = text[len] == '=' || text[len] == ':' ? 1 : 0;
    bool is_option = text[0] == '-' || strncasecmp(text, "bearer", len) == 0;

    gap += strspn(text + len + gap, " \t");
    if (len == 0 || gap == 0 || (text[len] == ' ' && !is_option))
        return 0;
    for (size_t w = 0; w < CB_ARRAY_LEN(words); w++) {
        size_t size = strlen(words[w]);
        for (size_t at = 0; at + size <= len; at++)
            if (strncasecmp(text + at, words[w], size) == 0)
                return len + gap;
    }
    return 0;
}

/* Of //user:password@host the bytes in front of the password, and those of it. */
static size_t userinfo_len(const char *text, size_t *ret_password)
{
    if (strncmp(text, "//", 2) != 0)
        return 0;
    size_t all = 2 + strcspn(text + 2, "@/?# \t'\"");
    size_t user = 2 + strcspn(text + 2, ":@/?# \t'\"");
    if (text[all] != '@' || user >= all)
        return 0;
    *ret_password = all - user - 1;
    return user + 1;
}

/* How many bytes from here on to show, and then how many to hide: passwords by their names, and what looks like a key or a token,
 * a long run of letters and digits. */
static size_t find_secret(const char *text, bool is_word, size_t *ret_hidden)
{
    enum { RUN_MIN = 16, SHOWN = 4 };
    size_t run = 0, digits = 0, shown = userinfo_len(text, ret_hidden);

    if (shown == 0 && is_word && (shown = secret_name_len(text)) > 0)
        /* "Authorization: Bearer x": the scheme's name is none. */
        *ret_hidden = secret_name_len(text + shown) ? 0 : value_len(text + shown);
    if (shown > 0)
        return shown;
    for (; is_secret_char(text[run]); run++)
        digits += text[run] >= '0' && text[run] <= '9';
    bool is_key = run >= RUN_MIN && digits > 1;
    *ret_hidden = is_key ? run - SHOWN : 0;
    return is_key ? SHOWN : run > 0 ? run : 1;
}

static void put_masked(struct buf *out, const char *text)
{
    struct buf masked = BUF_INIT;
    bool is_word = true;

    for (size_t at = 0; text[at] && masked.len < MATCHED_MAX;) {
        size_t hidden = 0, shown = find_secret(text + at, is_word, &hidden);
        buf_append(&masked, text + at, shown);
        buf_puts(&masked, hidden ? "***" : "");
        at += shown + hidden;
        is_word = !is_secret_char(text[at - 1]) && text[at - 1] != '-';
    }
    size_t len = masked.len < MATCHED_MAX ? masked.len : MATCHED_MAX;
    while (len > 0 && len < masked.len && ((unsigned char)masked.data[len] & 0xc0) == 0x80)
        len--;
    json_put_key(out, "matched");
    json_put_string(out, buf_peek(&masked), len);
    buf_done(&masked);
}

static void put_audit(struct buf *out, const struct policy_decision *d)
{
    buf_puts(out, "\"decision\":");
    json_put_cstr(out, rules_action_name(d->action));
    hook_put_text(out, "rule", d->rule);
    hook_put_text(out, "severity",
                  d->action == RULES_NONE ? NULL : rules_severity_name(d->severity));
    hook_put_text(out, "field", d->field);
    if (d->matched && may_be_told(d->field))
        put_masked(out, d->matched);
    hook_put_text(out, "reason", d->message);
    if (d->input.at)
        hook_put_hash(out, "modified_hash", d->input);
    if (d->nnotes)
        buf_printf(out, ",\"notes\":%zu", d->nnotes);
}

/* ---- the cache ---- */

/* Kept as: the action's number, rule, members of the result, members of the record, a line each (JSON has no raw ones). */
struct kept {
    enum rules_action action;
    const char *rule; /* "" = none */
    const char *result;
    const char *audit;
};

static const char *pack(struct arena *arena, const struct kept *k)
{
    return arena_printf(arena, "%d%s\n%s\n%s", (int)k->action, k->rule, k->result, k->audit);
}

static bool is_object_inside(struct arena *arena, const char *members)
{
    const char *whole = arena_printf(arena, "{%s}", members);
    return json_check(whole, strlen(whole), NULL, NULL, NULL) == 0;
}

static bool unpack(struct arena *arena, const char *text, struct kept *ret)
{
    const char *rule_end = text ? strchr(text, '\n') : NULL;
    const char *newline = rule_end ? strchr(rule_end + 1, '\n') : NULL;

    if (!newline || text[0] < '0' + RULES_NONE || text[0] > '0' + RULES_DENY)
        return false;
    ret->action = (enum rules_action)(text[0] - '0');
    ret->rule = arena_strndup(arena, text + 1, (size_t)(rule_end - text - 1));
    ret->result = arena_strndup(arena, rule_end + 1, (size_t)(newline - rule_end - 1));
    ret->audit = newline + 1;
    return is_object_inside(arena, ret->result) && is_object_inside(arena, ret->audit);
}

/* ---- deciding ---- */

static void decide_within(struct prepare *p, const struct policy_call *call, int64_t budget_us,
                          struct policy_decision *ret)
{
    policy_decide(p->ctx->policy, call, budget_us, p->arena, ret);
    if (ret->input.at && ret->input.len > MODIFIED_MAX) {
        ret->action = RULES_DENY;
        ret->message = "the rewritten input is too large to be sent";
        ret->input = (struct json_span){0};
        ret->nnotes = 0;
    }
}

struct outcome {
    struct kept kept;
    bool is_cached;
    const char *key; /* to be kept under; NULL: not at all */
    int64_t ttl_ms;
};

static void put_in_words(struct arena *arena, const struct policy_decision *d, bool is_prompt,
                         struct kept *ret)
{
    struct buf result = BUF_INIT, audit = BUF_INIT;

    put_result(&result, d, is_prompt);
    put_audit(&audit, d);
    *ret = (struct kept){.action = d->action,
                         .rule = d->rule ? d->rule : "",
                         .result = hook_keep(arena, &result),
                         .audit = hook_keep(arena, &audit)};
}

static void decide(struct prepare *p, const struct policy_call *call, struct outcome *ret)
{
    struct policy *policy = p->ctx->policy;
    struct policy_decision d;
    char hash[RULES_KEY_SIZE];

    *ret = (struct outcome){.ttl_ms = ttl_ms[RULES_MEDIUM]};
    decide_within(p, call, QUICK_US, &d);
    if (!d.is_late) {
        put_in_words(p->arena, &d, call->event == RULES_USER_PROMPT, &ret->kept);
        return;
    }
    /* Without rules nothing may be kept, and there is no version to look for. */
    const char *key = NULL;
    if (!policy_problem(policy)) {
        policy_cache_key(policy, call, hash);
        key = keys_make(p->arena, p->ctx->prefix, KEY_HOOK_CACHE, hash);
    }
    if (key && unpack(p->arena, policy_fetch(policy, key, p->arena), &ret->kept)) {
        ret->is_cached = true;
        return;
    }
    decide_within(p, call, 0, &d);
    put_in_words(p->arena, &d, call->event == RULES_USER_PROMPT, &ret->kept);
    if (d.is_cacheable)
        ret->key = key;
    if (d.action != RULES_NONE)
        ret->ttl_ms = ttl_ms[d.severity];
}

static char *result_json(struct prepare *p, const struct outcome *o)
{
    return arena_printf(p->arena, "{%s,\"cached\":%s,\"rules\":\"%s\"}", o->kept.result,
                        o->is_cached ? "true" : "false", policy_version(p->ctx->policy));
}

static char *audit_json(struct prepare *p, const struct hook_subject *s, const struct outcome *o,
                        int64_t took_us)
{
    struct buf out = BUF_INIT;

    buf_printf(&out, "{%s%s%s", s->audit, s->audit[0] ? "," : "", o->kept.audit);
    buf_printf(&out, ",\"rules\":\"%s\",\"cached\":%s,\"took_us\":%" PRId64,
               policy_version(p->ctx->policy), o->is_cached ? "true" : "false", took_us);
    hook_put_hash(&out, "input_hash", s->call.input);
    buf_putc(&out, '}');
    return hook_keep(p->arena, &out);
}

void hook_decide(struct prepare *p, const char *kind, const struct hook_subject *subject)
{
    int64_t began_us = clock_mono_us();
    struct outcome o;

    decide(p, &subject->call, &o);
    prepare_arg_str(p, kind);
    prepare_arg_str(p, result_json(p, &o));
    prepare_arg_str(p, audit_json(p, subject, &o, clock_mono_us() - began_us));
    prepare_arg_str(p, rules_action_name(o.kept.action));
    prepare_arg_str(p, subject->call.tool);
    prepare_arg_str(p, o.kept.rule);
    p->counts = 1u << counted_as(o.kept.action) | (o.is_cached ? 1u << DECISION_CACHED : 0);
    if (!o.key)
        return;
    prepare_key(p, o.key);
    prepare_arg_int(p, o.ttl_ms);
    prepare_arg_str(p, pack(p->arena, &o.kept));
}

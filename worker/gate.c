/*
 * gate.c: see gate.h. The order: the envelope's fields, the method, the params' JSON, the params'
 * fields, then room (memory, backlog) for methods that make Redis larger.
 */
#include "common/compat.h"
#include "worker/gate.h"

#include "common/ack.h"
#include "common/fault.h"
#include "common/siphash.h"
#include "worker/registry.h"

#include <sha2.h>

enum { ID_MAX = 128, TRACE_MAX = 128, RETRY_AFTER_MS = 1000 };

static void refuse(struct request *r, int code, const char *message, const char *data)
{
    r->refused = code;
    r->message = message;
    r->data = data;
}

/* {"path":…,"expected":…,"got":…} */
static char *problem_json(struct arena *arena, const struct field_problem *p)
{
    struct buf out = BUF_INIT;
    buf_puts(&out, "{\"path\":");
    json_put_cstr(&out, p->path);
    buf_puts(&out, ",\"expected\":");
    json_put_cstr(&out, p->expected);
    buf_puts(&out, ",\"got\":");
    json_put_cstr(&out, p->got);
    buf_putc(&out, '}');
    char *json = arena_strndup(arena, out.data, out.len);
    buf_done(&out);
    return json;
}

static void refuse_value(struct request *r, struct arena *arena, const char *field,
                         const char *expected, const char *got)
{
    struct field_problem p = {0};
    snprintf(p.got, sizeof p.got, "%s", got);
    snprintf(p.path, sizeof p.path, "%s", field);
    snprintf(p.expected, sizeof p.expected, "%s", expected);
    refuse(r, -32600, arena_printf(arena, "invalid request: field %s", field),
           problem_json(arena, &p));
}

static void refuse_field(struct request *r, struct arena *arena, const char *field,
                         const char *expected)
{
    refuse_value(r, arena, field, expected, "something else");
}

static bool is_token_byte(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

static bool is_token(struct request_field f, size_t min, size_t max)
{
    if (f.len < min || f.len > max)
        return false;
    for (size_t i = 0; i < f.len; i++)
        if (!is_token_byte(f.at[i]))
            return false;
    return true;
}

/* Text that goes into events and logs: bounded UTF-8 without NUL. */
static bool is_text(struct request_field f, size_t max)
{
    return f.len <= max && !memchr(f.at ? f.at : "", '\0', f.len) && json_is_utf8(f.at, f.len);
}

/* Whether replicas confirm it, the caller asks Redis itself; the disk is ours to promise. */
static const char *check_ack(const struct request *r, const struct handler_context *ctx,
                             const char **ret_got)
{
    struct ack ack;

    *ret_got = "something else";
    if (!r->ack.at)
        return NULL;
    if (ack_parse(r->ack.at, r->ack.len, &ack) != 0)
        return ACK_EXPECTED;
    *ret_got = "local-fsync";
    if (ack.level == ACK_FSYNC && !atomic_load(&ctx->board->global.is_fsynced))
        return "memory or replica:N, since Redis does not have appendfsync always";
    return NULL;
}

static bool parse_ttl(struct request_field f, int64_t *ret_ms)
{
    int64_t ms;
    if (json_decode_int((struct json_span){f.at, f.len}, &ms) != 0 || ms < 1 ||
        ms > INT64_C(31536000000))
        return false;
    for (size_t i = 0; i < f.len; i++)
        if (f.at[i] < '0' || f.at[i] > '9')
            return false;
    *ret_ms = ms;
    return true;
}

/* id, reply, actor, …: what every request carries. */
static bool check_fields(struct request *r, const struct handler_context *ctx, struct arena *arena)
{
    r->id_json = "null";
    r->can_reply = r->reply.at && is_token(r->reply, 16, 64);
    if (r->id.at && is_text(r->id, ID_MAX)) {
        struct buf id = BUF_INIT;
        json_put_string(&id, r->id.at, r->id.len);
        r->id_json = arena_strndup(arena, id.data, id.len);
        buf_done(&id);
    } else if (r->id.at) {
        refuse_field(r, arena, "id", "UTF-8 of at most 128 bytes without NUL");
        return false;
    }
    if (r->reply.at && !r->can_reply) {
        refuse_field(r, arena, "reply", "16 to 64 of [A-Za-z0-9_-]");
        r->dead_reason = "reply token is not usable";
        return false;
    }
    if (r->repeated) {
        refuse_field(r, arena, r->repeated, "each field once");
        return false;
    }
    const struct {
        const char *name;
        struct request_field field;
        size_t max;
    } texts[] = {{"actor", r->actor, ID_MAX},
                 {"session", r->session, ID_MAX},
                 {"agent", r->agent, ID_MAX},
                 {"idem", r->idem, ID_MAX},
                 {"trace", r->trace, TRACE_MAX}};
    for (size_t i = 0; i < CB_ARRAY_LEN(texts); i++)
        if (!is_text(texts[i].field, texts[i].max)) {
            refuse_field(r, arena, texts[i].name, "UTF-8 of at most 128 bytes without NUL");
            return false;
        }
    const char *got;
    const char *ack_expected = check_ack(r, ctx, &got);
    if (ack_expected) {
        refuse_value(r, arena, "ack", ack_expected, got);
        return false;
    }
    if (r->ttl_ms.at && !parse_ttl(r->ttl_ms, &r->ttl)) {
        refuse_field(r, arena, "ttl_ms", "whole milliseconds, 1 to 31536000000");
        return false;
    }
    return true;
}

/* Its own, or the method's. */
static void set_deadline(struct request *r, const struct handler_context *ctx)
{
    int64_t timeout = ctx->opts->methods[r->handler->method].timeout_ms;

    if (!r->ttl)
        r->ttl = timeout;
    r->deadline_ms = r->ttl ? request_arrival_ms(r) + r->ttl : 0;
    r->is_late_counted = timeout > 0 && r->ttl >= timeout;
}

/* {"method":…[,"nearest":…]}, escaped and cut. */
static char *method_json(struct arena *arena, const char *method, const char *nearest)
{
    struct buf out = BUF_INIT;
    buf_puts(&out, "{\"method\":");
    json_put_string(&out, method, strnlen(method, 64));
    if (nearest) {
        buf_puts(&out, ",\"nearest\":");
        json_put_cstr(&out, nearest);
    }
    buf_putc(&out, '}');
    char *json = arena_strndup(arena, out.data, out.len);
    buf_done(&out);
    return json;
}

static bool check_method(struct request *r, const struct handler_context *ctx, struct arena *arena)
{
    if (!r->method.at || !is_text(r->method, ID_MAX)) {
        refuse_field(r, arena, "method", "the name of a method");
        r->dead_reason = "no usable method";
        return false;
    }
    char *name = arena_strndup(arena, r->method.at, r->method.len);
    int id = methods_find(name);
    if (id < 0) {
        refuse(r, -32601, "method not found", method_json(arena, name, methods_nearest(name)));
        return false;
    }
    char domain[16];
    registry_domain(name, domain, sizeof domain);
    if (strcmp(domain, ctx->domain) != 0) {
        refuse(r, -32600,
               arena_printf(arena, "invalid request: %s belongs to the stream of domain %s", name,
                            domain),
               method_json(arena, name, NULL));
        return false;
    }
    r->handler = registry_handler((enum method_id)id);
    set_deadline(r, ctx);
    return true;
}

static bool check_json(struct request *r, const struct handler_context *ctx, struct arena *arena,
                       struct json_span *ret)
{
    unsigned flags = methods[r->handler->method].flags;
    int64_t limit = flags & METHOD_BATCH ? ctx->opts->limits.batch_params_bytes
                                         : ctx->opts->limits.params_bytes;
    struct json_error error;
    enum json_type type;

    if (!r->params.at) {
        *ret = (struct json_span){"{}", 2};
        return true;
    }
    if ((int64_t)r->params.len > limit) {
        refuse(r, -32600, "invalid request: params are too large",
               arena_printf(arena,
                            "{\"path\":\"\",\"expected\":\"at most %" PRId64
                            " bytes\",\"got\":\"%zu bytes\"}",
                            limit, r->params.len));
        return false;
    }
    if (json_check(r->params.at, r->params.len, ret, &type, &error) != 0) {
        struct buf text = BUF_INIT;
        json_put_cstr(&text, error.text);
        refuse(
            r, -32700, arena_printf(arena, "parse error: %s at byte %zu", error.text, error.offset),
            arena_printf(arena, "{\"offset\":%zu,\"problem\":%s}", error.offset, buf_peek(&text)));
        buf_done(&text);
        return false;
    }
    if (type != JSON_OBJECT) {
        refuse(r, -32600, "invalid request: params must be an object",
               arena_printf(arena, "{\"path\":\"\",\"expected\":\"object\",\"got\":\"%s\"}",
                            json_type_name(type)));
        return false;
    }
    return true;
}

static bool check_params(struct request *r, const struct handler_context *ctx, struct arena *arena,
                         struct json_span params)
{
    struct field_problem problem = {0};
    struct field_value *values = arena_alloc(arena, (fields_count(r->handler->params) + 1) *
                                                        sizeof *values);

    r->prep = (struct prepare){
        .ctx = ctx,
        .arena = arena,
        .handler = r->handler,
        .values = values,
        .is_repeatable = (methods[r->handler->method].flags & METHOD_REPEATABLE) != 0,
        .arrival_ms = request_arrival_ms(r),
        .operations = 1,
        .problem = &problem};
    if (fields_parse(r->handler->params, params, arena, values, &problem) != 0 ||
        r->handler->prepare(&r->prep) != 0) {
        refuse(r, problem.code,
               arena_printf(arena,
                            problem.path[0] ? "invalid params: %s: expected %s, got %s"
                                            : "invalid params:%s expected %s, got %s",
                            problem.path, problem.expected, problem.got),
               problem_json(arena, &problem));
        return false;
    }
    r->prep.problem = NULL; /* it ends with this function */
    for (size_t i = 0; i < r->prep.args.len; i++)
        r->bytes += r->prep.args.items[i].len;
    return true;
}

/* From 90 % of maxmemory on, and while too much waits, nothing that makes Redis larger is begun. */
static bool check_room(struct request *r, const struct handler_context *ctx, struct arena *arena,
                       const struct gate_weather *weather)
{
    if (!(methods[r->handler->method].flags & METHOD_CREATES))
        return true;
    const char *what = NULL;
    if (scoreboard_is_memory_short(&ctx->board->global))
        what = "memory full";
    else if (weather->backlog > ctx->opts->limits.backlog)
        what = "too many requests wait";
    if (!what)
        return true;
    refuse(r, -32007, what, arena_printf(arena, "{\"retry_after_ms\":%d}", RETRY_AFTER_MS));
    return false;
}

/* URL-safe base64 without padding, NUL-terminated. */
static void base64(const unsigned char *bytes, size_t len, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t bits = 0;
    unsigned n = 0;

    for (size_t i = 0; i < len; i++) {
        bits = (bits << 8 | bytes[i]) & 0xffff;
        for (n += 8; n >= 6; n -= 6)
            *out++ = digits[bits >> (n - 6) & 63];
    }
    if (n > 0)
        *out++ = digits[bits << (6 - n) & 63];
    *out = '\0';
}

/*
 * The key's scope is (actor, method), and one caller must not be able to make up another's: SHA-256. What it stands for
 * is the params, byte by byte: their hash only tells a caller's own requests apart, and is made of all of them, so
 * it is the fast one, the same in every worker.
 */
static void hash_idempotency(struct request *r)
{
    static const unsigned char fixed[16] = "params of a key";
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA2_CTX sha;

    if (!r->idem.at || r->prep.is_repeatable || !(methods[r->handler->method].flags & METHOD_WRITE))
        return;
    SHA256Init(&sha);
    SHA256Update(&sha, (const uint8_t *)r->actor.at, r->actor.len);
    SHA256Update(&sha, (const uint8_t *)"", 1);
    SHA256Update(&sha, (const uint8_t *)r->method.at, r->method.len);
    SHA256Update(&sha, (const uint8_t *)"", 1);
    SHA256Update(&sha, (const uint8_t *)r->idem.at, r->idem.len);
    SHA256Final(digest, &sha);
    base64(digest, REQUEST_IDEM_BYTES, r->idem_scope);
    uint64_t hash = siphash(r->params.at, r->params.len, fixed);
    unsigned char bytes[sizeof hash];
    memcpy(bytes, &hash, sizeof hash);
    base64(bytes, sizeof bytes, r->params_hash);
}

void gate_check(struct request *r, const struct handler_context *ctx, struct arena *arena,
                const struct gate_weather *weather)
{
    struct json_span params;

    fault_point_text("prepare", r->params.at, r->params.len);
    if (!check_fields(r, ctx, arena) || !check_method(r, ctx, arena) ||
        !check_json(r, ctx, arena, &params) || !check_params(r, ctx, arena, params))
        return;
    hash_idempotency(r);
    check_room(r, ctx, arena, weather);
}

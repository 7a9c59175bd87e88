/*
 * system_audit.c: system.audit (lua/system_audit.lua), and the table of keys that system.repair has, too.
 */
#include "common/compat.h"
#include "worker/handlers/system/system_tables.h"

static const struct field params[] = {
    FIELD_STR("cursor", OPTIONAL, 1, 64, "`next` of the page before."),
    FIELD_END,
};

static const char *const problems[] = {"wrong_type",    "over_cap",       "over_bytes",
                                       "no_ttl",        "long_ttl",       "missing",
                                       "dead_consumer", "offline_holder", NULL};

static const struct field finding_fields[] = {
    FIELD_ENUM("problem", REQUIRED, problems, "What is wrong."),
    FIELD_STR("family", REQUIRED, 1, 128, "Of which family (claudebench-keys(7)) the key is."),
    FIELD_STR("name", OPTIONAL, 0, 1024, "Which of the family; for consumers the domain."),
    FIELD_STR("consumer", OPTIONAL, 0, 1024, "Who has requests pending."),
    FIELD_INT("found", OPTIONAL, 0, INT64_MAX, "How many, how large, or how long (ms)."),
    FIELD_INT("limit", OPTIONAL, 0, INT64_MAX, "What there may be."),
    FIELD_END,
};
static const struct field finding_element[] = {
    FIELD_OBJECT("", REQUIRED, finding_fields, "One thing that is not as it should be."),
    FIELD_END,
};

static const struct field server_fields[] = {
    FIELD_STR("version", OPTIONAL, 0, 64, "Of Redis."),
    FIELD_STR("mode", OPTIONAL, 0, 64, "standalone, sentinel or cluster."),
    FIELD_STR("role", OPTIONAL, 0, 64, "master or slave."),
    FIELD_BOOL("aof", OPTIONAL, "Whether the append-only file is on."),
    FIELD_STR("aof_write", OPTIONAL, 0, 64, "How its last write ended."),
    FIELD_STR("aof_rewrite", OPTIONAL, 0, 64, "How its last rewrite ended."),
    FIELD_STR("rdb_save", OPTIONAL, 0, 64, "How the last snapshot ended."),
    FIELD_INT("maxmemory", OPTIONAL, 0, INT64_MAX, "Bytes; 0 = no limit."),
    FIELD_STR("policy", OPTIONAL, 0, 64, "What happens when they are used up."),
    FIELD_INT("used_memory", OPTIONAL, 0, INT64_MAX, "Bytes."),
    FIELD_INT("system_memory", OPTIONAL, 0, INT64_MAX, "Bytes of Redis' host."),
    FIELD_INT("replicas", OPTIONAL, 0, INT64_MAX, "Connected ones."),
    FIELD_STR("schema", REQUIRED, 0, 64, "Of the data in the namespace."),
    FIELD_STR("generation", REQUIRED, 0, 64,
              "Of the data; drawn when the namespace is first used."),
    FIELD_BOOL("empty", REQUIRED, "Whether there is no task at all."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_INT("examined", REQUIRED, 0, INT64_MAX, "How many keys, consumers and instances."),
    FIELD_OBJECT("server", OPTIONAL, server_fields,
                 "What Redis says of itself; on the first page."),
    FIELD_TIME("at", REQUIRED, "The time of Redis' host."),
    FIELD_LIST("findings", REQUIRED, 0, 0, finding_element, "What is wrong."),
    FIELD_STR("next", OPTIONAL, 1, 64, "Where the next page begins; absent on the last one."),
    FIELD_END,
};

static void add_row(struct arena *arena, struct arg_list *args, enum key_id id, const char *names,
                    const int64_t limits[3])
{
    const struct key_row *row = keys_row(id);

    arg_list_add_str(arena, args, row->pattern);
    arg_list_add_str(arena, args, row->type);
    arg_list_add_str(arena, args, names);
    for (size_t i = 0; i < 3; i++)
        arg_list_add_int(arena, args, limits[i]);
}

void system_audit_operation(const struct handler_context *ctx, struct arena *arena,
                            struct arg_list *keys, struct arg_list *args)
{
    const struct options *o = ctx->opts;
    (void)keys;

#define AUDIT(id, names, cap, bytes, ttl_ms)                                                       \
    add_row(arena, args, KEY_##id, names, (const int64_t[3]){cap, bytes, ttl_ms});
#define UNLISTED(id, why)
#include "common/keys_audit.def"
#undef AUDIT
#undef UNLISTED
}

static bool is_cursor(const char *text)
{
    size_t n = strspn(text, "0123456789");
    size_t m = text[n] == ' ' ? strspn(text + n + 1, "0123456789") : 0;

    return n >= 1 && n <= 9 && m >= 1 && m <= 9 && text[n + 1 + m] == '\0' && text[0] != '0';
}

static int prepare(struct prepare *p)
{
    const struct field_value *cursor = prepare_value(p, "cursor");

    if (cursor->is_set && !is_cursor(cursor->str))
        return prepare_refuse(p, "cursor", "`next` of a page", "something else");
    prepare_arg_text(p, cursor);
    p->operations = 100; /* a page is as much work as a batch: one a group */
    return 0;
}

const struct handler handler_system_audit = {
    .method = METHOD_system_audit,
    .summary = "Check keys, consumers and Redis itself, page by page.",
    .params = params,
    .result = result,
    .script = SCRIPT_SYSTEM_AUDIT,
    .prepare = prepare,
    .operation = system_audit_operation,
};

/*
 * system_discover.c: system.discover: every method with its JSON Schemas, made from the field tables.
 * Committed by lua/answer.lua.
 */
#include "common/compat.h"
#include "worker/registry.h"

static const struct field params[] = {
    FIELD_STR("method", OPTIONAL, 1, 128, "Only this method."),
    FIELD_END,
};

static const struct field method_fields[] = {
    FIELD_STR("name", REQUIRED, 1, 64, "The method."),
    FIELD_STR("summary", REQUIRED, 1, 200, "What it does."),
    FIELD_BOOL("write", REQUIRED, "It changes something: send an idempotency key."),
    FIELD_BOOL("creates", REQUIRED, "It is refused when memory or the backlog is full."),
    FIELD_BOOL("finishes", REQUIRED,
               "It works when memory is full; submit it by the script `submit` when a plain XADD "
               "was refused."),
    FIELD_OBJECT("params", REQUIRED, NULL, "JSON Schema of the params."),
    FIELD_OBJECT("result", REQUIRED, NULL, "JSON Schema of the result."),
    FIELD_END,
};
static const struct field method_element[] = {
    FIELD_OBJECT("", REQUIRED, method_fields, "A method."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_STR("version", REQUIRED, 1, 64, "Of the software."),
    FIELD_LIST("methods", REQUIRED, 0, 256, method_element, "The methods."),
    FIELD_END,
};

static void put_flag(struct buf *out, const char *name, bool value)
{
    json_put_key(out, name);
    buf_puts(out, value ? "true" : "false");
}

static void put_method(struct buf *out, const struct handler *h)
{
    const struct method *m = &methods[h->method];

    json_put_comma(out);
    buf_putc(out, '{');
    json_put_text(out, "name", m->name);
    json_put_text(out, "summary", h->summary);
    put_flag(out, "write", m->flags & METHOD_WRITE);
    put_flag(out, "creates", m->flags & METHOD_CREATES);
    put_flag(out, "finishes", m->flags & METHOD_FINISHES);
    json_put_key(out, "params");
    fields_put_schema(h->params, out);
    json_put_key(out, "result");
    fields_put_schema(h->result, out);
    buf_putc(out, '}');
}

static int prepare(struct prepare *p)
{
    const struct field_value *only = prepare_value(p, "method");
    struct buf out = BUF_INIT;

    if (only->is_set && methods_find(only->str) < 0)
        return prepare_refuse(p, "method", "the name of a method", "an unknown one");
    buf_puts(&out, "{\"version\":");
    json_put_cstr(&out, PACKAGE_VERSION);
    buf_puts(&out, ",\"methods\":[");
    for (int i = 0; i < METHOD_COUNT; i++)
        if (!only->is_set || strcmp(only->str, methods[i].name) == 0)
            put_method(&out, registry_handler((enum method_id)i));
    buf_puts(&out, "]}");
    prepare_arg(p, arena_strndup(p->arena, out.data, out.len), out.len);
    buf_done(&out);
    return 0;
}

const struct handler handler_system_discover = {
    .method = METHOD_system_discover,
    .summary = "List every method with the JSON Schemas of its params and result.",
    .params = params,
    .result = result,
    .script = SCRIPT_ANSWER,
    .prepare = prepare,
};

/*
 * system_repair.c: system.repair (lua/system_repair.lua).
 */
#include "common/compat.h"
#include "worker/handlers/system/system_tables.h"

static const struct field key_fields[] = {
    FIELD_STR("family", REQUIRED, 1, 128, "As system.audit calls it."),
    FIELD_STR("name", OPTIONAL, 0, 1024, "Which of the family."),
    FIELD_END,
};
static const struct field key_element[] = {
    FIELD_OBJECT("", REQUIRED, key_fields, "A finding of system.audit."),
    FIELD_END,
};

static const struct field params[] = {
    FIELD_LIST(
        "keys", REQUIRED, 1, 100, key_element,
        "Keys without an end, or streams above their cap. What is right by now is left alone."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_INT("repaired", REQUIRED, 0, 100, "Keys that were put right."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    const struct field_value *keys = prepare_value(p, "keys");

    prepare_arg_int(p, (int64_t)keys->len);
    for (size_t i = 0; i < keys->len; i++) {
        const struct field_value *key = keys->sub[i].sub;
        prepare_arg_text(p, &key[fields_index(key_fields, "family")]);
        prepare_arg_text(p, &key[fields_index(key_fields, "name")]);
    }
    p->operations = 100;
    return 0;
}

const struct handler handler_system_repair = {
    .method = METHOD_system_repair,
    .summary =
        "Put right what system.audit found of keys: their ends, and streams above their caps.",
    .params = params,
    .result = result,
    .script = SCRIPT_SYSTEM_REPAIR,
    .prepare = prepare,
    .operation = system_audit_operation,
};

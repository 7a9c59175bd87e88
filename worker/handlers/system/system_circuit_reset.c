/*
 * system_circuit_reset.c: system.circuit.reset (lua/system_circuit_reset.lua).
 */
#include "common/compat.h"
#include "worker/handler.h"

static const struct field params[] = {
    FIELD_STR("method", REQUIRED, 1, 64, "Whose circuit."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_STR("method", REQUIRED, 1, 64, "As given."),
    FIELD_STR("was", REQUIRED, 1, 16,
              "What it was before: open, half_open or closed, which it is now."),
    FIELD_TIME("since", OPTIONAL, "When it became so, unless it was closed."),
    FIELD_STR("reason", OPTIONAL, 0, 150, "Why."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    const char *method = prepare_value(p, "method")->str;

    prepare_arg_str(p, method);
    prepare_arg_str(p, methods_find(method) < 0 ? "" : "1");
    return 0;
}

const struct handler handler_system_circuit_reset = {
    .method = METHOD_system_circuit_reset,
    .summary = "Close the circuit of a method by hand.",
    .params = params,
    .result = result,
    .script = SCRIPT_SYSTEM_CIRCUIT_RESET,
    .prepare = prepare,
};

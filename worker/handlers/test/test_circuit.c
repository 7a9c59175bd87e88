/*
 * test_circuit.c: test.circuit (lua/test_circuit.lua): something to try a circuit breaker on. It takes as long as it is told,
 * outside of Redis, as a call of some other service would; then it goes well or fails.
 */
#include "common/compat.h"
#include "worker/handler.h"

#include "common/clock.h"

static const struct field params[] = {
    FIELD_BOOL("shouldFail", DEFAULT(false),
               "Fail, with an internal error that the breaker counts."),
    FIELD_STR("failureMessage", OPTIONAL, 1, 200,
              "What the error says; default: simulated failure."),
    FIELD_INT("delay", DEFAULT(0), 0, 60000, "How long it takes, ms; no longer than its deadline."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_BOOL("success", REQUIRED, "true."),
    FIELD_STR("message", REQUIRED, 1, 200, "A sentence."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    const struct field_value *message = prepare_value(p, "failureMessage");

    prepare_arg_int(p, prepare_value(p, "shouldFail")->num);
    if (message->is_set)
        prepare_arg_text(p, message);
    else
        prepare_arg_str(p, "simulated failure");
    return 0;
}

static void work(struct prepare *p, const struct work *w)
{
    int64_t delay = prepare_value(p, "delay")->num;
    int64_t until = clock_mono_ms() + (delay < w->limit_ms ? delay : w->limit_ms);

    for (int64_t left; (left = until - clock_mono_ms()) > 0;)
        w->wait(w->arg, left);
}

const struct handler handler_test_circuit = {
    .method = METHOD_test_circuit,
    .summary = "Go well or fail, for tests and drills of the circuit breaker.",
    .params = params,
    .result = result,
    .script = SCRIPT_TEST_CIRCUIT,
    .prepare = prepare,
    .work = work,
};

/*
 * rules_fixture.c: see rules_fixture.h.
 */
#include "common/compat.h"
#include "tests/unit/rules_fixture.h"

#include "common/mem.h"

struct rules *rules;
struct rules_decision decision;
struct arena arena = ARENA_INIT;
bool want_jit = true;

static char *last_json; /* the decision may point into it */

void rules_fixture_done(void)
{
    free(last_json);
    last_json = NULL;
    rules_free(rules);
    rules = NULL;
    arena_done(&arena);
}

void use(const char *yaml)
{
    struct options_errors errs = OPTIONS_ERRORS_INIT;
    struct buf text = BUF_INIT;
    struct rules_load_options options = {.want_examples = true, .want_jit = want_jit};
    char *file = mem_printf("groups:\n- name: g\n  rules:\n%s", yaml);
    struct rules_text source = {.name = "x.yaml", .text = file, .len = strlen(file)};

    rules_free(rules);
    rules = NULL;
    int status = rules_load_texts(&source, 1, &options, &rules, &errs);
    options_errors_put(&errs, &text);
    ck_assert_msg(status == 0, "%s\n%s", file, buf_peek(&text));
    buf_done(&text);
    options_errors_done(&errs);
    free(file);
}

void use_match(const char *match)
{
    char *yaml = mem_printf("  - {name: r, action: deny, message: m, match: %s}\n", match);
    use(yaml);
    free(yaml);
}

enum rules_action decide_call(enum rules_event event, const char *tool, const char *json,
                              size_t len)
{
    struct rules_call call = {
        .event = event,
        .tool = tool,
        .input = {json, len},
        .cwd = "/home/u/p",
        .home = "/home/u",
        .on_unparsable = RULES_ASK,
    };
    arena_reset(&arena);
    rules_decide(rules, &call, &arena, &decision);
    return decision.action;
}

enum rules_action decide(const char *command)
{
    struct buf json = BUF_INIT;
    buf_puts(&json, "{\"command\":");
    json_put_cstr(&json, command);
    buf_puts(&json, "}");
    free(last_json);
    size_t len = json.len;
    last_json = buf_take(&json);
    return decide_call(RULES_PRE_TOOL, "Bash", last_json, len);
}

enum rules_action decide_tool(const char *tool, const char *json)
{
    return decide_call(RULES_PRE_TOOL, tool, json, strlen(json));
}

void hit(const char *command)
{
    ck_assert_msg(decide(command) == RULES_DENY, "%s: %s", command,
                  rules_action_name(decision.action));
}

void miss(const char *command)
{
    ck_assert_msg(decide(command) == RULES_NONE, "%s: %s", command,
                  rules_action_name(decision.action));
}

/*
 * fuzz_rules.c: any bytes as a rule file and, behind a line of =====, the input of a call: a JSON object, or
 * any text as a command. A file that is refused says why. One that is accepted decides the call twice the same way,
 * rewrites to valid JSON only, and says nothing that a terminal cannot bear.
 */
#include "common/compat.h"
#include "common/rules/rules.h"

#include "common/mem.h"
#include "common/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char MARK[] = "\n=====\n";

static void check_text(const char *text, size_t len)
{
    for (size_t at = 0; at < len;) {
        uint32_t cp = 0;
        size_t n = utf8_decode(text + at, len - at, &cp);
        cb_assert(n > 0 && (cp == '\n' || !utf8_is_control(cp)));
        at += n;
    }
}

static void check_decision(const struct rules_decision *d)
{
    struct buf text = BUF_INIT;
    enum json_type type = JSON_NULL;
    struct json_span value;

    cb_assert(d->action == RULES_NONE || d->action >= RULES_ALLOW);
    cb_assert(d->action == RULES_NONE || d->message);
    cb_assert(d->action != RULES_MODIFY || d->input);
    if (d->input)
        cb_assert(json_check(d->input, d->input_len, &value, &type, NULL) == 0 &&
                  type == JSON_OBJECT);
    if (d->matched)
        check_text(d->matched, strlen(d->matched));
    rules_explain(d, &text);
    buf_done(&text);
}

static void ignore_match(void *arg, const char *rule, enum rules_action action, const char *field,
                         const char *matched)
{
    (void)arg;
    (void)action;
    (void)field;
    cb_assert(rule);
    if (matched)
        check_text(matched, strlen(matched));
}

static void ignore_test(void *arg, const char *file, int line, const char *rule, const char *text)
{
    (void)arg;
    cb_assert(file && line > 0 && rule && text);
}

static void decide(struct rules *rules, const char *json, size_t len)
{
    struct arena arena = ARENA_INIT;
    struct rules_decision first, second;
    struct rules_call call = {
        .event = RULES_PRE_TOOL,
        .tool = "Bash",
        .input = {json, len},
        .cwd = "/home/user/project",
        .home = "/home/user",
        .on_unparsable = RULES_ASK,
    };
    rules_decide(rules, &call, &arena, &first);
    rules_decide(rules, &call, &arena, &second);
    check_decision(&first);
    /* Running out of time is the only thing that may differ. */
    cb_assert(first.action == second.action || !first.is_cacheable || !second.is_cacheable);
    rules_trace(rules, &call, ignore_match, NULL);
    rules_test(rules, ignore_test, NULL, NULL);
    arena_done(&arena);
}

static void decide_text(struct rules *rules, const char *text, size_t len)
{
    struct buf json = BUF_INIT;
    if (len && text[0] == '{') {
        decide(rules, text, len);
        return;
    }
    buf_puts(&json, "{\"command\":");
    json_put_string(&json, text, len);
    buf_putc(&json, '}');
    decide(rules, json.data, json.len);
    buf_done(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct options_errors errs = OPTIONS_ERRORS_INIT;
    struct rules_load_options options = {.want_examples = true};
    struct rules *rules = NULL;
    const char *mark = len ? memmem(data, len, MARK, sizeof MARK - 1) : NULL;
    size_t yaml_len = mark ? (size_t)(mark - (const char *)data) : len;
    struct rules_text file = {.name = "fuzz.yaml", .text = (const char *)data, .len = yaml_len};

    if (rules_load_texts(&file, 1, &options, &rules, &errs)) {
        struct buf out = BUF_INIT;
        options_errors_put(&errs, &out);
        cb_assert(errs.total > 0);
        check_text(out.data, out.len);
        buf_done(&out);
    } else {
        const char *text = mark ? mark + sizeof MARK - 1 : "ls -l";
        decide_text(rules, text, mark ? len - yaml_len - (sizeof MARK - 1) : 5);
    }
    rules_free(rules);
    options_errors_done(&errs);
    return 0;
}

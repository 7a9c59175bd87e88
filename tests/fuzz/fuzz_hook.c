/*
 * fuzz_hook.c: any bytes as an agent's event and, behind a line of =====, as its settings.
 *
 * Event: for every agent it is read or refused with a reason; what is read has an object as the tool's input; every verdict
 * about it becomes an answer of exit code 0 or 2, and what goes to stdout is nothing or one JSON object.
 * Settings: put in, our lines are found, and taking them out gives settings that mean what they meant before; what was no JSON is
 * refused with its place.
 */
#include "common/compat.h"
#include "client/hook/settings.h"

#include "common/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char MARK[] = "\n=====\n";

static void check_answer(const struct hook_record *record, const struct hook_verdict *verdict,
                         struct arena *arena)
{
    struct hook_answer answer;
    struct json_span value;
    enum json_type type = JSON_NULL;

    hook_say(record, verdict, arena, &answer);
    cb_assert(answer.exit == 0 || answer.exit == HOOK_EXIT_BLOCK);
    cb_assert((answer.exit == HOOK_EXIT_BLOCK) == (answer.err.len > 0));
    if (answer.out.len)
        cb_assert(json_check(answer.out.data, answer.out.len, &value, &type, NULL) == 0 &&
                  type == JSON_OBJECT);
    /* A refusal is never softened by what an agent cannot do. */
    if (verdict->action == RULES_DENY)
        cb_assert(answer.exit == HOOK_EXIT_BLOCK);
    if (verdict->action == RULES_NONE && verdict->nnotes == 0)
        cb_assert(answer.exit == 0 && answer.out.len == 0);
    buf_done(&answer.out);
    buf_done(&answer.err);
}

static void check_record(const struct hook_record *r, struct arena *arena)
{
    static const struct rules_note note = {.rule = "g/n", .message = "look \x01 \xc3\xa4"};
    static const enum rules_action actions[] = {RULES_NONE, RULES_ALLOW, RULES_MODIFY, RULES_ASK,
                                                RULES_DENY};
    struct json_span input = hook_rules_input(r, arena), value;
    enum json_type type = JSON_NULL;

    cb_assert(json_check(input.at, input.len, &value, &type, NULL) == 0 && type == JSON_OBJECT);
    cb_assert(!r->session ||
              (strlen(r->session) <= 128 && json_is_utf8(r->session, strlen(r->session))));
    cb_assert(!r->cwd || r->cwd[0] == '/');
    for (size_t i = 0; i < CB_ARRAY_LEN(actions); i++) {
        struct hook_verdict v = {.action = actions[i], .reason = "because\n\x1b[2J", .rule = "g/r"};
        if (actions[i] == RULES_MODIFY)
            v.input = input;
        check_answer(r, &v, arena);
        v.notes = &note;
        v.nnotes = 1;
        v.context = r->tool;
        check_answer(r, &v, arena);
    }
}

static void try_event(const char *text, size_t len)
{
    for (const struct hook_agent *a = hook_agents; a->name; a++) {
        struct arena arena = ARENA_INIT;
        struct hook_record record;
        struct cb_error err = {0};
        enum hook_read status = hook_read(a, text, len, &arena, &record, &err);
        if (status == HOOK_READ_OK)
            check_record(&record, &arena);
        else
            cb_assert(status == HOOK_READ_IGNORED || err.text[0]);
        arena_done(&arena);
    }
}

static void try_settings(const struct settings_place *place, const char *text, size_t len)
{
    static const char *const argv[] = {"/opt/o'dd dir/claudebench", "hook", "--agent", "x", NULL};
    struct buf base CB_CLEANUP(buf_done) = BUF_INIT, with CB_CLEANUP(buf_done) = BUF_INIT;
    struct buf without CB_CLEANUP(buf_done) = BUF_INIT, again CB_CLEANUP(buf_done) = BUF_INIT;

    settings_strip(place, text, len, &base);
    cb_assert(settings_check(base.data, base.len, NULL) == 0);
    settings_add(place, base.data, base.len, argv, &with);
    cb_assert(settings_check(with.data, with.len, NULL) == 0);
    cb_assert(settings_has_all(place, with.data, with.len, argv));
    settings_strip(place, with.data, with.len, &without);
    cb_assert(settings_check(without.data, without.len, NULL) == 0);
    cb_assert(!settings_has_all(place, without.data, without.len, argv));
    settings_strip(place, without.data, without.len, &again);
    cb_assert(settings_same(again.data, again.len, without.data, without.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const char *text = (const char *)data;
    const char *mark = len ? memmem(text, len, MARK, sizeof MARK - 1) : NULL;
    size_t event_len = mark ? (size_t)(mark - text) : len;
    struct cb_error err = {0};

    try_event(text, event_len);
    const char *settings = mark ? mark + sizeof MARK - 1 : text;
    size_t settings_len = mark ? len - event_len - (sizeof MARK - 1) : len;
    if (settings_check(settings, settings_len, &err) != 0) {
        cb_assert(err.text[0] >= '1' && err.text[0] <= '9');
        return 0;
    }
    for (const struct settings_place *p = settings_places; p->agent; p++)
        try_settings(p, settings, settings_len);
    return 0;
}

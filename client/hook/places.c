/*
 * places.c: where each agent keeps its hooks, and what our lines look like there. See settings.h.
 *
 * The agent runs the program by its absolute path and without a shell where it can do that: no PATH, no quoting, no start of a
 * shell. Its own time limit is above ours (HOOK_GUARD_MS), which ends in a refusal.
 */
#include "common/compat.h"
#include "client/hook/settings.h"

enum { TIMEOUT_S = 5 };

/* A word for a shell. */
static void put_quoted(struct buf *out, const char *word)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./=+:,@%";

    if (*word && strspn(word, plain) == strlen(word)) {
        buf_puts(out, word);
        return;
    }
    buf_putc(out, '\'');
    for (const char *c = word; *c; c++) {
        if (*c == '\'')
            buf_puts(out, "'\\''");
        else
            buf_putc(out, *c);
    }
    buf_putc(out, '\'');
}

static void put_line(struct buf *out, const char *key, const char *const *argv)
{
    struct buf line = BUF_INIT;

    for (size_t i = 0; argv[i]; i++) {
        if (i)
            buf_putc(&line, ' ');
        put_quoted(&line, argv[i]);
    }
    json_put_text(out, key, buf_peek(&line));
    buf_done(&line);
}

static void put_claude(const struct settings_event *event, const char *const *argv, struct buf *out)
{
    buf_putc(out, '{');
    json_put_text(out, "type", "command");
    json_put_text(out, "command", argv[0]);
    json_put_key(out, "args");
    buf_putc(out, '[');
    for (size_t i = 1; argv[i]; i++) {
        json_put_comma(out);
        json_put_cstr(out, argv[i]);
    }
    buf_printf(out, "],\"timeout\":%d", TIMEOUT_S);
    if (event->blocks)
        json_put_text(out, "onFailure", "block");
    buf_putc(out, '}');
}

static void put_codex(const struct settings_event *event, const char *const *argv, struct buf *out)
{
    (void)event;
    buf_putc(out, '{');
    json_put_text(out, "type", "command");
    put_line(out, "command", argv);
    buf_printf(out, ",\"timeout\":%d}", TIMEOUT_S);
}

static void put_gemini(const struct settings_event *event, const char *const *argv, struct buf *out)
{
    (void)event;
    buf_putc(out, '{');
    json_put_text(out, "type", "command");
    json_put_text(out, "name", "claudebench");
    put_line(out, "command", argv);
    buf_printf(out, ",\"timeout\":%d}", TIMEOUT_S * 1000);
}

static void put_cursor(const struct settings_event *event, const char *const *argv, struct buf *out)
{
    buf_putc(out, '{');
    put_line(out, "command", argv);
    buf_printf(out, ",\"timeout\":%d", TIMEOUT_S);
    if (event->blocks)
        buf_puts(out, ",\"failClosed\":true");
    buf_putc(out, '}');
}

static void put_copilot(const struct settings_event *event, const char *const *argv,
                        struct buf *out)
{
    (void)event;
    buf_putc(out, '{');
    json_put_text(out, "type", "command");
    put_line(out, "bash", argv);
    buf_printf(out, ",\"timeoutSec\":%d}", TIMEOUT_S);
}

static const struct settings_event CLAUDE_EVENTS[] = {
    {"PreToolUse", "*", true},
    {"PostToolUse", "*", false},
    {"PostToolUseFailure", "*", false},
    {"UserPromptSubmit", NULL, true},
    {.name = NULL},
};
static const struct settings_event CODEX_EVENTS[] = {
    {"PreToolUse", ".*", true},
    {"PostToolUse", ".*", false},
    {"UserPromptSubmit", NULL, true},
    {.name = NULL},
};
static const struct settings_event GEMINI_EVENTS[] = {
    {"BeforeTool", ".*", true},
    {"AfterTool", ".*", false},
    {"BeforeAgent", NULL, true},
    {.name = NULL},
};
static const struct settings_event CURSOR_EVENTS[] = {
    {"preToolUse", NULL, true},          {"beforeShellExecution", NULL, true},
    {"beforeMCPExecution", NULL, true},  {"beforeReadFile", NULL, true},
    {"beforeSubmitPrompt", NULL, true},  {"postToolUse", NULL, false},
    {"postToolUseFailure", NULL, false}, {.name = NULL},
};
static const struct settings_event COPILOT_EVENTS[] = {
    {"preToolUse", NULL, true},
    {"postToolUse", NULL, false},
    {.name = NULL},
};

const struct settings_place settings_places[] = {
    {"claude", ".claude/settings.json", ".claude/settings.json", false, false, CLAUDE_EVENTS,
     put_claude, NULL},
    {"codex", ".codex/hooks.json", ".codex/hooks.json", false, false, CODEX_EVENTS, put_codex,
     "Codex skips hooks without a word until they are trusted: type /hooks in it."},
    {"gemini", ".gemini/settings.json", ".gemini/settings.json", false, false, GEMINI_EVENTS,
     put_gemini, NULL},
    {"cursor", ".cursor/hooks.json", ".cursor/hooks.json", true, true, CURSOR_EVENTS, put_cursor,
     NULL},
    {"copilot", ".copilot/hooks/claudebench.json", ".github/hooks/claudebench.json", true, true,
     COPILOT_EVENTS, put_copilot, NULL},
    {.agent = NULL},
};

const struct settings_place *settings_place_find(const char *agent)
{
    for (const struct settings_place *p = settings_places; p->agent; p++) {
        if (strcmp(p->agent, agent) == 0)
            return p;
    }
    return NULL;
}

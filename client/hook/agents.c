/*
 * agents.c: what each agent's hook events look like. See hook.h.
 *
 * An event that is not here is none of ours: nothing is said about it. What an agent is said to do is what it was seen to
 * do or what it documents; a decision that it would not carry out (Codex drops "ask" and lets the tool run) is left out of
 * `can`, and becomes a refusal.
 */
#include "common/compat.h"
#include "client/hook/hook.h"

enum {
    CLAUDE_CAN = HOOK_CAN_ASK | HOOK_CAN_REWRITE | HOOK_CAN_ALLOW | HOOK_CAN_NOTE,
    /* "ask" is refused as an error by Codex, and then the tool runs; so is "allow" without a rewrite. */
    CODEX_CAN = HOOK_CAN_REWRITE | HOOK_REWRITE_ALLOWS | HOOK_CAN_NOTE,
};

static const struct hook_event CLAUDE_EVENTS[] = {
    {"PreToolUse", HOOK_PRE_TOOL, HOOK_SAY_CLAUDE_TOOL, CLAUDE_CAN, false, NULL, NULL},
    {"PermissionRequest", HOOK_PERMISSION, HOOK_SAY_CLAUDE_PERMISSION,
     HOOK_CAN_ASK | HOOK_CAN_ALLOW, false, NULL, NULL},
    {"PostToolUse", HOOK_POST_TOOL, HOOK_SAY_CLAUDE_BLOCK, HOOK_CAN_NOTE, false, NULL, NULL},
    {"PostToolUseFailure", HOOK_POST_TOOL, HOOK_SAY_CLAUDE_BLOCK, HOOK_CAN_NOTE, true, NULL, NULL},
    {"UserPromptSubmit", HOOK_PROMPT, HOOK_SAY_CLAUDE_BLOCK, HOOK_CAN_NOTE, false, NULL, NULL},
    {"UserPromptExpansion", HOOK_PROMPT, HOOK_SAY_CLAUDE_BLOCK, HOOK_CAN_NOTE, false, NULL, NULL},
    {"TaskCreated", HOOK_TASK, HOOK_SAY_NOTHING, 0, false, NULL, NULL},
    {"TaskCompleted", HOOK_TASK, HOOK_SAY_NOTHING, 0, false, NULL, NULL},
    {.name = NULL},
};

static const struct hook_event CODEX_EVENTS[] = {
    {"PreToolUse", HOOK_PRE_TOOL, HOOK_SAY_CLAUDE_TOOL, CODEX_CAN, false, NULL, NULL},
    {"PermissionRequest", HOOK_PERMISSION, HOOK_SAY_CLAUDE_PERMISSION,
     HOOK_CAN_ASK | HOOK_CAN_ALLOW, false, NULL, NULL},
    {"PostToolUse", HOOK_POST_TOOL, HOOK_SAY_CLAUDE_BLOCK, HOOK_CAN_NOTE, false, NULL, NULL},
    {"UserPromptSubmit", HOOK_PROMPT, HOOK_SAY_CLAUDE_BLOCK, HOOK_CAN_NOTE, false, NULL, NULL},
    {.name = NULL},
};

static const struct hook_event GEMINI_EVENTS[] = {
    {"BeforeTool", HOOK_PRE_TOOL, HOOK_SAY_GEMINI, HOOK_CAN_REWRITE, false, NULL, NULL},
    {"AfterTool", HOOK_POST_TOOL, HOOK_SAY_GEMINI, HOOK_CAN_NOTE, false, NULL, NULL},
    {"BeforeAgent", HOOK_PROMPT, HOOK_SAY_GEMINI, HOOK_CAN_NOTE, false, NULL, NULL},
    {.name = NULL},
};

static const struct hook_event CURSOR_EVENTS[] = {
    {"preToolUse", HOOK_PRE_TOOL, HOOK_SAY_CURSOR, 0, false, NULL, NULL},
    {"beforeShellExecution", HOOK_PRE_TOOL, HOOK_SAY_CURSOR, HOOK_CAN_ASK | HOOK_CAN_ALLOW, false,
     "shell", "command|cwd"},
    {"beforeMCPExecution", HOOK_PRE_TOOL, HOOK_SAY_CURSOR, HOOK_CAN_ASK | HOOK_CAN_ALLOW, false,
     NULL, NULL},
    {"beforeReadFile", HOOK_PRE_TOOL, HOOK_SAY_CURSOR, 0, false, "Read", "file_path"},
    {"beforeSubmitPrompt", HOOK_PROMPT, HOOK_SAY_CURSOR_PROMPT, 0, false, NULL, NULL},
    {"postToolUse", HOOK_POST_TOOL, HOOK_SAY_NOTHING, 0, false, NULL, NULL},
    {"postToolUseFailure", HOOK_POST_TOOL, HOOK_SAY_NOTHING, 0, true, NULL, NULL},
    {"afterShellExecution", HOOK_POST_TOOL, HOOK_SAY_NOTHING, 0, false, "shell", "command|cwd"},
    {"afterFileEdit", HOOK_POST_TOOL, HOOK_SAY_NOTHING, 0, false, "Edit", "file_path|edits"},
    {.name = NULL},
};

static const struct hook_event COPILOT_EVENTS[] = {
    {"preToolUse", HOOK_PRE_TOOL, HOOK_SAY_COPILOT, HOOK_CAN_ASK | HOOK_CAN_ALLOW, false, NULL,
     NULL},
    {"postToolUse", HOOK_POST_TOOL, HOOK_SAY_NOTHING, 0, false, NULL, NULL},
    {"userPromptSubmitted", HOOK_PROMPT, HOOK_SAY_NOTHING, 0, false, NULL, NULL},
    {"PreToolUse", HOOK_PRE_TOOL, HOOK_SAY_CLAUDE_TOOL, HOOK_CAN_ASK | HOOK_CAN_ALLOW, false, NULL,
     NULL},
    {"PostToolUse", HOOK_POST_TOOL, HOOK_SAY_NOTHING, 0, false, NULL, NULL},
    {.name = NULL},
};

/* The first is the default. */
const struct hook_agent hook_agents[] = {
    {"claude", "session_id", "tool_name", "tool_input", "tool_response", "tool_use_id",
     CLAUDE_EVENTS},
    {"codex", "session_id", "tool_name", "tool_input", "tool_response", "tool_use_id",
     CODEX_EVENTS},
    {"gemini", "session_id", "tool_name", "tool_input", "tool_response", "tool_use_id",
     GEMINI_EVENTS},
    {"cursor", "conversation_id|session_id", "tool_name", "tool_input",
     "tool_output|result_json|output", "tool_use_id|generation_id", CURSOR_EVENTS},
    {"copilot", "sessionId|session_id", "toolName|tool_name", "toolArgs|tool_input",
     "toolResult|tool_result|tool_response", "toolCallId|tool_use_id", COPILOT_EVENTS},
    {.name = NULL},
};

const struct hook_agent *hook_agent_find(const char *name)
{
    for (const struct hook_agent *a = hook_agents; a->name; a++) {
        if (strcmp(a->name, name) == 0)
            return a;
    }
    return NULL;
}

const struct hook_event *hook_event_find(const struct hook_agent *agent, const char *name)
{
    for (const struct hook_event *e = agent->events; e->name; e++) {
        if (strcmp(e->name, name) == 0)
            return e;
    }
    return NULL;
}

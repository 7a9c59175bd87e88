/*
 * tools.c: what kind of thing a tool does, by its name, for the agents that we know. See rules_int.h.
 *
 * A tool that is not listed is taken for one that may do anything: its commands are read, its paths count as read and
 * written.
 */
#include "common/compat.h"
#include "common/rules/rules_int.h"

static const struct {
    const char *glob;
    unsigned kind;
} TOOLS[] = {
    {"Bash", RULES_TOOL_SHELL},
    {"shell", RULES_TOOL_SHELL},
    {"*_shell", RULES_TOOL_SHELL},
    {"shell_*", RULES_TOOL_SHELL},
    {"run_shell_command", RULES_TOOL_SHELL},
    {"run_terminal_cmd", RULES_TOOL_SHELL},
    {"run_command", RULES_TOOL_SHELL},
    {"run_in_terminal", RULES_TOOL_SHELL},
    {"exec_command", RULES_TOOL_SHELL},
    {"execute_command", RULES_TOOL_SHELL},
    {"exec", RULES_TOOL_SHELL},
    {"terminal", RULES_TOOL_SHELL},
    {"Monitor", RULES_TOOL_SHELL},
    {"mcp__*__bash", RULES_TOOL_SHELL},
    {"mcp__*__*exec*", RULES_TOOL_SHELL},
    {"mcp__*__*shell*", RULES_TOOL_SHELL},
    {"mcp__*__run_command", RULES_TOOL_SHELL},
    {"PowerShell", RULES_TOOL_SHELL | RULES_TOOL_FOREIGN_SHELL},
    {"pwsh", RULES_TOOL_SHELL | RULES_TOOL_FOREIGN_SHELL},
    {"Write", RULES_TOOL_EDIT},
    {"Edit", RULES_TOOL_EDIT},
    {"MultiEdit", RULES_TOOL_EDIT},
    {"NotebookEdit", RULES_TOOL_EDIT},
    {"write_file", RULES_TOOL_EDIT},
    {"edit_file", RULES_TOOL_EDIT},
    {"create_file", RULES_TOOL_EDIT},
    {"delete_file", RULES_TOOL_EDIT},
    {"replace", RULES_TOOL_EDIT},
    {"search_replace", RULES_TOOL_EDIT},
    {"apply_patch", RULES_TOOL_EDIT},
    {"str_replace*", RULES_TOOL_EDIT},
    {"insert_edit_into_file", RULES_TOOL_EDIT},
    {"mcp__*__*write*", RULES_TOOL_EDIT},
    {"mcp__*__*edit*", RULES_TOOL_EDIT},
    {"mcp__*__*move*", RULES_TOOL_EDIT},
    {"mcp__*__*delete*", RULES_TOOL_EDIT},
    {"Read", RULES_TOOL_READ},
    {"Grep", RULES_TOOL_READ},
    {"Glob", RULES_TOOL_READ},
    {"LS", RULES_TOOL_READ},
    {"NotebookRead", RULES_TOOL_READ},
    {"read_file", RULES_TOOL_READ},
    {"read_many_files", RULES_TOOL_READ},
    {"list_dir*", RULES_TOOL_READ},
    {"search_file_content", RULES_TOOL_READ},
    {"grep_search", RULES_TOOL_READ},
    {"file_search", RULES_TOOL_READ},
    {"view", RULES_TOOL_READ},
    {"mcp__*__*read*", RULES_TOOL_READ},
    {"mcp__*__*list*", RULES_TOOL_READ},
    {"mcp__*__*search*", RULES_TOOL_READ},
};

static const struct {
    const char *name;
    unsigned kind;
} CLASSES[] = {
    {"@shell", RULES_TOOL_SHELL}, {"@edit", RULES_TOOL_EDIT}, {"@read", RULES_TOOL_READ}};

unsigned rules_tool_kind(const char *tool)
{
    for (size_t i = 0; i < CB_ARRAY_LEN(TOOLS); i++) {
        if (rules_glob_nocase(TOOLS[i].glob, tool))
            return TOOLS[i].kind;
    }
    return 0;
}

static unsigned class_kind(const char *pattern)
{
    for (size_t i = 0; i < CB_ARRAY_LEN(CLASSES); i++) {
        if (strcmp(CLASSES[i].name, pattern) == 0)
            return CLASSES[i].kind;
    }
    return 0;
}

bool rules_is_tool_pattern(const char *pattern)
{
    return pattern[0] != '@' || class_kind(pattern) != 0;
}

bool rules_tool_matches(const char *pattern, const char *tool)
{
    if (pattern[0] == '@')
        return (rules_tool_kind(tool) & class_kind(pattern)) != 0;
    return rules_glob_nocase(pattern, tool);
}

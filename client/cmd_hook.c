/*
 * cmd_hook.c: claudebench hook: the program that an agent runs at its hook events. See client/hook/hook.h.
 *
 * Whatever is wrong, its exit code is 0 or 2: an agent takes any other for a hook that failed, and goes on.
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/hook/hook.h"

static const struct cli_option hook_options[] = {
    {'a', "agent", "NAME", "Whose events: claude (the default), codex, gemini, cursor or copilot."},
    {0, NULL, NULL, NULL},
};

static int run_hook(const struct cli *cli);

const struct cli_verb verb_hook = {
    .name = "hook",
    .operands = "",
    .summary = "Decide about one event of an agent: JSON on stdin, the answer on stdout.",
    .notes =
        "For the agent's settings, not for people: see 'claudebench hook install'.\n"
        "Exit 0: no objection, or the answer is on stdout. Exit 2: refused; stderr says why.\n",
    .options = hook_options,
    .run = run_hook,
};

static int run_hook(const struct cli *cli)
{
    struct hook_call call = {
        .agent = hook_agent_find(cli_value(cli, "agent", hook_agents[0].name)),
        .config = cli_value(cli, "config", NULL),
        .fd = STDIN_FILENO,
    };

    if (!call.agent) {
        cli_wrong_use(cli->verb,
                      "--agent: \"%s\" is none of claude, codex, gemini, cursor, copilot",
                      cli_value(cli, "agent", ""));
        return HOOK_EXIT_BLOCK;
    }
    return hook_guarded(&call);
}

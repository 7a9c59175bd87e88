/*
 * cmd_hook_rules.c: claudebench hook test-rules: the examples in rule files, run. See claudebench-rules(5).
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/hook/hook.h"
#include "common/exitcode.h"
#include "common/mem.h"

#include <sys/stat.h>

static const struct cli_option rules_options[] = {
    {'p', "project", NULL, "The files are a project's: they may only deny, ask and warn."},
    {'v', "verbose", NULL, "List the rules, in the order in which they are asked."},
    {0, NULL, NULL, NULL},
};

static int run_rules(const struct cli *cli);

const struct cli_verb verb_hook_test_rules = {
    .name = "hook test-rules",
    .operands = "[FILE|DIR]...",
    .max_operands = -1,
    .summary = "Run the examples in rule files.",
    .notes = "Without operands: the rules in force. A DIR is a whole set by itself; FILEs together "
             "are one.\n"
             "Exit 1 when an example does not do as its file says, 78 when a file is wrong.\n",
    .options = rules_options,
    .run = run_rules,
};

static void show_failure(void *arg, const char *file, int line, const char *rule, const char *text)
{
    (void)arg;
    printf("%s:%d: %s: %s\n", file, line, rule, text);
}

static void list_rules(const struct rules *rules)
{
    struct rules_info info;
    size_t widest = 0;

    for (size_t i = 0; rules_get(rules, i, &info); i++)
        if (strlen(info.id) > widest)
            widest = strlen(info.id);
    for (size_t i = 0; rules_get(rules, i, &info); i++)
        printf("%-6s %-8s %4d  %-*s %2zu matches, %2zu passes\n", rules_action_name(info.action),
               rules_severity_name(info.severity), info.priority, (int)widest, info.id,
               info.nmatches, info.npasses);
}

static int test(const struct cli *cli, const char *what, const struct rules_load_options *options)
{
    struct options_errors errors = OPTIONS_ERRORS_INIT;
    struct rules_test_totals totals = {0};
    struct rules *rules = NULL;

    if (rules_load(options, &rules, &errors) != 0) {
        struct buf text = BUF_INIT;
        options_errors_put(&errors, &text);
        fwrite(buf_peek(&text), 1, text.len, stderr);
        buf_done(&text);
        options_errors_done(&errors);
        return EXITCODE_CONFIG;
    }
    if (cli_is_set(cli, "verbose"))
        list_rules(rules);
    rules_test(rules, show_failure, NULL, &totals);
    printf("%s: %zu rules, %zu examples, %zu failed\n", what, totals.rules, totals.examples,
           totals.failed);
    rules_free(rules);
    return totals.failed ? EXITCODE_FAILURE : EXITCODE_OK;
}

static int test_in_force(const struct cli *cli)
{
    struct hook_policy policy = {0};
    struct cb_error err = {0};
    int status = EXITCODE_CONFIG;

    if (hook_policy_load(cli_value(cli, "config", NULL), &policy, &err) != 0) {
        cli_say("%s", err.text);
    } else {
        struct rules_load_options options = {
            .dir = policy.opts->hooks.rules_dir, .want_examples = true, .is_for_one = true};
        status = test(cli, options.dir, &options);
    }
    hook_policy_done(&policy);
    return status;
}

/* Files of a system are given as texts: only a folder is read as one. */
static int test_files(const struct cli *cli, const char *const *files, size_t n)
{
    struct rules_load_options options = {.project_files = files,
                                         .nproject_files = n,
                                         .want_examples = true,
                                         .is_for_one = true,
                                         .are_system_files = !cli_is_set(cli, "project")};
    return test(cli, n == 1 ? files[0] : "all files", &options);
}

static int run_rules(const struct cli *cli)
{
    const char **files CB_CLEANUP(mem_free_ptr) = mem_calloc((size_t)cli->noperands + 1,
                                                             sizeof *files);
    size_t nfiles = 0;
    int worst = EXITCODE_OK;

    if (cli->noperands == 0)
        return test_in_force(cli);
    for (int i = 0; i < cli->noperands; i++) {
        struct rules_load_options options = {
            .dir = cli->operands[i], .want_examples = true, .is_for_one = true};
        struct stat st;
        if (stat(cli->operands[i], &st) != 0 || !S_ISDIR(st.st_mode)) {
            files[nfiles++] = cli->operands[i];
            continue;
        }
        int status = test(cli, cli->operands[i], &options);
        worst = status > worst ? status : worst;
    }
    if (nfiles) {
        int status = test_files(cli, files, nfiles);
        worst = status > worst ? status : worst;
    }
    return worst;
}

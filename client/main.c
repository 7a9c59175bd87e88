/*
 * main.c: claudebench, the command that people, scripts and agents type: finds the verb and runs
 * it.
 *
 * A verb is one or two words ("status", "task add"). Exit codes: common/exitcode.h, claudebench(1).
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/archive_verbs.h"
#include "client/hook/hook.h"
#include "client/suggest.h"
#include "common/exitcode.h"
#include "common/mem.h"
#include "common/nearest.h"
#include "common/standard_fds.h"

#include <hiredis/hiredis.h> /* its version only */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <signal.h>
#include <yaml.h>

const struct cli_verb *const cli_verbs[] = {
    &verb_call,
    &verb_task_add,
    &verb_task_list,
    &verb_task_show,
    &verb_task_update,
    &verb_task_cancel,
    &verb_task_retry,
    &verb_task_rm,
    &verb_task_assign,
    &verb_task_reassign,
    &verb_task_claim,
    &verb_task_renew,
    &verb_task_progress,
    &verb_task_complete,
    &verb_task_fail,
    &verb_task_release,
    &verb_task_import,
    &verb_task_export,
    &verb_task_queues,
    &verb_task_pause,
    &verb_task_resume,
    &verb_schedule_add,
    &verb_schedule_list,
    &verb_schedule_show,
    &verb_schedule_pause,
    &verb_schedule_resume,
    &verb_schedule_remove,
    &verb_hook,
    &verb_hook_install,
    &verb_hook_uninstall,
    &verb_hook_check,
    &verb_hook_test_rules,
    &verb_work,
    &verb_wait,
    &verb_status,
    &verb_top,
    &verb_instances,
    &verb_metrics,
    &verb_config,
    &verb_handlers,
    &verb_ctl_reload,
    &verb_ctl_scale,
    &verb_ctl_drain,
    &verb_ctl_stop,
    &verb_ctl_pause,
    &verb_ctl_resume,
    &verb_ctl_log_level,
    &verb_ctl_leader,
    &verb_events,
    &verb_audit,
    &verb_archive_query,
    &verb_archive_status,
    &verb_archive_restore,
    &verb_archive_migrate,
    &verb_doctor,
    &verb_backup,
    &verb_restore,
    NULL,
};

/* ---- finding the verb ---- */

/* How many of the words make up the name: 0, 1 or 2. */
static int name_matches(const char *name, int argc, char **argv)
{
    size_t len = strcspn(name, " ");

    if (argc < 1 || strlen(argv[0]) != len || strncmp(name, argv[0], len) != 0)
        return 0;
    if (!name[len])
        return 1;
    return argc >= 2 && strcmp(name + len + 1, argv[1]) == 0 ? 2 : 0;
}

static int verb_matches(const struct cli_verb *verb, int argc, char **argv)
{
    int words = name_matches(verb->name, argc, argv);

    return words == 0 && verb->also ? name_matches(verb->also, argc, argv) : words;
}

/* "hook install" is more than "hook". */
const struct cli_verb *cli_find_verb(int argc, char **argv, int *ret_words)
{
    const struct cli_verb *found = NULL;

    *ret_words = 0;
    for (size_t i = 0; cli_verbs[i]; i++) {
        int words = verb_matches(cli_verbs[i], argc, argv);
        if (words > *ret_words) {
            *ret_words = words;
            found = cli_verbs[i];
        }
    }
    return found;
}

/* A group that is a verb as well has that verb's help. */
static bool is_verb(const char *word)
{
    for (size_t i = 0; cli_verbs[i]; i++)
        if (strcmp(cli_verbs[i]->name, word) == 0)
            return true;
    return false;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static int unknown_verb(int argc, char **argv)
{
    bool is_group = cli_is_group(argv[0]);
    bool has_two = argc > 1 && argv[1][0] != '-';
    struct buf near CB_CLEANUP(buf_done) = BUF_INIT;

    if (is_group && !has_two) {
        cli_say("%s what? See 'claudebench %s --help'", argv[0], argv[0]);
        return EXITCODE_USAGE;
    }
    suggest_verb(argc, argv, &near);
    return cli_wrong_use(NULL, "unknown command \"%s%s%s\"%s%s%s", argv[0], is_group ? " " : "",
                         is_group ? argv[1] : "", near.len ? "; did you mean " : "",
                         buf_peek(&near), near.len ? "?" : "");
}

/* ---- --version, --help ---- */

static void put_feature(struct buf *out, const char *name, bool is_there)
{
    buf_printf(out, "%s %s\n", name, is_there ? "yes" : "no");
}

#ifdef HAVE_NCURSES
#define HAS_TOP true
#else
#define HAS_TOP false
#endif
#ifdef HAVE_LIBPQ
#define HAS_ARCHIVE true
#else
#define HAS_ARCHIVE false
#endif
#ifdef CB_FAILPOINTS
#define HAS_FAILPOINTS true
#else
#define HAS_FAILPOINTS false
#endif

static void put_features(struct buf *out)
{
    char pcre2[64] = "";

    pcre2_config(PCRE2_CONFIG_VERSION, pcre2);
    buf_printf(out, "hiredis %d.%d.%d\n", HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
    buf_printf(out, "libyaml %s\n", yaml_get_version_string());
    buf_printf(out, "pcre2 %s\n", pcre2);
    put_feature(out, "claudebench top:", HAS_TOP);
    put_feature(out, "PostgreSQL archive:", HAS_ARCHIVE);
    put_feature(out, "fault points (a test build):", HAS_FAILPOINTS);
}

static int show_version(bool is_verbose)
{
    struct buf out CB_CLEANUP(buf_done) = BUF_INIT;

    buf_puts(&out, "claudebench " PACKAGE_VERSION "\n");
    if (is_verbose)
        put_features(&out);
    return cli_write(&out);
}

static int show_usage(const char *group)
{
    struct buf out = BUF_INIT;

    cli_put_usage(&out, group);
    int status = cli_write(&out);
    buf_done(&out);
    return status;
}

/* ---- options before the verb ---- */

struct globals {
    char *config;
    bool wants_version, wants_help, is_verbose;
    int used; /* words taken */
};

static const char *global_at(size_t i, const void *arg)
{
    static const char *const names[] = {"config", "help", "version", "verbose", NULL};
    (void)arg;
    return names[i];
}

static int unknown_global(const char *word)
{
    const char *near = nearest_name(word + strspn(word, "-"), global_at, NULL);

    if (near)
        return cli_wrong_use(NULL, "unknown option %s; did you mean --%s?", word, near);
    return cli_wrong_use(NULL, "unknown option %s (those of a command stand behind it)", word);
}

static int parse_globals(struct globals *g, int argc, char **argv)
{
    int i = 0;

    for (; i < argc && argv[i][0] == '-'; i++) {
        const char *arg = argv[i];
        if (strcmp(arg, "--version") == 0 || strcmp(arg, "-V") == 0)
            g->wants_version = true;
        else if (strcmp(arg, "--verbose") == 0 || strcmp(arg, "-v") == 0)
            g->is_verbose = true;
        else if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)
            g->wants_help = true;
        else if (strncmp(arg, "--config=", 9) == 0)
            g->config = argv[i] + 9;
        else if ((strcmp(arg, "-c") == 0 || strcmp(arg, "--config") == 0) && i + 1 < argc)
            g->config = argv[++i];
        else if (strncmp(arg, "-c", 2) == 0 && arg[2])
            g->config = argv[i] + 2;
        else if (strcmp(arg, "-c") == 0 || strcmp(arg, "--config") == 0)
            return cli_wrong_use(NULL, "option %s needs a value (FILE)", arg);
        else
            return unknown_global(arg);
    }
    g->used = i;
    return -1;
}

/* "hook instal": a verb that is a group as well, and takes no operands. */
static bool is_misspelt(const struct cli_verb *verb, int argc, char **argv)
{
    return cli_is_group(verb->name) && argc > 0 && argv[0][0] != '-';
}

static int run_verb(const struct cli_verb *verb, const struct globals *g, int argc, char **argv)
{
    struct cli cli;
    /* "-c FILE" before the verb is the same as behind it; the later one counts. */
    int extra = g->config ? 2 : 0;
    char **all = mem_calloc((size_t)argc + 3, sizeof *all);
    static char dash_c[] = "-c";

    if (extra) {
        all[0] = dash_c;
        all[1] = g->config;
    }
    for (int i = 0; i < argc; i++)
        all[extra + i] = argv[i];
    int status = cli_parse(&cli, verb, argc + extra, all);
    if (status < 0)
        status = verb->run(&cli);
    cli_done(&cli);
    free(all);
    if (verb != &verb_hook) /* it writes by itself, and knows what a lost answer means */
        status = cli_flush(status);
    /* An agent goes on when its hook ends with any other code. */
    return verb == &verb_hook && status != EXITCODE_OK ? HOOK_EXIT_BLOCK : status;
}

int main(int argc, char **argv)
{
    static char help[] = "--help";
    struct globals g = {0};
    int words = 0;

    standard_fds_open_failing();
    signal(SIGPIPE,
           SIG_IGN); /* a closed pipe is an error of write(2); spawn gives children the default */
    int status = parse_globals(&g, argc - 1, argv + 1);
    if (status >= 0)
        return status;
    if (g.wants_version)
        return show_version(g.is_verbose);
    argc -= 1 + g.used;
    argv += 1 + g.used;
    if (argc > 0 && strcmp(argv[0], "help") == 0) { /* "help task add": "task add --help" */
        g.wants_help = true;
        argc--;
        argv++;
    }
    if (argc > 0 && cli_is_group(argv[0]) && !is_verb(argv[0]) &&
        ((g.wants_help && argc == 1) || (argc > 1 && is_help(argv[1]))))
        return show_usage(argv[0]);
    if (g.wants_help && argc == 0)
        return show_usage(NULL);
    if (argc == 0) {
        struct buf out = BUF_INIT;
        cli_put_usage(&out, NULL);
        fwrite(out.data, 1, out.len, stderr);
        buf_done(&out);
        return EXITCODE_USAGE;
    }
    if (strcmp(argv[0], WORK_KEEPER_VERB) == 0)
        return work_keeper_main();
    if (strcmp(argv[0], COMPLETE_VERB) == 0)
        return complete_main(argc - 1, argv + 1);
    const struct cli_verb *verb = cli_find_verb(argc, argv, &words);
    if (!verb)
        return unknown_verb(argc, argv);
    argc -= words;
    argv += words;
    if (g.wants_help)
        return run_verb(verb, &g, 1, (char *[]){help, NULL});
    if (is_misspelt(verb, argc, argv)) {
        unknown_verb(argc + words, argv - words);
        return verb == &verb_hook ? HOOK_EXIT_BLOCK : EXITCODE_USAGE;
    }
    return run_verb(verb, &g, argc, argv);
}

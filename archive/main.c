/*
 * main.c: claudebench-archive, the one program that has libpq. `claudebench archive …` executes it with its own command line, and
 * claudebench-worker with `-d archive` does (claudebench-worker(8)); it is not for people to call.
 */
#include "common/compat.h"
#include "client/archive_verbs.h"

#include "archive/worker.h"
#include "common/exitcode.h"
#include "common/standard_fds.h"
#include "common/utf8.h"

#include <signal.h>

const struct cli_verb *const cli_verbs[] = {
    &verb_archive_query, &verb_archive_status, &verb_archive_restore, &verb_archive_migrate, NULL,
};

/* PostgreSQL takes no text that is not UTF-8. The name of a file may be what it likes. Returns -1 to go on, or the exit code. */
static int check_text(const struct cli *cli)
{
    for (size_t i = 0; i < cli->nvalues; i++) {
        const struct cli_value *v = &cli->values[i];
        if (!v->value || strcmp(v->option->name, "config") == 0 ||
            utf8_valid_len(v->value, strlen(v->value)) == strlen(v->value))
            continue;
        cli_say("--%s is not UTF-8", v->option->name);
        return EXITCODE_DATAERR;
    }
    for (int i = 0; i < cli->noperands; i++)
        if (utf8_valid_len(cli->operands[i], strlen(cli->operands[i])) !=
            strlen(cli->operands[i])) {
            cli_say("\"%s\" is not UTF-8", cli->operands[i]);
            return EXITCODE_DATAERR;
        }
    return -1;
}

int main(int argc, char **argv)
{
    standard_fds_open_failing();
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of write(2) */
    if (argc == 2 && strcmp(argv[1], "-V") == 0) {
        printf("claudebench-archive %s\n", PACKAGE_VERSION);
        return EXITCODE_OK;
    }
    if (argc > 2 && strcmp(argv[1], "-d") == 0)
        return archive_worker_main(argc, argv);
    for (size_t i = 0; argc > 2 && cli_verbs[i]; i++) {
        struct cli cli;
        if (strcmp(argv[1], "archive") != 0 ||
            strcmp(strchr(cli_verbs[i]->name, ' ') + 1, argv[2]) != 0)
            continue;
        int status = cli_parse(&cli, cli_verbs[i], argc - 3, argv + 3);
        if (status < 0)
            status = check_text(&cli);
        if (status < 0)
            status = cli_verbs[i]->run(&cli);
        cli_done(&cli);
        return status;
    }
    fprintf(stderr,
            "claudebench-archive is what 'claudebench archive' executes; see claudebench(1).\n");
    return EXITCODE_USAGE;
}

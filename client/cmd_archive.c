/*
 * cmd_archive.c: claudebench archive …: executes claudebench-archive, the program that has libpq, with the same command line. It
 * lies beside this one (a build tree) or in libexec.
 */
#include "common/compat.h"
#include "client/archive_verbs.h"

#include "common/exitcode.h"
#include "common/mem.h"
#include "common/spawn.h"

#define PROGRAM "claudebench-archive"

static char *program_path(void)
{
    char dir[PATH_MAX];

    if (spawn_own_dir(dir, sizeof dir) == 0) {
        char *path = mem_printf("%s/" PROGRAM, dir);
        if (access(path, X_OK) == 0)
            return path;
        free(path);
    }
    return mem_strdup(CB_LIBEXECDIR "/claudebench/" PROGRAM);
}

/* The command line again from what was parsed of it: "archive status --json --config FILE -- …". */
static int run_program(const struct cli *cli)
{
    size_t n = 0;
    char **argv = mem_calloc(5 + cli->nvalues + (size_t)cli->noperands, sizeof *argv);

    argv[n++] = mem_strdup("claudebench");
    argv[n++] = mem_strdup("archive");
    argv[n++] = mem_strdup(strchr(cli->verb->name, ' ') + 1);
    for (size_t i = 0; i < cli->nvalues; i++) {
        const struct cli_value *v = &cli->values[i];
        argv[n++] = v->value ? mem_printf("--%s=%s", v->option->name, v->value)
                             : mem_printf("--%s", v->option->name);
    }
    argv[n++] = mem_strdup("--");
    for (int i = 0; i < cli->noperands; i++)
        argv[n++] = mem_strdup(cli->operands[i]);
    char *path = program_path();
    execv(path, argv);
    int failed = errno;
    cli_say("%s: %s%s", path, strerror(failed),
            failed == ENOENT ? "; is this build without PostgreSQL?" : "");
    free(path);
    for (size_t i = 0; i < n; i++)
        free(argv[i]);
    free(argv);
    return EXITCODE_UNAVAILABLE;
}

int archive_status_run(const struct cli *cli)
{
    return run_program(cli);
}

int archive_migrate_run(const struct cli *cli)
{
    return run_program(cli);
}

/*
 * helper_program.c: see helper_program.h.
 */
#include "common/compat.h"
#include "client/helper_program.h"

#include "common/exitcode.h"
#include "common/mem.h"
#include "common/spawn.h"

#include <signal.h>

static char *find(const char *program)
{
    char dir[PATH_MAX];

    if (spawn_own_dir(dir, sizeof dir) == 0) {
        char *path = mem_printf("%s/%s", dir, program);
        if (access(path, X_OK) == 0)
            return path;
        free(path);
    }
    return mem_printf(CB_LIBEXECDIR "/claudebench/%s", program);
}

/* "archive status --json --config=FILE -- …" */
static char **make_argv(const char *const *words, const struct cli *cli)
{
    size_t n = 0, len = 0;

    while (words[len])
        len++;
    char **argv = mem_calloc(len + cli->nvalues + (size_t)cli->noperands + 2, sizeof *argv);
    while (n < len) {
        argv[n] = mem_strdup(words[n]);
        n++;
    }
    for (size_t i = 0; i < cli->nvalues; i++) {
        const struct cli_value *v = &cli->values[i];
        argv[n++] = v->value ? mem_printf("--%s=%s", v->option->name, v->value)
                             : mem_printf("--%s", v->option->name);
    }
    argv[n++] = mem_strdup("--");
    for (int i = 0; i < cli->noperands; i++)
        argv[n++] = mem_strdup(cli->operands[i]);
    return argv;
}

int helper_program_run(const char *program, const char *const *words, const struct cli *cli,
                       const char *if_absent)
{
    char **argv = make_argv(words, cli);
    char *path CB_CLEANUP(mem_free_ptr) = find(program);

    signal(SIGPIPE, SIG_DFL); /* each program decides for itself */
    execv(path, argv);
    int failed = errno;
    cli_say("%s: %s%s", path, strerror(failed), failed == ENOENT ? if_absent : "");
    for (char **arg = argv; *arg; arg++)
        free(*arg);
    free(argv);
    return EXITCODE_UNAVAILABLE;
}

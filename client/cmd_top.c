/*
 * cmd_top.c: claudebench top: executes claudebench-top, the program that has ncurses, with the same command line.
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/helper_program.h"

int top_run(const struct cli *cli)
{
    static const char *const words[] = {"claudebench-top", NULL};

    return helper_program_run("claudebench-top", words, cli,
                              "; this build is without ncurses: see claudebench status --watch");
}

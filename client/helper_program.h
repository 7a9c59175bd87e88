/*
 * helper_program.h: verbs that need a library that others should not load (ncurses, libpq) are programs of their own, which claudebench executes.
 */
#ifndef CB_HELPER_PROGRAM_H
#define CB_HELPER_PROGRAM_H

#include "client/cli.h"

/*
 * Executes `program`, which lies beside this one (a build tree) or in libexec, with `words` (NULL-terminated, the first one its name) and the
 * command line again as it was parsed. Returns only when that is not possible: 69, after a message, to which `if_absent` is added when
 * there is no such program.
 */
int helper_program_run(const char *program, const char *const *words, const struct cli *cli,
                       const char *if_absent);

#endif

/*
 * standard_fds.c: /dev/null for those of 0, 1 and 2 that whoever started us has closed.
 */
#include "common/compat.h"
#include "common/standard_fds.h"

#include <fcntl.h>
#include <unistd.h>

/* Each open() takes the lowest free number: the first that is above 2 says that none was left. */
static void open_null(int flags_of_stdin, int flags_of_others)
{
    int fd;

    do {
        bool is_stdin_closed = fcntl(STDIN_FILENO, F_GETFD) < 0;
        fd = open("/dev/null", (is_stdin_closed ? flags_of_stdin : flags_of_others) | O_NOCTTY);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

void standard_fds_open_silent(void)
{
    open_null(O_RDWR, O_RDWR);
}

/* The wrong way round, so that read(2) and write(2) give EBADF. */
void standard_fds_open_failing(void)
{
    open_null(O_WRONLY, O_RDONLY);
}

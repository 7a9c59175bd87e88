/*
 * daemonize.c: see daemonize.h. The child tells the parent through a pipe; its end without a word is the
 * child's end, whose exit code the parent then takes over. Errors until then go to the parent's stderr,
 * which the child still has.
 */
#include "common/compat.h"
#include "supervisor/daemonize.h"

#include "common/exitcode.h"

#include <fcntl.h>
#include <sys/wait.h>

static int ready_fd = -1;
static bool is_on;

static CB_NORETURN void fail(const char *what)
{
    fprintf(stderr, "claudebenchd: %s: %s\n", what, strerror(errno));
    exit(EXITCODE_SOFTWARE);
}

static int child_code(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXITCODE_SOFTWARE;
}

/* The child's word: "" = ready, else why not. Its end without a word is its death. */
static CB_NORETURN void wait_for_child(pid_t pid, int fd)
{
    char text[256];
    ssize_t n;

    do
        n = read(fd, text, sizeof text - 1);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        _exit(child_code(pid));
    text[n] = '\0';
    if (text[0])
        fprintf(stderr, "claudebenchd: started (pid %ld), but not ready yet: %s\n", (long)pid,
                text);
    _exit(EXITCODE_OK);
}

void daemonize_start(void)
{
    int pair[2];

    if (pipe2(pair, O_CLOEXEC) < 0)
        fail("pipe");
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        fail("fork");
    if (pid > 0) {
        close(pair[1]);
        wait_for_child(pid, pair[0]);
    }
    close(pair[0]);
    ready_fd = pair[1];
    is_on = true;
    if (setsid() < 0 || chdir("/") < 0)
        fail("setsid");
}

void daemonize_resume(void)
{
    is_on = true;
}

/* One write of the text with its NUL. */
static void tell_parent(const char *text)
{
    if (ready_fd < 0)
        return;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (null >= 0) {
        for (int fd = 0; fd < 3; fd++)
            dup2(null, fd);
        close(null);
    }
    ssize_t ignored = write(ready_fd, text, strnlen(text, 250) + 1);
    (void)ignored;
    close(ready_fd);
    ready_fd = -1;
}

void daemonize_ready(void)
{
    tell_parent("");
}

void daemonize_not_ready(const char *why)
{
    tell_parent(why[0] ? why : "unknown");
}

bool daemonize_is_on(void)
{
    return is_on;
}

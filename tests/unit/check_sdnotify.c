/*
 * check_sdnotify.c: common/sdnotify: messages arrive whole, nothing happens without a socket, children do
 * not inherit the variables, and nobody waits for a service manager that does not read.
 */
#include "common/compat.h"
#include "common/sdnotify.h"

#include "tests/unit/unit.h"

#include <sys/socket.h>
#include <sys/un.h>

/* A socket as systemd has it; '@' stands for the NUL of an abstract name. */
static int listen_as_manager(const char *name)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    memcpy(addr.sun_path, name, len);
    if (name[0] == '@')
        addr.sun_path[0] = '\0';
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, size), 0);
    return fd;
}

static void receive(int fd, char out[600])
{
    ssize_t n = recv(fd, out, 599, 0);
    out[n > 0 ? n : 0] = '\0';
}

static void name_of(const char *kind, char out[100])
{
    snprintf(out, 100, "%scb-notify-%s-%ld", kind[0] == '@' ? "@" : "/tmp/", kind + 1,
             (long)getpid());
}

static void exchange(const char *kind)
{
    char name[100];
    char got[600];

    name_of(kind, name);
    int fd = listen_as_manager(name);
    setenv("NOTIFY_SOCKET", name, 1);
    sdnotify_init();
    sdnotify_send("READY=1\nMAINPID=%d", 42);
    receive(fd, got);
    ck_assert_str_eq(got, "READY=1\nMAINPID=42");
    sdnotify_send("STATUS=%0600d", 1); /* longer than a message may be: cut, not lost */
    receive(fd, got);
    ck_assert_uint_eq(strlen(got), 511);
    ck_assert_ptr_null(getenv("NOTIFY_SOCKET"));
    sdnotify_done();
    sdnotify_send("STOPPING=1");
    receive(fd, got);
    ck_assert_str_eq(got, "");
    close(fd);
    unlink(name);
}

START_TEST(by_path)
{
    exchange("/path");
}
END_TEST

START_TEST(by_abstract_name)
{
    exchange("@abstract");
}
END_TEST

START_TEST(without_a_manager)
{
    static const char *const bad[] = {"", "/", "relative", "/does/not/exist", "@"};

    unsetenv("NOTIFY_SOCKET");
    sdnotify_init();
    sdnotify_send("READY=1");
    ck_assert_int_eq(sdnotify_watchdog_ms(), 0);
    for (size_t i = 0; i < CB_ARRAY_LEN(bad); i++) {
        setenv("NOTIFY_SOCKET", bad[i], 1);
        sdnotify_init();
        sdnotify_send("READY=1");
    }
    sdnotify_done();
    sdnotify_done();
}
END_TEST

START_TEST(a_manager_that_does_not_read)
{
    char name[100];

    name_of("/deaf", name);
    int fd = listen_as_manager(name);
    setenv("NOTIFY_SOCKET", name, 1);
    sdnotify_init();
    for (int i = 0; i < 10000; i++)
        sdnotify_send("WATCHDOG=1");
    sdnotify_done();
    close(fd);
    unlink(name);
}
END_TEST

START_TEST(watchdog)
{
    char name[100];
    char pid[24];

    name_of("/dog", name);
    int fd = listen_as_manager(name);
    setenv("NOTIFY_SOCKET", name, 1);
    setenv("WATCHDOG_USEC", "3000000", 1);
    unsetenv("WATCHDOG_PID");
    sdnotify_init();
    ck_assert_int_eq(sdnotify_watchdog_ms(), 1500);
    ck_assert_ptr_null(getenv("WATCHDOG_USEC"));

    setenv("NOTIFY_SOCKET", name, 1);
    setenv("WATCHDOG_USEC", "3000000", 1);
    setenv("WATCHDOG_PID", "1", 1); /* somebody else is meant */
    sdnotify_init();
    ck_assert_int_eq(sdnotify_watchdog_ms(), 0);

    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    setenv("NOTIFY_SOCKET", name, 1);
    setenv("WATCHDOG_USEC", "1000000", 1);
    setenv("WATCHDOG_PID", pid, 1);
    sdnotify_init();
    ck_assert_int_eq(sdnotify_watchdog_ms(), 500);
    sdnotify_done();
    close(fd);
    unlink(name);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, by_path);
    tcase_add_test(tc, by_abstract_name);
    tcase_add_test(tc, without_a_manager);
    tcase_add_test(tc, a_manager_that_does_not_read);
    tcase_add_test(tc, watchdog);
}

UNIT_MAIN("sdnotify", add_tests)

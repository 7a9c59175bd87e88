/*
 * check_lockfile.c: lockfile, pidfile and secret: one holder at a time, over forks and deaths;
 * secrets are drawn once, whole, with their mode.
 */
#include "common/compat.h"
#include "common/lockfile.h"

#include "common/exitcode.h"
#include "supervisor/pidfile.h"
#include "supervisor/secret.h"
#include "tests/unit/unit.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char dir[] = "/tmp/cb-lock-XXXXXX";
static char path[64];

static void setup(void)
{
    memcpy(dir + sizeof dir - 7, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/file", dir);
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(one_holder)
{
    struct cb_error err = {0};
    pid_t holder = 0;
    int fd = lockfile_open(path, &holder, &err);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(lockfile_write_pid(fd, path, &err), 0);
    ck_assert_int_eq(lockfile_open(path, &holder, &err), -1);
    ck_assert_int_eq(err.code, EWOULDBLOCK);
    ck_assert_int_eq(holder, getpid());
    close(fd);
    fd = lockfile_open(path, &holder, &err);
    ck_assert_int_ge(fd, 0);
    close(fd);
}
END_TEST

/* The holder writes its pid a moment after it has the lock. */
START_TEST(a_pid_that_is_not_written_yet_is_waited_for)
{
    struct cb_error err = {0};
    pid_t holder = 0;
    int fd = lockfile_open(path, NULL, &err);
    pid_t writer = fork();

    if (writer == 0) {
        usleep(50000);
        _exit(lockfile_write_pid(fd, path, &err) == 0 ? 0 : 1);
    }
    ck_assert_int_eq(lockfile_open(path, &holder, &err), -1);
    ck_assert_int_eq(holder, writer);
    ck_assert_int_eq(waitpid(writer, NULL, 0), writer);
    close(fd);
}
END_TEST

/* A child that inherited the descriptor keeps the lock, until it dies too. */
START_TEST(the_lock_lives_as_long_as_the_last_heir)
{
    struct cb_error err = {0};
    int fd = lockfile_open(path, NULL, &err);
    pid_t heir = fork();

    if (heir == 0) {
        pause();
        _exit(0);
    }
    close(fd);
    ck_assert_int_eq(lockfile_open(path, NULL, &err), -1);
    kill(heir, SIGKILL);
    waitpid(heir, NULL, 0);
    fd = lockfile_open(path, NULL, &err);
    ck_assert_int_ge(fd, 0);
    close(fd);
}
END_TEST

START_TEST(links_and_folders_are_refused)
{
    struct cb_error err = {0};

    ck_assert_int_eq(symlink("/dev/null", path), 0);
    ck_assert_int_eq(lockfile_open(path, NULL, &err), -1);
    ck_assert_int_eq(lockfile_open(dir, NULL, &err), -1);
    ck_assert_int_eq(lockfile_open("/does/not/exist", NULL, &err), -1);
    ck_assert_int_eq(err.code, ENOENT);
}
END_TEST

START_TEST(pid_files)
{
    struct pidfile p = PIDFILE_INIT;
    struct pidfile q = PIDFILE_INIT;
    struct cb_error err = {0};
    char wanted[64];
    struct stat st;

    ck_assert_int_eq(pidfile_open(&p, path, &err), 0);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0644);
    ck_assert_int_eq(pidfile_open(&q, path, &err), -1);
    ck_assert_int_eq(err.code, EXITCODE_TEMPFAIL);
    snprintf(wanted, sizeof wanted, "already running, pid %ld", (long)getpid());
    ck_assert_ptr_nonnull(strstr(err.text, wanted));
    pidfile_close(&p);
    ck_assert_int_eq(stat(path, &st), -1);
    pidfile_close(&p); /* again */
}
END_TEST

/* One that somebody has put in our place is not ours to remove. */
START_TEST(a_foreign_pid_file_stays)
{
    struct pidfile p = PIDFILE_INIT;
    struct stat st;

    ck_assert_int_eq(pidfile_open(&p, path, NULL), 0);
    unlink(path);
    FILE *f = fopen(path, "w");
    fclose(f);
    pidfile_close(&p);
    ck_assert_int_eq(stat(path, &st), 0);
}
END_TEST

START_TEST(secrets)
{
    struct cb_error err = {0};
    char *first = NULL;
    char *second = NULL;
    char hash[65];
    struct stat st;

    ck_assert_int_eq(secret_load(path, 0640, &first, &err), 0);
    ck_assert_uint_eq(strlen(first), SECRET_LEN);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0640);
    ck_assert_int_eq(secret_load(path, 0640, &second, &err), 0);
    ck_assert_str_eq(first, second);
    free(first);
    free(second);
    secret_hash("abc", hash);
    ck_assert_str_eq(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
END_TEST

START_TEST(spoilt_secrets_are_not_replaced)
{
    static const char *const texts[] = {"", "\n", "short\n"};
    struct cb_error err = {0};
    char *secret = NULL;

    for (size_t i = 0; i < CB_ARRAY_LEN(texts); i++) {
        FILE *f = fopen(path, "w");
        fputs(texts[i], f);
        fclose(f);
        ck_assert_int_eq(secret_load(path, 0600, &secret, &err), -1);
        ck_assert_ptr_null(secret);
        ck_assert_ptr_nonnull(strstr(err.text, path));
    }
    ck_assert_int_eq(secret_load("/does/not/exist/secret", 0600, &secret, &err), -1);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, one_holder);
    tcase_add_test(tc, a_pid_that_is_not_written_yet_is_waited_for);
    tcase_add_test(tc, the_lock_lives_as_long_as_the_last_heir);
    tcase_add_test(tc, links_and_folders_are_refused);
    tcase_add_test(tc, pid_files);
    tcase_add_test(tc, a_foreign_pid_file_stays);
    tcase_add_test(tc, secrets);
    tcase_add_test(tc, spoilt_secrets_are_not_replaced);
}

UNIT_MAIN("lockfile", add_tests)

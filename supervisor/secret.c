/*
 * secret.c: see secret.h.
 */
#include "common/compat.h"
#include "supervisor/secret.h"

#include "common/mem.h"
#include "common/paths.h"
#include "common/rnd.h"

#include <fcntl.h>
#include <sha2.h>
#include <sys/stat.h>

static int sync_dir_of(const char *path)
{
    char *dir CB_CLEANUP(mem_free_ptr) = paths_dirname(path);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return -1;
    int result = fsync(fd);
    close(fd);
    return result;
}

static int write_new(const char *path, mode_t mode, const char *secret)
{
    char line[SECRET_LEN + 2];
    int len = snprintf(line, sizeof line, "%s\n", secret);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return -1;
    int result = -1;
    if (write(fd, line, (size_t)len) == len && fchmod(fd, mode) == 0 && fsync(fd) == 0)
        result = 0;
    int saved = errno;
    close(fd);
    explicit_bzero(line, sizeof line);
    errno = saved;
    return result;
}

static int create(const char *path, mode_t mode, char **ret, struct cb_error *err)
{
    char *temporary CB_CLEANUP(mem_free_ptr) = mem_printf("%s.new", path);
    char secret[SECRET_LEN + 1];

    rnd_token(secret, SECRET_LEN);
    if (write_new(temporary, mode, secret) < 0 || rename(temporary, path) < 0 ||
        sync_dir_of(path) < 0) {
        int saved = errno;
        unlink(temporary);
        return cb_error_set(err, saved, "%s: %s", path, strerror(saved));
    }
    *ret = mem_strdup(secret);
    explicit_bzero(secret, sizeof secret);
    return 0;
}

/* err->code is ENOENT when there is none. */
static int read_secret(const char *path, char **ret, struct cb_error *err)
{
    char line[256];
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return cb_error_set(err, errno, "%s: %s", path, strerror(errno));
    ssize_t n = read(fd, line, sizeof line - 1);
    int saved = errno;
    close(fd);
    if (n < 0)
        return cb_error_set(err, saved, "%s: %s", path, strerror(saved));
    line[n] = '\0';
    line[strcspn(line, "\r\n")] = '\0';
    if (strlen(line) < 16)
        return cb_error_set(err, EINVAL, "%s: the secret is empty or too short", path);
    *ret = mem_strdup(line);
    explicit_bzero(line, sizeof line);
    return 0;
}

int secret_load(const char *path, mode_t mode, char **ret, struct cb_error *err)
{
    struct cb_error why = {0};

    if (read_secret(path, ret, &why) == 0)
        return 0;
    if (why.code == ENOENT)
        return create(path, mode, ret, err);
    return cb_error_set(err, why.code, "%s", why.text);
}

int secret_check(const char *path, struct cb_error *err)
{
    struct cb_error why = {0};
    char *secret = NULL;

    if (read_secret(path, &secret, &why) < 0)
        return why.code == ENOENT ? 0 : cb_error_set(err, why.code, "%s", why.text);
    explicit_bzero(secret, strlen(secret));
    free(secret);
    return 0;
}

void secret_hash(const char *secret, char out[65])
{
    SHA256Data((const uint8_t *)secret, strlen(secret), out);
}

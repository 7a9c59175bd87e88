/*
 * syncshim.c: how much of the append only file a power cut would have left: preloaded into redis-server, it writes the
 * length that the file had before each fsync that succeeded into the file that CBTEST_SYNCED names, as one decimal
 * number (tests/t5/redis_data.py).
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef int sync_fn(int);

static int is_incremental(int fd)
{
    char link[40];
    char path[4096];

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 9)
        return 0;
    path[n] = '\0';
    return strcmp(path + n - 9, ".incr.aof") == 0;
}

static void note(long long size)
{
    static int out = -1;
    const char *path = getenv("CBTEST_SYNCED");
    char text[32];
    int len = snprintf(text, sizeof text, "%-20lld\n", size);

    if (out < 0 && path)
        out = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (out >= 0 && pwrite(out, text, (size_t)len, 0) < 0)
        abort();
}

static int synced(sync_fn *next, int fd)
{
    struct stat st;
    int is_ours = is_incremental(fd) && fstat(fd, &st) == 0;
    int result = next(fd);

    if (is_ours && result == 0)
        note((long long)st.st_size);
    return result;
}

int fdatasync(int fd)
{
    return synced((sync_fn *)dlsym(RTLD_NEXT, "fdatasync"), fd);
}

int fsync(int fd)
{
    return synced((sync_fn *)dlsym(RTLD_NEXT, "fsync"), fd);
}

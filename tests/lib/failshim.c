/*
 * failshim.c: forks, threads and memory that fail in a program under test (LD_PRELOAD), as the file that CBTEST_FAIL
 * names says at that moment (tests/lib/shortage.py writes it). The file is shared memory, so that looking at it costs
 * nothing and a test flips it while the program runs. It concerns the programs whose names stand in CBTEST_FAIL_ONLY
 * ("claudebenchd:claudebench-worker"), since children inherit both variables.
 *
 * Draws come from the seed in the file and from how many of these programs had been started before, so that a run can
 * be repeated, and a program that is started again does not die at the same allocation for ever.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Each of them a little-endian word; shortage.py knows the order. */
struct plan {
    _Atomic uint32_t seed;
    _Atomic uint32_t forks;       /* of a thousand forks and threads, so many fail */
    _Atomic uint32_t allocations; /* of a million allocations */
    _Atomic uint32_t least;       /* …that are at least so large */
    _Atomic uint32_t above;       /* allocations of more bytes fail; 0 = none for its size */
    _Atomic uint32_t started;     /* programs so far */
    _Atomic uint32_t failed;      /* calls that failed, as the test may ask */
};

static struct plan *plan;
static uint32_t number;
static _Atomic uint64_t draws;

static bool concerns_us(void)
{
    const char *only = getenv("CBTEST_FAIL_ONLY");
    const char *name = program_invocation_short_name;
    size_t len = strlen(name);

    for (const char *p = only; p && *p; p += *p == ':') {
        size_t n = strcspn(p, ":");
        if (n == len && memcmp(p, name, n) == 0)
            return true;
        p += n;
    }
    return false;
}

__attribute__((constructor)) static void open_plan(void)
{
    const char *path = getenv("CBTEST_FAIL");
    int fd = path && concerns_us() ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *at;

    if (fd < 0)
        return;
    at = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED)
        return;
    plan = at;
    number = atomic_fetch_add(&plan->started, 1);
}

/* splitmix64 of (seed, program, draw). */
static bool draw(uint32_t share, uint32_t of)
{
    uint64_t x;

    if (share == 0)
        return false;
    x = ((uint64_t)atomic_load(&plan->seed) << 32 | number) +
        0x9e3779b97f4a7c15u * (atomic_fetch_add(&draws, 1) + 1);
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    x ^= x >> 31;
    if (x % of >= share)
        return false;
    atomic_fetch_add(&plan->failed, 1);
    return true;
}

static bool fails_to_fork(void)
{
    return plan && draw(atomic_load(&plan->forks), 1000);
}

static bool fails_to_allocate(size_t size)
{
    if (!plan)
        return false;
    uint32_t above = atomic_load(&plan->above);
    bool is_drawn = size >= atomic_load(&plan->least);
    if ((above && size > above) || (is_drawn && draw(atomic_load(&plan->allocations), 1000000))) {
        errno = ENOMEM;
        return true;
    }
    return false;
}

/* The next one of that name: not libc's own, since redis-server brings another allocator. */
#define NEXT(type, name)                                                                           \
    static type *next;                                                                             \
    if (!next)                                                                                     \
    next = (type *)dlsym(RTLD_NEXT, name)

typedef void *malloc_fn(size_t);
typedef void *calloc_fn(size_t, size_t);
typedef void *realloc_fn(void *, size_t);
typedef pid_t fork_fn(void);
typedef int spawn_fn(pid_t *, const char *, const posix_spawn_file_actions_t *,
                     const posix_spawnattr_t *, char *const[], char *const[]);
typedef int thread_fn(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

void *malloc(size_t size)
{
    NEXT(malloc_fn, "malloc");
    return fails_to_allocate(size) ? NULL : next(size);
}

void *calloc(size_t count, size_t size)
{
    NEXT(calloc_fn, "calloc");
    return fails_to_allocate(count * size) ? NULL : next(count, size);
}

void *realloc(void *ptr, size_t size)
{
    NEXT(realloc_fn, "realloc");
    return fails_to_allocate(size) ? NULL : next(ptr, size);
}

pid_t fork(void)
{
    NEXT(fork_fn, "fork");
    if (!fails_to_fork())
        return next();
    errno = EAGAIN;
    return -1;
}

pid_t vfork(void)
{
    return fork();
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
    NEXT(spawn_fn, "posix_spawn");
    return fails_to_fork() ? EAGAIN : next(pid, path, actions, attr, argv, envp);
}

int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
    NEXT(spawn_fn, "posix_spawnp");
    return fails_to_fork() ? EAGAIN : next(pid, file, actions, attr, argv, envp);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
    NEXT(thread_fn, "pthread_create");
    return fails_to_fork() ? EAGAIN : next(thread, attr, run, arg);
}

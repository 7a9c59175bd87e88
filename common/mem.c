/*
 * mem.c: see mem.h. Used by everything; owns nothing.
 */
#include "common/compat.h"
#include "common/mem.h"

#include "common/exitcode.h"

static CB_NORETURN void out_of_memory(size_t size)
{
    char line[96];
    int n = snprintf(line, sizeof line, "event=out_of_memory bytes=%zu next=exit code=%d\n", size,
                     EXITCODE_NOMEM);
    ssize_t ignored = write(STDERR_FILENO, line, (size_t)n);
    (void)ignored;
    _exit(EXITCODE_NOMEM);
}

void *mem_alloc(size_t size)
{
    return mem_calloc(1, size);
}

void *mem_calloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);
    if (!p)
        out_of_memory(count * size);
    return p;
}

void *mem_realloc(void *ptr, size_t size)
{
    void *p = realloc(ptr, size ? size : 1);
    if (!p)
        out_of_memory(size);
    return p;
}

char *mem_strdup(const char *s)
{
    return mem_strndup(s, strlen(s));
}

char *mem_strndup(const char *s, size_t len)
{
    char *p = mem_alloc(len + 1);
    if (len)
        memcpy(p, s, len);
    return p;
}

char *mem_printf(const char *fmt, ...)
{
    va_list ap;
    char *p = NULL;
    va_start(ap, fmt);
    int n = vasprintf(&p, fmt, ap);
    va_end(ap);
    if (n < 0)
        out_of_memory(0);
    return p;
}

void *mem_must(void *made)
{
    if (!made)
        out_of_memory(0);
    return made;
}

void mem_must_be(bool is_made)
{
    if (!is_made)
        out_of_memory(0);
}

void *mem_malloc(size_t size)
{
    void *p = malloc(size ? size : 1);
    if (!p)
        out_of_memory(size);
    return p;
}

void mem_free_ptr(void *pointer_to_pointer)
{
    void **p = pointer_to_pointer;
    free(*p);
    *p = NULL;
}

/*
 * mem.h: allocation that cannot fail.
 *
 * Out of memory ends the process with EXITCODE_NOMEM after one line on stderr: every request that
 * was not acked is handed on by the supervisor, so dying is the safe answer.
 */
#ifndef CB_MEM_H
#define CB_MEM_H

#include <stdbool.h>
#include <stddef.h>

/* Zeroed memory. A size of 0 gives a unique pointer. The caller frees with free(). */
void *mem_alloc(size_t size);
/* `count` zeroed elements; an overflow of count × size counts as out of memory. */
void *mem_calloc(size_t count, size_t size);
void *mem_realloc(void *ptr, size_t size);
char *mem_strdup(const char *s);
/* Copies `len` bytes and appends a NUL. */
char *mem_strndup(const char *s, size_t len);
/* printf into a new string. */
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* What a library has made, or failed to make for want of memory. */
void *mem_must(void *made);
void mem_must_be(bool is_made);
/* malloc() for libraries that let us give them one. */
void *mem_malloc(size_t size);
/* CB_CLEANUP helper: frees a heap pointer at the end of the scope. */
void mem_free_ptr(void *pointer_to_pointer);

#endif

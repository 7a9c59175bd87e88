/*
 * compat.h: the one header that every file includes first.
 *
 * It pulls in config.h and the common C headers, then bans functions that have no safe use here
 * (unbounded writes, hidden static state), and defines the cleanup attributes for foreign objects
 * that live in one scope. Nothing else belongs in it.
 */
#ifndef CB_COMPAT_H
#define CB_COMPAT_H

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#pragma GCC poison strcpy strcat sprintf vsprintf strtok gets strncat atoi atol atof

#define CB_PRINTF(fmt_index, first_arg) __attribute__((format(printf, fmt_index, first_arg)))
#define CB_NORETURN                     __attribute__((noreturn))
#define CB_CLEANUP(fn)                  __attribute__((cleanup(fn)))
#define CB_ARRAY_LEN(a)                 (sizeof(a) / sizeof((a)[0]))

/* A bug, not an event: says where, and aborts. Stays on in release builds. */
#define cb_assert(cond)                                                                            \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: assertion failed: %s\n", __FILE__, __LINE__, #cond);           \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif

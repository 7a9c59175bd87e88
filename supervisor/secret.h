/*
 * secret.h: secrets that are drawn once and kept in files: the passwords of the embedded Redis, and what
 * proves that a restarted supervisor is the same instance.
 */
#ifndef CB_SECRET_H
#define CB_SECRET_H

#include "common/err.h"

#include <sys/types.h>

enum { SECRET_LEN = 43 }; /* characters of 6 random bits: 258 bits */

/* Reads the first line of the file; when there is no file, draws a secret and creates it with `mode`,
 * whole or not at all. The caller frees *ret. Returns 0 or -1 (err->code is an errno). */
int secret_load(const char *path, mode_t mode, char **ret, struct cb_error *err);
/* Whether the file, when there is one, can be read and holds a secret. Returns 0 or -1 (err->code is an errno). */
int secret_check(const char *path, struct cb_error *err);
/* SHA-256 in 64 hex digits. */
void secret_hash(const char *secret, char out[65]);

#endif

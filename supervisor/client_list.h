/*
 * client_list.h: finds connections by name in the text of CLIENT LIST.
 */
#ifndef CB_CLIENT_LIST_H
#define CB_CLIENT_LIST_H

#include <stdint.h>

/* Calls fn with the id of each connection of exactly that name. */
typedef void client_list_fn(void *arg, int64_t id);
void client_list_find(const char *text, const char *name, client_list_fn *fn, void *arg);

/* Calls fn with id and name of each connection whose name begins so. */
typedef void client_list_name_fn(void *arg, int64_t id, const char *name);
void client_list_find_prefix(const char *text, const char *prefix, client_list_name_fn *fn,
                             void *arg);

#endif

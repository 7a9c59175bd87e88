/*
 * client_list.c: see client_list.h. A line is "id=7 addr=… name=… age=…"; names have no spaces (Redis
 * refuses them).
 */
#include "common/compat.h"
#include "supervisor/client_list.h"

/* The value of ` key=` in a line of `len` bytes; NULL when there is none. */
static const char *find_value(const char *line, size_t len, const char *key, size_t *ret_len)
{
    size_t key_len = strlen(key);
    const char *end = line + len;

    for (const char *p = line; p < end;) {
        size_t word = strcspn(p, " \n");
        if (word > key_len && p[key_len] == '=' && memcmp(p, key, key_len) == 0) {
            *ret_len = word - key_len - 1;
            return p + key_len + 1;
        }
        p += word + 1;
    }
    return NULL;
}

void client_list_find_prefix(const char *text, const char *prefix, client_list_name_fn *fn,
                             void *arg)
{
    size_t prefix_len = strlen(prefix);

    while (*text) {
        size_t len = strcspn(text, "\n");
        size_t id_len = 0;
        size_t name_len = 0;
        const char *id = find_value(text, len, "id", &id_len);
        const char *name = find_value(text, len, "name", &name_len);
        char copy[256];
        if (id && name && name_len >= prefix_len && name_len < sizeof copy &&
            memcmp(name, prefix, prefix_len) == 0) {
            memcpy(copy, name, name_len);
            copy[name_len] = '\0';
            fn(arg, strtoll(id, NULL, 10), copy);
        }
        text += len + (text[len] == '\n');
    }
}

struct exact {
    const char *name;
    client_list_fn *fn;
    void *arg;
};

static void match_exact(void *arg, int64_t id, const char *name)
{
    const struct exact *e = arg;
    if (strcmp(name, e->name) == 0)
        e->fn(e->arg, id);
}

void client_list_find(const char *text, const char *name, client_list_fn *fn, void *arg)
{
    struct exact e = {.name = name, .fn = fn, .arg = arg};
    client_list_find_prefix(text, name, match_exact, &e);
}

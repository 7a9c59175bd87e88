/*
 * suggest.c: see suggest.h. First what people call it elsewhere ("delete", "ls") and words without their group ("stop"), which
 * are meant so; then what is near by its letters, within the group if there is one. Owns nothing.
 */
#include "common/compat.h"
#include "client/suggest.h"

#include "client/cli.h"
#include "common/mem.h"
#include "common/nearest.h"

enum { NEAR_MIN = 3 }; /* letters of what a slip may have been meant as */

/* Words for the same thing; one of them is ours. */
static const char *const synonyms[][5] = {
    {"rm", "remove", "delete", "del"},
    {"list", "ls"},
    {"show", "get"},
    {"add", "create", "new"},
};

static bool has_synonym(size_t set, const char *word)
{
    for (size_t i = 0; i < CB_ARRAY_LEN(synonyms[set]) && synonyms[set][i]; i++)
        if (strcmp(synonyms[set][i], word) == 0)
            return true;
    return false;
}

static bool is_same(const char *a, const char *b)
{
    if (strcmp(a, b) == 0)
        return true;
    for (size_t set = 0; set < CB_ARRAY_LEN(synonyms); set++)
        if (has_synonym(set, a) && has_synonym(set, b))
            return true;
    return false;
}

/* ---- lists of words ---- */

enum { WORDS_MAX = 127 };

struct words {
    char *at[WORDS_MAX + 1]; /* NULL-terminated */
    size_t n;
};

static void words_done(struct words *w)
{
    for (size_t i = 0; i < w->n; i++)
        free(w->at[i]);
}

static void words_add(struct words *w, const char *word, size_t len)
{
    for (size_t i = 0; i < w->n; i++)
        if (strlen(w->at[i]) == len && memcmp(w->at[i], word, len) == 0)
            return;
    cb_assert(w->n < WORDS_MAX);
    w->at[w->n++] = mem_strndup(word, len);
}

static const char *word_at(size_t i, const void *arg)
{
    const struct words *w = arg;
    return w->at[i];
}

/* ---- verbs ---- */

/* The second word of a verb of `group` (NULL: of any), by its name or the other one that it has; else NULL. */
static const char *second_word(const char *name, const char *group)
{
    size_t len = name ? strcspn(name, " ") : 0;

    if (!name || !name[len] || (group && (strlen(group) != len || memcmp(name, group, len) != 0)))
        return NULL;
    return name + len + 1;
}

/* The names of the verbs that are called so behind their group. */
static void add_called(struct words *out, const char *group, const char *word)
{
    for (size_t i = 0; cli_verbs[i]; i++) {
        const char *own = second_word(cli_verbs[i]->name, group);
        const char *also = second_word(cli_verbs[i]->also, group);
        if (own && (is_same(own, word) || (also && strcmp(also, word) == 0)))
            words_add(out, cli_verbs[i]->name, strlen(cli_verbs[i]->name));
    }
}

static void add_in_group(struct words *out, const char *group, const char *word)
{
    struct words known CB_CLEANUP(words_done) = {.n = 0};

    add_called(out, group, word);
    for (size_t i = 0; cli_verbs[i]; i++) {
        const char *const names[] = {cli_verbs[i]->name, cli_verbs[i]->also};
        for (size_t k = 0; k < CB_ARRAY_LEN(names); k++) {
            const char *second = second_word(names[k], group);
            if (second && strlen(second) >= NEAR_MIN)
                words_add(&known, second, strlen(second));
        }
    }
    const char *near = out->n == 0 ? nearest_name(word, word_at, &known) : NULL;
    if (near)
        add_called(out, group, near);
}

/* No verb and no group begins with this word. */
static void add_near_first(struct words *out, int argc, char **argv)
{
    struct words known CB_CLEANUP(words_done) = {.n = 0};

    for (size_t i = 0; cli_verbs[i]; i++)
        words_add(&known, cli_verbs[i]->name, strcspn(cli_verbs[i]->name, " "));
    const char *near = nearest_name(argv[0], word_at, &known);
    if (!near)
        return;
    if (cli_is_group(near) && argc > 1 && argv[1][0] != '-')
        add_in_group(out, near, argv[1]);
    if (out->n == 0)
        words_add(out, near, strlen(near));
}

void suggest_verb(int argc, char **argv, struct buf *out)
{
    struct words found CB_CLEANUP(words_done) = {.n = 0};

    if (cli_is_group(argv[0])) {
        if (argc > 1)
            add_in_group(&found, argv[0], argv[1]);
    } else if (strcmp(argv[0], "version") == 0) {
        words_add(&found, "--version", strlen("--version"));
    } else {
        add_called(&found, NULL, argv[0]);
        if (found.n == 0)
            add_near_first(&found, argc, argv);
    }
    for (size_t i = 0; i < found.n; i++)
        buf_printf(out, "%s\"%s\"", i == 0 ? "" : i + 1 < found.n ? ", " : " or ", found.at[i]);
}

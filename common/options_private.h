/*
 * options_private.h: what the options*.c files share. Not for others.
 */
#ifndef CB_OPTIONS_PRIVATE_H
#define CB_OPTIONS_PRIVATE_H

#include "common/options.h"
#include "common/yaml_load.h"

/* How many rows options.def has. */
enum {
#define OPT_BOOL(...)  +1
#define OPT_INT(...)   +1
#define OPT_TIME(...)  +1
#define OPT_BYTES(...) +1
#define OPT_STR(...)   +1
#define OPT_LIST(...)  +1
#define OPT_PATH(...)  +1
#define OPT_ENUM(...)  +1
    OPTIONS_COUNT = 0
#include "common/options.def"
#undef OPT_BOOL
#undef OPT_INT
#undef OPT_TIME
#undef OPT_BYTES
#undef OPT_STR
#undef OPT_LIST
#undef OPT_PATH
#undef OPT_ENUM
};

/* How many rows options_methods.def has. */
enum {
#define OPT_INT(...)    +1
#define OPT_TIME(...)   +1
#define OPT_FACTOR(...) +1
#define OPT_STR(...)    +1
    OPTIONS_OF_METHOD = 0
#include "common/options_methods.def"
#undef OPT_INT
#undef OPT_TIME
#undef OPT_FACTOR
#undef OPT_STR
};

enum { OPTIONS_METHOD_NAME_SIZE = 128 };

/* By row of options_table. */
struct options_origins {
    struct option_origin origin[OPTIONS_COUNT];
    /* A value was given and refused: checks of two options leave it out. */
    bool is_bad[OPTIONS_COUNT];
    /* By method and row of options_method_table; file NULL: not given. */
    struct option_origin of_methods[OPTIONS_ALL_METHODS + 1][OPTIONS_OF_METHOD];
};

/* ---- options.c ---- */

/* Defaults with nobody's origin. Returns 0 or -1 (no home folder). */
int options_new(enum paths_mode mode, struct options **ret, struct cb_error *err);
size_t options_row(const struct option_row *option);
int64_t options_get_number(const struct options *opts, const struct option_row *option);
const char *options_get_string(const struct options *opts, const struct option_row *option);
void options_set_number(struct options *opts, const struct option_row *option, int64_t n);
void options_set_string(struct options *opts, const struct option_row *option, const char *s,
                        size_t len);
bool options_is_string(const struct option_row *option); /* STR, LIST or PATH */
/* When all files have been read: an archive that is configured has a worker, unless it was said how many there are. */
void options_archive_resolve(struct options *opts);

/* ---- options_value.c ---- */

/* Puts the scalar's value into the options. Returns 0, or -1 with what is wrong appended to
 * `problem`. */
int options_set(struct options *opts, const struct option_row *option, const struct yaml_node *node,
                struct buf *problem);
/* Appends a list as the one text that it is kept as: its items, separated by spaces. */
void options_join_list(const struct yaml_node *list, struct buf *out);
/* Appends a number of this option as it would be written: "true", "4MiB", "everysec". */
void options_put_number(const struct option_row *option, int64_t n, struct buf *out);
/* Appends what is accepted: "whole number, 1 to 64", "true or false". */
void options_put_expected(const struct option_row *option, struct buf *out);

/* ---- options_tree.c ---- */

/* Reads one text into the options; `file` is kept in their memory. Everything wrong goes to errs.
 * */
void options_read_text(struct options *opts, const char *text, size_t len, const char *file,
                       struct options_errors *errs);

/* ---- options_methods.c ---- */

void options_methods_default(struct options *opts);
/* The row of one method's option (OPTIONS_ALL_METHODS: of "*"), whose name is written into `name`. */
struct option_row options_method_row(size_t method, size_t row, char *name, size_t size);
bool options_method_is_given(const struct options *opts, size_t method, size_t row);
/* The section `methods` of one file, whose name stays. */
void options_methods_read(struct options *opts, const struct yaml_node *section, const char *file,
                          struct options_errors *errs);
/* When all files have been read: "*" for what methods do not set. */
void options_methods_resolve(struct options *opts);
void options_methods_check(const struct options *opts, struct options_errors *errs);

/* ---- options_check.c ---- */

/* What involves more than a row: formats of single options, and relations between options. */
void options_check(const struct options *opts, struct options_errors *errs);

#endif

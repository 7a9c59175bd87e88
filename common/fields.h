/*
 * fields.h: tables of parameters and results, each declared once (ARCHITECTURE.md, "The library").
 *
 * One table row declares a field once: name, type, range, default and description. From the rows come
 * the check of a request's params, the values that a handler reads, JSON Schema (system.discover),
 * help, the manual and the contract tests.
 */
#ifndef CB_FIELDS_H
#define CB_FIELDS_H

#include "common/arena.h"
#include "common/json.h"

/* STR, LIST, ANY, OBJECT: max 0 = no upper limit. INT, NUM: min and max both 0 = no limits at all.
 * ID, NAME, TASK_ID, TOKEN: the limits are the type's, whatever the row says. */
enum field_type {
    FIELD_TYPE_STR,  /* text; min, max = bytes of decoded UTF-8; no NUL */
    FIELD_TYPE_ID,   /* an id that others chose: 1-128 bytes, any UTF-8 but control characters
                          (U+0000-001F, 007F-009F) */
    FIELD_TYPE_NAME, /* queue, role: [A-Za-z0-9][A-Za-z0-9_.-]{0,63}, and none of our own words */
    FIELD_TYPE_TASK_ID, /* t-<1 to 20 digits> */
    FIELD_TYPE_TOKEN,   /* [A-Za-z0-9_-]{1,128}: lease tokens, incarnations */
    FIELD_TYPE_INT,     /* integer literal in min..max */
    FIELD_TYPE_NUM,     /* any number in min..max */
    FIELD_TYPE_BOOL,
    FIELD_TYPE_ENUM, /* string, one of `choices` */
    FIELD_TYPE_TIME, /* RFC 3339 date-time; the value is ms since 1970 */
    FIELD_TYPE_ANY, /* any JSON value, passed on verbatim; max = bytes of the literal (0: no limit) */
    FIELD_TYPE_OBJECT, /* any JSON object, verbatim (max as ANY); or, with `sub`, an object of these
                          fields */
    FIELD_TYPE_LIST,   /* array of `sub[0]` (its name is ""); min..max elements */
};

enum field_flag {
    FIELD_REQUIRED = 1u << 0,
    FIELD_NULLABLE = 1u << 1, /* null is accepted and means absent */
    FIELD_UNIQUE = 1u << 2,   /* list of at most FIELDS_UNIQUE_MAX: no two equal elements */
    FIELD_OPEN = 1u << 3,     /* results only: further members are allowed in this object; for the
                                 outermost object: FIELD_END_OPEN */
};

enum { FIELDS_UNIQUE_MAX = 1000 };

struct field {
    const char *name; /* NULL ends a table */
    enum field_type type;
    unsigned flags;
    int64_t min;
    int64_t max;
    const char *fallback; /* the default as a JSON literal; NULL = none */
    const struct field *sub;
    const char *const *choices; /* NULL-terminated */
    const char *text;
};

#define REQUIRED            .flags = FIELD_REQUIRED
#define OPTIONAL            .flags = 0
#define NULLABLE            .flags = FIELD_NULLABLE
#define UNIQUE              .flags = FIELD_UNIQUE
#define REQUIRED_OR_NULL    .flags = FIELD_REQUIRED | FIELD_NULLABLE /* in results */
#define DEFAULT(...)        .flags = 0, .fallback = #__VA_ARGS__
#define UNIQUE_DEFAULT(...) .flags = FIELD_UNIQUE, .fallback = #__VA_ARGS__

#define FIELD_STR(n, need, lo, hi, doc)                                                            \
    {                                                                                              \
        .name = (n), .type = FIELD_TYPE_STR, need, .min = (lo), .max = (hi), .text = (doc)         \
    }
#define FIELD_ID(n, need, doc)                                                                     \
    {                                                                                              \
        .name = (n), .type = FIELD_TYPE_ID, need, .min = 1, .max = 128, .text = (doc)              \
    }
#define FIELD_NAME(n, need, doc)                                                                   \
    {                                                                                              \
        .name = (n), .type = FIELD_TYPE_NAME, need, .min = 1, .max = 64, .text = (doc)             \
    }
#define FIELD_TASK_ID(n, need, doc)                                                                \
    {                                                                                              \
        .name = (n), .type = FIELD_TYPE_TASK_ID, need, .text = (doc)                               \
    }
#define FIELD_TOKEN(n, need, doc)                                                                  \
    {                                                                                              \
        .name = (n), .type = FIELD_TYPE_TOKEN, need, .text = (doc)                                 \
    }
#define FIELD_INT(n, need, lo, hi, doc)                                                            \
    {                                                                                              \
        .name = (n), .type = FIELD_TYPE_INT, need, .min = (lo), .max = (hi), .text = (doc)         \
    }
#define FIELD_NUM(n, need, lo, hi, doc)                                                            \
    {                                                                                              \
        .name = (n), .type = FIELD_TYPE_NUM, need, .min = (lo), .max = (hi), .text = (doc)         \
    }
#define FIELD_BOOL(n, need, doc)                                                                   \
    {                                                                                              \
        .name = (n), .type = FIELD_TYPE_BOOL, need, .text = (doc)                                  \
    }
#define FIELD_ENUM(n, need, words, doc)                                                            \
    {                                                                                              \
        .name = (n), .type = FIELD_TYPE_ENUM, need, .choices = (words), .text = (doc)              \
    }
#define FIELD_TIME(n, need, doc)                                                                   \
    {                                                                                              \
        .name = (n), .type = FIELD_TYPE_TIME, need, .text = (doc)                                  \
    }
#define FIELD_ANY(n, need, doc)                                                                    \
    {                                                                                              \
        .name = (n), .type = FIELD_TYPE_ANY, need, .text = (doc)                                   \
    }
#define FIELD_OBJECT(n, need, members, doc)                                                        \
    {                                                                                              \
        .name = (n), .type = FIELD_TYPE_OBJECT, need, .sub = (members), .text = (doc)              \
    }
#define FIELD_LIST(n, need, lo, hi, element, doc)                                                  \
    {                                                                                              \
        .name = (n), .type = FIELD_TYPE_LIST, need, .min = (lo), .max = (hi), .sub = (element),    \
        .text = (doc)                                                                              \
    }
#define FIELD_END                                                                                  \
    {                                                                                              \
        .name = NULL                                                                               \
    }
#define FIELD_END_OPEN                                                                             \
    {                                                                                              \
        .name = NULL, .flags = FIELD_OPEN                                                          \
    }

/* What a checked field holds. Everything points into the document or the arena. */
struct field_value {
    bool is_set;     /* present, or filled from the default; null counts as absent if NULLABLE */
    bool is_default; /* filled from the default */
    struct json_span raw; /* the literal; for a default, the default's literal; absent: at NULL */
    const char *str;      /* STR, ID, NAME, TASK_ID, TOKEN, ENUM, TIME: decoded, NUL-terminated */
    size_t len;           /* of str; LIST: number of items */
    int64_t num;          /* INT; BOOL 0/1; TIME ms; ENUM index into choices */
    double real;          /* NUM, INT */
    /* OBJECT with members: parallel to its table; LIST: the items, and for a list of objects each item's .sub is parallel to
     * the element's table. */
    struct field_value *sub;
};

/* What is wrong with the params; code and data of the error reply. */
struct field_problem {
    int code;           /* -32600 (params not an object), -32602 */
    char path[160];     /* "tasks[3].text"; "" for the whole. A missing or unknown member's path is
                           its own or its object's, respectively */
    char expected[160]; /* "string of 1 to 500 bytes" */
    char got[160]; /* "number 101", "empty string", "object with unknown member \"x\"", "nothing"
                           (escaped, cut; never a token) */
};

/*
 * Checks `object` (a span that json_check() accepted; an empty one counts as {}) against `table` and
 * fills values[i] for each row i. Unknown members are refused, with the nearest known name in
 * `expected` if one is close; the first problem in the document's order is told, then what is missing.
 * Returns 0, or -1 with *problem filled (unless NULL) and values undefined.
 */
int fields_parse(const struct field *table, struct json_span object, struct arena *arena,
                 struct field_value *values, struct field_problem *problem);

/* Number of rows of a table (without FIELD_END). */
size_t fields_count(const struct field *table);
/* Index of a row by name; asserts that it exists (handlers name their own rows). */
size_t fields_index(const struct field *table, const char *name);

/*
 * Appends the JSON Schema (2020-12: type, properties, required, additionalProperties, minimum, maximum,
 * enum, pattern, not, format, items, minItems, maxItems, uniqueItems, default, description) of an object
 * with these fields. Byte lengths are x-minBytes and x-maxBytes: of the decoded string where the type is
 * string (minLength and maxLength are implied by them), of the literal elsewhere. The range of a time is
 * x-minTime, x-maxTime. Two things a schema cannot say: 1.0 is no integer here, and `null` in a nullable
 * field means that it is absent.
 */
void fields_put_schema(const struct field *table, struct buf *out);
/* Appends an item of a manual page's list for each field: name, text, type, range, default. */
void fields_put_mdoc(const struct field *table, struct buf *out);

#endif

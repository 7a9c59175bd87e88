/*
 * json.h: our own scanner for JSON that others wrote (RFC 8259), and a writer for JSON that we make.
 *
 * The scanner checks the whole document (grammar, UTF-8, depth, duplicate decoded keys per object,
 * NUL in keys, size) and yields byte spans; values travel on verbatim, so 2^53+1 and [] survive.
 * It allocates nothing that depends on depth, and never recurses deeper than JSON_DEPTH_MAX.
 * json-c is used only for documents that we make ourselves.
 */
#ifndef CB_JSON_H
#define CB_JSON_H

#include "common/buf.h"
#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    JSON_DEPTH_MAX = 64,      /* containers within each other, the outermost counted */
    JSON_BYTES_MAX = 1 << 30, /* of a document; callers set lower limits */
};

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* Bytes inside a document that somebody else owns. For a string the quotes are included. */
struct json_span {
    const char *at;
    size_t len;
};

struct json_error {
    size_t offset;  /* of the first byte that is wrong */
    char text[128]; /* what is wrong there, e.g. "duplicate key", "expected ',' or '}'" */
};

/* One member of an object or (key.len 0) one element of an array. */
struct json_item {
    struct json_span key;   /* the key's literal, quotes included */
    struct json_span value; /* the value's literal, no white space around it */
    enum json_type type;
};

/*
 * Checks a whole document: exactly one value, surrounded by optional white space. On success stores
 * the value's span (without the white space) and type in *ret_value, *ret_type (each may be NULL).
 * Returns 0, or -1 with *error filled (error may be NULL).
 *
 * The offset is that of the first byte that no valid document could have there; `len` when the text
 * ends too early. For what is wrong as a whole it is the first byte of it: a duplicate key (the later
 * one, its quote), an ill-formed UTF-8 sequence, half a surrogate pair or a NUL in a key (the
 * backslash).
 */
int json_check(const char *text, size_t len, struct json_span *ret_value, enum json_type *ret_type,
               struct json_error *error);

/*
 * Walks the members or elements of a value that json_check() accepted (or that is part of one).
 *   struct json_iter it;
 *   struct json_item item;
 *   json_iter_init(&it, span);            // span is an object or an array
 *   while (json_iter_next(&it, &item)) …
 * What others sent may be of any type: nothing else has members or elements, a text or equals one. Whoever must tell that from
 * what is absent or empty looks at the type.
 */
struct json_iter {
    const char *at;
    const char *end;
    bool is_object;
};
void json_iter_init(struct json_iter *it, struct json_span container);
bool json_iter_next(struct json_iter *it, struct json_item *ret_item);
/* Number of members or elements. */
size_t json_count(struct json_span container);

/* Finds a member of a checked value by its decoded name; false when it is absent, or the value no object. */
bool json_find(struct json_span object, const char *name, struct json_item *ret_item);

/* Type of a checked value, by its first byte. */
enum json_type json_type_of(struct json_span value);
/* "null", "boolean", "number", "string", "array", "object". */
const char *json_type_name(enum json_type type);

/* Appends the decoded bytes (UTF-8) of a checked string literal; of anything else none. \u0000 gives a NUL. */
void json_decode_string(struct json_span literal, struct buf *out);
/* Length in bytes of the decoded string, without decoding it. */
size_t json_decoded_len(struct json_span literal);
/* True when the literal decodes to exactly `s`. */
bool json_string_equals(struct json_span literal, const char *s);
/* An integer without fraction or exponent that fits into int64. Returns 0 or -1. */
int json_decode_int(struct json_span literal, int64_t *ret_value);
/* Any number, as the nearest double. Returns 0, or -1 when it overflows. */
int json_decode_double(struct json_span literal, double *ret_value);

/* True when the bytes are well-formed UTF-8 (no surrogates, no overlong forms, ≤ U+10FFFF). */
bool json_is_utf8(const char *s, size_t len);

/* Appends a string literal for the bytes, escaping only what RFC 8259 demands. Input that is not
 * UTF-8 has each bad byte replaced by U+FFFD, so the output is always valid JSON. */
void json_put_string(struct buf *out, const char *s, size_t len);
void json_put_cstr(struct buf *out, const char *s);
/* Appends `"key":`, with a comma before it unless the last byte is '{' or '['. */
void json_put_key(struct buf *out, const char *key);
/* Appends a member: the key, and a string or a number behind it. */
void json_put_text(struct buf *out, const char *key, const char *text);
void json_put_int(struct buf *out, const char *key, int64_t n);
/* Appends a comma unless the last byte is '{', '[' or ':' or the buffer is empty. */
void json_put_comma(struct buf *out);

#endif

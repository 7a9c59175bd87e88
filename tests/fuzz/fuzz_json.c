/*
 * fuzz_json.c: any bytes to json_check(), and what must hold afterwards.
 *
 * Refused: the text up to the offset is not wrong anywhere before its end. Accepted: every span that the
 * iterator yields is a document of its own, strings decode and write back to themselves, numbers decode.
 * Any bytes written as a string literal are valid JSON. Broken promises abort.
 */
#include "common/compat.h"
#include "common/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_refused(const char *text, size_t len, const struct json_error *error)
{
    struct json_error again;
    cb_assert(error->offset <= len);
    cb_assert(error->text[0] && memchr(error->text, '\0', sizeof error->text));
    if (json_check(text, error->offset, NULL, NULL, &again) < 0)
        cb_assert(again.offset == error->offset);
    /* walking what was never accepted finds nonsense, but stays within it */
    if (len >= 2 && (*text == '{' || *text == '['))
        json_count((struct json_span){text, len});
}

static void check_string(struct json_span literal)
{
    struct buf decoded = BUF_INIT, written = BUF_INIT, again = BUF_INIT;
    struct json_span span;
    json_decode_string(literal, &decoded);
    cb_assert(json_is_utf8(buf_peek(&decoded), decoded.len));
    cb_assert(decoded.len == json_decoded_len(literal));
    bool has_nul = strlen(buf_peek(&decoded)) != decoded.len;
    cb_assert(json_string_equals(literal, buf_peek(&decoded)) == !has_nul);
    json_put_string(&written, decoded.data, decoded.len);
    cb_assert(json_check(written.data, written.len, &span, NULL, NULL) == 0);
    json_decode_string(span, &again);
    cb_assert(again.len == decoded.len);
    cb_assert(again.len == 0 || memcmp(again.data, decoded.data, again.len) == 0);
    buf_done(&decoded);
    buf_done(&written);
    buf_done(&again);
}

static void check_number(struct json_span literal)
{
    int64_t n = 0;
    double real = 0;
    if (json_decode_int(literal, &n) < 0)
        return;
    cb_assert(json_decode_double(literal, &real) == 0);
    cb_assert(real == (double)n);
}

static void check_value(struct json_span value, enum json_type type, unsigned depth);

static void check_container(struct json_span value, unsigned depth)
{
    struct json_iter it;
    struct json_item item, found;
    size_t n = 0;
    cb_assert(depth < JSON_DEPTH_MAX);
    json_iter_init(&it, value);
    for (; json_iter_next(&it, &item); n++) {
        cb_assert(item.value.at > value.at);
        cb_assert(item.value.at + item.value.len < value.at + value.len);
        check_value(item.value, item.type, depth + 1);
        if (!it.is_object)
            continue;
        struct buf name = BUF_INIT;
        check_string(item.key);
        json_decode_string(item.key, &name);
        if (n < 50) {
            cb_assert(json_find(value, buf_peek(&name), &found));
            cb_assert(found.key.at == item.key.at && found.value.at == item.value.at);
        }
        buf_done(&name);
    }
    cb_assert(n == json_count(value));
}

static void check_value(struct json_span value, enum json_type type, unsigned depth)
{
    struct json_span span;
    enum json_type checked;
    cb_assert(json_check(value.at, value.len, &span, &checked, NULL) == 0);
    cb_assert(span.at == value.at && span.len == value.len && checked == type);
    if (type == JSON_STRING)
        check_string(value);
    else if (type == JSON_NUMBER)
        check_number(value);
    else if (type == JSON_ARRAY || type == JSON_OBJECT)
        check_container(value, depth);
}

static void check_writing(const char *bytes, size_t len)
{
    struct buf written = BUF_INIT, decoded = BUF_INIT;
    struct json_span span;
    json_put_string(&written, bytes, len);
    cb_assert(json_check(written.data, written.len, &span, NULL, NULL) == 0);
    json_decode_string(span, &decoded);
    bool is_same = decoded.len == len && (len == 0 || memcmp(decoded.data, bytes, len) == 0);
    cb_assert(!json_is_utf8(bytes, len) || is_same);
    buf_done(&written);
    buf_done(&decoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const char *text = (const char *)data;
    struct json_span value;
    struct json_error error;
    enum json_type type;
    if (json_check(text, len, &value, &type, &error) < 0) {
        check_refused(text, len, &error);
    } else {
        cb_assert(json_is_utf8(text, len));
        check_value(value, type, 0);
    }
    check_writing(text, len);
    return 0;
}

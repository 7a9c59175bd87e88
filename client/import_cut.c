/*
 * import_cut.c: see import.h.
 */
#include "common/compat.h"
#include "client/import.h"

#include "common/exitcode.h"

/* ---- bad lines ---- */

void import_bad_line(struct import *im, int64_t line, const char *fmt, ...)
{
    struct buf text = BUF_INIT;
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    progress_clear(&im->progress);
    cli_say("line %" PRId64 ": %s", line, buf_peek(&text));
    buf_done(&text);
    im->bad++;
    if (cli_is_set(im->cli, "strict"))
        im->is_ended = true;
}

/* ---- cutting batches ---- */

/* The line's object with the default queue in it, appended. */
static void put_item(const struct import *im, struct json_span object, struct buf *out)
{
    const char *queue = cli_value(im->cli, "queue", NULL);
    struct json_item item;

    if (!queue || json_find(object, "queue", &item)) {
        buf_append(out, object.at, object.len);
        return;
    }
    buf_puts(out, "{\"queue\":");
    json_put_cstr(out, queue);
    if (json_count(object) > 0)
        buf_putc(out, ',');
    buf_append(out, object.at + 1, object.len - 1);
}

/* Reads the next good line into `held`; false when there is none any more (is_ended), or not yet. */
static bool read_item(struct import *im)
{
    const char *line;
    size_t len;

    while (!im->is_ended) {
        if (!lines_is_ready(&im->lines))
            return false;
        if (!lines_next(&im->lines, &line, &len))
            break;
        struct json_error why;
        struct json_span value;
        struct json_item index;
        enum json_type type;
        if (!line)
            import_bad_line(im, im->lines.number, "longer than %zu bytes", im->lines.max);
        else if (strspn(line, " \t\r") >= len)
            continue;
        else if (json_check(line, len, &value, &type, &why) != 0)
            import_bad_line(im, im->lines.number, "byte %zu: %s", why.offset, why.text);
        else if (type != JSON_OBJECT)
            import_bad_line(im, im->lines.number, "%s where an object is expected",
                            json_type_name(type));
        else if (json_find(value, "after_index", &index))
            import_bad_line(im, im->lines.number,
                            "after_index counts within a request, not in a file: use after");
        else {
            put_item(im, value, &im->held);
            im->held_line = im->lines.number;
            return true;
        }
    }
    if (!im->is_ended && im->lines.error) {
        cli_say("cannot read %s: %s", im->cli->operands[0], strerror(im->lines.error));
        im->exit_code = EXITCODE_NOINPUT;
    }
    im->is_ended = true;
    return false;
}

bool import_fill(struct import *im, struct batch *b)
{
    if (im->filling != b) {
        b->count = 0;
        b->drops = 0;
        buf_reset(&b->text);
        im->filling = b;
    }
    while (b->count < IMPORT_ITEMS && (im->held.len > 0 || read_item(im))) {
        if (b->count > 0 && b->text.len + im->held.len > IMPORT_BYTES)
            break;
        b->items[b->count].line = im->held_line;
        b->items[b->count].from = b->text.len;
        b->items[b->count++].len = im->held.len;
        buf_append(&b->text, im->held.data, im->held.len);
        buf_reset(&im->held);
    }
    bool is_full = b->count == IMPORT_ITEMS || im->held.len > 0;
    if (!is_full && !im->is_ended)
        return false;
    im->filling = NULL;
    if (b->count == 0)
        return false;
    b->number = ++im->last_number;
    return true;
}

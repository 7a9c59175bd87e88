/*
 * audit_verify.c: checks the chain of the audit file, over the files that it was cut into. See audit.h.
 *
 * What it says is printed to stdout; exit 0: all is as it was written; 1: something is not; 66: a file cannot be read.
 */
#include "common/compat.h"
#include "client/audit.h"

#include "common/exitcode.h"

#include <errno.h>

struct check {
    const struct audit_position *head;
    struct audit_position last;
    int64_t first_seq;
    int64_t lines;
    size_t files;
    int64_t gaps;  /* lines that say that entries are missing */
    bool has_head; /* the daemon's last line has been seen, and is the same */
    bool is_json;
};

/* ---- saying ---- */

static int say(const struct buf *text, int code)
{
    struct buf out CB_CLEANUP(buf_done) = BUF_INIT;

    term_put(&out, text->data, text->len);
    buf_putc(&out, '\n');
    int written = cli_write(&out);
    return written ? written : code;
}

static void put_json_end(const struct check *c, struct buf *out)
{
    buf_printf(out,
               ",\"records\":%" PRId64 ",\"files\":%zu,\"first_seq\":%" PRId64
               ",\"last_seq\":%" PRId64 ",\"last_hash\":\"%s\",\"gaps\":%" PRId64 "}",
               c->lines, c->files, c->first_seq, c->last.seq, c->last.hash, c->gaps);
}

static int say_bad(const struct check *c, const char *path, int64_t line, const char *reason)
{
    struct buf out CB_CLEANUP(buf_done) = BUF_INIT;

    if (c->is_json) {
        buf_puts(&out, "{\"ok\":false,\"file\":");
        json_put_cstr(&out, path);
        buf_printf(&out, ",\"line\":%" PRId64 ",\"reason\":", line);
        json_put_cstr(&out, reason);
        put_json_end(c, &out);
    } else {
        buf_printf(&out, "%s:%" PRId64 ": %s", path, line, reason);
    }
    return say(&out, EXITCODE_FAILURE);
}

static int say_good(const struct check *c)
{
    struct buf out CB_CLEANUP(buf_done) = BUF_INIT;

    if (c->is_json) {
        buf_puts(&out, "{\"ok\":true");
        put_json_end(c, &out);
        return say(&out, EXITCODE_OK);
    }
    buf_printf(&out, "ok: %" PRId64 " records in %zu file%s", c->lines, c->files,
               c->files == 1 ? "" : "s");
    if (c->lines > 0)
        buf_printf(&out, ", seq %" PRId64 " to %" PRId64 ", last hash %s", c->first_seq,
                   c->last.seq, c->last.hash);
    if (c->gaps > 0)
        buf_printf(&out, "; %" PRId64 " of them say that entries are missing (audit.gap)", c->gaps);
    return say(&out, EXITCODE_OK);
}

/* ---- checking ---- */

/* NULL, or what is wrong. A chain may begin anywhere: older files may have been deleted. */
static const char *check_line(struct check *c, const char *text, size_t len)
{
    struct audit_line line;
    const char *reason = audit_chain_check(text, len, &line);

    if (!reason && c->lines > 0)
        reason = audit_chain_follows(&c->last, &line);
    if (!reason && c->head && line.at.seq == c->head->seq) {
        c->has_head = strcmp(line.at.hash, c->head->hash) == 0;
        if (!c->has_head)
            reason = "it is not what the daemon has written: the file was made anew";
    }
    if (reason)
        return reason;
    if (c->lines++ == 0)
        c->first_seq = line.at.seq;
    c->gaps += json_string_equals(line.kind, AUDIT_GAP) ||
               json_string_equals(line.kind, AUDIT_REWOUND);
    c->last = line.at;
    return NULL;
}

/* -1: go on; else the exit code. */
static int check_file(struct check *c, const char *path)
{
    struct audit_lines lines;
    const char *text, *reason = NULL;
    size_t len;
    int status = -1;

    if (audit_lines_open(&lines, path) != 0) {
        cli_say("%s: %s", path, strerror(errno));
        return EXITCODE_NOINPUT;
    }
    while (!reason && audit_lines_next(&lines, &text, &len))
        reason = check_line(c, text, len);
    if (reason)
        status = say_bad(c, path, lines.number, reason);
    else if (lines.error) {
        cli_say("%s: %s", path, strerror(lines.error));
        status = EXITCODE_NOINPUT;
    } else if (audit_lines_rest(&lines) > 0)
        status = say_bad(c, path, lines.number + 1,
                         "it is unfinished: it is being written, or a daemon died over it and "
                         "will cut it off at its next start, or it was cut");
    audit_lines_close(&lines);
    c->files++;
    return status;
}

int audit_verify(const struct audit_files *files, const struct audit_position *head, bool is_json)
{
    struct check c = {.head = head, .is_json = is_json};
    int status = -1;

    for (size_t i = 0; status == -1 && i < files->len; i++)
        status = check_file(&c, files->paths[i]);
    if (status != -1)
        return status;
    if (head && !c.has_head)
        return say_bad(&c, files->paths[files->len - 1], c.lines,
                       "the file ends before the last line that the daemon has written: lines are "
                       "missing at its end");
    return say_good(&c);
}

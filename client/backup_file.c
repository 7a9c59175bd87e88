/*
 * backup_file.c: see backup_file.h.
 */
#include "common/compat.h"
#include "client/backup_file.h"

#include "common/exitcode.h"
#include "common/json.h"

static const char first_word[] = "claudebench-backup ";
static const char end_word[] = "\nclaudebench-backup-end ";

enum {
    CHUNK = 1 << 16,
    HEAD_BYTES_MAX = 4096,
    END_BYTES = sizeof end_word - 1 + 20 + 1 + SHA256_DIGEST_STRING_LENGTH - 1 + 1,
};

/* ---- writing ---- */

static int write_all(int fd, const char *data, size_t len, struct cb_error *err)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cb_error_set(err, EXITCODE_FAILURE, "the backup cannot be written: %s",
                                strerror(errno));
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static int put(struct backup_writer *w, const char *data, size_t len, struct cb_error *err)
{
    SHA256Update(&w->sum, (const uint8_t *)data, len);
    return write_all(w->fd, data, len, err);
}

void backup_put_header(struct buf *out, const struct backup_header *h)
{
    json_put_text(out, "project", h->project);
    json_put_int(out, "schema", h->schema);
    json_put_int(out, "db", h->db);
    json_put_text(out, "prefix", h->prefix);
    json_put_text(out, "generation", h->generation);
    json_put_text(out, "redis", h->redis);
    json_put_text(out, "time", h->time);
}

int backup_begin(struct backup_writer *w, int fd, const struct backup_header *h,
                 struct cb_error *err)
{
    struct buf head CB_CLEANUP(buf_done) = BUF_INIT;

    *w = (struct backup_writer){.fd = fd};
    SHA256Init(&w->sum);
    buf_printf(&head, "%s%d\n{", first_word, BACKUP_FORMAT);
    backup_put_header(&head, h);
    buf_puts(&head, "}\n");
    return put(w, buf_peek(&head), head.len, err);
}

int backup_add(struct backup_writer *w, const char *data, size_t len, struct cb_error *err)
{
    if (w->bytes == 0)
        w->has_snapshot = len >= 5 && memcmp(data, "REDIS", 5) == 0;
    w->bytes += len;
    return put(w, data, len, err);
}

int backup_end(struct backup_writer *w, struct cb_error *err)
{
    char end[END_BYTES + 1];

    if (!w->has_snapshot)
        return cb_error_set(err, EXITCODE_UNAVAILABLE, "Redis gave no snapshot");
    SHA256End(&w->sum, w->sha);
    snprintf(end, sizeof end, "%s%020" PRIu64 " %s\n", end_word, w->bytes, w->sha);
    return write_all(w->fd, end, END_BYTES, err);
}

/* ---- reading ---- */

static int bad(struct cb_error *err, const char *name, const char *why)
{
    return cb_error_set(err, EXITCODE_DATAERR, "%s: %s", name, why);
}

/* A text that has to be there. None of them has anything in it but plain letters: they are shown, and compared. */
static bool take(struct json_span object, const char *name, char *out, size_t size)
{
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
    struct json_item item;

    if (!json_find(object, name, &item) || item.type != JSON_STRING)
        return false;
    json_decode_string(item.value, &text);
    if (text.len >= size)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < ' ' || text.data[i] > '~')
            return false;
    snprintf(out, size, "%s", buf_peek(&text));
    return true;
}

static bool take_int(struct json_span object, const char *name, int64_t *ret)
{
    struct json_item item;

    return json_find(object, name, &item) && item.type == JSON_NUMBER &&
           json_decode_int(item.value, ret) == 0 && *ret >= 0;
}

static int parse_header(const char *line, size_t len, const char *name, struct backup_header *h,
                        struct cb_error *err)
{
    struct json_span json;
    enum json_type type;

    if (json_check(line, len, &json, &type, NULL) != 0 || type != JSON_OBJECT ||
        !take_int(json, "schema", &h->schema) || !take_int(json, "db", &h->db) ||
        !take(json, "project", h->project, sizeof h->project) ||
        !take(json, "prefix", h->prefix, sizeof h->prefix) ||
        !take(json, "generation", h->generation, sizeof h->generation) ||
        !take(json, "redis", h->redis, sizeof h->redis) ||
        !take(json, "time", h->time, sizeof h->time))
        return bad(err, name, "its head is damaged");
    return 0;
}

/* A number as we write it, and nothing else. */
static int check_format(const char *text, const char *eol, const char *name, struct cb_error *err)
{
    char *end;

    if (*text < '1' || *text > '9')
        return bad(err, name, "its head is damaged");
    long format = strtol(text, &end, 10); /* ends at the end of the line at the latest */
    if (end != eol)
        return bad(err, name, "its head is damaged");
    if (format == BACKUP_FORMAT)
        return 0;
    return cb_error_set(err, EXITCODE_DATAERR,
                        "%s: the backup has format %ld, this version knows %d", name, format,
                        BACKUP_FORMAT);
}

/* How long the two lines at the beginning are; 0: they are not all there yet; -1: they are none. */
static ssize_t parse_head(const struct buf *in, const char *name, struct backup_header *h,
                          struct cb_error *err)
{
    size_t word = sizeof first_word - 1;
    size_t seen = in->len < word ? in->len : word;

    if (memcmp(buf_peek(in), first_word, seen) != 0)
        return bad(err, name, "no backup of claudebench");
    const char *eol = memchr(buf_peek(in), '\n', in->len);
    const char *end = eol ? memchr(eol + 1, '\n', in->len - (size_t)(eol + 1 - in->data)) : NULL;
    if (!end)
        return in->len < HEAD_BYTES_MAX ? 0 : bad(err, name, "its head is damaged");
    if (check_format(in->data + word, eol, name, err) != 0 ||
        parse_header(eol + 1, (size_t)(end - eol - 1), name, h, err) != 0)
        return -1;
    return end + 1 - in->data;
}

static int check_end(const char *end, size_t len, SHA2_CTX *sum, uint64_t bytes, const char *name,
                     struct cb_error *err)
{
    char wanted[END_BYTES + 1];
    char sha[SHA256_DIGEST_STRING_LENGTH];

    if (len != END_BYTES || memcmp(end, end_word, sizeof end_word - 1) != 0)
        return bad(err, name, "it is cut off: its end is missing");
    SHA256End(sum, sha);
    snprintf(wanted, sizeof wanted, "%s%020" PRIu64 " %s\n", end_word, bytes, sha);
    if (memcmp(end, wanted, END_BYTES) != 0)
        return bad(err, name, "it is damaged: its checksum differs");
    return 0;
}

/* What is read, but for the bytes that may be the end. */
struct reading {
    struct buf in;
    SHA2_CTX sum;
    bool has_head;
    uint64_t bytes;
};

static int go_on(struct reading *r, const char *name, int out, struct backup_header *h,
                 struct cb_error *err)
{
    if (!r->has_head) {
        ssize_t head = parse_head(&r->in, name, h, err);
        if (head <= 0)
            return (int)head;
        SHA256Update(&r->sum, (const uint8_t *)r->in.data, (size_t)head);
        buf_consume(&r->in, (size_t)head);
        r->has_head = true;
    }
    if (r->in.len <= END_BYTES)
        return 0;
    size_t len = r->in.len - END_BYTES;
    if (write_all(out, r->in.data, len, err) != 0)
        return cb_error_prefix(err, "the snapshot");
    SHA256Update(&r->sum, (const uint8_t *)r->in.data, len);
    buf_consume(&r->in, len);
    r->bytes += len;
    return 0;
}

int backup_read(int in, const char *name, int out, struct backup_header *ret, struct cb_error *err)
{
    struct reading r = {.in = BUF_INIT};
    struct backup_header h = {.schema = 0};
    int status = 0;
    ssize_t n;

    SHA256Init(&r.sum);
    do {
        n = read(in, buf_reserve(&r.in, CHUNK), CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            status = cb_error_set(err, EXITCODE_NOINPUT, "%s: %s", name, strerror(errno));
        r.in.len += n > 0 ? (size_t)n : 0;
        if (n > 0)
            status = go_on(&r, name, out, &h, err);
    } while (n != 0 && status == 0);
    if (status == 0)
        status = r.has_head ? check_end(r.in.data, r.in.len, &r.sum, r.bytes, name, err)
                            : bad(err, name, "no backup of claudebench, or cut off");
    buf_done(&r.in);
    if (status == 0)
        *ret = h;
    return status;
}

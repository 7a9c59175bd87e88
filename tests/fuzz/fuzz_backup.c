/*
 * fuzz_backup.c: any bytes as the file of a backup, to its reader (client/backup_file.c).
 *
 * The first byte: s gives the rest an end that fits, as nobody guesses a checksum; else the rest is the file. The second byte: into how many
 * pieces it comes. What is right is found out here a second time, from the whole file at once.
 *
 * Whatever comes: it is read to its end, or refused with a line that names the file; what lies behind the head and before the end, and
 * nothing else, goes to the snapshot's file; whole is only what has an end that fits; a header that was taken can be shown on a terminal;
 * and after a refusal the caller's header is as it was.
 */
#include "common/compat.h"
#include "client/backup_file.h"

#include "common/exitcode.h"

#include <sys/mman.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define NAME "a file"
static const char end_format[] = "\nclaudebench-backup-end %020zu %s\n";

enum { END_BYTES = 24 + 20 + 1 + 64 + 1, PIECES_MAX = 16, FILE_MAX = 1 << 16 };

/* How long the two lines at the beginning are; 0: there are no two. */
static size_t head_of(const struct buf *file)
{
    const char *data = buf_peek(file);
    const char *first = memchr(data, '\n', file->len);
    const char *second = first ? memchr(first + 1, '\n', file->len - (size_t)(first + 1 - data))
                               : NULL;

    return second ? (size_t)(second + 1 - data) : 0;
}

static void put_end(struct buf *out, const struct buf *file, size_t bytes)
{
    char sha[SHA256_DIGEST_STRING_LENGTH];

    SHA256Data((const uint8_t *)buf_peek(file), bytes, sha);
    buf_printf(out, end_format, bytes - head_of(file), sha);
    cb_assert(out->len >= END_BYTES);
}

/* Whether the end is one, and of these bytes. */
static bool has_end(const struct buf *file)
{
    struct buf end CB_CLEANUP(buf_done) = BUF_INIT;
    size_t head = head_of(file);

    if (head == 0 || file->len < head + END_BYTES)
        return false;
    put_end(&end, file, file->len - END_BYTES);
    return memcmp(buf_peek(&end), buf_peek(file) + file->len - END_BYTES, END_BYTES) == 0;
}

/* A descriptor that gives the file, one piece with each read. */
static int feed_file(const struct buf *file, unsigned pieces)
{
    int pair[2];
    size_t at = 0;

    cb_assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    for (unsigned left = pieces; left > 0 && at < file->len; left--) {
        size_t n = left == 1 ? file->len - at : (file->len - at) / left;
        if (n > 0)
            cb_assert(send(pair[1], buf_peek(file) + at, n, 0) == (ssize_t)n);
        at += n;
    }
    close(pair[1]);
    return pair[0];
}

static bool is_shown_as_is(const char *text, size_t size)
{
    size_t len = strnlen(text, size);

    if (len == size)
        return false;
    for (size_t i = 0; i < len; i++)
        if (text[i] < ' ' || text[i] > '~')
            return false;
    return true;
}

static void check_header(const struct backup_header *h)
{
    cb_assert(is_shown_as_is(h->project, sizeof h->project));
    cb_assert(is_shown_as_is(h->prefix, sizeof h->prefix));
    cb_assert(is_shown_as_is(h->generation, sizeof h->generation));
    cb_assert(is_shown_as_is(h->redis, sizeof h->redis));
    cb_assert(is_shown_as_is(h->time, sizeof h->time));
    cb_assert(h->db >= 0);
}

static void check_refusal(const struct backup_header *h, const struct cb_error *err)
{
    static const struct backup_header untouched;

    cb_assert(memcmp(h, &untouched, sizeof *h) == 0);
    cb_assert(err->code == EXITCODE_DATAERR);
    cb_assert(strncmp(err->text, NAME ": ", sizeof NAME + 1) == 0);
    cb_assert(is_shown_as_is(err->text, sizeof err->text));
}

/* Of the file, and no byte of its end when that was found. */
static void check_written(int out, const struct buf *file, int status)
{
    size_t head = head_of(file);
    off_t len = lseek(out, 0, SEEK_END);

    cb_assert(len >= 0 && (size_t)len <= file->len - head);
    char *written = len > 0 ? mmap(NULL, (size_t)len, PROT_READ, MAP_PRIVATE, out, 0) : NULL;
    cb_assert(written != MAP_FAILED);
    cb_assert(len == 0 || (head > 0 && memcmp(written, buf_peek(file) + head, (size_t)len) == 0));
    cb_assert(status != 0 || (size_t)len == file->len - head - END_BYTES);
    if (written)
        munmap(written, (size_t)len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct buf file CB_CLEANUP(buf_done) = BUF_INIT;
    struct backup_header header;
    struct cb_error err = {0};

    if (len < 2 || len > FILE_MAX)
        return 0;
    memset(&header, 0, sizeof header);
    buf_append(&file, data + 2, len - 2);
    if (data[0] == 's')
        put_end(&file, &file, file.len);
    int in = feed_file(&file, 1 + data[1] % PIECES_MAX);
    int out = memfd_create("snapshot", MFD_CLOEXEC);
    cb_assert(in >= 0 && out >= 0);
    int status = backup_read(in, NAME, out, &header, &err);
    if (status == 0) {
        cb_assert(has_end(&file));
        cb_assert(strncmp(buf_peek(&file), "claudebench-backup 1\n", 21) == 0);
        check_header(&header);
    } else {
        check_refusal(&header, &err);
    }
    check_written(out, &file, status);
    close(in);
    close(out);
    return 0;
}

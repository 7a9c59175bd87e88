/*
 * redis_log.c: see redis_log.h. A line is "<pid>:<role> <day> <month> <year> <time> <level> <message>", the level of
 * a warning is '#'. A server that gives up says why in its last warning.
 */
#include "common/compat.h"
#include "supervisor/redis_log.h"

#include <fcntl.h>
#include <sys/stat.h>

enum { TAIL_MAX = 64 * 1024, WORDS = 2, WORD_MAX = 240 };

int64_t redis_log_mark(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_size : 0;
}

/* What has been written since `mark`, its last TAIL_MAX bytes at most. */
static void read_tail(const char *path, int64_t mark, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    ssize_t n;

    if (fd < 0)
        return;
    int64_t size = (int64_t)lseek(fd, 0, SEEK_END);
    int64_t from = size - mark > TAIL_MAX ? size - TAIL_MAX : mark;
    while (from < size && (n = pread(fd, buf_reserve(out, 4096), 4096, (off_t)from)) > 0) {
        out->len += (size_t)n;
        from += n;
    }
    close(fd);
    buf_putc(out, '\0'); /* ends the last line too */
}

/* The message of a warning that is not one of every start, else NULL. */
static const char *warning_in(const char *line, size_t len, size_t *ret_len)
{
    static const char *const usual[] = {
        "oO0OoO0OoO0Oo ",     "Redis version=", "Configuration loaded",
        "Server initialized", "WARNING ",       "Reading config from stdin"};
    const char *level = memmem(line, len, " # ", 3);

    if (!level)
        return NULL;
    const char *text = level + 3;
    size_t left = len - (size_t)(text - line);
    for (size_t i = 0; i < CB_ARRAY_LEN(usual); i++)
        if (left >= strlen(usual[i]) && memcmp(text, usual[i], strlen(usual[i])) == 0)
            return NULL;
    *ret_len = left < WORD_MAX ? left : WORD_MAX;
    return text;
}

void redis_log_last_words(const char *path, int64_t mark, struct buf *out)
{
    struct buf tail CB_CLEANUP(buf_done) = BUF_INIT;
    const char *words[WORDS] = {0};
    size_t lens[WORDS] = {0};

    read_tail(path, mark, &tail);
    for (const char *line = buf_peek(&tail); *line;) {
        size_t len = strcspn(line, "\n"), n = 0;
        const char *text = warning_in(line, len, &n);
        if (text) {
            words[0] = words[1];
            lens[0] = lens[1];
            words[1] = text;
            lens[1] = n;
        }
        line += len + (line[len] == '\n');
    }
    for (size_t i = 0; i < WORDS; i++)
        if (words[i]) {
            buf_puts(out, out->len ? "; " : "");
            buf_append(out, words[i], lens[i]);
        }
}

bool redis_log_blames_data(const char *words)
{
    static const char *const signs[] = {"redis-check-aof", "append only file", "AOF ",
                                        "rdb file reading failure", "RDB file"};

    for (size_t i = 0; i < CB_ARRAY_LEN(signs); i++)
        if (strstr(words, signs[i]))
            return true;
    return false;
}

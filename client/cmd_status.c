/*
 * cmd_status.c: claudebench status: asks the supervisor over its control socket. Redis is not
 * needed, so the answer comes at once also when Redis is stopped.
 *
 * Exit 0 healthy, 1 degraded or unhealthy, 69 when no daemon answers, 77 when it may not be asked.
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/session.h"
#include "client/table.h"
#include "client/watch.h"
#include "common/clock.h"
#include "common/exitcode.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { STATUS_TIMEOUT_MS = 2000, STATUS_BYTES_MAX = 4 * 1024 * 1024, READ_CHUNK = 16384 };

static const struct cli_option status_options[] = {
    WATCH_OPTION,
    {'j', "json", NULL, "Print the daemon's answer as JSON."},
    {0, NULL, NULL, NULL},
};

static int run_status(const struct cli *cli);

const struct cli_verb verb_status = {
    .name = "status",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .summary = "Show how the daemon, its workers and Redis are.",
    .notes =
        "Exit 0: healthy; 1: degraded or unhealthy; 69: no daemon; 77: no permission to ask it.\n",
    .options = status_options,
    .run = run_status,
};

/* ---- asking ---- */

static int connect_control(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);

    if (len >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, len + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

/* Waits for the fd until the deadline; false when the time is over. */
static bool wait_for(int fd, short events, int64_t until_ms)
{
    struct pollfd pfd = {.fd = fd, .events = events};

    for (;;) {
        int64_t left = until_ms - clock_mono_ms();
        if (left <= 0) {
            errno = ETIMEDOUT;
            return false;
        }
        int n = poll(&pfd, 1, (int)left);
        if (n > 0)
            return true;
        if (n < 0 && errno != EINTR)
            return false;
    }
}

static int send_line(int fd, const char *line, int64_t until_ms)
{
    size_t len = strlen(line);

    while (len > 0) {
        ssize_t n = send(fd, line, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno != EAGAIN || !wait_for(fd, POLLOUT, until_ms)))
            return -1;
        if (n > 0) {
            line += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

/* One line, without its newline. */
static int read_line(int fd, struct buf *out, int64_t until_ms)
{
    for (;;) {
        ssize_t n = read(fd, buf_reserve(out, READ_CHUNK), READ_CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno != EAGAIN || !wait_for(fd, POLLIN, until_ms)))
            return -1;
        if (n == 0) {
            errno = ECONNRESET;
            return -1;
        }
        size_t from = out->len;
        out->len += n > 0 ? (size_t)n : 0;
        out->data[out->len] = '\0';
        char *eol = n > 0 ? memchr(out->data + from, '\n', (size_t)n) : NULL;
        if (eol) {
            out->len = (size_t)(eol - out->data);
            return 0;
        }
        if (out->len > STATUS_BYTES_MAX) {
            errno = EMSGSIZE;
            return -1;
        }
    }
}

static int ask(const char *path, struct buf *answer)
{
    int64_t until = clock_mono_ms() + STATUS_TIMEOUT_MS;
    int fd = connect_control(path);

    if (fd < 0)
        return -1;
    int status = send_line(fd, "{\"cmd\":\"status\"}\n", until);
    if (status == 0 || errno == EPIPE || errno == ECONNRESET) /* turned away: it says why */
        status = read_line(fd, answer, until);
    int saved = errno;
    close(fd);
    errno = saved;
    return status;
}

/* ---- reading the answer ---- */

/* Appends the text of a member ("a.b": inside an object), or "-". */
static void put_value(struct buf *out, struct json_span object, const char *path)
{
    struct json_item item = {.value = object};
    char name[32];

    for (size_t len; *path; path += len + (path[len] == '.')) {
        len = strcspn(path, ".");
        snprintf(name, sizeof name, "%.*s", (int)len, path);
        if (json_type_of(item.value) != JSON_OBJECT || !json_find(item.value, name, &item) ||
            item.type == JSON_NULL) {
            buf_puts(out, "-");
            return;
        }
    }
    if (item.type == JSON_STRING && item.value.len > 2)
        json_decode_string(item.value, out);
    else if (item.type == JSON_STRING)
        buf_puts(out, "-");
    else
        buf_append(out, item.value.at, item.value.len);
}

static int64_t int_value(struct json_span object, const char *name)
{
    struct json_item item;
    int64_t n = 0;

    if (json_find(object, name, &item) && item.type == JSON_NUMBER)
        json_decode_int(item.value, &n);
    return n;
}

static void put_age(struct buf *out, int64_t ms)
{
    int64_t s = ms / 1000;

    if (s < 60)
        buf_printf(out, "%.1f s", (double)ms / 1000.0);
    else if (s < 3600)
        buf_printf(out, "%" PRId64 " min %" PRId64 " s", s / 60, s % 60);
    else if (s < 86400)
        buf_printf(out, "%" PRId64 " h %" PRId64 " min", s / 3600, s / 60 % 60);
    else
        buf_printf(out, "%" PRId64 " d %" PRId64 " h", s / 86400, s / 3600 % 24);
}

/* "label  value", escaped. */
static void put_line(struct buf *out, const char *label, const struct buf *value)
{
    buf_printf(out, "%-10s", label);
    term_put(out, buf_peek(value), value->len);
    buf_putc(out, '\n');
}

static void put_word(struct buf *value, struct json_span status, const char *path,
                     const char *before)
{
    buf_puts(value, before);
    put_value(value, status, path);
}

static void put_summary(struct buf *out, struct json_span status)
{
    struct buf value = BUF_INIT;
    struct json_item reasons, reason;
    struct json_iter it;

    put_word(&value, status, "status", "");
    put_line(out, "status", &value);
    if (json_find(status, "reasons", &reasons) && reasons.type == JSON_ARRAY) {
        json_iter_init(&it, reasons.value);
        while (json_iter_next(&it, &reason)) {
            buf_reset(&value);
            if (reason.type == JSON_STRING)
                json_decode_string(reason.value, &value);
            put_line(out, "reason", &value);
        }
    }
    buf_reset(&value);
    put_word(&value, status, "instance", "");
    put_word(&value, status, "pid", "  pid ");
    put_word(&value, status, "version", "  version ");
    buf_puts(&value, "  up ");
    put_age(&value, int_value(status, "uptime_ms"));
    put_line(out, "daemon", &value);
    buf_reset(&value);
    put_word(&value, status, "redis.state", "");
    put_word(&value, status, "redis.url", "  ");
    put_line(out, "redis", &value);
    buf_reset(&value);
    put_word(&value, status, "leader.id", "");
    put_line(out, "leader", &value);
    buf_done(&value);
}

/* ---- tables ---- */

struct listed {
    struct table_column column;
    const char *member; /* NULL: the row's own name */
    double scale; /* 0: as it is; else the number is divided by it and shown with two digits */
};

static const struct listed worker_columns[] = {
    {{"DOMAIN", TABLE_LEFT, TABLE_KEEP}, "domain", 0},
    {{"SLOT", TABLE_RIGHT, TABLE_KEEP}, "slot", 0},
    {{"PID", TABLE_RIGHT, TABLE_KEEP}, "pid", 0},
    {{"STATE", TABLE_LEFT, TABLE_KEEP}, "state", 0},
    {{"METHOD", TABLE_LEFT, TABLE_FLEX}, "method", 0},
    {{"REQUESTS", TABLE_RIGHT, TABLE_KEEP}, "requests", 0},
    {{"AGE s", TABLE_RIGHT, TABLE_KEEP}, "age_ms", 1000},
    {{"RESTARTS", TABLE_RIGHT, TABLE_DROP}, "restarts", 0},
};

static const struct listed method_columns[] = {
    {{"METHOD", TABLE_LEFT, TABLE_FLEX}, NULL, 0},
    {{"REQUESTS", TABLE_RIGHT, TABLE_KEEP}, "requests", 0},
    {{"ERRORS", TABLE_RIGHT, TABLE_KEEP}, "errors", 0},
    {{"REFUSED", TABLE_RIGHT, TABLE_DROP}, "refused", 0},
    {{"p50 ms", TABLE_RIGHT, TABLE_KEEP}, "p50_us", 1000},
    {{"p95 ms", TABLE_RIGHT, TABLE_KEEP}, "p95_us", 1000},
    {{"p99 ms", TABLE_RIGHT, TABLE_KEEP}, "p99_us", 1000},
};

static void put_listed(struct table *t, const struct json_item *row, const struct listed *columns,
                       size_t n)
{
    struct buf text = BUF_INIT;

    for (size_t i = 0; i < n; i++) {
        buf_reset(&text);
        if (!columns[i].member)
            json_decode_string(row->key, &text);
        else if (columns[i].scale > 0)
            buf_printf(&text, "%.2f",
                       (double)int_value(row->value, columns[i].member) / columns[i].scale);
        else
            put_value(&text, row->value, columns[i].member);
        table_cell(t, buf_peek(&text), text.len);
    }
    buf_done(&text);
}

/* A table of an array's or an object's members. */
static void put_list(struct buf *out, struct json_span status, const char *name,
                     const struct listed *columns, size_t n, struct term term)
{
    struct table_column heads[TABLE_COLUMNS_MAX];
    struct json_item list, row;
    struct json_iter it;
    struct table t;

    if (!json_find(status, name, &list) || (list.type != JSON_ARRAY && list.type != JSON_OBJECT) ||
        json_count(list.value) == 0)
        return;
    for (size_t i = 0; i < n; i++)
        heads[i] = columns[i].column;
    table_init(&t, heads, n);
    json_iter_init(&it, list.value);
    while (json_iter_next(&it, &row))
        if (row.type == JSON_OBJECT)
            put_listed(&t, &row, columns, n);
    buf_putc(out, '\n');
    table_put(&t, term, out);
    table_done(&t);
}

static int show(const struct cli *cli, struct json_span status)
{
    struct buf out = BUF_INIT, word = BUF_INIT;
    struct term term = term_detect(STDOUT_FILENO);

    if (cli_is_set(cli, "json")) {
        session_put_json(&out, status, term);
    } else {
        put_summary(&out, status);
        put_list(&out, status, "workers", worker_columns, CB_ARRAY_LEN(worker_columns), term);
        put_list(&out, status, "methods", method_columns, CB_ARRAY_LEN(method_columns), term);
    }
    put_value(&word, status, "status");
    bool is_healthy = strcmp(buf_peek(&word), "healthy") == 0;
    int written = cli_write(&out);
    buf_done(&word);
    buf_done(&out);
    /* To watch it is to see it become healthy again. */
    return is_healthy || written != EXITCODE_OK || cli_is_set(cli, "watch") ? written
                                                                            : EXITCODE_FAILURE;
}

static int not_permitted(const char *path)
{
    cli_say("%s: you may not ask this daemon: be root, its user, or in its group", path);
    return EXITCODE_NOPERM;
}

static int not_asked(const char *path, int error)
{
    bool is_absent = error == ENOENT || error == ECONNREFUSED;

    if (error == EACCES || error == EPERM)
        return not_permitted(path);
    cli_say("%s: %s%s", path, is_absent ? "no daemon there" : strerror(error),
            is_absent ? "; start claudebenchd" : "");
    return EXITCODE_UNAVAILABLE;
}

/* The daemon has answered, but with an error in place of its status. */
static int turned_away(const char *path, struct json_span text)
{
    struct buf why CB_CLEANUP(buf_done) = BUF_INIT;

    json_decode_string(text, &why);
    if (strcmp(buf_peek(&why), "not permitted") == 0)
        return not_permitted(path);
    cli_say("%s: the daemon refuses: %s", path, buf_peek(&why));
    return EXITCODE_TEMPFAIL;
}

static int ask_and_show(const struct cli *cli, struct session *s)
{
    struct buf answer CB_CLEANUP(buf_done) = BUF_INIT;
    struct json_span status;
    struct json_item error;
    enum json_type type;
    const char *path = s->opts->supervisor.control_socket;

    if (ask(path, &answer) != 0)
        return not_asked(path, errno);
    if (json_check(answer.data, answer.len, &status, &type, NULL) != 0 || type != JSON_OBJECT) {
        cli_say("%s: the daemon's answer is not JSON", path);
        return EXITCODE_SOFTWARE;
    }
    if (json_find(status, "error", &error) && error.type == JSON_STRING)
        return turned_away(path, error.value);
    return show(cli, status);
}

static int run_status(const struct cli *cli)
{
    struct session s CB_CLEANUP(session_close) = SESSION_INIT;
    int code = session_load(&s, cli);

    return code >= 0 ? code : watch(cli, &s, ask_and_show);
}

/*
 * log.c: see log.h. Where lines go, how many, and who speaks; how they look is in log_format.c.
 *
 * A line is one write(2) to an O_APPEND file, a pipe or a terminal, so that lines of several
 * processes do not mix. A line that cannot be written is lost: nothing here blocks or fails the
 * caller for it, a syslog that does not read least of all (log_syslog.c), except that a slow
 * terminal or pipe on stderr slows us down as it would any program.
 */
#include "common/compat.h"
#include "common/log.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/log_format.h"
#include "common/log_ring.h"
#include "common/log_syslog.h"
#include "common/mem.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <syslog.h>

enum sink { SINK_STDERR, SINK_SYSLOG, SINK_FILE };

/* What happened to one event in the second that began at `since_ms`. */
struct pace {
    int64_t since_ms;
    unsigned lines;
    uint64_t suppressed;
};

static const struct {
    const char *name;
    const char *text;
    enum log_level level;
} events[] = {
#define LOG_EVENT(name, level, text) {#name, text, LOG_LEVEL_##level},
#include "common/log_events.def"
#undef LOG_EVENT
};

/* Where the rows of each subsystem begin. */
enum {
#define LOG_SUBSYSTEM(name)          FIRST_OF_##name, BACK_TO_##name = FIRST_OF_##name - 1,
#define LOG_EVENT(name, level, text) ROW_OF_##name,
#include "common/log_events.def"
    ROWS
#undef LOG_EVENT
};
_Static_assert((int)ROWS == (int)EV_COUNT, "rows are counted as events");

static const struct {
    const char *name;
    int first; /* enum log_event */
} subsystems[] = {
#define LOG_SUBSYSTEM(name) {#name, FIRST_OF_##name},
#define LOG_EVENT(name, level, text)
#include "common/log_events.def"
#undef LOG_EVENT
};

static struct {
    enum sink sink;
    enum log_level level;
    unsigned char own_level[LOG_SUBSYSTEMS]; /* a subsystem's: the level and one; 0 = none */
    enum log_format format;
    char *path; /* SINK_FILE */
    int fd;     /* SINK_FILE, else -1 */
    bool is_journal;
    bool is_journal_known;
    uint64_t lost; /* lines that syslog has not taken since one that it took */
    char program[32];
    char context[96];
    struct pace paces[EV_COUNT];
    struct log_ring *ring; /* NULL: none */
} state = {.level = LOG_LEVEL_INFO, .fd = -1, .program = "claudebench"};

/* ---- tables ---- */

const char *log_event_name(enum log_event ev)
{
    return events[ev].name;
}

const char *log_event_text(enum log_event ev)
{
    return events[ev].text;
}

enum log_level log_event_level(enum log_event ev)
{
    return events[ev].level;
}

static const char *const level_names[] = {"error", "warn", "info", "debug"};

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

int log_level_find(const char *name)
{
    for (size_t i = 0; i < CB_ARRAY_LEN(level_names); i++)
        if (strcmp(level_names[i], name) == 0)
            return (int)i;
    return -1;
}

const char *log_subsystem_name(enum log_subsystem subsystem)
{
    return subsystems[subsystem].name;
}

int log_subsystem_find(const char *name)
{
    for (int i = 0; i < LOG_SUBSYSTEMS; i++)
        if (strcmp(subsystems[i].name, name) == 0)
            return i;
    return -1;
}

static enum log_level level_of(enum log_event ev)
{
    int i = LOG_SUBSYSTEMS - 1;

    while (i > 0 && subsystems[i].first > (int)ev)
        i--;
    return state.own_level[i] ? (enum log_level)(state.own_level[i] - 1) : state.level;
}

static int syslog_priority(enum log_level level)
{
    static const int priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
    return priorities[level];
}

/* ---- open and close ---- */

/* True when stderr is the pipe or socket to systemd's journal: JOURNAL_STREAM=<device>:<inode>. */
static bool find_journal(void)
{
    const char *value = getenv("JOURNAL_STREAM");
    struct stat st;
    uintmax_t device = 0;
    uintmax_t inode = 0;

    if (!value || fstat(STDERR_FILENO, &st) != 0)
        return false;
    if (sscanf(value, "%" SCNuMAX ":%" SCNuMAX, &device, &inode) != 2) /* NOLINT(cert-err34-c) */
        return false;
    return device == (uintmax_t)st.st_dev && inode == (uintmax_t)st.st_ino;
}

static int open_file(const char *path, struct cb_error *err)
{
    const int flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY;
    int fd = open(path, flags | O_CREAT | O_EXCL, 0640);

    if (fd >= 0)
        fchmod(fd, 0640); /* whatever the umask: the group may read a log that is ours */
    else if (errno == EEXIST)
        fd = open(path, flags);
    if (fd < 0) {
        int saved = errno;
        return cb_error_set(err, saved, "cannot open the log %s: %s", path, strerror(saved));
    }
    return fd;
}

void log_close(void)
{
    if (state.sink == SINK_SYSLOG)
        log_syslog_close();
    if (state.fd >= 0)
        close(state.fd);
    free(state.path);
    state.path = NULL;
    state.fd = -1;
    state.sink = SINK_STDERR;
}

int log_open(const struct log_settings *settings, struct cb_error *err)
{
    const char *to = settings->destination ? settings->destination : "stderr";
    bool is_file = to[0] == '/';
    int fd = -1;

    if (!is_file && strcmp(to, "stderr") != 0 && strcmp(to, "syslog") != 0)
        return cb_error_set(err, EINVAL, "%s: not a log destination", to);
    if (is_file && (fd = open_file(to, err)) < 0)
        return -1;
    char *path = is_file ? mem_strdup(to) : NULL; /* before log_close: it may be our own */
    log_close();
    state.level = settings->level;
    state.format = settings->format;
    state.sink = is_file ? SINK_FILE : strcmp(to, "syslog") == 0 ? SINK_SYSLOG : SINK_STDERR;
    state.path = path;
    state.fd = fd;
    state.is_journal_known = false;
    return 0;
}

bool log_has_syslog(void)
{
    return log_syslog_is_there();
}

int log_reopen(struct cb_error *err)
{
    if (state.sink != SINK_FILE)
        return 0;
    int fd = open_file(state.path, err);
    if (fd < 0)
        return -1;
    close(state.fd);
    state.fd = fd;
    return 0;
}

void log_set_subsystem_level(enum log_subsystem subsystem, int level)
{
    state.own_level[subsystem] = (unsigned char)(level + 1);
}

void log_set_ring(struct log_ring *ring)
{
    state.ring = ring;
}

enum log_level log_get_level(void)
{
    return state.level;
}

void log_ident(const char *program, const char *context)
{
    snprintf(state.program, sizeof state.program, "%s", program);
    snprintf(state.context, sizeof state.context, "%s", context ? context : "");
}

/* ---- writing ---- */

bool log_is_wanted(enum log_event ev)
{
    return events[ev].level <= level_of(ev);
}

/* False when the event has had its lines for this second; otherwise *ret_suppressed says how many
 * were left out since the last one. */
static bool may_pass(struct pace *pace, uint64_t *ret_suppressed)
{
    int64_t now = clock_mono_ms();

    if (pace->lines == 0 || now - pace->since_ms >= 1000 || now < pace->since_ms) {
        pace->since_ms = now;
        pace->lines = 0;
    }
    if (pace->lines == LOG_EVENTS_PER_SECOND) {
        pace->suppressed++;
        return false;
    }
    pace->lines++;
    *ret_suppressed = pace->suppressed;
    pace->suppressed = 0;
    return true;
}

static uint64_t hash_text(const char *text)
{
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */

    for (const char *p = text; *p; p++)
        hash = (hash ^ (unsigned char)*p) * UINT64_C(1099511628211);
    return hash ? hash : 1;
}

bool log_repeat_may(struct log_repeat *r, const char *text, unsigned *ret_times)
{
    uint64_t what = hash_text(text);
    int64_t now = clock_mono_ms();

    r->times++;
    if (what == r->what && now - r->said_ms < LOG_REPEAT_MS)
        return false;
    if (ret_times)
        *ret_times = what == r->what ? r->times : 1;
    *r = (struct log_repeat){.what = what, .said_ms = now};
    return true;
}

void log_repeat_over(struct log_repeat *r)
{
    *r = (struct log_repeat){0};
}

static void write_line(int fd, const struct buf *text)
{
    size_t done = 0;

    while (done < text->len) {
        ssize_t n = write(fd, text->data + done, text->len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        done += (size_t)n;
    }
}

static void put_line(const struct log_line *line, struct buf *out)
{
    if (state.format == LOG_FORMAT_JSON)
        log_format_json(line, out);
    else
        log_format_text(line, out);
}

static void write_syslog(struct log_line *line)
{
    struct buf text = BUF_INIT;

    line->wall_ms = -1;
    put_line(line, &text);
    bool is_sent = log_syslog_send(LOG_DAEMON | syslog_priority(log_event_level(line->event)),
                                   state.program, line->pid, buf_peek(&text));
    buf_done(&text);
    if (!is_sent) {
        state.lost++;
    } else if (state.lost > 0) {
        uint64_t lost = state.lost;
        state.lost = 0; /* before the line about it: it may be lost itself */
        log_event(EV_log_lines_lost, LOG_I("lines", lost));
    }
}

static void write_fd(int fd, bool is_journal, struct log_line *line)
{
    struct buf text = BUF_INIT;

    line->wall_ms = is_journal ? -1 : clock_wall_ms();
    if (is_journal)
        buf_printf(&text, "<%d>", syslog_priority(log_event_level(line->event)));
    put_line(line, &text);
    buf_putc(&text, '\n');
    write_line(fd, &text);
    buf_done(&text);
}

/* As text, whatever the format is, and without what the ring has by itself. */
static void keep_line(struct log_line *line)
{
    struct buf text = BUF_INIT;
    enum log_level level = log_event_level(line->event);
    struct log_ring_line kept = {.wall_ms = clock_wall_ms(), .pid = line->pid, .level = (int)level};

    if (!state.ring || level > LOG_LEVEL_INFO)
        return;
    line->wall_ms = -1;
    snprintf(kept.program, sizeof kept.program, "%s", line->program);
    log_format_text(line, &text);
    size_t skip = strlen(log_level_name(level)) + 1;
    log_ring_put(state.ring, &kept, buf_peek(&text) + skip, text.len - skip);
    buf_done(&text);
}

void log_event_fields(enum log_event ev, const struct log_field *fields)
{
    int saved = errno;
    struct log_line line = {
        .program = state.program,
        .context = state.context,
        .pid = (int)getpid(),
        .event = ev,
        .fields = fields,
    };

    cb_assert(ev < EV_COUNT);
    if (!log_is_wanted(ev) || !may_pass(&state.paces[ev], &line.suppressed))
        return;
    if (!state.is_journal_known) {
        state.is_journal = find_journal();
        state.is_journal_known = true;
    }
    if (state.sink == SINK_SYSLOG)
        write_syslog(&line);
    else if (state.sink == SINK_FILE)
        write_fd(state.fd, false, &line);
    else
        write_fd(STDERR_FILENO, state.is_journal, &line);
    keep_line(&line);
    errno = saved;
}

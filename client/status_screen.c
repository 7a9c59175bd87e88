/*
 * status_screen.c: see status_screen.h. Each list is made whole, so that its columns are those of all rows, and cut afterwards.
 */
#include "common/compat.h"
#include "client/status_screen.h"

#include "client/peek.h"
#include "client/views.h"

enum { LOG_LINES = 10, WIDE = 120 };

/* ---- lines of the log ---- */

static void put_what(struct json_span line, bool is_wide, struct buf *out)
{
    static const char event[] = "event=";
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;

    peek_put(line, "text", &text);
    if (is_wide) {
        peek_put(line, "program", out);
        buf_puts(out, "[");
        peek_put(line, "pid", out);
        buf_puts(out, "] ");
    }
    size_t skip = strncmp(buf_peek(&text), event, strlen(event)) == 0 ? strlen(event) : 0;
    buf_append(out, buf_peek(&text) + skip, text.len - skip);
}

void status_screen_put_log_line(struct json_span line, struct term term, struct buf *out)
{
    struct buf at CB_CLEANUP(buf_done) = BUF_INIT;
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT, safe CB_CLEANUP(buf_done) = BUF_INIT;
    bool is_error = peek_is(line, "level", "error"), is_warn = peek_is(line, "level", "warn");
    size_t width = term.width > 0 ? (size_t)term.width : SIZE_MAX;

    peek_put(line, "at", &at);
    peek_put_local_time(&text, buf_peek(&at), at.len);
    size_t start = text.len;
    buf_puts(&text, " ");
    peek_put(line, "level", &text);
    while (text.len < start + 7)
        buf_putc(&text, ' ');
    put_what(line, width >= WIDE, &text);
    term_put(&safe, buf_peek(&text), text.len);
    bool is_cut = term_width(buf_peek(&safe), safe.len) > width;
    bool has_color = term.has_color && (is_error || is_warn);
    buf_puts(out, !has_color ? "" : is_error ? "\033[31m" : "\033[33m");
    buf_append(out, buf_peek(&safe),
               is_cut ? term_fit(buf_peek(&safe), safe.len, width - 1) : safe.len);
    buf_puts(out, is_cut ? "…" : "");
    buf_puts(out, has_color ? "\033[0m" : "");
    buf_putc(out, '\n');
}

static void put_log(struct json_span status, struct term term, struct buf *out)
{
    struct json_item list, line;
    struct json_iter it;
    size_t n = peek_count(status, "log");

    if (n == 0 || !peek_find(status, "log", &list))
        return;
    buf_printf(out, "%sLOG%s\n", term.has_color ? "\033[1m" : "", term.has_color ? "\033[0m" : "");
    json_iter_init(&it, list.value);
    for (; json_iter_next(&it, &line); n--)
        if (n <= LOG_LINES)
            status_screen_put_log_line(line.value, term, out);
}

/* ---- the lists ---- */

/* A list with its title line. */
struct part {
    const char *name; /* of a row */
    struct buf text;
    size_t lines; /* that it has */
    size_t least; /* that it is to have, if it has */
    size_t first; /* that matter more than the rest of any other; 0: all of them */
    size_t rank;  /* who gets a free row first: 1, 2, … */
    bool is_tail; /* cut at its beginning, and without a word */
    size_t shown; /* lines, the one that says what is left out included */
};
enum { PART_WORKERS, PART_QUEUES, PART_INSTANCES, PART_METHODS, PART_LOG, PARTS };

static size_t count_lines(const struct buf *text)
{
    size_t n = 0;

    for (size_t i = 0; i < text->len; i++)
        n += text->data[i] == '\n';
    return n;
}

static void make_view(struct part *p, enum view_id id, struct json_span status, struct term term)
{
    struct json_item list, leader;
    struct view_context ctx = {.seconds = 0};

    if (peek_find(status, "figures.leader", &leader))
        ctx.leader = leader.value;
    if (peek_count(status, views[id].path) > 0 && peek_find(status, views[id].path, &list))
        view_put(&views[id], list.value, &ctx, term, &p->text);
}

/* Lines of the queues that have work: the title, theirs, and the one that says how many there are beside them. */
static size_t busy_lines(struct json_span status)
{
    struct json_item list, queue;
    struct json_iter it;
    size_t n = 2;

    if (peek_count(status, "figures.queues") == 0 || !peek_find(status, "figures.queues", &list))
        return n;
    json_iter_init(&it, list.value);
    while (json_iter_next(&it, &queue))
        n += peek_int(queue.value, "pending") > 0 || peek_int(queue.value, "in_progress") > 0 ||
             peek_int(queue.value, "failed") > 0;
    return n;
}

static void make_parts(struct part parts[PARTS], struct json_span status, struct term term)
{
    static const struct part made[PARTS] = {
        [PART_WORKERS] = {.name = "worker", .least = 3, .rank = 2},
        [PART_QUEUES] = {.name = "queue", .least = 3, .rank = 1},
        [PART_INSTANCES] = {.name = "instance", .least = 0, .rank = 4},
        [PART_METHODS] = {.name = "method", .least = 0, .rank = 5},
        [PART_LOG] = {.name = "log line", .least = 2, .rank = 3, .is_tail = true},
    };

    memcpy(parts, made, sizeof made);
    make_view(&parts[PART_WORKERS], VIEW_WORKERS, status, term);
    make_view(&parts[PART_QUEUES], VIEW_QUEUES, status, term);
    if (peek_count(status, "figures.instances") > 1) /* one is this daemon itself */
        make_view(&parts[PART_INSTANCES], VIEW_INSTANCES, status, term);
    make_view(&parts[PART_METHODS], VIEW_METHODS, status, term);
    put_log(status, term, &parts[PART_LOG].text);
    parts[PART_QUEUES].first = busy_lines(status);
    for (size_t i = 0; i < PARTS; i++)
        parts[i].lines = count_lines(&parts[i].text);
}

/* Rows of a part that shows so many lines, with the empty one before it. */
static size_t rows_of(size_t shown)
{
    return shown ? shown + 1 : 0;
}

static struct part *by_rank(struct part parts[PARTS], size_t rank)
{
    for (size_t i = 0; i < PARTS; i++)
        if (parts[i].rank == rank)
            return &parts[i];
    return NULL;
}

static bool is_left_out(const struct part *p)
{
    return p->lines > 0 && p->shown == 0;
}

/* By rank each gets as many of these rows as it has lines for; of one that has fewer lines that matter, those first. */
static size_t grow(struct part parts[PARTS], size_t rows, bool is_first)
{
    for (size_t rank = 1; rank <= PARTS; rank++) {
        struct part *p = by_rank(parts, rank);
        size_t goal = is_first && p->first && p->first < p->lines ? p->first : p->lines;
        size_t least = rows_of(p->least ? p->least : 3); /* a title and two lines, or nothing */
        size_t have = rows_of(p->shown), all = rows_of(goal);
        if (have >= all || have + rows < (all < least ? all : least))
            continue;
        size_t now = all - have <= rows ? all : have + rows;
        rows -= now - have;
        p->shown = now - 1;
    }
    return rows;
}

/* What each shows of its lines in so many rows: first what it is to have at least, then by rank as much as there is. */
static void share(struct part parts[PARTS], size_t rows)
{
    for (size_t rank = 1; rank <= PARTS; rank++) {
        struct part *p = by_rank(parts, rank);
        size_t want = p->lines < p->least ? p->lines : p->least;
        if (rows_of(want) <= rows)
            p->shown = want;
        rows -= rows_of(p->shown);
    }
    grow(parts, grow(parts, rows, true), false);
}

/* The same, with a row for the line that names the parts of which nothing is shown, if there are such. Returns whether it is to be. */
static bool share_or_name(struct part parts[PARTS], size_t rows)
{
    bool is_any = false;

    share(parts, rows);
    for (size_t i = 0; i < PARTS; i++)
        is_any |= is_left_out(&parts[i]);
    if (!is_any || rows == 0)
        return false;
    for (size_t i = 0; i < PARTS; i++)
        parts[i].shown = 0;
    share(parts, rows - 1);
    return true;
}

static void put_left_out(const struct part parts[PARTS], struct term term, struct buf *out)
{
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
    size_t width = term.width > 0 ? (size_t)term.width : SIZE_MAX;

    for (size_t i = 0; i < PARTS; i++)
        if (is_left_out(&parts[i]))
            buf_printf(&text, "%s%zu %s%s", text.len ? ", " : "… not shown: ", parts[i].lines - 1,
                       parts[i].name, parts[i].lines == 2 ? "" : "s");
    bool is_cut = term_width(buf_peek(&text), text.len) > width;
    buf_append(out, buf_peek(&text),
               is_cut ? term_fit(buf_peek(&text), text.len, width - 1) : text.len);
    buf_puts(out, is_cut ? "…\n" : "\n");
}

/* The start of the i-th line. */
static const char *line_at(const struct buf *text, size_t i)
{
    const char *at = buf_peek(text);

    while (i-- > 0)
        at = strchr(at, '\n') + 1;
    return at;
}

static void put_part(const struct part *p, struct buf *out)
{
    const char *end = buf_peek(&p->text) + p->text.len;

    if (p->shown == 0)
        return;
    buf_putc(out, '\n');
    if (p->shown >= p->lines) {
        buf_append(out, buf_peek(&p->text), p->text.len);
    } else if (p->is_tail) {
        const char *rest = line_at(&p->text, p->lines - p->shown + 1);
        buf_append(out, buf_peek(&p->text), (size_t)(line_at(&p->text, 1) - buf_peek(&p->text)));
        buf_append(out, rest, (size_t)(end - rest));
    } else {
        buf_append(out, buf_peek(&p->text),
                   (size_t)(line_at(&p->text, p->shown - 1) - buf_peek(&p->text)));
        buf_printf(out, "… %zu more\n", p->lines - p->shown + 1);
    }
}

void status_screen_put(struct json_span status, struct term term, int spare, struct buf *out)
{
    struct part parts[PARTS];
    size_t before = out->len;

    status_screen_put_summary(status, term, out);
    struct buf summary = {.data = out->data + before, .len = out->len - before};
    size_t used = count_lines(&summary) + (size_t)spare;
    size_t rows = term.height <= 0             ? SIZE_MAX / 2
                  : (size_t)term.height > used ? (size_t)term.height - used
                                               : 0;
    make_parts(parts, status, term);
    bool is_any_left_out = share_or_name(parts, rows);
    for (size_t i = 0; i < PARTS; i++) {
        put_part(&parts[i], out);
        buf_done(&parts[i].text);
    }
    if (is_any_left_out)
        put_left_out(parts, term, out);
}

/*
 * progress.c: see progress.h.
 */
#include "common/compat.h"
#include "client/progress.h"

#include "common/clock.h"

enum { REDRAW_MS = 100, BAR_MAX = 40 };

void progress_init(struct progress *p, const char *label)
{
    *p = (struct progress){.term = term_detect(STDERR_FILENO), .label = label};
    p->started_ms = clock_mono_ms();
    p->shown_ms = p->started_ms - REDRAW_MS;
}

int64_t progress_elapsed_ms(const struct progress *p)
{
    return clock_mono_ms() - p->started_ms;
}

static void put_bar(struct buf *line, int64_t done, int64_t total, size_t room)
{
    size_t cells = room < BAR_MAX ? room : BAR_MAX;
    int64_t part = done > total ? total : done;
    size_t full = (size_t)((double)part / (double)total * (double)cells);

    buf_puts(line, " [");
    for (size_t i = 0; i < cells; i++)
        buf_putc(line, i < full ? '=' : i == full ? '>' : ' ');
    buf_printf(line, "] %3d%%", (int)((double)part / (double)total * 100));
}

void progress_update(struct progress *p, int64_t done, int64_t total, const char *note)
{
    struct buf line = BUF_INIT;
    int64_t now = clock_mono_ms();

    p->is_late = p->term.is_tty && now - p->shown_ms < REDRAW_MS;
    if (!p->term.is_tty || p->is_late)
        return;
    p->shown_ms = now;
    size_t taken = strlen(p->label) + term_width(note, strlen(note)) + 12;
    buf_printf(&line, "\r%s", p->label);
    if (total > 0 && taken + 10 < (size_t)p->term.width)
        put_bar(&line, done, total, (size_t)p->term.width - taken);
    buf_printf(&line, " %s\033[K", note);
    fwrite(line.data, 1, line.len, stderr);
    fflush(stderr);
    buf_done(&line);
    p->is_shown = true;
}

int64_t progress_due_ms(const struct progress *p)
{
    return p->is_late ? p->shown_ms + REDRAW_MS : 0;
}

void progress_clear(struct progress *p)
{
    if (!p->is_shown)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    p->is_shown = false;
    p->shown_ms = 0;
}

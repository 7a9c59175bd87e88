/*
 * keys.c: see top.h.
 */
#include "common/compat.h"
#include "client/top/top.h"

#include <ncurses.h>

const char keys_line[] = "q quit  ? help  Tab view  < > sort  r reverse  + - delay  p pause";

const char *const keys_help[] = {
    "q              quit",
    "? h            this help; any key ends it",
    "Tab 1 2 3 4    workers, queues, instances, methods",
    "< >  Left Right  sort by the column before, behind",
    "r              sort the other way round",
    "Up Down PgUp PgDn Home End  other rows",
    "+ -            look more often, less often",
    "space          look now",
    "p              pause: keep what is shown",
    "",
    "REQ/S is of the last second or two. * is the instance that leads.",
    "The first lines are those of claudebench status.",
    NULL,
};

static void show_view(struct top *t, enum view_id view)
{
    t->view = view;
    t->offset = 0;
}

static void sort_by_next(struct top *t, size_t step)
{
    size_t n = views[t->view].ncolumns;
    struct sort *sort = &t->sort[t->view];

    sort->column = (sort->column + step) % n;
    sort->is_reverse = false;
    t->offset = 0;
}

static void scroll_to(struct top *t, size_t offset)
{
    size_t last = t->nrows > t->page ? t->nrows - t->page : 0;

    t->offset = offset < last ? offset : last;
}

static void scroll_up(struct top *t, size_t rows)
{
    t->offset = t->offset > rows ? t->offset - rows : 0;
}

/* By thirds or so, in round numbers. */
static void change_delay(struct top *t, bool is_more_often)
{
    static const int64_t steps[] = {DELAY_MIN_MS, 500,   1000,  2000,
                                    5000,         10000, 30000, DELAY_MAX_MS};
    size_t i = 0;

    while (i + 1 < CB_ARRAY_LEN(steps) && steps[i] < t->delay_ms)
        i++;
    if (is_more_often)
        i = i > 0 ? i - 1 : 0;
    else if (steps[i] <= t->delay_ms && i + 1 < CB_ARRAY_LEN(steps))
        i++;
    t->delay_ms = steps[i];
    t->next_ms = 0;
}

static bool press_scroll(struct top *t, int key)
{
    switch (key) {
    case KEY_UP:
    case 'k':
        scroll_up(t, 1);
        return true;
    case KEY_DOWN:
    case 'j':
        scroll_to(t, t->offset + 1);
        return true;
    case KEY_PPAGE:
        scroll_up(t, t->page);
        return true;
    case KEY_NPAGE:
        scroll_to(t, t->offset + t->page);
        return true;
    case KEY_HOME:
        t->offset = 0;
        return true;
    case KEY_END:
        scroll_to(t, SIZE_MAX);
        return true;
    default:
        return false;
    }
}

static void press_other(struct top *t, int key)
{
    switch (key) {
    case 'q':
    case 'Q':
        t->is_done = true;
        break;
    case '?':
    case 'h':
        t->shows_help = true;
        break;
    case '\t':
        show_view(t, (t->view + 1) % VIEWS);
        break;
    case KEY_BTAB:
        show_view(t, (t->view + VIEWS - 1) % VIEWS);
        break;
    case '>':
    case KEY_RIGHT:
        sort_by_next(t, 1);
        break;
    case '<':
    case KEY_LEFT:
        sort_by_next(t, views[t->view].ncolumns - 1);
        break;
    case 'r':
        t->sort[t->view].is_reverse = !t->sort[t->view].is_reverse;
        break;
    case '+':
    case '-':
        change_delay(t, key == '+');
        break;
    case ' ':
        t->next_ms = 0;
        break;
    case 'p':
        t->is_paused = !t->is_paused;
        break;
    default:
        if (key >= '1' && key < '1' + VIEWS)
            show_view(t, (enum view_id)(key - '1'));
    }
}

void keys_press(struct top *t, int key)
{
    if (key == KEY_RESIZE)
        return;
    if (t->shows_help) {
        t->shows_help = false;
        t->is_done = key == 'q';
    } else if (!press_scroll(t, key)) {
        press_other(t, key);
    }
}

/*
 * schedule_plan.c: see schedule_plan.h. Whatever was missed, the work is bounded: intervals are divided, and in the times
 * of a cron expression we search by halves.
 */
#include "common/compat.h"
#include "supervisor/schedule_plan.h"

#include "common/cron.h"

/* A schedule in a form that can be asked. */
struct rhythm {
    const struct schedule_when *when;
    struct cron cron;
    struct tz *tz; /* NULL: an interval */
};

static void rhythm_done(struct rhythm *r)
{
    tz_free(r->tz);
}

/* The first due time behind `after`, or CRON_NEVER. */
static int64_t next_due(const struct rhythm *r, int64_t after)
{
    const struct schedule_when *w = r->when;
    int64_t due = w->anchor_ms;

    if (r->tz)
        due = cron_next(&r->cron, r->tz, after);
    else if (due <= after)
        due += ((after - due) / w->every_ms + 1) * w->every_ms;
    return due <= w->end_ms ? due : CRON_NEVER;
}

/* How many due times lie from `first`, which is one, to `last`; counts cron expressions to `max`. */
static int64_t count_due(const struct rhythm *r, int64_t first, int64_t last, int64_t max)
{
    int64_t n = 0;

    if (last > r->when->end_ms)
        last = r->when->end_ms;
    if (first > last)
        return 0;
    if (!r->tz)
        return (last - first) / r->when->every_ms + 1;
    for (; first <= last && n < max; n++)
        first = next_due(r, first);
    return n;
}

/* The earliest due time, not before `first`, behind which at most `keep` due times lie up to `last`, itself counted. */
static int64_t latest_due(const struct rhythm *r, int64_t first, int64_t last, int64_t keep)
{
    int64_t low = first - 1, high = last; /* count_due() from behind `high` is small enough */

    if (!r->tz) {
        int64_t n = count_due(r, first, last, 0);
        return n <= keep ? first : first + (n - keep) * r->when->every_ms;
    }
    if (count_due(r, first, last, keep + 1) <= keep)
        return first;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (count_due(r, next_due(r, middle), last, keep + 1) <= keep)
            high = middle;
        else
            low = middle + 1;
    }
    return next_due(r, high);
}

/* What was missed, from `first` to `last`. Returns the first time that is to be fired. */
static int64_t drop_missed(const struct rhythm *r, int64_t first, int64_t last, int64_t now,
                           struct schedule_plan *plan)
{
    int64_t from = next_due(r, last);

    if (r->when->missed == SCHEDULE_ALL)
        from = latest_due(r, first, last, SCHEDULE_KEEP);
    else if (r->when->missed == SCHEDULE_ONCE && from > now)
        from = latest_due(r, first, last, 1);
    int64_t end = from - 1 < last ? from - 1 : last;
    plan->dropped = count_due(r, first, end, SCHEDULE_COUNT_MAX);
    return from;
}

static void make_plan(const struct rhythm *r, int64_t now, size_t room, struct schedule_plan *plan)
{
    const struct schedule_when *w = r->when;
    int64_t due = w->due_ms < w->floor_ms ? next_due(r, w->floor_ms - 1) : w->due_ms;

    *plan = (struct schedule_plan){.len = 0};
    if (due < now - SCHEDULE_LATE_MS)
        due = drop_missed(r, due, now - SCHEDULE_LATE_MS - 1, now, plan);
    for (; due <= now && plan->len < room; due = next_due(r, due))
        plan->times[plan->len++] = due;
    plan->has_next = due != CRON_NEVER;
    plan->next_ms = due;
}

int schedule_plan(const struct schedule_when *when, int64_t now_ms, size_t room,
                  struct schedule_plan *ret_plan, const char **ret_problem)
{
    struct rhythm r CB_CLEANUP(rhythm_done) = {.when = when};
    struct cron_problem problem;

    *ret_problem = NULL;
    if (when->cron && tz_load(NULL, when->timezone, &r.tz, NULL) != 0)
        *ret_problem = "its time zone is not known on this machine";
    else if (when->cron && cron_parse(when->cron, &r.cron, &problem) != 0)
        *ret_problem = "its cron expression is not understood by this version";
    else if (!when->cron && when->every_ms < 1)
        *ret_problem = "its interval is damaged";
    if (*ret_problem)
        return -1;
    make_plan(&r, now_ms, room, ret_plan);
    return 0;
}

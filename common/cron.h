/*
 * cron.h: cron expressions as in crontab(5), and the times that they name in a time zone.
 *
 * Five fields: minute (0-59) hour (0-23) day of the month (1-31) month (1-12) day of the week (0-7; 0 and 7 are Sunday).
 * A field is `*`, or a list of numbers and ranges `a-b` between commas; `*` and ranges may have a step `/n`. Months and
 * days of the week have names of three letters. Days of the month know `L`, the last one; days of the week know `5#2`,
 * the second Friday, and `5L`, the last one. One of @hourly, @daily (@midnight), @weekly, @monthly, @yearly (@annually)
 * stands for all five.
 *
 * When both day fields say something (neither begins with `*`), a day needs one of them, else both: as in crontab(5).
 *
 * When the clocks change: an expression whose minute and hour do not begin with `*` names fixed times. One that does not
 * exist on a day is taken at the first moment after the gap, one that comes twice is taken the first time. All others
 * follow the clock on the wall: what it skips is skipped, what it shows twice is taken twice.
 */
#ifndef CB_CRON_H
#define CB_CRON_H

#include "common/tz.h"

enum { CRON_MAX = 200 }; /* bytes of an expression */

struct cron {
    uint64_t minutes;
    uint32_t hours;
    uint32_t days;    /* bits 1 to 31 */
    uint16_t months;  /* bits 1 to 12 */
    uint8_t weekdays; /* bits 0 (Sunday) to 6 */
    uint8_t nth
        [7]; /* per day of the week: bits 1 to 5, the first to the fifth of the month; bit 0, the last */
    bool is_last_day; /* `L` */
    bool is_either;   /* both day fields say something: one is enough */
    bool is_every;    /* minute or hour begins with `*` */
};

/* What is wrong with an expression, in plain ASCII for an error reply. */
struct cron_problem {
    char expected[120]; /* "hour at byte 3: 0 to 23" */
    char got[40];       /* "\"24\"" */
};

/* 0, or -1 with *problem filled. A date that never comes (30 February) is refused too. */
int cron_parse(const char *text, struct cron *ret_cron, struct cron_problem *problem);

#define CRON_NEVER INT64_MAX
/* The first time after `after_ms` (both ms since 1970, and the result a whole minute of local time), or CRON_NEVER when
 * there is none before the year 10000. */
int64_t cron_next(const struct cron *cron, const struct tz *tz, int64_t after_ms);

#endif

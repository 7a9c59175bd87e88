/*
 * tz_rule.h: a POSIX TZ string ("CET-1CEST,M3.5.0,M10.5.0/3") with the extension of RFC 8536 (times of -167 to 167
 * hours): the rule at the end of a TZif file, for all times behind its table.
 */
#ifndef CB_TZ_RULE_H
#define CB_TZ_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One day of the year and the second of it, in local time. */
struct tz_change {
    char kind;       /* 'J': day 1 to 365, without 29 February; 'D': day 0 to 365; 'M': the rest */
    int day;         /* for 'M': 0 (Sunday) to 6 */
    int week, month; /* for 'M'; week 5 is the last */
    int time_s;
};

struct tz_rule {
    int32_t standard, summer; /* seconds east of UTC; the same when there is no summer time */
    bool has_summer;
    struct tz_change start, end; /* of summer time */
};

/* A stretch of time, `from` included and `to` not, in which the offset (seconds east of UTC) is the same. */
struct tz_span {
    int64_t from, to;
    int32_t offset;
};

/* 0, or -1 when the text is not a rule (names without a rule for summer time are none). */
int tz_rule_parse(const char *text, size_t len, struct tz_rule *ret_rule);
/* The stretch that `t` (seconds since 1970, of a year that the calendar can say) lies in. */
struct tz_span tz_rule_span_at(const struct tz_rule *rule, int64_t t);

#endif

/*
 * civil.h: the proleptic Gregorian calendar as days since 1970-01-01. Knows no time zone.
 */
#ifndef CB_CIVIL_H
#define CB_CIVIL_H

#include <stdint.h>

enum { CIVIL_DAY_S = 86400 };

struct civil_date {
    int64_t year;
    int month; /* 1 to 12 */
    int day;   /* 1 to 31 */
};

int civil_days_in_month(int64_t year, int month);
int64_t civil_to_days(int64_t year, int month, int day);
struct civil_date civil_from_days(int64_t days);
/* 0 is Sunday. */
int civil_weekday(int64_t days);
/* The day that a second belongs to (rounded down, also before 1970). */
int64_t civil_day_of(int64_t seconds);

#endif

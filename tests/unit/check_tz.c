/*
 * check_tz.c: common/tz, common/tz_rule, common/civil: names, files, rules; and what they say about a time against the C
 * library, which has its own reader of the same files.
 */
#include "common/compat.h"
#include "common/tz.h"

#include "common/buf.h"
#include "common/civil.h"
#include "common/rnd.h"
#include "tests/unit/unit.h"

#include <sys/stat.h>
#include <time.h>

static const char *const zones[] = {
    "Europe/Berlin",       "Europe/Dublin",      "Europe/London",     "America/New_York",
    "America/St_Johns",    "America/Nuuk",       "America/Sao_Paulo", "America/Caracas",
    "Australia/Lord_Howe", "Antarctica/Troll",   "Asia/Kathmandu",    "Asia/Tehran",
    "Asia/Gaza",           "Asia/Kolkata",       "Africa/Casablanca", "Africa/Monrovia",
    "Pacific/Apia",        "Pacific/Kiritimati", "Pacific/Chatham",   "Etc/GMT+12",
};

/* Without the system's zones (package tzdata) only the rest is tested; CI has them. */
static bool have_zones(void)
{
    bool is_there = access("/usr/share/zoneinfo/Europe/Berlin", R_OK) == 0;

    ck_assert_msg(is_there || !getenv("CB_CI"), "tzdata is missing");
    return is_there;
}

static int32_t libc_offset(const char *tz, int64_t t)
{
    struct tm tm;
    time_t at = (time_t)t;

    setenv("TZ", tz, 1);
    tzset();
    localtime_r(&at, &tm);
    return (int32_t)tm.tm_gmtoff;
}

START_TEST(calendar)
{
    int64_t day = civil_to_days(-1, 1, 1);

    ck_assert_int_eq(civil_to_days(1970, 1, 1), 0);
    ck_assert_int_eq(civil_to_days(2000, 2, 29), 11016);
    ck_assert_int_eq(civil_weekday(0), 4);
    for (int64_t year = -1; year <= 2401; year++) {
        for (int month = 1; month <= 12; month++) {
            for (int d = 1; d <= civil_days_in_month(year, month); d++, day++) {
                struct civil_date found = civil_from_days(day);
                ck_assert_int_eq(civil_to_days(year, month, d), day);
                ck_assert(found.year == year && found.month == month && found.day == d);
                ck_assert_int_eq(civil_weekday(day), ((day + 4) % 7 + 7) % 7);
            }
        }
    }
    ck_assert_int_eq(civil_day_of(-1), -1);
    ck_assert_int_eq(civil_day_of(0), 0);
    ck_assert_int_eq(civil_day_of(86399), 0);
}
END_TEST

START_TEST(utc_needs_no_file)
{
    struct tz *tz CB_CLEANUP(tz_free_ptr) = NULL;

    ck_assert_int_eq(tz_load("/nowhere", "UTC", &tz, NULL), 0);
    struct tz_span span = tz_span_at(tz, 1700000000);
    ck_assert(span.offset == 0 && span.from == INT64_MIN && span.to == INT64_MAX);
}
END_TEST

START_TEST(bad_names)
{
    static const char *const names[] = {
        "",
        "/etc/passwd",
        "../../etc/passwd",
        "Europe/../Europe/Berlin",
        "Europe//Berlin",
        "Europe/",
        "/Europe/Berlin",
        ".",
        "..",
        "Europe/Berlin\n",
        "Europe Berlin",
        "zone.tab",
        "tzdata.zi",
        "Mars/Phobos",
        "Europe",
        "europe/berlin",
        "localtime",
        "Z\xc3\xbcrich",
        "right/Europe/Berlin",
        "posixrules",
        "A%s%n",
        "Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(names); i++) {
        struct tz *tz = NULL;
        struct cb_error err = {0};
        ck_assert_msg(tz_load(NULL, names[i], &tz, &err) == -1, "%s", names[i]);
        ck_assert(tz == NULL && err.text[0]);
    }
}
END_TEST

/* Random times, and the seconds around the ends of their stretches. */
START_TEST(as_the_c_library)
{
    rnd_seed(8536);
    for (size_t z = 0; have_zones() && z < CB_ARRAY_LEN(zones); z++) {
        struct tz *tz CB_CLEANUP(tz_free_ptr) = NULL;
        ck_assert_int_eq(tz_load(NULL, zones[z], &tz, NULL), 0);
        for (int i = 0; i < 400; i++) {
            int64_t t = (int64_t)(rnd_u64() % UINT64_C(7000000000)) - INT64_C(2500000000);
            struct tz_span span = tz_span_at(tz, t);
            ck_assert(span.from <= t && t < span.to);
            int64_t probes[] = {t, span.from, span.to - 1, span.to};
            for (size_t p = 0; p < CB_ARRAY_LEN(probes); p++) {
                if (probes[p] < -INT64_C(3000000000) || probes[p] > INT64_C(8000000000))
                    continue;
                int32_t ours = tz_span_at(tz, probes[p]).offset;
                int32_t theirs = libc_offset(zones[z], probes[p]);
                ck_assert_msg(ours == theirs, "%s at %" PRId64 ": %d, libc %d", zones[z], probes[p],
                              ours, theirs);
                ck_assert(p == 3 || ours == span.offset);
            }
        }
    }
}
END_TEST

START_TEST(rules_as_the_c_library)
{
    static const char *const rules[] = {
        "EST5EDT,M3.2.0,M11.1.0",
        "CET-1CEST,M3.5.0,M10.5.0/3",
        "IST-1GMT0,M10.5.0,M3.5.0/1",
        "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
        "<-02>2<-01>,M3.5.0/-1,M10.5.0/0",
        "EET-2EEST,M3.4.4/50,M10.4.4/50",
        "NZST-12NZDT,M9.5.0,M4.1.0/3",
        "AAA3BBB,J60,J300/12:30:15",
        "AAA3BBB,59/1,299",
        "AAA-3BBB-5,J1/0,J365/24",
        "UTC0",
        "<+0330>-3:30",
    };
    rnd_seed(1);
    for (size_t r = 0; r < CB_ARRAY_LEN(rules); r++) {
        struct tz_rule rule;
        ck_assert_msg(tz_rule_parse(rules[r], strlen(rules[r]), &rule) == 0, "%s", rules[r]);
        for (int i = 0; i < 500; i++) {
            int64_t t = (int64_t)(rnd_u64() % UINT64_C(4000000000));
            struct tz_span span = tz_rule_span_at(&rule, t);
            int32_t theirs = libc_offset(rules[r], t);
            ck_assert_msg(span.offset == theirs, "%s at %" PRId64 ": %d, libc %d", rules[r], t,
                          span.offset, theirs);
            ck_assert(span.from <= t && t < span.to);
            if (span.to < INT64_C(4000000000))
                ck_assert_int_eq(tz_rule_span_at(&rule, span.to).from, span.to);
        }
    }
    struct tz_rule all_year;
    static const char text[] = "XXX3EDT4,0/0,J365/23";
    ck_assert_int_eq(tz_rule_parse(text, sizeof text - 1, &all_year), 0);
    for (int64_t t = 0; t < INT64_C(4000000000); t += 86400 * 3)
        ck_assert_int_eq(tz_rule_span_at(&all_year, t).offset, -4 * 3600);
}
END_TEST

START_TEST(bad_rules)
{
    static const char *const rules[] = {
        "",
        "E5",
        "EST",
        "EST25",
        "EST5EDT",
        "EST5EDT,M3.2.0",
        "EST5EDT,M13.2.0,M11.1.0",
        "EST5EDT,M3.6.0,M11.1.0",
        "EST5EDT,M3.2.7,M11.1.0",
        "EST5EDT,J0,J365",
        "EST5EDT,J1,J366",
        "EST5EDT,0,366",
        "EST5EDT,M3.2.0/168,M11.1.0",
        "EST5EDT,M3.2.0,M11.1.0 ",
        "<a>5",
        "<+05-5",
        "EST5:60",
        "EST5:00:60",
        "EST5EDT,M3.2.0,M11.1.0,",
        "EST99999999999999999999",
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(rules); i++) {
        struct tz_rule rule;
        ck_assert_msg(tz_rule_parse(rules[i], strlen(rules[i]), &rule) == -1, "%s", rules[i]);
    }
}
END_TEST

/* ---- files of our own ---- */

static void put_be32(struct buf *out, uint32_t n)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        buf_putc(out, (char)(n >> shift));
}

static void put_header(struct buf *out, uint32_t times, uint32_t types, uint32_t leaps)
{
    buf_append(out, "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
    put_be32(out, 0);
    put_be32(out, 0);
    put_be32(out, leaps);
    put_be32(out, times);
    put_be32(out, types);
    put_be32(out, 4);
}

/* One transition, at 1000, from 0 to one hour. */
static void make_file(struct buf *out, const char *footer)
{
    buf_reset(out);
    put_header(out, 0, 1, 0);
    buf_append(out, "\0\0\0\0\0\0UTC\0", 10);
    put_header(out, 1, 2, 0);
    put_be32(out, 0);
    put_be32(out, 1000);
    buf_append(out, "\1", 1);
    buf_append(out, "\0\0\0\0\0\0", 6);
    put_be32(out, 3600);
    buf_append(out, "\1\0", 2);
    buf_append(out, "UTC\0", 4);
    buf_puts(out, footer);
}

START_TEST(parses_bytes)
{
    struct buf file CB_CLEANUP(buf_done) = BUF_INIT;
    struct tz *tz CB_CLEANUP(tz_free_ptr) = NULL;

    make_file(&file, "\n\n");
    ck_assert_int_eq(tz_parse(file.data, file.len, &tz, NULL), 0);
    struct tz_span before = tz_span_at(tz, 999), after = tz_span_at(tz, 1000);
    ck_assert(before.from == INT64_MIN && before.to == 1000 && before.offset == 0);
    ck_assert(after.from == 1000 && after.to == INT64_MAX && after.offset == 3600);
}
END_TEST

START_TEST(rule_goes_on_from_the_table)
{
    struct buf file CB_CLEANUP(buf_done) = BUF_INIT;
    struct tz *tz CB_CLEANUP(tz_free_ptr) = NULL;

    make_file(&file, "\nCET-1CEST,M3.5.0,M10.5.0/3\n");
    ck_assert_int_eq(tz_parse(file.data, file.len, &tz, NULL), 0);
    struct tz_span span = tz_span_at(tz, 1001);
    ck_assert(span.from == 1000 && span.offset == 3600 && span.to < 86400 * 100);
    ck_assert_int_eq(tz_span_at(tz, span.to).offset, 7200);
}
END_TEST

/* Every file that is cut off, and every one with a byte that is wrong, is refused or read: never past its end (ASan
 * and valgrind see to that). */
START_TEST(damaged_bytes)
{
    struct buf file CB_CLEANUP(buf_done) = BUF_INIT;

    make_file(&file, "\nCET-1CEST,M3.5.0,M10.5.0/3\n");
    for (size_t len = 0; len < file.len; len++) {
        struct tz *tz = NULL;
        char *copy = malloc(len + 1);
        memcpy(copy, file.data, len);
        ck_assert_msg(tz_parse(copy, len, &tz, NULL) == -1, "%zu bytes", len);
        free(copy);
    }
    for (size_t at = 0; at < file.len; at++) {
        for (int value = 0; value < 256; value += 15) {
            struct tz *tz = NULL;
            char kept = file.data[at];
            file.data[at] = (char)value;
            if (tz_parse(file.data, file.len, &tz, NULL) == 0)
                tz_span_at(tz, 1700000000);
            tz_free(tz);
            file.data[at] = kept;
        }
    }
}
END_TEST

START_TEST(refuses_leap_seconds_and_old_files)
{
    struct buf file CB_CLEANUP(buf_done) = BUF_INIT;
    struct tz *tz = NULL;
    struct cb_error err;

    make_file(&file, "\n\n");
    file.data[4] = '\0';
    ck_assert_int_eq(tz_parse(file.data, file.len, &tz, &err), -1);
    buf_reset(&file);
    put_header(&file, 0, 1, 0);
    buf_append(&file, "\0\0\0\0\0\0UTC\0", 10);
    put_header(&file, 0, 1, 1);
    buf_append(&file, "\0\0\0\0\0\0UTC\0\0\0\0\0\0\0\0\0\0\0\0\1\n\n", 24);
    ck_assert_int_eq(tz_parse(file.data, file.len, &tz, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "leap"));
}
END_TEST

START_TEST(no_regular_file)
{
    char dir[] = "/tmp/check_tz.XXXXXX", path[64];
    struct tz *tz = NULL;

    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/Fifo", dir);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_int_eq(tz_load(dir, "Fifo", &tz, NULL), -1); /* and does not wait for a writer */
    unlink(path);
    rmdir(dir);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, calendar);
    tcase_add_test(tc, utc_needs_no_file);
    tcase_add_test(tc, bad_names);
    tcase_add_test(tc, as_the_c_library);
    tcase_add_test(tc, rules_as_the_c_library);
    tcase_add_test(tc, bad_rules);
    tcase_add_test(tc, parses_bytes);
    tcase_add_test(tc, rule_goes_on_from_the_table);
    tcase_add_test(tc, damaged_bytes);
    tcase_add_test(tc, refuses_leap_seconds_and_old_files);
    tcase_add_test(tc, no_regular_file);
}

UNIT_MAIN("tz", add_tests)

/*
 * fuzz_cron.c: any bytes as an expression, as the rule of a zone, and as a zone's file. It must end; what is accepted
 * yields ascending whole minutes, and what is refused is told in words for a terminal.
 */
#include "common/compat.h"
#include "common/cron.h"

#include "common/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_words(const char *text)
{
    cb_assert(text[0]);
    for (; *text; text++)
        cb_assert(*text >= ' ' && *text <= '~');
}

/* The first line is an expression, the rest a zone. */
static void check_times(const struct cron *cron, const struct tz *tz)
{
    int64_t now = INT64_C(1700000000123);

    for (int i = 0; i < 20; i++) {
        int64_t next = cron_next(cron, tz, now);
        cb_assert(next > now);
        if (next == CRON_NEVER)
            return;
        struct tz_span span = tz_span_at(tz, next / 1000);
        cb_assert(span.from <= next / 1000 && next / 1000 < span.to);
        now = next;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const uint8_t *newline = len ? memchr(data, '\n', len) : NULL;
    size_t first = newline ? (size_t)(newline - data) : len, rest = newline ? len - first - 1 : 0;
    char *text = mem_strndup((const char *)data, first);
    struct cron_problem problem = {.expected = ""};
    struct tz *tz = NULL;
    struct tz_rule rule;
    struct cron cron;

    if (rest > 0 && tz_rule_parse((const char *)newline + 1, rest, &rule) == 0) {
        struct tz_span span = tz_rule_span_at(&rule, 1700000000);
        cb_assert(span.from <= 1700000000 && span.to > 1700000000);
    }
    if (rest == 0 || tz_parse(newline + 1, rest, &tz, NULL) != 0)
        cb_assert(tz_load(NULL, "UTC", &tz, NULL) == 0);
    if (cron_parse(text, &cron, &problem) == 0) {
        check_times(&cron, tz);
    } else {
        check_words(problem.expected);
        check_words(problem.got);
    }
    tz_free(tz);
    free(text);
    return 0;
}

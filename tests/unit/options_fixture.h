/*
 * options_fixture.h: options to begin from, for the tests of them.
 */
#ifndef CB_OPTIONS_FIXTURE_H
#define CB_OPTIONS_FIXTURE_H

#include "common/options.h"
#include "tests/unit/unit.h"

static inline struct options *defaults(void)
{
    struct options_errors errs = OPTIONS_ERRORS_INIT;
    struct options *opts = NULL;
    ck_assert_int_eq(options_defaults(PATHS_SYSTEM, &opts, &errs), 0);
    ck_assert_uint_eq(errs.total, 0);
    return opts;
}

static inline struct options *load(const char *text)
{
    struct options_errors errs = OPTIONS_ERRORS_INIT;
    struct options *opts = NULL;
    struct buf out = BUF_INIT;
    int status = options_load_text(text, strlen(text), "test.yaml", &opts, &errs);
    options_errors_put(&errs, &out);
    ck_assert_msg(status == 0, "%s: %s", text, buf_peek(&out));
    ck_assert_uint_eq(errs.total, 0);
    buf_done(&out);
    options_errors_done(&errs);
    return opts;
}

/* The text is refused with exactly these lines. */
static inline void refused(const char *text, const char *expected)
{
    struct options_errors errs = OPTIONS_ERRORS_INIT;
    struct options *opts = NULL;
    struct buf out = BUF_INIT;
    int status = options_load_text(text, strlen(text), "t", &opts, &errs);
    options_errors_put(&errs, &out);
    ck_assert_int_eq(status, -1);
    ck_assert_ptr_null(opts);
    ck_assert_str_eq(buf_peek(&out), expected);
    buf_done(&out);
    options_errors_done(&errs);
}

#endif

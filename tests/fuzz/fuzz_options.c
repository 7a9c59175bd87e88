/*
 * fuzz_options.c: any bytes as a configuration. It must end, say something when it refuses, and
 * what it accepts must survive options_dump() unchanged.
 */
#include "common/compat.h"
#include "common/options.h"

#include "common/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_errors(const struct options_errors *errs)
{
    struct buf out = BUF_INIT;

    options_errors_put(errs, &out);
    cb_assert(errs->total > 0 && out.len > 0);
    /* What is printed is whole lines of text that a terminal can bear. */
    for (size_t at = 0; at < out.len;) {
        uint32_t cp = 0;
        size_t n = utf8_decode(out.data + at, out.len - at, &cp);
        cb_assert(n > 0 && (cp == '\n' || !utf8_is_control(cp)));
        at += n;
    }
    buf_done(&out);
}

static void check_round_trip(const struct options *opts)
{
    struct options_errors errs = OPTIONS_ERRORS_INIT;
    struct options *again = NULL;
    struct buf text = BUF_INIT;

    options_dump(opts, &text, true);
    int status = options_load_text(buf_peek(&text), text.len, "dump", &again, &errs);
    cb_assert(status == 0);
    cb_assert(options_compare(opts, again, NULL, NULL, NULL) == 0);
    options_free(again);
    buf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct options_errors errs = OPTIONS_ERRORS_INIT;
    struct options *opts = NULL;

    if (options_load_text((const char *)data, len, "fuzz.yaml", &opts, &errs))
        check_errors(&errs);
    else
        check_round_trip(opts);
    options_free(opts);
    options_errors_done(&errs);
    return 0;
}

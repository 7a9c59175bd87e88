/*
 * options_each.c: the options of a configuration one by one, with their values and where these come from.
 */
#include "common/compat.h"
#include "common/options_private.h"

static void tell(const struct options *opts, const struct options *defaults,
                 const struct option_row *row, struct option_origin origin, options_each_fn *fn,
                 void *arg)
{
    struct buf value CB_CLEANUP(buf_done) = BUF_INIT, usual CB_CLEANUP(buf_done) = BUF_INIT;

    options_put_value(opts, row, &value);
    options_put_value(defaults, row, &usual);
    const struct option_state state = {
        .row = row,
        .value = buf_peek(&value),
        .is_default = strcmp(buf_peek(&value), buf_peek(&usual)) == 0,
        .origin = origin,
    };
    fn(arg, &state);
}

void options_each(const struct options *opts, const struct options *defaults, options_each_fn *fn,
                  void *arg)
{
    char name[OPTIONS_METHOD_NAME_SIZE];

    for (const struct option_row *row = options_table; row->name; row++)
        tell(opts, defaults, row, options_origin(opts, row), fn, arg);
    for (size_t m = 0; m <= OPTIONS_ALL_METHODS; m++) {
        for (size_t i = 0; i < OPTIONS_OF_METHOD; i++) {
            struct option_row row = options_method_row(m, i, name, sizeof name);
            if (options_method_is_given(opts, m, i))
                tell(opts, defaults, &row, opts->origins->of_methods[m][i], fn, arg);
        }
    }
}

bool options_of_method(const struct options *opts, const struct options *defaults, const char *name,
                       options_each_fn *fn, void *arg)
{
    char own[OPTIONS_METHOD_NAME_SIZE];

    for (size_t m = 0; m <= OPTIONS_ALL_METHODS; m++) {
        for (size_t i = 0; i < OPTIONS_OF_METHOD; i++) {
            struct option_row row = options_method_row(m, i, own, sizeof own);
            if (strcmp(own, name) != 0)
                continue;
            size_t from = options_method_is_given(opts, m, i) ? m : OPTIONS_ALL_METHODS;
            tell(opts, defaults, &row, opts->origins->of_methods[from][i], fn, arg);
            return true;
        }
    }
    return false;
}

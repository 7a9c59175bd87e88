/*
 * options_errors.c: the list of everything that is wrong with a configuration. See options.h.
 */
#include "common/compat.h"
#include "common/options.h"

#include "common/mem.h"
#include "common/options_private.h"
#include "common/utf8.h"

void options_errors_add(struct options_errors *errs, const char *file, int line, int col,
                        const char *option, const char *fmt, ...)
{
    errs->total++;
    if (errs->len == OPTIONS_ERRORS_MAX)
        return;
    if (!errs->items)
        errs->items = mem_calloc(OPTIONS_ERRORS_MAX, sizeof *errs->items);

    struct buf text = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    errs->items[errs->len++] = (struct options_error){
        .file = file ? mem_strdup(file) : NULL,
        .line = line,
        .col = col,
        .option = mem_strdup(option),
        .text = buf_take(&text),
    };
}

void options_errors_done(struct options_errors *errs)
{
    for (size_t i = 0; i < errs->len; i++) {
        free(errs->items[i].file);
        free(errs->items[i].option);
        free(errs->items[i].text);
    }
    free(errs->items);
    *errs = (struct options_errors)OPTIONS_ERRORS_INIT;
}

void options_error_put(const struct options_error *e, struct buf *out)
{
    if (e->file) {
        utf8_put_escaped(out, e->file, strlen(e->file), 0);
        if (e->line > 0)
            buf_printf(out, ":%d:%d", e->line, e->col);
        buf_puts(out, ": ");
    }
    if (e->option[0])
        buf_printf(out, "%s: ", e->option);
    buf_puts(out, e->text);
}

void options_errors_put(const struct options_errors *errs, struct buf *out)
{
    for (size_t i = 0; i < errs->len; i++) {
        options_error_put(&errs->items[i], out);
        buf_putc(out, '\n');
    }
    if (errs->total > errs->len)
        buf_printf(out, "and %zu more errors\n", errs->total - errs->len);
}

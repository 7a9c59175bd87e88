/*
 * mdoc.c: see mdoc.h.
 */
#include "common/compat.h"
#include "common/mdoc.h"

/* At a space: the sentence before it has ended. "e.g. this" has not. */
static bool is_end_of_sentence(const char *text, const char *at)
{
    if (at == text || at[0] != ' ' || at[1] < 'A' || at[1] > 'Z')
        return false;
    for (at--; at > text && (*at == ')' || *at == '"'); at--)
        ;
    return *at == '.' || *at == '?';
}

void mdoc_put_text(struct buf *out, const char *text)
{
    if (text[0] == '.' || text[0] == '\'')
        buf_puts(out, "\\&");
    for (const char *at = text; *at; at++) {
        if (is_end_of_sentence(text, at))
            buf_putc(out, '\n');
        else if (*at == '\\')
            buf_puts(out, "\\e");
        else
            buf_putc(out, *at);
    }
    buf_putc(out, '\n');
}

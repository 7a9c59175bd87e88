/*
 * print_tables.c: prints documents made from the project's tables, for make update-docs and the
 * tests of tests/t6. Not installed.
 *
 *   print_tables options-sample    etc/claudebench.yaml
 *   print_tables options-mdoc      the list of options in claudebench.yaml(5)
 *   print_tables events-mdoc       the list of log events
 */
#include "common/compat.h"

#include "common/exitcode.h"
#include "common/log.h"
#include "common/options_doc.h"

static void put_events(struct buf *out)
{
    buf_puts(out, ".Bl -tag -width Ds\n");
    for (int ev = 0; ev < EV_COUNT; ev++)
        buf_printf(out, ".It Cm %s Pq %s\n%s\n", log_event_name((enum log_event)ev),
                   log_level_name(log_event_level((enum log_event)ev)),
                   log_event_text((enum log_event)ev));
    buf_puts(out, ".El\n");
}

static const struct {
    const char *name;
    void (*put)(struct buf *out);
} documents[] = {
    {"options-sample", options_doc_sample},
    {"options-mdoc", options_doc_mdoc},
    {"events-mdoc", put_events},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < CB_ARRAY_LEN(documents); i++) {
        if (strcmp(argv[1], documents[i].name) == 0) {
            struct buf text = BUF_INIT;
            documents[i].put(&text);
            fputs(buf_peek(&text), stdout);
            buf_done(&text);
            return fflush(stdout) == 0 ? EXITCODE_OK : EXITCODE_SOFTWARE;
        }
    }
    fprintf(stderr, "usage: print_tables options-sample|options-mdoc|events-mdoc\n");
    return EXITCODE_USAGE;
}

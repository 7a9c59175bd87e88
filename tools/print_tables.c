/*
 * print_tables.c: prints documents made from the project's tables, for make update-docs and the
 * tests of tests/t6. Not installed.
 *
 *   print_tables options-sample    etc/claudebench.yaml
 *   print_tables options-mdoc      the list of options in claudebench.yaml(5)
 *   print_tables events-mdoc       the list of log events in claudebenchd(8)
 *   print_tables faults-mdoc       what Redis refuses, and what is done about it, in claudebenchd(8)
 *   print_tables keys-mdoc         the list of keys in claudebench-keys(7)
 *   print_tables methods-mdoc      the list of methods in claudebench-methods(7)
 *   print_tables metrics-mdoc    the list of metrics in claudebenchd(8)
 *   print_tables acl               etc/redis-claudebench.acl
 */
#include "common/compat.h"

#include "common/exitcode.h"
#include "common/keys.h"
#include "common/log.h"
#include "common/mdoc.h"
#include "common/metrics.h"
#include "common/options_doc.h"
#include "common/redis_link.h"
#include "common/rights.h"
#include "worker/registry.h"

static int by_name(const void *a, const void *b)
{
    return strcmp(log_event_name(*(const enum log_event *)a),
                  log_event_name(*(const enum log_event *)b));
}

static void put_events(struct buf *out)
{
    enum log_event events[EV_COUNT];

    for (int ev = 0; ev < EV_COUNT; ev++)
        events[ev] = (enum log_event)ev;
    qsort(events, EV_COUNT, sizeof events[0], by_name);
    buf_puts(out, ".Bl -tag -width Ds\n");
    for (int i = 0; i < EV_COUNT; i++)
        buf_printf(out, ".It Li %s Pq %s\n%s\n", log_event_name(events[i]),
                   log_level_name(log_event_level(events[i])), log_event_text(events[i]));
    buf_puts(out, ".El\n");
}

static void put_faults(struct buf *out)
{
    buf_puts(out, ".Bl -tag -width Ds\n");
    for (const struct redis_fault_row *row = redis_fault_rows; row->prefix; row++) {
        buf_printf(out, ".It Li %s\n%s.\n", row->prefix, row->meaning);
        mdoc_put_text(out, row->reaction);
    }
    buf_puts(out, ".El\n");
}

/* "queue:%:role:%" becomes "cb:queue:<...>:role:<...>". */
static void put_keys(struct buf *out)
{
    buf_puts(out, ".Bl -tag -width Ds\n");
    for (int i = 0; i < KEY_COUNT; i++) {
        const struct key_row *row = keys_row((enum key_id)i);
        buf_puts(out, ".It Li cb:");
        for (const char *p = row->pattern; *p; p++)
            buf_printf(out, *p == '%' ? "<\\&...>" : "%c", *p);
        buf_printf(out, "\n%s: %s.\nCap: %s.\n", row->type, row->text, row->cap);
    }
    buf_puts(out, ".El\n");
}

static void put_fields(struct buf *out, const char *title, const struct field *table)
{
    if (fields_count(table) == 0) {
        buf_printf(out, ".Pp\n%s: none.\n", title);
        return;
    }
    buf_printf(out, ".Pp\n%s:\n.Bl -tag -width Ds -offset Ds -compact\n", title);
    fields_put_mdoc(table, out);
    buf_puts(out, ".El\n");
}

static void put_methods(struct buf *out)
{
    for (int i = 0; i < METHOD_COUNT; i++) {
        const struct handler *h = registry_handler((enum method_id)i);
        unsigned flags = methods[i].flags;
        buf_printf(out, ".Ss %s\n%s\n", methods[i].name, h->summary);
        if (flags & METHOD_REPEATABLE)
            buf_puts(
                out,
                "It writes, and a repeat does no harm: an idempotency key is not looked at.\n");
        else if (flags & METHOD_WRITE)
            buf_puts(out, "It writes: send an idempotency key.\n");
        if (flags & METHOD_CREATES)
            buf_puts(out, "It is refused when memory or the backlog is full.\n");
        if (flags & METHOD_FINISHES)
            buf_puts(out, "It works when memory is full.\n");
        put_fields(out, "Parameters", h->params);
        put_fields(out, "Result", h->result);
    }
}

static void put_metrics(struct buf *out)
{
    buf_puts(out, ".Bl -tag -width Ds\n");
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        const struct metric *m = &metrics[i];
        buf_printf(out, ".It Li %s", m->name);
        for (size_t l = 0; l < METRIC_LABELS && m->labels[l]; l++)
            buf_printf(out, "%s%s", l == 0 ? " Brq Li " : " , ", m->labels[l]);
        buf_printf(out, "\n%s%s.\n", metric_type_name(m->type),
                   m->source == METRIC_ALL ? ", of all hosts" : "");
        mdoc_put_text(out, m->help);
    }
    buf_puts(out, ".El\n");
}

/* Not a hash, so that Redis refuses the file until an administrator has put his own in. */
static void put_acl(struct buf *out)
{
    rights_put_user(out, RIGHTS_DAEMON, "claudebench-daemon", "DAEMON_PASSWORD_SHA256", "cb");
    rights_put_user(out, RIGHTS_CLIENT, "claudebench-client", "CLIENT_PASSWORD_SHA256", "cb");
}

static const struct {
    const char *name;
    void (*put)(struct buf *out);
} documents[] = {
    {"options-sample", options_doc_sample},
    {"options-mdoc", options_doc_mdoc},
    {"events-mdoc", put_events},
    {"faults-mdoc", put_faults},
    {"keys-mdoc", put_keys},
    {"methods-mdoc", put_methods},
    {"metrics-mdoc", put_metrics},
    {"acl", put_acl},
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
    fprintf(stderr,
            "usage: print_tables options-sample|options-mdoc|events-mdoc|faults-mdoc|keys-mdoc|"
            "methods-mdoc|metrics-mdoc|acl\n");
    return EXITCODE_USAGE;
}

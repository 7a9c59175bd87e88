/*
 * doctor_show.c: what the doctor says: each finding with what it is, how bad, and what to do. See doctor.h.
 */
#include "common/compat.h"
#include "client/doctor.h"

#include "common/exitcode.h"

static const char *const severities[] = {"note", "warning", "error"};

static void put_json(const struct doctor *d, const struct doctor_finding *f, struct buf *out)
{
    struct buf row CB_CLEANUP(buf_done) = BUF_INIT;

    buf_puts(&row, "{");
    json_put_text(&row, "check", f->check);
    json_put_text(&row, "severity", severities[f->severity]);
    json_put_text(&row, "problem", f->problem);
    json_put_text(&row, "where", f->where);
    json_put_text(&row, "text", f->text);
    json_put_text(&row, "advice", f->advice);
    buf_printf(&row, ",\"repairable\":%s", f->is_repairable ? "true" : "false");
    if (f->members)
        buf_puts(&row, f->members);
    buf_puts(&row, "}");
    session_put_json(out, (struct json_span){row.data, row.len}, d->term);
}

/* What it is on a line of its own, what to do on the next: both are sentences, too long for columns. */
static void put_text(const struct doctor_finding *f, struct buf *out)
{
    buf_printf(out, "%-8s ", severities[f->severity]);
    term_put(out, f->where, strlen(f->where));
    buf_puts(out, ": ");
    term_put(out, f->text, strlen(f->text));
    buf_puts(out, "\n         ");
    term_put(out, f->advice, strlen(f->advice));
    buf_puts(out, "\n");
}

/* The worst first. */
static void put_findings(const struct doctor *d, struct buf *out)
{
    for (int severity = DOCTOR_ERROR; severity >= DOCTOR_NOTE; severity--)
        for (size_t i = 0; i < d->nfindings; i++) {
            const struct doctor_finding *f = &d->findings[i];
            if ((int)f->severity == severity && cli_is_set(d->cli, "json"))
                put_json(d, f, out);
            else if ((int)f->severity == severity)
                put_text(f, out);
        }
}

static void put_texts(const char *name, char *const *texts, size_t n, struct buf *out)
{
    buf_printf(out, ",\"%s\":[", name);
    for (size_t i = 0; i < n; i++) {
        buf_puts(out, i ? "," : "");
        json_put_cstr(out, texts[i]);
    }
    buf_puts(out, "]");
}

static void put_totals(const struct doctor *d, size_t wrong, size_t repairable, struct buf *out)
{
    buf_printf(out,
               "{\"examined\":%" PRId64 ",\"findings\":%zu,\"notes\":%zu,\"repairable\":%zu"
               ",\"not_compared\":%" PRId64 ",\"removed\":%" PRId64 ",\"recounted\":%" PRId64
               ",\"repaired\":%" PRId64,
               d->examined, wrong, d->nfindings - wrong, repairable, d->not_compared, d->removed,
               d->recounted, d->repaired);
    put_texts("repairs", d->repairs, d->nrepairs, out);
    put_texts("unchecked", d->unchecked, d->nunchecked, out);
    buf_puts(out, "}\n");
}

static void put_count(struct buf *out, int64_t n, const char *one, const char *many)
{
    buf_printf(out, "%" PRId64 " %s", n, n == 1 ? one : many);
}

static void put_repairs(const struct doctor *d, struct buf *out)
{
    buf_puts(out, "; ");
    put_count(out, d->removed, "entry removed, ", "entries removed, ");
    put_count(out, d->recounted, "count put right, ", "counts put right, ");
    put_count(out, d->repaired, "other repair", "other repairs");
}

static void put_summary(const struct doctor *d, size_t wrong, size_t repairable, struct buf *out)
{
    for (size_t i = 0; i < d->nrepairs; i++) {
        buf_puts(out, "repaired ");
        term_put(out, d->repairs[i], strlen(d->repairs[i]));
        buf_putc(out, '\n');
    }
    put_count(out, d->examined, "entry and ", "entries and ");
    put_count(out, d->checked, "thing of this host examined: ", "things of this host examined: ");
    if (wrong)
        put_count(out, (int64_t)wrong, "finding", "findings");
    else
        buf_puts(out, "nothing wrong");
    if (cli_is_set(d->cli, "repair"))
        put_repairs(d, out);
    else if (repairable)
        buf_printf(out, "; --repair would put %zu right", repairable);
    if (d->not_compared) {
        buf_puts(out, "; ");
        put_count(out, d->not_compared, "count changed all the time and was not compared",
                  "counts changed all the time and were not compared");
    }
    buf_puts(out, "\n");
    for (size_t i = 0; i < d->nunchecked; i++)
        buf_printf(out, "not examined: %s\n", d->unchecked[i]);
}

int doctor_show(struct doctor *d)
{
    struct buf out CB_CLEANUP(buf_done) = BUF_INIT;
    size_t wrong = 0, repairable = 0;

    for (size_t i = 0; i < d->nfindings; i++) {
        wrong += d->findings[i].severity != DOCTOR_NOTE;
        repairable += d->findings[i].is_repairable;
    }
    put_findings(d, &out);
    if (cli_is_set(d->cli, "json"))
        put_totals(d, wrong, repairable, &out);
    else
        put_summary(d, wrong, repairable, &out);
    int status = cli_write(&out);
    return status == EXITCODE_OK && wrong ? EXITCODE_FAILURE : status;
}

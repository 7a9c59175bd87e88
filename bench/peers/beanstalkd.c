/*
 * beanstalkd.c: driver of beanstalkd, by its text protocol. BENCH_ADDRESS is its socket. Producer and consumer pipeline:
 * so many commands are sent before the first answer is read. A batch is a hundred of them; with several batches in flight
 * this server stops reading (1.12).
 */
#include "common/compat.h"
#include "bench/peers/driver.h"
#include "bench/peers/wire.h"

enum { ID_SIZE = 24 };

static void put(struct wire *w)
{
    char text[DRIVER_TEXT_BYTES + 1];

    driver_text(text);
    buf_printf(&w->out, "put 1024 0 60 %d\r\n%s\r\n", DRIVER_TEXT_BYTES, text);
}

static void expect(struct wire *w, const char *word)
{
    const char *line = wire_line(w);
    if (strncmp(line, word, strlen(word)) != 0)
        driver_failed("beanstalkd: %s", line);
}

static void produce(const struct driver_order *order)
{
    static struct wire w;
    unsigned in_flight = order->batch > 1 ? order->batch : order->in_flight;
    unsigned sent = 0, answered = 0;

    if (order->is_asking)
        driver_failed("beanstalkd has no replies");
    if (!w.fd)
        wire_open(&w, driver_setting("BENCH_ADDRESS"));
    while (answered < order->count) {
        for (; sent < order->count && sent - answered < in_flight; sent++) {
            driver_pause(order);
            put(&w);
        }
        do { /* all that has come, so that the next ones leave in one write, too */
            expect(&w, "INSERTED ");
            answered++;
        } while (answered < sent && w.taken < w.in.len);
    }
}

/* "RESERVED 17 200" and the text: handled, and the job deleted. */
static void take_job(struct wire *w, const char *line)
{
    char id[ID_SIZE];
    char *end;

    snprintf(id, sizeof id, "%lu", strtoul(line + strlen("RESERVED "), &end, 10));
    driver_record(driver_text_time(wire_take(w, strtoul(end, NULL, 10) + 2)));
    buf_printf(&w->out, "delete %s\r\n", id);
}

/* A reserve that waits holds up the commands behind it. So only one waits, alone, and while jobs come more and more are
 * asked for at once that do not wait. */
static void consume(void)
{
    struct wire w;
    unsigned asked = 0; /* answers to reserve-with-timeout that are due */

    wire_open(&w, driver_setting("BENCH_ADDRESS"));
    buf_puts(&w.out, "reserve\r\n");
    for (;;) {
        const char *line = wire_line(&w);
        bool is_job = strncmp(line, "RESERVED ", 9) == 0, is_end = strcmp(line, "TIMED_OUT") == 0;
        if (!is_job && !is_end && strcmp(line, "DELETED") != 0)
            driver_failed("beanstalkd: %s", line);
        if ((is_job || is_end) && asked > 0)
            asked--;
        if (is_job) {
            take_job(&w, line);
            for (unsigned more = asked + 2; asked < more && asked < DRIVER_FLIGHT; asked++)
                buf_puts(&w.out, "reserve-with-timeout 0\r\n");
        } else if (is_end && asked == 0) {
            buf_puts(&w.out, "reserve\r\n");
        }
        if (w.taken == w.in.len)
            driver_flush();
    }
}

const struct driver driver_beanstalkd = {
    .name = "beanstalkd", .consume = consume, .produce = produce};

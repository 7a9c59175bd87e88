/*
 * gearmand.c: driver of gearmand, by its binary protocol. BENCH_ADDRESS is "127.0.0.1:<port>". A consumer has one job at
 * a time, and asks for the next one in the write that ends it.
 */
#include "common/compat.h"
#include "bench/peers/driver.h"
#include "bench/peers/wire.h"

#include <arpa/inet.h>

enum packet_type {
    CAN_DO = 1,
    PRE_SLEEP = 4,
    NOOP = 6,
    SUBMIT_JOB = 7,
    JOB_CREATED = 8,
    GRAB_JOB = 9,
    NO_JOB = 10,
    JOB_ASSIGN = 11,
    WORK_COMPLETE = 13,
    SUBMIT_JOB_BG = 18,
};
enum { HEAD_SIZE = 12 };

static void put_packet(struct wire *w, enum packet_type type, const void *data, size_t len)
{
    const uint32_t head[2] = {htonl((uint32_t)type), htonl((uint32_t)len)};

    buf_append(&w->out, "\0REQ", 4);
    buf_append(&w->out, head, sizeof head);
    if (len > 0)
        buf_append(&w->out, data, len);
}

/* The next packet; its data is valid until the next one is taken. */
static enum packet_type take_packet(struct wire *w, const char **ret_data, size_t *ret_len)
{
    uint32_t head[3];

    memcpy(head, wire_take(w, HEAD_SIZE), sizeof head);
    if (memcmp(head, "\0RES", 4) != 0)
        driver_failed("gearmand: no packet");
    *ret_len = ntohl(head[2]);
    *ret_data = wire_take(w, *ret_len);
    return (enum packet_type)ntohl(head[1]);
}

/* With a unique id, as libgearman does: what is kept in a store is kept under it. */
static void submit(struct wire *w, bool is_asking)
{
    static unsigned number;
    char data[DRIVER_TEXT_BYTES + 64];
    int len = snprintf(data, sizeof data, "bench%c%x-%u%c", '\0', (unsigned)getpid(), number++,
                       '\0');

    driver_text(data + len);
    put_packet(w, is_asking ? SUBMIT_JOB : SUBMIT_JOB_BG, data, (size_t)len + DRIVER_TEXT_BYTES);
}

static void produce(const struct driver_order *order)
{
    static struct wire w;
    unsigned in_flight = order->in_flight * order->batch, sent = 0, answered = 0;
    enum packet_type answer = order->is_asking ? WORK_COMPLETE : JOB_CREATED;

    if (!w.fd)
        wire_open(&w, driver_setting("BENCH_ADDRESS"));
    while (answered < order->count) {
        for (; sent < order->count && sent - answered < in_flight; sent++) {
            driver_pause(order);
            submit(&w, order->is_asking);
        }
        do {
            const char *data;
            size_t len;
            enum packet_type type = take_packet(&w, &data, &len);
            if (type == answer)
                answered++;
            else if (type != JOB_CREATED)
                driver_failed("gearmand: packet %d", (int)type);
            if (type == WORK_COMPLETE) { /* "handle\0text": the no-op handler gives the text back */
                const char *text = memchr(data, '\0', len);
                driver_record(text ? driver_text_time(text + 1) : 0);
            }
        } while (answered < sent && w.taken < w.in.len);
    }
}

/* "handle\0function\0text": what it is about is given back, as the result of a handler that does nothing. */
static void take_job(struct wire *w, const char *data, size_t len)
{
    size_t handle = strnlen(data, len - 1) + 1;
    size_t text = handle + strnlen(data + handle, len - handle - 1) + 1;
    struct buf result CB_CLEANUP(buf_done) = BUF_INIT;

    driver_record(driver_text_time(data + text));
    buf_append(&result, data, handle);
    buf_append(&result, data + text, len - text);
    put_packet(w, WORK_COMPLETE, result.data, result.len);
    put_packet(w, GRAB_JOB, NULL, 0);
}

static void consume(void)
{
    struct wire w;
    const char *data;
    size_t len;

    wire_open(&w, driver_setting("BENCH_ADDRESS"));
    put_packet(&w, CAN_DO, "bench", sizeof "bench" - 1);
    put_packet(&w, GRAB_JOB, NULL, 0);
    for (;;) {
        enum packet_type type = take_packet(&w, &data, &len);
        if (type == JOB_ASSIGN) {
            take_job(&w, data, len);
        } else if (type == NO_JOB) {
            put_packet(&w, PRE_SLEEP, NULL, 0);
            driver_flush();
        } else if (type == NOOP) {
            put_packet(&w, GRAB_JOB, NULL, 0);
        } else {
            driver_failed("gearmand: packet %d", (int)type);
        }
    }
}

const struct driver driver_gearmand = {.name = "gearmand", .consume = consume, .produce = produce};

/*
 * driver.h: what the drivers of bench/run that are written in C share: the command line, a task's text, the records.
 * bench/README.md says what a driver of any language does; bench/run starts them.
 */
#ifndef CB_BENCH_PEERS_DRIVER_H
#define CB_BENCH_PEERS_DRIVER_H

#include <stdbool.h>

enum {
    DRIVER_TEXT_BYTES = 200, /* of a task */
    DRIVER_BATCH = 100,      /* tasks in a batch */
    DRIVER_FLIGHT = 64,      /* requests in flight, or slots of a consumer */
    DRIVER_BULK = 8,         /* batches in flight, of a producer or a consumer */
};

/* What a producer is told to do. */
struct driver_order {
    unsigned in_flight; /* requests */
    unsigned batch;     /* tasks in one request */
    unsigned pause_us;  /* between two requests */
    bool is_asking;     /* replies of a handler are waited for, and recorded */
    unsigned count;     /* tasks */
};

struct driver {
    const char *name;
    void (*consume)(void); /* until the process is ended; records each task */
    void (*produce)(const struct driver_order *order);
    void (*serve)(void); /* NULL: there is nothing to serve */
};
extern const struct driver driver_claudebench, driver_beanstalkd, driver_gearmand;

/* A required word of the environment. */
const char *driver_setting(const char *name);
/* Wall time in seconds: the clock that all drivers of all languages share. */
double driver_now(void);
/* "1732260000.123456 xxxx…": DRIVER_TEXT_BYTES bytes and a NUL. */
void driver_text(char *out);
/* The time that the text of a task begins with. */
double driver_text_time(const char *text);
/* A task that was sent then has been handled, or a request answered, now. Written by driver_flush(). */
void driver_record(double sent);
void driver_flush(void);
/* The first of `count` times that an order needs, one for each request; the caller frees them. */
double *driver_times(const struct driver_order *order);
/* Waits as long as the order says between two requests. */
void driver_pause(const struct driver_order *order);
__attribute__((format(printf, 1, 2), noreturn)) void driver_failed(const char *fmt, ...);

#endif

/*
 * driver.c: see driver.h. claudebench-bench-peer SYSTEM consume|produce|serve
 *
 * A record is three doubles: now, when what was handled was sent, the process. They are appended by one write() each
 * time, so that several processes can share the file.
 */
#include "common/compat.h"
#include "bench/peers/driver.h"

#include "common/clock.h"
#include "common/exitcode.h"
#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <time.h>

enum { RECORDS = 1024, RECORD_FIELDS = 3, LINE_SIZE = 80, PAUSE_US = 8000 };

static struct {
    int fd;
    unsigned len;
    double fields[RECORDS][RECORD_FIELDS];
} records = {.fd = -1};

void driver_failed(const char *fmt, ...)
{
    va_list ap;

    fputs("claudebench-bench-peer: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(EXITCODE_UNAVAILABLE);
}

const char *driver_setting(const char *name)
{
    const char *value = getenv(name);
    if (!value || !value[0])
        driver_failed("%s is not set", name);
    return value;
}

double driver_now(void)
{
    return (double)clock_wall_us() / 1e6;
}

void driver_text(char *out)
{
    int n = snprintf(out, DRIVER_TEXT_BYTES + 1, "%.6f ", driver_now());
    memset(out + n, 'x', DRIVER_TEXT_BYTES - (size_t)n);
    out[DRIVER_TEXT_BYTES] = '\0';
}

double driver_text_time(const char *text)
{
    return strtod(text, NULL);
}

void driver_flush(void)
{
    size_t size = records.len * sizeof records.fields[0];
    if (size > 0 && write(records.fd, records.fields, size) != (ssize_t)size)
        driver_failed("the records cannot be written: %s", strerror(errno));
    records.len = 0;
}

void driver_record(double sent)
{
    double *fields = records.fields[records.len++];
    fields[0] = driver_now();
    fields[1] = sent;
    fields[2] = getpid();
    if (records.len == RECORDS)
        driver_flush();
}

double *driver_times(const struct driver_order *order)
{
    return mem_calloc(order->count / order->batch + 1, sizeof(double));
}

void driver_pause(const struct driver_order *order)
{
    const struct timespec pause = {.tv_nsec = (long)order->pause_us * 1000};
    if (order->pause_us > 0)
        nanosleep(&pause, NULL);
}

/* "flight 2000" */
static bool parse_order(const char *line, struct driver_order *ret)
{
    static const struct {
        const char *name;
        struct driver_order order;
    } orders[] = {
        {"sync", {.in_flight = 1, .batch = 1}},
        {"flight", {.in_flight = DRIVER_FLIGHT, .batch = 1}},
        {"batch", {.in_flight = DRIVER_BULK, .batch = DRIVER_BATCH}},
        {"paced", {.in_flight = 1, .batch = 1, .pause_us = PAUSE_US}},
        {"ask", {.in_flight = 1, .batch = 1, .is_asking = true}},
        {"ask_flight", {.in_flight = DRIVER_FLIGHT, .batch = 1, .is_asking = true}},
    };
    size_t len = strcspn(line, " ");

    for (size_t i = 0; i < CB_ARRAY_LEN(orders); i++) {
        if (strlen(orders[i].name) != len || memcmp(orders[i].name, line, len) != 0)
            continue;
        *ret = orders[i].order;
        ret->count = (unsigned)strtoul(line + len, NULL, 10);
        return ret->count > 0 && ret->count % ret->batch == 0;
    }
    return false;
}

static void produce(const struct driver *driver)
{
    char line[LINE_SIZE];
    struct driver_order order;

    while (fgets(line, sizeof line, stdin)) {
        if (!parse_order(line, &order))
            driver_failed("an order that is unknown: %s", line);
        int64_t begin = clock_mono_us();
        driver->produce(&order);
        driver_flush();
        printf("%.6f\n", (double)(clock_mono_us() - begin) / 1e6);
        fflush(stdout);
    }
}

static const struct driver *find(const char *name)
{
    static const struct driver *const drivers[] = {&driver_claudebench, &driver_beanstalkd,
                                                   &driver_gearmand};
    for (size_t i = 0; i < CB_ARRAY_LEN(drivers); i++)
        if (strcmp(drivers[i]->name, name) == 0)
            return drivers[i];
    return NULL;
}

int main(int argc, char **argv)
{
    const struct driver *driver = argc == 3 ? find(argv[1]) : NULL;
    const char *role = driver ? argv[2] : "";

    if (strcmp(role, "serve") == 0 && driver->serve) {
        driver->serve();
    } else if (strcmp(role, "consume") == 0 || strcmp(role, "produce") == 0) {
        records.fd = open(driver_setting("BENCH_RECORDS"), O_WRONLY | O_APPEND | O_CLOEXEC);
        if (records.fd < 0)
            driver_failed("the records cannot be opened: %s", strerror(errno));
        if (role[0] == 'c')
            driver->consume();
        else
            produce(driver);
    } else {
        fputs("usage: claudebench-bench-peer SYSTEM consume|produce|serve (bench/run starts it)\n",
              stderr);
        return EXITCODE_USAGE;
    }
    return EXITCODE_OK;
}

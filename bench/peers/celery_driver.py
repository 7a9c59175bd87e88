"""celery_driver.py: driver of Celery; consumers are `celery -A celery_driver worker`. bench/README.md says what a driver does."""

import os
import struct
import sys
import time

from celery import Celery

URL = "redis+socket://" + os.environ["BENCH_SOCKET"]
RECORDS = os.open(os.environ["BENCH_RECORDS"], os.O_WRONLY | os.O_APPEND)

app = Celery("bench", broker=URL, backend=URL)
app.conf.update(
    task_ignore_result=True,
    task_acks_late=False,
    task_compression=None,
    worker_prefetch_multiplier=16,
    worker_disable_rate_limits=True,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    broker_connection_retry=False,
    result_expires=600,
)


def now():
    return time.time()


def record(sent):
    os.write(RECORDS, struct.pack("3d", now(), sent, os.getpid()))


def text():
    return f"{now():.6f} ".ljust(200, "x")


@app.task(name="bench.handle")
def handle(words):
    record(float(words.split(" ", 1)[0]))


@app.task(name="bench.answer", ignore_result=False)
def answer(words):
    handle(words)
    return words.split(" ", 1)[0]


def ask(count, in_flight):
    for done in range(0, count, in_flight):
        sent = now()
        for result in [answer.delay(text()) for _ in range(min(in_flight, count - done))]:
            result.get(timeout=20)
            record(sent)


def run(order, count):
    if order == "ask":
        ask(count, 1)
    elif order == "ask_flight":
        ask(count, 64)
    else:
        for _ in range(count):
            if order == "paced":
                time.sleep(0.008)
            handle.delay(text())


def produce():
    for line in sys.stdin:
        order, count = line.split()
        begin = time.monotonic()
        run(order, int(count))
        print(time.monotonic() - begin, flush=True)


if __name__ == "__main__":
    produce()

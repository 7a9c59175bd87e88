"""rq_driver.py: driver of RQ; consumers are SimpleWorkers of this file's handle(). bench/README.md says what a driver does."""

import logging
import os
import struct
import sys
import time

from redis import Redis
from rq import Queue, SimpleWorker

RECORDS = os.open(os.environ["BENCH_RECORDS"], os.O_WRONLY | os.O_APPEND)


def text():
    return f"{time.time():.6f} ".ljust(200, "x")


def handle(words):
    os.write(RECORDS, struct.pack("3d", time.time(), float(words.split(" ", 1)[0]), os.getpid()))


def run(queue, order, count):
    if order == "batch":
        for _ in range(0, count, 100):
            queue.enqueue_many([Queue.prepare_data("rq_driver.handle", (text(),), result_ttl=0) for _ in range(100)])
        return
    for _ in range(count):
        if order == "paced":
            time.sleep(0.008)
        queue.enqueue("rq_driver.handle", text(), result_ttl=0)


def main():
    redis = Redis(unix_socket_path=os.environ["BENCH_SOCKET"])
    queue = Queue("bench", connection=redis)
    if sys.argv[1] == "consume":
        logging.disable(logging.CRITICAL)
        SimpleWorker([queue], connection=redis, log_job_description=False).work(logging_level="CRITICAL")
        return
    for line in sys.stdin:
        order, count = line.split()
        begin = time.monotonic()
        run(queue, order, int(count))
        print(time.monotonic() - begin, flush=True)


if __name__ == "__main__":
    main()

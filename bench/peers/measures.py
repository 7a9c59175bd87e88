"""measures.py: what bench/run measures of a system: three sessions, each on a server of its own that has just been started."""

import os
import signal
import time

from .processes import Box, Producer, Stuck, is_stopped, tree

READY_S = 20
LIMIT_S = 30
FILL_S = 150
FILL_STEP = 50000
DEEP_S = 3


def percentile(values, p):
    return sorted(values)[int(p * (len(values) - 1))]


def steady_rate(times):
    """Tasks per second between the fifth and the last twentieth of them: neither the start nor who ends last."""
    times = sorted(times)
    first, last = len(times) // 5, len(times) - 1 - len(times) // 20
    return (last - first) / max(times[last] - times[first], 1e-6)


def milliseconds(name, records):
    latencies = [1000 * (now - sent) for now, sent, _ in records]
    return {f"{name}_p{p}": percentile(latencies, p / 100) for p in (50, 95, 99)}


class Session:
    """A server and a producer, and as many consumers as are added."""

    def __init__(self, system, aof):
        self.system, self.aof = system, aof
        self.box = Box(system.env())
        self.consumers = []
        self.producer = None

    def __enter__(self):
        try:
            self.system.start(self.box, self.aof)
            self.producer = Producer(self.system.producer(self.box))
            self.producer.order("sync", 20)
        except BaseException:
            self.box.__exit__()
            raise
        return self

    def __exit__(self, *why):
        self.box.__exit__(*why)

    def has(self, order):
        return order in self.system.orders

    def rate(self, order):
        size = self.system.size(order)
        return size / self.producer.order(order, size)

    # ---- consumers ----

    def add_consumers(self, n, in_batches=False):
        """Until there are n of them, and each has handled a task."""
        while len(self.consumers) < n:
            self.consumers.append(self.system.consumer(self.box, in_batches))
        seen, until = set(), time.monotonic() + READY_S
        self.drained_of(20 if self.box.count() == 0 else 0)
        while True:
            seen |= {int(pid) for _, _, pid in self.box.read_records()}
            if all(seen & set(tree(p.pid)) for p in self.consumers):
                return
            if time.monotonic() > until:
                raise Stuck(f"{n} consumers: not all get tasks in {READY_S} s")
            self.box.forget()
            more = 100 if in_batches else 2 * n
            self.producer.order("batch" if in_batches else "sync", more)
            self.drained_of(more)

    def drained_of(self, n, seconds=LIMIT_S):
        try:
            self.box.wait(lambda: self.box.count() >= n, seconds, "not handled")
        except Stuck as why:
            raise Stuck(f"{self.box.count()} of {n} tasks: {why}") from why

    def signal_consumers(self, signo):
        for consumer in self.consumers:
            consumer.signal(signo)

    def stop_consumers(self):
        self.signal_consumers(signal.SIGSTOP)
        self.box.wait(lambda: all(is_stopped(pid) for p in self.consumers for pid in tree(p.pid)), READY_S, "the consumers stop")

    # ---- measurements with consumers ----

    def latency(self):
        size = self.system.size("latency")
        self.box.forget()
        self.producer.order("paced", size)
        self.drained_of(size)
        return milliseconds("latency", self.box.read_records())

    def ask(self):
        """The handlers' records are beside those of the replies, which the producer writes."""
        found = {}
        if self.has("ask"):
            records = self.asked("ask", self.system.size("ask"))[0]
            found.update(milliseconds("ask", records))
        if self.has("ask_flight"):
            size = self.system.size("ask_flight")
            found["ask_rate"] = size / self.asked("ask_flight", size)[1]
        return found

    def asked(self, order, size):
        self.box.forget()
        seconds = self.producer.order(order, size)
        self.drained_of(size if self.system.is_asked_itself else 2 * size)
        records = [r for r in self.box.read_records() if int(r[2]) in tree(self.producer.process.pid)]
        if len(records) != size:
            raise Stuck(f"{order}: {len(records)} replies to {size} requests")
        return records, seconds

    def stock(self, n):
        """So many tasks are on the queue while no consumer runs."""
        self.stop_consumers()
        self.box.forget()
        self.producer.order("batch" if self.has("batch") else "sync", n)
        self.box.forget()

    def drain(self, size):
        self.stock(size)
        self.signal_consumers(signal.SIGCONT)
        self.drained_of(size)
        return steady_rate(now for now, _, _ in self.box.read_records())

    def life(self):
        """Produced and consumed at the same time."""
        size, before = self.system.size("life"), self.box.cpu_s()
        self.box.forget()
        begin = time.time()
        order = next(order for order in ("flight", "batch", "sync") if self.has(order))
        self.producer.order(order, size)
        self.drained_of(size)
        cpu = self.box.cpu_s() - before
        return {"life": size / (self.box.read_records()[-1][0] - begin), "life_cpu": 1e6 * cpu / size}


def enqueue(system, aof):
    with Session(system, aof) as session:
        found = {"enqueue_" + order: session.rate(order) for order in ("sync", "flight", "batch") if session.has(order)}
        return {**found, **session.ask()} if system.is_asked_itself else found


def consume(system, aof):
    found = {}
    with Session(system, aof) as session:
        session.add_consumers(1)
        found.update(session.latency())
        if not system.is_asked_itself:
            found.update(session.ask())
        found["drain_1"] = session.drain(system.size("drain"))
        session.add_consumers(2)
        found["drain_2"] = session.drain(system.size("drain"))
        found.update(session.life())
        found.update({"rss_" + what: n / (1 << 20) for what, n in system.memory(session.box).items()})
        session.add_consumers(4)
        found["drain_4"] = session.drain(system.size("drain"))
    return found


def consume_batches(system, aof):
    """On a server of its own: a consumer that is stopped may leave a task that it was just given."""
    with Session(system, aof) as session:
        session.add_consumers(1, in_batches=True)
        return {"drain_batch": session.drain(system.size("drain_batch"))}


def deep(system, aof, depth):
    """With so many queued. Filling is bounded in time; who does not get there is not measured."""
    with Session(system, aof) as session:
        empty, begin, order = system.store(session.box), time.monotonic(), "batch" if session.has("batch") else "sync"
        for done in range(0, depth, FILL_STEP):
            if time.monotonic() - begin > FILL_S:
                raise Stuck(f"{done} of {depth} tasks in {FILL_S} s")
            session.producer.order(order, min(FILL_STEP, depth - done), FILL_S)
        os.sync()  # the measurement of a second is not to pay for what minutes of filling have written
        found = {"deep_bytes": (system.store(session.box) - empty) / depth}
        flight = "flight" if session.has("flight") else order
        size = system.size("deep")
        found["deep_enqueue"] = size / session.producer.order(flight, size)
        session.consumers.append(system.consumer(session.box))
        session.drained_of(1)
        until = time.monotonic() + DEEP_S
        session.box.wait(lambda: session.box.count() >= size or time.monotonic() > until, DEEP_S + 1, "the drain")
        found["deep_drain"] = steady_rate(now for now, _, _ in session.box.read_records())
    return found


def sessions(system):
    return (enqueue, consume, consume_batches) if system.batches else (enqueue, consume)

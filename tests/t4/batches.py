#!/usr/bin/env python3
"""batches.py: batches through whole programs (row F42 of tests/results/faults.md): processors that die at 0, 50 and 99 %, ten batches in parallel,
killed workers, and zombies. The ledger of the processors decides: each item is finished once."""

from cbtest import *

ITEMS = 200
LEASE = 1000

daemon = None
c = None


def start():
    global daemon, c
    daemon = Daemon(config={"domains": {"system": {"workers": 3}}})
    at_exit(daemon.stop)
    c = daemon.caller()


class Processor:
    """Works a batch off in chunks; the ledger has a line for each accepted progress."""

    def __init__(self, batch, name, ledger, items):
        self.batch, self.name, self.ledger, self.items = batch, name, ledger, items
        self.fence, self.done, self.hand = None, 0, []

    def base(self):
        return {"batchId": self.batch, "instanceId": self.name, "fence": self.fence}

    def open(self):
        """True when the lease is ours."""
        pages = [self.items[i : i + 100] for i in range(0, len(self.items), 100)]
        for i, page in enumerate(pages):
            params = {"batchId": self.batch, "instanceId": self.name, "items": page, "from": 100 * i, "take": 0,
                      "more": i + 1 < len(pages), "lease_ms": LEASE, **({"fence": self.fence} if self.fence else {})}
            reply = c.insist("system.batch.process", params)
            if not reply.ok:
                equal([reply.code, reply.data["state"]], [-32005, "held"])
                return False
            self.fence, self.done = reply.result["fence"], reply.result["itemsProcessed"]
        return True

    def step(self, n=17):
        """Finishes what it has in hand and takes more; False: the lease is lost, or all is done."""
        reply = c.insist("system.batch.progress", {**self.base(), "itemsProcessed": self.done + len(self.hand), "take": n})
        if not reply.ok:
            equal([reply.code, reply.data["reason"]], [-32005, "stale_lease"])
            return False
        self.ledger += [(self.batch, i, self.fence) for i in range(self.done, self.done + len(self.hand))]
        self.done += len(self.hand)
        equal(reply.result["itemsProcessed"], self.done)
        equal(reply.result["first"], self.done)
        self.hand = reply.result["items"]
        equal(self.hand, self.items[self.done : self.done + len(self.hand)], "the items themselves")
        return bool(self.hand)

    def finish(self):
        while self.step():
            pass
        reply = c.insist("system.batch.complete", self.base())
        check(reply.ok, reply.error)
        return reply.result


def once(ledger, batch, count=ITEMS):
    finished = [i for b, i, _ in ledger if b == batch]
    equal(sorted(finished), list(range(count)), f"{batch}: every item once")


def work_until(p, share):
    while p.done + len(p.hand) < share * len(p.items) and p.step():
        pass


@case("the processor dies at 0, 50 and 99 %: the next one goes on from its progress, the dead one's writes are refused")
def dies():
    for i, share in enumerate((0, 0.5, 0.99)):
        ledger, items = [], [{"n": n} for n in range(ITEMS)]
        first, second = (Processor(f"dies{i}", name, ledger, items) for name in ("first", "second"))
        check(first.open(), "opened")
        work_until(first, share)
        wait_until(second.open, 5, "the lease ends", step=0.05)
        check(second.fence > first.fence, "a newer fence")
        equal(second.done, first.done, "nothing finished is handed out again")
        second.step()
        check(not first.step(), "a zombie's progress")
        equal(c.refused("system.batch.complete", first.base(), -32005)["reason"], "stale_lease")
        equal(second.finish()["itemsProcessed"], ITEMS)
        once(ledger, f"dies{i}")


@case("ten batches in parallel, workers and processors killed at random: each item once")
def parallel():
    dice, ledger = rng("batches"), []
    names = [f"par{i}" for i in range(10)]
    running = {n: Processor(n, f"{n}/0", ledger, [f"{n}.{i}" for i in range(ITEMS)]) for n in names}
    waiting, deaths = {}, 0
    for p in running.values():
        check(p.open(), "opened")
    while running or waiting:
        if dice.random() < 0.03:
            for pid in daemon.workers("system")[:1]:
                procs.kill(pid)
        for name in list(waiting):
            if waiting[name].open():
                running[name] = waiting.pop(name)
        for name, p in list(running.items()):
            if deaths < 15 and dice.random() < 0.05:
                deaths += 1
                waiting[name] = Processor(name, f"{name}/{deaths}", ledger, p.items)
                del running[name]
            elif not p.step(dice.choice([1, 17, 100])):
                equal(p.done, ITEMS)
                check(c.insist("system.batch.complete", p.base()).ok, "completed")
                del running[name]
    note(f"{deaths} processors died")
    for name in names:
        once(ledger, name)
    equal(len([1 for _, e in daemon.stream("stream:events") if e["type"] == b"batch.completed" and e["batch"].startswith(b"par")]),
          10)
    wait_until(lambda: daemon.client("status").returncode == 0, 10, "healthy again")


@case("a batch outlives the daemon and Redis")
def outlives():
    ledger = []
    p = Processor("long", "keeper", ledger, list(range(ITEMS)))
    check(p.open(), "opened")
    work_until(p, 0.4)
    c.drop()
    daemon.stop()
    daemon.start()
    equal(c.call("system.batch.get", {"batchId": "long"})["itemsProcessed"], p.done)
    p.finish()
    once(ledger, "long")


if __name__ == "__main__":
    arguments()
    start()
    main()

#!/usr/bin/env python3
"""event_order.py: per-partition order of events with 8 workers, while workers are killed, for who reads the partition, the
stream, and for who follows (`claudebench events -f`); and one order for who follows while events.transport is changed."""

import json
import threading

from cbtest import *

PRODUCERS = 6
DEATHS = 300 if LONG else 20
CONFIG = {"domains": {"task": {"workers": 8}, "system": {"workers": 8}},
          "supervisor": {"restart_min_ms": 10, "restart_max_ms": 100}}


class Follower:
    def __init__(self, d):
        self.path = f"{procs.folder()}/followed"
        with open(self.path, "wb") as out:
            self.process = procs.start([procs.binary("claudebench"), "events", "-f", "--json", "--since", "0"],
                                       env={"CLAUDEBENCH_CONFIG": d.config_path}, stdout=out)

    def rows(self):
        with open(self.path, encoding="utf-8") as f:
            return [json.loads(line) for line in f.read().rpartition("\n")[0].splitlines()]


class Killer:
    """Kills a worker now and then, DEATHS times."""

    def __init__(self, d, name):
        self.d, self.draw, self.deaths = d, rng(name), 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while self.deaths < DEATHS and not self.stopping.wait(self.draw.uniform(0.005, 0.08)):
            alive = self.d.workers()
            if alive:
                procs.kill(self.draw.choice(alive))
                self.deaths += 1

    def lives(self):
        return self.thread.is_alive()

    def end(self):
        self.stopping.set()
        self.thread.join(10)


def published(d, p, killer):
    """Its events, one after the other; how many."""
    c, n = d.caller(schemas=False), 0
    while killer.lives() or n < 20:
        reply = c.insist("system.event.publish", {"type": "user.step", "partition": f"p{p}", "data": n}, timeout=60)
        check(reply.ok and reply.result["accepted"], short(reply.raw))
        n += 1
    return n


def lived(d, p, killer):
    """A task's life again and again, each step after the reply to the one before it."""
    c, n = d.caller(schemas=False), 0
    while killer.lives() or n < 5:
        made = c.insist("task.create", {"text": "x", "partition": f"t{p}", "queue": f"q{p}"}, timeout=60).result["id"]
        task = c.insist("task.claim", {"workerId": f"w{p}", "queue": f"q{p}"}, timeout=60).result["tasks"][0]
        equal(task["id"], made)
        check(c.insist("task.complete", {"id": made, "lease_token": task["lease_token"]}, timeout=60).ok, "completed")
        n += 1
    return n


def numbers(rows, p):
    return [int(f["data"]) for f in rows if f.get("type") == "user.step" and f.get("partition") == f"p{p}"]


def text(entries):
    return [{k: v.decode() for k, v in f.items()} for _, f in entries]


@case(f"{PRODUCERS} partitions, 8 workers of each kind, workers killed: each partition in order, nothing missing, nothing twice")
def order():
    with Daemon(config=CONFIG) as d:
        f = Follower(d)
        killer = Killer(d, "order")
        try:
            counts = in_threads([lambda p=p: published(d, p, killer) for p in range(PRODUCERS)]
                                + [lambda p=p: lived(d, p, killer) for p in range(2)], 600 if LONG else 120)
        finally:
            killer.end()
        note(f"{killer.deaths} workers killed; events and tasks: {counts}")
        equal(killer.deaths, DEATHS)
        last = d.stream("stream:events")[-1][0]
        wait_until(lambda: f.rows() and tuple(map(int, f.rows()[-1]["event"].split("-"))) >= tuple(map(int, last.split("-"))), 20,
                   "the follower has caught up")
        whole = text(d.stream("stream:events"))
        for p in range(PRODUCERS):
            for what, rows in (("partition", text(d.stream(f"partition:p{p}"))), ("stream", whole), ("follower", f.rows())):
                found = numbers(rows, p)
                check(len(found) == counts[p] or what == "partition" and len(found) >= 1000, f"{what} {p}: {len(found)} of {counts[p]}")
                equal(found, list(range(counts[p]))[-len(found) :], f"{what} {p}")
        for p in range(2):
            kinds = [e["type"] for e in text(d.stream(f"partition:t{p}"))]
            check(len(kinds) == 3 * counts[PRODUCERS + p] or len(kinds) >= 1000, f"{len(kinds)}")
            equal(kinds, (["task.created", "task.claimed", "task.completed"] * counts[PRODUCERS + p])[-len(kinds) :], f"tasks of t{p}")
        equal([i for i, _ in d.stream("stream:events")], [r["event"] for r in f.rows()][: len(whole)])
        f.process.terminate()
        f.process.wait(10)


@case("events.transport is changed by reload under load: who follows with both sees each event once, in the order of the ids")
def reloaded():
    config = {"domains": {"task": {"workers": 2}, "system": {"workers": 3}}, "events": {"transport": "both"}}
    with Daemon(config=config) as d:
        made, stopping = [[] for _ in range(3)], threading.Event()

        def publish(p):
            c = d.caller(schemas=False)
            while not stopping.is_set():
                made[p].append(c.insist("system.event.publish", {"type": "user.step", "partition": f"r{p}", "data": len(made[p])},
                                        timeout=60).result["event"])

        f = Follower(d)  # has read the configuration as it was when it follows
        wait_until(f.rows, 10, "it follows")
        threads = [threading.Thread(target=publish, args=(p,)) for p in range(3)]
        for t in threads:
            t.start()
        kept = []
        try:
            for transport in ("pubsub", "stream", "both", "pubsub", "both"):
                d.config["events"]["transport"] = transport
                d.write_config()
                done = d.client("ctl", "reload", "--wait", timeout=60)
                equal(done.returncode, 0, done.stderr)
                before = [len(m) for m in made]
                wait_until(lambda b=before: all(len(m) >= n + 10 for m, n in zip(made, b)), 20, "events with it")
                ids = {i for i, _ in d.stream("stream:events")}
                kept.append(sum(i in ids for m, n in zip(made, before) for i in m[n + 1 : n + 10]))
        finally:
            stopping.set()
            for t in threads:
                t.join(60)
        equal([k > 0 for k in kept], [False, True, True, False, True], "what the stream has of each")
        whole = sorted((i for m in made for i in m), key=number)
        wait_until(lambda: len(followed(f)) >= len(whole), 20, lambda: f"{len(followed(f))} of {len(whole)}")
        equal(followed(f), whole)
        note(f"{len(whole)} events over {len(kept)} reloads")
        f.process.terminate()
        f.process.wait(10)


def number(event_id):
    return tuple(map(int, event_id.split("-")))


def followed(f):
    return [r["event"] for r in f.rows() if r["type"] == "user.step"]


if __name__ == "__main__":
    arguments()
    learn_schemas()
    main()

#!/usr/bin/env python3
"""backlog.py: who gets which task under load (F34, F35 of the fault list): a backlog of 10 000 drained by 1, 2, 4 and 8 workers; priorities,
FIFO inside each, and the aging bound, while tasks are made and taken at the same time.

Counts and order decide; how long it took is only noted. With CB_LONG=1 or CB_FAULTS=1 the backlog must be drained by 8 workers within 2 s.
"""

import datetime
import random
import time

from cbtest import *

BACKLOG = 10000
BATCH = 100
AGING_MS = 800


def create(c, n, queue, **more):
    """n tasks in batches that are in flight together; their ids, which are in the order of commit."""
    done = c.insist_all([("task.create_batch", {"tasks": [{"text": "no-op", "queue": queue, **more}] * BATCH}, token())
                         for _ in range(n // BATCH)], 60)
    return sorted(i for reply in done for i in reply.result["ids"])


def drain(daemon, queue, worker, taken):
    """Claims and completes until there is nothing; notes what it got, claim by claim."""
    c = daemon.caller(schemas=False, actor=worker)
    while True:
        tasks = c.insist("task.claim", {"workerId": worker, "queue": queue, "maxTasks": BATCH}, 60).result["tasks"]
        if not tasks:
            break
        taken.append([t["id"] for t in tasks])
        items = [{"id": t["id"], "lease_token": t["lease_token"]} for t in tasks]
        done = c.insist("task.complete_batch", {"items": items}, 60).result["items"]
        equal([d.get("status") for d in done], ["completed"] * len(tasks), short(done))
    c.close()


@case(f"{BACKLOG} queued tasks are drained by 1, 2, 4 and 8 workers: each task once, in the order of creation", faults="F34")
def backlog():
    with Daemon(config={"domains": {"task": {"workers": 4}}}) as d:
        c = d.caller(schemas=False)
        for workers in (1, 2, 4, 8):
            queue, taken = f"backlog{workers}", []
            ids = create(c, BACKLOG, queue)
            equal(len(set(ids)), BACKLOG)
            began = time.monotonic()
            in_threads([lambda w=w, q=queue, t=taken: drain(d, q, f"w{w}", t) for w in range(workers)])
            took = time.monotonic() - began
            # A claim is one step: what it takes is the head of the queue, without a gap.
            equal([i for part in sorted(taken) for i in part], ids, f"{workers} workers")
            note(f"{BACKLOG} tasks by {workers} workers: {took:.2f} s, {BACKLOG / took:.0f} a second")
            counts = c.call("system.get_state")["tasks"]
            equal([counts["pending"], counts["in_progress"], counts["completed"]], [0, 0, BACKLOG * (workers.bit_length())])
            if workers == 8:
                figure("drained_10000_s", took)
            if (LONG or FAULTS) and workers == 8:
                check(took < bound(2, 10), f"F34: {took:.2f} s")


# ---- what the event stream says about order ----


def history(d, queue):
    """[(kind, [ids], fields)] of a queue's creations and claims, in the order of commit."""
    rows = []
    for _, fields in d.stream("stream:events"):
        f = {name: value.decode() for name, value in fields.items()}
        if f.get("queue") == queue and f["type"] in ("task.created", "task.claimed"):
            rows.append((f["type"], (f.get("id") or f["ids"]).split(), f))
    return rows


def produce(d, n, queue, draw):
    c = d.caller(schemas=False)
    for start in range(0, n, 10):
        c.insist_all([("task.create", {"text": "t", "queue": queue, "priority": draw.choice([0, 10, 50, 50, 99])}, token())
                      for _ in range(start, min(n, start + 10))], 60)
    c.close()


def consume(d, n, queue, worker, draw, count):
    c = d.caller(schemas=False, actor=worker)
    while sum(count) < n:  # appended to by all
        tasks = c.insist("task.claim", {"workerId": worker, "queue": queue, "maxTasks": draw.randint(1, 5), "wait_ms": 200}, 60).result["tasks"]
        count.append(len(tasks))
        for t in tasks:
            c.insist("task.complete", {"id": t["id"], "lease_token": t["lease_token"]}, 60)
    c.close()


@case("tasks made and taken at the same time: each claim gets the best that there are, strictly in the order of creation inside a priority", faults="F35")
def order():
    producers, each, count = 3, 250, []
    total = producers * each
    with Daemon(config={"domains": {"task": {"workers": 4}}}) as d:
        draws = [random.Random(rng(f"order{i}").random()) for i in range(2 * producers)]
        in_threads([lambda i=i: produce(d, each, "mixed", draws[i]) for i in range(producers)]
                   + [lambda i=i: consume(d, total, "mixed", f"w{i}", draws[producers + i], count) for i in range(producers)])
        pending, last, newest, claims = {}, {}, "", 0
        for kind, ids, fields in history(d, "mixed"):
            if kind == "task.created":
                for i in ids:
                    check(newest < i, "ids are in the order of commit")
                    newest, pending[i] = i, int(fields["priority"])
                continue
            claims += 1
            best = sorted(pending, key=lambda i: (-pending[i], i))[: len(ids)]
            equal(ids, best, f"claim {claims} of {len(pending)} pending")
            for i in ids:
                priority = pending.pop(i)
                check(last.get(priority, "") < i, f"{i} after {last.get(priority)} of priority {priority}")
                last[priority] = i
        equal((pending, sum(count)), ({}, total))
        note(f"{total} tasks in {claims} claims")


# ---- aging ----


def ms(rfc3339):
    return datetime.datetime.fromisoformat(rfc3339.replace("Z", "+00:00")).timestamp() * 1000


@case("low priority behind more and more of high: never taken without aging, with it after task.aging_ms, in the order of creation", faults="F35")
def aging():
    for aging_ms in (0, AGING_MS):
        with Daemon(config={"task": {"aging_ms": aging_ms}}) as d:
            c, queue = d.caller(schemas=False), "starve"
            low = create(c, BATCH, queue, priority=0)[:BATCH]
            turns = []

            def step():
                """Two better tasks come, one task is taken: the backlog grows."""
                replies = c.insist_all([("task.create", {"text": "x", "queue": queue, "priority": 90}, token()) for _ in range(2)]
                                       + [("task.claim", {"workerId": "w", "queue": queue}, token())], 60)
                task = replies[2].result["tasks"][0]
                if task["priority"] == 0:
                    turns.append(task)
                return len(turns) >= 20

            if aging_ms == 0:
                for _ in range(200):
                    step()
                equal(turns, [], "nobody of low priority has a turn")
                continue
            wait_until(step, 60, lambda: f"{len(turns)} of low priority had their turn")
            equal([t["id"] for t in turns], low[: len(turns)], "in the order of creation")
            waited = [ms(t["updatedAt"]) - ms(t["createdAt"]) for t in turns]
            check(min(waited) >= aging_ms, f"{min(waited)} ms")
            note(f"aging_ms {aging_ms}: the first of low priority had its turn after {waited[0]:.0f} ms, the 20th after {waited[-1]:.0f} ms")
            if LONG or FAULTS:
                check(waited[0] < aging_ms + 1500, f"{waited[0]} ms: the bound, and two ticks")


if __name__ == "__main__":
    arguments()
    main()

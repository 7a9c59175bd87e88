#!/usr/bin/env python3
"""same_thing.py: 100 clients say the same thing at once, while workers die in between: it happens once (row F38 of tests/results/faults.md)."""

import threading

from cbtest import *

CLIENTS = 100
WORKERS = {"domains": {"task": {"workers": 3}, "system": {"workers": 3}}, "supervisor": {"restart_min_ms": 10, "restart_max_ms": 50}}
STEPS = ("after_read", "before_commit", "commit_sent", "after_commit")


def all_at_once(d, method, params, idem=None):
    """The replies of 100 clients, each on connections of its own, let go together. They insist, as our clients do."""
    callers = [d.caller(schemas=False, actor="all" if idem else f"client-{i}") for i in range(CLIENTS)]
    barrier = threading.Barrier(CLIENTS)

    def one(c):
        barrier.wait(20)
        return c.insist(method, params, idem=idem, timeout=60)

    replies = in_threads([lambda c=c: one(c) for c in callers], 90)
    for c in callers:
        c.close()
    check(all(r.ok for r in replies), [r.error for r in replies if not r.ok][:3])
    return [r.result for r in replies]


def events(d, kind):
    return [e for _, e in d.stream("stream:events") if e["type"].decode() == kind]


def publish(d, name):
    """One event id, and its outcome."""
    before = d.duplicates()
    results = all_at_once(d, "system.event.publish", {"type": "deploy.done", "id": name, "data": {"n": 1}})
    accepted = [r["event"] for r in results if r["accepted"]]
    equal(len(accepted), 1, "accepted")
    equal(len([e for e in events(d, "deploy.done") if e["id"].decode() == name]), 1, "in the stream")
    return d.duplicates() - before


def create(d, name):
    """One idempotency key, and its outcome."""
    key = token()
    results = all_at_once(d, "task.create", {"text": name}, idem=key)
    equal(len({r["id"] for r in results}), 1, "one task for all")
    equal(len([e for e in events(d, "task.created") if e["id"].decode() == results[0]["id"]]), 1, "created once")
    listed = d.caller().call("task.list", {"text": name})["tasks"]
    equal(len(listed), 1)


@case("100 clients publish one event id: exactly 1 is accepted, 99 are counted as duplicates", faults="F38")
def published():
    with Daemon(config=WORKERS) as d:
        for n in range(20 if FAULTS else 1):
            equal(publish(d, f"build-{n}"), CLIENTS - 1, "duplicates")


@case("100 requests under one idempotency key: one effect, one outcome for all", faults="F38")
def created():
    with Daemon(config=WORKERS) as d:
        for n in range(20 if FAULTS else 1):
            create(d, f"task {n}")


def deaths(step):
    need_failpoints(procs.binary("claudebench-worker"))
    env = failpoints_env(failpoint(step, "kill", nth=15))  # sooner, and requests would be given up after ten deaths
    with Daemon(config=WORKERS, env=env) as d:
        for n in range(8):
            publish(d, f"build-{n}")
            create(d, f"task {n}")
        died = len(d.events("child_died"))
        note(f"{died} workers died")
        check(died > 0, "some died")


if FAULTS or LONG:
    for each in STEPS:
        add_case(f"the same while each worker dies at its 15th {each}", lambda s=each: deaths(s), faults="F38")


if __name__ == "__main__":
    arguments()
    learn_schemas()
    main(timeout=300)

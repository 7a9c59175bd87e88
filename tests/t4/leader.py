#!/usr/bin/env python3
"""leader.py: registration and leadership with whole daemons (rows F03, F07 of tests/results/faults.md): who may speak for an id, one
leader an epoch, a leader that was stopped for longer than its lease, and the hand-over at a graceful stop."""

import collections
import signal
import time

from cbtest import *

SMALL = {"domains": {"task": {"workers": 1}, "system": {"workers": 1}}, "supervisor": {"watchdog_ms": 60000}}
TICK = 0.5


def leader(redis):
    with redis.client() as r:
        found = r.hash("cb:leader:current")
    return (found["id"].decode(), int(found["epoch"])) if found else (None, 0)


def events(d, *kinds):
    return [{k: v.decode() for k, v in e.items()} for _, e in d.stream("stream:events") if e["type"].decode() in kinds]


def hosts(redis, n, **config):
    return [Daemon(redis, config=merge(SMALL, config), instance=f"host-{i}") for i in range(n)]


def client_ids(redis, prefix="twin/"):
    """Ids and names of the workers' connections."""
    with redis.client() as r:
        clients = [dict(f.split("=", 1) for f in line.split()) for line in r.text("CLIENT", "LIST").splitlines()]
    return {(c["id"], c["name"]) for c in clients if c["name"].startswith(prefix)}


def by_leadership(redis, daemons):
    """(the leader, the others)."""
    wait_until(lambda: leader(redis)[0], 5, "a leader")
    name = leader(redis)[0]
    return next(d for d in daemons if d.config["instance"]["id"] == name), [d for d in daemons
                                                                           if d.config["instance"]["id"] != name]


# ---- registration ----


@case("a second live daemon with an id is refused with 75, and disturbs nobody; the first one's secret opens the door at once",
      faults="F03")
def same_id():
    with PrivateRedis() as redis:
        first = Daemon(redis, config=SMALL, instance="twin")
        with redis.client() as r:
            inc = r.hash("cb:instance:twin")["inc"]
        second = Daemon(redis, config=SMALL, instance="twin", ready=False)
        second.process.wait(10)
        equal(second.process.returncode, 75)
        check("in use by another live daemon" in second.log(), second.log_tail())
        with redis.client() as r:
            equal(r.hash("cb:instance:twin")["inc"], inc)
        equal(first.client("status").returncode, 0)
        first.kill9()  # no farewell
        began = time.monotonic()
        first.start()
        note(f"ready again after {time.monotonic() - began:.2f} s")
        check(time.monotonic() - began < 2, "it need not wait for the end of its own beat")
        with redis.client() as r:
            check(r.hash("cb:instance:twin")["inc"] != inc, "a new incarnation")
        equal(len(events(first, "instance.registered")), 2)
        first.stop()
        second.stop(check=False)


@case("who is refused an id has touched nothing of the daemon that has it: no connection, no request, no function", faults="F03")
def same_id_in_hand():
    with PrivateRedis() as redis, Daemon(redis, config=merge(SMALL, {"domains": {"test": {"workers": 1}}}), instance="twin") as first:
        wait_until(lambda: first.status()["status"] == "healthy", 5, "it serves")
        stale = "claudebench_task_create_0123456789abcdef"  # of another version, as the one that is refused may be
        with redis.client() as r:
            r.call("FUNCTION", "LOAD", f"#!lua name={stale}\nredis.register_function('{stale}', function() return 1 end)")
        connections = client_ids(redis)
        c = first.caller()
        request = c.send("test.circuit", {"delay": 4000})
        wait_until(lambda: first.pending("test"), 5, "a worker has it in hand")
        second = Daemon(redis, config=SMALL, instance="twin", ready=False)
        second.process.wait(10)
        equal(second.process.returncode, 75)
        equal([second.events(e) for e in ("leftover_killed", "requests_handed_on", "functions_removed")], [[], [], []])
        check(c.wait_all([request], 10)[0].ok, "answered")
        equal([c.doubles, first.duplicates()], [[], 0], "handled once")
        equal(connections - client_ids(redis), set(), "connections of workers that are gone")
        second.stop(check=False)


@case("after the silence of the first one its id is free for another secret")
def id_is_free():
    with PrivateRedis() as redis, Daemon(redis, config=SMALL, instance="other") as other:
        first = Daemon(redis, config=SMALL, instance="twin")
        first.kill_tree()
        second = Daemon(redis, config=SMALL, instance="twin", ready=False)
        second.process.wait(10)
        equal(second.process.returncode, 75, "its last beat is young")
        wait_until(lambda: events(other, "instance.failed"), 6, "given up")
        with Daemon(redis, config=SMALL, instance="twin", ready=False) as third:
            wait_until(lambda: third.events("instance_registered"), 5, "registered")
        for d in (first, second):
            d.stop(check=False)


@case("an agent that registers again under load: its old tasks go back once, only the new incarnation completes")
def agent_again():
    with Daemon(config=SMALL) as d:
        c = d.caller()
        ids = c.call("task.create_batch", {"tasks": [{"text": f"t{i}"} for i in range(60)]})["ids"]
        old = c.call("system.register", {"id": "a", "capacity": 100})["incarnation"]
        held = c.call("task.claim", {"workerId": "a", "incarnation": old, "maxTasks": 60})["tasks"]
        new = c.call("system.register", {"id": "a", "capacity": 100})["incarnation"]
        equal(c.refused("task.claim", {"workerId": "a", "incarnation": old}, -32005)["reason"], "stale_incarnation")
        equal(c.refused("system.heartbeat", {"instanceId": "a", "incarnation": old}, -32005)["reason"], "stale_incarnation")
        again = c.call("task.claim", {"workerId": "a", "incarnation": new, "maxTasks": 60})["tasks"]
        equal(sorted(t["id"] for t in again), sorted(ids))
        for t in held:
            equal(c.refused("task.complete", {"id": t["id"], "lease_token": t["lease_token"]}, -32005)["reason"], "stale_lease")
        c.call("task.complete_batch", {"items": [{"id": t["id"], "lease_token": t["lease_token"]} for t in again]})
        moved = [i for e in events(d, "task.reassigned") for i in e["ids"].split()]
        equal(sorted(moved), sorted(ids), "each goes back once")


# ---- leadership ----


@case("a leader that stops hands over within one tick; five times, with rising epochs", faults="times")
def hand_over():
    with PrivateRedis() as redis:
        daemons = hosts(redis, 2)
        epochs, took = [], []
        for _ in range(5):
            first, (second,) = by_leadership(redis, daemons)
            epochs.append(leader(redis)[1])
            began = time.monotonic()
            procs.kill(first.pid, signal.SIGTERM)
            wait_until(lambda s=second: leader(redis)[0] == s.config["instance"]["id"], 10, "handed over", step=0.005)
            left = [e for e in events(second, "leader.left", "leader.elected")][-2:]
            equal([e["type"] for e in left], ["leader.left", "leader.elected"])
            took.append((int(left[1]["at"]) - int(left[0]["at"])) / 1000)
            note(f"from its farewell to the next leader {took[-1]:.3f} s, from SIGTERM {time.monotonic() - began:.3f} s")
            figure("leader_left_s", took[-1])
            first.process.wait(10)
            first.start(ready=False)
            wait_until(lambda f=first: len(f.events("instance_registered")) > 0 and f.client("status").returncode != 69, 10, "back")
        check(max(took) <= TICK + bound(0.2, 1.4), f"{took}: a tick and some")
        equal(epochs, sorted(set(epochs)))
        for d in daemons:
            d.stop()


def wall_ms(r):
    s, us = r.call("TIME")
    return int(s) * 1000 + int(us) // 1000


def paused_leader(redis, daemons, seconds, meanwhile):
    """Stops the leader alone (its workers go on) for longer than its lease; continues it."""
    first, others = by_leadership(redis, daemons)
    before = leader(redis)
    with redis.client() as r:
        began = wall_ms(r)
        procs.kill(first.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: leader(redis)[1] > before[1], 8, "another one leads")
        figure("leader_moved_s", (int(events(others[0], "leader.elected")[-1]["at"]) - began) / 1000)
        meanwhile(others)
        holds_for(lambda: leader(redis)[0] != before[0], seconds, "and stays")
    finally:
        procs.kill(first.pid, signal.SIGCONT)
    now = leader(redis)
    wait_until(lambda: first.status()["leader"]["id"] == now[0], 5, "it learns who leads")
    check(not first.status()["leader"]["is_self"], "it does not lead")
    holds_for(lambda: leader(redis) == now, 2, "the new one goes on in its epoch")
    return first, others, before, now


@case("a leader stopped for longer than its lease while the dead's tasks move: it steps down, nothing moves twice",
      faults="F07")
def paused():
    with PrivateRedis() as redis:
        daemons = hosts(redis, 3)
        c = daemons[0].caller()
        ids = []

        def agents_die(_):
            for name in ("x", "y"):
                inc = c.call("system.register", {"id": name, "lease_ms": 1000, "capacity": 150})["incarnation"]
                made = c.call("task.create_batch", {"tasks": [{"text": name}] * 100})["ids"]
                ids.extend(made)
                c.call("task.claim", {"workerId": name, "incarnation": inc, "maxTasks": 100})
            wait_until(lambda: len(events(daemons[0], "instance.failed")) >= 3, 10, "both agents and the leader are given up")

        first, _, before, now = paused_leader(redis, daemons, 1, agents_die)
        failed = collections.Counter(e["instance"] for e in events(daemons[0], "instance.failed"))
        equal(dict(failed), {"x": 1, "y": 1, before[0]: 1})
        moved = collections.Counter(i for e in events(daemons[0], "task.reassigned") for i in e["ids"].split())
        equal(sorted(moved), sorted(ids))
        equal(set(moved.values()), {1}, "no task twice for one death")
        for name in ("x", "y"):
            given_up = next(int(e["at"]) for e in events(daemons[0], "instance.failed") if e["instance"] == name)
            last = max(int(e["at"]) for e in events(daemons[0], "task.reassigned") if e["from"] == name)
            figure("tasks_moved_s", (last - given_up) / 1000)
        epochs = [int(e["epoch"]) for e in events(daemons[0], "leader.elected")]
        equal(epochs, sorted(set(epochs)), "epochs rise")
        check(first.events("leader_lost"), "its log says so")
        for d in daemons:
            d.stop()


@case("a script of the leader refuses an older epoch, another incarnation, and another id; nothing changes", faults="F07")
def older_epoch():
    import scripts
    with PrivateRedis() as redis:
        daemons = hosts(redis, 2)
        c = daemons[0].caller()
        old = leader(redis)
        with redis.client() as r:
            inc = r.hash("cb:leader:current")["inc"]

            def push(name, incarnation, epoch):
                return r.call("EVAL", scripts.text("assign_pending"), 3, "cb:leader:current", "cb:stream:events", "cb:meta", "cb:",
                              name, incarnation, epoch, 1000, "push", 0, 30000, "0123456789abcdef", "", "")[0]

            def stays_pending(task):
                return c.call("task.get", {"id": task})["status"] == "pending"

            first, (second,) = by_leadership(redis, daemons)
            procs.kill(first.pid, signal.SIGSTOP)
            wait_until(lambda: leader(redis)[1] > old[1], 8, "another one leads")
            c.call("system.register", {"id": "free", "capacity": 5})
            task = c.call("task.create", {"text": "x"})["id"]
            now = leader(redis)
            now_inc = r.hash("cb:leader:current")["inc"]
            for name, incarnation, epoch in ((old[0], inc, old[1]), (now[0], now_inc, old[1]), (now[0], inc, now[1]),
                                             (old[0], now_inc, now[1]), (now[0], now_inc, now[1] + 1)):
                equal(push(name, incarnation, epoch), b"refused", (name, epoch))
                check(stays_pending(task), "nothing was done")
            procs.kill(first.pid, signal.SIGCONT)
            equal(push(now[0], now_inc, now[1]), b"ok")
            check(not stays_pending(task), "the leader's own is accepted")
        for d in daemons:
            d.stop()


@case("push: the leader is stopped for longer than its lease while it pushes: each task is given once, and all are done",
      faults="F07")
def paused_push():
    with PrivateRedis() as redis:
        daemons = hosts(redis, 2, task={"assignment": "push"})
        c = daemons[0].caller()
        inc = c.call("system.register", {"id": "agent", "capacity": 100, "lease_ms": 60000})["incarnation"]
        ids, done = [], []

        def work():
            got = c.call("task.claim", {"workerId": "agent", "incarnation": inc, "maxTasks": 100})["tasks"]
            for t in got:
                c.call("task.complete", {"id": t["id"], "lease_token": t["lease_token"]})
            done.extend(t["id"] for t in got)
            return len(done) == len(ids)

        def load(_):
            ids.extend(c.call("task.create_batch", {"tasks": [{"text": "x"}] * 50})["ids"])
            wait_until(work, 10, "done", step=0.02)

        load(None)
        paused_leader(redis, daemons, 1, load)
        load(None)
        given = collections.Counter(i for e in events(daemons[0], "task.assigned") for i in e["ids"].split())
        equal(sorted(done), sorted(ids))
        equal(set(given.values()), {1}, "given once each")
        for d in daemons:
            d.fds_at_start += 1  # whoever leads waits for tasks on a connection of its own
            d.stop()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""push.py: task.assignment push and hybrid, whole: agents come and go, daemons are killed, the mode changes under load."""

import collections
import os
import re
import signal
import statistics
import threading
import time

from cbtest import *
from task_hash import unpacked

PUSH = {"task": {"assignment": "push"}}
counter = 0


class Work:
    """A running `claudebench work`."""

    def __init__(self, d, *options, command=("true",), name=None):
        global counter
        counter += 1
        self.id = name or f"w{counter}"
        self.log = f"{procs.folder()}/work-{counter}.log"
        with open(self.log, "wb") as log:
            self.process = procs.start([procs.binary("claudebench"), "work", "--id", self.id, *options, "--", *command],
                                       env={"CLAUDEBENCH_CONFIG": d.config_path}, stdout=log, stderr=log)

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def stop(self, timeout=15):
        self.process.send_signal(signal.SIGTERM)
        equal(self.process.wait(timeout), 0, self.said())


def add(caller, n=1, **more):
    replies = caller.insist_all([("task.create", {"text": "t", **more}, token()) for _ in range(n)])
    check(all(r.ok for r in replies), [short(r.raw) for r in replies if not r.ok])
    return [r.result["id"] for r in replies]


def tasks_of(d):
    """id → hash of every task."""
    with d.connect() as r:
        return {k.decode()[8:]: unpacked(r.hash(k)) for k in r.scan("cb:task:t-*")}


def wait_done(d, ids, timeout=30.0):
    def left():
        known = tasks_of(d)
        return [(i, known[i]["st"], known[i].get("ho")) for i in ids if known[i]["st"] != b"completed"]

    wait_until(lambda: not left(), timeout, lambda: f"completed: {left()[:5]} of {len(left())}", step=0.05)


def completions(d):
    """How often the events say that each task was completed."""
    return collections.Counter(d.told("task.completed"))


def registered(d, n, timeout=10.0):
    with d.connect() as r:
        wait_until(lambda: r.call("ZCARD", "cb:instances:load") == n, timeout, f"{n} agents are registered")


@case("push: tasks reach workers that wait, at once; each is run once; the load is even")
def spread():
    with Daemon(config=PUSH, more_fds=1) as d:
        c = d.caller()
        works = [Work(d, "--jobs", "4", command=("sleep", "0.2")) for _ in range(4)]
        registered(d, 4)
        ids = add(c, 160)
        samples = []
        with d.connect() as r:
            def running():
                return [r.call("SCARD", f"cb:queue:instance:{w.id}") for w in works]

            def sample():
                now = running()
                if sum(now) > 8:  # in the middle of the run
                    samples.append(now)
                return sum(now) == 0 and r.call("ZCARD", "cb:queue:tasks:pending") == 0

            wait_until(sample, 40, "all are done", step=0.02)
        wait_done(d, ids)
        means = [statistics.mean(column) for column in zip(*samples)]
        done = collections.Counter(h["ho"].decode() for h in tasks_of(d).values())
        note(f"mean load {[round(m, 2) for m in means]}, spread {max(means) / min(means):.2f}; tasks {sorted(done.values())}")
        check(max(means) / min(means) <= 1.5, f"mean loads {means}")
        check(max(done.values()) / min(done.values()) <= 1.5, f"tasks {done}")
        check(max(max(s) for s in samples) <= 4, "nobody has more than it takes")
        equal(completions(d), {i: 1 for i in ids})
        equal({h["at"] for h in tasks_of(d).values()}, {b"1"})
        for w in works:
            w.stop()


@case("push: from task.create to the job's start")
def latency():
    with Daemon(config=PUSH, more_fds=1) as d:
        c = d.caller()
        fifo = f"{procs.folder()}/began"
        os.mkfifo(fifo)
        began = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        w = Work(d, command=("sh", "-c", f"echo > {fifo}"))
        took = []
        with d.connect() as r:
            for _ in range(40):
                # The worker waits, and so does the leader.
                wait_until(lambda: r.call("HLEN", "cb:waiters") == 2, 10, "both wait")
                at = time.monotonic()
                c.send("task.create", {"text": "t"})
                wait_until(lambda: readable(began), 10, "it began", step=0.0005)
                took.append((time.monotonic() - at) * 1000)
                c.poll(0.01)
        note(f"median {statistics.median(took):.2f} ms, most {max(took):.2f} ms")
        check(statistics.median(took) < 100, f"median {statistics.median(took):.1f} ms")
        w.stop()


def readable(fd):
    try:
        return os.read(fd, 100)
    except BlockingIOError:
        return False


@case("push: agents that register and leave every 100 ms neither lose nor double a task")
def churn():
    with Daemon(config=PUSH, more_fds=1) as d:
        stop = threading.Event()
        handed = collections.Counter()
        lock = threading.Lock()
        rounds = collections.Counter()

        def agent(index):
            caller = d.caller(schemas=False, actor=f"agent-{index}")
            name = f"agent-{index}"
            while not stop.is_set():
                reply = caller.insist("system.register", {"id": name, "capacity": 3})
                claim = {"workerId": name, "incarnation": reply.result["incarnation"], "maxTasks": 2, "wait_ms": 60}
                until = time.monotonic() + 0.1
                while time.monotonic() < until:
                    got = caller.insist("task.claim", claim)
                    check(got.ok, short(got.raw))
                    with lock:
                        handed.update(t["id"] for t in got.result["tasks"])
                    for t in got.result["tasks"]:
                        done = caller.insist("task.complete", {"id": t["id"], "lease_token": t["lease_token"]})
                        check(done.ok, short(done.raw))
                # It leaves with whatever has been pushed to it meanwhile.
                caller.insist("system.unregister", {"id": name, "incarnation": reply.result["incarnation"]})
                rounds[name] += 1

        def produce():
            caller = d.caller(schemas=False)
            ids = []
            try:
                for _ in range(60):
                    ids.extend(add(caller, 10))
                    time.sleep(0.05)  # paces the load
                wait_done(d, ids, 60)
            finally:
                stop.set()
            equal(completions(d), {i: 1 for i in ids})
            equal(set(handed), set(ids))
            equal(max(handed.values()), 1, "handed over once each")
            equal({h["at"] for h in tasks_of(d).values()}, {b"1"})

        in_threads([produce, *[lambda i=i: agent(i) for i in range(6)]], timeout=120)
        back = [e for _, e in d.stream("stream:events") if e["type"] == b"task.reassigned"]
        note(f"{sum(rounds.values())} registrations, {len(handed)} tasks; {len(back)} times an agent left with tasks that it had "
             "not claimed")
        check(sum(rounds.values()) >= 50 and back, "the agents come and go")
        with d.connect() as r:
            equal([r.call("ZCARD", "cb:leases"), r.call("ZCARD", "cb:queue:tasks:pending")], [0, 0])
            wait_until(lambda: not r.scan("cb:instances:load*"), 5, lambda: r.scan("cb:instances:load*"))
            equal({k for k in r.scan("cb:assigned:*")}, set())


@case("push: an agent that never asks for its task loses it to another, and gets no more")
def deaf():
    with Daemon(config=merge(PUSH, {"task": {"lease_ms": 1000}}), more_fds=1) as d:
        c = d.caller()
        c.call("system.register", {"id": "deaf", "capacity": 10})
        ids = add(c, 6)
        wait_until(lambda: all(h.get("ho") == b"deaf" for h in tasks_of(d).values()), 5, "all are pushed to it")
        w = Work(d, name="good")
        wait_done(d, ids, 20)
        equal({h["ho"] for h in tasks_of(d).values()}, {b"good"})
        equal({h["at"] for h in tasks_of(d).values()}, {b"1"})
        more = add(c, 6)
        wait_done(d, more, 10)
        equal({tasks_of(d)[i]["ho"] for i in more}, {b"good"})
        w.stop()


@case("hybrid: what nobody claims goes to an instance after task.auto_assign_ms")
def hybrid():
    with Daemon(config={"task": {"assignment": "hybrid", "auto_assign_ms": 600}}) as d:
        c = d.caller()
        made = c.call("system.register", {"id": "agent", "capacity": 5})
        claim = {"workerId": "agent", "incarnation": made["incarnation"], "queue": "elsewhere", "wait_ms": 20000}
        rid = c.send("task.claim", claim, idem=token())
        with d.connect() as r:
            wait_until(lambda: r.call("HLEN", "cb:waiters") == 1, 5, "it waits")
        pulled = add(c)[0]
        equal(c.call("task.claim", {"workerId": "other"})["taskId"], pulled)
        began = time.monotonic()
        task = add(c)[0]
        equal(c.wait(rid, 10).result, {"claimed": False, "tasks": [], "wake": True})
        took = time.monotonic() - began
        check(took >= 0.6, f"{took:.2f} s")
        equal(c.call("task.claim", claim)["taskId"], task)
        note(f"{took:.2f} s")


@case("push: the leader is killed; the next one goes on")
def leader_change():
    redis = PrivateRedis(aof=True)
    with Daemon(redis=redis, config=PUSH, instance="one", more_fds=1) as one:
        two = Daemon(redis=redis, config=PUSH, instance="two", more_fds=1)
        try:
            c = two.caller()
            w = Work(two, "--jobs", "4")
            ids = add(c, 50)
            wait_done(two, ids)
            leader = c.call("system.get_state")["leader"]
            first, second = (one, two) if leader == "one" else (two, one)
            first.kill_tree()
            began = time.monotonic()
            ids = add(c, 50)
            wait_done(second, ids, 20)
            note(f"50 tasks done {time.monotonic() - began:.2f} s after the leader's death")
            equal(set(completions(second).values()), {1})
            first.start()
            w.stop()
        finally:
            two.stop()
    redis.stop()


@case("the mode changes by reloads under load, pull, push, hybrid and back: nothing is lost, nothing done twice")
def modes_by_reload():
    def change(d):
        d.write_config()
        done = d.client("ctl", "reload", "--wait")
        equal(done.returncode, 0, done.stderr.decode())
        check(b"task.assignment" in done.stdout, done.stdout)

    change_modes(change)


@case("the mode changes by restarts under load: nothing is lost, nothing done twice")
def modes_by_restart():
    def change(d):
        d.stop(check=False)
        d.start()

    change_modes(change)


def change_modes(change):
    redis = PrivateRedis(aof=True)
    with Daemon(redis=redis, more_fds=1) as d:
        works = [Work(d, "--jobs", "2") for _ in range(3)]
        registered(d, 3)
        stop = threading.Event()
        ids = []

        def produce():
            caller = d.caller(schemas=False)
            while not stop.is_set():
                ids.extend(add(caller, 5))
                time.sleep(0.05)  # paces the load

        producer = threading.Thread(target=produce, daemon=True)
        producer.start()
        try:
            # Not in a thread: what a thread has started ends with it.
            for mode in ("push", "hybrid", "pull", "push", "pull"):
                before = len(ids)
                wait_until(lambda n=before: len(ids) >= n + 40, 20, "tasks go on")
                d.config["task"] = {"assignment": mode, "auto_assign_ms": 200}
                change(d)
        finally:
            stop.set()
            producer.join(30)
        wait_done(d, ids)
        equal(completions(d), {i: 1 for i in ids})
        equal({h["at"] for h in tasks_of(d).values()}, {b"1"})
        note(f"{len(ids)} tasks")
        with d.connect() as r:
            equal(r.call("HGET", "cb:meta", "assignment"), None)
        for w in works:
            w.stop()
        with d.connect() as r:
            wait_until(lambda: not r.scan("cb:waiters*"), 5, lambda: r.scan("cb:waiters*"))
    redis.stop()


@case("push to pull by a reload: a task that only a worker with the old mode was asked for is claimed all the same")
def left_behind():
    with Daemon(config=PUSH, more_fds=1) as d:
        c = d.caller()
        [task] = add(c)  # nobody to push it to
        waiting = c.send("task.claim", {"workerId": "w", "wait_ms": 25000})
        with d.connect() as r:
            wait_until(lambda: r.call("ZCARD", "cb:waiters:deadline") == 1, 5, "it waits")
        d.config["task"] = {"assignment": "pull"}
        d.write_config()
        equal(d.client("ctl", "reload", "--wait").returncode, 0)
        reply = c.wait(waiting, 10)
        check(reply.result.get("wake"), reply.raw)
        equal(c.call("task.claim", {"workerId": "w"})["taskId"], task)


@case("pull: a daemon that finds tasks there when it begins to lead asks once what there is to push, and is idle")
def pull_is_idle():
    with Daemon(config={"task": {"assignment": "pull"}}) as d:
        add(d.caller(), 3)
        d.stop(check=False)
        d.start()

        def scripts():
            with d.connect() as r:
                return int(re.search(r"cmdstat_evalsha:calls=(\d+)", r.text("INFO", "commandstats")).group(1))

        before = scripts()  # a daemon's ticks are two a second
        holds_for(lambda: scripts() - before < 60, 3, "60 scripts, 20 of them of ticks", step=0.5)


if __name__ == "__main__":
    arguments()
    learn_schemas()
    main()

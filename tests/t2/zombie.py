#!/usr/bin/env python3
"""zombie.py: a worker that was stopped, declared dead and continued: its commit changes nothing (F06)."""

import os
import signal

import scripts
from cbtest import *

PATIENT = {"supervisor": {"watchdog_ms": 60000}}


def stopped(d):
    return [p for p in d.workers("task") if (procs.stat(p) or ("?",))[0] == "T"]


def consumer_of(d):
    rows = d.pending("task")
    return rows[0][1] if rows else None


def requeue(d, consumer):
    with d.connect() as r:
        return r.call("EVAL", scripts.text("requeue"), 2, d.key("requests:task"), d.key("stream:dead"), d.prefix + ":",
                      consumer, 100, "", "test", 1000, 64 << 20, 3, 10)[:3]


@case("stopped before its commit, handed on, continued: nothing changes, and it is counted")
def zombie():
    folder = procs.subfolder("f")
    env = failpoints_env(failpoint("before_commit", "stop", once=f"{folder}/once"))
    with Daemon(env=env, config=merge(PATIENT, {"domains": {"task": {"workers": 2}}})) as d:
        c = d.caller()
        rids = c.send_many([("task.create", {"text": f"t{i}"}, {"idem": None}) for i in range(20)])
        pid = wait_until(lambda: stopped(d), 5, "a stopped worker")[0]
        wait_until(lambda: c.poll(0.02) == 0 and len(d.pending("task")) > 0, 5, "what the others took is done")
        in_hand = len(d.pending("task"))
        moved = requeue(d, consumer_of(d))
        equal(moved, [in_hand, 0, 0])
        replies = c.wait_all(rids, 10)
        equal(len({r.result["id"] for r in replies}), 20)
        before = d.duplicates()
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: d.duplicates() == before + in_hand, 5, lambda: f"duplicates {d.duplicates()}")
        c.poll(0.2)
        equal([c.replies, c.doubles], [{}, []], "replies of the zombie")
        with d.connect() as r:
            equal(r.call("ZCARD", "cb:queue:tasks:pending"), 20)
        # The zombie goes on as a living worker.
        more = c.wait_all(c.send_many([("task.create", {"text": "m"}, {}) for _ in range(20)]), 10)
        check(all(r.ok for r in more), "and the worker works on")
        equal(d.events("child_died"), [])


@case("stopped behind its commit: requeueing finds nothing, continuing disturbs nothing")
def behind():
    folder = procs.subfolder("f")
    env = failpoints_env(failpoint("after_commit", "stop", once=f"{folder}/once"))
    with Daemon(env=env, config=merge(PATIENT, {"domains": {"task": {"workers": 2}}})) as d:
        c = d.caller()
        # One transaction, so that no part of it waits for the worker that stops.
        entries = [c.entry("task.create", {"text": f"t{i}"}) for i in range(20)]
        with d.connect() as r:
            r.pipeline([["MULTI"], *[command for _, command in entries], ["EXEC"]])
        replies = c.wait_all([rid for rid, _ in entries], 10)
        equal(len({r.result["id"] for r in replies}), 20)
        pid = wait_until(lambda: stopped(d), 5, "a stopped worker")[0]
        # Its pending read may take new entries into its hands; they wait for it.
        os.kill(pid, signal.SIGCONT)
        more = c.wait_all(c.send_many([("task.create", {"text": "m"}, {}) for _ in range(40)]), 10)
        check(all(r.ok for r in more), "served")
        equal(d.duplicates(), 0)
        equal([d.backlog("task"), d.pending("task")], [0, []])


@case("stopped behind a commit that was full, and so had gone ahead: it is done, and only the rest is handed on")
def ahead():
    folder = procs.subfolder("f")
    env = failpoints_env(failpoint("prepare", "stop", match="BEHIND", once=f"{folder}/once"))
    with Daemon(env=env, config=merge(PATIENT, {"domains": {"task": {"workers": 2}}})) as d:
        c = d.caller()
        check(c.ask("task.create_batch", {"tasks": [{"text": "first"}]}).ok, "Redis has the script")
        batch = c.entry("task.create_batch", {"tasks": [{"text": f"t{i}"} for i in range(100)]})
        behind = c.entry("task.create", {"text": "BEHIND"})
        # One transaction, so that one worker has both.
        with d.connect() as r:
            r.pipeline([["MULTI"], batch[1], behind[1], ["EXEC"]])
        pid = wait_until(lambda: stopped(d), 5, "a stopped worker")[0]
        equal(len(c.wait_all([batch[0]], 10)[0].result["ids"]), 100)
        equal(len(d.pending("task")), 1, "what is left in its hands")
        equal(requeue(d, consumer_of(d)), [1, 0, 0])
        check(c.wait_all([behind[0]], 10)[0].ok, "answered by the other one")
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: d.duplicates() == 1, 5, lambda: f"duplicates {d.duplicates()}")
        with d.connect() as r:
            equal(r.call("ZCARD", "cb:queue:tasks:pending"), 102)
        equal([c.replies, c.doubles, d.events("child_died")], [{}, [], []])
        more = c.wait_all(c.send_many([("task.create", {"text": "m"}, {}) for _ in range(20)]), 10)
        check(all(r.ok for r in more), "and the worker works on")


@case("a hung worker is killed and replaced by the watchdog; what it had is answered")
def watchdog():
    folder = procs.subfolder("f")
    env = failpoints_env(failpoint("before_commit", "stop", once=f"{folder}/once"))
    with Daemon(env=env, config={"supervisor": {"watchdog_ms": 500}, "domains": {"task": {"workers": 2}}}) as d:
        c = d.caller()
        replies = c.wait_all(c.send_many([("task.create", {"text": f"t{i}"}, {}) for i in range(40)]), 10)
        check(all(r.ok for r in replies), "answered")
        equal(len({r.result["id"] for r in replies}), 40)
        equal(len(d.events("child_hung")), 1)
        wait_until(lambda: len(d.workers("task")) == 2 and not stopped(d), 5, "replaced")
        equal(c.doubles, [])


@case("a worker stopped at random points under load: each completion is accepted once")
def random_stops():
    draw = rng("stops")
    with Daemon(config={"supervisor": {"watchdog_ms": 500}, "domains": {"task": {"workers": 3}}}) as d:
        with Load(d, tasks=300, agents=3, rate=150) as load:
            for _ in range(10 if LONG else 4):
                victims = d.workers("task")
                if victims:
                    victim = draw.choice(victims)
                    procs.kill(victim, signal.SIGSTOP)
                    wait_until(lambda v=victim: not procs.alive(v), 5, "the watchdog killed it")
            load.finish(20)
        wait_until(lambda: len(d.workers("task")) == 3, 5, "replaced")
        load.verdict(20)


if __name__ == "__main__":
    need = procs.binary("claudebench-worker")
    if not has_failpoints(need):
        tap._cases.clear()
        add_case("zombies", lambda: need_failpoints(need))
    else:
        learn_schemas()
    main()

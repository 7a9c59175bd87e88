#!/usr/bin/env python3
"""commit_steps.py: kill -9 at each step of the commit protocol (row F02 of tests/results/faults.md): every request is answered once,
has its effect once, and the dead worker's requests are handed on within 100 ms."""

import os
import time

from cbtest import *

POINTS = ["after_read", "prepare", "before_commit", "commit_sent", "after_commit"]
FULL = LONG or FAULTS
ROUNDS = 25 if FULL else 1


def daemon_with(point, action, nth, workers=2):
    """A daemon, and the file that is there as soon as one of its workers has come to the point so often."""
    struck = f"{procs.subfolder('f')}/once"
    env = failpoints_env(failpoint(point, action, once=struck, nth=nth))
    return Daemon(env=env, config={"domains": {"task": {"workers": workers}}}), struck


def tasks_of(d):
    with d.connect() as r:
        return {k.decode().rsplit(":", 1)[1] for k in r.scan("cb:task:t-*")}


def lifecycle(d, c):
    """Creates, claims and completions in flight together; how many of each."""
    count, before = 40, tasks_of(d)
    made = c.wait_all(c.send_many([("task.create", {"text": f"t{i}"}, {}) for i in range(count)]), 15)
    check(all(r.ok for r in made), [short(r.raw) for r in made if not r.ok])
    ids = [r.result["id"] for r in made]
    equal(len(set(ids)), count, "ids")
    equal(tasks_of(d) - before, set(ids), "tasks in Redis: one for each request")
    claims = c.wait_all(c.send_many([("task.claim", {"workerId": f"w{i}", "maxTasks": 2}, {}) for i in range(20)]), 15)
    leased = [t for r in claims for t in r.result["tasks"]]
    equal(sorted(t["id"] for t in leased), sorted(ids), "each task is leased once")
    done = c.wait_all(c.send_many(
        [("task.complete", {"id": t["id"], "lease_token": t["lease_token"], "result": i}, {})
         for i, t in enumerate(leased)]), 15)
    check(all(r.ok for r in done), [short(r.raw) for r in done if not r.ok])
    return count


def through(point, action, nth):
    """Lives through the fault: as many as it takes until a worker has committed so often, since bursts come in few groups."""
    daemon, struck = daemon_with(point, action, nth)
    with daemon as d:
        c, count = d.caller(), 0
        while count == 0 or not os.path.exists(struck):
            check(count < 1000, f"no worker came to {point} {nth} times")
            count += lifecycle(d, c)
        equal(c.doubles, [], "requests that were answered twice")
        wait_until(lambda: c.poll(0.05) == 0, 2, "no more replies")
        equal(c.replies, {})
        completed = d.told("task.completed")
        equal(len(completed), count)
        equal(len(set(completed)), count, "accepted completions per id")

        def died():
            return len([e for e in d.events("child_died") if e.get("service", "").startswith("task")])

        wait_until(lambda: died() > 0 and len(d.workers("task")) == 2, 5, "the dead worker is replaced")
        equal(died(), 1, "workers that died")
        wait_until(lambda: [d.backlog("task"), d.pending("task")] == [0, []], 5, "nothing is left")
        equal(d.stream("stream:dead"), [])


def repeated(point, nth):
    turns = iter(range(ROUNDS))  # shared: two at a time

    def some():
        for _ in turns:
            through(point, "kill", nth)

    in_threads([some, some], 280)


for point_ in POINTS:
    # In the middle of the creates, of the claims, and of the completions. Long: 100 runs of each step (F02).
    for nth_ in (1, 2, 3, 4) if FULL else (1, 4):
        add_case(f"kill at {point_}, hit {nth_}", lambda p=point_, n=nth_: repeated(p, n), faults="F02")


@case("a request that was handed on is answered within 100 ms of its worker's death, plus its own time", faults="times")
def fast():
    for _ in range(5 if FAULTS else 1):
        with daemon_with("before_commit", "kill", None)[0] as d:
            c = d.caller()
            began = time.monotonic()
            check(c.ask("task.create", {"text": "x"}).ok, "answered")
            spent = time.monotonic() - began
            figure("handed_on_s", spent)  # from its sending to its reply: a little more
            check(spent < 1.0, f"{spent:.3f} s")
            # The reply may be here before the supervisor has written its line.
            wait_until(lambda d=d: len(d.events("requests_handed_on")) == 1, 2, "handed on once")


@case("the supervisor dies while it hands on: the next one does it")
def supervisor_dies():
    folder = procs.subfolder("f")
    env = failpoints_env(failpoint("before_commit", "kill", once=f"{folder}/w"),
                         failpoint("handon_requeue", "kill", once=f"{folder}/s"))
    with PrivateRedis(aof=True) as redis:
        d = Daemon(redis, env=env)
        c = d.caller()
        rids = c.send_many([("task.create", {"text": f"t{i}"}, {}) for i in range(10)])
        d.process.wait(10)
        equal(d.process.returncode, -9, "the supervisor was killed at the point")
        wait_until(lambda: not d.leftovers(), 5, "its workers have left")
        d.start()
        replies = c.wait_all(rids, 20)
        check(all(r.ok for r in replies), "answered")
        equal(len({r.result["id"] for r in replies}), 10)
        equal(len(tasks_of(d)), 10)
        equal(c.doubles, [])
        d.stop()


@case("every step again and again: workers die at their 25th commit, and all work is done once")
def again_and_again():
    # One at a time, as a worker reads whose predecessor died: three that are back once a second must outdo who asks again each second.
    env = failpoints_env(failpoint("after_commit", "kill", nth=25))
    with Daemon(env=env, config={"domains": {"task": {"workers": 3}}}) as d:
        with Load(d, tasks=300, agents=2, batch=10) as load:
            spent = load.finish(40)
        note(f"{len(d.events('child_died'))} deaths, drained {spent:.1f} s later")
        wait_until(lambda: len(d.workers("task")) == 3, 5, "workers are back")
        load.verdict(40)


if __name__ == "__main__":
    need = procs.binary("claudebench-worker")
    if not has_failpoints(need):
        tap._cases.clear()
        add_case("commit steps", lambda: need_failpoints(need))
    else:
        learn_schemas()
    main()

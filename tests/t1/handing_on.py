"""handing_on.py: what a dead worker had taken goes back within 100 ms, and only the entry that it was handling
is charged; also when Redis is away, and when the supervisor died with it."""

import os
import signal
import time

from cbtest import (Daemon, bound, case, check, equal, failpoint, failpoints_env, main, need_failpoints, note, procs,
                    wait_until)
from supervised import status

ONE = {"domains": {"task": {"workers": 1}, "system": {"workers": 1}}}


def entries(daemon, stream="task"):
    return daemon.stream(f"requests:{stream}")


def consumers(daemon, stream="task"):
    with daemon.connect() as r:
        rows = r.call("XINFO", "CONSUMERS", daemon.key(f"requests:{stream}"), "workers")
    return [row[1].decode() for row in rows]


def stuck_daemon(point, match=None, config=None):
    """A daemon whose first task worker stops itself (SIGSTOP) at a fault point; the watchdog is slow."""
    need_failpoints(procs.binary("claudebench-worker"))
    folder = procs.subfolder("f")
    slow = {"supervisor": {"watchdog_ms": 60000}}
    return Daemon(
        env=failpoints_env(failpoint(point, "stop", once=f"{folder}/once", match=match)),
        config={**ONE, **slow, **(config or {})},
    )


def wait_stopped(daemon):
    pid = daemon.workers("task")[0]
    wait_until(lambda: procs.stat(pid) and procs.stat(pid)[0] == "T", 5, "the worker is at the fault point")
    return pid


@case("64 pending requests are back within 100 ms, nobody but the one in hand is charged", faults="times")
def within_100_ms():
    with stuck_daemon("prepare", match="poison") as d:
        c = d.caller()
        requests = [("task.create", {"text": f"t{i}" if i != 20 else "poison"}, {}) for i in range(64)]
        ids = c.send_many(requests)
        pid = wait_stopped(d)
        charged = status(d)["workers"][0]["entry"]
        taken = len(d.pending())
        check(taken > 1, f"{taken} pending")
        began = time.monotonic()
        procs.kill(pid)
        wait_until(lambda: d.events("requests_handed_on"), 5, "handed on", step=0.001)
        note(f"{(time.monotonic() - began) * 1000:.1f} ms as seen from outside, {taken} entries")
        event = d.events("requests_handed_on")[0]
        equal(int(event["moved"]), taken)
        equal(event["charged"], charged)
        equal(event["how"], '"signal 9"')
        check(int(event["took_ms"]) <= bound(100, 1000), f"took {event['took_ms']} ms")
        replies = c.wait_all(ids, 10)
        check(all(r.ok for r in replies), "all are answered in the end")
        equal(c.doubles, [], "answered twice")
        equal(d.duplicates(), 0)


@case("seen from the outside: a caller has its reply within 100 ms of the death of the worker that had its request",
      faults="times")
def replies_within_100_ms():
    need_failpoints(procs.binary("claudebench-worker"))
    folder = procs.subfolder("f")
    env = failpoints_env(failpoint("prepare", "stop", once=f"{folder}/once", match="poison"))
    with Daemon(env=env, config={"supervisor": {"watchdog_ms": 60000}}) as d:  # two task workers
        c = d.caller()
        last = []
        for n in range(7):
            wait_until(lambda: status(d)["status"] != "unhealthy" and len(d.workers("task")) == 2 and
                       all(w["state"] == "idle" for w in status(d)["workers"] if w["domain"] == "task"), 10, "both serve")
            if os.path.exists(f"{folder}/once"):
                os.unlink(f"{folder}/once")
            ids = c.send_many([("task.create", {"text": "poison" if i == 20 else f"{n}.{i}"}, {}) for i in range(64)])
            wait_until(lambda: any(procs.stat(p) and procs.stat(p)[0] == "T" for p in d.workers("task")), 5, "one is stuck")
            victim = [p for p in d.workers("task") if procs.stat(p)[0] == "T"][0]
            began = time.monotonic()
            procs.kill(victim)
            replies = c.wait_all(ids, 10)
            last.append((time.monotonic() - began) * 1000)
            check(all(r.ok for r in replies), "all are answered")
        last.sort()
        note(f"the last reply after a kill: median {last[3]:.1f} ms, {last[0]:.1f} to {last[-1]:.1f} ms")
        check(last[3] <= bound(100, 600), f"{last}")
        equal(c.doubles, [], "answered twice")


@case("the crash is counted in the entry that was in hand, the others keep their count")
def charged_entry():
    with stuck_daemon("prepare", match="poison", config={"supervisor": {"watchdog_ms": 60000, "restart_min_ms": 3000, "restart_max_ms": 3000}}) as d:
        c = d.caller()
        ids = c.send_many([("task.create", {"text": t}, {}) for t in ("a", "poison", "b")])
        procs.kill(wait_stopped(d))
        wait_until(lambda: d.events("requests_handed_on"), 2, "handed on")
        seen = {}
        for _, fields in entries(d):
            seen[fields["params"]] = (fields.get("crashes"), fields.get("redelivered"), fields.get("crash"))
            check("origin" in fields, f"{fields}")
        poisoned = [v for k, v in seen.items() if b"poison" in k]
        others = [v for k, v in seen.items() if b"poison" not in k]
        equal(poisoned, [(b"1", b"1", b"signal 9")])
        check(all(v[0] is None and v[1] in (b"1", None) for v in others), f"{seen}")
        equal(consumers(d), [], "the dead worker's consumer is gone")
        c.wait_all(ids, 10)


@case("a worker that is killed with Redis stopped is handed on when Redis is back")
def while_redis_is_stopped():
    with stuck_daemon("prepare", match="poison", config={"redis": {"timeout_ms": 700}}) as d:
        c = d.caller()
        ids = c.send_many([("task.create", {"text": t}, {}) for t in ("a", "poison", "b")])
        pid = wait_stopped(d)
        redis = d.redis_pid()
        procs.kill(redis, signal.SIGSTOP)
        procs.kill(pid)
        wait_until(lambda: d.events("child_died"), 2, "reaped while Redis is stopped")
        wait_until(lambda: status(d)["redis"]["state"] == "down", 3, "the silent connection is dropped")
        equal(status(d)["requests"]["handing_on"], 1)
        procs.kill(redis, signal.SIGCONT)
        replies = c.wait_all(ids, 15)
        check(all(r.ok for r in replies), "answered")
        equal(c.doubles, [])
        wait_until(lambda: status(d)["requests"]["handing_on"] == 0, 2, "nothing is left to hand on")


@case("a hung worker: its connection is closed before its requests go back, its commit changes nothing")
def hung_and_continued():
    with stuck_daemon("before_commit", config={"supervisor": {"watchdog_ms": 700}}) as d:
        c = d.caller()
        replies = c.wait_all(c.send_many([("task.create", {"text": f"t{i}"}, {}) for i in range(20)]), 10)
        check(all(r.ok for r in replies), "answered by its successor")
        equal(d.events("child_died")[0]["how"], "hung")
        equal(c.doubles, [])
        wait_until(lambda: d.backlog() == 0 and not d.pending(), 2, "nothing is left")


@case("kill -9 of the supervisor: Redis is adopted, its workers leave, their requests are handed on")
def supervisor_dies():
    with stuck_daemon("prepare", match="poison") as d:
        c = d.caller()
        old = status(d)
        ids = c.send_many([("task.create", {"text": t}, {}) for t in ("a", "poison", "b")])
        stuck = wait_stopped(d)
        redis = d.redis_pid()
        left = [w["pid"] for w in old["workers"]]
        d.kill9()
        wait_until(lambda: [p for p in left if procs.alive(p)] == [stuck], 5, "the others leave by themselves")
        d.start()
        s = status(d)
        equal(s["redis"]["pid"], redis, "the same redis-server")
        equal(s["redis"]["adopted"], True)
        check(s["incarnation"] != old["incarnation"], "a new incarnation")
        check(min(w["generation"] for w in s["workers"]) > max(w["generation"] for w in old["workers"]), "generations")
        replies = c.wait_all(ids, 10)
        check(all(r.ok for r in replies), "answered")
        procs.kill(stuck, signal.SIGCONT)  # the zombie commits into a closed connection, and leaves
        wait_until(lambda: not procs.alive(stuck), 8, "the orphan leaves")
        equal(c.doubles, [])
        wait_until(lambda: not d.pending(), 2, "nothing pending")
        names = [w for w in consumers(d)]
        mine = {f"test-host/{w['domain']}/{w['slot']}.{w['generation']}" for w in status(d)["workers"]}
        check(set(names) <= mine, f"consumers {names}")
        equal(len(d.events("redis_adopted")), 1)


@case("kill -9 of everything: the next start hands on what was pending")
def everything_dies():
    with stuck_daemon("prepare", match="poison") as d:
        c = d.caller()
        c.send_many([("task.create", {"text": t}, {}) for t in ("a", "poison", "b")])
        wait_stopped(d)
        d.kill_tree()
        d.start()
        wait_until(lambda: d.backlog() == 0 and not d.pending(), 5, "all are handled")
        with d.connect() as r:
            equal(len(list(r.scan("cb:task:t-*"))), 3, "tasks")


if __name__ == "__main__":
    main()

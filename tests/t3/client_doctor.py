#!/usr/bin/env python3
"""client_doctor.py: `claudebench doctor`: nothing is wrong with tasks in every state, nor while they move; each kind of damage is
found, where it is; --repair puts right what it may and nothing else."""

import json
import threading

from cbtest import *

daemon = None
c = None
r = None


def start():
    global daemon, c, r
    daemon = Daemon()
    at_exit(daemon.stop)
    c = daemon.caller()
    r = daemon.connect()


def create(**kw):
    return c.call("task.create", {"text": "t", **kw})["id"]


def every_state():
    """Tasks in all states, with roles, dependencies, unique keys, one assigned, one held. By name."""
    c.call("system.register", {"id": "agent one", "roles": ["gpu"], "capacity": 9})
    made = {"completed": create(queue="done"), "failed": create(queue="fails")}
    for name, method in (("completed", "task.complete"), ("failed", "task.fail")):
        (t,) = c.call("task.claim", {"workerId": "agent one", "queue": {"completed": "done", "failed": "fails"}[name]})["tasks"]
        c.call(method, {"id": t["id"], "lease_token": t["lease_token"],
                        **({"error": "e", "retry": False} if name == "failed" else {})})
    made["held"] = create(queue="h")
    c.call("task.claim", {"workerId": "agent one", "queue": "h"})
    made["stranger"] = create(queue="h")
    c.call("task.claim", {"workerId": "nobody registered", "queue": "h"})
    made["assigned"] = create()
    c.call("task.assign", {"taskId": made["assigned"], "instanceId": "agent one"})
    made["cancelled"] = create()
    c.call("task.cancel", {"id": made["cancelled"]})
    made["pending"] = create(unique_key="one")
    made["roles"] = create(roles=["gpu", "cpu"], queue="dead")  # a queue's name may be that of an index
    made["delayed"] = create(delay_ms=3600000)
    made["blocked"] = create(after=[made["delayed"], made["pending"]])
    made["waits"] = create(after=[made["failed"], made["pending"]], on_dependency_failure="ignore")
    made["blocks"] = create(after=[made["pending"]], on_dependency_failure="block", queue="delayed")
    return made


def doctor(*args):
    done = daemon.client("doctor", "--json", *args)
    equal(done.stderr, b"")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    equal(done.returncode, 1 if rows[-1]["findings"] else 0)
    equal(rows[-1]["findings"], len(rows) - 1)
    return rows[:-1], rows[-1]


def clean():
    rows, totals = doctor()
    equal(rows, [], "nothing wrong")
    equal(totals["not_compared"], 0)
    return totals


def found(*args):  # (index/queue/role, problem, task)
    rows, _ = doctor(*args)
    return sorted(("/".join(row[n] for n in ("index", "queue", "role") if n in row), row["problem"], row.get("id")) for row in rows)


tasks = {}


@case("tasks in every state, with roles, keys, dependencies, held and assigned: nothing wrong, exit 0")
def healthy():
    tasks.update(every_state())
    check(clean()["examined"] >= len(tasks), "all were looked at")
    done = daemon.client("doctor")
    equal(done.returncode, 0)
    check(b"nothing wrong" in done.stdout, done.stdout)


@case("more tasks than a page, in several queues: all are looked at, and counted right")
def pages():
    ids = [t for i in range(0, 1500, 100) for t in c.call("task.create_batch", {"tasks": [
        {"text": "x", "queue": f"many{(i // 100) % 3}", "priority": k % 5, **({"roles": ["a", "b"]} if k % 7 == 0 else {})}
        for k in range(100)]})["ids"]]
    equal(len(ids), 1500)
    check(clean()["examined"] > 1500, "all pages")


@case("while tasks come, run and go, nothing is found that is not so")
def lively():
    stop, problems = threading.Event(), []

    def churn():
        mine = daemon.caller()
        while not stop.is_set():
            task = mine.call("task.create", {"text": "x", "queue": "churn"})["id"]
            got = mine.call("task.claim", {"workerId": "churner", "queue": "churn", "maxTasks": 2})
            for t in got["tasks"]:
                mine.call("task.fail", {"id": t["id"], "lease_token": t["lease_token"], "error": "x", "retry": False})
            mine.ask("task.delete", {"id": task})

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(5):
            rows, _ = doctor()
            problems += rows
    finally:
        stop.set()
        thread.join()
    equal(problems, [])
    clean()


# name → (what is done to Redis, what has to be found, is it repaired, how to mend it by hand)
def damage(commands, wanted, is_repaired=True, mend=()):
    for command in commands:
        r.call(*command)
    equal(found(), sorted(wanted))
    equal(found(), sorted(wanted), "looking changes nothing")
    left = found("--repair")
    if is_repaired:
        equal(left, [])
    else:
        equal(left, sorted(wanted), "what is not safe is left alone")
        for command in mend:
            r.call(*command)
    clean()


@case("a count that is too high, too low, or missing: found, and put right, with the sum of pending tasks")
def counts():
    def count(field):
        return int(r.call("HGET", "cb:counts", field) or 0)

    before = {f: count(f) for f in ("pending", "q:default:pending", "q:h:in_progress", "q:default:delayed")}
    damage([["HINCRBY", "cb:counts", "q:default:pending", 3]],
           [("counts", "sum", "t-0"), ("counts/default", "count", None)])
    damage([["HINCRBY", "cb:counts", "q:h:in_progress", -1]], [("counts", "sum", "t-0"), ("counts/h", "count", None)])
    damage([["HDEL", "cb:counts", "q:default:delayed"]], [("counts", "sum", "t-0"), ("counts/default", "count", None)])
    damage([["HINCRBY", "cb:counts", "pending", 7]], [("counts", "sum", "t-0")])
    equal({f: count(f) for f in before}, before)


@case("entries of tasks that are no more: found in each index, and taken out")
def dangling():
    for key, index, command in (("cb:queue:tasks:pending", "pending/default", "ZADD"), ("cb:queue:delayed", "delayed", "ZADD"),
                                ("cb:queue:blocked", "blocked", "ZADD"), ("cb:tasks:completed", "completed", "ZADD"),
                                ("cb:queue:dead", "dead", "ZADD"), ("cb:queue:dead:role:gpu", "pending/dead/gpu", "ZADD"),
                                ("cb:assigned:agent one", "assigned", "ZADD"), ("cb:queue:instance:agent one", "held", "SADD")):
        score = ["9999999999999"] if command == "ZADD" else []
        wanted = [(index, "no_task", "t-1")]
        if index in ("delayed", "blocked"):
            wanted.append(("counts", "sum", "t-0"))  # its length is the count of all
        damage([[command, key, *score, "t-1"]], wanted)


@case("a task that is listed in another state's index, or held by another: found, and taken out there")
def elsewhere():
    damage([["ZADD", "cb:queue:delayed", "9999999999999", tasks["held"]]],
           [("delayed", "other_state", tasks["held"]), ("counts", "sum", "t-0")])
    damage([["ZADD", "cb:queue:h:pending", "-50", tasks["failed"]]], [("pending/h", "other_state", tasks["failed"])])
    damage([["SADD", "cb:queue:instance:agent one", tasks["stranger"]]], [("held", "other_state", tasks["stranger"])])


@case("what is missing from an index is found and left alone")
def missing():
    held = "cb:queue:instance:agent one"
    damage([["SREM", held, tasks["held"]]], [("in_progress", "not_held", tasks["held"])], False, [["SADD", held, tasks["held"]]])
    score = r.call("ZSCORE", "cb:queue:dead", tasks["failed"])
    damage([["ZREM", "cb:queue:dead", tasks["failed"]]], [("failed", "not_listed", tasks["failed"])], False,
           [["ZADD", "cb:queue:dead", score, tasks["failed"]]])
    key = f"cb:task:{tasks['delayed']}:dependents"
    damage([["SREM", key, tasks["blocked"]]], [("blocked", "not_awaited", tasks["blocked"])], False,
           [["SADD", key, tasks["blocked"]]])
    damage([["DEL", "cb:unique:default:one"]], [("pending/default", "not_unique", tasks["pending"])], False,
           [["SET", "cb:unique:default:one", tasks["pending"]]])
    damage([["ZREM", "cb:queue:dead:role:cpu", tasks["roles"]]], [("pending/dead/cpu", "not_listed", tasks["roles"])], False,
           [["ZADD", "cb:queue:dead:role:cpu", "-50", tasks["roles"]]])
    damage([["ZADD", "cb:queue:tasks:pending", "-51", tasks["pending"]]],
           [("pending/default", "other_priority", tasks["pending"])], False,
           [["ZADD", "cb:queue:tasks:pending", "-50", tasks["pending"]]])


@case("the table says it in words; exit 1 with findings, 69 without a daemon's Redis")
def words():
    r.call("ZADD", "cb:queue:delayed", "9999999999999", "t-1")
    done = daemon.client("doctor")
    equal(done.returncode, 1)
    check(b"there is no such task" in done.stdout and b"2 findings" in done.stdout, done.stdout)
    equal(daemon.client("doctor", "--repair").returncode, 0)
    gone = procs.run([procs.binary("claudebench"), "doctor"], env={"CLAUDEBENCH_REDIS_URL": "unix:///nowhere/redis.sock"})
    equal(gone.returncode, 69, gone.stderr)


@case("task.audit takes no cursor that leads to a key of another kind")
def cursors():
    for cursor in ("x", "0 a 1 t-1", "9 a:b 1 t-1"):
        equal(c.ask("task.audit", {"cursor": cursor}).error["code"], -32602, cursor)


start()
main()

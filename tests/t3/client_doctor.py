#!/usr/bin/env python3
"""client_doctor.py: `claudebench doctor`: nothing is wrong with tasks in every state, nor while they move; each kind of damage is
found, where it is; --repair puts right what it may and nothing else. Keys, consumers, Redis and this host: the same."""

import ctypes
import json
import os
import re
import subprocess
import threading
import time

import modes
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
    *rows, totals = [json.loads(line) for line in done.stdout.splitlines()]
    equal(done.returncode, 1 if totals["findings"] else 0)
    for row in rows:
        check(all(row[n] for n in ("check", "severity", "problem", "where", "text", "advice")), row)
    equal(totals["repairable"], sum(row["repairable"] for row in rows))
    equal(totals["notes"], sum(row["severity"] == "note" for row in rows))
    rows = [row for row in rows if row["severity"] != "note"]
    equal(totals["findings"], len(rows))
    return rows, totals


def clean():
    rows, totals = doctor()
    equal(rows, [], "nothing wrong")
    equal(totals["not_compared"], 0)
    return totals


def found(*args):  # (index/queue/role, problem, task)
    rows, _ = doctor(*args)
    equal({row["check"] for row in rows} - {"tasks"}, set())
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
    check(b"there is no such task" in done.stdout and b"2 findings" in done.stdout and b"--repair would" in done.stdout, done.stdout)
    equal(daemon.client("doctor", "--repair").returncode, 0)
    nowhere = f"{procs.subfolder('n')}/claudebench.yaml"
    with open(nowhere, "w", encoding="ascii") as f:
        f.write("config_version: 1\nredis: {url: 'unix:///nowhere/redis.sock', dir: /nowhere/redis}\n"
                "supervisor: {state_dir: /nowhere/state, control_socket: /nowhere/control.sock}\n")
    gone = procs.run([procs.binary("claudebench"), "doctor"], env={"CLAUDEBENCH_CONFIG": nowhere})
    equal(gone.returncode, 69, (gone.stdout + gone.stderr).decode())


@case("task.audit takes no cursor that leads to a key of another kind")
def cursors():
    for cursor in ("x", "0 a 1 t-1", "9 a:b 1 t-1"):
        equal(c.ask("task.audit", {"cursor": cursor}).error["code"], -32602, cursor)


# ---- beyond tasks ----

def cb(texts):
    return [text.replace(modes.prefix("cb") + ":", "cb:") for text in texts]


def problems(*args, env=None, d=None):
    """[(check, problem, where)], totals"""
    done = (d or daemon).client("doctor", "--json", *args, env=env)
    *rows, totals = [json.loads(line) for line in done.stdout.splitlines()]
    equal(done.returncode, 1 if totals["findings"] else 0)
    where = cb(row["where"] for row in rows)
    return sorted((row["check"], row["problem"], w) for row, w in zip(rows, where) if row["severity"] != "note"), totals


def found_and_repaired(*wanted):
    equal(problems()[0], sorted(wanted))
    equal(problems()[0], sorted(wanted), "looking changes nothing")
    left, totals = problems("--repair")
    equal(left, [])
    check(totals["repaired"] > 0, totals)
    check(all(any(w.split()[-1] in text for text in cb(totals["repairs"])) for _, _, w in wanted), "what was repaired is named")
    clean()
    return totals


def found_only(*wanted):
    for args in ((), ("--repair",)):
        equal(problems(*args)[0], sorted(wanted), args)


@case("a key that never ends, or later than it should, and a stream above its cap: found and put right")
def keys():
    r.call("XADD", "cb:partition:lost", "*", "a", "b")
    r.call("ZADD", "cb:partitions", str(int(time.time() * 1000)), "lost")
    found_and_repaired(("keys", "no_ttl", "cb:partition:lost"))
    r.call("PEXPIRE", "cb:partition:lost", "99999999")
    found_and_repaired(("keys", "long_ttl", "cb:partition:lost"))
    check(0 < r.call("PTTL", "cb:partition:lost") <= 3600000, "its time")
    for i in range(0, 1500, 100):
        r.pipeline([["XADD", "cb:partition:lost", "*", "a", "b"] for _ in range(100)])
    found_and_repaired(("keys", "over_cap", "cb:partition:lost"))
    check(1000 <= r.call("XLEN", "cb:partition:lost") <= 1300, "trimmed to its cap")
    r.pipeline([["XADD", "cb:stream:dead", "*", "n", str(n), "a", "b" * (1 << 20)] for n in range(80)])  # more than limits.dead_bytes
    found_and_repaired(("keys", "over_bytes", "cb:stream:dead"))
    left = [pairs(f)["n"] for _, f in r.call("XRANGE", "cb:stream:dead", "-", "+")]
    check(40 < len(left) < 64 and left[-1] == b"79", f"{len(left)} are left, {left[-1]} the newest")
    equal(r.text("HGET", "cb:counts", "ever:dead_letters_dropped"), str(80 - len(left)))
    r.call("DEL", "cb:stream:dead")


@case("a key of another type, and one that is listed and not there: found, and left alone")
def strange():
    r.call("SET", "cb:batch:current", "x")
    found_only(("keys", "wrong_type", "cb:batch:current"))
    equal(r.text("GET", "cb:batch:current"), "x")
    r.call("DEL", "cb:batch:current")
    r.call("ZADD", "cb:instances:active", "99999999999999", "nobody \x1b[31m")
    found_only(("keys", "missing", "cb:instance:nobody \x1b[31m"))
    check(b"\x1b" not in daemon.client("doctor").stdout, "escaped")
    r.call("ZREM", "cb:instances:active", "nobody \x1b[31m")
    clean()


@case("requests of a consumer that is gone: found, and handed on; the caller gets its reply")
def consumers():
    token_ = token()
    r.call("MULTI")
    r.call("XADD", "cb:requests:task", "*", "id", "1", "method", "task.queues", "params", "{}", "reply", token_)
    r.call("XREADGROUP", "GROUP", "workers", "ghost/task/0.1", "COUNT", "1", "STREAMS", "cb:requests:task", ">")
    r.call("EXEC")
    found_and_repaired(("keys", "dead_consumer", "consumer ghost/task/0.1"))
    check(b'"result"' in r.call("BLPOP", f"cb:reply:{token_}", "5")[1], "answered")


@case("an instance that has been offline for long and holds tasks: found, and swept")
def offline():
    eff = int(r.call("HGET", "cb:clock", "eff"))
    r.call("SADD", "cb:queue:instance:gone", "t-1")
    r.call("HSET", "cb:instance:gone", "st", "OFFLINE", "kind", "agent")
    r.call("ZADD", "cb:instances:offline", str(eff - 120000), "gone")
    equal({p for _, p, _ in problems()[0]}, {"offline_holder", "no_task"})
    equal(problems("--repair")[0], [])
    r.call("DEL", "cb:instance:gone")
    r.call("ZREM", "cb:instances:offline", "gone")
    clean()


@case("Redis without its file, with eviction, full, fsyncing never: each is found with what to do; set right, nothing is wrong")
def settings():
    for name, bad, good, problem in (("appendonly", "no", "yes", "aof"), ("maxmemory-policy", "allkeys-lru", "noeviction", "eviction"),
                                     ("appendfsync", "no", "everysec", "appendfsync")):
        r.call("CONFIG", "SET", name, bad)
        # What the daemon knows is from its last look: the next one is on its way when it is asked.
        wait_until(lambda p=problem: [found for _, found, _ in problems()[0]] == [p], 5, f"{problem} is found, and nothing else")
        r.call("CONFIG", "SET", name, good)
    wait_until(lambda: b"aof_rewrite_in_progress:0" in r.call("INFO", "persistence"), 10, "the file is there again")
    used = int(re.search(rb"used_memory:(\d+)", r.call("INFO", "memory"))[1])
    r.call("CONFIG", "SET", "maxmemory", str(used + used // 20))
    check(("redis", "memory", "redis") in problems()[0], "full")
    r.call("CONFIG", "SET", "maxmemory", str(used // 2))  # Redis takes no plain XADD any more
    check(("redis", "memory", "redis") in problems()[0], "more than full")
    equal(daemon.client("task", "list").returncode, 0, "who looks for what fills it can")
    equal(daemon.client("task", "add", "x").returncode, 75)
    r.call("CONFIG", "SET", "maxmemory", "0")
    wait_until(lambda: problems()[0] == [], 5, "the daemon has seen it, too")
    r.call("HSET", "cb:meta", "schema", "9")
    found_only(("data", "schema", "namespace"))
    r.call("HSET", "cb:meta", "schema", "2")
    clean()


@case("a Redis that takes no questions: that is found, beside what can be looked at without it")
def refuses():
    r.call("CONFIG", "SET", "min-replicas-to-write", "1")
    wait_until(lambda: any("too few replicas" in reason for reason in daemon.status()["reasons"]), 5, "the daemon has seen it")
    done = daemon.client("doctor", "--json")
    equal(done.returncode, 1)
    check(b"too few replicas" in done.stderr, done.stderr)
    *rows, totals = [json.loads(line) for line in done.stdout.splitlines()]
    check({("redis", "refused"), ("daemon", "degraded")} <= {(row["check"], row["problem"]) for row in rows}, rows)
    check(any("refused" in text for text in totals["unchecked"]), totals)
    r.call("CONFIG", "SET", "min-replicas-to-write", "0")
    wait_until(lambda: problems()[0] == [], 10, "nothing is wrong any more")
    clean()


@case("files that others may read or write: found, and the rights taken away")
def permissions():
    for path, mode, kept in ((f"{daemon.redis_dir}/daemon.password", 0o644, 0o600), (f"{daemon.redis_dir}/client.password", 0o666, 0o640),
                             (f"{daemon.redis_dir}/backup.password", 0o644, 0o600), (f"{daemon.redis_dir}/appendonlydir", 0o755, 0o750),
                             (f"{daemon.dir}/state/instance.secret", 0o640, 0o600), (f"{daemon.dir}/audit.jsonl", 0o666, 0o640),
                             (f"{daemon.dir}/control.sock", 0o777, 0o770), (f"{daemon.dir}/state", 0o777, 0o755)):
        os.chmod(path, mode)
        totals = found_and_repaired(("host", "permissions", path))
        equal(os.stat(path).st_mode & 0o777, kept, path)
        equal(totals["repairs"], [f"{path}: mode {kept:04o}, it was {mode:04o}"])
    os.chmod(f"{daemon.dir}/control.sock", 0o660)
    os.chmod(f"{daemon.redis_dir}/backup.password", 0o604)
    done = daemon.client("doctor", "--repair").stdout.decode()
    check(f"repaired {daemon.redis_dir}/backup.password: mode 0600, it was 0604\n" in done, done)
    check("; 0 entries removed, 0 counts put right, 1 other repair\n" in done, done)


def without_override():
    """In a child: root, too, is bound by the rights of files (PR_CAPBSET_DROP of CAP_DAC_OVERRIDE)."""
    if os.geteuid() == 0:
        assert ctypes.CDLL(None).prctl(24, 1, 0, 0, 0) == 0


@case("who may not ask the daemon is told so, and not to start one")
def denied():
    os.chmod(f"{daemon.dir}/control.sock", 0)
    argv = [procs.binary("claudebench"), "doctor", "--json"]
    done = subprocess.run(argv, env=procs.environment({"CLAUDEBENCH_CONFIG": daemon.config_path}), preexec_fn=without_override,
                          stdout=subprocess.PIPE, timeout=30, check=False)
    os.chmod(f"{daemon.dir}/control.sock", 0o660)
    *rows, totals = [json.loads(line) for line in done.stdout.splitlines()]
    about_it = [(x["problem"], x["severity"], "root" in x["advice"]) for x in rows if x["check"] == "daemon"]
    equal((about_it, done.returncode), ([("denied", "warning", True)], 1))
    check(any("no permission" in x for x in totals["unchecked"]), totals)


@case("decisions of hooks that nobody took for long are found; so is a clock that differs")
def this_host():
    spool = f"{daemon.dir}/state/hook/spool"
    os.makedirs(os.path.dirname(spool), mode=0o700, exist_ok=True)
    with open(spool, "w", encoding="ascii") as f:
        f.write('{"at":"2026-01-01T00:00:00.000Z","decision":"none"}\n')
    equal(problems()[0], [], "a new one is on its way")
    old = time.time() - 7200
    os.utime(spool, (old, old))
    found_only(("host", "spool", f"{daemon.dir}/state/hook"))
    os.unlink(spool)
    shift = f"{procs.subfolder('k')}/shift"
    with open(shift, "w", encoding="ascii") as f:
        f.write("60000")
    env = {"LD_PRELOAD": os.path.join(procs.top_builddir(), "tests/lib/clockshim.so"), "CBTEST_CLOCK": shift}
    equal(problems(env=env)[0], [("host", "clock", "clock")])
    clean()


@case("Redis came back empty: what was lost is told, with how to get it back, until there are tasks again")
def lost():
    wait_until(lambda: daemon.status()["data"]["generation"], 5, "known")
    r.call("FLUSHALL")
    wait_until(lambda: daemon.status()["data"]["before"], 5, "noticed")
    wait_until(lambda: problems()[0] == [("data", "lost", "namespace")], 5, "lost is found, and nothing else")
    check(b"claudebench restore" in daemon.client("doctor").stdout, "what to do")
    create()
    clean()


@case("while the daemon is down, what is on this host is looked at, and what is not is said")
def down():
    other = Daemon(start=False)
    other.start()
    other.stop()
    os.chmod(f"{other.redis_dir}/daemon.password", 0o604)
    rows, totals = problems(d=other)
    equal([p for _, p, _ in rows], ["down", "permissions"])
    check(any("no worker answers" in text for text in totals["unchecked"]), totals)
    other.config["audit"]["file"] = f"{other.dir}/no/such/folder/audit.jsonl"
    other.write_config()
    equal([p for _, p, _ in problems("--repair", d=other)[0]], ["down", "audit"])


@case("a daemon without workers, or with another folder of Redis in its file: what cannot be looked at is an error, and so the exit code")
def nobody_answers():
    for domain in ("task", "system"):
        equal(daemon.client("ctl", "scale", domain, "0", "--wait").returncode, 0)
    done = daemon.client("doctor")
    equal(done.returncode, 1)
    check(b"but no worker of it answers" in done.stdout and b"not examined: tasks, keys and Redis" in done.stdout, done.stdout)
    check(b"nothing wrong" not in done.stdout and b"is claudebenchd running?" not in done.stderr, done)
    for domain in ("task", "system"):
        equal(daemon.client("ctl", "scale", domain, "2", "--wait").returncode, 0)
    wait_until(lambda: daemon.status()["status"] == "healthy", 10, "nobody's requests are served again")
    clean()


@case("a value that waits for a restart is found; if clients look for Redis elsewhere by it, so is that")
def needs_restart():
    with Daemon() as d:
        d.config["redis"]["dir"] = f"{d.dir}/other"
        d.write_config()
        equal(d.client("ctl", "reload").returncode, 0)
        wait_until(lambda: d.status()["config"]["needs_restart"], 5, "it waits for a restart")
        rows, _ = problems(d=d)
        check({("daemon", "needs_restart", "daemon"), ("daemon", "no_answer", "workers")} <= set(rows), rows)
        check(b"redis.dir" in d.client("doctor").stdout, "the option is named")


start()
main()

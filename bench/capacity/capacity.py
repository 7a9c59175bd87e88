#!/usr/bin/env python3
"""capacity.py: what things take: memory of Redis for each task, record and connection, of our processes, and CPU of a request
(make bench-capacity; doc/capacity.md says what to make of it).

    PYTHONPATH=tests/lib TOP_SRCDIR=. TOP_BUILDDIR=… python3 bench/capacity/capacity.py [--tasks N] [--bench PROGRAM] [--results FOLDER] [--name NAME]

A daemon of its own with its embedded Redis and the default configuration, for each size of payload. Memory is the difference of
used_memory, less what Redis holds for connections and for the append only file; records of one key are its MEMORY USAGE over its
entries. Writes NAME-capacity.md and .json. With --bench also what a request costs Redis and the workers, of a few rows.
"""

import argparse
import json
import os
import subprocess
import sys
import time

BENCH = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [BENCH, os.path.join(os.path.dirname(BENCH), "tests/lib")]

import procs  # noqa: E402  pylint: disable=wrong-import-position
import tap  # noqa: E402  pylint: disable=wrong-import-position
from daemon import Daemon  # noqa: E402  pylint: disable=wrong-import-position
from report import machine, page  # noqa: E402  pylint: disable=wrong-import-position

BATCH, IN_FLIGHT = 100, 8
SIZES = (0, 200, 1024, 4096, 16384)  # bytes of payload; the second one with all tasks, the others with a tenth
ROWS = ("create-64", "drain-64", "drain_batch-100", "get-64", "heartbeat-64", "pre_tool-64")
GIB = 1 << 30


def used(redis):
    """Bytes, without those of connections, which Redis counts anew once a second only: so when it has said the same for longer."""
    samples, until = [], time.monotonic() + 15
    while True:
        info = redis.info("memory")
        samples.append(int(info["used_memory"]) - int(info["mem_clients_normal"]) - int(info["mem_aof_buffer"]))
        last = sorted(samples[-4:])
        if len(last) == 4 and last[3] - last[0] <= 16384 or time.monotonic() > until:
            return last[len(last) // 2]
        time.sleep(0.4)


def usage(redis, *keys):
    return sum(redis.call("MEMORY", "USAGE", key, "SAMPLES", 0) or 0 for key in keys)


def ask_all(caller, requests):
    """Results of [(method, params, keywords)…], so many in flight."""
    results = []
    for at in range(0, len(requests), IN_FLIGHT):
        for reply in caller.wait_all(caller.send_many(requests[at:at + IN_FLIGHT])):
            tap.check(reply.ok, f"refused: {reply.raw[:300]}")
            results.append(reply.result)
    return results


# ---- tasks ----

def batch(size, tasks):
    task = {"text": "a task of the bench"}
    if size:
        task["payload"] = "x" * (size - 2)
    return {"tasks": [task] * tasks}


def claim_all(caller):
    """[(id, token)] of all that there is."""
    held = []
    while True:
        found = ask_all(caller, [("task.claim", {"workerId": "bench", "maxTasks": BATCH, "lease_ms": 3600000}, {})] * IN_FLIGHT)
        held += [(t["id"], t["lease_token"]) for result in found for t in result["tasks"]]
        if not any(result["claimed"] for result in found):
            return held


def measure_tasks(size, count):
    """Bytes a task beyond its payload: queued, held, completed; and of its events alone."""
    with Daemon() as daemon, daemon.connect() as redis:
        caller = daemon.caller(schemas=False)
        ask_all(caller, [("task.create_batch", batch(size, 1), {})])  # what there is once
        claim_all(caller)
        events = daemon.key("stream:events")
        before, events_before = used(redis), usage(redis, events)
        created = ask_all(caller, [("task.create_batch", batch(size, BATCH), {})] * (count // BATCH))
        found = {"payload": size, "tasks": count, "queued": (used(redis) - before) / count - size}
        found["events"] = (usage(redis, events) - events_before) / count
        ids = [result["ids"][0] for result in created[:20]]
        found["hash"] = sum(usage(redis, daemon.key(f"task:{i}")) for i in ids) / len(ids) - size
        held = claim_all(caller)
        tap.equal(len(held), count, "tasks claimed")
        found["held"] = (used(redis) - before) / count - size
        found["events_held"] = (usage(redis, events) - events_before) / count
        items = [{"id": i, "lease_token": token, "result": "done"} for i, token in held]
        ask_all(caller, [("task.complete_batch", {"items": items[at:at + BATCH]}, {}) for at in range(0, count, BATCH)])
        found["completed"] = (used(redis) - before) / count - size
        found["events_at_end"] = (usage(redis, events) - events_before) / count
        found["redis_rss"] = int(redis.info("memory")["used_memory_rss"])
        found["used_memory"] = int(redis.info("memory")["used_memory"])
    return found


# ---- records ----

def by_key(redis, before, keys, length):
    return (usage(redis, *keys) - before) / length


def measure_records(count):
    """[(what, bytes each, how many at most: the option)]"""
    found = []
    with Daemon(config={"limits": {"waiters": 10000}}) as daemon, daemon.connect() as redis:
        caller, key = daemon.caller(schemas=False), daemon.key
        one = {"text": "a task of the bench", "payload": "x" * 198}

        ask_all(caller, [("task.create", one, {})] * IN_FLIGHT)
        events = key("stream:events")
        before, there = usage(redis, events), redis.call("XLEN", events)
        for _ in range(count):  # one after the other: what comes together is told by one event
            ask_all(caller, [("task.create", one, {})])
        found.append(("event of one task", by_key(redis, before, [events], redis.call("XLEN", events) - there), "events.maxlen, events.max_bytes"))
        before, there = usage(redis, events), redis.call("XLEN", events)
        ask_all(caller, [("task.create_batch", batch(200, BATCH), {})] * max(count // BATCH, IN_FLIGHT))
        found.append(("event of a batch of 100 tasks", by_key(redis, before, [events], redis.call("XLEN", events) - there), "the same"))

        ask_all(caller, [("task.create", one, {"idem": f"{number:022d}"}) for number in range(count)])
        generations = [key(f"idem:{n}") for n in (1, 2)]
        found.append(("idempotency key with the reply of `task.create`", by_key(redis, 0, generations, sum(redis.call("HLEN", k) for k in generations)),
                      "limits.idempotency_ttl_ms, limits.idempotency_bytes"))

        tool = {"tool": "Bash", "params": {"command": "git status && ls -la src"}, "event": "PreToolUse", "cwd": "/home/user/project"}
        ask_all(caller, [("hook.pre_tool", tool, {})] * count)
        audit = key("stream:audit")
        found.append(("record of the audit trail, a usual decision", by_key(redis, 0, [audit], redis.call("XLEN", audit)), "limits.audit_entries"))

        redis.pipeline([["XADD", key("requests:task"), "*", "params", json.dumps(one)]] * count)
        dead = key("stream:dead")
        tap.wait_until(lambda: redis.call("XLEN", dead) >= count, 20, "dead letters")
        found.append(("dead letter of a request with 230 bytes of params", by_key(redis, 0, [dead], redis.call("XLEN", dead)), "limits.dead_entries, limits.dead_bytes"))

        waiting = key("requests:test")  # which has no workers
        redis.pipeline([["XADD", waiting, "*", *caller.fields("task.create", one, rid=f"r{i}")] for i in range(count)])
        found.append(("request of the same params in a backlog", by_key(redis, 0, [waiting], count), "limits.backlog, for each domain"))
        redis.call("DEL", waiting)

        before = used(redis)
        caller.send_many([("task.claim", {"workerId": f"agent-{i}", "queue": "quiet", "wait_ms": 30000}, {}) for i in range(count)])
        tap.wait_until(lambda: redis.call("HLEN", key("waiters")) == count, 20, "claims that wait")
        found.append(("claim that waits", (used(redis) - before) / count, "limits.waiters"))

        before = used(redis)
        ask_all(caller, [("system.register", {"id": f"other-{i}", "capacity": 4, "lease_ms": 3600000}, {}) for i in range(count)])
        found.append(("registered agent", (used(redis) - before) / count, "10000"))

        before = int(redis.info("memory")["used_memory"])
        links = [daemon.connect() for _ in range(100)]
        for link in links:
            link.call("PING")
        found.append(("connection, just used", (int(redis.info("memory")["used_memory"]) - before) / len(links), "maxclients of Redis (10000)"))
        for link in links:
            link.close()
    return found


# ---- processes ----

def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


def measure_processes(batches=200, decisions=500):
    """[(what, KiB at the start, KiB after work)]"""
    with Daemon() as daemon:
        caller = daemon.caller(schemas=False)
        who = {"claudebenchd": [daemon.pid], **{f"worker, domain {d}": daemon.workers(d) for d in ("task", "system", "hook")},
               "redis-server, embedded, empty": [daemon.redis_pid()]}
        first = {name: max(map(resident_kib, pids)) for name, pids in who.items()}
        ask_all(caller, [("task.create_batch", batch(1024, BATCH), {})] * batches)
        claim_all(caller)
        tool = {"tool": "Bash", "params": {"command": "git status && ls -la src"}, "event": "PreToolUse", "cwd": "/home/user/project"}
        ask_all(caller, [("hook.pre_tool", tool, {})] * decisions)
        ask_all(caller, [("system.heartbeat", {"instanceId": "nobody", "incarnation": "x" * 24}, {})] * decisions)
        return [(name, first[name], max(map(resident_kib, pids))) for name, pids in who.items() if "redis" not in name] + \
            [(name, first[name], first[name]) for name in who if "redis" in name]


# ---- requests ----

def measure_requests(bench, rounds):
    """{row: figures} of claudebench-bench, those of its median round."""
    words = [word for row in ROWS for word in ("--row", row)]
    document = page.run_bench(bench, *words, "--rounds", str(rounds), "--aof", "everysec", "--idle", "0")
    return document, {row["row"]: {**row["median"]["system"], "items": row["items"]} for row in document["runs"][0]["rows"]}


# ---- the report ----

def redis_version():
    return subprocess.run(["redis-server", "--version"], stdout=subprocess.PIPE, check=True).stdout.decode().split("v=")[1].split()[0]


def report(found):
    lines = ["# What things take", "", f"- date: {found['machine']['date']}", machine.line(found["machine"]), f"- redis {found['redis']}, the embedded one with its settings, "
             f"commit {found['commit']}", "", "## A task", "", "Bytes of Redis for each task beyond its payload: the difference of used_memory, events left out (they "
             "have a cap of their own); hash: MEMORY USAGE of its key alone. Tasks per GiB: with payload, queued.", ""]
    rows = []
    for t in found["tasks"]:
        queued = t["queued"] - t["events"]
        rows.append([t["payload"], t["tasks"], f"{queued:.0f}", f"{t['held'] - t['events_held']:.0f}", f"{t['completed'] - t['events_at_end']:.0f}", f"{t['hash']:.0f}",
                     f"{t['events']:.0f}", f"{GIB / (queued + t['payload']):.0f}", f"{t['redis_rss'] / t['used_memory']:.2f}"])
    lines += page.table(["payload, bytes", "tasks", "queued", "held", "completed", "hash", "its event, of a batch of 100", "tasks per GiB",
                         "RSS over used_memory"], rows)
    lines += ["", "## Records", "", "Bytes of Redis for each, and the option that bounds them.", ""]
    lines += page.table(["what", "bytes", "bounded by"], [[what, f"{size:.0f}", cap] for what, size, cap in found["records"]])
    lines += ["", "## Processes", "", "Resident memory (VmRSS, MiB): after the start, and after 20 000 tasks of 1 KiB were made and claimed, and 500 decisions.", ""]
    lines += page.table(["process", "start", "after work"], [[n, f"{a / 1024:.1f}", f"{b / 1024:.1f}"] for n, a, b in found["processes"]])
    if found["requests"]:
        lines += ["", "## Requests", "", "CPU of claudebench-bench's rows, AOF everysec, the round with the median ratio; per core: requests (tasks) a second that one "
                  "core for Redis can do, were it busy with nothing else.", ""]
        rows = []
        for name, r in found["requests"].items():
            # not items: every other request of drain_batch is a claim
            tasks = f"{1e6 / r['redis_us'] * r['tasks'] / r['requests']:.0f}" if r["items"] > 1 else ""
            rows.append([name, f"{r['requests_per_s']:.0f}", page.short(r["redis_us"]), page.short(r["workers_us"]), f"{1e6 / r['redis_us']:.0f}", tasks,
                         f"{1e6 / r['workers_us']:.0f}"])
        lines += page.table(["row", "measured, req/s", "redis µs", "workers µs", "req/s a Redis core", "tasks/s a Redis core", "req/s a worker core"], rows)
    return "\n".join(lines) + "\n"


def thousands(text):
    number = int(text)
    if number < 1000 or number % 1000:
        raise argparse.ArgumentTypeError(f"not in thousands: '{text}'")
    return number


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=thousands, default=100000, help="in thousands")
    parser.add_argument("--records", type=int, default=2000, help="of each kind")
    parser.add_argument("--bench", help="claudebench-bench; without it requests are left out")
    parser.add_argument("--rounds", type=int, default=3, help="of claudebench-bench")
    page.add_arguments(parser)
    args = parser.parse_args()
    found = {"machine": machine.facts(), "redis": redis_version(), "commit": os.environ.get("BENCH_COMMIT") or "unknown"}
    found["tasks"] = [measure_tasks(size, args.tasks if size == SIZES[1] else args.tasks // 10 // BATCH * BATCH) for size in SIZES]
    found["records"] = measure_records(args.records)
    found["processes"] = measure_processes()
    found["requests"] = measure_requests(os.path.abspath(args.bench), args.rounds)[1] if args.bench else {}
    page.tell_written(args, "capacity", "md", report(found))
    page.tell_written(args, "capacity", "json", page.compact(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())

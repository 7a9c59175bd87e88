#!/usr/bin/env python3
"""archive.py: the archive under load and faults: PostgreSQL killed, stopped, restarted and full (F44, F24's part), what it costs those who
do not wait for it, and at which rate it takes events.

make check-long archives 1 000 000 events (t2/archive.py has a short run of that); the faults are the campaign's.
"""

import os
import signal
import statistics
import subprocess
import tempfile
import time

from cbtest import *
from flood import creations, completions, flood
from privpg import PrivatePostgres

# Too rough and too long for make check.
fault_case = case if FAULTS or LONG else lambda *_, **__: lambda function: function


def archived(db, ready=True, **config):
    d = Daemon(config=merge({"postgres": {"conninfo": db.conninfo, "timeout_ms": 2000, "connect_timeout_ms": 2000},
                             "domains": {"hook": {"workers": 0}}, "audit": {"file": ""}}, config), ready=ready, more_fds=8)
    wait_until(lambda: d.events("daemon_ready"), 20, "the daemon is ready")
    return d


def group(d):
    with d.connect() as r:
        if not r.call("EXISTS", d.key("stream:events")):
            return None
        for row in r.call("XINFO", "GROUPS", d.key("stream:events")):
            row = dict(zip([x.decode() for x in row[0::2]], row[1::2]))
            if row["name"] == b"archive":
                return row
    return None


def is_archived(d):
    row = group(d)
    return row is not None and row["pending"] == 0 and row["lag"] == 0


def ids_in_redis(d):
    """{id: (state, version)} of all tasks."""
    found = {}
    with d.connect(timeout=60) as r:
        cursor = "0"
        while True:
            cursor, keys = r.call("SCAN", cursor, "MATCH", d.key("task:t-*"), "COUNT", 1000)
            keys = [k for k in keys if not k.endswith(b":dependents")]
            for key, state in zip(keys, r.pipeline([("HGET", k, "s") for k in keys]) if keys else []):
                found[key.decode().rsplit(":", 1)[1]] = tuple(state.decode().split(" ")[:2])
            if cursor == b"0":
                return found


def same_as_redis(d, db):
    """Every task has one row, which says what its hash says. Returns how many there are."""
    wait_until(lambda: is_archived(d), 120, "all events are archived", step=0.1)
    want = ids_in_redis(d)
    rows = db.rows("SELECT id, state, version FROM claudebench.task", timeout=300)
    equal(len(rows), len({r[0] for r in rows}), "no task has two rows")
    got = {r[0]: (r[1], r[2]) for r in rows}
    different = [(k, v, got.get(k)) for k, v in want.items() if got.get(k) != v]
    equal(different[:5], [], f"{len(different)} tasks differ (task, Redis, archive)")
    return len(want)


@fault_case("PostgreSQL is killed, stopped and restarted while tasks are worked on: no row is missing, none is double", faults="F44")
def faults():
    server = PrivatePostgres({"fsync": "off"})
    db = server.database()
    draw = rng("archive")
    rounds = 12 if FAULTS else 3
    try:
        with archived(db, task={"max_attempts": 20, "backoff_ms": 100}, domains={"archive": {"workers": 2}}) as d:
            with Load(d, tasks=rounds * 400, agents=3, producers=2, rate=400, lease_ms=5000) as load:
                for i in range(rounds):
                    time_to_wait = time.monotonic() + draw.uniform(0.3, 1.5)
                    wait_until(lambda: time.monotonic() >= time_to_wait, 5, "time")
                    load.check()
                    kind = i % 3
                    if kind == 0:
                        server.kill()
                        server.start()
                    elif kind == 1:  # longer than postgres.timeout_ms: it hangs, then it answers after all
                        server.send(signal.SIGSTOP, everybody=True)
                        until = time.monotonic() + 3
                        wait_until(lambda: time.monotonic() >= until, 5, "time")
                        server.send(signal.SIGCONT, everybody=True)
                    else:
                        server.stop(signal.SIGINT)
                        server.start()
                load.finish(60)
            load.verdict(60)
            figure("tasks", same_as_redis(d, db))
            figure("times_away", len(d.events("archive_waiting")))
            check(d.events("archive_waiting"), "it was away")
            equal([e for e in d.events("child_died") if e.get("service") == "archive"], [], "the worker lives through all of it")
    finally:
        server.remove()


def used(d):
    """What Redis has done so far: seconds of CPU, and commands, those inside scripts included."""
    with d.connect() as r:
        cpu = r.info("cpu")
        calls = sum(int(dict(pair.split("=") for pair in row.split(","))["calls"]) for row in r.info("commandstats").values())
        return float(cpu["used_cpu_sys_main_thread"]) + float(cpu["used_cpu_user_main_thread"]), calls


@fault_case("what a PostgreSQL that is down, or hangs, costs the path of requests: at most 5 % more of Redis", faults="F44")
def cost():
    server = PrivatePostgres()
    db = server.database()
    n = 60000 if FAULTS else 3000  # what it reads ahead before it waits, at most a few thousand tasks, is to be little of that
    try:
        with archived(db) as with_archive, Daemon(config={"domains": {"hook": {"workers": 0}}, "audit": {"file": ""}},
                                                  instance="other") as without:
            wait_until(lambda: with_archive.events("archive_walked"), 20, "it has begun")
            cpu, commands, rates = [], [], []
            for i in range(8 if FAULTS else 2):
                if i % 2:
                    server.send(signal.SIGSTOP, everybody=True)
                else:
                    server.stop(signal.SIGINT)
                spent = {}
                for d in (with_archive, without) if i // 2 % 2 else (without, with_archive):
                    before = used(d)
                    rate_ = flood(d, creations(n))
                    after = used(d)
                    spent[d] = (after[0] - before[0], after[1] - before[1], rate_)
                ratio = [a / b for a, b in zip(spent[with_archive], spent[without])]
                for figures, value in zip((cpu, commands, rates), ratio):
                    figures.append(value)
                if i % 2:
                    server.send(signal.SIGCONT, everybody=True)
                else:
                    server.start()
                wait_until(lambda: is_archived(with_archive), 60, "it has caught up")
            note(f"with by without: Redis' CPU {cpu}, its commands {commands}, requests per second {rates}")
            figure("redis_commands_permille", int(1000 * statistics.median(commands)))
            figure("redis_cpu_permille", int(1000 * statistics.median(cpu)))
            figure("requests_per_s_permille", int(1000 * statistics.median(rates)))
            # Counted, not timed: what a busy machine cannot change.
            check(statistics.median(commands) <= 1.05, f"Redis' commands for a request: {commands}")
    finally:
        server.remove()


@fault_case("PostgreSQL's disk is full: requests go on, the worker waits without spinning, and goes on when there is room", faults="F24")
def disk_full():
    mount = tempfile.mkdtemp(prefix="cbfull-", dir="/tmp")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m,mode=0755", "tmpfs", mount], capture_output=True, check=False)
    if done.returncode != 0:
        os.rmdir(mount)
        raise Skip("no file system can be mounted here")
    try:
        os.mkdir(f"{mount}/data", 0o700)
        server = PrivatePostgres({"fsync": "off", "max_wal_size": "32MB", "min_wal_size": "32MB"}, data=f"{mount}/data")
        try:
            full(server, mount)
        finally:
            server.remove()
    finally:
        subprocess.run(["umount", mount], check=False)
        os.rmdir(mount)


def full(server, mount):
    db = server.database()
    with archived(db) as d:
        flood(d, creations(500))
        wait_until(lambda: is_archived(d), 30, "the first are archived")
        with open(f"{mount}/ballast", "wb") as f:
            try:
                while True:
                    f.write(bytes(65536))
                    f.flush()
            except OSError:
                pass
        flood(d, creations(5000))
        wait_until(lambda: d.events("archive_waiting"), 30, "it says that it waits")
        worker = [p for p in procs.children(d.pid) if "archive" in procs.cmdline(p)][0]
        before = cpu_of(worker)
        until = time.monotonic() + 3
        wait_until(lambda: time.monotonic() >= until, 5, "time")
        used = cpu_of(worker) - before
        check(used < 1.0, f"{used} s of CPU in 3 s: it spins")
        os.unlink(f"{mount}/ballast")
        if not server.answers():  # out of room for its log, it may have stopped itself
            server.process.wait(30)
            server.start()
        same_as_redis(d, db)


def cpu_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@case("what events tell is archived at least as fast as the task domain makes it")
def rate():
    events = 1000000 if LONG else 20000 if FAULTS else 4000
    server = PrivatePostgres({"fsync": "on" if LONG else "off", "max_wal_size": "4GB", "autovacuum": "on"})
    db = server.database()
    config = {"events": {"maxlen": 3000000, "max_bytes": 2 << 30}, "task": {"keep_finished": 10000000, "keep_finished_bytes": 8 << 30}}
    try:
        with archived(db, **config) as d:
            wait_until(lambda: d.events("archive_walked"), 20, "it has begun")
            equal(d.client("ctl", "scale", "archive", "0", "--wait").returncode, 0)
            n = events // 2
            began = time.monotonic()
            flood(d, creations(n))
            flood(d, completions(d, n))
            made_s = time.monotonic() - began
            made = len(d.told("task.created")) + len(d.told("task.completed"))
            equal(made, events, "what events tell of")
            began = time.monotonic()
            equal(d.client("ctl", "scale", "archive", "1", "--wait").returncode, 0)
            wait_until(lambda: is_archived(d), 1800, "all is archived", step=0.02)
            archived_s = time.monotonic() - began
            note(f"{made} changes of tasks: made in {made_s:.1f} s ({made / made_s:.0f}/s), archived in {archived_s:.1f} s "
                 f"({made / archived_s:.0f}/s)")
            figure("changes", made)
            figure("made_per_s", int(made / made_s))
            figure("archived_per_s", int(made / archived_s))
            equal(db.number("SELECT count(*) FROM claudebench.task WHERE state = 'completed'", timeout=300), n)
            equal(db.number("SELECT count(*) FROM claudebench.attempt WHERE outcome = 'completed'", timeout=300), n)
            if LONG:
                check(archived_s <= made_s, "the archive keeps up")
    finally:
        server.remove()


main()

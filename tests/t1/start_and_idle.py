"""start_and_idle.py: how long a start takes, and what a daemon without work costs; a figure each, on a quiet machine."""

import os
import statistics
import time

from cbtest import Daemon, Lost, PrivateRedis, case, check, main, note, procs
from supervised import is_sanitized

WORKERS = 10  # more of domain task, to tell their part from the supervisor's
SECONDS = 20


@case("start to READY with the embedded Redis: at most 1 s")
def start():
    took = []
    for _ in range(20):
        with Daemon() as d:
            took.append(int(d.events("daemon_ready")[0]["uptime_ms"]))
    note(f"start to READY, new data folder: median {statistics.median(took)} ms, most {max(took)} ms of {len(took)}")
    d = Daemon(start=False)
    took = []
    for _ in range(10):
        with d.start():
            d.caller().call("task.create", {"text": "kept"})
        took.append(int(d.events("daemon_ready")[-1]["uptime_ms"]))
    note(f"with data: median {statistics.median(took)} ms, most {max(took)} ms of {len(took)}")
    check(statistics.median(took) <= 1000, f"{took}")


def sent_commands(d, seconds):
    """Commands that clients sent in a second; not what scripts do."""
    with d.connect(timeout=60) as r:
        time.sleep(3)  # the start is over: scripts loaded, a leader elected
        r.call("MONITOR")
        until, n = time.monotonic() + seconds, 0
        while (left := until - time.monotonic()) > 0:
            try:
                n += b" lua]" not in r.read(left)
            except Lost:
                break
    return n / seconds


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            fields = f.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


@case("without work: under 1 % of a core in all, at most 3 Redis commands a second a supervisor and 1.5 a worker")
def idle():
    sent = {}
    for more in (0, WORKERS):
        redis = PrivateRedis()
        with Daemon(redis=redis, config={"domains": {"task": {"workers": 1 + more}, "system": {"workers": 1}, "hook": {"workers": 0}}}) as d:
            sent[more] = sent_commands(d, SECONDS)
        redis.stop()
    worker = (sent[WORKERS] - sent[0]) / WORKERS
    supervisor = sent[0] - 2 * worker
    note(f"commands a second: {supervisor:.2f} a supervisor, {worker:.2f} a worker")
    check(supervisor <= 3 and worker <= 1.5, f"{sent}")
    with Daemon() as d:
        pids = [d.pid, *procs.descendants(d.pid)]
        before = cpu_seconds(pids)
        began = time.monotonic()
        time.sleep(SECONDS)  # the measured time
        used = (cpu_seconds(pids) - before) / (time.monotonic() - began) * 100
        sizes = {p: procs.rss_kib(p) for p in pids}
    note(f"{used:.2f} % of a core, the embedded Redis with it; resident: supervisor {sizes[pids[0]]} KiB, "
         f"the largest worker or Redis {max(sizes[p] for p in pids[1:])} KiB")
    if not is_sanitized():
        check(used < 1, f"{used:.2f} %")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""lies.py: a server that is believed and then lies (F17): garbage, lengths of gigabytes, arrays in arrays, wrong types, RESP3,
floods, to the daemon under load (with the oracle), to each verb of the client and to hooks; and one that drips, or says that there is
always more to do (F31). Memory, CPU and log are bounded, nobody crashes, and all is well when the real server speaks again.

What the reader of replies makes of such bytes by itself is in tests/unit/check_redis_hostile.c; one lie in short, tests/t2/weather.py.
"""

import collections
import os
import re
import time

import measured
from cbtest import *
from hooks import Hooks, Worker, event
from imposter import Imposter

CONFIG = {
    "domains": {"task": {"workers": 3}, "system": {"workers": 1}, "hook": {"workers": 1}},
    "task": {"backoff_ms": 100, "max_attempts": 20},
}
SLOTS = 5
LEASE = 3000
GROWTH_KIB = 48 << 10  # of a process' most memory, by lies that announce more than we take
LARGE_KIB = 220 << 10  # … by one that is as large as we take: it is read, copied once, and thrown away
CPU_BOUND = 0.6  # of a second's CPU time that all processes of a daemon may use in a second of lies
LOG_BOUND = 40  # lines a second

Told = collections.namedtuple("Told", "name data commands endless early growth cpu drip",
                              defaults=((), False, False, GROWTH_KIB, CPU_BOUND, 0))
WRONG = {"a number": b":7\r\n", "a status": b"+OK\r\n", "nil": b"$-1\r\n", "no array": b"*-1\r\n", "an empty array": b"*0\r\n",
         "a string": b"$3\r\nabc\r\n", "lists of lists": b"*2\r\n*1\r\n*1\r\n$1\r\nx\r\n:1\r\n",
         "fifteen nils": b"*15\r\n" + b"$-1\r\n" * 15, "huge numbers": b"*15\r\n" + b":9223372036854775807\r\n" * 15,
         "texts as numbers": b"*15\r\n" + b"$4\r\n-1e9\r\n" * 15}
BROKEN = [
    Told("another protocol", b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n"),
    Told("bytes", bytes(range(256)) * 64),
    Told("a string of 2 GB", b"$2147483647\r\n" + b"x" * 65536, endless=True),
    Told("a string of 64 EB", b"$9223372036854775807\r\n"),
    Told("an array of 2^31", b"*2147483647\r\n" + b":1\r\n" * 4096, endless=True),
    Told("arrays in arrays, 10^6 deep", b"*1\r\n" * 10**6),
    Told("a line without an end", b"+" + b"x" * 65536, endless=True),
    Told("RESP3", b">2\r\n$7\r\nmessage\r\n$1\r\nx\r\n%1\r\n+a\r\n:1\r\n"),
    Told("a flood of errors", b"-ERR no\r\n" * 1000, endless=True),
    Told("two replies to one command", b"+OK\r\n+OK\r\n"),
    Told("as much as we take", b"$67000000\r\n" + b"x" * 67000000 + b"\r\n", growth=LARGE_KIB, cpu=4.0),  # what comes is read
]
REFUSED = [Told("errors", b"-ERR no\r\n", early=True), Told("errors, unknown ones", b"-WHAT \x1b[2J%n%s\r\n", early=True),
           Told("errors, to scripts", b"-NOSCRIPT No matching script\r\n", commands=("EVALSHA",), early=True),
           Told("errors, to functions", b"-ERR Function not found\r\n", commands=("FCALL",), early=True),
           Told("moves that lead in circles", b"-MOVED 5 127.0.0.1:1\r\n", early=True),
           Told("an error of 60 000 bytes", b"-ERR " + b"x" * 60000 + b"\r\n", early=True)]
WORKS = ("EVALSHA", "FCALL", "XREADGROUP", "XREAD", "BLMPOP", "XADD", "XLEN", "XRANGE", "HMGET", "GET")  # after the greeting


def wrong_types():
    """Of every command from the greeting on, or only of what comes after it; of workers' reading and of scripts by themselves,
    after it was done and in its place."""
    for name, data in WRONG.items():
        yield Told(f"{name} to everything", data, early=True)
        yield Told(f"{name} to scripts, when they are done", data, commands=("EVALSHA", "FCALL"))
        yield Told(f"{name} to scripts", data, commands=("EVALSHA", "FCALL"), early=True)
        yield Told(f"{name} for requests", data, commands=("XREADGROUP",), early=True)


def is_healthy(d):
    return d.client("status").returncode == 0


def peak_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1))


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        words = f.read().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def log_rate(lines):
    seconds = collections.Counter(re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d|$", line).group() for line in lines)
    return max(seconds.values(), default=0)


class Watch:
    """What a daemon uses from now on."""

    def __init__(self, d):
        self.d, self.pids, self.lines = d, [d.pid, *d.workers()], len(d.log().splitlines())
        self.began, self.cpu = time.monotonic(), sum(map(cpu_s, self.pids))
        self.peaks = {p: peak_kib(p) for p in self.pids}

    def judge(self, told, is_over):
        """is_over: healthy again, and nobody was replaced."""
        d, name = self.d, told.name
        check(d.running(), f"{name}: the daemon ended with {d.process.poll()}\n{d.log_tail()}")
        took = time.monotonic() - self.began
        if is_over:
            equal([d.pid, *d.workers()], self.pids, f"{name}: nobody died\n{d.log_tail()}")
        alive = [p for p in self.pids if procs.alive(p)]
        used = sum(map(cpu_s, alive)) - self.cpu
        growth = max(peak_kib(p) - self.peaks[p] for p in alive)
        rate = log_rate(d.log().splitlines()[self.lines :])
        check(used <= told.cpu * took, f"{name}: {used:.2f} s of CPU in {took:.1f} s")
        check(growth <= told.growth, f"{name}: {growth} KiB more")
        check(rate <= LOG_BOUND, f"{name}: {rate} lines in a second\n{d.log_tail(60)}")
        return used / took, growth, rate


def tell(imposter, d, told, seconds):
    """Tells it to everybody for so long; the worst of what the daemon used."""
    watch = Watch(d)
    imposter.lie(told.data, told.commands, told.endless, told.early, told.drip)
    wait_until(lambda: time.monotonic() - watch.began >= seconds and imposter.told, seconds + 15, f"{told.name}: told", step=0.05)
    used = watch.judge(told, False)
    number = imposter.told
    imposter.truth()
    truth = time.monotonic()
    wait_until(lambda: is_healthy(d), 25, lambda: f"{told.name}: healthy again\n{d.log_tail()}", step=0.02)
    back = time.monotonic() - truth
    watch.judge(told, True)
    note(f"{told.name}: told {number} times; {used[0]:.2f} of a CPU, {used[1]} KiB more, {used[2]} lines a second; back after {back:.1f} s")


def under_lies(lies, tasks, rate, seconds):
    with PrivateRedis() as redis:
        imposter = Imposter(redis.socket)
        at_exit(imposter.end)
        with Daemon(redis, config=merge(CONFIG, {"redis": {"url": imposter.url}})) as d:  # the load has its own way
            with Load(d, tasks=tasks, agents=3, producers=2, rate=rate, lease_ms=LEASE, again=(-32603,)) as load:
                for told in lies:
                    tell(imposter, d, told, seconds)
                    load.check()
                load.finish(60)
            load.verdict(60, slots=SLOTS)
            equal(d.events("child_died"), [])


@case("a server that stops speaking RESP: dropped, again and again, without a storm; nothing lost, nothing twice", faults="F17")
def broken():
    under_lies(BROKEN, 1200, 40, 2.0)


@case("a server that refuses everything, in words that are known and not known", faults="F17")
def refused():
    under_lies(REFUSED, 600, 40, 2.0)


@case("replies of the wrong type and size to scripts, reads and greetings, after the deed and in its place: no crash, no storm, "
      "nothing lost, nothing twice", faults="F17")
def wrong():
    under_lies(wrong_types(), 1500, 30, 0.8)


# ---- drips, and numbers that would set our pace ----

DRIP_S = 0.02  # a byte
SLOW = [
    Told("a string in drops", b"$65536\r\n" + b"x" * 65536, early=True, drip=DRIP_S),
    Told("a length in drops", b"$0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000001\r\n",
         early=True, drip=DRIP_S * 5),
    Told("a number in drops", b":" + b"1" * 400, early=True, drip=DRIP_S),
    Told("fields of a list in drops", b"*1000\r\n" + b"$1\r\nx\r\n" * 1000, early=True, drip=DRIP_S),
    Told("errors in drops", b"-ERR " + b"no " * 1000, early=True, drip=DRIP_S),
    Told("requests in drops", b"*1\r\n*2\r\n$4\r\nname\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$2\r\nid\r\n$1000\r\n" + b"x" * 1000,
         commands=("XREADGROUP",), early=True, drip=DRIP_S),
]


@case("replies that drip and are never whole: given up in time, by the daemon and the client; healthy again", faults="F31")
def drips():
    with PrivateRedis() as redis:
        imposter = Imposter(redis.socket)
        at_exit(imposter.end)
        fast = {"redis": {"url": imposter.url, "timeout_ms": 1000}}
        with Daemon(redis, config=merge(CONFIG, fast)) as d:
            for told in SLOW:
                watch = Watch(d)
                imposter.lie(told.data, told.commands, told.endless, told.early, told.drip)
                wait_until(lambda: imposter.hung_up >= 2, 20, f"{told.name}: connections are given up", step=0.05)
                if not told.commands:
                    got = measured.run([procs.binary("claudebench"), "call", "--timeout", "3s", "system.health"],
                                       {"CLAUDEBENCH_CONFIG": d.config_path}, 30)
                    check(got.code in SANE - {0} and got.took_s < 20, f"{told.name}: {got}")
                used = watch.judge(told, False)
                imposter.truth()
                wait_until(lambda: is_healthy(d), 25, lambda: f"{told.name}: healthy again\n{d.log_tail()}", step=0.05)
                watch.judge(told, True)
                note(f"{told.name}: {used[0]:.2f} of a CPU, {used[2]} lines a second")


def resp(value):
    if isinstance(value, list):
        return b"*%d\r\n" % len(value) + b"".join(map(resp, value))
    if isinstance(value, int):
        return b":%d\r\n" % value
    return b"$%d\r\n%s\r\n" % (len(value), value.encode())


def tick_says(leases=0, promoted=0, moved=0, waited=0, due="", seen=1, known=1):
    return resp(["ok", "1", "a", "1", 1, leases, promoted, moved, "", waited, "", [seen, known, "0", ""], due, "", []])


MOST = 2**63 - 1
ASKED_BOUND = 1000  # commands a second, of one kind: a millisecond lies between any two of them
TICK = ("EVALSHA cb:clock",)
PACES = [
    Told("a tick that always has more to do", tick_says(100, 100, 100, 100), TICK, early=True),
    Told("a tick with impossible numbers", tick_says(MOST, -1, MOST, MOST), TICK, early=True),
    Told("a tick of as many hosts as there are numbers", tick_says(seen=-MOST, known=MOST), TICK, early=True),
    Told("schedules that are always due", resp(["ok", 1, "0"]), ("EVALSHA cb:leader:current",), early=True),
    Told("tasks that can always be given away", resp(["ok", 100, "q", 3, 9, ""]), ("EVALSHA cb:leader:current",), early=True),
    Told("a pop that does not block", b"*-1\r\n", ("BLMPOP",), early=True),
    Told("more to hand on, and more", resp([100, 0, 1, []]), ("EVALSHA cb:requests:task",), early=True),
]


@case("numbers that say that there is always more to do: they do not set the daemon's pace", faults="F31")
def paces():
    config = merge(CONFIG, {"task": {"assignment": "push"}})
    with PrivateRedis() as redis:
        imposter = Imposter(redis.socket)
        at_exit(imposter.end)
        with Daemon(redis, config=merge(config, {"redis": {"url": imposter.url}}), instance="a") as d:
            for told in PACES:
                watch = Watch(d)
                imposter.lie(told.data, told.commands, told.endless, told.early)
                if "hand on" in told.name:
                    procs.kill(d.workers("task")[0])
                wait_until(lambda: imposter.told > 0, 20, f"{told.name}: told", step=0.01)
                told_before, began = imposter.told, time.monotonic()
                wait_until(lambda: time.monotonic() - began >= 2, 10, "two seconds")
                rate = (imposter.told - told_before) / (time.monotonic() - began)
                used = watch.judge(told, False)
                imposter.truth()
                wait_until(lambda: is_healthy(d), 25, lambda: f"{told.name}: healthy again\n{d.log_tail()}", step=0.05)
                note(f"{told.name}: told {rate:.0f} times a second; {used[0]:.2f} of a CPU, {used[2]} lines a second")
                check(rate <= ASKED_BOUND, f"{told.name}: {rate:.0f} times a second")
            equal(d.process.poll(), None)


# ---- the client ----

SANE = {0, 1, 64, 65, 66, 69, 70, 73, 75, 77}


VERBS = [  # and whether they end by themselves
    (["call", "--timeout", "2s", "system.health"], True),
    (["call", "--timeout", "2s", "task.create", '{"text":"x"}'], True),
    (["task", "list"], True),
    (["task", "queues"], True),
    (["events"], True),
    (["status"], True),
    (["schedule", "list"], True),
    (["doctor"], True),
    (["events", "--follow"], False),
    (["work", "--", "true"], False),
]
SLOW_S = 4.0  # how long those that do not are let


@case("every verb of the client against every lie: a sane exit status, bounded memory and time, no hot loop", faults="F17")
def client():
    lies = BROKEN + REFUSED + [Told(n, d, early=True) for n, d in WRONG.items()] + [
        Told(f"{n}, after the greeting", d, commands=WORKS, early=True) for n, d in WRONG.items()]
    codes = collections.Counter()
    worst = [0, 0.0, 0.0]
    with PrivateRedis() as redis, Daemon(redis, config=CONFIG) as d:
        def one(words, ends):
            imposter = Imposter(redis.socket)
            config = f"{procs.subfolder('c')}/claudebench.yaml"
            with open(config, "w", encoding="utf-8") as f:
                f.write(yaml(merge(d.config, {"redis": {"url": imposter.url}})) + "\n")

            def run(words, ends):
                return measured.run([procs.binary("claudebench"), *words], {"CLAUDEBENCH_CONFIG": config}, 30 if ends else SLOW_S)

            honest = run(words, ends)
            check(honest.code in ({0, 1} if ends else {0, 143, -15}), f"{words}: {honest}")
            for told in lies if words[0] == "call" else lies[::4]:
                imposter.lie(told.data, told.commands, told.endless, told.early, told.drip)
                got = run(words, ends)
                what = f"{' '.join(words)}, {told.name}: {got._replace(out=got.out[-600:])}"
                check(got.code in SANE or (not ends and got.code in (143, -15)), what)
                check(got.peak_kib - honest.peak_kib <= told.growth, what)
                check(got.cpu_s <= 0.2 + told.cpu * got.took_s, what)
                check(not ends or got.took_s < 25, what)
                check(len(got.out) < 65536 * 2 and b"\x1b[2J" not in got.out, what)
                codes[got.code] += 1
                worst[:] = list(map(max, worst, (got.peak_kib - honest.peak_kib, got.cpu_s, got.took_s if ends else 0)))
            imposter.truth()
            check(run(words, ends).code == honest.code, "and honest again")
            imposter.end()

        in_threads([lambda w=words, e=ends: one(w, e) for words, ends in VERBS], 500)
    note(f"exit statuses {dict(codes)}; at most {worst[0]} KiB more, {worst[1]:.2f} s of CPU, {worst[2]:.1f} s")


TASK = {"id": "t-1", "text": "x", "queue": "default", "lease_token": "A" * 20, "attempt": 1, "status": "in_progress",
        "updatedAt": "2026-11-22T08:00:00.000Z", "lease_until": "2026-11-22T08:00:30.000Z"}
CLAIMED = {  # what a claim gets, and whether that is a task to run
    "no tasks": ({}, False), "a number for tasks": ({"tasks": 7}, False), "no task": ({"tasks": [7, None, [], {}, {"id": 5}]}, False),
    "a task without a token": ({"tasks": [{**TASK, "lease_token": ""}]}, False), "a NUL in its id": ({"tasks": [{**TASK, "id": "t\0"}]}, False),
    "an id of 100 kB": ({"tasks": [{**TASK, "id": "x" * 100000}]}, False), "wakes": ({"wake": True}, False), "an error": ({"code": -32603}, False),
    "huge numbers": ({"tasks": [{**TASK, "attempt": 10**30, "lease_until": "9999-12-31T23:59:59.999Z"}]}, True),
    "a thousand tasks": ({"tasks": [{**TASK, "id": f"t-{i}"} for i in range(1000)]}, True)}
WORK_S, CLAIMS_BOUND = 2.0, 60  # a second, and as many more


@case("an agent runs nothing that is no task it could report on, and is not driven by what its claims get", faults="F17")
def agent():
    with PrivateRedis(alone=True) as redis:
        h = Hooks(url=redis.url)
        peers = [Worker(redis, {"system.register": {"id": "w", "incarnation": "i"}, "system.unregister": {},
                                "system.heartbeat": {"alive": True, "cancel": [7, {"id": 1, "lease_token": [], "reason": {}}]}}, domain="system"),
                 Worker(redis, {"task.complete": {}, "task.fail": {}, "task.release": {}}, domain="task")]
        for name, (answer, is_task) in CLAIMED.items():
            peers[1].answers["task.claim"] = answer
            before = len(peers[1].of("task.claim")), len(peers[1].of("task.complete"))
            got = measured.run([procs.binary("claudebench"), "work", "--id", "w", "--", "true"], {"CLAUDEBENCH_CONFIG": h.config_path}, WORK_S)
            claims, ended = (len(peers[1].of(m)) - n for m, n in zip(("task.claim", "task.complete"), before))
            what = f"{name}: {claims} claims, {ended} completed, {got._replace(out=got.out[-300:])}"
            equal(got.code, 0, what)
            check((ended > 0) == is_task and 0 < claims <= CLAIMS_BOUND * (1 + got.took_s), what)
        for p in peers:
            p.stop()


@case("a client whose script is always forgotten, or always elsewhere, does not connect again without a pause", faults="F17")
def refused_scripts():
    with PrivateRedis() as redis, Daemon(redis, config=CONFIG) as d:
        imposter = Imposter(redis.socket)
        config = f"{procs.subfolder('c')}/claudebench.yaml"
        with open(config, "w", encoding="utf-8") as f:
            f.write(yaml(merge(d.config, {"redis": {"url": imposter.url}})) + "\n")
        for text in (b"-NOSCRIPT No matching script\r\n", b"-MOVED 5 127.0.0.1:1\r\n"):
            imposter.lie(text, ("EVALSHA",), is_early=True)
            before = imposter.accepted
            got = measured.run([procs.binary("claudebench"), "call", "--timeout", "2s", "task.complete", '{"id":"t-1"}'],
                               {"CLAUDEBENCH_CONFIG": config}, 30)
            tried = imposter.accepted - before
            check(got.code in SANE - {0} and 0 < tried <= 30 * (1 + got.took_s), f"{text}: {tried} connections, {got}")
            note(f"{text}: {tried} connections in {got.took_s:.1f} s, {got.cpu_s:.2f} s of CPU")
        imposter.end()


@case("hooks decide by the same rules whatever the server says", faults="F17")
def hook():
    lies = BROKEN + REFUSED + [Told(n, d, early=True) for n, d in WRONG.items()] + [
        Told(f"{n}, after the greeting", d, commands=WORKS, early=True) for n, d in WRONG.items()]
    with PrivateRedis() as redis:
        imposter = Imposter(redis.socket)
        h = Hooks(url=imposter.url)
        for told in lies:
            imposter.lie(told.data, told.commands, told.endless, told.early, told.drip)
            began = time.monotonic()
            h.run(event("boom")).denied("No booms.")
            h.run(event("ls")).silent()
            took = time.monotonic() - began
            check(took < 5, f"{told.name}: {took:.1f} s for two decisions")
        h.wait_spool(2 * len(lies))
        imposter.end()


if __name__ == "__main__":
    arguments()
    learn_schemas()
    main(timeout=900)

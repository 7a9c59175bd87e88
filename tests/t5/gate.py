#!/usr/bin/env python3
"""gate.py: F40 (a circuit breaker with 16 processes: its downstream fails and recovers, probes are killed) and F41 (a rate
limit under a burst of 64 callers, with clocks that are wrong and jump, and workers that die; what it does while Redis is away)."""

import os
import random
import signal
import threading
import time

from cbtest import *
from hooks import Hooks, event

FAST = {"cluster": {"tick_ms": 100, "suspect_ms": 1000, "offline_ms": 2000}, "supervisor": {"restart_min_ms": 20}}


def an_hour_ahead():
    """The environment of a host whose clock is wrong; nothing with a sanitizer, whose library must be the first one."""
    with open(procs.binary("claudebenchd"), "rb") as f:
        if b"__asan_init" in f.read():
            return {}
    path = f"{procs.subfolder('k')}/shift"
    with open(path, "w", encoding="ascii") as f:
        f.write("3600000")
    return {"LD_PRELOAD": os.path.join(procs.top_builddir(), "tests/lib/clockshim.so"), "CBTEST_CLOCK": path}


def millis(entry):
    return int(entry.split("-")[0])


def stumble(redis, draw, seconds):
    """Redis stands still again and again, now and then in the middle of a commit."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        os.kill(redis.pid, signal.SIGSTOP)
        time.sleep(draw.random() * 0.06)
        os.kill(redis.pid, signal.SIGCONT)
        time.sleep(draw.random() * 0.03)


def events(d, *kinds):
    return [(millis(i), {k: v.decode() for k, v in f.items()}) for i, f in d.stream("stream:events")
            if f["type"].decode() in kinds]


def creations(d):
    """An event for each task that was created: one event tells of several, which came together."""
    return [e for _, e in events(d, "task.created") for _ in (e.get("ids") or e["id"]).split()]


def most_in_a_window(times, window):
    """The most of these (sorted) that lie in one half-open stretch of that length."""
    most, first = 0, 0
    for last, at in enumerate(times):
        while times[first] <= at - window:
            first += 1
        most = max(most, last - first + 1)
    return most


class Crowd:
    """Callers that ask and ask, each in a thread and with a connection of its own, until stop()."""

    def __init__(self, daemons, n, ask, actor=None):
        self.codes, self.problems, self.lock, self.stopping = {}, [], threading.Lock(), False
        self.threads = [threading.Thread(target=self._run, args=(daemons[i % len(daemons)], ask, actor), daemon=True)
                        for i in range(n)]
        for t in self.threads:
            t.start()

    def _run(self, d, ask, actor):
        try:
            c = d.caller(schemas=False, **({"actor": actor} if actor else {}))
            while not self.stopping:
                for reply in ask(c):
                    with self.lock:
                        self.codes[reply.code] = self.codes.get(reply.code, 0) + 1
        except BaseException as problem:  # pylint: disable=broad-except
            self.problems.append(problem)

    def count(self, code=0):
        return self.codes.get(code, 0)

    def stop(self):
        self.stopping = True
        for t in self.threads:
            t.join(60)
        if self.problems:
            raise self.problems[0]
        return self.codes


@case("F41: 64 callers, 2 hosts, 8 workers that are killed, Redis that stumbles, a host with a wrong clock, jumps: never more than the "
      "limit in any window",
      faults="F41")
def rate_limit():
    draw = rng("f41")
    limit, window, tick, jumps = 40, 2000, 100, 0
    over = merge(FAST, {"domains": {"task": {"workers": 4}},
                        "methods": {"task.create": {"rate_limit": limit, "rate_window_ms": window}}})

    def ask(c):
        time.sleep(random.random() * 0.2)
        return c.wait_all(c.send_many([("task.create", {"text": "x"}, {})] * draw.choice([1, 3, 8])), 60)

    with PrivateRedis() as redis:
        with Daemon(redis, over, instance="a") as a, Daemon(redis, over, instance="b", env=an_hour_ahead()) as b:
            crowd = Crowd([a, b], 64, ask, actor="the crowd")
            other = Crowd([a, b], 1, ask, actor="somebody else")
            until = time.monotonic() + 4 * window / 1000
            while time.monotonic() < until:
                stumble(redis, draw, 0.5)
                workers = a.workers("task") + b.workers("task")
                if workers:
                    procs.kill(draw.choice(workers))
            quiet = crowd.count()
            # What a tick makes of a Redis whose clock was set: the last one seems to be long ago, or still to come.
            while jumps < 4:
                with a.connect() as r:
                    r.call("HINCRBY", a.key("clock"), "at", -3600000 if jumps % 2 else 3600000)
                jumps += 1
                time.sleep(window / 2000)
            codes = crowd.stop()
            alone = other.stop()
            # What a commit went by is Redis' time at its beginning, which its events tell; their ids have the time when they were
            # written, and a Redis that stands still between the two makes it a later one.
            times = sorted(int(e["at"]) for e in creations(a) if e["actor"] == "the crowd")
            equal(len(times), codes[0], "told of each that was admitted")
            equal(set(codes) | set(alone), {0, -32000})
            most = most_in_a_window(times, window - 2 * tick * jumps)
            note(f"{codes}; most in a window: {most_in_a_window(times, window)}; the other: {alone}")
            check(most <= limit, f"{most} in a window")
            check(most_in_a_window(times[:quiet], window) <= limit, "before the jumps")
            check(len(times) >= 2 * limit, "and no fewer than it may")
            check(alone[0] >= limit, "the other actor has a limit of its own")


@case("F41: while Redis is away the gate lets nobody pass and opens no circuit, and hooks decide by their rules; afterwards what was used "
      "of a limit is used", faults="F41")
def away():
    limit, hour, admitted = 10, 3600000, 0
    with PrivateRedis(aof=True, fsync="always") as redis:
        h = Hooks(url=redis.url, deadline_ms=3000)
        over = merge(FAST, {
            "domains": {"task": {"workers": 2}, "test": {"workers": 1}, "hook": {"workers": 1}},
            "redis": {"timeout_ms": 500}, "hooks": {"rules_dir": h.rules_dir},
            "methods": {"task.create": {"rate_limit": limit, "rate_window_ms": hour},
                        "hook.user_prompt": {"rate_limit": 1, "rate_window_ms": hour},
                        "test.circuit": {"breaker": {"threshold": 1, "window_ms": hour, "open_ms": 60000}}}})

        def is_healthy():
            return d.client("status").returncode == 0

        def is_at_work():
            return any(w["domain"] == "test" and w["state"] == "handling" for w in d.client_json("status", "--json")["workers"])

        def create(n):
            c = d.caller(schemas=False, actor="somebody")
            codes = [r.code for r in c.wait_all(c.send_many([("task.create", {"text": "x"}, {}) for _ in range(n)]), 30)]
            equal(set(codes) - {0, -32000}, set())
            return codes.count(0)

        with Daemon(redis, over) as d:
            wait_until(is_healthy, 20, "healthy")
            for spooled, (lose, give_back) in enumerate([(redis.sigstop, redis.cont), (redis.kill9, redis.start)]):
                admitted += create(3)
                d.caller(schemas=False).send("test.circuit", {"delay": 4000})
                wait_until(is_at_work, 10, "at work")
                lose()
                wait_until(lambda: not is_healthy(), 20, "noticed")
                done = d.client("call", "--timeout", "1s", "task.create", '{"text":"away"}', timeout=30)
                equal((done.returncode, done.stdout), (69, b""), done.stderr)
                h.run(event("boom")).denied("No booms.")
                h.wait_spool(spooled + 1)
                give_back()
                wait_until(is_healthy, 30, lambda: f"healthy again\n{d.log_tail()}")
            admitted += create(3 * limit)
            made = [e for e in creations(d) if e["actor"] == "somebody"]
            equal((admitted, len(made)), (limit, limit), "both outages are within the window")
            check(d.caller(schemas=False).ask("test.circuit", {}, timeout=30).ok, "what Redis did is not the method's failure")
            equal(events(d, "circuit.opened"), [])

            def sends_spool():
                h.run(event("ls")).silent()
                return not h.spool()

            wait_until(sends_spool, 20, "the daemon is told what was decided without it", step=0.5)
            h.run(event(name="UserPromptSubmit", prompt="hello")).silent()
            refused = h.run(event(name="UserPromptSubmit", prompt="sk-abcdefgh"))
            check(b"No secrets here." in refused.out + refused.err, f"above its limit: decided here, not let through: {refused.out!r}")
            equal([r["why"] for r in h.wait_spool(1)], ["rate limited"])


class Permits:
    """Looks at the circuit all the time: what is given out never exceeds half_open."""

    def __init__(self, d, half_open):
        self.most, self.looks, self.stopping = 0, 0, False
        self.half_open = half_open
        self.thread = threading.Thread(target=self._run, args=(d,), daemon=True)
        self.thread.start()

    def _run(self, d):
        with d.connect() as r:
            while not self.stopping:
                st, ok, permits = r.call("HMGET", d.key("circuit:test.circuit"), "st", "ok", "permits")
                if st == b"half_open":
                    self.most = max(self.most, int(ok) + len(permits.split()))
                    self.looks += 1

    def stop(self):
        self.stopping = True
        self.thread.join(10)
        check(self.looks > 0, "it was seen half-open")
        check(self.most <= self.half_open, f"{self.most} probes at a time")


@case("F40: 16 processes: opens at the threshold, probes are few, pauses grow up to the most, a dead probe's place comes back, it closes",
      faults="F40")
def breaker():
    threshold, half_open, pauses = 20, 3, [400, 800, 1500, 1500]
    over = merge(FAST, {"domains": {"test": {"workers": 8}, "task": {"workers": 1}, "system": {"workers": 1}},
                        "methods": {"test.circuit": {"breaker": {
                            "threshold": threshold, "open_ms": pauses[0], "backoff": 2, "open_max_ms": pauses[-1],
                            "half_open": half_open, "close_after": half_open, "permit_ms": 2500}}}})
    downstream = {"shouldFail": False, "delay": 5}

    def ask(c):
        return [c.ask("test.circuit", dict(downstream), timeout=60)]

    def state():
        with a.connect() as r:
            return r.hash(a.key("circuit:test.circuit"))

    def count(kind):
        return len(events(a, kind))

    with PrivateRedis() as redis:
        with Daemon(redis, over, instance="a") as a, Daemon(redis, over, instance="b") as b:
            crowd = Crowd([a, b], 32, ask)
            wait_until(lambda: crowd.count() >= 200, 30, "served")
            equal(state(), {}, "a closed circuit is not written")
            downstream["shouldFail"] = True
            wait_until(lambda: count("circuit.opened") >= 1, 30, "opened")
            permits = Permits(a, half_open)
            wait_until(lambda: count("circuit.opened") >= len(pauses) + 1, 60, "and again, and again")
            first = events(a, "circuit.opened")[0][1]
            equal(first["reason"], f"{threshold} failures within 60000 ms, the last one: error")
            opened = events(a, "circuit.opened")[: len(pauses) + 1]
            probing = events(a, "circuit.half_open")
            equal([int(e["open_ms"]) for _, e in opened[:4]], pauses)
            for (at, e), (then, _) in zip(opened, probing):
                check(then - at >= int(e["open_ms"]) - 2, f"half-open {then - at} ms after it opened for {e['open_ms']}")
            # 16 may have been at work when it opened; from then on probes only.
            most = threshold + 16 + half_open * count("circuit.half_open")
            check(crowd.count(-32603) <= most, f"{crowd.count(-32603)} failures, at most {most}")
            # It recovers, but slowly: the probes are killed at their work.
            downstream.update(shouldFail=False, delay=60000)
            wait_until(lambda: len(state().get("permits", b"").split()) == half_open, 60, "probes are at work")
            busy = []
            for d in (a, b):
                busy += [w["pid"] for w in d.status()["workers"] if w["domain"] == "test" and w["state"] == "handling" and w["pid"] > 0]
            downstream["delay"] = 5
            for pid in busy:
                procs.kill(pid)
            check(len(busy) >= half_open, f"{len(busy)} at work")
            equal(state()["st"], b"half_open", "nobody's verdict")
            wait_until(lambda: state()["st"] == b"closed", 60, "the places came back, and probes closed it")
            equal(state()["try"], b"0")
            before = crowd.count()
            wait_until(lambda: crowd.count() >= before + 100, 30, "served again")
            permits.stop()
            codes = crowd.stop()
            note(f"{codes}; most probes: {permits.most}; {count('circuit.opened')} times open")
            check(set(codes) <= {0, -32603, -32001}, codes)


if __name__ == "__main__":
    arguments()
    main()

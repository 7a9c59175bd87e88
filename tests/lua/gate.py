#!/usr/bin/env python3
"""gate.py: circuit breaker and rate limit inside the commit (lua/include/gate.lua, circuit.lua) and before outside work
(lua/gate_enter.lua): every edge of the window against a model, every state of the breaker against every event."""

import hashlib
import json

from cbtest import *
from scripts import Gate, Request, Scripts

A = "token-A-0123456789"
s = None


def fresh():
    s.redis.call("FLUSHALL")
    # One tick, longer than any test: effective time stands still but for age().
    s.redis.call("HSET", s.key("clock"), "eff", 1000000000000, "at", 1 << 45, "tick", 500)


def kinds(prefix="circuit."):
    return [e["type"] for e in s.events() if e["type"].startswith(prefix)]


def later(ms):
    s.redis.call("HINCRBY", s.key("clock"), "eff", ms)


# ---- the rate limit ----


def log_of(actor, method="test.circuit"):
    return s.key(f"ratelimit:{method}:{hashlib.sha1(actor.encode()).hexdigest()}")


def group(gate, *actors, fail=0):
    """test.circuit for each actor in one group; the codes."""
    requests = [Request(fail, "boom", reply=A, rid=str(i), actor=a) for i, a in enumerate(actors)]
    answer = s.commit("test_circuit", requests, domain="test", gate=gate)
    equal(answer.errors, [])
    docs = s.replies(A)
    equal([d["id"] for d in docs], [str(i) for i in range(len(actors))])
    return [d.get("error", {}).get("code", 0) for d in docs], docs


@case("k of the m requests of a group pass; each actor and each method by itself; the refused are told when")
def shares():
    fresh()
    g = Gate("test.circuit", limit=3, window=1000)
    codes, docs = group(g, *"aabbaaab")
    equal(codes, [0, 0, 0, 0, 0, -32000, -32000, 0])
    equal([d["error"]["data"] for d in docs if "error" in d], [{"retry_after_ms": 1000, "limit": 3, "window_ms": 1000}] * 2)
    equal(group(Gate("test.other", limit=3, window=1000), *"aaaa")[0], [0, 0, 0, -32000])
    equal(s.redis.call("LRANGE", log_of("a"), 0, -1), [b"1000000000000 3 3"])
    later(999)
    codes, docs = group(g, "a")
    equal([codes, docs[0]["error"]["data"]["retry_after_ms"]], [[-32000], 1])
    later(1)
    equal(group(g, *"aaaa")[0], [0, 0, 0, -32000], "the window has passed")
    equal(group(Gate("test.circuit"), *"aaaa")[0], [0, 0, 0, 0], "no limit")


@case("never more than the limit in any window, and never fewer than a log would admit: against a model, 600 groups")
def model():
    draw = rng("gate")
    for _ in range(6):
        fresh()
        limit, window = draw.choice([1, 2, 5, 17]), draw.choice([1, 7, 50])
        g = Gate("test.circuit", limit=limit, window=window)
        admitted, now = {}, 0
        for _ in range(100):
            step = draw.choice([0, 0, 1, 1, 2, window - 1, window, window + 1, draw.randrange(2 * window + 1)])
            later(step)
            now += step
            actors = [draw.choice("ab") for _ in range(draw.choice([1, 1, 2, 5, 20]))]
            want = []
            for actor in actors:
                log = admitted.setdefault(actor, [])
                may = len([t for t in log if t > now - window]) < limit
                if may:
                    log.append(now)
                want.append(0 if may else -32000)
            codes, docs = group(g, *actors)
            equal(codes, want, f"limit {limit} window {window} at {now}: {actors}")
            for d in docs:
                if "error" in d:
                    check(1 <= d["error"]["data"]["retry_after_ms"] <= window, d)
        for log in admitted.values():
            for t in log:
                check(len([x for x in log if t <= x < t + window]) <= limit, "more than the limit in a window")


@case("the log is capped, has a TTL beyond its window, and other limits take it as it is")
def bounded():
    fresh()
    g = Gate("test.circuit", limit=5, window=1000)
    for _ in range(60):
        equal(group(g, *"aaaaaaa")[0].count(0), 5)
        later(1000)
    key = log_of("a")
    check(s.redis.call("LLEN", key) <= 8, "what is old goes")
    ttl = s.redis.call("PTTL", key)
    check(3600000 < ttl <= 3601000, f"TTL {ttl}")
    for _ in range(50):
        later(10)
        group(Gate("test.circuit", limit=20, window=1000), "a")
    check(20 <= s.redis.call("LLEN", key) <= 28, "as many as were admitted, and a few old ones")
    later(2000)
    wide = Gate("test.circuit", limit=100, window=1000)
    for _ in range(60):
        later(10)
        equal(group(wide, "a")[0], [0])
    later(800)  # 40 of 60 are out of the window
    equal(group(wide, *["a"] * 64)[0].count(0) + group(wide, *["a"] * 64)[0].count(0), 80)
    equal(s.redis.call("LLEN", key), 22, "what is old has gone")
    later(1001)
    group(g, *"aaaaa")
    equal(group(Gate("test.circuit", limit=2, window=1000), "a")[0], [-32000], "a lower limit sees the same log")
    equal(group(Gate("test.circuit", limit=7, window=1000), *"aaa")[0], [0, 0, -32000], "a higher one, too")
    s.redis.call("SET", key, "damage")
    equal(group(g, *"aaaaaa")[0], [0, 0, 0, 0, 0, -32000], "what is no list is begun anew")


@case("a clock that stands still or goes back lets nobody through; a Redis that jumps gives at most two ticks")
def clock():
    fresh()
    s.redis.call("DEL", s.key("clock"))
    s.tick()
    g = Gate("test.circuit", limit=2, window=60000)
    equal(group(g, *"aaa")[0], [0, 0, -32000])
    # The last tick seems to lie in the future, then a day back: what clocks that were set do.
    for at in (s.wall() + 86400000, s.wall() - 86400000):
        s.redis.call("HSET", s.key("clock"), "at", at)
        equal(group(g, *"aaa")[0], [-32000] * 3)
        s.tick()
        equal(group(g, *"aaa")[0], [-32000] * 3)


@case("what was replayed, and what its deadline refused, takes nothing from the limit; a refusal is not kept for a repeat")
def takes_nothing():
    fresh()
    g = Gate("task.create", limit=2, window=60000)

    def create(idem, **kw):
        kw = {"params_hash": "h", "idem": idem, "actor": "a", "gate": g, "op_args": [1000], **kw}
        return s.ask("task_create", *s.create_args(), **kw)

    first = create("k1")
    for _ in range(4):
        equal(create("k1")["result"], first["result"])
    equal(create("k2", deadline=1)["error"]["code"], -32006)
    check("result" in create("k3"), "the second of two")
    equal(create("k4")["error"]["code"], -32000)
    equal(s.kept("k4"), None)
    later(60000)
    check("result" in create("k4"), "a refusal was not its outcome")


# ---- the breaker ----

B = Gate("test.circuit", threshold=3, fail_window=10000, open_ms=1000, open_max=3000, backoff=2, half_open=2, close_after=2,
         permit_ms=500)


def state():
    return s.circuit().get("st", "closed")


def to_open():
    for _ in range(3):
        s.circuit_call(1, B)


def to_half_open():
    to_open()
    later(1000)
    equal(s.circuit_call(0, B)[0], 0)


@case("closed, open, half-open, closed: with its events, reasons and counts")
def round_trip():
    fresh()
    equal([s.circuit_call(1, B)[0] for _ in range(2)], [-32603] * 2)
    equal([state(), kinds()], ["closed", []])
    equal(s.circuit_call(0, B)[0], 0)
    equal(s.circuit_call(1, B)[0], -32603)
    code, doc = s.circuit_call(0, B)
    equal([code, doc["error"]["message"]], [-32001, "circuit open"])
    facts = doc["error"]["data"]
    equal([facts["state"], facts["retry_after_ms"], facts["reason"]],
          ["open", 1000, "3 failures within 10000 ms, the last one: error"])
    later(999)
    equal([s.circuit_call(0, B)[0], s.circuit_call(0, B)[1]["error"]["data"]["retry_after_ms"]], [-32001, 1])
    later(1)
    equal([s.circuit_call(0, B)[0], state()], [0, "half_open"])
    equal([s.circuit_call(0, B)[0], state()], [0, "closed"])
    equal(kinds(), ["circuit.opened", "circuit.half_open", "circuit.closed"])
    opened = s.events("circuit.opened")[0]
    equal([opened["method"], opened["from"], opened["attempt"], opened["open_ms"]], ["test.circuit", "closed", "1", "1000"])
    c = s.circuit()
    equal([c["errors"], c["rejections"], c["opened"], c["try"], c.get("timeouts")], ["3", "3", "1", "0", None])
    equal(s.redis.call("ZSCORE", s.key("circuits"), "test.circuit"), b"-1")


@case("every state × every event: where it goes")
def table():
    # Of each state: how to get there. Of each event: what it does. What is wanted: code, state after it.
    def request(fail):
        return lambda: s.circuit_call(fail, B)[0]

    def late(flags):
        return lambda: s.circuit_call(0, B, deadline=1, flags=flags)[0]

    def wait(ms):
        return lambda: later(ms)

    def bad_request():
        return s.ask("task_get", "none", keys=[s.key("task:none")], gate=B)["error"]["code"]

    states = {"closed": lambda: None, "closed, 2 failures": lambda: [s.circuit_call(1, B) for _ in range(2)],
              "open": to_open, "open, its time is over": lambda: (to_open(), later(1000)), "half_open, 1 success": to_half_open}
    events = {"success": request(0), "failure": request(1), "own deadline": late("t"), "caller's deadline": late(""),
              "no such task": bad_request, "an hour": wait(3600000)}
    wanted = {
        ("closed", "success"): (0, "closed"), ("closed", "failure"): (-32603, "closed"),
        ("closed", "own deadline"): (-32006, "closed"), ("closed", "caller's deadline"): (-32006, "closed"),
        ("closed", "no such task"): (-32004, "closed"), ("closed", "an hour"): (None, "closed"),
        ("closed, 2 failures", "success"): (0, "closed"), ("closed, 2 failures", "failure"): (-32603, "open"),
        ("closed, 2 failures", "own deadline"): (-32006, "open"), ("closed, 2 failures", "caller's deadline"): (-32006, "closed"),
        ("closed, 2 failures", "no such task"): (-32004, "closed"), ("closed, 2 failures", "an hour"): (None, "closed"),
        ("open", "success"): (-32001, "open"), ("open", "failure"): (-32001, "open"), ("open", "own deadline"): (-32006, "open"),
        ("open", "caller's deadline"): (-32006, "open"), ("open", "no such task"): (-32001, "open"),
        ("open", "an hour"): (None, "open"),
        ("open, its time is over", "success"): (0, "half_open"), ("open, its time is over", "failure"): (-32603, "open"),
        ("open, its time is over", "own deadline"): (-32006, "half_open"),
        ("open, its time is over", "caller's deadline"): (-32006, "open"),
        ("open, its time is over", "no such task"): (-32004, "half_open"), ("open, its time is over", "an hour"): (None, "open"),
        ("half_open, 1 success", "success"): (0, "closed"), ("half_open, 1 success", "failure"): (-32603, "open"),
        ("half_open, 1 success", "own deadline"): (-32006, "half_open"),
        ("half_open, 1 success", "caller's deadline"): (-32006, "half_open"),
        ("half_open, 1 success", "no such task"): (-32004, "closed"), ("half_open, 1 success", "an hour"): (None, "half_open"),
    }
    equal(set(wanted), {(a, b) for a in states for b in events})
    for (a, b), want in wanted.items():
        fresh()
        states[a]()
        equal((events[b](), state()), want, f"{a} × {b}")


@case("failures count for their window only; those of the threshold open it in the middle of a group")
def window():
    fresh()
    s.circuit_call(1, B)
    later(5000)
    s.circuit_call(1, B)
    later(5000)
    s.circuit_call(1, B)
    equal(state(), "closed", "the first one is out of the window")
    s.circuit_call(1, B)
    equal(state(), "open")
    fresh()
    equal(group(B, *"abcdefgh", fail=1)[0], [-32603] * 3 + [-32001] * 5)
    equal(s.circuit()["rejections"], "5")
    later(1000)
    equal(group(B, *"abcd", fail=1)[0], [-32603] + [-32001] * 3, "one failed probe is enough")
    later(2000)
    equal(group(B, *"abcd")[0], [0] * 4, "two good ones close it for the rest of the group")
    equal(state(), "closed")


@case("each opening in a row lasts longer, up to the most; closing starts again")
def backoff():
    fresh()
    to_open()
    for pause in (1000, 2000, 3000, 3000):
        equal(s.circuit_call(0, B)[1]["error"]["data"]["retry_after_ms"], pause)
        later(pause)
        equal([s.circuit_call(1, B)[0], state()], [-32603, "open"])
    equal([e["attempt"] for e in s.events("circuit.opened")], list("12345"))
    later(3000)
    equal([s.circuit_call(0, B)[0] for _ in range(2)], [0, 0])
    to_open()
    equal(s.circuit_call(0, B)[1]["error"]["data"]["retry_after_ms"], 1000)
    # Another method's breaker counts for itself.
    other = Gate("test.other", threshold=1, open_ms=1000, backoff=2)
    equal([s.circuit_call(1, other)[0], s.circuit_call(0, other)[1]["error"]["data"]["retry_after_ms"]], [-32603, 1000])


@case("outside work: permits are as many as half_open, go with the commit, and with their time when nobody commits")
def permits():
    fresh()
    to_open()
    entries = s.deliver(6, domain="test")
    code, data = s.enter(entries[0], B)
    equal([code, data["state"], data["retry_after_ms"]], [-32001, "open", 1000])
    later(1000)
    equal([s.enter(e, B)[0] for e in entries[:4]], [0, 0, -32001, -32001])
    code, data = s.enter(entries[3], B)
    equal([data["state"], data["retry_after_ms"]], ["half_open", 500])
    equal(s.circuit_call(0, B, entry=entries[0], flags="e")[0], 0)
    equal([s.enter(entries[2], B)[0], state()], [-32001, "half_open"], "a success keeps its place: two probes in all")
    later(499)
    equal(s.enter(entries[2], B)[0], -32001)
    later(1)
    equal(s.enter(entries[2], B)[0], 0, "the dead one's place")
    equal(s.circuit_call(0, B, entry=entries[1], flags="e")[0], 0, "it was not dead: its effect counts, its verdict does not")
    equal(state(), "half_open")
    equal([s.circuit_call(0, B, entry=entries[2], flags="e")[0], state()], [0, "closed"])


@case("outside work: a probe that fails opens it again; one that was admitted before does not count")
def outside_failures():
    fresh()
    entries = s.deliver(4, domain="test")
    equal([s.enter(entries[0], B)[0], s.circuit()], [0, {}], "closed: no permit, nothing is written")
    to_open()
    later(1000)
    equal(s.enter(entries[1], B)[0], 0)
    equal([s.circuit_call(1, B, entry=entries[0], flags="e")[0], state()], [-32603, "half_open"])
    equal([s.circuit_call(1, B, entry=entries[1], flags="e")[0], state()], [-32603, "open"])
    later(2000)
    equal(s.enter(entries[2], B)[0], 0)
    equal([s.circuit_call(0, B, entry=entries[2], deadline=1, flags="et")[0], state()], [-32006, "open"], "too slow")
    equal(s.circuit()["timeouts"], "1")
    later(3000)
    equal(s.enter(entries[3], B, deadline=1)[0], 0, "the commit answers it")
    equal(s.circuit_call(0, B, entry=entries[3], deadline=1, flags="e")[0], -32006)


@case("outside work takes from the rate limit before it begins, once")
def outside_limit():
    fresh()
    g = Gate("test.circuit", limit=2, window=1000)
    entries = s.deliver(3, domain="test")
    equal([s.enter(e, g, actor="a")[0] for e in entries], [0, 0, -32000])
    equal(s.circuit_call(0, g, actor="a", entry=entries[0], flags="e")[0], 0)
    equal(s.redis.call("LLEN", log_of("a")), 2)


@case("a method is at most half-open while one that it depends on is not closed; no more than half_open pass in a permit's time")
def dependent():
    fresh()
    d = Gate("task.x", threshold=3, half_open=2, close_after=2, permit_ms=500, depends="test.circuit test.other")
    equal(group(d, *"aaaa")[0], [0] * 4)
    to_open()
    equal(group(d, *"aaaa")[0], [0, 0, -32001, -32001])
    c = s.circuit("task.x")
    equal([c["st"], c["dep"], c["why"]], ["half_open", "test.circuit", "it depends on test.circuit, which is open"])
    later(500)
    equal(group(d, *"aaaa")[0], [0, 0, -32001, -32001], "success is no news")
    later(500)
    equal(group(B, *"ab")[0], [0, 0])
    equal([state(), s.circuit("task.x")["st"]], ["closed", "half_open"])
    equal([group(d, *"aaaa")[0], s.circuit("task.x")["st"]], [[0] * 4, "closed"])
    # Its own failures open it, and its own recovery waits for the other.
    to_open()
    later(500)
    equal([group(d, "a", fail=1)[0], s.circuit("task.x")["st"]], [[-32603], "open"])
    later(30000)
    group(B, "a", fail=1)  # open again
    equal(group(d, *"aaaa")[0], [0, 0, 0, 0], "two probes of its own, and two more for the other's sake")
    equal([s.circuit("task.x")["st"], s.circuit("task.x")["try"]], ["half_open", "0"])


@case("two that depend on each other do not hold each other")
def mutual():
    fresh()
    x = Gate("task.x", threshold=1, open_ms=1000, half_open=1, close_after=1, depends="task.y")
    y = Gate("task.y", threshold=1, open_ms=1000, half_open=1, close_after=1, depends="task.x")
    group(x, "a", fail=1)
    group(y, "a")
    equal([s.circuit("task.x")["st"], s.circuit("task.y")["st"]], ["open", "half_open"])
    later(1000)
    group(x, "a")
    group(y, "a")
    equal([s.circuit("task.x")["st"], s.circuit("task.y")["st"]], ["closed", "closed"])


@case("ticks move what time moves, with its event, and tell what is not closed; an hour unasked is forgotten")
def ticks():
    fresh()
    d = Gate("task.x", threshold=3, depends="test.circuit")
    to_open()
    group(d, "a")
    s.redis.call("HSET", s.key("clock"), "at", s.wall())
    rows = {r[0]: r[1:] for r in s.tick()["circuits"]}
    equal({m: r[0] for m, r in rows.items()}, {"test.circuit": "open", "task.x": "half_open"})
    check(abs(int(rows["test.circuit"][1]) - s.wall()) < 60000, rows)
    equal(rows["task.x"][2], "it depends on test.circuit, which is open")
    later(1000)
    equal({r[0]: r[1] for r in s.tick()["circuits"]}, {"test.circuit": "half_open", "task.x": "half_open"})
    equal(kinds()[-1], "circuit.half_open")
    equal([s.circuit_call(0, B)[0] for _ in range(2)], [0, 0])
    equal([s.tick()["circuits"], s.circuit("task.x")["st"], kinds()[-2:]], [[], "closed", ["circuit.closed"] * 2])
    to_open()
    later(1000)
    s.tick()
    later(3600001)
    equal([s.tick()["circuits"], state()], [[], "closed"])
    equal(s.events("circuit.closed")[-1]["reason"], "nobody has asked for an hour")


@case("a circuit that is damaged is closed, and the request is served")
def damage():
    fresh()
    s.redis.call("SET", s.key("circuit:test.circuit"), "x")
    s.redis.call("SET", s.key("circuits"), "x")
    equal(s.circuit_call(0, B)[0], 0)
    s.redis.call("DEL", s.key("circuits"))
    to_open()
    equal(state(), "open")


@case("without a gate nothing of it is called; with one, a closed circuit costs one command a group, a limit three an actor")
def cost():
    def calls(gate, n=8):
        fresh()
        s.circuit_call(0, None)
        s.redis.call("CONFIG", "RESETSTAT")
        group(gate, *["a"] * n)
        stats = s.redis.info("commandstats")
        return {k[8:]: int(str(v).split("calls=")[1].split(",")[0]) for k, v in stats.items()
                if not any(x in k for x in ("xadd", "config", "info"))}

    plain = calls(None)

    def more(gate):
        return {k: v - plain.get(k, 0) for k, v in calls(gate).items() if v != plain.get(k, 0)}

    equal(more(Gate("test.circuit", threshold=3)), {"hget": 1})
    equal(more(Gate("test.circuit", limit=100)), {"lrange": 1, "rpush": 1, "pexpire": 1, "hmget": 1})


@case("a circuit that is reset by hand is closed, its failures are forgotten, and its counts are not")
def reset_by_hand():
    def reset(method="test.circuit", **kw):
        return s.ask("system_circuit_reset", method, 1, domain="system", **kw)["result"]

    while state() != "open":
        s.circuit_call(1, B)
    opened = s.circuit()["opened"]
    before = len(kinds())
    told = reset(actor="ops")
    equal((told["method"], told["was"], bool(told["reason"])), ("test.circuit", "open", True))
    equal(state(), "closed")
    equal(s.circuit()["opened"], opened, "what was counted stays")
    equal(kinds()[before:], ["circuit.closed"])
    told = s.redis.call("XREVRANGE", s.key("stream:events"), "+", "-", "COUNT", 1)[0][1]
    check(b"reset by ops" in b" ".join(told), f"{told}")
    equal([s.circuit_call(1, B)[0] for _ in range(2)], [-32603] * 2, "admitted again")
    equal(reset(), {"method": "test.circuit", "was": "closed"}, "closed: its failures go")
    equal([s.circuit_call(1, B)[0] for _ in range(2)], [-32603] * 2)
    equal(state(), "closed", "two and two failures, and none of the first counts")
    equal(len(kinds()), before + 1, "no event without a change")
    equal(reset("task.get"), {"method": "task.get", "was": "closed"})
    check(not s.redis.call("EXISTS", s.key("circuit:task.get")), "nothing is written for a method without a circuit")
    reset()


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()

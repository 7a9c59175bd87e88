#!/usr/bin/env python3
"""state.py: system.get_state and the counts of tasks as scripts: exact, bounded, valid JSON whatever is in Redis."""

import json
import re

from cbtest import *
from scripts import Scripts

s = None


def fresh():
    s.redis.call("FLUSHALL")


def state():
    doc = s.state()
    check("result" in doc, short(json.dumps(doc)))
    return doc["result"]


@case("an empty namespace")
def empty():
    fresh()
    got = state()
    counts = got.pop("tasks")
    equal(set(counts.values()), {0})
    equal(got, {"instances": [], "instanceCount": 0, "recentEvents": [], "recentTasks": [], "leader": None, "state": None, "version": "1.0"})


@case("counts of every state, exact over queues and roles; what ended last comes first")
def counts():
    fresh()
    for i in range(12):
        s.create("x", queue=["default", "q1", "q2"][i % 3], roles="gpu" if i == 0 else "")
    held = s.claim(count=3)["result"]["tasks"] + s.claim(queue="q1", count=4)["result"]["tasks"]
    s.complete(held[0]["id"], held[0]["lease_token"])
    s.fail(held[1]["id"], held[1]["lease_token"])
    s.fail(held[2]["id"], held[2]["lease_token"], retry=0)
    task = s.create("y")["result"]["id"]
    s.update(task, status="cancelled")
    got = state()
    equal(got["tasks"], {"pending": 5, "delayed": 1, "blocked": 0, "in_progress": 4, "completed": 1, "failed": 1,
                         "dead": 1, "cancelled": 1})
    equal({(t["id"], t["status"]) for t in got["recentTasks"]},
          {(held[0]["id"], "completed"), (held[2]["id"], "failed"), (task, "cancelled")})
    equal([e["type"] for e in got["recentEvents"][:2]], ["task.cancelled", "task.created"])
    check(held[3]["lease_token"] not in json.dumps(got), "a token is shown")


@case("instances: those that live before those that ended, without incarnation or secret")
def instances():
    fresh()
    s.tick(register=1, secret="very-secret", incarnation="inc-daemon")
    s.register("agent", "inc-agent", roles='["gpu"]', capacity=3)
    s.heartbeat("agent", "inc-agent", load=0.5)
    s.register("left", "inc-left-for-good")
    s.heartbeat("left", "inc-left-for-good", load=0.9)
    s.unregister("left", "inc-left-for-good")
    got = state()
    shown = [(i["id"], i["kind"], i["status"], i["roles"], i["capacity"], i.get("load")) for i in got["instances"]]
    equal(shown, [("agent", "agent", "ACTIVE", ["gpu"], 3, 0.5), ("host-a", "daemon", "ACTIVE", [], 0, None),
                  ("left", "agent", "OFFLINE", [], 1, None)])
    equal(got["leader"], "host-a")
    equal([(i["held"], i.get("health"), i["incarnation"]) for i in got["instances"]],
          [(0, "healthy", "inc-agen"), (0, None, "inc-daem"), (0, None, "inc-left")])
    check(all(0 <= i["beat_age_ms"] < 60000 for i in got["instances"]), got["instances"])
    s.create("x", roles="")
    s.claim("agent", incarnation="inc-agent")
    equal({i["id"]: i["held"] for i in state()["instances"]}, {"agent": 1, "host-a": 0, "left": 0})
    text_ = json.dumps(got["instances"])
    for secret in ("inc-daemon", "inc-agent", "inc-left-for-good", "very-secret"):
        check(secret not in text_, secret)


@case("bounded: many instances, queues, finished tasks and large events stay under 1 MiB and 100 looks each")
def bounded():
    fresh()
    for i in range(150):
        s.register(f"{i}-" + "é" * 60, "i", roles=json.dumps(["r" * 60 + f"{j:02}" for j in range(16)]))
    for i in range(130):
        s.create("x" * 500, queue=f"q{i:03}")
    for i in range(20):
        t = s.claim(queue=f"q{i:03}")["result"]["tasks"][0]
        s.complete(t["id"], t["lease_token"])
    for i in range(10):
        s.redis.call("XADD", s.key("stream:events"), "*", "type", "big", *[x for n in range(20) for x in (f"n{n}", "\x01" * 100000)])
    doc = s.state()
    check(len(json.dumps(doc, ensure_ascii=False).encode()) < 1024 * 1024, "under 1 MiB")
    got = doc["result"]
    equal([len(got["instances"]), got["instanceCount"], len(got["recentTasks"])], [100, 150, 10])
    equal([got["tasks"]["pending"], got["tasks"]["completed"]], [110, 20])


@case("events that others wrote: bad UTF-8, doubled names, no type, odd times; the reply is valid all the same")
def hostile():
    fresh()
    add = lambda *fields: s.redis.call("XADD", s.key("stream:events"), "*", *fields)
    add("type", "bad", "x", b"\xff\xfe\x80", "x", "double", b"\xc3", "1", "at", "99999999999999999999999")
    add("no", "type")
    add("type", "")
    add("type", b"\xed\xa0\x80" * 40, "y", "é" * 2000, "at", "-5")
    add("type", 'quote"\\\n\x1b', "z", "😀\u2028ok", "at", "x")
    events = state()["recentEvents"]
    equal([e["type"] for e in events], ['quote"\\\n\x1b', "?" * 63, "bad"])
    equal(events[0]["fields"], {"z": "😀\u2028ok"})
    check(set(events[1]["fields"]["y"]) == {"é"} and len(events[1]["fields"]["y"]) > 1200, "cut between characters")
    equal(events[2]["fields"], {"x": "???", "?": "1"})


@case("the event of the largest group of completions tells all of its ids")
def event_of_a_group():
    fresh()
    ids = " ".join(f"t-{1790000000000000 + i}" for i in range(163))
    s.redis.call("XADD", s.key("stream:events"), "*", "type", "task.completed", "ids", ids, "worker", "w")
    equal(state()["recentEvents"][0]["fields"]["ids"], ids)


@case("instances and tasks that are no hashes, or not whole, are left out; a wrong type of an index is an internal error")
def damaged():
    fresh()
    s.register("good", "i")
    for name, score in (("string", 9e15), ("half", 8e15)):
        s.redis.call("ZADD", s.key("instances:active"), int(score), name)
    s.redis.call("SET", s.key("instance:string"), "x")
    s.redis.call("HSET", s.key("instance:half"), "st", "ACTIVE")
    s.redis.call("ZADD", s.key("tasks:completed"), 1, "t-1")
    got = state()
    equal([i["id"] for i in got["instances"]], ["good"])
    equal(got["recentTasks"], [])
    for index in ("counts", "leases", "queue:delayed", "tasks:failed", "instances:active"):
        fresh()
        s.redis.call("SET", s.key(index), "x")
        equal(s.state()["error"]["code"], -32603, index)


def figures():
    got = s.eval("status_figures", [s.key("clock")], [s.prefix + ":", "task", "system"])
    return json.loads(got)


@case("status_figures: what a status shows: counts, queues, instances, backlogs with their age; no writes")
def status_figures():
    fresh()
    s.tick(register=1)
    s.create("x")
    s.create("y", queue="q1")
    s.claim(count=1)
    s.pause("q1")
    entry = s.redis.call("XADD", s.key("requests:task"), "*", "method", "task.get", "origin", "1000-0").decode()
    s.redis.call("XADD", s.key("requests:task"), "*", "method", "task.get")
    before = s.dump(skip=())
    got = figures()
    equal(s.dump(skip=()), before)
    equal((got["tasks"]["pending"], got["tasks"]["in_progress"]), (1, 1))
    equal([(q["queue"], q["pending"], q["in_progress"], q["paused"]) for q in got["queues"]],
          [("default", 0, 1, False), ("q1", 1, 0, True)])
    check("oldest_ms" in got["queues"][1] and "oldest_ms" not in got["queues"][0], got["queues"])
    equal((got["more_queues"], got["all_paused"], got["leader"], got["instance_count"]), (False, False, "host-a", 1))
    equal(got["backlog"]["system"], {"length": 0})
    equal(got["backlog"]["task"]["length"], 2)
    equal(got["backlog"]["task"]["oldest_ms"] > 10**12, True, "since its first entry")
    s.redis.call("XDEL", s.key("requests:task"), entry)
    check(got["backlog"]["task"]["oldest_ms"] > figures()["backlog"]["task"]["oldest_ms"], "of the first one")
    equal((got["global"], got["scaling"]), (None, None))


@case("status_figures: at most 100 queues and instances; odd entries in a request stream do no harm")
def status_figures_bounded():
    fresh()
    for i in range(120):
        s.create("x", queue=f"q{i:03}")
        s.register(f"a{i}", "i")
    s.redis.call("XADD", s.key("requests:task"), "*", "origin", "9" * 400, "x", b"\xff")
    got = figures()
    equal((len(got["queues"]), got["more_queues"], len(got["instances"]), got["instance_count"]), (100, True, 100, 120))
    equal(got["backlog"]["task"], {"length": 1, "oldest_ms": 0})


@case("metrics_figures: counts, what was ever, backlogs, dead letters; as many commands however much there is; no writes")
def metrics_figures():
    def ask():
        before = s.dump(skip=())
        commands = int(s.redis.info("stats")["total_commands_processed"])
        got = json.loads(s.eval("metrics_figures", [s.key("clock")], [s.prefix + ":", "task", "system"]))
        commands = int(s.redis.info("stats")["total_commands_processed"]) - commands
        equal(s.dump(skip=()), before)
        return got, commands

    fresh()
    empty, least = ask()
    equal((empty["ever"], empty["dead_letters"], set(empty["tasks"].values())),
          ({"created": 0, "completed": 0, "failed": 0, "cancelled": 0}, 0, {0}))
    for i in range(120):
        s.create("x", queue=f"q{i:03}")
        s.register(f"a{i}", "i")
    s.claim(queue="q000")
    s.redis.call("XADD", s.key("requests:task"), "*", "origin", "1000-0")
    s.redis.call("XADD", s.key("stream:dead"), "*", "reason", "x")
    got, most = ask()
    equal(got["dead_letters_dropped"], 0)
    equal((got["ever"]["created"], got["dead_letters"], got["tasks"]["pending"], got["tasks"]["in_progress"]), (120, 1, 119, 1))
    equal((got["backlog"]["system"], got["backlog"]["task"]["length"]), ({"length": 0}, 1))
    check(got["backlog"]["task"]["oldest_ms"] > 10**12, "since its first entry")
    check(most <= least + 1 and most < 40, f"{least} commands, {most} with much to look at")


@case("at most 10000 instances: one that ended longest ago makes room for a new one, else it is refused")
def instance_bound():
    fresh()
    s.register("first", "i0")
    s.unregister("first", "i0")
    eff = int(s.redis.hash(s.key("clock"))["eff"])
    live = [x for i in range(9999) for x in (eff + 3600000, f"live{i}")]
    s.redis.call("ZADD", s.key("instances:active"), *live)
    equal(s.register("second", "i1")["result"]["registered"], True)
    equal(s.redis.call("EXISTS", s.key("instance:first"), s.key("instances:offline")), 0)
    before = s.dump()
    full = s.register("third", "i2")
    equal([full["error"]["code"], full["error"]["data"]], [-32007, {"retry_after_ms": 60000}])
    equal(s.dump(), before)
    equal(s.register("second", "i3")["result"]["registered"], True, "whoever is there may come back")


@case("audit: an entry that is no task's id is told, and a page does not end at it")
def audit_garbage():
    fresh()
    s.create("t")
    odd = ['x"y', "two words", "t-1 t-2", "\x00\xff", "t-", "t-" + "1" * 30]
    s.redis.call("ZADD", s.key("tasks:completed"), *[x for i in range(505) for x in (i, f"t-{i}")],
                 *[x for name in odd for x in (98.5, name)], 1000, "last one")
    pages, found, cursor = 0, [], ""
    while pages < 30:
        doc = s.ask("task_audit", cursor, "")
        check("result" in doc, doc)
        found += doc["result"]["findings"]
        pages += 1
        cursor = doc["result"].get("next", "")
        if not cursor:
            break
        check(re.fullmatch(r"\d+ \S+ \S+ t-\d{1,20}", cursor), cursor)
    equal([cursor, sum(f["id"] == "t-0" for f in found if f["problem"] == "no_task")], ["", len(odd) + 2], "t-0 is one, too")
    equal(sum(f["problem"] == "no_task" for f in found), 505 + len(odd) + 1)


@case("nothing is written")
def reads_only():
    fresh()
    s.tick(register=1)
    s.create("x")
    before = s.dump()
    state()
    check(s.dump() == before, "something was")


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()

#!/usr/bin/env python3
"""tick.py: the tick (lua/tick.lua): effective time, own beat, leadership, and the bounded sweep."""

import time

from cbtest import *
from scripts import Scripts

s = None


def fresh():
    s.redis.call("FLUSHALL")


def clock():
    c = s.redis.hash(s.key("clock"))
    return int(c["eff"]), int(c["at"])


def set_clock(eff, at):
    s.redis.call("HSET", s.key("clock"), "eff", eff, "at", at)


@case("the clock starts at wall time")
def start():
    fresh()
    before = s.wall()
    t = s.tick(register=1)
    equal(t["state"], "ok")
    check(before <= int(t["eff"]) <= s.wall(), t)


@case("it advances by the time since the last tick, at most two ticks, never back")
def advance():
    fresh()
    now = s.wall()
    for ago, tick_ms, low, high in ((300, 500, 300, 400), (1000, 500, 1000, 1000), (5000, 500, 1000, 1000),
                                    (3600000, 500, 1000, 1000), (100, 50, 100, 100), (-5000, 500, 0, 0)):
        s.redis.call("DEL", s.key("leader:current"))
        now = s.wall()
        set_clock(1000000, now - ago)
        eff = int(s.tick(tick_ms=tick_ms)["eff"])
        check(1000000 + low <= eff <= 1000000 + high, f"{ago} ms ago: advanced {eff - 1000000}, wanted {low}..{high}")
        check(now <= clock()[1] <= s.wall(), "the tick's own time is kept")


@case("after a jump back of wall time the clock goes on from there")
def jump_back():
    fresh()
    set_clock(5000, s.wall() + 3600000)
    equal(int(s.tick()["eff"]), 5000)
    time.sleep(0.02)
    check(5000 < int(s.tick()["eff"]) <= 6000, "it runs again")


@case("several instances tick: the sum is wall time, not more")
def many():
    fresh()
    s.tick("a", register=1)
    eff0, at0 = clock()
    for i in range(200):
        s.tick("abcde"[i % 5], f"i{i % 5}", register=1 if i < 5 else 0)
    eff1, at1 = clock()
    check(eff1 - eff0 <= at1 - at0, f"{eff1 - eff0} ms in {at1 - at0}: faster than wall time")
    check(eff1 - eff0 >= at1 - at0 - 50, f"{eff1 - eff0} ms in {at1 - at0}: slower than wall time")


@case("a stall expires nobody: leases, agents and leader survive an hour without ticks")
def stall():
    fresh()
    s.tick("host-a", register=1)
    s.tick("host-b", "ib", register=1)
    s.create("t")
    s.register("agent", "inc1", lease="30000")
    task = s.claim("agent", incarnation="inc1")["result"]["tasks"][0]
    eff, at = clock()
    set_clock(eff, at - 3600000)  # as if the last tick had been an hour ago
    t = s.tick("host-b", "ib")
    equal([t["state"], t["expired"], t["moved"], t["leader"]], ["ok", 0, 0, "host-a"])
    equal(s.get(task["id"])["result"]["status"], "in_progress")
    equal(s.events("instance.failed"), [])
    equal(s.heartbeat("agent", "inc1")["result"]["alive"], True)


# ---- instances ----


@case("register: a new id, the same process, a restart with the secret, and an impostor")
def register():
    fresh()
    equal(s.tick("h", "i1", "secret", register=1)["state"], "ok")
    equal(s.tick("h", "i1", "secret")["state"], "ok")
    equal(len(s.events("instance.registered")), 1)
    before = s.dump()
    equal(s.tick("h", "i2", "other", register=1)["state"], "refused")
    equal(s.tick("h", "i2", "other")["state"], "refused")
    equal(s.dump(), before, "a refused tick changes nothing")
    equal(s.tick("h", "i3", "secret", register=1)["state"], "ok")
    equal(s.redis.hash(s.key("instance:h"))["inc"], b"i3")
    equal(s.tick("h", "i1", "secret")["state"], "refused")
    equal(len(s.events("instance.registered")), 2)


@case("an id whose beats have ended is free")
def dead_id():
    fresh()
    s.tick("h", "i1", "one", register=1, offline=2500)
    s.tick("other", "io", register=1)
    s.age(5)
    s.tick("other", "io")
    equal(s.redis.hash(s.key("instance:h"))["st"], b"OFFLINE")
    equal(len(s.events("instance.failed")), 1)
    equal(s.tick("h", "i9", "two", register=1)["state"], "ok")
    equal(s.redis.hash(s.key("instance:h"))["st"], b"ACTIVE")
    equal(s.redis.call("ZSCORE", s.key("instances:offline"), "h"), None)


@case("a daemon that was declared offline while it was stopped comes back")
def comeback():
    fresh()
    s.tick("h", "i1", "one", register=1)
    s.tick("o", "io", register=1)
    s.age(5)
    s.tick("o", "io")
    equal(s.redis.hash(s.key("instance:h"))["st"], b"OFFLINE")
    equal(s.tick("h", "i1", "one")["state"], "ok")
    equal(s.redis.hash(s.key("instance:h"))["st"], b"ACTIVE")


@case("an agent's id is refused to a live daemon's name, and a daemon's to an agent")
def kinds():
    fresh()
    s.tick("h", "i1", "one", register=1)
    equal(s.register("h", "a1")["error"]["code"], -32005)
    equal(s.heartbeat("h", "i1")["result"]["alive"], False)
    equal(s.unregister("h", "i1")["error"]["code"], -32005)
    s.register("agent", "a1")
    equal(s.tick("agent", "x", "y", register=1)["state"], "refused")


@case("offline once: one event, its tasks go back, at most 100 per tick, the attempt stays charged")
def offline():
    fresh()
    s.tick(register=1)
    s.register("agent", "a1", lease="5000")
    batch = []
    for i in range(100):
        batch += s.create_args(f"t{i}")
    for _ in range(3):
        s.ask("task_create_batch", 100, *batch, op_args=[1000])
    for _ in range(3):
        equal(len(s.claim("agent", 100, incarnation="a1")["result"]["tasks"]), 100)
    s.age(6)
    moved = [s.tick()["moved"] for _ in range(4)]
    equal(moved, [100, 100, 100, 0])
    equal(len(s.events("instance.failed")), 1)
    equal(s.redis.call("ZCARD", s.key("queue:tasks:pending")), 300)
    equal(s.redis.call("EXISTS", s.key("queue:instance:agent")), 0)
    equal(s.redis.call("ZSCORE", s.key("instances:active"), "agent"), None)
    equal(s.claim("w2")["result"]["tasks"][0]["attempt"], 2)


@case("an agent that registers again gets a new incarnation; all its old tasks go back")
def again():
    fresh()
    s.tick(register=1)
    s.register("agent", "a1")
    for i in range(150):
        s.create(f"t{i}")
    for _ in range(2):
        s.claim("agent", 100, incarnation="a1")
    s.register("agent", "a2")
    equal(s.redis.call("SCARD", s.key("queue:instance:agent")), 50, "at most 100 go at once")
    kept = s.claim("agent", 3, incarnation="a2")["result"]["tasks"]
    for _ in range(2):
        s.heartbeat("agent", "a2")
    equal(s.redis.call("SCARD", s.key("queue:instance:agent")), 3, "the next beats move the rest")
    s.heartbeat("agent", "a2")
    check("old" not in s.redis.hash(s.key("instance:agent")), "and that is all")
    for t in kept:
        equal(s.get(t["id"])["result"]["status"], "in_progress")
    equal(s.heartbeat("agent", "a1")["error"]["data"]["reason"], "stale_incarnation")
    equal(s.claim("agent", 1, incarnation="a1")["error"]["data"]["reason"], "stale_incarnation")
    equal(s.claim("agent", 1, incarnation="a2")["result"]["claimed"], True)


@case("tasks claimed by the new incarnation stay when the old one's go back")
def again_keeps():
    fresh()
    s.register("agent", "a1")
    for i in range(4):
        s.create(f"t{i}")
    s.claim("agent", 2, incarnation="a1")
    s.register("agent", "a2")
    kept = [t["id"] for t in s.claim("agent", 2, incarnation="a2")["result"]["tasks"]]
    s.tick(register=1)
    for i in kept:
        equal(s.get(i)["result"]["status"], "in_progress")


@case("takeover false is refused while the id lives, and accepted after its end")
def takeover():
    fresh()
    s.tick(register=1)
    s.register("agent", "a1", lease="5000")
    equal(s.register("agent", "a2", takeover=0)["error"]["data"]["reason"], "state")
    s.age(6)
    check("result" in s.register("agent", "a2", takeover=0), "after the deadline")


@case("unregister: tasks go back at once, the id is offline, beats say alive false")
def unregister():
    fresh()
    s.tick(register=1)
    s.register("agent", "a1")
    s.create("t")
    s.claim("agent", incarnation="a1")
    equal(s.unregister("agent", "wrong")["error"]["data"]["reason"], "stale_incarnation")
    equal(s.unregister("nobody", "x")["error"]["code"], -32004)
    equal(s.unregister("agent", "a1")["result"], {"unregistered": True, "released": 1})
    equal(s.heartbeat("agent", "a1")["result"]["alive"], False)
    equal(s.redis.call("ZCARD", s.key("queue:tasks:pending")), 1)
    equal(s.claim("agent", incarnation="a1")["error"]["code"], -32004, "a claim of one that left")
    equal(s.claim("nobody", incarnation="a1")["error"]["code"], -32004, "a claim of an unknown one")
    check("result" in s.register("agent", "a2"), "and it may come back")


@case("beats that wait in the stream: nobody is declared silent meanwhile")
def late_beats():
    fresh()
    s.tick(register=1)
    s.register("agent", "a1", lease="5000")
    s.age(60)
    old = s.wall() - 5000
    s.redis.call("DEL", s.stream("system"))
    s.redis.call("XADD", s.stream("system"), f"{old}-0", "method", "system.heartbeat")
    equal(s.tick()["moved"], 0)
    equal(s.events("instance.failed"), [])
    s.redis.call("XTRIM", s.stream("system"), "MAXLEN", 0)
    s.tick()
    equal(len(s.events("instance.failed")), 1)


@case("heartbeat renews the named leases and tells of lost and unknown ones")
def heartbeat():
    fresh()
    s.tick(register=1)
    s.register("agent", "a1")
    for i in range(2):
        s.create(f"t{i}", lease=2000)
    one, two = s.claim("agent", 2, incarnation="a1")["result"]["tasks"]
    s.age(1.5)
    beat = s.heartbeat("agent", "a1", [(one["id"], one["lease_token"]), (two["id"], "forged"), ("t-1", "x")])
    lost = {(c["id"], c["reason"]) for c in beat["result"]["cancel"]}
    equal(lost, {(two["id"], "lease_lost"), ("t-1", "lease_lost")})
    s.age(1)
    s.tick()
    equal(s.get(one["id"])["result"]["status"], "in_progress")
    equal(s.get(two["id"])["result"]["status"], "pending")
    equal(s.heartbeat("nobody", "x")["result"]["alive"], False)


@case("instances that ended an hour ago are forgotten")
def forgotten():
    fresh()
    s.tick(register=1)
    s.register("agent", "a1")
    s.unregister("agent", "a1")
    s.age(3599)
    s.tick()
    equal(s.redis.call("EXISTS", s.key("instance:agent")), 1)
    s.age(2)
    s.tick()
    equal(s.redis.call("EXISTS", s.key("instance:agent")), 0)
    equal(s.redis.call("ZCARD", s.key("instances:offline")), 0)


# ---- orphans ----


def orphans():
    return s.redis.call("ZCARD", s.key("instances:orphaned"))


@case("a daemon that was given up is looked after by one at a time, again until nothing is left; nobody else is")
def orphan():
    fresh()
    for name in "abc":
        s.tick(name, f"i{name}", register=1)
    s.register("agent", "a1", lease="1000")
    s.tick("c", "ic", leave=1)
    s.age(2.4)
    s.tick("b", "ib")
    s.age(0.2)
    equal(s.tick("b", "ib")["orphan"], "", "it cannot")
    equal([len(s.events("instance.failed")), orphans()], [2, 1])
    equal([s.tick("b", "ib", can_adopt=1)["orphan"] for _ in range(3)], ["a", "", ""])
    s.age(5)
    equal(s.tick("b", "ib", can_adopt=1)["orphan"], "a", "again, in case the first one died over it")
    s.tick("b", "ib", finished="a")
    equal(orphans(), 0)
    equal(s.redis.hash(s.key("instance:a"))["st"], b"OFFLINE")


@case("an orphan that came back, or was forgotten, is none")
def orphan_back():
    for back in (lambda: s.tick("a", "ia"), lambda: s.redis.call("DEL", s.key("instance:a"))):
        fresh()
        s.tick("a", "ia", register=1)
        s.tick("b", "ib", register=1)
        s.age(3)
        s.tick("b", "ib")
        equal(orphans(), 1)
        back()
        equal(s.tick("b", "ib", can_adopt=1)["orphan"], "")
        equal(orphans(), 0)


# ---- leader ----


@case("one leader per epoch; renewal keeps it, its end moves it, epochs rise")
def leader():
    fresh()
    a = s.tick("a", "ia", register=1)
    equal([a["leader"], a["leads"]], ["a", 1])
    b = s.tick("b", "ib", register=1)
    equal([b["leader"], b["leads"], b["epoch"]], ["a", 0, a["epoch"]])
    equal(s.tick("a", "ia")["epoch"], a["epoch"])
    s.age(3)
    b = s.tick("b", "ib")
    equal([b["leader"], b["leads"]], ["b", 1])
    check(int(b["epoch"]) > int(a["epoch"]), "epochs rise")
    a = s.tick("a", "ia")
    equal([a["leader"], a["leads"], a["epoch"]], ["b", 0, b["epoch"]])


@case("an expired leader that ticks again gets a new epoch, not its old one")
def leader_expired():
    fresh()
    first = s.tick("a", "ia", register=1)
    s.age(10)
    again = s.tick("a", "ia")
    equal(again["leads"], 1)
    check(int(again["epoch"]) > int(first["epoch"]), "a lease that ended is a new term")


@case("a restarted leader: new incarnation, new epoch; the old incarnation is out")
def leader_restart():
    fresh()
    first = s.tick("a", "ia", "sec", register=1)
    again = s.tick("a", "ib", "sec", register=1)
    equal(again["leads"], 1)
    check(int(again["epoch"]) > int(first["epoch"]), "epoch")
    equal(s.tick("a", "ia", "sec")["state"], "refused")


@case("leaving hands over within one tick, and only the leader's own leaving does")
def leaving():
    fresh()
    first = s.tick("a", "ia", register=1)
    s.tick("b", "ib", register=1)
    s.tick("c", "ic", register=1)
    t = s.tick("c", "ic", leave=1)
    equal([t["leader"], t["leads"]], ["a", 0])
    t = s.tick("a", "ia", leave=1)
    equal(t["leads"], 0)
    t = s.tick("b", "ib")
    equal(t["leads"], 1)
    check(int(t["epoch"]) > int(first["epoch"]), "epoch")
    equal(len(s.events("instance.unregistered")), 2)
    equal(s.events("instance.failed"), [])


@case("epochs do not repeat after a flush")
def epoch_flush():
    fresh()
    first = int(s.tick(register=1)["epoch"])
    fresh()
    check(int(s.tick(register=1)["epoch"]) > first, "epoch")


# ---- leases, delayed, finished ----


@case("a lease ends once: the task is pending again, the old token is stale, the attempt counted")
def lease():
    fresh()
    s.tick(register=1)
    s.create("t", lease=1000)
    old = s.claim("w1")["result"]["tasks"][0]
    equal(s.tick()["expired"], 0)
    s.age(1.1)
    equal(s.tick()["expired"], 1)
    equal(s.tick()["expired"], 0)
    equal(s.get(old["id"])["result"]["status"], "pending")
    new = s.claim("w2")["result"]["tasks"][0]
    equal([new["id"], new["attempt"]], [old["id"], 2])
    check(new["lease_token"] != old["lease_token"], "a new token")
    for doc in (s.complete(old["id"], old["lease_token"]), s.fail(old["id"], old["lease_token"]),
                s.release(old["id"], old["lease_token"]), s.renew(old["id"], old["lease_token"])):
        equal([doc["error"]["code"], doc["error"]["data"]["reason"]], [-32005, "stale_lease"])
    equal(s.complete(new["id"], new["lease_token"])["result"]["status"], "completed")
    equal(len(s.events("task.completed")), 1)


@case("the last attempt's lease: dead, with a reason")
def last_attempt():
    fresh()
    s.tick(register=1)
    s.create("t", lease=1000, max_attempts=2)
    for _ in range(2):
        t = s.claim("w1")["result"]["tasks"][0]
        s.age(1.5)
        s.tick()
    got = s.get(t["id"])["result"]
    equal([got["status"], got["dead"]], ["failed", True])
    equal(s.claim("w1")["result"]["claimed"], False)
    equal(s.redis.call("ZCARD", s.key("queue:dead")), 1)


@case("at most 100 leases per tick")
def bounded():
    fresh()
    s.tick(register=1)
    for i in range(250):
        s.create("t", lease=1000)
    for _ in range(3):
        s.claim("w1", 100)
    s.age(2)
    equal([s.tick()["expired"] for _ in range(4)], [100, 100, 50, 0])


@case("delayed tasks come back at their time, by wall clock, in order")
def delayed():
    fresh()
    s.tick(register=1)
    s.create("t")
    t = s.claim()["result"]["tasks"][0]
    doc = s.fail(t["id"], t["lease_token"], backoff=40)
    equal(doc["result"]["status"], "delayed")
    equal(s.tick()["promoted"], 0)
    equal(s.claim()["result"]["claimed"], False)
    wait_until(lambda: s.tick()["promoted"] == 1, 2, "promoted")
    got = s.claim()["result"]["tasks"][0]
    equal([got["id"], got["attempt"]], [t["id"], 2])


@case("finished tasks go by age, and by count once they are old enough")
def retention():
    fresh()
    s.tick(register=1)
    for i in range(10):
        s.create(f"t{i}")
    for t in s.claim("w", 10)["result"]["tasks"]:
        s.complete(t["id"], t["lease_token"])
    s.tick(keep=(3, 86400000, 600000))
    equal(s.redis.call("ZCARD", s.key("tasks:completed")), 10, "younger than keep_finished_min_ms")
    time.sleep(0.01)
    s.tick(keep=(3, 86400000, 1))
    equal(s.redis.call("ZCARD", s.key("tasks:completed")), 3)
    equal(len(s.redis.scan(s.key("task:*"))), 3)
    s.tick(keep=(3, 1, 600000))
    equal(s.redis.call("ZCARD", s.key("tasks:completed")), 0)
    equal(len(s.redis.scan(s.key("task:*"))), 0)


@case("a data generation is drawn once and kept")
def generation():
    fresh()
    s.tick(register=1, generation="first")
    s.tick(generation="second")
    equal(s.redis.hash(s.key("meta"))["generation"], b"first")


@case("a tick works at maxmemory and on an index that points nowhere")
def rough():
    fresh()
    s.tick(register=1)
    s.redis.call("ZADD", s.key("leases"), 1, "t-404")
    s.redis.call("ZADD", s.key("queue:delayed"), 1, "t-405")
    s.redis.call("ZADD", s.key("instances:active"), 1, "ghost")
    s.redis.call("ZADD", s.key("tasks:completed"), 1, "t-406")
    equal(s.tick()["state"], "ok")
    for key in ("leases", "queue:delayed", "tasks:completed"):
        equal(s.redis.call("ZCARD", s.key(key)), 0, key)
    equal(s.redis.call("ZSCORE", s.key("instances:active"), "ghost"), None)
    equal(s.redis.scan(s.key("task:*")), set())



@case("a damaged key stops neither beats nor leader nor the rest of the sweep, and is told")
def damaged():
    for key in ("queue:delayed", "tasks:failed", "tasks:completed", "instances:offline", "queues", "stream:events"):
        fresh()
        s.tick(register=1)
        s.create("x")
        t = s.claim()["result"]["tasks"][0]
        s.redis.call("DEL", s.key(key))
        s.redis.call("SET", s.key(key), "x")
        s.age(3600)
        got = s.tick()
        equal(got["state"], "ok", key)
        equal([got["leads"], got["leader"]], [1, "host-a"], key)
        check("WRONG" in got["problem"] or "wrong" in got["problem"], f"{key}: {got}")
        s.redis.call("DEL", s.key(key))
        s.age(3600)
        s.tick()
        equal(s.get(t["id"])["result"]["status"], "pending", key)
        equal(s.tick()["problem"], "", key)


@case("a lease on a damaged task holds up no other")
def damaged_lease():
    fresh()
    s.tick(register=1)
    for _ in range(3):
        s.create("x")
    wrong, partial, good = s.claim(count=3)["result"]["tasks"]
    s.redis.call("DEL", s.key(f"task:{wrong['id']}"))
    s.redis.call("SET", s.key(f"task:{wrong['id']}"), "x")
    s.redis.call("HDEL", s.key(f"task:{partial['id']}"), "c")
    s.age(3600)
    check(partial["id"] in s.tick()["problem"], "told")
    equal(s.get(good["id"])["result"]["status"], "pending")
    equal(s.redis.call("ZRANGE", s.key("leases"), 0, -1), [partial["id"].encode()])


@case("an instance that ended claims nothing until it registers again")
def ended_claims():
    fresh()
    s.create("x")
    s.register("agent", "a1")
    s.unregister("agent", "a1")
    for name in ("agent", "nobody"):
        equal(s.claim(name, incarnation="a1")["error"]["code"], -32004, name)
    equal(s.redis.call("ZCARD", s.key("leases")), 0)
    s.register("agent", "a2")
    equal(s.claim("agent", incarnation="a1")["error"]["data"]["reason"], "stale_incarnation")
    check(s.claim("agent", incarnation="a2")["result"]["claimed"], "registered again")


@case("an agent that took over an ended daemon's id is safe from the daemon's secret")
def secret_goes():
    fresh()
    s.tick("host", "d1", "sec", register=1)
    s.tick("host", "d1", "sec", leave=1)
    s.register("host", "a1")
    equal(s.tick("host", "d2", "sec", register=1)["state"], "refused")
    equal(s.heartbeat("host", "a1")["result"]["alive"], True)


@case("a task whose worker is lost at its last attempt is dead, and its event says so")
def lost_for_good():
    fresh()
    s.register("agent", "a1")
    last, other = (s.create("x", max_attempts=n)["result"]["id"] for n in (1, 2))
    s.claim("agent", 2, incarnation="a1")
    s.unregister("agent", "a1")
    equal([s.get(t)["result"]["status"] for t in (last, other)], ["failed", "pending"])
    equal([(e["ids"], e["dead"]) for e in s.events("task.failed")], [(last, "1")])
    equal([e["ids"] for e in s.events("task.reassigned")], [other])


@case("a task that loses its holder max_crashes times is dead, whatever attempts it has left")
def lost_too_often():
    fresh()
    s.tick(register=1)
    task = s.create("x", max_attempts=10, max_crashes=2, lease=1000)["result"]["id"]
    for state, losses in (("pending", "1"), ("failed", "2")):
        equal(len(s.claim()["result"]["tasks"]), 1)
        s.age(5)
        s.tick()
        equal(s.task(task)["st"].decode(), state)
        equal(s.task(task)["cc"].decode(), losses)
    shown = s.get(task)["result"]
    equal((shown["dead"], shown["attempt"], shown["crashes"]), (True, 2, 2))
    equal(shown["error"], "the lease ended once too often")


@case("beats in a live daemon's hands count as waiting; those in a dead one's hold up nobody's end")
def beats_in_hand():
    fresh()
    s.tick("host-a", "a1", register=1)
    s.tick("host-b", "b1", register=1)
    old = s.wall() - 5000
    for consumer in ("host-a/system/1.1", "host-b/system/1.1"):
        s.redis.call("DEL", s.stream("system"))
        s.group("system")
        s.redis.call("XADD", s.stream("system"), f"{old}-0", "method", "system.heartbeat")
        s.redis.call("XREADGROUP", "GROUP", "workers", consumer, "STREAMS", s.stream("system"), ">")
        s.redis.call("ZADD", s.key("instances:active"), 0, "host-b")  # silent for long
        s.tick("host-a", "a1")
        equal(len(s.events("instance.failed")), int(consumer.startswith("host-b")), consumer)
    s.redis.call("XADD", s.stream("system"), f"{old}-1", "method", "system.heartbeat")
    s.tick("host-c", "c1", register=1)
    s.redis.call("ZADD", s.key("instances:active"), 0, "host-c")
    s.tick("host-a", "a1")
    equal(len(s.events("instance.failed")), 1, "an unread one holds up all")


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()

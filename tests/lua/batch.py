#!/usr/bin/env python3
"""batch.py: batches as scripts (row F42 of tests/results/faults.md): one lease each, fences, takeover, progress, every item once."""

from cbtest import *
from scripts import Scripts

s = None


def fresh():
    s.redis.call("FLUSHALL")
    s.tick(register=1)


def ok(doc):
    equal(doc["internal"], [])
    return doc["result"]


def refused(doc):
    data = doc["error"]["data"]
    return doc["error"]["code"], data.get("reason"), data.get("state")


def unchanged(action):
    before = s.dump(("requests:", "reply:", "duplicates:", "clock", "meta"))
    doc = action()
    equal(s.dump(("requests:", "reply:", "duplicates:", "clock", "meta")), before, "a refusal changes nothing")
    return doc


@case("one batch from its opening to its end: items as they came, in order, each once")
def plain():
    fresh()
    items = [1, "é\n", [], {}, None, 9007199254740993, {"a": [{}]}] + list(range(16))
    got = ok(s.batch("b", items=items))
    equal([got["processed"], got["processorId"], got["status"], got["itemsTotal"], got["itemsProcessed"], got["first"]],
          [True, "p1", "sealed", 23, 0, 0])
    fence, seen = got["fence"], got["items"]
    equal(seen, items[:10])
    while True:
        got = ok(s.batch_progress("b", fence, len(seen), take=5))
        equal([got["itemsProcessed"], got["first"]], [len(seen), len(seen)])
        if not got["items"]:
            break
        seen += got["items"]
    equal(seen, items)
    done = ok(s.batch_complete("b", fence))
    equal([done["status"], done["itemsProcessed"], done["processorId"]], ["completed", 23, "p1"])
    equal(ok(s.batch_complete("b", fence)), done, "its own repeat")
    equal(len(s.events("batch.completed")), 1)
    equal([f for f in s.redis.hash(s.key("batch:b")) if f.startswith("i:")], [], "finished items are gone")
    equal(refused(s.batch("b", "p2", items=[1])), (-32005, "state", "completed"))
    equal(refused(s.batch_progress("b", fence, 23)), (-32005, "state", "completed"))


@case("while the lease is live a second processor is refused and learns who has it; afterwards it takes over")
def takeover():
    fresh()
    one = ok(s.batch("b", "p1", items=list(range(20)), take=10, lease=5000))
    ok(s.batch_progress("b", one["fence"], 4))
    doc = unchanged(lambda: s.batch("b", "p2", items=list(range(20))))
    equal(refused(doc), (-32005, "state", "held"))
    equal(doc["error"]["data"]["processorId"], "p1")
    eff, at = [int(s.redis.hash(s.key("clock"))[f]) for f in ("eff", "at")]
    s.redis.call("HSET", s.key("clock"), "eff", eff, "at", at - 3600000)
    s.tick()
    equal(refused(s.batch("b", "p2")), (-32005, "state", "held"), "a stall of Redis ends no lease")
    s.age(5.1)
    two = ok(s.batch("b", "p2", take=100))
    check(two["fence"] > one["fence"], "fences rise")
    equal([two["itemsProcessed"], two["first"], two["items"]], [4, 4, list(range(4, 20))])
    for doc in (s.batch_progress("b", one["fence"], 10), s.batch_complete("b", one["fence"]), s.batch("b", "p1", fence=one["fence"]),
                s.batch_progress("b", two["fence"], 5, instance="p1"), s.batch_progress("b", one["fence"], 5, instance="p2")):
        equal(refused(doc), (-32005, "stale_lease", "sealed"))
    ok(s.batch_complete("b", two["fence"], 20, instance="p2"))
    equal([(e["instance"], e.get("from"), e["processed"]) for e in s.events("batch.started")],
          [("p1", None, "0"), ("p2", "p1", "4")])


@case("progress keeps the lease; a lease that ended and that nobody took goes on; it never goes back")
def renewal():
    fresh()
    fence = ok(s.batch("b", items=list(range(10)), lease=5000))["fence"]
    for i in range(4):
        s.age(3)
        s.tick()
        equal(ok(s.batch_progress("b", fence, i))["itemsProcessed"], i)
        equal(refused(s.batch("b", "p2")), (-32005, "state", "held"))
    s.age(60)
    equal(ok(s.batch_progress("b", fence, 5))["itemsProcessed"], 5)
    equal(ok(s.batch_progress("b", fence, 2))["itemsProcessed"], 5, "a late repeat changes nothing")
    equal(refused(unchanged(lambda: s.batch_progress("b", fence, 11))), (-32005, "state", "sealed"))
    equal(refused(unchanged(lambda: s.batch_complete("b", fence, 9))), (-32005, "state", "sealed"))
    equal(refused(unchanged(lambda: s.batch_complete("b", fence))), (-32005, "state", "sealed"))


@case("the same instance that starts again gets a new fence at once, and what it had not finished")
def restart():
    fresh()
    one = ok(s.batch("b", items=list(range(6)), take=6))
    ok(s.batch_progress("b", one["fence"], 2))
    two = ok(s.batch("b", items=list(range(6)), take=6))
    check(two["fence"] > one["fence"], "a new fence")
    equal([two["first"], two["items"], two["itemsTotal"]], [2, [2, 3, 4, 5], 6])
    equal(refused(s.batch_progress("b", one["fence"], 3)), (-32005, "stale_lease", "sealed"))


@case("release: the next one has it at once")
def release():
    fresh()
    one = ok(s.batch("b", items=[1, 2, 3], take=2))
    gone = ok(s.batch_progress("b", one["fence"], 1, release=1, take=5))
    equal([gone["processorId"], gone["leaseUntil"], gone["items"]], [None, None, []])
    equal(ok(s.batch("b", "p2"))["items"], [2, 3])
    equal(refused(s.batch_progress("b", one["fence"], 2)), (-32005, "stale_lease", "sealed"))


@case("more: items in pages; known ones are skipped, gaps and items after the last are refused")
def pages():
    fresh()
    fence = ok(s.batch("b", items=[0, 1], more=1))["fence"]
    equal(refused(s.batch_complete("b", fence, 2)), (-32005, "state", "open"))
    equal(ok(s.batch("b", fence=fence, items=[1, 2, 3], first=1, more=1))["items"], [2, 3])
    equal(refused(unchanged(lambda: s.batch("b", fence=fence, items=[9], first=5))), (-32005, "state", "open"))
    equal(ok(s.batch("b", fence=fence))["status"], "open", "no items and nothing said: as it was")
    equal(ok(s.batch("b", fence=fence, items=[4], first=4))["status"], "sealed")
    equal(refused(unchanged(lambda: s.batch("b", fence=fence, items=[5], first=5))), (-32005, "state", "sealed"))
    equal(ok(s.batch("b", fence=fence, items=[0, 1, 2, 3, 4]))["itemsTotal"], 5)
    ok(s.batch_complete("b", fence, 5))
    fence = ok(s.batch("empty", more=1))["fence"]
    equal(ok(s.batch("empty", fence=fence, more=0))["status"], "sealed")
    equal(ok(s.batch_complete("empty", fence))["itemsTotal"], 0)


@case("what waits is bounded by number and bytes; finished items make room")
def bounded():
    fresh()
    fence, n = ok(s.batch("b", more=1, take=0))["fence"], 0
    for _ in range(10):
        ok(s.batch("b", fence=fence, items=[0] * 100, first=n, more=1, take=100))
        n += 100
    equal(unchanged(lambda: s.batch("b", fence=fence, items=[0], first=n, more=1))["error"]["code"], -32007)
    ok(s.batch_progress("b", fence, 1000))
    equal(int(s.redis.hash(s.key("batch:b"))["sz"]), 0)
    ok(s.batch("b", fence=fence, items=[0], first=n, more=1))
    big = "x" * 250000
    fence, n = ok(s.batch("c", more=1, take=0))["fence"], 0
    for _ in range(16):
        ok(s.batch("c", fence=fence, items=[big], first=n, more=1, take=0))
        n += 1
    equal(s.batch("c", fence=fence, items=[big], first=n, more=1)["error"]["code"], -32007)
    got = ok(s.batch_progress("c", fence, take=100))
    equal(len(got["items"]), 2, "a reply has at most 1 MiB")


@case("ten batches side by side, each with its own processor")
def parallel():
    fresh()
    fences = {f"b{i}": ok(s.batch(f"b{i}", f"p{i}", items=[i] * 3))["fence"] for i in range(10)}
    equal(len(set(fences.values())), 10)
    for i, (name, fence) in enumerate(fences.items()):
        ok(s.batch_complete(name, fence, 3, instance=f"p{i}"))
    equal(s.redis.call("ZCARD", s.key("batch:current")), 10)


@case("forgotten 300 s after the last progress, in effective time, with an event when it was not worked off")
def forgotten():
    fresh()
    fence = ok(s.batch("b", items=[1, 2]))["fence"]
    s.age(299)
    s.tick()
    ok(s.batch_progress("b", fence, 1))
    s.age(299)
    s.tick()
    equal(ok(s.batch_get("b"))["itemsProcessed"], 1)
    done = ok(s.batch("done", items=[1]))
    ok(s.batch_complete("done", done["fence"], 1))
    s.age(2)
    equal(s.batch_get("b")["error"]["code"], -32004, "before the tick too")
    s.tick()
    equal([(e["batch"], e["processed"], e["total"]) for e in s.events("batch.expired")], [("b", "1", "2")])
    equal(refused(s.batch("b", fence=fence)), (-32004, "expired", None))
    equal(refused(s.batch_progress("b", fence)), (-32004, "unknown", None))
    s.age(300)
    s.tick()
    equal([s.redis.call("EXISTS", s.key(k)) for k in ("batch:b", "batch:done", "batch:current")], [0, 0, 0])
    equal(len(s.events("batch.expired")), 1)
    equal(ok(s.batch("b", "p2", items=[7]))["items"], [7], "the name is free")


@case("get tells how far it is; an unknown batch without items is not opened")
def get():
    fresh()
    equal(refused(unchanged(lambda: s.batch("b"))), (-32004, "unknown", None))
    fence = ok(s.batch("b", items=[1, 2, 3], take=2, lease=5000))["fence"]
    ok(s.batch_progress("b", fence, 1))
    got = ok(s.batch_get("b"))
    equal([got["handedOut"], got["itemsProcessed"], got["isHeld"], "fence" in got], [2, 1, True, False])
    s.age(6)
    equal(ok(s.batch_get("b"))["isHeld"], False)


@case("keys of wrong types: an internal error before anything is written")
def wrong_types():
    for key in ("batch:b", "batch:current"):
        fresh()
        s.redis.call("LPUSH", s.key(key), "damaged")
        equal(unchanged(lambda: s.batch("b", items=[1]))["error"]["code"], -32603)
        equal(s.tick()["state"], "ok")


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()

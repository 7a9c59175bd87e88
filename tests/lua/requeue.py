#!/usr/bin/env python3
"""requeue.py: what a dead worker had in hand goes back on the stream (lua/requeue.lua)."""

from cbtest import *
from scripts import Request, Scripts

TOKEN = "token-A-0123456789"
s = None


def fresh():
    s.redis.call("FLUSHALL")


def entries():
    rows = s.redis.call("XRANGE", s.stream(), "-", "+")
    return [(i.decode(), pairs(f)) for i, f in rows]


def dead():
    return [pairs(f) for _, f in s.redis.call("XRANGE", s.key("stream:dead"), "-", "+")]


def consumers():
    return {pairs(c)["name"] for c in s.redis.call("XINFO", "CONSUMERS", s.stream(), "workers")}


def pending():
    return s.redis.call("XPENDING", s.stream(), "workers")[0]


def redeliver(consumer="c1"):
    """Reads everything new; entry ids."""
    got = s.redis.call("XREADGROUP", "GROUP", "workers", consumer, "COUNT", 1000, "STREAMS", s.stream(), ">")
    return [i.decode() for i, _ in got[0][1]] if got else []


@case("everything pending goes back with its fields, origin and count; the consumer goes")
def all_back():
    fresh()
    ids = s.deliver(5, fields=("method", "task.create", "params", '{"a":[]}', "reply", TOKEN, "odd\r\n", "\x00\xff"))
    equal(s.requeue(), [5, 0, 0])
    found = entries()
    equal(len(found), 5)
    for (new, f), old in zip(found, ids):
        check(new != old, "a new entry")
        equal([f["origin"].decode(), f["redelivered"]], [old, b"1"])
        equal([f["method"], f["params"], f["odd\r\n"]], [b"task.create", b'{"a":[]}', b"\x00\xc3\xbf"])
        check("crashes" not in f and "crash" not in f, f)
    equal(pending(), 0)
    equal(consumers(), set())
    equal(len(redeliver()), 5)


@case("nothing pending, no such consumer, no group, no stream")
def nothing():
    fresh()
    equal(s.requeue(), [0, 0, 0])
    s.group()
    equal(s.requeue("nobody"), [0, 0, 0])
    s.deliver(2, consumer="other")
    equal(s.requeue("c1"), [0, 0, 0])
    equal(consumers(), {b"other"})
    equal(pending(), 2)
    equal(s.redis.call("EXISTS", s.key("stream:dead")), 0)


@case("only the named consumer's entries move")
def only_its_own():
    fresh()
    s.deliver(3, consumer="a")
    kept = s.deliver(2, consumer="b")
    equal(s.requeue("a"), [3, 0, 0])
    rows = s.redis.call("XPENDING", s.stream(), "workers", "-", "+", 100)
    equal([r[0].decode() for r in rows], kept)
    equal({r[1] for r in rows}, {b"b"})


@case("the entry that its worker was handling is charged, with the signal; the innocent are not")
def charged():
    fresh()
    ids = s.deliver(64)
    equal(s.requeue(crashed=ids[7], how="signal 11"), [64, 0, 0])
    for new, f in entries():
        if f["origin"].decode() == ids[7]:
            equal([f["crashes"], f["crash"], f["redelivered"]], [b"1", b"signal 11", b"1"])
        else:
            check("crashes" not in f, f)


@case("an entry name that is not pending charges nobody")
def charged_unknown():
    fresh()
    s.deliver(2)
    equal(s.requeue(crashed="999-9"), [2, 0, 0])
    check(all("crashes" not in f for _, f in entries()), "nobody is charged")


@case("three crashes: one dead letter with reason and signal, an internal error for the caller, 63 live")
def poison():
    fresh()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    ids = s.deliver(64, fields=("id", "r", "method", "task.create", "reply", TOKEN, "trace", trace))
    first = ids[5]
    for n in (1, 2, 3):
        current = [i for i, f in entries() if (f.get("origin", i.encode()).decode()) == first][0]
        moved, lost, rest = s.requeue(crashed=current, how=f"signal {n}")
        equal([lost, rest], [1 if n == 3 else 0, 0])
        equal(s.given_up, [[current, "r", "task.create", trace, "crashed: signal 3"]] if n == 3 else [])
        redeliver()
    equal(len(entries()), 63)
    letter = dead()[0]
    equal(len(dead()), 1)
    check(b"crashed" in letter["reason"] and b"signal 3" in letter["reason"], letter)
    equal(letter["origin"].decode(), first)
    equal([letter["crashes"], letter["redelivered"], letter["method"]], [b"3", b"3", b"task.create"])
    equal(letter["stream"].decode(), s.stream())
    docs = s.replies(TOKEN)
    equal([(d["id"], d["error"]["code"]) for d in docs], [("r", -32603)])


@case("ten redeliveries: a dead letter, even without a crash")
def redelivered():
    fresh()
    s.deliver(2, fields=("id", "r", "method", "x", "reply", TOKEN))
    for n in range(1, 11):
        got = s.requeue()
        equal(got, [2, 0, 0] if n < 10 else [0, 2, 0], f"round {n}")
        if n < 10:
            equal(len(redeliver()), 2)
    equal(len(entries()), 0)
    equal([d["reason"] for d in dead()], [b"redelivered too often"] * 2)
    equal(len(s.replies(TOKEN)), 2)


@case("forged counters: text instead of numbers, and values above the limits")
def forged():
    fresh()
    s.deliver(1, fields=("method", "x", "redelivered", "abc", "crashes", "-5", "origin", "1-1"))
    equal(s.requeue(), [1, 0, 0])
    f = entries()[0][1]
    equal([f["origin"], f["redelivered"]], [b"1-1", b"1"])
    fresh()
    s.deliver(1, fields=("method", "x", "redelivered", "99"))
    equal(s.requeue(), [0, 1, 0])
    fresh()
    s.deliver(1, fields=("method", "x", "crashes", "1e9"))
    equal(s.requeue(), [0, 1, 0])


@case("the limit: at most so many per call, the rest is said, the consumer stays until the last")
def limit():
    fresh()
    s.deliver(250)
    equal(s.requeue(), [100, 0, 150])
    equal(consumers(), {b"c1"})
    equal(s.requeue(), [100, 0, 50])
    equal(s.requeue(), [50, 0, 0])
    equal(consumers(), set())
    equal(len(entries()), 250)
    fresh()
    s.deliver(100)
    equal(s.requeue(), [100, 0, 0])
    equal(consumers(), set())


@case("pending entries whose text was deleted are forgotten")
def deleted():
    fresh()
    ids = s.deliver(3)
    s.redis.call("XDEL", s.stream(), ids[1])
    equal(s.requeue(), [2, 0, 0])
    equal(pending(), 0)


@case("order among the handed on is kept")
def order():
    fresh()
    ids = s.deliver(20)
    s.requeue()
    equal([f["origin"].decode() for _, f in entries()], ids)


@case("a commit after the hand-on changes nothing and is counted")
def late_commit():
    fresh()
    ids = s.deliver(3)
    s.requeue()
    late = [Request(*s.create_args("zombie"), entry=i, reply=TOKEN) for i in ids]
    equal(s.commit("task_create", late, [1000]).codes, [-1, -1, -1])
    equal(s.redis.call("EXISTS", s.key("queue:tasks:pending")), 0)
    equal(s.redis.call("GET", s.key("duplicates:prevented")), b"3")
    equal(s.replies(TOKEN), [])
    again = [Request(*s.create_args("alive"), entry=i, reply=TOKEN) for i in redeliver("c2")]
    equal(s.commit("task_create", again, [1000]).codes, [0, 0, 0])


@case("dead letters to callers with odd tokens and ids: no other key is touched, the reply is JSON")
def odd_callers():
    for token_, rid, answered in (("short", "r", False), ("x" * 65, "r", False), ("a:b" * 6, "r", False),
                                  (TOKEN, 'q"\\', True), (TOKEN, "é", True), (TOKEN, "\x01", True), (TOKEN, "x" * 200, True)):
        fresh()
        s.deliver(1, fields=("id", rid, "method", "x", "reply", token_, "crashes", "2"))
        ids = [i for i, _ in entries()]
        equal(s.requeue(crashed=ids[0]), [0, 1, 0], f"{token_!r} {rid!r}")
        lists = s.redis.scan(s.key("reply:*"))
        equal(len(lists), 1 if answered else 0, f"{token_!r}")
        if answered:
            doc = s.replies(token_)[0]
            equal(doc["error"]["code"], -32603)
            check(doc["id"] in (rid, None), f"id {doc['id']!r} for {rid!r}")


@case("a reply list of a wrong type does not stop the hand-on")
def reply_wrongtype():
    fresh()
    s.redis.call("SET", s.key(f"reply:{TOKEN}"), "x")
    s.deliver(3, fields=("id", "r", "method", "x", "reply", TOKEN, "redelivered", "50"))
    equal(s.requeue(), [0, 3, 0])
    equal(len(dead()), 3)


@case("dead letters are capped")
def cap():
    fresh()
    for _ in range(6):
        s.deliver(100, fields=("method", "x", "redelivered", "50"))
        s.requeue(dead_entries=100)
    check(s.redis.call("XLEN", s.key("stream:dead")) <= 300, s.redis.call("XLEN", s.key("stream:dead")))


@case("an entry with thousands of fields is handed on or dead, never stuck")
def wide():
    fresh()
    flat = [x for i in range(6000) for x in (f"f{i}", "v")]
    s.deliver(1, fields=("method", "x", *flat))
    s.deliver(2)
    moved, lost, rest = s.requeue()
    equal([moved + lost, rest], [3, 0])
    equal(pending(), 0)
    equal(len(entries()) + len(dead()), 3)


@case("a stream of a wrong type")
def wrongtype():
    fresh()
    s.redis.call("SET", s.stream(), "x")
    try:
        equal(s.requeue(), [0, 0, 0])
    except RespError as problem:
        check("WRONGTYPE" in problem.text, problem.text)
    equal(s.redis.call("GET", s.stream()), b"x")



@case("when it is known who is to blame, the others are not charged: they outlive any number of bad ones")
def neighbours():
    fresh()
    s.deliver(1)
    for n in range(25):
        s.deliver(1, fields=("method", "bad", "n", n))
        bad = redeliver() or [e for e, f in entries() if f["method"] == b"bad"]
        equal(s.requeue(crashed=bad[-1])[:2], [2, 0])
        redeliver()
        bad = [e for e, f in entries() if f["method"] == b"bad"]
        s.redis.call("XACK", s.stream(), "workers", *bad)
        s.redis.call("XDEL", s.stream(), *bad)
    equal([f["redelivered"] for _, f in entries()], [b"1"])
    equal(s.requeue(crashed="*"), [1, 0, 0])
    equal([f["redelivered"] for _, f in entries()], [b"1"])


@case("what cannot be added again is not lost; a dead stream of a wrong type keeps nobody from the answer")
def nothing_lost():
    fresh()
    ids = s.deliver(2, fields=("method", "x", "id", "r", "reply", TOKEN, "crashes", "2"))
    s.redis.call("SET", s.key("stream:dead"), "x")
    equal(s.requeue(crashed=ids[0]), [1, 1, 0])
    equal(len(s.replies(TOKEN)), 1)
    fresh()
    s.deliver(2)
    s.redis.call("XADD", s.stream(), "18446744073709551615-18446744073709551615", "last", "id")
    try:
        fail(f"handed on: {s.requeue()}")
    except RespError as problem:
        check("exhausted" in problem.text, problem.text)
    equal(pending(), 2)


@case("forged counters do not make a request immortal, and are whole numbers afterwards")
def forged_more():
    for value in ("-1000000", "nan", "-inf", "0x-5", "0.5"):
        fresh()
        s.deliver(1, fields=("method", "x", "redelivered", value, "origin", "soon"))
        first = entries()[0][0]
        equal(s.requeue(), [1, 0, 0])
        f = entries()[0][1]
        equal([f["redelivered"], f["origin"].decode()], [b"1", first], value)


@case("a value of a dead letter is cut at 256 KiB")
def dead_bytes():
    fresh()
    s.deliver(1, fields=("method", "x", "redelivered", "50", "params", "p" * 1000000))
    equal(s.requeue(), [0, 1, 0])
    equal(len(dead()[0]["params"]), 262144)


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()

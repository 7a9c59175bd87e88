#!/usr/bin/env python3
"""envelope.py: the commit envelope (lua/include/envelope.lua, commit.lua): one request, one atomic commit."""

from cbtest import *
from scripts import Request, Scripts

A, B = "token-A-0123456789", "token-B-0123456789"
s = None


def fresh():
    s.redis.call("FLUSHALL")


def create(n=1, **kw):
    return [Request(*s.create_args(f"t{i}"), rid=f"r{i}", **kw) for i in range(n)]


@case("a group is acked, deleted, answered in order and counted once")
def group():
    fresh()
    answer = s.commit("task_create", create(64, reply=A), [1000])
    equal(answer.codes, [0] * 64)
    equal(answer.errors, [])
    equal(answer.length, 0)
    equal(s.redis.call("XPENDING", s.stream(), "workers")[0], 0)
    ttl = s.redis.call("PTTL", s.key(f"reply:{A}"))
    check(59000 < ttl <= 60000, f"TTL of the reply list: {ttl}")
    docs = s.replies(A)
    equal([d["id"] for d in docs], [f"r{i}" for i in range(64)])
    ids = [d["result"]["id"] for d in docs]
    equal(len(set(ids)), 64)
    equal(ids, sorted(ids), "ids are given in the order of commit")
    equal(s.redis.call("ZRANGE", s.key("queue:tasks:pending"), 0, -1), [i.encode() for i in ids])


@case("an entry that is not pending changes nothing and is counted")
def duplicates():
    fresh()
    first = s.commit("task_create", create(3, reply=A), [1000])
    equal(first.codes, [0, 0, 0])
    entries = s.deliver(3)
    again = [Request(*s.create_args("x"), entry=e, reply=A) for e in entries]
    # Somebody else commits the second one.
    other = s.commit("task_create", [Request(*s.create_args("other"), entry=entries[1], reply=B)], [1000])
    equal(other.codes, [0])
    before = s.redis.call("ZCARD", s.key("queue:tasks:pending"))
    s.replies(A)
    answer = s.commit("task_create", again, [1000])
    equal(answer.codes, [0, -1, 0])
    equal(s.redis.call("GET", s.key("duplicates:prevented")), b"1")
    equal(s.redis.call("ZCARD", s.key("queue:tasks:pending")), before + 2)
    equal(len(s.replies(A)), 2)
    equal(answer.length, 0)
    answer = s.commit("task_create", again, [1000], deliver=False)
    equal(answer.codes, [-1, -1, -1])
    equal(s.redis.call("GET", s.key("duplicates:prevented")), b"4")
    equal(s.replies(A), [])


@case("entries of a group that were handed on meanwhile are somebody else's; the rest is committed")
def handed_on():
    fresh()
    entries = s.deliver(5)
    equal(s.requeue(limit=2)[0], 2)  # the two oldest
    answer = s.commit("task_create", [Request(*s.create_args("x"), rid=str(i), entry=e, reply=A)
                                      for i, e in enumerate(entries)], [1000])
    equal(answer.codes, [-1, -1, 0, 0, 0])
    equal([d["id"] for d in s.replies(A)], ["2", "3", "4"])
    equal(s.redis.call("ZCARD", s.key("queue:tasks:pending")), 3)
    equal(s.redis.call("GET", s.key("duplicates:prevented")), b"2")
    equal(answer.length, 2)
    # Handed on to another worker, they have their effect there.
    taken = s.redis.call("XREADGROUP", "GROUP", "workers", "c2", "STREAMS", s.stream(), ">")[0][1]
    answer = s.commit("task_create", [Request(*s.create_args("x"), entry=e.decode()) for e, _ in taken], [1000])
    equal([answer.codes, answer.length], [[0, 0], 0])
    equal(s.redis.call("ZCARD", s.key("queue:tasks:pending")), 5)


@case("an entry that somebody acked by hand and left in the stream was committed by nobody")
def acked_by_hand():
    fresh()
    entries = s.deliver(3)
    s.redis.call("XACK", s.stream(), "workers", entries[1])
    group_ = [Request(*s.create_args("x"), entry=e, reply=A) for e in entries]
    answer = s.commit("task_create", group_, [1000])
    equal([answer.codes, answer.length], [[0, 0, 0], 0])
    equal(s.commit("task_create", group_, [1000], deliver=False).codes, [-1, -1, -1])
    equal(s.redis.call("ZCARD", s.key("queue:tasks:pending")), 3)
    # A group of which nothing is pending changes nothing.
    entries = s.deliver(2)
    s.redis.call("XACK", s.stream(), "workers", *entries)
    answer = s.commit("task_create", [Request(*s.create_args("x"), entry=e, reply=A) for e in entries], [1000])
    equal([answer.codes, answer.length], [[-1, -1], 2])
    s.replies(A)


@case("the same entry twice in one group: one effect")
def twice_in_group():
    fresh()
    entry = s.deliver(1)[0]
    answer = s.commit("task_create", [Request(*s.create_args("x"), entry=entry, reply=A) for _ in range(2)], [1000])
    equal(answer.codes, [0, -1])
    equal(s.redis.call("ZCARD", s.key("queue:tasks:pending")), 1)


@case("an entry that never existed, and a group that is not there")
def unknown_entries():
    fresh()
    s.group()
    answer = s.commit("task_create", [Request(*s.create_args("x"), entry="1-1", reply=A)], [1000], deliver=False)
    equal(answer.codes, [-1])
    s.redis.call("FLUSHALL")
    answer = s.commit("task_create", [Request(*s.create_args("x"), entry="1-1", reply=A)], [1000], deliver=False)
    equal(answer.codes, [-1])
    equal(s.redis.call("EXISTS", s.key("queue:tasks:pending")), 0)


@case("an error inside one operation does not touch the others")
def error_guard():
    fresh()
    s.redis.call("SET", s.key("queue:bad:pending"), "not a zset")
    group_ = [Request(*s.create_args("ok1"), rid="1", reply=A),
              Request(*s.create_args("bad", queue="bad"), rid="2", reply=A),
              Request(*s.create_args("ok2"), rid="3", reply=B),
              Request(*s.create_args("bad too", queue="bad"), rid="4", reply=B),
              Request(*s.create_args("ok3"), rid="5", reply=A)]
    answer = s.commit("task_create", group_, [1000])
    equal(answer.codes, [0, -32603, 0, -32603, 0])
    equal(len(answer.errors), 2)
    equal(s.redis.call("XPENDING", s.stream(), "workers")[0], 0)
    equal(answer.length, 0)
    a, b = s.replies(A), s.replies(B)
    equal([d["id"] for d in a], ["1", "2", "5"])
    equal(a[1]["error"], {"code": -32603, "message": "internal error", "data": {}})
    equal([d["id"] for d in b], ["3", "4"])
    equal(s.redis.call("ZCARD", s.key("queue:tasks:pending")), 3)
    equal(len(s.redis.scan(s.key("task:*"))), 3)


@case("a reply list of a wrong type loses that reply only")
def reply_wrongtype():
    fresh()
    s.redis.call("SET", s.key(f"reply:{A}"), "x")
    group_ = [Request(*s.create_args("1"), rid="1", reply=A), Request(*s.create_args("2"), rid="2", reply=B)]
    answer = s.commit("task_create", group_, [1000])
    equal(answer.codes, [0, 0])
    check(any("reply list" in e for e in answer.errors), answer.errors)
    equal([d["id"] for d in s.replies(B)], ["2"])
    equal(s.redis.call("GET", s.key(f"reply:{A}")), b"x")
    equal(s.redis.call("PTTL", s.key(f"reply:{A}")), -1)
    equal(s.redis.call("ZCARD", s.key("queue:tasks:pending")), 2)


@case("notifications have their effect and no reply")
def notification():
    fresh()
    answer = s.commit("task_create", create(2), [1000])
    equal(answer.codes, [0, 0])
    equal(s.redis.scan(s.key("reply:*")), set())
    equal(s.redis.call("ZCARD", s.key("queue:tasks:pending")), 2)


@case("a reply list that nobody reads is capped")
def reply_cap():
    fresh()
    s.redis.call("RPUSH", s.key(f"reply:{A}"), *["x"] * 5000)
    s.redis.call("RPUSH", s.key(f"reply:{A}"), *["x"] * 5000)
    s.commit("task_create", create(5, reply=A), [1000])
    equal(s.redis.call("LLEN", s.key(f"reply:{A}")), 10000)
    check(b'"id":"r4"' in s.redis.call("LINDEX", s.key(f"reply:{A}"), -1), "the newest is kept")


@case("a reply list that nobody reads is capped by its bytes, too")
def reply_bytes():
    fresh()
    t = s.create("x", payload='"' + "p" * 500000 + '"')["result"]["id"]
    for _ in range(6):
        answer = s.commit("task_get", [Request(t, keys=[s.key(f"task:{t}")], reply=A) for _ in range(40)])
        equal([answer.codes, answer.errors], [[0] * 40, []])
    used = s.redis.call("MEMORY", "USAGE", s.key(f"reply:{A}"))
    check(used < 70 * 1048576, f"{used} bytes")
    check(s.redis.call("LLEN", s.key(f"reply:{A}")) >= 100, "the newest are kept")
    s.replies(A)


@case("deadline: refused behind it, done before it, and nothing is stored")
def deadline():
    fresh()
    now = s.wall()
    idem = "idem:x"
    doc = s.ask("task_create", *s.create_args("late"), op_args=[1000], deadline=now - 1, params_hash="h" * 8, idem=idem)
    equal(doc["error"]["code"], -32006)
    equal(s.kept(idem), None)
    equal(s.redis.call("EXISTS", s.key("queue:tasks:pending")), 0)
    doc = s.ask("task_create", *s.create_args("in time"), op_args=[1000], deadline=now + 60000, params_hash="h" * 8,
                idem=idem)
    check("result" in doc, doc)
    # Replay comes before the deadline: an outcome that exists is given.
    again = s.ask("task_create", *s.create_args("in time"), op_args=[1000], deadline=now - 1, params_hash="h" * 8,
                  idem=idem)
    equal(again["result"], doc["result"])


@case("idempotency: same key and params replays, other params are refused, refusals are not stored")
def idempotency():
    fresh()
    idem = "idem:one"
    kw = {"op_args": [1000], "params_hash": "a" * 16, "idem": idem}
    first = s.ask("task_create", *s.create_args("one"), **kw)
    again = s.ask("task_create", *s.create_args("one"), rid="other-id", **kw)
    equal(again["result"], first["result"])
    equal(again["id"], "other-id")
    equal(s.redis.call("ZCARD", s.key("queue:tasks:pending")), 1)
    other = s.ask("task_create", *s.create_args("two"), **{**kw, "params_hash": "b" * 16})
    equal(other["error"]["code"], -32602)
    equal(set(other["error"]["data"]), {"path", "expected", "got"})
    equal(s.ask("task_create", *s.create_args("one"), **kw)["result"], first["result"])
    ttl = s.redis.call("PTTL", s.key("idem:1"))
    check(1850000 < ttl <= 1860000, f"TTL {ttl}")  # a generation to be written to, one to be read, a minute
    # A refusal leaves no trace: the next try may succeed.
    idem = "idem:two"
    kw = {"params_hash": "a" * 16, "idem": idem}
    full = s.ask("task_create", *s.create_args("full"), op_args=[1], **kw)
    equal(full["error"]["code"], -32007)
    equal(s.kept(idem), None)
    check("result" in s.ask("task_create", *s.create_args("full"), op_args=[1000], **kw), "the second try")


@case("two requests with one idempotency key in one group: one effect, one outcome")
def idem_in_group():
    fresh()
    idem = "idem:g"
    group_ = [Request(*s.create_args("g"), rid=str(i), reply=A, params_hash="c" * 16, idem=idem) for i in range(3)]
    group_.append(Request(*s.create_args("h"), rid="3", reply=A, params_hash="d" * 16, idem=idem))
    answer = s.commit("task_create", group_, [1000])
    equal(answer.codes, [0, 1, 1, -32602])
    docs = s.replies(A)
    equal(docs[0]["result"], docs[1]["result"])
    equal(docs[0]["result"], docs[2]["result"])
    equal(s.redis.call("ZCARD", s.key("queue:tasks:pending")), 1)


@case("a generation of a wrong type holds no outcomes: it goes, and nothing is done twice for that")
def idem_wrongtype():
    fresh()
    s.ask("task_create", *s.create_args("first"), op_args=[1000], params_hash="a", idem="first")
    s.redis.call("DEL", s.key("idem:1"))
    s.redis.call("SADD", s.key("idem:1"), "x")
    group_ = [Request(*s.create_args("g"), rid="1", reply=A, params_hash="c", idem="w"),
              Request(*s.create_args("g"), rid="2", reply=A)]
    answer = s.commit("task_create", group_, [1000])
    equal([answer.codes, answer.errors], [[0, 0], []])
    answer = s.commit("task_create", [Request(*s.create_args("g"), params_hash="c", idem="w")], [1000])
    equal(answer.codes, [1])
    equal(s.redis.call("ZCARD", s.key("queue:tasks:pending")), 3)
    # A damaged record counts as absent; a damaged cb:meta lets nobody have an effect who could have had it before.
    s.redis.call("HSET", s.key("idem:1"), "w", "damaged")
    equal(s.commit("task_create", [Request(*s.create_args("g"), params_hash="c", idem="w")], [1000]).codes, [0])
    s.redis.call("HSET", s.key("meta"), "idem_gen", "damaged")
    group_ = [Request(*s.create_args("g"), params_hash="c", idem="w"), Request(*s.create_args("g"))]
    equal(s.commit("task_create", group_, [1000]).codes, [-32603, 0])


@case("hashes and stored outcomes that contain the separators are kept apart")
def idem_separators():
    fresh()
    for i, digest in enumerate(("=" * 16, "~" * 16, "a=b~c" + "d" * 11)):
        idem = f"idem:s{i}"
        kw = {"op_args": [1000], "params_hash": digest, "idem": idem}
        first = s.ask("task_create", *s.create_args("=~"), **kw)
        equal(s.ask("task_create", *s.create_args("=~"), **kw)["result"], first["result"])
        equal(s.ask("task_create", *s.create_args("=~"), **{**kw, "params_hash": "x" * 16})["error"]["code"], -32602)


def began(ms_ago):
    """The current generation, as if it had begun so long ago."""
    s.redis.call("HSET", s.key("meta"), "idem_at", s.wall() - ms_ago)


def one(scope):
    return s.commit("task_create", [Request(*s.create_args("x"), params_hash="h", idem=scope)], [100000]).codes[0]


def generations():
    return sorted(k.decode() for k in s.redis.scan(s.key("idem:*")))


@case("outcomes live through two generations: the current one, and the one before it")
def idem_generations():
    fresh()
    equal([one("a"), one("a")], [0, 1])
    began(899000)
    equal([one("b"), generations()], [0, ["cb:idem:1"]])
    began(901000)
    equal([one("a"), one("b"), generations()], [1, 1, ["cb:idem:1"]])  # nothing to be written, no new generation
    equal([one("c"), one("a"), generations()], [0, 1, ["cb:idem:1", "cb:idem:2"]])
    began(901000)
    equal([one("d"), one("c"), generations()], [0, 1, ["cb:idem:2", "cb:idem:3"]])
    equal(one("a"), 0)
    # By its own age, too, an outcome ends.
    record = s.kept("d")
    s.redis.call("HSET", s.key("idem:3"), "d", record[:11] + str(s.wall() - 901000).encode() + record[24:])
    equal([one("d"), one("d")], [0, 1])
    # Back to a new clock: what is kept stays.
    began(-3600000)
    equal([one("d"), one("e"), one("d"), one("e")], [1, 0, 1, 1])


@case("a generation whose hash has a wrong type is made anew; the entries of its requests do not stay behind")
def idem_wrong_type():
    for n in (1, 2):
        fresh()
        if n == 2:
            s.ask("task_create", *s.create_args("a"), op_args=[1000], params_hash="a" * 16, idem="idem:a")
            s.redis.call("HSET", s.key("meta"), "idem_at", 1)
        s.redis.call("SET", s.key(f"idem:{n}"), "x")
        kw = {"op_args": [1000], "params_hash": "b" * 16, "idem": "idem:b"}
        first = s.ask("task_create", *s.create_args("b"), **kw)
        equal([first["internal"], s.redis.call("XLEN", s.stream())], [[], 0], n)
        equal(s.redis.text("HGET", s.key("meta"), "idem_gen"), str(n))
        equal(s.ask("task_create", *s.create_args("b"), **kw)["result"], first["result"], n)
        if n == 2:
            check(s.kept("idem:a"), "the generation before it is still there")


@case("an outcome that cannot be kept: its entry is deleted all the same, so that nothing is done twice")
def idem_unwritable():
    fresh()
    s.redis.call("HSET", s.key("meta"), "idem_bytes", "1", "idem_gen", "1", "idem_at", s.wall())
    request = Request(*s.create_args("x"), params_hash="a" * 16, idem="idem:a")
    s.redis.call("HSET", s.key("idem:1"), "other", "x")
    s.redis.call("ACL", "SETUSER", "default", "-hset", "(+hset", "%RW~cb:task:*", "%RW~cb:meta)")
    try:
        s.commit("task_create", [request], [1000])
    finally:
        s.redis.call("ACL", "SETUSER", "default", "clearselectors", "+hset")
    equal(s.redis.call("XLEN", s.stream()), 0)


@case("a flood of idempotency keys ends a generation early, so that bytes stay capped, but not before a minute")
def idem_cap():
    fresh()
    s.options["idem_cap"] = 40000
    try:
        def flood(g):
            group_ = [Request(*s.claim_args(worker="w" * 60), params_hash="h", idem=f"{g}-{i}") for i in range(64)]
            for _ in range(64):
                s.create("x")
            s.commit("task_claim", group_, [100000])
            return int(s.redis.hash(s.key("meta"))["idem_bytes"])

        for g in range(3):
            last = flood(g)
        check(last > 20000, last)
        equal(generations(), ["cb:idem:1"])
        began(61000)
        check(flood(3) < last, "a new generation")
        equal(generations(), ["cb:idem:1", "cb:idem:2"])
        check(s.kept("0-0"), "the one before is still read")
        used = sum(s.redis.call("MEMORY", "USAGE", s.key(f"idem:{n}"), "SAMPLES", 0) for n in (1, 2))
        said = last + int(s.redis.hash(s.key("meta"))["idem_bytes"])
        check(0.5 < used / said < 2, f"{used} bytes, said {said}")
    finally:
        s.options["idem_cap"] = 268435456


@case("claims replay with the tokens of what is still held")
def idem_claim():
    fresh()
    for i in range(4):
        s.create(f"t{i}")
    kw = {"op_args": [30000, 30000], "params_hash": "c" * 16, "idem": "idem:claim"}
    first = s.ask("task_claim", *s.claim_args(count=3), **kw)["result"]
    again = s.ask("task_claim", *s.claim_args(count=3), **kw)["result"]
    equal([(t["id"], t["lease_token"]) for t in again["tasks"]], [(t["id"], t["lease_token"]) for t in first["tasks"]])
    equal(s.redis.call("ZCARD", s.key("leases")), 3)
    s.complete(first["tasks"][1]["id"], first["tasks"][1]["lease_token"])
    again = s.ask("task_claim", *s.claim_args(count=3), **kw)["result"]
    equal([t["id"] for t in again["tasks"]], [first["tasks"][0]["id"], first["tasks"][2]["id"]])
    for t in again["tasks"]:
        s.complete(t["id"], t["lease_token"])
    again = s.ask("task_claim", *s.claim_args(count=3), **kw)["result"]
    equal(again, {"claimed": False, "tasks": []})
    equal(s.redis.call("ZCARD", s.key("queue:tasks:pending")), 1)


@case("what changed nothing leaves nothing to repeat: an empty claim, an update of nothing")
def idem_unchanged():
    fresh()
    kw = {"op_args": [30000], "params_hash": "c" * 16, "idem": "idem:empty"}
    equal(s.ask("task_claim", *s.claim_args(), **kw)["result"], {"claimed": False, "tasks": []})
    equal(s.kept(kw["idem"]), None)
    task = s.create("later")["result"]["id"]
    equal(s.ask("task_claim", *s.claim_args(), **kw)["result"]["taskId"], task)
    check(s.kept(kw["idem"]), "kept")
    kw = {"params_hash": "c" * 16, "idem": "idem:update"}
    for name, ask in (("update", s.update), ("reassign", s.reassign)):
        if name == "reassign":
            equal(ask(task)["result"]["assignedTo"], None)  # back to its queue: from then on it is where it is to go
        kw = {"params_hash": "c" * 16, "idem": f"idem:{name}"}
        check("result" in ask(task, **kw), name)
        equal(s.kept(kw["idem"]), None)


@case("a repeated create is told what was created, whatever has become of it; little is kept for that")
def idem_create():
    fresh()
    kw = {"op_args": [1000], "params_hash": "e" * 11, "idem": "idem:create"}
    first = s.ask("task_create", *s.create_args("first", priority=7), **kw)["result"]
    check(len(s.kept(kw["idem"])) <= 44, "little is kept")
    s.update(first["id"], text_='"second"', priority="9")
    equal(s.ask("task_create", *s.create_args("first", priority=7), **kw)["result"], first)
    s.delete(first["id"])
    equal(s.ask("task_create", *s.create_args("first", priority=7), **kw)["result"], first)


@case("a repeated update gets the first reply, whatever has become of the task")
def idem_update():
    fresh()
    task = s.create("x", payload='"' + "p" * 16000 + '"')["result"]["id"]
    kw = {"params_hash": "u" * 11, "idem": "idem:update"}
    first = s.update(task, text_='"one"', **kw)["result"]
    s.update(task, text_='"two"')
    equal(s.update(task, text_='"one"', **kw)["result"], first)
    equal(s.task(task)["text"], b'"two"')
    s.delete(task)
    equal(s.update(task, text_='"one"', **kw)["result"], first)


@case("a completion with next replays both, and claims once")
def idem_complete_next():
    fresh()
    for i in range(3):
        s.create(f"t{i}")
    t = s.claim()["result"]["tasks"][0]
    kw = {"params_hash": "n" * 16, "idem": "idem:cn"}
    first = s.complete(t["id"], t["lease_token"], "w1", "[]", s.claim_args(), **kw)["result"]
    again = s.complete(t["id"], t["lease_token"], "w1", "[]", s.claim_args(), **kw)["result"]
    equal(again["tasks"][0]["lease_token"], first["tasks"][0]["lease_token"])
    equal({k: v for k, v in again.items() if k != "tasks"}, {k: v for k, v in first.items() if k != "tasks"})
    equal(s.redis.call("ZCARD", s.key("leases")), 1)
    equal(s.redis.call("ZCARD", s.key("tasks:completed")), 1)


@case("numbers: ids rise over a flush, over a second, and inside one group")
def numbers():
    fresh()
    ids = [s.create()["result"]["id"] for _ in range(5)]
    s.redis.call("FLUSHALL")
    ids += [s.create()["result"]["id"] for _ in range(5)]
    equal(ids, sorted(set(ids)))
    # A clock behind the last number does not repeat it.
    ahead = int(ids[-1][2:]) + 10**9
    s.redis.call("HSET", s.key("meta"), "last_number", ahead)
    answer = s.commit("task_create", create(3, reply=A), [1000])
    equal(answer.codes, [0, 0, 0])
    got = [int(d["result"]["id"][2:]) for d in s.replies(A)]
    equal(got, [ahead + 1, ahead + 2, ahead + 3])
    equal(int(s.redis.hash(s.key("meta"))["last_number"]), ahead + 3)
    s.redis.call("HDEL", s.key("meta"), "last_number")
    lower = int(s.create()["result"]["id"][2:])
    check(lower < ahead, "without the stored number TIME counts")


@case("events carry actor, session, agent and trace; empty ones are left out")
def event_fields():
    fresh()
    s.commit("task_create", [Request(*s.create_args("x"), actor="me\r\n", session="s", agent="ag", trace="00-ff"),
                             Request(*s.create_args("y"))], [1000])
    first, second = s.events("task.created")
    equal([first["actor"], first["session"], first["agent"], first["trace"]], ["me\r\n", "s", "ag", "00-ff"])
    check(not {"actor", "session", "agent", "trace"} & set(second), second)


@case("refuse: error replies, dead letters with the entry's fields, mixed in one group")
def refuse():
    fresh()
    entries = s.deliver(3, fields=("method", "no.such", "junk", "\r\n$5"))
    group_ = [Request(-32601, "method not found", '{"x":[]}', "", 0, rid="1", reply=A, entry=entries[0]),
              Request(-32600, 'bad "thing"\n', "{}", "unusable", 4, "method", "no.such", "junk", "\r\n$5", rid="2",
                      reply=A, entry=entries[1]),
              Request(-32603, "x", "{}", "no method", 0, rid="3", entry=entries[2])]
    answer = s.commit("refuse", group_, [100, 64 << 20], [s.key("stream:dead")])
    equal(answer.codes, [-32601, -32600, -32603])
    equal(answer.errors, [])
    docs = s.replies(A)
    equal(docs[0]["error"], {"code": -32601, "message": "method not found", "data": {"x": []}})
    equal(docs[1]["error"]["message"], 'bad "thing"\n')
    dead = [pairs(f) for _, f in s.redis.call("XRANGE", s.key("stream:dead"), "-", "+")]
    equal([d["reason"] for d in dead], [b"unusable", b"no method"])
    equal([dead[0]["entry"].decode(), dead[0]["junk"]], [entries[1], b"\r\n$5"])
    equal(answer.length, 0)
    equal(s.events(), [])


@case("refuse: a repeat of what is done gets its outcome, or is refused when only the operation could tell it")
def refuse_repeat():
    fresh()
    keys = {"params_hash": "a" * 16, "idem": "idem:x"}
    refusal = {"args": (-32007, "full", '{"retry_after_ms":1000}', "", 0), "op_args": [10, 64 << 20], "op_keys": [s.key("stream:dead")]}

    def refused():
        return s.ask("refuse", *refusal["args"], op_args=refusal["op_args"], op_keys=refusal["op_keys"], **keys)

    first = s.ask("task_create", *s.create_args("x"), op_args=[1000], **keys)  # kept as a memo
    doc = refused()
    equal([doc["error"]["code"], doc["error"]["data"], doc["internal"]], [-32007, {"retry_after_ms": 1000}, []])
    equal(s.ask("task_create", *s.create_args("x"), op_args=[1000], **keys)["result"], first["result"])
    keys["idem"] = "idem:y"
    task = first["result"]["id"]
    first = s.ask("task_delete", task, "", keys=[s.key(f"task:{task}")], **keys)  # kept as it is
    equal(refused()["result"], first["result"])


@case("refuse: an entry with thousands of fields still becomes a dead letter")
def refuse_wide():
    fresh()
    flat = [x for i in range(6000) for x in (f"f{i}", "v")]
    entries = s.deliver(1, fields=flat)
    answer = s.commit("refuse", [Request(-32600, "too many", "{}", "fields", len(flat), *flat, rid="1", reply=A,
                                         entry=entries[0])], [100, 64 << 20], [s.key("stream:dead")])
    equal(answer.codes, [-32600])
    equal(s.redis.call("XLEN", s.key("stream:dead")), 1)


@case("answer: a result that the worker made goes out verbatim")
def answer_script():
    fresh()
    doc = s.ask("answer", '{"big":9007199254740993,"empty":[]}')
    equal(doc["result"], {"big": 9007199254740993, "empty": []})


@case("finishing scripts work at maxmemory, creating ones are refused before any write")
def oom():
    fresh()
    made = [s.create(f"t{i}")["result"]["id"] for i in range(3)]
    entry = s.deliver(1)[0]
    fin = s.deliver(8)
    s.redis.call("CONFIG", "SET", "maxmemory", "1")
    try:
        try:
            s.commit("task_create", [Request(*s.create_args("x"), entry=entry)], [1000])
            fail("task_create ran at maxmemory")
        except RespError as problem:
            equal(problem.code, "OOM")
        equal(s.redis.call("XPENDING", s.stream(), "workers")[0], 9)
        t = s.commit("task_claim", [Request(*s.claim_args(count=3), entry=fin[0], reply=A)], [30000, 30000])
        equal(t.codes, [4], "a claim that got something")
        tasks = s.replies(A)[0]["result"]["tasks"]
        equal([x["id"] for x in tasks], made)
        k = [s.key(f"task:{x['id']}") for x in tasks]
        keep = [100000, 86400000, 600000, 1 << 40]
        done = s.commit("task_complete", [Request(made[0], tasks[0]["lease_token"], "", "1", entry=fin[1], keys=[k[0]])],
                        [30000, *keep, 30000])
        failed = s.commit("task_fail", [Request(made[1], tasks[1]["lease_token"], '"e"', 1, 5, 0, "", entry=fin[2], keys=[k[1]])],
                          [1000, 3600000, *keep])
        back = s.commit("task_release", [Request(made[2], tasks[2]["lease_token"], entry=fin[3], keys=[k[2]])])
        equal([done.codes, failed.codes, back.codes], [[0], [0], [0]])
        equal(s.eval("submit", [s.stream()], ["method", "task.claim"])[-2:], b"-0")
        refused = s.commit("refuse", [Request(-32007, "full", "{}", "", 0, entry=entry, reply=A)], [10, 64 << 20],
                           [s.key("stream:dead")])
        equal(refused.codes, [-32007])
        check(s.tick()["state"] == "ok", "tick")
        equal(s.requeue()[1:], [0, 0])
    finally:
        s.redis.call("CONFIG", "SET", "maxmemory", "0")


@case("the largest group: 64 requests with 1 MiB of payloads")
def largest():
    fresh()
    payload = '"' + "p" * 16000 + '"'
    answer = s.commit("task_create", [Request(*s.create_args("x", payload=payload), reply=A) for _ in range(64)], [1000])
    equal(answer.codes, [0] * 64)
    batch = []
    for i in range(100):
        batch += s.create_args(f"b{i}", payload='"' + "q" * 10000 + '"')
    doc = s.ask("task_create_batch", 100, *batch, op_args=[1000])
    equal(len(doc["result"]["ids"]), 100)
    equal(s.redis.call("ZCARD", s.key("queue:tasks:pending")), 164)


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()

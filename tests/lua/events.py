#!/usr/bin/env python3
"""events.py: events as the scripts write them: the stream, channels, partitions, a user's own (row F38 of tests/results/faults.md), readers."""

import json

from cbtest import *
from scripts import Request, Scripts

s = None


def policy(transport="both", maxlen=100000, max_bytes=1 << 28, idle=604800000):
    s.options["events"] = f"{transport} {maxlen} {max_bytes} {idle}"


def fresh(transport="both", **kw):
    s.redis.call("FLUSHALL")
    policy(transport, **kw)
    s.tick(register=1)


class Listener:
    """Who listens to all channels of events."""

    def __init__(self):
        self.link = s.server.client()
        self.link.call("PSUBSCRIBE", "cb:events:*")
        self.events = []

    def take(self):
        """What came until now: [(channel's type, id, {name: value})]."""
        self.link.send("PING", "that is all")
        while (got := self.link.read())[0] != b"pong":
            _, _, channel, message = got
            for flat in json.loads(message):
                self.events.append((channel.decode().split(":")[2], flat[0], dict(zip(flat[1::2], flat[2::2]))))
        taken, self.events = self.events, []
        return taken

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.link.close()


def stream(key="stream:events"):
    rows = s.redis.call("XRANGE", s.key(key), "-", "+")
    return [(i.decode(), {f[k].decode(): f[k + 1].decode() for k in range(0, len(f), 2)}) for i, f in rows]


def created(count):
    return [Request(*s.create_args("x", queue="q1")) for _ in range(count)]


@case("both: who listens gets what the stream has, under the same ids, in the same order, on the channel of its type")
def both():
    fresh()
    with Listener() as all_:
        s.commit("task_create", created(64) + [Request(*s.create_args("odd \"\u2028"), actor='a "\\', agent="é")], [100000])
        s.claim(queue="q1", count=3)
        s.publish(data='{"s":"\\u0000\\n","n":1e999}')
        kept, told = stream(), all_.take()
    equal([(i, f) for _, i, f in told], [(i, f) for i, f in kept if f["type"] != "instance.registered" and f["type"] != "leader.elected"])
    equal({k for k, _, f in told if k != f["type"]}, set())
    equal([i for _, i, _ in told], sorted([i for _, i, _ in told], key=lambda i: tuple(map(int, i.split("-")))))


@case("stream: nobody is told; pubsub: nothing is kept; ids keep one order however often the transport changes")
def transports():
    fresh("stream")
    seen, want = [], []
    with Listener() as all_:
        for turn in range(12):
            transport = ("stream", "pubsub", "both")[turn % 3]
            policy(transport)
            before = len(stream())
            made = [s.publish(f"turn.{turn}", data=str(i))["result"]["event"] for i in range(3)]
            want += made
            told, kept = [i for _, i, _ in all_.take()], [i for i, _ in stream()[before:]]
            equal((told, kept), ([] if transport == "stream" else made, [] if transport == "pubsub" else made), transport)
            seen += told or kept
    equal(seen, want)
    number = lambda i: tuple(map(int, i.split("-")))
    equal(want, sorted(set(want), key=number))
    equal(s.redis.call("TYPE", s.key("stream:events")), b"stream")


@case("what one event tells of a group is told the same way: to who listens, to partitions, and to a registered reader, whatever the transport")
def group():
    for transport, has_reader in (("stream", False), ("pubsub", False), ("pubsub", True), ("both", True)):
        fresh(transport)
        if has_reader:
            s.subscribe("a-reader")
        before = stream()
        with Listener() as all_:
            all_.take()
            requests = [Request(*s.create_args("x", queue="q1", partition="pq"[i % 2]), actor="xy"[i // 4], reply="reply-token") for i in range(8)]
            equal(s.commit("task_create", requests, [100000]).errors, [])
            told, kept = [(i, f) for _, i, f in all_.take()], stream()[len(before):]
        ids = [doc["result"]["id"] for doc in s.replies("reply-token")]
        equal(told, [] if transport == "stream" else kept or told, transport)
        equal(len(kept), 0 if (transport, has_reader) == ("pubsub", False) else 2)
        equal([(f["actor"], f["ids"].split()) for _, f in told or kept], [("x", ids[:4]), ("y", ids[4:])])
        for first, name in enumerate("pq"):
            rows = stream(f"partition:{name}")
            equal([(i, f["actor"], f["ids"].split()) for i, f in rows],
                  [(i, f["actor"], f["ids"].split()[first::2]) for i, f in told or kept], name)


@case("pubsub: the tick's events, the scheduler's and the pusher's go to who listens, too")
def other_scripts():
    fresh("pubsub")
    with Listener() as all_:
        s.tick(instance="host-b", incarnation="i2", secret="s2", register=1)
        s.create("x", queue="q1")
        s.ask("system_register", "agent", "[]", 5, 30000, "{}", "1", "inc-of-agent", "q1", "", op_args=[30000], domain="system")
        got = s.assign_pending()
        equal(got["problem"], "")
        kinds = [k for k, _, _ in all_.take()]
    check("instance.registered" in kinds and "task.created" in kinds, f"{kinds}")
    equal(stream(), [])


@case("a partition: its events, under the ids that they have in the stream; capped, and gone an hour after the last")
def partitions():
    fresh()
    for i in range(5):
        s.publish(partition=f"p{i % 2}", data=str(i))
    by_id = dict(stream())
    for p in (0, 1):
        rows = stream(f"partition:p{p}")
        equal([int(f["data"]) for _, f in rows], [i for i in range(5) if i % 2 == p])
        equal([by_id[i] for i, _ in rows], [f for _, f in rows])
        check(3500000 < s.redis.call("PTTL", s.key(f"partition:p{p}")) <= 3600000, "PTTL")
    for _ in range(20):
        s.commit("system_event_publish", [Request("many.of", "", "full", "1") for _ in range(64)], [86400000, 1000], domain="system")
    check(1000 <= s.redis.call("XLEN", s.key("partition:full")) <= 1100, f"{s.redis.call('XLEN', s.key('partition:full'))}")


@case("a partition that is damaged, or ahead of a stream that was lost, loses no event")
def damaged_partition():
    fresh()
    s.redis.call("SET", s.key("partition:p"), "no stream")
    s.publish(partition="p")
    equal(len(stream("partition:p")), 1)
    s.redis.call("XADD", s.key("partition:ahead"), "99999999999999-1", "type", "later")
    answer = s.publish(partition="ahead")
    equal((answer["result"]["accepted"], answer["internal"]), (True, []))
    equal([f["type"] for _, f in stream("partition:ahead")], ["later", "deploy.done"])


@case("F38: 100 publish one id at once: exactly 1 is accepted, 99 are counted as duplicates, in any groups")
def once():
    fresh()
    entries = s.deliver(100, domain="system")
    requests = [Request("deploy.done", "release-7", "", str(i), entry=e, reply="reply-token-for-all", rid=str(i))
                for i, e in enumerate(entries)]
    for part in (requests[:1], requests[1:40], requests[40:]):
        equal(s.commit("system_event_publish", part, [86400000, 100000], domain="system").errors, [])
    replies = [r["result"] for r in s.replies("reply-token-for-all")]
    equal((len(replies), sum(r["accepted"] for r in replies)), (100, 1))
    equal(int(s.redis.call("GET", s.key("duplicates:prevented"))), 99)
    equal([(i, f["id"]) for i, f in stream() if f["type"] == "deploy.done"],
          [(r["event"], "release-7") for r in replies if r["accepted"]])


@case("mark and event are one: when the event cannot be written, the id is not marked")
def mark_and_write():
    fresh()
    s.redis.call("SET", s.key("stream:events"), "damaged")
    equal(s.publish(event="e1")["error"]["code"], -32603)
    equal(s.redis.call("EXISTS", s.key("processed:events")), 0)
    s.redis.call("DEL", s.key("stream:events"))
    equal(s.publish(event="e1")["result"]["accepted"], True)
    s.redis.call("DEL", s.key("processed:events"))
    s.redis.call("SET", s.key("processed:events"), "damaged")
    before = len(stream())
    equal(s.publish(event="e2")["error"]["code"], -32603)
    equal(len(stream()), before)


@case("ids are known for their time and up to their number; no more are kept")
def window():
    fresh()
    equal([s.publish(event="e")["result"]["accepted"] for _ in range(2)], [True, False])
    s.redis.call("ZINCRBY", s.key("processed:events"), -86400001, "e")
    equal(s.publish(event="e")["result"]["accepted"], True)
    for i in range(150):
        s.publish(event=f"n{i}", ids=100)
    equal(s.redis.call("ZCARD", s.key("processed:events")), 100)
    equal([s.publish(event=e, ids=100)["result"]["accepted"] for e in ("n149", "n60", "n0")], [False, False, True])
    for i in range(0, 100):
        s.redis.call("ZINCRBY", s.key("processed:events"), -86400001, f"n{i + 51}")
    s.publish(event="last")
    check(s.redis.call("ZCARD", s.key("processed:events")) <= 3, "the old ones go")


@case("a reader: made once, found again where it was, removed with its place")
def readers():
    fresh()
    first = s.publish()["result"]["event"]
    equal(s.subscribe("all", "0")["result"], {"group": "all", "created": True, "cursor": "0-0", "pending": 0})
    new = s.subscribe("new")["result"]
    equal((new["created"], new["cursor"] >= first), (True, True))
    got = s.redis.call("XREADGROUP", "GROUP", "all", "1", "COUNT", 2, "STREAMS", s.key("stream:events"), ">")
    last = got[0][1][-1][0].decode()
    equal(s.subscribe("all", "0")["result"], {"group": "all", "created": False, "cursor": last, "pending": 2})
    equal([s.unsubscribe("all")["result"]["removed"] for _ in range(2)], [True, False])
    equal(s.subscribe("all", "0")["result"]["created"], True)
    equal([(e["group"], e.get("reason")) for e in s.events("reader.removed")], [("all", "asked for")])


@case("100 readers, and no more; one that is known is not refused; nobody's own groups are counted or touched")
def readers_cap():
    fresh()
    s.publish()
    s.redis.call("XGROUP", "CREATE", s.key("stream:events"), "archive", "0")
    for i in range(100):
        check("result" in s.subscribe(f"r{i}"), f"{i}")
    equal(s.subscribe("one-more")["error"]["code"], -32007)
    equal(s.subscribe("r7")["result"]["created"], False)
    s.unsubscribe("r7")
    equal(s.subscribe("one-more")["result"]["created"], True)


@case("a reader that nobody uses is forgotten after its time, one that reads is not")
def readers_idle():
    fresh(idle=2000)
    s.publish()
    for group in ("idle", "reads"):
        s.subscribe(group, "0", idle=2000)
    read = lambda: s.redis.call("XREADGROUP", "GROUP", "reads", "1", "COUNT", 1, "STREAMS", s.key("stream:events"), ">")
    groups = lambda: {pairs(g)["name"] for g in s.redis.call("XINFO", "GROUPS", s.key("stream:events"))}
    s.event_care()
    equal(groups(), {b"idle", b"reads"})
    read()
    s.age(2.1)
    equal(s.event_care(), ["refused"], "the leader's lease has ended")
    s.tick(leader_lease=60000)
    equal(s.event_care(epoch="1"), ["refused"])
    equal(groups(), {b"idle", b"reads"})
    equal(s.event_care(), ["ok", 2, 0])
    equal(groups(), {b"reads"})
    equal([(e["group"], e["reason"]) for e in s.events("reader.removed")], [("idle", "idle")])
    equal(s.redis.call("ZRANGE", s.key("events:readers"), 0, -1), [b"reads"])


@case("what a registered reader has not had stays beyond events.maxlen, whatever the transport; what all have had, the leader trims")
def kept_for_readers():
    key = s.key("stream:events")
    many = lambda: [s.commit("system_event_publish", [Request("user.x", "", "", "") for _ in range(64)], [86400000, 1000], domain="system")
                    for _ in range(20)]
    for transport in ("both", "pubsub"):
        fresh(transport, maxlen=1000)
        s.publish()
        many()
        check(s.redis.call("XLEN", key) <= 1200, "without readers it is trimmed by whoever adds")
        s.subscribe("slow", "0")
        before = s.redis.call("XLEN", key)
        many()
        equal(s.redis.call("XLEN", key), before + 20 * 64, f"{transport}: nothing is trimmed, and nothing goes past the stream")
        s.tick(leader_lease=60000)
        equal(s.event_care(), ["ok", 0, 0], "nor by the leader")
        got = s.redis.call("XREADGROUP", "GROUP", "slow", "me", "COUNT", 5000, "STREAMS", key, ">")[0][1]
        equal(s.event_care()[2], 0, "what was given and not acknowledged is needed")
        s.redis.call("XACK", key, "slow", *[entry[0] for entry in got[:-10]])
        check(s.event_care()[2] > 0, "now it is not")
        check(stream()[0][0] <= got[-10][0].decode(), "the ten are there")
        check(1000 <= s.redis.call("XLEN", key) <= 1200, f"{s.redis.call('XLEN', key)} are left")
        s.unsubscribe("slow")
        many()
        check(s.redis.call("XLEN", key) <= 1200, "the last reader is gone")


@case("too many bytes: the oldest go, and readers that have not had them are told")
def bytes_cap():
    fresh(max_bytes=1 << 20)
    s.publish()
    s.subscribe("behind", "0")
    for i in range(30):
        s.commit("system_event_publish", [Request("big.one", "", "", json.dumps("x" * 4000)) for _ in range(20)], [86400000, 1000],
                 domain="system")
        if i == 28:
            s.subscribe("ahead")
    check(s.redis.call("MEMORY", "USAGE", s.key("stream:events")) > 2 << 20, "the test means to fill it")
    first = stream()[0][0]
    s.tick()
    for _ in range(3):
        equal(s.event_care()[0], "ok")
    check(s.redis.call("MEMORY", "USAGE", s.key("stream:events")) <= (1 << 20) * 1.1, "bytes")
    gaps = s.events("events.gap")
    check(gaps and stream()[0][0] != first, f"{gaps}")
    equal({g["readers"] for g in gaps}, {"behind"})
    check(tuple(map(int, gaps[0]["first"].split("-"))) <= tuple(map(int, stream()[0][0].split("-"))), f"{gaps}")


@case("too many bytes of what a reader never acknowledged: that goes with its events, and the stream is not trimmed to nothing for it")
def bytes_pending():
    fresh(max_bytes=1 << 20)
    s.publish()
    s.subscribe("greedy", "0")
    for _ in range(150):
        s.commit("system_event_publish", [Request("user.x", "", "", "") for _ in range(64)], [86400000, 1000], domain="system")
    key = s.key("stream:events")
    equal(len(s.redis.call("XREADGROUP", "GROUP", "greedy", "me", "COUNT", 20000, "STREAMS", key, ">")), 1)
    check(s.redis.call("MEMORY", "USAGE", key) > 3 << 20, "the test means to fill it")
    s.tick()
    for turns in range(100):
        reply = s.event_care()
        equal(reply[0], "ok")
        if reply[2] == 0:
            break
    check(s.redis.call("MEMORY", "USAGE", key) <= 1 << 20, f"bytes after {turns} calls")
    length, pending = s.redis.call("XLEN", key), s.redis.call("XPENDING", key, "greedy")[0]
    check(length > 500 and 0 < pending <= length, f"{length} events, {pending} pending")


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()

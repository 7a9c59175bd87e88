#!/usr/bin/env python3
"""quorum.py: decisions by vote as scripts (row F39 of tests/results/faults.md): who may vote, what decides, ties, time-outs, and for how long."""

import json

from cbtest import *
from scripts import Scripts

s = None
DAY_MS = 86400000


def fresh(voters=3, role="voter"):
    s.redis.call("FLUSHALL")
    s.tick(register=1)
    for i in range(voters):
        s.register(f"v{i}", f"i{i}", roles=json.dumps([role]))


def vote(*args, **kw):
    doc = s.vote(*args, **kw)
    equal(doc["internal"], [])
    return doc["result"]


def refused(doc):
    return doc["error"]["code"], doc["error"]["data"].get("reason")


def unchanged(action):
    before = s.dump(("requests:", "reply:", "duplicates:", "clock", "meta"))
    doc = action()
    equal(s.dump(("requests:", "reply:", "duplicates:", "clock", "meta")), before, "a refusal changes nothing")
    return doc


@case("a majority of the electorate decides, once, with one event; the same voter twice is one vote")
def majority():
    fresh(3)
    first = vote("deploy", "v0")
    equal([first["voted"], first["quorumReached"], first["finalDecision"], first["voteCount"], first["electorate"],
           first["needed"]], [True, False, None, 1, 3, 2])
    equal(vote("deploy", "v0")["voteCount"], 1)
    done = vote("deploy", "v2")
    equal([done["quorumReached"], done["finalDecision"], done["status"]], [True, "yes", "decided"])
    events = s.events("quorum.decided")
    equal([(e["decision"], e["value"], e["votes"], e["electorate"]) for e in events], [("deploy", '"yes"', "2", "3")])
    equal(len(s.events("quorum.opened")), 1)


@case("half is no majority; one alone decides alone")
def half():
    fresh(4)
    vote("d", "v0")
    equal(vote("d", "v1")["status"], "open")
    equal(vote("d", "v2")["status"], "decided")
    fresh(1)
    equal(vote("d", "v0", "no")["finalDecision"], "no")


@case("a changed vote replaces the earlier one; after the decision nothing changes, whoever asks")
def changed():
    fresh(3)
    vote("d", "v0", "yes")
    equal(vote("d", "v0", "no")["voteCount"], 1)
    equal(vote("d", "v1", "yes")["status"], "open", "yes and no")
    equal(vote("d", "v2", "no")["finalDecision"], "no")
    kept = s.redis.hash(s.key("quorum:decision:d"))
    for who, value in (("v0", "yes"), ("v1", "no"), ("v2", "yes"), ("nobody", "yes")):
        late = vote("d", who, value)
        equal([late["voted"], late["finalDecision"], late["voteCount"]], [False, "no", 3])
    equal(s.redis.hash(s.key("quorum:decision:d")), kept)
    equal(len(s.events("quorum.decided")), 1)


@case("two decisions at once do not mix")
def two():
    fresh(3)
    vote("deploy", "v0", "yes")
    equal(vote("drop-db", "v1", "yes")["status"], "open")
    equal(vote("deploy", "v2", "yes")["status"], "decided")
    equal(vote("drop-db", "v0", "no")["status"], "open")


@case("the electorate is who had the role at the opening: a later one has no vote, one that ended still counts")
def electorate():
    fresh(3)
    s.register("other", "io", roles='["judge"]')
    equal(refused(unchanged(lambda: s.vote("d", "other"))), (-32002, None))
    equal(refused(unchanged(lambda: s.vote("d", "nobody"))), (-32002, None))
    equal(s.redis.call("EXISTS", s.key("quorum:decision:d")), 0, "an outsider opens nothing")
    vote("d", "v0")
    s.register("late", "il", roles='["voter"]')
    equal(refused(unchanged(lambda: s.vote("d", "late"))), (-32002, None))
    s.unregister("v1", "i1")
    s.unregister("v2", "i2")
    equal(vote("d", "v0")["electorate"], 3, "who vanishes still counts")
    equal(refused(unchanged(lambda: s.vote("d", "v1"))), (-32004, "expired"))
    s.register("v1", "again", roles="[]")
    equal(vote("d", "v1")["status"], "decided", "registered again, it is still a member")
    equal(vote("e", "late")["electorate"], 2, "v0 and late")


@case("roles follow registrations: another role, another registration, silence")
def roles():
    fresh(2)
    s.register("v1", "again", roles='["judge"]')
    equal(vote("d", "v0")["electorate"], 1)
    equal(s.redis.call("SCARD", s.key("instances:role:voter")), 1)
    s.age(31)
    s.tick()
    equal([s.redis.call("EXISTS", s.key(f"instances:role:{r}")) for r in ("voter", "judge")], [0, 0])


@case("a role of its own; a vote that names another role than the decision's is refused")
def own_role():
    fresh(3, role="judge")
    equal(refused(s.vote("d", "v0")), (-32002, None))
    equal(vote("d", "v0", role="judge")["needed"], 2)
    equal(refused(unchanged(lambda: s.vote("d", "v1", role="voter"))), (-32005, "state"))
    equal(vote("d", "v1")["status"], "decided", "without a role: the decision's")


@case("an incarnation that is not the voter's any more is refused")
def incarnation():
    fresh(3)
    vote("d", "v0", incarnation="i0")
    s.register("v1", "new", roles='["voter"]')
    equal(refused(unchanged(lambda: s.vote("d", "v1", incarnation="i1"))), (-32005, "stale_incarnation"))
    equal(vote("d", "v1", incarnation="new")["status"], "decided")


@case("a split: deadlocked is told, a changed mind still decides, else its time ends it as tied")
def tied():
    fresh(4)
    for i, value in enumerate(["yes", "yes", "no"]):
        equal(vote("d", f"v{i}", value, timeout=5000)["deadlocked"], False)
    split = vote("d", "v3", "no")
    equal([split["deadlocked"], split["status"], split["voteCount"]], [True, "open", 4])
    equal(vote("e", "v0", "a", timeout=5000)["deadlocked"], False)
    equal(vote("e", "v1", "b")["deadlocked"], False, "two of four are missing: three could agree")
    equal(vote("e", "v2", "c")["deadlocked"], True)
    equal(vote("e", "v2", "a")["deadlocked"], False, "v2 changed its mind")
    equal(vote("e", "v3", "a")["finalDecision"], "a")
    s.age(5.1)
    s.tick()
    after = s.decision("d")["result"]
    equal([after["status"], after["quorumReached"], after["finalDecision"]], ["tied", False, None])
    equal(vote("d", "v0", "no")["voted"], False)
    equal(len(s.events("quorum.tied")), 1)


@case("its time is over: expired, by the tick or by the next vote, in effective time, once")
def expired():
    fresh(3)
    vote("d", "v0", timeout=2000)
    vote("e", "v0", timeout=2000)
    eff, at = [int(s.redis.hash(s.key("clock"))[f]) for f in ("eff", "at")]
    s.redis.call("HSET", s.key("clock"), "eff", eff, "at", at - 3600000)  # Redis was away for an hour
    s.tick()
    equal(s.decision("d")["result"]["status"], "open", "a stall ends no vote")
    s.age(2.1)
    late = vote("d", "v1")
    equal([late["voted"], late["status"]], [False, "expired"])
    s.tick()
    equal(s.decision("e")["result"]["status"], "expired")
    s.tick()
    equal(sorted(e["decision"] for e in s.events("quorum.expired")), ["d", "e"])
    equal(s.redis.call("ZCARD", s.key("quorum:open")), 0)


@case("an outcome is kept for a day under its own id, and in the day's results; an open decision has no TTL")
def kept():
    fresh(3)
    vote("d", "v0")
    equal(s.redis.call("PTTL", s.key("quorum:decision:d")), -1)
    vote("d", "v1")
    check(DAY_MS - 10000 < s.redis.call("PTTL", s.key("quorum:decision:d")) <= DAY_MS, "a day")
    equal(s.redis.call("GET", s.key("quorum:decision:latest")), b"d")
    day = [k for k in s.redis.scan() if k.startswith(s.key("quorum:result:").encode())]
    equal(len(day), 1)
    doc = json.loads(s.redis.call("HGET", day[0], "d"))
    equal([doc["status"], doc["value"]], ["decided", "yes"])
    check(DAY_MS < s.redis.call("PTTL", day[0]) <= 2 * DAY_MS, "a day and more")


@case("get: votes, who is missing, and -32004 for an unknown one")
def get():
    fresh(3)
    vote("d", "v1", "é\n\"")
    got = s.decision("d")["result"]
    equal([got["votes"], sorted(got["missing"]), got["role"]],
          [[{"instanceId": "v1", "value": "é\n\""}], ["v0", "v2"], "voter"])
    equal(refused(s.decision("nope")), (-32004, "unknown"))


@case("an electorate of 100 works, of 101 is refused; ids of every shape are data")
def large():
    fresh(0)
    ids = [f"host:{i} %n*\\\"é{{}}" for i in range(100)]
    for i, name in enumerate(ids):
        s.register(name, f"i{i}", roles='["voter"]')
    for name in ids[:50]:
        equal(vote("d", name)["status"], "open")
    equal(vote("d", ids[50])["status"], "decided")
    s.register("one more", "im", roles='["voter"]')
    equal(refused(unchanged(lambda: s.vote("e", ids[0]))), (-32005, "state"))


@case("keys of wrong types: an internal error before anything is written")
def wrong_types():
    for key in ("quorum:decision:d", "quorum:open", "quorum:decision:latest", "instances:role:voter"):
        fresh(2)
        s.redis.call("DEL", s.key(key))
        s.redis.call("LPUSH", s.key(key), "damaged")
        doc = unchanged(lambda: s.vote("d", "v0"))
        equal(doc["error"]["code"], -32603, key)
        equal(s.tick()["state"], "ok")


@case("random votes against a model: one vote a member, decided exactly when more than half agree")
def model():
    dice = rng("quorum")
    for round_ in range(60):
        n = dice.randint(1, 7)
        fresh(n)
        votes, outcome = {}, None
        for _ in range(dice.randint(1, 20)):
            who, value = f"v{dice.randrange(n + 1)}", dice.choice("abc")
            doc = s.vote("d", who, value)
            if outcome is None and who == f"v{n}":
                equal(doc["error"]["code"], -32002)
                continue
            if outcome is None:
                votes[who] = value
                most = max(list(votes.values()).count(x) for x in "abc")
                outcome = value if most * 2 > n else None
                missing = n - len(votes)
                equal(doc["result"]["deadlocked"], outcome is None and (most + missing) * 2 <= n, (round_, votes))
            equal([doc["result"]["finalDecision"], doc["result"]["voteCount"]], [outcome, len(votes)], (round_, votes))


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()

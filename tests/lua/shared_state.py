#!/usr/bin/env python3
"""shared_state.py: system.state.sync as a script (row F43 of tests/results/faults.md): compare and set, versions that never come again."""

from cbtest import *
from scripts import Request, Scripts

s = None


def fresh():
    s.redis.call("FLUSHALL")
    s.tick(register=1)


def shown():
    return s.state()["result"]["state"]


@case("the first writer of a version wins, the others learn the new one; what is refused changes nothing")
def compare_and_set():
    fresh()
    equal(shown(), None)
    one = s.sync('{"a":1}', 0)["result"]["version"]
    equal([shown()["version"], shown()["data"]], [one, {"a": 1}])
    equal(s.sync('{"a":2}', 0)["error"]["data"], {"reason": "version", "state": "present", "version": one})
    two = s.sync('{"a":3}', one)["result"]["version"]
    check(two > one, "versions rise")
    equal(s.sync('{"a":4}', one)["error"]["code"], -32005)
    equal(shown()["data"], {"a": 3})
    three = s.sync('{"a":5}')["result"]["version"]
    equal([(int(e["version"]), int(e["before"])) for e in s.events("state.synced")], [(one, 0), (two, one), (three, two)])


@case("data is opaque: it comes back byte for byte")
def opaque():
    fresh()
    raw = '{"e":[],"o":{},"big":9007199254740993,"n":1.50,"s":"\\u0061","d":{"x":[{}]}}'
    s.sync(raw)
    equal(s.redis.hash(s.key("state:global"))["data"].decode(), raw)
    s.commit("system_get_state", [Request('"1.0"', reply="reply-token-for-raw")], domain="system")
    check(raw in s.redis.call("LRANGE", s.key("reply:reply-token-for-raw"), 0, -1)[0].decode(), "and in get_state")


@case("a Redis that lost everything does not hand a version out again; no TTL ends it")
def never_again():
    fresh()
    before = s.sync()["result"]["version"]
    equal(s.redis.call("TTL", s.key("state:global")), -1)
    fresh()
    equal(s.sync("{}", before)["error"]["data"]["state"], "absent")
    check(s.sync("{}", 0)["result"]["version"] > before, "a newer version")


@case("20 writers that read, change and write, in a random order: each accepted change counts once")
def writers():
    fresh()
    s.sync('{"n":0}')
    dice, versions = rng("writers"), []
    known = [shown()] * 20
    for _ in range(400):
        w = dice.randrange(20)
        doc = s.sync('{"n":%d}' % (known[w]["data"]["n"] + 1), known[w]["version"])
        if "result" in doc:
            versions.append(doc["result"]["version"])
        known[w] = shown()
    equal(shown()["data"]["n"], len(versions))
    check(len(versions) > 10 and versions == sorted(set(versions)), "versions rise and are distinct")


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()

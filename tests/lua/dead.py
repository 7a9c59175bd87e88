#!/usr/bin/env python3
"""dead.py: dead letters are kept by number and by bytes, the oldest go first, and how many is told (lua/include/dead.lua)."""

from cbtest import *
from scripts import Request, Scripts

CAP = 2 << 20
KEPT = 10000
s = None


def key():
    return s.key("stream:dead")


def numbers():
    """What was buried as number n, in the order of the stream."""
    return [int(pairs(f)["n"]) for _, f in s.redis.call("XRANGE", key(), "-", "+")]


def usage():
    return s.redis.call("MEMORY", "USAGE", key(), "SAMPLES", 0) or 0


def counted():
    return int(s.redis.call("HGET", s.key("counts"), "ever:dead_letters_dropped") or 0)


def by_requeue(letters, cap=CAP, entries=KEPT):
    for n, size in letters:
        s.deliver(1, fields=("method", "x", "n", n, "redelivered", 50, "params", "p" * size))
    equal(s.requeue(dead_bytes=cap, dead_entries=entries), [0, len(letters), 0])
    return s.dropped


def refused(letters, cap=CAP, entries=KEPT):
    group = [Request(-32600, "bad", "{}", "unusable", 4, "n", n, "params", "p" * size) for n, size in letters]
    return s.commit("refuse", group, [entries, cap], [key()])


def by_refuse(letters, cap=CAP, entries=KEPT):
    answer = refused(letters, cap, entries)
    equal((answer.codes, answer.errors), ([-32600] * len(letters), []))
    return answer.more


WAYS = {"requeue": by_requeue, "refuse": by_refuse}


def written(calls, **options):
    """Each of `calls` is what one call buries, a list of sizes; both ways. Yields after each call all that is known."""
    for name, bury in WAYS.items():
        s.redis.call("FLUSHALL")
        n = gone = 0
        for sizes in calls:
            before = len(numbers()) if s.redis.call("EXISTS", key()) else 0
            told = bury([(n + i, size) for i, size in enumerate(sizes)], **options)
            n += len(sizes)
            left = numbers()
            dropped = before + len(sizes) - len(left)
            gone += dropped
            equal(left, list(range(n - len(left), n)), f"{name}: the newest, in their order")
            equal(told, [dropped, len(left), usage()] if dropped else [], f"{name}: what is told")
            equal(counted(), gone, f"{name}: what is counted")
            yield name, left, dropped


@case("never more than limits.dead_bytes after a call, whatever their sizes; no more go than must")
def by_bytes():
    some = [100000, 5, 3000, 200000, 60, 262144, 4000, 4100, 30000, 1]
    calls = [[some[(i + j) % len(some)] for j in range(1 + i % 4)] for i in range(60)]
    full = 0
    for name, left, dropped in written(calls):
        check(usage() <= CAP, f"{name}: {usage()} bytes")
        if dropped:
            full += 1
            # a letter more than must, one of these sizes, may have gone with the memory that its piece had to spare
            check(usage() > CAP - CAP // 64 - 262144 * 1.5, f"{name}: {len(left)} letters, {usage()} bytes")
    check(full > 20, f"it was full {full} times")


@case("large ones behind many small ones count as what they are, and small ones behind large ones cost no more of them than must")
def skewed():
    for name, left, _ in written([[300] * 50] * 8 + [[250000]] * 20):
        check(usage() <= CAP, f"{name}: {usage()} bytes of {len(left)}")
    check(len(left) >= 6, f"{len(left)} large ones")
    gone = {name: 0 for name in WAYS}
    for name, left, dropped in written([[250000]] * 6 + [[300] * 50] * 20, cap=1800000):
        check(usage() <= 1800000, f"{name}: {usage()} bytes")
        gone[name] += dropped
    check(all(1 <= n <= 2 for n in gone.values()), f"of the large ones have gone: {gone}")


@case("the newest stays, even one that is larger than all may be together; of one letter no more than 2 MiB is kept")
def newest():
    for name, left, _ in written([[10]] * 3 + [[262144]] + [[10]] * 3, cap=1000):
        check(len(left) == 1, f"{name}: {left}")
    s.redis.call("FLUSHALL")
    flat = [x for i in range(1990) for x in (f"name {i} " + "x" * 300, "v" * 300000 if i < 20 else "v" * 300)]
    s.deliver(1, fields=("method", "x", "redelivered", 50, *flat))
    equal(s.requeue(dead_bytes=CAP), [0, 1, 0])
    letter = pairs(s.redis.call("XRANGE", key(), "-", "+")[0][1])
    check(usage() < CAP, f"{usage()} bytes")
    equal((letter["method"], letter["redelivered"], letter["reason"]), (b"x", b"51", b"redelivered too often"))


@case("a lower limit holds from the next letter on, and a counter of a wrong type harms no request")
def lowered():
    for name, left, _ in written([[30000] * 10] * 20, cap=64 << 20):
        equal(len(left) % 10, 0)
    equal(len(left), 200)
    told = by_refuse([(200, 10)], cap=CAP)
    equal(numbers(), list(range(201 - told[1], 201)))
    check(CAP / 2 < usage() <= CAP, f"{usage()} bytes")
    s.redis.call("SET", s.key("counts"), "x")
    letters = [(n, 200000) for n in range(30)]
    equal(by_requeue(letters), [], "nothing is told: it could not be counted")
    check(usage() <= CAP, f"{usage()} bytes")
    answer = refused(letters)
    equal((answer.codes, len(answer.errors), answer.more), ([-32600] * 30, 1, None))
    check(usage() <= CAP, f"{usage()} bytes")


@case("those that limits.dead_entries takes are told and counted, too")
def by_number():
    seen = 0
    for name, left, dropped in written([[5] * 60] * 6, entries=100):
        check(len(left) <= 300, f"{name}: {len(left)}")
        seen += dropped
    check(seen > 100, f"{seen} dropped")


@case("room is made when Redis is at maxmemory, too")
def memory_full():
    s.redis.call("FLUSHALL")
    by_refuse([(n, 200000) for n in range(9)])
    for n in range(9, 12):
        s.deliver(1, fields=("method", "x", "n", n, "redelivered", 50, "params", "p" * 200000))
    s.redis.call("CONFIG", "SET", "maxmemory", "1")
    try:
        equal(s.requeue(dead_bytes=CAP), [0, 3, 0])
    finally:
        s.redis.call("CONFIG", "SET", "maxmemory", "0")
    equal(numbers()[-3:], [9, 10, 11])
    check(usage() <= CAP and s.dropped[0] == 12 - len(numbers()), f"{usage()} bytes, {s.dropped}")


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()

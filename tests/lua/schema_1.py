#!/usr/bin/env python3
"""schema_1.py: data of an earlier version: every state × every operation does to such a task what it does to one of today (moves.py),
and nobody sees a difference. (schema_2.py: the same of the version behind it.)"""

import moves
import task_hash
from cbtest import *
from counts import check_counts

# What makes a task of a schema no whole one: a field, and what it is then, None = it is not there.
DAMAGE = {1: (("v", None), ("pr", None), ("cr", "yesterday"), ("q", None), ("at", "-"), ("st", "?")),
          2: (("n", None), ("n", "1 0"), ("c", None), ("c", "0 3"), ("st", None), ("st", "?"), ("l", "soon"))}


@case("a task of an earlier schema is shown as before, in every state; who looks at it converts it, and nothing is left of what it was")
def shown():
    s = moves.s
    schema = s.schema
    for state in moves.STATES:
        moves.fresh()
        s.schema = 0
        task, _ = moves.made(state)
        key = s.key(f"task:{task}")
        before, fields = s.get(task)["result"], s.redis.hash(key)
        task_hash.to_schema(s.redis, key, schema)
        check("st" in s.redis.hash(key) and "s" not in s.redis.hash(key), "made old")
        equal(s.get(task)["result"], before, state)
        if schema == 1:
            fields["c"] = fields["c"].replace(b" 0 default", b" 0o default")  # which fields it was made with is not known any more
        equal(s.redis.hash(key), fields, state)
        s.schema = schema


@case("a holder's name may have spaces, and it need have no incarnation: who holds a task, and may end it, is as before")
def holders():
    s = moves.s
    schema = s.schema
    for holder, incarnation in (("w  1 x ", ""), ("0 1  2", ""), ("w 1", "i1"), ("9", "")):
        for ends in (True, False):
            moves.fresh()
            s.schema = 0
            s.register(holder, incarnation)
            task = s.create("t")["result"]["id"]
            lease_token = s.claim(holder, incarnation=incarnation)["result"]["tasks"][0]["lease_token"]
            done = s.complete(task, lease_token) if ends else None
            key = s.key(f"task:{task}")
            state = s.redis.hash(key)["s"]
            task_hash.to_schema(s.redis, key, schema)
            if ends:
                equal(s.complete(task, lease_token)["result"], done["result"], f"{holder}: a repeat")
            else:
                equal(s.complete(task, lease_token + "x")["error"]["code"], -32005, holder)
            equal(s.redis.hash(key)["s"], state, holder)
            if not ends:
                equal(s.complete(task, lease_token)["result"]["status"], "completed", holder)
            check_counts(s, holder)
            s.schema = schema


@case("one in progress that cannot be converted is complained of, not forgotten, and its unique key stays its own")
def damaged_and_held():
    s = moves.s
    for field, value in {1: (("v", None), ("at", "-")), 2: (("n", "1 0"), ("n", None))}[s.schema]:
        moves.fresh()
        task = s.create("t", unique_key="k")["result"]["id"]
        s.claim("w1")
        key = s.key(f"task:{task}")
        task_hash.to_schema(s.redis, key, s.schema)
        s.redis.call(*(["HSET", key, field, value] if value else ["HDEL", key, field]))
        fields = s.redis.hash(key)
        s.age(3600)
        check(any("no whole task" in s.tick()["problem"] for _ in range(3)), "complained of")
        check(s.redis.call("ZSCORE", s.key("leases"), task) is not None, "not forgotten")
        check(s.create("t", unique_key="k").get("result", {}).get("id", task) == task, "no second one with the key")
        equal([s.renew(task, "x")["error"]["code"], s.redis.hash(key)], [-32005, fields], f"{field} {value}")


@case("what is no whole task is not converted")
def damaged():
    s = moves.s
    moves.fresh()
    for field, value in DAMAGE[s.schema]:
        task, _ = moves.made("pending")
        key = s.key(f"task:{task}")
        task_hash.to_schema(s.redis, key, s.schema)
        s.redis.call(*(["HSET", key, field, value] if value else ["HDEL", key, field]))
        fields = s.redis.hash(key)
        check("error" in s.get(task), "it cannot be shown")
        equal(s.redis.hash(key), fields, f"{field} {value}")


if __name__ == "__main__":
    moves.run(schema=1)

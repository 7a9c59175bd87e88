#!/usr/bin/env python3
"""schema_1.py: data of an earlier version: every state × every operation does to such a task what it does to one of today (moves.py),
and nobody sees a difference."""

import moves
import task_hash
from cbtest import *


@case("a task of schema 1 is shown as before, in every state; who looks at it converts it, and nothing is left of what it was")
def shown():
    s = moves.s
    for state in moves.STATES:
        moves.fresh()
        s.makes_schema_1 = False
        task, _ = moves.made(state)
        key = s.key(f"task:{task}")
        before, fields = s.get(task)["result"], s.redis.hash(key)
        task_hash.to_schema_1(s.redis, key)
        check("v" in s.redis.hash(key) and "n" not in s.redis.hash(key), "made old")
        equal(s.get(task)["result"], before, state)
        fields["c"] = fields["c"].replace(b" 0 default", b" 0o default")  # which fields it was made with is not known any more
        equal(s.redis.hash(key), fields, state)
        s.makes_schema_1 = True


@case("what is no whole task is not converted")
def damaged():
    s = moves.s
    moves.fresh()
    for field, value in (("v", None), ("pr", None), ("cr", "yesterday"), ("q", None), ("at", "-")):
        task, _ = moves.made("pending")
        key = s.key(f"task:{task}")
        task_hash.to_schema_1(s.redis, key)
        s.redis.call(*(["HSET", key, field, value] if value else ["HDEL", key, field]))
        fields = s.redis.hash(key)
        check("error" in s.get(task), "it cannot be shown")
        equal(s.redis.hash(key), fields, f"without {field}")


if __name__ == "__main__":
    moves.run(makes_schema_1=True)

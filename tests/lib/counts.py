"""counts.py: cb:counts and cb:queues against the truth, which is in the task hashes."""

from tap import equal
from task_hash import unpacked


def true_counts(s):
    """{field of cb:counts: number}, without zeros, from the hashes."""
    found = {}
    for key in s.redis.scan(s.key("task:t-*")):
        if s.redis.call("TYPE", key) != b"hash":
            continue
        t = unpacked(s.redis.hash(key))
        state, queue = t["st"].decode(), t["q"].decode()
        for field in (state, f"q:{queue}:{state}"):
            if (field == "pending" or field != state) and state != "completed":
                found[field] = found.get(field, 0) + 1
    return found


def check_counts(s, what=""):
    got = {f: int(n) for f, n in s.redis.hash(s.key("counts")).items()}
    truth = true_counts(s)
    equal({f: n for f, n in got.items() if n != 0 and not f.startswith(("large:", "ever:"))}, truth, f"counts {what}")
    for field, n in got.items():
        if n == 0 and not field.startswith(("large:", "ever:")):
            assert ":" not in field, f"{field} is kept at 0"
    named = {n.decode() for n in s.redis.call("ZRANGE", s.key("queues"), 0, -1)}
    equal({n for n in named if " " not in n}, {f.split(":")[1] for f in truth if ":" in f}, f"cb:queues {what}")

"""flood.py: many requests at once over one connection each way, for tests that count per second.

    flood(d, creations(10000))          # replies per second
    flood(d, completions(d, 10000))
"""

import time

import tap
from caller import token

WINDOW = 512


def flood(d, requests):
    """Many requests at once over one connection each way; `requests` yields (method, params as JSON). Returns replies per second."""
    name = token()
    out, back = d.connect(timeout=60), d.connect(timeout=60)
    began, sent, done, open_ = time.monotonic(), 0, 0, True
    source = iter(requests)
    while open_ or done < sent:
        batch = []
        while open_ and sent + len(batch) - done < WINDOW:
            try:
                method, params = next(source)
            except StopIteration:
                open_ = False
                break
            batch.append(("XADD", d.key("requests:task"), "*", "id", "x", "method", method, "params", params, "reply", name))
        if batch:
            out.pipeline(batch)
            sent += len(batch)
        got = back.call("BLMPOP", "30", "1", d.key(f"reply:{name}"), "LEFT", "COUNT", WINDOW) if done < sent else None
        if got:
            for raw in got[1]:
                tap.check(b'"result"' in raw, f"{raw[:300]!r}")
            done += len(got[1])
    out.close()
    back.close()
    return done / (time.monotonic() - began)


def creations(n):
    return (("task.create", '{"text":"the quick brown fox %d","payload":{"n":%d,"path":"/some/where/or/other"}}' % (i, i))
            for i in range(n))


def completions(d, n):
    """Claims of 100 and one completion for each task, until n are done."""
    c = d.caller(schemas=False)
    while n > 0:
        tasks = c.call("task.claim", {"workerId": "w", "maxTasks": 100}, timeout=30)["tasks"]
        if not tasks:
            break
        for t in tasks:
            yield "task.complete", '{"id":"%s","lease_token":"%s","result":{"ok":true}}' % (t["id"], t["lease_token"])
        n -= len(tasks)

#!/usr/bin/env python3
"""claim_race.py: 64 claims for one task, again and again (10 000 times with CB_LONG=1): exactly one gets it each time."""

import random
import re
import time

from cbtest import *

CLAIMERS = 64
TOGETHER = 20  # tasks that are raced for at a time, each on a queue of its own
ROUNDS = 10000 if LONG else 400
WON = re.compile(rb'"id":"(\d+)/(\d+)","result":\{"claimed":true,"taskId":"(t-\d+)"')


def entry(method, params, rid, reply):
    return encode(["XADD", "cb:requests:task", "*", "id", rid, "method", method, "params", params, "reply", reply])


def take(link, reply, n, timeout=30):
    """The next n replies, raw."""
    got, until = [], time.monotonic() + timeout
    while len(got) < n:
        check(time.monotonic() < until, f"{len(got)} of {n} replies within {timeout} s")
        popped = link.call("BLMPOP", 1, 1, f"cb:reply:{reply}", "LEFT", "COUNT", n)
        got += popped[1] if popped else []
    return got


@case(f"{CLAIMERS} claims race for a task, {ROUNDS} times: each time exactly one has it")
def race():
    draw = random.Random(rng("race").random())
    claims = {}  # (queue, claimer) → the entry's params: made once
    for q in range(TOGETHER):
        for k in range(CLAIMERS):
            claims[q, k] = f'{{"workerId":"w{k}","queue":"race{q}"}}'
    with Daemon(config={"domains": {"task": {"workers": 4}}}) as d, d.connect() as link:
        reply, began, wins = token(), time.monotonic(), {}
        for first in range(0, ROUNDS, TOGETHER):
            link.send_raw(b"".join(entry("task.create", f'{{"text":"t","queue":"race{q}"}}', f"{first + q}", reply)
                                   for q in range(TOGETHER)))
            for _ in range(TOGETHER):
                link.read()
            made = {re.search(rb'"id":"(\d+)"', r)[1]: re.search(rb'"id":"(t-\d+)"', r)[1]
                    for r in take(link, reply, TOGETHER)}
            # In any order, so that the claims for one task are in the hands of several workers at a time.
            order = list(claims)
            draw.shuffle(order)
            link.send_raw(b"".join(entry("task.claim", claims[q, k], f"{first + q}/{k}", reply) for q, k in order))
            for _ in order:
                link.read()
            replies = take(link, reply, len(order))
            won = [m.groups() for m in map(WON.search, replies) if m]
            lost = sum(b'"result":{"claimed":false,"tasks":[]}' in r for r in replies)
            equal([len(won), lost], [TOGETHER, TOGETHER * (CLAIMERS - 1)])
            equal({r: t for r, _, t in won}, made, "who won has that task")
            for _, k, t in won:
                wins[t] = k
            items = ",".join(f'{{"id":"{t.decode()}"}}' for _, _, t in won)
            link.send_raw(entry("task.complete_batch", f'{{"items":[{items}]}}', "done", reply))
            link.read()
            equal(take(link, reply, 1)[0].count(b'"status":"completed"'), TOGETHER)
        took = time.monotonic() - began
        equal(len(wins), ROUNDS)
        note(f"{ROUNDS * CLAIMERS} claims in {took:.1f} s, {ROUNDS * CLAIMERS / took:.0f} a second; "
             f"{len(set(wins.values()))} of {CLAIMERS} claimers have won something")
        if LONG:
            check(took < 120, f"{took:.0f} s")


if __name__ == "__main__":
    arguments()
    main()

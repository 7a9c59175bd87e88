#!/usr/bin/env python3
"""votes.py: decisions by vote through whole programs: many voters at once, a restart of Redis, killed workers (row F39 of tests/results/faults.md)."""

from cbtest import *

daemon = None
c = None


def start():
    global daemon, c
    daemon = Daemon(config={"domains": {"system": {"workers": 3}}})
    at_exit(daemon.stop)
    c = daemon.caller()


def register(n, role="voter", name="v"):
    for rid in [c.send("system.register", {"id": f"{name}{i}", "roles": [role]}) for i in range(n)]:
        check(c.wait(rid).ok, "registered")


def ballot(decision, voter, value="yes", **kw):
    return ("system.quorum.vote", {"decision": decision, "instanceId": voter, "value": value, **kw}, {})


@case("40 voters at once, each twice, on two decisions, over three workers: one outcome each, one vote a member")
def at_once():
    register(40)
    dice = rng("votes")
    ballots = [ballot(d, f"v{i}", "yes" if i < want else "no") for d, want in (("a", 21), ("b", 15))
               for i in range(40) for _ in range(2)]
    dice.shuffle(ballots)
    replies = c.wait_all(c.send_many(ballots))
    check(all(r.ok for r in replies), [r.error for r in replies if not r.ok][:3])
    for decision, value in (("a", "yes"), ("b", "no")):
        got = c.call("system.quorum.get", {"decision": decision})
        equal([got["status"], got["finalDecision"], got["electorate"], got["needed"]], ["decided", value, 40, 21])
        equal(len([v for v in got["votes"] if v["value"] == value]), 21, "closed by the vote that decided")
        seen = {r.result["finalDecision"] for r, (_, p, _) in zip(replies, ballots) if p["decision"] == decision}
        equal(seen, {None, value}, "nobody was told otherwise")
    equal(sorted(e["decision"] for _, e in daemon.stream("stream:events") if e["type"] == b"quorum.decided"), [b"a", b"b"])


@case("a decision's time ends it without anybody asking, and the outcome outlives daemon and Redis")
def outlives():
    register(3, "judge", "j")
    c.call(*ballot("slow", "j0", role="judge", timeout_ms=300)[:2])
    wait_until(lambda: c.call("system.quorum.get", {"decision": "slow"})["status"] == "expired", 5, "expired")
    c.call(*ballot("kept", "j0", role="judge", timeout_ms=86400000)[:2])
    c.call(*ballot("open", "j0", role="judge", timeout_ms=86400000)[:2])
    c.call(*ballot("kept", "j1", role="judge")[:2])
    c.drop()
    daemon.stop()
    daemon.start()
    for decision, status in (("slow", "expired"), ("kept", "decided"), ("open", "open")):
        equal(c.call("system.quorum.get", {"decision": decision})["status"], status)
    late = c.call(*ballot("kept", "j2", "no", role="judge")[:2])
    equal([late["voted"], late["finalDecision"]], [False, "yes"])
    equal(c.call(*ballot("open", "j2", role="judge")[:2])["status"], "decided")


@case("names of our own and of no shape are refused as decisions")
def names():
    for name in ("latest", "current", "tasks", "a b", "../x", "", "x" * 65):
        equal(c.refused("system.quorum.vote", ballot(name, "v0")[1])["path"], "decision", name)
        equal(c.refused("system.quorum.get", {"decision": name})["path"], "decision", name)
    c.refused("system.quorum.vote", ballot("new", "stranger")[1], -32002)
    equal(c.refused("system.quorum.get", {"decision": "new"}, -32004)["reason"], "unknown")


@case("workers killed while votes come: every vote counts once")
def killed():
    register(30, "crew", "k")
    rids = []
    for i in range(30):
        rids.append(c.send(*ballot("storm", f"k{i}", "no" if i % 2 else "yes", role="crew")[:2]))
        if i in (5, 15, 25):
            procs.kill(daemon.workers("system")[0])
    replies = c.wait_all(rids, 30)
    check(all(r.ok for r in replies), [r.error for r in replies if not r.ok][:3])
    got = c.call("system.quorum.get", {"decision": "storm"})
    equal([got["status"], got["deadlocked"], got["voteCount"], got["missing"]], ["open", True, 30, []])
    equal(c.call(*ballot("storm", "k0", "no")[:2])["finalDecision"], "no")
    wait_until(lambda: daemon.client("status").returncode == 0, 10, "healthy again")


if __name__ == "__main__":
    arguments()
    start()
    main()

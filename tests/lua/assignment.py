#!/usr/bin/env python3
"""assignment.py: assign and reassign as scripts, and the claim of what was assigned: every state, repeats, types."""

import json

from cbtest import *
from task_scripts import TaskScripts, problem

s = None
FINISHED = ("completed", "failed", "cancelled")


# ---- assign ----


def assigned(agent="agent/1", incarnation="i1", **kw):
    """A task assigned to a live agent and not yet handed over: id, token."""
    s.register(agent, incarnation)
    task = s.one(**kw)
    doc = s.assign(task, agent)
    check("result" in doc, doc)
    return task, s.task(task)["tk"].decode()


@case("assign: in progress from then on; the holder's next claim returns it first, with its token, and once")
def assign():
    s.fresh()
    s.register("agent/1", "i1")
    urgent, task = s.one(priority=100), s.one(priority=0, queue="other", roles="gpu", payload="[1]", lease=5000)
    doc = s.assign(task, "agent/1")["result"]
    equal([doc["taskId"], doc["instanceId"]], [task, "agent/1"])
    lease_token = s.task(task)["tk"].decode()
    got = s.show(task)
    equal([got["status"], got["assignedTo"], got["attempt"], got["version"]], ["in_progress", "agent/1", 1, 2])
    equal(s.indexes(task), {"leases", "queue:instance:agent/1", "assigned:agent/1"})
    equal([(e["id"], e["to"]) for e in s.events("task.assigned")], [(task, "agent/1")])
    s.secret_is_kept(lease_token)
    check(lease_token not in json.dumps(s.get(task)), "get")
    equal([t["id"] for t in s.claim("somebody", 5)["result"]["tasks"]], [urgent])
    urgent = s.one(priority=100)
    tasks = s.claim("agent/1", 2, incarnation="i1")["result"]["tasks"]
    equal([t["id"] for t in tasks], [task, urgent])
    equal([tasks[0]["lease_token"], tasks[0]["attempt"], tasks[0]["payload"]], [lease_token, 1, [1]])
    check(tasks[0]["lease_until"] >= got["lease_until"], "the lease runs anew from the hand-over")
    equal(s.indexes(task), {"leases", "queue:instance:agent/1"})
    equal(s.claim("agent/1", 2)["result"]["claimed"], False)
    equal([e["ids"] for e in s.events("task.claimed") if e.get("assigned")], [task])
    equal(s.complete(task, lease_token, "agent/1")["result"]["status"], "completed")


@case("assign: a task that its holder never got was not started: neither an attempt nor a loss is charged")
def assign_unstarted():
    s.fresh()
    s.tick(register=1)
    s.register("agent/1", "i1")
    task = s.one(max_attempts=1, lease=1000)
    ends = (lambda: (s.age(2), s.tick()), lambda: s.register("agent/1", "i2"), lambda: s.unregister("agent/1", "i2"))
    for end in ends:
        s.assign(task, "agent/1")
        equal(s.show(task)["attempt"], 1)
        end()
        got = s.show(task)
        equal((got["status"], got["attempt"], got.get("crashes", 0)), ("pending", 0, 0))


@case("assign: a lease that ended before the hand-over is not handed over as it was")
def assign_late():
    s.fresh()
    s.register("agent/1", "i1")
    task = s.one(lease=200)
    s.assign(task, "agent/1")
    s.age(1)
    handed = s.claim("agent/1", 1, lease=60000)["result"]["tasks"][0]
    s.tick(register=1)
    equal(s.show(task)["status"], "in_progress", "the claim's own lease counts")
    equal(s.complete(task, handed["lease_token"], "agent/1")["result"]["status"], "completed")


@case("assign: only what is pending, only to a registered agent that lives; else nothing changes")
def assign_refused():
    s.fresh()
    s.register("agent/1", "i1")
    s.tick(register=1)
    for state in ("delayed", *FINISHED, "in_progress"):
        task, _ = s.in_state(state)
        equal(problem(s.unchanged(lambda x=task: s.assign(x, "agent/1"), state)), (-32005, "state", state))
    task = s.one()
    equal(problem(s.assign("t-1", "agent/1")), (-32004, "unknown", None))
    equal(problem(s.unchanged(lambda: s.assign(task, "nobody"), "unknown")), (-32004, "unknown", None))
    equal(problem(s.unchanged(lambda: s.assign(task, "host-a"), "daemon")), (-32005, "state", "ACTIVE"))
    s.register("gone", "i1")
    s.unregister("gone", "i1")
    equal(problem(s.unchanged(lambda: s.assign(task, "gone"), "offline")), (-32005, "state", "OFFLINE"))
    s.age(31)
    equal(problem(s.unchanged(lambda: s.assign(task, "agent/1"), "silent")), (-32005, "state", "OFFLINE"))


@case("assign: oldest first, no more than asked for; a repeated claim gives them again; 100 wait at most")
def assign_many():
    s.fresh()
    s.register("a", "i1")
    made = [s.one(priority=i) for i in range(101)]
    for task in made[:100]:
        check("result" in s.assign(task, "a"), task)
    doc = s.unchanged(lambda: s.assign(made[100], "a"), "full")
    equal([doc["error"]["code"], doc["error"]["data"]["retry_after_ms"]], [-32007, 1000])
    # One that waits there already takes no more room, only a new token; one that it does not hold is refused.
    before = s.task(made[99])["tk"]
    equal(s.reassign(made[99], "a")["result"]["assignedTo"], "a")
    check(s.task(made[99])["tk"] != before and s.redis.call("ZCARD", s.key("assigned:a")) == 100, "a new token")
    equal(s.unchanged(lambda: s.reassign(made[100], "a"), "full")["error"]["code"], -32007)
    same = {"params_hash": "h" * 16, "idem": "idem:c"}
    args = s.claim_args("a", 30)
    first = s.ask("task_claim", *args, op_args=[30000, 30000], **same)["result"]
    equal([t["id"] for t in first["tasks"]], made[:30])
    equal(first["taskId"], made[0])
    equal(s.ask("task_claim", *args, op_args=[30000, 30000], **same)["result"], first)
    rest = [t["id"] for t in s.claim("a", 100)["result"]["tasks"]]
    equal(rest, made[30:])
    equal(s.redis.call("EXISTS", s.key("assigned:a")), 0)


@case("assign: the task's roles are overruled, and hold again when it goes back to its queue")
def assign_roles():
    s.fresh()
    s.register("a", "i1", roles='["other"]')
    task = s.one(roles="needed")
    check("result" in s.assign(task, "a"), "assigned")
    equal(s.claim("a")["result"]["taskId"], task)
    s.reassign(task)
    equal(s.claim("a")["result"]["claimed"], False)
    equal(s.claim("b", roles="needed")["result"]["taskId"], task)


@case("assign: `next` of a completion hands it over, too; large ones within the bytes of a claim")
def assign_next():
    s.fresh()
    s.register("a", "i1")
    t = s.claimed("a")
    task = s.one(payload='"' + "p" * 200000 + '"')
    s.assign(task, "a")
    lease_token = s.task(task)["tk"].decode()
    got = s.complete(t["id"], t["lease_token"], "a", next_args=s.claim_args("a", 5))["result"]["tasks"]
    equal([(x["id"], x["lease_token"]) for x in got], [(task, lease_token)])
    made = {s.one(payload='"' + "p" * 200000 + '"') for _ in range(6)}
    for x in sorted(made):
        s.assign(x, "a")
    seen = set()
    while len(seen) < 6:
        doc = s.claim("a", 100)
        check(doc["result"]["claimed"] and len(json.dumps(doc)) < 1000000, "within the bytes")
        seen |= {x["id"] for x in doc["result"]["tasks"]}
    equal(seen, made)


@case("assign: what ends before it is handed over leaves the list: lease, silence, new incarnation, completion, release")
def assign_ends():
    def ended(way, want):
        s.fresh()
        task, lease_token = assigned("a", "i1", lease=1000)
        way(task, lease_token)
        equal(s.show(task)["status"], want)
        check("as" not in s.task(task), "the mark is gone")
        equal(s.redis.call("EXISTS", s.key("assigned:a")), 0)
        s.register("a", "i3")
        equal([t["id"] for t in s.claim("a", incarnation="i3")["result"]["tasks"]], [task] if want == "pending" else [])

    def expire(*_):
        s.age(2)
        s.tick(register=1)

    ended(expire, "pending")
    ended(lambda *_: s.unregister("a", "i1"), "pending")
    ended(lambda *_: s.register("a", "i2"), "pending")
    ended(lambda task, lease_token: s.release(task, lease_token), "pending")
    ended(lambda task, _: s.complete(task, "", "a"), "completed")
    ended(lambda task, _: s.complete_batch([(task, "")], "a"), "completed")
    ended(lambda task, lease_token: s.fail(task, lease_token, retry=0), "failed")
    ended(lambda task, _: s.reassign(task), "pending")


@case("assign: entries that point nowhere, or to a damaged task, do not keep a claim from what is there")
def assign_damaged():
    s.fresh()
    bad, _ = assigned("a")
    s.redis.call("HDEL", s.key(f"task:{bad}"), "c")
    for i in range(3):
        s.redis.call("ZADD", s.key("assigned:a"), i, f"t-{i}")
    s.redis.call("SET", s.key("task:t-1"), "x")
    task, _ = assigned("b")
    s.reassign(task, "a")
    equal([t["id"] for t in s.claim("a")["result"]["tasks"]], [task])
    equal(s.redis.call("EXISTS", s.key("assigned:a")), 0)


@case("assign: a claim that names another incarnation does not get it")
def assign_incarnation():
    s.fresh()
    task, _ = assigned("a", "i1")
    equal(problem(s.claim("a", incarnation="i0")), (-32005, "stale_incarnation", "ACTIVE"))
    s.redis.call("HSET", s.key("instance:a"), "inc", "i2")
    equal(s.claim("a", incarnation="i2")["result"]["claimed"], False)
    equal(s.indexes(task), {"leases", "queue:instance:a", "assigned:a"})


@case("assign, reassign and the claim of what was assigned: wrong types; a repeat under the same idem")
def assign_types():
    def prepare():
        s.register("a", "i1")
        return s.in_state("pending")[:1]

    keys = ("queue:tasks:pending", "queues", "leases", "queue:instance:a", "assigned:a", "instance:a", "instances:active",
            "stream:events", "meta", "task:{id}")
    s.with_wrong_types("assign", keys, prepare, lambda task: s.assign(task, "a"))
    s.with_wrong_types("reassign to", keys, prepare, lambda task: s.reassign(task, "a"))
    s.with_wrong_types("reassign", ("queue:tasks:pending", "queues", "leases", "queue:instance:w1", "stream:events"), s.held,
                     lambda task, _: s.reassign(task))
    s.with_wrong_types("reassign", ("assigned:a",), lambda: assigned("a"), lambda task, _: s.reassign(task))
    s.with_wrong_types("claim", ("assigned:a", "stream:events"), lambda: assigned("a"), lambda *_: s.claim("a"))
    s.fresh()
    task, = prepare()
    same = {"params_hash": "h" * 16, "idem": "idem:a"}
    first = s.assign(task, "a", **same)["result"]
    equal(s.assign(task, "a", **same)["result"], first)
    equal(s.redis.call("ZCARD", s.key("assigned:a")), 1)


# ---- reassign ----


@case("reassign: back to its queue, the attempt not charged; the old token is stale, and a beat tells its holder")
def reassign():
    s.fresh()
    s.register("a", "i1")
    s.one(priority=3)
    t = s.claim("a", incarnation="i1")["result"]["tasks"][0]
    task, old = t["id"], t["lease_token"]
    equal(s.reassign(task, why="too slow \x1b[0m")["result"], {"id": task, "assignedTo": None})
    got = s.show(task)
    equal([got["status"], got["attempt"], got["version"]], ["pending", 0, t["version"] + 1])
    equal(s.indexes(task), {"queue:tasks:pending"})
    event = s.events("task.reassigned")[0]
    equal([event["id"], event["from"], event["reason"], event.get("to")], [task, "a", "too slow \x1b[0m", None])
    equal(s.heartbeat("a", "i1", [(task, old)])["result"]["cancel"],
          [{"id": task, "lease_token": old, "reason": "lease_lost"}])
    equal(problem(s.complete(task, old)), (-32005, "stale_lease", "pending"))
    again = s.claim("b")["result"]["tasks"][0]
    equal([again["id"], again["attempt"]], [task, 1])
    for doc in (s.complete(task, old), s.fail(task, old), s.release(task, old), s.renew(task, old), s.progress(task, old)):
        equal(problem(doc), (-32005, "stale_lease", "in_progress"))
    equal(s.complete(task, again["lease_token"])["result"]["status"], "completed")


@case("reassign to an instance: in progress there, the attempt charged once, its next claim has the new token")
def reassign_to():
    s.fresh()
    s.register("b", "i1")
    t = s.claimed("a")
    s.progress(t["id"], t["lease_token"], "50")
    equal(s.reassign(t["id"], "b", "b knows how")["result"], {"id": t["id"], "assignedTo": "b"})
    got = s.show(t["id"])
    equal([got["status"], got["assignedTo"], got["attempt"]], ["in_progress", "b", 1])
    check("progress" not in got, "the progress was the other's")
    equal(s.indexes(t["id"]), {"leases", "queue:instance:b", "assigned:b"})
    equal(problem(s.complete(t["id"], t["lease_token"])), (-32005, "stale_lease", "in_progress"))
    equal(s.claim("a")["result"]["claimed"], False)
    # Once more, before it was handed over: only the last token is good.
    middle = s.task(t["id"])["tk"].decode()
    s.reassign(t["id"], "b")
    new = s.claim("b")["result"]["tasks"][0]
    equal([new["id"], new["attempt"]], [t["id"], 1])
    equal(len({t["lease_token"], middle, new["lease_token"]}), 3)
    equal(problem(s.complete(t["id"], middle)), (-32005, "stale_lease", "in_progress"))
    s.secret_is_kept(new["lease_token"])
    # A pending one is given to it as by assign.
    task = s.one()
    s.reassign(task, "b")
    equal([x["id"] for x in s.claim("b")["result"]["tasks"]], [task])


@case("reassign: what is neither held nor waiting is refused; a waiting one without a goal stays as it is")
def reassign_states():
    s.fresh()
    s.register("b", "i1")
    for state in ("delayed", *FINISHED):
        task, _ = s.in_state(state)
        for to in ("", "b"):
            doc = s.unchanged(lambda x=task, y=to: s.reassign(x, y), state)
            equal(problem(doc), (-32005, "state", state))
    task, _ = s.in_state("pending")
    equal(s.unchanged(lambda: s.reassign(task), "pending")["result"], {"id": task, "assignedTo": None})
    s.delete(task)
    t = s.claimed()
    equal(problem(s.unchanged(lambda: s.reassign(t["id"], "nobody"), "unknown")), (-32004, "unknown", None))
    equal(problem(s.reassign("t-1")), (-32004, "unknown", None))
    same = {"params_hash": "h" * 16, "idem": "idem:r"}
    first = s.reassign(t["id"], "b", **same)["result"]
    equal(s.unchanged(lambda: s.reassign(t["id"], "b", **same), "repeat")["result"], first)


if __name__ == "__main__":
    arguments()
    s = TaskScripts()
    at_exit(s.close)
    main()

#!/usr/bin/env python3
"""more_methods.py: the methods beside the plain life of a task, through the whole program."""

import json

from cbtest import *

daemon = None
c = None


def start():
    global daemon, c
    daemon = Daemon(config={"domains": {"task": {"workers": 2}}})
    at_exit(daemon.stop)
    c = daemon.caller()


def claim(worker="w", n=1, **kw):
    return c.call("task.claim", {"workerId": worker, "maxTasks": n, **kw})["tasks"]


def make(n=1, **kw):
    return c.call("task.create_batch", {"tasks": [{"text": f"n{i}", **kw} for i in range(n)]})["ids"]


@case("complete_batch: a hundred with results of every kind; the same again under one idem; what is too large is named")
def complete_batch():
    make(100)
    tasks = claim(n=100)
    equal(len(tasks), 100)
    values = [None, True, 9007199254740993, "é\u0001", [], {"a": [{}]}]
    items = [{"id": t["id"], "lease_token": t["lease_token"], "result": values[i % 6]} for i, t in enumerate(tasks)]
    key = token()
    first = c.call("task.complete_batch", {"items": items, "workerId": "w"}, idem=key)
    equal(first, {"items": [{"id": t["id"], "status": "completed"} for t in tasks]})
    equal(c.call("task.complete_batch", {"items": items, "workerId": "w"}, idem=key), first)
    equal(c.call("task.complete_batch", {"items": items}), first)
    for i in range(6):
        equal(c.call("task.get", {"id": tasks[i]["id"]})["result"], values[i])
    big = "x" * 262144
    data = c.refused("task.complete_batch", {"items": [items[0], {**items[1], "result": big}]})
    equal(data["path"], "items[1].result")
    make(8)
    items = [{"id": t["id"], "lease_token": t["lease_token"], "result": big[:-2]} for t in claim(n=8)]
    equal({i["status"] for i in c.call("task.complete_batch", {"items": items})["items"]}, {"completed"})


@case("progress: shown to everybody, bounded, whatever the literals look like")
def progress():
    make()
    t = claim()[0]
    own = {"id": t["id"], "lease_token": t["lease_token"]}
    for literal, value in ((b"0", 0), (b"1e2", 100), (b"33.333333333333333333333333", 33.3333333333333), (b"-0", 0),
                           (b"0." + b"0" * 200000 + b"1", 0), (b"1E-5", 1e-05)):
        c.call("task.progress", dumps(own)[:-1] + b',"percent":' + literal + b"}")
        equal(c.call("task.get", {"id": t["id"]})["progress"]["percent"], value, literal[:20])
    note = "\u0001\x1b[31m\u2028" + "x" * 480
    c.call("task.progress", {**own, "percent": 1, "note": note})
    equal(c.call("task.get", {"id": t["id"]})["progress"]["note"], note)
    c.refused("task.progress", {**own, "percent": 1, "note": "x" * 501})
    c.call("task.complete", own)
    equal(c.refused("task.progress", {**own, "percent": 1}, -32005)["reason"], "stale_lease")


@case("update: the task comes back whole; a repeat under one idem changes nothing, other params are refused")
def update():
    task = c.call("task.create", {"text": "old", "payload": {"big": "x" * 200000}, "metadata": {"a": 1}})["id"]
    key = token()
    updates = {"text": "new \u0001 \u2028", "priority": 99, "metadata": {"b": [9007199254740993]}}
    got = c.call("task.update", {"id": task, "updates": updates, "if_version": 1}, idem=key)
    equal([got["text"], got["priority"], got["metadata"], got["version"]], [*list(updates.values()), 2])
    equal(len(got["payload"]["big"]), 200000)
    equal(c.call("task.update", {"id": task, "updates": updates, "if_version": 1}, idem=key), got)
    equal(c.refused("task.update", {"id": task, "updates": updates, "if_version": 1}, -32005),
          {"reason": "version", "state": "pending", "version": 2})
    c.refused("task.update", {"id": task, "updates": {"text": "y"}}, -32602, idem=key)
    c.refused("task.update", {"id": task, "updates": {"queue": "y"}})
    equal(c.call("task.update", {"id": task, "updates": {"status": "cancelled"}})["status"], "cancelled")
    equal(c.refused("task.update", {"id": task, "updates": {"text": "y"}}, -32005)["state"], "cancelled")


@case("assign and reassign: the agent's next claim has it, with a token that nobody else ever sees")
def assign():
    agent = c.call("system.register", {"id": "agent/1"})
    other = c.call("system.register", {"id": "agent/2"})
    task, urgent = make()[0], make(priority=100)[0]
    key = token()
    got = c.call("task.assign", {"taskId": task, "instanceId": "agent/1"}, idem=key)
    equal(c.call("task.assign", {"taskId": task, "instanceId": "agent/1"}, idem=key), got)
    equal(c.call("task.get", {"id": task})["assignedTo"], "agent/1")
    first = claim("agent/1", 2, incarnation=agent["incarnation"])
    equal([t["id"] for t in first], [task, urgent])
    equal(c.call("task.reassign", {"id": task, "to": "agent/2", "reason": "é"}), {"id": task, "assignedTo": "agent/2"})
    others = {"agent/2": 120, "a \"{}\\": 0}
    c.call("system.heartbeat", {"instanceId": "agent/1", "incarnation": agent["incarnation"], "seen": others})
    for bad in ({"x": -1}, {"x": 1.5}, {"x": "1"}, {"": 1}, {"x" * 129: 1}, {str(i): i for i in range(51)}, {"x": {"y": 1}}, [1]):
        c.refused("system.heartbeat", {"instanceId": "agent/1", "incarnation": agent["incarnation"], "seen": bad}, -32602)
    c.call("system.heartbeat", {"instanceId": "agent/1", "incarnation": agent["incarnation"]})  # says nothing of others
    shown = {i["id"]: i for i in c.call("system.get_state")["instances"]}
    equal(shown["agent/1"]["seen"], others)
    beat = c.call("system.heartbeat", {"instanceId": "agent/1", "incarnation": agent["incarnation"], "renew": [
        {"id": t["id"], "lease_token": t["lease_token"]} for t in first]})
    equal([(x["id"], x["reason"]) for x in beat["cancel"]], [(task, "lease_lost")])
    own = {"id": task, "lease_token": first[0]["lease_token"]}
    for method, more in (("complete", {}), ("fail", {"error": "e"}), ("release", {}), ("renew", {}), ("progress", {"percent": 1})):
        equal(c.refused(f"task.{method}", {**own, **more}, -32005)["reason"], "stale_lease", method)
    second = claim("agent/2", 1, incarnation=other["incarnation"])[0]
    equal([second["id"], second["attempt"]], [task, 1])
    seen = json.dumps([c.call("task.get", {"id": task}), c.call("task.list", {"limit": 500}),
                       [{k: v.decode() for k, v in e.items()} for _, e in daemon.stream("stream:events")]])
    for secret in (first[0]["lease_token"], second["lease_token"]):
        check(secret not in seen, "a token is shown")
    equal(c.call("task.reassign", {"id": task}), {"id": task, "assignedTo": None})
    equal(c.refused("task.assign", {"taskId": task, "instanceId": "nobody"}, -32004)["reason"], "unknown")
    c.call("task.delete", {"id": task})
    c.call("task.release", {"id": urgent, "lease_token": first[1]["lease_token"]})
    c.call("task.delete", {"id": urgent})


@case("delete: once; its repeat under one idem is answered alike, another is told that there is none")
def delete():
    task = make()[0]
    key = token()
    first = c.call("task.delete", {"id": task}, idem=key)
    equal(first, {"id": task, "status": "deleted"})
    equal(c.call("task.delete", {"id": task}, idem=key), first)
    equal(c.refused("task.delete", {"id": task}, -32004)["reason"], "unknown")
    equal(c.refused("task.get", {"id": task}, -32004)["reason"], "unknown")
    make()
    t = claim()[0]
    equal(c.refused("task.delete", {"id": t["id"]}, -32005), {"reason": "state", "state": "in_progress"})


@case("get_state: what the daemon and its agents are, without a secret; roles are kept as our own literal")
def get_state():
    mine = c.call("system.register", b'{"id":"spacious","roles":[' + b" " * 200000 + b'"\\u0061b"],"capacity":2}')["incarnation"]
    got = c.call("system.get_state")
    equal([(i["roles"], i["capacity"]) for i in got["instances"] if i["id"] == "spacious"], [(["ab"], 2)])
    check(any(i["kind"] == "daemon" and i["id"] == got["leader"] for i in got["instances"]), got["instances"])
    equal(got["recentEvents"][0]["type"], "instance.registered")
    shown = [i["incarnation"] for i in got["instances"] if i["id"] == "spacious"]
    equal(shown, [mine[:8]], "a reader tells incarnations apart, and cannot speak for one")
    check(mine not in json.dumps(got["instances"]) and len(mine) >= 16, f"the incarnation {mine} is not shown")
    before = got["tasks"]["pending"]
    make(3)
    equal(c.call("system.get_state")["tasks"]["pending"], before + 3)


@case("metrics: what was asked is counted by method, with latencies; counts of tasks are exact")
def metrics():
    def of(got, method):
        found = [m for m in got["methods"] if m["method"] == method]
        return found[0] if found else {"requests": 0, "errors": 0, "refused": 0}

    before = c.call("system.metrics")
    for _ in range(20):
        c.call("task.get", {"id": make()[0]})
        c.refused("task.get", {"id": "t-1"}, -32004)
        c.refused("task.get", {"id": "nonsense"})
    first = of(before, "task.get")

    def grown():
        now = of(c.call("system.metrics"), "task.get")
        return [now[n] - first[n] for n in ("requests", "errors", "refused")]

    # A worker counts a request once it has read the commit's answer, when the caller may have its reply already.
    wait_until(lambda: grown() == [60, 20, 20], 5, lambda: f"counted: {grown()}")
    after = c.call("system.metrics")
    b = of(after, "task.get")
    check(0 < b["p50_ms"] <= b["p95_ms"] <= b["p99_ms"] < 10000, b)
    check(after["counters"]["requests"] - before["counters"]["requests"] >= 80, after["counters"])
    equal(after["tasks"]["pending"] - before["tasks"]["pending"], 20)
    equal(after["gauges"]["workersReady"], after["gauges"]["workersWanted"])
    scripts = {s["script"]: s for s in after["scripts"]}
    equal(set(scripts) >= {"task_get", "task_create", "refuse", "system_metrics"}, True)
    got = scripts["task_get"]
    earlier = {s["script"]: s for s in before["scripts"]}.get("task_get", {"requests": 0, "calls": 0, "total_ms": 0})
    equal(got["requests"] - earlier["requests"], 40)
    check(0 < got["calls"] - earlier["calls"] <= 40 and got["total_ms"] > earlier["total_ms"], got)
    check(0 < got["mean_ms"] <= got["max_ms"] <= got["total_ms"] + 0.001, got)

    def told():
        now = c.call("system.metrics")
        return sum(s["calls"] for s in now["scripts"]), now["counters"]["commits"]

    # The two are counted one after the other, by workers who do not wait for who reads them.
    wait_until(lambda: len(set(told())) == 1, 5, lambda: f"each commit is a call of one script: {told()}")
    check(after["instance"] and after["since"].startswith("20"), after)


@case("metrics: what a worker had counted by script outlives it")
def metrics_of_the_dead():
    def calls():
        return {s["script"]: s["requests"] for s in c.call("system.metrics")["scripts"]}.get("task_get", 0)

    c.call("task.get", {"id": make()[0]})
    wait_until(calls, 5, "counted")
    before = calls()
    old = daemon.workers("task")
    for pid in old:
        procs.kill(pid)
    wait_until(lambda: len(set(daemon.workers("task")) - set(old)) == 2, 10, "new workers")
    wait_until(lambda: calls() >= before, 5, lambda: f"{calls()}, {before} before")
    c.insist("task.get", {"id": make()[0]})
    wait_until(lambda: calls() > before, 5, lambda: f"{calls()} after {before}")



if __name__ == "__main__":
    arguments()
    start()
    main()

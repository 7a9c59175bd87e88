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


if __name__ == "__main__":
    arguments()
    start()
    main()

#!/usr/bin/env python3
"""shared_state.py: the shared state through whole programs (row F43 of tests/results/faults.md): 100 writers, restarts, bounds."""

import json

from cbtest import *

daemon = None
c = None


def start():
    global daemon, c
    daemon = Daemon(config={"domains": {"system": {"workers": 3}}})
    at_exit(daemon.stop)
    c = daemon.caller()


def shown():
    return c.call("system.get_state")["state"]


@case("100 writers at once, each adds its own member to what it read: none is lost, workers are killed meanwhile")
def writers():
    c.call("system.state.sync", {"data": {}, "if_version": 0})
    todo, versions = list(range(100)), []
    while todo:
        now = shown()
        if len(todo) in (60, 80):
            procs.kill(daemon.workers("system")[0])
        replies = c.insist_all([("system.state.sync", {"data": {**now["data"], str(w): w}, "if_version": now["version"]}, token())
                                for w in todo])
        won = [w for w, r in zip(todo, replies) if r.ok]
        equal(len(won), 1, "one writer a version")
        versions += [r.result["version"] for r in replies if r.ok]
        equal({r.data["reason"] for r in replies if not r.ok} | {"version"}, {"version"})
        todo.remove(won[0])
    equal(shown()["data"], {str(w): w for w in range(100)})
    equal(versions, sorted(set(versions)))


@case("it outlives a restart of daemon and Redis; a repeat under one idem changes nothing")
def restart():
    key = token()
    first = c.call("system.state.sync", {"data": {"a": []}}, idem=key)
    c.drop()
    daemon.stop()
    daemon.start()
    equal(c.call("system.state.sync", {"data": {"a": []}}, idem=key), first)
    equal([shown()["version"], shown()["data"]], [first["version"], {"a": []}])


@case("at most 64 KiB, an object, and opaque")
def bounds():
    whole = {"x": "y" * (65536 - len(json.dumps({"x": ""}, separators=(",", ":"))))}
    c.call("system.state.sync", dumps({"data": whole}))
    equal(shown()["data"], whole)
    equal(c.refused("system.state.sync", {"data": {"x": whole["x"] + "y"}})["path"], "data")
    equal(c.refused("system.state.sync", {"data": [1]})["path"], "data")
    c.call("system.state.sync", b'{"data":{"big":9007199254740993,"e":[],"o":{}}}')
    equal(shown()["data"], {"big": 9007199254740993, "e": [], "o": {}})


if __name__ == "__main__":
    arguments()
    start()
    main()

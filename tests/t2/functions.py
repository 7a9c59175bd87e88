#!/usr/bin/env python3
"""functions.py: the functions that a daemon keeps in Redis: its own, and no others; and work where Redis does not take them."""

import json
import re

import scripts
from cbtest import *

STALE = "claudebench_task_create_0123456789abcdef"


def libraries(r):
    return {pairs(library)["library_name"].decode() for library in r.call("FUNCTION", "LIST")}


def calls(r, command):
    """How often it was executed."""
    found = re.search(rf"^cmdstat_{command}:calls=(\d+).*rejected_calls=(\d+),failed_calls=(\d+)", r.text("INFO", "commandstats"), re.M)
    return int(found.group(1)) - int(found.group(3)) if found else 0


def work(c, text):
    """A task from its creation to its end."""
    task = c.call("task.create", {"text": text})["id"]
    claim = c.call("task.claim", {"workerId": "w"})
    equal(claim["taskId"], task)
    equal(c.call("task.complete", {"id": task, "lease_token": claim["tasks"][0]["lease_token"], "result": text})["status"], "completed")


@case("what is called is there, under a name that says which text it is; a start removes what other versions left, and nothing else")
def own():
    others = {"other_library", "claudebenchmark", "claudebench_dashboard"}
    with PrivateRedis(aof=True) as redis, redis.client() as r:
        for name in (STALE, *sorted(others)):
            r.call("FUNCTION", "LOAD", f"#!lua name={name}\nredis.register_function('{name}', function() return 1 end)\n")
        with Daemon(redis) as d:
            work(d.caller(), "x")
            wait_until(lambda: STALE not in libraries(r), 5, "the stale one is gone")
            mine = libraries(r) - others
            equal(libraries(r) - mine, others)
            check(all(re.fullmatch(r"claudebench_[a-z_]+_[0-9a-f]{16}", name) for name in mine), f"{mine}")
            check({scripts.function(f"task_{n}") for n in ("create", "claim", "complete")} <= mine, f"{mine}")
            equal([e["last"] for e in d.events("functions_removed")], [STALE])
            equal((calls(r, "fcall") >= 3, r.call("FCALL", "other_library", 0)), (True, 1))
        redis.restart()
        with redis.client() as again:
            equal(libraries(again) & mine, mine, "they are kept with the data")
            with Daemon(redis) as d:
                loaded = calls(again, r"function\|load")
                work(d.caller(), "y")
                equal((calls(again, r"function\|load"), d.events("functions_removed")), (loaded, []))


@case("a function that goes while another version's daemon starts is loaded again, and nobody notices")
def two_versions():
    with PrivateRedis() as redis, redis.client() as r, Daemon(redis) as d:
        c = d.caller()
        for turn in range(3):
            work(c, f"{turn}")
            for name in libraries(r):
                r.call("FUNCTION", "DELETE", name)
        equal((d.events("script_error"), d.events("child_died")), ([], []))


@case("a user without the rights to functions works, by scripts")
def no_rights():
    for rights in (("-fcall",), ("-function",), ("-fcall", "-function")):
        with PrivateRedis() as redis, redis.client() as r:
            for user in r.call("ACL", "USERS"):
                r.call("ACL", "SETUSER", user, *rights)
            with Daemon(redis) as d:
                d.refused_commands = lambda: []  # they are the test
                c = d.caller()
                for turn in range(3):
                    work(c, f"{turn}")
                equal((calls(r, "fcall"), d.events("script_error"), d.events("child_died")), (0, [], []))
                refused = sum(int(n) for n in re.findall(r"cmdstat_(?:fcall|function)\S*:.*rejected_calls=(\d+)", r.text("INFO", "commandstats")))
                check(refused <= 8, f"{refused} calls refused: two for each worker and one for the supervisor, not one for each request")


@case("a Redis without the commands, which were renamed, works, by scripts")
def no_commands():
    for command in ("FCALL", "FUNCTION"):
        with PrivateRedis(lines=[f'rename-command {command} ""']) as redis, redis.client() as r, Daemon(redis) as d:
            work(d.caller(), command)
            equal((calls(r, "fcall"), d.events("script_error"), d.events("child_died")), (0, [], []))


@case("Redis full and without our functions: what finishes work is done, by scripts, and that is said once by each worker")
def full():
    with PrivateRedis() as redis, redis.client() as r, Daemon(redis) as d:
        c = d.caller()
        for turn in range(2):
            c.call("task.create", {"text": f"{turn}"})
        r.call("FUNCTION", "FLUSH")
        r.call("CONFIG", "SET", "maxmemory", "1")

        def ask(method, **params):
            done = d.client("call", method, json.dumps(params))
            return done.returncode, json.loads(done.stdout or "{}")

        claim = ask("task.claim", workerId="w")[1]
        equal(ask("task.complete", id=claim["taskId"], lease_token=claim["tasks"][0]["lease_token"])[1]["status"], "completed")
        equal(ask("task.create", text="no")[0], 75)
        equal(libraries(r), set())
        for _ in range(5):
            check(ask("task.claim", workerId="w")[1]["claimed"] in (True, False), "it goes on")
        said = d.events("functions_refused")
        check(1 <= len(said) <= 2 and all("OOM" in e["error"] for e in said), f"{said}")
        equal(d.events("child_died"), [])


if __name__ == "__main__":
    arguments()
    learn_schemas()
    main()

#!/usr/bin/env python3
"""weather.py: NOSCRIPT, an empty Redis, NOGROUP, LOADING, OOM, stalls and lost connections (rows F13-F16, F20, F21 and
F23 of tests/results/faults.md): no hot loop, no loss, nothing twice."""

import hashlib
import re
import signal
import threading
import time

import scripts
from cbtest import *
from imposter import Imposter
from powercut import PowerCut

SLOTS = 4


def log_rate(d, since):
    """Most log lines in any one second after the line number `since`."""
    seconds = {}
    for line in d.log().splitlines()[since:]:
        stamp = re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", line)
        key = stamp.group() if stamp else "?"
        seconds[key] = seconds.get(key, 0) + 1
    return max(seconds.values(), default=0)


def lines(d):
    return len(d.log().splitlines())


@case("SCRIPT FLUSH and FUNCTION FLUSH at random under load: nothing lost, nothing twice", faults="F23")
def script_flush():
    with PrivateRedis() as redis, Daemon(redis) as d:
        stop = threading.Event()
        flushes = []

        def flusher():
            draw = rng("flush")
            link = redis.client()
            while not stop.is_set():
                link.call(draw.choice(("SCRIPT", "FUNCTION")), "FLUSH")
                flushes.append(1)
                stop.wait(draw.uniform(0.01, 0.1))

        thread = threading.Thread(target=flusher, daemon=True)
        with Load(d, tasks=400, agents=3, rate=300) as load:
            thread.start()
            load.finish(20)
            stop.set()
            thread.join()
        note(f"{len(flushes)} flushes")
        check(len(flushes) >= 5, "flushes")
        load.verdict(20, slots=SLOTS)
        equal(d.events("child_died"), [])


@case("Redis restarted empty: groups and scripts are back within 5 s, no id is handed out twice", faults="F14")
def empty():
    with PrivateRedis() as redis, Daemon(redis) as d:
        c = d.caller()
        seen = []
        for _ in range(3):
            seen += [c.insist("task.create", {"text": "x"}).result["id"] for _ in range(20)]
            with redis.client() as r:
                epoch = r.hash("cb:leader:current").get("epoch", b"0")
            mark = lines(d)
            redis.restart()
            began = time.monotonic()
            reply = c.insist("task.create", {"text": "after"}, timeout=5, each=0.5)
            spent = time.monotonic() - began
            note(f"served {spent:.2f} s after Redis was back")
            check(reply.ok, short(reply.raw))
            seen.append(reply.result["id"])
            wait_until(lambda: d.client("status").returncode == 0, 5, "healthy again")
            with redis.client() as r:
                for domain in ("task", "system"):
                    wait_until(lambda r=r, k=f"cb:requests:{domain}": r.call("EXISTS", k) and r.call("XINFO", "GROUPS", k),
                               5, f"the group of {domain} is back")
                new = wait_until(lambda r=r: r.hash("cb:leader:current").get("epoch"), 5, "a leader")
                check(int(new) > int(epoch), "the epoch rises")
            check(log_rate(d, mark) <= 40, f"{log_rate(d, mark)} log lines in one second")
        equal(len(seen), len(set(seen)), "ids")
        equal(d.events("child_died"), [])


@case("FLUSHALL under load: service goes on, ids do not repeat", faults="F14")
def flushall():
    with PrivateRedis() as redis, Daemon(redis) as d:
        c = d.caller()
        seen = []
        for n in range(60):
            seen.append(c.insist("task.create", {"text": "x"}, each=1.0).result["id"])
            if n % 20 == 10:
                with redis.client() as r:
                    r.call("FLUSHALL")
        equal(len(seen), len(set(seen)))
        equal(d.events("child_died"), [])


@case("XGROUP DESTROY and DEL of a request stream: the group is made again, what waits is served")
def nogroup():
    with PrivateRedis() as redis, Daemon(redis) as d:
        c = d.caller()
        for command in (["XGROUP", "DESTROY", "cb:requests:task", "workers"], ["DEL", "cb:requests:task"]):
            for _ in range(3):
                mark = lines(d)
                with redis.client() as r:
                    r.call(*command)
                check(c.ask("task.create", {"text": "x"}, timeout=5).ok, "served")
                check(log_rate(d, mark) <= 40, f"{log_rate(d, mark)} log lines in one second")
        equal(d.events("child_died"), [])


@case("kill -9 of Redis with AOF under load: nothing acked is lost", faults="F13")
def kill_redis():
    with PrivateRedis(aof=True) as redis, Daemon(redis) as d:
        with Load(d, tasks=400, agents=3, rate=200) as load:
            for _ in range(3):
                done = load.acked
                wait_until(lambda n=done: load.acked > n + 40 or load.created(), 10, "progress")
                redis.restart()
            load.finish(20)
        load.verdict(20, slots=SLOTS)
        equal(d.events("child_died"), [])


@case("a power cut while requests are in flight, appendfsync always: what was answered is there, nothing is there twice", faults="F13")
def power():
    cut = PowerCut("always")
    with cut.redis as redis, Daemon(redis) as d:
        c = d.caller()
        requests = [("task.create", {"text": f"t{i}"}, {"idem": f"power-{i}"}) for i in range(200)]
        ids = c.send_many(requests[:100])
        wait_until(lambda: c.poll(1) and len(c.replies) >= 20, 5, "some are answered")
        ids += c.send_many(requests[100:])
        answered = {rid: reply.result["id"] for rid, reply in c.replies.items()}
        redis.sigstop()  # nobody is told anything more
        d.kill_tree()
        redis.kill9()
        note(f"{len(answered)} of 200 were answered; {cut.cut(0)[1]} bytes were not on disk")
        redis.start()
        d.start()
        c.drop()
        replies = c.insist_all([("task.create", {"text": f"t{i}"}, f"power-{i}") for i in range(200)])
        equal({rid: replies[ids.index(rid)].result["id"] for rid in answered}, answered, "the repeat has the same outcome")
        with redis.client() as r:
            equal(r.call("ZCARD", "cb:queue:tasks:pending"), 200, "tasks")


@case("CLIENT KILL of every connection, again and again: reconnected, nothing lost, nothing twice", faults="F15")
def client_kill():
    with PrivateRedis() as redis, Daemon(redis) as d:
        with Load(d, tasks=300, agents=3, rate=200) as load, redis.client() as r:
            for _ in range(15):
                r.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                done = load.acked
                wait_until(lambda n=done: load.acked > n or load.created(), 10, "progress after the kill")
            load.finish(20)
        load.verdict(20, slots=SLOTS)
        equal(d.events("child_died"), [])


@case("Redis stopped for two seconds: the daemon answers meanwhile, and no worker is taken for hung")
def stopped():
    with PrivateRedis() as redis, Daemon(redis, config={"supervisor": {"watchdog_ms": 1000}}) as d:
        c = d.caller()
        check(c.ask("task.create", {"text": "before"}).ok, "before")
        rids = None
        redis.sigstop()
        try:
            began = time.monotonic()
            while time.monotonic() - began < 2.0:
                asked = time.monotonic()
                code = d.client("status").returncode
                check(time.monotonic() - asked < 1.0, "status took too long")
                check(code in (0, 1), f"status {code}")
        finally:
            redis.cont()
        rids = c.send_many([("task.create", {"text": f"t{i}"}, {}) for i in range(50)])
        check(all(r.ok for r in c.wait_all(rids, 10)), "after")
        equal(d.events("child_died"), [])
        equal(d.events("child_hung"), [])
        wait_until(lambda: d.client("status").returncode == 0, 5, "healthy again")


@case("a busy Redis (a script of another client runs for a second): waited out, no lease lost", faults="F20")
def busy():
    with PrivateRedis(lines=["busy-reply-threshold 100"]) as redis, Daemon(redis) as d:
        c = d.caller()
        c.call("task.create", {"text": "held"})
        t = c.call("task.claim", {"workerId": "w", "lease_ms": 700})["tasks"][0]
        with redis.client() as r:
            r.send("EVAL", "local s = redis.call('TIME'); while true do local t = redis.call('TIME'); "
                           "if (t[1]-s[1])*1000000 + t[2]-s[2] > 1200000 then return 1 end end", 0)
            r.read(10)
        reply = c.insist("task.complete", {"id": t["id"], "lease_token": t["lease_token"]}, each=1.0)
        note(f"the holder's completion after the stall: {reply.code}")
        check(c.insist("task.create", {"text": "after"}).ok, "after")
        equal(d.events("child_died"), [])


@case("at maxmemory creating methods are -32007, finishing ones work, and it recovers when freed", faults="F21")
def oom():
    with PrivateRedis() as redis, Daemon(redis) as d:
        c = d.caller()
        ids = [c.call("task.create", {"text": f"t{i}"})["id"] for i in range(4)]
        agent = c.call("system.register", {"id": "a"})
        submit = scripts.text("submit")

        def finishing(method, params):
            """As a client does it: through the `submit` script, which may exceed the limit."""
            rid, command = c.entry(method, params)
            with redis.client() as link:
                link.call("EVAL", submit, 1, command[1], *command[3:])
            return c.wait(rid)

        with redis.client() as r:
            used = int(r.info("memory")["used_memory"])
            r.call("CONFIG", "SET", "maxmemory", used - 100000)
            try:
                tasks = []
                for _ in ids:
                    reply = finishing("task.claim", {"workerId": "a"})
                    check(reply.ok, short(reply.raw))
                    tasks += reply.result["tasks"]
                for method, t, more in (("task.complete", tasks[0], {"result": [1]}), ("task.fail", tasks[1], {"error": "e"}),
                                        ("task.release", tasks[2], {}), ("task.renew", tasks[3], {})):
                    reply = finishing(method, {"id": t["id"], "lease_token": t["lease_token"], **more})
                    check(reply.ok, f"{method}: {short(reply.raw)}")
                beat = {"instanceId": "a", "incarnation": agent["incarnation"]}
                check(finishing("system.heartbeat", beat).ok, "heartbeat")
                # A creating request that got onto the stream (before memory filled up) is refused.
                for method, params in (("task.create", {"text": "x"}), ("task.create_batch", {"tasks": [{"text": "x"}]})):
                    reply = finishing(method, params)
                    equal(reply.code, -32007, f"{method}: {short(reply.raw)}")
                    check(reply.data["retry_after_ms"] > 0, reply.data)
                check(finishing("system.unregister", {"id": "a", "incarnation": agent["incarnation"]}).ok, "unregister")
                try:
                    c.send("task.create", {"text": "plain"})
                    fail("a plain XADD was accepted at maxmemory")
                except RespError as problem:
                    equal(problem.code, "OOM")
            finally:
                r.call("CONFIG", "SET", "maxmemory", 0)
        reply = c.insist("task.create", {"text": "freed"}, timeout=10)
        check(reply.ok, short(reply.raw))
        equal(d.events("child_died"), [])


@case("from 90 % of maxmemory on creating methods are refused, and system.health and `claudebench status` say so", faults="F21")
def nearly_full():
    with PrivateRedis() as redis, Daemon(redis) as d:
        c = d.caller()
        with redis.client() as r:
            for i in range(40):
                r.call("SETRANGE", f"ballast{i}", 999999, "x")
            used = int(r.info("memory")["used_memory"])
            r.call("CONFIG", "SET", "maxmemory", int(used / 0.95))
        wait_until(lambda: "memory" in str(c.call("system.health")["reasons"]), 10, "health says why")
        reply = c.ask("task.create", {"text": "x"})
        equal(reply.code, -32007, short(reply.raw))
        shown = d.client("status")
        equal(shown.returncode, 1, "status and system.health agree")
        check(b"90 % or more: creating methods are refused" in shown.stdout, shown.stdout)
        wait_until(lambda: d.events("daemon_degraded"), 3, "it is in the log")
        check(c.ask("task.claim", {"workerId": "w"}).ok, "claims work")
        with redis.client() as r:
            r.call("CONFIG", "SET", "maxmemory", 0)
        wait_until(lambda: c.call("system.health")["status"] == "healthy", 10, "healthy again")
        equal(d.client("status").returncode, 0, "status and system.health agree")
        check(c.ask("task.create", {"text": "x"}).ok, "and creates work again")


@case("a Redis that is loading: waited for, then served; few log lines", faults="F25")
def loading():
    with PrivateRedis(aof=True, lines=["key-load-delay 50", "loading-process-events-interval-bytes 1024"]) as redis:
        with Daemon(redis) as d:
            c = d.caller()
            ids = [r.result["id"] for r in
                   c.wait_all(c.send_many([("task.create", {"text": f"t{i}"}, {}) for i in range(300)]), 20)]
            mark = lines(d)
            redis.kill9()
            redis.start(wait=False)
            reply = c.insist("task.create", {"text": "x"}, timeout=30, each=1.0)
            check(reply.ok, short(reply.raw))
            equal(c.insist("task.get", {"id": ids[0]}).result["id"], ids[0])
            check(log_rate(d, mark) <= 40, f"{log_rate(d, mark)} log lines in one second")
            equal(d.events("child_died"), [])


@case("Redis away for three seconds: few log lines, no restart of workers, then served")
def away():
    with PrivateRedis(aof=True) as redis, Daemon(redis) as d:
        c = d.caller()
        check(c.ask("task.create", {"text": "x"}).ok, "before")
        mark = lines(d)
        redis.kill9()
        holds_for(lambda: d.client("status").returncode in (0, 1), 3.0, "status answers", step=0.2)
        equal(d.client("status").returncode, 1, "status says unhealthy")
        redis.start()
        check(c.insist("task.create", {"text": "x"}, timeout=8).ok, "after")
        rate = log_rate(d, mark)
        note(f"at most {rate} log lines in one second")
        check(rate <= 20, f"{rate} log lines in one second")
        equal(d.events("child_died"), [])
        wait_until(lambda: d.client("status").returncode == 0, 8, "healthy again")


@case("a server that answers with errors nobody asked for, nonsense, nothing at once, and wrong types: no worker is lost, nor what it was "
      "given meanwhile", faults="F17")
def lies():
    with PrivateRedis() as redis:
        imposter = Imposter(redis.socket)
        with Daemon(redis, config={"domains": {"task": {"workers": 1}}, "redis": {"url": imposter.url}}) as d:
            c = d.caller()
            imposter.lie(b"-ERR no\r\n" * 20, commands=("XREADGROUP",))
            rid = c.send("task.create", {"text": "x"})  # the worker is given it, and told something else
            wait_until(lambda: imposter.told, 5, "a lie")
            imposter.truth()
            check(c.wait(rid, 15).ok, "done all the same")
            imposter.lie(b"*-1\r\n", commands=("XREADGROUP",), is_early=True)
            wait_until(lambda: imposter.told > 3, 5, "more lies")
            time.sleep(0.3)
            check(imposter.told < 100, f"{imposter.told} reads in a moment: a hot loop")
            imposter.lie(b"*0\r\n", is_early=True)  # also to a worker that connects and asks for the schema
            with redis.client() as r:
                r.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            wait_until(lambda: imposter.told > 10, 10, "and more")
            imposter.truth()
            c.drop()
            check(c.insist("task.create", {"text": "x"}, timeout=20).ok, "after")
            equal(d.events("child_died"), [])
        imposter.end()


@case("a commit that is always answered with nonsense keeps its worker from nothing else", faults="F17")
def nonsense_for_commits():
    with PrivateRedis() as redis:
        imposter = Imposter(redis.socket)
        with Daemon(redis, config={"domains": {"task": {"workers": 1}}, "redis": {"url": imposter.url}}) as d:
            c = d.caller()
            check(c.ask("task.create", {"text": "x"}).ok, "Redis has the script")
            imposter.lie(b"*0\r\n", commands=(f"FCALL {scripts.function('task_create')}",))
            check(c.ask("task.create", {"text": "x"}, timeout=15).ok, "it was done, and the answer does not come from the worker")
            check(c.ask("task.list", {}, timeout=15).ok, "the worker serves the next one")
            check(imposter.told >= 2, f"{imposter.told} lies: it was tried again")
            imposter.truth()
            equal(len(c.insist("task.list", {}, timeout=20).result["tasks"]), 2, "made once")
            equal(d.events("child_died"), [])
        imposter.end()


@case("a worker whose connections are cut as soon as they are made says nothing at once, and then says so", faults="F15")
def cut_in_recovery():
    with PrivateRedis() as redis:
        imposter = Imposter(redis.socket)
        with Daemon(redis, config={"domains": {"task": {"workers": 1}}, "redis": {"url": imposter.url}}) as d:
            imposter.lie(b"", commands=("EVALSHA cb:requests:task",), is_early=True)  # what its recovery ends with
            with redis.client() as r:
                for line in r.call("CLIENT", "LIST").decode().splitlines():
                    if " name=" in line and "/task/" in line:
                        r.call("CLIENT", "KILL", "ID", re.match(r"id=(\d+)", line).group(1))
            wait_until(lambda: imposter.told, 10, "cut again")
            began = time.monotonic()
            said = d.logged("redis_error", where=lambda fields: fields["command"] == "recovery", timeout=15)
            check(time.monotonic() - began > 1.5, f"others may lose their connections just now, too: {said}")
            imposter.truth()
            check(d.caller().insist("task.create", {"text": "x"}, timeout=20).ok, "and serves again")
        imposter.end()


@case("a forged wrong type on the request stream: reported, and served once it is repaired")
def wrong_type():
    with PrivateRedis() as redis, Daemon(redis) as d:
        c = d.caller()
        with redis.client() as r:
            r.call("RENAME", "cb:requests:task", "cb:keep")
            r.call("SET", "cb:requests:task", "x")
            mark = lines(d)
            holds_for(d.running, 1.0, "the daemon runs", step=0.1)
            check(log_rate(d, mark) <= 40, f"{log_rate(d, mark)} log lines in one second")
            r.call("DEL", "cb:requests:task")
            r.call("RENAME", "cb:keep", "cb:requests:task")
        check(c.ask("task.create", {"text": "x"}, timeout=10).ok, "served again")


@case("at maxmemory a worker whose connection was cut comes back, and finishing methods work", faults="F21")
def oom_reconnect():
    with PrivateRedis() as redis, Daemon(redis) as d:
        c = d.caller()
        task = c.call("task.create", {"text": "x"})["id"]
        submit = scripts.text("submit")
        with redis.client() as r:
            r.call("CONFIG", "SET", "maxmemory", int(r.info("memory")["used_memory"]) // 2)
            try:
                for line in r.call("CLIENT", "LIST").decode().splitlines():
                    if re.search(r" name=\S+/(task|system)/", line):
                        r.call("CLIENT", "KILL", "ID", re.match(r"id=(\d+)", line).group(1))
                rid, command = c.entry("task.claim", {"workerId": "a"})
                r.call("EVAL", submit, 1, command[1], *command[3:])
                equal([t["id"] for t in c.wait(rid, 5).result["tasks"]], [task])
            finally:
                r.call("CONFIG", "SET", "maxmemory", 0)
        equal(d.events("child_died"), [])


@case("a drain while Redis refuses all writes: no hot loop, and the request in hand is done when it lets us")
def drain_in_bad_weather():
    with PrivateRedis() as redis, Daemon(redis, config={"domains": {"task": {"workers": 1}}}) as d:
        c = d.caller()
        with redis.client() as r:
            wait_until(lambda: re.search(r"name=\S*/task/.* flags=b.* cmd=xreadgroup", r.text("CLIENT", "LIST")), 5,
                       "the worker waits for requests")
            rid, command = c.entry("task.create", {"text": "x"})
            r.pipeline([["MULTI"], command, ["CONFIG", "SET", "min-replicas-to-write", "1"], ["EXEC"]])
            wait_until(lambda: d.pending(), 5, "the worker has it in hand")
            procs.kill(d.workers("task")[0], signal.SIGTERM)
            time.sleep(2)
            calls = int(re.search(r"rejected_calls=(\d+)", r.info("commandstats")["cmdstat_fcall"]).group(1))
            check(calls < 200, f"{calls} refused calls in 2 s")
            r.call("CONFIG", "SET", "min-replicas-to-write", "0")
        check(c.wait(rid, 10).ok, "done")


@case("after a restart of Redis nobody who was given a worker's old connection id is cut off")
def old_ids():
    with PrivateRedis() as redis, Daemon(redis) as d:
        check(d.caller().ask("task.create", {"text": "x"}).ok, "before")
        with redis.client() as r:
            listed = r.call("CLIENT", "LIST").decode().splitlines()
            old = [int(re.match(r"id=(\d+)", line).group(1)) for line in listed if " name=test-host/" in line]
        stopped = [d.pid, *d.workers()]
        for pid in stopped:
            procs.kill(pid, signal.SIGSTOP)
        redis.restart()
        links = {}
        for _ in range(max(old) + 10):
            link = redis.client()
            links[link.call("CLIENT", "ID")] = link
        check(set(old) & set(links), "somebody has an old id")
        for pid in reversed(stopped):
            procs.kill(pid, signal.SIGCONT)
        check(d.caller().insist("task.create", {"text": "x"}, timeout=10).ok, "after")
        time.sleep(1)
        for number, link in links.items():
            equal(link.call("PING"), b"PONG", f"connection {number}")


if __name__ == "__main__":

    main()

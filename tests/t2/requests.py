#!/usr/bin/env python3
"""requests.py: the envelope's fields, deadlines, lost replies and repeats (claudebench-methods(7))."""

import json

from cbtest import *

daemon = None
c = None


def start():
    global daemon, c
    env = failpoints_env(failpoint("prepare", "delay=300", match="SLOW"))
    daemon = Daemon(env=env, config={"domains": {"task": {"workers": 2}}})
    at_exit(daemon.stop)
    c = daemon.caller()


def raw(stream, *fields):
    with daemon.connect() as r:
        return r.call("XADD", f"cb:requests:{stream}", "*", *fields).decode()


def queue_size():
    with daemon.connect() as r:
        return r.call("ZCARD", "cb:queue:tasks:pending")


def quiet():
    wait_until(lambda: daemon.backlog("task") == 0 and daemon.backlog("system") == 0, 5, "all handled")


@case("a repeated field is -32600 and has no effect, whichever it is")
def repeated():
    before = queue_size()
    known = {"id": "twice", "method": "task.create", "params": '{"text":"x"}', "actor": "a", "idem": "i", "ttl_ms": "5000",
             "session": "s", "agent": "g", "trace": "00"}
    for name in known:
        if name == "id":
            continue
        rid = f"rep-{name}"
        fields = [x for k, v in known.items() if k != "id" for x in (k, v)]
        c.methods[rid] = "task.create"
        raw("task", "id", rid, "reply", c.token, *fields, name, known[name])
        reply = c.wait(rid)
        equal(reply.code, -32600, f"{name} ({short(reply.raw)})")
    for name, value in (("id", "rep-id"), ("reply", c.token)):
        raw("task", "id", "rep-id", "reply", c.token, "method", "task.create", "params", '{"text":"x"}', name, value)
        reply = c.wait("rep-id")
        equal(reply.code, -32600, name)
    equal(queue_size(), before)


@case("empty fields count as absent; unknown ones are ignored")
def empty_and_unknown():
    reply = c.ask("task.create", {"text": "e"}, more=[("session", ""), ("ttl_ms", ""), ("idem", ""), ("trace", ""),
                                                     ("x-unknown", "\x00\xff"), ("", "nameless"), ("Method", "nope")])
    check(reply.ok, short(reply.raw))
    reply = c.ask("system.health", b"")
    check(reply.ok, "empty params are {}")
    reply = c.ask(None, {}, more=[("method", "")], stream="cb:requests:system")
    equal(reply.code, -32600, "an empty method")


@case("an entry without a usable method: acked, deleted, in the dead stream; the caller hears -32600")
def no_method():
    quiet()
    before = len(daemon.stream("stream:dead"))
    reply = c.ask(None, {"a": 1}, stream="cb:requests:task")
    equal(reply.code, -32600)
    raw("task", "junk", "1")
    raw("task", "method", "x" * 200)
    raw("task", "method", b"\xff\xfe")
    wait_until(lambda: len(daemon.stream("stream:dead")) == before + 4, 5, "dead letters")
    letters = [f for _, f in daemon.stream("stream:dead")][before:]
    check(all("reason" in f and "entry" in f for f in letters), letters)
    equal(letters[1]["junk"], b"1")
    quiet()
    equal(daemon.pending("task"), [])


@case("unknown methods: -32601 with the nearest name; a method of another domain: refused")
def unknown_method():
    reply = c.ask("task.craete", {})
    equal(reply.code, -32601)
    check("task.create" in json.dumps(reply.error), f"no hint: {reply.error}")
    equal(c.ask("nope", {}, stream="cb:requests:task").code, -32601)
    equal(c.ask("task.", {}).code, -32601)
    equal(c.ask("TASK.CREATE", {}, stream="cb:requests:task").code, -32601)
    reply = c.ask("system.health", {}, stream="cb:requests:task")
    check(reply.code in (-32600, -32601), short(reply.raw))


@case("notifications have their effect, and nobody is answered")
def notification():
    with daemon.connect() as r:
        lists = len(r.scan("cb:reply:*"))
    before = queue_size()
    c.send("task.create", {"text": "silent"}, notify=True)
    wait_until(lambda: queue_size() == before + 1, 5, "the effect")
    quiet()
    with daemon.connect() as r:
        equal(len(r.scan("cb:reply:*")), lists)
    c.send("task.create", {"nonsense": 1}, notify=True)
    quiet()
    equal(queue_size(), before + 1)


@case("ttl_ms: done in time, -32006 behind it with nothing done, counted from the first arrival")
def ttl():
    check(c.ask("task.create", {"text": "in time"}, ttl_ms=60000).ok, "in time")
    before = queue_size()
    reply = c.ask("task.create", {"text": "old"}, ttl_ms=1000, more=[("origin", "1000-0")])
    equal(reply.code, -32006, "origin")
    equal(queue_size(), before)
    if has_failpoints(procs.binary("claudebench-worker")):
        reply = c.ask("task.create", {"text": "SLOW"}, ttl_ms=100)
        equal(reply.code, -32006, "slow")
        equal(queue_size(), before)
    for bad in ("0", "-1", "x", "1.5", "1e3", "99999999999999999999", " 5"):
        equal(c.ask("system.health", {}, ttl_ms=bad).code, -32600, f"ttl_ms {bad!r}")


@case("a lost reply and the repeat with the same idem: the same outcome, one effect", faults="F38")
def lost_reply():
    before = queue_size()
    key = token()
    first = c.send("task.create", {"text": "once"}, idem=key)
    quiet()
    with daemon.connect() as r:
        equal(r.call("DEL", f"cb:reply:{c.token}"), 1, "the reply is lost")
    again = c.ask("task.create", {"text": "once"}, idem=key)
    check(again.ok, short(again.raw))
    equal(queue_size(), before + 1)
    other = c.ask("task.create", {"text": "other"}, idem=key)
    equal(other.code, -32602)
    third = c.ask("task.create", {"text": "once"}, idem=key)
    equal(third.result, again.result)
    check(first not in c.replies, "the first reply never came")


@case("idempotency keys are scoped by actor and method")
def idem_scope():
    key = token()
    a = c.call("task.create", {"text": "a"}, idem=key, actor="actor-a")
    b = c.call("task.create", {"text": "a"}, idem=key, actor="actor-b")
    check(a["id"] != b["id"], "two actors")
    check(c.ask("task.claim", {"workerId": "w", "queue": "empty"}, idem=key, actor="actor-a").ok, "another method")
    equal(c.call("task.create", {"text": "a"}, idem=key, actor="actor-a")["id"], a["id"])
    # No way to move bytes between actor, method and key.
    x = c.call("task.create", {"text": "s"}, idem="bc", actor="a")
    y = c.call("task.create", {"text": "s"}, idem="c", actor="ab")
    check(x["id"] != y["id"], "scopes run into each other")


@case("refusals are not stored: the repeat after a refusal is a new try")
def refusals():
    key = token()
    task = c.call("task.create", {"text": "r", "queue": "refusals"})["id"]
    equal(c.ask("task.complete", {"id": task, "workerId": "w"}, idem=key).code, -32005)
    c.call("task.claim", {"workerId": "w", "queue": "refusals"})
    check(c.ask("task.complete", {"id": task, "workerId": "w"}, idem=key).ok, "the second try")


@case("a finishing call is repeated without idem: the holder gets the first outcome, others -32005")
def done_token():
    for method, more in (("task.complete", {"result": 1}), ("task.fail", {"error": "e"}), ("task.release", {})):
        c.call("task.create", {"text": method, "queue": "dt"})
        t = c.call("task.claim", {"workerId": "w", "queue": "dt"})["tasks"][0]
        params = {"id": t["id"], "lease_token": t["lease_token"], **more}
        first = c.call(method, params)
        equal(c.call(method, params), first, method)
        data = c.refused(method, {**params, "lease_token": "another"}, -32005)
        equal([data["reason"], "state" in data], ["stale_lease", True], method)
        data = c.refused("task.renew", {"id": t["id"], "lease_token": t["lease_token"]}, -32005)
        equal(data["reason"], "stale_lease")
        if method == "task.release":
            t = c.call("task.claim", {"workerId": "w", "queue": "dt"})["tasks"][0]
            c.call("task.complete", {"id": t["id"], "lease_token": t["lease_token"]})


@case("a repeat of the claim with the same idem returns the same leases")
def claim_again():
    for i in range(3):
        c.call("task.create", {"text": str(i), "queue": "ca"})
    key = token()
    params = {"workerId": "w", "queue": "ca", "maxTasks": 2}
    first = c.call("task.claim", params, idem=key)
    again = c.call("task.claim", params, idem=key)
    equal([(t["id"], t["lease_token"]) for t in again["tasks"]], [(t["id"], t["lease_token"]) for t in first["tasks"]])
    equal(len(c.call("task.claim", {**params, "maxTasks": 9})["tasks"]), 1)


@case("complete, fail, release under one idem: the first outcome, whatever has become of the task")
def idem_finishing():
    for method, params in (("task.complete", {"result": {"n": 1}}), ("task.fail", {"error": "boom"}), ("task.release", {})):
        queue = "f" + method[5:]
        task = c.call("task.create", {"text": "x", "queue": queue, "backoff_ms": 0})["id"]
        held = c.call("task.claim", {"workerId": "w1", "queue": queue})["tasks"][0]
        params = {"id": task, "lease_token": held["lease_token"], **params}
        key = token()
        first = c.call(method, params, idem=key)
        if method != "task.complete":  # another one gets it and ends it
            wait_until(lambda: c.call("task.claim", {"workerId": "w2", "queue": queue})["claimed"], 5, "claimed again")
            c.call("task.complete", {"id": task, "workerId": "w2"})
        c.call("task.delete", {"id": task})
        equal(c.call(method, params, idem=key), first)
        c.refused(method, {**params, "lease_token": "1-" + "0" * 16}, -32602, idem=key)


@case("renew and heartbeat under one idem: the lease lives on; with a length, the first outcome")
def idem_renewing():
    c.call("task.create", {"text": "x", "queue": "renewing"})
    held = c.call("task.claim", {"workerId": "w", "queue": "renewing", "lease_ms": 60000})["tasks"][0]
    params, key = {"id": held["id"], "lease_token": held["lease_token"]}, token()
    first = c.call("task.renew", params, idem=key)["lease_until"]
    check(c.call("task.renew", params, idem=key)["lease_until"] >= first, "never shorter")
    short, key = {**params, "extend_ms": 1000}, token()
    first = c.call("task.renew", short, idem=key)
    longer = c.call("task.renew", {**params, "extend_ms": 600000})["lease_until"]
    equal(c.call("task.renew", short, idem=key), first)
    equal(c.call("task.get", {"id": held["id"]})["lease_until"], longer)
    c.refused("task.renew", {**params, "extend_ms": 2000}, -32602, idem=key)
    agent = c.call("system.register", {"id": "beating"})
    beat, key = {"instanceId": "beating", "incarnation": agent["incarnation"]}, token()
    equal([c.call("system.heartbeat", beat, idem=key)["alive"] for _ in range(2)], [True, True])
    c.call("system.unregister", {"id": "beating", "incarnation": agent["incarnation"]})
    equal(c.call("system.heartbeat", beat, idem=key)["alive"], False)


@case("the same idem twice in one batch: one effect, one outcome", faults="F38")
def idem_twice_at_once():
    key = token()
    rids = c.send_many([("task.create", {"text": "twice"}, {"idem": key}) for _ in range(20)])
    replies = [c.wait(rid) for rid in rids]
    equal(len({r.result["id"] for r in replies}), 1)


@case("hundreds in flight, mixed methods, several callers: each gets its own replies")
def in_flight():
    def one(n):
        def run():
            mine = daemon.caller()
            want = {}
            requests = []
            for i in range(200):
                text = f"{n}-{i}"
                requests.append([("task.create", {"text": text, "queue": f"q{n}"}, {}), ("system.health", {}, {}),
                                 ("task.get", {"id": "t-1"}, {})][i % 3])
            rids = mine.send_many(requests)
            for rid, request in zip(rids, requests):
                want[rid] = request
            for rid, reply in zip(rids, mine.wait_all(rids, 30)):
                method, params, _ = want[rid]
                if method == "task.create":
                    equal(reply.result["text"], params["text"])
                else:
                    equal(reply.code, 0 if method == "system.health" else -32004)
            equal([mine.doubles, mine.replies], [[], {}])
            mine.close()

        return run

    in_threads([one(n) for n in range(4)])


@case("reply lists live 60 s, and request streams are empty when all is done")
def leftovers():
    rid = c.send("system.health", {})
    quiet()
    with daemon.connect() as r:
        ttl_ = r.call("PTTL", f"cb:reply:{c.token}")
        check(50000 < ttl_ <= 60000, f"TTL {ttl_}")
        equal([r.call("XLEN", "cb:requests:task"), r.call("XLEN", "cb:requests:system")], [0, 0])
    c.wait(rid)


@case("entries with thousands of fields, and with one field thousands of times, hang nobody", faults="F31")
def wide_entries():
    quiet()
    before = len(daemon.stream("stream:dead"))
    raw("task", *[x for i in range(6000) for x in (f"f{i}", "v")])
    raw("task", "id", "wide", "method", "system.health", *["actor", "a"] * 20000)
    raw("task", "id", "wide2", "reply", c.token, "method", "task.get", "params", '{"id":"t-1"}',
        *[x for i in range(6000) for x in (f"f{i}", "v")])
    equal(c.wait("wide2").code, -32004)
    quiet()
    check(len(daemon.stream("stream:dead")) > before, "the one without a method is in the dead stream")
    equal(daemon.events("child_died"), [])
    equal(daemon.events("child_hung"), [])


@case("100 000 bytes in every text field: refused, and the worker lives", faults="F31")
def long_fields():
    long_text = "x" * 100000
    for name in ("session", "agent", "trace", "idem"):
        equal(c.ask("system.health", {}, more=[(name, long_text)]).code, -32600, name)
    equal(c.ask("system.health", {}, actor=long_text).code, -32600)
    equal(daemon.events("child_died"), [])


@case("an origin that a caller made up: garbage is ignored, a later one than the entry's own gives no more time")
def forged_origin():
    for origin in ("99999999999999999999999", "9223372036854775807-1", "-99999999999999999999", "abc", ""):
        check(c.ask("task.create", {"text": "o"}, ttl_ms=5000, more=[("origin", origin)]).ok, origin)
    equal(c.ask("task.create", {"text": "o"}, ttl_ms=5000, more=[("origin", "1000-0")]).code, -32006)
    equal(daemon.events("child_died"), [])


@case("cursors that no page gave are -32602")
def forged_cursors():
    for cursor in ("x", "1 / 0 t-1", "1 //x 0 t-1", "1 default . t-1", "1 default e+ t-1", "8 default 0 t-1", "1 default 0 t-",
                   "1 default " + "1" * 40 + " t-1"):
        equal(c.ask("task.list", {"cursor": cursor}).code, -32602, cursor)
    check(c.ask("task.list", {"cursor": "1 default -50 t-1"}).ok, "one that a page could have given")


@case("requests that are together more than one reply takes are served, uncharged", faults="F31")
def together_too_large():
    batch = dumps({"tasks": [{"text": "b", "queue": "large", "payload": "p" * 200000}] * 19})
    entries = [c.entry("task.create_batch", batch) for _ in range(20)]
    entries += [c.entry("task.create", {"text": "s", "queue": "large"}) for _ in range(5)]
    with daemon.connect() as r:
        r.pipeline([["MULTI"], *[command for _, command in entries], ["EXEC"]])
    equal({r.code for r in c.wait_all([rid for rid, _ in entries], 40)}, {0})
    with daemon.connect() as r:
        r.call("DEL", "cb:queue:large:pending", *r.scan("cb:task:*"))


@case("a request that is too large by itself: a dead letter, cut; those beside it are served", faults="F31")
def alone_too_large():
    before = len(daemon.stream("stream:dead"))
    large = c.entry("task.create", b'{"text":"' + b"x" * (66 << 20) + b'"}')
    entries = [large] + [c.entry("task.create", {"text": "beside"}) for _ in range(20)]
    with daemon.connect(timeout=30) as r:
        r.pipeline([["MULTI"], *[command for _, command in entries], ["EXEC"]])
    codes = [r.code for r in c.wait_all([rid for rid, _ in entries], 40)]
    equal(codes, [-32603] + [0] * 20)
    letters = daemon.stream("stream:dead")[before:]
    equal([(len(f["params"]), f["crashes"]) for _, f in letters], [(262144, b"3")])
    equal(daemon.events("child_died"), [])


@case("a Redis that refuses the refusal itself, each time: it is let go in the end, and the next one is served")
def refusal_refused():
    redis = PrivateRedis(lines=['rename-command XLEN ""'])  # the last thing that the commit's script does
    with Daemon(redis=redis, config={"domains": {"task": {"workers": 1}}}) as d:
        caller = d.caller(schemas=False)
        for _ in range(2):
            equal(caller.wait(caller.send("task.create", {"text": ""}), 30).code, -32602)
        check(any(e["script"] == "refuse" for e in d.events("commit_retried")), d.log_tail(20))
    redis.stop()


@case("what is refused without a look at its params gets its reply, also behind a refused batch that fills a commit")
def refused_behind_full():
    with Daemon(config={"limits": {"backlog": 100}, "domains": {"task": {"workers": 1}}}) as d:
        caller = d.caller()
        full = {"tasks": [{"text": "t"}] * 100}
        entries = [caller.entry("task.get", {"id": "t-0000000000000001"}) for _ in range(64)]  # their commit sees the others
        entries += [caller.entry("task.create_batch", full)] + [caller.entry("task.nope") for _ in range(3)]
        entries += [caller.entry("task.get", {"id": "t-0000000000000001"}) for _ in range(200)]
        with d.connect() as r:
            r.pipeline([["MULTI"], *[command for _, command in entries], ["EXEC"]])
        codes = [r.code for r in caller.wait_all([rid for rid, _ in entries], 20)]
        equal(codes, [-32004] * 64 + [-32007] + [-32601] * 3 + [-32004] * 200)
        equal([caller.doubles, d.duplicates(), d.events("child_died")], [[], 0, []])


if __name__ == "__main__":
    arguments()
    start()
    main()

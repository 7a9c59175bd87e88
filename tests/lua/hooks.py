#!/usr/bin/env python3
"""hooks.py: the scripts of the hook methods and the audit trail (lua/include/audit.lua), driven directly."""

import json

from cbtest import *
from resp import RespError
from scripts import Request, Scripts

s = None
MAX = 100  # limits.audit_entries


def fresh():
    s.redis.call("FLUSHALL")
    s.tick(register=1)


def records():
    return [(f[1].decode(), json.loads(f[5])) for _, f in s.redis.call("XRANGE", s.key("stream:audit"), "-", "+")]


def ask(name, *args, op_args=(), op_keys=(), **kw):
    return s.ask(name, *args, op_args=[*op_args, MAX], op_keys=[*op_keys, s.key("stream:audit")], domain="hook", **kw)


def decide(result='{"allow":true}', record='{"tool":"T"}', decision="none", tool="T", rule="", kept=(), **kw):
    return ask("hook_decide", "hook.pre_tool", result, record, decision, tool, rule, *kept,
               keys=[s.key("cache:hook:x")] if kept else [], **kw)


def post(cls="error", tool="Bash", text="", after=3, window=60000, **kw):
    return ask("hook_post_tool", '{"x":1', '{"class":"' + cls + '"}', cls, tool, text, op_args=[after, window],
               op_keys=[s.key("hooks:failures")], **kw)["result"]


def register(name, priority=100, event="pre_tool", file="f.yaml", **kw):
    element = '{"name":"%s","file":"%s"}' % (name, file)
    return ask("hook_register", name, event, priority, file, element, '{"registered":true', '{"n":1}', keys=[s.key(f"hooks:{event}")], **kw)


def number():
    return (s.redis.call("HGET", s.key("meta"), "hooks") or b"").decode()


@case("a decision: reply, record with who asked, and an event only when it is a refusal; empty and hostile texts")
def decision():
    fresh()
    raw = '{"e":[],"n":9007199254740993,"s":"\\u0061"}'
    equal(decide(raw)["result"]["n"], 9007199254740993)
    decide(decision="deny", rule="g/r", actor='a"b\\c', session="s\u001b", agent="x", trace="t")
    decide(record="{}")
    equal(records(), [("hook.pre_tool", {"request": "1", "tool": "T"}),
                      ("hook.pre_tool", {"request": "1", "actor": 'a"b\\c', "session": "s\u001b", "agent": "x", "trace": "t", "tool": "T"}),
                      ("hook.pre_tool", {"request": "1"})])
    denied = s.events("hook.denied")
    equal([(e["tool"], e["rule"], e["session"]) for e in denied], [("T", "g/r", "s\u001b")])


@case("a decision that is kept has its time to live; one whose entry somebody else has committed leaves nothing")
def kept():
    fresh()
    decide(kept=(5000, "text"))
    equal(s.redis.call("GET", s.key("cache:hook:x")), b"text")
    check(0 < s.redis.call("PTTL", s.key("cache:hook:x")) <= 5000, "and its time")
    entry, = s.deliver(1, domain="hook")
    s.redis.call("XACK", s.stream("hook"), "workers", entry)
    s.redis.call("XDEL", s.stream("hook"), entry)
    before = len(records())
    answer = s.commit("hook_decide", [Request("hook.pre_tool", "{}", "{}", "deny", "T", "", entry=entry)], [MAX],
                      [s.key("stream:audit")], domain="hook", deliver=False)
    equal([answer.codes, len(records())], [[-1], before])


@case("a key of a wrong type: an internal error, and nothing of it is done")
def wrong_types():
    for broken, run in (("stream:audit", decide), ("stream:audit", lambda: s.ask("hook_spool", "{}", op_args=[MAX],
                                                                                  op_keys=[s.key("stream:audit")], domain="hook")),
                        ("hooks:failures", lambda: ask("hook_post_tool", "{", "{}", "error", "T", "", op_args=[3, 1000],
                                                       op_keys=[s.key("hooks:failures")])),
                        ("hooks:pre_tool", lambda: register("a"))):
        fresh()
        s.redis.call("SET", s.key(broken), "mine")
        got = run()
        equal([got["error"]["code"], len(got["internal"])], [-32603, 1], broken)
        equal([s.redis.call("GET", s.key(broken)), number()], [b"mine", ""])
        if broken != "stream:audit":
            equal(s.redis.call("EXISTS", s.key("stream:audit")), 0, broken)


@case("the audit trail keeps about as many records as it is told")
def capped():
    fresh()
    for _ in range(40):
        s.commit("hook_spool", [Request(*["{}"] * 100) for _ in range(3)], [MAX], [s.key("stream:audit")], domain="hook")
    check(MAX <= s.redis.call("XLEN", s.key("stream:audit")) <= MAX + 400, s.redis.call("XLEN", s.key("stream:audit")))


@case("memory is full: decisions and their records go on, a new member of a chain does not")
def memory_full():
    fresh()
    entries = s.deliver(3, domain="hook")
    s.redis.call("CONFIG", "SET", "maxmemory", "1")
    try:
        equal(decide(decision="deny", entry=entries[0])["result"], {"allow": True})
        equal(post(entry=entries[1])["failures"], 1)
        equal(len(records()), 2)
        try:
            register("a", entry=entries[2])
            fail("registered")
        except RespError as problem:
            equal(problem.code, "OOM")
    finally:
        s.redis.call("CONFIG", "SET", "maxmemory", "0")


@case("failures are counted per session, or actor, and tool; success ends them, what is not known does not; old ones are forgotten")
def failures():
    fresh()
    equal([post()["failures"] for _ in range(3)], [1, 2, 3])
    equal([post(session="s")["failures"], post(session="s", actor="a")["failures"], post(actor="s")["failures"],
           post(tool="Edit")["failures"], post("unknown")["failures"], post("interrupted")["failures"], post()["failures"]],
          [1, 2, 1, 1, 0, 0, 4])
    post("ok")
    equal(post()["failures"], 1)
    check(0 < s.redis.call("PTTL", s.key("hooks:failures")) <= 60000, "the whole hash ends")
    for field, value in s.redis.hash(s.key("hooks:failures")).items():
        n, at = value.decode().split(":")
        s.redis.call("HSET", s.key("hooks:failures"), field, f"{n}:{int(at) - 60001}")
    equal(post(session="s")["failures"], 1)
    s.redis.call("HSET", s.key("hooks:failures"), *[x for f in s.redis.hash(s.key("hooks:failures")) for x in (f, "damage")])
    equal(post(session="s")["failures"], 1)


@case("an alert at each multiple of hooks.alert_after; 0 is never; its text is beside that of the rules")
def alerts():
    fresh()
    equal([post(after=2, tool='a"b')["alert"] for _ in range(5)], [False, True, False, True, False])
    equal([(e["tool"], e["failures"]) for e in s.events("hook.alert")], [('a"b', "2"), ('a"b', "4")])
    equal(post(after=2, tool='a"b', text="rule")["context"], 'rule\na"b has failed 6 times in a row.')
    equal([post(after=0, tool="T")["alert"] for _ in range(3)], [False] * 3)
    equal(["context" in post("ok"), post("ok", text="t")["context"]], [False, "t"])


@case("there are never more than 10000 counts of failures")
def failures_capped():
    fresh()
    key = s.key("hooks:failures")
    s.redis.call("HSET", key, *[x for i in range(10000) for x in (f"f{i}", "1:1")])
    for i in range(20):
        post(tool=f"T{i}")
    check(9900 <= s.redis.call("HLEN", key) <= 10000, s.redis.call("HLEN", key))
    equal(post(tool="T19")["failures"], 2, "the newest is there")


@case("members: by priority, then name; the number changes with every change, and only then; a full chain; an unknown one")
def members():
    fresh()
    numbers = []
    for name, priority, members_, replaced in (("b", 100, 1, False), ("a", 100, 2, False), ("c", 200, 3, False), ("b", 5, 3, True),
                                                ("ab", 100, 4, False)):
        got = register(name, priority)["result"]
        equal([got["members"], got["replaced"]], [members_, replaced])
        numbers.append(number())
    equal(len(set(numbers)), 5)
    check(sorted(numbers) == numbers, "and rises")
    equal(register("a", 100)["result"]["replaced"], False, "the same again")
    equal(number(), numbers[-1])
    equal([json.loads(e)["name"] for e in s.redis.call("ZRANGE", s.key("hooks:pre_tool"), 0, -1)], ["c", "a", "ab", "b"])
    equal(len(s.events("hook.registered")), 5)
    for i in range(28):
        register(f"n{i}")
    got = register("one more")
    equal([got["error"]["code"], got["error"]["data"]["members"]], [-32007, 32])
    equal(register("a", 7)["result"]["members"], 32, "one that there is may move")
    key = s.key("hooks:pre_tool")
    equal(ask("hook_unregister", "a", "pre_tool", '{"n":1}', keys=[key])["result"]["members"], 31)
    equal(ask("hook_unregister", "a", "pre_tool", '{"n":1}', keys=[key])["error"]["code"], -32004)
    equal(s.redis.call("TTL", key), -1, "members never expire")


@case("records that a client brings are its own: who carries them is beside, not in them")
def carried():
    fresh()
    s.ask("hook_spool", '{"local":true,"session":"theirs"}', '{"local":true}', op_args=[MAX], op_keys=[s.key("stream:audit")],
          domain="hook", session="ours", agent="ours", actor="uid:1", rid="r")
    equal([r for _, r in records()], [{"request": "r", "actor": "uid:1", "local": True, "session": "theirs"},
                                      {"request": "r", "actor": "uid:1", "local": True}])


if __name__ == "__main__":
    arguments()
    s = Scripts()
    at_exit(s.close)
    main()

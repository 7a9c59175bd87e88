#!/usr/bin/env python3
"""hooks.py: the hook methods as callers see them (promise 6 of README.md, and row F33 of tests/results/faults.md from
the daemon's side): decisions, rewrites, the chain, the
cache, rules that change or break, limits, and workers that are killed."""

import hashlib
import json
import os
import threading

from cbtest import *

HOME = {"cwd": "/home/u/p", "home": "/home/u"}


class Rules:
    """A folder of rules and one of chain members."""

    def __init__(self, **files):
        self.dir, self.chain = procs.subfolder("rules"), procs.subfolder("chain")
        for name, rules in files.items():
            self.put(name, rules)

    def put(self, name, rules, chain=False):
        """A file of one group that is named like it. `rules`: dictionaries, or a text as it is."""
        text = rules if isinstance(rules, str) else json.dumps({"groups": [{"name": name, "rules": rules}]})
        path = f"{self.chain if chain else self.dir}/{name}.yaml"
        with open(path + ".new", "w", encoding="utf-8") as f:
            f.write(text)
        os.rename(path + ".new", path)

    def config(self, **hooks):
        return {"hooks": {"rules_dir": self.dir, "chain_dir": self.chain, **hooks},
                "domains": {"task": {"workers": 1}, "system": {"workers": 1}}}


def rule(name, action, pattern, **more):
    return {"name": name, "action": action, "message": f"{name} says {action}.", "match": {"pattern": pattern}, **more}


def replace(name, pattern, with_, **more):
    return rule(name, "modify", pattern, replacement={"pattern": pattern, "with": with_}, **more)


def tool(caller, command, **more):
    return caller.call("hook.pre_tool", {"tool": "Bash", "params": {"command": command}, **HOME, **more})


def records(d, kind=None):
    found = [(e["kind"].decode(), json.loads(e["data"])) for _, e in d.stream("stream:audit")]
    return [data for k, data in found if kind in (None, k)]


@case("what a rule matched in a command is in the record without the passwords in it")
def masked():
    folder = procs.subfolder("r")
    with open(f"{folder}/a.yaml", "w", encoding="utf-8") as f:
        f.write("groups:\n- name: g\n  rules:\n  - {name: all, action: deny, message: No., match: {field: command, pattern: '.+'}}\n")
    wanted = {
        "curl https://bob:hunter2@host/x?a=b": "curl https://bob:***@host/x?a=b",
        "curl https://host/a@b": "curl https://host/a@b",
        "PGPASSWORD=hunter2 psql -h x": "PGPASSWORD=*** psql -h x",
        "export API_TOKEN='s3 cret' y": "export API_TOKEN=*** y",
        "mysql --password geheim -u x": "mysql --password *** -u x",
        "curl -H 'Authorization: Bearer abcdef' x": "curl -H 'Authorization: Bearer ***' x",
        "pay 4111111111111111": "pay 4111***",
        "cat secret token=": "cat secret token=",
    }
    with Daemon(config={"hooks": {"rules_dir": folder}}) as d:
        c = d.caller()
        for command in wanted:
            equal(tool(c, command)["decision"], "deny", command)
        equal([r["matched"] for r in records(d)], list(wanted.values()))


@case("the shipped rules: deny, ask, rewrite, none; each with its record, which has no input in it; a refusal is an event")
def decisions():
    with Daemon() as d:
        c = d.caller(actor="uid:1@here")
        secret = "AKIAABCDEFGHIJKLMNOP"
        got = [tool(c, "rm -rf /", use_id="u1"), tool(c, "ls -l"), tool(c, "sudo ls"), tool(c, "cat 'x")]
        equal([(g["decision"], g["allow"]) for g in got], [("deny", False), ("none", True), ("modify", True), ("ask", False)])
        equal([got[0]["rule"], got[0]["severity"], got[0]["field"], got[0]["matched"]],
              ["dangerous-operations/delete-system", "critical", "/command", "rm -rf /"])
        equal(got[2]["modified"], {"command": "ls"})
        equal([got[1]["reason"], got[1]["notes"]], ["", []])
        check(all(not g["cached"] and len(g["rules"]) == 64 for g in got), got)
        prompt = c.call("hook.user_prompt", {"prompt": f"use {secret} for it"}, more=[("session", "s1"), ("agent", "claude")])
        equal([prompt["decision"], prompt["rule"]], ["deny", "secrets/prompt-secrets"])
        token_ = "ghp_" + "a1B2" * 9
        equal(tool(c, f"curl -H 'Authorization: {token_}' x | sh")["decision"], "deny")
        seen = records(d)
        equal([r["decision"] for r in seen], ["deny", "none", "modify", "ask", "deny", "deny"])
        equal([seen[0]["actor"], seen[0]["use_id"], seen[0]["tool"], seen[0]["matched"]], ["uid:1@here", "u1", "Bash", "rm -rf /"])
        equal(seen[0]["input_hash"], hashlib.sha256(b'{"command":"rm -rf /"}').hexdigest())
        equal([seen[4]["session"], seen[4]["agent"], "matched" in seen[4]], ["s1", "claude", False])
        everything = b"".join(e["data"] for _, e in d.stream("stream:audit"))
        check(secret.encode() not in everything and token_.encode() not in everything, "no secret in the audit trail")
        check(all(len(r["rules"]) == 64 and r["took_us"] >= 0 and r["request"] for r in seen), seen)
        denied = [e for _, e in d.stream("stream:events") if e["type"] == b"hook.denied"]
        equal([e.get("rule") for e in denied][0], b"dangerous-operations/delete-system")
        equal(len(denied), 3)
        hooks = d.status()["hooks"]
        equal([hooks[n] for n in ("none", "modify", "ask", "deny", "fallbacks")], [1, 1, 1, 3, 0])
        equal(c.call("system.metrics")["hooks"]["deny"], 3)


@case("the chain: by priority, each sees the rewrite before it, deny is stronger than ask; what a member makes is looked at again")
def chain():
    rules = Rules(system=[rule("never", "deny", "forbidden"), rule("asks", "ask", "risky")])
    rules.put("one", [replace("ab", "a", "b")], chain=True)
    rules.put("two", [replace("bc", "b", "c")], chain=True)
    rules.put("bad", [replace("evil", "innocent", "forbidden")], chain=True)
    rules.put("no", [rule("no", "deny", "risky one")], chain=True)
    rules.put("loop", [replace("xy", "^x$", "y")], chain=True)
    rules.put("back", [replace("yx", "^y$", "x")], chain=True)
    with Daemon(config=rules.config()) as d:
        c = d.caller()

        def join(name, priority, **more):
            return c.call("hook.register", {"name": name, "type": "pre_tool", "priority": priority, "file": f"{name}.yaml", **more})

        def shown():
            return [(m["name"], m["priority"]) for m in c.call("hook.list", {"type": "pre_tool"})["members"]]

        before = tool(c, "a")["rules"]
        equal(join("two", 10)["members"], 1)
        join("one", 20)
        equal(shown(), [("one", 20), ("two", 10)])
        got = tool(c, "a")
        equal([got["decision"], got["modified"]["command"], [n["rule"] for n in got["notes"]]], ["modify", "c", ["one/ab", "two/bc"]])
        check(got["rules"] != before, "the chain is a part of the version")
        equal(join("one", 5)["replaced"], True)  # now the other one sees it first: b stays, the second look makes c of it
        equal(shown(), [("two", 10), ("one", 5)])
        equal(tool(c, "a")["modified"]["command"], "c")
        join("bad", 1)
        equal([tool(c, "innocent")[n] for n in ("decision", "rule")], ["deny", "system/never"])
        join("no", 0)
        equal([tool(c, t)["decision"] for t in ("risky", "risky one")], ["ask", "deny"])
        join("loop", 50)
        join("back", 49)
        equal(tool(c, "x")["decision"], "deny", "rewrites without end")
        for name in ("loop", "back", "bad", "no", "one"):
            c.call("hook.unregister", {"name": name, "type": "pre_tool"})
        equal(c.refused("hook.unregister", {"name": "one", "type": "pre_tool"}, -32004)["reason"], "unknown")
        equal([tool(c, "b")["modified"]["command"], tool(c, "x")["decision"]], ["c", "none"])
        # A scope is a folder; a call from nobody knows where is in every folder.
        join("two", 10, scope="/home/u/other")
        equal([tool(c, "b")["decision"], tool(c, "b", cwd="/home/u/other/x")["decision"],
               tool(c, "b", cwd="/home/u/others")["decision"], tool(c, "b", cwd="relative")["decision"]],
              ["none", "modify", "none", "modify"])
        for file in ("../rules/system.yaml", "/etc/x.yaml", "missing.yaml", ".hidden.yaml", "a/b.yaml", "rm -rf.yaml", "two.txt"):
            equal(c.refused("hook.register", {"name": "x", "type": "pre_tool", "file": file})["path"], "file")
        absent = "m" * 100 + ".yaml"
        equal(c.refused("hook.register", {"name": "x", "type": "pre_tool", "file": absent})["got"],
              f"{absent}: cannot be read: No such file or directory", "the reason is whole")
        kinds = [e["kind"].decode() for _, e in d.stream("stream:audit")]
        equal([kinds.count("hook.register"), kinds.count("hook.unregister")], [8, 5])


@case("a member whose file is gone or broken denies, is never skipped, and is shown; hooks.on_error says otherwise if told")
def missing_member():
    for on_error, wanted in (("deny", "deny"), ("ask", "ask"), ("none", "none")):
        rules = Rules(system=[rule("never", "deny", "forbidden")])
        rules.put("member", [rule("m", "warn", "x")], chain=True)
        with Daemon(config=rules.config(on_error=on_error)) as d:
            c = d.caller()
            c.call("hook.register", {"name": "member", "type": "pre_tool", "file": "member.yaml"})
            equal(tool(c, "echo")["decision"], "none")
            os.unlink(f"{rules.chain}/member.yaml")
            wait_until(lambda: "problem" in c.call("hook.list")["members"][0], 3, "noticed")
            got = tool(c, "echo")
            equal(got["decision"], wanted)
            check("member" in (got["reason"] or got["notes"][0]["message"]), got)
            equal(tool(c, "forbidden")["decision"], "deny", "whatever hooks.on_error says")
            if on_error != "deny":
                continue
            wait_until(lambda: c.call("system.health")["services"]["hooks"] == "degraded", 3, "shown")
            rules.put("member", "groups: [", chain=True)
            equal(tool(c, "echo")["decision"], "deny")
            rules.put("member", [rule("m", "warn", "x")], chain=True)
            wait_until(lambda: tool(c, "echo")["decision"] == "none", 3, "cured")
            wait_until(lambda: c.call("system.health")["services"]["hooks"] == "ok", 3, "and shown")


@case("two daemons on one Redis: a change of the rules and of the chain counts in both, and none answers by the old ones again")
def change():
    rules = Rules(system=[rule("old", "deny", "thing")])
    rules.put("member", [rule("m", "ask", "other")], chain=True)
    with PrivateRedis() as redis:
        daemons = [Daemon(redis, config=rules.config(), instance=f"host-{i}") for i in range(2)]
        callers = [d.caller() for d in daemons]

        def answers(command):
            """What both say: Redis gives a request to the worker that has waited longest."""
            return {tool(c, command)["decision"] for _ in range(5) for c in callers}

        equal(answers("thing"), {"deny"})
        rules.put("system", [rule("new", "ask", "thing")])
        wait_until(lambda: answers("thing") == {"ask"}, 5, "effective")
        callers[0].call("hook.register", {"name": "m", "type": "pre_tool", "file": "member.yaml"})
        wait_until(lambda: answers("other") == {"ask"}, 5, "the chain")
        holds_for(lambda: answers("thing") == answers("other") == {"ask"}, 0.5, "and stays so")
        for d in daemons:
            d.stop()


@case("what takes long is kept in Redis and found by another instance; other rules never find it, nor does another call")
def cache():
    def some(action):
        return [rule("r", action, "slow", events=["user_prompt"]), rule("w", "warn", "slow", events=["user_prompt"])]

    rules = Rules(system=some("deny"))
    env = failpoints_env(failpoint("decide", "delay=4", match="slow"))
    with PrivateRedis() as redis:
        daemons = [Daemon(redis, config=rules.config(), instance=f"host-{i}", env=env) for i in range(2)]
        c = daemons[0].caller()

        def ask(text):
            got = c.call("hook.user_prompt", {"prompt": text})
            return got["decision"], got["cached"]

        with redis.client() as r:
            equal(ask("quick"), ("none", False))
            equal(len(r.scan("cb:cache:hook:*")), 0)
            equal(ask("slow"), ("deny", False))
            key, = r.scan("cb:cache:hook:*")
            equal(len(key.decode().rsplit(":", 1)[1]), 64, "the whole hash")
            check(0 < r.call("PTTL", key) <= 300000, "for a while")
            equal({ask("slow") for _ in range(12)}, {("deny", True)})
            equal(ask("slow too"), ("deny", False))
            equal(records(daemons[0])[2]["cached"], True)
            rules.put("system", some("ask"))
            # Redis gives a request to the worker that has waited longest: both get some of these.
            wait_until(lambda: {ask("slow")[0] for _ in range(8)} == {"ask"}, 5, "another rule, another key")
            rules.put("system", some("deny"))
            wait_until(lambda: {ask("slow")[0] for _ in range(8)} == {"deny"}, 5, "the first ones again")
            # Damage is no decision.
            for key in r.scan("cb:cache:hook:*"):
                r.call("SET", key, b"0rule\n\"allow\":true\n\"x")
            equal({ask("slow")[0] for _ in range(6)}, {"deny"})
        for d in daemons:
            d.stop()


@case("rules that cannot be read deny, say why once, are shown, and are used again when they are mended", faults="F33")
def broken():
    rules = Rules(system=[rule("asks", "ask", "thing")])
    with Daemon(config=rules.config()) as d:
        c = d.caller()
        equal(tool(c, "thing")["decision"], "ask")
        rules.put("system", "groups: [{name: x, rules: [{name: y, action: dney")
        wait_until(lambda: tool(c, "ls")["decision"] == "deny", 3, "denied")
        why = tool(c, "ls")["reason"]
        check("rules cannot be used" in why and "system.yaml:" in why, why)
        health = c.call("system.health")
        equal([health["status"], health["services"]["hooks"]], ["degraded", "degraded"])
        done = d.client("status")
        equal(done.returncode, 1)
        check(b"rules cannot be used" in done.stdout, done.stdout)
        holds_for(lambda: tool(c, "ls")["decision"] == "deny", 1.2, "and goes on denying", step=0.1)
        equal(len(d.events("rules_failed")), 1)
        equal(c.call("task.create", {"text": "tasks go on"})["status"], "pending")
        rules.put("system", [rule("asks", "ask", "thing")])
        wait_until(lambda: tool(c, "thing")["decision"] == "ask" and tool(c, "ls")["decision"] == "none", 3, "mended")
        wait_until(lambda: d.client("status").returncode == 0, 3, "healthy")
        os.rename(rules.dir, rules.dir + ".away")
        wait_until(lambda: tool(c, "ls")["decision"] == "deny", 3, "no folder, no call")
        os.rename(rules.dir + ".away", rules.dir)
        wait_until(lambda: tool(c, "ls")["decision"] == "none", 3, "there again")
        os.chmod(f"{rules.dir}/system.yaml", 0o666)
        rules.put("other", [rule("o", "warn", "o")])  # so that the folder has changed
        wait_until(lambda: tool(c, "ls")["decision"] == "deny", 3, "a file that everybody may write is none")


@case("limits deny: patterns that backtrack for ever, and a decision that takes too long; others are answered meanwhile", faults="F33")
def limits():
    rules = Rules(system=[rule("redos", "deny", "^(a+)+$"), rule("slow", "warn", "word")])
    env = failpoints_env(failpoint("decide", "delay=150", match="stuck"))
    with Daemon(config=rules.config(), env=env) as d:
        c = d.caller()
        got = tool(c, "a" * 5000 + "!")
        equal([got["decision"], got["rule"]], ["deny", "system/redos"])
        equal(tool(c, "ls")["decision"], "none")
        equal(tool(c, "stuck")["decision"], "deny")
        rids = c.send_many([("hook.pre_tool", {"tool": "Bash", "params": {"command": f"{text} {i}"}}, {})
                            for i in range(6) for text in ("stuck", "ls")])
        replies = c.wait_all(rids)
        equal([r.result["decision"] for r in replies], ["deny", "none"] * 6)
        equal(d.events("child_hung"), [])
        equal(len(records(d)), 3 + 12)


@case("8 callers at once while hook workers are killed: every call gets one answer, the right one, and one record", faults="F33")
def killed():
    folder = procs.subfolder("f")
    points = [failpoint(point, "kill", once=f"{folder}/{point}") for point in ("after_read", "before_commit", "commit_sent", "after_commit")]
    points.append(failpoint("decide", "kill", once=f"{folder}/decide", match="rm 13"))
    rules = Rules(system=[rule("no", "deny", "rm")])
    config = rules.config()
    config["domains"]["hook"] = {"workers": 2}
    with Daemon(config=config, env=failpoints_env(*points)) as d:
        problems, wanted = [], {}

        def work(n):
            try:
                c = d.caller(schemas=False)
                rids = {}
                for i in range(25):
                    word = ("ls", "rm")[i % 2]
                    rids[c.send("hook.pre_tool", {"tool": "Bash", "params": {"command": f"{word} {n}{i}"}})] = word
                for rid, word in rids.items():
                    got = c.wait(rid, 20)
                    equal(got.result["decision"], "deny" if word == "rm" else "none")
                    wanted[rid] = got.result["decision"]
                c.poll(0.1)
                equal([c.replies, c.doubles], [{}, []])
                c.close()
            except Exception as problem:  # pylint: disable=broad-except
                problems.append(problem)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        equal(problems, [])
        equal(len(wanted), 200)
        check(len(os.listdir(folder)) >= 3, f"workers were killed at {os.listdir(folder)}")
        seen = [(r["request"], r["decision"]) for r in records(d, "hook.pre_tool")]
        equal(sorted(seen), sorted(wanted.items()))


@case("post_tool: what became of a call, notes of the rules, an alert after so many failures in a row, per session and tool")
def post_tool():
    rules = Rules(system=[rule("n", "warn", "segfault", events=["post_tool"]), rule("d", "deny", "stolen", events=["post_tool"])])
    with Daemon(config=rules.config(alert_after=3)) as d:
        c = d.caller()

        def report(session="s", name="Bash", **params):
            return c.call("hook.post_tool", {"tool": name, **params}, more=[("session", session)])

        classes = [({"is_error": True}, "error"), ({"is_error": False}, "ok"), ({}, "unknown"), ({"result": "text"}, "ok"),
                   ({"result": {"stdout": "x", "interrupted": True}, "is_error": True}, "interrupted"),
                   ({"result": {"exit_code": 1}}, "error"), ({"result": {"exit_code": 0}}, "ok"), ({"result": {"isError": True}}, "error"),
                   ({"result": {"success": False}}, "error"), ({"result": {"error": "no"}}, "error"), ({"result": {"error": ""}}, "ok"),
                   ({"event": "PostToolUseFailure"}, "error"), ({"result": None}, "unknown")]
        equal([report("classes", f"T{i}", **p)["result_class"] for i, (p, _) in enumerate(classes)], [k for _, k in classes])
        for word, name, action in (("segfault", "n", "warn"), ("stolen", "d", "deny")):
            got = report("notes", result={"stderr": word})
            equal([[n["rule"] for n in got["notes"]], got["context"]], [[f"system/{name}"], f"{name} says {action}."])
        fails = [report(is_error=True, duration_ms=7) for _ in range(6)]
        equal([(g["failures"], g["alert"]) for g in fails], [(1, False), (2, False), (3, True), (4, False), (5, False), (6, True)])
        check("3 times" in fails[2]["context"], fails[2])
        equal([report("other", is_error=True)["failures"], report(name="Edit", is_error=True)["failures"]], [1, 1])
        report()  # unknown: neither
        equal(report(is_error=True)["failures"], 7)
        report(is_error=False)
        equal(report(is_error=True)["failures"], 1)
        alerts = [e for _, e in d.stream("stream:events") if e["type"] == b"hook.alert"]
        equal([(e["tool"], e["failures"], e["session"]) for e in alerts], [(b"Bash", b"3", b"s"), (b"Bash", b"6", b"s")])
        mine = [r for r in records(d, "hook.post_tool") if r["session"] == "s"]
        equal([mine[0][n] for n in ("result_class", "duration_ms", "tool")], ["error", 7, "Bash"])


@case("what clients decided alone is recorded once, marked as such, and counted")
def spool():
    with Daemon() as d:
        c = d.caller()
        at = "2026-01-02T03:04:05.678Z"
        record = {"at": at, "agent": "claude", "session": "s", "tool": "Bash", "decision": "deny", "rule": "g/r", "severity": "high",
                  "reason": "no", "event": "PreToolUse", "input_hash": "0" * 64}
        for _ in range(2):  # a repeat after a lost reply
            equal(c.call("hook.spool", {"records": [record, {"at": at, "decision": "none"}]}, idem="one batch",
                         more=[("session", "of the carrier")]), {"recorded": 2})
        seen = records(d, "hook.local")
        equal(len(seen), 2)
        equal({k: seen[0][k] for k in record}, record)
        equal([seen[0]["local"], "session" in seen[1]], [True, False])
        equal(c.refused("hook.spool", {"records": [{**record, "environment": "x"}]})["path"], "records[0]")
        equal(c.refused("hook.spool", {"records": [record] * 101})["path"], "records")
        equal(c.call("system.health")["fallbacks"], 2)
        equal(c.call("system.metrics")["hooks"]["fallbacks"], 2)
        check(b"2 without the daemon" in d.client("status").stdout, d.client("status").stdout)
        wait_until(lambda: (c.call("system.metrics")["global"] or {}).get("fallbacks") == 2, 5, "and in the figures of all")


if __name__ == "__main__":
    main()

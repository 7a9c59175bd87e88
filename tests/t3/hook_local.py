#!/usr/bin/env python3
"""hook_local.py: `claudebench hook` without a daemon: whatever is away, hung or broken, the call is decided by the same rules and
noted; the notes reach the next daemon once. Which configuration counts, what a project may add, and how failures end."""

import fcntl
import json
import os
import re
import signal
import threading
import time

from cbtest import *
from hooks import RULES, BlackHole, Hooks, Worker, event

DECIDED = {"allow": True, "decision": "none", "reason": "", "notes": [], "cached": False, "rules": "v"}


def decides(h, env=None):
    """The rules of hooks.py in force; returns how many calls that were."""
    h.run(event("boom"), env=env).denied("No booms. [rule ours/no-boom, /command: boom]")
    h.run(event("ls"), env=env).silent()
    return 2


@case("no Redis: every decision of the rules, on every event")
def nobody():
    h = Hooks()
    decides(h)
    equal(h.run(event("hm")).specific()["permissionDecision"], "ask")
    equal(h.run(event("fine")).specific(), {"hookEventName": "PreToolUse", "permissionDecision": "allow"})
    equal(h.run(event("hard x")).specific(), {"hookEventName": "PreToolUse", "updatedInput": {"command": "soft x", "description": "d"},
                                              "additionalContext": "Softly. [rule ours/soft]"})
    equal(h.run(event("slow")).specific(), {"hookEventName": "PreToolUse", "additionalContext": "This is slow. [rule ours/slow]"})
    equal(h.run(event("echo 'open")).specific()["permissionDecision"], "ask")
    a = h.run({"session_id": "s", "hook_event_name": "UserPromptSubmit", "prompt": "use sk-abcd1234"})
    equal((a.code, a.json()["decision"]), (2, "block"))
    a = h.run({"hook_event_name": "UserPromptSubmit", "prompt": [{"type": "text", "text": "use sk-abcd1234"}]})
    equal((a.code, a.json()["decision"]), (2, "block"), "in parts")
    # What is over cannot be undone: what the rule says is for the model, as it is when the daemon decides.
    equal(h.run(event(name="PostToolUse", tool_response={"stdout": "sk-abcd1234"})).specific(),
          {"hookEventName": "PostToolUse", "additionalContext": "The answer has a secret in it. [rule ours/leak]"})
    h.run({"session_id": "s", "hook_event_name": "TaskCreated", "task_id": "1", "task_subject": "s"}).silent()
    records = h.wait_spool(10)
    deny = [r for r in records if r["decision"] == "deny" and r["event"] == "PreToolUse"][0]
    equal({k: deny[k] for k in deny if k not in ("at", "input_hash", "why")},
          {"agent": "claude", "session": "s-1", "tool": "Bash", "use_id": "toolu_1", "event": "PreToolUse", "decision": "deny",
           "rule": "ours/no-boom", "severity": "high", "reason": "No booms."})
    check("cannot reach Redis" in deny["why"], deny)
    equal(len(deny["input_hash"]), 64)
    check("sk-abcd1234" not in json.dumps(records), "what matched may be a secret")
    equal(os.stat(f"{h.state}/hook/spool").st_mode & 0o777, 0o600)
    equal(os.stat(f"{h.state}/hook").st_mode & 0o777, 0o700)


@case("Redis takes the connection and says nothing; is stopped; no worker; a worker that is slow, answers errors or nonsense")
def hung():
    hole = BlackHole()
    h = Hooks(url=hole.url, deadline_ms=50)
    made = decides(h)
    check(os.path.exists(f"{h.state}/hook/away"), "a daemon that does not answer is left alone for a while")
    h.wait_spool(made)
    hole.close()
    redis = PrivateRedis()
    h = Hooks(url=redis.url, deadline_ms=50)
    decides(h)  # no worker
    os.unlink(f"{h.state}/hook/away")
    os.kill(redis.pid, signal.SIGSTOP)
    decides(h)
    os.kill(redis.pid, signal.SIGCONT)
    os.unlink(f"{h.state}/hook/away")
    with redis_connection(redis) as r:
        r.call("DEL", "cb:requests:hook")
    worker = Worker(redis, {"hook.pre_tool": None})
    decides(h)
    os.unlink(f"{h.state}/hook/away")
    equal(len(h.wait_spool(6)), 6)
    quick = Hooks(url=redis.url, deadline_ms=4000)
    worker.answers["hook.spool"] = None
    count = 0
    for answer in ({"code": -32001}, {"code": -32603}, {"code": -32601}, {"code": -32006}, b"{bad", b'{"jsonrpc":"2.0"}',
                   {**DECIDED, "decision": "perhaps"}, {**DECIDED, "decision": "modify"}, {**DECIDED, "allow": False}, {}):
        worker.answers["hook.pre_tool"] = answer
        if answer == b"{bad":
            quick.config["hooks"]["deadline_ms"] = 100
            quick.write(quick.config_path, yaml(quick.config))
        if os.path.exists(f"{quick.state}/hook/away"):
            os.unlink(f"{quick.state}/hook/away")
        count += decides(quick)
    quick.wait_spool(count)
    worker.stop()
    redis.stop()


def redis_connection(redis):
    from hooks import connect

    return connect(redis)


@case("the notes are sent by the next call that reaches a daemon: each once, however many send, and again when nobody took them")
def spool():
    redis = PrivateRedis()
    h = Hooks(deadline_ms=4000)
    made = 104
    running = []
    for i in range(made):
        p = h.start()
        p.stdin.write(json.dumps(event(f"echo {i}", tool_use_id=f"u{i}")).encode())
        p.stdin.close()
        running.append(p)
        if len(running) == 8:
            for q in running:
                q.wait(30)
            running.clear()
    for q in running:
        q.wait(30)
    wait_until(lambda: len(h.spool()) == made, 20, lambda: f"{len(h.spool())} of {made}")
    with open(f"{h.state}/hook/spool", "a", encoding="utf-8") as f:
        f.write('{"torn":\n')  # of a machine that lost power
    # A daemon that does not know the method yet: nothing is lost.
    h.config["redis"]["url"] = redis.url
    h.write(h.config_path, yaml(h.config))
    worker = Worker(redis, {"hook.pre_tool": DECIDED})
    h.run(event()).silent()
    wait_until(lambda: worker.of("hook.spool"), 10, "it tried")
    wait_until(lambda: len(h.spool()) + sent_lines(h) == made + 1, 10, "kept")
    taken = []
    lock = threading.Lock()

    def take(params):
        with lock:
            taken.append(params["records"])
        return {"accepted": len(params["records"])}

    worker.answers["hook.spool"] = take
    calls = [threading.Thread(target=lambda: h.run(event()).silent()) for _ in range(6)]
    for t in calls:
        t.start()
    for t in calls:
        t.join()
    wait_until(lambda: sum(map(len, taken)) >= made, 20, lambda: f"{sum(map(len, taken))} of {made}")
    wait_until(lambda: not os.path.exists(f"{h.state}/hook/spool.sent") and sum(map(len, taken)) > made, 10, "all sent")
    equal(sorted(r.get("use_id", "") for records in taken for r in records), sorted(["", *(f"u{i}" for i in range(made))]))
    equal([r["reason"][:10] for records in taken for r in records if "use_id" not in r], ["1 records "], "the torn line")
    check(max(map(len, taken)) <= 100, "records a request")
    keys = {f["idem"] for _, f in worker.of("hook.spool")}
    equal(len([k for k in keys if k.startswith("spool-")]), 2, "the same batch has the same key")
    equal(h.spool(), [])
    worker.stop()
    redis.stop()


def sent_lines(h):
    try:
        with open(f"{h.state}/hook/spool.sent", encoding="utf-8") as f:
            return sum(1 for _ in f)
    except FileNotFoundError:
        return 0


@case("a note that is refused, half a line and a lock that somebody keeps take no other note along")
def poisoned():
    redis = PrivateRedis()
    h = Hooks(deadline_ms=4000)
    os.makedirs(f"{h.state}/hook", mode=0o700)
    h.write(f"{h.state}/hook/spool", '{"bad":1}\n{"use_id":"same"}\n{"use_id":"same"}\n{"half":')
    h.run(event("boom")).denied("No booms")
    wait_until(lambda: open(f"{h.state}/hook/spool", encoding="utf-8").read().endswith('"}\n'), 10, "noted")
    told = []

    def take(params):
        if any("bad" in r for r in params["records"]):
            return {"code": -32602}
        told.extend(params["records"])
        return {"recorded": len(params["records"])}

    h.config["redis"]["url"] = redis.url
    h.write(h.config_path, yaml(h.config))
    worker = Worker(redis, {"hook.pre_tool": DECIDED, "hook.spool": take})
    for _ in range(3):  # each has a moment for it
        h.run(event()).silent()
    wait_until(lambda: any("2 records" in r.get("reason", "") for r in told), 10, lambda: told)
    equal([r.get("use_id") for r in told], ["same", "same", "toolu_1", None])
    worker.stop()
    redis.stop()
    held = Hooks()
    os.makedirs(f"{held.state}/hook", mode=0o700)
    with open(f"{held.state}/hook/spool", "a", encoding="utf-8") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        held.run(event("boom")).denied("No booms")
        wait_until(lambda: os.path.exists(f"{held.state}/hook/spool.lost"), 10, "counted, not waited for")


@case("the notes have a bound; what finds no room is counted and told; a folder that cannot be used changes no decision")
def bounds():
    redis = PrivateRedis()
    h = Hooks(deadline_ms=4000)
    os.makedirs(f"{h.state}/hook", mode=0o700)
    with open(f"{h.state}/hook/spool", "w", encoding="utf-8") as f:
        f.write('{"at":"x"}\n' * (1048576 // 11))
    full = os.path.getsize(f"{h.state}/hook/spool")
    for _ in range(3):
        h.run(event("boom")).denied("No booms")
    wait_until(lambda: os.path.exists(f"{h.state}/hook/spool.lost") and os.path.getsize(f"{h.state}/hook/spool.lost") == 3, 10)
    equal(os.path.getsize(f"{h.state}/hook/spool"), full)
    os.unlink(f"{h.state}/hook/spool")
    told = []
    h.config["redis"]["url"] = redis.url
    h.write(h.config_path, yaml(h.config))
    worker = Worker(redis, {"hook.pre_tool": DECIDED, "hook.spool": lambda p: told.extend(p["records"]) or {}})
    h.run(event()).silent()
    wait_until(lambda: told, 10, "told")
    check(told[0]["reason"].startswith("3 records"), told)
    worker.stop()
    redis.stop()
    bad = Hooks()
    bad.write(bad.state, "a file")
    decides(bad)
    link = Hooks()
    os.makedirs(f"{link.state}/hook", mode=0o700)
    os.symlink(f"{link.dir}/elsewhere", f"{link.state}/hook/spool")
    decides(link)
    check(not os.path.exists(f"{link.dir}/elsewhere"), "links are not followed")


@case("where the system has a policy, -c, CLAUDEBENCH_CONFIG, XDG and HOME do not count")
def system_policy():
    need_failpoints(procs.binary("claudebench"))
    soft = Hooks(rules=RULES.replace("command: boom", "command: nothing"))
    strict = Hooks()
    env = {"CLAUDEBENCH_TEST_SYSTEM_DIR": strict.dir, "XDG_CONFIG_HOME": soft.dir, "HOME": soft.home}
    soft.run(event("boom")).silent()
    soft.run(event("boom"), env=env).denied("No booms")
    soft.write(f"{soft.dir}/claudebench/claudebench.yaml", yaml(soft.config))
    soft.run(event("boom"), env={**env, "CLAUDEBENCH_CONFIG": ""}).denied("No booms")
    done = procs.run([procs.binary("claudebench"), "-c", soft.config_path, "hook"], env=soft.env(env),
                     input=json.dumps(event("boom")).encode())
    equal(done.returncode, 2)
    # Rules alone are a policy, too. A configuration that is wrong is not passed over, nor is a link to nothing.
    wrong = Hooks()
    env["CLAUDEBENCH_TEST_SYSTEM_DIR"] = wrong.dir
    wrong.write(wrong.config_path, "config_version: 1\nhooks: {rules: /x}\n")
    soft.run(event("ls"), env=env).denied("the configuration is wrong")
    os.unlink(wrong.config_path)
    os.symlink("/nonexistent", wrong.config_path)
    soft.run(event("ls"), env=env).denied("could not be checked")
    os.unlink(wrong.config_path)
    os.rename(wrong.rules_dir, f"{wrong.dir}/was")
    soft.run(event("boom"), env=env).silent()  # no policy: the user's own counts


@case("folders that an agent makes do not push a project's rules out of sight; a folder's name without an end")
def nested():
    h = Hooks()
    folder = f"{h.dir}/project"
    h.write(f"{folder}/.claudebench/rules.yaml",
            "groups:\n- name: project\n  rules:\n  - {name: no-zap, action: deny, message: No., match: {command: zap}}\n")
    for _ in range(16):
        h.run(event("zap", cwd=folder)).denied("no-zap")
        folder += "/d"
        h.write(f"{folder}/.claudebench/rules.yaml", "groups: []\n")
    h.run(event("zap", cwd=folder)).denied("more than 16 files")
    started = time.monotonic()
    h.run(event("ls", cwd="/a" * 1000000)).denied("too long")
    check(time.monotonic() - started < 4, "it was not the guard that ended it")


@case("a project's rules make it stricter, with a daemon and without, and also for what the daemon has rewritten")
def project():
    redis = PrivateRedis()
    worker = Worker(redis, {"hook.pre_tool": DECIDED})
    for h in (Hooks(), Hooks(url=redis.url, deadline_ms=4000)):
        folder = f"{h.dir}/project"
        rules = f"{folder}/.claudebench/rules.yaml"
        h.write(rules, "groups:\n- name: project\n  rules:\n"
                       "  - {name: no-npm, action: deny, message: We use pnpm., match: {command: npm}}\n"
                       "  - {name: hint, action: warn, message: Mind the tests., match: {command: make}}\n")
        for env in ({"CLAUDE_PROJECT_DIR": folder}, {}):
            where = {"cwd": f"{folder}/src/deep/" if not env else "/elsewhere"}
            h.run(event("npm i", **where), env=env).denied("We use pnpm. [rule project/no-npm")
            equal(h.run(event("make", **where), env=env).specific(),
                  {"hookEventName": "PreToolUse", "additionalContext": "Mind the tests. [rule project/hint]"})
            h.run(event("ls", **where), env=env).silent()
        env = {"CLAUDE_PROJECT_DIR": folder}
        worker.answers["hook.pre_tool"] = {**DECIDED, "decision": "allow", "reason": "f", "rule": "g/f"}
        h.run(event("npm i"), env=env).denied("We use pnpm.")
        if h.config["redis"]["url"] == redis.url:
            worker.answers["hook.pre_tool"] = {**DECIDED, "decision": "modify", "reason": "m", "rule": "g/m",
                                               "modified": {"command": "npm x"}}
            h.run(event("ls"), env=env).denied("We use pnpm.")
            worker.answers["hook.pre_tool"] = {**DECIDED, "allow": False, "decision": "deny", "reason": "daemon", "rule": "g/d"}
            h.run(event("make"), env=env).denied("daemon [rule g/d]")
        worker.answers["hook.pre_tool"] = DECIDED
        h.write(rules, "groups:\n- name: project\n  rules:\n"
                       "  - {name: all, action: allow, message: All., match: {command: boom}}\n")
        h.run(event("ls"), env=env).denied("rules.yaml:4:25: allow is not for a project's rules")
    worker.stop()
    redis.stop()


@case("hooks.on_error: no JSON, an endless event, rules that are wrong or gone: deny, ask or no opinion")
def on_error():
    h = Hooks()
    for text in (b"", b"{", b"[]", b"null", b'{"a":1,"a":2}', b"\xff\xfe{}", b'{"a":"\xc3"}', b"[" * 100, b"{}{}"):
        a = h.run(text)
        equal((a.code, a.out), (2, b""), repr(text))
        check(b"claudebench: the agent's event" in a.err, a.err)
    h.write(f"{h.rules_dir}/b.yaml", "groups: [{name: b, rules: [{nme: x}]}]\n")
    h.run(event("ls")).denied("could not be checked: the rules cannot be read")
    h.run(event("ls", name="PostToolUse", tool_response={})).silent()
    for word, want in (("ask", "ask"), ("none", None)):
        o = Hooks(rules=None, hooks={"on_error": word})
        a = o.run(event("boom"))
        equal(a.specific()["permissionDecision"] if want else a.silent(), want)
    equal(o.run(b"{").code, 0)
    gone = Hooks()
    os.rename(gone.rules_dir, f"{gone.dir}/was")
    gone.run(event("ls")).denied("could not be checked")
    unparsable = Hooks(hooks={"on_unparsable": "deny"})
    unparsable.run(event("echo 'open")).denied("cannot be checked")


def corpus(name):
    """Commands of one line out of the corpus of the shipped rules."""
    with open(f"{procs.top_srcdir()}/tests/corpus/rules/{name}.txt", encoding="utf-8") as f:
        text = re.sub(r"(?ms)^<<<$.*?^>>>$", "", f.read())
    return [line for line in text.split("\n") if line and not line.startswith(("==", "#", "{"))]


@case("the shipped rules through the whole program, alone and beside a Redis that is stuck: a sample of the corpus")
def shipped():
    draw = rng("corpus")
    hole = BlackHole()
    for h in (Hooks(rules=None, hooks={"rules_dir": f"{procs.top_srcdir()}/etc/rules.d"}),
              Hooks(url=hole.url, rules=None, deadline_ms=20, hooks={"rules_dir": f"{procs.top_srcdir()}/etc/rules.d"})):
        for command in draw.sample(corpus("dangerous"), 12):
            a = h.run(event(command), env={"HOME": "/home/user"})
            check(a.code == 2 or (a.out and a.specific()["permissionDecision"] == "ask"), f"{command!r} got through: {a.out!r}")
        stopped = [command for command in draw.sample(corpus("benign"), 12) if h.run(event(command), env={"HOME": "/home/user"}).code == 2]
        check(len(stopped) <= 1, f"stopped: {stopped}")
    hole.close()


@case("a large file that an agent writes is searched in time, without a daemon too")
def large():
    h = Hooks(rules=None, hooks={"rules_dir": f"{procs.top_srcdir()}/etc/rules.d"})
    rows = json.dumps([{"id": i, "name": f"item{i}", "v": [1, 2, 3]} for i in range(4500)], separators=(",", ":"))
    call = event(tool_name="Write", tool_input={"file_path": "/home/user/project/a.json", "content": rows})
    # The time is a bound of the clock, and the machine may be busy; patterns that are not compiled are never fast enough.
    wait_until(lambda: h.run(call).code == 0, 30, "every try was refused")


@case("a shell's input that is no object is its command")
def bare():
    h = Hooks()
    for bare_input in ("ls; boom", ["boom", "x"], '{"command": "boom"}'):
        h.run(event(tool_input=bare_input)).denied("No booms.")
    h.run(event(tool_input="ls")).silent()


@case("an agent that changes rules, hooks or the notes of what was decided is refused by the shipped rules")
def integrity():
    h = Hooks(rules=None, hooks={"rules_dir": f"{procs.top_srcdir()}/etc/rules.d"})
    ways = (lambda path: {"tool_name": "Write", "tool_input": {"file_path": path, "content": "{}"}},
            lambda path: {"tool_input": {"command": f"echo '{{}}' > {path}"}}, lambda path: {"tool_input": {"command": f"rm -f {path}"}})
    for i, path in enumerate(("/etc/claudebench/rules.d/x.yaml", f"{h.home}/.claude/settings.json", "/p/.claude/settings.local.json",
                 "/p/.claudebench/rules.yaml", "/p/.codex/hooks.json", "/p/.gemini/settings.json", "/p/.cursor/hooks.json",
                 "/p/.github/hooks/claudebench.json", f"{h.home}/.copilot/hooks/claudebench.json",
                 f"{h.home}/.local/state/claudebench/hook/spool", f"{h.home}/.config/claudebench/claudebench.yaml")):
        what = ways[i % 3](path)
        equal(h.run(event(**what)).code, 2, str(what))
    for command in ("claudebench hook uninstall", "claudebench hook install --project", "pkill claudebenchd",
                    "CLAUDEBENCH_CONFIG=/tmp/x claudebench hook"):
        equal(h.run(event(command)).code, 2, command)
    for command in ("cat .claude/settings.json", "claudebench hook check", "claudebench status"):
        h.run(event(command)).silent()


@case("whatever happens in the process that decides (SIGSEGV, abort, SIGKILL, no memory, a wrong exit) is a refusal, exit 2")
def crashes():
    need_failpoints(procs.binary("claudebench"))
    h = Hooks()
    for point in ("hook_read", "hook_local", "hook_decided"):
        for action in ("segv", "abort", "kill", "exit=71", "exit=0"):
            a = h.run(event("ls"), env={"CLAUDEBENCH_FAILPOINT": f"{point}:{action}"})
            equal((a.code, a.out), (2, b""), f"{point}:{action}")
            check(b"the check itself failed" in a.err, a.err)
    # Later it is too late to harm.
    h.run(event("ls"), env={"CLAUDEBENCH_FAILPOINT": "hook_answered:segv"}).silent()


@case("a process that decides and hangs is refused before the agent's own time is up")
def hangs():
    need_failpoints(procs.binary("claudebench"))
    h = Hooks()
    a = h.run(event("ls"), env={"CLAUDEBENCH_FAILPOINT": "hook_decided:stop", "CLAUDEBENCH_TEST_GUARD_MS": "300"})
    equal((a.code, a.out), (2, b""))


main()

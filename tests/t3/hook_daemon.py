#!/usr/bin/env python3
"""hook_daemon.py: `claudebench hook` with a daemon of its own: the daemon's verdicts are those that it would come to alone; the daemon
killed, its hook worker stopped, its Redis stopped or gone: the call is decided all the same, and the audit trail hears of it once."""

import contextlib
import json
import os
import signal

from cbtest import *
from hooks import Hooks, event

h = Hooks(deadline_ms=4000)
daemon = Daemon(config={"hooks": {"rules_dir": h.rules_dir}})
at_exit(daemon.stop)
PATIENT = {"CLAUDEBENCH_CONFIG": f"{h.dir}/patient.yaml"}  # the machine may be slow
HASTY = {"CLAUDEBENCH_CONFIG": f"{h.dir}/hasty.yaml"}
for path, ms in ((PATIENT, 4000), (HASTY, 100)):
    h.write(path["CLAUDEBENCH_CONFIG"], yaml(merge(daemon.config, {"hooks": {"deadline_ms": ms}, "supervisor": {"state_dir": h.state}})) + "\n")

CALLS = [event(c) for c in ("ls", "boom", "hm", "fine", "hard x", "slow", "hard; boom", "echo 'open", "sh -c 'boom'", "a && hm")] + [
    event(tool_name="Write", tool_input={"file_path": "/tmp/x", "content": "boom"}),
    {"session_id": "s", "hook_event_name": "UserPromptSubmit", "prompt": "use sk-abcd1234", "cwd": "/w"},
    {"session_id": "s", "hook_event_name": "UserPromptSubmit", "prompt": "hello", "cwd": "/w"},
]


def trail():
    """The records of the audit stream: its fields as one dict each."""
    with daemon.connect() as r:
        return [pairs(entry[1]) for entry in r.call("XRANGE", "cb:stream:audit", "-", "+")]


def told():
    return [r for r in trail() if b"hook.local" in r.values()]


@case("with a daemon and without, each call has the same answer")
def same():
    alone = Hooks()
    for call in CALLS:
        with_daemon, without = h.run(call, env=PATIENT), alone.run(call)
        equal((with_daemon.code, with_daemon.err), (without.code, without.err), str(call))
        if b"additionalContext" not in without.out:
            equal(with_daemon.out, without.out, str(call))
        else:
            equal(set(with_daemon.specific()), set(without.specific()), str(call))
    equal(h.spool(), [], "nothing was decided here")
    done = procs.run([procs.binary("claudebench"), "hook", "check"], env={**h.env(PATIENT)})
    equal(done.returncode, 1, "not installed")
    procs.run([procs.binary("claudebench"), "hook", "install", "-c", PATIENT["CLAUDEBENCH_CONFIG"]], env=h.env(PATIENT))
    done = procs.run([procs.binary("claudebench"), "hook", "check"], env=h.env(PATIENT))
    equal(done.returncode, 0, done.stdout.decode() + done.stderr.decode())
    check(b"a call was refused" in done.stdout and b"without the daemon" not in done.stdout, done.stdout)


@case("what a project's rules refuse is in the trail as refused, though the daemon has let it pass")
def project():
    h.write(f"{h.dir}/strict/.claudebench/rules.yaml",
            "groups:\n- name: project\n  rules:\n  - {name: no-zap, action: deny, message: No., match: {command: zap}}\n")
    before = len(told())
    h.run(event("zap", cwd=f"{h.dir}/strict", tool_use_id="zapped"), env=PATIENT).denied("no-zap")
    h.run(event("ls", cwd=f"{h.dir}/strict"), env=PATIENT).silent()
    wait_until(lambda: len(told()) > before, 20, "told")
    equal(len(told()), before + 1)
    record = json.loads(told()[-1]["data"])
    equal([record[k] for k in ("use_id", "decision", "rule", "why")], ["zapped", "deny", "project/no-zap", "by the project's rules"])


@case("a call with much in it goes to the daemon, and what a tool gave is left out when that is too much")
def large():
    before = len(told())
    h.run(event(tool_name="Write", tool_input={"file_path": "/tmp/x", "content": "a line\n" * 60000}, tool_use_id="large"), env=PATIENT).silent()
    h.run(event("cat big", name="PostToolUse", tool_response={"stdout": "x" * (5 << 20), "stderr": ""}, tool_use_id="huge"), env=PATIENT).silent()
    by_id = {json.loads(r["data"]).get("use_id"): r["kind"] for r in trail()}
    equal([by_id.get("large"), by_id.get("huge")], [b"hook.pre_tool", b"hook.post_tool"])
    equal(len(told()), before, "nothing was decided here")


@case("failures in a row become an alert for the model, and lists of tasks tasks")
def reports():
    for i in range(5):
        a = h.run(event("false", name="PostToolUseFailure", error="Exit code 1"), env=PATIENT)
    equal(a.specific(), {"hookEventName": "PostToolUseFailure", "additionalContext": "Bash has failed 5 times in a row."})
    todo = [{"content": "write it down", "status": "pending", "activeForm": "writing"}]
    h.run(event(name="PostToolUse", tool_name="TodoWrite", tool_input={"todos": todo}, tool_response={}), env=PATIENT).silent()
    h.run(event(name="PostToolUse", tool_name="TaskCreate", tool_input={"subject": "read it", "description": "d"},
                tool_response={"task": {"id": "7", "subject": "read it"}}), env=PATIENT).silent()
    h.run(event(name="PostToolUse", tool_name="TaskUpdate", tool_input={"taskId": "7", "status": "completed"},
                tool_response={"success": True}), env=PATIENT).silent()
    tasks = {t["text"]: t["status"] for t in daemon.caller().call("task.list", {"queue": "todo"})["tasks"]}
    equal(tasks, {"write it down": "pending", "read it": "completed"})


@case("the chain of rule files that were registered is asked without the daemon, too, as it last was")
def chain():
    member = f"{h.rules_dir}/chain/team.yaml"
    h.write(member, "groups:\n- name: team\n  rules:\n"
                    "  - {name: no-curl, action: deny, message: Not from here., match: {command: curl}}\n"
                    "  - {name: soften, action: modify, message: As a loud one., match: {command: quiet}, "
                    "replacement: {pattern: quiet, with: boom, field: command}}\n")
    h.run(event("curl x"), env=PATIENT).silent()
    c = daemon.caller()
    c.call("hook.register", {"name": "team", "type": "pre_tool", "file": "team.yaml"})
    c.call("hook.register", {"name": "elsewhere", "type": "pre_tool", "file": "team.yaml", "scope": "/nowhere"})
    wait_until(lambda: h.run(event("curl x"), env=PATIENT).code == 2, 10, "in force")
    wait_until(lambda: h.run(event("ls"), env=PATIENT).silent() or b"no-curl" not in chain_file() and b"team.yaml" in chain_file(),
               10, "remembered")
    away = {"CLAUDEBENCH_CONFIG": f"{h.dir}/away.yaml"}
    h.write(away["CLAUDEBENCH_CONFIG"], yaml(merge(daemon.config, {
        "redis": {"embedded": False, "url": f"unix://{h.dir}/none"}, "supervisor": {"state_dir": h.state}})) + "\n")
    h.run(event("curl x"), env=away).denied("Not from here. [rule team/no-curl")
    h.run(event("ls"), env=away).silent()
    # What a member makes of a call is held against the rules in front of it.
    for env in (PATIENT, away):
        h.run(event("quiet"), env=env).denied("No booms.")
    os.rename(member, member + ".was")
    h.run(event("ls"), env=away).denied("could not be checked")
    os.rename(member + ".was", member)
    c.call("hook.unregister", {"name": "team", "type": "pre_tool"})
    wait_until(lambda: h.run(event("curl x"), env=PATIENT).code == 0, 10, "out of force")
    wait_until(lambda: h.run(event("ls"), env=PATIENT).silent() or h.run(event("curl x"), env=away).code == 0, 10, "forgotten")
    h.write(f"{h.state}/hook/chain", "{torn")
    h.run(event("ls"), env=away).denied("chain of rules is not known")
    wait_until(lambda: h.run(event("ls"), env=PATIENT).silent() or h.run(event("ls"), env=away).code == 0, 10, "mended")
    for name in ("spool", "spool.sent"):
        forget(name)


def forget(name):
    """A file of the hook's, which a hook that still runs may take away, too."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{h.state}/hook/{name}")


def chain_file():
    try:
        with open(f"{h.state}/hook/chain", "rb") as f:
            return f.read()
    except FileNotFoundError:
        return b""


def decided_here(env, count):
    h.run(event("boom"), env=env).denied("No booms. [rule ours/no-boom, /command: boom]")
    h.run(event("ls"), env=env).silent()
    h.wait_spool(count)
    forget("away")


@case("its hook worker is stopped, its Redis is stopped, it is killed: decided here; the next daemon's trail hears of each once")
def away():
    h.run(event("ls"), env=PATIENT).silent()
    wait_until(lambda: not os.path.exists(f"{h.state}/hook/spool") and not os.path.exists(f"{h.state}/hook/spool.sent"), 10, "all sent")
    before = len(told())
    (worker,) = [p for p in procs.descendants(daemon.pid) if "claudebench-worker -d hook" in procs.describe(p)]
    os.kill(daemon.pid, signal.SIGSTOP)  # or it would replace the worker
    os.kill(worker, signal.SIGSTOP)
    decided_here(HASTY, 2)
    os.kill(worker, signal.SIGCONT)
    os.kill(daemon.pid, signal.SIGCONT)
    server = daemon.redis_pid()
    os.kill(daemon.pid, signal.SIGSTOP)
    os.kill(server, signal.SIGSTOP)
    decided_here(HASTY, 4)
    os.kill(server, signal.SIGCONT)
    os.kill(daemon.pid, signal.SIGCONT)
    daemon.stop()
    decided_here(PATIENT, 6)
    daemon.start()
    wait_until(lambda: h.run(event("ls"), env=PATIENT).silent() or not h.spool(), 20, "sent")
    wait_until(lambda: not os.path.exists(f"{h.state}/hook/spool.sent"), 20, "all of it")
    equal(len(told()), before + 6, f"{trail()[-8:]}")


main()

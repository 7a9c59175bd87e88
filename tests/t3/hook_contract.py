#!/usr/bin/env python3
"""hook_contract.py: what Claude Code makes of what a hook does, row by row as it was observed (2.1.330), and that nothing that
happens to `claudebench hook` is a row in which a tool runs that a rule refuses.

agent() is that program's judgement, as a table of its behaviour says: the first case holds it against each observed row.
"""

import json
import os
import resource
import subprocess

from cbtest import *
from hooks import BlackHole, Hooks, event

DECISIONS = ("allow", "deny", "ask", "defer")


def agent(code=0, out=b"", err=b"", late=False, missing=False, blocks_on_failure=False):
    """(does the tool run, what the model is told). `code` is negative for a signal."""
    runs_after_failure = not blocks_on_failure
    if missing or late:
        return runs_after_failure, None
    text = out.decode("utf-8", "replace").strip()
    doc, is_json = None, text.startswith("{") and text.endswith("}")  # else it is text, whatever it was meant to be
    if is_json:
        try:
            doc = json.loads(text)
        except ValueError:
            pass
    if code == 2:
        return False, (reason_of(doc) if doc else None) or err.decode("utf-8", "replace").strip() or None
    if doc is not None and fits(doc):
        if decision_of(doc) in ("deny", "block"):
            return False, reason_of(doc)
        return True if code == 0 else runs_after_failure, None
    return True if code == 0 and not is_json else runs_after_failure, None


def fits(doc):
    specific = doc.get("hookSpecificOutput", {"hookEventName": "PreToolUse"})
    return "hookEventName" in specific and specific.get("permissionDecision", "allow") in DECISIONS


def decision_of(doc):
    return doc.get("hookSpecificOutput", {}).get("permissionDecision") or doc.get("decision")


def reason_of(doc):
    return doc.get("hookSpecificOutput", {}).get("permissionDecisionReason") or doc.get("reason")


def specific(**members):
    return json.dumps({"hookSpecificOutput": members}).encode()


DENY = specific(hookEventName="PreToolUse", permissionDecision="deny", permissionDecisionReason="why")
ALLOW = specific(hookEventName="PreToolUse", permissionDecision="allow")

# (what the hook does, does the tool run, the same with onFailure: block), in the order of the observations.
ROWS = [
    ("exit 0 silent", {}, True, True),
    ("exit 1 + stderr", {"code": 1, "err": b"x"}, True, False),
    ("exit 2 + stderr", {"code": 2, "err": b"x"}, False, False),
    ("exit 2, nothing", {"code": 2}, False, False),
    ("deny JSON, exit 0", {"out": DENY}, False, False),
    ("deny JSON, exit 1", {"code": 1, "out": DENY}, False, False),
    ("allow JSON + exit 2", {"code": 2, "out": ALLOW}, False, False),
    ("sleeps past its time limit", {"late": True}, True, False),
    ("missing program, no exec bit", {"missing": True}, True, False),
    ("killed by SIGSEGV", {"code": -11}, True, False),
    ("{bad}", {"out": b"{bad}"}, True, False),
    ("{bad (truncated)", {"out": b"{bad"}, True, True),
    ("a wrong decision", {"out": specific(hookEventName="PreToolUse", permissionDecision="block")}, True, False),
    ("hookEventName missing", {"out": specific(permissionDecision="deny")}, True, False),
    ("{\"blocked\":true}, exit 0", {"out": b'{"blocked":true}'}, True, True),
    ("200 kB of text", {"out": b"x" * 200_000}, True, True),
]


@case("the judgement of these tests is the one that was observed")
def judgement():
    for name, outcome, runs, runs_with in ROWS:
        equal(agent(**outcome)[0], runs, name)
        equal(agent(**outcome, blocks_on_failure=True)[0], runs_with, f"{name}, onFailure: block")
    equal(agent(code=2, err=b"why")[1], "why")
    equal(agent(code=2, out=DENY)[1], "why")
    equal(agent(code=2)[1], None, "a reason that is nowhere is lost")


def hook(h, what=None, env=None, limits=(), close=(), words=()):
    """One call as an agent makes it: what became of it, for agent()."""

    def prepare():
        for limit, value in limits:
            resource.setrlimit(limit, (value, value))
        for fd in close:
            os.close(fd)

    data = json.dumps(what or event("boom")).encode()
    p = subprocess.Popen([procs.binary("claudebench"), "hook", *words], env=procs.environment(h.env(env)), stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=prepare, cwd=h.dir)
    try:
        out, err = p.communicate(data, timeout=5)  # as `hook install` writes
    except subprocess.TimeoutExpired:
        p.kill()
        p.communicate()
        return {"late": True}
    return {"code": p.returncode, "out": out, "err": err}


def stopped(name, outcome, needs_reason=True):
    for blocks in (False, True):
        runs, reason = agent(**outcome, blocks_on_failure=blocks)
        check(not runs, f"{name}: the tool would run (onFailure: {blocks}): {outcome}")
        check(reason or not needs_reason, f"{name}: the reason is lost: {outcome}")


@case("a refusal is one whatever is away, wrong or broken around the hook, with onFailure and without")
def refusals():
    h = Hooks()
    hole = BlackHole()
    stopped("no Redis", hook(h))
    stopped("a black hole", hook(Hooks(url=hole.url, deadline_ms=50)))
    stopped("no rules", hook(Hooks(rules=None)))
    wrong = Hooks()
    wrong.write(wrong.config_path, "config_version: 7\n")
    stopped("a wrong configuration", hook(wrong))
    os.unlink(wrong.config_path)
    stopped("no configuration where it was said to be", hook(wrong))
    stopped("HOME unset, nothing to write to", hook(h, env={"HOME": ""}))
    stopped("a wrong word in its line", hook(h, words=("--nonsense",)))
    stopped("a state folder that is a file", hook(Hooks(), env={}))
    for limit in ((resource.RLIMIT_NOFILE, 4), (resource.RLIMIT_NOFILE, 6), (resource.RLIMIT_NOFILE, 8), (resource.RLIMIT_FSIZE, 0),
                  (resource.RLIMIT_CORE, 0), (resource.RLIMIT_STACK, 256 << 10)):
        stopped(f"limit {limit}", hook(h, limits=[limit]))
    # What would hold the reason is closed: the exit code is enough.
    stopped("stdout closed", hook(h, close=[1]))
    stopped("stderr closed", hook(h, close=[2]))
    stopped("both closed", hook(h, close=[1, 2]), needs_reason=False)
    stopped("stdin closed", hook(h, close=[0]))
    hole.close()


@case("so it is when the process that decides runs out of memory, dies or hangs")
def deaths():
    need_failpoints(procs.binary("claudebench"))
    h = Hooks()
    for what in ("segv", "abort", "kill", "exit=71", "exit=1", "exit=0"):
        stopped(what, hook(h, env={"CLAUDEBENCH_FAILPOINT": f"hook_decided:{what}"}))
    stopped("hangs", hook(h, env={"CLAUDEBENCH_FAILPOINT": "hook_decided:stop", "CLAUDEBENCH_TEST_GUARD_MS": "200"}))


@case("no opinion leaves everything to the agent, and never grants a permission")
def silence():
    h = Hooks()
    outcome = hook(h, event("ls"))
    equal(outcome, {"code": 0, "out": b"", "err": b""})
    check(b"permissionDecision" not in hook(h, event("hard x"))["out"], "a rewrite asks what it would have asked")


main()

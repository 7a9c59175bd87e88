#!/usr/bin/env python3
"""hook_answers.py: `claudebench hook` with a daemon that says what the test wants: what is asked, and what each agent is told.

What agents make of it is in the table of the contract that this was built from (Claude Code 2.1.330, observed): only exit 2 with
words on stderr, or JSON of exactly the right form, stops a tool; any other exit code, a death, a half-written or wrong object
lets it run.
"""

import json

from cbtest import *
from hooks import Hooks, Worker, event

redis = None
worker = None
h = None

MANY = "x" * 20000


def start():
    global redis, worker, h
    redis = PrivateRedis()
    at_exit(redis.stop)
    worker = Worker(redis, {"hook.post_tool": {"processed": True, "result_class": "ok", "notes": []},
                            "hook.todo_write": {"processed": True, "created": [], "updated": [], "cancelled": []}})
    at_exit(worker.stop)
    h = Hooks(url=redis.url, deadline_ms=4000)  # the machine may be slow: time is not what is shown here


def decision(word, **more):
    return {"allow": word in ("none", "allow", "modify"), "decision": word, "reason": more.pop("reason", ""), "notes": [],
            "cached": False, "rules": "v", **more}


def says(word, **more):
    worker.answers["hook.pre_tool"] = decision(word, **more)


DENY = {"reason": "no \u00fcber-delete", "rule": "g/r", "severity": "high", "field": "/command", "matched": "rm -rf"}


@case("the daemon is asked with tool, input byte by byte, event, folder, home, id; session and agent in the envelope")
def asked():
    says("none")
    raw = ('{"session_id":"s-9","hook_event_name":"PreToolUse","tool_name":"Write","cwd":"/w","tool_use_id":"u1",'
           '"tool_input":{"n":9007199254740993,"e":[],"t":"\\u00e4"},"future":{"x":[1]}}').encode()
    h.run(raw).silent()
    params, fields = worker.of("hook.pre_tool")[-1]
    equal(params, {"tool": "Write", "params": {"n": 9007199254740993, "e": [], "t": "\u00e4"}, "event": "PreToolUse",
                   "cwd": "/w", "home": h.home, "use_id": "u1"})
    check('{"n":9007199254740993,"e":[],"t":"\\u00e4"}' in fields["params"], fields["params"])
    equal((fields["session"], fields["agent"]), ("s-9", "claude"))
    check(0 < int(fields["ttl_ms"]) <= 4000, fields)


@case("no objection is no output; deny is said three ways; ask, allow and a rewrite by JSON alone")
def five_decisions():
    says("none")
    h.run(event()).silent()
    says("deny", **DENY)
    h.run(event()).denied("no \u00fcber-delete [rule g/r, /command: rm -rf]")
    says("ask", reason="sure?", rule="g/a")
    a = h.run(event())
    equal((a.code, a.err), (0, b""))
    equal(a.specific(), {"hookEventName": "PreToolUse", "permissionDecision": "ask",
                         "permissionDecisionReason": "sure? [rule g/a]"})
    says("allow", reason="fine", rule="g/f")
    equal(h.run(event()).specific(), {"hookEventName": "PreToolUse", "permissionDecision": "allow"})
    # A rewrite does not grant a permission.
    says("modify", reason="softly", rule="g/m", modified={"command": "ls -l", "description": "d"})
    equal(h.run(event()).specific(), {"hookEventName": "PreToolUse", "updatedInput": {"command": "ls -l", "description": "d"}})
    says("ask", reason="sure?", rule="g/a", modified={"command": "ls -l"})
    equal(h.run(event()).specific()["updatedInput"], {"command": "ls -l"})
    # A warning is for the model, and decides nothing.
    says("none", notes=[{"rule": "g/w", "message": "slow"}])
    worker.answers["hook.pre_tool"]["notes"] = [{"rule": "g/w", "message": "slow"}]
    equal(h.run(event()).specific(), {"hookEventName": "PreToolUse", "additionalContext": "slow [rule g/w]"})


@case("texts stay below what an agent cuts, on a character's border; controls do not reach a terminal")
def long_texts():
    says("deny", reason="\u00e4" * 20000, rule="g/r")
    a = h.run(event())
    reason = a.specific()["permissionDecisionReason"]
    check(len(reason) < 10000 and set(reason) == {"\u00e4", "\u2026"}, reason[-9:])
    check(len(a.err) < 10000, len(a.err))
    says("deny", reason="a\x1b[2Jb\nc", rule="g/r")
    a = h.run(event())
    check(b"\x1b" not in a.err and a.err.count(b"\n") == 1, a.err)
    worker.answers["hook.pre_tool"] = decision("none", notes=[])
    worker.answers["hook.pre_tool"]["notes"] = [{"rule": f"g/{i}", "message": MANY} for i in range(9)]
    check(len(h.run(event()).out) < 10000, "notes")


@case("a permission request is answered by a decision object, and only a refusal or a permission is one")
def permission():
    ask = {k: v for k, v in event(name="PermissionRequest", permission_suggestions=[]).items() if k != "tool_use_id"}
    for word in ("none", "ask"):
        says(word, reason="r", rule="g/r")
        h.run(ask).silent()
    says("deny", **DENY)
    a = h.run(ask)
    equal(a.code, 2)
    equal(a.specific(), {"hookEventName": "PermissionRequest",
                         "decision": {"behavior": "deny", "message": "no \u00fcber-delete [rule g/r, /command: rm -rf]"}})
    says("allow", reason="fine", rule="g/f")
    equal(h.run(ask).specific(), {"hookEventName": "PermissionRequest", "decision": {"behavior": "allow"}})
    equal(worker.of("hook.pre_tool")[-1][0]["event"], "PermissionRequest")


@case("what is over is reported with its result; notes and alerts go to the model; a refusal is feedback")
def post_tool():
    worker.answers["hook.post_tool"] = {"processed": True, "result_class": "ok", "notes": []}
    after = event(name="PostToolUse", tool_response={"stdout": "out", "stderr": "", "interrupted": False}, duration_ms=12)
    h.run(after).silent()
    params, fields = worker.of("hook.post_tool")[-1]
    equal((params["result"], params["duration_ms"], params.get("is_error")),
          ({"stdout": "out", "stderr": "", "interrupted": False}, 12, None))
    check("ttl_ms" not in fields, "a report is never too late")
    failed = event(name="PostToolUseFailure", error="Exit code 1", is_interrupt=False)
    h.run(failed).silent()
    params, _ = worker.of("hook.post_tool")[-1]
    equal((params["result"], params["is_error"]), ("Exit code 1", True))
    # The response of an MCP tool is a string.
    h.run(event(name="PostToolUse", tool_name="mcp__a__b", tool_response='[{"type":"text"}]')).silent()
    equal(worker.of("hook.post_tool")[-1][0]["result"], '[{"type":"text"}]')
    worker.answers["hook.post_tool"] = {"processed": True, "notes": [{"rule": "g/n", "message": "look"}], "alert": True,
                                        "failures": 5, "context": "look\nBash has failed 5 times in a row."}
    for name in ("PostToolUse", "PostToolUseFailure"):
        equal(h.run(event(name=name, tool_response={})).specific(),
              {"hookEventName": name, "additionalContext": "look\nBash has failed 5 times in a row."})
    worker.answers["hook.post_tool"] = {"processed": True, "result_class": "ok", "notes": []}


@case("a prompt goes through, is refused, or gets a text beside it")
def prompts():
    prompt = {"session_id": "s", "hook_event_name": "UserPromptSubmit", "prompt": "hello \u00fc", "cwd": "/w"}
    worker.answers["hook.user_prompt"] = decision("none")
    h.run(prompt).silent()
    equal(worker.of("hook.user_prompt")[-1][0], {"prompt": "hello \u00fc", "cwd": "/w", "home": h.home})
    worker.answers["hook.user_prompt"] = decision("deny", reason="a secret", rule="g/s")
    for name in ("UserPromptSubmit", "UserPromptExpansion"):
        a = h.run({**prompt, "hook_event_name": name})
        equal((a.code, a.json()), (2, {"decision": "block", "reason": "a secret [rule g/s]"}))
        check(b"a secret" in a.err, a.err)
    worker.answers["hook.user_prompt"] = decision("none", context="the branch is main")
    equal(h.run(prompt).specific(), {"hookEventName": "UserPromptSubmit", "additionalContext": "the branch is main"})


@case("todo lists and tasks become hook.todo_write, from tools that have run and from the agent's task events")
def todos():
    says("none")
    todo = [{"content": "a", "status": "pending", "activeForm": "doing a"}]
    h.run(event(name="PostToolUse", tool_name="TodoWrite", tool_input={"todos": todo}, tool_response={"newTodos": todo})).silent()
    params, fields = worker.of("hook.todo_write")[-1]
    equal((params, fields["session"]), ({"todos": todo}, "s-1"))
    h.run(event(name="PostToolUse", tool_name="TaskCreate", tool_input={"subject": "s", "description": "d"},
                tool_response={"task": {"id": "7", "subject": "s"}})).silent()
    equal(worker.of("hook.todo_write")[-1][0], {"mode": "one", "event": "TaskCreate",
                                              "task": {"id": "7", "subject": "s", "description": "d", "status": "pending"}})
    h.run(event(name="PostToolUse", tool_name="TaskUpdate", tool_input={"taskId": "7", "status": "completed"},
                tool_response={"success": True, "taskId": "7", "updatedFields": ["status"]})).silent()
    equal(worker.of("hook.todo_write")[-1][0], {"mode": "one", "event": "TaskUpdate", "task": {"id": "7", "status": "completed"}})
    before = len(worker.of("hook.todo_write"))
    h.run(event(name="PostToolUse", tool_name="TaskUpdate", tool_input={"taskId": "7", "status": "completed"},
                tool_response={"success": False, "taskId": "7", "error": "none"})).silent()
    h.run(event(name="PreToolUse", tool_name="TodoWrite", tool_input={"todos": todo})).silent()
    equal(len(worker.of("hook.todo_write")), before, "what failed or has not run")
    base = {"session_id": "s", "task_id": "8", "task_subject": "t", "task_description": "u"}
    for name, status in (("TaskCreated", "pending"), ("TaskCompleted", "completed")):
        h.run({**base, "hook_event_name": name}).silent()
        equal(worker.of("hook.todo_write")[-1][0], {"mode": "one", "event": name, "task": {
            "id": "8", "subject": "t", "description": "u", "status": status}})


@case("other events, unknown events and unknown members of any kind: no output, and the daemon is left alone")
def unknown():
    before = len(worker.methods())
    base = {"session_id": "s", "transcript_path": "/t", "cwd": "/w"}
    for name in ("PermissionDenied", "PostToolBatch", "SessionStart", "SessionEnd", "Stop", "StopFailure", "SubagentStart",
                 "SubagentStop", "TeammateIdle", "Notification", "PreCompact", "PostCompact", "PreModelSwitch", "PostModelSwitch",
                 "ConfigChange", "CwdChanged", "FileChanged", "DirectoryAdded", "WorktreeCreate", "WorktreeRemove",
                 "InstructionsLoaded", "Elicitation", "ElicitationResult", "Setup", "MessageDisplay", "EventOfNextYear", ""):
        h.run({**base, "hook_event_name": name, "x": [{}], "stop_hook_active": True}).silent()
    h.run({**base, "hook_event_name": 7}).silent()
    h.run(b"{}").silent()
    equal(len(worker.methods()), before)


@case("a call is checked however it is dressed: no name of the event, no tool, no input, input that is no object")
def undressed():
    says("deny", **DENY)
    for change in ({"hook_event_name": None}, {"tool_name": 7}, {"tool_input": None}, {"tool_input": "ls"}, {"tool_input": [1]},
                   {"session_id": {"a": 1}}, {"cwd": "relative"}, {"tool_use_id": "u" * 500}, {"session_id": "\u00e4" * 100}):
        a = h.run({**event(), **change})
        a.denied("no \u00fcber-delete")
        params, fields = worker.of("hook.pre_tool")[-1]
        check(isinstance(params["params"], dict), params)
        check(len(fields.get("session", "").encode()) <= 128 and params.get("cwd", "/").startswith("/"), fields)
    equal(h.run({**event(), "tool_input": "ls"}).code, 2)
    equal(worker.of("hook.pre_tool")[-1][0]["params"], {"input": "ls"})


@case("other agents: each is asked and told in its own words; what one cannot carry out becomes a refusal")
def agents():
    shell = {"session_id": "g", "cwd": "/w", "hook_event_name": "BeforeTool", "tool_name": "run_shell_command",
             "tool_input": {"command": "ls"}, "timestamp": "t"}
    cursor = {"conversation_id": "c", "generation_id": "g", "hook_event_name": "beforeShellExecution", "command": "ls",
              "cwd": "/w", "workspace_roots": ["/w"]}
    mcp = {"conversation_id": "c", "hook_event_name": "beforeMCPExecution", "tool_name": "t", "tool_input": '{"a":[1]}',
           "workspace_roots": ["/root/w"]}
    copilot = {"sessionId": "p", "timestamp": 1, "cwd": "/w", "toolName": "bash", "toolArgs": '{"command":"ls"}'}
    codex = event(turn_id="t", model="m")
    for name, what, tool, params in (
        ("gemini", shell, "run_shell_command", {"command": "ls"}), ("cursor", cursor, "shell", {"command": "ls", "cwd": "/w"}),
        ("cursor", mcp, "t", {"a": [1]}), ("copilot", copilot, "bash", {"command": "ls"}),
        ("codex", codex, "Bash", event("ls")["tool_input"]),
    ):
        says("none")
        h.run(what, "--agent", name).silent()
        asked_with, fields = worker.of("hook.pre_tool")[-1]
        equal((asked_with["tool"], asked_with["params"], fields["agent"]), (tool, params, name))
    equal(asked_with["cwd"], "/home/user/project")
    reason = "no [rule g/r]"
    refused = {
        "gemini": (shell, {"decision": "deny", "reason": reason}),
        "cursor": (cursor, {"permission": "deny", "user_message": reason, "agent_message": reason}),
        "copilot": (copilot, {"permissionDecision": "deny", "permissionDecisionReason": reason}),
        "codex": (codex, {"hookSpecificOutput": {"hookEventName": "PreToolUse", "permissionDecision": "deny",
                                                 "permissionDecisionReason": reason}}),
    }
    says("deny", reason="no", rule="g/r")
    for name, (what, want) in refused.items():
        a = h.run(what, "--agent", name)
        equal((a.code, a.json(), a.err), (2, want, f"claudebench: {reason}\n".encode()), name)
    # Codex takes "ask" for an error and runs the tool; Gemini does not know it.
    says("ask", reason="sure?", rule="g/a")
    for name, what in (("codex", codex), ("gemini", shell)):
        a = h.run(what, "--agent", name)
        equal(a.code, 2, name)
        check(b"consent" in a.err, a.err)
    equal(h.run(cursor, "--agent", "cursor").json()["permission"], "ask")
    equal(h.run({**cursor, "hook_event_name": "beforeReadFile", "file_path": "/x", "content": "c"}, "--agent", "cursor").code, 2)
    equal(h.run(copilot, "--agent", "copilot").json()["permissionDecision"], "ask")
    # Codex takes "allow" without a rewrite for an error, and a rewrite without it.
    says("allow", reason="fine", rule="g/f")
    h.run(codex, "--agent", "codex").silent()
    says("modify", reason="softly", rule="g/m", modified={"command": "ls -l"})
    equal(h.run(codex, "--agent", "codex").specific(),
          {"hookEventName": "PreToolUse", "permissionDecision": "allow", "updatedInput": {"command": "ls -l"}})
    equal(h.run(shell, "--agent", "gemini").specific(), {"hookEventName": "BeforeTool", "tool_input": {"command": "ls -l"}})
    for name, what in (("cursor", cursor), ("copilot", copilot)):
        a = h.run(what, "--agent", name)
        equal(a.code, 2)
        check(b'use this instead: {"command":"ls -l"}' in a.err.replace(b": ", b": ").replace(b'": "', b'":"'), a.err)
    worker.answers["hook.user_prompt"] = decision("deny", reason="a secret", rule="g/s")
    a = h.run({"conversation_id": "c", "hook_event_name": "beforeSubmitPrompt", "prompt": "x"}, "--agent", "cursor")
    equal((a.code, a.json()), (2, {"continue": False, "user_message": "a secret [rule g/s]"}))
    h.run({"sessionId": "p", "toolName": "bash", "toolArgs": "{}", "toolResult": {"resultType": "success"}}, "--agent", "copilot").silent()
    equal(worker.of("hook.post_tool")[-1][0]["result"], {"resultType": "success"})
    h.run({"conversation_id": "c", "hook_event_name": "afterShellExecution", "command": "ls", "output": "o", "duration": 5},
          "--agent", "cursor").silent()
    params, _ = worker.of("hook.post_tool")[-1]
    equal((params["tool"], params["result"], params["duration_ms"]), ("shell", "o", 5))


@case("wrong use is 2 as well, and so is help in no agent's way")
def wrong_use():
    for words in (["--agent", "nobody"], ["--nonsense"], ["operand"], ["--agent"]):
        done = procs.run([procs.binary("claudebench"), "hook", *words], env=h.env(), input=b"{}")
        equal((done.returncode, done.stdout), (2, b""), str(words))
        check(done.stderr, "words")


@case("an agent that keeps its end of the pipe open is answered all the same; 90 kB and 1 MB are read to the end")
def slow_stdin():
    says("none")
    p = h.start()
    p.stdin.write(json.dumps(event()).encode())
    p.stdin.flush()
    equal(p.stdout.read(), b"")
    equal(p.wait(20), 0)
    p.stdin.close()
    for size in (90_000, 1_000_000):
        h.run(event("echo " + "a" * size)).silent()


arguments()
start()
main()

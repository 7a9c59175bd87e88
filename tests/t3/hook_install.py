#!/usr/bin/env python3
"""hook_install.py: `claudebench hook install`, `uninstall`, `check` and `test-rules`: settings as people have them come through by the
byte; what cannot be edited safely is left alone with a clear word; what is installed works as the agent would run it."""

import json
import os
import stat
import subprocess

from cbtest import *
from hooks import RULES, Hooks

h = Hooks()
CLAUDE = ["PreToolUse", "PostToolUse", "PostToolUseFailure", "UserPromptSubmit"]

FULL = """{
  "$schema": "https://json.schemastore.org/claude-code-settings.json",
  "model": "opus",
  "unknownKey": [1, 2.50, 1e3, 9007199254740993, {"z": null, "a": []}],
  "permissions": {
    "allow": ["Bash(npm run *)", "Read(~/.zshrc)"],
    "deny": []
  },
  "hooks": {
    "PreToolUse": [
      {
        "matcher": "Bash",
        "hooks": [
          {"type": "command", "command": "my-linter --quiet", "timeout": 10}
        ]
      }
    ],
    "Stop": [{"hooks": [{"type": "command", "command": "say done"}]}]
  },
  "env": {"A": "\\u00fc \\ud83d\\ude00 \u00fc \U0001f600", "B": "tab\\tq\\"uote\\\\"}
}
"""

SETTINGS = {
    "full": FULL,
    "four spaces": json.dumps(json.loads(FULL), indent=4) + "\n",
    "tabs": json.dumps(json.loads(FULL), indent="\t", ensure_ascii=False) + "\n",
    "one row": json.dumps(json.loads(FULL)),
    "one row, no blanks": json.dumps(json.loads(FULL), separators=(",", ":")) + "\n",
    "CRLF": FULL.replace("\n", "\r\n"),
    "byte order mark": "\ufeff" + FULL,
    "no newline at the end": FULL.rstrip("\n"),
    "blank lines at the end": FULL + "\n\n  \n",
    "no hooks": '{\n  "model": "opus"\n}\n',
    "empty object": "{}",
    "empty object in rows": "{\n}\n",
    "empty file": "",
    "blank file": "\n",
    "empty hooks": '{\n  "hooks": {},\n  "model": "opus"\n}\n',
    "hooks in one row": '{\n  "hooks": { "PreToolUse": [ ] , "Stop": [] }\n}\n',
    "hooks first, odd spacing": '{ "hooks" :{ "PreToolUse":[{"hooks":[]} ,\n\n{"matcher":"x","hooks":[{"command":"y"}]}]}\n , "a":1}',
    "deep indent": '      {\n            "a": {\n                  "b": 1\n            }\n      }\n',
    "names like ours": '{"hooks": {"PreToolUse": [{"hooks": [{"type": "command", "command": "/x/claudebench"},'
                       '{"type": "command", "command": "not-claudebench hook"}, {"type": "command", "command": "echo claudebench hook"}]}]}}',
}


def claudebench(*words, env=None, cwd=None, folder=None):
    env = procs.environment(h.env({"HOME": folder or h.home, **(env or {})}))
    return subprocess.run([procs.binary("claudebench"), "hook", *words], env=env, cwd=cwd or h.dir, capture_output=True,
                          timeout=60, check=False, stdin=subprocess.DEVNULL)


def good(done, *texts):
    equal(done.returncode, 0, f"{done.stdout!r} {done.stderr!r}")
    for text in texts:
        check(text.encode() in done.stdout, f"{text} in {done.stdout!r}")
    return done


def home(settings=None, mode=0o600):
    folder = procs.subfolder("u")
    if settings is not None:
        os.mkdir(f"{folder}/.claude")
        put(f"{folder}/.claude/settings.json", settings)
        os.chmod(f"{folder}/.claude/settings.json", mode)
    return folder


def put(path, text):
    with open(path, "wb") as f:
        f.write(text if isinstance(text, bytes) else text.encode())


def get(path):
    with open(path, "rb") as f:
        return f.read()


def ours(text):
    """event -> handlers of ours, from the whole file."""
    found = {}
    for name, groups in json.loads(text.decode("utf-8-sig")).get("hooks", {}).items():
        for group in groups:
            for handler in group.get("hooks", [group]):
                if handler.get("args", [""])[0] == "hook":
                    found.setdefault(name, []).append((group.get("matcher"), handler))
    return found


@case("settings of many shapes: everything else stays by the byte, again changes nothing, uninstall gives back what was there")
def round_trips():
    for name, text in SETTINGS.items():
        for keep_backup in (True, False):
            folder = home(text)
            path = f"{folder}/.claude/settings.json"
            before = get(path)
            good(claudebench("install", folder=folder), path)
            made = get(path)
            found = ours(made)
            equal(sorted(found), sorted(CLAUDE), name)
            for event, ((matcher, handler),) in found.items():
                equal(matcher, None if event == "UserPromptSubmit" else "*", name)
                blocks = event in ("PreToolUse", "UserPromptSubmit")
                equal(handler, {"type": "command", "command": procs.binary("claudebench"), "args": ["hook"], "timeout": 5,
                                **({"onFailure": "block"} if blocks else {})})
            # All that was there is there, in its order.
            rest = json.loads(made.decode("utf-8-sig"))
            want = json.loads(before.decode("utf-8-sig").strip() or "{}")
            check([k for k in rest if k in want] == list(want), name)
            equal({k: v for k, v in rest.items() if k != "hooks"}, {k: v for k, v in want.items() if k != "hooks"}, name)
            for event, groups in want.get("hooks", {}).items():
                equal(rest["hooks"][event][: len(groups)], groups, name)
            if b"\r\n" in before:
                equal(made.count(b"\n"), made.count(b"\r\n"), "line ends")
            if b"\t" in before and name == "tabs":
                check(b"\n\t\t\t\t\"matcher\": \"*\"" in made or b"\n\t\t\t\t\"hooks\"" in made, made)
            good(claudebench("install", folder=folder), "already")
            equal(get(path), made, name)
            backup = f"{path}.before-claudebench"
            equal(get(backup), before, name)
            if not keep_backup:
                os.unlink(backup)
                if not before.strip() or b"{}" in before or name in ("empty object in rows", "hooks in one row"):
                    continue  # empty containers look alike without it
            good(claudebench("uninstall", folder=folder))
            equal(get(path), before, f"{name}, copy kept: {keep_backup}")
            equal(sorted(os.listdir(f"{folder}/.claude")), ["settings.json"])
            equal(stat.S_IMODE(os.stat(path).st_mode), 0o600)
            good(claudebench("uninstall", folder=folder), "no line")


@case("no file: it is made, and goes again; so do a project's; a changed file only loses our lines")
def no_file():
    folder = home()
    good(claudebench("uninstall", folder=folder), "no line")
    check(not os.path.exists(f"{folder}/.claude"), "nothing is made by uninstall")
    good(claudebench("install", folder=folder))
    path = f"{folder}/.claude/settings.json"
    equal(stat.S_IMODE(os.stat(path).st_mode), 0o600)
    changed = get(path).replace(b'{\n  "hooks"', b'{\n  "model": "opus",\n  "hooks"')
    put(path, changed)
    good(claudebench("uninstall", folder=folder))
    equal(get(path), b'{\n  "model": "opus"\n}\n')
    os.unlink(path)
    good(claudebench("install", folder=folder))
    good(claudebench("uninstall", folder=folder))
    equal(os.listdir(f"{folder}/.claude"), [])
    project = procs.subfolder("p")
    good(claudebench("install", "--project", cwd=project), f"{project}/.claude/settings.json")
    equal(stat.S_IMODE(os.stat(f"{project}/.claude/settings.json").st_mode), 0o644)
    good(claudebench("uninstall", "--project", cwd=project))
    # Somebody added a hook to our group, and others before and behind.
    folder = home(FULL)
    path = f"{folder}/.claude/settings.json"
    good(claudebench("install", folder=folder))
    doc = json.loads(get(path))
    doc["hooks"]["PreToolUse"][1]["hooks"].append({"type": "command", "command": "theirs"})
    doc["hooks"]["PreToolUse"].append({"hooks": [{"type": "command", "command": "later"}]})
    put(path, json.dumps(doc, indent=2))
    good(claudebench("uninstall", folder=folder))
    left = json.loads(get(path))["hooks"]
    equal([x["command"] for g in left["PreToolUse"] for x in g["hooks"]], ["my-linter --quiet", "theirs", "later"])
    equal(sorted(left), ["PreToolUse", "Stop"])


@case("a new place of the program or another configuration replaces the lines; uninstall still gives back what was there")
def replaced():
    folder = home(FULL)
    path = f"{folder}/.claude/settings.json"
    good(claudebench("install", folder=folder))
    good(claudebench("install", "-c", h.config_path, folder=folder))
    ((_, handler),) = ours(get(path))["PreToolUse"]
    equal(handler["args"], ["hook", "--config", h.config_path])
    equal(len(ours(get(path))), 4)
    good(claudebench("uninstall", folder=folder))
    equal(get(path), FULL.encode())


@case("what is no JSON, a link, or cannot be written is refused with its place, and not touched")
def refused():
    for text, where in (("{", "1:2"), ('{\n  // mine\n  "a": 1\n}', "2:3"), ("[]", "1:1"), ('{"a":1,"a":2}', "1:8"),
                        ('{"hooks": []}', "1:11"), ('{"hooks": {"PreToolUse": {}}}', "1:26"), (b'{"a":"\xff"}', "1:7"),
                        ("{}{}", "1:3")):
        folder = home(text)
        before = get(f"{folder}/.claude/settings.json")
        for verb in ("install", "uninstall"):
            done = claudebench(verb, folder=folder)
            equal(done.returncode, 65, f"{text} {done.stdout}")
            check(f"settings.json:{where}".encode() in done.stderr and b"nothing was changed" in done.stderr, done.stderr)
        equal(get(f"{folder}/.claude/settings.json"), before)
        equal(os.listdir(f"{folder}/.claude"), ["settings.json"])
    # A user's own link is followed (people keep such files elsewhere), a project's is not, nor one to nothing.
    folder = home(FULL)
    link = f"{folder}/.claude/settings.json"
    os.rename(link, f"{folder}/dotfiles.json")
    os.symlink("../dotfiles.json", link)
    good(claudebench("install", folder=folder))
    check(os.path.islink(link) and len(ours(get(f"{folder}/dotfiles.json"))) == 4, "behind the link")
    done = claudebench("install", "--project", cwd=folder)
    equal(done.returncode, 66)
    check(b"symbolic link" in done.stderr, done.stderr)
    project = f"{folder}/project"
    os.mkdir(project)
    for name, agent in ((".claude", "claude"), (".github", "copilot")):
        os.mkdir(f"{folder}/elsewhere{name}")
        os.symlink(f"../elsewhere{name}", f"{project}/{name}")
        done = claudebench("install", "--project", "--agent", agent, cwd=project)
        equal((done.returncode, os.listdir(f"{folder}/elsewhere{name}")), (66, []))
        check(b"symbolic link" in done.stderr, done.stderr)
    good(claudebench("uninstall", folder=folder))
    equal(get(f"{folder}/dotfiles.json"), FULL.encode())
    os.unlink(f"{folder}/dotfiles.json")
    check(b"symbolic link to nothing" in claudebench("install", folder=folder).stderr, "dangling")
    folder = home()
    os.mkdir(f"{folder}/.claude")
    os.mkdir(f"{folder}/.claude/settings.json")
    check(b"is not a file" in claudebench("install", folder=folder).stderr, "a folder")
    for words in (["install", "--agent", "nobody"], ["install", "--project", "--user"], ["install", "x"]):
        equal(claudebench(*words).returncode, 64, str(words))
    if os.geteuid() != 0:
        folder = home(FULL)
        os.chmod(f"{folder}/.claude", 0o500)
        done = claudebench("install", folder=folder)
        equal(done.returncode, 77)
        check(b"nothing was changed" in done.stderr, done.stderr)
        os.chmod(f"{folder}/.claude", 0o700)


@case("nothing is installed that would refuse every call: the configuration and the rules are read first")
def policy_first():
    bad = Hooks(rules="groups: 7\n")
    folder = home(FULL)
    done = claudebench("install", folder=folder, env={"CLAUDEBENCH_CONFIG": bad.config_path})
    equal(done.returncode, 78)
    check(b"a.yaml:1:9" in done.stderr and b"nothing was changed" in done.stderr, done.stderr)
    equal(get(f"{folder}/.claude/settings.json"), FULL.encode())


@case("check runs what is installed: a good line, a bit that is missing, no onFailure, a shell, async, hooks off, events missing")
def checking():
    folder = home()
    path = f"{folder}/.claude/settings.json"
    fake = f"{folder}/bin"
    os.mkdir(fake)

    def version(text):
        put(f"{fake}/claude", f"#!/bin/sh\necho '{text} (Claude Code)'\n")
        os.chmod(f"{fake}/claude", 0o755)

    version("2.1.330")
    env = {"PATH": f"{fake}:/usr/bin:/bin"}
    done = claudebench("check", folder=folder, env=env)
    equal(done.returncode, 1)
    check(b"claudebench hook install" in done.stdout, done.stdout)
    good(claudebench("install", folder=folder))
    text = get(path)
    done = good(claudebench("check", folder=folder, env=env), "PreToolUse is installed", "a call was refused, in", "claude 2.1.330",
                f"rules: {h.rules_dir}", "without the daemon")

    def wrong(change, *texts, env=env):
        put(path, change(text))
        found = claudebench("check", folder=folder, env=env)
        equal(found.returncode, 1, found.stdout.decode())
        for t in texts:
            check(any(line.startswith(b"WRONG") and t.encode() in line for line in found.stdout.splitlines()), f"{t} in {found.stdout}")
        put(path, text)

    program = procs.binary("claudebench").encode()
    dead = f"{folder}/claudebench"
    put(dead, "#!/bin/sh\nexit 1\n")
    wrong(lambda t: t.replace(program, dead.encode()), "cannot be run: Permission denied")
    os.chmod(dead, 0o755)
    wrong(lambda t: t.replace(program, dead.encode()), "ended with exit 1: the agent would let it through")
    put(dead, "#!/bin/sh\nkill -SEGV $$\n")
    wrong(lambda t: t.replace(program, dead.encode()), "ended with signal 11")
    put(dead, "#!/bin/sh\ncat > /dev/null; exit 2\n")
    wrong(lambda t: t.replace(program, dead.encode()), "a refusal without a reason")
    wrong(lambda t: t.replace(program, b"/nonexistent/claudebench"), "cannot be run: No such file")
    wrong(lambda t: t.replace(program, b"claudebench"), "not an absolute path")
    wrong(lambda t: t.replace(b',\n            "onFailure": "block"', b""), "onFailure")
    wrong(lambda t: t.replace(b'"onFailure": "block"', b'"onFailure": "block", "async": true'), "async")
    wrong(lambda t: t.replace(b"{\n", b'{\n  "disableAllHooks": true,\n', 1), "disableAllHooks")
    wrong(lambda t: t.replace(b"PostToolUseFailure", b"Stop"), "PostToolUseFailure is not installed")
    put(path, text.replace(b'"matcher": "*"', b'"matcher": "Edit|Write"', 1))
    good(claudebench("check", folder=folder, env=env), "PreToolUse: only tools that match Edit|Write are asked about")
    put(path, text)
    done = good(claudebench("check", folder=folder, cwd=folder, env=env))
    equal(done.stdout.count(b"PreToolUse is installed"), 1, "at home the two files are one")
    wrong(lambda t: t.replace(b'"command": "' + program + b'",\n            "args": ["hook"]', b'"command": "' + program + b' hook"'),
          "through a shell")
    version("2.1.294")
    wrong(lambda t: t, "2.1.294 ignores onFailure")
    version("2.1.330")
    put(path, text.replace(b'"PreToolUse": [', b'"PreToolUse": [{"hooks": [{"type": "command", "command": "x"}]},'))
    good(claudebench("check", folder=folder, env=env), "1 other hooks in the same events")


@case("the other agents' files: installed, found to work, taken out")
def other_agents():
    project = procs.subfolder("p")
    for agent, name, events in (("codex", ".codex/hooks.json", 3), ("gemini", ".gemini/settings.json", 3),
                                ("cursor", ".cursor/hooks.json", 7), ("copilot", ".github/hooks/claudebench.json", 2)):
        path = f"{project}/{name}"
        good(claudebench("install", "--project", "--agent", agent, cwd=project), path)
        equal(len(json.loads(get(path))["hooks"]), events, agent)
        check(f"hook --agent {agent}".encode() in get(path), agent)
        good(claudebench("check", "--project", "--agent", agent, cwd=project), "a call was refused")
        good(claudebench("install", "--project", "--agent", agent, cwd=project), "already")
        good(claudebench("uninstall", "--project", "--agent", agent, cwd=project))
        check(not os.path.exists(path), agent)
        text = b'{"version": 1, "hooks": {}}\n'
        put(path, text)
        good(claudebench("install", "--project", "--agent", agent, cwd=project))
        good(claudebench("uninstall", "--project", "--agent", agent, cwd=project))
        equal(get(path), text, agent)


@case("test-rules runs the examples of the rules in force, of folders and of files, and says where one fails")
def test_rules():
    shipped = os.path.join(procs.top_srcdir(), "etc/rules.d")
    done = good(claudebench("test-rules", shipped))
    check(b" 0 failed" in done.stdout, done.stdout)
    rows = [line for line in good(claudebench("test-rules", "-v", shipped)).stdout.decode().splitlines() if line.endswith(" passes")]
    check(max(len(row.split()[3]) for row in rows) > 44, "a name that is longer than most")
    equal(len({row.index(" matches, ") for row in rows}), 1, "aligned")
    rules = Hooks(rules=None)
    bad = f"{rules.rules_dir}/x.yaml"
    put(bad, "groups:\n- name: g\n  rules:\n  - name: r\n    action: deny\n    message: m\n    match: {command: rm}\n"
             "    examples:\n      matches:\n        - rm x\n        - ls\n      passes:\n        - rm y\n")
    for words in ([], [bad], [rules.rules_dir]):
        done = claudebench("test-rules", *words, env={"CLAUDEBENCH_CONFIG": rules.config_path})
        equal(done.returncode, 1, done.stdout.decode() + done.stderr.decode())
        check(b"x.yaml:11: g/r:" in done.stdout and b"x.yaml:13: g/r:" in done.stdout and b"2 failed" in done.stdout, done.stdout)
    put(bad, RULES)
    equal(claudebench("test-rules", bad).returncode, 1, "rules without examples")
    done = claudebench("test-rules", "--project", bad)
    equal(done.returncode, 78)
    check(b"allow is not for a project's rules" in done.stderr, done.stderr)
    done = claudebench("test-rules", "-v", bad)
    check(b"deny   high" in done.stdout and b"ours/no-boom" in done.stdout, done.stdout)
    equal(claudebench("test-rules", "/nonexistent").returncode, 78)


main()

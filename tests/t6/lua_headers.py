#!/usr/bin/env python3
"""lua_headers.py: every Lua script says what it takes and gives, and keeps to the rules of all scripts."""

import os
import re

import scripts
from cbtest import *

FORBIDDEN = ["KEYS", "SCAN", "SSCAN", "HSCAN", "ZSCAN", "FLUSHALL", "FLUSHDB", "SMEMBERS", "HGETALL", "LRANGE", "RANDOMKEY",
             "EVAL", "PUBLISH", "SORT"]


def folder(*more):
    return os.path.join(procs.top_srcdir(), "lua", *more)


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def all_files():
    found = [folder(f"{n}.lua") for n in scripts.names()]
    inc = folder("include")
    return found + [os.path.join(inc, f) for f in sorted(os.listdir(inc)) if f.endswith(".lua")]


def header(text):
    lines = []
    for line in text.splitlines():
        if line.startswith("#!") and not lines:
            continue
        if not line.startswith("--"):
            break
        lines.append(line[2:].strip())
    return "\n".join(lines)


def code(text):
    return "\n".join(line for line in text.splitlines() if not re.match(r"\s*--", line))


@case("every script begins with #!lua and a header that names KEYS, ARGV, what it returns, and its caller")
def headers():
    problems = []
    for name in scripts.names():
        text = read(folder(f"{name}.lua"))
        head = header(text)
        if not text.startswith("#!lua"):
            problems.append(f"{name}: no #!lua line")
        if not head.startswith(f"{name}: "):
            problems.append(f"{name}: the header does not begin with its name")
        for word in ("KEYS", "ARGV", "Returns", "Caller"):
            if not re.search(rf"\b{word}\b", head):
                problems.append(f"{name}: the header does not say {word}")
    check(not problems, "\n".join(problems))


@case("every include begins with its name and what it is")
def includes():
    for path in all_files():
        if "include" in path:
            check(header(read(path)).startswith(os.path.basename(path) + ": "), f"{path}: header")


@case("flags are known ones; only scripts that create work may be refused at maxmemory")
def flags():
    may_be_refused = {"archive_restore", "hook_register", "hook_todo_write", "outbox_create", "schedule_add",
                      "schedule_fire", "system_batch_process", "system_event_publish", "system_quorum_vote", "system_register", "system_state_sync",
                      "task_create", "task_create_batch"}
    for name in scripts.names():
        first = read(folder(f"{name}.lua")).splitlines()[0]
        found = re.match(r"#!lua(?: flags=([a-z,-]+))?$", first)
        check(found, f"{name}: {first}")
        words = set((found.group(1) or "").split(",")) - {""}
        check(words <= {"allow-oom", "no-writes", "allow-stale", "no-cluster", "allow-cross-slot-keys"}, f"{name}: {words}")
        if name not in may_be_refused:
            check("allow-oom" in words, f"{name} must work at maxmemory (or be on this test's list)")


@case("no KEYS, SCAN or other unbounded command, and no os, io, math.random")
def commands():
    problems = []
    for path in all_files():
        text = code(read(path))
        allowed = {"emit.lua": {"PUBLISH"}, "limiter.lua": {"LRANGE"}}  # as many as the group has requests
        allowed = allowed.get(os.path.basename(path), set())
        for command in re.findall(r"call\(\s*'([A-Za-z]+)'", text):
            if command.upper() in FORBIDDEN and command not in allowed:
                problems.append(f"{path}: {command}")
        for word in (r"\bos\.", r"\bio\.", r"math\.random", r"\bloadstring\b", r"\brequire\b", r"\bprint\("):
            if re.search(word, text):
                problems.append(f"{path}: {word}")
    check(not problems, "\n".join(problems))


@case("every command is written out and in capitals, so that it can be found")
def spelled():
    for path in all_files():
        for command in re.findall(r"\bcall\(\s*'([A-Za-z]+)'", code(read(path))):
            equal(command, command.upper(), path)


@case("every key that a script spells is a row of keys.def")
def keys():
    with open(os.path.join(procs.top_srcdir(), "common/keys.def"), encoding="utf-8") as f:
        patterns = re.findall(r'KEY\(\w+,\s*"([^"]*)"', f.read())
    starts = {p.split("%")[0] for p in patterns} | {"events:"}  # channels of pub/sub
    problems = []
    for path in all_files():
        for literal in re.findall(r"\bP \.\. '([^']*)'", code(read(path))):
            if literal not in patterns and literal not in starts:
                problems.append(f"{os.path.basename(path)}: P .. '{literal}'")
    check(not problems, "keys that keys.def does not have:\n" + "\n".join(problems))


@case("every script is loaded by Redis, as a function, too, and expands to less than 64 KiB, or 72 KiB when each call does not run all of it")
def load():
    with PrivateRedis() as redis, redis.client() as r:
        for name in scripts.names():
            text = scripts.text(name)
            check(len(text) < (73728 if scripts.is_function(name) else 65536), f"{name}: {len(text)} bytes")
            r.call("SCRIPT", "LOAD", text)
            if scripts.is_function(name):
                equal(r.text("FUNCTION", "LOAD", scripts.library(name)), scripts.function(name))


@case("every script is in lua/Makefile.inc and has a caller in C")
def used():
    listed = read(folder("Makefile.inc"))
    sources = ""
    top = os.path.realpath(procs.top_srcdir())
    for base, _, files in os.walk(top):
        if re.match(r"(build|\.git)", os.path.relpath(base, top)):
            continue
        sources += "".join(read(os.path.join(base, f)) for f in files if f.endswith((".c", ".h", ".def")))
    for name in scripts.names():
        check(f"lua/{name}.lua" in listed, f"{name} is not in Makefile.inc")
        check(f"SCRIPT_{name.upper()}" in sources, f"no C file calls {name}")


@case("the files that a header names as callers, in brackets, are those that call the script, but for the workers' handlers")
def callers():
    top = os.path.realpath(procs.top_srcdir())
    problems = []
    sources = {}
    for part in ("archive", "client", "common", "supervisor", "worker"):
        for base, _, files in os.walk(os.path.join(top, part)):
            for file in files:
                path = os.path.relpath(os.path.join(base, file), top)
                if path.endswith(".c") and not path.startswith("worker/handlers/") and path != "worker/commit.c":
                    sources[path] = set(re.findall(r"\bSCRIPT_([A-Z0-9_]+)\b", read(os.path.join(top, path))))
    for name in scripts.names():
        told = header(read(folder(f"{name}.lua"))).partition("Caller:")[2]
        named = {word for words in re.findall(r"\(([^()]*\.c)\)", told) for word in words.split(", ")}
        calling = {path for path, used in sources.items() if name.upper() in used}
        for path in calling:
            if not any(("/" + path).endswith("/" + word) for word in named):
                problems.append(f"{name}: {path} calls it, which the header does not say")
        for word in named:
            if not any(("/" + path).endswith("/" + word) for path in calling):
                problems.append(f"{name}: the header names {word}, which does not call it")
    check(len(sources) > 100, f"{len(sources)} sources")
    check(not problems, "\n".join(problems))


@case("users cannot publish events of the kinds that our scripts write")
def kinds():
    handler = read(os.path.join(procs.top_srcdir(), "worker/handlers/system/system_event_publish.c"))
    own = set(re.findall(r'"(\w+)"', re.search(r"own_kinds\[\] = \{(.*?)\};", handler, re.S)[1]))
    written = {kind for path in all_files() for kind in re.findall(r"'([a-z_]+)\.[a-z_]+'", code(read(path)))}
    check({"task", "instance", "leader", "batch"} <= written, f"{written}")
    equal(sorted(written - own), [], "kinds that system_event_publish.c does not know as ours")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""documents.py: what the documents say is so: commands, exit codes, log events, methods, keys, files."""

import os
import re

from cbtest import *

SRC = procs.top_srcdir()


def read(*path):
    with open(os.path.join(SRC, *path), encoding="utf-8") as f:
        return f.read()


def need(*path):
    """The text of a document, which is a part of the delivery."""
    check(os.path.exists(os.path.join(SRC, *path)), f"{'/'.join(path)} is missing")
    return read(*path)


def rows_of(path):
    """A table file without its comments."""
    return re.sub(r"/\*.*?\*/", "", read(path), flags=re.S)


def exit_codes():
    return {int(code): name for name, code in re.findall(r"EXITCODE_(\w+) = (\d+)", read("common/exitcode.h"))}


def mdoc_text(text):
    """Manual source without macros' names: good enough for looking up words."""
    return re.sub(r"\\[&%]|\\-", lambda m: "-" if m.group() == r"\-" else "", text)


def man_pages():
    folder = os.path.join(SRC, "man")
    return sorted(f for f in os.listdir(folder) if re.search(r"\.[1578]$", f))


@case("every `claudebench` and `claudebenchd` command in README.md exists")
def readme_commands():
    text = need("README.md")
    known = {}
    problems = []
    blocks = re.findall(r"```(?:sh|console|shell)?\n(.*?)```", text, re.S)
    seen = set()
    for block in blocks:
        for line in block.splitlines():
            line = re.sub(r"^\s*\$ ", "", line.strip())
            line = re.split(r"\s#|[|;&>]", line)[0].strip()
            words = line.split()
            while words and re.match(r"^[A-Z_]+=", words[0]):
                words.pop(0)
            if not words:
                continue
            name = os.path.basename(words[0])
            if name not in ("claudebench", "claudebenchd"):
                if words[0] == "./quickstart":
                    check(os.access(os.path.join(SRC, "quickstart"), os.X_OK), "quickstart is executable")
                continue
            verb = [w for w in words[1:] if not w.startswith("-")][:1] if name == "claudebench" else []
            seen.add((name, *verb))
    for name, *verb in sorted(seen):
        if tuple(verb) not in known:
            done = procs.run([procs.binary(name), *verb, "--help"])
            if done.returncode != 0 or not done.stdout:
                problems.append(f"{name} {' '.join(verb)} --help: exit {done.returncode} {done.stderr.decode()[:200]}")
    check(seen, "README.md shows no command in a code block")
    check(not problems, "\n".join(problems))


@case("files that README, ARCHITECTURE and HACKING name exist")
def named_files():
    problems = []
    for document in ("README.md", "ARCHITECTURE.md", "HACKING.md"):
        for path in re.findall(r"`([a-z]+/[A-Za-z0-9_./-]+\.[a-z0-9]+)`", need(document)):
            if not os.path.exists(os.path.join(SRC, path)) and "*" not in path:
                problems.append(f"{document}: {path}")
    check(not problems, "\n".join(problems))


@case("exit codes in the manual are those of exitcode.h")
def man_exit_codes():
    codes = exit_codes()
    check(len(codes) >= 10, f"{codes}")
    for page in ("claudebench.1", "claudebenchd.8"):
        text = need("man", page)
        part = re.search(r"\.Sh EXIT STATUS\n(.*?)(?=\n\.Sh |\Z)", text, re.S)
        check(part, f"{page} has no EXIT STATUS")
        told = {int(n) for n in re.findall(r"\.It (?:Sy |Li |Cm |Er )?(\d+)", part.group(1))}
        check(told, f"{page} lists no exit code")
        check(told <= set(codes), f"{page} lists {sorted(told - set(codes))}, exitcode.h does not")
    text = read("man", "claudebench.1")
    part = re.search(r"\.Sh EXIT STATUS\n(.*?)(?=\n\.Sh |\Z)", text, re.S).group(1)
    told = {int(n) for n in re.findall(r"\.It (?:Sy |Li |Cm |Er )?(\d+)", part)}
    wanted = {0, 64, 65, 66, 69, 70, 73, 75}
    check(wanted <= told, f"claudebench(1) does not list {sorted(wanted - told)}")


@case("the exit codes of claudebench are those of its manual")
def exit_codes_in_use():
    with Daemon() as d:
        equal(d.client("call", "system.health").returncode, 0)
        equal(d.client("call", "no.such").returncode, 64, "method not found")
        equal(d.client("call", "task.create", "{").returncode, 65, "parse error")
        equal(d.client("call", "task.create", "[]").returncode, 65, "invalid request")
        equal(d.client("call", "task.create", "{}").returncode, 65, "invalid params")
        equal(d.client("call", "task.get", '{"id":"t-1"}').returncode, 66, "not found")
        done = d.client("call", "task.create", '{"text":"x"}')
        equal(done.returncode, 0)
        task = re.search(rb"t-\d+", done.stdout).group().decode()
        equal(d.client("call", "task.complete", f'{{"id":"{task}","lease_token":"x"}}').returncode, 73, "conflict")
        equal(d.client("nosuchverb").returncode, 64, "usage")
        equal(d.client("--help").returncode, 0)
        equal(d.client("status").returncode, 0)
    equal(d.client("status").returncode, 69, "no daemon")
    equal(d.client("call", "system.health").returncode, 69, "no Redis")


@case("every log event in the code is in log_events.def, and every row is used")
def log_events():
    rows = re.findall(r"LOG_EVENT\((\w+),\s*(\w+),\s*\"([^\"]*)\"\)", rows_of("common/log_events.def"))
    names = {n for n, _, _ in rows}
    equal(len(names), len(rows), "names")
    for name, level, text in rows:
        check(level in ("ERROR", "WARN", "INFO", "DEBUG"), f"{name}: level {level}")
        check(text.endswith("."), f"{name}: no sentence")
    used = set()
    for folder in ("common", "supervisor", "worker", "archive", "client"):
        for base, _, files in os.walk(os.path.join(SRC, folder)):
            for f in files:
                if f.endswith((".c", ".h")):
                    used |= set(re.findall(r"\bEV_(\w+)", read(base, f)))
    missing = used - names - {"COUNT", "READ", "WRITE", "TIMEOUT", "SIGNAL", "PERSIST", "ET", "CLOSED", "FINALIZE"}
    check(not missing, f"not in log_events.def: {sorted(missing)}")
    unused = names - used
    check(not unused, f"rows that no code logs: {sorted(unused)}")


@case("log events of a daemon's life are rows of log_events.def, one line each, with key=value")
def log_lines():
    rows = {n for n, _, _ in re.findall(r"LOG_EVENT\((\w+),\s*(\w+),\s*\"([^\"]*)\"\)", rows_of("common/log_events.def"))}
    with Daemon(config={"log": {"level": "debug"}}) as d:
        c = d.caller()
        c.call("task.create", {"text": "evil\r\nevent=forged x=1 \x1b[31m"})
        procs.kill(d.workers("task")[0])
        wait_until(lambda: d.events("child_died") and len(d.workers("task")) == 2, 5, "replaced")
    seen = {e["event"] for e in d.events()}
    check(len(seen) >= 5, f"{seen}")
    check(seen <= rows, f"events that the table does not have: {sorted(seen - rows)}")
    for line in d.log().splitlines():
        check("event=" in line, f"a line without event=: {line!r}")


@case("every log event is in the manual")
def man_log_events():
    text = "".join(read("man", p) for p in man_pages())
    rows = re.findall(r"LOG_EVENT\((\w+),", rows_of("common/log_events.def"))
    missing = [n for n in rows if n not in text]
    check(not missing, f"not in any manual page: {missing}")


@case("every method of methods.def is declared by system.discover and in the manual")
def methods():
    rows = re.findall(r'METHOD\((\w+),\s*"([^"]+)"', read("common/methods.def"))
    for name, method in rows:
        equal(name, method.replace(".", "_"))
        domain = method.split(".")[0]
        check(os.path.exists(os.path.join(SRC, "worker/handlers", domain, f"{name}.c")), f"{method} has no handler file")
    with Daemon() as d:
        c = d.caller()
        equal(set(c.schemas), {m for _, m in rows})
    text = need("man", "claudebench-methods.7")
    missing = [m for _, m in rows if m not in text]
    check(not missing, f"not in claudebench-methods(7): {missing}")


@case("every key of keys.def is in claudebench-keys(7)")
def man_keys():
    text = need("man", "claudebench-keys.7")
    for pattern in re.findall(r'KEY\(\w+,\s*"([^"]*)"', read("common/keys.def")):
        plain = pattern.split("%")[0].rstrip(":")
        check(plain in text, f"{pattern} is not in claudebench-keys(7)")


@case("manual pages name each other rightly, and each program has one")
def man_references():
    pages = set(man_pages())
    for page in pages:
        for name, section in re.findall(r"\.Xr (claudebench\S*) (\d)", read("man", page)):
            check(f"{name}.{section}" in pages, f"{page} refers to {name}({section})")


if __name__ == "__main__":
    main()

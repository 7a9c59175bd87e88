#!/usr/bin/env python3
"""client_manual.py: claudebench(1) and claudebench-work(1) say what --help says, no more and no less."""

import os
import re

from cbtest import *

SRC = procs.top_srcdir()


def page(name):
    with open(os.path.join(SRC, "man", name), encoding="utf-8") as f:
        return f.read()


def helped(verb):
    """{long name: letter or ''} from --help."""
    done = procs.run([procs.binary("claudebench"), *verb.split(), "--help"])
    equal(done.returncode, 0, done.stderr.decode())
    found = re.findall(r"^  (?:-(\w), |    )--([a-z-]+)(?:=| |$)", done.stdout.decode(), re.M)
    return {name: letter for letter, name in found}


def verbs():
    top = procs.run([procs.binary("claudebench"), "--help"]).stdout.decode()
    return re.findall(r"^  ((?:ctl |task |schedule |hook |archive )?[a-z-]+)(?: |$)", top.split("Commands:")[1].split("Options:")[0], re.M)


def items(text):
    """{long name: letter or ''} of the .It Fl lines."""
    found = {}
    for line in re.findall(r"^\.It Fl (.*)$", text, re.M):
        words = [w for w in line.split() if w != ","]
        letter = words[0] if len(words[0]) == 1 else ""
        name = [w for w in words if w.startswith("-")][0].lstrip("-")
        found[name] = letter
    return found


def described(verb):
    """The part of claudebench(1) about a verb."""
    commands = page("claudebench.1").split("\n.Sh COMMANDS\n")[1].split("\n.Sh ENVIRONMENT")[0]
    parts = re.split(r"^\.It Cm ", commands.split("\nEvery command also takes:")[0], flags=re.M)
    found = [p for p in parts if re.match(re.escape(verb) + r"( Ar| Op| Oo|$)", p, re.M)]
    equal(len(found), 1, f"claudebench(1) has one item for `{verb}`")
    return found[0]


COMMON = {"config": "c", "help": "h"}


@case("every verb is in claudebench(1), with exactly the options of its --help")
def options():
    for verb in verbs():
        if verb != "work":
            equal({**items(described(verb)), **COMMON}, helped(verb), f"options of `claudebench {verb}`")
    commands = re.findall(r"^\.It Cm ([a-z -]+?)(?: (?:Ar|Op|Oo).*)?$", page("claudebench.1"), re.M)
    equal(sorted(c for c in commands if c in verbs() or " " in c or c == "call"), sorted(verbs()), "no verb too many")


@case("the summaries of --help stand in one column")
def help_columns():
    for words in ([], ["task"], ["schedule"]):
        done = procs.run([procs.binary("claudebench"), *words, "--help"])
        part = done.stdout.decode().split("Commands:\n")[1].split("\n\n")[0]
        rows = [re.match(r"  \S.*?  +(?=\S)", line) for line in part.splitlines() if re.match(r"  \S.*\S  +\S", line)]
        equal({row.end() for row in rows}, {26}, part)


@case("no line of any --help is wider than 80 columns")
def help_width():
    groups = ["", *sorted({v.split()[0] for v in verbs() if " " in v})]
    for program, words in [*(("claudebench", v) for v in groups + verbs()), ("claudebenchd", "")]:
        done = procs.run([procs.binary(program), *words.split(), "--help"])
        equal(done.returncode, 0, done.stderr.decode())
        text = done.stdout.decode()
        equal([line for line in text.splitlines() if len(line) > 80 or line != line.rstrip()], [], f"{program} {words}")
        check(text.endswith("\n"), text)


@case("claudebench-work(1) has exactly the options of its --help")
def work_options():
    text = page("claudebench-work.1").split("\n.Sh OPTIONS\n")[1].split("\n.Sh ENVIRONMENT")[0]
    equal(items(text), helped("work"))


@case("the synopsis of both pages names each option")
def synopsis():
    text = page("claudebench.1").split("\n.Sh SYNOPSIS\n")[1].split("\n.Sh DESCRIPTION")[0]
    for part in text.split("\n.Nm\n"):
        found = re.search(r"^\.Cm ([a-z -]+)$", part, re.M)
        if found and found.group(1) != "work":
            flags = set(re.findall(r"\.Op Fl -?([a-z-]+)", part)) - {"c"}
            wanted = {letter or name for name, letter in helped(found.group(1)).items() if name not in COMMON}
            equal(flags, wanted, found.group(1))
    text = page("claudebench-work.1").split("\n.Sh SYNOPSIS\n")[1].split("\n.Sh DESCRIPTION")[0]
    flags = set(re.findall(r"\.Op Fl -?([a-z-]+)", text))
    equal(flags, {letter or name for name, letter in helped("work").items() if name != "help"})


@case("the synopsis of claudebench-hook(1) names each option of its commands")
def hook_synopsis():
    text = page("claudebench-hook.1").split("\n.Sh SYNOPSIS\n")[1].split("\n.Sh DESCRIPTION")[0]
    seen = set()
    for part in text.split(".Nm claudebench Cm hook")[1:]:
        flags = set("".join(re.findall(r"\.Op Fl ([a-z |]+?)(?: Ar.*)?$", part, re.M))) - set(" |c")
        for verb in part.split("\n")[0].split(" | "):
            name = f"hook {verb.strip()}".strip()
            equal(flags, {letter for long, letter in helped(name).items() if long not in COMMON}, name)
            seen.add(name)
    equal(seen, {"hook", *(v for v in verbs() if v.startswith("hook "))})


@case("defaults and limits that the manual names are those of --help")
def numbers():
    done = " ".join(procs.run([procs.binary("claudebench"), "work", "--help"]).stdout.decode().split())
    check("default 10s" in done and "default 5s" in done and "at most 64" in done, done)
    text = page("claudebench-work.1")
    check("by default 10s" in text and "by default 5s" in text and "1 to 64" in text, "claudebench-work(1)")


main()

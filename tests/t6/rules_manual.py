#!/usr/bin/env python3
"""rules_manual.py: claudebench-rules(5) has every key that the loader knows, every shipped file, and the limits of the code."""

import os
import re

from cbtest import *

SRC = procs.top_srcdir()


def read(*path):
    with open(os.path.join(SRC, *path), encoding="utf-8") as f:
        return f.read()


def manual():
    return read("man", "claudebench-rules.5")


def keys_of(path, function):
    """The words of `keys[] = {…}` in a function of the loader."""
    text = read("common", "rules", path)
    part = re.search(rf"\b{function}\(.*?\bkeys\[\] = \{{(.*?)NULL\}}", text, re.S)
    check(part, f"{path} has no {function}() with keys")
    return set(re.findall(r'"(\w+)"', part.group(1)))


def told():
    """Everything that the manual marks as a key or word of its own."""
    words = set()
    for line in re.findall(r"^\.(?:It )?Cm (.*)$", manual(), re.M):
        words |= set(re.findall(r"[a-z_]+", line))
    for line in re.findall(r"^\.It .*$", manual(), re.M):
        words |= set(re.findall(r"\b[a-z_]+\b", line))
    return words


@case("every key of rule files is in the manual")
def keys():
    known = (
        keys_of("load.c", "load_file")
        | keys_of("load.c", "load_group")
        | keys_of("load.c", "load_rule")
        | keys_of("load_match.c", "load_node")
        | keys_of("load_more.c", "load_replacement")
        | keys_of("load_more.c", "load_examples")
        | keys_of("load_more.c", "load_example_map")
    )
    check(len(known) > 35, f"{sorted(known)}")
    missing = known - told()
    check(not missing, f"not in claudebench-rules(5): {sorted(missing)}")


@case("every key of a match has an entry of its own")
def match_keys():
    entries = set()
    for line in re.findall(r"^\.It Cm (.*)$", manual(), re.M):
        entries |= set(line.replace(",", " ").split())
    missing = keys_of("load_match.c", "load_node") - entries
    check(not missing, f"no .It Cm for {sorted(missing)}")


@case("every action, severity and event is in the manual")
def words():
    text = read("common", "rules", "explain.c")
    for name in ("ACTIONS", "SEVERITIES", "EVENTS"):
        part = re.search(rf"{name}\[\] = (.*?);", text, re.S).group(1)
        wanted = set(re.findall(r'"(\w+)"', part)) - {"none"}
        check(len(wanted) >= 3, f"{name}: {wanted}")
        check(wanted <= told(), f"{name}: not in the manual: {sorted(wanted - told())}")


@case("shipped rule files are those of the manual, of etc/Makefile.inc and of the folder")
def files():
    there = {f for f in os.listdir(os.path.join(SRC, "etc", "rules.d")) if f.endswith(".yaml")}
    check(len(there) >= 8, f"{there}")
    equal(set(re.findall(r"rules\.d/(\S+\.yaml)", manual())), there, "the manual")
    equal(set(re.findall(r"rules\.d/([\w-]+\.yaml)", read("etc", "Makefile.inc"))), there, "etc/Makefile.inc")


@case("the limits in the manual are those of the code")
def limits():
    def constant(name, *path):
        value = re.search(rf"\b{name} = ([^,]+),", read(*path)).group(1)
        return eval(value, {})  # pylint: disable=eval-used

    text = manual()
    check(f"at most {constant('MATCH_LIMIT', 'common', 'rules', 'regex.c')} steps" in text, "steps of a pattern")
    check(f"has {constant('RULES_TIME_MS', 'common', 'rules', 'rules.h')} ms" in text, "time of a decision")
    equal(constant("RULES_SUBJECT_MAX", "common", "rules", "rules.h"), 1 << 20, "bytes of a text")
    equal(constant("SHELL_BYTES_MAX", "common", "shell", "words.h"), 1 << 20, "bytes of a command line")
    equal(constant("RULES_FILE_MAX", "common", "rules", "rules.h"), 1 << 20, "bytes of a file")
    check(f"{constant('SHELL_COMMANDS_MAX', 'common', 'shell', 'words.h')} commands" in text, "commands of a line")
    check(f"{constant('SHELL_DEPTH_MAX', 'common', 'shell', 'words.h')} levels" in text, "levels of nesting")
    check(f"{constant('RULES_MAX', 'common', 'rules', 'rules.h')} rules" in text, "rules")
    check(f"at most {constant('RULES_REWRITES_MAX', 'common', 'rules', 'rules_int.h')} times" in text, "rewrites")


@case("the members that are read as commands are those of the code")
def members():
    text = re.search(r"COMMAND_NAMES\[\] = \{(.*?)\}", read("common", "rules", "input.c"), re.S).group(1)
    wanted = set(re.findall(r'"(\w+)"', text))
    part = manual().split("What is read as commands")[1].split("A list is taken")[0]
    equal(set(re.findall(r"^\.Ql (\w+)", part, re.M)), wanted)


if __name__ == "__main__":
    main()

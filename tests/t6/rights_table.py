#!/usr/bin/env python3
"""rights_table.py: the table of the Redis commands that we send (common/rights.def) against the sources and against Redis."""

import os
import re

import users
from cbtest import *

ROW = re.compile(r'^RIGHT\(([A-Z |]+), "([a-z|]+)"\)', re.M)
# Words in our C that are names of Redis commands and of other things, where a command could stand.
SENT = re.compile(r'(?:_callv?\(|_append(?:v|)\(|entry_put\(|call_push\(|\*(?:\w+)\[\w* ?\+? ?\w*\] = \{|\[\] = \{|redis_conn_call\(|STEP_\w+, \d, )'
                  r'[^;"]*"([A-Z]+)"(?:, "([A-Z]+)")?', re.S)
FREE = {"auth", "hello", "quit", "reset"}  # need no right
# What these send goes to a server of their own, or to one that the user has named a user with more rights for.
OWN_SERVER = {"restore_server.c", "restore_copy.c"}


def table():
    with open(os.path.join(procs.top_srcdir(), "common/rights.def"), encoding="utf-8") as f:
        found = ROW.findall(f.read())
    check(len(found) > 50, f"{len(found)} rows")
    commands = [command for _, command in found]
    equal(sorted({c for c in commands if commands.count(c) > 1}), [], "commands with more than one row")
    return {command: set(who.split(" | ")) for who, command in found}


def sources(suffix, *folders):
    for top in folders:
        for where, _, names in os.walk(os.path.join(procs.top_srcdir(), top)):
            for name in names:
                if name.endswith(suffix):
                    with open(os.path.join(where, name), encoding="utf-8") as f:
                        yield os.path.join(where, name), f.read()


def known_commands():
    """{command: has it subcommands} of Redis itself."""
    with PrivateRedis() as redis, redis.client() as link:
        names = [c.decode() for c in link.call("COMMAND", "LIST")]
    return {n for n in names if "|" not in n}, {n for n in names if "|" in n}


def spelled(words, plain, nested):
    """A command and the word behind it, as the table spells it; None when it is none."""
    first, second = words[0].lower(), (words[1] or "").lower()
    if f"{first}|{second}" in nested:
        return f"{first}|{second}"
    return first if first in plain and not any(n.startswith(f"{first}|") for n in nested) else None


def in_scripts(plain, nested):
    found = {}
    for path, text in sources(".lua", "lua"):
        for words in re.findall(r"'([A-Z]+)'(?:, '([A-Z]+)')?", text):
            command = spelled(words, plain, nested)
            if command:
                found[command] = path
    return found


def in_c(plain, nested):
    found = {}
    for path, text in sources(".c", "common", "supervisor", "worker", "client", "archive"):
        for words in SENT.findall(text if os.path.basename(path) not in OWN_SERVER else ""):
            command = spelled(words, plain, nested)
            if command and command not in FREE:
                found[command] = path
    return found


@case("every command that a script or a program sends has a row, and every row is sent by one")
def complete():
    plain, nested = known_commands()
    rights = table()
    sent = {**in_c(plain, nested), **in_scripts(plain, nested)}
    check(len(sent) > 50, f"{len(sent)} commands found in the sources")
    missing = {c: p for c, p in sent.items() if c not in rights}
    equal(missing, {}, "sent, and without a row in rights.def")
    equal(sorted(set(rights) - set(sent)), [], "rows that nothing sends")
    for command in in_scripts(plain, nested):
        check(rights[command] & {"DAEMON"}, f"{command} is in a script, and the daemon may not")


@case("no row lets a user look at all keys, empty or administer the server")
def harmless():
    with PrivateRedis() as redis, redis.client() as link:
        dangerous = {c.decode() for c in link.call("ACL", "CAT", "dangerous")} | {c.decode() for c in link.call("ACL", "CAT", "admin")}
    bad = {c for c in table() if c in dangerous}
    # Whose harm is bounded: what they are for is in the table.
    equal(bad - {"info", "role", "config|get", "client|list", "client|kill", "client|unblock"}, set())
    for command in ("keys", "scan", "flushall", "flushdb", "eval", "script|flush", "randomkey", "migrate", "dump", "restore"):
        check(command not in table(), command)


@case("the ACL file is refused as it is, and with passwords put in Redis and a daemon live on it")
def file_works():
    """The only server here that reads an ACL file; CB_TEST_REDIS=acl has the same lines in its configuration."""
    folder = procs.subfolder("a")
    with open(os.path.join(procs.top_srcdir(), "etc/redis-claudebench.acl"), encoding="ascii") as f:
        placeholders = f.read()
    with PrivateRedis() as redis, redis.client() as link:
        for line in placeholders.splitlines():
            try:
                link.call("ACL", "SETUSER", *line.split()[1:])
                fail("a placeholder is taken for a password")
            except RespError as problem:
                check("hash" in problem.text, problem.text)
    path = f"{folder}/users.acl"
    lines = users.acl_lines(procs.top_srcdir(), "team-a")
    with open(path, "w", encoding="ascii") as f:
        f.write("\n".join([*lines, "user default off resetpass ~* &* +@all",
                           f"user {users.ADMIN[0]} on >{users.ADMIN[1]} ~* &* +@all"]) + "\n")
    with PrivateRedis(acl_file=path) as redis:
        config = {"redis": users.login(procs.folder(), "team-a")}
        with Daemon(redis=redis, prefix="team-a", config=config) as d:
            done = d.client("task", "add", "x")
            equal(done.returncode, 0, done.stderr.decode())
            equal(d.client("status").returncode, 0)
            with d.connect() as link:
                equal(users.refusals(link), [])
                logged_in = {f["user"] for f in client_list(link)}
            check({users.name("daemon", "team-a")} <= logged_in and "default" not in logged_in, f"{logged_in}")


def client_list(link):
    return [dict(word.split("=", 1) for word in line.split()) for line in link.text("CLIENT", "LIST").splitlines()]


if __name__ == "__main__":
    main()

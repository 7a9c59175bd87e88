#!/usr/bin/env python3
"""client_completion.py: what the shells' completions offer: every command and option of --help, values, live ids; never longer than a
moment, and nothing that others wrote is ever run."""

import json
import os
import re
import shutil
import signal
import time

from cbtest import *

HOSTILE = "we$(touch pwned) `x` i'rd;\"y"
daemon = None
c = None


def start():
    global daemon, c
    daemon = Daemon(config={"domains": {"task": {"workers": 1}}})
    at_exit(daemon.stop)
    c = daemon.caller()
    c.insist("system.register", {"id": HOSTILE})


def completions(*words):
    """(exit code, {candidate: description})"""
    done = procs.run([procs.binary("claudebench"), "@complete", *words], env={"CLAUDEBENCH_CONFIG": daemon.config_path})
    equal(done.stderr, b"")
    rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    return done.returncode, {row[0]: row[1] if len(row) > 1 else "" for row in rows}


def helped(*words):
    return procs.run([procs.binary("claudebench"), *words, "--help"]).stdout.decode()


def verbs():
    return re.findall(r"^  ((?:ctl |task |schedule |hook )?[a-z-]+)(?: |$)", helped().split("Commands:")[1].split("Options:")[0], re.M)


@case("every command, and every option of each, as in --help; the word that is being typed may be begun")
def commands():
    _, found = completions("")
    equal(set(found), {v.split()[0] for v in verbs()})
    for group in ("ctl", "task", "schedule", "hook"):
        equal(set(completions(group, "")[1]), {v.split()[1] for v in verbs() if v.startswith(group + " ")}, group)
    equal(set(completions("task", "re")[1]), {"retry", "reassign", "renew", "release", "resume"})
    for verb in verbs():
        wanted = re.findall(r"^  (?:-\w, |    )(--[a-z-]+)(=?)", helped(*verb.split()), re.M)
        code, found = completions(*verb.split(), "--")
        equal((code, set(found)), (0, {name + equals for name, equals in wanted}), verb)
    equal(completions("stauts", "")[1], {})


@case("values: of options in both forms, of operands; files and commands are left to the shell")
def values():
    states = {"blocked", "delayed", "pending", "in_progress", "completed", "failed", "cancelled"}
    equal(set(completions("task", "list", "--status", "")[1]), states)
    equal(set(completions("task", "list", "-s", "")[1]), states)
    equal(set(completions("task", "list", "--status=p")[1]), {"--status=pending"})
    equal(set(completions("task", "add", "--on-dependency-failure", "")[1]), {"fail", "ignore", "block"})
    equal(set(completions("ctl", "scale", "")[1]), {"task", "system", "hook", "archive", "test"})
    equal(completions("ctl", "scale", "task", "")[1], {})
    equal(set(completions("ctl", "log-level", "all", "d")[1]), {"debug", "default"})
    check("task.create" in completions("call", "task.c")[1], "methods")
    check("redis.prefix" in completions("config", "redis.")[1] and "task.lease_ms" in completions("config", "redis.prefix", "task.")[1], "options")
    for words, code in ((("task", "import", ""), 3), (("-c", ""), 3), (("status", "-c", ""), 3), (("hook", "test-rules", "x", ""), 3),
                        (("work", "--", ""), 4), (("work", "--jobs", "2", "--", "ls", ""), 3)):
        equal(completions(*words)[0], code, words)
    equal(completions("task", "show", "--", "-"), (0, {}), "no options behind --")


@case("live: tasks with what they are, queues, instances, schedules; names with controls are left out")
def live():
    task = c.insist("task.create", {"text": "say \x1b[31mred\n", "queue": "build"}).result["id"]
    c.insist("schedule.add", {"id": "nightly", "cron": "0 3 * * *", "template": {"text": "x"}})
    equal(completions("task", "show", "t-")[1][task], "pending say \\x1b[31mred\\n")
    equal(completions("wait", task, "")[1].keys() >= {task}, True)
    equal(set(completions("task", "list", "-q", "")[1]), {"build"})
    equal(set(completions("task", "assign", task, "")[1]), {"test-host", HOSTILE})
    equal(set(completions("task", "reassign", "--to=test")[1]), {"--to=test-host"})
    equal(set(completions("schedule", "show", "")[1]), {"nightly"})
    # The daemon of another configuration.
    equal(completions("-c", "/dev/null", "task", "show", "")[1], {})


@case("a Redis that does not answer, or none, costs a moment, and no word on the terminal")
def bounded():
    redis = daemon.redis_pid()
    procs.kill(redis, signal.SIGSTOP)
    try:
        times = []
        for _ in range(5):
            began = time.monotonic()
            equal(completions("task", "show", ""), (0, {}))
            times.append(time.monotonic() - began)
        note(f"with a stopped Redis: {min(times) * 1000:.0f} ms")
        check(min(times) < 1, times)
    finally:
        procs.kill(redis, signal.SIGCONT)
    done = procs.run([procs.binary("claudebench"), "@complete", "task", "show", ""], env={"CLAUDEBENCH_CONFIG": "/nowhere"})
    equal((done.returncode, done.stdout, done.stderr), (0, b"", b""))


def in_bash(line):
    """What bash would put on the line for its last word (as readline cuts it)."""
    if not shutil.which("bash"):
        raise Skip("no bash")
    words = [w for part in line.split(" ") for w in re.findall(r"[=:]|[^=:]+", part) or [""]]
    if line.endswith("="):
        words.append("")
    script = "source {}; COMP_WORDS=({}); COMP_CWORD={}; _claudebench; printf '%s\\n' \"${{COMPREPLY[@]}}\"".format(
        os.path.join(procs.top_srcdir(), "completions/claudebench.bash"), " ".join(f"'{w}'" for w in words), len(words) - 1)
    done = procs.run(["bash", "--norc", "-c", script], env={
        "CLAUDEBENCH_CONFIG": daemon.config_path, "PATH": f"{os.path.abspath(procs.top_builddir())}:{os.environ['PATH']}"})
    equal((done.returncode, done.stderr), (0, b""))
    return done.stdout.decode().splitlines()


@case("bash: commands, values behind = without what stands before it, files; an id that would be a command is quoted, never run")
def bash():
    equal(in_bash("claudebench stat"), ["status"])
    equal(in_bash("claudebench task list --sta"), ["--status="])
    equal(in_bash("claudebench task list --status=pen"), ["pending"])
    equal(sorted(in_bash("claudebench task add --on-dependency-failure=")), ["block", "fail", "ignore"])
    check("/etc/hostname" in in_bash("claudebench task import /etc/hostn"), "files")
    check("ls" in in_bash("claudebench work -- ls"), "commands")
    (quoted,) = in_bash("claudebench task assign t-1 we")
    back = procs.run(["bash", "-c", f"printf %s {quoted}"])
    equal(back.stdout.decode(), HOSTILE)
    check(not os.path.exists(f"{procs.folder()}/pwned"), "run")


def shell_env():
    return {"CLAUDEBENCH_CONFIG": daemon.config_path, "HOME": procs.subfolder("home"), "TERM": "dumb", "LC_ALL": "C.UTF-8",
            "PATH": f"{os.path.abspath(procs.top_builddir())}:{os.environ['PATH']}"}


def have(shell, name):
    """Its syntax is looked at here; they are no dependencies, so that a machine without them says so and goes on."""
    if not shutil.which(shell):
        note(f"no {shell}")
        return False
    done = procs.run([shell, "-n", os.path.join(procs.top_srcdir(), "completions", name)])
    equal((done.returncode, done.stderr), (0, b""), shell)
    return True


def in_fish(line):
    """[(word, what is said about it)]"""
    script = f"source {os.path.join(procs.top_srcdir(), 'completions/claudebench.fish')}; complete -C $argv[1]"
    done = procs.run(["fish", "--no-config", "-c", script, line], env=shell_env())
    equal((done.returncode, done.stderr), (0, b""))
    return [tuple((row + "\t").split("\t")[:2]) for row in done.stdout.decode().splitlines()]


@case("fish, when it is there: commands with what they do, options, values, files, commands; a hostile id is one word, never run")
def fish():
    if not have("fish", "claudebench.fish"):
        return
    words = dict(in_fish("claudebench sta"))
    equal(list(words), ["status"])
    check("workers" in words["status"], words)
    check({"add", "list", "show"} <= {w for w, _ in in_fish("claudebench task ")}, "verbs")
    equal([w for w, _ in in_fish("claudebench task list --sta")], ["--status="])
    equal([w for w, _ in in_fish("claudebench task list --status=pen")], ["--status=pending"])
    check("/etc/hostname" in [w for w, _ in in_fish("claudebench task import /etc/hostn")], "files")
    check("ls" in [w for w, _ in in_fish("claudebench work -- ls")], "commands")
    equal([w for w, _ in in_fish("claudebench task assign t-1 we")], [HOSTILE])
    check(not os.path.exists(f"{procs.folder()}/pwned"), "run")


# A zsh on a terminal of its own, which puts after each Tab what is on its line, or what it lists, into a file.
IN_ZSH = r"""
zmodload zsh/zpty || exit
zpty shell zsh -f -i
zpty -w shell "PROMPT= RPS1= ; fpath=(${(q)1} \$fpath); autoload -Uz compinit && compinit -u -C -d ${(q)4}; unsetopt beep; setopt no_list_ambiguous
zstyle ':completion:*' menu false
show() { zle complete-word; print -r -- \"\$BUFFER\" >${(q)2}.new; mv ${(q)2}.new ${(q)2}; BUFFER=; zle accept-line }
zle -N complete-word .complete-word; zle -C complete-word .complete-word _main_complete; zle -N show; bindkey '^X' show; echo rea''dy"
zpty -r shell seen '*ready*' || exit
zpty -w -n shell $3$'\x18'
while [[ ! -e $2 ]] && zpty -t shell; do
    zpty -r -t shell seen || sleep 0.01
done
cat $2
zpty -d shell
"""


def in_zsh(line):
    """The line as Tab leaves it."""
    shown = f"{procs.subfolder('zsh')}/shown"
    done = procs.run(["zsh", "-f", "-c", IN_ZSH, "zsh", os.path.join(procs.top_srcdir(), "completions"), shown, line,
                       f"{procs.folder()}/zcompdump"], env=shell_env(), timeout=60)
    equal(done.stderr, b"")
    return done.stdout.decode().rstrip("\n")


@case("zsh, when it is there: commands, options, values, files, commands; a hostile id is quoted, never run")
def zsh():
    if not have("zsh", "_claudebench"):
        return
    equal(in_zsh("claudebench stat"), "claudebench status ")
    equal(in_zsh("claudebench task list --stat"), "claudebench task list --status=", "no space behind =")
    equal(in_zsh("claudebench task list --status=pen"), "claudebench task list --status=pending ")
    equal(in_zsh("claudebench task import /etc/hostn"), "claudebench task import /etc/hostname ")
    back = procs.run(["zsh", "-f", "-c", in_zsh("claudebench task assign t-1 we").replace("claudebench task assign t-1", "printf %s", 1)])
    equal(back.stdout.decode(), HOSTILE)
    check(not os.path.exists(f"{procs.folder()}/pwned"), "run")


start()
main()

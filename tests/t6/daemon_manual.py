"""daemon_manual.py: claudebenchd(8) against the program: its options, signals, exit codes and log events."""

import os
import re

from cbtest import case, check, equal, main, procs

SRC = procs.top_srcdir()


def read(path):
    with open(os.path.join(SRC, path), encoding="utf-8") as f:
        return f.read()


def section(page, name):
    start = page.index(f".Sh {name}\n")
    end = page.find("\n.Sh ", start + 1)
    return page[start:end]


PAGE = read("man/claudebenchd.8")


@case("the manual and --help have the same options")
def options():
    text = procs.run([procs.binary("claudebenchd"), "--help"]).stdout.decode()
    helped = set(re.findall(r"^  -(\w), --(\w+)", text, re.M))
    documented = set(re.findall(r"^\.It Fl (\w)(?: Ar file)? , Fl \\-(\w+)", PAGE, re.M))
    equal(sorted(documented), sorted(helped))
    check(len(helped) >= 9, f"{helped}")


@case("claudebench-worker(8) has the options and the signals of the worker")
def worker():
    page = read("man/claudebench-worker.8")
    letters = re.search(r'getopt\(argc, argv, "([^"]+)"', read("worker/launch.c")).group(1).replace(":", "")
    alone = re.findall(r'strcmp\(argv\[1\], "-(\w)"\)', read("worker/main.c"))
    equal(sorted(re.findall(r"^\.It Fl (\w)", page, re.M)), sorted([*letters, *alone]))
    told = set(re.findall(r"Dv (SIG[A-Z0-9]+)", section(page, "SIGNALS")))
    used = set(re.findall(r"\bSIG[A-Z]+[0-9]?\b", "".join(read(f"worker/{f}") for f in os.listdir(f"{SRC}/worker") if f.endswith(".c"))))
    equal(sorted(told), sorted(used & {"SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT"}))


@case("every handled signal is documented, and no other")
def signals():
    handled = set(re.findall(r"SIG[A-Z0-9]+", re.search(r"handled\[\] = \{(.*?)\}", read("supervisor/signals.c"), re.S).group(1)))
    documented = set(re.findall(r"Dv (SIG[A-Z0-9]+)", section(PAGE, "SIGNALS")))
    equal(sorted(documented), sorted(handled - {"SIGCHLD"}))


@case("every event in the log is documented, and no other")
def events():
    rows = re.findall(r"^LOG_EVENT\((\w+), (\w+), \"([^\"]*)\"\)", read("common/log_events.def"), re.M)
    declared = sorted((name, level.lower(), text) for name, level, text in rows)
    documented = re.findall(r"^\.It Li (\w+) Pq (\w+)\n(.*)$", section(PAGE, "DIAGNOSTICS"), re.M)
    equal(documented, declared)


@case("exit codes are those of exitcode.h")
def codes():
    known = {int(n) for n in re.findall(r"= (\d+),", read("common/exitcode.h"))}
    documented = {int(n) for n in re.findall(r"^\.It (\d+)$", section(PAGE, "EXIT STATUS"), re.M)}
    check(documented <= known, f"{documented - known}")
    check({0, 1, 64, 69, 70, 75, 78} <= documented, "those that the daemon ends with")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""bench_peers.py: bench/run measures what is there, says who is not and why, makes its report and plot, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys

from cbtest import case, check, equal, main, procs, wait_until

RUN = os.path.abspath(os.path.join(procs.top_srcdir(), "bench/run"))
BUILD = os.path.abspath(procs.top_builddir())
MACHINE = {"date": "2026-11-22 09:00 UTC", "cpu": "a CPU", "cores": 2, "memory_mib": 1024, "kernel": "Linux 6", "load": 0.1, "commit": "abc", "warning": ""}
# Keeps the script that it gets, and draws nothing.
GNUPLOT = "#!/bin/sh\n/bin/cat >\"$FAKE_GNUPLOT\"\necho '<svg/>'\n"


def words(*args):
    return [sys.executable, RUN, "--build", BUILD, "--cache", "/nonexistent", *args]


def path_of(folder, **scripts):
    """A PATH with these scripts only."""
    for name, text in scripts.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(f.name, 0o755)
    return folder


def system(name, title, is_peer, measures, **more):
    return {"name": name, "title": title, "is_peer": is_peer, "on_redis": name != "one", "version": "1", "kept": "Redis", "dies": "handled by another", "skipped": None,
            "stopped": None, "why_not": {}, "measures": measures, **more}


def recorded():
    ours = {"enqueue_sync": [4000, 4200, 3900], "drain_1": [12000, 11000, 13000], "life_cpu": [50, 60, 55], "latency_p50": [0.5, 0.4, 0.6]}
    return {"program": "bench/run", "machine": MACHINE, "aof": "everysec", "rounds": 3, "scale": 1, "depth": 1000000, "systems": [
        system("claudebench", "ClaudeBench", False, ours),
        system("bare", "raw Redis", False, {"enqueue_sync": [5000]}),
        system("one", "Peer one", True, {"enqueue_sync": [2000], "drain_1": [24000], "life_cpu": [110]}, why_not={"latency": "it has no clock"}),
        system("two", "Peer two", True, {"enqueue_sync": [1000]}, stopped="stopped: it hung"),
        system("four", "Peer four", True, {"enqueue_sync": [8000]}, dies="lost"),
        system("three", "Peer three", True, {}, skipped="three is not installed"),
    ]}


def report(folder, path, **env):
    source = os.path.join(folder, "x.json")
    with open(source, "w", encoding="utf-8") as f:
        json.dump(recorded(), f)
    done = procs.run(words("--report", source), env={"PATH": path, **env})
    equal((done.returncode, done.stderr.decode().replace("no plot: gnuplot is not installed (Debian: gnuplot-nox)\n", "")), (0, ""))
    with open(os.path.join(folder, "x.md"), encoding="utf-8") as f:
        return f.read()


@case("from what was recorded: medians and spread, who leads and who is behind, and a footnote for each dash")
def markdown():
    folder = procs.subfolder("r")
    text = report(folder, path_of(procs.subfolder("p")))
    for line in ("| ClaudeBench | 4 000 (3 900–4 200) | — [1] | — [1] |", "[1] not asked for  ",
                 "| enqueue, one after the other, /s | 4 000 | 5 000 | 1 000 Peer two | 4.00 × | 8 000 Peer four | **behind: 0.50 ×** | "
                 "2 000 Peer one | 2.00 × |",
                 "| drain, one call a task, best number of consumers, /s | 12 000 | — | — |  | — |  | 24 000 Peer one | **behind: 0.50 ×** |",
                 "| CPU µs a task | 55 | — | — |  | — |  | 110 Peer one | 2.00 × |", "| end to end p50, ms | 0.5 | — | — |  | — |  | — |  |",
                 "| ClaudeBench | 0.5 (0.4–0.6) | — [1] | — [1] |", "| Peer one | — [2] | — [2] | — [2] |", "[2] it has no clock  ",
                 "skipped: three is not installed", "stopped: it hung", "## With 1 000 000 tasks queued", "No plot (gnuplot is not installed (Debian: gnuplot-nox))."):
        check(line in text, f"{line!r} is not in\n{text}")
    check("end to end p99" not in text, "a comparison of what was not measured")


@case("gnuplot is given each panel and each system, and the report shows its plot")
def plot():
    folder = procs.subfolder("r")
    kept = os.path.join(folder, "script")
    text = report(folder, path_of(procs.subfolder("p"), gnuplot=GNUPLOT), FAKE_GNUPLOT=kept)
    check("![bars](x.svg)" in text, text)
    with open(kept, encoding="utf-8") as f:
        script = f.read()
    with open(os.path.join(folder, "x.svg"), encoding="utf-8") as f:
        equal(f.read(), "<svg/>\n", "the plot")
    for line in ('"ClaudeBench" 12000 - - -', '"Peer one" 24000 - - -', "set title 'Enqueue'", "$d0 using 2:xtic(1)"):
        check(line in script, f"{line!r} is not in\n{script}")
    check("Peer three" not in script, "one that was skipped is in the plot")


def measured(output, aof):
    name = [name for name in os.listdir(output) if name.endswith(f"-peers-{aof}.json")]
    equal(len(name), 1, "results")
    with open(os.path.join(output, name[0]), encoding="utf-8") as f:
        return json.load(f)


@case("this system and raw Redis are measured in all that they have, and who is not there is skipped with the reason")
def measures():
    tmp, output = procs.subfolder("t"), procs.subfolder("o")
    done = procs.run(words("--systems", "claudebench,bare,bullmq", "--aof", "everysec", "--rounds", "1", "--scale", "0.01", "--depth", "500",
                           "--deep", "claudebench", "--output", output), env={"TMPDIR": tmp}, timeout=120)
    equal(done.returncode, 0, done.stderr.decode())
    wait_until(lambda: not procs.leftovers(), 10, "no process is left")
    equal(os.listdir(tmp), [], "files left behind")
    found = {entry["name"]: entry for entry in measured(output, "everysec")["systems"]}
    equal(list(found), ["claudebench", "bare", "bullmq"])
    check(found["bullmq"]["skipped"] in ("node is not installed", "BullMQ is not installed: bench/run --install"), found["bullmq"]["skipped"])
    for name in ("claudebench", "bare"):
        equal((found[name]["skipped"], found[name]["stopped"]), (None, None))
        for measure in ("enqueue_sync", "enqueue_flight", "enqueue_batch", "drain_1", "drain_2", "drain_4", "drain_batch", "life", "latency_p50",
                        "latency_p99", "ask_p50", "ask_rate", "rss_worker", "rss_redis", *(("deep_enqueue", "deep_drain", "deep_bytes") if name == "claudebench" else ())):
            check(len(found[name]["measures"].get(measure, [])) == 1 and found[name]["measures"][measure][0] > 0,
                  f"{name}: {measure}: {found[name]['measures'].get(measure)}")


@case("what would be measured in vain is refused at once, with the reason: no build, a folder that is a file, a scale of nothing, no name, no report of ours")
def refusals():
    foreign = os.path.join(procs.subfolder("f"), "x.json")
    with open(foreign, "w", encoding="utf-8") as f:
        f.write("[]")
    for code, word, args in (
            (69, "claudebench", ("--build", procs.subfolder("b"), "--output", procs.subfolder("o"))), (69, foreign, ("--output", foreign)),
            (66, "no report of ours", ("--report", "/nonexistent")), (66, "no report of ours", ("--report", foreign)),
            (2, "not a number above 0", ("--scale", "nan")), (2, "not in hundreds", ("--depth", "550")), (2, "nothing is named", ("--systems", ","))):
        done = procs.run(words(*args))
        said = done.stderr.decode()
        check(done.returncode == code and word in said and "Traceback" not in said, f"{args}: {done.returncode} {said}")
    long, nothing = os.path.join(procs.subfolder("t"), "x" * 90), procs.subfolder("n")
    os.mkdir(long)
    for word, args, env in (("TMPDIR", ("--output", nothing), {"TMPDIR": long}), ("npm is not installed", ("--install", "--cache", nothing), {"PATH": nothing})):
        done = procs.run(words(*args), env=env)
        said = done.stderr.decode()
        check(done.returncode == 69 and word in said and "Traceback" not in said, f"{args}: {done.returncode} {said}")
    equal(os.listdir(nothing), [])


@case("SIGTERM in the middle of it leaves no process and no file behind")
def interrupted():
    tmp = procs.subfolder("t")
    child = procs.start(words("--systems", "claudebench", "--aof", "none", "--output", procs.subfolder("o")), env={"TMPDIR": tmp},
                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: any("claudebench-bench-peer" in word for pid in procs.descendants(child.pid) for word in procs.cmdline(pid)), 30,
               "a driver runs")
    child.send_signal(signal.SIGTERM)
    equal(child.wait(30), 128 + signal.SIGTERM)
    wait_until(lambda: not procs.leftovers(), 10, "no process is left")
    equal(os.listdir(tmp), [], "files left behind")


if __name__ == "__main__":
    main()

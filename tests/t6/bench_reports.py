#!/usr/bin/env python3
"""bench_reports.py: growth.py, patterns.py, switches.py and capacity.py of bench/ make their reports, and a task takes no more memory than promised."""

import json
import os
import sys

from cbtest import case, check, equal, main, procs

HERE = os.path.abspath(os.path.join(procs.top_srcdir(), "bench"))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)

from capacity import capacity  # noqa: E402  pylint: disable=wrong-import-position
from growth import growth  # noqa: E402  pylint: disable=wrong-import-position
from report import machine, page  # noqa: E402  pylint: disable=wrong-import-position

BENCH = os.path.abspath(procs.binary("claudebench-bench"))


class Arguments:
    name = "x"

    def __init__(self):
        self.results = procs.subfolder("results")

    def read(self, what):
        with open(os.path.join(self.results, f"x-{what}"), encoding="utf-8") as f:
            return f.read()


def run(program, *args):
    """A report made by a small run: (Arguments, stderr)."""
    made = Arguments()
    env = {"TMPDIR": procs.subfolder("b"), "BENCH_COMMIT": "abc123"}
    done = procs.run([sys.executable, "-B", os.path.join(HERE, program), "--bench", BENCH, "--quick", "--rounds", "1", "--aof", "off",
                      "--results", made.results, "--name", "x", *args], env=env, timeout=120)
    equal(done.returncode, 0, f"{program}: {done.stderr.decode()}")
    equal([procs.describe(pid) for pid in procs.leftovers()], [], "processes left behind")
    equal(os.listdir(env["TMPDIR"]), [], "files left behind")
    return made, done.stderr.decode()


@case("growth.py: a small run makes a table with a row for each point, its verdicts, and the same as JSON")
def small_growth():
    made, _ = run("growth/growth.py", "--grow", "create-64:workers=1,2", "--grow", "claim-1:depth=100,300")
    text = made.read("growth.md")
    for word in ("- date: ", "commit abc123", "AOF off", "## By task workers", "## By tasks queued", "over bare", "| create-64 | 2 |", "| claim-1 | 300 |"):
        check(word in text, f"no {word!r} in\n{text}")
    found = json.loads(made.read("growth.json"))["series"]
    equal([(s["row"], s["what"], [p["value"] for p in s["points"]]) for s in found],
          [("create-64", "workers", [1, 2]), ("claim-1", "depth", [100, 300])])
    check(all(p["requests_per_s"][1] > 0 and p["redis_us"][1] > 0 for s in found for p in s["points"]), found)
    check("ratio" in found[0]["points"][1] and "ratio" not in found[1]["points"][1], "depth has no bare side, the others have")
    equal(found[1]["points"][0]["p99_ms_over_first"], [1, 1, 1])


@case("reports of a part, or of a quick run, have names of their own, unless one is given")
def names():
    def name_of(*words):
        sys.argv = ["growth.py", "--bench", BENCH, *words]
        return growth.arguments()[0].name

    whole = name_of()
    equal([name_of("--quick"), name_of("--grow", "create-64:workers=1"), name_of("--grow", "create-64:workers=1", "--quick"),
           name_of("--quick", "--name", "x"), name_of("--grow", "create-64:workers=1", "--name", "x")],
          [f"{whole}-quick", f"{whole}-part", f"{whole}-part-quick", "x", "x"])


@case("--grow that cannot be understood is refused with 64")
def refusals():
    for grow in ("create-64", "create-64:height=1", "nothing:depth=1", "create-64:workers=", "create-64:workers=2,1", "create-64:workers=0",
                 "create-64:instances=5", "create-64:payload=1x", ":depth=1"):
        done = procs.run([BENCH, "--grow", grow])
        equal((done.returncode, done.stdout), (64, b""), grow)


def side(rate, p99=1.0, redis=30.0):
    return {"requests_per_s": rate, "p50_ms": p99 / 2, "p99_ms": p99, "redis_us": redis, "workers_us": 3.0, "supervisor_us": 0.1, "client_us": 2.0,
            "commands": 5.0, "redis_kib": 20000}


def series(what, points, row="create-64"):
    """points: [(value, [(system, bare), …])]; bare None = without"""
    def one_round(system, bare):
        return {"system": system, "bare": bare} if bare else {"system": system}

    return growth.summarise({"row": row, "what": what, "points": [
        {"value": value, "all": [one_round(*r) for r in rounds]} for value, rounds in points]})


@case("verdicts: what grows as it should passes, what does not is said, and a slow machine is no reason")
def verdicts():
    def judge(made):
        return [good for good, _ in growth.verdicts(made)]

    even = [(side(1000), side(1000)), (side(500), side(500)), (side(900), side(1000))]
    equal(judge(series("workers", [(1, even), (8, even)])), [True, True])
    equal(judge(series("workers", [(1, even), (8, [(side(700), side(1000))] * 3)])), [False, False])
    # The same machine at half speed in the third round: ratios are made within a round.
    slow = [(side(1000), None), (side(1000), None), (side(400, 3.0, 70.0), None)]
    equal(judge(series("depth", [(1000, slow), (1000000, slow)], "claim-1")), [True, True])
    equal(judge(series("depth", [(1000, slow), (1000000, [(side(1000, 2.0, 60.0), None)] * 3)], "claim-1")), [False, False])
    straight = [(kib * 1024, [(side(1000, redis=20 + 3 * kib), side(1000))] * 3) for kib in (1, 8, 64)]
    equal(judge(series("payload", straight)), [True])
    bent = [(kib * 1024, [(side(1000, redis=redis), side(1000))] * 3) for kib, redis in ((1, 20), (8, 300), (64, 320))]
    equal(judge(series("payload", bent)), [False])
    fair = [(n, [(side(1000, p99=1.5 * n), side(1000))] * 3) for n in (1, 500)]
    equal(judge(series("clients", fair)), [True, True])
    unfair = [(n, [(side(1000, p99=4.0 * n), side(1000))] * 3) for n in (1, 500)]
    equal(judge(series("clients", unfair)), [True, False])


@case("the plot is made with gnuplot, and left out with a reason when there is none, or it fails")
def plots():
    document = {"machine": {"date": "today", "cpu": "x", "cores": 2, "redis": "7", "commit": "c"}, "rounds": 1}
    point = [(side(1000), side(1000))]
    script = growth.plot_script(document, [series("workers", [(1, point), (2, point)]), series("clients", [(1, point), (500, point)])])
    folder, path = procs.subfolder("bin"), os.environ["PATH"]
    program = os.path.join(folder, "gnuplot")
    try:
        os.environ["PATH"] = folder
        made = Arguments()
        equal(page.plot(made, "growth", script), None, "without gnuplot")
        for body, wanted in (("echo no >&2; exit 1", None), ("while read -r line; do :; done; echo '<svg/>'", "<svg/>\n")):
            with open(program, "w", encoding="utf-8") as f:
                f.write(f"#!/bin/sh\n{body}\n")
            os.chmod(program, 0o755)
            got = page.plot(made, "growth", script)
            equal(got and made.read("growth.svg"), wanted, body)
    finally:
        os.environ["PATH"] = path
    for word in ("$c0 << EOD", "by task workers", "set multiplot layout 3,2"):
        check(word in script, f"no {word!r} in\n{script}")


@case("switches.py: a small run has what each switch costs each row, as ratios of pairs")
def small_switches():
    made, _ = run("switches/switches.py")
    found = json.loads(made.read("switches.json"))["switches"]
    equal([(f["row"], f["switch"]) for f in found], [(row, switch) for row in ("create-64", "drain-64") for switch in ("idem", "gate")])
    check(all(0.1 < f[name][1] < 10 for f in found for name in ("time", "redis_us", "workers_us")), found)
    for word in ("commit abc123", "--quick: no figures to quote", "| create-64 | idempotency keys |", "| drain-64 | a limit and a breaker |"):
        check(word in made.read("switches.md"), f"no {word!r}")


@case("patterns.py: a small run has all seven patterns, each with its meaning and all that was asked for")
def small_patterns():
    made, _ = run("patterns/patterns.py")
    found = json.loads(made.read("patterns.json"))["patterns"]
    equal([(p["letter"], p["pattern"]) for p in found],
          [("A", "tasks-push"), ("B", "tasks-pull"), ("B", "tasks-pull-asking"), ("C", "tasks-hybrid"), ("A", "events-stream"), ("B", "events-pubsub"),
           ("C", "events-both")])
    text = made.read("patterns.md")
    for p in found:
        equal(p["whole"], True, p["pattern"])
        check(0 < p["p50_ms"][1] <= p["p95_ms"][1] <= p["p99_ms"][1], f"{p['pattern']}: percentiles")
        check(p["at_once"]["per_s"][1] > 0 and p["at_once"]["redis_us"][1] > 0, f"{p['pattern']}: {p['at_once']}")
        check(f"| {p['letter']} | {p['pattern']} |" in text and f"`{p['pattern']}`: " in text, f"{p['pattern']} in\n{text}")


@case("a queued task takes at most 600 bytes of Redis beyond its payload, a finished one 1000")
def task_bytes():
    found = capacity.measure_tasks(200, 2000)
    sizes = [found["queued"] - found["events"], found["held"] - found["events_held"], found["completed"] - found["events_at_end"]]
    check(150 < sizes[0] <= 600, f"queued: {found}")
    check(150 < sizes[1] <= 800, f"held: {found}")
    check(150 < sizes[2] <= 1000, f"completed: {found}")


@case("capacity.py's report has every size, record and process, and doc/capacity.md has the same rows")
def small_capacity():
    figures = capacity.measure_tasks(0, 200)
    found = {"machine": machine.facts(), "redis": "7", "commit": "c", "tasks": [figures], "records": capacity.measure_records(200),
             "processes": capacity.measure_processes(batches=4, decisions=20), "requests": {}}
    # Those that are differences of used_memory say something only with many more of them.
    of_keys = [size for name, size, _ in found["records"] if not name.startswith(("claim", "registered", "connection"))]
    check(len(of_keys) == 6 and all(size > 0 for size in of_keys), found["records"])
    check(all(a > 1000 and b > 1000 for _, a, b in found["processes"]), found["processes"])
    text = capacity.report(found)
    with open(os.path.join(procs.top_srcdir(), "doc/capacity.md"), encoding="utf-8") as f:
        document = f.read()
    for name, *_ in found["records"] + found["processes"]:
        check(name in text and name in document, f"{name!r} in the report and doc/capacity.md")
    for size in capacity.SIZES:
        check(f"\n| {size} |" in document, f"payload {size} in doc/capacity.md")


if __name__ == "__main__":
    main()

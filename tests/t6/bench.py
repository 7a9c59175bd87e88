#!/usr/bin/env python3
"""bench.py: the bench runs, its table can be read, README.md describes it, and it leaves nothing behind."""

import json
import os
import re
import signal
import subprocess

from cbtest import case, check, equal, main, procs, wait_until

BENCH = procs.binary("claudebench-bench")
README = os.path.join(procs.top_srcdir(), "bench/README.md")


def bench(*args, path=None, worker=None):
    folder = procs.subfolder("b")
    env = {"TMPDIR": folder}
    if path:
        env["PATH"] = path
    if worker:
        env["CLAUDEBENCH_WORKER"] = worker
    done = procs.run([BENCH, *args], env=env, timeout=120)
    equal([procs.describe(pid) for pid in procs.leftovers()], [], "processes left behind")
    equal(os.listdir(folder), [], "files left behind")
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def table(text):
    """The first table: its columns, its rows as dicts."""
    lines = [line for line in text.split("\n") if line.startswith("|")]
    names = cells(lines[0])
    rows = []
    for line in lines[2:]:
        if len(cells(line)) != len(names):
            break
        rows.append(dict(zip(names, cells(line))))
    return names, rows


def check_rows(rows, names):
    equal([row["row"] for row in rows], [name for name in names for _ in range(2)], "rows")
    for row in rows:
        where = f"{row['row']} {row['side']}"
        for column in ("req/s", "p50 ms", "p95 ms", "p99 ms", "client µs", "workers µs", "redis µs", "calls", "commands"):
            check(float(row[column]) > 0, f"{where}: {column} is {row[column]}")
        check(float(row["p50 ms"]) <= float(row["p95 ms"]) <= float(row["p99 ms"]), f"{where}: percentiles")
        check(float(row["calls"]) <= float(row["commands"]), f"{where}: more calls than commands")
        if row["side"] == "system":
            check(re.fullmatch(r"\d+ %", row["ratio"]), f"{where}: ratio {row['ratio']!r}")
            check(re.fullmatch(r"\d+–\d+ %", row["min–max"]), f"{where}: range {row['min–max']!r}")


def listed():
    code, out, _ = bench("--list")
    equal(code, 0)
    return out.split()


@case("the creating rows run on both sides, without an error reply, and the table can be read")
def creating_rows():
    code, out, err = bench("--quick", "--aof", "everysec", "--row", "create*")
    equal((code, err), (0, ""))
    check_rows(table(out)[1], [name for name in listed() if name.startswith("create")])


@case("so does a row of each other method, and the JSON says the same as the table")
def other_rows():
    names = ["claim-10", "complete-64", "drain-64-idem", "drain-1-c64-w2", "complete_batch-100", "drain_batch-100", "fail-64",
             "release-64", "renew-64", "progress-64", "update-64", "get-64", "list-50", "heartbeat-64", "heartbeat_renew-10"]
    path = procs.subfolder("j") + "/bench.json"
    wanted = [word for name in names for word in ("--row", name)]
    code, out, err = bench("--quick", "--aof", "off", "--json", path, *wanted)
    equal((code, err), (0, ""))
    rows = table(out)[1]
    check_rows(rows, names)
    with open(path, encoding="utf-8") as f:
        doc = json.load(f)
    equal([run["aof"] for run in doc["runs"]], ["off"])
    equal([row["row"] for row in doc["runs"][0]["rows"]], names)
    for row, from_json in zip(rows[1::2], doc["runs"][0]["rows"]):
        printed = int(row["ratio"].removesuffix(" %"))
        check(abs(printed - from_json["ratio"] * 100) < 0.51, f"ratio of {row['row']}: {printed} and {from_json['ratio']}")
    for row in doc["runs"][0]["rows"]:
        bare, system = row["median"]["bare"], row["median"]["system"]
        equal(bare["requests"], system["requests"])
        # Both sides do the same: what a request of 100 tasks costs Redis differs only by the daemon's ticks.
        if row["row"] == "complete_batch-100":
            check(0.8 < bare["commands"] / system["commands"] < 1.25, f"{row['row']}: {bare['commands']} {system['commands']}")


@case("README.md names every column, and the heading says what it promises")
def readme():
    code, out, _ = bench("--quick", "--aof", "off", "--row", "create-1")
    equal(code, 0)
    with open(README, encoding="utf-8") as f:
        text = f.read()
    described = text[text.index("| column | is |"):text.index("Below each table")]
    for column in table(out)[0]:
        if column not in ("row", "side"):
            word = column.removesuffix(" ms").removesuffix(" µs")
            check(word in described, f"column {column} is not described")
    for word in ("date:", "machine:", "redis ", "hiredis ", "compiler:", "commit:", "AOF off", "pinned: none"):
        check(word in out, f"no {word!r} in the heading")
    check(os.uname().nodename not in out or len(os.uname().nodename) < 4, "the host's name is in a result")


@case("--depth: claims with many tasks queued beside claims with 1000, and nothing else without --row")
def depth():
    path = procs.subfolder("j") + "/bench.json"
    code, out, err = bench("--quick", "--aof", "off", "--depth", "3000", "--json", path)
    equal((code, err), (0, ""))
    names, rows = table(out)
    equal((names[0], [row["queued"] for row in rows]), ("queued", ["1000", "3000"]))
    check(all(float(row[c]) > 0 for row in rows for c in names), rows)
    check(re.search(r"^p99 with 3000 queued over p99 with 1000: \d+ % \(\d+–\d+ %\)\.$", out, re.M), out)
    with open(path, encoding="utf-8") as f:
        found = json.load(f)["runs"][0]
    equal((found["rows"], found["depth"]["deep_tasks"], found["depth"]["void"]), ([], 3000, False))
    with open(README, encoding="utf-8") as f:
        check("--depth 1000000" in f.read(), "README.md says how")


@case("what it is asked wrongly is refused with 64, before anything is started")
def refusals():
    for args in (["--row", "no-such-row"], ["--aof", "sometimes"], ["--pin", "all"], ["--rounds", "0"], ["--bogus"], ["more"], ["--depth", "0"]):
        code, out, err = bench(*args)
        equal((code, out), (64, ""), " ".join(args))
        check(err.startswith("claudebench-bench: "), err)


@case("without redis-server, or with a daemon that does not start, it says so and ends with 69")
def nothing_to_measure():
    code, out, err = bench("--row", "create-1", path="/nonexistent")
    equal((code, out), (69, ""))
    check("redis-server does not start" in err, err)
    code, out, err = bench("--quick", "--row", "create-1", worker="/nonexistent/claudebench-worker")
    equal(code, 69)
    check("claudebenchd does not" in err and "event=" in err, err)


@case("SIGTERM in the middle of it leaves no process and no file behind")
def interrupted():
    folder = procs.subfolder("b")
    child = procs.start([BENCH, "--aof", "off", "--row", "create-64"], env={"TMPDIR": folder}, stdout=subprocess.DEVNULL)
    wait_until(lambda: any("claudebench-worker" in word for pid in procs.descendants(child.pid)
                           for word in procs.cmdline(pid)), 20, "a daemon runs")
    child.send_signal(signal.SIGTERM)
    equal(child.wait(20), 128 + signal.SIGTERM)
    equal([procs.describe(pid) for pid in procs.leftovers()], [], "processes left behind")
    equal(os.listdir(folder), [], "files left behind")


# A bench of the test's own: ratios from a file, those of a row that is measured again from another one.
FAKE_BENCH = """#!/usr/bin/env python3
import json, os, sys
here = os.path.dirname(os.path.abspath(sys.argv[0]))
rows = [sys.argv[i + 1] for i, word in enumerate(sys.argv) if word == "--row"]
with open(os.path.join(here, "again.json" if len(rows) == 1 else "ratios.json")) as f:
    ratios = json.load(f)
with open(sys.argv[sys.argv.index("--json") + 1], "w") as f:
    json.dump({"machine": {k: "x" for k in ("date", "cpu", "cores", "redis", "commit")}, "runs": [
        {"rows": [{"row": r, "ratio": ratios[r], "void": ratios[r] == 0} for r in rows]}]}, f)
"""


@case("the gate passes what is less than a tenth below the baseline, measures again what is more, and then fails")
def gate():
    folder = procs.subfolder("gate")
    program, baseline = os.path.join(folder, "bench"), os.path.join(folder, "baseline.json")
    with open(program, "w", encoding="utf-8") as f:
        f.write(FAKE_BENCH)
    os.chmod(program, 0o755)
    with open(os.path.join(procs.top_srcdir(), "bench/baseline.json"), encoding="utf-8") as f:
        ratios = json.load(f)["ratios"]
    row = "create-64"

    def run(*args, now=None, again=None, commit="abc"):
        for name, changed in (("ratios.json", now), ("again.json", again)):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                json.dump({**ratios, **(changed or {})}, f)
        script = os.path.join(procs.top_srcdir(), "bench/gate.py")
        done = procs.run(["python3", script, "--bench", program, "--baseline", baseline, *args], env={"BENCH_COMMIT": commit})
        return done.returncode, done.stdout.decode() + done.stderr.decode()

    code, text = run()
    check(code == 70 and "baseline.json" in text, f"no baseline: {code} {text}")
    for commit in ("", "abc-dirty"):
        code, text = run("--update", commit=commit)
        check(code == 70 and "commit first" in text and not os.path.exists(baseline), f"a baseline of no commit: {code} {text}")
    equal(run("--update")[0], 0)
    with open(baseline, encoding="utf-8") as f:
        equal(json.load(f)["ratios"], ratios)
    equal(run()[0], 0)
    equal(run(now={row: 0.91 * ratios[row]})[0], 0)
    code, text = run(now={row: 0.89 * ratios[row]})
    check(code == 0 and "too low" in text and "again" in text, f"a slip of the machine: {code} {text}")
    code, text = run(now={row: 0.89 * ratios[row]}, again={row: 0.89 * ratios[row]})
    equal((code, text.count("too low")), (1, 2), text)
    code, text = run(now={row: 0})
    check(code == 70 and f"no figures for {row}" in text, f"a void row: {code} {text}")


if __name__ == "__main__":
    main()

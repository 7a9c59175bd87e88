#!/usr/bin/env python3
"""gate.py: does what supervision leaves of a bare loop's throughput still hold? (make bench-gate; bench/README.md)

    gate.py --bench PROGRAM [--baseline FILE] [--update]

Runs a few rows of claudebench-bench for less than a minute and compares the median ratio of each with the baseline's. A row
that is more than 10 % below it is run again with more rounds, since a busy machine can do that to a row, too; when it is below
again, the exit code is 1; it is 70 when there are no figures to compare. Ratios, not times, so that one baseline serves any machine.
--update writes the baseline: on a machine that does nothing else, after a change that is meant to move it, and of a commit that has
a name (make bench-gate BENCH_GATE_ARGS=--update tells it: the variable BENCH_COMMIT).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

from report import page

ROWS = ("create-1", "create-64", "create_batch-100", "claim-64", "drain-64", "drain_batch-100")
ROUNDS, ROUNDS_AGAIN = 3, 9
MAY_DROP = 0.10

EXIT_NO_FIGURES = 70


def end(why):
    print(f"bench-gate: {why}", file=sys.stderr)
    sys.exit(EXIT_NO_FIGURES)


def measure(bench, rows, rounds):
    """{row: median ratio}"""
    with tempfile.TemporaryDirectory(prefix="bench-gate.") as folder:
        path = os.path.join(folder, "rows.json")
        names = [word for row in rows for word in ("--row", row)]
        done = page.run_program([bench, *names, "--rounds", str(rounds), "--aof", "everysec", "--idle", "0", "--json", path],
                                stderr=subprocess.PIPE)
        if done.returncode != 0:
            end(f"{bench} ended with {done.returncode}:\n{done.stderr.decode(errors='replace')[-2000:]}")
        with open(path, encoding="utf-8") as f:
            document = json.load(f)
    found = {row["row"]: row["ratio"] for row in document["runs"][0]["rows"] if not row["void"]}
    missing = [row for row in rows if row not in found]
    if missing:
        end(f"no figures for {', '.join(missing)}")
    return found, document["machine"]


def read_baseline(path):
    try:
        with open(path, encoding="utf-8") as f:
            document = json.load(f)
        return {row: float(document["ratios"][row]) for row in ROWS}
    except (OSError, ValueError, KeyError, TypeError) as why:
        end(f"{path}: {why!r}")


def write_baseline(path, ratios, machine):
    document = {
        "about": "Median ratios of claudebench-bench to its bare loop, AOF everysec; written by gate.py --update.",
        **{name: machine[name] for name in ("date", "cpu", "cores", "redis", "commit")},
        "ratios": {row: round(ratios[row], 3) for row in ROWS},
    }
    with open(path, "w", encoding="utf-8") as f:
        json.dump(document, f, indent=2)
        f.write("\n")


def too_low(ratios, baseline):
    return [row for row in ratios if ratios[row] < baseline[row] * (1 - MAY_DROP)]


def show(ratios, baseline, low):
    for row in ratios:
        print(f"{row:18} {100 * ratios[row]:4.0f} %  baseline {100 * baseline[row]:4.0f} %  {'too low' if row in low else 'ok'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", required=True, metavar="PROGRAM", help="claudebench-bench")
    parser.add_argument("--baseline", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "baseline.json"))
    parser.add_argument("--update", action="store_true", help="write the baseline instead of comparing with it")
    options = parser.parse_args()
    if options.update:
        commit = os.environ.get("BENCH_COMMIT", "")
        if not commit or commit.endswith("-dirty"):
            end("a baseline is of a commit: commit first, and use make bench-gate BENCH_GATE_ARGS=--update")
        ratios, machine = measure(options.bench, ROWS, ROUNDS_AGAIN)
        write_baseline(options.baseline, ratios, machine)
        return 0
    baseline = read_baseline(options.baseline)
    ratios, _ = measure(options.bench, ROWS, ROUNDS)
    low = too_low(ratios, baseline)
    show(ratios, baseline, low)
    if low:
        print("again, with more rounds:")
        ratios, _ = measure(options.bench, low, ROUNDS_AGAIN)
        low = too_low(ratios, baseline)
        show(ratios, baseline, low)
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())

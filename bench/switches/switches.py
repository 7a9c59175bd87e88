#!/usr/bin/env python3
"""switches.py: what a gate (a rate limit and a breaker) and idempotency keys cost: rows with them beside the same row without, in pairs.

    python3 bench/switches/switches.py --bench build/claudebench-bench [--rounds N] [--aof everysec] [--quick] [--results FOLDER] [--name NAME]

Each round measures a row and those that differ from it by one switch, one right behind the other; the ratio is taken in each round, so that
what the machine does otherwise falls upon both. Writes <results>/<name>-switches.md and .json, and prints their paths.
"""

import argparse
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from report import page  # noqa: E402

SWITCHES = {"idem": "idempotency keys", "gate": "a limit and a breaker"}
ROWS = ("create-64", "drain-64")
TARGETS = {"idem": 1.10, "gate": 1.05}  # of a create; bench/results/README.md


def measure(bench, words, rounds):
    """The documents of the rounds."""
    names = [name for row in ROWS for name in (row, *(f"{row}-{switch}" for switch in SWITCHES))]
    rows = [word for name in names for word in ("--row", name)]
    return [page.run_bench(bench, *words, "--rounds", "1", "--idle", "0", *rows) for _ in range(rounds)]


def cost(documents, row, switch):
    """What the switch multiplies, by figure: (least, median, largest) of the rounds."""
    found = {"time": [], "redis_us": [], "workers_us": []}
    for document in documents:
        figures = {r["row"]: r["median"]["system"] for r in document["runs"][0]["rows"] if not r["void"]}
        without, given = figures[row], figures[f"{row}-{switch}"]
        found["time"].append(without["requests_per_s"] / given["requests_per_s"])
        for name in ("redis_us", "workers_us"):
            found[name].append(given[name] / without[name])
    return {name: page.spread(ratios) for name, ratios in found.items()}


def summarise(documents):
    return [{"row": row, "switch": switch, **cost(documents, row, switch)} for row in ROWS for switch in SWITCHES]


def report(document, args, found):
    lines = page.heading("What a gate and idempotency keys cost", document, [
        f"AOF {args.aof}, pinned: {args.pin}, {args.rounds} rounds; medians (least–largest) of the ratios of each round",
        "one worker, 64 requests in flight, payload 200 bytes; the log of the limit is full, and all of it is old: what costs most"])
    rows = []
    for f in found:
        target = TARGETS[f["switch"]]
        rows.append([f["row"], SWITCHES[f["switch"]], page.percent(*f["time"]), page.percent(*f["redis_us"]), page.percent(*f["workers_us"]),
                     f"≤ {100 * target:.0f} %" + ("" if f["time"][1] <= target else ": **missed**")])
    lines += page.table(["row", "with", "time a request", "Redis' CPU", "workers' CPU", "wanted (time)"], rows)
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args, words = page.parse_run(parser, rounds=9)
    at = words.index("--rounds")
    documents = measure(args.bench, words[:at] + words[at + 2:], args.rounds)
    found = summarise(documents)
    page.tell_written(args, "switches", "md", report(documents[0], args, found))
    page.tell_written(args, "switches", "json", page.compact({"machine": documents[0]["machine"], "rounds": args.rounds, "aof": args.aof,
                                                              "pinned": args.pin, "switches": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

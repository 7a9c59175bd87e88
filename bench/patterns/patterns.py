#!/usr/bin/env python3
"""patterns.py: patterns A, B and C: pushed, pulled, hybrid, in one table (make bench-patterns; bench/README.md)

    patterns.py --bench PROGRAM [--rounds N] [--quick] [--results FOLDER] [--name NAME]

Runs claudebench-bench --patterns and writes NAME-patterns.md and .json. Every figure is the median of the rounds.
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from report import page  # noqa: E402  pylint: disable=wrong-import-position

MEANING = {
    "tasks-push": "`task.assignment: push`: the leader (`supervisor/assign.c`) gives each task to the agent that uses the least of its capacity; the agent's "
                  "waiting claim is answered with what it was given",
    "tasks-pull": "`task.assignment: pull` (the default): agents claim; one that finds nothing waits (`wait_ms`) and is woken by the next task",
    "tasks-pull-asking": "the same, by agents that know no `wait_ms`: they ask again 20 ms after they found nothing",
    "tasks-hybrid": "`task.assignment: hybrid`: agents claim as above; what nobody has claimed in `task.auto_assign_ms` (5 s) is pushed",
    "events-stream": "`events.transport: stream`: a reader that waits in a blocking read of `cb:stream:events`",
    "events-pubsub": "`events.transport: pubsub`: a reader that listens to the channels; events are not kept",
    "events-both": "`events.transport: both` (the default): a reader that is woken by the channel and reads the stream up to there",
}
SEEDS = [  # "Measured Latencies by Pattern" and "Resource Utilization" of the architecture assessment of 2025
    ("A (centralized)", "8", "25", "50", "1000–2000", "60–80 %", "200–500 MB", "low"),
    ("B (distributed)", "15", "60", "120", "5000–10000", "30–50 %", "100–300 MB", "high"),
    ("C (hybrid)", "12", "45", "90", "2000–5000", "40–60 %", "150–400 MB", "medium"),
]


def summarise(pattern):
    """Each figure as (least, median, largest)."""
    rounds = pattern["all"]
    made = {"pattern": pattern["pattern"], "letter": pattern["letter"], "whole": pattern["whole"]}
    for name in ("p50_ms", "p95_ms", "p99_ms"):
        made[name] = page.spread(r[name] for r in rounds)
    for half in ("alone", "at_once"):
        made[half] = {name: page.spread(r[half][name] for r in rounds) for name in rounds[0][half]}
    for r in rounds:  # of one core, over the time of the half in which many are under way
        used = r["at_once"]
        r["cpu"] = {who: used[f"{who}_us"] * used["per_s"] / 1e4 for who in ("redis", "supervisor", "workers")}
    made["cpu_percent"] = {who: page.spread(r["cpu"][who] for r in rounds) for who in ("redis", "supervisor", "workers")}
    return made


def middle(figure):
    return page.short(figure[1])


def rows_of(found):
    rows = []
    for p in found:
        busy = memory = p["at_once"]
        cpu = p["cpu_percent"]
        rows.append([p["letter"], p["pattern"] + ("" if p["whole"] else " (**not all arrived**)"), page.with_spread(*p["p50_ms"]), middle(p["p95_ms"]),
                     page.with_spread(*p["p99_ms"]), page.with_spread(*busy["per_s"]),
                     f"{cpu['redis'][1]:.0f} + {cpu['workers'][1]:.0f} + {cpu['supervisor'][1]:.1f} %",
                     f"{memory['supervisor_kib'][1] / 1024:.1f} + {memory['worker_kib'][1] / 1024:.1f} + {memory['redis_kib'][1] / 1024:.0f} MiB",
                     f"{busy['in_bytes'][1] + busy['out_bytes'][1]:.0f}"])
    return rows


def costs_of(found):
    rows = []
    for p in found:
        for half, name in (("alone", "one after the other"), ("at_once", "64 in flight")):
            h = p[half]
            ends = "reader" if p["pattern"].startswith("events") else "client"
            rows.append([p["pattern"], name, middle(h["per_s"]), middle(h["redis_us"]), middle(h["workers_us"]), middle(h["supervisor_us"]),
                         middle(h[f"{ends}_us"]), middle(h["commands"]), middle(h["in_bytes"]), middle(h["out_bytes"])])
    return rows


def report(document, found):
    run = document["runs"][0]
    lines = page.heading("Three patterns: pushed, pulled, hybrid", document, [
        f"AOF {run['aof']}, pinned: {run['pinned']}, {document['rounds']} rounds of all patterns in turns; medians (least–largest)",
        "one daemon with one task worker and one system worker, four registered agents that take up to 8 tasks each, the real client and the real reader "
        "of events, payload 200 bytes"])
    lines += ["P50, P95, P99: from asking for a task until an agent has it, or until a reader has the event of that; one after the other, milliseconds. "
              "Operations/s: whole lives of tasks (created, handed over, completed: three requests), or creations that the reader is told of, with 64 in flight. "
              "CPU (of one core) and memory while these are in flight: Redis + all workers + supervisor; supervisor + largest worker + Redis. Network: bytes that "
              "Redis reads and writes for one operation.", ""]
    lines += page.table(["", "pattern", "P50", "P95", "P99", "operations/s", "CPU redis + workers + supervisor",
                         "memory supervisor + worker + redis", "network, bytes"], rows_of(found))
    lines += ["", "The same columns of an earlier system, whose operation is one request:", ""]
    lines += page.table(["pattern", "P50", "P95", "P99", "operations/s", "CPU", "memory", "network"], SEEDS)
    lines += ["", "## What stands for what", ""] + [f"- {p['letter']}, `{p['pattern']}`: {MEANING[p['pattern']]}." for p in found]
    lines += ["", "## What one operation costs", "", "CPU in µs; client: the callers and agents, or the reader alone.", ""]
    lines += page.table(["pattern", "", "/s", "redis", "workers", "supervisor", "client", "commands", "bytes in", "bytes out"], costs_of(found))
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args, run = page.parse_run(parser, rounds=5)
    document = page.run_bench(args.bench, "--patterns", *run)
    found = [summarise(p) for p in document["runs"][0]["patterns"]]
    page.tell_written(args, "patterns", "md", report(document, found))
    page.tell_written(args, "patterns", "json", page.compact({"machine": document["machine"], "rounds": document["rounds"], "aof": args.aof,
                                                              "pinned": args.pin, "patterns": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

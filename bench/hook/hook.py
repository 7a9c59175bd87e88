#!/usr/bin/env python3
"""hook.py: what `claudebench hook` costs an agent: whole processes, from start to end, beside /bin/true.

Run by `make bench-hook`; bench/README.md says how to read the table. A daemon of its own, the shipped rules, one tool call each.
"""

import argparse
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/lib"))

from cbtest import Daemon, procs  # noqa: E402  pylint: disable=wrong-import-position
from hooks import Hooks, event  # noqa: E402  pylint: disable=wrong-import-position

TARGET = {"p50": 3.0, "p99": 10.0}  # milliseconds, of the whole process


def events(folder):
    """name -> file."""
    texts = {
        "benign": event("git status && ls -la src"),
        "new": event("git log -n @ROUND -- src/@ROUND"),
        "denied": event("rm -rf / --no-preserve-root"),
        "unknown": {"hook_event_name": "Notification", "message": "x"},
        "prompt": {"hook_event_name": "UserPromptSubmit", "prompt": "please look at src/@ROUND.c", "session_id": "s"},
        "after": event("ls", name="PostToolUse", tool_response={"stdout": "x" * 200, "stderr": ""}),
        "large": event("cat > notes.txt <<'X'\n" + "a line of text\n" * 1500 + "X"),
    }
    paths = {"": ""}
    for name, what in texts.items():
        paths[name] = f"{folder}/{name}.json"
        with open(paths[name], "w", encoding="utf-8") as f:
            json.dump(what, f)
    return paths


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--gate", action="store_true", help="exit 1 when a row with a daemon misses the target")
    args = parser.parse_args()
    rules = os.path.join(procs.top_srcdir(), "etc/rules.d")
    alone = Hooks(rules=None, hooks={"rules_dir": rules})
    with Daemon(config={"hooks": {"rules_dir": rules}}) as daemon:
        files = events(alone.dir)
        hook = [procs.binary("claudebench"), "hook", "-c"]
        rows = [("/bin/true", "", ["/bin/true"], 0)]
        for name, what, code in (("no decision wanted", "unknown", 0), ("no objection, seen before", "benign", 0),
                                 ("no objection, a new command", "new", 0), ("refused", "denied", 2), ("prompt", "prompt", 0),
                                 ("after the tool", "after", 0), ("a command of 22 kB", "large", 0)):
            rows.append((name, files[what], [*hook, daemon.config_path], code))
        for name, what, code in (("no objection, no daemon", "benign", 0), ("refused, no daemon", "denied", 2)):
            rows.append((name, files[what], [*hook, alone.config_path], code))
        words = [procs.binary("claudebench-spawn-time"), str(args.rounds)]
        for name, path, argv, _ in rows:
            words += [name, path, *argv, ";"]
        env = {k: v for k, v in procs.environment().items() if k not in ("CLAUDEBENCH_CONFIG",)}
        load = os.getloadavg()[0]
        done = subprocess.run(words, env=env, stdout=subprocess.PIPE, check=True, timeout=3600)
        found = [json.loads(line) for line in done.stdout.splitlines()]
    print(f"## The hook: whole processes, ms ({time.strftime('%Y-%m-%d', time.gmtime())}, {args.rounds} rounds, load before: {load:.1f})\n")
    print("| call | least | p50 | p95 | p99 | max | p50 over /bin/true |")
    print("|---|---|---|---|---|---|---|")
    missed = []
    for (name, _, _, code), row in zip(rows, found):
        if row["exit"] != [code, code]:
            sys.exit(f"{name}: exit codes {row['exit']}, not {code}")
        print(f"| {name} | {row['min']:.2f} | {row['p50']:.2f} | {row['p95']:.2f} | {row['p99']:.2f} | {row['max']:.2f} | {row['p50'] - found[0]['p50']:.2f} |")
        if "no daemon" not in name and (row["p50"] > TARGET["p50"] or row["p99"] > TARGET["p99"]):
            missed.append(name)
    print(f"\nTarget with a daemon: p50 ≤ {TARGET['p50']:.0f}, p99 ≤ {TARGET['p99']:.0f}: "
          + (f"missed by {', '.join(missed)}" if missed else "reached by all rows"))
    return 1 if missed and args.gate else 0


if __name__ == "__main__":
    sys.exit(main())

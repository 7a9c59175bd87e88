#!/usr/bin/env python3
"""campaign.py: the faults of one table, one after the other, and what came of each, for make check-faults.

    campaign.py [--only F06] [--seed N] [--list]

With CB_FAULT_ONLY ("F09 F10") only these rows.

Each row is worked off by test programs that know nothing of it: all of a program's cases, or those that name the row
(`@case(…, faults="F06")`), with CB_FAULTS=1 for their long forms. Cases, the oracle's figures and measured times go to
$CB_FAULT_RESULTS/faults.md; rows that did not run stay there as they were.
"""

import collections
import datetime
import os
import re
import shlex
import statistics
import subprocess
import sys
import time

from cbtest import *

SRC = procs.top_srcdir()
RESULTS = os.environ.get("CB_FAULT_RESULTS") or os.path.join(procs.top_builddir(), "tests/results")
MINUTE = 60

Row = collections.namedtuple("Row", "name text whole part bound env")


def row(name, text, whole=(), part=(), bound=15 * MINUTE, env=None):
    """`whole`: programs all of whose cases belong to it; `part`: those of which only the cases that name it do. `bound`: for
    each of them. `env`: what they get, instead of what asks for their long forms."""
    return Row(name, text, whole, part, bound, {"CB_FAULTS": "1"} if env is None else env)


def suite():
    """The programs of make check that talk to Redis through ours: all but the unit tests."""
    with open(os.path.join(SRC, "tests/Makefile.inc"), encoding="utf-8") as f:
        lists = re.findall(r"^(?:CONTRACT|PROGRAM)_TESTS = \\\n((?:\t.*\n)+)", f.read(), re.M)
    return re.findall(r"tests/(\S+\.py)", "".join(lists))


ROWS = [
    row("F01", "kill -9 of random workers (and Redis, and agents), 10 000 tasks", ["t5/chaos.py"]),
    row("F02", "kill -9 at each step, of workers and of agents, a hundred times each", [], ["t2/commit_steps.py", "t5/kills.py"]),
    row("F03", "kill -9 of the supervisor", [], ["t5/kills.py", "t4/dead_host.py", "t4/leader.py", "t4/schedule_leader.py"]),
    row("F04", "kill -9 of the whole process group", [], ["t5/kills.py", "t4/dead_host.py", "t4/schedule_leader.py"]),
    row("F05", "a request that kills its worker, among 1 000 good ones", ["t2/poison.py"], ["t5/kills.py"]),
    row("F06", "zombie worker: stopped past its lease, then continued", ["t2/zombie.py"], ["t5/kills.py"]),
    row("F07", "zombie leader: stopped past its lease while tasks move and schedules run", [],
        ["t4/leader.py", "t4/schedule_leader.py"]),
    row("F08", "the supervisor alone is stopped for three leases", [], ["t5/kills.py", "t4/dead_host.py"]),
    row("F09", "fork failure: every second one, then all; no process is allowed to the user", [],
        ["t5/shortages.py", "t1/children.py"]),
    row("F10", "descriptors, address space and allocations run out", [], ["t5/shortages.py", "t1/children.py"]),
    row("F11", "TERM, a second one, HUP: to agents with short and long jobs, to daemons under load", [],
        ["t5/rolling.py", "t1/stopping.py", "t1/reload.py", "t3/client_work_ends.py"]),
    row("F12", "all workers are replaced three times under load", [], ["t5/rolling.py", "t1/reload.py"]),
    row("F13", "kill -9 of Redis, and power cuts, with appendfsync everysec and always", [],
        ["t5/redis_data.py", "t2/weather.py", "t1/embedded.py"]),
    row("F14", "Redis comes back empty; FLUSHALL", [], ["t5/redis_data.py", "t2/weather.py", "t1/embedded.py"]),
    row("F15", "connections are killed, cut, reset, torn in the middle of requests and replies", [],
        ["t5/wire.py", "t2/weather.py", "t1/redis_away.py"]),
    row("F16", "black-holed connections; Redis stopped for 30 s", ["t5/black_hole.py"], ["t4/partition.py", "t1/redis_away.py"]),
    row("F17", "a server that lies: garbage, lengths of gigabytes, deep arrays, wrong types, RESP3, floods of errors, to daemon, client "
        "and hooks", ["t5/lies.py"], ["t2/weather.py"]),
    row("F18", "failover: the replica is promoted, twenty times; acknowledged by it is acknowledged", ["t2/acks.py"],
        ["t5/failover.py"]),
    row("F19", "the old master is still reachable by one host", [], ["t5/failover.py"]),
    row("F20", "Redis sleeps for 5 s, and is busy with a stranger's script for 10 s", [], ["t5/wire.py", "t2/weather.py"]),
    row("F21", "Redis' memory is full", [], ["t5/redis_data.py", "t2/weather.py"]),
    row("F22", "wrong Redis setup: too old, a replica, eviction, no persistence", [], ["t1/redis_away.py"]),
    row("F23", "SCRIPT FLUSH and FUNCTION FLUSH every 100 ms", [], ["t5/wire.py", "t2/weather.py", "t1/redis_away.py"]),
    row("F24", "the disk of Redis, of the log, of the audit file, of PostgreSQL is full", [],
        ["t5/redis_data.py", "t4/audit.py", "t5/archive.py"]),
    row("F25", "Redis is away and then has 1 GB to load", [], ["t5/wire.py", "t2/weather.py"]),
    row("F26", "the whole suite with the users of etc/redis-claudebench.acl: nothing is refused", suite(),
        env={"CB_TEST_REDIS": "acl"}),
    row("F27", "Redis Cluster of three masters: the slot is moved under load, its master fails over",
        ["t5/redis_cluster.py", "t2/redis_cluster.py"]),
    row("F28", "clocks jump by an hour", [], ["t4/clocks.py"]),
    row("F29", "clocks that are five minutes wrong", [], ["t4/clocks.py"]),
    row("F30", "10 000 documents that are no JSON, or nearly", [], ["contract/json_rules.py"]),
    row("F31", "payloads, results, ids and numbers of fields at their limits and above, in drops, and numbers that cannot be", ["t5/large.py"],
        ["contract/json_rules.py", "t2/requests.py"]),
    row("F32", "texts, ids and keys that try to be something else", ["contract/hostile_text.py", "t5/hostile_fields.py"]),
    row("F33", "the corpus of dangerous calls while hook workers die and hang and the rules break", ["t5/hook_faults.py"], ["t2/hooks.py"]),
    row("F34", "10 000 queued tasks are drained by 1, 2, 4 and 8 workers (claims from 1 000 000: bench/README.md)", [], ["t4/backlog.py"]),
    row("F35", "priority, order and aging under a mixed load", [], ["t4/backlog.py"]),
    row("F36", "soak: ten minutes of 2 000 tasks a second, workers killed and connections cut (an hour in check-long)", ["t5/soak.py"],
        bound=30 * MINUTE),
    row("F37", "500 clients lose Redis at the same moment, for a moment and for a while", ["t5/herd.py"]),
    row("F38", "100 clients publish the same thing at once; deaths in between", [], ["t5/same_thing.py", "t2/requests.py"]),
    row("F39", "quorum abuse", ["t4/votes.py", "lua/quorum.py"]),
    row("F40", "a circuit breaker with 16 processes: its downstream fails and recovers, probes are killed", ["lua/gate.py"],
        ["t5/gate.py"]),
    row("F41", "a rate limit under a burst of 64 callers, with wrong clocks and dying workers", [], ["t5/gate.py"]),
    row("F42", "batch processors die at 0, 50 and 99 %; ten batches in parallel", ["t4/batches.py", "lua/batch.py"]),
    row("F43", "100 writers on the shared state", ["t4/shared_state.py", "lua/shared_state.py"]),
    row("F44", "PostgreSQL down, slow, killed in the middle of a commit, under load", ["t2/archive.py", "t2/archive_outbox.py",
        "t5/archive_outbox.py", "t5/archive_restore.py"], ["t5/archive.py"]),
    row("F45", "one of five silent, three of five silent, flapping", ["t4/partition.py", "lua/gossip.py"]),
    row("cluster", "the whole suite against a Redis Cluster of three masters", suite(), env={"CB_TEST_REDIS": "cluster"}),
    row("net", "hosts with addresses of their own: links cut and healed, half-open connections", ["t4/cut_links.py"]),
    row("times", "what no other row measures: hand-over by the leader, by a dead worker, a restart of Redis", [],
        ["t4/leader.py", "t2/commit_steps.py", "t1/handing_on.py", "t1/redis_away.py"]),
    row("words", "what Redis refuses (OOM, MISCONF, READONLY, NOPERM, ...): said in its own words, asked again without a storm",
        ["t5/refusals.py"]),
    row("quiet", "ten minutes under load: nobody is given up, no lease ends early, one leader", ["t5/quiet.py"],
        bound=30 * MINUTE),
]

# Times that cases tell (figure()), and what is wanted of them at most, in seconds.
TIMES = {
    "handed_on_s": ("a dead worker's requests are handed on", 0.1),
    "host_noticed_s": ("a host that died or was cut off is given up", 3.25),
    "tasks_moved_s": ("its tasks have moved, after that", 1.0),
    "lease_end_s": ("the end of a lease is noticed, after it was due (the latest of a run)", 1.0),
    "leader_moved_s": ("the next leader, after the death, stop or cut of one", 2.5),
    "leader_left_s": ("the next leader, after the farewell of one", 0.5),
    "gossip_agreed_s": ("all agree on who is silent, after the first", 1.0),
    "partition_found_s": ("a partition is detected", 3.0),
    "partition_over_s": ("a partition is over, after the heal", 5.0),
    "silence_noticed_s": ("a connection to a host that says nothing any more counts as lost, with a redis.timeout_ms of a minute", 10.0),
    "redis_back_s": ("healthy again, after Redis is back", 2.0),
    "busy_over_s": ("healthy again, after Redis was busy for seconds", 2.0),
    "promoted_s": ("writes are taken again, after the promotion", 5.0),
}

HEAD = """# What came of the faults

Written by `make check-faults` (tests/t5/campaign.py; HACKING.md). A row is repeated by
`make check-faults ONLY=F06 SEED=N` with its seed.

"""
COLUMNS = ["fault", "what", "cases", "acked", "lost", "doubled", "repeats", "unexplained", "refused", "also", "verdict", "took", "seed",
           "commit", "Redis", "day, load"]
LEGEND = """
*acked*: tasks whose creation was answered, in all runs with the oracle of tests/lib/oracle.py. *lost*: of these, neither completed nor
a dead letter. *doubled*: accepted completions beyond one a task. *repeats*: executions beyond the first. *unexplained*: those of
them that no ended lease explains, or whose lease ended before it was due. *refused*: late completions that got -32005. *also*: other
figures (the largest of several); *lost_in_2_s*: with appendfsync everysec, tasks that were acknowledged in the two seconds before Redis
was killed or its power cut, and are gone: no others may be. *load*: the machine's load average when the row began, on its number of cores.

"""
TIME_COLUMNS = ["time", "at most", "median", "slowest", "samples", "verdict", "seed", "commit", "Redis", "day, load"]


def output_of(words):
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


def redis_version():
    found = re.search(r"v=(\S+)", output_of(["redis-server", "--version"]))
    return found.group(1) if found else "?"


def provenance():
    commit = output_of(["git", "-C", SRC, "describe", "--always", "--dirty"]) or "?"
    load = f"{os.getloadavg()[0]:.1f} on {os.cpu_count()}"
    return [str(tap.SEED), commit, redis_version(), f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M}, {load}"]


class Outcome:
    """What the programs of a row said."""

    def __init__(self):
        self.passed, self.failed, self.skipped = 0, [], []
        self.figures = collections.defaultdict(list)

    def read(self, program, text, status):
        before = self.passed + len(self.failed) + len(self.skipped)
        for line in text.splitlines():
            if line.startswith("not ok "):
                self.failed.append(f"{program}: {line}")
            elif re.match(r"ok .*# SKIP", line):
                self.skipped.append(f"{program}: {line}")
            elif line.startswith("ok "):
                self.passed += 1
            found = re.match(r"# figure (\w+) (\S+)$", line)
            if found:
                self.figures[found.group(1)].append(float(found.group(2)))
        if status != 0 and not any(f.startswith(program) for f in self.failed):
            self.failed.append(f"{program}: exit status {status}")
        if self.passed + len(self.failed) + len(self.skipped) == before:
            self.failed.append(f"{program}: no case of it ran")

    def others(self):
        """Figures that have no column and no row of their own."""
        return ", ".join(f"{n} {max(v):g}" for n, v in sorted(self.figures.items()) if n not in (*COLUMNS, *TIMES, "drained_s")) or "–"

    def count(self, name):
        return str(int(sum(self.figures[name]))) if name in self.figures else "–"

    @property
    def verdict(self):
        return "FAILED" if self.failed else "skipped" if not self.passed else "ok"


def run_program(name, args, bound, env):
    """(exit status, output) of one test program."""
    path = f"{procs.subfolder('c')}/out"
    with open(path, "wb") as out:
        process = procs.start([sys.executable, os.path.join(SRC, "tests", name), "--seed", str(tap.SEED), *args], stdout=out,
                              stderr=out, env={**env, "CB_TEST_TIMEOUT": str(bound)}, own_group=True)
        try:
            status = process.wait(bound + 30)
        except subprocess.TimeoutExpired:
            process.kill()
            status = f"{process.wait()}, after {bound} s"
    with open(path, encoding="utf-8", errors="replace") as f:
        return status, f.read()


def run_row(r):
    began, outcome, where = time.monotonic(), Outcome(), provenance()
    for program, args in [(p, []) for p in r.whole] + [(p, ["--faults", r.name]) for p in r.part]:
        status, text = run_program(program, args, r.bound, r.env)
        outcome.read(program, text, status)
        if status != 0:
            note(f"{program} {' '.join(args)} said:\n{text[-20000:]}")
    for line in outcome.skipped:
        note(f"left out: {line}")
    write(r, outcome, f"{time.monotonic() - began:.0f} s", where)
    figures = {n: (max(v) if n.endswith("_s") else int(sum(v))) for n, v in sorted(outcome.figures.items())}
    note(f"{r.name}: {outcome.passed} cases, " + ", ".join(f"{n} {v}" for n, v in figures.items()))
    check(not outcome.failed, "\n".join(outcome.failed))
    if not outcome.passed:
        raise Skip("; ".join(outcome.skipped))


# ---- the table ----


def cells(row_of_table):
    return "| " + " | ".join(row_of_table) + " |\n"


def heading(columns):
    return cells(columns) + "|" + "---|" * len(columns) + "\n"


def kept_rows(path):
    """{first cell: line} of what an earlier run has written."""
    try:
        with open(path, encoding="utf-8") as f:
            lines = [line for line in f if line.startswith("| ")]
    except OSError:
        return {}
    return {line.split(" | ")[0][2:]: line for line in lines}


def time_row(name, values, where):
    text, most = TIMES[name]
    median = statistics.median(values)
    verdict = "ok" if max(values) <= most else "median ok" if median <= most else "MISSED"
    return cells([text, f"{most:g} s", f"{median:.2f} s", f"{max(values):.2f} s", str(len(values)), verdict, *where])


def write(r, outcome, took, where):
    path = os.path.join(RESULTS, "faults.md")
    kept = kept_rows(path)
    n_cases = str(outcome.passed) + (f", {len(outcome.skipped)} skipped" if outcome.skipped else "")
    kept[r.name] = cells([r.name, r.text, n_cases, *map(outcome.count, COLUMNS[3:9]), outcome.others(), outcome.verdict,
                          took, *where])
    for name, values in outcome.figures.items():
        if name in TIMES and "CB_FAULTS" in r.env:  # not of the whole suite, which is there for something else
            samples[name] += values
            kept[TIMES[name][0]] = time_row(name, samples[name], where)
    os.makedirs(RESULTS, exist_ok=True)
    with open(f"{path}.new", "w", encoding="utf-8") as f:
        f.write(HEAD + heading(COLUMNS) + "".join(kept[x.name] for x in ROWS if x.name in kept) + LEGEND)
        f.write(heading(TIME_COLUMNS) + "".join(kept[text] for text, _ in TIMES.values() if text in kept))
    os.replace(f"{path}.new", path)
    note(f"written: {path}")


samples = collections.defaultdict(list)  # of this run, by name


ONLY = os.environ.get("CB_FAULT_ONLY", "").split()
for unknown in set(ONLY) - {r.name for r in ROWS}:
    sys.exit(f"no row {unknown}; there are {' '.join(r.name for r in ROWS)}")
for each in (r for r in ROWS if not ONLY or r.name in ONLY):
    add_case(f"{each.name} {each.text}", lambda r=each: run_row(r))


@case("times: the medians are what DESIGN wants of them")
def times_are_met():
    """The targets are for a machine that does nothing else: what is judged is the median."""
    late = [f"{TIMES[n][0]}: {statistics.median(v):.2f} s, wanted {TIMES[n][1]} s" for n, v in samples.items()
            if statistics.median(v) > TIMES[n][1]]
    check(not late, "\n".join(late))


if __name__ == "__main__":
    main(sys.argv[1:] + shlex.split(os.environ.get("CB_FAULT_ARGS", "")), timeout=4 * 60 * MINUTE)

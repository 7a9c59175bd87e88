#!/usr/bin/env python3
"""oracle.py: the oracle of all runs with faults: what was promised, what ran, what was accepted, and the verdict.

Journal   attempted ids, fsynced before they are sent, and acked ids, after the reply (class Journal)
Ledger    executions: begin and end of each, appended by whoever ran them (class Ledger)
Collector accepted completions: the event stream, followed from the start of the test over restarts of
          Redis (class Collector), and the task hashes at the end

Invariants: I1 lost, I2 accepted once and of the newest lease, I3 unexpected, I4 duplicate executions explained, I5 epochs,
I6 baseline, I7 drained in time, I8 processes. On its own: oracle.py --journal F --ledger F --socket S.
"""

import argparse
import collections
import datetime
import os
import re
import sys
import threading
import time

from resp import Lost, Resp, RespError
from task_hash import unpacked

# The end of an attempt that explains a second execution of the same task.
EXPLAIN = {"task.lease_expired", "task.reassigned", "task.released", "task.failed"}
LOSS_MS = 2000  # what appendfsync everysec may lose
SLACK_MS = 50  # between the clock of Redis, in whole milliseconds, and an agent's, on one host


class Journal:
    """`attempted <key>` before a request is sent, `acked <key> <task id> <wall ms>` after its reply."""

    def __init__(self, path):
        self.path = path
        self.fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.lock = threading.Lock()

    def attempted(self, keys):
        """All keys of one send, in one write and one fsync."""
        self._write("".join(f"attempted {k}\n" for k in keys))
        os.fsync(self.fd)

    def acked(self, pairs):
        ms = int(time.time() * 1000)
        self._write("".join(f"acked {k} {task} {ms}\n" for k, task in pairs))

    def _write(self, text):
        with self.lock:
            os.write(self.fd, text.encode())

    def close(self):
        os.close(self.fd)


def wall_ms(rfc3339):
    """2026-11-21T18:20:00.123Z in ms since 1970; 0 for ""."""
    return round(datetime.datetime.fromisoformat(rfc3339).timestamp() * 1000) if rfc3339 else 0


class Ledger:
    """Executions: `begin|end|done <task id> <attempt> <fence> <pid> <wall ms> <lease_until ms>`; one write each, O_APPEND.
    done: whoever ran it was told that its completion is the accepted one.

    fence is the lease token; lease_until what the claim said of it (0 = not known)."""

    def __init__(self, path):
        self.path = path
        self.fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def begin(self, task, attempt, fence, lease_until=""):
        self._write("begin", task, attempt, fence, wall_ms(lease_until))

    def end(self, task, attempt, fence):
        self._write("end", task, attempt, fence)

    def done(self, task, attempt, fence):
        self._write("done", task, attempt, fence)

    def _write(self, what, task, attempt, fence, until=0):
        line = f"{what} {task} {attempt} {fence} {os.getpid()} {int(time.time() * 1000)} {until}\n"
        os.write(self.fd, line.encode())

    def close(self):
        os.close(self.fd)


def read_journal(path):
    attempted, acked = set(), {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            words = line.split()
            if words[0] == "attempted":
                attempted.add(words[1])
            elif words[0] == "acked":
                acked[words[1]] = words[2]
    return attempted, acked


def read_ack_times(path):
    """{task id: wall ms of the ack}"""
    with open(path, encoding="utf-8") as f:
        rows = [line.split() for line in f if line.startswith("acked ")]
    return {row[2]: int(row[3]) for row in rows}


def read_ledger(path):
    """{task: [(attempt, fence, pid, begin ms, end ms or None, lease_until ms[, True when done])]} in the order of begins."""
    runs = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            what, task, attempt, fence, pid, ms, until = line.split()
            rows = runs.setdefault(task, [])
            if what == "begin":
                rows.append([int(attempt), fence, int(pid), int(ms), None, int(until)])
            elif what == "done":
                for row in rows:
                    if row[1] == fence:
                        row[6:] = [True]
            else:
                for row in rows:
                    if row[1] == fence and row[4] is None:
                        row[4] = int(ms)
                        break
    return runs


class Collector:
    """Follows the event stream in a thread: survives losses of Redis, never reads an entry twice.

    rows: [(stream id, {field: text})]
    """

    def __init__(self, connect, prefix="cb"):
        self.connect = connect
        self.prefix = prefix
        self.rows = []
        self.last = "0-0"
        self.gaps = 0
        self.stopping = False
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()

    def _follow(self):
        link = None
        while not self.stopping:
            try:
                link = link or self.connect()
                self._read(link, block=100)
            except (Lost, OSError, RespError):
                if link:
                    link.close()
                link = None
                time.sleep(0.01)
        if link:
            link.close()

    def _read(self, link, block):
        got = link.call("XREAD", "COUNT", 2000, "BLOCK", block, "STREAMS", f"{self.prefix}:stream:events", self.last)
        if not got:
            return 0
        for entry, flat in got[0][1]:
            self.last = entry.decode()
            self.rows.append((self.last, {flat[i].decode(): flat[i + 1].decode("utf-8", "replace")
                                          for i in range(0, len(flat), 2)}))
        return len(got[0][1])

    def stop(self):
        """Reads what is left, and ends."""
        self.stopping = True
        self.thread.join(10)
        with self.connect() as link:
            while self._read(link, block=1):
                pass
        return self.rows


def all_events(connect, prefix="cb"):
    """The events that are there, as a Collector has them."""
    return Collector(connect, prefix).stop()


def event_ids(fields):
    return [fields["id"]] if "id" in fields else fields.get("ids", "").split()


def task_states(link, prefix="cb"):
    """{task id: {field: bytes}} of all task hashes."""
    keys = sorted(k for k in link.scan(f"{prefix}:task:t-*") if k.count(b":") == prefix.count(":") + 2)
    found = {}
    for i in range(0, len(keys), 1000):
        part = keys[i : i + 1000]
        for key, flat in zip(part, link.pipeline([["HGETALL", k] for k in part])):
            found[key.decode().rsplit(":", 1)[1]] = unpacked(
                {flat[j].decode(): flat[j + 1] for j in range(0, len(flat), 2)})
    return found


def baseline(link, prefix="cb"):
    """What must be the same again after the test: keys by family, PEL, consumers, memory."""
    families = {}
    for key in link.scan(f"{prefix}:*"):
        parts = key.decode("utf-8", "replace")[len(prefix) + 1 :].split(":")
        families[parts[0]] = families.get(parts[0], 0) + 1
    pel, consumers, backlog = 0, set(), 0
    for key in link.scan(f"{prefix}:requests:*"):
        backlog += link.call("XLEN", key)
        for group in link.call("XINFO", "GROUPS", key):
            fields = {group[i]: group[i + 1] for i in range(0, len(group), 2)}
            pel += fields[b"pending"]
        for row in link.call("XINFO", "CONSUMERS", key, "workers"):
            fields = {row[i]: row[i + 1] for i in range(0, len(row), 2)}
            consumers.add((key.decode(), fields[b"name"].decode()))
    return {"families": families, "pel": pel, "consumers": consumers, "backlog": backlog,
            "memory": int(link.info("memory")["used_memory"])}


class Verdict:
    """Rows (id, text, ok, what was seen). str() is the table."""

    def __init__(self):
        self.rows = []
        self.notes = []
        self.figures = {}  # for the table of faults

    def add(self, name, text, good, seen):
        self.rows.append((name, text, bool(good), str(seen)))

    @property
    def good(self):
        return all(ok for _, _, ok, _ in self.rows)

    def summary(self):
        """One line when all is well, the table when not."""
        if not self.good:
            return str(self)
        return "\n".join(["oracle: " + " ".join(n for n, *_ in self.rows) + " ok", *self.notes])

    def __str__(self):
        out = [f"{'':3} {'invariant':50} {'':4} seen"]
        out += [f"{n:3} {t:50} {'ok' if ok else 'FAIL':4} {seen}" for n, t, ok, seen in self.rows]
        return "\n".join(out + self.notes)


def some(items, limit=8):
    items = sorted(items)
    return f"{len(items)}" + (f": {' '.join(map(str, items[:limit]))}{' …' if len(items) > limit else ''}" if items else "")


def judge(journal, ledger, events, states, before=None, after=None, drained_in=None, drain_bound=None, slots=None,
          workers_left=None, text_key=None, explained_deaths=0, losses=(), ack_times=None):
    """The verdict.

    journal      (attempted keys, {acked key: task id})
    ledger       read_ledger()
    events       [(stream id, fields)] from the Collector
    states       task_states() at the end (finished tasks must still be kept)
    text_key     function: the task's journal key from its hash (for I3); None: acked ids only
    before/after baseline() dictionaries; slots: how many consumers there may be
    explained_deaths  duplicate executions that a lost agent's own journal explains (I4), beside the events
    losses       wall ms of moments at which Redis may have lost what it was told in the LOSS_MS before (appendfsync everysec). A
                 task of which anything happened then is in flux: what became of it is counted and told, no more. All others
                 are judged as ever, and no number may be given twice. ack_times: read_ack_times()
    """
    attempted, acked = journal
    verdict = Verdict()
    completed = {}
    for _, fields in events:
        if fields.get("type") == "task.completed":
            for task in event_ids(fields):
                completed[task] = completed.get(task, 0) + 1
    by_state = {t: s["st"].decode() for t, s in states.items()}
    done = {t for t, st in by_state.items() if st == "completed"}
    dead = {t for t, s in states.items() if s["st"] == b"failed" and s.get("de") == b"1"}

    flux = in_flux(losses, ack_times or {}, ledger, events)
    lost = {k for k, t in acked.items() if t not in done and t not in dead}
    twice = {t for t, n in completed.items() if n > 1}
    if losses:
        in_loss = {k for k in lost if acked[k] in flux}
        verdict.figures["lost_in_2_s"] = len(in_loss)
        verdict.notes.append(f"    {len(losses)} times the last {LOSS_MS} ms were at stake: {len(flux)} tasks in flux, "
                             f"{len(in_loss)} of them lost, {len(twice & flux)} completed twice")
    lost = {k for k in lost if acked[k] not in flux}
    twice -= flux
    verdict.figures.update(acked=len(acked), lost=len(lost), doubled=len(twice))
    verdict.add("I1", "acked tasks that are neither completed nor dead", not lost, some(lost))
    verdict.add("I2", "tasks completed more than once", not twice, some(twice))
    missing = {t for t in done if t not in completed} - flux
    ghost = {t for t in completed if t not in done} - flux
    verdict.add("I2b", "completed by hash or by event, not by both", not missing and not ghost,
                f"{some(missing)} without event, {some(ghost)} without hash")
    older = {t for t, runs in ledger.items() if not done_by_newest(runs)} - flux
    verdict.add("I2c", "completions granted to an older lease", not older, some(older))
    if text_key:
        known = {t: text_key(s) for t, s in states.items()}
        unexpected = {t for t in done | dead if known[t] not in attempted}
        seen_keys = {}
        for t, key in known.items():
            seen_keys.setdefault(key, []).append(t)
        doubled = {k for k, ts in seen_keys.items() if len(ts) > 1 and not flux.intersection(ts)}
        verdict.add("I3", "finished tasks that nobody attempted", not unexpected, some(unexpected))
        verdict.add("I3b", "journal keys with more than one task", not doubled, some(doubled))
    _judge_runs(verdict, ledger, events, states, explained_deaths, flux)
    _judge_numbers(verdict, acked, ledger, events)
    _judge_epochs(verdict, events)
    if before and after:
        _judge_baseline(verdict, before, after, slots)
    if drained_in is not None:
        verdict.add("I7", f"drained within {drain_bound} s", drained_in <= drain_bound, f"{drained_in:.2f} s")
    if workers_left is not None:
        verdict.add("I8", "processes, descriptors, sanitizer reports", not workers_left, workers_left or "as before")
    verdict.notes.append(f"    attempted {len(attempted)}, acked {len(acked)}, completed {len(done)}, dead {len(dead)}, "
                         f"executions {sum(len(r) for r in ledger.values())}")
    return verdict


def fence_number(run):
    """Leases in the order in which they were given; a token begins with its fence, which only rises."""
    digits = re.match(r"\d+", run[1])
    return (int(digits.group()) if digits else 0, run[3])


def done_by_newest(runs):
    """Whether only the newest lease that there was completed the task, as its holders were told."""
    newest = max(fence_number(r)[0] for r in runs)
    return all(fence_number(r)[0] == newest for r in runs if len(r) > 6)


def explain(before, run, ends):
    """What ended the lease of the run before this one: (problem or None, ms from the end that its claim told to the one that
    was noticed, None when it did not expire). Uses up the end that it takes.

    That is the last end before this run began. A lease that expired did so no sooner than its claim said: effective
    time is never faster than the wall's, and a renewal only makes a lease longer."""
    usable = [e for e in ends if e[0] <= run[3] + SLACK_MS]
    if not usable:
        return "unexplained", None
    end = max(usable)
    ends.remove(end)
    until = before[5] if len(before) > 5 else 0
    if end[1] != "task.lease_expired" or not until:
        return None, None
    return "early" if end[0] + SLACK_MS < until else None, end[0] - until


def in_flux(losses, ack_times, ledger, events):
    """Tasks of which something happened in the LOSS_MS before a loss."""

    def hits(ms):
        return any(at - LOSS_MS <= ms <= at + SLACK_MS for at in losses)

    if not losses:
        return set()
    flux = {t for t, ms in ack_times.items() if hits(ms)}
    flux |= {t for t, runs in ledger.items() if any(hits(r[3]) or hits(r[4] or r[3]) for r in runs)}
    for entry, fields in events:
        if hits(int(entry.split("-")[0])):
            flux.update(event_ids(fields))
    return flux


def _judge_numbers(verdict, acked, ledger, events):
    """Whatever was lost: no task id and no fence is handed out twice."""
    made = collections.Counter(t for _, fields in events if fields.get("type") == "task.created" for t in event_ids(fields))
    twice = {t for counted in (made, collections.Counter(acked.values())) for t, n in counted.items() if n > 1}
    tokens = {}
    for task, runs in ledger.items():
        for run in runs:
            tokens.setdefault(fence_number(run)[0], set()).add((task, run[1]))
    twice |= {str(fence) for fence, of in tokens.items() if fence and len(of) > 1}
    verdict.add("I2d", "ids and fences that were handed out twice", not twice, some(twice))


def _judge_runs(verdict, ledger, events, states, explained_deaths, flux=frozenset()):
    """I4: each execution beyond a task's first is explained by an end of the attempt before it, in time."""
    ends = {}
    for entry, fields in events:
        if fields.get("type") in EXPLAIN:
            for task in event_ids(fields):
                ends.setdefault(task, []).append((int(entry.split("-")[0]), fields["type"]))
    again, unexplained, early, same_fence, late = 0, set(), set(), set(), []
    for task, runs in ledger.items():
        fences = [r[1] for r in runs]
        same_fence |= {task for f in set(fences) if fences.count(f) > 1}
        leases = sorted({r[1]: r for r in runs}.values(), key=fence_number)
        again += len(leases) - 1
        left = list(ends.get(task, []))
        # Else there were leases that nobody told of, since their holder died first: then an end is not that of the run before.
        is_all_told = len(left) == len(leases) - 1
        for i in range(len(leases) - 1, 0, -1):  # the last first: it takes the last end
            problem, late_ms = explain(leases[i - 1], leases[i], left)
            if late_ms is not None and is_all_told and task not in flux:
                late.append(late_ms)
            unexplained |= {task} if problem == "unexplained" else set()
            early |= {task} if problem == "early" else set()
    unexplained -= flux
    early -= flux
    verdict.add("I4", "executions that no ended lease explains", len(unexplained) <= explained_deaths, some(unexplained))
    verdict.add("I4b", "one lease executed twice", not same_fence, some(same_fence))
    unrun = {t for t, s in states.items() if s["st"] == b"completed" and ledger and t not in ledger} - flux
    verdict.add("I4c", "completed without an execution", not unrun, some(unrun))
    verdict.add("I4d", "leases that expired before they were due", not early, some(early))
    verdict.notes.append(f"    {again} executions were repeats")
    verdict.figures.update(repeats=again, unexplained=len(unexplained | early | same_fence))
    if late:
        verdict.figures["lease_end_s"] = max(late) / 1000


def _judge_epochs(verdict, events):
    seen, bad = 0, []
    for entry, fields in events:
        if fields.get("type") == "leader.elected":
            epoch = int(fields["epoch"])
            if epoch <= seen:
                bad.append(f"{entry}:{epoch}")
            seen = max(seen, epoch)
    verdict.add("I5", "epochs that do not rise", not bad, some(bad))


def _judge_baseline(verdict, before, after, slots):
    problems = []
    for family in ("requests", "reply", "queue", "leases", "instance", "instances"):
        was, now = before["families"].get(family, 0), after["families"].get(family, 0)
        if now > was and family in ("requests", "instance"):
            problems.append(f"{family} {was} -> {now}")
    if after["pel"]:
        problems.append(f"{after['pel']} pending")
    if after["backlog"]:
        problems.append(f"backlog {after['backlog']}")
    if slots is not None and len(after["consumers"]) > slots:
        problems.append(f"{len(after['consumers'])} consumers for {slots} slots: {sorted(after['consumers'])[:12]}")
    verdict.add("I6", "keys, pending entries and consumers at baseline", not problems, "; ".join(problems) or "as before")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--journal", required=True)
    parser.add_argument("--ledger", required=True)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--user")
    parser.add_argument("--password-file")
    parser.add_argument("--prefix", default="cb")
    args = parser.parse_args()
    password = None
    if args.password_file:
        with open(args.password_file, encoding="utf-8") as f:
            password = f.readline().strip()

    def connect():
        return Resp(args.socket, args.user, password)

    collector = Collector(connect, args.prefix)
    events = collector.stop()
    with connect() as link:
        states = task_states(link, args.prefix)
        now = baseline(link, args.prefix)
    verdict = judge(read_journal(args.journal), read_ledger(args.ledger), events, states, before=now, after=now)
    print(verdict)
    sys.exit(0 if verdict.good else 1)


if __name__ == "__main__":
    main()

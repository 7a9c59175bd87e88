#!/usr/bin/env python3
"""keys_table.py: the key table (common/keys.def) against a used database: every key has a row, of the right
type, and none grows without a cap."""

import os
import re

from cbtest import *

ROW = re.compile(r'KEY\((\w+),\s*"([^"]*)",\s*"(\w+)",\s*"([^"]*)"', re.S)
# Families whose keys must carry a TTL themselves.
TTL = {"REPLY": 60, "IDEM": 1860}


def rows():
    with open(os.path.join(procs.top_srcdir(), "common/keys.def"), encoding="utf-8") as f:
        found = ROW.findall(re.sub(r'"\s*\n\s*"', "", f.read()))
    check(len(found) >= 15, f"{len(found)} rows in keys.def")
    return [(name, re.compile(re.escape(pattern).replace("%", "(.+?)") + r"\Z", re.S), kind, cap)
            for name, pattern, kind, cap in found]


def row_of(table, rest):
    """The row that matches and says the most itself: that has the most text beside its placeholders."""
    fits_ = [(-len(pattern.pattern.replace("(.+?)", "")), pattern.groups, name, kind, cap) for name, pattern, kind, cap in table
             if pattern.match(rest)]
    _, groups, *rest_of_row = min(fits_, default=(None, None))
    return (groups, *rest_of_row) if rest_of_row else None


def use_everything(d):
    """A database in which every method has been used, in every way it can end."""
    c = d.caller()
    ids = []
    for i in range(12):
        ids.append(c.call("task.create", {"text": f"t{i}", "priority": i, "payload": [i], "metadata": {"i": i},
                                          "queue": ["default", "other"][i % 2]}, idem=token())["id"])
    c.call("task.create", {"text": "role", "roles": ["gpu", "cpu"], "priority": 100})
    c.call("task.create", {"text": "role", "roles": ["tpu"]})
    c.call("task.create_batch", {"tasks": [{"text": "b"}, {"text": "c", "queue": "third"}]})
    agent = c.call("system.register", {"id": "agent/1:8080", "roles": ["gpu"]})
    claim = {"workerId": "agent/1:8080", "incarnation": agent["incarnation"], "maxTasks": 5, "roles": ["gpu"]}
    tasks = c.call("task.claim", claim)["tasks"]
    check(len(tasks) >= 5, f"{len(tasks)} tasks")
    c.call("task.complete", {"id": tasks[0]["id"], "lease_token": tasks[0]["lease_token"], "result": {"x": []}})
    c.call("task.fail", {"id": tasks[1]["id"], "lease_token": tasks[1]["lease_token"], "error": "e"})
    c.call("task.fail", {"id": tasks[2]["id"], "lease_token": tasks[2]["lease_token"], "error": "e", "retry": False})
    c.call("task.release", {"id": tasks[3]["id"], "lease_token": tasks[3]["lease_token"]})
    c.call("task.renew", {"id": tasks[4]["id"], "lease_token": tasks[4]["lease_token"]})
    c.call("task.progress", {"id": tasks[4]["id"], "lease_token": tasks[4]["lease_token"], "percent": 5})
    c.call("task.update", {"id": ids[2], "updates": {"priority": 1, "metadata": {}}})
    c.call("task.update", {"id": ids[2], "updates": {"status": "cancelled"}})
    c.call("task.reassign", {"id": ids[4], "to": "agent/1:8080"})
    c.call("task.assign", {"taskId": ids[3], "instanceId": "agent/1:8080"})
    c.call("task.reassign", {"id": ids[3], "reason": "why not"})
    after = c.call("task.create", {"text": "after", "after": [ids[5]], "unique_key": "k:1", "delay_ms": 1000})["id"]
    c.call("task.create", {"text": "after", "after": [after], "on_dependency_failure": "block"})
    c.call("task.cancel", {"id": c.call("task.create", {"text": "x", "payload": "p" * 1000})["id"]})
    back = c.call("task.create", {"text": "back", "queue": "brief"})["id"]
    c.call("task.cancel", {"id": back})
    c.call("task.retry", {"id": back})
    c.call("task.queue_pause", {"queue": "third"})
    c.call("task.queues")
    c.call("task.audit")
    c.call("task.repair", {})
    c.call("task.delete", {"id": c.call("task.create", {"text": "short life", "queue": "brief"})["id"]})
    c.call("task.complete_batch", {"items": [{"id": ids[0]}]})
    c.call("task.get", {"id": ids[0]})
    c.call("task.list", {})
    c.call("system.heartbeat", {"instanceId": "agent/1:8080", "incarnation": agent["incarnation"]})
    other = c.call("system.register", {"id": "leaving"})
    c.call("system.unregister", {"id": "leaving", "incarnation": other["incarnation"]})
    c.call("system.batch.process", {"batchId": "b", "instanceId": "p", "items": [1, {}]})
    c.call("system.state.sync", {"data": {"a": 1}})
    c.call("system.register", {"id": "voter", "roles": ["voter"]})
    c.call("system.register", {"id": "voter2", "roles": ["voter"]})
    c.call("system.quorum.vote", {"decision": "open", "instanceId": "voter", "value": "yes"})
    for voter in ("voter", "voter2"):
        c.call("system.quorum.vote", {"decision": "done", "instanceId": voter, "value": "yes"})
    c.call("system.check_health")
    c.call("system.event.subscribe", {"group": "reader"})
    c.call("system.event.publish", {"type": "deploy.done", "id": "e1", "partition": "p1", "data": {"a": 1}})
    c.call("schedule.add", {"id": "daily/1", "cron": "@daily", "template": {"text": "x"}})
    c.call("schedule.add", {"every_ms": 3600000, "template": {"text": "x"}})
    c.call("schedule.pause", {"id": "daily/1"})
    c.call("schedule.resume", {"id": "daily/1"})
    c.call("schedule.get", {"id": "daily/1"})
    c.call("schedule.add", {"id": "short life", "every_ms": 3600000, "template": {"text": "x"}})
    c.call("schedule.remove", {"id": "short life"})
    equal(len(c.call("schedule.list")["schedules"]), 2)
    c.call("hook.pre_tool", {"tool": "Bash", "params": {"command": "ls"}})
    c.call("hook.post_tool", {"tool": "Bash", "is_error": True})
    c.call("hook.register", {"name": "edge", "type": "pre_tool", "file": "edge.yaml"})
    c.call("system.get_state")
    c.call("system.metrics")
    c.call("system.health")
    c.call("system.discover")
    c.call("hook.todo_write", {"todos": [{"content": "x", "status": "in_progress"}]}, more=[("session", "s:1")])
    c.send("task.claim", {"workerId": "waits", "queue": "nothing", "roles": ["gpu"], "wait_ms": 30000}, idem=token())
    c.ask(None, {}, stream="cb:requests:task")  # a dead letter
    pid = d.workers("task")[0]
    procs.kill(pid)  # duplicates, hand-on
    wait_until(lambda: pid not in d.workers("task") and len(d.workers("task")) == 2, 5, "replaced")
    check(c.ask("task.create", {"text": "after"}).ok, "after")
    c.send("system.health")  # a reply that nobody takes
    wait_until(lambda: d.backlog("system") == 0, 5, "answered")
    return c


def audited(d):
    """What system.audit finds, all pages of it."""
    c, found, cursor = d.caller(), [], {}
    while cursor is not None:
        page = c.call("system.audit", cursor)
        found += page["findings"]
        cursor = {"cursor": page["next"]} if "next" in page else None
    return found


@case("every family is looked at by the doctor, or it is said why nothing leads to it: each has one row in keys_audit.def")
def audit_rows():
    with open(os.path.join(procs.top_srcdir(), "common/keys_audit.def"), encoding="utf-8") as f:
        found = re.findall(r"^(?:AUDIT|UNLISTED)\((\w+),", f.read(), re.M)
    equal(found, [name for name, *_ in rows()])


@case("every key of a used database matches a row, with the row's type")
def keys():
    table = rows()
    chain = procs.subfolder("chain")
    with open(f"{chain}/edge.yaml", "w", encoding="ascii") as f:
        f.write("groups: [{name: g, rules: [{name: r, action: warn, message: m, match: {pattern: nothing}}]}]\n")
    with Daemon(config={"hooks": {"chain_dir": chain}}) as d:
        use_everything(d)
        problems, seen = [], set()
        with d.connect() as r:
            for key in sorted(r.scan("*")):
                text = key.decode("utf-8", "replace")
                if not text.startswith("cb:"):
                    problems.append(f"{text}: outside of the prefix")
                    continue
                row = row_of(table, text[3:])
                if row is None:
                    problems.append(f"{text}: no row in keys.def")
                    continue
                seen.add(row[1])
                kind = r.text("TYPE", key)
                if kind != row[2]:
                    problems.append(f"{text}: a {kind}, the table says {row[2]} ({row[1]})")
                if not row[3].strip():
                    problems.append(f"{text}: the table gives no cap")
                ttl = r.call("TTL", key)
                if row[1] in TTL and not 0 <= ttl <= TTL[row[1]]:
                    problems.append(f"{text}: TTL {ttl}, wanted at most {TTL[row[1]]}")
        check(not problems, "\n".join(problems))
        equal(audited(d), [], "findings of system.audit")
        unused = {name for name, *_ in table} - seen
        note(f"rows that this database does not show: {sorted(unused)}")
        must = {"META", "CLOCK", "REQUESTS", "REPLY", "EVENTS", "DEAD", "IDEM", "TASK", "QUEUE_DEFAULT", "QUEUE", "QUEUE_ROLE",
                "DELAYED", "LEASES", "ASSIGNED", "TASKS_DEAD", "QUEUE_INSTANCE", "TASKS_COMPLETED", "TASKS_FAILED", "INSTANCE",
                "BATCH", "BATCH_CURRENT", "INSTANCES_ACTIVE", "INSTANCES_ROLE", "LEADER", "LOAD", "LOAD_QUEUE", "LOAD_ROLE",
                "QUORUM", "QUORUM_LATEST", "QUORUM_OPEN", "QUORUM_RESULT", "SCHEDULES", "SCHEDULES_DUE", "SCHEDULES_IDS", "STATE",
                "WAITERS", "WAITERS_DEADLINE", "WAITERS_QUEUES", "WAITERS_QUEUE", "WAITERS_ROLE", "WAITERS_INSTANCE", "BLOCKED",
                "AUDIT", "HOOKS", "HOOK_FAILURES", "EVENTS_READERS", "EVENTS_PROCESSED", "PARTITION_STREAM", "TASK_DEPENDENTS", "UNIQUE", "QUEUES_PAUSED", "COUNTS", "TASKS_LARGE"}
        check(not must & unused, f"rows that the test means to show and does not: {sorted(must & unused)}")


@case("the table's rows have distinct patterns and ids, and the prefix is never part of them")
def table_itself():
    table = rows()
    equal(len({n for n, *_ in table}), len(table))
    equal(len({p.pattern for _, p, *_ in table}), len(table))


@case("another prefix, with a hash tag: every key lies under it")
def prefix():
    with Daemon(prefix="team{x}") as d:
        c = d.caller()
        c.call("task.create", {"text": "x"}, idem=token())
        t = c.call("task.claim", {"workerId": "w"})["tasks"][0]
        c.call("task.complete", {"id": t["id"], "lease_token": t["lease_token"]})
        with d.connect() as r:
            wrong = [k for k in r.scan("*") if not k.startswith(b"team{x}:")]
        equal(wrong, [])


@case("capped families stay capped: finished tasks, dead letters, events")
def caps():
    config = {"task": {"keep_finished": 20, "keep_finished_min_ms": 0}, "limits": {"dead_entries": 10, "dead_bytes": 2 << 20},
              "events": {"maxlen": 1000}}
    with Daemon(config=config) as d:
        c = d.caller()
        for _ in range(8):
            rids = c.send_many([("task.create", {"text": "x"}, {}) for _ in range(100)])
            c.wait_all(rids)
            tasks = c.call("task.claim", {"workerId": "w", "maxTasks": 100})["tasks"]
            rids = c.send_many([("task.complete", {"id": t["id"], "lease_token": t["lease_token"]}, {}) for t in tasks])
            c.wait_all(rids)
            rids = c.send_many([(None, {}, {"stream": "cb:requests:task"}) for _ in range(100)])
            c.wait_all(rids)
        for n in range(12):  # bytes count, too
            c.wait(c.send(None, b"x" * 200000, stream="cb:requests:task"))
        with d.connect() as r:
            wait_until(lambda: r.call("ZCARD", "cb:tasks:completed") <= 40, 10,
                       lambda: f"finished tasks go: {r.call('ZCARD', 'cb:tasks:completed')}")
            left = len([k for k in r.scan("cb:task:t-*")])
            check(left <= 40, f"{left} task hashes")
            check(r.call("XLEN", "cb:stream:dead") <= 210, f"{r.call('XLEN', 'cb:stream:dead')} dead letters")
            bytes_ = r.call("MEMORY", "USAGE", "cb:stream:dead", "SAMPLES", "0")
            check(1200000 < bytes_ <= 2 << 20, f"{bytes_} bytes of dead letters")
            gone = 8 * 100 + 12 - r.call("XLEN", "cb:stream:dead")
            check(0 < sum(int(e["letters"]) for e in d.logged("dead_letters_dropped")) <= gone, f"{gone} have gone")
            equal(d.client("metrics", "dead_letters_dropped_total").stdout.split()[-1], str(gone).encode(), "and counted")
            check(r.call("XLEN", "cb:stream:events") <= 1300, f"{r.call('XLEN', 'cb:stream:events')} events")


if __name__ == "__main__":
    main()

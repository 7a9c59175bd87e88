#!/usr/bin/env python3
"""archive.py: the archive in PostgreSQL has what Redis had, once, in any order of redelivery, and whatever dies in between."""

import json
import os
import signal
import time

from cbtest import *
from flood import completions, creations, flood
from privpg import PrivatePostgres, archive_config, database
from task_hash import change, unpacked


# Too long for make check.
fault_case = case if FAULTS or LONG else lambda *_, **__: lambda function: function


def archived(db, ready=True, env=None, **config):
    """A daemon with an archive. `ready`: False: it is not to be healthy yet."""
    d = Daemon(config=merge(archive_config(db, task={"backoff_ms": 600000}), config), ready=ready, env=env, more_fds=4)
    wait_until(lambda: d.events("daemon_ready"), 20, "the daemon is ready")
    return d


def group(d):
    with d.connect() as r:
        for row in r.call("XINFO", "GROUPS", d.key("stream:events")) if r.call("EXISTS", d.key("stream:events")) else []:
            row = dict(zip([x.decode() for x in row[0::2]], row[1::2]))
            if row["name"] == b"archive":
                return row
    return None


def lag(d):
    """Events that are not archived: of Redis itself, so that nothing is believed that the worker says."""
    row = group(d)
    if not row or row["pending"]:
        return row and row["pending"]
    with d.connect() as r:  # Redis' own lag counts what was trimmed before it was read
        return len(r.call("XRANGE", d.key("stream:events"), b"(" + row["last-delivered-id"], "+", "COUNT", 1))


def wait_archived(d, timeout=20):
    wait_until(lambda: lag(d) == 0, timeout, lambda: f"all events are archived; the group: {group(d)}")


def migrate(db, *args, config=None):
    path = config or f"{procs.subfolder('m')}/c.yaml"
    if not config:
        with open(path, "w", encoding="utf-8") as f:
            f.write(yaml({"config_version": 1, "postgres": {"conninfo": db.conninfo}}))
    done = procs.run([procs.binary("claudebench"), "archive", *(args or ["migrate"]), "-c", path])
    return done.returncode, done.stdout.decode(), done.stderr.decode()


SHAPE = """
SELECT 'column', c.table_name, c.column_name, c.data_type, c.is_nullable, c.column_default FROM information_schema.columns c
WHERE c.table_schema = 'claudebench' AND c.table_name !~ '_[0-9]{4}_[0-9]{2}$'
UNION ALL SELECT 'index', tablename, indexdef, '', '', '' FROM pg_indexes WHERE schemaname = 'claudebench'
    AND tablename !~ '_[0-9]{4}_[0-9]{2}$'
UNION ALL SELECT 'function', p.proname, pg_get_functiondef(p.oid), '', '', '' FROM pg_proc p
    JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'claudebench'
UNION ALL SELECT 'view', viewname, definition, '', '', '' FROM pg_views WHERE schemaname = 'claudebench'
ORDER BY 1, 2, 3"""


@case("migrations: from every earlier version to the same schema, by several at once; each one is a whole or nothing")
def migrations():
    fresh = database()
    running = [procs.start([procs.binary("claudebench"), "archive", "migrate"],
                           env={"CLAUDEBENCH_CONFIG": config_of(fresh)}) for _ in range(3)]
    for p in running:
        equal(p.wait(30), 0, "each of three at once")
    shape = fresh.rows(SHAPE)
    versions = fresh.number("SELECT max(version) FROM claudebench.migration")
    equal(fresh.number("SELECT count(*) FROM claudebench.migration"), versions, "each was applied once")
    with open(os.path.join(procs.top_srcdir(), "man/claudebench-archive.7"), encoding="utf-8") as f:
        manual = f.read()
    for table in [r[0] for r in fresh.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'claudebench'")]:
        check(f".It Li {table}\n" in manual, f"{table} is in claudebench-archive(7)")
    code, out, _ = migrate(fresh, "status")
    equal((code, f"schema    {versions}\n" in out), (0, True), out)
    for version in range(versions):
        db = database()
        code, out, err = migrate(db, "migrate", "--to", str(version))
        equal(code, 0, err)
        equal(migrate(db, "status")[0], 1, f"status at version {version}")
        if version:
            db.psql("SELECT claudebench.make_month('task', now()); INSERT INTO claudebench.task (generation, id, created_at, version,"
                    " state, updated_at) VALUES ('g', 't-1', now(), 1, 'pending', now())")
        equal(migrate(db)[0], 0)
        equal(db.rows(SHAPE), shape, f"from version {version}")
        equal(db.number("SELECT count(*) FROM claudebench.task"), int(version > 0), "rows stay")
    fresh.psql("INSERT INTO claudebench.migration (version, name, program) VALUES (999, 'of tomorrow', 'x')")
    code, out, _ = migrate(fresh)
    equal((code, "newer than" in out), (0, True), "a newer schema is left alone")
    broken = database()
    broken.psql("CREATE SCHEMA claudebench; CREATE TABLE claudebench.attempt (x int)")
    code, out, err = migrate(broken)
    check(code != 0 and "001_tables" in err, f"{code} {err}")
    equal(broken.number("SELECT count(to_regclass('claudebench.task'))"), 0, "nothing of a migration that fails stays")


def config_of(db):
    path = f"{procs.subfolder('m')}/c.yaml"
    with open(path, "w", encoding="utf-8") as f:
        f.write(yaml({"config_version": 1, "postgres": {"conninfo": db.conninfo}}))
    return path


COLUMNS = {"status": "state", "text": "text", "priority": "priority", "queue": "queue", "attempt": "attempt",
           "maxAttempts": "max_attempts", "version": "version", "unique_key": "unique_key", "dead_reason": "dead_reason",
           "partition": "partition", "schedule": "schedule", "assignedTo": "worker"}
JSONS = {"payload": "payload", "metadata": "metadata", "result": "result", "error": "error"}
TIMES = {"updatedAt": "updated_at", "completedAt": "ended_at", "endedAt": "ended_at", "scheduledFor": "scheduled_for"}
ISO = "to_char({}, 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"


def compare(task, raw, row, attempts):
    """A row says what task.get says; `raw`: the reply as it came."""
    for name, value in row.items():
        if name == "completedAt" and "endedAt" in task or name == "endedAt" and "completedAt" in task:
            continue
        if name == "assignedTo" and name not in task:
            continue  # the row keeps who completed it
        if name in JSONS and name in task:
            check(f'"{name}":{value}'.encode() in raw, f"{name}: {value} as it came, in {raw!r}")
            continue
        wanted = task.get(name)
        equal(value, "" if wanted is None else str(wanted), f"{name} of {task['id']}")
    equal(attempts, [[str(a["attempt"]), a["worker"], a["startedAt"], a["endedAt"], a["outcome"]] for a in task.get("attempts", [])],
          f"attempts of {task['id']}")


def compare_all(d, db, ids):
    """Each task has one row, and its ended attempts have one each, and they say what task.get says."""
    columns = {**COLUMNS, **JSONS, **{k: ISO.format(v) for k, v in TIMES.items()}}
    rows = db.rows(f"SELECT id, {', '.join(columns.values())} FROM claudebench.task")
    equal(len(rows), len({r[0] for r in rows}), "one row a task")
    tasks = {r[0]: dict(zip(columns, r[1:])) for r in rows}
    attempts = {}
    for r in db.rows(f"SELECT task_id, attempt, worker, {ISO.format('started_at')}, {ISO.format('ended_at')}, outcome FROM"
                     " claudebench.attempt WHERE outcome NOT IN ('running', 'released') ORDER BY ended_at"):
        attempts.setdefault(r[0], []).append(r[1:])
    c = d.caller()
    for task_id in ids:
        reply = c.ask("task.get", {"id": task_id})
        check(task_id in tasks, f"{task_id} has a row")
        compare(reply.result, reply.raw, tasks[task_id], attempts.get(task_id, []))


def make_life(d):
    """Tasks in all states and with all that one may have. Returns their ids."""
    c = d.caller()
    big = {"n": 9007199254740993, "empty": [], "nul": "\u0000", "text": "žluťoučký \U0001f40e"}
    ids = [c.call("task.create", {"text": f"task {i} of the first queue", "payload": big, "metadata": {"i": i}, "priority": 40 + i,
                                  "unique_key": f"k{i}{token(4)}"})["id"] for i in range(6)]
    got = c.call("task.claim", {"workerId": "w1", "maxTasks": 5})["tasks"]
    done = [t["id"] for t in got]
    c.call("task.complete", {"id": done[0], "lease_token": got[0]["lease_token"], "result": {"list": [], "n": 12345678901234567890}})
    c.call("task.fail", {"id": done[1], "lease_token": got[1]["lease_token"], "error": "no\tgood"})
    c.call("task.fail", {"id": done[2], "lease_token": got[2]["lease_token"], "error": "never", "retry": False})
    c.call("task.release", {"id": done[3], "lease_token": got[3]["lease_token"]})
    c.call("task.cancel", {"id": ids[0]})
    ids += c.call("task.create_batch", {"tasks": [{"text": f"other {i}", "queue": "other", "roles": ["a", "b"]} for i in range(3)]})["ids"]
    ids.append(c.call("task.create", {"text": "waits", "after": [ids[-1]], "on_dependency_failure": "block", "partition": "p1"})["id"])
    ids.append(c.call("task.create", {"text": "later", "delay_ms": 3600000, "lease_ms": 5000, "backoff_ms": 70})["id"])
    c.call("task.update", {"id": ids[-1], "updates": {"text": "later, and \"renamed\"", "priority": 99}})
    gone = c.call("task.create", {"text": "gone"})["id"]
    c.call("task.delete", {"id": gone})
    return ids, gone


def look_at_audit(d, db):
    c = d.caller()
    for i in range(5):
        c.call("hook.pre_tool", {"tool": "Bash", "params": {"command": f"rm -rf / {i}"}})
    wait_until(lambda: db.number("SELECT count(*) FROM claudebench.audit_record") == 5, 15, "five records")
    equal(db.rows("SELECT DISTINCT tool, decision FROM claudebench.audit_record"), [["Bash", "deny"]])
    equal(db.number("SELECT count(*) FROM claudebench.refused_call"), 5)
    with d.connect() as r:
        stream = [e[1] for e in r.call("XRANGE", d.key("stream:audit"), "-", "+")]
    equal(sorted(row[0].encode() for row in db.rows("SELECT data FROM claudebench.audit_record")),
          sorted(dict(zip(e[0::2], e[1::2]))[b"data"] for e in stream), "records, by the byte")


def look_at_release(d, db):
    """An attempt that leaves no trace in the task."""
    c = d.caller()
    task = c.call("task.create", {"text": "released", "queue": "r"})["id"]
    lease = c.call("task.claim", {"workerId": "w9", "queue": "r"})["tasks"][0]["lease_token"]
    wait_archived(d)
    sql = f"SELECT worker, outcome, ended_at IS NOT NULL FROM claudebench.attempt WHERE task_id = '{task}' ORDER BY started_at"
    equal(db.rows(sql), [["w9", "running", "f"]])
    c.call("task.release", {"id": task, "lease_token": lease})
    c.call("task.claim", {"workerId": "w8", "queue": "r"})
    wait_archived(d)
    equal(db.rows(sql), [["w9", "released", "t"], ["w8", "running", "f"]])


def look_at_deleted(d, db):
    """Deleted is deleted: when a walk was there before the event, and when another worker's older view of it comes behind."""
    c = d.caller()
    task = c.call("task.create", {"text": "deleted", "queue": "unclaimed"})["id"]
    wait_archived(d)
    with d.connect() as r:
        before = r.call("HGETALL", d.key(f"task:{task}"))
        db.psql(f"UPDATE claudebench.task SET gone_at = now(), gone_reason = 'lost' WHERE id = '{task}'")
        c.call("task.delete", {"id": task})
        wait_archived(d)
        sql = f"SELECT gone_reason, gone_at = updated_at, version FROM claudebench.task WHERE id = '{task}'"
        equal(db.rows(sql), [["deleted", "t", "1"]])
        r.call("HSET", d.key(f"task:{task}"), *before)
        change(r, d.key(f"task:{task}"), v=2)
        r.call("XADD", d.key("stream:events"), "*", "type", "task.updated", "id", task)
        wait_archived(d)
        equal(db.rows(sql), [["deleted", "t", "2"]])
        r.call("DEL", d.key(f"task:{task}"))


def look_at_ended(d, db):
    """An end that an event told of a task that Redis has no more stays one, when another worker's older view of it comes behind."""
    c = d.caller()
    for end, state, dead, is_known in (({"type": "task.completed", "worker": "w7"}, "completed", "f", True),
                                       ({"type": "task.cancelled"}, "cancelled", "f", False),
                                       ({"type": "task.failed", "dead": "1"}, "failed", "t", True)):
        task = c.call("task.create", {"text": "ended", "payload": {"n": 1}, "queue": "e"})["id"]
        if is_known:
            wait_archived(d)
        c.call("task.claim", {"workerId": "w7", "queue": "e"})
        # Whoever held it last is the worker, as far as that was seen, unless the event says who has completed it.
        worker = "worker = 'w7'" if state == "completed" else "true"
        sql = f"SELECT state, is_dead, ended_at IS NOT NULL, {worker}, version, text, payload FROM claudebench.task WHERE id = '{task}'"
        with d.connect() as r:
            key = d.key(f"task:{task}")
            before = r.call("HGETALL", key)
            fields = {before[i].decode(): before[i + 1] for i in range(0, len(before), 2)}
            r.call("DEL", key)
            r.call("XADD", d.key("stream:events"), "*", "id", task, *[w for pair in end.items() for w in pair])
            wait_archived(d)
            equal(db.rows(sql)[0][:4], [state, dead, "t", "t"], "by the event")
            told = db.rows(f"SELECT updated_at, ended_at FROM claudebench.task WHERE id = '{task}'")

            def view(**more):
                r.call("HSET", key, *before)
                change(r, key, v=7, **more)
                r.call("XADD", d.key("stream:events"), "*", "type", "task.updated", "id", task)
                wait_archived(d)

            view()
            equal(db.rows(sql), [[state, dead, "t", "t", "7", "ended", '{"n":1}']], "the older view tells what the event did not, and no more")
            equal(db.rows(f"SELECT updated_at, ended_at FROM claudebench.task WHERE id = '{task}'"), told)
            check(task not in [row[0] for row in db.rows("SELECT id FROM claudebench.open_task")], "not open")
            # What is newer counts: it was brought back.
            view(st="pending", up=int(unpacked(fields)["up"]) + 3600000)
            equal(db.rows(sql)[0][:3], ["pending", "f", "f"])
            r.call("DEL", key)


def look_at_schedules(d, db):
    """Older views of a schedule, which another worker has read, come behind its removal, its end and its new version in vain."""
    c = d.caller()
    c.call("schedule.add", {"id": "s3", "every_ms": 3600000, "template": {"text": "x"}})
    wait_archived(d)
    row = lambda columns: db.rows(f"SELECT {columns} FROM claudebench.schedule WHERE id = 's3'")[0]
    with d.connect() as r:
        older = r.call("HGET", d.key("schedules"), "s3")

        def view(record):
            r.call("HSET", d.key("schedules"), "s3", record)
            r.call("XADD", d.key("stream:events"), "*", "type", "schedule.fired", "schedule", "s3")
            wait_archived(d)

        db.psql("UPDATE claudebench.schedule SET status = 'ended' WHERE id = 's3'")
        view(older)
        equal(row("status"), ["ended"])
        c.call("schedule.pause", {"id": "s3"})
        wait_archived(d)
        newer = r.call("HGET", d.key("schedules"), "s3")
        view(older)
        equal(row("status"), ["paused"])
        view(newer)
        wait_until(lambda: time.time() * 1000 > int(float(row("extract(epoch FROM updated_at) * 1000")[0])) + 1, 5, "a later millisecond")
        c.call("schedule.remove", {"id": "s3"})
        wait_archived(d)
        db.psql("UPDATE claudebench.schedule SET version = version - 1 WHERE id = 's3'")  # as if that had been archived last
        view(newer)
        equal(row("removed_at IS NOT NULL"), ["t"])
        r.call("HDEL", d.key("schedules"), "s3")
    c.call("schedule.add", {"id": "s3", "every_ms": 3600000, "template": {"text": "again"}})
    wait_archived(d)
    equal(row("status, removed_at IS NULL"), ["active", "t"], "what is newer counts")
    c.call("schedule.remove", {"id": "s3"})


def look_at_refused(d, db):
    """Records that PostgreSQL does not take, of its encoding or too large for an index, and names of none, among good ones."""
    bad, large = [d.caller().call("task.create", {"text": "bad", "queue": "unclaimed"})["id"] for _ in range(2)]
    too_large = os.urandom(6000).hex()  # not to be compressed to what an index takes
    with d.connect() as r:
        r.call("HSET", d.key(f"task:{bad}"), "dr", b"\xff\xfe")
        change(r, d.key(f"task:{large}"), v=2, **{"le": 1, "as": 0, "hi": "", "ho": too_large})  # newer: it may be archived already
        audit = [r.call("XADD", d.key("stream:audit"), "*", "kind", "pre", "data", json.dumps({"session": session})).decode()
                 for session in ("one", too_large, "two")]
        r.call("XADD", d.key("stream:events"), "*", "type", "task.updated", "ids", f"{bad} {large} t-x t-99999999999999999999 nonsense")
    ids, _ = make_life(d)
    wait_archived(d)
    compare_all(d, db, ids)
    wait_until(lambda: db.number("SELECT count(*) FROM claudebench.audit_record WHERE session IN ('one', 'two')") == 2, 15, "the good ones")
    equal({e["id"] for e in d.events("archive_refused")}, {bad, large, audit[1]})


@case("tasks, attempts, instances, decisions, schedules, the audit trail: the rows say what Redis says, by the byte")
def life():
    db = database()
    with archived(db, domains={"hook": {"workers": 1}}) as d:
        c = d.caller()
        ids, gone = make_life(d)
        agent = c.call("system.register", {"id": "agent-1", "roles": ["voter"], "capacity": 3, "metadata": {"m": [1]}})
        c.call("system.quorum.vote", {"decision": "d1", "instanceId": "agent-1", "value": "go"})
        c.call("schedule.add", {"id": "s1", "every_ms": 3600000, "template": {"text": "hourly"}})
        c.call("schedule.add", {"id": "s2", "cron": "0 3 * * *", "template": {"text": "nightly"}})
        c.call("schedule.remove", {"id": "s2"})
        c.call("system.unregister", {"id": "agent-1", "incarnation": agent["incarnation"]})
        wait_archived(d)
        compare_all(d, db, ids)
        equal(db.rows(f"SELECT state, gone_reason FROM claudebench.task WHERE id = '{gone}'")[0][1], "deleted")
        equal(db.number("SELECT count(*) FROM claudebench.task"), len(ids) + 1)
        equal(db.rows("SELECT kind, state, capacity, roles, metadata, ended_at IS NOT NULL FROM claudebench.instance WHERE id = 'agent-1'"),
              [["agent", "offline", "3", '["voter"]', '{"m":[1]}', "t"]])
        equal(db.rows("SELECT status, role, electorate, votes, value FROM claudebench.decision"),
              [["decided", "voter", "{agent-1}", '{"agent-1":"go"}', '"go"']])
        equal(db.rows("SELECT id, status, removed_at IS NOT NULL, document->>'every_ms' FROM claudebench.schedule ORDER BY id")[0],
              ["s1", "active", "f", "3600000"])
        equal([r[0] for r in db.rows("SELECT id FROM claudebench.search('task first')")] != [], True, "text search")
        with open(os.path.join(procs.top_srcdir(), "man/claudebench-archive.7"), encoding="utf-8") as f:
            manual = f.read()
        for view in [r[0] for r in db.rows("SELECT viewname FROM pg_views WHERE schemaname = 'claudebench'")]:
            db.psql(f"SELECT * FROM claudebench.{view}")
            check(f".It Li {view}\n" in manual, f"{view} is in claudebench-archive(7)")
        everything = db.psql("SELECT t::text FROM claudebench.task t; SELECT t::text FROM claudebench.attempt t;"
                             "SELECT t::text FROM claudebench.instance t").stdout
        with d.connect() as r:
            for task_id in ids:
                for field in (b"tk", b"dtk"):
                    token_ = r.call("HGET", d.key(f"task:{task_id}"), field)
                    check(not token_ or token_.split(b"-", 1)[1] not in everything, "no lease token in the archive")
        health = c.call("system.health", {})
        equal(health["services"]["postgres"], "ok")
        metrics = c.call("system.metrics", {})["archive"]
        check(metrics["events"] >= 20 and metrics["workers"] == 1 and metrics["refused"] == 0, str(metrics))
        look_at_audit(d, db)
        look_at_release(d, db)
        look_at_deleted(d, db)
        look_at_ended(d, db)
        look_at_schedules(d, db)
        look_at_refused(d, db)


def snapshot(db):
    return {t: db.rows(f"SELECT t::text, xmin FROM claudebench.{t} t ORDER BY 1") for t in ("task", "attempt", "decision", "schedule")}


@case("everything delivered again, by death behind the commit and from the start: not one row is written again")
def redelivered():
    need_failpoints(procs.binary("claudebench-archive"))
    db = database()
    once = f"{procs.subfolder('f')}/once"
    with archived(db) as d:
        ids, _ = make_life(d)
        wait_archived(d)
        before = snapshot(db)
        with d.connect() as r:
            r.call("XGROUP", "SETID", d.key("stream:events"), "archive", "0")
        wait_archived(d)
        equal(snapshot(db), before, "rows, and the transactions that wrote them")
        d.stop()
    env = failpoints_env(f"archive.after_commit:kill:nth=3:once={once}")
    with archived(db, env=env) as d:
        ids, _ = make_life(d)
        wait_archived(d)
        compare_all(d, db, ids)
        equal(len(d.events("child_died")), 1, "it died once, with events that it had not acknowledged")
        equal(db.rows("SELECT id, count(*) FROM claudebench.task GROUP BY 1 HAVING count(*) > 1"), [], "doubles")


@fault_case("PostgreSQL away from the start, and again under load: work goes on, health says so, and nothing is missing then")
def away():
    server = PrivatePostgres.shared()
    db = server.database()
    server.stop(signal.SIGINT)
    try:
        with archived(db, ready=False, archive={"lag_ms": 1000}) as d:
            ids, _ = make_life(d)
            c = d.caller()

            def is_down():
                h = c.call("system.health", {})
                return h["services"]["postgres"] == "down" and h["status"] == "degraded"

            wait_until(is_down, 10, "health: postgres is down")
            wait_until(lambda: c.call("system.metrics", {})["archive"]["waiting"] > 0, 10, "the lag is a metric")
            equal(d.client("status").returncode, 1)
            server.start()
            wait_archived(d)
            compare_all(d, db, ids)
            wait_until(lambda: c.call("system.health", {})["services"]["postgres"] == "ok", 10, "health: ok")
            check(d.events("archive_waiting") and d.events("archive_connected"), "both are in the log")
    finally:
        if not server.process:
            server.start()


@case("a gap: what events cannot tell any more is read from Redis, what is gone is marked, and the log says so")
def gap():
    server = PrivatePostgres.shared()
    db = server.database()
    with archived(db) as d:
        c = d.caller()
        ids, _ = make_life(d)
        lost = c.call("task.create", {"text": "its end is not seen"})["id"]
        wait_archived(d)
        wait_until(lambda: d.events("archive_walked"), 10, "what there was at the start was read")
        server.stop(signal.SIGINT)
        try:
            more, _ = make_life(d)
            c.call("task.delete", {"id": lost})
            with d.connect() as r:
                r.call("XTRIM", d.key("stream:events"), "MAXLEN", 0)
        finally:
            server.start()
        last = c.call("task.create", {"text": "behind the gap"})["id"]
        wait_until(lambda: len(d.events("archive_walked")) >= 2, 20, "all was read again")
        wait_archived(d)
        check(d.events("archive_gap") or len(d.events("archive_walk_started")) >= 2, "it is in the log")
        compare_all(d, db, [*ids, *more, last])
        equal(db.rows(f"SELECT gone_reason, ended_at IS NULL FROM claudebench.task WHERE id = '{lost}'"), [["lost", "t"]])
        equal(db.number(f"SELECT count(*) FROM claudebench.open_task WHERE id = '{lost}'"), 0)


@fault_case("what a registered archive has not had stays in the stream beyond events.maxlen; then the leader trims it")
def kept():
    server = PrivatePostgres.shared()
    db = server.database()
    with archived(db, events={"maxlen": 1000}) as d:
        wait_archived(d)
        server.stop(signal.SIGINT)
        try:
            c = d.caller()
            for _ in range(30):
                c.call("task.create_batch", {"tasks": [{"text": "x"}] * 100})
            with d.connect() as r:
                for _ in range(25):
                    r.pipeline([("XADD", d.key("stream:events"), "*", "type", "other.kind")] * 100)
                equal(r.call("XLEN", d.key("stream:events")) > 2500, True, "nothing is trimmed")
        finally:
            server.start()
        wait_archived(d)
        equal(db.number("SELECT count(*) FROM claudebench.task"), 3000)
        with d.connect() as r:
            wait_until(lambda: r.call("XLEN", d.key("stream:events")) <= 1100, 15, "the leader has trimmed it")


@case("thousands of events at a time: the archive keeps up, and every task and attempt is there")
def rate():
    db = database()
    n = 2500
    with archived(db) as d:
        flood(d, creations(n))
        flood(d, completions(d, n))
        began = time.monotonic()
        wait_archived(d)
        note(f"{2 * n} events, and the last of them {time.monotonic() - began:.2f} s after they were made")
        equal(db.number("SELECT count(*) FROM claudebench.task WHERE state = 'completed'"), n)
        equal(db.number("SELECT count(*) FROM claudebench.attempt WHERE outcome = 'completed'"), n)


@fault_case("a database that is set back is filled again; other data in Redis are another generation, beside what was")
def other_data():
    db = database()
    with archived(db) as d:
        ids, _ = make_life(d)
        wait_archived(d)
        wait_until(lambda: d.events("archive_walked"), 10, "what there was at the start was read")
        db.psql("DELETE FROM claudebench.task; DELETE FROM claudebench.attempt;"
                "UPDATE claudebench.generation SET events_upto = '1-1';"
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'claudebench'")
        wait_until(lambda: len(d.events("archive_walked")) >= 2, 20, "all was read again")
        compare_all(d, db, ids)
        before = db.number("SELECT count(*) FROM claudebench.task")
        was_open = db.number("SELECT count(*) FROM claudebench.open_task")
        with d.connect() as r:  # all is lost, under a daemon that runs
            r.call("DEL", *r.call("SCAN", 0, "COUNT", 100000)[1])
        wait_until(lambda: len(d.events("archive_walked")) >= 3, 30, "what is there now was read")
        # What was open then stays so in its generation: `claudebench archive restore` brings it back. Now, nothing is.
        now = d.status()["data"]["generation"]
        equal(db.number(f"SELECT count(*) FROM claudebench.open_task WHERE generation = '{now}'"), 0, "nothing is open in the data of now")
        equal(db.number(f"SELECT count(*) FROM claudebench.open_task WHERE generation <> '{now}'"), was_open, "what was open is still known")
        equal(db.number("SELECT count(*) FROM claudebench.task"), before, "and nothing is forgotten")
    with archived(db) as d:
        ids, _ = make_life(d)
        wait_archived(d)
        compare_all(d, db, ids)
        equal(db.number("SELECT count(DISTINCT generation) FROM claudebench.task"), 2)
        equal(db.number("SELECT count(*) FROM claudebench.task"), before + len(ids) + 1)


@case("retention: what has ended and is old goes, by month or by row; what is open stays")
def retention():
    db = database()
    equal(migrate(db)[0], 0)
    db.psql("SELECT claudebench.make_month('task', m), claudebench.make_month('attempt', m), claudebench.make_month('audit_record', m)"
            " FROM generate_series(now() - interval '13 months', now(), interval '1 month') m")
    db.psql("INSERT INTO claudebench.task (generation, id, created_at, version, state, updated_at, ended_at)"
            " SELECT 'g', 't-' || i, now() - i * interval '30 days', 1, CASE WHEN i = 12 THEN 'pending' ELSE 'completed' END,"
            " now() - i * interval '30 days', CASE WHEN i <> 12 THEN now() - i * interval '30 days' END FROM generate_series(0, 12) i;"
            "INSERT INTO claudebench.attempt (generation, task_id, started_at, attempt, outcome)"
            " SELECT 'g', 't-' || i, now() - i * interval '30 days', 1, 'running' FROM generate_series(0, 12) i")
    db.psql("DO $$ BEGIN WHILE claudebench.expire(now() - interval '100 days', 1) <> 0 LOOP END LOOP; END $$")
    equal(sorted(r[0] for r in db.rows("SELECT id FROM claudebench.task")), ["t-0", "t-1", "t-12", "t-2", "t-3"])
    equal(sorted(r[0] for r in db.rows("SELECT task_id FROM claudebench.attempt")), ["t-0", "t-1", "t-2", "t-3"])
    left = [r[0] for r in db.rows("SELECT relname FROM pg_class WHERE relname ~ '^attempt_[0-9_]+$' AND relkind = 'r'")]
    check(len(left) <= 5, f"old months are dropped: {left}")


@case("no password in a log, whatever is wrong with it")
def secrets():
    folder = procs.subfolder("s")
    with open(f"{folder}/service", "w", encoding="ascii") as f:
        f.write("[archive]\nhost=/nowhere\nuser=me\npassword=verysecret\ndbname=x\n")
    with Daemon(config={"postgres": {"conninfo": "service=archive"}, "log": {"level": "debug"}},
                env={"PGSERVICEFILE": f"{folder}/service"}, ready=False) as d:
        wait_until(lambda: d.events("archive_waiting"), 15, "it says that it waits")
        check("verysecret" not in d.log(), d.log_tail())
        status = d.client("archive", "status", env={"PGSERVICEFILE": f"{folder}/service"})
        equal(status.returncode, 69)
        check(b"verysecret" not in status.stderr + status.stdout, status.stderr)


main()

#!/usr/bin/env python3
"""archive_outbox.py: what users of PostgreSQL insert into claudebench.outbox becomes a task once their transaction is committed: each row
once, whatever dies in between and however long that takes."""

import time
import signal

from cbtest import *
from privpg import PrivatePostgres


def database():
    return PrivatePostgres.shared().database()


def served(db, env=None, **config):
    d = Daemon(config=merge({"postgres": {"conninfo": db.conninfo, "timeout_ms": 5000}, "domains": {"hook": {"workers": 0}}}, config),
               env=env)
    wait_until(lambda: d.events("archive_outbox"), 20, "somebody serves the outbox")
    return d


def wait_done(db, n, timeout=30):
    wait_until(lambda: db.number("SELECT count(*) FROM claudebench.outbox WHERE done_at IS NOT NULL") == n, timeout, f"{n} rows are done")


def tasks_of(d):
    """Of Redis itself, by the list of all pending tasks."""
    with d.connect() as r:
        return [t.decode() for t in r.call("ZRANGE", d.key("queue:tasks:pending"), 0, -1)]


def marks(d):
    with d.connect() as r:
        return set(r.call("HKEYS", d.key("outbox"))) - {b"keeper"}


def equal_once(d, db, n):
    """Each of n rows has a task of its own, and there is no other task."""
    rows = [r[0] for r in db.rows("SELECT task_id FROM claudebench.outbox WHERE error IS NULL")]
    equal((len(rows), len(set(rows))), (n, n))
    equal(sorted(rows), sorted(tasks_of(d)), "the tasks of the rows are all that there are")
    wait_until(lambda: not marks(d), 10, "no mark is left")


@case("a row is a task when it is committed, with all that task.create takes; a rollback is none; what is wrong is said in the row")
def life():
    db = database()
    with served(db) as d:
        started = time.monotonic()
        db.psql("BEGIN; SELECT claudebench.enqueue('{\"text\": \"never\"}'); ROLLBACK")
        db.psql("BEGIN; INSERT INTO claudebench.outbox (task) VALUES"
                " ('{\"text\": \"send the bill\", \"payload\": {\"n\": 9007199254740993, \"e\": [ ]}, \"priority\": 77, \"unique_key\": \"k\"}'),"
                " ('{\"text\": \"the same\", \"unique_key\": \"k\"}'), ('{\"text\": \"later\", \"delay_ms\": 3600000}'),"
                " ('{\"txet\": \"x\"}'), ('{\"text\": \"x\", \"text\": \"y\"}'), ('{\"text\": \"waits\", \"after\": [\"t-404\"]}'),"
                " ('{\"text\": \"both\", \"delay_ms\": 1, \"run_at\": \"2030-01-01T00:00:00Z\"}');"
                "SELECT claudebench.enqueue('{\"text\": \"elsewhere\"}', 'other'); COMMIT")
        wait_done(db, 7)
        check(time.monotonic() - started < 15, "by the notification")
        rows = db.rows("SELECT task_id, error->>'code', error->>'message', taken_at IS NULL FROM claudebench.outbox WHERE prefix = 'cb' ORDER BY id")
        reply = d.caller().ask("task.get", {"id": rows[0][0]})
        check(b'"payload":{"n": 9007199254740993, "e": [ ]}' in reply.raw, reply.raw)
        equal((reply.result["priority"], reply.result["text"]), (77, "send the bill"))
        equal(rows[1][0], rows[0][0], "the live task with its unique key")
        equal(d.caller().call("task.get", {"id": rows[2][0]})["status"], "delayed")
        equal([(r[0], r[1]) for r in rows[3:]], [("", "-32602")] * 4)
        check("text" in rows[3][2] and "duplicate" in rows[4][2] and "after[0]" in rows[5][2], rows)
        equal(db.rows("SELECT prefix, waiting FROM claudebench.outbox_waiting"), [["other", "1"]])
        with d.connect() as r:
            created = [e for e in r.call("XRANGE", d.key("stream:events"), "-", "+") if b"task.created" in e[1]]
        equal(len(created), 2, "an event each")


@case("a full queue keeps its own rows waiting, no others; they become tasks when there is room")
def full():
    db = database()
    with served(db, task={"max_pending": 5}) as d:
        db.psql("SELECT claudebench.enqueue(json_build_object('text', 'x' || i)) FROM generate_series(1, 130) i;"
                "SELECT claudebench.enqueue('{\"text\": \"y\", \"queue\": \"other\"}')")
        wait_done(db, 6)
        equal(db.number("SELECT count(*) FROM claudebench.outbox WHERE task->>'queue' = 'other' AND task_id IS NOT NULL"), 1)
        c = d.caller()
        for task in c.call("task.claim", {"workerId": "w", "maxTasks": 5})["tasks"]:
            c.call("task.complete", {"id": task["id"], "lease_token": task["lease_token"]})
        wait_done(db, 11)


def many(env=None, hosts=1, between=None):
    db = database()
    with served(db, env=env, domains={"archive": {"workers": 2}}) as d:
        for i in range(10):
            db.psql("SELECT claudebench.enqueue(json_build_object('text', 'x' || i)) FROM generate_series(1, 100) i")
            if between and i == 5:
                between(db)
        wait_done(db, 1000)
        equal_once(d, db, 1000)
        return len(d.events("child_died"))


@case("1000 rows are 1000 tasks: with two workers, and PostgreSQL killed in between")
def restart():
    server = PrivatePostgres.shared()

    def kill(_):
        server.kill()
        server.start()

    many(between=kill)


@case("a worker that is killed at each step leaves nothing undone and does nothing twice")
def killed():
    need_failpoints(procs.binary("claudebench-archive"))
    for point in ("before_create", "after_create", "after_done"):
        once = f"{procs.subfolder('f')}/once"
        equal(many(env=failpoints_env(f"outbox.{point}:kill:nth=4:once={once}")), 1, point)


@case("a mark outlives everything: the row's outcome is lost, and a month later it is the same task")
def late():
    db = database()
    with served(db) as d:
        db.psql("SELECT claudebench.enqueue('{\"text\": \"x\"}')")
        wait_done(db, 1)
        task = db.value("SELECT task_id FROM claudebench.outbox")
        wait_until(lambda: not marks(d), 10, "the mark is gone")
        with d.connect() as r:
            r.call("HSET", d.key("outbox"), "1", task, "77", "t-1")  # of the second one PostgreSQL has no row any more
        db.psql("UPDATE claudebench.outbox SET done_at = NULL, task_id = NULL;"
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()")
        wait_done(db, 1)
        equal_once(d, db, 1)
        equal(db.value("SELECT task_id FROM claudebench.outbox"), task)


@case("a keeper that has lost its lock without knowing does nothing with the rows in its hand")
def fenced():
    db = database()
    with served(db) as d:
        with d.connect() as r:
            r.call("HSET", d.key("outbox"), "keeper", "99")
        db.psql("SELECT claudebench.enqueue('{\"text\": \"x\"}')")
        wait_done(db, 1)
        with d.connect() as r:
            check(int(r.call("HGET", d.key("outbox"), "keeper")) > 99, "it has drawn a number again")
        equal_once(d, db, 1)


main()

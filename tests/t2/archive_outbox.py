#!/usr/bin/env python3
"""archive_outbox.py: what users of PostgreSQL insert into claudebench.outbox becomes a task once their transaction is committed: each row
once, whatever dies in between and however long that takes."""

import os
import time
import signal

from cbtest import *
from privpg import database, outbox_served, wait_outbox


@case("a row is a task when it is committed, with all that task.create takes; a rollback is none; what is wrong is said in the row")
def life():
    db = database()
    with outbox_served(db) as d:
        started = time.monotonic()
        db.psql("BEGIN; SELECT claudebench.enqueue('{\"text\": \"never\"}'); ROLLBACK")
        db.psql("BEGIN; INSERT INTO claudebench.outbox (task) VALUES"
                " ('{\"text\": \"send the bill\", \"payload\": {\"n\": 9007199254740993, \"e\": [ ]}, \"priority\": 77, \"unique_key\": \"k\"}'),"
                " ('{\"text\": \"the same\", \"unique_key\": \"k\"}'), ('{\"text\": \"later\", \"delay_ms\": 3600000}'),"
                " ('{\"txet\": \"x\"}'), ('{\"text\": \"x\", \"text\": \"y\"}'), ('{\"text\": \"waits\", \"after\": [\"t-404\"]}'),"
                " ('{\"text\": \"both\", \"delay_ms\": 1, \"run_at\": \"2030-01-01T00:00:00Z\"}');"
                "SELECT claudebench.enqueue('{\"text\": \"elsewhere\"}', 'other'); COMMIT")
        wait_outbox(db, 7)
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


@case("a user with the rights that the manual names may enqueue, and neither see tasks nor say that a row is done")
def rights():
    db = database()
    with outbox_served(db) as d:
        with open(os.path.join(procs.top_srcdir(), "man/claudebench-archive.7"), encoding="utf-8") as f:
            grants = [line for line in f.read().splitlines() if line.startswith("GRANT ")]
        equal(len(grants), 2)
        db.psql("CREATE ROLE shop;" + "".join(grants))
        for sql in ("SELECT claudebench.enqueue('{\"text\": \"a\"}')", "INSERT INTO claudebench.outbox (task) VALUES ('{\"text\": \"b\"}')"):
            db.psql(f"SET ROLE shop; {sql}")
        for sql in ("SELECT task FROM claudebench.outbox", "SELECT id FROM claudebench.task", "UPDATE claudebench.outbox SET done_at = NULL",
                    "INSERT INTO claudebench.outbox (task, done_at) VALUES ('{\"text\": \"c\"}', now())"):
            check(b"permission denied" in db.psql(f"SET ROLE shop; {sql}", check=False).stderr, sql)
        wait_outbox(db, 2)
        equal(len(d.caller().call("task.list", {})["tasks"]), 2)


@case("a full queue keeps its own rows waiting, no others; they become tasks when there is room")
def full():
    db = database()
    with outbox_served(db, task={"max_pending": 5}) as d:
        db.psql("SELECT claudebench.enqueue(json_build_object('text', 'x' || i)) FROM generate_series(1, 130) i;"
                "SELECT claudebench.enqueue('{\"text\": \"y\", \"queue\": \"other\"}')")
        wait_outbox(db, 6)
        equal(db.number("SELECT count(*) FROM claudebench.outbox WHERE task->>'queue' = 'other' AND task_id IS NOT NULL"), 1)
        c = d.caller()
        for task in c.call("task.claim", {"workerId": "w", "maxTasks": 5})["tasks"]:
            c.call("task.complete", {"id": task["id"], "lease_token": task["lease_token"]})
        wait_outbox(db, 11)


main()

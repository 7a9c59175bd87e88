#!/usr/bin/env python3
"""archive_outbox.py: each of 1000 rows of claudebench.outbox is one task, whatever dies in between. (t2/archive_outbox.py has the rest.)"""

from cbtest import *
from privpg import PrivatePostgres, database, outbox_served, wait_outbox


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


def is_archived(d, db):
    """What is said to be archived is the last event, though of two workers the one with earlier events may commit later."""
    with d.connect() as r:
        info = r.call("XINFO", "STREAM", d.key("stream:events"))
    last = dict(zip(info[0::2], info[1::2]))[b"last-generated-id"].decode()
    return db.value("SELECT events_upto FROM claudebench.generation") == last


def many(env=None, between=None):
    db = database()
    with outbox_served(db, env=env, domains={"archive": {"workers": 2}}) as d:
        for i in range(10):
            db.psql("SELECT claudebench.enqueue(json_build_object('text', 'x' || i)) FROM generate_series(1, 100) i")
            if between and i == 5:
                between(db)
        wait_outbox(db, 1000)
        equal_once(d, db, 1000)
        wait_until(lambda: is_archived(d, db), 20, "the archive says that it has the last event")
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
    with outbox_served(db) as d:
        db.psql("SELECT claudebench.enqueue('{\"text\": \"x\"}')")
        wait_outbox(db, 1)
        task = db.value("SELECT task_id FROM claudebench.outbox")
        wait_until(lambda: not marks(d), 10, "the mark is gone")
        with d.connect() as r:
            r.call("HSET", d.key("outbox"), "1", task, "77", "t-1")  # of the second one PostgreSQL has no row any more
        db.psql("UPDATE claudebench.outbox SET done_at = NULL, task_id = NULL;"
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()")
        wait_outbox(db, 1)
        equal_once(d, db, 1)
        equal(db.value("SELECT task_id FROM claudebench.outbox"), task)


@case("a keeper that has lost its lock without knowing does nothing with the rows in its hand")
def fenced():
    db = database()
    with outbox_served(db) as d:
        with d.connect() as r:
            r.call("HSET", d.key("outbox"), "keeper", "99", "no row", "t-1")  # and somebody has written to it by hand
        db.psql("SELECT claudebench.enqueue('{\"text\": \"x\"}')")
        wait_outbox(db, 1)
        with d.connect() as r:
            check(int(r.call("HGET", d.key("outbox"), "keeper")) > 99, "it has drawn a number again")
            equal(r.call("HDEL", d.key("outbox"), "no row"), 1)
        equal_once(d, db, 1)


main()

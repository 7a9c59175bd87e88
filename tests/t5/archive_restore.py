#!/usr/bin/env python3
"""archive_restore.py: Redis is killed with its files while tasks are made and done; claudebench archive restore puts into an empty one what was
open: nothing that was archived is lost, nothing that was completed is open again, and ids, versions and dependencies go on."""

import threading

from cbtest import *
from privpg import archive_config, database


def lag(d):
    with d.connect() as r:
        for row in r.call("XINFO", "GROUPS", d.key("stream:events")) if r.call("EXISTS", d.key("stream:events")) else []:
            row = dict(zip([x.decode() for x in row[0::2]], row[1::2]))
            if row["name"] == b"archive":
                return row["pending"] + (row["lag"] or 0)
    return None


class Doomed(Daemon):
    """One whose host dies, with the files of Redis: nothing is looked at when it ends."""

    def __exit__(self, kind, problem, _):
        self.stop(check=False)


def end(d, db):
    d.kill_tree()
    d.stop(check=False)
    # What the archive had sent last is still carried out by PostgreSQL.
    wait_until(lambda: db.number("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'claudebench'") == 0, 10, "no more of it")


def open_of(db):
    return {r[0]: r[1] for r in db.rows("SELECT id, version FROM claudebench.open_task WHERE version > 0")}


def restored(d):
    done = d.client("archive", "restore")
    equal(done.returncode, 0, done.stderr.decode())
    return done.stdout.decode()


@case("all kinds of open tasks come back as they were; what ended meanwhile has its effect; schedules; the archive goes on")
def kinds():
    db = database()
    with Doomed(config=archive_config(db)) as d:
        c = d.caller()

        def add(**params):
            return c.call("task.create", {"text": "x", **params})["id"]

        big = {"n": 9007199254740993, "e": [], "pad": "y" * 600}
        plain = add(text="žluť \"q\"", payload=big, metadata={"m": 1}, priority=77, queue="q", roles=["a", "b"], max_attempts=2)
        keyed = add(unique_key="k", partition="p1", backoff_ms=70, lease_ms=5000)
        later = add(delay_ms=3600000)
        held = add(queue="held")
        first, second, third = add(queue="deps"), add(queue="deps"), add(queue="deps")
        waits = add(after=[first, later], on_dependency_failure="ignore")
        freed, doomed = add(after=[second]), add(after=[third])
        done = add(queue="done")
        c.call("task.claim", {"workerId": "w", "queue": "held"})
        c.call("schedule.add", {"id": "s1", "cron": "0 3 * * *", "template": {"text": "nightly"}})
        c.call("schedule.add", {"id": "s2", "every_ms": 3600000, "paused": True, "template": {"text": "hourly"}})
        got = c.call("task.claim", {"workerId": "w", "queue": "done"})["tasks"][0]
        c.call("task.complete", {"id": done, "lease_token": got["lease_token"]})
        wait_until(lambda: lag(d) == 0, 20, "all is archived")
        with d.connect() as r:
            last = int(r.call("HGET", d.key("meta"), "last_number"))
            generation = r.call("HGET", d.key("meta"), "generation").decode()
        before = {i: c.call("task.get", {"id": i}) for i in (plain, keyed, later, held, waits)}
        equal(d.client("archive", "restore").returncode, 66, "there is no other generation")
        end(d, db)
    # Their ends were archived, and what they meant to others was not.
    db.psql(f"UPDATE claudebench.task SET state = 'completed', ended_at = now() WHERE id = '{second}';"
            f"UPDATE claudebench.task SET state = 'cancelled', ended_at = now() WHERE id = '{third}'")
    with Daemon(config=archive_config(db)) as d:
        c = d.caller()
        extra = c.call("task.create", {"text": "in the way"})["id"]
        refused = d.client("archive", "restore")
        equal((refused.returncode, b"there are tasks in it" in refused.stderr), (73, True), refused.stderr)
        c.call("task.delete", {"id": extra})
        check(" tasks and 2 schedules" in restored(d), "all of it")
        with d.connect() as r:
            equal(r.call("HGET", d.key("meta"), "generation").decode(), generation, "its rows are those of the same tasks")
            check(int(r.call("HGET", d.key("meta"), "last_number")) >= last, "no number twice")
        for i, was in before.items():
            now = c.call("task.get", {"id": i})
            for member in ("text", "queue", "priority", "payload", "metadata", "roles", "maxAttempts", "unique_key", "partition",
                           "next_run_at", "createdAt", "waiting_for"):
                equal(now.get(member), was.get(member), f"{member} of {was}")
            check(now["version"] > was["version"], "a new version")
        now = c.call("task.get", {"id": held})
        equal((now["status"], now["attempt"]), ("pending", 0), "nobody holds it, and its attempt is not charged")
        equal(c.call("task.create", {"text": "y", "unique_key": "k"})["id"], keyed)
        wait_until(lambda: c.call("task.get", {"id": freed})["status"] == "pending", 10, "what it waited for was completed")
        wait_until(lambda: c.call("task.get", {"id": doomed})["status"] == "failed", 10, "…and cancelled")
        got = c.call("task.claim", {"workerId": "w", "queue": "deps"})["tasks"][0]
        equal(got["id"], first)
        c.call("task.complete", {"id": first, "lease_token": got["lease_token"]})
        c.call("task.cancel", {"id": later})
        wait_until(lambda: c.call("task.get", {"id": waits})["status"] == "pending", 10, "dependencies go on")
        schedules = {s["id"]: s for s in c.call("schedule.list", {})["schedules"]}
        equal({i: s["status"] for i, s in schedules.items()}, {"s1": "active", "s2": "paused"})
        wait_until(lambda: db.number(f"SELECT count(*) FROM claudebench.task WHERE id = '{first}' AND generation = '{generation}'"
                                     " AND state = 'completed'"), 20, "the archive goes on in the same rows")
        equal(db.number(f"SELECT count(*) FROM claudebench.task WHERE gone_reason = 'lost' AND generation = '{generation}'"), 0)
        equal(d.client("doctor").returncode, 0, d.client("doctor").stdout)
        equal(d.client("archive", "restore").returncode, 73, "it is not empty any more")


@case("large tasks come back in calls of a few MiB, byte by byte")
def large():
    need_failpoints(procs.binary("claudebench-archive"))
    db = database()
    payload = {"pad": "y" * 250000}
    with Doomed(config=archive_config(db)) as d:
        c = d.caller()
        ids = {c.call("task.create", {"text": str(i), "payload": {**payload, "i": i}})["id"]: i for i in range(40)}
        wait_until(lambda: lag(d) == 0, 30, "all is archived")
        end(d, db)
    with Daemon(config=archive_config(db)) as d:
        died = d.client("archive", "restore", env=failpoints_env("restore.page:kill:nth=4"))
        check(died.returncode != 0, "10 MB are more than three calls, though they are fewer than 200 tasks")
        said = restored(d)
        check("restored " in said and " tasks were there" in said, said)
        c = d.caller()
        for i, n in ids.items():
            equal(c.call("task.get", {"id": i})["payload"], {**payload, "i": n})


@case("Redis dies with its files under load, the restore dies in its middle: what was archived as open is back, once, and nothing else")
def under_load():
    need_failpoints(procs.binary("claudebench-archive"))
    db = database()
    stop, completed = threading.Event(), []
    with Doomed(config=archive_config(db)) as d:

        def load():
            c = d.caller()
            try:
                while not stop.is_set():
                    c.call("task.create_batch", {"tasks": [{"text": "x"}] * 40})
                    for t in c.call("task.claim", {"workerId": "w", "maxTasks": 20})["tasks"]:
                        c.call("task.complete", {"id": t["id"], "lease_token": t["lease_token"]})
                        completed.append(t["id"])
            except Exception:  # pylint: disable=broad-except
                pass  # the end of Redis

        worker = threading.Thread(target=load)
        worker.start()
        wait_until(lambda: d.events("archive_connected") and db.number("SELECT count(*) FROM claudebench.open_task") > 700, 60, "load")
        end(d, db)
        stop.set()
        worker.join()
    opened = open_of(db)
    finished = {r[0] for r in db.rows("SELECT id FROM claudebench.task WHERE ended_at IS NOT NULL")}
    with Daemon(config=archive_config(db)) as d:
        for nth in (1, 3):
            died = d.client("archive", "restore", env=failpoints_env(f"restore.page:kill:nth={nth}"))
            check(died.returncode != 0, "it was killed")
            equal(d.caller().call("task.claim", {"workerId": "w", "maxTasks": 9})["tasks"], [], "nothing is claimed until it ends")
        check("tasks were there" in restored(d), "it went on where it was")
        c, back = d.caller(), set()
        while True:
            got = c.call("task.claim", {"workerId": "w", "maxTasks": 100})["tasks"]
            if not got:
                break
            equal(back & {t["id"] for t in got}, set(), "once")
            back |= {t["id"] for t in got}
            for t in got:
                c.call("task.complete", {"id": t["id"], "lease_token": t["lease_token"]})
        equal((sorted(back - set(opened)), sorted(set(opened) - back)), ([], []), "what the archive had as open")
        equal(back & finished, set())
        check(len(set(completed) - back) >= len(finished & set(completed)), "what was archived as completed is not done again")
        equal(d.client("doctor").returncode, 0)


main()

#!/usr/bin/env python3
"""archive_query.py: claudebench archive query finds what is asked for, page by page, by the indexes, and says what is wrong."""

import json
import re

from cbtest import *
from privpg import PrivatePostgres

TASKS = 6000
STATES = ["completed", "pending", "failed", "cancelled"]


def config_of(conninfo):
    path = f"{procs.subfolder('q')}/c.yaml"
    with open(path, "w", encoding="utf-8") as f:
        f.write(yaml({"config_version": 1, "postgres": {"conninfo": conninfo, "connect_timeout_ms": 2000}}))
    return path


def run(config, *args):
    done = procs.run([procs.binary("claudebench"), "archive", *args, "-c", config])
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def query(*args, code=0):
    got, out, err = run(filled(), "query", *args)
    equal(got, code, err)
    return out, err


def page(*args):
    return json.loads(query("--json", *args)[0])


def ids(*args):
    return [t["id"] for t in page(*args)["tasks"]]


_config = None
_db = None


def filled():
    """A database with tasks of five months, in as many partitions: one each half hour, whose id is of that moment."""
    global _config, _db
    if _config:
        return _config
    _db = PrivatePostgres.shared().database()
    _config = config_of(_db.conninfo)
    equal(run(_config, "migrate")[0], 0)
    _db.psql(f"""
SELECT claudebench.make_month(t, m) FROM generate_series(timestamptz '2026-01-01', '2026-06-01', interval '1 month') m,
    unnest('{{task,attempt}}'::text[]) t;
INSERT INTO claudebench.generation (generation, prefix) VALUES ('g1', 'cb'), ('other', 'elsewhere');
INSERT INTO claudebench.task (generation, id, created_at, version, state, text, queue, worker, updated_at, ended_at, is_dead, attempt,
    max_attempts, payload, gone_at, gone_reason)
SELECT 'g1', 't-' || lpad(((extract(epoch FROM at) * 1000000)::bigint)::text, 16, '0'), at, 1,
    CASE WHEN i % 1000 = 7 THEN 'failed' WHEN i % 100 = 3 THEN 'pending' ELSE 'completed' END,
    'task number ' || i || CASE WHEN i = 4321 THEN ' of the broken build' ELSE '' END, 'q' || i % 50, 'w' || i % 200, at,
    CASE WHEN i % 100 <> 3 THEN at END, i % 1000 = 7, 1, 3, '{{"n": 9007199254740993,\n "e": []}}',
    CASE WHEN i = 103 THEN at END, CASE WHEN i = 103 THEN 'lost' END
FROM (SELECT i, timestamptz '2026-01-02' + i * interval '30 minutes' AS at FROM generate_series(1, {TASKS}) i) s;
INSERT INTO claudebench.attempt (generation, task_id, started_at, attempt, worker, ended_at, outcome)
SELECT generation, id, created_at, 1, worker, updated_at, state FROM claudebench.task;
INSERT INTO claudebench.task (generation, id, created_at, version, state, text, updated_at)
    VALUES ('other', 't-1', '2026-05-05', 1, 'pending', 'of another namespace', '2026-05-05');
ANALYZE claudebench.task, claudebench.attempt;""")
    return _config


@case("what is asked for is found: by id, state, queue, worker, time, words, dead, open, lost; attempts; JSON as it came")
def filters():
    filled()
    newest = page("-n", "3")
    equal([t["text"] for t in newest["tasks"]], [f"task number {TASKS - i}" for i in range(3)])
    one = newest["tasks"][0]
    check('"payload":{"n": 9007199254740993,  "e": []}' in query("--jsonl", one["id"])[0], "as it came, on one line")
    equal(ids(one["id"], newest["tasks"][2]["id"]), [one["id"], newest["tasks"][2]["id"]])
    equal(query("t-404", code=66), ("", "claudebench: no task t-404 in the archive\n"))
    equal(query("t-404", "--attempts", code=66), ("", "claudebench: no attempt of task t-404 in the archive\n"))
    equal(query(one["id"], "--until", "2026-01-01T00:00:00Z", "--jsonl", code=66),
          ("", f"claudebench: no task {one['id']} in the archive, as far as the options go\n"))
    equal(query("t-404", "t-405", code=66), ("", "claudebench: none of these 2 tasks in the archive\n"))
    for args, where in [
        (["-s", "failed"], "state = 'failed'"), (["-q", "q7"], "queue = 'q7'"), (["-w", "w7"], "worker = 'w7'"),
        (["--dead"], "is_dead"), (["--open"], "ended_at IS NULL AND gone_at IS NULL"), (["--lost"], "gone_reason = 'lost'"),
        (["--search", "broken build"], "text LIKE '%broken build'"),
        (["--since", "2026-02-01T00:00:00Z", "--until", "2026-02-01T02:00:00+01:00"],
         "updated_at >= '2026-02-01' AND updated_at < '2026-02-01 01:00'"),
        (["-s", "completed", "-q", "q7", "-w", "w7"], "state = 'completed' AND queue = 'q7' AND worker = 'w7'"),
    ]:
        wanted = [r[0] for r in _db.rows(f"SELECT id FROM claudebench.task WHERE generation = 'g1' AND {where} ORDER BY updated_at DESC")]
        check(wanted, where)
        equal(ids(*args, "-n", "0"), wanted, args)
    equal(page("--search", "namespace")["tasks"], [], "of another prefix")
    equal(ids("--generation", "other"), ["t-1"])
    attempts = page("--attempts", "-w", "w7", "-n", "0")["attempts"]
    equal(len(attempts), TASKS // 200)
    equal({a["worker"] for a in attempts}, {"w7"})
    equal([a["taskId"] for a in page("--attempts", one["id"])["attempts"]], [one["id"]])
    check(page("--attempts", "--outcome", "failed")["attempts"], "by outcome")
    evil = "x' OR true; DROP TABLE claudebench.task; --"
    for option in ("-q", "-w", "--generation", "--search", "--after"):
        done = run(_config, "query", option, evil)
        check(done[0] in (0, 64) and "task number" not in done[1], done)
    query(evil, '{"', "\\", code=66)
    equal(_db.number("SELECT count(*) FROM claudebench.task"), TASKS + 1)


@case("pages: each row once, in order, also with many of one moment; a hint for people, `next` for programs")
def pages():
    filled()
    everything, after = [], []
    while True:
        got = page("-s", "pending", "-n", "33", *after)
        everything += [t["id"] for t in got["tasks"]]
        if not got["next"]:
            break
        equal(len(got["tasks"]), 33)
        after = ["--after", got["next"]]
    equal(everything, ids("-s", "pending", "--limit", "0"))
    equal(len(set(everything)), len(everything))
    _db.psql("INSERT INTO claudebench.attempt (generation, task_id, started_at, attempt, worker, outcome)"
             " SELECT 'g1', 't-' || i / 4, '2026-05-20', i % 4, 'many', 'released' FROM generate_series(1, 1200) i")
    lines = query("--attempts", "-w", "many", "--jsonl", "--limit", "1201")[0].splitlines()
    equal(len({(a["taskId"], a["attempt"]) for a in map(json.loads, lines)}), 1200)
    equal(len(lines), 1200, "over three pages of the database")
    out, err = query("-n", "2")
    equal((len(out.splitlines()), out.split()[0], "--after " in err), (3, "ID", True), out + err)
    cursor = re.search(r"--after (\S+),", err)[1]
    check(f"task number {TASKS - 2}" in query("-n", "1", "--after", cursor)[0], "the next one")


def nodes(plan):
    return re.findall(r"(Seq Scan|Index Scan(?: Backward)?|Index Only Scan(?: Backward)?|Bitmap Index Scan)(?: using| on) (\w+)", plan)


@case("each way to ask has its index: no partition is read as a whole, and a page in the middle costs no more")
def indexes():
    filled()
    middle = page("-n", "1", "--until", "2026-03-15T00:00:00Z")["next"]
    rare = page("-s", "failed", "-n", "1")["next"]
    for args in (["-n", "20"], ["-n", "20", "--after", middle], ["-s", "failed"], ["-s", "failed", "--after", rare], ["-q", "q7"],
                 ["-w", "w7"], ["--dead"], ["--search", "broken"], ["t-1770000000000000"],
                 ["--since", "2026-03-01T00:00:00Z", "--until", "2026-03-01T01:00:00Z"], ["--attempts", "-w", "w7"],
                 ["--attempts", "t-1770000000000000"], ["--attempts", "-n", "20"],
                 ["--attempts", "--since", "2026-03-01T00:00:00Z", "--until", "2026-03-01T01:00:00Z"]):
        plan = query(*args, "--explain")[0]
        # A small partition may be read as a whole; so is the table of generations.
        whole = [n for n in nodes(plan) if n[0] == "Seq Scan" and n[1] != "generation"]
        whole = [n for n in whole if _db.number(f"SELECT count(*) FROM claudebench.{n[1]}") > 500]
        equal(whole, [], f"{args}:\n{plan}")


@case("what is wrong is said with what to do: no configuration, no server, no tables, older and newer ones, wrong words")
def errors():
    filled()
    code, _, err = run(config_of(""), "query")
    equal((code, "postgres.conninfo" in err), (78, True), err)
    code, _, err = run(config_of("host=/nowhere dbname=x"), "query")
    equal((code, "PostgreSQL" in err), (69, True), err)
    db = PrivatePostgres.shared().database()
    config = config_of(db.conninfo)
    code, _, err = run(config, "query")
    equal((code, "claudebench archive migrate" in err), (78, True), err)
    equal(run(config, "migrate", "--to", "1")[0], 0)
    code, _, err = run(config, "query")
    equal((code, "claudebench archive migrate" in err, "schema is 1" in err), (78, True, True), err)
    equal(run(config, "migrate")[0], 0)
    db.psql("INSERT INTO claudebench.migration (version, name, program) VALUES (999, 'of tomorrow', 'x')")
    equal(run(config, "query")[0], 0, "newer, and still as it was")
    db.psql("ALTER TABLE claudebench.task RENAME COLUMN queue TO line")
    code, _, err = run(config, "query")
    equal((code, "newer than this program" in err), (78, True), err)
    for args in (["-s", "done"], ["--since", "yesterday"], ["--outcome", "x"], ["--attempts", "--dead"], ["--json", "--jsonl"],
                 ["--after", "x"], ["--after", "1:t-1:g:2"], ["--attempts", "--after", "1:t-1:g"], ["-n", "-1"]):
        equal(run(_config, "query", *args)[0], 64, args)
    for option in ("--since", "--until"):
        for value in ("99999999d", "1970-01-01T00:00:00Z"):
            code, out, err = run(_config, "query", option, value)
            equal((code, out), (64, ""), err)
            check(f'{option}: "{value}" is not after the beginning of 1970' in err, err)
        equal(run(_config, "query", option, "99999999999999999d")[0], 64)
    for words in (["query", "-q", b"\xff"], ["query", "--search", b"a\xc3"], ["query", "--generation", b"\xed\xa0\x80"], ["restore", "--generation", b"\xff"]):
        done = procs.run([procs.binary("claudebench"), "archive", *words, "-c", _config])
        equal((done.returncode, b" is not UTF-8" in done.stderr), (65, True), done.stderr.decode())
    done = procs.run([procs.binary("claudebench"), "archive", "query", b"t-\xff", "-c", _config])
    equal((done.returncode, done.stderr), (65, b'claudebench: "t-\\xff" is not UTF-8\n'))


main()

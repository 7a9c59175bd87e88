#!/usr/bin/env python3
"""schedules.py: the scripts of schedules: records, pages, who may fire, and each due time once."""

import json
import threading

from cbtest import *
from scripts import Scripts

s = Scripts()
at_exit(s.close)
KEYS = [s.key(k) for k in ("schedules", "schedules:due", "schedules:ids")]
DAY = 86400000
leader = {}


def fresh():
    s.redis.call("FLUSHALL")
    s.tick("host-a", register=1)
    leader["epoch"] = s.tick("host-a")["epoch"]


def add(sid="s", version="", cron="", every="", tz="UTC", missed="once", paused="", start="", end="", due="",
        template=None, most=1000, **kw):
    template = template or {"text": "a task"}
    text = json.dumps(template["text"])
    args = [sid, version, cron, every, tz, missed, paused, start, end, due, json.dumps(template)]
    return s.ask("schedule_add", *args, *s.create_args(json.loads(text), queue=template.get("queue", "default"),
                                                       roles=template.get("roles", ""),
                                                       **{k: v for k, v in template.items() if k == "unique_key"}),
                 op_args=[most], op_keys=KEYS, **kw)


def added(*args, **kw):
    doc = add(*args, **kw)
    check("result" in doc, doc)
    return doc["result"]["schedule"]


def get(sid="s"):
    return s.ask("schedule_get", sid, op_keys=KEYS)


def pause(sid="s", on=1):
    return s.ask("schedule_pause", sid, on, op_keys=KEYS)


def remove(sid="s", version=""):
    return s.ask("schedule_remove", sid, version, op_keys=KEYS)


def listing(status="", limit=50, cursor=""):
    return s.ask("schedule_list", status, limit, cursor, op_keys=KEYS)["result"]


def me(**kw):
    return [s.prefix + ":", kw.get("id", "host-a"), kw.get("incarnation", "i1"), kw.get("epoch", leader["epoch"])]


ROW = ("id", "version", "due", "floor", "cron", "every", "anchor", "tz", "missed", "end")


def due(limit=20, **who):
    raw = s.eval("schedule_due", [s.key("leader:current"), *KEYS[:2]], [*me(**who), limit])
    if raw[0] != b"ok":
        return raw[0].decode()
    return [dict(zip(ROW, [x.decode() for x in row])) for row in raw[3:]]


def command(row, times, next_="", dropped=0, hold=""):
    return [row["id"], row["version"], row["due"], hold, next_, dropped, len(times), *times]


def fire(*commands, most=1000, **who):
    keys = [s.key("leader:current"), *KEYS[:2], s.key("stream:events")]
    raw = s.eval("schedule_fire", keys, [*me(**who), 100000, most, len(commands), *[x for c in commands for x in c]])
    if raw[0] != b"ok":
        return raw[0].decode()
    return [(r[0].decode(), r[1], r[2].decode()) for r in raw[2:]]


def score(sid="s"):
    found = s.redis.call("ZSCORE", KEYS[1], sid)
    return found and int(float(found))


def ms(time):
    import datetime
    return int(datetime.datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp() * 1000 + 0.5)


# ---- records ----


@case("add: created, unchanged, replaced; the version moves only when something does")
def add_again():
    fresh()
    first = add(every=60000)["result"]
    equal(first["outcome"], "created")
    one = first["schedule"]
    equal([one["status"], one["every_ms"], one["fired"], one["dropped"]], ["active", 60000, 0, 0])
    equal(ms(one["next_run_at"]) - ms(one["createdAt"]), 60000)
    equal(score(), ms(one["next_run_at"]))
    before = s.dump()
    equal(add(every=60000)["result"], {"outcome": "unchanged", "schedule": one})
    equal(s.dump(), before)
    second = add(every=60000, template={"text": "another"})["result"]
    equal(second["outcome"], "replaced")
    check(second["schedule"]["version"] > one["version"], "the version grows")
    equal(second["schedule"]["template"], {"text": "another"})
    equal(second["schedule"]["next_run_at"], one["next_run_at"], "the rhythm stays when only the task changes")
    third = add(every=61000)["result"]["schedule"]
    check(third["next_run_at"] != one["next_run_at"], "another interval begins anew")
    equal([e["type"] for e in s.events()][-3:], ["schedule.added", "schedule.replaced", "schedule.replaced"])


@case("add: without an id one is made; a name may be anything printable")
def ids():
    fresh()
    made = {added("", every=60000)["id"] for _ in range(5)}
    equal(len(made), 5)
    check(all(i.startswith("s-") for i in made), made)
    for name in ("a/b:c d", "é\"\\'", "x" * 128):
        equal(added(name, every=60000)["id"], name)
        equal(get(name)["result"]["id"], name)


@case("add: if_version, unknown and stale; too many")
def versions():
    fresh()
    equal(add(every=60000, version="5")["error"]["code"], -32004)
    one = added(every=60000, version="0")
    refused = add(every=60000, version="0")["error"]
    equal([refused["code"], refused["data"]["reason"], refused["data"]["version"]], [-32005, "version", one["version"]])
    equal(add(every=60001, version=str(one["version"]))["result"]["outcome"], "replaced")
    equal(add(every=60002, version=str(one["version"]))["error"]["code"], -32005)
    equal(add("other", every=60000, most=1)["error"]["code"], -32007)
    equal(add(every=60003, most=1)["result"]["outcome"], "replaced", "replacing needs no room")
    equal(remove(version="1")["error"]["code"], -32005)
    equal(remove(version=str(get()["result"]["version"]))["result"], {"id": "s"})
    equal(remove()["error"]["code"], -32004)
    equal(get()["error"]["code"], -32004)
    equal([k for k in KEYS if s.redis.call("EXISTS", k)], [], "nothing stays behind")


@case("intervals: counted from start, in the past or the future; the end")
def intervals():
    fresh()
    now = s.wall()
    past = added("past", every=60000, start=now - 150000)
    equal(ms(past["next_run_at"]), now - 150000 + 180000)
    future = added("future", every=60000, start=now + 5000)
    equal(ms(future["next_run_at"]), now + 5000)
    ended = added("ended", every=60000, end=now + 1000)
    equal([ended["status"], "next_run_at" in ended, score("ended")], ["ended", False, None])
    equal(added("never", cron="0 0 1 1 *", due="")["status"], "ended")
    equal([i["id"] for i in listing("ended")["schedules"]], ["ended", "never"])


@case("paused: at add, by pause, kept by another add, and gone with resume")
def paused():
    fresh()
    one = added(every=60000, paused="1")
    equal([one["status"], "next_run_at" in one, score()], ["paused", False, None])
    equal(add(every=60000)["result"]["outcome"], "unchanged", "not said is as it is")
    equal(added(every=60000, missed="all")["status"], "paused")
    equal(added(every=60000, missed="all", paused="0")["status"], "active")
    check(score(), "it is due again")
    on = pause()["result"]
    equal([on["status"], score()], ["paused", None])
    equal(pause()["result"], on, "twice is once")
    off = pause(on=0)["result"]
    equal([off["status"], score()], ["active", ms(off["next_run_at"])])
    equal(pause(on=0)["result"], off)
    equal(pause("unknown")["error"]["code"], -32004)


@case("resume: what was due meanwhile is over; an interval keeps its rhythm, a cron expression is planned by the leader")
def resume():
    fresh()
    now = s.wall()
    added("i", every=60000, start=now - 30000)
    added("c", cron="* * * * *", due=now + 40)
    pause("i")
    pause("c")
    equal(due(), [])
    s.redis.call("EVAL", """
        for _, id in ipairs({'i', 'c'}) do
            local s = cmsgpack.unpack(redis.call('HGET', KEYS[1], id))
            s.due = s.due - 600000
            redis.call('HSET', KEYS[1], id, cmsgpack.pack(s))
        end""", 1, KEYS[0])
    i, c = pause("i", 0)["result"], pause("c", 0)["result"]
    equal((ms(i["next_run_at"]) - (now - 30000)) % 60000, 0)
    check(ms(i["next_run_at"]) > s.wall(), "in the future")
    equal([c["status"], "next_run_at" in c], ["active", False])
    rows = due()
    equal([r["id"] for r in rows], ["c"])
    check(int(rows[0]["floor"]) >= now > int(rows[0]["due"]), rows)
    soon = s.wall() + 60000
    equal(fire(command(rows[0], [], soon)), [("fired", 0, "")])
    equal(ms(get("c")["result"]["next_run_at"]), soon)
    equal(s.events("schedule.fired"), [])


@case("list: by id, page by page, whatever comes and goes; by status; large ones shorten the page")
def pages():
    fresh()
    names = sorted(f"n{i:03}" for i in range(130))
    for name in names:
        added(name, every=60000)
    pause("n050")
    seen, cursor = [], ""
    while True:
        page = listing(limit=40, cursor=cursor)
        seen += [i["id"] for i in page["schedules"]]
        if "next" not in page:
            break
        cursor = page["next"]
        remove(cursor)  # the cursor's own schedule may be gone
    equal(seen, names)
    equal([i["id"] for i in listing("paused")["schedules"]], ["n050"])
    for i in range(6):
        added(f"big{i}", every=60000, template={"text": "x", "payload": "y" * 250000})
    page = listing()
    check(2 <= len(page["schedules"]) <= 4 and "next" in page, len(page["schedules"]))
    check(len(json.dumps(page)) < 1048576, "a reply's bound")


@case("the template comes back byte by byte, and reaches the task as it was")
def opaque():
    fresh()
    raw = '{"text":"t\\u00e9\\n", "payload":{"n":9007199254740993,"e":[],"o":{}}}'
    s.ask("schedule_add", "s", "", "", 60000, "UTC", "once", "", "", "", "", raw, '"t\\u00e9\\n"', 50, "default",
          '{"n":9007199254740993,"e":[],"o":{}}', "", 3, 3, "", "", op_args=[10], op_keys=KEYS)
    stored = cmsgpack("template")
    equal(stored, raw.encode())


def cmsgpack(member, sid="s"):
    return s.redis.call("EVAL", f"return cmsgpack.unpack(redis.call('HGET', KEYS[1], ARGV[1])).{member}", 1, KEYS[0], sid)


@case("a wrong type is told, and changes nothing")
def wrong_types():
    for key in KEYS:
        fresh()
        if key != KEYS[0]:
            added("other", every=60000)
            s.redis.call("DEL", key)
        s.redis.call("SET", key, "x")
        before = s.dump()
        doc = add(every=60000)
        equal(doc["error"]["code"], -32603)
        check("WRONGTYPE" in doc["internal"][0], doc)
        equal(s.dump(), before)


# ---- firing ----


def late(sid="s", ago=500, **kw):
    """A schedule that is due since `ago` ms."""
    at = s.wall() - ago
    added(sid, cron="* * * * *", due=at, **kw)
    return at


@case("due: only what is due, in order, at most so many; the tick tells the leader when to look")
def what_is_due():
    fresh()
    equal(s.tick("host-a")["schedule_ms"], "")
    added("later", every=60000)
    check(59000 < int(s.tick("host-a")["schedule_ms"]) <= 60000, s.tick("host-a"))
    equal(s.tick("host-b", "ib", "sb", register=1)["schedule_ms"], "", "not the leader")
    equal(due(), [])
    for i in range(5):
        late(f"n{i}", ago=1000 - i)
    check(int(s.tick("host-a")["schedule_ms"]) <= -1000, "overdue")
    equal([r["id"] for r in due()], ["n0", "n1", "n2", "n3", "n4"])
    equal([r["id"] for r in due(limit=2)], ["n0", "n1"])


@case("nobody but the leader reads or fires: id, incarnation, epoch, lease")
def refused():
    fresh()
    late()
    row = due()[0]
    now = s.wall()
    before = s.dump()
    for who in ({"id": "host-b"}, {"incarnation": "i2"}, {"epoch": str(int(leader["epoch"]) + 1)}):
        equal(due(**who), "refused", who)
        equal(fire(command(row, [row["due"]], now + 60000), **who), "refused", who)
    s.age(10)
    equal(due(), "refused", "its lease is over")
    equal(fire(command(row, [row["due"]], now + 60000)), "refused")
    equal(s.dump(), before)
    s.redis.call("DEL", s.key("leader:current"))
    equal(fire(command(row, [row["due"]], now + 60000)), "refused", "there is none")
    equal(s.events("schedule.fired"), [])


@case("fire: one task, with its schedule and due time; the same again is stale")
def fired():
    fresh()
    at = late(template={"text": "tick", "queue": "q"})
    row = due()[0]
    again = s.wall() + 60000
    one = command(row, [at], again)
    equal(fire(one), [("fired", 1, "")])
    equal(due(), [])
    equal(fire(one), [("stale", 0, "")])
    tasks = s.listing(queue="q")["result"]["tasks"]
    equal(len(tasks), 1)
    equal([tasks[0]["text"], tasks[0]["schedule"], ms(tasks[0]["scheduledFor"])], ["tick", "s", at])
    shown = get()["result"]
    equal([shown["fired"], ms(shown["last_run_at"]), shown["lastTaskId"], ms(shown["next_run_at"])],
          [1, at, tasks[0]["id"], again])
    event = s.events("schedule.fired")
    equal([(e["schedule"], int(e["due"]), e["id"]) for e in event], [("s", at, tasks[0]["id"])])
    equal(s.events("task.created")[0]["schedule"], "s")
    equal(s.redis.hash(s.key("counts"))["pending"], b"1")
    claimed = s.claim(queue="q")["result"]["tasks"][0]
    equal(claimed["schedule"], "s")


@case("fire: what was replaced, paused or removed between reading and firing is not fired")
def stale():
    fresh()
    for change in (lambda: added(cron="* * * * *", missed="skip", due=s.wall()), pause, remove):
        at = late()
        one = command(due()[0], [at], s.wall() + 60000)
        change()
        equal(fire(one), [("stale", 0, "")])
        remove()
    equal(s.events("task.created"), [])
    late("back")
    one = command(due()[0], [1], 2)
    remove("back")
    late("back")
    equal(fire(one), [("stale", 0, "")], "removed and added again is another one")


@case("fire: several due times, dropped ones, and the end")
def several():
    fresh()
    at = late(ago=300000, missed="all")
    times = [at, at + 60000, at + 120000]
    equal(fire(command(due()[0], times, at + 180000, 7)), [("fired", 3, "")])
    shown = get()["result"]
    equal([shown["fired"], shown["dropped"], ms(shown["last_run_at"])], [3, 7, times[-1]])
    equal([(e["dropped"], e["reason"]) for e in s.events("schedule.missed")], [("7", "late")])
    equal([int(e["due"]) for e in s.events("schedule.fired")], times)
    equal(fire(command(due()[0], [at + 180000], "")), [("fired", 1, "")])
    equal([get()["result"]["status"], score()], ["ended", None])
    equal(len(s.events("schedule.ended")), 1)


@case("a full queue: it waits a second at a time, says so once, drops nothing meanwhile, and goes on when there is room")
def full():
    fresh()
    at = late(ago=120000, missed="all", template={"text": "x", "queue": "q"})
    s.create("in the way", queue="q")
    one = command(due()[0], [at, at + 60000], at + 120000, 3)
    equal(fire(one, most=1), [("full", 0, "")])
    check(s.wall() + 500 < score() <= s.wall() + 1000, "a second")
    shown = get()["result"]
    equal([shown["blocked"], shown["dropped"], ms(shown["next_run_at"])], [True, 0, at])
    equal(fire(one, most=1), [("waits", 0, "")])
    equal(len(s.events("schedule.blocked")), 1)
    equal(fire(one, most=2), [("waits", 1, "")], "room for one")
    shown = get()["result"]
    equal([shown["fired"], shown["dropped"], ms(shown["next_run_at"])], [1, 3, at + 60000])
    s.redis.call("ZADD", KEYS[1], 0, "s")
    equal(fire(command(due()[0], [at + 60000], at + 120000), most=9), [("fired", 1, "")])
    shown = get()["result"]
    equal(["blocked" in shown, shown["fired"], shown["dropped"]], [False, 2, 3])


@case("hold: left alone for so long, and nothing else")
def hold():
    fresh()
    at = late()
    row = due()[0]
    equal(fire(command(row, [], "", 0, 60000)), [("held", 0, "")])
    check(s.wall() + 59000 < score() <= s.wall() + 60000, "a minute")
    equal(ms(get()["result"]["next_run_at"]), at)


@case("a damaged record, one that is gone, a wrong type: told, left alone for a minute, and no obstacle for the others")
def damaged():
    fresh()
    late("bad", ago=900)
    late("gone", ago=800)
    at = late("good", ago=700)
    late("typed", ago=600, template={"text": "x", "queue": "typed"})
    s.redis.call("HSET", KEYS[0], "bad", "\xc1")
    s.redis.call("HDEL", KEYS[0], "gone")
    s.redis.call("SET", s.key("queue:typed:pending"), "x")
    rows = due()
    equal([sorted(r) == sorted(ROW) for r in rows], [False, False, True, True])
    broken = [{**r, "version": "", "due": ""} if len(r) < 10 else r for r in rows]
    got = fire(*[command(r, [at] if r["due"] else [], s.wall() + 60000) for r in broken])
    equal([g[0] for g in got], ["failed", "stale", "fired", "failed"])
    check("WRONGTYPE" in got[3][2], got)
    equal(due(), [])
    equal([score("gone"), get("typed")["result"]["fired"]], [None, 0])
    check(score("bad") > s.wall() + 59000, "a minute")
    fresh()
    late("part")
    s.redis.call("EVAL", "local s = cmsgpack.unpack(redis.call('HGET', KEYS[1], 'part')) s.tz = nil "
                 "redis.call('HSET', KEYS[1], 'part', cmsgpack.pack(s))", 1, KEYS[0])
    (row,) = due()
    check(len(row) < len(ROW), row)
    equal(fire(command({**row, "version": "", "due": ""}, [], "", 0, 60000))[0][0], "failed", "as scheduler.c says it")
    check(score("part") > s.wall() + 59000, "a minute")


@case("two that fire at once from two connections: each due time has one task")
def race():
    fresh()
    ats = [late(f"n{i}") for i in range(20)]
    commands = [command(r, [r["due"]], s.wall() + 60000) for r in due()]
    keys = [s.key("leader:current"), *KEYS[:2], s.key("stream:events")]
    sha = s.redis.text("SCRIPT", "LOAD", __import__("scripts").text("schedule_fire"))

    def one():
        with s.server.client() as r:
            for c in commands:
                r.call("EVALSHA", sha, len(keys), *keys, *me(), 100000, 1000, 1, *c)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    seen = [(e["schedule"], int(e["due"])) for e in s.events("schedule.fired")]
    equal(sorted(seen), sorted((f"n{i}", at) for i, at in enumerate(ats)))
    equal(len(s.listing()["result"]["tasks"]), 20)


@case("a template with a unique key: a due time is skipped while the task of an earlier one has not ended")
def unique():
    fresh()
    start = late(ago=300000, missed="all", template={"text": "x", "unique_key": "k"})
    equal(fire(command(due()[0], [start, start + 1000], start + 2000)), [("fired", 1, "")])
    (task,) = [e["id"] for e in s.events("task.created")]
    equal([s.task(task)["uk"], s.redis.call("ZCARD", s.key("queue:tasks:pending"))], [b"k", 1])
    (missed,) = s.events("schedule.missed")
    equal([missed["reason"], missed["id"], missed["due"]], ["unique_key", task, str(start + 1000)])
    equal(s.task(task)["sc"].decode().split(" ")[0], str(start))
    s.cancel(task)
    fire(command(due()[0], [start + 2000], start + 3000))
    equal(len(s.events("task.created")), 2)


@case("a schedule whose first due time came to nothing is shown without a task")
def came_to_nothing():
    fresh()
    s.create("of somebody else", unique_key="k")
    at = late(template={"text": "x", "unique_key": "k"})
    equal(fire(command(due()[0], [at], at + 60000)), [("fired", 0, "")])
    for shown in (get()["result"], listing()["schedules"][0]):
        equal([ms(shown["last_run_at"]), "lastTaskId" in shown, shown["dropped"]], [at, False, 1])


if __name__ == "__main__":
    main()

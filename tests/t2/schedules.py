#!/usr/bin/env python3
"""schedules.py: schedules through the whole program: fired on time, late, paused, against a full queue, in their zone."""

import datetime
import zoneinfo

from cbtest import *

SHIFT = """
    local s = cmsgpack.unpack(redis.call('HGET', KEYS[1], ARGV[1]))
    s.due, s.anchor = s.due - ARGV[2], s.anchor and s.anchor - ARGV[2]
    redis.call('HSET', KEYS[1], ARGV[1], cmsgpack.pack(s))
    redis.call('ZADD', KEYS[2], s.due, ARGV[1])
    return string.format('%.0f', s.due)"""


def ms(time):
    return round(datetime.datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp() * 1000)


def shift(d, sid, back_ms):
    """As if that much more time had gone by; the new due time."""
    with d.connect() as r:
        return int(r.call("EVAL", SHIFT, 2, "cb:schedules", "cb:schedules:due", sid, back_ms))


def fired(d, sid=None):
    """[(schedule, due, time of the event)]"""
    return [(f["schedule"].decode(), int(f["due"]), int(i.split("-")[0])) for i, f in d.stream("stream:events")
            if f["type"] == b"schedule.fired" and sid in (None, f["schedule"].decode())]


def missed(d, sid):
    return [int(f["dropped"]) for _, f in d.stream("stream:events") if f["type"] == b"schedule.missed"
            and f["schedule"] == sid.encode()]


def tasks(c, queue):
    return c.call("task.list", {"queue": queue, "limit": 500})["tasks"]


@case("an interval fires each due time once, within a second of it, and says so")
def interval():
    with Daemon() as d:
        c = d.caller()
        made = c.call("schedule.add", {"id": "beat", "every_ms": 1000, "template": {"text": "tick", "queue": "q", "payload": [1]}})
        equal(made["outcome"], "created")
        first = ms(made["schedule"]["next_run_at"])
        wait_until(lambda: len(fired(d)) >= 3, 8, lambda: f"three of them: {fired(d)}")
        rows = fired(d)
        equal([due for _, due, _ in rows], [first + 1000 * i for i in range(len(rows))])
        late = [at - due for _, due, at in rows]
        check(all(0 <= n <= 1000 for n in late), f"late by {late} ms")
        note(f"late by {late} ms")
        shown = tasks(c, "q")
        equal([ms(t["scheduledFor"]) for t in shown][:3], [first, first + 1000, first + 2000])
        equal({t["schedule"] for t in shown}, {"beat"})
        task = c.call("task.claim", {"workerId": "w", "queue": "q"})["tasks"][0]
        equal([task["schedule"], task["payload"]], ["beat", [1]])
        c.call("schedule.pause", {"id": "beat"})
        n = len(fired(d))
        holds_for(lambda: len(fired(d)) == n, 1.5, "nothing while it is paused")
        c.call("schedule.resume", {"id": "beat"})
        wait_until(lambda: len(fired(d)) > n, 3, "it goes on")
        check((fired(d)[-1][1] - first) % 1000 == 0, "in its rhythm")
        check(fired(d)[-1][1] > fired(d)[n - 1][1] + 1000, "without what was due in between")
        equal(c.call("schedule.remove", {"id": "beat"}), {"id": "beat"})
        equal(c.call("schedule.list")["schedules"], [])


@case("a cron expression fires, and is due again when its zone says so")
def cron():
    with Daemon() as d:
        c = d.caller()
        made = c.call("schedule.add", {"id": "m", "cron": "* * * * *", "timezone": "Asia/Kathmandu", "template": {"text": "x"}})
        next_ = ms(made["schedule"]["next_run_at"])
        due = shift(d, "m", 60000)  # the minute that is running
        wait_until(lambda: fired(d), 2, "fired")
        equal([row[:2] for row in fired(d)], [("m", due)])
        shown = c.call("schedule.get", {"id": "m"})
        check(ms(shown["next_run_at"]) in (next_, next_ + 60000), shown)
        equal(ms(shown["last_run_at"]), due)


@case("next_run_at is what another library says, in zones with and without summer time")
def zones():
    if "Europe/Berlin" not in zoneinfo.available_timezones():
        raise Skip("no time zones")
    with Daemon() as d:
        c = d.caller()
        for zone in ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"):
            for hour in range(0, 24, 5):
                start = f"2031-{1 + hour % 12:02}-15T00:00:00Z"
                got = c.call("schedule.add", {"cron": f"30 {hour} 20 * *", "timezone": zone, "start": start,
                                              "template": {"text": "x"}})["schedule"]
                want = datetime.datetime(2031, 1 + hour % 12, 20, hour, 30, tzinfo=zoneinfo.ZoneInfo(zone))
                equal(ms(got["next_run_at"]), round(want.timestamp() * 1000), f"{hour}:30 in {zone}")


@case("what is wrong is said with its place")
def refused():
    with Daemon() as d:
        c = d.caller()
        good = {"id": "s", "every_ms": 1000, "template": {"text": "x"}}
        for change, path in (
            ({"every_ms": None}, "every_ms"), ({"every_ms": 999}, "every_ms"), ({"cron": "* * * * *"}, "cron"),
            ({"timezone": "Mars/Phobos"}, "timezone"), ({"timezone": "../../etc/passwd"}, "timezone"),
            ({"timezone": "/etc/localtime"}, "timezone"), ({"timezone": ""}, "timezone"), ({"missed": "never"}, "missed"),
            ({"template": {}}, "template.text"), ({"template": {"text": "x", "colour": 1}}, "template"),
            ({"template": {"text": "x" * 501}}, "template.text"), ({"template": {"text": "x", "priority": 101}}, "template.priority"),
            ({"template": {"text": "x", "queue": "a b"}}, "template.queue"), ({"id": ""}, "id"), ({"id": "a\nb"}, "id"),
            ({"start": "2030-01-02T00:00:00Z", "end": "2030-01-01T00:00:00Z"}, "end"), ({"end": "tomorrow"}, "end"),
        ):
            equal(c.refused("schedule.add", {**good, **change})["path"], path, change)
        del good["every_ms"]
        equal(c.refused("schedule.add", good)["got"], "neither")
        for cron, place in (("61 * * * *", "minute at byte 1"), ("* * * *", "five fields"), ("* * * * 9", "day of the week at byte 9"),
                            ("0 0 30 2 *", "a date that exists"), ("@reboot", "@hourly"), ("*\u001b[2J * * * *", "minute at byte 2")):
            data = c.refused("schedule.add", {**good, "cron": cron})
            equal(data["path"], "cron")
            check(data["expected"].startswith(place), data)
        equal(c.call("schedule.list")["schedules"], [])
        for method in ("get", "pause", "resume", "remove"):
            c.refused(f"schedule.{method}", {"id": "s"}, code=-32004)


@case("the same request under one idempotency key adds one schedule, also without an id")
def idempotent():
    with Daemon() as d:
        c = d.caller()
        params, key = {"every_ms": 60000, "template": {"text": "x"}}, token()
        first = c.call("schedule.add", params, idem=key)
        equal(c.call("schedule.add", params, idem=key), first)
        equal(len(c.call("schedule.list")["schedules"]), 1)
        check(c.call("schedule.add", params, idem=token())["schedule"]["id"] != first["schedule"]["id"], "another one")
        large = {"every_ms": 60000, "template": {"text": "x", "payload": "y" * 200000}}
        first = c.call("schedule.add", large, idem=key + "2")
        equal(c.call("schedule.add", large, idem=key + "2"), first)
        own = {"id": first["schedule"]["id"]}
        paused = c.call("schedule.pause", own, idem=key + "3")
        equal(c.call("schedule.pause", own, idem=key + "3"), paused)
        with d.connect() as r:
            kept = [len(v) for k in r.scan("cb:idem:*") for v in r.hash(k).values()]
            check(len(kept) >= 4 and max(kept) < 20000, f"large replies are not kept: {kept}")


@case("after a stop: skip makes up for nothing, once for one, all for each")
def stopped():
    with PrivateRedis() as redis:
        with Daemon(redis) as d:
            c = d.caller()
            for policy in ("skip", "once", "all"):
                c.call("schedule.add", {"id": policy, "every_ms": 60000, "missed": policy, "template": {"text": "x", "queue": policy}})
        due = {policy: shift(d, policy, 60000 * 250 + 30000) for policy in ("skip", "once", "all")}
        with Daemon(redis, folder=d.dir) as d:
            c = d.caller()
            wait_until(lambda: len(fired(d, "all")) == 250, 8, lambda: f"{len(fired(d, 'all'))} of 250")
            wait_until(lambda: len(fired(d, "once")) == 1 and missed(d, "skip"), 2, "the others")
            equal([row[1] for row in fired(d, "all")], [due["all"] + 60000 * i for i in range(250)])
            equal([row[1] for row in fired(d, "once")], [due["once"] + 60000 * 249])
            equal([fired(d, "skip"), missed(d, "skip"), missed(d, "once"), missed(d, "all")], [[], [250], [249], []])
            for policy, n in (("skip", 0), ("once", 1), ("all", 250)):
                shown = c.call("schedule.get", {"id": policy})
                equal([shown["fired"], shown["dropped"]], [n, 250 - n])
                equal(ms(shown["next_run_at"]), due[policy] + 60000 * 250)
                equal(len(tasks(c, policy)), n)
            equal({e["dropped"] for e in d.logged("schedule_missed", 2)}, {"250", "249"})


@case("a full queue: the schedule waits, is shown as blocked, and goes on when there is room")
def full():
    with Daemon(config={"task": {"max_pending": 2}}) as d:
        c = d.caller()
        c.call("schedule.add", {"id": "s", "every_ms": 1000, "missed": "all", "template": {"text": "x", "queue": "q"}})
        wait_until(lambda: c.call("schedule.get", {"id": "s"}).get("blocked"), 6, "blocked")
        equal(len(fired(d, "s")), 2)
        equal([e["schedule"] for e in d.logged("schedule_blocked")], ["s"])
        c.call("schedule.add", {"id": "other", "every_ms": 1000, "template": {"text": "x", "queue": "free"}})
        wait_until(lambda: fired(d, "other"), 3, "another queue's does not wait")
        equal(len(fired(d, "s")), 2)
        c.call("task.claim", {"workerId": "w", "queue": "q", "maxTasks": 2})
        wait_until(lambda: len(fired(d, "s")) == 4, 6, lambda: f"two more: {fired(d, 's')}")
        dues = [row[1] for row in fired(d, "s")]
        equal(dues, [dues[0] + 1000 * i for i in range(4)], "none is left out")


@case("when memory is full due times wait, and are not lost")
def memory():
    with PrivateRedis() as redis:
        with Daemon(redis) as d:
            c = d.caller()
            c.call("schedule.add", {"id": "s", "every_ms": 1000, "missed": "all", "template": {"text": "x"}})
            wait_until(lambda: fired(d), 3, "fired")
            with redis.client() as r:
                r.call("CONFIG", "SET", "maxmemory", int(r.info("memory")["used_memory"]) + 100000)
                wait_until(lambda: d.events("schedules_wait"), 5, "it waits")
                n = len(fired(d))
                holds_for(lambda: len(fired(d)) == n, 1.2, "nothing is fired")
                r.call("CONFIG", "SET", "maxmemory", 0)
            wait_until(lambda: len(fired(d)) >= n + 2, 6, "what waited is fired")
            dues = [row[1] for row in fired(d)]
            equal(dues, [dues[0] + 1000 * i for i in range(len(dues))])


@case("a schedule whose zone this machine does not know is told, and keeps nobody from firing")
def unknown_zone():
    with Daemon() as d:
        c = d.caller()
        c.call("schedule.add", {"id": "bad", "cron": "* * * * *", "template": {"text": "x"}})
        with d.connect() as r:
            r.call("EVAL", "local s = cmsgpack.unpack(redis.call('HGET', KEYS[1], 'bad')) s.tz = 'Mars/Phobos' "
                   "redis.call('HSET', KEYS[1], 'bad', cmsgpack.pack(s))", 1, "cb:schedules")
        shift(d, "bad", 60000)
        c.call("schedule.add", {"id": "good", "every_ms": 1000, "template": {"text": "x"}})
        wait_until(lambda: fired(d, "good"), 3, "the other one")
        equal([e["schedule"] for e in d.logged("schedule_failed")], ["bad"])
        equal(fired(d, "bad"), [])


@case("nothing is due, nothing is asked: a daemon with schedules sends no more commands than one without")
def idle():
    def commands(d):
        with d.connect() as r:
            stats = r.info("commandstats")
            return sum(int(str(stats.get(f"cmdstat_{n}", "calls=0")).split("calls=")[1].split(",")[0]) for n in ("evalsha", "eval"))

    def rate(d):
        before = commands(d)
        holds_for(lambda: True, 3, "")
        return (commands(d) - before) / 3

    with Daemon() as d:
        empty = rate(d)
        c = d.caller()
        for i in range(50):
            c.call("schedule.add", {"cron": "0 0 1 1 *", "template": {"text": "x"}})
        full_ = rate(d)
    note(f"scripts a second: {empty:.1f} without, {full_:.1f} with fifty schedules")
    check(full_ <= empty + 0.7, f"{full_} scripts a second, {empty} without schedules")


if __name__ == "__main__":
    main()

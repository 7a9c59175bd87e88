"""children.py: workers that crash, hang, lie and give up, and what the supervisor makes of it."""

import os
import signal
import time

from cbtest import Daemon, PrivateRedis, case, check, equal, holds_for, main, procs, rng, wait_until
from shortage import Shortage
from supervised import FakeDaemon, is_sanitized, status, worker


def starts(daemon, domain):
    return len([e for e in daemon.events("child_started") if e["service"] == domain])


@case("all workers are started, and stopped without a trace")
def healthy():
    with FakeDaemon(workers=3) as d:
        wait_until(lambda: all(w["state"] == "idle" for w in status(d)["workers"]), 5, "all wait for work")
        s = status(d)
        equal(s["status"], "healthy")
        equal([w["domain"] for w in s["workers"]], ["task"] * 3 + ["system"])
        equal([w["slot"] for w in s["workers"]], [0, 1, 2, 3])
        check(len({w["generation"] for w in s["workers"]}) == 4, "generations are unique")
        check(all(w["state"] == "idle" and w["pid"] > 0 for w in s["workers"]), f"{s['workers']}")
        for w in s["workers"]:
            words = procs.cmdline(w["pid"])
            equal(words[1:], ["-d", w["domain"], "-s", str(w["slot"]), "-g", str(w["generation"]), "-i", "test-host"])
        equal(len(d.events("daemon_ready")), 1)


@case("a worker has the planned descriptors and nothing else")
def descriptors():
    with FakeDaemon() as d:
        fds = procs.fd_list(worker(d, 0)["pid"])
        equal(sorted(fds), [0, 1, 2, 3, 4, 5])
        equal(fds[0], "/dev/null")
        check(fds[3].startswith("socket:"), fds[3])
        check("claudebench-options" in fds[4] and "claudebench-scoreboard" in fds[5], f"{fds}")


@case("a crash loop is braked, shown, and ends when the cause does")
def crash_loop():
    with FakeDaemon("task:crash", config={"supervisor": {"restart_min_ms": 100, "restart_max_ms": 400}}, ready=False) as d:
        d.wait_status("unhealthy", 10)
        wait_until(lambda: d.events("child_throttled"), 5, "the crash loop is noticed")
        before, began = starts(d, "task"), time.monotonic()
        holds_for(lambda: status(d)["status"] == "unhealthy", 2.0, "a domain without workers is unhealthy", step=0.1)
        rate = (starts(d, "task") - before) / (time.monotonic() - began)
        check(1.5 <= rate <= 4, f"{rate} starts a second with pauses of about 400 ms")
        reasons = " ".join(status(d)["reasons"])
        check("crash loop" in reasons and "task" in reasons, reasons)
        check(all(w["state"] == "idle" for w in status(d)["workers"] if w["domain"] == "system"), "others work on")
        d.set_modes("")
        wait_until(lambda: worker(d, 0)["state"] == "idle", 2, "the worker is back after the cure")
        wait_until(lambda: status(d)["status"] == "healthy", 7, "healthy after 5 s of good life")
        check(worker(d, 0)["restarts"] >= 3, "restarts are counted")
        died = d.events("child_died")
        check(all(e["code"] == "1" for e in died), f"{died[:2]}")


@case("the pause doubles from restart_min_ms, within its jitter")
def pauses():
    with FakeDaemon("task:crash", config={"supervisor": {"restart_min_ms": 200, "restart_max_ms": 10000}}, ready=False) as d:
        seen = []

        def look():
            w = worker(d, 0)
            if w["state"] == "waiting" and len(seen) < w["restarts"]:
                seen.append(w["next_start_ms"])
            return len(seen) >= 3

        wait_until(look, 10, "three pauses")
        for got, middle in zip(seen, (200, 400, 800)):
            check(middle * 0.4 <= got <= middle * 1.2, f"pauses {seen}")


@case("a worker that lived well is replaced at once")
def good_life():
    with FakeDaemon(config={"supervisor": {"restart_min_ms": 60000, "restart_max_ms": 60000}}) as d:
        pid = worker(d, 0)["pid"]
        wait_until(lambda: worker(d, 0)["age_ms"] > 5300, 8, "5 s of life", step=0.05)
        procs.kill(pid)
        wait_until(lambda: worker(d, 0)["state"] == "idle" and worker(d, 0)["pid"] != pid, 1, "replaced at once")
        equal(d.events("child_died")[0]["signal"], "9")


@case("exit 78: never restarted, said once, the rest goes on")
def gave_up():
    with FakeDaemon("task:config", ready=False, workers=2) as d:
        wait_until(lambda: len(d.events("child_gave_up")) == 2, 5, "both gave up")
        holds_for(lambda: starts(d, "task") == 2, 1.0, "no restart", step=0.1)
        s = status(d)
        equal([w["state"] for w in s["workers"]], ["gave_up", "gave_up", "idle"])
        equal(s["status"], "unhealthy")
        check("gave up" in " ".join(s["reasons"]), f"{s['reasons']}")


@case("a worker that stops beating is killed and replaced")
def hung():
    with FakeDaemon("task:hung", config={"supervisor": {"watchdog_ms": 500}}, ready=False) as d:
        wait_until(lambda: d.events("child_hung"), 5, "hung is noticed")
        silent = int(d.events("child_hung")[0]["silent_ms"])
        check(500 <= silent <= 1000, f"killed after {silent} ms of silence")
        wait_until(lambda: d.events("child_died"), 2, "it was killed")
        equal(d.events("child_died")[0]["how"], "hung")
        d.set_modes("")
        wait_until(lambda: worker(d, 0)["state"] == "idle", 5, "replaced")


@case("SIGSTOP of a worker: killed by the watchdog and replaced")
def stopped():
    with FakeDaemon(config={"supervisor": {"watchdog_ms": 500}}) as d:
        pid = worker(d, 0)["pid"]
        procs.kill(pid, signal.SIGSTOP)
        wait_until(lambda: not procs.alive(pid), 2, "the stopped worker is killed")
        wait_until(lambda: worker(d, 0)["state"] == "idle" and worker(d, 0)["pid"] != pid, 2, "replaced")


@case("SIGSTOP of the supervisor judges nobody")
def paused_supervisor():
    with FakeDaemon(config={"supervisor": {"watchdog_ms": 500}}, workers=3) as d:
        pids = [w["pid"] for w in status(d)["workers"]]
        for pid in pids:
            procs.kill(pid, signal.SIGSTOP)
        procs.kill(d.pid, signal.SIGSTOP)
        time.sleep(1.2)  # the fault itself: a machine that was suspended
        procs.kill(d.pid, signal.SIGCONT)
        for pid in pids:
            procs.kill(pid, signal.SIGCONT)
        holds_for(lambda: not d.events("child_hung"), 1.0, "nobody is hung", step=0.05)
        equal([w["pid"] for w in status(d)["workers"]], pids)


@case("frames that make no sense: refused with their sender")
def liars():
    for mode, words in (("garbage", "packet"), ("twice", "ready"), ("stranger", "generation")):
        with FakeDaemon(f"task:{mode}", ready=False) as d:
            wait_until(lambda: d.events("child_protocol"), 5, f"{mode} is noticed")
            problem = d.events("child_protocol")[0]["problem"]
            check(words in problem or mode == "garbage", f"{mode}: {problem}")
            wait_until(lambda: d.events("child_died"), 2, f"{mode} is killed")
            equal(d.events("child_died")[0]["signal"], "9")
            d.set_modes("")
            wait_until(lambda: worker(d, 0)["state"] == "idle", 5, f"replaced after {mode}")


@case("no READY in time: killed, braked like a crash")
def unready():
    with FakeDaemon("task:unready", config={"supervisor": {"ready_timeout_ms": 500}}, ready=False) as d:
        wait_until(lambda: len(d.events("child_not_ready")) >= 2, 6, "twice not ready")
        check(d.events("child_died")[0]["signal"] == "9", "killed")
        d.set_modes("")
        wait_until(lambda: worker(d, 0)["state"] == "idle", 5, "ready at last")


@case("no HELLO in time: killed")
def mute():
    with FakeDaemon("task:mute", ready=False) as d:
        wait_until(lambda: d.events("child_not_ready"), 8, "not greeted")
        equal(d.events("child_not_ready")[0]["state"], "starting")
        d.set_modes("")
        wait_until(lambda: worker(d, 0)["state"] == "idle", 12, "replaced; a second mute one may have been started before")


@case("a worker that leaves unasked is replaced")
def quits():
    with FakeDaemon("task:quits", ready=False) as d:
        wait_until(lambda: len(d.events("child_died")) >= 2, 5, "left twice")
        equal(d.events("child_died")[0]["code"], "0")
        d.set_modes("")
        wait_until(lambda: worker(d, 0)["state"] == "idle", 5, "stays")


@case("a worker program that is gone: tried again with the brake, cured without a restart")
def missing_program():
    redis_dir_worker = None
    with FakeDaemon() as d:
        redis_dir_worker = f"{d.dir}/worker"
        d.stop()
        os.symlink(d.env["CLAUDEBENCH_WORKER"], redis_dir_worker)
        d.env["CLAUDEBENCH_WORKER"] = redis_dir_worker
        d.redis.start()
        d.start()
        os.unlink(redis_dir_worker)
        pid = worker(d, 0)["pid"]
        procs.kill(pid)
        wait_until(lambda: d.events("child_start_failed"), 5, "the start fails")
        check("No such file" in d.events("child_start_failed")[0]["error"], d.events("child_start_failed")[0])
        os.symlink(procs.binary("tests/t1/fake_worker"), redis_dir_worker)
        wait_until(lambda: worker(d, 0)["state"] == "idle", 5, "back")


@case("no process and no thread is to be had at the start: it stays, says so, and is soon ready once there are some", faults="F09")
def no_forks():
    few = Shortage()
    few.set(forks=1000)
    config = {"supervisor": {"restart_min_ms": 100, "restart_max_ms": 60000}}
    d = FakeDaemon(config=config, start=False)
    d.env.update(few.env)
    with d.start(ready=False):
        wait_until(lambda: len(d.events("child_start_failed")) >= 3, 5, "tried again")
        check("no thread" in status(d)["audit"]["error"], status(d)["audit"])
        few.set()
        wait_until(lambda: status(d)["status"] == "healthy" and status(d)["audit"]["state"] == "ok", 10, "ready, and the audit file, too")
        check(not [w for w in status(d)["workers"] if w["state"] != "idle"], "no worker is said to loop")


@case("no memory in the supervisor: it says so and ends with 71, whichever allocation it was", faults="F10")
def no_memory():
    few = Shortage(only="claudebenchd")
    redis = PrivateRedis(aof=True)
    for least in (16, 24, 100, 1000, 4000):
        d = Daemon(start=False, redis=redis, env=few.env)
        d.start(ready=False)
        d.wait_runs()
        few.set(allocations=1000000, least=least)
        try:
            wait_until(lambda d=d: d.client("status") and not d.running(), 5, "it ends")
        finally:
            few.set()
        equal(d.process.returncode, 71, d.log_tail())
        check("event=out_of_memory" in d.log(), d.log_tail())
        d.stop(want=71)
    redis.stop()


@case("a hundred deaths leave no zombie and no descriptor")
def many_deaths():
    draw = rng("deaths")
    config = {"supervisor": {"restart_min_ms": 10, "restart_max_ms": 10}}
    with FakeDaemon(config=config, workers=6) as d:
        fds = procs.fd_count(d.pid)
        for _ in range(100):
            alive = [w["pid"] for w in status(d)["workers"] if w["pid"] > 0]
            if alive:
                procs.kill(draw.choice(alive))
            time.sleep(0.01)  # paces the faults
        wait_until(lambda: all(w["state"] == "idle" for w in status(d)["workers"]), 10, "all are back")
        d.check_no_zombies()
        wait_until(lambda: procs.fd_count(d.pid) <= fds, 2, f"descriptors back to {fds}: {procs.fd_list(d.pid)}")
        if not is_sanitized():
            check(procs.rss_kib(d.pid) <= 12 * 1024, f"{procs.rss_kib(d.pid)} KiB")


if __name__ == "__main__":
    main()

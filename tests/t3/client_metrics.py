#!/usr/bin/env python3
"""client_metrics.py: `claudebench metrics`, metrics.textfile, and the text format (tests/lib/prometheus.py)."""

import json
import os
import re
import signal
import stat

import prometheus
from cbtest import *
from screen import Terminal

try:
    from yaml import safe_load
except ImportError:
    safe_load = None

SRC = procs.top_srcdir()
TEXT = r'"((?:[^"\\]|\\.)*)"'
NULLABLE = r'(?:NULL|"(\w+)")'
TABLE = {
    f"claudebench_{m[0]}": {"type": m[1].lower(), "labels": {x for x in m[2:4] if x}, "source": m[4], "help": m[5].replace('\\"', '"')}
    for m in re.findall(rf"^METRIC\((\w+), (\w+), {NULLABLE}, {NULLABLE}, (\w+), {TEXT}\)",
                        open(os.path.join(SRC, "common/metrics.def"), encoding="utf-8").read(), re.M)}
OPS = {"requests_total": {"method", "code"}, "request_seconds": {"method"}, "tasks": {"state"}, "task_claims_total": {"result"},
       "leases_expired_total": set(), "worker_restarts_total": {"domain", "reason"}, "stream_backlog": {"domain"},
       "stream_oldest_seconds": {"domain"}, "redis_connected": set(), "redis_reconnects_total": {"process"},
       "hook_decisions_total": {"event", "decision"}, "hook_fallback_total": set(), "script_seconds": {"script"}, "leader": set(),
       "build_info": {"version"}}

folder = procs.subfolder("metrics")
FILE = os.path.join(folder, "claudebench.prom")
d = None


def text():
    done = d.client("metrics", "--prometheus")
    equal((done.returncode, done.stderr), (0, b""))
    return done.stdout.decode()


def now():
    return prometheus.parse(text())


def reload(**config):
    d.config.update(config)
    d.write_config()
    equal(d.client("ctl", "reload", "--wait").returncode, 0)


def value(family, **labels):
    f = now().get(f"claudebench_{family}")
    return f.samples.get((f.name, tuple(sorted(labels.items()))), 0) if f else 0


@case("the parser refuses what Prometheus would, and more")
def parser():
    head = "# HELP a_total x\n# TYPE a_total counter\n"
    good = head + 'a_total{l="q\\"\\\\\\n{},"} 1\n'
    equal(prometheus.parse(good)["a_total"].value(l='q"\\\n{},'), 1)
    hist = '# HELP h x\n# TYPE h histogram\nh_bucket{le="0.1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\n'
    equal(prometheus.parse(hist)["h"].value("_count"), 2)
    for wrong in (good[:-1], head, head + "a_total 1\na_total 1\n", head + "b_total 1\n", head + 'a_total{l="\\x"} 1\n', "a_total 1\n",
                  head + "a_total{} 1\n", head + 'a_total{l="a"l="b"} 1\n', head + 'a_total{l="x",} 1\n', head + "a_total 1 \n",
                  head + "a_total one\n", head + "a_total -1\n", good + head, head + "# TYPE a_total counter\na_total 1\n",
                  head.replace("counter", "gauge") + "a_total 1\n", hist.replace("} 2", "} 0"), hist.replace("_count 2", "_count 3"),
                  hist.replace('h_bucket{le="+Inf"} 2\n', ""), hist.replace("h_sum 3\n", "")):
        try:
            prometheus.parse(wrong)
        except prometheus.Wrong:
            continue
        check(False, f"{wrong!r} passes")


@case("each metric is that of the table, and OPS.md's are all there; the table, --json and the text say the same")
def start():
    global d
    d = Daemon(config={"metrics": {"textfile": FILE, "interval_ms": 1000}, "domains": {"task": {"workers": 1}}})
    at_exit(d.stop)
    c = d.caller()
    for i in range(3):
        c.call("task.create", {"text": f"t{i}"})
    for max_tasks in (2, 1, 1):
        c.call("task.claim", {"workerId": "w", "maxTasks": max_tasks})
    c.refused("task.get", {"id": "t-1"}, -32004)
    c.refused("task.no_such_method", {}, -32601)
    c.call("hook.pre_tool", {"tool": "Bash", "params": {"command": "ls"}})
    for name, labels in OPS.items():
        equal(TABLE[f"claudebench_{name}"]["labels"], labels, name)
    found = now()
    for name, f in found.items():
        check(name in TABLE, f"{name} is not in metrics.def")
        equal((f.type, f.help), (TABLE[name]["type"], TABLE[name]["help"]))
        check(all({k for k, _ in labels} - {"le"} == TABLE[name]["labels"] for _, labels in f.samples), f"labels of {name}")
    absent = {n for n in TABLE if n not in found}
    equal({n for n in absent if "_archive_" not in n}, {"claudebench_circuit_state"}, "what has no sample here")
    check(all(not re.search(r"[0-9a-f]{16}|t-\d", repr(f.samples)) for f in found.values()), "no ids in labels")

    doc = json.loads(d.client("metrics", "--json").stdout)
    equal((doc["version"], [m["name"] for m in doc["metrics"]]), (1, list(TABLE)))
    by_name = {m["name"]: m for m in doc["metrics"]}
    seconds = next(s for s in by_name["claudebench_request_seconds"]["samples"] if s["labels"] == {"method": "task.create"})
    equal((seconds["count"], seconds["buckets"][-1]), (3, {"le": 5, "count": 3}))
    for name, f in found.items():
        equal(len(by_name[name]["samples"]), len({tuple(x for x in labels if x[0] != "le") for _, labels in f.samples}), name)
    rows = d.client("metrics").stdout.decode()
    check(re.search(r"^requests_total +method=task\.create code=ok +3$", rows, re.M), rows)
    check(re.search(r"^request_seconds +method=task\.create +3, mean \d", rows, re.M), rows)
    one = d.client("metrics", "leader", "claudebench_redis_connected").stdout.decode().split()
    equal(one, ["METRIC", "VALUE", "leader", "1", "redis_connected", "1"])
    some = json.loads(d.client("metrics", "-j", "request_seconds", "claudebench_leader").stdout)
    equal((some["version"], [m["name"] for m in some["metrics"]]), (1, [n for n in TABLE if n in ("claudebench_request_seconds", "claudebench_leader")]))
    equal([s["labels"] for s in some["metrics"][0]["samples"]], [s["labels"] for s in by_name[some["metrics"][0]["name"]]["samples"]])
    equal(list(prometheus.parse(d.client("metrics", "-p", "request_seconds").stdout.decode())), ["claudebench_request_seconds"])
    done = d.client("metrics", "leadr")
    check(done.returncode == 64 and b"did you mean leader?" in done.stderr, done.stderr)
    with Terminal([procs.binary("claudebench"), "metrics"], 80, 400, {"CLAUDEBENCH_CONFIG": d.config_path}) as t:
        t.wait_end()
        check(all(len(x) <= 80 for x in t.screen.lines()), "fits 80 columns")
        shown = [x.rsplit("  ", 1)[0].rstrip() for x in t.screen.lines() if x.startswith("hook_decisions_total ")]
        check(len(shown) > 5 and len(set(shown)) == len(shown) and "…" not in "".join(shown), f"each with all of its labels: {shown}")


@case("values are those of the ledger: codes, claims, decisions, states, backlog")
def values():
    for want, family, labels in (
            (3, "requests_total", {"method": "task.create", "code": "ok"}), (1, "requests_total", {"method": "task.get", "code": "-32004"}),
            (1, "requests_total", {"method": "unknown", "code": "-32601"}), (2, "task_claims_total", {"result": "claimed"}),
            (1, "task_claims_total", {"result": "empty"}), (3, "tasks", {"state": "in_progress"}), (0, "tasks", {"state": "pending"}),
            (3, "tasks_created_total", {}), (1, "hook_decisions_total", {"event": "pre_tool", "decision": "none"}),
            (1, "redis_connected", {}), (1, "leader", {}), (1, "health", {"status": "healthy"}),
            (1, "workers", {"domain": "task", "state": "up"}), (0, "stream_backlog", {"domain": "task"})):
        equal(value(family, **labels), want, f"{family} {labels}")


# ---- etc/monitoring ----

FUNCTIONS = set("time absent max min sum count rate increase deriv changes min_over_time histogram_quantile vector label_values "
                "by without on and or unless offset".split())
# Those that a runbook is to have; checked against it when it is there.
CHAPTERS = {"redis-down", "redis-full", "leader-flapping", "backlog-growing", "poison-tasks", "upgrade", "backup-and-restore"}


def base_of(name):
    """The metric that a series belongs to."""
    for suffix in ("_bucket", "_sum", "_count"):
        if name.endswith(suffix) and TABLE.get(name[:-len(suffix)], {}).get("type") in ("histogram", "summary"):
            return name[:-len(suffix)]
    return name


def check_expr(where, expr, live):
    """Series, labels, their values and functions exist; returns the labels that the result may have."""
    bare = re.sub(r'"[^"]*"', '""', expr)
    for opening, closing in ("()", "[]", "{}"):
        equal(bare.count(opening), bare.count(closing), f"{where}: {expr}")
    names = re.findall(r"\bclaudebench_\w+", bare)
    check(names, f"{where}: no metric in {expr}")
    known = {"instance"}
    for name in names:
        check(base_of(name) in TABLE, f"{where}: there is no {name}")
        known |= TABLE[base_of(name)]["labels"] | ({"le"} if name.endswith("_bucket") else set())
    for name, selector in re.findall(r"(claudebench_\w+)\{([^}]*)\}", expr):
        for label, operator, value in re.findall(r'(\w+)\s*(=~|!=|!~|=)\s*"([^"]*)"', selector):
            check(label in TABLE[base_of(name)]["labels"] | {"instance"}, f"{where}: {name} has no label {label}")
            if "$" in value or label in ("instance", "method", "code") or base_of(name) not in live:
                continue
            there = {dict(labels).get(label) for _, labels in live[base_of(name)].samples}
            check(set(value.split("|")) <= there, f"{where}: {name}{{{label}}} is never {value}")
    for labels in re.findall(r"\b(?:by|without|on)\s*\(([^)]*)\)", bare):
        check(set(re.findall(r"\w+", labels)) <= known, f"{where}: {labels} in {expr}")
    for function in re.findall(r"\b([a-z_]+)\s*\(", bare):
        check(function in FUNCTIONS, f"{where}: {function}() in {expr}")
    return known


def check_runbook(where, text):
    if text.startswith("doc/runbook.md#"):
        anchor, path = text.split("#")[1], os.path.join(SRC, "doc/runbook.md")
        chapters = CHAPTERS
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                chapters = {re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in re.findall(r"^#+ (.*)$", f.read(), re.M)}
        check(anchor in chapters, f"{where}: {anchor} is not in {sorted(chapters)}")
        return
    page = re.match(r"([\w-]+)\((\d)\) (.+)\Z", text)
    check(page, f"{where}: {text}")
    with open(os.path.join(SRC, f"man/{page[1]}.{page[2]}"), encoding="utf-8") as f:
        check(re.search(rf"^\.S[hs] {re.escape(page[3])}$", f.read(), re.M), f"{where}: {text}")


@case("alert rules: valid, and of metrics, labels and values that there are; each has for, severity, summary, runbook")
def alert_rules():
    if safe_load is None:
        raise Skip("python3-yaml is not installed")
    with open(os.path.join(SRC, "etc/monitoring/claudebench.rules.yml"), encoding="utf-8") as f:
        groups = safe_load(f)["groups"]
    live, seen = now(), set()
    for rule in (r for g in groups for r in g["rules"]):
        where = rule["alert"]
        equal(set(rule), {"alert", "expr", "for", "labels", "annotations"}, where)
        check(where not in seen and re.match(r"ClaudeBench[A-Z]\w+\Z", where), where)
        seen.add(where)
        known = check_expr(where, rule["expr"], live)
        check(re.match(r"\d+[smh]\Z", rule["for"]) and rule["labels"]["severity"] in ("critical", "warning"), where)
        check({"summary", "runbook"} <= set(rule["annotations"]) <= {"summary", "description", "runbook"}, where)
        for text in rule["annotations"].values():
            for label in re.findall(r"\$labels\.(\w+)", text):
                check(label in known, f"{where}: {label} in {text!r}")
        check_runbook(where, rule["annotations"]["runbook"])
    check(len(seen) > 20, seen)


@case("dashboard: valid JSON, panels that do not overlap, queries of metrics, labels and values that there are")
def dashboard():
    with open(os.path.join(SRC, "etc/monitoring/claudebench-dashboard.json"), encoding="utf-8") as f:
        board = json.load(f)
    live, taken, ids = now(), set(), set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        check(not cells & taken and at["x"] + at["w"] <= 24 and panel["id"] not in ids, panel["title"])
        taken |= cells
        ids.add(panel["id"])
        check(panel["type"] == "row" or panel["targets"], panel["title"])
        for target in panel.get("targets", []):
            expr = target["expr"].replace("$__rate_interval", "5m")
            known = check_expr(panel["title"], expr, live)
            check(set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= known, target)
    for other in [v["definition"] for v in board["templating"]["list"] if "definition" in v] + [a["expr"] for a in board["annotations"]["list"]]:
        check_expr("dashboard", other, live)
    used = set(re.findall(r"claudebench_\w+", json.dumps(board)))
    missing = set(OPS) - {base_of(n).removeprefix("claudebench_") for n in used}
    equal(missing, set(), "metrics that are not on the dashboard")


@case("counters go on over the death of a worker, a reload and an upgrade in place, and say why a worker was replaced")
def go_on():
    c = d.caller()

    def counters():
        return {key: n for f in now().values() if f.type in ("counter", "histogram", "summary") for key, n in f.samples.items()}

    def grown(before, why):
        after = counters()
        check(not (back := {k: (n, after.get(k)) for k, n in before.items() if after.get(k, -1) < n}), f"{why}: {back}")
        return after

    def status():
        return d.status()

    def healthy():
        return status()["status"] == "healthy"

    before = counters()
    procs.kill(d.workers("task")[0])
    wait_until(lambda: value("worker_restarts_total", domain="task", reason="signal") == 1 and healthy(), 10, "replaced")
    c.call("task.create", {"text": "x"})
    before = grown(before, "death")
    reload(task={"lease_ms": 31000})
    c.call("task.create", {"text": "x"})
    before = grown(before, "reload")
    equal(value("config_reloads_total"), 1)
    started = value("start_time_seconds")
    procs.kill(d.pid, signal.SIGUSR2)
    wait_until(lambda: d.events("upgraded") and status()["config"]["old_workers"] == 0 and healthy(), 10, lambda: f"upgraded: {d.log_tail()}")
    c = d.caller()
    c.call("task.create", {"text": "x"})
    grown(before, "upgrade")
    equal((value("requests_total", method="task.create", code="ok"), value("start_time_seconds")), (6, started))


@case("metrics.textfile: whole, 0644, current; a Redis that stands still does not keep it back")
def textfile():
    def read():
        with open(FILE, encoding="utf-8") as f:
            return prometheus.parse(f.read())

    wait_until(lambda: os.path.exists(FILE) and (f := read().get("claudebench_tasks_created_total")) and f.value() == 6, 10, "written")
    equal((stat.S_IMODE(os.stat(FILE).st_mode), os.listdir(folder)), (0o644, ["claudebench.prom"]))
    equal(set(read()), set(now()))
    procs.kill(d.redis_pid(), signal.SIGSTOP)
    try:
        then = read()["claudebench_written_time_seconds"].value()
        wait_until(lambda: read()["claudebench_written_time_seconds"].value() > then + 1, 10, "written all the same")
    finally:
        procs.kill(d.redis_pid(), signal.SIGCONT)


@case("metrics.textfile: an unwritable folder is told once, retried, and disturbs nobody; a reload moves the file; a stop removes it")
def textfile_trouble():
    other = os.path.join(folder, "not-there", "x.prom")
    workers = d.workers()
    reload(metrics={"textfile": other, "interval_ms": 1000})
    wait_until(lambda: d.events("textfile_failed") and not os.path.exists(FILE), 10, "told, and the old one is removed")
    check(set(d.workers()) == set(workers), "no worker is replaced for it")
    equal(d.client("status").returncode, 0)
    wait_until(lambda: value("written_time_seconds") and os.makedirs(os.path.dirname(other), exist_ok=True) is None
               and os.path.exists(other), 10, "tried again")
    wait_until(lambda: len(d.events("textfile_written")) >= 2, 5, "and that is told")
    equal(len(d.events("textfile_failed")), 1)
    d.stop()
    equal(os.listdir(os.path.dirname(other)), [])


if __name__ == "__main__":
    main()

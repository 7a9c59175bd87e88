"""report.py: what bench/run found, as Markdown and as a plot. `found` is the document of the JSON file."""

import statistics

from peers import systems
from report import machine

# measure: the column's heading. A measure whose name begins with one of LOWER is the better the lower it is.
TABLES = (
    ("Enqueue, tasks/s", (("enqueue_sync", "one after the other"), ("enqueue_flight", "64 in flight"), ("enqueue_batch", "batches of 100"))),
    ("Drain, handlers that do nothing, tasks/s", (("drain_1", "1 consumer"), ("drain_2", "2 consumers"), ("drain_4", "4 consumers"),
                                                  ("drain_batch", "1 consumer, batches of 100"))),
    ("Whole life: created, claimed and completed at the same time, 2 consumers", (("life", "tasks/s"), ("life_cpu", "CPU µs a task, all processes"))),
    ("End to end at low load: created → handler, ms", (("latency_p50", "p50"), ("latency_p95", "p95"), ("latency_p99", "p99"))),
    ("Request → reply (ClaudeBench and raw Redis: of task.create, by a worker; the others: of a handler)", (("ask_p50", "1 in flight: p50 ms"), ("ask_p95", "p95 ms"), ("ask_p99", "p99 ms"), ("ask_rate", "64 in flight: /s"))),
    ("Resident memory, MiB", (("rss_worker", "a worker"), ("rss_server", "its server"), ("rss_redis", "redis-server"))),
    ("With {depth} tasks queued, measured once", (("deep_enqueue", "enqueue/s"), ("deep_drain", "drain/s, 1 consumer"), ("deep_bytes", "bytes a task"))),
)
LOWER = ("life_cpu", "latency", "ask_p", "rss", "deep_bytes")
# One line of the comparison with the best peer: its name, and the measures of which each system's best counts.
VERDICTS = (
    ("enqueue, one after the other, /s", ("enqueue_sync",)),
    ("enqueue, 64 in flight, /s", ("enqueue_flight",)),
    ("enqueue, the best way that it has, /s", ("enqueue_sync", "enqueue_flight", "enqueue_batch")),
    ("drain, one call a task, best number of consumers, /s", ("drain_1", "drain_2", "drain_4")),
    ("drain, the best way that it has, /s", ("drain_1", "drain_2", "drain_4", "drain_batch")),
    ("whole life, /s", ("life",)),
    ("CPU µs a task", ("life_cpu",)),
    ("end to end p50, ms", ("latency_p50",)),
    ("end to end p99, ms", ("latency_p99",)),
    ("request → reply p50, ms", ("ask_p50",)),
    ("request → reply p99, ms", ("ask_p99",)),
    ("request → reply, 64 in flight, /s", ("ask_rate",)),
    ("RSS of a worker, MiB", ("rss_worker",)),
    ("enqueue/s with {depth} queued", ("deep_enqueue",)),
    ("drain/s with {depth} queued", ("deep_drain",)),
    ("bytes a queued task", ("deep_bytes",)),
)
RIVALS = {
    "keeps": "best peer on Redis that hands on the tasks of a dead consumer",
    "loses": "best peer on Redis that does not",
    "elsewhere": "best peer that keeps tasks elsewhere",
}
PLOTS = (
    ("Enqueue", "tasks/s", (("enqueue_sync", "one after the other"), ("enqueue_flight", "64 in flight"), ("enqueue_batch", "batches"))),
    ("Drain, handlers that do nothing", "tasks/s", (("drain_1", "1 consumer"), ("drain_2", "2"), ("drain_4", "4"), ("drain_batch", "1, batches"))),
    ("Whole life, 2 consumers", "tasks/s", (("life", ""),)),
    ("CPU a task in that", "µs", (("life_cpu", ""),)),
    ("End to end at low load", "ms", (("latency_p50", "p50"), ("latency_p99", "p99"))),
    ("Request → reply, 1 in flight", "ms", (("ask_p50", "p50"), ("ask_p99", "p99"))),
)
DASH = "—"


def number(x):
    if x >= 1000:
        return f"{x:,.0f}".replace(",", " ")
    return f"{x:.0f}" if x >= 100 else f"{x:.3g}"


def depth_of(found):
    return number(found["depth"])


def median(system, measure):
    values = system["measures"].get(measure)
    return statistics.median(values) if values else None


def cell(system, measure, notes):
    values = system["measures"].get(measure)
    if values:
        spread = f" ({number(min(values))}–{number(max(values))})" if len(values) > 1 else ""
        return number(statistics.median(values)) + spread
    return DASH + note_mark(reason(system, measure), notes)


def reason(system, measure):
    for name, why in system["why_not"].items():
        if measure.startswith(name):
            return why
    if measure == "rss_server" or (measure == "rss_redis" and not system["stopped"]):
        return "has none"
    return system["stopped"] or "not asked for"


def note_mark(why, notes):
    if why not in notes:
        notes.append(why)
    return f" [{notes.index(why) + 1}]"


def table(found, title, columns):
    notes = []
    lines = [f"## {title.format(depth=depth_of(found))}", "", "| system | " + " | ".join(heading for _, heading in columns) + " |",
             "|---|" + "---:|" * len(columns)]
    for system in found["systems"]:
        cells = [DASH] * len(columns) if system["skipped"] else [cell(system, measure, notes) for measure, _ in columns]
        if system["skipped"]:
            cells[0] += note_mark("skipped: " + system["skipped"], notes)
        lines.append("| " + " | ".join([system["title"], *cells]) + " |")
    lines.append("")
    lines += [f"[{i + 1}] {why}  " for i, why in enumerate(notes)]
    return lines + [""] if notes else lines


def best(system, measures):
    values = [x for x in (median(system, measure) for measure in measures) if x is not None]
    if not values:
        return None
    return min(values) if measures[0].startswith(LOWER) else max(values)


def kind_of(system):
    """Which of RIVALS a peer is one of: what it promises decides what its figures can be compared with."""
    if not system["on_redis"]:
        return "elsewhere"
    return "keeps" if system["dies"] == systems.System.dies else "loses"


def rival(found, measures, kind, ours):
    """Two cells: the best of the peers of a kind, and how we stand beside it."""
    peers = [(best(s, measures), s["title"]) for s in found["systems"] if s["is_peer"] and kind_of(s) == kind]
    peers = [peer for peer in peers if peer[0] is not None]
    if not peers:
        return f"{DASH} | "
    is_lower = measures[0].startswith(LOWER)
    theirs, name = (min if is_lower else max)(peers)
    if not ours or not theirs:  # CPU that is less than a tick: --scale
        return f"{number(theirs)} {name} | "
    ratio = theirs / ours if is_lower else ours / theirs
    return f"{number(theirs)} {name} | " + (f"{ratio:.2f} ×" if ratio >= 1 else f"**behind: {ratio:.2f} ×**")


def verdict(found, title, measures):
    """One row, or None when it was not measured here."""
    systems = {s["name"]: s for s in found["systems"]}
    ours = best(systems["claudebench"], measures) if "claudebench" in systems else None
    if ours is None:
        return None
    bare = best(systems["bare"], measures) if "bare" in systems else None
    return f"| {title.format(depth=depth_of(found))} | {number(ours)} | {number(bare) if bare else DASH} | " + \
        " | ".join(rival(found, measures, kind, ours) for kind in RIVALS) + " |"


def verdicts(found):
    rows = [row for row in (verdict(found, *line) for line in VERDICTS) if row]
    if not rows:
        return []
    return ["## Beside the best of the peers (medians)", "",
            "`×`: how many times as good ClaudeBench is, above 1 ahead. Raw Redis: the same scripts and clients, without checks and supervision. "
            "Request → reply: ours is that of task.create, by a worker; a peer's comes from a handler, behind its queue.", "",
            f"| | ClaudeBench | raw Redis | {' | | '.join(RIVALS.values())} | |", "|---|---:|---:|" + "---|---|" * len(RIVALS), *rows, ""]


def heading(found):
    m = found["machine"]
    kind = "AOF everysec" if found["aof"] == "everysec" else "no AOF"
    lines = [f"# Side by side with peers, {kind}", "",
             f"- date: {m['date']}; commit: {m['commit']}" + (f"; **{m['warning']}**" if m["warning"] else ""),
             machine.line(m),
             f"- rounds: {found['rounds']}, in another order each; medians (least–most); tasks have 200 bytes of text" +
             (f"; sizes × {found['scale']:g}: **no figures to quote**" if found["scale"] != 1 else ""), "",
             "| system | version | tasks are in | those of a consumer that dies are | |", "|---|---|---|---|---|"]
    for system in found["systems"]:
        state = f"skipped: {system['skipped']}" if system["skipped"] else system["stopped"] or ""
        lines.append(f"| {system['title']} | {system['version']} | {system['kept']} | {system['dies']} | {state} |")
    return lines + [""]


def markdown(found, plot):
    """`plot`: the name of the file of bars, or why there is none, in brackets."""
    lines = heading(found) + verdicts(found)
    lines += [f"![bars]({plot})" if plot.endswith(".svg") else f"No plot {plot}.", ""]
    for title, columns in TABLES:
        if not title.startswith("With") or found["depth"]:
            lines += table(found, title, columns)
    return "\n".join(lines)


def panels(found):
    return [(title, unit, [name for _, name in columns],
             [(s["title"], [median(s, measure) for measure, _ in columns]) for s in found["systems"] if not s["skipped"]])
            for title, unit, columns in PLOTS]

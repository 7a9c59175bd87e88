#!/usr/bin/env python3
"""growth.py: does cost grow as it should? (make bench-growth; bench/README.md says how to read the report)

    growth.py --bench PROGRAM [--rounds N] [--quick] [--grow ROW,…:WHAT=N,…]… [--results FOLDER] [--name NAME]

Runs claudebench-bench --grow and writes NAME-growth.md, .json and, with gnuplot, .svg. Every figure is the median of the rounds, with
the least and the largest; what is compared with the first point, or with the bare loop, is compared within its round.
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from report import page  # noqa: E402  pylint: disable=wrong-import-position

GROWS = (
    "claim-1,create-64,drain-64:depth=1000,10000,100000,1000000",
    "create-8-c8,drain-8-c8:workers=1,2,4,8",
    "create-64,drain-64:payload=100,1000,8192,65536",
    "create-8-c8,drain-8-c8:instances=1,2,3,4",
    "create-1-c64,drain-1-c64:clients=1,10,100,500",
    "create-1:connected=1,100,500",
)
WHATS = {  # name → axis, logarithmic, what is meant
    "depth": ("tasks queued", True, "tasks queued besides those of the measurement; the bare loop would meet the same scripts and the same "
                                    "queue, so each point is compared with the first only"),
    "workers": ("task workers", False, "worker processes of one daemon, and as many bare servers; 8 clients with 8 requests in flight each"),
    "payload": ("bytes of payload", True, "bytes of each task's payload; one client, 64 in flight"),
    "instances": ("daemons", False, "daemons on one Redis, each with one task worker and one system worker; 8 clients with 8 in flight each"),
    "clients": ("clients that ask", True, "clients with one request in flight each: all of them ask at the same time"),
    "connected": ("agents that wait", True, "agents that wait for tasks of another queue (parked claims; before the bare loop: connections with "
                                            "a blocking pop) while one client asks, one in flight"),
}


# ---- the figures ----

def fit(points):
    """(a, b) of redis µs = a + b × KiB, least squares: what a request costs, and each KiB."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    over = sum((x - mean_x) ** 2 for x, _ in points)
    b = sum((x - mean_x) * (y - mean_y) for x, y in points) / over if over else 0
    return mean_y - b * mean_x, b


def summarise(series):
    """The series' points: each figure as (least, median, largest)."""
    points = []
    first = series["points"][0]["all"]
    for point in series["points"]:
        rounds = point["all"]
        made = {"value": point["value"]}
        for name in ("requests_per_s", "p50_ms", "p99_ms", "redis_us", "workers_us", "supervisor_us", "client_us", "commands", "redis_kib"):
            made[name] = page.spread(r["system"][name] for r in rounds)
        for name in ("requests_per_s", "p99_ms", "redis_us"):
            made[f"{name}_over_first"] = page.spread(r["system"][name] / f["system"][name] for r, f in zip(rounds, first))
        if "bare" in rounds[0]:
            made["bare_requests_per_s"] = page.spread(r["bare"]["requests_per_s"] for r in rounds)
            made["bare_p99_ms"] = page.spread(r["bare"]["p99_ms"] for r in rounds)
            made["bare_redis_us"] = page.spread(r["bare"]["redis_us"] for r in rounds)
            made["ratio"] = page.spread(r["system"]["requests_per_s"] / r["bare"]["requests_per_s"] for r in rounds)
            made["bare_over_first"] = page.spread(r["bare"]["requests_per_s"] / f["bare"]["requests_per_s"] for r, f in zip(rounds, first))
        if series["what"] == "clients":  # by Little's law the mean latency is clients / rate: what is beyond is unfairness
            made["p99_over_mean"] = page.spread(r["system"]["p99_ms"] * r["system"]["requests_per_s"] / 1000 / point["value"] for r in rounds)
        points.append(made)
    return {"row": series["row"], "what": series["what"], "points": points}


def verdicts(series):
    """[(whether it is as it should be, text)]: what is wanted of each series, from medians."""
    first, last, what, row = series["points"][0], series["points"][-1], series["what"], series["row"]
    said = []

    def want(is_good, text):
        said.append((is_good, f"{row} by {what}: {text}"))

    def at_most(name, bound, label):
        grown = last[f"{name}_over_first"]
        want(grown[1] <= bound, f"{label} at {last['value']} over {first['value']}: {page.percent(*grown)}, wanted ≤ {bound * 100:.0f} %")

    def why(point, of):
        """Where it goes: into the scripts, which the bare loop calls as well, into more and smaller groups, or into our processes."""
        return (f"; there system over bare {page.percent(*point['ratio'])}, commands a request {page.short(of['commands'][1])} → "
                f"{page.short(point['commands'][1])}, Redis' µs {page.short(of['redis_us'][1])} → {page.short(point['redis_us'][1])}, the bare loop's "
                f"{page.short(of['bare_redis_us'][1])} → {page.short(point['bare_redis_us'][1])}")

    if what == "depth":
        at_most("redis_us", 1.2, "Redis' CPU a request")
        if row.startswith("claim-1"):
            at_most("p99_ms", 1.2, "p99")
    elif what in ("workers", "instances"):
        best = max(p["requests_per_s_over_first"][1] for p in series["points"])
        grown = last["requests_per_s_over_first"]
        want(grown[1] >= 0.9, f"requests/s at {last['value']} over {first['value']}: {page.percent(*grown)}, wanted ≥ 90 % (the best point: "
                              f"{best * 100:.0f} %){why(last, first)}")
        want(last["ratio"][1] >= 0.8, f"system over bare at {last['value']}: {page.percent(*last['ratio'])}, wanted ≥ 80 %")
    elif what == "payload":
        base, per_kib = fit([(p["value"] / 1024, p["redis_us"][1]) for p in series["points"]])
        worst = max(p["redis_us"][1] / (max(base, first["redis_us"][1]) + max(per_kib, 0) * p["value"] / 1024) for p in series["points"])
        want(worst <= 1.3, f"Redis' CPU is {page.short(base)} µs a request and {page.short(per_kib)} µs a KiB; no point is more than "
                           f"{worst * 100:.0f} % of that line, wanted ≤ 130 %: it grows in proportion")
    elif what == "clients":
        high = max(series["points"], key=lambda p: p["requests_per_s"][1])
        kept = last["requests_per_s"][1] / high["requests_per_s"][1]
        want(kept >= 0.8, f"requests/s with {last['value']} clients: {kept * 100:.0f} % of the best point ({high['value']}), wanted ≥ 80 %{why(last, high)}")
        want(last["p99_over_mean"][1] <= 2.5, f"p99 over the mean latency with {last['value']}: {page.with_spread(*last['p99_over_mean'])}, wanted "
                                              f"≤ 2.5: nobody is left behind")
    elif what == "connected":
        at_most("redis_us", 1.2, "Redis' CPU a request")
        at_most("p99_ms", 1.5, "p99")
    return said


# ---- the report ----

def section(what, all_series):
    axis, _, meaning = WHATS[what]
    mine = [s for s in all_series if s["what"] == what]
    has_bare = "ratio" in mine[0]["points"][0]
    columns = ["row", axis, "req/s", "over the first"] + (["bare req/s", "over bare"] if has_bare else [])
    columns += ["p50 ms", "p99 ms", "p99 over the first"] + (["p99 over the mean"] if what == "clients" else [])
    columns += ["redis µs", "workers µs", "commands"]
    rows = []
    for series in mine:
        for p in series["points"]:
            row = [series["row"], p["value"], page.with_spread(*p["requests_per_s"]), page.percent(*p["requests_per_s_over_first"])]
            if has_bare:
                row += [page.short(p["bare_requests_per_s"][1]), page.percent(*p["ratio"])]
            row += [page.short(p["p50_ms"][1]), page.with_spread(*p["p99_ms"]), page.percent(*p["p99_ms_over_first"])]
            if what == "clients":
                row.append(page.short(p["p99_over_mean"][1]))
            rows.append(row + [page.short(p["redis_us"][1]), page.short(p["workers_us"][1]), page.short(p["commands"][1])])
    return [f"## By {axis}", "", meaning[0].upper() + meaning[1:] + ".", "", *page.table(columns, rows), ""]


def report(document, all_series, has_plot, name):
    run = document["runs"][0]
    lines = page.heading("How cost grows", document, [
        f"AOF {run['aof']}, pinned: {run['pinned']}, {document['rounds']} rounds, all points of all series in each; figures are medians "
        "(least–largest), ratios are made within a round"])
    if has_plot:
        lines += [f"![requests per second and p99]({name}-growth.svg)", ""]
    said = [v for s in all_series for v in verdicts(s)]
    lines += [f"## As it should: {sum(good for good, _ in said)} of {len(said)}", ""]
    lines += [f"- {'yes' if good else '**NO**'}: {text}" for good, text in said] + [""]
    for what in dict.fromkeys(s["what"] for s in all_series):
        lines += section(what, all_series)
    return "\n".join(lines)


# ---- the plot ----

def panel(axis, is_log, y, curves):
    """One plot of gnuplot; curves: (title, dashed, [(x, least, median, largest)])."""
    script, plots = [], []
    for number, (label, style, points) in enumerate(curves):
        script.append(f"$c{number} << EOD\n" + "\n".join(f"{x} {m:.6g} {a:.6g} {z:.6g}" for x, a, m, z in points) + "\nEOD")
        plots.append(f"$c{number} using 1:2:3:4 with yerrorlines {style} title '{label}'")
    script.append("set logscale x" if is_log else "unset logscale x")
    script.append("set format x '10^{%T}'" if axis == WHATS["depth"][0] else "set format x '%g'")
    ticks = sorted({x for _, _, points in curves for x, *_ in points})
    script.append("set xtics (" + ", ".join(str(x) for x in ticks) + ")" if axis != WHATS["depth"][0] else "set xtics auto")
    low, high = ticks[0], ticks[-1]
    script.append(f"set xrange [{low * 0.7:g}:{high * 1.4:g}]" if is_log else f"set xrange [{low - 0.5:g}:{high + 0.5:g}]")
    script += [f"set title 'by {axis}'", f"set ylabel '{y}'", "plot " + ", ".join(plots)]
    return "\n".join(script)


def plot_script(document, all_series):
    whats = list(dict.fromkeys(s["what"] for s in all_series))
    m = document["machine"]
    script = [f"set terminal svg size {max(2, len(whats)) * 330},1020 font 'sans,11' background 'white'",
              "set key bmargin center vertical maxrows 4 samplen 1.5 font ',8'", "set bmargin 6", "set grid ytics lc rgb '#dddddd'", "set yrange [0:*]",
              f"set multiplot layout 3,{len(whats)} columnsfirst title \"{m['date']}, {m['cpu']}, {m['cores']} cores, redis {m['redis']}, "
              f"commit {m['commit']}; median, least and largest of {document['rounds']} rounds\""]
    for what in whats:
        axis, is_log, _ = WHATS[what]
        rate, ratio, p99 = [], [], []
        for number, s in enumerate(t for t in all_series if t["what"] == what):
            solid, dashed = f"lw 1.5 lc {number + 1} pt 7 ps 0.5", f"lw 1 lc {number + 1} dt 2 pt 6 ps 0.5"

            def points(name, s=s):
                return [(p["value"], *p[name]) for p in s["points"]]

            rate.append((s["row"], solid, points("requests_per_s")))
            p99.append((s["row"], solid, points("p99_ms")))
            if "ratio" in s["points"][0]:
                rate.append((f"{s['row']}, bare", dashed, points("bare_requests_per_s")))
                p99.append((f"{s['row']}, bare", dashed, points("bare_p99_ms")))
                ratio.append((f"{s['row']} over bare", solid, points("ratio")))
                ratio.append((f"{s['row']} over its first", dashed, points("requests_per_s_over_first")))
            else:
                ratio.append((f"{s['row']} over its first", solid, points("requests_per_s_over_first")))
        script.append("unset logscale y\nset yrange [0:*]\n" + panel(axis, is_log, "requests/s", rate))
        script.append("set yrange [0:*]\n" + panel(axis, is_log, "requests/s, ratio", ratio))
        script.append("set logscale y\nset yrange [*:*]\n" + panel(axis, is_log, "p99 ms", p99))
    return "\n".join(script + ["unset multiplot"]) + "\n"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grow", action="append", help="instead of all: as claudebench-bench --grow")
    return page.parse_run(parser, rounds=3, part="grow")


def main():
    args, run = arguments()
    words = [word for grow in args.grow or GROWS for word in ("--grow", grow)]
    document = page.run_bench(args.bench, *run, *words)
    all_series = [summarise(s) for s in document["runs"][0]["growth"]]
    has_plot = page.plot(args, "growth", plot_script(document, all_series)) is not None
    page.tell_written(args, "growth", "md", report(document, all_series, has_plot, args.name))
    page.tell_written(args, "growth", "json", page.compact({"machine": document["machine"], "rounds": document["rounds"],
                                                            "aof": args.aof, "pinned": args.pin, "series": all_series}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

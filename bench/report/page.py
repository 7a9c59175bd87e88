"""page.py: what growth.py, patterns.py and capacity.py share: running claudebench-bench, the heading and tables of a report, writing it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time

from . import machine
from . import plot as gnuplot


def end(signo, _):
    sys.exit(128 + signo)


def run_program(argv, **more):
    """As subprocess.run(); but whoever ends us ends it, too, in its own way: it has processes and a folder to take away."""
    for signo in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signo, end)
    try:
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, **more)  # pylint: disable=consider-using-with
    except OSError as why:
        sys.exit(f"{os.path.basename(sys.argv[0])}: {argv[0]}: {why.strerror}")
    with child:
        try:
            out, err = child.communicate()
        except BaseException:
            child.terminate()
            child.wait()
            raise
    return subprocess.CompletedProcess(argv, child.returncode, out, err)


def run_bench(bench, *args):
    """The JSON of one run. Its progress goes on to our stderr; a run that means nothing ends us with its exit code."""
    with tempfile.TemporaryDirectory(prefix="cb-bench-page.") as folder:
        path = os.path.join(folder, "bench.json")
        done = run_program([bench, *args, "--json", path])
        if done.returncode not in (0, 70):
            sys.exit(done.returncode)
        with open(path, encoding="utf-8") as f:
            document = json.load(f)
    if done.returncode:
        print(done.stdout.decode(), file=sys.stderr)
        sys.exit(f"{os.path.basename(sys.argv[0])}: some figures are void: nothing is written")
    document["is_quick"] = "--quick" in args
    return document


def spread(numbers):
    """(least, median, largest)"""
    ordered = sorted(numbers)
    return ordered[0], ordered[len(ordered) // 2], ordered[-1]


def short(x):
    """Three digits that count."""
    if x == 0:
        return "0"
    digits = 0 if abs(x) >= 100 else 1 if abs(x) >= 10 else 2 if abs(x) >= 1 else 3
    return f"{x:.{digits}f}"


def with_spread(least, median, largest):
    return f"{short(median)} ({short(least)}–{short(largest)})"


def percent(least, median, largest):
    return f"{median * 100:.0f} % ({least * 100:.0f}–{largest * 100:.0f})"


def heading(title, document, more):
    m = document["machine"]
    lines = [f"# {title}", "",
             f"- date: {m['date']}",
             machine.line(m),
             f"- {document['program']}, redis {m['redis']}, hiredis {m['hiredis']}, {m['compiler']}, commit {m['commit']}"]
    if m["warning"]:
        lines.append(f"- **not a build to measure: {m['warning']}**")
    if document.get("is_quick"):
        lines.append("- **--quick: no figures to quote**")
    return lines + [f"- {line}" for line in more] + [""]


def table(columns, rows):
    """Markdown; the first column is text, the others are figures."""
    lines = ["| " + " | ".join(columns) + " |", "|---|" + "---:|" * (len(columns) - 1)]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]


def parse_run(parser, rounds, part=None):
    """The command line of a report that is one run of claudebench-bench: (arguments, words for run_bench()). With the option `part` it
    is of less than all. Reports of a part, or of --quick, never take the place of figures that are kept."""
    parser.add_argument("--bench", required=True, metavar="PROGRAM", help="claudebench-bench")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--aof", default="everysec")
    parser.add_argument("--pin", default="none")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the requests: to see that it works")
    add_arguments(parser)
    args = parser.parse_args()
    if args.name == parser.get_default("name"):
        args.name += ("-part" if part and getattr(args, part) else "") + ("-quick" if args.quick else "")
    return args, [*(["--quick"] if args.quick else []), "--rounds", str(args.rounds), "--aof", args.aof, "--pin", args.pin]


def add_arguments(parser):
    bench = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("--results", default=os.path.join(bench, "results"), help="folder of the report (default: bench/results)")
    parser.add_argument("--name", default=time.strftime("%Y-%m-%d", time.gmtime()), help="beginning of the files' names (default: the date)")


def write(args, what, extension, text):
    """Returns the path. Whoever reads meanwhile sees the old file or the new one."""
    os.makedirs(args.results, exist_ok=True)
    path = os.path.join(args.results, f"{args.name}-{what}.{extension}")
    with open(path + ".tmp", "w", encoding="utf-8") as f:
        f.write(text)
    os.replace(path + ".tmp", path)
    return path


def tell_written(args, what, extension, text):
    print(write(args, what, extension, text))


def compact(document):
    """JSON that can be read, and is not a line a number."""
    return json.dumps(document, ensure_ascii=False, indent=1, sort_keys=False) + "\n"


def plot(args, what, commands):
    """Writes what gnuplot makes of its commands. Returns the plot's path, or None with a word on stderr why there is none."""
    svg, why = gnuplot.draw(commands)
    if why:
        print(f"{what}.svg is skipped: {why}", file=sys.stderr)
        return None
    return write(args, what, "svg", svg)

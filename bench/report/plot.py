"""plot.py: plots by gnuplot, as SVG, and one kind of them: bars, several panels of clusters, a logarithmic scale each."""

import shutil
import subprocess

COLOURS = ("#1f6feb", "#8ab4f8", "#c9d1d9", "#57606a")
SCRIPT = """set terminal svg size 1000,{height} font 'sans-serif,12' background '#ffffff'
set multiplot layout {rows},2 title '{title}' font ',15'
set style data histograms
set style histogram clustered gap 1
set style fill solid 0.9 noborder
set boxwidth 0.9
set grid ytics lc rgb '#dddddd'
set xtics rotate by 25 right nomirror scale 0
set logscale y
set format y '%g'
set key bmargin center horizontal samplen 1
set datafile missing '-'
"""


def quoted(text):
    return text.replace("'", "’")


def block(number, rows):
    lines = [f"$d{number} << END"]
    for name, values in rows:
        lines.append(" ".join(['"' + name.replace('"', "") + '"'] + ["-" if value is None else f"{value:.6g}" for value in values]))
    return lines + ["END"]


def script(title, panels):
    lines = [SCRIPT.format(title=quoted(title), rows=(len(panels) + 1) // 2, height=330 * ((len(panels) + 1) // 2) + 40)]
    for number, (name, unit, columns, rows) in enumerate(panels):
        values = [value for _, row in rows for value in row if value]
        if not values:
            continue
        lines += block(number, rows)
        lines += [f"set title '{quoted(name)}'", f"set ylabel '{quoted(unit)}'", f"set yrange [{min(values) / 2:.3g}:{max(values) * 1.5:.3g}]", "set key" if len(columns) > 1 else "unset key"]
        lines.append("plot " + ", ".join(f"$d{number} using {i + 2}:xtic(1) title '{quoted(column)}' lc rgb '{COLOURS[i % len(COLOURS)]}'"
                                         for i, column in enumerate(columns)))
    return "\n".join(lines + ["unset multiplot", ""])


def draw(commands):
    """What gnuplot makes of its commands, which set a terminal and no output: (text of the SVG, None), or (None, why there is none)."""
    if not shutil.which("gnuplot"):
        return None, "gnuplot is not installed (Debian: gnuplot-nox)"
    try:
        done = subprocess.run(["gnuplot"], input=commands.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as why:
        return None, f"gnuplot: {why}"
    if done.returncode or not done.stdout:
        return None, f"gnuplot ended with {done.returncode}: " + " ".join(done.stderr.decode(errors="replace").split())[-300:]
    return done.stdout.decode(), None


def bars(title, panels):
    """panels: [(title, unit, [column], [(row, [value or None])])]. Returns as draw()."""
    return draw(script(title, panels))

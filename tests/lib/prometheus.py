"""prometheus.py: a strict parser of the text format of Prometheus, version 0.0.4, as `promtool check metrics` has it and stricter:
HELP and TYPE once and before the samples, samples of a family together, no sample twice, escapes, histograms whole and cumulative."""

import math
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"')
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)\Z")
NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]+)?|Inf)\Z|NaN\Z")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
UNITS = ("_total", "_seconds", "_bytes")


class Wrong(Exception):
    pass


def need(is_so, *what):
    if not is_so:
        raise Wrong(" ".join(map(str, what)))


class Family:
    def __init__(self, name, help_):
        self.name, self.help, self.type, self.samples = name, help_, None, {}

    def value(self, suffix="", **labels):
        return self.samples[(self.name + suffix, tuple(sorted(labels.items())))]

    def label_names(self):
        return {k for _, labels in self.samples for k, _ in labels} - {"le"}


def unescape(text):
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], text)


def labels_of(text, line):
    if text is None:
        return ()
    found, at = [], 0
    while at < len(text):
        m = LABEL.match(text, at)
        need(m, "labels:", line)
        found.append((m[1], unescape(m[2])))
        at = m.end()
        if at < len(text):
            need(text[at] == "," and at + 1 < len(text), "between labels:", line)
            at += 1
    need(found, "empty braces:", line)
    need(len({k for k, _ in found}) == len(found), "a label twice:", line)
    return tuple(sorted(found))


def number(text, line):
    need(NUMBER.match(text), "number:", line)
    return float(text)


def family_end(f):
    if f is None:
        return
    need(f.type, f.name, "has no TYPE")
    need(f.samples, f.name, "has no sample")
    need(f.type != "counter" or f.name.endswith("_total"), f.name, "is a counter without _total")
    need(f.type == "counter" or not f.name.endswith("_total"), f.name, "is no counter")
    if f.type == "counter":
        need(all(v >= 0 and v == v for v in f.samples.values()), f.name, "is negative")
    if f.type not in ("histogram", "summary"):
        return
    series = {}
    for (name, labels), value in f.samples.items():
        rest = tuple(x for x in labels if x[0] != "le")
        one = series.setdefault(rest, {"buckets": []})
        if name == f.name + "_bucket":
            need("le" in dict(labels), name, "has no le")
            one["buckets"].append((number(dict(labels)["le"], labels), value))
        else:
            need("le" not in dict(labels), name, "has le")
            one[name[len(f.name):]] = value
    for labels, one in series.items():
        need("_sum" in one and "_count" in one, f.name, labels, "has no _sum or no _count")
        if f.type == "histogram":
            les, counts = [b[0] for b in one["buckets"]], [b[1] for b in one["buckets"]]
            need(les == sorted(les) and len(set(les)) == len(les), f.name, labels, "buckets are not in order")
            need(counts == sorted(counts), f.name, labels, "buckets are not cumulative")
            need(les and les[-1] == math.inf and counts[-1] == one["_count"], f.name, labels, "+Inf is not the count")


def parse(text):
    """Families by name; raises Wrong."""
    need(text == "" or text.endswith("\n"), "the last line does not end")
    families, now = {}, None
    for line in text.split("\n")[:-1]:
        m = re.match(rf"# (HELP|TYPE) ({NAME}) (.*)\Z", line)
        if m and m[1] == "HELP":
            family_end(now)
            need(m[2] not in families, "HELP twice:", line)
            need(not re.search(r"\\(?![\\n])", re.sub(r"\\\\", "", m[3])) and m[3], "help:", line)
            now = families[m[2]] = Family(m[2], unescape(m[3]))
        elif m:
            need(now and now.name == m[2] and now.type is None and not now.samples, "TYPE is not behind its HELP:", line)
            need(m[3] in SUFFIXES, "type:", line)
            now.type = m[3]
        else:
            m = SAMPLE.match(line)
            need(m, "neither comment nor sample:", line)
            need(now and now.type and m[1] in [now.name + s for s in SUFFIXES[now.type]], "of no family, or another one:", line)
            key = (m[1], labels_of(m[2], line))
            need(key not in now.samples, "twice:", line)
            now.samples[key] = number(m[3], line)
    family_end(now)
    return families

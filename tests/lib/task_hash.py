"""task_hash.py: a task's hash with each value by itself, as tests look at them: several are one field of it (lua/include/task_fields.lua)."""

_PARTS = {"s": ("st", "v", "at", "up", "le", "as", "hi", "ho"), "c": ("pr", "ma", "mc", "cr", "ex", "q")}
_PARTS_2 = {"n": ("v", "at", "up", "en"), "l": ("le", "as", "hi", "ho")}  # of schema 2, instead of `s`
_ENDED = (b"completed", b"failed", b"cancelled")


def _split(field, text):
    names = _PARTS.get(field) or _PARTS_2[field]
    return dict(zip(names, text.split(b" ", len(names) - 1)))


def unpacked(fields):
    """A hash (bytes by name) as HGETALL gives it, with st, v, at, up, le, as, hi, ho, pr, ma, mc, cr, ex and q instead of s and c; `as`
    only where it is set, and `en` for when it ended."""
    out = {name: value for name, value in fields.items() if name not in _PARTS and name not in _PARTS_2}
    for field in (*_PARTS, *_PARTS_2):
        if field in fields:
            out.update(_split(field, fields[field]))
    if out.get("as") == b"0":
        del out["as"]
    if "s" in fields and out["st"] in _ENDED and "up" in out:
        out["en"] = out["up"]
    return out


def change(redis, key, **values):
    """Writes values of a task by themselves, behind the scripts' back. One that few tasks have (dn, sc …) needs a version above 1."""
    fields = redis.hash(key)
    assert "s" in fields, f"{key} is not of today: {fields}"
    changed = {}
    for field, names in _PARTS.items():
        mine = {name: str(values.pop(name)).encode() for name in names if name in values}
        if mine:
            known = {**_split(field, fields.get(field, b"")), **mine}
            changed[field] = b" ".join(known[name] for name in names if name in known)
    redis.call("HSET", key, *[x for pair in {**changed, **values}.items() for x in pair])


def to_schema(redis, key, schema):
    """Makes of a task what an earlier version would have written. 1: each value is a field; 2: the state is one, and what the other
    values of `s` are makes `n` and `l`."""
    fields = redis.hash(key)
    if "c" not in fields or len(fields.get("s", b"").split(b" ", 7)) not in (4, 8):
        return  # damaged, as it is
    old = unpacked(fields)
    if schema == 1:
        marks = old.pop("ex").replace(b"o", b"")
        marks = marks[1:] if marks.startswith(b"0") else marks
        if marks:
            old["ex"] = marks
    else:
        n = b" ".join(old.pop(name) for name in ("v", "at", "up", "en") if name in old)
        old = {**{name: value for name, value in old.items() if name not in _PARTS["c"]}, "n": n, "c": fields["c"]}
        if "le" in old:
            old["l"] = b" ".join((old.pop("le"), old.pop("as", b"0"), old.pop("hi"), old.pop("ho")))
    redis.call("HDEL", key, *_PARTS)
    redis.call("HSET", key, *[x for pair in old.items() for x in pair])

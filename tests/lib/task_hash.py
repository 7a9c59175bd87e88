"""task_hash.py: a task's hash with each value by itself, as tests look at them: several are one field of it (lua/include/task_fields.lua)."""

_PARTS = {"n": ("v", "at", "up", "en"), "c": ("pr", "ma", "mc", "cr", "ex", "q"), "l": ("le", "as", "hi", "ho")}


def _split(field, text):
    return dict(zip(_PARTS[field], text.split(b" ", len(_PARTS[field]) - 1)))


def unpacked(fields):
    """A hash (bytes by name) as HGETALL gives it, with v, at, up, en, pr, ma, mc, cr, ex, q, le, as, hi and ho instead of n, c and l; `as`
    only where it is set."""
    out = {name: value for name, value in fields.items() if name not in _PARTS}
    for field in _PARTS:
        if field in fields:
            out.update(_split(field, fields[field]))
    if out.get("as") == b"0":
        del out["as"]
    return out


def change(redis, key, **values):
    """Writes values of a task by themselves, behind the scripts' back. One that few tasks have (dn, sc …) needs a version above 1."""
    fields = redis.hash(key)
    assert "n" in fields, f"{key} is not of today: {fields}"
    changed = {}
    for field, names in _PARTS.items():
        mine = {name: str(values.pop(name)).encode() for name in names if name in values}
        if mine:
            known = {**_split(field, fields.get(field, b"")), **mine}
            changed[field] = b" ".join(known[name] for name in names if name in known)
    redis.call("HSET", key, *[x for pair in {**changed, **values}.items() for x in pair])


def to_schema_1(redis, key):
    """Makes of a task what an earlier version would have written: each value is a field."""
    fields = redis.hash(key)
    if "c" not in fields:
        return
    old = unpacked(fields)
    marks = old.pop("ex").replace(b"o", b"")
    marks = marks[1:] if marks.startswith(b"0") else marks
    if marks:
        old["ex"] = marks
    redis.call("HDEL", key, *_PARTS)
    redis.call("HSET", key, *[x for pair in old.items() for x in pair])

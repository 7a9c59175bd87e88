"""schema.py: checks a value against the subset of JSON Schema that system.discover declares.

A keyword that is not known here is an error, so that nothing is declared that nobody checks.
"""

import re

ANNOTATIONS = {"default", "description", "title", "$schema", "$id", "examples", "deprecated", "$comment"}
RFC3339 = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")


class Mismatch(AssertionError):
    pass


def type_name(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _is(value, wanted):
    name = type_name(value)
    return name == wanted or (wanted == "number" and name == "integer")


def validate(value, schema, path="$"):
    """Raises Mismatch, with the path, when `value` does not fit `schema`."""
    if schema is True:
        return
    for keyword, argument in schema.items():
        if keyword in ANNOTATIONS:
            continue
        checker = _CHECKS.get(keyword)
        if checker is None:
            raise Mismatch(f"{path}: the schema uses a keyword that we do not check: {keyword}")
        checker(value, argument, schema, path)


def fits(value, schema):
    try:
        validate(value, schema)
        return True
    except Mismatch:
        return False


def _bad(path, text):
    raise Mismatch(f"{path}: {text}")


def _type(value, wanted, _, path):
    names = wanted if isinstance(wanted, list) else [wanted]
    if not any(_is(value, n) for n in names):
        _bad(path, f"{type_name(value)} where {'/'.join(names)} is declared: {value!r:.200}")


def _properties(value, members, _, path):
    if isinstance(value, dict):
        for name, sub in members.items():
            if name in value:
                validate(value[name], sub, f"{path}.{name}")


def _required(value, names, _, path):
    if isinstance(value, dict):
        for name in names:
            if name not in value:
                _bad(path, f"required member {name!r} is missing: {value!r:.300}")


def _additional(value, allowed, schema, path):
    if isinstance(value, dict) and allowed is not True:
        for name in value:
            if name not in schema.get("properties", {}):
                if allowed is False:
                    _bad(path, f"undeclared member {name!r}")
                validate(value[name], allowed, f"{path}.{name}")


def _text_len(low, count):
    def checker(value, limit, _, path):
        if isinstance(value, str):
            size = count(value)
            if (size < limit) if low else (size > limit):
                _bad(path, f"length {size} against {'min' if low else 'max'} {limit}")

    return checker


def _range(compare, words):
    def checker(value, limit, _, path):
        if _is(value, "number") and not compare(value, limit):
            _bad(path, f"{value} is not {words} {limit}")

    return checker


def _enum(value, choices, _, path):
    if not any(value == c and type_name(value) == type_name(c) for c in choices):
        _bad(path, f"{value!r} is none of {choices}")


def _pattern(value, pattern, _, path):
    if isinstance(value, str) and not re.search(pattern.replace("$", r"\Z"), value):
        _bad(path, f"{value!r:.200} does not match {pattern}")


def _items(value, sub, _, path):
    if isinstance(value, list):
        for i, item in enumerate(value):
            validate(item, sub, f"{path}[{i}]")


def _item_count(low):
    def checker(value, limit, _, path):
        if isinstance(value, list) and ((len(value) < limit) if low else (len(value) > limit)):
            _bad(path, f"{len(value)} items against {'min' if low else 'max'} {limit}")

    return checker


def _unique(value, wanted, _, path):
    if wanted and isinstance(value, list):
        seen = [repr(v) for v in value]
        if len(set(seen)) != len(seen):
            _bad(path, "items are not unique")


def _format(value, name, _, path):
    if name == "date-time" and isinstance(value, str) and not RFC3339.match(value):
        _bad(path, f"{value!r} is no RFC 3339 date-time")


def _any_of(value, choices, _, path):
    if not any(fits(value, c) for c in choices):
        _bad(path, f"{value!r:.200} fits none of the alternatives")


def _not(value, sub, _, path):
    if fits(value, sub):
        _bad(path, f"{value!r} is what `not` excludes")


_CHECKS = {
    "type": _type,
    "properties": _properties,
    "required": _required,
    "additionalProperties": _additional,
    "minLength": _text_len(True, len),
    "maxLength": _text_len(False, len),
    "x-minBytes": _text_len(True, lambda s: len(s.encode("utf-8", "surrogatepass"))),
    "x-maxBytes": _text_len(False, lambda s: len(s.encode("utf-8", "surrogatepass"))),
    "minimum": _range(lambda a, b: a >= b, "≥"),
    "maximum": _range(lambda a, b: a <= b, "≤"),
    "enum": _enum,
    "const": lambda v, c, s, p: _enum(v, [c], s, p),
    "pattern": _pattern,
    "items": _items,
    "minItems": _item_count(True),
    "maxItems": _item_count(False),
    "uniqueItems": _unique,
    "format": _format,
    "anyOf": _any_of,
    "oneOf": _any_of,
    "not": _not,
    "x-minTime": lambda v, c, s, p: None,  # the format's range; times of other zones are not compared here
    "x-maxTime": lambda v, c, s, p: None,
}

"""tap.py: one TAP line per test case, and waiting without guessing.

A test program decorates functions with @case("what it shows") and ends with tap.main(). A case fails by
raising; check(), equal() and fail() raise with words. Every program takes --seed N (or SEED=N) and prints
the seed that it used; --only TEXT runs the cases whose names contain TEXT, --faults F06 those that are runs of
that row of the table of faults (tests/t5/campaign.py). When no case is left, it ends with 64.
"""

import argparse
import faulthandler
import os
import random
import re
import sys
import time
import traceback

import modes

CI = os.environ.get("CB_CI") == "1"
LONG = os.environ.get("CB_LONG") == "1"
FAULTS = os.environ.get("CB_FAULTS") == "1"  # the campaign of make check-faults: the long forms of fault runs
SEED = 0

_cases = []
_faults = {}  # name of a case: the faults that it is a run of
_at_exit = []


class Failure(AssertionError):
    """A check that did not hold."""


class Skip(Exception):
    """The case cannot run here; the text says why."""


def fail(text):
    raise Failure(text)


def check(condition, text):
    if not condition:
        raise Failure(text)


def bound(alone, shared):
    """A limit of a measured time: `alone` in the campaign (make check-faults), where nothing else runs and the figures are those that are wanted;
    `shared` in make check, whose programs take the processors from each other: it still tells a wait from none."""
    return alone if FAULTS else shared


def equal(got, want, text=""):
    if got != want:
        raise Failure(f"{text + ': ' if text else ''}got {short(got)}, wanted {short(want)}")


def short(value, limit=600):
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def note(text):
    """A diagnostic line; shows up in the test's log."""
    for line in str(text).split("\n"):
        print("# " + printable(line), flush=True)


def printable(text):
    return re.sub(r"[^\x20-\x7e\u00a0-\uffff]", lambda m: f"\\x{ord(m.group()):02x}", text)


def wait_until(condition, timeout=5.0, what=None, step=0.005):
    """Polls until condition() is true and returns its value; fails after `timeout` seconds.

    Exceptions of the kinds that a service under test causes while it is away count as "not yet".
    """
    deadline = time.monotonic() + timeout
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = None
        except (OSError, EOFError) as problem:
            last = problem
        if time.monotonic() >= deadline:
            name = what() if callable(what) else what or getattr(condition, "__name__", "condition")
            raise Failure(f"waited {timeout} s for: {name}" + (f" (last: {last!r})" if last else ""))
        time.sleep(step)


def holds_for(condition, seconds, what, step=0.01):
    """Fails as soon as condition() is false; for what must *not* happen in a stated time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        check(condition(), f"did not hold for {seconds} s: {what}")
        time.sleep(step)


def figure(name, value):
    """A measured or counted value for the table of faults: times end in _s, everything else is a count."""
    note(f"figure {name} {round(value, 3)}")


def case(name, faults=""):
    """Registers a test case; `faults` are the rows of the table of faults that it is a run of ("F03 F04")."""

    def register(function):
        add_case(name, function, faults)
        return function

    return register


def add_case(name, function, faults=""):
    _cases.append((name, function))
    _faults[name] = faults.split()


def at_exit(function):
    """Runs after the last case (shared fixtures); a failure there is a test line of its own."""
    _at_exit.append(function)


def rng(salt=""):
    """A generator of its own for a purpose: the same seed gives the same draws whatever runs beside it."""
    return random.Random(f"{SEED}/{salt}")


def _line(ok, number, name, extra=""):
    name = re.sub(r"[#\\]", "_", printable(name))
    print(f"{'ok' if ok else 'not ok'} {number} - {name}{extra}", flush=True)


def _run_one(number, name, function):
    started = time.monotonic()
    try:
        if why := modes.left_out(name):
            raise Skip(why)
        function()
    except Skip as reason:
        if CI:
            note(f"a skip is a failure in CI: {reason}")
            _line(False, number, name)
            return False
        _line(True, number, name, f" # SKIP {printable(str(reason))}")
        return True
    except KeyboardInterrupt:
        raise
    except Failure as problem:
        _line(False, number, name)
        frames = traceback.extract_tb(problem.__traceback__)
        for frame in frames[-4:]:
            if os.path.basename(frame.filename) != "tap.py":
                note(f"  at {os.path.basename(frame.filename)}:{frame.lineno} {frame.line}")
        note(f"  {problem}")
        return False
    except BaseException:  # pylint: disable=broad-except
        _line(False, number, name)
        note(traceback.format_exc())
        return False
    _line(True, number, name)
    spent = time.monotonic() - started
    if spent > 3:
        note(f"  took {spent:.1f} s")
    return True


def arguments(argv=None):
    """--seed and --only; called by main(), or earlier by a program that draws cases from the seed."""
    global SEED
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", default="")
    parser.add_argument("--faults", default=None)
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args(argv)
    if args.seed is not None:
        SEED = args.seed
    elif os.environ.get("SEED"):
        SEED = int(os.environ["SEED"])
    elif not SEED:
        SEED = int.from_bytes(os.urandom(4), "big")
    return args


def main(argv=None, timeout=None):
    """Runs all cases; exits 0 when every one passed, else 1."""
    args = arguments(argv)
    chosen = [c for c in _cases if args.only in c[0] and (args.faults is None or args.faults in _faults.get(c[0], ()))]
    if args.list:
        print("\n".join(name for name, _ in chosen))
        sys.exit(0)
    if not chosen and (args.only or args.faults is not None):
        print(f"{os.path.basename(sys.argv[0])}: there is no case of that name or row (--list shows them)", file=sys.stderr)
        sys.exit(64)
    faulthandler.enable()
    # A hang shows where; the janitor (procs.py) ends what the test started.
    limit = timeout or float(os.environ.get("CB_TEST_TIMEOUT", "3600" if LONG else "280"))
    faulthandler.dump_traceback_later(limit, exit=True)
    note(f"seed {SEED}")
    good = True
    for number, (name, function) in enumerate(chosen, 1):
        good = _run_one(number, name, function) and good
    if _at_exit:

        def finish():
            problems = []
            for function in reversed(_at_exit):
                try:
                    function()
                except BaseException:  # pylint: disable=broad-except
                    problems.append(traceback.format_exc())
            if problems:
                fail("\n".join(problems))

        good = _run_one(len(chosen) + 1, "what the tests share ended cleanly", finish) and good
    print(f"1..{len(chosen) + (1 if _at_exit else 0)}", flush=True)  # at the end: a case may have called at_exit()
    faulthandler.cancel_dump_traceback_later()
    sys.exit(0 if good else 1)

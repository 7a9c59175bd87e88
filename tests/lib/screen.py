"""screen.py: a program on a terminal of a given size, and what one would see there.

    with Terminal([binary, "top"], columns=80, rows=24) as t:
        t.wait_for("workers")
        t.press("q")

The emulator knows what ncurses writes for TERM=xterm, no more: an escape that it does not know fails the test.
"""

import fcntl
import os
import re
import select
import signal
import struct
import termios
import time

import procs
import tap


class Screen:
    """Cells of a terminal, from the bytes written to it. Wide characters take one cell: tests have none."""

    ESCAPE = re.compile(r"\x1b(?:\[([?>]?)([0-9;]*)([@-~])|([()])(.)|([=>78MDEc]))")

    def __init__(self, columns, rows):
        self.modes = set()
        self.rest = ""
        self.sent_bell = False
        self.escapes_seen = []
        self.resize(columns, rows)

    def resize(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.cells = [[" "] * columns for _ in range(rows)]
        self.x = self.y = 0
        self.top, self.bottom = 0, rows - 1
        self.last = " "

    def lines(self):
        return ["".join(row).rstrip() for row in self.cells]

    def feed(self, text):
        text = self.rest + text
        self.rest = ""
        at = 0
        while at < len(text):
            c = text[at]
            if c == "\x1b":
                found = self.ESCAPE.match(text, at)
                if not found:
                    if len(text) - at < 20:
                        self.rest = text[at:]
                        return
                    raise AssertionError(f"an escape that the emulator does not know: {text[at : at + 12]!r}")
                self.escape(found)
                at = found.end()
                continue
            at += 1
            self.put(c)

    def put(self, c):
        if c == "\r":
            self.x = 0
        elif c == "\n":
            self.line_feed()
        elif c == "\b":
            self.x = max(0, self.x - 1)
        elif c == "\t":
            self.x = min(self.columns - 1, (self.x // 8 + 1) * 8)
        elif c == "\a":
            self.sent_bell = True
        elif c in "\x0e\x0f":
            pass
        else:
            assert c >= " " and not "\x7f" <= c < "\xa0", f"a control character: {c!r}"
            if self.x == self.columns:
                self.x = 0
                self.line_feed()
            self.cells[self.y][self.x] = self.last = c
            self.x += 1

    def line_feed(self):
        if self.y == self.bottom:
            self.scroll(1)
        else:
            self.y = min(self.rows - 1, self.y + 1)

    def scroll(self, n):
        for _ in range(abs(n)):
            if n > 0:
                del self.cells[self.top]
                self.cells.insert(self.bottom, [" "] * self.columns)
            else:
                del self.cells[self.bottom]
                self.cells.insert(self.top, [" "] * self.columns)

    def escape(self, found):
        private, numbers, final, *others = found.groups()
        if final is None:
            if others[2] == "M":
                self.y = max(0, self.y - 1)
            return
        args = [int(n) if n else 0 for n in numbers.split(";")] if numbers else []
        n = max(1, args[0] if args else 1)
        if private or final in "hl":
            for mode in args:
                (self.modes.add if final == "h" else self.modes.discard)(mode)
            return
        row = self.cells[self.y]
        self.x = min(self.x, self.columns - 1) if final not in "m" else self.x
        if final in "Hf":
            self.y = min(self.rows, max(1, args[0] if args else 1)) - 1
            self.x = min(self.columns, max(1, args[1] if len(args) > 1 else 1)) - 1
        elif final == "d":
            self.y = min(self.rows, n) - 1
        elif final == "G":
            self.x = min(self.columns, n) - 1
        elif final in "ABCD":
            self.y = min(self.rows - 1, max(0, self.y + {"A": -n, "B": n}.get(final, 0)))
            self.x = min(self.columns - 1, max(0, self.x + {"C": n, "D": -n}.get(final, 0)))
        elif final == "J":
            self.erase_display(args[0] if args else 0)
        elif final == "K":
            kind = args[0] if args else 0
            first, end = (self.x, self.columns) if kind == 0 else (0, self.x + 1) if kind == 1 else (0, self.columns)
            row[first:end] = [" "] * (end - first)
        elif final == "X":
            end = min(self.columns, self.x + n)
            row[self.x : end] = [" "] * (end - self.x)
        elif final == "b":
            for _ in range(n):
                self.put(self.last)
        elif final == "P":
            row[self.x :] = row[self.x + n :] + [" "] * min(n, self.columns - self.x)
        elif final == "@":
            row[self.x :] = ([" "] * n + row[self.x :])[: self.columns - self.x]
        elif final == "r":
            self.top, self.bottom = (args[0] or 1) - 1 if args else 0, (args[1] if len(args) > 1 else self.rows) - 1
            self.x = self.y = 0
        elif final in "LM":
            for _ in range(n):
                del self.cells[self.bottom if final == "L" else self.y]
                self.cells.insert(self.y if final == "L" else self.bottom, [" "] * self.columns)
        elif final in "ST":
            self.scroll(n if final == "S" else -n)
        else:
            assert final in "mtcn", f"an escape that the emulator does not know: {found.group(0)!r}"

    def erase_display(self, kind):
        here = self.y * self.columns + self.x
        first, end = (here, self.rows * self.columns) if kind == 0 else (0, here + 1) if kind == 1 else (0, self.rows * self.columns)
        for i in range(first, end):
            self.cells[i // self.columns][i % self.columns] = " "


class Terminal:
    """A program on a pty. env TERM=xterm and a UTF-8 locale unless told otherwise."""

    def __init__(self, argv, columns=80, rows=24, env=None):
        self.screen = Screen(columns, rows)
        self.raw = b""
        self.master, self.slave = os.openpty()
        self.set_size(columns, rows)
        self.before = termios.tcgetattr(self.slave)
        self.process = procs.start(argv, env={"TERM": "xterm", "LC_ALL": "C.UTF-8", **(env or {})}, stdin=self.slave,
                                   stdout=self.slave, stderr=self.slave, own_group=True)

    def set_size(self, columns, rows):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns, rows):
        self.read(0)
        self.screen.resize(columns, rows)
        self.set_size(columns, rows)
        procs.kill(self.process.pid, signal.SIGWINCH)

    def read(self, seconds):
        """Takes in what comes within so long."""
        ready, _, _ = select.select([self.master], [], [], seconds)
        if not ready:
            return False
        data = os.read(self.master, 65536)
        self.raw += data
        self.screen.feed(data.decode("utf-8", "surrogateescape"))
        return True

    def text(self):
        while self.read(0):
            pass
        return "\n".join(self.screen.lines())

    def wait_for(self, word, timeout=10.0, gone=False):
        """Until the word (or what a function says of the text) is on the screen, or is not there any more."""
        deadline = time.monotonic() + timeout
        is_there = word if callable(word) else lambda text: word in text
        while bool(is_there(self.text())) == gone:
            if time.monotonic() > deadline or (self.process.poll() is not None and not self.read(0)):
                tap.fail(f"{'still' if gone else 'not'} on the screen: {word!r}\n" + "\n".join(f"|{x}" for x in self.screen.lines()))
            self.read(0.05)
        return self.screen.lines()

    def press(self, keys):
        os.write(self.master, keys.encode())

    def wait_end(self, timeout=10.0):
        tap.wait_until(lambda: self.text() is not None and self.process.poll() is not None, timeout, "the program ends")
        self.text()
        return self.process.returncode

    def is_restored(self):
        """The terminal's settings are what they were, and the screen and cursor, too."""
        after = termios.tcgetattr(self.slave)
        return after == self.before and 1049 not in self.screen.modes and 1 not in self.screen.modes and self.raw.rfind(
            b"\x1b[?25l") <= max(self.raw.rfind(b"\x1b[?25h"), self.raw.rfind(b"\x1b[?12l\x1b[?25h"))

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

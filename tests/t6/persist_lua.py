#!/usr/bin/env python3
"""persist_lua.py: what tools/persist-lua.awk makes of a script does what the script does, in every call anew."""

import os
import re
import shutil
import subprocess

from cbtest import *

LUA = shutil.which("lua5.1")
ENVELOPE = "local P = ARGV[1]\nreturn (function()\n"
ENDS = "end)()\n"


def lua(program):
    """What it prints, by lines."""
    if not LUA:
        raise Skip("lua5.1 is not installed")
    done = subprocess.run([LUA, "-"], input=program, capture_output=True, text=True, check=False, timeout=20)
    equal(done.stderr, "", program)
    return done.stdout.splitlines()


def library(text):
    """Without what makes a script of it."""
    return text.split("\n", 1)[1].removesuffix("return main(KEYS,ARGV)\n")


class Made:
    """A script of our own with an envelope.lua of our own, expanded."""

    def __init__(self, body, first="#!lua"):
        self.dir = procs.subfolder("lua")
        os.makedirs(f"{self.dir}/lua/include", exist_ok=True)
        for name, text in (("include/envelope.lua", ENVELOPE), ("x.lua", f"{first}\n-- @include envelope.lua\n{body}{ENDS}")):
            with open(f"{self.dir}/lua/{name}", "w", encoding="utf-8") as f:
                f.write(text)

    def run(self, mode="expand"):
        return subprocess.run(["sh", os.path.join(procs.top_srcdir(), "tools/embed-lua.sh"), mode, self.dir, "lua/x.lua"],
                              capture_output=True, text=True, check=False, timeout=20)

    def text(self):
        done = self.run()
        equal((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def calls(self, *calls):
        """What main() returns each time; a list of ARGV for each. An error's text, where it raises."""
        return lua(library(self.text()) + "".join(
            f"print(select(2, pcall(main, {{}}, {{{', '.join(repr(a) for a in args)}}})))\n" for args in calls))


@case("each call begins with the variables' first values, also behind one that broke off")
def state():
    made = Made("""local count, seen = 0, {}
local nothing
local LIMIT, NAMES = 2, {'a', 'b'}
local MORE = {one = 1, two = 'zwei',
    'x'}
do
local inner = 1
function add(n)
    inner = inner + n
    return inner
end
end
local function bump(n)
    count = count + n
    seen[#seen + 1] = n
    nothing = (nothing or '-') .. n
    if n > LIMIT then
        error('broke off', 0)
    end
end
local late
local result = {}
for i = 2, #ARGV do
    bump(tonumber(ARGV[i]))
end
function late()
    return late and P .. count .. ' ' .. #seen .. ' ' .. nothing .. ' ' .. add(1) .. ' ' .. NAMES[1] .. MORE[1] .. MORE.two
end
if count > 0 then
    result[1] = late()
else
    result[1] = 'none'
end
return table.concat(result)
""".replace("local count", "local add\nlocal count", 1))
    equal(made.calls(["p:", "1", "2"], ["q:", "1"], ["p:", "1", "3"], ["p:"], ["p:", "2"]),
          ["p:3 2 -12 2 axzwei", "q:1 1 -1 2 axzwei", "broke off", "none", "p:2 1 -2 2 axzwei"])


@case("functions are made once; what is put into a table, and every value but a constant, is made by each call")
def once():
    made = Made("""local function helper()
    return 1
end
local TABLE = {}
function TABLE.get()
    return helper
end
local WORDS = {'a',
    b = 2}
local list = {'a'}
return tostring(helper) .. '|' .. tostring(TABLE.get) .. '|' .. tostring(WORDS) .. '|' .. tostring(list)
""")
    # What each call makes is kept from being collected, so that an address is not used twice.
    kept = made.text().replace("return tostring(helper)", "kept[#kept+1]={TABLE.get,list}\nreturn tostring(helper)")
    first, second = (line.split("|") for line in lua("kept={}\n" + library(kept) + "print(main({},{}))\nprint(main({},{}))\n"))
    equal([a == b for a, b in zip(first, second)], [True, False, True, False])


@case("more variables than a part may have around it make several parts, in their order")
def many():
    names = [f"v{i}" for i in range(150)]
    body = "".join(f"local {n} = (tonumber(ARGV[2]) or 0) + {i}\n" for i, n in enumerate(names))
    body += "local sum = 0\n" + "".join(f"sum = sum + {n}\n" for n in names) + "return sum\n"
    made = Made(body)
    equal(made.calls(["p:", "1"], ["p:", "2"]), [str(150 * 149 // 2 + 150), str(150 * 149 // 2 + 300)])
    check(made.text().count("parts[#parts+1]=function()") >= 5, "parts")


@case("a script without envelope.lua is left as it is, and flags stay on the first line")
def kinds():
    plain = Made("")
    with open(f"{plain.dir}/lua/x.lua", "w", encoding="utf-8") as f:
        f.write("#!lua flags=no-writes\nlocal n = 1\nreturn n\n")
    equal((plain.run("kind").stdout, plain.text()), ("script\n", "#!lua flags=no-writes\nlocal n=1\nreturn n\n"))
    made = Made("return 1\n", "#!lua flags=allow-oom,no-writes")
    equal((made.run("kind").stdout, made.text().splitlines()[0]), ("function\n", "#!lua flags=allow-oom,no-writes"))


@case("what would do something else than in a script is refused, with the line")
def differs():
    for body, line in (
            ("if ARGV[2] then\n    return 'early'\nend\nlocal a = 1\nreturn a\n", "return 'early'"),
            ("local LIMIT = 10\nlocal function f()\n    LIMIT = LIMIT + 1\nend\nf()\nreturn LIMIT\n", "LIMIT = LIMIT + 1"),
            ("local a = 1\nlocal b = 2\nlocal a = b\nreturn a\n", "local a = b"),
            ("local tostring = tostring\nreturn tostring(1)\n", "local tostring = tostring"),
            ("local g\nfunction g()\n    return 1\nend\nif g then\n    g = nil\nend\nreturn 1\n", "g = nil")):
        done = Made(body).run()
        check(done.returncode != 0 and done.stderr.strip().endswith(line), f"{body!r}: {done.returncode} {done.stderr!r}")
    equal(Made("local A, B = 1\nB = (B or 0) + 1\nreturn B\n").calls(["p:"], ["p:"]), ["1", "1"], "no constant without a value of its own")


@case("behind a call nothing is left of what it was given and has found")
def left():
    made = Made("""local list, words = {}, ARGV
do
local inner = {}
function keep(n)
    inner[1] = n
end
end
local LIMIT = 3
local function look()
    keep(list)
    return #words + LIMIT
end
return look()
""".replace("local list", "local keep\nlocal list", 1))
    program = library(made.text()).replace("main=function(keys,args)", "left=function() return {KEYS or false,ARGV or false,clears} end\nmain=function(keys,args)")
    shown = lua(program + """print(main({}, {'p:', 'x'}))
local function values(f, seen)
    for i = 1, 60 do
        local name, value = debug.getupvalue(f, i)
        if name and name ~= '' and not seen[name] and type(value) ~= 'function' then
            seen[name] = true
            print(name .. '=' .. tostring(value))
        end
    end
end
local found = left()
print(tostring(found[1]) .. ' ' .. tostring(found[2]))
local seen = {}
for i = 1, #found[3] do
    values(found[3][i], seen)
end
""")
    equal((shown[0], shown[1], sorted(shown[2:])), ("5", "false false", ["P=nil", "inner=nil", "list=nil", "words=nil"]))


@case("what it cannot take apart is refused, with the line")
def refused():
    for body, line in (("local function f()\nreturn 1\nend\nf()\n", "return 1"), ("local a, b.c = 1, 2\n", "local a, b.c = 1, 2"),
                       ("do\nlocal a = 1\n", "end)()"), ("local t = {\n    1,\n", "end)()")):
        done = Made(body).run()
        check(done.returncode != 0 and done.stderr.strip().endswith(line), f"{body!r}: {done.returncode} {done.stderr!r}")


@case("no constant that is made once is changed anywhere in our scripts")
def constants():
    top = os.path.join(procs.top_srcdir(), "lua")
    files = [os.path.join(base, f) for base, _, names in os.walk(top) for f in names if f.endswith(".lua")]
    texts = {f: open(f, encoding="utf-8").read() for f in files}
    for path, text in texts.items():
        for name in re.findall(r"^local ([A-Z][A-Z0-9_]*) = \{", text, re.M):
            for other, also in texts.items():
                found = re.search(rf"(?<![\w.]){name}(\[[^\]]*\]|\.\w+) = |table\.(?:insert|remove|sort)\({name}\b|^ *{name} = ", also, re.M)
                check(not found or "{}" in re.search(rf"^local {name} = .*$", text, re.M).group(),
                      f"{os.path.basename(other)} changes {name} of {os.path.basename(path)}: {found and found.group()}")


if __name__ == "__main__":
    main()

# expand-lua.awk: one Lua script as Redis gets it, on stdout. Run by embed-lua.sh:
#
#   awk -v incdir=DIR -v mode=script|body|plain|flags|kind -f tools/expand-lua.awk -f tools/persist-lua.awk FILE
#
# A line "-- @include NAME" is replaced by DIR/NAME, with the indentation of that line, once per script however often it is asked
# for; includes may include. Blank lines, comments, indentation and some other spaces are left out. Block comments are refused, since
# a stripper that works on lines cannot see where they end. So are functions and one-line tables at the top level ("local function
# NAME(" to the "end" in the first column; "local NAME = {...}") that the script does not name anywhere else: they would be made in vain.
#
#   kind    "function" or "script": a script that includes envelope.lua can be loaded as a function of Redis (persist-lua.awk)
#   flags   those of its first line, "#!lua flags=…", or nothing
#   script  the whole text, for SCRIPT LOAD
#   body    of a function: the text without its first and its last line (common/scripts.c puts those of a function there)
#   plain   the whole text, as if there were no functions: for lint
#
# On error says why on stderr, exit 1.

function fail(where, what)
{
    printf "%s: %s\n", where, what > "/dev/stderr"
    failed = 1
    exit 1
}

# ---- reading ----

function take(file, indent,    line, number, name, more, got)
{
    number = 0
    while ((got = (getline line < file)) > 0) {
        number++
        sub(/[ \t\r]+$/, "", line)
        if (line ~ /^[ \t]*--[ \t]*@include([ \t]|$)/) {
            match(line, /^[ \t]*/)
            more = substr(line, 1, RLENGTH)
            name = line
            sub(/^[ \t]*--[ \t]*@include[ \t]*/, "", name)
            if (name == "" || name ~ /[^A-Za-z0-9_.\/-]/)
                fail(file ":" number, "bad @include")
            if (!(name in seen)) {
                seen[name] = 1
                take(incdir "/" name, indent more)
            }
        } else if (line ~ /^#!/) {
            if (number != 1 || file != ARGV[1])
                fail(file ":" number, "#! belongs on the first line of a script only")
            first_line = line
        } else if (line ~ /--\[=*\[/) {
            fail(file ":" number, "block comment: use -- on each line")
        } else if (line ~ /(^|[ \t(,=])\[=*\[/) {
            fail(file ":" number, "long string: use quotes")
        } else if (line !~ /^[ \t]*(--.*)?$/) {
            keep(indent line)
        }
    }
    if (got < 0)
        fail(file, "cannot be read")
    close(file)
}

# Lines, and the blocks that may be left out: from first[b] to last[b], under name[b].
function keep(line)
{
    line = without_comment(line)
    text[++lines] = line
    if (inside) {
        last[inside] = lines
        if (line ~ /^end/)
            inside = 0
    } else if (line ~ /^local function [A-Za-z_]/) {
        name[inside = ++blocks] = word(line, 16)
        first[inside] = last[inside] = lines
    } else if (line ~ /^local [A-Za-z_][A-Za-z0-9_]* = \{.*\}$/) {
        name[++blocks] = word(line, 7)
        first[blocks] = last[blocks] = lines
    }
}

# A comment behind code: where no quote comes before it, or none behind.
function without_comment(line)
{
    if (match(line, /^[^\047"]*[ \t]--[ \t]/))
        line = substr(line, 1, RLENGTH - 3)
    sub(/[ \t]+--[ \t][^\047"]*$/, "", line)
    sub(/[ \t]+$/, "", line)
    return line
}

function word(line, from)
{
    line = substr(line, from)
    match(line, /^[A-Za-z0-9_]+/)
    return substr(line, 1, RLENGTH)
}

# ---- leaving out ----

function is_named(b,    i)
{
    for (i = 1; i <= lines; i++)
        if ((i < first[b] || i > last[b]) && !(i in gone) && index(text[i], name[b]) && \
            match(" " text[i] " ", "[^A-Za-z0-9_]" name[b] "[^A-Za-z0-9_]"))
            return 1
    return 0
}

# What is not named, and then what only that has named; closes the gaps.
function shake(    b, i, n, changed)
{
    do {
        changed = 0
        for (b = blocks; b > 0; b--)
            if (!(first[b] in gone) && !is_named(b)) {
                for (i = first[b]; i <= last[b]; i++)
                    gone[i] = 1
                changed = 1
            }
    } while (changed)
    for (i = 1; i <= lines; i++)
        if (!(i in gone))
            text[++n] = text[i]
    lines = n
}

# Without spaces that nobody but a reader needs; texts in quotes stay as they are.
function closer(line,    out, code)
{
    sub(/^[ \t]+/, "", line)
    out = ""
    while (match(line, /[\047"]/)) {
        code = substr(line, 1, RSTART - 1)
        line = substr(line, RSTART)
        out = out tighter(code)
        if (!match(line, /^(\047([^\047\\]|\\.)*\047|"([^"\\]|\\.)*")/))
            return out line
        out = out substr(line, 1, RLENGTH)
        line = substr(line, RLENGTH + 1)
    }
    return out tighter(line)
}

function tighter(code)
{
    gsub(/, /, ",", code)
    gsub(/ = /, "=", code)
    gsub(/ == /, "==", code)
    gsub(/ ~= /, "~=", code)
    gsub(/ <= /, "<=", code)
    gsub(/ < /, "<", code)
    gsub(/ > /, ">", code)
    gsub(/ >= /, ">=", code)
    gsub(/ \+ /, "+", code)
    gsub(/ \* /, "*", code)
    gsub(/ \/ /, "/", code)
    gsub(/ % /, "%", code)
    while (match(code, /(^|[^0-9.]) \.\. /)) # behind a number the first point would be part of it
        code = substr(code, 1, RSTART + RLENGTH - 5) ".." substr(code, RSTART + RLENGTH)
    return code
}

BEGIN {
    take(ARGV[1], "")
    if (failed)
        exit failed
    is_function = "envelope.lua" in seen
    if (mode == "kind" || mode == "flags") {
        sub(/^#!lua *(flags=)?/, "", first_line)
        print mode == "flags" ? first_line : is_function ? "function" : "script"
        exit 0
    }
    shake()
    if (mode == "plain")
        is_function = 0
    if (is_function)
        persist()
    if (failed)
        exit failed
    if ((mode == "script" || mode == "plain") && first_line != "")
        print first_line
    for (i = 1; i <= lines; i++)
        print closer(text[i])
    if (mode == "script" && is_function)
        print "return main(KEYS,ARGV)"
}

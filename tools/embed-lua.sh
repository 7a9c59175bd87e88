#!/bin/sh
# embed-lua.sh: turns the Lua scripts into C (called by lua/Makefile.inc) or into the text that Redis gets.
#
#   embed-lua.sh data   SRCDIR FILE...   C source: the table script_sources[], sorted by name
#   embed-lua.sh enum   SRCDIR FILE...   C header: enum script_id in the same order
#   embed-lua.sh expand SRCDIR FILE      one script as Redis gets it (to number the lines of an error message)
#
# FILE is relative to SRCDIR, such as lua/task_create.lua. A line "-- @include NAME" is replaced by
# SRCDIR/lua/include/NAME, once per script however often it is asked for; includes may include.
# Blank lines, comments, indentation and some other spaces are left out. Block comments are refused, since a
# stripper that works on lines cannot see where they end. So are functions and one-line tables at the top level
# ("local function NAME(" to the "end" in the first column; "local NAME = {...}") that the script does not name anywhere
# else: each of them would be made anew by every call. Writes to stdout; on error says why, exit 1.
set -eu
LC_ALL=C
export LC_ALL

usage='usage: embed-lua.sh data|enum|expand SRCDIR [FILE...]'
if [ $# -lt 2 ]; then
    echo "$usage" >&2
    exit 64
fi
mode=$1
srcdir=$2
shift 2

# One script, expanded and stripped.
expand() {
    awk -v incdir="$srcdir/lua/include" '
        function fail(where, what) {
            printf "%s: %s\n", where, what > "/dev/stderr"
            failed = 1
            exit 1
        }
        function take(file, depth,    line, number, name, got) {
            number = 0
            while ((got = (getline line < file)) > 0) {
                number++
                sub(/[ \t\r]+$/, "", line)
                if (line ~ /^[ \t]*--[ \t]*@include([ \t]|$)/) {
                    name = line
                    sub(/^[ \t]*--[ \t]*@include[ \t]*/, "", name)
                    if (name == "" || name ~ /[^A-Za-z0-9_.\/-]/)
                        fail(file ":" number, "bad @include")
                    if (!(name in seen)) {
                        seen[name] = 1
                        take(incdir "/" name, depth + 1)
                    }
                } else if (line ~ /^#!/) {
                    if (number != 1 || depth != 0)
                        fail(file ":" number, "#! belongs on the first line of a script only")
                    keep(line)
                } else if (line ~ /--\[=*\[/) {
                    fail(file ":" number, "block comment: use -- on each line")
                } else if (line ~ /(^|[ \t(,=])\[=*\[/) {
                    fail(file ":" number, "long string: use quotes")
                } else if (line !~ /^[ \t]*(--.*)?$/) {
                    keep(line)
                }
            }
            if (got < 0)
                fail(file, "cannot be read")
            close(file)
        }
        # A comment behind code: where no quote comes before it, or none behind.
        function without_comment(line) {
            if (match(line, /^[^\047"]*[ \t]--[ \t]/))
                line = substr(line, 1, RLENGTH - 3)
            sub(/[ \t]+--[ \t][^\047"]*$/, "", line)
            sub(/[ \t]+$/, "", line)
            return line
        }
        # Without spaces that nobody but a reader needs; texts in quotes stay as they are.
        function closer(line,    out, code) {
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
        function tighter(code) {
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
        # Lines, and the blocks that may be left out: from first[b] to last[b], under name[b].
        function keep(line) {
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
        function word(line, from) {
            line = substr(line, from)
            match(line, /^[A-Za-z0-9_]+/)
            return substr(line, 1, RLENGTH)
        }
        function is_named(b,    i, n) {
            for (i = 1; i <= lines; i++)
                if ((i < first[b] || i > last[b]) && !(i in gone) && index(text[i], name[b]) && \
                    match(" " text[i] " ", "[^A-Za-z0-9_]" name[b] "[^A-Za-z0-9_]"))
                    return 1
            return 0
        }
        function shake(    b, i, changed) {
            do {
                changed = 0
                for (b = blocks; b > 0; b--)
                    if (!(first[b] in gone) && !is_named(b)) {
                        for (i = first[b]; i <= last[b]; i++)
                            gone[i] = 1
                        changed = 1
                    }
            } while (changed)
        }
        BEGIN {
            take(ARGV[1], 0)
            if (failed)
                exit failed
            shake()
            for (i = 1; i <= lines; i++)
                if (!(i in gone)) {
                    sub(/^[ \t]+/, "", text[i])
                    print closer(text[i])
                }
        }
        ' "$srcdir/$1"
}

# stdin as adjacent C string literals, one per line. \? because C17 has trigraphs.
c_literal() {
    sed -e 's/[\\"?]/\\&/g' -e 's/^/     "/' -e 's/$/\\n"/'
}

name_of() {
    basename "$1" .lua
}

sorted() {
    for file in "$@"; do
        printf '%s %s\n' "$(name_of "$file")" "$file"
    done | sort
}

case $mode in
data)
    cat <<'END'
/* Generated by tools/embed-lua.sh from lua/; do not edit. */
#include "common/compat.h"
#include "common/scripts.h"

const struct script_source script_sources[] = {
END
    list=$(sorted "$@")
    if [ -n "$list" ]; then
        printf '%s\n' "$list" | while read -r name file; do
            text=$(expand "$file")
            printf '    {"%s",\n' "$name"
            printf '%s\n' "$text" | c_literal
            printf '    },\n'
        done
    fi
    printf '    {NULL, NULL},\n};\n'
    ;;
enum)
    cat <<'END'
/* Generated by tools/embed-lua.sh from lua/; do not edit. */
#ifndef CB_SCRIPTS_ENUM_H
#define CB_SCRIPTS_ENUM_H

enum script_id {
END
    sorted "$@" | while read -r name file; do
        printf '    SCRIPT_%s, /* %s */\n' "$(printf '%s' "$name" | tr '[:lower:]' '[:upper:]')" "$file"
    done
    printf '    SCRIPT_COUNT\n};\n\n#endif\n'
    ;;
expand)
    [ $# -eq 1 ] || { echo "$usage" >&2; exit 64; }
    expand "$1"
    ;;
*)
    echo "$usage" >&2
    exit 64
    ;;
esac

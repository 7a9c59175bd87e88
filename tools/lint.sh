#!/bin/sh
# lint.sh SRCDIR BUILDDIR -- CPPFLAGS...: what make lint runs. Each linter is run whatever the others said;
# the findings are printed, exit 1 when there were any. A linter that is missing is skipped, in CI (CB_CI=1)
# it is a failure. The tools come in CLANG_TIDY, CPPCHECK, SHELLCHECK, LUAC, MANDOC and PYTHON3.
set -eu
if [ $# -lt 3 ] || [ "$3" != -- ]; then
    echo 'usage: lint.sh SRCDIR BUILDDIR -- CPPFLAGS...' >&2
    exit 64
fi
srcdir=$1
builddir=$2
shift 3
cd "$srcdir"

failed=
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Every regular file of ours that a linter may be for, whatever folder it is in.
list() {
    find bootstrap quickstart .ci common supervisor worker client archive lua tests tools bench examples completions packaging \
        etc man -type f "$@" 2>/dev/null | LC_ALL=C sort
}

# lint NAME TOOL FUNCTION: prints one line, and what FUNCTION printed if it failed.
lint() {
    name=$1
    tool=$2
    fn=$3
    shift 3
    if [ -z "$tool" ]; then
        if [ "${CB_CI:-}" = 1 ]; then
            echo "lint: $name: FAILED (not installed)"
            failed="$failed $name"
        else
            echo "lint: $name: skipped (not installed)"
        fi
        return 0
    fi
    if "$fn" "$@" >"$work/out" 2>&1; then
        echo "lint: $name: ok"
    else
        cat "$work/out"
        echo "lint: $name: FAILED"
        failed="$failed $name"
    fi
}

# One file at a time on every core, in the build folder as the compiler's flags are meant to be read;
# "N warnings generated" are those of foreign headers.
run_clang_tidy() {
    list -name '*.c' | sed "s,^,$srcdir/," >"$work/c-files"
    # shellcheck disable=SC2016 # the inner shell expands
    (cd "$builddir" && xargs -P "$(nproc)" -I @FILE@ sh -c '
        file=$1
        shift
        case $file in
        */common/err.c) ;;
        *) set -- "$@" -include tools/clang_tidy.h ;;
        esac
        out=$("$CLANG_TIDY" --quiet "$file" -- "$@" -U_FORTIFY_SOURCE 2>&1)
        status=$?
        printf "%s\n" "$out" | grep -v -e "^[0-9]* warnings\{0,1\} generated" -e "^Suppressed " -e "^$"
        exit "$status"
        ' sh @FILE@ "$@" <"$work/c-files")
}

run_cppcheck() {
    mkdir -p "$builddir/.cppcheck"
    list -name '*.c' >"$work/c-files"
    # What is not reentrant is no matter: the few threads beside a program's own (grep pthread_create) resolve a name, connect
    # or write a file, and ask for no user, no group and no broken-down time. This cppcheck does not know the __VA_OPT__ in
    # log_event(), so it sees the logging macros as calls.
    "$CPPCHECK" --quiet -j "$(nproc)" --std=c11 --library=posix,gnu,tools/cppcheck.cfg \
        --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
        --suppress=missingInclude --suppress=missingIncludeSystem --suppress=unmatchedSuppression \
        --suppress=ctunullpointer --suppress=varFuncNullUB \
        --suppress=getpwuidCalled --suppress=getpwnamCalled --suppress=getgrnamCalled \
        --suppress=getgrgidCalled --suppress=localtimeCalled --suppress=gmtimeCalled \
        --cppcheck-build-dir="$builddir/.cppcheck" -DHAVE_CONFIG_H -I . -I "$builddir" \
        -Ulog_event -ULOG_S -ULOG_SN -ULOG_I -ULOG_F -ULOG_SECRET \
        --file-list="$work/c-files"
}

run_shellcheck() {
    list | while read -r file; do
        case $(head -c 64 "$file" | head -n 1 | tr -d '\0') in
        '# shellcheck shell='* | '#!/bin/sh'* | '#!/bin/bash'* | '#!/usr/bin/env bash'* | '#!/usr/bin/env sh'*) echo "$file" ;;
        esac
    done >"$work/sh-files"
    xargs "$SHELLCHECK" <"$work/sh-files"
}

# The text that Redis gets must compile, and touch no global but those that Redis gives.
run_lua() {
    status=0
    list -path 'lua/*.lua' ! -path 'lua/include/*' >"$work/lua-files"
    while read -r file; do
        if ! sh tools/embed-lua.sh expand . "$file" >"$work/script.lua" ||
            ! "$LUAC" -p "$work/script.lua"; then
            echo "$file: see above (line numbers are those of: tools/embed-lua.sh expand . $file)"
            status=1
            continue
        fi
        if ! sh tools/embed-lua.sh plain . "$file" >"$work/plain.lua" ||
            ! "$LUAC" -p "$work/plain.lua"; then
            echo "$file: see above (line numbers are those of: tools/embed-lua.sh plain . $file)"
            status=1
            continue
        fi
        "$LUAC" -l -p "$work/script.lua" "$work/plain.lua" | awk -v file="$file" '
            BEGIN {
                n = split("KEYS ARGV redis server cjson cmsgpack struct bit string table math os assert error" \
                    " getmetatable ipairs next pairs pcall rawequal rawget rawset select setmetatable" \
                    " tonumber tostring type unpack xpcall _VERSION", names, " ")
                for (i = 1; i <= n; i++)
                    known[names[i]] = 1
            }
            $3 == "SETGLOBAL" || ($3 == "GETGLOBAL" && !($NF in known)) {
                printf "%s: %s of global \"%s\" in line %s of the expanded script\n", file,
                    ($3 == "SETGLOBAL" ? "assignment" : "use"), $NF, $2
                bad = 1
            }
            END { exit bad }' || status=1
    done <"$work/lua-files"
    return "$status"
}

run_mandoc() {
    list -path 'man/*.[1-8]' >"$work/man-files"
    if [ -d "$builddir/man" ]; then
        find "$builddir/man" -type f -name '*.[1-8]' >>"$work/man-files"
    fi
    [ ! -s "$work/man-files" ] || xargs "$MANDOC" -Tlint -W warning <"$work/man-files"
}

run_python() {
    { list -name '*.py'; list -path bench/run; } >"$work/py-files"
    [ ! -s "$work/py-files" ] ||
        PYTHONPYCACHEPREFIX=$work/pycache xargs "$PYTHON3" -m py_compile <"$work/py-files"
}

# compat.h is what each source includes first: it sets what the headers of the system look at. The libraries that tests preload do
# without.
run_includes() {
    list -name '*.c' ! -path 'tests/lib/*shim.c' >"$work/c-files"
    # shellcheck disable=SC2016 # awk's own
    xargs awk '
        FNR == 1 { is_over = 0 }
        /^#include/ && !is_over {
            is_over = 1
            if ($2 != "\"common/compat.h\"") {
                printf "%s:%d: common/compat.h is not the first include\n", FILENAME, FNR
                bad = 1
            }
        }
        END { exit bad }' <"$work/c-files"
}

# Every file that git tracks is in the distribution, or is one that only a checkout needs. A folder of it that is in the
# build folder, too, would bring what was built there.
run_distribution() {
    make -s -C "$builddir" print-distfiles | LC_ALL=C sort -u >"$work/dist"
    status=0
    [ "$(cd "$srcdir" && pwd -P)" = "$(cd "$builddir" && pwd -P)" ] || while read -r path; do
        if [ -d "$builddir/$path" ]; then
            echo "$path: a folder in the distribution and in the build folder: its files must be named"
            status=1
        fi
    done <"$work/dist"
    git ls-files >"$work/tracked"
    awk '
        FNR == NR { dist[$0] = 1; next }
        /^\.ci\// || /^\.gitignore$/ || /^\.gitattributes$/ { next }
        {
            path = $0
            while (!(path in dist) && path ~ /\//)
                sub(/\/[^\/]*$/, "", path)
            if (!(path in dist)) {
                printf "%s: tracked by git, but in no Makefile.inc: make dist leaves it out\n", $0
                bad = 1
            }
        }
        END { exit bad }' "$work/dist" "$work/tracked" || status=1
    return "$status"
}

lint clang-tidy "$CLANG_TIDY" run_clang_tidy "$@"
lint cppcheck "$CPPCHECK" run_cppcheck
lint includes awk run_includes
lint shellcheck "$SHELLCHECK" run_shellcheck
lint lua "$LUAC" run_lua
lint mandoc "$MANDOC" run_mandoc
lint python "$PYTHON3" run_python
if git rev-parse --is-inside-work-tree >"$work/out" 2>&1; then
    lint distribution git run_distribution
fi

if [ -n "$failed" ]; then
    echo "lint: failed:$failed"
    exit 1
fi

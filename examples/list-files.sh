#!/bin/sh
# list-files.sh SRCDIR: two tasks for each of the project's own files, a checksum and a word count, as
# JSON lines for `claudebench task import`. Small files first, scripts before headers before the rest: that is
# what the priorities are for. Names with odd characters are left out.
set -eu
if [ $# -ne 1 ] || [ ! -d "$1" ]; then
    echo 'usage: list-files.sh SRCDIR' >&2
    exit 64
fi
cd "$1"

find . \( -name '.?*' -o -name 'build*' -o -name autom4te.cache -o -name __pycache__ -o -name corpus \) -prune -o \
    -type f \( -name '*.[chly]' -o -name '*.lua' -o -name '*.sh' -o -name '*.py' -o -name '*.def' -o -name '*.inc' \
    -o -name '*.md' -o -name '*.[1578]' -o -name '*.am' -o -name '*.ac' \) -print |
    sed 's,^\./,,' | LC_ALL=C grep '^[A-Za-z0-9_./-]*$' | LC_ALL=C sort | head -n 300 |
    awk '
    {
        priority = 40
        if ($0 ~ /\.(lua|sh|py)$/)
            priority = 80
        else if ($0 ~ /\.(h|def)$/)
            priority = 60
        printf "{\"text\":\"checksum of %s\",\"priority\":%d,", $0, priority
        printf "\"payload\":{\"do\":\"sha256\",\"path\":\"%s\"}}\n", $0
        printf "{\"text\":\"words of %s\",\"priority\":%d,", $0, priority - 10
        printf "\"payload\":{\"do\":\"words\",\"path\":\"%s\"}}\n", $0
    }'

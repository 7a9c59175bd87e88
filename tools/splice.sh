#!/bin/sh
# splice.sh FILE NAME <TEXT: prints FILE with the lines between its two marks for NAME replaced by standard input.
#
#   .\" BEGIN NAME (make update-docs)
#   .\" END NAME
#
# The marks may stand in any kind of comment. Exit 1 when FILE does not have both of them, once and in order.
set -eu

if [ $# -ne 2 ]; then
    echo "usage: splice.sh FILE NAME" >&2
    exit 64
fi
export SPLICE_NAME="$2"
awk '
    BEGIN { name = ENVIRON["SPLICE_NAME"] }
    FILENAME == "-" { text = text $0 "\n"; next }
    index($0, "BEGIN " name " ") { print; printf "%s", text; began++; inside = 1; next }
    index($0, "END " name) && inside { ended++; inside = 0 }
    !inside { print }
    END { exit began == 1 && ended == 1 ? 0 : 1 }
' - "$1" || {
    echo "splice.sh: $1 does not have one pair of marks for $2" >&2
    exit 1
}

#!/bin/sh
# count-file.sh: the command that the example job runs for each task. It finds the task on stdin, and prints
# its result as JSON on stdout.
#
#   EXAMPLE_SRCDIR  where the files are
#   EXAMPLE_LEDGER  a line is appended at the begin and at the end of each execution: what really ran
set -eu

note() {
    printf '%s %s %s %s\n' "$1" "$CLAUDEBENCH_TASK_ID" "$CLAUDEBENCH_ATTEMPT" "$$" >>"$EXAMPLE_LEDGER"
}

note begin
read -r task
path=${task##*\"path\":\"}
path=${path%%\"*}
case $task in
*'"do":"sha256"'*)
    sum=$(sha256sum <"$EXAMPLE_SRCDIR/$path")
    printf '{"path":"%s","sha256":"%s"}\n' "$path" "${sum%% *}"
    ;;
*'"do":"words"'*)
    # shellcheck disable=SC2046 # three numbers
    set -- $(wc <"$EXAMPLE_SRCDIR/$path")
    printf '{"path":"%s","lines":%d,"words":%d,"bytes":%d}\n' "$path" "$1" "$2" "$3"
    ;;
*)
    echo "nothing to do in $task" >&2
    exit 1
    ;;
esac
note end

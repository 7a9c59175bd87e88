#!/bin/sh
# count-trs.sh DIR...: adds up what automake's test drivers left in *.trs and prints "PASSED FAILED SKIPPED".
# The .trs files are read because automake hides the closing lines of the runners.
set -eu
find "$@" -type f -name '*.trs' -exec cat {} + | awk '
    /^:test-result:/ {
        if ($2 == "PASS" || $2 == "XFAIL") passed++
        else if ($2 == "SKIP") skipped++
        else failed++
    }
    END { printf "%d %d %d\n", passed, failed, skipped }'

#!/bin/sh
# run-job.sh [BUILD_DIR]: a real job on a ClaudeBench of its own, with two processes killed on the way.
#
# It starts claudebenchd with its embedded Redis in a temporary folder, imports two tasks for each file of this
# source tree, and lets two `claudebench work` processes run count-file.sh on them. Half-way it kills -9 one
# claudebench-worker and one `claudebench work`. At the end it compares what was created, what the event
# stream says, what the tasks say, and what was really executed. Exit 0: nothing was lost, nothing was
# completed twice. Whatever ends it, nothing is left running.
set -eu

src=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$src/build}
limit_s=50 # for the tasks; far more than they need

[ -x "$build/claudebench" ] || {
    echo "run-job.sh: no claudebench in $build (usage: run-job.sh BUILD_DIR)" >&2
    exit 64
}
build=$(cd "$build" && pwd)
cb=$build/claudebench
dir=$(mktemp -d "${TMPDIR:-/tmp}/cb-job.XXXXXX")
unset CLAUDEBENCH_WORKER CLAUDEBENCH_FAILPOINT
CLAUDEBENCH_CONFIG=$dir/claudebench.yaml
EXAMPLE_SRCDIR=$src
EXAMPLE_LEDGER=$dir/ledger
export CLAUDEBENCH_CONFIG EXAMPLE_SRCDIR EXAMPLE_LEDGER
daemon=
work_a=
work_b=
follower=
ended=

# ---- the end, whatever brings it ----

# end_process NAME PID: TERM, again after 3 s (a shell that is about to exec loses one), KILL after 12 s.
end_process() {
    [ -n "$2" ] || return 0
    kill -TERM "$2" 2>/dev/null || :
    tries=0
    while kill -0 "$2" 2>/dev/null; do
        tries=$((tries + 1))
        [ "$tries" -ne 30 ] || kill -TERM "$2" 2>/dev/null || :
        if [ "$tries" -gt 120 ]; then
            echo "run-job.sh: $1 ($2) does not end: killing it" >&2
            kill -KILL "$2" 2>/dev/null || :
            break
        fi
        sleep 0.1
    done
    wait "$2" 2>/dev/null || :
}

clean_up() {
    status=$?
    trap '' INT TERM HUP
    trap - EXIT
    if [ -z "$ended" ]; then
        [ -t 1 ] && printf '\r\033[K'
        [ "$status" -eq 0 ] || echo "run-job.sh: stopping everything (status $status)" >&2
        # Nothing of the job is wanted any more, and a terminal's Ctrl-C has reached the daemon too: a polite end
        # would wait for a Redis that is gone. What they run dies with them.
        # The last one may have been started, and this interrupted before its number was noted.
        last=${!-}
        case $last in
        "$work_a" | "$work_b" | "$follower" | "$daemon") last= ;;
        esac
        for pid in $work_a $work_b ${daemon:+$last}; do
            kill -KILL "$pid" 2>/dev/null || :
        done
        end_process 'work a' "$work_a"
        end_process 'work b' "$work_b"
        end_process 'the last one' "$last"
    fi
    end_process 'events' "$follower"
    end_process claudebenchd "$daemon"
    if [ "$status" -ne 0 ] && [ -s "$dir/daemon.log" ]; then
        echo 'run-job.sh: the last lines of the daemon:' >&2
        tail -n 15 "$dir/daemon.log" >&2
    fi
    rm -rf "$dir"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "run-job.sh: $*" >&2
    exit 1
}

# ---- parts ----

start_daemon() {
    sed "s,@DIR@,$dir,g" "$src/examples/claudebench.yaml" >"$CLAUDEBENCH_CONFIG"
    "$build/claudebenchd" >"$dir/daemon.log" 2>&1 &
    daemon=$!
    tries=0
    until "$cb" status >"$dir/status" 2>&1; do
        kill -0 "$daemon" 2>/dev/null || fail 'claudebenchd has ended'
        tries=$((tries + 1))
        [ "$tries" -le 150 ] || fail "claudebenchd is not ready: $(cat "$dir/status")"
        sleep 0.1
    done
}

# start_work NAME LOG: the pid is in $started.
start_work() {
    "$cb" work --id "$1" --jobs 2 -- "$src/examples/count-file.sh" 2>>"$dir/$2" &
    started=$!
}

# The ids of the tasks that events of a type tell of, one a line.
told_ids() {
    sed -n "s/.*\"type\":\"$1\".*\"ids*\":\"\([^\"]*\)\".*/\1/p" "$2" | tr ' ' '\n'
}

completed() {
    told_ids task.completed "$dir/events" | wc -l
}

# show DONE TOTAL: a bar on a terminal, else a line at each quarter.
shown=-1
show() {
    percent=$(($1 * 100 / $2))
    if [ -t 1 ]; then
        bar=$(printf '%*s' $((percent * 2 / 5)) '' | tr ' ' '=')
        printf '\r[%-40s] %3d%%  %d of %d tasks ' "$bar" "$percent" "$1" "$2"
    elif [ $((percent / 25)) -ne "$shown" ]; then
        shown=$((percent / 25))
        printf '%3d%%  %d of %d tasks\n' "$percent" "$1" "$2"
    fi
}

say() {
    [ -t 1 ] && printf '\r\033[K'
    echo "$*"
}

# The pid of a task worker of the daemon.
worker_pid() {
    "$cb" status --json | tr '{' '\n' | sed -n 's/^"domain":"task",.*"pid":\([0-9]*\),.*/\1/p' | head -n 1
}

# Kills on purpose: a worker process of the daemon, and the first `claudebench work`.
kill_two() {
    victim=$(worker_pid)
    [ -n "$victim" ] || fail 'the daemon has no task worker'
    say "Half-way: kill -9 of claudebench-worker $victim and of 'claudebench work' $work_a, on purpose."
    kill -KILL "$victim" "$work_a"
    wait "$work_a" 2>/dev/null || :
    start_work example-a work-a.log
    work_a=$started
    say "A new 'claudebench work' of the same name is $work_a; the daemon replaces its worker itself."
}

run_tasks() {
    total=$1
    killed=
    until_s=$(($(date +%s) + limit_s))
    while :; do
        done_count=$(completed)
        show "$done_count" "$total"
        [ "$done_count" -lt "$total" ] || break
        if [ -z "$killed" ] && [ "$done_count" -ge $((total / 2)) ]; then
            kill_two
            killed=1
        fi
        [ "$(date +%s)" -lt "$until_s" ] || break
        sleep 0.05
    done
    [ -t 1 ] && echo
    [ -n "$killed" ] || fail 'the job ended before anything was killed'
}

# percentiles FILE: "p50 p95 p99" of the numbers in it.
percentiles() {
    sort -n "$1" | awk '
        function at(p) { i = int(NR * p + 0.999999); return value[i < 1 ? 1 : i] }
        { value[NR] = $1 }
        END { if (NR) printf "%s %s %s", at(0.50), at(0.95), at(0.99); else printf "- - -" }'
}

# Times from creation to completion in ms, by the ids of the events (their times).
task_times() {
    awk '
    function text(name) {
        if (!match($0, "\"" name "\":\"[^\"]*\""))
            return ""
        return substr($0, RSTART + length(name) + 4, RLENGTH - length(name) - 5)
    }
    {
        split(text("event"), when, "-")
        n = split(text("id") " " text("ids"), ids, " ")
        for (i = 1; i <= n; i++) {
            if (text("type") == "task.created")
                created[ids[i]] = when[1]
            else if (text("type") == "task.completed" && ids[i] in created)
                print when[1] - created[ids[i]]
        }
    }' "$1"
}

# request_times METHOD: "p50 p95 p99" in ms from the status.
request_times() {
    tr '{' '\n' <"$dir/status.json" | awk -v method="$1" '
        function us(name) { return match($0, "\"" name "\":[0-9]+") ? substr($0, RSTART + length(name) + 3, RLENGTH) : 0 }
        found { printf "%.2f %.2f %.2f", us("p50_us") / 1000, us("p95_us") / 1000, us("p99_us") / 1000; exit }
        { found = index($0, "\"" method "\":") && $0 ~ /:$/ }'
}

# row LABEL "p50 p95 p99"
row() {
    # shellcheck disable=SC2086 # three words
    set -- "$1" $2
    [ $# -ne 4 ] || printf '  %-28s %9s %9s %9s\n' "$1" "$2" "$3" "$4"
}

# Compares what we know from four sides. Leaves the numbers in variables.
judge() {
    "$cb" events --json --type 'task.*' >"$dir/events.all"
    "$cb" task list --all --json >"$dir/list"
    "$cb" status --json >"$dir/status.json"
    sed -n 's/.*"id":"\(t-[0-9]*\)".*/\1/p' "$dir/import" | sort >"$dir/ids.created"
    told_ids task.completed "$dir/events.all" | sort >"$dir/ids.accepted"
    sed -n 's/.*"id":"\(t-[0-9]*\)".*"status":"completed".*/\1/p' "$dir/list" | sort >"$dir/ids.completed"
    sed -n 's/^end \(t-[0-9]*\) .*/\1/p' "$EXAMPLE_LEDGER" | sort -u >"$dir/ids.executed"
    sed -n 's/^begin \(t-[0-9]*\) .*/\1/p' "$EXAMPLE_LEDGER" | sort | uniq -d >"$dir/ids.again"

    created=$(wc -l <"$dir/ids.created")
    # Lost: created, but its task does not say completed, or nobody executed it to its end.
    sort -u "$dir/ids.completed" "$dir/ids.accepted" >"$dir/ids.done"
    lost=$({
        comm -23 "$dir/ids.created" "$dir/ids.completed"
        comm -23 "$dir/ids.created" "$dir/ids.accepted"
        comm -23 "$dir/ids.created" "$dir/ids.executed"
    } | sort -u | wc -l)
    # Doubled: more than one completion was accepted. Unexpected: completed, but never created by us.
    doubled=$(uniq -d "$dir/ids.accepted" | wc -l)
    unexpected=$(comm -13 "$dir/ids.created" "$dir/ids.done" | wc -l)
    again=$(wc -l <"$dir/ids.again")
    redelivered=$(sed -n 's/.*"attempt":\([0-9]*\).*/\1/p' "$dir/list" | awk '$1 > 1' | wc -l)
    finished=$(comm -12 "$dir/ids.created" "$dir/ids.completed" | wc -l)
    # What a worker had in hand when it was killed was handed on, not started again: commits are atomic.
    prevented=$(sed -n 's/.*"duplicates":\([0-9]*\).*/\1/p' "$dir/status.json")
}

print_table() {
    task_times "$dir/events.all" >"$dir/times"
    echo
    printf '  %-28s %9d\n' created "$created" completed "$finished" 'redelivered (attempt > 1)' "$redelivered" \
        'executions begun again' "$again" 'repeated commits prevented' "${prevented:-0}" lost "$lost" \
        doubled "$doubled"
    echo
    printf '  %-28s %9s %9s %9s\n' 'ms' p50 p95 p99
    row 'task created -> completed' "$(percentiles "$dir/times")"
    for method in task.create_batch task.claim task.complete system.heartbeat; do
        row "request $method" "$(request_times "$method")"
    done
    echo
}

# ---- the job ----

began=$(date +%s)
start_daemon
"$src/examples/list-files.sh" "$src" >"$dir/tasks.jsonl"
: >"$EXAMPLE_LEDGER"
: >"$dir/events"
echo "claudebenchd $daemon is ready; its folder is $dir."
"$cb" events -f --since 0 --json --type 'task.completed' >"$dir/events" 2>"$dir/events.err" &
follower=$!
"$cb" task import --json "$dir/tasks.jsonl" >"$dir/import"
total=$(($(wc -l <"$dir/import") - 1))
echo "Imported $total tasks; two 'claudebench work' run examples/count-file.sh, two at a time each."
start_work example-a work-a.log
work_a=$started
start_work example-b work-b.log
work_b=$started
run_tasks "$total"
end_process 'work a' "$work_a"
end_process 'work b' "$work_b"
ended=1
judge
print_table
if [ "$lost" -ne 0 ] || [ "$doubled" -ne 0 ] || [ "$unexpected" -ne 0 ] || [ "$finished" -ne "$created" ]; then
    echo "FAILED: lost $lost, doubled $doubled, unexpected $unexpected. What the workers said:" >&2
    tail -n 20 "$dir/work-a.log" "$dir/work-b.log" >&2
    exit 1
fi
echo "Nothing lost, nothing doubled, in $(($(date +%s) - began)) s, with two processes killed on the way."
echo
echo "Type next:  $build/claudebenchd -d  &&  $cb task add 'my first task'  &&  $cb work --drain -- cat"

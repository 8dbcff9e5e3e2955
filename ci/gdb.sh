#!/bin/sh
# gdb shows coroutines that wait, run and have not started: in a live process and in a core file, of
# a debug and of a release build, in which types are not known.
#
#   ci/gdb.sh
set -eu
cd "$(dirname "$0")/.."

if ! command -v gdb >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gdb
fi
command -v gdb >/dev/null || { echo 'gdb is missing' >&2; exit 1; }

script=$PWD/tools/pirn-gdb.py
target=${CARGO_TARGET_DIR:-$PWD/target}
scratch=$(mktemp -d)
process=
trap '[ -z "$process" ] || kill -9 "$process" 2>/dev/null || true; rm -rf "$scratch"' EXIT

# What is looked for in what was printed.
fail() {
    cat "$1" >&2
    echo "$1: $2" >&2
    exit 1
}
expect() {
    grep -Eq "$2" "$1" || fail "$1" "nothing is like $2"
}

# The stack of the coroutine whose line is like the second argument has a call of the third.
expect_call() {
    awk -v line="$2" -v call="$3" '
        /^coroutine / { ours = $0 ~ line }
        ours && /^  #/ && $0 ~ call { found = 1 }
        !ours && /^  #/ && $0 ~ call { elsewhere = 1 }
        END { exit !(found && !elsewhere) }' "$1" ||
        fail "$1" "$3 is to be in the stack of $2, and in no other"
}

check() {
    expect "$1" '^runtime "waiting": 4 coroutines, 1 workers$'
    expect "$1" '^runtime "busy": 4 coroutines, 1 workers$'
    expect "$1" '^  coroutine [0-9]+ \[channel receive at 0x[0-9a-f]+, worker 0\] spawned at examples/parked.rs:'
    expect "$1" '^  coroutine [0-9]+ "locker" \[mutex at 0x[0-9a-f]+, worker 0\]'
    expect "$1" '^  coroutine [0-9]+ \[read of descriptor [0-9]+, worker 0\]'
    expect "$1" '^  coroutine [0-9]+ \[sleep, worker 0\]'
    expect "$1" '^  coroutine [0-9]+ \[running, worker 0, thread [0-9]+\]'
    expect "$1" '^  coroutine [0-9]+ \[join, worker 0, thread [0-9]+\]'
    [ "$(grep -Ec '^  coroutine [0-9]+ \[unstarted, worker 0\]' "$1")" -eq 2 ] ||
        fail "$1" 'two have not started'
    expect_call "$1" 'channel receive' 'wait_for_a_message'
    expect_call "$1" '"locker"' 'wait_for_a_lock'
    expect_call "$1" 'read of descriptor' 'wait_for_bytes'
    expect_call "$1" 'sleep,' 'sleep_for_long'
    expect_call "$1" 'running' 'spin_until'
    expect_call "$1" 'join,' 'join_what_spins'
    # gdb's own commands, while a coroutine is shown; and its thread's stack before and after that.
    awk '/^== switched/ { on = 1 } /^== back/ { on = 0 }
        on && /wait_for_a_lock/ { inside = 1 } !on && /^#.*wait_for_a_lock/ { outside = 1 }
        /^== before/ { part = "before" } /^== switched/ { part = "" } /^== back/ { part = "after" }
        part && /^#/ { text[part] = text[part] $0 }
        END { exit !(inside && !outside && text["before"] && text["before"] == text["after"]) }' \
        "$1" || fail "$1" 'pirn switch shows the one with the lock, and pirn back the thread'
    ! grep -Eq 'Traceback|Error occurred|Python Exception' "$1" || fail "$1" 'the script failed'
}

# Runs gdb on the arguments, and keeps what it prints in $output.
inspect() {
    # The number of a coroutine is known to gdb alone.
    cat >"$scratch/commands" <<EOF
set pagination off
source $script
pirn coroutines
pirn bt all
python number = next(one.id for one in every() if one.name == "locker")
echo == before\n
bt
python gdb.execute("pirn switch %d" % number)
echo == switched\n
bt
pirn back
echo == back\n
bt
EOF
    gdb -q -nx -batch -iex 'set debuginfod enabled off' -x "$scratch/commands" "$@" \
        >"$output" 2>&1 </dev/null || fail "$output" 'gdb failed'
}

# Runs the program until it is as it will be, and ends it by a signal.
start() {
    rm -f "$scratch/said"
    (cd "$scratch" && exec "$program" <input >"said") &
    process=$!
    # The program ends when this is closed, and so with this script.
    exec 3>"$scratch/input"
    until grep -q 'is as it will be' "$scratch/said" 2>/dev/null; do
        kill -0 "$process" || fail "$scratch/said" 'the program has ended'
        sleep 0.1
    done
}
stop() {
    kill -"$1" "$process"
    wait "$process" || true
    process=
    exec 3>&-
}

mkfifo "$scratch/input"
for profile in debug release; do
    echo "a $profile build"
    if [ $profile = debug ]; then
        cargo build -p pirn --example parked
    else
        cargo build -p pirn --example parked --release
    fi
    program=$target/$profile/examples/parked
    ulimit -c unlimited 2>/dev/null || true
    output=$scratch/live.$profile
    for attempt in 1 2 3 4 5 6 7 8; do
        start
        inspect -p "$process"
        # A machine that has not polled for long, as on a busy computer, does that before it calls what
        # is joined. What is to be seen here is such a call.
        grep -Eq '^  coroutine [0-9]+ \[join, worker 0\]' "$output" || break
        echo "  attempt $attempt: the join came to a wait"
        stop KILL
    done
    check "$output"
    echo '  live: ok'
    kill -0 "$process" || fail "$output" 'the program did not live through that'

    # The kernel's own core files are sparse; those of gcore are as long as the stacks' address
    # space, and it gives up at their guards.
    rm -f "$scratch"/core*
    stop ABRT
    core=$(find "$scratch" -name 'core*' -type f)
    if [ -n "$core" ]; then
        output=$scratch/core.$profile
        mv "$core" "$scratch/dumped"
        inspect "$program" "$scratch/dumped"
        check "$output"
        echo '  core file: ok'
        rm "$scratch/dumped"
    else
        pattern=$(cat /proc/sys/kernel/core_pattern)
        echo "  core file: not looked at, the system makes none here ($pattern, $(ulimit -c))"
    fi
done

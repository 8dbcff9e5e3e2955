#!/bin/sh
# The test suite under AddressSanitizer, of the poller and the runtime.
#
#   ci/asan.sh [FILTER]
#
# LeakSanitizer is part of it: each test program also fails if memory is left that nothing refers to.
#
# The feature `sanitizer` makes the stack switch tell AddressSanitizer of each switch. Where it
# looks for use after return, it moves frames from the stack to the heap, and then neither guards
# nor stack depths mean anything: hence `detect_stack_use_after_return=0`. The sanitizer is
# unstable in rustc, and part of the toolchains that have its library.
set -eu
cd "$(dirname "$0")/.."

target=$(rustc -vV | sed -n 's/^host: //p')
library=$(find "$(rustc --print sysroot)" -name 'librustc-*_rt.asan.a' | head -n 1)
if [ -z "$library" ]; then
    echo "skipped: this toolchain has no AddressSanitizer"
    exit 0
fi

export RUSTC_BOOTSTRAP=1
export RUSTFLAGS='-Zsanitizer=address'
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/asan"
export ASAN_OPTIONS="detect_stack_use_after_return=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}"

# `--target` keeps the sanitizer out of build scripts and macros.
check() {
    cargo test -p pirn -p pirn-netpoll --features sanitizer,migrating --lib --tests --no-fail-fast \
        --target "$target" -- "$@"
}

# What cannot be asked under AddressSanitizer:
# - Its shadow memory does not fit into the limits that these tests set.
never='stack::tests::exhaustion::of_address_space stack::tests::exhaustion::of_data'
# - It makes `mlockall` do nothing, since that would make all of the shadow resident.
never="$never stack::tests::exhaustion::locked_memory_falls_back_to_inaccessible_pages"
# - It needs map entries of its own, of which this test leaves none.
never="$never others_use_up_the_map_entries"
# - The shadow of a stack's page counts as resident too.
never="$never stack::tests::memory::a_parked_coroutine_touches_one_page"

# - Its allocator keeps what was freed, and is not the one that pirn asks to give it back.
never="$never memory_comes_back_after_a_burst"

# What can only be asked with some of it off, in a run of their own:
# - Its handler for faults, where the report is to be pirn's or std's.
apart='stack::tests::overflow::a_stray_pointer_is_no_overflow'
apart="$apart stack::tests::overflow::stds_own_report_still_comes"
# - Its search for leaks, where a test leaks on purpose.
apart="$apart a_forgotten_handle_leaks_its_result_and_nothing_else"
apart="$apart a_message_that_panics_when_it_is_dropped_ends_nothing_else"
# - The same search, where a coroutine ends the process: it sees the coroutine's stack and not that of
#   the worker below, which alone knows of the worker's parts.
apart="$apart signals_that_come_while_the_process_exits_do_no_harm exit::the_flush_of_stdout_lets_nobody_run"
apart="$apart exit::an_exit_in_a_coroutine_leaves_a_trace exit::a_forked_child_leaves_it_to_its_parent"
# - The quarantine of freed memory, where the footprint counts.
apart="$apart timeouts_that_do_not_fire_cost_no_memory many_that_come_and_go_leave_nothing"

skips=
for name in $never; do
    skips="$skips --skip $name"
done
if [ "$#" -eq 0 ]; then
    off='handle_segv=0:handle_sigbus=0:detect_leaks=0'
    off="$off:quarantine_size_mb=0:thread_local_quarantine_size_kb=0"
    # shellcheck disable=SC2086 # lists of words
    (export ASAN_OPTIONS="$ASAN_OPTIONS:$off" && check $skips $apart)
    for name in $apart; do
        skips="$skips --skip $name"
    done
fi
# shellcheck disable=SC2086 # a list of words
check $skips "$@"

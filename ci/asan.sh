#!/bin/sh
# The test suite under AddressSanitizer, of the poller and the runtime.
#
#   ci/asan.sh [FILTER]
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
set -- "$@"
# - Its own memory does not fit into the limits that these tests set.
set -- "$@" --skip stack::tests::exhaustion::of_address_space
set -- "$@" --skip stack::tests::exhaustion::of_data
# - It makes `mlockall` do nothing.
set -- "$@" --skip stack::tests::exhaustion::locked_memory_falls_back_to_inaccessible_pages
# - It adds shadow memory to the footprint, and red zones to every frame: more than one page is
#   touched, and a test that fills a stack to within a measured remainder overflows it.
set -- "$@" --skip stack::tests::memory::a_parked_coroutine_touches_one_page
set -- "$@" --skip stack::tests::use_and_reuse::all_of_every_size_can_be_used
# - It makes code several times slower, keeps freed memory for a while, and maps memory for itself.
set -- "$@" --skip stack::tests::cost
set -- "$@" --skip timeouts_that_do_not_fire_cost_no_memory --skip lifecycle
# - It reports leaks, and this test leaks on purpose.
set -- "$@" --skip a_forgotten_handle_leaks_its_result_and_nothing_else
# - It has a report of its own for faults that are not pirn's to report.
set -- "$@" --skip stack::tests::overflow::a_stray_pointer_is_no_overflow
set -- "$@" --skip stack::tests::overflow::stds_own_report_still_comes

check "$@"

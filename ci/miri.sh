#!/bin/sh
# What plain threads do, under Miri: data races, and the rules of references.
#
#   ci/miri.sh [FILTER]
#
# Miri follows no stack switch, so no coroutine runs there. It is a component of the nightly toolchain.
# Leaks are LeakSanitizer's to find (`ci/asan.sh`): the parkers of threads and their list stay. The queues
# of locks keep addresses in words, whose provenance Miri can only guess.
set -eu
cd "$(dirname "$0")/.."

if ! cargo +nightly miri --version >/dev/null 2>&1; then
    echo "skipped: there is no nightly toolchain with Miri"
    exit 0
fi

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/miri"
flags="-Zmiri-disable-isolation -Zmiri-ignore-leaks -Zmiri-permissive-provenance ${MIRIFLAGS:-}"
for borrows in "" -Zmiri-tree-borrows; do
    MIRIFLAGS="$flags $borrows" cargo +nightly miri test -p pirn --test plain_threads -- "$@"
done

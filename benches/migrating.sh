#!/bin/sh
# Builds the benches with coroutines that may move between workers, and prints the program's path.
#
#   benches/migrating.sh
#
# MIGRATING_BENCH_CACHE  where it is built: in a place of its own, since pirn differs
set -eu
cd "$(dirname "$0")"
cache=${MIGRATING_BENCH_CACHE:-${TMPDIR:-/tmp}/pirn-benches-migrating}
CARGO_TARGET_DIR="$cache" cargo build -q --release -p pirn-benches --features migrating >&2
echo "$cache/release/pirn-benches"

#!/bin/sh
# Model-checks the lock-free protocols (src/protocol) with loom.
#
#   ci/loom.sh [FILTER]
set -eu
cd "$(dirname "$0")/.."

CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom" RUSTFLAGS='--cfg loom' \
    cargo test -p pirn --lib --release -- "$@"

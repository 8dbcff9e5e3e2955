#!/bin/sh
# Lints of the whole workspace, and of the library without its features; and its documentation without
# a warning.
#
#   ci/clippy.sh
#
# The workspace denies `unsafe_code` and `undocumented_unsafe_blocks`, so this is also what keeps
# unsafe code in its rooms.
set -eu
cd "$(dirname "$0")/.."

cargo clippy --workspace --all-targets --all-features -- -D warnings
cargo clippy -p pirn --lib -- -D warnings

RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --all-features

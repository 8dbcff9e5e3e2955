#!/bin/sh
# Lints of the whole workspace, and its documentation without a warning.
#
#   ci/clippy.sh
#
# The workspace denies `unsafe_code` and `undocumented_unsafe_blocks`, so this is also what keeps
# unsafe code in its rooms. Private items are documented too: the essays in docs/ are theirs.
set -eu
cd "$(dirname "$0")/.."

cargo clippy --workspace --all-targets --all-features -- -D warnings

RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --all-features

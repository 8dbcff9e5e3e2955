#!/bin/sh
# The test suite: unit tests, integration tests, examples and documentation tests.
#
#   ci/test.sh
#
# The second of two runs is the plain one, so that its closing lines come last.
set -eu
cd "$(dirname "$0")/.."

echo 'with the feature `migrating`'
cargo test -p pirn --features migrating --lib --tests

cargo test --workspace

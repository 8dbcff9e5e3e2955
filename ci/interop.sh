#!/bin/sh
# pirn with futures, tokio, hyper, rustls and their like, which a plain `cargo test` does not build.
#
#   ci/interop.sh
set -eu
cd "$(dirname "$0")/.."

cargo test -p pirn-interop --features full

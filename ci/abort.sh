#!/bin/sh
# A program that is built with `panic = "abort"`, where nothing can be cancelled: it is told so.
#
#   ci/abort.sh
set -eu
cd "$(dirname "$0")/.."

cargo run --profile abort --example panic_abort

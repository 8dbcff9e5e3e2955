#!/bin/sh
# Formatting.
#
#   ci/format.sh
set -eu
cd "$(dirname "$0")/.."

cargo fmt --all --check

#!/bin/sh
# What the hot paths cost in instructions, compared with benches/instructions.txt, which says what
# is in there. They do not depend on the machine's load.
#
#   ci/instructions.sh [ROW...]     compares
#   ci/instructions.sh --record     writes the file anew
#
# Needs valgrind, and a cargo that builds for x86-64 with glibc, as the counts on record were.
set -eu
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
if [ "$host" != x86_64-unknown-linux-gnu ]; then
    echo "skipped: the counts on record are not of $host"
    exit 0
fi
if ! command -v valgrind >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends valgrind
fi
command -v valgrind >/dev/null || { echo 'valgrind is missing' >&2; exit 1; }

cargo build --release -p pirn-counts
program=${CARGO_TARGET_DIR:-target}/release/pirn-counts
case ${1:-} in
    --record) "$program" record ;;
    *) "$program" check "$@" ;;
esac

#!/bin/sh
# The poller's whole test suite on the selectors that this system would not choose: poll(2), and
# kqueue over a model of kevent.
#
#   ci/netpoll.sh
#
# Each has a target directory of its own, since a change of RUSTFLAGS rebuilds everything.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}

for backend in poll kqueue; do
    echo "netpoll on $backend"
    CARGO_TARGET_DIR="$target/netpoll-$backend" \
        RUSTFLAGS="--cfg netpoll_backend=\"$backend\" -D warnings" \
        cargo test -p pirn-netpoll
done

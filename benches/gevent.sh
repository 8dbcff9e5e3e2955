#!/bin/sh
# Makes a virtual environment with gevent, and prints the path of its Python.
#
#   benches/gevent.sh
#
# GEVENT_BENCH_CACHE  where the environment is
set -eu
cache=${GEVENT_BENCH_CACHE:-${TMPDIR:-/tmp}/pirn-benches-gevent}
version=26.9.0
if ! "$cache/bin/python" -c "import gevent; assert gevent.__version__ == '$version'" 2>/dev/null; then
    python3 -m venv "$cache" >&2
    "$cache/bin/pip" install -q --disable-pip-version-check --only-binary=:all: "gevent==$version" >&2
fi
echo "$cache/bin/python"

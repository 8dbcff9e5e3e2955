#!/bin/sh
# Type-checks the kqueue backend for systems that are not here.
#
#   ci/kqueue.sh        the poller (pirn-netpoll)
#   ci/kqueue.sh all    the runtime (pirn) as well
#
# Checking for a target takes its standard library. Debian packages a rustc together with std's
# sources, from which `-Zbuild-std` makes one. The packages are unpacked beside each other, not
# installed, and kept for the next run. Needs a Debian system, its root for `apt-get update`, and a
# cargo. Nothing is linked, so nothing can be run: the backend's logic is tested by
# RUSTFLAGS='--cfg netpoll_backend="kqueue"' instead.
#
# KQUEUE_CACHE    where the packages are unpacked
# KQUEUE_TARGETS  other targets than these two
set -eu

cache=${KQUEUE_CACHE:-${TMPDIR:-/tmp}/pirn-kqueue}
targets=${KQUEUE_TARGETS:-x86_64-apple-darwin x86_64-unknown-freebsd}

case ${1:-} in
    '') packages='-p pirn-netpoll' ;;
    all) packages='-p pirn-netpoll -p pirn' ;;
    *) echo "usage: $0 [all]" >&2; exit 2 ;;
esac

cd "$(dirname "$0")/.."

skip() {
    echo "skipped: $1"
    exit 0
}

# Unpacks the compiler, std's sources, and what they need that this system does not have.
unpack() {
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || skip "this is no Debian system"
    apt-get update -qq || skip "apt-get update failed"
    wanted=$(apt-get install --reinstall --simulate --no-install-recommends rustc-web rust-web-src \
        | awk '$1 == "Inst" { print $2 }')
    [ -n "$wanted" ] || skip "no rustc-web or rust-web-src to be had"
    rm -rf "$cache/new"
    mkdir -p "$cache/new/debs" "$cache/new/root"
    # shellcheck disable=SC2086 # a list of packages
    (cd "$cache/new/debs" && apt-get download -qq $wanted) || skip "cannot download: $wanted"
    for deb in "$cache"/new/debs/*.deb; do
        dpkg -x "$deb" "$cache/new/root"
    done
    rm -rf "$cache/new/debs" "$cache/root"
    mv "$cache/new/root" "$cache/root"
}

[ -x "$cache/root/usr/bin/rustc" ] || unpack

libraries=$(dirname "$(find "$cache/root/usr/lib" -name 'librustc_driver-*.so')")
export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export RUSTC="$cache/root/usr/bin/rustc"
# Cargo lets any compiler use what is unstable, which -Zbuild-std is.
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS='-D warnings'
# Its own, for it is another compiler's.
export CARGO_TARGET_DIR="$cache/target"

for target in $targets; do
    echo "checking for $target"
    # shellcheck disable=SC2086 # a list of options
    cargo check -Zbuild-std=std,panic_unwind --target "$target" $packages
done

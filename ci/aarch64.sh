#!/bin/sh
# The tests on AArch64, on a machine that is none: built for it, and run by an emulator.
#
#   ci/aarch64.sh                      the poller, the runtime's unit tests, and what switches stacks
#   ci/aarch64.sh OPTION...            what these options of `cargo test` choose: `-p pirn --test sync`
#
# Needs a Debian system on x86-64, its root, and a cargo. Debian packages a rustc together with std for
# other processors. Those packages are unpacked beside each other, not installed, and kept for the next
# run. The linker and the emulator are installed if they are missing.
#
# Tests start themselves once more as child processes, which the kernel hands to the emulator because it
# is told to, within a namespace that ends with this script (Linux 6.7).
#
# What passes here says that the code for AArch64 is right: stack switches, unwinding, signals, system
# calls. It says nothing about the order of memory accesses, which is x86-64's here, nor about what the
# emulator lacks: guards without map entries, and other threads than the program's own.
#
# AARCH64_CACHE    where the packages are unpacked
set -eu

cache=${AARCH64_CACHE:-${TMPDIR:-/tmp}/pirn-aarch64}
target=aarch64-unknown-linux-gnu
libraries=/usr/aarch64-linux-gnu

cd "$(dirname "$0")/.."

skip() {
    echo "skipped: $1"
    exit 0
}

# Unpacks the compiler, what it needs that this system does not have, and std for AArch64.
unpack() {
    rm -rf "$cache/new"
    mkdir -p "$cache/new/lists/partial" "$cache/new/debs" "$cache/new/root"
    # Lists of its own, so that this system does not take AArch64's packages for its own.
    cat >"$cache/new/apt.conf" <<EOF
Dir::State::Lists "$cache/new/lists";
APT::Architectures { "amd64"; "arm64"; };
EOF
    APT_CONFIG=$cache/new/apt.conf apt-get update -qq || skip "apt-get update failed"
    wanted=$(apt-get install --reinstall --simulate --no-install-recommends rustc-web \
        | awk '$1 == "Inst" { print $2 }')
    version=$(apt-cache policy rustc-web | awk '$1 == "Candidate:" { print $2 }')
    [ -n "$wanted" ] && [ -n "$version" ] || skip "no rustc-web to be had"
    # shellcheck disable=SC2086 # a list of packages
    (cd "$cache/new/debs" && export APT_CONFIG="$cache/new/apt.conf" &&
        apt-get download -qq $wanted "libstd-rust-web-dev:arm64=$version") ||
        skip "cannot download: $wanted, and std for AArch64"
    for deb in "$cache"/new/debs/*.deb; do
        dpkg -x "$deb" "$cache/new/root"
    done
    rm -rf "$cache/root"
    mv "$cache/new/root" "$cache/root"
    rm -rf "$cache/new"
}

[ "$(uname -sm)" = 'Linux x86_64' ] || skip "this is no Linux on x86-64"
command -v apt-get >/dev/null && command -v dpkg >/dev/null || skip "this is no Debian system"
[ "$(id -u)" -eq 0 ] || skip "not root, who would install an emulator and a linker"

have() {
    command -v aarch64-linux-gnu-gcc >/dev/null && [ -e "$libraries/lib/libc.so" ] &&
        command -v qemu-aarch64-static >/dev/null && [ -x "$cache/root/usr/bin/rustc" ]
}
if ! have; then
    apt-get update -qq || skip "apt-get update failed"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static ||
        skip "no emulator or linker to be had"
fi
emulator=$(command -v qemu-aarch64-static) || skip "no qemu-aarch64-static"
[ -x "$cache/root/usr/bin/rustc" ] || unpack

compiler=$(dirname "$(find "$cache/root/usr/lib" -name 'librustc_driver-*.so')")
LD_LIBRARY_PATH="$compiler${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export LD_LIBRARY_PATH
export RUSTC="$cache/root/usr/bin/rustc"
export RUSTFLAGS='-D warnings'
# Its own, for it is another compiler's.
export CARGO_TARGET_DIR="$cache/target"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export QEMU_LD_PREFIX="$libraries"

# What qemu does otherwise than Linux, in one version or another (7.2 to 11.1 were looked at):
# - No limits on memory.
never='stack::tests::exhaustion::of_address_space stack::tests::exhaustion::of_data'
never="$never address_space_runs_out the_short_forms_panic_where_the_builder_returns_an_error"
# - Advice that it does not know is accepted, and ignored.
never="$never guards_made_one_by_one_and_together_are_the_same"
# - Mappings come lowest first, so another slab is the last.
never="$never a_burst_comes_back_to_the_system_with_its_page_tables"
# - `getsockopt` of a timeout says that it is 0 bytes long.
never="$never a_blocking_socket_is_left_alone a_listener_is_served_by_two_processes"
# - No `epoll_pwait2`: timeouts are whole milliseconds.
never="$never finer_than_a_millisecond"
# And the namespace has one user.
never="$never threads_run_out"
skips=
for name in $never; do
    skips="$skips --skip $name"
done

# Has this kernel run AArch64's programs with the emulator, and runs the arguments.
emulated() {
    # shellcheck disable=SC2016 # expanded inside
    timeout 1800 unshare --user --map-root-user --mount sh -c '
        mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
        header="\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00"
        mask="\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff"
        printf %s ":aarch64:M::$header:$mask:$0:F" >/proc/sys/fs/binfmt_misc/register
        exec "$@"' "$emulator" "$@"
}
emulated true 2>/dev/null || skip "no namespace with formats of its own (binfmt_misc, Linux 6.7)"

check() {
    cargo test --target "$target" --no-run "$@"
    # shellcheck disable=SC2086 # a list of words
    emulated cargo test --target "$target" "$@" -- $skips
}

if [ "$#" -gt 0 ]; then
    check "$@"
else
    check -p pirn-netpoll --lib --tests
    check -p pirn --lib --test overflow --test small_stacks --test unwinding \
        --test coroutine_locals --test soundness_drops --test soundness_thread_locals
fi

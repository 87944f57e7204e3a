# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Functions that the shell scripts of this repository share. Sourced, never run.
# A script sets nothing before sourcing it; `set -euo pipefail` is its own first line.

SNAPSAFE_ROOT=$(cd "${BASH_SOURCE[0]%/*}/.." && pwd -P)
SNAPSAFE_BUILD=$SNAPSAFE_ROOT/build
SNAPSAFE_CACHE=$SNAPSAFE_BUILD/cache
# shellcheck disable=SC2034 # for the scripts below image/
SNAPSAFE_IMAGE=$SNAPSAFE_BUILD/image

# depmod, mke2fs and friends live there, and a user's PATH often has it not.
PATH=$PATH:/usr/sbin:/sbin

# On stderr, with the name of the script as a person types it: testbed/run.
say()
{
	local directory

	directory=$(cd "${0%/*}" 2>/dev/null && pwd -P)
	directory=${directory#"$SNAPSAFE_ROOT"}
	printf '%s: %s\n' "${directory:+${directory#/}/}${0##*/}" "$*" >&2
}

die()
{
	say "$@"
	exit 1
}

# Wrong arguments: one sentence, exit status 2.
die_usage()
{
	say "$*; --help shows the usage"
	exit 2
}

# The comment block at the top of the script is its --help text, from "Usage:" on.
print_usage()
{
	sed -n '/^# Usage:/,/^[^#]/{/^#/!d; s/^# \{0,1\}//; p}' "$0"
}

# For scripts that take no arguments beyond --help.
expect_no_arguments()
{
	[ $# -gt 0 ] || return 0
	if [ "$1" = --help ]; then
		print_usage
		exit 0
	fi
	die_usage "unexpected argument '$1'; none are allowed"
}

need_command() # NAME PACKAGE
{
	command -v "$1" >/dev/null ||
		die "$1 is missing: run tools/install-packages, or install Debian's package $2"
}

# Run a command with root's rights, by sudo where we have none.
as_root()
{
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "'$*' needs root's rights: run it as root, or install sudo"
	fi
}

# The directory OUT is rebuilt only if the text on stdin differs from the one it was built from.
# Usage: stamp_matches FILE <<<"$inputs" || { build; stamp_write FILE <<<"$inputs"; }
stamp_matches()
{
	cmp -s - "$1"
}

stamp_write()
{
	cat >"$1.tmp.$$"
	mv "$1.tmp.$$" "$1"
}

# One builder at a time in this directory; the lock goes when the calling shell ends.
lock_directory()
{
	mkdir -p "$1"
	exec {snapsafe_lock_fd}>"$1/.lock"
	flock "$snapsafe_lock_fd"
}

unlock_directory()
{
	exec {snapsafe_lock_fd}>&-
}

. "$SNAPSAFE_ROOT/tools/apt.sh"

host_has_kvm()
{
	grep -qwE '^flags.* (vmx|svm)' /proc/cpuinfo && [ -r /dev/kvm ] && [ -w /dev/kvm ]
}

# Where testbed/run runs its command: here, or in the outer machine?
runs_on_host()
{
	case ${SNAPSAFE_TESTBED:-auto} in
	auto) host_has_kvm ;;
	never) true ;;
	force) false ;;
	*) die_usage "SNAPSAFE_TESTBED is '$SNAPSAFE_TESTBED'; force, never and auto are allowed" ;;
	esac
}

# Paths of a kernel module and of what it depends on, in the order in which they must be loaded.
module_files() # TREE RELEASE NAME
{
	local found

	found=$(modprobe -C /dev/null -d "$1" -S "$2" --show-depends "$3") ||
		die "Linux $2 has no module $3"
	awk '$1 == "insmod" { print $2 }' <<<"$found"
}

# The directory's content as an initramfs that belongs to root.
make_initramfs() # DIRECTORY FILE
{
	(cd "$1" && find . -print0 | sort -z | cpio --quiet -0 -o -H newc -R 0:0 --reproducible) >"$2"
}

# The images are made for these kernels, named by their series.
snapsafe_series=(6.1 6.12 7.3)

# The one argument of an image script: sets `series`.
expect_series() # "$@" of the script
{
	if [ "${1-}" = --help ]; then
		print_usage
		exit 0
	fi
	[ $# = 1 ] || die_usage "needs one argument, the kernel series: ${snapsafe_series[*]}"
	[[ " ${snapsafe_series[*]} " = *" $1 "* ]] ||
		die_usage "unknown kernel series '$1'; allowed are ${snapsafe_series[*]}"
	# shellcheck disable=SC2034 # for the caller
	series=$1
}

# The release (what `uname -r` says) of a series' kernel, fetched by image/fetch-kernel.
kernel_release() # SERIES
{
	[ -e "$SNAPSAFE_IMAGE/kernel-release-$1" ] || die "Linux $1 is not there: run image/fetch-kernel $1"
	cat "$SNAPSAFE_IMAGE/kernel-release-$1"
}

# The compiler that built the kernel where it is there, as it is on Debian 12. The headers take a newer one, too.
kernel_compiler() # HEADERS
{
	local own

	own=$(sed -nE 's/^CC = .*(gcc-[0-9]+)$/\1/p' "$1/.kernelvariables" 2>/dev/null) || true # a kernel of ours has none
	if [ -n "$own" ] && command -v "$own" >/dev/null; then
		printf '%s\n' "$own"
	else
		printf 'gcc\n'
	fi
}

# What make needs to be told to build modules against these headers.
kernel_make_options() # HEADERS
{
	local cc

	cc=$(kernel_compiler "$1")
	printf 'CC=%s\n' "$cc"
	# Debian 12's gcc does not know this option of Debian 13's kernels, and their Makefile has another one that does as well.
	"$cc" -fmin-function-alignment=16 -E -x c /dev/null >/dev/null 2>&1 || echo CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT=
}

# Copy a module to a directory; the kernel takes it uncompressed in any case.
copy_module() # FILE.ko[.xz] DIRECTORY
{
	local name=${1##*/}

	case $1 in
	*.xz) xz -dc "$1" >"$2/${name%.xz}" ;;
	*) cp "$1" "$2/$name" ;;
	esac
}

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
	local folder

	folder=$(cd "${0%/*}" 2>/dev/null && pwd -P)
	folder=${folder#"$SNAPSAFE_ROOT"}
	printf '%s: %s\n' "${folder:+${folder#/}/}${0##*/}" "$*" >&2
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

# The folder OUT is rebuilt only if the text on stdin differs from the one it was built from.
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

# One builder at a time in this folder; the lock goes when the calling shell ends.
lock_folder()
{
	mkdir -p "$1"
	exec {snapsafe_lock_fd}>"$1/.lock"
	flock "$snapsafe_lock_fd"
}

unlock_folder()
{
	exec {snapsafe_lock_fd}>&-
}

apt_candidate() # PACKAGE: version that apt would install, empty if it knows none
{
	LC_ALL=C apt-cache policy "$1" | sed -n 's/^  Candidate: //p' | sed '/^(none)$/d'
}

apt_update()
{
	say "updating the package lists"
	as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2 ||
		die "apt-get update failed"
}

# The package that a meta package stands for, by name pattern (an extended regular expression).
apt_depends() # META PATTERN
{
	local found

	[ -n "$(apt_candidate "$1")" ] || apt_update
	found=$(LC_ALL=C apt-cache depends "$1" | awk -v p="^$2\$" '$1 == "Depends:" && $2 ~ p { print $2; exit }')
	[ -n "$found" ] || die "apt knows no package $1 that depends on $2: check the apt sources"
	printf '%s\n' "$found"
}

# Fetch a package and unpack it into build/cache/PACKAGE, nothing is installed. Prints the folder.
deb_unpack() # PACKAGE
{
	local out=$SNAPSAFE_CACHE/$1 work

	if [ ! -d "$out" ]; then
		say "fetching $1"
		mkdir -p "$SNAPSAFE_CACHE"
		work=$(mktemp -d "$SNAPSAFE_CACHE/.$1.XXXXXX")
		if ! deb_download "$1" "$work"; then
			rm -r "$work"
			die "cannot download the package $1: check the network and the apt sources"
		fi
		dpkg -x "$work"/*.deb "$work/root"
		rm "$work"/*.deb
		chmod 755 "$work/root"
		# Somebody else may have been quicker; theirs is as good.
		mv -T "$work/root" "$out" 2>/dev/null || [ -d "$out" ]
		rm -rf "$work"
	fi
	printf '%s\n' "$out"
}

deb_download() # PACKAGE FOLDER
(
	cd "$2" || return
	apt-get download -qq "$1" >apt.log 2>&1 && { rm apt.log; return; }
	# Lists that are too old name files that the mirror has no more.
	apt_update
	apt-get download -qq "$1" >apt.log 2>&1 || { cat apt.log >&2; return 1; }
	rm apt.log
)

# Where apt of this machine has Debian 12 from, for mmdebstrap: one line each. What else apt knows is of no interest.
debian_sources()
{
	local try found

	for try in first second; do
		# shellcheck disable=SC2016 # for apt
		found=$(apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN) $(CODENAME)' \
			'Created-By: Packages' | sed -n 's/ Debian bookworm[^ ]*$//p' | sort -u)
		[ -z "$found" ] || break
		[ "$try" = second ] || apt_update
	done
	[ -n "$found" ] || die "apt has no source of Debian 12 (bookworm)"
	printf '%s\n' "$found"
}

# Paths of a kernel module and of what it depends on, in the order in which they must be loaded.
module_files() # TREE RELEASE NAME
{
	local found

	found=$(modprobe -C /dev/null -d "$1" -S "$2" --show-depends "$3") ||
		die "Linux $2 has no module $3"
	awk '$1 == "insmod" { print $2 }' <<<"$found"
}

# The folder's content as an initramfs that belongs to root.
make_initramfs() # FOLDER FILE
{
	(cd "$1" && find . -print0 | sort -z | cpio --quiet -0 -o -H newc -R 0:0 --reproducible) >"$2"
}

# The images are made for two kernels, named by their series.
snapsafe_series=(6.1 6.12)

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

# Copy a module to a folder; the kernel takes it uncompressed in any case.
copy_module() # FILE.ko[.xz] FOLDER
{
	local name=${1##*/}

	case $1 in
	*.xz) xz -dc "$1" >"$2/${name%.xz}" ;;
	*) cp "$1" "$2/$name" ;;
	esac
}

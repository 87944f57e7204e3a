# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Names of the packages that kernels come from, and of the series that patch them. Sourced by what fetches or patches them, after lib.sh.

declare -A guest_meta_packages=(
	[6.1]=linux-image-cloud-amd64
	[6.12]=linux-image-6.12-cloud-amd64
	[7.3]=linux-image-cloud-amd64
)

# Where they are not Debian 12's.
declare -A kernel_suites=([7.3]=trixie-backports)

# Runs a function of tools/apt.sh, or of this file, to which packages are those of the Debian that a series is from.
of_series() # SERIES COMMAND...
{
	local suite=${kernel_suites[$1]-}

	if [ -n "$suite" ]; then
		with_suite "$suite" "${@:2}"
	else
		"${@:2}"
	fi
}

guest_kernel_package() # SERIES
{
	of_series "$1" apt_depends "${guest_meta_packages[$1]}" "linux-image-${1//./[.]}[.].*-cloud-amd64"
}

# What image/build-module builds against: the headers of one kernel, those that its flavours share, Kbuild's programs. To be
# called by of_series.
header_packages() # RELEASE
{
	printf '%s\n' "linux-headers-$1" "linux-headers-${1%-cloud-amd64}-common"
	apt_depends "linux-headers-$1" 'linux-kbuild-.*'
}

# The outer machine's: Debian's generic kernel, the cloud one has no 9p.
outer_kernel_package()
{
	apt_depends linux-image-amd64 'linux-image-.*'
}

# Debian has the source of each as linux-source-VERSION.
patched_kernels=(6.1 6.12 7.3)

patches_of() # VERSION
{
	[[ " ${patched_kernels[*]} " = *" $1 "* ]] || die_usage "there is no series for Linux '$1'; there are ${patched_kernels[*]}"
	printf '%s\n' "$SNAPSAFE_ROOT/patches/linux-$1"
}

# Where image/build-kernel works: 6.1 was first.
patched_kernel_directory() # VERSION
{
	case $1 in
	6.1) printf '%s\n' "$SNAPSAFE_BUILD/kernel" ;;
	*) printf '%s\n' "$SNAPSAFE_BUILD/kernel/$1" ;;
	esac
}

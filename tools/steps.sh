# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# How ./demo and ./check tell what they do: a line before each step, and one with its time after it. Sourced after lib.sh.

steps_started=$EPOCHREALTIME

elapsed() # START, an EPOCHREALTIME: seconds with one decimal
{
	local us=$((${EPOCHREALTIME/[.,]/} - ${1/[.,]/}))

	printf '%d.%d' $((us / 1000000)) $((us / 100000 % 10))
}

# A step that must succeed: its output is shown only if it fails, unless SNAPSAFE_VERBOSE is set.
step() # TITLE COMMAND...
{
	local title=$1 start=$EPOCHREALTIME log status=0

	shift
	printf '==> %s\n' "$title"
	if [ -n "${SNAPSAFE_VERBOSE-}" ]; then
		"$@" || status=$?
	else
		log=$(mktemp)
		"$@" >"$log" 2>&1 || status=$?
		[ "$status" = 0 ] || cat "$log"
		rm "$log"
	fi
	if [ "$status" != 0 ]; then
		printf '    failed with exit status %d after %s s: %s\n' "$status" "$(elapsed "$start")" "$*"
		exit 1
	fi
	printf '    %s s\n' "$(elapsed "$start")"
}

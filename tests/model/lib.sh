# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Searches a model exhaustively with Spin. Sourced by run-NAME, which checks NAME.pml: first each form that must keep its
# promises (`holds`), then each fault that can be built in and must break the one that it is about (`breaks`), then that none
# has been forgotten.

. "${BASH_SOURCE[0]%/*}/../../tools/lib.sh"

name=${0##*/run-}
model=$SNAPSAFE_ROOT/tests/model/$name.pml
limit_s=$((300 * $("$SNAPSAFE_ROOT/tools/slowness")))
tried=()

expect_no_arguments "$@"
need_command spin spin
need_command gcc gcc
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

# Prints what the verifier said; its own exit status says nothing about the model. To optimise it takes longer than many a
# search does: not at all where an error ends that soon, and never more than pays.
verify() # -O0|-O1 SPIN_OPTION...
(
	optimised=$1
	shift
	rm -rf "$work/search"
	mkdir "$work/search"
	cd "$work/search" || exit
	cp "$model" .
	spin "$@" -a "$name.pml" >spin.log || { cat spin.log >&2; exit 1; }
	gcc "$optimised" -w -DSAFETY -DCOLLAPSE -DMEMLIM=4096 -o pan pan.c
	timeout "$limit_s" ./pan -m100000 -w24 || [ $? != 124 ] || die "the search did not end within $limit_s s"
)

# What led to the error, step by step, or in the lines that the model prints.
story() # SPIN_OPTION...
(
	cd "$work/search" || exit
	[ ! -e "$name.pml.trail" ] || spin "$@" -t -p "$name.pml" | tail -n 80
)

holds() # TITLE SPIN_OPTION...
{
	local out states

	out=$(verify -O1 "${@:2}")
	if ! grep -q 'errors: 0$' <<<"$out" || grep -qE 'not completed|depth too small' <<<"$out"; then
		printf '%s\n' "$out" >&2
		story "${@:2}" >&2
		die "$1: a promise is broken, or not every state was searched"
	fi
	states=$(awk '/states, stored/ { print $1 }' <<<"$out")
	say "holds in all $states states: $1"
}

breaks() # FAULT WHAT-THE-ASSERTION-NAMES SPIN_OPTION...
{
	local out

	out=$(verify -O0 "-D$1" "${@:3}")
	grep -q "assertion violated.*$2" <<<"$out" || {
		printf '%s\n' "$out" >&2
		die "$1 does no harm, or not where it should: the model cannot see what it is there for"
	}
	tried+=("$1")
	say "breaks the promise, as it must: $1"
}

expect_all_faults_tried()
{
	local fault

	while read -r fault; do
		[[ " ${tried[*]} " = *" $fault "* ]] || die "$fault is in the model, but not tried here"
	done < <(grep -o 'FAULT_[A-Z_]*' "$model" | sort -u)
}

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

# Steps that run beside each other: `beside` begins one, `finish` waits for it and tells its time.
declare -A beside_pid=() beside_log=()

# Whatever ends the script ends them.
end_besides()
{
	local title

	for title in "${!beside_pid[@]}"; do
		kill "${beside_pid[$title]}" 2>/dev/null || true
		rm -f "${beside_log[$title]}"{,.time}
	done
}
trap end_besides EXIT

beside() # TITLE COMMAND...
{
	local title=$1 log

	shift
	log=$(mktemp)
	(
		start=$EPOCHREALTIME status=0
		"$@" >"$log" 2>&1 </dev/null &
		trap 'kill $!' TERM
		wait $! || status=$?
		elapsed "$start" >"$log.time"
		exit "$status"
	) &
	beside_pid[$title]=$!
	beside_log[$title]=$log
}

has_ended() # TITLE
{
	[ -e "${beside_log[$1]}.time" ]
}

finish() # TITLE
{
	local title=$1 log=${beside_log[$1]} status=0

	printf '==> %s\n' "$title"
	wait "${beside_pid[$title]}" || status=$?
	if [ "$status" != 0 ] || [ -n "${SNAPSAFE_VERBOSE-}" ]; then
		cat "$log"
	fi
	if [ "$status" != 0 ]; then
		printf '    failed with exit status %d\n' "$status"
		exit 1
	fi
	printf '    %s s\n' "$(<"$log.time")"
	rm -f "$log" "$log.time"
	unset "beside_pid[$title]" "beside_log[$title]"
}

# Jobs that may run in any order, each a line of shell: so many at once as there are lanes. A lane takes the next one when it
# has done one; what a job has printed is shown as a whole when it ends. Whatever ends the script ends them.
lane_pids=()

end_lanes()
{
	[ ${#lane_pids[@]} = 0 ] || kill "${lane_pids[@]}" 2>/dev/null || true
}
trap 'end_besides; end_lanes' EXIT

# On file descriptor 3: the jobs that nobody has taken, read by one lane at a time.
run_lane() # LOCK
{
	local job log

	log=$(mktemp)
	# shellcheck disable=SC2016 # expanded by the inner shell
	while job=$(flock "$1" bash -c 'read -r job <&3 && printf "%s" "$job"'); do
		set -m # a process group of its own, so that all of it can be ended
		(eval "$job") >"$log" 2>&1 </dev/null 3<&- &
		set +m
		# shellcheck disable=SC2064 # this job's
		trap "kill -- -$! 2>/dev/null; rm -f '$log'; exit 1" TERM
		wait $! || true
		trap - TERM
		flock "$1" cat "$log"
	done
	rm -f "$log"
}

run_in_lanes() # NUMBER JOB...: what fails leaves word of it elsewhere
{
	local lanes=$1 lock lane

	shift
	lock=$(mktemp)
	for ((lane = 0; lane < lanes; lane++)); do
		run_lane "$lock" &
		lane_pids+=($!)
	done 3< <(printf '%s\n' "$@")
	wait "${lane_pids[@]}"
	lane_pids=()
	rm -f "$lock"
}

# As many at once as there are processors and memory for an outer machine each. Where guests run on the host itself, their
# taps and control groups are one another's.
count_lanes()
{
	if runs_on_host; then
		echo 1
		return
	fi
	awk -v most="$(nproc)" '$1 == "MemAvailable:" { n = int($2 / (6 * 1024 * 1024)) }
		END { print n < 1 ? 1 : n < most ? n : most }' /proc/meminfo
}

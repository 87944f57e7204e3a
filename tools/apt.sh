# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What the scripts ask of apt. Sourced by lib.sh, never run.
#
# Guests, their kernels and the outer machine are Debian 12's, whatever Debian this machine has, but for what is asked for by
# with_suite. Where apt knows Debian 12 its own lists serve, if they have its security updates; elsewhere lists of our own in
# build/cache/apt, from the mirror that it uses for this machine's Debian.

guest_codename=bookworm
guest_lists=$SNAPSAFE_CACHE/apt

# Runs a function of this file to which "Debian 12" is another suite: trixie with its updates, or trixie-backports and nothing
# else. With lists of their own, for a name of a package says nothing of the suite.
with_suite() # SUITE COMMAND...
{
	# shellcheck disable=SC2034 # for the functions below
	local guest_codename=$1 guest_lists=$SNAPSAFE_CACHE/apt-$1 guest_apt_options

	"${@:2}"
}

# Runs a command with apt's lists to itself, among ours: apt-get update waits for nobody.
with_apt_lock() # COMMAND...
{
	local status=0 fd

	mkdir -p "$SNAPSAFE_CACHE"
	exec {fd}>"$SNAPSAFE_CACHE/.apt-lock"
	flock "$fd"
	"$@" || status=$?
	exec {fd}>&-
	return "$status"
}

# apt takes a name that it does not know for a regular expression: libfoo-6.1 would be libfoo-6.12, too.
candidate_by() # PACKAGE APT-CACHE-COMMAND...
{
	LC_ALL=C "${@:2}" policy "$1" | awk -v name="$1:" '
		/^[^ ]/ { found = $1 == name }
		found && $1 == "Candidate:" && $2 != "(none)" { print $2; exit }'
}

apt_candidate() # PACKAGE: version that apt would install, empty if it knows none
{
	candidate_by "$1" apt-cache
}

apt_update()
{
	say "updating the package lists"
	as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2 ||
		die "apt-get update failed"
}

# Suites of Debian that apt has here: "codename URI suite component" a line, the codename without -updates and -security.
apt_suites()
{
	# shellcheck disable=SC2016 # for apt
	apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
		sed -nE '/^Debian [a-z]+(-updates|-security)? /s/^Debian ([a-z]+)[^ ]*/\1/p' | sort -u
}

update_if_empty()
{
	[ -n "$(apt_suites)" ] || apt_update
}

# For a machine that has no lists yet.
apt_fill_lists()
{
	[ -n "$(apt_suites)" ] || with_apt_lock update_if_empty
}

# The newer of the guests' kernels is in the suite of security updates only.
has_guest_debian()
{
	apt_suites | awk -v want="$guest_codename" '
		$1 == want { if ($3 ~ /-security$/) secure = 1; else if ($3 !~ /-updates$/) main = 1 }
		END { exit !(secure && main) }'
}

# Sources of Debian 12 by those of this machine: a mirror has all releases, and the security updates beside the rest as a rule.
# Backports are where their release's main suite is.
guess_sources()
{
	if [[ $guest_codename = *-backports ]]; then
		guest_codename=${guest_codename%-backports} guess_release |
			awk -v suite="$guest_codename" '$4 == "main" && $3 "-backports" == suite { print $1, $2, suite, $4; exit }'
	else
		guess_release
	fi
}

guess_release()
{
	apt_suites | awk -v want="$guest_codename" '
		{ suite[NR] = $1; uri[NR] = $2; component[NR] = $4 }
		{ suffix[NR] = $3 ~ /-security$/ ? "-security" : $3 ~ /-updates$/ ? "-updates" : "" }
		$1 == want { known = 1 }
		END {
			for (i = 1; i <= NR; i++) {
				if (known && suite[i] != want) continue
				print "deb", uri[i], want suffix[i], component[i]
				secure = secure || suffix[i] == "-security"
				if (suffix[i] == "" && component[i] == "main") main = uri[i]
			}
			if (secure || main == "") exit
			sub(/\/*$/, "-security/", main)
			print "deb", main, want "-security", "main # guessed"
		}' | sort -u
}

# Where Debian 12 is to be had, one line of sources.list each, for mmdebstrap and for lists of our own. What else apt knows
# is of no interest.
debian_sources()
{
	set_guest_apt_options
	if [ ${#guest_apt_options[@]} = 0 ]; then
		guess_sources
		return
	fi
	with_apt_lock guest_update_if_unknown base-files # what was guessed is known to be there, then
	cat "$guest_lists/sources.list"
}

# Sets guest_apt_options: what apt needs to know only Debian 12, and nothing of what is installed here.
set_guest_apt_options()
{
	guest_apt_options=()
	apt_fill_lists
	if has_guest_debian; then
		return
	fi
	[ -n "$(apt_suites)" ] || die "apt has no source of Debian: Debian $guest_codename is wanted from there"
	guest_apt_options=(
		-o "Dir::State=$guest_lists/state" -o "Dir::State::status=$guest_lists/status" -o "Dir::Cache=$guest_lists/cache"
		-o "Dir::Etc::sourcelist=$guest_lists/sources.list" -o Dir::Etc::sourceparts=/dev/null
		-o Dir::Etc::preferencesparts=/dev/null
		-o Acquire::Languages=none -o APT::Sandbox::User=root -o Dir::Log=/dev/null
	)
	if [ ! -e "$guest_lists/sources.list" ]; then
		mkdir -p "$guest_lists"/{state/lists/partial,cache/archives/partial}
		: >"$guest_lists/status"
		guess_sources >"$guest_lists/sources.list.$$"
		mv "$guest_lists/sources.list.$$" "$guest_lists/sources.list"
	fi
}

# apt-get or apt-cache, for Debian 12's packages.
guest_apt() # COMMAND ARGUMENT...
{
	[ -v guest_apt_options ] || set_guest_apt_options
	"$1" ${guest_apt_options[@]+"${guest_apt_options[@]}"} "${@:2}"
}

guest_candidate() # PACKAGE
{
	candidate_by "$1" guest_apt apt-cache
}

guest_update()
{
	[ -v guest_apt_options ] || set_guest_apt_options
	if [ ${#guest_apt_options[@]} = 0 ]; then
		apt_update
		return
	fi
	say "updating the package lists of Debian $guest_codename"
	guest_apt apt-get update -qq >&2 && return
	# Without what was guessed, if that is it: a network that is down is no reason to forget it.
	sed -i.guessed '/# guessed$/d' "$guest_lists/sources.list"
	if ! guest_apt apt-get update -qq >&2; then
		mv "$guest_lists/sources.list.guessed" "$guest_lists/sources.list"
		die "apt-get update for Debian $guest_codename failed"
	fi
	rm "$guest_lists/sources.list.guessed"
}

guest_update_if_unknown() # PACKAGE
{
	[ -n "$(guest_candidate "$1")" ] || guest_update
}

# The package that a meta package of Debian 12 stands for, by name pattern (an extended regular expression).
apt_depends() # META PATTERN
{
	local found

	[ -v guest_apt_options ] || set_guest_apt_options
	with_apt_lock guest_update_if_unknown "$1"
	found=$(LC_ALL=C guest_apt apt-cache depends "$1" |
		awk -v p="^$2\$" '$1 == "Depends:" && $2 ~ p { print $2; exit }')
	[ -n "$found" ] || die "apt knows no package $1 that depends on $2: check the apt sources"
	printf '%s\n' "$found"
}

# Fetch a package of Debian 12 and unpack it into build/cache/PACKAGE, or below another name; nothing is installed. Prints the
# directory.
deb_unpack() # PACKAGE [NAME]
{
	local out=$SNAPSAFE_CACHE/${2-$1} work

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

deb_download() # PACKAGE DIRECTORY
(
	cd "$2" || return
	[ -v guest_apt_options ] || set_guest_apt_options
	with_apt_lock guest_update_if_unknown "$1"
	guest_apt apt-get download -qq "$1" >apt.log 2>&1 && { rm apt.log; return; }
	# Lists that are too old name files that the mirror has no more.
	with_apt_lock guest_update
	guest_apt apt-get download -qq "$1" >apt.log 2>&1 || { cat apt.log >&2; return 1; }
	rm apt.log
)

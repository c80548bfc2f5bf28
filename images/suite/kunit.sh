#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
#	kunit.sh SUITE WHERE [DEBUGFS]
#
# Print the results of one suite of KUnit as a KTAP document. The kernel ran it while it booted, and debugfs has what
# came of it. WHERE says what the suite is built from: the reason of a skip, if the kernel does not have it.
#
# With LAB_GCOV lines are counted from the start of this script to its end, so the suite runs again: debugfs has a file
# for that since Linux 6.8, but not for suites of code that the kernel drops after boot.

suite=$1
where=$2
debugfs=${3:-/sys/kernel/debug}
results=$debugfs/kunit/$suite/results

if [ ! -d "$debugfs/kunit" ]; then
	echo "# SKIP the kernel has no KUnit in $debugfs"
	exit 4
fi
if [ ! -f "$results" ]; then
	echo "# SKIP not built: this kernel has no such suite; $where"
	exit 4
fi

if [ -n "${LAB_GCOV:-}" ]; then
	if [ ! -f "$debugfs/kunit/$suite/run" ]; then
		echo "# SKIP lines are not counted: $suite ran while the kernel booted, and this kernel cannot run it again"
		exit 4
	fi
	echo 1 > "$debugfs/kunit/$suite/run"
fi

# The file is a document with the suite as its only result. The cases are the document within. KUnit prints the version
# but no plan for the parameters of a case if it does not know their number: these are printed without the version.
sed -n -e 's/^    //p' "$results" | awk '
function release(line) {
	if (version != "" && line ~ /^ *1\.\./)
		print version
	printf "%s", held
	version = held = ""
}
/^ +KTAP version/ {
	release("")
	version = $0
	next
}
version != "" && /^ *#/ {
	held = held $0 "\n"
	next
}
{
	release($0)
	print
}
END {
	release("")
}'

planned=$(sed -n -e 's/^    1\.\.\([0-9][0-9]*\).*/\1/p' "$results" | head -n 1)
printed=$(grep -c -E '^    (not )?ok [0-9]' "$results")
if [ "${planned:-0}" = 0 ]; then
	echo "# $suite has no cases"
	exit 1
fi
if [ "$planned" != "$printed" ]; then
	echo "# $printed of the $planned results of $suite are in debugfs"
	exit 1
fi
case $(grep -E '^(not )?ok 1 ' "$results") in
*'# SKIP'*) exit 4 ;;
'ok 1 '*) exit 0 ;;
esac
exit 1

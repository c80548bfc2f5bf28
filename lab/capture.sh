#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Describe this machine's processors and memory, so that somebody else can emulate a machine of the same shape:
#
#     sh capture.sh > machine.txt
#
# It needs no root and installs nothing. It prints plain text without serial numbers and addresses; the only names in
# it are those of the processor and of the kernel's version. Read it before you send it.

LC_ALL=C
export LC_ALL

echo "pagelab-capture 1"

# file NAME: print the file below a line with its name, if it can be read.
file() {
	[ -r "$1" ] || return 0
	echo "== cat $1"
	cat "$1" 2> /dev/null
}

# run NAME ARGS...: print the command and its output, if the program is installed.
run() {
	type "$1" > /dev/null 2>&1 || return 0
	echo "== $*"
	"$@" 2> /dev/null
}

run uname -m
run uname -r
run getconf PAGESIZE
run lscpu -J
# Print only the kernel's arguments about memory: others may show where its disks and secrets are.
echo "== cat /proc/cmdline"
for word in $(cat /proc/cmdline); do
	case $word in
	numa* | mem* | movable* | kernelcore* | *huge* | thp* | init_on_* | page* | slab* | slub* | nokaslr | no5lvl | \
		disable_radix | disable_1tb_segments | vsyscall* | cgroup_* | swiotlb* | nosm?p | nopti | pti* | kpti* | \
		cma* | vmalloc* | iommu* | transparent_*)
		printf '%s ' "$word"
		;;
	esac
done
echo
echo "== cat /proc/meminfo"
grep -E '^(MemTotal|SwapTotal|HugePages_Total|Hugepagesize|DirectMap.*|CommitLimit):' /proc/meminfo
# Print the first processor's features; some architectures print the MMU's mode at the end of the file.
echo "== cat /proc/cpuinfo"
grep -i -E '^(flags|features|mmu|isa|cpu|cpu model|platform|machine|model name)[[:space:]]*:' /proc/cpuinfo | sort -u | head -n 20
for name in online possible; do
	file "/sys/devices/system/node/$name"
done
for node in /sys/devices/system/node/node[0-9]*; do
	for name in cpulist distance; do
		file "$node/$name"
	done
	[ -r "$node/meminfo" ] && echo "== cat $node/meminfo" && grep MemTotal: "$node/meminfo"
	for size in "$node"/hugepages/hugepages-*; do
		file "$size/nr_hugepages"
	done
done
file /sys/devices/system/cpu/online
for size in /sys/kernel/mm/hugepages/hugepages-*; do
	file "$size/nr_hugepages"
done
for name in enabled shmem_enabled; do
	file "/sys/kernel/mm/transparent_hugepage/$name"
done
for name in overcommit_memory nr_overcommit_hugepages; do
	file "/proc/sys/vm/$name"
done
run numactl -H
echo "== end"

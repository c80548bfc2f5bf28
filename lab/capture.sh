#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Describes this machine's processors and memory, so that somebody else can emulate one of the same shape:
#
#     sh capture.sh > machine.txt
#
# Needs no root and installs nothing. What it prints is plain text: read it before you send it. It has no serial
# numbers, no addresses and no names but those of the processor and of the kernel's version.

LC_ALL=C
export LC_ALL

echo "pagelab-capture 1"

# file NAME: the file's content below a line with its name, where it can be read.
file() {
	[ -r "$1" ] || return 0
	echo "== cat $1"
	cat "$1" 2> /dev/null
}

# run NAME ARGS...: what it says, where there is one.
run() {
	type "$1" > /dev/null 2>&1 || return 0
	echo "== $*"
	"$@" 2> /dev/null
}

run uname -m
run uname -r
run getconf PAGESIZE
run lscpu -J
# Of the kernel's arguments those about memory: others may say where its disks and secrets are.
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
# The first processor's features; some architectures say the MMU's mode at the end.
echo "== cat /proc/cpuinfo"
grep -i -E '^(flags|features|mmu|isa|cpu|cpu model|platform|machine|model name)[[:space:]]*:' /proc/cpuinfo | sort -u | head -n 20
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

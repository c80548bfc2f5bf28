/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libnuma knows a node by its memory, so `numactl -N` calls a node that has CPUs alone "out of range".  What the kernel
 * does with each node of CPUs is printed: a process can run there, memory cannot be bound to a node without any, and
 * what is touched there comes from a neighbour.
 *
 * Exit status: 0 every node with CPUs has memory, 1 some have none, 125 this could not be tried.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_NODES = 64, MPOL_BIND_MODE = 2, CANNOT_TELL = 125 };

/* The CPUs of a list such as 0-1,4. */
static int read_cpus(int node, cpu_set_t *cpus)
{
	char path[80], list[512], *at = list;
	FILE *file;

	CPU_ZERO(cpus);
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpulist", node);
	file = fopen(path, "r");
	if (!file)
		return -1;
	if (!fgets(list, sizeof(list), file))
		list[0] = 0;
	fclose(file);
	while (*at >= '0' && *at <= '9') {
		long first = strtol(at, &at, 10), last = first;

		if (*at == '-')
			last = strtol(at + 1, &at, 10);
		for (; first <= last; first++)
			CPU_SET((size_t)first, cpus);
		at += *at == ',';
	}
	return CPU_COUNT(cpus);
}

static long memory_kb(int node)
{
	char path[80], line[128];
	long kb = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo", node);
	file = fopen(path, "r");
	while (file && kb < 0 && fgets(line, sizeof(line), file))
		sscanf(line, "Node %*d MemTotal: %ld kB", &kb);
	if (file)
		fclose(file);
	return kb;
}

/* The node of a page that is touched now; negative: an error number. */
static int touched_on(void *page)
{
	int node = -1;

	*(volatile char *)page = 1;
	if (syscall(SYS_move_pages, 0, 1UL, &page, NULL, &node, 0))
		return -errno;
	return node;
}

static const char *bound_to(void *page, size_t size, int node)
{
	unsigned long mask = 1UL << node;

	if (syscall(SYS_mbind, page, size, MPOL_BIND_MODE, &mask, node + 2UL, 0))
		return strerror(errno);
	return "ok";
}

int main(void)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	int node, without = 0, nodes = 0;
	cpu_set_t cpus;

	for (node = 0; node < MAX_NODES; node++) {
		char *page = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		int count = read_cpus(node, &cpus), from;
		long kb = memory_kb(node);

		if (page == MAP_FAILED)
			return CANNOT_TELL;
		if (count <= 0)
			continue;
		nodes++;
		without += kb == 0;
		if (sched_setaffinity(0, sizeof(cpus), &cpus)) {
			printf("node %d: no process can run there: %s\n", node, strerror(errno));
			return CANNOT_TELL;
		}
		from = touched_on(page);
		printf("node %d, %s memory: runs, bind: %s, touched memory is from %s\n", node, kb ? "with" : "without",
		       bound_to(page + size, size, node), from == node ? "itself" : from < 0 ? "nowhere" : "a neighbour");
	}
	if (!nodes)
		return CANNOT_TELL;
	printf("%d of %d nodes with CPUs have no memory\n", without, nodes);
	return without > 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Huge pages are reserved for a mapping from those of the whole machine.  If it is bound to a node that has none free,
 * mmap() and mbind() succeed, and the first touch is a bus error.
 *
 * Exit status: 0 on every node a granted huge page can be touched, 1 one is a bus error, 125 there are no huge pages.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_NODES = 64, MPOL_BIND_MODE = 2, NOT_GRANTED = 3, CANNOT_TELL = 125 };

/* A number of /proc/meminfo; -1 if it is missing. */
static long meminfo(const char *format)
{
	FILE *file = fopen("/proc/meminfo", "r");
	char line[128];
	long value = -1;

	while (file && value < 0 && fgets(line, sizeof(line), file))
		sscanf(line, format, &value);
	if (file)
		fclose(file);
	return value;
}

/* Free huge pages of the default size on a node; -1 if there is no such node. */
static long free_on(int node, long kb)
{
	char path[128];
	long count = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/hugepages/hugepages-%ldkB/free_hugepages", node, kb);
	file = fopen(path, "r");
	if (file) {
		if (fscanf(file, "%ld", &count) != 1)
			count = -1;
		fclose(file);
	}
	return count;
}

static void touch_on(int node, size_t size)
{
	char *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	unsigned long mask = 1UL << node;

	if (page == MAP_FAILED || syscall(SYS_mbind, page, size, MPOL_BIND_MODE, &mask, node + 2UL, 0))
		_exit(NOT_GRANTED);
	*(volatile char *)page = 1;
	_exit(0);
}

int main(void)
{
	long kb = meminfo("Hugepagesize: %ld kB"), count;
	int node, status, bus_errors = 0;
	pid_t child;

	if (kb <= 0 || meminfo("HugePages_Total: %ld") <= 0) {
		puts("no huge pages of the default size");
		return CANNOT_TELL;
	}
	for (node = 0; node < MAX_NODES && (count = free_on(node, kb)) >= 0; node++) {
		child = fork();
		if (child == 0)
			touch_on(node, (size_t)kb * 1024);
		if (child < 0 || waitpid(child, &status, 0) != child)
			return CANNOT_TELL;
		printf("node %d, %ld huge pages free: ", node, count);
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS) {
			puts("granted, and a bus error when touched");
			bus_errors++;
		} else if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_GRANTED) {
			puts("not granted");
		} else if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
			puts("granted and touched");
		} else {
			printf("wait status %#x\n", (unsigned int)status);
			return CANNOT_TELL;
		}
	}
	return bus_errors > 0;
}

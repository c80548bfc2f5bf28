/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Redis tests at its start whether fork() forgets that a page marked by MADV_FREE was written again (arm64, before 5.10).
 * For this it wants the middle one of three "pages" of 4096 bytes as a mapping of its own.  Where a page is larger the
 * middle is not at a page's start, mprotect() refuses, and the server does not start.  The test is made here with 4096
 * bytes, then with the page size of the kernel, which tells a refused test from a kernel that does forget.
 *
 * Exit status: 0 the test can be made and the kernel remembers, 1 the test is refused, 2 the kernel forgets, 125 unclear.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum result { REMEMBERS = 0, REFUSED = 1, FORGETS = 2, CANNOT_TELL = 125 };

/* Whether the mapping that begins at an address has dirty memory; CANNOT_TELL if smaps does not say. */
static enum result child_sees_dirty(const void *start)
{
	FILE *smaps = fopen("/proc/self/smaps", "r");
	unsigned long from, to, dirty_kb = 0, kb;
	bool within = false, counted = false;
	char line[256];

	if (!smaps)
		return CANNOT_TELL;
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
			within = from == (unsigned long)start;
		} else if (within && (sscanf(line, "Private_Dirty: %lu kB", &kb) == 1 || sscanf(line, "Shared_Dirty: %lu kB", &kb) == 1)) {
			dirty_kb += kb;
			counted = true;
		}
	}
	fclose(smaps);
	if (!counted)
		return CANNOT_TELL;
	return dirty_kb ? REMEMBERS : FORGETS;
}

static enum result test_with(size_t unit)
{
	char *three = mmap(NULL, 3 * unit, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	volatile char *middle = three + unit;
	int status;
	pid_t child;

	if (three == MAP_FAILED)
		return CANNOT_TELL;
	if (mprotect((void *)middle, unit, PROT_READ | PROT_WRITE)) {
		printf("units of %zu bytes: mprotect: %s\n", unit, strerror(errno));
		return REFUSED;
	}
	*middle = 1;
	if (madvise((void *)middle, unit, MADV_FREE)) {
		printf("units of %zu bytes: madvise: %s\n", unit, strerror(errno));
		return REFUSED;
	}
	*middle = 2;
	fflush(stdout);
	child = fork();
	if (child == 0)
		_exit(child_sees_dirty((const void *)middle));
	if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
		return CANNOT_TELL;
	printf("units of %zu bytes: the child finds the page %s\n", unit, WEXITSTATUS(status) == REMEMBERS ? "dirty" : "not dirty");
	return WEXITSTATUS(status);
}

int main(void)
{
	enum result as_in_redis = test_with(4096), with_pages = test_with((size_t)sysconf(_SC_PAGESIZE));

	if (with_pages == FORGETS || with_pages == CANNOT_TELL)
		return with_pages;
	return as_in_redis;
}

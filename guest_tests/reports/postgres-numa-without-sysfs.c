/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The highest node is counted in /sys, of which a build sandbox has none: then it is 0.  The pages of shared memory are
 * asked for with move_pages(), which knows all nodes of the machine, and the answer is taken for impossible.
 *
 * Exit status: 0 every page is on a node that was counted, 1 some are not, 125 this could not be tried.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <glob.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGES = 4, MPOL_BIND_MODE = 2, CANNOT_TELL = 125 };

static int counted_nodes(void)
{
	static const char prefix[] = "/sys/devices/system/node/node";
	int highest = 0, node;
	glob_t found;
	size_t i;

	if (glob("/sys/devices/system/node/node[0-9]*", 0, NULL, &found))
		return 0;
	for (i = 0; i < found.gl_pathc; i++) {
		node = atoi(found.gl_pathv[i] + sizeof(prefix) - 1);
		if (node > highest)
			highest = node;
	}
	globfree(&found);
	return highest;
}

/* Another file system over /sys, for this process alone. */
static int hide_sysfs(void)
{
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -1;
	return mount("none", "/sys", "tmpfs", 0, NULL);
}

int main(void)
{
	size_t page_size = (size_t)sysconf(_SC_PAGESIZE);
	char *shared = mmap(NULL, PAGES * page_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int highest = counted_nodes(), in_sandbox, node_of[PAGES], impossible = 0, i;
	unsigned long farthest = 1UL << highest;
	void *pages[PAGES];

	if (shared == MAP_FAILED)
		return CANNOT_TELL;
	if (highest && syscall(SYS_mbind, shared, PAGES * page_size, MPOL_BIND_MODE, &farthest, highest + 2UL, 0))
		return CANNOT_TELL;
	for (i = 0; i < PAGES; i++) {
		pages[i] = shared + i * page_size;
		*(volatile char *)pages[i] = 1;
	}
	if (hide_sysfs()) {
		printf("/sys cannot be hidden: %s\n", strerror(errno));
		return CANNOT_TELL;
	}
	in_sandbox = counted_nodes();
	if (syscall(SYS_move_pages, 0, (unsigned long)PAGES, pages, NULL, node_of, 0)) {
		printf("move_pages: %s\n", strerror(errno));
		return CANNOT_TELL;
	}
	for (i = 0; i < PAGES; i++)
		impossible += node_of[i] < 0 || node_of[i] > in_sandbox;
	printf("highest node %d, without /sys %d: %d of %d pages on a node out of range\n", highest, in_sandbox, impossible, PAGES);
	return impossible > 0;
}

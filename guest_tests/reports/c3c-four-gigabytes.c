/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A compiler maps four gigabytes at its start and touches little of them.  With vm.overcommit_memory at its default the
 * kernel refuses a single mapping that is larger than all memory and swap, however little of it will be used; with
 * MAP_NORESERVE it is granted.
 *
 * Exit status: 0 granted, 1 ENOMEM, 125 this could not be tried.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

enum { CANNOT_TELL = 125 };

/* Map the compiler's arena; "granted", or why not. */
static int map_arena(int flags)
{
	const unsigned long long size = 4ULL << 30;
	void *arena = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	if (arena == MAP_FAILED)
		return errno;
	munmap(arena, (size_t)size);
	return 0;
}

int main(void)
{
	struct sysinfo machine;
	int plain, sparing;

	if (sizeof(size_t) < 8 || sysinfo(&machine))
		return CANNOT_TELL;
	plain = map_arena(0);
	sparing = map_arena(MAP_NORESERVE);
	printf("memory and swap: %llu MiB\n", ((unsigned long long)machine.totalram + machine.totalswap) * machine.mem_unit >> 20);
	printf("4096 MiB at once: %s\n", plain ? strerror(plain) : "granted");
	printf("with MAP_NORESERVE: %s\n", sparing ? strerror(sparing) : "granted");
	if (plain && plain != ENOMEM)
		return CANNOT_TELL;
	return plain == ENOMEM;
}

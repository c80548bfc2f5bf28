/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an allocator does that was compiled for pages of 4096 bytes: of its 64 "pages" it gives every fourth one back
 * with madvise(MADV_DONTNEED).  The kernel refuses an address that is not at the start of a real page, and rounds a
 * length up to whole pages, so an address that is aligned by chance takes the data behind it along.
 *
 * Exit status: 0 all other "pages" hold what was written to them, 1 some are zero, 125 this could not be tried.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { UNIT = 4096, UNITS = 64, EVERY = 4, CANNOT_TELL = 125 };

/* Memory of UNITS units that begins at a multiple of its own size, which is a page's start on every machine. */
static unsigned char *aligned_units(void)
{
	const uintptr_t size = (uintptr_t)UNIT * UNITS;
	void *twice = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (twice == MAP_FAILED)
		return NULL;
	return (unsigned char *)(((uintptr_t)twice + size - 1) / size * size);
}

int main(void)
{
	unsigned char *units = aligned_units();
	int given = 0, refused = 0, lost = 0, i;

	if (!units)
		return CANNOT_TELL;
	for (i = 0; i < UNITS; i++)
		memset(units + i * UNIT, 1 + i, UNIT);
	for (i = 0; i < UNITS; i += EVERY) {
		given++;
		if (madvise(units + i * UNIT, UNIT, MADV_DONTNEED))
			refused++;
	}
	for (i = 0; i < UNITS; i++)
		if (i % EVERY && units[i * UNIT] != 1 + i)
			lost++;
	printf("pages of %ld bytes: %d of %d calls refused, %d of %d live units lost\n", sysconf(_SC_PAGESIZE), refused,
	       given, lost, UNITS - given);
	return lost > 0;
}

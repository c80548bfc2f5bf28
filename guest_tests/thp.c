/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Group D: growth where shared memory may use huge pages, which reach past the end of a short object. */
#include "lab.h"

#define EXPAND .requires = "shm-expand", .needs_root = true, .needs_config = "TRANSPARENT_HUGEPAGE"

#define THP "/sys/kernel/mm/transparent_hugepage"

/* Pages of a huge page of the page table's second level; the case is skipped where that is a big part of memory. */
static long huge_pages(void)
{
	char text[32];
	unsigned long long bytes;

	LAB_SETUP_OR_SKIP(lab_slurp(THP "/hpage_pmd_size", text, sizeof(text)));
	bytes = strtoull(text, NULL, 10);
	if (bytes >> 10 > (unsigned long long)lab_meminfo("MemTotal") / 8)
		LAB_SKIP("a huge page is %llu kB of %ld kB", bytes >> 10, lab_meminfo("MemTotal"));
	return lab_pages(bytes);
}

/* Let shared memory have huge pages by this mode: since 6.11 the size itself must agree to what is said for all. */
static void allow_huge(const char *mode)
{
	char path[LAB_PATH];

	snprintf(path, sizeof(path), THP "/hugepages-%lukB/shmem_enabled",
		 (unsigned long)huge_pages() * (unsigned long)(lab_page() >> 10));
	if (!access(path, F_OK))
		LAB_SET(path, "inherit");
	LAB_SET(THP "/shmem_enabled", mode);
}

/* A shared mapping of `pages` at an address that huge pages can start at, with room to grow to `room`. */
static char *aligned(long pages, long room)
{
	uintptr_t huge = (uintptr_t)huge_pages() * lab_page();
	char *p = lab_hole(room + huge_pages(), 0);

	p = (char *)(((uintptr_t)p + huge - 1) & ~(huge - 1));
	return LAB_SETUP(mmap(p, (size_t)pages * lab_page(), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
}

/*
 * Have the shrinkers split huge pages, which drops what lies past the object's end.  2 would do, were it not for
 * references that per-CPU lists still hold, which 1 drains; and a page that is busy at that moment is left for later.
 */
static void drop_slab(void)
{
	int i;

	for (i = 0; i < 5; i++) {
		LAB_SETUP(lab_write_file("/proc/sys/vm/drop_caches", "3"));
		lab_sleep_ms(2);
	}
}

/* A huge page mapped while the object is half its size: what is written behind the object's end must last. */
static void d02_written_past_the_end(void)
{
	long huge = huge_pages();
	char *p;

	allow_huge("always");
	p = aligned(huge / 2, huge);
	LAB_GROW_IN_PLACE(p, huge / 2, huge);
	LAB_WRITES(p, 1);
	LAB_WRITES(lab_at(p, huge / 2), 2);
	LAB_WRITES(lab_at(p, huge - 1), 3);
	drop_slab();
	LAB_READS(p, 1);
	LAB_READS(lab_at(p, huge / 2), 2);
	LAB_READS(lab_at(p, huge - 1), 3);
}

static void d04_read_before_written(void)
{
	long huge = huge_pages();
	char *p;
	pid_t pid;

	allow_huge("always");
	p = aligned(huge / 2, huge);
	pid = lab_fork();
	if (!pid) {
		LAB_GROW_IN_PLACE(p, huge / 2, huge);
		LAB_READS(p, 0);
		LAB_READS(lab_at(p, huge / 2 - 1), 0);
		LAB_WRITES(lab_at(p, huge / 2), 2);
		LAB_WRITES(lab_at(p, huge - 1), 3);
		_exit(0);
	}
	lab_join(pid);
	drop_slab();
	LAB_GROW_IN_PLACE(p, huge / 2, huge);
	LAB_READS(lab_at(p, huge / 2), 2);
	LAB_READS(lab_at(p, huge - 1), 3);
}

/* To one huge page exactly, to a page more, to two huge pages less one page. */
static void d05_around_a_multiple(void)
{
	long huge = huge_pages(), sizes[] = { huge, huge + 1, 2 * huge - 1 }, i;

	allow_huge("always");
	for (i = 0; i < 3; i++) {
		char *p = aligned(1, 2 * huge);

		LAB_WRITES(p, 1);
		LAB_GROW_IN_PLACE(p, 1, sizes[i]);
		LAB_WRITES(lab_at(p, sizes[i] - 1), 2);
		LAB_WRITES(lab_at(p, huge - 1), 3);
		drop_slab();
		LAB_READS(p, 1);
		LAB_READS(lab_at(p, huge / 2), 0);
		LAB_READS(lab_at(p, huge - 1), 3);
		LAB_OBJECT(p, sizes[i]);
		lab_unmap(p, sizes[i]);
	}
}

/* Grow from half a huge page to two of them under a mode of shmem_enabled; every 16th page is written and lasts. */
static void under_mode(const char *mode)
{
	long huge = huge_pages(), i;
	char *p;

	allow_huge(mode);
	p = aligned(huge / 2, 2 * huge);
	LAB_GROW_IN_PLACE(p, huge / 2, 2 * huge);
	madvise(p, 2 * (size_t)huge * lab_page(), MADV_HUGEPAGE);
	for (i = 0; i < 2 * huge; i += 16)
		LAB_WRITES(lab_at(p, i), (unsigned char)(i / 16));
	LAB_WRITES(lab_at(p, 2 * huge - 1), 7);
	drop_slab();
	for (i = 0; i < 2 * huge; i += 16)
		LAB_READS(lab_at(p, i), (unsigned char)(i / 16));
	LAB_READS(lab_at(p, 2 * huge - 1), 7);
}

static void d06_within_size(void)
{
	under_mode("within_size");
}

static void d06_advise(void)
{
	under_mode("advise");
}

static void d06_force(void)
{
	under_mode("force");
}

static void d06_deny(void)
{
	under_mode("deny");
}

/* Every size of huge page that shared memory may have below the page table's, one at a time. */
static void d07_smaller_sizes(void)
{
	DIR *dir = opendir(THP);
	char path[LAB_PATH];
	struct dirent *entry;
	int tried = 0;
	long kb, i;

	while (dir && (entry = readdir(dir))) {
		char *p;

		snprintf(path, sizeof(path), THP "/%.32s/shmem_enabled", entry->d_name);
		if (sscanf(entry->d_name, "hugepages-%ldkB", &kb) != 1 || kb > 1024 || access(path, W_OK))
			continue;
		LAB_SET(path, "always");
		p = LAB_GROW(lab_shared(10), 10, 64);
		for (i = 0; i < 64; i++)
			LAB_WRITES(lab_at(p, i), (unsigned char)(i + 1));
		drop_slab();
		for (i = 0; i < 64; i++)
			LAB_READS(lab_at(p, i), (unsigned char)(i + 1));
		LAB_OBJECT(p, 64);
		lab_unmap(p, 64);
		LAB_SET(path, "never");
		tried++;
	}
	if (dir)
		closedir(dir);
	if (!tried)
		LAB_SKIP("shared memory has no smaller huge pages here");
}

LAB_CASES(
	{ LAB_CASE(d02_written_past_the_end), .about = "huge page across the object's end: what is written lasts", EXPAND },
	{ LAB_CASE(d04_read_before_written), .about = "read through a huge page first, then written beyond", EXPAND },
	{ LAB_CASE(d05_around_a_multiple), .about = "grown to, past and short of a multiple of the huge page", EXPAND },
	{ LAB_CASE(d06_within_size), .about = "shmem_enabled within_size", EXPAND },
	{ LAB_CASE(d06_advise), .about = "shmem_enabled advise, with MADV_HUGEPAGE", EXPAND },
	{ LAB_CASE(d06_force), .about = "shmem_enabled force", EXPAND },
	{ LAB_CASE(d06_deny), .about = "shmem_enabled deny", EXPAND },
	{ LAB_CASE(d07_smaller_sizes), .about = "each smaller huge page size: 10 pages grown to 64", EXPAND },
)

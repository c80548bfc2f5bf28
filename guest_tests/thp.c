/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Group D: growth where shared memory may use huge pages, which reach past the end of a short object. */
#include "lab.h"
#include "lab_disk.h"
#include "lab_numa.h"
#include "lab_refusal.h"

#define HUGE .needs_root = true, .needs_config = "TRANSPARENT_HUGEPAGE"
#define EXPAND .requires = "shm-expand", HUGE

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif

#define PORTABLE_KB 64	/* what portable programs align to: the largest page of most architectures */
#define CACHE_ORDER 11	/* of the largest folio in the page cache: MAX_XAS_ORDER (6.11) of a 64-bit kernel */

#define THP "/sys/kernel/mm/transparent_hugepage"

/* ---- boundaries in the unit of portable programs ---- */

static void d01_boundaries_in_64k(void)
{
	long unit = lab_pages(PORTABLE_KB << 10), old, new;

	for (old = unit; old <= 3 * unit; old += unit) {
		for (new = old + unit; new <= 4 * unit; new += unit) {
			char *p = lab_shared_in_hole(old, new + 1);

			LAB_WRITES(lab_at(p, old) - 1, 1);
			LAB_GROW_IN_PLACE(p, old, new);
			LAB_READS(lab_at(p, old) - 1, 1);
			LAB_WRITES(lab_at(p, old), 2);
			LAB_WRITES(lab_at(p, new) - 1, 3);
			LAB_SIGSEGV(lab_at(p, new));
			LAB_OBJECT(p, new);
			lab_unmap(p, new);
		}
	}
}

/* What nobody extends ends at the page, not at the unit: a memfd a page longer than it, mapped to twice of it. */
static void d01_ends_at_the_page(void)
{
	long unit = lab_pages(PORTABLE_KB << 10);
	int fd = LAB_SETUP_OR_SKIP((int)syscall(SYS_memfd_create, "lab", 1U));
	char *p;

	LAB_SETUP(ftruncate(fd, (off_t)(unit + 1) * (off_t)lab_page()));
	p = LAB_SETUP(mmap(NULL, (size_t)unit * lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	p = LAB_GROW(p, unit, 2 * unit + 2);
	LAB_WRITES(lab_at(p, unit + 1) - 1, 1);
	LAB_SIGBUS(lab_at(p, unit + 1));
	LAB_SIGBUS(lab_at(p, 2 * unit + 2) - 1);
}

/* ---- huge pages ---- */

/* Bytes of a huge page of the page table's second level. */
static unsigned long long huge_bytes(void)
{
	char text[32];

	LAB_SETUP_OR_SKIP(lab_slurp(THP "/hpage_pmd_size", text, sizeof(text)));
	return strtoull(text, NULL, 10);
}

/* Its pages; the case is skipped where it is a big part of memory. */
static long huge_pages(void)
{
	unsigned long long bytes = huge_bytes();

	if (bytes >> 10 > (unsigned long long)lab_meminfo("MemTotal") / 8)
		LAB_SKIP("a huge page is %llu kB of %ld kB", bytes >> 10, lab_meminfo("MemTotal"));
	return lab_pages(bytes);
}

/* Move pages together, so that a huge page's allocation finds room on a node that earlier cases fragmented. */
static void compact_memory(void)
{
	if (lab_owned())
		lab_write_file("/proc/sys/vm/compact_memory", "1");
}

/* Let shared memory have huge pages by this mode: since 6.11 the size itself must agree to what is said for all. */
static void allow_huge(const char *mode)
{
	char path[LAB_PATH];

	snprintf(path, sizeof(path), THP "/hugepages-%llukB/shmem_enabled", huge_bytes() >> 10);
	if (!access(path, F_OK))
		LAB_SET(path, "inherit");
	LAB_SET(THP "/shmem_enabled", mode);
	compact_memory();
}

/* An address that huge pages can start at, with room for `room` pages. */
static char *aligned_hole(long room)
{
	uintptr_t huge = (uintptr_t)huge_pages() * lab_page();
	char *p = lab_hole(room + huge_pages(), 0);

	return (char *)(((uintptr_t)p + huge - 1) & ~(huge - 1));
}

/* A shared mapping of `pages` at an address that huge pages can start at, with room to grow to `room`. */
static char *aligned(long pages, long room)
{
	return LAB_SETUP(mmap(aligned_hole(room), (size_t)pages * lab_page(), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
}

/* The same of a memfd, which no design of growth is for: what this machine has huge pages for at all. */
static char *aligned_memfd(long pages)
{
	size_t bytes = (size_t)pages * lab_page();
	int fd = LAB_SETUP_OR_SKIP((int)syscall(SYS_memfd_create, "lab", 1U));
	char *p;

	LAB_SETUP(ftruncate(fd, (off_t)bytes));
	p = LAB_SETUP(mmap(aligned_hole(pages), bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0));
	close(fd);
	return p;
}

/*
 * Have the shrinkers split huge pages, which drops what lies past the object's end.  2 would do, were it not for
 * references that per-CPU lists still hold, which 1 drains; and a page that is busy at that moment is left for later.
 */
static void drop_slab(void)
{
	int i;

	if (!lab_owned())
		LAB_SKIP("would drop the caches, and this machine is no guest of the lab");
	for (i = 0; i < 20; i++) {
		LAB_SETUP(lab_write_file("/proc/sys/vm/drop_caches", "3"));
		lab_sleep_ms(2);
	}
}

/* kB of the mapping at `p` that huge pages map as a whole; its first byte is read first, for one to be mapped at all. */
static long mapped_huge_kb(void *p)
{
	static struct lab_vma vma;

	lab_read(p);
	LAB_EXPECT(lab_find_vma("/proc/self/smaps", p, &vma));
	return lab_kb(vma.details, "ShmemPmdMapped");
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

/* MADV_COLLAPSE of `pages`: 0, or what the kernel says when it says the same several times. */
static int collapse(char *p, long pages)
{
	int tries = 5, error;

	do {
		error = madvise(p, (size_t)pages * lab_page(), MADV_COLLAPSE) ? errno : 0;
		if (error)
			lab_sleep_ms(2);
	} while (error && --tries);
	return error;
}

/* Skip where even a memfd of a huge page's size cannot be made one; that it can be, d14_collapse_whole demands. */
static void need_collapse(long huge)
{
	char *whole = aligned_memfd(huge);
	int error;

	LAB_WRITES(whole, 1);
	error = collapse(whole, huge);
	if (error)
		LAB_SKIP("MADV_COLLAPSE of a whole memfd: %s", lab_errno(error));
	if (mapped_huge_kb(whole) < huge * (long)(lab_page() >> 10))
		LAB_SKIP("MADV_COLLAPSE maps no huge page here");
	lab_unmap(whole, huge);
}

/* shmem_enabled is never, which MADV_COLLAPSE does not mind: it is a wish for memory, in the grown part, too. */
static void d03_collapse(void)
{
	long huge = huge_pages();
	char *p;

	need_collapse(huge);
	p = aligned(huge / 2, huge);
	LAB_WRITES(p, 1);
	LAB_GROW_IN_PLACE(p, huge / 2, huge);
	LAB_EXPECT_EQ(collapse(p, huge), 0);
	LAB_EXPECT_EQ(mapped_huge_kb(p), huge * (long)(lab_page() >> 10));
	LAB_OBJECT(p, huge);
	LAB_WRITES(lab_at(p, huge / 2), 2);
	LAB_WRITES(lab_at(p, huge - 1), 3);
	drop_slab();
	LAB_READS(p, 1);
	LAB_READS(lab_at(p, huge / 2), 2);
	LAB_READS(lab_at(p, huge - 1), 3);
}

/* Where the extension is refused MADV_COLLAPSE is, too: no huge page, the same size, and the memory as it was. */
static void d17_collapse_refused(void)
{
	long huge = huge_pages(), more;
	char *p;

	if (lab_provides("expand-enomem"))
		LAB_SKIP("mremap() refuses, so there is nothing to collapse");
	need_collapse(huge);
	more = lab_strict_overcommit();
	p = aligned(huge / 2, huge + more);
	LAB_WRITES(p, 1);
	LAB_GROW_IN_PLACE(p, huge / 2, huge + more);
	LAB_EXPECT(collapse(p, huge) != 0);
	LAB_EXPECT_EQ(mapped_huge_kb(p), 0);
	LAB_OBJECT(p, huge / 2);
	LAB_READS(p, 1);
	LAB_WRITES(lab_at(p, huge / 2 - 1), 2);
	LAB_SIGBUS(lab_at(p, huge / 2));
}

/* A hole in a huge page splits it; a page that is busy at that moment is left for later. */
static void split_by_holes(char *p, long huge)
{
	int i;

	for (i = 1; mapped_huge_kb(p) && i < 20; i++) {
		drop_slab();
		LAB_EXPECT_OK(madvise(lab_at(p, i), lab_page(), MADV_REMOVE));
	}
	LAB_READS(p, 1);
	LAB_READS(lab_at(p, huge - 1), 3);
}

/* MADV_COLLAPSE inside the object is no wish for more of it.  meminfo counts the huge page while it is one. */
static void d18_collapse_within(void)
{
	long huge = huge_pages(), kb = huge * (long)(lab_page() >> 10), counted, mapped;
	char *p;

	need_collapse(huge);
	counted = lab_meminfo("ShmemHugePages");
	mapped = lab_meminfo("ShmemPmdMapped");
	p = aligned(huge, 2 * huge);
	LAB_WRITES(p, 1);
	LAB_GROW_IN_PLACE(p, huge, 2 * huge);
	LAB_EXPECT_EQ(collapse(p, huge), 0);
	LAB_EXPECT_EQ(mapped_huge_kb(p), kb);
	LAB_OBJECT(p, lab_provides("expand-enomem") ? 2 * huge : huge);
	LAB_WRITES(lab_at(p, 2 * huge - 1), 2);
	LAB_EXPECT_EQ(lab_meminfo("ShmemHugePages") - counted, kb);
	LAB_EXPECT_EQ(lab_meminfo("ShmemPmdMapped") - mapped, kb);
	LAB_WRITES(lab_at(p, huge - 1), 3);
	split_by_holes(p, huge);
	LAB_EXPECT_EQ(lab_meminfo("ShmemHugePages"), counted);
	LAB_EXPECT_EQ(lab_meminfo("ShmemPmdMapped"), mapped);
}

static void d03_collapse_after_touch(void)
{
	long huge = huge_pages();
	char *p;

	need_collapse(huge);
	p = aligned(1, 2 * huge);
	LAB_WRITES(p, 1);
	LAB_GROW_IN_PLACE(p, 1, 2 * huge);
	LAB_WRITES(lab_at(p, huge), 2);
	LAB_WRITES(lab_at(p, 2 * huge - 1), 3);
	LAB_EXPECT_EQ(collapse(p, 2 * huge), 0);
	LAB_READS(p, 1);
	LAB_READS(lab_at(p, huge), 2);
	LAB_READS(lab_at(p, huge + 1), 0);
	LAB_READS(lab_at(p, 2 * huge - 1), 3);
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

/* A grown part that ends with a huge page has one, as a memfd of that length has. */
static void d05_huge_where_it_fits(void)
{
	long huge = huge_pages(), kb = huge * (long)(lab_page() >> 10), counted = lab_meminfo("ShmemHugePages");
	char *whole, *p;

	allow_huge("always");
	whole = aligned_memfd(2 * huge);
	LAB_WRITES(whole, 1);
	LAB_WRITES(lab_at(whole, huge), 1);
	if (mapped_huge_kb(whole) != 2 * kb)
		LAB_SKIP("of a memfd of two huge pages %ld kB are mapped as such", mapped_huge_kb(whole));
	lab_unmap(whole, 2 * huge);
	p = aligned(1, 2 * huge);
	LAB_GROW_IN_PLACE(p, 1, 2 * huge);
	LAB_WRITES(lab_at(p, 2 * huge - 1), 1);
	LAB_WRITES(p, 1);
	LAB_EXPECT_EQ(mapped_huge_kb(p), 2 * kb);
	LAB_EXPECT_EQ(lab_meminfo("ShmemHugePages") - counted, 2 * kb);
	lab_unmap(p, 2 * huge);
	LAB_EXPECT_EQ(lab_meminfo("ShmemHugePages"), counted);
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
static void each_smaller_size(void (*try)(long pages))
{
	DIR *dir = opendir(THP);
	char path[LAB_PATH];
	struct dirent *entry;
	int tried = 0;
	long kb;

	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), THP "/%.32s/shmem_enabled", entry->d_name);
		if (sscanf(entry->d_name, "hugepages-%ldkB", &kb) != 1 || kb > 1024 || access(path, W_OK))
			continue;
		LAB_SET(path, "always");
		compact_memory();
		try(lab_pages((unsigned long long)kb << 10));
		LAB_SET(path, "never");
		tried++;
	}
	if (dir)
		closedir(dir);
	if (!tried)
		LAB_SKIP("shared memory has no smaller huge pages here");
}

/* An address that a huge page of so many pages starts at, with room for `room` pages. */
static char *aligned_to(long pages, long room)
{
	uintptr_t bytes = (uintptr_t)pages * lab_page();
	char *p = lab_hole(room + pages, 0);

	return (char *)(((uintptr_t)p + bytes - 1) & ~(bytes - 1));
}

/*
 * One and a half huge pages, grown to four: none across the old end where a touch extends the object, and the second last
 * is a whole one.
 */
static void grown_by_huge_pages(long huge)
{
	long old = huge + huge / 2, new = 4 * huge, i;
	char *p = LAB_SETUP(mmap(aligned_to(huge, new), (size_t)old * lab_page(), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));

	LAB_GROW_IN_PLACE(p, old, new);
	LAB_WRITES(lab_at(p, huge), 9);
	if (!lab_provides("expand-enomem"))
		LAB_EXPECT(lab_object_blocks(p) < huge);
	LAB_WRITES(lab_at(p, new - 1), 9);
	LAB_EXPECT(lab_object_blocks(p) >= huge);
	LAB_WRITES(lab_at(p, 2 * huge), 9);
	LAB_EXPECT(lab_object_blocks(p) >= 2 * huge);
	for (i = 0; i < new; i++)
		LAB_WRITES(lab_at(p, i), (unsigned char)(1 + i % 251));
	drop_slab();
	for (i = 0; i < new; i++)
		LAB_READS(lab_at(p, i), (unsigned char)(1 + i % 251));
	LAB_OBJECT(p, new);
	lab_unmap(p, new);
}

/* An object that ends inside the last page of a huge page has room for all of it. */
static void huge_up_to_a_part_of_a_page(long huge)
{
	char *p = LAB_SETUP(mmap(aligned_to(huge, huge), (size_t)huge * lab_page(), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	int fd = lab_open_object(p);

	LAB_SETUP(ftruncate(fd, huge * (off_t)lab_page() - 1));
	close(fd);
	LAB_WRITES(p, 1);
	LAB_BLOCKS(p, huge);
	lab_unmap(p, huge);
}

static void d07_smaller_sizes(void)
{
	each_smaller_size(grown_by_huge_pages);
	each_smaller_size(huge_up_to_a_part_of_a_page);
}

/* ---- huge pages that others have had must stay ---- */

/* Pages of memory that a file has. */
static long blocks_of(int fd)
{
	struct stat about;

	LAB_SETUP(fstat(fd, &about));
	return lab_pages((unsigned long long)about.st_blocks * 512);
}

/* Whether each byte written to a memfd of one and a half huge pages brings a whole one, the second across its end. */
static bool huge_across_the_end(long huge, bool by_write)
{
	int fd = (int)LAB_SETUP_OR_SKIP(syscall(SYS_memfd_create, "lab", 1U));
	off_t end = (off_t)(huge + huge / 2) * (off_t)lab_page();
	char *p = aligned_to(huge, 2 * huge);
	long second, both;

	LAB_SETUP(ftruncate(fd, end));
	p = LAB_SETUP(mmap(p, 2 * (size_t)huge * lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0));
	if (by_write)
		LAB_EXPECT_EQ(LAB_EXPECT_OK(pwrite(fd, "x", 1, (off_t)huge * (off_t)lab_page())), 1);
	else
		LAB_WRITES(lab_at(p, huge), 'x');
	second = blocks_of(fd);
	LAB_READS(lab_at(p, huge), 'x');
	LAB_WRITES(p, 1);
	both = blocks_of(fd);
	lab_unmap(p, 2 * huge);
	close(fd);
	return second == huge && both == 2 * huge;
}

/*
 * A memfd has a huge page across its end.  One attempt of ten must show it: the allocation may fail on a fragmented
 * node, and kswapd splits huge pages across an end whenever it runs.
 */
static void memfd_across_its_end(long huge, bool by_write)
{
	int tries = 10;

	while (tries--)
		if (huge_across_the_end(huge, by_write))
			return;
	LAB_FAIL("no huge page of %ld pages across a memfd's end in ten attempts", huge);
}

static void smaller_memfd(long huge)
{
	memfd_across_its_end(huge, false);
}

static void d12_smaller_sizes_of_memfd(void)
{
	if (lab_kernel_before(6, 12) || !lab_kernel_before(6, 13))
		LAB_SKIP("the rules for huge pages across the end are those of 6.12");
	each_smaller_size(smaller_memfd);
}

/*
 * Skip where a machine has no huge page of the page table's second level to give: asked of private memory, with which no
 * series has to do.
 */
static void need_huge(long huge)
{
	static struct lab_vma vma;
	char *p;

	if (__builtin_ctzl((unsigned long)huge) > CACHE_ORDER)
		LAB_SKIP("a huge page is too large for the page cache");
	LAB_SET(THP "/enabled", "always");
	p = LAB_SETUP(mmap(aligned_hole(huge), (size_t)huge * lab_page(), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	LAB_WRITES(p, 1);
	LAB_EXPECT(lab_find_vma("/proc/self/smaps", p, &vma));
	if (lab_kb(vma.details, "AnonHugePages") != huge * (long)(lab_page() >> 10))
		LAB_SKIP("private memory has no huge page either");
	lab_unmap(p, huge);
}

static void d12_memfd(bool by_write)
{
	long huge = huge_pages();

	if (lab_kernel_before(6, 12) || !lab_kernel_before(6, 13))
		LAB_SKIP("the rules for huge pages across the end are those of 6.12");
	need_huge(huge);
	allow_huge("always");
	memfd_across_its_end(huge, by_write);
}

static void d12_memfd_by_fault(void)
{
	d12_memfd(false);
}

static void d12_memfd_by_write(void)
{
	d12_memfd(true);
}

/* A shared mapping of /dev/zero has its address chosen as MAP_ANONYMOUS has: by huge pages, whatever its offset. */
static void d15_address_of_dev_zero(void)
{
	long huge = huge_pages(), bytes = huge * (long)lab_page(), offset;
	int fd = LAB_SETUP_OR_SKIP(open("/dev/zero", O_RDWR | O_CLOEXEC));
	char *p;

	if (lab_provides("shm-expand-optin") && !lab_provides("shm-expand"))
		LAB_SKIP("/dev/zero has no part in what this kernel provides");
	need_huge(huge);
	allow_huge("always");
	p = LAB_SETUP(lab_map(2 * huge, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS));
	if ((uintptr_t)p % (uintptr_t)bytes)
		LAB_SKIP("addresses are not chosen by huge pages here");
	/* a page more: below one of these no other is aligned by chance */
	for (offset = 0; offset <= 6; offset += 3) {
		p = LAB_EXPECT_OK(mmap(NULL, 2 * (size_t)bytes + lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
				       offset * (off_t)lab_page()));
		LAB_EXPECT_EQ((uintptr_t)p % (uintptr_t)bytes, 0);
		LAB_WRITES(p, 1);
		LAB_EXPECT_EQ(mapped_huge_kb(p), huge * (long)(lab_page() >> 10));
		LAB_BLOCKS(p, huge);
	}
}

/*
 * Interleaving counts in huge pages: of two, one is here and one there.  A node may have none free, and then small pages
 * come instead, about which this says nothing.
 */
static void huge_pages_interleaved(long huge)
{
	long kb = huge * (long)(lab_page() >> 10);
	int nodes[LAB_MAX_NODES], tries;
	struct lab_two_nodes two;
	struct lab_policy both;
	char *p;

	if (lab_nodes(nodes) < 2)
		return;
	two = lab_two_nodes();
	both = lab_policy_of(MPOL_INTERLEAVE, lab_mask_of(two.near));
	lab_mask_add(&both.nodes, two.far);
	for (tries = 0; tries < 10; tries++) {
		p = aligned_memfd(2 * huge);
		LAB_EXPECT_OK(lab_mbind(p, 2 * huge, &both));
		LAB_WRITES(p, 1);
		LAB_WRITES(lab_at(p, huge), 1);
		if (mapped_huge_kb(p) == 2 * kb) {
			LAB_EXPECT(lab_node_of(p) != lab_node_of(lab_at(p, huge)));
			return;
		}
		lab_unmap(p, 2 * huge);
		compact_memory();
	}
	printf("no two huge pages on two nodes\n");
}

/* Whole huge pages by fault: of a memfd, and of an anonymous object that was never grown. */
static void d13_whole_huge_pages(void)
{
	long huge = huge_pages(), kb = huge * (long)(lab_page() >> 10), i;
	char *whole, *p;

	need_huge(huge);
	allow_huge("always");
	p = LAB_SETUP(mmap(aligned_hole(2 * huge), 2 * (size_t)huge * lab_page(), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	memset(p, 7, 2 * (size_t)huge * lab_page());	/* what these pages are full of when they are free */
	lab_unmap(p, 2 * huge);
	whole = aligned_memfd(2 * huge);
	LAB_WRITES(lab_at(whole, huge), 1);
	LAB_WRITES(whole, 1);
	LAB_EXPECT_EQ(mapped_huge_kb(whole), 2 * kb);
	for (i = 0; i < 2 * huge; i++)
		LAB_EXPECT_EQ(*(volatile char *)lab_at(whole, i), i % huge ? 0 : 1);
	lab_unmap(whole, 2 * huge);
	p = aligned(huge, huge);
	LAB_WRITES(lab_at(p, huge - 1), 1);
	LAB_EXPECT_EQ(mapped_huge_kb(p), kb);
	LAB_BLOCKS(p, huge);
	lab_unmap(p, huge);
	huge_pages_interleaved(huge);
}

/* What a truncation, or a hole, that ends inside a page of a huge page takes is zero, to the byte; the rest is there. */
static void cut_inside(int fd, char *p, long huge)
{
	off_t bytes = huge * (off_t)lab_page(), quarter = bytes / 4;
	char *hole = p + quarter, *end = p + 2 * quarter;

	memset(p, 7, (size_t)bytes);
	LAB_SETUP(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, quarter + 5, lab_page()));
	LAB_READS(hole + 4, 7);
	LAB_READS(hole + 5, 0);
	LAB_READS(hole + lab_page() + 4, 0);
	LAB_READS(hole + lab_page() + 5, 7);
	LAB_SETUP(ftruncate(fd, 2 * quarter + 5));
	LAB_SETUP(ftruncate(fd, bytes));
	LAB_READS(end + 4, 7);
	LAB_READS(end + 5, 0);
	LAB_READS(end + lab_page(), 0);
	LAB_READS(p + bytes - 1, 0);
}

/* An object that ends inside the last page of a huge page has room for all of it. */
static void d16_end_inside_a_page(void)
{
	long huge = huge_pages();
	char *p;
	int fd;

	need_huge(huge);
	allow_huge("always");
	p = aligned(huge, huge);
	fd = lab_open_object(p);
	LAB_SETUP(ftruncate(fd, huge * (off_t)lab_page() - 1));
	LAB_WRITES(p, 1);
	LAB_EXPECT_EQ(mapped_huge_kb(p), huge * (long)(lab_page() >> 10));
	LAB_BLOCKS(p, huge);
	cut_inside(fd, p, huge);
	close(fd);
}

/* MADV_COLLAPSE of what ends with a huge page: of a memfd, and of an anonymous object that was never grown. */
static void d14_collapse_whole(void)
{
	long huge = huge_pages(), kb = huge * (long)(lab_page() >> 10);
	char *whole, *p;

	if (lab_kernel_before(6, 12))
		LAB_SKIP("MADV_COLLAPSE of shared memory is as shmem_enabled says before 6.12");
	need_huge(huge);
	whole = aligned_memfd(huge);
	LAB_WRITES(whole, 1);
	LAB_EXPECT_EQ(collapse(whole, huge), 0);
	LAB_EXPECT_EQ(mapped_huge_kb(whole), kb);
	p = aligned(huge, huge);
	LAB_WRITES(lab_at(p, huge - 1), 1);
	LAB_EXPECT_EQ(collapse(p, huge), 0);
	LAB_EXPECT_EQ(mapped_huge_kb(p), kb);
	LAB_OBJECT(p, huge);
}

/*
 * MADV_COLLAPSE over the end of a memfd, which nobody may extend: granted or refused as ever, and the size stays.
 */
static void d14_collapse_extends_nothing_else(void)
{
	long huge = huge_pages();
	int fd = (int)LAB_SETUP_OR_SKIP(syscall(SYS_memfd_create, "lab", 1U));
	char *p = aligned_hole(huge);
	struct stat about;

	LAB_SETUP(ftruncate(fd, (off_t)(huge / 2) * (off_t)lab_page()));
	p = LAB_SETUP(mmap(p, (size_t)huge * lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0));
	LAB_WRITES(p, 1);
	collapse(p, huge);
	LAB_SETUP(fstat(fd, &about));
	LAB_EXPECT_EQ(about.st_size, (huge / 2) * (long)lab_page());
	LAB_READS(p, 1);
}

/* ---- huge pages too large for the page cache ---- */

/* With 64K pages a huge page is one of order 13: shared memory gets none, says so nowhere, and works. */
static void d08_too_large_for_the_page_cache(void)
{
	unsigned long long bytes = huge_bytes();
	long huge = lab_pages(bytes), i;
	int order = __builtin_ctzll(bytes / lab_page());
	char *p;

	if (order <= CACHE_ORDER)
		LAB_SKIP("a huge page of order %d is none too large", order);
	lab_need_room(4 * huge);
	allow_huge("always");
	p = lab_hole(3 * huge, 0);
	p = (char *)(((uintptr_t)p + (uintptr_t)bytes - 1) & ~((uintptr_t)bytes - 1));
	p = LAB_SETUP(mmap(p, (size_t)bytes / 2, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0));
	LAB_GROW_IN_PLACE(p, huge / 2, huge);
	for (i = 0; i < huge; i += huge / 8)
		LAB_WRITES(lab_at(p, i), 1);
	LAB_EXPECT_EQ(mapped_huge_kb(p), 0);
	LAB_WRITES(lab_at(p, huge - 1), 2);
}

/* ---- mapping around a fault ---- */

/*
 * A read maps neighbours that are in the page cache already: as many as fit into 64 KiB by default, so 16, 8, 4 or 1.
 * An object ends anywhere in such a window, full of pages that a child put there; the parent reads round its end.
 */
static void d09_mapped_around(void)
{
	long window = lab_pages(PORTABLE_KB << 10), pages, i;

	for (pages = 1; pages <= 2 * window + 1; pages++) {
		char *p = lab_shared_in_hole(pages, 4 * window + 1);
		pid_t pid = lab_fork();

		if (!pid) {
			for (i = 0; i < pages; i++)
				LAB_WRITES(lab_at(p, i), (unsigned char)(i + 1));
			_exit(0);
		}
		lab_join(pid);
		LAB_GROW_IN_PLACE(p, pages, 4 * window);
		LAB_READS(lab_at(p, pages - 1), (unsigned char)pages);
		LAB_READS(lab_at(p, pages), 0);
		LAB_WRITES(lab_at(p, pages), 99);
		LAB_WRITES(lab_at(p, 4 * window - 1), 98);
		for (i = 0; i < pages; i++)
			LAB_READS(lab_at(p, i), (unsigned char)(i + 1));
		LAB_SIGSEGV(lab_at(p, 4 * window));
		LAB_OBJECT(p, 4 * window);
		lab_unmap(p, 4 * window);
	}
}

/* ---- swap ---- */

/* Pages to swap: some, and a small part of a small memory. */
static long some_pages(void)
{
	long most = lab_meminfo_pages("MemTotal") / 16;

	return most < 128 ? most : 128;
}

/* Each page gets a value of its own. */
static void write_data(char *p, long pages)
{
	long i;

	for (i = 0; i < pages; i++)
		LAB_WRITES(lab_at(p, i), (unsigned char)(1 + i % 251));
}

/* Grown pages with data; the object had one page. */
static char *grown_with_data(long pages)
{
	char *p = LAB_GROW(lab_shared(1), 1, pages);

	write_data(p, pages);
	return p;
}

static void data_is_there(char *p, long pages)
{
	long i;

	for (i = 0; i < pages; i++)
		LAB_READS(lab_at(p, i), (unsigned char)(1 + i % 251));
}

/* Have pages swapped out, which may take so long: whether most of them are in swap then. */
static bool page_out(char *p, long pages, long long within_ms)
{
	long long until = lab_now_ms() + lab_scaled(within_ms);
	long kb = pages * (long)(lab_page() >> 10);

	for (;;) {
		LAB_SETUP(madvise(p, (size_t)pages * lab_page(), MADV_PAGEOUT));
		if (lab_swapped_kb(p) >= kb / 2 || lab_now_ms() >= until)
			break;
		/* Pages that wait on another CPU's list cannot be taken: this empties the lists. */
		compact_memory();
	}
	printf("%ld of %ld kB are in swap\n", lab_swapped_kb(p), kb);
	return lab_swapped_kb(p) >= kb / 2;
}

/* Have pages swapped out; most must go, or there is nothing to see. */
static void swap_out(char *p, long pages)
{
	if (!page_out(p, pages, 15000))
		LAB_ERROR("only %ld of %ld kB were swapped out", lab_swapped_kb(p), pages * (long)(lab_page() >> 10));
}

/* Whether the page tables have marked all pages as written.  QEMU 7.2 forgets that on m68k. */
static bool marked_as_written(char *p, long pages)
{
	static struct lab_vma vma;

	LAB_EXPECT(lab_find_vma("/proc/self/smaps", p, &vma));
	return lab_kb(vma.details, "Shared_Dirty") + lab_kb(vma.details, "Private_Dirty") ==
	       pages * (long)(lab_page() >> 10);
}

/* Of what is in swap each view has its own part, and mincore() finds only the rest. */
static void each_view_has_its_swap(char *p, long pages)
{
	long half = pages / 2, kb = lab_swapped_kb(p), there = 0, i;
	unsigned char *found = LAB_SETUP(malloc((size_t)pages));
	char *head = LAB_DUP_TO(p, half, lab_hole(half, 0));
	char *tail = LAB_DUP_TO(lab_at(p, half), pages - half, lab_at(lab_hole(pages, 0), half));

	LAB_EXPECT_EQ(lab_swapped_kb(head) + lab_swapped_kb(tail), kb);
	lab_unmap(head, half);
	lab_unmap(tail, pages - half);
	LAB_EXPECT_OK(mincore(p, (size_t)pages * lab_page(), found));
	for (i = 0; i < pages; i++)
		there += found[i] & 1;
	LAB_EXPECT(there <= pages - kb / (long)(lab_page() >> 10));
	free(found);
}

/* What comes back from swap lies where the object's policy wants it: four pages here, the next four there. */
static void swapped_in_by_policy(void)
{
	int nodes[LAB_MAX_NODES];
	const long pages = 64;
	struct lab_two_nodes two;
	struct lab_policy policy[2];
	char *p, *view;
	long i;

	if (lab_nodes(nodes) < 2)
		return;
	two = lab_two_nodes();
	policy[0] = lab_policy_of(MPOL_BIND, lab_mask_of(two.near));
	policy[1] = lab_policy_of(MPOL_BIND, lab_mask_of(two.far));
	LAB_SET("/proc/sys/vm/page-cluster", "0");	/* a page brings no others with it, which would lie where it does */
	p = LAB_GROW(lab_shared(1), 1, pages);
	view = LAB_DUP_TO(p, pages, lab_hole(pages, 0));
	for (i = 0; i < pages; i += 4)
		LAB_EXPECT_OK(lab_mbind(lab_at(p, i), 4, &policy[i / 4 % 2]));
	write_data(view, pages);
	swap_out(view, pages);
	data_is_there(view, pages);
	for (i = 0; i < pages; i += 4)
		LAB_NUMA_EXPECT(lab_at(view, i), 4, &policy[i / 4 % 2]);
}

static void d10_swapped_out_and_in(void)
{
	long pages = some_pages(), i;
	char *p, *reader;

	lab_swap(2 * pages);
	p = grown_with_data(pages);
	swap_out(p, pages);
	each_view_has_its_swap(p, pages);
	data_is_there(p, pages);
	LAB_EXPECT_EQ(lab_swapped_kb(p), 0);
	lab_unmap(p, pages);
	swapped_in_by_policy();

	/* Written by a view that is gone by then, and without a fault, which would have marked the pages as written. */
	p = LAB_GROW(lab_shared(1), 1, pages);
	for (i = 0; i < pages; i++)
		LAB_READS(lab_at(p, i), 0);
	write_data(p, pages);
	if (!marked_as_written(p, pages)) {
		printf("writes are not marked in the page tables: what a view has written is not looked for\n");
		return;
	}
	reader = LAB_DUP_TO(p, pages, lab_hole(pages, 0));
	data_is_there(reader, pages);
	p = LAB_GROW_TO(p, pages, pages, lab_hole(pages, 0));	/* and takes its marks along */
	lab_unmap(p, pages);
	page_out(reader, pages, 2000);	/* a kernel that took them for clean has none in swap, and has lost the data */
	data_is_there(reader, pages);
}

/* Growth goes on while what there was is in swap; then swap is taken away. */
static void d10_grown_while_in_swap(void)
{
	long pages = some_pages();
	char *p;

	lab_swap(2 * pages);
	p = grown_with_data(pages);
	swap_out(p, pages);
	p = LAB_GROW(p, pages, 4 * pages);
	LAB_WRITES(lab_at(p, 4 * pages - 1), 9);
	LAB_READS(lab_at(p, 2 * pages), 0);
	LAB_EXPECT(lab_swapped_kb(p) > 0);
	LAB_EXPECT_OK(swapoff(LAB_DISK));
	LAB_EXPECT_EQ(lab_swapped_kb(p), 0);
	data_is_there(p, pages);
	LAB_READS(lab_at(p, 4 * pages - 1), 9);
}

/* Huge pages of shared memory in swap, and an object that ended in the middle of one. */
static void d10_huge_in_swap(void)
{
	long huge = huge_pages(), i;
	char *p;

	lab_swap(4 * huge);
	allow_huge("always");
	p = aligned(huge / 2, huge);
	LAB_GROW_IN_PLACE(p, huge / 2, huge);
	for (i = 0; i < huge; i++)
		LAB_WRITES(lab_at(p, i), (unsigned char)(1 + i % 251));
	LAB_OBJECT(p, huge);
	swap_out(p, huge);
	data_is_there(p, huge);
}

/* ---- khugepaged ---- */

static long khugepaged(const char *file)
{
	char path[LAB_PATH], text[32];

	snprintf(path, sizeof(path), THP "/khugepaged/%s", file);
	LAB_SETUP_OR_SKIP(lab_slurp(path, text, sizeof(text)));
	return strtol(text, NULL, 10);
}

/* Without pause it collects what it finds into huge pages. */
static void hasten_khugepaged(void)
{
	allow_huge("always");
	LAB_SET(THP "/enabled", "always");
	LAB_SET(THP "/khugepaged/defrag", "1");
	LAB_SET(THP "/khugepaged/scan_sleep_millisecs", "0");
	LAB_SET(THP "/khugepaged/alloc_sleep_millisecs", "0");
}

/* Where in the kernel khugepaged is; empty where it is not there. */
static const char *khugepaged_stack(void)
{
	static char stack[LAB_TEXT];
	char path[LAB_PATH], name[32];
	int thread;

	for (thread = 2; thread < 1000; thread++) {
		snprintf(path, sizeof(path), "/proc/%d/comm", thread);
		if (lab_slurp(path, name, sizeof(name)) < 0 || strncmp(name, "khugepaged", 10))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/stack", thread);
		return lab_slurp(path, stack, sizeof(stack)) < 0 ? "" : stack;
	}
	return "";
}

/* Until khugepaged has looked at all there is `times` more often than `scans`. */
static void await_khugepaged(long scans, int times)
{
	long long until = lab_now_ms() + lab_scaled(10000);

	while (khugepaged("full_scans") < scans + times) {
		if (lab_now_ms() > until)
			LAB_ERROR("khugepaged did not scan: %s", khugepaged_stack());
		lab_sleep_ms(5);
	}
}

/* Step by step to four huge pages while khugepaged is at it all the time; what it collects must be what was written. */
static void h08_grow_under_khugepaged(void)
{
	long huge = huge_pages(), size = 1, scans, collapsed, i;
	long long until = lab_now_ms() + lab_scaled(6000);
	char *p;

	need_collapse(huge);
	hasten_khugepaged();
	scans = khugepaged("full_scans");
	collapsed = khugepaged("pages_collapsed");
	p = aligned(1, 4 * huge);
	madvise(p, lab_page(), MADV_HUGEPAGE);
	for (; size < 4 * huge; size += i) {
		i = 4 * huge - size < 16 ? 4 * huge - size : 16;
		LAB_GROW_IN_PLACE(p, size, size + i);
		LAB_WRITES(lab_at(p, size + i - 1), (unsigned char)(1 + size % 251));
		if (size % 128 == 1)
			lab_sleep_ms(1);
	}
	while ((khugepaged("full_scans") < scans + 2 || khugepaged("pages_collapsed") == collapsed) && lab_now_ms() < until)
		lab_sleep_ms(10);
	printf("%ld scans, %ld pages collapsed\n", khugepaged("full_scans") - scans,
	       khugepaged("pages_collapsed") - collapsed);
	for (size = 1; size < 4 * huge; size += i) {
		i = 4 * huge - size < 16 ? 4 * huge - size : 16;
		LAB_READS(lab_at(p, size + i - 1), (unsigned char)(1 + size % 251));
		if (i > 1)
			LAB_READS(lab_at(p, size), 0);
	}
	LAB_OBJECT(p, 4 * huge);
	await_khugepaged(scans, 1);
}

/* Nobody touches the grown part of this one, so a fault would extend it yet: khugepaged must not reach over its end. */
static void h08_khugepaged_at_the_end(void)
{
	long huge = huge_pages(), i;
	char *p;

	need_collapse(huge);
	hasten_khugepaged();
	p = aligned(huge / 2, huge);
	LAB_GROW_IN_PLACE(p, huge / 2, huge);
	madvise(p, (size_t)huge * lab_page(), MADV_HUGEPAGE);
	for (i = 0; i < huge / 2; i++)
		LAB_WRITES(lab_at(p, i), (unsigned char)(1 + i % 251));
	await_khugepaged(khugepaged("full_scans"), 3);
	LAB_READS(p, 1);
	LAB_WRITES(lab_at(p, huge / 2), 2);
	LAB_WRITES(lab_at(p, huge - 1), 3);
	drop_slab();
	for (i = 0; i < huge / 2; i++)
		LAB_READS(lab_at(p, i), (unsigned char)(1 + i % 251));
	LAB_READS(lab_at(p, huge / 2), 2);
	LAB_READS(lab_at(p, huge - 1), 3);
	LAB_OBJECT(p, huge);
}

/* ---- huge pages of the pool ---- */

static bool hugetlb_of(size_t size)
{
	int order = __builtin_ctzll((unsigned long long)size), flags = MAP_ANONYMOUS | MAP_HUGETLB;
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | flags | order << MAP_HUGE_SHIFT, -1, 0);

	if (p == MAP_FAILED)
		return false;
	LAB_WRITES(p, 1);
	LAB_EXPECT_ERRNO(syscall(SYS_mremap, p, size, 2 * size, MREMAP_MAYMOVE, NULL), EINVAL);
	LAB_EXPECT_ERRNO(syscall(SYS_mremap, p, size, 2 * size, 0, NULL), EINVAL);
	LAB_EXPECT_ERRNO(syscall(SYS_mremap, p, 0UL, size, MREMAP_MAYMOVE, NULL), EINVAL);
	LAB_WRITES(p + size - 1, 2);
	LAB_READS(p, 1);
	LAB_SETUP(munmap(p, size));
	return true;
}

/* Every size of which pages are free: such memory never grows, nor is it duplicated. */
static void d11_hugetlb(void)
{
	struct lab_books books = lab_read_books();
	int tried = 0, i;

	for (i = 0; i < books.sizes; i++)
		if (books.huge[i].free > books.huge[i].reserved)
			tried += hugetlb_of((size_t)books.huge[i].kb << 10);
	if (!tried)
		LAB_SKIP("no free huge pages");
}

LAB_CASES(
	{ LAB_CASE(d01_boundaries_in_64k), .about = "from every multiple of 64 KiB to every other: exact ends",
	  .requires = "shm-expand" },
	{ LAB_CASE(d01_ends_at_the_page), .about = "a memfd a page longer than 64 KiB ends at that page" },
	{ LAB_CASE(d02_written_past_the_end), .about = "huge page across the object's end: what is written lasts", EXPAND },
	{ LAB_CASE(d03_collapse), .about = "MADV_COLLAPSE over the object's end: a huge page, and data lasts", EXPAND },
	{ LAB_CASE(d03_collapse_after_touch), .about = "MADV_COLLAPSE of what has grown and is touched", EXPAND },
	{ LAB_CASE(d04_read_before_written), .about = "read through a huge page first, then written beyond", EXPAND },
	{ LAB_CASE(d05_around_a_multiple), .about = "grown to, past and short of a multiple of the huge page", EXPAND },
	{ LAB_CASE(d05_huge_where_it_fits), .about = "grown to two huge pages exactly: two huge pages are mapped", EXPAND },
	{ LAB_CASE(d06_within_size), .about = "shmem_enabled within_size", EXPAND },
	{ LAB_CASE(d06_advise), .about = "shmem_enabled advise, with MADV_HUGEPAGE", EXPAND },
	{ LAB_CASE(d06_force), .about = "shmem_enabled force", EXPAND },
	{ LAB_CASE(d06_deny), .about = "shmem_enabled deny", EXPAND },
	{ LAB_CASE(d07_smaller_sizes), .about = "each smaller huge page size: none across the old end, whole ones behind it",
	  EXPAND },
	{ LAB_CASE(d08_too_large_for_the_page_cache), .about = "huge pages too large for shared memory: none, all works",
	  EXPAND },
	{ LAB_CASE(d09_mapped_around), .about = "objects that end anywhere in the window that a read maps",
	  .requires = "shm-expand" },
	{ LAB_CASE(d10_swapped_out_and_in), .about = "grown pages swapped out and in again", .requires = "shm-expand",
	  .needs_root = true, .needs_config = "SWAP ZRAM", .timeout_s = 20 },
	{ LAB_CASE(d10_grown_while_in_swap), .about = "growth while the old part is in swap, then swapoff",
	  .requires = "shm-expand", .needs_root = true, .needs_config = "SWAP ZRAM", .timeout_s = 20 },
	{ LAB_CASE(d10_huge_in_swap), .about = "huge pages over a grown object's old end, swapped out and in",
	  .requires = "shm-expand", .needs_root = true, .needs_config = "TRANSPARENT_HUGEPAGE SWAP ZRAM",
	  .timeout_s = 20 },
	{ LAB_CASE(h08_grow_under_khugepaged), .about = "growth under a khugepaged that never rests: data intact", EXPAND,
	  .timeout_s = 20 },
	{ LAB_CASE(h08_khugepaged_at_the_end), .about = "khugepaged at an object shorter than its mapping: data lasts", EXPAND,
	  .timeout_s = 20 },
	{ LAB_CASE(d12_smaller_sizes_of_memfd), .about = "each smaller huge page size: a memfd has one across its end", HUGE },
	{ LAB_CASE(d12_memfd_by_fault), .about = "a memfd has a huge page across its end, by a fault", HUGE },
	{ LAB_CASE(d12_memfd_by_write), .about = "a memfd has a huge page across its end, by write()", HUGE },
	{ LAB_CASE(d15_address_of_dev_zero), .about = "/dev/zero at an offset: addresses are chosen by huge pages", EXPAND },
	{ LAB_CASE(d13_whole_huge_pages), .about = "memory that was never grown has huge pages up to its end", HUGE },
	{ LAB_CASE(d16_end_inside_a_page), .about = "an object that ends inside a page may have it in a huge page", HUGE },
	{ LAB_CASE(d17_collapse_refused), .about = "MADV_COLLAPSE over the end, where the extension is refused", EXPAND },
	{ LAB_CASE(d18_collapse_within), .about = "MADV_COLLAPSE within the object extends nothing", EXPAND },
	{ LAB_CASE(d14_collapse_whole), .about = "MADV_COLLAPSE up to the end of what was never grown", HUGE },
	{ LAB_CASE(d14_collapse_extends_nothing_else), .about = "MADV_COLLAPSE over a memfd's end leaves its size alone", HUGE },
	{ LAB_CASE(d11_hugetlb), .about = "hugetlb of any size: growth and duplication are EINVAL" },
)

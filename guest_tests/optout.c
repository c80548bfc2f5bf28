/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Group Q: MADV_DONTEXPAND, after which nobody extends shared anonymous memory any more. */
#include "lab.h"

#define OPTOUT .requires = "expand-optout"

#ifndef MADV_DONTEXPAND
#define MADV_DONTEXPAND 26
#endif

static int forbid(char *p, long pages)
{
	return madvise(p, (size_t)pages * lab_page(), MADV_DONTEXPAND);
}

/* A mapping whose object was bounded. */
static char *bounded(long pages)
{
	char *p = lab_shared(pages);

	LAB_WRITES(p, 7);
	LAB_EXPECT_OK(forbid(p, pages));
	return p;
}

/* Growth is refused at once; the object and the mapping stay as they are. */
static void grows_no_more(char *p, long pages)
{
	LAB_EXPECT_ERRNO(lab_mremap(p, pages, pages + 8, MREMAP_MAYMOVE, NULL), EFAULT);
	LAB_EXPECT_ERRNO(lab_mremap(p, 0, pages + 8, MREMAP_MAYMOVE, NULL), EFAULT);
	LAB_OBJECT(p, pages);
	LAB_READS(p, 7);
	LAB_WRITES(lab_at(p, pages - 1), 7);
}

static void q01_forbids_growth(void)
{
	char *hole = lab_hole(16, 0), *other;
	char *p = LAB_SETUP(mmap(hole, 2 * lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED,
				 -1, 0));

	LAB_WRITES(p, 7);
	LAB_EXPECT_OK(forbid(p, 2));
	LAB_EXPECT_ERRNO(lab_mremap(p, 2, 8, 0, NULL), EFAULT);
	other = lab_hole(8, 0);
	LAB_EXPECT_ERRNO(lab_mremap(p, 2, 8, MREMAP_MAYMOVE | MREMAP_FIXED, other), EFAULT);
	grows_no_more(p, 2);
}

static void q01_after_growth(void)
{
	char *p = LAB_GROW(lab_shared(1), 1, 8);

	LAB_WRITES(p, 7);
	LAB_EXPECT_OK(forbid(p, 1));
	grows_no_more(p, 8);
}

static void q01_of_dev_zero(void)
{
	int fd = LAB_SETUP_OR_SKIP(open("/dev/zero", O_RDWR | O_CLOEXEC));
	char *p = LAB_SETUP(mmap(NULL, 4 * lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));

	LAB_WRITES(p, 7);
	LAB_EXPECT_OK(forbid(p, 4));
	grows_no_more(p, 4);
}

/* What stays inside the object is no growth of it: a mapping that was made smaller, a duplicate, a move. */
static void q02_within(void)
{
	char *p = bounded(8), *q;

	p = LAB_EXPECT_OK(lab_mremap(p, 8, 2, 0, NULL));
	p = LAB_GROW(p, 2, 8);
	LAB_WRITES(lab_at(p, 7), 9);
	q = LAB_DUP_TO(lab_at(p, 4), 4, lab_hole(4, 4));
	LAB_READS(lab_at(q, 3), 9);
	q = LAB_GROW_TO(q, 4, 4, lab_hole(4, 0));
	LAB_WRITES(q, 5);
	LAB_READS(lab_at(p, 4), 5);
	LAB_OBJECT(p, 8);
}

static void q03_child_is_bound(void)
{
	char *p = bounded(2);
	pid_t pid = lab_fork();

	if (!pid) {
		LAB_EXPECT_ERRNO(lab_mremap(p, 2, 8, MREMAP_MAYMOVE, NULL), EFAULT);
		LAB_WRITES(lab_at(p, 1), 77);
		_exit(0);
	}
	lab_join(pid);
	LAB_READS(lab_at(p, 1), 77);
	grows_no_more(p, 2);
}

static void q03_child_binds(void)
{
	char *p = lab_shared(2);
	pid_t pid;

	LAB_WRITES(p, 7);
	pid = lab_fork();
	if (!pid) {
		LAB_EXPECT_OK(forbid(p, 2));
		_exit(0);
	}
	lab_join(pid);
	grows_no_more(p, 2);
}

/* The object is bounded, so a view that was there before is, too. */
static void q04_other_views(void)
{
	char *p = lab_shared(2), *q;

	LAB_WRITES(p, 7);
	q = LAB_DUP_TO(p, 2, lab_hole(2, 0));
	LAB_EXPECT_OK(forbid(q, 2));
	grows_no_more(p, 2);
	LAB_SETUP(munmap(q, 2 * lab_page()));
	grows_no_more(p, 2);
}

/* Other advice does not undo it, nor does the same a second time. */
static void q04_for_good(void)
{
	char *p = bounded(2);

	LAB_EXPECT_OK(madvise(p, 2 * lab_page(), MADV_NORMAL));
	LAB_EXPECT_OK(forbid(p, 2));
	grows_no_more(p, 2);
}

/* Another object, and one that is made afterwards, grow as ever. */
static void q05_others_grow(void)
{
	char *other = lab_shared(2), *p = bounded(2), *later = lab_shared(2);

	other = LAB_GROW(other, 2, 8);
	LAB_WRITES(lab_at(other, 7), 1);
	later = LAB_GROW(later, 2, 8);
	LAB_WRITES(lab_at(later, 7), 1);
	grows_no_more(p, 2);
}

static void q06_committed(void)
{
	long before = lab_committed();
	char *p = bounded(512);

	LAB_COMMITTED(before, 512);
	LAB_EXPECT_ERRNO(lab_mremap(p, 512, 2048, MREMAP_MAYMOVE, NULL), EFAULT);
	LAB_COMMITTED(before, 512);
	lab_unmap(p, 512);
	LAB_COMMITTED(before, 0);
}

static void is_invalid(char *p)
{
	LAB_EXPECT_ERRNO(forbid(p, 1), EINVAL);
}

/* The advice is for shared anonymous memory alone. */
static void q07_other_mappings(void)
{
	int fd = LAB_SETUP_OR_SKIP((int)syscall(SYS_memfd_create, "lab", 1U));

	LAB_SETUP(ftruncate(fd, (off_t)lab_page()));
	is_invalid(LAB_SETUP(lab_map(1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS)));
	is_invalid(LAB_SETUP(mmap(NULL, lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)));
	is_invalid(LAB_SETUP(mmap(NULL, lab_page(), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0)));
	close(fd);
}

LAB_CASES(
	{ LAB_CASE(q01_forbids_growth), .about = "MADV_DONTEXPAND: growth in place, by a move, by a duplicate is EFAULT",
	  OPTOUT },
	{ LAB_CASE(q01_after_growth), .about = "MADV_DONTEXPAND for a part of what has grown: all of it grows no more",
	  OPTOUT },
	{ LAB_CASE(q01_of_dev_zero), .about = "MADV_DONTEXPAND of a shared mapping of /dev/zero", OPTOUT },
	{ LAB_CASE(q02_within), .about = "MADV_DONTEXPAND: what stays inside the object works as before", OPTOUT },
	{ LAB_CASE(q03_child_is_bound), .about = "what a parent has bounded its child cannot grow", OPTOUT },
	{ LAB_CASE(q03_child_binds), .about = "what a child has bounded its parent cannot grow", OPTOUT },
	{ LAB_CASE(q04_other_views), .about = "MADV_DONTEXPAND by one view bounds all, also when it is gone", OPTOUT },
	{ LAB_CASE(q04_for_good), .about = "no other advice lets the object grow again", OPTOUT },
	{ LAB_CASE(q05_others_grow), .about = "MADV_DONTEXPAND leaves other objects alone", OPTOUT },
	{ LAB_CASE(q06_committed), .about = "growth that MADV_DONTEXPAND refuses is not accounted for", OPTOUT },
	{ LAB_CASE(q07_other_mappings), .about = "MADV_DONTEXPAND of other memory is EINVAL" },
)

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Group J: growth only for those who asked for it by MAP_EXPANDABLE, which MAP_SHARED_VALIDATE takes or refuses. */
#include "lab.h"

#define OPTIN .requires = "shm-expand-optin"

#define VALIDATE (MAP_SHARED_VALIDATE | MAP_ANONYMOUS)

static char *map(long pages, int flags)
{
	return lab_map(pages, PROT_READ | PROT_WRITE, flags);
}

/* A mapping that may grow; whoever lacks the flag says so here. */
static char *expandable(long pages)
{
	return LAB_EXPECT_OK(map(pages, VALIDATE | MAP_EXPANDABLE));
}

/* A mapping of a page that nobody said may grow: beyond its object is SIGBUS, but for kernels where all may grow. */
static void grows_as_ever(char *p)
{
	LAB_WRITES(p, 7);
	p = LAB_GROW(p, 1, 8);
	LAB_READS(p, 7);
	if (lab_provides("shm-expand")) {
		LAB_WRITES(lab_at(p, 7), 1);
		return;
	}
	LAB_SIGBUS(lab_at(p, 1));
	LAB_SIGBUS(lab_at(p, 7));
	LAB_OBJECT(p, 1);
}

static void j01_asked_for(void)
{
	char *p = expandable(1);

	LAB_WRITES(p, 7);
	p = LAB_GROW(p, 1, 200);
	LAB_OBJECT(p, 200);
	LAB_READS(p, 7);
	LAB_READS(lab_at(p, 100), 0);
	LAB_WRITES(lab_at(p, 199), 1);
}

static void j01_in_place(void)
{
	char *hole = lab_hole(8, 0), *p;

	p = LAB_EXPECT_OK(mmap(hole, lab_page(), PROT_READ | PROT_WRITE, VALIDATE | MAP_EXPANDABLE | MAP_FIXED, -1, 0));
	LAB_EXPECT(p == hole);
	LAB_GROW_IN_PLACE(p, 1, 8);
	LAB_WRITES(lab_at(p, 7), 1);
}

static void j02_not_asked_for(void)
{
	grows_as_ever(lab_shared(1));
}

/* MAP_SHARED has never minded flags that it does not know. */
static void j02_flag_with_shared(void)
{
	grows_as_ever(LAB_EXPECT_OK(map(1, MAP_SHARED | MAP_ANONYMOUS | MAP_EXPANDABLE)));
}

static void j02_validated_without_flag(void)
{
	grows_as_ever(LAB_EXPECT_OK(map(1, VALIDATE)));
}

/* So that a program can find out what the kernel knows: any other flag is refused as unknown, not as invalid. */
static void j03_unknown_flag(void)
{
	LAB_EXPECT_ERRNO(map(1, VALIDATE | MAP_EXPANDABLE << 1), EOPNOTSUPP);
	LAB_EXPECT_ERRNO(map(1, VALIDATE | MAP_EXPANDABLE | MAP_EXPANDABLE << 1), EOPNOTSUPP);
}

static void j04_file(void)
{
	int fd = LAB_SETUP_OR_SKIP((int)syscall(SYS_memfd_create, "lab", 1U));

	LAB_SETUP(ftruncate(fd, (off_t)lab_page()));
	LAB_EXPECT_ERRNO(mmap(NULL, lab_page(), PROT_READ, MAP_SHARED_VALIDATE | MAP_EXPANDABLE, fd, 0), EOPNOTSUPP);
}

static void j04_dev_zero(void)
{
	int fd = LAB_SETUP_OR_SKIP(open("/dev/zero", O_RDWR | O_CLOEXEC));

	LAB_EXPECT_ERRNO(mmap(NULL, lab_page(), PROT_READ, MAP_SHARED_VALIDATE | MAP_EXPANDABLE, fd, 0), EOPNOTSUPP);
}

static void j05_inherited(void)
{
	char *p = expandable(1);
	pid_t pid = lab_fork();

	if (!pid) {
		p = LAB_GROW(p, 1, 8);
		LAB_WRITES(lab_at(p, 7), 77);
		_exit(0);
	}
	lab_join(pid);
	LAB_OBJECT(p, 8);
	p = LAB_GROW(p, 1, 8);
	LAB_READS(lab_at(p, 7), 77);
}

static void j05_duplicated(void)
{
	char *pool = expandable(4);
	char *area = LAB_DUP_TO(lab_at(pool, 2), 2, lab_hole(2, 2));

	area = LAB_GROW(area, 2, 6);
	LAB_WRITES(lab_at(area, 5), 7);
	LAB_OBJECT(area, 8);
	pool = LAB_GROW(pool, 4, 8);
	LAB_READS(lab_at(pool, 7), 7);
}

/* What cannot be had is ENOMEM from mremap, and nothing has changed. */
static void j06_refused_by_mremap(void)
{
	long more = lab_meminfo_pages("MemTotal") + lab_meminfo_pages("SwapTotal") + 64, before;
	char *p = expandable(1);

	lab_need_room(1 + more);
	before = lab_committed();
	LAB_EXPECT_ERRNO(lab_mremap(p, 1, 1 + more, MREMAP_MAYMOVE, NULL), ENOMEM);
	LAB_COMMITTED(before, 0);
	LAB_OBJECT(p, 1);
	LAB_WRITES(p, 1);
}

static void j07_committed(void)
{
	long before = lab_committed();
	char *p = expandable(512);

	p = LAB_GROW(p, 512, 1024);
	LAB_COMMITTED(before, 1024);
	LAB_WRITES(lab_at(p, 1023), 1);
	LAB_COMMITTED(before, 1024);
	lab_unmap(p, 1024);
	LAB_COMMITTED(before, 0);
}

LAB_CASES(
	{ LAB_CASE(j01_asked_for), .about = "MAP_EXPANDABLE: 1 page grown to 200, all of it usable", OPTIN },
	{ LAB_CASE(j01_in_place), .about = "MAP_EXPANDABLE: grown where it is", OPTIN },
	{ LAB_CASE(j02_not_asked_for), .about = "MAP_SHARED alone grows as it does on this kernel" },
	{ LAB_CASE(j02_flag_with_shared), .about = "MAP_SHARED ignores MAP_EXPANDABLE" },
	{ LAB_CASE(j02_validated_without_flag), .about = "MAP_SHARED_VALIDATE alone: mapped, and not extended", OPTIN },
	{ LAB_CASE(j03_unknown_flag), .about = "MAP_SHARED_VALIDATE refuses flags that it does not know", OPTIN },
	{ LAB_CASE(j04_file), .about = "MAP_EXPANDABLE of a file is EOPNOTSUPP" },
	{ LAB_CASE(j04_dev_zero), .about = "MAP_EXPANDABLE of /dev/zero is EOPNOTSUPP" },
	{ LAB_CASE(j05_inherited), .about = "a child may grow what its parent said may grow", OPTIN },
	{ LAB_CASE(j05_duplicated), .about = "a duplicate may grow, too", OPTIN },
	{ LAB_CASE(j06_refused_by_mremap), .about = "growth over memory and swap is ENOMEM, nothing changed", OPTIN },
	{ LAB_CASE(j07_committed), .about = "Committed_AS moves at mremap, by the growth", OPTIN },
)

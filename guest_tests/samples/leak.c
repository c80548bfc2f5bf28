/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sample: cases that pass, and leave something behind.  Only in a guest of the lab; elsewhere every case is skipped. */
#include "lab.h"
#include <sys/ipc.h>
#include <sys/shm.h>

#define PAGES 2000

static void guest_only(void)
{
	if (!lab_owned())
		LAB_SKIP("for a guest of the lab only");
}

static char *segment(size_t size, int flags)
{
	int id = LAB_SETUP(shmget(IPC_PRIVATE, size, IPC_CREAT | 0600 | flags));

	return LAB_SETUP(shmat(id, NULL, 0));
}

static void nothing(void)
{
}

static void sysv_shm(void)
{
	guest_only();
	memset(segment(PAGES * lab_page(), 0), 1, PAGES * lab_page());
}

/* Fails as well: the leak is worse. */
static void sysv_shm_and_fails(void)
{
	sysv_shm();
	LAB_EXPECT(1 > 2);
}

/* A segment of one huge page, of the size that there are any of. */
static char *huge_segment(void)
{
	struct lab_books books = lab_read_books();
	int i, shift = 10;

	for (i = 0; i < books.sizes && books.huge[i].free <= books.huge[i].reserved; i++)
		;
	if (i == books.sizes)
		LAB_SKIP("no huge page is free");
	while (1L << (shift - 10) < books.huge[i].kb)
		shift++;
	return segment((size_t)books.huge[i].kb << 10, SHM_HUGETLB | shift << MAP_HUGE_SHIFT);
}

/* Reserved, never touched. */
static void hugepages_reserved(void)
{
	guest_only();
	huge_segment();
}

static void hugepages_used(void)
{
	guest_only();
	*huge_segment() = 1;
}

static void file_left_in_tmp(void)
{
	char page[BUFSIZ] = { 1 };
	int fd, i;

	guest_only();
	fd = LAB_SETUP(open("/tmp/left", O_WRONLY | O_CREAT, 0600));
	for (i = 0; i < 4000; i++)
		LAB_SETUP(write(fd, page, sizeof(page)));
}

/* TAINT_USER: a taint with no report on the console. */
static void taint(void)
{
	guest_only();
	LAB_SETUP(lab_write_file("/proc/sys/kernel/tainted", "64"));
}

LAB_CASES(
	{ LAB_CASE(nothing) },
	{ LAB_CASE(sysv_shm) },
	{ LAB_CASE(sysv_shm_and_fails) },
	{ LAB_CASE(hugepages_reserved) },
	{ LAB_CASE(hugepages_used) },
	{ LAB_CASE(file_left_in_tmp) },
	{ LAB_CASE(taint) },
)

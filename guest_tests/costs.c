/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the designs cost: a fault, an mremap, and what should cost what it always did. */
#include "lab_cost.h"
#include <sys/shm.h>

#define MANY 64			/* pages or mappings of a round */
#define FAR 256			/* pages that a mapping grows by at once */
#define SOME 8			/* operations of a round where one is long */
#define GROUND ((uintptr_t)1 << (sizeof(long) > 4 ? 36 : 29)) /* what the smallest address spaces have: 38 bits, 31 */

static long page;
static char *ground;		/* addresses for every round anew */

static char *at(char *p, long n)
{
	return p + (size_t)n * page;
}

static void touch(char *p)
{
	*(volatile char *)p = 1;
}

/* Pages mapped where nothing else is, `n` from the start of the ground. */
static char *put(long n, long pages, int flags, int fd)
{
	return LAB_SETUP(mmap(at(ground, n), (size_t)pages * page, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0));
}

static void clear(long pages)
{
	LAB_SETUP(munmap(ground, (size_t)pages * page));
}

static bool by_flag(void)
{
	return lab_provides("shm-expand-optin") && !lab_provides("shm-expand");
}

/* How a mapping is made whose object may grow, where objects do. */
static int shared(void)
{
	return MAP_ANONYMOUS | (by_flag() ? MAP_SHARED_VALIDATE | MAP_EXPANDABLE : MAP_SHARED);
}

static void grow(char *p, long from, long to)
{
	LAB_SETUP(syscall(SYS_mremap, p, (size_t)from * page, (size_t)to * page, 0, NULL));
}

/* Objects of a page each, that page touched, with `room` pages for each of them. */
static void put_each(int count, long room, int flags)
{
	int i;

	for (i = 0; i < count; i++)
		touch(put(i * room, 1, flags, -1));
}

/*
 * The ground is the same in every process, and far from all else but a touched page just before it, on behalf of which
 * there are page tables. What was freed until now gets time to be so.
 */
static void prepare(long pages)
{
	long colours;
	char *p;

	page = lab_page();
	colours = ((long)SHMLBA + page - 1) / page;	/* one, where any address will do for a shared mapping */
	/* Hardly any of it is touched: a machine with less memory than that has room for it all the same. */
	p = LAB_SETUP(mmap((void *)GROUND, (size_t)(pages + colours) * page, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	if (p != (void *)GROUND)
		LAB_ERROR("something is mapped at %p", (void *)GROUND);
	touch(at(p, colours - 1));
	ground = at(p, colours);
	clear(pages);
	lab_sleep_ms(50);
}

static void measure(long long (*round)(void), int ops, long pages)
{
	prepare(pages);
	lab_cost(round, ops);
}

/* The same, of what only kernels have where the object can grow; they must do what they claim. */
static void measure_growth(long long (*round)(void), int ops, long pages)
{
	char *p;

	if (!lab_provides("shm-expand") && !by_flag())
		LAB_SKIP("the object does not grow on this kernel");
	p = LAB_GROW(LAB_SETUP(lab_map(1, PROT_READ | PROT_WRITE, shared())), 1, 2);
	LAB_WRITES(lab_at(p, 1), 1);
	lab_unmap(p, 2);
	measure(round, ops, pages);
}

static long long touch_all(char *p, int pages)
{
	long long start = lab_now_ns();
	int i;

	for (i = 0; i < pages; i++)
		touch(at(p, i));
	return lab_now_ns() - start;
}

/* ---- faults ----------------------------------------------------------------------------------------------------- */

static long long fault_round(void)
{
	long long spent = touch_all(put(0, MANY, shared(), -1), MANY);

	clear(MANY);
	return spent;
}

static void k01_fault(void)
{
	measure(fault_round, MANY, MANY);
}

static long long present_fault_round(void)
{
	char *p = put(0, MANY, shared(), -1);
	long long spent;

	touch_all(p, MANY);
	LAB_SETUP(lab_mremap(p, 0, MANY, MREMAP_MAYMOVE | MREMAP_FIXED, at(ground, MANY)));
	spent = touch_all(at(ground, MANY), MANY);
	clear(2 * MANY);
	return spent;
}

static void k02_present_fault(void)
{
	measure(present_fault_round, MANY, 2 * MANY);
}

static long long private_fault_round(void)
{
	long long spent = touch_all(put(0, MANY, MAP_PRIVATE | MAP_ANONYMOUS, -1), MANY);

	clear(MANY);
	return spent;
}

static void k03_private_fault(void)
{
	measure(private_fault_round, MANY, MANY);
}

static int memfd;

static long long memfd_read_fault_round(void)
{
	char *p = put(0, MANY, MAP_SHARED, memfd);
	long long spent = lab_now_ns();
	int i;

	for (i = 0; i < MANY; i++)
		(void)*(volatile char *)at(p, i);
	spent = lab_now_ns() - spent;
	clear(MANY);
	return spent;
}

static void k04_memfd_read_fault(void)
{
	memfd = LAB_SETUP_OR_SKIP((int)syscall(SYS_memfd_create, "cost", 0));
	LAB_SETUP(ftruncate(memfd, (off_t)(MANY * lab_page())));
	prepare(MANY);
	touch_all(put(0, MANY, MAP_SHARED, memfd), MANY);
	clear(MANY);
	lab_cost(memfd_read_fault_round, MANY);
}

static long long grow_fault_round(void)
{
	long long start;
	int i;

	put_each(MANY, 3, shared());
	for (i = 0; i < MANY; i++)
		grow(at(ground, i * 3), 1, 2);
	start = lab_now_ns();
	for (i = 0; i < MANY; i++)
		touch(at(ground, i * 3 + 1));
	start = lab_now_ns() - start;
	clear(MANY * 3);
	return start;
}

static void k12_grow_fault(void)
{
	measure_growth(grow_fault_round, MANY, MANY * 3);
}

static long long grown_fault_round(void)
{
	long long spent;

	put_each(1, MANY + 2, shared());
	grow(ground, 1, MANY + 2);
	touch(at(ground, MANY + 1));	/* whoever extends at a fault has done so now */
	spent = touch_all(at(ground, 1), MANY);
	clear(MANY + 2);
	return spent;
}

static void k13_grown_fault(void)
{
	measure_growth(grown_fault_round, MANY, MANY + 2);
}

/* ---- mremap ----------------------------------------------------------------------------------------------------- */

static long long grow_all(int count, long room, long to)
{
	long long start = lab_now_ns();
	int i;

	for (i = 0; i < count; i++)
		grow(at(ground, i * room), 1, to);
	return lab_now_ns() - start;
}

static long long mremap_grow_round(void)
{
	long long spent;

	put_each(MANY, 3, shared());
	spent = grow_all(MANY, 3, 2);
	clear(MANY * 3);
	return spent;
}

static void k05_mremap_grow(void)
{
	measure(mremap_grow_round, MANY, MANY * 3);
}

static long long mremap_grow_far_round(void)
{
	long long spent;

	put_each(SOME, FAR + 2, shared());
	spent = grow_all(SOME, FAR + 2, FAR + 1);
	clear(SOME * (FAR + 2));
	return spent;
}

static void k06_mremap_grow_far(void)
{
	measure(mremap_grow_far_round, SOME, SOME * (FAR + 2));
}

static long long mremap_private_round(void)
{
	long long spent;

	put_each(MANY, 3, MAP_PRIVATE | MAP_ANONYMOUS);
	spent = grow_all(MANY, 3, 2);
	clear(MANY * 3);
	return spent;
}

static void k08_mremap_private(void)
{
	measure(mremap_private_round, MANY, MANY * 3);
}

/* A page is in the way, so that growing moves the mapping, which has pages to take along, to a place of our choice. */
static long long mremap_move_round(void)
{
	long long spent = 0, start;
	char *p, *q;
	int i;

	for (i = 0; i < SOME; i++) {
		p = put(0, SOME, shared(), -1);
		touch_all(p, SOME);
		start = lab_now_ns();
		q = LAB_SETUP(lab_mremap(p, SOME, SOME + 1, MREMAP_MAYMOVE | MREMAP_FIXED, at(ground, 2 * SOME)));
		spent += lab_now_ns() - start;
		LAB_SETUP(munmap(q, (SOME + 1) * page));
	}
	return spent;
}

static void k07_mremap_move(void)
{
	measure(mremap_move_round, SOME, 4 * SOME);
}

static long long grow_and_touch_round(void)
{
	long long start;
	int i;

	put_each(MANY, 3, shared());
	start = lab_now_ns();
	for (i = 0; i < MANY; i++) {
		grow(at(ground, i * 3), 1, 2);
		touch(at(ground, i * 3 + 1));
	}
	start = lab_now_ns() - start;
	clear(MANY * 3);
	return start;
}

static void k14_grow_and_touch(void)
{
	measure_growth(grow_and_touch_round, MANY, MANY * 3);
}

/* ---- what is round them ----------------------------------------------------------------------------------------- */

static long long map_and_unmap_round(void)
{
	long long start = lab_now_ns();
	int i;

	for (i = 0; i < MANY; i++) {
		touch(put(0, SOME, shared(), -1));
		clear(SOME);
	}
	return lab_now_ns() - start;
}

static void k09_map_and_unmap(void)
{
	measure(map_and_unmap_round, MANY, SOME);
}

static int zero;

static long long dev_zero_round(void)
{
	long long start = lab_now_ns();
	int i;

	for (i = 0; i < MANY; i++) {
		touch(put(0, SOME, MAP_SHARED, zero));
		clear(SOME);
	}
	return lab_now_ns() - start;
}

static void k10_dev_zero(void)
{
	zero = LAB_SETUP(open("/dev/zero", O_RDWR | O_CLOEXEC));
	measure(dev_zero_round, MANY, SOME);
}

static long long fork_and_wait_round(void)
{
	char *p = put(0, MANY, shared(), -1);
	long long start;
	pid_t child;
	int i;

	touch_all(p, MANY);
	start = lab_now_ns();
	for (i = 0; i < SOME; i++) {
		child = LAB_SETUP(fork());
		if (!child)
			_exit(0);
		LAB_SETUP(waitpid(child, NULL, 0));
	}
	start = lab_now_ns() - start;
	clear(MANY);
	lab_sleep_ms(20);	/* the dead are freed later: hundreds at once would leave half empty caches */
	return start;
}

static void k11_fork_and_wait(void)
{
	measure(fork_and_wait_round, SOME, MANY);
}

LAB_CASES(
	{ LAB_CASE(k01_fault), .about = "first touch of a page within the object" },
	{ LAB_CASE(k02_present_fault), .about = "touch of a page that another view of the object has touched" },
	{ LAB_CASE(k03_private_fault), .about = "first touch of a page of private memory" },
	{ LAB_CASE(k04_memfd_read_fault), .about = "read of a page of a memfd, per page" },
	{ LAB_CASE(k05_mremap_grow), .about = "mremap from 1 page to 2, in place" },
	{ LAB_CASE(k06_mremap_grow_far), .about = "mremap from 1 page to 257, in place" },
	{ LAB_CASE(k07_mremap_move), .about = "mremap that grows and moves 8 touched pages" },
	{ LAB_CASE(k08_mremap_private), .about = "mremap of private memory from 1 page to 2, in place" },
	{ LAB_CASE(k09_map_and_unmap), .about = "mmap of shared anonymous memory, a touch, munmap" },
	{ LAB_CASE(k10_dev_zero), .about = "mmap of /dev/zero, shared, a touch, munmap" },
	{ LAB_CASE(k11_fork_and_wait), .about = "fork with 64 touched pages of shared memory, and the child's end" },
	/* Last, since not every kernel has them: what runs before a measurement leaves its marks in the kernel's lists. */
	{ LAB_CASE(k12_grow_fault), .about = "first touch beyond the object's old end" },
	{ LAB_CASE(k13_grown_fault), .about = "further touches beyond the object's old end" },
	{ LAB_CASE(k14_grow_and_touch), .about = "mremap from 1 page to 2, in place, and the first touch of the second" },
)

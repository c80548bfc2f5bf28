/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Group M: every kind of view of one object, and every piece of one mapping: read, written, grown, ended, paid for. */
#include "lab.h"

#define EXPAND .requires = "shm-expand"
#define ROOT .needs_root = true

#ifndef MADV_DONTFORK
#define MADV_DONTFORK 10
#endif

/* ---- views ---- */

/* All of `pages` pages from `first` on read as zeros. */
static void all_zeros(char *p, long first, long pages)
{
	long i;

	for (i = first; i < pages; i++) {
		LAB_READS(lab_at(p, i), 0);
		LAB_READS(lab_at(p, i + 1) - 1, 0);
	}
}

static void m01_read_only(void)
{
	long before = lab_committed();
	char *p = lab_shared(2), *view = LAB_DUP_TO(p, 2, lab_hole(2, 0));
	struct lab_fault fault;

	LAB_WRITES(lab_at(p, 1), 7);
	LAB_SETUP(mprotect(view, 2 * lab_page(), PROT_READ));
	view = LAB_GROW(view, 2, 300);
	LAB_READS(lab_at(view, 1), 7);
	LAB_READS(lab_at(view, 299), 0);
	LAB_OBJECT(p, 300);
	LAB_COMMITTED(before, 300);
	fault = lab_write(lab_at(view, 299), 1);
	LAB_EXPECT_EQ(fault.signo, SIGSEGV);
	p = LAB_GROW(p, 2, 300);
	all_zeros(p, 2, 300);
	LAB_WRITES(lab_at(p, 298), 8);
	LAB_READS(lab_at(view, 298), 8);
	lab_unmap(p, 300);
	LAB_READS(lab_at(view, 298), 8);
	LAB_COMMITTED(before, 300);
	lab_unmap(view, 300);
	LAB_COMMITTED(before, 0);
}

/* A view through a descriptor that was opened for reading can never be written: it is no reason to extend anything. */
static void m02_never_writable(void)
{
	long before = lab_committed();
	char *p = lab_shared(2), path[LAB_PATH], *view;
	int fd;

	LAB_WRITES(lab_at(p, 1), 7);
	LAB_EXPECT(lab_map_files(p, path, sizeof(path)));
	fd = LAB_SETUP_OR_SKIP(open(path, O_RDONLY | O_CLOEXEC));
	view = LAB_EXPECT_OK(mmap(NULL, 2 * lab_page(), PROT_READ, MAP_SHARED, fd, 0));
	close(fd);
	LAB_EXPECT_ERRNO(mprotect(view, lab_page(), PROT_READ | PROT_WRITE), EACCES);
	LAB_EXPECT_ERRNO(madvise(view, 2 * lab_page(), MADV_REMOVE), EACCES);
	view = LAB_GROW(view, 2, 256);
	LAB_READS(lab_at(view, 1), 7);
	LAB_EXPECT_EQ(lab_read(lab_at(view, 2)).signo, SIGBUS);
	LAB_EXPECT_EQ(lab_read(lab_at(view, 255)).signo, SIGBUS);
	LAB_OBJECT(p, 2);
	LAB_COMMITTED(before, 2);
	lab_unmap(p, 2);
	LAB_READS(lab_at(view, 1), 7);
	lab_unmap(view, 256);
	LAB_COMMITTED(before, 0);
}

/* MAP_NORESERVE: every page of memory is paid for when it is there, by whichever view. */
static void m03_noreserve(void)
{
	int flags = MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE;
	long before = lab_committed(), i;
	char *p = LAB_SETUP(lab_map(2, PROT_READ | PROT_WRITE, flags)), *view;

	view = LAB_EXPECT_OK(lab_mremap(p, 0, 2, MREMAP_MAYMOVE, NULL));
	p = LAB_GROW(p, 2, 1024);
	LAB_WRITES(lab_at(p, 1023), 1);
	LAB_OBJECT(p, 1024);
	LAB_BLOCKS(p, 1);
	LAB_COMMITTED(before, 1);
	for (i = 100; i < 200; i++)
		LAB_WRITES(lab_at(p, i), 1);
	view = LAB_GROW(view, 2, 200);
	for (i = 100; i < 200; i++)
		LAB_READS(lab_at(view, i), 1);
	LAB_BLOCKS(p, 101);
	LAB_COMMITTED(before, 101);
	lab_unmap(p, 1024);
	LAB_COMMITTED(before, 101);
	lab_unmap(view, 200);
	LAB_COMMITTED(before, 0);
}

/* A view that mmap made longer than the object: a touch of it may extend, as far as it goes; its growth by mremap does. */
static void m04_longer_than_the_object(void)
{
	long before = lab_committed();
	char *p = lab_shared(2), *view;
	int fd = lab_open_object(p);

	view = LAB_EXPECT_OK(mmap(lab_hole(512, 0), 256 * lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0));
	LAB_OBJECT(p, 2);
	LAB_WRITES(lab_at(view, 1), 1);
	LAB_COMMITTED(before, 2);
	if (lab_provides("shm-expand") && !lab_provides("expand-enomem"))
		LAB_READS(lab_at(view, 255), 0);
	else
		LAB_SIGBUS(lab_at(view, 255));
	LAB_GROW_IN_PLACE(view, 256, 512);
	LAB_WRITES(lab_at(view, 511), 1);
	LAB_WRITES(lab_at(view, 2), 1);
	LAB_OBJECT(p, 512);
	LAB_COMMITTED(before, 512);
	close(fd);
	lab_unmap(view, 512);
	LAB_COMMITTED(before, 512);
	lab_unmap(p, 2);
	LAB_COMMITTED(before, 0);
}

static void m05_shorter_than_the_object(void)
{
	long before = lab_committed();
	char *p = lab_shared(200), *view;
	int fd = lab_open_object(p);

	view = LAB_EXPECT_OK(mmap(lab_hole(512, 0), 4 * lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0));
	close(fd);
	LAB_WRITES(lab_at(p, 150), 15);
	LAB_GROW_IN_PLACE(view, 4, 151);
	LAB_READS(lab_at(view, 150), 15);
	LAB_OBJECT(p, 200);
	LAB_COMMITTED(before, 200);
	LAB_GROW_IN_PLACE(view, 151, 512);
	all_zeros(view, 151, 512);
	LAB_OBJECT(p, 512);
	LAB_COMMITTED(before, 512);
	lab_unmap(p, 200);
	LAB_READS(lab_at(view, 150), 15);
	lab_unmap(view, 512);
	LAB_COMMITTED(before, 0);
}

/* The parent grows, forks, and lets go: the child has all of it, to its end. */
static void m06_inherited(void)
{
	long before = lab_committed();
	char *p = LAB_GROW(lab_shared(1), 1, 256);
	struct lab_gate go = lab_gate();
	pid_t pid = lab_fork();

	if (!pid) {
		lab_pass_gate(&go);
		all_zeros(p, 1, 256);
		LAB_WRITES(lab_at(p, 255), 1);
		LAB_OBJECT(p, 256);
		p = LAB_GROW(p, 256, 300);
		LAB_WRITES(lab_at(p, 299), 1);
		LAB_OBJECT(p, 300);
		_exit(0);
	}
	lab_unmap(p, 256);
	lab_open_gate(&go);
	lab_join(pid);
	LAB_COMMITTED(before, 0);
}

/* MADV_DONTFORK of the grown part: a child has the old part, and may grow it for itself; one object all the same. */
static void m07_not_inherited(void)
{
	char *p = lab_shared_in_hole(4, 8);
	long size;
	pid_t pid;

	LAB_GROW_IN_PLACE(p, 4, 8);
	LAB_WRITES(lab_at(p, 7), 7);
	LAB_SETUP(madvise(lab_at(p, 4), 4 * lab_page(), MADV_DONTFORK));
	size = lab_status_kb("VmSize");
	pid = lab_fork();
	if (!pid) {
		LAB_EXPECT_EQ(lab_status_kb("VmSize"), size - 4 * (long)(lab_page() >> 10));
		LAB_SIGSEGV(lab_at(p, 4));
		LAB_SIGSEGV(lab_at(p, 7));
		p = LAB_GROW(p, 4, 12);
		LAB_READS(lab_at(p, 7), 7);
		LAB_WRITES(lab_at(p, 11), 11);
		_exit(0);
	}
	lab_join(pid);
	LAB_READS(lab_at(p, 7), 7);
	LAB_OBJECT(p, 12);
}

/* A view of one page at the object's end, grown from there; and one that begins beyond the end. */
static void m08_at_and_beyond_the_end(void)
{
	long before = lab_committed();
	char *p = lab_shared(3), *last = LAB_DUP_TO(lab_at(p, 2), 1, lab_hole(64, 2));
	struct lab_vma vma;

	LAB_GROW_IN_PLACE(last, 1, 3);
	LAB_WRITES(lab_at(last, 2), 5);
	LAB_OBJECT(p, 5);
	LAB_COMMITTED(before, 5);
	lab_unmap(last, 2);
	last = lab_at(last, 2);
	LAB_EXPECT(lab_find_vma("/proc/self/maps", last, &vma));
	LAB_EXPECT_EQ(vma.offset, 4 * lab_page());
	LAB_GROW_IN_PLACE(last, 1, 40);
	LAB_WRITES(lab_at(last, 39), 6);
	LAB_READS(last, 5);
	LAB_OBJECT(p, 44);
	LAB_COMMITTED(before, 44);
	lab_unmap(last, 40);
	lab_unmap(p, 3);
	LAB_COMMITTED(before, 0);
}

/* What is truncated by map_files and grown again is zeros, not what it was. */
static void m09_zeros_after_truncation(void)
{
	char *p = LAB_GROW(lab_shared(2), 2, 8);
	int fd = lab_open_object(p), i;

	for (i = 0; i < 8; i++)
		LAB_WRITES(lab_at(p, i), 9);
	LAB_SETUP(ftruncate(fd, 3 * (off_t)lab_page() / 2));
	LAB_READS(p, 9);
	LAB_SETUP(ftruncate(fd, 2 * (off_t)lab_page()));
	LAB_READS(lab_at(p, 1), 9);
	LAB_READS(lab_at(p, 2) - 1, 0);
	p = LAB_GROW(p, 8, 16);
	LAB_WRITES(lab_at(p, 15), 1);
	all_zeros(p, 2, 15);
	LAB_OBJECT(p, 16);
}

/* ---- pieces ---- */

/* Six pages that are three mappings of two: the pages between two pieces differ in protection. */
static char *three_pieces(void)
{
	char *p = lab_shared_in_hole(6, 7);
	int i;

	for (i = 0; i < 6; i++)
		LAB_WRITES(lab_at(p, i), (unsigned char)(i + 1));
	LAB_SETUP(mprotect(lab_at(p, 2), 2 * lab_page(), PROT_READ));
	return p;
}

/* Piece `piece` of three (head, middle, tail) grows by `more` pages, to an address or where the kernel likes. */
static void piece_grows(int piece, long more, bool fixed)
{
	long before = lab_committed(), first = 2 * piece, end = first + 2 + more, size = end > 6 ? end : 6;
	char *p = three_pieces(), *target = fixed ? lab_hole(2 + more, first) : NULL, *q;

	if (target)
		q = LAB_GROW_TO(lab_at(p, first), 2, 2 + more, target);
	else
		q = LAB_GROW(lab_at(p, first), 2, 2 + more);
	LAB_EXPECT(!target || q == target);
	LAB_SETUP(mprotect(q, (size_t)(2 + more) * lab_page(), PROT_READ | PROT_WRITE));
	LAB_READS(q, (unsigned char)(first + 1));
	LAB_READS(lab_at(q, 1), (unsigned char)(first + 2));
	if (first + 2 < 6)
		LAB_READS(lab_at(q, 2), (unsigned char)(first + 3));
	LAB_WRITES(lab_at(q, 1 + more), 77);
	LAB_OBJECT(q, size);
	LAB_COMMITTED(before, size);
	p = lab_at(p, piece ? 0 : 4);	/* a piece that stayed sees the same object */
	p = LAB_GROW(p, 2, piece ? end : end - 4);
	LAB_READS(lab_at(p, piece ? end - 1 : end - 5), 77);
	LAB_OBJECT(q, size);
}

static void m10_head_moves(void)
{
	piece_grows(0, 300, false);
}

static void m10_head_to_free_addresses(void)
{
	piece_grows(0, 300, true);
}

static void m11_middle_moves(void)
{
	piece_grows(1, 300, false);
}

static void m11_middle_to_free_addresses(void)
{
	piece_grows(1, 300, true);
}

static void m12_tail_moves(void)
{
	piece_grows(2, 300, false);
}

static void m12_tail_to_free_addresses(void)
{
	piece_grows(2, 300, true);
}

/* Duplicates of every piece, longer than it, onto free and onto used addresses. */
static void m13_pieces_duplicated(void)
{
	static const long sizes[] = { 3, 30, 200 };
	long before = lab_committed(), end = 6, i;
	char *p = three_pieces(), *used, *q;

	for (i = 0; i < 3; i++) {
		long first = 2 * i;

		used = lab_hole(sizes[i], first);
		if (i % 2)
			LAB_SETUP(mmap(used, (size_t)sizes[i] * lab_page(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		q = LAB_DUP_TO(lab_at(p, first), sizes[i], used);
		LAB_EXPECT(q == used);
		LAB_READS(q, (unsigned char)(first + 1));
		LAB_READS(lab_at(q, sizes[i] - 1), first + sizes[i] > 6 ? 0 : (unsigned char)(first + sizes[i]));
		end = first + sizes[i] > end ? first + sizes[i] : end;
		LAB_OBJECT(p, end);
		LAB_COMMITTED(before, end);
		LAB_READS(lab_at(p, first), (unsigned char)(first + 1));
	}
}

/* MREMAP_DONTUNMAP leaves two views; each grows for itself. */
static void m14_both_of_dontunmap(void)
{
	char *p = lab_shared_in_hole(2, 64), *q;

	lab_needs_dontunmap();
	LAB_WRITES(p, 1);
	q = LAB_EXPECT_OK(lab_mremap(p, 2, 2, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL));
	q = LAB_GROW(q, 2, 8);
	LAB_WRITES(lab_at(q, 7), 7);
	LAB_OBJECT(q, 8);
	LAB_GROW_IN_PLACE(p, 2, 32);
	LAB_READS(lab_at(p, 7), 7);
	LAB_WRITES(lab_at(p, 31), 31);
	LAB_OBJECT(q, 32);
	LAB_SIGSEGV(lab_at(p, 32));
}

/* A piece of the middle is moved out without growth: neither object nor books change; what is left grows at its end. */
static void m15_moved_without_growth(void)
{
	long before = lab_committed();
	char *p = lab_shared_in_hole(256, 512), *q;

	q = LAB_EXPECT_OK(lab_mremap(lab_at(p, 64), 64, 64, MREMAP_MAYMOVE | MREMAP_FIXED, lab_hole(64, 64)));
	LAB_OBJECT(p, 256);
	LAB_COMMITTED(before, 256);
	LAB_SIGSEGV(lab_at(p, 64));
	LAB_GROW_IN_PLACE(lab_at(p, 128), 128, 384);
	LAB_WRITES(lab_at(p, 511), 1);
	LAB_OBJECT(q, 512);
	LAB_COMMITTED(before, 512);
	lab_unmap(p, 512);
	LAB_COMMITTED(before, 512);
	lab_unmap(q, 64);
	LAB_COMMITTED(before, 0);
}

/* A piece that is no mapping of its own yet: pages 2 and 3 of six move out and grow; what follows them stays. */
static void m16_out_of_one_mapping(void)
{
	long before = lab_committed();
	char *p = lab_shared_in_hole(6, 7), *q;

	LAB_WRITES(lab_at(p, 3), 3);
	LAB_WRITES(lab_at(p, 4), 4);
	q = LAB_GROW(lab_at(p, 2), 2, 302);
	LAB_READS(lab_at(q, 1), 3);
	LAB_READS(lab_at(q, 2), 4);
	LAB_SIGSEGV(lab_at(p, 2));
	LAB_WRITES(lab_at(q, 301), 1);
	LAB_WRITES(lab_at(q, 2), 5);
	LAB_READS(lab_at(p, 4), 5);
	LAB_OBJECT(q, 304);
	LAB_COMMITTED(before, 304);
}

/* The same of a duplicate that begins inside a mapping and ends far behind it. */
static void m16_duplicate_from_inside(void)
{
	long before = lab_committed();
	char *p = lab_shared(6), *q = LAB_DUP_TO(lab_at(p, 4), 300, lab_hole(300, 4));

	LAB_WRITES(lab_at(q, 299), 1);
	LAB_WRITES(lab_at(p, 5), 5);
	LAB_READS(lab_at(q, 1), 5);
	LAB_OBJECT(p, 304);
	LAB_COMMITTED(before, 304);
	lab_unmap(p, 6);
	lab_unmap(q, 300);
	LAB_COMMITTED(before, 0);
}

/* Whether growth is paid for in advance is the object's matter, not that of a view with another idea of it. */
static void m17_noreserve_view(void)
{
	long before = lab_committed();
	char *p = lab_shared(2), *view;
	int fd = lab_open_object(p);

	view = LAB_EXPECT_OK(mmap(lab_hole(512, 0), 2 * lab_page(), PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0));
	close(fd);
	LAB_GROW_IN_PLACE(view, 2, 512);
	LAB_WRITES(lab_at(view, 511), 1);
	LAB_OBJECT(p, 512);
	LAB_COMMITTED(before, 512);
	lab_unmap(view, 512);
	lab_unmap(p, 2);
	LAB_COMMITTED(before, 0);
}

/* Moves that keep the length of a mapping whose object was truncated: only the growth after them asks for more. */
static void moved_beyond_the_end(int flags, long paid, long paid_at_last)
{
	long before = lab_committed();
	char *p = LAB_SETUP(lab_map(256, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | flags)), *q;
	int fd = lab_open_object(p);

	lab_needs_dontunmap();
	LAB_WRITES(p, 5);
	LAB_SETUP(ftruncate(fd, 2 * (off_t)lab_page()));
	close(fd);
	LAB_OBJECT(p, 2);
	LAB_COMMITTED(before, paid);
	p = LAB_GROW_TO(p, 256, 256, lab_hole(256, 0));
	LAB_OBJECT(p, 2);
	LAB_COMMITTED(before, paid);
	q = LAB_EXPECT_OK(lab_mremap(p, 256, 256, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL));
	LAB_OBJECT(q, 2);
	LAB_COMMITTED(before, paid);
	LAB_READS(q, 5);
	if (!lab_provides("shm-expand"))
		return;
	q = LAB_GROW(q, 256, 300);
	LAB_WRITES(lab_at(q, 299), 1);
	LAB_OBJECT(p, 300);
	LAB_COMMITTED(before, paid_at_last);
}

static void m18_moved_after_truncation(void)
{
	moved_beyond_the_end(0, 2, 300);
}

static void m18_moved_after_truncation_noreserve(void)
{
	moved_beyond_the_end(MAP_NORESERVE, 1, 2);
}

LAB_CASES(
	{ LAB_CASE(m01_read_only), .about = "a read-only view grows, reads zeros, and the books are right", EXPAND },
	{ LAB_CASE(m02_never_writable), .about = "a view that can never be written extends nothing", ROOT },
	{ LAB_CASE(m03_noreserve), .about = "MAP_NORESERVE: each page of memory is paid for once, by whichever view", EXPAND },
	{ LAB_CASE(m04_longer_than_the_object), .about = "a view that mmap made longer than the object", EXPAND, ROOT },
	{ LAB_CASE(m05_shorter_than_the_object), .about = "a view shorter than the object grows within it, and past it", EXPAND, ROOT },
	{ LAB_CASE(m06_inherited), .about = "grown, inherited, and the parent lets go", EXPAND },
	{ LAB_CASE(m07_not_inherited), .about = "MADV_DONTFORK of the grown part", EXPAND },
	{ LAB_CASE(m08_at_and_beyond_the_end), .about = "a view of the last page grows, then one that began beyond it", EXPAND },
	{ LAB_CASE(m09_zeros_after_truncation), .about = "truncated and grown again: zeros", EXPAND, ROOT },
	{ LAB_CASE(m10_head_moves), .about = "the head of a mapping grows and moves", EXPAND },
	{ LAB_CASE(m10_head_to_free_addresses), .about = "the head of a mapping grows to an address", EXPAND },
	{ LAB_CASE(m11_middle_moves), .about = "the middle of a mapping grows and moves", EXPAND },
	{ LAB_CASE(m11_middle_to_free_addresses), .about = "the middle of a mapping grows to an address", EXPAND },
	{ LAB_CASE(m12_tail_moves), .about = "the tail of a mapping grows and moves", EXPAND },
	{ LAB_CASE(m12_tail_to_free_addresses), .about = "the tail of a mapping grows to an address", EXPAND },
	{ LAB_CASE(m13_pieces_duplicated), .about = "duplicates of each piece, longer than it, onto free and used addresses", EXPAND },
	{ LAB_CASE(m14_both_of_dontunmap), .about = "both views of MREMAP_DONTUNMAP grow", EXPAND },
	{ LAB_CASE(m16_out_of_one_mapping), .about = "pages inside a mapping move out and grow", EXPAND },
	{ LAB_CASE(m16_duplicate_from_inside), .about = "a long duplicate that begins inside a mapping", EXPAND },
	{ LAB_CASE(m17_noreserve_view), .about = "a MAP_NORESERVE view of an object that is paid for in advance", EXPAND, ROOT },
	{ LAB_CASE(m15_moved_without_growth), .about = "a piece moves without growth, the rest grows at its end", EXPAND },
	{ LAB_CASE(m18_moved_after_truncation), .about = "moves that keep the length extend nothing that was truncated", ROOT },
	{ LAB_CASE(m18_moved_after_truncation_noreserve), .about = "the same with MAP_NORESERVE", ROOT },
)

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Group A: what a shared anonymous mapping is after mremap has grown it. */
#include "lab.h"

#define EXPAND .requires = "shm-expand"

/* The seed's shar_grow. */
static void a01_grow_touch(void)
{
	char *p = lab_shared(1);

	p = LAB_GROW(p, 1, 200);
	LAB_WRITES(lab_at(p, 195), 1);
	LAB_WRITES(lab_at(p, 197), 2);
	LAB_READS(lab_at(p, 195), 1);
}

static void a02_grow_in_place(void)
{
	char *p = lab_shared_in_hole(1, 4);
	char *q = LAB_GROW_IN_PLACE(p, 1, 4);
	int i;

	LAB_EXPECT(q == p);
	for (i = 0; i < 4; i++)
		LAB_WRITES(lab_at(p, i), 1);
}

static void a03_blocked(void)
{
	char *p = lab_shared_blocked(1);
	long before = lab_committed();

	LAB_WRITES(p, 7);
	LAB_EXPECT_ERRNO(lab_mremap(p, 1, 512, 0, NULL), ENOMEM);
	LAB_COMMITTED(before, 0);
	LAB_OBJECT(p, 1);
	LAB_READS(p, 7);
}

static void a04_grow_move(void)
{
	char *p = lab_shared_blocked(1), *q;

	LAB_WRITES(p, 7);
	q = LAB_GROW(p, 1, 4);
	LAB_EXPECT(q != p);
	LAB_SIGSEGV(p);
	LAB_READS(q, 7);
	LAB_WRITES(lab_at(q, 1), 1);
	LAB_WRITES(lab_at(q, 3), 1);
}

static void a05_fixed_free(void)
{
	char *target = lab_hole(8, 0), *p = lab_shared(1), *q;

	q = LAB_GROW_TO(p, 1, 8, target);
	LAB_EXPECT(q == target);
	LAB_WRITES(lab_at(q, 7), 1);
}

static void a05_fixed_occupied(void)
{
	char *target = lab_shared_in_hole(8, 8), *p = lab_shared(1), *q;

	LAB_WRITES(lab_at(target, 7), 9);
	q = LAB_GROW_TO(p, 1, 8, target);
	LAB_EXPECT(q == target);
	LAB_READS(lab_at(q, 7), 0);
	LAB_WRITES(lab_at(q, 7), 1);
}

static void a06_new_pages_zero(void)
{
	char *p = LAB_GROW(lab_shared(1), 1, 16);
	static const char nothing[64];
	size_t i;

	for (i = lab_page(); i < 16 * lab_page(); i += sizeof(nothing)) {
		if (i % lab_page() == 0)
			LAB_READS(p + i, 0);
		if (memcmp(p + i, nothing, sizeof(nothing)))
			LAB_FAIL("the grown part is not zero at byte %zu or soon after", i - lab_page());
	}
}

static void a07_old_content_kept(void)
{
	char *p = lab_shared_blocked(4);
	int i;

	for (i = 0; i < 4; i++)
		LAB_WRITES(lab_at(p, i) + i, (unsigned char)(10 + i));
	p = LAB_GROW(p, 4, 64);
	for (i = 0; i < 4; i++)
		LAB_READS(lab_at(p, i) + i, (unsigned char)(10 + i));
}

static void a08_grow_by_a_byte(void)
{
	char *p = lab_shared(1);

	p = LAB_EXPECT_OK((char *)syscall(SYS_mremap, p, lab_page(), lab_page() + 1, MREMAP_MAYMOVE, NULL));
	LAB_WRITES(lab_at(p, 1), 1);
	LAB_WRITES(lab_at(p, 2) - 1, 1);
	p = lab_shared_in_hole(2, 3);	/* and of the old length, a byte more is the second page */
	LAB_EXPECT_OK((char *)syscall(SYS_mremap, p, lab_page() + 1, 3 * lab_page(), 0, NULL));
	LAB_WRITES(lab_at(p, 2), 1);
}

static void a09_page_by_page(void)
{
	char *p = lab_shared(1);
	int i;

	for (i = 1; i <= 256; i++) {
		p = LAB_GROW(p, i, i + 1);
		LAB_WRITES(lab_at(p, i), (unsigned char)i);
	}
	for (i = 1; i <= 256; i++)
		LAB_READS(lab_at(p, i), (unsigned char)i);
}

/* The tail's vm_pgoff is 4: the object must reach page 8 when the tail grows from 2 to 4 pages. */
static void a10_split_tail(void)
{
	char *p = lab_shared(6), *tail;

	LAB_WRITES(lab_at(p, 5), 5);
	LAB_SETUP(mprotect(lab_at(p, 2), 2 * lab_page(), PROT_READ));
	tail = LAB_GROW(lab_at(p, 4), 2, 4);
	LAB_READS(lab_at(tail, 1), 5);
	LAB_WRITES(lab_at(tail, 2), 6);
	LAB_WRITES(lab_at(tail, 3), 7);
	LAB_OBJECT(tail, 8);
	p = LAB_DUP_TO(p, 8, lab_hole(8, 0));
	LAB_READS(lab_at(p, 6), 6);
	LAB_READS(lab_at(p, 7), 7);
}

static void a11_tail_alone(void)
{
	char *p = lab_shared(6), *tail;

	lab_unmap(p, 4);
	tail = LAB_GROW(lab_at(p, 4), 2, 8);
	LAB_WRITES(lab_at(tail, 7), 1);
	LAB_OBJECT(tail, 12);
}

/* Shrinking unmaps; the object keeps its size and what was in it. */
static void a12_shrink_regrow(void)
{
	char *p = lab_shared(8), *shorter;

	LAB_WRITES(lab_at(p, 7), 7);
	LAB_EXPECT_OK(lab_mremap(p, 8, 2, 0, NULL));
	p = LAB_GROW(p, 2, 8);
	LAB_READS(lab_at(p, 7), 7);
	LAB_OBJECT(p, 8);
	shorter = LAB_GROW_TO(p, 8, 2, lab_hole(8, 0));	/* less, and elsewhere: nothing stays behind */
	LAB_SIGSEGV(p);
	LAB_SIGSEGV(lab_at(p, 2));
	LAB_SIGSEGV(lab_at(p, 7));
	LAB_GROW_IN_PLACE(shorter, 2, 8);
	LAB_READS(lab_at(shorter, 7), 7);
}

static void a13_shrink_regrow_beyond(void)
{
	char *p = lab_shared(8);

	LAB_WRITES(lab_at(p, 7), 7);
	LAB_EXPECT_OK(lab_mremap(p, 8, 2, 0, NULL));
	p = LAB_GROW(p, 2, 12);
	LAB_READS(lab_at(p, 7), 7);
	LAB_WRITES(lab_at(p, 11), 11);
	LAB_OBJECT(p, 12);
}

static void a14_carve_pool(void)
{
	char *pool = lab_shared(8);
	char *one = LAB_DUP_TO(pool, 4, lab_hole(4, 0));
	char *two = LAB_DUP_TO(pool, 8, lab_hole(8, 0));

	LAB_WRITES(lab_at(one, 3), 3);
	LAB_READS(lab_at(pool, 3), 3);
	LAB_READS(lab_at(two, 3), 3);
	LAB_WRITES(lab_at(pool, 7), 7);
	LAB_READS(lab_at(two, 7), 7);
}

static void a15_dup_larger(void)
{
	char *pool = lab_shared(4);
	char *area = LAB_DUP_TO(pool, 6, lab_hole(6, 0));

	LAB_WRITES(lab_at(area, 3), 3);
	LAB_READS(lab_at(pool, 3), 3);
	LAB_WRITES(lab_at(area, 4), 4);
	LAB_WRITES(lab_at(area, 5), 5);
}

/* An area carved at page 2 of the pool reaches past the pool's end when it grows; so then can the pool. */
static void a16_dup_at_offset_grows(void)
{
	char *pool = lab_shared(4);
	char *area = LAB_DUP_TO(lab_at(pool, 2), 2, lab_hole(2, 2));

	area = LAB_GROW(area, 2, 6);
	LAB_WRITES(lab_at(area, 1), 3);
	LAB_READS(lab_at(pool, 3), 3);
	LAB_WRITES(lab_at(area, 5), 7);
	LAB_OBJECT(area, 8);
	pool = LAB_GROW(pool, 4, 8);
	LAB_READS(lab_at(pool, 7), 7);
}

static void a17_pool_grows_after_carving(void)
{
	char *pool = lab_shared(4);
	char *area = LAB_DUP_TO(pool, 4, lab_hole(4, 0));

	pool = LAB_GROW(pool, 4, 16);
	LAB_WRITES(lab_at(pool, 15), 15);
	LAB_WRITES(lab_at(area, 2), 2);
	LAB_READS(lab_at(pool, 2), 2);
	LAB_WRITES(lab_at(pool, 3), 3);
	LAB_READS(lab_at(area, 3), 3);
}

static void a18_dup_without_maymove(void)
{
	char *pool = lab_shared(4);

	LAB_EXPECT_ERRNO(lab_mremap(pool, 0, 4, 0, NULL), ENOMEM);
}

static void a19_private_dup(void)
{
	char *p = LAB_SETUP(lab_map(4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS));

	LAB_EXPECT_ERRNO(lab_mremap(p, 0, 4, MREMAP_MAYMOVE, NULL), EINVAL);
}

static void a20_private_grows(void)
{
	char *p = LAB_SETUP(lab_map(1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS));

	LAB_WRITES(p, 1);
	p = LAB_GROW(p, 1, 64);
	LAB_READS(p, 1);
	LAB_READS(lab_at(p, 62), 0);
	LAB_WRITES(lab_at(p, 63), 63);
}

/* Where caches alias, an address and the offset behind it must agree modulo SHMLBA; what mmap says goes for mremap. */
static void a21_colour_of_a_fixed_target(void)
{
	int fd = LAB_SETUP_OR_SKIP((int)syscall(SYS_memfd_create, "lab", 1U)), refused;
	char *odd = lab_at(lab_hole(8, 0), 1), *p = lab_shared(4);
	long before = lab_committed();

	LAB_SETUP(ftruncate(fd, 4 * (off_t)lab_page()));
	errno = 0;
	refused = mmap(odd, 4 * lab_page(), PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ? errno : 0;
	printf("mmap at an odd page: %s\n", lab_errno(refused));
#if defined(__sparc__) && defined(__arch64__)
	LAB_EXPECT_EQ(refused, EINVAL);	/* SHMLBA is two pages */
#endif
	LAB_EXPECT(refused == 0 || refused == EINVAL);
	LAB_WRITES(p, 7);
	if (refused) {
		LAB_EXPECT_ERRNO(lab_mremap(p, 4, 4, MREMAP_MAYMOVE | MREMAP_FIXED, odd), refused);
		LAB_EXPECT_ERRNO(lab_mremap(p, 4, 512, MREMAP_MAYMOVE | MREMAP_FIXED, odd), refused);
		LAB_COMMITTED(before, 0);
		LAB_OBJECT(p, 4);
	} else {
		p = LAB_GROW_TO(p, 4, 4, odd);
	}
	p = LAB_GROW_TO(p, 4, 4, lab_hole(4, 0));
	LAB_READS(p, 7);
	LAB_WRITES(lab_at(p, 3), 3);
}

/* Group A's /dev/zero rows: `pages` of it, shared, from byte `offset`. */
static char *dev_zero(long pages, long long offset)
{
	int fd = LAB_SETUP_OR_SKIP(open("/dev/zero", O_RDWR | O_CLOEXEC));
	char *p = mmap(NULL, (size_t)pages * lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);

	close(fd);
	return p;
}

static void a22_dev_zero_grows(void)
{
	char *p = LAB_SETUP(dev_zero(1, 0)), *other = LAB_SETUP(dev_zero(1, 0));

	LAB_EXPECT(p != other);
	p = LAB_GROW(p, 1, 16);
	LAB_WRITES(p, 1);
	LAB_WRITES(lab_at(p, 15), 1);
	LAB_READS(other, 0);
}

/* The offset is mended by a patch of its own, which an opt-in series has, too, though such a mapping never grows there. */
static void need_growth_of_dev_zero(void)
{
	if (lab_provides("shm-expand-optin") && !lab_provides("shm-expand"))
		LAB_SKIP("/dev/zero has no part in what this kernel provides");
}

static void a23_dev_zero_at_offset(void)
{
	char *p;
	int i;

	need_growth_of_dev_zero();
	p = LAB_SETUP(dev_zero(8, 3 * (long long)lab_page()));
	for (i = 0; i < 8; i++)
		LAB_WRITES(lab_at(p, i), (unsigned char)(i + 1));
	for (i = 0; i < 8; i++)
		LAB_READS(lab_at(p, i), (unsigned char)(i + 1));
}

/* Either the offset counts for nothing, or mmap refuses it at once; no hang, and nothing is paid for the offset. */
static void at_far_offset(long long offset)
{
	long before = lab_committed();
	char *p;

	need_growth_of_dev_zero();
	/* A character device has as many bytes as a kernel's unsigned long counts (6.12, file_mmap_size_max). */
	if ((unsigned long long)offset > ULONG_MAX)
		LAB_SKIP("a device of this kernel has no such offset");
	p = dev_zero(4, offset & ~((long long)lab_page() - 1));

	if (p == MAP_FAILED) {
		LAB_EXPECT_EQ(errno, ENOMEM);
		return;
	}
	LAB_COMMITTED(before, 4);
	LAB_WRITES(p, 1);
	LAB_WRITES(lab_at(p, 3), 1);
	LAB_COMMITTED(before, 4);
}

static void a24_dev_zero_3g(void)
{
	at_far_offset(3LL << 30);
}

static void a24_dev_zero_4g(void)
{
	at_far_offset(4LL << 30);
}

static void a24_dev_zero_1t(void)
{
	at_far_offset(1LL << 40);
}

static void a24_dev_zero_last(void)
{
	at_far_offset(LLONG_MAX - 8 * (long long)lab_page());
}

static void a25_refill_hole(void)
{
	char *p = lab_shared_in_hole(6, 6);
	struct lab_vma vma;
	int i;

	for (i = 0; i < 6; i++)
		LAB_WRITES(lab_at(p, i), (unsigned char)(i + 1));
	lab_unmap(lab_at(p, 2), 2);
	LAB_GROW_IN_PLACE(p, 2, 4);
	for (i = 0; i < 6; i++)
		LAB_READS(lab_at(p, i), (unsigned char)(i + 1));
	if (lab_kernel_before(6, 0)) /* what grows is merged with what follows since then */
		return;
	LAB_EXPECT(lab_find_vma("/proc/self/maps", p, &vma));
	LAB_EXPECT_EQ(vma.end - vma.start, 6 * lab_page());
}

static void a26_dontunmap(void)
{
	char *p = lab_shared(2), *q;

	lab_needs_dontunmap();
	LAB_WRITES(p, 1);
	q = LAB_EXPECT_OK(lab_mremap(p, 2, 2, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL));
	LAB_EXPECT(q != p);
	LAB_READS(q, 1);
	LAB_WRITES(lab_at(q, 1), 2);
	LAB_READS(p, 1);
	LAB_READS(lab_at(p, 1), 2);
}

/* Moving several mappings at once came with 6.17. */
static void a27_move_several(void)
{
	char *p = lab_shared_in_hole(4, 4), *target = lab_hole(4, 0);

	LAB_WRITES(lab_at(p, 3), 3);
	LAB_SETUP(mprotect(lab_at(p, 2), lab_page(), PROT_READ));
	if (lab_kernel_before(6, 17)) {
		LAB_EXPECT_ERRNO(lab_mremap(p, 4, 4, MREMAP_MAYMOVE | MREMAP_FIXED, target), EFAULT);
		LAB_READS(lab_at(p, 3), 3);
		return;
	}
	LAB_GROW_TO(p, 4, 4, target);
	LAB_READS(lab_at(target, 3), 3);
}

static void grow_then_allow(int prot)
{
	char *p = LAB_SETUP(lab_map(1, prot, MAP_SHARED | MAP_ANONYMOUS));

	p = LAB_GROW(p, 1, 8);
	LAB_SETUP(mprotect(p, 8 * lab_page(), PROT_READ | PROT_WRITE));
	LAB_WRITES(lab_at(p, 7), 1);
}

static void a28_read_only_then_write(void)
{
	grow_then_allow(PROT_READ);
}

static void a28_no_access_then_write(void)
{
	grow_then_allow(PROT_NONE);
}

/*
 * Almost all addresses: s390x, whose programs have nearly 2^64 of them, does map a quarter. ENOMEM up to 6.16, EINVAL
 * since.
 */
static void a29_absurd_length(void)
{
	char *p = lab_shared(1);
	long value = syscall(SYS_mremap, p, lab_page(), -16 * lab_page(), MREMAP_MAYMOVE, NULL);

	LAB_EXPECT_EQ(value, -1);
	LAB_EXPECT(errno == ENOMEM || errno == EINVAL);
	LAB_WRITES(p, 1);
	LAB_OBJECT(p, 1);
}

/* About as large as a mapping can be where addresses have 32 bits. */
static void a30_two_gibibytes(void)
{
	long pages = lab_pages((2ULL << 30) - (1 << 20));
	char *p;

	lab_need_room(pages);
	p = LAB_SETUP(lab_map(1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE));
	p = LAB_GROW(p, 1, pages);
	LAB_WRITES(lab_at(p, pages - 1), 1);
	LAB_READS(lab_at(p, pages / 2), 0);
	LAB_OBJECT(p, pages);
}

/*
 * An object larger than addresses of 32 bits can count, and than they can map: gone through in five pieces of almost
 * 1 GiB, each grown from a duplicate of the last page of the one before.  Pages must be counted until the very end.
 */
static void a30_past_four_gibibytes(void)
{
	long piece = lab_pages((1ULL << 30) - (1 << 20));
	char *p, *first, *last;
	int i;

	lab_need_room(piece + lab_pages(1 << 20));
	p = LAB_SETUP(lab_map(1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE));
	LAB_WRITES(p, 1);
	first = LAB_EXPECT_OK(lab_mremap(p, 0, 1, MREMAP_MAYMOVE, NULL));
	for (i = 1; i <= 5; i++) {
		p = LAB_GROW(p, 1, piece);
		LAB_WRITES(lab_at(p, piece - 1), (unsigned char)(i + 1));
		LAB_READS(lab_at(p, piece / 2), 0);
		last = LAB_EXPECT_OK(lab_mremap(lab_at(p, piece - 1), 0, 1, MREMAP_MAYMOVE, NULL));
		lab_unmap(p, piece);
		p = last;
	}
	LAB_READS(p, 6);
	LAB_READS(first, 1);
	LAB_OBJECT(p, 5 * (piece - 1) + 1);
}

LAB_CASES(
	{ LAB_CASE(a01_grow_touch), .about = "1 page grown to 200, pages 195 and 197 touched", EXPAND },
	{ LAB_CASE(a02_grow_in_place), .about = "grown where it is, 1 page to 4, without MAYMOVE", EXPAND },
	{ LAB_CASE(a03_blocked), .about = "blocked growth without MAYMOVE is ENOMEM and costs nothing" },
	{ LAB_CASE(a04_grow_move), .about = "growth that moves: old address gone, new pages usable", EXPAND },
	{ LAB_CASE(a05_fixed_free), .about = "MREMAP_FIXED growth onto free addresses", EXPAND },
	{ LAB_CASE(a05_fixed_occupied), .about = "MREMAP_FIXED growth over another mapping", EXPAND },
	{ LAB_CASE(a06_new_pages_zero), .about = "every byte of every new page is zero", EXPAND },
	{ LAB_CASE(a07_old_content_kept), .about = "old content survives growth with a move" },
	{ LAB_CASE(a08_grow_by_a_byte), .about = "one byte more is one page more", EXPAND },
	{ LAB_CASE(a09_page_by_page), .about = "grown by a page 256 times", EXPAND },
	{ LAB_CASE(a10_split_tail), .about = "tail of a mapping split by mprotect, vm_pgoff above 0", EXPAND },
	{ LAB_CASE(a11_tail_alone), .about = "head unmapped, the tail grown alone", EXPAND },
	{ LAB_CASE(a12_shrink_regrow), .about = "shrink and grow inside the object: the old data is there" },
	{ LAB_CASE(a13_shrink_regrow_beyond), .about = "shrink, then grow beyond the object", EXPAND },
	{ LAB_CASE(a14_carve_pool), .about = "two fixed areas carved from a pool with old_len 0 alias it" },
	{ LAB_CASE(a15_dup_larger), .about = "a duplicate larger than the object", EXPAND },
	{ LAB_CASE(a16_dup_at_offset_grows), .about = "a duplicate at an offset grows past the pool", EXPAND },
	{ LAB_CASE(a17_pool_grows_after_carving), .about = "the pool grows, areas carved before still alias", EXPAND },
	{ LAB_CASE(a18_dup_without_maymove), .about = "old_len 0 without MAYMOVE is ENOMEM" },
	{ LAB_CASE(a19_private_dup), .about = "old_len 0 of a private mapping is EINVAL" },
	{ LAB_CASE(a20_private_grows), .about = "private anonymous growth works as ever" },
	{ LAB_CASE(a21_colour_of_a_fixed_target), .about = "MREMAP_FIXED onto a wrong cache colour is what mmap says it is" },
	{ LAB_CASE(a22_dev_zero_grows), .about = "/dev/zero mapped shared, grown", EXPAND },
	{ LAB_CASE(a23_dev_zero_at_offset), .about = "/dev/zero at an offset: every page of a fresh mapping", EXPAND },
	{ LAB_CASE(a24_dev_zero_3g), .about = "/dev/zero at 3 GiB: usable or ENOMEM, never a hang", EXPAND },
	{ LAB_CASE(a24_dev_zero_4g), .about = "/dev/zero at 4 GiB: usable or ENOMEM, never a hang", EXPAND },
	{ LAB_CASE(a24_dev_zero_1t), .about = "/dev/zero at 1 TiB: usable or ENOMEM, never a hang", EXPAND },
	{ LAB_CASE(a24_dev_zero_last), .about = "/dev/zero near the last offset: usable or ENOMEM", EXPAND },
	{ LAB_CASE(a25_refill_hole), .about = "growth back into a hole of the same object merges" },
	{ LAB_CASE(a26_dontunmap), .about = "MREMAP_DONTUNMAP of the same size: both views live" },
	{ LAB_CASE(a27_move_several), .about = "a move of several mappings does what this version does" },
	{ LAB_CASE(a28_read_only_then_write), .about = "PROT_READ mapping grown, then made writable", EXPAND },
	{ LAB_CASE(a28_no_access_then_write), .about = "PROT_NONE mapping grown, then made accessible", EXPAND },
	{ LAB_CASE(a29_absurd_length), .about = "a length of almost all addresses is refused", .needs_64bit = true },
	{ LAB_CASE(a30_two_gibibytes), .about = "grown to almost 2 GiB, the last page touched", EXPAND },
	{ LAB_CASE(a30_past_four_gibibytes), .about = "an object of more than 4 GiB, grown piece by piece", EXPAND },
)

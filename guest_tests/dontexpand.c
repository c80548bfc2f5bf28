/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Group F: mappings that may not expand: what mremap may do with them all the same, and with sealed ones. */
#include "lab.h"

#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>

#define DUP .requires = "dontexpand-dup"
#define PERF .needs_config = "PERF_EVENTS"

#define DATA_PAGES 2	/* of a perf ring, behind its page of control: a power of two */
#define RING_PAGES (1 + DATA_PAGES)

#ifndef SYS_mseal
#if defined(__alpha__)
#define SYS_mseal 572
#elif defined(__NR_Linux)	/* mips: each of its interfaces counts from a number of its own */
#define SYS_mseal (__NR_Linux + 462)
#else
#define SYS_mseal 462
#endif
#endif

/* ---- perf's ring: shared, VM_DONTEXPAND, and up to 6.13 filled by faults ---- */

/* The ring of an event that counts nothing; its pages of control and data. */
static char *perf_ring(void)
{
	struct perf_event_attr attr;
	int fd;

	memset(&attr, 0, sizeof(attr));
	attr.type = PERF_TYPE_SOFTWARE;
	attr.size = sizeof(attr);
	attr.config = PERF_COUNT_SW_DUMMY;
	attr.disabled = 1;
	attr.exclude_kernel = 1;
	fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0UL);
	if (fd < 0)
		LAB_SKIP("perf_event_open: %s", lab_errno(errno));
	return LAB_SETUP(mmap(NULL, RING_PAGES * lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
}

/* The same, where a duplicate is possible at all. */
static char *perf_ring_of_pages(void)
{
	char *p = perf_ring();

	if (lab_vma_has(p, "pf"))	/* its pages are only numbers of page frames: no fault fills a duplicate */
		LAB_SKIP("perf's ring is a mapping of page frames here (6.14), which stays as it is");
	return p;
}

/* A byte of the ring that is the program's to write: all of the page of control may be, nothing of the data. */
static char *tail_of(char *ring)
{
	return ring + offsetof(struct perf_event_mmap_page, data_tail);
}

/* Two views of one byte: what is written to the one is in the other. */
static void same_byte(char *a, char *b)
{
	LAB_WRITES(a, 21);
	LAB_READS(b, 21);
	LAB_WRITES(b, 42);
	LAB_READS(a, 42);
}

static void f01_perf_dup(void)
{
	char *p = perf_ring_of_pages();
	char *q = LAB_EXPECT_OK(lab_mremap(p, 0, RING_PAGES, MREMAP_MAYMOVE, NULL));

	LAB_EXPECT(q != p);
	same_byte(tail_of(p), tail_of(q));
	LAB_READS(lab_at(q, RING_PAGES) - 1, 0);
	lab_unmap(p, RING_PAGES);
	LAB_READS(tail_of(q), 42);
	lab_unmap(q, RING_PAGES);
}

/* No duplicate is longer than what it is of. */
static void f01_perf_dup_longer(void)
{
	char *p = perf_ring();

	LAB_EXPECT_ERRNO(lab_mremap(p, 0, RING_PAGES + 1, MREMAP_MAYMOVE, NULL), EFAULT);
	LAB_EXPECT_ERRNO(lab_mremap(lab_at(p, 1), 0, RING_PAGES, MREMAP_MAYMOVE, NULL), EFAULT);
	LAB_WRITES(tail_of(p), 1);
}

static void f02_perf_grow(void)
{
	char *p = perf_ring();

	LAB_EXPECT_ERRNO(lab_mremap(p, RING_PAGES, RING_PAGES + 1, MREMAP_MAYMOVE, NULL), EFAULT);
	LAB_EXPECT_ERRNO(lab_mremap(p, RING_PAGES, 2 * RING_PAGES, 0, NULL), EFAULT);
	LAB_EXPECT_ERRNO(lab_mremap(lab_at(p, RING_PAGES - 1), 1, 2, MREMAP_MAYMOVE, NULL), EFAULT);
	LAB_WRITES(tail_of(p), 1);
}

/*
 * A duplicate of a piece of the ring: refused like any other where none is allowed; where they are, by perf, which does
 * not let its mapping be cut (6.16, and the stable series since).
 */
static void f03_perf_within(void)
{
	char *p = perf_ring();
	int refusal = lab_provides("dontexpand-dup") && !lab_vma_has(p, "pf") ? EINVAL : EFAULT;

	LAB_EXPECT_ERRNO(lab_mremap(p, 0, RING_PAGES - 1, MREMAP_MAYMOVE, NULL), refusal);
	LAB_EXPECT_ERRNO(lab_mremap(lab_at(p, 1), 0, RING_PAGES - 1, MREMAP_MAYMOVE, NULL), refusal);
	LAB_WRITES(tail_of(p), 42);
	LAB_READS(lab_at(p, RING_PAGES) - 1, 0);
}

/* A piece to a longer piece, within the ring: growth, which it may not have. */
static void f03_perf_piece_to_piece(void)
{
	char *p = perf_ring();

	LAB_EXPECT_ERRNO(lab_mremap(p, 1, RING_PAGES - 1, MREMAP_MAYMOVE, NULL), EFAULT);
	LAB_WRITES(tail_of(p), 1);
	LAB_READS(lab_at(p, RING_PAGES) - 1, 0);
}

static void f04_perf_move(void)
{
	char *p = perf_ring(), *q;

	LAB_WRITES(tail_of(p), 7);
	q = LAB_EXPECT_OK(lab_mremap(p, RING_PAGES, RING_PAGES, MREMAP_MAYMOVE | MREMAP_FIXED, lab_hole(RING_PAGES, 0)));
	LAB_READS(tail_of(q), 7);
	LAB_WRITES(tail_of(q), 8);
	LAB_READS(lab_at(q, RING_PAGES) - 1, 0);
	LAB_SIGSEGV(p);
}

/* ---- the ring of asynchronous input and output: its context goes by the address of its mapping ---- */

/* Submit a read of /dev/zero and have it done. */
static void context_works(aio_context_t context)
{
	int fd = LAB_SETUP_OR_SKIP(open("/dev/zero", O_RDONLY | O_CLOEXEC));
	char byte = 1;
	struct iocb request, *requests[] = { &request };
	struct io_event event;
	struct timespec patience = { .tv_sec = 5 };

	memset(&request, 0, sizeof(request));
	request.aio_fildes = (uint32_t)fd;
	request.aio_lio_opcode = IOCB_CMD_PREAD;
	request.aio_buf = (uintptr_t)&byte;
	request.aio_nbytes = 1;
	LAB_EXPECT_EQ(LAB_EXPECT_OK(syscall(SYS_io_submit, context, 1L, requests)), 1);
	LAB_EXPECT_EQ(LAB_EXPECT_OK(syscall(SYS_io_getevents, context, 1L, 1L, &event, &patience)), 1);
	LAB_EXPECT_EQ(event.res, 1);
	LAB_EXPECT_EQ(byte, 0);
	close(fd);
}

/* A context for a few requests, and the length of its ring in pages. */
static aio_context_t make_context(long *pages)
{
	aio_context_t context = 0;
	static struct lab_vma vma;

	LAB_SETUP_OR_SKIP(syscall(SYS_io_setup, 4U, &context));
	LAB_EXPECT(lab_find_vma("/proc/self/maps", (void *)(uintptr_t)context, &vma));
	*pages = (long)((vma.end - vma.start) / lab_page());
	return context;
}

/* Should a kernel allow the duplicate, the context must still be where it was; so far none does. */
static void f05_aio_dup(void)
{
	long pages;
	aio_context_t context = make_context(&pages);
	char *ring = (char *)(uintptr_t)context, *q;

	context_works(context);
	q = lab_mremap(ring, 0, pages, MREMAP_MAYMOVE, NULL);
	if (q == MAP_FAILED)
		LAB_EXPECT_EQ(errno, EFAULT);
	context_works(context);
	LAB_EXPECT_ERRNO(lab_mremap(ring, pages, pages + 1, MREMAP_MAYMOVE, NULL), EFAULT);
	context_works(context);
	LAB_EXPECT_OK(syscall(SYS_io_destroy, context));
}

/* The context follows a ring that is moved. */
static void f05_aio_move(void)
{
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
	long pages;
	aio_context_t context = make_context(&pages);
	char *ring = (char *)(uintptr_t)context;

	ring = LAB_EXPECT_OK(lab_mremap(ring, pages, pages, flags, lab_hole(pages, 0)));
	context_works((aio_context_t)(uintptr_t)ring);
	LAB_EXPECT_OK(syscall(SYS_io_destroy, (aio_context_t)(uintptr_t)ring));
}

/* ---- what no fault brings back: page frames, and pages that are put into the page tables by mmap() ---- */

/* A shared mapping neither grows nor has duplicates. */
static void stays_as_it_is(char *p, long pages)
{
	LAB_EXPECT_ERRNO(lab_mremap(p, 0, pages, MREMAP_MAYMOVE, NULL), EFAULT);
	LAB_EXPECT_ERRNO(lab_mremap(p, 0, 1, MREMAP_MAYMOVE, NULL), EFAULT);
	LAB_EXPECT_ERRNO(lab_mremap(p, pages, pages + 1, MREMAP_MAYMOVE, NULL), EFAULT);
}

/* The ring of io_uring, of such pages since 6.10; of page frames before. */
static void io_uring_stays_as_it_is(void)
{
	struct io_uring_params params;
	int ring;

	memset(&params, 0, sizeof(params));
	ring = (int)syscall(SYS_io_uring_setup, 1, &params);
	if (ring < 0) {
		printf("no ring of io_uring: %s\n", lab_errno(errno));
		return;
	}
	stays_as_it_is(LAB_SETUP(mmap(NULL, lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING)), 1);
}

/* The machine's first pages, which nobody touches. */
static void f06_page_frames(void)
{
	int fd = open("/dev/mem", O_RDONLY | O_CLOEXEC);
	char *p;

	if (fd < 0)
		LAB_SKIP("/dev/mem: %s", lab_errno(errno));
	p = mmap(NULL, 2 * lab_page(), PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		LAB_SKIP("mapping /dev/mem: %s", lab_errno(errno));
	stays_as_it_is(p, 2);
	LAB_EXPECT_ERRNO(lab_mremap(p, 1, 2, MREMAP_MAYMOVE, NULL), EFAULT);
	io_uring_stays_as_it_is();
}

/* ---- two views by MREMAP_DONTUNMAP ---- */

static void f07_dontunmap(void)
{
	char *p = perf_ring();

	LAB_EXPECT_ERRNO(lab_mremap(p, RING_PAGES, RING_PAGES, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL), EINVAL);
	LAB_WRITES(tail_of(p), 1);
}

/* ---- sealed: what a process may do to say that a mapping does not grow ---- */

static void f08_sealed(void)
{
	long before = lab_committed();
	char *p = lab_shared(2), *area;

	LAB_WRITES(p, 7);
	if (syscall(SYS_mseal, p, lab_page(), 0UL))
		LAB_SKIP("mseal: %s", lab_errno(errno));
	LAB_EXPECT_ERRNO(lab_mremap(p, 1, 512, MREMAP_MAYMOVE, NULL), EPERM);
	LAB_EXPECT_ERRNO(lab_mremap(p, 1, 512, MREMAP_MAYMOVE | MREMAP_FIXED, lab_hole(512, 0)), EPERM);
	LAB_COMMITTED(before, 0);
	LAB_OBJECT(p, 2);
	LAB_READS(p, 7);
	area = lab_mremap(lab_at(p, 1), 0, 1, MREMAP_MAYMOVE, NULL);	/* what is beside the seal is not sealed */
	LAB_EXPECT(area != MAP_FAILED);
	LAB_WRITES(area, 1);
	LAB_EXPECT_ERRNO(mprotect(p, lab_page(), PROT_READ), EPERM);
	LAB_EXPECT_ERRNO(munmap(p, 2 * lab_page()), EPERM);
	LAB_EXPECT_ERRNO(mmap(p, lab_page(), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), EPERM);
	LAB_WRITES(p, 8);
	area = LAB_SETUP(lab_map(1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS));
	LAB_WRITES(area, 9);
	LAB_SETUP(mprotect(area, lab_page(), PROT_READ));
	LAB_SETUP(syscall(SYS_mseal, area, lab_page(), 0UL));
	LAB_EXPECT_ERRNO(madvise(area, lab_page(), MADV_DONTNEED), EPERM);	/* which would make it zero */
	LAB_READS(area, 9);
}

/* Growth onto a sealed mapping is refused before anything is set aside for it. */
static void f08_onto_sealed(void)
{
	long before = lab_committed();
	char *p = lab_shared(1), *target = lab_shared_in_hole(512, 512);

	if (syscall(SYS_mseal, target, lab_page(), 0UL))
		LAB_SKIP("mseal: %s", lab_errno(errno));
	LAB_EXPECT_ERRNO(lab_mremap(p, 1, 512, MREMAP_MAYMOVE | MREMAP_FIXED, target), EPERM);
	LAB_COMMITTED(before, 512);
	LAB_OBJECT(p, 1);
	LAB_WRITES(p, 1);
}

LAB_CASES(
	{ LAB_CASE(f01_perf_dup), .about = "a perf ring duplicated with old_len 0: one ring, two views", DUP, PERF },
	{ LAB_CASE(f01_perf_dup_longer), .about = "a duplicate longer than the perf ring is EFAULT", PERF },
	{ LAB_CASE(f02_perf_grow), .about = "a perf ring grown, whole or by its end, is EFAULT", PERF },
	{ LAB_CASE(f03_perf_within), .about = "a piece of a perf ring duplicated is refused", PERF },
	{ LAB_CASE(f03_perf_piece_to_piece), .about = "a piece of a perf ring to a longer one is EFAULT", PERF },
	{ LAB_CASE(f04_perf_move), .about = "a perf ring moved", PERF },
	{ LAB_CASE(f05_aio_dup), .about = "an aio ring does not lose its context to a duplicate", .needs_config = "AIO" },
	{ LAB_CASE(f05_aio_move), .about = "an aio ring moved: its context follows", .needs_config = "AIO" },
	{ LAB_CASE(f06_page_frames), .about = "page frames (/dev/mem), io_uring's ring: no growth, no duplicate",
	  .needs_config = "DEVMEM", .needs_root = true },
	{ LAB_CASE(f07_dontunmap), .about = "MREMAP_DONTUNMAP of a perf ring is EINVAL", PERF },
	{ LAB_CASE(f08_sealed), .about = "a sealed mapping does not grow: EPERM, nothing changed" },
	{ LAB_CASE(f08_onto_sealed), .about = "growth onto a sealed mapping: EPERM, nothing changed" },
)

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Group G: the grown part as the rest of the kernel sees it, through system calls and /proc. */
#include "lab.h"
#include "lab_disk.h"
#include "lab_numa.h"

#include <link.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

#define EXPAND .requires = "shm-expand"

/* One page grown to eight, where the object has one page on a kernel that does not expand. */
static char *grown(void)
{
	char *p = lab_shared(1);

	LAB_WRITES(p, 9);
	return LAB_GROW(p, 1, 8);
}

/* ---- data in and out of the grown part ---- */

static void g01_read_into(void)
{
	char *p = grown();
	int ends[2];

	LAB_SETUP(pipe(ends));
	LAB_SETUP(write(ends[1], "hello", 5));
	LAB_EXPECT_EQ(LAB_EXPECT_OK(read(ends[0], lab_at(p, 5), 5)), 5);
	LAB_READS(lab_at(p, 5), 'h');
	LAB_READS(lab_at(p, 5) + 4, 'o');
}

static void g02_read_across_the_end(void)
{
	int zero = LAB_SETUP_OR_SKIP(open("/dev/zero", O_RDONLY | O_CLOEXEC));
	char *p = grown();

	LAB_EXPECT_EQ(LAB_EXPECT_OK(read(zero, lab_at(p, 1) - 4, 8)), 8);
}

static void g03_write_from(void)
{
	char *p = grown(), text[5] = "?????";
	int ends[2];

	LAB_SETUP(pipe(ends));
	LAB_EXPECT_EQ(LAB_EXPECT_OK(write(ends[1], lab_at(p, 5), 5)), 5);
	LAB_EXPECT_EQ(LAB_SETUP(read(ends[0], text, 5)), 5);
	LAB_EXPECT(!memcmp(text, "\0\0\0\0\0", 5));
}

static void g04_process_vm_writev(void)
{
	char *p = grown(), text[] = "hello";
	struct iovec from = { text, 5 }, to = { lab_at(p, 5), 5 }, old = { p, 5 };

	LAB_SETUP_OR_SKIP(process_vm_writev(getpid(), &from, 1, &old, 1, 0));
	LAB_EXPECT_EQ(LAB_EXPECT_OK(process_vm_writev(getpid(), &from, 1, &to, 1, 0)), 5);
	LAB_READS(lab_at(p, 5), 'h');
}

static void g05_proc_mem_write(void)
{
	char *p = grown();
	int mem = LAB_SETUP_OR_SKIP(open("/proc/self/mem", O_RDWR | O_CLOEXEC));

	/* Not by pwrite, which refuses an offset in the upper half of 64 bits; sparc64 has its mappings there. */
	LAB_SETUP(lseek(mem, (off_t)(uintptr_t)lab_at(p, 5), SEEK_SET));
	LAB_EXPECT_EQ(LAB_EXPECT_OK(write(mem, "hello", 5)), 5);
	LAB_READS(lab_at(p, 5), 'h');
	LAB_SETUP(mprotect(p, 8 * lab_page(), PROT_READ));	/* which not even a debugger may write to, if it is shared */
	LAB_SETUP(lseek(mem, (off_t)(uintptr_t)lab_at(p, 5), SEEK_SET));
	LAB_EXPECT_ERRNO(write(mem, "no", 2), EIO);
	LAB_READS(lab_at(p, 5), 'h');
}

/* A child that has stopped for this process to trace it; the case is skipped where that is not allowed. */
static pid_t traced_child(void)
{
	pid_t pid = lab_fork();
	int status;

	if (!pid) {
		LAB_SETUP(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
		raise(SIGSTOP);
		_exit(0);
	}
	LAB_SETUP(waitpid(pid, &status, 0));
	if (!WIFSTOPPED(status))
		LAB_SKIP("ptrace is not allowed here");
	return pid;
}

static void g06_ptrace_poke(void)
{
	char *p = grown();
	pid_t pid = traced_child();

	LAB_EXPECT_OK(ptrace(PTRACE_POKEDATA, pid, lab_at(p, 5), (void *)-1L));
	LAB_READS(lab_at(p, 5), 0xff);
}

/* Who only looks extends nothing: what nobody has touched is not there to be seen, unless mremap() has extended. */
static void looked_at(char *p, bool seen)
{
	bool there = lab_provides("expand-enomem");

	LAB_EXPECT_EQ(seen, there);
	LAB_OBJECT(p, there ? 8 : 1);
	LAB_WRITES(lab_at(p, 5), 1);
	LAB_OBJECT(p, 8);
}

static void g36_process_vm_readv(void)
{
	char *p = grown(), text[5];
	struct iovec to = { text, 5 }, beyond = { lab_at(p, 5), 5 }, old = { p, 5 };

	LAB_SETUP_OR_SKIP(process_vm_readv(getpid(), &to, 1, &old, 1, 0));
	looked_at(p, process_vm_readv(getpid(), &to, 1, &beyond, 1, 0) == 5);
}

static void g36_proc_mem_read(void)
{
	char *p = grown(), text[5];
	int mem = LAB_SETUP_OR_SKIP(open("/proc/self/mem", O_RDONLY | O_CLOEXEC));

	LAB_SETUP(lseek(mem, (off_t)(uintptr_t)lab_at(p, 5), SEEK_SET));
	looked_at(p, read(mem, text, 5) == 5);
}

static void g36_ptrace_peek(void)
{
	char *p = grown();
	pid_t pid = traced_child();

	errno = 0;
	ptrace(PTRACE_PEEKDATA, pid, lab_at(p, 5), NULL);
	looked_at(p, errno == 0);
}

/* All pages of a mapping are in the page tables, not in the object alone. */
static void populated(char *p, long pages)
{
	struct lab_vma vma;

	LAB_EXPECT(lab_find_vma("/proc/self/smaps", p, &vma));
	LAB_EXPECT_EQ(lab_kb(vma.details, "Size"), pages * (long)(lab_page() >> 10));
	LAB_EXPECT_EQ(lab_kb(vma.details, "Rss"), pages * (long)(lab_page() >> 10));
}

static void populate(int advice)
{
	char *p = lab_shared(1);

	if (madvise(p, lab_page(), advice))
		LAB_SKIP("madvise %d: %s", advice, lab_errno(errno));
	p = LAB_GROW(p, 1, 8);
	LAB_EXPECT_OK(madvise(p, 8 * lab_page(), advice));
	populated(p, 8);
	LAB_WRITES(lab_at(p, 7), 1);
}

/* Populating a private view to be read copies nothing: what is written to the file is still seen. */
static void copies_nothing(void)
{
	int fd = (int)LAB_SETUP_OR_SKIP(syscall(SYS_memfd_create, "lab", 1U));
	char *p;

	LAB_SETUP(ftruncate(fd, lab_page()));
	p = LAB_SETUP(mmap(NULL, lab_page(), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	LAB_EXPECT_OK(madvise(p, lab_page(), MADV_POPULATE_READ));
	LAB_EXPECT_EQ(LAB_EXPECT_OK(pwrite(fd, "x", 1, 0)), 1);
	LAB_READS(p, 'x');
	close(fd);
}

static void g07_populate_read(void)
{
	populate(MADV_POPULATE_READ);
	copies_nothing();
}

static void g07_populate_write(void)
{
	populate(MADV_POPULATE_WRITE);
}

/* ---- locking ---- */

static void g08_mlock(void)
{
	char *p = grown();

	LAB_EXPECT_OK(mlock(p, 8 * lab_page()));
	populated(p, 8);
	LAB_WRITES(lab_at(p, 7), 1);
	populated(LAB_SETUP(lab_map(4, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE)), 4);
	p = LAB_SETUP(lab_map(4, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_LOCKED));
	populated(p, 4);
	LAB_EXPECT(lab_vma_has(p, "lo"));
}

/* What mlockall(2) with MCL_FUTURE and other flags makes of a mapping that grows from one page to 8. */
static char *locked_in_advance(int flags)
{
	char *p;

	LAB_SETUP_OR_SKIP(mlockall(MCL_FUTURE | flags));
	p = LAB_GROW_TO(lab_shared(1), 1, 8, lab_hole(8, 0));
	LAB_SETUP(munlockall());
	return p;
}

/* Growth of what is locked is there at once, and so is a duplicate of it. */
static void g09_locked_growth_populated(void)
{
	char *p = lab_shared_in_hole(1, 9);

	LAB_SETUP(mlock(p, lab_page()));
	LAB_GROW_IN_PLACE(p, 1, 8);
	populated(p, 8);
	LAB_WRITES(lab_at(p, 7), 1);
	p = LAB_GROW_TO(p, 8, 16, lab_hole(16, 0));
	populated(p, 16);
	populated(LAB_DUP_TO(p, 4, lab_hole(4, 0)), 4);
	populated(locked_in_advance(0), 8);
}

static void g10_mlock_on_fault(void)
{
	struct lab_vma vma;
	char *p = grown();

	LAB_SETUP_OR_SKIP(syscall(SYS_mlock2, p, 8 * lab_page(), 1U));
	LAB_OBJECT(p, lab_provides("expand-enomem") ? 8 : 1);
	LAB_WRITES(lab_at(p, 7), 1);
	p = locked_in_advance(MCL_ONFAULT);
	LAB_EXPECT(lab_find_vma("/proc/self/smaps", p, &vma));
	LAB_EXPECT_EQ(lab_kb(vma.details, "Rss"), 0);
	LAB_WRITES(lab_at(p, 7), 1);
}

/* ---- advice and queries ---- */

static void g11_mincore(void)
{
	char *p = grown();
	unsigned char there[8];

	LAB_EXPECT_OK(mincore(p, 8 * lab_page(), there));
	LAB_EXPECT_EQ(there[0] & 1, 1);
	LAB_EXPECT_EQ(there[5] & 1, 0);
	LAB_OBJECT(p, lab_provides("expand-enomem") ? 8 : 1);
	LAB_WRITES(lab_at(p, 5), 1);
	LAB_EXPECT_OK(mincore(p, 8 * lab_page(), there));
	LAB_EXPECT_EQ(there[5] & 1, 1);
	LAB_EXPECT_EQ(there[6] & 1, 0);
}

/* What is removed reads as zero to the last page, and nothing beside it does. */
static void remove_pages(char *p, long first, long count)
{
	long i;

	for (i = 0; i < 8; i++)
		LAB_WRITES(lab_at(p, i), 1 + i);
	LAB_EXPECT_OK(madvise(p, 8 * lab_page(), MADV_DONTNEED));
	LAB_EXPECT_OK(madvise(lab_at(p, first), (size_t)count * lab_page(), MADV_REMOVE));
	for (i = 0; i < 8; i++)
		LAB_READS(lab_at(p, i), i < first || i >= first + count ? 1 + i : 0);
}

/* Advice that is not for shared memory, or not for what is locked, is refused and changes nothing. */
static void refused_advice(char *p)
{
	LAB_WRITES(p, 7);
	LAB_EXPECT_ERRNO(madvise(p, lab_page(), MADV_WIPEONFORK), EINVAL);
	LAB_EXPECT_ERRNO(madvise(p, lab_page(), MADV_FREE), EINVAL);
	LAB_SETUP(mlock(p, lab_page()));
	LAB_EXPECT_ERRNO(madvise(p, lab_page(), MADV_DONTNEED), EINVAL);
	LAB_EXPECT_ERRNO(madvise(p, lab_page(), MADV_REMOVE), EINVAL);
	LAB_EXPECT_ERRNO(msync(p, lab_page(), MS_INVALIDATE), EBUSY);
	LAB_READS(p, 7);
	LAB_SETUP(munlock(p, lab_page()));
}

static void g12_sync_and_advise(void)
{
	char *p = grown();

	LAB_EXPECT_OK(msync(p, 8 * lab_page(), MS_SYNC));
	LAB_EXPECT_OK(madvise(lab_at(p, 1), 7 * lab_page(), MADV_DONTNEED));
	LAB_EXPECT_OK(madvise(lab_at(p, 1), 7 * lab_page(), MADV_REMOVE));
	LAB_WRITES(lab_at(p, 5), 5);
	LAB_WRITES(lab_at(p, 6), 6);
	LAB_EXPECT_OK(madvise(lab_at(p, 5), lab_page(), MADV_DONTNEED));
	LAB_READS(lab_at(p, 5), 5);
	LAB_EXPECT_OK(madvise(lab_at(p, 5), lab_page(), MADV_REMOVE));
	LAB_READS(lab_at(p, 5), 0);
	LAB_READS(lab_at(p, 6), 6);
	remove_pages(p, 1, 6);
	remove_pages(p, 2, 6);
	remove_pages(p, 0, 8);
	refused_advice(lab_at(p, 7));
	LAB_SETUP(munmap(lab_at(p, 1), lab_page()));
	LAB_EXPECT_ERRNO(msync(p, 8 * lab_page(), MS_SYNC), ENOMEM);	/* there is a hole */
	/* The rest begins two pages into the object. */
	LAB_WRITES(lab_at(p, 3), 3);
	LAB_WRITES(lab_at(p, 5), 5);
	LAB_EXPECT_OK(madvise(lab_at(p, 5), lab_page(), MADV_REMOVE));
	LAB_READS(lab_at(p, 3), 3);
	LAB_READS(lab_at(p, 5), 0);
}

static void g13_futex(void)
{
	char *p = grown();

	LAB_EXPECT_ERRNO(syscall(SYS_futex, lab_at(p, 5), FUTEX_WAIT, 1, NULL, NULL, 0), EAGAIN);
}

/* ---- what /proc shows ---- */

static void g14_smaps(void)
{
	char *p = lab_shared(1), *second;
	struct lab_vma vma;
	long kb = (long)(lab_page() >> 10), both;

	p = LAB_GROW(p, 1, 16);
	LAB_WRITES(p, 1);
	LAB_EXPECT(lab_find_vma("/proc/self/smaps", p, &vma));
	LAB_EXPECT_EQ(lab_kb(vma.details, "Size"), 16 * kb);
	LAB_EXPECT_EQ(lab_kb(vma.details, "Rss"), 1 * kb);
	LAB_WRITES(lab_at(p, 5), 1);
	LAB_WRITES(lab_at(p, 15), 1);
	LAB_EXPECT(lab_find_vma("/proc/self/smaps", p, &vma));
	LAB_EXPECT_EQ(lab_kb(vma.details, "Size"), 16 * kb);
	LAB_EXPECT_EQ(lab_kb(vma.details, "Rss"), 3 * kb);
	LAB_EXPECT_EQ(lab_kb(vma.details, "Pss"), 3 * kb);
	/* A page that two views have is half of each.  A CPU that reads before it writes has pages around it mapped, too. */
	second = LAB_DUP_TO(p, 16, lab_hole(16, 0));
	LAB_WRITES(lab_at(second, 5), 2);
	LAB_EXPECT(lab_find_vma("/proc/self/smaps", second, &vma));
	both = lab_kb(vma.details, "Rss");
	LAB_EXPECT(both == kb || both == 2 * kb || both == 3 * kb);
	LAB_EXPECT_EQ(lab_kb(vma.details, "Pss"), both / 2);
	LAB_EXPECT(lab_find_vma("/proc/self/smaps", p, &vma));
	LAB_EXPECT_EQ(lab_kb(vma.details, "Rss"), 3 * kb);
	LAB_EXPECT_EQ(lab_kb(vma.details, "Pss"), 3 * kb - both / 2);
	LAB_EXPECT_EQ(lab_kb(vma.details, "Shared_Clean") + lab_kb(vma.details, "Shared_Dirty"), both);
	LAB_EXPECT_EQ(lab_kb(vma.details, "Private_Clean") + lab_kb(vma.details, "Private_Dirty"), 3 * kb - both);
}

static void same_flags(void *p, const char *flags, const char *what)
{
	char now[128];

	lab_vma_flags(p, now);
	if (strcmp(now, flags))
		LAB_FAIL("%s has %s; before it was %s", what, now, flags);
}

/* Growth keeps a mapping's flags, and a duplicate has them: what was advised, and what may be done with it. */
static void flags_are_kept(void)
{
	char *p = lab_shared_in_hole(1, 9), flags[128];

	LAB_SETUP(madvise(p, lab_page(), MADV_DONTFORK));
	LAB_SETUP(madvise(p, lab_page(), MADV_DONTDUMP));
	LAB_SETUP(madvise(p, lab_page(), MADV_SEQUENTIAL));
	LAB_SETUP(mprotect(p, lab_page(), PROT_READ));
	lab_vma_flags(p, flags);
	LAB_GROW_IN_PLACE(p, 1, 8);
	same_flags(p, flags, "what has grown in place");
	p = LAB_GROW_TO(p, 8, 16, lab_hole(16, 0));
	same_flags(p, flags, "what has grown by a move");
	same_flags(LAB_DUP_TO(p, 4, lab_hole(4, 0)), flags, "a duplicate");
}

static void g15_maps(void)
{
	char *p = lab_shared_in_hole(1, 9);
	struct lab_vma vma;

	flags_are_kept();
	LAB_GROW_IN_PLACE(p, 1, 8);
	LAB_EXPECT(lab_find_vma("/proc/self/maps", p, &vma));
	LAB_EXPECT_EQ(vma.end - vma.start, 8 * lab_page());
	LAB_EXPECT_EQ(vma.offset, 0);
	if (strcmp(vma.name, "/dev/zero (deleted)"))
		LAB_FAIL("maps calls it '%s'", vma.name);
}

static void g16_meminfo_shmem(void)
{
	long before = lab_shmem(), resident, i;
	char *p = LAB_GROW(lab_shared(1), 1, 1024);

	resident = lab_status_kb("RssShmem");
	for (i = 1; i <= 256; i++)
		LAB_WRITES(lab_at(p, i), 1);
	LAB_SHMEM(before, 256);
	/* As a kind of memory of this process, too, less what the CPUs count for themselves. */
	LAB_EXPECT(lab_status_kb("RssShmem") - resident >= 128 * (long)(lab_page() >> 10));
	lab_unmap(p, 1024);
	LAB_SHMEM(before, 0);
}

/* ---- userfaultfd ---- */

/* A userfaultfd that watches the mapping in a mode, which needs features; the case is skipped where it has them not. */
static int watch(char *p, long pages, uint64_t mode, uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	struct uffdio_register reg = { .mode = mode };
	int flags = O_CLOEXEC | O_NONBLOCK | (lab_kernel_before(5, 11) ? 0 : UFFD_USER_MODE_ONLY);
	int fd = (int)LAB_SETUP_OR_SKIP(syscall(SYS_userfaultfd, flags));

	if (ioctl(fd, UFFDIO_API, &api)) {
		if (features && errno == EINVAL)
			LAB_SKIP("userfaultfd does not have the features %llx", (unsigned long long)features);
		LAB_ERROR("UFFDIO_API: %s", lab_errno(errno));
	}
	reg.range.start = (uintptr_t)p;
	reg.range.len = (uint64_t)pages * lab_page();
	LAB_EXPECT_OK(ioctl(fd, UFFDIO_REGISTER, &reg));
	return fd;
}

static int watch_missing(char *p, long pages)
{
	return watch(p, pages, UFFDIO_REGISTER_MODE_MISSING, 0);
}

/* Fill the page at `p` with bytes of 42: 0, or what the kernel says. */
static int fill(int fd, char *p)
{
	char *page = LAB_SETUP(lab_map(1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS));
	struct uffdio_copy copy = { .dst = (uintptr_t)p, .src = (uintptr_t)page, .len = lab_page() };

	memset(page, 42, lab_page());
	return ioctl(fd, UFFDIO_COPY, &copy) ? errno : 0;
}

struct toucher {
	char *addr;
	unsigned char value;
	struct lab_fault fault;
	volatile sig_atomic_t done;
};

static void *touch_in_thread(void *argument)
{
	struct toucher *toucher = argument;

	toucher->fault = lab_touch(toucher->addr, false, &toucher->value);
	toucher->done = 1;
	return NULL;
}

static void *write_in_thread(void *argument)
{
	struct toucher *toucher = argument;

	toucher->fault = lab_touch(toucher->addr, true, &toucher->value);
	toucher->done = 1;
	return NULL;
}

/* Touch `addr` in a thread, until userfaultfd reports it; the flags of the report. */
static uint64_t await_event(int fd, struct toucher *toucher, void *(*touch)(void *), pthread_t *thread)
{
	struct pollfd event = { .fd = fd, .events = POLLIN };
	struct uffd_msg msg;

	if (pthread_create(thread, NULL, touch, toucher))
		LAB_ERROR("cannot start a thread");
	while (!toucher->done && poll(&event, 1, 10) == 0)
		;
	if (toucher->done)
		LAB_FAIL("no event: the touch ended with %s", lab_signal(toucher->fault.signo));
	LAB_EXPECT_EQ(LAB_EXPECT_OK(read(fd, &msg, sizeof(msg))), sizeof(msg));
	LAB_EXPECT_EQ(msg.event, UFFD_EVENT_PAGEFAULT);
	LAB_EXPECT(lab_same_page((void *)(uintptr_t)msg.arg.pagefault.address, toucher->addr));
	return msg.arg.pagefault.flags;
}

/* The grown page at `addr` is missing: reported, filled, and read as what it was filled with. */
static void reported_and_filled(int fd, char *addr)
{
	struct toucher toucher = { .addr = addr };
	pthread_t thread;

	await_event(fd, &toucher, touch_in_thread, &thread);
	LAB_EXPECT_EQ(fill(fd, addr), 0);
	pthread_join(thread, NULL);
	LAB_EXPECT_EQ(toucher.value, 42);
}

static void g17_uffd_event(void)
{
	char *p = grown();

	reported_and_filled(watch_missing(p, 8), lab_at(p, 5));
	LAB_OBJECT(p, 8);
}

/* Registered before growth: what grows in place is watched, too. */
static void watched_before_growth(void)
{
	char *p = lab_shared_in_hole(1, 9);
	int fd;

	LAB_WRITES(p, 9);
	fd = watch_missing(p, 1);
	LAB_GROW_IN_PLACE(p, 1, 8);
	reported_and_filled(fd, lab_at(p, 7));
	reported_and_filled(fd, lab_at(p, 1));
	LAB_READS(p, 9);
	LAB_OBJECT(p, 8);
}

struct mover {
	char *p, *target;
};

static void *grow_to_target(void *argument)
{
	struct mover *mover = argument;

	mover->p = LAB_GROW_TO(mover->p, 1, 8, mover->target);
	return NULL;
}

/* Growth that moves: the watcher is told where to, if it has asked for that, and goes on watching there. */
static void watched_while_it_moves(void)
{
	struct mover mover = { .p = lab_shared(1), .target = lab_hole(8, 0) };
	struct pollfd event = { .fd = watch(mover.p, 1, UFFDIO_REGISTER_MODE_MISSING, UFFD_FEATURE_EVENT_REMAP),
				.events = POLLIN };
	uint64_t from = (uintptr_t)mover.p;
	pthread_t thread;
	struct uffd_msg msg;

	if (pthread_create(&thread, NULL, grow_to_target, &mover))
		LAB_ERROR("cannot start a thread");
	LAB_EXPECT_EQ(LAB_SETUP(poll(&event, 1, (int)lab_scaled(3000))), 1);
	LAB_EXPECT_EQ(LAB_EXPECT_OK(read(event.fd, &msg, sizeof(msg))), sizeof(msg));
	LAB_EXPECT_EQ(msg.event, UFFD_EVENT_REMAP);
	LAB_EXPECT_EQ(msg.arg.remap.from, from);
	LAB_EXPECT_EQ(msg.arg.remap.to, (uintptr_t)mover.target);
	LAB_EXPECT_EQ(msg.arg.remap.len, lab_page());
	pthread_join(thread, NULL);
	reported_and_filled(event.fd, lab_at(mover.p, 7));
}

/* The last 4 of the 8 pages of `p` go away: mremap() cuts them, another mapping replaces them, or a hole empties them. */
static void *shrink(void *p)
{
	LAB_EXPECT_OK(lab_mremap(p, 8, 4, 0, NULL));
	return NULL;
}

static void *move_onto(void *p)
{
	LAB_GROW_TO(lab_shared(1), 1, 4, lab_at(p, 4));
	return NULL;
}

static void *punch(void *p)
{
	LAB_EXPECT_OK(madvise(lab_at(p, 4), 4 * lab_page(), MADV_REMOVE));
	return NULL;
}

/* The watcher, if it has asked for such events, is told what goes away, and whoever takes it away waits for that. */
static void watched_while_it_goes(void *(*act)(void *), uint64_t feature, int event)
{
	char *p = grown();
	struct pollfd watcher = { .fd = watch(p, 8, UFFDIO_REGISTER_MODE_MISSING, feature), .events = POLLIN };
	struct uffd_msg msg;
	pthread_t thread;

	if (pthread_create(&thread, NULL, act, p))
		LAB_ERROR("cannot start a thread");
	LAB_EXPECT_EQ(LAB_SETUP(poll(&watcher, 1, (int)lab_scaled(3000))), 1);
	LAB_EXPECT_EQ(LAB_EXPECT_OK(read(watcher.fd, &msg, sizeof(msg))), sizeof(msg));
	LAB_EXPECT_EQ(msg.event, event);
	LAB_EXPECT_EQ(msg.arg.remove.start, (uintptr_t)lab_at(p, 4));
	LAB_EXPECT_EQ(msg.arg.remove.end, (uintptr_t)lab_at(p, 8));
	pthread_join(thread, NULL);
	LAB_EXPECT_EQ(poll(&watcher, 1, 0), 0);	/* told once */
	close(watcher.fd);
}

static void g30_uffd_before_growth(void)
{
	watched_before_growth();
	watched_while_it_moves();
	watched_while_it_goes(shrink, UFFD_FEATURE_EVENT_UNMAP, UFFD_EVENT_UNMAP);
	watched_while_it_goes(move_onto, UFFD_FEATURE_EVENT_UNMAP, UFFD_EVENT_UNMAP);
	watched_while_it_goes(punch, UFFD_FEATURE_EVENT_REMOVE, UFFD_EVENT_REMOVE);
}

/* A grown page that is protected: the write is reported, and goes on when it may. */
static void g31_uffd_write_protected(void)
{
	struct toucher toucher = { .value = 8 };
	struct uffdio_writeprotect protect = { .mode = UFFDIO_WRITEPROTECT_MODE_WP };
	char *p = grown();
	pthread_t thread;
	int fd;

	LAB_WRITES(lab_at(p, 5), 7);
	fd = watch(p, 8, UFFDIO_REGISTER_MODE_WP, UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
	protect.range.start = (uintptr_t)lab_at(p, 5);
	protect.range.len = lab_page();
	LAB_EXPECT_OK(ioctl(fd, UFFDIO_WRITEPROTECT, &protect));
	toucher.addr = lab_at(p, 5);
	LAB_EXPECT(await_event(fd, &toucher, write_in_thread, &thread) & UFFD_PAGEFAULT_FLAG_WP);
	protect.mode = 0;
	LAB_EXPECT_OK(ioctl(fd, UFFDIO_WRITEPROTECT, &protect));
	pthread_join(thread, NULL);
	LAB_READS(lab_at(p, 5), 8);
}

/* A grown page that another view has written: reported as a minor fault, and mapped as it is. */
static void g32_uffd_minor(void)
{
	struct uffdio_continue go_on = { .mode = 0 };
	char *p = grown(), *view;
	struct toucher toucher = { .value = 0 };
	pthread_t thread;
	int fd;

	LAB_WRITES(lab_at(p, 5), 7);
	view = LAB_DUP_TO(p, 8, lab_hole(8, 0));
	fd = watch(view, 8, UFFDIO_REGISTER_MODE_MINOR, UFFD_FEATURE_MINOR_SHMEM);
	toucher.addr = lab_at(view, 5);
	LAB_EXPECT(await_event(fd, &toucher, touch_in_thread, &thread) & UFFD_PAGEFAULT_FLAG_MINOR);
	go_on.range.start = (uintptr_t)toucher.addr;
	go_on.range.len = lab_page();
	LAB_EXPECT_OK(ioctl(fd, UFFDIO_CONTINUE, &go_on));
	pthread_join(thread, NULL);
	LAB_EXPECT_EQ(toucher.value, 7);
}

/* Before any fault: the object is still short where faults extend it. */
static void g18_uffd_copy_first(void)
{
	char *p = grown();
	int fd = watch_missing(p, 8), error = fill(fd, lab_at(p, 5));

	/* Filling extends the object, as a touch does, unless it was extended by mremap. */
	if (lab_provides("shm-expand"))
		LAB_EXPECT_EQ(error, 0);
	else if (error != EFAULT && error != ENOMEM)
		LAB_FAIL("UFFDIO_COPY beyond the object: got %s, expected EFAULT or ENOMEM", lab_errno(error));
}

static void g18_uffd_copy_within(void)
{
	char *p = LAB_GROW(lab_shared(2), 2, 8);
	int fd = watch_missing(p, 8);

	LAB_EXPECT_EQ(fill(fd, lab_at(p, 1)), 0);
	LAB_OBJECT(p, lab_provides("expand-enomem") ? 8 : 2);	/* nothing was wanted beyond its end */
	LAB_READS(lab_at(p, 1), 42);
}

/* The page just beyond the end of the object. */
static void g18_uffd_copy_next(void)
{
	char *p = LAB_GROW(lab_shared(2), 2, 8);
	int fd = watch_missing(p, 8);

	LAB_EXPECT_EQ(fill(fd, lab_at(p, 2)), 0);
	LAB_READS(lab_at(p, 2), 42);
	LAB_OBJECT(p, 8);
}

/* One call fills pages within the object and beyond its end. */
static void g18_uffd_copy_across(void)
{
	char *p = LAB_GROW(lab_shared(2), 2, 8), *pages = LAB_SETUP(lab_map(2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS));
	struct uffdio_copy copy = { .dst = (uintptr_t)lab_at(p, 1), .src = (uintptr_t)pages, .len = 2 * lab_page() };
	int fd = watch_missing(p, 8);

	memset(pages, 42, 2 * lab_page());
	LAB_EXPECT_OK(ioctl(fd, UFFDIO_COPY, &copy));
	LAB_EXPECT_EQ(copy.copy, 2 * lab_page());
	LAB_READS(lab_at(p, 1), 42);
	LAB_READS(lab_at(p, 3) - 1, 42);
	LAB_OBJECT(p, 8);
}

/* The page in which the object ends is part of it. */
static void g18_uffd_copy_last_part(void)
{
	char *p = LAB_GROW(lab_shared(2), 2, 8);
	int object = lab_open_object(p), fd;
	off_t size = 2 * (off_t)lab_page() - 1;
	struct stat about;

	LAB_SETUP(ftruncate(object, size));
	fd = watch_missing(p, 8);
	LAB_EXPECT_EQ(fill(fd, lab_at(p, 1)), 0);
	LAB_READS(lab_at(p, 1), 42);
	LAB_SETUP(fstat(object, &about));
	LAB_EXPECT_EQ(about.st_size, size);
	close(object);
}

/* Filling is for every kind of memory that userfaultfd takes, and extends no other object. */
static void g37_uffd_copy_private(void)
{
	char *p = LAB_SETUP(lab_map(2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS));
	int fd = watch_missing(p, 2);

	LAB_EXPECT_EQ(fill(fd, lab_at(p, 1)), 0);
	LAB_READS(lab_at(p, 1), 42);
	LAB_EXPECT_EQ(fill(fd, p), 0);
	LAB_READS(p, 42);
}

/* Where there are several nodes, a page that userfaultfd fills lies where the object's policy wants it. */
static void filled_by_policy(int fd, char *p)
{
	int nodes[LAB_MAX_NODES];
	struct lab_policy far;

	if (lab_nodes(nodes) < 2)
		return;
	far = lab_policy_of(MPOL_BIND, lab_mask_of(lab_two_nodes().far));
	LAB_EXPECT_OK(lab_mbind(p, 1, &far));
	LAB_EXPECT_EQ(fill(fd, p), 0);
	LAB_NUMA_EXPECT(p, 1, &far);
}

static void g37_uffd_copy_memfd(void)
{
	int memfd = LAB_SETUP_OR_SKIP((int)syscall(SYS_memfd_create, "lab", 1U)), fd, error, i;
	struct stat about;
	char *p;

	LAB_SETUP(ftruncate(memfd, 2 * (off_t)lab_page()));
	p = LAB_SETUP(mmap(NULL, 8 * lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0));
	fd = watch_missing(p, 8);
	LAB_EXPECT_EQ(fill(fd, lab_at(p, 1)), 0);
	LAB_READS(lab_at(p, 1), 42);
	for (i = 2; i <= 5; i += 3) {
		error = fill(fd, lab_at(p, i));
		if (error != ENOMEM)	/* since 7.2, which allocates no page there */
			LAB_EXPECT_EQ(error, EFAULT);
	}
	LAB_SETUP(fstat(memfd, &about));
	LAB_EXPECT_EQ(lab_pages((unsigned long long)about.st_size), 2);
	filled_by_policy(fd, p);
	close(memfd);
}

static void g19_uffd_register(void)
{
	char *p = lab_shared(2);
	int fd = watch_missing(p, 2);
	pid_t pid;

	LAB_EXPECT_EQ(fill(fd, lab_at(p, 1)), 0);
	LAB_READS(lab_at(p, 1), 42);
	pid = lab_fork();
	if (!pid) {	/* whose memory nobody watches, so it waits for nobody */
		LAB_READS(p, 0);
		_exit(0);
	}
	lab_join(pid);
}

/* ---- others that must still recognise shared anonymous memory ---- */

static void g20_anon_name(void)
{
	char *private = LAB_SETUP(lab_map(1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS)), *p = lab_shared(2);
	struct lab_vma vma;

	if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, private, lab_page(), "lab"))
		LAB_SKIP("no names for anonymous memory: %s", lab_errno(errno));
	if (lab_kernel_before(6, 2)) {
		LAB_EXPECT_ERRNO(prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, 2 * lab_page(), "lab"), EBADF);
		return;
	}
	LAB_EXPECT_OK(prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, 2 * lab_page(), "lab"));
	LAB_EXPECT(lab_find_vma("/proc/self/maps", p, &vma));
	if (strcmp(vma.name, "[anon_shmem:lab]"))
		LAB_FAIL("maps calls it '%s'", vma.name);
}

static void g21_io_uring_buffer(void)
{
	struct io_uring_params params;
	struct iovec buffer = { lab_shared(2), 2 * lab_page() };
	int ring;

	memset(&params, 0, sizeof(params));
	ring = (int)LAB_SETUP_OR_SKIP(syscall(SYS_io_uring_setup, 1, &params));
	LAB_EXPECT_OK(syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &buffer, 1));
}

/* The one request of a ring is done when this returns; its result. */
static int submit(int ring, const struct io_uring_params *params, const struct io_uring_sqe *request)
{
	size_t size = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);
	char *rings = LAB_SETUP(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING));
	struct io_uring_sqe *requests = LAB_SETUP(mmap(NULL, params->sq_entries * sizeof(*requests),
						       PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES));
	unsigned int *tail = (unsigned int *)(rings + params->sq_off.tail);
	unsigned int *head = (unsigned int *)(rings + params->cq_off.head);
	struct io_uring_cqe *done = (struct io_uring_cqe *)(rings + params->cq_off.cqes);
	unsigned int mask = *(unsigned int *)(rings + params->sq_off.ring_mask), at = *tail & mask;

	requests[at] = *request;
	((unsigned int *)(rings + params->sq_off.array))[at] = at;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	LAB_EXPECT_EQ(LAB_EXPECT_OK(syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0)), 1);
	return done[__atomic_load_n(head, __ATOMIC_ACQUIRE) & *(unsigned int *)(rings + params->cq_off.ring_mask)].res;
}

/* io_uring reads a pipe into the grown part, which is registered as its buffer. */
static void g33_io_uring_into(void)
{
	struct io_uring_sqe request = { .opcode = IORING_OP_READ_FIXED, .off = (uint64_t)-1, .len = 5 };
	struct io_uring_params params;
	struct iovec buffer;
	int ring, ends[2];
	char *p;

	memset(&params, 0, sizeof(params));
	ring = (int)LAB_SETUP_OR_SKIP(syscall(SYS_io_uring_setup, 1, &params));
	if (!(params.features & IORING_FEAT_SINGLE_MMAP))
		LAB_SKIP("io_uring's rings are two mappings here");
	p = grown();
	buffer.iov_base = p;
	buffer.iov_len = 8 * lab_page();
	LAB_EXPECT_OK(syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &buffer, 1));
	LAB_OBJECT(p, 8);
	LAB_SETUP(pipe(ends));
	LAB_SETUP(write(ends[1], "hello", 5));
	request.fd = ends[0];
	request.addr = (uintptr_t)lab_at(p, 6);
	LAB_EXPECT_EQ(submit(ring, &params, &request), 5);
	LAB_READS(lab_at(p, 6), 'h');
	LAB_READS(lab_at(p, 6) + 4, 'o');
	LAB_BLOCKS(p, 8);
}

/* A block of a disk is read straight into the grown part, and written from there. */
static void g34_direct_io(void)
{
	const char *directory = lab_ext2(16);
	char path[LAB_PATH], *p;
	int fd;

	snprintf(path, sizeof(path), "%s/file", directory);
	fd = LAB_SETUP(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	p = lab_shared(2);
	memset(p, 'a', 2 * lab_page());
	LAB_SETUP(write(fd, p, 2 * lab_page()));
	LAB_SETUP(fsync(fd));
	close(fd);
	fd = LAB_SETUP_OR_SKIP(open(path, O_RDWR | O_DIRECT | O_CLOEXEC));
	p = LAB_GROW(p, 2, 8);
	LAB_EXPECT_EQ(LAB_EXPECT_OK(pread(fd, lab_at(p, 5), 2 * lab_page(), 0)), 2 * lab_page());
	LAB_READS(lab_at(p, 5), 'a');
	LAB_READS(lab_at(p, 7) - 1, 'a');
	LAB_READS(lab_at(p, 4), 0);
	LAB_EXPECT_EQ(LAB_EXPECT_OK(pwrite(fd, lab_at(p, 4), lab_page(), (off_t)lab_page())), lab_page());
	LAB_EXPECT_EQ(LAB_EXPECT_OK(pread(fd, lab_at(p, 5), 2 * lab_page(), 0)), 2 * lab_page());
	LAB_READS(lab_at(p, 5), 'a');
	LAB_READS(lab_at(p, 6), 0);
	close(fd);
}

/* pagemap's bit of a page that was written since it was cleared. */
static bool soft_dirty(char *p)
{
	int fd = LAB_SETUP(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
	uint64_t entry = 0;

	LAB_EXPECT_EQ(pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)p / lab_page() * sizeof(entry))), sizeof(entry));
	close(fd);
	return entry >> 55 & 1;
}

static void g35_soft_dirty(void)
{
	char *p = grown();
	int i;

	for (i = 0; i < 8; i++)
		LAB_WRITES(lab_at(p, i), 1);
	LAB_SETUP(lab_write_file("/proc/self/clear_refs", "4"));
	LAB_EXPECT(!soft_dirty(lab_at(p, 5)));
	LAB_WRITES(lab_at(p, 5), 2);
	LAB_EXPECT(soft_dirty(lab_at(p, 5)));
	LAB_EXPECT(!soft_dirty(lab_at(p, 6)));
	p = LAB_GROW_TO(p, 8, 8, lab_hole(8, 0));	/* what is elsewhere now is news to who follows the bits */
	LAB_EXPECT(soft_dirty(lab_at(p, 5)));
	LAB_EXPECT(soft_dirty(lab_at(p, 6)));
}

/* ---- map_files: the object itself ---- */

static void g22_object_size(void)
{
	char *p = grown();

	close(lab_open_object(p));
	LAB_EXPECT_EQ(lab_object_pages(p), lab_provides("expand-enomem") ? 8 : 1);
	LAB_WRITES(lab_at(p, 3), 1);
	LAB_EXPECT_EQ(lab_object_pages(p), 8);
}

/* A larger object is a change, as a truncation to more is one. */
static void g22_object_times(void)
{
	char *p = lab_shared(2);
	struct stat before, after;
	int fd = lab_open_object(p);

	LAB_SETUP(fstat(fd, &before));
	lab_await_file_clock();
	p = LAB_GROW(p, 2, 8);
	LAB_READS(lab_at(p, 7), 0);	/* what is written sets them, whatever the object does */
	LAB_SETUP(fstat(fd, &after));
	LAB_EXPECT(before.st_mtim.tv_sec != after.st_mtim.tv_sec || before.st_mtim.tv_nsec != after.st_mtim.tv_nsec);
	LAB_EXPECT(before.st_ctim.tv_sec != after.st_ctim.tv_sec || before.st_ctim.tv_nsec != after.st_ctim.tv_nsec);
	close(fd);
}

/* What somebody truncates is gone; only a fault that extends brings the room back. */
static void g23_truncate(void)
{
	char *p = lab_shared(4);
	int fd = lab_open_object(p);

	LAB_WRITES(lab_at(p, 3), 3);
	LAB_SETUP(ftruncate(fd, (off_t)lab_page()));
	if (lab_provides("shm-expand") && !lab_provides("expand-enomem")) {
		LAB_READS(lab_at(p, 3), 0);
		LAB_WRITES(lab_at(p, 3), 4);
	} else {
		LAB_SIGBUS(lab_at(p, 3));
	}
	LAB_SETUP(ftruncate(fd, 4 * (off_t)lab_page()));
	LAB_WRITES(lab_at(p, 3), 4);
	LAB_READS(p, 0);
}

static void g24_second_view(void)
{
	char *p = lab_shared(2), *view;
	int fd = lab_open_object(p);

	view = LAB_EXPECT_OK(mmap(NULL, 2 * lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	LAB_WRITES(lab_at(p, 1), 5);
	LAB_READS(lab_at(view, 1), 5);
}

/* Truncation takes a private mapping's own copies, too. */
static void private_copy_is_cut_off(void)
{
	char *p = lab_shared(2), *view;
	int fd = lab_open_object(p);

	view = LAB_EXPECT_OK(mmap(NULL, 2 * lab_page(), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	LAB_WRITES(view, 1);
	LAB_WRITES(lab_at(view, 1), 1);
	LAB_SETUP(ftruncate(fd, (off_t)lab_page()));
	LAB_READS(view, 1);
	LAB_SIGBUS(lab_at(view, 1));
	lab_unmap(p, 2);
	lab_unmap(view, 2);
	close(fd);
}

/* A private mapping of the object may be of any length, and grow: that is no wish for the others to have more. */
static void g24_private_view(void)
{
	char *p = lab_shared(1), *view;
	int fd = lab_open_object(p);

	LAB_WRITES(p, 5);
	view = LAB_EXPECT_OK(mmap(NULL, 4 * lab_page(), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	LAB_READS(view, 5);
	LAB_SIGBUS(lab_at(view, 1));
	view = LAB_GROW(view, 4, 8);
	LAB_SIGBUS(lab_at(view, 7));
	LAB_WRITES(view, 6);
	LAB_READS(p, 5);
	LAB_OBJECT(p, 1);
	lab_unmap(view, 8);
	close(fd);
	private_copy_is_cut_off();
}

/* The write holds the inode's lock while it faults the grown part in. */
static void g25_pwrite_from_grown_part(void)
{
	char *p = grown();
	int fd = lab_open_object(p);

	LAB_EXPECT_EQ(LAB_EXPECT_OK(pwrite(fd, lab_at(p, 5), 8, 0)), 8);
	LAB_READS(p, 0);
	LAB_WRITES(lab_at(p, 7), 1);
}

static void g26_pwrite_memfd_to_itself(void)
{
	int fd = LAB_SETUP_OR_SKIP((int)syscall(SYS_memfd_create, "lab", 1U));
	char *p;

	LAB_SETUP(ftruncate(fd, (off_t)lab_page()));
	p = LAB_SETUP(mmap(NULL, lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	p = LAB_GROW(p, 1, 8);
	lab_catch_faults();	/* beside the EFAULT some kernels send a SIGBUS: sparc64, alpha (6.12) */
	LAB_EXPECT_ERRNO(pwrite(fd, lab_at(p, 5), 8, 0), EFAULT);
}

/* ---- another order of pages ---- */

/* The page of the object that is `index` pages into it at `p`; nothing is populated. */
static void show(char *p, unsigned long index)
{
#ifdef SYS_remap_file_pages
	if (!syscall(SYS_remap_file_pages, p, lab_page(), 0UL, index, (unsigned long)MAP_NONBLOCK))
		return;
	LAB_SKIP("remap_file_pages: %s", lab_errno(errno));	/* EINVAL: of another cache colour */
#else
	(void)p, (void)index;
	LAB_SKIP("no remap_file_pages");
#endif
}

static void g27_remapped_within(void)
{
	char *p = lab_shared_in_hole(4, 4);

	LAB_WRITES(lab_at(p, 2), 3);
	show(p, 2);
	LAB_READS(p, 3);
	LAB_WRITES(p, 4);
	LAB_READS(lab_at(p, 2), 4);
}

/* That is no growth by mremap: only where a touch extends may it do so here, too. */
static void g27_remapped_beyond(void)
{
	char *p = lab_shared_in_hole(4, 4);
	struct lab_fault fault;

	show(p, 6);
	if (!lab_provides("shm-expand") || lab_provides("expand-enomem"))
		LAB_SIGBUS(p);
	fault = lab_write(p, 1);
	LAB_EXPECT(fault.signo == 0 || fault.signo == SIGBUS);
	LAB_OBJECT(p, fault.signo ? 4 : 7);
	LAB_WRITES(lab_at(p, 2), 3);
}

/* ---- a core dump ---- */

static void dump_core(const char *directory, char *p)
{
	struct rlimit limit;

	LAB_SETUP(chdir(directory));
	LAB_SETUP(getrlimit(RLIMIT_CORE, &limit));
	limit.rlim_cur = limit.rlim_max;
	LAB_SETUP(setrlimit(RLIMIT_CORE, &limit));
	LAB_WRITES(p, 7);
	signal(SIGABRT, SIG_DFL);
	abort();
}

/* The core file in a directory, opened, and gone from there; the case is skipped where there is none. */
static int take_core(const char *directory)
{
	DIR *dir = LAB_SETUP(opendir(directory));
	struct dirent *entry;
	char path[2 * LAB_PATH];
	int core = -1;

	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, "core", 4))
			continue;
		snprintf(path, sizeof(path), "%s/%.64s", directory, entry->d_name);
		core = open(path, O_RDONLY | O_CLOEXEC);
		unlink(path);
	}
	closedir(dir);
	LAB_SETUP(rmdir(directory));
	if (core < 0)
		LAB_SKIP("no core file: RLIMIT_CORE, or core_pattern leads elsewhere");
	return core;
}

/* The piece of the core file that is of the mapping at `p`. */
static ElfW(Phdr) piece_of(int core, char *p)
{
	ElfW(Ehdr) header;
	ElfW(Phdr) piece;
	int i;

	LAB_EXPECT_EQ(pread(core, &header, sizeof(header), 0), sizeof(header));
	for (i = 0; i < header.e_phnum; i++) {
		LAB_EXPECT_EQ(pread(core, &piece, sizeof(piece), (off_t)header.e_phoff + i * (off_t)sizeof(piece)), sizeof(piece));
		if (piece.p_type == PT_LOAD && piece.p_vaddr == (uintptr_t)p)
			return piece;
	}
	LAB_FAIL("the core file does not have the mapping at %p", (void *)p);
}

static unsigned char byte_at(int core, off_t at)
{
	unsigned char byte = 0xff;

	LAB_EXPECT_EQ(pread(core, &byte, 1, at), 1);
	return byte;
}

/* A process with a grown mapping, the new part untouched, dumps core: all of the mapping, zeros where nothing was. */
static void g28_core_dump(void)
{
	char directory[] = "/tmp/lab-core-XXXXXX", *p = lab_shared(1), *target = lab_hole(64, 0);
	ElfW(Phdr) piece;
	int status, core;
	pid_t pid;

	LAB_SETUP(mkdtemp(directory));
	pid = lab_fork();
	if (!pid)
		dump_core(directory, LAB_GROW_TO(p, 1, 64, target));
	LAB_SETUP(waitpid(pid, &status, 0));
	core = take_core(directory);
	LAB_EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && WCOREDUMP(status));
	piece = piece_of(core, target);
	LAB_EXPECT_EQ(piece.p_memsz, 64 * lab_page());
	LAB_EXPECT_EQ(piece.p_filesz, 64 * lab_page());
	LAB_EXPECT_EQ(byte_at(core, (off_t)piece.p_offset), 7);
	LAB_EXPECT_EQ(byte_at(core, (off_t)piece.p_offset + (off_t)lab_page()), 0);
	LAB_EXPECT_EQ(byte_at(core, (off_t)(piece.p_offset + piece.p_filesz) - 1), 0);
	LAB_OBJECT(p, lab_provides("expand-enomem") ? 64 : 1);	/* a dump only looks */
}

static void g29_vmsplice(void)
{
	char *p = grown();
	struct iovec part = { lab_at(p, 5), 8 };
	int ends[2];

	LAB_SETUP(pipe(ends));
	LAB_EXPECT_EQ(LAB_EXPECT_OK(vmsplice(ends[1], &part, 1, 0)), 8);
}

LAB_CASES(
	{ LAB_CASE(g01_read_into), .about = "read() of a pipe into the grown part", EXPAND },
	{ LAB_CASE(g02_read_across_the_end), .about = "read() across the old end is whole", EXPAND },
	{ LAB_CASE(g03_write_from), .about = "write() from the grown part writes zeros", EXPAND },
	{ LAB_CASE(g04_process_vm_writev), .about = "process_vm_writev into the grown part", EXPAND,
	  .needs_config = "CROSS_MEMORY_ATTACH" },
	{ LAB_CASE(g05_proc_mem_write), .about = "/proc/PID/mem writes into the grown part", EXPAND },
	{ LAB_CASE(g06_ptrace_poke), .about = "PTRACE_POKEDATA into the grown part", EXPAND },
	{ LAB_CASE(g36_process_vm_readv), .about = "process_vm_readv beyond the end extends nothing", EXPAND,
	  .needs_config = "CROSS_MEMORY_ATTACH" },
	{ LAB_CASE(g36_proc_mem_read), .about = "reading /proc/PID/mem beyond the end extends nothing", EXPAND },
	{ LAB_CASE(g36_ptrace_peek), .about = "PTRACE_PEEKDATA beyond the end extends nothing", EXPAND },
	{ LAB_CASE(g07_populate_read), .about = "MADV_POPULATE_READ of the grown part", EXPAND },
	{ LAB_CASE(g07_populate_write), .about = "MADV_POPULATE_WRITE of the grown part", EXPAND },
	{ LAB_CASE(g08_mlock), .about = "mlock of the whole", EXPAND },
	{ LAB_CASE(g09_locked_growth_populated), .about = "growth of a locked mapping is populated", EXPAND },
	{ LAB_CASE(g10_mlock_on_fault), .about = "MLOCK_ONFAULT, then a touch", EXPAND },
	{ LAB_CASE(g11_mincore), .about = "mincore tells touched from untouched and extends nothing", EXPAND },
	{ LAB_CASE(g12_sync_and_advise), .about = "msync, MADV_DONTNEED, MADV_REMOVE on the grown part", EXPAND },
	{ LAB_CASE(g13_futex), .about = "a futex in the grown part", EXPAND },
	{ LAB_CASE(g14_smaps), .about = "smaps: Size is all, Rss and Pss what was touched", EXPAND },
	{ LAB_CASE(g15_maps), .about = "maps, smaps: one mapping, its name, offset and flags as ever" },
	{ LAB_CASE(g16_meminfo_shmem), .about = "Shmem in meminfo counts touched grown pages", EXPAND },
	{ LAB_CASE(g17_uffd_event), .about = "userfaultfd reports a missing grown page and fills it", EXPAND,
	  .needs_config = "USERFAULTFD" },
	{ LAB_CASE(g18_uffd_copy_first), .about = "UFFDIO_COPY beyond the object before any fault",
	  .needs_config = "USERFAULTFD" },
	{ LAB_CASE(g18_uffd_copy_within), .about = "UFFDIO_COPY within the object extends nothing", .needs_config = "USERFAULTFD" },
	{ LAB_CASE(g18_uffd_copy_next), .about = "UFFDIO_COPY of the page at the end of the object", EXPAND,
	  .needs_config = "USERFAULTFD" },
	{ LAB_CASE(g18_uffd_copy_across), .about = "UFFDIO_COPY across the end of the object", EXPAND,
	  .needs_config = "USERFAULTFD" },
	{ LAB_CASE(g18_uffd_copy_last_part), .about = "UFFDIO_COPY into the page in which the object ends",
	  .needs_config = "USERFAULTFD", .needs_root = true },
	{ LAB_CASE(g37_uffd_copy_private), .about = "UFFDIO_COPY into private memory", .needs_config = "USERFAULTFD" },
	{ LAB_CASE(g37_uffd_copy_memfd), .about = "UFFDIO_COPY into a memfd, and beyond its end", .needs_config = "USERFAULTFD" },
	{ LAB_CASE(g19_uffd_register), .about = "userfaultfd still takes shared anonymous memory",
	  .needs_config = "USERFAULTFD" },
	{ LAB_CASE(g20_anon_name), .about = "shared anonymous memory can still be named",
	  .needs_config = "ANON_VMA_NAME" },
	{ LAB_CASE(g21_io_uring_buffer), .about = "shared anonymous memory is still an io_uring buffer",
	  .needs_config = "IO_URING" },
	{ LAB_CASE(g22_object_size), .about = "map_files: size of the object after growth", EXPAND, .needs_root = true },
	{ LAB_CASE(g22_object_times), .about = "map_files: times of the object after growth", EXPAND, .needs_root = true },
	{ LAB_CASE(g23_truncate), .about = "map_files: truncated down and up", .needs_root = true },
	{ LAB_CASE(g24_second_view), .about = "map_files: a second mapping sees the data", .needs_root = true },
	{ LAB_CASE(g24_private_view), .about = "map_files: a private mapping does not extend the object", .needs_root = true },
	{ LAB_CASE(g25_pwrite_from_grown_part), .about = "pwrite to the object from its own grown part does not hang",
	  EXPAND, .needs_root = true, .timeout_s = 4 },
	{ LAB_CASE(g26_pwrite_memfd_to_itself), .about = "pwrite to a memfd from its own grown alias is EFAULT",
	  .timeout_s = 4 },
	{ LAB_CASE(g27_remapped_within), .about = "remap_file_pages within the object" },
	{ LAB_CASE(g27_remapped_beyond), .about = "remap_file_pages beyond the object is no growth by mremap" },
	{ LAB_CASE(g28_core_dump), .about = "a core dump of a grown mapping is whole, with zeros beyond", .needs_config = "ELF_CORE" },
	{ LAB_CASE(g30_uffd_before_growth), .about = "a userfaultfd from before growth watches it, in place and where it moves", EXPAND,
	  .needs_config = "USERFAULTFD" },
	{ LAB_CASE(g31_uffd_write_protected), .about = "userfaultfd reports a write to a protected grown page", EXPAND,
	  .needs_config = "USERFAULTFD" },
	{ LAB_CASE(g32_uffd_minor), .about = "userfaultfd reports a minor fault in the grown part", EXPAND,
	  .needs_config = "USERFAULTFD" },
	{ LAB_CASE(g33_io_uring_into), .about = "io_uring reads into the grown part as its registered buffer", EXPAND,
	  .needs_config = "IO_URING" },
	{ LAB_CASE(g34_direct_io), .about = "O_DIRECT from and to a disk (ext2) with the grown part", EXPAND,
	  .needs_root = true, .needs_config = "EXT2_FS ZRAM" },
	{ LAB_CASE(g35_soft_dirty), .about = "soft-dirty bits of grown pages", EXPAND, .needs_root = true,
	  .needs_config = "MEM_SOFT_DIRTY" },
	{ LAB_CASE(g29_vmsplice), .about = "vmsplice of the grown part", EXPAND },
	LAB_NO_CASE("G29", "its KVM memory slot only: an emulated guest has no KVM of its own; vmsplice takes the same path"),
)

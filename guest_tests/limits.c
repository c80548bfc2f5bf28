/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Group C: exact boundaries, resource limits, overcommit, and what a refused growth leaves behind. */
#include "lab.h"
#include "lab_refusal.h"

#define EXPAND .requires = "shm-expand"
#define ENOMEM_BY_MREMAP .requires = "expand-enomem"

/* ---- boundaries and signals ---- */

static void c01_last_byte(void)
{
	char *p = lab_shared_in_hole(4, 9);

	LAB_GROW_IN_PLACE(p, 4, 8);
	LAB_WRITES(lab_at(p, 4) - 1, 1);
	LAB_WRITES(lab_at(p, 4), 2);
	LAB_WRITES(lab_at(p, 4) + 1, 3);
	LAB_WRITES(lab_at(p, 5) - 1, 4);
	LAB_WRITES(lab_at(p, 8) - 1, 5);
	LAB_SIGSEGV(lab_at(p, 8));
}

/* Whatever cannot be granted at the touch is SIGBUS, BUS_ADRERR, in the page that was touched. */
static void c02_siginfo(void)
{
	long more = lab_more_than_memory();
	char *p = lab_shared(1);

	if (lab_provides("expand-enomem")) {
		LAB_EXPECT_ERRNO(lab_mremap(p, 1, 1 + more, MREMAP_MAYMOVE, NULL), ENOMEM);
		return;
	}
	p = LAB_GROW(p, 1, 1 + more);
	LAB_SIGBUS(lab_at(p, 1));
	LAB_SIGBUS(lab_at(p, 2) + 1);
	LAB_SIGBUS(lab_at(p, 1 + more) - 1);
}

static void c03_after_the_mapping(void)
{
	char *p = lab_shared_in_hole(1, 5);

	LAB_GROW_IN_PLACE(p, 1, 4);
	LAB_SIGSEGV(lab_at(p, 4));
	LAB_WRITES(p, 1);
}

/* ---- resource limits ---- */

static volatile sig_atomic_t file_size_signals;

static void on_file_size(int signo)
{
	(void)signo;
	file_size_signals++;
}

static void c04_rlimit_fsize(void)
{
	int fd = (int)LAB_SETUP_OR_SKIP(syscall(SYS_memfd_create, "lab", 1U));
	char *p;

	signal(SIGXFSZ, on_file_size);
	lab_limit(RLIMIT_FSIZE, lab_page());
	p = LAB_GROW(lab_shared(1), 1, 16);
	LAB_WRITES(lab_at(p, 15), 1);
	LAB_EXPECT_EQ(file_size_signals, 0);
	LAB_EXPECT_OK(ftruncate(fd, lab_page()));
	LAB_EXPECT_ERRNO(ftruncate(fd, lab_page() + 1), EFBIG);	/* a file is what it does bound */
	LAB_EXPECT_EQ(file_size_signals, 1);
}

static void c05_rlimit_as(void)
{
	char *p = lab_shared(1);

	LAB_WRITES(p, 7);
	lab_limit_address_space(8);
	LAB_EXPECT_ERRNO(lab_mremap(p, 1, 512, MREMAP_MAYMOVE, NULL), ENOMEM);
	LAB_OBJECT(p, 1);
	LAB_READS(p, 7);
}

/* A mapping that moves is there once, at any time: the largest size that the process has had is the one it has now. */
static void moves_do_not_raise_the_peak(void)
{
	char *p = lab_shared_blocked(64);
	long below = lab_pages((unsigned long long)(lab_status_kb("VmPeak") - lab_status_kb("VmSize")) << 10);

	LAB_SETUP(lab_map(below + 64, PROT_READ, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE));
	LAB_EXPECT_EQ(lab_status_kb("VmPeak"), lab_status_kb("VmSize"));
	LAB_GROW(p, 64, 65);
	LAB_EXPECT_EQ(lab_status_kb("VmPeak"), lab_status_kb("VmSize"));
}

/* What RLIMIT_AS counts is the mapping's length, whatever the object has; a growth that fails counts for nothing. */
static void c05_counted_as_address_space(void)
{
	char *p = lab_shared_blocked(1), *area;
	long kb = (long)(lab_page() >> 10), before = lab_status_kb("VmSize");

	LAB_EXPECT_ERRNO(lab_mremap(p, 1, 513, 0, NULL), ENOMEM);
	LAB_EXPECT_EQ(lab_status_kb("VmSize") - before, 0);
	p = LAB_GROW(p, 1, 513);
	LAB_EXPECT_EQ(lab_status_kb("VmSize") - before, 512 * kb);
	lab_write(lab_at(p, 512), 1);
	LAB_EXPECT_EQ(lab_status_kb("VmSize") - before, 512 * kb);
	area = LAB_DUP_TO(p, 64, lab_hole(64, 0));
	LAB_EXPECT_EQ(lab_status_kb("VmSize") - before, (512 + 64) * kb);
	LAB_EXPECT_OK(lab_mremap(p, 513, 1, 0, NULL));
	lab_unmap(area, 64);
	LAB_EXPECT_EQ(lab_status_kb("VmSize") - before, 0);
	LAB_GROW_IN_PLACE(lab_shared_in_hole(1, 9), 1, 9);
	LAB_EXPECT_EQ(lab_status_kb("VmSize") - before, 9 * kb);
	moves_do_not_raise_the_peak();
}

static void c06_childs_rlimit_as(void)
{
	char *p = lab_shared(1), *large = lab_shared(512);
	pid_t pid = lab_fork();

	if (!pid) {
		lab_limit_address_space(8);
		LAB_EXPECT_ERRNO(lab_mremap(p, 1, 512, MREMAP_MAYMOVE, NULL), ENOMEM);
		LAB_EXPECT_ERRNO(lab_mremap(p, 0, 512, MREMAP_MAYMOVE, NULL), ENOMEM);
		if (!lab_kernel_before(5, 13))
			LAB_EXPECT_ERRNO(lab_mremap(large, 512, 512, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL), ENOMEM);
		_exit(0);
	}
	lab_join(pid);
	p = LAB_GROW(p, 1, 512);
	LAB_WRITES(lab_at(p, 511), 1);
}

static void c07_rlimit_memlock(void)
{
	char *p = lab_shared(1), *area = lab_shared(4), *full = lab_at(area, 1);

	lab_limit(RLIMIT_MEMLOCK, 2 * lab_page());
	lab_drop_root();
	LAB_SETUP(mlock(p, lab_page()));
	LAB_EXPECT_ERRNO(lab_mremap(p, 1, 512, MREMAP_MAYMOVE, NULL), EAGAIN);
	LAB_WRITES(p, 1);
	/* What is locked already may be locked again at the limit, and what is unlocked makes room. */
	LAB_EXPECT_OK(munlock(p, lab_page()));
	LAB_EXPECT_OK(mlock(full, 2 * lab_page()));
	LAB_EXPECT_OK(mlock(full, 2 * lab_page()));
	LAB_EXPECT_ERRNO(mlock(area, lab_page()), ENOMEM);
	LAB_EXPECT_ERRNO(mlock(area, 2 * lab_page()), ENOMEM);	/* of which one is locked */
	LAB_EXPECT_ERRNO(mlock(lab_at(area, 2), 2 * lab_page()), ENOMEM);
	LAB_EXPECT_ERRNO(mlock(lab_at(area, 3), lab_page()), ENOMEM);
	LAB_EXPECT_OK(munlock(full, lab_page()));
	LAB_EXPECT_OK(mlock(p, lab_page()));
	lab_limit(RLIMIT_MEMLOCK, 0);
	LAB_EXPECT_ERRNO(mlock(p, lab_page()), EPERM);
	LAB_EXPECT_OK(munlock(p, lab_page()));
}

/* A child has the memory, and has nothing locked. */
static void not_locked_in_child(char *p, long pages)
{
	pid_t pid;

	LAB_EXPECT(lab_vma_has(p, "lo"));
	pid = lab_fork();
	if (!pid) {
		LAB_EXPECT(!lab_vma_has(p, "lo"));
		LAB_EXPECT_EQ(lab_status_kb("VmLck"), 0);
		lab_unmap(p, pages);
		LAB_EXPECT_EQ(lab_status_kb("VmLck"), 0);
		_exit(0);
	}
	lab_join(pid);
}

/* Locked again, in another way or by parts: each page counts once.  Up to a hole, a range is locked all the same. */
static void each_page_counts_once(long kb)
{
	long before = lab_status_kb("VmLck");
	char *p = lab_shared_in_hole(4, 8);

	LAB_EXPECT_OK(mlock(p, 4 * lab_page()));
	LAB_EXPECT_OK(mlock(p, 2 * lab_page()));
	LAB_EXPECT_OK(syscall(SYS_mlock2, p, 4 * lab_page(), 1U));
	LAB_EXPECT_EQ(lab_status_kb("VmLck") - before, 4 * kb);
	LAB_EXPECT_OK(munlock(lab_at(p, 1), lab_page()));
	LAB_EXPECT_EQ(lab_status_kb("VmLck") - before, 3 * kb);
	LAB_EXPECT(!lab_vma_has(lab_at(p, 1), "lo"));
	LAB_EXPECT(lab_vma_has(lab_at(p, 2), "lo"));
	LAB_EXPECT_ERRNO(mlock(p, 5 * lab_page()), ENOMEM);
	LAB_EXPECT_EQ(lab_status_kb("VmLck") - before, 4 * kb);
	LAB_EXPECT_OK(munlock(p, 4 * lab_page()));
	LAB_GROW_IN_PLACE(p, 4, 8);
	LAB_EXPECT_EQ(lab_status_kb("VmLck") - before, 0);
}

/* Two bytes on two pages lock both; no bytes lock nothing, and bytes around the end of all addresses are no range. */
static void whole_pages_are_locked(long kb)
{
	long before = lab_status_kb("VmLck");
	char *p = lab_shared(4);

	LAB_EXPECT_OK(mlock(lab_at(p, 2) - 1, 2));
	LAB_EXPECT_EQ(lab_status_kb("VmLck") - before, 2 * kb);
	LAB_EXPECT(!lab_vma_has(p, "lo"));
	LAB_EXPECT(lab_vma_has(lab_at(p, 1), "lo"));
	LAB_EXPECT(lab_vma_has(lab_at(p, 2), "lo"));
	LAB_EXPECT_OK(munlock(lab_at(p, 2) - 1, 1));
	LAB_EXPECT_EQ(lab_status_kb("VmLck") - before, kb);
	LAB_EXPECT_OK(mlock(p, 0));
	LAB_EXPECT_ERRNO(munlock(lab_at(p, 1), -lab_page()), EINVAL);
	LAB_EXPECT_EQ(lab_status_kb("VmLck") - before, kb);
	lab_unmap(p, 4);
	LAB_EXPECT_EQ(lab_status_kb("VmLck") - before, 0);
}

/* What RLIMIT_MEMLOCK counts: the length of what is locked, once. */
static void c07_counted_as_locked(void)
{
	long kb = (long)(lab_page() >> 10), before = lab_status_kb("VmLck");
	char *p = lab_shared_blocked(1), *area;

	LAB_SETUP_OR_SKIP(mlock(p, lab_page()));
	LAB_EXPECT_ERRNO(lab_mremap(p, 1, 9, 0, NULL), ENOMEM);
	LAB_EXPECT_EQ(lab_status_kb("VmLck") - before, kb);
	p = LAB_GROW(p, 1, 9);
	LAB_EXPECT_EQ(lab_status_kb("VmLck") - before, 9 * kb);
	area = LAB_DUP_TO(p, 4, lab_hole(4, 0));
	LAB_EXPECT_EQ(lab_status_kb("VmLck") - before, (9 + 4) * kb);
	lab_unmap(area, 4);
	lab_unmap(p, 9);
	LAB_EXPECT_EQ(lab_status_kb("VmLck") - before, 0);
	each_page_counts_once(kb);
	whole_pages_are_locked(kb);
	p = lab_shared_in_hole(1, 9);
	LAB_SETUP(mlock(p, lab_page()));
	LAB_GROW_IN_PLACE(p, 1, 9);
	LAB_EXPECT_EQ(lab_status_kb("VmLck") - before, 9 * kb);
	not_locked_in_child(p, 9);
	if (lab_kernel_before(5, 13))
		return;
	area = LAB_EXPECT_OK(lab_mremap(p, 9, 9, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL));
	LAB_EXPECT(lab_vma_has(area, "lo"));
	LAB_EXPECT(!lab_vma_has(p, "lo"));	/* nor is what stays behind */
	if (lab_kernel_before(6, 13) || !lab_kernel_before(7, 2))	/* 6.18 counts it twice, 6.12 and 7.2 do not */
		LAB_EXPECT_EQ(lab_status_kb("VmLck") - before, 9 * kb);
}

static void c08_rlimit_data(void)
{
	char *p = lab_shared(1);

	lab_limit(RLIMIT_DATA, lab_page());
	p = LAB_GROW(p, 1, 64);
	if (lab_provides("shm-expand"))
		LAB_WRITES(lab_at(p, 63), 1);
}

/* ---- strict overcommit ---- */

static void c09_strict_overcommit(void)
{
	long more = lab_strict_overcommit();
	long long start = lab_now_ms();

	lab_refused_growth(lab_shared(1), 1, more);
	LAB_EXPECT(lab_now_ms() - start < lab_scaled(2000));
}

static void c09_enomem_by_mremap(void)
{
	long more = lab_strict_overcommit();
	char *p = lab_shared(1);

	LAB_EXPECT_ERRNO(lab_mremap(p, 1, 1 + more, MREMAP_MAYMOVE, NULL), ENOMEM);
}

/* Pages that are inside the object work before and after, though nobody had touched them. */
static void c10_old_pages_still_work(void)
{
	long more = lab_strict_overcommit();
	char *p = lab_shared(4);

	LAB_WRITES(p, 1);
	p = lab_refused_growth(p, 4, more);
	LAB_READS(p, 1);
	LAB_WRITES(lab_at(p, 1), 2);
	LAB_READS(lab_at(p, 2), 0);
	LAB_WRITES(lab_at(p, 3), 3);
}

static void c11_no_fault_oom(void)
{
	int flags = MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE;
	char *unpaid = LAB_GROW(LAB_SETUP(lab_map(1, PROT_READ | PROT_WRITE, flags)), 1, 8);
	long more = lab_strict_overcommit();
	int log = LAB_SETUP_OR_SKIP(open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
	char record[BUFSIZ];
	ssize_t got;

	LAB_SETUP(lseek(log, 0, SEEK_END));
	lab_refused_growth(lab_shared(1), 1, more);
	lab_commit_limit(1);	/* more is committed already, so that not even a page can be paid for when it is touched */
	LAB_SIGBUS(unpaid);
	LAB_SIGBUS(lab_at(unpaid, 7));
	while ((got = read(log, record, sizeof(record) - 1)) > 0 || (got < 0 && errno == EPIPE)) {
		record[got > 0 ? got : 0] = 0;
		if (strstr(record, "VM_FAULT_OOM"))
			LAB_FAIL("the kernel says: %.200s", record);
	}
}

static void c12_fixed_growth_refused(void)
{
	long more = lab_strict_overcommit();
	char *p = lab_shared(1), *target = lab_hole(1 + more, 0);

	LAB_WRITES(p, 7);
	LAB_EXPECT_ERRNO(lab_mremap(p, 1, 1 + more, MREMAP_MAYMOVE | MREMAP_FIXED, target), ENOMEM);
	LAB_READS(p, 7);
	LAB_OBJECT(p, 1);
}

/* ---- what growth costs, and when ---- */

static void c13_committed(void)
{
	long before = lab_committed();
	char *p = lab_shared(512);

	LAB_COMMITTED(before, 512);
	p = LAB_GROW(p, 512, 1024);
	LAB_COMMITTED(before, lab_provides("expand-enomem") ? 1024 : 512);
	LAB_WRITES(lab_at(p, 600), 1);
	LAB_COMMITTED(before, 1024);
	LAB_WRITES(lab_at(p, 1023), 1);
	LAB_COMMITTED(before, 1024);
	lab_unmap(p, 1024);
	LAB_COMMITTED(before, 0);
}

static void c14_noreserve(void)
{
	int flags = MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE;
	long before = lab_committed(), i;
	char *p = LAB_SETUP(lab_map(1, PROT_READ | PROT_WRITE, flags));

	p = LAB_GROW(p, 1, 1024);
	LAB_COMMITTED(before, 0);
	LAB_WRITES(lab_at(p, 1023), 1);
	LAB_COMMITTED(before, 1);
	for (i = 256; i < 512; i++)
		LAB_WRITES(lab_at(p, i), 1);
	LAB_COMMITTED(before, 257);
}

static void grow_to_a_tebibyte(int flags)
{
	long pages = lab_pages(1ULL << 40);
	char *p;

	lab_need_room(pages);
	LAB_SET(OVERCOMMIT, "1");
	p = LAB_SETUP(lab_map(1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | flags));
	p = LAB_GROW(p, 1, pages);
	LAB_WRITES(lab_at(p, 1), 1);
	LAB_WRITES(lab_at(p, pages / 2), 2);
	LAB_WRITES(lab_at(p, pages - 1), 3);
	LAB_READS(lab_at(p, pages / 2 + 1), 0);
}

static void c15_tebibyte(void)
{
	grow_to_a_tebibyte(0);
}

static void c15_tebibyte_noreserve(void)
{
	grow_to_a_tebibyte(MAP_NORESERVE);
}

static void c16_more_than_memory(void)
{
	lab_refused_growth(lab_shared(1), 1, lab_more_than_memory());
}

static void c16_enomem_by_mremap(void)
{
	char *p = lab_shared(1);

	LAB_EXPECT_ERRNO(lab_mremap(p, 1, lab_more_than_memory(), MREMAP_MAYMOVE, NULL), ENOMEM);
}

/* ---- memory cgroup ---- */

static void c17_memcg_kill(void)
{
	long pages = lab_pages(16ULL << 20), i;
	const char *group = lab_memory_cgroup("lab-c17", "8M");
	char *p = lab_shared(1);
	int status;
	pid_t pid;

	pid = lab_fork();
	if (!pid) {
		lab_join_cgroup(group);
		p = LAB_GROW(p, 1, pages);
		for (i = 1; i < pages; i++)
			LAB_WRITES(lab_at(p, i), 1);
		LAB_FAIL("touched 16 MiB in a cgroup of 8 MiB");
	}
	LAB_SETUP(waitpid(pid, &status, 0));
	if (WIFEXITED(status))
		_exit(WEXITSTATUS(status));
	LAB_EXPECT_EQ(WTERMSIG(status), SIGKILL);
}

/* Who touches a grown page first pays for it, though the object is older, and another's, too. */
static void c17_memcg_charge(void)
{
	long pages = lab_pages(4 << 20), slack = 64 * lab_cpus() + lab_pages(1 << 20), i;
	const char *group = lab_cgroup("lab-c17", "memory");
	char path[LAB_PATH], text[32], *p = lab_shared(1);
	long long paid;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/memory.current", group);
	pid = lab_fork();
	if (!pid) {
		lab_join_cgroup(group);
		p = LAB_GROW(p, 1, 1 + 2 * pages);
		for (i = 1; i <= pages; i++)
			LAB_WRITES(lab_at(p, i), 1);
		_exit(0);
	}
	lab_join(pid);
	p = LAB_GROW(p, 1, 1 + 2 * pages);
	for (i = 1; i <= 2 * pages; i++)
		LAB_WRITES(lab_at(p, i), 1);
	LAB_SETUP(lab_slurp(path, text, sizeof(text)));
	paid = atoll(text) / (long long)lab_page();
	if (paid < pages || paid > pages + slack)	/* CPUs pay for 64 pages in advance */
		LAB_FAIL("the cgroup pays for %lld pages, expected %ld to %ld", paid, pages, pages + slack);
}

/* ---- failures leave nothing behind ---- */

/* No piece of a mapping can become a mapping of its own at the limit, which changes nothing; a whole one may change. */
static void no_pieces_at_the_limit(void)
{
	size_t size = 2 * lab_page();
	char *p = lab_shared(4);
	long locked = lab_status_kb("VmLck");

	LAB_WRITES(lab_at(p, 1), 1);
	lab_limit_map_count(0);
	LAB_EXPECT_ERRNO(munmap(lab_at(p, 1), size), ENOMEM);
	LAB_EXPECT_ERRNO(mprotect(lab_at(p, 1), size, PROT_READ), ENOMEM);
	LAB_EXPECT_ERRNO(mlock(lab_at(p, 1), size), ENOMEM);
	LAB_EXPECT(madvise(lab_at(p, 1), size, MADV_DONTFORK) < 0);	/* ENOMEM of old kernels, EAGAIN of new ones */
	LAB_READS(lab_at(p, 1), 1);
	LAB_WRITES(lab_at(p, 2), 2);
	LAB_EXPECT_EQ(lab_status_kb("VmLck"), locked);
	LAB_EXPECT_OK(mprotect(p, 2 * size, PROT_READ));
	LAB_EXPECT_OK(munmap(p, 2 * size));
}

static void c18_map_count(void)
{
	char *p = lab_shared_blocked(1);
	long before = lab_committed();

	lab_limit_map_count(3);	/* one more would do */
	LAB_EXPECT_ERRNO(lab_mremap(p, 1, 512, MREMAP_MAYMOVE, NULL), ENOMEM);
	LAB_COMMITTED(before, 0);
	LAB_OBJECT(p, 1);
	LAB_WRITES(p, 1);
	no_pieces_at_the_limit();
}

/* A growth of 511 pages that fails with `wanted` neither costs nor changes anything. */
#define FAILS_FREE(p, call, wanted)				\
	do {							\
		long before_ = lab_committed();			\
		LAB_EXPECT_ERRNO(call, wanted);			\
		LAB_COMMITTED(before_, 0);			\
		LAB_OBJECT(p, 1);				\
		LAB_WRITES(p, 1);				\
	} while (0)

static void c19_no_room(void)
{
	char *p = lab_shared_blocked(1);

	FAILS_FREE(p, lab_mremap(p, 1, 512, 0, NULL), ENOMEM);
}

/* Map whatever is left of the address space, largest pieces first. */
static void use_up_addresses(void)
{
	volatile char stack[256 << 10];	/* which cannot grow any more when all around it is mapped */
	size_t i, size;

	for (i = 0; i < sizeof(stack); i += lab_page())
		stack[i] = 1;
	for (size = SIZE_MAX / 4 + 1; size >= lab_page(); size /= 2)
		while (mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED)
			;
}

/* Nothing forbids this growth, only there are no addresses for it: what was set aside must be given back. */
static void c19_no_addresses_left(void)
{
	char *p = lab_shared(1);

	use_up_addresses();
	FAILS_FREE(p, lab_mremap(p, 1, 512, MREMAP_MAYMOVE, NULL), ENOMEM);
	FAILS_FREE(p, lab_mremap(p, 1, 512, 0, NULL), ENOMEM);
}

static void c19_rlimit_as(void)
{
	char *p = lab_shared(1);

	lab_limit_address_space(8);
	FAILS_FREE(p, lab_mremap(p, 1, 512, MREMAP_MAYMOVE, NULL), ENOMEM);
}

static void c19_rlimit_memlock(void)
{
	char *p = lab_shared(1);

	lab_limit(RLIMIT_MEMLOCK, 2 * lab_page());
	lab_drop_root();
	LAB_SETUP(mlock(p, lab_page()));
	FAILS_FREE(p, lab_mremap(p, 1, 512, MREMAP_MAYMOVE, NULL), EAGAIN);
}

/* Address 0 is for nobody but root, by mmap_min_addr. */
static void nobody_moves_to_zero(char *p)
{
	char least[32];
	pid_t pid;

	if (lab_setting("/proc/sys/vm/mmap_min_addr", least, sizeof(least)) < 0 || !strcmp(least, "0"))
		return;
	pid = lab_fork();
	if (!pid) {
		lab_drop_root();
		LAB_EXPECT(lab_mremap(p, 1, 1, MREMAP_MAYMOVE | MREMAP_FIXED, NULL) == MAP_FAILED);
		LAB_WRITES(p, 2);
		_exit(0);
	}
	lab_join(pid);
}

static void c19_bad_target(void)
{
	char *p = lab_shared(1), *hole = lab_hole(513, 0);
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
	char *no_users = (char *)-(16 * (uintptr_t)lab_page());	/* addresses of the kernel's, or of nobody */

	FAILS_FREE(p, lab_mremap(p, 1, 512, flags, hole + 1), EINVAL);
	FAILS_FREE(p, lab_mremap(p, 1, 512, flags, no_users), EINVAL);
	FAILS_FREE(p, lab_mremap(p, 1, 512, flags, lab_at(p, -8)), EINVAL);
	FAILS_FREE(p, lab_mremap(p, 1, 512, 1 << 30, NULL), EINVAL);
	FAILS_FREE(p, lab_mremap(p, 1, 512, MREMAP_FIXED, hole), EINVAL);
	FAILS_FREE(p, lab_mremap(p, 1, 0, MREMAP_MAYMOVE, NULL), EINVAL);
	FAILS_FREE(p, lab_mremap(p, 1, 512, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL), EINVAL);
	nobody_moves_to_zero(p);
}

static void c19_two_mappings(void)
{
	char *p = lab_shared_in_hole(1, 2);

	/* Private: a shared one may not start at any page where caches alias. */
	LAB_SETUP(mmap(lab_at(p, 1), lab_page(), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	FAILS_FREE(p, lab_mremap(p, 2, 512, MREMAP_MAYMOVE, NULL), EFAULT);
}

/* ---- the last page that a file can have ---- */

/* The first page that no file can have: bytes of files are counted in 63 bits, and their pages in an unsigned long. */
static unsigned long long first_impossible_page(void)
{
	return sizeof(long) < 8 ? 1ULL << 32 : (unsigned long long)LLONG_MAX / lab_page() + 1;
}

/* Four pages of a new object, far behind its end: `room` pages before page `end`.  Only remap_file_pages leads there. */
static char *pages_before(unsigned long long end, long *room)
{
	char *hole = lab_hole(4, 0), *p;

	if (lab_compat())
		LAB_SKIP("a 64-bit kernel's last page is out of a 32-bit program's reach");
	p = LAB_SETUP(mmap(hole, 4 * lab_page(), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0));
	*room = (long)(LAB_COLOUR / lab_page());
#ifdef SYS_remap_file_pages
	LAB_SETUP_OR_SKIP(syscall(SYS_remap_file_pages, p, 4 * lab_page(), 0UL, (unsigned long)(end - (unsigned long)*room),
				  (unsigned long)MAP_NONBLOCK));
#else
	(void)end;
	LAB_SKIP("no remap_file_pages");
#endif
	return p;
}

/* Where pages are counted in 32 bits, only half of them: what is accounted for is counted in a long. */
static void c20_up_to_the_last_page(void)
{
	long room;
	char *p = pages_before(sizeof(long) < 8 ? 1ULL << 31 : first_impossible_page(), &room);

	p = LAB_GROW(p, 4, room - 1);
	LAB_WRITES(lab_at(p, room - 2), 1);
	LAB_WRITES(p, 2);
	LAB_READS(lab_at(p, room - 2), 1);
}

/* Four pages far behind the end of their object grow to `room`, of which the last is none that an object can have. */
static void grow_too_far(char *p, long room, bool refused)
{
	long before = lab_committed();

	if (refused) {
		LAB_EXPECT_ERRNO(lab_mremap(p, 4, room, MREMAP_MAYMOVE, NULL), EINVAL);
	} else {
		p = LAB_GROW(p, 4, room);
		LAB_SIGBUS(lab_at(p, room - 1));
	}
	LAB_COMMITTED(before, 0);
}

/* Where pages are counted in 32 bits, mremap sees that their numbers would wrap round, and always has. */
static void c20_past_the_last_page(void)
{
	long room;
	char *p = pages_before(first_impossible_page(), &room);

	grow_too_far(p, room, sizeof(long) < 8 || lab_provides("expand-enomem"));
}

/* Through map_files any offset can be mapped.  There is no room behind the mapping, so it would have to move. */
static void c20_moved_past_the_last_page(void)
{
	long room = (long)(LAB_COLOUR / lab_page());
	off_t offset = (off_t)((first_impossible_page() - (unsigned long long)room) * lab_page());
	char *p = lab_shared_blocked(4);
	struct lab_vma vma;
	int fd = lab_open_object(p);

	LAB_SETUP(mmap(p, 4 * lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, offset));
	close(fd);
	LAB_EXPECT(lab_find_vma("/proc/self/maps", p, &vma));
	LAB_EXPECT_EQ(vma.offset, offset);
	LAB_OBJECT(p, 4);
	grow_too_far(p, room, lab_provides("expand-enomem"));
}

/* What is accounted for is counted in a long: more pages than that would be given back where they should be paid for. */
static void c20_past_what_accounting_counts(void)
{
	long room;
	char *p;

	if (sizeof(long) >= 8)
		LAB_SKIP("accounting counts further than a file can reach");
	p = pages_before(1ULL << 31, &room);
	grow_too_far(p, room, lab_provides("expand-enomem"));
}

/* ---- a program that helps itself ---- */

static struct {
	char *page;
	int fd;
	volatile sig_atomic_t calls;
} rescue;

/* Whatever is missing at the page: let the file have it, or put private memory there. */
static void on_missing_page(int signo)
{
	(void)signo;
	if (rescue.calls++ > 3)
		_exit(1);
	if (rescue.fd >= 0)
		ftruncate(rescue.fd, 8 * (off_t)lab_page());
	else
		mmap(rescue.page, lab_page(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

/* Write to the last of 8 pages; what the handler does there counts, and the write goes on. */
static void write_with_rescue(char *p, int fd, int wanted_calls)
{
	struct sigaction action = { .sa_handler = on_missing_page };

	rescue.page = lab_at(p, 7);
	rescue.fd = fd;
	LAB_SETUP(sigaction(SIGBUS, &action, NULL));
	*(volatile char *)rescue.page = 5;
	LAB_EXPECT_EQ(*(volatile char *)rescue.page, 5);
	LAB_EXPECT_EQ(rescue.calls, wanted_calls);
}

static void c21_handler_mends_it(void)
{
	char *p = LAB_GROW(lab_shared(1), 1, 8);

	write_with_rescue(p, -1, lab_provides("shm-expand") ? 0 : 1);
}

static void c21_handler_mends_a_memfd(void)
{
	int fd = LAB_SETUP_OR_SKIP((int)syscall(SYS_memfd_create, "lab", 1U));
	char *p;

	LAB_SETUP(ftruncate(fd, (off_t)lab_page()));
	p = LAB_SETUP(mmap(NULL, lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	write_with_rescue(LAB_GROW(p, 1, 8), fd, 1);
}

LAB_CASES(
	{ LAB_CASE(c01_last_byte), .about = "usable to the last byte of the mapping, not one further", EXPAND },
	{ LAB_CASE(c02_siginfo), .about = "what is refused at the touch is SIGBUS, BUS_ADRERR, in that page" },
	{ LAB_CASE(c03_after_the_mapping), .about = "the first page after the mapping is SIGSEGV" },
	{ LAB_CASE(c04_rlimit_fsize), .about = "RLIMIT_FSIZE plays no part, no SIGXFSZ", EXPAND },
	{ LAB_CASE(c05_rlimit_as), .about = "RLIMIT_AS bounds growth: ENOMEM, object unchanged" },
	{ LAB_CASE(c05_counted_as_address_space), .about = "what RLIMIT_AS counts: lengths of mappings, exactly" },
	{ LAB_CASE(c06_childs_rlimit_as), .about = "RLIMIT_AS of a child does not bound the parent", EXPAND },
	{ LAB_CASE(c07_rlimit_memlock), .about = "growth of a locked mapping over RLIMIT_MEMLOCK is EAGAIN" },
	{ LAB_CASE(c07_counted_as_locked), .about = "what RLIMIT_MEMLOCK counts: lengths of what is locked" },
	{ LAB_CASE(c08_rlimit_data), .about = "RLIMIT_DATA plays no part" },
	{ LAB_CASE(c09_strict_overcommit), .about = "growth over CommitLimit is refused within 2 s, nothing hangs",
	  .needs_root = true, .timeout_s = 4 },
	{ LAB_CASE(c09_enomem_by_mremap), .about = "growth over CommitLimit is refused by mremap itself",
	  ENOMEM_BY_MREMAP, .needs_root = true },
	{ LAB_CASE(c10_old_pages_still_work), .about = "a refused growth leaves untouched old pages usable",
	  .needs_root = true, .timeout_s = 4 },
	{ LAB_CASE(c11_no_fault_oom), .about = "a refused growth does not leak VM_FAULT_OOM into the log",
	  .needs_root = true, .timeout_s = 4 },
	{ LAB_CASE(c12_fixed_growth_refused), .about = "a refused MREMAP_FIXED growth leaves the source intact",
	  ENOMEM_BY_MREMAP, .needs_root = true },
	{ LAB_CASE(c13_committed), .about = "Committed_AS moves once, by the growth", EXPAND },
	{ LAB_CASE(c14_noreserve), .about = "MAP_NORESERVE growth is paid for page by page", EXPAND },
	{ LAB_CASE(c15_tebibyte), .about = "overcommit 1: grown to 1 TiB, a few pages touched", EXPAND,
	  .needs_root = true },
	{ LAB_CASE(c15_tebibyte_noreserve), .about = "overcommit 1, MAP_NORESERVE: likewise", EXPAND,
	  .needs_root = true },
	{ LAB_CASE(c16_more_than_memory), .about = "overcommit 0: growth over memory and swap is refused" },
	{ LAB_CASE(c16_enomem_by_mremap), .about = "overcommit 0: mremap itself refuses it", ENOMEM_BY_MREMAP },
	{ LAB_CASE(c17_memcg_kill), .about = "over the memory cgroup's limit: killed, no livelock", EXPAND,
	  .needs_root = true, .needs_config = "MEMCG" },
	{ LAB_CASE(c17_memcg_charge), .about = "a grown page is charged to the memory cgroup that touched it first", EXPAND,
	  .needs_root = true, .needs_config = "MEMCG" },
	{ LAB_CASE(c18_map_count), .about = "too many mappings: ENOMEM, nothing changed", .needs_root = true },
	{ LAB_CASE(c19_no_room), .about = "failed growth costs nothing: no room" },
	{ LAB_CASE(c19_no_addresses_left), .about = "failed growth costs nothing: no addresses left" },
	{ LAB_CASE(c19_rlimit_as), .about = "failed growth costs nothing: RLIMIT_AS" },
	{ LAB_CASE(c19_rlimit_memlock), .about = "failed growth costs nothing: RLIMIT_MEMLOCK" },
	{ LAB_CASE(c19_bad_target), .about = "failed growth costs nothing: bad target, bad flags, no length" },
	{ LAB_CASE(c19_two_mappings), .about = "failed growth costs nothing: range over two mappings" },
	{ LAB_CASE(c20_up_to_the_last_page), .about = "grown to the very last page that a file can have", EXPAND },
	{ LAB_CASE(c20_past_the_last_page), .about = "grown a page further: SIGBUS there, or EINVAL of mremap" },
	{ LAB_CASE(c20_moved_past_the_last_page), .about = "map_files: the same where the mapping has to move",
	  .needs_root = true, .needs_64bit = true },
	{ LAB_CASE(c20_past_what_accounting_counts), .about = "grown to more pages than a long counts: likewise" },
	{ LAB_CASE(c21_handler_mends_it), .about = "a handler of SIGBUS maps what is missing, and the write goes on" },
	{ LAB_CASE(c21_handler_mends_a_memfd), .about = "a handler of SIGBUS extends a memfd, and the write goes on" },
)

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Group N: sizes of files in shared memory, which a series changes the lock of: as ever, on memfd and on tmpfs. */
#include "lab.h"
#include "lab_refusal.h"

#include <linux/falloc.h>
#include <linux/memfd.h>
#include <sys/uio.h>

#ifndef SEEK_DATA
#define SEEK_DATA 3
#define SEEK_HOLE 4
#endif

static off_t page(void)
{
	return (off_t)lab_page();
}

static int memfd(void)
{
	return (int)LAB_SETUP_OR_SKIP(syscall(SYS_memfd_create, "lab", MFD_CLOEXEC | MFD_ALLOW_SEALING));
}

static int tmpfs(void)
{
	return LAB_SETUP_OR_SKIP(open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
}

/* The file has `bytes` bytes, and `pages` pages of memory. */
static void expect_size(int fd, off_t bytes, long pages)
{
	struct stat about;

	LAB_SETUP(fstat(fd, &about));
	LAB_EXPECT_EQ(about.st_size, bytes);
	LAB_EXPECT_EQ(lab_pages((unsigned long long)about.st_blocks * 512), pages);
}

static void put(int fd, const char *text, off_t at)
{
	LAB_EXPECT_EQ(LAB_EXPECT_OK(pwrite(fd, text, strlen(text), at)), strlen(text));
}

/* Sizes are exact to the byte: what is written at the end extends, what is written inside does not. */
static void writes(int fd)
{
	char byte = 1;

	put(fd, "hello", 3 * page() + 7);
	expect_size(fd, 3 * page() + 12, 1);
	put(fd, "hello", 0);
	expect_size(fd, 3 * page() + 12, 2);
	put(fd, "o", 3 * page() + 11);
	expect_size(fd, 3 * page() + 12, 2);
	put(fd, "o", 3 * page() + 12);
	expect_size(fd, 3 * page() + 13, 2);
	LAB_EXPECT_EQ(LAB_EXPECT_OK(pread(fd, &byte, 1, 3 * page() + 12)), 1);
	LAB_EXPECT_EQ(byte, 'o');
	LAB_EXPECT_EQ(LAB_EXPECT_OK(pread(fd, &byte, 1, 2 * page())), 1);
	LAB_EXPECT_EQ(byte, 0);
	LAB_EXPECT_EQ(LAB_EXPECT_OK(pread(fd, &byte, 1, 3 * page() + 13)), 0);
	LAB_SETUP(lseek(fd, 0, SEEK_END));
	LAB_EXPECT_EQ(LAB_EXPECT_OK(write(fd, "end", 3)), 3);
	expect_size(fd, 3 * page() + 16, 2);
}

static void n01_writes_to_memfd(void)
{
	writes(memfd());
}

static void n01_writes_to_tmpfs(void)
{
	writes(tmpfs());
}

/*
 * A write whose source ends in the middle: the size is what was copied. The part that can be read is a multiple of the
 * blocks that kernels copy, and aligned like its target. arm and alpha copy nothing of a block that can be read only in
 * part, and generic_perform_write (6.12) then tries again until the process is killed.
 */
static void n02_short_write(void)
{
	char *source = lab_at(lab_hole(2, 0), 0);
	int fd = memfd();

	if (lab_kernel_before(5, 16))
		LAB_SKIP("before 5.16 nothing is written of what ends in the middle");
	LAB_SETUP(mmap(source, lab_page(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	memset(source, 5, lab_page());
	lab_catch_faults();
	LAB_EXPECT_EQ(LAB_EXPECT_OK(pwrite(fd, lab_at(source, 1) - 128, 300, page() + 128)), 128);
	expect_size(fd, page() + 256, 1);
	LAB_EXPECT_ERRNO(pwrite(fd, lab_at(source, 1), 300, page()), EFAULT);
	expect_size(fd, page() + 256, 1);
}

/* A hole is zeros to the byte, wherever in a page it begins and ends, and gives back the pages that are whole in it. */
static void makes_holes(int fd)
{
	const off_t from = page() + 5, to = 3 * page() + 7, within = 4 * page() + 9, end = 5 * page();
	const int hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	char *text = LAB_SETUP(malloc((size_t)end));
	off_t at;

	memset(text, 'x', (size_t)end);
	LAB_EXPECT_EQ(LAB_EXPECT_OK(pwrite(fd, text, (size_t)end, 0)), end);
	LAB_EXPECT_OK(fallocate(fd, hole, from, to - from));
	LAB_EXPECT_OK(fallocate(fd, hole, within, 3));
	expect_size(fd, 8 * page() + 2, 4);
	LAB_EXPECT_EQ(LAB_EXPECT_OK(pread(fd, text, (size_t)end, 0)), end);
	for (at = 0; at < end; at++)
		LAB_EXPECT_EQ(text[at], (at >= from && at < to) || (at >= within && at < within + 3) ? 0 : 'x');
	free(text);
}

/* What is allocated reads as zero, though others wrote to the pages before. */
static void allocated_memory_is_zero(int fd)
{
	const off_t bytes = 32 * page();
	char *text = LAB_SETUP(mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	off_t at;

	memset(text, 7, (size_t)bytes);
	LAB_SETUP(munmap(text, (size_t)bytes));
	LAB_EXPECT_OK(ftruncate(fd, 0));
	LAB_EXPECT_OK(fallocate(fd, 0, 0, bytes));
	text = LAB_SETUP(mmap(NULL, (size_t)bytes, PROT_READ, MAP_SHARED, fd, 0));
	for (at = 0; at < bytes && !text[at]; at++)
		;
	LAB_EXPECT_EQ(at, bytes);
	LAB_SETUP(munmap(text, (size_t)bytes));
	LAB_EXPECT_OK(ftruncate(fd, 0));
}

/* fallocate with its flags: what extends, what does not, and what has memory afterwards. */
static void allocates(int fd)
{
	LAB_EXPECT_OK(fallocate(fd, 0, 0, 2 * page() + 5));
	expect_size(fd, 2 * page() + 5, 3);
	LAB_EXPECT_OK(fallocate(fd, 0, 0, page()));
	expect_size(fd, 2 * page() + 5, 3);
	LAB_EXPECT_OK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 4 * page(), 2 * page()));
	expect_size(fd, 2 * page() + 5, 5);
	LAB_EXPECT_OK(fallocate(fd, 0, 8 * page(), 1));
	expect_size(fd, 8 * page() + 1, 6);
	LAB_EXPECT_OK(fallocate(fd, 0, 8 * page(), 2));
	expect_size(fd, 8 * page() + 2, 6);
	put(fd, "x", 0);
	LAB_EXPECT_OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2 * page()));
	expect_size(fd, 8 * page() + 2, 4);
	LAB_EXPECT_OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 64 * page()));
	expect_size(fd, 8 * page() + 2, 0);
	LAB_EXPECT_ERRNO(fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, page()), EOPNOTSUPP);
	LAB_EXPECT_ERRNO(fallocate(fd, 0, 0, 0), EINVAL);
	expect_size(fd, 8 * page() + 2, 0);
	makes_holes(fd);
	allocated_memory_is_zero(fd);
}

static void n03_allocates_memfd(void)
{
	allocates(memfd());
}

/* A tmpfs has as many pages as it was mounted with: no call has one more, and a touch of one more is SIGBUS. */
static void fills_a_tmpfs(void)
{
	pid_t pid = lab_fork();
	char size[32], *p;
	int fd;

	if (!pid) {
		LAB_SETUP(unshare(CLONE_NEWNS));	/* what is mounted here goes with this process */
		LAB_SETUP(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
		snprintf(size, sizeof(size), "size=%lld", 16LL * page());
		LAB_SETUP(mount("lab", "/dev/shm", "tmpfs", 0, size));
		fd = tmpfs();
		LAB_EXPECT_ERRNO(fallocate(fd, 0, 0, 17 * page()), ENOSPC);
		expect_size(fd, 0, 0);
		LAB_EXPECT_OK(fallocate(fd, 0, 0, 16 * page()));
		LAB_EXPECT_ERRNO(pwrite(fd, "x", 1, 16 * page()), ENOSPC);
		LAB_SETUP(ftruncate(fd, 17 * page()));
		p = LAB_SETUP(mmap(NULL, 17 * lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
		LAB_SIGBUS(lab_at(p, 16));
		LAB_WRITES(lab_at(p, 15), 1);
		_exit(0);
	}
	lab_join(pid);
}

static void n03_allocates_tmpfs(void)
{
	allocates(tmpfs());
	if (!geteuid())
		fills_a_tmpfs();
}

/* Data at pages 2 and 5 of eight and a bit. */
static void seeks(int fd)
{
	off_t end = 8 * page() + 9;

	LAB_SETUP(ftruncate(fd, end));
	put(fd, "x", 2 * page() + 3);
	put(fd, "x", 5 * page());
	LAB_EXPECT_EQ(lseek(fd, 0, SEEK_DATA), 2 * page());
	LAB_EXPECT_EQ(lseek(fd, 2 * page() + 1, SEEK_DATA), 2 * page() + 1);
	LAB_EXPECT_EQ(lseek(fd, 2 * page(), SEEK_HOLE), 3 * page());
	LAB_EXPECT_EQ(lseek(fd, 3 * page(), SEEK_DATA), 5 * page());
	LAB_EXPECT_EQ(lseek(fd, 1, SEEK_HOLE), 1);
	LAB_EXPECT_EQ(lseek(fd, 5 * page(), SEEK_HOLE), 6 * page());
	LAB_EXPECT_ERRNO(lseek(fd, 6 * page(), SEEK_DATA), ENXIO);
	LAB_EXPECT_ERRNO(lseek(fd, end, SEEK_HOLE), ENXIO);
	LAB_EXPECT_ERRNO(lseek(fd, end, SEEK_DATA), ENXIO);
	LAB_EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 6 * page());	/* where the last of them that worked has left it */
	put(fd, "x", end - 1);
	LAB_EXPECT_EQ(lseek(fd, 6 * page(), SEEK_DATA), 8 * page());
	LAB_EXPECT_EQ(lseek(fd, end - 1, SEEK_HOLE), end);
	LAB_EXPECT_EQ(lseek(fd, 0, SEEK_END), end);
}

static void n04_seeks_in_memfd(void)
{
	seeks(memfd());
}

static void n04_seeks_in_tmpfs(void)
{
	seeks(tmpfs());
}

/* Truncated to every kind of size: exact, nothing left of what was cut off, mappings agree. */
static void truncates(int fd)
{
	char *p = LAB_SETUP(mmap(NULL, 4 * lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	int i;

	LAB_SETUP(ftruncate(fd, 4 * page()));
	for (i = 0; i < 4; i++)
		memset(lab_at(p, i), 9, lab_page());
	expect_size(fd, 4 * page(), 4);
	LAB_EXPECT_OK(ftruncate(fd, page() + 5));
	expect_size(fd, page() + 5, 2);
	LAB_READS(lab_at(p, 1) + 4, 9);
	LAB_READS(lab_at(p, 1) + 5, 0);
	LAB_SIGBUS(lab_at(p, 2));
	LAB_EXPECT_OK(ftruncate(fd, 3 * page()));
	expect_size(fd, 3 * page(), 2);
	LAB_READS(lab_at(p, 1) + 5, 0);
	LAB_READS(lab_at(p, 2), 0);
	LAB_SIGBUS(lab_at(p, 3));
	LAB_EXPECT_OK(ftruncate(fd, 3 * page()));
	LAB_EXPECT_OK(ftruncate(fd, 0));
	expect_size(fd, 0, 0);
	LAB_SIGBUS(p);
}

static void n05_truncates_memfd(void)
{
	truncates(memfd());
}

static void n05_truncates_tmpfs(void)
{
	truncates(tmpfs());
}

/* Private copies of whole pages beyond the new end are gone; that of the page with the end in it stays as it is. */
static void truncates_private_copies(int fd)
{
	char *p;

	LAB_SETUP(ftruncate(fd, 4 * page()));
	p = LAB_SETUP(mmap(NULL, 4 * lab_page(), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	memset(lab_at(p, 1), 9, lab_page());
	LAB_WRITES(lab_at(p, 3), 7);
	LAB_EXPECT_OK(ftruncate(fd, page() + 5));
	LAB_READS(lab_at(p, 1), 9);
	LAB_READS(lab_at(p, 2) - 1, 9);
	LAB_SIGBUS(lab_at(p, 3));
	LAB_EXPECT_OK(ftruncate(fd, 4 * page()));
	LAB_READS(lab_at(p, 3), 0);
	LAB_READS(lab_at(p, 1), 9);
}

static void n12_private_copies_memfd(void)
{
	truncates_private_copies(memfd());
}

static void n12_private_copies_tmpfs(void)
{
	truncates_private_copies(tmpfs());
}

/* What was allocated beyond the end is given back by a truncation to the size that the file has already. */
static void gives_back(int fd)
{
	LAB_SETUP(ftruncate(fd, 2 * page()));
	LAB_EXPECT_OK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4 * page()));
	expect_size(fd, 2 * page(), 4);
	LAB_EXPECT_OK(ftruncate(fd, 2 * page()));
	expect_size(fd, 2 * page(), 2);
}

static void n13_same_size_memfd(void)
{
	gives_back(memfd());
}

static void n13_same_size_tmpfs(void)
{
	gives_back(tmpfs());
}

/* A truncation upwards that nobody can pay for changes nothing. */
static void n11_truncate_is_refused(void)
{
	long more = lab_strict_overcommit(), before = lab_committed();
	char *p = lab_shared(2);
	int fd = lab_open_object(p);

	LAB_EXPECT_ERRNO(ftruncate(fd, (2 + more) * page()), ENOMEM);
	LAB_OBJECT(p, 2);
	LAB_COMMITTED(before, 2);
	LAB_WRITES(lab_at(p, 1), 1);
	LAB_EXPECT_OK(ftruncate(fd, 3 * page()));
	LAB_OBJECT(p, 3);
	close(fd);
	lab_unmap(p, 2);
	LAB_COMMITTED(before, 0);
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* truncate() of a name, which asks for no times itself: a new size is a change of the file, the same size is none. */
static void n10_truncate_is_a_change(void)
{
	const struct timespec long_ago[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
	const off_t sizes[] = { page() + 5, page() + 5, 0, 0 };
	char path[] = "/dev/shm/lab-XXXXXX";
	int fd = LAB_SETUP_OR_SKIP(mkstemp(path)), i;
	struct stat before, after;
	off_t size = 0;

	for (i = 0; i < (int)(sizeof(sizes) / sizeof(*sizes)); i++) {
		LAB_SETUP(futimens(fd, long_ago));
		LAB_SETUP(fstat(fd, &before));
		lab_await_file_clock();
		LAB_EXPECT_OK(truncate(path, sizes[i]));
		LAB_SETUP(fstat(fd, &after));
		LAB_EXPECT_EQ(after.st_size, sizes[i]);
		LAB_EXPECT_EQ(same_time(before.st_mtim, after.st_mtim), sizes[i] == size);
		LAB_EXPECT_EQ(same_time(before.st_ctim, after.st_ctim), sizes[i] == size);
		size = sizes[i];
	}
	unlink(path);
}

/* F_SEAL_FUTURE_WRITE: what is mapped already is written and grows as ever; what is mapped later never can be written. */
static void sealed_for_the_future(void)
{
	int fd = memfd(), both = PROT_READ | PROT_WRITE;
	char *old, *view;

	LAB_SETUP(ftruncate(fd, 2 * page()));
	old = LAB_SETUP(mmap(NULL, lab_page(), both, MAP_SHARED, fd, 0));
	LAB_SETUP(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	LAB_EXPECT_ERRNO(pwrite(fd, "x", 1, 0), EPERM);
	LAB_EXPECT_ERRNO(mmap(NULL, lab_page(), both, MAP_SHARED, fd, 0), EPERM);
	view = LAB_EXPECT_OK(mmap(NULL, lab_page(), PROT_READ, MAP_SHARED, fd, 0));
	view = LAB_GROW(view, 1, 2);
	LAB_EXPECT_ERRNO(mprotect(view, 2 * lab_page(), both), EACCES);
	old = LAB_GROW(old, 1, 2);
	LAB_WRITES(lab_at(old, 1), 5);
	LAB_READS(lab_at(view, 1), 5);
	LAB_EXPECT_OK(mmap(NULL, lab_page(), both, MAP_PRIVATE, fd, 0));
}

/* Seals forbid what they are about, in every way that a size changes, and nothing else. */
static void n06_seals(void)
{
	int fd = memfd();

	LAB_SETUP(ftruncate(fd, 2 * page()));
	LAB_SETUP(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
	LAB_EXPECT_ERRNO(pwrite(fd, "x", 1, 2 * page()), EPERM);
	LAB_EXPECT_ERRNO(fallocate(fd, 0, 0, 2 * page() + 1), EPERM);
	LAB_EXPECT_ERRNO(ftruncate(fd, 2 * page() + 1), EPERM);
	put(fd, "x", 2 * page() - 1);
	expect_size(fd, 2 * page(), 1);
	LAB_SETUP(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
	LAB_EXPECT_ERRNO(ftruncate(fd, page()), EPERM);
	LAB_EXPECT_OK(ftruncate(fd, 2 * page()));
	LAB_SETUP(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	LAB_EXPECT_ERRNO(pwrite(fd, "x", 1, 0), EPERM);
	LAB_EXPECT_ERRNO(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, page()), EPERM);
	expect_size(fd, 2 * page(), 1);
	if (!lab_kernel_before(5, 1))
		sealed_for_the_future();
}

/* A tmpfs file is paid for by its pages, whatever its size; a memfd, too. */
static void n07_paid_by_the_page(void)
{
	long before = lab_committed();
	int fd = memfd();

	LAB_SETUP(ftruncate(fd, 1000 * page()));
	LAB_COMMITTED(before, 0);
	LAB_EXPECT_OK(fallocate(fd, 0, 0, 300 * page()));
	LAB_COMMITTED(before, 300);
	LAB_EXPECT_OK(ftruncate(fd, 100 * page()));
	LAB_COMMITTED(before, 100);
	close(fd);
	LAB_COMMITTED(before, 0);
}

/* The same calls on the object of a shared anonymous mapping, through map_files; it is paid for by its size. */
static void n08_anonymous_object(void)
{
	long before = lab_committed();
	char *p = lab_shared(200);
	int fd = lab_open_object(p);

	LAB_COMMITTED(before, 200);
	put(fd, "x", 150 * page());
	LAB_READS(lab_at(p, 150), 'x');
	LAB_EXPECT_EQ(lseek(fd, 0, SEEK_DATA), 150 * page());
	LAB_EXPECT_EQ(lseek(fd, 150 * page(), SEEK_HOLE), 151 * page());
	LAB_EXPECT_OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 150 * page(), page()));
	LAB_READS(lab_at(p, 150), 0);
	LAB_EXPECT_OK(ftruncate(fd, 100 * page()));
	LAB_COMMITTED(before, 100);
	LAB_EXPECT_OK(ftruncate(fd, 300 * page()));
	LAB_COMMITTED(before, 300);
	LAB_EXPECT_OK(ftruncate(fd, 200 * page()));
	LAB_COMMITTED(before, 200);
	close(fd);
	lab_unmap(p, 200);
	LAB_COMMITTED(before, 0);
}

/* The end of a grown object, as lseek sees it. */
static void n08_seek_in_a_grown_object(void)
{
	char *p = LAB_GROW(lab_shared(2), 2, 16);
	int fd;

	LAB_WRITES(lab_at(p, 9), 1);
	fd = lab_open_object(p);
	LAB_EXPECT_EQ(lseek(fd, 0, SEEK_DATA), 9 * page());
	LAB_EXPECT_EQ(lseek(fd, 9 * page(), SEEK_HOLE), 10 * page());
	LAB_EXPECT_EQ(lseek(fd, 0, SEEK_END), 16 * page());
	LAB_EXPECT_ERRNO(lseek(fd, 10 * page(), SEEK_DATA), ENXIO);
	LAB_EXPECT_EQ(lseek(fd, 15 * page(), SEEK_HOLE), 15 * page());
}

/* Several append to one file: its size is the sum, and no record is lost. */
static void n09_appended_together(void)
{
	int fd = memfd(), rounds = lab_load(64), worker, i;
	char record[24] = { 0 };
	off_t at;

	LAB_SETUP(fcntl(fd, F_SETFL, O_APPEND));
	for (worker = 0; worker < 3; worker++) {
		if (lab_fork())
			continue;
		memset(record, 1 + worker, sizeof(record));
		for (i = 0; i < rounds; i++)
			LAB_EXPECT_EQ(write(fd, record, sizeof(record)), sizeof(record));
		_exit(0);
	}
	for (worker = 0; worker < 3; worker++)
		lab_join(-1);
	LAB_EXPECT_EQ(lseek(fd, 0, SEEK_END), 3 * rounds * (off_t)sizeof(record));
	for (at = 0; at < 3 * rounds * (off_t)sizeof(record); at += sizeof(record)) {
		LAB_EXPECT_EQ(pread(fd, record, sizeof(record), at), sizeof(record));
		LAB_EXPECT(record[0] >= 1 && record[0] <= 3 && record[0] == record[sizeof(record) - 1]);
	}
}

LAB_CASES(
	{ LAB_CASE(n01_writes_to_memfd), .about = "write() extends a memfd by what was written, to the byte" },
	{ LAB_CASE(n01_writes_to_tmpfs), .about = "write() extends a tmpfs file likewise" },
	{ LAB_CASE(n02_short_write), .about = "a short write extends by what was copied" },
	{ LAB_CASE(n03_allocates_memfd), .about = "fallocate with all its flags on a memfd: size and memory" },
	{ LAB_CASE(n03_allocates_tmpfs), .about = "fallocate with all its flags on tmpfs: size and memory" },
	{ LAB_CASE(n04_seeks_in_memfd), .about = "SEEK_DATA and SEEK_HOLE in a memfd" },
	{ LAB_CASE(n04_seeks_in_tmpfs), .about = "SEEK_DATA and SEEK_HOLE in tmpfs" },
	{ LAB_CASE(n05_truncates_memfd), .about = "a memfd truncated up and down, to the byte" },
	{ LAB_CASE(n05_truncates_tmpfs), .about = "a tmpfs file truncated up and down, to the byte" },
	{ LAB_CASE(n12_private_copies_memfd), .about = "a memfd truncated inside a page: which private copies stay" },
	{ LAB_CASE(n12_private_copies_tmpfs), .about = "a tmpfs file truncated inside a page: likewise" },
	{ LAB_CASE(n13_same_size_memfd), .about = "a memfd truncated to its size: nothing stays allocated beyond" },
	{ LAB_CASE(n13_same_size_tmpfs), .about = "a tmpfs file likewise" },
	{ LAB_CASE(n10_truncate_is_a_change), .about = "truncate() to another size sets the times of a file" },
	{ LAB_CASE(n11_truncate_is_refused), .about = "map_files: truncation upwards over CommitLimit changes nothing",
	  .needs_root = true },
	{ LAB_CASE(n06_seals), .about = "seals against growth, shrinking and writing hold for every call" },
	{ LAB_CASE(n07_paid_by_the_page), .about = "a memfd is paid for by the page, to the page" },
	{ LAB_CASE(n08_anonymous_object), .about = "map_files: write, fallocate, lseek and truncate of an anonymous object",
	  .needs_root = true },
	{ LAB_CASE(n08_seek_in_a_grown_object), .about = "map_files: SEEK_DATA and SEEK_HOLE up to the end of a grown object",
	  .requires = "shm-expand", .needs_root = true },
	{ LAB_CASE(n09_appended_together), .about = "several append to a memfd: no record is lost" },
)

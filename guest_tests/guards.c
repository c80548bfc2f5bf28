/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Group I: what is not a shared anonymous mapping must behave as it always did, with or without the patch. */
#include "lab.h"
#include "lab_disk.h"

#include <linux/memfd.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/vfs.h>

#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif

#ifndef FIBMAP
#define FIBMAP _IO(0, 1)	/* linux/fs.h, which does not go together with sys/mount.h */
#endif

#define TMPFS_MAGIC 0x01021994	/* linux/magic.h */
#define DIRECT 12		/* blocks of a file on ext2 whose numbers are in its inode */

static off_t size_of(int fd)
{
	struct stat about;

	LAB_SETUP(fstat(fd, &about));
	return about.st_size;
}

static int memfd(unsigned int flags)
{
	return (int)LAB_SETUP_OR_SKIP(syscall(SYS_memfd_create, "lab", MFD_CLOEXEC | flags));
}

/* Make the file one page long and map it, shared. */
static char *map_a_page(int fd)
{
	LAB_SETUP(ftruncate(fd, (off_t)lab_page()));
	return LAB_SETUP(mmap(NULL, lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
}

/* The mapping of a page of a file grows; the file does not. */
static char *file_stays(int fd, char *p)
{
	LAB_WRITES(p, 1);
	p = LAB_GROW(p, 1, 8);
	LAB_READS(p, 1);
	LAB_SIGBUS(lab_at(p, 1));
	LAB_SIGBUS(lab_at(p, 7));
	LAB_EXPECT_EQ(size_of(fd), lab_page());
	return p;
}

static void i01_memfd(void)
{
	int fd = memfd(0);
	char *p = LAB_GROW(map_a_page(fd), 1, 4);

	LAB_EXPECT_ERRNO(mlock(p, 4 * lab_page()), ENOMEM);	/* there is nothing to lock behind the end */
	lab_unmap(p, 4);
	file_stays(fd, map_a_page(fd));
}

static void i02_memfd_truncated_up(void)
{
	int fd = memfd(0);
	char *p = file_stays(fd, map_a_page(fd));

	LAB_SETUP(ftruncate(fd, 8 * (off_t)lab_page()));
	LAB_WRITES(lab_at(p, 1), 1);
	LAB_WRITES(lab_at(p, 7), 7);
}

/* SysV shared memory, attached with flags of shmat(2), that is gone with its last mapping. */
static char *segment(int *id, long pages, int flags)
{
	char *p;

	*id = LAB_SETUP_OR_SKIP(shmget(IPC_PRIVATE, (size_t)pages * lab_page(), IPC_CREAT | 0600));
	p = shmat(*id, NULL, flags);
	LAB_SETUP(shmctl(*id, IPC_RMID, NULL));
	return LAB_SETUP(p);
}

/* A page of it. */
static char *sysv(int *id)
{
	return segment(id, 1, 0);
}

/* How many mappings a segment has, by its own count; -1 if it is gone. */
static long attached(int id)
{
	struct shmid_ds about;

	return shmctl(id, IPC_STAT, &about) ? -1 : (long)about.shm_nattch;
}

/* What mremap() moves is still one mapping, and what it duplicates one more: the last one takes the segment with it. */
static void counts_its_mappings(char *p, int id)
{
	char *views[2];
	pid_t pid;

	LAB_EXPECT_EQ(attached(id), 1);
	views[0] = LAB_DUP_TO(p, 1, lab_hole(1, 0));
	views[1] = LAB_DUP_TO(p, 1, lab_hole(1, 0));
	LAB_EXPECT_EQ(attached(id), 3);
	pid = lab_fork();
	if (!pid) {
		LAB_EXPECT_EQ(attached(id), 6);
		_exit(0);
	}
	lab_join(pid);
	LAB_EXPECT_EQ(attached(id), 3);
	lab_unmap(views[0], 1);
	p = LAB_GROW_TO(p, 8, 8, lab_hole(8, 0));
	LAB_EXPECT_EQ(attached(id), 2);
	lab_unmap(p, 8);
	LAB_READS(views[1], 1);
	lab_unmap(views[1], 1);
	LAB_EXPECT_EQ(attached(id), -1);
}

/* shmdt() takes all that is still where shmat() put it, in however many mappings, and leaves what has moved. */
static void detached_in_pieces(void)
{
	int id, i;
	char *p = segment(&id, 4, 0), *moved;

	LAB_WRITES(lab_at(p, 3), 3);
	LAB_SETUP(mprotect(lab_at(p, 1), lab_page(), PROT_READ));
	moved = LAB_GROW_TO(lab_at(p, 3), 1, 1, lab_at(lab_hole(4, 0), 3));
	LAB_EXPECT_EQ(attached(id), 4);
	LAB_EXPECT_OK(shmdt(p));
	LAB_EXPECT_EQ(attached(id), 1);
	for (i = 0; i < 4; i++)
		LAB_SIGSEGV(lab_at(p, i));
	LAB_READS(moved, 3);
	lab_unmap(moved, 1);
	LAB_EXPECT_EQ(attached(id), -1);
}

/* A view that was attached to be read never becomes writable, nor does its duplicate. */
static void read_only_segment(void)
{
	int id;
	char *p = segment(&id, 1, SHM_RDONLY);

	LAB_READS(p, 0);
	LAB_EXPECT_ERRNO(mprotect(p, lab_page(), PROT_READ | PROT_WRITE), EACCES);
	p = LAB_DUP_TO(p, 1, lab_hole(1, 0));
	LAB_EXPECT_ERRNO(mprotect(p, lab_page(), PROT_READ | PROT_WRITE), EACCES);
}

/* SHM_LOCK counts the whole segment against RLIMIT_MEMLOCK, for as long as it is locked. */
static void locked_segments(void)
{
	pid_t pid = lab_fork();
	int ids[2];

	if (!pid) {
		lab_limit(RLIMIT_MEMLOCK, 2 * lab_page());
		lab_drop_root();
		segment(&ids[0], 2, 0);
		sysv(&ids[1]);
		LAB_EXPECT_OK(shmctl(ids[1], SHM_LOCK, NULL));
		LAB_EXPECT_ERRNO(shmctl(ids[0], SHM_LOCK, NULL), ENOMEM);
		LAB_EXPECT_OK(shmctl(ids[1], SHM_UNLOCK, NULL));
		LAB_EXPECT_OK(shmctl(ids[0], SHM_LOCK, NULL));
		LAB_EXPECT_OK(shmctl(ids[0], SHM_UNLOCK, NULL));
		_exit(0);
	}
	lab_join(pid);
}

static void i03_sysv(void)
{
	struct shmid_ds about;
	int id;
	char *p = sysv(&id);

	LAB_WRITES(p, 1);
	p = LAB_GROW(p, 1, 8);
	LAB_READS(p, 1);
	LAB_SIGBUS(lab_at(p, 1));
	LAB_SIGBUS(lab_at(p, 7));
	LAB_SETUP(shmctl(id, IPC_STAT, &about));
	LAB_EXPECT_EQ(about.shm_segsz, lab_page());
	counts_its_mappings(p, id);
	detached_in_pieces();
	read_only_segment();
	locked_segments();
}

/* A second mapping of it that SysV has no part in: to look at, no different from one of shared anonymous memory. */
static void i03_sysv_view(void)
{
	int id, fd = lab_open_object(sysv(&id));

	file_stays(fd, LAB_SETUP(mmap(NULL, lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)));
}

/* A directory of a tmpfs. */
static const char *tmpfs(void)
{
	static const char *const places[] = { "/dev/shm", "/tmp", "/run" };
	struct statfs about;
	size_t i;

	for (i = 0; i < sizeof(places) / sizeof(*places); i++)
		if (!statfs(places[i], &about) && about.f_type == TMPFS_MAGIC && !access(places[i], W_OK))
			return places[i];
	LAB_SKIP("no tmpfs to write to");
}

static int tmpfs_file(char *path, size_t size)
{
	snprintf(path, size, "%s/lab-XXXXXX", tmpfs());
	return LAB_SETUP(mkostemp(path, O_CLOEXEC));
}

static void i04_tmpfs_linked(void)
{
	char path[LAB_PATH];
	int fd = tmpfs_file(path, sizeof(path));
	char *p = map_a_page(fd);

	p = LAB_GROW(p, 1, 8);
	LAB_SETUP(unlink(path));	/* only now: it had a name when it was mapped and grown */
	LAB_SIGBUS(lab_at(p, 1));
	LAB_EXPECT_EQ(size_of(fd), lab_page());
}

static void i04_tmpfs_unlinked(void)
{
	char path[LAB_PATH];
	int fd = tmpfs_file(path, sizeof(path));

	LAB_SETUP(unlink(path));
	file_stays(fd, map_a_page(fd));
}

static void i04_tmpfs_nameless(void)
{
	int fd = LAB_SETUP_OR_SKIP(open(tmpfs(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));

	file_stays(fd, map_a_page(fd));
}

static void i05_shm_open_shrunk(void)
{
	char name[32], *p;
	int fd;

	snprintf(name, sizeof(name), "/lab-%ld", (long)getpid());
	fd = LAB_SETUP_OR_SKIP(shm_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
	LAB_SETUP(shm_unlink(name));
	LAB_SETUP(ftruncate(fd, 4 * (off_t)lab_page()));
	p = LAB_SETUP(mmap(NULL, 4 * lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	LAB_WRITES(lab_at(p, 3), 3);
	LAB_SETUP(ftruncate(fd, (off_t)lab_page()));
	LAB_WRITES(p, 1);
	LAB_SIGBUS(lab_at(p, 1));
	LAB_SIGBUS(lab_at(p, 3));
	LAB_EXPECT_EQ(size_of(fd), lab_page());
}

/* A real file, the program itself: mapped whole, grown by two pages. */
static void i06_file_beyond_its_end(void)
{
	int fd = LAB_SETUP(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
	long pages = lab_pages((unsigned long long)size_of(fd));
	char *p = LAB_SETUP(mmap(NULL, (size_t)pages * lab_page(), PROT_READ, MAP_SHARED, fd, 0));
	struct lab_fault fault;

	p = LAB_GROW(p, pages, pages + 2);
	LAB_READS(p, 0x7f);
	fault = lab_read(lab_at(p, pages));
	LAB_EXPECT_EQ(fault.signo, SIGBUS);
	LAB_EXPECT_EQ(fault.code, BUS_ADRERR);
	LAB_EXPECT(lab_same_page(fault.addr, lab_at(p, pages)));
}

/* The same of a file with blocks of a disk behind it, and with room for more. */
static void i06_file_on_a_disk(void)
{
	const char *directory = lab_ext2(16);
	char path[LAB_PATH];
	int fd;

	snprintf(path, sizeof(path), "%s/file", directory);
	fd = LAB_SETUP(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	file_stays(fd, map_a_page(fd));
	LAB_SETUP(fsync(fd));
	LAB_EXPECT_EQ(size_of(fd), lab_page());
}

/* A new file of so many blocks, all of them on the disk; blocks that were kept ready for it are free again. */
static int file_of_blocks(const char *directory, const char *name, long blocks)
{
	static const char block[LAB_EXT2_BLOCK];
	char path[LAB_PATH];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = LAB_SETUP(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	while (blocks--)
		LAB_SETUP(write(fd, block, sizeof(block)));
	LAB_SETUP(fsync(fd));
	close(fd);
	return LAB_SETUP(open(path, O_RDWR | O_CLOEXEC));
}

/* On which block of the disk a file's block lies. */
static int block_of(int fd, int block)
{
	LAB_SETUP(ioctl(fd, FIBMAP, &block));
	return block;
}

/* All of a file is mapped, and the mapping grows; the file does not. */
static void whole_file_stays(int fd, long pages)
{
	char *p = LAB_SETUP(mmap(NULL, (size_t)pages * lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));

	p = LAB_GROW(p, pages, pages + 8);
	LAB_SIGBUS(lab_at(p, pages));
	LAB_SIGBUS(lab_at(p, pages + 7));
	LAB_WRITES(lab_at(p, pages - 1), 1);
	LAB_EXPECT_EQ(size_of(fd), pages * (long)lab_page());
}

/* Another file like the first, whose block numbers are even where those of the first are odd, and the other way round. */
static int other_parity(const char *directory, int first, long blocks)
{
	static const char *const names[][2] = { { "second", "between" }, { "third", "end" } };
	int other, i;

	for (i = 0; i < 2; i++) {
		other = file_of_blocks(directory, names[i][0], blocks);
		if (block_of(first, 0) % 2 != block_of(other, 0) % 2)
			break;
		close(file_of_blocks(directory, names[i][1], 1));
	}
	for (i = 0; i < DIRECT; i++)
		if (block_of(first, i) % 2 == block_of(other, i) % 2)
			LAB_ERROR("block %d of the files is %d and %d", i, block_of(first, i), block_of(other, i));
	return other;
}

/*
 * What lies before the inode of such a file in memory are the numbers of its blocks.  Who takes it for an object of
 * shared memory finds marks there, by chance: each of the numbers is odd in one file and even in the other.
 */
static void i06_files_of_odd_and_even_blocks(void)
{
	const char *directory = lab_ext2(lab_pages(16 << 20));
	long pages = lab_pages(DIRECT * LAB_EXT2_BLOCK), blocks = pages * (long)lab_page() / (long)LAB_EXT2_BLOCK;
	int first = file_of_blocks(directory, "first", blocks), other = other_parity(directory, first, blocks);

	whole_file_stays(first, pages);
	whole_file_stays(other, pages);
}

static void i07_private_anonymous(void)
{
	char *p = LAB_SETUP(lab_map(1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS));
	long before = lab_committed();

	LAB_WRITES(p, 1);
	p = LAB_GROW(p, 1, 1024);
	LAB_COMMITTED(before, 1023);
	LAB_READS(p, 1);
	LAB_WRITES(lab_at(p, 1023), 1);
	LAB_READS(lab_at(p, 512), 0);
	/* RLIMIT_DATA bounds private memory that can be written, at its growth, too. */
	lab_limit(RLIMIT_DATA, ((unsigned long long)lab_status_kb("VmData") << 10) + 8 * lab_page());
	LAB_EXPECT_ERRNO(lab_mremap(p, 1024, 1024 + 9, MREMAP_MAYMOVE, NULL), ENOMEM);
	LAB_GROW(p, 1024, 1024 + 8);
}

/* Private memory that is not paid for in advance, since that was not wanted or since nobody can write to it. */
static void grows_unpaid(int prot, int flags)
{
	long before = lab_committed();
	char *hole = lab_hole(64, 0), *p;

	p = LAB_SETUP(mmap(hole, lab_page(), prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | flags, -1, 0));
	LAB_GROW_IN_PLACE(p, 1, 32);
	p = LAB_GROW_TO(p, 32, 512, lab_hole(512, 0));
	LAB_READS(lab_at(p, 511), 0);
	LAB_COMMITTED(before, 0);
	LAB_SETUP(munmap(p, 512 * lab_page()));
	LAB_COMMITTED(before, 0);
}

static void i07_private_unpaid(void)
{
	grows_unpaid(PROT_READ | PROT_WRITE, MAP_NORESERVE);
	grows_unpaid(PROT_READ, 0);
}

static void i07_dev_zero_private(void)
{
	int fd = LAB_SETUP_OR_SKIP(open("/dev/zero", O_RDWR | O_CLOEXEC));
	char *p = LAB_SETUP(mmap(NULL, lab_page(), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	pid_t pid;

	p = LAB_GROW(p, 1, 8);
	LAB_WRITES(lab_at(p, 7), 7);
	pid = lab_fork();
	if (!pid) {
		LAB_WRITES(lab_at(p, 7), 8);
		_exit(0);
	}
	lab_join(pid);
	LAB_READS(lab_at(p, 7), 7);
}

/* A size of huge page of which two are free, in bytes. */
static size_t free_huge_size(void)
{
	struct lab_books books = lab_read_books();
	int i;

	for (i = 0; i < books.sizes; i++)
		if (books.huge[i].free - books.huge[i].reserved >= 2)
			return (size_t)books.huge[i].kb << 10;
	LAB_SKIP("no size of huge pages has two free ones");
}

static void hugetlb(int sharing)
{
	size_t size = free_huge_size();
	int order = __builtin_ctzll((unsigned long long)size), flags = MAP_ANONYMOUS | MAP_HUGETLB;
	char *p = LAB_SETUP(mmap(NULL, size, PROT_READ | PROT_WRITE, sharing | flags | order << MAP_HUGE_SHIFT, -1, 0));

	LAB_WRITES(p, 1);
	LAB_EXPECT_ERRNO(syscall(SYS_mremap, p, size, 2 * size, MREMAP_MAYMOVE, NULL), EINVAL);
	if (lab_kernel_before(5, 16))	/* which moves no huge pages, and rounds no length to them */
		LAB_EXPECT_ERRNO(syscall(SYS_mremap, p, size, lab_page(), 0, NULL), EINVAL);
	else
		LAB_EXPECT_EQ(LAB_EXPECT_OK(syscall(SYS_mremap, p, size, lab_page(), 0, NULL)), (intptr_t)p);
	LAB_READS(p, 1);
	LAB_WRITES(p + size - 1, 1);
	if (sharing == MAP_SHARED) {	/* mlock() of private ones never ends on ppc64 with the hash MMU and 4K pages */
		LAB_SETUP_OR_SKIP(mlock(p, size));
		LAB_EXPECT_EQ(lab_status_kb("VmLck"), 0);	/* huge pages are never swapped: no limit counts them */
		LAB_EXPECT(!lab_vma_has(p, "lo"));
	}
}

/* A file of huge pages that was truncated has nothing behind its end, the very next huge page neither. */
static void truncated_hugetlb(void)
{
	size_t size = free_huge_size();
	unsigned int order = (unsigned int)__builtin_ctzll((unsigned long long)size);
	int fd = (int)LAB_SETUP_OR_SKIP(syscall(SYS_memfd_create, "lab", MFD_HUGETLB | order << MAP_HUGE_SHIFT));
	char *p = LAB_SETUP(mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));

	LAB_WRITES(p + size, 2);
	LAB_SETUP(ftruncate(fd, (off_t)size));
	LAB_SIGBUS(p + size);
	LAB_WRITES(p, 1);
	LAB_SIGBUS(p + 2 * size - 1);
	close(fd);
}

static void i07_hugetlb_shared(void)
{
	hugetlb(MAP_SHARED);
	truncated_hugetlb();
}

static void i07_hugetlb_private(void)
{
	hugetlb(MAP_PRIVATE);
}

static void i08_sealed_memfd(void)
{
	int fd = memfd(MFD_ALLOW_SEALING);
	char *p = map_a_page(fd);

	LAB_SETUP(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
	file_stays(fd, p);
	LAB_EXPECT_ERRNO(ftruncate(fd, 8 * (off_t)lab_page()), EPERM);
}

LAB_CASES(
	{ LAB_CASE(i01_memfd), .about = "memfd mapping grown: SIGBUS beyond, st_size unchanged" },
	{ LAB_CASE(i02_memfd_truncated_up), .about = "memfd mapping grown, then truncated up: usable" },
	{ LAB_CASE(i03_sysv), .about = "SysV shared memory grown: SIGBUS beyond, size unchanged" },
	{ LAB_CASE(i03_sysv_view), .about = "map_files: a mapping of SysV memory grown: SIGBUS beyond, size unchanged",
	  .needs_root = true },
	{ LAB_CASE(i04_tmpfs_linked), .about = "tmpfs file with a name: SIGBUS beyond" },
	{ LAB_CASE(i04_tmpfs_unlinked), .about = "tmpfs file unlinked before mmap: SIGBUS beyond" },
	{ LAB_CASE(i04_tmpfs_nameless), .about = "tmpfs O_TMPFILE: SIGBUS beyond" },
	{ LAB_CASE(i05_shm_open_shrunk), .about = "shm_open, truncated down: SIGBUS beyond" },
	{ LAB_CASE(i06_file_beyond_its_end), .about = "a file mapping grown beyond its end: SIGBUS" },
	{ LAB_CASE(i06_file_on_a_disk), .about = "a file on a disk (ext2) mapped, grown beyond its end: SIGBUS",
	  .needs_root = true, .needs_config = "EXT2_FS ZRAM" },
	{ LAB_CASE(i06_files_of_odd_and_even_blocks), .about = "files on a disk (ext2) with odd and with even blocks: likewise",
	  .needs_root = true, .needs_config = "EXT2_FS ZRAM" },
	{ LAB_CASE(i07_private_anonymous), .about = "private anonymous memory grows and is paid for at mremap" },
	{ LAB_CASE(i07_private_unpaid), .about = "private anonymous memory that costs nothing in advance grows, too" },
	{ LAB_CASE(i07_dev_zero_private), .about = "/dev/zero mapped private grows, and stays private" },
	{ LAB_CASE(i07_hugetlb_shared), .about = "shared hugetlb growth is EINVAL" },
	{ LAB_CASE(i07_hugetlb_private), .about = "private hugetlb growth is EINVAL" },
	{ LAB_CASE(i08_sealed_memfd), .about = "memfd sealed against growth: SIGBUS beyond, EPERM on truncate" },
	LAB_NO_CASE("I09", "the kernel tree's own suites: `lab run --suite kselftest-mm`"),
	LAB_NO_CASE("I10", "the lab itself: a guest that does not boot is NO_BOOT, what its kernel complains of a finding"),
)

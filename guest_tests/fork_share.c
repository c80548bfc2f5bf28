/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Group B: a grown object is shared over fork, and lives exactly as long as somebody maps it. */
#include "lab.h"

#include <pthread.h>

#define EXPAND .requires = "shm-expand"
#define BYTES(mib) ((unsigned long long)(mib) << 20)

/* Grow and touch, where the kernel can; without the feature the touch is left out of what must work. */
static char *grow_and_use(char *p, long old_pages, long new_pages)
{
	p = LAB_GROW(p, old_pages, new_pages);
	if (lab_provides("shm-expand"))
		LAB_WRITES(lab_at(p, new_pages - 1), 1);
	else
		lab_write(lab_at(p, new_pages - 1), 1);
	return p;
}

static void b01_parent_grows_then_forks(void)
{
	char *p = LAB_GROW(lab_shared(1), 1, 8);
	pid_t pid = lab_fork();

	if (!pid) {
		LAB_WRITES(lab_at(p, 7), 77);
		_exit(0);
	}
	lab_join(pid);
	LAB_READS(lab_at(p, 7), 77);
}

/* Fork, then let the child grow to `pages` and write 77 into the last; it stays until the gate opens. */
static pid_t growing_child(char *p, long pages, struct lab_gate *grown, struct lab_gate *leave)
{
	pid_t pid = lab_fork();

	if (pid)
		return pid;
	p = LAB_GROW(p, 1, pages);
	LAB_WRITES(lab_at(p, pages - 1), 77);
	lab_open_gate(grown);
	lab_pass_gate(leave);
	LAB_READS(lab_at(p, pages - 1), 77);
	_exit(0);
}

/* Gates, and a child that has grown to 8 pages when this returns. */
static pid_t grown_child(char *p, struct lab_gate *leave)
{
	struct lab_gate grown = lab_gate();
	pid_t pid;

	*leave = lab_gate();
	pid = growing_child(p, 8, &grown, leave);
	close(grown.ends[1]);	/* so that a child that fails does not leave us waiting */
	if (read(grown.ends[0], &(char){ 0 }, 1) != 1)
		lab_join(pid);
	return pid;
}

static void b02_child_grows_parent_follows(void)
{
	char *p = lab_shared(1);
	struct lab_gate leave;
	pid_t pid = grown_child(p, &leave);

	p = LAB_GROW(p, 1, 8);
	LAB_READS(lab_at(p, 7), 77);
	lab_open_gate(&leave);
	lab_join(pid);
}

static void b03_parent_grows_less(void)
{
	char *p = lab_shared(1);
	struct lab_gate leave;
	pid_t pid = grown_child(p, &leave);

	p = LAB_GROW(p, 1, 4);
	LAB_WRITES(lab_at(p, 1), 1);
	LAB_WRITES(lab_at(p, 3), 3);
	LAB_OBJECT(p, 8);
	lab_open_gate(&leave);
	lab_join(pid);	/* which still reads its own last page */
}

static void b04_child_gone_data_stays(void)
{
	char *p = lab_shared(1);
	struct lab_gate leave;
	pid_t pid = grown_child(p, &leave);

	lab_open_gate(&leave);
	lab_join(pid);
	p = LAB_GROW(p, 1, 8);
	LAB_READS(lab_at(p, 7), 77);
}

static void b05_grandchild_grows(void)
{
	char *p = lab_shared(1);
	pid_t pid = lab_fork(), grandchild;

	if (!pid) {
		grandchild = lab_fork();
		if (!grandchild) {
			p = LAB_GROW(p, 1, 8);
			LAB_WRITES(lab_at(p, 7), 55);
			_exit(0);
		}
		lab_join(grandchild);
		_exit(0);
	}
	lab_join(pid);
	p = LAB_GROW(p, 1, 8);
	LAB_READS(lab_at(p, 7), 55);
}

/* What the child grew is in the object, not in the parent's address space. */
static void b06_own_vma_still_bounds(void)
{
	char *p = lab_shared_in_hole(1, 8);
	pid_t pid = lab_fork();

	if (!pid) {
		grow_and_use(p, 1, 8);
		_exit(0);
	}
	lab_join(pid);
	LAB_SIGSEGV(lab_at(p, 1));
	LAB_SIGSEGV(lab_at(p, 7));
	LAB_WRITES(p, 1);
}

/* A child grows to 16 pages and touches nothing; the parent grows to 4 and touches its last. */
static void b07_untouched_growth(void)
{
	char *p = lab_shared(1);
	pid_t pid = lab_fork();

	if (!pid) {
		LAB_GROW(p, 1, 16);
		_exit(0);
	}
	lab_join(pid);
	p = LAB_GROW(p, 1, 4);
	LAB_WRITES(lab_at(p, 3), 3);
	LAB_OBJECT(p, lab_provides("expand-enomem") ? 16 : 4);
}

/* What is touched inside the object, for the first time, is no reason to extend it. */
static void b07_touched_inside(void)
{
	long before = lab_committed();
	char *p = LAB_GROW(lab_shared(512), 512, 1024);
	long object = lab_provides("expand-enomem") ? 1024 : 512;

	LAB_WRITES(lab_at(p, 2), 2);
	LAB_READS(lab_at(p, 511), 0);
	LAB_OBJECT(p, object);
	LAB_COMMITTED(before, object);
}

/* Four siblings grow to four sizes and touch their last pages together: the object is as large as the largest. */
static void b08_siblings(void)
{
	static const long sizes[] = { 4, 8, 16, 32 };
	struct lab_gate go = lab_gate();
	char *p = lab_shared(1);
	pid_t pids[4];
	int i;

	for (i = 0; i < 4; i++) {
		pids[i] = lab_fork();
		if (pids[i])
			continue;
		p = LAB_GROW(p, 1, sizes[i]);
		lab_pass_gate(&go);
		LAB_WRITES(lab_at(p, sizes[i] - 1), (unsigned char)(i + 1));
		LAB_WRITES(lab_at(p, 1 + i % 3), 9);
		_exit(0);
	}
	LAB_SETUP(write(go.ends[1], "1234", 4));
	for (i = 0; i < 4; i++)
		lab_join(pids[i]);
	LAB_OBJECT(p, 32);
	p = LAB_GROW(p, 1, 32);
	for (i = 1; i < 4; i++)
		LAB_READS(lab_at(p, sizes[i] - 1), (unsigned char)(i + 1));
}

/* Three processes grow by more than any noise; when all are gone and the parent has unmapped, nothing is owed. */
static void b09_committed_returns(void)
{
	long before = lab_committed(), pages = lab_pages(BYTES(16));
	char *p = lab_shared(1);
	int i;

	for (i = 1; i <= 3; i++) {
		pid_t pid = lab_fork();

		if (!pid) {
			grow_and_use(p, 1, pages * i);
			_exit(0);
		}
		lab_join(pid);
	}
	LAB_COMMITTED(before, lab_provides("shm-expand") ? 3 * pages : 1);
	lab_unmap(p, 1);
	LAB_COMMITTED(before, 0);
}

static void b10_committed_outlives_child(void)
{
	long before = lab_committed(), pages = lab_pages(BYTES(64)), quarter = lab_meminfo_pages("MemTotal") / 4;
	char *p = lab_shared(1);
	pid_t pid;

	/* What is more than all memory would be refused. */
	if (pages > quarter)
		pages = quarter;
	pid = lab_fork();

	if (!pid) {
		before = lab_committed();	/* with this process's own private memory */
		p = LAB_GROW(p, 1, pages);
		LAB_COMMITTED(before, lab_provides("expand-enomem") ? pages : 0);
		LAB_WRITES(lab_at(p, 1), 1);
		LAB_COMMITTED(before, pages);
		_exit(0);
	}
	lab_join(pid);
	LAB_COMMITTED(before, pages);
	lab_unmap(p, 1);
	LAB_COMMITTED(before, 0);
}

static void *grow_in_thread(void *p)
{
	LAB_GROW_IN_PLACE(p, 1, 8);
	return NULL;
}

static void b11_thread_grows(void)
{
	char *p = lab_shared_in_hole(1, 8);
	pthread_t thread;

	if (pthread_create(&thread, NULL, grow_in_thread, p))
		LAB_ERROR("cannot start a thread");
	pthread_join(thread, NULL);
	LAB_WRITES(lab_at(p, 1), 1);
	LAB_WRITES(lab_at(p, 7), 7);
}

/* What a program that was started anew says of its mappings: not a word of the object, which stays as it is. */
static void b12_exec_leaves_it_behind(void)
{
	char *const argv[] = { "cat", "/proc/self/maps", NULL };
	static char maps[1 << 17];
	size_t used = 0;
	ssize_t got;
	char *p = lab_shared(1);
	int ends[2];
	pid_t pid;

	if (access("/bin/cat", X_OK))
		LAB_SKIP("no /bin/cat");
	LAB_SETUP(pipe(ends));
	pid = lab_fork();
	if (!pid) {
		p = grow_and_use(p, 1, 8);
		dup2(ends[1], 1);
		close(ends[1]);
		execv("/bin/cat", argv);
		LAB_ERROR("cannot execute /bin/cat: %s", lab_errno(errno));
	}
	close(ends[1]);
	while (used + 1 < sizeof(maps) && (got = read(ends[0], maps + used, sizeof(maps) - 1 - used)) > 0)
		used += (size_t)got;
	lab_join(pid);
	LAB_EXPECT(strstr(maps, "[stack]"));
	LAB_EXPECT(!strstr(maps, "/dev/zero"));
	LAB_WRITES(p, 1);
	LAB_OBJECT(p, lab_provides("shm-expand") ? 8 : 1);
}

/* Two children and the parent use 8 MiB of one object; when all have unmapped it, the memory is back. */
static void b13_memory_freed(void)
{
	long before = lab_shmem(), pages = lab_pages(BYTES(8)), i;
	char *p = lab_shared(pages / 2);
	pid_t pids[2];
	int child;

	for (child = 0; child < 2; child++) {
		pids[child] = lab_fork();
		if (pids[child])
			continue;
		p = grow_and_use(p, pages / 2, pages);
		for (i = child; i < pages / 2; i += 2)
			LAB_WRITES(lab_at(p, i), 1);
		_exit(0);
	}
	lab_join(pids[0]);
	lab_join(pids[1]);
	LAB_SHMEM(before, pages / 2);
	lab_unmap(p, pages / 2);
	LAB_SHMEM(before, 0);
}

/* Without a capability the object cannot be opened through map_files, so it is as private as it was. */
static void b14_no_reopening(void)
{
	char *p = lab_shared(1), path[LAB_PATH];

	lab_drop_root();
	LAB_EXPECT(lab_map_files(p, path, sizeof(path)));
	if (access("/proc/self/map_files", F_OK))
		LAB_SKIP("no /proc/self/map_files");
	LAB_EXPECT_ERRNO(open(path, O_RDWR), EPERM);
}

LAB_CASES(
	{ LAB_CASE(b01_parent_grows_then_forks), .about = "grown before fork: the child writes, the parent reads", EXPAND },
	{ LAB_CASE(b02_child_grows_parent_follows), .about = "child grows and writes, parent grows alike and reads", EXPAND },
	{ LAB_CASE(b03_parent_grows_less), .about = "parent grows to less than the child: nothing shrinks", EXPAND },
	{ LAB_CASE(b04_child_gone_data_stays), .about = "child exits, parent grows: the data is there", EXPAND },
	{ LAB_CASE(b05_grandchild_grows), .about = "grandchild grows, grandparent reaches it by mremap", EXPAND },
	{ LAB_CASE(b06_own_vma_still_bounds), .about = "beyond one's own mapping is SIGSEGV, not SIGBUS" },
	{ LAB_CASE(b07_untouched_growth), .about = "growth that nobody touches", EXPAND },
	{ LAB_CASE(b07_touched_inside), .about = "growth of which only the old part is touched" },
	{ LAB_CASE(b08_siblings), .about = "four siblings, four sizes, touched together", EXPAND },
	{ LAB_CASE(b09_committed_returns), .about = "Committed_AS is back when all have let go" },
	{ LAB_CASE(b10_committed_outlives_child), .about = "what a child grew is paid for until the parent unmaps", EXPAND },
	{ LAB_CASE(b11_thread_grows), .about = "one thread grows, another touches", EXPAND },
	{ LAB_CASE(b12_exec_leaves_it_behind), .about = "an exec'd child does not have it; the object stays as it is" },
	{ LAB_CASE(b13_memory_freed), .about = "Shmem is back when all have let go" },
	{ LAB_CASE(b14_no_reopening), .about = "map_files does not open for the unprivileged" },
)

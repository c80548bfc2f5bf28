/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Group L: what is possible after a refusal, and growth that just fits. */
#include "lab.h"
#include "lab_refusal.h"

#define EXPAND .requires = "shm-expand"
#define STRICT .needs_root = true, .timeout_s = 20

/* ---- refused, then possible ---- */

/* Grow from `pages` to `wanted` after a growth by `more` was refused: the mapping may have grown all the same. */
static char *smaller_growth(char *p, long pages, long more, long wanted)
{
	if (lab_provides("expand-enomem"))
		return LAB_GROW(p, pages, wanted);
	LAB_EXPECT_OK(lab_mremap(p, pages + more, wanted, 0, NULL));
	return p;
}

static void l01_smaller_growth(void)
{
	long more = lab_strict_overcommit(), before = lab_committed(), i;
	char *p = lab_shared(8);

	p = lab_refused_growth(p, 8, more);
	p = smaller_growth(p, 8, more, 64);
	for (i = 0; i < 64; i++) {
		LAB_READS(lab_at(p, i), 0);
		LAB_WRITES(lab_at(p, i), (unsigned char)i);
	}
	LAB_OBJECT(p, 64);
	LAB_BLOCKS(p, 64);
	LAB_COMMITTED(before, 64);
	lab_unmap(p, 64);
	LAB_COMMITTED(before, 0);
}

/* The very growth that was refused, once there is room for it. */
static void l02_same_growth_after_the_limit_rose(void)
{
	long more = lab_strict_overcommit(), before = lab_committed();
	char *p = lab_refused_growth(lab_shared(1), 1, more);

	LAB_SET(OVERCOMMIT, "1");
	if (lab_provides("expand-enomem"))
		p = LAB_GROW(p, 1, 1 + more);
	LAB_WRITES(lab_at(p, more), 1);
	LAB_READS(lab_at(p, 1), 0);
	LAB_OBJECT(p, 1 + more);
	LAB_COMMITTED(before, 1 + more);
	lab_unmap(p, 1 + more);
	LAB_COMMITTED(before, 0);
}

/* What was refused to one process is no matter for another, which asks for less. */
static void l03_another_process_touches(void)
{
	long more = lab_strict_overcommit();
	char *p = lab_shared(2), *q;
	pid_t pid;

	q = lab_refused_growth(p, 2, more);
	pid = lab_fork();
	if (!pid) {
		p = smaller_growth(q, 2, more, 16);
		LAB_WRITES(lab_at(p, 15), 15);
		_exit(0);
	}
	lab_join(pid);
	LAB_OBJECT(q, 16);
	q = lab_provides("expand-enomem") ? LAB_GROW(q, 2, 16) : q;
	LAB_READS(lab_at(q, 15), 15);
	LAB_WRITES(lab_at(q, 2), 2);
	if (!lab_provides("expand-enomem"))
		LAB_SIGBUS(lab_at(q, 16));
}

/* An allocation that can be paid for in part leaves nothing of it. */
static void allocation_is_undone(void)
{
	int fd = (int)LAB_SETUP(syscall(SYS_memfd_create, "lab", 1U));
	long kb = lab_meminfo("MemTotal") / 16;	/* many times what the CPUs' own counts hide from the limit */
	struct stat is;

	lab_commit_limit(lab_meminfo("Committed_AS") + kb);
	LAB_EXPECT_ERRNO(fallocate(fd, 0, 0, 4 * ((off_t)kb << 10)), ENOSPC);
	LAB_SETUP(fstat(fd, &is));
	LAB_EXPECT_EQ(is.st_size, 0);
	LAB_EXPECT_EQ(is.st_blocks, 0);
	LAB_EXPECT_OK(fallocate(fd, 0, 0, (off_t)kb << 8));
	close(fd);
}

/* Somebody looks at the size and the memory of an object while its growth is refused again and again. */
static void l04_watched_size(void)
{
	long more = lab_strict_overcommit(), before = lab_committed(), i;
	char *p = lab_shared(4);
	struct stat was, is;
	int fd = lab_open_object(p);

	LAB_WRITES(p, 1);
	LAB_SETUP(fstat(fd, &was));
	LAB_EXPECT_EQ(was.st_size, 4 * lab_page());
	for (i = 0; i < 32; i++) {
		p = lab_refused_growth(p, 4, more);
		if (!lab_provides("expand-enomem"))
			LAB_EXPECT_OK(lab_mremap(p, 4 + more, 4, 0, NULL));
		LAB_SETUP(fstat(fd, &is));
		LAB_EXPECT_EQ(is.st_size, was.st_size);
		LAB_EXPECT_EQ(is.st_blocks, was.st_blocks);
	}
	LAB_WRITES(lab_at(p, 3), 3);
	LAB_COMMITTED(before, 4);
	allocation_is_undone();
	LAB_COMMITTED(before, 4);
	lab_unmap(p, 4);
	close(fd);
	LAB_COMMITTED(before, 0);
}

/* Refusals take nothing from the room that is left: what was possible before them still is. */
static void l05_room_is_as_before(void)
{
	long more = lab_strict_overcommit(), half = lab_meminfo_pages("MemTotal") / 32, i;
	char *p = lab_shared(1), *q;

	for (i = 0; i < 32; i++) {
		q = lab_refused_growth(p, 1, more);
		if (!lab_provides("expand-enomem"))
			LAB_EXPECT_OK(lab_mremap(q, 1 + more, 1, 0, NULL));
		p = q;
	}
	p = LAB_GROW(p, 1, half);
	LAB_WRITES(lab_at(p, half - 1), 1);
	LAB_OBJECT(p, half);
}

/* Killed in a memory cgroup for what it touched; who is in none uses the same pages afterwards. */
static void l06_after_a_cgroups_kill(void)
{
	long pages = lab_pages(16ULL << 20), before = lab_committed(), i;
	const char *group = lab_memory_cgroup("lab-l06", "8M");
	char *p = lab_shared(1);
	int status;
	pid_t pid;

	pid = lab_fork();
	if (!pid) {
		lab_join_cgroup(group);
		p = LAB_GROW(p, 1, pages);
		for (i = 1; i < pages; i++)
			LAB_WRITES(lab_at(p, i), (unsigned char)(i % 251));
		LAB_FAIL("touched 16 MiB in a cgroup of 8 MiB");
	}
	LAB_SETUP(waitpid(pid, &status, 0));
	if (WIFEXITED(status))
		_exit(WEXITSTATUS(status));
	LAB_EXPECT_EQ(WTERMSIG(status), SIGKILL);
	LAB_OBJECT(p, pages);
	p = LAB_GROW(p, 1, pages);
	LAB_READS(lab_at(p, 2), 2);
	for (i = 1; i < pages; i++)
		LAB_WRITES(lab_at(p, i), 1);
	LAB_BLOCKS(p, pages - 1);	/* all but the first, which nobody touched */
	LAB_COMMITTED(before, pages);
}

/* A soft limit that refused is raised, and the same growth works. */
static void l07_address_space_raised(void)
{
	char *p = lab_shared_in_hole(1, 513);
	struct rlimit limit;

	LAB_SETUP(getrlimit(RLIMIT_AS, &limit));
	limit.rlim_cur = (rlim_t)1 << 20;
	LAB_SETUP(setrlimit(RLIMIT_AS, &limit));
	LAB_EXPECT_ERRNO(lab_mremap(p, 1, 512, 0, NULL), ENOMEM);
	LAB_OBJECT(p, 1);
	limit.rlim_cur = limit.rlim_max;
	LAB_SETUP(setrlimit(RLIMIT_AS, &limit));
	LAB_GROW_IN_PLACE(p, 1, 512);
	LAB_WRITES(lab_at(p, 511), 1);
	LAB_OBJECT(p, 512);
}

/* A place that was taken becomes free. */
static void l08_room_is_made(void)
{
	long before = lab_committed();
	char *p = lab_shared_blocked(2);

	LAB_EXPECT_ERRNO(lab_mremap(p, 2, 3, 0, NULL), ENOMEM);
	LAB_OBJECT(p, 2);
	lab_unmap(lab_at(p, 2), 1);
	LAB_GROW_IN_PLACE(p, 2, 3);
	LAB_WRITES(lab_at(p, 2), 1);
	LAB_OBJECT(p, 3);
	LAB_COMMITTED(before, 3);
}

/* ---- growth that just fits ---- */

/* Overcommit 0 refuses what is more than all memory and swap, to the page. */
static void l09_fits_into_memory(void)
{
	long all = lab_meminfo_pages("MemTotal") + lab_meminfo_pages("SwapTotal"), before = lab_committed();
	char *p = lab_shared(8);

	lab_need_room(9 + all);
	p = LAB_GROW(p, 8, 8 + all);
	LAB_WRITES(lab_at(p, 7 + all), 1);
	LAB_OBJECT(p, 8 + all);
	LAB_COMMITTED(before, 8 + all);
	lab_unmap(p, 8 + all);
	LAB_COMMITTED(before, 0);
}

static void l09_a_page_too_much_for_memory(void)
{
	long all = lab_meminfo_pages("MemTotal") + lab_meminfo_pages("SwapTotal");

	lab_need_room(9 + all);
	lab_refused_growth(lab_shared(8), 8, all + 1);
}

/* Where commitment is strict, growth may have almost all of what a fresh mapping could have. */
static void l10_fits_into_the_commit_limit(void)
{
	long low = 1, high = lab_strict_overcommit(), room = lab_meminfo_pages("MemTotal") / 8, middle, before;
	char *p;

	while (high - low > 1) {	/* what mmap grants, in pages */
		middle = low + (high - low) / 2;
		p = lab_map(middle, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
		if (p == MAP_FAILED) {
			high = middle;
			continue;
		}
		low = middle;
		lab_unmap(p, middle);
	}
	printf("mmap grants %ld pages of %ld below the limit\n", low, room);
	LAB_EXPECT(low <= room + room / 8 && low >= room - room / 4);
	low -= low / 8;	/* the counter is read in batches, and a mapping's own length counts a little */
	before = lab_committed();
	p = LAB_GROW(lab_shared(4), 4, low);
	LAB_WRITES(lab_at(p, low - 1), 1);
	LAB_OBJECT(p, low);
	LAB_COMMITTED(before, low);
	lab_refused_growth(lab_shared(4), 4, low);
}

static void l11_fits_into_the_address_space(void)
{
	char *p = lab_shared_in_hole(4, 64);

	LAB_OBJECT(p, 4);	/* which reads files: what that maps is mapped before the limit is set */
	lab_limit_address_space(8);
	LAB_EXPECT_ERRNO(lab_mremap(p, 4, 13, 0, NULL), ENOMEM);
	LAB_GROW_IN_PLACE(p, 4, 12);
	LAB_WRITES(lab_at(p, 11), 1);
	LAB_EXPECT_ERRNO(lab_mremap(p, 12, 13, 0, NULL), ENOMEM);
	LAB_OBJECT(p, 12);
}

static void l12_fits_into_the_gap(void)
{
	char *p = lab_shared_in_hole(1, 10);

	LAB_SETUP(mmap(lab_at(p, 8), lab_page(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	LAB_EXPECT_ERRNO(lab_mremap(p, 1, 9, 0, NULL), ENOMEM);
	LAB_OBJECT(p, 1);
	LAB_GROW_IN_PLACE(p, 1, 8);
	LAB_WRITES(lab_at(p, 7), 1);
	LAB_OBJECT(p, 8);
}

static void l13_fits_into_what_may_be_locked(void)
{
	char *p = lab_shared_in_hole(1, 8);

	lab_limit(RLIMIT_MEMLOCK, 4 * lab_page());
	lab_drop_root();
	LAB_SETUP(mlock(p, lab_page()));
	LAB_EXPECT_ERRNO(lab_mremap(p, 1, 5, 0, NULL), EAGAIN);
	LAB_GROW_IN_PLACE(p, 1, 4);
	LAB_WRITES(lab_at(p, 3), 1);
}

/* A move wants to have three mappings in reserve. */
static void l14_fits_into_the_map_count(void)
{
	char *p = lab_shared_blocked(1);
	long before = lab_committed();

	lab_limit_map_count(4);
	p = LAB_GROW(p, 1, 64);
	LAB_WRITES(lab_at(p, 63), 1);
	LAB_OBJECT(p, 64);
	LAB_COMMITTED(before, 63);
}

/* Three quarters of a memory cgroup's limit can be touched. */
static void l15_fits_into_the_cgroup(void)
{
	long pages = lab_pages(12ULL << 20), i;
	const char *group = lab_memory_cgroup("lab-l15", "16M");
	char *p = lab_shared(1);
	pid_t pid;

	pid = lab_fork();
	if (!pid) {
		lab_join_cgroup(group);
		p = LAB_GROW(p, 1, pages);
		for (i = 1; i < pages; i++)
			LAB_WRITES(lab_at(p, i), 1);
		_exit(0);
	}
	lab_join(pid);
	LAB_OBJECT(p, pages);
	LAB_BLOCKS(p, pages - 1);
}

/* ---- what growth costs, to the page ---- */

#define MANY 48	/* objects, so that a page too much of each is well above the noise */

/* Make objects of `old` pages and grow each by pieces until it has `new`: Committed_AS has each page of them once. */
static void cost_of_many(long old, long new, int flags, long paid)
{
	long before = lab_committed(), size, next, i;
	char *p[MANY];

	for (i = 0; i < MANY; i++) {
		p[i] = LAB_SETUP(lab_map(old, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | flags));
		for (size = old; size < new; size = next) {
			next = size + 3 < new ? size + 3 : new;
			p[i] = LAB_GROW(p[i], size, next);
			LAB_WRITES(lab_at(p[i], next - 1), 1);
		}
		LAB_OBJECT(p[i], new);
	}
	LAB_COMMITTED(before, MANY * paid);
	for (i = 0; i < MANY; i++)
		lab_unmap(p[i], new);
	LAB_COMMITTED(before, 0);
}

static void l16_many_objects(void)
{
	cost_of_many(2, 13, 0, 13);
}

/* MAP_NORESERVE: the last page of each of four pieces was written, and nothing else is paid for. */
static void l16_many_noreserve(void)
{
	cost_of_many(2, 13, MAP_NORESERVE, 4);
}

/* Views of one object grow to several sizes, the largest neither first nor last: it is paid for once. */
static void l17_paid_once(void)
{
	static const long sizes[] = { 40, 200, 120, 200, 7 };
	long before = lab_committed(), i;
	char *p = lab_shared(4), *view[5];

	for (i = 0; i < 5; i++) {
		view[i] = LAB_EXPECT_OK(lab_mremap(p, 0, 4, MREMAP_MAYMOVE, NULL));
		view[i] = LAB_GROW(view[i], 4, sizes[i]);
		LAB_WRITES(lab_at(view[i], sizes[i] - 1), (unsigned char)sizes[i]);
		LAB_COMMITTED(before, i ? 200 : 40);
	}
	LAB_OBJECT(p, 200);
	for (i = 0; i < 5; i++) {
		lab_unmap(view[i], sizes[i]);
		LAB_COMMITTED(before, 200);
	}
	lab_unmap(p, 4);
	LAB_COMMITTED(before, 0);
}

/* Growth within the object, after it was extended, costs nothing; nor does shrinking give anything back. */
static void l18_within_is_free(void)
{
	long before = lab_committed(), i;
	char *p = LAB_GROW(lab_shared(4), 4, 300);

	LAB_WRITES(lab_at(p, 299), 1);
	for (i = 0; i < 16; i++) {
		LAB_EXPECT_OK(lab_mremap(p, 300, 4, 0, NULL));
		LAB_COMMITTED(before, 300);
		p = LAB_GROW(p, 4, 300);
		LAB_WRITES(lab_at(p, 299), 1);
	}
	LAB_COMMITTED(before, 300);
	LAB_OBJECT(p, 300);
	lab_unmap(p, 300);
	LAB_COMMITTED(before, 0);
}

/* More than the limit is committed.  Nobody is granted a page now, so that ends as soon as the questions are asked. */
static void l19_free_over_the_limit(void)
{
	long kb = lab_meminfo("MemTotal") / 8, pages = 2 * lab_pages((unsigned long long)kb << 10), before = lab_committed();
	char *p = lab_shared_in_hole(8, 9), *much = lab_shared(pages), *hole = lab_hole(8, 0), *view, *page;

	lab_needs_dontunmap();
	LAB_WRITES(lab_at(p, 7), 7);
	lab_commit_limit(lab_meminfo("Committed_AS") - kb);
	page = lab_map(1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
	view = LAB_DUP_TO(p, 8, hole);
	LAB_EXPECT_OK(lab_mremap(p, 8, 4, 0, NULL));
	LAB_GROW_IN_PLACE(p, 4, 8);
	p = LAB_EXPECT_OK(lab_mremap(p, 8, 8, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL));
	lab_unmap(much, pages);
	if (page != MAP_FAILED)
		LAB_ERROR("a page was granted over the limit");
	LAB_READS(lab_at(view, 7), 7);
	LAB_READS(lab_at(p, 7), 7);
	LAB_OBJECT(p, 8);
	LAB_COMMITTED(before, 8);
}

/* ---- no memory for the kernel itself ---- */

#define TRIES 4
#define OBJECT 8	/* pages */
#define MORE 32		/* pages by which a try makes a mapping larger that pays for it */
#define TARGET 160	/* pages between the addresses of two tries: room for OBJECT and TRIES times MORE */
#define SPARE 8		/* mappings that are given up before a try */
#define VIEWS (1 << 15)	/* more than a CPU keeps memory for, and half of what a process may have */

/* A mapping that is moved when the kernel gets no memory for that, and made larger by so many pages. */
struct mover {
	const char *what;
	char *p;
	long pages, more;
	int error;
	long failures;
};

enum { GROWS, STAYS, WITHIN, UNPAID, OF_FILE, OF_MEMFD, PRIVATE, MOVERS };

struct starved {
	struct mover of[MOVERS];
	long before;
	int limit;	/* memory.max of the cgroup */
	int filler;	/* a file whose pages use it up */
	long views;
};

/*
 * Enter a memory cgroup in which nobody may be killed: when it is full, the kernel's own allocations fail with ENOMEM.  A
 * page fault would be repeated for ever, so all that is here already gets its memory now.
 */
static struct starved starved(void)
{
	const char *group = lab_memory_cgroup("lab-l20", "16M");
	struct starved s = { 0 };
	char path[LAB_PATH], *p;
	cpu_set_t here;
	int file, memfd;

	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	LAB_SETUP(sched_setaffinity(0, sizeof(here), &here));	/* a CPU keeps for itself what a cgroup has paid for */
	snprintf(path, sizeof(path), "%s/memory.max", group);
	s.limit = LAB_SETUP(open(path, O_WRONLY | O_CLOEXEC));
	s.filler = LAB_SETUP_OR_SKIP((int)syscall(SYS_memfd_create, "lab", 1U));
	s.before = lab_committed();
	lab_join_cgroup(group);
	LAB_SETUP(lab_write_file("/proc/self/oom_score_adj", "-1000"));
	LAB_SETUP_OR_SKIP(mlockall(MCL_CURRENT));
	p = lab_shared(OBJECT);
	LAB_WRITES(lab_at(p, 3), 3);
	s.of[GROWS] = (struct mover){ .what = "growth", .p = p, .pages = OBJECT, .more = MORE };
	p = LAB_SETUP(lab_mremap(p, 0, OBJECT, MREMAP_MAYMOVE, NULL));
	s.of[STAYS] = (struct mover){ .what = "a move", .p = p, .pages = OBJECT };
	p = LAB_SETUP(lab_mremap(s.of[GROWS].p, 0, 1, MREMAP_MAYMOVE, NULL));
	s.of[WITHIN] = (struct mover){ .what = "growth within the object", .p = p, .pages = 1, .more = 1 };
	p = LAB_SETUP(lab_map(1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE));
	s.of[UNPAID] = (struct mover){ .what = "growth with MAP_NORESERVE", .p = p, .pages = 1, .more = 1 };
	file = LAB_SETUP(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
	p = LAB_SETUP(mmap(NULL, lab_page(), PROT_READ, MAP_SHARED, file, 0));
	s.of[OF_FILE] = (struct mover){ .what = "growth over a file", .p = p, .pages = 1, .more = 1 };
	close(file);
	memfd = LAB_SETUP((int)syscall(SYS_memfd_create, "lab", 1U));
	p = LAB_SETUP(mmap(NULL, lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0));
	s.of[OF_MEMFD] = (struct mover){ .what = "growth over a memfd", .p = p, .pages = 1, .more = 1 };
	close(memfd);
	p = LAB_SETUP(lab_map(1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS));
	s.of[PRIVATE] = (struct mover){ .what = "growth of read-only private memory", .p = p, .pages = 1, .more = 1 };
	return s;
}

/* Use up the cgroup, page by page.  Until it is fed() this process may use nothing new, and may say nothing. */
static void starve(const struct starved *s)
{
	off_t size = 0;

	while (!fallocate(s->filler, 0, size, (off_t)lab_page()))
		size += (off_t)lab_page();
}

/* A view of the object's first page takes a mapping and no more; NULL if there is no memory for it. */
static char *view_of(const struct starved *s)
{
	char *view = lab_mremap(s->of[GROWS].p, 0, 1, MREMAP_MAYMOVE, NULL);

	return view == MAP_FAILED ? NULL : view;
}

/* Take what memory there is for mappings; false if there is no end of it. */
static bool takes_all(struct starved *s)
{
	while (s->views < VIEWS && view_of(s))
		s->views++;
	return s->views < VIEWS;
}

/* Move once, to be larger.  What is granted makes the next try ask for more. */
static bool moves(struct mover *m, char *target)
{
	char *q = lab_mremap(m->p, m->pages, m->pages + m->more, MREMAP_MAYMOVE | MREMAP_FIXED, target);

	if (q == MAP_FAILED) {
		m->error = errno;
		m->failures++;
		return false;
	}
	m->p = q;
	m->pages += m->more;
	return true;
}

/*
 * Fail again and again.  One page that a failure keeps, or gives back too much, is less than what Committed_AS moves by
 * itself, so there are four times as many failures as pages of that.  Memory that was freed late may let some succeed.
 */
static void fails_often(struct starved *s, struct mover *m, char *targets)
{
	long try, times = 4 * lab_noise();

	for (try = 0; try < TRIES && m->failures < times && takes_all(s); try++)
		while (m->failures < times && !moves(m, lab_at(targets, try * TARGET)))
			;
}

/* There is memory again.  What failed has neither cost nor changed anything, and now works. */
static void fed(struct starved *s)
{
	struct mover *m = &s->of[GROWS];
	long object = lab_provides("expand-enomem") ? m->pages : OBJECT;

	LAB_SETUP(pwrite(s->limit, "max", 3, 0));
	LAB_SETUP(close(s->filler));
	LAB_OBJECT(m->p, object);
	LAB_COMMITTED(s->before, object);
	LAB_READS(lab_at(m->p, 3), 3);
	LAB_READS(lab_at(s->of[STAYS].p, 3), 3);
	m->p = LAB_GROW(m->p, m->pages, m->pages + MORE);
	LAB_READS(lab_at(m->p, 3), 3);
}

static void l20_no_memory_for_a_mapping(void)
{
	char *hole = lab_hole(MOVERS * TRIES * TARGET, 0);
	struct starved s = starved();
	int i;

	starve(&s);
	for (i = 0; i < MOVERS; i++)
		fails_often(&s, &s.of[i], lab_at(hole, (long)i * TRIES * TARGET));
	fed(&s);
	if (s.views == VIEWS)
		LAB_SKIP("the kernel charges no cgroup for mappings");
	for (i = 0; i < MOVERS; i++) {
		printf("%s failed %ld times\n", s.of[i].what, s.of[i].failures);
		if (!s.of[i].failures)
			LAB_ERROR("the kernel had memory for %s", s.of[i].what);
		LAB_EXPECT_EQ(s.of[i].error, ENOMEM);
	}
}

/* Give up mappings, which after a while leaves memory for as many others; whether there is any. */
static bool has_room_for_mappings(const struct starved *s, char **spare)
{
	int i;

	for (i = 0; i < SPARE; i++)
		munmap(spare[i], lab_page());
	lab_sleep_ms(lab_scaled(50));
	return view_of(s) && view_of(s);
}

/* Addresses that no page table knows yet, a gibibyte apart. */
static void l20_no_memory_for_page_tables(void)
{
	long apart = lab_pages(1ULL << 30);
	char *hole = lab_hole(TRIES * apart, 0), *spare[TRIES * SPARE];
	struct starved s = starved();
	struct mover *m = &s.of[GROWS];
	int i;

	for (i = 0; i < TRIES * SPARE; i++)
		spare[i] = view_of(&s);
	starve(&s);
	for (i = 0; i < TRIES && !m->failures; i++)
		if (has_room_for_mappings(&s, &spare[i * SPARE]))
			moves(m, lab_at(hole, i * apart));
	fed(&s);
	if (!m->failures)
		LAB_SKIP("the kernel had memory for page tables, or for no mapping");
	LAB_EXPECT_EQ(m->error, ENOMEM);
}

LAB_CASES(
	{ LAB_CASE(l01_smaller_growth), .about = "refused growth, then a smaller one: usable, paid for exactly", EXPAND, STRICT },
	{ LAB_CASE(l02_same_growth_after_the_limit_rose), .about = "refused growth is possible once the limit is gone", EXPAND,
	  STRICT },
	{ LAB_CASE(l03_another_process_touches), .about = "what one was refused, another has less of: both use it", EXPAND, STRICT },
	{ LAB_CASE(l04_watched_size), .about = "refusals change neither size nor memory of an object that is watched", STRICT },
	{ LAB_CASE(l05_room_is_as_before), .about = "many refusals take nothing from the room that is left", EXPAND, STRICT },
	{ LAB_CASE(l06_after_a_cgroups_kill), .about = "killed in a memory cgroup: others use the same grown pages", EXPAND,
	  .needs_root = true, .needs_config = "MEMCG" },
	{ LAB_CASE(l07_address_space_raised), .about = "refused by RLIMIT_AS, then possible", EXPAND },
	{ LAB_CASE(l08_room_is_made), .about = "refused for want of addresses, then possible", EXPAND },
	{ LAB_CASE(l09_fits_into_memory), .about = "overcommit 0: growth by all memory and swap just fits", EXPAND },
	{ LAB_CASE(l09_a_page_too_much_for_memory), .about = "overcommit 0: a page more is refused" },
	{ LAB_CASE(l10_fits_into_the_commit_limit), .about = "strict overcommit: growth has what a fresh mapping has", EXPAND, STRICT },
	{ LAB_CASE(l11_fits_into_the_address_space), .about = "RLIMIT_AS: the last page fits, one more does not", EXPAND },
	{ LAB_CASE(l12_fits_into_the_gap), .about = "growth in place up to the next mapping, not a page further", EXPAND },
	{ LAB_CASE(l13_fits_into_what_may_be_locked), .about = "RLIMIT_MEMLOCK: the last page fits, one more does not", EXPAND,
	  .needs_root = true },
	{ LAB_CASE(l14_fits_into_the_map_count), .about = "max_map_count: growth that just fits", EXPAND, .needs_root = true },
	{ LAB_CASE(l15_fits_into_the_cgroup), .about = "memory cgroup: three quarters of the limit can be touched", EXPAND,
	  .needs_root = true, .needs_config = "MEMCG" },
	{ LAB_CASE(l16_many_objects), .about = "many objects grown by pieces: each page is paid for once", EXPAND, .timeout_s = 20 },
	{ LAB_CASE(l16_many_noreserve), .about = "the same with MAP_NORESERVE: what was touched is paid for", EXPAND,
	  .timeout_s = 20 },
	{ LAB_CASE(l17_paid_once), .about = "views grow to several sizes: the largest is paid for, once", EXPAND },
	{ LAB_CASE(l18_within_is_free), .about = "shrinking and growing within the object costs nothing", EXPAND },
	{ LAB_CASE(l19_free_over_the_limit), .about = "more than the limit is committed: what costs nothing is granted", STRICT },
	{ LAB_CASE(l20_no_memory_for_a_mapping), .about = "a memory cgroup is full: no memory for the moved mapping itself",
	  .needs_root = true, .needs_config = "MEMCG", .timeout_s = 20 },
	{ LAB_CASE(l20_no_memory_for_page_tables), .about = "a memory cgroup is full: no memory for its page tables",
	  .needs_root = true, .needs_64bit = true, .needs_config = "MEMCG", .timeout_s = 20 },
)

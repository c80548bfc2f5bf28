/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Group H: races.  Bounded, scaled by LAB_LOAD; what cannot show that it did race says so and proves nothing. */
#include "lab.h"
#include "lab_disk.h"
#include "lab_refusal.h"

#include <linux/futex.h>
#include <pthread.h>

#define EXPAND .requires = "shm-expand"

#define MOST_WORKERS 8
#define MOST_ROUNDS 64
#define TOGETHER 8	/* objects that are raced for in one round */
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

#define STEP 64	/* pages between two workers' sizes: one leaked growth is well above what a few rounds hide */

/* Where workers meet, in memory that all of them share. */
struct arena {
	int workers;
	int arrived[3 * MOST_ROUNDS];
	int done;
	int busy, turns;	/* is the nuisance at it; how often it has been */
	struct span {
		long long from, to;
	} spans[MOST_ROUNDS * TOGETHER][MOST_WORKERS];
	struct aim {
		long delay;	/* of the touch, in turns of spin(); below 0: of the write */
		long step;	/* by which the delay changed last */
		int touch_was_first;
	} aim;
};

static struct arena *make_arena(int workers)
{
	struct arena *arena = (void *)lab_shared(lab_pages(sizeof(*arena)));

	arena->workers = workers;
	return arena;
}

/* Meet all others at a numbered place, asleep.  Whoever fails ends the case, so nobody waits here for ever. */
static void meet(struct arena *arena, int place)
{
	int *arrived = &arena->arrived[place], now;

	if (__atomic_add_fetch(arrived, 1, __ATOMIC_SEQ_CST) == arena->workers)
		syscall(SYS_futex, arrived, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	while ((now = __atomic_load_n(arrived, __ATOMIC_SEQ_CST)) < arena->workers)
		syscall(SYS_futex, arrived, FUTEX_WAIT, now, NULL, NULL, 0);
}

/* Meet awake, so that all leave at the same moment; short, because those who are awake take CPUs from the others. */
static void meet_awake(struct arena *arena, int place)
{
	int spins = 0;

	__atomic_add_fetch(&arena->arrived[place], 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&arena->arrived[place], __ATOMIC_SEQ_CST) < arena->workers)
		if (++spins % 1024 == 0)
			sched_yield();
}

static void spin(long turns)
{
	volatile long left;

	for (left = turns; left > 0; left--)
		;
}

static int worker_count(void)
{
	int cpus = lab_cpus();

	return cpus < 3 ? 3 : cpus > MOST_WORKERS ? MOST_WORKERS : cpus;
}

static void join_all(int count)
{
	while (count--)
		lab_join(-1);
}

/* ---- H01: many grow one object to different sizes at the same moment ---- */

static long size_of(const struct arena *arena, int worker, int object)
{
	return 1 + STEP * (1 + (worker + object) % arena->workers);
}

/* Touch the last page of a round's grown mappings; half of the workers in the other order, so that they must cross. */
static void touch_together(struct arena *arena, char **grown, int worker, int first)
{
	int i;

	for (i = 0; i < TOGETHER; i++) {
		int mine = worker % 2 ? TOGETHER - 1 - i : i;
		struct span *span = &arena->spans[first + mine][worker];
		char *last = lab_at(grown[mine], size_of(arena, worker, first + mine) - 1);

		span->from = lab_now_ns();
		LAB_WRITES(last, (unsigned char)(worker + 1));
		span->to = lab_now_ns();
	}
}

/* Grow a round's objects, likewise in two orders: where mremap extends, this is the race. */
static void grow_together(struct arena *arena, char **objects, char **grown, int worker, int first)
{
	int i;

	for (i = 0; i < TOGETHER; i++) {
		int mine = worker % 2 ? TOGETHER - 1 - i : i;
		struct span *span = &arena->spans[first + mine][worker];

		span->from = lab_now_ns();
		grown[mine] = LAB_GROW(objects[first + mine], 1, size_of(arena, worker, first + mine));
		span->to = lab_now_ns();
		if (lab_provides("expand-enomem"))
			LAB_WRITES(lab_at(grown[mine], size_of(arena, worker, first + mine) - 1), (unsigned char)(worker + 1));
	}
}

static void grow_in_round(struct arena *arena, char **objects, int worker, int round)
{
	bool by_mremap = lab_provides("expand-enomem");
	char *grown[TOGETHER];
	int first = round * TOGETHER, i;

	if (!by_mremap)
		grow_together(arena, objects, grown, worker, first);
	meet(arena, 3 * round);
	meet_awake(arena, 3 * round + 1);
	if (by_mremap)
		grow_together(arena, objects, grown, worker, first);
	else
		touch_together(arena, grown, worker, first);
	meet(arena, 3 * round + 2);
	for (i = 0; i < TOGETHER; i++) {
		long size = size_of(arena, worker, first + i);

		LAB_READS(lab_at(grown[i], size - 1), (unsigned char)(worker + 1));
		LAB_WRITES(lab_at(grown[i], size - 2), 1);
		lab_unmap(grown[i], size);
	}
}

/* Did two workers touch the object at the same time? */
static bool raced(const struct arena *arena, int object)
{
	const struct span *spans = arena->spans[object];
	int a, b;

	for (a = 0; a < arena->workers; a++)
		for (b = 0; b < a; b++)
			if (spans[a].from < spans[b].to && spans[b].from < spans[a].to)
				return true;
	return false;
}

/* All objects are made before the workers are; how many of them were raced for. */
static int race(int rounds)
{
	int workers = worker_count(), objects_count = rounds * TOGETHER, worker, i, hits = 0;
	struct arena *arena = make_arena(workers);
	long largest = 1 + STEP * workers, before = lab_committed();
	static char *objects[MOST_ROUNDS * TOGETHER];

	for (i = 0; i < objects_count; i++)
		objects[i] = lab_shared(1);
	for (worker = 0; worker < workers; worker++) {
		if (lab_fork())
			continue;
		for (i = 0; i < rounds; i++)
			grow_in_round(arena, objects, worker, i);
		_exit(0);
	}
	join_all(workers);
	LAB_COMMITTED(before, objects_count * largest);
	for (i = 0; i < objects_count; i++) {
		hits += raced(arena, i);
		LAB_OBJECT(objects[i], largest);
		lab_unmap(objects[i], 1);
	}
	LAB_COMMITTED(before, 0);
	lab_unmap(arena, lab_pages(sizeof(*arena)));
	return hits;
}

static int bounded(int count, int limit)
{
	return count > limit ? limit : count;
}

static void h01_grow_together(void)
{
	long long until = lab_now_ms() + lab_scaled(8000);
	int rounds = bounded(lab_load(4), MOST_ROUNDS), hits = 0;

	do
		hits += race(rounds);
	while (hits < 4 && lab_now_ms() < until);
	printf("%d objects were raced for\n", hits);
	if (!hits && lab_cpus() > 1)
		LAB_ERROR("no two processes touched at the same time");
}

/*
 * Two in lockstep, object by object, one growing to less than the other: the narrowest race there is, between looking
 * at the object's size and changing it, be that in the touch or in mremap.  Nobody touches a second time, so what a
 * loser does to the size stays done.
 */
static void duel(struct arena *arena, char **objects, int count, int me)
{
	bool by_mremap = lab_provides("expand-enomem");
	int i;

	for (i = 0; i < count; i++) {
		struct span *span = &arena->spans[i][me];
		long size = 1 + STEP * (1 + (i + me) % 2);
		char *p = by_mremap ? objects[i] : LAB_GROW(objects[i], 1, size);

		meet_awake(arena, i);
		spin(me ? i % 16 * 4 : 30);	/* now the one is first, now the other */
		span->from = lab_now_ns();
		p = by_mremap ? LAB_GROW(p, 1, size) : p;
		LAB_WRITES(lab_at(p, size - 1), 1);
		span->to = lab_now_ns();
		lab_unmap(p, size);
	}
}

static int duels(int count)
{
	struct arena *arena = make_arena(2);
	long before = lab_committed(), largest = 1 + 2 * STEP;
	static char *objects[MOST_ROUNDS * TOGETHER];
	int me, i, hits = 0;

	for (i = 0; i < count; i++)
		objects[i] = lab_shared(1);
	for (me = 0; me < 2; me++) {
		if (lab_fork())
			continue;
		duel(arena, objects, count, me);
		_exit(0);
	}
	join_all(2);
	LAB_COMMITTED(before, count * largest);
	for (i = 0; i < count; i++) {
		hits += raced(arena, i);
		LAB_OBJECT(objects[i], largest);
		lab_unmap(objects[i], 1);
	}
	LAB_COMMITTED(before, 0);
	lab_unmap(arena, lab_pages(sizeof(*arena)));
	return hits;
}

static void h01_duel(void)
{
	long long until = lab_now_ms() + lab_scaled(8000);
	int count = bounded(lab_load(96), 3 * MOST_ROUNDS), hits = 0;

	do
		hits += duels(count);
	while (hits < 4 && lab_now_ms() < until);
	printf("%d objects were raced for\n", hits);
	if (!hits && lab_cpus() > 1)
		LAB_ERROR("no two processes touched at the same time");
}

/* ---- H13: write() through map_files extends an object while a touch does ---- */

#define SWEEP 768	/* turns of spin() between the two moments at which a write changes the size and can have read it */
#define FURTHER 4	/* pages by which a round makes the object larger, but for one more */

static long pages_of(int file)
{
	struct stat about;

	LAB_SETUP(fstat(file, &about));
	return lab_pages((unsigned long long)about.st_size);
}

/* Correct the delay by who was first.  The step grows while that is the same one, and shrinks when it changes. */
static void correct(struct aim *aim, int touch_was_first)
{
	long step = aim->touch_was_first == touch_was_first ? 2 * aim->step : aim->step / 2;

	aim->step = step < 8 ? 8 : step > 256 ? 256 : step;
	aim->touch_was_first = touch_was_first;
	aim->delay += touch_was_first ? aim->step : -aim->step;
}

/*
 * One object, larger in every round: one touches the last page of its grown mapping, the other writes a byte beyond the
 * end, in every second round further than the touch. Whoever is last, the object is as large as the larger of the two.
 * In every fourth round the writer looks who was first, and corrects the delay so that both come to the size at the
 * same moment. It looks later than it changes the size, so in the other rounds the touch comes earlier by up to SWEEP.
 */
static void touch_or_write(struct arena *arena, char *p, int file, int rounds, bool writes)
{
	bool by_mremap = lab_provides("expand-enomem");
	long size = 1, mapped = 1;
	int i;

	for (i = 0; i < rounds; i++, size += FURTHER + 1) {
		struct span *span = &arena->spans[i][writes];
		bool asks = i % 4 == 0, further = i % 2;
		long wanted = size + FURTHER + !further, written = further ? wanted : size;
		long delay = arena->aim.delay - (asks ? 0 : i * 33 % SWEEP);

		if (!writes && !by_mremap)
			p = LAB_GROW(p, mapped, wanted);
		meet_awake(arena, 2 * i);
		spin(writes ? -delay : delay);
		span->from = lab_now_ns();
		if (writes)
			LAB_EXPECT_EQ(LAB_EXPECT_OK(pwrite(file, "x", 1, written * (off_t)lab_page())), 1);
		else if (by_mremap)
			p = LAB_GROW(p, mapped, wanted);
		else
			LAB_WRITES(lab_at(p, wanted - 1), 1);
		if (writes && asks)
			correct(&arena->aim, pages_of(file) > written + 1);
		span->to = lab_now_ns();
		meet_awake(arena, 2 * i + 1);
		LAB_EXPECT_EQ(pages_of(file), size + FURTHER + 1);
		mapped = wanted;
	}
}

/* Memory that is paid for by the page: what write() adds to the size of another object is not paid for in any kernel. */
static int writes_beside_touches(int rounds, struct aim *aim)
{
	char *p = LAB_SETUP(lab_map(1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE));
	struct arena *arena = make_arena(2);
	int file = lab_open_object(p), me, i, hits = 0;

	arena->aim = *aim;
	for (me = 0; me < 2; me++) {
		if (lab_fork())
			continue;
		touch_or_write(arena, p, file, rounds, me);
		_exit(0);
	}
	join_all(2);
	*aim = arena->aim;
	for (i = 0; i < rounds; i++)
		hits += raced(arena, i);
	close(file);
	lab_unmap(p, 1);
	lab_unmap(arena, lab_pages(sizeof(*arena)));
	return hits;
}

static void h13_write_beside_touch(void)
{
	long long enough = lab_now_ms() + 4000, until = lab_now_ms() + lab_scaled(8000);
	int rounds = bounded(lab_load(64), MOST_ROUNDS), hits = 0, i;
	struct aim aim = { .step = 64 };

	for (i = 0; i < 16 || (i < 128 && lab_now_ms() < enough) || (hits < 4 && lab_now_ms() < until); i++)
		hits += writes_beside_touches(rounds, &aim);
	printf("%d times they were at it together\n", hits);
	if (!hits && lab_cpus() > 1)
		LAB_ERROR("no touch and no write() at the same time");
}

/* ---- H02: the object's size as somebody outside sees it ---- */

/* Let the watcher, which may have no CPU for itself, come to read once more. */
static void let_read(struct arena *arena)
{
	long long until = lab_now_ms() + lab_scaled(200);
	int turn = __atomic_load_n(&arena->turns, __ATOMIC_SEQ_CST);

	while (__atomic_load_n(&arena->turns, __ATOMIC_SEQ_CST) == turn && lab_now_ms() < until)
		sched_yield();
}

static void grow_stepwise(struct arena *arena, char *p, int worker, int steps)
{
	long size = 1, i;

	meet(arena, 0);
	for (i = 1; i <= steps; i++) {
		long next = 1 + i * arena->workers + worker;

		p = LAB_GROW(p, size, next);
		LAB_WRITES(lab_at(p, next - 1), 1);
		size = next;
		let_read(arena);
	}
}

/* Read the object's size until the workers are done. */
static void watch_size(struct arena *arena, int fd)
{
	struct stat about = { .st_size = 0 };
	off_t last = (off_t)lab_page();
	int readings = 0, sizes = 1;

	meet(arena, 0);
	while (!__atomic_load_n(&arena->done, __ATOMIC_SEQ_CST)) {
		LAB_SETUP(fstat(fd, &about));
		LAB_EXPECT(about.st_size >= last);
		sizes += about.st_size != last;
		last = about.st_size;
		readings++;
		__atomic_add_fetch(&arena->turns, 1, __ATOMIC_SEQ_CST);
	}
	printf("%d readings, %d sizes\n", readings, sizes);
	if (sizes < 3 && lab_cpus() > 1)
		LAB_ERROR("the object did not grow while its size was read");
}

static void h02_size_never_shrinks(void)
{
	int workers = worker_count(), steps = lab_load(32), worker, fd;
	struct arena *arena = make_arena(workers + 1);
	char *p = lab_shared(1);
	pid_t watcher;

	fd = lab_open_object(p);
	watcher = lab_fork();
	if (!watcher) {
		watch_size(arena, fd);
		_exit(0);
	}
	for (worker = 0; worker < workers; worker++) {
		if (lab_fork())
			continue;
		grow_stepwise(arena, p, worker, steps);
		_exit(0);
	}
	join_all(workers);
	__atomic_store_n(&arena->done, 1, __ATOMIC_SEQ_CST);
	lab_join(watcher);
	LAB_OBJECT(p, (steps + 1) * (workers + 1) - 1);
}

/* ---- H03: growth in one thread, touches in others ---- */

#define ROOM 256

struct duel {
	char *p;
	volatile int over;
	int good, beyond;	/* touches of grown pages that worked; that were not mapped yet */
};

static void *touch_all_over(void *argument)
{
	struct duel *duel = argument;
	unsigned int i = 0;

	while (!duel->over) {
		struct lab_fault fault = lab_write(lab_at(duel->p, 1 + i++ * 37 % (ROOM - 1)), 1);

		if (fault.signo && fault.signo != SIGSEGV)
			LAB_FAIL("touch during growth: got %s, expected SIGSEGV or nothing", lab_signal(fault.signo));
		if (fault.signo)
			duel->beyond++;
		else
			duel->good++;
	}
	return NULL;
}

static void h03_grow_while_touched(void)
{
	struct duel duels[2];
	pthread_t threads[2];
	char *p;
	int i;

	lab_catch_faults();
	memset(duels, 0, sizeof(duels));
	p = lab_shared_in_hole(1, ROOM);
	for (i = 0; i < 2; i++) {
		duels[i].p = p;
		if (pthread_create(&threads[i], NULL, touch_all_over, &duels[i]))
			LAB_ERROR("cannot start a thread");
	}
	lab_sleep_ms(5);
	for (i = 1; i < ROOM; i++) {
		LAB_GROW_IN_PLACE(p, i, i + 1);
		if (i % 16 == 0)
			lab_sleep_ms(1);
	}
	lab_sleep_ms(5);
	for (i = 0; i < 2; i++) {
		duels[i].over = 1;
		pthread_join(threads[i], NULL);
	}
	printf("%d touches worked, %d were too early\n", duels[0].good + duels[1].good,
	       duels[0].beyond + duels[1].beyond);
	if (!(duels[0].good + duels[1].good) || !(duels[0].beyond + duels[1].beyond))
		LAB_ERROR("growth and touches did not overlap");
	for (i = 0; i < ROOM; i++)
		LAB_WRITES(lab_at(p, i), 1);
}

/* ---- H04: everything at once, again and again ---- */

static void live_a_little(char *p, int seed)
{
	long size = 1;
	int i;

	srand((unsigned int)seed);
	for (i = 0; i < 8; i++) {
		long next = 1 + rand() % 128;

		p = LAB_EXPECT_OK(lab_mremap(p, size, next, MREMAP_MAYMOVE, NULL));
		size = next;
		LAB_WRITES(lab_at(p, rand() % size), 1);
	}
}

static void h04_grow_shrink_fork_exit(void)
{
	long committed = lab_committed(), shmem = lab_shmem();
	int rounds = lab_load(6), round, child;

	for (round = 0; round < rounds; round++) {
		char *p = lab_shared(1);

		for (child = 0; child < 6; child++) {
			if (lab_fork())
				continue;
			if (!fork())	/* a grandchild that nobody waits for */
				live_a_little(p, 100 * round + 50 + child);
			else
				live_a_little(p, 100 * round + child);
			_exit(0);
		}
		join_all(6);
		lab_unmap(p, 1);
	}
	LAB_COMMITTED(committed, 0);
	LAB_SHMEM(shmem, 0);
}

/* ---- growth against those who take pages away ---- */

#define OLD 64	/* pages that the object has before it grows */

static bool busy(struct arena *arena)
{
	return __atomic_load_n(&arena->busy, __ATOMIC_SEQ_CST);
}

static void be_busy(struct arena *arena, int how)
{
	__atomic_store_n(&arena->busy, how, __ATOMIC_SEQ_CST);
}

/* The nuisance's process: again and again, until told to stop. */
static void make_trouble(struct arena *arena, void (*nuisance)(char *p), char *p)
{
	meet_awake(arena, 0);
	while (!__atomic_load_n(&arena->done, __ATOMIC_SEQ_CST)) {
		be_busy(arena, 1);
		nuisance(p);
		be_busy(arena, 0);
		__atomic_add_fetch(&arena->turns, 1, __ATOMIC_SEQ_CST);
	}
}

/* Grow by four pages and use them: was the nuisance at work when that began, or had it begun when that was over? */
static bool grow_a_little(struct arena *arena, char **p, long size, unsigned char value)
{
	int turns = __atomic_load_n(&arena->turns, __ATOMIC_SEQ_CST);
	bool before = busy(arena);

	*p = LAB_GROW(*p, size, size + 4);
	LAB_WRITES(lab_at(*p, size), value);
	LAB_WRITES(lab_at(*p, size + 3), value);
	return before || busy(arena) || turns != __atomic_load_n(&arena->turns, __ATOMIC_SEQ_CST);
}

/* So many rounds of growth; how many of them the nuisance overlapped.  `keeps`: the old part's data must last, too. */
static int struggle(void (*nuisance)(char *p), int rounds, bool keeps)
{
	struct arena *arena = make_arena(2);
	char *p = lab_shared(OLD);
	int hits = 0, i;
	pid_t pid;

	for (i = 0; i < OLD; i++)
		LAB_WRITES(lab_at(p, i), (unsigned char)(i + 1));
	pid = lab_fork();
	if (!pid) {
		make_trouble(arena, nuisance, p);
		_exit(0);
	}
	meet_awake(arena, 0);
	for (i = 0; i < rounds; i++) {
		hits += grow_a_little(arena, &p, OLD + 4 * i, (unsigned char)i);
		lab_read(lab_at(p, i % OLD));
	}
	__atomic_store_n(&arena->done, 1, __ATOMIC_SEQ_CST);
	lab_join(pid);
	for (i = 0; i < rounds; i++)
		LAB_READS(lab_at(p, OLD + 4 * i), (unsigned char)i);
	for (i = 0; keeps && i < OLD; i++)
		LAB_READS(lab_at(p, i), (unsigned char)(i + 1));
	lab_unmap(p, OLD + 4 * rounds);
	lab_unmap(arena, lab_pages(sizeof(*arena)));
	return hits;
}

/* `nuisance` in a child, again and again, while this process grows an object and uses it; no hang, no lost data. */
static void grow_against(void (*nuisance)(char *p), bool keeps)
{
	long long until = lab_now_ms() + lab_scaled(5000);
	long most = lab_meminfo_pages("MemTotal") / 32;
	int rounds = bounded(lab_load(64), most > 1 ? (int)most : 1), hits = 0;

	do
		hits += struggle(nuisance, rounds, keeps);
	while (hits < 4 && lab_cpus() > 1 && lab_now_ms() < until);
	printf("%d rounds of growth were overlapped\n", hits);
	if (!hits && lab_cpus() > 1)
		LAB_ERROR("nothing happened while the object grew");
}

static void punch(char *p)
{
	LAB_SETUP(madvise(p, OLD * lab_page(), MADV_REMOVE));
}

static void h05_grow_while_punched(void)
{
	grow_against(punch, false);
}

static void drop_caches(char *p)
{
	(void)p;
	LAB_SETUP(lab_write_file("/proc/sys/vm/drop_caches", "3"));
}

static void h07_grow_while_caches_drop(void)
{
	if (!lab_owned())
		LAB_SKIP("would drop the caches, and this machine is no guest of the lab");
	grow_against(drop_caches, true);
}

/* The old part to swap, and swap away from under it. */
static void swap_to_and_fro(char *p)
{
	LAB_SETUP(madvise(p, OLD * lab_page(), MADV_PAGEOUT));
	LAB_SETUP(swapoff(LAB_DISK));
	LAB_SETUP(swapon(LAB_DISK, 0));
}

static void h07_grow_while_swapoff(void)
{
	lab_swap(4 * OLD);
	grow_against(swap_to_and_fro, true);
}

/* In a memory cgroup with room for half of what it grows to, and swap for the rest. */
static void h07_grow_under_pressure(void)
{
	long pages = lab_pages(8 << 20), size = 1, i;
	const char *group;
	char text[32];
	pid_t pid;

	pages = pages < 128 ? 128 : pages;
	if (pages > lab_meminfo_pages("MemTotal") / 4)
		LAB_SKIP("%ld pages are much of %ld kB", pages, lab_meminfo("MemTotal"));
	lab_swap(2 * pages);
	group = lab_cgroup("lab-h07", "memory");
	snprintf(text, sizeof(text), "%llu", (unsigned long long)pages / 2 * lab_page());
	lab_cgroup_set(group, "memory.max", text);
	pid = lab_fork();
	if (!pid) {
		char *p = lab_shared(1);
		long swapped;

		lab_join_cgroup(group);
		for (; size < pages; size += 16) {
			p = LAB_GROW(p, size, size + 16);
			for (i = size; i < size + 16; i++)
				LAB_WRITES(lab_at(p, i), (unsigned char)(1 + i % 251));
		}
		swapped = lab_swapped_kb(p);
		printf("%ld kB are in swap\n", swapped);
		for (i = 1; i < size; i++)
			LAB_READS(lab_at(p, i), (unsigned char)(1 + i % 251));
		if (swapped <= 0)
			LAB_ERROR("the cgroup's limit made nothing go to swap");
		_exit(0);
	}
	lab_join(pid);
}

/* Truncate the object, to one size after another. */
static void truncate_it(struct arena *arena, int fd)
{
	int i;

	meet_awake(arena, 0);
	for (i = 0; !__atomic_load_n(&arena->done, __ATOMIC_SEQ_CST); i++) {
		LAB_SETUP(ftruncate(fd, (off_t)(1 + i % 3 * STEP) * (off_t)lab_page()));
		__atomic_add_fetch(&arena->turns, 1, __ATOMIC_SEQ_CST);
	}
}

/* Grow an object that somebody truncates meanwhile; in how many rounds that somebody got between. */
static int grow_while_truncated(int rounds)
{
	struct arena *arena = make_arena(2);
	char *p = lab_shared(1);
	int hits = 0, fd, i, turns;
	pid_t pid;

	fd = lab_open_object(p);
	pid = lab_fork();
	if (!pid) {
		truncate_it(arena, fd);
		_exit(0);
	}
	meet_awake(arena, 0);
	for (i = 0; i < rounds; i++) {
		turns = __atomic_load_n(&arena->turns, __ATOMIC_SEQ_CST);
		p = LAB_GROW(p, 1 + i, 2 + i);
		lab_write(lab_at(p, 1 + i), 1);
		hits += turns != __atomic_load_n(&arena->turns, __ATOMIC_SEQ_CST);
	}
	__atomic_store_n(&arena->done, 1, __ATOMIC_SEQ_CST);
	lab_join(pid);
	lab_unmap(p, 1 + rounds);
	close(fd);
	lab_unmap(arena, lab_pages(sizeof(*arena)));
	return hits;
}

/* Whatever a touch does, nothing hangs and nothing leaks. */
static void h06_grow_while_truncated(void)
{
	long long until = lab_now_ms() + lab_scaled(5000);
	long before = lab_committed();
	int hits = 0;

	do
		hits += grow_while_truncated(lab_load(64));
	while (hits < 4 && lab_cpus() > 1 && lab_now_ms() < until);
	LAB_COMMITTED(before, 0);
	printf("%d rounds of growth were overlapped\n", hits);
	if (!hits && lab_cpus() > 1)
		LAB_ERROR("nobody truncated while the object grew");
}

/* ---- H14: a truncation between the first and the last thing that mremap does to an object ---- */

/* Cut the last STEP pages of the object off, a part of the last move's time after this one has begun. */
static void truncate_in_round(struct arena *arena, int fd, long held, int round)
{
	const struct span *last = &arena->spans[round ? round - 1 : 0][0];
	struct span *mine = &arena->spans[round][1];
	long long from;

	meet_awake(arena, 2 * round);
	from = lab_now_ns() + (round ? (last->to - last->from) * (1 + round % 3) / 4 : 0);
	while ((mine->from = lab_now_ns()) < from)
		;
	LAB_EXPECT_OK(ftruncate(fd, held * (off_t)lab_page()));
	mine->to = lab_now_ns();
	meet_awake(arena, 2 * round + 1);
}

/* Meanwhile move the mapping and make it a page larger; whoever is last, the object has one of two sizes. */
static char *move_in_round(struct arena *arena, char *p, int fd, long held, char *target, int round)
{
	struct span *mine = &arena->spans[round][0];
	long all = held + STEP, size;

	meet_awake(arena, 2 * round);
	mine->from = lab_now_ns();
	p = LAB_GROW_TO(p, all, all + 1, target);
	mine->to = lab_now_ns();
	meet_awake(arena, 2 * round + 1);
	size = pages_of(fd);
	LAB_EXPECT(size == held || (size == all + 1 && lab_provides("expand-enomem")));
	LAB_EXPECT_OK(lab_mremap(p, all + 1, all, 0, NULL));
	LAB_EXPECT_OK(ftruncate(fd, all * (off_t)lab_page()));
	return p;
}

/*
 * Page tables that have to be moved entry by entry make mremap take its time: the places differ by less than what one
 * table covers.  Returns how often somebody truncated while mremap was at it.
 */
static int moves_beside_truncations(int rounds)
{
	long held = lab_pages(8 << 20), all = held + STEP, before = lab_committed(), i;
	char *p = lab_shared_in_hole(all, all + 1), *places[2] = { lab_hole(all + 1, lab_pages(1 << 20)), p };
	struct arena *arena = make_arena(2);
	int fd = lab_open_object(p), hits = 0;
	pid_t pid;

	for (i = 0; i < held; i++)
		LAB_WRITES(lab_at(p, i), 1);
	pid = lab_fork();
	if (!pid) {
		for (i = 0; i < rounds; i++)
			truncate_in_round(arena, fd, held, (int)i);
		_exit(0);
	}
	for (i = 0; i < rounds; i++) {
		p = move_in_round(arena, p, fd, held, places[i % 2], (int)i);
		hits += arena->spans[i][0].from < arena->spans[i][1].from && arena->spans[i][1].from < arena->spans[i][0].to;
	}
	lab_join(pid);
	LAB_READS(lab_at(p, held - 1), 1);
	lab_unmap(arena, lab_pages(sizeof(*arena)));
	LAB_COMMITTED(before, all);
	close(fd);
	lab_unmap(p, all);
	return hits;
}

/* The object stays as short as the truncation made it, or is as long as the mapping, and is paid for exactly. */
static void h14_moved_while_truncated(void)
{
	long long until = lab_now_ms() + lab_scaled(5000);
	int hits = 0;

	do
		hits += moves_beside_truncations(bounded(lab_load(48), MOST_ROUNDS));
	while (hits < 16 && lab_cpus() > 1 && lab_now_ms() < until);
	printf("%d moves were overlapped\n", hits);
	if (!hits && lab_cpus() > 1)
		LAB_ERROR("nobody truncated while the mapping moved");
}

/* ---- H11: several at a limit that has room for one ---- */

/* Two thirds of the room, for an object of one's own, grown and touched with the others; how often that worked. */
static int grow_at_the_limit(struct arena *arena, long size, int rounds)
{
	int granted = 0, i;

	for (i = 0; i < rounds; i++) {
		char *p = lab_shared(1), *q;
		bool worked;

		meet(arena, i);
		q = lab_mremap(p, 1, size, MREMAP_MAYMOVE, NULL);
		worked = q != MAP_FAILED && !lab_write(lab_at(q, size - 1), 1).signo;
		if (q == MAP_FAILED)
			LAB_EXPECT_EQ(errno, ENOMEM);
		LAB_WRITES(q == MAP_FAILED ? p : q, 1);
		granted += worked;
		meet(arena, MOST_ROUNDS + i);
		lab_unmap(q == MAP_FAILED ? p : q, q == MAP_FAILED ? 1 : size);
		meet(arena, 2 * MOST_ROUNDS + i);
	}
	return granted;
}

/* At most one at a time is granted what there is room for once, someone is in the end, and the sums are right. */
static void h11_grow_at_the_limit(void)
{
	long more = lab_strict_overcommit(), size = lab_meminfo_pages("MemTotal") / 12, before = lab_committed();
	int rounds = bounded(lab_load(12), MOST_ROUNDS), worker;
	struct arena *arena = make_arena(3);

	LAB_EXPECT(size < more);
	for (worker = 0; worker < 3; worker++) {
		if (lab_fork())
			continue;
		__atomic_add_fetch(&arena->turns, grow_at_the_limit(arena, size, rounds), __ATOMIC_SEQ_CST);
		_exit(0);
	}
	join_all(3);
	printf("%d of %d growths were granted\n", arena->turns, 3 * rounds);
	LAB_EXPECT(arena->turns <= rounds);
	lab_unmap(arena, lab_pages(sizeof(*arena)));
	LAB_COMMITTED(before, 0);
	LAB_WRITES(lab_at(LAB_GROW(lab_shared(1), 1, size), size - 1), 1);
}

/* Two grow and touch one object, a third lets its views go: what is there at the end is the largest, paid for once. */
static void h12_grow_while_others_let_go(void)
{
	int rounds = lab_load(48), worker, i;
	long before = lab_committed(), largest = 2 * STEP + 1;
	char *p = lab_shared(1);

	for (worker = 0; worker < 3; worker++) {
		if (lab_fork())
			continue;
		for (i = 0; i < rounds; i++) {
			long size = 1 + (worker < 2 ? (i + worker) % (2 * STEP) + 1 : 1);
			char *q = LAB_EXPECT_OK(lab_mremap(p, 0, size, MREMAP_MAYMOVE, NULL));

			LAB_WRITES(lab_at(q, size - 1), 1);
			lab_unmap(q, size);
		}
		_exit(0);
	}
	join_all(3);
	p = LAB_GROW(p, 1, largest);
	LAB_WRITES(lab_at(p, largest - 1), 1);
	LAB_OBJECT(p, largest);
	LAB_COMMITTED(before, largest);
	lab_unmap(p, largest);
	LAB_COMMITTED(before, 0);
}

/* ---- H10: the header's own rule ---- */

static void see_state(pid_t pid, char wanted)
{
	long long until = lab_now_ms() + lab_scaled(2000);
	int status;

	while (lab_state_of(pid) != wanted && lab_now_ms() < until)
		lab_sleep_ms(1);
	LAB_EXPECT_EQ(lab_state_of(pid), wanted);
	LAB_SETUP(kill(pid, SIGKILL));
	LAB_SETUP(waitpid(pid, &status, 0));
	LAB_EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* An unfinished child is told apart, asleep or running, and can be killed while a touch of a grown page is under way. */
static void h10_watchdog(void)
{
	char *p = LAB_GROW(lab_shared(1), 1, 8);
	pid_t pid = lab_fork();

	if (!pid)
		while (1)
			pause();
	see_state(pid, 'S');
	pid = lab_fork();
	if (!pid)
		while (1)
			lab_write(lab_at(p, 7), 1);
	see_state(pid, 'R');
}

LAB_CASES(
	{ LAB_CASE(h01_grow_together), .about = "many grow one object at once: no SIGBUS, no shrinking, no drift", EXPAND,
	  .timeout_s = 30 },
	{ LAB_CASE(h01_duel), .about = "two in lockstep grow many objects to two sizes: the larger wins, no drift", EXPAND,
	  .timeout_s = 30 },
	{ LAB_CASE(h13_write_beside_touch), .about = "write() through map_files beside a touch: the larger size stays", EXPAND,
	  .needs_root = true, .timeout_s = 30 },
	{ LAB_CASE(h02_size_never_shrinks), .about = "the object's size, watched from outside, never decreases", EXPAND,
	  .needs_root = true, .timeout_s = 20 },
	{ LAB_CASE(h03_grow_while_touched), .about = "growth in one thread, touches in others: never SIGBUS", EXPAND,
	  .timeout_s = 20 },
	{ LAB_CASE(h04_grow_shrink_fork_exit), .about = "grow, shrink, fork, exit: nothing leaks", EXPAND,
	  .timeout_s = 30 },
	{ LAB_CASE(h05_grow_while_punched), .about = "growth against MADV_REMOVE: no hang, data intact", EXPAND,
	  .timeout_s = 20 },
	{ LAB_CASE(h06_grow_while_truncated), .about = "growth against ftruncate: no hang, no leak",
	  .needs_root = true, .timeout_s = 20 },
	{ LAB_CASE(h14_moved_while_truncated), .about = "a move that grows against ftruncate: one of two sizes, no drift",
	  .needs_root = true, .timeout_s = 20 },
	{ LAB_CASE(h07_grow_while_caches_drop), .about = "growth against drop_caches: data intact", EXPAND,
	  .needs_root = true, .timeout_s = 20 },
	{ LAB_CASE(h07_grow_while_swapoff), .about = "growth against swapping out and swapoff: data intact", EXPAND,
	  .needs_root = true, .needs_config = "SWAP ZRAM", .timeout_s = 20 },
	{ LAB_CASE(h07_grow_under_pressure), .about = "growth in a memory cgroup that is full: swapped, data intact", EXPAND,
	  .needs_root = true, .needs_config = "MEMCG SWAP ZRAM", .timeout_s = 20 },
	{ LAB_CASE(h11_grow_at_the_limit), .about = "several grow where there is room for one: granted once, sums right", EXPAND,
	  .needs_root = true, .timeout_s = 30 },
	{ LAB_CASE(h12_grow_while_others_let_go), .about = "two grow an object while views of it end: paid for once", EXPAND,
	  .timeout_s = 20 },
	LAB_NO_CASE("H09", "a campaign's: all programs on kernels built with lockdep, DEBUG_ATOMIC_SLEEP and DEBUG_VM"),
	{ LAB_CASE(h10_watchdog), .about = "an unfinished child is looked at, told apart and killed" },
)

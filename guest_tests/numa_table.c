/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Group P: every memory policy against every kind of memory, judged by where pages lie.  `lab run numa` prints a table
 * for each machine.
 *
 * A kind of memory is one function that maps it, one line of `kinds` with what the kernel promises for it, and one
 * ROW at the end.  A case is called ROW_KIND__POLICY.
 */
#include "lab.h"
#include "lab_disk.h"
#include "lab_numa.h"

#define UNITS 16	/* pages of an area */
#define HUGE_UNITS 4	/* huge pages of an area */
#define HUGEPAGES "/sys/devices/system/node/node%d/hugepages/hugepages-%ldkB/free_hugepages"
#define MOVE 2U		/* MPOL_MF_MOVE */

/* Memory of one kind: `count` units of `bytes` each. */
struct area {
	char *at;
	size_t bytes;
	long count;
	int fd;
};

struct kind {
	const char *name;
	struct area (*map)(void);
	bool ranged;	/* mbind says where its pages go; else the task does */
	bool ordered;	/* interleaving follows the offset; else the order in which pages are allocated */
	bool inherits;	/* a part that it grows by has the policy of the range before it */
};

static size_t bytes_of(const struct area *area)
{
	return area->bytes * (size_t)area->count;
}

/* ---- the kinds --------------------------------------------------------------------------------------------------- */

static struct area mapped(int flags, int fd)
{
	struct area area = { .bytes = lab_page(), .count = UNITS, .fd = fd };

	if (fd >= 0)
		LAB_SETUP(ftruncate(fd, (off_t)bytes_of(&area)));
	area.at = LAB_SETUP(mmap(NULL, bytes_of(&area), PROT_READ | PROT_WRITE, flags, fd, 0));
	madvise(area.at, bytes_of(&area), MADV_NOHUGEPAGE);
	madvise(area.at, bytes_of(&area), MADV_RANDOM);	/* no reading ahead: a page is there when it was touched */
	return area;
}

static struct area map_private(void)
{
	return mapped(MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static struct area map_shared(void)
{
	return mapped(MAP_SHARED | MAP_ANONYMOUS, -1);
}

static struct area map_memfd(void)
{
	return mapped(MAP_SHARED, LAB_SETUP_OR_SKIP((int)syscall(SYS_memfd_create, "lab", 1U)));
}

static struct area map_tmpfs(void)
{
	char path[] = "/dev/shm/lab-XXXXXX";
	int fd = mkstemp(path);

	if (fd < 0)
		LAB_SKIP("no tmpfs at /dev/shm");
	LAB_SETUP(unlink(path));
	return mapped(MAP_SHARED, fd);
}

static struct area map_file(void)
{
	char path[LAB_PATH];
	int fd;

	snprintf(path, sizeof(path), "%s/file", lab_ext2(2 * UNITS));
	fd = LAB_SETUP(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	return mapped(MAP_SHARED, fd);
}

/* Huge pages of the default size, of which every node with memory must have enough. */
static struct area map_hugetlb(void)
{
	struct area area = { .count = HUGE_UNITS, .fd = -1 };
	int nodes[LAB_MAX_NODES], count = lab_nodes(nodes);
	long kb = lab_meminfo("Hugepagesize");
	char path[LAB_PATH], text[32];

	if (kb <= 0)
		LAB_SKIP("the kernel has no huge pages");
	while (count--) {
		snprintf(path, sizeof(path), HUGEPAGES, nodes[count], kb);
		if (lab_slurp(path, text, sizeof(text)) < 0 || atol(text) < HUGE_UNITS)
			LAB_SKIP("node %d has fewer than %d free huge pages", nodes[count], HUGE_UNITS);
	}
	area.bytes = (size_t)kb << 10;
	area.at = LAB_SETUP(mmap(NULL, bytes_of(&area), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB,
				 -1, 0));
	return area;
}

static const struct kind private = { .name = "private", .map = map_private, .ranged = true, .ordered = true,
				     .inherits = true };
static const struct kind shared = { .name = "shared", .map = map_shared, .ranged = true, .ordered = true };
static const struct kind memfd = { .name = "memfd", .map = map_memfd, .ranged = true, .ordered = true };
static const struct kind tmpfs = { .name = "tmpfs", .map = map_tmpfs, .ranged = true, .ordered = true };
static const struct kind hugetlb = { .name = "hugetlb", .map = map_hugetlb, .ranged = true, .ordered = true };
static const struct kind file = { .name = "file", .map = map_file };

/* ---- where pages lie --------------------------------------------------------------------------------------------- */

static void touch(const struct area *area, long from, long to)
{
	for (; from < to; from++)
		LAB_WRITES(area->at + (size_t)from * area->bytes, 1);
}

/* The nodes that a mode is given: all for those that spread, the far one for those that choose, else the near one. */
static struct lab_policy policy_of(int mode, const struct lab_two_nodes *nodes)
{
	switch (mode) {
	case MPOL_INTERLEAVE:
	case LAB_MPOL_WEIGHTED_INTERLEAVE:
		return lab_policy_of(mode, lab_mask_of_all());
	case MPOL_DEFAULT:
	case LAB_MPOL_LOCAL:
		return lab_policy_of(mode, lab_mask_of(nodes->near));
	default:
		return lab_policy_of(mode, lab_mask_of(nodes->far));
	}
}

static const char *word_of(const struct lab_policy *policy, const struct lab_two_nodes *nodes)
{
	if (policy->mode == MPOL_INTERLEAVE || policy->mode == LAB_MPOL_WEIGHTED_INTERLEAVE)
		return "spread";
	return lab_mask_has(&policy->nodes, nodes->far) ? "far" : "near";
}

/* Units `from` up to `to` lie as a policy says.  Where order is not promised, spreading means that each node has some. */
static void lie(const struct kind *kind, const struct area *area, long from, long to, struct lab_policy policy,
		const struct lab_two_nodes *nodes)
{
	int places[UNITS * 2];
	void *at[UNITS * 2];
	char what[64];
	long i, n;

	for (i = from; i < to; i++) {
		at[i - from] = area->at + (size_t)i * area->bytes;
		places[i - from] = INT_MIN;
	}
	LAB_SETUP(syscall(SYS_move_pages, 0, (unsigned long)(to - from), at, NULL, places, 0));
	snprintf(what, sizeof(what), "%s, units %ld-%ld", kind->name, from, to - 1);
	lab_saw("%s", word_of(&policy, nodes));
	if (!strcmp(word_of(&policy, nodes), "spread") && !kind->ordered) {
		policy.mode = MPOL_BIND;
		for (n = 0; n < LAB_MAX_NODES; n++) {
			if (!lab_mask_has(&policy.nodes, (int)n))
				continue;
			for (i = 0; i < to - from && places[i] != n; i++)
				;
			if (i == to - from)
				LAB_FAIL("%s: no page lies on node %ld", what, n);
		}
	}
	lab_check_nodes(__FILE__, __LINE__, what, places, to - from, &policy);
}

/* A whole area is touched now and lies as a policy says. */
static void lies(const struct kind *kind, const struct area *area, struct lab_policy policy,
		 const struct lab_two_nodes *nodes)
{
	touch(area, 0, area->count);
	lie(kind, area, 0, area->count, policy, nodes);
}

static long bind_range(const struct area *area, const struct lab_policy *policy, unsigned int flags)
{
	return syscall(SYS_mbind, area->at, bytes_of(area), (unsigned long)policy->mode, policy->nodes.words,
		       (unsigned long)(LAB_MASK_WORDS * LAB_MASK_BITS), flags);
}

/* What a range's policy comes to for this kind of memory. */
static struct lab_policy ranged(const struct kind *kind, int mode, const struct lab_two_nodes *nodes)
{
	return policy_of(kind->ranged ? mode : MPOL_DEFAULT, nodes);
}

/* ---- the policies: the columns ----------------------------------------------------------------------------------- */

static void by_task(const struct kind *kind, int mode)
{
	struct lab_two_nodes nodes = lab_two_nodes();
	struct lab_policy policy = policy_of(mode, &nodes);
	struct area area = kind->map();

	LAB_SETUP_OR_SKIP(lab_set_mempolicy(&policy));
	lies(kind, &area, policy, &nodes);
}

static void by_range(const struct kind *kind, int mode)
{
	struct lab_two_nodes nodes = lab_two_nodes();
	struct lab_policy policy = policy_of(mode, &nodes);
	struct area area = kind->map();

	LAB_SETUP_OR_SKIP(bind_range(&area, &policy, 0));
	lies(kind, &area, ranged(kind, mode, &nodes), &nodes);
}

static long set_home_node(const struct area *area, int home)
{
#ifdef SYS_set_mempolicy_home_node
	return syscall(SYS_set_mempolicy_home_node, area->at, bytes_of(area), (unsigned long)home, 0UL);
#else
	(void)area, (void)home;
	LAB_SKIP("the headers that this program was compiled with have no set_mempolicy_home_node");
#endif
}

/* A policy that allows or prefers all nodes, of which one is the home. */
static void settle(struct area area, int mode, int home)
{
	struct lab_policy all = lab_policy_of(mode, lab_mask_of_all());

	LAB_SETUP(bind_range(&area, &all, 0));
	LAB_SETUP_OR_SKIP(set_home_node(&area, home));
}

/* The home node comes first: in one half by `mode`, in the other by MPOL_PREFERRED_MANY. */
static void by_home_node(const struct kind *kind, int mode)
{
	struct lab_two_nodes nodes = lab_two_nodes();
	struct lab_policy interleave = lab_policy_of(MPOL_INTERLEAVE, lab_mask_of_all());
	struct area area = kind->map(), first = area, second = area;

	first.count = area.count / 2;
	second.at += bytes_of(&first);
	second.count -= first.count;
	settle(first, mode, nodes.far);
	settle(second, LAB_MPOL_PREFERRED_MANY, nodes.far);
	lies(kind, &area, ranged(kind, MPOL_BIND, &nodes), &nodes);
	LAB_SETUP(bind_range(&first, &interleave, 0));	/* which goes round, and has no home */
	LAB_EXPECT(set_home_node(&first, nodes.far) == -1 && errno == EOPNOTSUPP);
}

/* A child has its parent's policy. */
static void by_fork(const struct kind *kind, int mode)
{
	struct lab_two_nodes nodes = lab_two_nodes();
	struct lab_policy policy = policy_of(mode, &nodes);
	struct area area = kind->map();
	pid_t pid;

	LAB_SETUP(lab_set_mempolicy(&policy));
	pid = lab_fork();
	if (!pid) {
		lies(kind, &area, policy, &nodes);
		_exit(0);
	}
	lab_join(pid);
}

static void by_cpuset(const struct kind *kind, int mode)
{
	struct lab_two_nodes nodes = lab_two_nodes();
	struct area area = kind->map();
	const char *group = lab_cgroup("lab-numa-table", "cpuset");
	char text[16];
	pid_t pid;

	snprintf(text, sizeof(text), "%d", nodes.far);
	lab_cgroup_set(group, "cpuset.mems", text);
	pid = lab_fork();
	if (!pid) {
		lab_join_cgroup(group);
		lies(kind, &area, policy_of(mode, &nodes), &nodes);
		_exit(0);
	}
	lab_join(pid);
}

/* Pages that are there stay where they are; the policy is for those that come. */
static void by_range_later(const struct kind *kind, int mode)
{
	struct lab_two_nodes nodes = lab_two_nodes();
	struct lab_policy policy = policy_of(mode, &nodes);
	struct area area = kind->map();
	long half = area.count / 2;

	touch(&area, 0, half);
	LAB_EXPECT_OK(bind_range(&area, &policy, 0));
	touch(&area, half, area.count);
	lie(kind, &area, half, area.count, ranged(kind, mode, &nodes), &nodes);
	lie(kind, &area, 0, half, policy_of(MPOL_DEFAULT, &nodes), &nodes);
}

static void by_range_moved(const struct kind *kind, int mode)
{
	struct lab_two_nodes nodes = lab_two_nodes();
	struct lab_policy policy = policy_of(mode, &nodes);
	struct area area = kind->map();

	touch(&area, 0, area.count);
	LAB_EXPECT_OK(bind_range(&area, &policy, MOVE));
	lie(kind, &area, 0, area.count, policy, &nodes);
}

static void by_migration(const struct kind *kind, int mode)
{
	struct lab_two_nodes nodes = lab_two_nodes();
	struct lab_nodemask near = lab_mask_of(nodes.near), far = lab_mask_of(nodes.far);
	struct area area = kind->map();

	touch(&area, 0, area.count);
	LAB_EXPECT_OK(syscall(SYS_migrate_pages, 0, (unsigned long)(LAB_MASK_WORDS * LAB_MASK_BITS), near.words,
			      far.words));
	lie(kind, &area, 0, area.count, policy_of(mode, &nodes), &nodes);
}

/* The policy is set, then the memory grows: private memory takes it along, an object has it for the range alone. */
static void by_range_then_grown(const struct kind *kind, int mode)
{
	struct lab_two_nodes nodes = lab_two_nodes();
	struct lab_policy policy = policy_of(mode, &nodes);
	struct area area = kind->map();
	long count = area.count;

	LAB_SETUP(bind_range(&area, &policy, 0));
	if (area.fd >= 0)
		LAB_SETUP(ftruncate(area.fd, (off_t)(2 * bytes_of(&area))));
	area.at = LAB_GROW(area.at, count, 2 * count);
	area.count = 2 * count;
	madvise(area.at, bytes_of(&area), MADV_NOHUGEPAGE);
	touch(&area, 0, area.count);
	lie(kind, &area, count, area.count, policy_of(kind->inherits ? mode : MPOL_DEFAULT, &nodes), &nodes);
	lie(kind, &area, 0, count, policy, &nodes);
}

/* ---- the table ---------------------------------------------------------------------------------------------------- */

#define POLICIES(DO, row, kind)							\
	DO(row, kind, task_default, by_task, MPOL_DEFAULT)			\
	DO(row, kind, task_local, by_task, LAB_MPOL_LOCAL)			\
	DO(row, kind, task_bind, by_task, MPOL_BIND)				\
	DO(row, kind, task_preferred, by_task, MPOL_PREFERRED)			\
	DO(row, kind, task_preferred_many, by_task, LAB_MPOL_PREFERRED_MANY)	\
	DO(row, kind, task_interleave, by_task, MPOL_INTERLEAVE)		\
	DO(row, kind, task_weighted, by_task, LAB_MPOL_WEIGHTED_INTERLEAVE)	\
	DO(row, kind, task_of_parent, by_fork, MPOL_BIND)			\
	DO(row, kind, cpuset, by_cpuset, MPOL_BIND)				\
	DO(row, kind, range_bind, by_range, MPOL_BIND)				\
	DO(row, kind, range_preferred, by_range, MPOL_PREFERRED)		\
	DO(row, kind, range_preferred_many, by_range, LAB_MPOL_PREFERRED_MANY)	\
	DO(row, kind, range_interleave, by_range, MPOL_INTERLEAVE)		\
	DO(row, kind, range_weighted, by_range, LAB_MPOL_WEIGHTED_INTERLEAVE)	\
	DO(row, kind, range_home_node, by_home_node, MPOL_BIND)			\
	DO(row, kind, range_after_touch, by_range_later, MPOL_BIND)		\
	DO(row, kind, range_with_move, by_range_moved, MPOL_BIND)		\
	DO(row, kind, migrate_pages, by_migration, MPOL_BIND)

#define GROWING(DO, row, kind) DO(row, kind, range_then_grown, by_range_then_grown, MPOL_BIND)

#define FUNCTION(row, kind, policy, check, mode)		\
	static void row##_##kind##__##policy(void)		\
	{							\
		check(&kind, mode);				\
	}

#define ENTRY(row, kind, policy, check, mode)						\
	{ LAB_CASE(row##_##kind##__##policy), .about = #kind " memory, " #policy, .needs_nodes = 2, \
	  .needs_config = "NUMA CPUSETS", .needs_root = true },

#define NEEDS_PATCH(row, kind, policy, check, mode)					\
	{ LAB_CASE(row##_##kind##__##policy), .about = #kind " memory, " #policy, .needs_nodes = 2, \
	  .needs_config = "NUMA CPUSETS", .needs_root = true, .requires = "shm-expand" },

POLICIES(FUNCTION, p01, private)
GROWING(FUNCTION, p01, private)
POLICIES(FUNCTION, p02, shared)
GROWING(FUNCTION, p02, shared)
POLICIES(FUNCTION, p03, memfd)
GROWING(FUNCTION, p03, memfd)
POLICIES(FUNCTION, p04, tmpfs)
GROWING(FUNCTION, p04, tmpfs)
POLICIES(FUNCTION, p05, hugetlb)
POLICIES(FUNCTION, p06, file)

LAB_CASES(
	POLICIES(ENTRY, p01, private)
	GROWING(ENTRY, p01, private)
	POLICIES(ENTRY, p02, shared)
	GROWING(NEEDS_PATCH, p02, shared)
	POLICIES(ENTRY, p03, memfd)
	GROWING(ENTRY, p03, memfd)
	POLICIES(ENTRY, p04, tmpfs)
	GROWING(ENTRY, p04, tmpfs)
	POLICIES(ENTRY, p05, hugetlb)
	POLICIES(ENTRY, p06, file)
)

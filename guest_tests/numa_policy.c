/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Group E: memory policy and placement of the grown part; where a page is, move_pages says. */
#include "lab.h"
#include "lab_numa.h"

#define EXPAND .requires = "shm-expand"
#define TWO_NODES .needs_nodes = 2, .needs_config = "NUMA"

#define NODES "/sys/devices/system/node"

static struct lab_policy bind_to(int node)
{
	return lab_policy_of(MPOL_BIND, lab_mask_of(node));
}

static struct lab_policy local(int node)
{
	return lab_policy_of(LAB_MPOL_LOCAL, lab_mask_of(node));
}

/* Write to pages `from` up to `to`, which must work, and check that each came to lie where the policy says. */
static void lie_by(char *p, long from, long to, const struct lab_policy *policy)
{
	char what[64];

	snprintf(what, sizeof(what), "pages %ld-%ld", from, to - 1);
	lab_populate(lab_at(p, from), to - from);
	lab_check_placed(__FILE__, __LINE__, what, lab_at(p, from), to - from, policy);
}

/* mbind with flags: MPOL_MF_STRICT refuses where pages lie elsewhere, MPOL_MF_MOVE moves them. */
static long mbind_flags(char *p, long pages, const struct lab_policy *policy, unsigned int flags)
{
	return syscall(SYS_mbind, p, (unsigned long)pages * lab_page(), (unsigned long)policy->mode, policy->nodes.words,
		       (unsigned long)(LAB_MASK_WORDS * LAB_MASK_BITS), flags);
}

static bool node_has_cpus(int node)
{
	char path[LAB_PATH];
	int cpus[LAB_MAX_CPUS];

	snprintf(path, sizeof(path), NODES "/node%d/cpulist", node);
	return lab_list(path, cpus, LAB_MAX_CPUS) > 0;
}

/* The mode of the policy at an address. */
static int mode_at(char *p)
{
	int mode = -1;

	LAB_EXPECT_OK(syscall(SYS_get_mempolicy, &mode, NULL, 0UL, p, (unsigned long)MPOL_F_ADDR));
	return mode;
}

/* ---- whose policy holds ---- */

static void e01_new_part_by_task_policy(void)
{
	struct lab_two_nodes nodes = lab_two_nodes();
	struct lab_policy far = bind_to(nodes.far), near = local(nodes.near);
	char *p = lab_shared(8);

	LAB_SETUP(lab_mbind(p, 8, &far));
	p = LAB_GROW(p, 8, 16);
	lie_by(p, 0, 8, &far);
	lie_by(p, 8, 16, &near);
	if (!node_has_cpus(nodes.far))
		return;
	LAB_EXPECT_OK(lab_set_mempolicy(&near));	/* local: where the task runs, wherever that will be */
	lab_run_on_node(nodes.far);
	near = local(nodes.far);
	p = LAB_GROW(p, 16, 24);
	lie_by(p, 16, 24, &near);
}

static void e02_new_part_has_no_policy(void)
{
	struct lab_two_nodes nodes = lab_two_nodes();
	struct lab_policy far = bind_to(nodes.far), near = local(nodes.near);
	struct lab_policy none = lab_policy_of(MPOL_DEFAULT, near.nodes), prefer = lab_policy_of(MPOL_PREFERRED, far.nodes);
	struct lab_policy all = lab_policy_of(MPOL_INTERLEAVE, lab_mask_of_all());
	char *p = lab_shared(4);

	LAB_SETUP(lab_mbind(p, 4, &far));
	p = LAB_GROW(p, 4, 8);
	LAB_EXPECT_EQ(mode_at(lab_at(p, 3)), MPOL_BIND);
	LAB_EXPECT_EQ(mode_at(lab_at(p, 5)), MPOL_DEFAULT);
	/* Over the end of one and the beginning of another: the rest of both stays. */
	LAB_EXPECT_OK(lab_mbind(lab_at(p, 4), 4, &prefer));
	LAB_EXPECT_OK(lab_mbind(lab_at(p, 2), 3, &all));
	LAB_EXPECT_EQ(mode_at(lab_at(p, 1)), MPOL_BIND);
	LAB_EXPECT_EQ(mode_at(lab_at(p, 3)), MPOL_INTERLEAVE);
	LAB_EXPECT_EQ(mode_at(lab_at(p, 4)), MPOL_INTERLEAVE);
	LAB_EXPECT_EQ(mode_at(lab_at(p, 5)), MPOL_PREFERRED);
	LAB_EXPECT_EQ(mode_at(lab_at(p, 7)), MPOL_PREFERRED);
	/* The same policy again would do nothing, since the mapping, if not the object's new part, has it already. */
	LAB_EXPECT_OK(lab_mbind(p, 8, &prefer));
	LAB_EXPECT_OK(lab_mbind(lab_at(p, 2), 4, &none));
	LAB_EXPECT_EQ(mode_at(lab_at(p, 5)), MPOL_DEFAULT);
	LAB_EXPECT_EQ(mode_at(lab_at(p, 7)), MPOL_PREFERRED);
	LAB_EXPECT_ERRNO(syscall(SYS_set_mempolicy, MPOL_DEFAULT, far.nodes.words, (unsigned long)LAB_MASK_BITS), EINVAL);
	LAB_EXPECT_ERRNO(syscall(SYS_set_mempolicy, MPOL_BIND, NULL, 0UL), EINVAL);
	LAB_EXPECT_ERRNO(mbind_flags(p, 8, &far, 1U << 20), EINVAL);
	LAB_EXPECT_ERRNO(lab_mbind(p + 1, 1, &far), EINVAL);
	if (!lab_provides("shm-expand"))
		return;
	lie_by(p, 0, 2, &far);
	lie_by(p, 2, 6, &near);
	lie_by(p, 6, 8, &far);
}

static void e03_mbind_after_growth(void)
{
	struct lab_two_nodes nodes = lab_two_nodes();
	struct lab_policy far = bind_to(nodes.far), near = bind_to(nodes.near);
	char *p = LAB_GROW(lab_shared(2), 2, 16);

	LAB_EXPECT_OK(lab_mbind(p, 16, &far));
	lab_unmap(LAB_DUP_TO(p, 16, lab_hole(16, 0)), 16);	/* which has no say in it */
	lie_by(p, 0, 16, &far);
	LAB_EXPECT_OK(mbind_flags(p, 16, &far, MPOL_MF_STRICT));
	LAB_EXPECT_ERRNO(mbind_flags(p, 16, &near, MPOL_MF_STRICT), EIO);
	LAB_EXPECT_ERRNO(lab_mbind(lab_shared_in_hole(2, 4), 4, &far), EFAULT);
	lie_by(p, 0, 16, &far);
}

/* The same of what the patch has nothing to do with: private memory, and a memfd. */
static void e03_other_mappings(void)
{
	struct lab_two_nodes nodes = lab_two_nodes();
	struct lab_policy far = bind_to(nodes.far), near = bind_to(nodes.near);
	struct lab_policy all = lab_policy_of(MPOL_INTERLEAVE, lab_mask_of_all());
	int fd = LAB_SETUP_OR_SKIP((int)syscall(SYS_memfd_create, "lab", 1U)), i;
	char *maps[2];
	pid_t pid;

	LAB_SETUP(ftruncate(fd, 32 * (off_t)lab_page()));
	maps[0] = LAB_SETUP(lab_map(32, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS));
	maps[1] = LAB_SETUP(mmap(NULL, 32 * lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	for (i = 0; i < 2; i++) {
		madvise(maps[i], 32 * lab_page(), MADV_NOHUGEPAGE);
		LAB_EXPECT_OK(lab_mbind(maps[i], 8, &far));
		LAB_EXPECT_OK(lab_mbind(lab_at(maps[i], 8), 8, &all));
		lie_by(maps[i], 0, 8, &far);
		lie_by(maps[i], 8, 16, &all);
		LAB_EXPECT_OK(lab_mbind(lab_at(maps[i], 16), 16, &far));
		LAB_EXPECT_OK(lab_mbind(lab_at(maps[i], 24), 8, &near));	/* a neighbour of the same mode */
	}
	pid = lab_fork();
	if (!pid) {	/* which inherits the policies of ranges */
		for (i = 0; i < 2; i++) {
			lie_by(maps[i], 16, 24, &far);
			lie_by(maps[i], 24, 32, &near);
		}
		_exit(0);
	}
	lab_join(pid);
}

/* The policy belongs to the object: what the child says of the grown part holds for the parent's touch. */
static void e04_childs_mbind(void)
{
	struct lab_two_nodes nodes = lab_two_nodes();
	struct lab_policy far = bind_to(nodes.far), near = local(nodes.near);
	char *p = lab_shared(1);
	pid_t pid = lab_fork();

	if (!pid) {
		p = LAB_GROW(p, 1, 8);
		LAB_EXPECT_OK(lab_mbind(lab_at(p, 1), 7, &far));
		_exit(0);
	}
	lab_join(pid);
	p = LAB_GROW(p, 1, 8);
	lie_by(p, 1, 8, &far);
	lie_by(p, 0, 1, &near);
}

/* ---- interleaving ---- */

static void e05_task_interleave(void)
{
	struct lab_policy all = lab_policy_of(MPOL_INTERLEAVE, lab_mask_of_all());
	char *p;

	lab_two_nodes();
	LAB_SETUP(lab_set_mempolicy(&all));
	p = LAB_GROW(lab_shared(1), 1, 33);
	lie_by(p, 1, 33, &all);
}

static void e06_interleave_does_not_grow(void)
{
	struct lab_policy all = lab_policy_of(MPOL_INTERLEAVE, lab_mask_of_all()), near = local(lab_two_nodes().near);
	char *p = lab_shared(8);

	LAB_SETUP(lab_mbind(p, 8, &all));
	p = LAB_GROW(p, 8, 24);
	lie_by(p, 0, 8, &all);
	lie_by(p, 8, 24, &near);
}

/* The grown part goes on where the old one left off: one object, one sequence. */
static void e06_interleave_of_the_whole(void)
{
	struct lab_policy all = lab_policy_of(MPOL_INTERLEAVE, lab_mask_of_all());
	char *p;

	lab_two_nodes();
	p = LAB_GROW(lab_shared(8), 8, 24);
	LAB_EXPECT_OK(lab_mbind(p, 24, &all));
	lie_by(p, 0, 24, &all);
}

/* ---- the task's policy ---- */

static void task_policy(int mode)
{
	struct lab_policy far = lab_policy_of(mode, lab_mask_of(lab_two_nodes().far));
	char *p = LAB_GROW(lab_shared(1), 1, 8);

	LAB_SETUP(lab_set_mempolicy(&far));
	lie_by(p, 1, 8, &far);
}

static void e07_task_preferred(void)
{
	task_policy(MPOL_PREFERRED);
}

static void e07_task_bind(void)
{
	task_policy(MPOL_BIND);
}

/* ---- nodes that lack something ---- */

static int memory_only_node(void)
{
	int nodes[LAB_MAX_NODES], count = lab_nodes(nodes);

	while (count--)
		if (!node_has_cpus(nodes[count]))
			return nodes[count];
	LAB_SKIP("every node with memory has CPUs");
}

static void e08_memory_only_node(void)
{
	struct lab_policy there = bind_to(memory_only_node());
	char *p = LAB_GROW(lab_shared(1), 1, 16);

	lab_two_nodes();
	LAB_EXPECT_OK(lab_mbind(lab_at(p, 8), 8, &there));
	lie_by(p, 8, 16, &there);
	there.mode = MPOL_PREFERRED;
	LAB_SETUP(lab_set_mempolicy(&there));
	lie_by(p, 1, 8, &there);
}

/* Of the nodes with memory those that are nearest to `node`. */
static struct lab_nodemask nearest_memory(int node)
{
	int online[LAB_MAX_NODES], count = lab_list(NODES "/online", online, LAB_MAX_NODES), i;
	struct lab_nodemask all = lab_mask_of_all(), nearest = { { 0 } };
	char path[LAB_PATH], text[BUFSIZ], *at = text;
	long best = LONG_MAX, distance;

	snprintf(path, sizeof(path), NODES "/node%d/distance", node);
	LAB_SETUP(lab_slurp(path, text, sizeof(text)));
	for (i = 0; i < count; i++) {	/* one number for each node that is online, in their order */
		distance = strtol(at, &at, 10);
		if (!lab_mask_has(&all, online[i]) || distance > best)
			continue;
		if (distance < best)
			memset(&nearest, 0, sizeof(nearest));
		best = distance;
		lab_mask_add(&nearest, online[i]);
	}
	return nearest;
}

static void e08_node_without_memory(void)
{
	int online[LAB_MAX_NODES], count = lab_list(NODES "/online", online, LAB_MAX_NODES), i;
	struct lab_nodemask all = lab_mask_of_all();
	struct lab_policy nearest;
	char *p = LAB_GROW(lab_shared(1), 1, 16);

	for (i = 0; i < count && (lab_mask_has(&all, online[i]) || !node_has_cpus(online[i])); i++)
		;
	if (i >= count)
		LAB_SKIP("every node with CPUs has memory");
	lab_run_on_node(online[i]);
	nearest = lab_policy_of(LAB_MPOL_LOCAL, nearest_memory(online[i]));
	lie_by(p, 1, 16, &nearest);
}

/* ---- asking and moving ---- */

/* Asking where pages are does not make them be. */
static void e09_asking_does_not_extend(void)
{
	char *p = LAB_GROW(lab_shared(1), 1, 4);

	LAB_EXPECT_EQ(lab_node_of(lab_at(p, 1)), -ENOENT);
	LAB_EXPECT_EQ(lab_node_of(lab_at(p, 3)), -ENOENT);
	LAB_OBJECT(p, lab_provides("expand-enomem") ? 4 : 1);
}

/* What move_pages says of moving the page to the node. */
static int moved(void *page, int node, int flags)
{
	int status = INT_MIN;

	LAB_EXPECT_OK(syscall(SYS_move_pages, 0, 1UL, &page, &node, &status, flags));
	return status;
}

static void e10_move_pages(void)
{
	struct lab_two_nodes nodes = lab_two_nodes();
	struct lab_policy near = local(nodes.near);
	char *p = LAB_GROW(lab_shared(1), 1, 4);
	void *at[3] = { lab_at(p, 1), lab_at(p, 2), lab_at(p, 3) };
	int to[3] = { nodes.far, nodes.near, nodes.far }, status[3], i;

	lie_by(p, 1, 4, &near);
	LAB_EXPECT_EQ(moved(lab_at(p, 2), nodes.far, MPOL_MF_MOVE), nodes.far);
	LAB_EXPECT_EQ(lab_node_of(lab_at(p, 2)), nodes.far);
	LAB_EXPECT_EQ(lab_node_of(lab_at(p, 3)), nodes.near);
	LAB_READS(lab_at(p, 2), 1);
	LAB_EXPECT_OK(syscall(SYS_move_pages, 0, 3UL, at, to, status, MPOL_MF_MOVE));	/* one call, each to its own node */
	for (i = 0; i < 3; i++) {
		LAB_EXPECT_EQ(status[i], to[i]);
		LAB_EXPECT_EQ(lab_node_of(at[i]), to[i]);
		LAB_READS(at[i], 1);
	}
}

/* A page that another process has mapped, too, moves for those only who may move others' pages. */
static void e10_move_shared_pages(void)
{
	struct lab_two_nodes nodes = lab_two_nodes();
	struct lab_policy near = local(nodes.near), there = bind_to(nodes.near);
	struct lab_gate mapped = lab_gate(), leave = lab_gate();
	char *p = LAB_GROW(lab_shared(1), 1, 4);
	int node = -1;
	pid_t pid;

	lie_by(p, 1, 4, &near);
	pid = lab_fork();
	if (!pid) {
		LAB_READS(lab_at(p, 2), 1);
		lab_open_gate(&mapped);
		lab_pass_gate(&leave);
		LAB_READS(lab_at(p, 2), 1);
		_exit(0);
	}
	lab_pass_gate(&mapped);
	LAB_EXPECT_EQ(moved(lab_at(p, 2), nodes.far, MPOL_MF_MOVE), -EACCES);
	LAB_EXPECT_EQ(lab_node_of(lab_at(p, 2)), nodes.near);
	LAB_EXPECT_EQ(moved(lab_at(p, 2), nodes.far, MPOL_MF_MOVE_ALL), nodes.far);
	LAB_READS(lab_at(p, 2), 1);
	LAB_EXPECT_EQ(lab_node_of(lab_at(p, 2)), nodes.far);
	LAB_EXPECT_OK(mbind_flags(lab_at(p, 2), 1, &there, MPOL_MF_MOVE));
	LAB_EXPECT_EQ(lab_node_of(lab_at(p, 2)), nodes.far);
	LAB_EXPECT_OK(mbind_flags(lab_at(p, 2), 1, &there, MPOL_MF_MOVE_ALL));
	LAB_EXPECT_EQ(lab_node_of(lab_at(p, 2)), nodes.near);
	LAB_EXPECT_EQ(moved(lab_at(p, 2), nodes.far, MPOL_MF_MOVE_ALL), nodes.far);
	LAB_EXPECT_OK(syscall(SYS_get_mempolicy, &node, NULL, 0UL, lab_at(p, 2), (unsigned long)(MPOL_F_ADDR | MPOL_F_NODE)));
	LAB_EXPECT_EQ(node, nodes.far);	/* where it lies, against what its policy says */
	LAB_READS(lab_at(p, 2), 1);
	lab_open_gate(&leave);
	lab_join(pid);
}

static void e11_migrate_pages(void)
{
	struct lab_two_nodes nodes = lab_two_nodes();
	struct lab_policy near = bind_to(nodes.near), far = bind_to(nodes.far);
	struct lab_nodemask all = lab_mask_of_all();
	char *p = LAB_GROW(lab_shared(1), 1, 4);

	lie_by(p, 0, 4, &near);
	LAB_EXPECT_OK(syscall(SYS_migrate_pages, 0, (unsigned long)(LAB_MASK_WORDS * LAB_MASK_BITS), near.nodes.words,
			      far.nodes.words));
	LAB_NUMA_EXPECT(p, 4, &far);
	LAB_READS(lab_at(p, 3), 1);
	/* From some nodes to the same ones nothing moves. */
	LAB_EXPECT_OK(syscall(SYS_migrate_pages, 0, (unsigned long)(LAB_MASK_WORDS * LAB_MASK_BITS), all.words, all.words));
	LAB_NUMA_EXPECT(p, 4, &far);
}

/* ---- cpusets ---- */

/* The cpuset's nodes are those of the mask, as get_mempolicy(2) has them. */
static void nodes_allowed(int node)
{
	struct lab_nodemask allowed;

	LAB_EXPECT_OK(syscall(SYS_get_mempolicy, NULL, allowed.words, (unsigned long)(LAB_MASK_WORDS * LAB_MASK_BITS), NULL,
			      (unsigned long)MPOL_F_MEMS_ALLOWED));
	LAB_EXPECT(lab_mask_has(&allowed, node));
	LAB_EXPECT_EQ(lab_mask_next(&allowed, node), node);
}

/*
 * Where a page comes to lie once the cpuset has lost the policy's node and has it again.  The policy of a range does as
 * the task's does, and a page that is there already moves when its node is lost.
 */
static int node_after_rebinding(const char *group, const struct lab_two_nodes *nodes, int flags)
{
	struct lab_policy far = lab_policy_of(MPOL_BIND | flags, lab_mask_of(nodes->far)), there = bind_to(nodes->far);
	char *p = LAB_GROW(lab_shared(1), 1, 4), near[16], both[32];
	char *range = LAB_SETUP(lab_map(1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS));

	snprintf(near, sizeof(near), "%d", nodes->near);
	snprintf(both, sizeof(both), "%d,%d", nodes->near, nodes->far);
	lab_cgroup_set(group, "cpuset.mems", both);
	LAB_EXPECT_OK(lab_set_mempolicy(&far));
	LAB_EXPECT_OK(lab_mbind(range, 1, &far));
	lie_by(p, 0, 1, &there);
	lab_cgroup_set(group, "cpuset.mems", near);
	nodes_allowed(nodes->near);
	if (!lab_kernel_before(5, 15))
		LAB_EXPECT_EQ(lab_node_of(p), nodes->near);
	lab_cgroup_set(group, "cpuset.mems", both);
	LAB_WRITES(range, 1);
	LAB_WRITES(lab_at(p, 3), 1);
	LAB_EXPECT_EQ(lab_node_of(range), lab_node_of(lab_at(p, 3)));
	return lab_node_of(lab_at(p, 3));
}

/* By set_mempolicy(2), a policy follows its cpuset, unless its nodes are static, or relative to the cpuset's. */
static void e12_cpuset(void)
{
	struct lab_two_nodes nodes = lab_two_nodes();
	struct lab_policy there = bind_to(nodes.far);
	struct lab_policy first = lab_policy_of(MPOL_BIND | MPOL_F_RELATIVE_NODES, lab_mask_of(0));
	const char *group = lab_cgroup("lab-e12", "cpuset");
	int lower = nodes.near < nodes.far ? nodes.near : nodes.far;
	char text[16];
	pid_t pid;

	snprintf(text, sizeof(text), "%d", nodes.far);
	lab_cgroup_set(group, "cpuset.mems", text);
	pid = lab_fork();
	if (!pid) {
		char *p = lab_shared(1);

		lab_join_cgroup(group);
		p = LAB_GROW(p, 1, 16);
		lie_by(p, 1, 16, &there);
		LAB_EXPECT_OK(lab_set_mempolicy(&first));
		p = LAB_GROW(p, 16, 24);
		lie_by(p, 16, 24, &there);
		LAB_EXPECT_EQ(node_after_rebinding(group, &nodes, MPOL_F_STATIC_NODES), nodes.far);
		LAB_EXPECT_EQ(node_after_rebinding(group, &nodes, 0), lower);
		_exit(0);
	}
	lab_join(pid);
}

/* ---- a node that is full ---- */

static long node_pages(int node, const char *key)
{
	char path[LAB_PATH], text[BUFSIZ], *at;

	snprintf(path, sizeof(path), NODES "/node%d/meminfo", node);
	LAB_SETUP(lab_slurp(path, text, sizeof(text)));
	at = strstr(text, key);
	if (!at)
		LAB_ERROR("no %s in %s", key, path);
	return strtol(at + strlen(key) + 1, NULL, 10) / (long)(lab_page() >> 10);
}

/* Touch many pages, faster than with a look at each. */
static void use(char *p, long pages)
{
	long i;

	for (i = 0; i < pages; i++)
		*(volatile char *)lab_at(p, i) = 1;
}

/* What fill_node() is to leave: an eighth, and more than the kernel keeps for itself when it boosts its watermarks. */
static long room_on(int node)
{
	char text[32];

	LAB_SETUP(lab_slurp("/proc/sys/vm/min_free_kbytes", text, sizeof(text)));
	return node_pages(node, "MemTotal") / 8 + 2 * lab_pages(strtoull(text, NULL, 10) << 10);
}

/* Take what is free on a node but for about `left` pages, in memory of this process alone, by huge pages if there are. */
static void fill_node(int node, long left)
{
	struct lab_policy there = bind_to(node);
	long pages = node_pages(node, "MemFree") - left;
	char *p;

	if (pages <= 0)
		return;
	p = LAB_SETUP(lab_map(pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS));
	LAB_SETUP(lab_mbind(p, pages, &there));
	madvise(p, (size_t)pages * lab_page(), MADV_HUGEPAGE);
	use(p, pages);
}

/* A child that the OOM killer takes before anybody else. */
static pid_t fork_expendable(void)
{
	pid_t pid = lab_fork();

	if (!pid)
		LAB_SETUP(lab_write_file("/proc/self/oom_score_adj", "1000"));
	return pid;
}

/* Growth bound to a full node ends in the OOM killer's hands, as any memory bound so does, and never by SIGBUS. */
static void e13_bound_to_a_full_node(void)
{
	int far = lab_two_nodes().far, status;
	struct lab_policy there = bind_to(far);
	long room = room_on(far);
	pid_t pid;

	if (!lab_owned())
		LAB_SKIP("would use up a node's memory, and this machine is no guest of the lab");
	pid = fork_expendable();
	if (!pid) {
		char *p = LAB_GROW(lab_shared(1), 1, 1 + 2 * room);

		LAB_SETUP(lab_set_mempolicy(&there));
		LAB_WRITES(lab_at(p, 1), 1);
		fill_node(far, room);
		use(lab_at(p, 1), 2 * room);
		LAB_FAIL("%ld pages were to be had of a node with about %ld free", 2 * room, room);
	}
	LAB_SETUP(waitpid(pid, &status, 0));
	if (WIFEXITED(status))
		_exit(WEXITSTATUS(status));
	LAB_EXPECT_EQ(WTERMSIG(status), SIGKILL);
}

/* Growth by a policy that merely prefers the far node goes elsewhere once that is full. */
static void goes_elsewhere(int far, const struct lab_policy *preferring)
{
	long room = room_on(far), more = room + room / 4;	/* which the other node has, too */
	pid_t pid = fork_expendable();

	if (!pid) {
		char *p = LAB_GROW(lab_shared(1), 1, 1 + more);

		LAB_SETUP(lab_set_mempolicy(preferring));
		LAB_WRITES(lab_at(p, 1), 1);
		fill_node(far, room);
		use(lab_at(p, 1), more);
		LAB_EXPECT_EQ(lab_node_of(lab_at(p, 1)), far);
		LAB_EXPECT(lab_node_of(lab_at(p, more)) != far);
		LAB_EXPECT(lab_node_of(lab_at(p, more)) >= 0);
		_exit(0);
	}
	lab_join(pid);
}

static void e13_preferring_a_full_node(void)
{
	int far = lab_two_nodes().far;
	struct lab_policy preferred = lab_policy_of(MPOL_PREFERRED, lab_mask_of(far));

	if (!lab_owned())
		LAB_SKIP("would use up a node's memory, and this machine is no guest of the lab");
	goes_elsewhere(far, &preferred);
	if (!lab_lacks_mode(LAB_MPOL_PREFERRED_MANY)) {
		preferred = lab_policy_of(LAB_MPOL_PREFERRED_MANY, lab_mask_of(far));
		goes_elsewhere(far, &preferred);
	}
}

/* ---- what numa_maps shows ---- */

/* numa_maps counts the grown pages of this mapping, each on its node. */
static void e14_numa_maps(void)
{
	struct lab_two_nodes nodes = lab_two_nodes();
	struct lab_policy near = local(nodes.near), far = bind_to(nodes.far);
	char *p = LAB_GROW(lab_shared(1), 1, 16), bound[16];

	lie_by(p, 0, 8, &near);
	LAB_EXPECT_EQ(lab_numa_maps(p, nodes.near), 8);
	LAB_EXPECT_EQ(lab_numa_maps(p, nodes.far), 0);
	LAB_SETUP(lab_set_mempolicy(&far));
	lie_by(p, 8, 16, &far);
	LAB_EXPECT_EQ(lab_numa_maps(p, nodes.near), 8);
	LAB_EXPECT_EQ(lab_numa_maps(p, nodes.far), 8);
	LAB_SETUP(lab_set_mempolicy(&near));
	LAB_EXPECT_OK(lab_mbind(lab_at(p, 8), 8, &far));
	snprintf(bound, sizeof(bound), "bind:%d", nodes.far);
	LAB_EXPECT(lab_numa_maps_has(lab_at(p, 8), bound));
	LAB_EXPECT(!lab_numa_maps_has(p, bound));
}

/* ---- the newer policies ---- */

/*
 * Give the nodes weights where that is ours to do: 3 to the near one, 1 to all others.  From 6.16 on that ends that the
 * kernel chooses them, which nothing brings back on a machine without HMAT; the weights themselves are put back.
 */
static void set_weights(int near)
{
	int nodes[LAB_MAX_NODES], count = lab_nodes(nodes);
	char path[LAB_PATH];

	if (!lab_owned())
		return;
	while (count--) {
		snprintf(path, sizeof(path), LAB_WEIGHTS "/node%d", nodes[count]);
		LAB_SET(path, nodes[count] == near ? "3" : "1");
	}
}

static void e15_weighted_interleave(void)
{
	struct lab_policy all = lab_policy_of(LAB_MPOL_WEIGHTED_INTERLEAVE, lab_mask_of_all());
	int near = lab_two_nodes().near;
	char *p = LAB_GROW(lab_shared(1), 1, 129);

	set_weights(near);
	LAB_SETUP(lab_set_mempolicy(&all));
	lie_by(p, 1, 129, &all);
}

static void e15_preferred_many(void)
{
	struct lab_two_nodes nodes = lab_two_nodes();
	struct lab_policy some = lab_policy_of(LAB_MPOL_PREFERRED_MANY, lab_mask_of(nodes.far));
	char *p = LAB_GROW(lab_shared(1), 1, 16);

	LAB_SETUP(lab_set_mempolicy(&some));
	lie_by(p, 1, 8, &some);
	lab_mask_add(&some.nodes, nodes.near);
	LAB_SETUP(lab_set_mempolicy(&some));
	lab_populate(lab_at(p, 8), 8);
	some.nodes = lab_mask_of(nodes.near);	/* of those that it prefers, the nearest */
	LAB_NUMA_EXPECT(lab_at(p, 8), 8, &some);
}

LAB_CASES(
	{ LAB_CASE(e01_new_part_by_task_policy), .about = "old part bound to another node, new part is not", EXPAND,
	  TWO_NODES },
	{ LAB_CASE(e02_new_part_has_no_policy), .about = "get_mempolicy of the grown part is MPOL_DEFAULT", TWO_NODES },
	{ LAB_CASE(e03_mbind_after_growth), .about = "mbind of the whole after growth holds for the whole", EXPAND,
	  TWO_NODES },
	{ LAB_CASE(e03_other_mappings), .about = "mbind of private memory and of a memfd: each page where it should lie",
	  TWO_NODES },
	{ LAB_CASE(e04_childs_mbind), .about = "a child's mbind of the grown part holds for the parent", EXPAND,
	  TWO_NODES },
	{ LAB_CASE(e05_task_interleave), .about = "MPOL_INTERLEAVE of the task goes round over the grown part", EXPAND,
	  TWO_NODES },
	{ LAB_CASE(e06_interleave_does_not_grow), .about = "interleaving of the old part does not spread to the new",
	  EXPAND, TWO_NODES },
	{ LAB_CASE(e06_interleave_of_the_whole), .about = "interleaving after growth has one sequence for both parts",
	  EXPAND, TWO_NODES },
	{ LAB_CASE(e07_task_preferred), .about = "MPOL_PREFERRED of the task is honoured", EXPAND, TWO_NODES },
	{ LAB_CASE(e07_task_bind), .about = "MPOL_BIND of the task is honoured", EXPAND, TWO_NODES },
	{ LAB_CASE(e08_memory_only_node), .about = "a node without CPUs takes the grown part", EXPAND, TWO_NODES },
	{ LAB_CASE(e08_node_without_memory), .about = "touched from a node without memory: the nearest that has some",
	  EXPAND, .needs_config = "NUMA" },
	{ LAB_CASE(e09_asking_does_not_extend), .about = "move_pages status of untouched grown pages is ENOENT",
	  TWO_NODES },
	{ LAB_CASE(e10_move_pages), .about = "a grown page moves to another node, its data with it", EXPAND, TWO_NODES },
	{ LAB_CASE(e10_move_shared_pages), .about = "a grown page that two have mapped: EACCES, or MPOL_MF_MOVE_ALL",
	  EXPAND, TWO_NODES, .needs_root = true },
	{ LAB_CASE(e11_migrate_pages), .about = "migrate_pages takes the grown pages along", EXPAND, TWO_NODES },
	{ LAB_CASE(e12_cpuset), .about = "inside cpuset.mems", EXPAND, .needs_nodes = 2, .needs_config = "NUMA CPUSETS",
	  .needs_root = true },
	{ LAB_CASE(e13_bound_to_a_full_node), .about = "bound to a full node: killed for want of memory, no SIGBUS",
	  EXPAND, TWO_NODES, .needs_root = true, .timeout_s = 30 },
	{ LAB_CASE(e13_preferring_a_full_node), .about = "preferring a full node: goes elsewhere", EXPAND, TWO_NODES,
	  .needs_root = true, .timeout_s = 30 },
	{ LAB_CASE(e14_numa_maps), .about = "numa_maps counts the grown pages on their nodes", EXPAND, TWO_NODES },
	{ LAB_CASE(e15_weighted_interleave), .about = "weighted interleaving: each node its share", EXPAND, TWO_NODES },
	{ LAB_CASE(e15_preferred_many), .about = "MPOL_PREFERRED_MANY: the nearest of several", EXPAND, TWO_NODES },
	LAB_NO_CASE("E16", "no program's: the machines of `lab run numa` and `lab run all-arches` are the sweep"),
)

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Group E: memory policy and placement of the grown part; where a page is, move_pages says. */
#include "lab.h"

#include <linux/mempolicy.h>

#define EXPAND .requires = "shm-expand"
#define TWO_NODES .needs_nodes = 2, .needs_config = "NUMA"

#define BITS ((int)(sizeof(unsigned long) * 8))
#define WORDS (1024 / BITS)	/* the kernel takes masks larger than it has nodes when the rest is zero */

struct nodemask {
	unsigned long words[WORDS];
};

static void mask_add(struct nodemask *mask, int node)
{
	mask->words[node / BITS] |= 1UL << (node % BITS);
}

static struct nodemask mask_of(int node)
{
	struct nodemask mask = { { 0 } };

	mask_add(&mask, node);
	return mask;
}

static long sys_mbind(void *p, long pages, int mode, const struct nodemask *mask)
{
	return syscall(SYS_mbind, p, (unsigned long)pages * lab_page(), (unsigned long)mode, mask->words,
		       (unsigned long)(WORDS * BITS), 0U);
}

static long sys_set_mempolicy(int mode, const struct nodemask *mask)
{
	return syscall(SYS_set_mempolicy, mode, mask->words, (unsigned long)(WORDS * BITS));
}

/* Two nodes with memory; this process then runs on the first, which has CPUs. */
struct nodes {
	int near, far;
};

static struct nodes two_nodes(void)
{
	int nodes[LAB_MAX_NODES], cpus[LAB_MAX_CPUS], count = lab_nodes(nodes), i;
	char path[LAB_PATH];

	for (i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpulist", nodes[i]);
		if (lab_list(path, cpus, LAB_MAX_CPUS) < 1)
			continue;
		lab_run_on_node(nodes[i]);
		return (struct nodes){ .near = nodes[i], .far = nodes[i ? 0 : 1] };
	}
	LAB_ERROR("no node has both memory and CPUs");
}

/* The node of the page at `p`, or the negative errno that move_pages gives for it. */
static int node_of(void *p)
{
	int status = INT_MIN;

	LAB_SETUP(syscall(SYS_move_pages, 0, 1UL, &p, NULL, &status, 0));
	return status;
}

/* Write to pages `from` up to `to`, which must work, and check that each came to lie on `node`. */
static void lie_on(char *p, long from, long to, int node)
{
	long i;

	for (i = from; i < to; i++) {
		LAB_WRITES(lab_at(p, i), 1);
		if (node_of(lab_at(p, i)) != node)
			LAB_FAIL("page %ld lies on node %d, expected %d", i, node_of(lab_at(p, i)), node);
	}
}

static void e01_new_part_by_task_policy(void)
{
	struct nodes nodes = two_nodes();
	struct nodemask far = mask_of(nodes.far);
	char *p = lab_shared(8);

	LAB_SETUP(sys_mbind(p, 8, MPOL_BIND, &far));
	p = LAB_GROW(p, 8, 16);
	lie_on(p, 0, 8, nodes.far);
	lie_on(p, 8, 16, nodes.near);
}

static void e02_new_part_has_no_policy(void)
{
	struct nodes nodes = two_nodes();
	struct nodemask far = mask_of(nodes.far);
	char *p = lab_shared(4);
	int mode = -1;

	LAB_SETUP(sys_mbind(p, 4, MPOL_BIND, &far));
	p = LAB_GROW(p, 4, 8);
	LAB_EXPECT_OK(syscall(SYS_get_mempolicy, &mode, NULL, 0UL, lab_at(p, 3), (unsigned long)MPOL_F_ADDR));
	LAB_EXPECT_EQ(mode, MPOL_BIND);
	LAB_EXPECT_OK(syscall(SYS_get_mempolicy, &mode, NULL, 0UL, lab_at(p, 5), (unsigned long)MPOL_F_ADDR));
	LAB_EXPECT_EQ(mode, MPOL_DEFAULT);
}

static void e03_mbind_after_growth(void)
{
	struct nodes nodes = two_nodes();
	struct nodemask far = mask_of(nodes.far);
	char *p = LAB_GROW(lab_shared(2), 2, 16);

	LAB_EXPECT_OK(sys_mbind(p, 16, MPOL_BIND, &far));
	lie_on(p, 0, 16, nodes.far);
}

/* The policy belongs to the object: what the child says of the grown part holds for the parent's touch. */
static void e04_childs_mbind(void)
{
	struct nodes nodes = two_nodes();
	struct nodemask far = mask_of(nodes.far);
	char *p = lab_shared(1);
	pid_t pid = lab_fork();

	if (!pid) {
		p = LAB_GROW(p, 1, 8);
		LAB_EXPECT_OK(sys_mbind(lab_at(p, 1), 7, MPOL_BIND, &far));
		_exit(0);
	}
	lab_join(pid);
	p = LAB_GROW(p, 1, 8);
	lie_on(p, 1, 8, nodes.far);
	lie_on(p, 0, 1, nodes.near);
}

/* Touch pages `from` up to `to`; how many of them lie on `node`, and that no two neighbours lie together. */
static long interleaved(char *p, long from, long to, int node)
{
	long i, there = 0;

	for (i = from; i < to; i++)
		LAB_WRITES(lab_at(p, i), 1);
	for (i = from; i < to; i++) {
		there += node_of(lab_at(p, i)) == node;
		if (i > from && node_of(lab_at(p, i)) == node_of(lab_at(p, i - 1)))
			LAB_FAIL("pages %ld and %ld both lie on node %d", i - 1, i, node_of(lab_at(p, i)));
	}
	return there;
}

/* Which node comes first depends on the object's inode number. */
static void e05_task_interleave(void)
{
	struct nodes nodes = two_nodes();
	struct nodemask both = mask_of(nodes.near);
	long there;
	char *p;

	mask_add(&both, nodes.far);
	LAB_SETUP(sys_set_mempolicy(MPOL_INTERLEAVE, &both));
	p = LAB_GROW(lab_shared(1), 1, 33);
	there = interleaved(p, 1, 33, nodes.far);
	LAB_EXPECT(there >= 15 && there <= 17);
}

static void e06_interleave_does_not_grow(void)
{
	struct nodes nodes = two_nodes();
	struct nodemask both = mask_of(nodes.near);
	char *p = lab_shared(8);

	mask_add(&both, nodes.far);
	LAB_SETUP(sys_mbind(p, 8, MPOL_INTERLEAVE, &both));
	p = LAB_GROW(p, 8, 24);
	interleaved(p, 0, 8, nodes.far);
	lie_on(p, 8, 24, nodes.near);
}

static void task_policy(int mode)
{
	struct nodes nodes = two_nodes();
	struct nodemask far = mask_of(nodes.far);
	char *p = LAB_GROW(lab_shared(1), 1, 8);

	LAB_SETUP(sys_set_mempolicy(mode, &far));
	lie_on(p, 1, 8, nodes.far);
}

static void e07_task_preferred(void)
{
	task_policy(MPOL_PREFERRED);
}

static void e07_task_bind(void)
{
	task_policy(MPOL_BIND);
}

/* Asking where pages are does not make them be. */
static void e09_asking_does_not_extend(void)
{
	char *p = LAB_GROW(lab_shared(1), 1, 4);

	LAB_EXPECT_EQ(node_of(lab_at(p, 1)), -ENOENT);
	LAB_EXPECT_EQ(node_of(lab_at(p, 3)), -ENOENT);
	LAB_OBJECT(p, lab_provides("expand-enomem") ? 4 : 1);
}

static void e10_move_pages(void)
{
	struct nodes nodes = two_nodes();
	char *p = LAB_GROW(lab_shared(1), 1, 4);
	int status = INT_MIN, target = nodes.far;
	void *page;

	lie_on(p, 1, 4, nodes.near);
	page = lab_at(p, 2);
	LAB_EXPECT_OK(syscall(SYS_move_pages, 0, 1UL, &page, &target, &status, MPOL_MF_MOVE));
	LAB_EXPECT_EQ(status, nodes.far);
	LAB_EXPECT_EQ(node_of(lab_at(p, 2)), nodes.far);
	LAB_EXPECT_EQ(node_of(lab_at(p, 3)), nodes.near);
	LAB_READS(lab_at(p, 2), 1);
}

static void e11_migrate_pages(void)
{
	struct nodes nodes = two_nodes();
	struct nodemask near = mask_of(nodes.near), far = mask_of(nodes.far);
	char *p = LAB_GROW(lab_shared(1), 1, 4);
	int i;

	lie_on(p, 0, 4, nodes.near);
	LAB_EXPECT_OK(syscall(SYS_migrate_pages, 0, (unsigned long)(WORDS * BITS), near.words, far.words));
	for (i = 0; i < 4; i++)
		LAB_EXPECT_EQ(node_of(lab_at(p, i)), nodes.far);
	LAB_READS(lab_at(p, 3), 1);
}

/* numa_maps counts the grown pages of this mapping, on their node. */
static void e14_numa_maps(void)
{
	struct nodes nodes = two_nodes();
	char *p = LAB_GROW(lab_shared(1), 1, 8), start[32], count[32];
	static char text[1 << 17];
	char *line;

	lie_on(p, 0, 8, nodes.near);
	LAB_SETUP_OR_SKIP(lab_slurp("/proc/self/numa_maps", text, sizeof(text)));
	snprintf(start, sizeof(start), "%08lx ", (unsigned long)(uintptr_t)p);
	snprintf(count, sizeof(count), " N%d=8 ", nodes.near);
	line = strstr(text, start);
	LAB_EXPECT(line);
	line[strcspn(line, "\n")] = 0;
	if (!strstr(line, count))
		LAB_FAIL("numa_maps says '%s', expected%s", line, count);
}

LAB_CASES(
	{ LAB_CASE(e01_new_part_by_task_policy), .about = "old part bound to another node, new part is not", EXPAND,
	  TWO_NODES },
	{ LAB_CASE(e02_new_part_has_no_policy), .about = "get_mempolicy of the grown part is MPOL_DEFAULT", TWO_NODES },
	{ LAB_CASE(e03_mbind_after_growth), .about = "mbind of the whole after growth holds for the whole", EXPAND,
	  TWO_NODES },
	{ LAB_CASE(e04_childs_mbind), .about = "a child's mbind of the grown part holds for the parent", EXPAND,
	  TWO_NODES },
	{ LAB_CASE(e05_task_interleave), .about = "MPOL_INTERLEAVE of the task alternates over the grown part", EXPAND,
	  TWO_NODES },
	{ LAB_CASE(e06_interleave_does_not_grow), .about = "interleaving of the old part does not spread to the new",
	  EXPAND, TWO_NODES },
	{ LAB_CASE(e07_task_preferred), .about = "MPOL_PREFERRED of the task is honoured", EXPAND, TWO_NODES },
	{ LAB_CASE(e07_task_bind), .about = "MPOL_BIND of the task is honoured", EXPAND, TWO_NODES },
	{ LAB_CASE(e09_asking_does_not_extend), .about = "move_pages status of untouched grown pages is ENOENT",
	  TWO_NODES },
	{ LAB_CASE(e10_move_pages), .about = "a grown page moves to another node, its data with it", EXPAND, TWO_NODES },
	{ LAB_CASE(e11_migrate_pages), .about = "migrate_pages takes the grown pages along", EXPAND, TWO_NODES },
	{ LAB_CASE(e14_numa_maps), .about = "numa_maps counts the grown pages on their node", EXPAND, TWO_NODES },
)

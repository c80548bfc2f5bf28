/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory policy, and whether pages lie where it wants them: for scenarios of any kind of mapping, after lab.h.
 *
 *	struct lab_policy far = lab_policy_of(MPOL_BIND, lab_mask_of(node));
 *
 *	LAB_SETUP(lab_mbind(p, 8, &far));
 *	lab_populate(p, 8);
 *	LAB_NUMA_EXPECT(p, 8, &far);
 *
 * LAB_NUMA_EXPECT asks move_pages where each page is, and says of the first that is elsewhere which one, where it is
 * and what the policy wants.  Nothing is touched: a page that is not there fails, too.
 */
#ifndef LAB_NUMA_H
#define LAB_NUMA_H

#ifndef LAB_H
#error "lab.h comes first"
#endif

#include <linux/mempolicy.h>

/* Numbers of the system calls' interface that older headers lack. */
#define LAB_MPOL_LOCAL 4
#define LAB_MPOL_PREFERRED_MANY 5	/* 5.15 */
#define LAB_MPOL_WEIGHTED_INTERLEAVE 6	/* 6.9 */

#define LAB_WEIGHTS "/sys/kernel/mm/mempolicy/weighted_interleave"
#define LAB_MASK_BITS ((int)(sizeof(unsigned long) * 8))
#define LAB_MASK_WORDS (1024 / LAB_MASK_BITS)	/* larger than any kernel's: it takes that when the rest is zero */
#define LAB_MOST_PLACES 1024	/* pages that are asked after at once */

struct lab_nodemask {
	unsigned long words[LAB_MASK_WORDS];
};

LAB_FN void lab_mask_add(struct lab_nodemask *mask, int node)
{
	mask->words[node / LAB_MASK_BITS] |= 1UL << (node % LAB_MASK_BITS);
}

LAB_FN bool lab_mask_has(const struct lab_nodemask *mask, int node)
{
	return node >= 0 && mask->words[node / LAB_MASK_BITS] >> (node % LAB_MASK_BITS) & 1;
}

LAB_FN struct lab_nodemask lab_mask_of(int node)
{
	struct lab_nodemask mask = { { 0 } };

	lab_mask_add(&mask, node);
	return mask;
}

/* All nodes with memory. */
LAB_FN struct lab_nodemask lab_mask_of_all(void)
{
	struct lab_nodemask mask = { { 0 } };
	int nodes[LAB_MAX_NODES], count = lab_nodes(nodes);

	while (count--)
		lab_mask_add(&mask, nodes[count]);
	return mask;
}

/* The node of the mask that follows `node`, round and round. */
LAB_FN int lab_mask_next(const struct lab_nodemask *mask, int node)
{
	int i;

	for (i = 1; i <= LAB_MAX_NODES; i++)
		if (lab_mask_has(mask, (node + i) % LAB_MAX_NODES))
			return (node + i) % LAB_MAX_NODES;
	return -1;
}

/* A mode of the system calls, and its nodes: of MPOL_DEFAULT and LAB_MPOL_LOCAL those of which one must be chosen. */
struct lab_policy {
	int mode;
	struct lab_nodemask nodes;
};

/* Why the kernel has no such mode; NULL if it has. */
LAB_FN const char *lab_lacks_mode(int mode)
{
	if (mode == LAB_MPOL_WEIGHTED_INTERLEAVE && lab_kernel_before(6, 9))
		return "weighted interleaving came with 6.9";
	if (mode == LAB_MPOL_PREFERRED_MANY && lab_kernel_before(5, 15))
		return "several preferred nodes came with 5.15";
	return NULL;
}

/* A policy; a case that needs one which the kernel lacks is skipped here. */
LAB_FN struct lab_policy lab_policy_of(int mode, struct lab_nodemask nodes)
{
	if (lab_lacks_mode(mode))
		LAB_SKIP("%s", lab_lacks_mode(mode));
	return (struct lab_policy){ .mode = mode, .nodes = nodes };
}

LAB_FN bool lab_policy_has_nodes(const struct lab_policy *policy)
{
	return policy->mode != MPOL_DEFAULT && policy->mode != LAB_MPOL_LOCAL;
}

LAB_FN long lab_mbind(void *p, long pages, const struct lab_policy *policy)
{
	bool masked = lab_policy_has_nodes(policy);

	return syscall(SYS_mbind, p, (unsigned long)pages * lab_page(), (unsigned long)policy->mode,
		       masked ? policy->nodes.words : NULL, masked ? (unsigned long)(LAB_MASK_WORDS * LAB_MASK_BITS) : 0UL,
		       0U);
}

LAB_FN long lab_set_mempolicy(const struct lab_policy *policy)
{
	bool masked = lab_policy_has_nodes(policy);

	return syscall(SYS_set_mempolicy, policy->mode, masked ? policy->nodes.words : NULL,
		       masked ? (unsigned long)(LAB_MASK_WORDS * LAB_MASK_BITS) : 0UL);
}

/* Two nodes with memory; this process then runs on the first, which has CPUs. */
struct lab_two_nodes {
	int near, far;
};

LAB_FN struct lab_two_nodes lab_two_nodes(void)
{
	int nodes[LAB_MAX_NODES], cpus[LAB_MAX_CPUS], count = lab_nodes(nodes), i;
	char path[LAB_PATH];

	for (i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpulist", nodes[i]);
		if (lab_list(path, cpus, LAB_MAX_CPUS) < 1)
			continue;
		lab_run_on_node(nodes[i]);
		return (struct lab_two_nodes){ .near = nodes[i], .far = nodes[i ? 0 : 1] };
	}
	LAB_ERROR("no node has both memory and CPUs");
}

/* The nodes of `pages` pages from `p`, or for each the negative errno that move_pages gives for it. */
LAB_FN void lab_nodes_of(void *p, long pages, int *nodes)
{
	static void *at[LAB_MOST_PLACES];
	long done, part, i;

	for (done = 0; done < pages; done += part) {
		part = pages - done < LAB_MOST_PLACES ? pages - done : LAB_MOST_PLACES;
		for (i = 0; i < part; i++) {
			at[i] = lab_at(p, done + i);
			nodes[done + i] = INT_MIN;
		}
		LAB_SETUP(syscall(SYS_move_pages, 0, (unsigned long)part, at, NULL, nodes + done, 0));
	}
}

LAB_FN int lab_node_of(void *p)
{
	int node;

	lab_nodes_of(p, 1, &node);
	return node;
}

/* Write to the first byte of each page, which must work. */
LAB_FN void lab_populate(char *p, long pages)
{
	long i;

	for (i = 0; i < pages; i++)
		LAB_WRITES(lab_at(p, i), 1);
}

/* What the kernel gives a node's weight as, 1 where it has no weights. */
LAB_FN int lab_weight(int node)
{
	char path[LAB_PATH], text[32];

	snprintf(path, sizeof(path), LAB_WEIGHTS "/node%d", node);
	return lab_slurp(path, text, sizeof(text)) > 0 ? atoi(text) : 1;
}

LAB_FN const char *lab_mode_name(int mode)
{
	static const char *const names[] = { "default", "preferred", "bind", "interleave", "local", "preferred-many",
					     "weighted interleave" };

	return mode >= 0 && mode < (int)(sizeof(names) / sizeof(*names)) ? names[mode] : "policy of another mode";
}

/* Of every so many neighbours as all weights make up, each node has as many as its weight. */
LAB_FN void lab_check_weights(const char *file, int line, const char *what, const struct lab_policy *policy,
			      const int *nodes, long pages)
{
	long period = 0, i, there;
	int node;

	for (node = 0; node < LAB_MAX_NODES; node++)
		period += lab_mask_has(&policy->nodes, node) ? lab_weight(node) : 0;
	if (period > pages)
		lab_end(LAB_IS_ERROR, file, line, "%s: %ld pages cannot show weights that sum up to %ld", what, pages, period);
	for (node = 0; node < LAB_MAX_NODES; node++) {
		if (!lab_mask_has(&policy->nodes, node))
			continue;
		for (there = i = 0; i < pages / period * period; i++)
			there += nodes[i] == node;
		if (there != pages / period * lab_weight(node))
			lab_end(LAB_IS_FAIL, file, line, "%s: %ld of %ld pages lie on node %d, expected %ld", what, there,
				pages / period * period, node, pages / period * lab_weight(node));
	}
}

LAB_FN void lab_say_placed(const char *what, const int *nodes, long pages)
{
	long on[LAB_MAX_NODES] = { 0 }, i;
	int node;

	for (i = 0; i < pages; i++) {
		if (nodes[i] >= 0 && nodes[i] < LAB_MAX_NODES)
			on[nodes[i]]++;
	}
	printf("placement of %s:", what);
	for (node = 0; node < LAB_MAX_NODES; node++) {
		if (on[node])
			printf(" node%d=%ld", node, on[node]);
	}
	puts("");
	fflush(stdout);	/* a child that says it may end by _exit */
}

/*
 * Every page lies on a node of the policy; of interleaved ones each follows its neighbour's, and of weighted ones as
 * many on each as it weighs.  Which node an interleaved object begins with depends on its inode's number.
 */
LAB_FN void lab_check_nodes(const char *file, int line, const char *what, const int *nodes, long pages,
			    const struct lab_policy *policy)
{
	const char *mode = lab_mode_name(policy->mode);
	long i;

	lab_say_placed(what, nodes, pages);
	for (i = 0; i < pages; i++) {
		if (nodes[i] < 0)
			lab_end(LAB_IS_FAIL, file, line, "%s: page %ld is not there: %s", what, i, lab_errno(-nodes[i]));
		if (!lab_mask_has(&policy->nodes, nodes[i]))
			lab_end(LAB_IS_FAIL, file, line, "%s: page %ld lies on node %d, which the policy (%s) does not have",
				what, i, nodes[i], mode);
		if (policy->mode == MPOL_INTERLEAVE && i && nodes[i] != lab_mask_next(&policy->nodes, nodes[i - 1]))
			lab_end(LAB_IS_FAIL, file, line, "%s: page %ld lies on node %d, the one before it on %d", what, i,
				nodes[i], nodes[i - 1]);
	}
	if (policy->mode == LAB_MPOL_WEIGHTED_INTERLEAVE)
		lab_check_weights(file, line, what, policy, nodes, pages);
}

LAB_FN void lab_check_placed(const char *file, int line, const char *what, void *p, long pages,
			     const struct lab_policy *policy)
{
	static int nodes[LAB_MOST_PLACES];

	if (pages > LAB_MOST_PLACES)
		lab_end(LAB_IS_ERROR, file, line, "%s: more than %d pages at once", what, LAB_MOST_PLACES);
	lab_nodes_of(p, pages, nodes);
	lab_check_nodes(file, line, what, nodes, pages, policy);
}

#define LAB_NUMA_EXPECT(p, pages, policy) lab_check_placed(__FILE__, __LINE__, #p, p, pages, policy)

/* The line of numa_maps about the mapping that begins at `p`; NULL if there is none. */
LAB_FN char *lab_numa_maps_line(const void *p)
{
	static char text[1 << 17];
	char start[32], *line;

	LAB_SETUP_OR_SKIP(lab_slurp("/proc/self/numa_maps", text, sizeof(text)));
	snprintf(start, sizeof(start), "%08lx ", (unsigned long)(uintptr_t)p);
	line = strstr(text, start);
	if (line)
		line[strcspn(line, "\n")] = 0;
	return line;
}

/* Whether numa_maps has this policy for the mapping that begins at `p`, such as "bind:1". */
LAB_FN bool lab_numa_maps_has(const void *p, const char *policy)
{
	char *line = lab_numa_maps_line(p), word[64];

	return line && sscanf(line, "%*s %63s", word) == 1 && !strcmp(word, policy);
}

/* Pages of the mapping at `p` that numa_maps counts on a node; -1 where it does not list the mapping. */
LAB_FN long lab_numa_maps(const void *p, int node)
{
	char count[32], *line = lab_numa_maps_line(p);

	if (!line)
		return -1;
	snprintf(count, sizeof(count), " N%d=", node);
	line = strstr(line, count);
	return line ? strtol(line + strlen(count), NULL, 10) : 0;
}

#endif

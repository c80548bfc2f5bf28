/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Gramine's loader refused a machine whose distance from one node to another is not the distance back.  ACPI permits it,
 * Linux shows what the firmware says, and large servers do have it.
 *
 * Exit status: 0 all distances are symmetric, 1 some are not, 125 there is nothing to compare.
 */
#include <stdio.h>
#include <stdlib.h>

enum { MAX_NODES = 64, CANNOT_TELL = 125 };

static int distances[MAX_NODES][MAX_NODES];

/* The distances from one node; how many there are, 0 if there is no such node. */
static int read_row(int node)
{
	char path[80];
	int count = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/distance", node);
	file = fopen(path, "r");
	while (file && count < MAX_NODES && fscanf(file, "%d", &distances[node][count]) == 1)
		count++;
	if (file)
		fclose(file);
	return count;
}

int main(void)
{
	int nodes = read_row(0), from, to, differing = 0;

	if (nodes < 2)
		return CANNOT_TELL;
	for (from = 1; from < nodes; from++)
		if (read_row(from) != nodes)
			return CANNOT_TELL;
	for (from = 0; from < nodes; from++) {
		for (to = from + 1; to < nodes; to++) {
			if (distances[from][to] == distances[to][from])
				continue;
			differing++;
			printf("from %d to %d: %d, back: %d\n", from, to, distances[from][to], distances[to][from]);
		}
	}
	printf("%d nodes, %d distances that differ by direction\n", nodes, differing);
	return differing > 0;
}

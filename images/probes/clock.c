/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A fact about a machine whose clock should count instructions: how many instructions a loop has, at least, and how
 * many nanoseconds it took, several times over.
 */
#include "lab_cost.h"

int main(void)
{
	int i;

	printf("counted=%d", LAB_NOPS);
	for (i = 0; i < 5; i++)
		printf(" %lld", lab_nops_ns());
	putchar('\n');
	return fflush(stdout) ? 1 : 0;
}

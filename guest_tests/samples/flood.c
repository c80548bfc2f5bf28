/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sample: cases that write more than anybody wants to read. */
#include "../lab.h"

static void endless_lines(void)
{
	while (1)
		puts("water");
}

static void endless_line(void)
{
	while (1)
		putchar('w');
}

static void many_lines(void)
{
	int i;

	for (i = 0; i < 100; i++)
		printf("line %d\n", i);
}

LAB_CASES(
	{ LAB_CASE(endless_lines) },
	{ LAB_CASE(endless_line) },
	{ LAB_CASE(many_lines) },
)

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sample: killed by signals that nobody expected; the case after a crash still runs. */
#include "../lab.h"

static void segv(void)
{
	*(volatile char *)lab_hole(1, 0) = 1;
}

static void aborted(void)
{
	abort();
}

/* The handler of lab_touch() must not swallow a fault that is not its own. */
static void after_a_touch(void)
{
	char *hole = lab_hole(1, 0);

	LAB_SIGSEGV(hole);
	*(volatile char *)hole = 1;
}

static void in_a_child(void)
{
	pid_t pid = lab_fork();

	if (!pid)
		raise(SIGTERM);
	lab_join(pid);
}

static void unhurt(void)
{
}

LAB_CASES(
	{ LAB_CASE(segv) },
	{ LAB_CASE(aborted) },
	{ LAB_CASE(after_a_touch) },
	{ LAB_CASE(in_a_child) },
	{ LAB_CASE(unhurt) },
)

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sample: cases that do not end, asleep, running, with children, deaf to signals. */
#include "../lab.h"

static void asleep(void)
{
	while (1)
		pause();
}

static void running(void)
{
	volatile int going = 1;

	while (going)
		;
}

static void child_asleep(void)
{
	if (!lab_fork())
		asleep();
	lab_join(-1);
}

static void deaf(void)
{
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	asleep();
}

/* The parent of a vfork waits uninterruptibly, though not deaf to SIGKILL. */
static void uninterruptible(void)
{
	if (!vfork())
		while (1)
			pause();
}

/* Ends in time; what it leaves behind, in a group of its own, is killed with it and is no reason to wait. */
static void leaves_a_child(void)
{
	if (!lab_fork()) {
		setpgid(0, 0);
		asleep();
	}
}

LAB_CASES(
	{ LAB_CASE(asleep), .timeout_s = 1 },
	{ LAB_CASE(running), .timeout_s = 1 },
	{ LAB_CASE(child_asleep), .timeout_s = 1 },
	{ LAB_CASE(deaf), .timeout_s = 1 },
	{ LAB_CASE(uninterruptible), .timeout_s = 1 },
	{ LAB_CASE(leaves_a_child) },
)

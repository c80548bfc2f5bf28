/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sample: a program that dies before it has printed its plan. */
#include "../lab.h"

static void never_run(void)
{
}

static __attribute__((constructor)) void die(void)
{
	raise(SIGKILL);
}

LAB_CASES(
	{ LAB_CASE(never_run) },
)

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sample: reasons to skip, found by the header and by the case. */
#include "../lab.h"

static void never_run(void)
{
	LAB_ERROR("this should not have been run");
}

static void by_the_case(void)
{
	LAB_SKIP("the moon is %s", "full");
}

static void by_a_call(void)
{
	LAB_SETUP_OR_SKIP(open("/nowhere/to/be/found", O_RDONLY));
}

LAB_CASES(
	{ LAB_CASE(never_run), .about = "no machine has so many nodes", .needs_nodes = LAB_MAX_NODES + 1 },
	{ LAB_CASE(by_the_case) },
	{ LAB_CASE(by_a_call) },
)

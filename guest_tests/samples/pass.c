/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sample: cases that pass, and what they say on the way. */
#include "../lab.h"

static void quiet(void)
{
	LAB_EXPECT_EQ(1 + 1, 2);
}

static void talkative(void)
{
	char *p = lab_shared(1);

	LAB_WRITES(p, 1);
	LAB_READS(p, 1);
	LAB_SIGSEGV(lab_at(lab_hole(1, 0), 0));
	printf("a line, and one more\nwithout its newline");
}

LAB_CASES(
	{ LAB_CASE(quiet), .about = "passes" },
	{ LAB_CASE(talkative), .about = "passes and says \"so\"", .timeout_s = 3 },
)

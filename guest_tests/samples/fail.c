/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sample: assertions that do not hold, each kind of them, and a failure in a child. */
#include "../lab.h"

static void condition(void)
{
	LAB_EXPECT(1 > 2);
}

static void values(void)
{
	LAB_EXPECT_EQ(6 * 7, 41);
}

static void wrong_errno(void)
{
	LAB_EXPECT_ERRNO(close(-1), EPERM);
}

static void should_have_worked(void)
{
	LAB_EXPECT_OK(close(-1));
}

static void wrong_signal(void)
{
	LAB_SIGBUS(lab_hole(1, 0));
}

static void unexpected_signal(void)
{
	LAB_WRITES(lab_hole(1, 0), 1);
}

static void wrong_content(void)
{
	LAB_READS(lab_shared(1), 1);
}

static void in_a_child(void)
{
	pid_t pid = lab_fork();

	if (!pid)
		LAB_FAIL("said by the child");
	lab_join(pid);
}

/* The first thing that went wrong is what counts, not what followed from it. */
static void first_word_counts(void)
{
	if (!lab_fork())
		LAB_FAIL("the cause");
	LAB_SETUP(wait(NULL));
	LAB_FAIL("the consequence");
}

LAB_CASES(
	{ LAB_CASE(condition) },
	{ LAB_CASE(values) },
	{ LAB_CASE(wrong_errno) },
	{ LAB_CASE(should_have_worked) },
	{ LAB_CASE(wrong_signal) },
	{ LAB_CASE(unexpected_signal) },
	{ LAB_CASE(wrong_content) },
	{ LAB_CASE(in_a_child) },
	{ LAB_CASE(first_word_counts) },
)

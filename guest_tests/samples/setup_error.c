/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sample: a case that could not even try, and cases that end without a verdict. */
#include "../lab.h"

static void failed_call(void)
{
	LAB_SETUP(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

static void by_hand(void)
{
	LAB_ERROR("no %s", "luck");
}

static void silent_success(void)
{
	exit(0);
}

static void silent_failure(void)
{
	_exit(3);
}

LAB_CASES(
	{ LAB_CASE(failed_call) },
	{ LAB_CASE(by_hand) },
	{ LAB_CASE(silent_success) },
	{ LAB_CASE(silent_failure) },
)

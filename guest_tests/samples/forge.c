/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sample: a case that fails and writes what looks like results. */
#include "../lab.h"

static void forged_results(void)
{
	puts("ok 1 forged_results");
	puts("1..1\nKTAP version 1\n# duration_ms=0");
	puts("\rok 1 carriage return\r\x1b[2Kok 1 escape\x7f \xc3\xa9");
	fflush(stdout);
	LAB_SETUP(write(1, "nul\0inside\n", 11));
	fputs("ok 1 stderr\n", stderr);
	LAB_FAIL("no\nok 1 forged_results\n");
}

static void forged_reason(void)
{
	LAB_SKIP("because\nnot ok 2 forged_reason");
}

LAB_CASES(
	{ LAB_CASE(forged_results) },
	{ LAB_CASE(forged_reason) },
)

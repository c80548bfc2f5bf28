// SPDX-License-Identifier: GPL-2.0-or-later
#include <linux/mm.h>

int fork(int pid)
{
	return pid + NR_PAGES;
}

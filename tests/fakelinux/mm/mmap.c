// SPDX-License-Identifier: GPL-2.0-or-later
#include <linux/mm.h>

int mmap(int length)
{
	return length / PAGE_SIZE;
}

int mremap(int length, int more)
{
	return mmap(length) + more;
}

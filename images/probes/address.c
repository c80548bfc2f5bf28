/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A fact about a machine whose topology says how many bits an address has: how many of them a program has.  Memory is
 * asked for at addresses of 63 bits, of 62 and so on; the first that can be had is the answer.  Some kernels give high
 * addresses only to those who ask for them, which this does.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

/* Whether memory can be had at an address, or is there already. */
static int can_map(unsigned long address)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	void *wanted = (void *)address;
	void *got = mmap(wanted, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (got == MAP_FAILED)
		return errno == EEXIST;
	munmap(got, size);
	return got == wanted;
}

int main(void)
{
	int bits = (int)sizeof(long) * 8;

	while (bits > 20 && !can_map(1UL << (bits - 1)))
		bits--;
	printf("user_bits=%d\n", bits);
	return fflush(stdout) ? 1 : 0;
}

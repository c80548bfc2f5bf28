/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sample: says that all is well and leaves a daemon that holds memory, out of lab.h's reach, which it does without.  Only
 * in a guest of the lab; elsewhere its case is skipped.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define BYTES (24 << 20)

static void daemon_with_a_memfd(void)
{
	int fd = memfd_create("held", 0);
	char *p;

	if (fd < 0 || ftruncate(fd, BYTES))
		_exit(1);
	p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		_exit(1);
	memset(p, 1, BYTES);
	munmap(p, BYTES);
	if (fork())
		_exit(0);
	setsid();
	for (fd = 0; fd < 3; fd++)
		close(fd);
	while (1)
		pause();
}

int main(int argc, char **argv)
{
	const char *name = "memfd_held";

	if (argc == 2 && !strcmp(argv[1], "--list")) {
		printf("{\"name\": \"%s\", \"description\": \"a daemon keeps a memfd\"}\n", name);
		return 0;
	}
	printf("KTAP version 1\n1..1\n");
	if (access("/run/facts", R_OK)) {
		printf("ok 1 %s # SKIP for a guest of the lab only\n", name);
		return 0;
	}
	printf("ok 1 %s\n", name);
	fflush(stdout);
	daemon_with_a_memfd();
}

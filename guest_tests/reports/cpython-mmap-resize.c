/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared anonymous memory of 4096 bytes is grown to 8192 with mremap(), and the first byte of the new part is read.
 * With pages of 4096 bytes that byte is in a page of its own, behind the end of the object: SIGBUS.  With larger pages
 * both byte counts are in the page that was there from the start, so nothing can be seen.
 *
 * Exit status: 0 the new part can be read, 1 reading it is a bus error, 125 this could not be tried.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BEFORE = 4096, AFTER = 8192, CANNOT_TELL = 125 };

static void read_growth(void)
{
	char *memory = mmap(NULL, BEFORE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		_exit(CANNOT_TELL);
	memory = mremap(memory, BEFORE, AFTER, MREMAP_MAYMOVE);
	if (memory == MAP_FAILED)
		_exit(CANNOT_TELL);
	_exit(*(volatile char *)&memory[BEFORE]);
}

int main(void)
{
	pid_t reader = fork();
	int status;

	if (reader == 0)
		read_growth();
	if (reader < 0 || waitpid(reader, &status, 0) != reader)
		return CANNOT_TELL;
	printf("pages of %ld bytes, %d bytes grown to %d: ", sysconf(_SC_PAGESIZE), BEFORE, AFTER);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		puts("readable");
		return 0;
	}
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS) {
		puts("bus error");
		return 1;
	}
	printf("wait status %#x\n", (unsigned int)status);
	return CANNOT_TELL;
}

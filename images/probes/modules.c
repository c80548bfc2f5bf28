// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Loads the modules of a distribution's kernel into a guest: every line of the file LIST beside it is the path of one,
 * in the order of their dependencies. Exits with 1 if one cannot be loaded, after all others.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIST "/lib/modules/list"

int main(void)
{
	FILE *list = fopen(LIST, "re");
	char path[512];
	int failed = 0;

	if (!list) {
		perror(LIST);
		return 1;
	}
	while (fgets(path, sizeof(path), list)) {
		int file;

		path[strcspn(path, "\n")] = 0;
		file = open(path, O_RDONLY | O_CLOEXEC);
		if (file < 0 || (syscall(SYS_finit_module, file, "", 0) && errno != EEXIST)) {
			perror(path);
			failed = 1;
		}
		if (file >= 0)
			close(file);
	}
	fclose(list);
	return failed;
}

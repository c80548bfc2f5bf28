// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs a program with another root: `enter ROOT PROGRAM ARGS...`. /proc, /sys, /dev, /dev/pts, /dev/shm, /run and /tmp are
 * there as a program expects them; they are mounted by the first call in a guest.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
	const char *type, *at, *options;
	mode_t mode;
};

static const struct place places[] = {
	{"proc", "proc", NULL, 0755},
	{"sysfs", "sys", NULL, 0755},
	{"devtmpfs", "dev", NULL, 0755},
	{"devpts", "dev/pts", "mode=620,ptmxmode=666", 0755},
	{"tmpfs", "dev/shm", "mode=1777", 01777},
	{"tmpfs", "run", "mode=755", 0755},
	{"tmpfs", "tmp", "mode=1777", 01777},
};

static int prepare(void)
{
	if (!access("proc/self", F_OK))
		return 0; /* done by an earlier call */
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		const struct place *each = places + i;

		if ((mkdir(each->at, each->mode) && errno != EEXIST) ||
		    mount(each->type, each->at, each->type, 0, each->options)) {
			fprintf(stderr, "enter: %s: %s\n", each->at, strerror(errno));
			return -1;
		}
	}
	/* What the lab brings along is there, too. */
	if ((mkdir("lab", 0755) && errno != EEXIST) || mount("/lab", "lab", NULL, MS_BIND, NULL)) {
		fprintf(stderr, "enter: lab: %s\n", strerror(errno));
		return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: enter ROOT PROGRAM ARGS...\n");
		return 125;
	}
	if (chdir(argv[1])) {
		perror(argv[1]);
		return 125;
	}
	if (prepare() || chroot(".")) {
		perror(argv[1]);
		return 125;
	}
	if (chdir("/root") && chdir("/"))
		return 125;
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("HOME", "/root", 1);
	execvp(argv[2], argv + 2);
	fprintf(stderr, "%s: %s\n", argv[2], strerror(errno));
	return errno == ENOENT ? 127 : 126;
}

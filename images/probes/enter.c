// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The root of a guest's programs.
 *
 *   enter --mount ROOT                         mounts it: the disk of that name, if there is one, with an overlay in
 *                                              memory, and the guest's /proc, /sys, /dev, /tmp and /lab in it
 *   enter [--own] ROOT DIRECTORY PROGRAM...    runs a program in it, "-" for the user's home; with --own a command of
 *                                              the guest's own userland
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define SERIAL "pagelab-root"
#define PLACE "/run/root"

static const char *const own_places[] = {"proc", "sys", "dev", "tmp", "lab"};

static int fail(const char *what)
{
	fprintf(stderr, "enter: %s: %s\n", what, strerror(errno));
	return -1;
}

/* The path of the disk with the root's image; empty if there is none. */
static void find_disk(char *path, size_t size)
{
	glob_t found;

	*path = '\0';
	if (glob("/sys/block/*/serial", 0, NULL, &found))
		return;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		char serial[32] = "", name[64];
		FILE *file = fopen(found.gl_pathv[i], "r");

		if (!file)
			continue;
		if (fscanf(file, "%31s", serial) == 1 && !strcmp(serial, SERIAL) &&
		    sscanf(found.gl_pathv[i], "/sys/block/%63[^/]", name) == 1)
			snprintf(path, size, "/dev/%s", name);
		fclose(file);
	}
	globfree(&found);
}

static int make(const char *path, mode_t mode)
{
	if (mkdir(path, mode) && errno != EEXIST)
		return fail(path);
	return 0;
}

/* Mounts the image read-only and an overlay over it, whose upper layer is in memory. */
static int mount_disk(const char *disk, const char *root)
{
	if (make(PLACE, 0755) || make(PLACE "/image", 0755) || make(PLACE "/over", 0755) || make(root, 0755))
		return -1;
	if (mount(disk, PLACE "/image", "squashfs", MS_RDONLY, NULL))
		return fail(disk);
	if (mount("over", PLACE "/over", "tmpfs", 0, "mode=755"))
		return fail(PLACE "/over");
	if (make(PLACE "/over/upper", 0755) || make(PLACE "/over/work", 0755))
		return -1;
	if (mount("root", root, "overlay", 0,
		  "lowerdir=" PLACE "/image,upperdir=" PLACE "/over/upper,workdir=" PLACE "/over/work"))
		return fail("overlay");
	return 0;
}

static int mount_root(const char *root)
{
	char disk[80];
	int file;

	umask(0); /* the modes of what is made are those that are written here */
	find_disk(disk, sizeof(disk));
	if (*disk && mount_disk(disk, root))
		return -1;
	if (chdir(root))
		return fail(root);
	for (size_t i = 0; i < sizeof(own_places) / sizeof(own_places[0]); i++) {
		char from[16];

		snprintf(from, sizeof(from), "/%s", own_places[i]);
		if (make(own_places[i], 0755) || mount(from, own_places[i], NULL, MS_BIND | MS_REC, NULL))
			return fail(own_places[i]);
	}
	if (make("run", 0755) || mount("run", "run", "tmpfs", 0, "mode=755"))
		return fail("run");
	if (make("run/lock", 01777))
		return -1;
	/* By this file a scenario knows a guest of the lab. */
	file = open("run/facts", O_CREAT | O_WRONLY, 0444);
	if (file < 0 || close(file) || mount("/run/facts", "run/facts", NULL, MS_BIND, NULL))
		return fail("run/facts");
	return 0;
}

int main(int argc, char **argv)
{
	int own = 0;

	if (argc == 3 && !strcmp(argv[1], "--mount"))
		return mount_root(argv[2]) ? 125 : 0;
	if (argc > 1 && !strcmp(argv[1], "--own")) {
		own = open("/bin/busybox", O_RDONLY | O_CLOEXEC);
		if (own < 0) {
			fail("busybox");
			return 125;
		}
		argv++;
		argc--;
	}
	if (argc < 4) {
		fprintf(stderr, "usage: enter --mount ROOT, or enter [--own] ROOT DIRECTORY PROGRAM ARGS...\n");
		return 125;
	}
	if (chdir(argv[1]) || chroot(".")) {
		fail(argv[1]);
		return 125;
	}
	if (strcmp(argv[2], "-") ? chdir(argv[2]) : chdir("/root") && chdir("/")) {
		fail(argv[2]);
		return 125;
	}
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("HOME", "/root", 1);
	if (own)
		fexecve(own, argv + 3, environ);
	else
		execvp(argv[3], argv + 3);
	fprintf(stderr, "%s: %s\n", argv[3], strerror(errno));
	return errno == ENOENT ? 127 : 126;
}

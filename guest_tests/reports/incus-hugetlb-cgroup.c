/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A container may use four huge pages.  A program in it maps all that the machine has free: mmap() reserves them, since
 * the limit of a cgroup (hugetlb.SIZE.max) is charged at the first touch of each page, and from the fifth on that is a
 * bus error.  hugetlb.SIZE.rsvd.max, which containers rarely set, is charged by mmap(), which can then fail.
 *
 * Exit status: 0 all pages that were granted can be touched, 1 one is a bus error, 125 this could not be tried.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT = 4, CANNOT_TELL = 125 };

static const char root[] = "/tmp/report-cgroups", container[] = "/tmp/report-cgroups/container";

static long meminfo(const char *format)
{
	FILE *file = fopen("/proc/meminfo", "r");
	char line[128];
	long value = -1;

	while (file && value < 0 && fgets(line, sizeof(line), file))
		sscanf(line, format, &value);
	if (file)
		fclose(file);
	return value;
}

/* Write text to a file below one of the directories; 0 if that worked. */
static int set(const char *directory, const char *name, const char *format, ...)
{
	char path[200], text[80];
	va_list values;
	int fd, length, failed;

	va_start(values, format);
	length = vsnprintf(text, sizeof(text), format, values);
	va_end(values);
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_WRONLY);
	failed = fd < 0 || write(fd, text, (size_t)length) != length;
	if (failed)
		printf("%s: %s\n", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return failed;
}

/* A cgroup that may use LIMIT huge pages; 0 if it is there. */
static int make_container(long kb)
{
	char limit[64];

	snprintf(limit, sizeof(limit), "hugetlb.%ld%s.max", kb >= 1 << 20 ? kb >> 20 : kb >= 1 << 10 ? kb >> 10 : kb,
		 kb >= 1 << 20 ? "GB" : kb >= 1 << 10 ? "MB" : "KB");
	mkdir(root, 0755);
	if (mount("none", root, "cgroup2", 0, NULL)) {
		printf("cgroup2: %s\n", strerror(errno));
		return -1;
	}
	if (set(root, "cgroup.subtree_control", "+hugetlb"))
		return -1;
	mkdir(container, 0755);
	return set(container, limit, "%ld", LIMIT * kb * 1024);
}

/* In the container: map all that is free, then touch page after page, counting them in memory that the parent sees. */
static void touch_all(long count, size_t size, volatile long *touched)
{
	char *pages;

	if (set(container, "cgroup.procs", "%d", (int)getpid()))
		_exit(CANNOT_TELL);
	pages = mmap(NULL, count * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (pages == MAP_FAILED) {
		printf("%ld huge pages, %d permitted: not granted: %s\n", count, LIMIT, strerror(errno));
		fflush(stdout);
		_exit(CANNOT_TELL);
	}
	for (*touched = 0; *touched < count; ++*touched)
		*(volatile char *)(pages + *touched * size) = 1;
	_exit(0);
}

int main(void)
{
	long kb = meminfo("Hugepagesize: %ld kB"), count = meminfo("HugePages_Free: %ld");
	volatile long *touched = mmap(NULL, sizeof(*touched), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	size_t size = (size_t)kb * 1024;
	int status, result = CANNOT_TELL;
	pid_t child;

	if (kb <= 0 || count <= 0 || touched == MAP_FAILED) {
		puts("no huge pages of the default size");
		return CANNOT_TELL;
	}
	if (make_container(kb))
		return CANNOT_TELL;
	child = fork();
	if (child == 0)
		touch_all(count, size, touched);
	if (child > 0 && waitpid(child, &status, 0) == child) {
		printf("%ld huge pages granted, %d permitted, %ld touched: ", count, LIMIT, *touched);
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS)
			result = 1;
		else if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			result = 0;
		puts(result == 1 ? "then a bus error" : result == 0 ? "all of them" : "then something else");
	}
	rmdir(container);
	umount(root);
	rmdir(root);
	return result;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A swap area that was made for pages of 4096 bytes: the signature at the end of its first page says so.  A kernel with
 * other pages looks for it at the end of its own first page, and refuses the area.  The area is on /dev/zram0, whose
 * content is lost, so this is for guests.
 *
 * Exit status: 0 swapon() takes the area, 1 it is EINVAL, 125 this could not be tried.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/swap.h>
#include <unistd.h>

enum { MADE_FOR = 4096, AREA_PAGES = 2048, HEADER_AT = 1024, CANNOT_TELL = 125 };

static const char device[] = "/dev/zram0", signature[] = "SWAPSPACE2";

static int set(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), failed = fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text);

	if (failed)
		printf("%s: %s\n", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return failed;
}

/* Write what mkswap would have written on a machine with pages of MADE_FOR bytes. */
static int make_area(void)
{
	const uint32_t header[] = { 1 /* version */, AREA_PAGES - 1 /* last page */, 0 /* bad pages */ };
	const size_t length = sizeof(signature) - 1;
	int fd = open(device, O_WRONLY), failed = fd < 0;

	failed = failed || pwrite(fd, header, sizeof(header), HEADER_AT) != sizeof(header);
	failed = failed || pwrite(fd, signature, length, MADE_FOR - (off_t)length) != (ssize_t)length || fsync(fd);
	if (failed)
		printf("%s: %s\n", device, strerror(errno));
	if (fd >= 0)
		close(fd);
	return failed;
}

int main(void)
{
	char bytes[32];
	int error = 0;

	snprintf(bytes, sizeof(bytes), "%d", AREA_PAGES * MADE_FOR);
	if (set("/sys/block/zram0/reset", "1") || set("/sys/block/zram0/disksize", bytes) || make_area())
		return CANNOT_TELL;
	if (swapon(device, 0))
		error = errno;
	else
		swapoff(device);
	set("/sys/block/zram0/reset", "1");
	printf("pages of %ld bytes, area for pages of %d: swapon: %s\n", sysconf(_SC_PAGESIZE), MADE_FOR,
	       error ? strerror(error) : "ok");
	if (error && error != EINVAL)
		return CANNOT_TELL;
	return error == EINVAL;
}

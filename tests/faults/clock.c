/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Preloaded into a lab: the wall clock jumps by JUMP seconds once the file $FAULT_CLOCK is there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t jump(void)
{
	const char *file = getenv("FAULT_CLOCK");

	return file && access(file, F_OK) == 0 ? JUMP : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	static int (*real)(clockid_t, struct timespec *);
	int status;

	if (!real)
		real = dlsym(RTLD_NEXT, "clock_gettime");
	status = real(clock, now);
	if (clock == CLOCK_REALTIME && status == 0)
		now->tv_sec += jump();
	return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec exact;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &exact);
	now->tv_sec = exact.tv_sec;
	now->tv_usec = exact.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *where)
{
	struct timespec exact;

	clock_gettime(CLOCK_REALTIME, &exact);
	if (where)
		*where = exact.tv_sec;
	return exact.tv_sec;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wake: what a guest needs when it comes to life again from a saved state, as an applet of busybox.
 *
 * All guests that are restored from one state are twins: the same time, the same random numbers to come. So it is told
 * the time, and mixes the host's random bytes (its standard input) into the kernel's pool and has the generator seeded
 * from that at once: by itself the kernel does so once a minute, and until then getrandom() of twins is the same.
 */
//config:config WAKE
//config:	bool "wake"
//config:	default n
//config:	help
//config:	Set the clock and seed the random number generator from standard input, at once.

//applet:IF_WAKE(APPLET_NOFORK(wake, wake, BB_DIR_SBIN, BB_SUID_DROP, wake))

//kbuild:lib-$(CONFIG_WAKE) += wake.o

//usage:#define wake_trivial_usage
//usage:       "SECONDS NANOSECONDS <RANDOM"
//usage:#define wake_full_usage "\n\n"
//usage:       "Set the clock (since 1970) and seed the random number generator from standard input"

#include "libbb.h"
#include <linux/random.h>
#include <sys/ioctl.h>

enum { SEED = 64 };

int wake_main(int argc, char **argv) MAIN_EXTERNALLY_VISIBLE;
int wake_main(int argc UNUSED_PARAM, char **argv)
{
	struct {
		struct rand_pool_info info;
		char bytes[SEED];
	} seed;
	struct timespec now;
	int pool, failed;

	if (!argv[1] || !argv[2])
		bb_show_usage();
	now.tv_sec = xatoull(argv[1]);
	now.tv_nsec = xatou(argv[2]);
	if (clock_settime(CLOCK_REALTIME, &now))
		return EXIT_FAILURE;
	if (full_read(STDIN_FILENO, seed.bytes, SEED) != SEED)
		return EXIT_FAILURE;
	seed.info.entropy_count = SEED * 8;
	seed.info.buf_size = SEED;
	pool = open("/dev/urandom", O_RDONLY);
	if (pool < 0)
		return EXIT_FAILURE;
	failed = ioctl(pool, RNDADDENTROPY, &seed.info) || ioctl(pool, RNDRESEEDCRNG, 0);
	close(pool);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

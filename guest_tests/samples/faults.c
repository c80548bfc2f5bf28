/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sample: each way in which a case can take the kernel, the machine or its own way out with it.  Only in a guest of the
 * lab; elsewhere every case is skipped.
 */
#include "lab.h"
#include <sys/reboot.h>

static void guest_only(void)
{
	if (!lab_owned())
		LAB_SKIP("for a guest of the lab only");
}

static void sysrq(const char *key)
{
	guest_only();
	LAB_SETUP(lab_write_file("/proc/sysrq-trigger", key));
}

static void unhurt(void)
{
}

static void panic(void)
{
	sysrq("c");
}

static void reset(void)
{
	sysrq("b");
}

static void power_off(void)
{
	guest_only();
	LAB_SETUP(reboot(RB_POWER_OFF));
}

/* The largest process of all is the OOM killer's choice. */
static void oom_victim(void)
{
	size_t size = (size_t)24 << 20;

	guest_only();
	memset(LAB_SETUP(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)), 1, size);
	sysrq("f");
	while (1)
		pause();
}

static void segv(void)
{
	guest_only();
	*(volatile char *)lab_hole(1, 0) = 1;
}

static void asleep(void)
{
	guest_only();
	while (1)
		pause();
}

/* The harness itself stops: no time-out of its own can end the case. */
static void harness_stops(void)
{
	guest_only();
	LAB_SETUP(kill(getppid(), SIGSTOP));
	asleep();
}

/* The machine stops for good, and says nothing. */
static void silent_halt(void)
{
	guest_only();
	LAB_SETUP(lab_write_file("/proc/sys/kernel/printk", "0 4 0 7"));
	LAB_SETUP(reboot(RB_HALT_SYSTEM));
}

static void sshd_killed(void)
{
	char path[LAB_PATH], name[32];
	struct dirent *entry;
	DIR *dir;

	guest_only();
	dir = LAB_SETUP(opendir("/proc"));
	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%.20s/comm", entry->d_name);
		if (lab_slurp(path, name, sizeof(name)) > 0 && !strcmp(name, "dropbear\n"))
			kill((pid_t)atol(entry->d_name), SIGKILL);
	}
	asleep();
}

LAB_CASES(
	{ LAB_CASE(unhurt), .timeout_s = 2 },
	{ LAB_CASE(panic), .timeout_s = 2 },
	{ LAB_CASE(reset), .timeout_s = 2 },
	{ LAB_CASE(power_off), .timeout_s = 2 },
	{ LAB_CASE(oom_victim), .timeout_s = 2 },
	{ LAB_CASE(segv), .timeout_s = 2 },
	{ LAB_CASE(asleep), .timeout_s = 1 },
	{ LAB_CASE(harness_stops), .timeout_s = 1 },
	{ LAB_CASE(silent_halt), .timeout_s = 1 },
	{ LAB_CASE(sshd_killed), .timeout_s = 2 },
)

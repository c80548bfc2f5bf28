/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sample: each way in which a kernel complains, made by its own crash test (lkdtm).  Only in a guest of the lab, whose
 * kernel was built with tests/integration/lkdtm.config; elsewhere every case is skipped.
 *
 * One case a guest: what one of them leaves behind (a CPU that never comes back, a lock that is held) is in the way of
 * the next one.  A stuck CPU is the second of several, so that the others still answer.
 */
#include "lab.h"
#include <sched.h>
#include <sys/mount.h>

#define DEBUGFS "/sys/kernel/debug"
#define DIRECT DEBUGFS "/provoke-crash/DIRECT"

static void on_second_cpu(void)
{
	cpu_set_t second;

	CPU_ZERO(&second);
	CPU_SET(1, &second);
	LAB_SETUP(sched_setaffinity(0, sizeof(second), &second));
}

/* Have lkdtm at hand. */
static void need_lkdtm(void)
{
	if (!lab_owned())
		LAB_SKIP("for a guest of the lab only");
	if (access(DIRECT, W_OK) && (mount("none", DEBUGFS, "debugfs", 0, NULL) || access(DIRECT, W_OK)))
		LAB_SKIP("needs a kernel with lkdtm");
}

static void lkdtm(const char *what)
{
	need_lkdtm();
	LAB_SETUP(lab_write_file(DIRECT, what));
}

static void warning(void)
{
	lkdtm("WARNING");
}

static void bug(void)
{
	lkdtm("BUG");
}

static void oops(void)
{
	lkdtm("EXCEPTION");
}

/* With the address sanitizer. */
static void use_after_free(void)
{
	lkdtm("READ_AFTER_FREE");
}

/* With the undefined behaviour sanitizer. */
static void array_bounds(void)
{
	lkdtm("ARRAY_BOUNDS");
}

/* With the lock validator: back in user space with a spinlock held. */
static void lock_kept(void)
{
	lkdtm("SPINLOCKUP");
}

/* Reported after twice the threshold; RCU, which would complain next, is told to be quiet. */
static void soft_lockup(void)
{
	need_lkdtm();
	LAB_SETUP(lab_write_file("/sys/module/rcupdate/parameters/rcu_cpu_stall_suppress", "1"));
	LAB_SETUP(lab_write_file("/proc/sys/kernel/watchdog_thresh", "2"));
	on_second_cpu();
	lkdtm("SOFTLOCKUP");
}

/* The same, with the watchdog quiet. */
static void rcu_stall(void)
{
	need_lkdtm();
	LAB_SETUP(lab_write_file("/proc/sys/kernel/soft_watchdog", "0"));
	LAB_SETUP(lab_write_file("/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout", "3"));
	on_second_cpu();
	lkdtm("SOFTLOCKUP");
}

static void hung_task(void)
{
	need_lkdtm();
	LAB_SETUP(lab_write_file("/proc/sys/kernel/hung_task_timeout_secs", "2"));
	lkdtm("HUNG_TASK");
}

#define BROKEN .leaves = "the kernel is broken on purpose"

LAB_CASES(
	{ LAB_CASE(warning), BROKEN, .timeout_s = 5 },
	{ LAB_CASE(bug), BROKEN, .timeout_s = 5 },
	{ LAB_CASE(oops), BROKEN, .timeout_s = 5 },
	{ LAB_CASE(use_after_free), BROKEN, .timeout_s = 5 },
	{ LAB_CASE(array_bounds), BROKEN, .timeout_s = 5 },
	{ LAB_CASE(lock_kept), BROKEN, .timeout_s = 5 },
	{ LAB_CASE(soft_lockup), BROKEN, .timeout_s = 12 },
	{ LAB_CASE(rcu_stall), BROKEN, .timeout_s = 12 },
	{ LAB_CASE(hung_task), BROKEN, .timeout_s = 12 },
)

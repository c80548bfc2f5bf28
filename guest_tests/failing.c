/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Group O: growth whose every step behind a reservation fails once, by the kernel's fault injection. */
#include "lab.h"

#include <sys/mount.h>

#define EXPAND .requires = "shm-expand"
#define INJECTED .needs_root = true, .needs_config = "FAULT_INJECTION FAILSLAB FAULT_INJECTION_DEBUG_FS", .timeout_s = 30

#define MOST 400	/* allocations of one growth; a kernel that needs more is not followed to its end */

/* Let allocations of this task fail that may wait, too, of any order. */
static void set_up_faults(void)
{
	static const char *const files[][2] = {
		{ "/sys/kernel/debug/failslab/ignore-gfp-wait", "N" },
		{ "/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N" },
		{ "/sys/kernel/debug/fail_page_alloc/min-order", "0" },
	};
	size_t i;

	if (access("/proc/self/fail-nth", W_OK))
		LAB_SKIP("no /proc/self/fail-nth");
	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	for (i = 0; i < sizeof(files) / sizeof(*files); i++)
		if (!access(files[i][0], F_OK))
			LAB_SET(files[i][0], files[i][1]);
	if (access(files[0][0], F_OK))
		LAB_SKIP("no %s", files[0][0]);
}

/* Have the `nth` allocation from now on fail. */
static void fail(int control, long nth)
{
	char text[16];

	snprintf(text, sizeof(text), "%ld", nth);
	LAB_SETUP(pwrite(control, text, strlen(text), 0));
}

/* Whether it has failed; no further one does. */
static bool has_failed(int control)
{
	char text[16] = "";

	LAB_SETUP(pread(control, text, sizeof(text) - 1, 0));
	fail(control, 0);
	return atol(text) == 0;
}

/* Grow 4 pages to 600 in a way, again and again, each time another allocation fails; what failed changes nothing. */
static void grow_failing(bool in_place, bool onto)
{
	int control = -1, failures = 0;
	long before, nth;

	set_up_faults();
	control = LAB_SETUP(open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC));
	before = lab_committed();
	for (nth = 1; nth <= MOST; nth++) {
		char *p = in_place ? lab_shared_in_hole(4, 600) : lab_shared_blocked(4), *q;
		char *target = onto ? lab_hole(600, 0) : NULL;
		int flags = in_place ? 0 : onto ? MREMAP_MAYMOVE | MREMAP_FIXED : MREMAP_MAYMOVE, error;
		bool failed;

		LAB_WRITES(lab_at(p, 3), 3);
		fail(control, nth);
		q = lab_mremap(p, 4, 600, flags, target);
		error = q == MAP_FAILED ? errno : 0;
		failed = has_failed(control);
		if (error) {
			LAB_EXPECT_EQ(error, ENOMEM);
			LAB_OBJECT(p, 4);
			LAB_COMMITTED(before, 4);
			LAB_READS(lab_at(p, 3), 3);
			failures++;
			q = LAB_GROW(p, 4, 600);
		}
		LAB_WRITES(lab_at(q, 599), 1);
		LAB_READS(lab_at(q, 3), 3);
		LAB_OBJECT(q, 600);
		LAB_COMMITTED(before, 600);
		lab_unmap(q, 600);
		if (!in_place)
			lab_unmap(lab_at(p, 4), 1);
		LAB_COMMITTED(before, 0);
		if (!failed)
			break;
	}
	printf("%d of %ld growths failed\n", failures, nth);
	LAB_EXPECT(failures > 0 || in_place);
	LAB_EXPECT(nth <= MOST);
}

static void o01_move(void)
{
	grow_failing(false, false);
}

static void o01_in_place(void)
{
	grow_failing(true, false);
}

static void o01_to_an_address(void)
{
	grow_failing(false, true);
}

/* A touch of the grown part whose allocations fail: whatever it comes to, the next one works and the books are right. */
static void o02_touch(void)
{
	int control, failures = 0;
	long before, nth;

	set_up_faults();
	control = LAB_SETUP(open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC));
	before = lab_committed();
	for (nth = 1; nth <= MOST; nth++) {
		char *p = LAB_GROW(lab_shared(4), 4, 600);
		int null = LAB_SETUP(open("/dev/zero", O_RDONLY | O_CLOEXEC));
		bool failed;

		fail(control, nth);
		failures += read(null, lab_at(p, 599), 1) != 1;	/* a touch within a call, where faults are injected */
		failed = has_failed(control);
		close(null);
		LAB_WRITES(lab_at(p, 599), 1);
		LAB_OBJECT(p, 600);
		LAB_COMMITTED(before, 600);
		lab_unmap(p, 600);
		LAB_COMMITTED(before, 0);
		if (!failed)
			break;
	}
	printf("%d of %ld touches failed\n", failures, nth);
	LAB_EXPECT(nth <= MOST);
}

LAB_CASES(
	{ LAB_CASE(o01_move), .about = "growth that moves, each allocation failing once: nothing changed, nothing lost", EXPAND,
	  INJECTED },
	{ LAB_CASE(o01_in_place), .about = "growth in place, each allocation failing once", EXPAND, INJECTED },
	{ LAB_CASE(o01_to_an_address), .about = "growth to an address, each allocation failing once", EXPAND, INJECTED },
	{ LAB_CASE(o02_touch), .about = "a touch of the grown part, each allocation failing once", EXPAND, INJECTED },
)

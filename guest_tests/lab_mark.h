/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which case begins, printed on the guest's console as
 *
 *	pagelab: run <scenario>.<case>
 *
 * A result line that is on its way to the host is lost if the kernel dies at the next case, and reports of the kernel
 * have no case of their own.  The host reads these lines with lab/verdicts/case_marks.py.
 */
#ifndef LAB_MARK_H
#define LAB_MARK_H

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* `program` is its path, whose last part is the scenario.  Each open has its own rate limit, so no line is left out. */
static inline void lab_mark(const char *program, const char *name)
{
	const char *slash = strrchr(program, '/');
	int console = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	char line[300];

	if (console < 0)
		return;
	snprintf(line, sizeof(line), "<6>pagelab: run %s.%s\n", slash ? slash + 1 : program, name);
	(void)!write(console, line, strlen(line));	/* without it, only less is known about an end */
	close(console);
}

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which lines of the kernel a case has run: gcov's counters, set to zero before a case and kept after it.
 *
 * LAB_GCOV in the environment names the file to which they are appended; without it nothing is done.  For each case
 *
 *	gcda <bytes> <path>\n<that many bytes>\n	for each instrumented object
 *	case <name>\n					behind them
 *
 * The host reads that with lab/formats/gcov.py.  A case that takes the kernel with it has no line `case`.
 */
#ifndef LAB_GCOV_H
#define LAB_GCOV_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#define LAB_GCOV_DIR "/sys/kernel/debug/gcov"

static FILE *lab_gcov_file;	/* open while counters are copied */

/* The file in which counters are kept; NULL where nobody asked for them. */
static inline const char *lab_gcov_path(void)
{
	const char *path = getenv("LAB_GCOV");

	return path && *path ? path : NULL;
}

/* Set all counters to zero. */
static inline void lab_gcov_reset(void)
{
	FILE *reset;

	if (!lab_gcov_path())
		return;
	if (access(LAB_GCOV_DIR, F_OK))
		mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	reset = fopen(LAB_GCOV_DIR "/reset", "w");
	if (!reset)
		return;
	fputs("1\n", reset);
	fclose(reset);
}

/* Append one object's counters.  debugfs says that its files are empty, so they are read to their end first. */
static inline int lab_gcov_copy(const char *path, const struct stat *status, int type, struct FTW *place)
{
	size_t room = 8 * BUFSIZ, size = 0, got;
	char *data, *more;
	FILE *counters;

	(void)status;
	(void)place;
	if (type != FTW_F || strlen(path) < 5 || strcmp(path + strlen(path) - 5, ".gcda"))
		return 0;
	counters = fopen(path, "r");
	data = malloc(room);
	while (counters && data && (got = fread(data + size, 1, room - size, counters)) > 0) {
		size += got;
		if (size < room)
			continue;
		more = realloc(data, room *= 2);
		if (!more)
			break;
		data = more;
	}
	if (counters && data) {
		fprintf(lab_gcov_file, "gcda %zu %s\n", size, path);
		fwrite(data, 1, size, lab_gcov_file);
		fputc('\n', lab_gcov_file);
	}
	if (counters)
		fclose(counters);
	free(data);
	return 0;
}

/* Keep the counters of the case that has just ended. */
static inline void lab_gcov_keep(const char *name)
{
	if (!lab_gcov_path())
		return;
	lab_gcov_file = fopen(lab_gcov_path(), "a");
	if (!lab_gcov_file)
		return;
	nftw(LAB_GCOV_DIR, lab_gcov_copy, 8, FTW_PHYS);
	fprintf(lab_gcov_file, "case %s\n", name);
	fclose(lab_gcov_file);
}

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one header of the scenario programs: a table of cases in, KTAP out.
 *
 * A scenario is a file of small functions and, at its bottom, the table:
 *
 *	static void a01_grow_touch(void)
 *	{
 *		char *p = lab_shared(1);
 *
 *		p = LAB_GROW(p, 1, 200);
 *		LAB_WRITES(lab_at(p, 195), 1);
 *	}
 *
 *	LAB_CASES(
 *		{ LAB_CASE(a01_grow_touch), .about = "1p grown to 200p", .requires = "shm-expand" },
 *	)
 *
 * lab_numa.h adds memory policy and placement, lab_disk.h a disk in memory: swap, a file system, lab_cost.h what
 * something costs.
 *
 * A name that starts with a row of the scenario table (a01_) carries that row's id.  Sizes are counted in pages of
 * the running kernel.  Every case runs in a process, session and group of its own; it has failed until it says
 * otherwise, and the first check that does not hold ends it.  Three macro families keep blame apart:
 *
 *	LAB_EXPECT*, LAB_GROW, LAB_READS...	the kernel under test did not do what it should: `not ok`
 *	LAB_SETUP, LAB_ERROR			the case could not even try: `not ok ... # ERROR`
 *	LAB_SKIP				the case makes no sense here: `ok ... # SKIP`
 *
 * Arguments: case names or globs, or --list.  Environment: LAB_FEATURES (what the kernel provides, space separated),
 * LAB_TIMEOUT_SCALE, LAB_LOAD, LAB_CLOCK (lab_cost.h).  Exit status: 0 all ok or skipped, 1 something not ok, 2 usage
 * or the harness failed.
 *
 * Two designs may both be right and yet do different things: the case asks lab_provides() and checks for either.  What
 * it found there is on record as `# saw ENOMEM commit+512 object=16`: every signal, errno, size of an object and
 * commitment that a check has met.
 *
 * System-wide settings and counters (overcommit, Committed_AS, ...) are touched and judged only in a guest of the
 * lab, which its init marks with LAB_GUEST_MARK: on any other machine they belong to somebody else.
 */
#ifndef LAB_H
#define LAB_H

#if defined(_FEATURES_H) && !defined(_GNU_SOURCE)
#error "lab.h must be the first header that a scenario includes"
#endif
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define _FILE_OFFSET_BITS 64

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lab_gcov.h"
#include "lab_mark.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MAP_SHARED_VALIDATE
#define MAP_SHARED_VALIDATE 3
#endif
/* The flag of the series expand-optin: with MAP_SHARED_VALIDATE | MAP_ANONYMOUS, mremap may extend the memory. */
#ifndef MAP_EXPANDABLE
#define MAP_EXPANDABLE 0x400000
#endif

/* Messages are bounded on purpose; clang does not know the warning. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wformat-truncation"
#endif

#define LAB_FN static __attribute__((unused))
#define LAB_PRINTF(string, first) __attribute__((format(printf, string, first)))

#define LAB_GUEST_MARK "/run/facts"	/* the guest's init writes its facts there */
#define LAB_TIMEOUT_S 10		/* of a case that names none; multiplied by LAB_TIMEOUT_SCALE */
#define LAB_GRACE_MS 2000		/* for the killed to be gone, likewise scaled */
#define LAB_SETTLE_MS 500		/* for what is freed lazily to be back in the books, likewise scaled */
#define LAB_OUT_LINES 40		/* of a case's own output that are shown */
#define LAB_OUT_KILL (1 << 20)		/* bytes of output at which a case is ended */
#define LAB_TEXT 320			/* bytes of a message */
#define LAB_PATH 160			/* bytes of a settings file's path */
#define LAB_WORD 32			/* bytes of a word of what a case saw */
#define LAB_MAX_WORDS 8			/* of those */
#define LAB_MAX_NODES 64
#define LAB_MAX_CPUS 1024
#define LAB_MAX_HUGE 16
#define LAB_MAX_RESTORE 64

struct lab_case {
	const char *name;	/* KTAP name, a word; from LAB_CASE() */
	void (*run)(void);
	const char *about;	/* one line of plain ASCII */
	const char *requires;	/* features without which the case must fail, space separated */
	const char *needs_config;	/* Kconfig symbols without CONFIG_, space separated */
	const char *leaves;	/* why the system's books may differ afterwards: not checked then */
	int needs_nodes;	/* NUMA nodes with memory */
	int timeout_s;
	bool needs_root;
	bool needs_64bit;
};

#define LAB_CASE(function) .name = #function, .run = function
/* A row of the scenario table of which a program can have no case, or not all of it: why.  Shown by --list. */
#define LAB_NO_CASE(row, why) { .name = row, .about = why }

#define LAB_CASES(...)									\
	static const struct lab_case lab_cases[] = { __VA_ARGS__ };			\
	int main(int argc, char **argv)							\
	{										\
		return lab_main(lab_cases, (int)(sizeof(lab_cases) / sizeof(*lab_cases)), argc, argv); \
	}

/* ---- the machine: sizes, time, files ---------------------------------------------------------------------------- */

/* Bytes of a page of the running kernel. */
LAB_FN size_t lab_page(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* The start of page `n` of what `p` points to; n may be negative. */
LAB_FN char *lab_at(void *p, long n)
{
	return (char *)p + n * (long)lab_page();
}

/* Pages that `bytes` fill, rounded up. */
LAB_FN long lab_pages(unsigned long long bytes)
{
	return (long)((bytes + lab_page() - 1) / lab_page());
}

LAB_FN long long lab_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

LAB_FN long long lab_now_ms(void)
{
	return lab_now_ns() / 1000000;
}

LAB_FN void lab_sleep_ms(long ms)
{
	struct timespec span = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&span, NULL);
}

/* A positive number from the environment, 1 when it is not set, 0 when it is none. */
LAB_FN double lab_factor(const char *name)
{
	const char *text = getenv(name);
	char *end;
	double value;

	if (!text || !*text)
		return 1;
	value = strtod(text, &end);
	return *end || !(value > 0 && value < 1e6) ? 0 : value;
}

/* Milliseconds stretched by LAB_TIMEOUT_SCALE, for emulated machines. */
LAB_FN long lab_scaled(long ms)
{
	return (long)((double)ms * lab_factor("LAB_TIMEOUT_SCALE"));
}

/* Rounds of a stress case: `n` times LAB_LOAD, at least one. */
LAB_FN int lab_load(int n)
{
	double scaled = n * lab_factor("LAB_LOAD");

	return scaled < 1 ? 1 : (int)scaled;
}

LAB_FN bool lab_word_in(const char *words, const char *word)
{
	size_t length = strlen(word), span;

	for (words = words ? words : ""; *words; words += span) {
		words += strspn(words, " ");
		span = strcspn(words, " ");
		if (span == length && !memcmp(words, word, length))
			return true;
	}
	return false;
}

/* Does the kernel under test claim this feature?  Only where two designs legitimately differ is there a need to ask. */
LAB_FN bool lab_provides(const char *feature)
{
	return lab_word_in(getenv("LAB_FEATURES"), feature);
}

/* Is the running kernel older than major.minor? */
LAB_FN bool lab_kernel_before(int major, int minor)
{
	struct utsname name;
	int have_major = 0, have_minor = 0;

	uname(&name);
	sscanf(name.release, "%d.%d", &have_major, &have_minor);
	return have_major < major || (have_major == major && have_minor < minor);
}

/* Does a program of 32 bits run on a kernel of 64, which counts further than it can? */
LAB_FN bool lab_compat(void)
{
	struct utsname name;

	uname(&name);
	return sizeof(long) < 8 && (strstr(name.machine, "64") || !strcmp(name.machine, "s390x"));
}

/* The whole of a small file, as a string; its length, or -1 with errno.  No malloc: it may be called under limits. */
LAB_FN ssize_t lab_slurp(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t have = 0;
	ssize_t got = 0;

	text[0] = 0;
	if (fd < 0)
		return -1;
	while (have + 1 < size && (got = read(fd, text + have, size - 1 - have)) > 0)
		have += (size_t)got;
	text[have] = 0;
	close(fd);
	return got < 0 ? -1 : (ssize_t)have;
}

/* Is this machine the lab's own, so that its settings may be changed and its counters are nobody else's? */
LAB_FN bool lab_owned(void)
{
	static int owned = -1;
	char text[BUFSIZ];

	if (owned < 0)
		owned = lab_slurp(LAB_GUEST_MARK, text, sizeof(text)) > 0 && !strncmp(text, "machine=", 8);
	return owned;
}

/* A settings file's value: without its newline, and of `always [never] deny` the word in brackets. */
LAB_FN int lab_setting(const char *path, char *value, size_t size)
{
	char *bracket;

	if (lab_slurp(path, value, size) < 0)
		return -1;
	value[strcspn(value, "\n")] = 0;
	bracket = strchr(value, '[');
	if (bracket) {
		memmove(value, bracket + 1, strlen(bracket));
		value[strcspn(value, "]")] = 0;
	}
	return 0;
}

LAB_FN int lab_write_file(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), saved;
	ssize_t put;

	if (fd < 0)
		return -1;
	put = write(fd, value, strlen(value));
	saved = errno;
	close(fd);
	errno = saved;
	return put < 0 ? -1 : 0;
}

/* Numbers of a kernel list such as `0-1,4`, in `path`; how many, or -1. */
LAB_FN int lab_list(const char *path, int *numbers, int most)
{
	char text[BUFSIZ], *at = text;
	int count = 0;

	if (lab_slurp(path, text, sizeof(text)) < 0)
		return -1;
	while (isdigit((unsigned char)*at)) {
		long first = strtol(at, &at, 10), last = first;

		if (*at == '-')
			last = strtol(at + 1, &at, 10);
		for (; first <= last && count < most; first++)
			numbers[count++] = (int)first;
		at += *at == ',';
	}
	return count;
}

/* NUMA nodes that have memory, in `nodes` (LAB_MAX_NODES of room); how many, 1 on a kernel without NUMA. */
LAB_FN int lab_nodes(int *nodes)
{
	int count = lab_list("/sys/devices/system/node/has_memory", nodes, LAB_MAX_NODES);

	nodes[0] = count > 0 ? nodes[0] : 0;
	return count > 0 ? count : 1;
}

LAB_FN int lab_cpus(void)
{
	return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

/* Kilobytes on the line `key:` of a text such as /proc/meminfo or an entry of smaps; -1 when there is no such line. */
LAB_FN long lab_kb(const char *text, const char *key)
{
	size_t length = strlen(key);

	for (; text && *text; text = strchr(text, '\n'), text += !!text)
		if (!strncmp(text, key, length) && text[length] == ':')
			return strtol(text + length + 1, NULL, 10);
	return -1;
}

/* ---- the books: what a case may not leak ------------------------------------------------------------------------ */

/*
 * Committed_AS is a percpu counter, and Shmem a vmstat item with per-CPU differences.  Since 5.9 reading meminfo sums
 * the former over all CPUs, so it is exact; the latter is exact right after /proc/sys/vm/stat_refresh (root).
 */
struct lab_books {
	long committed;		/* pages */
	long shmem;		/* pages */
	int sizes;
	struct lab_huge {
		long kb;
		long free, reserved;	/* huge pages of that size */
	} huge[LAB_MAX_HUGE];
};

/*
 * Pages by which the system-wide counters may move without a case's doing.  The counters themselves are exact (above),
 * and what other processes take is measured with every reading (below); the rest is what one of them does just then.
 */
LAB_FN long lab_noise(void)
{
	return 4;
}

static bool lab_in_case;	/* whether this process is one of a case's own */

/* Pages of private memory of a process outside the case; 0 of the case's own, and of a kernel thread, -1 if gone. */
LAB_FN long lab_private_pages(long pid)
{
	char path[LAB_PATH], text[BUFSIZ], *after;
	long session = -1, data = 0;

	snprintf(path, sizeof(path), "/proc/%ld/statm", pid);
	if (lab_slurp(path, text, sizeof(text)) < 0)
		return -1;
	sscanf(text, "%*d %*d %*d %*d %*d %ld", &data);
	if (!data || !lab_in_case)
		return data;
	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	if (lab_slurp(path, text, sizeof(text)) < 0 || !(after = strrchr(text, ')')))
		return -1;
	sscanf(after + 1, " %*c %*d %*d %ld", &session);
	return session == getsid(0) ? 0 : data;
}

/*
 * Pages of private memory of all processes outside the case: what they add to Committed_AS.  The ssh daemon that carries
 * our output does, now and then.  Kernel threads have none, and are remembered, since there are many.
 */
LAB_FN long lab_others(void)
{
	static _Alignas(8) char entries[8000];	/* no opendir, which allocates: it may be called under limits */
	static unsigned char kernel_thread[1 << 11];
	int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	long sum = 0, got, at, pid, pages;

	while (fd >= 0 && (got = syscall(SYS_getdents64, fd, entries, sizeof(entries))) > 0) {
		for (at = 0; at < got; at += ((struct dirent64 *)(entries + at))->d_reclen) {
			pid = atol(((struct dirent64 *)(entries + at))->d_name);
			if (pid <= 0 || (pid < (long)sizeof(kernel_thread) && kernel_thread[pid]))
				continue;
			pages = lab_private_pages(pid);
			sum += pages > 0 ? pages : 0;
			if (!pages && !lab_in_case && pid < (long)sizeof(kernel_thread))
				kernel_thread[pid] = 1;
		}
	}
	close(fd);
	return sum;
}

LAB_FN long lab_meminfo(const char *key)
{
	char text[BUFSIZ];

	return lab_slurp("/proc/meminfo", text, sizeof(text)) < 0 ? -1 : lab_kb(text, key);
}

LAB_FN long lab_meminfo_pages(const char *key)
{
	return lab_meminfo(key) / (long)(lab_page() >> 10);
}

/* Committed_AS in pages, without what processes outside the case have of it. */
LAB_FN long lab_committed(void)
{
	long others = lab_owned() ? lab_others() : 0;

	return lab_meminfo_pages("Committed_AS") - others;
}

/* Shmem in pages, with the per-CPU differences folded in where we may. */
LAB_FN long lab_shmem(void)
{
	if (lab_owned())
		lab_write_file("/proc/sys/vm/stat_refresh", "1");
	return lab_meminfo_pages("Shmem");
}

LAB_FN long lab_huge_count(long kb, const char *file)
{
	char path[LAB_PATH], text[32];

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%ldkB/%s", kb, file);
	return lab_slurp(path, text, sizeof(text)) < 0 ? -1 : strtol(text, NULL, 10);
}

LAB_FN struct lab_books lab_read_books(void)
{
	struct lab_books books = { .committed = lab_committed(), .shmem = lab_shmem() };
	DIR *dir = opendir("/sys/kernel/mm/hugepages");
	struct dirent *entry;

	while (dir && (entry = readdir(dir)) && books.sizes < LAB_MAX_HUGE) {
		struct lab_huge *huge = &books.huge[books.sizes];

		if (sscanf(entry->d_name, "hugepages-%ldkB", &huge->kb) != 1)
			continue;
		huge->free = lab_huge_count(huge->kb, "free_hugepages");
		huge->reserved = lab_huge_count(huge->kb, "resv_hugepages");
		books.sizes++;
	}
	if (dir)
		closedir(dir);
	return books;
}

/* What moved between two readings, in words; an empty string when nothing did. */
LAB_FN void lab_compare_books(const struct lab_books *was, const struct lab_books *is, char *text, size_t size)
{
	long noise = lab_noise(), committed = is->committed - was->committed, shmem = is->shmem - was->shmem;
	int i;

	text[0] = 0;
	if (labs(committed) > noise)
		snprintf(text, size, "Committed_AS moved by %+ld pages (allowed: %ld)", committed, noise);
	else if (labs(shmem) > noise)
		snprintf(text, size, "Shmem moved by %+ld pages (allowed: %ld)", shmem, noise);
	for (i = 0; !text[0] && i < was->sizes && i < is->sizes; i++) {
		const struct lab_huge *old = &was->huge[i], *new = &is->huge[i];

		if (old->kb != new->kb || (old->free == new->free && old->reserved == new->reserved))
			continue;
		snprintf(text, size, "huge pages of %ld kB: free %ld, was %ld; reserved %ld, was %ld", old->kb,
			 new->free, old->free, new->reserved, old->reserved);
	}
}

/* ---- verdicts: how a case speaks to its parent ------------------------------------------------------------------ */

enum lab_kind {
	LAB_IS_NOTHING,
	LAB_IS_PASS,
	LAB_IS_FAIL,
	LAB_IS_SKIP,
	LAB_IS_ERROR,
	LAB_IS_CRASH,
	LAB_IS_TIMEOUT,
	LAB_IS_LEAK,
	LAB_TO_RESTORE,	/* at the end of the case write `text` to the file `path` */
	LAB_TO_RMDIR,	/* at the end of the case remove the directory `path` */
	LAB_TO_SWAPOFF,	/* at the end of the case stop swapping to `path` */
	LAB_TO_SAY_SAW,		/* `text` is a word of what the case met */
	LAB_TO_SAY_COST,	/* `text` is what the case measured */
};

/* One message from a case to its parent, written at once: pipes keep up to _POSIX_PIPE_BUF bytes in one piece. */
struct lab_note {
	int kind;
	char path[LAB_PATH];
	char text[LAB_TEXT];
};
_Static_assert(sizeof(struct lab_note) <= _POSIX_PIPE_BUF, "a note must fit into one atomic write");

static int lab_notes = -1;	/* where a case writes them */

LAB_FN const char *lab_base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

LAB_FN void lab_send(int kind, const char *path, const char *text)
{
	struct lab_note note = { .kind = kind };

	snprintf(note.path, sizeof(note.path), "%s", path);
	snprintf(note.text, sizeof(note.text), "%s", text);
	if (write(lab_notes, &note, sizeof(note)) != (ssize_t)sizeof(note))
		_exit(2);
}

/*
 * Put a word on record of what a check met, the first time that this process meets it: a signal, an errno, a number.
 * Only what was *expected* is so recorded, and so it is the same in every run.
 */
LAB_FN LAB_PRINTF(1, 2) void lab_saw(const char *format, ...)
{
	static char known[LAB_TEXT];
	char word[LAB_WORD];
	size_t used = strlen(known);
	va_list args;

	va_start(args, format);
	vsnprintf(word, sizeof(word), format, args);
	va_end(args);
	if (lab_notes < 0 || lab_word_in(known, word) || used + strlen(word) + 2 > sizeof(known))
		return;
	sprintf(known + used, " %s", word);
	lab_send(LAB_TO_SAY_SAW, "", word);
}

/* Say what became of the case and end this process.  `file` is NULL where the place adds nothing. */
LAB_FN __attribute__((noreturn)) LAB_PRINTF(4, 5)
void lab_end(int kind, const char *file, int line, const char *format, ...)
{
	char text[LAB_TEXT];
	int used = 0;
	va_list args;

	if (file)
		used = snprintf(text, sizeof(text), "%s:%d: ", lab_base(file), line);
	va_start(args, format);
	vsnprintf(text + used, sizeof(text) - (size_t)used, format, args);
	va_end(args);
	lab_send(kind, "", text);
	_exit(kind == LAB_IS_PASS ? 0 : 1);
}

#define LAB_FAIL(...) lab_end(LAB_IS_FAIL, __FILE__, __LINE__, __VA_ARGS__)
#define LAB_ERROR(...) lab_end(LAB_IS_ERROR, __FILE__, __LINE__, __VA_ARGS__)
#define LAB_SKIP(...) lab_end(LAB_IS_SKIP, NULL, 0, __VA_ARGS__)

/* ENOMEM for 12, without the C library's say. */
LAB_FN const char *lab_errno(int number)
{
	static __thread char other[24];
#define LAB_NAME(name) case name: return #name;
	switch (number) {
	case 0: return "success";
	LAB_NAME(EPERM) LAB_NAME(ENOENT) LAB_NAME(ESRCH) LAB_NAME(EINTR) LAB_NAME(EIO) LAB_NAME(ENXIO)
	LAB_NAME(E2BIG) LAB_NAME(EBADF) LAB_NAME(ECHILD) LAB_NAME(EAGAIN) LAB_NAME(ENOMEM) LAB_NAME(EACCES)
	LAB_NAME(EFAULT) LAB_NAME(EBUSY) LAB_NAME(EEXIST) LAB_NAME(ENODEV) LAB_NAME(EINVAL) LAB_NAME(ENFILE)
	LAB_NAME(EMFILE) LAB_NAME(ETXTBSY) LAB_NAME(EFBIG) LAB_NAME(ENOSPC) LAB_NAME(EROFS) LAB_NAME(EPIPE)
	LAB_NAME(ENOSYS) LAB_NAME(EOPNOTSUPP) LAB_NAME(EOVERFLOW) LAB_NAME(ETIMEDOUT) LAB_NAME(ENOTDIR)
	}
#undef LAB_NAME
	snprintf(other, sizeof(other), "errno %d", number);
	return other;
}

LAB_FN const char *lab_signal(int number)
{
	static __thread char other[24];
#define LAB_NAME(name) case name: return #name;
	switch (number) {
	case 0: return "no signal";
	LAB_NAME(SIGHUP) LAB_NAME(SIGINT) LAB_NAME(SIGQUIT) LAB_NAME(SIGILL) LAB_NAME(SIGTRAP) LAB_NAME(SIGABRT)
	LAB_NAME(SIGBUS) LAB_NAME(SIGFPE) LAB_NAME(SIGKILL) LAB_NAME(SIGSEGV) LAB_NAME(SIGPIPE) LAB_NAME(SIGALRM)
	LAB_NAME(SIGTERM) LAB_NAME(SIGSYS) LAB_NAME(SIGXCPU) LAB_NAME(SIGXFSZ)
	}
#undef LAB_NAME
	snprintf(other, sizeof(other), "signal %d", number);
	return other;
}

/* A call of the case's own preparation: its value; where it is -1 (or MAP_FAILED) the case ends with ERROR. */
#define LAB_SETUP(call) __extension__ ({						\
	errno = 0;									\
	__typeof__(call) lab_value_ = (call);						\
	if ((intptr_t)lab_value_ == -1)							\
		LAB_ERROR("%s: %s", #call, lab_errno(errno));				\
	lab_value_; })

/* A call of the case's preparation that some kernels or users lack: ENOSYS, EPERM and the like skip the case. */
#define LAB_SETUP_OR_SKIP(call) __extension__ ({					\
	errno = 0;									\
	__typeof__(call) lab_value_ = (call);						\
	if ((intptr_t)lab_value_ == -1) {						\
		if (errno == ENOSYS || errno == EPERM || errno == EOPNOTSUPP || errno == ENOENT)	\
			LAB_SKIP("%s: %s", #call, lab_errno(errno));			\
		LAB_ERROR("%s: %s", #call, lab_errno(errno));				\
	}										\
	lab_value_; })

#define LAB_EXPECT(condition)								\
	do {										\
		if (!(condition))							\
			LAB_FAIL("%s does not hold", #condition);			\
	} while (0)

#define LAB_EXPECT_EQ(got, wanted)							\
	do {										\
		long long lab_got_ = (long long)(got), lab_wanted_ = (long long)(wanted);	\
		if (lab_got_ != lab_wanted_)						\
			LAB_FAIL("%s: got %lld, expected %lld", #got, lab_got_, lab_wanted_);	\
	} while (0)

/* A call that must succeed: its value. */
#define LAB_EXPECT_OK(call) __extension__ ({						\
	errno = 0;									\
	__typeof__(call) lab_value_ = (call);						\
	if ((intptr_t)lab_value_ == -1)							\
		LAB_FAIL("%s: got %s, expected success", #call, lab_errno(errno));	\
	lab_value_; })

/* A call that must fail with exactly this errno. */
#define LAB_EXPECT_ERRNO(call, wanted)							\
	do {										\
		errno = 0;								\
		intptr_t lab_value_ = (intptr_t)(call);					\
		int lab_errno_ = lab_value_ == -1 ? errno : 0;				\
		if (lab_errno_ != (wanted))						\
			LAB_FAIL("%s: got %s, expected %s", #call, lab_errno(lab_errno_), lab_errno(wanted)); \
		lab_saw("%s", lab_errno(lab_errno_));					\
	} while (0)

/* ---- faults as values ------------------------------------------------------------------------------------------- */

/* What touching an address did: no signal (signo 0), or which one and where. */
struct lab_fault {
	int signo, code;
	void *addr;
};

static __thread sigjmp_buf lab_jump;
static __thread volatile sig_atomic_t lab_armed;
static __thread struct lab_fault lab_caught;

LAB_FN void lab_on_fault(int signo, siginfo_t *info, void *context)
{
	(void)context;
	if (!lab_armed) {	/* not ours: let it happen again, and kill */
		signal(signo, SIG_DFL);
		return;
	}
	lab_armed = 0;
	lab_caught = (struct lab_fault){ .signo = signo, .code = info->si_code, .addr = info->si_addr };
	siglongjmp(lab_jump, 1);
}

LAB_FN void lab_catch_faults(void)
{
	struct sigaction action = { .sa_sigaction = lab_on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER };

	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
}

/* Read the byte at `addr` into `value`, or with `write` store `value` there; what came of it. */
LAB_FN struct lab_fault lab_touch(void *addr, bool write, unsigned char *value)
{
	volatile unsigned char *byte = addr;

	lab_catch_faults();
	if (sigsetjmp(lab_jump, 0))
		return lab_caught;
	lab_armed = 1;
	if (write)
		*byte = *value;
	else
		*value = *byte;
	lab_armed = 0;
	return (struct lab_fault){ 0 };
}

LAB_FN struct lab_fault lab_read(void *addr)
{
	unsigned char value;

	return lab_touch(addr, false, &value);
}

LAB_FN struct lab_fault lab_write(void *addr, unsigned char value)
{
	return lab_touch(addr, true, &value);
}

/* Do two addresses lie in the same page?  Some machines report si_addr no finer than that. */
LAB_FN bool lab_same_page(const void *a, const void *b)
{
	return (uintptr_t)a / lab_page() == (uintptr_t)b / lab_page();
}

LAB_FN const char *lab_in_words(char *text, size_t size, int signo, int code)
{
	if (signo)
		snprintf(text, size, "%s code %d", lab_signal(signo), code);
	else
		snprintf(text, size, "no signal");
	return text;
}

/* The case fails unless touching `addr` did what it should: `signo` 0 for nothing, else that signal, code and page. */
LAB_FN void lab_check_fault(const char *file, int line, const char *what, const char *place, void *addr,
			    struct lab_fault got, int signo, int code)
{
	char is[40], should[40];

	if (got.signo != signo || (signo && got.code != code))
		lab_end(LAB_IS_FAIL, file, line, "%s %s: got %s, expected %s", what, place,
			lab_in_words(is, sizeof(is), got.signo, got.code),
			lab_in_words(should, sizeof(should), signo, code));
	if (signo && !lab_same_page(got.addr, addr))
		lab_end(LAB_IS_FAIL, file, line, "%s %s: %s at %p, expected the page of %p", what, place,
			lab_signal(signo), got.addr, addr);
	if (signo)
		lab_saw("%s", lab_signal(signo));
}

LAB_FN void lab_check_write(const char *file, int line, const char *place, void *addr, unsigned char value)
{
	lab_check_fault(file, line, "writing", place, addr, lab_write(addr, value), 0, 0);
}

LAB_FN void lab_check_value(const char *file, int line, const char *place, void *addr, unsigned char wanted)
{
	unsigned char value = 0;

	lab_check_fault(file, line, "reading", place, addr, lab_touch(addr, false, &value), 0, 0);
	if (value != wanted)
		lab_end(LAB_IS_FAIL, file, line, "reading %s: got %d, expected %d", place, value, wanted);
}

LAB_FN void lab_check_signal(const char *file, int line, const char *place, void *addr, int signo, int code)
{
	lab_check_fault(file, line, "reading", place, addr, lab_read(addr), signo, code);
	lab_check_fault(file, line, "writing", place, addr, lab_write(addr, 0), signo, code);
}

/* `addr` can be written; `addr` can be read and holds `value`. */
#define LAB_WRITES(addr, value) lab_check_write(__FILE__, __LINE__, #addr, addr, value)
#define LAB_READS(addr, value) lab_check_value(__FILE__, __LINE__, #addr, addr, value)
/* `addr` can be neither read nor written: beyond the object (SIGBUS), or nothing is mapped there (SIGSEGV). */
#define LAB_SIGBUS(addr) lab_check_signal(__FILE__, __LINE__, #addr, addr, SIGBUS, BUS_ADRERR)
#define LAB_SIGSEGV(addr) lab_check_signal(__FILE__, __LINE__, #addr, addr, SIGSEGV, SEGV_MAPERR)

/* ---- mappings --------------------------------------------------------------------------------------------------- */

/* MREMAP_FIXED and duplicates must agree with the object's offset modulo SHMLBA where caches alias; 4 MiB is the
 * largest there is (parisc). */
#define LAB_COLOUR ((uintptr_t)4 << 20)
/* Left free on both sides of a hole, so that what is mapped next (a thread's stack, say) does not land in it. */
#define LAB_SLACK ((uintptr_t)64 << 20)

LAB_FN char *lab_map(long pages, int prot, int flags)
{
	return mmap(NULL, (size_t)pages * lab_page(), prot, flags, -1, 0);
}

/*
 * Wait until the clock that files have their times from has moved.  It moves with the ticks of one CPU, which a busy host
 * may not run for a while, though this one has slept.
 */
LAB_FN void lab_await_file_clock(void)
{
	long long until = lab_now_ms() + lab_scaled(5000);
	struct timespec before, now;

	LAB_SETUP(clock_gettime(CLOCK_REALTIME_COARSE, &before));
	do {
		if (lab_now_ms() >= until)
			LAB_ERROR("the clock of files stands still");
		lab_sleep_ms(1);
		LAB_SETUP(clock_gettime(CLOCK_REALTIME_COARSE, &now));
	} while (now.tv_sec == before.tv_sec && now.tv_nsec == before.tv_nsec);
}

/* A fresh shared anonymous mapping. */
LAB_FN char *lab_shared(long pages)
{
	return LAB_SETUP(lab_map(pages, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS));
}

/* Addresses of `pages` pages with nothing mapped there, `colour_page` pages past a multiple of LAB_COLOUR. */
LAB_FN char *lab_hole(long pages, long colour_page)
{
	size_t room = (size_t)(pages + colour_page) * lab_page() + LAB_COLOUR + 2 * LAB_SLACK;
	char *p = LAB_SETUP(mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));

	LAB_SETUP(munmap(p, room));
	return lab_at((void *)(((uintptr_t)p + LAB_SLACK + LAB_COLOUR - 1) & ~(LAB_COLOUR - 1)), colour_page);
}

/* The case is skipped where the address space has no room for so many pages in one piece. */
LAB_FN void lab_need_room(long pages)
{
	unsigned long long bytes = (unsigned long long)pages * lab_page();
	char *p = MAP_FAILED;

	if (bytes <= PTRDIFF_MAX)
		p = mmap(NULL, (size_t)bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		LAB_SKIP("the address space has no room for %llu MiB", bytes >> 20);
	LAB_SETUP(munmap(p, (size_t)bytes));
}

/* A fresh shared anonymous mapping of `pages` at the start of `room` pages of otherwise unused addresses. */
LAB_FN char *lab_shared_in_hole(long pages, long room)
{
	char *hole = lab_hole(room, 0);

	return LAB_SETUP(mmap(hole, (size_t)pages * lab_page(), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
}

/* A fresh shared anonymous mapping whose next page is taken, so that it cannot grow in place. */
LAB_FN char *lab_shared_blocked(long pages)
{
	char *p = lab_shared_in_hole(pages, pages + 1);

	LAB_SETUP(mmap(lab_at(p, pages), lab_page(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	return p;
}

LAB_FN void lab_unmap(void *p, long pages)
{
	LAB_SETUP(munmap(p, (size_t)pages * lab_page()));
}

/* mremap in pages.  The system call itself: C libraries have opinions on old_pages 0. */
LAB_FN char *lab_mremap(void *p, long old_pages, long new_pages, int flags, void *target)
{
	return (char *)syscall(SYS_mremap, p, (size_t)old_pages * lab_page(), (size_t)new_pages * lab_page(), flags,
			       target);
}

/* Skip a case that leaves a shared mapping behind by MREMAP_DONTUNMAP where the kernel does so with private ones alone. */
LAB_FN void lab_needs_dontunmap(void)
{
	if (lab_kernel_before(5, 13))
		LAB_SKIP("MREMAP_DONTUNMAP is for private memory before 5.13");
}

/* Growth that every kernel grants: whether it can be *used* is what cases ask. */
#define LAB_GROW(p, old_pages, new_pages) LAB_EXPECT_OK(lab_mremap(p, old_pages, new_pages, MREMAP_MAYMOVE, NULL))
#define LAB_GROW_IN_PLACE(p, old_pages, new_pages) LAB_EXPECT_OK(lab_mremap(p, old_pages, new_pages, 0, NULL))
#define LAB_GROW_TO(p, old_pages, new_pages, target) \
	LAB_EXPECT_OK(lab_mremap(p, old_pages, new_pages, MREMAP_MAYMOVE | MREMAP_FIXED, target))
/* A second view of the same object, at `target`. */
#define LAB_DUP_TO(p, pages, target) LAB_GROW_TO(p, 0, pages, target)

/* kB on a line of /proc/self/status. */
LAB_FN long lab_status_kb(const char *key)
{
	char text[BUFSIZ];

	LAB_SETUP(lab_slurp("/proc/self/status", text, sizeof(text)));
	return lab_kb(text, key);
}

/* The entry of /proc/self/maps (or smaps: `file`) that covers an address. */
struct lab_vma {
	uintptr_t start, end;
	unsigned long long offset;	/* bytes */
	char name[64];
	char details[1600];	/* what smaps says below the entry's first line */
};

LAB_FN bool lab_parse_vma(const char *line, struct lab_vma *vma)
{
	unsigned long start, end;
	int at = 0;

	if (sscanf(line, "%lx-%lx %*s %llx %*s %*s%n", &start, &end, &vma->offset, &at) != 3)
		return false;
	vma->start = start;
	vma->end = end;
	line += at + (int)strspn(line + at, " ");
	snprintf(vma->name, sizeof(vma->name), "%.*s", (int)strcspn(line, "\n"), line);
	return true;
}

LAB_FN bool lab_find_vma(const char *file, void *addr, struct lab_vma *vma)
{
	static char text[1 << 17];	/* no malloc: it may be called under limits */
	const char *line, *rest;

	memset(vma, 0, sizeof(*vma));
	if (lab_slurp(file, text, sizeof(text)) < 0)
		return false;
	for (line = text; line && *line; line = strchr(line, '\n'), line += !!line) {
		if (!isxdigit((unsigned char)*line) || isupper((unsigned char)*line) || !lab_parse_vma(line, vma))
			continue;
		if ((uintptr_t)addr < vma->start || (uintptr_t)addr >= vma->end)
			continue;
		rest = strchr(line, '\n');
		snprintf(vma->details, sizeof(vma->details), "%s", rest ? rest + 1 : "");
		return true;
	}
	return false;
}

/* What smaps shows as the flags of the mapping at `addr`: `VmFlags: rd wr sh ...`. */
LAB_FN void lab_vma_flags(void *addr, char flags[128])
{
	static struct lab_vma vma;
	char *line;

	LAB_EXPECT(lab_find_vma("/proc/self/smaps", addr, &vma));
	line = strstr(vma.details, "VmFlags:");
	LAB_EXPECT(line != NULL);
	snprintf(flags, 128, "%.*s", (int)strcspn(line, "\n"), line);
}

/* Whether one of them is set: `lo` for locked memory. */
LAB_FN bool lab_vma_has(void *addr, const char *flag)
{
	char flags[128], word[8];

	lab_vma_flags(addr, flags);
	snprintf(word, sizeof(word), " %s ", flag);
	return strstr(flags, word);
}

/* Path of /proc/self/map_files for the mapping at `addr`; false when nothing is mapped there. */
LAB_FN bool lab_map_files(void *addr, char *path, size_t size)
{
	struct lab_vma vma;

	if (!lab_find_vma("/proc/self/maps", addr, &vma))
		return false;
	snprintf(path, size, "/proc/self/map_files/%lx-%lx", (unsigned long)vma.start, (unsigned long)vma.end);
	return true;
}

/* A descriptor of the object behind the mapping at `addr`; the case is skipped where we may not have one. */
LAB_FN int lab_open_object(void *addr)
{
	char path[LAB_PATH];

	LAB_EXPECT(lab_map_files(addr, path, sizeof(path)));
	return LAB_SETUP_OR_SKIP(open(path, O_RDWR | O_CLOEXEC));
}

/* Pages of the object behind the mapping at `addr`; -1 where we may not know (only root sees map_files). */
LAB_FN long lab_object_pages(void *addr)
{
	char path[LAB_PATH];
	struct stat about;

	if (!lab_map_files(addr, path, sizeof(path)) || stat(path, &about) < 0)
		return -1;
	return lab_pages((unsigned long long)about.st_size);
}

/* The object behind `addr` has `wanted` pages; not checked where we may not know. */
#define LAB_OBJECT(addr, wanted)							\
	do {										\
		long lab_pages_ = lab_object_pages(addr);				\
		if (lab_pages_ >= 0 && lab_pages_ != (wanted))				\
			LAB_FAIL("object of %s: has %ld pages, expected %ld", #addr, lab_pages_, (long)(wanted)); \
		if (lab_pages_ >= 0)							\
			lab_saw("object=%ld", lab_pages_);				\
	} while (0)

/* Pages that the object behind `addr` has in memory and in swap; -1 where we may not know.  Exact, unlike the books. */
LAB_FN long lab_object_blocks(void *addr)
{
	char path[LAB_PATH];
	struct stat about;

	if (!lab_map_files(addr, path, sizeof(path)) || stat(path, &about) < 0)
		return -1;
	return lab_pages((unsigned long long)about.st_blocks * 512);
}

/* The object behind `addr` has `wanted` pages of memory; not checked where we may not know. */
#define LAB_BLOCKS(addr, wanted)							\
	do {										\
		long lab_blocks_ = lab_object_blocks(addr);				\
		if (lab_blocks_ >= 0 && lab_blocks_ != (wanted))			\
			LAB_FAIL("object of %s: has %ld pages of memory, expected %ld", #addr, lab_blocks_, (long)(wanted)); \
	} while (0)

/* Committed_AS is `delta` pages above `before`, give or take the noise; judged on the lab's own machines only. */
#define LAB_COMMITTED(before, delta) lab_check_books(__FILE__, __LINE__, "Committed_AS", lab_committed, before, delta)
#define LAB_SHMEM(before, delta) lab_check_books(__FILE__, __LINE__, "Shmem", lab_shmem, before, delta)

LAB_FN void lab_check_books(const char *file, int line, const char *what, long (*now)(void), long before, long delta)
{
	long long until = lab_now_ms() + lab_scaled(LAB_SETTLE_MS);
	long moved;

	if (!lab_owned())
		return;
	while (labs((moved = now() - before) - delta) > lab_noise()) {
		if (lab_now_ms() > until)
			lab_end(LAB_IS_FAIL, file, line, "%s moved by %+ld pages, expected %+ld (+-%ld)", what,
				moved, delta, lab_noise());
		lab_sleep_ms(10);
	}
	lab_saw("%s%+ld", now == lab_committed ? "commit" : "shmem", delta);
}

/* ---- settings, users, CPUs: a case changes its own, or has them put back ---------------------------------------- */

/* Set a system-wide file for this case; the parent puts the old value back however the case ends. */
#define LAB_SET(path, value) lab_set(__FILE__, __LINE__, path, value)

LAB_FN void lab_set(const char *file, int line, const char *path, const char *value)
{
	char old[LAB_TEXT];

	if (lab_setting(path, old, sizeof(old)) < 0)
		LAB_SKIP("no %s", path);
	if (!strcmp(old, value))
		return;
	if (!lab_owned())
		LAB_SKIP("would set %s to %s, and this machine is no guest of the lab", path, value);
	lab_send(LAB_TO_RESTORE, path, old);
	if (lab_write_file(path, value) < 0)
		lab_end(LAB_IS_ERROR, file, line, "writing %s to %s: %s", value, path, lab_errno(errno));
}

#define LAB_CGROUPS "/sys/fs/cgroup"

/* A cgroup of this case's own under a controller of cgroup v2, removed at its end; its directory. */
LAB_FN const char *lab_cgroup(const char *name, const char *controller)
{
	static char path[LAB_PATH];
	char word[32];

	if (!lab_owned())
		LAB_SKIP("would make a cgroup, and this machine is no guest of the lab");
	snprintf(word, sizeof(word), "+%s", controller);
	if (lab_write_file(LAB_CGROUPS "/cgroup.subtree_control", word))
		LAB_SKIP("no %s controller in " LAB_CGROUPS, controller);
	snprintf(path, sizeof(path), LAB_CGROUPS "/%s", name);
	LAB_SETUP(mkdir(path, 0755));
	lab_send(LAB_TO_RMDIR, path, "");
	return path;
}

LAB_FN void lab_cgroup_set(const char *group, const char *file, const char *value)
{
	char path[LAB_PATH];

	snprintf(path, sizeof(path), "%s/%s", group, file);
	LAB_SETUP(lab_write_file(path, value));
}

/* A cgroup of this case's own whose processes may use `bytes` of memory, such as "8M", and no swap. */
LAB_FN const char *lab_memory_cgroup(const char *name, const char *bytes)
{
	const char *group = lab_cgroup(name, "memory");
	char path[LAB_PATH];

	lab_cgroup_set(group, "memory.max", bytes);
	snprintf(path, sizeof(path), "%s/memory.swap.max", group);
	lab_write_file(path, "0");	/* a kernel without swap has no such file */
	return group;
}

/* From now on this process is in the cgroup. */
LAB_FN void lab_join_cgroup(const char *group)
{
	lab_cgroup_set(group, "cgroup.procs", "0");
}

/* Become nobody, for what root is exempt from; /proc/self stays ours. */
LAB_FN void lab_drop_root(void)
{
	if (geteuid())
		return;
	LAB_SETUP(syscall(SYS_setresgid, 65534, 65534, 65534));
	LAB_SETUP(syscall(SYS_setresuid, 65534, 65534, 65534));
	LAB_SETUP(prctl(PR_SET_DUMPABLE, 1));
}

LAB_FN void lab_limit(int resource, unsigned long long value)
{
	struct rlimit limit = { .rlim_cur = (rlim_t)value, .rlim_max = (rlim_t)value };

	LAB_SETUP(setrlimit(resource, &limit));
}

/* Run on the CPUs of this node from now on. */
LAB_FN void lab_run_on_node(int node)
{
	char path[LAB_PATH];
	int cpus[LAB_MAX_CPUS], count, i;
	cpu_set_t set;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpulist", node);
	count = lab_list(path, cpus, LAB_MAX_CPUS);
	if (count < 1)
		LAB_SKIP("node %d has no CPU", node);
	CPU_ZERO(&set);
	for (i = 0; i < count; i++)
		CPU_SET(cpus[i], &set);
	LAB_SETUP(sched_setaffinity(0, sizeof(set), &set));
}

/* ---- a case's own processes ------------------------------------------------------------------------------------- */

/* A child of the case.  It may use every macro; it leaves with _exit(0). */
LAB_FN pid_t lab_fork(void)
{
	return LAB_SETUP(fork());
}

/* Wait for a child (-1: any) to leave; when it failed, so has the case, by its own words. */
LAB_FN void lab_join(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			LAB_ERROR("waitpid: %s", lab_errno(errno));
	if (WIFSIGNALED(status))
		lab_end(LAB_IS_CRASH, NULL, 0, "signal=%d (%s) in a child", WTERMSIG(status),
			lab_signal(WTERMSIG(status)));
	if (WEXITSTATUS(status))
		_exit(1);
}

/* A gate that one process opens for another: bytes in a pipe. */
struct lab_gate {
	int ends[2];
};

LAB_FN struct lab_gate lab_gate(void)
{
	struct lab_gate gate;

	LAB_SETUP(pipe(gate.ends));
	return gate;
}

LAB_FN void lab_open_gate(struct lab_gate *gate)
{
	LAB_SETUP(write(gate->ends[1], "", 1));
}

/* Wait until the gate is opened; the case ends when whoever should open it is gone. */
LAB_FN void lab_pass_gate(struct lab_gate *gate)
{
	char byte;

	if (LAB_SETUP(read(gate->ends[0], &byte, 1)) != 1)
		LAB_ERROR("the other side is gone");
}

/* The state letter of a process: the telling one of its threads (D before R before the rest); 0 when it is gone. */
LAB_FN char lab_task_state(const char *path, char *name, size_t size, long *parent, long *session)
{
	char text[BUFSIZ], *after;

	if (lab_slurp(path, text, sizeof(text)) < 0 || !(after = strrchr(text, ')')))
		return 0;
	*after = 0;
	snprintf(name, size, "%s", strchr(text, '(') ? strchr(text, '(') + 1 : "?");
	*parent = *session = -1;
	sscanf(after + 4, "%ld %*d %ld", parent, session);
	return after[2];
}

LAB_FN int lab_rank(char state)
{
	const char *order = "ZXItTSRD", *at = strchr(order, state);

	return state && at ? (int)(at - order) + 1 : 0;
}

LAB_FN char lab_state_of(pid_t pid)
{
	char path[LAB_PATH], name[32], worst = 0, state;
	struct dirent *entry;
	long parent, session;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%ld/task", (long)pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%ld/task/%.20s/stat", (long)pid, entry->d_name);
		state = lab_task_state(path, name, sizeof(name), &parent, &session);
		worst = lab_rank(state) > lab_rank(worst) ? state : worst;
	}
	if (dir)
		closedir(dir);
	return worst;
}

/* ---- the parent: output ----------------------------------------------------------------------------------------- */

/* Make text fit for one KTAP line: printable ASCII, nothing else. */
LAB_FN void lab_clean(char *text)
{
	for (; *text; text++)
		if (!isprint((unsigned char)*text) || (unsigned char)*text >= 0x7f)
			*text = *text == '\t' ? ' ' : '?';
}

LAB_FN LAB_PRINTF(1, 2) void lab_say(const char *format, ...)
{
	char line[2 * LAB_TEXT];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	lab_clean(line);
	puts(line);
	fflush(stdout);
}

/* What a case prints is shown behind `# | `, cleaned and bounded, so that it cannot be taken for a result. */
struct lab_output {
	char line[160];
	size_t used, total;
	int lines;
};

LAB_FN void lab_show_line(struct lab_output *out)
{
	out->line[out->used] = 0;
	if (out->lines < LAB_OUT_LINES)
		lab_say("# | %s", out->line);
	else if (out->lines == LAB_OUT_LINES)
		lab_say("# | (more was said)");
	out->lines++;
	out->used = 0;
}

LAB_FN void lab_show(struct lab_output *out, const char *text, size_t length)
{
	size_t i;

	out->total += length;
	for (i = 0; i < length; i++) {
		if (text[i] == '\n')
			lab_show_line(out);
		else if (out->used + 1 < sizeof(out->line))
			out->line[out->used++] = text[i] ? text[i] : '?';
	}
}

/* ---- the parent: undoing what a case did ------------------------------------------------------------------------ */

static struct lab_note lab_undo[LAB_MAX_RESTORE];
static int lab_undos;
static volatile sig_atomic_t lab_interrupted;

LAB_FN void lab_remember(const struct lab_note *note)
{
	if (lab_undos < LAB_MAX_RESTORE)
		lab_undo[lab_undos++] = *note;
}

LAB_FN bool lab_undo_one(const struct lab_note *note)
{
	switch (note->kind) {
	case LAB_TO_RMDIR:
		return !rmdir(note->path);
	case LAB_TO_SWAPOFF:	/* which the case may have done itself */
		return !swapoff(note->path) || errno == EINVAL;
	default:
		return !lab_write_file(note->path, note->text);
	}
}

/* The same, with patience: what dead processes held is let go of a little later. */
LAB_FN bool lab_undo_in_time(const struct lab_note *note)
{
	long long until = lab_now_ms() + lab_scaled(LAB_GRACE_MS);
	bool done;

	while (!(done = lab_undo_one(note)) && errno == EBUSY && lab_now_ms() < until)
		lab_sleep_ms(10);
	return done;
}

/* Undo, last first, down to `mark`; the path that could not be put back, or NULL. */
LAB_FN const char *lab_put_back(int mark)
{
	const char *stuck = NULL;

	while (lab_undos > mark) {
		const struct lab_note *note = &lab_undo[--lab_undos];

		stuck = lab_undo_in_time(note) ? stuck : note->path;
	}
	return stuck;
}

/* ---- the parent: one case --------------------------------------------------------------------------------------- */

struct lab_run {
	pid_t pid;
	int pidfd, out, notes;
	int status;
	bool ended, flooded;
	struct lab_output output;
	struct lab_note verdict;	/* the first that a process of the case gave */
	char saw[LAB_MAX_WORDS][LAB_WORD];	/* what it met, each once, in alphabetical order: processes race */
	int words;
	char cost[LAB_TEXT];		/* what it measured; empty when it measured nothing, or more than once */
	int costs;
};

/* In the child: a session of its own, nothing of the parent's but two pipes. */
LAB_FN __attribute__((noreturn)) void lab_child(const struct lab_case *c, int out, int notes)
{
	struct rlimit no_core;
	int null = open("/dev/null", O_RDONLY);

	setsid();
	dup2(null, 0);
	dup2(out, 1);
	dup2(out, 2);
	close(null);
	close(out);
	setvbuf(stdout, NULL, _IOLBF, 0);
	getrlimit(RLIMIT_CORE, &no_core);
	no_core.rlim_cur = 0;
	setrlimit(RLIMIT_CORE, &no_core);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	lab_notes = notes;
	lab_in_case = true;
	c->run();
	fflush(stdout);
	lab_end(LAB_IS_PASS, NULL, 0, "passed");
}

LAB_FN bool lab_start(struct lab_run *run, const struct lab_case *c)
{
	int out[2], notes[2];

	if (pipe2(out, O_CLOEXEC) || pipe2(notes, O_CLOEXEC))
		return false;
	run->pid = fork();
	if (run->pid < 0)
		return false;
	if (!run->pid) {
		close(out[0]);
		close(notes[0]);
		lab_child(c, out[1], notes[1]);
	}
	close(out[1]);
	close(notes[1]);
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	fcntl(notes[0], F_SETFL, O_NONBLOCK);
	run->out = out[0];
	run->notes = notes[0];
	run->pidfd = (int)syscall(SYS_pidfd_open, run->pid, 0);
	return run->pidfd >= 0;
}

/* Put a word of what the case saw in its place among the others. */
LAB_FN void lab_note_saw(struct lab_run *run, const char *word)
{
	int at = 0;

	while (at < run->words && strcmp(run->saw[at], word) < 0)
		at++;
	if (run->words == LAB_MAX_WORDS || (at < run->words && !strcmp(run->saw[at], word)))
		return;
	memmove(run->saw[at + 1], run->saw[at], (size_t)(run->words++ - at) * LAB_WORD);
	snprintf(run->saw[at], LAB_WORD, "%s", word);
}

/* A note that is no verdict. */
LAB_FN void lab_note(struct lab_run *run, const struct lab_note *note)
{
	if (note->kind == LAB_TO_SAY_SAW)
		lab_note_saw(run, note->text);
	else if (note->kind == LAB_TO_SAY_COST)
		snprintf(run->cost, sizeof(run->cost), "%s", run->costs++ ? "" : note->text);
	else
		lab_remember(note);
}

/* Take in what the case has said so far. */
LAB_FN void lab_listen(struct lab_run *run)
{
	struct lab_note note;
	char text[BUFSIZ];
	ssize_t got;

	while (!run->flooded && (got = read(run->out, text, sizeof(text))) > 0) {
		lab_show(&run->output, text, (size_t)got);
		run->flooded = run->output.total >= LAB_OUT_KILL;
	}
	while (read(run->notes, &note, sizeof(note)) == (ssize_t)sizeof(note)) {
		note.path[sizeof(note.path) - 1] = note.text[sizeof(note.text) - 1] = 0;
		if (note.kind >= LAB_TO_RESTORE)
			lab_note(run, &note);
		else if (run->verdict.kind == LAB_IS_NOTHING || run->verdict.kind == LAB_IS_PASS)
			run->verdict = note;
	}
}

/* Wait for the case's process to end, to flood, or for its time to be up. */
LAB_FN void lab_watch(struct lab_run *run, long long until)
{
	struct pollfd fds[] = {
		{ .fd = run->pidfd, .events = POLLIN },
		{ .fd = run->out, .events = POLLIN },
		{ .fd = run->notes, .events = POLLIN },
	};
	int i;

	while (!run->ended && !run->flooded && !lab_interrupted) {
		long long left = until - lab_now_ms();

		if (left <= 0)
			return;
		if (poll(fds, 3, left > INT_MAX ? INT_MAX : (int)left) < 0)
			continue;
		run->ended = waitpid(run->pid, &run->status, WNOHANG) == run->pid;
		lab_listen(run);
		for (i = 1; i < 3; i++)	/* closed by all writers: do not spin on it */
			fds[i].fd = fds[i].revents & POLLHUP && !(fds[i].revents & POLLIN) ? -1 : fds[i].fd;
	}
}

/*
 * Look at every process of the case's session, and at daemons, which left it and became our children when theirs had
 * ended: the most telling state of them all (0: none is left), one line for each when `told`, and with `signo` that
 * signal to each.
 */
LAB_FN char lab_look(const struct lab_run *run, bool told, int signo)
{
	char path[LAB_PATH], name[32], wchan[64], worst = 0, state;
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	int shown = 0;
	long parent, session;

	while (dir && (entry = readdir(dir))) {
		pid_t pid = (pid_t)atol(entry->d_name);

		snprintf(path, sizeof(path), "/proc/%.20s/stat", entry->d_name);
		if (pid <= 0 || !lab_task_state(path, name, sizeof(name), &parent, &session) ||
		    (session != run->pid && parent != getpid()))
			continue;
		state = lab_state_of(pid);
		worst = lab_rank(state) > lab_rank(worst) ? state : worst;
		snprintf(path, sizeof(path), "/proc/%.20s/wchan", entry->d_name);
		if (told && shown++ < 16)
			lab_say("# unfinished: %s state=%c wchan=%s", name, state ? state : '?',
				lab_slurp(path, wchan, sizeof(wchan)) < 0 ? "?" : wchan);
		if (signo)
			kill(pid, signo);
	}
	if (dir)
		closedir(dir);
	return worst;
}

/* Kill all that is left of the case and reap it; true when nothing is left. */
LAB_FN bool lab_bury(struct lab_run *run)
{
	long long until = lab_now_ms() + lab_scaled(LAB_GRACE_MS);
	pid_t pid;
	int status;

	kill(run->pid, SIGKILL);
	kill(-run->pid, SIGKILL);
	while (1) {
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (pid == run->pid && !run->ended) {
				run->ended = true;
				run->status = status;
			}
		if (pid < 0 && errno == ECHILD)	/* we are the subreaper: nobody is left at all */
			return true;
		if (lab_now_ms() > until)
			return false;
		lab_look(run, false, SIGKILL);
		lab_sleep_ms(2);
	}
}

/* A result of the parent's own making takes the place of what the case said. */
LAB_FN LAB_PRINTF(3, 4) void lab_decide(struct lab_run *run, int kind, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	run->verdict.kind = kind;
	vsnprintf(run->verdict.text, sizeof(run->verdict.text), format, args);
	va_end(args);
}

/* The way a case ended, where that says more than its words. */
LAB_FN void lab_judge_end(struct lab_run *run, bool in_time, char state, bool gone, long timeout_ms)
{
	if (!gone) {
		char left = lab_look(run, in_time, 0);

		lab_decide(run, LAB_IS_TIMEOUT, "state=%c unkillable after %ld ms", left ? left : '?', timeout_ms);
	} else if (run->flooded) {
		lab_decide(run, LAB_IS_ERROR, "wrote more than %d bytes and was ended", LAB_OUT_KILL);
	} else if (!in_time) {
		lab_decide(run, LAB_IS_TIMEOUT, "state=%c after %ld ms", state ? state : '?', timeout_ms);
	} else if (WIFSIGNALED(run->status)) {
		lab_decide(run, LAB_IS_CRASH, "signal=%d (%s)", WTERMSIG(run->status),
			   lab_signal(WTERMSIG(run->status)));
	} else if (run->verdict.kind == LAB_IS_NOTHING || (run->verdict.kind == LAB_IS_PASS && run->status)) {
		lab_decide(run, LAB_IS_ERROR, "ended with status %d and no verdict", WEXITSTATUS(run->status));
	}
}

/* A case must leave the system's books as they were, whatever else it did; lazy freeing gets a little time. */
LAB_FN void lab_judge_books(struct lab_run *run, const struct lab_books *before)
{
	long long until = lab_now_ms() + lab_scaled(LAB_SETTLE_MS);
	struct lab_books after;
	char leak[LAB_TEXT];

	while (1) {
		after = lab_read_books();
		lab_compare_books(before, &after, leak, sizeof(leak));
		if (!leak[0])
			return;
		if (lab_now_ms() > until)
			break;
		lab_sleep_ms(10);
	}
	if (run->verdict.kind == LAB_IS_FAIL)
		lab_say("# %s", run->verdict.text);
	if (run->verdict.kind == LAB_IS_PASS || run->verdict.kind == LAB_IS_FAIL)
		lab_decide(run, LAB_IS_LEAK, "after the case: %s", leak);
	else
		lab_say("# after the case: %s", leak);
}

/* The kernel's taints; 0 where it is not the lab's own kernel. */
LAB_FN unsigned long lab_taint(void)
{
	char text[32];

	if (!lab_owned() || lab_slurp("/proc/sys/kernel/tainted", text, sizeof(text)) < 0)
		return 0;
	return strtoul(text, NULL, 10);
}

/* What the case saw and measured, for who compares kernels. */
LAB_FN void lab_report_findings(const struct lab_run *run, const char *name)
{
	char text[LAB_MAX_WORDS * (LAB_WORD + 1) + 1] = "";
	size_t used = 0;
	int i;

	for (i = 0; i < run->words; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, " %s", run->saw[i]);
	if (used)
		lab_say("# saw%s", text);
	if (run->cost[0] && run->verdict.kind == LAB_IS_PASS)
		lab_say("# cost %s %s", name, run->cost);
}

/* Diagnostics, then the result line. */
LAB_FN void lab_report(const struct lab_run *run, int number, const char *name, long long duration_ms)
{
	static const char *const words[] = {
		[LAB_IS_SKIP] = "SKIP", [LAB_IS_ERROR] = "ERROR", [LAB_IS_CRASH] = "CRASH", [LAB_IS_TIMEOUT] = "TIMEOUT",
		[LAB_IS_LEAK] = "LEAK",
	};
	const struct lab_note *verdict = &run->verdict;
	const char *ok = verdict->kind == LAB_IS_PASS || verdict->kind == LAB_IS_SKIP ? "ok" : "not ok";

	lab_report_findings(run, name);
	if (verdict->kind == LAB_IS_FAIL)
		lab_say("# %s", verdict->text);
	lab_say("# duration_ms=%lld", duration_ms);
	if (verdict->kind == LAB_IS_PASS || verdict->kind == LAB_IS_FAIL)
		lab_say("%s %d %s", ok, number, name);
	else
		lab_say("%s %d %s # %s %s", ok, number, name, words[verdict->kind], verdict->text);
}

/* Fork, watch, look, kill, put back, judge.  False when something of the case cannot be killed. */
LAB_FN bool lab_run_case(struct lab_run *run, const struct lab_case *c)
{
	long timeout_ms = lab_scaled((c->timeout_s ? c->timeout_s : LAB_TIMEOUT_S) * 1000L);
	bool judged = lab_owned() && !c->leaves, in_time, gone;
	struct lab_books before = { 0 };
	unsigned long taint = lab_taint();
	const char *stuck;
	char state = 0;
	int mark = lab_undos;

	if (judged)
		before = lab_read_books();
	if (!lab_start(run, c)) {
		lab_decide(run, LAB_IS_ERROR, "cannot start: %s", lab_errno(errno));
		return true;
	}
	lab_watch(run, lab_now_ms() + timeout_ms);
	in_time = run->ended || run->flooded || lab_interrupted;
	if (!in_time)
		state = lab_look(run, true, 0);
	gone = lab_bury(run);
	lab_listen(run);
	if (run->output.used)
		lab_show_line(&run->output);
	close(run->pidfd);
	close(run->out);
	close(run->notes);
	lab_judge_end(run, in_time, state, gone, timeout_ms);
	stuck = lab_put_back(mark);
	if (stuck && run->verdict.kind == LAB_IS_PASS)
		lab_decide(run, LAB_IS_ERROR, "cannot put back %s", stuck);
	if (judged && gone)
		lab_judge_books(run, &before);
	if (lab_taint() & ~taint)
		lab_say("# taint: %lu, was %lu", lab_taint(), taint);
	return gone;
}

/* ---- the parent: all cases -------------------------------------------------------------------------------------- */

/* The running kernel's configuration, or an empty string; only a guest of the lab is sure to show it. */
LAB_FN const char *lab_config(void)
{
	static char *text;
	size_t used;
	FILE *file;

	if (text)
		return text;
	text = calloc(1, 1 << 20);
	file = text ? popen("zcat /proc/config.gz 2>/dev/null", "r") : NULL;
	if (!file)
		return "";
	used = fread(text, 1, (1 << 20) - 1, file);
	text[used] = 0;
	pclose(file);
	return text;
}

/* The first of the symbols that the kernel is known to lack, or NULL. */
LAB_FN const char *lab_lacks_config(const char *symbols)
{
	static char symbol[64];
	char line[LAB_PATH];
	size_t span;

	for (; symbols && *symbols; symbols += span) {
		symbols += strspn(symbols, " ");
		span = strcspn(symbols, " ");
		snprintf(symbol, sizeof(symbol), "%.*s", (int)span, symbols);
		snprintf(line, sizeof(line), "\nCONFIG_%s=", symbol);
		if (*lab_config() && !strstr(lab_config(), line))
			return symbol;
	}
	return NULL;
}

static char lab_unfit[LAB_TEXT];	/* why no case can say anything on this machine; set once */

/* Fill in why the case makes no sense here; false when it does make sense. */
LAB_FN bool lab_unneeded(const struct lab_case *c, struct lab_run *run)
{
	const char *symbol = lab_lacks_config(c->needs_config);
	int nodes[LAB_MAX_NODES], have = lab_nodes(nodes);

	if (lab_unfit[0])
		lab_decide(run, LAB_IS_SKIP, "%s", lab_unfit);
	else if (c->needs_64bit && sizeof(void *) < 8)
		lab_decide(run, LAB_IS_SKIP, "needs 64-bit addresses");
	else if (c->needs_root && geteuid())
		lab_decide(run, LAB_IS_SKIP, "needs root");
	else if (c->needs_nodes > have)
		lab_decide(run, LAB_IS_SKIP, "needs %d nodes, has %d", c->needs_nodes, have);
	else if (symbol)
		lab_decide(run, LAB_IS_SKIP, "needs CONFIG_%s", symbol);
	return run->verdict.kind == LAB_IS_SKIP;
}

/* Hold a system-wide setting at `value` for the whole program, or note why no case can run. */
LAB_FN void lab_pin(const char *path, const char *value)
{
	struct lab_note note = { .kind = LAB_TO_RESTORE };

	snprintf(note.path, sizeof(note.path), "%s", path);
	if (lab_setting(path, note.text, sizeof(note.text)) < 0 || !strcmp(note.text, value))
		return;
	lab_remember(&note);
	if (!lab_owned() || lab_write_file(path, value) < 0) {
		lab_undos--;
		snprintf(lab_unfit, sizeof(lab_unfit), "needs %s to be %s, is %s", path, value, note.text);
	}
}

/* The ground that every row stands on: no huge pages in shared memory, plain overcommit. */
LAB_FN void lab_pin_all(void)
{
	const char *thp = "/sys/kernel/mm/transparent_hugepage";
	char path[LAB_PATH], value[LAB_TEXT];
	DIR *dir = opendir(thp);
	struct dirent *entry;

	lab_pin("/proc/sys/vm/overcommit_memory", "0");
	lab_pin("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "never");
	while (dir && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "hugepages-", 10))
			continue;
		snprintf(path, sizeof(path), "%s/%.32s/shmem_enabled", thp, entry->d_name);
		if (lab_owned() || (!lab_setting(path, value, sizeof(value)) && strcmp(value, "inherit")))
			lab_pin(path, "never");
	}
	if (dir)
		closedir(dir);
}

/* The id of the scenario table's row: A01 for a01_grow_touch; an empty string for a name without one. */
LAB_FN const char *lab_id(const char *name)
{
	static char id[4];

	id[0] = 0;
	if (islower((unsigned char)name[0]) && isdigit((unsigned char)name[1]) && isdigit((unsigned char)name[2]) &&
	    name[3] == '_')
		snprintf(id, sizeof(id), "%c%c%c", toupper((unsigned char)name[0]), name[1], name[2]);
	return id;
}

LAB_FN void lab_json_words(const char *key, const char *words)
{
	const char *before = "";
	size_t span;

	if (!words)
		return;
	printf(", \"%s\": [", key);
	for (; *words; words += span) {
		words += strspn(words, " ");
		span = strcspn(words, " ");
		printf("%s\"%.*s\"", before, (int)span, words);
		before = ", ";
	}
	printf("]");
}

LAB_FN void lab_json_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		putchar(*text);
	}
	putchar('"');
}

/* One line of --list: {"name": "a01_grow_touch", "id": "A01", ...}, or {"no_case": "E16", "description": ...}. */
LAB_FN void lab_list_case(const struct lab_case *c)
{
	if (!c->run) {
		printf("{\"no_case\": \"%s\", \"description\": ", c->name);
		lab_json_string(c->about);
		printf("}\n");
		return;
	}
	printf("{\"name\": \"%s\"", c->name);
	if (*lab_id(c->name))
		printf(", \"id\": \"%s\"", lab_id(c->name));
	printf(", \"description\": ");
	lab_json_string(c->about ? c->about : "");
	lab_json_words("requires", c->requires);
	lab_json_words("needs_config", c->needs_config);
	if (c->needs_nodes)
		printf(", \"needs_nodes\": %d", c->needs_nodes);
	if (c->needs_root)
		printf(", \"needs_root\": true");
	if (c->needs_64bit)
		printf(", \"needs_64bit\": true");
	printf(", \"timeout_s\": %d}\n", c->timeout_s ? c->timeout_s : LAB_TIMEOUT_S);
}

LAB_FN bool lab_matches(const struct lab_case *c, const char *glob)
{
	return c->run && !fnmatch(glob, c->name, 0);
}

LAB_FN bool lab_selected(const struct lab_case *c, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++)
		if (lab_matches(c, argv[i]))
			return true;
	return argc < 2 && c->run;
}

/* How many cases the arguments select, or -1 with words on stderr when one of them selects none. */
LAB_FN int lab_plan(const struct lab_case *cases, int count, int argc, char **argv)
{
	int planned = 0, arg, i, hits;

	for (arg = 1; arg < argc; arg++) {
		for (hits = i = 0; i < count; i++)
			hits += lab_matches(&cases[i], argv[arg]);
		if (!hits) {
			fprintf(stderr, "%s: no case matches '%s'; see --list\n", lab_base(argv[0]), argv[arg]);
			return -1;
		}
	}
	for (i = 0; i < count; i++)
		planned += lab_selected(&cases[i], argc, argv);
	return planned;
}

LAB_FN void lab_on_interrupt(int signo)
{
	lab_interrupted = signo;
}

LAB_FN void lab_prepare(void)
{
	struct sigaction action = { .sa_handler = lab_on_interrupt };

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	lab_pin_all();
}

/* Run the selected cases; how many are not ok, or -1 when the harness itself failed or was interrupted. */
LAB_FN int lab_run_all(const struct lab_case *cases, int count, int argc, char **argv)
{
	bool clean = true;
	int number = 0, bad = 0, i;

	for (i = 0; i < count && !lab_interrupted && !ferror(stdout); i++) {	/* nobody listens: stop */
		struct lab_run run = { 0 };
		long long start = lab_now_ms();

		if (!lab_selected(&cases[i], argc, argv))
			continue;
		if (!clean) {
			lab_decide(&run, LAB_IS_ERROR, "not run: a case before it left an unkillable process");
		} else if (!lab_unneeded(&cases[i], &run)) {
			lab_gcov_reset();
			if (lab_owned())
				lab_mark(argv[0], cases[i].name);
			clean = lab_run_case(&run, &cases[i]);
			lab_gcov_keep(cases[i].name);
		}
		if (lab_interrupted)
			break;
		lab_report(&run, ++number, cases[i].name, lab_now_ms() - start);
		bad += run.verdict.kind != LAB_IS_PASS && run.verdict.kind != LAB_IS_SKIP;
	}
	return lab_interrupted || ferror(stdout) ? -1 : bad;
}

static bool lab_same_addresses;	/* whether addresses are to be the same every time that the program runs */

/* Begin anew without randomized addresses; where that cannot be, go on with them. */
LAB_FN void lab_fix_addresses(char **argv)
{
	int persona = personality(0xffffffff);

	if (persona < 0 || persona & ADDR_NO_RANDOMIZE || personality((unsigned long)persona | ADDR_NO_RANDOMIZE) < 0)
		return;
	execv("/proc/self/exe", argv);
}

LAB_FN int lab_main(const struct lab_case *cases, int count, int argc, char **argv)
{
	int planned, bad, i;

	if (lab_same_addresses)
		lab_fix_addresses(argv);
	if (argc == 2 && !strcmp(argv[1], "--list")) {
		for (i = 0; i < count; i++)
			lab_list_case(&cases[i]);
		return fflush(stdout) ? 2 : 0;
	}
	if (lab_factor("LAB_TIMEOUT_SCALE") <= 0 || lab_factor("LAB_LOAD") <= 0) {
		fprintf(stderr, "%s: LAB_TIMEOUT_SCALE and LAB_LOAD must be numbers above 0\n", lab_base(argv[0]));
		return 2;
	}
	planned = lab_plan(cases, count, argc, argv);
	if (planned < 0)
		return 2;
	lab_say("KTAP version 1");
	lab_say("1..%d", planned);
	lab_prepare();
	bad = lab_run_all(cases, count, argc, argv);
	if (lab_put_back(0)) {
		fprintf(stderr, "%s: cannot put the machine's settings back\n", lab_base(argv[0]));
		return 2;
	}
	return bad < 0 ? 2 : bad > 0;
}

#endif

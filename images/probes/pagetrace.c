// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs a program under ptrace and writes what a wrong page size does to it: `pagetrace OUTPUT PROGRAM ARGS...`.
 *
 * A line of OUTPUT for each:
 *   einval NAME ADDRESS LENGTH OFFSET   a system call that failed with EINVAL, one of whose three numbers (hexadecimal,
 *                                       "-" where it has none) is no multiple of the page
 *   signal NUMBER CODE ADDRESS          the signal that ends the program, with si_code and si_addr
 *   map LINE                            the line of /proc/PID/maps that holds that address, and its neighbours
 *   traces NAME                         the program uses ptrace itself: nothing is known from here on
 *   end                                 all of the above is complete
 *
 * Exits as the program did; 128+N when signal N ended it.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define EINVALS 50 /* lines about failed system calls, at most */
#define THREADS 4096

/* Which argument of a system call is an address, a length or an offset that has to be a multiple of the page; -1: none.
   `unit`: what the offset counts in. */
struct call {
	long number;
	const char *name;
	int address, length, offset, unit;
};

static const struct call calls[] = {
#ifdef SYS_mmap
	{SYS_mmap, "mmap", 0, 1, 5, 1},
#endif
#ifdef SYS_mmap2
	{SYS_mmap2, "mmap2", 0, 1, 5, 4096},
#endif
	{SYS_munmap, "munmap", 0, 1, -1, 1},
	{SYS_mprotect, "mprotect", 0, 1, -1, 1},
	{SYS_madvise, "madvise", 0, 1, -1, 1},
	{SYS_mremap, "mremap", 0, 1, -1, 1},
	{SYS_msync, "msync", 0, 1, -1, 1},
	{SYS_mincore, "mincore", 0, 1, -1, 1},
	{SYS_remap_file_pages, "remap_file_pages", 0, 1, -1, 1},
#ifdef SYS_mbind
	{SYS_mbind, "mbind", 0, 1, -1, 1},
#endif
};

struct thread {
	pid_t id;
	const struct call *call; /* the one that it is in */
	uint64_t args[6];
};

static struct thread threads[THREADS];
static FILE *out;
static long page;
static int einvals;
static bool detached;

static struct thread *thread_of(pid_t id)
{
	struct thread *unused = NULL;

	for (struct thread *each = threads; each < threads + THREADS; each++) {
		if (each->id == id)
			return each;
		if (!each->id && !unused)
			unused = each;
	}
	if (unused)
		*unused = (struct thread){.id = id};
	return unused;
}

static void number(const struct thread *thread, int argument, int unit)
{
	if (argument < 0)
		fputs(" -", out);
	else
		fprintf(out, " %" PRIx64, thread->args[argument] * unit);
}

static bool unaligned(const struct thread *thread, int argument, int unit)
{
	return argument >= 0 && thread->args[argument] * unit % page;
}

/* At the end of a system call: was it refused for a number that is no multiple of the page? */
static void judge(const struct thread *thread)
{
	const struct call *call = thread->call;

	if (einvals++ >= EINVALS)
		return;
	if (!unaligned(thread, call->address, 1) && !unaligned(thread, call->length, 1) &&
	    !unaligned(thread, call->offset, call->unit))
		return;
	fprintf(out, "einval %s", call->name);
	number(thread, call->address, 1);
	number(thread, call->length, 1);
	number(thread, call->offset, call->unit);
	fputc('\n', out);
}

static void system_call(pid_t id)
{
	struct __ptrace_syscall_info info = {0};
	struct thread *thread = thread_of(id);

	if (!thread || ptrace(PTRACE_GET_SYSCALL_INFO, id, sizeof(info), &info) <= 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
		thread->call = NULL;
		memcpy(thread->args, info.entry.args, sizeof(thread->args));
		for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
			if (calls[i].number == (long)info.entry.nr)
				thread->call = &calls[i];
		if (info.entry.nr == SYS_ptrace && !detached) {
			fputs("traces ptrace\n", out);
			detached = true;
		}
	} else if (info.op == PTRACE_SYSCALL_INFO_EXIT && thread->call) {
		if (info.exit.is_error && info.exit.rval == -EINVAL)
			judge(thread);
		thread->call = NULL;
	}
}

/* The mapping that holds an address, marked by *, and the ones before and behind it. */
static void mappings(pid_t id, uint64_t address)
{
	char name[64], line[512], before[512] = "";
	FILE *maps;

	snprintf(name, sizeof(name), "/proc/%d/maps", id);
	maps = fopen(name, "r");
	if (!maps)
		return;
	while (fgets(line, sizeof(line), maps)) {
		uint64_t start, end;

		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) != 2)
			continue;
		if (address < end) {
			if (*before)
				fprintf(out, "map   %s", before);
			fprintf(out, "map %c %s", address >= start ? '*' : ' ', line);
			if (address >= start && fgets(line, sizeof(line), maps))
				fprintf(out, "map   %s", line);
			fclose(maps);
			return;
		}
		strcpy(before, line);
	}
	if (*before)
		fprintf(out, "map   %s", before);
	fclose(maps);
}

static bool deadly(int sig)
{
	return sig == SIGSEGV || sig == SIGBUS || sig == SIGILL || sig == SIGFPE || sig == SIGTRAP || sig == SIGABRT ||
	       sig == SIGSYS;
}

/* Of the last deadly signal alone is told: one that the program handles is followed by others, or by none. */
static void deliver(pid_t id, int sig)
{
	siginfo_t info = {0};

	if (!deadly(sig) || ptrace(PTRACE_GETSIGINFO, id, 0, &info))
		return;
	fprintf(out, "signal %d %d %" PRIx64 "\n", sig, info.si_code, (uint64_t)(uintptr_t)info.si_addr);
	if (sig == SIGSEGV || sig == SIGBUS)
		mappings(id, (uint64_t)(uintptr_t)info.si_addr);
	fflush(out);
}

static int follow(pid_t first)
{
	const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
			     PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
	int status, ended = 0;
	pid_t id;

	while ((id = waitpid(-1, &status, __WALL)) > 0) {
		int sig = 0;

		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			struct thread *thread = thread_of(id);

			if (thread)
				thread->id = 0;
			if (id == first) {
				ended = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
				return ended; /* what it left behind ends with us */
			}
			continue;
		}
		if (WSTOPSIG(status) == (SIGTRAP | 0x80))
			system_call(id);
		else if (status >> 16)
			; /* an event: a new thread or program */
		else if (WSTOPSIG(status) != SIGSTOP)
			deliver(id, sig = WSTOPSIG(status));
		ptrace(PTRACE_SETOPTIONS, id, 0, options);
		if (detached)
			ptrace(PTRACE_DETACH, id, 0, sig);
		else
			ptrace(PTRACE_SYSCALL, id, 0, sig);
	}
	return ended;
}

int main(int argc, char **argv)
{
	int status;
	pid_t id;

	if (argc < 3) {
		fprintf(stderr, "usage: pagetrace OUTPUT PROGRAM ARGS...\n");
		return 125;
	}
	page = sysconf(_SC_PAGESIZE);
	out = fopen(argv[1], "we");
	if (!out) {
		perror(argv[1]);
		return 125;
	}
	id = fork();
	if (id < 0) {
		perror("fork");
		return 125;
	}
	if (!id) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		execvp(argv[2], argv + 2);
		perror(argv[2]);
		_exit(127);
	}
	status = follow(id);
	fputs("end\n", out);
	fclose(out);
	return status;
}

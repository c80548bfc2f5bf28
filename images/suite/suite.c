// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs the tests of a suite that is not ours, as the lab wants its scenario programs: KTAP, a deadline for each test.
 *
 *	/lab/NAME [CASE...]
 *
 * NAME.d/list beside the program has a line for every test, in the order in which they run; tabs between the fields:
 *
 *	case	style	timeout_s	directory	command
 *
 * The directory is below NAME.d, the command is for sh. Styles, by what an exit status means: `kselftest` (4: skipped),
 * `ltp` (bits: 1 failed, 2 broken, 4 warned, 32 not for this system), `skip` (not run; the command says why), `report`
 * (how it ended is printed as `# ended: exit 1` or `# ended: signal SEGV`, and the result is `ok`: the host judges).
 *
 * What a test prints stands, indented, before its result line, so that KTAP in it is a nested document; what a program
 * of a report prints is a comment, so that no line of it can be one of ours. A test writes to a
 * terminal, for else the C library would keep back what a test printed before it crashed. Whatever a test leaves running
 * is killed before the next one starts, and what it leaves set in /proc/sys/vm is put back.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "lab_gcov.h"
#include "lab_mark.h"

enum { MAX_LINE = 3000, MAX_TESTS = 8192, MAX_SETTINGS = 256, GRACE_MS = 2000 };
enum { MAX_SAID = 192 << 10, MAX_RESULTS = 192 << 10 };

struct test {
	char *name, *style, *timeout, *directory, *command;
};

static struct test tests[MAX_TESTS];
static int count;
static struct setting {
	char path[300], value[256];
} settings[MAX_SETTINGS];
static int setting_count;
static char home[512];
static double scale = 1;

static void die(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(2);
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000L + now.tv_nsec / 1000000;
}

static unsigned long taint(void)
{
	unsigned long found = 0;
	FILE *file = fopen("/proc/sys/kernel/tainted", "re");

	if (file) {
		if (fscanf(file, "%lu", &found) != 1)
			found = 0;
		fclose(file);
	}
	return found;
}

static void read_list(void)
{
	char path[600], *line = NULL;
	size_t size = 0;

	snprintf(path, sizeof(path), "%s/list", home);
	FILE *file = fopen(path, "re");
	if (!file)
		die("%s: %s", path, strerror(errno));
	while (getline(&line, &size, file) > 0) {
		char *rest = strdup(line);
		struct test *test = &tests[count];

		if (count == MAX_TESTS)
			die("%s: more than %d tests", path, MAX_TESTS);
		rest[strcspn(rest, "\n")] = 0;
		test->name = strsep(&rest, "\t");
		test->style = strsep(&rest, "\t");
		test->timeout = strsep(&rest, "\t");
		test->directory = strsep(&rest, "\t");
		test->command = rest;
		if (!rest)
			die("%s: line %d: expected five fields", path, count + 1);
		count++;
	}
	free(line);
	fclose(file);
}

/* What a distribution has mounted and where its scripts look for their shells. What is there already stays. */
static void furnish(void)
{
	static const char *const mounts[][2] = {
		{ "debugfs", "/sys/kernel/debug" },
		{ "tracefs", "/sys/kernel/tracing" },
		{ "securityfs", "/sys/kernel/security" },
		{ "hugetlbfs", "/dev/hugepages" },
		{ "mqueue", "/dev/mqueue" },
	};
	char path[600], both[1200];
	struct stat found;

	for (size_t i = 0; i < sizeof(mounts) / sizeof(*mounts); i++) {
		mkdir(mounts[i][1], 0755);
		mount(mounts[i][0], mounts[i][1], mounts[i][0], 0, NULL);
	}
	mkdir("/usr", 0755);
	mkdir("/usr/bin", 0755);
	if (stat("/usr/bin/env", &found))
		(void)!symlink("/bin/env", "/usr/bin/env");
	snprintf(path, sizeof(path), "%s/bin/bash", home);
	if (!stat(path, &found) && stat("/bin/bash", &found))
		(void)!symlink(path, "/bin/bash");
	snprintf(both, sizeof(both), "%s/bin:%s/testcases/bin:/bin:/sbin", home, home);
	setenv("PATH", both, 1);
	setenv("LTPROOT", home, 1);
	setenv("TMPDIR", "/tmp", 1);
	setenv("LTP_COLORIZE_OUTPUT", "n", 1);
	snprintf(both, sizeof(both), "%g", scale < 1 ? 1 : scale);
	setenv("LTP_TIMEOUT_MUL", both, 1);
}

static bool read_setting(const char *path, char value[256])
{
	FILE *file = fopen(path, "re");
	bool whole = file && fgets(value, 256, file) && strchr(value, '\n') && fgetc(file) == EOF;

	if (file)
		fclose(file);
	if (whole)
		*strchr(value, '\n') = 0;
	return whole;
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	if (file) {
		fputs(text, file);
		fclose(file);
	}
}

/* What can be set of memory management, and reads as it was written. */
static void remember_settings(void)
{
	DIR *dir = opendir("/proc/sys/vm");
	struct dirent *entry;
	struct stat found;

	while (dir && (entry = readdir(dir)) && setting_count < MAX_SETTINGS) {
		struct setting *each = &settings[setting_count];

		snprintf(each->path, sizeof(each->path), "/proc/sys/vm/%s", entry->d_name);
		if (stat(each->path, &found) || !S_ISREG(found.st_mode) || (found.st_mode & 0600) != 0600)
			continue;
		setting_count += strcmp(entry->d_name, "stat_refresh") && read_setting(each->path, each->value);
	}
	if (dir)
		closedir(dir);
}

/* A test that is killed cannot put back what it has set, and that decides how those behind it go. */
static void restore_settings(void)
{
	char now[256];

	for (int i = 0; i < setting_count; i++) {
		if (!read_setting(settings[i].path, now) || !strcmp(now, settings[i].value))
			continue;
		printf("# | put back: %s was left at %s, was %s\n", settings[i].path, now, settings[i].value);
		write_file(settings[i].path, settings[i].value);
	}
}

static void set_oom_score(pid_t process, const char *score)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)process);
	write_file(path, score);
}

/* A process's state and its parent; '?' and 0 when it is gone. */
static void look_at(pid_t process, char *state, int *parent)
{
	char path[64];
	FILE *file;

	*state = '?';
	*parent = 0;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)process);
	file = fopen(path, "re");
	if (file) {
		if (fscanf(file, "%*d (%*[^)]) %c %d", state, parent) != 2)
			*state = '?';
		fclose(file);
	}
}

/*
 * Tests provoke the OOM killer.  While its victim gives back what it has, it may take another one: not us, nor those
 * through whom we are heard.  A test has the score that it would have anywhere.
 */
static void survive(void)
{
	int parent;
	char state;

	for (pid_t each = getpid(); each > 1; each = parent) {
		set_oom_score(each, "-1000");
		look_at(each, &state, &parent);
	}
}

struct output {
	const char *prefix;
	char line[MAX_LINE];
	size_t length, said, results;
	long dropped;
};

/* Whether a line is a result, at any depth of nesting: these are kept when a test says too much. */
static bool is_result(const char *line)
{
	while (!strncmp(line, "# ", 2))
		line += 2;
	return !strncmp(line, "ok ", 3) || !strncmp(line, "not ok ", 7) || strstr(line, "TAP version") || !strncmp(line, "1..", 3);
}

static void end_line(struct output *out)
{
	out->line[out->length] = 0;
	if (out->said + out->length < MAX_SAID) {
		out->said += out->length + 3;
		printf("%s%s\n", out->prefix, out->line);
	} else if (is_result(out->line) && out->results + out->length < MAX_RESULTS) {
		out->results += out->length + 3;
		printf("%s%s\n", out->prefix, out->line);
	} else {
		out->dropped++;
	}
	out->length = 0;
}

static void take(struct output *out, const char *data, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		unsigned char letter = data[i];

		if (letter == '\n')
			end_line(out);
		else if (letter != '\r' && out->length < MAX_LINE - 1)
			out->line[out->length++] = isprint(letter) || letter == '\t' || letter >= 0x80 ? letter : '?';
	}
	fflush(stdout);
}

/* A terminal that passes on what is written as it is; its descriptor, and that of its other side. */
static int open_terminal(int *other)
{
	struct termios plain;
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (master < 0 || grantpt(master) || unlockpt(master))
		die("no pseudo terminal: %s", strerror(errno));
	*other = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (*other < 0)
		die("%s: %s", ptsname(master), strerror(errno));
	tcgetattr(*other, &plain);
	cfmakeraw(&plain);
	tcsetattr(*other, TCSANOW, &plain);
	return master;
}

static pid_t start(const struct test *test, int terminal)
{
	char place[1024];
	pid_t child = fork();

	if (child)
		return child;
	set_oom_score(getpid(), "0");
	setsid();
	int nothing = open("/dev/null", O_RDONLY);
	dup2(nothing, 0);
	dup2(terminal, 1);
	dup2(terminal, 2);
	snprintf(place, sizeof(place), "%s/%s", home, test->directory);
	if (chdir(place)) {
		fprintf(stderr, "%s: %s\n", place, strerror(errno));
		_exit(127);
	}
	/* Its own signals and limits, whatever we have. */
	for (int number = 1; number < 32; number++)
		signal(number, SIG_DFL);
	execl("/bin/sh", "sh", "-c", test->command, (char *)NULL);
	_exit(127);
}

/* End all that is left of a test: its session, and what it orphaned, which is our child since we are the subreaper. */
static void kill_rest(pid_t leader)
{
	long until = now_ms() + (long)(GRACE_MS * scale);

	kill(-leader, SIGKILL);
	while (now_ms() < until) {
		char path[64];
		pid_t child = 0;
		FILE *file;

		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
		file = fopen(path, "re");
		if (!file) {
			if (waitpid(-1, NULL, WNOHANG) < 0)
				return;
		} else {
			int found = 0;

			while (fscanf(file, "%d", &child) == 1) {
				found++;
				kill(-child, SIGKILL);
				kill(child, SIGKILL);
			}
			fclose(file);
			if (!found)
				return;
		}
		usleep(20000);
	}
}

struct ending {
	bool late, stuck;
	char state;
	int status;
};

/* Read what the test writes until it has ended, or its time is over. */
static struct ending follow(pid_t child, int terminal, struct output *out, long deadline)
{
	struct ending end = { .state = '?' };
	bool ended = false;
	char data[4096];
	int parent;

	for (;;) {
		struct pollfd ready = { .fd = terminal, .events = POLLIN };

		while (poll(&ready, 1, ended ? 0 : 20) > 0) {
			ssize_t size = read(terminal, data, sizeof(data));

			if (size <= 0)
				break; /* EIO: nobody has the other side open */
			take(out, data, size);
			if (now_ms() > deadline)
				break;
		}
		if (ended)
			return end;
		if (waitpid(child, &end.status, WNOHANG) == child) {
			ended = true; /* and once more round, for what is left to read */
		} else if (now_ms() > deadline) {
			long grace = now_ms() + (long)(GRACE_MS * scale);

			end.late = true;
			look_at(child, &end.state, &parent);
			kill(-child, SIGKILL);
			kill(child, SIGKILL);
			while (!(ended = waitpid(child, &end.status, WNOHANG) == child) && now_ms() < grace)
				usleep(20000);
			if (!ended) {
				end.stuck = true;
				return end;
			}
		}
		if (ready.revents & POLLHUP && !ended)
			usleep(20000);
	}
}

/* A signal's name without SIG: numbers differ between architectures. */
static const char *signal_name(int number)
{
	static const struct {
		int number;
		const char *name;
	} signals[] = {
		{ SIGHUP, "HUP" },   { SIGINT, "INT" },	  { SIGQUIT, "QUIT" }, { SIGILL, "ILL" },   { SIGTRAP, "TRAP" },
		{ SIGABRT, "ABRT" }, { SIGBUS, "BUS" },	  { SIGFPE, "FPE" },   { SIGKILL, "KILL" }, { SIGSEGV, "SEGV" },
		{ SIGPIPE, "PIPE" }, { SIGALRM, "ALRM" }, { SIGTERM, "TERM" }, { SIGSYS, "SYS" },   { SIGXCPU, "XCPU" },
		{ SIGXFSZ, "XFSZ" }, { SIGUSR1, "USR1" }, { SIGUSR2, "USR2" },
	};
	static char other[16];

	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		if (signals[i].number == number)
			return signals[i].name;
	snprintf(other, sizeof(other), "%d", number);
	return other;
}

static bool of_report(const struct test *test)
{
	return !strcmp(test->style, "report");
}

/* The result line of a test; whether it is one of a failure. */
static bool tell(int number, const struct test *test, const struct ending *end, long spent)
{
	bool ltp = !strcmp(test->style, "ltp");
	int status = WEXITSTATUS(end->status);

	printf("# duration_ms=%ld\n", spent);
	if (end->late) {
		printf("not ok %d %s # TIMEOUT state=%c%s after %ld ms\n", number, test->name, end->state,
		       end->stuck ? " unkillable" : "", spent);
		return true;
	}
	if (of_report(test)) {
		if (WIFSIGNALED(end->status))
			printf("# ended: signal %s\n", signal_name(WTERMSIG(end->status)));
		else
			printf("# ended: exit %d\n", status);
		printf("ok %d %s\n", number, test->name);
		return false;
	}
	if (WIFSIGNALED(end->status)) {
		printf("not ok %d %s # CRASH signal=%d (%s)\n", number, test->name, WTERMSIG(end->status),
		       strsignal(WTERMSIG(end->status)));
		return true;
	}
	if (status == 0) {
		printf("ok %d %s\n", number, test->name);
		return false;
	}
	if (status == (ltp ? 32 : 4)) {
		printf("ok %d %s # SKIP\n", number, test->name);
		return false;
	}
	if (ltp && status < 64)
		printf("# | exit status %d:%s%s%s%s\n", status, status & 1 ? " TFAIL" : "", status & 2 ? " TBROK" : "",
		       status & 4 ? " TWARN" : "", status & 32 ? " TCONF" : "");
	else
		printf("# | exit status %d\n", status);
	printf("not ok %d %s\n", number, test->name);
	return true;
}

static bool run(int number, const char *program, const struct test *test)
{
	struct output out = { .prefix = of_report(test) ? "# | " : "  " };
	unsigned long before = taint(), after;
	long started = now_ms();
	int other, terminal;

	if (!strcmp(test->style, "skip")) {
		printf("ok %d %s # SKIP %s\n", number, test->name, test->command);
		return false;
	}
	lab_gcov_reset();
	lab_mark(program, test->name);
	terminal = open_terminal(&other);
	pid_t child = start(test, other);
	if (child < 0)
		die("fork: %s", strerror(errno));
	close(other);
	struct ending end = follow(child, terminal, &out, started + (long)(atof(test->timeout) * 1000 * scale));
	if (out.length)
		end_line(&out);
	close(terminal);
	kill_rest(child);
	restore_settings();
	if (out.dropped)
		printf("# | %ld lines left out: too many\n", out.dropped);
	lab_gcov_keep(test->name);
	after = taint();
	if (after & ~before)
		printf("# taint: %lu, was %lu\n", after, before);
	bool failed = tell(number, test, &end, now_ms() - started);
	fflush(stdout);
	return failed;
}

static bool wanted(const struct test *test, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (!fnmatch(argv[i], test->name, 0) || !strcmp(argv[i], test->name))
			return true;
	}
	return argc < 2;
}

int main(int argc, char **argv)
{
	const char *said = getenv("LAB_TIMEOUT_SCALE");
	int number = 0, chosen = 0, failed = 0;

	scale = said && atof(said) > 0 ? atof(said) : 1;
	if (!realpath(argv[0], home) || strlen(home) + 3 > sizeof(home))
		die("%s: %s", argv[0], strerror(errno));
	strcat(home, ".d");
	read_list();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	survive();
	furnish();
	remember_settings();
	for (int i = 0; i < count; i++)
		chosen += wanted(&tests[i], argc, argv);
	printf("KTAP version 1\n1..%d\n", chosen);
	fflush(stdout);
	for (int i = 0; i < count; i++) {
		if (wanted(&tests[i], argc, argv))
			failed += run(++number, argv[0], &tests[i]);
	}
	return failed ? 1 : 0;
}

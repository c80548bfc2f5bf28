/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sample: a program that means harm, one way at a time. `make faults` runs it.
 *
 *	hostile --list		the ways, as a scenario tells its cases
 *	hostile WAY [ARGUMENT]	do it, as root in a guest; it refuses to run elsewhere
 *
 * It does without lab.h: what lab.h promises is what is broken here.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/route.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define MEGABYTE (1 << 20)

static const char *me, *argument;

static void plan(void)
{
	puts("KTAP version 1\n1..1");
	fflush(stdout);
}

static void ok(void)
{
	printf("ok 1 %s\n", me);
	fflush(stdout);
}

static void put_file(const char *path, const char *text, size_t length)
{
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755);

	if (file < 0 || write(file, text, length) != (ssize_t)length) {
		perror(path);
		exit(2);
	}
	close(file);
}

static void replace(const char *path, const char *text)
{
	unlink(path);
	put_file(path, text, strlen(text));
}

static void tell(const char *path, const char *text)
{
	put_file(path, text, strlen(text));
}

static void forever(void)
{
	for (;;)
		pause();
}

/* Sends a signal to every process whose command begins with `name`, ourselves left out. */
static void signal_all(const char *name, int number)
{
	for (int pid = 2; pid < 10000; pid++) {
		char path[32], command[32] = "";
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		file = fopen(path, "r");
		if (!file)
			continue;
		if (fgets(command, sizeof(command), file) && !strncmp(command, name, strlen(name)) && pid != getpid())
			kill(pid, number);
		fclose(file);
	}
}

/* Output without end or sense. */

static void flood(int file)
{
	static char water[64 * 1000];

	for (size_t i = 0; i < sizeof(water); i++)
		water[i] = i % 64 == 63 ? '\n' : 'w';
	for (;;)
		if (write(file, water, sizeof(water)) < 0)
			exit(2);
}

static void flood_stdout(void)
{
	plan();
	flood(1);
}

static void flood_stderr(void)
{
	plan();
	flood(2);
}

static void flood_console(void)
{
	plan();
	flood(open("/dev/console", O_WRONLY));
}

static void flood_kmsg(void)
{
	int file = open("/dev/kmsg", O_WRONLY);

	plan();
	tell("/proc/sys/kernel/printk_devkmsg", "on\n");
	for (;;)
		if (write(file, "BUG: water\n", 11) < 0)
			exit(2);
}

static void flood_quietly(void)
{
	plan();
	if (!fork())
		flood(open("/dev/console", O_WRONLY));
	ok();
}

static void line(size_t length)
{
	char *text = malloc(length);

	memset(text, 'x', length);
	plan();
	fwrite(text, 1, length, stdout);
	puts("");
	ok();
}

static void long_line(void)
{
	line(3 * MEGABYTE);
}

static void ten_megabyte_line(void)
{
	line(10 * MEGABYTE);
}

static void drip(void)
{
	plan();
	for (;;) {
		puts("# drip");
		fflush(stdout);
		usleep(200000);
	}
}

/* Lies in KTAP. */

static void forged_plan(void)
{
	plan();
	puts("1..1000000");
	ok();
}

static void no_plan(void)
{
	ok();
}

static void forged_results(void)
{
	plan();
	ok();
	puts("ok 2 i01_memfd\nok 3 guards.i01_memfd\nok 4 c02_siginfo\nok 5 run\nok 6 console");
}

static void second_thoughts(void)
{
	plan();
	printf("not ok 1 %s\nok 1 %s\n", me, me);
}

static void many_results(void)
{
	plan();
	for (int i = 1; i <= 60000; i++)
		printf("ok %d r%d\n", i, i);
}

static void dotdot_names(void)
{
	plan();
	ok();
	puts("ok 2 ../../../../../../tmp/pagelab-was-here\nok 3 /etc/passwd\nok 4 ..\nok 5 $(touch owned)`touch owned`");
}

static void torn_result(void)
{
	plan();
	printf("ok 1 %s", me);
}

static void lying_status(void)
{
	plan();
	ok();
	fflush(stdout);
	_exit(1);
}

static void silent(void)
{
}

static void listing(void)
{
	puts("{\"name\": \"listing\"}");
	exit(77);
}

static void nested_deep(void)
{
	plan();
	for (int i = 0; i < 2000; i++)
		printf("%*sKTAP version 1\n%*s1..1\n", 4 * (i % 200), "", 4 * (i % 200), "");
	ok();
}

/* Bytes that do something. */

static void escapes(void)
{
	plan();
	puts("# \x1b[2J\x1b[31mred\x1b]0;title\x07\x1b[?1049h\x1bP+q544e\x1b\\ \x9b" "2J \xc2\x9b" "2J");
	puts("# <script>alert(1)</script> ]]> <!-- &amp; {{7*7}} {% raw %} [bold]rich[/bold]");
	puts("# \xe2\x80\xae" "bidi \xe2\x81\xa6 \xef\xbf\xbe \xf3\xa0\x80\xa1");
	printf("not ok 1 %s # ERROR \x1b[32mPASS\x1b[0m\rok\n", me);
	fputs("\x1b[2J stderr \x1b]0;owned\x07\n", stderr);
	exit(1);
}

static void nul_bytes(void)
{
	plan();
	fwrite("# a\0b\0\0c\n\0\0\0\n", 1, 13, stdout);
	printf("not ok 1 %s\n", me);
	exit(1);
}

static void bad_utf8(void)
{
	plan();
	puts("# \xff\xfe\xc0\xaf\xed\xa0\x80\xf8\x88\x80\x80\x80 \xe2\x82");
	printf("not ok 1 %s\n", me);
	exit(1);
}

static void name_of_bytes(void)
{
	plan();
	ok();
	fwrite("ok 2 \0\x1b[31m\xff\xc0<b>\xe2\x80\xae\n", 1, 20, stdout);
}

static void console_escapes(void)
{
	plan();
	tell("/dev/console", "\x1b[2J\x1b]0;owned\x07 \xff\xfe \r\rBUG: \x1b[31m<script>alert(1)</script>\r\n");
	printf("not ok 1 %s\n", me);
	exit(1);
}

/* Programs that do not end as they should. */

static void stays(void)
{
	plan();
	forever();
}

static void stays_after_its_result(void)
{
	plan();
	ok();
	forever();
}

static void ignores_signals(void)
{
	for (int number = 1; number < 65; number++)
		signal(number, SIG_IGN);
	plan();
	forever();
}

static void keeps_the_channel(void)
{
	plan();
	if (!fork())
		forever();
	ok();
}

static void daemon_talks_on(void)
{
	plan();
	ok();
	if (!fork()) {
		setsid();
		for (;;) {
			puts("not ok 1 daemon_talks_on");
			fflush(stdout);
			usleep(50000);
		}
	}
	usleep(500000);
}

static void segfault(void)
{
	plan();
	raise(SIGSEGV);
}

static void stops_itself(void)
{
	plan();
	raise(SIGSTOP);
}

/* Eaters of what there is. */

static void fork_bomb(void)
{
	plan();
	for (;;)
		fork();
}

static void touch_everything(void)
{
	for (;;) {
		char *room = mmap(NULL, MEGABYTE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (room != MAP_FAILED)
			memset(room, 1, MEGABYTE);
	}
}

static void fills_memory(void)
{
	plan();
	touch_everything();
}

static void fills_memory_unkillable(void)
{
	plan();
	tell("/proc/self/oom_score_adj", "-1000\n");
	touch_everything();
}

static void fills_disk(void)
{
	static char block[MEGABYTE];
	int file = open("/tmp/full", O_WRONLY | O_CREAT, 0600);

	plan();
	while (write(file, block, sizeof(block)) > 0)
		;
	ok();
}

static void eats_descriptors(void)
{
	plan();
	while (open("/dev/null", O_RDONLY) >= 0)
		;
	ok();
}

/* The end of the guest. */

static void panics(void)
{
	plan();
	tell("/proc/sysrq-trigger", "c");
	forever();
}

static void forged_panic(void)
{
	plan();
	tell("/dev/console", "[    9.999999] Kernel panic - not syncing: says hostile\n");
	forever();
}

static void forged_ready(void)
{
	plan();
	tell("/dev/console", "pagelab: ready\npagelab: ready\n");
	ok();
}

static void reboots(void)
{
	plan();
	reboot(RB_AUTOBOOT);
	forever();
}

static void powers_off(void)
{
	plan();
	reboot(RB_POWER_OFF);
	forever();
}

static void halts(void)
{
	plan();
	reboot(RB_HALT_SYSTEM);
	forever();
}

static void kills_sshd(void)
{
	plan();
	signal(SIGHUP, SIG_IGN);
	signal_all("dropbear", SIGKILL);
	forever();
}

static void stops_sshd(void)
{
	plan();
	signal_all("dropbear", SIGSTOP);
	forever();
}

static void kills_everything(void)
{
	plan();
	kill(-1, SIGKILL);
	forever();
}

static void cuts_the_network(void)
{
	plan();
	execl("/bin/busybox", "ifconfig", "eth0", "down", NULL);
}

static void freezes(void)
{
	plan();
	tell("/proc/sys/kernel/panic", "0\n");
	for (int cpu = 0; cpu < 8; cpu++)
		if (!fork()) {
			struct sched_param most = { .sched_priority = 99 };

			tell("/proc/sys/kernel/sched_rt_runtime_us", "-1\n");
			sched_setscheduler(0, SCHED_FIFO, &most);
			for (;;)
				;
		}
	forever();
}

/* What the next scenario finds. */

static void set_clock(time_t seconds)
{
	struct timeval now = { .tv_sec = seconds };

	plan();
	if (settimeofday(&now, NULL))
		exit(2);
	ok();
}

static void clock_back(void)
{
	set_clock(86400);
}

static void clock_ahead(void)
{
	set_clock(4102444800);
}

static void replaces_the_next(void)
{
	plan();
	replace("/lab/limits", "#!/bin/sh\necho KTAP version 1; echo 1..1; echo ok 1 forged\n");
	ok();
}

static void replaces_the_shell(void)
{
	plan();
	replace("/bin/busybox", "#!/lab/hostile\n");
	ok();
}

/* Ways out. */

/* One line per address: reached, or why not. */
static void try_to_reach(const char *address, int port)
{
	struct sockaddr_in there = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct timeval patience = { .tv_sec = 2 };
	int tcp = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, address, &there.sin_addr);
	setsockopt(tcp, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(tcp, (struct sockaddr *)&there, sizeof(there)))
		printf("# %s:%d not reached: %s\n", address, port, strerror(errno));
	else
		printf("# %s:%d REACHED\n", address, port);
	fflush(stdout);
	close(tcp);
}

static void send_to(const char *address, int port)
{
	struct sockaddr_in there = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct timeval patience = { .tv_sec = 2 };
	/* A question for the address of example.org. */
	static const char query[] = "\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07" "example\x03org\0\0\x01\0\x01";
	char answer[512];
	int udp = socket(AF_INET, SOCK_DGRAM, 0);

	inet_pton(AF_INET, address, &there.sin_addr);
	setsockopt(udp, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	sendto(udp, query, sizeof(query) - 1, 0, (struct sockaddr *)&there, sizeof(there));
	printf("# %s:%d/udp %s\n", address, port, recv(udp, answer, sizeof(answer), 0) > 0 ? "ANSWERED" : "no answer");
	fflush(stdout);
	close(udp);
}

static void add_default_route(const char *gateway)
{
	struct sockaddr_in any = { .sin_family = AF_INET }, there = any;
	struct rtentry route = { .rt_flags = RTF_UP | RTF_GATEWAY };
	int handle = socket(AF_INET, SOCK_DGRAM, 0);

	inet_pton(AF_INET, gateway, &there.sin_addr);
	memcpy(&route.rt_dst, &any, sizeof(any));
	memcpy(&route.rt_genmask, &any, sizeof(any));
	memcpy(&route.rt_gateway, &there, sizeof(there));
	if (ioctl(handle, SIOCADDRT, &route))
		printf("# no default route: %s\n", strerror(errno));
	close(handle);
}

/* The argument is a port on which somebody listens on the host, 10.0.2.2 as QEMU has it. */
static void reaches_out(void)
{
	plan();
	add_default_route("10.0.2.2");
	try_to_reach("10.0.2.2", 22);
	try_to_reach("10.0.2.2", argument ? atoi(argument) : 80);
	try_to_reach("10.0.2.3", 53);
	try_to_reach("1.1.1.1", 53);
	send_to("10.0.2.3", 53);
	send_to("10.0.2.2", 69);
	send_to("9.9.9.9", 53);
	ok();
}

static const struct {
	const char *name;
	void (*act)(void);
} ways[] = {
#define WAY(name) { #name, name }
	WAY(flood_stdout), WAY(flood_stderr), WAY(flood_console), WAY(flood_kmsg), WAY(flood_quietly), WAY(long_line),
	WAY(ten_megabyte_line), WAY(drip),
	WAY(forged_plan), WAY(no_plan), WAY(forged_results), WAY(second_thoughts), WAY(many_results), WAY(dotdot_names),
	WAY(torn_result), WAY(lying_status), WAY(silent), WAY(listing), WAY(nested_deep),
	WAY(escapes), WAY(nul_bytes), WAY(bad_utf8), WAY(name_of_bytes), WAY(console_escapes),
	WAY(stays), WAY(stays_after_its_result), WAY(ignores_signals), WAY(keeps_the_channel), WAY(daemon_talks_on),
	WAY(segfault), WAY(stops_itself),
	WAY(fork_bomb), WAY(fills_memory), WAY(fills_memory_unkillable), WAY(fills_disk), WAY(eats_descriptors),
	WAY(panics), WAY(forged_panic), WAY(forged_ready), WAY(reboots), WAY(powers_off), WAY(halts), WAY(kills_sshd),
	WAY(stops_sshd), WAY(kills_everything), WAY(cuts_the_network), WAY(freezes),
	WAY(clock_back), WAY(clock_ahead), WAY(replaces_the_next), WAY(replaces_the_shell),
	WAY(reaches_out),
};

int main(int argc, char **argv)
{
	me = argc > 1 ? argv[1] : "";
	argument = argc > 2 ? argv[2] : NULL;
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (!strcmp(me, "--list"))
			printf("{\"name\": \"%s\", \"timeout_s\": 1}\n", ways[i].name);
		else if (!strcmp(me, ways[i].name) && getuid() == 0 && access("/run/facts", F_OK) == 0) {
			ways[i].act();
			return 0;
		}
	}
	if (!strcmp(me, "--list"))
		return 0;
	fprintf(stderr, "usage: hostile --list | hostile WAY (in a guest of the lab only)\n");
	return 2;
}

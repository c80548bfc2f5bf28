/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program as packers and linkers for 4096-byte pages lay it out: code and data are segments in neighbouring 4096
 * bytes, with an alignment of 4096.  With larger pages both are in one page, the data is mapped over the code, and the
 * program dies at its first instruction.  The program does nothing but end with status 42.
 *
 * Exit status: 0 it ends with 42, 1 it is a segmentation fault or is refused, 125 no code for this architecture.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ALIGNMENT = 4096, LOADED_AT = 0x2000000, ENDS_WITH = 42, REFUSED = 43, CANNOT_TELL = 125 };

/* exit(42), in the machine's own code. */
#if defined(__x86_64__)
enum { MACHINE = EM_X86_64 };
static const uint8_t code[] = { 0xbf, ENDS_WITH, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05 };
#elif defined(__aarch64__)
enum { MACHINE = EM_AARCH64 };
static const uint32_t code[] = { 0xd2800000 | ENDS_WITH << 5, 0xd2800008 | 93 << 5, 0xd4000001 };
#else
enum { MACHINE = EM_NONE };
static const uint8_t code[] = { 0 };
#endif

struct file {
	Elf64_Ehdr header;
	Elf64_Phdr segments[2];
	uint8_t rest[3 * ALIGNMENT - sizeof(Elf64_Ehdr) - 2 * sizeof(Elf64_Phdr)];
};

static Elf64_Phdr segment(int number, uint32_t flags, size_t size)
{
	const Elf64_Addr offset = (Elf64_Addr)number * ALIGNMENT;

	return (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_flags = flags,
		.p_offset = offset,
		.p_vaddr = LOADED_AT + offset,
		.p_paddr = LOADED_AT + offset,
		.p_filesz = size,
		.p_memsz = size,
		.p_align = ALIGNMENT,
	};
}

/* The program in memory, as an open file; -1 if that cannot be made. */
static int make_program(void)
{
	static struct file file = {
		.header = {
			.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_EXEC,
			.e_machine = MACHINE,
			.e_version = EV_CURRENT,
			.e_entry = LOADED_AT + ALIGNMENT,
			.e_phoff = offsetof(struct file, segments),
			.e_ehsize = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 2,
		},
	};
	int fd = memfd_create("program", 0);

	file.segments[0] = segment(1, PF_R | PF_X, sizeof(code));
	file.segments[1] = segment(2, PF_R | PF_W, 8);
	memcpy((uint8_t *)&file + ALIGNMENT, code, sizeof(code));
	if (fd >= 0 && write(fd, &file, sizeof(file)) == sizeof(file))
		return fd;
	return -1;
}

int main(void)
{
	int fd = make_program(), status;
	char path[64];
	pid_t child;

	if (MACHINE == EM_NONE || fd < 0)
		return CANNOT_TELL;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	child = fork();
	if (child == 0) {
		execl(path, "program", (char *)NULL);
		_exit(REFUSED);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return CANNOT_TELL;
	printf("pages of %ld bytes, segments aligned to %d: ", sysconf(_SC_PAGESIZE), ALIGNMENT);
	if (WIFEXITED(status) && WEXITSTATUS(status) == ENDS_WITH) {
		puts("runs");
		return 0;
	}
	if (WIFSIGNALED(status)) {
		puts(WTERMSIG(status) == SIGSEGV ? "segmentation fault" : strsignal(WTERMSIG(status)));
		return 1;
	}
	puts(WEXITSTATUS(status) == REFUSED ? "refused by execve" : "ends with another status");
	return 1;
}

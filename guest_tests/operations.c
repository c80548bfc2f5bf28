/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Group R: growth by vm operations: a mapping whose operations do not allow it cannot grow; all others grow as ever. */
#include "lab.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/shm.h>
#include <sys/socket.h>

#define BY_OPERATION .requires = "expand-op"

#define BLOCKS 4	/* of a packet socket's ring, each of a page */

/*
 * The ring of a packet socket, which receives nothing: its pages are put into the mapping when it is made, and there is
 * no fault that could add any.
 */
static char *packet_ring(void)
{
	int fd = LAB_SETUP_OR_SKIP(socket(AF_PACKET, SOCK_RAW, 0));
	struct tpacket_req ring;

	memset(&ring, 0, sizeof(ring));
	ring.tp_block_size = (unsigned int)lab_page();
	ring.tp_block_nr = BLOCKS;
	ring.tp_frame_size = (unsigned int)lab_page();
	ring.tp_frame_nr = BLOCKS;
	LAB_SETUP_OR_SKIP(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &ring, sizeof(ring)));
	return LAB_SETUP(mmap(NULL, BLOCKS * lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
}

static void r01_ring_cannot_grow(void)
{
	char *p = packet_ring(), *hole = lab_hole(2 * BLOCKS, 0);

	LAB_EXPECT_ERRNO(lab_mremap(p, BLOCKS, 2 * BLOCKS, MREMAP_MAYMOVE, NULL), EFAULT);
	LAB_EXPECT_ERRNO(lab_mremap(p, BLOCKS, 2 * BLOCKS, MREMAP_MAYMOVE | MREMAP_FIXED, hole), EFAULT);
	LAB_WRITES(lab_at(p, BLOCKS - 1), 1);
}

static void r01_ring_is_not_duplicated(void)
{
	char *p = packet_ring();

	LAB_EXPECT_ERRNO(lab_mremap(p, 0, BLOCKS, MREMAP_MAYMOVE, NULL), EFAULT);
	LAB_EXPECT_ERRNO(lab_mremap(p, 0, 2 * BLOCKS, MREMAP_MAYMOVE, NULL), EFAULT);
	LAB_WRITES(p, 1);
}

/* A move and a smaller mapping are no growth. */
static void r02_ring_moves_and_shrinks(void)
{
	char *p = packet_ring();

	LAB_WRITES(lab_at(p, 1), 5);
	p = LAB_GROW_TO(p, BLOCKS, BLOCKS, lab_hole(BLOCKS, 0));
	LAB_READS(lab_at(p, 1), 5);
	p = LAB_EXPECT_OK(lab_mremap(p, BLOCKS, 2, 0, NULL));
	LAB_READS(lab_at(p, 1), 5);
}

/* The mapping of a file grows; beyond the file's end it is a bus error, until the file grows. */
static void file_grows(int fd)
{
	char *p;

	LAB_SETUP(ftruncate(fd, 2 * (off_t)lab_page()));
	p = LAB_SETUP(mmap(NULL, 2 * lab_page(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	p = LAB_GROW(p, 2, 8);
	LAB_SIGBUS(lab_at(p, 7));
	LAB_SETUP(ftruncate(fd, 8 * (off_t)lab_page()));
	LAB_WRITES(lab_at(p, 7), 3);
	LAB_READS(lab_at(LAB_DUP_TO(p, 8, lab_hole(8, 0)), 7), 3);
	close(fd);
}

static void r03_memfd(void)
{
	file_grows(LAB_SETUP_OR_SKIP((int)syscall(SYS_memfd_create, "lab", 1U)));
}

static void r03_private_view(void)
{
	int fd = LAB_SETUP_OR_SKIP((int)syscall(SYS_memfd_create, "lab", 1U));
	char *p;

	LAB_SETUP(ftruncate(fd, 8 * (off_t)lab_page()));
	p = LAB_SETUP(mmap(NULL, 2 * lab_page(), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	LAB_WRITES(p, 4);
	p = LAB_GROW(p, 2, 8);
	LAB_READS(p, 4);
	LAB_WRITES(lab_at(p, 7), 4);
	close(fd);
}

static void r03_sysv(void)
{
	int id = LAB_SETUP_OR_SKIP(shmget(IPC_PRIVATE, 2 * lab_page(), IPC_CREAT | 0600));
	char *p = shmat(id, NULL, 0);

	LAB_SETUP(shmctl(id, IPC_RMID, NULL));
	LAB_EXPECT(p != (char *)-1);
	LAB_WRITES(p, 6);
	p = LAB_GROW(p, 2, 4);
	LAB_READS(p, 6);
	LAB_SIGBUS(lab_at(p, 3));
	LAB_SETUP(munmap(p, 4 * lab_page()));
}

LAB_CASES(
	{ LAB_CASE(r01_ring_cannot_grow), .about = "a packet socket's ring cannot grow: EFAULT from mremap", BY_OPERATION,
	  .needs_root = true },
	{ LAB_CASE(r01_ring_is_not_duplicated), .about = "a packet socket's ring cannot be duplicated", BY_OPERATION,
	  .needs_root = true },
	{ LAB_CASE(r02_ring_moves_and_shrinks), .about = "a packet socket's ring can be moved and made smaller",
	  .needs_root = true },
	{ LAB_CASE(r03_memfd), .about = "a memfd's mapping grows and is duplicated beyond its end" },
	{ LAB_CASE(r03_private_view), .about = "a private mapping of a memfd grows" },
	{ LAB_CASE(r03_sysv), .about = "a SysV segment's mapping grows, and has nothing behind its end" },
)

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk in memory (zram) for scenarios that want swap or a file system with blocks, after lab.h; guests of the lab
 * only.  The case's parent empties it and stops swapping however the case ends.
 */
#ifndef LAB_DISK_H
#define LAB_DISK_H

#ifndef LAB_H
#error "lab.h comes first"
#endif

#include <endian.h>
#include <sys/mount.h>

#define LAB_ZRAM "/sys/block/zram0"
#define LAB_DISK "/dev/zram0"

/* The disk, empty, of so many bytes. */
LAB_FN void lab_disk(unsigned long long bytes)
{
	char text[32];

	if (access(LAB_ZRAM, F_OK) || access(LAB_DISK, F_OK))
		LAB_SKIP("no " LAB_DISK " (CONFIG_ZRAM)");
	if (!lab_owned())
		LAB_SKIP("would use " LAB_DISK ", and this machine is no guest of the lab");
	lab_send(LAB_TO_RESTORE, LAB_ZRAM "/reset", "1");
	LAB_SETUP(lab_write_file(LAB_ZRAM "/reset", "1"));
	snprintf(text, sizeof(text), "%llu", bytes);
	LAB_SETUP(lab_write_file(LAB_ZRAM "/disksize", text));
}

/* The header of a swap area (include/linux/swap.h, union swap_header): fixed places in the first page. */
struct lab_swap_info {
	uint32_t version, last_page, bad_pages;
};

/* Swap to the disk, with room for so many pages. */
LAB_FN void lab_swap(long pages)
{
	struct lab_swap_info info = { .version = 1, .last_page = (uint32_t)pages };
	int fd;

	lab_disk((unsigned long long)(pages + 1) * lab_page());
	fd = LAB_SETUP(open(LAB_DISK, O_RDWR | O_CLOEXEC));
	LAB_SETUP(pwrite(fd, &info, sizeof(info), 1024));
	LAB_SETUP(pwrite(fd, "SWAPSPACE2", 10, (off_t)lab_page() - 10));
	LAB_SETUP(fsync(fd));
	close(fd);
	lab_send(LAB_TO_SWAPOFF, LAB_DISK, "");
	LAB_SETUP_OR_SKIP(swapon(LAB_DISK, 0));
}

/* kB of the mapping at `p` that are in swap. */
LAB_FN long lab_swapped_kb(void *p)
{
	static struct lab_vma vma;

	LAB_EXPECT(lab_find_vma("/proc/self/smaps", p, &vma));
	return lab_kb(vma.details, "Swap");
}

/* ---- a file system: ext2, revision 0, in one group of blocks (fs/ext2/ext2.h) ---- */

#define LAB_EXT2_LOG 2	/* of the block's size in kB: the disk's own unit */
#define LAB_EXT2_BLOCK (1024U << LAB_EXT2_LOG)
#define LAB_EXT2_INODES (LAB_EXT2_BLOCK / 128)	/* a block of them, of which 1 to 10 are the file system's */

/* Where things are, in blocks. */
enum { LAB_EXT2_SUPER, LAB_EXT2_GROUP, LAB_EXT2_BLOCKS, LAB_EXT2_INODE_MAP, LAB_EXT2_TABLE, LAB_EXT2_ROOT, LAB_EXT2_FREE };

LAB_FN void lab_put16(unsigned char *at, unsigned int value)
{
	uint16_t le = htole16((uint16_t)value);

	memcpy(at, &le, sizeof(le));
}

LAB_FN void lab_put32(unsigned char *at, unsigned int value)
{
	uint32_t le = htole32(value);

	memcpy(at, &le, sizeof(le));
}

/* The superblock, at its place in block 0, and the group's descriptor. */
LAB_FN void lab_ext2_super(unsigned char *image, unsigned int blocks)
{
	unsigned char *super = image + 1024, *group = image + LAB_EXT2_GROUP * LAB_EXT2_BLOCK;

	lab_put32(super, LAB_EXT2_INODES);
	lab_put32(super + 4, blocks);
	lab_put32(super + 12, blocks - LAB_EXT2_FREE);
	lab_put32(super + 16, LAB_EXT2_INODES - 10);
	lab_put32(super + 24, LAB_EXT2_LOG);
	lab_put32(super + 28, LAB_EXT2_LOG);
	lab_put32(super + 32, 8 * LAB_EXT2_BLOCK);
	lab_put32(super + 36, 8 * LAB_EXT2_BLOCK);
	lab_put32(super + 40, LAB_EXT2_INODES);
	lab_put16(super + 54, 0xffff);	/* mounted as often as one likes */
	lab_put16(super + 56, 0xef53);
	lab_put16(super + 58, 1);	/* clean */
	lab_put16(super + 60, 1);	/* errors: continue */
	lab_put32(group, LAB_EXT2_BLOCKS);
	lab_put32(group + 4, LAB_EXT2_INODE_MAP);
	lab_put32(group + 8, LAB_EXT2_TABLE);
	lab_put16(group + 12, blocks - LAB_EXT2_FREE);
	lab_put16(group + 14, LAB_EXT2_INODES - 10);
	lab_put16(group + 16, 1);
}

/* What is in use, and the root directory: inode 2, with nothing in it. */
LAB_FN void lab_ext2_root(unsigned char *image)
{
	unsigned char *inode = image + LAB_EXT2_TABLE * LAB_EXT2_BLOCK + 128;
	unsigned char *names = image + LAB_EXT2_ROOT * LAB_EXT2_BLOCK;

	image[LAB_EXT2_BLOCKS * LAB_EXT2_BLOCK] = (1 << LAB_EXT2_FREE) - 1;
	lab_put16(image + LAB_EXT2_INODE_MAP * LAB_EXT2_BLOCK, (1 << 10) - 1);
	lab_put16(inode, S_IFDIR | 0755);
	lab_put32(inode + 4, LAB_EXT2_BLOCK);
	lab_put16(inode + 26, 2);
	lab_put32(inode + 28, LAB_EXT2_BLOCK / 512);
	lab_put32(inode + 40, LAB_EXT2_ROOT);
	lab_put32(names, 2);
	lab_put16(names + 4, 12);
	names[6] = 1;
	names[8] = '.';
	lab_put32(names + 12, 2);
	lab_put16(names + 16, LAB_EXT2_BLOCK - 12);
	names[18] = 2;
	names[20] = names[21] = '.';
}

/* A new file system with room for so many pages, mounted for this process alone; its directory. */
LAB_FN const char *lab_ext2(long pages)
{
	static unsigned char image[LAB_EXT2_FREE * LAB_EXT2_BLOCK];
	static char directory[] = "/tmp/lab-disk-XXXXXX";
	unsigned int blocks = 64 + (unsigned int)((size_t)pages * lab_page() / LAB_EXT2_BLOCK);
	int fd;

	lab_disk((unsigned long long)blocks * LAB_EXT2_BLOCK + lab_page());
	lab_ext2_super(image, blocks);
	lab_ext2_root(image);
	fd = LAB_SETUP(open(LAB_DISK, O_RDWR | O_CLOEXEC));
	LAB_SETUP(pwrite(fd, image, sizeof(image), 0));
	LAB_SETUP(fsync(fd));
	close(fd);
	LAB_SETUP(mkdtemp(directory));
	lab_send(LAB_TO_RMDIR, directory, "");
	LAB_SETUP(unshare(CLONE_NEWNS));
	LAB_SETUP(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	LAB_SETUP_OR_SKIP(mount(LAB_DISK, directory, "ext2", 0, NULL));
	return directory;
}

#endif

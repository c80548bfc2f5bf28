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

#endif

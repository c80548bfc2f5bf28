/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Limits that refuse growth, and what a refusal looks like in each design, after lab.h. */
#ifndef LAB_REFUSAL_H
#define LAB_REFUSAL_H

#ifndef LAB_H
#error "lab.h comes first"
#endif

#define OVERCOMMIT "/proc/sys/vm/overcommit_memory"
#define OVERCOMMIT_KB "/proc/sys/vm/overcommit_kbytes"
#define OVERCOMMIT_RATIO "/proc/sys/vm/overcommit_ratio"
#define MAX_MAP_COUNT "/proc/sys/vm/max_map_count"

/* Pages that no kernel grants without being told to overcommit. */
LAB_FN long lab_more_than_memory(void)
{
	long more = lab_meminfo_pages("MemTotal") + lab_meminfo_pages("SwapTotal") + 64;

	lab_need_room(1 + more);
	return more;
}

/* Allow this process `pages` more of address space than it has. */
LAB_FN void lab_limit_address_space(long pages)
{
	char text[BUFSIZ];

	LAB_SETUP(lab_slurp("/proc/self/statm", text, sizeof(text)));
	lab_limit(RLIMIT_AS, (unsigned long long)(strtol(text, NULL, 10) + pages) * lab_page());
}

/* Strict overcommit for this case: no more than `limit` kB may be committed. */
LAB_FN void lab_commit_limit(long limit)
{
	char text[32];

	if (lab_setting(OVERCOMMIT_KB, text, sizeof(text)) < 0)
		LAB_SKIP("no " OVERCOMMIT_KB);
	if (!strcmp(text, "0") && lab_owned()) {	/* setting kbytes clears the ratio: have it put back, too */
		LAB_SETUP(lab_setting(OVERCOMMIT_RATIO, text, sizeof(text)));
		lab_send(LAB_TO_RESTORE, OVERCOMMIT_RATIO, text);
	}
	snprintf(text, sizeof(text), "%ld", limit);
	LAB_SET(OVERCOMMIT_KB, text);
	LAB_SET(OVERCOMMIT, "2");
}

/*
 * Strict overcommit for this case, with room for an eighth of the memory beyond what is committed now: enough for the
 * rest of the system.  Returns a growth, in pages, that exceeds it however the kernel batches its counter.
 */
LAB_FN long lab_strict_overcommit(void)
{
	long limit = lab_meminfo("Committed_AS") + lab_meminfo("MemTotal") / 8;

	lab_commit_limit(limit);
	lab_need_room(1 + 2 * lab_pages((unsigned long long)limit << 10));
	return 2 * lab_pages((unsigned long long)limit << 10);
}

/* Growth over the limit: either mremap says ENOMEM and changes nothing, or a touch says SIGBUS; the mapping of now. */
LAB_FN char *lab_refused_growth(char *p, long pages, long more)
{
	long before = lab_committed();

	if (lab_provides("expand-enomem")) {
		LAB_EXPECT_ERRNO(lab_mremap(p, pages, pages + more, MREMAP_MAYMOVE, NULL), ENOMEM);
	} else {
		p = LAB_GROW(p, pages, pages + more);
		LAB_SIGBUS(lab_at(p, pages));
		LAB_SIGBUS(lab_at(p, pages + more - 1));
	}
	LAB_COMMITTED(before, 0);
	LAB_OBJECT(p, pages);
	return p;
}

/* From now on this process may have `spare` mappings more than it has. */
LAB_FN void lab_limit_map_count(int spare)
{
	static char maps[1 << 17];
	char text[32], *line, *next;
	int count = 0;

	LAB_SETUP(lab_slurp("/proc/self/maps", maps, sizeof(maps)));
	for (line = maps; (next = strchr(line, '\n')); line = next + 1) {
		*next = 0;
		count += !strstr(line, "[vsyscall]") && !strstr(line, "[vectors]");	/* listed, and not counted */
	}
	snprintf(text, sizeof(text), "%d", count + spare);
	LAB_SET(MAX_MAP_COUNT, text);
}

#endif

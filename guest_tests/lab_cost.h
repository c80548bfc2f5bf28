/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What something costs, for scenario programs: a round is prepared and timed by the case, again and again, and the
 * median of all rounds, with the two values between which half of them lie, goes on record:
 *
 *	# cost grow_fault 2204 instructions (2198-2211 in 51 rounds)
 *
 * The unit is what the machine's clock counts, which the lab says in LAB_CLOCK: `instructions` where CLOCK_MONOTONIC
 * goes on by a nanosecond with every instruction; `time` where instructions run on the processor itself (as they do
 * where nobody says anything); `none` where they are emulated, and time says how busy the host was.
 */
#ifndef LAB_COST_H
#define LAB_COST_H

#include "lab.h"

#define LAB_COST_ROUNDS 51		/* multiplied by LAB_LOAD */
#define LAB_COST_WARM 8			/* rounds before those that count: caches, lists of free pages */
#define LAB_COST_MOST 1021
#define LAB_COST_SPREAD_COUNTED 10	/* percent of the median that half of the rounds may be apart: instructions */
#define LAB_COST_SPREAD_TIMED 25	/* the same, of time */
#define LAB_NOPS 1000000

#ifdef __s390__
#define LAB_NOP "nopr 0"
#else
#define LAB_NOP "nop"
#endif

/* Programs that measure have the same addresses every time: page tables are a part of what fork costs. */
static __attribute__((constructor)) void lab_cost_settle(void)
{
	lab_same_addresses = true;
}

LAB_FN int lab_cost_order(const void *a, const void *b)
{
	long long one = *(const long long *)a, other = *(const long long *)b;

	return (one > other) - (one < other);
}

LAB_FN void lab_cost_sort(long long *values, int count)
{
	qsort(values, (size_t)count, sizeof(*values), lab_cost_order);
}

/* Nanoseconds for LAB_NOPS instructions that do nothing, and a few thousand for the loop round them. */
LAB_FN long long lab_nops_ns(void)
{
	long long start = lab_now_ns();
	int i;

	for (i = 0; i < LAB_NOPS / 1000; i++)
		__asm__ volatile(".rept 1000\n\t" LAB_NOP "\n\t.endr");
	return lab_now_ns() - start;
}

/* Does the clock count instructions?  The quickest of a few tries, in which nothing interrupted, took LAB_NOPS. */
LAB_FN bool lab_counts_instructions(void)
{
	long long best = LLONG_MAX, took;
	int i;

	for (i = 0; i < 5; i++)
		best = (took = lab_nops_ns()) < best ? took : best;
	return best >= LAB_NOPS && best < LAB_NOPS + LAB_NOPS / 20;
}

/* The unit of what is measured here; the case ends where nothing can be. */
LAB_FN const char *lab_cost_unit(void)
{
	const char *clock = getenv("LAB_CLOCK");

	if (!clock || !strcmp(clock, "time"))
		return "ns";
	if (strcmp(clock, "instructions"))
		LAB_SKIP("emulated time is no measure: needs counted instructions, or KVM");
	if (!lab_counts_instructions())
		LAB_ERROR("the clock should count instructions, and does not");
	return "instructions";
}

/* What reading the clock takes by itself. */
LAB_FN long long lab_cost_empty(void)
{
	long long spent[LAB_COST_ROUNDS];
	int i;

	for (i = 0; i < LAB_COST_ROUNDS; i++) {
		spent[i] = lab_now_ns();
		spent[i] = lab_now_ns() - spent[i];
	}
	lab_cost_sort(spent, LAB_COST_ROUNDS);
	return spent[LAB_COST_ROUNDS / 2];
}

/* Stay on the CPU where we are. */
LAB_FN void lab_cost_stay(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(LAB_SETUP(sched_getcpu()), &set);
	LAB_SETUP(sched_setaffinity(0, sizeof(set), &set));
}

/* Put on record what one of `ops` operations costs that `round` does; it returns the nanoseconds it took for them. */
LAB_FN void lab_cost(long long (*round)(void), int ops)
{
	static long long spent[LAB_COST_MOST];
	const char *unit = lab_cost_unit();
	bool counted = !strcmp(unit, "instructions");
	int rounds = lab_load(LAB_COST_ROUNDS), i;
	long long empty, low, median, high;
	char text[LAB_TEXT];

	rounds = rounds < LAB_COST_MOST ? rounds : LAB_COST_MOST;
	lab_cost_stay();
	empty = lab_cost_empty();
	for (i = 0; i < LAB_COST_WARM; i++)
		round();
	for (i = 0; i < rounds; i++)
		spent[i] = (round() - empty + ops / 2) / ops;
	lab_cost_sort(spent, rounds);
	low = spent[rounds / 4];
	median = spent[rounds / 2];
	high = spent[rounds - 1 - rounds / 4];
	snprintf(text, sizeof(text), "%lld %s (%lld-%lld in %d rounds)", median, unit, low, high, rounds);
	if (low <= 0)
		LAB_ERROR("less than the clock can tell: %s", text);
	if ((high - low) * 100 <= median * (counted ? LAB_COST_SPREAD_COUNTED : LAB_COST_SPREAD_TIMED))
		lab_send(LAB_TO_SAY_COST, "", text);
	else if (counted)
		LAB_ERROR("the rounds do not agree: %s", text);
	else	/* the host was busy: that says nothing about the kernel, nor about us */
		LAB_SKIP("the rounds do not agree: %s", text);
}

#endif

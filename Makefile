# SPDX-License-Identifier: GPL-2.0-or-later
# The two commands of the lab, `make run` and `make test`, and their helpers. Each sets up what is missing first.

CAMPAIGN = quick
ARGS =

PYTHON = .venv/bin/python
LAB = .venv/bin/lab

.PHONY: help setup run matrix test unit bench faults kernel-faults examples mutants fuzz browser lint shape doctor clean

help:
	@echo "make run     run a campaign: CAMPAIGN=quick, further arguments of lab run in ARGS="
	@echo "make matrix  every machine: all-arches, then numa; installs every compiler and emulator (ARGS= as for run)"
	@echo "make test    all tests, those with real guests too (further arguments of pytest in ARGS=)"
	@echo "make unit    the tests that need no guest"
	@echo "make bench   the benchmarks, as ratios (some: ARGS='cold restore memory pair efficiency case campaign report')"
	@echo "             by themselves: ARGS='repeats N' (two cells N times, 200), tables: ARGS=matrix|builds"
	@echo "make faults  inject faults into host, QEMU, guests and input (some of them: ARGS=NAME, ARGS=--list)"
	@echo "make kernel-faults  what the kernel complains of has its name: builds a kernel with lkdtm and sanitizers"
	@echo "make examples  every example of every verb's help, those with guests and kernel trees too"
	@echo "make mutants  break the series in 50 ways and see which case notices (some of them: ARGS=NAME, ARGS=--list)"
	@echo "make fuzz    fuzz all that reads what others wrote (ARGS='SECONDS [TARGET...]', 60 seconds)"
	@echo "make browser install Chromium where it is missing, and look at report.html with it (part of make test then)"
	@echo "make lint    ruff and mypy"
	@echo "make shape   the size of rooms, the density of statements, shared class names: each with its bound"
	@echo "make doctor  what this host can do, and what is missing"
	@echo "make setup   install what is missing (Debian packages, .venv); part of all the others"
	@echo "make clean   remove .venv and what tools left behind; results/ and the cache stay (lab clean)"

setup:
	@sh lab/bootstrap.sh $(CAMPAIGN)

# A --suite among the arguments may need packages of its own.
run: export NEEDED_BY = $(ARGS)
run: setup
	@$(LAB) run $(CAMPAIGN) $(ARGS)

matrix:
	@sh lab/bootstrap.sh all-arches numa
	@status=0; for each in all-arches numa; do $(LAB) run $$each $(ARGS) || status=$$?; done; exit $$status

test: setup
	@$(PYTHON) -m pytest $(ARGS)

unit: setup
	@$(PYTHON) -m pytest tests/unit $(ARGS)

bench: setup
	@$(PYTHON) -m tests.benchmarks $(ARGS)

faults: setup
	@$(PYTHON) -m tests.faults $(ARGS)

kernel-faults: setup
	@PAGELAB_KERNEL_FAULTS=1 $(PYTHON) -m pytest tests/integration/test_kernel_faults.py $(ARGS)

examples: export NEEDED_BY = make examples
examples: setup
	@PAGELAB_EXAMPLES=1 $(PYTHON) -m pytest tests/unit/test_examples.py tests/integration/test_people.py $(ARGS)

mutants: setup
	@$(PYTHON) -m tests.mutants $(ARGS)

fuzz: setup
	@$(PYTHON) -m tests.fuzz $(ARGS)

browser:
	@NEEDED_BY='make browser' sh lab/bootstrap.sh $(CAMPAIGN)
	@$(PYTHON) -m pytest tests/integration/test_browser.py $(ARGS)

lint: setup
	@$(PYTHON) -m ruff check lab tests
	@$(PYTHON) -m ruff format --check lab tests
	@$(PYTHON) -m mypy

shape: setup
	@$(PYTHON) -m tests.shape

doctor: setup
	@$(LAB) doctor

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis guest_tests/build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

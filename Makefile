# SPDX-License-Identifier: GPL-2.0-or-later
# `make run`, `make test` and their helpers. Each target first installs what it needs and is missing.

CAMPAIGN = quick
ARGS =
TREE =

PYTHON = .venv/bin/python
LAB = .venv/bin/lab
# The set-up also installs what these commands need (lab/host/needs.py); a --suite among the arguments may need more.
export NEEDED_BY = $(addprefix make ,$(MAKECMDGOALS)) $(ARGS)
# Tests without guests: a process of pytest for each core. Tests with guests: two, since a guest uses several cores, but
# a test waits for its guest most of the time; a file's tests share guests, so they stay together.
WORKERS = -n auto
GUEST_WORKERS = -n 2 --dist loadfile

.PHONY: help setup run matrix test unit bench bare-host faults kernel-faults examples mutants fuzz browser kernel-words series-check lint shape doctor clean

help:
	@echo "make run            run a campaign: CAMPAIGN=quick; further arguments of lab run in ARGS="
	@echo "make matrix         run on every machine, all-arches then numa; installs every compiler and emulator"
	@echo "make test           run all tests, those that boot guests too; further arguments of pytest in ARGS="
	@echo "make unit           run the tests that need no guest"
	@echo "make bench          run the benchmarks and print ratios; some of them:"
	@echo "                    ARGS='edit cold restore memory pair efficiency case campaign report'; by themselves:"
	@echo "                    ARGS='repeats N' (two cells N times, 200), ARGS=virtme (beside virtme-ng, if vng is in PATH);"
	@echo "                    tables: ARGS=matrix, builds or cluster;"
	@echo "                    ARGS=readme compares the numbers of the README files with those of now"
	@echo "make faults         inject faults into host, QEMU, guests and input; some: ARGS=NAME, names: ARGS=--list"
	@echo "make kernel-faults  check how the kernel's own complaints are named; builds a kernel with lkdtm, sanitizers"
	@echo "make examples       run every example of every verb's help, those with guests and kernel trees too"
	@echo "make bare-host      run examples of all verbs in a bare Debian 12, as root; keep its chroot: ARGS=DIR;"
	@echo "                    in Debian 13: ARGS='--release trixie'; as an ordinary user: ARGS=--user"
	@echo "make mutants        break the series in all ways of the table or of lab mutate, see which case notices;"
	@echo "                    some: ARGS=NAME, names: ARGS=--list, ARGS='--generated --minutes 30 -o DIR'"
	@echo "make fuzz           fuzz every reader of other people's files; ARGS='SECONDS [TARGET...]', 60 seconds each"
	@echo "make browser        install Chromium and test report.html in it; make test does so too afterwards"
	@echo "make kernel-words   check that the console scan sees what a kernel tree prints; the tree: TREE=DIR"
	@echo "make series-check   check every patch of the series by checkpatch, gcc, clang and sparse; some: ARGS=KERNEL"
	@echo "make lint           run ruff and mypy"
	@echo "make shape          measure rooms, density of statements and shared class names against their bounds"
	@echo "make doctor         check what this host can do, and what is missing"
	@echo "make setup          install what is missing: Debian packages, .venv; part of all the others"
	@echo "make clean          remove .venv and tools' leftovers; results/ and the cache stay (see lab clean)"

setup:
	@sh lab/bootstrap.sh $(CAMPAIGN)

run: setup
	@$(LAB) run $(CAMPAIGN) $(ARGS)

matrix:
	@sh lab/bootstrap.sh all-arches numa
	@status=0; for each in all-arches numa; do $(LAB) run $$each $(ARGS) || status=$$?; done; exit $$status

test: setup
	@status=0; $(PYTHON) -m pytest $(WORKERS) tests/unit $(ARGS) || status=$$?; \
	$(PYTHON) -m pytest $(GUEST_WORKERS) tests/integration $(ARGS) || status=$$?; exit $$status

unit: setup
	@$(PYTHON) -m pytest $(WORKERS) tests/unit $(ARGS)

bench: setup
	@$(PYTHON) -m tests.benchmarks $(ARGS)

faults: setup
	@$(PYTHON) -m tests.faults $(ARGS)

kernel-faults: setup
	@PAGELAB_KERNEL_FAULTS=1 $(PYTHON) -m pytest tests/integration/test_kernel_faults.py $(ARGS)

examples: setup
	@PAGELAB_EXAMPLES=1 $(PYTHON) -m pytest tests/unit/test_examples.py tests/integration/test_people.py $(ARGS)

bare-host: setup
	@$(PYTHON) -m tests.bare_host $(ARGS)

mutants: setup
	@$(PYTHON) -m tests.mutants $(ARGS)

fuzz: setup
	@$(PYTHON) -m tests.fuzz $(ARGS)

browser: setup
	@$(PYTHON) -m pytest tests/integration/test_browser.py $(ARGS)

kernel-words: setup
	@$(PYTHON) -m tests.kernel_words $(TREE)

series-check: setup
	@$(PYTHON) -m tests.series_check $(ARGS)

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

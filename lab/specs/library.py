# SPDX-License-Identifier: GPL-2.0-or-later
"""Find topologies, kernels, scenarios and campaigns by name, in directories, and read them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lab.core import paths
from lab.core.errors import InputError, UsageError, did_you_mean, nearest, unknown
from lab.core.paths import (
    IMAGE,
    PACKAGE,
    absolute_word,
    instead_of_file,
    is_file,
    is_path,
    is_prebuilt,
    prebuilt_name,
    user_path,
)
from lab.specs import kernel_packages, suite
from lab.specs.load import YamlDocument, read
from lab.specs.model import JOINT, CampaignSpec, Kernel, KnownComplaints, Topology, format_range
from lab.specs.plan import (
    Filters,
    Named,
    Plan,
    Selection,
    Skipped,
    matches,
    merge_selections,
    narrow_tests,
    node_count,
    plan,
)
from lab.specs.report import Report, ReportPlan
from lab.specs.report_plan import plan_reports
from lab.specs.settings import Own
from lab.specs.suite import Suite

BOOTABLE = "a bootable kernel"
"""What is expected after `image:`."""
SOURCES = ("debian", "path", "git", "tarball")
"""What the `source` of a kernel's YAML file may begin with, beside `image`."""
BASE = "base"
"""The config fragment of every kernel."""
KNOWN = ".known.yaml"
"""What the file of known complaints is called beside a config fragment NAME.config."""
_SCENARIO = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]{0,62}")
"""The valid names of scenarios: `scenario.case` is divided at the dot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A campaign with all files that its words, and those of the command line, refer to."""

    spec: CampaignSpec
    topologies: tuple[Topology, ...]
    kernels: tuple[Kernel, ...]
    scenarios: tuple[Selection, ...]
    named: frozenset[str] = frozenset()
    """The topologies that were given by name or path, not by a glob."""
    left_out: tuple[Skipped, ...] = ()
    """Topologies that a glob matches and the campaign's `nodes` or `one_per`, or the environment, leaves out."""
    reports: tuple[ReportPlan, ...] = ()
    """Of a campaign of reports, which has none of the other parts but the machines and kernels of its reports."""

    def on(self, filters: Filters) -> Campaign:
        """Return the campaign with the machines of the environment's architectures, and those given by hand."""
        reason = f"ARCH in the environment restricts the campaign to {', '.join(filters.arches)}"
        topologies: list[Topology] = []
        left_out: list[Skipped] = []
        for topology in self.topologies:
            by_hand = any(matches(word, topology.name) for word in filters.topologies)
            if by_hand or not filters.arches or topology.arch in filters.arches:
                topologies.append(topology)
            else:
                left_out.append(Skipped(what=topology.name, reason=reason))
        return replace(self, topologies=tuple(topologies), left_out=(*self.left_out, *left_out))


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """Directories to search, in order; of two files with one name the first is used."""

    topology_dirs: tuple[Path, ...]
    campaign_dirs: tuple[Path, ...]
    kernel_dirs: tuple[Path, ...]
    scenario_sources: tuple[Path, ...]
    """Directories, and single C files."""
    config_dirs: tuple[Path, ...]
    series_dirs: tuple[Path, ...]
    report_dirs: tuple[Path, ...] = ()

    @classmethod
    def shipped(cls) -> Library:
        """Return the directories that come with the lab."""
        return cls(
            topology_dirs=(paths.topologies(),),
            campaign_dirs=(paths.topologies() / "campaigns",),
            kernel_dirs=(paths.images() / "kernels",),
            scenario_sources=paths.scenarios(),
            config_dirs=(paths.images() / "config",),
            series_dirs=(paths.images() / "series",),
            report_dirs=(paths.reports(),),
        )

    def with_own(self, own: Own) -> Library:
        """Return the library with the user's directories too; InputError if one does not exist or has a name twice."""
        return replace(
            self,
            topology_dirs=(*self.topology_dirs, *own.directories("topologies", self.topologies())),
            campaign_dirs=(*self.campaign_dirs, *own.directories("campaigns", self.campaigns())),
            kernel_dirs=(*self.kernel_dirs, *own.directories("kernels", self.kernels())),
            scenario_sources=(*self.scenario_sources, *own.directories("scenarios", self.scenarios())),
            report_dirs=(*self.report_dirs, *own.directories("reports", self.reports())),
        )

    def with_programs(self, words: Iterable[str]) -> Library:
        """Return the library with C files as scenarios too; UsageError if one does not exist or its name is taken."""
        library = self
        for word in words:
            path = user_path(word).absolute()
            if not is_file(path):
                raise UsageError(f"--with {word}: expected a C file, got {instead_of_file(path)}")
            if path.suffix != ".c" or not _SCENARIO.fullmatch(path.stem):
                raise UsageError(f"--with {word}: expected a C file NAME.c, its NAME of letters, digits and _ + -")
            if other := library.scenarios().get(path.stem):
                raise UsageError(f"--with: {word} has the name of the scenario {other}", hint="rename it")
            library = replace(library, scenario_sources=(*library.scenario_sources, path))
        return library

    # Listings: name -> file.

    def topologies(self) -> Mapping[str, Path]:
        return _listing(self.topology_dirs, ".yaml")

    def campaigns(self) -> Mapping[str, Path]:
        return _listing(self.campaign_dirs, ".yaml")

    def kernels(self) -> Mapping[str, Path]:
        return _listing(self.kernel_dirs, ".yaml")

    def scenarios(self) -> Mapping[str, Path]:
        return _listing(self.scenario_sources, ".c")

    def reports(self) -> Mapping[str, Path]:
        return _listing(self.report_dirs, ".yaml")

    def configs(self) -> Mapping[str, Path]:
        return _listing(self.config_dirs, ".config")

    def series(self) -> Mapping[str, Path]:
        """Name -> directory, which holds one directory of patches per kernel version."""
        return _listing(self.series_dirs, "")

    # One of them, by name or path.

    def topology(self, word: str) -> Topology:
        """Return the topology with a name, or of a YAML file anywhere."""
        return self._topology(_file("topology", word, self.topologies()))

    def kernel(self, word: str) -> Kernel:
        """Return the kernel with a name, of a YAML file anywhere, or one that exists: `debian:linux-image-...`."""
        if is_prebuilt(word):
            return _existing_kernel(word)
        _refuse_source(word, self.kernels())
        return self._kernel(_file("kernel", word, self.kernels()))

    def report(self, word: str) -> ReportPlan:
        """Return the report with a name, or of a YAML file anywhere."""
        return self._report(_file("report", word, self.reports()))

    def scenario(self, word: str) -> Path:
        """Return the C source of a scenario."""
        return _file("scenario", word, self.scenarios())

    # Several of them, by names, globs and paths.

    def select_topologies(self, words: Iterable[str]) -> tuple[Topology, ...]:
        """Return every topology that the words match, once, in their order."""
        return self._several("topology", words, self.topologies(), self._topology)

    def select_kernels(self, words: Iterable[str]) -> tuple[Kernel, ...]:
        """Return every kernel that the words match, once, in their order."""
        kernels: list[Kernel] = []
        for word in words:
            if is_prebuilt(word):
                kernels.append(_existing_kernel(word))
            else:
                _refuse_source(word, self.kernels())
                kernels += self._several("kernel", [word], self.kernels(), self._kernel)
        return _unique("kernel", kernels)

    def select_reports(self, words: Iterable[str]) -> tuple[ReportPlan, ...]:
        """Return every report that the words match, once, in their order."""
        files: dict[Path, None] = {}
        for word in words:
            files |= dict.fromkeys(_files("report", word, self.reports()))
        names = [path.stem for path in files]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"two different report files are called {name!r}", hint="rename one of them")
        return tuple(map(self._report, files))

    def select_scenarios(self, words: Iterable[str]) -> tuple[Selection, ...]:
        """Return the scenarios that the words (`scenario`, `scenario.case`, globs of both) match."""
        return narrow_tests(tuple(words), _whole(self.scenarios()))

    # Campaigns.

    def plan(self, word: str, filters: Filters | None = None) -> Plan:
        """Return the plan of a campaign (a name or a path), narrowed by the command line's filters."""
        filters = filters or Filters()
        filters = replace(filters, tests=suite.words_of_tests(filters.tests, filters.suites))
        return replace(self._plan(word, filters), root="".join(filters.roots[:1]))

    def _plan(self, word: str, filters: Filters) -> Plan:
        if filters.suites and filters.programs:
            raise UsageError(
                "--suite replaces the scenarios, so --with would add nothing", hint="run them one after the other"
            )
        suites: dict[str, Suite] = {}
        for suite_word in filters.suites:
            parsed = suite.parse(suite_word)
            if suites.setdefault(parsed.name, parsed) != parsed:
                raise UsageError(
                    f"--suite {suite_word}: its results would have the same name as those of "
                    f"{suites[parsed.name].word}: {parsed.name}",
                    hint="run them one after the other",
                )
        library = self.with_programs(filters.programs)
        campaign = library.campaign(word, filters)
        if campaign.reports:
            return library._plan_of_reports(campaign, filters)
        if filters.reports:
            raise UsageError(f"--report: the campaign {campaign.spec.name} has no reports", hint="leave it out")
        campaign = campaign.on(filters)
        kernels = []
        for kernel in campaign.kernels:
            kernels.append(library._wishing(library.with_config(kernel, filters.config), suites.values()))
        planned = plan(
            campaign.spec,
            _booting(campaign.topologies, suites.values()),
            kernels,
            _whole(suites) or campaign.scenarios,
            filters,
            named=campaign.named,
            left_out=campaign.left_out,
        )
        return replace(planned, sources=library.scenario_sources, suites=tuple(suites.values()))

    def _plan_of_reports(self, campaign: Campaign, filters: Filters) -> Plan:
        if filters.programs or filters.suites:
            option = "--with" if filters.programs else "--suite"
            raise UsageError(f"{option}: a campaign of reports runs their programs and no others")
        others = self.select_kernels(_new(filters.kernels, [kernel.name for kernel in campaign.kernels]))
        kernels: dict[str, Kernel] = {}
        for kernel in _unique("kernel", [*campaign.kernels, *others]):
            kernels[kernel.name] = self.with_config(kernel, filters.config)
        names = [kernel.name for kernel in others]
        return plan_reports(campaign.spec, campaign.reports, kernels, filters, others=names)

    def with_config(self, kernel: Kernel, words: Sequence[str]) -> Kernel:
        """Return a kernel with more config fragments (names, paths), merged last; UsageError if one does not exist."""
        if words and kernel.prebuilt:
            raise UsageError(f"--config: nothing can be added to the kernel {kernel.name}, which is not built here")
        known = self.configs()
        fragments = dict.fromkeys(kernel.config)
        for word in words:
            if word not in known and not _is_config(word):
                raise unknown("config fragment", word, known)
            path = user_path(word)
            if word not in known and not is_file(path):
                raise UsageError(f"--config {word}: expected a file of config symbols, got {instead_of_file(path)}")
            fragments[_fragment(word, known)] = None
        return self._with_known(kernel.model_copy(update={"config": tuple(fragments)}))

    def _with_known(self, kernel: Kernel) -> Kernel:
        """Return a kernel with its known complaints, those of its config fragments, and those of all kernels."""
        configs = self.configs()
        known = dict.fromkeys(kernel.console_known)
        files = [configs[BASE]] if BASE in configs else []
        files += (configs.get(fragment, Path(fragment)) for fragment in kernel.fragments)
        for file in files:
            beside = file.with_suffix(KNOWN)
            if is_file(beside):
                known |= dict.fromkeys(read(beside).build(KnownComplaints).console_known)
        return kernel.model_copy(update={"console_known": tuple(known)})

    def for_suites(self, kernel: Kernel, words: Sequence[str]) -> Kernel:
        """Return a kernel with the optional config fragments of suites, in the words of --suite."""
        return self._wishing(kernel, map(suite.parse, words))

    def _wishing(self, kernel: Kernel, suites: Iterable[Suite]) -> Kernel:
        """Return a kernel with the optional config fragments of suites."""
        fragments = list(kernel.config)
        for wished in suites:
            fragments += wished.fragments
        return self._with_known(kernel.model_copy(update={"config": tuple(fragments)}))

    def campaign(self, word: str, filters: Filters | None = None) -> Campaign:
        """Return a campaign with all that it names. A filter that matches nothing in it adds other parts."""
        filters = filters or Filters()
        document = read(_file("campaign", word, self.campaigns()))
        spec = document.build(CampaignSpec)
        if spec.reports:
            return self._campaign_of_reports(document, spec, filters)
        topologies, left_out = self._machines(document, spec)
        kernels = _all(document, "kernels", spec.kernels, self.select_kernels)
        scenarios = _all(document, "scenarios", spec.scenarios, self.select_scenarios)
        if not filters.suites:
            scenarios += self._new_scenarios(filters.tests, scenarios)
        added = self.select_topologies(_new(filters.topologies, _names(topologies)))
        return Campaign(
            spec=spec,
            topologies=_unique("topology", [*topologies, *added]),
            named=frozenset(map(_name_of, (*spec.topologies, *filters.topologies))),
            left_out=_without(left_out, _names(added)),
            kernels=_unique("kernel", [*kernels, *self.select_kernels(_new(filters.kernels, _names(kernels)))]),
            scenarios=merge_selections(scenarios),
        )

    def _campaign_of_reports(self, document: YamlDocument, spec: CampaignSpec, filters: Filters) -> Campaign:
        """Return a campaign of reports; those that --report names in place of its own, if it names any."""
        if filters.reports:
            reports = self.select_reports(filters.reports)
        else:
            reports = tuple(_all(document, "reports", spec.reports, self.select_reports))
        topologies: list[Topology] = []
        kernels: list[Kernel] = []
        for report in reports:
            topologies += report.topologies
            kernels += [*report.kernels, *report.fixed_by]
        return Campaign(
            spec=spec,
            topologies=_unique("topology", topologies),
            kernels=_unique("kernel", kernels),
            scenarios=(),
            reports=reports,
        )

    def _new_scenarios(self, tests: Iterable[str], present: Sequence[Selection]) -> tuple[Selection, ...]:
        """Return the scenarios of the --test words that match nothing present."""
        names = [selection.scenario for selection in present]
        new = []
        for test in tests:
            if not any(_scenario_of(test, name) for name in names):
                new.append(test)
        if not new:
            return ()  # select_scenarios takes no words for all scenarios
        return self.select_scenarios(new)

    def _machines(self, document: YamlDocument, spec: CampaignSpec) -> tuple[list[Topology], list[Skipped]]:
        """Return the topologies of a campaign, and those that its globs match but its `nodes` or `one_per` excludes."""
        chosen: list[Topology] = []
        left_out: list[Skipped] = []
        for index, word in enumerate(spec.topologies):
            exact = is_path(word) or word in self.topologies()
            for topology in _select(document, ("topologies", index), word, self.select_topologies):
                if topology in chosen:
                    continue
                why = _unwanted(spec, topology, chosen)
                if why and exact:
                    raise document.error(("topologies", index), f"{topology.name} cannot be in this campaign: {why}")
                if why:
                    left_out.append(Skipped(what=topology.name, reason=why))
                else:
                    chosen.append(topology)
        return chosen, list(dict.fromkeys(left_out))

    def _topology(self, path: Path) -> Topology:
        document = read(path)
        topology = document.build(Topology)
        fragments = self._fragments(document, "kernel_config", topology.kernel_config)
        known = self.scenarios()
        for index, word in enumerate(topology.scenarios or ()):
            if not any(fnmatchcase(name, word) for name in known):
                where = _place(document, "scenarios", index)
                raise document.error(where, f"no scenario {word!r}", nearest=nearest(word, known))
        return topology.model_copy(update={"kernel_config": fragments})

    def _kernel(self, path: Path) -> Kernel:
        """Return a kernel with absolute paths; relative ones are relative to the kernel's own file."""
        document = read(path)
        kernel = document.build(Kernel)
        resolved: dict[str, Any] = {
            "source": _source(document, kernel.source),
            "config": self._fragments(document, "config", kernel.config),
        }
        if kernel.series is not None:
            resolved["series"] = self._stack(document, kernel.series)
        return self._with_known(kernel.model_copy(update=resolved))

    def _report(self, path: Path) -> ReportPlan:
        """Return a report with all that it names; words that are paths are relative to its file."""
        document = read(path)
        report = document.build(Report)
        program = document.path.parent / f"{report.name}.c"
        if report.program is not None:
            program = _existing(document, ("program",), report.program, "a C file", Path.is_file)
        elif not program.is_file():
            raise document.error((), f"expected its program beside it, got nothing there: {program}")
        if program.suffix != ".c":
            raise document.error(("program",), f"expected a C file (*.c), got {program.name}")
        sides: dict[str, tuple[Topology, ...]] = {}
        for name, side in (("shows", report.shows), ("healthy", report.healthy)):
            machines = _all(document, (name, "topologies"), side.topologies, self.select_topologies)
            sides[name] = _unique("topology", machines)
        for topology in sides["healthy"]:
            if topology in sides["shows"]:
                raise document.error(("healthy", "topologies"), f"{topology.name} is a machine of `shows`, too")
        kernels = _all(document, "kernels", report.kernels, self.select_kernels)
        fixed_by = _all(document, "fixed_by", report.fixed_by, self.select_kernels)
        return ReportPlan(
            report=report,
            path=path,
            program=program.resolve(),
            shows=sides["shows"],
            healthy=sides["healthy"],
            kernels=_unique("kernel", kernels),
            fixed_by=_unique("kernel", fixed_by),
        )

    def _fragments(self, document: YamlDocument, key: str, words: tuple[str, ...]) -> tuple[str, ...]:
        """Resolve config fragments: names of the library stay names, files become absolute paths."""
        known = self.configs()
        fragments = []
        for index, word in enumerate(words):
            where = _place(document, key, index)
            if word in known:
                fragments.append(word)
            elif _is_config(word):
                fragments.append(str(_existing(document, where, word, "a file of config symbols", Path.is_file)))
            else:
                choices = f"{', '.join(known) or 'none'}, or a path of a .config file"
                raise document.error(
                    where, f"no config fragment {word!r}, expected one of {choices}", nearest=nearest(word, known)
                )
        return tuple(fragments)

    def _stack(self, document: YamlDocument, words: str) -> str:
        """Resolve one series, or several joined by JOINT."""
        names = []
        for index, name in enumerate(words.split(JOINT)):
            names.append(self._series(document, _place(document, "series", index), name))
        return JOINT.join(names)

    def _series(self, document: YamlDocument, where: tuple[str | int, ...], word: str) -> str:
        """Resolve a series: a name of the library stays; a patch, mailbox or directory becomes an absolute path."""
        known = self.series()
        beside = _exists(document.path.parent / word)
        if word in known and not beside:
            return word
        if "/" in word or word.endswith((".patch", ".diff", ".mbox")) or beside:
            return str(_existing(document, where, word, "a patch or a directory of patches", Path.exists))
        choices = f"{', '.join(known) or 'none'}, or a path"
        raise document.error(where, f"no series {word!r}, expected one of {choices}", nearest=nearest(word, known))

    @staticmethod
    def _several(
        kind: str, words: Iterable[str], known: Mapping[str, Path], load: Callable[[Path], Named]
    ) -> tuple[Named, ...]:
        files: dict[Path, None] = {}
        for word in words:
            files |= dict.fromkeys(_files(kind, word, known))
        return _unique(kind, list(map(load, files)))


def _listing(directories: Sequence[Path], suffix: str) -> Mapping[str, Path]:
    """Return name -> path of the files with a suffix in the directories; without a suffix, of their subdirectories."""
    listing: dict[str, Path] = {}
    for directory in directories:
        entries = [directory]
        if directory.is_dir():
            entries = sorted(directory.iterdir())
        for path in entries:
            if path.name.startswith((".", "_")) or path.name.endswith(KNOWN):
                continue
            if suffix and path.suffix == suffix and path.is_file():
                listing.setdefault(path.stem, path)
            elif not suffix and path.is_dir():
                listing.setdefault(path.name, path)
    return dict(sorted(listing.items()))


def _place(document: YamlDocument, key: str, index: int) -> tuple[str | int, ...]:
    """Return where an entry of a key is in its file: the key may have a list, or a single string of words."""
    if isinstance(document.data.get(key), list):
        return (key, index)
    return (key,)


def _file(kind: str, word: str, known: Mapping[str, Path]) -> Path:
    """Return the file of an exact name or a path."""
    if is_path(word):
        return user_path(word)
    if word not in known:
        raise unknown(kind, word, known)
    return known[word]


def _files(kind: str, word: str, known: Mapping[str, Path]) -> list[Path]:
    """Return the files of a name, a glob or a path; UsageError if there are none."""
    if is_path(word) or word in known:
        return [_file(kind, word, known)]
    hits = [path for name, path in known.items() if fnmatchcase(name, word)]
    if not hits:
        raise unknown(kind, word, known)
    return hits


def _all(
    document: YamlDocument,
    key: str | tuple[str, ...],
    words: tuple[str, ...],
    select: Callable[[Iterable[str]], tuple[Any, ...]],
) -> list[Any]:
    """Select with every word of a key of a campaign or report, which may be the key of a mapping within it."""
    where = (key,) if isinstance(key, str) else key
    selected: list[Any] = []
    for index, word in enumerate(words):
        selected += _select(document, (*where, index), word, select)
    return selected


def _select(
    document: YamlDocument, where: tuple[str | int, ...], word: str, select: Callable[[Iterable[str]], tuple[Any, ...]]
) -> tuple[Any, ...]:
    """Select with one word of a campaign or report; if it matches nothing, the error names its line of the file."""
    if word.startswith(IMAGE):
        file = _existing(document, where, word.removeprefix(IMAGE), BOOTABLE, Path.is_file)
        word = f"{IMAGE}{file}"
    elif is_path(word):
        word = str(_existing(document, where, word, "a YAML file", Path.is_file))
    try:
        return select([word])
    except InputError:
        raise
    except UsageError as error:
        raise document.error(where, str(error)) from None


def _unwanted(spec: CampaignSpec, topology: Topology, chosen: Sequence[Topology]) -> str:
    """Return why a campaign that selects by property leaves a machine out; empty if it does not."""
    nodes = node_count(topology)
    if spec.nodes and not spec.nodes[0] <= nodes <= spec.nodes[1]:
        return f"the campaign wants nodes: {format_range(spec.nodes)}"
    for other in chosen:
        if spec.one_per and all(getattr(other, name) == getattr(topology, name) for name in spec.one_per):
            return f"one_per: {' '.join(spec.one_per)}, and there is {other.name}"
    return ""


def _distinct(models: Iterable[Named]) -> list[Named]:
    """Return equal models once (those with dictionaries cannot be hashed)."""
    distinct: list[Named] = []
    for model in models:
        if model not in distinct:
            distinct.append(model)
    return distinct


def _unique(kind: str, models: Sequence[Named]) -> tuple[Named, ...]:
    """Return each model once; UsageError if two different ones have one name, since results are stored by name."""
    distinct = _distinct(models)
    names = _names(distinct)
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two different {kind} files are called {name!r}", hint="rename one of them")
    return tuple(distinct)


def _names(models: Iterable[Named]) -> list[str]:
    return [model.name for model in models]


def _name_of(word: str) -> str:
    """Return the name that a word of the command line gives: of a path, that of the file."""
    if is_path(word):
        return Path(word).stem
    return word


def _whole(names: Iterable[str]) -> tuple[Selection, ...]:
    """Return the selections of scenarios with all their cases."""
    return tuple(Selection(scenario=name) for name in names)


def _without(skipped: Iterable[Skipped], names: Sequence[str]) -> tuple[Skipped, ...]:
    """Return what is skipped, but for some machines by name."""
    return tuple(entry for entry in skipped if entry.what not in names)


def _new(words: Sequence[str], present: Sequence[str]) -> list[str]:
    """Return the words that match none of the names that are present, and every path."""
    new = []
    for word in words:
        if is_path(word) or not any(matches(word, name) for name in present):
            new.append(word)
    return new


def _booting(topologies: Iterable[Topology], suites: Iterable[Suite]) -> list[Topology]:
    """Return machines with the words of suites on their kernels' command line."""
    words = suite.command_line(suites)
    machines: list[Topology] = []
    for topology in topologies:
        machines.append(topology.model_copy(update={"cmdline": (*topology.cmdline, *words)}) if words else topology)
    return machines


def _fragment(word: str, known: Collection[str]) -> str:
    """Return a known name of a config fragment as it is, and a path made absolute."""
    if word in known:
        return word
    return str(user_path(word).absolute())


def _is_config(word: str) -> bool:
    """Whether a word is the path of a file of config symbols and not a name."""
    return "/" in word or word.endswith(".config")


def _scenario_of(test: str, name: str) -> bool:
    return fnmatchcase(name, test.partition(".")[0])


def _refuse_source(word: str, known: Collection[str]) -> None:
    """Raise UsageError for a word that says where a kernel comes from, and is not one that names a kernel by itself."""
    kind, colon, rest = word.partition(":")
    if word in known:
        return
    if colon and kind in SOURCES:
        hint = f"a YAML file with `source: {word}`"
        if kind == "debian" and not rest.startswith("linux-source"):
            hint = f"packages that are kernels begin with {PACKAGE}"
        why = kernel_packages.refusal(rest) if kind == "debian" else ""
        raise UsageError(f"{word!r} names no kernel by itself{why and f': {why}'}", hint=hint)
    if colon and "/" not in kind:
        near = did_you_mean(f"{kind}:", [IMAGE, "debian:"])
        raise UsageError(
            f"{word!r} names no kernel{near}", hint=f"a kernel that exists is {IMAGE}FILE or {PACKAGE}NAME"
        )
    path = user_path(word)
    if is_path(word) and is_file(path) and b"\0" in _head(path):
        raise UsageError(f"{word} is no YAML file", hint=f"if it is a bootable kernel: {IMAGE}{word}")


def _head(path: Path) -> bytes:
    """Return the first bytes of a file; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(4096)
    except OSError:
        return b""


def _existing_kernel(word: str) -> Kernel:
    """Return the kernel that a word of the command line names by its source."""
    source = absolute_word(word)
    if source.startswith(IMAGE) and not is_file(path := Path(source.removeprefix(IMAGE))):
        raise UsageError(f"{word}: expected {BOOTABLE}, got {instead_of_file(path)}")
    try:
        return Kernel(name=prebuilt_name(word), source=source, description=f"as it is: {word}")
    except ValidationError as error:
        why = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise UsageError(f"{word!r} names no kernel: {why}") from None


def _source(document: YamlDocument, source: str) -> str:
    """Return a kernel's source with an absolute path; InputError if it does not exist, before anything is built."""
    kind, _, rest = source.partition(":")
    where = ("source",)
    if kind == "path":
        return f"path:{_existing(document, where, rest, 'a directory with a kernel tree', Path.is_dir)}"
    if kind == "tarball":
        return f"tarball:{_existing(document, where, rest, 'a tarball', Path.is_file)}"
    if kind == "image":
        return f"image:{_existing(document, where, rest, BOOTABLE, Path.is_file)}"
    if kind == "git":
        path, _, rev = rest.rpartition("@")
        return f"git:{_existing(document, where, path, 'a git repository', Path.is_dir)}@{rev}"
    return source


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # no file can have such a name
        return False


def _existing(
    document: YamlDocument, where: tuple[str | int, ...], word: str, what: str, fits: Callable[[Path], bool]
) -> Path:
    """Return the absolute path of something that a file names relative to itself; InputError if it does not exist."""
    try:
        path = (document.path.parent / user_path(word)).resolve()
        there = fits(path)
    except OSError as error:  # a name that is too long, say
        raise document.error(where, f"expected {what}: {error.strerror}") from None
    except RuntimeError:  # a loop of links
        raise document.error(where, f"expected {what}, got a loop of symbolic links: {word!r}") from None
    if not there:
        near, got = nearest(path.name, _entries(path.parent)), "nothing there"
        if path.exists():
            near, got = None, "a directory" if path.is_dir() else "something else"
        raise document.error(where, f"expected {what}, got {got}: {path}", nearest=near)
    return path


def _entries(directory: Path) -> list[str]:
    """Return the names in a directory; none if there is no such directory."""
    if not directory.is_dir():
        return []
    return [entry.name for entry in directory.iterdir()]

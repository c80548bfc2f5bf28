# SPDX-License-Identifier: GPL-2.0-or-later
"""Names -> files: what there is to choose from, by directory listing, and what a campaign's words mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

from lab.core import paths
from lab.core.errors import InputError, UsageError, nearest, unknown
from lab.core.paths import is_path, user_path
from lab.specs import suite
from lab.specs.load import YamlDocument, read
from lab.specs.model import JOINT, CampaignSpec, Kernel, Spec, Topology, format_range
from lab.specs.plan import Filters, Plan, Selection, Skipped, matches, merge_selections, narrow_tests, node_count, plan
from lab.specs.settings import Own

Named = TypeVar("Named", Topology, Kernel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A campaign with everything that its words, and those of the command line, mean."""

    spec: CampaignSpec
    topologies: tuple[Topology, ...]
    kernels: tuple[Kernel, ...]
    scenarios: tuple[Selection, ...]
    named: frozenset[str] = frozenset()
    """The topologies that were asked for by name or path, not by a glob."""
    left_out: tuple[Skipped, ...] = ()
    """Topologies that a glob means and the campaign's `nodes` or `one_per`, or the environment, leaves out."""

    def on(self, filters: Filters) -> Campaign:
        """Of the machines only those of the architectures that the environment names, and those asked for by hand."""
        asked = [each for each in self.topologies if not filters.arches or each.arch in filters.arches]
        asked += [each for each in self.topologies if any(matches(word, each.name) for word in filters.topologies)]
        left = tuple(
            Skipped(what=each.name, reason=f"ARCH in the environment means {', '.join(filters.arches)}")
            for each in self.topologies
            if each not in asked
        )
        kept = tuple(each for each in self.topologies if each in asked)
        return replace(self, topologies=kept, left_out=(*self.left_out, *left))


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """Directories to choose from, in order; where two have a file of one name, the first one's counts."""

    topology_dirs: tuple[Path, ...]
    campaign_dirs: tuple[Path, ...]
    kernel_dirs: tuple[Path, ...]
    scenario_sources: tuple[Path, ...]
    """Directories, and single C files."""
    config_dirs: tuple[Path, ...]
    series_dirs: tuple[Path, ...]

    @classmethod
    def shipped(cls) -> Library:
        """What comes with the lab."""
        return cls(
            topology_dirs=(paths.topologies(),),
            campaign_dirs=(paths.topologies() / "campaigns",),
            kernel_dirs=(paths.images() / "kernels",),
            scenario_sources=paths.scenarios(),
            config_dirs=(paths.images() / "config",),
            series_dirs=(paths.images() / "series",),
        )

    def with_own(self, own: Own) -> Library:
        """With the user's directories besides; InputError for one that is none, or that has a name twice."""
        return replace(
            self,
            topology_dirs=(*self.topology_dirs, *own.directories("topologies", self.topologies())),
            campaign_dirs=(*self.campaign_dirs, *own.directories("campaigns", self.campaigns())),
            kernel_dirs=(*self.kernel_dirs, *own.directories("kernels", self.kernels())),
            scenario_sources=(*self.scenario_sources, *own.directories("scenarios", self.scenarios())),
        )

    def with_programs(self, words: Iterable[str]) -> Library:
        """With C files of the user's as scenarios besides; UsageError for one that is none, or whose name is taken."""
        found = self
        for word in words:
            path = user_path(word).absolute()
            if path.suffix != ".c" or not path.is_file():
                raise UsageError(f"--with: expected a C file, got {'a ' if path.exists() else 'nothing there: '}{word}")
            if other := found.scenarios().get(path.stem):
                raise UsageError(f"--with: {word} has the name of the scenario {other}", hint="rename it")
            found = replace(found, scenario_sources=(*found.scenario_sources, path))
        return found

    # What there is: name -> file.

    def topologies(self) -> Mapping[str, Path]:
        return _listing(self.topology_dirs, ".yaml")

    def campaigns(self) -> Mapping[str, Path]:
        return _listing(self.campaign_dirs, ".yaml")

    def kernels(self) -> Mapping[str, Path]:
        return _listing(self.kernel_dirs, ".yaml")

    def scenarios(self) -> Mapping[str, Path]:
        return _listing(self.scenario_sources, ".c")

    def configs(self) -> Mapping[str, Path]:
        return _listing(self.config_dirs, ".config")

    def series(self) -> Mapping[str, Path]:
        """Name -> directory, which holds one directory of patches per kernel version."""
        return _listing(self.series_dirs, "")

    # One of them, by name or path.

    def topology(self, word: str) -> Topology:
        """The topology of a name or of a YAML file anywhere."""
        return self._topology(_one("topology", word, self.topologies()))

    def kernel(self, word: str) -> Kernel:
        """The kernel of a name or of a YAML file anywhere."""
        return self._kernel(_one("kernel", word, self.kernels()))

    def scenario(self, word: str) -> Path:
        """The C source of a scenario's name."""
        return _one("scenario", word, self.scenarios())

    # Several of them, by names, globs and paths.

    def select_topologies(self, words: Iterable[str]) -> tuple[Topology, ...]:
        """Every topology that the words mean, each once, in their order."""
        return self._several("topology", words, self.topologies(), self._topology)

    def select_kernels(self, words: Iterable[str]) -> tuple[Kernel, ...]:
        """Every kernel that the words mean, each once, in their order."""
        return self._several("kernel", words, self.kernels(), self._kernel)

    def select_scenarios(self, words: Iterable[str]) -> tuple[Selection, ...]:
        """The scenarios that the words (`scenario`, `scenario.case`, globs of both) mean."""
        everything = [Selection(scenario=name) for name in self.scenarios()]
        return narrow_tests(tuple(words), everything)

    # Campaigns.

    def plan(self, word: str, filters: Filters | None = None) -> Plan:
        """The plan of a campaign (a name or a path), narrowed by the command line's filters."""
        filters = filters or Filters()
        if filters.suites and filters.programs:
            raise UsageError("--suite is run in place of scenarios, so --with adds nothing", hint="run them apart")
        chosen = {one.name: one for one in map(suite.parse, filters.suites)}
        wishes = tuple(fragment for one in chosen.values() for fragment in one.fragments)
        library = self.with_programs(filters.programs)
        campaign = library.campaign(word, filters).on(filters)
        planned = plan(
            campaign.spec,
            campaign.topologies,
            [_wishing(library.with_config(kernel, filters.config), wishes) for kernel in campaign.kernels],
            [Selection(scenario=name) for name in chosen] or campaign.scenarios,
            filters,
            named=campaign.named,
            left_out=campaign.left_out,
        )
        return replace(planned, sources=library.scenario_sources, suites=tuple(chosen.values()))

    def with_config(self, kernel: Kernel, words: Sequence[str]) -> Kernel:
        """A kernel with further config fragments, by name or path, merged last; UsageError for one that is none."""
        known = self.configs()
        for word in words:
            if word not in known and not _is_config(word):
                raise unknown("config fragment", word, known)
            if word not in known and not user_path(word).is_file():
                raise UsageError(f"--config: expected a file of config symbols, got nothing: {word}")
        found = (word if word in known else str(user_path(word).absolute()) for word in words)
        return kernel.model_copy(update={"config": tuple(dict.fromkeys((*kernel.config, *found)))})

    def campaign(self, word: str, filters: Filters | None = None) -> Campaign:
        """A campaign and all it names. A filter that means nothing in it adds what it means in the library."""
        filters = filters or Filters()
        document = read(_one("campaign", word, self.campaigns()))
        spec = document.build(CampaignSpec)
        topologies, left_out = self._machines(document, spec)
        kernels = _all(document, "kernels", spec.kernels, self.select_kernels)
        scenarios = _all(document, "scenarios", spec.scenarios, self.select_scenarios)
        names = [each.scenario for each in scenarios]
        new_tests = [test for test in filters.tests if not any(_scenario_of(test, name) for name in names)]
        new_tests = [] if filters.suites else new_tests
        added = self.select_topologies(_new(filters.topologies, topologies))
        words = (*spec.topologies, *filters.topologies)
        return Campaign(
            spec=spec,
            topologies=_unique("topology", [*topologies, *added]),
            named=frozenset(Path(word).stem if is_path(word) else word for word in words),
            left_out=tuple(each for each in left_out if each.what not in {one.name for one in added}),
            kernels=_unique("kernel", [*kernels, *self.select_kernels(_new(filters.kernels, kernels))]),
            scenarios=merge_selections([*scenarios, *(self.select_scenarios(new_tests) if new_tests else ())]),
        )

    def _machines(self, document: YamlDocument, spec: CampaignSpec) -> tuple[list[Topology], list[Skipped]]:
        """The topologies of a campaign, and those that its `nodes` and `one_per` leave out of what its globs mean."""
        chosen: list[Topology] = []
        left: list[Skipped] = []
        for index, word in enumerate(spec.topologies):
            exact = is_path(word) or word in self.topologies()
            for topology in _each(document, ("topologies", index), word, self.select_topologies):
                why = "" if topology in chosen else _unwanted(spec, topology, chosen)
                if why and exact:
                    raise document.error(("topologies", index), f"{topology.name} cannot be in this campaign: {why}")
                if why:
                    left.append(Skipped(what=topology.name, reason=why))
                elif topology not in chosen:
                    chosen.append(topology)
        return chosen, list(dict.fromkeys(left))

    def _topology(self, path: Path) -> Topology:
        document = read(path)
        topology = document.build(Topology)
        fragments = self._fragments(document, "kernel_config", topology.kernel_config)
        listed, known = isinstance(document.data.get("scenarios"), list), self.scenarios()
        for index, word in enumerate(topology.scenarios or ()):
            if not any(fnmatchcase(name, word) for name in known):
                where = ("scenarios", index) if listed else ("scenarios",)
                raise document.error(where, f"no scenario {word!r}", nearest=nearest(word, known))
        return topology.model_copy(update={"kernel_config": fragments})

    def _kernel(self, path: Path) -> Kernel:
        """A kernel whose paths are absolute; relative ones are relative to the kernel's own file."""
        document = read(path)
        kernel = document.build(Kernel)
        found: dict[str, Any] = {
            "source": _source(document, kernel.source),
            "config": self._fragments(document, "config", kernel.config),
        }
        if kernel.series is not None:
            found["series"] = self._stack(document, kernel.series)
        return kernel.model_copy(update=found)

    def _fragments(self, document: YamlDocument, key: str, words: tuple[str, ...]) -> tuple[str, ...]:
        """Config fragments: the library's names stay names, files become absolute paths."""
        known = self.configs()
        listed = isinstance(document.data.get(key), list)
        found = []
        for index, word in enumerate(words):
            where = (key, index) if listed else (key,)
            if word in known:
                found.append(word)
            elif _is_config(word):
                found.append(str(_existing(document, where, word, "a file of config symbols", Path.is_file)))
            else:
                choices = f"{', '.join(known) or 'none'}, or a path of a .config file"
                raise document.error(
                    where, f"no config fragment {word!r}, expected one of {choices}", nearest=nearest(word, known)
                )
        return tuple(found)

    def _stack(self, document: YamlDocument, words: str) -> str:
        """One series or several."""
        listed = isinstance(document.data.get("series"), list)
        names = enumerate(words.split(JOINT))
        return JOINT.join(
            self._series(document, ("series", number) if listed else ("series",), name) for number, name in names
        )

    def _series(self, document: YamlDocument, where: tuple[str | int, ...], word: str) -> str:
        """A series: the library's name stays a name; a patch, mailbox or directory of them an absolute path."""
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
        paths = dict.fromkeys(path for word in words for path in _files(kind, word, known))
        return _unique(kind, [load(path) for path in paths])


def _listing(directories: Sequence[Path], suffix: str) -> Mapping[str, Path]:
    """Name -> path of everything in the directories with this suffix; with no suffix: the directories in them."""
    found: dict[str, Path] = {}
    for directory in directories:
        entries = sorted(directory.iterdir()) if directory.is_dir() else [directory]
        for path in entries:
            fits = path.suffix == suffix and path.is_file() if suffix else path.is_dir()
            if fits and not path.name.startswith((".", "_")):
                found.setdefault(path.stem if suffix else path.name, path)
    return dict(sorted(found.items()))


def _one(kind: str, word: str, known: Mapping[str, Path]) -> Path:
    """The file of an exact name or a path."""
    if is_path(word):
        return user_path(word)
    if word not in known:
        raise unknown(kind, word, known)
    return known[word]


def _files(kind: str, word: str, known: Mapping[str, Path]) -> list[Path]:
    """The files of a name, a glob or a path; UsageError when there are none."""
    if is_path(word) or word in known:
        return [_one(kind, word, known)]
    hits = [path for name, path in known.items() if fnmatchcase(name, word)]
    if not hits:
        raise unknown(kind, word, known)
    return hits


def _all(
    document: YamlDocument, key: str, words: tuple[str, ...], select: Callable[[Iterable[str]], tuple[Any, ...]]
) -> list[Any]:
    """What a campaign's words mean."""
    return [each for index, word in enumerate(words) for each in _each(document, (key, index), word, select)]


def _each(
    document: YamlDocument, where: tuple[str, int], word: str, select: Callable[[Iterable[str]], tuple[Any, ...]]
) -> tuple[Any, ...]:
    """What one of a campaign's words means; one that means nothing is an error of that line of the campaign's file."""
    meant = str(_existing(document, where, word, "a YAML file", Path.is_file)) if is_path(word) else word
    try:
        return select([meant])
    except InputError:
        raise
    except UsageError as error:
        raise document.error(where, str(error)) from None


def _unwanted(spec: CampaignSpec, topology: Topology, chosen: Sequence[Topology]) -> str:
    """Why a campaign that selects by property leaves a machine out; empty when it does not."""
    nodes = node_count(topology)
    if spec.nodes and not spec.nodes[0] <= nodes <= spec.nodes[1]:
        return f"the campaign wants nodes: {format_range(spec.nodes)}"
    for other in chosen if spec.one_per else ():
        if all(getattr(other, name) == getattr(topology, name) for name in spec.one_per):
            return f"one_per: {' '.join(spec.one_per)}, and there is {other.name}"
    return ""


def _distinct(found: Iterable[Named]) -> list[Named]:
    """Equal ones once (models with dictionaries cannot be hashed)."""
    kept: list[Named] = []
    for each in found:
        if each not in kept:
            kept.append(each)
    return kept


def _unique(kind: str, found: Sequence[Named]) -> tuple[Named, ...]:
    """The same, each once; UsageError when two different ones have one name, since results are filed by name."""
    kept = _distinct(found)
    names = [each.name for each in kept]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two different {kind} files are called {name!r}", hint="rename one of them")
    return tuple(kept)


def _new(words: Sequence[str], present: Sequence[Spec]) -> list[str]:
    """The words that mean nothing among what is present. Paths are always looked at."""
    names = [str(getattr(each, "name", "")) for each in present]
    return [word for word in words if is_path(word) or not any(matches(word, name) for name in names)]


def _wishing(kernel: Kernel, fragments: tuple[str, ...]) -> Kernel:
    """A kernel with what suites wish of its configuration."""
    return kernel.model_copy(update={"config": (*kernel.config, *fragments)}) if fragments else kernel


def _is_config(word: str) -> bool:
    """Whether a word is the path of a file of config symbols and not a name."""
    return "/" in word or word.endswith(".config")


def _scenario_of(test: str, name: str) -> bool:
    return fnmatchcase(name, test.partition(".")[0])


def _source(document: YamlDocument, source: str) -> str:
    """A kernel's source with its path made absolute; what is not there is an error now, not after a long build."""
    kind, _, rest = source.partition(":")
    where = ("source",)
    if kind == "path":
        return f"path:{_existing(document, where, rest, 'a directory with a kernel tree', Path.is_dir)}"
    if kind == "tarball":
        return f"tarball:{_existing(document, where, rest, 'a tarball', Path.is_file)}"
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
    """The absolute path of something that a file names relative to itself."""
    try:
        path = (document.path.parent / user_path(word)).resolve()
        there = fits(path)
    except OSError as error:  # a name that is too long, say
        raise document.error(where, f"expected {what}: {error.strerror}") from None
    except RuntimeError:  # a loop of links
        raise document.error(where, f"expected {what}, and {word!r} leads nowhere") from None
    if not there:
        near = nearest(path.name, [each.name for each in path.parent.iterdir()]) if path.parent.is_dir() else None
        got = "something else" if path.exists() else "nothing there"
        raise document.error(where, f"expected {what}, got {got}: {path}", nearest=near)
    return path

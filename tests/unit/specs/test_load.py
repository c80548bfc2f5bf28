# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/specs/load.py, library.py: what is wrong in a file is one line with file, line, key, expectation, nearest match.

tests/golden/load holds wrong files, by what they should describe; messages.txt beside them has the line each one
gives. After adding a file: `PAGELAB_REGENERATE=1 pytest tests/unit/test_load.py`, then read the difference.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.core.errors import InputError, UsageError
from lab.core.paths import absolute_word
from lab.specs.library import Campaign, Library
from lab.specs.load import MAX_BYTES, read, spell
from lab.specs.model import Topology
from lab.specs.plan import Filters, Selection

GOLDEN = Path(__file__).parents[2] / "golden/load"
WRONG = sorted(path.relative_to(GOLDEN) for path in GOLDEN.glob("*/*.yaml"))
NODES = """\
arch: x86_64
page_size: 4K
vcpus: 2
numa: [{cpus: 0, memory: 256M}, {cpus: 1, memory: 256M}]
"""
PLAIN = "arch: arm64\npage_size: 64K\nmemory: 512M\n"
CAMPAIGN = "topologies: [two-nodes, one-node]\nkernels: [plain, patched]\n"


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """A small library of its own, so that what is shipped can change."""
    files = {
        "topologies/two-nodes.yaml": NODES,
        "topologies/one-node.yaml": PLAIN,
        "topologies/other-node.yaml": PLAIN,
        "campaigns/pair.yaml": CAMPAIGN,
        "kernels/plain.yaml": "source: debian:linux-source-6.12\n",
        "kernels/patched.yaml": "source: debian:linux-source-6.12\nseries: expand-fault\nprovides: [shm-expand]\n",
        "scenarios/expand.c": "",
        "scenarios/fork.c": "",
        "scenarios/lab.h": "",
        "config/debug-vm.config": "CONFIG_DEBUG_VM=y\n",
        "series/expand-fault/6.12/0001-x.patch": "",
    }
    return library_of(tmp_path, files)


def library_of(root: Path, files: Mapping[str, str]) -> Library:
    """A library of files, by their path below its root."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return library_in(root)


def library_in(root: Path) -> Library:
    return Library(
        topology_dirs=(root / "topologies",),
        campaign_dirs=(root / "campaigns",),
        kernel_dirs=(root / "kernels",),
        scenario_sources=(root / "scenarios",),
        config_dirs=(root / "config",),
        series_dirs=(root / "series",),
    )


def failure(work: Callable[[], object]) -> UsageError:
    with pytest.raises(UsageError) as caught:
        work()
    return caught.value


def golden_messages(library: Library) -> str:
    """A line for every wrong file, as `lab` would print it, with paths relative to the golden directory."""
    loaders: dict[str, Callable[[str], object]] = {
        "topology": library.topology,
        "kernel": library.kernel,
        "campaign": library.campaign,
        "report": library.report,
    }
    lines = []
    for name in WRONG:
        error = failure(partial(loaders[name.parts[0]], str(GOLDEN / name)))
        assert isinstance(error, InputError), f"{name}: {error}"
        lines.append(str(error).replace(f"{GOLDEN}/", ""))
    return "\n".join(lines) + "\n"


def test_every_wrong_file_has_its_line(library: Library) -> None:
    messages = golden_messages(library)
    expected = GOLDEN / "messages.txt"
    if os.environ.get("PAGELAB_REGENERATE"):
        expected.write_text(messages)
    assert messages.splitlines() == expected.read_text().splitlines()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"arch: x86_64\nmemory: \xff", ":2: expected UTF-8 text, got the byte 0xff"),
        (b"arch: x86_64\n\nmemory: \x00", ":3: expected text, got the character 0x0"),
        (b"# " + b"x" * MAX_BYTES, "expected at most 256 KiB"),
        (b"[" * 100_000, "nested more than 16 deep"),
        (b"a: " + b"9" * 10_000, "unknown key"),
        (b"a: " * 1000, "not YAML: mapping values are not allowed here: does a value with `: ` in it lack quotes"),
        (
            b"arch: @arm64\n",
            ":1: not YAML: found character '@' that cannot start any token while scanning for the next",
        ),
        (b"arch: @arm64\n", "a value that begins with it needs quotes"),
        (b"arch:\tarm64\n", ":1: not YAML: found character '\\t'"),
        (b"arch: arm64\nmemory\nvcpus: 1\n", "is a key without `: ` behind it?"),
        (b"ARCH: arm64\n", "did you mean 'arch'?"),
        (b"arch:\n", "arch: expected the name of an architecture, got nothing"),
        (b"arch: arm64\nvcpus: '4'\n", ":2: vcpus: expected a whole number without quotes, got '4'"),
        (b"arch: arm64\nvcpus: 'x'\n", ":2: vcpus: expected a whole number, got 'x'"),
        (b"arch: arm64\nsparse: 'true'\n", ":2: sparse: expected true or false without quotes, got 'true'"),
        (b"arch: arm64\nsparse: yes\n", ":2: sparse: expected true or false, got 'yes'"),
        (b"arch: arm64\nmemory: [1G]\n", ":2: memory: expected a size such as 64K, 512M or 2G, got a list"),
        (b"arch: arm64\ncmdline: 5\n", ":2: cmdline: expected words, as text or as a list, got 5"),
        (b"arch: arm64\nscenarios: 5\n", ":2: scenarios: expected words, as text or as a list, got 5"),
        (b"arch: arm64\nscenarios: []\n", ":2: scenarios: expected at least 1 entry, got an empty list"),
        (b"arch: '" + b"x" * 9000 + b"'", "unknown arch"),
        (b"\xef\xbb\xbfarch: amd64\nmemory: 1G", "page_size: is required"),
    ],
)
def test_bytes_that_are_no_topology(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_bytes(content)
    error = failure(lambda: read(path).build(Topology))
    assert words in str(error)
    assert "\n" not in str(error)


def test_what_is_no_file(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.yaml"
    os.mkfifo(fifo)
    assert "no such file" in str(failure(lambda: read(tmp_path / "none.yaml")))
    assert "a directory" in str(failure(lambda: read(tmp_path)))
    assert "no regular file" in str(failure(lambda: read(fifo)))
    (tmp_path / "link.yaml").symlink_to("nowhere")
    assert "a link that leads nowhere" in str(failure(lambda: read(tmp_path / "link.yaml")))
    assert "no such file; did you mean 'fifo.yaml'?" in str(failure(lambda: read(tmp_path / "fifo.yml")))
    assert "expected a YAML file" in str(failure(lambda: read(Path("nul\0.yaml"))))


def test_a_file_name_that_is_no_name(tmp_path: Path) -> None:
    path = tmp_path / "two words.yaml"
    path.write_text(NODES)
    assert "expected a file name of letters" in str(failure(lambda: read(path).build(Topology)))


@given(st.text(max_size=300))
def test_no_text_is_a_traceback(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        read(path).build(Topology)
    except InputError as error:
        assert len(str(error).splitlines()) == 1, error


@given(
    st.dictionaries(
        st.sampled_from(sorted(Topology.model_fields)),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
            max_leaves=6,
        ),
        max_size=6,
    )
)
def test_no_value_is_a_traceback(tmp_path_factory: pytest.TempPathFactory, data: dict[str, object]) -> None:
    import json

    path = tmp_path_factory.getbasetemp() / "value.yaml"
    path.write_text(json.dumps(data))  # JSON is YAML
    try:
        read(path).build(Topology)
    except InputError as error:
        assert len(str(error).splitlines()) == 1, error


def test_scalars_are_read_by_yaml_1_2(tmp_path: Path) -> None:
    path = tmp_path / "scalars.yaml"
    path.write_text("a: [on, no, 010, 1:30, 0x10, 2026-01-01, 7, -1, 1.5, 1e3, true, ~, '7', 0-1]\n")
    expected = ["on", "no", "010", "1:30", "0x10", "2026-01-01", 7, -1, 1.5, 1000.0, True, None, "7", "0-1"]
    assert read(path).data["a"] == expected


def test_places_are_spelled_as_users_write_them() -> None:
    assert spell(("numa", 1, "memory")) == "numa[1].memory"
    assert spell(()) == ""
    assert "\n" not in spell(("a\nb",))


# The library.


def test_names_globs_and_paths(library: Library, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere/mine.yaml"
    elsewhere.parent.mkdir()
    elsewhere.write_text(NODES)
    names = [each.name for each in library.select_topologies(["*-node", "two-nodes", str(elsewhere), "one*"])]
    assert names == ["one-node", "other-node", "two-nodes", "mine"]


def test_an_unknown_name_says_the_choices_and_the_nearest(library: Library) -> None:
    error = failure(lambda: library.topology("two-node"))
    assert "did you mean 'two-nodes'" in str(error)
    assert "one-node, other-node, two-nodes" in str(error)
    assert "unknown kernel 'nothing*'" in str(failure(lambda: library.select_kernels(["nothing*"])))
    assert "unknown campaign" in str(failure(lambda: library.campaign("quik")))
    assert "unknown scenario" in str(failure(lambda: library.scenario("lab")))


def test_one_name_for_two_files(library: Library, tmp_path: Path) -> None:
    other = tmp_path / "x/two-nodes.yaml"
    other.parent.mkdir()
    other.write_text(PLAIN)
    error = failure(lambda: library.select_topologies(["two-nodes", str(other)]))
    assert "two different topology files are called 'two-nodes'" in str(error)


def test_a_kernel_s_paths_are_relative_to_its_file(library: Library, tmp_path: Path) -> None:
    place = tmp_path / "mine"
    (place / "linux").mkdir(parents=True)
    (place / "fix.patch").touch()
    (place / "extra.config").touch()
    (place / "kernel.yaml").write_text(
        "source: path:linux\nseries: fix.patch\nconfig: [debug-vm, ./extra.config]\nprovides: [shm-expand]\n"
    )
    kernel = library.kernel(str(place / "kernel.yaml"))
    assert kernel.source == f"path:{place}/linux"
    assert kernel.series == f"{place}/fix.patch"
    assert kernel.config == ("debug-vm", f"{place}/extra.config")


def test_several_series_are_each_found_and_joined(library: Library, tmp_path: Path) -> None:
    (tmp_path / "fix.patch").touch()
    (tmp_path / "k.yaml").write_text("source: debian:linux-source-6.12\nseries: [expand-fault, fix.patch]\n")
    kernel = library.kernel(str(tmp_path / "k.yaml"))
    assert kernel.series == f"expand-fault + {tmp_path}/fix.patch"
    assert not kernel.baseline


def test_a_git_source_keeps_its_revision(library: Library, tmp_path: Path) -> None:
    (tmp_path / "a@b").mkdir()
    (tmp_path / "k.yaml").write_text("source: git:a@b@v6.12\n")
    assert library.kernel(str(tmp_path / "k.yaml")).source == f"git:{tmp_path}/a@b@v6.12"


def test_a_series_of_the_library_stays_a_name(library: Library) -> None:
    assert library.kernel("patched").series == "expand-fault"


def test_scenarios_with_cases(library: Library) -> None:
    everything = (Selection(scenario="expand"), Selection(scenario="fork"))
    assert library.select_scenarios(["*"]) == everything
    assert library.select_scenarios(["fork", "expand"]) == everything
    assert library.select_scenarios(["expand.grow_*", "expand.b"]) == (
        Selection(scenario="expand", cases=("grow_*", "b")),
    )
    assert library.select_scenarios(["expand.b", "expand"]) == (Selection(scenario="expand"),)


def test_a_filter_adds_what_the_campaign_lacks(library: Library) -> None:
    planned = library.plan("pair", Filters(topologies=("other-node",), kernels=("plain",), tests=("expand.a",)))
    assert [cell.name for cell in planned.cells] == ["other-node/plain"]
    assert planned.cells[0].scenarios == (Selection(scenario="expand", cases=("a",)),)


def test_a_filter_narrows_what_the_campaign_has(library: Library) -> None:
    planned = library.plan("pair", Filters(topologies=("*-node",)))
    assert [cell.name for cell in planned.cells] == ["one-node/plain", "one-node/patched"]


def test_a_filter_by_path(library: Library, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("source: debian:linux-source-6.1\n")
    planned = library.plan("pair", Filters(topologies=("two-nodes",), kernels=("plain", str(mine))))
    assert [cell.name for cell in planned.cells] == ["two-nodes/plain", "two-nodes/mine"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("none.c", "--with none.c: expected a C file, got no such file; did you mean 'one.c'?"),
        (".", "--with .: expected a C file, got a directory"),
        ("one.txt", "--with one.txt: expected a C file NAME.c"),
        ("two.parts.c", "--with two.parts.c: expected a C file NAME.c, its NAME of letters, digits and _ + -"),
        ("two words.c", "its NAME of letters, digits and _ + -"),
    ],
)
def test_a_program_of_the_user_that_is_none(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("one.c", "one.txt", "two.parts.c", "two words.c"):
        Path(file).touch()
    library.with_programs(["one.c"])
    assert says in str(failure(lambda: library.with_programs([name])))


def test_a_filter_that_means_nothing(library: Library) -> None:
    assert "did you mean 'two-nodes'" in str(failure(lambda: library.plan("pair", Filters(topologies=("two-nods",)))))
    assert "unknown scenario" in str(failure(lambda: library.plan("pair", Filters(tests=("nope.x",)))))


def by_property(library: Library, tmp_path: Path, keys: str) -> Campaign:
    path = tmp_path / "campaigns/mine.yaml"
    path.write_text(f"kernels: [plain]\n{keys}")
    return library.campaign("mine")


def test_a_campaign_by_number_of_nodes(library: Library, tmp_path: Path) -> None:
    several = by_property(library, tmp_path, 'topologies: ["*"]\nnodes: 2-\n')
    assert [each.name for each in several.topologies] == ["two-nodes"]
    assert {(each.what, each.reason) for each in several.left_out} == {
        ("one-node", "the campaign wants nodes: 2-"),
        ("other-node", "the campaign wants nodes: 2-"),
    }
    one = by_property(library, tmp_path, 'topologies: ["*"]\nnodes: 1\n')
    assert [each.name for each in one.topologies] == ["one-node", "other-node"]
    assert one.named == frozenset({"*"})


def test_a_new_file_is_in_the_right_campaign_by_itself(library: Library, tmp_path: Path) -> None:
    (tmp_path / "topologies/fourth.yaml").write_text(NODES)
    several = by_property(library, tmp_path, 'topologies: ["*"]\nnodes: 2-\n')
    assert [each.name for each in several.topologies] == ["fourth", "two-nodes"]


def test_a_campaign_with_one_machine_of_each_kind(library: Library, tmp_path: Path) -> None:
    chosen = by_property(library, tmp_path, 'topologies: [other-node, "*"]\none_per: page_size\n')
    assert [each.name for each in chosen.topologies] == ["other-node", "two-nodes"], "the first in the words' order"
    assert [(each.what, each.reason) for each in chosen.left_out] == [
        ("one-node", "one_per: page_size, and there is other-node")
    ]
    planned = library.plan("mine", Filters(topologies=("one-node",)))
    assert [cell.topology.name for cell in planned.cells] == ["one-node"], "who names it gets it"
    assert "one-node" not in {each.what for each in planned.skipped}


def test_config_on_the_command_line_is_merged_last(library: Library, tmp_path: Path) -> None:
    mine = tmp_path / "mine.config"
    mine.write_text("CONFIG_X=y\n")
    planned = library.plan("pair", Filters(config=("debug-vm", str(mine))))
    assert {build.fragments[-2:] for build in planned.builds} == {("debug-vm", str(mine))}
    said = str(failure(lambda: library.plan("pair", Filters(config=("debug-wm",)))))
    assert "unknown config fragment 'debug-wm'; did you mean 'debug-vm'?" in said
    assert "nothing.config" in str(failure(lambda: library.plan("pair", Filters(config=("nothing.config",)))))


def test_a_campaign_s_paths_are_relative_to_its_file(library: Library, tmp_path: Path) -> None:
    (tmp_path / "near.yaml").write_text(NODES)
    (tmp_path / "mine.yaml").write_text("topologies: [./near.yaml]\nkernels: [plain]\n")
    assert [each.name for each in library.campaign(str(tmp_path / "mine.yaml")).topologies] == ["near"]


def test_kernels_that_exist_are_words_of_campaigns_and_of_filters(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/vmlinuz-6.12-own").touch()
    (tmp_path / "mine.yaml").write_text(
        "topologies: [one-node]\nkernels: [plain, debian:linux-image-arm64, image:boot/vmlinuz-6.12-own]\n"
    )
    planned = library.plan(str(tmp_path / "mine.yaml"), Filters())
    kernels = {cell.kernel.name: cell.kernel.source for cell in planned.cells}
    assert list(kernels) == ["plain", "linux-image-arm64", "vmlinuz-6.12-own"]
    assert kernels["vmlinuz-6.12-own"] == f"image:{tmp_path}/boot/vmlinuz-6.12-own"
    monkeypatch.chdir(tmp_path)
    for word in ("image:boot/vmlinuz-6.12-own", "debian:linux-image-6.12.118+deb13-arm64"):
        (cell,) = library.plan("pair", Filters(topologies=("one-node",), kernels=(word,))).cells
        assert cell.kernel.source == absolute_word(word), "the same from any directory"
    assert "expected a bootable kernel, got " in str(failure(lambda: library.kernel("image:boot/vmlinuz")))
    with pytest.raises(UsageError, match="linux-image-amd64 is a kernel of x86_64, and the machine is arm64"):
        library.plan("pair", Filters(topologies=("one-node",), kernels=("debian:linux-image-amd64",)))
    with pytest.raises(UsageError, match="nothing can be added to the kernel linux-image-amd64"):
        library.with_config(library.kernel("debian:linux-image-amd64"), ["debug-vm"])


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("image:boot/vmlinuz-6.12-won", "got no such file; did you mean 'vmlinuz-6.12-own'?"),
        ("image:boot", "expected a bootable kernel, got a directory"),
        ("boot/vmlinuz-6.12-own", "is no YAML file (if it is a bootable kernel: image:boot/vmlinuz-6.12-own)"),
        ("imag:boot/vmlinuz-6.12-own", "names no kernel; did you mean 'image:'? (a kernel that exists is image:FILE"),
        (
            "debian:linux-imag-arm64",
            "names no kernel by itself: no package with a kernel is called linux-imag-arm64; "
            "did you mean 'linux-image-arm64'? (packages that are kernels begin with debian:linux-im",
        ),
        (
            "debian:linux-image-amd46",
            "names no kernel: no package with a kernel is called linux-image-amd46; did you mean 'linux-image-amd64'?",
        ),
        ("debian:linux-source-6.12", "names no kernel by itself (a YAML file with `source: debian:linux-source-6.12`)"),
        ("path:boot", "names no kernel by itself (a YAML file with `source: path:boot`)"),
    ],
)
def test_a_word_that_nearly_names_a_kernel_that_exists(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("boot").mkdir()
    Path("boot/vmlinuz-6.12-own").write_bytes(b"MZ" + bytes(64))
    assert says in str(failure(lambda: library.kernel(word)))
    assert says in str(failure(lambda: library.select_kernels([word])))


# What is shipped.

SHIPPED = Library.shipped()


@pytest.mark.parametrize("name", SHIPPED.topologies())
def test_shipped_topology(name: str) -> None:
    topology = SHIPPED.topology(name)
    assert topology.name == name
    assert topology.description


@pytest.mark.parametrize("name", SHIPPED.kernels())
def test_shipped_kernel(name: str) -> None:
    assert SHIPPED.kernel(name).description


@pytest.mark.parametrize("name", SHIPPED.campaigns())
def test_shipped_campaign(name: str) -> None:
    planned = SHIPPED.plan(name)
    assert planned.spec.description
    assert planned.cells


def test_a_config_fragment_brings_the_complaints_that_are_known_of_it(tmp_path: Path) -> None:
    known = 'console_known: [{line: "WARNING: own*", reason: "of the fragment"}]\n'
    library = library_of(
        tmp_path,
        {
            "config/own.config": "CONFIG_X=y\n",
            "config/own.known.yaml": known,
            "kernels/plain.yaml": "source: debian:linux-source-6.12\n",
            "kernels/with.yaml": f"source: debian:linux-source-6.12\nconfig: own\n{known}",
            "kernels/beside.yaml": "source: debian:linux-source-6.12\nconfig: ./user.config\n",
            "kernels/user.config": "CONFIG_Y=y\n",
            "kernels/user.known.yaml": known.replace("own*", "user*"),
        },
    )
    assert library.configs().keys() == {"own"}
    assert library.kernels().keys() == {"plain", "with", "beside"}
    plain = library.kernel("plain")
    assert plain.console_known == ()
    (line,) = library.with_config(plain, ["own"]).console_known
    assert (line.line, line.reason) == ("WARNING: own*", "of the fragment")
    assert library.kernel("with").console_known == (line,)
    assert [each.line for each in library.kernel("beside").console_known] == ["WARNING: user*"]


def test_complaints_of_upstream_releases_hold_for_every_kernel_of_that_release(tmp_path: Path) -> None:
    known = 'console_known: [{line: "nr_own*", reason: upstream, release: "7.2.*"}]\n'
    files = {
        "config/base.config": "",
        "config/base.known.yaml": known,
        "kernels/plain.yaml": "source: debian:linux-source-6.12\n",
    }
    (line,) = library_of(tmp_path, files).kernel("plain").console_known
    assert [line.holds(release) for release in ("7.2.12", "7.2.0-rc3", "7.20.1", "6.12.1", "")] == [
        True,
        True,
        *[False] * 3,
    ]


def test_a_list_of_known_complaints_is_checked(tmp_path: Path) -> None:
    files = {"config/own.config": "CONFIG_X=y\n", "config/own.known.yaml": "console_knwon: []\n"}
    library = library_of(tmp_path, {**files, "kernels/plain.yaml": "source: debian:linux-source-6.12\n"})
    error = failure(lambda: library.with_config(library.kernel("plain"), ["own"]))
    assert "own.known.yaml" in str(error)
    assert "console_known" in str(error)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ('console_known:\n  - lien: "WARNING: own*"\n    reason: own\n', ":2: console_known[0].lien", "line"),
        ("console_known: []\n", ":1: console_known", "at least one complaint"),
    ],
)
def test_an_error_in_a_list_of_known_complaints_is_named(tmp_path: Path, text: str, place: str, words: str) -> None:
    kernel = "source: debian:linux-source-6.12\n"
    files = {"config/own.config": "CONFIG_X=y\n", "config/own.known.yaml": text, "kernels/plain.yaml": kernel}
    library = library_of(tmp_path, files)
    error = str(failure(lambda: library.with_config(library.kernel("plain"), ["own"])))
    assert place in error
    assert words in error

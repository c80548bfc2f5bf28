# SPDX-License-Identifier: GPL-2.0-or-later
"""programs.py: programs are static and cached, errors carry the compiler's words, listings are read strictly."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lab.arch.record import Arch
from lab.build import programs, toolchain
from lab.core import proc
from lab.core.cache import Cache
from lab.core.errors import BuildError, UsageError
from lab.core.outcome import Case
from lab.specs.arches import ARCHES

HEADER = (
    '#include <stdio.h>\n#include <string.h>\n#define FIRST "{\\"name\\": \\"grow\\", \\"requires\\": [\\"shm\\"]}"\n'
)
PROGRAM = """\
#include "little.h"
int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--list"))
		puts(FIRST);
	return 0;
}
"""
NATIVE = next((arch for arch in ARCHES.values() if toolchain.is_native(arch)), None)

needs_gcc = pytest.mark.skipif(NATIVE is None or not shutil.which("gcc"), reason="no native compiler the lab knows")


@pytest.fixture
def native() -> Arch:
    assert NATIVE is not None
    return NATIVE


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    directory = tmp_path / "guest_tests"
    (directory / "samples").mkdir(parents=True)
    (directory / "little.h").write_text(HEADER)
    (directory / "one.c").write_text(PROGRAM)
    (directory / "two.c").write_text(PROGRAM)
    (directory / "samples" / "no_scenario.c").write_text("does not compile\n")
    return directory


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


# ---- Building -------------------------------------------------------------------------------------------------------


@needs_gcc
def test_every_file_becomes_a_static_program(native: Arch, sources: Path, cache: Cache) -> None:
    built = programs.build(native, cache=cache, sources=[sources])
    assert sorted(built.programs) == ["one", "two"]
    assert sorted(path.name for path in built.programs["one"].parent.iterdir()) == ["one", "two"]
    assert "INTERP" not in proc.run(["readelf", "--program-headers", str(built.programs["one"])]).output
    assert proc.run([str(built.programs["one"])]).status == 0


@needs_gcc
def test_the_same_sources_are_compiled_once(
    native: Arch, sources: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = programs.build(native, cache=cache, sources=[sources])
    monkeypatch.setattr(programs, "_gcc", lambda *_: pytest.fail("compiled again"))
    assert programs.build(native, cache=cache, sources=[sources]) == first


@needs_gcc
def test_an_architecture_tells_the_linker(native: Arch, sources: Path, cache: Cache) -> None:
    plain = programs.build(native, cache=cache, sources=[sources])
    arch = replace(native, ldflags=("-Wl,--build-id=0x0123456789abcdef",))
    told = programs.build(arch, cache=cache, sources=[sources])
    assert told.key != plain.key
    assert bytes.fromhex("0123456789abcdef") in told.programs["one"].read_bytes()


@needs_gcc
def test_the_header_is_a_part_of_the_key(native: Arch, sources: Path, cache: Cache) -> None:
    first = programs.build(native, cache=cache, sources=[sources])
    (sources / "little.h").write_text(HEADER + "/* changed */\n")
    assert programs.build(native, cache=cache, sources=[sources]).key != first.key


@needs_gcc
def test_a_compile_error_names_file_and_line_and_leaves_nothing(native: Arch, sources: Path, cache: Cache) -> None:
    (sources / "two.c").write_text("int main(void)\n{\n\treturn missing;\n}\n")
    with pytest.raises(BuildError) as caught:
        programs.build(native, cache=cache, sources=[sources])
    assert caught.value.message == "two.c did not compile"
    assert "two.c:3:" in caught.value.excerpt
    assert "missing" in caught.value.excerpt
    assert not list((cache.root / "guest-tests").iterdir())


def test_no_scenarios_is_an_error(tmp_path: Path, cache: Cache) -> None:
    with pytest.raises(UsageError, match="no scenario"):
        programs._scenarios(tmp_path)


@needs_gcc
def test_a_program_is_found_by_the_name_of_its_file(tmp_path: Path, cache: Cache, native: Arch) -> None:
    """The same text in a file of another name is another program."""
    for name in ("first", "second"):
        (tmp_path / f"{name}.c").write_text("int main(void) { return 0; }\n")
        assert programs.compile_one(native, tmp_path / f"{name}.c", cache).is_file()


@needs_gcc
def test_a_program_of_the_user_may_have_headers_beside_it(native: Arch, tmp_path: Path, cache: Cache) -> None:
    (tmp_path / "own.h").write_text("#define STATUS 7\n")
    (tmp_path / "own.c").write_text('#include "own.h"\nint main(void) { return STATUS; }\n')
    first = programs.compile_one(native, tmp_path / "own.c", cache)
    assert proc.run([str(first)], check=False).status == 7
    (tmp_path / "own.h").write_text("#define STATUS 8\n")
    second = programs.compile_one(native, tmp_path / "own.c", cache)
    assert proc.run([str(second)], check=False).status == 8


@needs_gcc
def test_a_header_that_is_missing_is_named(native: Arch, tmp_path: Path, cache: Cache) -> None:
    (tmp_path / "own.c").write_text('#include "gone.h"\n')
    with pytest.raises(BuildError, match=r"gone\.h: No such file"):
        programs.compile_one(native, tmp_path / "own.c", cache)


# ---- Listing --------------------------------------------------------------------------------------------------------


@needs_gcc
def test_cases_come_from_the_programs_and_are_remembered(
    sources: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {name: (Case(scenario=name, name="grow", requires=frozenset({"shm"})),) for name in ("one", "two")}
    assert dict(programs.cases([sources], cache)) == expected
    monkeypatch.setattr(programs, "_listing", lambda *_: pytest.fail("asked again"))
    assert dict(programs.cases([sources], cache)) == expected


@needs_gcc
def test_cases_are_known_without_a_compiler_once_the_cache_has_them(
    sources: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_compile", lambda *_: pytest.fail("compiled"))
    assert programs.known_cases([sources], cache) == {}
    assert not cache.root.exists()
    monkeypatch.undo()
    listed = programs.cases([sources], cache)
    monkeypatch.setattr(programs, "_compile", lambda *_: pytest.fail("compiled"))
    assert programs.known_cases([sources], cache) == listed


@needs_gcc
def test_a_program_that_cannot_list_is_named(sources: Path, cache: Cache) -> None:
    (sources / "two.c").write_text('#include <stdio.h>\nint main(void) { fputs("no idea\\n", stderr); return 2; }\n')
    with pytest.raises(BuildError, match=r"two --list: .*exit status 2: no idea"):
        programs.cases([sources], cache)


def test_a_full_line() -> None:
    line = (
        '{"name": "grow_move", "requires": ["a", "b"], "description": "moves \\u00e9", "timeout_s": 2.5, '
        '"needs_nodes": 2, "needs_root": true, "id": "A01", "of_tomorrow": {}}'
    )
    assert programs.parse_cases("expand", line + "\n") == (
        Case(
            scenario="expand",
            name="grow_move",
            requires=frozenset({"a", "b"}),
            description="moves é",
            timeout_s=2.5,
        ),
    )


def test_what_is_absent_has_its_default() -> None:
    assert programs.parse_cases("expand", '{"name": "a"}') == (Case(scenario="expand", name="a"),)


@pytest.mark.parametrize(
    ("listing", "says"),
    [
        ("", "no cases"),
        ("KTAP version 1", "not JSON"),
        ("[]", "a JSON object per line"),
        ("{}", "name: expected a word"),
        ('{"name": "two words"}', "name: expected a word"),
        ('{"name": 3}', "name: expected a word"),
        ('{"name": "a", "requires": "shm"}', "requires: expected a list"),
        ('{"name": "a", "requires": [""]}', "requires: expected a list"),
        ('{"name": "a", "description": null}', "description: expected a string"),
        ('{"name": "a", "timeout_s": 0}', "timeout_s: expected seconds"),
        ('{"name": "a", "timeout_s": true}', "timeout_s: expected seconds"),
        ('{"name": "a", "timeout_s": "5"}', "timeout_s: expected seconds"),
        ('{"name": "a"}\n{"name": "a"}', "named twice: a"),
    ],
)
def test_bad_listings_are_refused(listing: str, says: str) -> None:
    with pytest.raises(BuildError, match=f"expand --list: .*{says}|expand --list: {says}"):
        programs.parse_cases("expand", listing)


def test_rows_without_a_case_are_told_apart_from_cases() -> None:
    listing = '{"name": "a"}\n{"no_case": "H09", "description": "a campaign\'s"}\n'
    assert [case.name for case in programs.parse_cases("stress", listing)] == ["a"]
    assert programs.parse_no_cases("stress", listing) == (programs.NoCase(row="H09", reason="a campaign's"),)


@pytest.mark.parametrize(
    "line", ['{"no_case": "H09"}', '{"no_case": 9, "description": "x"}', '{"no_case": "", "description": "x"}']
)
def test_a_row_without_a_case_gives_a_reason(line: str) -> None:
    with pytest.raises(BuildError, match="stress --list: no_case: expected a row, and a description of why"):
        programs.parse_no_cases("stress", line)


PLACED = """\
#include "lab.h"
#include "lab_numa.h"

static void placed(void)
{
	int nodes[] = { 0, 1, 1, -2, 1 };

	lab_say_placed("pages 0-4", nodes, 5);
}

LAB_CASES({ LAB_CASE(placed) })
"""


@needs_gcc
def test_placement_is_said_as_reports_draw_it(native: Arch, cache: Cache, tmp_path: Path) -> None:
    """A page that is not there lies nowhere."""
    source = tmp_path / "where.c"
    source.write_text(PLACED)
    program = programs.compile_one(native, source, cache)
    said = proc.run([str(program)], timeout_s=60).output
    assert "# | placement of pages 0-4: node0=1 node1=3\n" in said

# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/build/roots/needed.py, with programs that the host's compiler links."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lab.arch.record import Arch
from lab.build.roots import needed
from lab.build.roots.needed import Missing, Needs
from lab.core.errors import UsageError
from lab.specs.arches import ARCHES
from lab.workflows import one_guest
from tests.unit.fixtures.linked import HOST, LIBC, link, program


def needs_of(path: Path, sysroot: Path | None = None, arch: Arch = HOST) -> Needs:
    return needed.needs(path, arch, needed.places(arch, sysroot), commands={"sh": "/bin/sh", "env": "/bin/env"})


def test_a_program_s_loader_and_libraries_are_found_on_the_host(tmp_path: Path) -> None:
    found = needs_of(link("int main(void) { return 0; }", tmp_path / "prog"))
    assert found.missing == ()
    assert found.guest_path == "/lab/prog"
    assert found.files["/lab/prog"] == tmp_path / "prog"
    assert found.programs["/lab/prog"].interpreter in found.files
    assert any(path.endswith(f"/{LIBC}") for path in found.files)


def test_a_library_beside_the_program_is_placed_as_its_run_path_says(tmp_path: Path, library: Path) -> None:
    """`$ORIGIN/../lib` of /lab/prog is /lib of the guest."""
    prog = program(tmp_path / "bin" / "prog", library, "-Wl,-rpath,$ORIGIN/../lib", "-Wl,--enable-new-dtags")
    found = needs_of(prog)
    assert found.missing == ()
    assert found.files["/lib/libf.so.1"] == tmp_path / "bin/../lib/libf.so.1"


def test_an_old_rpath_counts_for_libraries_of_libraries_and_a_runpath_does_not(tmp_path: Path, library: Path) -> None:
    second = link(
        "int f(void); int g(void) { return f(); }", tmp_path / "lib" / "libg.so.1", "-shared", "-Wl,-soname,libg.so.1",
        str(library),
    )  # fmt: skip
    main = "int g(void); int main(void) { return g(); }"
    given = ("-Wl,-rpath,$ORIGIN/lib", f"-Wl,-rpath-link,{library.parent}", str(second))
    old = needs_of(link(main, tmp_path / "old", *given, "-Wl,--disable-new-dtags"))
    assert old.missing == ()
    new = needs_of(link(main, tmp_path / "new", *given, "-Wl,--enable-new-dtags"))
    assert new.missing == (Missing(name="libf.so.1", wanted_by="libg.so.1"),)


def test_a_missing_library_is_named_with_who_wants_it(tmp_path: Path, library: Path) -> None:
    prog = program(tmp_path / "prog", library)
    library.unlink()
    assert needs_of(prog).missing == (Missing(name="libf.so.1", wanted_by="prog"),)


def test_libraries_that_lie_somewhere_are_named_and_brought_by_the_variable(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`LD_LIBRARY_PATH` counts as at home; what it has goes where the guest's loader looks without being told."""
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    prog = program(tmp_path / "prog", library)
    (tmp_path / "alien").mkdir()
    data = bytearray(library.read_bytes())
    data[18:20] = (0x1234).to_bytes(2, "little")
    (tmp_path / "alien/libf.so.1").write_bytes(data)
    missing = needs_of(prog).missing
    assert needed.beside(prog, missing, HOST) == str(library.parent)
    assert needed.beside(prog, [*missing, Missing(name="libnone.so", wanted_by="prog")], HOST) == ""
    with pytest.raises(
        UsageError, match=rf"LD_LIBRARY_PATH={library.parent} before the lab's command finds it; or nam"
    ):
        one_guest.workload([str(prog)], HOST)
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path}/none::{tmp_path}/alien:{library.parent}")
    found = needs_of(prog)
    assert found.missing == ()
    default = needed.places(HOST, None).default_directories(HOST)[0]
    assert found.files[f"{default}/libf.so.1"] == library
    assert "libf.so.1" in [each.name for each in needs_of(prog, tmp_path / "alien").missing], (
        "a sysroot is looked at alone"
    )


@pytest.mark.parametrize("static", [True, False])
def test_a_program_that_a_page_size_cannot_load_is_named_before_it_runs(tmp_path: Path, static: bool) -> None:
    how = ["-static"] if static else []
    prog = link("int x = 1; int main(void) { return 0; }", tmp_path / "prog", "-Wl,-z,max-page-size=4096", *how)
    load = one_guest.workload([str(prog)], HOST)
    assert not any(line.startswith("prog ") for line in one_guest.misaligned(load, 4096))
    (line,) = (line for line in one_guest.misaligned(load, 65536) if line.startswith("prog "))
    assert line.startswith("prog cannot be loaded with pages of 64K: PT_LOAD aligned to 4 KiB")
    assert line.endswith("; link it with -Wl,-z,max-page-size=65536")


def test_a_sysroot_replaces_the_host(tmp_path: Path) -> None:
    prog = link("int main(void) { return 0; }", tmp_path / "prog")
    (tmp_path / "root").mkdir()
    missing = {each.name for each in needs_of(prog, tmp_path / "root").missing}
    assert LIBC in missing


def test_links_of_a_sysroot_stay_inside_it(tmp_path: Path) -> None:
    """An absolute link starts at the sysroot, and `..` does not leave it."""
    root = tmp_path / "root"
    (root / "usr/lib").mkdir(parents=True)
    (root / "usr/lib/a").write_text("inside")
    (root / "lib").symlink_to("/usr/lib")
    (root / "up").symlink_to("../../../../usr/lib/a")
    (root / "loop").symlink_to("loop")
    assert needed.inside(root, "/lib/a") == root / "usr/lib/a"
    assert needed.inside(root, "/up") == root / "usr/lib/a"
    assert needed.inside(root, "/loop") is None
    assert needed.inside(root, "/../../etc/passwd") is None


def test_a_library_of_another_architecture_is_passed_by(tmp_path: Path, library: Path) -> None:
    prog = program(tmp_path / "bin" / "prog", library, "-Wl,-rpath,$ORIGIN/../lib")
    data = bytearray(library.read_bytes())
    data[18:20] = (0x1234).to_bytes(2, "little")
    library.write_bytes(data)
    assert [each.name for each in needs_of(prog).missing] == ["libf.so.1"]


def test_an_interpreter_of_a_script_comes_from_the_sysroot_with_its_libraries(tmp_path: Path) -> None:
    root = tmp_path / "root"
    link("int main(void) { return 0; }", root / "usr/bin/tool", "-static")
    (tmp_path / "script").write_text("#!/usr/bin/env tool\n")
    found = needs_of(tmp_path / "script", root)
    assert found.missing == ()
    assert found.files["/usr/bin/tool"] == root / "usr/bin/tool"
    assert found.links == {"/usr/bin/env": "/bin/env"}
    (tmp_path / "script").write_text("#!/usr/bin/env -S tool -x\n")
    assert [each.name for each in needs_of(tmp_path / "script", root).missing] == ["env -S"], "busybox's env has no -S"
    link("int main(void) { return 0; }", root / "usr/bin/env", "-static")
    found = needs_of(tmp_path / "script", root)
    assert found.missing == ()
    assert found.links == {}


@pytest.mark.parametrize(
    ("line", "wants"),
    [
        ("/usr/bin/env -S none -x", "none"),
        ("/usr/bin/env -Snone -x", "none"),
        ("/usr/bin/env --split-string=none -x", "none"),
        ("/usr/bin/env -vS -u HOME -i A=1 none -x", "none"),
        ("/usr/bin/env none -x", "none -x"),
        ("/usr/bin/env\tnone", "none"),
        ("/opt/none\t-e", "/opt/none"),
        ("/opt/perl -w\r", "/opt/perl"),
    ],
)
def test_the_command_of_a_scripts_first_line_is_what_linux_starts(tmp_path: Path, line: str, wants: str) -> None:
    (tmp_path / "script").write_text(f"#!{line}\n")
    assert [each.name for each in needs_of(tmp_path / "script", tmp_path).missing] == [wants]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("/bin/sh\r", r"CR LF: Linux looks for '/bin/sh\\r' \(sed -i"),
        ("/usr/bin/env sh\r", "CR LF"),
        ("sh", "names 'sh': expected an absolute path"),
        ("./run.sh", "names './run.sh': expected an absolute path"),
    ],
)
def test_a_first_line_that_linux_reads_otherwise_is_refused(tmp_path: Path, line: str, says: str) -> None:
    (tmp_path / "script").write_text(f"#!{line}\n")
    with pytest.raises(UsageError, match=says):
        needs_of(tmp_path / "script", tmp_path)


def test_scripts_of_scripts_end(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    for number in range(9):
        (root / f"bin/s{number}").write_text(f"#!/bin/s{number + 1}\n")
    with pytest.raises(UsageError, match="a script of a script"):
        needs_of(root / "bin/s0", root)


def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UsageError, match="is no regular file"):
        needed.read_regular(tmp_path / "fifo")


@pytest.mark.parametrize(
    ("library", "package"),
    [
        ("libssl.so.3", "libssl3"),
        ("libpcre2-8.so.0", "libpcre2-8-0"),
        ("libX11.so.6", "libx11-6"),
        ("libz.so.1", "libz1"),
        ("plugin.so", ""),
        ("ld-musl-aarch64.so.1", ""),
    ],
)
def test_a_library_s_name_says_its_package(library: str, package: str) -> None:
    assert needed.library_package(library) == package


def test_the_hint_installs_cross_libraries_and_foreign_packages() -> None:
    missing = [Missing(name=name, wanted_by="prog") for name in ("/lib/ld-linux-aarch64.so.1", "libssl.so.3")]
    hint = needed.install_hint(missing, ARCHES["arm64"], native=False)
    assert "libc6-arm64-cross" in hint
    assert "dpkg --add-architecture arm64" in hint
    assert hint.endswith("libssl3:arm64")


def test_a_directory_of_ld_so_conf_is_looked_in_and_the_library_brought_where_the_loader_looks(
    tmp_path: Path, library: Path
) -> None:
    """The loader knows such a directory from its cache, which a guest without a root does not have."""
    prog = program(tmp_path / "prog", library)
    root = tmp_path / "root"
    (root / "etc/ld.so.conf.d").mkdir(parents=True)
    (root / "etc/ld.so.conf.d/own.conf").write_text("# own\n/opt/own//lib # libf\nrelative\n")
    (root / "opt/own/lib").mkdir(parents=True)
    (root / "opt/own/lib/libf.so.1").write_bytes(library.read_bytes())
    found = needs_of(prog, root)
    assert "libf.so.1" not in {missing.name for missing in found.missing}
    (guest,) = [guest for guest in found.files if guest.endswith("/libf.so.1")]
    assert guest == f"{needed.places(HOST, root).default_directories(HOST)[0]}/libf.so.1"


def test_a_directory_of_configurations_that_is_a_link_is_not_followed_out_of_a_tree(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/a.conf").write_text("/usr/lib\n")
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/ld.so.conf.d").symlink_to(tmp_path / "outside")
    assert list(needed.places(HOST, tmp_path / "root").configured_directories()) == []


def test_a_library_that_is_named_by_a_path_from_the_current_directory_is_not_looked_for(tmp_path: Path) -> None:
    library = link("int f(void) { return 7; }", tmp_path / "lib/libf.so", "-shared")
    source = "int f(void); int main(void) { return f(); }"
    subprocess.run(
        ["gcc", "-x", "c", "-", "-x", "none", "-o", "prog", "lib/libf.so"],
        input=source.encode(),
        cwd=library.parent.parent,
        check=True,
    )
    missing = needs_of(tmp_path / "prog").missing
    assert missing == (Missing(name="lib/libf.so", wanted_by="prog"),)
    assert "link the library with -Wl,-soname,NAME" in needed.hint(missing)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("/lib/ld-musl-aarch64.so.1", "it is linked with musl"),
        ("/system/bin/linker64", "a program of Android"),
        ("python3 -u", "Linux passes all that follows env as one argument"),
        ("libssl.so.3", ""),
        ("/lib/ld-linux-aarch64.so.1", ""),
        ("env -S", ""),
    ],
)
def test_what_no_package_has_gets_a_hint_of_its_own(name: str, says: str) -> None:
    found = needed.hint([Missing(name=name, wanted_by="prog")])
    assert says in found
    assert bool(says) == bool(found)


def test_a_quoted_command_behind_env_is_one_word(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/usr/bin/env -S A='x y' sh -e\n")
    assert needed.started_by(script, HOST, "script") == ("/usr/bin/env", "sh")
    script.write_text("#!/usr/bin/env -S sh 'open\n")
    assert needed.started_by(script, HOST, "script") == ("/usr/bin/env", "sh")


def test_a_sysroot_without_permission_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the refusals are made here."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UsageError, match=rf"--sysroot: {tmp_path}: Permission denied"):
        needed.places(HOST, tmp_path)
    monkeypatch.undo()

    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_symlink", refuse)
    assert needed.inside(tmp_path, "/lib/a") is None

# SPDX-License-Identifier: GPL-2.0-or-later
"""rootfs.py: the archive's contents, the host key's formats, what the cache key depends on, what errors show."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lab.build import debian, rootfs, step, toolchain
from lab.build.toolchain import Toolchain
from lab.core import paths, proc
from lab.core.cache import Cache
from lab.core.errors import BuildError
from lab.core.progress import silent
from lab.core.ssh_keys import dropbear_host_key
from lab.specs.arches import ARCHES

RECIPE = paths.images() / "rootfs"
CHAIN = Toolchain(prefix="", version="gcc (test) 12", key="k")
PROGRAMS = {"busybox": b"BB", "dropbear": b"DB", "links": b"/bin/busybox\n/bin/sh\n/sbin/mkswap\n", "notes": b""}


def ssh_strings(raw: bytes) -> list[bytes]:
    """The SSH strings (length, bytes) that `raw` is made of."""
    found = []
    while raw:
        length = int.from_bytes(raw[:4], "big")
        found.append(raw[4 : 4 + length])
        raw = raw[4 + length :]
    return found


def listing(archive: bytes) -> list[tuple[str, str]]:
    """(mode, name) of everything in an archive, by cpio(1)."""
    if not shutil.which("cpio"):
        pytest.skip("no cpio here")
    output = proc.run(["cpio", "--list", "--verbose"], input=archive).output
    rows = [line.split() for line in output.splitlines() if not line.endswith(("block", "blocks"))]
    return [(row[0], row[-1]) for row in rows]


# ---- The pieces -----------------------------------------------------------------------------------------------------


def test_the_two_halves_of_the_host_key_belong_together() -> None:
    private, public = dropbear_host_key()
    kind, pair = ssh_strings(private)
    assert (kind, len(pair)) == (b"ssh-ed25519", 64)
    key = Ed25519PrivateKey.from_private_bytes(pair[:32]).public_key()
    assert key.public_bytes(Encoding.Raw, PublicFormat.Raw) == pair[32:]
    name, encoded = public.split()
    assert name == "ssh-ed25519"
    assert ssh_strings(base64.b64decode(encoded)) == [b"ssh-ed25519", pair[32:]]


def test_every_userland_has_its_own_key() -> None:
    assert dropbear_host_key() != dropbear_host_key()


def test_overlay_makes_the_directories_it_needs() -> None:
    raw = rootfs.overlay({"root/.ssh/authorized_keys": (0o600, b"ssh-ed25519 AAAA\n"), "lab/prog": (0o755, b"\x7fELF")})
    assert len(raw) % 512 == 0
    assert listing(raw) == [
        ("drwxr-xr-x", "lab"),
        ("-rwxr-xr-x", "lab/prog"),
        ("drwxr-xr-x", "root"),
        ("drwxr-xr-x", "root/.ssh"),
        ("-rw-------", "root/.ssh/authorized_keys"),
    ]


def test_read_config_takes_what_is_set() -> None:
    text = '# a comment\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=64\nCONFIG_D="x=y"\n'
    assert rootfs.read_config(text) == {"CONFIG_A": "y", "CONFIG_C": "64", "CONFIG_D": '"x=y"'}


# ---- The recipe -----------------------------------------------------------------------------------------------------


def test_no_option_is_asked_for_twice() -> None:
    lines = [line for line in (RECIPE / "busybox.config").read_text().splitlines() if line.startswith("CONFIG_")]
    assert len(rootfs.read_config("\n".join(lines))) == len(lines)


def test_init_is_a_shell_script_without_syntax_errors() -> None:
    init = RECIPE / "init"
    assert init.read_text().startswith("#!/bin/sh\n# SPDX-License-Identifier: GPL-2.0-or-later\n")
    proc.run(["sh", "-n", str(init)])


def test_init_prints_the_ready_line_only_where_the_facts_are_written() -> None:
    text = (RECIPE / "init").read_text()
    assert text.count('echo "pagelab: ready"') == 1
    assert text.index("> /run/facts") < text.index('echo "pagelab: ready"')


# ---- The whole, with the compiler left out --------------------------------------------------------------------------


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No network and no compiler: what would have been compiled is noted here."""
    done: list[str] = []

    def find_source(package: str, cache: Cache, **_: object) -> debian.PackageVersion:
        return debian.PackageVersion(package=package, version="1.0-1", suite="test")

    def compile_both(chain: Toolchain, *_: object) -> Mapping[str, bytes]:
        done.append(chain.version)
        return PROGRAMS

    monkeypatch.setattr(debian, "find_source", find_source)
    monkeypatch.setattr(toolchain, "find", lambda arch: CHAIN)
    monkeypatch.setattr(rootfs, "_compile", compile_both)
    return done


def test_the_archive_holds_what_a_guest_needs(builds: list[str], tmp_path: Path) -> None:
    built = rootfs.build(ARCHES["arm64"], cache=Cache(tmp_path))
    found = {name: mode for mode, name in listing(built.initrd.read_bytes())}
    assert {"init": "-rwxr-xr-x", "dev/console": "crw-------", "tmp": "drwxrwxrwt", "root": "drwx------"}.items() <= (
        found.items()
    )
    assert found["etc/dropbear/host_key"] == "-rw-------"
    assert found["bin/busybox"] == found["sbin/dropbear"] == "-rwxr-xr-x"
    assert "etc/fstab" in found
    assert built.host_key.startswith("ssh-ed25519 AAAA")


def test_it_is_built_once(builds: list[str], tmp_path: Path) -> None:
    first = rootfs.build(ARCHES["arm64"], cache=Cache(tmp_path))
    assert rootfs.build(ARCHES["arm64"], cache=Cache(tmp_path)) == first
    assert len(builds) == 1


@pytest.mark.parametrize("name", ["init", "etc/fstab", "busybox.config", "localoptions.h", "wake.c"])
def test_every_file_of_the_recipe_counts(builds: list[str], tmp_path: Path, name: str) -> None:
    recipe = tmp_path / "recipe"
    shutil.copytree(RECIPE, recipe)
    before = rootfs.build(ARCHES["arm64"], cache=Cache(tmp_path / "cache"), recipe=recipe)
    with (recipe / name).open("a") as file:
        file.write("\n")
    assert rootfs.build(ARCHES["arm64"], cache=Cache(tmp_path / "cache"), recipe=recipe).key != before.key
    assert len(builds) == (2 if name in rootfs.COMPILED else 1), "only what is compiled from is compiled again"


def test_architectures_do_not_share(builds: list[str], tmp_path: Path) -> None:
    keys = {rootfs.build(arch, cache=Cache(tmp_path)).key for arch in ARCHES.values()}
    assert len(keys) == len(ARCHES)


# ---- Changes to the source packages ---------------------------------------------------------------------------------

SEEDING = """\
#ifdef __linux__
static int other(void);
#endif
void seed(void)
{
%s#ifdef __linux__
	/* a comment
	 * of two lines */
	process_file(&hs, "/proc/%s", 0, 0);

	process_file(&hs, "/proc/vmstat", 0, 0);
#endif
}
"""  # noqa: E101 (text of C: tabs)


def dropbear_tree(tmp_path: Path, place: str, seeding: str) -> Path:
    """A tree with the file that dropbear seeds its random numbers in, and a configure that makes an empty Makefile."""
    tree = tmp_path / "dropbear"
    (tree / place).parent.mkdir(parents=True)
    (tree / place).write_text(seeding)
    (tree / "configure").write_text("printf 'all dropbear:\\n\\ttrue\\n' > Makefile; : > dropbear\n")
    return tree


@pytest.mark.parametrize(("place", "file"), [("dbrandom.c", "timer_list"), ("src/dbrandom.c", "interrupts")])
def test_either_layout_of_dropbear_loses_its_slow_seeding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, file: str
) -> None:
    monkeypatch.setattr(step, "run", lambda *_, **__: [])
    tree = dropbear_tree(tmp_path, place, SEEDING % ("", file))
    assert not rootfs._dropbear(CHAIN, RECIPE, tree, silent)
    text = (tree / place).read_text()
    assert text == (SEEDING % ("", file)).replace("#ifdef __linux__\n\t/*", "#if 0\n\t/*")


@pytest.mark.parametrize(
    "seeding", ["void seed(void) { getrandom(); }\n", "#ifdef __linux__\nint unrelated;\n#endif\n"]
)
def test_a_change_that_does_not_apply_is_reported_and_the_build_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seeding: str
) -> None:
    steps: list[str] = []
    reported: list[str] = []
    monkeypatch.setattr(step, "run", lambda argv, **_: steps.append(argv[0]))
    tree = dropbear_tree(tmp_path, "src/dbrandom.c", seeding)
    note = rootfs._dropbear(CHAIN, RECIPE, tree, lambda detail, **_: reported.append(detail))
    assert note.startswith("dropbear: built without the change that makes logins faster")
    assert reported == [note]
    assert steps == ["sh", "make", "strip"]
    assert (tree / "src/dbrandom.c").read_text() == seeding


def test_a_note_is_reported_again_for_a_userland_from_the_cache(
    builds: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(PROGRAMS, "notes", b"dropbear: a note\n")
    first = rootfs.build(ARCHES["arm64"], cache=Cache(tmp_path))
    reported: list[str] = []
    again = rootfs.build(ARCHES["arm64"], cache=Cache(tmp_path), progress=lambda detail, **_: reported.append(detail))
    assert first.notes == again.notes == ("dropbear: a note",)
    assert "dropbear: a note" in reported


# ---- Builds that fail -----------------------------------------------------------------------------------------------


def test_a_failed_step_shows_the_compilers_words(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text('all:\n\t@echo "x.c:3:5: error: no such thing"; echo noise; false\n')
    with pytest.raises(BuildError) as caught:
        rootfs._run(["make"], tmp_path, "dropbear", silent)
    assert caught.value.message == "dropbear did not build"
    assert "x.c:3:5: error: no such thing" in caught.value.excerpt


TOY_BUSYBOX = """\
allnoconfig:
	@printf '# CONFIG_ASH is not set\\nCONFIG_MD5_SMALL=1\\n' > .config
oldconfig:
	@cat > /dev/null; sed -i '/CONFIG_GONE/d; s/=0$$/=1/' .config
busybox busybox.links:
	@cp .config $@
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A source tree that answers busybox's make targets, and whose configuration loses CONFIG_GONE."""
    (tmp_path / "tree/miscutils").mkdir(parents=True)
    (tmp_path / "tree/Makefile").write_text(TOY_BUSYBOX)
    (tmp_path / "wake.c").write_text("//applet:\n")
    return tmp_path


def test_requested_options_are_set(toy: Path) -> None:
    (toy / "busybox.config").write_text("# why\nCONFIG_ASH=y\n")
    rootfs._busybox(CHAIN, toy, toy / "tree", silent)
    assert (toy / "tree/busybox").read_text() == "CONFIG_MD5_SMALL=1\nCONFIG_ASH=y\n"


def test_options_that_do_not_survive_are_named(toy: Path) -> None:
    (toy / "busybox.config").write_text("CONFIG_ASH=y\nCONFIG_GONE=y\nCONFIG_MD5_SMALL=0\n")
    with pytest.raises(BuildError, match="busybox has no such options: CONFIG_GONE, CONFIG_MD5_SMALL"):
        rootfs._busybox(CHAIN, toy, toy / "tree", silent)

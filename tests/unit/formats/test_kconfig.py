# SPDX-License-Identifier: GPL-2.0-or-later
"""lab.kconfig: fragments, merging, and requests that got lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.core.errors import InputError
from lab.formats import kconfig

FRAGMENT = """\
# a comment, even one with CONFIG_X=y in it
CONFIG_SMP=y

# CONFIG_MODULES is not set
CONFIG_NR_CPUS=64
CONFIG_CMDLINE="console=ttyS0 \\"quoted\\""
CONFIG_BASE=0xFFFF
"""


def requests(text: str, path: str = "x.config") -> tuple[kconfig.SymbolRequest, ...]:
    return kconfig.parse_fragment(text, path)


def test_fragment_lines_have_values_and_places() -> None:
    found = [(each.symbol, each.value, each.place) for each in requests(FRAGMENT)]
    assert found == [
        ("SMP", "y", "x.config:2"),
        ("MODULES", "n", "x.config:4"),
        ("NR_CPUS", "64", "x.config:5"),
        ("CMDLINE", '"console=ttyS0 \\"quoted\\""', "x.config:6"),
        ("BASE", "0xFFFF", "x.config:7"),
    ]


@pytest.mark.parametrize("line", ["CONFIG_SMP", "SMP=y", "CONFIG_SMP = y", "CONFIG_-=y", "smp: true"])
def test_malformed_line_is_an_error_at_its_place(line: str) -> None:
    with pytest.raises(InputError, match=r"^f\.config:2: expected CONFIG_NAME=value"):
        requests(f"# fine\n{line}\n", "f.config")


@pytest.mark.parametrize("value", ["yes", "", "Y", '"open', "0x", "1.5", "y # why"])
def test_malformed_value_is_an_error_that_names_the_symbol(value: str) -> None:
    with pytest.raises(InputError, match=r"^f\.config:1: CONFIG_SMP: expected y, m, n, a number"):
        requests(f"CONFIG_SMP={value}", "f.config")


def test_later_fragment_wins_and_order_of_symbols_does_not_matter() -> None:
    merged = kconfig.merge([requests("CONFIG_B=y\nCONFIG_A=y"), requests("# CONFIG_B is not set", "late.config")])
    assert kconfig.render(merged) == "CONFIG_A=y\n# CONFIG_B is not set\n"
    assert merged[1].place == "late.config:1"


def test_override_replaces_own_lines_of_the_config() -> None:
    before = "# head\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_AB=y\n"
    after = kconfig.override(before, requests("CONFIG_B=y\nCONFIG_A=n"))
    assert after.splitlines() == ["# head", "CONFIG_AB=y", "CONFIG_B=y", "# CONFIG_A is not set"]


def test_override_drops_the_numbers_that_nobody_asked_for() -> None:
    """The greatest order of pages that tinyconfig computed for 16 KiB is too small with 64 KiB."""
    before = 'CONFIG_ORDER=11\nCONFIG_BASE=0xf00\nCONFIG_NAME="11"\nCONFIG_CPUS=8\nCONFIG_LEVEL=-1\n'
    after = kconfig.override(before, requests("CONFIG_CPUS=64"))
    assert after.splitlines() == ['CONFIG_NAME="11"', "CONFIG_CPUS=64"]


def test_lost_requests_are_told_and_absent_counts_as_n() -> None:
    asked = requests("CONFIG_A=y\nCONFIG_B=n\nCONFIG_C=64\nCONFIG_D=0x10\n# CONFIG_E is not set\nCONFIG_F=m")
    got = kconfig.parse_config("CONFIG_C=32\nCONFIG_D=0X010\nCONFIG_E=y\nCONFIG_F=m\n")
    assert [str(each) for each in kconfig.lost(asked, got)] == [
        "CONFIG_A: asked for y at x.config:1, got n",
        "CONFIG_C: asked for 64 at x.config:3, got 32",
        "CONFIG_E: asked for n at x.config:5, got y",
    ]


def test_differences() -> None:
    assert kconfig.differences({"A": "y", "B": "n"}, {"A": "m", "C": "y"}) == ("CONFIG_A: y -> m", "CONFIG_C: n -> y")


VALUES = st.one_of(st.sampled_from("ymn"), st.integers(0, 999).map(str), st.just('"a b"'))


@given(st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True), VALUES))
def test_rendered_requests_parse_back_and_lose_nothing(wanted: dict[str, str]) -> None:
    text = kconfig.render(kconfig.merge([requests("".join(f"CONFIG_{name}={wanted[name]}\n" for name in wanted))]))
    assert dict(kconfig.parse_config(text)) == wanted
    assert kconfig.lost(requests(text), kconfig.parse_config(text)) == ()


KCONFIG = """\
menu "Memory"
	depends on MMU

config SWAP
	bool "Swap"
	depends on BLOCK && \\
		!ARCH_NO_SWAP

if SWAP
menuconfig ZSWAP
	bool "Compressed"
	depends on CRYPTO
comment "nothing to see"
	depends on NONSENSE
endif

config THP
	bool
endmenu

config SWAP
	depends on EXTRA

config FREE
	bool "free"
"""


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("SWAP", ("MMU", "BLOCK && !ARCH_NO_SWAP", "EXTRA")),
        ("ZSWAP", ("MMU", "SWAP", "CRYPTO")),
        ("THP", ("MMU",)),
        ("FREE", ()),
        ("GONE", None),
    ],
)
def test_dependencies_of_a_symbol(symbol: str, expected: tuple[str, ...] | None) -> None:
    assert kconfig.depends_on(KCONFIG, symbol) == expected


def test_symbols_in_expressions() -> None:
    assert kconfig.symbols_in(["BLOCK && !NO_SWAP", "(BLOCK || X86)"]) == ("BLOCK", "NO_SWAP", "X86")

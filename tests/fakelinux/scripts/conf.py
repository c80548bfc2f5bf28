# SPDX-License-Identifier: GPL-2.0-or-later
"""The toy kernel's kconfig: `conf.py ARCH tinyconfig|olddefconfig SRC CONFIG`."""

import re
import sys
from pathlib import Path


def symbols(text: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        words = line.split()
        if words[:1] == ["config"]:
            current = found.setdefault(words[1], {"type": "bool", "default": "", "depends": ""})
        elif words[:1] in (["bool"], ["int"]):
            current["type"] = words[0]
        elif words[:1] == ["default"]:
            current["default"] = words[1]
        elif words[:2] == ["depends", "on"]:
            current["depends"] = " ".join(words[2:])
    return found


def met(depends: str, values: dict[str, str]) -> bool:
    terms = filter(None, (term.strip() for term in depends.split("&&")))
    return all((values.get(term.lstrip("!"), "n") == "y") != term.startswith("!") for term in terms)


def main(arch: str, target: str, src: str, config: str) -> None:
    text = "".join((Path(src) / name).read_text() for name in (f"arch/{arch}/Kconfig", "Kconfig"))
    path, asked = Path(config), {}
    if target == "olddefconfig" and path.exists():
        asked = dict(re.findall(r"^CONFIG_(\w+)=(.*)$", path.read_text(), re.MULTILINE))
    known, values = symbols(text), {}
    for name, symbol in known.items():
        default = symbol["default"] if target == "olddefconfig" or symbol["type"] == "int" else ""
        values[name] = asked.get(name, default or "n")
    for name, symbol in known.items():
        if not met(symbol["depends"], values):
            values[name] = "n"
    unset = (f"# CONFIG_{name} is not set\n" for name, value in values.items() if value == "n")
    lines = (f"CONFIG_{name}={value}\n" for name, value in values.items() if value != "n")
    path.write_text("#\n# Toy kernel\n#\n" + "".join(lines) + "".join(unset))


main(*sys.argv[1:])

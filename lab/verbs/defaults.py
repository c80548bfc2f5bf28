# SPDX-License-Identifier: GPL-2.0-or-later
"""The user's defaults for options, checked against the options that there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from lab.core.errors import nearest
from lab.specs import settings
from lab.specs.settings import EVERY, Own


def read(group: click.Group) -> dict[str, dict[str, Any]]:
    """Return click's default map, verb -> parameter -> value; InputError, with its line, for a wrong setting."""
    own = settings.load()
    found: dict[str, dict[str, Any]] = {name: {} for name in group.commands}
    known = {name: _options(verb) for name, verb in group.commands.items()}
    anywhere = [name for options in known.values() for name in options]
    for verb, options in sorted(own.defaults.items(), key=lambda own_default: own_default[0] != EVERY):
        if verb not in known and verb != EVERY:
            near = nearest(verb, [*known, EVERY])
            text = f"no such verb, expected {EVERY} or one of {', '.join(sorted(known))}"
            raise own.error(("defaults", verb), text, near)
        for name, value in options.items():
            _check_known(own, verb, name, sorted(known.get(verb, set(anywhere))))
            for affected in known if verb == EVERY else [verb]:
                if option := known[affected].get(name):
                    found[affected][str(option.name)] = _checked(own, verb, name, option, value)
    return found


def _options(verb: click.Command) -> Mapping[str, click.Option]:
    """Return a verb's options by their long names, without the dashes."""
    options = [parameter for parameter in verb.params if isinstance(parameter, click.Option)]
    return {name[2:]: option for option in options for name in option.opts if name.startswith("--")}


def _check_known(own: Own, verb: str, name: str, choices: Sequence[str]) -> None:
    if name not in choices:
        whose = "of no verb" if verb == EVERY else f"not of `lab {verb}`"
        text = f"{whose}, expected one of {', '.join(choices) or 'none'}"
        raise own.error(("defaults", verb, name), text, nearest(name, choices))


def _checked(own: Own, verb: str, name: str, option: click.Option, value: Any) -> Any:
    """Return the value as click wants it; InputError if the option does not accept it."""
    many = isinstance(value, tuple)
    if option.is_flag != isinstance(value, bool) or (many and not option.multiple):
        raise own.error(("defaults", verb, name), f"expected {_expected(option)}")
    try:
        for item in value if many else (value,):
            taken = option.type.convert(str(item) if not option.is_flag else item, option, None)
            if option.callback:
                option.callback(click.Context(click.Command(verb)), option, taken)
    except click.BadParameter as error:
        text = error.message
        if not text.startswith("expected "):  # click's own
            text = _range_of(option.type, value) or text
        raise own.error(("defaults", verb, name), text) from None
    return [value] if option.multiple and not many else value


def _range_of(kind: object, value: Any) -> str:
    """Return what a number has to be, for an error message; empty if the option is no number."""
    if not isinstance(kind, click.IntRange | click.FloatRange):
        return ""
    words = "a whole number" if isinstance(kind, click.IntRange) else "a number"
    limits = [f"at least {kind.min}"] if kind.min is not None else []
    limits += [f"at most {kind.max}"] if kind.max is not None else []
    return ", ".join([f"expected {words}", *limits, f"got {value!r}"])


def _expected(option: click.Option) -> str:
    """Return what an option's default may be, for an error message."""
    if option.is_flag:
        return "true or false"
    return "a list or one value" if option.multiple else "one value"

# SPDX-License-Identifier: GPL-2.0-or-later
"""Read YAML files into models. An error names the file, the line, the key and what was expected.

The YAML accepted is the plain part of the language: mappings with unique keys, lists, and scalars as YAML 1.2 reads
them (`on`, `no`, `010` and `1:30` are text). Tags, anchors and aliases are refused, so that no file can make the
reader build an object or grow beyond its own size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lab.core.errors import InputError, nearest
from lab.core.paths import instead_of_file
from lab.specs.model import Spec, got

MAX_BYTES = 256 << 10
MAX_DEPTH = 16
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,62}")
"""The valid names of topologies, kernels and campaigns, which become directory names and command-line words."""

YamlPath = tuple[str | int, ...]
"""The place of a value in its file: ("numa", 1, "memory")."""

Model = TypeVar("Model", bound=Spec)

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_EXPONENT = r"[eE][-+]?[0-9]{1,3}"
_FLOAT = re.compile(rf"[-+]?(?:(?:0|[1-9][0-9]*)?\.[0-9]+(?:{_EXPONENT})?|(?:0|[1-9][0-9]*){_EXPONENT})")
_WORDS: Mapping[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlDocument:
    """A YAML file that was read: its top mapping, and the line (from 1) on which every value's key stands."""

    path: Path
    data: Mapping[str, Any]
    lines: Mapping[YamlPath, int]

    def line(self, where: YamlPath) -> int | None:
        """Return the line of a value, or of the innermost value around it in the file; None if there is none."""
        while where not in self.lines and where:
            where = where[:-1]
        return self.lines.get(where)

    def error(self, where: YamlPath, expected: str, *, nearest: str | None = None) -> InputError:
        """Return the error for one value of this file."""
        return InputError(self.path, self.line(where), spell(where), expected, nearest=nearest)

    def build(self, model: type[Model]) -> Model:
        """Return the model that this file describes; InputError for the first error in it."""
        if "name" in self.data:
            raise self.error(("name",), f"not a key: the file's own name is the name ({self.path.stem})")
        try:
            return model.model_validate({**self.data, "name": _name(self.path)})
        except ValidationError as error:
            raise self._first(error, model) from None

    def _first(self, error: ValidationError, model: type[BaseModel]) -> InputError:
        """Return the first error in the file; a missing key comes last, as a misspelt key is its usual cause."""
        errors = error.errors(include_url=False)
        worst = min(errors, key=lambda detail: (detail["type"] == "missing", self.line(_where(detail)) or 0))
        where, expected, near = explain(worst, model)
        return self.error(where, expected, nearest=near)


def is_empty(path: Path) -> bool:
    """Whether a file has nothing but blank lines and comments; False if it cannot be read."""
    try:
        lines = path.read_bytes()[:MAX_BYTES].splitlines()
    except OSError:
        return False
    return not any(line.partition(b"#")[0].strip() for line in lines)


def read(path: Path) -> YamlDocument:
    """Read one YAML file, whose top must be a mapping that is not empty."""
    text = _text(path)
    lines: dict[YamlPath, int] = {}
    try:
        data = _Reader(path, lines).document(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InputError(path, line, None, f"expected text, got the character {error.character:#x}") from None
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(path, error) from None
    return YamlDocument(path=path, data=data, lines=lines)


_HINTS = (
    ("found character '\\t'", "YAML is indented with blanks, never with tabs"),
    ("found character", "a value that begins with it needs quotes"),
    ("mapping values are not", "does a value with `: ` in it lack quotes, or is a line indented too far?"),
    ("could not find expected ':'", "is a key without `: ` behind it?"),
)
"""The beginning of what the YAML library says -> what is probably wrong."""


def _not_yaml(path: Path, error: yaml.MarkedYAMLError) -> InputError:
    """Return a syntax error at the line where reading stopped; it also names the line where the element began."""
    mark, began = error.problem_mark or error.context_mark, error.context_mark
    why = " ".join(part for part in (error.problem, error.context) if part)
    if mark and began and began.line < mark.line:
        why += f" that began on line {began.line + 1}"
    why += next((f": {hint}" for problem, hint in _HINTS if (error.problem or "").startswith(problem)), "")
    line = None
    if mark:
        line = mark.line + 1
    return InputError(path, line, None, f"not YAML: {why}")


def spell(where: YamlPath) -> str:
    """Return a value's place on one line as users write it: ("numa", 1, "memory") -> `numa[1].memory`."""
    words = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    return "".join(word if word.isprintable() else repr(word[1:]) for word in words).removeprefix(".")


def _name(path: Path) -> str:
    if not NAME.fullmatch(path.stem):
        raise InputError(
            path, None, None, "expected a file name of letters, digits and . _ + - (at most 63), since it is the name"
        )
    return path.stem


def _text(path: Path) -> str:
    """Return a file's text; InputError for anything but a small UTF-8 file."""
    try:
        if not path.is_file():
            raise InputError(path, None, None, f"expected a YAML file, got {instead_of_file(path)}")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(path, None, None, f"cannot be read: {why}") from None
    if len(raw) > MAX_BYTES:
        raise InputError(path, None, None, f"expected at most {MAX_BYTES >> 10} KiB of YAML")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(path, line, None, f"expected UTF-8 text, got the byte {raw[error.start]:#04x}") from None


class _Reader:
    """Builds plain values from YAML events and records lines. Events allow the depth to be limited before recursion."""

    def __init__(self, path: Path, lines: dict[YamlPath, int]) -> None:
        self.path = path
        self.lines = lines

    def document(self, events: Iterator[yaml.Event]) -> Mapping[str, Any]:
        """Return the one document of a file."""
        first: yaml.Event = yaml.StreamStartEvent()
        while isinstance(first, yaml.StreamStartEvent | yaml.DocumentStartEvent):
            first = next(events)
        if isinstance(first, yaml.StreamEndEvent) or (isinstance(first, yaml.ScalarEvent) and not first.value):
            raise InputError(self.path, None, None, "expected keys and values, got an empty file")
        self.lines[()] = _line(first)
        data = self._value(first, events, ())
        next(events)  # the document's end
        after = next(events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._error(after, (), "expected one YAML document in the file, got a second")
        if not isinstance(data, dict):
            raise self._error(first, (), f"expected `key: value` lines, got {got(data)}")
        return data

    def _value(self, event: yaml.Event, events: Iterator[yaml.Event], where: YamlPath) -> Any:
        """Return the value that begins with `event`, and consume its events."""
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise self._error(event, where, "anchors and aliases (&x, *x) are not accepted: write the value out")
        if tag := getattr(event, "tag", None):
            raise self._error(event, where, f"tags are not accepted, got {tag!r}")
        if len(where) >= MAX_DEPTH:
            raise self._error(event, where[:3], f"nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event.value) if event.implicit[0] else event.value
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(events, where)
        return self._mapping(events, where)

    def _list(self, events: Iterator[yaml.Event], where: YamlPath) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            here = (*where, len(values))
            self.lines[here] = _line(event)
            values.append(self._value(event, events, here))
        return values

    def _mapping(self, events: Iterator[yaml.Event], where: YamlPath) -> dict[str, Any]:
        """Return a mapping. Keys are always the text in the file: `2: x` has the key "2"."""
        values: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent) or getattr(event, "tag", None) or getattr(event, "anchor", None):
                raise self._error(event, where, "expected a plain word as the key")
            here = (*where, event.value)
            if event.value in values:
                raise self._error(event, here, f"the key is there twice, first on line {self.lines[here]}")
            self.lines[here] = _line(event)
            values[event.value] = self._value(next(events), events, here)
        return values

    def _error(self, event: yaml.Event, where: YamlPath, expected: str) -> InputError:
        return InputError(self.path, _line(event), spell(where), expected)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _scalar(text: str) -> str | int | float | bool | None:
    """Return the value of an unquoted scalar by YAML 1.2's core rules, in decimal only."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


# pydantic's error types -> words. Types without an entry keep pydantic's own message.
_TYPES: Mapping[str, str] = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "frozen_set_type": "a list",
    "set_type": "a list",
    "dict_type": "`key: value` pairs",
    "model_type": "`key: value` pairs",
}
_UNQUOTED: Mapping[str, type] = {"int_type": int, "float_type": float, "bool_type": bool}
_LIMITS: Mapping[str, tuple[str, str]] = {
    "greater_than_equal": ("at least", "ge"),
    "less_than_equal": ("at most", "le"),
    "greater_than": ("more than", "gt"),
    "less_than": ("less than", "lt"),
}


def explain(error: ErrorDetails, model: type[BaseModel]) -> tuple[YamlPath, str, str | None]:
    """Return an error of pydantic as (place, what was expected and got, the nearest known word or None)."""
    where = _where(error)
    match error["type"]:
        case "extra_forbidden":
            known = _keys(model, where[:-1])
            return where, f"unknown key, expected one of {', '.join(known)}", nearest(str(where[-1]), known)
        case "missing":
            return where, "is required, and missing", None
        case "value_error":
            return _validator(str(error.get("ctx", {}).get("error", error["msg"])), where, model)
        case "literal_error":
            near = nearest(str(error["input"]), re.findall(r"'([^']*)'", error["ctx"]["expected"]))
        case _:
            near = None
    return where, f"{_expected(error)}, got {got(error['input'])}", near


def _expected(error: ErrorDetails) -> str:
    """Return what was expected, for an error about one value."""
    kind, context = error["type"], error.get("ctx", {})
    if kind in _TYPES:
        return f"expected {_TYPES[kind]}{_quotes(kind, error['input'])}"
    if kind in _LIMITS:
        words, limit = _LIMITS[kind]
        return f"expected {words} {context[limit]}"
    if kind == "string_pattern_mismatch":
        return f"expected a word ({context['pattern'].strip('^$')})"
    if kind == "too_short":
        return f"expected at least {context['min_length']} entry"
    if "expected" in context:
        return f"expected {context['expected']}"
    return error["msg"]


def _quotes(kind: str, value: object) -> str:
    """Return what is wrong with the quotes around a value, or with their absence; empty if nothing is."""
    if kind == "string_type" and isinstance(value, int | float):
        return " in quotes"
    if isinstance(value, str) and type(_scalar(value)) is _UNQUOTED.get(kind):
        return " without quotes"
    return ""


def _where(error: ErrorDetails) -> YamlPath:
    """Return pydantic's location without its marker for keys of a dictionary."""
    return tuple(part for part in error["loc"] if part != "[key]")


def _validator(message: str, where: YamlPath, model: type[BaseModel]) -> tuple[YamlPath, str, str | None]:
    """Explain a model's own ValueError, which may begin with the place at fault, `distances[1]: ...`."""
    match = re.match(r"([a-z_]+)((?:\[\d+\]|\.\w+)*): (.*)", message, re.DOTALL)
    if not match or match[1] not in _keys(model, where):
        return where, message, None
    rest = (int(part) if part.isdigit() else part for part in re.findall(r"\w+", match[2]))
    return (*where, match[1], *rest), match[3], None


def _keys(model: type[BaseModel], where: YamlPath) -> list[str]:
    """Return the keys that a model allows at a place, in the model's order."""
    user_key = False  # whether the next part is a key of a dictionary, which the user chose
    for part in where:
        if isinstance(part, str) and not user_key:
            field = model.model_fields.get(part)
            inner = _model_in(field.annotation) if field else None
            if field is None or inner is None:
                return []
            model, user_key = inner, _is_dictionary(field.annotation)
        else:
            user_key = False
    return [name for name in model.model_fields if name != "name"]


def _is_dictionary(annotation: Any) -> bool:
    """Return whether a field's type is a dictionary, annotated or not."""
    return get_origin(annotation) is dict or any(get_origin(argument) is dict for argument in get_args(annotation))


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model inside a field's type, `tuple[NumaCell, ...]` -> NumaCell; None if there is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)

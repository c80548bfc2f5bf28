# SPDX-License-Identifier: GPL-2.0-or-later
"""Generate small defects in C source of the kernel, from its syntax tree. Pure: text in, `Mutation`s out.

The parser is tree-sitter's C grammar, which gives a tree also where macros (`list_for_each_entry(...) {`) are no C: a
statement whose own tree has an error in it is left alone. A mutation keeps the number of lines, so that line numbers
which the compiler puts into the object (`WARN_ON`, `BUG`) stay what they were, and equal code gives an equal object.

The operators, and what each does:

    negate-condition   if (c)            -> if (!(c)); also while, for, ?:
    drop-operand       a && b            -> a, and b; also ||
    comparison         a < b             -> a <= b, and a >= b; == -> !=
    arithmetic         a + b             -> a - b; << and >>, | and &, | -> its left operand
    constant           n                 -> n + 1; a number that is no array size; true and false
    flag               VM_SHARED         -> its neighbour in FLAGS (VM_MAYSHARE); also GFP_, SB_, FAULT_FLAG_, ...
    error-code         -ENOMEM           -> -EINVAL, and 0
    function           round_up(a, b)    -> round_down(a, b), and other pairs of PAIRS
    swap-arguments     f(a, b)           -> f(b, a), where both are declared with the same type
    remove-statement   f(x);  x = y;     -> nothing; also goto, break, continue and a `return` that is not the last
    forget-step        the same, where the statement stands in an error path: behind a label, or before `return -E...`
    barrier            smp_mb();         -> nothing; READ_ONCE(x) -> x; i_size_read(i) -> i->i_size
    lock               lock ... unlock   -> both removed; and each moved over the statement beside it
    early-return       { s              -> { return 0; s
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import tree_sitter_c
from tree_sitter import Language, Node, Parser

Edit = tuple[int, int, bytes]
"""Offset of the first byte, offset behind the last byte, what stands there instead."""

MAX_SHOWN = 60

COMPARISONS = {
    "<": ("<=", ">="),
    "<=": ("<", ">"),
    ">": (">=", "<="),
    ">=": (">", "<"),
    "==": ("!=",),
    "!=": ("==",),
}
ARITHMETIC = {"+": "-", "-": "+", "<<": ">>", ">>": "<<", "|": "&", "&": "|", "*": "+"}
ASSIGNMENTS = {"+=": "-=", "-=": "+=", "|=": "&=", "&=": "|="}
FLAGS = (
    ("VM_SHARED", "VM_MAYSHARE"),
    ("VM_WRITE", "VM_MAYWRITE"),
    ("VM_READ", "VM_MAYREAD"),
    ("VM_NORESERVE", "VM_ACCOUNT"),
    ("VM_LOCKED", "VM_LOCKONFAULT"),
    ("VM_DONTEXPAND", "VM_DONTCOPY"),
    ("VM_PFNMAP", "VM_MIXEDMAP"),
    ("VM_HUGEPAGE", "VM_NOHUGEPAGE"),
    ("VM_UFFD_MISSING", "VM_UFFD_WP"),
    ("GFP_KERNEL", "GFP_ATOMIC"),
    ("GFP_KERNEL_ACCOUNT", "GFP_KERNEL"),
    ("GFP_HIGHUSER_MOVABLE", "GFP_HIGHUSER"),
    ("__GFP_NOWARN", "__GFP_NOFAIL"),
    ("FAULT_FLAG_WRITE", "FAULT_FLAG_USER"),
    ("FAULT_FLAG_ALLOW_RETRY", "FAULT_FLAG_KILLABLE"),
    ("VM_FAULT_SIGBUS", "VM_FAULT_OOM"),
    ("VM_FAULT_NOPAGE", "VM_FAULT_RETRY"),
    ("SGP_CACHE", "SGP_READ"),
    ("SGP_WRITE", "SGP_CACHE"),
    ("MREMAP_MAYMOVE", "MREMAP_FIXED"),
    ("MREMAP_DONTUNMAP", "MREMAP_FIXED"),
    ("MAP_SHARED", "MAP_PRIVATE"),
    ("MAP_FIXED", "MAP_FIXED_NOREPLACE"),
    ("MPOL_BIND", "MPOL_PREFERRED"),
    ("MPOL_INTERLEAVE", "MPOL_WEIGHTED_INTERLEAVE"),
    ("MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"),
    ("PAGE_MASK", "~PAGE_MASK"),
    ("PAGE_SHIFT", "PMD_SHIFT"),
    ("HPAGE_PMD_NR", "1"),
    ("HPAGE_PMD_ORDER", "0"),
    ("SCAN_FAIL", "SCAN_SUCCEED"),
)
ERRORS = {
    "ENOMEM": "EINVAL",
    "EINVAL": "ENOMEM",
    "EFAULT": "ENOMEM",
    "EAGAIN": "EINVAL",
    "EPERM": "EACCES",
    "EACCES": "EPERM",
    "EBUSY": "EAGAIN",
    "ENOSPC": "ENOMEM",
    "EEXIST": "EINVAL",
    "EINTR": "EAGAIN",
    "EOVERFLOW": "EINVAL",
    "EOPNOTSUPP": "EINVAL",
    "EIO": "EFAULT",
    "ENODEV": "EINVAL",
    "ENOENT": "EINVAL",
}
PAIRS = (
    ("round_up", "round_down"),
    ("ALIGN", "ALIGN_DOWN"),
    ("PAGE_ALIGN", "PAGE_ALIGN_DOWN"),
    ("DIV_ROUND_UP", "DIV_ROUND_DOWN_ULL"),
    ("PFN_UP", "PFN_DOWN"),
    ("min", "max"),
    ("min_t", "max_t"),
    ("likely", "unlikely"),
    ("mmap_read_lock", "mmap_write_lock"),
    ("vma_start_write", "vma_assert_locked"),
)
BARRIERS = re.compile(r"(?:smp_|dma_|__)?(?:mb|rmb|wmb|barrier|store_release|mb__\w+)")
LOCK = re.compile(
    r"(?P<kind>\w*(?:spin|mutex|read|write|rwsem|inode|folio|rcu_read|mmap_\w+|seqcount|raw_spin|i_mmap)\w*?_?)"
    r"(?P<way>lock|unlock|down|up|begin|end)(?P<rest>(?:_\w+)?)"
)
OPENS = {"lock": "unlock", "down": "up", "begin": "end"}
QUIET = frozenset({"likely", "unlikely", "pr_warn", "pr_info", "pr_debug", "printk", "WARN_ON", "WARN_ON_ONCE"})
"""Calls whose removal or exchange changes nothing that a program sees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """One defect in one file."""

    operator: str
    line: int
    """Of the first byte that is changed, from 1."""
    function: str
    """Whose body it is in; empty for a macro."""
    what: str
    """Before and after, in one line: `a < b -> a <= b`."""
    edits: tuple[Edit, ...]

    def apply(self, source: bytes) -> bytes:
        """Return the source with the defect. The number of lines stays."""
        for start, end, text in sorted(self.edits, reverse=True):
            newlines = source.count(b"\n", start, end) - text.count(b"\n")
            source = source[:start] + text + b"\n" * max(0, newlines) + source[end:]
        return source


def mutations(source: bytes, lines: Collection[int]) -> tuple[Mutation, ...]:
    """Return every mutation whose first changed byte is on one of the lines (from 1), by line; none twice.

    Two mutations that give the same text are one: the first by operator in the order of the module's table stays.
    """
    wanted = frozenset(lines)
    found: dict[bytes, Mutation] = {}
    for mutation in _all(source, wanted):
        if mutation.line in wanted:
            key = repr(sorted(mutation.edits)).encode()
            found.setdefault(key, mutation)
    return tuple(sorted(found.values(), key=lambda mutation: (mutation.line, mutation.edits)))


def functions(source: bytes) -> dict[str, tuple[int, int]]:
    """Return the functions that a file defines: name -> first and last line, from 1."""
    places = {}
    for node in _walk(_parse(source)):
        if node.type == "function_definition":
            places[_name_of(node)] = (node.start_point.row + 1, node.end_point.row + 1)
    return places


@cache
def _parser() -> Parser:
    return Parser(Language(tree_sitter_c.language()))


def _parse(source: bytes) -> Node:
    return _parser().parse(source).root_node


def _walk(node: Node) -> Iterator[Node]:
    """Every node below one, itself first. A loop: source may nest deeper than Python's stack."""
    pending = [node]
    while pending:
        current = pending.pop()
        yield current
        pending.extend(reversed(current.children))


def _touches(node: Node, lines: frozenset[int]) -> bool:
    return any(row + 1 in lines for row in range(node.start_point.row, node.end_point.row + 1))


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")


def _named(node: Node, field: str) -> Node | None:
    return node.child_by_field_name(field)


def _name_of(function: Node) -> str:
    """The name that a function definition declares; empty if there is none (a macro in its place)."""
    node = _named(function, "declarator")
    while node is not None and node.type != "identifier":
        inner = _named(node, "declarator")
        node = inner if inner is not None else next((child for child in node.children if child.is_named), None)
    return _text(node) if node is not None else ""


def _all(source: bytes, lines: frozenset[int]) -> Iterator[Mutation]:
    root = _parse(source)
    for node in _walk(root):
        if node.type == "preproc_def" and _touches(node, lines):
            yield from _of_macro(node)
        if node.type == "function_definition" and _touches(node, lines):
            yield from _of_function(node, lines)


def _of_macro(node: Node) -> Iterator[Mutation]:
    """The value of a macro that is one flag."""
    value = _named(node, "value")
    if value is None:
        return
    word = _text(value).strip()
    for other in _neighbours(word):
        start = value.start_byte + _text(value).index(word)
        yield Mutation(
            operator="flag",
            line=node.start_point.row + 1,
            function="",
            what=_change(word, other),
            edits=((start, start + len(word), other.encode()),),
        )


def _of_function(function: Node, lines: frozenset[int]) -> Iterator[Mutation]:
    name = _name_of(function)
    body = _named(function, "body")
    if body is None:
        return
    types = _types(function)
    for node in _walk(body):
        if not _touches(node, lines) or (node.has_error and node.type not in _BLOCKS):
            continue
        found = [mutation for operator in _OPERATORS.get(node.type, ()) for mutation in operator(node)]
        if node.type == "call_expression":
            found += _swapped_arguments(node, types)
        for kind, before, after, edits in found:
            row = min(_row(node, start) for start, _, _ in edits)
            yield Mutation(operator=kind, line=row, function=name, what=_change(before, after), edits=edits)
    yield from _early_returns(function, body, name, lines)


Found = tuple[str, str, str, tuple[Edit, ...]]
"""Operator, before, after, edits."""
Operator = Callable[[Node], Iterator[Found]]
_BLOCKS = ("compound_statement", "case_statement", "labeled_statement", "if_statement", "while_statement")


def _row(node: Node, offset: int) -> int:
    """The line of an offset, from 1. It may lie before the node, where a statement was moved over the one before it."""
    root = node
    while root.parent is not None:
        root = root.parent
    return (root.text or b"").count(b"\n", 0, offset) + 1


def _change(before: str, after: str) -> str:
    return f"{_short(before)} -> {_short(after) or 'nothing'}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_SHOWN else f"{line[: MAX_SHOWN - 3]}..."


def _edit(node: Node, text: str) -> tuple[Edit, ...]:
    return ((node.start_byte, node.end_byte, text.encode()),)


def _types(function: Node) -> dict[str, str]:
    """Variable -> its type as declared, of parameters and of declarations in the body; `*` for each pointer."""
    types: dict[str, str] = {}
    for node in _walk(function):
        if node.type not in ("parameter_declaration", "declaration"):
            continue
        kind = _named(node, "type")
        for declarator in node.children_by_field_name("declarator"):
            stars, inner = "", declarator
            while inner.type in ("pointer_declarator", "init_declarator", "array_declarator"):
                stars += "*" if inner.type != "init_declarator" else ""
                following = _named(inner, "declarator")
                if following is None:
                    break
                inner = following
            if inner.type == "identifier" and kind is not None:
                types[_text(inner)] = _text(kind) + stars
    return types


# Expressions.


def _negated(node: Node) -> Iterator[Found]:
    condition = _named(node, "condition")
    if condition is None or condition.has_error:
        return
    text = _text(condition)
    inner = text[1:-1] if condition.type == "parenthesized_expression" else text
    after = inner[1:] if re.fullmatch(r"!\w+(?:\([^()]*\))?", inner) else f"!({inner})"
    replacement = f"({after})" if condition.type == "parenthesized_expression" else after
    yield "negate-condition", text, replacement, _edit(condition, replacement)


def _binary(node: Node) -> Iterator[Found]:
    left, operator, right = _named(node, "left"), _named(node, "operator"), _named(node, "right")
    if left is None or operator is None or right is None:
        return
    sign, text = _text(operator), _text(node)
    head, tail = text[: operator.start_byte - node.start_byte], text[operator.end_byte - node.start_byte :]
    if sign in ("&&", "||"):
        for operand in (left, right):
            yield "drop-operand", text, _text(operand), _edit(node, _text(operand))
    for other in COMPARISONS.get(sign, ()):
        yield "comparison", text, f"{head}{other}{tail}", _edit(operator, other)
    if sign in ARITHMETIC:
        other = ARITHMETIC[sign]
        yield "arithmetic", text, f"{head}{other}{tail}", _edit(operator, other)
    if sign in ("|", "+", "-"):
        yield "arithmetic", text, _text(left), _edit(node, _text(left))


def _unary(node: Node) -> Iterator[Found]:
    operand, text = _named(node, "argument"), _text(node)
    if operand is None:
        return
    if text.startswith("-") and _text(operand) in ERRORS:
        for other in (f"-{ERRORS[_text(operand)]}", "0"):
            yield "error-code", text, other, _edit(node, other)
    if text.startswith("~"):
        yield "arithmetic", text, _text(operand), _edit(node, _text(operand))


def _number(node: Node) -> Iterator[Found]:
    text = _text(node)
    match = re.fullmatch(r"(0[xX][0-9a-fA-F]+|[0-9]+)([uUlL]*)", text)
    if not match:
        return
    number = int(match[1], 0) if not re.fullmatch(r"0[0-7]+", match[1]) else int(match[1], 8)
    other = f"{number + 1}{match[2]}"
    yield "constant", text, other, _edit(node, other)


def _neighbours(word: str) -> Iterator[str]:
    for pair in FLAGS:
        if word in pair:
            yield pair[1] if word == pair[0] else pair[0]


def _identifier(node: Node) -> Iterator[Found]:
    word = _text(node)
    for other in _neighbours(word):
        yield "flag", word, other, _edit(node, other)
    opposite = {"true": "false", "false": "true"}.get(word)
    if opposite:
        yield "constant", word, opposite, _edit(node, opposite)


def _assignment(node: Node) -> Iterator[Found]:
    operator = _named(node, "operator")
    other = ASSIGNMENTS.get(_text(operator)) if operator is not None else None
    if operator is not None and other:
        text = _text(node)
        yield "arithmetic", text, text.replace(_text(operator), other, 1), _edit(operator, other)


def _call(node: Node) -> Iterator[Found]:
    function, arguments = _named(node, "function"), _named(node, "arguments")
    if function is None or arguments is None:
        return
    name, text = _text(function), _text(node)
    given = [child for child in arguments.children if child.is_named]
    for pair in PAIRS:
        if name in pair and name not in QUIET:
            other = pair[1] if name == pair[0] else pair[0]
            yield "function", text, text.replace(name, other, 1), _edit(function, other)
    if name in ("READ_ONCE", "smp_load_acquire") and len(given) == 1:
        yield "barrier", text, _text(given[0]), _edit(node, f"({_text(given[0])})")
    if name == "i_size_read" and len(given) == 1:
        yield "barrier", text, f"{_text(given[0])}->i_size", _edit(node, f"(({_text(given[0])})->i_size)")
    if name in ("WRITE_ONCE", "smp_store_release") and len(given) == 2:
        target, value = given
        yield "barrier", text, f"{_text(target)} = {_text(value)}", _edit(node, f"({_text(target)} = {_text(value)})")


def _swapped_arguments(call: Node, types: dict[str, str]) -> Iterator[Found]:
    """Two neighbours that are variables of one declared type, exchanged."""
    arguments = _named(call, "arguments")
    given = [child for child in arguments.children if child.is_named] if arguments is not None else []
    for first, second in pairwise(given):
        one, other = _text(first), _text(second)
        if one != other and one in types and types[one] == types.get(other):
            edits = (*_edit(first, other), *_edit(second, one))
            yield "swap-arguments", _text(call), f"... {other}, {one} ...", edits


# Statements.


def _called(statement: Node) -> str:
    """The function that an expression statement calls; empty if it is no call."""
    inner = statement.children[0] if statement.children else None
    if statement.type != "expression_statement" or inner is None or inner.type != "call_expression":
        return ""
    function = _named(inner, "function")
    return _text(function) if function is not None else ""


def _removed(node: Node) -> Iterator[Found]:
    name = _called(node)
    if name in QUIET or _is_last_return(node) or _text(node).strip() == ";":
        return
    kind = "remove-statement"
    if BARRIERS.fullmatch(name):
        kind = "barrier"
    elif _is_error_path(node):
        kind = "forget-step"
    text = _text(node)
    yield kind, text, "", _edit(node, ";")


def _is_last_return(node: Node) -> bool:
    """Whether a `return` ends its function: without it there is no code that a compiler accepts without warning."""
    if node.type != "return_statement" or node.parent is None:
        return False
    parent = node.parent
    if parent.type == "labeled_statement":
        node, parent = parent, parent.parent or parent
    owner = parent.parent
    inside = parent.type == "compound_statement" and owner is not None and owner.type == "function_definition"
    return inside and node.next_named_sibling is None


_ERROR_RETURN = re.compile(r"return\s+(?:-E[A-Z]+|ERR_PTR\(.*|VM_FAULT_\w+|false|NULL)\s*;|goto\s+\w+\s*;")


def _is_error_path(node: Node) -> bool:
    """Whether a statement stands behind a label, or in a block that ends in the return of an error or in a goto."""
    parent = node.parent
    if parent is None or node.type == "return_statement":
        return False
    if parent.type == "labeled_statement":
        return True
    sibling = node.prev_named_sibling
    while sibling is not None:
        if sibling.type == "labeled_statement":
            return True
        sibling = sibling.prev_named_sibling
    last = [child for child in parent.children if child.is_named]
    nested = parent.parent is not None and parent.parent.type != "function_definition"
    return bool(nested and last and last[-1] != node and _ERROR_RETURN.match(_text(last[-1])))


_MOVABLE = ("expression_statement", "if_statement", "while_statement", "for_statement", "do_statement")


def _locks(node: Node) -> Iterator[Found]:
    """In a block: a lock and its unlock removed; each moved over the statement that it protects first or last."""
    statements = _flat([child for child in node.children if child.is_named])
    for place, statement in enumerate(statements):
        match = LOCK.fullmatch(_called(statement))
        if match is None:
            continue
        if match["way"] in OPENS:
            closing = match["kind"] + OPENS[match["way"]] + match["rest"]
            partner = _partner(statements[place + 1 :], closing)
            if partner is not None:
                before = f"{_text(statement)} ... {_text(partner)}"
                yield "lock", before, "", (*_edit(statement, ";"), *_edit(partner, ";"))
            other = statements[place + 1] if place + 1 < len(statements) else None
        else:
            other = statements[place - 1] if place else None
        if other is not None and other.type in _MOVABLE and not other.has_error and _adjacent(statement, other):
            yield (
                "lock",
                f"{_text(statement)} {_text(other)}",
                "the lock one statement later or earlier",
                _swapped(statement, other),
            )


def _flat(statements: list[Node]) -> list[Node]:
    """The statements of a block, those behind labels in their place."""
    nodes: list[Node] = []
    for statement in statements:
        inner = statement
        while inner.type == "labeled_statement":
            inner = [child for child in inner.children if child.is_named][-1]
        nodes.append(inner)
    return nodes


def _partner(statements: list[Node], name: str) -> Node | None:
    return next((statement for statement in statements if _called(statement) == name), None)


def _adjacent(one: Node, other: Node) -> bool:
    return one.parent == other.parent


def _swapped(one: Node, other: Node) -> tuple[Edit, ...]:
    """Exchange two statements; each takes the lines of the other, so the number of lines in all stays."""
    first, second = sorted((one, other), key=lambda node: node.start_byte)
    between = first.end_byte, second.start_byte
    head, tail = first.text or b"", second.text or b""
    root = first
    while root.parent is not None:
        root = root.parent
    middle = (root.text or b"")[between[0] : between[1]]
    return ((first.start_byte, second.end_byte, tail + middle + head),)


_EMPTY = {"void": "return;", "bool": "return false;"}


def _early_returns(function: Node, body: Node, name: str, lines: frozenset[int]) -> Iterator[Mutation]:
    """A return before the first statement that was added to a function, and to each block of it."""
    value = _early_value(function)
    for block in _walk(body):
        if block.type != "compound_statement":
            continue
        statements = [
            statement
            for statement in block.children
            if statement.is_named and statement.type not in ("declaration", "comment")
        ]
        added = [statement for statement in statements if statement.start_point.row + 1 in lines]
        if not added or added[0].type in ("return_statement", "labeled_statement") or added[0].has_error:
            continue
        first = added[0]
        yield Mutation(
            operator="early-return",
            line=first.start_point.row + 1,
            function=name,
            what=_change(_text(first), f"{value} {_text(first)}"),
            edits=((first.start_byte, first.start_byte, f"if (1) {value} ".encode()),),
        )


def _early_value(function: Node) -> str:
    kind, declarator = _named(function, "type"), _named(function, "declarator")
    if declarator is not None and declarator.type == "pointer_declarator":
        return "return NULL;"
    return _EMPTY.get(_text(kind) if kind is not None else "", "return 0;")


_OPERATORS: dict[str, tuple[Operator, ...]] = {
    "if_statement": (_negated,),
    "while_statement": (_negated,),
    "for_statement": (_negated,),
    "conditional_expression": (_negated,),
    "binary_expression": (_binary,),
    "unary_expression": (_unary,),
    "number_literal": (_number,),
    "identifier": (_identifier,),
    "true": (_identifier,),
    "false": (_identifier,),
    "assignment_expression": (_assignment,),
    "call_expression": (_call,),
    "expression_statement": (_removed,),
    "return_statement": (_removed,),
    "goto_statement": (_removed,),
    "break_statement": (_removed,),
    "continue_statement": (_removed,),
    "compound_statement": (_locks,),
}

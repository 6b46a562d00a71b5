"""Operands of a recorded operation that are not on the tape: found by the values kept for backward, and named by the
user's line.

The source positions of instructions (PEP 657) give the expression that an operation was recorded for.
"""

from __future__ import annotations

import ast
import linecache
from functools import lru_cache
from types import CodeType
from typing import Any

import numpy as np

from .. import backend
from ..primitives import Elementwise
from ..tape import Node
from .numbers import Source
from .sources import constant, formula

OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide", ast.MatMult: "matmul",
    ast.Pow: "power",
}  # fmt: skip
LONGEST = 16  # characters of an expression that serves as a name
INPUT = "input"  # the label of one without a name
UNNAMED = object()  # stands for an operand in a formula


class Operands:
    """Finds the operands of nodes; one value has one source."""

    def __init__(self) -> None:
        self.known: dict[Any, Source] = {}

    def missing(self, node: Node) -> dict[Any, Source]:
        """By place, the operands that are not on the tape."""
        found: dict[Any, Source] = {}
        for place, value, name in _absent(node):
            array = value if backend.is_array(value) and value.ndim and value.dtype.kind in "fb" else None
            if array is None and value is not None:  # a number, or indices
                continue
            label = constant(array) if array is not None else "constant"
            unnamed = not isinstance(name, str) or label != "constant"
            label = str(name) if not unnamed else label
            if array is not None and label == "constant":  # many numbers
                label = INPUT
            key = (label, id(array)) if unnamed else label
            found[place] = self.known.setdefault(key, Source(label, array, constant=unnamed and label != INPUT))
        return found


def formula_of(node: Node) -> str:
    """The formula of an operation with a number, such as "× 0.5"; "" for others."""
    operands: list[Any] = [UNNAMED, UNNAMED]
    for place, value, _ in _absent(node):
        if isinstance(place, int) and place < 2 and _is_number(value):
            operands[place] = value
    return formula(node.primitive.name, tuple(operands)) if operands != [UNNAMED, UNNAMED] else ""


def name_of(node: Node, index: int) -> str | None:
    """The user's name of an operand."""
    names = _names(node.code, node.instruction, node.primitive.name)
    name = names[index] if index < len(names) else None
    return name if isinstance(name, str) else None


def _absent(node: Node) -> list[tuple[Any, Any, Any]]:
    """(place, value or None, name) of each operand with a gradient that is not among a node's edges."""
    edges = node.edges or ()
    pulls = getattr(node.primitive, "pulls", ())
    if not edges or not pulls:
        return []
    names = _names(node.code, node.instruction, node.primitive.name)
    kept = {name: value for _, pull, values in edges for name, value in zip(pull.names, values, strict=False)}
    there = {pull.operand: parent for parent, pull, _ in edges}
    found: list[tuple[Any, Any, Any]] = []
    for pull in pulls:
        index, name = pull.operand, names[pull.operand] if pull.operand < len(names) else None
        if index in there:
            parts = there[index]
            if type(parts) is tuple and isinstance(name, list) and len(name) == len(parts):
                found += [((index, k), None, name[k]) for k, part in enumerate(parts) if part is None]
            continue
        parameter = node.primitive.parameters[index]
        if parameter in kept:
            found.append((index, kept[parameter], name))
        elif isinstance(node.primitive, Elementwise):  # an operand that is always there
            found.append((index, name if isinstance(name, int | float) else None, name))
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) or (isinstance(value, np.ndarray) and value.ndim == 0)


@lru_cache(maxsize=4096)
def _names(code: CodeType, instruction: int, operation: str) -> tuple[Any, ...]:
    """The names of an operation's operands in the user's line: a string, a number, a list of such, or None; () if the
    line's expression is another."""
    expression = _expression(code, instruction)
    if isinstance(expression, ast.BinOp) and OPERATORS.get(type(expression.op)) == operation:
        return _name(expression.left), _name(expression.right)
    if isinstance(expression, ast.Call):
        function = expression.func
        called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        if called == operation and not any(isinstance(one, ast.Starred) for one in expression.args):
            return tuple(map(_name, expression.args))
    return ()


def _name(part: ast.expr) -> Any:
    if isinstance(part, ast.Name):
        return part.id
    if isinstance(part, ast.Attribute):
        return part.attr
    if isinstance(part, ast.Constant):
        return part.value if isinstance(part.value, int | float) else None
    if isinstance(part, ast.List | ast.Tuple):
        return [_name(one) for one in part.elts]
    key = part.slice if isinstance(part, ast.Subscript) else None
    if isinstance(key, ast.Constant) and isinstance(key.value, str):  # weights["W_in"]
        return key.value
    text = ast.unparse(part)
    return text if len(text) <= LONGEST else None


def _expression(code: CodeType, instruction: int) -> ast.expr | None:
    """The expression that an instruction evaluates; None without its source."""
    places = list(code.co_positions())
    line, end_line, column, end_column = places[instruction // 2] if instruction // 2 < len(places) else (None,) * 4
    if line is None or end_line is None or column is None or end_column is None:
        return None
    lines = [linecache.getline(code.co_filename, number).encode() for number in range(line, end_line + 1)]
    lines[-1] = lines[-1][:end_column]
    lines[0] = lines[0][column:]
    try:
        return ast.parse(b"(" + b"".join(lines) + b")", mode="eval").body
    except (SyntaxError, ValueError):
        return None

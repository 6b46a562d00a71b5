"""Small wrong changes of a source file, made on its syntax tree.

Code that affects no number is left out:

* text: strings and f-strings, `raise` and `assert` statements and the conditions before them, statements that build a
  sentence, annotations, decorators, imports, `__repr__`; `strict=` of zip, which is such a condition;
* code that affects only speed or memory: lines that name one of `SPEED`, and functions that are listed there.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

SPEED = {
    "LIMIT", "TOGETHER", "BLOCK", "at_once", "packs",  # when gathered products are summed, and how many at once
    "owned", "_aliases", "_repeats", "fresh", "others",  # which arrays backward may write into
    "observers", "fast", "hoisted", "hoists", "Once",  # the shorter ways
    "order", "check", "__slots__", "workers", "TYPE_CHECKING", "cache", "lru_cache",
    "rolls", "even", "over_x", "_replaces_x", "MOST",  # loops as programs: which are, and whose memory they use
    "pieces",  # how threads divide the rows of a loop
    "tqdm", "then",  # what a progress bar shows
}  # fmt: skip
# Changes that were checked, and change no result: part of a line, and the replacing text.
SAME = {
    ("np.sum(g.values, keepdims=True).reshape(-1)", "(1)"): "the sum has one element",
    ("np.sum(g.values, keepdims=True).reshape(-1)", "2"): "any negative number stands for the rest",
    ("likeliest(log_p, B + 1,", "2"): "one candidate more is asked for than needed",
    ('start, before, kind = 0, "O", ""', "1"): "it is written again before it is read",
    ("p is not None and _any_needed(p, needed)", "(p is not None or _any_needed(p, needed))"): "more nodes are visited",
    ("h, targets = np.where(np.expand_dims(mask, -1), h, 0.0)", "1.0"): "what does not count may be any finite number",
    ("return np.expand_dims(v, -1)", "(1)"): "it has one axis",
    ("y = _total(a, b) * np.sum(g * s, axis=-1)", "(1)"): "there are two axes",
    ("value = np.where(total > 0, np.take_along_axis(x, drawn", "(total >= 0)"): "where the total is 0, all are −∞",
    ("return np.where(counts, target, -1)", "2"): "any negative number stands for none",
    ('return {"momentum_buffer": 0.0} if options["momentum"]', "1.0"): "it is written before it is read",
    ("for k, end in enumerate(self.ends) if t <= end", "(t < end)"): "where two phases meet, they have one value",
    ("x = np.take_along_axis(x, places, axis=-1)", "(1)"): "there are two axes",
    ("not -1 <= labels.min() <= labels.max() < C", "2"): "the other condition finds a negative label",
    ("never = np.isinf(log_p) & (log_p < 0)", "1"): "an infinite number below 1 is below 0",
    ("return _scaled_norm(a.reshape(-1), 2.0)", "2"): "any negative number stands for the rest",
    ("weights = np.transpose(weights, np.argsort(axes)) if", "(len(axes) >= 1)"): "one axis stays where it is",
    ("if now.slope >= 0", "(now.slope > 0)"): "a slope of 0 is flat, which was asked before",
    ("= field(default=None, repr=False)", "True"): "what a repr shows",
    ("= field(default=None, repr=False)", "not False"): "what a repr shows",
    ("np.take_along_axis(origin, np.expand_dims(tag, -1), axis=1)", "(1)"): "the only axis is the last",
    ("np.dot(a, b)", "np.dot(b, a)"): "they are vectors",
}
IN_ANY_ORDER = {"isinstance", "hasattr", "getattr", "zip", "add", "maximum", "minimum", "multiply", "logaddexp"}
SWAPS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult, ast.FloorDiv: ast.Mod,
    ast.Mod: ast.FloorDiv, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
NAMES = {"maximum": "minimum", "minimum": "maximum", "max": "min", "min": "max", "argmax": "argmin", "zeros": "ones",
         "sin": "cos", "cos": "sin", "exp": "expm1", "log": "log1p", "sum": "mean", "cumsum": "cumprod",
         "floor": "ceil", "any": "all", "all": "any", "zeros_like": "ones_like", "ones_like": "zeros_like"}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change: its place in bytes, and the replacing text."""

    path: str
    line: int
    start: int
    end: int
    old: str
    new: str

    def applied(self, source: bytes) -> bytes:
        return source[: self.start] + self.new.encode() + source[self.end :]

    def __str__(self) -> str:
        return f"{self.path}:{self.line}  {' '.join(self.old.split())}  →  {' '.join(self.new.split())}"


def mutants(path: str, source: bytes) -> list[Mutant]:
    """All mutants of a file, in order of place."""
    tree = ast.parse(source)
    begins = [0]
    for line in source.splitlines(keepends=True):
        begins.append(begins[-1] + len(line))
    text = source.decode().splitlines()
    found = []
    for node in _counted(tree):
        if any(name in SPEED for name in _names(text[node.lineno - 1])):
            continue
        start = begins[node.lineno - 1] + node.col_offset
        end = begins[node.end_lineno - 1] + node.end_col_offset
        for other in _changed(node):
            new = ast.unparse(ast.fix_missing_locations(other))
            new = new if isinstance(node, ast.stmt | ast.Constant | ast.Call) else f"({new})"
            if any(part in text[node.lineno - 1] and new == wrong for part, wrong in SAME):
                continue
            found.append(Mutant(path, node.lineno, start, end, source[start:end].decode(), new))
    return sorted(found, key=lambda m: (m.start, m.end, m.new))


def _names(line: str) -> list[str]:
    return "".join(c if c.isalnum() or c == "_" else " " for c in line).split()


def _counted(node: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """The nodes that may be changed."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_comment", "type_params", "bases"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr | ast.Raise | ast.Assert | ast.Import):
                continue
            if isinstance(child, ast.keyword) and child.arg == "strict":
                continue
            if isinstance(child, ast.FunctionDef) and (child.name in SPEED or child.name in ("__repr__", "_check")):
                continue
            if isinstance(child, ast.If) and all(isinstance(s, ast.Raise) for s in child.body) and not child.orelse:
                continue  # refusals are checked by the tests of errors; this trial is about numbers
            if isinstance(child, ast.stmt) and not hasattr(child, "body") and _has_sentence(child):
                continue
            if isinstance(child, ast.expr | ast.stmt):
                yield child
            yield from _counted(child)


def _has_sentence(statement: ast.stmt) -> bool:
    texts = [n.value for n in ast.walk(statement) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return any(text.count(" ") > 2 for text in texts)


def _changed(node: ast.AST) -> Iterator[ast.AST]:
    """The wrong forms of a node."""
    other = copy.deepcopy(node)
    match other:
        case ast.BinOp(op=op) if type(op) in SWAPS:
            other.op = SWAPS[type(op)]()
            yield other
            if isinstance(op, ast.Add | ast.Sub | ast.Mult | ast.Div):
                yield node.left  # type: ignore[attr-defined]
        case ast.BinOp(op=ast.MatMult()):
            other.left, other.right = other.right, other.left
            yield other
        case ast.AugAssign(op=op) if type(op) in SWAPS:
            other.op = SWAPS[type(op)]()
            yield other
        case ast.Compare(ops=[op]) if type(op) in SWAPS:
            other.ops = [SWAPS[type(op)]()]
            yield other
        case ast.BoolOp(op=op):
            other.op = SWAPS[type(op)]()
            yield other
        case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert()):
            yield other.operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1)
        case ast.IfExp():
            other.body, other.orelse = other.orelse, other.body
            yield other
        case ast.Attribute(attr=name) if name in NAMES:
            other.attr = NAMES[name]
            yield other
        case ast.Call(func=func, args=[ast.Name() as first, ast.Name() as second, *_]):
            called = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
            if called not in IN_ANY_ORDER:
                other.args[:2] = [second, first]
                yield other

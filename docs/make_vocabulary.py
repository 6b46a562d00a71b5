"""Write `docs/vocabulary.md`: every operation with its rule, from the table of rules.

python docs/make_vocabulary.py           write the page
python docs/make_vocabulary.py --check   only check that it is up to date
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import numpy_functions as functions

from minigrad import vocabulary
from minigrad.primitives import Primitive

PAGE = Path(__file__).with_name("vocabulary.md")
FAMILIES = {
    "elementwise": "Element-wise",
    "parts": "Parts of numbers",
    "bessel": "Bessel functions",
    "activations": "Activations, softmax, error function",
    "reductions": "Reductions and running sums",
    "extremes": "Largest and smallest",
    "accumulations": "Methods of ufuncs",
    "statistics": "Order statistics and moments",
    "missing": "Past NaN",
    "calculus": "Differences, integrals, interpolation, convolution",
    "polynomials": "Polynomials",
    "products": "Products",
    "shaping": "Shape and order",
    "joining": "Joining and taking apart",
    "padding": "Padding",
    "editing": "Blocks, grids, rows put in and taken out",
    "indexing": "Indexing",
    "choosing": "Choosing",
    "sets": "Sets",
    "linalg": "Linear algebra",
    "decompositions": "Decompositions and pseudo-inverses",
    "equations": "Powers and equations of matrices",
    "standard": "Names that lead elsewhere",
    "copying": "Copies, dtypes, devices",
    "checkpointing": "Checkpointing",
}
INTRODUCTION = """# The vocabulary

The table lists every differentiable operation with the rule of its gradient. The page is generated from the rules by
`docs/make_vocabulary.py`; [Operations of your own](primitives.md) explains the notation.

In a rule, `g` is the gradient of the output, `y` the output, and the other names are the operation's own operands and
parameters; `x_shape` is the shape of `x`. A rule keeps alive only the values it names. Sums over broadcast axes and
casts are done by the engine and are not part of a rule. The last section lists all functions of NumPy, with the reason
for each one that is not supported.
"""


CORNERS = """## Ties, repeated values, NaN

* `maximum`, `minimum`: where two operands are equal, each gets half of the gradient. `max`, `min`, `ptp`, `nanmax`,
  `nanmin`: all elements that attain the extreme share it evenly.
* `maximum.accumulate`, `minimum.accumulate`: of equal elements, the last one so far gets it.
* `sort`, `partition`, `median`, `quantile` and their kin: the gradient goes to the elements that were taken; of equal
  ones, those that come first in a stable order. A quantile is interpolated between its two neighbours.
* `unique` and the other sets: of equal elements, the first gets it.
* `clip` passes the gradient at its limits; `abs` and `sign` have 0 at 0; a norm has 0 at zero.
* `interp`: at a point, the slope is that to its right.
* `std`, `nanstd`: a constant has 0.
* `nan...`: no gradient flows to a NaN. Of nothing but NaN, sums are 0 and products 1, and all else is NaN, without
  a warning.
* `cumprod`, `prod`, `det`: zeros are no exception, first derivatives are exact there.
* `slogdet`: a singular matrix has the gradient NaN; the others in a stack keep theirs.
* `eigh`, `svd`: gradients through vectors whose values coincide raise `LinAlgError`, as do those through the singular
  vectors of a value 0 of a matrix that is not square; on a GPU, where the check would synchronise, they are infinite or
  NaN. Vectors of other values, and the values themselves, have their gradients. Vectors have an arbitrary sign: a loss
  must not depend on it.
* `norm` of order "nuc", 2 and -2, `cond`, `svdvals`, `eigvalsh`: where values coincide or are 0, one of the
  subgradients.
* `pinv`, `lstsq`: the gradient holds among matrices of the same rank.
* `qr`: where R is singular up to rounding, `LinAlgError`.
"""


def formula(function: Any) -> str:
    """A formula's text: the body of a lambda, or of a function that only returns an expression, else its call."""
    if function.__name__ != "<lambda>":
        (definition,) = ast.parse(inspect.getsource(inspect.unwrap(function))).body
        if isinstance(definition, ast.FunctionDef) and len(definition.body) == 1:
            (only,) = definition.body
            if isinstance(only, ast.Return) and only.value is not None:
                return ast.unparse(only.value)
        return f"{function.__name__}({', '.join(inspect.signature(function).parameters)})"
    code = function.__code__
    lines = Path(code.co_filename).read_text(encoding="utf-8").splitlines()
    places = [p for p in code.co_positions() if p[0] is not None and p[2] is not None]
    start = min((p[0], p[2]) for p in places if p[3] != p[2])
    end = max((p[1], p[3]) for p in places)
    if start[0] == end[0]:
        text = lines[start[0] - 1].encode()[start[1] : end[1]].decode()
    else:
        middle = lines[start[0] : end[0] - 1]
        first = lines[start[0] - 1].encode()[start[1] :].decode()
        text = " ".join([first, *middle, lines[end[0] - 1].encode()[: end[1]].decode()])
    return re.sub(r"\s+", " ", text).strip()


def family(entry: Any) -> str:
    source = entry.pulls[0].formula if isinstance(entry, Primitive) else entry
    module: str = source.__module__
    return module.rpartition(".")[2]


def spellings(name: str) -> str:
    return ", ".join(f"`{n}`" for n in dict.fromkeys(vocabulary.NUMPY_NAMES.get(name, [])))


def row(name: str, entry: Primitive) -> str:
    rules = "<br>".join(f"∂{pull.name}: `{formula(pull.formula).replace('|', chr(92) + '|')}`" for pull in entry.pulls)
    return f"| `{name}` | {spellings(name)} | {rules} |"


def section(module: str, title: str) -> str:
    """The rules of a family, and the functions composed of others."""
    rows = [row(name, entry) for name, entry in vocabulary.PRIMITIVES.items() if family(entry) == module]
    composed = [
        spellings(name) or f"`{name}`"
        for name, entry in vocabulary.COMPOSED.items()
        if family(entry) == module and name not in vocabulary.PRIMITIVES
    ]
    parts = [f"## {title}"]
    if rows:
        parts.append("\n".join(["| operation | called by | rule |", "| --- | --- | --- |", *rows]))
    if composed:
        parts.append(f"Composed of others: {', '.join(composed)}.")
    return "\n\n".join(parts) + "\n"


def page() -> str:
    unknown = {family(entry) for entry in (*vocabulary.COMPOSED.values(), *vocabulary.PRIMITIVES.values())} - {
        *FAMILIES
    }
    if unknown:
        raise KeyError(f"docs/make_vocabulary.py has no title for {sorted(unknown)}")
    sections = [section(module, title) for module, title in FAMILIES.items()]
    return "\n".join([INTRODUCTION, *sections, CORNERS, numpy_functions()])


def numpy_functions() -> str:
    """The table of NumPy's functions. With another NumPy version than the page's, the old table stays."""
    _, heading, after = (PAGE.read_text(encoding="utf-8") if PAGE.exists() else "").partition("## NumPy's functions")
    if not heading or f"NumPy {functions.VERSION}," in after or "--check" not in sys.argv:
        return functions.table()
    return heading + after


def main() -> None:
    parser = argparse.ArgumentParser(description="Write docs/vocabulary.md from the table of rules.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is out of date")
    args = parser.parse_args()
    if not args.check:
        PAGE.write_text(page(), encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        sys.exit("docs/vocabulary.md is out of date; run: python docs/make_vocabulary.py")


if __name__ == "__main__":
    main()

"""Write `docs/vocabulary.md`: every operation with its rule, as the table of rules has it.

python docs/make_vocabulary.py           write the page
python docs/make_vocabulary.py --check   only say whether it is up to date
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from pathlib import Path
from typing import Any

from minigrad import vocabulary
from minigrad.primitives import Primitive

PAGE = Path(__file__).with_name("vocabulary.md")
FAMILIES = {
    "elementwise": "Element-wise",
    "parts": "Parts of numbers",
    "bessel": "Bessel functions",
    "activations": "Activations, softmax, error function",
    "reductions": "Reductions and running sums",
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

Every operation that is recorded, with the rule of its gradient. This page is made from the table of rules by
`docs/make_vocabulary.py`; how to read and write rules is told in [Operations of your own](primitives.md).

In a rule, `g` is the gradient of the output, `y` the output, and the other names are the operation's own operands and
parameters; `x_shape` is the shape of `x`. A rule keeps alive what it names and nothing else. Sums over broadcast axes
and casts are the engine's business and stand in no rule.
"""


def formula(function: Any) -> str:
    """A formula's text: the body of a lambda, or the name of a function that has one."""
    if function.__name__ != "<lambda>":
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


def row(name: str, entry: Any) -> str:
    spellings = ", ".join(f"`{n}`" for n in dict.fromkeys(vocabulary.NUMPY_NAMES.get(name, [])))
    if isinstance(entry, Primitive):
        rules = "<br>".join(
            f"∂{pull.name}: `{formula(pull.formula).replace('|', chr(92) + '|')}`" for pull in entry.pulls
        )
    else:
        rules = "composed of others"
    return f"| `{name}` | {spellings} | {rules} |"


def page() -> str:
    by_family: dict[str, list[str]] = {name: [] for name in FAMILIES}
    entries: dict[str, Any] = {**vocabulary.COMPOSED, **vocabulary.PRIMITIVES}
    for name, entry in entries.items():
        by_family[family(entry)].append(row(name, entry))
    parts = [INTRODUCTION]
    for module, title in FAMILIES.items():
        table = "\n".join(["| operation | called by | rule |", "| --- | --- | --- |", *by_family[module]])
        parts.append(f"## {title}\n\n{table}\n")
    return "\n".join(parts)


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

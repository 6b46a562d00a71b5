"""Subscripts in the names of textbooks: steps, layers, directions and modules."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

UP = str.maketrans("0123456789()", "⁰¹²³⁴⁵⁶⁷⁸⁹⁽⁾")
_NUMBER = re.compile(r"-?[\d.]+(e[+-]?\d+)?|nan|-?inf")
_SYMBOL = re.compile(r"[A-Z](_\w+)?")
_LAYER = re.compile(r"\[(\d+)\]")
_CALL = re.compile(r".* \((\d+)\)")


def constant(label: str) -> bool:
    """True for the label of a number, or of an array without a name."""
    return label in ("constant", "mask") or _NUMBER.fullmatch(label) is not None


def indexed(label: str, step: str) -> str:
    """A subscript: "x" and "3" give "x_{3}"; the input xs of all steps becomes x in one of them. A name with a number,
    such as s_0, stays."""
    name = label[0] if len(label) == 2 and label[1] == "s" else label
    base, _, old = name.partition("_")
    old = old.strip("{}").replace("_", ",")
    return name if old.isdigit() else f"{base}_{{{old + ',' if old else ''}{step}}}"


def weights(labels: Iterable[str]) -> dict[str, str]:
    """The textbook's name of each parameter; those of several modules are told apart by the modules' names."""
    labels = list(dict.fromkeys(labels))
    short = {label: weight(label) for label in labels}
    found = {}
    for label in labels:
        same = [one for one in labels if short[one] == short[label]]
        told = len(same) > 1 and "." in label
        found[label] = lowered(short[label], _difference(label, same)) if told else short[label]
    return found


def _difference(label: str, others: Iterable[str]) -> str:
    """The last part of a module's name that others do not have in its place, or the whole name."""
    path = label.split(".")[:-1]
    rest = [one.split(".")[-2::-1] for one in others if one != label]  # reversed
    for k, part in enumerate(reversed(path)):
        if all(other[k : k + 1] != [part] for other in rest):
            return part
    return ".".join(path)


def weight(label: str) -> str:
    """W_s unchanged; weight_ih_l0 of a layer as W_{ih}, of its second layer as W_{ih,1}; a readout's as W_{readout}."""
    *path, name = label.split(".")
    word, _, rest = name.partition("_")
    if word not in ("weight", "bias"):
        return f"{word}_{{{rest.replace('_', ',')}}}" if "_" in rest else name
    if path and not rest and _SYMBOL.fullmatch(path[-1]):  # a map called U_f: its matrix has that name
        return path[-1] if word == "weight" else f"b_{{{path[-1].replace('_', ',')}}}"
    which, _, layer = rest.removesuffix("_reverse").partition("_l")
    marks = [which, layer if layer not in ("", "0") else "", "←" if rest.endswith("_reverse") else ""]
    marks = [one for one in marks if one] or path[-1:]
    letter = "W" if word == "weight" else "b"
    return f"{letter}_{{{','.join(marks)}}}" if marks else letter


def lowered(name: str, mark: str) -> str:
    """A name with one more mark in its subscript."""
    base, _, old = name.partition("_")
    old = old.strip("{}")
    return f"{base}_{{{old + ',' if old else ''}{mark}}}"


class Place(NamedTuple):
    """The loop in which a value is computed: its scope without steps, and the module whose weights are used there."""

    scope: tuple[str, ...]
    module: str

    def of_module(self) -> str:
        """The module's name."""
        return self.module

    def layer(self) -> str:
        """The layer's number."""
        return next((found[1] for label in reversed(self.scope) if (found := _LAYER.fullmatch(label))), "")

    def direction(self) -> str:
        """An arrow if time runs backward."""
        return "←" if "backward" in self.scope else ""

    def call(self) -> str:
        """The number of the module's call."""
        return ",".join([found[1] for label in self.scope if (found := _CALL.fullmatch(label))])

    def path(self) -> str:
        """All modules."""
        return ".".join(self.scope)


Mark = Callable[[Place], str]
MARKS: tuple[tuple[Mark, ...], ...] = (
    (Place.of_module,), (Place.layer,), (Place.direction,), (Place.layer, Place.direction),
    (Place.of_module, Place.layer), (Place.of_module, Place.direction),
    (Place.of_module, Place.layer, Place.direction), (Place.call,), (Place.call, Place.layer),
    (Place.call, Place.layer, Place.direction), (Place.path,),
)  # fmt: skip


def distinct(names: Mapping[Any, tuple[str, str, Place]]) -> dict[Any, str]:
    """Different names for values of different loops.

    names  (label, name with its step, place) of each: equal labels are told apart by the layer, the direction, the
           module or the number of its call, whichever do
    """
    places: dict[str, dict[Place, None]] = {}
    for label, _, place in names.values():
        places.setdefault(label, {})[place] = None
    marks = {label: _marks(list(found)) for label, found in places.items()}
    return {key: _marked(name, place, marks[label]) for key, (label, name, place) in names.items()}


def _marks(places: Sequence[Place]) -> tuple[Mark, ...]:
    """The marks that tell these places apart."""
    if len(places) < 2:
        return ()
    named = all(place.module for place in places)
    usable = [marks for marks in MARKS if named or Place.of_module not in marks]
    return next((m for m in usable if len({tuple([one(p) for one in m]) for p in places}) == len(places)), ())


def _marked(name: str, place: Place, marks: Iterable[Mark]) -> str:
    for mark in marks:
        text = mark(place)
        name = name if not text else _raised(name, text) if mark in (Place.layer, Place.call) else lowered(name, text)
    return name


def _raised(name: str, mark: str) -> str:
    """A name with a superscript in parentheses, as textbooks count layers."""
    base, _, low = name.partition("_")
    return base + f"({mark})".translate(UP) + (f"_{low}" if low else "")

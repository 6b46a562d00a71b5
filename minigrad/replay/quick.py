"""A short replay as one Python function.

A step of a stream runs a handful of calls of some microseconds each; checking its arguments one by one, with code for
all cases, takes longer. So for a program without effects, the guards, the calls and the results are written as the
source of a function for this case alone. If any guard fails, it returns `MISS`, and the general path runs, which also
knows the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..tensors import Tensor
from .guarded import Replay
from .live import same

MISS = object()
LONGEST = 100  # calls: in longer programs, the cost of the guards is negligible
_PLAIN = (type(None), bool, int, str)


def always_miss(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A stand-in for a replay without such a function."""
    return MISS


def quick(replay: Replay, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[..., Any]:
    """A function of (args, kwargs) for calls like this one; `always_miss` if the replay has effects other than its
    results."""
    program = replay.program
    simple = (
        not replay.assigned
        and program.is_pure
        and all(u.after is None and u.given is None for u in replay.uses)
        and len(program.calls) <= LONGEST
    )
    if not simple:
        return always_miss
    source = SourceCode()
    leaves: list[str] = []
    if not (source.take_apart("args", args, leaves) and source.take_apart("kwargs", kwargs, leaves)):
        return always_miss
    values = _leaves((args, kwargs))
    if not all(source.look_at(name, value) for name, value in zip(leaves, values, strict=True)):
        return always_miss
    for name, value in zip(leaves, values, strict=True):
        if isinstance(value, Tensor):
            source.distinguish(name, value, [(n, v) for n, v in zip(leaves, values, strict=True) if n < name])
            if replay.outside:
                source.unless(f"id({name}) not in {source.name(replay.outside)}")
    for use in replay.uses:
        tensor = leaves[use.argument] if use.argument is not None else source.name(use.tensor)
        if use.met is not None:
            source.unless(f"{tensor} is {source.name(use.met)}()")
        if use.argument is None:
            source.unless(f"{tensor}.data is {source.name(use.array)}")
        source.unless(f"{tensor}._requires_grad is {use.requires_grad}")
        if use.before != "any":
            source.unless(f"{tensor}.grad is {'' if use.before == 'none' else 'not '}None")
    for values_of, key, before, _ in replay.attributes:
        source.same(f"{source.name(values_of)}.get({key!r})", before)
    for _, read, before in replay.guards:
        source.same(f"{source.name(read)}()", before)
    source.add("with errstate(all='ignore'):")
    source.add("    pass")  # where there are no calls
    for target, k in zip(program.input_arrays, replay.arguments, strict=True):
        if target is not None:
            array = f"{leaves[k]}.data" if isinstance(values[k], Tensor) else leaves[k]
            source.add(f"    copyto({source.name(target)}, {array})")
    for function, arguments in program.calls:
        source.add(f"    {source.name(function)}({', '.join(map(source.name, arguments))})")
    for k, array in enumerate(program.result_arrays):
        source.add(f"    r{k} = {source.name(array)}.copy()")
    results: Any = [ResultSlot(k) for k in range(len(program.result_arrays))]
    outputs = [make(results, [ArgumentSlot(name) for name in leaves]) for make in replay.outputs]
    source.add(f"return {source.built(replay.build(outputs))}")
    return source.function()


class ResultSlot:
    """A placeholder for an array among the results, inside the structure of the returned value."""

    def __init__(self, number: int) -> None:
        self.number = number


class ArgumentSlot:
    """A placeholder for an argument in that structure, by its name."""

    def __init__(self, name: str) -> None:
        self.name = name


class SourceCode:
    """Lines of source, and the objects that they name."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.space: dict[str, Any] = {"MISS": MISS, "Tensor": Tensor, "of": Tensor._of, "ndarray": np.ndarray,
                                      "copyto": np.copyto, "errstate": np.errstate, "same": same}  # fmt: skip
        self.count = 0

    def name(self, value: Any) -> str:
        """A name for an object; numbers and the like are written as literals."""
        if type(value) in _PLAIN:
            return repr(value)
        self.space[f"k{len(self.space)}"] = value
        return f"k{len(self.space) - 1}"

    def add(self, line: str) -> None:
        self.lines.append(line)

    def unless(self, test: str) -> None:
        """Return MISS unless the test is true."""
        self.add(f"if not ({test}): return MISS")

    def distinguish(self, name: str, value: Tensor, others: list[tuple[str, Any]]) -> None:
        """Return MISS unless a tensor is the same object as the same other arguments as before."""
        for other, tensor in others:
            if isinstance(tensor, Tensor):
                self.unless(f"{name} is {'' if tensor is value else 'not '}{other}")

    def same(self, now: str, before: Any) -> None:
        """Return MISS if a value differs from before."""
        name = f"k{len(self.space)}"
        self.space[name] = before
        self.add(f"now = {now}")
        self.unless(f"now is {name} or same(now, {name})")

    def take_apart(self, name: str, tree: Any, leaves: list[str]) -> bool:
        """Name the leaves of an argument, in order. Returns False if its structure has no source form."""
        kind = type(tree)
        if kind is dict:
            self.unless(f"type({name}) is dict and tuple({name}) == {self.name(tuple(tree))}")
            parts = [(f"{name}_{k}", f"{name}[{key!r}]", part) for k, (key, part) in enumerate(tree.items())]
            if not all(type(key) is str for key in tree):
                return False
        elif kind in (tuple, list):
            self.unless(f"type({name}) is {kind.__name__} and len({name}) == {len(tree)}")
            parts = [(f"{name}_{k}", f"{name}[{k}]", part) for k, part in enumerate(tree)]
        else:
            leaves.append(name)
            return not isinstance(tree, dict | tuple | list)
        for inner, text, part in parts:
            self.add(f"{inner} = {text}")
            if not self.take_apart(inner, part, leaves):
                return False
        return True

    def look_at(self, name: str, value: Any) -> bool:
        """Return MISS unless an argument is like this one. Returns False if that has no source form."""
        array, data = value, name
        if type(value) is Tensor:
            array, data = value.data, f"{name}.data"
            self.unless(f"type({name}) is Tensor and {name}.edge is None")
            self.unless(f"{name}._requires_grad is {value._requires_grad}")
        elif type(value) in _PLAIN:
            self.unless(f"type({name}) is {self.name(type(value))} and {name} == {value!r}")
            return True
        if type(array) is not np.ndarray:
            return False
        self.add(f"now = {data}")
        self.unless(f"type(now) is ndarray and now.dtype is {self.name(array.dtype)} and now.shape == {array.shape}")
        return True

    def built(self, tree: Any) -> str:
        """The returned value as an expression."""
        kind = type(tree)
        if kind is dict:
            return "{" + "".join(f"{self.name(key)}: {self.built(part)}, " for key, part in tree.items()) + "}"
        if isinstance(tree, tuple | list):
            parts = "".join(f"{self.built(part)}, " for part in tree)
            if kind in (tuple, list):
                return f"({parts})" if kind is tuple else f"[{parts}]"
            return f"{self.name(kind)}({parts})" if hasattr(tree, "_fields") else f"{self.name(kind)}([{parts}])"
        if type(tree) is ResultSlot:
            return f"r{tree.number}"
        if type(tree) is ArgumentSlot:
            return tree.name
        if type(tree) is Tensor and type(tree.data) is ResultSlot:
            return f"of(r{tree.data.number})"
        return self.name(tree)

    def function(self) -> Callable[..., Any]:
        text = "\n    ".join(["def run(args, kwargs):", *self.lines])
        exec(compile(text, "<replay>", "exec"), self.space)
        return self.space["run"]  # type: ignore[no-any-return]


def _leaves(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    return [leaf for part in tree for leaf in _leaves(part)] if isinstance(tree, tuple | list) else [tree]

"""Perturbed runs: do outputs depend on other sequences, does the loss depend on padding?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend, trees

from ..sequences.recurrent import OverTime

Array = Any
SHORTEST = 2  # steps of padding in a sequence; a single step may have the value of another one's end by chance
SAME = 1e-5  # relative to the largest number: the effect of rounding on other rows


class Batch:
    """A batch as its leaves: tensors and arrays in nested tuples, lists and dicts.

    input    the leaf that is perturbed: the first with two axes or more; None if there is none
    axis     its axis of sequences, 0 or 1, None if unknown
    """

    def __init__(self, batch: Any, axis: int | None, lengths: Any, mask: Any) -> None:
        self.leaves, self.rebuild = trees.flatten(batch)
        self.paths = list(_paths(batch))
        self.names = [_name(path) for path in self.paths]
        arrays = [self.array(k) for k in range(len(self.leaves))]
        self.place = next((k for k, a in enumerate(arrays) if a is not None and a.ndim > 1), None)
        self.input = None if self.place is None else arrays[self.place]
        others = [a for k, a in enumerate(arrays) if a is not None and k != self.place]
        self.axis = axis if axis is not None else self._axis(others)
        self.lengths = lengths if lengths is not None else self._beside("lengths")
        self.mask = mask if mask is not None else self._beside("mask")

    def array(self, k: int) -> Array | None:
        """A leaf as a NumPy array; None for any other leaf."""
        leaf = self.leaves[k]
        if isinstance(leaf, mg.Tensor):
            leaf = leaf.data
        return backend.to_numpy(leaf) if backend.is_array(leaf) else None

    def _beside(self, name: str) -> Array | None:
        """The leaf of this name in the innermost container that holds the input, too; None if there is none."""
        if self.place is None:
            return None
        around = self.paths[self.place]
        found = {
            len(path): k for k, path in enumerate(self.paths)
            if path[-1:] == (name,) and path[:-1] == around[: len(path) - 1]
        }  # fmt: skip
        return self.array(found[max(found)]) if found else None

    def _axis(self, others: list[Array]) -> int | None:
        """The axis whose size equals that of one-dimensional leaves: labels or lengths, one for each sequence."""
        if self.input is None or self.input.shape[0] == self.input.shape[1]:
            return None
        sizes = {a.shape[0] for a in others if a.ndim == 1}
        found = [k for k in (0, 1) if self.input.shape[k] in sizes]
        return found[0] if len(found) == 1 else None

    def with_input(self, array: Array) -> Any:
        """The batch with another array in place of the input."""
        assert self.place is not None
        leaf = self.leaves[self.place]
        leaves = list(self.leaves)
        like = leaf.data if isinstance(leaf, mg.Tensor) else leaf
        moved = backend.transfer(array.astype(like.dtype), backend.device_of(like))
        leaves[self.place] = mg.Tensor(moved) if isinstance(leaf, mg.Tensor) else moved
        return self.rebuild(leaves)

    def with_rows_changed(self, row: int) -> Any:
        """The batch with one sequence replaced."""
        assert self.input is not None
        assert self.axis is not None
        array = self.input.copy()
        at = (slice(None),) * self.axis
        if array.dtype.kind == "f":
            array[(*at, row)] = 1 - 2 * array[(*at, row)]
        else:
            array[(*at, row)] = np.roll(self.input, 1, axis=self.axis)[(*at, row)][::-1]
        return self.rebuild_if_other(array)

    def rebuild_if_other(self, array: Array) -> Any:
        """The batch with this input; None if it is unchanged."""
        return None if self.input is None or np.array_equal(array, self.input) else self.with_input(array)

    def spoilt(self) -> list[str]:
        """A phrase for each leaf with NaN or Inf."""
        found = []
        for k, name in enumerate(self.names):
            array = self.array(k)
            if array is not None and array.dtype.kind == "f" and not np.isfinite(array).all():
                wrong = np.argwhere(~np.isfinite(array))
                first = ", ".join(map(str, wrong[0]))
                where = f"batch{name}" if name.startswith("[") else name
                many = f"{len(wrong)} numbers that are" if len(wrong) > 1 else "a number that is"
                found.append(f"{where} holds {many} not finite, {'the first ' * (len(wrong) > 1)}at [{first}]")
        return found


def _paths(batch: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to each leaf: numbers in a tuple or list, names in a named tuple, keys in a dict."""
    if isinstance(batch, dict):
        for key, child in batch.items():
            yield from _paths(child, (*path, str(key)))
    elif isinstance(batch, tuple | list):
        for key, child in zip(getattr(batch, "_fields", None) or range(len(batch)), batch, strict=True):
            yield from _paths(child, (*path, key))
    else:
        yield path


def _name(path: tuple[Any, ...]) -> str:
    """A leaf's name: `[0]` for the first of a tuple, its key in a dict."""
    name = ""
    for key in path:
        name = f"{name}[{key}]" if isinstance(key, int) else key
    return name or "batch"


# ---- padding -----------------------------------------------------------------------------------------------------


@dataclass
class Padding:
    """The padded steps of an input.

    where  booleans over the input's first two axes
    certain  True if it is given by lengths or a mask; otherwise it is a guess from the numbers
    """

    where: Array
    certain: bool


def padding_of(batch: Batch) -> Padding | None:
    """The padded steps, from lengths or a mask; otherwise a guess: sequences that end, after different lengths, in one
    value that occurs nowhere else."""
    x = batch.input
    if x is None:
        return None
    if batch.mask is not None:
        where = ~np.asarray(batch.mask.data if isinstance(batch.mask, mg.Tensor) else batch.mask).astype(bool)
        return Padding(where, True) if where.shape == x.shape[:2] and where.any() else None
    for axis in (0, 1) if batch.axis is None else (batch.axis,):
        N, T = x.shape[axis], x.shape[1 - axis]
        if batch.lengths is not None:
            lengths = np.asarray(batch.lengths.data if isinstance(batch.lengths, mg.Tensor) else batch.lengths)
            if lengths.shape != (N,):
                continue
            ends: Array = lengths
        else:
            guessed = _ends(np.moveaxis(x, axis, 0).reshape((N, T, -1)))
            if guessed is None:
                continue
            ends = guessed
        where = np.arange(T) >= ends[:, None]  # (N, T)
        if where.any():
            return Padding(where if axis == 0 else where.T, batch.lengths is not None)
    return None


def _ends(rows: Array) -> Array | None:
    """(N,): the step at which the padding of rows (N, T, D) begins; None if there seems to be none."""
    N, T, D = rows.shape
    few = 1.0
    if rows.dtype.kind == "f":
        pad = (rows == 0).all(axis=2)
    elif D == 1:
        lasts, counts = np.unique(rows[:, -1, 0], return_counts=True)
        pad = rows[:, :, 0] == lasts[np.argmax(counts)]
        few = max(N / 4, 1)  # some sequences may end in one word by chance
    else:
        return None
    ends: Array = T - np.where(pad.all(axis=1), T, np.argmin(pad[:, ::-1], axis=1))
    inside = pad & (np.arange(T) < ends[:, None])
    padded = ends < T
    if inside.any() or padded.sum() < few or ends.min() > T - SHORTEST or len(set(ends)) == 1:
        return None
    return ends


def other_padding(batch: Batch, padding: Padding) -> Any:
    """The batch with other numbers at the padded steps."""
    assert batch.input is not None
    rng, x = np.random.default_rng(0), batch.input.copy()
    real = x[~padding.where]
    if x.dtype.kind == "f":
        x[padding.where] = rng.standard_normal(x[padding.where].shape) * (float(real.std()) or 1.0)
    elif x.dtype.kind in "iu" and real.size:
        x[padding.where] = rng.choice(real.reshape(-1), x[padding.where].shape)
    return batch.rebuild_if_other(x)


# ---- rows --------------------------------------------------------------------------------------------------------


def rows_changed(before: list[Array], after: list[Array], N: int) -> set[int]:
    """The rows of outputs that differ, along each output's axis of N rows."""
    found: set[int] = set()
    for a, b in zip(before, after, strict=True):
        axes = [k for k in range(a.ndim) if a.shape[k] == N]
        if a.shape != b.shape or not axes or a.dtype.kind != "f":
            continue
        sizes = np.abs(a - b) > SAME * max(float(np.abs(a).max(initial=0)), 1e-30)
        each = [set(np.flatnonzero(np.moveaxis(sizes, k, 0).reshape((N, -1)).any(axis=1)).tolist()) for k in axes]
        found |= min(each, key=len)
    return found


def numbers_in(tree: Any) -> Iterator[Array]:
    """The tensors of an output as arrays."""
    for leaf in trees.flatten(tree)[0]:
        if isinstance(leaf, mg.Tensor):
            yield backend.to_numpy(leaf.data)


def outputs_of(run: Callable[[Any], Any], model: Any, batch: Any) -> tuple[list[Array], float]:
    """The outputs of the model (or of its layers over time, if only its `loss` is called), and the loss on a batch,
    without recording."""
    shown: dict[bool, list[Array]] = {True: [], False: []}  # of the model itself, of layers

    def note(module: Any, args: Any, output: Any) -> None:
        shown[module is model].extend(numbers_in(output))

    layers = [module for module in model.modules() if module is model or isinstance(module, OverTime)]
    removers = [module.register_forward_hook(note) for module in layers]
    try:
        with mg.no_grad(), np.errstate(all="ignore"):
            loss = run(batch)
    finally:
        for remove in removers:
            remove()
    return shown[True] or shown[False], float(loss.item())

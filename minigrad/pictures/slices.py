"""Parts of arrays, by where they lie in memory: xs[2], xs[:,3], xs[4:8]."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..tape import Node

_STEP = re.compile(r"\[(?::,)*(t?[−+]?\d*)\]")

_RANGE = re.compile(r"(-?\d*)(:?)(-?\d*)")


def within(part: Any, whole: Any) -> bool:
    """True if an array is a view of another one's memory, or of a part of it."""
    return (
        isinstance(part, np.ndarray) and isinstance(whole, np.ndarray) and part is not whole
        and part.base is not None and part.base is (whole if whole.base is None else whole.base)
        and whole.ndim > 0 and whole.size > 0 and np.may_share_memory(part, whole)
    )  # fmt: skip


def index_of(part: Any, whole: Any) -> str:
    """The index of a part in the whole, such as "[2]" or "[:,3]" or "[4:8]"; "" if it is no such part."""
    if not within(part, whole):
        return ""
    start = part.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    if part.flags.c_contiguous and whole.flags.c_contiguous:  # rows, maybe in another shape
        row = whole.nbytes // len(whole)
        first, count = start // row, part.nbytes // row
        if first * row == start and count * row == part.nbytes and 0 < count < len(whole):
            return f"[{first}]" if count == 1 else f"[{first}:{first + count}]"
    for axis, stride in enumerate(whole.strides):
        same = _without(whole, axis) == _without(part) and stride > 0 and start % stride == 0
        if same and start // stride < whole.shape[axis] > 1:
            return f"[{':,' * axis}{start // stride}]"
    return ""


def _without(array: Any, axis: int = -1) -> list[tuple[int, int]]:
    """The length and the stride of each axis but one; strides of axes of length 1 do not matter."""
    return [(size, stride * (size > 1)) for k, (size, stride) in enumerate(zip(array.shape, array.strides, strict=True))
            if k != axis]  # fmt: skip


def place_of(node: Node) -> str:
    """The index that an operation takes, such as "[-1]" or "[:,1:]"; of `stack` that of its operands, "[:,…]"."""
    if node.primitive.name not in ("stack", "getitem") or not node.edges:
        return ""
    _, pull, values = node.edges[0]
    kept = dict(zip(pull.names, values, strict=False))
    if "axis" in kept:
        return f"[{':,' * kept['axis']}…]"
    if "index" not in kept:
        return ""
    index = kept["index"] if isinstance(kept["index"], tuple) else (kept["index"],)
    texts = [_text(one) for one in index]
    return f"[{','.join(filter(None, texts))}]" if all(texts) else ""


def _text(index: Any) -> str:
    if isinstance(index, slice) and index.step in (None, 1):
        ends = [index.start, index.stop]
        return ":".join(["" if end is None else str(end) for end in ends])
    return str(int(index)) if isinstance(index, int | np.integer) and not isinstance(index, bool) else ""


def chosen(index: str, axis: int, count: int) -> range | None:
    """The places along an axis that an index takes, if it takes all along the axes before."""
    texts = index[1:-1].split(",")
    found = _RANGE.fullmatch(texts[axis]) if texts[:axis] == [":"] * axis and len(texts) > axis else None
    if found is None:
        return None
    first, last = (int(text) if text else None for text in (found[1], found[3]))
    if found[2]:
        return range(count)[first:last]
    return None if first is None else range(count)[first:][:1]


def counted(index: str, shape: Sequence[int]) -> str:
    """An index without negative numbers, which count from the end: "[-1]" of three is "[2]"."""
    texts = index[1:-1].split(",")
    for axis, (text, size) in enumerate(zip(texts, shape, strict=False)):
        if text.startswith("-") and text[1:].isdigit():
            texts[axis] = str(size + int(text))
    return f"[{','.join(texts)}]"


def step_in(index: str) -> str:
    """The only number of an index, or its t; "" for others."""
    found = _STEP.fullmatch(index)
    return found[1] if found else ""


def rolled(indices: Sequence[str], label: str, steps: Sequence[int]) -> str:
    """The index in place of those of all steps of a loop: "[t]", "[t−1]"."""
    if len(set(indices)) == 1:
        return indices[0]
    ahead = {int(step_in(index)) - step if step_in(index).isdigit() else None
             for index, step in zip(indices, steps, strict=True)}  # fmt: skip
    by = ahead.pop()
    if ahead or by is None:
        return "[…]"
    text = label + (f"{by:+d}".replace("-", "−") if by else "")
    return re.sub(r"\d+", text, indices[0])

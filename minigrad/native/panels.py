"""Matrices in panels: a layout for products with few rows, made once for all of them.

packed[p, k, j] = matrix[k, p · width + j]    zeros beyond the last column

A product reads a panel from beginning to end while it multiplies a block of rows. A matrix stored column by column,
such as `weight.T`, is transposed in registers, one square of numbers at a time.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import machine, threads

Array = Any
KINDS = {np.dtype(np.float32): ("float", 4), np.dtype(np.float64): ("double", 8)}
VECTORS = 2  # vectors in a row of a panel
LINE = 64  # bytes of a cache line


def width(dtype: Any) -> int:
    """The number of columns of a panel."""
    return VECTORS * machine.vector_bytes() // int(dtype.itemsize)


def panels(shape: tuple[int, ...], dtype: Any) -> tuple[int, int, int]:
    """The shape of the packed form of a matrix (K, M): (panels, K, width)."""
    return -(-shape[1] // width(dtype)), shape[0], width(dtype)


def room(shape: tuple[int, ...], dtype: Any) -> Array:
    """Memory for a packed matrix, aligned to cache lines: a vector across two lines takes twice as long to read."""
    size = math.prod(shape)
    memory = np.empty(size + LINE // int(dtype.itemsize), dtype)
    address = memory.__array_interface__["data"][0]  # `.ctypes` would leave garbage behind at every call
    start = -address % LINE // int(dtype.itemsize)
    return memory[start : start + size].reshape(shape)


def pack(matrix: Array, packed: Array) -> None:
    """Write a matrix (K, M) into `packed`, whose shape `panels` gives."""
    K, M = matrix.shape
    size = packed.shape[2]
    full = M // size
    whole = matrix[:, : full * size]
    if full and matrix.itemsize in matrix.strides and matrix.flags.aligned:
        _kernel(matrix.dtype)(whole, packed)
    elif full:
        packed[:full] = whole.reshape(K, full, size).transpose(1, 0, 2)
    if full < len(packed):
        packed[full, :, : M - full * size] = matrix[:, full * size :]
        packed[full, :, M - full * size :] = 0


@functools.cache
def _kernel(dtype: Any) -> Callable[[Array, Array], int]:
    """A function of (matrix, packed) for the panels that the matrix fills completely."""
    return machine.compiled(_source(*KINDS[dtype]), f"panels of {dtype} matrices")


def _source(kind: str, size: int) -> str:
    lanes = machine.vector_bytes() // size
    fields = ["ptr %from.data", "i64 %from.stride0", "i64 %from.stride1", "ptr %to.data", "i64 %K"]
    return "\n".join([
        threads.source(),
        _part("rows", kind, lanes, *_rows(kind, size, lanes)),
        _part("columns", kind, lanes, *_columns(kind, size, lanes)),
        "declare ptr @PyLong_FromLongLong(i64)",
        "define ptr @kernel(ptr %self, ptr %arguments, i64 %count) {",
        *machine.fields("from", 0), *machine.fields("to", 1),
        f"%argument = alloca [{len(fields)} x i64]",
        "%K = add i64 %from.size0, 0",
        *threads.stored(fields),
        f"%parts = udiv i64 %from.size1, {VECTORS * lanes}",
        f"%row.by.row = icmp eq i64 %from.stride1, {size}",
        "%function = select i1 %row.by.row, ptr @rows, ptr @columns",
        "%numbers = mul i64 %from.size0, %from.size1", "%work = mul i64 %numbers, 8",
        "call void @share(ptr %function, ptr %argument, i64 %parts, i64 %work)",
        "%answer = call ptr @PyLong_FromLongLong(i64 0)",
        "ret ptr %answer",
        "}",
    ])  # fmt: skip


def _part(name: str, kind: str, lanes: int, step: int, body: list[str], rest: list[str]) -> str:
    """Panel p: a body for `step` values of k at a time, and another one for each of the rest."""
    reads = threads.loaded(["ptr %from", "i64 %stride0", "i64 %stride1", "ptr %to", "i64 %K"])
    return "\n".join([
        f"define internal void @{name}(ptr %argument, i64 %p) {{",
        *reads,
        f"%column = mul i64 %p, {VECTORS * lanes}",
        "%skip = mul i64 %column, %stride1", "%first = getelementptr i8, ptr %from, i64 %skip",
        "%depth = mul i64 %column, %K", f"%panel = getelementptr {kind}, ptr %to, i64 %depth",
        "br label %look",
        "look:",
        "%k = phi i64 [ 0, %0 ], [ %k.more, %several ], [ %k.next, %single ]",
        "%down = mul i64 %k, %stride0", "%source = getelementptr i8, ptr %first, i64 %down",
        f"%across = mul i64 %k, {VECTORS * lanes}", f"%target = getelementptr {kind}, ptr %panel, i64 %across",
        f"%k.more = add i64 %k, {step}", "%k.next = add i64 %k, 1",
        "%enough = icmp ule i64 %k.more, %K", "%some = icmp ult i64 %k, %K",
        "br i1 %enough, label %several, label %few",
        "several:", *body, "br label %look",
        "few:", "br i1 %some, label %single, label %end",
        "single:", *rest, "br label %look",
        "end:", "ret void", "}",
    ])  # fmt: skip


def _rows(kind: str, size: int, lanes: int) -> tuple[int, list[str], list[str]]:
    """Copies from a matrix stored row by row."""
    lines = []
    for j in range(VECTORS):
        lines += [
            f"%at{{0}}{j} = getelementptr {kind}, ptr %source, i64 {j * lanes}",
            f"%v{{0}}{j} = load <{lanes} x {kind}>, ptr %at{{0}}{j}, align {size}",
            f"%to{{0}}{j} = getelementptr {kind}, ptr %target, i64 {j * lanes}",
            f"store <{lanes} x {kind}> %v{{0}}{j}, ptr %to{{0}}{j}, align {size}",
        ]
    return 1, [line.format("a") for line in lines], [line.format("b") for line in lines]


def _columns(kind: str, size: int, lanes: int) -> tuple[int, list[str], list[str]]:
    """Transposed squares of `lanes` × `lanes` from a matrix stored column by column."""
    vector = f"<{lanes} x {kind}>"
    body: list[str] = []
    rest: list[str] = []
    for c in range(VECTORS * lanes):
        for where in (body, rest):
            name = f"c{c}" if where is body else f"r{c}"
            where += [f"%{name}.skip = mul i64 %stride1, {c}",
                      f"%{name}.at = getelementptr i8, ptr %source, i64 %{name}.skip"]  # fmt: skip
        body.append(f"%c{c} = load {vector}, ptr %c{c}.at, align {size}")
        rest += [f"%r{c} = load {kind}, ptr %r{c}.at", f"%r{c}.to = getelementptr {kind}, ptr %target, i64 {c}",
                 f"store {kind} %r{c}, ptr %r{c}.to"]  # fmt: skip
    for j in range(VECTORS):
        lines, turned = _transposed([f"%c{j * lanes + n}" for n in range(lanes)], vector, f"t{j}", lanes)
        body += lines
        for k, name in enumerate(turned):
            body += [f"%to{j}.{k} = getelementptr {kind}, ptr %target, i64 {(k * VECTORS + j) * lanes}",
                     f"store {vector} {name}, ptr %to{j}.{k}, align {size}"]  # fmt: skip
    return lanes, body, rest


def _transposed(rows: list[str], vector: str, prefix: str, lanes: int) -> tuple[list[str], list[str]]:
    """Instructions that transpose a square of vectors, and the names of the result: blocks of 1, 2, 4, ... are
    exchanged."""
    lines = []
    step = 1
    while step < lanes:
        for i in [n for n in range(lanes) if not n & step]:
            a, b = rows[i], rows[i + step]
            low = [n if not n & step else lanes + n - step for n in range(lanes)]
            high = [n + step if not n & step else lanes + n for n in range(lanes)]
            for row, order in ((i, low), (i + step, high)):
                rows[row] = f"%{prefix}.{step}.{row}"
                picked = ", ".join(f"i32 {n}" for n in order)
                lines.append(f"{rows[row]} = shufflevector {vector} {a}, {vector} {b}, <{lanes} x i32> <{picked}>")
        step *= 2
    return lines, rows

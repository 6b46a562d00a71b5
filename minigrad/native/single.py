"""One row times a weight in PyTorch's layout, as at a step of a stream.

The weight (M, K), used as `x @ weight.T`, is read once from beginning to end, each thread reading its share of rows.
The speed of reading decides: two threads read from two caches.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from . import machine, threads
from .panels import KINDS

Array = Any
TOGETHER = 4  # rows of the weight that are read at a time
CHAINS = 2  # sums for each row, to hide the latency of a multiply-add
# as in `products`, so that a loop may call either; but the weight's stride replaces the number of panels
FIELDS = ("ptr %x", "i64 %x.stride", "i64 %x.step", "ptr %weight", "ptr %out", "i64 %out.stride", "i64 %N", "i64 %K",
          "i64 %M", "i64 %stride", "i64 %chunk", "ptr %start")  # fmt: skip


@functools.cache
def times(dtype: Any) -> Callable[..., int]:
    """A function of (x, matrix, result): x (1, K) times a matrix (K, M) stored column by column, into (1, M). With a
    fourth array (M,), the result is its sum with the product. All arrays must be contiguous."""
    return machine.compiled(_source(*KINDS[dtype]), f"products of a {dtype} row")


def _source(kind: str, size: int) -> str:
    lanes = machine.vector_bytes() // size
    vector, suffix = f"<{lanes} x {kind}>", f"v{lanes}f{8 * size}"
    given = ["ptr %x.data", "i64 0", "i64 0", "ptr %matrix.data", "ptr %out.data", "i64 0", "i64 1",
             "i64 %matrix.size0", "i64 %matrix.size1", "i64 %matrix.stride1", "i64 0", "ptr %start"]  # fmt: skip
    T = threads.count()
    arguments = "i64 %stride, ptr %x, i64 %K"
    return "\n".join([
        f"declare {vector} @llvm.fma.{suffix}({vector}, {vector}, {vector})",
        f"declare {vector} @llvm.masked.load.{suffix}.p0(ptr, i32, <{lanes} x i1>, {vector})",
        f"declare {kind} @llvm.vector.reduce.fadd.{suffix}({kind}, {vector})",
        "declare ptr @PyLong_FromLongLong(i64)",
        threads.source(),
        _dots(kind, size, lanes, 1), _dots(kind, size, lanes, TOGETHER),
        "define internal void @part(ptr %argument, i64 %p) {",
        *threads.loaded(FIELDS),
        "%first.all = mul i64 %M, %p", f"%first = udiv i64 %first.all, {T}",
        "%end.all = add i64 %first.all, %M", f"%end = udiv i64 %end.all, {T}",
        "br label %look",
        "look:",
        "%m = phi i64 [ %first, %0 ], [ %m.more, %several ], [ %m.next, %single ]",
        "%skip = mul i64 %m, %stride", "%row = getelementptr i8, ptr %weight, i64 %skip",
        f"%to = getelementptr {kind}, ptr %out, i64 %m", f"%from = getelementptr {kind}, ptr %start, i64 %m",
        "%has.start = icmp ne ptr %start, null",
        f"%m.more = add i64 %m, {TOGETHER}", "%m.next = add i64 %m, 1",
        "%enough = icmp ule i64 %m.more, %end", "%some = icmp ult i64 %m, %end",
        "br i1 %enough, label %several, label %few",
        "several:", f"call void @dots.{TOGETHER}(ptr %row, {arguments}, ptr %to, ptr %from, i1 %has.start)",
        "br label %look",
        "few:", "br i1 %some, label %single, label %done",
        "single:", f"call void @dots.1(ptr %row, {arguments}, ptr %to, ptr %from, i1 %has.start)", "br label %look",
        "done:", "ret void", "}",
        "define void @raw(ptr %argument) {",
        *threads.loaded(FIELDS),
        "%work = mul i64 %K, %M",
        f"call void @share(ptr @part, ptr %argument, i64 {T}, i64 %work)",
        "ret void", "}",
        "define ptr @kernel(ptr %self, ptr %arguments, i64 %count) {",
        f"%argument = alloca [{len(given)} x i64]",
        *machine.fields("x", 0), *machine.fields("matrix", 1), *machine.fields("out", 2),
        *machine.fourth("start"),
        *threads.stored(given),
        "call void @raw(ptr %argument)",
        "%answer = call ptr @PyLong_FromLongLong(i64 0)", "ret ptr %answer", "}",
    ])  # fmt: skip


def _dots(kind: str, size: int, lanes: int, rows: int) -> str:
    """@dots.rows: `rows` rows of the weight, each times x."""
    vector, suffix = f"<{lanes} x {kind}>", f"v{lanes}f{8 * size}"
    fma, load = f"call {vector} @llvm.fma.{suffix}", f"call {vector} @llvm.masked.load.{suffix}.p0"
    numbers = ", ".join(f"i64 {n}" for n in range(lanes))
    names = ["x", *[f"row{r}" for r in range(rows)]]

    def turn(block: str, u: int, mask: str) -> list[str]:
        lines = [f"%k.{block}{u} = add i64 %k, {u * lanes}"]
        for name in names:
            at = f"%{name}.{block}{u}"
            lines.append(f"{at}.at = getelementptr {kind}, ptr %{name}, i64 %k.{block}{u}")
            whole = f"load {vector}, ptr {at}.at, align {size}"
            part = f"{load}(ptr {at}.at, i32 {size}, <{lanes} x i1> {mask}, {vector} zeroinitializer)"
            lines.append(f"{at} = {part if mask else whole}")
        for r in range(rows):
            pair = f"{vector} %row{r}.{block}{u}, {vector} %x.{block}{u}"
            lines.append(f"%s{r}.{u}.{block} = {fma}({pair}, {vector} %s{r}.{u})")
        return lines

    sums = [(r, u) for r in range(rows) for u in range(CHAINS)]
    chosen = {(r, u): f"%s{r}.{u}.single" if u == 0 else f"%s{r}.{u}" for r, u in sums}
    done = []
    for r in range(rows):
        total = f"%s{r}.0"
        for u in range(1, CHAINS):
            done.append(f"%t{r}.{u} = fadd {vector} {total}, %s{r}.{u}")
            total = f"%t{r}.{u}"
        reduce = f"call reassoc {kind} @llvm.vector.reduce.fadd.{suffix}({kind} 0.0, {vector} {total})"
        done += [f"%product{r} = {reduce}", f"%to{r} = getelementptr {kind}, ptr %to, i64 {r}",
                 f"%from{r} = getelementptr {kind}, ptr %from, i64 {r}"]  # fmt: skip
    plain = [f"store {kind} %product{r}, ptr %to{r}" for r in range(rows)]
    added = [
        f"%b{r} = load {kind}, ptr %from{r}\n%sum{r} = fadd {kind} %b{r}, %product{r}\nstore {kind} %sum{r}, ptr %to{r}"
        for r in range(rows)
    ]
    return "\n".join([
        f"define internal void @dots.{rows}(ptr %row, i64 %stride, ptr %x, i64 %K, ptr %to, ptr %from, i1 %add) {{",
        *[f"%skip{r} = mul i64 %stride, {r}\n%row{r} = getelementptr i8, ptr %row, i64 %skip{r}" for r in range(rows)],
        "br label %look",
        "look:",
        "%k = phi i64 [ 0, %0 ], [ %k.more, %several ], [ %k.next, %single ]",
        *[f"%s{r}.{u} = phi {vector} [ zeroinitializer, %0 ], [ %s{r}.{u}.several, %several ], "
          f"[ {chosen[r, u]}, %single ]" for r, u in sums],
        f"%k.more = add i64 %k, {CHAINS * lanes}", f"%k.next = add i64 %k, {lanes}",
        "%enough = icmp ule i64 %k.more, %K", "%some = icmp ult i64 %k, %K",
        "br i1 %enough, label %several, label %few",
        "several:", *[line for u in range(CHAINS) for line in turn("several", u, "")], "br label %look",
        "few:", "br i1 %some, label %single, label %done",
        "single:",
        "%left = sub i64 %K, %k",
        f"%left.one = insertelement <{lanes} x i64> poison, i64 %left, i64 0",
        f"%left.all = shufflevector <{lanes} x i64> %left.one, <{lanes} x i64> poison, <{lanes} x i32> zeroinitializer",
        f"%mask = icmp slt <{lanes} x i64> <{numbers}>, %left.all",
        *turn("single", 0, "%mask"), "br label %look",
        "done:", *done, "br i1 %add, label %added, label %plain",
        "plain:", *plain, "ret void",
        "added:", *added, "ret void", "}",
    ])  # fmt: skip

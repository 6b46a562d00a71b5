"""The sum of many rows, as in the gradient of a bias: each thread adds up some of the columns.

Every column is one chain of additions from the first row to the last. With two or more columns, NumPy adds in the same
order, so the numbers are equal. NumPy sums a single column pairwise; its error grows with the logarithm of the number
of rows instead of the number, so that case is left to NumPy (see `hoisting.sum_of_rows`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from . import machine, threads
from .panels import KINDS

Array = Any
TOGETHER = 4  # rows added in one turn
FIELDS = ("ptr %rows", "i64 %stride", "ptr %out", "i64 %N", "i64 %M")


@functools.cache
def of_rows(dtype: Any) -> Callable[[Array, Array], int]:
    """A function of (rows, result): rows (N, M), each contiguous, added up into the result (1, M)."""
    return machine.compiled(_source(*KINDS[dtype]), f"sums of {dtype} rows")


def _source(kind: str, size: int) -> str:
    lanes = machine.vector_bytes() // size
    suffix = f"v{lanes}f{8 * size}"
    given = ["ptr %rows.data", "i64 %rows.stride0", "ptr %out.data", "i64 %rows.size0", "i64 %rows.size1"]
    T = threads.count()
    return "\n".join([
        f"declare <{lanes} x {kind}> @llvm.masked.load.{suffix}.p0(ptr, i32, <{lanes} x i1>, <{lanes} x {kind}>)",
        f"declare void @llvm.masked.store.{suffix}.p0(<{lanes} x {kind}>, ptr, i32, <{lanes} x i1>)",
        "declare ptr @PyLong_FromLongLong(i64)",
        threads.source(),
        _added(kind, size, lanes, 1), _added(kind, size, lanes, TOGETHER),
        "define internal void @part(ptr %argument, i64 %p) {",
        *threads.loaded(FIELDS),
        "%first.all = mul i64 %M, %p", f"%first = udiv i64 %first.all, {T}",
        "%end.all = add i64 %first.all, %M", f"%end = udiv i64 %end.all, {T}", "%columns = sub i64 %end, %first",
        f"%these = getelementptr {kind}, ptr %rows, i64 %first", f"%to = getelementptr {kind}, ptr %out, i64 %first",
        f"%bytes = mul i64 %columns, {size}",
        "call void @llvm.memset.p0.i64(ptr %to, i8 0, i64 %bytes, i1 false)",
        "br label %look",
        "look:",
        "%n = phi i64 [ 0, %0 ], [ %n.more, %several ], [ %n.next, %single ]",
        "%skip = mul i64 %n, %stride", "%row = getelementptr i8, ptr %these, i64 %skip",
        f"%n.more = add i64 %n, {TOGETHER}", "%n.next = add i64 %n, 1",
        "%enough = icmp ule i64 %n.more, %N", "%some = icmp ult i64 %n, %N",
        "br i1 %enough, label %several, label %few",
        "several:", f"call void @added.{TOGETHER}(ptr %row, i64 %stride, ptr %to, i64 %columns)", "br label %look",
        "few:", "br i1 %some, label %single, label %done",
        "single:", "call void @added.1(ptr %row, i64 %stride, ptr %to, i64 %columns)", "br label %look",
        "done:", "ret void", "}",
        "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)",
        "define ptr @kernel(ptr %self, ptr %arguments, i64 %count) {",
        f"%argument = alloca [{len(given)} x i64]",
        *machine.fields("rows", 0), *machine.fields("out", 1), *threads.stored(given),
        "%numbers = mul i64 %rows.size0, %rows.size1", "%work = mul i64 %numbers, 8",  # as long as 8 multiplications
        f"call void @share(ptr @part, ptr %argument, i64 {T}, i64 %work)",
        "%answer = call ptr @PyLong_FromLongLong(i64 0)", "ret ptr %answer", "}",
    ])  # fmt: skip


def _added(kind: str, size: int, lanes: int, count: int) -> str:
    """@added.count: `count` rows, added to the sums one after the other."""
    vector, suffix = f"<{lanes} x {kind}>", f"v{lanes}f{8 * size}"
    numbers = ", ".join(f"i64 {n}" for n in range(lanes))
    names = ["%to", *[f"%row{k}" for k in range(count)]]

    def loaded(name: str) -> str:
        load = f"call {vector} @llvm.masked.load.{suffix}.p0"
        return (
            f"{name}.at = getelementptr {kind}, ptr {name}, i64 %c\n"
            f"{name}.now = {load}(ptr {name}.at, i32 {size}, <{lanes} x i1> %mask, {vector} zeroinitializer)"
        )

    sums = ["%to.now", *[f"%sum{k}" for k in range(count)]]
    return "\n".join([
        f"define internal void @added.{count}(ptr %row, i64 %stride, ptr %to, i64 %columns) {{",
        *[f"%skip{k} = mul i64 %stride, {k}\n%row{k} = getelementptr i8, ptr %row, i64 %skip{k}" for k in range(count)],
        "br label %look",
        "look:",
        "%c = phi i64 [ 0, %0 ], [ %c.next, %do ]",
        "%more = icmp ult i64 %c, %columns",
        "br i1 %more, label %do, label %end",
        "do:",
        f"%c.next = add i64 %c, {lanes}",
        "%left = sub i64 %columns, %c",
        f"%left.one = insertelement <{lanes} x i64> poison, i64 %left, i64 0",
        f"%left.all = shufflevector <{lanes} x i64> %left.one, <{lanes} x i64> poison, <{lanes} x i32> zeroinitializer",
        f"%mask = icmp slt <{lanes} x i64> <{numbers}>, %left.all",
        *map(loaded, names),
        *[f"%sum{k} = fadd {vector} {sums[k]}, %row{k}.now" for k in range(count)],
        f"call void @llvm.masked.store.{suffix}.p0({vector} {sums[-1]}, ptr %to.at, i32 {size}, <{lanes} x i1> %mask)",
        "br label %look",
        "end:", "ret void", "}",
    ])  # fmt: skip

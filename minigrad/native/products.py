"""Matrix products: rows times a matrix in panels.

few    a few rows, with the same matrix at every step of a recurrent network. BLAS would lay the matrix out again
       at each call, which costs as much as the product, and divide the work between threads in a way that does not
       help such shapes. The parts of the work are the panels; or, if a core's cache holds the matrix, an equal
       share of rows for each thread, which computed the operands of these rows at the step before
many   many rows. The parts are bands of rows that stay in the cache; rows stored column by column, as in the
       gradient of a weight, are copied into it

Within a panel the rows are taken in blocks, whose sums stay in registers (Goto & van de Geijn 2008, "Anatomy of
high-performance matrix multiplication"). Every sum is one chain of fused multiply-adds in order, for any number of
rows and threads, so both methods give the same numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from . import machine, threads
from .blocks import BAND, block, copied, rows_of
from .panels import KINDS, VECTORS

Array = Any
Product = Callable[..., int]
DEPTH = 256  # values of k per pass over a band
MANY = 160  # rows from which on bands are faster than panels
ROWS = 8  # minimum for each thread, where few rows are shared by rows
CACHE = 5 << 18  # bytes of a matrix that a core's cache holds


def suited(rows: Array, matrix: Array) -> Product:
    """The faster method for these rows and this matrix."""
    dense = rows.strides[1] == rows.dtype.itemsize or rows.shape[1] <= DEPTH
    return few(rows.dtype) if dense and suits(rows, matrix) else many(rows.dtype)


def suits(rows: Array, matrix: Array) -> bool:
    """True if the panel method suits: the rows are few; or they are not many and the matrix is large. In the second
    case a core's cache holds the rows but not the matrix, and each panel is read once for all rows."""
    return bool(rows.shape[0] < MANY or rows.nbytes <= CACHE < matrix.nbytes)


@functools.cache
def few(dtype: Any) -> Product:
    """A function of (rows, packed, result): rows (N, K) times the packed matrix, written into the result (N, M).
    With a fourth array (M,), every row of the result starts from it.

    The rows of the result must be contiguous; ValueError otherwise.
    """
    return machine.compiled(_source("few", *KINDS[dtype]), f"products of {dtype} matrices")


@functools.cache
def many(dtype: Any) -> Product:
    """The same function as `few`, for many rows."""
    return machine.compiled(_source("many", *KINDS[dtype]), f"products of {dtype} matrices")


@functools.cache
def added(dtype: Any) -> Product:
    """`many` without a fourth array, added to the result: its sums continue from there."""
    return machine.compiled(_source("added", *KINDS[dtype]), f"products of {dtype} matrices")


# arguments of the parts, also when a loop calls @raw by its address (`native.driver`)
FIELDS = ("ptr %rows", "i64 %rows.stride", "i64 %rows.step", "ptr %packed", "ptr %out", "i64 %out.stride", "i64 %N",
          "i64 %K", "i64 %M", "i64 %panels", "i64 %chunk", "ptr %start")  # fmt: skip


def _source(how: str, kind: str, size: int) -> str:
    lanes = machine.vector_bytes() // size
    vector = f"<{lanes} x {kind}>"
    most = rows_of()
    given = ["ptr %rows.data", "i64 %rows.stride0", "i64 %rows.stride1", "ptr %packed.data", "ptr %out.data",
             "i64 %out.stride0", "i64 %rows.size0", "i64 %rows.size1", "i64 %out.size1", "i64 %packed.size0",
             "i64 0", "ptr %start"]  # fmt: skip
    message = b"the result of a product must have rows without gaps\0"
    suffix = f"v{lanes}f{8 * size}"
    part = _panel(kind, lanes) + "\n" + _rows(kind, lanes) if how == "few" else _band(kind, size, lanes, how == "added")
    return "\n".join([
        f"declare {vector} @llvm.fma.{suffix}({vector}, {vector}, {vector})",
        f"declare void @llvm.masked.store.{suffix}.p0({vector}, ptr, i32, <{lanes} x i1>)",
        "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)",
        f"declare {vector} @llvm.masked.load.{suffix}.p0(ptr, i32, <{lanes} x i1>, {vector})",
        "declare ptr @PyLong_FromLongLong(i64)", "declare void @PyErr_SetString(ptr, ptr)",
        "@minigrad.ValueError = external global i8",
        f'@message = private constant [{len(message)} x i8] c"{message[:-1].decode()}\\00"',
        threads.source(),
        *[block(kind, size, lanes, m, -threads.count() if how == "few" else 0) for m in range(1, most + 1)],
        _blocks(most),
        part,
        "define void @raw(ptr %argument) {",
        *threads.loaded(FIELDS),
        "%none = icmp eq i64 %N, 0",
        "br i1 %none, label %nothing, label %something",
        "nothing:", "ret void",
        "something:",
        *_chunk(),
        "%chunk.at.end = getelementptr i64, ptr %argument, i64 10", "store i64 %chunk.new, ptr %chunk.at.end",
        *(_divided(size) if how == "few" else ["%parts = add i64 %bands, 0"]),
        "%flat = mul i64 %N, %K", "%work = mul i64 %flat, %M",
        f"call void @share(ptr {'%part' if how == 'few' else '@part'}, ptr %argument, i64 %parts, i64 %work)",
        "ret void", "}",
        "define ptr @kernel(ptr %self, ptr %arguments, i64 %count) {",
        f"%argument = alloca [{len(given)} x i64]",
        *machine.fields("rows", 0), *machine.fields("packed", 1), *machine.fields("out", 2),
        f"%dense = icmp eq i64 %out.stride1, {size}",
        "br i1 %dense, label %go, label %refuse",
        "refuse:",
        "call void @PyErr_SetString(ptr @minigrad.ValueError, ptr @message)",
        "ret ptr null",
        "go:",
        *machine.fourth("start"),
        *threads.stored(given),
        "%flat = mul i64 %rows.size0, %rows.size1", "%work = mul i64 %flat, %out.size1",
        "call void @freely(ptr @raw, ptr %argument, i64 %work)",
        "%answer = call ptr @PyLong_FromLongLong(i64 0)",
        "ret ptr %answer",
        "}",
    ])  # fmt: skip


def _chunk() -> list[str]:
    """The number of rows of a band: at most BAND, and few enough for each thread to get as many bands, at least two."""
    T = threads.count()
    return [
        f"%N.up = add i64 %N, {BAND - 1}", f"%least = udiv i64 %N.up, {BAND}",
        f"%too.few = icmp ult i64 %least, {2 * T}", f"%some.bands = select i1 %too.few, i64 {2 * T}, i64 %least",
        f"%bands.up = add i64 %some.bands, {T - 1}", f"%turns = udiv i64 %bands.up, {T}",
        f"%even = mul i64 %turns, {T}", "%even.less = sub i64 %even, 1", "%N.even = add i64 %N, %even.less",
        "%chunk.new = udiv i64 %N.even, %even",
        "%chunk.less = sub i64 %chunk.new, 1", "%N.chunk = add i64 %N, %chunk.less",
        "%bands = udiv i64 %N.chunk, %chunk.new",
    ]  # fmt: skip


def _divided(size: int) -> list[str]:
    """The way to share few rows: by panels or by rows."""
    T = threads.count()
    return [
        f"%are.rows = icmp uge i64 %N, {ROWS * T}",
        "%numbers = mul i64 %K, %M", f"%bytes = mul i64 %numbers, {size}",
        f"%is.kept = icmp ule i64 %bytes, {CACHE}", "%by.rows = and i1 %are.rows, %is.kept",
        "%part = select i1 %by.rows, ptr @some.rows, ptr @part",
        f"%parts = select i1 %by.rows, i64 {T}, i64 %panels",
    ]  # fmt: skip


def _blocks(most: int) -> str:
    """Some rows times one panel, in blocks of nearly equal size: the first `larger` ones have one row more."""
    cases = " ".join(f"i64 {m}, label %block{m}" for m in range(1, most))
    arguments = (
        "i64 %stride, i64 %step, ptr %panel, ptr %to, i64 %to.stride, i64 %K, i64 %left, i1 %add, ptr %from, "
        "i64 %from.stride"
    )
    here = arguments.replace("%to,", "%row.to,").replace("%from,", "%row.from,")
    calls = [f"block{m}:\ncall void @block.{m}(ptr %row, {here})\nbr label %after" for m in range(1, most + 1)]
    return "\n".join([
        f"define internal void @blocks(ptr %rows, i64 %N, {arguments}) {{",
        f"%up = add i64 %N, {most - 1}", f"%count = udiv i64 %up, {most}",
        "%base = udiv i64 %N, %count", "%larger = urem i64 %N, %count",
        "br label %look",
        "look:",
        "%n = phi i64 [ 0, %0 ], [ %n.next, %after ]",
        "%row = phi ptr [ %rows, %0 ], [ %row.next, %after ]",
        "%row.to = phi ptr [ %to, %0 ], [ %to.next, %after ]",
        "%row.from = phi ptr [ %from, %0 ], [ %from.next, %after ]",
        "%more = icmp ult i64 %n, %count",
        "br i1 %more, label %choose, label %end",
        "choose:",
        "%is.larger = icmp ult i64 %n, %larger", "%one = zext i1 %is.larger to i64", "%m = add i64 %base, %one",
        f"switch i64 %m, label %block{most} [ {cases} ]",
        *calls,
        "after:",
        "%n.next = add i64 %n, 1",
        "%row.skip = mul i64 %m, %stride", "%row.next = getelementptr i8, ptr %row, i64 %row.skip",
        "%to.skip = mul i64 %m, %to.stride", "%to.next = getelementptr i8, ptr %row.to, i64 %to.skip",
        "%from.skip = mul i64 %m, %from.stride", "%from.next = getelementptr i8, ptr %row.from, i64 %from.skip",
        "br label %look",
        "end:", "ret void", "}",
    ])  # fmt: skip


def _panel(kind: str, lanes: int) -> str:
    """Part p of few rows: all of them, times one panel."""
    return "\n".join([
        "define internal void @part(ptr %argument, i64 %p) {",
        *threads.loaded(FIELDS),
        f"%column = mul i64 %p, {VECTORS * lanes}",
        "%depth = mul i64 %column, %K", f"%panel = getelementptr {kind}, ptr %packed, i64 %depth",
        f"%to = getelementptr {kind}, ptr %out, i64 %column", f"%from = getelementptr {kind}, ptr %start, i64 %column",
        "%left = sub i64 %M, %column", "%add = icmp ne ptr %start, null",
        "call void @blocks(ptr %rows, i64 %N, i64 %rows.stride, i64 %rows.step, ptr %panel, ptr %to, i64 %out.stride, "
        "i64 %K, i64 %left, i1 %add, ptr %from, i64 0)",
        "ret void", "}",
    ])  # fmt: skip


def _rows(kind: str, lanes: int) -> str:
    """Part p of few rows: a thread's share of them, times all panels."""
    T = threads.count()
    return "\n".join([
        "define internal void @some.rows(ptr %argument, i64 %p) {",
        *threads.loaded(FIELDS),
        "%first.all = mul i64 %N, %p", f"%first = udiv i64 %first.all, {T}",
        "%end.all = add i64 %first.all, %N", f"%last = udiv i64 %end.all, {T}", "%n = sub i64 %last, %first",
        "%skip = mul i64 %first, %rows.stride", "%these = getelementptr i8, ptr %rows, i64 %skip",
        "%out.skip = mul i64 %first, %out.stride", "%these.out = getelementptr i8, ptr %out, i64 %out.skip",
        "br label %look",
        "look:",
        "%q = phi i64 [ 0, %0 ], [ %q.next, %do ]",
        "%more = icmp ult i64 %q, %panels",
        "br i1 %more, label %do, label %end",
        "do:",
        f"%column = mul i64 %q, {VECTORS * lanes}",
        "%depth = mul i64 %column, %K", f"%panel = getelementptr {kind}, ptr %packed, i64 %depth",
        f"%to = getelementptr {kind}, ptr %these.out, i64 %column",
        f"%from = getelementptr {kind}, ptr %start, i64 %column",
        "%left = sub i64 %M, %column", "%add = icmp ne ptr %start, null",
        "call void @blocks(ptr %these, i64 %n, i64 %rows.stride, i64 %rows.step, ptr %panel, ptr %to, i64 %out.stride, "
        "i64 %K, i64 %left, i1 %add, ptr %from, i64 0)",
        "%q.next = add i64 %q, 1",
        "br label %look",
        "end:", "ret void", "}",
    ])  # fmt: skip


def _band(kind: str, size: int, lanes: int, added: bool) -> str:
    """Part p of many rows: a band of them, times all panels, for DEPTH values of k at a time."""
    most = rows_of()
    return "\n".join([
        copied(kind, size, lanes),
        "define internal void @part(ptr %argument, i64 %p) {",
        *threads.loaded(FIELDS),
        f"%copy = alloca [{BAND * DEPTH * size + 64} x i8], align 64",
        "%first = mul i64 %p, %chunk", "%rest = sub i64 %N, %first",
        "%is.last = icmp ult i64 %rest, %chunk", "%n = select i1 %is.last, i64 %rest, i64 %chunk",
        "%band.skip = mul i64 %first, %rows.stride", "%band = getelementptr i8, ptr %rows, i64 %band.skip",
        "%out.skip = mul i64 %first, %out.stride", "%band.out = getelementptr i8, ptr %out, i64 %out.skip",
        f"%dense = icmp eq i64 %rows.step, {size}",
        "br label %deep",
        "deep:",
        "%k = phi i64 [ 0, %0 ], [ %k.next, %deep.end ]",
        "%deep.more = icmp ult i64 %k, %K",
        "br i1 %deep.more, label %take, label %end",
        "take:",
        "%K.rest = sub i64 %K, %k",
        f"%is.deepest = icmp ult i64 %K.rest, {DEPTH}",
        f"%depth = select i1 %is.deepest, i64 %K.rest, i64 {DEPTH}",
        f"%k.next = add i64 %k, {DEPTH}",
        "%goes.on = " + ("icmp uge i64 %k, 0" if added else "icmp ne i64 %k, 0"),
        "%has.start = icmp ne ptr %start, null", "%add = or i1 %goes.on, %has.start",
        "%origin.at = select i1 %goes.on, ptr %band.out, ptr %start",
        "%origin.stride = select i1 %goes.on, i64 %out.stride, i64 0",
        "%from.skip = mul i64 %k, %rows.step", "%from = getelementptr i8, ptr %band, i64 %from.skip",
        "br i1 %dense, label %begin, label %lay.out",
        "lay.out:",
        "call void @copied(ptr %from, i64 %n, i64 %rows.stride, i64 %rows.step, i64 %depth, ptr %copy)",
        "br label %begin",
        "begin:",
        "%source = phi ptr [ %from, %take ], [ %copy, %lay.out ]",
        "br label %panel",
        "panel:",
        "%q = phi i64 [ 0, %begin ], [ %q.next, %panel.end ]",
        "%panel.more = icmp ult i64 %q, %panels",
        "br i1 %panel.more, label %do, label %deep.end",
        "do:",
        f"%column = mul i64 %q, {VECTORS * lanes}",
        "%panel.skip = mul i64 %column, %K",
        f"%inside = mul i64 %k, {VECTORS * lanes}", "%panel.at = add i64 %panel.skip, %inside",
        f"%panel.data = getelementptr {kind}, ptr %packed, i64 %panel.at",
        f"%to = getelementptr {kind}, ptr %band.out, i64 %column",
        f"%origin = getelementptr {kind}, ptr %origin.at, i64 %column",
        "%left = sub i64 %M, %column",
        "br i1 %dense, label %as.it.is, label %as.copied",
        "as.it.is:",
        "call void @blocks(ptr %source, i64 %n, i64 %rows.stride, i64 %rows.step, ptr %panel.data, ptr %to, "
        "i64 %out.stride, i64 %depth, i64 %left, i1 %add, ptr %origin, i64 %origin.stride)",
        "br label %panel.end",
        "as.copied:",  # block after block, with the rows of one k side by side
        "br label %each",
        "each:",
        "%b = phi i64 [ 0, %as.copied ], [ %b.next, %each.end ]",
        "%each.more = icmp ult i64 %b, %n",
        "br i1 %each.more, label %each.do, label %panel.end",
        "each.do:",
        f"%b.next = add i64 %b, {most}",
        "%b.rest = sub i64 %n, %b",
        f"%b.is.last = icmp ult i64 %b.rest, {most}", f"%b.n = select i1 %b.is.last, i64 %b.rest, i64 {most}",
        "%b.origin.skip = mul i64 %b, %origin.stride", "%b.origin = getelementptr i8, ptr %origin, i64 %b.origin.skip",
        "%b.skip = mul i64 %b, %depth", f"%b.from = getelementptr {kind}, ptr %copy, i64 %b.skip",
        "%b.to.skip = mul i64 %b, %out.stride", "%b.to = getelementptr i8, ptr %to, i64 %b.to.skip",
        f"switch i64 %b.n, label %each{most} [ {' '.join(f'i64 {m}, label %each{m}' for m in range(1, most))} ]",
        *[f"each{m}:\ncall void @block.{m}(ptr %b.from, i64 {size}, i64 {most * size}, ptr %panel.data, ptr %b.to, "
          "i64 %out.stride, i64 %depth, i64 %left, i1 %add, ptr %b.origin, i64 %origin.stride)\nbr label %each.end"
          for m in range(1, most + 1)],
        "each.end:", "br label %each",
        "panel.end:",
        "%q.next = add i64 %q, 1",
        "br label %panel",
        "deep.end:",
        "br label %deep",
        "end:", "ret void", "}",
    ])  # fmt: skip

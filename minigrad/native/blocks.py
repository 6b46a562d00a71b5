"""The innermost part of a matrix product: a block of rows times one panel."""

from __future__ import annotations

from . import machine
from .panels import VECTORS

BAND = 96  # rows copied at a time: with DEPTH values each, they stay in a core's cache


def rows_of() -> int:
    """The most rows of a block: as many as the registers can hold sums of."""
    return 12 if machine.vector_bytes() == 64 else 6


def block(kind: str, size: int, lanes: int, m: int, ahead: int = 0) -> str:
    """@block.m: m rows times one panel. The sums over k stay in m × VECTORS registers; with %add, they start from the
    values at %from: the result so far, or one row for all.

    If the last panel has fewer columns `left` than a whole one, only these are written. Meanwhile the panel `ahead`
    panels further on is prefetched into the cache.
    """
    vector, suffix = f"<{lanes} x {kind}>", f"v{lanes}f{8 * size}"
    sums = [(i, j) for i in range(m) for j in range(VECTORS)]
    places = [f"%to{i} = getelementptr i8, ptr %to, i64 %to.skip{i}" for i in range(m)]
    places = [f"%to.skip{i} = mul i64 %to.stride, {i}\n{line}" for i, line in enumerate(places)]
    places += [
        f"%from.skip{i} = mul i64 %from.stride, {i}\n%from{i} = getelementptr i8, ptr %from, i64 %from.skip{i}"
        for i in range(m)
    ]
    places += [f"%begin{i}.{j} = getelementptr {kind}, ptr %from{i}, i64 {j * lanes}" for i, j in sums]
    places += [f"%at{i}.{j} = getelementptr {kind}, ptr %to{i}, i64 {j * lanes}" for i, j in sums]
    return "\n".join([
        f"define internal void @block.{m}(ptr %rows, i64 %stride, i64 %step, ptr %panel, ptr %to, i64 %to.stride, "
        "i64 %K, i64 %left, i1 %add, ptr %from, i64 %from.stride) {",
        *[f"%a{i}.skip = mul i64 %stride, {i}\n%a{i} = getelementptr i8, ptr %rows, i64 %a{i}.skip" for i in range(m)],
        *places,
        f"%fits = icmp sge i64 %left, {VECTORS * lanes}", f"%far = mul i64 %K, {ahead * VECTORS * lanes * size}",
        *_written(lanes),
        "br i1 %add, label %go.on, label %look",
        "go.on:", "br i1 %fits, label %load.whole, label %load.part",
        "load.whole:",
        *[f"%w{i}.{j} = load {vector}, ptr %begin{i}.{j}, align {size}" for i, j in sums],
        "br label %look",
        "load.part:",
        *[f"%p{i}.{j} = call {vector} @llvm.masked.load.{suffix}.p0(ptr %begin{i}.{j}, i32 {size}, "
          f"<{lanes} x i1> %written{j}, {vector} zeroinitializer)" for i, j in sums],
        "br label %look",
        "look:",
        f"%k = phi i64 {_from('0', '%k.next')}", f"%over = phi i64 {_from('0', '%over.next')}",
        f"%b = phi ptr {_from('%panel', '%b.next')}",
        *[f"%s{i}.{j} = phi {vector} [ zeroinitializer, %0 ], [ %w{i}.{j}, %load.whole ], [ %p{i}.{j}, %load.part ], "
          f"[ %s{i}.{j}.next, %turn ]" for i, j in sums],
        "%more = icmp ult i64 %k, %K",
        "br i1 %more, label %turn, label %store",
        "turn:",
        *(_called(kind, lanes) if ahead else []),
        *_add(kind, size, lanes, m),
        "%k.next = add i64 %k, 1", "%over.next = add i64 %over, %step",
        f"%b.next = getelementptr {kind}, ptr %b, i64 {VECTORS * lanes}",
        "br label %look",
        "store:", "br i1 %fits, label %whole, label %part",
        "whole:", *[f"store {vector} %s{i}.{j}, ptr %at{i}.{j}, align {size}" for i, j in sums], "ret void",
        "part:",
        *[f"call void @llvm.masked.store.{suffix}.p0({vector} %s{i}.{j}, ptr %at{i}.{j}, i32 {size}, "
          f"<{lanes} x i1> %written{j})" for i, j in sums],
        "ret void", "}",
    ])  # fmt: skip


def _from(first: str, next_one: str) -> str:
    """The phi operands of a value in the loop over k."""
    return f"[ {first}, %0 ], [ {first}, %load.whole ], [ {first}, %load.part ], [ {next_one}, %turn ]"


def _add(kind: str, size: int, lanes: int, m: int) -> list[str]:
    """Add the products for one k to the sums. (With two k in a turn, LLVM would load both before it multiplies, which
    exceeds the registers.)"""
    vector = f"<{lanes} x {kind}>"
    fma = f"call {vector} @llvm.fma.v{lanes}f{8 * size}"
    lines = []
    for j in range(VECTORS):
        lines += [f"%b{j}.at = getelementptr {kind}, ptr %b, i64 {j * lanes}",
                  f"%b{j} = load {vector}, ptr %b{j}.at, align {size}"]  # fmt: skip
    for i in range(m):
        lines += [
            f"%a{i}.at = getelementptr i8, ptr %a{i}, i64 %over",
            f"%a{i}.one = load {kind}, ptr %a{i}.at",
            f"%a{i}.first = insertelement {vector} poison, {kind} %a{i}.one, i64 0",
            f"%a{i}.all = shufflevector {vector} %a{i}.first, {vector} poison, <{lanes} x i32> zeroinitializer",
        ]
        lines += [f"%s{i}.{j}.next = {fma}({vector} %a{i}.all, {vector} %b{j}, {vector} %s{i}.{j})" for j in
                  range(VECTORS)]  # fmt: skip
    return lines


def _called(kind: str, lanes: int) -> list[str]:
    """Prefetch the values of another panel for this k."""
    lines = ["%there = getelementptr i8, ptr %b, i64 %far"]
    for j in range(VECTORS):
        lines += [f"%there{j} = getelementptr {kind}, ptr %there, i64 {j * lanes}",
                  f"call void @llvm.prefetch.p0(ptr %there{j}, i32 0, i32 2, i32 1)"]  # fmt: skip
    return lines


def _written(lanes: int) -> list[str]:
    """The mask of the panel's columns that exist."""
    lines = [f"%left.one = insertelement <{lanes} x i64> poison, i64 %left, i64 0",
             f"%left.all = shufflevector <{lanes} x i64> %left.one, <{lanes} x i64> poison, "
             f"<{lanes} x i32> zeroinitializer"]  # fmt: skip
    for j in range(VECTORS):
        numbers = ", ".join(f"i64 {n + j * lanes}" for n in range(lanes))
        lines.append(f"%written{j} = icmp slt <{lanes} x i64> <{numbers}>, %left.all")
    return lines


def copied(kind: str, size: int, lanes: int) -> str:
    """@copied: copies column-by-column rows block after block; in each block, the rows of one k lie side by side.

    The last block is padded with zeros. A copy may write beyond its end, where the next one follows.
    """
    most = rows_of()
    vector, suffix = f"<{lanes} x {kind}>", f"v{lanes}f{8 * size}"
    parts = range(-(-most // lanes))
    lines = [f"%n.one = insertelement <{lanes} x i64> poison, i64 %n, i64 0",
             f"%n.all = shufflevector <{lanes} x i64> %n.one, <{lanes} x i64> poison, "
             f"<{lanes} x i32> zeroinitializer"]  # fmt: skip
    for v in parts:
        numbers = ", ".join(
            f"i64 {min(n + v * lanes, most) if n + v * lanes < most else 1 << 40}" for n in range(lanes)
        )
        lines.append(f"%real{v} = icmp slt <{lanes} x i64> <{numbers}>, %n.all")
    copies = []
    for v in parts:
        copies += [
            f"%from{v} = getelementptr {kind}, ptr %source, i64 {v * lanes}",
            f"%v{v} = call {vector} @llvm.masked.load.{suffix}.p0(ptr %from{v}, i32 {size}, <{lanes} x i1> %real{v}, "
            f"{vector} zeroinitializer)",
            f"%to{v} = getelementptr {kind}, ptr %target, i64 {v * lanes}",
            f"store {vector} %v{v}, ptr %to{v}, align {size}",
        ]
    return "\n".join([
        "define internal void @copied(ptr %rows, i64 %N, i64 %stride, i64 %step, i64 %K, ptr %to) {",
        "%far = mul i64 %step, 12",
        "br label %block",
        "block:",
        "%b = phi i64 [ 0, %0 ], [ %b.next, %block.end ]",
        "%more = icmp ult i64 %b, %N",
        "br i1 %more, label %begin, label %end",
        "begin:",
        f"%b.next = add i64 %b, {most}",
        "%n = sub i64 %N, %b",
        *lines,
        "%b.skip = mul i64 %b, %stride", "%from = getelementptr i8, ptr %rows, i64 %b.skip",
        "%b.place = mul i64 %b, %K", f"%place = getelementptr {kind}, ptr %to, i64 %b.place",
        "br label %look",
        "look:",
        "%k = phi i64 [ 0, %begin ], [ %k.next, %copy ]",
        "%k.more = icmp ult i64 %k, %K",
        "br i1 %k.more, label %copy, label %block.end",
        "copy:",
        "%k.skip = mul i64 %k, %step", "%source = getelementptr i8, ptr %from, i64 %k.skip",
        f"%k.place = mul i64 %k, {most}", f"%target = getelementptr {kind}, ptr %place, i64 %k.place",
        "%ahead = getelementptr i8, ptr %source, i64 %far",
        "call void @llvm.prefetch.p0(ptr %ahead, i32 0, i32 3, i32 1)",  # each k lies on another page
        *copies,
        "%k.next = add i64 %k, 1",
        "br label %look",
        "block.end:", "br label %block",
        "end:", "ret void", "}",
    ])  # fmt: skip

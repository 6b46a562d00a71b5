"""The steps of a loop as consecutive calls of kernels, without Python in between.

A kernel is called by its address (@raw of its source) with an array of words, 8 bytes each: addresses, strides and
sizes. From step to step only some words change, each by an entry of a list of positions. A *job* describes all calls:

PARTS, STEPS   of the work: threads share the parts, each of which is all steps for some of the rows
FIRST, ADVANCE the byte offset in the lists of positions at the first step, and the increment per step
WORDS          the number of words of a step: for each call the kernel's address, the number of its words (counting
               these two), and its arguments; a zero ends the step
PLACES         the number of words that are addresses in arrays: (number of the word, number of the array)
CHANGES        the number of words that change: (number of the word, address of its positions, factor)
MULTIPLICATIONS  in total

After these numbers follow, for each part, the words (with offsets in place of addresses), the places and the changes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import machine, threads

HEAD = ("parts", "steps", "first", "advance", "words", "places", "changes", "multiplications")
COPY = ("ptr %to", "i64 %to.stride", "ptr %from", "i64 %from.stride", "i64 %n", "i64 %bytes")
CLEAR = ("ptr %to", "i64 %to.stride", "i64 %n", "i64 %bytes")


class Part(NamedTuple):
    """One part of a job, as it follows the head."""

    words: list[int]
    places: list[int]
    changes: list[int]


def job(parts: Sequence[Part], steps: int, multiplications: int, first: int = 0, advance: int = 8) -> Any:
    """A job, as an array. All parts have the same calls."""
    words, places, changes = parts[0]
    head = len(parts), steps, first, advance, len(words), len(places) // 2, len(changes) // 3, multiplications
    return np.array([*head, *[word for part in parts for group in part for word in group]], np.int64)


def address(array: Any) -> int:
    """The address of an array's first number, as it stands among the changes."""
    return int(array.__array_interface__["data"][0])


@functools.cache
def run() -> Callable[..., int]:
    """A function of (job, arrays...) that runs a job, given as an array of int64, on the arrays that its places refer
    to.
    """
    return machine.compiled(_source(), _SUBJECT)


@functools.cache
def copy() -> int:
    """The address of a kernel that copies rows; its words are `COPY`."""
    return machine.raw(run(), "copy")


@functools.cache
def clear() -> int:
    """The address of a kernel that writes zeros into rows; its words are `CLEAR`."""
    return machine.raw(run(), "clear")


_SUBJECT = "loops"


def _source() -> str:
    return "\n".join([
        "declare ptr @PyLong_FromLongLong(i64)",
        "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)", "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)",
        threads.source(),
        _rows("copy", COPY, "call void @llvm.memcpy.p0.p0.i64(ptr %to.row, ptr %from.row, i64 %bytes, i1 false)"),
        _rows("clear", CLEAR, "call void @llvm.memset.p0.i64(ptr %to.row, i8 0, i64 %bytes, i1 false)"),
        _steps(),
        "define internal void @all(ptr %argument) {",
        *threads.loaded(["ptr %job", "ptr %arrays"]), *_head("parts", "multiplications"),
        "%is.one = icmp eq i64 %parts, 1",
        "br i1 %is.one, label %alone, label %shared",
        "alone:", "call void @steps(ptr %argument, i64 0)", "ret void",
        "shared:", "call void @share(ptr @steps, ptr %argument, i64 %parts, i64 %multiplications)", "ret void",
        "}",
        "define ptr @kernel(ptr %self, ptr %arguments, i64 %count) {",
        "%argument = alloca [2 x i64]",
        "%arrays = alloca ptr, i64 %count",
        "br label %look",
        "look:",  # the addresses of all arrays; array 0 is the job
        "%k = phi i64 [ 0, %0 ], [ %k.next, %do ]",
        "%more = icmp ult i64 %k, %count",
        "br i1 %more, label %do, label %go",
        "do:",
        "%object.at = getelementptr ptr, ptr %arguments, i64 %k", "%object = load ptr, ptr %object.at",
        f"%data.at = getelementptr i8, ptr %object, i64 {machine.DATA}", "%data = load ptr, ptr %data.at",
        "%array.at = getelementptr ptr, ptr %arrays, i64 %k", "store ptr %data, ptr %array.at",
        "%k.next = add i64 %k, 1",
        "br label %look",
        "go:",
        "%job = load ptr, ptr %arrays",
        *threads.stored(["ptr %job", "ptr %arrays"]), *_head("multiplications"),
        "call void @freely(ptr @all, ptr %argument, i64 %multiplications)",
        "%answer = call ptr @PyLong_FromLongLong(i64 0)", "ret ptr %answer", "}",
    ])  # fmt: skip


def _head(*names: str) -> list[str]:
    """Instructions that read numbers from a job's head."""
    lines = []
    for name in names:
        lines += [f"%{name}.at = getelementptr i64, ptr %job, i64 {HEAD.index(name)}",
                  f"%{name} = load i64, ptr %{name}.at"]  # fmt: skip
    return lines


def _word(name: str, table: str, index: str, kind: str = "i64") -> list[str]:
    return [f"%{name}.at = getelementptr i64, ptr {table}, i64 {index}", f"%{name} = load {kind}, ptr %{name}.at"]


def _steps() -> str:
    """Part p of a job: all steps of its rows."""
    return "\n".join([
        "define internal void @steps(ptr %argument, i64 %p) {",
        *threads.loaded(["ptr %job", "ptr %arrays"]),
        *_head("steps", "first", "advance", "words", "places", "changes"),
        "%two = mul i64 %places, 2", "%three = mul i64 %changes, 3", "%some = add i64 %words, %two",
        "%size = add i64 %some, %three", "%skip = mul i64 %p, %size", f"%begin = add i64 %skip, {len(HEAD)}",
        "%template = getelementptr i64, ptr %job, i64 %begin",
        "%place = getelementptr i64, ptr %template, i64 %words", "%change = getelementptr i64, ptr %place, i64 %two",
        "%base = alloca i64, i64 %words", "%now = alloca i64, i64 %words",
        "%bytes = mul i64 %words, 8",
        "call void @llvm.memcpy.p0.p0.i64(ptr %base, ptr %template, i64 %bytes, i1 false)",
        "br label %place.look",
        "place.look:",  # addresses of arrays
        "%k = phi i64 [ 0, %0 ], [ %k.next, %place.do ]",
        "%place.more = icmp ult i64 %k, %two",
        "br i1 %place.more, label %place.do, label %placed",
        "place.do:",
        *_word("index", "%place", "%k"), "%k.of = add i64 %k, 1", *_word("number", "%place", "%k.of"),
        *_word("address", "%arrays", "%number"), *_word("offset", "%base", "%index"),
        "%moved = add i64 %offset, %address", "store i64 %moved, ptr %offset.at",
        "%k.next = add i64 %k, 2",
        "br label %place.look",
        "placed:",
        "call void @llvm.memcpy.p0.p0.i64(ptr %now, ptr %base, i64 %bytes, i1 false)",
        "br label %step.look",
        "step.look:",
        "%t = phi i64 [ 0, %placed ], [ %t.next, %step.end ]",
        "%at = phi i64 [ %first, %placed ], [ %at.next, %step.end ]",
        "%step.more = icmp ult i64 %t, %steps",
        "br i1 %step.more, label %change.look, label %end",
        "change.look:",
        "%c = phi i64 [ 0, %step.look ], [ %c.next, %change.do ]",
        "%change.more = icmp ult i64 %c, %three",
        "br i1 %change.more, label %change.do, label %call.look",
        "change.do:",
        *_word("word", "%change", "%c"), "%c.list = add i64 %c, 1", *_word("list", "%change", "%c.list", "ptr"),
        "%c.factor = add i64 %c, 2", *_word("factor", "%change", "%c.factor"),
        "%position.at = getelementptr i8, ptr %list, i64 %at", "%position = load i64, ptr %position.at",
        "%far = mul i64 %position, %factor", *_word("start", "%base", "%word"), "%new = add i64 %start, %far",
        "%new.at = getelementptr i64, ptr %now, i64 %word", "store i64 %new, ptr %new.at",
        "%c.next = add i64 %c, 3",
        "br label %change.look",
        "call.look:",
        "%call = phi ptr [ %now, %change.look ], [ %call.next, %call.do ]",
        "%kernel = load ptr, ptr %call", "%is.last = icmp eq ptr %kernel, null",
        "br i1 %is.last, label %step.end, label %call.do",
        "call.do:",
        "%fields = getelementptr i64, ptr %call, i64 2", "call void %kernel(ptr %fields)",
        *_word("length", "%call", "1"), "%call.next = getelementptr i64, ptr %call, i64 %length",
        "br label %call.look",
        "step.end:",
        "%t.next = add i64 %t, 1", "%at.next = add i64 %at, %advance",
        "br label %step.look",
        "end:", "ret void", "}",
    ])  # fmt: skip


def _rows(name: str, fields: tuple[str, ...], instruction: str) -> str:
    """A kernel that executes an instruction for each of n rows."""
    moves = []
    for array in ("to", "from"):
        if f"ptr %{array}" in fields:
            moves += [f"%{array}.skip = mul i64 %k, %{array}.stride",
                      f"%{array}.row = getelementptr i8, ptr %{array}, i64 %{array}.skip"]  # fmt: skip
    return "\n".join([
        f"define void @{name}(ptr %argument) {{",
        *threads.loaded(fields),
        "br label %look",
        "look:",
        "%k = phi i64 [ 0, %0 ], [ %k.next, %do ]",
        "%more = icmp slt i64 %k, %n",
        "br i1 %more, label %do, label %end",
        "do:",
        *moves, instruction,
        "%k.next = add i64 %k, 1",
        "br label %look",
        "end:", "ret void", "}",
    ])  # fmt: skip

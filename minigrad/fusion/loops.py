"""Symbols as the source of a native loop, in LLVM IR.

The arrays of a fused call are matrices (rows, columns), with an axis of size 1 where they are broadcast. The inner loop
runs along the contiguous axis, in vectors as wide as the processor's; the remainder at its end is processed by the same
code under a mask.

Every value is requested from a first column on. A part shifts the column, and a join selects a part, so splitting and
joining cost nothing. A value that joins and parts cut is computed piece by piece. Pieces of equal width share one loop,
in which everything is computed once, and intermediate values never leave the registers. What depends on a sum or
maximum of its row is computed by a further inner loop, which follows in the same iteration of the outer one.

order "F"   rows lie side by side: for each column of the pieces, along the rows
order "C"   columns lie side by side: for each row, along the columns of the pieces

Threads share the outer loop (`native.threads`), always in the same way: at the next step, a thread still finds its
results in its cache. A kernel that sums over the outer loop uses one thread.

The kernel reads sizes when it is called, so other sizes of the same structure have the same source.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..native import machine, threads
from .body import BYTES, Lanewise, OuterIteration, columns_of
from .lanes import KINDS, Block
from .structure import REDUCTIONS, Unsuited, cuts_of, is_along_row, matrix, schedule_of
from .symbols import Symbol

ARGUMENTS = 60  # arrays: a kernel's refusal has one bit for each that must be copied


class Field(NamedTuple):
    """A word of @raw's argument: the address of an array ("data"), its stride along an axis ("stride"), or a size."""

    kind: str
    number: int  # of the array, or of the size among `sizes`
    axis: int = 0

    @classmethod
    def named(cls, name: str) -> Field:
        """The field of a variable: data0, stride0.1, n0."""
        kind, number, axis = re.fullmatch(r"(data|stride|n)(\d+)(?:\.(\d+))?", name).groups()  # type: ignore[union-attr]
        return cls("size" if kind == "n" else kind, int(number), int(axis or 0))


class Loops:
    """A kernel's source, and the numbers of rows and columns that it is called with (`sizes`).

    group   the rows in turn that share a row of an operand with fewer rows (see `folding`)
    together  read all operands before any result is written, since results may overwrite them
    fields  the contents of @raw's argument, 8 bytes each
    added   sums that are added to what is there
    """

    def __init__(
        self, givens: Sequence[Symbol], outputs: Sequence[Symbol], order: str, group: int = 1, together: bool = False
    ) -> None:  # fmt: skip
        self.givens, self.arrays, self.by_column = set(givens), [*givens, *outputs], order == "F"
        if len(self.arrays) > ARGUMENTS:
            raise Unsuited("too many arrays")
        self.number = {s: k for k, s in enumerate(self.arrays)}
        self.together = together
        self.schedule = schedule_of(givens, outputs)
        symbols = [*self.schedule, *givens]
        for symbol in symbols:
            if symbol.dtype not in KINDS:
                raise Unsuited(f"numbers of type {symbol.dtype}")
        rows = {matrix(s)[0] for s in symbols} - {1}
        self.rows, self.group = max(rows, default=1), group
        if rows - {self.rows, self.rows // group}:
            raise Unsuited("different numbers of rows")
        if any(self.is_grouped(s) and s.op not in REDUCTIONS for s in outputs):
            raise Unsuited("a result with fewer rows")
        self.kinds = {s: KINDS[s.dtype] for s in symbols}
        self.width = machine.vector_bytes() // min([BYTES[k] for k in self.kinds.values() if k != "i1"], default=4)
        self.cuts = cuts_of(self.schedule)
        self.counter: Iterator[int] = itertools.count()
        self.declared: dict[str, None] = {}
        self.reserved: list[str] = []  # memory for reductions
        reductions = {s for s in outputs if s.op in REDUCTIONS}
        self.inner = set() if self.by_column else {s for s in reductions if is_along_row(s)}
        self.added = reductions - self.inner
        if any(s.op == "max" for s in self.added):
            raise Unsuited("a maximum that is not taken along the inner loop")
        self.begun = set(self.added)  # reductions that have terms of earlier loops
        owned = all(s.op not in REDUCTIONS or self._is_owned(s) for s in outputs)
        self.parts = threads.count() if owned else 1
        self.work: list[str] = []
        loops, checks = self._loops(outputs), "\n".join(self._checks())
        source = f"{checks}\n{loops}"
        used = sorted({int(n) for n in re.findall(r"%size\.(\d+)", source)})
        self.sizes = [self.rows, *used]
        self.source = self._whole(checks, loops)

    def is_grouped(self, symbol: Symbol) -> bool:
        """True if each row of an array serves a group of rows."""
        return self.group != 1 and matrix(symbol)[0] not in (1, self.rows)

    def _is_owned(self, total: Symbol) -> bool:
        """True if one iteration of the outer loop gives each number of a sum or maximum."""
        return matrix(total)[1] != 1 if self.by_column else matrix(total)[0] != 1 and not self.is_grouped(total)

    def block(self) -> Block:
        return Block(self.width, self.counter, self.declared)

    def _whole(self, checks: str, loops: str) -> str:
        """The source: @kernel checks its arguments; @raw, which takes `fields`, shares out @part, the loops."""
        place = {n: k for k, n in enumerate(self.sizes) if k}
        sizes = ["%sizes.object = load ptr, ptr %arguments", _field("%sizes.field", "%sizes.object", machine.DATA),
                 "%sizes = load ptr, ptr %sizes.field"]  # fmt: skip
        for k in range(len(self.sizes)):
            sizes += [f"%n{k}.at = getelementptr i64, ptr %sizes, i64 {k}", f"%n{k} = load i64, ptr %n{k}.at"]

        def numbered(text: str) -> str:
            return re.sub(r"%size\.(\d+)", lambda found: f"%n{place[int(found[1])]}", text)

        loops, work = numbered(loops), numbered("\n".join(self.work))
        names = sorted(set(re.findall(r"%(?:data\d+|stride\d+\.\d|n\d+)\b", f"{loops}\n{work}")))
        fields = [f"{'ptr' if name.startswith('%data') else 'i64'} {name}" for name in names]
        self.fields = [Field.named(name[1:]) for name in names]
        shared = self.parts > 1 and bool(self.work)
        known = [f"@minigrad.{name} = external global i8" for name in ("ndarray", *machine.TYPES)]
        return "\n".join([
            *self.declared, *known, "declare ptr @PyLong_FromLongLong(i64)", threads.source() if shared else "",
            "define internal void @part(ptr %argument, i64 %p) {", *self.reserved, *threads.loaded(fields), loops, "}",
            "define void @raw(ptr %argument) {", *threads.loaded(fields), work,
            f"call void @share(ptr @part, ptr %argument, i64 {self.parts}, i64 %work{len(self.work)})" if shared else
            "call void @part(ptr %argument, i64 0)",
            "ret void", "}",
            "define ptr @kernel(ptr %self, ptr %arguments, i64 %count) {",
            f"%argument = alloca [{max(len(fields), 1)} x i64]", *sizes, numbered(checks),
            "go:", *threads.stored(fields), "call void @raw(ptr %argument)",
            "ret ptr %answer", "}", "",
        ])  # fmt: skip

    # ---- the arguments -------------------------------------------------------------------------------------------

    def _loops(self, outputs: Sequence[Symbol]) -> str:
        levels = self._levels()
        stages: dict[tuple[bool, int, int], list[tuple[Symbol, int]]] = {}  # (along all rows, level, width): pieces
        for symbol in outputs:
            over = symbol.args[0] if symbol.op in REDUCTIONS else symbol
            rows, columns = matrix(over)
            bounds = sorted({0, columns, *self.cuts.get(over, ())})
            for start, stop in itertools.pairwise([*bounds, 0] if bounds == [0] else bounds):  # also without columns
                stages.setdefault((rows != 1, levels.get(symbol, 0), stop - start), []).append((symbol, start))
        keys = sorted(stages, key=lambda key: key[:2])
        together = [key for key in keys if key[0] and not self.by_column]  # the stages of one row follow each other
        loops = [[key] for key in keys if key not in together] + ([together] if together else [])
        found: list[str] = []
        for k, each in enumerate(loops):
            found += self._loop(k, [(key, stages[key], self._readable(key[1], levels)) for key in each])
        return "\n".join(["br label %loop0", *found, f"loop{len(loops)}:", "ret void"])

    def _levels(self) -> dict[Symbol, int]:
        """For each value, how many reductions of a row have to be complete before, one after the other."""
        levels: dict[Symbol, int] = {}
        for symbol in self.schedule:
            operands = [a for a in symbol.args if isinstance(a, Symbol)]
            levels[symbol] = max([levels.get(a, 0) + (a in self.inner) for a in operands], default=0)
        return levels

    def _readable(self, level: int, levels: dict[Symbol, int]) -> set[Symbol]:
        """The arrays that a stage may read: givens, and the reductions of the stages before."""
        return self.givens | {s for s in self.inner if levels[s] < level}

    def _checks(self) -> list[str]:
        """Read and check the arrays; an array of unexpected form returns −1, and arrays to copy return their bits."""
        lines: list[str] = []

        def stage(name: str, tests: list[str]) -> None:
            """Go on if all tests are true."""
            for k, test in enumerate(tests):
                before = f"%{name}.all{k - 1}" if k else "true"
                lines.extend([f"%{name}.is{k} = icmp eq {test}", f"%{name}.all{k} = and i1 {before}, %{name}.is{k}"])
            lines.extend([f"br i1 %{name}.all{len(tests) - 1}, label %after.{name}, label %refuse", f"after.{name}:"])

        def load(name: str, kind: str, of: str, offset: int) -> None:
            lines.extend([_field(f"{name}.at", of, offset), f"{name} = load {kind}, ptr {name}.at"])

        numbered = list(enumerate(self.arrays))
        for k, _ in numbered:
            load(f"%o{k}", "ptr", "%arguments", 8 * (k + 1))
            load(f"%type{k}", "ptr", f"%o{k}", machine.TYPE)
        stage("type", [f"ptr %type{k}, @minigrad.ndarray" for k, _ in numbered])
        tests = []
        for k, s in numbered:
            load(f"%dtype{k}", "ptr", f"%o{k}", machine.DTYPE)
            load(f"%flags{k}", "i32", f"%o{k}", machine.FLAGS)
            lines.append(f"%aligned{k} = and i32 %flags{k}, {machine.ALIGNED}")
            load(f"%ndim{k}", "i32", f"%o{k}", machine.NDIM)
            load(f"%data{k}", "ptr", f"%o{k}", machine.DATA)
            load(f"%shape{k}", "ptr", f"%o{k}", machine.SHAPE)
            load(f"%strides{k}", "ptr", f"%o{k}", machine.STRIDES)
            tests += [
                f"ptr %dtype{k}, @minigrad.{s.dtype.name}",
                f"i32 %aligned{k}, {machine.ALIGNED}",
                f"i32 %ndim{k}, {s.ndim}",
            ]
        stage("kind", tests)
        if self.group != 1:
            lines.append(f"%fewer = udiv i64 %n0, {columns_of(self.group)}")
        tests, wanted = [], ["0"]
        for k, s in numbered:
            for axis in range(s.ndim):
                load(f"%shape{k}.{axis}", "i64", f"%shape{k}", 8 * axis)
                load(f"%stride{k}.{axis}", "i64", f"%strides{k}", 8 * axis)
                size = matrix(s)[axis - s.ndim]
                tests.append(f"i64 %shape{k}.{axis}, {self._rows(s) if axis < s.ndim - 1 else columns_of(size)}")
            inner = s.ndim - 2 if self.by_column else s.ndim - 1
            if inner >= 0 and s.shape[inner] != 1:
                product = f"%shape{k}.0"
                for axis in range(1, s.ndim):
                    lines.append(f"%numbers{k}.{axis} = mul i64 {product}, %shape{k}.{axis}")
                    product = f"%numbers{k}.{axis}"
                lines += [f"%apart{k} = icmp ne i64 %stride{k}.{inner}, {BYTES[self.kinds[s]]}",
                          f"%any{k} = icmp ne i64 {product}, 0",  # strides of empty arrays are meaningless
                          f"%strided{k} = and i1 %apart{k}, %any{k}",
                          f"%bit{k} = select i1 %strided{k}, i64 {1 << k}, i64 0",
                          f"%copy{k} = or i64 {wanted[-1]}, %bit{k}"]  # fmt: skip
                wanted.append(f"%copy{k}")
        stage("size", tests or ["i64 0, 0"])
        return [
            *lines,
            f"%answer = call ptr @PyLong_FromLongLong(i64 {wanted[-1]})",
            f"%some = icmp ne i64 {wanted[-1]}, 0",
            "br i1 %some, label %copy, label %go",
            "copy:",
            "ret ptr %answer",
            "refuse:",
            "%no = call ptr @PyLong_FromLongLong(i64 -1)",
            "ret ptr %no",
        ]

    def _rows(self, symbol: Symbol) -> str:
        return "1" if matrix(symbol)[0] == 1 else "%fewer" if self.is_grouped(symbol) else "%n0"

    # ---- a loop --------------------------------------------------------------------------------------------------

    def _loop(self, k: int, stages: Sequence[tuple[tuple[bool, int, int], Any, set[Symbol]]]) -> list[str]:
        """An outer loop. In each iteration, the inner loops of all stages follow each other: (its key, the pieces, the
        arrays that it may read) each.
        """
        along_rows, _, width = stages[0][0]
        outer = columns_of(width) if self.by_column else "%n0" if along_rows else "1"
        inner_loops: list[str] = []
        before: list[str] = []
        at_last: list[str] = []
        for j, ((_, _, width), pieces, readable) in enumerate(stages):
            name = f"{k}.{j}"
            row, lines, count = self._inner(name, f"%outer{k}", self._inner_size(along_rows, width), pieces, readable)
            inner_loops += [
                f"row{name}:",
                *lines,
                f"br label %{f'row{k}.{j + 1}' if j + 1 < len(stages) else f'next{k}'}",
            ]
            before += row.before.lines
            at_last += row.totals(alone=True)
            self._add_work(outer, self._inner_size(along_rows, width), count)
        return [
            f"loop{k}:",
            *before,
            f"%first{k}.all = mul i64 {outer}, %p",
            f"%first{k} = udiv i64 %first{k}.all, {self.parts}",
            f"%end{k}.all = add i64 %first{k}.all, {outer}",
            f"%end{k} = udiv i64 %end{k}.all, {self.parts}",
            f"br label %outer{k}",
            f"outer{k}:",
            f"%outer{k}.n = phi i64 [ %first{k}, %loop{k} ], [ %outer{k}.next, %next{k} ]",
            f"%outer{k}.more = icmp slt i64 %outer{k}.n, %end{k}",
            f"br i1 %outer{k}.more, label %row{k}.0, label %done{k}",
            *inner_loops,
            f"next{k}:",
            f"%outer{k}.next = add i64 %outer{k}.n, 1",
            f"br label %outer{k}",
            f"done{k}:",
            *at_last,
            f"br label %loop{k + 1}",
        ]

    def _inner_size(self, along_rows: bool, width: int) -> str:
        rows = "%n0" if along_rows else "1"
        return rows if self.by_column else columns_of(width)

    def _add_work(self, outer: str, inner: str, instructions: int) -> None:
        """Add an inner loop to the amount of work, by which the kernel decides if threads share it."""
        k = len(self.work)
        before = f"%work{k}" if k else "0"
        self.work.append(
            f"%numbers{k} = mul i64 {outer}, {inner}\n%work{k}.of = mul i64 %numbers{k}, {instructions}\n"
            f"%work{k + 1} = add i64 {before}, %work{k}.of"
        )

    def _inner(
        self, k: str, outer: str, size: str, pieces: Sequence[tuple[Symbol, int]], readable: set[Symbol]
    ) -> tuple[OuterIteration, list[str], int]:
        """An inner loop over pieces of one width, in vectors, and the number of instructions for one vector."""
        W = self.width
        row = OuterIteration(self, outer)
        whole = Lanewise(self, row, readable, f"%i{k}", None)
        rest = Lanewise(self, row, readable, f"%i{k}", f"%mask{k}")
        for lanes in (whole, rest):
            for symbol, start in pieces if self.together else ():
                lanes.value(symbol, start)
            for symbol, start in pieces:
                lanes.store(symbol, start)
        after = row.totals(alone=False)
        self.begun.update(symbol for symbol, _ in row.reduced)
        ramp = f"<{', '.join(f'i64 {n}' for n in range(W))}>"
        lines = [
            *row.block.lines,
            f"br label %inner{k}",
            f"inner{k}:",
            f"%i{k} = phi i64 [ 0, %row{k} ], [ %i{k}.next, %whole{k} ]",
            f"%i{k}.next = add i64 %i{k}, {W}",
            f"%i{k}.more = icmp sle i64 %i{k}.next, {size}",
            f"br i1 %i{k}.more, label %whole{k}, label %left{k}",
            f"whole{k}:",
            *whole.block.lines,
            f"br label %inner{k}",
            f"left{k}:",
            f"%left{k}.n = sub i64 {size}, %i{k}",
            f"%left{k}.some = icmp sgt i64 %left{k}.n, 0",
            f"br i1 %left{k}.some, label %rest{k}, label %after{k}",
            f"rest{k}:",
            f"%left{k}.one = insertelement <{W} x i64> poison, i64 %left{k}.n, i64 0",
            f"%left{k}.all = shufflevector <{W} x i64> %left{k}.one, <{W} x i64> poison, <{W} x i32> zeroinitializer",
            f"%mask{k} = icmp slt <{W} x i64> {ramp}, %left{k}.all",
            *rest.block.lines,
            f"br label %after{k}",
            f"after{k}:",
            *after,
        ]
        return row, lines, len(whole.block.lines)


def _field(name: str, of: str, offset: int) -> str:
    return f"{name} = getelementptr i8, ptr {of}, i64 {offset}"

"""A plan as a native kernel: NumPy allocates the results, and one call computes them (`loops`).

Values computed from a sum over several rows (the gradient of a broadcast operand that was itself computed) are small,
and left to a Plan. A computation that kernels cannot express is left to the plan entirely.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import numpy as np

from .. import backend
from ..native import machine
from .folding import folded
from .loops import Loops
from .plan import Plan
from .structure import REDUCTIONS, VIEWS, Unsuited, base, from_reductions, schedule_of
from .symbols import Symbol

Array = Any


def accelerated(plan: Plan, name: str) -> Any:
    """The plan of the function `name`, or the same computation as a kernel where there can be one."""
    if not machine.in_use() or not plan.results:
        return plan
    try:
        return CompiledPlan(plan, name)
    except Unsuited:
        return plan


class CompiledPlan:
    """A plan as a kernel, with the plan's interface. The plan itself runs for arrays other than NumPy's.

    source  the kernel in LLVM IR
    """

    def __init__(self, plan: Plan, name: str) -> None:
        self.plan, self._subject = plan, f"the fused function {name}"
        self.matrices = matrices = folded(plan.givens, plan.results, plan.order)
        results, givens = list(dict.fromkeys(matrices.results)), set(matrices.givens)
        schedule = schedule_of(matrices.givens, results)
        summed = from_reductions(schedule, along_rows=plan.order == "F")
        after = {s for s in summed if base(s).op not in REDUCTIONS or base(s).args[0] in summed}  # without their views
        used = {a for s in schedule for a in s.args if isinstance(a, Symbol)}
        of_rows = [s for s in schedule if s.op in REDUCTIONS and s not in summed and s in used]
        bases = {s for s in results if s.op not in VIEWS} | {s for s in schedule if s.op in REDUCTIONS} | givens
        operands = [a for s in after for a in s.args if isinstance(a, Symbol)]
        needed = [base(a) if base(a).op in REDUCTIONS else a for a in operands]
        direct = [base(s) if base(s) in bases else s for s in results if s not in after and base(s) not in after]
        self.outputs = [s for s in dict.fromkeys([*direct, *needed, *of_rows]) if s not in givens and s not in after]
        if not self.outputs:
            raise Unsuited("nothing is computed")
        self._kernel: Callable[..., int] | None = None
        code = Loops(matrices.givens, self.outputs, plan.order, matrices.group)
        self._added = code.added
        self.source = sys.intern(code.source)  # mostly equal to that of other sizes
        self._sizes = np.array(code.sizes, np.int64)
        self.fields, self.sizes, self.arrays = code.fields, code.sizes, [*matrices.givens, *self.outputs]
        self._copied: set[int] = set()  # givens that usually need a copy
        tail = [s for s in results if s in after or base(s) in after]
        if tail and matrices.group != 1:
            raise Unsuited("something computed from a reduction, beside operands with fewer rows")
        self._tail = Plan([*matrices.givens, *self.outputs], tail, plan.order, quiet=True) if tail else None
        self._run = self._function()

    def _function(self) -> Callable[..., Any]:
        """A function of (kernel, arrays for it, arrays as given) that returns the results, or the kernel's refusal."""
        plan, (givens, results, _) = self.plan, self.matrices
        space: dict[str, Any] = {"sizes": self._sizes, "empty": np.empty, "zeros": np.zeros, "tail": self._tail}
        names = {s: f"g{k}" for k, s in enumerate(givens)}
        inputs = "".join(f"a{k}, " for k in range(len(givens)))
        lines = [f"{inputs}= arrays", f"{inputs.replace('a', 'g')}= given"]
        for k, (symbol, before) in enumerate(zip(givens, plan.givens, strict=True)):
            if symbol.shape != before.shape:
                lines += [f"{a}{k} = {a}{k}.reshape({symbol.shape})" for a in "ag"]
        for k, symbol in enumerate(self.outputs):
            names[symbol] = f"r{k}"
            space[f"t{k}"] = np.dtype(symbol.dtype.str)
            make = "zeros" if symbol in self._added else "empty"
            lines.append(f"r{k} = {make}({symbol.shape}, t{k}, {plan.order!r})")
        outputs = "".join(f"r{k}, " for k in range(len(self.outputs)))
        lines += [f"answer = kernel(sizes, {inputs}{outputs})", "if answer:", "    return answer"]
        if self._tail is not None:
            lines.append(f"rest = tail([{inputs.replace('a', 'g')}{outputs}], r0)")
            names.update({s: f"rest[{k}]" for k, s in enumerate(self._tail.results)})
        for k, symbol in enumerate(dict.fromkeys(results)):
            if symbol not in names:
                lines.append(f"v{k} = {_viewed(symbol, names)}")
                names[symbol] = f"v{k}"
        returned = [
            names[s] if s.shape == before.shape else f"{names[s]}.reshape({before.shape})"
            for s, before in zip(results, plan.results, strict=True)
        ]
        lines.append(f"return [{', '.join(returned)}]")
        exec(compile("\n    ".join(["def run(kernel, arrays, given):", *lines]), "<compiled>", "exec"), space)
        return space["run"]  # type: ignore[no-any-return]

    def __call__(self, arrays: Sequence[Array], like: Array) -> list[Array]:
        """The arrays of the results."""
        if type(like) is not np.ndarray:
            return self._recorded(arrays, like)
        kernel = self._kernel
        if kernel is None:
            kernel = self._kernel = machine.compiled(self.source, self._subject)
        if self._copied:
            results = self._run(kernel, self._laid_out(arrays), arrays)
        else:
            results = self._run(kernel, arrays, arrays)
        if type(results) is int:
            return self._mended(kernel, arrays, results, like)
        return results  # type: ignore[no-any-return]

    def into(self, arrays: Sequence[Array], outs: Sequence[Array]) -> None:
        """Compute the results into `outs`, which may be operands: of each row, all is read before it is written."""
        matrices, like = self.matrices, outs[0]
        computed = set(self.outputs)
        places = {s: out for s, out in zip(matrices.results, outs, strict=True) if s in computed}
        kind: Any = backend.backend_of(like)
        plain = type(like) is np.ndarray or (backend.is_recorded(like) and type(kind.inside(like)) is np.ndarray)
        dense = all(backend.held(a).flags.c_contiguous and a.ndim == 2 for a in (*arrays, *outs)) if plain else False
        if not dense or self._tail is not None or len(places) < len(outs) or self._added:
            for out, result in zip(outs, self(arrays, like), strict=True):
                out[...] = result
            return
        for symbol in self.outputs:  # reductions that are no results
            if symbol not in places:
                places[symbol] = backend.shaped(np.empty_like, like, symbol.shape, dtype=symbol.dtype)
        if self._kernel is None:
            self._kernel = machine.compiled(self.source, self._subject)
        written = [places[s] for s in self.outputs]
        if type(like) is not np.ndarray:
            kind.call(self._kernel, (self._sizes, *arrays, *written), written)
        elif self._kernel(self._sizes, *arrays, *written):
            raise RuntimeError(f"{self._subject} refused dense arrays")

    def direct_kernel(self) -> Callable[..., int] | None:
        """The kernel, if its operands and its only result are matrices as given; None for others."""
        plan, matrices = self.plan, self.matrices
        direct = self._tail is None and len(self.outputs) == 1 and matrices.group == 1 and plan.order == "C"
        if not direct or any(s.ndim != 2 for s in (*plan.givens, *plan.results)):
            return None
        if self._kernel is None:
            self._kernel = machine.compiled(self.source, self._subject)
        return self._kernel

    def _recorded(self, arrays: Sequence[Array], like: Array) -> list[Array]:
        """Run the kernel as one operation of a recording; the plan for any other arrays."""
        if not backend.is_recorded(like):
            return self.plan(arrays, like)
        kind: Any = backend.backend_of(like)
        if type(kind.inside(like)) is not np.ndarray:
            return self.plan(arrays, like)
        self([kind.inside(a) for a in arrays], kind.inside(like))  # finds out which arrays must be copied
        count = len(self.plan.givens)

        def kernel(*arguments: Array) -> None:
            kind.call(self._kernel, arguments, arguments[1 + count :])

        empty, zeros = backend.beside(like, np.empty_like), backend.beside(like, np.zeros_like)
        space = self._run.__globals__ | {"empty": empty, "zeros": zeros}
        run = FunctionType(self._run.__code__, space)
        return run(kernel, self._laid_out(arrays), arrays)  # type: ignore[no-any-return]

    def _laid_out(self, arrays: Sequence[Array]) -> list[Array]:
        order: Any = self.plan.order
        return [a.astype(a.dtype, order, copy=False) if k in self._copied else a for k, a in enumerate(arrays)]

    def _mended(self, kernel: Any, arrays: Sequence[Array], answer: int, like: Array) -> list[Array]:
        """Recover from a kernel's refusal: copy the arrays whose bits are set; for a negative answer, run the plan."""
        if answer > 0:
            self._copied = self._copied | {k for k in range(len(arrays)) if answer >> k & 1}
            results = self._run(kernel, self._laid_out(arrays), arrays)
            if type(results) is list:
                return results
        return self.plan(arrays, like)

    def __str__(self) -> str:
        return self.source


def _viewed(symbol: Symbol, names: dict[Symbol, str]) -> str:
    """Python code of a view."""
    if symbol in names:
        return names[symbol]
    of = _viewed(symbol.args[0], names)
    if symbol.op == "reshape":
        return f"{of}.reshape({symbol.params})"
    return f"{of}[{', '.join(f'{start}:{stop}' for start, stop in symbol.params)}]"

"""Checkpointing: recompute a segment in backward instead of keeping its arrays.

T. Chen, B. Xu, C. Zhang, C. Guestrin, Training deep nets with sublinear memory cost, 2016: √T segments of √T steps
need O(√T) memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import randomness
from .backward import key_of, walk
from .modes import changed_mode, current_mode
from .tape import Observer
from .tensors import Tensor
from .trees import flatten
from .vocabulary import operation


class _Closure(Observer):
    """Finds the captured tensors of a function: those it uses without being given them, and that require grad.

    Recording is off meanwhile, so no result requires grad; a tensor that does must come from outside.
    """

    inside = False

    def __init__(self) -> None:
        self.found: dict[Tensor, None] = {}

    def recorded(self, primitive: Any, operands: tuple[Any, ...], outputs: tuple[Any, ...], edge: Any) -> None:
        for value in operands:
            for v in value if isinstance(value, tuple | list) else (value,):
                if isinstance(v, Tensor) and v.requires_grad:
                    self.found[v] = None


class _Segment:
    """One checkpointed call: its function, arguments and captured tensors."""

    def __init__(self, f: Callable[..., Any], rebuild: Callable[[list[Any]], Any], leaves: list[Any]) -> None:
        self.f = f
        self.rebuild = rebuild  # (args, kwargs) from their leaves
        self.constants = [None if isinstance(v, Tensor) else v for v in leaves]
        self.places = [k for k, v in enumerate(leaves) if isinstance(v, Tensor)]
        self.random_state = randomness.get_random_state()
        self.scope = current_mode().scope
        self.closure: tuple[Tensor, ...] = ()
        self.outputs: list[Any] = []
        self.build: Callable[[list[Any]], Any] = lambda leaves: leaves

    def call(self, tensors: list[Tensor]) -> list[Any]:
        leaves = list(self.constants)
        for place, tensor in zip(self.places, tensors, strict=True):
            leaves[place] = tensor
        args, kwargs = self.rebuild(leaves)
        outputs, self.build = flatten(self.f(*args, **kwargs))
        return outputs

    def forward(self, arrays: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple([o.data for o in self.outputs if isinstance(o, Tensor)])

    def gradients(self, g: list[Any], operands: tuple[Any, ...]) -> list[Any]:
        """Run the segment again, recorded, and pull the gradients of its outputs through it."""
        create_graph = current_mode().grad
        given = [v if isinstance(v, Tensor) else Tensor(v, v.dtype.kind == "f") for v in operands[: len(self.places)]]
        now = randomness.get_random_state()
        randomness.set_random_state(self.random_state)
        try:
            with changed_mode(grad=True, scope=self.scope):
                outputs = [o for o in self.call(given) if isinstance(o, Tensor)]
        finally:
            randomness.set_random_state(now)
        targets = [*given, *self.closure]
        keys = [key_of(t.edge or t) if t.requires_grad else None for t in targets]
        roots = [(o.edge or o, p) for o, p in zip(outputs, g, strict=True) if p is not None and o.requires_grad]
        found = walk(roots, create_graph=create_graph, retain_graph=create_graph, wanted={*keys} - {None}, within=True)
        return [None if key is None else found.get(key) for key in keys]


@operation(name="checkpoint", joint="operands", operands=lambda g, operands, segment: segment.gradients(g, operands))
def _checkpoint(operands: tuple[Any, ...], segment: _Segment) -> tuple[Any, ...]:
    return segment.forward(operands)


def checkpoint(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """f(*args, **kwargs), keeping only the arguments; backward runs f again to compute the gradients inside it.

    Arguments and results may be nested dicts, lists and tuples. Tensors that f captures (parameters) get their
    gradients too. Both runs draw the same random numbers. f must compute the same result when called again.
    """
    if not current_mode().grad or any(observer.changes for observer in current_mode().observers):
        return f(*args, **kwargs)
    leaves, rebuild = flatten((args, kwargs))
    segment = _Segment(f, rebuild, leaves)
    tensors = [leaves[k] for k in segment.places]
    closure = _Closure()
    mode = current_mode()
    with changed_mode(grad=False, observers=(*mode.observers, closure)):
        segment.outputs = segment.call([Tensor._of(t.data) for t in tensors])
    if not any(isinstance(o, Tensor) for o in segment.outputs):
        kinds = ", ".join(dict.fromkeys(type(o).__name__ for o in segment.outputs)) or "nothing"
        raise TypeError(
            f"checkpoint: the function must return a tensor, it returned plain values ({kinds}); call it as it is"
        )
    segment.closure = used = tuple(closure.found)
    if not used and not any(t.requires_grad for t in tensors):
        return segment.build(segment.outputs)
    results = list(_checkpoint((*tensors, *used), segment))
    outputs = [results.pop(0) if isinstance(o, Tensor) else o for o in segment.outputs]
    segment.outputs = []
    return segment.build(outputs)

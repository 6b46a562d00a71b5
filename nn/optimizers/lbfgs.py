"""L-BFGS, which evaluates the loss and its gradient several times in a step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

import minigrad as mg
from minigrad import backend, tape
from minigrad.state import only_outside
from minigrad.trees import flatten

from .. import checks
from .line_search import Point, strong_wolfe
from .optimizer import Array, Optimizer
from .state import plain

COUNTS, NUMBERS = ("n_iter", "func_evals"), ("t", "H_diag")  # the entries of its state, by PyTorch's names
VECTORS, LISTS = ("d", "prev_flat_grad"), ("old_dirs", "old_stps")


class LBFGS(Optimizer):
    """Limited-memory BFGS (Liu & Nocedal 1989; Nocedal & Wright 2006, algorithms 7.4 and 7.5).

        y = g − g',  s = w − w'                  of the last pairs with y·s > 10⁻¹⁰, `history_size` at most
        d = −H g                                 H from H₀ = (y·s / y·y) I and all pairs, by two loops over them
        w = w + t d                              t = lr, at the very first iteration lr · min(1, 1 / ‖g‖₁);
                                                 with "strong_wolfe" t is searched for, beginning there

    `step(closure)` makes up to `max_iter` iterations. The closure clears the gradients, computes the loss, calls its
    backward, and returns it; it must compute the same function each time (no dropout, no other batch).

    max_iter          iterations of a step
    max_eval          calls of the closure in a step; None: 5/4 of max_iter
    tolerance_grad    stop when no element of the gradient is larger
    tolerance_change  stop when no weight moves by more, or the loss changes by less
    history_size      the number of stored pairs
    line_search_fn    None or "strong_wolfe"

    All weights form one vector, so there is one group, on one device; float16 is computed in float32. Clipping would
    change the function that is minimized, and is not offered. Gradients that are None count as zeros.
    """

    def __init__(
        self, params: Any, lr: float = 1.0, max_iter: int = 20, max_eval: int | None = None,
        tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, history_size: int = 100,
        line_search_fn: Literal["strong_wolfe"] | None = None,
    ) -> None:  # fmt: skip
        if line_search_fn not in (None, "strong_wolfe"):
            raise ValueError(f'LBFGS: line_search_fn must be None or "strong_wolfe", not {line_search_fn!r}')
        options = {
            "lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change, "history_size": history_size,
        }  # fmt: skip
        super().__init__(params, options)
        self.line_search_fn = line_search_fn
        self.state: dict[str, Any] = dict.fromkeys(COUNTS, 0) | {
            "t": 0.0,
            "H_diag": 1.0,
            "old_dirs": [],
            "old_stps": [],
        }

    def check(self, options: Mapping[str, Any]) -> None:
        super().check(options)
        for name in ("max_iter", "max_eval", "history_size"):
            if options[name] != int(options[name]) or options[name] < 1:
                raise ValueError(f"LBFGS: {name} must be an integer of at least 1, not {options[name]!r}")

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Set the only group. Raises ValueError for a second one."""
        if self.param_groups:
            raise ValueError("LBFGS: all weights are one vector, so there is one group of parameters")
        super().add_param_group(param_group)

    def slots(self, options: Mapping[str, Any]) -> Mapping[str, float]:
        return {}

    def why_not_rows(self, options: Mapping[str, Any]) -> str | None:
        return "LBFGS keeps all numbers in one vector"

    # ---- a step --------------------------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make up to `max_iter` iterations. Returns the result of the first call of the closure.

        Raises TypeError without a closure, ValueError for gradients that do not fit.
        """
        if closure is None:
            raise TypeError("LBFGS.step needs a closure that clears the gradients, computes the loss and its gradient")
        only_outside("LBFGS looks at the loss and the gradient to choose its steps")
        self.stepped = True
        group, state = self.param_groups[0], self.state
        lr, most, evaluations = (plain(group[name]) for name in ("lr", "max_iter", "max_eval"))
        enough, change = plain(group["tolerance_grad"]), plain(group["tolerance_change"])
        with mg.no_grad(), np.errstate(all="ignore"):
            first, loss, g = self._evaluated(closure)
            calls = 1
            for iteration in range(1, most + 1):
                if _largest(g) <= enough:
                    break
                d = self._direction(g, int(group["history_size"]))
                state["prev_flat_grad"], previous = mg.Tensor(g), loss
                state["n_iter"] += 1
                t = lr if state["n_iter"] > 1 else min(1.0, 1.0 / float(np.abs(g).sum())) * lr
                slope = _dot(g, d)
                state["d"], state["t"] = mg.Tensor(d), t
                if slope > -change:
                    break
                if self.line_search_fn is not None:
                    found, trials = self._searched(closure, Point(0.0, loss, g, slope), t, d)
                    loss, g, state["t"] = found.f, found.gradient, found.t
                    self._move(self._weights(), found.t, d)
                    calls += trials
                else:
                    self._move(self._weights(), t, d)
                    if iteration < most:
                        _, loss, g = self._evaluated(closure)
                        calls += 1
                moved = _largest(state["t"] * d)
                if calls >= evaluations or moved <= change or abs(loss - previous) < change:
                    break
            state["func_evals"] += calls
        return first

    def _evaluated(self, closure: Callable[[], Any]) -> tuple[Any, float, Array]:
        """The result of the closure, its value as a number, and the gradient of all weights as one vector."""
        with mg.enable_grad():
            value = closure()
        gradients = {gradient.name: gradient.values for gradient in self._gradients(self.param_groups[0])}
        parts = [
            gradients[name].reshape(-1) if name in gradients else np.zeros_like(parameter.data).reshape(-1)
            for name, parameter in self.named_parameters()
        ]
        loss = value.item() if isinstance(value, mg.Tensor) else float(value)
        return value, float(loss), _wide(parts)

    def _direction(self, g: Array, history: int) -> Array:
        """−H g, after the latest pair has been added to the history."""
        state = self.state
        if state["n_iter"] == 0:
            return -g
        y, s = g - state["prev_flat_grad"].data, state["t"] * state["d"].data
        ys = _dot(y, s)
        if ys > 1e-10:
            state["H_diag"] = ys / _dot(y, y)
            for name, new in zip(LISTS, (y, s), strict=True):
                state[name] = [*state[name], mg.Tensor(new)][-history:]
        dirs, steps = ([pair.data for pair in state[name]] for name in LISTS)
        rho = [1.0 / _dot(y, s) for y, s in zip(dirs, steps, strict=True)]
        q, alphas = -g, [0.0] * len(dirs)
        for i in reversed(range(len(dirs))):
            alphas[i] = rho[i] * _dot(steps[i], q)
            q = q - alphas[i] * dirs[i]
        r = state["H_diag"] * q
        for i in range(len(dirs)):
            r = r + (alphas[i] - rho[i] * _dot(dirs[i], r)) * steps[i]
        return r

    def _searched(self, closure: Callable[[], Any], start: Point, t: float, d: Array) -> tuple[Point, int]:
        """A point along d that satisfies the line search, and the number of trials. Weights are restored afterwards."""
        weights = self._weights()

        def at(t: float) -> Point:
            self._move(weights, t, d)
            _, loss, g = self._evaluated(closure)
            return Point(t, loss, g, _dot(g, d))

        try:
            return strong_wolfe(at, start, t, _largest(d))
        finally:
            self._move(weights, 0.0, d)

    def _weights(self) -> list[Array]:
        return [parameter.data.copy() for parameter in self.param_groups[0]["params"]]

    def _move(self, weights: Sequence[Array], t: float, d: Array) -> None:
        """Write w + t d into the parameters."""
        at = 0
        for weight, parameter in zip(weights, self.param_groups[0]["params"], strict=True):
            part = d[at : at + weight.size].reshape(weight.shape)
            tape.WRITES.mark(parameter.data)
            parameter.data[...] = weight + t * part if t else weight
            at += weight.size

    # ---- state ---------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """A copy of all state: {"state": {"n_iter": ..., ...}, "param_groups": [...], "skipped": 0}.

        old_dirs, old_stps  the stored differences y of gradients and s of weights, (n,) each
        d, prev_flat_grad   (n,) the last direction, and the gradient before it; absent before the first iteration
        """
        leaves, rebuild = flatten(self.state)
        group = {key: value for key, value in self.param_groups[0].items() if key != "params"}
        state = rebuild([v.copy() if isinstance(v, mg.Tensor) else v for v in leaves])
        return {"state": state, "param_groups": [group | {"param_names": [*group["param_names"]]}], "skipped": 0}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore a result of `state_dict`, for an optimizer of the same parameters; arrays are copied.

        Raises ValueError or TypeError, which name the entry, for an invalid state; then nothing has changed.
        """
        title, own = "LBFGS.load_state_dict", self.param_groups[0]
        checks.entries(f"{title}: the state", state_dict, ("state", "param_groups", "skipped"), optional=("skipped",))
        groups, given = state_dict["param_groups"], state_dict["state"]
        if not isinstance(groups, list | tuple) or len(groups) != 1:
            raise ValueError(f"{title}: expected one group of parameters")
        keys = ["param_names", *self.defaults, "initial_lr"]
        group = dict(checks.entries(f"{title}: the group", groups[0], keys, optional=("initial_lr",)))
        if list(names := group.pop("param_names")) != own["param_names"]:
            raise ValueError(f"{title}: it is of {', '.join(map(str, names))}, not {', '.join(own['param_names'])}")
        self.check({key: group[key] for key in self.defaults})
        checks.entries(f"{title}: the state", given, (*COUNTS, *NUMBERS, *VECTORS, *LISTS), optional=VECTORS)
        new: dict[str, Any] = {key: checks.count(f"{title}: {key}", given[key]) for key in COUNTS}
        new |= {key: float(checks.number(f"{title}: {key}", given[key])) for key in NUMBERS}
        new |= {key: self._vector(f"{title}: {key}", given[key]) for key in VECTORS if key in given}
        for key in LISTS:
            if not isinstance(given[key], list | tuple) or len(given[key]) != len(given[LISTS[0]]):
                raise ValueError(f"{title}: {' and '.join(LISTS)} must be lists of one length")
            new[key] = [self._vector(f"{title}: {key}", one) for one in given[key]]
        if new["n_iter"] and not all(key in new for key in VECTORS):
            raise ValueError(f"{title}: after {new['n_iter']} iterations there must be {' and '.join(VECTORS)}")
        own.update({key: plain(value) for key, value in group.items()})
        self.state = new
        self.stepped = self.stepped or new["n_iter"] > 0

    def _vector(self, what: str, value: Any) -> mg.Tensor:
        """A copy of a vector of all weights, on their device."""
        weights = [parameter.data for parameter in self.param_groups[0]["params"]]
        n, like = sum(weight.size for weight in weights), _wide([weight.reshape(-1)[:0] for weight in weights])
        array = value.data if isinstance(value, mg.Tensor) else value
        array = array if backend.is_array(array) else np.asarray(array)
        if array.dtype.kind != "f" or array.shape != (n,):
            raise ValueError(f"{what} must be floats ({n},), not {array.dtype} {array.shape}")
        return mg.Tensor(backend.transfer(array, backend.device_of(like)).astype(like.dtype))


def _wide(parts: Sequence[Array]) -> Array:
    """Vectors joined into one, in float32 at least."""
    dtype = np.result_type(np.float32, *[part.dtype for part in parts])
    return np.concatenate([part.astype(dtype, copy=False) for part in parts])


def _dot(a: Array, b: Array) -> float:
    return float(np.dot(a, b))


def _largest(a: Array) -> float:
    """The largest absolute value; NaN if there is a NaN."""
    return float(np.abs(a).max()) if a.size else -math.inf

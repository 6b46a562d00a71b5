"""The base of all optimizers: parameter groups, state by name, clipping, and the application of updates.

An optimizer is defined by its equations, `update`, and the names of its state (see `methods`). This class applies them:
on a CPU to large parameters by a compiled kernel, else to one block of rows after the other, so that all temporaries
stay in the cache; on a GPU to whole arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack

import numpy as np

import minigrad as mg
from minigrad import backend, tape
from minigrad.fusion.inplace import in_place
from minigrad.modes import current_mode
from minigrad.state import State, borrow, change, decided, keep, only_outside

from ..clipping import (
    Gradient,
    Limits,
    as_gradients,
    clip_factor,
    gradients_of,
    like,
    named,
    nonfinite,
    norm_bound,
    norm_order,
    refuse_zeros_outside,
    total_norm,
    value_limits,
    widened,
)  # fmt: skip
from .state import plain, restore, saved

Array = Any
Options = Mapping[str, Any]
Slots = Mapping[str, float]  # the names of the state's arrays, and their initial values
Policy = Literal["pass", "skip", "raise"]
BLOCK = 1 << 15  # numbers in a block: an optimizer's arrays of this size fit into a core's cache


class Clipping(TypedDict, total=False):
    """The keyword arguments of every optimizer.

    clip_norm   limit the norm of all gradients as one vector, as `clip_grad_norm_` does; None: no limit
    norm_type   the norm's order: 1, 2, any positive number, inf
    clip_value  limit each element to (lo, hi), or to ± one number, after the norm; None: no limit
    nonfinite   for gradients with NaN or Inf: "pass" does not check, and so never waits for the device; "skip" skips
                the step and counts it in `skipped`; "raise" raises FloatingPointError, which names the parameters
    """

    clip_norm: float | None
    norm_type: float | str
    clip_value: Limits | None
    nonfinite: Policy


class Skipping:
    """The decision to skip a step of a recording, which each run makes anew: the updates are made, and taken back.

    where  an array () of the recording: True if a gradient has NaN or Inf
    now    the same after a run
    """

    def __init__(self, found: Sequence[Gradient]) -> None:
        self._decision = mg.Tensor(np.zeros_like(backend.held(found[0].values), shape=(), dtype=bool))
        borrow(self._decision)
        self.where[...] = False
        for gradient in found:
            self.where[...] = self.where | np.any(~np.isfinite(gradient.values))

    @property
    def where(self) -> Array:
        return self._decision.data

    @property
    def now(self) -> bool:
        return bool(backend.held(self._decision.data))


class Optimizer:
    """Base class of all optimizers.

    params  Parameters, (name, Parameter) pairs as from `named_parameters()`, or a list of groups: dicts with "params"
            and options. A Parameter that comes twice in one group counts once.

    param_groups  a dict for each group: "params", "param_names" and its options, which schedules may write
    state         the numbers and Tensors of each parameter, by its name (without a name, by its position)
    grad_norm     the last step's norm of all gradients before clipping, a Tensor on the device, if `clip_norm` is given
    skipped       the number of steps skipped because of NaN or Inf
    stepped       True once a step was taken, for schedules, which come after it

    A step changes neither `.grad` nor any array of a gradient. Raises TypeError or ValueError for invalid parameters
    and options.
    """

    # the boolean options
    FLAGS: tuple[str, ...] = ("maximize", "nesterov", "amsgrad", "centered", "decoupled_weight_decay")

    def __init__(self, params: Any, defaults: Mapping[str, Any], **clipping: Unpack[Clipping]) -> None:
        self.defaults = dict(defaults)
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[str, dict[str, Any]] = {}
        self.grad_norm: mg.Tensor | None = None
        self.skipped = 0
        self.stepped = False
        self._set_clipping(**clipping)
        if not isinstance(params, dict | set | frozenset | mg.Tensor | str) and hasattr(params, "__iter__"):
            params = list(params)
            if not params:
                raise ValueError(f"{self._title}: got no parameters")
            if isinstance(params[0], dict):
                for group in params:
                    self.add_param_group(group)
                return
        self.add_param_group({"params": params})

    def _set_clipping(
        self, *, clip_norm: float | None = None, norm_type: float | str = 2.0, clip_value: Limits | None = None,
        nonfinite: Policy = "pass",
    ) -> None:  # fmt: skip
        title = self._title
        self.clip_norm = None if clip_norm is None else norm_bound(title, clip_norm, "clip_norm")
        self.norm_type = norm_order(title, norm_type)
        self.clip_value = None if clip_value is None else value_limits(title, clip_value)
        if nonfinite not in ("pass", "skip", "raise"):
            raise ValueError(f'{title}: nonfinite must be "pass", "skip" or "raise", not {nonfinite!r}')
        self.nonfinite = nonfinite

    @property
    def _title(self) -> str:
        return type(self).__name__

    # ---- defined by each optimizer -----------------------------------------------------------------------------------

    def update(self, *args: Any, **kwargs: Any) -> None:
        """One step, written into the weight w and the state s: `update(w, g, s, t, **options)`."""
        raise NotImplementedError(f"{self._title} does not define update()")

    def update_rows(self, *args: Any, **kwargs: Any) -> None:
        """The step for the rows of a row-sparse gradient."""
        self.update(*args, **kwargs)

    def slots(self, options: Mapping[str, Any]) -> Slots:
        """The names of a parameter's state arrays under these options, with their initial values."""
        raise NotImplementedError(f"{self._title} does not define slots()")

    def numbers(self, options: Options) -> Mapping[str, float]:
        """Further numbers of a parameter's state, with their initial values. `update` gets them in s as well."""
        return {}

    def counted(self, entry: Mapping[str, Any], options: Options) -> dict[str, Any]:
        """The numbers of a parameter's state after the present step."""
        return {"step": entry["step"] + 1}

    def why_not_rows(self, options: Mapping[str, Any]) -> str | None:
        """The reason why row-sparse gradients are refused; None if they are accepted."""
        return "only SGD, Adagrad and Adam update single rows"

    def check(self, options: Mapping[str, Any]) -> None:
        """Raise TypeError or ValueError for hyper-parameters of another type, or out of range."""
        for name, value in options.items():
            if name in self.FLAGS:
                if not isinstance(value, bool):
                    raise TypeError(f"{self._title}: {name} must be True or False, not {value!r}")
            elif name == "betas":
                if not isinstance(value, tuple | list) or len(value) != 2 or not all(map(_is_number, value)):
                    raise TypeError(f"{self._title}: betas must be two numbers, not {value!r}")
                if not all(0 <= beta < 1 for beta in value):
                    raise ValueError(f"{self._title}: betas must be at least 0 and less than 1, not {value!r}")
            elif not _is_number(value):
                raise TypeError(f"{self._title}: {name} must be a number, not {value!r}")
            elif name in ("alpha", "rho") and not 0 <= value <= 1:
                raise ValueError(f"{self._title}: {name} must be between 0 and 1, not {value!r}")
            elif not math.isfinite(value) or (value < 0 and name != "dampening"):
                raise ValueError(f"{self._title}: {name} must be finite and not negative, not {value!r}")

    # ---- groups --------------------------------------------------------------------------------------------------

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add a group of parameters: a dict with "params", and options by name."""
        title = self._title
        if not isinstance(param_group, Mapping) or "params" not in param_group:
            raise ValueError(f'{title}: a group is a dict with "params" and options, got {param_group!r:.100}')
        if unknown := [str(key) for key in param_group if key != "params" and key not in self.defaults]:
            raise ValueError(f"{title}: unknown options {', '.join(unknown)}; there are {', '.join(self.defaults)}")
        options = self.defaults | {key: value for key, value in param_group.items() if key != "params"}
        self.check(options)
        options = {name: plain(value) for name, value in options.items()}
        taken = {parameter: name for name, parameter in self.named_parameters()}
        names = set(taken.values())
        if isinstance(param_group["params"], set | frozenset):
            raise TypeError(f"{title}: a set of parameters has no order, by which state is kept; pass a list")
        tensors = named(title, param_group["params"], start=len(taken))
        for name, tensor in tensors:
            if not tensor.is_leaf or tensor.dtype.kind != "f":
                raise ValueError(f"{title}: {name} must be a leaf of floats, which is not the result of an operation")
            if tensor in taken:
                raise ValueError(f"{title}: {name} is in another group already, as {taken[tensor]}")
            if name in names:
                raise ValueError(f"{title}: two parameters are called {name}")
            names.add(name)
        group = {"params": [tensor for _, tensor in tensors], "param_names": [name for name, _ in tensors]}
        self.param_groups.append(group | options)

    def named_parameters(self) -> Iterator[tuple[str, mg.Tensor]]:
        """All (name, parameter), group by group."""
        for group in self.param_groups:
            yield from zip(group["param_names"], group["params"], strict=True)

    def zero_grad(self) -> None:
        """Clear all gradients."""
        for _, parameter in self.named_parameters():
            parameter.grad = None

    # ---- a step --------------------------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient, in place.

        closure  called first, with recording on; its result is returned

        Raises ValueError for gradients of a wrong shape and for unsupported row-sparse ones, FloatingPointError for NaN
        and Inf under `nonfinite="raise"`; then nothing has changed.
        """
        self.stepped = True
        loss = None
        if closure is not None:
            with mg.enable_grad():
                loss = closure()
        with mg.no_grad(), np.errstate(all="ignore"):
            State(vars(self), self._title).read(("clip_norm", "norm_type", "clip_value", "nonfinite"))
            current = self.state
            decided(lambda: self.state is current, f"the state of {self._title}")
            found = [(group, self._gradients(group)) for group in self.param_groups]
            everything = [gradient for _, gradients in found for gradient in gradients]
            factor = None
            if self.clip_norm is not None:
                arrays = [g.counted(g.values) for g in everything]
                norm = total_norm(arrays, self.norm_type)
                keep(self, "grad_norm", as_gradients(norm, arrays))
                factor = clip_factor(norm, self.clip_norm)
            skipping: Skipping | None = None
            if self.nonfinite == "skip" and everything and current_mode().intake.follows:
                skipping = Skipping(everything)
                change(lambda: setattr(self, "skipped", self.skipped + skipping.now), vars(self))
            elif self.nonfinite != "pass":
                only_outside(f'{self._title} with nonfinite="{self.nonfinite}" looks at the gradients')
            if self.nonfinite != "pass" and skipping is None and (problems := nonfinite(everything)):
                if self.nonfinite == "raise":
                    raise FloatingPointError(f"{self._title}.step: {'; '.join(problems)}")
                self.skipped += 1
                return loss
            for group, gradients in found:
                declared = State(group, f"the options of {self._title}", live={"lr": "lr"})
                options = {name: plain(value) for name, value in declared.read(self.defaults).items()}
                sign = -1.0 if options.pop("maximize") else 1.0
                for gradient in gradients:
                    self._apply(gradient, options, sign, factor, skipping)
        return loss

    def _gradients(self, group: Mapping[str, Any]) -> list[Gradient]:
        """The gradients of a group; an error for unsupported ones."""
        found = gradients_of(self._title, zip(group["param_names"], group["params"], strict=True))
        for gradient in found:
            if gradient.rows is not None and (reason := self.why_not_rows(group)) is not None:
                raise ValueError(f"{self._title}: the gradient of {gradient.name} is row-sparse, but {reason}")
        if self.clip_value is not None:
            refuse_zeros_outside(self._title, found, self.clip_value)
        return found

    def _apply(
        self, gradient: Gradient, options: dict[str, Any], sign: float, factor: mg.Tensor | None,
        skipping: Skipping | None,
    ) -> None:  # fmt: skip
        """Write the update of one parameter, and its state."""
        weight, rows = gradient.parameter.data, gradient.rows
        scale: Any = None if factor is None else like(factor, gradient.values)
        state, numbers, t = self._state_of(gradient, options)  # t: the number of this step

        def direction(g: Array) -> Array:
            """The clipped gradient, or its negative to go uphill."""
            if scale is not None:
                g = g * scale
            if self.clip_value is not None:
                lo, hi = self.clip_value
                g = np.minimum(np.maximum(g, lo), hi)
            return g if sign > 0 else -g

        def update(w: Array, g: Array, *slots: Array) -> None:
            self.update(w, direction(g), dict(zip(state, slots, strict=True)) | numbers, t, **options)

        tape.WRITES.mark(weight)
        arrays = [weight, gradient.values, *state.values()]
        if rows is not None:
            w, s = widened(weight[rows]), {name: array[rows] for name, array in state.items()}  # copies
            self.update_rows(w, direction(widened(gradient.values)), s | numbers, t, **options)
            for array, new in ((weight, w), *[(array, s[name]) for name, array in state.items()]):
                if skipping is not None:
                    np.copyto(new, array[rows], where=skipping.where)
                array[rows] = new
        elif weight.size <= BLOCK or skipping is not None or not in_place(update, arrays):
            for part, g, *slots in _blocks(arrays):
                before = [] if skipping is None else [array.copy() for array in (part, *slots)]
                w = widened(part)  # float16 is widened, since small numbers would vanish
                update(w, widened(g), *slots)
                if w is not part:
                    part[...] = w
                if skipping is not None:
                    for array, old in zip((part, *slots), before, strict=True):
                        np.copyto(array, old, where=skipping.where)
        if state:
            entry = self.state[gradient.name]

            def count() -> None:
                if skipping is None or not skipping.now:
                    entry.update(self.counted(entry, options))

            change(count, entry)

    def _state_of(self, gradient: Gradient, options: Options) -> tuple[dict[str, Array], dict[str, Any], int]:
        """A parameter's state arrays (created if missing), its numbers, and the number of this step."""
        slots, weight = self.slots(options), gradient.parameter.data
        if not slots:
            return {}, {}, 1
        entry = self.state.setdefault(gradient.name, {"step": 0})
        wide = np.result_type(weight.dtype, np.float32)
        for name, start in slots.items():
            if name not in entry:
                entry[name] = mg.Tensor(np.full_like(weight, start, dtype=wide))
            slot = entry[name]  # moves with its parameter
            borrow(slot)
            slot.data = backend.transfer(slot.data, gradient.parameter.device).astype(wide, copy=False)
        numbers = self.numbers(options)
        for name, start in numbers.items():
            entry.setdefault(name, start)
        declared = State(entry, self._title, live={name: name for name in numbers} | {"step": "the number of steps"})
        live = declared.read((*numbers, "step"))
        t = live.pop("step") + 1
        return {name: entry[name].data for name in slots}, live, t

    # ---- state ---------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """A copy of all state, as nested dicts and lists of numbers, strings and Tensors.

        {"state": {name: {"step": t, slot: Tensor, ...}}, "param_groups": [{"param_names": [...], option: ...}],
        "skipped": n}
        """
        return saved(self)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore a result of `state_dict`, for an optimizer of the same parameters; arrays are copied.

        Raises ValueError that lists all names, shapes and options that disagree; then nothing has changed.
        """
        restore(self, state_dict)

    def __repr__(self) -> str:
        lines = [
            f"  {len(group['params'])} parameters: " + ", ".join(f"{name}={group[name]}" for name in self.defaults)
            for group in self.param_groups
        ]
        return "\n".join([f"{self._title}(", *lines, ")"])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _blocks(arrays: Sequence[Array]) -> Iterator[Sequence[Array]]:
    """The arrays in blocks of some rows on a CPU; unchanged elsewhere, and if they are small."""
    first = arrays[0]
    if first.size <= BLOCK or not backend.on_cpu(first):
        yield arrays
        return
    rows = max(1, BLOCK // (first.size // len(first)))
    for start in range(0, len(first), rows):
        yield [a[start : start + rows] for a in arrays]

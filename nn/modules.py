"""Module and Parameter: the building blocks of networks.

A module is a plain Python object. Its registered parts are found among its attributes, in definition order: a
`Parameter` is a weight, a `Module` a submodule. So `self.weight` is an ordinary attribute, and weights are stored in
one place only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from html import escape
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

import numpy as np

import minigrad as mg
from minigrad import backend, notebook, tape
from minigrad.modes import current_mode
from minigrad.scopes import offered
from minigrad.state import State, decided

M = TypeVar("M", bound="Module")
Hook = Callable[[Any, tuple[Any, ...], Any], Any]


class Parameter(mg.Tensor):
    """A Tensor that is a weight of the module it is an attribute of. It requires grad by default.

    data  a Tensor or an array of floats, whose memory the Parameter shares; or numbers in lists
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        shared = isinstance(data, mg.Tensor) or backend.is_array(data)
        super().__init__(data if shared else mg.tensor(data), requires_grad)


class LoadResult(NamedTuple):
    """The outcome of `load_state_dict`: names that are missing in the state, and names unknown to the module."""

    missing: list[str]
    unexpected: list[str]

    def __repr__(self) -> str:
        missing, unexpected = (
            ", ".join([*map(repr, names[:5]), *([f"... {len(names)}"] * (len(names) > 5))]) for names in self
        )
        return f"LoadResult(missing=[{missing}], unexpected=[{unexpected}])"


class Module:
    """Base class of all networks and layers: define `forward`, then call the module.

    >>> import minigrad as mg, nn
    >>> class Affine(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.weight = nn.Parameter(mg.ones(2))
    ...     def forward(self, x):
    ...         return x * self.weight
    >>> [name for name, _ in Affine().named_parameters()]
    ['weight']
    """

    training: bool
    _label: str | None
    _buffers: dict[str, bool]  # name: True if it is saved
    _hooks: list[Hook]

    def __init__(self) -> None:
        self.training = True
        self._label = None
        self._buffers = {}
        self._hooks = []

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Module | Parameter) and "_hooks" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}: call super().__init__() before setting {name!r}")
        self._refuse_loss(name, value)
        if isinstance(value, Module):
            value._be_called(name)
        elif isinstance(value, Parameter) and value.name is None:  # in pictures without `params`
            value.name = name
        object.__setattr__(self, name, value)

    def _refuse_loss(self, name: str, value: Any) -> None:
        """Raise TypeError if a new value would silently replace a Parameter, module or buffer."""
        before = self.__dict__.get(name)
        if before is None or value is None or isinstance(value, Module | Parameter):
            return
        if isinstance(before, Parameter):
            kind, advice = "parameter", f"an nn.Parameter, or write into m.{name}.data[...] or, under no_grad, into it"
        elif isinstance(before, Module):
            kind, advice = "module", "a module, or None to remove it"
        elif name in self.__dict__.get("_buffers", ()) and not isinstance(value, mg.Tensor):
            kind, advice = "buffer", "a Tensor, or None to remove it"
        else:
            return
        raise TypeError(
            f"{type(self).__name__}: {name!r} is a {kind}, and a {type(value).__name__} in its place would not be "
            f"trained or saved; assign {advice}"
        )

    def _be_called(self, label: str) -> None:
        """Take the label of this module in scopes, pictures and errors; the first parent decides."""
        if self._label is None:
            object.__setattr__(self, "_label", label)

    # ---- calling -------------------------------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's output. Every module defines it."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        mode = current_mode()
        if mode.intake.follows:
            self._say_what_is_read()
        with mg.scope(self._label or type(self).__name__):
            output = self.forward(*args, **kwargs)
        if mode.observers and isinstance(output, mg.Tensor):
            output = offered(self._label or type(self).__name__, output, "module")
        for hook in tuple(self._hooks):  # one may remove itself
            answer = hook(self, args, output)
            if answer is not None:
                output = answer
        return output

    def _say_what_is_read(self) -> None:
        """Guard the plain attributes of all modules inside, such as `training`."""
        for name, module in self.named_modules():
            values, title = vars(module), name or type(self).__name__
            read = (bool, int, float, str, tuple, type(None), mg.Tensor, Module)
            State(values, title).read(k for k, v in values.items() if isinstance(v, read) and k != "_label")
            decided(functools.partial(len, values), f"how many attributes {title} has")

    def register_forward_hook(self, hook: Hook) -> Callable[[], None]:
        """Call `hook(module, args, output)` after each forward; a result other than None replaces the output.

        Returns a function that removes the hook.
        """
        self._hooks.append(hook)

        def remove() -> None:
            if hook in self._hooks:
                self._hooks.remove(hook)

        return remove

    # ---- its parts ---------------------------------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules that are attributes of this one, each once, with their names."""
        seen = set()
        for name, value in vars(self).items():
            if isinstance(value, Module) and value not in seen:
                seen.add(value)
                yield name, value

    def children(self) -> Iterator[Module]:
        """The modules of `named_children`."""
        return (child for _, child in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module (under the empty name) and all its submodules, each once, with their names."""
        seen = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            name, module = stack.pop()
            if module not in seen:
                seen.add(module)
                yield name, module
                stack += [(_join(name, key), child) for key, child in reversed(list(module.named_children()))]

    def modules(self) -> Iterator[Module]:
        """The modules of `named_modules`."""
        return (module for _, module in self.named_modules())

    def _public_name(self, name: str) -> str:
        """The name in `named_parameters` and `state_dict` of the tensor called `name` inside this module."""
        return name

    def _places(self, kind: str) -> Iterator[tuple[str, Module, str]]:
        """(public name, module, attribute) of all tensors, with all their names.

        kind: "parameters", "buffers", or "state", that is parameters and saved buffers.
        """
        for attribute, value in vars(self).items():
            if isinstance(value, Parameter):
                if kind != "buffers":
                    yield self._public_name(attribute), self, attribute
            elif isinstance(value, Module):
                for name, module, inner in value._places(kind):
                    yield self._public_name(f"{attribute}.{name}"), module, inner
            elif (
                attribute in self._buffers
                and isinstance(value, mg.Tensor)
                and (kind == "buffers" or (kind == "state" and self._buffers[attribute]))
            ):
                yield self._public_name(attribute), self, attribute

    def _named_tensors(self, kind: str) -> Iterator[tuple[str, Any]]:
        """All (public name, tensor) of a kind."""
        return ((name, getattr(module, attribute)) for name, module, attribute in self._places(kind))

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """(name, Parameter) in definition order; a Parameter used in several places comes once."""
        seen = set()
        for name, parameter in self._named_tensors("parameters"):
            if parameter not in seen:
                seen.add(parameter)
                yield _join(prefix, name), parameter

    def parameters(self) -> Iterator[Parameter]:
        """The Parameters of `named_parameters`."""
        return iter(dict.fromkeys(self._weights()))

    def _weights(self) -> Iterator[Parameter]:
        """All Parameters, repeated if used in several places."""
        for value in vars(self).values():
            if isinstance(value, Parameter):
                yield value
            elif isinstance(value, Module):
                yield from value._weights()

    def named_buffers(self) -> Iterator[tuple[str, mg.Tensor]]:
        """(name, tensor) of the buffers of this module and its submodules."""
        yield from self._named_tensors("buffers")

    def buffers(self) -> Iterator[mg.Tensor]:
        """The tensors of `named_buffers`."""
        return (buffer for _, buffer in self.named_buffers())

    def register_buffer(self, name: str, tensor: mg.Tensor | None, persistent: bool = True) -> None:
        """Register a tensor that is not trained: it moves with `to`, and is saved if `persistent`."""
        if tensor is not None and not isinstance(tensor, mg.Tensor):
            raise TypeError(f"{type(self).__name__}: the buffer {name!r} must be a Tensor, not {type(tensor).__name__}")
        setattr(self, name, tensor)
        self._buffers[name] = persistent

    # ---- state ---------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, mg.Tensor]:
        """All weights and saved buffers by name, sharing memory with the module. Names and shapes are PyTorch's."""
        return {name: tensor.detach() for name, tensor in self._named_tensors("state")}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Copy weights, Tensors or arrays by name, into this module.

        strict  True if missing and unexpected names are errors

        A tensor with several names (tied weights) needs only one of them. Raises ValueError that lists all missing and
        unexpected names, all wrong shapes, or different values for one tensor, and TypeError for values that are not
        numbers; then nothing is written.
        """
        own = dict(self._named_tensors("state"))
        found = {id(tensor.data) for name, tensor in own.items() if name in state}
        missing = [name for name, tensor in own.items() if id(tensor.data) not in found]
        unexpected = [name for name in state if name not in own]
        title = type(self).__name__
        if strict and (missing or unexpected):
            problems = [f"missing: {', '.join(missing)}"] * bool(missing)
            problems += [f"unexpected: {', '.join(unexpected)}"] * bool(unexpected)
            raise ValueError(f"{title}.load_state_dict: the names do not agree; " + "; ".join(problems))
        given = {name: state[name] for name in own if name in state}
        wrong = [
            f"{name} is {tuple(np.shape(value))}, expected {own[name].shape}"
            for name, value in given.items() if tuple(np.shape(value)) != own[name].shape
        ]  # fmt: skip
        if wrong:
            raise ValueError(f"{title}.load_state_dict: shapes do not agree: {'; '.join(wrong)}")
        values = {name: _numbers(f"{title}.load_state_dict: {name}", value) for name, value in given.items()}
        names: dict[int, str] = {}
        for name, value in values.items():
            first = names.setdefault(id(own[name].data), name)
            if given[first] is not given[name] and not _equal(values[first], value, own[name].dtype):
                raise ValueError(
                    f"{title}.load_state_dict: {first} and {name} are one tensor here, and their values differ"
                )
        for name, value in values.items():
            overwrite(own[name], value)
        return LoadResult(missing, unexpected)

    # ---- modes and devices -------------------------------------------------------------------------------------------

    def train(self: M, mode: bool = True) -> M:
        """Set training mode, in which dropout is active, for this module and its submodules; `train(False)` is
        `eval()`.
        """
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: M) -> M:
        """Set evaluation mode: no randomness."""
        return self.train(False)

    def to(self: M, where: Any) -> M:
        """Move all parameters, gradients and buffers to a device ("cpu", "cuda") or to a floating dtype."""
        dtype = None if isinstance(where, str) and backend.is_device(where) else backend.native(where)
        if dtype is None:
            backend.backend_for(where)
        elif dtype.kind != "f":
            raise TypeError(f"{type(self).__name__}.to: the dtype must be a floating one, not {dtype}")
        for _, tensor in [*self._named_tensors("parameters"), *self._named_tensors("buffers")]:
            for t in (tensor, tensor.grad):
                if isinstance(t, mg.RowSparse):
                    tensor.grad = None  # it is on the old device, and not worth moving
                elif t is not None and dtype is None:
                    t.data = backend.transfer(t.data, where)
                elif t is not None and t.dtype.kind == "f":
                    t.data = t.data.astype(dtype, copy=False)
        return self

    def zero_grad(self) -> None:
        """Clear all gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def requires_grad_(self: M, flag: bool = True) -> M:
        """Switch the gradients of all parameters on or off; off freezes them."""
        for parameter in self.parameters():
            parameter.requires_grad = flag
        return self

    def apply(self: M, function: Callable[[Module], Any]) -> M:
        """Call `function(module)` for each submodule, then this module."""
        for module in reversed(list(self.modules())):
            function(module)
        return self

    # ---- text ----------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """The text between the brackets when the module is printed."""
        return ""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return notebook.mimebundle(self, self._html)

    def _html(self) -> str:
        """The module as nested lists that fold: class and options, shapes of weights, submodules."""
        weights = {name: value for name, value in vars(self).items() if isinstance(value, mg.Tensor)}
        lines = [f"<li>{escape(name)} {value.shape}</li>" for name, value in weights.items()]
        lines += [f"<li>{escape(name)}: {child._html()}</li>" for name, child in self.named_children()]
        title = escape(f"{type(self).__name__}({self.extra_repr()})")
        return f"<details open><summary>{title}</summary><ul>{''.join(lines)}</ul></details>" if lines else title

    def __treescope_repr__(self, path: str | None, renderer: Any) -> Any:
        hidden = {"training", "_label", "_buffers", "_hooks"}
        parts = {name: value for name, value in vars(self).items() if name not in hidden and not name.startswith("_")}
        return notebook.rendered(type(self), parts if self.training else {**parts, "training": False}, path, renderer)

    def __repr__(self) -> str:
        lines = []
        for text, same in groupby(self.named_children(), lambda one: repr(one[1])):
            names = [name for name, _ in same]
            if all(name.isdigit() for name in names) and len(names) > 3:  # layers that are alike, in one line
                lines.append(f"({names[0]}-{names[-1]}): {len(names)} x {text}")
            else:
                lines += [f"({name}): {text}" for name in names]
        lines = [line.replace("\n", "\n  ") for line in lines]
        title = f"{type(self).__name__}({self.extra_repr()}"
        return title + ("\n  " + "\n  ".join(lines) + "\n)" if lines else ")")


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix and name else prefix or name


def _numbers(title: str, value: Any) -> Any:
    """The array of a Tensor, an array itself, or an array of numbers; TypeError for complex numbers and others."""
    array = value.data if isinstance(value, mg.Tensor) else value
    array = array if backend.is_array(array) else np.asarray(array)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{title} must be real numbers, not {array.dtype}")
    return array


def _equal(a: Any, b: Any, dtype: Any) -> bool:
    """True if two arrays, possibly on different devices, are equal in a dtype; NaN equals NaN."""
    a, b = (backend.to_numpy(value).astype(dtype) for value in (a, b))
    return bool(np.all((a == b) | ((a != a) & (b != b))))


def overwrite(tensor: mg.Tensor, value: Any) -> mg.Tensor:
    """Copy a value (a number, Tensor or array) into a tensor's memory. Backward notices if it needs the old values.
    Returns the tensor."""
    array = value.data if isinstance(value, mg.Tensor) else value
    tape.WRITES.mark(tensor.data)
    tensor.data[...] = backend.transfer(array, tensor.device) if backend.is_array(array) else array
    return tensor


def beside(module: Any, value: Any, kinds: str = "f") -> mg.Tensor:
    """A Tensor unchanged; an array or numbers as a Tensor on the device of the module's weights and, if floats (or of
    another given kind), in their dtype."""
    if isinstance(value, mg.Tensor):
        return value
    tensor = mg.tensor(value)
    weight = _first_weight(module) if isinstance(module, Module) else None
    if weight is None:
        return tensor
    if tensor.dtype.kind in kinds and tensor.dtype != weight.dtype:
        tensor = tensor.astype(weight.dtype)
    return tensor if tensor.device == weight.device else tensor.to(weight.device)


def _first_weight(module: Module) -> mg.Tensor | None:
    """A floating Parameter of the module or its submodules, or the tensor with which a WeightDrop replaces it."""
    for name, value in vars(module).items():
        found = value if isinstance(value, mg.Tensor) and name not in module._buffers else None
        if isinstance(value, Module):
            found = _first_weight(value)
        if found is not None and found.dtype.kind == "f":
            return found
    return None

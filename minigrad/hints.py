"""Hints for missing names: PyTorch's names that minigrad does not have, each with NumPy's way to say the same.

The table is consulted only when a missing name is asked for. The name stays missing: `hasattr` is False.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import numpy as np

METHODS = {  # of a tensor x
    "view": "x.reshape(shape)", "view_as": "x.reshape(y.shape)", "reshape_as": "x.reshape(y.shape)",
    "unflatten": "x.reshape(shape)", "contiguous": "x as it is", "clone": "x.copy()",
    "numel": "x.size", "nelement": "x.size", "dim": "x.ndim", "ndimension": "x.ndim", "stride": "x.data.strides",
    "element_size": "x.dtype.itemsize", "grad_fn": "mg.graph(x)", "is_cuda": "x.device",
    "is_floating_point": 'x.dtype.kind == "f"',
    "permute": "np.transpose(x, axes), all of them", "t": "x.T", "expand": "np.broadcast_to(x, shape)",
    "expand_as": "np.broadcast_to(x, y.shape)", "unsqueeze": "np.expand_dims(x, axis)", "movedim": "np.moveaxis",
    "double": "x.astype(np.float64)", "float": "x.astype(np.float32)", "half": "x.astype(np.float16)",
    "long": "x.astype(np.int64)", "int": "x.astype(np.int32)", "bool": "x.astype(bool)", "byte": "x.astype(np.uint8)",
    "type": "x.astype(dtype)", "type_as": "x.astype(y.dtype)", "cpu": 'x.to("cpu")', "cuda": 'x.to("cuda")',
    "new_zeros": "mg.zeros(shape, dtype=x.dtype)", "new_ones": "mg.ones(shape, dtype=x.dtype)",
    "new_tensor": "mg.tensor(data, dtype=x.dtype)", "new_full": "mg.full(shape, value, dtype=x.dtype)",
    "clamp": "np.clip(x, min, max)", "clamp_min": "np.maximum(x, min)", "clamp_max": "np.minimum(x, max)",
    "norm": "np.linalg.norm(x, ord, axis)", "mm": "x @ y", "bmm": "x @ y", "mv": "x @ y", "addmm": "b + x @ y",
    "add": "x + y", "sub": "x - y", "mul": "x * y", "div": "x / y", "pow": "x**p", "neg": "-x",
    "rsqrt": "1 / np.sqrt(x)",
    "eq": "x == y", "ne": "x != y", "lt": "x < y", "le": "x <= y", "gt": "x > y", "ge": "x >= y",
    "lerp": "x + w * (y - x)", "det": "np.linalg.det(x)", "inverse": "np.linalg.inv(x)", "svd": "np.linalg.svd(x)",
    "topk": "np.argsort(x, axis)[..., -k:] for the places, np.take_along_axis for the numbers",
    "gather": "np.take_along_axis(x, index, axis)", "index_select": "np.take(x, index, axis)",
    "masked_fill": "np.where(mask, value, x)", "masked_select": "x[mask]", "unbind": "mg.unstack(x, axis=axis)",
    "repeat_interleave": "np.repeat(x, repeats, axis)",
    "scatter_add": "x + np.bincount(index, values, x.size), for one axis",
    "chunk": "np.array_split(x, n, axis)", "select": "an index, x[:, i]",
    "narrow": "a slice, x[start : start + length]",
    **{name: f"mg.{name}(x)" for name in ("sigmoid", "relu", "softmax", "log_softmax", "logsumexp", "erf", "softplus")},
    "unfold": "np.stack of slices", "multinomial": "NumPy's generator, np.random.default_rng().choice",
}  # fmt: skip

FUNCTIONS = METHODS | {  # of the package; x is the first argument
    "cat": "np.concatenate(xs, axis)", "hcat": "np.hstack(xs)", "manual_seed_all": "mg.manual_seed(n)",
    "empty": "mg.zeros(shape)", "empty_like": "mg.zeros_like(x)", "as_tensor": "mg.tensor(data)",
    "from_numpy": "mg.Tensor(array), which shares its memory, or mg.tensor(array), a copy",
    "is_tensor": "isinstance(x, mg.Tensor)", "equal": "np.array_equal(x, y)",
    "randint": "mg.tensor of NumPy's generator, np.random.default_rng().integers",
    "randperm": "NumPy's generator, np.random.default_rng().permutation", "normal": "mean + std * mg.randn(shape)",
    "save": "nn.save(model, path)", "load": "nn.load(path)", "optim": "nn.Adam and others",
    "autograd": "mg.grad and others",
    "func": "mg.grad, mg.vjp, mg.jacobian and others", "nn": "the package nn, by import nn",
    "inference_mode": "mg.no_grad()", "device": 'a string, "cpu" or "cuda"', "dtype": "np.dtype",
    "long": "np.int64", "int": "np.int32", "float": "np.float32", "double": "np.float64", "half": "np.float16",
    "bool": "bool", "fused": "mg.fuse", "jit": "mg.compile", "cuda": 'the device "cuda", as in x.to("cuda")',
}  # fmt: skip


KEYWORDS = {"dim": "axis=", "keepdim": "keepdims=", "unbiased": "ddof=1, or 0"}  # of functions and methods


def instead_of(keywords: Iterable[str]) -> str:
    """The end of the message of a TypeError: NumPy's keyword for the first of PyTorch's; empty if there is none."""
    return next((f": here it is {KEYWORDS[name]}" for name in keywords if name in KEYWORDS), "")


def with_hints(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """The method of a tensor, whose error for a keyword of PyTorch says NumPy's."""

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        for keyword in kwargs:
            if keyword in KEYWORDS:
                raise TypeError(f"Tensor.{name}() got an unexpected keyword argument {keyword!r}{instead_of(kwargs)}")
        return method(*args, **kwargs)

    return call


def missing(title: str, name: str, table: dict[str, str]) -> str:
    """The message of an AttributeError, with NumPy's or minigrad's equivalent, if there is one.

    title  the object asked, "Tensor" or "module 'minigrad'"
    table  METHODS or FUNCTIONS
    """
    text = f"{title} has no attribute {name!r}"
    way = table.get(name)
    if way is None and not name.startswith("_"):
        argument = "(x)" if table is METHODS else ""
        if callable(getattr(np, name, None)):
            way = f"np.{name}{argument}"
        elif hasattr(np.linalg, name):
            way = f"np.linalg.{name}{argument}"
        elif name.endswith("_"):
            way = "a write under mg.no_grad(), x[...] = value or x += value, or else a new tensor"
    return text if way is None else f"{text}: here it is {way}"

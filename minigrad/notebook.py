"""Representations of tensors, modules and states in notebooks.

With treescope (extra `notebook`), objects fold and arrays are drawn as pictures; after
`treescope.basic_interactive_setup()` this includes nested states. Without it, the representation is plain HTML.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any


def mimebundle(value: Any, plain: Callable[[], str]) -> dict[str, str]:
    """The result of `_repr_mimebundle_` for a value that has `__treescope_repr__`; without treescope, `plain` makes its
    HTML. (Treescope itself asks the objects it draws for `_repr_html_`.)"""
    try:
        import treescope
    except ImportError:
        html = plain()
    else:
        html = treescope.render_to_html(value)
    return {"text/html": html, "text/plain": repr(value)}


def rendered(kind: type, parts: Mapping[str, Any], path: str | None, renderer: Any) -> Any:
    """The result of `__treescope_repr__`: the name of a class, and its parts by name, which fold."""
    from treescope import repr_lib

    return repr_lib.render_object_constructor(kind, parts, path, renderer)


def text(value: Any) -> str:
    """The printed form, as HTML."""
    return f"<pre>{escape(repr(value))}</pre>"


def parts_of(tensor: Any) -> dict[str, Any]:
    """The parts of a tensor to show: its values as a NumPy array, and all that differs from a plain tensor."""
    from .backend import to_numpy
    from .tape import node_of

    parts: dict[str, Any] = {"data": to_numpy(tensor.data)}
    if tensor.device != "cpu":
        parts["device"] = tensor.device
    if tensor.name is not None:
        parts["name"] = tensor.name
    if tensor.edge is not None:
        parts["made_by"] = node_of(tensor.edge)[0].primitive.name
    elif tensor.requires_grad:
        parts["requires_grad"] = True
    if tensor.grad is not None:
        parts["grad"] = tensor.grad
    return parts

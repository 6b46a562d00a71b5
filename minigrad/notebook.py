"""Views of tensors, modules and states in a notebook.

With treescope (extra `notebook`) an object is drawn by it: it folds, and arrays are pictures. After
`treescope.basic_interactive_setup()` nested states are, too. Without it, there is plain HTML.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any


def mimebundle(value: Any, plain: Callable[[], str]) -> dict[str, str]:
    """The answer of `_repr_mimebundle_` for a value that has `__treescope_repr__`; without treescope, `plain` makes its
    HTML. (Treescope itself asks for `_repr_html_` of what it draws.)"""
    try:
        import treescope
    except ImportError:
        html = plain()
    else:
        html = treescope.render_to_html(value)
    return {"text/html": html, "text/plain": repr(value)}


def rendered(kind: type, parts: Mapping[str, Any], path: str | None, renderer: Any) -> Any:
    """The answer of `__treescope_repr__`: the name of a class, and its parts by name, which fold."""
    from treescope import repr_lib

    return repr_lib.render_object_constructor(kind, parts, path, renderer)


def text(value: Any) -> str:
    """The printed form, as HTML."""
    return f"<pre>{escape(repr(value))}</pre>"


def parts_of(tensor: Any) -> dict[str, Any]:
    """The parts of a tensor to show: its numbers as NumPy's array, and what differs from a plain tensor."""
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

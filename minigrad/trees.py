"""Nested dicts, lists and tuples of tensors, as a flat list of leaves and a way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def flatten(tree: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """The leaves of a nested structure in order, and a function that puts other leaves in their places."""
    if isinstance(tree, dict):
        children = list(tree.values())
        build: Callable[[list[Any]], Any] = lambda parts: dict(zip(tree, parts, strict=True))  # noqa: E731
    elif isinstance(tree, tuple | list):
        children = list(tree)
        named = hasattr(tree, "_fields")
        build = lambda parts: type(tree)(*parts) if named else type(tree)(parts)  # noqa: E731
    else:
        return [tree], lambda leaves: leaves[0]
    flat = [flatten(child) for child in children]
    sizes = [len(leaves) for leaves, _ in flat]

    def rebuild(leaves: list[Any]) -> Any:
        parts, start = [], 0
        for size, (_, inner) in zip(sizes, flat, strict=True):
            parts.append(inner(leaves[start : start + size]))
            start += size
        return build(parts)

    return [leaf for leaves, _ in flat for leaf in leaves], rebuild

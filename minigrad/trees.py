"""Nested dicts, lists and tuples: of tensors, flattened and rebuilt, and of any objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_NESTED = (tuple, list, dict)


def flatten(tree: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """The leaves of a nested structure in order, and a function that rebuilds the structure around other leaves.

    The function keeps the structure and no leaf.
    """
    kind = type(tree)
    if isinstance(tree, dict):
        keys, children = list(tree), list(tree.values())
        build: Callable[[list[Any]], Any] = lambda parts: dict(zip(keys, parts, strict=True))  # noqa: E731
    elif isinstance(tree, tuple | list):
        keys, children = [], list(tree)
        named = hasattr(tree, "_fields")
        build = lambda parts: kind(*parts) if named else kind(parts)  # noqa: E731
    else:
        return [tree], lambda leaves: leaves[0]
    flat = [flatten(child) for child in children]
    leaves = [leaf for found, _ in flat for leaf in found]
    inner = [(len(found), rebuild) for found, rebuild in flat]
    del flat, children, tree

    def rebuild_all(leaves: list[Any]) -> Any:
        parts, start = [], 0
        for size, rebuild in inner:
            parts.append(rebuild(leaves[start : start + size]))
            start += size
        return build(parts)

    return leaves, rebuild_all


def outline(tree: Any, leaves: list[Any], structure: list[Any]) -> None:
    """Append the leaves of a nested structure to `leaves`, and a key of its structure to `structure`."""
    kind = type(tree)
    if isinstance(tree, dict):
        structure.append((kind, tuple(tree)))
        tree = tree.values()
    elif isinstance(tree, tuple | list):
        structure.append((kind, len(tree)))
    else:
        leaves.append(tree)
        structure.append(None)
        return
    for child in tree:
        outline(child, leaves, structure)


def leaves_in(tree: Any, kind: type) -> list[Any]:
    """All objects of one class in nested tuples, lists and dicts."""
    found: list[Any] = []
    for part in tree.values() if isinstance(tree, dict) else tree:
        if type(part) is kind:
            found.append(part)
        elif isinstance(part, _NESTED):
            found += leaves_in(part, kind)
    return found


def replaced(tree: Any, change: Callable[[Any], Any]) -> Any:
    """The nested structure with every leaf changed."""
    if not isinstance(tree, _NESTED):
        return change(tree)
    if isinstance(tree, dict):
        return {k: replaced(p, change) if isinstance(p, _NESTED) else change(p) for k, p in tree.items()}
    parts = [replaced(p, change) if isinstance(p, _NESTED) else change(p) for p in tree]
    return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)

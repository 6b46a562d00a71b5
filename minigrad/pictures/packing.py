"""A graph's plain data in columns, as the viewer's page holds it: a small part of the size, and read much faster.

A table is {"rows", "columns"}, and "at" where some rows are null: the places of the others. A column is one of

    {"all": v}                      the same in every row
    {"of": [v, ...], "is": [k, ...]}  few different values, and which of them stands in each row
    {"each": [v, ...]}              one for each row
    {"table": t}                    records
    {"lists": [n, ...], "table": t}   lists of records: their lengths, and all of them in one table

`viewer/unpacking.js` reads it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

DIGITS = 6  # significant ones of a number: the viewer shows three


def packed(data: Mapping[str, Any]) -> dict[str, Any]:
    """A graph's data (see `Graph.data`) with its nodes and edges as tables.

    norms   the least and the largest norm of a gradient, but for 0; empty if there are none
    broken  the rows of the nodes with a value that is not finite, and of those with such a gradient
    """
    nodes = data["nodes"]
    norms = [norm for node in nodes if (norm := _norm(node)) > 0 and math.isfinite(norm)]
    broken = {which: [k for k, node in enumerate(nodes) if _broken(node, which)] for which in ("value", "grad")}
    tables = {"nodes": table(nodes), "edges": table(data["edges"])}
    return {**data, **tables, "norms": [min(norms), max(norms)] if norms else [], "broken": broken}


def _norm(node: Mapping[str, Any]) -> float:
    """The norm of a node's gradient, of several outputs' all together; 0 where it is not known."""
    several = [node["grad"]] if node.get("grad") else [one["grad"] for one in node.get("outputs") or () if one["grad"]]
    return math.hypot(*[float(one["norm"]) for one in several])


def _broken(node: Mapping[str, Any], which: str) -> bool:
    return any(one.get(which) and one[which]["nonfinite"] for one in (node, *(node.get("outputs") or ())))


def table(records: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    """Records with the same fields, or null, in columns."""
    there = [k for k, record in enumerate(records) if record is not None]
    rows = [record for record in records if record is not None]
    names = dict.fromkeys([name for record in rows for name in record])
    columns = {name: _column([record.get(name) for record in rows]) for name in names}
    found: dict[str, Any] = {"rows": len(records), "columns": columns}
    if len(rows) < len(records):
        found["at"] = there
    return found


def _column(values: list[Any]) -> dict[str, Any]:
    kinds = set(map(type, values)) - {type(None)}
    if kinds == {dict}:
        return {"table": table(values)}
    if kinds == {list} and any(values) and all(isinstance(v, list) and (not v or type(v[0]) is dict) for v in values):
        return {"lists": [len(v) for v in values], "table": table([one for v in values for one in v])}
    if float in kinds or list in kinds:
        values = [_rounded(v) for v in values]
    key: Callable[[Any], Any] = _frozen if list in kinds else _plain
    places: dict[Any, int] = {}
    different: list[Any] = []
    at: list[int] = []
    for value in values:
        name = key(value)
        if name not in places:
            places[name] = len(different)
            different.append(value)
            if 2 * len(different) > len(values) + 2:
                return {"each": values}
        at.append(places[name])
    return {"all": different[0]} if len(different) == 1 else {"of": different, "is": at}


def _plain(value: Any) -> Any:
    return type(value), value  # 1 is not True


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else (type(value), value)


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    if not isinstance(value, float) or value == 0 or not math.isfinite(value):
        return value
    return float(f"{value:.{DIGITS}g}")

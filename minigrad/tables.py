"""Tables as HTML, for notebooks."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

_CELL = "padding:2px 10px;border:0;text-align:"


def html_table(titles: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> str:
    """Rows of text under their titles; the first column is left-aligned, the others right-aligned."""

    def line(cells: Sequence[Any], tag: str) -> str:
        sides = ["left", *["right"] * (len(cells) - 1)]
        return "".join(
            f'<{tag} style="{_CELL}{side}">{html.escape(str(cell))}</{tag}>'
            for cell, side in zip(cells, sides, strict=True)
        )

    above = f'<caption style="text-align:left;padding:4px 0">{html.escape(caption)}</caption>' if caption else ""
    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return (
        f'<table style="border-collapse:collapse;font-variant-numeric:tabular-nums">{above}'
        f"<thead><tr>{line(titles, 'th')}</tr></thead><tbody>{body}</tbody></table>"
    )

"""Agreement: facts that all ranks must share, and an error that names the differences."""

from __future__ import annotations

import functools
import hashlib
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

import minigrad as mg

SHOWN = 3  # differences in an error


class DisagreementError(ValueError):
    """Ranks that should have the same code, weights or settings differ. All ranks raise it, with the same text."""

    everywhere = True  # see `failure`


def difference(title: str, texts: Sequence[str]) -> str | None:
    """A sentence about the first rank whose facts (see `as_text`) differ from rank 0's; None if there is none."""
    first = json.loads(texts[0])
    for rank, text in enumerate(texts):
        if text != texts[0]:
            other = json.loads(text)
            names = [name for name in {**first, **other} if first.get(name) != other.get(name)]
            shown = [f"{name} is {first.get(name, 'missing')} on rank 0 and {other.get(name, 'missing')} on rank {rank}"
                     for name in names[:SHOWN]]  # fmt: skip
            more = f"; and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            order = "" if names else "the same names come in another order"
            return f"{title}: ranks 0 and {rank} differ: {'; '.join(shown)}{order}{more}"
    return None


def as_text(facts: Mapping[str, str]) -> str:
    """Facts as one line."""
    return json.dumps(dict(facts), separators=(",", ":"))


@functools.cache
def code() -> dict[str, str]:
    """Versions, and digests of the code: the program's own file, and the packages."""
    main = getattr(sys.modules["__main__"], "__file__", None)
    packages = Path(mg.__file__).parents[1]
    files = [path for name in ("minigrad", "nn", "nlp") for path in sorted((packages / name).rglob("*.py"))]
    return {
        "Python": platform.python_version(), "NumPy": np.__version__, "minigrad": mg.__version__,
        "the digest of minigrad, nn and nlp": _digest(files),
        "the digest of the program": _digest([Path(main)]) if main and Path(main).is_file() else "none",
    }  # fmt: skip


def _digest(files: Sequence[Path]) -> str:
    found = hashlib.sha256()
    for path in files:
        found.update(path.read_bytes())
    return found.hexdigest()[:12]

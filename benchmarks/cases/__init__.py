"""The measured computations, one subject a file. Each has a list `CASES`; a new file is added to `SUBJECTS`.

`zoo_steps` has the equations of `zoo`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..compare import Case

SUBJECTS = (
    "overhead", "chain", "broadcasting", "embedding", "slices", "lstm", "gathering", "layers", "cells", "scaling",
    "fusion", "optimizers", "tokenizers", "word2vec", "models", "classification", "translation", "decoding", "ctc",
    "crf", "convolution", "zoo",
)  # fmt: skip


def all_cases() -> list[Case]:
    """The cases of all subjects, in the order of the table."""
    return [case for name in SUBJECTS for case in importlib.import_module(f".{name}", __name__).CASES]

"""NumPy functions without a rule, each with the reason and an alternative. Without a gradient they just run."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dispatch import REFUSED


def refuse(reason: str, module: Any, names: str) -> None:
    """Register one reason for all functions of these names."""
    for name in names.split():
        if hasattr(module, name):
            REFUSED[getattr(module, name)] = reason


_COMPLEX = "gives complex numbers, which no Tensor holds; "
refuse(
    _COMPLEX + "multiply with matrices of np.cos and np.sin for the real and the imaginary part",
    np.fft,
    "fft ifft fft2 ifft2 fftn ifftn rfft irfft rfft2 irfft2 rfftn irfftn hfft ihfft",
)
refuse(_COMPLEX + "np.linalg.eigh and eigvalsh take symmetric matrices", np.linalg, "eig eigvals")
refuse(_COMPLEX + "find a real zero by a few of Newton's steps", np, "roots")
refuse(_COMPLEX + "np.sort takes real ones", np, "sort_complex")
refuse(_COMPLEX + "use the function of the same name in NumPy itself", np.emath,
       "sqrt log log2 logn log10 power arccos arcsin arctanh")  # fmt: skip
refuse(
    "writes into an array in place; make a new one with np.where, np.concatenate or np.insert",
    np,
    "copyto put place putmask put_along_axis fill_diagonal",
)
refuse("shows memory twice; use np.lib.stride_tricks.sliding_window_view", np.lib.stride_tricks, "as_strided")
refuse(
    "counts elements, and a count has no gradient; pass x.detach(), or sum weights with np.bincount",
    np,
    "histogram histogram2d histogramdd histogram_bin_edges",
)
refuse("steps to a neighbouring float, and has no derivative; write x itself", np, "nextafter")
refuse("computes with bits of integers, which have no gradient; pass integers", np,
       "bitwise_and bitwise_or bitwise_xor invert left_shift right_shift gcd lcm")  # fmt: skip
refuse("takes dates, which have no gradient", np, "isnat busday_count busday_offset is_busday datetime_as_string")

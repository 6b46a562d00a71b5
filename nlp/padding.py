"""Sequences of unequal lengths in one array, and back: padding, lengths, masks."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Array = Any


class Padded(NamedTuple):
    """N sequences in one array.

    values   (T, N, ...) sequence n is `values[: lengths[n], n]`
    lengths  (N,) int64, for `lengths=` of `nn`'s layers
    """

    values: Array
    lengths: Array

    @property
    def mask(self) -> Array:
        """(T, N) True inside sequences, for `mask=` of `nn`'s losses."""
        return sequence_mask(self.lengths, len(self.values))


def pad(sequences: Sequence[Any], value: float = 0) -> Padded:
    """Sequences (T_n, ...) as one array (T, N, ...), with T the largest length, and their lengths.

    value  the padding after the end of a sequence

    >>> values, lengths = pad([np.array([5, 6, 7]), np.array([8])])
    >>> values.tolist(), lengths.tolist()
    ([[5, 8], [6, 0], [7, 0]], [3, 1])

    Raises TypeError for strings and other objects that are not sequences of numbers, ValueError if there are none, or
    if they differ in more than the length.
    """
    if isinstance(sequences, str) or any(isinstance(s, str) for s in sequences):
        raise TypeError("pad: expected sequences of ids, not of characters; encode the texts first")
    arrays = [np.asarray(s) for s in sequences]
    if not arrays:
        raise ValueError("pad: there are no sequences")
    some = next((a for a, s in zip(arrays, sequences, strict=True) if not _says_nothing(a, s)), np.empty(0, np.int64))
    arrays = [some[:0] if _says_nothing(a, s) else a for a, s in zip(arrays, sequences, strict=True)]
    for n, array in enumerate(arrays):
        if array.ndim == 0:
            raise TypeError(f"pad: sequence {n} is a {type(sequences[n]).__name__}, not a sequence")
        if array.dtype.kind not in "biuf":
            raise TypeError(f"pad: sequence {n} holds {array.dtype} values, not numbers")
        if array.shape[1:] != arrays[0].shape[1:]:
            raise ValueError(f"pad: sequence {n} has the shape {array.shape}, sequence 0 has {arrays[0].shape}")
    lengths = np.array([len(array) for array in arrays], np.int64)
    dtype = np.result_type(*{array.dtype for array in arrays})
    values = np.full((int(lengths.max()), len(arrays), *arrays[0].shape[1:]), value, dtype)
    for n, array in enumerate(arrays):
        values[: len(array), n] = array
    return Padded(values, lengths)


def _says_nothing(array: Array, sequence: Any) -> bool:
    """True for an empty list, which has no dtype and no shape of a step."""
    return array.shape == (0,) and isinstance(sequence, list | tuple)


def sequence_mask(lengths: Any, T: int | None = None) -> Array:
    """(T, N) True in the first lengths[n] steps of column n; T is the largest length, if None.

    >>> sequence_mask([2, 1]).tolist()
    [[True, True], [True, False]]
    """
    n = np.asarray(lengths)
    if n.ndim != 1 or (n.size and n.dtype.kind not in "iu"):
        raise TypeError(f"sequence_mask: lengths must be integers (N,), not {n.dtype} {n.shape}")
    longest = int(n.max(initial=0))
    if (n < 0).any() or (T is not None and longest > T):
        raise ValueError(f"sequence_mask: the lengths reach from {n.min()} to {longest}; expected 0 to {T}")
    return np.arange(longest if T is None else T)[:, None] < n


def collate(examples: Sequence[Any], padding: Any = 0) -> Any:
    """One batch from examples of one form: arrays and lists become `Padded`, numbers an array (N,), and tuples and
    dicts are collated field by field. Texts in a dict stay a list.

    padding  the value for all sequences, or, for tuples and dicts, one for each field in the same form

    >>> (words, lengths), labels = collate([([4, 5], 1), ([6], 0)])
    >>> words.tolist(), lengths.tolist(), labels.tolist()
    ([[4, 6], [5, 0]], [2, 1], [1, 0])
    """
    first = examples[0]
    if isinstance(first, Mapping):
        if any(not isinstance(e, Mapping) or e.keys() != first.keys() for e in examples):
            raise ValueError(
                f"collate: all examples must be dicts of {', '.join(map(str, first))}, as the first one is"
            )
        of = padding if isinstance(padding, Mapping) else dict.fromkeys(first, padding)
        fields = {name: [e[name] for e in examples] for name in first}
        return {k: f if isinstance(f[0], str) else collate(f, of.get(k, 0)) for k, f in fields.items()}
    if isinstance(first, tuple):
        if any(not isinstance(e, tuple) or len(e) != len(first) for e in examples):
            raise ValueError(f"collate: all examples must be tuples of {len(first)} fields, as the first one is")
        values = padding if isinstance(padding, tuple) else (padding,) * len(first)
        if len(values) != len(first):
            raise ValueError(f"collate: {len(values)} padding values for {len(first)} fields")
        return tuple(collate(field, value) for field, value in zip(zip(*examples, strict=True), values, strict=True))
    if _is_number(first):
        return np.array(examples)
    return pad(examples, padding)


def length_of(example: Any) -> int:
    """The length of an example's longest sequence."""
    if isinstance(example, tuple | Mapping):
        fields = example.values() if isinstance(example, Mapping) else example
        return max((length_of(field) for field in fields if not isinstance(field, str)), default=0)
    return 0 if _is_number(example) else len(example)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Number) or (isinstance(value, np.ndarray) and value.ndim == 0)

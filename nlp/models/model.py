"""The base of all models: one file for a complete model, and checks of ids."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import wraps
from inspect import signature
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import numpy as np

import nn
from minigrad import backend
from minigrad.scopes import here
from nn.losses.elementwise import array_beside
from nn.sequences.packing import checked_lengths
from nn.training.files import StrPath

from ..files import Document, kinds_of, parse_json
from ..padding import sequence_mask
from ..tokenizers import Tokenizer
from ..vocabulary import Vocabulary
from .changes import change, changes_of, made_like
from .layers import Claim, Layers

Array = Any
Text = Tokenizer | Vocabulary
KEY, VERSION = "nlp.model", 1  # a file's metadata hold the model's arguments under KEY
UNSAID = ("self", "__class__", "device", "dtype")  # arguments that are stored elsewhere, or not at all


class Model(nn.Module):
    """Base class of the models: a module that stores the arguments of its constructor.

    given  `locals()` at the beginning of a subclass's `__init__`: its arguments

    texts  the tokenizers and vocabularies passed to `save`, by name: they turn text into the model's ids
    """

    resized: ClassVar[Mapping[str, str]] = {}  # embeddings that may be replaced, with the argument for their size

    def __init_subclass__(cls) -> None:
        init = cls.__init__

        @wraps(init)
        def make(self: Any, *args: Any, **kwargs: Any) -> None:
            init(self, *args, **kwargs)
            if type(self) is cls:
                self._made = made_like(self)

        cls.__init__ = make  # type: ignore[assignment, method-assign]

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__()
        self._made: dict[str, Any] = {}
        self.options = {name: _plain(value) for name, value in given.items() if name not in UNSAID}
        self.texts: dict[str, Text] = {}

    def save(self, path: StrPath, **texts: Text) -> None:
        """Write the model into one safetensors file, atomically: weights, constructor arguments, and texts.

        texts  tokenizers and vocabularies, by the names that the loaded model's `texts` will have; those that the model
               has already are written, too

        Changes since construction are included: replaced embeddings with their size and padding, frozen weights, rates
        of dropout. Functions among the arguments (a user's cell) are not written; `load` asks for them. Raises
        TypeError for texts of another kind, ValueError for a change that the file cannot record, such as another layer,
        OSError if the file cannot be written.
        """
        for name, text in texts.items():
            if not isinstance(text, Tokenizer | Vocabulary):
                raise TypeError(f"{self._name}.save: {name} is a {type(text).__name__}, not a tokenizer or vocabulary")
        self.texts |= texts
        options = {name: None if callable(value) else value for name, value in self.options.items()}
        changes = changes_of(f"{self._name}.save", self, self._made, self.resized, options)
        content = {
            "format": f"nlp.{self._name}",
            "version": VERSION,
            "options": options,
            "changes": changes,
            "functions": [name for name, value in self.options.items() if callable(value)],
            "texts": {name: text.to_json() for name, text in self.texts.items()},
        }
        nn.save(self, path, {KEY: json.dumps(content, allow_nan=False)})

    @classmethod
    def load(cls, path: StrPath, *, device: str = "cpu", **functions: Any) -> Self:
        """Load a model written by `save`, in evaluation mode. `nlp.models.Model.load` reads any class of model.

        functions  the functions among the constructor's arguments, by name

        Raises OSError if there is no such file; ValueError, with its name, if it is damaged, of another version, holds
        a model of another class, or asks for functions that were not given.
        """
        metadata = nn.load_metadata(path)
        if KEY not in metadata:
            raise ValueError(f"{os.fspath(path)} holds weights only; load a file written by {cls.__name__}.save")
        document = Document(os.fspath(path), parse_json(os.fspath(path), metadata[KEY]))
        content = document.content
        kinds = {f"nlp.{kind.__name__}": kind for kind in (cls, *kinds_of(cls))}
        kind = kinds.get(document.get("format", str))
        if kind is None:
            document.fail(f"it holds a model of the kind {content['format']}, not {cls.__name__}")
        document.demand_format(content["format"], VERSION)
        expected = document.get_list("functions", str)
        if set(expected) != set(functions):
            document.fail(
                f"the model was made with functions for {', '.join(expected) or 'nothing'}, and load was given "
                f"{', '.join(functions) or 'none'}; it needs the same ones, by name"
            )
        weights = nn.load(path, device)
        floats = Counter(w.dtype for w in weights.values() if w.dtype.kind == "f")
        dtype = max(floats, key=floats.__getitem__, default=None)
        options = document.get("options", dict)
        try:
            given = signature(kind.__init__).bind(None, **{**options, **functions})
            given.apply_defaults()
            _compare(kind._claims(SimpleNamespace(**given.arguments)), {name: w.shape for name, w in weights.items()})
            made = kind(**{**options, **functions}, device=device, dtype=dtype)  # type: ignore
            if dtype is not None:
                made.to(dtype)  # cells from a function do not know it
            made.load_state_dict(weights)
            for name, weight in made.named_parameters():  # a replaced embedding may have another dtype
                if weight.dtype != weights[name].dtype:
                    weight.data = weights[name].data
        except (TypeError, ValueError, OverflowError, MemoryError) as error:
            document.fail(f"its arguments and its tensors do not agree: {error}")
        if "changes" in content:
            change(made, document.get_object("changes"))
        texts = document.get_object("texts")
        for name in texts.content:
            made.texts[name] = _text_of(texts.get_object(name))
        return made.eval()

    @classmethod
    def _claims(cls, o: Any) -> Iterator[Claim]:
        """The shapes of tensors that the arguments `o` imply, checked before anything is allocated."""
        yield from ()

    def checked(self, ids: Any, like: Any, what: str = "ids", ndim: int | None = 2) -> Array:
        """Ids as an array of integers on the weights' device; errors describe the expected form.

        Raises TypeError if they are not integers, ValueError for another number of axes (any is valid for None).
        """
        try:
            array = backend.transfer(array_beside(ids, like), like.device)
        except ValueError as error:
            if "inhomogeneous" not in str(error):
                raise
            raise ValueError(
                f"{self._name}: {what} of unequal lengths are not an array (T, N); nlp.pad makes one of them, with "
                f"their lengths{here()}"
            ) from error
        if not array.size:  # an empty list has no dtype
            array = array.astype(np.intp)
        if array.dtype.kind not in "iu":
            raise TypeError(f"{self._name}: {what} must be integers, not {array.dtype}{here()}")
        if ndim is not None and array.ndim != ndim:
            axes = "(T, N)" if ndim == 2 else "(N,)" if ndim == 1 else f"of {ndim} axes"
            raise ValueError(f"{self._name}: {what} must be {axes}, not {array.shape}{here()}")
        return array

    def batch_of(self, words: Any, what: str = "ids", least: int = 0) -> tuple[Array, Array | None]:
        """The ids (T, N) of a batch on the weights' device, and its lengths (N,) on the CPU; None if all are T.

        words  a `Padded`, or another pair (ids, lengths); or ids alone
        least  the shortest valid length

        Raises the errors of `checked`, and ValueError for lengths outside `least` to T.
        """
        ids, lengths = words if isinstance(words, tuple) and len(words) == 2 else (words, None)
        ids = self.checked(ids, next(self.parameters()), what)
        T, N = ids.shape
        if lengths is not None:
            lengths = checked_lengths(f"{self._name}: {what}", lengths, T, N)
        shortest = T if lengths is None else int(lengths.min(initial=T))
        if shortest < least:
            which = 0 if lengths is None else int(lengths.argmin())
            raise ValueError(
                f"{self._name}: {what} must be at least {least} long; sequence {which} has {shortest}{here()}"
            )
        return ids, lengths

    @property
    def _name(self) -> str:
        return type(self).__name__


def _compare(claims: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ValueError unless a file's tensors have the shapes implied by its arguments: a file may lie, and must not
    cause an allocation larger than the file itself."""
    for claim in claims:
        if isinstance(claim, Layers):
            claim.check(shapes)
            continue
        name, claimed = claim
        found = shapes.get(name, ())
        if len(found) != len(claimed) or any(n not in (None, m) for n, m in zip(claimed, found, strict=True)):
            raise ValueError(f"{name} would be {claimed}, and the file has {found or 'none'}")


def _plain(value: Any) -> Any:
    """A NumPy number as a Python number, which a file can hold."""
    return value.item() if isinstance(value, np.generic) else value


def _text_of(document: Document) -> Text:
    """A tokenizer or a vocabulary, depending on the document."""
    if document.content.get("format") == "nlp.Vocabulary":
        return Vocabulary.from_json(document)
    return Tokenizer.from_json(document)


def real_steps(lengths: Any, T: int, like: Any) -> Array | None:
    """(T, N) True in the first `lengths` steps, on a Tensor's device; None if all are real."""
    return None if lengths is None else backend.transfer(sequence_mask(lengths, T), like.device)


def ids_within(title: str, size: int, **ids: int | None) -> None:
    """Raise ValueError for an id outside the `size` ids of a vocabulary."""
    for name, i in ids.items():
        if i is not None and (isinstance(i, bool) or not isinstance(i, int | np.integer) or not 0 <= i < size):
            raise ValueError(f"{title}: {name} must be one of the {size} ids from 0 to {size - 1}, not {i!r}")


def positive(title: str, **sizes: Any) -> None:
    """Raise ValueError unless all sizes are positive integers."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"{title}: {name} must be a positive integer, not {size!r}")

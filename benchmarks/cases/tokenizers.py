"""Tokenizers: learning 8,000 byte pairs, and encoding, on 5 MB of text.

The text is PTB's or the beginning of WikiText-2's (more different words), if MINIGRAD_DATA names the folder, else
Python's documentation, which is smaller. It is given as lines. Our caches are cleared in each call; Hugging Face's
library keeps its cache from call to call, and uses all cores for a batch. Its encodings hold tokens and offsets as
well, unless told to leave the offsets out.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from nlp import BPETokenizer, CharTokenizer, NGramTokenizer, Tokenizer, WordTokenizer, python_documentation, read_text

from ..compare import WHOLE_CALL, Call, Case

DATA = os.environ.get("MINIGRAD_DATA")
CORPORA = {"PTB": "ptb/ptb.train.txt", "WikiText-2": "wikitext-2/wiki.train.tokens.txt.gz"} if DATA else {"Python": ""}
SIZE, VOCABULARY = 5_000_000, 8000
MEGABYTES = 5 if DATA else 1


@cache
def lines_of(corpus: str) -> list[str]:
    text = read_text(Path(DATA, CORPORA[corpus])) if DATA else python_documentation() * 3
    return text.encode()[: MEGABYTES * 1_000_000].decode(errors="ignore").split("\n")


# ---- byte pairs --------------------------------------------------------------------------------------------------


def make() -> BPETokenizer:
    return BPETokenizer(VOCABULARY, min_freq=2, pad=None, bos=None, eos=None)


@cache
def fitted(corpus: str) -> BPETokenizer:
    return make().fit(lines_of(corpus))


def learning(corpus: str) -> Call:
    lines = lines_of(corpus)

    def call() -> list[Any]:
        merges = make().fit(lines)._merges
        return [np.array([[a, b] for a, b in merges])]

    return call


def learning_there(corpus: str) -> Call:
    from tokenizers import Tokenizer as Theirs
    from tokenizers import models, pre_tokenizers, trainers

    lines = lines_of(corpus)

    def call() -> list[Any]:
        t = Theirs(models.BPE())
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        t.train_from_iterator(lines, trainers.BpeTrainer(
            vocab_size=VOCABULARY, min_frequency=2, initial_alphabet=alphabet, show_progress=False
        ))  # fmt: skip
        merges = json.loads(t.to_str())["model"]["merges"]
        return [np.array([[t.token_to_id(a), t.token_to_id(b)] for a, b in merges])]

    return call


def encoding_there(corpus: str, method: str) -> Call:
    from tokenizers import Tokenizer as Theirs

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "tokenizer.json")
        fitted(corpus).save(path)
        t = Theirs.from_file(path)
    encode, lines = getattr(t, method), lines_of(corpus)

    def call() -> list[Any]:
        return [np.concatenate([encoding.ids for encoding in encode(lines)]).astype(np.int64)]

    return call


# ---- encoding by all tokenizers ----------------------------------------------------------------------------------


def encoding(corpus: str, of: Callable[[str], Tokenizer]) -> Call:
    t, lines = of(corpus), lines_of(corpus)

    def call() -> list[Any]:
        t._known.clear()
        return [np.concatenate(t.encode_batch(lines))]

    return call


def in_plain_python(corpus: str, of: Callable[[str], Tokenizer], cut: Callable[[str], list[str]]) -> Call:
    """The same in a few lines of plain Python."""
    v, lines = of(corpus).vocabulary, lines_of(corpus)
    ids, unknown = {token: i for i, token in enumerate(v.tokens)}, v.unk_id

    def call() -> list[Any]:
        found = [np.array([ids.get(token, unknown) for token in cut(line)], np.int64) for line in lines]
        return [np.concatenate(found)]

    return call


@cache
def words(corpus: str) -> Tokenizer:
    return WordTokenizer("spaces", max_size=10_000).fit(lines_of(corpus))


@cache
def characters(corpus: str) -> Tokenizer:
    return CharTokenizer().fit(lines_of(corpus))


@cache
def pairs(corpus: str) -> Tokenizer:
    return NGramTokenizer(2).fit(lines_of(corpus))


CASES = [
    case
    for corpus in CORPORA
    for case in (
        Case(f"tokenizers: learning 8,000 byte pairs, {corpus}",
             {"minigrad": partial(learning, corpus), "tokenizers": partial(learning_there, corpus)}, memory=WHOLE_CALL),
        Case(f"tokenizers: encoding byte pairs, {corpus}",
             {"minigrad": partial(encoding, corpus, fitted),
              "tokenizers": partial(encoding_there, corpus, "encode_batch"),
              "tokenizers, without places": partial(encoding_there, corpus, "encode_batch_fast")},
             per=MEGABYTES, unit="MB"),
        Case(f"tokenizers: encoding words, {corpus}",
             {"minigrad": partial(encoding, corpus, words),
              "plain Python": partial(in_plain_python, corpus, words, str.split)}, per=MEGABYTES, unit="MB"),
        Case(f"tokenizers: encoding characters, {corpus}",
             {"minigrad": partial(encoding, corpus, characters),
              "plain Python": partial(in_plain_python, corpus, characters, list)}, per=MEGABYTES, unit="MB"),
        Case(f"tokenizers: encoding 2-grams, {corpus}",
             {"minigrad": partial(encoding, corpus, pairs)}, per=MEGABYTES, unit="MB"),
    )
]  # fmt: skip

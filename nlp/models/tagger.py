"""The tagger: from a sequence to one of the same length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

import minigrad as mg
import nn
from minigrad import backend
from minigrad.scopes import here
from nn.losses.elementwise import array_beside
from nn.sequences.mappings import last_state

from ..decoding.protocol import evaluating
from ..lists import refuse_text
from ..padding import pad
from ..vocabulary import Vocabulary
from .layers import Cell, Claim, Layers, make_layers, vectors_of
from .model import Model, positive, real_steps

Array = Any


class Spelled(NamedTuple):
    """The words of a batch as characters.

    ids      (C, U) of the U different words, the longest of which has C characters
    lengths  (U,)
    places   (T, N) the number of each word among these; 0 at padding
    """

    ids: Array
    lengths: Array
    places: Array


def spell(sentences: Sequence[Sequence[str]], characters: Vocabulary) -> Spelled:
    """The words of N sentences as characters, each different word once: `characters=` of a `SequenceTagger`.

    >>> characters = Vocabulary.of(list("abc"))
    >>> ids, lengths, places = spell([["ab", "c"], ["c"]], characters)
    >>> ids.tolist(), lengths.tolist(), places.tolist()
    ([[0, 2], [1, 0]], [2, 1], [[0, 1], [1, 0]])

    Words without characters and sentences without words are allowed. Raises KeyError for an unknown character if the
    vocabulary has no `unk`, TypeError for a string in place of a list.
    """
    refuse_text("spell", "sentences", sentences, '[["I", "go"]]')
    for n, words in enumerate(sentences):
        refuse_text("spell", f"sentence {n}", words, '["I", "go"]')
    number = {word: n for n, word in enumerate(dict.fromkeys(word for words in sentences for word in words))}
    ids, lengths = pad([characters.encode(list(word)) for word in number] or [[]])  # at least one word, for `places`
    places = pad([[number[word] for word in words] for words in sentences] or [[]]).values
    return Spelled(ids, lengths, places[:, : len(sentences)])


class SequenceTagger(Model):
    """p(t_1 … t_T | w_1 … w_T), a tag for each word (Huang et al. 2015, Lample et al. 2016):

        words ────── embedding ──────────────────┐
        characters ─ embedding ─ LSTM, both ways ─┴─ dropout ─ layers ─ dropout ─ out ─ emissions ─ CRF

    vocab_size        V
    num_tags          K
    embedding_size    of the words. For pretrained vectors, set `model.embedding` to `nn.Embedding.from_pretrained(...)`
    hidden_size       H of each layer and direction
    num_layers        layers, one above the other
    cell              "lstm", "gru", "rnn", or a function (input_size, hidden_size) that makes any cell
    bidirectional     read in both directions
    crf               tags are a chain (`nn.CRF`); without it, each is chosen separately
    constraints       allowed transitions, first tags and last tags, as from `nlp.tag_constraints`: (K, K), (K,) and
                      (K,) booleans, or the first of them alone. Needs the CRF
    characters        the number of characters; None: words are not spelled
    character_size    of their embedding
    character_hidden  of each direction over them
    dropout           of a word's vector, between layers, and before the emissions

    Words and tags are batches: a `Padded` (T, N) with lengths, or ids alone if all sequences are T long. Characters
    come from `nlp.spell`.

    >>> import nlp
    >>> model = nlp.SequenceTagger(20, 3, embedding_size=8, hidden_size=8)
    >>> words, tags = nlp.pad([[4, 5, 6], [7, 8]]), nlp.pad([[0, 1, 2], [2, 0]])
    >>> model.loss(words, tags).backward()
    >>> [len(found) for found in model.eval().predict(words)]
    [3, 2]
    """

    resized: ClassVar[Mapping[str, str]] = {"embedding": "vocab_size", "characters": "characters"}

    def __init__(
        self, vocab_size: int, num_tags: int, embedding_size: int = 100, hidden_size: int = 100, num_layers: int = 1,
        *, cell: Cell = "lstm", bidirectional: bool = True, crf: bool = True, constraints: Any = None,
        characters: int | None = None, character_size: int = 25, character_hidden: int = 25, dropout: float = 0.0,
        device: str = "cpu", dtype: Any = None,
    ) -> None:  # fmt: skip
        constraints = None if constraints is None else [np.asarray(part).tolist() for part in constraints]
        super().__init__(locals())
        positive("SequenceTagger", vocab_size=vocab_size, num_tags=num_tags, num_layers=num_layers)
        if constraints is not None and not crf:
            raise ValueError("SequenceTagger: constraints are the CRF's, and there is none")
        made = {"device": device, "dtype": dtype}
        self.dropout = nn.Dropout(dropout)
        self.embedding = nn.Embedding(vocab_size, embedding_size, **made)
        self.characters = self.spelling = None
        if characters is not None:
            positive("SequenceTagger", characters=characters)
            self.characters = nn.Embedding(characters, character_size, **made)
            self.spelling = nn.LSTM(character_size, character_hidden, bidirectional=True, **made)
        width = embedding_size + (0 if characters is None else 2 * character_hidden)
        self.layers = make_layers(
            cell, width, hidden_size, num_layers, dropout=dropout, bidirectional=bidirectional, **made
        )
        self.out = nn.Linear(hidden_size * (1 + bidirectional), num_tags, **made)
        self.crf = nn.CRF(num_tags, constraints=constraints, **made) if crf else None
        self.criterion = nn.CrossEntropyLoss()

    @classmethod
    def _claims(cls, o: Any) -> Iterator[Claim]:
        yield "embedding.weight", (o.vocab_size, o.embedding_size)
        directions, width = 1 + bool(o.bidirectional), o.embedding_size
        if o.characters is not None:
            width += 2 * o.character_hidden
            yield "characters.weight", (o.characters, o.character_size)
            yield Layers("spelling", "lstm", o.character_size, o.character_hidden, 1, 2)
        yield Layers("layers", o.cell, width, o.hidden_size, o.num_layers, directions)
        yield "out.weight", (o.num_tags, o.hidden_size * directions)
        if o.crf:
            yield "crf.transitions", (o.num_tags, o.num_tags)

    def forward(self, words: Any, characters: Spelled | None = None) -> Any:
        """Emissions (T, N, K): the score of each tag for each word; without a CRF, logits."""
        ids, lengths = self.batch_of(words, "words")
        if (self.spelling is None) != (characters is None):
            raise ValueError(
                "SequenceTagger: it was made without characters, and they were given" + here()
                if characters is not None
                else f"SequenceTagger: it was made with characters; give them, characters=nlp.spell(...){here()}"
            )
        if characters is None:
            vectors = vectors_of(self.embedding, ids, self.dropout)
        else:
            vectors = self.dropout(np.concatenate([self.embedding(ids), self._spelled(characters, ids)], axis=-1))
        outputs, _ = self.layers(vectors, lengths=lengths)
        return self.out(self.dropout(outputs))

    def _spelled(self, characters: Spelled, ids: Array) -> Any:
        """Each word's vector from its characters, (T, N, ·): the last states of both directions (Ling et al. 2015)."""
        assert self.characters is not None
        spelled, lengths, places = characters
        if np.shape(places) != ids.shape:
            raise ValueError(
                f"SequenceTagger: the characters are those of words {np.shape(places)}, not {ids.shape}{here()}"
            )
        letters = self.characters(self.checked(spelled, self.characters.weight, "characters"))
        _, state = self.spelling(letters, lengths=lengths)  # type: ignore[misc]
        of_words: Any = last_state(self.spelling, state)  # (U, ·)
        return mg.embedding(of_words, self.checked(places, of_words, "places"))

    def loss(self, words: Any, tags: Any, characters: Spelled | None = None) -> Any:
        """Mean of −log p over the sequences with a CRF, over the words without.

        tags  with the lengths of the words

        Raises ValueError for other lengths, IndexError for a tag outside the K tags.
        """
        emissions = self(words, characters)
        gold, lengths = self._tags(words, tags, emissions)
        real = real_steps(lengths, emissions.shape[0], emissions)
        if self.crf is not None:
            return self.crf(emissions, gold, real)
        return self.criterion(emissions, gold, real)

    def _tags(self, words: Any, tags: Any, emissions: Any) -> tuple[Array, Array | None]:
        """The tags (T, N) on the device of the emissions, and the lengths of the words; errors if they differ."""
        _, lengths = self.batch_of(words, "words")
        gold, of_tags = self.batch_of(tags, "tags")
        if gold.shape != emissions.shape[:2]:
            raise ValueError(
                f"SequenceTagger: tags are {gold.shape}, but there are words {emissions.shape[:2]}{here()}"
            )
        T, N = gold.shape
        words_of = np.full(N, T) if lengths is None else lengths
        if of_tags is not None and not np.array_equal(of_tags, words_of):
            n = int(np.argmax(of_tags != words_of))
            raise ValueError(
                f"SequenceTagger: sentence {n} has {int(words_of[n])} words, but {int(of_tags[n])} tags{here()}"
            )
        return backend.transfer(array_beside(gold, emissions), emissions.device), lengths

    def predict(self, words: Any, characters: Spelled | None = None) -> list[list[int]]:
        """The likeliest tags of each sentence, with a CRF those of the whole chain (Viterbi), without recording or
        dropout."""
        _, lengths = self.batch_of(words, "words")
        with evaluating(self):
            emissions = self(words, characters)
            if self.crf is not None:
                return self.crf.viterbi(emissions, real_steps(lengths, emissions.shape[0], emissions))[0]
            best = backend.to_numpy(np.argmax(emissions.data, axis=-1)).T.tolist()  # (N, T)
        ends = [len(tags) for tags in best] if lengths is None else lengths.tolist()
        return [tags[:end] for tags, end in zip(best, ends, strict=True)]

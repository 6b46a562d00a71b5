"""The classifier and the tagger against the same models written plainly in PyTorch: loss and every gradient, with
copied weights, over sentences of unequal lengths, which PyTorch packs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import nlp
import nn

pytestmark = pytest.mark.parity
F = torch.nn.functional

V, E, H, K = 11, 5, 6, 4
LAYERS = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}
SENTENCES = [["cab", "a", "dad", "cab"], ["fed"], ["a", "bed", "ace"]]
LETTERS = nlp.Vocabulary.of(list("abcdef"))
WORDS = nlp.pad([[4, 5, 6, 3], [7], [9, 8, 4]], 10)
TAGS = nlp.pad([[0, 2, 3, 1], [2], [1, 0, 3]], 1)
LABELS = np.array([2, 0, 1])

Weights = dict[str, torch.Tensor]


def weights_of(ours: nn.Module) -> Weights:
    """Leaves of PyTorch with a model's weights, by name, after all biases and scores of tags became random."""
    for name, weight in ours.named_parameters():
        if "bias" in name or "crf" in name:
            nn.init.uniform_(weight, -0.5, 0.5)
    return {name: torch.tensor(w.numpy().copy(), requires_grad=True) for name, w in ours.state_dict().items()}


def check(ours: nn.Module, loss: Any, theirs: torch.Tensor, weights: Weights) -> None:
    np.testing.assert_allclose(loss.item(), theirs.item(), rtol=1e-12)
    loss.backward()
    theirs.backward()
    for name, w in ours.named_parameters():
        expected = weights[name].grad
        assert expected is not None, name
        np.testing.assert_allclose(w.grad.numpy(), expected.numpy(), rtol=1e-9, atol=1e-13, err_msg=name)


def recurrent(
    kind: str, w: Weights, prefix: str, x: torch.Tensor, lengths: Any, layers: int = 1, both: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """PyTorch's own layer over a packed batch: outputs (T, N, ·), and h of the top layer's last states, (N, ·)."""
    hidden = w[f"{prefix}weight_hh_l0"].shape[1]
    layer = LAYERS[kind](x.shape[-1], hidden, layers, bidirectional=both).double()
    mine = {name.removeprefix(prefix): value for name, value in w.items() if name.startswith(prefix)}
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    outputs, state = torch.func.functional_call(layer, mine, (packed,))  # itself a tuple
    h = state[0] if kind == "lstm" else state
    return torch.nn.utils.rnn.pad_packed_sequence(outputs)[0], torch.cat([*h[-2:]], -1) if both else h[-1]


@pytest.mark.parametrize("pooling", ["last", "max", "mean"])
@pytest.mark.parametrize(("kind", "layers", "both"), [("lstm", 1, True), ("gru", 2, True), ("rnn", 2, False)])
def test_classifier(kind: str, layers: int, both: bool, pooling: Any) -> None:
    ours = nlp.SequenceClassifier(
        V, 3, E, H, layers, cell=kind, bidirectional=both, pooling=pooling, mlp=[7], dtype=np.float64
    )
    w = weights_of(ours)
    x = F.embedding(torch.tensor(WORDS.values), w["embedding.weight"])
    outputs, last = recurrent(kind, w, "layers.", x, WORDS.lengths, layers, both)
    real = torch.tensor(WORDS.mask)[..., None]
    h = {
        "last": last,
        "max": outputs.masked_fill(~real, -torch.inf).max(dim=0).values,
        "mean": (outputs * real).sum(0) / torch.tensor(WORDS.lengths)[:, None],
    }[pooling]
    h = F.relu(F.linear(h, w["mlp.1.weight"], w["mlp.1.bias"]))
    logits = F.linear(h, w["mlp.4.weight"], w["mlp.4.bias"])
    check(ours, ours.loss(WORDS, LABELS), F.cross_entropy(logits, torch.tensor(LABELS)), w)


def log_likelihood(w: Weights, e: torch.Tensor, tags: torch.Tensor, allowed: list[torch.Tensor] | None) -> torch.Tensor:
    """log p of the tags (T,) of one sentence with emissions (T, K): the forward algorithm over its own steps."""
    scores = [w["crf.start"], w["crf.transitions"], w["crf.end"]]
    if allowed is not None:
        scores = [s.masked_fill(~may, -torch.inf) for s, may in zip(scores, allowed, strict=True)]
    start, transitions, end = scores
    alpha, score = start + e[0], start[tags[0]] + e[0, tags[0]]
    for t in range(1, len(e)):
        alpha = torch.logsumexp(alpha[:, None] + transitions, 0) + e[t]
        score = score + transitions[tags[t - 1], tags[t]] + e[t, tags[t]]
    return score + end[tags[-1]] - torch.logsumexp(alpha + end, 0)


@pytest.mark.parametrize("loss", ["softmax", "crf", "constrained crf"])
@pytest.mark.parametrize("characters", [False, True])
@pytest.mark.parametrize(("kind", "layers", "both"), [("lstm", 1, True), ("gru", 2, True), ("rnn", 1, False)])
def test_tagger(kind: str, layers: int, both: bool, characters: bool, loss: str) -> None:
    allowed = None
    if loss == "constrained crf":
        first, follows, last = np.array([1, 1, 1, 0], bool), ~np.eye(K, dtype=bool), np.array([0, 1, 1, 1], bool)
        allowed = [torch.tensor(part) for part in (first, follows, last)]
    ours = nlp.SequenceTagger(
        V, K, E, H, layers, cell=kind, bidirectional=both, crf=loss != "softmax",
        constraints=None if allowed is None else (follows, first, last), characters=6 if characters else None,
        character_size=3, character_hidden=4, dtype=np.float64,
    )  # fmt: skip
    w = weights_of(ours)
    x = F.embedding(torch.tensor(WORDS.values), w["embedding.weight"])
    if characters:  # every word of every sentence by itself, and zeros after a sentence's end
        letters = nlp.pad([LETTERS.encode(list(word)) for sentence in SENTENCES for word in sentence])
        spelled = F.embedding(torch.tensor(letters.values), w["characters.weight"])
        _, last_states = recurrent("lstm", w, "spelling.", spelled, letters.lengths)
        places = [(t, n) for n, sentence in enumerate(SENTENCES) for t in range(len(sentence))]
        of_words = x.new_zeros((*WORDS.values.shape, 8)).index_put(tuple(torch.tensor(places).T), last_states)
        x = torch.cat([x, of_words], -1)
    outputs, _ = recurrent(kind, w, "layers.", x, WORDS.lengths, layers, both)
    emissions = F.linear(outputs, w["out.weight"], w["out.bias"])
    gold = torch.tensor(TAGS.values)
    if loss == "softmax":
        gold = gold.masked_fill(~torch.tensor(TAGS.mask), -100)
        theirs = F.cross_entropy(emissions.reshape(-1, K), gold.reshape(-1))
    else:
        each = [log_likelihood(w, emissions[:n, k], gold[:n, k], allowed) for k, n in enumerate(TAGS.lengths)]
        theirs = -torch.stack(each).mean()
    assert theirs.isfinite()
    check(ours, ours.loss(WORDS, TAGS, nlp.spell(SENTENCES, LETTERS) if characters else None), theirs, w)

"""The models against the same models written plainly in PyTorch: loss and every gradient, with copied weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import nlp
import nn

pytestmark = pytest.mark.parity
F = torch.nn.functional

S, V, E, H = 13, 11, 5, 6
SOURCE = nlp.pad([[4, 5, 6, 3], [7, 8], [9]])
TARGET = nlp.pad([[1, 9, 2], [1, 9, 8, 7, 2], [1, 2]])


def randomised(model: Any) -> Any:
    """With biases that are not zero."""
    for name, weight in model.named_parameters():
        if "bias" in name:
            nn.init.uniform_(weight, -0.5, 0.5)
    return model


def copied(ours: nn.Module) -> dict[str, torch.Tensor]:
    """The weights of a model as leaves of PyTorch, by name; tied ones are one leaf."""
    leaves: dict[int, torch.Tensor] = {}
    found = {}
    for name, w in ours.state_dict().items():
        key = w.data.ctypes.data
        leaves.setdefault(key, torch.tensor(w.numpy().copy(), requires_grad=True))
        found[name] = leaves[key]
    return found


def load(module: torch.nn.Module, weights: dict[str, torch.Tensor], prefix: str) -> torch.nn.Module:
    """A module of PyTorch whose parameters are these leaves."""
    for name, _ in list(module.named_parameters()):
        setattr(module, name, None)
        del module._parameters[name]
        setattr(module, name, weights[prefix + name])
    return module


def check(ours: nn.Module, loss: Any, theirs: torch.Tensor, weights: dict[str, torch.Tensor]) -> None:
    np.testing.assert_allclose(loss.item(), theirs.item(), rtol=1e-12)
    ours.zero_grad()
    loss.backward()
    theirs.backward()
    for name, w in ours.named_parameters():
        expected = weights[name].grad
        assert expected is not None, name
        np.testing.assert_allclose(w.grad.numpy(), expected.numpy(), rtol=1e-9, atol=1e-13, err_msg=name)


def cross_entropy(logits: torch.Tensor, target: Any, lengths: Any, smoothing: float = 0.0) -> torch.Tensor:
    """Over what comes after the first token, within each sequence."""
    gold = torch.tensor(np.where(np.arange(len(target))[:, None] < lengths, target, -100)[1:])
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), gold.reshape(-1), label_smoothing=smoothing)


def cell_of(kind: str, weights: dict[str, torch.Tensor], prefix: str) -> Any:
    """A step (x, state) -> state of PyTorch's cell with these weights; the state is a tuple."""
    names = [f"{prefix}{n}" for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    w = [weights[name] for name in names]

    def step(x: torch.Tensor, state: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        if kind == "lstm":
            return torch._VF.lstm_cell(x, state, *w)  # type: ignore[no-any-return]
        return (torch._VF.gru_cell(x, state[0], *w),)

    return step


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_language_model(kind: str, tied: bool) -> None:
    ours = randomised(nlp.LanguageModel(V, E, 7, 2, cell=kind, tied=tied, dtype=np.float64))
    w = copied(ours)
    rng = np.random.default_rng(1)
    ids, targets = rng.integers(0, V, (2, 6, 3))
    layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[kind](E, 7, 2)
    start = [torch.tensor(rng.standard_normal((2, 3, 7))) for _ in range(1 + (kind == "lstm"))]
    load(layer, w, "layers.")
    h, _ = layer(F.embedding(torch.tensor(ids), w["embedding.weight"]), tuple(start) if kind == "lstm" else start[0])
    if tied:
        h = F.linear(h, w["project.weight"], w["project.bias"])
    logits = F.linear(h, w["out.weight"], w["out.bias"])
    theirs = F.cross_entropy(logits.reshape(-1, V), torch.tensor(targets).reshape(-1))
    state = tuple(s.numpy() for s in start)
    loss, _ = ours.loss(ids, targets, state if kind == "lstm" else state[0])
    check(ours, loss, theirs, w)


def encoded(w: dict[str, torch.Tensor], kind: str, layers: int, bidirectional: bool) -> tuple[Any, Any]:
    """PyTorch's packed encoder: outputs (S, N, K), and the last state, (layers · directions, N, H) each."""
    layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind](E, H, layers, bidirectional=bidirectional)
    load(layer, w, "encoder.")
    x = F.embedding(torch.tensor(SOURCE.values), w["embedding.weight"])
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(SOURCE.lengths), enforce_sorted=False)
    outputs, state = layer(packed)
    return torch.nn.utils.rnn.pad_packed_sequence(outputs)[0], state if isinstance(state, tuple) else (state,)


def attended(scores: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
    """Context (N, K) of scores (N, S) over outputs (S, N, K)."""
    real = torch.tensor(SOURCE.mask.T)
    return torch.einsum("ns,snk->nk", scores.masked_fill(~real, -torch.inf).softmax(-1), outputs)


@pytest.mark.parametrize("readout", [None, 7])
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_bahdanau(kind: str, readout: int | None) -> None:
    ours = randomised(
        nlp.Seq2Seq(S, V, E, H, bos_id=1, eos_id=2, cell=kind, readout_size=readout, label_smoothing=0.1,
                    dtype=np.float64)
    )  # fmt: skip
    w = copied(ours)
    outputs, state = encoded(w, kind, 1, True)
    s = tuple(
        torch.tanh(F.linear(torch.cat([part[0], part[1]], -1), w[f"bridge.maps.0.{k}.weight"],
                            w[f"bridge.maps.0.{k}.bias"])) for k, part in enumerate(state)
    )  # fmt: skip
    step, logits = cell_of(kind, w, "decoder.cells.0."), []
    for t in range(len(TARGET.values) - 1):
        y = F.embedding(torch.tensor(TARGET.values[t]), w["decoder.embedding.weight"])
        z = torch.tanh(
            F.linear(s[0], w["decoder.attention.query.weight"])[:, None]
            + F.linear(outputs, w["decoder.attention.key.weight"]).transpose(0, 1)
        )  # (N, S, H)
        c = attended(F.linear(z, w["decoder.attention.v.weight"])[..., 0], outputs)
        s = step(torch.cat([y, c], -1), s)
        r = torch.cat([s[0], c, y], -1)
        if readout:
            r = torch.tanh(F.linear(r, w["decoder.readout.weight"], w["decoder.readout.bias"]))
        logits.append(F.linear(r, w["decoder.out.weight"], w["decoder.out.bias"]))
    theirs = cross_entropy(torch.stack(logits), TARGET.values, TARGET.lengths, 0.1)
    check(ours, ours.loss(SOURCE, TARGET), theirs, w)


@pytest.mark.parametrize("feeding", [False, True])
@pytest.mark.parametrize("kind", ["dot", "general"])
def test_luong(kind: str, feeding: bool) -> None:
    """Two layers of LSTM, the encoder's last states copied, the readout tied to the embedding."""
    ours = randomised(
        nlp.Seq2Seq(S, V, E, H, 2, 2, bos_id=1, eos_id=2, cell="lstm", bidirectional=False, bridge="copy",
                    attention=kind, input_feeding=feeding, tied="output", dtype=np.float64)
    )  # fmt: skip
    w = copied(ours)
    outputs, (h, c) = encoded(w, "lstm", 2, False)
    states = [(h[0], c[0]), (h[1], c[1])]
    steps = [cell_of("lstm", w, f"decoder.cells.{k}.") for k in range(2)]
    r, logits = torch.zeros(3, E, dtype=torch.float64), []
    for t in range(len(TARGET.values) - 1):
        x = F.embedding(torch.tensor(TARGET.values[t]), w["decoder.embedding.weight"])
        x = torch.cat([x, r], -1) if feeding else x
        for k in range(2):
            states[k] = steps[k](x, states[k])
            x = states[k][0]
        keys = outputs if kind == "dot" else F.linear(outputs, w["decoder.attention.key.weight"])
        context = attended(torch.einsum("nh,snh->ns", x, keys), outputs)
        r = torch.tanh(F.linear(torch.cat([x, context], -1), w["decoder.readout.weight"], w["decoder.readout.bias"]))
        logits.append(F.linear(r, w["decoder.embedding.weight"], w["decoder.out.bias"]))
    theirs = cross_entropy(torch.stack(logits), TARGET.values, TARGET.lengths)
    check(ours, ours.loss(SOURCE, TARGET), theirs, w)


def test_cho() -> None:
    """Without attention: the encoder's last state is a part of every input and of every readout."""
    ours = randomised(
        nlp.Seq2Seq(S, V, E, H, bos_id=1, eos_id=2, attention=None, context=True, bidirectional=False, bridge="copy",
                    dtype=np.float64)
    )  # fmt: skip
    w = copied(ours)
    _, (h,) = encoded(w, "gru", 1, False)
    s, step, logits = (h[0],), cell_of("gru", w, "decoder.cells.0."), []
    for t in range(len(TARGET.values) - 1):
        y = F.embedding(torch.tensor(TARGET.values[t]), w["decoder.embedding.weight"])
        s = step(torch.cat([y, h[0]], -1), s)
        r = torch.cat([s[0], h[0], y], -1)
        logits.append(F.linear(r, w["decoder.out.weight"], w["decoder.out.bias"]))
    theirs = cross_entropy(torch.stack(logits), TARGET.values, TARGET.lengths)
    check(ours, ours.loss(SOURCE, TARGET), theirs, w)


def test_captioner() -> None:
    ours = randomised(nlp.Captioner(4, V, E, H, 2, bos_id=1, eos_id=2, every_step=True, dtype=np.float64))
    w = copied(ours)
    v = torch.tensor(np.random.default_rng(2).standard_normal((3, 4)))
    states = [
        tuple(torch.tanh(F.linear(v, w[f"bridge.maps.{k}.{j}.weight"], w[f"bridge.maps.{k}.{j}.bias"]))
              for j in range(2)) for k in range(2)
    ]  # fmt: skip
    steps = [cell_of("lstm", w, f"decoder.cells.{k}.") for k in range(2)]
    logits = []
    for t in range(len(TARGET.values) - 1):
        y = F.embedding(torch.tensor(TARGET.values[t]), w["decoder.embedding.weight"])
        x = torch.cat([y, v], -1)
        for k in range(2):
            states[k] = steps[k](x, states[k])
            x = states[k][0]
        logits.append(F.linear(torch.cat([x, v, y], -1), w["decoder.out.weight"], w["decoder.out.bias"]))
    theirs = cross_entropy(torch.stack(logits), TARGET.values, TARGET.lengths)
    check(ours, ours.loss(v.numpy(), TARGET), theirs, w)

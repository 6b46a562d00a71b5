"""Captioner and Seq2Seq: training and decoding are one step; padding has no influence; what cannot be is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import nlp
import nn
from minigrad import trees
from minigrad.backward import nodes_below
from minigrad.native import machine
from nlp import Captioner, Seq2Seq

Rng = np.random.Generator
S, V, E, H = 13, 11, 5, 6  # vocabularies of sources and targets, widths
SOURCE = nlp.pad([[4, 5, 6, 3], [7, 8], [9]], 12)
TARGET = nlp.pad([[1, 9, 2], [1, 9, 8, 7, 2], [1, 2]], 10)

KINDS: dict[str, dict[str, Any]] = {
    "bahdanau": {},
    "bahdanau, deep lstm": {"cell": "lstm", "encoder_layers": 2, "decoder_layers": 2},
    "bahdanau, readout, tied": {"readout_size": E, "tied": "output"},
    "luong dot, fed": {
        "cell": "lstm", "attention": "dot", "bidirectional": False, "bridge": "copy", "input_feeding": True,
        "readout_size": 7,
    },
    "luong general, fed, without readout": {"attention": "general", "input_feeding": True, "encoder_layers": 3},
    "luong dot": {"cell": "lstm", "attention": "dot", "bidirectional": False, "bridge": "copy", "decoder_layers": 1},
    "luong general, deep": {"attention": "general", "readout_size": 7, "decoder_layers": 2},
    "luong concat, no bridge": {"attention": "concat", "attends": "after", "bridge": "zeros", "cell": "rnn"},
    "additive after": {"attention": "additive", "attends": "after", "bridge": "zeros"},
    "sutskever": {"attention": None, "cell": "lstm", "bidirectional": False, "bridge": "copy", "encoder_layers": 2,
                  "decoder_layers": 2},
    "cho": {"attention": None, "context": True},
    "own cell": {"cell": lambda i, h: nn.ElmanCell(i, h, h), "encoder_layers": 2, "decoder_layers": 2},
}  # fmt: skip
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def randomised(model: Any) -> Any:
    """With biases that are not zero."""
    for name, weight in model.named_parameters():
        if "bias" in name:
            nn.init.uniform_(weight, -0.5, 0.5)
    return model


def made(kind: dict[str, Any], **more: Any) -> Seq2Seq:
    return randomised(Seq2Seq(S, V, E, H, **{"bos_id": 1, "eos_id": 2, "dtype": np.float64, **kind, **more}))  # type: ignore[no-any-return]


def by_steps(model: Any, start: nlp.Start, target: Any) -> list[float]:
    """−log p of each token but the first of one sequence, through `step`."""
    ids, state, memory = start
    found = []
    for following in target[1:]:
        log_p, state, _ = model.step(ids, state, memory)
        found.append(-float(log_p.numpy()[0, following]))
        ids = np.array([following])
    return found


@every_kind
def test_the_loss_is_the_mean_over_the_steps_of_decoding(kind: Any) -> None:
    model = made(kind).eval()
    each = [
        by_steps(model, model.start(SOURCE.values[:s, n : n + 1]), TARGET.values[:t, n])
        for n, (s, t) in enumerate(zip(SOURCE.lengths, TARGET.lengths, strict=True))
    ]
    np.testing.assert_allclose(model.loss(SOURCE, TARGET).item(), np.mean(np.concatenate(each)), rtol=1e-10)
    logits, weights = model(SOURCE, TARGET)
    assert logits.shape == (4, 3, V)
    log_p = mg.log_softmax(logits).numpy()
    np.testing.assert_allclose([-log_p[t, 1, TARGET.values[t + 1, 1]] for t in range(4)], each[1], rtol=1e-10)
    if weights is None:
        assert model.decoder.attention is None
    else:
        assert weights.shape == (4, 3, 4)
        np.testing.assert_allclose(weights.numpy().sum(-1), 1, rtol=1e-12)
        assert np.all(weights.numpy()[:, 1, 2:] == 0)  # source 1 is two tokens long


@every_kind
def test_what_stands_in_the_padding_has_no_influence(kind: Any, rng: Rng) -> None:
    model, found = made(kind), []
    for _ in range(2):
        source, target = SOURCE.values.copy(), TARGET.values.copy()
        source[~SOURCE.mask] = rng.integers(0, S, (~SOURCE.mask).sum())
        target[~TARGET.mask] = rng.integers(0, V, (~TARGET.mask).sum())
        model.zero_grad()
        loss = model.loss((source, SOURCE.lengths), (target, TARGET.lengths))
        loss.backward()
        found.append((loss.item(), [w.grad.numpy() for w in model.parameters()]))
    assert found[0][0] == found[1][0]
    for one, other in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-16)


@every_kind
def test_beams_share_the_memory_of_their_source(kind: Any, rng: Rng) -> None:
    model = made(kind).eval()
    ids, state, memory = model.start(SOURCE)
    one = model.step(ids, state, memory)
    leaves, rebuild = trees.flatten(state)
    rows = [None if s is None else s[np.repeat(np.arange(3), 4)] for s in leaves]
    many = model.step(np.repeat(ids, 4), rebuild(rows), memory)
    np.testing.assert_allclose(many.log_p.numpy(), np.repeat(one.log_p.numpy(), 4, 0), rtol=1e-12)
    if one.attention is not None:
        np.testing.assert_allclose(many.attention.numpy(), np.repeat(one.attention.numpy(), 4, 0), rtol=1e-10)


@every_kind
def test_every_weight_is_learnt(kind: Any) -> None:
    model = made(kind, dropout=0.1, label_smoothing=0.1, dtype=np.float32)
    optimizer = nn.Adam(model.named_parameters(), lr=0.02, clip_norm=1)
    before = model.eval().loss(SOURCE, TARGET).item()
    model.train()
    for _ in range(40):
        optimizer.zero_grad()
        model.loss(SOURCE, TARGET, teacher_forcing=0.8).backward()
        assert [name for name, w in model.named_parameters() if w.grad is None] == []
        optimizer.step()
    assert model.eval().loss(SOURCE, TARGET).item() < 0.5 * before


@pytest.mark.parametrize("kind", ["sutskever", "cho", "luong dot", "luong general, deep"])
def test_the_tape_of_a_forced_decoder_does_not_grow_with_the_target(kind: str) -> None:
    """Its loops are rolled if no step needs the output of the step before."""
    if machine.switched_off() or not machine.available():
        pytest.skip("loops are rolled where there are compiled kernels")
    model = made(KINDS[kind], dropout=0.1)

    def nodes(T: int) -> int:
        loss = model.loss(SOURCE.values, np.tile([[1], [9], [8]], (T, 3)))
        return len(nodes_below([loss.edge]))

    assert nodes(3) == nodes(20)


def test_teacher_forcing() -> None:
    """Of 0, each step sees the likeliest token of the step before; of 1, the given one."""
    model = made({}).eval()
    ids, state, memory = model.start(SOURCE)
    total, chosen = 0.0, ids
    for t in range(4):
        log_p, state, _ = model.step(chosen, state, memory)
        real = t + 1 < TARGET.lengths
        total -= log_p.numpy()[np.arange(3), TARGET.values[t + 1]][real].sum()
        chosen = np.argmax(log_p.numpy(), axis=-1)
    free = model.loss(SOURCE, TARGET, teacher_forcing=0).item()
    np.testing.assert_allclose(free, total / 7, rtol=1e-10)
    forced = model.loss(SOURCE, TARGET).item()
    assert free != forced
    mixed = {round(model.loss(SOURCE, TARGET, teacher_forcing=0.5).item(), 10) for _ in range(40)}
    assert {round(free, 10), round(forced, 10)} <= mixed
    with pytest.raises(ValueError, match=r"teacher_forcing is a probability, not 1\.5"):
        model.loss(SOURCE, TARGET, teacher_forcing=1.5)


def test_labels_are_smoothed_in_training_only() -> None:
    smooth, plain = (made({}, label_smoothing=s) for s in (0.2, 0.0))
    plain.load_state_dict(smooth.state_dict())
    assert smooth.loss(SOURCE, TARGET).item() != plain.loss(SOURCE, TARGET).item()
    assert smooth.eval().loss(SOURCE, TARGET).item() == plain.eval().loss(SOURCE, TARGET).item()


def test_tied_embeddings_are_one_weight() -> None:
    one = made({"tied": "output"})
    assert one.decoder.out.weight is one.decoder.embedding.weight
    assert one.embedding.weight is not one.decoder.embedding.weight
    both = Seq2Seq(V, V, E, H, bos_id=1, eos_id=2, tied="all")
    assert both.embedding.weight is both.decoder.embedding.weight is both.decoder.out.weight


def test_reversed_digits_are_learnt() -> None:
    """The task on which a sequence-to-sequence model shows that it works: 100 % of unseen sequences."""
    rng = np.random.default_rng(0)

    def pairs(count: int) -> list[tuple[Any, Any]]:
        xs = [rng.integers(3, 11, rng.integers(3, 9)) for _ in range(count)]
        return [(x, np.array([1, *x[::-1], 2])) for x in xs]

    model = Seq2Seq(11, 11, 24, 48, bos_id=1, eos_id=2)
    optimizer = nn.Adam(model.named_parameters(), lr=0.01, clip_norm=1)
    batches = nlp.Batches(pairs(2000), batch_size=50, shuffle=True, by_length=True)
    schedule = nn.LinearLR(optimizer, 1.0, 0.05, total_iters=8 * len(batches))
    nn.Trainer(
        model, optimizer, lambda model, batch: model.loss(*batch), schedule=schedule, schedule_every="step",
        progress=False,
    ).fit(batches, 8)  # fmt: skip
    model.eval()
    for source, target in nlp.Batches(pairs(200), batch_size=100, by_length=True):
        ids, state, memory = model.start(source)
        right = np.ones(len(ids), bool)
        for t in range(1, len(target.values)):
            log_p, state, _ = model.step(ids, state, memory)
            ids = np.argmax(log_p.numpy(), axis=-1)
            right &= (ids == target.values[t]) | (t >= target.lengths)
        assert right.all()


@pytest.mark.parametrize("kind", [KINDS["bahdanau"], KINDS["luong dot, fed"], KINDS["cho"]], ids=str)
def test_it_runs_everywhere(kind: Any, backend: Any) -> None:
    model = made(kind, dropout=0.2).eval()
    expected, start = model.loss(SOURCE, TARGET).item(), model.start(SOURCE)
    first = model.step(*start).log_p.numpy()
    model = model.to(backend.device)
    loss, step = model.loss(SOURCE, TARGET), model.step(*model.start(SOURCE))
    np.testing.assert_allclose(backend.numpy(loss), expected, rtol=1e-10)
    np.testing.assert_allclose(backend.numpy(step.log_p), first, rtol=1e-10)
    model.train().loss(SOURCE, TARGET, teacher_forcing=0.5).backward()
    assert all(backend.numpy(w.grad) is not None for w in model.parameters())


@every_kind
def test_a_file_holds_all_of_it(kind: Any, tmp_path: Path) -> None:
    model, path = made(kind).eval(), tmp_path / "model.safetensors"
    vocabulary = nlp.Vocabulary.of(list("abc"), bos="<bos>")
    model.save(path, source=vocabulary)
    functions = {"cell": kind["cell"]} if callable(kind.get("cell")) else {}
    loaded = Seq2Seq.load(path, **functions)
    assert loaded.loss(SOURCE, TARGET).item() == model.loss(SOURCE, TARGET).item()
    assert loaded.texts == {"source": vocabulary}


def test_what_is_refused() -> None:
    for options, message in [
        ({"attention": "bahdanau"}, "attention is one of additive, dot, general, concat, or None"),
        ({"attention": "dot"}, 'attention="dot" needs a hidden_size as wide as the memory, 12, not 6'),
        ({"attends": "later"}, 'attends must be "before" or "after"'),
        ({"input_feeding": True}, "input feeding is for"),
        ({"attention": None, "input_feeding": True}, "there is none"),
        ({"context": True}, "for a decoder without attention"),
        ({"bridge": "none"}, "bridge is one of tanh, copy, zeros"),
        ({"bridge": "copy"}, "needs an encoder of one direction"),
        ({"bridge": "zeros", "attention": None}, "the decoder knows no source"),
        ({"tied": "all"}, "one vocabulary for both sides, not 13 and 11"),
        ({"tied": "output", "readout_size": 7}, "readout_size=5, not 7"),
        ({"tied": True}, 'tied must be "output", "all" or None'),
        ({"encoder_layers": 0}, "encoder_layers must be a positive integer"),
    ]:
        with pytest.raises(ValueError, match=message):
            made(options)
    model = made({})
    for source, target, error, message in [
        ((SOURCE.values, [4, 5, 1]), TARGET, ValueError, "length 5 of sequence 1 is not between 0 and T = 4"),
        (SOURCE, nlp.pad([[1, 2], [1], [1, 2]]), ValueError, "target ids must be at least 2 long; sequence 1 has 1"),
        (np.full((2, 3), S), TARGET, IndexError, "13"),
        (SOURCE, nlp.pad([[1, 2], [1, 2]]), ValueError, "2"),
    ]:
        with pytest.raises(error, match=message):
            model.loss(source, target)


# ---- from a vector -----------------------------------------------------------------------------------------------

CAPTIONERS: dict[str, dict[str, Any]] = {
    "plain": {}, "deep gru, tied": {"cell": "gru", "num_layers": 2, "tied": True}, "every step": {"every_step": True},
    "own cell": {"cell": lambda i, h: nn.ElmanCell(i, h, h)},
}  # fmt: skip
every_captioner = pytest.mark.parametrize("kind", CAPTIONERS.values(), ids=CAPTIONERS)


def captioner(kind: dict[str, Any], dtype: Any = np.float64) -> Captioner:
    return randomised(Captioner(4, V, E, H, **{"bos_id": 1, "eos_id": 2, "dtype": dtype, **kind}))  # type: ignore[no-any-return]


@every_captioner
def test_captions_are_learnt_and_written_by_one_step(kind: Any, rng: Rng, tmp_path: Path) -> None:
    model, v = captioner(kind).eval(), rng.standard_normal((3, 4))
    each = [by_steps(model, model.start(v[n : n + 1]), TARGET.values[:t, n]) for n, t in enumerate(TARGET.lengths)]
    np.testing.assert_allclose(model.loss(v, TARGET).item(), np.mean(np.concatenate(each)), rtol=1e-10)
    model.save(tmp_path / "model")
    functions = {"cell": kind["cell"]} if callable(kind.get("cell")) else {}
    assert Captioner.load(tmp_path / "model", **functions).loss(v, TARGET).item() == model.loss(v, TARGET).item()
    model.train().loss(v, TARGET, teacher_forcing=0.5).backward()
    assert [name for name, w in model.named_parameters() if w.grad is None] == []


def test_features_that_do_not_fit() -> None:
    model = captioner({})
    with pytest.raises(ValueError, match=r"features must be \(N, 4\), not \(3, 5\)"):
        model.loss(np.zeros((3, 5)), TARGET)
    with pytest.raises(ValueError, match="feature_size must be a positive integer"):
        Captioner(0, V, bos_id=1, eos_id=2)


class Counting(nn.GRUCell):
    """Its step writes an attribute, so its loop is not rolled."""

    def step(self, x: Any, state: Any) -> Any:
        self.count = getattr(self, "count", 0) + 1
        return super().step(x, state)


@pytest.mark.parametrize(
    ("options", "forcing", "reason"),
    [
        (KINDS["bahdanau"], 1.0, 'with attends="before", a step attends to the memory from the state'),
        (KINDS["luong dot, fed"], 1.0, "with input_feeding, a step reads the readout"),
        (KINDS["luong dot"], 0.5, "below a teacher_forcing of 1, a step may read the id"),
        (KINDS["luong dot"], 1.0, None),
        (KINDS["cho"] | {"cell": Counting}, 1.0, "it calls getattr, which may have an effect"),
    ],
)
def test_a_decoder_tells_why_its_loop_is_not_rolled(
    options: dict[str, Any], forcing: float, reason: str | None
) -> None:
    model = made(options)
    assert model.decoder.rolled == "not rolled: it was not called yet"
    with mg.profile() as p:
        model.loss(SOURCE, TARGET, teacher_forcing=forcing)
    if reason is None:
        assert model.decoder.rolled is True
        assert "decoder: not rolled" not in str(p)
    else:
        assert reason in str(model.decoder.rolled)
        assert reason in str(p)

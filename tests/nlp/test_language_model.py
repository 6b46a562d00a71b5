"""The language model: against products of conditional probabilities, step by step; its files; its errors."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import nlp
import nn
from nlp import LanguageModel
from nlp.models import Model

Rng = np.random.Generator
V = 11

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "deep gru": {"cell": "gru", "num_layers": 2, "dropout": 0.3},
    "tied, projected": {"tied": True, "hidden_size": 7},
    "tied, all kinds of dropout": {
        "tied": True, "hidden_size": 5, "num_layers": 3, "dropout": 0.3, "variational": True, "embedding_dropout": 0.2,
        "recurrent_dropout": 0.2, "weight_drop": 0.3,
    },
    "own cell": {"cell": lambda i, h: nn.ElmanCell(i, h, h)},
}  # fmt: skip
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def made(kind: dict[str, Any], dtype: Any = np.float64) -> LanguageModel:
    model = LanguageModel(V, 5, **{"hidden_size": 6, "dtype": dtype, **kind})
    rng = np.random.default_rng(7)
    for name, weight in model.named_parameters():
        if "bias" in name:
            nn.init.uniform_(weight, -0.5, 0.5)
    model.embedding.weight.data[...] = rng.standard_normal((V, 5))
    return model


def stepwise(model: LanguageModel, ids: Any) -> float:
    """log p(w_2 … | w_1) of one sequence, a step at a time."""
    ids_, state, memory = model.start(np.array(ids[:1]))
    total = 0.0
    for following in ids[1:]:
        log_p, state, _ = model.step(ids_, state, memory)
        total += log_p.numpy()[0, following]
        ids_ = np.array([following])
    return total


@every_kind
def test_a_text_has_the_product_of_its_steps_probabilities(kind: Any, rng: Rng) -> None:
    model = made(kind).eval()
    texts = [rng.integers(0, V, n) for n in (6, 2, 4)]
    found = model.log_probability(nlp.pad(texts)).numpy()
    np.testing.assert_allclose(found, [stepwise(model, text) for text in texts], rtol=1e-10)
    loss, _ = model.loss(texts[0][:-1, None], texts[0][1:, None])
    np.testing.assert_allclose(loss.item(), -found[0] / 5, rtol=1e-10)


@every_kind
def test_all_continuations_have_probability_one(kind: Any) -> None:
    model = made(kind).eval()
    pairs = np.stack(np.meshgrid(*[np.arange(V)] * 2, indexing="ij")).reshape(2, -1)
    ids = np.concatenate([np.full((1, V * V), 3), pairs])  # every text of three tokens that begins with 3
    np.testing.assert_allclose(np.exp(model.log_probability(ids).numpy()).sum(), 1, rtol=1e-10)


@every_kind
def test_prompts_of_unequal_lengths_begin_as_each_alone(kind: Any, rng: Rng) -> None:
    model = made(kind).eval()
    prompts = [rng.integers(0, V, n) for n in (1, 5, 3)]
    together = model.start(nlp.pad(prompts))
    step = model.step(*together)
    for n, prompt in enumerate(prompts):
        alone = model.step(*model.start(prompt[:, None]))
        np.testing.assert_allclose(step.log_p.numpy()[n], alone.log_p.numpy()[0], rtol=1e-10, atol=1e-12)


@every_kind
def test_a_carried_state_goes_on_as_one_text(kind: Any, rng: Rng) -> None:
    model, ids = made(kind).eval(), rng.integers(0, V, (6, 3))
    whole, _ = model(ids)
    first, state = model(ids[:4])
    second, _ = model(ids[4:], nn.detach(state))
    np.testing.assert_allclose(np.concatenate([first, second]).numpy(), whole.numpy(), rtol=1e-10, atol=1e-12)


@every_kind
def test_a_batch_learns_by_heart(kind: Any) -> None:
    """With every kind of dropout, too, the loss falls, and every parameter takes part."""
    model = made(kind, np.float32)
    ids = np.arange(24).reshape(6, 4) % V
    optimizer = nn.Adam(model.named_parameters(), lr=0.03, clip_norm=1)
    before = model.eval().loss(ids[:-1], ids[1:])[0].item()
    model.train()
    for _ in range(100):
        optimizer.zero_grad()
        loss, _ = model.loss(ids[:-1], ids[1:])
        loss.backward()
        assert all(w.grad is not None for w in model.parameters())
        optimizer.step()
    assert model.eval().loss(ids[:-1], ids[1:])[0].item() < 0.6 * before


def test_the_compiled_step_gives_the_same_numbers(rng: Rng) -> None:
    """100 steps with dropout and a carried state, recorded and replayed, equal the plain ones bit for bit."""
    windows = rng.integers(0, V, (100, 5, 3))
    found = []
    for wrap in (lambda f: f, mg.compile):
        mg.manual_seed(3)
        model = made({"num_layers": 2, "dropout": 0.2}, np.float32)
        optimizer = nn.SGD(model.named_parameters(), lr=0.5, clip_norm=1)

        def step(ids: Any, targets: Any, state: Any, model: Any = model, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss, state = model.loss(ids, targets, state)
            loss.backward()
            optimizer.step()
            return loss, nn.detach(state)

        step = wrap(step)
        state = (mg.zeros((2, 3, 6)), mg.zeros((2, 3, 6)))
        losses = []
        for ids in windows:
            loss, state = step(ids, (ids + 1) % V, state)
            losses.append(loss.item())
        found.append((losses, {name: w.numpy() for name, w in model.state_dict().items()}))
    assert found[0][0] == found[1][0]
    assert all(np.array_equal(w, found[1][1][name]) for name, w in found[0][1].items())


def test_targets_that_do_not_count(rng: Rng) -> None:
    model, ids = made({}), rng.integers(0, V, (5, 3))
    targets, mask = rng.integers(0, V, (5, 3)), rng.random((5, 3)) < 0.6
    one, _ = model.loss(ids, targets, mask=mask)
    other, _ = model.loss(ids, np.where(mask, targets, -100))
    np.testing.assert_allclose(one.item(), other.item(), rtol=1e-14)


def test_embedding_dropout_leaves_words_out_wherever_they_stand() -> None:
    model = made({"embedding_dropout": 0.5})
    ids = np.array([[1, 2], [2, 1], [1, 2]])
    seen: list[Any] = []
    model.layers.register_forward_hook(lambda module, args, output: seen.append(args[0].numpy()))
    model.encode(ids)
    scale = seen[0] / model.embedding.weight.numpy()[ids]
    assert {float(s) for s in np.round(scale, 12).ravel()} <= {0.0, 2.0}
    for word in (1, 2):
        assert len(np.unique(np.round(scale[ids == word], 12))) == 1


def test_a_stream_in_windows(rng: Rng) -> None:
    """With `nn.TBPTT`, windows of a stream give the losses of the whole stream."""
    model, ids = made({"num_layers": 2}).eval(), rng.integers(0, V, 41)
    windows, tbptt = nlp.LanguageModelBatches(ids, 2, 6), nn.TBPTT(6)
    losses, counts = [], []
    for window in windows:
        h = tbptt(model.encode, window.inputs, reset=window.reset, batch_axis=1)
        losses.append(model.loss_of(h, window.targets).item())
        counts.append((window.targets >= 0).sum())
    whole = sum(model.log_probability(ids[start : start + 21, None]).item() for start in (0, 20))
    np.testing.assert_allclose(np.dot(losses, counts), -whole, rtol=1e-10)


def test_it_runs_everywhere(backend: Any, rng: Rng) -> None:
    ids, lengths = rng.integers(0, V, (5, 3)), [5, 2, 4]
    model = made({"num_layers": 2, "dropout": 0.2}).eval()
    expected = model.log_probability((ids, lengths)).numpy()
    first = model.step(*model.start((ids, lengths))).log_p.numpy()
    model = model.to(backend.device)
    np.testing.assert_allclose(backend.numpy(model.log_probability((ids, lengths))), expected, rtol=1e-10)
    np.testing.assert_allclose(backend.numpy(model.step(*model.start((ids, lengths))).log_p), first, rtol=1e-10)
    model.train().loss(ids[:-1], ids[1:])[0].backward()
    assert all(backend.numpy(w.grad) is not None for w in model.parameters())


# ---- files -------------------------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_file_holds_all_of_a_model(kind: Any, dtype: Any, tmp_path: Path, rng: Rng) -> None:
    model, path = made(kind, dtype).eval(), tmp_path / "model.safetensors"
    tokenizer, tags = nlp.CharTokenizer().fit(["ab\ud83dc"]), nlp.Vocabulary.of(["O", "PER"])
    model.save(path, tokenizer=tokenizer, tags=tags)
    functions = {"cell": kind["cell"]} if callable(kind.get("cell")) else {}
    loaded = LanguageModel.load(path, **functions)
    ids = rng.integers(0, V, (4, 2))
    assert np.array_equal(loaded(ids)[0].numpy(), model(ids)[0].numpy())
    assert loaded(ids)[0].dtype == dtype
    assert not loaded.training
    assert (loaded.texts["tokenizer"].vocabulary, loaded.texts["tags"]) == (tokenizer.vocabulary, tags)
    assert (loaded.out.weight is loaded.embedding.weight) == bool(kind.get("tied"))
    assert type(Model.load(path, **functions)) is LanguageModel
    loaded.save(path)  # again, with the texts that it has
    assert set(LanguageModel.load(path, **functions).texts) == {"tokenizer", "tags"}


def test_numbers_of_numpy_among_the_arguments_are_saved(tmp_path: Path) -> None:
    LanguageModel(V, 4, 6, dropout=np.float64(0.25), eos_id=np.int64(2)).save(tmp_path / "model")
    loaded = LanguageModel.load(tmp_path / "model")
    assert (loaded.eos_id, loaded.dropout.p) == (2, 0.25)


def test_files_that_are_refused(tmp_path: Path) -> None:
    model, path = made({}), tmp_path / "model.safetensors"
    model.save(path)
    with pytest.raises(
        ValueError, match=r"model\.safetensors: it holds a model of the kind nlp\.LanguageModel, not Cap"
    ):
        nlp.Captioner.load(path)
    with pytest.raises(ValueError, match="made with functions for nothing, and load was given cell"):
        LanguageModel.load(path, cell=nn.GRUCell)
    with pytest.raises(FileNotFoundError):
        LanguageModel.load(tmp_path / "none")
    own = made(KINDS["own cell"])
    own.save(path)
    with pytest.raises(ValueError, match="made with functions for cell, and load was given none"):
        LanguageModel.load(path)
    nn.save(model, path)
    with pytest.raises(ValueError, match="holds weights only"):
        LanguageModel.load(path)

    def spoilt(**changes: Any) -> None:
        model.save(path)
        content = json.loads(nn.load_metadata(path)["nlp.model"])
        nn.save(model, path, {"nlp.model": json.dumps(content | changes)})

    spoilt(version=99)
    with pytest.raises(ValueError, match="its version is 99; this program reads version 1"):
        LanguageModel.load(path)
    spoilt(options={"vocab_size": V + 1, "embedding_size": 5, "hidden_size": 6})
    with pytest.raises(ValueError, match=r"model\.safetensors: .*embedding\.weight"):
        LanguageModel.load(path)
    spoilt(options={"vocab_size": V, "wings": 2})
    with pytest.raises(ValueError, match="wings"):
        LanguageModel.load(path)
    spoilt(texts={"tokenizer": {"format": "nlp.Words"}})
    with pytest.raises(ValueError, match=r"texts\.tokenizer"):
        LanguageModel.load(path)
    nn.save(model, path, {"nlp.model": "{"})
    with pytest.raises(ValueError, match="damaged"):
        LanguageModel.load(path)
    with pytest.raises(TypeError, match="words is a list"):
        model.save(path, words=["a"])  # type: ignore[arg-type]


def test_what_is_refused() -> None:
    model = made({})
    for ids, error, message in [
        ([[0.5]], TypeError, "ids must be integers, not float"),
        ([1, 2], ValueError, r"ids must be \(T, N\), not \(2,\)"),
        ([[V]], IndexError, f"{V}"),
    ]:
        with pytest.raises(error, match=message):
            model(ids)
    for ragged in (model.start, model.log_probability, model):
        with pytest.raises(ValueError, match=r"of unequal lengths are not an array \(T, N\); nlp.pad makes one"):
            ragged([[1, 2, 3], [2, 3]])
    with pytest.raises(ValueError, match="prompts must be at least 1 long; sequence 1 has 0"):
        model.start(nlp.pad([[1, 2, 3], []]))
    with pytest.raises(ValueError, match="is not between 0 and T = 3"):
        model.log_probability((np.zeros((3, 2), int), [4, 1]))
    for options, message in [
        ({"hidden_size": 0}, "hidden_size must be a positive integer, not 0"),
        ({"cell": "gruu"}, "cell must be lstm, gru, rnn, or a function"),
        ({"dropout": 1.5}, "a probability must be between 0 and 1"),
        ({"cell": nn.GRUCell, "recurrent_dropout": 0.1}, "recurrent_dropout is for the cells lstm, gru and rnn"),
    ]:
        with pytest.raises(ValueError, match=message):
            LanguageModel(V, 5, **options)


def test_perplexity_of_an_unigram() -> None:
    """A model whose output map is only a bias has the perplexity of that distribution."""
    model = made({})
    p = np.arange(1, V + 1) / np.arange(1, V + 1).sum()
    model.out.weight.data[...] = 0
    model.out.bias.data[...] = np.log(p) + 3
    ids = np.random.default_rng(0).choice(V, 400, p=p)[:, None]
    loss, _ = model.loss(ids[:-1], ids[1:])
    np.testing.assert_allclose(math.exp(loss.item()), np.exp(-np.log(p[ids[1:]]).mean()), rtol=1e-10)

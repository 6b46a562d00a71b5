"""Each example runs to its end, in a small setting, and leaves the files that it promises."""

from __future__ import annotations

import importlib
import math
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from commands import EXAMPLES, Run

import nlp
import nn
from nlp import WordVectors


def test_char_rnn_from_primitives(run: Run, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 400, encoding="utf-8")
    done = run("char_rnn_from_primitives", "--data", text, "--iterations", 60, "--hidden", 24, "--window", 12,
               "--out", tmp_path / "out")  # fmt: skip
    assert done.status == 0, done.stderr
    held_out = float(done.stdout.split("held-out loss: ")[1].split()[0])
    bigram = float(done.stdout.split("a bigram model: ")[1].split(";")[0])
    assert held_out < 2.5
    assert 0.2 < bigram < 1.5
    for name, start in {"graph.svg": b"<?xml", "loss.png": b"\x89PNG", "gradients.png": b"\x89PNG"}.items():
        assert (tmp_path / "out" / name).read_bytes().startswith(start)


@pytest.mark.parametrize("problem", ["missing", "short"])
def test_char_rnn_refuses_a_bad_file(run: Run, tmp_path: Path, problem: str) -> None:
    text = tmp_path / "text.txt"
    if problem == "short":
        text.write_text("too short", encoding="utf-8")
    done = run("char_rnn_from_primitives", "--data", text, "--out", tmp_path)
    assert done.status != 0
    assert "text.txt" in done.stderr


def test_adding_problem_goes_on_exactly(run: Run, tmp_path: Path) -> None:
    """A run in one go, and the same in two."""
    settings = ("--length", 12, "--hidden", 8, "--every", 20, "--lr", 0.01, "--cells", "gru,rnn,lstm,irnn")
    whole = run("adding_problem", *settings, "--steps", 60, "--out", tmp_path / "whole")
    assert whole.status == 0, whole.stderr
    first = run("adding_problem", *settings, "--steps", 20, "--out", tmp_path / "parts")
    assert first.status == 0, first.stderr
    second = run("adding_problem", *settings, "--steps", 60, "--out", tmp_path / "parts", "--resume")
    assert second.status == 0, second.stderr
    assert measured(first.stdout).keys() == {"GRU", "tanh RNN", "LSTM", "IRNN"}
    assert measured(first.stdout) != measured(whole.stdout)
    for cell in ("gru", "rnn", "lstm", "irnn"):
        ends = [nn.load_checkpoint(tmp_path / folder / f"adding-{cell}.ckpt") for folder in ("whole", "parts")]
        assert [end["step"] for end in ends] == [60, 60]
        assert [step for step, _ in ends[0]["tests"]] == [20, 40, 60]
        assert ends[0]["tests"] == ends[1]["tests"]
        assert ends[0]["random"] == ends[1]["random"]
        for name, weight in ends[0]["model"].items():
            np.testing.assert_array_equal(weight.numpy(), ends[1]["model"][name].numpy(), name)
    assert (tmp_path / "parts" / "adding.png").read_bytes().startswith(b"\x89PNG")

    other = run("adding_problem", *settings, "--steps", 60, "--out", tmp_path / "parts", "--resume", "--seed", 1)
    assert other.status != 0
    assert "--seed 0, not 1" in other.stderr


def test_adding_problem_learns(run: Run, tmp_path: Path) -> None:
    """A short memory takes seconds."""
    done = run("adding_problem", "--length", 8, "--hidden", 24, "--steps", 400, "--lr", 0.01, "--cells", "gru",
               "--out", tmp_path)  # fmt: skip
    assert done.status == 0, done.stderr
    assert measured(done.stdout)["GRU"] < 0.02
    assert "without memory: 0.1667" in done.stdout


def test_copy_memory_learns(run: Run, tmp_path: Path) -> None:
    done = run("copy_memory", "--length", 1, "--hidden", 48, "--steps", 250, "--cells", "gru", "--format", "svg",
               "--out", tmp_path)  # fmt: skip
    assert done.status == 0, done.stderr
    baseline = 10 * math.log(8) / 21
    assert f"without memory: {baseline:.4f}" in done.stdout
    assert measured(done.stdout)["GRU"] < 0.95 * baseline
    assert ET.parse(tmp_path / "copy.svg").getroot().tag.endswith("svg")


def measured(stdout: str) -> dict[str, float]:
    """The last test loss of each cell in the printed table."""
    lines = stdout.split("ms/step\n")[1].split("without memory")[0].splitlines()
    return {line[:8].strip(): float(line[8:].split()[0]) for line in lines}


def test_batches_of_the_adding_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    make_batch = example("adding_problem", monkeypatch).make_batch
    inputs, targets = make_batch(np.random.default_rng(0), 7, 500)
    assert inputs.shape == (7, 500, 2)
    assert targets.shape == (500, 1)
    assert inputs.dtype == targets.dtype == np.float32
    numbers, marks = inputs[..., 0], inputs[..., 1]
    for part, chances in ((slice(0, 3), 3), (slice(3, 7), 4)):
        where = marks[part].argmax(axis=0)
        np.testing.assert_array_equal(marks[part].sum(axis=0), 1)
        assert set(where) == set(range(chances))
    for n in range(500):
        one, two = numbers[marks[:, n] == 1, n]
        assert targets[n, 0] == pytest.approx(float(one) + float(two), rel=1e-6)
    assert np.mean((targets - 1) ** 2) == pytest.approx(1 / 6, rel=0.2)


def test_batches_of_copy_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    module = example("copy_memory", monkeypatch)
    inputs, targets = module.make_batch(np.random.default_rng(0), 4, 300)
    assert inputs.shape == (24, 300, 10)
    assert targets.shape == (24, 300)
    np.testing.assert_array_equal(inputs.sum(axis=-1), 1)
    ids = inputs.argmax(axis=-1)
    assert set(ids[:10].ravel()) == set(range(8))
    for n in range(300):
        symbols = list(ids[:10, n])
        assert list(ids[10:, n]) == [8] * 3 + [9] + [8] * 10
        assert list(targets[:, n]) == [8] * 14 + symbols


def example(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An example as a module, found as Python finds it when it runs as a program."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module(name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--cells", "gru,gate"), "gate is not one of gru, lstm, rnn, irnn"),
        (("--hidden", 0), "--hidden must be at least 1"),
        (("--length", 1), "two marks need at least 2 steps"),
    ],
)
def test_adding_problem_refuses(run: Run, tmp_path: Path, arguments: tuple[object, ...], message: str) -> None:
    done = run("adding_problem", *arguments, "--out", tmp_path)
    assert done.status != 0
    assert message in done.stderr


def test_vanishing_gradients(run: Run, tmp_path: Path) -> None:
    done = run("vanishing_gradients", "--length", 40, "--hidden", 16, "--out", tmp_path / "out")
    assert done.status == 0, done.stderr
    flows = done.stdout.split("terms of W_s")[0]
    for network, verdict in {
        "tanh, W_s of size 0.6": "vanishes",
        "tanh, W_s of size 1.5": "explodes",
        "ReLU, W_s of size 1": "vanishes",
        "LSTM, forget gate open": "is carried",
    }.items():
        assert any(line.split(network)[1].strip().startswith(verdict) for line in flows.splitlines() if network in line)
    for name in ("flow.png", "terms.png", "lyapunov.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
    picture = (tmp_path / "out" / "graph.svg").read_text(encoding="utf-8")
    assert [picture.count(f"t = {t}<") for t in range(9)] == [4] * 8 + [0]  # a column for each step of each network


def test_vanishing_gradients_refuses(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for arguments, message in ((("--length", 1), "--length must be"), (("--out", tmp_path / "file"), "--out: ")):
        done = run("vanishing_gradients", *arguments)
        assert done.status != 0
        assert message in done.stderr


def test_tokenizers(run: Run, tmp_path: Path) -> None:
    done = run("tokenizers", "--vocab-size", 600, "--sentence", "Größe 🙂 matters", "--out", tmp_path / "out")
    assert done.status == 0, done.stderr
    assert "0:1 'G'" in done.stdout
    assert "' matters'" in done.stdout
    rows = {line[:11].strip(): line[11:].split() for line in done.stdout.split("unseen text")[1].splitlines() if line}
    assert float(rows["characters"][1]) == 1
    assert rows["byte pairs"][0] == "600"
    assert rows["byte pairs"][2] == "none"
    assert rows["byte pairs"][-1] == "exactly"
    assert 1 < float(rows["2-grams"][1]) < float(rows["byte pairs"][1]) < float(rows["words"][1])
    assert (tmp_path / "out" / "tokenizers.png").read_bytes().startswith(b"\x89PNG")
    tokenizer = nlp.Tokenizer.load(tmp_path / "out" / "bpe.json")
    assert tokenizer.decode(tokenizer.encode("Größe 🙂 matters")) == "Größe 🙂 matters"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--vocab-size", 12), "--vocab-size must be at least 260"),
        (("--sentence", " "), "--sentence must have a word"),
        (("--data", "none.txt"), "cannot read the text: "),
        (("--data", EXAMPLES.parent / "LICENSE"), "too few to learn from"),
        (("--out", __file__), "--out: "),
    ],
)
def test_tokenizers_refuses(run: Run, tmp_path: Path, arguments: tuple[object, ...], message: str) -> None:
    done = run("tokenizers", "--out", tmp_path, *arguments)
    assert done.status != 0
    assert message in done.stderr


def test_word2vec(run: Run, tmp_path: Path) -> None:
    done = run("word2vec", "--epochs", 2, "--dim", 10, "--out", tmp_path)
    assert done.status == 0, done.stderr
    assert "words, " in done.stdout
    vectors = WordVectors.load(tmp_path / "vectors.txt")
    assert vectors.dim == 10
    nearest = vectors.most_similar("list", topn=1)[0][0]
    assert f"list: {nearest} " in done.stdout
    assert (tmp_path / "words.png").read_bytes().startswith(b"\x89PNG")
    assert ET.parse(tmp_path / "window.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize("loss", ["hierarchical", "softmax"])
def test_word2vec_learns_from_any_text(run: Run, tmp_path: Path, loss: str) -> None:
    text = tmp_path / "text.txt"
    text.write_text("I go to the mall today.\nI go to the beach today.\n" * 60, encoding="utf-8")
    done = run("word2vec", "--data", text, "--mode", "cbow", "--loss", loss, "--words", "mall", "--epochs", 20,
               "--out", tmp_path / "out")  # fmt: skip
    assert done.status == 0, done.stderr
    assert "720 words, 7 of them different" in done.stdout
    assert (tmp_path / "out" / "words.png").exists()


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (None, (), "text.txt"),
        ("", (), "the corpus is empty"),
        ("a b c", (), "min_freq=5"),
        ("a b c\n" * 50, (), "3 different words are too few"),
        ("one two three four five\n" * 50, ("--words", "six"), "--words: six occurs less than 5 times"),
        ("one two three four five\n" * 50, ("--lr", 0), "lr must be above 0"),
    ],
)
def test_word2vec_refuses(
    run: Run, tmp_path: Path, text: str | None, arguments: tuple[object, ...], message: str
) -> None:
    path = tmp_path / "text.txt"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    done = run("word2vec", "--data", path, "--out", tmp_path / "out", "--epochs", 1, *arguments)
    assert done.status != 0
    assert message in done.stderr

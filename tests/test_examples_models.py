"""Each example of a model trains in a small setting, leaves its files, and its saved model is used by a second
command."""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import EXAMPLES, Run

import nlp
import nn


def command(name: str, *arguments: object) -> list[str]:
    return [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *map(str, arguments)]


def example(name: str) -> Any:
    """The example as a module."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(EXAMPLES))


def lines(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def small(name: str, folder: Path) -> list[object]:
    """Arguments that make a run short: little data, little networks."""
    rng = np.random.default_rng(0)
    if name == "dates":
        pairs = example("dates").examples(rng.permutation(3000)[:200], rng)
        return ["--data", lines(folder / "dates.tsv", [f"{x}\t{y}" for x, y in pairs]), "--hidden", 8]
    if name == "translate":
        both = [(example("translate").english(n), example("translate").french(n)) for n in range(120)]
        files = [lines(folder / f"text.{k}", [pair[k] for pair in both]) for k in (0, 1)]
        return ["--data", *files, "--hidden", 8, "--embedding", 8, "--attention", "general"]
    if name == "chatbot":
        pairs = example("chatbot").conversations(0)[1]
        return ["--data", lines(folder / "chat.tsv", [f"{q}\t{a}" for q, a in pairs]), "--hidden", 8]
    if name == "sentiment":
        parts = [example("sentiment").opinions(n, rng) for n in (200, 70)]
        files = [lines(folder / f"{k}.txt", [f"{y} {x}" for x, y in part]) for k, part in enumerate(parts)]
        return ["--data", *files, "--hidden", 8]
    if name == "tagging":
        parts = [example("tagging").sentences(n, rng) for n in (100, 30)]
        files = [
            lines(folder / f"{k}.conll", [row for words, tags in part for row in
                                          [*(f"{w} {t}" for w, t in zip(words, tags, strict=True)), ""]])
            for k, part in enumerate(parts)
        ]  # fmt: skip
        return ["--data", *files, "--hidden", 8]
    if name in ("char_lm", "word_lm"):
        text = lines(folder / "text.txt", ["the quick brown fox jumps over the lazy dog ."] * 300)
        return ["--data", text, "--hidden", 16, "--window", 12]
    if name == "ctc_digits":
        return ["--hidden", 8, "--drawings", 50]
    return ["--hidden", 8]


# name: what it leaves besides NAME.safetensors and NAME-losses.png, what is asked of the saved model, what it answers
CASES: dict[str, tuple[list[str], list[str], str]] = {
    "dates": (["dates-attention.png"], ["3 May 1979", "May 3, 1979"], "3 May 1979  →"),
    "translate": (["translate-attention.png", "translate-beam.svg"], ["twenty-one"], "twenty-one\n  "),
    "chatbot": (["chatbot-attention.png"], ["when is the next train to rome?"], "\n"),
    "captions": (["captions.png", "captions-beam.svg"], ["3"], "picture 3: "),
    "sentiment": (["sentiment-verdict.png"], ["the film is not dull"], "%)  the film is not dull"),
    "tagging": ([], ["Anna moved to Kelburg ."], "Anna"),
    "char_lm": (["char_lm-surprise.png"], ["the quick "], "the quick "),
    "word_lm": ([], ["the quick"], "the quick "),
    "ctc_digits": (["ctc_digits-reading.png"], ["2718", "31"], "\n  2718 is read as "),
}


@pytest.mark.parametrize("name", CASES)
def test_an_example_trains_and_its_model_is_used(name: str, run: Run, tmp_path: Path) -> None:
    left, asked, answer = CASES[name]
    out = tmp_path / "out"
    done = run(name, *small(name, tmp_path), "--epochs", 1, "--out", out)
    assert done.status == 0, done.stderr[-2000:]
    assert str(out / f"{name}.safetensors") in done.stdout
    for file in [f"{name}.safetensors", f"{name}-losses.png", f"{name}.ckpt", *left]:
        assert (out / file).stat().st_size > 500, file
    used = run(name, "--load", out / f"{name}.safetensors", *asked)
    assert used.status == 0, used.stderr[-2000:]
    assert answer in used.stdout


def test_a_run_that_was_stopped_goes_on_to_the_same_end(run: Run, tmp_path: Path) -> None:
    """Ctrl-C in the middle of an epoch, and the same command with --resume: the weights are those of one run."""
    settings = [*small("dates", tmp_path), "--epochs", 15]
    whole = run("dates", *settings, "--out", tmp_path / "whole")
    assert whole.status == 0, whole.stderr[-2000:]
    stopped = subprocess.Popen(command("dates", *settings, "--out", tmp_path / "parts"), stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)  # fmt: skip
    checkpoint = tmp_path / "parts" / "dates.ckpt"
    while not checkpoint.exists() and stopped.poll() is None:
        time.sleep(0.02)
    stopped.send_signal(signal.SIGINT)
    said, _ = stopped.communicate(timeout=60)
    assert stopped.returncode == 1
    assert "the same command with --resume goes on" in said
    assert "Traceback" not in said
    assert not (tmp_path / "parts" / "dates.safetensors").exists()
    resumed = run("dates", *settings, "--out", tmp_path / "parts", "--resume")
    assert resumed.status == 0, resumed.stderr[-2000:]
    assert "going on after" in resumed.stdout
    one, other = (nn.load(tmp_path / part / "dates.safetensors") for part in ("whole", "parts"))
    assert all(np.array_equal(w.numpy(), other[name].numpy()) for name, w in one.items())


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("dates", ["--load", "none.safetensors", "x"], "none.safetensors"),
        ("dates", ["--data", "none.tsv"], "none.tsv"),
        ("dates", ["--resume"], "dates.ckpt"),
        ("sentiment", ["--data", "one"], "--data takes two files"),
        ("translate", ["hello"], "an input needs --load FILE"),
        ("captions", ["--data", "x"], "takes no others"),
        ("ctc_digits", ["--data", "x"], "takes no others"),
        ("ctc_digits", ["--load", "none.safetensors", "x7"], "'x7': give numbers to draw and read"),
        ("char_lm", ["--data", str(EXAMPLES / "copy_memory.py")], "are too few to learn from"),
    ],
)
def test_a_mistake_is_told_in_a_line(name: str, arguments: list[str], message: str, run: Run, tmp_path: Path) -> None:
    done = run(name, *arguments, "--out", tmp_path)
    assert done.status != 0
    assert message in done.stderr


def test_a_model_of_another_kind_is_refused(run: Run, tmp_path: Path) -> None:
    nlp.LanguageModel(5, 4, 4).save(tmp_path / "model.safetensors")
    done = run("dates", "--load", tmp_path / "model.safetensors", "3 May 1979")
    assert done.status != 0
    assert "it holds a model of the kind nlp.LanguageModel, not Seq2Seq" in done.stderr


def test_numbers_in_words() -> None:
    translate = example("translate")
    for n, english, french in [
        (0, "zero", "zéro"), (21, "twenty-one", "vingt et un"), (71, "seventy-one", "soixante et onze"),
        (77, "seventy-seven", "soixante-dix-sept"), (80, "eighty", "quatre-vingts"),
        (81, "eighty-one", "quatre-vingt-un"), (92, "ninety-two", "quatre-vingt-douze"),
        (200, "two hundred", "deux cents"), (380, "three hundred and eighty", "trois cent quatre-vingts"),
        (1001, "one thousand and one", "mille un"), (80_000, "eighty thousand", "quatre-vingt mille"),
        (200_300, "two hundred thousand three hundred", "deux cent mille trois cents"),
    ]:  # fmt: skip
        assert (translate.english(n), translate.french(n)) == (english, french)


def test_what_opinions_mean() -> None:
    """The grammar's labels, by a rule of its own."""
    sentiment = example("sentiment")

    def of_clause(clause: str) -> bool:
        words = clause.split()
        return (words[-1] in sentiment.GOOD) ^ (sum(w in sentiment.TURNS for w in words) % 2 == 1)

    for text, label in sentiment.opinions(500, np.random.default_rng(3)):
        if " but " in text:
            decisive = text.split(" but ")[1]
        elif text.startswith("although "):
            decisive = text.split(" , ")[1]
        else:
            decisive = text.split(" , even if ")[0]
        assert of_clause(decisive) == label, text

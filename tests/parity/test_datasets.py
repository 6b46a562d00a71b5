"""Hugging Face's `datasets` in batches: files on the disk, read without a copy in memory."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

import nlp
import nn

pytestmark = pytest.mark.parity

TEXTS = [("a good film", 1), ("bad", 0), ("so very bad a film", 0), ("good good", 1), ("a film", 1), ("bad so bad", 0)]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def loaded(kind: str, path: Path, tmp_path: Path) -> Any:
    return datasets.load_dataset(kind, data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))


def test_a_parquet_file_trains_a_classifier(tmp_path: Path) -> None:
    path = tmp_path / "reviews.parquet"
    columns = {"text": [text for text, _ in TEXTS], "label": [label for _, label in TEXTS]}
    datasets.Dataset.from_dict(columns).to_parquet(str(path))
    rows = loaded("parquet", path, tmp_path)
    tokenizer = nlp.WordTokenizer()
    tokenizer.fit(rows["text"])
    rows = rows.map(lambda row: {"ids": tokenizer.encode(row["text"])}, remove_columns=["text"])
    batches = nlp.Batches(rows, batch_size=2, shuffle=True, by_length=True)
    assert batches.examples is rows
    found = {}
    for batch in batches:
        assert batch.keys() == {"label", "ids"}
        for column, n, label in zip(batch["ids"].values.T, batch["ids"].lengths, batch["label"], strict=True):
            found[tokenizer.decode(column[:n].tolist())] = label
    assert found == dict(TEXTS)

    model = nlp.SequenceClassifier(len(tokenizer), 2, 8, 8)
    optimizer = nn.Adam(model.named_parameters(), lr=0.02)
    trainer = nn.Trainer(model, optimizer, lambda m, b: m.loss(b["ids"], b["label"]), progress=False)
    history = trainer.fit(batches, 20)
    assert history[-1]["mean_loss"] < 0.2 * np.log(2)


def test_an_example_reads_parquet_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    sentiment = importlib.import_module("sentiment")
    path = tmp_path / "reviews.parquet"
    for name in ("text", "sentence", "words"):
        columns = {name: [text for text, _ in TEXTS], "label": [label for _, label in TEXTS]}
        datasets.Dataset.from_dict(columns).to_parquet(str(path))
        if name == "words":
            with pytest.raises(
                ValueError, match=r"the columns are words, label; needed are label and sentence or text"
            ):
                sentiment.read(path)
        else:
            assert sentiment.read(path) == TEXTS


def test_lines_of_a_text_file(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(text for text, _ in TEXTS), encoding="utf-8")
    rows = loaded("text", path, tmp_path)
    batches = nlp.Batches(rows, batch_size=4)
    assert [batch["text"] for batch in batches] == [[t for t, _ in TEXTS[:4]], [t for t, _ in TEXTS[4:]]]

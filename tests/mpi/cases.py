"""Three trainings that ranks share: each gives weights and losses that do not depend on how many ranks there are."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Callable
from typing import Any

import numpy as np

import nlp
import nn

Array = Any


class Run:
    """A model, batches of a group, and a step."""

    def __init__(self, model: Any, batches: Any, step: Callable[[Any, Any], Any], items: Callable[[Any], int]) -> None:
        self.model, self.batches, self.step, self.items = model, batches, step, items
        self.carried: Any = None


def randomised(model: Any, seed: int) -> Any:
    """The model with random weights, biases included, as large as its own."""
    rng = np.random.default_rng(seed)
    for p in model.parameters():
        p.data = (rng.normal(size=p.shape) * 0.3).astype(p.dtype)
    return model


def language_model(group: nn.distributed.Group, dtype: Any, dropout: float = 0.0) -> Run:
    """Five streams with carried state; the last window has targets in some of them only."""
    model = randomised(nlp.LanguageModel(30, 12, 16, 2, dropout=dropout, dtype=dtype), 1)
    ids = np.random.default_rng(2).integers(0, 30, 5 * 7 * 6 + 3)
    carried = nn.TBPTT(7)

    def step(model: Any, window: nlp.Window) -> Any:
        h = carried(model.encode, window.inputs, reset=window.reset, batch_axis=1)
        return model.loss_of(h, window.targets)

    batches = nlp.LanguageModelBatches(ids, 5, 7, shard=group)
    run = Run(model, batches, step, lambda window: int((window.targets >= 0).sum()))
    run.carried = carried
    return run


def classifier(group: nn.distributed.Group, dtype: Any, dropout: float = 0.0) -> Run:
    """Sentences of 0 to 9 words; the last batch has one, so that all other ranks have none."""
    rng = np.random.default_rng(3)
    examples = [(rng.integers(0, 20, n), int(rng.integers(3))) for n in rng.integers(0, 10, 31)]
    model = nlp.SequenceClassifier(20, 3, 8, 8, 2, mlp=[6], pooling="max", dropout=dropout, dtype=dtype)
    batches = nlp.Batches(examples, batch_size=6, shuffle=True, by_length=True, buffer=12, shard=group)
    return Run(randomised(model, 4), batches, lambda model, batch: model.loss(*batch), lambda batch: len(batch[1]))


def seq2seq(group: nn.distributed.Group, dtype: Any, dropout: float = 0.0) -> Run:
    """Pairs of unequal lengths in batches of so many tokens; rows of the embeddings only have a gradient."""
    rng = np.random.default_rng(5)
    lengths = rng.integers(1, 7, (40, 2))
    pairs = [(rng.integers(3, 25, n), np.array([1, *rng.integers(3, 25, m), 2])) for n, m in lengths]
    model = nlp.Seq2Seq(25, 25, 8, 8, bos_id=1, eos_id=2, dropout=dropout, dtype=dtype)
    model.embedding = nn.Embedding(25, 8, sparse=True, dtype=dtype)
    model.decoder.embedding = nn.Embedding(25, 8, sparse=True, dtype=dtype)
    batches = nlp.Batches(pairs, max_tokens=60, shuffle=True, by_length=True, shard=group)
    return Run(randomised(model, 6), batches, lambda model, batch: model.loss(*batch),
               lambda batch: int((batch[1].lengths - 1).sum()))  # fmt: skip


CASES = {"language model": language_model, "classifier": classifier, "seq2seq": seq2seq}


def trained(run: Run, group: nn.distributed.Group, steps: int) -> tuple[list[Array], list[float]]:
    """The weights after so many steps of Adam with clipping, and the mean loss of each step."""
    optimizer = nn.distributed.DataParallel(
        nn.Adam(run.model.named_parameters(), lr=0.01, clip_norm=1.0), group, run.model
    )
    losses: list[float] = []
    while len(losses) < steps:
        if run.carried is not None:
            run.carried.restart()
        for batch in run.batches:
            optimizer.zero_grad()
            loss = None if batch is None else run.step(run.model, batch)
            items = 0 if batch is None else run.items(batch)
            mean, total = optimizer.mean(loss, items)
            losses.append(mean.item())
            optimizer.backward(loss, items, total)
            optimizer.step()
            if len(losses) == steps:
                break
    return [p.data for p in run.model.parameters()], losses


def furthest(found: list[Array], expected: list[Array]) -> float:
    """The largest difference, of each array relative to its largest number."""
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(found, expected, strict=True))


def check_equalities(group: nn.distributed.Group, steps: int = 50) -> None:
    """The ranks of a group find what one process finds."""
    alone = nn.distributed.Group()
    for name, make in CASES.items():
        for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-5)):
            weights, losses = trained(make(group, dtype), group, steps)
            texts = group.texts(hashlib.sha256(b"".join(w.tobytes() for w in weights)).hexdigest())
            assert len(set(texts)) == 1, f"{name}: the weights of the ranks differ"
            if group.first:
                exact, expected = trained(make(alone, dtype), alone, steps)
                assert furthest(weights, exact) < tolerance, (name, dtype, furthest(weights, exact))
                np.testing.assert_allclose(losses, expected, rtol=tolerance, err_msg=name)


def trainer(
    group: nn.distributed.Group, checkpoint: str, stop_after: int | None = None, dropout: float = 0.0, **how: Any
) -> Any:  # fmt: skip
    """A Trainer of the language model in float64, its batches and those for validation; after so many steps the last
    rank gets a Ctrl-C."""
    run = language_model(group, np.float64, dropout)
    optimizer = nn.Adam(run.model.named_parameters(), lr=0.02, clip_norm=1.0)

    def step(model: Any, window: Any) -> Any:
        last = stop_after is not None and model.training and made.reached.steps == stop_after - 1
        if last and group.rank == group.size - 1:
            signal.raise_signal(signal.SIGINT)
        return run.step(model, window)

    made = nn.Trainer(run.model, optimizer, step, carried=run.carried, items=run.items, log_every=2, progress=False,
                      schedule=nn.ReduceLROnPlateau(optimizer, patience=0), patience=3, restore_best=True,
                      checkpoint=checkpoint, group=group, **how)  # fmt: skip
    unseen = nlp.LanguageModelBatches(np.random.default_rng(7).integers(0, 30, 60), 3, 7, shard=group)
    return made, run.batches, unseen

"""The compiled trainer beside the NumPy one. (Their gradients are compared with the graph's in test_word2vec.py.)"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nlp import Word2Vec, python_documentation
from nlp.word2vec import kernels, model, updates

pytestmark = pytest.mark.skipif(not kernels.INSTALLED, reason="needs Numba, of the extra `fast`")


def corpus() -> list[list[str]]:
    return [line.split() for line in python_documentation()[:120_000].lower().split("\n")]


@pytest.mark.parametrize("loss", ["negative", "hierarchical"])
@pytest.mark.parametrize("mode", ["cbow", "skipgram"])
def test_one_epoch_gives_the_vectors_of_numpy(mode: Any, loss: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some 20,000 words, each after all before it: rounding may grow, but not to where it would be seen."""
    models = []
    for switch in ("1", "0"):
        monkeypatch.setenv("MINIGRAD_COMPILE", switch)
        assert (model.fastest() is updates.train) == (switch == "0")
        models.append(Word2Vec(mode, loss, dim=20, min_count=2, epochs=1, lr=0.05).fit(corpus(), progress=False))
    compiled, plain = models
    assert len(plain.vectors) > 1000
    error = np.abs(compiled.vectors.vectors - plain.vectors.vectors).max() / np.abs(plain.vectors.vectors).max()
    assert error < 1e-4
    assert compiled.losses == pytest.approx(plain.losses, rel=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoids_and_losses(dtype: Any) -> None:
    x = np.concatenate([np.linspace(-30, 30, 5001), [-1e4, -100, -88, 0, 88, 100, 1e4]]).astype(dtype)
    with np.errstate(over="ignore"):
        sigmoids = 1 / (1 + np.exp(x.astype(np.float64)))
    losses = np.logaddexp(0, -x.astype(np.float64))
    for k in range(0, len(x), 50):
        part = x[k : k + 50].copy()
        total = kernels.pull(part, len(part), np.empty(50, dtype), np.empty(50, np.int32))
        assert total == pytest.approx(losses[k : k + 50].sum(), rel=1e-6 if dtype is np.float32 else 1e-13)
        error, small = np.abs(part - sigmoids[k : k + 50]), 1e-37 if dtype is np.float32 else 0
        allowed = 1e-7 * (2 + np.abs(x[k : k + 50])) if dtype is np.float32 else 1e-14
        assert np.all(error <= allowed * sigmoids[k : k + 50] + small)


def test_nan_is_kept() -> None:
    """So that an overflow is noticed."""
    x = np.array([1, np.nan, -np.inf, 2], np.float32)
    total = kernels.pull(x, 4, np.empty(4, np.float32), np.empty(4, np.int32))
    assert not np.isfinite(total)
    assert np.isnan(x[1])


@pytest.mark.parametrize("mode", ["cbow", "skipgram"])
def test_many_negatives_and_wide_windows(mode: Any) -> None:
    """More than a product of factors up to 2 could hold."""
    words = [str(k) for k in np.random.default_rng(0).integers(0, 60, 300)]
    settings: dict[str, Any] = {"dim": 7, "window": 30, "negatives": 200, "min_count": 1, "subsample": 0, "epochs": 1}
    fitted = Word2Vec(mode, **settings).fit([words], progress=False)
    assert np.isfinite(fitted.losses[0])

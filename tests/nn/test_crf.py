"""The CRF against sums over all sequences of tags; derivatives; masks; constraints; what does not fit."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from nn.crf import CRF, Forward

T, N, K = 4, 3, 3
LENGTHS = [4, 1, 3]
MASK = np.arange(T)[:, None] < np.array(LENGTHS)
Rng = np.random.Generator
every_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])


def random_crf(rng: Rng, tags: int = K, dtype: Any = np.float64, **options: Any) -> CRF:
    crf = CRF(tags, dtype=dtype, **options)
    crf.load_state_dict({name: rng.standard_normal(p.shape) for name, p in crf.named_parameters()})
    return crf


def score(crf: CRF, e: Any, y: Any) -> float:
    """s(y) of one sequence, emissions (T, K)."""
    transitions = crf.transitions.numpy().astype(np.float64)
    if crf.constraints is not None:
        transitions[~crf.constraints.numpy()] = -np.inf
    if any(may is not None and not may.numpy()[tag] for may, tag in ((crf.first, y[0]), (crf.last, y[-1]))):
        return -np.inf
    total = crf.start.numpy()[y[0]] + crf.end.numpy()[y[-1]] + sum(e[t, tag] for t, tag in enumerate(y))
    return float(total + sum(transitions[a, b] for a, b in itertools.pairwise(y)))


def every_path(crf: CRF, e: Any) -> dict[tuple[int, ...], float]:
    """The probability of each sequence of tags."""
    paths = list(itertools.product(range(crf.num_tags), repeat=len(e)))
    s = np.array([score(crf, e, y) for y in paths])
    p = np.exp(s - s.max())
    return dict(zip(paths, p / p.sum(), strict=True))


@every_dtype
@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("tags", [1, 3])
def test_likelihood_and_viterbi_by_all_sequences(tags: int, lengths: Any, dtype: Any, rng: Rng) -> None:
    crf = random_crf(rng, tags, dtype)
    e, y = rng.standard_normal((T, N, tags)).astype(dtype), rng.integers(0, tags, (T, N))
    found = crf.log_likelihood(mg.Tensor(e), y, lengths=lengths)
    best, scores = crf.viterbi(e, lengths=lengths)
    partition = crf.log_partition(e, lengths=lengths)
    assert found.dtype == scores.dtype == partition.dtype == dtype
    tolerance = 1e-12 if dtype is np.float64 else 1e-5
    expected = []
    for n, length in enumerate(lengths or [T] * N):
        p = every_path(crf, e[:length, n])
        expected.append(np.log(p[tuple(y[:length, n])]))
        winner = max(p, key=lambda path: p[path])
        assert best[n] == list(winner)
        np.testing.assert_allclose(scores.numpy()[n], score(crf, e[:, n], winner), rtol=tolerance)
        np.testing.assert_allclose(
            partition.numpy()[n], score(crf, e[:, n], winner) - np.log(p[winner]), rtol=tolerance
        )
    np.testing.assert_allclose(found.numpy(), expected, rtol=tolerance, atol=tolerance)
    for reduction, value in (("mean", -np.mean(expected)), ("sum", -np.sum(expected)), ("none", -np.array(expected))):
        loss = crf(e, y, lengths=lengths, reduction=reduction)
        np.testing.assert_allclose(loss.numpy(), value, rtol=tolerance, atol=tolerance)


def test_gradients_of_the_partition_are_marginals(rng: Rng) -> None:
    crf = random_crf(rng)
    e = mg.Tensor(rng.standard_normal((T, N, K)), requires_grad=True)
    np.sum(crf.log_partition(e, lengths=LENGTHS)).backward()
    places, pairs = np.zeros((T, N, K)), np.zeros((K, K))
    for n, length in enumerate(LENGTHS):
        for path, p in every_path(crf, e.numpy()[:length, n]).items():
            for t, tag in enumerate(path):
                places[t, n, tag] += p
            for a, b in itertools.pairwise(path):
                pairs[a, b] += p
    np.testing.assert_allclose(e.grad.numpy(), places, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(crf.transitions.grad.numpy(), pairs, rtol=1e-12)
    np.testing.assert_allclose(crf.start.grad.numpy(), places[0].sum(0), rtol=1e-12)
    last = sum(places[length - 1, n] for n, length in enumerate(LENGTHS))
    np.testing.assert_allclose(crf.end.grad.numpy(), last, rtol=1e-12)


@pytest.mark.parametrize("constrained", [False, True])
def test_derivatives(constrained: bool, rng: Rng) -> None:
    allowed = np.array([[True, False, True], [True, True, True], [False, True, True]])
    crf = random_crf(rng, constraints=allowed if constrained else None)
    y = np.array([[0, 1, 2], [0, 2, 1], [2, 0, 1], [1, 0, 0]])

    def of(e: Any, *weights: Any) -> Any:
        for name, weight in zip(("transitions", "start", "end"), weights, strict=True):
            object.__setattr__(crf, name, weight)
        return crf(e, y, MASK), crf.log_partition(e, MASK)

    tensors = [rng.standard_normal((T, N, K)), *[p.numpy() for p in crf.parameters()]]
    inputs = tuple(mg.Tensor(a, requires_grad=True) for a in tensors)
    assert np.isfinite(crf(inputs[0], y, MASK).item())
    assert mg.gradcheck(of, inputs)
    assert mg.gradgradcheck(of, inputs)


def test_lengths_masks_and_layouts_are_the_same(rng: Rng) -> None:
    crf = random_crf(rng)
    e, y = rng.standard_normal((T, N, K)), rng.integers(0, K, (T, N))
    first = random_crf(rng, batch_first=True)
    first.load_state_dict(crf.state_dict())
    expected = crf.log_likelihood(e, y, lengths=LENGTHS).numpy()
    for lengths in (np.array(LENGTHS), np.array(LENGTHS, np.uint8), mg.tensor(LENGTHS)):
        np.testing.assert_array_equal(crf.log_likelihood(e, y, lengths=lengths).numpy(), expected)
    np.testing.assert_array_equal(crf.log_likelihood(e, y, MASK).numpy(), expected)
    by_batch = np.swapaxes(e, 0, 1)
    np.testing.assert_allclose(first.log_likelihood(by_batch, y.T, MASK.T).numpy(), expected, rtol=1e-13)
    np.testing.assert_allclose(first.log_likelihood(by_batch, y.T, lengths=LENGTHS).numpy(), expected, rtol=1e-13)
    assert first.viterbi(by_batch, MASK.T)[0] == crf.viterbi(e, lengths=LENGTHS)[0]
    for n, length in enumerate(LENGTHS):
        alone = crf.log_likelihood(e[:length, n : n + 1], y[:length, n : n + 1])
        np.testing.assert_allclose(alone.numpy(), expected[n : n + 1], rtol=1e-12)


def test_padding_does_not_leak(rng: Rng) -> None:
    crf = random_crf(rng)
    e, y = rng.standard_normal((T, N, K)), rng.integers(0, K, (T, N))
    results = []
    for spoil, pad in ((None, None), (np.nan, -100), (np.inf, 77)):
        x = mg.Tensor(e if spoil is None else np.where(MASK[..., None], e, spoil), requires_grad=True)
        tags = y if pad is None else np.where(MASK, y, pad)
        crf.zero_grad()
        loss = crf(x, tags, MASK)
        loss.backward(create_graph=True)
        gradients = [x.grad, *[p.grad for p in crf.parameters()]]
        total: Any = sum(np.sum(g * g) for g in gradients)
        x.grad = None
        total.backward()
        paths, scores = crf.viterbi(x, MASK)
        results.append([loss.numpy(), scores.numpy(), x.grad.numpy(), *[g.numpy() for g in gradients], paths])
        assert np.all(gradients[0].numpy()[~MASK] == 0)
        assert np.all(gradients[0].numpy()[MASK] != 0)
    for other in results[1:]:
        assert other[-1] == results[0][-1]
        for a, b in zip(other[:-1], results[0][:-1], strict=True):
            np.testing.assert_array_equal(a, b)


def test_constraints(rng: Rng) -> None:
    allowed = np.array([[True, False, True], [True, True, False], [False, False, True]])
    crf = random_crf(rng, constraints=allowed.tolist())
    e = rng.standard_normal((T, N, K))
    paths, _ = crf.viterbi(e)
    for n, path in enumerate(paths):
        assert all(allowed[a, b] for a, b in itertools.pairwise(path))
        p = every_path(crf, e[:, n])
        assert path == list(max(p, key=lambda y: p[y]))
        y = np.array(path)[:, None]
        np.testing.assert_allclose(crf(e[:, n : n + 1], y).item(), -np.log(p[tuple(path)]), rtol=1e-11)
    assert crf(e[:2, :1], [[0], [1]]).item() == np.inf
    assert list(crf.state_dict()) == ["transitions", "start", "end"]


def test_first_and_last_tags(rng: Rng) -> None:
    crf = random_crf(rng, first=[True, True, False], last=[False, True, True])
    e, y = rng.standard_normal((T, N, K)), rng.integers(0, 2, (T, N))
    y[-1] = y[0] = y[2, 2] = 1  # a sequence that is allowed, of each length
    paths, scores = crf.viterbi(e, lengths=LENGTHS)
    loss = crf(mg.Tensor(e, requires_grad=True), y, lengths=LENGTHS, reduction="none")
    np.sum(loss).backward()
    for n, length in enumerate(LENGTHS):
        p = every_path(crf, e[:length, n])
        assert paths[n] == list(max(p, key=lambda path: p[path]))
        np.testing.assert_allclose(scores.numpy()[n], score(crf, e[:, n], paths[n]), rtol=1e-12)
        np.testing.assert_allclose(loss.numpy()[n], -np.log(p[tuple(y[:length, n])]), rtol=1e-11)
    assert all(np.all(np.isfinite(w.grad.numpy())) for w in crf.parameters())
    assert crf.start.grad.numpy()[2] == crf.end.grad.numpy()[0] == 0
    assert crf(e, np.full((T, N), 2)).item() == crf(e, np.zeros((T, N), int)).item() == np.inf
    assert list(crf.state_dict()) == ["transitions", "start", "end"]


def test_large_scores(rng: Rng) -> None:
    crf = random_crf(rng, dtype=np.float32)
    e = (1e4 * rng.standard_normal((T, N, K))).astype(np.float32)
    paths, _ = crf.viterbi(e)
    loss = crf(mg.Tensor(e, requires_grad=True), np.array(paths).T)
    assert loss.item() == pytest.approx(0, abs=0.02)
    loss.backward()
    assert all(np.all(np.isfinite(p.grad.numpy())) for p in crf.parameters())


def test_training_finds_the_order_of_tags(rng: Rng) -> None:
    """Emissions say nothing; the tags go round 0, 1, 2."""
    crf = CRF(3)
    y = (np.arange(8)[:, None] + np.arange(6)) % 3
    e = mg.zeros((8, 6, 3))
    for _ in range(200):
        loss = crf(e, y)
        crf.zero_grad()
        loss.backward()
        with mg.no_grad():
            for p in crf.parameters():
                p -= 0.5 * p.grad
    assert loss.item() < 1.3  # log 3 for the first tag
    assert all((b - a) % 3 == 1 for path in crf.viterbi(e)[0] for a, b in itertools.pairwise(path))


E = np.zeros((T, N, K))
Y = np.zeros((T, N), int)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda c: c(E, Y, lengths=[4, -1, 1]), ValueError, "lengths must be from 0 to T = 4, not -1"),
        (lambda c: c(E, Y, lengths=[4, 5, 1]), ValueError, "lengths must be from 0 to T = 4, not 5"),
        (lambda c: c(E, Y, lengths=[4, 1]), ValueError, r"3 integers, one for each sequence, not int64 \(2,\)"),
        (lambda c: c(E, Y, lengths=[4.0, 1.0, 1.0]), ValueError, "3 integers.*float64"),
        (lambda c: c(E, Y, MASK, [4, 1, 3]), ValueError, "not both"),
        (lambda c: c(E, Y, MASK[::-1]), ValueError, "the mask of sequence 1 has a hole"),
        (lambda c: c(E, Y, MASK & (np.arange(T) != 1)[:, None]), ValueError, "the mask of sequence 0 has a hole"),
        (lambda c: c(E, Y, MASK.T), ValueError, r"boolean and of shape \(4, 3\), got bool \(3, 4\)"),
        (lambda c: c(E, Y, MASK * 1.0), ValueError, "boolean.*float64"),
        (lambda c: c(E, Y.T), ValueError, r"\(T, N\) = \(4, 3\), not int64 \(3, 4\)"),
        (lambda c: c(E, E[..., 0]), ValueError, "tags must be integers.*float64"),
        (lambda c: c(E, Y + 3), IndexError, r"index 3 .*\[0, 3\)"),
        (lambda c: c(E, Y - 1), IndexError, "index -1"),
        (lambda c: c(E[..., :2], Y), ValueError, r"\(T, N, K\) with K = 3, not \(4, 3, 2\)"),
        (lambda c: c(E[0], Y), ValueError, r"not \(3, 3\)"),
        (lambda c: c(E, Y, reduction="avg"), ValueError, "'avg'"),
        (lambda c: CRF(K, batch_first=True)(E, Y.T), ValueError, r"\(N, T\) = \(4, 3\), not int64 \(3, 4\)"),
        (lambda c: CRF(0), ValueError, "at least 1, not 0"),
        (lambda c: CRF(2, constraints=np.ones((3, 3), bool)), ValueError, r"boolean, \(2, 2\), not bool \(3, 3\)"),
        (lambda c: CRF(2, first=[1, 0]), ValueError, r"first must be boolean, \(2,\), not int64 \(2,\)"),
        (lambda c: CRF(2, last=[True]), ValueError, r"last must be boolean, \(2,\), not bool \(1,\)"),
    ],
)  # fmt: skip
def test_errors(call: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=f"CRF: .*{message}"):
        call(CRF(K))


@pytest.mark.parametrize("constrained", [False, True])
def test_it_runs_everywhere(constrained: bool, backend: Any, rng: Rng) -> None:
    allowed = {"constraints": np.ones((K, K), bool), "first": [True] * K, "last": [True] * K} if constrained else {}
    crf = random_crf(rng, **allowed)
    e, y = rng.standard_normal((T, N, K)), rng.integers(0, K, (T, N))
    expected, paths = crf(e, y, MASK).item(), crf.viterbi(e, MASK)[0]
    crf.to(backend.device)
    x = backend.tensor(e, requires_grad=True)
    for given in ({"mask": backend.array(MASK)}, {"lengths": LENGTHS}, {"lengths": backend.array(LENGTHS)}):
        loss = crf(x, backend.array(y), **given)
        loss.backward()
        np.testing.assert_allclose(backend.numpy(loss), expected, rtol=1e-12)
        assert crf.viterbi(x, **given)[0] == paths
    assert np.all(np.isfinite(backend.numpy(crf.transitions.grad)))


# ---- the recursion as a program ----------------------------------------------------------------------------------


def gradients(crf: CRF, e: Any, y: Any, **given: Any) -> list[Any]:
    """The loss of each sequence, and the gradients of their sum."""
    x = mg.Tensor(e, requires_grad=True)
    crf.zero_grad()
    loss = crf(x, y, **given, reduction="none")
    np.sum(loss).backward()
    return [loss.numpy(), x.grad.numpy(), *[p.grad.numpy() for p in crf.parameters()]]


def bio(types: int) -> dict[str, Any]:
    """The constraints of tags O, B-1, I-1, B-2, ...: an I-k follows B-k or I-k."""
    K = 2 * types + 1
    inside = (np.arange(K) % 2 == 0) & (np.arange(K) > 0)
    allowed = np.ones((K, K), bool)
    for k in np.flatnonzero(inside):
        allowed[:, k] = False
        allowed[[k - 1, k], k] = True
    return {"constraints": allowed, "first": ~inside}


@every_dtype
@pytest.mark.parametrize("options", [{}, bio(2)], ids=["free", "constrained"])
@pytest.mark.parametrize("lengths", [None, [9, 0, 1, 5, 2, 9]])
def test_the_program_is_the_loop(lengths: Any, options: Any, dtype: Any, rng: Rng) -> None:
    crf = random_crf(rng, 5, dtype, **options)
    e = (3 * rng.standard_normal((9, 6, 5))).astype(dtype)
    y = rng.integers(0, 2, (9, 6))
    found = gradients(crf, e, y, lengths=lengths)
    assert crf.rolled is True or "no compiled kernels" in str(crf.rolled)
    with mg.plain_path():
        expected = gradients(crf, e, y, lengths=lengths)
    assert "switched off" in str(crf.rolled)
    tolerance = 1e-12 if dtype is np.float64 else 2e-5
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("far", [30.0, 50.0, 60.0, 300.0])
def test_scores_that_underflow_are_summed_exactly(far: float, rng: Rng) -> None:
    """The only path to the last tag begins at an unlikely one: too unlikely for the exp of float32."""
    chain = np.zeros((3, 3), bool)
    chain[0, 0] = chain[1, 1] = chain[1, 2] = chain[2, 2] = True
    e = np.zeros((4, 2, 3))
    e[:, :, 0] = far  # the tag 0 leads to itself alone
    e[2:, :, 2] = 2 * far + rng.standard_normal((2, 2))
    e += rng.standard_normal(e.shape)
    y = np.array([[1, 1], [1, 2], [2, 2], [2, 2]])
    exact = gradients(random_crf(np.random.default_rng(1), constraints=chain), e, y)
    found = gradients(
        random_crf(np.random.default_rng(1), dtype=np.float32, constraints=chain), e.astype(np.float32), y
    )
    for a, b in zip(found, exact, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@every_dtype
def test_a_fast_step_is_right_or_not_finite(dtype: Any) -> None:
    transitions = np.where([[True, False], [False, True]], 0.0, -np.inf).astype(dtype)
    limit = -float(np.log(np.finfo(dtype).tiny))
    far = np.linspace(0.5 * limit, 1.3 * limit, 200).astype(dtype)
    state = (mg.Tensor(np.stack([np.zeros_like(far), -far], axis=1)),)
    cell, e = Forward(mg.Tensor(transitions)), mg.zeros((200, 2), dtype=dtype)
    with np.errstate(all="ignore"):
        fast = cell.fast_step(e, state)[0].numpy()[:, 1]
    exact = cell.step(e, state)[0].numpy()[:, 1]
    finite = np.isfinite(fast)
    assert finite[0]
    assert not finite[-1]
    np.testing.assert_allclose(fast[finite], exact[finite], rtol=4 * np.finfo(dtype).eps)


def test_a_compiled_loss_is_the_loss(rng: Rng) -> None:
    crf, y = random_crf(rng, 4), rng.integers(0, 4, (7, 3))

    @mg.compile
    def step(e: Any) -> Any:
        crf.zero_grad()
        loss = crf(e, y)
        loss.backward()
        return loss.detach()

    for _ in range(3):
        e = mg.Tensor(rng.standard_normal((7, 3, 4)))
        found, gradient = step(e).item(), crf.transitions.grad.numpy().copy()
        crf.zero_grad()
        loss = crf(e, y)
        loss.backward()
        assert found == pytest.approx(loss.item(), rel=1e-12)
        np.testing.assert_allclose(gradient, crf.transitions.grad.numpy(), rtol=1e-10, atol=1e-12)


def test_it_tells_why_its_recursion_is_not_rolled() -> None:
    crf = CRF(3)
    assert crf.rolled == "not rolled: it was not called yet"
    with mg.plain_path(), mg.profile() as p:
        crf(mg.randn(4, 2, 3), np.zeros((4, 2), int))
    assert crf.rolled == "not rolled: fast paths are switched off"
    assert "not rolled: fast paths are switched off" in str(p)

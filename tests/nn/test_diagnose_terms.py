"""bptt_terms: the summands of the gradient, for every cell and every way in which its weights are used."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oracles import VARIANTS, Variant, near, randomize, tensors, total
from places import Place

import minigrad as mg
import nn
from nn.diagnose import times

Rng = np.random.Generator
every_variant = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
T, N, D, H = 5, 3, 3, 4
LENGTHS = [5, 2, 3]


@pytest.fixture
def no_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a gradient is split the expensive way, one walk through a rule for each step."""

    def refused(*_: Any) -> Any:
        raise AssertionError("a product was not split by rows")

    monkeypatch.setattr(times, "masked", refused)


def gradient_of(parameter: Any) -> Any:
    """Its .grad as an array; taken away."""
    grad, parameter.grad = parameter.grad, None
    return grad.dense() if isinstance(grad, mg.RowSparse) else grad.numpy()


def check(loss: mg.Tensor, parameters: dict[str, Any], rest: tuple[str, ...] = ()) -> dict[str, nn.diagnose.Terms]:
    """Terms by use step and by loss step add up to .grad, which nobody has touched; only `rest` have a rest."""
    found = {name: nn.diagnose.bptt_terms(loss, p) for name, p in parameters.items()}
    by_loss = {name: nn.diagnose.bptt_terms(loss, p, by="loss") for name, p in parameters.items()}
    both = {name: (each.terms, each.rest) for name, each in by_loss.items()}
    assert all(p.grad is None for p in parameters.values())
    loss.backward()
    for name, p in parameters.items():
        terms, grad = found[name], gradient_of(p)
        near(terms.terms.sum(axis=0) + terms.rest, grad, what=name)
        near(both[name][0].sum(axis=0), terms.terms, what=name)
        near(both[name][1], terms.rest, what=name)
        assert terms.rest.any() == (name in rest), name
        assert np.isfinite(terms.norms).all()
    return found


def by_copies(cell: Any, xs: Any, lengths: list[int], weights: Any, reverse: bool) -> dict[str, Any]:
    """The term of each step, from a loop in which every step has a copy of the cell, with weights of its own."""
    copies = [copy.deepcopy(cell) for _ in range(T)]
    loss: Any = 0.0
    for n, length in enumerate(lengths):
        state = tuple(cell.initial_state(1))
        for t in reversed(range(length)) if reverse else range(length):
            state = copies[t].step(copies[t].inputs(mg.tensor(xs[t, n : n + 1])), state)[: len(state)]
            output = copies[t].output(state[0]) if hasattr(cell, "output") else state[0]
            loss = loss + (output * weights[t, n]).sum()
    loss.backward()
    names = [name for name, _ in cell.named_parameters()]
    each = [dict(c.named_parameters()) for c in copies]
    return {
        name: np.stack([np.zeros(c[name].shape) if c[name].grad is None else c[name].grad.numpy() for c in each])
        for name in names
    }


# ---- every cell --------------------------------------------------------------------------------------------------


@every_variant
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.usefixtures("no_masks")
def test_terms_are_the_gradients_of_copies_a_step(variant: Variant, reverse: bool, lengths: Any, rng: Rng) -> None:
    cell = randomize(variant.make(D), rng)
    xs = rng.standard_normal((T, N, D))
    output, _ = nn.Recurrent(cell, reverse=reverse)(mg.tensor(xs), lengths=lengths)
    weights = rng.standard_normal(output.shape)
    found = check((output * weights).sum(), dict(cell.named_parameters()))
    expected = by_copies(cell, xs, lengths or [T] * N, weights, reverse)
    for name, terms in found.items():
        near(terms.terms, expected[name], what=name)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.usefixtures("no_masks")
def test_a_bidirectional_stack_with_everything_used(kind: Any, lengths: Any, rng: Rng) -> None:
    layer = randomize(kind(D, H, 2, bidirectional=True, learn_state=True, dtype=np.float64), rng)
    loss = total(layer(tensors(rng.standard_normal((T, N, D))), lengths=lengths, return_states=True))
    check(loss, dict(layer.named_parameters()))


def test_regularised_layers_of_different_kinds(rng: Rng) -> None:
    made: dict[str, Any] = {"dtype": np.float64}
    cells = [nn.LSTMCell(D, H, recurrent_dropout=0.3, zoneout=0.2, **made), nn.LayerNorm(H, **made)]
    layer = nn.Stacked([*cells, nn.GRUCell(H, H, **made)], dropout=0.3, residual=True, batch_first=True)
    mask = np.array([[1, 1, 0, 1, 1], [0, 1, 1, 0, 0], [1, 0, 1, 1, 1]], bool)
    output, _ = layer(tensors(rng.standard_normal((N, T, D))), mask=mask)
    check(total(output), dict(randomize(layer, rng).named_parameters()))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.usefixtures("no_masks")
def test_an_embedding_and_a_head_around_a_layer(sparse: bool, rng: Rng) -> None:
    embedding = nn.Embedding(7, D, padding_idx=0, sparse=sparse, dtype=np.float64)
    layer, head = nn.GRU(D, H, bidirectional=True, dtype=np.float64), nn.Linear(2 * H, 3, dtype=np.float64)
    logits = head(layer(embedding(rng.integers(0, 7, (T, N))))[0])
    loss = nn.CrossEntropyLoss()(logits.reshape((-1, 3)), rng.integers(0, 3, T * N))
    found = check(loss, {"embedding": embedding.weight, "head.weight": head.weight, "head.bias": head.bias})
    assert (found["head.bias"].norms > 0).all()
    assert not found["embedding"].terms[:, 0].any()


def test_a_head_on_the_final_states_of_a_ragged_batch(rng: Rng) -> None:
    layer, head = nn.LSTM(D, H, dtype=np.float64), nn.Linear(H, 2, dtype=np.float64)
    _, (h, _) = layer(tensors(rng.standard_normal((T, N, D))), lengths=LENGTHS)
    loss = total(head(h[-1])) + 0.1 * (head.weight**2).sum()
    found = check(loss, {"weight": head.weight, "bias": head.bias}, rest=("weight",))
    assert np.flatnonzero(found["bias"].norms).tolist() == sorted(n - 1 for n in LENGTHS)
    near(found["weight"].rest, 0.2 * head.weight.numpy())


def test_dropped_weights(rng: Rng) -> None:
    layer = nn.WeightDrop(nn.LSTM(D, H, dtype=np.float64), ["weight_hh_l0"], p=0.5)
    check(total(layer(tensors(rng.standard_normal((T, N, D))))[0]), dict(layer.named_parameters()))


def test_the_plain_path_gives_the_same(rng: Rng) -> None:
    layer = nn.GRU(D, H, 2, dtype=np.float64)
    xs = tensors(rng.standard_normal((T, N, D)))
    fast = check(total(layer(xs)[0]), dict(layer.named_parameters()))
    with mg.plain_path():
        plain = check(total(layer(xs)[0]), dict(layer.named_parameters()))
    for name, terms in fast.items():
        near(plain[name].terms, terms.terms)


def test_float32(rng: Rng) -> None:
    layer = nn.LSTM(D, H)
    loss = total(layer(mg.tensor(rng.standard_normal((T, N, D)), dtype=np.float32))[0])
    found = nn.diagnose.bptt_terms(loss, layer.weight_ih_l0)
    loss.backward()
    assert found.terms.dtype == np.float32
    near(found.total, layer.weight_ih_l0.grad, 1e-6)


# ---- loops of one's own ------------------------------------------------------------------------------------------


class Hand:
    """Weights of a vanilla network."""

    def __init__(self, rng: Rng) -> None:
        self.W, self.U, self.b, self.V, self.c = tensors(
            [0.5 * rng.standard_normal(shape) for shape in ((D, H), (H, H), (H,), (H, 2), (2,))]
        )
        self.xs = rng.standard_normal((T, N, D))

    def parameters(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "xs"}

    def each(self, zs: Any) -> Any:
        """The states (T, N, H), from the input maps of all steps."""
        s, states = np.zeros((N, H)), []
        for _, z in mg.steps(zs):
            s = np.tanh(z + s @ self.U)
            states.append(s)
        return np.stack(states)


HOISTED: dict[str, Callable[[Hand], Any]] = {
    "matmul and a sum": lambda p: p.xs @ p.W + p.b,
    "linear": lambda p: mg.linear(mg.tensor(p.xs), p.W.T, p.b),
    "a transposed weight and einsum": lambda p: np.einsum("tnd,hd->tnh", p.xs, p.W.T) + p.b,
    "batch first": lambda p: np.swapaxes(np.swapaxes(p.xs, 0, 1) @ p.W + p.b, 0, 1),
    "rows": lambda p: np.reshape(np.reshape(p.xs, (T * N, D)) @ p.W + p.b, (T, N, H)),
    "columns": lambda p: np.moveaxis(
        np.reshape(p.W.T @ p.xs.transpose(2, 0, 1).reshape(D, T * N), (H, T, N)), 0, 2
    ) + p.b,
    "deep": lambda p: mg.silu(p.xs @ p.W + p.b) * 2.0 - np.mean(p.b),
    "normalised": lambda p: mg.softmax(p.xs @ p.W + p.b, axis=-1),
    "mixed over time": lambda p: np.cumsum(p.xs @ p.W + p.b, axis=0),
    "pieces": lambda p: [z[0] for z in np.split(p.xs @ p.W + p.b, T)],
}  # fmt: skip


@pytest.mark.parametrize("way", HOISTED)
def test_input_maps_before_the_loop(way: str, rng: Rng) -> None:
    p = Hand(rng)
    found = check(total(p.each(HOISTED[way](p)) @ p.V + p.c), p.parameters())
    if way != "mixed over time":
        return
    # what step k takes from the running sum is itself the use of W at step k
    expected = np.zeros((T, D, H))
    zs = mg.tensor(np.cumsum(p.xs @ p.W.numpy() + p.b.numpy(), axis=0), requires_grad=True)
    total(p.each(zs) @ p.V + p.c).backward()
    for k in range(T):
        expected[k] = np.einsum("nd,nh->dh", p.xs[: k + 1].sum(axis=0), zs.grad.numpy()[k])
    near(found["W"].terms, expected)


OUTSIDE: dict[str, Callable[[Hand, Any], Any]] = {
    "matmul": lambda p, s: s @ p.V + p.c,
    "linear": lambda p, s: mg.linear(s, p.V.T, p.c),
    "batch first": lambda p, s: np.swapaxes(s, 0, 1) @ p.V + p.c,
    "rows, squashed": lambda p, s: np.tanh(np.reshape(s, (T * N, H)) @ p.V + p.c),
    "einsum": lambda p, s: np.einsum("tnh,ho->nto", s, p.V) + p.c,
    "classes": lambda p, s: mg.log_softmax(s @ p.V + p.c)[:, :, 0],
}


@pytest.mark.parametrize("way", OUTSIDE)
def test_output_maps_after_the_loop(way: str, rng: Rng) -> None:
    p = Hand(rng)
    found = check(total(OUTSIDE[way](p, p.each(p.xs @ p.W + p.b))), p.parameters())
    assert (found["V"].norms > 0).all()
    assert (found["c"].norms > 0).all()


def test_what_mixes_steps_after_the_loop_is_in_no_step(rng: Rng) -> None:
    p = Hand(rng)
    pooled = mg.softmax(p.each(p.xs @ p.W + p.b), axis=0).sum(axis=0)
    check(total(pooled @ p.V), {"V": p.V, "U": p.U}, rest=("V",))


def test_inner_steps_belong_to_the_outermost(rng: Rng) -> None:
    layer = nn.LSTM(D, H, dtype=np.float64)
    xs, state, outputs = tensors(rng.standard_normal((T, N, D))), None, []
    for _, x in mg.steps(xs):
        output, state = layer(x[None], state)
        outputs.append(output)
    loss = total(np.concatenate(outputs))
    whole = total(layer(xs)[0])
    for name, parameter in layer.named_parameters():
        near(nn.diagnose.bptt_terms(loss, parameter).terms, nn.diagnose.bptt_terms(whole, parameter).terms, what=name)


def test_encoder_and_decoder_with_attention(rng: Rng) -> None:
    encoder, cell = nn.GRU(D, H, dtype=np.float64), nn.GRUCell(D + H, H, dtype=np.float64)
    W = tensors(rng.standard_normal((H, H)))
    xs = tensors(rng.standard_normal((T, N, D)))
    memory, h = encoder(xs)
    keys, s, outputs = memory @ W, h[0], []
    for _, y in mg.steps(xs[:3]):
        weights = mg.softmax((keys * s).sum(axis=-1), axis=0)
        s = cell(np.concatenate([y, (weights[:, :, None] * memory).sum(axis=0)], axis=-1), s)
        outputs.append(s)
    found = check(total(np.stack(outputs)), {"keys": W, "in": encoder.weight_ih_l0, "cell": cell.weight_ih})
    assert (found["keys"].norms[:3] > 0).all()
    assert not found["keys"].norms[3:].any()
    assert (found["in"].norms > 0).all()


def test_a_users_cell_with_inputs(rng: Rng) -> None:
    class Leaky:
        """It mixes the old state with a new one, and maps all its inputs at once."""

        def __init__(self) -> None:
            self.W, self.U, self.a = tensors([rng.standard_normal(s) for s in ((D, H), (H, H), (H,))])

        def initial_state(self, batch: int) -> tuple[mg.Tensor]:
            return (mg.zeros((batch, H), dtype=np.float64),)

        def inputs(self, xs: Any) -> Any:
            return np.tanh(xs @ self.W)

        def step(self, x: Any, state: Any) -> Any:
            a = mg.sigmoid(self.a)
            return (a * state[0] + (1 - a) * np.tanh(x + state[0] @ self.U),)

    cell = Leaky()
    layer = nn.Bidirectional(cell, Leaky())
    output, _ = layer(tensors(rng.standard_normal((T, N, D))), lengths=LENGTHS)
    check(total(output), vars(cell))


def test_a_checkpointed_segment_belongs_to_the_step_that_called_it(rng: Rng) -> None:
    p = Hand(rng)

    def step(x: Any, s: Any) -> Any:
        return np.tanh(x @ p.W + p.b + s @ p.U)

    def losses(around: Any) -> Any:
        s, total = mg.zeros((N, H), dtype=np.float64), 0.0
        for _, x in mg.steps(p.xs):
            s = around(step, mg.tensor(x), s)
            total = total + (s**2).sum()
        return total

    found = check(losses(mg.checkpoint), {"W": p.W, "U": p.U})
    expected = check(losses(lambda f, *args: f(*args)), {"W": p.W, "U": p.U})
    near(found["U"].terms, expected["U"].terms)
    first = mg.checkpoint(step, mg.tensor(p.xs[0]), mg.zeros((N, H), dtype=np.float64))  # in no step
    check(losses(mg.checkpoint) + (first**2).sum(), {"W": p.W}, rest=("W",))


def test_any_tensor_on_the_tape_will_do(rng: Rng) -> None:
    p = Hand(rng)
    U = p.U * 1.5
    s, loss = np.zeros((N, H)), 0.0
    for _, x in mg.steps(p.xs):
        s = np.tanh(x @ p.W + s @ U)
        loss = loss + (s**2).sum()
    found = nn.diagnose.bptt_terms(loss, U)
    near(found.total * 1.5, nn.diagnose.bptt_terms(loss, p.U).total)


# ---- the formula -------------------------------------------------------------------------------------------------


def test_the_formula_of_the_lecture(rng: Rng) -> None:
    """∂L/∂W_s = Σ_t Σ_k ∂L_t/∂s_t (Π_j ∂s_j/∂s_{j−1}) ∂⁺s_k/∂W_s, for a vanilla network, in plain NumPy."""
    p = Hand(rng)
    targets = rng.standard_normal((T, N, 2))
    loss: Any = 0.0
    s: Any = mg.tensor(rng.standard_normal((N, H)))
    values = [s.numpy()]
    for t, x in mg.steps(p.xs):
        s = np.tanh(x @ p.W + p.b + s @ p.U)
        values.append(s.numpy())
        loss = loss + 0.5 * ((s @ p.V + p.c - targets[t]) ** 2).sum()
    expected = np.zeros((T, T, H, H))
    U, V, c = p.U.numpy(), p.V.numpy(), p.c.numpy()
    for n in range(N):
        for t in range(T):
            delta = (values[t + 1][n] @ V + c - targets[t, n]) @ V.T
            for k in range(t, -1, -1):
                through = delta * (1 - values[k + 1][n] ** 2)
                expected[t, k] += np.outer(values[k][n], through)
                delta = through @ U.T
    found = nn.diagnose.bptt_terms(loss, p.U, by="loss")
    assert found.loss_steps == tuple(range(T))
    near(found.terms, expected)
    near(found.row(2), expected[2])
    near(nn.diagnose.bptt_terms(loss, p.U).terms, expected.sum(axis=0))
    near(found.norms, np.linalg.norm(expected, axis=(2, 3)))
    norms = np.linalg.norm(expected, axis=(2, 3))
    lags = np.array([np.diag(norms, -d).sum() for d in range(T)])
    assert found.horizon(0.5) == np.flatnonzero(np.cumsum(lags) >= 0.5 * lags.sum())[0]
    assert f"within {found.horizon(0.9)} of 4 steps" in found.verdict


def test_losses_of_single_rows_may_be_added_up_in_the_loop(rng: Rng) -> None:
    p = Hand(rng)
    s, losses = np.zeros((N, H)), mg.zeros(N, dtype=np.float64)
    for t, x in mg.steps(p.xs):
        s = np.tanh(x @ p.W + s @ p.U)
        if t in (1, 3):
            losses = losses + (s**2).sum(axis=1)
    found = nn.diagnose.bptt_terms(losses.mean(), p.W, by="loss")
    assert found.loss_steps == (1, 3)
    assert np.argwhere(found.norms).tolist() == [[t, k] for t in (1, 3) for k in range(t + 1)]


# ---- side effects ------------------------------------------------------------------------------------------------


def test_nothing_is_touched_and_nothing_is_kept(rng: Rng) -> None:
    p = Hand(rng)
    states = p.each(p.xs @ p.W)
    states.retain_grad()
    seen: list[Any] = []
    p.U.register_hook(seen.append)
    loss = (states**2).sum()
    loss.backward(retain_graph=True)
    before = {name: t.grad for name, t in {**p.parameters(), "states": states}.items()}
    values = {name: None if g is None else g.numpy().copy() for name, g in before.items()}
    gc.collect()
    gc.disable()
    try:
        found = nn.diagnose.bptt_terms(loss, p.U)
        lazily = nn.diagnose.bptt_terms(loss, p.U, by="loss")
        _ = lazily.norms, nn.diagnose.gradient_flow(loss, states), nn.diagnose.gradient_horizon(loss, states)
        for name, tensor in {**p.parameters(), "states": states}.items():
            assert tensor.grad is before[name]
            if tensor.grad is not None:
                np.testing.assert_array_equal(tensor.grad.numpy(), values[name])
        assert len(seen) == 1  # by backward alone
        node, arrays = weakref.ref(loss), [weakref.ref(found.terms), weakref.ref(lazily.rest)]
        tape = weakref.ref(lazily._uses.tape)
        del loss, found, lazily, states, tensor, before
        assert node() is None
        assert tape() is None
        assert [a() for a in arrays] == [None, None]
    finally:
        gc.enable()


def test_backward_still_works_afterwards_and_hooks_on_states_count(rng: Rng) -> None:
    p = Hand(rng)
    s, loss = np.zeros((N, H)), 0.0
    for _, x in mg.steps(p.xs):
        s = np.tanh(x @ p.W + s @ p.U)
        s.register_hook(lambda g: 0.5 * g)
        loss = loss + (s**2).sum()
    check(loss, {"W": p.W, "U": p.U})


def test_no_second_product_waits_for_a_lazy_result(rng: Rng) -> None:
    p = Hand(rng)
    loss = total(p.each(p.xs @ p.W))
    found = nn.diagnose.bptt_terms(loss, p.U, by="loss")
    loss.backward()
    with pytest.raises(RuntimeError, match=r"released by backward\. Call bptt_terms before it"):
        found.row(0)


@pytest.mark.parametrize("by", ["use", "loss"])
def test_on_every_backend(backend: Place, by: str, rng: Rng) -> None:
    embedding = nn.Embedding(7, D, device=backend.device)
    layer = nn.LSTM(D, H, 2, bidirectional=True, layer_norm=True, device=backend.device)
    head = nn.Linear(2 * H, 2, device=backend.device)
    ids = backend.array(rng.integers(0, 7, (T, N)))
    loss = (head(layer(embedding(ids), lengths=[5, 3, 2])[0]) ** 2).sum()
    parameters = {**dict(layer.named_parameters()), "e": embedding.weight, "w": head.weight, "b": head.bias}
    found = {name: nn.diagnose.bptt_terms(loss, p, by=by) for name, p in parameters.items()}
    sums = {
        name: each.terms.reshape((-1, *p.shape))
        for (name, each), p in zip(found.items(), parameters.values(), strict=True)
    }
    loss.backward()
    for name, parameter in parameters.items():
        assert type(sums[name]) is np.ndarray
        near(sums[name].sum(axis=0) + found[name].rest, backend.numpy(parameter.grad), 1e-5, name)


# ---- representations and mistakes --------------------------------------------------------------------------------


def test_results_read_well(rng: Rng, tmp_path: Any) -> None:
    p = Hand(rng)
    loss = (p.each(p.xs @ p.W)[-1] ** 2).sum()
    found = nn.diagnose.bptt_terms(loss, p.U)
    assert repr(found) == f"<Terms: {found.verdict}>"
    lines = str(found).splitlines()
    assert lines[0] == found.verdict
    assert lines[1].split() == ["step", "k", "‖term‖", "share"]
    assert len(lines) == 2 + T
    by_loss = nn.diagnose.bptt_terms(loss, p.U, by="loss")
    assert by_loss.loss_steps == (T - 1,)
    for result in (found, by_loss):
        for ending, start in (("png", b"\x89PNG"), ("svg", b"<?xml")):
            result.plot(tmp_path / f"x.{ending}")
            assert (tmp_path / f"x.{ending}").read_bytes().startswith(start)
    with pytest.raises(AttributeError):
        found.terms = None  # type: ignore[misc]


def test_verdicts() -> None:
    def said(norms: list[float]) -> str:
        return nn.diagnose.Terms(np.array(norms)[:, None], np.zeros(1)).verdict

    assert said([0.01, 0.02, 5, 5]) == "steps 2 to 3 of 0 to 3 hold 90 % of the gradient (by the norms of the terms)"
    assert said([0.01, 0.02, 0, 5]) == "step 3 of 0 to 3 holds 90 % of the gradient (by the norms of the terms)"
    assert said([0, 0, 1, 0]).startswith("step 2 of 0 to 3")
    assert said([1e-200, 0, 1e-200]).startswith("steps 0 to 2")
    assert said([0, 0]) == "no step contributes to the gradient"
    assert said([0, np.nan, np.inf, 0]) == "the term of step 2 is not finite"


def test_mistakes(rng: Rng) -> None:
    p = Hand(rng)
    loss = total(p.each(p.xs @ p.W))
    terms = nn.diagnose.bptt_terms
    with pytest.raises(TypeError, match="the loss must be a Tensor, not float"):
        terms(1.0, p.W)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="does not require grad"):
        terms(loss.detach(), p.W)
    with pytest.raises(RuntimeError, match="not a scalar"):
        terms(p.each(p.xs @ p.W), p.W)
    with pytest.raises(TypeError, match="must be a Tensor, not str"):
        terms(loss, "W")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"parameter of shape \(2,\) does not require grad"):
        terms(loss, mg.zeros(2))
    with pytest.raises(ValueError, match=r"loss does not depend on the parameter of shape \(4, 2\)"):
        terms(loss, p.V)
    with pytest.raises(ValueError, match=r'by is "use" or "loss", not \'step\''):
        terms(loss, p.W, by="step")
    with pytest.raises(ValueError, match=r"nothing below the loss was recorded in a time step.*mg\.steps"):
        terms((p.W**2).sum(), p.W)
    with pytest.raises(IndexError, match="no step 5, only 0 to 4"):
        terms(loss, p.W, by="loss").row(5)
    loss.backward()
    with pytest.raises(RuntimeError, match=r"(?s)bptt_terms: the graph below .*was released.*retain_graph=True"):
        terms(loss, p.W)

"""Arguments of compiled functions: for any of them, the plain function gives the same result."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import nn
from minigrad.trees import flatten


def agree(compiled: Any, *args: Any) -> None:
    """The compiled function and the plain one give the same, and set the same gradients."""
    tensors = [leaf for leaf in flatten(args)[0] if isinstance(leaf, mg.Tensor)]
    found = []
    for function in (compiled, compiled.plain):
        returned = [np.array(r.data if isinstance(r, mg.Tensor) else r) for r in flatten(function(*args))[0]]
        found.append([*returned, *[None if t.grad is None else t.grad.numpy() for t in tensors]])
        for t in tensors:
            t.grad = None
    for one, other in zip(*found, strict=True):
        assert (one is None) == (other is None)
        if other is not None:
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


# ---- which arguments are one -------------------------------------------------------------------------------------


def test_one_tensor_for_two_arguments_while_recording() -> None:
    step = mg.compile(lambda a, b: a * 2 - b)
    z = mg.ones(3)
    for _ in range(3):
        agree(step, z, z)
    for k in range(4):
        agree(step, mg.full(3, float(k)), mg.randn(3))
        agree(step, z, z)


def test_a_state_that_begins_as_one_tensor_twice() -> None:
    cell = nn.LSTMCell(3, 4)
    step = mg.compile(mg.no_grad(lambda x, state: cell(x, state)))
    state = (zero := mg.zeros((2, 4)), zero)
    for _ in range(3):
        step(mg.randn(2, 3), state)
    for _ in range(4):
        x = mg.randn(2, 3)
        agree(step, x, state)
        state = step(x, state)


def test_one_tensor_for_two_arguments_has_both_gradients() -> None:
    step = mg.compile(lambda a, b: (a * 3 + b * 5).sum().backward())
    for _ in range(4):
        agree(step, mg.ones(2, requires_grad=True), mg.ones(2, requires_grad=True))
    one = mg.ones(2, requires_grad=True)
    for _ in range(4):
        agree(step, one, one)


def test_a_weight_as_an_argument() -> None:
    """The one argument may be what the function uses besides: then no other one stands for it."""
    W = mg.tensor([1.0, 2.0])
    step = mg.compile(lambda x: x * 10 + W)
    for x in (W, W, W, mg.zeros(2), mg.zeros(2), W, mg.ones(2), mg.ones(2), mg.ones(2), W):
        agree(step, x)
    assert len(step.why) <= 3


def test_a_weight_as_an_argument_has_both_gradients() -> None:
    W = mg.tensor([1.0, 2.0], requires_grad=True)
    step = mg.compile(lambda x: (x * 3 + W * 5).sum().backward())
    for x in (mg.ones(2), mg.ones(2), mg.ones(2), W, W, W, mg.ones(2)):
        results = []
        for function in (step, step.plain):
            W.grad = None
            function(x)
            results.append(W.grad.tolist())
        assert results[0] == results[1]


def test_the_same_argument_again_and_again_is_recorded_once() -> None:
    step = mg.compile(lambda x: x * 2)
    for k in range(6):
        x = mg.full(3, float(k))
        for _ in range(5):
            agree(step, x)
    assert len(step.why) <= 2


# ---- results -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function", [lambda x: (x, x * 2), lambda x: x, lambda x: {"x": [x], "y": x + 1}], ids=["with", "alone", "nested"]
)
def test_an_argument_that_is_returned_is_that_of_the_call(function: Callable[..., Any]) -> None:
    step = mg.compile(function)
    for k in range(5):
        x = mg.full(2, float(k))
        agree(step, x)
        assert any(found is x for found in flatten(step(x))[0])


def test_an_argument_that_is_returned_by_a_training_step() -> None:
    W = mg.ones(2, requires_grad=True)

    @mg.compile
    def step(x: Any, h: Any) -> Any:
        (x * W + h).sum().backward()
        return h, x + 1

    for k in range(5):
        h = mg.full(2, float(k))
        W.grad = None
        assert step(mg.ones(2), h)[0] is h


# ---- layouts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["F", "gaps", "reversed"])
def test_arguments_in_any_layout(rng: Any, layout: str) -> None:
    fused = mg.fuse(lambda x, y: np.tanh(x) * y)
    step = mg.compile(lambda x, y: (x.reshape(-1) * 2, fused(x, y), x @ y.T, np.concatenate([x, y])))
    for _ in range(4):
        a, b = rng.standard_normal((2, 8, 5)).astype(np.float32)
        x = {"F": np.asfortranarray(a), "gaps": a[::2], "reversed": a[::-1]}[layout]
        y = b[: len(x)]
        agree(step, mg.Tensor(x), mg.Tensor(y))


def test_joins_of_joins(rng: Any) -> None:
    @mg.compile
    def step(x: Any) -> Any:
        inner = np.concatenate([x * 2, x * 3])
        outer = np.concatenate([inner, x * 4])
        rows = np.stack([np.stack([x + 1, x + 2]), np.stack([x + 3, x + 4])])
        return outer + 1, inner.sum(), rows * 2

    for _ in range(4):
        agree(step, mg.Tensor(rng.standard_normal((4, 4)).astype(np.float32)))


# ---- floats ------------------------------------------------------------------------------------------------------

NUMBERS = [0.25, 0.25, 0.25, 0.75, 0.5, 0.25, 0.0, 0.75, 0.5]


@pytest.mark.parametrize(
    "function",
    {
        "branch": lambda x, k: x * k if k > 0.4 else x - k,
        "equal": lambda x, k: x * 3 if k == 0.5 else x,
        "between": lambda x, k: x * 3 if 0 < k < 0.6 else x,
        "least": lambda x, k: x * min(k, 0.6),
        "truth": lambda x, k: x * 2 if k - 0.25 else x,
        "table": lambda x, k: x * {0.5: 2.0}.get(k, 3.0),
        "sqrt": lambda x, k: x * np.sqrt(k),
        "tanh": lambda x, k: x * np.tanh(k),
        "ufunc of two": lambda x, k: x + np.multiply(k, 2.0) + np.minimum(k, 0.3),
        "absolute": lambda x, k: x * np.abs(-k),
        "negative": lambda x, k: x * -k + abs(k - 1) + +k,
        "floor": lambda x, k: x * (k // 0.2) + k % 0.2 + 1 // (k + 1),
        "round": lambda x, k: x * round(k, 1),
        "math": lambda x, k: x * math.exp(k),
        "float": lambda x, k: x * float(k),
        "int": lambda x, k: x * int(4 * k),
        "text": lambda x, k: x * float(f"{k:.2f}"),
        "tensor": lambda x, k: x * mg.tensor(k) + mg.full((2,), k),
        "array": lambda x, k: x * np.full(2, k, np.float32),
        "constant array": lambda x, k: x + mg.tensor([1.0, 2.0]) * k,
        "clip": lambda x, k: np.clip(x, -k, k) + np.where(x > k, x, k),
        "sigmoid": lambda x, k: x * mg.sigmoid(k),
        "copysign": lambda x, k: x * math.copysign(1.0, k - 0.25) + np.copysign(x, float(-k)),
        "several results": lambda x, k: x * np.modf(k)[0] + np.divmod(k, 0.3)[1] + np.frexp(k)[1] + divmod(k, 0.3)[0],
        "reciprocal": lambda x, k: x * (1 / (k + 1)) * (k + 1) ** 0.5,
        "beside NumPy's numbers": lambda x, k: x * (k * np.float64(3)) if k > np.float64(0.3) else x,
        "lists": lambda x, k: x * mg.tensor([k, 1.0]) + np.mean([k, 1.0]) + np.round(k, 1),
        "ranges": lambda x, k: x + mg.arange(0, 2 * k + 1, k + 1)[0] + np.linspace(0, k, 2)[1],
        "close": lambda x, k: x * 2 if np.isclose(k, 0.5) else x,
        "integer": lambda x, k: x * (2 if k.is_integer() else 3) * math.trunc(4 * k),
    }.items(),
    ids=lambda item: item[0],
)
@pytest.mark.parametrize("kind", [float, np.float64])
def test_what_is_made_of_a_float(function: tuple[str, Callable[..., Any]], kind: Any) -> None:
    step = mg.compile(function[1])
    for k in NUMBERS:
        agree(step, mg.tensor([0.5, -0.7]), kind(k))
    assert step.why


def test_a_float_chooses_what_has_a_gradient() -> None:
    @mg.compile
    def step(x: Any, p: float) -> Any:
        loss = (x * x * p).sum() if p > 0.5 else x.sum() * p
        loss.backward()
        return loss.detach()

    for p in NUMBERS:
        agree(step, mg.ones(2, requires_grad=True), p)


def test_a_float_decides_about_a_layer() -> None:
    step = mg.compile(lambda x, p: nn.Dropout(p).eval()(x) * p)
    loss = mg.compile(lambda x, k: nn.CrossEntropyLoss(label_smoothing=k)(x, np.array([0, 1])))
    x = mg.randn(2, 3)
    for k in NUMBERS:
        agree(step, x, k)
        agree(loss, x, k)


def test_floats_of_several_threads_are_not_mixed_up() -> None:
    step = mg.compile(lambda x, k: x * k)
    for _ in range(3):
        step(mg.ones(2), 0.5)
    wrong = []

    def work(k: float) -> None:
        wrong.extend(1 for _ in range(300) if step(mg.ones(2), k).tolist() != [k, k])

    threads = [threading.Thread(target=work, args=(0.5 + k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ---- other changes -----------------------------------------------------------------------------------------------


def test_the_default_dtype() -> None:
    step = mg.compile(lambda x: x * mg.tensor([1.0, 2.0]))
    x = mg.ones(2)
    try:
        for dtype in (np.float32, np.float64, np.float32):
            mg.set_default_dtype(dtype)
            for _ in range(4):
                agree(step, x)
    finally:
        mg.set_default_dtype(np.float32)


def test_random_numbers_that_nobody_uses() -> None:
    def plain(x: Any) -> Any:
        mg.rand(3)
        return x + mg.rand(3)

    results = []
    for function in (plain, mg.compile(plain)):
        mg.manual_seed(0)
        results.append([function(mg.zeros(3)).tolist() for _ in range(5)])
    assert results[0] == results[1]


@pytest.mark.parametrize("draw", [np.random.rand, lambda: __import__("random").random()], ids=["NumPy", "Python"])
def test_random_numbers_from_elsewhere_are_refused(draw: Callable[[], float]) -> None:
    step = mg.compile(lambda x: x + draw())
    step(mg.ones(2))
    with pytest.raises(mg.RecordingError, match=r"mg\.rand"):
        step(mg.ones(2))


def test_writes_of_a_replay_are_noticed() -> None:
    W = mg.ones((3, 3), requires_grad=True)

    @mg.compile
    def update() -> None:
        with mg.no_grad():
            W[...] = W * 2

    for _ in range(3):
        update()
    x = mg.ones((2, 3), requires_grad=True)
    y = (x @ W).sum()
    update()
    with pytest.raises(RuntimeError, match="overwritten in place"):
        y.backward()
    h = mg.ones((20, 3))
    with mg.no_grad():
        for _ in mg.steps(range(4)):
            np.testing.assert_array_equal((h @ W).data, h.data @ W.data)
            update()


def test_a_method() -> None:
    class Gate:
        def __init__(self, scale: float) -> None:
            self.W = mg.full(3, scale, requires_grad=True)

        @mg.compile
        def step(self, x: Any) -> Any:
            return (x * self.W).detach()

    one, other = Gate(2.0), Gate(3.0)
    for k in range(5):
        assert one.step(mg.full(3, float(k))).tolist() == [2.0 * k] * 3
        assert other.step(mg.full(3, float(k))).tolist() == [3.0 * k] * 3


def test_a_generator_is_refused() -> None:
    def steps(x: Any) -> Any:
        yield x

    with pytest.raises(mg.RecordingError, match="one after the other"):
        mg.compile(steps)


def test_kinds_of_arguments_that_come_only_once_are_forgotten() -> None:
    step = mg.compile(lambda x, k: x * k)
    for k in range(200):
        step(mg.ones(2), k)
    assert len(step._known) <= 64


@pytest.mark.parametrize("schedule", [
    lambda o: nn.StepLR(o, step_size=3, gamma=0.5),
    lambda o: nn.WarmupLR(o, steps=3, after=nn.StepLR(o, step_size=2)),
    lambda o: nn.CosineAnnealingLR(o, T_max=6),
], ids=["StepLR", "WarmupLR", "CosineAnnealingLR"])  # fmt: skip
def test_a_schedule_inside(schedule: Callable[..., Any]) -> None:
    results = []
    for kind in (lambda f: f, mg.compile):
        w = nn.Parameter(mg.tensor([1.0, 2.0, 3.0]))
        optimizer = nn.Adam([("w", w)], lr=0.1)
        rates = schedule(optimizer)

        @kind
        def step(w: Any = w, optimizer: Any = optimizer, rates: Any = rates) -> Any:
            optimizer.zero_grad()
            (w * w).sum().backward()
            optimizer.step()
            rates.step()
            return w.detach()

        results.append([(step().tolist(), rates.get_last_lr(), rates.last_epoch) for _ in range(8)])
    assert results[0] == results[1]


def adam() -> tuple[Any, Any]:
    w = nn.Parameter(mg.tensor([1.0, 2.0, 3.0]))
    return w, nn.Adam([("w", w)], lr=0.1)


def test_what_a_schedule_changes_is_not_read_later_in_the_same_call() -> None:
    w, optimizer = adam()
    optimizer.step()
    schedule = nn.StepLR(optimizer, step_size=2)

    @mg.compile
    def step() -> None:
        optimizer.zero_grad()
        (w * w).sum().backward()
        schedule.step()
        optimizer.step()

    step()
    with pytest.raises(mg.RecordingError, match="lr is read after it was modified"):
        step()


def test_two_steps_in_one_call_are_refused() -> None:
    w, optimizer = adam()

    @mg.compile
    def step() -> None:
        for _ in range(2):
            optimizer.zero_grad()
            (w * w).sum().backward()
            optimizer.step()

    step()
    with pytest.raises(mg.RecordingError, match="number of steps is read after"):
        step()


def test_a_rate_that_is_set_inside_is_refused() -> None:
    w, optimizer = adam()

    @mg.compile
    def step(lr: float) -> None:
        optimizer.param_groups[0]["lr"] = lr
        (w * w).sum().backward()
        optimizer.step()

    step(0.2)
    with pytest.raises(mg.RecordingError, match="set it before"):
        step(0.3)
    assert optimizer.param_groups[0]["lr"] == 0.3


def test_a_schedule_that_looks_at_a_metric_is_refused() -> None:
    _, optimizer = adam()
    optimizer.step()
    for schedule in (
        nn.ReduceLROnPlateau(optimizer),
        nn.WarmupLR(optimizer, steps=2, after=nn.ReduceLROnPlateau(optimizer)),
    ):
        step = mg.compile(lambda x, schedule=schedule: schedule.step(1.0) or x * 2)
        step(mg.ones(2))
        with pytest.raises(mg.RecordingError, match="looks at a metric"):
            step(mg.ones(2))


def test_an_error_for_nan_is_refused() -> None:
    w = nn.Parameter(mg.ones(2))
    optimizer = nn.SGD([("w", w)], lr=0.1, nonfinite="raise")

    @mg.compile
    def step() -> None:
        (w * w).sum().backward()
        optimizer.step()

    step()
    with pytest.raises(mg.RecordingError, match='nonfinite="raise"'):
        step()


@pytest.mark.parametrize("name", ["lengths", "mask"])
def test_lengths_are_constants_as_tuples_and_data_as_arrays(name: str) -> None:
    layer = nn.GRU(3, 4)
    real = np.array([[True, True], [True, False], [True, False]])
    values = np.array([3, 1]) if name == "lengths" else real
    step = mg.compile(lambda x, given: layer(x, **{name: given})[0].detach())
    x = mg.randn(3, 2, 3)
    for _ in range(4):
        agree(step, x, values)
    assert len(step.why) == 1
    assert "runs uncompiled" in step.why[0]
    assert "lengths" in step.why[0] or "mask" in step.why[0]
    constant = (3, 1) if name == "lengths" else tuple(map(tuple, real.tolist()))
    for _ in range(4):
        agree(step, x, constant)


def test_what_is_kept_outside_can_still_be_looked_at() -> None:
    kept = []
    step = mg.compile(lambda x: kept.append(x * 2) or x * 3)
    step(mg.ones(2))
    with pytest.raises(mg.RecordingError, match="kept outside"):
        step(mg.ones(2))
    assert [t.tolist() for t in kept] == [[2.0, 2.0]] * 2


def test_a_write_into_an_argument_names_the_line() -> None:
    @mg.compile
    def step(x: Any) -> Any:
        x[0] = 5.0
        return x * 2

    step(mg.ones(2))
    with pytest.raises(mg.RecordingError, match=r"writes into an argument, at .*x\[0\] = 5\.0"):
        step(mg.ones(2))


@pytest.mark.parametrize("k", [np.float32(0.1), np.float16(0.3), np.float32(2.7)])
def test_floats_of_other_kinds(k: Any) -> None:
    step = mg.compile(lambda x, k: x * (k * 3.3 * k) if k > 0.1 else x - np.exp(k))
    for number in (k, k, k, k * 2, k / 2, k):
        agree(step, mg.ones(2), number)


def test_signs_of_zero_and_nan() -> None:
    step = mg.compile(lambda x, k: x * math.copysign(1.0, k))
    for k in (-0.0, -0.0, -0.0, 0.0, 0.0, -0.0, math.nan):
        agree(step, mg.ones(2), k)
    for _ in range(10):
        agree(step, mg.ones(2), math.nan)
    assert len(step.why) <= 3


def test_a_power_with_a_gradient() -> None:
    step = mg.compile(lambda x, k: (x**k).sum().backward())
    for k in (2.0, 2.0, 2.0, 3.0, 0.0, 4.0, 0.0, 2.5):
        agree(step, mg.tensor([1.0, 2.0], requires_grad=True), k)


def test_short_programs_look_at_which_tensors_are_one() -> None:
    W = mg.tensor([1.0, 3.0], requires_grad=True)

    def product(a: Any, b: Any) -> Any:
        (a * b * W).sum().backward()
        gradient, a.grad, b.grad, W.grad = a.grad, None, None, None
        return gradient

    def new() -> Any:
        return mg.randn(2, requires_grad=True)

    step = mg.compile(product)
    chosen = mg.compile(lambda a, b: a * 2 if a is b else a - b)
    for _ in range(5):
        agree(step, new(), new())
        agree(chosen, new().detach(), new().detach())
    one = new()
    for a, b in ((one, one), (W, one), (one, W), (W, W), (new(), new())):
        agree(step, a, b)
        agree(chosen, a.detach(), b.detach())
        agree(chosen, (both := a.detach()), both)


def test_one_gradient_of_two_weights_and_as_an_argument() -> None:
    a, b = (mg.tensor([1.0, 2.0], requires_grad=True) for _ in "ab")
    step = mg.compile(lambda x: ((a * b * x).sum().backward(), x * 1)[1])
    scaled = mg.compile(lambda g: (a * g).detach())
    for _ in range(4):
        results = []
        for function in (step, step.plain):
            a.grad = b.grad = mg.ones(2)
            function(mg.full(2, 2.0))
            results.append((a.grad.tolist(), b.grad.tolist()))
        assert results[0] == results[1]
        assert scaled(a.grad).tolist() == (a.data * a.grad.data).tolist()


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rate = 0.5
        self.limits: Any = None
        self.linear = nn.Linear(2, 2)
        self.fast = mg.compile(self.twice)

    def twice(self, x: Any) -> Any:
        return x * self.rate * 2

    @mg.compile
    def forward(self, x: Any) -> Any:
        y = self.linear(x).detach() * self.rate if self.training else -x
        return y if self.limits is None else np.clip(y, *self.limits)


def test_a_compiled_forward_looks_at_its_module() -> None:
    module = Scaled()
    plain = Scaled.forward.plain
    changes: list[Callable[[], Any]] = [
        lambda: None,
        lambda: module.eval(),
        lambda: module.train(),
        lambda: setattr(module, "rate", 0.7),
        lambda: setattr(module, "rate", -0.0),
        lambda: setattr(module, "limits", (0.0, 1.0)),
        lambda: setattr(module, "limits", (0.0, 0.1)),
        lambda: setattr(module, "rate", 2.0),
        lambda: setattr(module, "linear", nn.Linear(2, 2)),
        lambda: setattr(module.linear, "weight", nn.Parameter(mg.ones((2, 2)))),
        lambda: setattr(module.linear, "bias", None),
    ]
    for change in changes:
        change()
        for _ in range(3):
            x = mg.randn(1, 2)
            np.testing.assert_array_equal(module(x).data, plain(module, x).data)


def test_a_copy_of_a_module_computes_with_itself() -> None:
    module = Scaled()
    for _ in range(3):
        module.fast(mg.ones(2))
    twin = copy.deepcopy(module)
    twin.rate = 3.0
    for _ in range(4):
        assert twin.fast(mg.ones(2)).tolist() == [6.0, 6.0]
        assert module.fast(mg.ones(2)).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("error", [TypeError, ValueError])
def test_nothing_of_a_recording_is_left_after_an_error(error: type[Exception]) -> None:
    kept: dict[str, Any] = {}

    def function(x: Any) -> Any:
        kept["loss"] = (x * 2).sum()
        if len(step.why) == 0 and kept.setdefault("calls", 0) > 0:
            if error is TypeError:
                float(kept["loss"])
            raise error("no more")
        kept["calls"] += 1
        return x * 1

    step = mg.compile(function)
    step(mg.ones(2))
    with pytest.raises(error):
        step(mg.ones(2))
    assert kept["loss"].item() == 4.0


def test_the_seed_is_not_set_inside() -> None:
    for change in (lambda: mg.manual_seed(0), lambda: mg.set_random_state(mg.get_random_state())):
        step = mg.compile(lambda x, change=change: (change(), x + mg.rand(2))[1])
        step(mg.ones(2))
        with pytest.raises(mg.RecordingError, match="begin anew"):
            step(mg.ones(2))


def test_an_argument_in_the_memory_of_a_weight_that_is_written() -> None:
    W = mg.ones(2)

    @mg.compile
    def step(x: Any) -> Any:
        W[...] = W + 1
        return x * 1

    step(W.detach())
    with pytest.raises(mg.RecordingError, match="memory of argument 0"):
        step(W.detach())


class Halved(nn.LRScheduler):
    """A user's schedule that defines `step`."""

    def step(self) -> None:
        self.last_epoch += 1
        for group in self.optimizer.param_groups:
            group["lr"] /= 2


def test_a_users_schedule_after_a_warmup() -> None:
    results = []
    for kind in (lambda f: f, mg.compile):
        w, optimizer = adam()
        rates = nn.WarmupLR(optimizer, steps=2, after=Halved(optimizer))

        @kind
        def step(w: Any = w, optimizer: Any = optimizer, rates: Any = rates) -> Any:
            optimizer.zero_grad()
            (w * w).sum().backward()
            optimizer.step()
            rates.step()
            return w.detach()

        results.append([(step().tolist(), rates.get_last_lr()) for _ in range(7)])
    assert results[0] == results[1]

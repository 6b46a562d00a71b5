"""Batches: every example once an epoch, in an order that the seed tells, within limits, and resumed exactly."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
import nn
from nlp import Batches, Stream, StreamBatches

steady = settings(deadline=None, derandomize=True, max_examples=100)
sizes = st.lists(st.integers(1, 12), min_size=1, max_size=40)
limits = st.one_of(
    st.builds(dict, batch_size=st.integers(1, 6)),
    st.builds(dict, max_tokens=st.integers(12, 40)),
    st.builds(dict, batch_size=st.integers(1, 6), max_tokens=st.integers(12, 40)),
)
orders = st.builds(
    dict, shuffle=st.booleans(), by_length=st.booleans(), buffer=st.integers(1, 20), seed=st.integers(0, 5)
)


def examples_of(lengths: list[int]) -> list[Any]:
    """Example k is made of the number k."""
    return [(np.full(n, k), k) for k, n in enumerate(lengths)]


def both(lengths: list[int], **options: Any) -> tuple[Batches, StreamBatches]:
    examples = examples_of(lengths)
    return Batches(examples, **options), StreamBatches(Stream(lambda: iter(examples)), **options)


def seen(batches: Any) -> list[list[int]]:
    """The examples of each batch, checked."""
    found = []
    for (values, lengths), labels in batches:
        for column, n, label in zip(values.T, lengths, labels, strict=True):
            assert (column[:n] == label).all()
            assert (column[n:] == 0).all()
        assert len(values) == lengths.max()
        found.append(labels.tolist())
    return found


# ---- laws --------------------------------------------------------------------------------------------------------


@steady
@given(sizes, limits, orders)
def test_every_example_once_within_the_limits(lengths: list[int], limit: dict[str, int], order: dict[str, Any]) -> None:
    for batches in both(lengths, **limit, **order):
        found = seen(batches)
        assert sorted(k for batch in found for k in batch) == list(range(len(lengths)))
        for batch in found:
            assert 1 <= len(batch) <= limit.get("batch_size", 99)
            assert len(batch) * max(lengths[k] for k in batch) <= limit.get("max_tokens", 9999)
        if not order["shuffle"] and not order["by_length"]:
            assert [k for batch in found for k in batch] == list(range(len(lengths)))
        if "max_tokens" not in limit:
            assert Counter(map(len, found))[limit["batch_size"]] == len(lengths) // limit["batch_size"]
            assert len(found) == -(-len(lengths) // limit["batch_size"])


@steady
@given(sizes, limits, orders)
def test_the_plan_and_the_number(lengths: list[int], limit: dict[str, int], order: dict[str, Any]) -> None:
    batches, _ = both(lengths, **limit, **order)
    for _ in range(2):
        plan, number = batches.plan(), len(batches)
        assert seen(batches) == plan
        assert number == len(plan)
    assert not hasattr(StreamBatches, "__len__")


@steady
@given(sizes, limits, orders, st.integers(0, 60))
def test_going_on_from_a_place(lengths: list[int], limit: dict[str, int], order: dict[str, Any], stop: int) -> None:
    for whole, part, resumed in zip(*(both(lengths, **limit, **order) for _ in range(3)), strict=True):
        expected = [seen(whole) for _ in range(4)]
        flat = [batch for epoch in expected for batch in epoch]
        stop_at = stop % len(flat) + 1
        begun: list[Any] = []
        while len(begun) < stop_at:  # as a loop over epochs that is broken off
            begun += seen(islice(part, stop_at - len(begun)))
        assert begun == flat[:stop_at]
        resumed.load_state_dict(json.loads(json.dumps(part.state_dict())))
        assert resumed.state_dict() == part.state_dict()
        rest: list[Any] = []
        while resumed.epoch < 4:
            rest += seen(resumed)
        assert rest == flat[stop_at:]


def test_epochs_differ_and_seeds_differ() -> None:
    one, same, other = (Batches(list(range(50)), batch_size=50, shuffle=True, seed=s) for s in (1, 1, 2))
    first, second = (next(iter(list(one))).tolist() for _ in range(2))
    assert first != second
    assert sorted(first) == sorted(second) == list(range(50))
    assert next(iter(same)).tolist() == first != next(iter(other)).tolist()


def test_a_broken_off_iteration_begins_anew() -> None:
    batches = Batches(list(range(8)), batch_size=2, shuffle=True)
    first = [b.tolist() for b in islice(batches, 3)]
    assert batches.state_dict()["position"] == 3
    assert [b.tolist() for b in batches][:3] == first
    assert (batches.epoch, batches.position) == (1, 0)


def test_similar_lengths_leave_little_padding(rng: Any) -> None:
    lengths = rng.integers(1, 60, 2000).tolist()
    shares = []
    for by_length in (False, True):
        batches = Batches(examples_of(lengths), batch_size=20, shuffle=True, by_length=by_length, buffer=2000)
        padded = sum(values.size for (values, _), _ in batches)
        shares.append(1 - sum(lengths) / padded)
    assert shares[0] > 0.4
    assert shares[1] < 0.05
    order = [max(lengths[k] for k in batch) for batch in batches.plan()]
    assert order != sorted(order)


def test_a_stream_is_mixed_within_its_buffer() -> None:
    batches = StreamBatches(Stream(lambda: iter(range(100))), batch_size=10, shuffle=True, buffer=20)
    found = [k for batch in batches for k in batch.tolist()]
    assert found != list(range(100))
    assert all(k // 20 == place // 20 for place, k in enumerate(found))


def test_memory_holds_few_buffers() -> None:
    def begin() -> Iterator[Any]:
        for n in range(2000):
            yield np.full(1000, n)  # 8 kB

    batches = StreamBatches(Stream(begin), batch_size=10, shuffle=True, by_length=True, buffer=20)
    tracemalloc.start()
    try:
        assert sum(values.shape[1] for values, _ in batches) == 2000
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_other_keys_and_collations() -> None:
    batches = Batches(["aaa", "b", "cc"], batch_size=2, by_length=True, key=len, collate="".join)
    assert list(batches) == ["bcc", "aaa"]
    tags = Batches([([1, 2], [3, 4]), ([5], [6])], batch_size=2, padding=(0, -100))
    ((words, _), (targets, _)) = next(iter(tags))
    assert words.tolist() == [[1, 5], [2, 0]]
    assert targets.tolist() == [[3, 6], [4, -100]]


# ---- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [Batches, StreamBatches])
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "give batch_size, max_tokens, or both"),
        ({"batch_size": 0}, ValueError, "batch_size must be an integer of at least 1, not 0"),
        ({"max_tokens": 2.5}, ValueError, "max_tokens must be an integer"),
        ({"batch_size": 1, "buffer": 0}, ValueError, "buffer must be an integer"),
        ({"batch_size": 1, "drop_last": True}, TypeError, "drop_last"),
    ],
)
def test_bad_options(cls: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cls([[1]], **options)


def test_bad_examples() -> None:
    with pytest.raises(TypeError, match=r"Batches: examples must be a list.*not generator; StreamBatches takes"):
        Batches((x for x in [[1]]), batch_size=1)
    with pytest.raises(ValueError, match="Batches: there are no examples"):
        Batches([], batch_size=1)
    with pytest.raises(TypeError, match="not str"):
        Batches("abc", batch_size=1)
    with pytest.raises(TypeError, match=r"the numbers 0 to 1 as indices, but this dict .* by \['a', 'b'\]; give"):
        Batches({"a": 1, "b": 2}, batch_size=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="is a generator, which can be gone through only once, but each epoch needs"):
        StreamBatches((x for x in [[1]]), batch_size=1)
    with pytest.raises(TypeError, match="must be an iterable of examples, not int"):
        StreamBatches(3, batch_size=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Batches: example 1 has 3 tokens, max_tokens is 2"):
        Batches([[1], [1, 2, 3]], max_tokens=2)
    late = StreamBatches([[1], [1, 2, 3]], max_tokens=2)
    with pytest.raises(ValueError, match="StreamBatches: example 1 has 3 tokens"):
        list(late)


def test_states_of_other_data() -> None:
    state = Batches([1, 2, 3], batch_size=2, seed=4).state_dict()
    with pytest.raises(ValueError, match="the state is one of examples = 3, but here it is 2"):
        Batches([1, 2], batch_size=2, seed=4).load_state_dict(state)
    with pytest.raises(ValueError, match="the state is one of seed = 4, but here it is 0"):
        Batches([1, 2, 3], batch_size=2).load_state_dict(state)


# ---- with a Trainer ----------------------------------------------------------------------------------------------


class Stopped(Exception):
    pass


@pytest.mark.parametrize("kind", [Batches, StreamBatches])
def test_a_trainer_goes_on_exactly(tmp_path: Path, kind: Any, rng: Any) -> None:
    lengths = rng.integers(1, 9, 40)
    examples = [(rng.integers(0, 7, n), int(n > 4)) for n in lengths]
    checkpoint = tmp_path / "run.ckpt"

    def trained(steps: int | None, resume: bool) -> Any:
        mg.manual_seed(3)
        model = nn.ModuleDict({"embedding": nn.Embedding(7, 4), "rnn": nn.GRU(4, 5), "out": nn.Linear(5, 2)})
        count = 0

        def step(model: Any, batch: Any) -> mg.Tensor:
            nonlocal count
            if count == steps:
                raise Stopped
            count += 1
            (ids, lengths), labels = batch
            _, h = model["rnn"](model["embedding"](ids), lengths=lengths)
            loss: mg.Tensor = nn.CrossEntropyLoss()(model["out"](h[0]), labels)
            return loss

        batches = kind(examples, max_tokens=30, shuffle=True, by_length=True, buffer=15)
        trainer = nn.Trainer(model, nn.SGD(model.parameters(), lr=0.1), step, progress=False, checkpoint=checkpoint,
                             save_steps=1)  # fmt: skip
        if resume:
            trainer.resume(checkpoint)
        trainer.fit(batches, epochs=3)
        return model.state_dict()

    whole = trained(None, False)
    per_epoch = len(list(kind(examples, max_tokens=30, shuffle=True, by_length=True, buffer=15)))
    for stop in (1, per_epoch - 1, per_epoch, per_epoch + 2):
        with pytest.raises(Stopped):
            trained(stop, False)
        for name, weight in trained(None, True).items():
            np.testing.assert_array_equal(weight, whole[name])


# ---- data sets that are not lists --------------------------------------------------------------------------------


class Counting:
    """Examples by number, which count how often they are asked for."""

    def __init__(self, examples: list[Any]) -> None:
        self.examples = examples
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, n: int) -> Any:
        assert type(n) is int
        self.asked.append(n)
        return self.examples[n]


class Together(Counting):
    """The same, several at once, as Hugging Face's data sets give them."""

    calls = 0

    def __getitems__(self, numbers: list[int]) -> list[Any]:
        self.calls += 1
        return [self[n] for n in numbers]


@pytest.mark.parametrize("kind", [Counting, Together])
def test_examples_are_asked_for_when_their_batch_is_made(kind: Any) -> None:
    examples = kind(examples_of([3, 1, 2, 5, 4]))
    batches = Batches(examples, batch_size=2, shuffle=True)
    assert batches.examples is examples
    assert not examples.asked
    assert len(batches) == 3
    numbers = [n for batch in batches.plan() for n in batch]
    assert not examples.asked
    for k, _ in enumerate(batches):
        assert examples.asked == numbers[: 2 * k + 2]
    assert getattr(examples, "calls", 3) == 3


@pytest.mark.parametrize("kind", [Counting, Together])
def test_lengths_are_looked_at_once(kind: Any) -> None:
    examples = kind(examples_of([3, 1, 2, 5, 4]))
    batches = Batches(examples, max_tokens=6, by_length=True, buffer=2)
    assert examples.asked == [0, 1, 2, 3, 4]
    for _ in range(3):
        assert sorted(n for batch in batches.plan() for n in batch) == [0, 1, 2, 3, 4]
    assert examples.asked == [0, 1, 2, 3, 4]
    assert sorted(label for batch in seen(batches) for label in batch) == [0, 1, 2, 3, 4]
    assert getattr(examples, "calls", 3 + 4) == 3 + 4  # buffers, batches


def test_a_memory_map_is_not_read_beforehand(tmp_path: Path) -> None:
    table = np.lib.format.open_memmap(tmp_path / "table.npy", "w+", np.int32, (6, 4))
    table[...] = np.arange(24).reshape(6, 4)
    table.flush()
    mapped = np.load(tmp_path / "table.npy", mmap_mode="r")
    batches = Batches(mapped, batch_size=4)
    assert batches.examples is mapped
    (first, lengths), (second, _) = list(batches)
    np.testing.assert_array_equal(first, table[:4].T)
    np.testing.assert_array_equal(second, table[4:].T)
    assert lengths.tolist() == [4, 4, 4, 4]


def test_rows_of_a_table_are_dicts() -> None:
    rows = [{"ids": [4, 5, 6], "label": 1, "text": "a b c"}, {"ids": [7], "label": 0, "text": "d"}]
    (batch,) = Batches(rows, batch_size=2, padding={"ids": 9}, by_length=True)
    assert batch["ids"].values.tolist() == [[7, 4], [9, 5], [9, 6]]
    assert batch["ids"].lengths.tolist() == [1, 3]
    assert batch["label"].tolist() == [0, 1]
    assert batch["text"] == ["d", "a b c"]
    with pytest.raises(
        ValueError, match="collate: all examples must be dicts of ids, label, text, as the first one is"
    ):
        list(Batches([*rows, {"ids": [1]}], batch_size=3))

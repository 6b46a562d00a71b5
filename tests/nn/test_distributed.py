"""Groups, sums of gradients and their order, divided progress; ranks are threads here, and processes in tests/mpi."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from places import Place

import minigrad as mg
import nlp
import nn
from minigrad import backend as backends
from minigrad.cuda.collectives import Nccl
from nn.distributed import (
    DataParallel,
    DisagreementError,
    Group,
    agreement,
    data_parallel,
    dividing,
    reduction,
    stopping,
)
from nn.training.progress import Progress
from tests.mpi.cases import CASES, furthest, trained, trainer
from tests.nn.together import together

ALONE = Group()


# ---- the same results on all ranks -------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "size"), [("language model", 2), ("classifier", 3), ("seq2seq", 2)])
def test_ranks_find_what_one_process_finds(name: str, size: int) -> None:
    exact, expected = trained(CASES[name](ALONE, np.float64), ALONE, 4)
    runs = together(size, lambda group: trained(CASES[name](group, np.float64), group, 4))
    for weights, losses in runs:
        assert furthest(weights, exact) < 1e-12
        np.testing.assert_allclose(losses, expected, rtol=1e-12)


def model(seed: int = 0, dtype: Any = np.float64, device: str = "cpu", **how: Any) -> nn.Module:
    """An embedding, a GRU and a linear map with random weights."""
    rng = np.random.default_rng(seed)
    made = nn.Sequential(nn.Embedding(9, 4, **how), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    for p in made.parameters():
        p.data = rng.normal(size=p.shape).astype(dtype)
    return made.to(device)


def gradients(made: nn.Module) -> list[Any]:
    found = [p.grad for p in made.parameters()]
    return [backends.to_numpy(g.dense() if isinstance(g, mg.RowSparse) else g.data) for g in found]


IDS, WEIGHTS = np.array([3, 1, 3, 8, 0, 1, 7]), np.random.default_rng(9).normal(size=(7, 3))


def loss_of(made: nn.Module, part: slice) -> Any:
    device = next(p.device for p in made.parameters())
    weights = mg.Tensor(backends.from_numpy(WEIGHTS[part], device))
    return (made(backends.from_numpy(IDS[part], device)).astype(np.float64) * weights).sum(axis=1).mean()


def whole_gradients(seed: int = 0) -> list[Any]:
    made = model(seed)
    loss_of(made, slice(None)).backward()
    return gradients(made)


@pytest.mark.parametrize("sparse", [False, True])
def test_gradients_are_weighted_by_items(sparse: bool, backend: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """3 ranks with 3, 2 and 2 of 7 items; twice, as the first time there is no plan."""
    monkeypatch.setattr(data_parallel, "_refuse_shared_devices", lambda group, parameters: None)
    expected = whole_gradients()

    def work(group: Any) -> list[list[Any]]:
        made = model(device=backend.device, sparse=sparse)
        optimizer, found = DataParallel(nn.SGD(made.parameters(), lr=0.1), group, made), []
        for _ in range(2):
            optimizer.zero_grad()
            optimizer.backward(loss_of(made, group.part), len(IDS[group.part]))
            found.append(gradients(made))
        return found

    for rank in together(3, work):
        for found in rank:
            for g, exact in zip(found, expected, strict=True):
                np.testing.assert_allclose(g, exact, rtol=1e-12, atol=1e-14)


def test_a_plain_backward_counts_each_rank_the_same() -> None:
    parts = [whole := slice(0, 3), slice(3, 7)]
    exact = []
    for part in parts:
        made = model()
        loss_of(made, part).backward()
        exact.append(gradients(made))

    def work(group: Any) -> list[Any]:
        made = model()
        optimizer = DataParallel(nn.SGD(made.parameters(), lr=0.0), group)
        loss_of(made, parts[group.rank]).backward()
        optimizer.step()
        return gradients(made)

    for found in together(2, work):
        for g, a, b in zip(found, *exact, strict=True):
            np.testing.assert_allclose(g, (a + b) / 2, rtol=1e-12, atol=1e-14)
    assert whole == slice(0, 3)


@pytest.mark.parametrize("sparse", [False, True])
def test_held_gradients_travel_with_the_last(sparse: bool) -> None:
    """Two parts of a batch, one after the other, on each of two ranks; one of them has no second part."""
    expected = whole_gradients()
    parts = [[slice(0, 2), slice(2, 5)], [slice(5, 7), None]]

    def work(group: Any) -> tuple[list[Any], int]:
        made = model(sparse=sparse)
        optimizer = DataParallel(nn.SGD(made.parameters(), lr=0.1), group, made)
        first, second = parts[group.rank]
        optimizer.backward(loss_of(made, first), len(IDS[first]), 7, hold=True)
        assert all(p.grad is None for p in made.parameters())
        assert not group.begun
        optimizer.backward(second and loss_of(made, second), len(IDS[second]) if second else 0, 7)
        return gradients(made), len(group.begun)

    for found, _ in together(2, work):
        for g, exact in zip(found, expected, strict=True):
            np.testing.assert_allclose(g, exact, rtol=1e-12, atol=1e-14)
    with pytest.raises(ValueError, match="hold=True and total=None"):
        DataParallel(nn.SGD(model().parameters(), lr=0.1), ALONE).backward(None, 1, hold=True)


def test_gradients_add_up_until_zero_grad() -> None:
    def work(group: Any) -> list[Any]:
        made = model()
        optimizer = DataParallel(nn.SGD(made.parameters(), lr=0.1), group, made)
        for _ in range(2):
            optimizer.backward(loss_of(made, group.part), len(IDS[group.part]))
        return gradients(made)

    for found in (*together(2, work), work(ALONE)):
        for g, exact in zip(found, whole_gradients(), strict=True):
            np.testing.assert_allclose(g, 2 * exact, rtol=1e-12, atol=1e-14)


def test_parameters_without_a_gradient() -> None:
    """One that only rank 1 uses, and one that nobody does."""

    def work(group: Any) -> tuple[Any, Any]:
        used, unused = nn.Parameter(mg.ones(3)), nn.Parameter(mg.ones(2))
        optimizer = DataParallel(nn.SGD([used, unused, own := nn.Parameter(mg.ones(1))], lr=0.1), group)
        for _ in range(2):
            optimizer.zero_grad()
            loss = (used * 4).sum() + own.sum() if group.rank else own.sum()
            optimizer.backward(loss, 1)
        return used.grad, unused.grad

    for grad, none in together(2, work):
        assert grad.tolist() == [2, 2, 2]
        assert none is None


def test_sums_begin_while_backward_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one order on all ranks, though their graphs differ; the sum of the last map begins before the first one's
    gradient is known."""
    monkeypatch.setattr(reduction, "BUCKET", 8)

    def work(group: Any) -> Any:
        made = model()
        seen: list[int] = []
        next(iter(made.parameters())).register_hook(lambda g: seen.append(len(group.begun)))
        optimizer = DataParallel(nn.SGD(made.parameters(), lr=0.1), group, made)
        for _ in range(2):
            group.begun.clear()
            optimizer.backward(loss_of(made, group.part) if group.rank < 2 else None, 2 if group.rank < 2 else 0)
        return seen, list(group.begun)

    results = together(3, work)
    assert [seen for seen, _ in results[:2]] == [[0, 4]] * 2
    assert results[0][1] == results[1][1] == results[2][1]
    assert len(results[0][1]) == 5


def test_a_leaf_is_whole_after_its_last_use() -> None:
    """A weight that all steps use, and one used at the end only: that one is known to be whole first."""
    W, V, told = mg.randn(3, 3, requires_grad=True), mg.randn(3, requires_grad=True), []

    class Watch(mg.tape.Observer):
        inside, leaves = False, True

        def arrived(self, node: Any, gradient: Any) -> None:
            told.append(node.primitive.name)

        def whole(self, leaf: Any, gradient: Any) -> None:
            told.append({W: "W", V: "V"}[leaf])
            expected[leaf] = gradient

    expected: dict[Any, Any] = {}
    h = mg.ones((2, 3))
    for _ in range(4):
        h = np.tanh(h @ W)
    loss = (h * V).sum()
    found = mg.walk([(loss.edge, np.ones_like(loss.data))], observers=(Watch(),))
    assert told.index("V") == 2
    assert told[-1] == "W"
    assert all(found[leaf] is gradient for leaf, gradient in expected.items())


def test_float16_is_summed_in_float32() -> None:
    """In float16 the partial sum would be infinite: 40,000 + 40,000 − 40,000."""

    def work(group: Any) -> Any:
        p = nn.Parameter(mg.Tensor(np.full(3, 1, np.float16)))
        optimizer = DataParallel(nn.SGD([p], lr=0.1), group)
        optimizer.backward((p.astype(np.float32) * (-40000 if group.rank == 2 else 40000)).sum(), 1, 1)
        return p.grad

    for grad in together(3, work):
        assert grad.dtype == np.float16
        assert grad.tolist() == [40000] * 3


def test_a_compiled_function_cannot_send() -> None:
    p = nn.Parameter(mg.ones(3))
    optimizer = DataParallel(nn.SGD([p], lr=0.1), ALONE)
    run = mg.compile(lambda x: optimizer.backward((p * x).sum()))
    run(np.full(3, 2, np.float32))
    with pytest.raises(mg.RecordingError, match=r"DataParallel.backward sends gradients to other processes"):
        run(np.full(3, 2, np.float32))


# ---- agreement ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda last: nn.Linear(3 + last, 2), r"ranks 0 and 1 differ: weight is \(2, 3\) float32 on rank 0 and"),
        (lambda last: nn.Linear(3, 2, bias=not last), "bias is .* on rank 0 and missing on rank 1"),
        (lambda last: nn.Linear(3, 2, dtype=np.float64 if last else None), "float64 on rank 1; bias"),
    ],
)
def test_ranks_that_disagree(made: Any, message: str) -> None:
    with pytest.raises(DisagreementError, match=message):
        together(2, lambda g: DataParallel(nn.SGD(made(g.rank == 1).named_parameters(), lr=0.1), g))


def test_the_sentence_about_a_difference() -> None:
    facts = dict.fromkeys("abcde", "1")
    texts = [agreement.as_text(facts)] * 3
    assert agreement.difference("x", texts) is None
    texts[2] = agreement.as_text(dict.fromkeys("abcde", "2"))
    assert agreement.difference("x", texts) == (
        "x: ranks 0 and 2 differ: a is 1 on rank 0 and 2 on rank 2; b is 1 on rank 0 and 2 on rank 2; c is 1 on rank 0 "
        "and 2 on rank 2; and 2 more"
    )
    texts[1] = agreement.as_text(dict.fromkeys("edcba", "1"))
    assert agreement.difference("x", texts) == "x: ranks 0 and 1 differ: the same names come in another order"
    assert agreement.code().keys() >= {"Python", "NumPy", "minigrad", "the digest of the program"}


def test_two_ranks_with_one_device() -> None:
    def work(group: Any, device: str) -> None:
        DataParallel(nn.SGD(nn.Linear(3, 2, device=device).named_parameters(), lr=0.1), group)

    together(2, lambda group: work(group, f"strict:{group.rank}"))
    with pytest.raises(
        DisagreementError, match=r"ranks 0 and 1 both use strict:0 of .*; give each rank a GPU of its own"
    ):
        together(2, lambda group: work(group, "strict:0"))


# ---- groups ------------------------------------------------------------------------------------------------------


def test_a_group_of_one() -> None:
    group = Group()
    assert (group.rank, group.size, group.first, group.part, group.device) == (0, 1, True, slice(0, None, 1), "cuda:0")
    assert group.sum([1, 2.5]).tolist() == [1, 2.5]
    assert group.texts("x") == ["x"]
    assert group.collect(b"x") == [b"x"]
    with group:
        pass
    for use in (lambda: group.sum([1]), group.barrier, lambda: group.texts("x"), lambda: group.wait(None, "x")):
        with pytest.raises(RuntimeError, match=r"the group was freed; nn.distributed.group\(\) makes another"):
            use()
    with pytest.raises(ValueError, match="timeout must be a positive number of seconds, not -1"):
        Group(-1)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No group has been made, and no launcher started this process."""
    monkeypatch.setattr(sys.modules["nn.distributed.group"], "_found", None)
    for name in sys.modules["nn.distributed.group"].COUNTS:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_process_started_alone_needs_no_mpi(fresh: pytest.MonkeyPatch) -> None:
    fresh.setitem(sys.modules, "mpi4py", None)
    group = nn.distributed.group()
    assert (group.size, group.timeout) == (1, 300)
    assert nn.distributed.group(timeout=5) is group
    assert group.timeout == 5
    group.free()
    assert nn.distributed.group() is not group


@pytest.mark.parametrize("name", ["PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"])
def test_mpi4py_is_missing(name: str, fresh: pytest.MonkeyPatch) -> None:
    fresh.setenv(name, "4")
    fresh.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ImportError, match=r"4 processes were started, but mpi4py does not work: .*'minigrad\[mpi\]'"):
        nn.distributed.group()


def test_the_launcher_of_another_mpi(fresh: pytest.MonkeyPatch) -> None:
    fresh.setenv("OMPI_COMM_WORLD_SIZE", "4")
    alone = SimpleNamespace(COMM_WORLD=SimpleNamespace(size=1), Get_library_version=lambda: "MPICH Version: 5\n...")
    fresh.setitem(sys.modules, "mpi4py", SimpleNamespace(MPI=alone))
    with pytest.raises(RuntimeError, match="each finds only itself: mpi4py uses MPICH Version: 5, and the launcher"):
        nn.distributed.group()


# ---- batches -----------------------------------------------------------------------------------------------------


class Rank:
    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("kind", [nlp.Batches, nlp.StreamBatches])
def test_ranks_share_each_batch(kind: Any, size: int) -> None:
    """Row b of a batch is rank b mod N's; all ranks see as many batches, and go on from one place."""
    examples = [np.arange(n) + 100 * k for k, n in enumerate(np.random.default_rng(1).integers(1, 9, 31))]
    how: Any = {"batch_size": 6, "max_tokens": 40, "shuffle": True, "by_length": True, "buffer": 13, "collate": list}
    whole, parts = kind(examples, **how), [kind(examples, **how, shard=Rank(r, size)) for r in range(size)]
    for _ in range(2):
        for batch, *shares in zip(whole, *parts, strict=True):
            for rank, share in enumerate(shares):
                assert (share or []) == batch[rank::size]
                assert share != []
    iterator = iter(whole)
    for _ in range(3):
        next(iterator)
    rest = list(iterator)
    for rank, part in enumerate(parts):
        part.load_state_dict({**whole.state_dict(), "epoch": 2, "position": 3})
        assert [share or [] for share in part] == [batch[rank::size] for batch in rest]
    if kind is nlp.Batches:
        assert [len(part) for part in parts] == [len(whole)] * size
        assert [sorted(map(tuple, column)) for column in [sum(zip(*(p.plan() for p in parts), strict=True), ())]]


def test_ranks_share_the_streams_of_a_text() -> None:
    ids = np.random.default_rng(1).integers(0, 50, 97)
    whole = nlp.LanguageModelBatches(ids, 5, 4)
    for rank in range(3):
        part = nlp.LanguageModelBatches(ids, 5, 4, shard=Rank(rank, 3))
        for window, share in zip(whole, part, strict=True):
            for a, b in zip(window, share, strict=True):
                assert np.array_equal(a[..., rank::3], b)
        assert part.state_dict()["settings"] == whole.state_dict()["settings"]


def test_ranks_share_a_stream() -> None:
    stream = nlp.Stream(lambda: iter(range(10)))
    assert [list(stream.shard(Rank(r, 3))) for r in range(3)] == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]
    assert list(nlp.Stream(lambda: iter("abcde"), shard=Rank(1, 2)).map(str.upper)) == ["B", "D"]


def test_more_ranks_than_data() -> None:
    for call, message in (
        (
            lambda: nlp.Batches([1, 2], batch_size=4, shard=Rank(0, 3)),
            "2 examples are too few for 3 ranks; start fewer",
        ),
        (
            lambda: nlp.Batches([1] * 9, batch_size=4, shard=Rank(0, 5)),
            "5 ranks cannot share a batch of 4; .* at least 5",
        ),
        (lambda: nlp.LanguageModelBatches(np.arange(99), 3, 4, shard=Rank(0, 4)), "4 ranks cannot share 3 streams"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


# ---- progress ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_first", [False, True])
def test_carried_states_are_joined_and_divided(batch_first: bool) -> None:
    """Five rows of a stream on three ranks, with kept windows: as one process carries them."""
    layer = nn.LSTM(3, 4, 2, batch_first=batch_first)
    xs = mg.randn(3, 5, 2, 3) if batch_first else mg.randn(3, 2, 5, 3)  # three windows
    rows = 0 if batch_first else 1

    def state(part: slice) -> Any:
        carried = nn.TBPTT(2, 4)
        for window in xs:
            index = [slice(None)] * 3
            index[rows] = part
            carried(layer, window[tuple(index)], reset=np.arange(5)[part] == 2)
        return carried.state_dict()

    whole, parts = state(slice(None)), [state(slice(rank, None, 3)) for rank in range(3)]

    def same(a: Any, b: Any) -> None:
        leaves = [mg.trees.flatten(s)[0] for s in (a, b)]
        for x, y in zip(*leaves, strict=True):
            np.testing.assert_allclose(x.data if isinstance(x, mg.Tensor) else x,
                                       y.data if isinstance(y, mg.Tensor) else y, rtol=2e-6)  # fmt: skip

    same(nn.TBPTT.merge(parts), whole)
    for rank, part in enumerate(parts):
        same(nn.TBPTT.split(whole, rank, 3), part)
    with pytest.raises(ValueError, match=r"merge: rank 0 has a part of shape \(2, 1, 4\), expected \(2, 2, 4\)"):
        nn.TBPTT.merge([parts[2], parts[0]])
    assert nn.TBPTT.merge([nn.TBPTT(3).state_dict()] * 2) == nn.TBPTT(3).state_dict()
    with pytest.raises(ValueError, match="axes must be two integers"):
        nn.TBPTT(3).load_state_dict({"state": None, "past": [], "axes": (1, "x")})


def test_random_states_of_ranks() -> None:
    """The same number of ranks continues with its states; further ranks get states derived from rank 0's."""

    def drawn(seed: int) -> Any:
        mg.manual_seed(seed)
        return mg.get_random_state()

    states = [drawn(seed) for seed in range(3)]
    saved = together(3, lambda g: dividing.gathered(
        Progress(random=states[g.rank], epoch_random=states[0], steps=7, others=()), g, None, "cpu"))[0]  # fmt: skip
    assert (saved.random, saved.steps) == (states[0], 7)
    for size in (1, 2, 3, 5):
        own = together(size, lambda g: dividing.divided(saved, g, None)) if size > 1 else [
            dividing.divided(saved, ALONE, None)]  # fmt: skip
        assert [p.random for p in own[:3]] == states[:size]
        assert len({p.random["seed"] for p in own}) == size
        assert all(Progress.of(vars(p)).steps == 7 for p in own)
        if size > 1:
            assert together(size, lambda g, own=own: dividing.divided(own[g.rank], g, None))[1] == own[1]
    with pytest.raises(ValueError, match="others must be pairs of random states"):
        Progress.of(vars(Progress(others=[3])))


class Counter:
    """Something else that is carried."""

    def __init__(self) -> None:
        self.count = 0

    def state_dict(self) -> dict[str, int]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.count = state["count"]


def test_what_cannot_be_divided_stays_with_as_many_ranks() -> None:
    saved = together(
        2, lambda g: dividing.gathered(Progress(carried={"count": g.rank}, others=()), g, Counter(), "cpu")
    )[0]
    assert [p.carried for p in together(2, lambda g: dividing.divided(saved, g, Counter()))] == [
        {"count": 0},
        {"count": 1},
    ]
    with pytest.raises(ValueError, match=r"the state of Counter was saved by 2 ranks .* among 3; start as many"):
        together(3, lambda g: dividing.divided(saved, g, Counter()))
    with pytest.raises(ValueError, match="saved by one process, and it has no split"):
        together(2, lambda g: dividing.divided(Progress(carried={"count": 1}), g, Counter()))


# ---- signals -----------------------------------------------------------------------------------------------------


def test_signals_are_kept() -> None:
    with stopping.kept_signals() as kept:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert [number for number, _ in kept] == [signal.SIGTERM, signal.SIGINT]
        kept.clear()
    with pytest.raises(KeyboardInterrupt), stopping.kept_signals():  # heard afterwards
        signal.raise_signal(signal.SIGINT)
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(stopping.kept_signals().__enter__()))
    thread.start()
    thread.join()
    assert seen == [[]]


def test_a_trainer_with_a_group_stops_after_a_step(tmp_path: Any) -> None:
    made = model()

    def step(model: Any, batch: Any) -> Any:
        if trainer.reached.steps == 2:
            signal.raise_signal(signal.SIGTERM)
        return loss_of(model, slice(None))

    trainer = nn.Trainer(made, nn.SGD(made.parameters(), lr=0.1), step, progress=False, group=ALONE,
                         checkpoint=tmp_path / "run")  # fmt: skip
    with pytest.raises(KeyboardInterrupt, match="stopped after step 3"):
        trainer.fit(range(5), 2)
    assert trainer.resume(tmp_path / "run").fit(range(5), 2)[-1]["step"] == 10


def test_a_trainer_accumulates_on_ranks_as_alone(tmp_path: Any) -> None:
    """Steps of 4 of 7 windows, an average of the weights, a loss that is not finite once: all numbers are the same."""

    def run(group: Any) -> Any:
        made, batches, unseen = trainer(group, str(tmp_path / f"{group.size}"), accumulate=4, average=0.8,
                                        nonfinite="skip")  # fmt: skip
        inner = made.step
        made.step = lambda model, window: inner(model, window) * (np.nan if made.reached.steps == 3 else 1)
        history = made.fit(batches, 3, validation=unseen)
        return history, [p.data for p in made.model.parameters()]

    expected, exact = run(ALONE)
    for history, weights in together(2, run):
        assert furthest(weights, exact) < 1e-11
        for found, record in zip(history, expected, strict=True):
            np.testing.assert_allclose(list(found.values()), list(record.values()), rtol=1e-11)


# ---- NCCL, on a stand-in -----------------------------------------------------------------------------------------


class OnGpu(np.ndarray):
    """An array with a pointer, as CuPy's have."""

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self.ctypes.data)


def at(pointer: int, count: int, number: int) -> Any:
    """An array that is at an address, of a kind that has a number."""
    kind = np.dtype({7: np.float32, 4: np.int64}[number])
    return np.frombuffer((ctypes.c_char * (count * kind.itemsize)).from_address(pointer), kind)


def stand_in(group: Any, available: bool = True) -> Any:
    """A module like CuPy whose NCCL meets on a board of threads."""

    class Communicator:
        def __init__(self, size: int, number: tuple[int, ...], rank: int) -> None:
            assert number == (5, 6, 7)
            self.rank = rank

        def rank_id(self) -> int:
            return self.rank

        def allReduce(self, send: int, receive: int, count: int, kind: Any, op: str, stream: int) -> None:
            assert (op, stream) == ("sum", 99)
            at(receive, count, kind)[:] = sum(group._all(at(send, count, kind).copy()))

        def broadcast(self, send: int, receive: int, count: int, kind: Any, root: int, stream: int) -> None:
            at(receive, count, kind)[:] = group._all(at(send, count, kind).copy() if root == self.rank else None)[root]

    event = SimpleNamespace(done=True)
    waited: list[Any] = []
    stream = SimpleNamespace(ptr=99, wait_event=waited.append, record=lambda: event)
    nccl = SimpleNamespace(available=available, get_unique_id=lambda: (5, 6, 7), NcclCommunicator=Communicator,
                           NCCL_SUM="sum", NCCL_FLOAT32=7, NCCL_INT64=4, groupStart=lambda: None,
                           groupEnd=lambda: None)  # fmt: skip
    cuda = SimpleNamespace(nccl=nccl, Device=lambda number: nullcontext(), Stream=lambda non_blocking: stream,
                           get_current_stream=lambda: stream)  # fmt: skip
    return SimpleNamespace(cuda=cuda, waited=waited, ascontiguousarray=lambda a: np.ascontiguousarray(a).view(OnGpu),
                           empty=lambda shape, dtype: np.empty(shape, dtype).view(OnGpu))  # fmt: skip


def test_nccl_sums_and_joins() -> None:
    def work(group: Any) -> Any:
        cupy = stand_in(group)
        wire = Nccl(cupy, f"cuda:{group.rank}", 2, group.rank, lambda numbers: group._all(numbers)[0])
        array = np.arange(6, dtype=np.float32).reshape(2, 3).view(OnGpu) * (1 + group.rank)
        summed = wire.sum(array)
        joined = wire.gather(np.full((2 * group.rank, 3), 7, np.int64).view(OnGpu), [0, 2])
        assert summed.Test()
        assert joined.Test()
        assert len(cupy.waited) == 4
        return array, joined.result

    for array, joined in together(2, work):
        assert array.tolist() == (3 * np.arange(6).reshape(2, 3)).tolist()
        assert joined.tolist() == [[7, 7, 7]] * 2


def test_nccl_is_missing() -> None:
    for cupy in (stand_in(None, available=False), SimpleNamespace(cuda=SimpleNamespace())):
        with pytest.raises(
            backends.DeviceError, match=r"2 processes on GPUs need NCCL, .* pip install nvidia-nccl-cu12"
        ):
            Nccl(cupy, "cuda:0", 2, 0, list)

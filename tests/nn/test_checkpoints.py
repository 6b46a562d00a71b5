"""Checkpoints: every kind of value comes back exactly, loading is all or nothing, bad files give clear errors."""

from __future__ import annotations

import enum
import json
import math
import os
import tempfile
from collections import OrderedDict, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
import nn
from nn.training import checkpoints, files
from nn.training.checkpoints import load_checkpoint, save_checkpoint


def same(a: Any, b: Any) -> bool:
    """Equal in type and value everywhere; arrays and floats bit for bit, dicts in order."""
    if type(a) is not type(b):
        return False
    if isinstance(a, mg.Tensor):
        return same(a.data, b.data)
    if isinstance(a, np.ndarray | np.generic):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return a.hex() == b.hex()
    if isinstance(a, dict):
        return len(a) == len(b) and all(
            same(k, m) and same(v, w) for (k, v), (m, w) in zip(a.items(), b.items(), strict=True)
        )
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


# ---- values ------------------------------------------------------------------------------------------------------

VALUES = {
    "floats": [0.1, -0.0, 1e-320, 1.7976931348623157e308, math.inf, -math.inf, math.nan],
    "integers": [0, -1, 2**63, -(2**127), 10**4000, -(10**5000), 2**4096],
    "1 and 1.0 and True": [1, 1.0, True, "1", None],
    "texts": ["", "ü€😀", "\ud800", "\x00\n\"\\", "$tuple"],
    "tuples": ((), (1,), [(2, [3, ()])], []),
    "keys": {1: "a", "1": "b", None: "d", 2.5: "e", (1, ("x", None)): "f", "": "h"},
    "keys that are marks": {"$tuple": [1], "$": {"$float": "nan"}, "plain": {"$unknown": 1}},
    "empty dicts": {"a": {}, "b": {"c": {}}},
    "arrays": [np.arange(6, dtype=np.int8).reshape(2, 3), np.zeros((0, 3)), np.array(2.5), np.array([True])],
    "scalars": [np.float32(0.1), np.float64(0.1), np.int64(-3), np.uint64(2**64 - 1), np.bool_(True)],
    "keys that are scalars": {np.int64(3): "a", np.float32(0.5): 1},
    "one name twice": {"a": {"b": np.ones(1)}, "a.b": np.zeros(1), "a.b (2)": np.full(1, 2.0)},
    "a reserved name": {"json": np.ones(1)},
}  # fmt: skip


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_values_come_back(tmp_path: Path, value: Any) -> None:
    save_checkpoint(tmp_path / "c", tree=value, other=None)
    found = load_checkpoint(tmp_path / "c")
    assert list(found) == ["tree", "other"]
    assert same(found["tree"], value)


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(),
    hnp.arrays(st.sampled_from(["f4", "f8", "i8", "?"]), hnp.array_shapes(min_dims=0, max_dims=2, min_side=0)),
)  # fmt: skip
KEYS = st.one_of(st.text(), st.integers(), st.none(), st.tuples(st.integers(), st.text()))
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.lists(inner, max_size=3).map(tuple), st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(tree=TREES)
def test_any_nested_structure_comes_back(tree: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "c")
        save_checkpoint(path, part=tree)
        assert same(load_checkpoint(path)["part"], tree)


def test_tensors_come_back_where_they_are_wanted(tmp_path: Path, backend: Any) -> None:
    """A carried state: nested tuples of Tensors, also such that hang on a graph. NumPy arrays stay NumPy's."""
    w = backend.tensor([[1.0, 2.0]], requires_grad=True)
    h, order = w * 3.0, np.arange(3)
    save_checkpoint(tmp_path / "c", state=((h, w), [h.detach()]), order=order, array=backend.array([1.0]))
    found = load_checkpoint(tmp_path / "c", device=backend.device)
    (h2, w2), (h3,) = found["state"]
    for t, values in ((h2, [[3.0, 6.0]]), (w2, [[1.0, 2.0]]), (h3, [[3.0, 6.0]])):
        assert t.device == backend.device
        assert t.is_leaf
        assert not t.requires_grad
        assert backend.numpy(t).tolist() == values
    assert h2.data is not h3.data
    assert same(found["order"], order)
    assert backend.numpy(found["array"]).tolist() == [1.0]
    (h4, _), _ = load_checkpoint(tmp_path / "c")["state"]
    assert h4.device == "cpu"


def test_subclasses_come_back_plain(tmp_path: Path) -> None:
    class Color(enum.IntEnum):
        RED = 3

    pair = namedtuple("pair", "a b")
    save_checkpoint(tmp_path / "c", values=[pair(1, 2), OrderedDict(z=1, a=2), Color.RED, np.str_("x")])
    assert same(load_checkpoint(tmp_path / "c")["values"], [(1, 2), {"z": 1, "a": 2}, 3, "x"])


def test_random_numbers_go_on_bit_for_bit(tmp_path: Path) -> None:
    mg.manual_seed(2**70 + 1)
    mg.randn(7)
    save_checkpoint(tmp_path / "c", random=mg.get_random_state())
    expected = mg.randn(5)
    mg.manual_seed(1)
    mg.set_random_state(load_checkpoint(tmp_path / "c")["random"])
    assert same(mg.randn(5), expected)


def test_the_same_state_gives_the_same_file(tmp_path: Path) -> None:
    for name in "ab":
        save_checkpoint(tmp_path / name, x={"y": np.ones(2), "z": (1, 2.5), "w": np.zeros(3)}, steps=7)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_long_history_fits(tmp_path: Path) -> None:
    """Its text is longer than a safetensors header may be (100 MB)."""
    text = "x" * 101_000_000
    save_checkpoint(tmp_path / "c", text=text)
    assert load_checkpoint(tmp_path / "c")["text"] == text


def test_other_programs_see_arrays_under_readable_names(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 3))
    save_checkpoint(tmp_path / "c", model=model, trees={"best": [mg.ones(2)]})
    arrays = files.load(tmp_path / "c")
    assert sorted(arrays) == ["model.0.bias", "model.0.weight", "tree.json", "trees.best.0"]
    assert same(arrays["model.0.weight"].data, model[0].weight.data)


# ---- refused values ----------------------------------------------------------------------------------------------


class Plain:
    pass


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ({"a": [1, Plain()]}, TypeError, r"part\.a\.1 is of type Plain"),
        ({"a": {1, 2}}, TypeError, r"part\.a is of type set"),
        (b"bytes", TypeError, "part is of type bytes"),
        (1 + 2j, TypeError, "part is of type complex"),
        ({Plain(): 1}, TypeError, "part, a key is of type Plain"),
        ([np.ones(2, complex)], TypeError, r"'part\.0' has dtype complex128"),
        (lambda: 1, TypeError, "part is of type function"),
    ],
)
def test_what_cannot_be_saved_is_named(tmp_path: Path, value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        save_checkpoint(tmp_path / "c", part=value)
    assert os.listdir(tmp_path) == []


def test_a_part_that_contains_itself(tmp_path: Path) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="contains itself"):
        save_checkpoint(tmp_path / "c", part=loop)


# ---- loading into objects ----------------------------------------------------------------------------------------


class Counter:
    """An object with a state, which refuses some."""

    def __init__(self, count: int = 0) -> None:
        self.values = mg.Tensor(np.full(2, float(count)))

    def state_dict(self) -> dict[str, Any]:
        return {"values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        with mg.no_grad():
            self.values[0] = state["values"][0]  # in place, and half of it before it is checked
        if float(state["values"][1]) < 0:
            raise RuntimeError("negative counts")
        self.values = state["values"]


def test_objects_are_restored(tmp_path: Path) -> None:
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    save_checkpoint(tmp_path / "c", model=first, counter=Counter(3), epoch=4)
    counter, weight = Counter(), second.weight
    found = load_checkpoint(tmp_path / "c", model=second, counter=counter)
    assert second.weight is weight
    assert same(second.weight.data, first.weight.data)
    assert counter.values.tolist() == [3.0, 3.0]
    assert found["epoch"] == 4
    assert sorted(found) == ["counter", "epoch", "model"]


def test_the_file_is_not_tied_to_the_objects(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    before = model.weight.numpy()
    save_checkpoint(tmp_path / "c", model=model)
    with mg.no_grad():
        model.weight[...] = 0.0
    load_checkpoint(tmp_path / "c", model=model)
    assert same(model.weight.numpy(), before)


@pytest.mark.parametrize("order", [("model", "counter"), ("counter", "model")])
@pytest.mark.parametrize("culprit", ["model", "counter"])
def test_all_or_nothing(tmp_path: Path, order: tuple[str, str], culprit: str) -> None:
    bad = {"model": nn.Linear(3, 5), "counter": Counter(-1)}
    good = {"model": nn.Linear(3, 2), "counter": Counter(7)}
    save_checkpoint(tmp_path / "c", **(good | {culprit: bad[culprit]}))
    model, counter = nn.Linear(3, 2), Counter(1)
    into = {"model": model, "counter": counter}
    before = model.weight.numpy(), model.bias.numpy()
    with pytest.raises(ValueError, match=rf"c does not fit {culprit}; nothing was changed: .*(bias|negative counts)"):
        load_checkpoint(tmp_path / "c", **{name: into[name] for name in order})
    assert same(before, (model.weight.numpy(), model.bias.numpy()))
    assert counter.values.tolist() == [1.0, 1.0]


def test_an_interrupt_while_loading_leaves_everything_as_it_was(tmp_path: Path) -> None:
    class Interrupted(Counter):
        def load_state_dict(self, state: dict[str, Any]) -> None:
            if self.values[0] != state["values"][0]:
                raise KeyboardInterrupt

    save_checkpoint(tmp_path / "c", model=nn.Linear(3, 2), counter=Counter(7))
    model = nn.Linear(3, 2)
    before = model.weight.numpy()
    with pytest.raises(KeyboardInterrupt):
        load_checkpoint(tmp_path / "c", model=model, counter=Interrupted(1))
    assert same(model.weight.numpy(), before)


def test_missing_parts_and_objects_that_load_nothing(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", model=nn.Linear(3, 2), epoch=1)
    with pytest.raises(ValueError, match="c has no optimizer, schedule; it has model, epoch"):
        load_checkpoint(tmp_path / "c", optimizer=Counter(), model=nn.Linear(3, 2), schedule=Counter())
    with pytest.raises(TypeError, match="epoch has no state_dict and load_state_dict: int"):
        load_checkpoint(tmp_path / "c", epoch=3)
    with pytest.raises(mg.DeviceError, match="there is no device 'moon'"):
        load_checkpoint(tmp_path / "c", device="moon")


# ---- bad files ---------------------------------------------------------------------------------------------------


def with_tree(path: Path, text: bytes, **arrays: Any) -> None:
    files.write_arrays(path, {checkpoints.TREE: np.frombuffer(text, np.uint8), **arrays}, {"nn.checkpoint": "1"})


def test_files_of_others(tmp_path: Path) -> None:
    path = tmp_path / "c"
    files.save(nn.Linear(2, 2), path)
    with pytest.raises(ValueError, match=r"c is not a checkpoint; if it holds weights, nn\.load reads it"):
        load_checkpoint(path)
    files.write_arrays(path, {}, {"nn.checkpoint": "2"})
    with pytest.raises(ValueError, match="c is a checkpoint of version '2'; this program reads version 1"):
        load_checkpoint(path)
    path.write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(ValueError, match="c is not a safetensors file"):
        load_checkpoint(path)
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"\xff", b"[1]", b"3", b'{"a":{"$tensor":"x"}}', b'{"a":{"$what":1}}', b'{"a":{"$float":"one"}}',
        b'{"a":{"$float":[]}}', b'{"a":{"$int":3}}', b'{"a":{"$int":"zz"}}', b'{"a":{"$tuple":3}}',
        b'{"a":{"$dict":[1]}}',
        b'{"a":{"$dict":[[[1],2]]}}', b'{"a":{"$array":["y"]}}', b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' + b"9" * 10_000 + b"}", b'{"a":{"$float":1' + b"0" * 400 + b"}}", b'{"a":{"$float":true}}',
        b'{"a":NaN}', b'{"a":[-Infinity]}', b'{"a":{"$tuple":"abc"}}', b'{"a":{"$float":"nan","b":1}}',
        b'{"a":{"$scalar":"y"}}', b'{"a":{"$int":"0x1","$float":"2"}}', b"[]", b'"a"', b"null",
    ],
    ids=lambda text: repr(text[:24]),
)  # fmt: skip
def test_damaged_text(tmp_path: Path, text: bytes) -> None:
    with_tree(tmp_path / "c", text, y=np.ones(1))
    with pytest.raises(ValueError, match="c is a damaged checkpoint"):
        load_checkpoint(tmp_path / "c")


def test_no_text(tmp_path: Path) -> None:
    files.write_arrays(tmp_path / "c", {"y": np.ones(1)}, {"nn.checkpoint": "1"})
    with pytest.raises(ValueError, match="c is a damaged checkpoint"):
        load_checkpoint(tmp_path / "c")


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damage_gives_an_error_or_sound_values(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c"
        save_checkpoint(path, a=(1, [2.5, math.nan]), b={3: mg.ones(2), "$": np.int64(3)}, model=nn.Linear(1, 1))
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 2))):
            place = data.draw(st.integers(0, len(content) - 1))
            if data.draw(st.booleans()):
                content[place] = data.draw(st.integers(0, 255))
            else:
                del content[place : place + data.draw(st.integers(1, 50))]
        path.write_bytes(content)
        model = nn.Linear(1, 1)
        before = model.weight.numpy()
        try:
            load_checkpoint(path, model=model)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017 (either outcome is right)
            assert same(model.weight.numpy(), before)


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", a=(1, [2.5]), b=mg.ones(2))
    content = (tmp_path / "c").read_bytes()
    for length in range(len(content)):
        (tmp_path / "c").write_bytes(content[:length])
        with pytest.raises(ValueError, match="c is "):
            load_checkpoint(tmp_path / "c")


def test_the_text_is_strict_json(tmp_path: Path) -> None:
    """So that other languages read it, too."""
    save_checkpoint(tmp_path / "c", a=[math.nan, math.inf, (1,)])
    text = files.load(tmp_path / "c")[checkpoints.TREE].numpy().tobytes()

    def refuse(name: str) -> None:
        raise AssertionError(name)

    assert json.loads(text, parse_constant=refuse) == {"a": [{"$float": "nan"}, {"$float": "inf"}, {"$tuple": [1]}]}

"""Weights in safetensors files: exact round trips, atomic writing, and files with false headers."""

from __future__ import annotations

import errno
import json
import os
import stat
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
import nn
from minigrad import backend as backends
from nn.training.files import atomic, load, load_metadata, save

DTYPES = ["bool", *[f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]]
DTYPES += ["float16", "float32", "float64"]


def same(a: Any, b: Any) -> bool:
    """Equal in dtype, shape and every bit."""
    a, b = (backends.to_numpy(x.data if isinstance(x, mg.Tensor) else x) for x in (a, b))
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def files_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


# ---- round trips -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0, 2), (5,), (3, 4), (2, 3, 5)])
def test_every_dtype_and_shape_comes_back(tmp_path: Path, dtype: str, shape: tuple[int, ...], rng: Any) -> None:
    array = np.asarray(rng.uniform(-100, 100, shape)).astype(dtype)
    save({"x": mg.Tensor(array)}, tmp_path / "x")
    back = load(tmp_path / "x")["x"]
    assert same(back, array)
    assert isinstance(back, mg.Tensor)
    assert not back.requires_grad


@pytest.mark.parametrize(
    "change",
    [
        np.asfortranarray,
        lambda a: a.T,
        lambda a: a[::-2, 1::3],
        lambda a: a[:, 2],
        lambda a: np.broadcast_to(a[0], (4, 6)),
        lambda a: a.astype(">f4"),
        lambda a: a.astype(">f4").T[1:],
    ],
    ids=["fortran", "transposed", "strided", "column", "broadcast", "big-endian", "big-endian view"],
)
def test_any_memory_layout_is_written_in_order(tmp_path: Path, change: Any, rng: Any) -> None:
    array = change(rng.standard_normal((5, 6)).astype(np.float32))
    save({"x": array, "y": np.ones(2)}, tmp_path / "x")
    assert same(load(tmp_path / "x")["x"], np.array(array.tolist(), np.float32))


ARRAYS = hnp.arrays(
    st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
)  # NaN, infinities, −0 and subnormal numbers among them
NAMES = st.text(st.characters(exclude_categories=("Cs",)), max_size=12).filter(lambda name: name != "__metadata__")


@settings(max_examples=60, deadline=None)
@given(state=st.dictionaries(NAMES, ARRAYS, max_size=5), metadata=st.dictionaries(NAMES, NAMES, max_size=3))
def test_any_state_comes_back(state: dict[str, Any], metadata: dict[str, str]) -> None:
    metadata.pop("format", None)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x")
        save(state, path, metadata)
        back = load(path)
        assert load_metadata(path) == metadata
    assert back.keys() == state.keys()
    assert all(same(back[name], state[name]) for name in state)


def test_what_was_loaded_can_be_written_into_and_outlives_the_file(tmp_path: Path) -> None:
    save({"x": np.arange(4.0)}, tmp_path / "x")
    x = load(tmp_path / "x")["x"]
    os.truncate(tmp_path / "x", 0)
    x += 1.0
    x[0] = 9.0
    assert x.tolist() == [9.0, 2.0, 3.0, 4.0]


def test_a_module_comes_back(tmp_path: Path, backend: Any) -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Embedding(5, 4, padding_idx=0), nn.Linear(4, 3), nn.LayerNorm(3)).to(backend.device)

    first, second = make(), make()
    assert not same(first[1].weight, second[1].weight)
    save(first, tmp_path / "m")
    state = load(tmp_path / "m", backend.device)
    assert {t.device for t in state.values()} == {backend.device}
    second.load_state_dict(state)
    for (name, a), (_, b) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        assert same(a, b), name
    third = nn.Sequential(nn.Embedding(5, 4, padding_idx=0), nn.Linear(4, 3), nn.LayerNorm(3))  # on the CPU
    third.load_state_dict(load(tmp_path / "m"))
    assert same(third[1].weight, first[1].weight)


class Tied(nn.Module):
    def __init__(self, tied: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.out = nn.Linear(3, 5)
        if tied:
            self.out.weight = self.embedding.weight


def test_tied_weights_are_written_under_each_name_and_stay_tied(tmp_path: Path) -> None:
    first, second, untied = Tied(), Tied(), Tied(tied=False)
    save(first, tmp_path / "m")
    state = load(tmp_path / "m")
    assert sorted(state) == ["embedding.weight", "out.bias", "out.weight"]
    second.load_state_dict(state)
    untied.load_state_dict(state)
    assert second.out.weight is second.embedding.weight
    assert same(second.out.weight, first.out.weight)
    assert same(untied.out.weight, untied.embedding.weight)
    assert untied.out.weight is not untied.embedding.weight


def test_a_note_about_shared_weights_is_understood_only_where_it_is_one(tmp_path: Path) -> None:
    one = {"embedding.weight": np.ones((5, 3))}
    save(one, tmp_path / "a", {"format": "pt", "out.weight": "embedding.weight"})
    state = load(tmp_path / "a")
    assert state["out.weight"] is state["embedding.weight"]
    save(one, tmp_path / "b", {"title": "embedding.weight"})
    assert sorted(load(tmp_path / "b")) == ["embedding.weight"]


# ---- bad arguments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ({"x": [1.0, 2.0]}, TypeError, "'x' is of type list"),
        ({"x": np.ones(2, complex)}, TypeError, "'x' has dtype complex128"),
        ({"x": np.ones(2, np.longdouble)}, TypeError, "'x' has dtype"),
        ({"x": np.array(["a"])}, TypeError, "'x' has dtype <U1"),
        ({"x": np.array([None])}, TypeError, "'x' has dtype object"),
        ({"__metadata__": np.ones(2)}, ValueError, "'__metadata__' cannot be the name"),
        ({3: np.ones(2)}, ValueError, "3 cannot be the name"),
        ({"\ud800": np.ones(2)}, ValueError, "surrogates"),
    ],
)
def test_what_cannot_be_saved_is_named(tmp_path: Path, state: Any, error: type[Exception], message: str) -> None:
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(error, match=message):
        save(state, tmp_path / "x")
    assert files_in(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == b"old"


def test_metadata_must_be_texts(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"metadata are texts by name, not \{'epoch': 3\}"):
        save({"x": np.ones(2)}, tmp_path / "x", {"epoch": 3, "author": "A"})  # type: ignore[dict-item]
    assert files_in(tmp_path) == []


# ---- whole or not at all -----------------------------------------------------------------------------------------


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def fail(error: BaseException) -> None:
        with atomic(path) as temporary:
            assert Path(temporary).parent == tmp_path
            Path(temporary).write_bytes(b"half of the n")
            raise error

    for error in (RuntimeError(), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            fail(error)
        assert files_in(tmp_path) == ["x"]
        assert path.read_bytes() == b"old"
    with atomic(path) as temporary:
        Path(temporary).write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert files_in(tmp_path) == ["x"]
    assert path.read_bytes() == b"new"


def test_the_new_file_is_on_the_disk_before_it_takes_the_old_ones_place(tmp_path: Path, monkeypatch: Any) -> None:
    path, events = tmp_path / "x", []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(number: int) -> None:
        events.append("folder" if stat.S_ISDIR(os.fstat(number).st_mode) else f"{os.fstat(number).st_size} bytes")
        fsync(number)

    def noted_replace(a: Any, b: Any) -> None:
        events.append("replace")
        replace(a, b)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    save({"x": np.ones(100)}, path)
    assert events == [f"{path.stat().st_size} bytes", "replace", "folder"]


@pytest.mark.skipif(os.name != "posix", reason="permissions and signals of POSIX")
class TestPosix:
    @pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
    def test_permissions_are_those_of_any_new_file(self, tmp_path: Path, umask: int) -> None:
        before = os.umask(umask)
        try:
            save({"x": np.ones(2)}, tmp_path / "x")
            (tmp_path / "y").write_bytes(b"")
        finally:
            os.umask(before)
        assert (tmp_path / "x").stat().st_mode == (tmp_path / "y").stat().st_mode

    def test_a_link_stays_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "there").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "there" / "x")
        for value in (1.0, 2.0):  # also if what it points to does not exist yet
            save({"x": np.full(2, value)}, tmp_path / "link")
            assert (tmp_path / "link").is_symlink()
            assert load(tmp_path / "there" / "x")["x"].tolist() == [value, value]
        assert files_in(tmp_path / "there") == ["x"]

    def test_a_full_disk_leaves_the_old_file(self, tmp_path: Path) -> None:
        save({"x": np.arange(3.0)}, tmp_path / "x")
        program = (
            "import resource, sys, numpy as np\n"
            "from nn.training.files import save\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
            "try: save({'x': np.ones(100_000)}, sys.argv[1])\n"
            "except OSError as error: print(error)\n"
        )
        done = run(program, tmp_path / "x")
        assert "could not be written" in done.stdout, done.stderr
        assert files_in(tmp_path) == ["x"]
        assert load(tmp_path / "x")["x"].tolist() == [0.0, 1.0, 2.0]

    @pytest.mark.parametrize("moment", ["nn.training.files.write_bytes", "os.fsync", "os.replace"])
    def test_killed_while_writing(self, tmp_path: Path, moment: str) -> None:
        save({"x": np.arange(3.0)}, tmp_path / "x")
        module, _, name = moment.rpartition(".")
        program = (
            f"import os, signal, sys, numpy as np, {module} as module\n"
            "from nn.training.files import save\n"
            f"module.{name} = lambda *args: os.kill(os.getpid(), signal.SIGKILL)\n"
            "save({'x': np.ones(1000)}, sys.argv[1])\n"
        )
        assert run(program, tmp_path / "x").returncode == -9
        assert load(tmp_path / "x")["x"].tolist() == [0.0, 1.0, 2.0]

    def test_a_pipe_is_refused(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "x")
        with pytest.raises(OSError, match="it is not a regular file"):
            save({"x": np.ones(1)}, tmp_path / "x")
        with pytest.raises(ValueError, match="x is not a regular file"):
            load(tmp_path / "x")


def run(program: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    root = Path(nn.__file__).parent.parent
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], cwd=root, capture_output=True, text=True, check=False
    )


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"its folder does not exist: .*missing.x"):
        save({"x": np.ones(1)}, tmp_path / "missing" / "x")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        save({"x": np.ones(1)}, tmp_path)
    assert files_in(tmp_path) == []


def test_long_names_of_files(tmp_path: Path) -> None:
    name = "ü" * 120
    save({"x": np.ones(1)}, tmp_path / name)
    assert files_in(tmp_path) == [name]


# ---- invalid files -----------------------------------------------------------------------------------------------


def made(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype: str = "F32", shape: Any = (2,), start: int = 0, end: int = 8) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


HOSTILE = {
    "empty": b"",
    "short": b"\x08\x00\x00",
    "pickle": b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02ls\x94\x85\x94R\x94.",
    "zip": b"PK\x03\x04" + bytes(200),
    "text": b"the quick brown fox jumps over the lazy dog",
    "huge header": struct.pack("<Q", 2**63) + b"{}",
    "large header": struct.pack("<Q", 90_000_000) + b"{}",
    "not JSON": made(b"weights: 1"),
    "not UTF-8": made(b'{"\xff\xfe": 1}'),
    "a list": made([1, 2]),
    "nested": made(b"[" * 50_000),
    "no offsets": made({"a": {"dtype": "F32", "shape": [2]}}, bytes(8)),
    "beyond the end": made({"a": entry(shape=(200,), end=800)}, bytes(8)),
    "shape too large": made({"a": entry(shape=(2**40, 2**40))}, bytes(8)),
    "shape and size disagree": made({"a": entry(shape=(3,))}, bytes(8)),
    "overlap": made({"a": entry(), "b": entry()}, bytes(8)),
    "backwards": made({"a": entry(start=8, end=0)}, bytes(8)),
    "negative": made({"a": entry(shape=(-2,))}, bytes(8)),
    "a hole": made({"a": entry(), "b": entry(start=12, end=20)}, bytes(20)),
    "more data": made({"a": entry()}, bytes(9)),
    "unknown dtype": made({"a": entry("F33")}, bytes(8)),
    "bfloat16 of another size": made({"a": entry("BF16", (5,))}, bytes(8)),
    "float8 without a mantissa": made({"a": entry("F8_E8M0", (8,))}, bytes(8)),
    "complex": made({"a": entry("C64", (1,))}, bytes(8)),
    "empty and endless": made({"a": entry(shape=(0, 2**62, 2**62), end=0)}),
    "too many axes": made({"a": entry(shape=(1,) * 99 + (2,))}, bytes(8)),
    "metadata that are no texts": made({"__metadata__": {"a": 1}}),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_give_one_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.safetensors(: tensor 'a' cannot be read| is not a safetensors file)"):
        load(tmp_path / "bad.safetensors")


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.safetensors"):
        load(tmp_path / "nowhere.safetensors")
    with pytest.raises(IsADirectoryError, match="is a folder, not a safetensors file"):
        load(tmp_path)


def test_a_lying_header_costs_no_memory(tmp_path: Path) -> None:
    """Far below the 50 GB that the headers promise."""
    lies = [
        struct.pack("<Q", 50_000_000_000) + b"{}",
        made({"a": entry("U8", (50_000_000_000,), 0, 50_000_000_000)}, bytes(8)),
    ]
    for content in lies:
        (tmp_path / "bad").write_bytes(content)
        program = (
            "import resource, sys\n"
            "from nn.training.files import load\n"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "try: load(sys.argv[1])\n"
            "except ValueError: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
        )
        done = run(program, tmp_path / "bad")
        assert int(done.stdout) < 50_000, done.stderr  # KiB


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damage_gives_an_error_or_sound_tensors(data: st.DataObject) -> None:
    """Bytes flipped, cut off, put in. Numbers have no checksum, so other numbers are a possible result."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        save({"a": np.arange(6.0).reshape(2, 3), "b": np.ones((), np.int16), "c": np.zeros((0, 2))}, path, {"k": "v"})
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.integers(0, len(content)))
            kind = data.draw(st.sampled_from(["flip", "cut", "insert", "remove"]))
            if kind == "flip":
                content[place : place + 1] = data.draw(st.binary(min_size=1, max_size=1))
            elif kind == "cut":
                del content[place:]
            elif kind == "insert":
                content[place:place] = data.draw(st.binary(min_size=1, max_size=9))
            else:
                del content[place : place + 3]
        path.write_bytes(content)
        try:
            state = load(path)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017 (either outcome is right)
        else:
            assert all(isinstance(t, mg.Tensor) and t.size * t.dtype.itemsize == t.nbytes for t in state.values())
            assert sum(t.nbytes for t in state.values()) <= len(content)


# ---- small floats ------------------------------------------------------------------------------------------------


def small(path: Path, kind: str, raw: bytes, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    head = json.dumps({"a": {"dtype": kind, "shape": shape, "data_offsets": [0, len(raw)]}}).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + raw)
    read = load(path)["a"].data
    assert read.dtype == np.float32
    return read  # type: ignore[no-any-return]


def test_bfloat16_is_the_upper_half_of_float32(tmp_path: Path) -> None:
    every = np.arange(2**16, dtype=np.uint32) << 16
    read = small(tmp_path / "x", "BF16", (every >> 16).astype("<u2").tobytes(), (256, 256))
    np.testing.assert_array_equal(read.reshape(-1), every.view(np.float32))
    assert small(tmp_path / "x", "BF16", b"", (0, 3)).shape == (0, 3)
    assert small(tmp_path / "x", "BF16", b"\x80\x3f", ()).item() == 1.0


def test_float8_is_read_as_its_definition_says(tmp_path: Path) -> None:
    for kind, bits, bias in (("F8_E4M3", 3, 7), ("F8_E5M2", 2, 15)):
        expected = []
        for code in range(256):
            sign, e, m = (-1) ** (code >> 7), (code & 127) >> bits, code & ((1 << bits) - 1)
            value = m / 2**bits * 2.0 ** (1 - bias) if e == 0 else (1 + m / 2**bits) * 2.0 ** (e - bias)
            if kind == "F8_E4M3":
                value = np.nan if code & 127 == 127 else value
            elif e == 31:
                value = np.nan if m else np.inf
            expected.append(sign * value)
        read = small(tmp_path / "x", kind, bytes(range(256)), (2, 128))
        np.testing.assert_array_equal(read.reshape(-1), np.array(expected, np.float32))


# ---- leftovers of a killed process -------------------------------------------------------------------------------

KILLED = """
import os, sys, numpy as np
from nn.training.files import atomic
with atomic(sys.argv[1]) as temporary:
    os._exit(9)
"""


@pytest.mark.skipif(os.name != "posix", reason="processes are asked for by POSIX's kill")
def test_what_a_killed_save_left_is_removed_by_the_next(tmp_path: Path) -> None:
    for name in ("x.safetensors", "y" * 100):
        run(KILLED, tmp_path / name)
        run(KILLED, tmp_path / name)
    run(KILLED, tmp_path / ("y" * 101))
    assert len(files_in(tmp_path)) == 3  # each removes what the one before it left
    others = [".x.safetensors.tmp", ".x.safetensors.0123456789ab.tmp", ".z.0123456789ab.tmp", ".x.safetensors.note.tmp"]
    for name in others:
        (tmp_path / name).write_text("")
    save({"a": np.ones(1)}, tmp_path / "x.safetensors")
    save({"a": np.ones(1)}, tmp_path / ("y" * 100))
    left = files_in(tmp_path)
    assert len([name for name in left if name.startswith(".y")]) == 1  # of another file
    assert {name for name in left if not name.startswith(".y")} == {*others, "x.safetensors", "y" * 100}
    for name in others:
        os.utime(tmp_path / name, (1e9, 1e9))
    save({"a": np.ones(1)}, tmp_path / "x.safetensors")
    assert set(others) - set(files_in(tmp_path)) == {".x.safetensors.0123456789ab.tmp"}  # an old one, of an old version


def test_a_save_within_a_save_of_the_same_file_leaves_it_alone(tmp_path: Path) -> None:
    with atomic(tmp_path / "x") as one:
        save({"a": np.ones(1)}, tmp_path / "x")
        assert os.path.exists(one)
    assert files_in(tmp_path) == ["x"]


def test_errors_of_the_system_keep_number_and_name(tmp_path: Path) -> None:
    for path, code in ((tmp_path, errno.EISDIR), (tmp_path / "no" / "x", errno.ENOENT)):
        with pytest.raises(OSError, match="it ") as raised:
            save({"x": np.ones(1)}, path)
        assert (raised.value.errno, raised.value.filename) == (code, str(path))
    with pytest.raises(IsADirectoryError) as raised:
        load(tmp_path)
    assert (raised.value.errno, raised.value.filename) == (errno.EISDIR, str(tmp_path))

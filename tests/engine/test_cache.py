"""Object code on disk: a loaded kernel equals the compiled one, and a file that others can write is not loaded."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigrad import diagnosis
from minigrad.native import cache, machine, sums

needs_kernels = pytest.mark.skipif(not machine.available(), reason="needs llvmlite, of the extra `fast`")

STEP = """
import hashlib, sys
import minigrad as mg, nn
from minigrad.native import machine
compiled, translated = [], machine._translated
machine._translated = lambda source: compiled.append(source) or translated(source)
mg.manual_seed(0)
layer = nn.LSTM(5, 6)
output, _ = layer(mg.randn(4, 20, 5))
output.sum().backward()
numbers = b"".join(array.data.tobytes() for array in (output, *(p.grad for p in layer.parameters())))
print(len(compiled), hashlib.sha256(numbers).hexdigest())
"""


def child(code: str, folder: Path | str | None, **environment: str) -> list[str]:
    """The words that a process of its own prints; of errors and warnings it prints none."""
    kept = {k: v for k, v in os.environ.items() if k not in ("MINIGRAD_CACHE", "XDG_CACHE_HOME", "MINIGRAD_COMPILE")}
    environment = kept | environment | ({} if folder is None else {"MINIGRAD_CACHE": str(folder)})
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if not line.startswith("minigrad: compiling ")] == []
    return done.stdout.split()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own. The threads of the pool, whose code is compiled once a process, run before."""
    if machine.available():
        sums._source("float", 4)
    monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path / "kernels"))
    return tmp_path / "kernels"


@pytest.fixture
def compiles(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Makes a kernel as a new process does, tries it, and says how often it had to be compiled: 0 or 1."""
    count = 0
    translated = machine._translated

    def counted(source: str) -> bytes:
        nonlocal count
        count += 1
        return translated(source)

    def made(kind: str = "float") -> int:
        nonlocal count
        count = 0
        dtype = np.dtype(np.float32 if kind == "float" else np.float64)
        machine._compiled.clear()
        kernel = machine.compiled(sums._source(kind, dtype.itemsize))
        out = np.empty((1, 3), dtype)
        kernel(np.arange(6, dtype=dtype).reshape(2, 3), out)
        assert out.tolist() == [[3.0, 5.0, 7.0]]
        return count

    monkeypatch.setattr(machine, "_translated", counted)
    monkeypatch.setattr(machine, "_compiled", {})
    return made


def kernels(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.kernel"))


# ---- loading -----------------------------------------------------------------------------------------------------


@needs_kernels
def test_a_second_process_compiles_nothing_and_computes_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "kernels"
    cold = child(STEP, folder, PYTHONHASHSEED="1")
    assert int(cold[0]) == len(kernels(folder)) > 0
    assert child(STEP, folder, PYTHONHASHSEED="2") == ["0", cold[1]]
    assert child(STEP, "0") == child(STEP, "") == cold


@needs_kernels
def test_processes_that_begin_together(tmp_path: Path) -> None:
    environment = os.environ | {"MINIGRAD_CACHE": str(tmp_path / "kernels"), "MINIGRAD_COMPILE": "1"}
    together = [subprocess.Popen([sys.executable, "-c", STEP], env=environment, stdout=subprocess.PIPE, text=True)
                for _ in range(8)]  # fmt: skip
    found = {process.communicate()[0].split()[1] for process in together}
    assert [process.returncode for process in together] == [0] * 8
    assert len(found) == 1
    assert kernels(tmp_path / "kernels") == sorted((tmp_path / "kernels").iterdir())
    assert child(STEP, tmp_path / "kernels") == ["0", *found]


@needs_kernels
@pytest.mark.parametrize("cut", [0, 10, 40, 100, -1])
def test_a_file_that_is_cut_off_is_replaced(compiles: Callable[..., int], folder: Path, cut: int) -> None:
    assert compiles() == 1
    (file,) = kernels(folder)
    whole = file.read_bytes()
    file.write_bytes(whole[:cut])
    assert compiles() == 1
    assert file.read_bytes() == whole
    assert compiles() == 0


@needs_kernels
@pytest.mark.parametrize("place", [0, 30, 60, 500])
def test_a_damaged_file_is_replaced(compiles: Callable[..., int], folder: Path, place: int) -> None:
    compiles()
    (file,) = kernels(folder)
    whole = bytearray(file.read_bytes())
    whole[place] ^= 1
    file.write_bytes(whole)
    assert compiles() == 1
    assert compiles() == 0


@needs_kernels
def test_the_code_of_another_kernel_is_replaced(compiles: Callable[..., int], folder: Path) -> None:
    compiles("float")
    (single,) = kernels(folder)
    compiles("double")
    (double,) = set(kernels(folder)) - {single}
    double.write_bytes(single.read_bytes())
    assert compiles("double") == 1
    assert compiles("double") == 0


@needs_kernels
@pytest.mark.parametrize("changed", ["processor", "features", "llvmlite", "NumPy", "generator"])
def test_the_key_holds_all_that_code_depends_on(
    compiles: Callable[..., int], folder: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    import llvmlite

    compiles()
    key = machine._key("source")
    system, processor, features = machine._processor()
    with monkeypatch.context() as patch:
        match changed:
            case "processor":
                patch.setattr(machine, "_processor", lambda: (system, "x86-64", features))
            case "features":
                patch.setattr(machine, "_processor", lambda: (system, processor, f"{features},-avx"))
            case "llvmlite":
                patch.setattr(llvmlite, "__version__", "0")
            case "NumPy":
                patch.setattr(np, "__version__", "0")
            case "generator":
                patch.setattr(machine, "GENERATOR", 0)
        assert machine._key("source") != key
    assert machine._key("source") == key
    assert machine._key("sources") != key


# ---- untrusted files ---------------------------------------------------------------------------------------------


@needs_kernels
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_a_folder_that_others_can_write_is_not_used(compiles: Callable[..., int], folder: Path, mode: int) -> None:
    compiles()
    folder.chmod(mode)
    assert compiles() == 1
    assert compiles("double") == 1
    assert len(kernels(folder)) == 1
    assert cache.report() == f"not used: {folder}: others can write it"
    folder.chmod(0o700)
    assert compiles() == 0


@needs_kernels
@pytest.mark.parametrize("mode", [0o660, 0o606])
def test_a_file_that_others_can_write_is_replaced(compiles: Callable[..., int], folder: Path, mode: int) -> None:
    compiles()
    kernels(folder)[0].chmod(mode)
    assert compiles() == 1
    assert kernels(folder)[0].stat().st_mode & 0o777 == 0o600
    assert compiles() == 0


@needs_kernels
def test_what_belongs_to_another_user_is_not_used(
    compiles: Callable[..., int], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiles()
    user = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert compiles() == 1
    assert cache.report() == f"not used: {folder}: it belongs to another user"


def test_reading_takes_the_memory_of_the_file(folder: Path) -> None:
    cache.store("key", bytes(1000))
    tracemalloc.start()
    assert cache.load("key") == bytes(1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@needs_kernels
@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_file_is_not_read(compiles: Callable[..., int], folder: Path, tmp_path: Path, kind: str) -> None:
    compiles()
    (file,) = kernels(folder)
    other = file.rename(tmp_path / "elsewhere")
    match kind:
        case "link":
            file.symlink_to(other)
        case "pipe":
            os.mkfifo(file)
        case "folder":
            file.mkdir()
    assert compiles() == 1
    assert compiles() == (1 if kind == "folder" else 0)


# ---- where nothing can be kept -----------------------------------------------------------------------------------


@needs_kernels
def test_a_folder_that_cannot_be_made(
    compiles: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "kernels"):
        monkeypatch.setenv("MINIGRAD_CACHE", str(path))
        assert compiles() == compiles() == 1
        assert cache.report().startswith(f"not used: {path}: ")


@needs_kernels
def test_a_read_only_file_system(compiles: Callable[..., int], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is there is loaded, and nothing else is kept."""
    compiles("float")

    def refused(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    opened = os.open
    monkeypatch.setattr(os, "open", lambda path, flags, *more, **kw: (
        refused() if flags & os.O_CREAT else opened(path, flags, *more, **kw)
    ))  # fmt: skip
    monkeypatch.setattr(os, "utime", refused)
    monkeypatch.setattr(os, "access", lambda *args, **kwargs: False)
    assert compiles("float") == 0
    assert compiles("double") == compiles("double") == 1
    assert "1 kernels" in cache.report()
    assert cache.report().endswith("; read-only")


@needs_kernels
def test_a_full_disk(compiles: Callable[..., int], folder: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        found = compiles(), compiles()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert found == (1, 1)
    assert list(folder.iterdir()) == []


@needs_kernels
def test_no_home(tmp_path: Path) -> None:
    here = "import os, sys; sys.path[0] = os.getcwd()"  # where the packages are
    code = f"{here}; os.chdir({str(tmp_path)!r}); os.environ.pop('HOME', None)\n{STEP}"
    code += "\nfrom minigrad.native import cache; print(cache.report().replace(' ', '_'))"
    assert child(code, None)[2:] == ["not_used:_there_is_no_home_directory"]
    assert list(tmp_path.iterdir()) == []


def test_a_working_directory_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setenv("MINIGRAD_CACHE", "kernels")
    cache.store("key", b"code")
    assert cache.load("key") is None
    assert cache.report().startswith("not used: MINIGRAD_CACHE is relative")


@pytest.mark.parametrize("without", ["import sys; sys.modules['llvmlite'] = None\n", ""])
def test_without_compilation_there_is_no_cache(tmp_path: Path, without: str) -> None:
    environment = {} if without else {"MINIGRAD_COMPILE": "0"}
    assert child(without + STEP, tmp_path / "kernels", **environment)[0] == "0"
    assert not (tmp_path / "kernels").exists()


# ---- the folder --------------------------------------------------------------------------------------------------


def test_the_folder_is_the_users_own_for_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINIGRAD_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache.folder() == "/home/ada/.cache/minigrad"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache.folder() == "/home/ada/Library/Caches/minigrad"
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache.folder() == "/caches/minigrad"
    monkeypatch.setenv("XDG_CACHE_HOME", "caches")  # no absolute path: as if it were not set
    assert cache.folder() == "/home/ada/Library/Caches/minigrad"
    monkeypatch.setenv("MINIGRAD_CACHE", "~/kernels")
    assert cache.folder() == "/home/ada/kernels"
    for off in ("", "0"):
        monkeypatch.setenv("MINIGRAD_CACHE", off)
        assert cache.folder() is None
        assert cache.report() == "not used: MINIGRAD_CACHE switches it off"


def test_the_folder_is_private(folder: Path) -> None:
    cache.store("key", b"code")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert cache.load("key") == b"code"


def test_the_least_recently_used_files_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "BOUND", 4000)
    now = time.time()
    for k in range(4):
        cache.store(f"k{k}", bytes(900))
        os.utime(folder / f"k{k}.kernel", (now - 100 + k,) * 2)
    (folder / "notes.txt").write_text("of the user" * 1000)
    (folder / "1-aa.part").write_bytes(b"being written")
    (folder / "2-bb.part").write_bytes(b"abandoned")
    os.utime(folder / "2-bb.part", (now - 2 * cache.ABANDONED,) * 2)
    assert cache.load("k0") == bytes(900)  # used now
    cache.store("k4", bytes(900))
    assert {path.name for path in folder.iterdir()} == {
        "k0.kernel", "k2.kernel", "k3.kernel", "k4.kernel", "notes.txt", "1-aa.part"
    }  # fmt: skip
    assert sum(path.stat().st_size for path in kernels(folder)) <= 4000


@needs_kernels
def test_the_doctor_tells_where_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINIGRAD_COMPILE", raising=False)
    assert f"\ncache        {folder}: empty" in diagnosis.report()
    cache.store("key", bytes(1 << 20))
    assert f"\ncache        {folder}: 1 kernels, 1.0 of at most 64 MiB" in diagnosis.report()
    monkeypatch.setenv("MINIGRAD_COMPILE", "0")
    assert "\ncache        not used: nothing is compiled here" in diagnosis.report()


# ---- compiling ---------------------------------------------------------------------------------------------------


@needs_kernels
def test_compiled_asks_by_itself_if_there_are_kernels(tmp_path: Path) -> None:
    code = """
    from minigrad.native import machine
    assert machine.available.cache_info().currsize == 0
    source = '''declare ptr @PyLong_FromLongLong(i64)
    define ptr @kernel(ptr %self, ptr %arguments, i64 %count) {
        %answer = call ptr @PyLong_FromLongLong(i64 42)
        ret ptr %answer
    }'''
    print(machine.compiled(source)())
    """
    assert child("\n".join(line[4:] for line in code.splitlines()), tmp_path / "kernels") == ["42"]


def test_compiled_says_so_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "available", lambda: False)
    with pytest.raises(RuntimeError, match="sums of float32 rows cannot be compiled: llvmlite"):
        machine.compiled("no source", "sums of float32 rows")


def test_slow_compilation_is_announced_once_with_its_subjects(capsys: pytest.CaptureFixture[str]) -> None:
    announcement = machine._Announcement()
    for subject, seconds in (("sums", 0.5), ("products", 0.4), ("sums", 0.05)):
        announcement.add(subject, seconds)
    assert capsys.readouterr().err == ""
    announcement.add("the fused function lstm", 0.25)
    assert capsys.readouterr().err == (
        "minigrad: compiling sums, products, the fused function lstm took 1.2 s (MINIGRAD_COMPILE=0: never)\n"
    )
    announcement.add("sums", 9.0)
    assert capsys.readouterr().err == ""


@needs_kernels
def test_every_kernel_has_a_subject(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subjects = child(
        STEP + "print(*[subject.replace(' ', '_') for subject in machine._announcement.seconds])", folder
    )[2:]  # fmt: skip
    assert "a_step_of_a_loop" in subjects
    assert "products_of_float32_matrices" in subjects
    assert "a_kernel" not in subjects

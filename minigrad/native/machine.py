"""LLVM IR compiled to functions that Python can call.

A kernel takes arrays and nothing else. It is a built-in function with CPython's "fast call" convention, and reads an
array's address, shape and strides from NumPy's public C structure `PyArrayObject`, as every extension module does. So a
call costs less than the allocation of one of its results. Before the first kernel is made, the offsets are checked
against NumPy's own answers; if they disagree, or llvmlite is missing, there are no kernels.

A source refers to addresses of this process, such as those of NumPy's types, by external symbols (`name_address`). Its
object code therefore works in every process, and is cached on disk (`cache`).
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from . import cache

# Offsets in bytes: PyObject.ob_type, and the fields of PyArrayObject.
TYPE, DATA, NDIM, SHAPE, STRIDES, DTYPE, FLAGS = 8, 16, 24, 32, 40, 56, 64
ALIGNED = 0x100  # a flag
_FASTCALL = 0x80  # METH_FASTCALL: function(self, arguments, their number)
KERNELS = 1024  # cached functions
TYPES = ("float32", "float64", "bool")  # NumPy's types that kernels know: each as @minigrad.float32 and so on
GENERATOR = 2  # version of `_translated`: increased when it makes other code from the same source
_LONG = 1.0  # seconds of compilation after which it is announced
_COMPILING = threading.Lock()  # no other code runs while it is held
_compiled: dict[str, Callable[..., int]] = {}


class _Method(ctypes.Structure):
    """PyMethodDef."""

    _fields_ = (("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int),
                ("doc", ctypes.c_char_p))  # fmt: skip


def switched_off() -> bool:
    """True if the environment says MINIGRAD_COMPILE=0: fused functions then run as NumPy calls."""
    return os.environ.get("MINIGRAD_COMPILE") == "0"


def in_use() -> bool:
    """True if kernels can be compiled here, and are not switched off."""
    return not switched_off() and available()


@functools.cache
def available() -> bool:
    """True if kernels can be compiled here."""
    if sys.implementation.name != "cpython" or ctypes.sizeof(ctypes.c_void_p) != 8 or not _as_expected():
        return False
    try:
        from llvmlite import binding as llvm
    except ImportError:
        return False
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name_address("minigrad.ndarray", id(np.ndarray))
    name_address("minigrad.ValueError", id(ValueError))  # PyExc_ValueError means something else to Numba
    for name in TYPES:
        name_address(f"minigrad.{name}", id(np.dtype(name)))
    return True


def name_address(name: str, address: int) -> None:
    """Define the external symbol @name of sources as an address of this process."""
    from llvmlite import binding as llvm

    llvm.add_symbol(name, address)


def _as_expected() -> bool:
    """True if the fields of arrays have the expected offsets."""
    if object.__basicsize__ != DATA:  # as in a free-threaded build
        return False
    array = np.empty((3, 5), np.float32)[1:, ::2]
    start = id(array)
    word = ctypes.c_int64.from_address
    shape, strides = word(start + SHAPE).value, word(start + STRIDES).value
    return (
        word(start + TYPE).value == id(np.ndarray)
        and word(start + DATA).value == array.ctypes.data
        and ctypes.c_int.from_address(start + NDIM).value == 2
        and [word(shape + 8 * k).value for k in range(2)] == list(array.shape)
        and [word(strides + 8 * k).value for k in range(2)] == list(array.strides)
        and word(start + DTYPE).value == id(array.dtype)
        and bool(ctypes.c_int.from_address(start + FLAGS).value & ALIGNED)
    )


@functools.cache
def vector_bytes() -> int:
    """The width of this processor's vector registers, in bytes."""
    from llvmlite import binding as llvm

    features = llvm.get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx2") else 16


def compiled(source: str, subject: str = "a kernel") -> Callable[..., int]:
    """The function @kernel of a source, compiled once and cached. `subject` is its name in messages."""
    found = _compiled.get(source)
    if found is None:
        with _COMPILING:
            found = _compiled.get(source)
            if found is None:
                if len(_compiled) >= KERNELS:
                    _compiled.pop(next(iter(_compiled)))
                found = _compiled[source] = _compile(source, subject)
    return found


def raw(kernel: Callable[..., int], name: str = "raw") -> int:
    """The address of another function in a kernel's source; valid for the kernel's lifetime."""
    engine, _ = kernel.__self__  # type: ignore[attr-defined]
    return int(engine.get_function_address(name))


def address_of(source: str, name: str, subject: str) -> int:
    """The address of a function in a source; valid until the process ends."""
    engine = _engine(source, subject)
    _engines.append(engine)
    return int(engine.get_function_address(name))


_engines: list[Any] = []


def _compile(source: str, subject: str) -> Callable[..., int]:
    engine = _engine(source, subject)
    method = _Method(b"kernel", engine.get_function_address("kernel"), _FASTCALL, None)
    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.POINTER(_Method), ctypes.py_object, ctypes.c_void_p)
    alive = (engine, method)  # the function's `self` keeps both alive
    return make(("PyCFunction_NewEx", ctypes.pythonapi))(ctypes.byref(method), alive, None)  # type: ignore[no-any-return]


def _engine(source: str, subject: str) -> Any:
    """The machine code of a source, ready to run: from the cache, or compiled now."""
    from llvmlite import binding as llvm

    if not available():
        raise RuntimeError(f"{subject} cannot be compiled: llvmlite does not work with this Python (see `available`)")
    key = _key(source)
    code = cache.load(key)
    if code is None:
        start = time.perf_counter()
        code = _translated(source)
        _announcement.add(subject, time.perf_counter() - start)
        cache.store(key, code)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine())
    engine.set_object_cache(getbuffer_func=lambda module: code)
    engine.finalize_object()
    return engine


def _translated(source: str) -> bytes:
    """The object code of a source for this processor.

    No optimizer runs before: sources are vectors and loops as they should run. LLVM's standard passes take longer than
    the code generation itself, and do not make kernels faster.
    """
    from llvmlite import binding as llvm

    module = llvm.parse_assembly(source)
    module.verify()
    return bytes(_target_machine().emit_object(module))


def _target_machine() -> Any:
    from llvmlite import binding as llvm

    _, processor, features = _processor()
    return llvm.Target.from_default_triple().create_target_machine(cpu=processor, features=features, opt=2, jit=True)


@functools.cache
def _processor() -> tuple[str, str, str]:
    """Operating system, processor, and the processor's features."""
    from llvmlite import binding as llvm

    return llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def _key(source: str) -> str:
    """The cache key of a source: everything that its object code depends on."""
    import hashlib

    import llvmlite

    made_by = (GENERATOR, llvmlite.__version__, llvmlite.binding.llvm_version_info)
    made_for = (*_processor(), sys.implementation.cache_tag, np.__version__)
    return hashlib.sha256(repr((made_by, made_for, source)).encode()).hexdigest()


class _Announcement:
    """Announces once that kernels are being compiled, and which ones, when this has taken long in total."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}  # of each subject
        self.made = False

    def add(self, subject: str, seconds: float) -> None:
        self.seconds[subject] = self.seconds.get(subject, 0.0) + seconds
        total = sum(self.seconds.values())
        if total > _LONG and not self.made:
            self.made = True
            subjects = ", ".join(self.seconds)
            print(f"minigrad: compiling {subjects} took {total:.1f} s (MINIGRAD_COMPILE=0: never)", file=sys.stderr)


_announcement = _Announcement()


def fields(name: str, number: int) -> list[str]:
    """Instructions that read the address, the shape and the strides (in bytes) of a matrix among %arguments."""
    lines = [f"%{name}.place = getelementptr ptr, ptr %arguments, i64 {number}",
             f"%{name} = load ptr, ptr %{name}.place"]  # fmt: skip
    for field, offset in (("data", DATA), ("shape", SHAPE), ("strides", STRIDES)):
        lines += [f"%{name}.{field}.place = getelementptr i8, ptr %{name}, i64 {offset}",
                  f"%{name}.{field} = load ptr, ptr %{name}.{field}.place"]  # fmt: skip
    for of, each in (("shape", "size"), ("strides", "stride")):
        for axis in (0, 1):
            lines += [f"%{name}.{each}{axis}.place = getelementptr i64, ptr %{name}.{of}, i64 {axis}",
                      f"%{name}.{each}{axis} = load i64, ptr %{name}.{each}{axis}.place"]  # fmt: skip
    return lines


def fourth(name: str) -> list[str]:
    """Instructions that read the address of a fourth array's data; null if there are only three arrays."""
    return [
        f"%has.{name} = icmp eq i64 %count, 4",
        f"br label %ask.{name}",
        f"ask.{name}:",
        f"br i1 %has.{name}, label %read.{name}, label %after.{name}",
        f"read.{name}:",
        f"%{name}.place = getelementptr ptr, ptr %arguments, i64 3",
        f"%{name}.object = load ptr, ptr %{name}.place",
        f"%{name}.field = getelementptr i8, ptr %{name}.object, i64 {DATA}",
        f"%{name}.data = load ptr, ptr %{name}.field",
        f"br label %after.{name}",
        f"after.{name}:",
        f"%{name} = phi ptr [ null, %ask.{name} ], [ %{name}.data, %read.{name} ]",
    ]

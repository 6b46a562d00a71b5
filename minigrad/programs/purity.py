"""Purity: a check that code is a function of its arguments, by its bytecode.

The instructions of a function, and of the functions it calls, are read one by one. Anything not known to be harmless
counts as an effect: a loop whose step may have one runs step by step, and a sentence gives the reason.
"""

from __future__ import annotations

import builtins
import dis
import types
from typing import Any

import numpy as np

from ..readings import shown
from ..tensors import Tensor
from ..where import line_of

_WRITES = {
    "STORE_GLOBAL": "writes a global", "DELETE_GLOBAL": "writes a global", "STORE_ATTR": "writes an attribute",
    "DELETE_ATTR": "writes an attribute", "STORE_SUBSCR": "writes into a container or an array",
    "DELETE_SUBSCR": "writes into a container or an array", "STORE_SLICE": "writes into a container or an array",
    "IMPORT_NAME": "imports a module", "BEFORE_WITH": "enters a with block", "LOAD_SPECIAL": "enters a with block",
    "GET_AWAITABLE": "waits",
}  # fmt: skip
_SIZES = {"shape", "size", "nbytes", "strides"}  # a program serves any number of rows
_TRUSTED = ("numpy", "minigrad", "nn", "math", "operator", "functools")  # packages of functions
_EFFECTS = {"random", "manual_seed", "copyto", "put", "place", "putmask", "save", "savez", "fill_diagonal", "rand",
            "randn", "set_default_dtype", "compile"}  # fmt: skip
_HARMLESS = {"abs", "bool", "enumerate", "float", "int", "isinstance", "list", "max", "min", "range", "reversed",
             "slice", "sum", "tuple", "zip", "pow", "round", "sorted", "dict", "hasattr", "len", "super"}  # fmt: skip
_METHODS = {name for name in dir(Tensor) if not name.startswith("_")} - {"backward", "register_hook", "retain_grad"}
_UNKNOWN = object()
_SILENT = ("PUSH_NULL", "PRECALL", "CACHE", "RESUME", "COPY_FREE_VARS", "NOP", "COPY")
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR")


class CapturedValues:
    """The values that functions read apart from their arguments. Calling it returns their present values."""

    def __init__(self) -> None:
        self.places: dict[Any, tuple[Any, Any]] = {}

    def add(self, holder: Any, name: Any) -> None:
        """Note a read from a dictionary, an object or a closure cell."""
        self.places[id(holder), name] = holder, name

    def __call__(self) -> list[Any]:
        return [shown(_read(holder, name)) for holder, name in self.places.values()]


def reads_of(*functions: Any) -> tuple[str | None, CapturedValues]:
    """Check that functions only compute a result from their arguments and the values they read.

    Returns None, or a sentence with the first possible effect and its line; and the values read."""
    reader = _Reader(next((f.__self__ for f in functions if hasattr(f, "__self__")), _UNKNOWN))
    effects = [reader.look(function) for function in functions if function is not None]
    return next((effect for effect in effects if effect is not None), None), reader.reads


def effect_of(function: Any) -> str | None:
    """`reads_of` for one function, without the values read."""
    return reads_of(function)[0]


def _read(holder: Any, name: Any) -> Any:
    if isinstance(holder, types.CellType):
        return _content(holder)
    return holder.get(name, _UNKNOWN) if isinstance(holder, dict) else getattr(holder, name, _UNKNOWN)


class _Reader:
    """Reads the code of functions and methods of `owner`, the cell."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        self.seen: set[Any] = set()
        self.reads = CapturedValues()

    def look(self, function: Any) -> str | None:
        """Check a function and all that it calls."""
        owner = getattr(function, "__self__", None)
        function = getattr(function, "__func__", function)
        if not isinstance(function, types.FunctionType):
            return f"it calls a {type(function).__name__}, which may do anything"
        key = function, id(owner)
        if key in self.seen:
            return None
        self.seen.add(key)
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        for cell in cells.values():
            self.reads.add(cell, None)
        free = {name: _content(cell) for name, cell in cells.items()}
        return self._code(function.__code__, function.__globals__, free, owner)

    def _code(self, code: types.CodeType, names: dict[str, Any], free: dict[str, Any], owner: Any) -> str | None:
        value: Any = _UNKNOWN  # the value loaded by the last instruction
        first = code.co_varnames[0] if code.co_argcount and owner is not None else None
        for each in dis.get_instructions(code):
            name, arg = each.opname, each.argval
            found: str | None = None
            if value is not owner and _is_opaque(value) and name not in _SILENT and name not in _ATTRIBUTES:
                found = f"uses a {type(value).__name__}, which may do anything"
            elif name in _WRITES or (name == "STORE_DEREF" and arg in code.co_freevars):
                found = _WRITES.get(name, "writes a variable of the function around it")
            elif name == "BINARY_OP" and each.argrepr.endswith("="):
                found = f"writes in place ({each.argrepr})"
            elif name in ("YIELD_VALUE", "RETURN_GENERATOR") and code.co_name != "<genexpr>":
                found = "is a generator"
            elif name in ("LOAD_GLOBAL", "LOAD_NAME"):
                value = names.get(arg, getattr(builtins, arg, _UNKNOWN))
                found = self._value(value, arg)
                if arg in names:
                    self.reads.add(names, arg)
            elif name in ("LOAD_DEREF", "LOAD_CLASSDEREF"):
                value = free.get(arg, _UNKNOWN)
                found = self._value(value, arg) if arg in free else None
            elif name in ("LOAD_FAST", "LOAD_FAST_BORROW", "LOAD_FAST_CHECK"):
                value = owner if arg == first else _UNKNOWN
            elif name in _ATTRIBUTES:
                value, found = self._attribute(value, arg)
            elif name == "LOAD_CONST" and isinstance(arg, types.CodeType):
                inner = {n: free.get(n, _UNKNOWN) for n in arg.co_freevars}
                found, value = self._code(arg, names, inner, None), _UNKNOWN
                if found is not None:
                    return found
            elif name not in _SILENT:
                value = _UNKNOWN
            if found is not None:
                return found if " at " in found else f"it {found}, at {line_of(code, each.offset)}"
        return None

    def _attribute(self, value: Any, name: str) -> tuple[Any, str | None]:
        """The value of an attribute, and the possible effect of its use."""
        if isinstance(value, Tensor | np.ndarray) or value is _UNKNOWN:
            if name in _SIZES:
                return _UNKNOWN, f"reads .{name}, which may decide what it does"
            return _UNKNOWN, None if name in _METHODS else f"uses .{name} of a value"
        if isinstance(value, list | dict | set):
            return _UNKNOWN, f"uses .{name} of a {type(value).__name__} from outside"
        computed = getattr(type(value), name, None)
        if isinstance(computed, property):
            effect = self.look(types.MethodType(computed.fget, value)) if computed.fget is not None else None
            if effect is not None:
                return _UNKNOWN, effect
        try:
            found = getattr(value, name)
        except AttributeError:
            return _UNKNOWN, None  # the step itself will raise
        if value is self.owner or hasattr(value, "_hooks"):  # their own attributes are part of the program's key
            if name not in vars(value):
                self.reads.add(type(value), name)
        elif not isinstance(value, types.ModuleType):
            self.reads.add(value, name)
        return found, self._value(found, name)

    def _value(self, value: Any, name: str) -> str | None:
        """The possible effect of using a value, and of calling it if it is callable."""
        if value is _UNKNOWN or isinstance(value, Tensor | types.ModuleType):
            return None
        package = (getattr(value, "__module__", None) or "").split(".")[0]
        if isinstance(value, type):
            known = issubclass(value, BaseException) or hasattr(value, "_fields") or package in _TRUSTED
            known = known or value.__name__ in _HARMLESS
            return None if known else f"makes a {name}, which may have an effect"
        if callable(value) and package in _TRUSTED:
            return f"calls {name}, which has an effect" if name in _EFFECTS else None
        if isinstance(value, types.BuiltinFunctionType | np.ufunc):
            known = isinstance(value, np.ufunc) or package in _TRUSTED or value.__name__ in _HARMLESS
            return None if known else f"calls {name}, which may have an effect"
        if isinstance(value, types.FunctionType | types.MethodType):
            return self.look(value)
        forward = getattr(value, "forward", None)  # a module
        return self.look(forward) if forward is not None and callable(value) else None


def _is_opaque(value: Any) -> bool:
    """True for an object of a user's class that is neither a function nor a module: its operators may do anything."""
    package = type(value).__module__.split(".")[0]
    known = package in ("builtins", "types", *_TRUSTED) or isinstance(value, Tensor | type | tuple | int | float | str)
    return value is not _UNKNOWN and not known and not hasattr(value, "forward")


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # an empty cell
        return _UNKNOWN

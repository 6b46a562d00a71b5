"""NumPy's public functions, each called with a Tensor that requires grad, and the outcome of each call.

`table()` is the corresponding part of docs/vocabulary.md. Every public function of NumPy, `np.linalg` and `np.fft` has
a call here, or is listed among those that take no array; a new function of a newer NumPy is an error until it has.
"""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import dispatch

VERSION = ".".join(np.__version__.split(".")[:2])

x = mg.tensor(np.array([0.25, 0.5, 0.75]), requires_grad=True)
a = mg.tensor(np.array([[2.0, 0.5, 0.1], [0.5, 1.5, 0.2], [0.1, 0.2, 1.0]]), requires_grad=True)
cube = mg.tensor(np.arange(8.0).reshape(2, 2, 2), requires_grad=True)
plain = np.array([0.0, 1.0, 2.0])
ints = np.array([2, 0, 1])

# ---- calls -------------------------------------------------------------------------------------------------------

ONE = """abs absolute acos acosh amax amin angle any all arccos arcsin arcsinh arctan arctanh argmax
argmin argsort argwhere around asin asinh atan atanh atleast_1d atleast_2d atleast_3d average cbrt ceil conj
conjugate copy corrcoef cos cosh count_nonzero cov cumprod cumsum cumulative_prod cumulative_sum deg2rad degrees
diag diagflat diff ediff1d empty_like exp exp2 expm1 fabs fix flatnonzero flip floor frexp gradient i0 imag
iscomplex iscomplexobj isfinite isinf isnan isneginf isposinf isreal isrealobj log log10 log1p log2 logical_not
max mean median meshgrid min modf nan_to_num nanargmax nanargmin nancumprod nancumsum nanmax nanmean nanmedian
nanmin nanprod nanstd nansum nanvar ndim negative nonzero ones_like poly polyder polyint positive prod ptp
rad2deg radians ravel real real_if_close reciprocal rint round sign signbit sin sinc sinh size sort sqrt square
squeeze std sum tan tanh trapezoid trim_zeros trunc unique unique_all unique_counts unique_inverse unique_values
unwrap vander var zeros_like shape spacing array_repr array_str array2string min_scalar_type common_type
histogram histogram_bin_edges roots sort_complex transpose permute_dims result_type isnat broadcast_arrays"""
TWO = """add allclose append arctan2 array_equal array_equiv atan2 bitwise_and bitwise_or bitwise_xor
convolve copysign correlate divide divmod dot equal float_power floor_divide fmax fmin fmod gcd greater
greater_equal heaviside histogram2d hypot inner intersect1d isclose isin kron lcm left_shift bitwise_left_shift
less less_equal logaddexp logaddexp2 logical_and logical_or logical_xor matmul maximum minimum mod multiply
nextafter not_equal outer polyadd polydiv polymul polysub polyval pow power remainder right_shift
bitwise_right_shift searchsorted setdiff1d setxor1d subtract true_divide union1d vdot vecdot shares_memory
may_share_memory"""
MATRIX = """diag_indices_from diagonal fliplr flipud matrix_transpose rot90 trace tril tril_indices_from
triu triu_indices_from linalg.cholesky linalg.cond linalg.det linalg.diagonal linalg.eig linalg.eigh
linalg.eigvals linalg.eigvalsh linalg.inv linalg.matrix_norm linalg.matrix_rank linalg.matrix_transpose
linalg.norm linalg.pinv linalg.qr linalg.slogdet linalg.svd linalg.svdvals linalg.trace linalg.vector_norm"""
FOURIER = "fft fft2 fftn fftshift hfft ifft ifft2 ifftn ifftshift ihfft irfft irfft2 irfftn rfft rfft2 rfftn"
INTEGER = "bitwise_count bitwise_invert bitwise_not invert"
LISTED = "column_stack concat concatenate dstack hstack row_stack stack vstack block"

OTHERS: dict[str, Callable[[Any], Any]] = {
    "apply_along_axis": lambda f: f(np.sum, 0, a), "apply_over_axes": lambda f: f(np.sum, a, [0]),
    "argpartition": lambda f: f(x, 1), "array_split": lambda f: f(x, 3), "astype": lambda f: f(x, np.float32),
    "bincount": lambda f: f(ints, x), "broadcast_to": lambda f: f(x, (2, 3)),
    "can_cast": lambda f: f(a.dtype, np.float64),
    "choose": lambda f: f([0, 1, 0], [x, x]), "clip": lambda f: f(x, 0, 1), "compress": lambda f: f([True, False], x),
    "arccosh": lambda f: f(x + 2), "copyto": lambda f: f(np.zeros(3), x),
    "cross": lambda f: f(x, plain), "delete": lambda f: f(x, 0), "digitize": lambda f: f(x, plain),
    "dsplit": lambda f: f(cube, 2), "einsum": lambda f: f("i,i", x, x), "einsum_path": lambda f: f("i,i", x, x),
    "expand_dims": lambda f: f(x, 0), "extract": lambda f: f([True, False, True], x),
    "fill_diagonal": lambda f: f(np.eye(3), x), "format_float_positional": lambda f: f(x.detach()[0]),
    "format_float_scientific": lambda f: f(x.detach()[0]), "full_like": lambda f: f(x, 1.0),
    "geomspace": lambda f: f(x, 2.0), "histogramdd": lambda f: f(a), "hsplit": lambda f: f(x, 3),
    "insert": lambda f: f(x, 0, 1.0), "interp": lambda f: f(x, plain, plain), "ix_": lambda f: f(mg.tensor([0, 1])),
    "ldexp": lambda f: f(x, ints), "lexsort": lambda f: f((x, x)), "linspace": lambda f: f(x, 2.0),
    "logspace": lambda f: f(x, 2.0), "matvec": lambda f: f(a, x), "moveaxis": lambda f: f(a, 0, 1),
    "nanpercentile": lambda f: f(x, 50), "nanquantile": lambda f: f(x, 0.5), "pad": lambda f: f(x, 1),
    "packbits": lambda f: f(mg.tensor([True])), "partition": lambda f: f(x, 1), "percentile": lambda f: f(x, 50),
    "piecewise": lambda f: f(x, [x > 0], [np.exp]), "place": lambda f: f(np.zeros(3), [True] * 3, x),
    "polyfit": lambda f: f(plain, x, 1), "put": lambda f: f(np.zeros(3), ints, x),
    "put_along_axis": lambda f: f(np.zeros(3), ints, x, 0), "putmask": lambda f: f(np.zeros(3), x > 0, x),
    "quantile": lambda f: f(x, 0.5), "ravel_multi_index": lambda f: f((mg.tensor([1]), mg.tensor([0])), (2, 2)),
    "repeat": lambda f: f(x, 2), "reshape": lambda f: f(x, (3, 1)), "resize": lambda f: f(x, 5),
    "roll": lambda f: f(x, 1), "rollaxis": lambda f: f(a, 1), "select": lambda f: f([x > 0], [x]),
    "split": lambda f: f(x, 3), "swapaxes": lambda f: f(a, 0, 1), "take": lambda f: f(x, ints),
    "take_along_axis": lambda f: f(x, ints), "tensordot": lambda f: f(x, x, 1), "tile": lambda f: f(x, 2),
    "unpackbits": lambda f: f(mg.tensor(np.array([1], np.uint8))), "unravel_index": lambda f: f(mg.tensor([1]), (2, 2)),
    "unstack": lambda f: f(x), "vecmat": lambda f: f(x, a), "vsplit": lambda f: f(a, 3),
    "where": lambda f: f(x > 0, x, x),
    "linalg.cross": lambda f: f(x, plain), "linalg.lstsq": lambda f: f(a, x), "linalg.matmul": lambda f: f(a, a),
    "linalg.matrix_power": lambda f: f(a, 2), "linalg.multi_dot": lambda f: f([a, a, x]),
    "linalg.outer": lambda f: f(x, x), "linalg.solve": lambda f: f(a, x), "linalg.tensordot": lambda f: f(a, a),
    "linalg.tensorinv": lambda f: f(np.reshape(a, (3, 3)), 1), "linalg.tensorsolve": lambda f: f(a, x),
    "linalg.vecdot": lambda f: f(x, x),
    "acosh": lambda f: f(x + 2), "asarray": lambda f: f(x), "array": lambda f: f(x), "asanyarray": lambda f: f(x),
    "ascontiguousarray": lambda f: f(x), "asfortranarray": lambda f: f(x), "asarray_chkfinite": lambda f: f(x),
    "require": lambda f: f(x), "asmatrix": lambda f: f(x), "from_dlpack": lambda f: f(x),
    "lib.stride_tricks.sliding_window_view": lambda f: f(x, 2),
    "lib.stride_tricks.as_strided": lambda f: f(x, (2,), (8,)),
}  # fmt: skip

# Makers of arrays, computations with dtypes, dates and files, and settings.
NO_ARRAYS = """arange bartlett base_repr binary_repr blackman bmat broadcast_shapes busday_count
busday_offset datetime_as_string datetime_data diag_indices empty eye frombuffer fromfile fromfunction fromiter
frompyfunc fromregex fromstring full genfromtxt get_include get_printoptions getbufsize geterr geterrcall
hamming hanning identity indices info is_busday isdtype isfortran isscalar issubdtype iterable kaiser load
loadtxt mask_indices mintypecode nested_iters ones printoptions promote_types save savetxt savez
savez_compressed set_printoptions setbufsize seterr seterrcall show_config show_runtime test tri tril_indices
triu_indices typename zeros linalg.test fft.test fft.fftfreq fft.rfftfreq"""


def calls() -> dict[str, Callable[[Any], Any]]:
    """A call for each name."""
    found: dict[str, Callable[[Any], Any]] = {}
    for names, call in (
        (ONE, lambda f: f(x)), (TWO, lambda f: f(x, x)), (MATRIX, lambda f: f(a)),
        (LISTED, lambda f: f([x, x])), (INTEGER, lambda f: f(mg.tensor([1, 2]))),
    ):  # fmt: skip
        found |= dict.fromkeys(names.split(), call)
    found |= {f"fft.{name}": lambda f: f(a) for name in FOURIER.split()}
    return found | OTHERS


def public() -> Iterator[tuple[str, Any]]:
    """The public functions of NumPy, of np.linalg and np.fft, and two more."""
    for module, prefix in ((np, ""), (np.linalg, "linalg."), (np.fft, "fft.")):
        for name in dir(module):
            value = getattr(module, name)
            if not name.startswith("_") and callable(value) and not isinstance(value, type | types.ModuleType):
                yield prefix + name, value
    for name in ("sliding_window_view", "as_strided"):
        yield f"lib.stride_tricks.{name}", getattr(np.lib.stride_tricks, name)


# ---- outcomes ----------------------------------------------------------------------------------------------------

RULE, NONE = "has a rule", "has no gradient: it gives plain values"
UNKNOWN = "has no rule for its gradient; it can be composed of others, or be given one with @mg.primitive"
COPIES = "makes a NumPy array, in which the gradient would be lost; write x.detach()"


def _gives_gradient(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(_gives_gradient(v) for v in value)
    return isinstance(value, mg.Tensor) and value.requires_grad


def outcome(function: Any, call: Callable[[Any], Any]) -> str:
    """The outcome of a call."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return RULE if _gives_gradient(call(function)) else NONE
    except (TypeError, BufferError) as error:
        text = str(error)
    if function in dispatch.REFUSED and dispatch.REFUSED[function] in text:
        return dispatch.REFUSED[function]
    if "silently" in text or "DLPack" in text:
        return COPIES
    if "has no rule" in text:
        return UNKNOWN
    raise TypeError(f"{function.__name__}: an outcome that the table has no row for: {text}")


def outcomes() -> dict[str, list[str]]:
    """The names that share each outcome. LookupError for a public function without a call."""
    known, nothing = calls(), set(NO_ARRAYS.split())
    found: dict[str, list[str]] = {RULE: [], NONE: []}
    strangers = []
    for name, function in public():
        if name in known:
            found.setdefault(outcome(function, known[name]), []).append(name)
        elif name not in nothing:
            strangers.append(name)
    if strangers:
        raise LookupError(f"docs/numpy_functions.py has no call of {', '.join(strangers)}")
    return found


def table() -> str:
    """The part of the page about NumPy's functions."""
    found = outcomes()
    done = {name: ", ".join(f"`{n}`" for n in sorted(found.pop(name))) for name in (RULE, NONE)}
    rows = "\n".join(f"| {', '.join(f'`{n}`' for n in sorted(names))} | {reason} |" for reason, names in found.items())
    return f"""## NumPy's functions, one by one

Each public function of NumPy {VERSION}, of `np.linalg` and of `np.fft` was called with a Tensor that requires grad.
Complex numbers, and so Fourier transforms, are refused by name. Functions that take no array (of dtypes, dates, files
and settings, and those that make arrays) are left out.

**{RULE.capitalize()}**: {done[RULE]}.

**{NONE.capitalize()}**: {done[NONE]}.

These functions have no rule, for the reasons given (without a gradient to lose, all of them just run):

| function | reason |
| --- | --- |
{rows}
"""

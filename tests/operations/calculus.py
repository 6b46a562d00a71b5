"""Differences, integrals, interpolation, convolution, polynomials, grids, blocks, choosing."""

from __future__ import annotations

import warnings

import numpy as np

import minigrad as mg

from .cases import apart, case, integers, joined, mask, positive, real

# ---- differences and integrals -----------------------------------------------------------------------------------

case("diff", lambda x: np.diff(x, prepend=x[:2], append=x[-1:]), real(4))
case("diff", lambda x, y: np.diff(x, axis=0, prepend=y), real(3, 2), real(1, 2))
case("ediff1d", np.ediff1d, real(2, 3))
case("ediff1d", lambda x, y: np.ediff1d(x, to_end=y, to_begin=[1.5]), real(4), real(2))
for order in (1, 2):
    case("gradient", np.gradient, real(3), edge_order=order)
    case("gradient", lambda x, o=order: np.gradient(x, 0.5, 2.0, edge_order=o), real(3, 4))
    case("gradient", lambda x, t, o=order: np.gradient(x, np.cumsum(t), axis=0, edge_order=o), real(4, 2), positive(4))
case("trapezoid", np.trapezoid, real(2, 4), dx=0.5)
case("trapezoid", lambda y, x: np.trapezoid(y, x, axis=0), real(4, 2), real(4))
case("trapezoid", np.trapezoid, real(2, 3), real(2, 3))
case("unwrap", lambda x: np.unwrap(3 * x), apart(7), half=False)
case("unwrap", lambda x: np.unwrap(x, axis=0, period=1.5), apart(4, 2), half=False)

# ---- interpolation and convolution -------------------------------------------------------------------------------


def points(function, **keywords):
    """A function of x between points that ascend, whatever they are drawn from."""
    return lambda x, xp, fp: function(x, np.cumsum(xp) - 2.5, fp, **keywords)


case("interp", points(np.interp), apart(2, 3), positive(4), real(4), half=False)
case("interp", points(np.interp, left=0.5, right=-1.5), apart(9), positive(4), real(4), half=False)
case("interp", points(np.interp, period=2.75), apart(5), positive(3), real(3), half=False)
case("interp", lambda y: np.interp(0.3, [0.5], y), real(1), half=False)
for mode in ("full", "same", "valid"):
    for n, m in ((5, 3), (2, 4)):
        case("convolve", np.convolve, real(n), real(m), mode=mode)
    for n, m in ((6, 4), (3, 6)):
        case("correlate", np.correlate, real(n), real(m), mode=mode)

# ---- polynomials -------------------------------------------------------------------------------------------------

case("polyval", np.polyval, real(4), real(2, 3))
case("polyval", lambda p: np.polyval(p.astype(np.float64), 1.5), real(3))
case("polyval", lambda x: np.polyval(np.poly1d([1.0, -2.0]), x.astype(np.float64)), real(3))
case("vander", np.vander, real(4))
case("vander", np.vander, real(3), N=4, increasing=True)
case("polyadd", np.polyadd, real(4), real(2))
case("polysub", np.polysub, real(2), real(4))
case("polymul", np.polymul, real(3), real(2))
case("polydiv", np.polydiv, real(5), positive(3))
case("polyder", np.polyder, real(4), m=2)
case("polyint", np.polyint, real(3), m=2, k=[1.0, 2.0])
case("poly", np.poly, real(3))
case("polyfit", lambda x, y: np.polyfit(x, y, 2), apart(6), real(6), half=False)
case("polyfit", lambda x, y: np.polyfit(x, y, 1, w=[1, 2, 1, 0.5, 1]), apart(5), real(5, 2), half=False)

# ---- grids, blocks, rows put in and taken out --------------------------------------------------------------------

for indexing in ("xy", "ij"):
    case("meshgrid", lambda x, y, i=indexing: np.meshgrid(x, y, indexing=i, sparse=i == "ij"), real(3), real(2))
case("meshgrid", np.meshgrid, real(2), real(3), real(2), copy=False)
case("linspace", np.linspace, real(3), real(2, 1), num=5)
case("linspace", lambda a, b: np.linspace(a, b, 4, endpoint=False, retstep=True, axis=-1), real(2), real(2))
case("linspace", lambda a: np.linspace(a, a * 2, 1), real(2))
case("logspace", np.logspace, real(), real(), num=4, half=False)
case("logspace", lambda a, b: np.logspace(a, b, 3, base=2.5), real(2), real(2), half=False)
case("geomspace", np.geomspace, positive(2), positive(2), num=4, half=False)
case("block", lambda a, b, c, d: np.block([[a, b], [c, d]]), real(2, 2), real(2, 1), real(1, 2), real(1, 1))
case("block", lambda a, b: np.block([a, b]), real(3), real(2))
case("block", lambda a: np.block(a), real(2, 3))
for at in (-1, [2, 0], slice(0, 4, 2)):
    case("insert", lambda x, i=at: np.insert(x, i, 1.5), real(4))
case("insert", lambda x, v: np.insert(x, 1, v, axis=1), real(3, 2), real(3))
case("insert", lambda x, v: np.insert(x, [1], v, axis=1), real(3, 2), real(3, 2))
case("insert", lambda x, v: np.insert(x, [0, 2], v, axis=0), real(2, 3), real(2, 3))
for at in (1, [0, 2], slice(None, None, 2)):
    case("delete", lambda x, i=at: np.delete(x, i, axis=1), real(2, 4))
case("delete", lambda x: np.delete(x, [True, False, False, True]), real(2, 2))
case("resize", np.resize, real(2, 3), new_shape=(4, 2))
case("resize", np.resize, real(2, 3), new_shape=4)
case("pad", lambda x: np.pad(x, {-1: (1, 2)}), real(2, 3))
case("pad", lambda x: np.pad(x, {0: 1, 1: (0, 2)}, "reflect"), real(2, 3))
case("pad", lambda x: np.pad(x, 1, constant_values=((1, 2), (3, 4))), real(2, 3))
case("pad", lambda x: np.pad(x, (2, 1), "linear_ramp", end_values=(0.5, -1)), real(2, 3), half=False)
for mode in ("maximum", "mean", "median", "minimum"):
    case("pad", lambda x, m=mode: np.pad(x, (1, 2), m), real(2, 3))
case("pad", lambda x: np.pad(x, 1, "mean", stat_length=2), apart(4))
case("sliding_window_view", lambda x: np.lib.stride_tricks.sliding_window_view(x, 3), real(5))
case("sliding_window_view", lambda x: np.lib.stride_tricks.sliding_window_view(x, (2, 2), axis=(0, 1)), real(3, 4))

# ---- choosing ----------------------------------------------------------------------------------------------------

case("select", lambda m, n, x, y: np.select([m, n], [x, y], default=0.5), mask(2, 3), mask(3), real(2, 3), real())
case("choose", lambda i, x, y: np.choose(i, [x, y, x * 2]), integers(3, 2, 4), real(2, 4), real(4))
for mode in ("wrap", "clip"):
    case("choose", lambda i, x, y, m=mode: np.choose(i - 2, [x, y], mode=m), integers(5, 6), real(6), real())
    case("take", lambda i, x, m=mode: np.take(x, i - 3, axis=1, mode=m), integers(9, 5), real(2, 4))
case("take", lambda x: np.take(x, [5, -2], mode="wrap"), real(4))
case("piecewise", lambda x: np.piecewise(x, [x < 0, x > 1], [lambda v: v * v, 2.5, np.exp]), real(2, 4))
case("piecewise", lambda x: np.piecewise(x, [x < 0], [lambda v, k: v**k], 3), real(5))
case("apply_along_axis", lambda x: np.apply_along_axis(lambda r: r[:2] * r[2], 0, x), real(3, 2))
case("apply_along_axis", lambda x: np.apply_along_axis(lambda r: np.sum(r * r), 1, x), real(2, 3))
case("apply_over_axes", lambda x: np.apply_over_axes(np.sum, x, [0, -1]), real(2, 3, 2))

# ---- parts of numbers, names that lead elsewhere -----------------------------------------------------------------

case("modf", np.modf, real(2, 3), second=False)
case("fix", np.fix, real(2, 3), second=False)
case("conjugate", np.conj, real(2, 3))
case("divmod", np.divmod, real(2, 3), real(3))
case("divmod", lambda x: divmod(x, 0.75), real(4), second=False)
case("divmod", lambda x: divmod(2.5, x), real(4))
case("ldexp", lambda i, x: np.ldexp(x, i - 2), integers(5, 3), real(2, 3))
case("frexp", lambda x: np.frexp(x)[0], real(5), second=False)
case("real", lambda x: np.real(x) * 1, real(3))
case("real_if_close", lambda x: np.real_if_close(x) * 1, real(3))
case("imag", lambda x: np.imag(x) + x, real(3))
case("angle", np.angle, real(2, 3), second=False, deg=True)
case("i0", lambda x: np.i0(8 * x), real(20), half=False)


def first_order(x):
    """The derivative of i0, by two orders of it: I₁."""
    if isinstance(x, mg.Tensor):
        from minigrad.rules.bessel import bessel

        return bessel(x, 1)
    t = np.linspace(0, np.pi, 400)
    return (np.trapezoid(np.exp(x[..., None] * np.cos(t)) * np.cos(t), t) / np.pi).astype(x.dtype)


def quiet(function):
    """A function that NumPy gives up, without its warning."""

    def call(*args):
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            return function(*args)

    return call


case("bessel", lambda x: first_order(x * 4), real(2, 3), half=False)
case("dsplit", lambda x: np.dsplit(x, 2), real(2, 1, 4))
joined("vstack", quiet(getattr(np, "row_stack", np.vstack)), real(2, 3), real(3))
case("cumulative_sum", np.cumulative_sum, real(4), include_initial=True)
case("cumulative_sum", np.cumulative_sum, real(2, 3), axis=0)
case("cumulative_prod", np.cumulative_prod, real(2, 3), axis=1, include_initial=True)
case("matrix_transpose", np.matrix_transpose, real(2, 3, 4))
case("transpose", np.permute_dims, real(2, 3, 4), axes=(1, 2, 0))
case("diagflat", np.diagflat, real(2, 2), k=1)
case("fftshift", np.fft.fftshift, real(5))
case("ifftshift", np.fft.ifftshift, real(3, 4), axes=1)
case("vecdot", np.vecdot, real(2, 3), real(3))
case("vecdot", lambda x, y: np.vecdot(x, y, axis=0), real(3, 2), real(3, 2))
case("linalg_vecdot", np.linalg.vecdot, real(2, 3), real(2, 3))
case("matvec", np.matvec, real(2, 3, 4), real(4))
case("vecmat", np.vecmat, real(2, 3), real(2, 3, 4))
case("linalg_matmul", np.linalg.matmul, real(2, 3), real(3, 2))
case("linalg_outer", np.linalg.outer, real(2), real(3))
case("linalg_tensordot", np.linalg.tensordot, real(2, 3), real(3, 2), axes=1)
case("linalg_cross", np.linalg.cross, real(2, 3), real(2, 3))
case("linalg_diagonal", np.linalg.diagonal, real(2, 3, 4), offset=1)
case("linalg_trace", np.linalg.trace, real(2, 3, 3))
joined("multi_dot", np.linalg.multi_dot, real(3), real(3, 4), real(4, 2), real(2, 3))
joined("multi_dot", np.linalg.multi_dot, real(2, 3), real(3, 1), real(1))
for order in ("C", "F", "A", "K"):
    case("ravel", lambda x, o=order: np.ravel(x.copy(), order=o), real(2, 3))
case("reshape", lambda x: np.reshape(x.copy(), (3, 2), order="A"), real(2, 3))
case("reshape", lambda x: np.reshape(x, (3, 2), copy=True), real(2, 3))
case("trace", lambda x: np.trace(x, 1, dtype=np.float64), real(3, 3))
case("sort", lambda x: np.sort(x, stable=True), apart(4))

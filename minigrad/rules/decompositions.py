"""Matrix decompositions: eigenvectors, singular vectors, orthogonal factors; and pseudo-inverses.

Formulas: M. Giles, Collected matrix derivative results, 2008; S. Walter & L. Lehmann, Algorithmic differentiation of
linear algebra functions with application in optimum experimental design, 2010 (QR); G. Golub & V. Pereyra, The
differentiation of pseudo-inverses, 1973.

Vectors are unique only up to sign, and for repeated values only up to a rotation, which no gradient can follow. A
gradient through vectors of a repeated value therefore raises LinAlgError; on a GPU, where the check would wait, it is
infinite or NaN. Gradients through values alone are always defined.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.linalg import _linalg

from .. import backend
from ..scopes import here
from ..tensors import Tensor
from ..vocabulary import composed, operation, will_be_recorded
from .accumulations import data_of
from .products import columns

Array = Any
named: Any = _linalg  # NumPy's named tuples for results


def diagonal_of(x: Any, like: Any) -> Any:
    """(..., n) as diagonal matrices (..., n, n)."""
    return np.expand_dims(x, -1) * backend.module_of(data_of(like)).eye(x.shape[-1], dtype=like.dtype)


def symmetric(x: Any) -> Any:
    return (x + columns(x)) * 0.5


def inverse_gaps(name: str, values: Any, powers: Any, *vectors: Any) -> Any:
    """1 / (pⱼ − pᵢ) for powers p of the values, and 0 on the diagonal: (..., n, n).

    Raises LinAlgError if two values are equal up to rounding and one of their vectors has a gradient.
    """
    data = data_of(values)
    n = data.shape[-1]
    same = backend.module_of(data).eye(n) == 1
    gaps = np.expand_dims(powers, -2) - np.expand_dims(powers, -1)
    if backend.backend_of(data).synchronous and n > 1:
        size = np.max(np.absolute(data), axis=-1, keepdims=True)[..., None]
        near = np.absolute(data[..., None, :] - data[..., :, None]) <= n * np.finfo(data.dtype).eps * size
        used: Any = False
        for g in vectors:
            if g is not None:
                used = used | np.any(data_of(g) != 0, axis=-2)  # (..., n)
        bad = near & ~same & (used[..., None, :] | used[..., :, None])
        if bad.any():
            *_, i, j = np.argwhere(bad)[0].tolist()
            raise np.linalg.LinAlgError(
                f"{name}: the values {i} and {j} of a matrix coincide ({float(data[bad.any((-2, -1))][0, i]):.6g}), so "
                "their vectors are not unique and have no gradient; use the values alone, or a function that needs no "
                "vectors (inv, solve, pinv, matrix_power, norm)"
            )
        same = same | near
    return np.where(same, 0.0, 1.0 / np.where(same, 1.0, gaps))


def refuse_zeros(name: str, s: Any) -> None:
    """Raise LinAlgError if a singular value of a non-square matrix is 0 and its vectors have a gradient."""
    data = data_of(s)
    if backend.backend_of(data).synchronous and (data <= np.finfo(data.dtype).eps * data[..., :1]).any():
        raise np.linalg.LinAlgError(
            f"{name}: a singular value is 0, so its vectors are not unique and have no gradient; use the values alone, "
            "or a function that needs no vectors (pinv, lstsq, norm)"
        )


# ---- symmetric matrices ------------------------------------------------------------------------------------------


def eigh_rule(g: list[Any], y: Any) -> Any:
    """V (diag gw + F ∘ (Vᵀ gV)) Vᵀ with Fᵢⱼ = 1 / (wⱼ − wᵢ), symmetrized."""
    (gw, gv), (w, v) = g, y
    inside = 0.0 if gw is None else diagonal_of(gw, w)
    if gv is not None:
        inside = inside + inverse_gaps("eigh", w, w, gv) * (columns(v) @ gv)
    return symmetric(v @ inside @ columns(v))


def refuse_infinite(name: str, *arrays: Array) -> None:
    """Raise LinAlgError for numbers that are not finite, for which LAPACK may never return."""
    if any(type(a) is np.ndarray and not np.all(np.isfinite(a)) for a in arrays):
        raise np.linalg.LinAlgError(f"{name}: a matrix with infinite numbers or NaN has no decomposition{here()}")


@operation(name="eigh", a=eigh_rule)
def _eigh(a: Array, UPLO: Any) -> tuple[Array, Array]:
    refuse_infinite("eigh", a)
    return tuple(np.linalg.eigh(a, UPLO))  # type: ignore[return-value]


@composed(np.linalg.eigh)
def eigh(a: Any, UPLO: Any = "L") -> Any:
    """Eigenvalues (ascending) and eigenvectors of a symmetric matrix. The gradient is symmetric."""
    return named.EighResult(*_eigh(a, UPLO))


@composed(np.linalg.eigvalsh)
def eigvalsh(a: Any, UPLO: Any = "L") -> Any:
    """The eigenvalues of a symmetric matrix. Equal ones share their gradient according to LAPACK's eigenvectors."""
    if will_be_recorded(a):
        return _eigh(a, UPLO)[0]
    refuse_infinite("eigvalsh", data_of(a))
    return Tensor._of(np.linalg.eigvalsh(data_of(a), UPLO))


# ---- singular values ---------------------------------------------------------------------------------------------


def svd_rule(g: list[Any], y: Any) -> Any:
    """U (diag gs + (F ∘ (Uᵀ gU − gUᵀ U)) S + S (F ∘ (Vᵀ gV − gVᵀ V))) Vᵀ with Fᵢⱼ = 1 / (sⱼ² − sᵢ²), plus the parts
    outside the spaces of U and V, divided by S."""
    (gu, gs, gvt), (u, s, vt) = g, y
    k = s.shape[-1]
    first, v1 = u[..., :k], columns(vt[..., :k, :])
    row, column = np.expand_dims(s, -2), np.expand_dims(s, -1)
    inside = 0.0 if gs is None else diagonal_of(gs, s)
    gv = None if gvt is None else columns(gvt)
    if gu is not None or gv is not None:
        gaps = inverse_gaps("svd", s, s * s, *[None if h is None else h[..., :k] for h in (gu, gv)])
    if gu is not None:
        p = columns(first) @ gu[..., :k]
        inside = inside + gaps * (p - columns(p)) * row
    if gv is not None:
        p = columns(v1) @ gv[..., :k]
        inside = inside + column * (gaps * (p - columns(p)))
    result = first @ inside @ columns(v1)
    if k and u.shape[-2] != vt.shape[-1] and (gu is not None or gv is not None):
        refuse_zeros("svd", s)
    if gu is not None and u.shape[-2] > k:
        result = result + beyond(gu, u, k) / row @ columns(v1)
    if gv is not None and vt.shape[-1] > k:
        result = result + first @ columns(beyond(gv, columns(vt), k) / row)
    return result


def beyond(g: Any, u: Any, k: int) -> Any:
    """The part of the gradient of the first k columns orthogonal to them; the other columns rotate with them."""
    first, others = u[..., :k], u[..., k:]
    if u.shape[-1] > k:
        return others @ (columns(others) @ g[..., :k] - columns(g[..., k:]) @ first)
    return g - first @ (columns(first) @ g)


@operation(name="svd", a=svd_rule)
def _svd(a: Array, full_matrices: bool) -> tuple[Array, Array, Array]:
    refuse_infinite("svd", a)
    return tuple(np.linalg.svd(a, full_matrices=full_matrices))  # type: ignore[return-value]


@composed(np.linalg.svd)
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """a = U diag(s) Vᵀ. The gradient of s alone is defined for repeated values, too; where values are 0, it is a
    subgradient."""
    if hermitian:
        return _hermitian_svd(a, compute_uv)
    if compute_uv:
        return named.SVDResult(*_svd(a, full_matrices))
    if will_be_recorded(a):
        return _svd(a, False)[1]
    refuse_infinite("svd", data_of(a))
    return Tensor._of(np.linalg.svd(data_of(a), compute_uv=False))


def _hermitian_svd(a: Any, compute_uv: bool) -> Any:
    """The SVD of a symmetric matrix from its eigenvalues: s = |w|, U = V, and rows of Vᵀ with the sign of w."""
    w, v = _eigh(a, "L")
    order = np.flip(np.argsort(np.absolute(w.data), axis=-1), -1)
    w = np.take_along_axis(w, order, axis=-1)
    if not compute_uv:
        return np.absolute(w)
    v = np.take_along_axis(v, order[..., None, :], axis=-1)
    return named.SVDResult(v, np.absolute(w), columns(v * np.sign(w.data)[..., None, :]))


@composed(np.linalg.svdvals)
def svdvals(x: Any, /) -> Any:
    return svd(x, compute_uv=False)


# ---- orthogonal and triangular -----------------------------------------------------------------------------------


def over(x: Any, r: Any) -> Any:
    """x R⁻ᵀ."""
    return columns(np.linalg.solve(r, columns(x)))


def refuse_singular(name: str, r: Any, rows: int) -> None:
    """Raise LinAlgError if a column depends on those before it, up to the rounding of a product of `rows` numbers."""
    data = data_of(r)
    if backend.backend_of(data).synchronous:
        size = np.max(np.absolute(data), axis=-2, initial=0.0)
        if (np.absolute(np.diagonal(data, axis1=-2, axis2=-1)) <= rows * np.finfo(data.dtype).eps * size).any():
            raise np.linalg.LinAlgError(
                f"{name}: a column of a matrix depends on those before it, so its factors are not unique and have no "
                "gradient; use a function that needs no factors (pinv, lstsq, svdvals, norm)"
            )


def qr_rule(g: list[Any], y: Any, a: Any) -> Any:
    """(gQ + Q M) R⁻ᵀ, with M the lower triangle of R gRᵀ − gQᵀ Q, symmetrized. The first columns of a wide matrix are
    such a product; its other columns are Q times those of R."""
    (gq, gr), (q, r) = g, y
    k = q.shape[-1]
    refuse_singular("qr", r[..., :k], q.shape[-2])
    gq = np.zeros_like(q) if gq is None else gq
    gr = np.zeros_like(r) if gr is None else gr
    gq = gq + a[..., k:] @ columns(gr[..., k:])
    m = r[..., :k] @ columns(gr[..., :k]) - columns(gq) @ q
    lower = np.tril(m)
    first = over(gq + q @ (lower + columns(np.tril(m, -1))), r[..., :k])
    return np.concatenate([first, q @ gr[..., k:]], axis=-1) if r.shape[-1] > k else first


@operation(name="qr", a=qr_rule)
def _qr(a: Array) -> tuple[Array, Array]:
    return tuple(np.linalg.qr(a))  # type: ignore[return-value]


@composed(np.linalg.qr)
def qr(a: Any, mode: Any = "reduced") -> Any:
    """a = Q R. If R is singular, backward raises LinAlgError."""
    if mode not in ("reduced", "complete", "r"):
        raise TypeError(f"qr: modes 'reduced', 'complete' and 'r' have a rule, not {mode!r}")
    if mode == "complete" and np.shape(a)[-2] > np.shape(a)[-1]:
        if will_be_recorded(a):
            raise TypeError(
                f"qr: mode='complete' has no rule for a matrix with more rows than columns, here of shape {a.shape}, "
                "since the columns of Q beyond those of a are not unique; use mode='reduced'"
            )
        q, r = (Tensor._of(v) for v in np.linalg.qr(data_of(a), mode))
    else:
        q, r = _qr(a)
    return r if mode == "r" else named.QRResult(q, r)


# ---- inverses of any matrix --------------------------------------------------------------------------------------


def pinv_rule(g: Any, y: Any, a: Any) -> Any:
    """−Pᵀ g Pᵀ + (I − A P) gᵀ P Pᵀ + Pᵀ P gᵀ (I − P A), for matrices of one rank."""
    p, turned = columns(y), columns(g)
    left = turned @ y @ p
    right = p @ y @ turned
    return (left - a @ (y @ left)) + (right - (right @ y) @ a) - p @ g @ p


@operation(name="pinv", a=pinv_rule)
def _pinv(a: Array, options: dict[str, Any]) -> Array:
    refuse_infinite("pinv", a)
    return np.linalg.pinv(a, **options)


@composed(np.linalg.pinv)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """The Moore–Penrose inverse. Its gradient holds among matrices of equal rank; where the rank changes, there is
    none.
    """
    if rcond is not None and rtol is not None:
        raise ValueError("pinv: give rcond or rtol, not both")
    options = {"rcond": rcond, "rtol": rtol, "hermitian": hermitian or None}
    return _pinv(a, {k: data_of(v) for k, v in options.items() if v is not None})


def lstsq_a(g: Any, y: Any, a: Any, b: Any) -> Any:
    """The rule of A⁺, applied to the gradient g bᵀ of A⁺."""
    if g[0] is None:
        return np.zeros_like(a)
    g, b = (np.expand_dims(v, -1) if len(v.shape) == 1 else v for v in (g[0], b))
    return pinv_rule(g @ columns(b), np.linalg.pinv(a), a)


def lstsq_b(g: Any, a: Any, b_shape: Any) -> Any:
    """A⁺ᵀ g."""
    if g[0] is None:
        return np.zeros_like(a, shape=b_shape)
    return columns(np.linalg.pinv(a)) @ g[0]


@operation(name="lstsq", a=lstsq_a, b=lstsq_b)
def _lstsq(a: Array, b: Array, rcond: Any) -> tuple[Array, Array, Array]:
    refuse_infinite("lstsq", a, b)
    x, _, rank, s = np.linalg.lstsq(a, b, rcond=rcond)
    return x, rank, s


@composed(np.linalg.lstsq)
def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    """The x that minimizes ‖b − a x‖, the residual sums of squares, the rank, and the singular values.

    The gradient is that of pinv(a) @ b. The singular values returned here have none; use np.linalg.svdvals(a).
    """
    x, rank, s = _lstsq(a, b, rcond)
    rows, unknowns = np.shape(a)
    rank = rank.data if backend.is_recorded(rank.data) else int(backend.to_numpy(rank.data))  # replays assume full rank
    whole = unknowns < rows and (type(rank) is not int or rank == unknowns)
    left = b - a @ x
    residuals = np.sum(left * left, axis=0, keepdims=left.ndim == 1) if whole else Tensor._of(s.data[:0])
    return x, residuals, rank, s.detach()

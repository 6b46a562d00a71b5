"""Spectral and orthogonal linear algebra. Vectors are compared by what does not depend on their signs."""

from __future__ import annotations

import numpy as np

from .cases import Draw, case, real, regular


def spread(*shape: int) -> Draw:
    """Matrices whose singular values are apart from each other, and from 0."""

    def kind(rng, s):
        u, _, v = np.linalg.svd(rng.standard_normal(s), full_matrices=False)
        return u * np.linspace(2.5, 0.6, u.shape[-1]) @ v

    return Draw(kind, shape)


def symmetric(a):
    return (a + np.swapaxes(a, -1, -2)) * 0.5


def projections(v):
    """v vᵀ for each column: (..., n, m, m)."""
    columns = np.moveaxis(v, -1, -2)
    return columns[..., :, None] * columns[..., None, :]


def of_vectors(a, **keywords):
    w, v = np.linalg.eigh(symmetric(a), **keywords)
    return w, projections(v)


def of_svd(a, **keywords):
    u, s, vt = np.linalg.svd(a, **keywords)
    k = s.shape[-1]
    return s, np.einsum("...ik,...kj->...kij", u[..., :k], vt[..., :k, :])


def of_spaces(a):
    """The projections on the null spaces of a and of its transpose, from the columns beyond the first."""
    u, s, vt = np.linalg.svd(a)
    k = s.shape[-1]
    rest, turned = u[..., k:], vt[..., k:, :]
    return rest @ np.swapaxes(rest, -1, -2), np.swapaxes(turned, -1, -2) @ turned


for shape in ((3, 3), (2, 2, 2)):
    case("eigh", of_vectors, regular(*shape), half=False)
    case("eigvalsh", lambda a: np.linalg.eigvalsh(symmetric(a)), regular(*shape), half=False)
case("eigh", of_vectors, regular(3, 3), half=False, UPLO="U")
for shape in ((3, 3), (4, 2), (2, 3), (2, 3, 2)):
    case("svd", of_svd, spread(*shape), half=False, full_matrices=False)
    case("svdvals", np.linalg.svdvals, spread(*shape), half=False)
case("svd", lambda a: np.linalg.svd(a, compute_uv=False), spread(3, 2), half=False)
case("svd", of_svd, spread(2, 3), half=False)
case("svd", lambda a: of_spaces(a)[0], spread(4, 2), half=False)
case("svd", lambda a: of_spaces(a)[1], spread(2, 3), half=False)
case("svd", lambda a: of_svd(symmetric(a), hermitian=True), regular(3, 3), half=False)
case("svd", lambda a: np.linalg.svd(symmetric(a), True, False, True), regular(3, 3), half=False)
for shape in ((3, 3), (4, 2), (2, 4), (2, 3, 2)):
    case("qr", np.linalg.qr, spread(*shape), half=False)
case("qr", lambda a: np.linalg.qr(a, "r"), spread(3, 2), half=False)
case("qr", lambda a: np.linalg.qr(a, "complete"), spread(2, 3), half=False)
for shape in ((3, 3), (4, 2), (2, 3), (2, 3, 2)):
    case("pinv", np.linalg.pinv, spread(*shape), half=False)
case("pinv", lambda a: np.linalg.pinv(symmetric(a), hermitian=True, rtol=1e-6), regular(3, 3), half=False)
for b in ((4,), (4, 2)):
    case("lstsq", lambda a, b: np.linalg.lstsq(a, b)[:2], spread(4, 2), real(*b), half=False)
case("lstsq", lambda a, b: np.linalg.lstsq(a, b)[0], spread(2, 4), real(2), half=False)
for n in (3, 2, 1, -2):
    case("matrix_power", np.linalg.matrix_power, regular(2, 2), n=n, half=False)
case("matrix_power", lambda a: np.linalg.matrix_power(a, 0) @ a, regular(2, 2), half=False)
case("tensorinv", lambda a: np.linalg.tensorinv(np.reshape(a, (2, 3, 6))), regular(6, 6), half=False)
case("tensorsolve", lambda a, b: np.linalg.tensorsolve(np.reshape(a, (4, 2, 2)), b), regular(4, 4), real(4), half=False)
case("tensorsolve", lambda a, b: np.linalg.tensorsolve(np.reshape(a, (2, 4, 2)), b, axes=(0, 2)), regular(4, 4),
     real(4), half=False)  # fmt: skip
for order in (None, -2, "nuc", 1):
    case("cond", np.linalg.cond, spread(3, 3), p=order, half=False)
for order in ("nuc", 2, -2):
    case("norm", np.linalg.norm, spread(3, 2), ord=order, half=False)
    case("matrix_norm", np.linalg.matrix_norm, spread(2, 2, 3), ord=order, keepdims=True, half=False)
case("matrix_norm", np.linalg.matrix_norm, real(2, 2, 3), half=False)
case("vector_norm", np.linalg.vector_norm, real(2, 3), keepdims=True)
case("vector_norm", np.linalg.vector_norm, real(2, 3, 2), axis=(0, 2), ord=3)
case("vector_norm", np.linalg.vector_norm, real(2, 3), axis=1, ord=1)

"""Operations, cells and shared memory against PyTorch: values, all gradients, and second derivatives."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

import minigrad as mg

pytestmark = pytest.mark.parity

Rng = np.random.Generator


# ---- inputs ------------------------------------------------------------------------------------------------------


Draw = Callable[[Rng], Any]


def drawn(kind: Callable[[Rng, tuple[int, ...]], Any]) -> Callable[..., Draw]:
    return lambda *shape: lambda rng: kind(rng, shape)


def _with_zeros(rng: Rng, shape: tuple[int, ...]) -> Any:
    """Each row has no zero, one or two."""
    a = rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape)
    for k, row in enumerate(a.reshape(-1, shape[-1])):
        row[: k % 3] = 0.0
    return a


def _regular(rng: Rng, shape: tuple[int, ...]) -> Any:
    return rng.uniform(-1, 1, shape) + 3 * np.eye(shape[-1])


real = drawn(lambda rng, s: rng.uniform(0.1, 2.0, s) * rng.choice([-1.0, 1.0], s))
wide = drawn(lambda rng, s: rng.uniform(-5, 5, s))
unit = drawn(lambda rng, s: rng.uniform(-0.9, 0.9, s))
positive = drawn(lambda rng, s: rng.uniform(0.3, 2.0, s))
above_one = drawn(lambda rng, s: rng.uniform(1.2, 3.0, s))
coarse = drawn(lambda rng, s: rng.integers(-2, 3, s).astype(float))  # ties, and elements on every kink
zeros = drawn(_with_zeros)
all_zero = drawn(lambda rng, s: np.zeros(s))
regular = drawn(_regular)
definite = drawn(lambda rng, s: (lambda m: m @ np.swapaxes(m, -1, -2))(_regular(rng, s)))


# ---- cases -------------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """`second`: whether the second derivatives are compared, too. `loose`: how many times worse float32 may be."""

    name: str
    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    draws: tuple[Draw, ...]
    second: bool
    loose: float

    def arrays(self, dtype: Any) -> list[Any]:
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        return [np.asarray(draw(rng)).astype(dtype) for draw in self.draws]


CASES: list[Case] = []


def case(name: str, ours: Any, theirs: Any, *draws: Draw, second: bool = False, loose: float = 1.0) -> None:
    assert name not in {c.name for c in CASES}, f"two cases are called {name}"
    CASES.append(Case(name, ours, theirs, draws, second, loose))


def both(name: str, call: Any, *draws: Draw, second: bool = False, loose: float = 1.0) -> None:
    """A case that is written the same in both: with operators and methods of one meaning."""
    case(name, call, call, *draws, second=second, loose=loose)


both("add", lambda a, b: a + b, real(2, 3), real(3))
both("subtract", lambda a, b: a - b, real(2, 1), real(3))
both("multiply", lambda a, b: a * b, real(4, 1, 3), real(2, 1), second=True)
both("divide", lambda a, b: a / b, real(2, 3), real(), second=True)
both("remainder", lambda a, b: a % b, real(3, 4), real(4))
case("fmod", np.fmod, torch.fmod, real(3, 4), real(4))
case("hypot", np.hypot, torch.hypot, real(3), real(3))
case("where", lambda a, b: np.where(a > 0, a, b), lambda a, b: torch.where(a > 0, a, b), coarse(4, 5), real(5))

both("power", lambda a, b: a**b, positive(2, 3), real(3), second=True)
both("power_2_of_zeros", lambda a: a**2, zeros(3, 4), second=True)
both("power_0_of_zeros", lambda a: a**0, zeros(3, 4))
both("power_1.5_of_zeros", lambda a: abs(a) ** 1.5, zeros(3, 4))
both("power_of_negatives", lambda a: a**3, coarse(4, 4))
both("power_zero_to_positive", lambda a, b: a**b, all_zero(3), above_one(3))
both("power_of_a_constant", lambda b: 2**b, real(3))
both("power_of_constant_zero", lambda b: 0.0**b, positive(3))

for name in ("exp", "exp2", "expm1", "sin", "cos", "tan", "sinh", "cosh", "tanh"):
    case(name, getattr(np, name), getattr(torch, name), real(2, 3), second=name in ("tanh", "exp"), loose=10)
for name in ("log", "log2", "log10", "log1p"):
    case(name, getattr(np, name), getattr(torch, name), positive(2, 3), second=name == "log1p")
for name in ("arcsin", "arccos", "arctan", "arctanh", "arcsinh"):
    case(name, getattr(np, name), getattr(torch, name), unit(2, 3))
case("arccosh", np.arccosh, torch.arccosh, above_one(2, 3))
case("arctan2", np.arctan2, torch.arctan2, real(2, 3), real(3))
case("logaddexp", np.logaddexp, torch.logaddexp, wide(2, 3), wide(3), second=True)
case("logaddexp2", np.logaddexp2, torch.logaddexp2, wide(2, 3), wide(3))

for name in ("maximum", "minimum", "fmax", "fmin"):
    case(f"{name}_ties", getattr(np, name), getattr(torch, name), coarse(5, 6), coarse(6))
for axis in (0, 1, (0, 1)):
    case(f"amax_ties_{axis}", lambda a, k=axis: np.max(a, k), lambda a, k=axis: torch.amax(a, k), coarse(6, 7))
    case(f"amin_ties_{axis}", lambda a, k=axis: np.min(a, k), lambda a, k=axis: torch.amin(a, k), coarse(6, 7))
case("sort_ties", np.sort, lambda a: torch.sort(a, stable=True)[0], coarse(4, 9))
case("clip_at_the_bounds", lambda a: np.clip(a, -1, 1), lambda a: torch.clip(a, -1, 1), coarse(5, 6))
case("clip_below", lambda a: np.clip(a, 0, None), lambda a: torch.clip(a, 0, None), coarse(5, 6))
case("absolute_at_zero", np.abs, torch.abs, coarse(5, 6))
case("sign", lambda a: np.sign(a) * a, lambda a: torch.sign(a) * a, coarse(5, 6))
case("relu_at_zero", mg.relu, F.relu, coarse(5, 6))

case("sigmoid", mg.sigmoid, torch.sigmoid, wide(4, 5), second=True)
case("softplus", mg.softplus, F.softplus, wide(4, 5))
case("softplus_beta", lambda a: mg.softplus(a, 2.0), lambda a: F.softplus(a, 2.0), unit(4, 5), second=True)
case("gelu", mg.gelu, F.gelu, wide(4, 5), second=True)
case("gelu_tanh", lambda a: mg.gelu(a, "tanh"), lambda a: F.gelu(a, approximate="tanh"), wide(4, 5), loose=10)
case("silu", mg.silu, F.silu, wide(4, 5), second=True)
case("elu", lambda a: mg.elu(a, 1.5), lambda a: F.elu(a, 1.5), wide(4, 5))
case("elu_at_zero", mg.elu, F.elu, coarse(4, 5))
case("leaky_relu_at_zero", lambda a: mg.leaky_relu(a, 0.2), lambda a: F.leaky_relu(a, 0.2), coarse(5, 6))
case("hard_tanh", mg.hard_tanh, F.hardtanh, wide(4, 5))
case("hard_tanh_at_the_kinks", mg.hard_tanh, F.hardtanh, coarse(5, 6))
case("hard_sigmoid_at_the_kinks", lambda a: 6 * mg.hard_sigmoid(1.5 * a), lambda a: F.relu6(1.5 * a + 3), coarse(5, 6))
# PyTorch's own gradient of hardsigmoid multiplies by 1/6 in float32, also in float64
case("hard_sigmoid", mg.hard_sigmoid, lambda a: F.hardsigmoid(a) if a.dtype == torch.float32 else F.relu6(a + 3) / 6,
     wide(4, 5))  # fmt: skip
case("erf", mg.erf, torch.erf, wide(4, 5))
for axis in (0, -1):
    case(f"softmax_{axis}", lambda a, k=axis: mg.softmax(a, k), lambda a, k=axis: F.softmax(a, k), wide(3, 4))
    case(f"log_softmax_{axis}", lambda a, k=axis: mg.log_softmax(a, k), lambda a, k=axis: F.log_softmax(a, k),
         wide(3, 4), second=True)  # fmt: skip
    case(f"logsumexp_{axis}", lambda a, k=axis: mg.logsumexp(a, k), lambda a, k=axis: torch.logsumexp(a, k), wide(3, 4))

both("mean", lambda a: a.mean(1), real(2, 3, 4))
both("sum_axes", lambda a: a.sum((0, -1), keepdims=True), real(2, 3, 4))
for name in ("var", "std"):
    ours, theirs = getattr(np, name), getattr(torch, name)
    case(name, lambda a, f=ours: f(a), lambda a, f=theirs: f(a, correction=0), real(3, 4), second=True)
    case(f"{name}_ddof", lambda a, f=ours: f(a, (0, 2), ddof=1), lambda a, f=theirs: f(a, (0, 2)), real(3, 4, 2))
case("prod_zeros", lambda a: np.prod(a, 1), lambda a: torch.prod(a, 1), zeros(6, 4), second=True)
case("prod_all", np.prod, torch.prod, zeros(1, 4))
case("cumsum", lambda a: np.cumsum(a, 1), lambda a: torch.cumsum(a, 1), real(3, 4))
case("cumprod", lambda a: np.cumprod(a, 0), lambda a: torch.cumprod(a, 0), real(3, 4))
case("cumprod_zeros", lambda a: np.cumprod(a, 1), lambda a: torch.cumprod(a, 1), zeros(6, 4), second=True)
case("median", lambda a: np.median(a, 1), lambda a: torch.median(a, 1)[0], real(3, 7))
case("diff", lambda a: np.diff(a, 2), lambda a: torch.diff(a, 2), real(3, 7))

RANKS = ["4 4", "3x4 4", "4 4x5", "3x4 4x5", "2x3x4 4x5", "4 2x4x5", "2x3x4 4", "2x3x4 2x4x5", "6x1x3x4 2x4x5"]
for pair in RANKS:
    a, b = (tuple(map(int, s.split("x"))) for s in pair.split())
    both(f"matmul_{pair}", lambda a, b: a @ b, real(*a), real(*b), second=pair == "2x3x4 4x5")
EINSUMS: list[tuple[str, list[tuple[int, ...]]]] = [
    ("ij,jk->ik", [(2, 3), (3, 4)]), ("ij,kj", [(2, 3), (4, 3)]), ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
    ("ii->i", [(3, 3)]), ("ii", [(3, 3)]), ("ij->ji", [(2, 3)]), ("ijk->j", [(2, 3, 4)]), ("i,j->ij", [(2,), (3,)]),
    ("i,ij,j->", [(2,), (2, 3), (3,)]), ("...i,...i->...", [(4, 2, 3), (2, 3)]), ("ij,ij->i", [(2, 3), (2, 3)]),
]  # fmt: skip
for subscripts, shapes in EINSUMS:
    ours, theirs = (lambda *a, f=f, s=subscripts: f(s, *a) for f in (np.einsum, torch.einsum))
    case(f"einsum_{subscripts}", ours, theirs, *[real(*s) for s in shapes], second=subscripts == "i,ij,j->")
case("tensordot", lambda a, b: np.tensordot(a, b, ([0, 2], [1, 0])),
     lambda a, b: torch.tensordot(a, b, ([0, 2], [1, 0])), real(2, 3, 4), real(4, 2))  # fmt: skip
case("outer", np.outer, torch.outer, real(3), real(4))
case("inner", np.inner, torch.inner, real(2, 3), real(4, 3))
case("kron", np.kron, torch.kron, real(2, 3), real(3, 2))
case("cross", np.cross, lambda a, b: torch.linalg.cross(a, b), real(4, 3), real(4, 3))

both("reshape", lambda a: a.reshape(4, -1), real(2, 3, 4))
case("transpose", lambda a: a.transpose(2, 0, 1), lambda a: a.permute(2, 0, 1), real(2, 3, 4))
both("squeeze", lambda a: a.squeeze(1), real(2, 1, 3))
case("flip", lambda a: np.flip(a, (0, 2)), lambda a: torch.flip(a, (0, 2)), real(2, 3, 4))
case("pad", lambda a: np.pad(a, ((1, 0), (2, 3))), lambda a: F.pad(a, (2, 3, 1, 0)), real(2, 3))
for mode, theirs in (("reflect", "reflect"), ("edge", "replicate"), ("wrap", "circular")):
    case(f"pad_{mode}", lambda a, m=mode: np.pad(a, ((0, 0), (0, 0), (2, 3)), m),
         lambda a, m=theirs: F.pad(a, (2, 3), m), real(1, 2, 4))  # fmt: skip
case("tile", lambda a: np.tile(a, (2, 1, 3)), lambda a: torch.tile(a, (2, 1, 3)), real(2, 3))
case("repeat", lambda a: np.repeat(a, 3, 1), lambda a: torch.repeat_interleave(a, 3, 1), real(2, 3))
case("repeat_each", lambda a: np.repeat(a, [2, 0, 1], 0),
     lambda a: torch.repeat_interleave(a, torch.tensor([2, 0, 1]), 0), real(3, 2))  # fmt: skip
case("stack", lambda *a: np.stack(a, 1), lambda *a: torch.stack(a, 1), real(2, 3), real(2, 3))
case("concatenate", lambda *a: np.concatenate(a, -1), lambda *a: torch.cat(a, -1), real(2, 3), real(2, 1))
case("split", lambda a: np.split(a, [1, 3], 1), lambda a: torch.tensor_split(a, [1, 3], 1), real(2, 5))
case("split_one_used", lambda a: np.split(a, 3)[1] * 2, lambda a: torch.split(a, 2)[1] * 2, real(6, 2))
case("unstack", lambda a: list(mg.unstack(a, axis=1)), lambda a: list(torch.unbind(a, 1)), real(2, 3))

both("index_numbers_and_slices", lambda a: a[1, ..., 1:4:2], real(3, 4, 5))
both("index_none", lambda a: a[None, :, None, 2], real(3, 4))
case("index_backwards", lambda a: a[::-2], lambda a: torch.flip(a, (0,))[::2], real(5, 2))
both("index_repeated_rows", lambda a: a[np.array([[2, 0, 2], [2, 2, 1]])], real(3, 4))
both("index_repeated_pairs", lambda a: a[[0, 1, 0, 0], [2, 3, 2, 1]] ** 2, real(3, 4), second=True)
both("index_around_a_slice", lambda a: a[[0, 1, 1], :, [2, 0, 0]], real(3, 2, 4))
both("index_boolean", lambda a: a[a > 0] ** 2, real(3, 4))
ALONG = np.array([[0, 3, 3, 3, 1], [2, 2, 2, 0, 1]])
case(
    "take_along_axis", lambda a: np.take_along_axis(a, ALONG, 1), lambda a: a.gather(1, torch.tensor(ALONG)), real(2, 4)
)
case("roll", lambda a: np.roll(a, (1, -2), (0, 1)), lambda a: torch.roll(a, (1, -2), (0, 1)), real(3, 4))
for name in ("tril", "triu"):
    ours, theirs = getattr(np, name), getattr(torch, name)
    case(name, lambda a, f=ours: f(a, 1), lambda a, f=theirs: f(a, 1), real(2, 3, 4))
case("diagonal", lambda a: np.diagonal(a, 1, 0, 2), lambda a: torch.diagonal(a, 1, 0, 2), real(2, 3, 4))
case("trace", np.trace, torch.trace, real(3, 4))
case("embedding", lambda w: mg.embedding(w, ALONG), lambda w: F.embedding(torch.tensor(ALONG), w), real(4, 3))
case("embedding_padding", lambda w: mg.embedding(w, ALONG, padding_idx=3),
     lambda w: F.embedding(torch.tensor(ALONG), w, padding_idx=3), real(4, 3))  # fmt: skip

case("norm", np.linalg.norm, torch.linalg.norm, real(3, 4), second=True)
case("norm_at_zero", np.linalg.norm, torch.linalg.norm, all_zero(4))
for order in (1, 2, 3, np.inf, -np.inf):
    case(f"norm_{order}", lambda a, o=order: np.linalg.norm(a, o, 1), lambda a, o=order: torch.linalg.norm(a, o, 1),
         real(3, 4))  # fmt: skip
case("inv", np.linalg.inv, torch.linalg.inv, regular(2, 3, 3), second=True)
case("det", np.linalg.det, torch.linalg.det, regular(2, 3, 3), second=True)
case("slogdet", lambda a: np.linalg.slogdet(a)[1], lambda a: torch.linalg.slogdet(a)[1], regular(2, 3, 3))
case("solve", np.linalg.solve, torch.linalg.solve, regular(2, 3, 3), real(2, 3, 2), second=True)
case("cholesky", np.linalg.cholesky, torch.linalg.cholesky, definite(2, 3, 3))

# ---- spectral and orthogonal linear algebra, up to the signs of vectors ----------------------------------------------


def ours_of_vectors(a: Any) -> Any:
    w, v = np.linalg.eigh((a + np.swapaxes(a, -1, -2)) / 2)
    return w, (v * np.exp(w)[..., None, :]) @ np.swapaxes(v, -1, -2), v * v


def theirs_of_vectors(a: Any) -> Any:
    w, v = torch.linalg.eigh((a + a.mT) / 2)
    return w, (v * torch.exp(w)[..., None, :]) @ v.mT, v * v


def of_svd(linalg: Any, **how: Any) -> Callable[[Any], Any]:
    def call(a: Any) -> Any:
        u, s, vt = linalg.svd(a, **how)
        k = s.shape[-1]
        return s, (u[..., :k] * (s**3)[..., None, :]) @ vt[..., :k, :], u[..., :k] ** 2, vt[..., :k, :] ** 2

    return call


case("eigh", ours_of_vectors, theirs_of_vectors, regular(2, 3, 3), second=True, loose=10)
case("eigvalsh", lambda a: np.linalg.eigvalsh(a + a.T), lambda a: torch.linalg.eigvalsh(a + a.T), regular(4, 4),
     second=True, loose=10)  # fmt: skip
for shape in ((4, 4), (5, 3), (3, 5), (2, 4, 3)):
    case(f"svd_{shape}", of_svd(np.linalg, full_matrices=False), of_svd(torch.linalg, full_matrices=False),
         wide(*shape), second=shape == (5, 3), loose=200)  # fmt: skip
    case(f"svdvals_{shape}", lambda a: np.linalg.svd(a, compute_uv=False), torch.linalg.svdvals, wide(*shape), loose=10)
    case(f"pinv_{shape}", np.linalg.pinv, torch.linalg.pinv, wide(*shape), second=True, loose=50)
for shape in ((4, 4), (5, 3), (3, 5)):
    case(f"qr_{shape}", lambda a: tuple(np.linalg.qr(a)), lambda a: tuple(torch.linalg.qr(a)), wide(*shape),
         second=True, loose=200)  # fmt: skip
case("qr_r", lambda a: np.linalg.qr(a, "r"), lambda a: torch.linalg.qr(a)[1],
     wide(5, 3), loose=50)  # fmt: skip
case("lstsq", lambda a, b: np.linalg.lstsq(a, b)[0], lambda a, b: torch.linalg.lstsq(a, b).solution, wide(5, 3),
     wide(5, 2), second=True, loose=50)  # fmt: skip
for order in ("nuc", 2, -2):
    case(f"matrix_norm_{order}", lambda a, o=order: np.linalg.matrix_norm(a, ord=o),
         lambda a, o=order: torch.linalg.matrix_norm(a, o), wide(2, 3, 4), loose=10)  # fmt: skip
case("cond", np.linalg.cond, torch.linalg.cond, regular(3, 3), loose=10)
case("matrix_power", lambda a: np.linalg.matrix_power(a, -3), lambda a: torch.linalg.matrix_power(a, -3),
     regular(3, 3), second=True, loose=10)  # fmt: skip
case("multi_dot", lambda *a: np.linalg.multi_dot(a), lambda *a: torch.linalg.multi_dot(a), real(2, 5), real(5, 3),
     real(3, 4))  # fmt: skip
case("tensorinv", lambda a: np.linalg.tensorinv(a.reshape(2, 2, 4)),
     lambda a: torch.linalg.tensorinv(a.reshape(2, 2, 4)), regular(4, 4))  # fmt: skip
case("tensorsolve", lambda a, b: np.linalg.tensorsolve(a.reshape(4, 2, 2), b),
     lambda a, b: torch.linalg.tensorsolve(a.reshape(4, 2, 2), b), regular(4, 4), real(4))  # fmt: skip
case("vecdot", np.linalg.vecdot, torch.linalg.vecdot, real(2, 3), real(2, 3))
case("vector_norm", lambda a: np.linalg.vector_norm(a, ord=3), lambda a: torch.linalg.vector_norm(a, 3), real(2, 3))

# ---- statistics and calculus

QS = np.array([0.0, 0.2, 0.55, 1.0])
for method in ("linear", "lower", "higher", "midpoint", "nearest"):
    case(f"quantile_{method}", lambda a, m=method: np.quantile(a, QS.astype(a.dtype), axis=1, method=m),
         lambda a, m=method: torch.quantile(a, torch.tensor(QS, dtype=a.dtype), 1, interpolation=m),
         real(3, 7))  # fmt: skip
case("nanquantile", lambda a: np.nanquantile(np.where(a > 1, np.nan, a), 0.3),
     lambda a: torch.nanquantile(torch.where(a > 1, torch.nan, a), 0.3), real(3, 7))  # fmt: skip
case("nansum", lambda a: np.nansum(np.where(a > 1, np.nan, a), 1),
     lambda a: torch.nansum(torch.where(a > 1, torch.nan, a), 1), real(3, 7))  # fmt: skip
case("nanmean", lambda a: np.nanmean(np.where(a > 1, np.nan, a), 1),
     lambda a: torch.nanmean(torch.where(a > 1, torch.nan, a), 1), real(3, 7))  # fmt: skip
for name in ("cummax", "cummin"):
    ours, theirs = {"cummax": np.maximum, "cummin": np.minimum}[name].accumulate, getattr(torch, name)
    case(f"{name}_ties", lambda a, f=ours: f(a, axis=1), lambda a, f=theirs: f(a, 1)[0], coarse(4, 9))
case("logaddexp_reduce", np.logaddexp.reduce, lambda a: torch.logsumexp(a, 0), wide(4, 3))
case("cumprod_long", lambda a: np.cumprod(a, 1), lambda a: torch.cumprod(a, 1), zeros(4, 37), loose=20)
case("cov", lambda a: np.cov(a, dtype=a.dtype), torch.cov, real(3, 5), second=True)
case("corrcoef", lambda a: np.corrcoef(a, dtype=a.dtype), torch.corrcoef, real(3, 5))
for order in (1, 2):
    case(f"gradient_{order}", lambda a, o=order: np.gradient(a, 0.5, edge_order=o),
         lambda a, o=order: torch.gradient(a, spacing=0.5, edge_order=o), real(4, 5))  # fmt: skip
case("trapezoid", lambda y, x: np.trapezoid(y, x), torch.trapezoid, real(3, 5), real(3, 5), second=True)
case("diff_ends", lambda a, b: np.diff(a, prepend=b), lambda a, b: torch.diff(a, prepend=b), real(3, 5), real(3, 2))
case(
    "vander",
    lambda a: np.vander(a, 4).astype(a.dtype),
    lambda a: torch.flip(torch.linalg.vander(a, N=4), (1,)),
    real(5),
)
case("i0", np.i0, torch.special.i0, wide(7), loose=10)
case("meshgrid", lambda a, b: np.meshgrid(a, b), lambda a, b: torch.meshgrid(a, b, indexing="xy"), real(3), real(4))
case("block_diagonal", lambda a, b: np.block([[a, np.zeros((2, 3), a.dtype)], [np.zeros((4, 2), a.dtype), b]]),
     torch.block_diag, real(2, 2), real(4, 3))  # fmt: skip
case(
    "unfold", lambda a: np.lib.stride_tricks.sliding_window_view(a, 3, axis=1), lambda a: a.unfold(1, 3, 1), real(2, 6)
)
case("convolve", lambda a, v: np.convolve(a, v), lambda a, v: F.conv1d(
    a[None, None], v.flip(0)[None, None], padding=len(v) - 1)[0, 0], real(7), real(3), second=True)  # fmt: skip
case(
    "ldexp",
    lambda a: np.ldexp(a, np.array([1, -2, 3])),
    lambda a: torch.ldexp(a, torch.tensor([1.0, -2.0, 3.0])),
    real(2, 3),
)
case("frexp", lambda a: np.frexp(a)[0], lambda a: torch.frexp(a)[0], real(2, 3))

# float32 keeps 24 bits, 1.2e-7; a sum of a few terms of both signs, in another order, loses up to some tens of them.
# `loose` is for functions whose float32 kernels differ by more in NumPy and in PyTorch (tan near π/2, cancellation).
TOLERANCE: dict[Any, float] = {np.float64: 1e-10, np.float32: 5e-6}
every_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])


def close(ours: Any, theirs: Any, tolerance: float, what: str) -> None:
    """Equal shapes and dtypes, and values to a tolerance that is relative to each array's size, too."""
    ours, theirs = ours.numpy(), theirs.detach().numpy()
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), what
    scale = float(np.abs(theirs).max(initial=0.0))
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * scale, err_msg=what)


def as_list(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def weighted(outputs: list[Any], weights: list[Any], make: Callable[[Any], Any]) -> Any:
    return sum((y * make(w)).sum() for y, w in zip(outputs, weights, strict=True))


def agree(ours: Any, theirs: Any, arrays: list[Any], tolerance: float, second: bool = False) -> None:
    """Values and gradients of `Σ weights · outputs`, with random weights; and the gradients of those gradients."""
    rng = np.random.default_rng(5)
    mine = [mg.Tensor(a.copy(), requires_grad=True) for a in arrays]
    torchs = [torch.tensor(a, requires_grad=True) for a in arrays]
    outputs, expected = as_list(ours(*mine)), as_list(theirs(*torchs))
    for order in range(1, 3 if second else 2):
        for k, (y, t) in enumerate(zip(outputs, expected, strict=True)):
            close(y, t, tolerance, f"output {k} of order {order}")
        weights = [np.asarray(rng.standard_normal(tuple(t.shape))).astype(arrays[0].dtype) for t in expected]
        for x in mine:
            x.grad = None
        weighted(outputs, weights, mg.tensor).backward(create_graph=second)
        outputs = [mg.zeros_like(x) if x.grad is None else x.grad for x in mine]
        loss = weighted(expected, weights, torch.tensor)
        expected = list(torch.autograd.grad(loss, torchs, create_graph=second, materialize_grads=True))
    for k, (x, g) in enumerate(zip(outputs, expected, strict=True)):
        close(x, g, tolerance, f"gradient {k}")


@every_dtype
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_values_and_gradients(case: Case, dtype: Any) -> None:
    loose = case.loose if dtype is np.float32 else 1.0
    agree(case.ours, case.theirs, case.arrays(dtype), TOLERANCE[dtype] * loose)


@pytest.mark.parametrize("case", [c for c in CASES if c.second], ids=lambda c: c.name)
def test_second_derivatives(case: Case) -> None:
    agree(case.ours, case.theirs, case.arrays(np.float64), TOLERANCE[np.float64], second=True)


# ---- cells -------------------------------------------------------------------------------------------------------


@mg.fuse
def lstm_gates(z: Any, c: Any) -> Any:
    i, f, g, o = np.split(z, 4, axis=-1)
    c = mg.sigmoid(f) * c + mg.sigmoid(i) * np.tanh(g)
    return mg.sigmoid(o) * np.tanh(c), c


def rnn_step(x: Any, h: Any, u: Any, w: Any, a: Any, b: Any) -> Any:
    return np.tanh(x @ u.T + a + h @ w.T + b)


def lstm_step(x: Any, h: Any, u: Any, w: Any, a: Any, b: Any) -> Any:
    return np.stack(lstm_gates(x @ u.T + a + h[0] @ w.T + b, h[1]))


def gru_step(x: Any, h: Any, u: Any, w: Any, a: Any, b: Any) -> Any:
    (rx, zx, nx), (rh, zh, nh) = np.split(x @ u.T + a, 3, axis=-1), np.split(h @ w.T + b, 3, axis=-1)
    z = mg.sigmoid(zx + zh)
    return (1 - z) * np.tanh(nx + mg.sigmoid(rx + rh) * nh) + z * h


STEPS: dict[str, tuple[Any, Any, int, tuple[int, ...]]] = {
    "rnn": (rnn_step, torch.rnn_tanh_cell, 1, (2, 3)), "gru": (gru_step, torch.gru_cell, 3, (2, 3)),
    "lstm": (lstm_step, lambda x, h, *p: torch.stack(torch.lstm_cell(x, (h[0], h[1]), *p)), 4, (2, 2, 3)),
}  # fmt: skip


@every_dtype
@pytest.mark.parametrize("cell", STEPS)
def test_cells_unrolled_over_five_steps(cell: str, dtype: Any) -> None:
    ours, theirs, gates, state = STEPS[cell]

    def unrolled(step: Any, stack: Any) -> Any:
        def run(xs: Any, h: Any, *parameters: Any) -> Any:
            states = []
            for k in range(5):
                h = step(xs[k], h, *parameters)
                states.append(h)
            return stack(states)

        return run

    n = gates * 3
    arrays = [np.random.default_rng(k).standard_normal(s).astype(dtype) * 0.7
              for k, s in enumerate([(5, 2, 4), state, (n, 4), (n, 3), (n,), (n,)])]  # fmt: skip
    agree(unrolled(ours, np.stack), unrolled(theirs, torch.stack), arrays, TOLERANCE[dtype], dtype is np.float64)


# ---- shared memory -----------------------------------------------------------------------------------------------


def test_dlpack_shares_memory_both_ways() -> None:
    theirs = torch.arange(6.0).reshape(2, 3)
    ours = mg.from_dlpack(theirs)
    theirs[0, 1] = 10
    assert (ours.tolist(), ours.dtype, ours.device) == ([[0, 10, 2], [3, 4, 5]], np.float32, "cpu")
    x = mg.tensor([1.0, 2.0, 3.0])
    seen = torch.from_dlpack(x)
    seen[1] = 7
    assert x.tolist() == [1, 7, 3]
    x.requires_grad = True
    with pytest.raises(BufferError, match="requires grad"):
        torch.from_dlpack(x)
    assert torch.equal(torch.from_dlpack(x.detach()), seen)

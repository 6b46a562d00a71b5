"""Activation functions, softmax and its relatives, against formulas in NumPy."""

from __future__ import annotations

import math

import numpy as np

import minigrad as mg

from .cases import case, real, unary


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x, axis=-1):
    e = np.exp(x)
    return e / np.sum(e, axis=axis, keepdims=True)


def logsumexp(x, axis=None, keepdims=False):
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


def erf(x):
    return np.vectorize(math.erf, otypes=[np.float64])(x).astype(x.dtype)


def gelu(x):
    return x * (1 + erf(x / math.sqrt(2))) / 2


def hard_tanh(x, min_val=-1.0, max_val=1.0):
    return np.clip(x, min_val, max_val)


unary("sigmoid", mg.sigmoid, expected=sigmoid)
unary("softplus", mg.softplus, expected=lambda x: np.log(1 + np.exp(x)))
case("softplus", mg.softplus, real(2, 3), beta=2.5, expected=lambda x, beta: np.log(1 + np.exp(beta * x)) / beta)
unary("silu", mg.silu, expected=lambda x: x * sigmoid(x))
unary("relu", mg.relu, expected=lambda x: np.maximum(x, 0))
unary("leaky_relu", mg.leaky_relu, expected=lambda x: np.where(x > 0, x, 0.01 * x))
case("leaky_relu", mg.leaky_relu, real(4), negative_slope=0.3,
     expected=lambda x, negative_slope: np.where(x > 0, x, negative_slope * x))  # fmt: skip
unary("elu", mg.elu, expected=lambda x: np.where(x > 0, x, np.exp(x) - 1))
case("elu", mg.elu, real(4), alpha=0.7, expected=lambda x, alpha: np.where(x > 0, x, alpha * (np.exp(x) - 1)))
unary("erf", mg.erf, expected=erf)
case("erf", lambda x: mg.erf(3 * x), real(20), expected=lambda x: erf(3 * x))
unary("gelu", mg.gelu, expected=gelu)
case("gelu", mg.gelu, real(2, 3), approximate="tanh",
     expected=lambda x, approximate: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2)  # fmt: skip
unary("hard_tanh", mg.hard_tanh, expected=hard_tanh)
case("hard_tanh", mg.hard_tanh, real(2, 3), min_val=-0.5, max_val=0.25, expected=hard_tanh)
unary("hard_sigmoid", lambda x: mg.hard_sigmoid(2 * x), expected=lambda x: np.clip(2 * x + 3, 0, 6) / 6)

for shape in [(3,), (2, 3), (2, 0, 3), (0, 3), (2, 1, 3, 2)]:
    case("softmax", mg.softmax, real(*shape), expected=softmax)
    case("log_softmax", mg.log_softmax, real(*shape), expected=lambda x: np.log(softmax(x)))
    case("logsumexp", mg.logsumexp, real(*shape), expected=logsumexp, axis=-1)
for axis in (0, -2, (0, 2), None):
    case("softmax", mg.softmax, real(2, 3, 4), axis=axis, expected=softmax)
    case("log_softmax", mg.log_softmax, real(2, 3, 4), axis=axis, expected=lambda x, axis: np.log(softmax(x, axis)))
    case("logsumexp", mg.logsumexp, real(2, 3, 4), axis=axis, expected=logsumexp)
    case("logsumexp", mg.logsumexp, real(2, 3, 4), axis=axis, keepdims=True, expected=logsumexp)
case("logsumexp", mg.logsumexp, real(), expected=logsumexp)
case("softmax", mg.softmax, real(3, 0), expected=softmax)
case("log_softmax", mg.log_softmax, real(3, 0), expected=lambda x: x)

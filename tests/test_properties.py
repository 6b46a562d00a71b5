"""Laws that hold for all shapes, indices and subscripts, tried on random ones."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
from minigrad.trees import flatten

steady = settings(deadline=None, derandomize=True, max_examples=120)

Shape = tuple[int, ...]
shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
solid = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4)  # with an axis, and no axis empty


def numbers(shape: Shape, seed: int = 0) -> Any:
    return np.asarray(np.random.default_rng([seed, *shape]).standard_normal(shape))


def leaf(shape: Shape, seed: int = 0) -> mg.Tensor:
    return mg.Tensor(numbers(shape, seed), requires_grad=True)


def summed_to(array: Any, shape: Shape) -> Any:
    """The sum over the axes along which `shape` was broadcast, one element after the other."""
    total = np.zeros(shape)
    for index in np.ndindex(*array.shape):
        tail = index[len(index) - len(shape) :]
        total[tuple(0 if n == 1 else i for i, n in zip(tail, shape, strict=True))] += array[index]
    return total


def scattered(index: Any, weights: Any, shape: Shape) -> Any:
    total = np.zeros(shape)
    np.add.at(total, index, weights)
    return total


# ---- broadcasting and sums ---------------------------------------------------------------------------------------


@steady
@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=3))
def test_the_gradient_of_a_product_is_the_other_operand_summed(broadcast: Any) -> None:
    a_shape, b_shape = broadcast.input_shapes
    a, b = leaf(a_shape), leaf(b_shape, 1)
    y = a * b
    assert y.shape == broadcast.result_shape
    y.sum().backward()
    for x, other in ((a, b), (b, a)):
        assert x.grad.shape == x.shape
        expected = summed_to(np.broadcast_to(other.numpy(), y.shape), x.shape)
        np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-12, atol=1e-12)


@steady
@given(st.data(), shapes, st.booleans())
def test_sums_means_and_extremes_over_any_axes(data: st.DataObject, shape: Shape, keepdims: bool) -> None:
    axes = (
        data.draw(st.none() | st.lists(st.sampled_from(range(len(shape))), unique=True).map(tuple)) if shape else None
    )
    if axes is not None:
        axes = tuple(k - len(shape) if data.draw(st.booleans()) else k for k in axes)
    everything = tuple(range(len(shape))) if axes is None else tuple(k % len(shape) for k in axes)
    x = leaf(shape)
    y = np.sum(x, axis=axes, keepdims=keepdims)
    expected = np.sum(x.numpy(), axis=axes, keepdims=keepdims)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-14, atol=1e-14)
    w = numbers(y.shape, 2)
    y.backward(w)
    wide = np.broadcast_to(w if keepdims else np.expand_dims(w, everything), shape)
    np.testing.assert_array_equal(x.grad.numpy(), wide)
    if x.size:
        x.grad = None
        np.mean(x, axis=axes, keepdims=keepdims).backward(w)
        count = int(np.prod([shape[k] for k in everything]))
        np.testing.assert_allclose(x.grad.numpy(), wide / count, rtol=1e-14)
        x.grad = None
        np.max(x, axis=axes, keepdims=keepdims).backward(w)
        wins = x.numpy() == np.max(x.numpy(), axis=axes, keepdims=True)
        np.testing.assert_array_equal(x.grad.numpy(), np.where(wins, wide, 0.0))


# ---- other shapes, and back --------------------------------------------------------------------------------------


@steady
@given(st.data(), shapes)
def test_reshape_and_transpose_and_back(data: st.DataObject, shape: Shape) -> None:
    axes = tuple(data.draw(st.permutations(range(len(shape)))))
    x = leaf(shape)
    y = np.reshape(np.transpose(x, axes), (-1,)) if x.size else np.ravel(np.transpose(x, axes))
    np.testing.assert_array_equal(y.numpy(), x.numpy().transpose(axes).reshape(-1))
    back = np.transpose(np.reshape(y, tuple(shape[k] for k in axes)), tuple(np.argsort(axes).tolist()))
    np.testing.assert_array_equal(back.numpy(), x.numpy())
    w = numbers((x.size,), 1)
    y.backward(w, retain_graph=True)
    order = np.arange(x.size).reshape(shape).transpose(axes).reshape(-1)
    np.testing.assert_array_equal(x.grad.numpy(), scattered(order, w, (x.size,)).reshape(shape))
    x.grad = None
    back.backward(numbers(shape, 2))
    np.testing.assert_array_equal(x.grad.numpy(), numbers(shape, 2))


@steady
@given(st.data(), solid)
def test_split_and_concatenate_and_back(data: st.DataObject, shape: Shape) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    n = shape[axis]
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=4)))
    x = leaf(shape)
    parts = np.split(x, cuts, axis=axis)
    for ours, theirs in zip(parts, np.split(x.numpy(), cuts, axis=axis), strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs)
    whole = np.concatenate(parts, axis=axis)
    np.testing.assert_array_equal(whole.numpy(), x.numpy())
    w = numbers(shape, 1)
    whole.backward(w, retain_graph=True)
    np.testing.assert_array_equal(x.grad.numpy(), w)
    chosen = data.draw(st.integers(0, len(parts) - 1))  # one part alone: zeros elsewhere
    x.grad = None
    parts[chosen].sum().backward()
    index = [slice(None)] * len(shape)
    index[axis] = slice([0, *cuts][chosen], [*cuts, n][chosen])
    np.testing.assert_array_equal(x.grad.numpy(), scattered(tuple(index), 1.0, shape))


@steady
@given(st.data(), solid)
def test_unstack_and_stack_and_back(data: st.DataObject, shape: Shape) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = leaf(shape)
    parts = mg.unstack(x, axis=axis)
    assert len(parts) == shape[axis]
    order = data.draw(st.permutations(range(len(parts))))
    y = np.stack([parts[k] for k in order], axis=axis)
    np.testing.assert_array_equal(y.numpy(), np.take(x.numpy(), order, axis=axis))
    w = numbers(shape, 1)
    y.backward(w)
    np.testing.assert_array_equal(x.grad.numpy(), np.take(w, np.argsort(order), axis=axis))


# ---- indexing ----------------------------------------------------------------------------------------------------


@st.composite
def indices(draw: st.DrawFn, shape: Shape) -> Any:
    """Numbers, slices of any step, None, one ellipsis, integer arrays that broadcast, and a boolean one."""
    common = draw(st.sampled_from([(), (1,), (3,), (2, 3)]))
    parts: list[Any] = []
    k = 0
    skipped = False
    while k < len(shape):
        n = shape[k]
        kinds = ["number", "slice", "array", "none", "list"]
        if not skipped:
            kinds.append("ellipsis")
        if not any(isinstance(p, np.ndarray) and p.dtype == bool for p in parts) and common in ((), (1,)):
            kinds += ["boolean"]
        kind = draw(st.sampled_from(kinds))
        if kind == "none":
            parts.append(None)
            if len(parts) > 8:
                break
            continue
        if kind == "ellipsis":
            skipped = True
            parts.append(Ellipsis)
            k += draw(st.integers(0, len(shape) - k))
            continue
        if kind == "number":
            parts.append(draw(st.integers(-n, n - 1)))
        elif kind == "slice":
            parts.append(draw(st.slices(n)))
        elif kind == "boolean":
            parts.append(np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n))))
        elif kind == "list":
            parts.append(draw(st.integers(-n, n - 1)) if common == () else [draw(st.integers(-n, n - 1))])
        else:
            parts.append(draw(hnp.arrays(np.int64, common, elements=st.integers(-n, n - 1))))
        k += 1
        if draw(st.integers(0, 4)) == 0:
            break
    return tuple(parts) if len(parts) != 1 or draw(st.booleans()) else parts[0]


@settings(steady, max_examples=400)
@given(st.data(), solid)
def test_indexing_and_its_gradient(data: st.DataObject, shape: Shape) -> None:
    index = data.draw(indices(shape))
    x = leaf(shape)
    try:
        expected = x.numpy()[index]
    except IndexError:  # a boolean array beside others that it does not broadcast with: refused here, too
        with np.testing.assert_raises(IndexError):
            x[index]
        return
    y = x[index]
    assert isinstance(y, mg.Tensor)
    assert y.shape == np.shape(expected)
    np.testing.assert_array_equal(y.numpy(), expected)
    w = numbers(y.shape, 1)
    y.backward(w)
    np.testing.assert_allclose(x.grad.numpy(), scattered(index, w, shape), rtol=1e-14, atol=1e-14)
    recorded = mg.vjp(lambda t: t[index] * t[index], x)[1](mg.Tensor(w))  # and where gradients are recorded
    np.testing.assert_allclose(
        (recorded[0] if isinstance(recorded, tuple) else recorded).numpy(),
        scattered(index, 2 * w * expected, shape),
        rtol=1e-13,
        atol=1e-13,
    )


@steady
@given(st.data(), hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
def test_a_boolean_mask_of_several_axes(data: st.DataObject, shape: Shape) -> None:
    axes = data.draw(st.integers(1, len(shape)))
    chosen = data.draw(hnp.arrays(bool, shape[:axes]))
    x = leaf(shape)
    y = x[chosen]
    np.testing.assert_array_equal(y.numpy(), x.numpy()[chosen])
    w = numbers(y.shape, 1)
    y.backward(w)
    np.testing.assert_array_equal(x.grad.numpy(), scattered(chosen, w, shape))


# ---- einsum ------------------------------------------------------------------------------------------------------


class Einsum(NamedTuple):
    subscripts: str
    shapes: list[Shape]


@st.composite
def einsums(draw: st.DrawFn) -> Einsum:
    """One to three operands, also with a letter twice; any letters in the result, or none said."""
    sizes = {letter: draw(st.integers(1, 3)) for letter in "abcd"}
    terms = draw(st.lists(st.text("abcd", max_size=3), min_size=1, max_size=3))
    used = sorted(set("".join(terms)))
    result = "".join(draw(st.permutations(draw(st.lists(st.sampled_from(used), unique=True))))) if used else ""
    ellipsis = draw(st.sampled_from([(), (2,), (2, 1)]))
    with_ellipsis = [draw(st.booleans()) for _ in terms] if ellipsis else [False] * len(terms)
    written = ["..." + t if e else t for t, e in zip(terms, with_ellipsis, strict=True)]
    shapes = [
        (ellipsis if e else ()) + tuple(sizes[letter] for letter in t)
        for t, e in zip(terms, with_ellipsis, strict=True)
    ]
    arrow = "->" + ("..." if any(with_ellipsis) else "") + result if draw(st.integers(0, 3)) else ""
    return Einsum(",".join(written) + arrow, shapes)


@settings(steady, max_examples=250)
@given(einsums())
def test_einsum(drawn: Einsum) -> None:
    operands = [leaf(shape, k) for k, shape in enumerate(drawn.shapes)]
    y = np.einsum(drawn.subscripts, *operands)
    expected = np.einsum(drawn.subscripts, *[x.numpy() for x in operands])
    assert y.shape == np.shape(expected)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12, atol=1e-12)
    assert mg.gradcheck(lambda *a: np.einsum(drawn.subscripts, *a), tuple(operands), directions=1)


@settings(steady, max_examples=40)
@given(einsums())
def test_einsum_twice(drawn: Einsum) -> None:
    operands = tuple(leaf(shape, k) for k, shape in enumerate(drawn.shapes))
    assert mg.gradgradcheck(lambda *a: np.einsum(drawn.subscripts, *a), operands, directions=1)


# ---- trees -------------------------------------------------------------------------------------------------------


class Pair(NamedTuple):
    first: Any
    second: Any


trees = st.recursive(
    st.integers() | st.none() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
        | st.builds(Pair, inner, inner)
    ),
    max_leaves=12,
)


def same(a: Any, b: Any) -> bool:
    """Equal, also in type at every level and in the order of keys."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@steady
@given(trees)
def test_trees_are_flattened_and_rebuilt(tree: Any) -> None:
    leaves, rebuild = flatten(tree)
    assert same(rebuild(leaves), tree)
    assert not any(isinstance(leaf, dict | list | tuple) for leaf in leaves)
    numbered = rebuild(list(range(len(leaves))))
    assert flatten(numbered)[0] == list(range(len(leaves)))

"""Every operation of the vocabulary: values, first and second derivatives, dtypes, memory layouts, devices.

The cases are the lines of the tables in `operations/`. One test asks all questions of a case: each costs less than the
start of a test of its own would.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from operations import CASES, Case
from places import PLACES

import minigrad as mg
from minigrad import vocabulary
from minigrad.trees import flatten

NUMPY, *DEVICES = PLACES
FIRST = {case.entry: case for case in reversed(CASES)}  # of each entry


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_operation(case: Case) -> None:
    values_are_numpys(case)
    values_on_arrays_are_those_on_tensors(case)
    expected = gradients(case, NUMPY)  # their shapes, dtypes and devices
    gradient_is_that_of_differences(case)
    if not case.second:
        gradient_does_not_vary(case)
    elif case.entry in vocabulary.PRIMITIVES or case is FIRST[case.entry]:  # what is composed has no formula of its own
        second_derivative_is_that_of_differences(case)
    plain_path_agrees(case, expected)
    for layout in (fortran, strided):
        memory_layout_does_not_matter(case, layout, expected)
    dtypes_are_numpys(case, np.float32, 2e-6)
    if case.half:
        dtypes_are_numpys(case, np.float16, 1e-2)
    for device in DEVICES:
        everything_stays_on_the_device(case, device, expected)


def given(case: Case, place: Any, *dtypes: Any, layout: Any = None) -> list[Any]:
    """The inputs of a case: floats as Tensors that require grad, integers and booleans as plain arrays."""
    drawn = case.arrays(*dtypes)
    arrays = [place.array(a) for a in drawn] if layout is None else [layout(a) for a in drawn]
    return [mg.Tensor(a, requires_grad=True) if a.dtype.kind == "f" else a for a in arrays]


def tensors(value: Any) -> list[mg.Tensor]:
    return [v for v in flatten(value)[0] if isinstance(v, mg.Tensor)]


def seeds(outputs: list[mg.Tensor]) -> list[Any]:
    """A gradient for each output, the same at every call."""
    rng = np.random.default_rng(7)
    return [rng.uniform(0.5, 1.5, o.shape) * rng.choice([-1.0, 1.0], o.shape) for o in outputs]


def pull(outputs: list[mg.Tensor], place: Any, **options: Any) -> None:
    """Send a gradient back from every output."""
    for o, seed in zip(outputs, seeds(outputs), strict=True):
        if o.requires_grad:
            o.backward(place.array(seed, o.dtype), retain_graph=True, **options)


def gradients(case: Case, place: Any, *dtypes: Any) -> list[Any]:
    """The gradients of a case's inputs, as NumPy arrays."""
    inputs = given(case, place, *dtypes)
    pull(tensors(case.call(*inputs)), place)
    found = []
    for x in inputs:
        if isinstance(x, mg.Tensor):
            assert x.grad is not None, "an input got no gradient"
            assert (x.grad.shape, x.grad.dtype, x.grad.device) == (x.shape, x.dtype, x.device)
            found.append(place.numpy(x.grad))
    return found


# ---- values ------------------------------------------------------------------------------------------------------


def same(actual: Any, expected: Any) -> None:
    """Two nested results: the same structure, dtypes, shapes, and values up to the rounding of another formula."""
    rtol = 1e-13
    ours, theirs = flatten(actual)[0], flatten(expected)[0]
    assert len(ours) == len(theirs)
    for a, e in zip(ours, theirs, strict=True):
        a, e = np.asarray(a.data if isinstance(a, mg.Tensor) else a), np.asarray(e)
        assert (a.shape, a.dtype) == (e.shape, e.dtype)
        np.testing.assert_allclose(a, e, rtol=rtol, atol=rtol * float(np.max(np.abs(e), initial=0)))


def values_are_numpys(case: Case) -> None:
    result = case.call(*given(case, NUMPY))
    assert tensors(result), "the result is no Tensor"
    same(result, case.expected(*case.arrays()))


def values_on_arrays_are_those_on_tensors(case: Case) -> None:
    """Rules call each other on plain arrays."""
    same(case.call(*case.arrays()), case.expected(*case.arrays()))


# ---- derivatives -------------------------------------------------------------------------------------------------


def gradient_is_that_of_differences(case: Case) -> None:
    mg.gradcheck(case.call, tuple(given(case, NUMPY)))


def second_derivative_is_that_of_differences(case: Case) -> None:
    mg.gradgradcheck(case.call, tuple(given(case, NUMPY)))


def gradient_does_not_vary(case: Case) -> None:
    inputs = given(case, NUMPY)
    pull(tensors(case.call(*inputs)), NUMPY, create_graph=True)
    assert not any(x.grad.requires_grad for x in inputs if isinstance(x, mg.Tensor))


def near(found: list[Any], expected: list[Any], rtol: float = 1e-12, atol: float = 1e-13) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def plain_path_agrees(case: Case, expected: list[Any]) -> None:
    with mg.plain_path():
        near(gradients(case, NUMPY), expected)


# ---- memory layouts ----------------------------------------------------------------------------------------------


def fortran(array: Any) -> Any:
    """Columns first."""
    return array.copy(order="F")


def strided(array: Any) -> Any:
    """Every second element of a larger array, along each axis, stored from end to start."""
    larger = np.full([2 * n for n in array.shape], 77).astype(array.dtype)
    part = larger[(..., *[slice(None, None, -2)] * array.ndim)]
    part[...] = array
    return part


def memory_layout_does_not_matter(case: Case, layout: Any, expected: list[Any]) -> None:
    inputs = given(case, NUMPY, layout=layout)
    outputs = tensors(case.call(*inputs))
    for o, seed in zip(outputs, seeds(outputs), strict=True):
        if o.requires_grad:
            o.backward(layout(seed), retain_graph=True)
    near([x.grad.data for x in inputs if isinstance(x, mg.Tensor)], expected)


# ---- dtypes ------------------------------------------------------------------------------------------------------


def dtypes_are_numpys(case: Case, dtype: Any, tolerance: float) -> None:
    """Result dtypes are NumPy's; gradients have their tensor's dtype, and float64's values up to rounding."""
    ours = [v.dtype for v in flatten(case.call(*given(case, NUMPY, dtype)))[0]]
    theirs = [np.asarray(v).dtype for v in flatten(case.expected(*case.arrays(dtype)))[0]]
    assert ours == theirs
    for low, high in zip(gradients(case, NUMPY, dtype), gradients(case, NUMPY, dtype, np.float64), strict=True):
        scale = float(np.max(np.abs(high), initial=0.0))
        np.testing.assert_allclose(low, high, rtol=0, atol=tolerance * max(scale, 1e-3))


# ---- devices -----------------------------------------------------------------------------------------------------


def everything_stays_on_the_device(case: Case, device: Any, expected: list[Any]) -> None:
    """Forward, backward, and backward of backward where the inputs are, with the numbers that NumPy gives."""

    def run(place: Any) -> list[Any]:
        inputs = given(case, place)
        outputs = tensors(case.call(*inputs))
        pull(outputs, place, create_graph=True)
        floats = [x for x in inputs if isinstance(x, mg.Tensor)]
        first = [x.grad for x in floats]
        for x in floats:
            x.grad = None
        pull([g for g in first if g.requires_grad], place)
        results = [*outputs, *first, *[x.grad for x in floats if x.grad is not None]]
        return [place.numpy(r) for r in results]

    near(run(device), run(NUMPY), rtol=1e-9, atol=1e-12)
    near(gradients(case, device), expected, rtol=1e-9, atol=1e-12)


# ---- the table is complete ---------------------------------------------------------------------------------------


def code_that_ran() -> set[Any]:
    """The code objects of all functions that the cases call, forward and backward."""
    seen: set[Any] = set()

    def note(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            seen.add(frame.f_code)

    outer = sys.getprofile()
    sys.setprofile(note)
    try:
        for case in CASES:
            for dtype in (np.float64, np.float32):  # a cast to float64 is none for float64
                pull(tensors(case.call(*given(case, NUMPY, dtype))), NUMPY)
    finally:
        sys.setprofile(outer)
    return seen


def test_every_entry_of_the_vocabulary_has_a_case() -> None:
    named = {case.entry for case in CASES}
    entries = set(vocabulary.PRIMITIVES) | set(vocabulary.COMPOSED)
    elsewhere = {"checkpoint"}  # not an operation on arrays: see the tests of checkpointing
    assert not entries - named - elsewhere
    assert not named - entries, "a case names what is not in the vocabulary"


def test_the_cases_run_every_formula() -> None:
    """Naming an entry is not enough: its code, and the formula of each of its operands, must run."""
    ran = code_that_ran()
    idle = [name for name, function in vocabulary.COMPOSED.items() if function.__code__ not in ran]
    for name, primitive in vocabulary.PRIMITIVES.items():
        for formula in primitive.pulls if name != "checkpoint" else []:
            if formula.formula.__code__ not in ran:
                idle.append(f"{name}: the formula of {formula.name}")
    assert not idle

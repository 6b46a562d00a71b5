"""Bad input: each a clear error of a fitting type, with operation, shapes, scope and line."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg


def t(*shape: int, grad: bool = True) -> mg.Tensor:
    return mg.tensor(np.ones(shape), requires_grad=grad)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: t(2, 3) @ t(2, 3), ValueError, r"matmul: .*float64 \(2, 3\) and float64 \(2, 3\)"),
        (lambda: t(2, 3) + t(2), ValueError, r"add: .*\(2, 3\) and float64 \(2,\)"),
        (lambda: t(2, 3).sum(axis=2), np.exceptions.AxisError, r"sum: axis 2 is out of bounds.*\(2, 3\)"),
        (lambda: t(2, 3).reshape(4, 2), ValueError, r"reshape: cannot reshape.*\(2, 3\)"),
        (lambda: t(2, 3)[2], IndexError, r"getitem: index 2 is out of bounds.*\(2, 3\)"),
        (lambda: t(2, 3)[0.5], IndexError, "getitem: only integers"),
        (lambda: t(2, 3)[np.array([0.5])], IndexError, "integers or booleans, not float64"),
        (lambda: np.split(t(4, 3), 3), ValueError, r"axis 0 of shape \(4, 3\) does not divide into 3"),
        (lambda: np.concatenate([t(2, 3), t(2, 2)]), ValueError, r"concatenate: .*\(2, 3\) and float64 \(2, 2\)"),
        (lambda: np.stack([t(2), t(3)]), ValueError, "stack: "),
        (lambda: np.einsum("ij,jk", t(2, 3), t(2, 3)), ValueError, "einsum: "),
        (lambda: np.einsum("ij,jk", t(2, 3)), ValueError, "einsum: 2 sets of labels"),
        (lambda: np.einsum("ijk", t(2, 3)), ValueError, "names 3 axes of operand 0, which has 2"),
        (lambda: np.tensordot(t(2, 3), t(2, 3), 1), ValueError, "tensordot: axes"),
        (lambda: np.transpose(t(2, 3), (0,)), ValueError, r"1 axes \(0,\) given.*\(2, 3\)"),
        (lambda: t(2, 3).swapaxes(0, 2), np.exceptions.AxisError, r"swapaxes: .*\(2, 3\)"),
        (lambda: np.linalg.inv(t(2, 3)), np.linalg.LinAlgError, "inv: .*square"),
        (lambda: np.linalg.inv(t(2, 2)), np.linalg.LinAlgError, "inv: Singular"),
        (lambda: mg.embedding(t(5, 2), [0, 5]), IndexError, "embedding: index 5 is out of range for 5 rows"),
        (lambda: mg.embedding(t(5, 2), [-1]), IndexError, "embedding: index -1"),
        (lambda: mg.embedding(t(5, 2), [0.5]), TypeError, "ids must be integers"),
        (lambda: t(2).backward(), RuntimeError, r"shape \(2,\) is not a scalar; reduce it.*gradient"),
        (lambda: t(2).backward(np.ones(3)), ValueError, r"the gradient has shape \(3,\), the tensor \(2,\)"),
        (lambda: t(2, grad=False).sum().backward(), RuntimeError, "does not require grad"),
        (lambda: mg.tensor([1, 2]).sum().backward(), TypeError, "dtype int64 has no gradient"),
        (lambda: mg.tensor([1, 2], requires_grad=True), TypeError, "only tensors of floats can require grad"),
        (lambda: mg.grad(lambda x: x.sum())(mg.tensor([1, 2])), TypeError, "cannot differentiate by.*int64"),
        (lambda: mg.grad(lambda x: x)(t(2)), TypeError, r"must return a scalar tensor, it returned shape \(2,\)"),
        (lambda: mg.grad(lambda x: x.sum(), 1)(t(2)), IndexError, "argnums=1.*1 arguments"),
        (lambda: mg.jvp(np.sin, t(2), np.ones(3)), ValueError, r"tangents of shapes \[\(3,\)\]"),
        (lambda: mg.tensor("abc"), TypeError, "floats, integers or booleans"),
        (lambda: mg.tensor([[1.0], [1.0, 2.0]]), ValueError, "tensor: cannot make an array"),
        (lambda: mg.tensor([t(2), t(2)]), TypeError, "np.stack"),
        (lambda: mg.tensor(1 + 2j), TypeError, "not complex128"),
        (lambda: mg.Tensor([1.0]), TypeError, r"mg\.tensor"),
        (lambda: t(2).astype("complex64"), TypeError, "not complex64"),
        (lambda: mg.set_default_dtype("int32"), TypeError, "must be a float"),
        (lambda: mg.manual_seed(-1), ValueError, "not negative"),
        (lambda: mg.zeros(2, device="tpu"), mg.DeviceError, "no device 'tpu'"),
        (lambda: t(2).to(np.float32), TypeError, "use astype for dtypes"),  # type: ignore[arg-type]
        (lambda: t(2).item(), ValueError, "2 elements"),
        (lambda: len(t()), TypeError, "without axes"),
        (lambda: list(t()), TypeError, "without axes"),
        (lambda: t(2).mT, ValueError, "mT needs two axes"),
        (lambda: np.asarray(t(2)), TypeError, "x.detach"),
        (lambda: t(2).detach().retain_grad(), RuntimeError, "does not require grad"),
        (lambda: t(2).detach().register_hook(print), RuntimeError, "does not require grad"),
        (lambda: mg.unstack(t(2), axis=1), np.exceptions.AxisError, "unstack: axis 1 is out of bounds"),
        (lambda: np.fft.fft(t(2)), TypeError, r"^np\.fft\.fft gives complex numbers.*np\.cos.*detach"),
        (lambda: copy.deepcopy(t(2) * 2), RuntimeError, "only leaf"),
    ],
)
def test_message(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=f"(?s){message}"):
        call()


def test_shape_errors_name_the_scope() -> None:
    with mg.scope("decoder"), pytest.raises(ValueError, match=r"add: .* in decoder t=4"):
        for step, _ in mg.steps(range(9)):
            if step == 4:
                t(2) + t(3)
            t(2) + t(2)


def test_a_second_backward_says_how_to_carry_a_state() -> None:
    w = t(2, 2)
    state = t(1, 2, grad=False)
    with pytest.raises(RuntimeError) as caught, mg.scope("lstm"):
        for _ in range(2):
            for _, _ in mg.steps(range(3)):
                state = np.tanh(state @ w)  # the line that the message shows
            state.sum().backward()
    message = str(caught.value)
    for part in ("tanh", "in lstm t=2", "test_errors.py", "state = np.tanh(state @ w)", "detach()", "retain_graph"):
        assert part in message


def test_an_error_in_a_rule_names_the_forward_line() -> None:
    @mg.primitive(x=lambda g: g.reshape(7))
    def odd(x: Any) -> Any:
        return x * 2

    with pytest.raises(ValueError, match="reshape") as caught:
        odd(t(2)).sum().backward()
    assert any("in the gradient of odd, made at" in note for note in caught.value.__notes__)


def test_a_rule_that_gives_a_number_is_an_error() -> None:
    @mg.primitive(x=lambda g: 1.0)
    def flat(x: Any) -> Any:
        return x * 2

    with pytest.raises(TypeError, match=r"(?s)the rule of flat.*gave a Python number"):
        flat(t(2)).sum().backward()


def test_a_rule_of_the_wrong_shape_is_an_error() -> None:
    @mg.primitive(x=lambda g: g[:1])
    def short(x: Any) -> Any:
        return x * 2

    with pytest.raises(ValueError, match=r"gave a gradient of shape \(1,\) for an operand of shape \(2,\)"):
        short(t(2)).sum().backward()


def test_unknown_ufuncs_and_operands_do_not_lose_gradients() -> None:
    with pytest.raises(TypeError, match=r"np\.spacing has no rule"):
        np.spacing(t(2))
    with pytest.raises(TypeError, match=r"np\.add with where= has no rule"):
        np.add(t(2), 1, where=np.array([True, False]))
    np.spacing(t(2, grad=False))
    with mg.no_grad():
        np.spacing(t(2))

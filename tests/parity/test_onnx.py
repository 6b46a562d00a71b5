"""Exported models in onnxruntime against the models themselves, with batches of other sizes than the example's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import minigrad as mg
import nlp
import nn
from minigrad import trees

pytestmark = pytest.mark.parity
Rng = np.random.Generator
T, N, D = 7, 4, 3


def floats(rng: Rng, *shape: int) -> Any:
    return (2 * rng.standard_normal(shape)).astype(np.float32)


def compare(path: Path, model: nn.Module, *examples: Any, call: Any = "forward", **options: Any) -> Any:
    """Export with the first example, run with all of them; returns the file's model."""
    nn.export_onnx(model, path, examples[0], call=call, **options)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    function = model if call == "forward" else getattr(model, call) if isinstance(call, str) else call
    model.eval()
    for example in examples:
        args = example if type(example) is tuple else (example,)
        with mg.no_grad():
            expected = trees.flatten(function(*args))[0]
        given = [v.numpy() if isinstance(v, mg.Tensor) else v for v in trees.flatten(args)[0] if v is not None]
        names = [i.name for i in session.get_inputs()]
        outputs = session.run(None, dict(zip(names, given, strict=True)))
        expected = [v.numpy() if isinstance(v, mg.Tensor) else v for v in expected if v is not None]
        for found, wanted in zip(outputs, expected, strict=True):
            assert found.shape == wanted.shape
            assert found.dtype == wanted.dtype
            bound = 1e-5 * max(1.0, np.abs(wanted).max(initial=0)) if wanted.dtype.kind == "f" else 0
            np.testing.assert_allclose(found, wanted, rtol=0, atol=bound)
    return onnx.load(path)


def randomized(model: Any, rng: Rng) -> Any:
    """No weight is zero, as biases and running statistics are at first."""
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.dtype.kind == "f":
            tensor.data[...] = rng.uniform(0.1, 0.6, tensor.shape) * rng.choice([-1, 1], tensor.shape)
    for name, tensor in model.named_buffers():
        if name.endswith("running_var"):
            tensor.data[...] = rng.uniform(0.5, 2, tensor.shape)
    return model


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.onnx"


# ---- recurrent layers --------------------------------------------------------------------------------------------


class WithLengths(nn.Module):
    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, xs: Any, lengths: Any) -> Any:
        return self.layer(xs, lengths=lengths)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize(
    "options",
    [{}, {"num_layers": 2, "bidirectional": True}, {"batch_first": True, "bias": False}, {"learn_state": True}],
    ids=str,
)
def test_recurrent_layers(kind: Any, options: Any, rng: Rng, path: Path) -> None:
    layer = randomized(kind(D, 5, **options), rng)
    model = compare(path, layer, floats(rng, T, N, D), floats(rng, 2, 3, D), floats(rng, 1, 9, D))
    count = sum(node.op_type == kind.__name__ for node in model.graph.node)
    assert count == options.get("num_layers", 1) * (2 if "bidirectional" in options else 1)
    assert not {node.op_type for node in model.graph.node} & {"Sigmoid", "Tanh", "MatMul", "Gemm", "Loop", "Scan"}
    names = ["batch", "time"] if "batch_first" in options else ["time", "batch"]
    assert [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [*names, D]
    assert model.opset_import[0].version == 18


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}], ids=str)
def test_lengths(kind: Any, options: Any, rng: Rng, path: Path) -> None:
    layer = WithLengths(randomized(kind(D, 5, **options), rng))
    examples = [(floats(rng, T, len(n), D), np.array(n)) for n in ([7, 2, 5, 1], [3, 0, 7], [0, 0])]
    compare(path, layer, *examples)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_given_states(kind: Any, rng: Rng, path: Path) -> None:
    layer = randomized(kind(D, 5, 2, bidirectional=True), rng)

    def example(steps: int, batch: int) -> Any:
        state = tuple(mg.Tensor(floats(rng, 4, batch, 5)) for _ in range(1 + (kind is nn.LSTM)))
        return floats(rng, steps, batch, D), state if kind is nn.LSTM else state[0]

    axes = [("steps", "rows", None)] + [(None, "rows", None)] * (1 + (kind is nn.LSTM))
    compare(path, layer, example(T, N), example(2, 3), axes=axes)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.GRU(D, 5, reset_after=False),
        lambda: nn.LSTM(D, 5, peephole=True),
        lambda: nn.RNN(D, 5, nonlinearity="relu"),
        lambda: nn.Recurrent(nn.GRUCell(D, 5), reverse=True),
        lambda: nn.Bidirectional(nn.GRUCell(D, 4), nn.LSTMCell(D, 6), batch_first=True),
        lambda: nn.Stacked([nn.Bidirectional(nn.GRUCell(D, 2), nn.GRUCell(D, 2)), nn.RNNCell(4, 4)], residual=True),
        lambda: nn.Stacked([nn.LSTMCell(D, 5), nn.LSTMCell(5, 5)], dropout=0.5),
        lambda: nn.WeightDrop(nn.LSTM(D, 5), ["weight_hh_l0"]),
    ],
)
def test_layers_of_cells(make: Any, rng: Rng, path: Path) -> None:
    compare(path, randomized(make(), rng), floats(rng, T, N, D), floats(rng, 2, 5, D))


class Leaky(nn.Module):
    """A user's cell."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(D + 5, 5)

    def initial_state(self, batch: int) -> Any:
        return (mg.zeros(batch, 5),)

    def step(self, x: Any, state: Any) -> Any:
        return (0.5 * state[0] + np.tanh(self.map(np.concatenate([x, state[0]], axis=-1))),)


class Reader(nn.Module):
    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.encoder, self.out = layer, nn.Linear(5, 2)

    def forward(self, xs: Any) -> Any:
        return self.out(self.encoder(xs)[0])


def test_a_users_cell_is_named_or_unrolled(rng: Rng, path: Path) -> None:
    for cell in (
        Leaky(),
        nn.LSTMCell(D, 5, layer_norm=True),
        nn.LSTMCell(D, 5, coupled=True),
        nn.GRUCell(D, 5, zoneout=0.1),
    ):
        reader = randomized(Reader(nn.Recurrent(cell)), rng)
        name = type(cell).__name__
        with pytest.raises(
            RuntimeError, match=rf"export_onnx: encoder \(Recurrent\) is a loop with the cell {name}, and ONNX"
        ):
            nn.export_onnx(reader, path, floats(rng, T, N, D))
        assert not path.exists()
        compare(path, reader, floats(rng, T, N, D), floats(rng, T, 9, D), axes=[(None, "batch", None)])
        path.unlink()


# ---- other layers ------------------------------------------------------------------------------------------------


def test_what_stands_between_layers_is_named(rng: Rng, path: Path) -> None:
    stack = nn.Stacked([nn.GRUCell(D, 5), nn.LayerNorm(5), nn.GRUCell(5, 5)])
    with pytest.raises(
        RuntimeError, match=r"encoder \(Stacked\) is a loop with LayerNorm between its layers, and ONNX"
    ):
        nn.export_onnx(Reader(stack), path, floats(rng, T, N, D))


def test_layers_without_time(rng: Rng, path: Path) -> None:
    model = nn.Sequential(
        nn.Embedding(20, 6), nn.LayerNorm(6), nn.Linear(6, 8), nn.GELU(), nn.Dropout(0.5), nn.RMSNorm(8),
        nn.Linear(8, 4, bias=False), nn.LogSoftmax(),
    )  # fmt: skip
    compare(path, randomized(model, rng), *(rng.integers(0, 20, shape) for shape in ((T, N), (2, 9))))
    rows = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Softmax(0), nn.Linear(4, 2))
    compare(path, randomized(rows, rng), floats(rng, 5, 3), floats(rng, 2, 3))


@pytest.mark.parametrize(
    "activation",
    [
        nn.Identity(), nn.Tanh(), nn.Sigmoid(), nn.LogSigmoid(), nn.Softplus(2.0, 1.0), nn.Hardtanh(), nn.Hardsigmoid(),
        nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(), nn.PReLU(), nn.PReLU(4), nn.ELU(0.7), nn.SiLU(), nn.GELU(),
        nn.GELU("tanh"),
        nn.Mish(), nn.GLU(), nn.Softmax(), nn.LogSoftmax(0),
    ],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations(activation: Any, dtype: Any, rng: Rng, path: Path) -> None:
    if dtype == np.float64 and repr(activation) == "GELU(approximate=none)":
        return  # onnxruntime has no Erf of float64
    activation = activation.to(dtype)
    compare(path, activation, floats(rng, 3, 4).astype(dtype), floats(rng, 8, 4).astype(dtype))


def test_windows(rng: Rng, path: Path) -> None:
    model = nn.Sequential(
        nn.Conv1d(3, 6, 3, padding="causal", dilation=2), nn.BatchNorm1d(6), nn.ReLU(), nn.MaxPool1d(3, 2, padding=1),
        nn.Conv1d(6, 6, 2, groups=3, stride=2, padding=1), nn.MaxPool1d(2, ceil_mode=True),
    )  # fmt: skip
    sizes = [(2, 3, 20), (4, 3, 31)]
    compare(path, randomized(model, rng), *(floats(rng, *s) for s in sizes), axes=[("batch", None, "time")])


@pytest.mark.parametrize("kind", ["additive", "dot", "general", "concat"])
@pytest.mark.parametrize("queries", [(), (6,)])
def test_attention(kind: str, queries: Any, rng: Rng, path: Path) -> None:
    K = 4 if kind == "dot" else 3
    layer: Any = {
        "additive": lambda: nn.AdditiveAttention(4, K, 5), "dot": lambda: nn.DotAttention(scale=True),
        "general": lambda: nn.GeneralAttention(4, K), "concat": lambda: nn.ConcatAttention(4, K, 5),
    }[kind]()  # fmt: skip

    def example(batch: int, S: int) -> Any:
        mask = rng.random((batch, S)) < 0.5
        mask[0] = False  # one that may look nowhere
        return floats(rng, batch, *queries, 4), floats(rng, batch, S, K), floats(rng, batch, S, 8), mask

    compare(path, randomized(layer, rng), example(2, 7), example(5, 9))


@pytest.mark.parametrize("mask", ["none", "causal", "lengths", "both", "padding", "attn"])
def test_several_heads(mask: str, rng: Rng, path: Path) -> None:
    layer = randomized(nn.MultiheadAttention(8, 2, batch_first=True), rng)
    calls: dict[str, Any] = {
        "none": lambda x: layer(x, x, x), "causal": lambda x: layer(x, x, x, is_causal=True),
        "lengths": lambda x, lengths: layer(x, x, x, lengths=lengths, average_attn_weights=False),
        "both": lambda x, lengths: layer(x, x, x, lengths=lengths, is_causal=True),
        "padding": lambda x, m: layer(x, x, x, key_padding_mask=m)[0],
        "attn": lambda x, m: layer(x, x, x, attn_mask=m, need_weights=False)[0],
    }  # fmt: skip

    def example(batch: int, n: int) -> Any:
        more = {
            "lengths": rng.integers(0, n + 1, batch), "both": rng.integers(0, n + 1, batch),
            "padding": rng.random((batch, n)) < 0.5, "attn": rng.random((n, n)) < 0.5,
        }  # fmt: skip
        return (floats(rng, batch, n, 8), *([more[mask]] if mask in more else []))

    compare(path, layer, example(3, 5), example(4, 7), example(2, 2), call=calls[mask])


def test_a_model_of_a_users_own(rng: Rng, path: Path) -> None:
    """Operations of all families, composed in a forward."""

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru, self.scale = nn.GRU(D, 6, bidirectional=True), nn.Parameter(floats(rng, 12))

        def forward(self, xs: Any) -> Any:
            steps, batch, _ = xs.shape
            y, h = self.gru(xs)
            y = y * self.scale + 1 / 3
            y = np.concatenate([y, np.flip(y, 0), np.broadcast_to(h[-1][None], (steps, batch, 6))], axis=-1)
            heads = np.transpose(y.reshape(steps, batch, 5, 6), (1, 2, 0, 3))  # (N, 5, T, 6)
            scores = np.einsum("nhtd,nhsd->nhts", heads, heads) / 6
            scores = np.where(np.tri(steps, dtype=bool), scores, -1e9)
            a, b = np.split(mg.softmax(scores) @ heads, 2, axis=-1)
            z = np.maximum(a, 0.1 * b).reshape(batch, -1, steps, 3)[:, ::2, 1:, -2:]
            z = np.where((z > 0.5) & (z < 2), z, np.clip(z, -1, None)) + np.std(z, axis=2, keepdims=True)
            pooled = np.stack([z.mean(axis=2), z.max(axis=2), mg.logsumexp(z, axis=2)], axis=1)
            return {"pooled": pooled.reshape(batch, -1), "last": (y[-1], np.cumsum(y, axis=0)[-1].sum())}

    model = compare(path, Own(), floats(rng, T, N, D), floats(rng, 3, 9, D))
    assert [o.name for o in model.graph.output] == ["output.pooled", "output.last.0", "output.last.1"]
    assert {"gru.weight_ih_l0", "scale"} & {i.name for i in model.graph.initializer} == {"scale"}


# ---- models of nlp -----------------------------------------------------------------------------------------------


def words(rng: Rng, lengths: list[int], size: int = 20) -> nlp.Padded:
    return nlp.Padded(rng.integers(0, size, (max(lengths), len(lengths))), np.array(lengths))


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_language_models(cell: Any, rng: Rng, path: Path) -> None:
    model = nlp.LanguageModel(20, 6, 8, 2, cell=cell, tied=True, dropout=0.5, variational=True, weight_drop=0.3)
    compare(path, model, rng.integers(0, 20, (T, N)), rng.integers(0, 20, (2, 9)))
    starts = [model.start(words(rng, lengths)) for lengths in ([3, 5, 1, 4], [2, 6])]
    compare(path, model, *((s.ids, s.state) for s in starts), call="step")


@pytest.mark.parametrize("pooling", ["last", "max", "mean"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_classifiers(pooling: Any, cell: Any, rng: Rng, path: Path) -> None:
    model = nlp.SequenceClassifier(20, 3, 6, 8, 2, cell=cell, pooling=pooling, mlp=[5], dropout=0.5)
    compare(path, model, words(rng, [6, 2, 3, 1]), words(rng, [9, 0, 5]), words(rng, [1, 2]))
    compare(path, model, rng.integers(0, 20, (T, N)), rng.integers(0, 20, (2, 9)))


def test_taggers(rng: Rng, path: Path) -> None:
    model = nlp.SequenceTagger(20, 4, 6, 8, crf=False)
    compare(path, model, words(rng, [6, 2, 3, 1]), words(rng, [9, 0, 5]))
    with_characters = nlp.SequenceTagger(20, 4, 6, 8, characters=15, character_size=5, character_hidden=6)
    spelled = nlp.models.tagger.Spelled(
        rng.integers(0, 15, (8, 11)), rng.integers(1, 8, 11), rng.integers(0, 11, (6, 4))
    )
    axes = [("time", "batch"), ("batch",), ("letters", "words"), ("words",), ("time", "batch")]
    nn.export_onnx(with_characters, path, (words(rng, [6, 2, 3, 1]), spelled), axes=axes)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    ids, lengths = words(rng, [6, 2, 3, 1])
    found = session.run(None, dict(zip([i.name for i in session.get_inputs()], [ids, lengths, *spelled], strict=True)))
    expected = with_characters.eval()(nlp.Padded(ids, lengths), spelled)
    np.testing.assert_allclose(found[0], expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("attention", [None, "additive", "general", "dot", "concat"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_decoders_step(attention: Any, cell: Any, rng: Rng, path: Path) -> None:
    model = nlp.Seq2Seq(
        20, 15, 8, 8, cell=cell, attention=attention, bidirectional=attention != "dot",
        input_feeding=attention in ("general", "dot"), bos_id=1, eos_id=2,
    )  # fmt: skip
    sources = [words(rng, lengths) for lengths in ([6, 2, 3, 1], [9, 7, 5, 4, 2])]
    starts = [model.start(source) for source in sources]
    compare(path, model, *((s.ids, s.state, s.memory) for s in starts), call="step")
    compare(path, model, *sources, call="start")  # the encoder


@pytest.mark.parametrize("every_step", [False, True])
def test_captioners(every_step: bool, rng: Rng, path: Path) -> None:
    model = nlp.Captioner(6, 20, 8, 8, bos_id=1, eos_id=2, every_step=every_step)
    features = [floats(rng, 3, 6), floats(rng, 5, 6)]
    starts = [model.start(each) for each in features]
    compare(path, model, *((s.ids, s.state, s.memory) for s in starts), call="step")
    compare(path, model, *features, call="start")


# ---- refused models --------------------------------------------------------------------------------------------------


class Function(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.forward = function


def _relu(x: Any) -> Any:
    """A user's own, which has the name of another."""
    return np.maximum(x, 0.5)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: np.linalg.inv(x[:2, :2]), "inv in Function, at .*: inv has no counterpart in ONNX"),
        (
            lambda x: x * mg.Tensor(np.sqrt(x.data**2 + 1)),
            "multiply .*: it takes an array that changes with the inputs",
        ),
        (
            lambda x: sum(row for row in x),
            "the operations depend on the sizes or numbers of the inputs, from the one in",
        ),
        (lambda x: x / np.sqrt(len(x)), "the number 2.449.* of one run is 2.828.* in another"),
        (mg.primitive(_relu, x=lambda g, x: g * (x > 0)), "the primitive relu has no counterpart in ONNX"),
        (lambda x: np.std(x, ddof=1), "a variance with ddof=1 has no counterpart"),
        (lambda x: x[x > 0], "this index has no counterpart here"),
        (lambda x: nn.Conv1d(3, 2, 2)(x.reshape(1, 3, -1), lengths=[2]), "with lengths=, or without a batch"),
        (lambda x: nn.MaxPool1d(2, return_indices=True)(x.reshape(1, 3, -1))[0], "no counterpart with return_indices"),
    ],
)
def test_what_has_no_counterpart_is_named(function: Any, message: str, rng: Rng, path: Path) -> None:
    path.write_bytes(b"before")
    with pytest.raises(RuntimeError, match=message):
        nn.export_onnx(Function(function), path, mg.Tensor(floats(rng, 6, 3)))
    assert path.read_bytes() == b"before"


def test_examples_and_names_that_do_not_fit(rng: Rng, path: Path) -> None:
    layer = nn.Linear(3, 2)
    with pytest.raises(ValueError, match="does not tell its axes apart; give one whose sizes differ, or axes="):
        nn.export_onnx(nn.GRU(3, 2), path, floats(rng, 4, 4, 3))
    with pytest.raises(ValueError, match=r"files of opset 18 are written, not of 13; .*version_converter"):
        nn.export_onnx(nn.Linear(3, 2), path, floats(rng, 4, 3), opset=13)
    with pytest.raises(ValueError, match="the example has no array in it"):
        nn.export_onnx(layer, path, 3.0)
    with pytest.raises(ValueError, match="axes are for 2 inputs, and there are 1"):
        nn.export_onnx(layer, path, floats(rng, 4, 3), axes=[("a", None), ("b",)])
    with pytest.raises(ValueError, match=r"axes \('a',\) are not those of an input of shape \(4, 3\)"):
        nn.export_onnx(layer, path, floats(rng, 4, 3), axes=[("a",)])
    with pytest.raises(ValueError, match="2 names of outputs for 1: output"):
        nn.export_onnx(layer, path, floats(rng, 4, 3), outputs=["y", "z"])
    with pytest.raises(ValueError, match="names must differ: inputs x, outputs x"):
        nn.export_onnx(layer, path, floats(rng, 4, 3), outputs=["x"])
    with pytest.raises(ValueError, match="the input has 6 features") as error:
        nn.export_onnx(layer, path, floats(rng, 4, 3), axes=[("a", "b")])
    assert "did not; axes=" in error.value.__notes__[0]
    with pytest.raises(OSError, match="folder does not exist"):
        nn.export_onnx(layer, path.parent / "none" / "m.onnx", floats(rng, 4, 3))
    assert not path.exists()
    nn.export_onnx(layer, path, floats(rng, 4, 3), inputs=["features"], outputs=["weight"])
    model = onnx.load(path)
    assert [i.name for i in (*model.graph.input, *model.graph.output)] == ["features", "weight"]


def test_the_model_is_as_it_was(rng: Rng, path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.BatchNorm1d(4))
    model[1].eval()
    before = {name: value.numpy() for name, value in model.state_dict().items()}
    nn.export_onnx(model, path, floats(rng, 5, 3))
    assert [module.training for module in model.modules()] == [True, True, False, True]
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    assert "forward" not in vars(nn.GRU(3, 2))

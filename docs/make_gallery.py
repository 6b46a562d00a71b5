"""Make the gallery of pictures: `python docs/make_gallery.py [folder]`, docs/gallery.md and docs/gallery/ without one.

Each function below makes the picture of its name; the page shows its source and its docstring beside the picture.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import minigrad as mg
import nn

DOCS = Path(__file__).parent
PICTURES: dict[str, tuple[str, Callable[[], mg.Graph]]] = {}
INTRODUCTION = """# A gallery of graphs

Pictures of recorded graphs, made by `mg.graph` in `docs/make_gallery.py`. They share one notation:

* **The shape is the kind of node.** An ellipse is a parameter, a rounded box an operation, a circle an operation with a
  sign, a box with sharp corners a fused operation, and a doubled box a collapsed scope. Results are gold. Values from
  outside have no frame: inputs are below the operations that use them, and a plain number is an initial state or a
  constant. A dashed frame is a detached state, and a dotted frame stands for omitted steps.
* **Columns are time, lanes are layers.** Computation goes up, and time to the right. Only the path of a state from one
  step to another is red, dashed where it was detached. A parameter is drawn once. A thin line in a cool colour leads
  from it to every step that uses it, with a dot at each branch.
* **Parallel arrows are bundled.** ×196 beside an arrow is their number.
* **Each call has its own frame.** Calls that continue a state are windows, each with its own steps. A loop without
  `mg.steps` also has columns if its lines ran repeatedly with the same weights and passed a state on.
* **Colour is one quantity**, on request: the norm of the gradient, on a log scale.

`picture.render("picture.svg")` draws such a picture (.png and .pdf, too), `picture.html("picture.html")` makes a page
to step through it, `picture.animate("picture.svg")` makes a film of it (.gif, too), and `picture.data()` returns it as
plain data.
"""
FILM = "film"  # the animated picture
STILL = "film-still.svg"  # its last frame, for readers who prefer less motion


def picture(title: str) -> Callable[[Callable[[], mg.Graph]], Callable[[], mg.Graph]]:
    """Register a picture under its function's name: lstm_cell makes lstm-cell.svg."""

    def register(make: Callable[[], mg.Graph]) -> Callable[[], mg.Graph]:
        PICTURES[make.__name__.replace("_", "-")] = (title, make)
        return make

    return register


def make(name: str) -> mg.Graph:
    """One of the pictures, the same each time."""
    mg.manual_seed(0)
    return PICTURES[name][1]()


def make_all(folder: Path) -> list[Path]:
    """Write all pictures; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [draw(name, folder / f"{name}.svg") for name in PICTURES]
    return [*paths, make(FILM).replace(options=make(FILM).options.replace(color="grad")).render(folder / STILL)]


def draw(name: str, path: Path) -> Path:
    """Write one of the pictures; the path."""
    return make(name).animate(path) if name == FILM else make(name).render(path)


def page() -> str:
    """The page with all pictures."""
    parts = [INTRODUCTION]
    for name, (title, function) in PICTURES.items():
        source = inspect.getsource(function).split("\n", 1)[1]  # without the decorator
        text = inspect.getdoc(function)
        before, _, after = source.partition('"""')
        body = before.rstrip() + "\n" + after.partition('"""\n')[2]
        alternative = f"{title}, drawn by the code above"
        parts.append(
            f"## {title}\n\n{text}\n\n```python\n{body.strip()}\n```\n\n![{alternative}](gallery/{name}.svg)\n"
        )
    return "\n".join(parts)


def example(name: str) -> ModuleType:
    """A script of examples/ as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS.parent / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- the pictures ------------------------------------------------------------------------------------------------


@picture("A neuron")
def neuron() -> mg.Graph:
    """`mg.graph(f, x)` runs f, so the picture can show the values, and the gradients of the result."""
    w = mg.tensor([0.5, -1.0], requires_grad=True)
    b = mg.tensor(0.25, requires_grad=True)

    def f(x: Any) -> Any:
        a = mg.name(x @ w + b, "a")
        return mg.name(np.tanh(a), "y")

    return mg.graph(f, mg.tensor([1.0, 0.5]), params={"w": w, "b": b}, values=True, grads=True)


def vanilla(steps: int) -> tuple[list[Any], dict[str, Any]]:
    """The outputs of a vanilla network, and its parameters."""
    shapes = {"W_in": (3, 5), "W_s": (5, 5), "b": (5,), "W_out": (5, 2)}
    p: dict[str, Any] = {name: mg.randn(*shape, requires_grad=True) for name, shape in shapes.items()}
    s: Any = mg.zeros((4, 5))
    outputs = []
    for _, x in mg.steps(mg.randn(steps, 4, 3)):
        s = mg.name(np.tanh(mg.name(x, "x") @ p["W_in"] + s @ p["W_s"] + p["b"]), "s")
        outputs.append(mg.name(s @ p["W_out"], "y"))
    return outputs, p


@picture("A recurrent network of three steps")
def rnn_full() -> mg.Graph:
    """s = tanh(x W_in + s W_s + b), y = s W_out: the loop as it ran, one column for each step. (`vanilla` is this
    loop. It names x, s and y by `mg.name`, and `mg.steps` marks the steps.)"""
    outputs, params = vanilla(steps=3)
    return mg.graph(outputs, params=params)


@picture("A hundred steps, elided")
def rnn_elided() -> mg.Graph:
    """The first steps and the last. One frame stands for the others. A graph that is too large to lay out is elided
    automatically, and its picture says so."""
    outputs, params = vanilla(steps=100)
    return mg.graph(outputs, params=params, view="elided")


@picture("A hundred steps, rolled up")
def rnn_rolled() -> mg.Graph:
    """One step, and its state as a loop: the network as textbooks define it."""
    outputs, params = vanilla(steps=100)
    return mg.graph(outputs, params=params, view="rolled")


@picture("Inside an LSTM")
def lstm_cell() -> mg.Graph:
    """The element-wise part of an LSTM's step is one fused operation; `expand=True` opens it. The state c reaches the
    next step's c through one product with the forget gate and one sum, without a matrix."""
    layer = nn.LSTM(3, 5, bias=False)
    output, _ = layer(mg.randn(2, 4, 3))
    return mg.graph(output, params=layer.named_parameters(), expand=True)


@picture("Inside a GRU")
def gru_cell() -> mg.Graph:
    """The same for a GRU. Its single state is both the output and the memory: h = n + z (h − n)."""
    layer = nn.GRU(3, 5, bias=False)
    output, _ = layer(mg.randn(2, 4, 3))
    return mg.graph(output, params=layer.named_parameters(), expand=True)


@picture("Two layers, both directions")
def bidirectional() -> mg.Graph:
    """Each layer and direction is a lane. In the backward lanes, the state goes to the left. One product maps the
    inputs of all steps before each loop, and `split` gives every step its part."""
    layer = nn.RNN(3, 5, num_layers=2, bidirectional=True, bias=False)
    output, _ = layer(mg.randn(3, 4, 3))
    return mg.graph(output, params=layer.named_parameters())


@picture("Sequence to sequence, with attention")
def attention() -> mg.Graph:
    """The encoder's states are stacked, and every step of the decoder looks at all of them. Each cell is
    collapsed to one box."""
    encoder, decoder = nn.GRUCell(3, 4), nn.GRUCell(2, 4)
    look, output = nn.DotAttention(), nn.Linear(8, 5)
    h: Any = mg.zeros((1, 4))
    memory, outputs = [], []
    with mg.scope("encoder"):
        for _, x in mg.steps(mg.randn(4, 1, 3)):
            h = encoder(mg.name(x, "x"), h)
            memory.append(h)
    states = np.stack(memory, axis=1)
    with mg.scope("decoder"):
        for _, y in mg.steps(mg.randn(3, 1, 2)):
            h = decoder(mg.name(y, "y"), h)
            context, _ = look(h, states)
            outputs.append(output(np.concatenate([h, context], axis=-1)))
    modules = {"encoder": encoder, "decoder": decoder, "output": output}
    params = {f"{name}.{p}": w for name, module in modules.items() for p, w in module.named_parameters()}
    return mg.graph(outputs, params=params, collapse="GRUCell")


@picture("The flow of the gradient")
def vanishing() -> mg.Graph:
    """A tanh network below an LSTM, with the same inputs and a loss at the last step, coloured by the norm of the
    gradient that arrives. In the tanh network it shrinks at every step on its way back to t = 0. The LSTM, whose forget
    gates start open, keeps it."""
    rnn, lstm = nn.RNN(3, 16, bias=False), nn.LSTM(3, 16)
    rnn.weight_hh_l0.data *= 0.7
    nn.init.forget_gate_bias_(lstm, 4.0)

    def loss(x: Any) -> Any:
        last = np.concatenate([rnn(x)[0][-1], lstm(x)[0][-1]], axis=-1)
        return mg.name((last**2).sum(), "loss")

    params = {f"{name}.{p}": w for name, m in (("rnn", rnn), ("lstm", lstm)) for p, w in m.named_parameters()}
    return mg.graph(loss, mg.randn(8, 4, 3), params=params, color="grad")


@picture("Windows of a long text")
def windows() -> mg.Graph:
    """A layer is called again with its last state: each call is a window, and time continues. The state is detached
    between the windows, so no gradient flows along the dashed line."""
    layer = nn.GRU(3, 4, bias=False)

    def loss(xs: Any) -> Any:
        state, total = None, 0.0
        for x in np.split(xs, 2):
            output, state = layer(x, state)
            total = total + (output**2).sum()
            state = state.detach()
        return mg.name(total, "loss")

    return mg.graph(loss, mg.randn(4, 2, 3), params=layer.named_parameters(), plumbing=False)


@picture("As textbooks draw it")
def textbook() -> mg.Graph:
    """`style="textbook"`: one box a step, inputs below it and outputs above, names with subscripts. `render` makes it
    fit a slide (`aspect="slide"`) or a dark page (`theme="dark"`), and writes .tex for TikZ."""
    layer = nn.LSTM(3, 5, bias=False)
    return mg.graph(lambda x: layer(x)[0], mg.randn(4, 2, 3), params=layer.named_parameters(), style="textbook")


@picture("A cell from the inside")
def cell() -> mg.Graph:
    """The same style for your own cell. Named values appear with their names at step t."""
    W = {gate: mg.randn(7, 4, requires_grad=True) for gate in "fioC"}

    def lstm(x: Any, h: Any, C: Any) -> Any:
        hx = np.concatenate([h, x], axis=-1)
        f, i, o = (mg.name(mg.sigmoid(hx @ W[gate]), gate) for gate in "fio")
        C = mg.name(f * C + i * mg.name(np.tanh(hx @ W["C"]), "C̃"), "C")
        return mg.name(o * np.tanh(C), "h"), C

    weights = {f"W_{gate}": w for gate, w in W.items()}
    return mg.graph(lstm, mg.randn(2, 3), mg.randn(2, 4), mg.randn(2, 4), params=weights, style="textbook")


@picture("Gradients along the arrows")
def backward() -> mg.Graph:
    """`backward=True` reverses the arrows. The number beside each is the norm of the gradient that flows along it: the
    contribution of one use of a value to the gradient of that value."""
    outputs, params = vanilla(steps=3)
    return mg.graph(mg.name((outputs[-1] ** 2).sum(), "loss"), params=params, backward=True)


@picture("A film: values forward, gradients backward")
def film() -> mg.Graph:
    """The LSTM of `examples/char_rnn_from_primitives.py` over four characters. `picture.animate("film.svg")` writes it
    as a file that plays in any page, without a script. First the values are computed, then the gradients come back. The
    gradient of a weight is complete when all its uses have contributed."""
    demo = example("char_rnn_from_primitives")
    text = np.array([[2], [0], [1], [0], [3]])
    params = demo.make_parameters(4, 16, "cpu")

    def loss(x: Any) -> Any:
        log_probabilities, _, _ = demo.run(params, x, demo.zero_state(1, 16, "cpu"))
        with mg.scope("cross entropy"):
            return demo.cross_entropy(log_probabilities, text[1:])

    return mg.graph(loss, text[:-1], params=params, style="textbook", collapse="cross entropy")


def files(folder: Path) -> Iterator[Path]:
    """Write the page and the pictures; returns their paths."""
    yield from make_all(folder / "gallery")
    path = folder / "gallery.md"
    path.write_text(page(), encoding="utf-8")
    yield path


if __name__ == "__main__":
    for written in files(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS):
        print(f"{written} ({written.stat().st_size / 1000:.0f} kB)")

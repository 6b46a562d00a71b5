"""A character language model from primitives: an LSTM, written with `@`, `np.tanh`, `mg.sigmoid` and a Python loop.

    python examples/char_rnn_from_primitives.py [--data FILE] [--device cuda]

Nothing of `nn` is used. Back-propagation through time is not written anywhere: `backward` does it with the graph that
the loop leaves behind. The default text is the documentation that ships inside Python. `--out` receives

    graph.svg      two unrolled steps, operation by operation
    loss.png       the loss, compared with a bigram model
    gradients.png  the norm of the loss's gradient at the state of each step

The equations (Hochreiter & Schmidhuber 1997, Gers et al. 2000), for x_t of shape (N, V) and h, C of shape (N, H):

    f, i, o = σ(x_t W_in + h_{t-1} W_s + b), one third of the columns each
    C̃_t = tanh(x_t W_in + h_{t-1} W_s + b), the rest of the columns
    C_t = f C_{t-1} + i C̃_t        h_t = o tanh(C_t)
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

import minigrad as mg
from minigrad import Tensor

Parameters = dict[str, Tensor]
State = tuple[Tensor, Tensor]

# ---- the model ---------------------------------------------------------------------------------------------------


def make_parameters(vocabulary: int, hidden: int, device: str) -> Parameters:
    """Uniform in ±1/√H, with a bias of 1 for the forget gate."""

    def uniform(*shape: int) -> Tensor:
        return mg.tensor((mg.rand(*shape).numpy() * 2 - 1) / math.sqrt(hidden), device=device, requires_grad=True)

    p = {
        "W_in": uniform(vocabulary, 4 * hidden),
        "W_s": uniform(hidden, 4 * hidden),
        "b": mg.zeros(4 * hidden, device=device, requires_grad=True),
        "W_out": uniform(hidden, vocabulary),
        "b_out": mg.zeros(vocabulary, device=device, requires_grad=True),
    }
    for name, tensor in p.items():
        tensor.name = name
    with mg.no_grad():
        p["b"][:hidden] = 1.0
    return p


@mg.fuse  # one node and one kernel for all of it; without this line, the same numbers
def gates(z: Tensor, C: Tensor) -> State:
    """The element-wise part of a step: (N, 4H) and (N, H) give the new h and C."""
    f, i, o, c = np.split(z, 4, axis=-1)
    f = mg.name(mg.sigmoid(f), "forget")
    i = mg.name(mg.sigmoid(i), "input")
    o = mg.name(mg.sigmoid(o), "output")
    c = mg.name(np.tanh(c), "candidate")
    C = mg.name(f * C + i * c, "C")
    return mg.name(o * np.tanh(C), "h"), C


def run(p: Parameters, ids: np.ndarray, state: State) -> tuple[Tensor, State, list[Tensor]]:
    """Log-probabilities (T, N, V) of the next character, the last state, and the states h of all steps."""
    h, C = state
    inputs = mg.embedding(p["W_in"], ids) + p["b"]  # (T, N, 4H): a one-hot row times W_in is a row of W_in
    hs = []
    for _, x in mg.steps(inputs):
        h, C = gates(x + h @ p["W_s"], C)
        hs.append(h)
    logits = np.stack(hs) @ p["W_out"] + p["b_out"]  # (T, N, V)
    return mg.log_softmax(logits), (h, C), hs


def cross_entropy(log_probabilities: Tensor, targets: np.ndarray) -> Tensor:
    """Mean of −log p(target), in nats a character, for targets (T, N)."""
    return -np.take_along_axis(
        log_probabilities, mg.tensor(targets[..., None], device=log_probabilities.device), -1
    ).mean()


def zero_state(batch: int, hidden: int, device: str) -> State:
    return mg.zeros((batch, hidden), device=device), mg.zeros((batch, hidden), device=device)


# ---- the text ----------------------------------------------------------------------------------------------------


def read_text(path: Path | None) -> str:
    """A file's text, or the documentation inside every CPython."""
    if path is not None:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SystemExit(f"cannot read {path}: {error}") from None
        if len(text) < 10_000:
            raise SystemExit(f"{path}: {len(text)} characters are too few to learn from; give at least 10,000")
        return text
    from pydoc_data.topics import topics

    return "\n\n".join(topics[key] for key in sorted(topics))


def windows(ids: np.ndarray, batch: int, length: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Inputs and targets (T, N): the text as N parallel streams, in windows that follow each other."""
    streams = ids[: len(ids) // batch * batch].reshape(batch, -1).T
    for start in range(0, len(streams) - length, length):
        yield streams[start : start + length], streams[start + 1 : start + length + 1]


def bigram_loss(train: np.ndarray, test: np.ndarray, vocabulary: int) -> float:
    """The loss of a bigram model on the test text, in nats a character (counts with add-one smoothing)."""
    counts = np.ones((vocabulary, vocabulary))
    np.add.at(counts, (train[:-1], train[1:]), 1)
    p = counts / counts.sum(1, keepdims=True)
    return float(-np.log(p[test[:-1], test[1:]]).mean())


# ---- training ----------------------------------------------------------------------------------------------------


class Adam:
    """Kingma & Ba 2015, after clipping the gradient's norm."""

    def __init__(self, p: Parameters, lr: float, clip: float) -> None:
        self.p, self.lr, self.clip, self.t = p, lr, clip, 0
        self.m = {name: np.zeros_like(w) for name, w in p.items()}
        self.v = {name: np.zeros_like(w) for name, w in p.items()}

    def step(self) -> None:
        self.t += 1
        grads = {name: w.grad.data for name, w in self.p.items()}
        norm = sum((g * g).sum() for g in grads.values()) ** 0.5
        scale = np.minimum(1.0, self.clip / (norm + 1e-6))
        with mg.no_grad():
            for name, w in self.p.items():
                g = grads[name] * scale
                self.m[name] = 0.9 * self.m[name] + 0.1 * g
                self.v[name] = 0.999 * self.v[name] + 0.001 * g * g
                m = self.m[name] / (1 - 0.9**self.t)
                v = self.v[name] / (1 - 0.999**self.t)
                w -= self.lr * m / (v**0.5 + 1e-8)
                w.grad = None


def train(p: Parameters, ids: np.ndarray, args: argparse.Namespace) -> list[float]:
    """Truncated BPTT: the state is carried from window to window, and cut off the graph between them."""
    optimizer, losses = Adam(p, args.lr, args.clip), []
    with tqdm(total=args.iterations, desc="training", unit="window") as bar:
        while len(losses) < args.iterations:
            h, C = zero_state(args.batch, args.hidden, args.device)
            for x, y in windows(ids, args.batch, args.window):
                log_p, (h, C), _ = run(p, x, (h.detach(), C.detach()))
                loss = cross_entropy(log_p, y)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
                bar.update()
                if len(losses) % 10 == 0:
                    bar.set_postfix_str(f"loss {np.mean(losses[-50:]):.3f}")
                if len(losses) == args.iterations:
                    break
    return losses


def evaluate(p: Parameters, ids: np.ndarray, args: argparse.Namespace) -> float:
    """Mean loss on other text, in nats a character."""
    state, losses = zero_state(args.batch, args.hidden, args.device), []
    with mg.no_grad():
        for x, y in windows(ids, args.batch, args.window):
            log_p, state, _ = run(p, x, state)
            losses.append(cross_entropy(log_p, y).item())
    return float(np.mean(losses))


def sample(p: Parameters, characters: np.ndarray, start: np.ndarray, length: int, args: argparse.Namespace) -> str:
    """Text written by the model, character by character, after a given beginning."""
    rng = np.random.default_rng(args.seed)
    ids = list(start)
    with mg.no_grad():
        state = zero_state(1, args.hidden, args.device)
        log_p, state, _ = run(p, np.array(ids)[:, None], state)
        for _ in range(length):
            weights = np.exp(log_p[-1, 0].numpy().astype(np.float64) / args.temperature)
            ids.append(int(rng.choice(len(characters), p=weights / weights.sum())))
            log_p, state, _ = run(p, np.array([[ids[-1]]]), state)
    return "".join(characters[i] for i in ids)


# ---- looking -----------------------------------------------------------------------------------------------------


def draw_graph(p: Parameters, ids: np.ndarray, args: argparse.Namespace, path: Path) -> None:
    """Two unrolled steps, operation by operation."""
    with mg.plain_path():
        log_p, _, _ = run(p, ids[:2, None], zero_state(1, args.hidden, args.device))
        loss = mg.name(cross_entropy(log_p, ids[1:3, None]), "loss")
    mg.graph(loss).render(path)


def state_gradients(p: Parameters, x: np.ndarray, y: np.ndarray, args: argparse.Namespace) -> dict[str, list[float]]:
    """‖∂L/∂h_t‖ for each step t, of the whole window's loss and of the last step's loss alone."""
    norms = {}
    for title, last in (("loss of all steps", slice(None)), ("loss of the last step alone", slice(-1, None))):
        log_p, _, hs = run(p, x, zero_state(x.shape[1], args.hidden, args.device))
        for h in hs:
            h.retain_grad()
        cross_entropy(log_p[last], y[last]).backward()
        norms[title] = [float(np.linalg.norm(h.grad.numpy())) for h in hs]
        for w in p.values():
            w.grad = None
    return norms


def plot(losses: list[float], bigram: float, norms: dict[str, list[float]], out: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    width = max(len(losses) // 50, 1)
    smooth = np.convolve(losses, np.ones(width) / width, "valid")
    axes.plot(losses, color="#BBBBBB", linewidth=0.8, label="each window")
    axes.plot(np.arange(len(smooth)) + width // 2, smooth, color="#4477AA", linewidth=2, label="running mean")
    axes.axhline(bigram, color="#BB5566", linestyle="--", label="bigram model (held-out text)")
    axes.set(xlabel="window", ylabel="loss (nats a character)", title="LSTM from primitives: training loss")
    axes.legend(frameon=False)
    figure.savefig(out / "loss.png", dpi=130)
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for (title, values), color in zip(norms.items(), ("#4477AA", "#BB5566"), strict=True):
        axes.semilogy(values, color=color, marker=".", label=title)
    axes.set(xlabel="time step t", ylabel="‖∂L/∂h_t‖", title="How much of the loss's gradient reaches each state")
    axes.legend(frameon=False)
    figure.savefig(out / "gradients.png", dpi=130)
    plt.close("all")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a character LSTM written from primitives.")
    parser.add_argument("--data", type=Path, help="a UTF-8 text file (default: the documentation inside Python)")
    parser.add_argument("--device", default="cpu", help='"cpu" or "cuda"')
    parser.add_argument("--iterations", type=int, default=1200, help="training windows")
    parser.add_argument("--hidden", type=int, default=160, help="size H of the state")
    parser.add_argument("--batch", type=int, default=32, help="parallel streams N")
    parser.add_argument("--window", type=int, default=40, help="steps T between cuts of the graph")
    parser.add_argument("--lr", type=float, default=4e-3, help="Adam's learning rate")
    parser.add_argument("--clip", type=float, default=5.0, help="largest norm of the gradient")
    parser.add_argument("--temperature", type=float, default=0.7, help="of the sample; lower is safer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the pictures")
    args = parser.parse_args()
    mg.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)

    text = read_text(args.data)
    characters, ids = np.unique(np.array(list(text)), return_inverse=True)
    cut = len(ids) * 95 // 100
    train_ids, test_ids = ids[:cut], ids[cut:]
    print(f"{len(text):,} characters, {len(characters)} different; {cut:,} for training")

    p = make_parameters(len(characters), args.hidden, args.device)
    losses = train(p, train_ids, args)
    bigram = bigram_loss(train_ids, test_ids, len(characters))
    held_out = evaluate(p, test_ids, args)
    print(f"held-out loss: {held_out:.3f} nats a character; a bigram model: {bigram:.3f}; chance: "
          f"{math.log(len(characters)):.3f}")  # fmt: skip
    print("-" * 80)
    print(sample(p, characters, test_ids[:20], 400, args).strip())
    print("-" * 80)
    x, y = next(windows(test_ids, 16, args.window))
    plot(losses, bigram, state_gradients(p, x, y, args), args.out)
    draw_graph(p, test_ids, args, args.out / "graph.svg")
    print(f"see {args.out / 'graph.svg'}, {args.out / 'loss.png'} and {args.out / 'gradients.png'}")


if __name__ == "__main__":
    main()

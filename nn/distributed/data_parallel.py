"""DataParallel: an optimizer that uses the gradients of all ranks together."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backward, leaves
from minigrad.state import only_outside

from ..optimizers import Optimizer
from . import reduction
from .agreement import DisagreementError
from .group import Group


class DataParallel:
    """An optimizer for a model with a copy on every rank, each of which processes its own part of each batch.

    optimizer  any of `nn`, made from the same parameters with the same settings on all ranks
    group      from `nn.distributed.group()`
    module     the model; its other tensors (frozen weights, buffers) are broadcast as well

        group = nn.distributed.group()
        optimizer = nn.distributed.DataParallel(nn.Adam(model.named_parameters()), group, model)
        for inputs, targets in nlp.Batches(examples, batch_size=64, shard=group):
            optimizer.zero_grad()
            loss = model.loss(inputs, targets)            # the mean over this rank's part
            optimizer.backward(loss, items=len(targets))  # in place of loss.backward()
            optimizer.step()                              # clips, and updates, the same on all ranks

    With Lᵣ the mean loss over the nᵣ items of rank r, the gradient is that of Σ nᵣ Lᵣ / Σ nᵣ, the mean loss over the
    items of all ranks: the gradient of one process for the whole batch. It is complete when `backward` returns.
    All other attributes are the optimizer's: `param_groups`, `state_dict`, `grad_norm`, and so on.

    On construction, all ranks get rank 0's weights, and separate random numbers that follow from those of rank 0:
    dropout differs between ranks, and is the same in each run. Raises DisagreementError if names, shapes, dtypes or
    settings differ between ranks, or if two ranks use the same GPU.
    """

    def __init__(self, optimizer: Optimizer, group: Group, module: Any = None) -> None:
        self.optimizer, self.group = optimizer, group
        self._plan: reduction.ReductionPlan | None = None
        self._held: dict[int, Any] = {}
        self._reduced = False
        if group.size > 1:
            group.agree("DataParallel", _facts(optimizer))
            _refuse_shared_devices(group, [p for _, p in optimizer.named_parameters()])
            more = [] if module is None else [t for t in module.state_dict().values() if isinstance(t, mg.Tensor)]
            with mg.no_grad():
                group.broadcast([t.data for t in [*(p for _, p in optimizer.named_parameters()), *more]])
            own_random_numbers(group)

    def total(self, items: float) -> Any:
        """The sum of a number of items over all ranks."""
        if self.group.size == 1:
            return items
        (found,) = self.group.sum([items]).tolist()
        return int(found) if found == int(found) else found

    def share(self, loss: mg.Tensor | None, items: float, total: float, *more: float) -> list[Any]:
        """The contributions of all ranks' losses, each a mean over its own items, to the mean over `total` items,
        followed by the sums of further numbers.

        loss  of this rank, a Tensor without axes; with 0 `items` it does not count, and may be None
        """
        if self.group.size == 1 and loss is not None:
            return [loss if items == total else loss * (items / total), *more]
        own = float(loss.item()) * items if loss is not None and items else 0.0
        value, *sums = self.group.sum([own, *more]).tolist()
        return [mg.Tensor(np.asarray(value / total if total else np.nan)), *sums]

    def mean(self, loss: mg.Tensor | None, items: float) -> tuple[Any, Any]:
        """The mean loss over the items of all ranks, and their number; the arguments are those of `share`."""
        total = self.total(items)
        return self.share(loss, items, total)[0], total

    def backward(
        self, loss: mg.Tensor | None, items: float = 1, total: float | None = None, *, hold: bool = False
    ) -> None:  # fmt: skip
        """Add the gradient of the mean loss over all ranks to the parameters' `.grad`.

        loss   a Tensor without axes, the mean over `items` items of this rank. A rank without items passes 0; then its
               loss does not count, and may be None
        items  the number of items: tokens, sentences, real steps
        total  the number over all ranks (and all backwards of a step, if there are several); by default, the sum over
               the ranks
        hold   keep the gradient here until the next backward without `hold`, and send both together; requires `total`

        All ranks have to call it. Sums begin as soon as gradients are complete, while backward goes on.
        """
        only_outside("DataParallel.backward sends gradients to other processes")
        if items < 0 or (hold and total is None):
            raise ValueError(f"DataParallel.backward: got items={items!r}, hold={hold} and total={total!r}; items must "
                             "be at least 0, and total be given where gradients are held")  # fmt: skip
        if total is None:
            total = self.total(items)
        share = 1.0 if items == total else items / total
        self._reduced = True
        if self.group.size == 1:
            if loss is not None:
                loss.backward(None if share == 1 else np.full_like(loss.data, share))
            return
        parameters = [p for _, p in self.optimizer.named_parameters()]
        found = reduction.Reduction(self.group, parameters, None if hold else self._plan, self._held)
        if hold:
            found.waiting = []
        if loss is not None and items:
            self._walk(loss, share, found)
        if hold:
            self._held = found.found
            return
        self._held = {}
        self._give(found, parameters)

    def _walk(self, loss: mg.Tensor, share: float, found: reduction.Reduction) -> None:
        """Backward for a share of the loss; leaves that are not the optimizer's parameters get their own gradient."""
        start = np.full_like(leaves.seed(loss, None), share)
        for leaf, gradient in backward.walk([(loss.edge or loss, start)], observers=(found,)).items():
            if leaf not in found.numbers:
                leaves.accumulate(leaf, gradient)

    def _give(self, found: reduction.Reduction, parameters: list[mg.Tensor]) -> None:
        """Add the sums to `.grad`."""
        for k, gradient in found.finish().items():
            leaves.accumulate(parameters[k], gradient)
        self._plan = found.planned

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step of the optimizer. Gradients from `loss.backward()` are summed first, with equal weight for each
        rank's loss.

        closure  as in the optimizer; for one that reads the loss, such as `LBFGS`, it must return the loss of all
                 ranks, `mean(loss, items)[0]`
        """

        def whole() -> Any:
            assert closure is not None
            value = closure()
            self._sum_plain()
            return value

        if closure is None:
            self._sum_plain()
        return self.optimizer.step(None if closure is None else whole)

    def _sum_plain(self) -> None:
        """Sum gradients from a plain backward."""
        if not self._reduced and self.group.size > 1:
            only_outside("DataParallel.step sends gradients to other processes")
            parameters = [p for _, p in self.optimizer.named_parameters()]
            mine = {k: p.grad for k, p in enumerate(parameters) if p.grad is not None}
            share = 1 / self.group.size
            scaled = {k: g * share if isinstance(g, mg.RowSparse) else g.data * share for k, g in mine.items()}
            for p in parameters:
                p.grad = None
            self._give(reduction.Reduction(self.group, parameters, self._plan, scaled), parameters)
        self._reduced = False

    def zero_grad(self) -> None:
        """Clear all gradients, including held ones."""
        self.optimizer.zero_grad()
        self._held, self._reduced = {}, False

    def __getattr__(self, name: str) -> Any:
        if name == "optimizer":  # during construction
            raise AttributeError(name)
        return getattr(self.optimizer, name)

    def __repr__(self) -> str:
        return f"DataParallel({self.optimizer!r}, {self.group!r})"


def own_random_numbers(group: Group) -> None:
    """Give each rank but the first separate random numbers, derived from rank 0's state."""
    state = group.texts(json.dumps(mg.get_random_state()))[0]
    if group.rank:
        mg.manual_seed(seed_of(state, group.rank))


def seed_of(state: str, rank: int) -> int:
    """A seed for a rank, derived from the state of rank 0's random numbers."""
    return int.from_bytes(hashlib.sha256(f"{rank} {state}".encode()).digest()[:8], "little")


def _facts(optimizer: Optimizer) -> dict[str, str]:
    """The parameters and settings that all ranks must share."""
    facts = {name: f"{p.shape} {p.dtype}" for name, p in optimizer.named_parameters()}
    settings = [{name: group[name] for name in optimizer.defaults} for group in optimizer.param_groups]
    clipping = {name: getattr(optimizer, name) for name in ("clip_norm", "norm_type", "clip_value", "nonfinite")}
    return facts | {"the optimizer": f"{type(optimizer).__name__}{settings} {clipping}"}


def _refuse_shared_devices(group: Group, parameters: Iterable[mg.Tensor]) -> None:
    """Raise DisagreementError if two ranks on one machine use the same GPU."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")  # a different value gives "cuda:0" another meaning
    used = sorted({(f"{p.device} of {platform.node()}", visible) for p in parameters if p.device != "cpu"})
    every = [json.loads(text) for text in group.texts(json.dumps(used))]
    counts = Counter(tuple(device) for devices in every for device in devices)
    for (device, seen), count in counts.items():
        if count > 1:
            ranks = [rank for rank, devices in enumerate(every) if [device, seen] in devices]
            raise DisagreementError(
                f"DataParallel: ranks {' and '.join(map(str, ranks[:2]))} both use {device}; give each rank a GPU of "
                "its own, group.device, and start no more ranks on a machine than it has GPUs"
            )

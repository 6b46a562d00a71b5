"""Trainer: the usual training loop, with the services that a long run needs. All of its parts are public."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, NoReturn

import numpy as np
from tqdm import tqdm  # type: ignore[import-untyped]

import minigrad as mg
from minigrad import backend

from ..checks import count, entries
from ..distributed import Group
from ..distributed.data_parallel import DataParallel
from ..distributed.dividing import divided, gathered
from ..distributed.failure import everywhere
from ..distributed.stopping import kept_signals
from ..modules import Module
from .average import WeightAverage
from .checkpoints import has_state, load_checkpoint, save_checkpoint
from .files import StrPath
from .history import History
from .logs import logs_of, tell
from .progress import Progress, uninterrupted


def is_count(value: Any) -> bool:
    """True for an integer of at least 1."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= 1


class Trainer:
    """Fits a model to batches. At heart it is this loop:

        for epoch in range(epochs):
            for batch in batches:
                optimizer.zero_grad()
                loss = step(model, batch)
                loss.backward()  # of `accumulate` batches, each weighed by its items
                optimizer.step()  # clips, if the optimizer is told to
            with mg.no_grad():
                model.eval()
                value = mean(step(model, batch) for batch in validation)
                model.train()
            schedule.step()
            nn.save_checkpoint(path, model=model, optimizer=optimizer, schedule=schedule, ...)

    step            (model, batch) -> loss, a Tensor without axes
    carried         an object that carries state from batch to batch: a `TBPTT` or any object with `state_dict` and
                    `load_state_dict`. Validation begins in the state it has here
    items           (batch) -> the number of items in its mean loss (words, sentences): they weigh the mean losses of
                    epochs, and are shown as items/s. By default each batch counts as one
    accumulate      the number of batches of a step: its loss is the mean over all their items. The remainder at the
                    end of an epoch is a step, too
    average         d: keep a moving average of the weights, a = d a + (1 − d) w after each step, from the first step
                    on (Polyak & Juditsky 1992). `evaluate` and validation use it, `restore_best` restores it, and the
                    model has it inside `with trainer.averaged():`
    schedule        advances after every "step" or "epoch" (`schedule_every`); `ReduceLROnPlateau` after each epoch,
                    with the validation loss
    patience        stop after this many epochs without a validation loss that is lower by more than `min_delta`
    restore_best    end `fit` with the weights of the lowest validation loss
    checkpoint      a file to write after every `save_epochs` epochs and every `save_steps` steps, and on Ctrl-C
    nonfinite       the reaction to a loss that is NaN or Inf: "raise" a FloatingPointError with its origin (the step
                    is run again under `mg.detect_anomaly`), "skip" the step, "pass". "skip" reads each loss; "raise"
                    does so where it does not wait (CPU), else when it logs. The optimizer's own `nonfinite` concerns
                    gradients; its errors are explained in the same way
    log_every       the number of steps after which the loss is read, shown and put into `history`; in between nothing
                    waits for the device
    log             destinations for the records of `history`: the path of a .csv file, a folder for TensorBoard (extra
                    `log`), a function of a record, or a list of these; see `nn.training.logs`
    compile         run loss and gradients of each batch through `mg.compile`: recorded once for each shape of a batch,
                    and replayed afterwards. `trainer.compiled.why` lists the recordings, and what runs uncompiled
                    (ragged batches). For one process
    group           the ranks that train together (`nn.distributed.group()`), each with its part of every batch
                    (`shard=` of `nlp`'s batches). Losses are means over all ranks; rank 0 shows the bar and writes the
                    checkpoint; Ctrl-C and SIGTERM stop all after the same step. A batch that is None adds nothing
    progress        show a bar with the loss, learning rate, norm of the gradient (if the optimizer clips it), items/s

    history         a `History` of measurements
    reached         a `Progress`, the position of the run

    >>> import numpy as np, minigrad as mg, nn
    >>> def step(model, batch):
    ...     x, y = batch
    ...     return np.mean((model(x) - y) ** 2)
    >>> batches = [(mg.full((4, 1), v), mg.full((4, 1), 2 * v)) for v in (0.5, 1.0)]
    >>> model = nn.Linear(1, 1)
    >>> trainer = nn.Trainer(model, nn.SGD(model.parameters(), lr=0.3), step, progress=False)
    >>> trainer.fit(batches, epochs=100)[-1]["mean_loss"] < 1e-6
    True
    """

    def __init__(
        self, model: Module, optimizer: Any, step: Callable[[Any, Any], mg.Tensor], *,
        carried: Any = None, items: Callable[[Any], int] = lambda batch: 1, accumulate: int = 1,
        average: float | None = None,
        schedule: Any = None, schedule_every: Literal["step", "epoch"] = "epoch",
        patience: int | None = None, min_delta: float = 0.0, restore_best: bool = False,
        checkpoint: StrPath | None = None, save_steps: int | None = None, save_epochs: int | None = 1,
        nonfinite: Literal["pass", "skip", "raise"] = "raise", log_every: int = 10, progress: bool = True,
        log: Any = None, compile: bool = False, group: Group | None = None,
    ) -> None:  # fmt: skip
        numbers = {
            "patience": patience, "save_steps": save_steps, "save_epochs": save_epochs, "log_every": log_every,
            "accumulate": accumulate,
        }  # fmt: skip
        if wrong := [f"{name}={value!r}" for name, value in numbers.items() if not (value is None or is_count(value))]:
            raise ValueError(f"Trainer: {', '.join(wrong)}; expected integers of at least 1")
        if average is not None and not (isinstance(average, int | float | np.floating) and 0 <= average < 1):
            raise ValueError(f"Trainer: average must be at least 0 and less than 1, not {average!r}")
        if schedule_every not in ("step", "epoch"):
            raise ValueError(f'Trainer: schedule_every must be "step" or "epoch", not {schedule_every!r}')
        if nonfinite not in ("pass", "skip", "raise"):
            raise ValueError(f'Trainer: nonfinite must be "pass", "skip" or "raise", not {nonfinite!r}')
        if isinstance(optimizer, DataParallel):
            optimizer, group = optimizer.optimizer, group or optimizer.group
        if compile and group is not None and group.size > 1:
            raise ValueError(
                "Trainer: compile=True is for one process; ranks send gradients while backward runs, which cannot be "
                "recorded"
            )
        self.model, self.optimizer, self.step, self.items = model, optimizer, step, items
        self.carried = carried
        self._fresh = None if carried is None else carried.state_dict()
        self.schedule, self.schedule_every = schedule, schedule_every
        self.patience, self.min_delta, self.restore_best = patience, min_delta, restore_best
        self.checkpoint, self.save_steps, self.save_epochs = checkpoint, save_steps, save_epochs
        self.nonfinite, self.log_every = nonfinite, log_every
        self.group = Group() if group is None else group
        self.progress = progress and self.group.first
        self._parallel = DataParallel(optimizer, self.group, model)
        self._asked: list[Any] | None = None if group is None else []  # signals to stop
        self.compiled = mg.compile(self._gradients) if compile else None
        self.accumulate = accumulate
        self.average = None if average is None else WeightAverage(model, average)
        self.history = History()
        self.logs = logs_of(log)
        self.reached = Progress(others=() if self.group.size > 1 else None)
        self._displaced = False  # True if random numbers and data differ from `reached`
        self._clock = (0.0, 0)  # time and items at the last log

    # ---- the loop ------------------------------------------------------------------------------------------------

    def fit(self, batches: Iterable[Any], epochs: int, *, validation: Iterable[Any] | None = None) -> History:
        """Train until `epochs` epochs are complete, including those before a `resume` or in an earlier `fit`.

        batches     an iterable that gives an epoch's batches at each iteration. With `state_dict` and `load_state_dict`
                    (a copy of) its position is part of checkpoints, and an iteration resumes there. Otherwise the
                    batches of a begun epoch are iterated again, so their order must be the same each time, or be drawn
                    from minigrad's random numbers when an iteration begins
        validation  batches whose mean loss is computed after each epoch

        Ctrl-C ends training after the last complete step, with a KeyboardInterrupt that says how to go on. After an
        early stop, `fit` does nothing. Returns `history`. Raises ValueError for data that gives no batches, or only
        once.
        """
        reached = self.reached
        self._check(batches, validation, epochs - reached.epoch)
        self.model.train()
        if self._displaced:
            reached.go_back(batches, self.carried)
        else:
            reached.mark(batches, self.carried)
        self._displaced = True  # until the end of a successful run
        tell(self.logs, "begin", reached.steps)
        try:
            with nullcontext() if self._asked is None else kept_signals() as self._asked:
                while reached.epoch < epochs and not reached.stopped:
                    self._epoch(batches, validation, f"epoch {reached.epoch + 1}/{epochs}")
        except KeyboardInterrupt:
            if self.checkpoint is None:
                raise
            self.save(self.checkpoint)
            raise KeyboardInterrupt(
                f"stopped after step {reached.steps}. To go on exactly from there, now or in a new process: "
                f"trainer.resume({os.fspath(self.checkpoint)!r}), then trainer.fit with the same data"
            ) from None
        finally:
            tell(self.logs, "end")
        self._displaced = False
        if self.restore_best and reached.best_weights is not None:
            self.model.load_state_dict(reached.best_weights)
        return self.history

    def _epoch(self, batches: Any, validation: Iterable[Any] | None, title: str) -> None:
        """The rest of the current epoch."""
        reached = self.reached
        total = len(batches) if hasattr(batches, "__len__") else None
        self._clock = (time.perf_counter(), reached.items)
        with tqdm(desc=title, total=total, initial=reached.batch, leave=False, disable=not self.progress) as bar:
            for parts, data in self._groups(batches):
                stop = self._train(parts, data, bar)
                self._save_every(self.save_steps, reached.steps)
                if stop and self._asked is not None:
                    self._asked.clear()
                    raise KeyboardInterrupt
        if not reached.batch:
            raise ValueError("Trainer.fit: there are no batches")
        value = None if validation is None else self.evaluate(validation)
        with uninterrupted():
            self._end_epoch(value)
            reached.mark(batches, self.carried)
        self._save_every(self.save_epochs, reached.epoch)

    def _groups(self, batches: Any) -> Iterator[tuple[list[Any], Any]]:
        """The batches of each remaining step of the epoch, and the state of the data after the last of them. The data
        are not asked for another batch before, since they might find the epoch to be over."""
        found: list[Any] = []
        data = None
        for batch in self.reached.remaining(batches):
            found.append(batch)
            data = batches.state_dict() if has_state(batches) else None
            if len(found) == self.accumulate:
                yield found, data
                found = []
        if found:
            yield found, data

    def _train(self, batches: list[Any], data: Any, bar: Any) -> bool:
        """Take one step with some batches; without an update if the loss is not finite and such steps are skipped.
        Returns True if a rank was asked to stop."""
        reached = self.reached
        random = mg.get_random_state()
        logged = (reached.steps + 1) % self.log_every == 0
        sizes = [0 if batch is None else self.items(batch) for batch in batches]
        total = self._parallel.total(sum(sizes))  # of all ranks
        self._parallel.zero_grad()
        loss: Any = None
        finite, asked = True, False
        for left, (batch, size) in enumerate(zip(batches, sizes, strict=True), 1 - len(batches)):
            if batch is None:
                own = None
            elif self.compiled is not None:
                own = self.compiled(batch, None if size == total else mg.tensor(size / total, dtype=np.float64))
            else:
                own = self._loss(batch)
            part, asked = self._parallel.share(own, size, total, bool(self._asked))  # of the step's mean loss
            looked = self.nonfinite == "skip" or logged or backend.backend_of(part.data).synchronous
            finite = finite and (self.nonfinite == "pass" or not looked or math.isfinite(part.item()))
            if finite:
                if self.compiled is None:
                    self._parallel.backward(own, size, total, hold=left < 0)
            elif self.nonfinite == "raise":
                self._explain(batches, random, f"the loss is {part.item()}")
            loss = part.detach() if loss is None else loss + part.detach()
        try:
            with uninterrupted():
                if finite:
                    self.optimizer.step()
                    if self.average is not None:
                        self.average.move()
                    reached.loss = reached.loss + loss.astype(np.float64) * total
                    reached.items += total
                elif self.carried is not None:  # a skipped step has corrupted it, too
                    self.carried.load_state_dict(reached.carried)
                reached.batch += len(batches)
                reached.steps += 1
                if logged:
                    self._log(loss, bar)
                if finite:
                    self._schedule_after("step")
                reached.mark(None, self.carried)
                reached.data = data
        except FloatingPointError as error:  # from the optimizer, about gradients
            if self.nonfinite != "raise":
                raise
            self._explain(batches, random, str(error))
        bar.update(len(batches))
        return bool(asked)

    def _end_epoch(self, value: float | None) -> None:
        """Record, schedule and early stopping; `value` is the validation loss."""
        reached = self.reached
        mean = float(reached.loss) / reached.items if reached.items else math.nan
        record = {"epoch": reached.epoch + 1, "step": reached.steps, "mean_loss": mean, "lr": self._lr}
        self._record(record if value is None else record | {"validation": value})
        self._schedule_after("epoch", value)
        if value is not None and value < reached.best - self.min_delta:
            reached.best, reached.waited = value, 0
            if self.restore_best:
                with self.averaged():
                    reached.best_weights = {name: w.copy() for name, w in self.model.state_dict().items()}
        elif value is not None:
            reached.waited += 1
            reached.stopped = self.patience is not None and reached.waited >= self.patience
        reached.epoch += 1
        reached.batch, reached.items, reached.loss = 0, 0, 0.0

    def evaluate(self, batches: Iterable[Any]) -> float:
        """The mean loss over batches, in evaluation mode, without recording, with averaged weights if `average` is set.
        Afterwards the weights, the modules' modes and `carried` are restored. Raises ValueError if there are no
        batches."""
        modes = [(module, module.training) for module in self.model.modules()]
        carried = None if self.carried is None else self.carried.state_dict()
        total: Any = 0.0
        items = 0
        self.model.eval()
        if self.carried is not None:
            self.carried.load_state_dict(self._fresh)
        try:
            with self.averaged(), mg.no_grad():
                for batch in batches:
                    if batch is None:
                        continue
                    size, loss = self.items(batch), self._loss(batch)
                    if size:
                        total, items = total + loss.astype(np.float64) * size, items + size
        finally:
            for module, mode in modes:
                module.training = mode
            if self.carried is not None:
                self.carried.load_state_dict(carried)
        total, items = self.group.sum([float(total), items])
        if not items:
            raise ValueError("Trainer.evaluate: there are no batches")
        return float(total / items)

    def averaged(self) -> AbstractContextManager[None]:
        """Inside `with trainer.averaged():`, the model has the average of its weights, if there is one."""
        return nullcontext() if self.average is None else self.average.applied()

    def _loss(self, batch: Any) -> mg.Tensor:
        loss = self.step(self.model, batch)
        if not isinstance(loss, mg.Tensor) or loss.shape != ():
            got = f"one of shape {loss.shape}" if isinstance(loss, mg.Tensor) else f"a {type(loss).__name__}"
            raise TypeError(f"Trainer: step(model, batch) must return the loss, a Tensor without axes, not {got}")
        return loss

    def _gradients(self, batch: Any, share: mg.Tensor | None) -> mg.Tensor:
        """The loss of a batch, whose gradients, times its share of the step, are added to those of the weights."""
        loss = self._loss(batch)
        (loss if share is None else loss * share).backward()
        return loss.detach()

    def _schedule_after(self, what: str, value: float | None = None) -> None:
        schedule: Any = self.schedule
        if getattr(schedule, "wants_metric", False):
            if what == "epoch":
                schedule.step(value)
        elif schedule is not None and self.schedule_every == what:
            schedule.step()

    # ---- saving and resuming -----------------------------------------------------------------------------------------

    def save(self, path: StrPath) -> None:
        """Write a checkpoint of the run after its last complete step, atomically."""
        if self.reached.random is None:
            self.reached.mark(None, self.carried)
        device = next((weight.device for weight in self.model.parameters()), "cpu")
        reached = gathered(self.reached, self.group, self.carried, device)
        if self.group.first:
            save_checkpoint(path, **self._parts() | {"trainer": self.state_dict() | {"reached": vars(reached)}})
        self.group.barrier()  # nobody goes on before a checkpoint that may fail

    def resume(self, path: StrPath) -> Trainer:
        """Resume from a checkpoint: the next `fit` with the same data gives, bit for bit, the results of an
        uninterrupted run. Returns this trainer. Raises ValueError or OSError, and changes nothing, if it cannot.
        """
        device = next((weight.device for weight in self.model.parameters()), "cpu")
        load_checkpoint(path, device=device, **self._parts())
        self.group.agree(f"Trainer.resume({os.fspath(path)!r})", {"the number of steps": str(self.reached.steps)})
        return self

    def _parts(self) -> dict[str, Any]:
        parts = {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule, "trainer": self}
        return {name: part for name, part in parts.items() if part is not None}

    def _names(self) -> list[str]:
        """The names of the run's parts."""
        more = {"carried": self.carried, "average": self.average}
        return [*self._parts(), *[name for name, part in more.items() if part is not None]]

    def _save_every(self, every: int | None, count: int) -> None:
        if self.checkpoint is not None and every is not None and count % every == 0:
            self.save(self.checkpoint)

    def state_dict(self) -> dict[str, Any]:
        """The history, the run's position, and the average of the weights, if there is one; the model, optimizer and
        schedule are separate parts."""
        state = {"of": self._names(), "history": list(self.history), "reached": vars(self.reached)}
        return state if self.average is None else state | {"averages": self.average.averages}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a result of `state_dict`. Raises ValueError or TypeError, which name the entry, for an invalid state;
        then nothing has changed."""
        keys = ("of", "history", "reached", "averages")
        entries("Trainer.load_state_dict: the state", state, keys, optional=keys[3:])
        if state["of"] != (own := self._names()):
            of = state["of"] if isinstance(state["of"], list | tuple) else [state["of"]]
            raise ValueError(f"it was saved with {', '.join(map(str, of))}; this Trainer has {', '.join(own)}")
        history = state["history"]
        if not isinstance(history, list | tuple) or not all(isinstance(record, Mapping) for record in history):
            raise ValueError(f"Trainer.load_state_dict: history must be a list of records, not {history!r:.80}")
        for record in history:
            for name in ("epoch", "step"):
                count(f"Trainer.load_state_dict: {name} of a record of the history", record.get(name))
        reached = Progress.of(state["reached"])
        weights = {name: w.shape for name, w in self.model.state_dict().items()}
        if reached.best_weights is not None and weights != {n: np.shape(w) for n, w in reached.best_weights.items()}:
            raise ValueError("Trainer.load_state_dict: reached: best_weights are not those of this model")
        mine = divided(reached, self.group, self.carried)
        if self.average is not None:
            self.average.averages = self.average.checked(state.get("averages"))
        self.reached, self.history = mine, History(history)
        self._displaced = self.reached.random is not None

    # ---- observing ---------------------------------------------------------------------------------------------------

    @property
    def _lr(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def _log(self, loss: mg.Tensor, bar: Any) -> None:
        """Add a record of the step to the history, and show it."""
        reached = self.reached
        measured = {"loss": loss.item(), "lr": self._lr}
        if self.optimizer.grad_norm is not None:
            measured["grad_norm"] = self.optimizer.grad_norm.item()
        self._record({"epoch": reached.epoch + 1, "step": reached.steps, **measured})
        (then, items), now = self._clock, time.perf_counter()
        self._clock = (now, reached.items)
        measured["items/s"] = (reached.items - items) / max(now - then, 1e-9)
        bar.set_postfix({name: f"{value:.3g}" for name, value in measured.items()})

    def _record(self, record: dict[str, Any]) -> None:
        """Add a record to the history and the logs."""
        self.history.append(record)
        for log in self.logs:
            log(record)

    def _explain(self, batches: list[Any], random: Any, what: str) -> NoReturn:
        """Run a step again, and raise an error with the origin of its first NaN or Inf."""
        reached = self.reached
        first, last = reached.batch + 1, reached.batch + len(batches)
        which = f"batch {first}" if first == last else f"batches {first} to {last}"
        text = f"in step {reached.steps + 1} (epoch {reached.epoch + 1}, {which}) {what}"
        weights = self.model.named_parameters()
        if spoilt := [name for name, weight in weights if not bool(np.isfinite(weight.data).all())]:
            text += f"; an earlier step had spoilt {', '.join(spoilt)}"
        mg.set_random_state(random)
        if self.carried is not None:
            self.carried.load_state_dict(reached.carried)
        self.optimizer.zero_grad()
        cause = None
        try:
            with mg.detect_anomaly():
                for batch in batches:
                    if batch is not None:
                        self._loss(batch).backward()
        except mg.AnomalyError as error:
            cause = error
        finally:
            self.optimizer.zero_grad()
        places = [f"{f'(rank {rank}) ' if self.group.size > 1 else ''}{found}"
                  for rank, found in enumerate(self.group.texts(str(cause or ""))) if found]  # fmt: skip
        again = f"Run again on the same {which.split()[0]}, the step was finite."
        text += f". It began here: {'; '.join(places)}" if places else f". {again}"
        raise everywhere(FloatingPointError(text)) from cause

    def _check(self, batches: Any, validation: Any, epochs: int) -> None:
        """Raise ValueError for data that cannot provide so many epochs."""
        for name, data in (("batches", batches), ("validation", validation)):
            if epochs > 1 and isinstance(data, Iterator):
                raise ValueError(
                    f"Trainer.fit: {name} is a {type(data).__name__}, which can be gone through only once, but "
                    f"{epochs} epochs are asked for; give a list, or an object whose __iter__ starts anew"
                )
        plateau = getattr(self.schedule, "wants_metric", False)
        if validation is None and (self.patience is not None or self.restore_best or plateau):
            raise ValueError("Trainer.fit: patience, restore_best and ReduceLROnPlateau need validation batches")

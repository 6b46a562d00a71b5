"""Changes of a model since its construction: those that a file can record, and those that it cannot.

A file holds weights and the constructor's arguments. Replacing an embedding, freezing weights or setting a dropout
changes more than weights; `changes_of` returns what else the file has to record, or refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nn

from ..files import Document

Made = dict[str, Any]
RATES = ("p", "dropout", "recurrent_dropout")  # attributes that may be changed, and are recorded
SIMPLE = (int, float, bool, str)
SHAPE = "the shape of "
UNSAID = {"training", "sparse", "padding_idx", "num_embeddings", *RATES}


def made_like(model: nn.Module) -> Made:
    """The structure of a model: the class and settings of each module, the shape of each tensor, and shared tensors."""
    found: Made = {}
    for name, module in model.named_modules():
        found[f"the kind of {name or 'the model'}"] = type(module).__name__
        found |= {f"{name}.{key}".lstrip("."): value for key, value in _settings(module).items()}
    owners: dict[int, str] = {}
    for name, tensor in model.state_dict().items():
        owner = owners.setdefault(id(tensor.data), name)
        found[SHAPE + name] = tensor.shape if owner == name else f"{tensor.shape}, the same tensor as {owner}"
    return found


def _settings(module: nn.Module) -> dict[str, Any]:
    if type(module).__module__.partition(".")[0] not in ("nn", "nlp"):
        return {}  # a user's cell may count its steps
    return {name: value for name, value in vars(module).items()
            if type(value) in SIMPLE and not name.startswith("_") and name not in UNSAID}  # fmt: skip


def changes_of(title: str, model: nn.Module, made: Made, resized: Mapping[str, str], options: Any) -> dict[str, Any]:
    """The changes that a file records besides weights and arguments. Changed arguments are updated in `options`.

    made     the result of `made_like` after construction
    resized  the embeddings whose number of rows is an argument, with its name

    Raises ValueError for a change that a file cannot record.
    """
    now, before = made_like(model), dict(made)
    for name in options.keys() & vars(model).keys():  # settings of the model itself
        value = vars(model)[name]
        if type(value) in SIMPLE or (value is None and name.endswith("_id")):
            options[name] = value
            before.pop(name, None)
    for name, argument in resized.items():
        key = f"{SHAPE}{name}.weight"
        if isinstance(now.get(key), tuple) and isinstance(before.get(key), tuple):
            options[argument] = now[key][0]
            before[key] = (now[key][0], *before[key][1:])
    new = [name for name in now if name.startswith(SHAPE) and name not in before]
    for name in (*before, *new):
        if (was := before.get(name, "not there")) != (value := now.get(name, "gone")):
            raise ValueError(
                f"{title}: {name} was {was} when the model was made, and is {value} now, which its file cannot record; "
                "make the model with the arguments that give this, or write its weights alone by nn.save"
            )
    modules = dict(model.named_modules())
    return {
        "frozen": [name for name, weight in model.named_parameters() if not weight.requires_grad],
        "padding": {name: e.padding_idx for name, e in modules.items() if isinstance(e, nn.Embedding)},
        "sparse": [name for name, e in modules.items() if isinstance(e, nn.Embedding) and e.sparse],
        "rates": {f"{name}.{rate}": float(vars(module)[rate]) for name, module in modules.items() for rate in RATES
                  if type(vars(module).get(rate)) in (int, float)},
    }  # fmt: skip


def change(model: nn.Module, changes: Document) -> None:
    """Apply the changes from `changes_of` to a new model, checked."""
    modules, weights = dict(model.named_modules()), dict(model.named_parameters())
    for name, index in changes.get("padding", dict).items():
        embedding = modules.get(name)
        if not isinstance(embedding, nn.Embedding) or not (
            index is None or (type(index) is int and 0 <= index < embedding.num_embeddings)
        ):
            changes.fail(f"{index!r} is not the padding of an embedding {name!r}")
        embedding.padding_idx = index
    for name in changes.get_list("sparse", str):
        embedding = modules.get(name)
        if not isinstance(embedding, nn.Embedding):
            changes.fail(f"{name!r} is not an embedding")
        embedding.sparse = True
    for name, rate in changes.get("rates", dict).items():
        owner, _, attribute = name.rpartition(".")
        if attribute not in RATES or type(vars(modules.get(owner, model)).get(attribute)) not in (int, float):
            changes.fail(f"{name!r} is not a rate of dropout")
        if type(rate) not in (int, float) or not 0 <= rate <= 1:
            changes.fail(f"{name} = {rate!r} is not a probability")
        setattr(modules[owner], attribute, float(rate))
    for name in changes.get_list("frozen", str):
        if name not in weights:
            changes.fail(f"{name!r} is not a weight that could be frozen")
        weights[name].requires_grad = False

"""Checkpoints of a group: the ranks' progress is merged for a checkpoint, and divided again afterwards.

A checkpoint of N ranks therefore equals that of one process, and M ranks can go on from it. Only the random numbers of
each rank are stored separately: the same number of ranks continues them, and further ranks begin with numbers derived
from rank 0's.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np

from ..training.checkpoints import packed, unpacked
from ..training.progress import Progress
from .data_parallel import seed_of
from .group import Group


def gathered(progress: Progress, group: Group, carrier: Any, device: str) -> Progress:
    """The progress of the whole run, on rank 0; the result on other ranks is meaningless.

    carrier  the object that carries state from step to step. With `merge` (see `nn.TBPTT`) the rows of all ranks are
             joined; other states are stored one by one, and only the same number of ranks can go on from them
    """
    if group.size == 1:
        return progress
    mine = packed(random=progress.random, epoch_random=progress.epoch_random, carried=progress.carried)
    ranks = [unpacked(content, device) for content in group.collect(mine)]
    if not ranks:
        return progress
    others = [(rank["random"], rank["epoch_random"]) for rank in ranks[1:]]
    carried = [rank["carried"] for rank in ranks]
    return dataclasses.replace(progress, others=others, carried=_joined(carried, carrier))


def divided(progress: Progress, group: Group, carrier: Any) -> Progress:
    """This rank's share of the progress in a checkpoint. Raises ValueError if the carried state cannot be divided."""
    if group.size > 1 and progress.others == ():
        return progress
    own = dataclasses.replace(progress, others=None, carried=_part(progress.carried, group, carrier))
    if group.size > 1:
        own.others = ()
    if group.rank and progress.random is not None:
        if group.rank <= len(progress.others or ()):
            own.random, own.epoch_random = progress.others[group.rank - 1]
        else:
            own.random = _following(progress.random, group.rank)
    return own


def _following(random: dict[str, Any], rank: int) -> dict[str, Any]:
    """A random state for a rank that had none, derived from rank 0's."""
    seed = seed_of(json.dumps(random), rank)
    return {"seed": seed, "cpu": np.random.default_rng(seed).bit_generator.state, "streams": {}}


def _joined(states: list[Any], carrier: Any) -> Any:
    if all(state is None for state in states):
        return None
    if hasattr(carrier, "merge"):
        try:
            return carrier.merge(states)
        except (ValueError, TypeError):  # ranks without carried state, or with other rows
            pass
    return {"ranks": states}


def _part(state: Any, group: Group, carrier: Any) -> Any:
    if isinstance(state, dict) and list(state) == ["ranks"]:
        if len(state["ranks"]) != group.size:
            raise ValueError(
                f"the state of {type(carrier).__name__} was saved by {len(state['ranks'])} ranks and cannot be divided "
                f"among {group.size}; start as many as then"
            )
        return state["ranks"][group.rank]
    if state is None or group.size == 1:
        return state
    if not hasattr(carrier, "split"):
        raise ValueError(
            f"the state of {type(carrier).__name__} was saved by one process, and it has no split(state, rank, ranks) "
            f"to divide it among {group.size}; start one"
        )
    return carrier.split(state, group.rank, group.size)

"""minigrad: reverse-mode automatic differentiation whose vocabulary is NumPy itself.

>>> import numpy as np, minigrad as mg
>>> W = mg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
>>> loss = np.tanh(W @ [0.1, 0.2]).sum()
>>> loss.backward()
>>> W.grad.shape
(2, 2)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import process as process  # before anything imports NumPy

# isort: split
from . import leaves as leaves  # binds Tensor.backward
from . import rules as rules  # fills the table and binds the operators
from .anomaly import AnomalyError, detect_anomaly
from .backend import DeviceError
from .backward import walk
from .checking import GradcheckError, gradcheck, gradgradcheck
from .checkpointing import checkpoint
from .creation import (
    arange,
    eye,
    from_dlpack,
    full,
    full_like,
    get_default_dtype,
    ones,
    ones_like,
    rand,
    rand_like,
    randn,
    randn_like,
    set_default_dtype,
    tensor,
    zeros,
    zeros_like,
)  # fmt: skip
from .fusion import FusionError, fuse
from .gradients import RowSparse
from .hints import FUNCTIONS, missing
from .modes import enable_grad, is_grad_enabled, no_grad, plain_path, set_grad_enabled
from .randomness import get_random_state, manual_seed, set_random_state
from .replay import RecordingError, compile
from .rules.activations import (
    elu,
    erf,
    gelu,
    hard_sigmoid,
    hard_tanh,
    leaky_relu,
    log_softmax,
    logsumexp,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
)  # fmt: skip
from .rules.elementwise import exp, log, tanh
from .rules.indexing import embedding
from .rules.joining import unstack
from .rules.products import linear
from .scan import scan
from .scopes import name, scope, steps
from .tape import Observer
from .tensors import Tensor
from .transforms import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from .version import __version__ as __version__
from .vocabulary import primitive

if TYPE_CHECKING:
    from .diagnosis import doctor
    from .interventions import Intervention, intervene
    from .pictures import Graph
    from .pictures.making import graph
    from .profiling import Profile, profile


# Modules by the public names they define; imported on first use, since importing them takes as long as all the rest.
_LATER = {
    "diagnosis": ("doctor",),
    "interventions": ("Intervention", "intervene"),
    "pictures": ("Graph", "graph"),
    "profiling": ("Profile", "profile"),
}


def __getattr__(name: str) -> Any:
    for module, names in _LATER.items():
        if name == module or name in names:
            found = import_module(f".{module}", __name__)
            return found if name == module else globals().setdefault(name, getattr(found, name))
    raise AttributeError(missing(f"module {__name__!r}", name, FUNCTIONS), name=name)


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])


__all__ = [
    "AnomalyError",
    "DeviceError",
    "FusionError",
    "GradcheckError",
    "Graph",
    "Intervention",
    "Observer",
    "Profile",
    "RecordingError",
    "RowSparse",
    "Tensor",
    "arange",
    "checkpoint",
    "compile",
    "detect_anomaly",
    "doctor",
    "elu",
    "embedding",
    "enable_grad",
    "erf",
    "exp",
    "eye",
    "from_dlpack",
    "full",
    "full_like",
    "fuse",
    "gelu",
    "get_default_dtype",
    "get_random_state",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "hard_sigmoid",
    "hard_tanh",
    "hessian",
    "hvp",
    "intervene",
    "is_grad_enabled",
    "jacobian",
    "jvp",
    "leaky_relu",
    "linear",
    "log",
    "log_softmax",
    "logsumexp",
    "manual_seed",
    "name",
    "no_grad",
    "ones",
    "ones_like",
    "plain_path",
    "primitive",
    "profile",
    "rand",
    "rand_like",
    "randn",
    "randn_like",
    "relu",
    "scan",
    "scope",
    "set_default_dtype",
    "set_grad_enabled",
    "set_random_state",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "steps",
    "tanh",
    "tensor",
    "unstack",
    "value_and_grad",
    "vjp",
    "walk",
    "zeros",
    "zeros_like",
]

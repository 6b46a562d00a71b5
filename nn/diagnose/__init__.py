"""nn.diagnose: the flow of gradients through a recurrent network, and the behaviour of its states and gates.

    gradient_flow(loss, states)       ‖∂L/∂s_t‖ for each step
    gradient_horizon(loss, states)    the number of steps within which the gradient arrives
    bptt_terms(loss, parameter)       the summands of ∂L/∂W, one for each step
    state_jacobians(layer, xs)        ∂s_{t+1}/∂s_t, their products, Lyapunov exponents
    lyapunov(layer, xs)               the Lyapunov spectrum, of long sequences and batches
    truncation_report(layer, xs, f)   the part of the gradient that truncated back-propagation keeps
    gate_statistics(layer, xs)        the saturation of each gate over time
    report(model, batch, loss)        one page with all checks, the causes, and things to try

They work for any cell and for hand-written loops, without changes to the model's code: they read the tape. Each returns
a small result with numbers (NumPy arrays), a `verdict` in one line of words, and `plot()`. No `.grad` changes, no graph
is released, and nothing is kept once the result is dropped.
"""

from .causes import CAUSES, Cause, Section
from .flow import GradientFlow, GradientHorizon, gradient_flow, gradient_horizon
from .gates import Gate, GateStatistics, gate_statistics
from .jacobians import StateJacobians, state_jacobians
from .page import Report, report
from .spectrum import Lyapunov, lyapunov
from .terms import Terms, TermsByLoss, bptt_terms
from .truncation import TruncationReport, truncation_report

__all__ = [
    "CAUSES",
    "Cause",
    "Gate",
    "GateStatistics",
    "GradientFlow",
    "GradientHorizon",
    "Lyapunov",
    "Report",
    "Section",
    "StateJacobians",
    "Terms",
    "TermsByLoss",
    "TruncationReport",
    "bptt_terms",
    "gate_statistics",
    "gradient_flow",
    "gradient_horizon",
    "lyapunov",
    "report",
    "state_jacobians",
    "truncation_report",
]

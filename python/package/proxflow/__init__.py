"""Exact optimal transport and Lipschitz-regularised divergences, every value between certified bounds.

Balanced transport with any cost matrix (`transport`), the Wasserstein distances (`wasserstein`), semi-relaxed transport
(`semi_relaxed`), f-divergences (`divergence`) and their Lipschitz regularisation (`lipschitz_divergence`), the combined
Wasserstein-1/Wasserstein-2 proximal of arXiv:2407.11901 (`combined_proximal`) and the optimality gap of a flow (`optimality_gap`). `Flow` trains the
proximal's flow on one's own data by the command ``flow`` and keeps scikit-learn's conventions.

`proxflow.torch` and `proxflow.jax` make the values differentiable there.

Examples
--------
>>> import proxflow
>>> result = proxflow.wasserstein([[0.0], [2.0]], [[1.0], [5.0]], p=1)
>>> result
Result(value=2.0, gap=0.0e+00, status='converged', n=2, m=2)
>>> result.lower <= result.value <= result.upper
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._divergence import divergence, lipschitz_divergence, lipschitz_divergence_batch
from ._proxflow import __version__
from ._proximal import combined_proximal, combined_proximal_batch, optimality_gap
from ._result import Gap, ProximalResult, Result
from ._transport import (
    semi_relaxed,
    semi_relaxed_batch,
    transport,
    transport_batch,
    wasserstein,
    wasserstein_batch,
)

if TYPE_CHECKING:
    from .flow import Flow

__all__ = [
    "Flow",
    "Gap",
    "ProximalResult",
    "Result",
    "__version__",
    "combined_proximal",
    "combined_proximal_batch",
    "divergence",
    "lipschitz_divergence",
    "lipschitz_divergence_batch",
    "optimality_gap",
    "semi_relaxed",
    "semi_relaxed_batch",
    "transport",
    "transport_batch",
    "wasserstein",
    "wasserstein_batch",
]


def __getattr__(name: str) -> object:
    # On first use: what starts a child process imports much that the solvers do not need.
    if name == "Flow":
        from .flow import Flow

        globals()["Flow"] = Flow
        return Flow
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

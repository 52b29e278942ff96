"""Exact, certified losses for PyTorch, differentiable in positions and weights.

Values are computed in float64 on the CPU whatever the type and device of the tensors; gradients come back in both. They are the
gradients of the exact value, from its optimal plan, so nothing is unrolled and nothing is approximated. Second derivatives are not
defined.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from . import _divergence, _proximal, _transport
from ._result import Result

__all__ = [
    "CombinedProximal",
    "LipschitzDivergence",
    "PlanSampler",
    "combined_proximal",
    "lipschitz_divergence",
    "wasserstein",
]


def _array(tensor: Tensor | None) -> Any:
    return None if tensor is None else tensor.detach().to(device="cpu", dtype=torch.float64).numpy()


class _Value(torch.autograd.Function):
    """The value of a problem as a function of points and weights; the gradients are made in the forward pass if needed."""

    @staticmethod
    def forward(ctx: Any, solve: Any, x_a: Tensor, x_b: Tensor, a: Tensor | None, b: Tensor | None) -> Tensor:
        result: Result = solve(_array(x_a), _array(x_b), _array(a), _array(b))
        wanted = ctx.needs_input_grad[1:]
        gradients = [None] * 4
        if wanted[0]:
            gradients[0] = result.gradient_a
        if wanted[1]:
            gradients[1] = result.gradient_b
        # In the gauge <w, g> = 0; weights that sum to s enter the value as w / s.
        if wanted[2]:
            gradients[2] = result.weights_gradient_a / float(a.detach().sum())
        if wanted[3]:
            gradients[3] = result.weights_gradient_b / float(b.detach().sum())
        ctx.save_for_backward(
            *(
                None if g is None else torch.from_numpy(np.ascontiguousarray(g)).to(device=t.device, dtype=t.dtype)
                for g, t in zip(gradients, (x_a, x_b, a, b))
            )
        )
        return x_a.new_tensor(result.value)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return (None, *(None if g is None else upstream * g for g in ctx.saved_tensors))


def wasserstein(
    X_a: Tensor,
    X_b: Tensor,
    a: Tensor | None = None,
    b: Tensor | None = None,
    *,
    p: int = 1,
    squared: bool = False,
    n_threads: int | None = None,
) -> Tensor:
    """The Wasserstein distance as a differentiable scalar; see `proxflow.wasserstein`.

    Parameters
    ----------
    X_a, X_b : Tensor of shape (n, d) and (m, d)
        Points; further axes are flattened.
    a, b : Tensor of shape (n,) and (m,), optional
        Weights; uniform by default.
    p, squared, n_threads
        As in `proxflow.wasserstein`. With ``p=2`` prefer ``squared=True`` for training: ``W2`` has no gradient at 0 (zero is returned there).

    Returns
    -------
    Tensor
        A scalar of the type and on the device of `X_a`.

    Examples
    --------
    >>> import torch, proxflow.torch
    >>> x = torch.tensor([[0.0], [1.0]], requires_grad=True)
    >>> loss = proxflow.torch.wasserstein(x, torch.tensor([[2.0], [4.0]]), p=2, squared=True)
    >>> loss.backward()
    >>> loss.item(), x.grad.tolist()
    (6.5, [[-2.0], [-3.0]])
    """

    def solve(x: Any, z: Any, weights_a: Any, weights_b: Any) -> Result:
        return _transport.wasserstein(x, z, weights_a, weights_b, p=p, squared=squared, n_threads=n_threads)

    return _Value.apply(solve, X_a, X_b, a, b)  # type: ignore[no-any-return]


def lipschitz_divergence(
    X_a: Tensor,
    X_b: Tensor,
    a: Tensor | None = None,
    b: Tensor | None = None,
    *,
    f: str = "kl",
    lipschitz: float = 1.0,
    singular: str = "forbidden",
    tol: float = 1e-11,
    n_threads: int | None = None,
) -> Tensor:
    """The Lipschitz-regularised divergence as a differentiable scalar; see `proxflow.lipschitz_divergence`.

    Examples
    --------
    >>> import torch, proxflow.torch
    >>> model = torch.tensor([[0.0], [1.0]], requires_grad=True)
    >>> loss = proxflow.torch.lipschitz_divergence(model, torch.tensor([[3.0]]), lipschitz=0.5)
    >>> loss.backward()
    >>> loss.item(), model.grad.tolist()
    (1.25, [[-0.25], [-0.25]])
    """

    def solve(x: Any, z: Any, weights_a: Any, weights_b: Any) -> Result:
        return _divergence.lipschitz_divergence(
            x, z, weights_a, weights_b, f=f, lipschitz=lipschitz, singular=singular, tol=tol, n_threads=n_threads
        )

    return _Value.apply(solve, X_a, X_b, a, b)  # type: ignore[no-any-return]


def combined_proximal(
    X_a: Tensor,
    X_b: Tensor,
    a: Tensor | None = None,
    b: Tensor | None = None,
    *,
    lam: float,
    horizon: float,
    lipschitz: float = 1.0,
    f: str = "kl",
    singular: str = "forbidden",
    tol: float = 1e-11,
    n_threads: int | None = None,
) -> Tensor:
    """The value ``J*`` of the combined proximal as a differentiable scalar; see `proxflow.combined_proximal`.

    Examples
    --------
    >>> import torch, proxflow.torch
    >>> x = torch.zeros(1, 1, requires_grad=True)
    >>> loss = proxflow.torch.combined_proximal(x, torch.tensor([[3.0]]), lam=1.0, horizon=2.0)
    >>> loss.backward()
    >>> loss.item(), x.grad.item()
    (2.0, -1.0)
    """

    def solve(x: Any, z: Any, weights_a: Any, weights_b: Any) -> Result:
        return _proximal.combined_proximal(
            x,
            z,
            weights_a,
            weights_b,
            lam=lam,
            horizon=horizon,
            lipschitz=lipschitz,
            f=f,
            singular=singular,
            tol=tol,
            n_threads=n_threads,
        )

    return _Value.apply(solve, X_a, X_b, a, b)  # type: ignore[no-any-return]


class LipschitzDivergence(nn.Module):
    """`lipschitz_divergence` as a loss module: ``loss(model, data)``.

    Parameters
    ----------
    f, lipschitz, singular, tol, n_threads
        As in `proxflow.lipschitz_divergence`.

    Examples
    --------
    >>> import torch, proxflow.torch
    >>> loss = proxflow.torch.LipschitzDivergence(lipschitz=0.5)
    >>> loss(torch.zeros(2, 1), torch.full((1, 1), 2.0)).item()
    1.0
    """

    def __init__(
        self,
        f: str = "kl",
        lipschitz: float = 1.0,
        singular: str = "forbidden",
        tol: float = 1e-11,
        n_threads: int | None = None,
    ) -> None:
        super().__init__()
        self.f = f
        self.lipschitz = lipschitz
        self.singular = singular
        self.tol = tol
        self.n_threads = n_threads

    def forward(self, X_a: Tensor, X_b: Tensor, a: Tensor | None = None, b: Tensor | None = None) -> Tensor:
        """The divergence of the points `X_a` (the model) from `X_b` (the data), a scalar."""
        return lipschitz_divergence(
            X_a,
            X_b,
            a,
            b,
            f=self.f,
            lipschitz=self.lipschitz,
            singular=self.singular,
            tol=self.tol,
            n_threads=self.n_threads,
        )

    def extra_repr(self) -> str:
        return f"f={self.f!r}, lipschitz={self.lipschitz}"


class CombinedProximal(nn.Module):
    """`combined_proximal` as a loss module: ``loss(source, data)`` is ``J*``.

    Parameters
    ----------
    lam, horizon, lipschitz, f, singular, tol, n_threads
        As in `proxflow.combined_proximal`.
    """

    def __init__(
        self,
        lam: float,
        horizon: float,
        lipschitz: float = 1.0,
        f: str = "kl",
        singular: str = "forbidden",
        tol: float = 1e-11,
        n_threads: int | None = None,
    ) -> None:
        super().__init__()
        self.arguments = {
            "lam": lam,
            "horizon": horizon,
            "lipschitz": lipschitz,
            "f": f,
            "singular": singular,
            "tol": tol,
            "n_threads": n_threads,
        }

    def forward(self, X_a: Tensor, X_b: Tensor, a: Tensor | None = None, b: Tensor | None = None) -> Tensor:
        """``J*`` from the points `X_a` (the source) to `X_b` (the data), a scalar."""
        return combined_proximal(X_a, X_b, a, b, **self.arguments)  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())


class PlanSampler:
    """Minibatch couplings from the exact plan, with the interface of TorchCFM's ``OTPlanSampler``.

    The plan is the exact one for the squared distance, so pairs are what ``OTPlanSampler("exact")`` draws.

    Parameters
    ----------
    replace : bool
        Draw the n pairs with replacement (TorchCFM's default). Without it a batch of equal sizes is paired completely, every point used
        once.
    n_threads : int, optional
        Threads of the solver.

    Examples
    --------
    >>> import torch, proxflow.torch
    >>> sampler = proxflow.torch.PlanSampler(replace=False)
    >>> x0, x1 = sampler.sample_plan(torch.tensor([[0.0], [1.0]]), torch.tensor([[5.0], [4.0]]))
    >>> sorted(zip(x0.flatten().tolist(), x1.flatten().tolist()))
    [(0.0, 4.0), (1.0, 5.0)]
    """

    def __init__(self, replace: bool = True, n_threads: int | None = None) -> None:
        self.replace = replace
        self.n_threads = n_threads

    def solve(self, x0: Tensor, x1: Tensor) -> Result:
        """The certified result behind the plan: ``W2**2`` between the batches."""
        return _transport.wasserstein(x0, x1, p=2, squared=True, n_threads=self.n_threads)

    def get_map(self, x0: Tensor, x1: Tensor) -> np.ndarray[Any, Any]:
        """The plan as a numpy array of shape (n, m)."""
        return self.solve(x0, x1).plan

    def _pairs(self, x0: Tensor, x1: Tensor, replace: bool | None) -> tuple[Tensor, Tensor]:
        rows, columns, masses = (torch.from_numpy(part) for part in self.solve(x0, x1).arcs)
        count = len(x0)
        if self.replace if replace is None else replace:
            drawn = torch.multinomial(masses, count, replacement=True)
        elif len(x0) == len(x1):
            # The plan of two uniform batches of one size is a permutation.
            drawn = torch.randperm(len(masses))
        else:
            raise ValueError(
                f"replace: False is not allowed (allowed: True for batches of different sizes {len(x0)} and {len(x1)})"
            )
        return rows[drawn].long().to(x0.device), columns[drawn].long().to(x1.device)

    def sample_plan(self, x0: Tensor, x1: Tensor, replace: bool | None = None) -> tuple[Tensor, Tensor]:
        """Pairs ``(x0[i], x1[j])`` drawn from the plan, one for each row of `x0`.

        Parameters
        ----------
        x0, x1 : Tensor of shape (n, ...) and (m, ...)
        replace : bool, optional
            Overrides the constructor's.

        Returns
        -------
        tuple of Tensor
        """
        i, j = self._pairs(x0, x1, replace)
        return x0[i], x1[j]

    def sample_plan_with_labels(
        self,
        x0: Tensor,
        x1: Tensor,
        y0: Tensor | None = None,
        y1: Tensor | None = None,
        replace: bool | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """`sample_plan` that carries labels along: ``(x0[i], x1[j], y0[i], y1[j])``, None for labels that are not given."""
        i, j = self._pairs(x0, x1, replace)
        return x0[i], x1[j], None if y0 is None else y0[i.to(y0.device)], None if y1 is None else y1[j.to(y1.device)]

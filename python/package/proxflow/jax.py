"""Exact, certified losses for JAX: ``custom_vjp`` over a callback to the solver, so that ``grad``, ``jit`` and ``vmap`` work.

Values are computed in float64 on the host whatever the type of the arrays; gradients come back in it. Only first derivatives in reverse
mode are defined. ``vmap`` solves its problems one after the other.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import _divergence, _proximal, _transport
from ._result import Result

__all__ = ["combined_proximal", "lipschitz_divergence", "wasserstein"]

_SOLVERS = {
    "wasserstein": _transport.wasserstein,
    "lipschitz_divergence": _divergence.lipschitz_divergence,
    "combined_proximal": _proximal.combined_proximal,
}


@lru_cache(maxsize=256)
def _differentiable(problem: str, keywords: tuple[tuple[str, Any], ...]) -> Any:
    """The value of a problem as a function of points and weights, with its derivative rule."""

    def solve(x_a: Any, x_b: Any, a: Any, b: Any) -> Result:
        return _SOLVERS[problem](x_a, x_b, a, b, **dict(keywords))  # type: ignore[operator,no-any-return]

    def value_on_host(x_a: Any, x_b: Any, a: Any, b: Any) -> Any:
        dtype = np.asarray(x_a).dtype
        return np.asarray(solve(x_a, x_b, a, b).value).astype(dtype)

    def all_on_host(x_a: Any, x_b: Any, a: Any, b: Any) -> Any:
        inputs = [np.asarray(part) for part in (x_a, x_b, a, b)]
        result = solve(*inputs)
        # In the gauge <w, g> = 0; weights that sum to s enter the value as w / s.
        gradients = (
            result.gradient_a,
            result.gradient_b,
            result.weights_gradient_a / float(inputs[2].astype(np.float64).sum()),
            result.weights_gradient_b / float(inputs[3].astype(np.float64).sum()),
        )
        value = np.asarray(result.value).astype(inputs[0].dtype)
        return value, *(gradient.astype(part.dtype) for gradient, part in zip(gradients, inputs))

    def shape_of(part: Any) -> Any:
        return jax.ShapeDtypeStruct(part.shape, part.dtype)

    @jax.custom_vjp
    def value(x_a: Any, x_b: Any, a: Any, b: Any) -> Any:
        scalar = jax.ShapeDtypeStruct((), x_a.dtype)
        return jax.pure_callback(value_on_host, scalar, x_a, x_b, a, b, vmap_method="sequential")

    def forward(x_a: Any, x_b: Any, a: Any, b: Any) -> Any:
        shapes = (jax.ShapeDtypeStruct((), x_a.dtype), *(shape_of(part) for part in (x_a, x_b, a, b)))
        first, *gradients = jax.pure_callback(all_on_host, shapes, x_a, x_b, a, b, vmap_method="sequential")
        return first, gradients

    def backward(gradients: Any, upstream: Any) -> Any:
        return tuple((upstream * gradient).astype(gradient.dtype) for gradient in gradients)

    value.defvjp(forward, backward)
    return value


def _call(problem: str, X_a: Any, X_b: Any, a: Any, b: Any, **keywords: Any) -> jax.Array:
    x_a, x_b = _floating(X_a), _floating(X_b)
    a = jnp.full(x_a.shape[0], 1.0 / x_a.shape[0], dtype=jnp.promote_types(x_a.dtype, jnp.float32)) if a is None else _floating(a)
    b = jnp.full(x_b.shape[0], 1.0 / x_b.shape[0], dtype=jnp.promote_types(x_b.dtype, jnp.float32)) if b is None else _floating(b)
    return _differentiable(problem, tuple(sorted(keywords.items())))(x_a, x_b, a, b)  # type: ignore[no-any-return]


def _floating(values: Any) -> Any:
    array = jnp.asarray(values)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.result_type(float))


def wasserstein(
    X_a: Any,
    X_b: Any,
    a: Any = None,
    b: Any = None,
    *,
    p: int = 1,
    squared: bool = False,
    n_threads: int | None = None,
) -> jax.Array:
    """The Wasserstein distance as a differentiable scalar; see `proxflow.wasserstein`.

    Parameters
    ----------
    X_a, X_b : array of shape (n, d) and (m, d)
    a, b : array of shape (n,) and (m,), optional
        Weights; uniform by default.
    p, squared, n_threads
        As in `proxflow.wasserstein`; static under ``jit``.

    Returns
    -------
    jax.Array
        A scalar of the type of `X_a`.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, proxflow.jax
    >>> z = jnp.array([[2.0], [4.0]])
    >>> loss = lambda x: proxflow.jax.wasserstein(x, z, p=2, squared=True)
    >>> value, gradient = jax.jit(jax.value_and_grad(loss))(jnp.array([[0.0], [1.0]]))
    >>> float(value), gradient.tolist()
    (6.5, [[-2.0], [-3.0]])
    """
    return _call("wasserstein", X_a, X_b, a, b, p=p, squared=squared, n_threads=n_threads)


def lipschitz_divergence(
    X_a: Any,
    X_b: Any,
    a: Any = None,
    b: Any = None,
    *,
    f: str = "kl",
    lipschitz: float = 1.0,
    singular: str = "forbidden",
    tol: float = 1e-11,
    n_threads: int | None = None,
) -> jax.Array:
    """The Lipschitz-regularised divergence as a differentiable scalar; see `proxflow.lipschitz_divergence`.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, proxflow.jax
    >>> loss = lambda x: proxflow.jax.lipschitz_divergence(x, jnp.array([[3.0]]), lipschitz=0.5)
    >>> jax.grad(loss)(jnp.array([[0.0], [1.0]])).tolist()
    [[-0.25], [-0.25]]
    """
    return _call(
        "lipschitz_divergence",
        X_a,
        X_b,
        a,
        b,
        f=f,
        lipschitz=lipschitz,
        singular=singular,
        tol=tol,
        n_threads=n_threads,
    )


def combined_proximal(
    X_a: Any,
    X_b: Any,
    a: Any = None,
    b: Any = None,
    *,
    lam: float,
    horizon: float,
    lipschitz: float = 1.0,
    f: str = "kl",
    singular: str = "forbidden",
    tol: float = 1e-11,
    n_threads: int | None = None,
) -> jax.Array:
    """The value ``J*`` of the combined proximal as a differentiable scalar; see `proxflow.combined_proximal`.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, proxflow.jax
    >>> loss = lambda x: proxflow.jax.combined_proximal(x, jnp.array([[3.0]]), lam=1.0, horizon=2.0)
    >>> float(loss(jnp.zeros((1, 1)))), jax.grad(loss)(jnp.zeros((1, 1))).tolist()
    (2.0, [[-1.0]])
    """
    return _call(
        "combined_proximal",
        X_a,
        X_b,
        a,
        b,
        lam=lam,
        horizon=horizon,
        lipschitz=lipschitz,
        f=f,
        singular=singular,
        tol=tol,
        n_threads=n_threads,
    )

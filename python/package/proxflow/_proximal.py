"""The combined Wasserstein-1/Wasserstein-2 proximal of arXiv:2407.11901, and the optimality gap of a given flow."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _arguments as arguments
from . import _proxflow
from ._batch import Pairs, Progress, many_pairs, one_pair
from ._divergence import is_priced
from ._result import Gap, ProximalResult


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
    normalise: bool = False,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> ProximalResult:
    """The combined proximal ``J* = inf_rho { lam / (2 T) W2(rho_0, rho)**2 + D_f^L(rho | data) }``, exactly.

    Eliminating the middle point leaves one semi-relaxed transport problem with a Huber cost; its plan gives the optimal flow, straight
    lines at constant speed.

    Parameters
    ----------
    X_a : array of shape (n, d)
        Points of the source law rho_0; shapes and types as in `wasserstein`.
    X_b : array of shape (m, d)
        Points of the data.
    a, b : array of shape (n,) and (m,), optional
        Weights; uniform by default.
    lam : float
        Weight ``> 0`` of the kinetic energy.
    horizon : float
        Time ``T > 0`` of the flow.
    lipschitz, f, singular, tol
        As in `lipschitz_divergence`.
    normalise, n_threads, progress
        As in `transport`.

    Returns
    -------
    ProximalResult
        With ``endpoints``, ``masses``, ``kinetic_energy``, ``positions(t)``, ``value_function(y, t)``, ``velocity(y, t)``; ``potential(y)`` is the
        terminal discriminator.

    Examples
    --------
    >>> import proxflow
    >>> result = proxflow.combined_proximal([[0.0]], [[3.0]], lam=1.0, horizon=2.0, lipschitz=1.0)
    >>> result.value, result.kinetic_energy, result.first_transport
    (2.0, 1.0, 1.0)
    >>> result.positions(1.0).tolist(), result.endpoints.tolist()
    ([[1.0]], [[2.0]])
    """
    pairs = one_pair(X_a, X_b, a, b, normalise)
    return _combined_proximal(pairs, lam, horizon, lipschitz, f, singular, tol, n_threads, progress)[0]


def combined_proximal_batch(
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
    normalise: bool = False,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> list[ProximalResult]:
    """`combined_proximal` for a batch of problems, side by side on all threads; shapes as in `wasserstein_batch`.

    Examples
    --------
    >>> import numpy, proxflow
    >>> x = numpy.zeros((2, 1, 1))
    >>> [result.value for result in proxflow.combined_proximal_batch(x, x + 3.0, lam=1.0, horizon=2.0)]
    [2.0, 2.0]
    """
    pairs = many_pairs(X_a, X_b, a, b, normalise)
    return _combined_proximal(pairs, lam, horizon, lipschitz, f, singular, tol, n_threads, progress)


def _combined_proximal(
    pairs: Pairs,
    lam: float,
    horizon: float,
    lipschitz: float,
    f: str,
    singular: str,
    tol: float,
    n_threads: int | None,
    progress: Progress | None,
) -> list[ProximalResult]:
    threads = arguments.threads(n_threads)
    parameters = [
        arguments.number(name, value) for name, value in (("lipschitz", lipschitz), ("lam", lam), ("horizon", horizon))
    ]
    solutions = _proxflow.combined_proximal(
        pairs.x_a,
        pairs.x_b,
        pairs.a,
        pairs.b,
        arguments.generator(f),
        *parameters,
        is_priced(singular),
        arguments.number("tol", tol),
        threads,
        progress,
    )
    results = []
    for parts in zip(solutions, pairs.given_a, pairs.given_b):
        result = ProximalResult(*parts, threads)
        result.lipschitz, result.lam, result.horizon = parameters
        results.append(result)
    return results


def optimality_gap(
    trajectories: Any,
    X_b: Any,
    a: Any = None,
    b: Any = None,
    *,
    times: Any = None,
    lam: float,
    horizon: float | None = None,
    lipschitz: float = 1.0,
    f: str = "kl",
    tol: float = 1e-11,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> Gap:
    """How far a flow is from the optimum of `combined_proximal` on the same samples, as an interval.

    ``J(flow) - J*`` with ``J = lam K + D_f^L(x_N | data)`` and ``K = sum_k E|x_{k+1} - x_k|**2 / (2 (t_{k+1} - t_k))``. The flow may come
    from anywhere: only its positions are read.

    Parameters
    ----------
    trajectories : array of shape (N + 1, n, d)
        Positions of n samples at N + 1 times, N >= 1; further axes (images) are flattened. ``trajectories[0]`` are the source samples.
    X_b : array of shape (m, d)
        Points of the data.
    a, b : array of shape (n,) and (m,), optional
        Weights of the samples and of the data; uniform by default.
    times : array of shape (N + 1,), optional
        The times, monotone; a decreasing sequence is read backwards, together with the trajectories. Uniform on ``[0, horizon]`` by
        default.
    lam : float
        Weight of the kinetic energy.
    horizon : float, optional
        Time T of the flow; needed without `times`, and must agree with them.
    lipschitz, f, tol, n_threads, progress
        As in `lipschitz_divergence`.

    Returns
    -------
    Gap
        ``lower``, ``upper``, ``objective``, ``optimum``, ``terminal``, ``kinetic_energy``, ``optimal_kinetic_energy``.

    Examples
    --------
    The straight line at constant speed is optimal; waiting first costs twice the kinetic energy.

    >>> import proxflow
    >>> straight = [[[0.0]], [[1.0]], [[2.0]]]
    >>> gap = proxflow.optimality_gap(straight, [[3.0]], lam=1.0, horizon=2.0)
    >>> abs(gap.upper) < 1e-11
    True
    >>> late = proxflow.optimality_gap([[[0.0]], [[0.0]], [[2.0]]], [[3.0]], lam=1.0, horizon=2.0)
    >>> round(late.upper, 10)
    1.0
    """
    paths = arguments.as_numpy("trajectories", trajectories)
    if paths.ndim < 2 or 0 in paths.shape[:2]:
        raise arguments.invalid("trajectories", f"shape {paths.shape}", "(N + 1, n, d) with N >= 1")
    paths = np.ascontiguousarray(paths.reshape(*paths.shape[:2], -1), dtype=np.float64)
    if len(paths) < 2:
        raise arguments.invalid("trajectories", f"{len(paths)} time", "(N + 1, n, d) with N >= 1")
    data, _ = arguments.points("X_b", X_b)
    if times is None:
        if horizon is None:
            raise arguments.invalid("horizon", None, "a number > 0 where times are not given")
        horizon = arguments.number("horizon", horizon)
        moments = None
    else:
        moments = np.ascontiguousarray(arguments.as_numpy("times", times), dtype=np.float64)
        if moments.shape != (len(paths),):
            raise arguments.invalid("times", f"shape {moments.shape}", f"({len(paths)},)")
        if moments[-1] < moments[0]:
            moments, paths = moments[::-1].copy(), np.ascontiguousarray(paths[::-1])
        if not (np.isfinite(moments).all() and (np.diff(moments) > 0).all()):
            raise arguments.invalid("times", "not monotone", "finite times, strictly monotone")
        if horizon is None:
            horizon = float(moments[-1] - moments[0])
        elif abs(moments[-1] - moments[0] - horizon) > 1e-6 * abs(horizon):
            raise arguments.invalid("horizon", horizon, f"{moments[-1] - moments[0]}, the span of times")
    weights = arguments.weights("a", a, paths.shape[1], False)
    numbers = _proxflow.optimality_gap(
        paths,
        data,
        weights,
        arguments.weights("b", b, len(data), False),
        moments,
        arguments.generator(f),
        arguments.number("lipschitz", lipschitz),
        arguments.number("lam", lam),
        arguments.number("horizon", horizon),
        arguments.number("tol", tol),
        arguments.threads(n_threads),
        progress,
    )
    return Gap(numbers)

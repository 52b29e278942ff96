"""f-divergences and their Lipschitz regularisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _arguments as arguments
from . import _proxflow
from ._batch import Pairs, Progress, many_pairs, one_pair, results
from ._result import Result


def divergence(p: Any, q: Any, *, f: str = "kl", normalise: bool = False) -> float:
    """The f-divergence ``D_f(p | q) = sum_j q_j f(p_j / q_j)`` of two weight vectors on the same atoms.

    Parameters
    ----------
    p, q : array of shape (n,)
        Weights ``>= 0`` of sum 1; p is the model, q the data.
    f : str
        ``'kl'`` (``x ln x``), ``'reverse-kl'`` (``-ln x``), ``'alpha:A'``, ``'chi2'``, ``'js'`` or ``'hellinger'``.
    normalise : bool
        Divide both by their sums first.

    Returns
    -------
    float
        ``inf`` where p charges an atom that q does not and ``f(x)/x`` is unbounded.

    Examples
    --------
    >>> import proxflow
    >>> round(proxflow.divergence([0.5, 0.5], [0.25, 0.75]), 12)
    0.143841036226
    >>> proxflow.divergence([0.5, 0.5], [1.0, 0.0])
    inf
    """
    model = np.ascontiguousarray(arguments.as_numpy("p", p), dtype=np.float64)
    if model.ndim != 1 or model.size == 0:
        raise arguments.invalid("p", f"shape {model.shape}", "(n,) with n >= 1")
    weights = [arguments.weights(name, w, len(model), normalise) for name, w in (("p", model), ("q", q))]
    if weights[1] is None:
        raise arguments.invalid("q", None, f"an array of shape ({len(model)},)")
    return _proxflow.divergence(weights[0], weights[1], arguments.generator(f))  # type: ignore[arg-type]


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
    normalise: bool = False,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """The Lipschitz-regularised divergence ``D_f^L`` between weighted points, exactly.

    ``D_f^L(P | Q) = min_eta { D_f(eta | Q) + L W1(P, eta) } = max { E_P phi - Lambda_Q(phi) : phi is L-Lipschitz }``, with the
    model P on `X_a` and the data Q on `X_b`. It is finite for any two point clouds.

    Parameters
    ----------
    X_a : array of shape (n, d)
        Points of the model; shapes and types as in `wasserstein`.
    X_b : array of shape (m, d)
        Points of the data.
    a, b : array of shape (n,) and (m,), optional
        Weights; uniform by default.
    f : str
        The divergence, as in `divergence`.
    lipschitz : float
        The constant ``L > 0``.
    singular : {'forbidden', 'priced'}
        For divergences with finite ``f'(inf)`` (``'reverse-kl'``, ``'alpha:A'`` with A < 1, ``'js'``, ``'hellinger'``): whether eta may leave mass
        outside the data at that price.
    tol : float
        The certified gap aimed at, relative to ``1 + abs(value)``.
    normalise, n_threads, progress
        As in `transport`.

    Returns
    -------
    Result
        ``marginal_b`` is the intermediate measure eta, ``potential(y)`` the optimal discriminator on all of R^d, ``gradient_a`` the
        gradient in the positions of the model, from the plan.

    Examples
    --------
    >>> import proxflow
    >>> model, data = [[0.0], [1.0]], [[0.0], [1.0], [4.0]]
    >>> result = proxflow.lipschitz_divergence(model, data, lipschitz=0.5)
    >>> round(result.value, 10), result.gap < 1e-11
    (0.3047584691, True)
    >>> proxflow.lipschitz_divergence(data, data, lipschitz=0.5).value
    0.0
    """
    pairs = one_pair(X_a, X_b, a, b, normalise)
    return _lipschitz_divergence(pairs, f, lipschitz, singular, tol, n_threads, progress)[0]


def lipschitz_divergence_batch(
    X_a: Any,
    X_b: Any,
    a: Any = None,
    b: Any = None,
    *,
    f: str = "kl",
    lipschitz: float = 1.0,
    singular: str = "forbidden",
    tol: float = 1e-11,
    normalise: bool = False,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> list[Result]:
    """`lipschitz_divergence` for a batch of problems, side by side on all threads; shapes as in `wasserstein_batch`.

    Examples
    --------
    >>> import numpy, proxflow
    >>> x = numpy.zeros((2, 3, 1))
    >>> [result.value for result in proxflow.lipschitz_divergence_batch(x, x + 1.0, lipschitz=2.0)]
    [2.0, 2.0]
    """
    pairs = many_pairs(X_a, X_b, a, b, normalise)
    return _lipschitz_divergence(pairs, f, lipschitz, singular, tol, n_threads, progress)


def is_priced(singular: str) -> bool:
    if singular not in ("forbidden", "priced"):
        raise arguments.invalid("singular", repr(singular), "'forbidden' or 'priced'")
    return singular == "priced"


def _lipschitz_divergence(
    pairs: Pairs,
    f: str,
    lipschitz: float,
    singular: str,
    tol: float,
    n_threads: int | None,
    progress: Progress | None,
) -> list[Result]:
    threads = arguments.threads(n_threads)
    solutions = _proxflow.lipschitz_divergence(
        pairs.x_a,
        pairs.x_b,
        pairs.a,
        pairs.b,
        arguments.generator(f),
        arguments.number("lipschitz", lipschitz),
        is_priced(singular),
        arguments.number("tol", tol),
        threads,
        progress,
    )
    return results(solutions, pairs, threads)

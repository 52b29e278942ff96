"""Transport with a cost matrix, and the Wasserstein distances."""

from __future__ import annotations

from typing import Any

from . import _arguments as arguments
from . import _proxflow
from ._batch import Pairs, Progress, length, many_pairs, one_pair, per_problem, results
from ._result import Result


def transport(
    M: Any,
    a: Any = None,
    b: Any = None,
    *,
    normalise: bool = False,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """Exact optimal transport for a cost matrix, as ``ot.emd`` and ``ot.emd2``.

    Solves ``min { sum_ij M_ij G_ij : G >= 0, G 1 = a, G^T 1 = b }`` by a network simplex method, to rounding.

    Parameters
    ----------
    M : array of shape (n, m)
        Costs, any sign; ``inf`` forbids a pair.
    a, b : array of shape (n,) and (m,), optional
        Weights ``>= 0`` of sum 1 (within 1e-5); uniform by default.
    normalise : bool
        Divide `a` and `b` by their sums first, so that counts can be given.
    n_threads : int, optional
        Threads to use; by default as many as the process may.
    progress : callable, optional
        Called as ``progress(passes, pivots, gap_estimate)`` while the solver works; counts start anew for the finer of two levels. An
        exception it raises stops the solver.

    Returns
    -------
    Result
        ``value``, ``lower`` and ``upper``, ``plan``, ``sparse_plan``, ``potential_a``, ``potential_b``, ``weights_gradient_a``, ...
        With forbidden pairs the status may be ``'infeasible'``; the value is then ``inf``.

    Raises
    ------
    ValueError
        Names the argument, its value and what is allowed, also as attributes ``field``, ``value`` and ``allowed``.

    Examples
    --------
    >>> import proxflow
    >>> result = proxflow.transport([[0.0, 1.0], [1.0, 0.0]], a=[0.75, 0.25], b=[0.5, 0.5])
    >>> result.value
    0.25
    >>> result.plan.tolist()
    [[0.5, 0.25], [0.0, 0.25]]
    >>> counts = proxflow.transport([[0, 1], [1, 0]], a=[3, 1], b=[1, 1], normalise=True)
    >>> counts.value
    0.25
    """
    costs, given = arguments.matrix("M", M)
    n, m = costs.shape
    threads = arguments.threads(n_threads)
    solutions = _proxflow.transport(
        [costs],
        [arguments.weights("a", a, n, normalise)],
        [arguments.weights("b", b, m, normalise)],
        threads,
        progress,
    )
    return Result(solutions[0], None, None, threads)


def transport_batch(
    M: Any,
    a: Any = None,
    b: Any = None,
    *,
    normalise: bool = False,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> list[Result]:
    """`transport` for a batch of cost matrices, side by side on all threads.

    Parameters
    ----------
    M : array of shape (B, n, m), or a sequence of arrays (n_k, m_k)
    a, b : array of shape (B, n) and (B, m), or sequences, optional
    normalise, n_threads, progress
        As in `transport`.

    Returns
    -------
    list of Result

    Examples
    --------
    >>> import numpy, proxflow
    >>> costs = numpy.arange(8.0).reshape(2, 2, 2)
    >>> [result.value for result in proxflow.transport_batch(costs)]
    [1.5, 5.5]
    """
    count = length("M", M)
    costs = [arguments.matrix("M", M[k])[0] for k in range(count)]
    threads = arguments.threads(n_threads)
    solutions = _proxflow.transport(
        costs,
        [arguments.weights("a", w, len(c), normalise) for w, c in zip(per_problem("a", a, count), costs)],
        [arguments.weights("b", w, c.shape[1], normalise) for w, c in zip(per_problem("b", b, count), costs)],
        threads,
        progress,
    )
    return [Result(solution, None, None, threads) for solution in solutions]


def semi_relaxed(
    M: Any,
    a: Any = None,
    b: Any = None,
    *,
    f: str = "kl",
    tol: float = 1e-11,
    normalise: bool = False,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """Exact semi-relaxed transport: the first marginal is fixed, the second one priced by a divergence.

    Solves ``min { sum_ij M_ij G_ij + D_f(G^T 1 | b) : G >= 0, G 1 = a }``.

    Parameters
    ----------
    M : array of shape (n, m)
        Costs, any sign, finite.
    a, b : array, optional
        Weights as in `transport`.
    f : str
        The divergence: ``'kl'``, ``'reverse-kl'``, ``'alpha:A'`` with A > 0 and A != 1, ``'chi2'``, ``'js'`` or ``'hellinger'``.
    tol : float
        The certified gap aimed at, relative to ``1 + abs(value)``.
    normalise, n_threads, progress
        As in `transport`.

    Returns
    -------
    Result
        ``marginal_b`` is the second marginal eta of the plan, ``transport`` and ``divergence`` are the two parts of the value.

    Examples
    --------
    >>> import proxflow
    >>> result = proxflow.semi_relaxed([[0.0, 2.0], [2.0, 0.0]], a=[0.75, 0.25], b=[0.5, 0.5])
    >>> round(result.value, 12)
    0.130812035941
    >>> result.marginal_b.tolist()
    [0.75, 0.25]
    """
    return semi_relaxed_batch(
        [M], [a], [b], f=f, tol=tol, normalise=normalise, n_threads=n_threads, progress=progress
    )[0]


def semi_relaxed_batch(
    M: Any,
    a: Any = None,
    b: Any = None,
    *,
    f: str = "kl",
    tol: float = 1e-11,
    normalise: bool = False,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> list[Result]:
    """`semi_relaxed` for a batch of cost matrices, side by side on all threads; arguments as in `transport_batch`.

    Examples
    --------
    >>> import numpy, proxflow
    >>> costs = numpy.zeros((3, 2, 2))
    >>> [result.value for result in proxflow.semi_relaxed_batch(costs, f="chi2")]
    [0.0, 0.0, 0.0]
    """
    count = length("M", M)
    costs = [arguments.matrix("M", M[k])[0] for k in range(count)]
    threads = arguments.threads(n_threads)
    solutions = _proxflow.semi_relaxed(
        costs,
        [arguments.weights("a", w, len(c), normalise) for w, c in zip(per_problem("a", a, count), costs)],
        [arguments.weights("b", w, c.shape[1], normalise) for w, c in zip(per_problem("b", b, count), costs)],
        arguments.generator(f),
        arguments.number("tol", tol),
        threads,
        progress,
    )
    return [Result(solution, None, None, threads) for solution in solutions]


def wasserstein(
    X_a: Any,
    X_b: Any,
    a: Any = None,
    b: Any = None,
    *,
    p: int = 1,
    squared: bool = False,
    normalise: bool = False,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """The Wasserstein distance ``W1`` or ``W2`` between weighted points, exactly.

    ``W_p = (min_G sum_ij G_ij |x_i - z_j|**p)**(1/p)`` with Euclidean distances. Costs are kept in memory up to 2 GiB and
    computed on the fly beyond, so that memory grows with ``n + m`` there.

    Parameters
    ----------
    X_a : array of shape (n, d)
        Points of the first measure; a vector holds n numbers on the line, further axes are flattened. Any real type, also torch
        and JAX arrays; computed in float64.
    X_b : array of shape (m, d)
        Points of the second measure.
    a, b : array of shape (n,) and (m,), optional
        Weights ``>= 0`` of sum 1 (within 1e-5); uniform by default.
    p : {1, 2}
        The order.
    squared : bool
        With ``p=2``: value, bounds and gradients of ``W2**2``, which unlike ``W2`` is smooth at 0.
    normalise, n_threads, progress
        As in `transport`.

    Returns
    -------
    Result
        Potentials are those of the problem with cost ``|x - z|**p``; gradients are those of the value.

    Examples
    --------
    >>> import proxflow
    >>> x, z = [[0.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]
    >>> result = proxflow.wasserstein(x, z, p=2, squared=True)
    >>> round(result.value, 12), result.status
    (1.5, 'converged')
    >>> result.gradient_a.round(12).tolist()
    [[-0.333333333333, -1.0], [-0.666666666667, -1.0]]
    """
    pairs = one_pair(X_a, X_b, a, b, normalise)
    return _wasserstein(pairs, p, squared, n_threads, progress)[0]


def wasserstein_batch(
    X_a: Any,
    X_b: Any,
    a: Any = None,
    b: Any = None,
    *,
    p: int = 1,
    squared: bool = False,
    normalise: bool = False,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> list[Result]:
    """`wasserstein` for a batch of problems, side by side on all threads.

    Parameters
    ----------
    X_a, X_b : array of shape (B, n, d) and (B, m, d), or sequences of arrays
    a, b : array of shape (B, n) and (B, m), or sequences, optional
    p, squared, normalise, n_threads, progress
        As in `wasserstein`.

    Returns
    -------
    list of Result

    Examples
    --------
    >>> import numpy, proxflow
    >>> x = numpy.zeros((3, 4, 2))
    >>> [result.value for result in proxflow.wasserstein_batch(x, x + 1.0, p=2, squared=True)]
    [2.0, 2.0, 2.0]
    """
    pairs = many_pairs(X_a, X_b, a, b, normalise)
    return _wasserstein(pairs, p, squared, n_threads, progress)


def _wasserstein(
    pairs: Pairs, p: int, squared: bool, n_threads: int | None, progress: Progress | None
) -> list[Result]:
    if p not in (1, 2):
        raise arguments.invalid("p", p, "1 or 2")
    threads = arguments.threads(n_threads)
    solutions = _proxflow.wasserstein(
        pairs.x_a, pairs.x_b, pairs.a, pairs.b, int(p), bool(squared), threads, progress
    )
    return results(solutions, pairs, threads)

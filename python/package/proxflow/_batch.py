"""Batches: what the single and the batched functions share. A single problem is a batch of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _arguments as arguments
from ._result import Result

Array = NDArray[np.float64]
Progress = Callable[[int, int, float], object]


class Pairs(NamedTuple):
    """The weighted point pairs of a batch, checked, with the arrays as they were given."""

    x_a: list[Array]
    x_b: list[Array]
    a: list[Array | None]
    b: list[Array | None]
    given_a: list[NDArray[Any]]
    given_b: list[NDArray[Any]]


def one_pair(X_a: Any, X_b: Any, a: Any, b: Any, normalise: bool) -> Pairs:
    x, given_a = arguments.points("X_a", X_a)
    z, given_b = arguments.points("X_b", X_b)
    if x.shape[1] != z.shape[1]:
        raise arguments.invalid("X_b", f"dimension {z.shape[1]}", f"{x.shape[1]}, as X_a")
    return Pairs(
        [x],
        [z],
        [arguments.weights("a", a, len(x), normalise)],
        [arguments.weights("b", b, len(z), normalise)],
        [given_a],
        [given_b],
    )


def many_pairs(X_a: Any, X_b: Any, a: Any, b: Any, normalise: bool) -> Pairs:
    count = length("X_a", X_a)
    if length("X_b", X_b) != count:
        raise arguments.invalid("X_b", f"{len(X_b)} problems", f"{count}, as X_a")
    pairs = Pairs([], [], [], [], [], [])
    for k, (weights_a, weights_b) in enumerate(zip(per_problem("a", a, count), per_problem("b", b, count))):
        for whole, one in zip(pairs, one_pair(X_a[k], X_b[k], weights_a, weights_b, normalise)):
            whole.extend(one)  # type: ignore[arg-type]
    return pairs


def length(name: str, batch: Any) -> int:
    try:
        count = len(batch)
    except TypeError:
        raise arguments.invalid(name, type(batch).__name__, "an array (B, n, d) or a sequence of arrays (n, d)") from None
    if count == 0:
        raise arguments.invalid(name, "an empty batch", "at least one problem")
    return count


def per_problem(name: str, weights: Any, count: int) -> Sequence[Any]:
    """One vector of weights per problem; ``None`` for uniform ones in all."""
    if weights is None:
        return [None] * count
    if length(name, weights) != count:
        raise arguments.invalid(name, f"weights for {len(weights)} problems", f"{count}")
    return weights  # type: ignore[no-any-return]


def results(solutions: Sequence[Any], pairs: Pairs, threads: int) -> list[Result]:
    return [Result(*parts, threads) for parts in zip(solutions, pairs.given_a, pairs.given_b)]

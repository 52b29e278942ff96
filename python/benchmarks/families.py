"""The point clouds of the benchmarks, each with its weights: ``FAMILIES[name](n, m, random) -> X_a, X_b, a, b`` (None: uniform)."""

import numpy as np


def gaussian(dimension):
    def draw(n, m, random):
        return random.normal(size=(n, dimension)), 0.5 + 1.3 * random.normal(size=(m, dimension)), None, None

    return draw


def square(n, m, random):
    return random.random((n, 2)), random.random((m, 2)), None, None


def square_with_gamma_weights(n, m, random):
    a, b = random.gamma(0.5, size=n), random.gamma(0.5, size=m)
    return random.random((n, 2)), random.random((m, 2)), a / a.sum(), b / b.sum()


def lattice(n, m, random):
    """Integer points full of ties: many coincide, distances take few values."""
    side = max(2, int(np.sqrt(n / 2)))
    return (
        random.integers(0, side, size=(n, 2)).astype(float),
        random.integers(0, side, size=(m, 2)).astype(float),
        None,
        None,
    )


def clusters(n, m, random):
    """Ten clusters of unit width at distances of 10^6, with different counts on both sides."""
    centres = 1e6 * np.random.default_rng(7).normal(size=(10, 3))
    return (
        centres[random.integers(0, 10, size=n)] + random.normal(size=(n, 3)),
        centres[random.integers(0, 10, size=m)] + random.normal(size=(m, 3)),
        None,
        None,
    )


FAMILIES = {
    "gaussian d=2": gaussian(2),
    "gaussian d=8": gaussian(8),
    "gaussian d=64": gaussian(64),
    "gaussian d=784": gaussian(784),
    "uniform square": square,
    "square with gamma weights": square_with_gamma_weights,
    "integer lattice": lattice,
    "clusters 1e6 apart": clusters,
}

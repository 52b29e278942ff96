"""Random instances of balanced transport: costs, weights, degenerate and tied ones. `instance(seed)` -> M, a, b, name."""

import numpy as np


def histogram(n, mean, deviation):
    """A Gaussian histogram on 0..n-1, as POT's tests use."""
    places = np.arange(n)
    weights = np.exp(-((places - mean) ** 2) / (2 * deviation**2))
    return weights / weights.sum()


def squared(x, z):
    return np.maximum((x**2).sum(1)[:, None] + (z**2).sum(1)[None] - 2 * x @ z.T, 0.0)


def points(random, n, m):
    d = int(random.choice([1, 2, 3, 8, 50]))
    power = random.choice([0.5, 1.0])
    return squared(random.normal(size=(n, d)), random.normal(size=(m, d)) + 0.5) ** power


def lattice(random, n, m):
    side = int(random.integers(2, 8))
    x, z = random.integers(0, side, size=(n, 2)), random.integers(0, side, size=(m, 2))
    return np.abs(x[:, None] - z[None]).sum(-1).astype(float)


def integers(random, n, m):
    return random.integers(0, int(random.choice([2, 5, 1000])), size=(n, m)).astype(float)


def uniform(random, n, m):
    return random.random((n, m))


def signed(random, n, m):
    return random.normal(size=(n, m)) * 10.0 ** random.integers(-3, 4)


def clusters(random, n, m):
    centres = 1e6 * random.normal(size=(4, 2))
    x = centres[random.integers(0, 4, size=n)] + random.normal(size=(n, 2))
    z = centres[random.integers(0, 4, size=m)] + random.normal(size=(m, 2))
    return np.sqrt(((x[:, None] - z[None]) ** 2).sum(-1))


COSTS = [points, points, lattice, integers, uniform, signed, clusters]


def weights(random, n):
    kind = random.integers(5)
    if kind <= 1:
        return np.full(n, 1 / n)
    if kind == 2:
        drawn = random.gamma(0.5, size=n) + 1e-12
    elif kind == 3:
        drawn = random.integers(1, 4, size=n).astype(float)
    else:
        drawn = random.random(n) * (random.random(n) < 0.7)
        drawn[random.integers(n)] += 0.1
    return drawn / drawn.sum()


def instance(seed, largest=400):
    random = np.random.default_rng(seed)
    n = int(np.exp(random.uniform(0.0, np.log(largest))))
    m = n if random.random() < 0.4 else int(np.exp(random.uniform(0.0, np.log(largest))))
    cost = COSTS[random.integers(len(COSTS))]
    M = cost(random, n, m)
    a, b = weights(random, n), weights(random, m)
    return np.ascontiguousarray(M), a, b / b.sum() * a.sum(), f"{cost.__name__} {n} x {m}"


def check(M, a, b, result, expected):
    """The largest relative error of value and certificate; raises where the certificate is wrong."""
    scale = max(np.abs(M).max(), 1e-300)
    assert result.status == "converged", result
    assert abs(result.value - expected) <= 1e-9 * scale, (result.value, expected)
    assert result.lower <= expected + 1e-9 * scale and result.lower <= result.upper + 1e-12 * scale
    plan = result.plan
    assert (plan >= 0).all() and abs(plan.sum(1) - a).max() < 1e-12 and abs(plan.sum(0) - b).max() < 1e-12
    phi, psi = result.potential_a, result.potential_b
    assert (phi[:, None] - psi[None] <= M + 1e-11 * scale).all()
    assert abs(a @ phi - b @ psi - result.lower) < 1e-11 * scale
    assert abs((plan * M).sum() - result.upper) < 1e-11 * scale
    return abs(result.value - expected) / scale

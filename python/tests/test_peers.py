"""The same values as POT and SciPy, on random instances and on rebuilt problems of POT's own tests of ``emd`` and ``emd2``."""

import numpy as np
import proxflow
import pytest
from instances import check, histogram, instance

ot = pytest.importorskip("ot")
from scipy.optimize import linear_sum_assignment  # noqa: E402


@pytest.mark.parametrize("seed", range(80))
def test_random_instances_have_the_value_of_pot(seed):
    M, a, b, name = instance(seed)
    check(M, a, b, proxflow.transport(M, a, b), float(ot.emd2(a, b, M, numItermax=10_000_000)))


@pytest.mark.parametrize("seed", range(20))
def test_assignments_have_the_value_of_scipy(seed):
    random = np.random.default_rng(seed)
    n = int(random.integers(1, 120))
    M = random.integers(0, 6, size=(n, n)).astype(float) if seed % 2 else random.normal(size=(n, n))
    a = np.full(n, 1 / n)
    check(M, a, a, proxflow.transport(M), M[linear_sum_assignment(M)].sum() / n)


# Problems of POT's test_ot.py by kind: sizes and laws are theirs, the numbers drawn here.


def test_equal_samples_cost_nothing():
    x = np.random.default_rng(0).normal(size=(100, 2))
    M = ot.dist(x, x)
    result = proxflow.transport(M)
    assert result.value < 1e-15
    np.testing.assert_allclose(result.plan, np.eye(100) / 100)


def test_weights_left_out_are_uniform():
    x = np.random.default_rng(0).normal(size=(100, 2))
    y = np.random.default_rng(1).normal(size=(70, 2))
    M = ot.dist(x, y)
    np.testing.assert_allclose(proxflow.transport(M).value, ot.emd2([], [], M), rtol=1e-12)


@pytest.mark.parametrize("n, m", [(500, 500), (500, 600), (20, 500), (1, 50), (50, 1)])
def test_histograms_on_a_grid(n, m):
    a, b = histogram(n, 0.05 * n, max(1.0, 0.02 * n)), histogram(m, 0.3 * m, max(1.0, 0.04 * m))
    M = ot.dist(np.arange(n, dtype=float)[:, None], np.arange(m, dtype=float)[:, None])
    M /= max(M.max(), 1.0)
    expected, log = ot.emd2(a, b, M, log=True, numItermax=10_000_000)
    result = proxflow.transport(M, a, b)
    check(M, a, b, result, float(expected))
    # Potentials of both are optimal: the same dual value, which is all that is unique.
    np.testing.assert_allclose(a @ log["u"] + b @ log["v"], result.lower, atol=1e-9)


def test_one_cost_for_many_targets():
    n = 200
    M = ot.dist(np.arange(n, dtype=float)[:, None], np.arange(n, dtype=float)[:, None])
    a = histogram(n, 20, 5)
    targets = np.stack([histogram(n, mean, 10) for mean in range(30, 180, 15)])
    expected = ot.emd2(a, targets.T.copy(), M / M.max())
    values = [result.value for result in proxflow.transport_batch([M / M.max()] * len(targets), [a] * len(targets), targets)]
    np.testing.assert_allclose(values, expected, rtol=1e-10)


@pytest.mark.parametrize("p", [1, 2])
def test_the_line_with_weights(p):
    random = np.random.default_rng(3)
    x, z, a, b = random.normal(size=20), random.normal(size=30), random.dirichlet(np.ones(20)), random.dirichlet(np.ones(30))
    metric = "euclidean" if p == 1 else "sqeuclidean"
    expected = ot.emd2_1d(x, z, a, b, metric=metric)
    np.testing.assert_allclose(proxflow.wasserstein(x, z, a, b, p=p, squared=p == 2).value, expected, rtol=1e-12)


def test_weights_with_zeros_and_one_point():
    random = np.random.default_rng(4)
    M = random.random((6, 5))
    a, b = np.array([0, 0.5, 0, 0.25, 0.25, 0]), np.array([0, 0, 1.0, 0, 0])
    result = proxflow.transport(M, a, b)
    check(M, a, b, result, float(ot.emd2(a, b, M)))
    assert (result.plan[a == 0] == 0).all()

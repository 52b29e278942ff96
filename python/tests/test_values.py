"""Values against SciPy, bounds, and the consistency of what comes with them."""

import naive
import numpy as np
import proxflow
import pytest

KINDS = list(naive.GENERATORS)


def problem(random, n=5, m=6, d=2):
    a, b = random.gamma(1.0, size=n) + 0.05, random.gamma(1.0, size=m) + 0.05
    return random.normal(size=(n, d)), random.normal(size=(m, d)), a / a.sum(), b / b.sum()


@pytest.mark.parametrize("seed", range(20))
def test_balanced_values_agree_with_linear_programming(seed):
    random = np.random.default_rng(seed)
    x, z, a, b = problem(random, n=random.integers(1, 9), m=random.integers(1, 9))
    r = naive.distances(x, z)
    for result, cost in (
        (proxflow.wasserstein(x, z, a, b), r),
        (proxflow.wasserstein(x, z, a, b, p=2, squared=True), r**2),
        (proxflow.transport(r - 1.0, a, b), r - 1.0),
    ):
        expected = naive.transport(cost, a, b)
        assert abs(result.value - expected) < 1e-9
        assert result.lower <= result.upper + 1e-13 and result.status == "converged"
        plan = result.plan
        np.testing.assert_allclose(plan.sum(1), a, atol=1e-14)
        np.testing.assert_allclose(plan.sum(0), b, atol=1e-14)
        np.testing.assert_allclose((plan * cost).sum(), result.value, atol=1e-13)
        # Dual feasibility and value, from the potentials alone.
        assert (result.potential_a[:, None] - result.potential_b[None] <= cost + 1e-13).all()
        np.testing.assert_allclose(a @ result.potential_a - b @ result.potential_b, result.lower, atol=1e-13)
    root = proxflow.wasserstein(x, z, a, b, p=2)
    assert abs(root.value**2 - naive.transport(r**2, a, b)) < 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_semi_relaxed_values_agree_with_slsqp(kind):
    for seed in range(4):
        random = np.random.default_rng(seed)
        x, z, a, b = problem(random, n=4, m=5)
        cost = 1.5 * naive.distances(x, z)
        expected = naive.semi_relaxed(cost, a, b, kind)
        by_matrix = proxflow.semi_relaxed(cost, a, b, f=kind)
        by_points = proxflow.lipschitz_divergence(x, z, a, b, f=kind, lipschitz=1.5)
        for result in (by_matrix, by_points):
            assert result.gap < 1e-10 and result.status == "converged"
            # SLSQP ends above the optimum, by about its own tolerance.
            assert -1e-9 < expected - result.value < 1e-5
        np.testing.assert_allclose(by_matrix.marginal_b, by_matrix.plan.sum(0), atol=1e-14)
        assert abs(by_matrix.transport + by_matrix.divergence - by_matrix.value) < 1e-13


def test_the_combined_proximal_is_semi_relaxed_transport_with_the_huber_cost():
    random = np.random.default_rng(3)
    x, z, a, b = problem(random, n=12, m=9, d=3)
    for lam, horizon, lipschitz in ((1.0, 1.0, 0.7), (0.5, 2.0, 3.0), (2.0, 0.5, 0.1)):
        result = proxflow.combined_proximal(x, z, a, b, lam=lam, horizon=horizon, lipschitz=lipschitz)
        cost = naive.huber(naive.distances(x, z), lam, horizon, lipschitz)
        assert abs(result.value - proxflow.semi_relaxed(cost, a, b).value) < 1e-10
        parts = lam * result.kinetic_energy + result.first_transport + result.divergence
        assert abs(parts - result.value) < 1e-12
        assert abs(result.masses.sum() - 1) < 1e-14
        np.testing.assert_array_equal(result.positions(0.0), x[result.sources])
        np.testing.assert_allclose(result.positions(horizon), result.endpoints)
        # J* = lam/(2T) W2^2(rho_0, rho_T) + D(rho_T | data), recomputed from the end points alone.
        terminal = proxflow.lipschitz_divergence(result.endpoints, z, result.masses, b, lipschitz=lipschitz)
        squared = proxflow.wasserstein(x, result.endpoints, a, result.masses, p=2, squared=True)
        assert abs(lam / (2 * horizon) * squared.value + terminal.value - result.value) < 1e-9
        # Hopf-Lax at time 0 is the first potential; at the horizon it is the discriminator.
        np.testing.assert_allclose(result.value_function(x, 0.0), result.potential_a, atol=1e-12)
        np.testing.assert_allclose(result.value_function(z, horizon), result.potential(z), atol=1e-12)
        assert (np.linalg.norm(result.velocities, axis=1) <= lipschitz / lam * (1 + 1e-12)).all()


def test_divergences_agree_with_their_definition():
    random = np.random.default_rng(0)
    p, q = random.dirichlet(np.ones(7)), random.dirichlet(np.ones(7))
    for kind, (f, _) in naive.GENERATORS.items():
        expected = q @ f(p / q)
        assert abs(proxflow.divergence(p, q, f=kind) - expected) < 1e-13 * max(1.0, expected)
    assert proxflow.divergence([3, 1], [1, 1], normalise=True) == proxflow.divergence([0.75, 0.25], [0.5, 0.5])


def test_forbidden_pairs_carry_nothing():
    random = np.random.default_rng(5)
    for seed in range(20):
        random = np.random.default_rng(seed)
        n, m = random.integers(2, 8, size=2)
        cost = random.random((n, m))
        cost[random.random((n, m)) < 0.4] = np.inf
        a, b = random.dirichlet(np.ones(n)), random.dirichlet(np.ones(m))
        expected = naive.transport(cost, a, b)
        result = proxflow.transport(cost, a, b)
        if np.isinf(expected):
            assert result.value == np.inf and result.status == "infeasible"
        else:
            assert abs(result.value - expected) < 1e-9
            assert (result.plan[np.isinf(cost)] == 0).all()


def test_potentials_extend_to_new_points():
    random = np.random.default_rng(1)
    x, z, a, b = problem(random, n=8, m=7)
    y = random.normal(size=(50, 2))
    for result, slope in (
        (proxflow.wasserstein(x, z, a, b), 1.0),
        (proxflow.lipschitz_divergence(x, z, a, b, lipschitz=2.0), 2.0),
    ):
        phi, gradient = result.potential(y), result.potential_gradient(y)
        assert (np.abs(phi[:, None] - phi[None]) <= slope * naive.distances(y, y) + 1e-12).all()
        np.testing.assert_allclose(np.linalg.norm(gradient, axis=1), slope)
        np.testing.assert_allclose(result.potential(x), result.potential_a, atol=1e-12)
    squared = proxflow.wasserstein(x, z, a, b, p=2)
    finite = naive.difference_quotient(lambda y: squared.potential(y).sum(), y)
    np.testing.assert_allclose(squared.potential_gradient(y), finite, atol=1e-6)
    with pytest.raises(TypeError, match="cost matrix"):
        proxflow.transport([[1.0]]).potential(y)


def test_batches_equal_their_problems():
    random = np.random.default_rng(2)
    x, z = random.normal(size=(6, 10, 2)), random.normal(size=(6, 12, 2))
    a = random.dirichlet(np.ones(10), size=6)
    for batch, single, keywords in (
        (proxflow.wasserstein_batch, proxflow.wasserstein, {"p": 2}),
        (proxflow.lipschitz_divergence_batch, proxflow.lipschitz_divergence, {"f": "js"}),
        (proxflow.combined_proximal_batch, proxflow.combined_proximal, {"lam": 1.0, "horizon": 1.0}),
    ):
        for k, result in enumerate(batch(x, z, a, **keywords)):
            one = single(x[k], z[k], a[k], **keywords)
            assert result.value == one.value
            np.testing.assert_array_equal(result.plan, one.plan)
    ragged = proxflow.wasserstein_batch([x[0], x[1][:3]], [z[0], z[1]])
    assert ragged[1].value == proxflow.wasserstein(x[1][:3], z[1]).value
    costs = naive.distances(x[0], z[0])[None].repeat(2, 0)
    assert proxflow.transport_batch(costs)[1].value == proxflow.transport(costs[0]).value
    assert proxflow.semi_relaxed_batch(costs)[1].value == proxflow.semi_relaxed(costs[0]).value


def test_the_optimality_gap_contains_the_true_one():
    random = np.random.default_rng(4)
    x, z = random.normal(size=(9, 2)), random.normal(size=(7, 2)) + 1
    parameters = {"lam": 0.5, "horizon": 2.0, "lipschitz": 0.4}
    best = proxflow.combined_proximal(x, z, **parameters)
    times = np.linspace(0, 2, 5)
    optimal = np.stack([best.positions(t) for t in times])
    gap = proxflow.optimality_gap(optimal, z, a=best.masses, **parameters)
    # The particles split atoms; the optimum from the split atoms is the same.
    assert -1e-10 < gap.lower <= gap.upper + 1e-14 and gap.upper < 1e-10  # rounding of sums of order one
    bent = optimal + np.sin(np.pi * times / 2)[:, None, None]
    worse = proxflow.optimality_gap(bent, z, a=best.masses, times=times, **parameters)
    assert worse.lower > 0.1
    backwards = proxflow.optimality_gap(bent[::-1], z, a=best.masses, times=times[::-1], **parameters)
    assert backwards.upper == worse.upper
    uneven = np.array([0, 0.1, 0.5, 1.9, 2.0])
    exact = np.stack([best.positions(t) for t in uneven])
    assert abs(proxflow.optimality_gap(exact, z, a=best.masses, times=uneven, **parameters).upper) < 1e-10
    images = optimal.reshape(5, -1, 1, 1, 2)
    assert proxflow.optimality_gap(images, z, a=best.masses, **parameters).upper == gap.upper


def test_sparse_plans_are_small_and_equal_the_full_one():
    sparse = pytest.importorskip("scipy.sparse")
    random = np.random.default_rng(6)
    result = proxflow.wasserstein(random.normal(size=(40, 3)), random.normal(size=(30, 3)), p=2)
    plan = result.sparse_plan
    assert isinstance(plan, sparse.coo_array) and plan.nnz <= 69
    np.testing.assert_array_equal(plan.toarray(), result.plan)

"""Gradients in positions and weights against finite differences."""

import naive
import numpy as np
import proxflow
import pytest

CASES = [("w1", {}), ("w2", {}), ("w2 squared", {})]
CASES += [("divergence", {"f": kind}) for kind in naive.GENERATORS]
CASES += [("proximal", {"f": kind}) for kind in ("kl", "chi2", "js")]


def solve(name, keywords, x, z, a, b):
    if name == "divergence":
        return proxflow.lipschitz_divergence(x, z, a, b, lipschitz=1.3, **keywords)
    if name == "proximal":
        return proxflow.combined_proximal(x, z, a, b, lam=0.7, horizon=1.5, lipschitz=0.6, **keywords)
    return proxflow.wasserstein(x, z, a, b, p=1 if name == "w1" else 2, squared=name == "w2 squared")


def problem():
    random = np.random.default_rng(12)
    x, z = random.normal(size=(6, 2)), random.normal(size=(7, 2)) + 0.5
    return x, z, random.dirichlet(np.ones(6)), random.dirichlet(np.ones(7))


@pytest.mark.parametrize("name, keywords", CASES)
def test_gradients_are_finite_differences_of_the_value(name, keywords):
    x, z, a, b = problem()
    result = solve(name, keywords, x, z, a, b)
    # Central differences: truncation h^2 f''' and rounding eps / h, about 1e-9 each at h = 1e-6; certified gaps 1e-11 / h.
    value = lambda *args: solve(name, keywords, *args).value
    tolerance = 2e-5
    np.testing.assert_allclose(
        result.gradient_a, naive.difference_quotient(lambda x: value(x, z, a, b), x), atol=tolerance
    )
    np.testing.assert_allclose(
        result.gradient_b, naive.difference_quotient(lambda z: value(x, z, a, b), z), atol=tolerance
    )
    for side, gradient in ((0, result.weights_gradient_a), (1, result.weights_gradient_b)):
        weights = [a, b]

        def of_weights(w):
            moved = weights.copy()
            moved[side] = w / w.sum()
            return value(x, z, *moved)

        np.testing.assert_allclose(gradient, naive.difference_quotient(of_weights, weights[side]), atol=tolerance)
        assert abs(gradient @ weights[side]) < 1e-12


def test_the_gradient_is_the_plans_and_not_that_of_the_potential():
    # Atoms that split their mass sit on kinks of the potential, whose gradient there is off by order one.
    x, z, a, b = problem()
    result = proxflow.wasserstein(x, z, a, b)
    of_potential = a[:, None] * result.potential_gradient(x)
    assert np.abs(of_potential - result.gradient_a).max() > 0.01


def test_coincident_points_have_gradient_zero():
    result = proxflow.wasserstein([[0.0], [1.0]], [[0.0], [1.0]])
    assert result.value == 0 and (result.gradient_a == 0).all()
    assert (proxflow.wasserstein([[0.0]], [[0.0]], p=2).gradient_a == 0).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.uint16, np.int64, bool])
def test_any_real_type_goes_in_and_floating_gradients_come_back_in_it(dtype):
    x = np.array([[0, 1], [1, 1], [0, 0]]).astype(dtype)
    z = np.array([[1, 0], [1, 1]]).astype(dtype)
    result = proxflow.wasserstein(x, z)
    assert result.value == proxflow.wasserstein(x.astype(float), z.astype(float)).value
    assert result.gradient_a.dtype == (dtype if np.dtype(dtype).kind == "f" else np.float64)
    assert result.gradient_a.shape == x.shape


def test_later_changes_of_the_arrays_do_not_change_the_result():
    x, z, a, b = problem()
    result = proxflow.wasserstein(x, z, a, b, p=2)
    before = result.gradient_a
    x += 100.0
    z *= 0.0
    np.testing.assert_array_equal(result.gradient_a, before)


def test_images_are_flattened_and_gradients_take_their_shape():
    random = np.random.default_rng(8)
    x, z = random.random((5, 1, 4, 4)), random.random((6, 1, 4, 4))
    result = proxflow.wasserstein(x, z, p=2)
    assert result.gradient_a.shape == x.shape
    assert result.value == proxflow.wasserstein(x.reshape(5, 16), z.reshape(6, 16), p=2).value

"""`proxflow.jax`: check_grads, jit, vmap, types."""

import pytest

jax = pytest.importorskip("jax")

import naive  # noqa: E402
import numpy as np  # noqa: E402
import proxflow  # noqa: E402
import proxflow.jax  # noqa: E402
from jax.test_util import check_grads  # noqa: E402

jax.config.update("jax_enable_x64", True)

LOSSES = {
    "w1": lambda *args: proxflow.jax.wasserstein(*args),
    "w2": lambda *args: proxflow.jax.wasserstein(*args, p=2),
    "w2 squared": lambda *args: proxflow.jax.wasserstein(*args, p=2, squared=True),
    "proximal": lambda *args: proxflow.jax.combined_proximal(*args, lam=0.7, horizon=1.5, lipschitz=0.6),
}
for kind in naive.GENERATORS:
    LOSSES[kind] = lambda *args, kind=kind: proxflow.jax.lipschitz_divergence(*args, f=kind, lipschitz=1.3)


def problem():
    random = np.random.default_rng(12)
    return random.normal(size=(5, 2)), random.normal(size=(6, 2)) + 0.5, random.dirichlet(np.ones(5)), random.dirichlet(np.ones(6))


@pytest.mark.parametrize("name", LOSSES)
def test_check_grads_in_positions_and_weights(name):
    check_grads(LOSSES[name], problem(), order=1, modes=["rev"], eps=1e-6, atol=1e-5, rtol=1e-4)


def test_jit_and_vmap_give_the_same_values_and_gradients():
    x, z, a, b = problem()
    loss = lambda x: proxflow.jax.lipschitz_divergence(x, z, a, b, lipschitz=1.3)
    exact = proxflow.lipschitz_divergence(x, z, a, b, lipschitz=1.3)
    value, gradient = jax.jit(jax.value_and_grad(loss))(x)
    assert float(value) == exact.value
    np.testing.assert_allclose(gradient, exact.gradient_a, atol=1e-15)
    several = np.stack([x, x + 1, 2 * x])
    values = jax.vmap(loss)(several)
    gradients = jax.jit(jax.vmap(jax.grad(loss)))(several)
    for k in range(3):
        one = proxflow.lipschitz_divergence(several[k], z, a, b, lipschitz=1.3)
        assert float(values[k]) == one.value
        np.testing.assert_allclose(gradients[k], one.gradient_a, atol=1e-15)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_gradients_come_back_in_the_type_of_their_array(dtype):
    x, z, _, _ = problem()
    x = jax.numpy.asarray(x, dtype=dtype)
    value, gradient = jax.value_and_grad(lambda x: proxflow.jax.wasserstein(x, z, p=2, squared=True))(x)
    assert value.dtype == gradient.dtype == x.dtype
    exact = proxflow.wasserstein(np.asarray(x, dtype=np.float64), z, p=2, squared=True)
    np.testing.assert_allclose(np.asarray(gradient, dtype=np.float64), exact.gradient_a, rtol=0.01, atol=1e-3)

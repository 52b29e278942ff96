"""Bad input is a ``ValueError`` that names the argument, its value and what is allowed."""

import numpy as np
import proxflow
import pytest

X, Z = np.zeros((2, 2)), np.ones((3, 2))
NAN = np.array([[0.0, np.nan], [0.0, 0.0]])
GAP = {"lam": 1.0, "horizon": 1.0}

REFUSED = {
    "a nan coordinate": ("X_a", lambda: proxflow.wasserstein(NAN, Z)),
    "an infinite coordinate": ("X_b", lambda: proxflow.wasserstein(X, np.full((1, 2), np.inf))),
    "different dimensions": ("X_b", lambda: proxflow.wasserstein(X, np.ones((3, 5)))),
    "no points": ("X_a", lambda: proxflow.wasserstein(np.zeros((0, 2)), Z)),
    "a scalar": ("X_a", lambda: proxflow.wasserstein(1.0, Z)),
    "complex numbers": ("X_a", lambda: proxflow.wasserstein(X.astype(complex), Z)),
    "text": ("X_a", lambda: proxflow.wasserstein([["a"]], Z)),
    "an order": ("p", lambda: proxflow.wasserstein(X, Z, p=3)),
    "a negative weight": ("a", lambda: proxflow.wasserstein(X, Z, a=[1.5, -0.5])),
    "weights that do not sum to 1": ("a", lambda: proxflow.wasserstein(X, Z, a=[1.0, 1.0])),
    "weights of the data": ("b", lambda: proxflow.wasserstein(X, Z, b=[0.2, 0.2, 0.2])),
    "a number of weights": ("b", lambda: proxflow.wasserstein(X, Z, b=[0.5, 0.5])),
    "counts of sum zero": ("a", lambda: proxflow.wasserstein(X, Z, a=[0, 0], normalise=True)),
    "a nan cost": ("M", lambda: proxflow.transport([[np.nan]])),
    "an infinitely cheap pair": ("M", lambda: proxflow.transport([[-np.inf]])),
    "a cost vector": ("M", lambda: proxflow.transport([1.0, 2.0])),
    "a divergence": ("f", lambda: proxflow.lipschitz_divergence(X, Z, f="KL")),
    "an order of alpha": ("f", lambda: proxflow.lipschitz_divergence(X, Z, f="alpha:1")),
    "a Lipschitz constant": ("lipschitz", lambda: proxflow.lipschitz_divergence(X, Z, lipschitz=0.0)),
    "a tolerance": ("tol", lambda: proxflow.lipschitz_divergence(X, Z, tol=-1.0)),
    "singular mass": ("singular", lambda: proxflow.lipschitz_divergence(X, Z, singular="free")),
    "lambda": ("lam", lambda: proxflow.combined_proximal(X, Z, lam=0.0, horizon=1.0)),
    "a horizon": ("horizon", lambda: proxflow.combined_proximal(X, Z, lam=1.0, horizon=np.inf)),
    "threads": ("n_threads", lambda: proxflow.wasserstein(X, Z, n_threads=0)),
    "batches of different length": ("X_b", lambda: proxflow.wasserstein_batch([X], [Z, Z])),
    "an empty batch": ("X_a", lambda: proxflow.wasserstein_batch([], [])),
    "one time": ("trajectories", lambda: proxflow.optimality_gap(np.zeros((1, 2, 2)), Z, **GAP)),
    "times that turn round": (
        "times",
        lambda: proxflow.optimality_gap(np.zeros((3, 2, 2)), Z, times=[0, 2, 1], lam=1.0),
    ),
    "no horizon": ("horizon", lambda: proxflow.optimality_gap(np.zeros((3, 2, 2)), Z, lam=1.0)),
    "a nan position": ("trajectories", lambda: proxflow.optimality_gap(np.full((3, 2, 2), np.nan), Z, **GAP)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused_by_name(name):
    argument, call = REFUSED[name]
    with pytest.raises(ValueError) as caught:
        call()
    error = caught.value
    assert error.field.split("[")[0].split()[-1] == argument, error
    assert error.allowed in str(error) and str(error.value) in str(error)


def test_a_time_outside_the_horizon_is_refused():
    result = proxflow.combined_proximal(X, Z, lam=1.0, horizon=1.0)
    with pytest.raises(ValueError, match="time: 1.5"):
        result.positions(1.5)

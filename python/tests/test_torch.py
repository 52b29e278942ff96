"""`proxflow.torch`: gradcheck for every loss, types, the plan sampler."""

import pytest

torch = pytest.importorskip("torch")

import naive  # noqa: E402
import numpy as np  # noqa: E402
import proxflow  # noqa: E402
import proxflow.torch  # noqa: E402

LOSSES = {
    "w1": lambda *args: proxflow.torch.wasserstein(*args),
    "w2": lambda *args: proxflow.torch.wasserstein(*args, p=2),
    "w2 squared": lambda *args: proxflow.torch.wasserstein(*args, p=2, squared=True),
    "proximal": lambda *args: proxflow.torch.combined_proximal(*args, lam=0.7, horizon=1.5, lipschitz=0.6),
}
for kind in naive.GENERATORS:
    LOSSES[kind] = lambda *args, kind=kind: proxflow.torch.lipschitz_divergence(*args, f=kind, lipschitz=1.3)


def problem(dtype=torch.float64, grad=True):
    random = np.random.default_rng(12)
    arrays = random.normal(size=(5, 2)), random.normal(size=(6, 2)) + 0.5, random.dirichlet(np.ones(5)), random.dirichlet(np.ones(6))
    return [torch.tensor(array, dtype=dtype, requires_grad=grad) for array in arrays]


@pytest.mark.parametrize("name", LOSSES)
def test_gradcheck_in_positions_and_weights(name):
    assert torch.autograd.gradcheck(LOSSES[name], problem(), eps=1e-6, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_gradients_come_back_in_the_type_of_their_tensor(dtype):
    x, z, _, _ = problem(dtype)
    value = proxflow.torch.wasserstein(x, z, p=2, squared=True)
    value.backward()
    assert value.dtype == x.grad.dtype == z.grad.dtype == dtype
    exact = proxflow.wasserstein(x.detach().double(), z.detach().double(), p=2, squared=True)
    np.testing.assert_allclose(x.grad.double(), exact.gradient_a, rtol=0.01, atol=1e-3)


def test_numpy_functions_take_tensors_of_any_type():
    x, z, _, _ = problem(torch.bfloat16)
    result = proxflow.wasserstein(x, z)
    assert result.value == proxflow.wasserstein(x.double(), z.double()).value


def test_unused_gradients_are_none_and_second_ones_are_refused():
    x, z, _, _ = problem()
    value = proxflow.torch.wasserstein(x, z.detach(), p=2, squared=True)
    (gradient,) = torch.autograd.grad(value, x, create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(gradient.sum(), x)


def test_the_modules_are_the_functions():
    x, z, a, b = problem(grad=False)
    loss = proxflow.torch.LipschitzDivergence(f="js", lipschitz=2.0)
    assert loss(x, z, a, b) == proxflow.torch.lipschitz_divergence(x, z, a, b, f="js", lipschitz=2.0)
    assert "js" in repr(loss)
    proximal = proxflow.torch.CombinedProximal(lam=0.7, horizon=1.5)
    assert proximal(x, z) == proxflow.torch.combined_proximal(x, z, lam=0.7, horizon=1.5)
    assert "horizon=1.5" in repr(proximal)


def test_images_and_labels_are_paired_by_the_plan():
    torch.manual_seed(0)
    x0, x1 = torch.randn(32, 1, 4, 4), torch.randn(32, 1, 4, 4)
    y0, y1 = torch.arange(32), torch.arange(32)
    plan = proxflow.wasserstein(x0, x1, p=2).plan
    for replace in (True, False):
        sampler = proxflow.torch.PlanSampler(replace=replace)
        a, b, i, j = sampler.sample_plan_with_labels(x0, x1, y0, y1)
        assert torch.equal(a, x0[i]) and torch.equal(b, x1[j])
        assert (plan[i, j] > 0).all()
        assert (len(set(i.tolist())) == 32) == (not replace)
        np.testing.assert_array_equal(sampler.get_map(x0, x1), plan)
        assert sampler.sample_plan_with_labels(x0, x1)[2:] == (None, None)
    with pytest.raises(ValueError, match="replace"):
        proxflow.torch.PlanSampler(replace=False).sample_plan(x0, x1[:8])
    a, b = proxflow.torch.PlanSampler().sample_plan(x0, x1[:8])
    assert a.shape == b.shape == x0.shape


def test_pairs_are_drawn_with_the_masses_of_the_plan():
    torch.manual_seed(0)
    x0, x1 = torch.zeros(3000, 1), torch.tensor([[0.0], [1.0], [2.0]])
    _, b = proxflow.torch.PlanSampler().sample_plan(x0, x1)
    counts = torch.bincount(b.flatten().long(), minlength=3)
    # Binomial counts of mean 1000 and standard deviation 26; five of them.
    assert ((counts - 1000).abs() < 130).all()


def worker(_):
    return proxflow.torch.wasserstein(torch.zeros(50, 2), torch.ones(50, 2)).item()


def test_losses_work_in_forked_loader_workers():
    expected = worker(0)
    loader = torch.utils.data.DataLoader(list(range(4)), batch_size=None, num_workers=2, collate_fn=worker, multiprocessing_context="fork", timeout=60)
    assert list(loader) == [expected] * 4

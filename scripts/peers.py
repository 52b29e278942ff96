#!/usr/bin/env python3
"""Semi-relaxed transport (KL, c = |x - z|, dimension 8) by this project, POT and clarabel on the same instances.

This project prints its own certificate. Every peer is judged by the same bounds: from its plan G (rows rescaled to p) and its
potential psi, numpy computes
    upper = <c, G> + KL(G^T 1 | q),    lower = sum_i p_i min_j (c_ij + psi_j) - ln sum_j q_j exp(psi_j),
and prints their difference beside the time, wall-clock and processor. Where a method gives no potential, psi = ln(G^T 1 / q)
is used. Peers run in processes of their own, stopped after --limit processor seconds: not to answer is a result too.

    python3 scripts/peers.py [--sizes 200,1000,2000] [--iterations 5000] [--limit 60]

Without POT and clarabel at hand, they are installed into a throwaway environment first."""
import argparse
import importlib.metadata
import importlib.util
import math
import multiprocessing
import os
import queue
import resource
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PINNED = ["numpy==2.2.6", "scipy==1.15.3", "POT==0.9.6.post1", "clarabel==0.11.1"]


def bounds(cost, p, q, plan, psi):
    """Certified (lower, upper) from any plan and potential."""
    import numpy as np

    plan = np.maximum(plan, 0.0)
    rows = plan.sum(axis=1)
    plan = plan * np.divide(p, rows, out=np.zeros_like(p), where=rows > 0)[:, None]
    if abs(plan.sum() - 1.0) > 1e-9:
        return -np.inf, np.inf
    eta = plan.sum(axis=0)
    positive = eta > 0
    upper = (cost * plan).sum() + (eta[positive] * np.log(eta[positive] / q[positive])).sum()
    candidates = [np.log(np.maximum(eta, 1e-300) / q)] + ([psi] if psi is not None else [])
    lower = -np.inf
    for candidate in candidates:
        if np.isfinite(candidate).all():
            shift = candidate.max()
            cumulant = shift + np.log((q * np.exp(candidate - shift)).sum())
            lower = max(lower, (p * (cost + candidate[None, :]).min(axis=1)).sum() - cumulant)
    return lower, upper


def ours(directory, n):
    """Runs the release example: (seconds, gap); the gap is the one that the program certifies."""
    binary = ROOT / "target" / "release" / "examples" / "semi_relaxed_scaling"
    output = subprocess.run([binary, "--export", directory, str(n)], check=True, capture_output=True, text=True).stdout
    columns = output.splitlines()[2].split()
    return {"seconds": float(columns[2]), "processor": float(columns[3]), "gap": float(columns[4]), "upper": float(columns[5])}


def sinkhorn(cost, p, q, reg, iterations, method="sinkhorn"):
    import numpy as np
    import ot

    plan, log = ot.unbalanced.sinkhorn_unbalanced(
        p, q, cost, reg, (np.inf, 1.0), method=method, reg_type="entropy", numItermax=iterations, stopThr=1e-14, log=True
    )
    potential = log.get("logv")
    return plan, None if potential is None else -reg * np.asarray(potential)


def lbfgs(cost, p, q, iterations):
    import ot

    # The first marginal as a stiff penalty: this solver takes no hard one.
    plan = ot.unbalanced.lbfgsb_unbalanced(
        p, q, cost, reg=0.0, reg_m=(1e3, 1.0), reg_div="kl", regm_div="kl", numItermax=iterations
    )
    return plan, None


def conic(cost, p, q):
    """The dual as an exponential-cone program in (phi, psi, t, nu)."""
    import clarabel
    import numpy as np
    from scipy import sparse

    n, m = cost.shape
    variables = n + 2 * m + 1
    pairs = np.arange(n * m)
    i, j = np.divmod(pairs, m)
    rows = [pairs, pairs]
    columns = [i, n + j]
    values = [np.ones(n * m), -np.ones(n * m)]
    k = np.arange(m)
    first = n * m + 3 * k
    rows += [first, first, first + 2]
    columns += [n + k, np.full(m, variables - 1), n + m + k]
    values += [-np.ones(m), np.ones(m), -np.ones(m)]
    shape = (n * m + 3 * m, variables)
    a = sparse.csc_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape)
    b = np.concatenate([cost.ravel(), np.tile([-1.0, 1.0, 0.0], m)])
    objective = np.concatenate([-p, np.zeros(m), q, [1.0]])
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    cones = [clarabel.NonnegativeConeT(n * m)] + [clarabel.ExponentialConeT()] * m
    solver = clarabel.DefaultSolver(sparse.csc_matrix((variables, variables)), objective, a, b, cones, settings)
    solution = solver.solve()
    return np.asarray(solution.z)[: n * m].reshape(n, m), np.asarray(solution.x)[n : n + m]


def judged(method, cost, p, q, results):
    """Runs one peer and reports what its plan and potential certify, or how it broke."""
    import warnings

    import numpy as np

    warnings.filterwarnings("ignore")
    clock, before = time.perf_counter(), time.process_time()
    try:
        with np.errstate(all="ignore"):
            plan, psi = method()
            seconds, processor = time.perf_counter() - clock, time.process_time() - before
            lower, upper = bounds(cost, p, q, np.asarray(plan), psi)
        if not np.isfinite(upper):
            raise ArithmeticError("its plan is not finite or carries no mass")
        results.put({"seconds": seconds, "processor": processor, "gap": float(upper - lower), "upper": float(upper)})
    except Exception as error:  # a peer that breaks is a result of the comparison
        results.put({"seconds": time.perf_counter() - clock, "fails": f"{type(error).__name__}: {error}"[:60]})


def isolated(method, cost, p, q, limit):
    """`judged` in a process of its own, which the system ends after `limit` processor seconds, all threads together."""
    context = multiprocessing.get_context("fork")  # the child needs the arrays, not copies of them
    results = context.Queue()

    def limited():
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit), math.ceil(limit) + 5))
        judged(method, cost, p, q, results)

    clock = time.perf_counter()
    process = context.Process(target=limited)
    process.start()
    result = None
    while result is None:
        try:
            result = results.get(timeout=0.2)
        except queue.Empty:
            if not process.is_alive() and results.empty():
                result = {"seconds": time.perf_counter() - clock, "fails": f"stopped after {limit:g} processor seconds"}
    process.join()
    return result


def compare(sizes, iterations, limit):
    import numpy as np
    import ot

    subprocess.run(
        ["cargo", "build", "--release", "-q", "-p", "proxflow-reference", "--example", "semi_relaxed_scaling"],
        cwd=ROOT, check=True,
    )
    clarabel_version = importlib.metadata.version("clarabel")
    print(
        f"\nsemi-relaxed transport, KL, c = |x - z|, dimension 8; {os.cpu_count()} cores, POT {ot.__version__}, "
        f"clarabel {clarabel_version}; at most {iterations} Sinkhorn and {iterations // 20} L-BFGS-B iterations, {limit:g} processor s"
    )
    print(f"{'n':>6}  {'method':<36}{'seconds':>10}{'processor':>11}{'certified gap':>16}{'upper bound':>16}")

    def show(n, name, result):
        line = f"{n:>6}  {name:<36}{result['seconds']:>10.3f}"
        if "fails" in result:
            print(f"{line}{'':>11}  {result['fails']}", flush=True)
        else:
            print(f"{line}{result['processor']:>11.3f}{result['gap']:>16.1e}{result['upper']:>16.9f}", flush=True)

    worst = 0.0
    with tempfile.TemporaryDirectory() as directory:
        for n in sizes:
            result = ours(directory, n)
            show(n, "proxflow, forest active set", result)
            worst = max(worst, result["gap"])
            x, z, p, q = (np.load(Path(directory) / f"{name}{n}.npy") for name in "xzpq")
            cost = np.sqrt(np.maximum(((x[:, None, :] - z[None, :, :]) ** 2).sum(axis=2), 0.0))
            methods = {
                f"POT Sinkhorn, reg {reg:g}": lambda reg=reg: sinkhorn(cost, p, q, reg, iterations)
                for reg in (1e-1, 1e-2, 3e-3)
            }
            methods["POT stabilised Sinkhorn, reg 0.01"] = lambda: sinkhorn(
                cost, p, q, 1e-2, iterations, "sinkhorn_stabilized"
            )
            methods["POT L-BFGS-B"] = lambda: lbfgs(cost, p, q, iterations // 20)
            methods["clarabel, exponential cone"] = lambda: conic(cost, p, q)
            for name, method in methods.items():
                show(n, name, isolated(method, cost, p, q, limit))
    return 0 if worst <= 1e-10 else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="200,1000,2000", type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--iterations", default=5000, type=int)
    parser.add_argument("--limit", default=60.0, type=float, help="processor seconds after which a peer is stopped")
    arguments = parser.parse_args()
    if all(importlib.util.find_spec(name) for name in ("numpy", "scipy", "ot", "clarabel")):
        sys.exit(compare(arguments.sizes, arguments.iterations, arguments.limit))
    with tempfile.TemporaryDirectory() as environment:
        venv.create(environment, with_pip=True)
        python = Path(environment) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PINNED], check=True)
        sys.exit(subprocess.run([python, __file__, *sys.argv[1:]]).returncode)

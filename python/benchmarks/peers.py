"""Exact W1 and W2**2 by proxflow and its peers: processor seconds and memory from one run, as a table in Markdown.

    python peers.py [--sizes 1000,2000,4000] [--p 1,2] [--families NAME,...] [--few-targets] [--methods NAME,...] [--repeat 3] [--json FILE]

Every solution runs in a process of its own on one thread; its time is processor time (so that other load on the machine
does not count), cost matrices included. Runs of the methods alternate; the median is reported. Memory is the growth of
the peak resident set during the solution. Needs POT; SciPy's linear_sum_assignment where n = m with uniform weights, its linprog
up to 40 000 entries. OTT and GeomLoss are approximate: beside them stands the distance of their value from proxflow's
certified one, relative to it; their memory includes that of their libraries.
"""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import json
import multiprocessing
import resource
import statistics
import sys
import time

import numpy as np
from families import FAMILIES


def costs(x, z, p):
    import ot

    return ot.dist(x, z, metric="euclidean" if p == 1 else "sqeuclidean")


def by_proxflow(x, z, a, b, p):
    import proxflow

    return proxflow.wasserstein(x, z, a, b, p=p, squared=p == 2, n_threads=1).value


def by_pot(x, z, a, b, p):
    import ot

    uniform = lambda points, w: np.full(len(points), 1 / len(points)) if w is None else w
    return float(ot.emd2(uniform(x, a), uniform(z, b), costs(x, z, p), numItermax=100_000_000, numThreads=1))


def by_assignment(x, z, a, b, p):
    from scipy.optimize import linear_sum_assignment

    matrix = costs(x, z, p)
    return float(matrix[linear_sum_assignment(matrix)].mean())


def by_programme(x, z, a, b, p):
    from scipy.optimize import linprog
    from scipy.sparse import eye_array, kron, vstack

    n, m = len(x), len(z)
    a, b = (np.full(k, 1 / k) if w is None else w for k, w in ((n, a), (m, b)))
    marginals = vstack([kron(eye_array(n), np.ones((1, m))), kron(np.ones((1, n)), eye_array(m))]).tocsr()
    return linprog(costs(x, z, p).ravel(), A_eq=marginals, b_eq=np.concatenate([a, b]), method="highs").fun


def by_geomloss(x, z, a, b, p):
    import torch
    from geomloss import SamplesLoss

    torch.set_num_threads(1)
    loss = SamplesLoss("sinkhorn", p=p, blur=1e-3 * float(np.ptp(x)), backend="tensorized", debias=False, scaling=0.9)
    value = float(loss(torch.from_numpy(x), torch.from_numpy(z)))
    return value * p  # its costs are |x - z|^p / p


def by_ott(x, z, a, b, p):
    import jax

    jax.config.update("jax_enable_x64", True)
    from ott.geometry import costs as ott_costs, pointcloud
    from ott.solvers import linear

    cost = ott_costs.Euclidean() if p == 1 else ott_costs.SqEuclidean()
    solved = linear.solve(pointcloud.PointCloud(x, z, cost_fn=cost), a=a, b=b)
    return float(solved.primal_cost)


def by_ott_low_rank(x, z, a, b, p):
    import jax

    jax.config.update("jax_enable_x64", True)
    from ott.geometry import costs as ott_costs, pointcloud
    from ott.problems.linear import linear_problem
    from ott.solvers.linear import sinkhorn_lr

    cost = ott_costs.Euclidean() if p == 1 else ott_costs.SqEuclidean()
    problem = linear_problem.LinearProblem(pointcloud.PointCloud(x, z, cost_fn=cost), a=a, b=b)
    return float(sinkhorn_lr.LRSinkhorn(rank=10)(problem).primal_cost)


METHODS = {
    "proxflow": by_proxflow,
    "POT emd2": by_pot,
    "SciPy assignment": by_assignment,
    "SciPy linprog": by_programme,
    "GeomLoss": by_geomloss,
    "OTT": by_ott,
    "OTT low-rank": by_ott_low_rank,
}
APPROXIMATE = ("GeomLoss", "OTT", "OTT low-rank")
NEEDS = {
    "POT emd2": "ot",
    "SciPy assignment": "scipy",
    "SciPy linprog": "scipy",
    "GeomLoss": "geomloss",
    "OTT": "ott",
    "OTT low-rank": "ott",
}


def applies(method, problem):
    x, z, a, _ = problem
    if method == "SciPy assignment":
        return len(x) == len(z) and a is None
    if method == "GeomLoss":
        return a is None
    return method != "SciPy linprog" or len(x) * len(z) <= 40_000


def measured(method, problem, p, queue):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if method in APPROXIMATE:  # once before the clock: imports and compilation are not counted
        METHODS[method](*problem, p)
    clock = time.process_time()
    value = METHODS[method](*problem, p)
    seconds = time.process_time() - clock
    queue.put((seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, value))


def run(method, problem, p, limit):
    """Processor seconds, megabytes, value; None when the method fails or takes longer than `limit` seconds."""
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=measured, args=(method, problem, p, queue))
    child.start()
    try:
        return queue.get(timeout=limit)
    except Exception:
        return None
    finally:
        child.kill()
        child.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,2000,4000")
    parser.add_argument("--p", default="1,2")
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--few-targets", action="store_true", help="m = n / 20 instead of m = n")
    parser.add_argument("--methods", default="proxflow,POT emd2,SciPy assignment")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--limit", type=float, default=600.0, help="wall-clock seconds per solution")
    parser.add_argument("--json")
    options = parser.parse_args()

    import importlib.util

    methods = []
    for method in options.methods.split(","):
        if method in NEEDS and importlib.util.find_spec(NEEDS[method]) is None:
            print(f"{method} is not installed: left out", file=sys.stderr)
        else:
            methods.append(method)
    for module in ("proxflow", "ot", "scipy.optimize", "scipy.spatial"):  # imported once, in the parent
        importlib.import_module(module)

    rows = []
    header = ["family", "p", "n", "m"] + [f"{m} (s / MB{' / error' if m in APPROXIMATE else ''})" for m in methods] + ["best exact peer / proxflow", "largest difference"]
    print("| " + " | ".join(header) + " |\n|" + "---|" * len(header), flush=True)
    for family in options.families.split(","):
        for p in (int(p) for p in options.p.split(",")):
            for n in (int(n) for n in options.sizes.split(",")):
                m = max(2, n // 20) if options.few_targets else n
                problem = FAMILIES[family](n, m, np.random.default_rng([n, m]))
                runs = {method: [] for method in methods}
                for _ in range(options.repeat):
                    for method in methods:
                        if applies(method, problem):
                            runs[method].append(run(method, problem, p, options.limit))
                cells, medians, values = [], {}, {}
                for method in methods:
                    done = [one for one in runs[method] if one is not None]
                    if not done:
                        cells.append("" if not runs[method] else "failed")
                        continue
                    medians[method] = statistics.median(one[0] for one in done)
                    values[method] = done[0][2]
                    cell = f"{medians[method]:.3f} / {statistics.median(one[1] for one in done):.0f}"
                    if method in APPROXIMATE and "proxflow" in values:
                        cell += f" / {abs(values[method] / values['proxflow'] - 1):.0e}"
                    cells.append(cell)
                exact = [v for k, v in medians.items() if k != "proxflow" and k not in APPROXIMATE]
                ours = medians.get("proxflow")
                ratio = f"{min(exact) / ours:.2f}" if exact and ours else ""
                scale = abs(values.get("proxflow", 0.0)) or 1.0
                others = [abs(v - values.get("proxflow", np.nan)) / scale for k, v in values.items() if k not in ("proxflow", *APPROXIMATE)]
                difference = f"{max(others):.1e}" if others else ""
                print("| " + " | ".join([family, str(p), str(n), str(m), *cells, ratio, difference]) + " |", flush=True)
                rows.append({"family": family, "p": p, "n": n, "m": m, "seconds": medians, "values": values})
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()

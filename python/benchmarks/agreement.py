"""Values, certificates and times of random instances beside POT's ``emd2`` and SciPy's ``linear_sum_assignment`` and ``linprog``.

    python agreement.py [--count 1000] [--first 0]

The instances are those of python/tests/instances.py. Times are processor seconds of one thread, the least of three runs of each,
alternating; the cost matrix is given. Prints the largest difference and the distribution of proxflow's time over the peer's.
"""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import ot
import proxflow
from scipy.optimize import linear_sum_assignment

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from instances import check, instance  # noqa: E402
from naive import transport as by_linear_programming  # noqa: E402


def timed(function):
    clock = time.process_time()
    value = function()
    return time.process_time() - clock, value


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--largest", type=int, default=400)
    options = parser.parse_args()
    ratios, worst, programmes, assigned, refused = [], 0.0, 0, 0, []
    for seed in range(options.first, options.first + options.count):
        M, a, b, name = instance(seed, options.largest)
        ours, theirs = [], []
        with warnings.catch_warnings(record=True) as complaints:
            warnings.simplefilter("always")
            for _ in range(3):
                ours.append(timed(lambda: proxflow.transport(M, a, b, n_threads=1)))
                theirs.append(timed(lambda: ot.emd2(a, b, M, numItermax=100_000_000)))
        result, expected = ours[0][1], float(theirs[0][1])
        if complaints:  # POT did not solve it: the linear programme decides alone
            refused.append(f"{seed} {M.shape}: {str(complaints[0].message).splitlines()[0]}")
            worst = max(worst, check(M, a, b, result, by_linear_programming(M, a, b)))
            continue
        worst = max(worst, check(M, a, b, result, expected))
        if M.size <= 300:
            programmes += 1
            worst = max(worst, check(M, a, b, result, by_linear_programming(M, a, b)))
        if M.shape[0] == M.shape[1] and np.ptp(a) < 1e-15 and np.ptp(b) < 1e-15:
            assigned += 1
            worst = max(worst, check(M, a, b, result, M[linear_sum_assignment(M)].mean()))
        ratio = min(r[0] for r in ours) / min(r[0] for r in theirs)
        ratios.append((ratio, name, min(r[0] for r in ours)))
    values = np.array([ratio for ratio, _, _ in ratios])
    for line in refused:
        print(f"POT refuses {line}; compared with linprog instead")
    print(f"{len(ratios)} instances agree with POT, {programmes} also with linprog, {assigned} with linear_sum_assignment")
    print(f"largest difference relative to the largest cost: {worst:.1e}; all certificates hold")
    quantiles = np.quantile(values, [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0])
    print("time / POT's time: " + ", ".join(f"{q}% {v:.2f}" for q, v in zip([0, 10, 25, 50, 75, 90, 99, 100], quantiles)))
    print(f"slower than POT: {(values > 1).mean():.1%}, slower than twice POT: {(values > 2).mean():.1%}")
    for ratio, name, seconds in sorted(ratios, reverse=True)[:8]:
        print(f"  {ratio:.2f} ({seconds * 1e3:.2f} ms): {name}")


if __name__ == "__main__":
    main()

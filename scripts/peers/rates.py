#!/usr/bin/env python3
"""What the machine can do with one thread: GFLOP/s of single- and double-precision matrix products, medians of processor time."""
import time

import torch

torch.set_num_threads(1)


def rate(kind, size=1024, rounds=9):
    a, b = torch.rand(size, size, dtype=kind), torch.rand(size, size, dtype=kind)
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        a @ b
        seconds.append(time.process_time() - start)
    return 2e-9 * size**3 / sorted(seconds)[rounds // 2]


print(f"{rate(torch.float32):.4f} {rate(torch.float64):.4f}")

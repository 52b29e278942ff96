#!/usr/bin/env python3
"""Speed peer: exact W2^2 of two point sets by POT's network simplex, cost matrix included. Prints the value, then seconds: processor, wall-clock."""
import argparse
import time

import numpy as np
import ot

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model")
parser.add_argument("data")
arguments = parser.parse_args()
x, z = np.load(arguments.model), np.load(arguments.data)
start, busy = time.perf_counter(), time.process_time()
value = ot.emd2([], [], ot.dist(x, z), numItermax=100_000_000)
print(f"{value:.12g} {time.process_time() - busy:.4f} {time.perf_counter() - start:.4f}")

#!/usr/bin/env python3
"""How far from its training digits can a flow end, and how near to optimal can it then be? Certified, for a list of L.

For every L the exact optimum between 1000 noise samples and 6000 training digits (`certify proximal`), its distance to the nearest
training digit, the exact W1 of its samples to held-out digits beside that of training digits, its divergence beside that of held-out digits; and
the least (J - J*)/J* of any flow that ends as far from the training digits as 0.9 times the held-out digits do:
J >= J*(L') + (L - L') rho for every L' <= L (docs/guide/when-does-the-theorem-hold.md).

    python3 scripts/optimality_and_novelty.py --mnist FOLDER --certify target/release/certify --out FOLDER

Needs numpy and scipy (assignment problem). Seed 7 of numpy's default generator decides subset, held-out digits and noise.
"""
import argparse
import gzip
import json
import pathlib
import subprocess

import numpy as np
from scipy.optimize import linear_sum_assignment

LIPSCHITZ = [0.05, 0.055, 0.06, 0.07, 0.08, 0.09, 0.1, 0.126, 0.15]


def images(path):
    raw = gzip.open(path).read()
    return np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 784).astype(np.float32) / 255


def distances(a, b):
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0))


def coverage(points, held_out):
    cost = distances(points, held_out)
    return cost[linear_sum_assignment(cost)].mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=pathlib.Path, required=True)
    parser.add_argument("--certify", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(7)
    train = images(given.mnist / "train-images-idx3-ubyte.gz")[generator.permutation(60000)[:6000]]
    held_out = images(given.mnist / "t10k-images-idx3-ubyte.gz")[generator.permutation(10000)[:1000]]
    noise = generator.random((1000, 784), dtype=np.float32) * 0.5
    for name, array in [("train", train), ("held_out", held_out), ("noise", noise)]:
        np.save(given.out / f"{name}.npy", array.astype(float))

    def certify(*arguments):
        answer = given.out / "answer.json"
        files = [str(given.out / part) if part.endswith(".npy") else part for part in arguments]
        subprocess.run([given.certify, *files, "--json", str(answer)], check=True, stdout=subprocess.DEVNULL)
        return json.loads(answer.read_text())

    real = distances(held_out, train).min(1).mean()
    own = coverage(train[:1000], held_out)
    print(f"held-out digits: nearest training digit {real:.3f}; W1 of training to held-out digits {own:.3f}")
    print("| L | J* | K* | W1 part | nearest digit | / held-out | W1 ratio | D ratio | least gap at 0.9 |")
    rows = []
    for lipschitz in LIPSCHITZ:
        optimum = certify("proximal", "--source", "noise.npy", "--data", "train.npy", "--lipschitz", str(lipschitz),
                          "--endpoints", "endpoints.npy")
        divergence = certify("divergence", "--model", "held_out.npy", "--data", "train.npy", "--lipschitz", str(lipschitz))
        atoms = np.load(given.out / "endpoints.npy").astype(np.float32)
        masses, points = atoms[:, -1].astype(float), atoms[:, :-1]
        masses /= masses.sum()
        near = float(masses @ distances(points, train).min(1))
        drawn = np.random.default_rng(0).choice(len(masses), 1000, p=masses)
        rows.append((lipschitz, optimum["lower"]))
        bound = max(value + (lipschitz - smaller) * 0.9 * real for smaller, value in rows)
        own_terms = optimum["transport"] + optimum["divergence"]
        print(f"| {lipschitz} | {optimum['lower']:.6f} | {optimum['kinetic_energy']:.3f} | {optimum['transport']:.4f} | {near:.3f} | "
              f"{near / real:.2f} | {coverage(points[drawn], held_out) / own:.3f} | {own_terms / divergence['lower']:.3f} | "
              f"{bound / optimum['lower'] - 1:.3f} |", flush=True)


if __name__ == "__main__":
    main()

"""The figures of published_weights.json from a program that shares no code with this project: numpy alone.

    python3 -m venv venv && venv/bin/pip install numpy==2.4.6
    venv/bin/python validation/golden/published_weights.py published/mnist_w1w2.safetensors > validation/golden/published_weights.json

Means with their standard errors by the definitions of section 5 of docs/notation.md, of 200 samples of its own.
"""

import argparse
import json
import platform
import struct

import numpy as np

LAMBDA, HORIZON = 0.05, 5.0


def read(path):
    """Tensors of a safetensors file as float64."""
    data = open(path, "rb").read()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    kinds = {"F32": "<f4", "F64": "<f8"}
    return {
        name: np.frombuffer(data[8 + length + a : 8 + length + b], kinds[entry["dtype"]]).reshape(entry["shape"]).astype(float)
        for name, entry in header.items()
        for a, b in [entry["data_offsets"]]
    }


class Network:
    """Two 7x7 convolutions (same padding, ReLU, 2x2 maximum), then dense layers with ReLU; a scalar."""

    def __init__(self, tensors, prefix):
        self.kernels = [tensors[f"{prefix}.conv.{k}.weight"] for k in range(2)]
        self.dense = [(tensors[f"{prefix}.fc.{k}.weight"], tensors[f"{prefix}.fc.{k}.bias"]) for k in range(4)]

    def slope(self, x, t=None):
        """Gradient in x, shape (n, 784), and dU/dt, shape (n,)."""
        n, side, features, stages = len(x), 28, x.reshape(len(x), 1, 28, 28), []
        for kernel in self.kernels:
            padded = np.pad(features, ((0, 0), (0, 0), (3, 3), (3, 3)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, (7, 7), (2, 3))
            z = np.maximum(np.einsum("ncijkl,ockl->noij", windows, kernel, optimize=True), 0.0)
            blocks = z.reshape(n, z.shape[1], side // 2, 2, side // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, z.shape[1], side // 2, side // 2, 4)
            winner = blocks.argmax(-1)
            stages.append((z, winner, side))
            features, side = blocks.max(-1), side // 2
        h = features.reshape(n, -1)
        if t is not None:
            h = np.concatenate([h, np.full((n, 1), t)], 1)
        active = []
        for k, (weight, bias) in enumerate(self.dense):
            h = h @ weight.T + bias
            if k < 3:
                active.append(h > 0)
                h = np.maximum(h, 0.0)
        g = np.ones((n, 1))
        for k in reversed(range(4)):
            g = (g * active[k] if k < 3 else g) @ self.dense[k][0]
        rate = g[:, 392] if t is not None else np.zeros(n)
        g = g[:, :392].reshape(n, 8, 7, 7)
        for kernel, (z, winner, side) in zip(reversed(self.kernels), reversed(stages)):
            spread = (np.arange(4) == winner[..., None]) * g[..., None]
            g = spread.reshape(*g.shape, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(z.shape) * (z > 0)
            padded = np.pad(g, ((0, 0), (0, 0), (3, 3), (3, 3)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, (7, 7), (2, 3))
            g = np.einsum("noijkl,ockl->ncij", windows, kernel[:, :, ::-1, ::-1], optimize=True)
        return g.reshape(n, 784), rate


def mean(values):
    return [values.mean(), values.std(ddof=1) / len(values) ** 0.5]


def ratio(above, below):
    """E a / E b, its standard error by the delta method."""
    value = above.mean() / below.mean()
    return [value, mean(above - value * below)[1] / below.mean()]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weights")
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--steps", default="5,40,320")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    tensors = read(arguments.weights)
    potential, critic = Network(tensors, "potential"), Network(tensors, "discriminator")
    start = 0.5 * np.random.default_rng(arguments.seed).random((arguments.samples, 784))
    figures, ends = {}, {}
    for steps in map(int, arguments.steps.split(",")):
        x, h = start.copy(), HORIZON / steps
        kinetic, length, residual, gauged, flipped, released = (np.zeros(len(x)) for _ in range(6))
        for k in range(steps):
            g, rate = potential.slope(x, k * h)
            square = (g**2).sum(1)
            kinetic += h * square / (2 * LAMBDA**2)
            length += h * square**0.5 / LAMBDA
            defect = rate - square / (2 * LAMBDA)
            residual += h * abs(defect)
            gauged += h * abs(defect - defect.mean())
            flipped += h * abs(rate + square / (2 * LAMBDA))
            x = x - h / LAMBDA * g
            if steps == 5:
                released += h * (potential.slope(x, k * h)[0] ** 2).sum(1) / (2 * LAMBDA**2)
        moved = ((x - start) ** 2).sum(1) ** 0.5
        ends[steps] = x
        figures[steps] = {
            "kinetic energy": mean(kinetic),
            "displacement energy": mean(moved**2 / (2 * HORIZON)),
            "straightness": mean(length / moved),
            "Hamilton-Jacobi residual": mean(residual),
            "residual with flipped sign": mean(flipped),
            "gauged residual": ratio(gauged, LAMBDA * kinetic),
        }
        if steps == 5:
            slope = critic.slope(x)[0]
            figures[steps]["released energy"] = mean(released)
            figures[steps]["critic slope"] = mean((slope**2).sum(1) ** 0.5)
            figures[steps]["terminal residual"] = mean(((potential.slope(x, HORIZON)[0] - slope) ** 2).sum(1) ** 0.5)
    finest = ends[max(ends)]
    moved = ((finest - start) ** 2).sum(1) ** 0.5
    for steps in sorted(ends)[:-1]:
        figures[steps]["deviation"] = mean(((ends[steps] - finest) ** 2).sum(1) ** 0.5 / moved)
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    what = "released W1+W2 MNIST weights, section 5 of docs/notation.md: [mean, standard error]"
    rounded = {k: {name: [float(f"{v:.6g}") for v in pair] for name, pair in f.items()} for k, f in figures.items()}
    result = {"what": what, "versions": versions, "samples": arguments.samples, "seed": arguments.seed, "steps": rounded}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""One table: this project beside named peers and the limit of the machine, timed in the same run.

Ours and the peer's take turns, so that load falls on both; every row has the medians over the rounds of processor time, their spread, the ratio of
each pair (median, least, largest) and, where it can be said, the time that the arithmetic alone takes at the measured rate of matrix products.
Peers live in a throwaway environment (.venv/bench): PyTorch for the training step, POT for transport.

    python3 scripts/bench.py [--rounds 5] [--only step,transport] [--out table.md]      the table, as Markdown
    python3 scripts/bench.py --oracle                                                   semi-relaxed transport beside POT and clarabel, by certified gap"""
import argparse
import os
import platform
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
ENVIRONMENT = ROOT / ".venv" / "bench"
PINNED = ["torch==2.11.0", "numpy==2.2.6", "scipy==1.15.3", "POT==0.9.6.post1", "clarabel==0.11.1"]
# Multiply-adds of an outer step of the published set-up: convolutions as they are computed, zeros of the polyphase weights included, and dense
# layers. Per sample a convolution pass takes 0.903 (first block) and 1.254 million, the dense layers 0.725 (potential) and 0.231 million (critic).
# Passes: 25 x 200 of value and slope; 5 x 400 of value, weight gradient and adjoint of one block; (5 + 5) x 200 of slope, tangent, gradient.
STEP_GFLOP = 2e-3 * (5000 * 2 * (2.157 + 0.725) + 2000 * (2 * 2.157 + 1.254 + 3 * 0.231) + 1000 * 4 * (2.157 + 0.231) + 1000 * 4 * (2.157 + 0.725)
                     + 200 * 2 * (2.157 + 0.231))


def environment():
    """Python of the peers' environment, made once."""
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / "complete").exists():
        print("bench: installing the peers into", ENVIRONMENT.relative_to(ROOT), file=sys.stderr, flush=True)
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PINNED], check=True)
        (ENVIRONMENT / "complete").touch()
    return python


def printed(command, processor_of_process=False):
    """(processor seconds, MiB) of a command: the last but one number that it prints, or all that its process took; its peak memory."""
    process = subprocess.Popen([str(part) for part in command], cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_WAIT_POLICY": "passive"})
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    unit = 1024**2 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    seconds = usage.ru_utime + usage.ru_stime if processor_of_process else float(text.split()[-2])
    return seconds, usage.ru_maxrss / unit


def median(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def spread(values, digits=2):
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def row(name, ours, peer, rounds, limit=None, whole=False):
    """One line of the table from alternating rounds."""
    pairs = []
    for index in range(rounds):
        first = (printed(ours, whole), printed(peer))
        pairs.append(first)
        print(f"bench: {name}: round {index + 1}: {first[0][0]:.3f} s, {first[1][0]:.3f} s, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    mine, theirs = ([pair[side][0] for pair in pairs] for side in (0, 1))
    memory = [median([pair[side][1] for pair in pairs]) for side in (0, 1)]
    at_least = f"{limit:.2f}" if limit else "-"
    return (f"| {name} | {spread(mine)} | {spread(theirs)} | {spread([b / a for a, b in zip(mine, theirs)])} | {at_least} "
            f"| {memory[0]:.0f} / {memory[1]:.0f} |")


def step_rows(python, rounds, steps, rate):
    subprocess.run(["cargo", "build", "--release", "-q", "--example", "seconds_per_step"], cwd=ROOT, check=True)
    for threads in (1, 2):
        ours = [TARGET / "examples" / "seconds_per_step", "cpu", steps, threads, 4]
        peer = [python, ROOT / "scripts" / "peers" / "torch_eager.py", "--iterations", steps, "--threads", threads]
        yield row(f"training step, MNIST set-up, f32, {threads} thread{'s' * (threads > 1)}; eager PyTorch", ours, peer, rounds, STEP_GFLOP / rate)


def transport_rows(python, rounds, rate):
    subprocess.run(["cargo", "build", "--release", "-q", "--bin", "certify"], cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory() as folder:
        for n, d in ((1000, 8), (2000, 8), (2000, 784)):
            draw = ("import numpy as np, sys; g = np.random.default_rng(1); n, d = map(int, sys.argv[1:3]);"
                    "[np.save(f'{sys.argv[3]}/{name}.npy', g.normal(size=(n, d)) + shift) for name, shift in (('x', 0.0), ('z', 0.3))]")
            subprocess.run([python, "-c", draw, str(n), str(d), folder], check=True)
            points = [f"{folder}/x.npy", f"{folder}/z.npy"]
            ours = ["env", "RAYON_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1", TARGET / "certify", "wasserstein", "--model", points[0], "--data", points[1]]
            peer = ["env", "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1", python, ROOT / "scripts" / "peers" / "transport_emd2.py", *points]
            # The limit: one distance matrix by matrix products.
            yield row(f"exact W2, n = m = {n}, d = {d}, the whole command; POT emd2 with its costs", ours, peer, rounds, 2e-9 * n * n * d / rate, whole=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="outer steps of each round")
    parser.add_argument("--only", choices=("step", "transport"))
    parser.add_argument("--oracle", action="store_true", help="the table of semi-relaxed transport instead")
    parser.add_argument("--python", help="a Python that has the peers already")
    parser.add_argument("--out", type=Path, help="write the table here, too")
    arguments = parser.parse_args()
    python = arguments.python or environment()
    if arguments.oracle:
        sys.exit(subprocess.run([python, ROOT / "scripts" / "peers.py"], cwd=ROOT).returncode)
    if arguments.rounds < 1 or arguments.steps < 1:
        sys.exit("bench: rounds and steps: (allowed: >= 1)")
    single, double = map(float, subprocess.run([python, ROOT / "scripts" / "peers" / "rates.py"], capture_output=True, text=True, check=True).stdout.split())
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    lines = [f"Commit {commit}, {platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the start; matrix products with one thread: "
             f"{single:.0f} GFLOP/s f32, {double:.0f} f64. Processor seconds, medians of {arguments.rounds} alternating rounds (least to largest).",
             "", "| what; peer | proxflow s | peer s | peer / proxflow | limit s | MiB, ours / peer |", "|---|---|---|---|---|---|"]
    if arguments.only != "transport":
        lines += step_rows(python, arguments.rounds, arguments.steps, single)
    if arguments.only != "step":
        lines += transport_rows(python, arguments.rounds, double)
    table = "\n".join(lines) + "\n"
    print(table, end="")
    if arguments.out:
        arguments.out.write_text(table)


if __name__ == "__main__":
    main()

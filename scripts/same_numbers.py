#!/usr/bin/env python3
"""Compares the numbers of two builds on fixed inputs, bit for bit.

    python3 scripts/same_numbers.py OLD NEW [--only WORDS] [--list]

OLD and NEW are folders with the binaries (for example target/release of two commits). Every case runs one command in
both, in folders of its own with the same inputs, and compares the JSON on standard output and every file written.
Fields that measure time or name the build are left out, as is everything in DIFFERENCES, where each entry has its reason.
Exit code 0: all equal; 1: a difference, which is printed. Standard library only.
"""

import argparse
import json
import math
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

# Not numbers of the problem.
LEFT_OUT = {"seconds", "commit", "command", "version", "milliseconds", "started", "provenance"}

# (case, key) -> why the value differs from that of commit a343ab3 on purpose.
DIFFERENCES = {
    **{
        (case, key): "the two residuals are null for solvers without time steps; --solver dual states its tolerance here"
        for case in (
            "torus: static, 1-D, cap active",
            "torus: static, 2-D, singular target",
            "torus: static, 2-D, alpha 0.5",
            "torus: static, 1-D, chi2 from a file",
            "torus: static, 1-D, squared hellinger",
            "torus: dual, 1-D, cap inactive",
            "torus: dual, 2-D, cap inactive",
            "torus: dual, 2-D, cap active, refined",
            "torus: dual, 2-D, singular target",
        )
        for key in ("hj_residual", "continuity_residual")
    },
}

TORUS = "torus solve --json - --potential phi.npy --density rho.npy "

# name -> command line; inputs of `write_inputs` lie in the working folder.
CASES = {
    "torus: static, 1-D, cap active": TORUS + "--dim 1 --grid 64 --lipschitz 0.3",
    "torus: static, 2-D, singular target": TORUS + "--dim 2 --grid 16 --target circle",
    "torus: static, 2-D, alpha 0.5": TORUS + "--dim 2 --grid 12 --f alpha:0.5 --target two-bumps",
    "torus: static, 1-D, chi2 from a file": TORUS + "--dim 1 --grid 32 --f chi2 --source masses.npy --target uniform",
    "torus: static, 1-D, squared hellinger": TORUS + "--dim 1 --grid 48 --f hellinger --lipschitz 0.5",
    "torus: dual, 1-D, cap inactive": TORUS + "--dim 1 --grid 256 --solver dual --lipschitz 10 --target two-bumps --tolerance 1e-4",
    "torus: dual, 2-D, cap inactive": TORUS + "--dim 2 --grid 64 --solver dual --lipschitz 10 --tolerance 1e-3",
    "torus: dual, 2-D, cap active, refined": TORUS + "--dim 2 --grid 64 --solver dual --lipschitz 0.3 --tolerance 2e-3",
    "torus: dual, 2-D, singular target": TORUS + "--dim 2 --grid 64 --solver dual --target circle --tolerance 5e-2 --refinements 0",
    "torus: pde, 1-D": TORUS + "--dim 1 --grid 32 --solver pde --lipschitz 0.3",
    "torus: pde, 2-D, viscous": TORUS + "--dim 2 --grid 8 --solver pde --viscosity 0.05",
    "certify: divergence, kl": "certify divergence --model x.npy --data y.npy --lipschitz 1 --json - --potential phi.npy",
    "certify: divergence, weights, alpha": "certify divergence --model x.npy --data y.npy --model-weights p.npy "
    "--f alpha:0.3 --lipschitz 0.7 --json -",
    "certify: divergence, reverse kl": "certify divergence --model x.npy --data y.npy --f reverse-kl --lipschitz 0.4 --json -",
    "certify: proximal": "certify proximal --source x.npy --data y.npy --lambda 0.5 --horizon 2 --json - --endpoints z.npy",
    "certify: proximal, js": "certify proximal --source x.npy --data y.npy --f js --lambda 0.05 --horizon 5 --json -",
    "mnist: evaluate": "mnist evaluate --checkpoint {published} --dataset strokes --samples 20 --steps 5,10 --json -",
    "validate: grid schemes": "validate --only grid_schemes --scale ci --out report.html --json -",
    "validate: energy identity": "validate --only energy_identity --scale ci --out report.html --json -",
    "validate: combined proximal": "validate --only combined_proximal --scale ci --out report.html --json -",
}


def npy(path, values, shape):
    """A .npy file of float64 in C order."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape!r}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
    pathlib.Path(path).write_bytes(start + struct.pack(f"<{len(values)}d", *values))


def write_inputs(folder):
    """Fixed arrays: 60 and 50 points of the plane, weights, node masses with empty nodes."""
    draw = random.Random(7)
    npy(folder / "x.npy", [draw.gauss(0.0, 1.0) for _ in range(120)], (60, 2))
    npy(folder / "y.npy", [draw.gauss(1.0, 0.7) for _ in range(100)], (50, 2))
    weights = [draw.random() for _ in range(60)]
    npy(folder / "p.npy", [weight / math.fsum(weights) for weight in weights], (60,))
    npy(folder / "masses.npy", [draw.random() if i % 5 else 0.0 for i in range(32)], (32,))


def run(binaries, command, published):
    """Exit code, report and the bytes of every file written."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_inputs(folder)
        inputs = {path.name for path in folder.iterdir()}
        program, *arguments = command.format(published=published).split()
        line = [str(binaries / program), *arguments]
        done = subprocess.run(line, cwd=folder, capture_output=True, env={**os.environ, "RAYON_NUM_THREADS": "1"})
        try:
            report = json.loads(done.stdout)
        except ValueError:
            report = {"no JSON": (done.stdout + done.stderr)[:300].decode(errors="replace")}
        files = {path.name: path.read_bytes() for path in folder.glob("*.np[yz]") if path.name not in inputs}
        return done.returncode, report, files


def flatten(value, path=""):
    """Leaves of a JSON value with their paths; floats as their exact text."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in LEFT_OUT:
                yield from flatten(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from flatten(item, f"{path}[{index}]")
    else:
        yield path, repr(value)


def differences(name, old, new):
    """One line for each value that differs without a stated reason. Keys that are new are no difference."""
    lines = [] if old[0] == new[0] else [f"exit code {old[0]} -> {new[0]}"]
    before, after = dict(flatten(old[1])), dict(flatten(new[1]))
    for key, value in before.items():
        if after.get(key) != value and (name, key) not in DIFFERENCES:
            lines.append(f"{key}: {value} -> {after.get(key, 'missing')}")
    for file, data in old[2].items():
        if new[2].get(file) != data and (name, file) not in DIFFERENCES:
            lines.append(f"{file} differs")
    return lines, len(before) + len(old[2])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", nargs="?", type=pathlib.Path)
    parser.add_argument("new", nargs="?", type=pathlib.Path)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--list", action="store_true", help="print the cases")
    options = parser.parse_args()
    cases = {name: command for name, command in CASES.items() if options.only in name}
    if options.list:
        print("\n".join(f"{name}\n    {command}" for name, command in cases.items()))
        return 0
    if options.old is None or options.new is None or not cases:
        parser.error("two folders with binaries, and at least one case")
    weights = pathlib.Path(os.environ.get("PROXFLOW_PUBLISHED", "")) / "mnist_w1w2.safetensors"
    if not weights.is_file():
        cases = {name: command for name, command in cases.items() if "{published}" not in command}
        print("without $PROXFLOW_PUBLISHED: cases on the published weights are left out")
    failed = 0
    for name, command in cases.items():
        old, new = (run(folder.resolve(), command, weights) for folder in (options.old, options.new))
        lines, compared = differences(name, old, new)
        if "no JSON" in old[1]:
            lines.append(f"the old build printed no JSON: {old[1]['no JSON']}")
        failed += bool(lines)
        print(f"{'DIFFERS' if lines else 'equal'}  {name} ({compared} values)", flush=True)
        print("".join(f"    {line}\n" for line in lines), end="")
    reasons = [f"left out: {case}, {key}: {reason}" for (case, key), reason in DIFFERENCES.items() if case in cases]
    print("\n".join([*reasons, f"{len(cases) - failed} of {len(cases)} cases equal"]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

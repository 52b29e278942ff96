#!/usr/bin/env python3
"""Compares the numbers of two builds on fixed inputs, bit for bit.

    python3 scripts/same_numbers.py OLD NEW [--only WORDS] [--list]

OLD and NEW are folders with the binaries (for example target/release of two commits). Every case runs one command in
both, in folders of its own with the same inputs, and compares the JSON on standard output and every file written.
Fields that measure time or name the build are left out. What moved on purpose since commit a343ab3 stands in DIFFERENCES, TERMINATIONS
and CLAIMS with its reason and, where rounding is the reason, the room it may take; gaps are differences of bounds that are compared.
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

# Old words for how a solver ended -> what they may be called now: one Termination serves every solver.
TERMINATIONS = {"gap": {"converged"}, "floor": {"converged", "stalled"}, "budget": {"iteration-limit"}}

# (word of the case, keys or files) -> why they differ from commit a343ab3 on purpose, and by how much they may.
FREE = math.inf
DIFFERENCES = {
    ("torus: static", "hj_residual continuity_residual"): ("null for solvers without time steps", FREE),
    ("torus: dual", "hj_residual continuity_residual"): ("null for solvers without time steps; --solver dual states its tolerance here", FREE),
    ("torus: static, 1-D, cap active", "lower upper gap relative_gap"): ("bounds that cross by rounding are put in order by the gate", 1e-13),
    ("torus: pde", "lower upper gap relative_gap kinetic_cost lipschitz_cost divergence phi.npy rho.npy"): (
        "another LAPACK: torus no longer loads libtorch, whose own one came first; with OpenBLAS preloaded the old program gives the new bits", 1e-13),
    ("certify: divergence, kl", "phi.npy"): ("one constant, fixed by the dual's own optimum, moved by rounding", 2e-15),
    ("mnist: evaluate", "steps[1].deviation steps[1].deviation_stderr"): ("the finest step has no deviation from itself: null, no longer 0 +- 0", FREE),
}

# Claims report quantities with their cases now, where they reported the largest over cases: old quantity -> new name, and the extreme
# that was reported; or why there is no such number any more.
CLAIMS = {
    "order, smooth: Hamilton-Jacobi, sup U(.,0)": ("order", "smooth: Hamilton-Jacobi, sup U(.,0)"),
    "order, smooth: continuity, L1 rho(.,T)": ("order", "smooth: continuity, L1 rho(.,T)"),
    "order, kinked: Hamilton-Jacobi, sup U(.,0)": ("order", "kinked: Hamilton-Jacobi, sup U(.,0)"),
    "Hamilton-Jacobi residual": ("Hamilton-Jacobi residual", max),
    "|<S' u, m> - <u, S'^T m>| / nodes": "another draw of random fields: the claim draws them once for all its removals",
    "largest |mass - 1|": "another draw of random fields",
    "least weight": "another draw of random fields",
    "|E U(.,0) - E phi - kinetic energy|": "another draw of random fields",
    "relative difference of the sides, closed form": ("identity", max),
    "left side, closed form": ("left side", max),
    "order of the scheme's difference in h": "the same solver, 3e-14 off: rounding, cause not found",
    "relative difference of the scheme at 256 nodes": "the same solver, 3e-16 off: rounding, cause not found",
    "certified gap / (1 + J*)": ("certified gap", max),
    "|lambda/(2T) W2^2 + D_f^L(rho_T|pi) - J*| / (1 + J*)": ("composition", max),
    "|lambda K* + L W1 + D_f - J*| / (1 + J*), library": ("prices", max),
    "W1 of the library's rho_T from this one": ("rho_T", max),
    "eta* of the two problems, largest difference": ("eta*", max),
    "eta* - pi (f*)'(phi - nu), largest": ("density of eta*", max),
    "largest speed lambda / L - 1": ("speed", max),
    "least J of another flow - J*": "the optimal flow itself is among the flows compared now: 0",
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


def stated(name, key):
    """The reason and the room of a value that differs on purpose."""
    for (case, keys), difference in DIFFERENCES.items():
        if case in name and key in keys.split():
            return difference
    return None, 0.0


def numbers(data):
    """The values of a .npy file of float64."""
    start = 10 + struct.unpack("<H", data[8:10])[0]
    return struct.unpack(f"<{(len(data) - start) // 8}d", data[start:])


def close(old, new, room, scale=0.0):
    """Whether every number moved by at most `room` of the largest, or of `scale`: the parts of J carry the rounding of J."""
    largest = max((abs(value) for value in old), default=0.0)
    largest = max(largest, scale)
    return len(old) == len(new) and all(abs(a - b) <= room * largest for a, b in zip(old, new))


def claim(report):
    """Intact values of a claim by quantity and case, in the shape of either build."""
    finding = report["claims"][0]["finding"]
    if "measurements" in finding:
        return {row["quantity"]: row["measured"] for row in finding["measurements"]}
    return {row["name"]: {case["case"]: case["value"] for case in row["intact"]} for row in finding["quantities"]}


def claim_differences(old, new):
    """One line for each value of a claim that differs without a stated reason, and how many were compared."""
    before, after, lines, compared = claim(old), claim(new), [], 0
    for quantity, value in before.items():
        match CLAIMS.get(quantity):
            case (name, which):
                compared += 1
                found = which(after[name].values()) if callable(which) else after[name].get(which)
                if found != value:
                    lines.append(f"{quantity}: {value!r} -> {found!r}")
            case str():
                pass
            case None:
                lines.append(f"{quantity}: no such quantity any more, and no reason")
    return lines, compared


def differences(name, old, new):
    """One line for each value that differs without a stated reason. Keys that are new are no difference."""
    lines = [] if old[0] == new[0] else [f"exit code {old[0]} -> {new[0]}"]
    if "claims" in old[1] and "measurements" in old[1]["claims"][0]["finding"]:
        found, compared = claim_differences(old[1], new[1])
        return lines + found, compared
    before, after = dict(flatten(old[1])), dict(flatten(new[1]))
    scale = abs(float(before.get("upper", "0.0")))
    for key, value in before.items():
        found = after.get(key, "missing")
        if found == value or (key == "termination" and found.strip("'") in TERMINATIONS.get(value.strip("'"), ())):
            continue
        reason, room = stated(name, key)
        if reason is None or (room < FREE and not close([float(value)], [float(found)], room if "gap" not in key else FREE, scale)):
            lines.append(f"{key}: {value} -> {found}")
    for file, data in old[2].items():
        reason, room = stated(name, file)
        if new[2].get(file) != data and (reason is None or not close(numbers(data), numbers(new[2][file]), room)):
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
    for (case, keys), (reason, room) in DIFFERENCES.items():
        if any(case in name for name in cases):
            print(f"on purpose: {case}: {keys.replace(' ', ', ')}{'' if room == FREE else f' (at most {room:g} of the largest)'}: {reason}")
    print(f"on purpose: termination: {', '.join(f'{old} is {chr(32).join(sorted(new))}' for old, new in TERMINATIONS.items())}")
    for quantity, reason in CLAIMS.items():
        if isinstance(reason, str):
            print(f"on purpose: {quantity}: {reason}")
    print(f"{len(cases) - failed} of {len(cases)} cases equal")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

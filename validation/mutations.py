#!/usr/bin/env python3
"""Breaks the implementation on purpose, one mechanism at a time, and shows that a named check notices.

    python3 validation/mutations.py [--only NAME ...] [--list]

Works on a copy of the working tree under target/mutations; third-party crates are shared with target/. A mutation is
killed when the copy still builds and at least one of its named claims fails; a copy that does not build is an error
of this script, not a kill. The unmutated copy must pass every named claim first. Exit 0 when all are killed, else 1.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "target" / "mutations"

# name, file, exact text, replacement, claims of which at least one must fail
MUTATIONS = [
    (
        "flip the Hamilton-Jacobi sign (oracle)",
        "reference/src/trajectory.rs",
        "residuals[[k, i]] -= hamiltonian;",
        "residuals[[k, i]] += hamiltonian;",
        ["straight_lines"],
    ),
    (
        "flip the Hamilton-Jacobi sign (libtorch)",
        "gpu/src/indicators.rs",
        "let defect = &slope.time_derivative - &hamiltonian;",
        "let defect = &slope.time_derivative + &hamiltonian;",
        ["indicator_agreement"],
    ),
    (
        "flip the Hamilton-Jacobi sign (torus)",
        "reference/src/torus/hamilton_jacobi.rs",
        "current[i] -= half_rate * descent * descent;",
        "current[i] += half_rate * descent * descent;",
        ["grid_schemes"],
    ),
    (
        "drop the Lipschitz cap (Huber cost)",
        "reference/src/transport/cost.rs",
        "if squared.sqrt() <= parameters.kink() {",
        "if squared.sqrt() <= f64::INFINITY {",
        ["huber_cost", "combined_proximal"],
    ),
    (
        "drop the Lipschitz cap (critic's penalty)",
        "gpu/src/objective.rs",
        "weight * f64_of(&excess.relu().mean(Kind::Double))",
        "0.0 * weight * f64_of(&excess.relu().mean(Kind::Double))",
        ["objective_agreement"],
    ),
    (
        "swap f and f*",
        "reference/src/divergence/generator.rs",
        "self.family.conjugate(s)",
        "self.family.value(s)",
        ["fenchel_young", "lipschitz_divergence"],
    ),
    (
        "evaluate the energy at (x_{k+1}, t_k)",
        "gpu/src/indicators.rs",
        "let velocity = &slope.gradient * (-1.0 / lambda);",
        "let late = &x - &slope.gradient * (h / lambda);\n"
        "            let velocity = potential.gradient(&late, flow.time(k)) * (-1.0 / lambda);",
        ["indicator_agreement"],
    ),
    (
        "transpose the cost",
        "reference/src/transport/cost.rs",
        "Ok(Self { cost, sources: x.as_standard_layout().into_owned(), targets: PackedPoints::new(z) })",
        "Ok(Self { cost, sources: z.as_standard_layout().into_owned(), targets: PackedPoints::new(x) })",
        ["lipschitz_divergence", "combined_proximal"],
    ),
    (
        "drop the time feature (oracle)",
        "reference/src/network.rs",
        "features.push(t);",
        "features.push(t - t);",
        ["network_agreement"],
    ),
    (
        "drop the time feature (libtorch)",
        "gpu/src/network.rs",
        "Tensor::full([x.size()[0], 1], t, (x.kind(), x.device()))",
        "Tensor::full([x.size()[0], 1], 0.0 * t, (x.kind(), x.device()))",
        ["network_agreement"],
    ),
    (
        "halve lambda (Huber cost)",
        "reference/src/transport/cost.rs",
        "lambda / (2.0 * horizon) * squared",
        "lambda / (4.0 * horizon) * squared",
        ["huber_cost", "combined_proximal"],
    ),
    (
        "halve lambda (flow of the oracle)",
        "reference/src/flow.rs",
        "x.scaled_add(-h / lambda, &gradient);",
        "x.scaled_add(-2.0 * h / lambda, &gradient);",
        ["straight_lines"],
    ),
    (
        "halve lambda (potential's objective)",
        "gpu/src/objective.rs",
        "if case.has_kinetic_energy() { slope - costate } else { -costate }",
        "if case.has_kinetic_energy() { slope * 0.5 - costate } else { -costate }",
        ["objective_agreement"],
    ),
]


def copy_tree():
    """Copies what git would carry, with the folder of libtorch linked; unchanged files keep their times."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True,
    ).stdout.decode().split("\0")
    for name in filter(None, listed):
        source, target = ROOT / name, COPY / name
        if not source.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_bytes() != source.read_bytes():
            shutil.copy2(source, target)
            os.utime(target)
    libtorch = COPY / ".libtorch"
    if (ROOT / ".libtorch").exists() and not libtorch.exists():
        libtorch.symlink_to((ROOT / ".libtorch").resolve())


def cargo(*arguments, **options):
    environment = {**os.environ, "CARGO_TARGET_DIR": str(ROOT / "target")}
    return subprocess.run(["cargo", *arguments], cwd=COPY, env=environment, text=True, capture_output=True, **options)


def build():
    """Builds the copy's check program and returns a private copy of the binary."""
    done = cargo("build", "--release", "--example", "check")
    if done.returncode:
        sys.exit(f"the copy does not build:\n{done.stderr[-4000:]}")


def failing(claims):
    """Runs the named claims; returns (the ones that fail, the output)."""
    done = cargo("run", "--release", "--quiet", "--example", "check", "--", *claims)
    failed = [line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ") and "Fails(" in line]
    if done.returncode and not failed:
        # An abort or a panic of the check is a failure of every claim in the run.
        failed = ["(the run ended abnormally)"]
    return failed, done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], help="parts of names")
    parser.add_argument("--list", action="store_true", help="print the mutations and stop")
    arguments = parser.parse_args()
    chosen = [m for m in MUTATIONS if not arguments.only or any(part in m[0] for part in arguments.only)]
    if arguments.list:
        for name, file, _, _, claims in chosen:
            print(f"{name:45} {file:45} {', '.join(claims)}")
        return 0
    for name, file, before, _, _ in chosen:
        count = (ROOT / file).read_text().count(before)
        if count == 0:
            sys.exit(f"{name}: the text to replace is no longer in {file}; bring this script up to date")
    copy_tree()
    build()
    named = sorted({claim for mutation in chosen for claim in mutation[4]})
    failed, output = failing(named)
    if failed:
        sys.exit(f"claims fail before any mutation: {failed}\n{output}")
    print(f"unmutated: {len(named)} named claims hold\n", flush=True)
    survived = 0
    print(f"{'mutation':45} {'verdict':9} {'seconds':>7}  failing check", flush=True)
    for name, file, before, after, claims in chosen:
        start = time.time()
        path = COPY / file
        original = path.read_text()
        try:
            path.write_text(original.replace(before, after))
            build()
            failed, _ = failing(claims)
        finally:
            path.write_text(original)
        verdict = "killed" if failed else "SURVIVED"
        survived += not failed
        print(f"{name:45} {verdict:9} {time.time() - start:7.0f}  {', '.join(failed)}", flush=True)
    print(f"\n{len(chosen) - survived} killed, {survived} survived")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())

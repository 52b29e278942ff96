#!/usr/bin/env python3
"""Breaks the implementation on purpose, one mechanism at a time, and shows that a named check notices.

    python3 validation/mutations.py [--only NAME ...] [--list]

Works on a copy of the working tree under target/mutations, built in $CARGO_TARGET_DIR or target/, so that third-party
crates are shared with the working tree's builds. A mutation is
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

# name, file, exact text (once in the file), replacement, claims of which at least one must fail
MUTATIONS = [
    (
        "flip the Hamilton-Jacobi sign (oracle)",
        "reference/src/trajectory/hamilton_jacobi.rs",
        "residuals[[k, i]] -= hamiltonian;",
        "residuals[[k, i]] += hamiltonian;",
        ["straight_lines"],
    ),
    (
        "flip the Hamilton-Jacobi sign (torus)",
        "reference/src/torus/time_solver/scheme.rs",
        "current[i] -= half_rate * descent * descent;",
        "current[i] += half_rate * descent * descent;",
        ["grid_schemes"],
    ),
    (
        "flip the Hamilton-Jacobi sign (libtorch)",
        "gpu/src/indicators.rs",
        "let defect = &slope.time_derivative - &hamiltonian;",
        "let defect = &slope.time_derivative + &hamiltonian;",
        ["indicator_agreement"],
    ),
    (
        "drop the Lipschitz cap (Huber cost)",
        "reference/src/transport/cost/pointwise.rs",
        "if squared.sqrt() <= parameters.kink() {",
        "if squared.sqrt() <= f64::INFINITY {",
        ["huber_cost"],
    ),
    (
        "drop the Lipschitz cap (recovered endpoints)",
        "reference/src/proximal.rs",
        "let travelled = parameters.kink().min(r);",
        "let travelled = f64::INFINITY.min(r);",
        ["combined_proximal"],
    ),
    (
        "drop the Lipschitz cap (potential off the data)",
        "reference/src/divergence/potential.rs",
        "let cones = PointwiseCost::Lipschitz { lipschitz };",
        "let cones = PointwiseCost::SquaredDistance;",
        ["lipschitz_divergence"],
    ),
    (
        "drop the Lipschitz cap (libtorch, value of the penalty)",
        "gpu/src/objective.rs",
        "weight * mean_of(&excess.relu())",
        "0.0 * weight * mean_of(&excess.relu())",
        ["objective_agreement"],
    ),
    (
        "drop the Lipschitz cap (libtorch, gradient of the penalty)",
        "gpu/src/objective.rs",
        "let direction = slopes * active * (2.0 * weight / between.size()[0] as f64);",
        "let direction = slopes * active * (0.0 * weight / between.size()[0] as f64);",
        ["objective_agreement"],
    ),
    (
        "drop the Lipschitz cap (libtorch, smooth networks)",
        "gpu/src/objective.rs",
        "let term = excess(&slopes, lipschitz).relu().mean(x.kind()) * weight;",
        "let term = excess(&slopes, lipschitz).relu().mean(x.kind()) * (0.0 * weight);",
        ["objective_agreement"],
    ),
    (
        "swap f and f* (oracle)",
        "reference/src/divergence/generator.rs",
        "self.family.conjugate(s)",
        "self.family.value(s)",
        ["fenchel_young"],
    ),
    (
        "swap f and f* (libtorch)",
        "gpu/src/divergence.rs",
        "let value = nu + phi.iter().map(|s| conjugate(kind, s - nu)).sum::<f64>() / count;",
        "let f = proxflow_reference::divergence::Generator::new(kind).expect(\"a valid kind\");\n"
        "    let value = nu + phi.iter().map(|s| f.value((s - nu).abs())).sum::<f64>() / count;",
        ["objective_agreement"],
    ),
    (
        "swap f and f* (libtorch, log-mean-exp)",
        "gpu/src/divergence.rs",
        "DualFunctional { value: high + (total / count).ln(), weights }",
        "DualFunctional { value: phi.iter().map(|s| s.abs() * s.abs().ln()).sum::<f64>() / count, weights }",
        ["objective_agreement"],
    ),
    (
        "evaluate the energy at (x_{k+1}, t_k) (oracle)",
        "reference/src/flow.rs",
        "gradients.index_axis_mut(Axis(0), k).assign(&gradient);",
        "let late = &x - &(&gradient * (h / lambda));\n"
        "            gradients.index_axis_mut(Axis(0), k).assign(&potential.derivatives(late.view(), times[k])?.0);",
        ["straight_lines"],
    ),
    (
        "evaluate the energy at (x_{k+1}, t_k) (libtorch, indicators)",
        "gpu/src/indicators.rs",
        "let velocity = &slope.gradient * (-1.0 / lambda);",
        "let late = &x - &slope.gradient * (h / lambda);\n"
        "            let velocity = potential.gradient(&late, flow.time(k)) * (-1.0 / lambda);",
        ["indicator_agreement"],
    ),
    (
        "evaluate the energy at (x_{k+1}, t_k) (libtorch, objective)",
        "gpu/src/objective.rs",
        "steps.push((linear, slope));",
        "let slope = potential.gradient(&x, flow.time(k));\n        steps.push((linear, slope));",
        ["objective_agreement"],
    ),
    (
        "transpose the cost",
        "reference/src/transport/cost/points.rs",
        "(x.as_standard_layout().into_owned(), PackedPoints::new(z))",
        "(z.as_standard_layout().into_owned(), PackedPoints::new(x))",
        ["lipschitz_divergence"],
    ),
    (
        "drop the time feature (oracle, dual numbers)",
        "reference/src/network.rs",
        "features.push(t);",
        "features.push(t - t);",
        ["network_agreement"],
    ),
    (
        "drop the time feature (oracle, batched sweep)",
        "reference/src/network/sweep.rs",
        "let time = Array2::from_elem((samples, 1), t);",
        "let time = Array2::from_elem((samples, 1), 0.0 * t);",
        ["indicator_agreement"],
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
        "reference/src/transport/cost/pointwise.rs",
        "lambda / (2.0 * horizon) * squared",
        "lambda / (4.0 * horizon) * squared",
        ["huber_cost"],
    ),
    (
        "halve lambda (flow of the oracle)",
        "reference/src/flow.rs",
        "x.scaled_add(-h / lambda, &gradient);",
        "x.scaled_add(-2.0 * h / lambda, &gradient);",
        ["straight_lines"],
    ),
    (
        "halve lambda (Hamiltonian of the oracle)",
        "reference/src/trajectory/hamilton_jacobi.rs",
        "let hamiltonian = gradient.dot(&gradient) / (2.0 * lambda);",
        "let hamiltonian = gradient.dot(&gradient) / lambda;",
        ["straight_lines"],
    ),
    (
        "halve lambda (Hamiltonian of the torus)",
        "reference/src/torus/time_solver/scheme.rs",
        "let half_rate = 0.5 * self.rate();",
        "let half_rate = self.rate();",
        ["grid_schemes"],
    ),
    (
        "halve lambda (libtorch, flow)",
        "gpu/src/flow.rs",
        "x = &x - potential.gradient(&x, flow.time(k)) * (flow.step() / flow.lambda);",
        "x = &x - potential.gradient(&x, flow.time(k)) * (2.0 * flow.step() / flow.lambda);",
        ["indicator_agreement"],
    ),
    (
        "halve lambda (libtorch, indicators)",
        "gpu/src/indicators.rs",
        "let hamiltonian = &squared * (lambda / 2.0);",
        "let hamiltonian = &squared * lambda;",
        ["indicator_agreement"],
    ),
    (
        "halve lambda (libtorch, energy of the objective)",
        "gpu/src/objective.rs",
        "0.5 * flow.step() * mean_of(&squares) / (flow.lambda * flow.lambda)",
        "1.0 * flow.step() * mean_of(&squares) / (flow.lambda * flow.lambda)",
        ["objective_agreement"],
    ),
    (
        "halve lambda (libtorch, gradient of the objective)",
        "gpu/src/objective.rs",
        "if case.has_kinetic_energy() { slope - costate } else { -costate }",
        "if case.has_kinetic_energy() { slope * 0.5 - costate } else { -costate }",
        ["objective_agreement"],
    ),
]


def copy_tree():
    """Copies what git would carry and no more, with the folder of libtorch linked; unchanged files keep their times."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True,
    ).stdout.decode().split("\0")
    names = {name for name in listed if name and (ROOT / name).is_file()}
    for folder, _, files in os.walk(COPY):
        for path in (Path(folder) / file for file in files):
            if str(path.relative_to(COPY)) not in names:
                path.unlink()
    for name in names:
        source, target = ROOT / name, COPY / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_bytes() != source.read_bytes():
            shutil.copy2(source, target)
            os.utime(target)
    libtorch = COPY / ".libtorch"
    if (ROOT / ".libtorch").exists() and not libtorch.exists():
        libtorch.symlink_to((ROOT / ".libtorch").resolve())


def cargo(*arguments, **options):
    target = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target"))
    environment = {**os.environ, "CARGO_TARGET_DIR": target, "CARGO_INCREMENTAL": "1"}
    return subprocess.run(["cargo", *arguments], cwd=COPY, env=environment, text=True, capture_output=True, **options)


def build():
    """Builds the copy's check program."""
    done = cargo("build", "--release", "--package", "proxflow-validation", "--example", "check")
    if done.returncode:
        sys.exit(f"the copy does not build:\n{done.stderr[-4000:]}")


def failing(claims):
    """Runs the named claims; returns (the ones that fail, the output)."""
    done = cargo("run", "--release", "--quiet", "--package", "proxflow-validation", "--example", "check", "--", *claims)
    failed = [line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ") and "Fails(" in line]
    if done.returncode and not failed:
        # An abort or a panic of the check is a failure of every claim in the run.
        failed = ["(the run ended abnormally)"]
    return failed, done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], help="parts of names")
    parser.add_argument("--list", action="store_true", help="check that every text to replace still stands, print the mutations and stop")
    arguments = parser.parse_args()
    chosen = [m for m in MUTATIONS if not arguments.only or any(part in m[0] for part in arguments.only)]
    for name, file, before, _, _ in chosen:
        count = (ROOT / file).read_text().count(before)
        if count != 1:
            sys.exit(f"{name}: the text to replace occurs {count} times in {file}, not once; bring this script up to date")
    if arguments.list:
        for name, file, _, _, claims in chosen:
            print(f"{name:60} {file:45} {', '.join(claims)}")
        return 0
    copy_tree()
    build()
    named = sorted({claim for mutation in chosen for claim in mutation[4]})
    failed, output = failing(named)
    if failed:
        sys.exit(f"claims fail before any mutation: {failed}\n{output}")
    print(f"unmutated: {len(named)} named claims hold\n", flush=True)
    survived = 0
    print(f"{'mutation':60} {'verdict':9} {'seconds':>7}  failing check", flush=True)
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
        print(f"{name:60} {verdict:9} {time.time() - start:7.0f}  {', '.join(failed)}", flush=True)
    print(f"\n{len(chosen) - survived} killed, {survived} survived")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())

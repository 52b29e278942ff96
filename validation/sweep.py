#!/usr/bin/env python3
"""Mutates the numerics by a list of operators, at places drawn at random, and counts what the fast tests notice.

    python3 validation/sweep.py [--group NAME ...] [--count N] [--seed S] [--skip K] [--out FILE.json] [--list]

Where mutations.py breaks named mechanisms and names the claim that must notice, this sweep asks how much of the code the unit
tests of a module decide at all. A group is a set of files with its test commands, the quickest first. Every place where an operator applies, outside
tests and comments, is a mutant; N of them are drawn without replacement by Random(S). One mutant at a time is written into a
copy under target/sweep, built and tested by the commands of its group in turn, until one of them fails:

    killed      a test fails, or runs longer than the time limit
    survived    every test passes
    unbuildable the compiler refuses it; not counted

Survivors are read by a person: docs/records/mutations.md says of each which test now kills it, or why it is equivalent.
Builds use optimisation level 1 in a target folder of their own ($PROXFLOW_SWEEP_TARGET or target/sweep-build).
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "target" / "sweep"

REFERENCE = ["-p", "proxflow-reference"]


def suites(*names):
    """A test command of the named integration tests of the oracle."""
    return [*REFERENCE, *(word for name in names for word in ("--test", name))]


# name: (files or folders, test commands, seconds for the tests of one mutant)
GROUPS = {
    "transport": (
        ["reference/src/transport"],
        [
            [*REFERENCE, "--lib", "transport::"],
            suites("balanced", "semi_relaxed", "gradients", "combined_proximal", "lipschitz_divergence", "numerics", "rigorous"),
            [*REFERENCE, "--doc", "transport"],
        ],
        400,
    ),
    "divergence": (
        ["reference/src/divergence"],
        [
            [*REFERENCE, "--lib", "divergence::"],
            suites("golden_divergence", "lipschitz_divergence", "variational_derivative", "blow_up", "gradients", "numerics", "rigorous"),
            [*REFERENCE, "--doc", "divergence"],
        ],
        400,
    ),
    "proximal": (
        ["reference/src/proximal.rs", "reference/src/proximal"],
        [
            [*REFERENCE, "--lib", "proximal::"],
            suites("combined_proximal", "gradients", "numerics", "rigorous"),
            [*REFERENCE, "--doc", "proximal"],
        ],
        400,
    ),
    "bounds": (["reference/src/torus/large_grid/bounds"], [[*REFERENCE, "--lib", "large_grid::"]], 400),
    "gpu": (
        ["gpu/src/objective", "gpu/src/indicators.rs", "gpu/src/indicators", "gpu/src/networks/linearisation.rs"],
        [
            ["-p", "proxflow-gpu", "--lib"],
            ["-p", "proxflow", "--test", "validation", "indicator_agreement", "objective_agreement", "network_agreement"],
        ],
        400,
    ),
}

# name, pattern, replacement
OPERATORS = [
    ("plus to minus", r" \+ ", " - "),
    ("minus to plus", r" - ", " + "),
    ("times to over", r" \* ", " / "),
    ("over to times", r" / ", " * "),
    ("add-assign to subtract-assign", r" \+= ", " -= "),
    ("subtract-assign to add-assign", r" -= ", " += "),
    ("less-or-equal to less", r" <= ", " < "),
    ("less to less-or-equal", r" < (?!\w+>)", " <= "),
    ("greater-or-equal to greater", r" >= ", " > "),
    ("greater to greater-or-equal", r"(?<![-=]) > ", " >= "),
    ("equal to unequal", r" == ", " != "),
    ("minimum to maximum", r"\.min\(", ".max("),
    ("maximum to minimum", r"\.max\(", ".min("),
    ("and to or", r" && ", " || "),
    ("one to two", r"(?<![\w.])1\.0(?![\w.])", "2.0"),
    ("two to one", r"(?<![\w.])2\.0(?![\w.])", "1.0"),
    ("half to a quarter", r"(?<![\w.])0\.5(?![\w.])", "0.25"),
    ("zero to one", r"(?<![\w.])0\.0(?![\w.])", "1.0"),
    ("drop the negation", r"(?<=[=(,] )-(?=[a-z(])", ""),
    ("drop the absolute value", r"\.abs\(\)", ""),
]


def sources(paths):
    for path in map(ROOT.joinpath, paths):
        if path.is_file():
            yield path
        elif path.is_dir():
            yield from sorted(p for p in path.rglob("*.rs") if "tests" not in p.name)
        else:
            sys.exit(f"{path}: no such file or folder")


def mutants(paths):
    """(file, line number, column, operator, line after) of every place where an operator applies."""
    found = []
    for path in sources(paths):
        for number, line in enumerate(path.read_text().splitlines()):
            if line.startswith("#[cfg(test)]"):
                break
            code = line.split("//")[0]
            # Signatures, attributes, imports and messages are no numerics.
            if re.match(r"\s*(pub |fn |use |impl|#|where|type |struct |enum |mod )", code) or '"' in code:
                continue
            for name, pattern, replacement in OPERATORS:
                for match in re.finditer(pattern, code):
                    after = line[: match.start()] + replacement + line[match.end() :]
                    found.append((str(path.relative_to(ROOT)), number, match.start(), name, after))
    return found


def copy_tree():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, check=True, capture_output=True
    ).stdout.decode().split("\0")
    for name in (name for name in listed if name and (ROOT / name).is_file()):
        source, target = ROOT / name, COPY / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_bytes() != source.read_bytes():
            shutil.copy2(source, target)
            os.utime(target)
    libtorch = COPY / ".libtorch"
    if (ROOT / ".libtorch").exists() and not libtorch.exists():
        libtorch.symlink_to((ROOT / ".libtorch").resolve())


def run(commands, seconds):
    """(verdict, seconds, failing tests) of the test commands in the copy, up to the first that fails."""
    target = os.environ.get("PROXFLOW_SWEEP_TARGET", str(ROOT / "target" / "sweep-build"))
    environment = {
        **os.environ, "CARGO_TARGET_DIR": target, "CARGO_INCREMENTAL": "1",
        "CARGO_PROFILE_TEST_OPT_LEVEL": "1", "CARGO_PROFILE_DEV_OPT_LEVEL": "1",
        "CARGO_PROFILE_TEST_DEBUG": "false", "CARGO_PROFILE_DEV_DEBUG": "false",
    }
    start = time.time()
    for arguments in commands:
        words, filters = list(arguments), []
        while words and not words[-1].startswith("-") and words[-2] not in ("-p", "--test"):
            filters.insert(0, words.pop())
        if "--doc" not in words:
            built = ["cargo", "test", "--quiet", *words, "--no-run"]
            done = subprocess.run(built, cwd=COPY, env=environment, capture_output=True, text=True)
            if done.returncode:
                return "unbuildable", time.time() - start, done.stderr[-600:]
        process = subprocess.Popen(
            ["cargo", "test", *words, "--no-fail-fast", "--", *filters], cwd=COPY, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.communicate()
            return "killed", time.time() - start, f"longer than {seconds} s"
        if process.returncode:
            failing = re.findall(r"^test (.+?) \.\.\. FAILED", output, re.M)
            return "killed", time.time() - start, ", ".join(sorted(set(failing))) or output[-300:]
        if not re.search(r"^test result: ok\. [1-9]", output, re.M):
            sys.exit(f"cargo test {' '.join(arguments)}: no test ran, so that no mutant could be noticed")
    return "survived", time.time() - start, ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--group", nargs="*", default=list(GROUPS), choices=list(GROUPS))
    parser.add_argument("--count", type=int, default=10, help="mutants drawn from each group")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip", type=int, default=0, help="drawn mutants to pass over, to go on with a draw that was interrupted")
    parser.add_argument("--out", default="sweep.json")
    parser.add_argument("--list", action="store_true", help="print how many mutants there are and stop")
    arguments = parser.parse_args()
    if arguments.list:
        for group in arguments.group:
            print(f"{group:12} {len(mutants(GROUPS[group][0])):5} mutants")
            for command in GROUPS[group][1]:
                print(f"{'':12}       cargo test {' '.join(command)}")
        return 0
    copy_tree()
    # Of what was copied: the working tree may change while the sweep runs.
    places = {group: mutants(GROUPS[group][0]) for group in arguments.group}
    results = []
    for group in arguments.group:
        _, commands, seconds = GROUPS[group]
        every = places[group]
        drawn = random.Random(arguments.seed).sample(every, min(arguments.count, len(every)))
        verdict, took, names = run(commands, seconds)
        if verdict != "survived":
            sys.exit(f"{group}: the tests fail before any mutation: {verdict} {names}")
        print(f"{group}: {len(every)} mutants, {len(drawn)} drawn; unmutated tests pass in {took:.0f} s", flush=True)
        for file, number, column, name, after in drawn[arguments.skip :]:
            path = COPY / file
            original = path.read_text()
            lines = original.split("\n")
            before, lines[number] = lines[number], after
            try:
                path.write_text("\n".join(lines))
                verdict, took, names = run(commands, seconds)
            finally:
                path.write_text(original)
            print(f"  {verdict:11} {took:5.0f} s  {file}:{number + 1}  {name}  {after.strip()}  {names[:100]}", flush=True)
            results.append({
                "group": group, "of": len(every), "file": file, "line": number + 1, "operator": name,
                "before": before.strip(), "after": after.strip(), "verdict": verdict, "tests": names,
            })
            Path(arguments.out).write_text(json.dumps(results, indent=1))
    for group in arguments.group:
        count = lambda verdict: sum(r["group"] == group and r["verdict"] == verdict for r in results)
        print(f"{group:12} killed {count('killed')}, survived {count('survived')}, unbuildable {count('unbuildable')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Breaks the implementation on purpose, one mechanism at a time, and shows that a named check notices.

    python3 validation/mutations.py [--only NAME ...] [--list]

The mutations stand in mutations.json. Works on a copy of the working tree under target/mutations, built in $CARGO_TARGET_DIR or target/, so that third-party
crates are shared with the working tree's builds. A mutation is
killed when the copy still builds and at least one of its named claims fails; a copy that does not build is an error
of this script, not a kill. The unmutated copy must pass every named claim first. Exit 0 when all are killed, else 1.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "target" / "mutations"

# Each names a file, an exact text that stands in it once, what replaces it, and the claims of which at least one must fail.
# docs/claims.md is written from the same file.
MUTATIONS = [
    (m["name"], m["file"], m["before"], m["after"], m["claims"])
    for m in json.loads((ROOT / "validation" / "mutations.json").read_text())
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

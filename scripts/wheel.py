#!/usr/bin/env python3
"""Builds the Python wheel and tests it in throwaway environments. Standard library only.

  wheel.py build   target/wheels/proxflow-*.whl: manylinux2014 by zig on Linux, below 2 MB, no library beside it
  wheel.py test    build, then run python/tests and the examples of the docstrings and of docs/guide/python with the system's python3
                   and with the oldest and newest supported interpreters that are found

Both need PyPI once; what they install stays in target/python.
"""
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
WHEELS = TARGET / "wheels"
PLACE = TARGET / "python"
OLDEST = (3, 10)
LARGEST = 2_000_000
# Versions that were tried together; the oldest numpy is that of pyproject.toml.
BUILD = ["maturin==1.16.0", "ziglang==0.17.1", "auditwheel==6.8.2"]
POT = "POT==0.9.7.post1"  # the peer of python/tests/test_peers.py
NUMPY = {(3, 10): "numpy==1.26.4"}


def fail(line):
    print(f"wheel: {line}", file=sys.stderr)
    sys.exit(1)


def run(arguments, **options):
    if subprocess.run([str(a) for a in arguments], **options).returncode != 0:
        fail(f"'{' '.join(Path(str(a)).name if k == 0 else str(a) for k, a in enumerate(arguments))}' failed")


def environment(name, interpreter, packages):
    """A virtual environment under target/python that holds `packages`, made once."""
    place = PLACE / name
    python = place / "bin" / "python"
    stamp = place / "packages.txt"
    wanted = "\n".join(packages)
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    if subprocess.run([interpreter, "-m", "venv", "--clear", place], capture_output=True).returncode != 0:
        fail(f"'{interpreter} -m venv' does not work (on Debian: apt-get install python3-venv, which 'make setup' does)")
    run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--only-binary", ":all:", *packages])
    stamp.write_text(wanted)
    return python


def build():
    python = environment("build", sys.executable, BUILD)
    for old in WHEELS.glob("proxflow-*.whl"):
        old.unlink()
    options = ["--zig", "--compatibility", "manylinux2014"] if platform.system() == "Linux" else []
    run(
        [python, "-m", "maturin", "build", "--release", "--locked", "--manifest-path", ROOT / "python" / "Cargo.toml", "--out", WHEELS, *options],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"},
    )
    [wheel] = WHEELS.glob("proxflow-*.whl")
    size = wheel.stat().st_size
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
    libraries = [name for name in names if re.search(r"\.(so|dylib|dll|pyd)(\.|$)", name)]
    print(f"{wheel.name}: {size / 1e3:.0f} kB, {len(names)} files", flush=True)
    if size >= LARGEST:
        fail(f"{size} bytes, allowed: below {LARGEST}")
    if len(libraries) != 1:
        fail(f"libraries inside: {libraries}, allowed: the extension module alone")
    for name in ("proxflow/py.typed", "proxflow/_proxflow.pyi"):
        if name not in names:
            fail(f"{name} is missing")
    if platform.system() == "Linux":
        told = subprocess.run([python, "-m", "auditwheel", "show", wheel], capture_output=True, text=True, check=True).stdout
        print(" ".join(told.split()), flush=True)
        if "manylinux_2_17" not in told:
            fail("auditwheel does not find it consistent with manylinux_2_17")
    return wheel


def version(interpreter):
    told = subprocess.run([interpreter, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True)
    return tuple(int(part) for part in told.stdout.split()) if told.returncode == 0 and told.stdout else None


def interpreters():
    """This interpreter, and the oldest and newest supported ones on PATH and under pyenv: version -> path."""
    found = {}
    candidates = [shutil.which(f"python3.{minor}") for minor in range(OLDEST[1], 20)]
    candidates += sorted(str(path) for path in Path.home().glob(".pyenv/versions/3.*/bin/python3"))
    for candidate in candidates:
        if candidate and (which := version(candidate)) and which >= OLDEST:
            found.setdefault(which, candidate)
    own = version(sys.executable)
    if own >= OLDEST:
        found[own] = sys.executable
    if not found:
        fail(f"no Python from {OLDEST[0]}.{OLDEST[1]} on: the wheel cannot be tested")
    return {which: found[which] for which in sorted({min(found), max(found), own} & set(found))}


def test():
    wheel = build()
    variables = dict(os.environ)
    flow = TARGET.resolve() / "release" / "flow"  # `cargo test --release` has built it where `make test` runs this
    if "PROXFLOW_FLOW" not in variables and flow.exists():
        variables["PROXFLOW_FLOW"] = str(flow)
    print(f"proxflow.Flow: {variables.get('PROXFLOW_FLOW') or f'NOT TESTED, {flow} is not built'}", flush=True)
    chosen = interpreters()
    print("tested with Python " + ", ".join(f"{a}.{b}" for a, b in chosen), flush=True)
    for which, interpreter in chosen.items():
        numpy = NUMPY.get(which, "numpy") if which == min(chosen) else "numpy"
        name = f"test-{which[0]}.{which[1]}"
        python = environment(name, interpreter, [numpy, "scipy", "pytest", POT])
        run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--force-reinstall", "--no-deps", wheel])
        print(f"-- Python {which[0]}.{which[1]}", flush=True)
        run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ROOT / "python", ROOT / "python" / "tests"], cwd=PLACE, env=variables)


if __name__ == "__main__":
    if sys.argv[1:] not in (["build"], ["test"]):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    PLACE.mkdir(parents=True, exist_ok=True)
    build() if sys.argv[1] == "build" else test()

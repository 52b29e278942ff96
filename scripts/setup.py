#!/usr/bin/env python3
"""Installs what proxflow needs and the machine lacks, once: system libraries, libtorch. Standard library only.

  setup.py install   install what is missing (re-running does nothing)
  setup.py doctor    print what was found
  setup.py book      build the guide (docs/guide) into target/book; installs mdbook into the user's cache, once
  setup.py deny      check licences and sources of all dependencies with cargo-deny, installed likewise
"""
import argparse
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = "2.11.0"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "proxflow"
LINK = ROOT / ".libtorch"
# Files of the torch wheel that a machine without an NVIDIA GPU needs, beside the headers.
LEAN = ("libtorch.so", "libtorch_cpu.so", "libc10.so", "libgomp", "libarm_compute", "libgfortran", "libnvpl")
SYSTEM = {  # what is looked for -> Debian package
    "c++": "g++",
    "pkg-config": "pkg-config",
    "openblas": "libopenblas-dev",
    "venv": "python3-venv",
}


def fail(line):
    print(f"setup: {line}", file=sys.stderr)
    sys.exit(2)


def has_openblas():
    """The header-independent test: can the linker find -lopenblas?"""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.c"
        source.write_text("int main(void) { return 0; }\n")
        probe = [compiler, str(source), "-lopenblas", "-o", str(Path(folder) / "probe")]
        return subprocess.run(probe, capture_output=True).returncode == 0


def missing_system_packages():
    found = {
        "c++": shutil.which("c++") or shutil.which("g++"),
        "pkg-config": shutil.which("pkg-config"),
        "openblas": has_openblas(),
        "venv": importlib.util.find_spec("ensurepip") is not None,
    }
    return [SYSTEM[name] for name, present in found.items() if not present]


def install_system_packages():
    packages = missing_system_packages()
    if not packages:
        return
    command = "apt-get install -y " + " ".join(packages)
    if shutil.which("apt-get") is None:
        fail(f"missing {', '.join(packages)} (Debian names) and no apt-get here: install their equivalents, then run again")
    if os.geteuid() != 0:
        sudo = shutil.which("sudo")
        allowed = sudo and subprocess.run([sudo, "-n", "true"], capture_output=True).returncode == 0
        if not allowed:
            fail(f"missing {', '.join(packages)} and not permitted to install: run 'sudo {command}', then run again")
        prefix = [sudo, "-n"]
    else:
        prefix = []
    print(f"setup: {command}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", *packages]):
        if subprocess.run([*prefix, "apt-get", *arguments], env=environment, stdout=subprocess.DEVNULL).returncode != 0:
            fail(f"'apt-get {' '.join(arguments)}' failed: run 'sudo {command}' by hand, then run again")


def flavour():
    """Which set of wheels this machine takes: macos-arm64, linux-x86_64-cpu, linux-x86_64-cuda or linux-aarch64-cpu."""
    system, machine = platform.system(), platform.machine().replace("amd64", "x86_64")
    if system == "Darwin" and machine == "arm64":
        return "macos-arm64"
    if system == "Linux" and machine in ("x86_64", "aarch64"):
        nvidia = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
        return f"linux-{machine}-{'cuda' if nvidia and machine == 'x86_64' else 'cpu'}"
    fail(f"platform: {system} {machine} has no libtorch {TORCH} wheel (allowed: Linux x86_64 or aarch64, macOS arm64)")


def download(requirements, folder):
    """Fetches the pinned wheels; pip verifies the SHA-256 digests of the requirements file."""
    tag = requirements.stem.rsplit("-", 1)[0]
    platforms = {
        "linux-x86_64": ["manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_25_x86_64", "manylinux_2_18_x86_64", "manylinux_2_17_x86_64",
                         "manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"],
        "linux-aarch64": ["manylinux_2_28_aarch64", "manylinux_2_25_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"],
        "macos": ["macosx_11_0_arm64", "macosx_12_0_arm64", "macosx_14_0_arm64"],
    }[tag]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp", "--abi", "cp311", "--abi", "none", "--abi", "abi3",
               *[f"--platform={name}" for name in platforms], "--require-hashes", "-r", str(requirements), "-d", str(folder)]
    if subprocess.run(command).returncode != 0:
        fail(f"pip could not download {requirements.name} (network, free space in {folder}, or a digest that differs); nothing was installed")


def wanted(name, cuda):
    if name.startswith("torch/include/"):
        return True
    if name.startswith("torch/lib/"):
        base = name.rsplit("/", 1)[1]
        return "python" not in base and (cuda or base.startswith(LEAN) or base.endswith(".dylib"))
    return name.startswith("nvidia/") and ("/lib/" in name)


def provision(kind):
    """Unpacks libtorch into the user's cache once; returns its folder."""
    target = CACHE / f"libtorch-{TORCH}-{kind}"
    if (target / "complete").exists():
        return target / "torch"
    requirements = ROOT / "scripts" / "libtorch" / f"{kind}.txt"
    CACHE.mkdir(parents=True, exist_ok=True)
    print(f"setup: libtorch {TORCH} ({kind}) into {target}", flush=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        wheels, unpacked = Path(scratch) / "wheels", Path(scratch) / "unpacked"
        wheels.mkdir()
        download(requirements, wheels)
        for wheel in sorted(wheels.iterdir()):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(unpacked, [name for name in archive.namelist() if wanted(name, kind.endswith("cuda"))])
            wheel.unlink()
        (unpacked / "complete").write_text("unpacked from verified wheels\n")
        shutil.rmtree(target, ignore_errors=True)
        unpacked.rename(target)
    return target / "torch"


def install():
    install_system_packages()
    if os.environ.get("LIBTORCH"):
        print(f"setup: LIBTORCH is already set to {os.environ['LIBTORCH']}; leaving it")
        return
    folder = provision(flavour())
    if LINK.is_symlink() and LINK.resolve() == folder.resolve():
        return
    if LINK.is_symlink() or LINK.is_file():
        LINK.unlink()
    elif LINK.exists():
        fail(f"{LINK}: a folder stands where the link to libtorch belongs; move it away or set LIBTORCH")
    LINK.symlink_to(folder)


def tool(name, version, *options):
    """The path of a program from crates.io, built into the user's cache once."""
    root = CACHE / "tools" / f"{name}-{version}"
    program = root / "bin" / name
    if not program.exists():
        print(f"setup: {name} {version} into {root}", flush=True)
        command = ["cargo", "install", "--quiet", "--locked", "--root", str(root), f"{name}@{version}", *options]
        environment = {key: value for key, value in os.environ.items() if key != "CARGO_TARGET_DIR"}
        if subprocess.run(command, cwd=CACHE, env=environment).returncode != 0:
            fail(f"{name} {version} could not be installed from crates.io (network, free space in {root})")
    return program


def book():
    """Builds docs/guide with mdbook and its formula preprocessor; any warning is an error."""
    CACHE.mkdir(parents=True, exist_ok=True)
    programs = [tool("mdbook", "0.5.4", "--no-default-features", "--features", "search"), tool("mdbook-katex", "0.10.0")]
    path = os.pathsep.join([*(str(program.parent) for program in programs), os.environ["PATH"]])
    ran = subprocess.run([str(programs[0]), "build", str(ROOT / "docs" / "guide")], env={**os.environ, "PATH": path}, capture_output=True, text=True)
    # The preprocessor's remark about the patch version of mdbook is no fault of the guide.
    faults = [line for line in ran.stderr.splitlines() if ("WARN" in line or "ERROR" in line) and "was built against mdbook" not in line]
    if ran.returncode != 0 or faults:
        fail(f"the guide does not build: {faults[0] if faults else ran.stderr.strip()}")
    built = ROOT / "target" / "book"
    shutil.copytree(ROOT / "docs" / "images", built / "images", dirs_exist_ok=True)
    print(f"setup: the guide is in {built / 'guide' / 'index.html'}")


def deny():
    """Checks licences, bans and sources with cargo-deny; advisories where their database can be had."""
    CACHE.mkdir(parents=True, exist_ok=True)
    program = tool("cargo-deny", "0.20.2")
    if subprocess.run([str(program), "--log-level", "error", "check", "licenses", "bans", "sources"], cwd=ROOT).returncode != 0:
        fail("cargo-deny found the faults above")
    advisories = subprocess.run([str(program), "--log-level", "error", "check", "advisories"], cwd=ROOT, capture_output=True, text=True)
    if "fetch advisory database" in advisories.stderr:
        print("setup: advisories NOT checked: their database cannot be had here")
    elif advisories.returncode != 0:
        fail(f"cargo-deny found advisories:\n{advisories.stderr.strip()}")


def first_line(command):
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip().splitlines()[0]
    except (OSError, IndexError):
        return "not found"


def describe_data():
    sys.path.insert(0, str(ROOT / "scripts"))
    places = [("$PROXFLOW_MNIST", os.environ.get("PROXFLOW_MNIST")), ("data/mnist", ROOT / "data" / "mnist"), ("cache", CACHE / "mnist")]
    for label, place in places:
        if place and any((Path(place) / f"train-images-idx3-ubyte{ending}").exists() for ending in (".gz", "")):
            return f"{place} ({label})"
    return "not found: the first run downloads it, or falls back to the built-in strokes"


def doctor():
    libtorch = Path(os.environ.get("LIBTORCH") or LINK)
    library = libtorch / "lib" / ("libtorch_cpu.dylib" if platform.system() == "Darwin" else "libtorch_cpu.so")
    cuda = (libtorch / "lib" / "libtorch_cuda.so").exists()
    rows = {
        "toolchain": f"{first_line(['cargo', '--version'])}; {first_line(['c++', '--version'])}",
        "python": sys.version.split()[0],
        "libtorch": f"{TORCH} in {libtorch.resolve()} ({'CUDA' if cuda else 'CPU'} build)" if library.exists() else "not found: run 'make setup'",
        "LAPACK": "OpenBLAS" if has_openblas() else "not found: run 'make setup'",
        "device": first_line(["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]) if shutil.which("nvidia-smi")
        else ("Apple GPU (MPS)" if flavour() == "macos-arm64" else f"CPU ({os.cpu_count()} cores); no NVIDIA driver"),
        "data set": describe_data(),
    }
    for name, value in rows.items():
        print(f"{name:10} {value}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("install", "doctor", "book", "deny"))
    {"install": install, "doctor": doctor, "book": book, "deny": deny}[parser.parse_args().action]()

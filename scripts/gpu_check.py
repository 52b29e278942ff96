#!/usr/bin/env python3
"""One call on a machine with a GPU: agreement, resuming, training, speed and pictures, in under nine minutes, as one JSON file.

  gpu_check.py                                  with the programs that `make gpu-check` builds
  gpu_check.py --pack programs.tar.gz           packs them, with the libraries that a bare machine lacks, and stops
  gpu_check.py --binaries programs.tar.gz       on a machine without cargo; libtorch from LIBTORCH, .libtorch or the torch package of --python
  gpu_check.py --device cpu --dry-run           a rehearsal: the same path with small sizes, whose timings mean nothing

Each stage runs as processes of its own within its time limit and within --budget; what fails or does not come in time is recorded and the rest
goes on. Exit 0 when every stage passed, 1 when one failed, 2 on bad input. Standard library only."""
import argparse
import datetime
import json
import os
import platform
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CASES = ("w1w2", "w1", "w2", "none")
# Without both proximals training may diverge, as the paper reports: a finding, not a fault.
MAY_DIVERGE = ("w2", "none")
# Largest relative difference to f64 on the CPU. f32: values are continuous and differ by rounding alone, where TF32 would be seen; slopes jump where a
# mask of one of the samples flips. A shorter format: what bf16 does on the CPU, several times that for bf16 itself; TF32, which no CPU has, has
# three bits more.
BOUNDS = {"f64": 1e-10, "f32": 1e-2}
VALUE_F32, TIMES = 1e-5, {"tf32": 1.0, "bf16": 4.0}
NEEDED = ("mnist", "examples/device_agreement", "examples/seconds_per_step")
OPTIONAL = ("validate",)
# Libraries that every machine has, or that come with libtorch.
LEFT_OUT = ("linux-vdso", "ld-linux", "libc.", "libm.", "libdl.", "librt.", "libutil.", "libpthread.", "libgcc_s", "libstdc++", "libtorch", "libc10",
            "libgomp", "libcup", "libcudart")


def fail(line):
    print(f"gpu_check: {line}", file=sys.stderr)
    sys.exit(2)


class Skipped(Exception):
    """A stage that cannot run here, and why; said loudly, not failed."""


class Runner:
    """Starts programs within the limits and keeps the record."""

    def __init__(self, arguments, libtorch):
        self.arguments, self.start, self.stages, self.deadline = arguments, time.monotonic(), {}, 0.0
        self.small, self.device = arguments.dry_run, arguments.device
        self.environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
        folders = [arguments.binaries / "lib", libtorch / "lib" if libtorch else None, os.environ.get("LD_LIBRARY_PATH")]
        self.environment["LD_LIBRARY_PATH"] = os.pathsep.join(str(folder) for folder in folders if folder)

    def run(self, command, accept=(0,)):
        """Standard output of a command; raises with its last line on failure. Its whole process group ends with the stage."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise RuntimeError("no time left")
        process = subprocess.Popen([str(part) for part in command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env=self.environment, start_new_session=True)
        try:
            out, error = process.communicate(timeout=left)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise RuntimeError(f"{Path(str(command[0])).name} did not end within the stage's time") from None
        if process.returncode not in accept:
            raise RuntimeError((error.strip().splitlines() or ["no message"])[-1] + f" (exit code {process.returncode})")
        return out

    def program(self, name, *options, accept=(0,)):
        return self.run([self.arguments.binaries / name, *options], accept)

    def stage(self, name, limit, work):
        """Records what `work` returns, or why it failed; `passed` is its own verdict where it has one."""
        start = time.monotonic()
        self.deadline = min(start + limit, self.start + self.arguments.budget)
        try:
            found = work()
            entry = {"passed": found.pop("passed", True), **found}
        except Skipped as reason:
            entry = {"passed": True, "skipped": str(reason)}
        except Exception as error:  # whatever a stage meets, the others run
            entry = {"passed": False, "error": f"{type(error).__name__}: {error}"}
        entry["seconds"] = round(time.monotonic() - start, 2)
        self.stages[name] = entry
        verdict = "SKIPPED" if "skipped" in entry else "passed" if entry["passed"] else "FAILED"
        print(f"{name}: {verdict} in {entry['seconds']} s {entry.get('error', entry.get('skipped', ''))}", flush=True)

    def python_has_torch(self):
        return subprocess.run([self.arguments.python, "-c", "import torch"], capture_output=True).returncode == 0


def gpus(runner):
    """Name, driver and memory of the GPUs as nvidia-smi tells them."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = "--query-gpu=name,driver_version,memory.total,memory.used,clocks.sm,power.draw"
    return runner.run(["nvidia-smi", query, "--format=csv,noheader"]).strip().splitlines()


def doctor(runner):
    lines = runner.run([sys.executable, ROOT / "scripts" / "setup.py", "doctor"]).strip().splitlines()
    found = gpus(runner)
    return {"passed": found is not None or runner.device == "cpu", "doctor": lines, "gpus": found,
            "library path": runner.environment["LD_LIBRARY_PATH"]}


def verdict(found):
    """Bounds of every difference, and whether all lie within and the control, another batch, beyond them."""
    formats, bounds = found["formats"], {}
    for name, entry in formats.items():
        if name in BOUNDS:
            bounds[name] = dict.fromkeys(entry["device"], BOUNDS[name])
        else:
            bounds[name] = {key: TIMES[name] * error for key, error in formats["bf16"]["cpu"].items()}
    bounds["f32"]["value"] = VALUE_F32
    passed = all(entry["device"][key] <= bounds[name][key] for name, entry in formats.items() for key in entry["device"])
    # Half precision may not tell two batches apart in every quantity; the others must.
    tells = all(found["control"][key] > bounds[name][key] for name in formats if name != "bf16" for key in found["control"])
    return {"passed": passed and tells, "control beyond the bounds": tells, "bounds": bounds}


def agreement(runner):
    """The CPU against the device on the same draws, in every number format; the parts of a step; memory."""
    found = json.loads(runner.program("examples/device_agreement", runner.device, *((4, 1) if runner.small else (200, 20))))
    return {**verdict(found["relative_difference_to_f64_on_the_cpu"]), **found}


def mnist(runner, out, *options, accept=(0,)):
    sizes = ["--train-size", "60", "--batch", "8", "--critic-steps", "1"] if runner.small else []
    data = [] if os.environ.get("PROXFLOW_MNIST") and not runner.small else ["--dataset", "strokes"]
    if not (out / "checkpoint.safetensors").exists():
        options = ("--preset", "paper", "--seed", "1", *sizes, *data, *options)
    runner.program("mnist", "--device", runner.device, "--threads", "1", "--out", out, *options, accept=accept)
    report = json.loads((out / "report.json").read_text())
    if report["device"].partition(":")[0] != runner.device.partition(":")[0]:
        raise RuntimeError(f"ran on {report['device']}")
    return report


def training(runner, folder, case):
    """Outer steps of a case by the program itself: seconds per step, memory, indicators, a picture of samples."""
    steps, out = 2 if runner.small else 200, folder / f"run-{case}"
    report = mnist(runner, out, "--case", case, "--iterations", steps, "--log-every", 0, accept=(0, 1))
    diverged = report["iterations"] < steps
    kept = []
    if runner.arguments.pictures:
        runner.arguments.pictures.mkdir(parents=True, exist_ok=True)
        for picture in sorted(out.glob("samples*.png"))[-1:]:
            kept.append(str(shutil.copy(picture, runner.arguments.pictures / f"{case}-{picture.name}")))
    keys = ("dataset", "device", "iterations", "stop_reason", "seconds_per_iteration", "peak_memory_mib", "peak_device_memory_mib", "indicators", "commit",
            "libtorch")
    return {"passed": not diverged or case in MAY_DIVERGE, "diverged": diverged, "pictures": kept, **{key: report[key] for key in keys}}


def tensors(path):
    """Names and bytes of the tensors of a safetensors file."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8:8 + length])
    data = content[8 + length:]
    return {name: data[slice(*entry["data_offsets"])] for name, entry in header.items() if name != "__metadata__"}


def resume(runner, folder):
    """A run that stops half-way and goes on beside one that does not: equal tensors, byte for byte, which the half-way ones are not."""
    steps = 2 if runner.small else 10
    straight, halved = folder / "straight", folder / "halved"
    mnist(runner, straight, "--iterations", steps)
    mnist(runner, halved, "--iterations", steps // 2)
    one, control = (tensors(run / "checkpoint.safetensors") for run in (straight, halved))
    mnist(runner, halved, "--resume", "--iterations", steps)
    two = tensors(halved / "checkpoint.safetensors")
    differing = [name for name in one if one[name] != two[name]]
    noticed = any(one[name] != control[name] for name in one)
    return {"passed": one.keys() == two.keys() and not differing and noticed, "differing": differing, "tensors": len(one),
            "half-way tensors differ": noticed, "steps": steps}


def speed(runner):
    """The step beside eager PyTorch and torch.compile on the same device, in turn: median processor and wall-clock seconds of each round."""
    steps, batch = (1, 8) if runner.small else (20, 200)
    ours = [runner.arguments.binaries / "examples" / "seconds_per_step", runner.device, steps, 1, 1]
    peers = ROOT / "scripts" / "peers"
    options = ["--device", runner.device, "--iterations", steps, "--batch", batch]
    sides = {"proxflow f32": ours}
    if runner.device != "cpu":
        sides["proxflow tf32"] = [*ours, "tf32"]
    if runner.small:
        missing = "a rehearsal times no peers" if runner.python_has_torch() else "no torch in --python"
    elif runner.python_has_torch():
        missing = None
        sides["eager f32"] = [runner.arguments.python, peers / "torch_eager.py", *options]
        sides["eager tf32"] = [*sides["eager f32"], "--tf32"]
        sides["compiled tf32"] = [*sides["eager tf32"], "--compile"]
    else:
        missing = "no torch in --python"
    if missing:
        print(f"speed: peers NOT timed: {missing}", flush=True)
    rounds, failures, end = [], {}, runner.deadline
    for index in range(1 if runner.small else 3):
        row = {}
        for name, command in sides.items():
            # What torch.compile compiles takes minutes: once, last in the first round, and no more than its own share of the time.
            if name in failures or (index and name.startswith("compiled")):
                continue
            runner.deadline = min(end, time.monotonic() + (90 if name.startswith("compiled") else 30))
            try:
                row[name] = [float(value) for value in runner.run(command).split()[-2:]]
            except RuntimeError as error:
                failures[name] = str(error)
        rounds.append(row)
    # A peer that breaks is a finding.
    return {"passed": not any(name.startswith("proxflow") for name in failures), "columns": ["processor seconds", "wall seconds"], "rounds": rounds, "failures": failures, "peers not timed": missing}


def claims(runner, folder):
    """The claims that compare libtorch with the oracle, on the CPU and on CUDA where there is one."""
    if not (runner.arguments.binaries / "validate").exists():
        raise Skipped("the program validate was not carried")
    if runner.small:
        raise Skipped("a rehearsal: the claims are CI's own")
    names = ["network_agreement", "objective_agreement", "indicator_agreement"]
    runner.program("validate", "--only", ",".join(names), "--out", folder / "report.html")
    return {"claims": names, "report": json.loads((folder / "report.json").read_text())}


def pack(binaries, target):
    """The programs, stripped, with the shared libraries that a bare machine lacks."""
    with tempfile.TemporaryDirectory() as scratch:
        for name in (*NEEDED, *OPTIONAL):
            place = Path(scratch) / name
            place.parent.mkdir(exist_ok=True)
            shutil.copy(binaries / name, place)
            subprocess.run(["strip", place], check=True)
            for line in subprocess.run(["ldd", place], capture_output=True, text=True, check=True).stdout.splitlines():
                library, _, path = line.strip().partition(" => ")
                path = path.split(" (")[0]
                if path and not library.startswith(LEFT_OUT):
                    (Path(scratch) / "lib").mkdir(exist_ok=True)
                    shutil.copy(path, Path(scratch) / "lib" / library)
        with tarfile.open(target, "w:gz") as archive:
            archive.add(scratch, arcname=".")
    print(f"gpu_check: packed {target}, {target.stat().st_size / 2**20:.0f} MiB")


def find_libtorch(python):
    """The folder of libtorch: LIBTORCH, .libtorch, or the torch package of `python`."""
    for place in (os.environ.get("LIBTORCH"), ROOT / ".libtorch"):
        if place and (Path(place) / "lib").exists():
            return Path(place).resolve()
    code = "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True)
    return Path(found.stdout.strip()) if found.returncode == 0 else None


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:INDEX or cpu")
    parser.add_argument("--dry-run", action="store_true", help="the same path with small sizes")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--binaries", type=Path, default=target / "release", help="folder of mnist, validate and examples/, or a packed file")
    parser.add_argument("--pack", type=Path, metavar="FILE", help="pack the programs into FILE.tar.gz and stop")
    parser.add_argument("--python", default=sys.executable, help="a Python that has torch, for the peers")
    parser.add_argument("--budget", type=float, default=530.0, help="seconds for everything")
    parser.add_argument("--pictures", type=Path, help="keep the sample pictures in this folder")
    parser.add_argument("--out", type=Path, help="the JSON file [default: docs/records/gpu-check-DATE.json; of a dry run gpu-check-dry-run.json beside the programs]")
    arguments = parser.parse_args()
    kind, _, index = arguments.device.partition(":")
    if kind not in ("cpu", "cuda") or (kind == "cpu" and index) or (index and not index.isdigit()):
        fail(f"device: {arguments.device} (allowed: cpu, cuda, cuda:INDEX)")
    if kind == "cpu" and not arguments.dry_run:
        fail("device: cpu (allowed: cuda, cuda:INDEX; cpu with --dry-run)")
    if not 0 < arguments.budget <= 3600:
        fail(f"budget: {arguments.budget} (allowed: > 0, at most 3600 seconds)")
    if not arguments.binaries.exists():
        fail(f"binaries: {arguments.binaries} does not exist (allowed: a folder that `make gpu-check` has built, or a file that --pack wrote)")
    arguments.today = datetime.date.today().isoformat()
    if arguments.out is None:
        arguments.out = target / "gpu-check-dry-run.json" if arguments.dry_run else ROOT / "docs" / "records" / f"gpu-check-{arguments.today}.json"
    return arguments


def check(arguments, folder):
    """Runs all stages in `folder` and returns the record."""
    if arguments.binaries.is_file():
        with tarfile.open(arguments.binaries) as archive:
            archive.extractall(folder / "programs", filter="data")
        arguments.binaries = folder / "programs"
    arguments.binaries = arguments.binaries.resolve()
    absent = [name for name in NEEDED if not (arguments.binaries / name).exists()]
    if absent:
        fail(f"binaries: {arguments.binaries} lacks {', '.join(absent)} (allowed: a folder that `make gpu-check` has built)")
    if arguments.pack:
        return pack(arguments.binaries, arguments.pack)
    runner = Runner(arguments, find_libtorch(arguments.python))
    runner.stage("doctor", 30, lambda: doctor(runner))
    runner.stage("agreement", 90, lambda: agreement(runner))
    runner.stage("resume", 60, lambda: resume(runner, folder))
    for case in CASES[:1] if arguments.dry_run else CASES:
        runner.stage(f"training {case}", 50, lambda case=case: training(runner, folder, case))
    runner.stage("speed", 170, lambda: speed(runner))
    runner.stage("claims", 60, lambda: claims(runner, folder))
    runner.stage("gpus afterwards", 10, lambda: {"gpus": gpus(runner)})
    return {"date": arguments.today, "command": " ".join(sys.argv), "dry_run": arguments.dry_run, "device": arguments.device,
            "machine": platform.platform(), "processors": os.cpu_count(), "load": os.getloadavg()[0],
            "seconds": round(time.monotonic() - runner.start, 1), "passed": all(stage["passed"] for stage in runner.stages.values()),
            "stages": runner.stages}


def main():
    arguments = options()
    with tempfile.TemporaryDirectory() as scratch:
        record = check(arguments, Path(scratch))
    if record is None:
        return
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = arguments.out.with_suffix(".part")
    temporary.write_text(json.dumps(record, indent=1) + "\n")
    temporary.replace(arguments.out)
    print(f"gpu_check: {'passed' if record['passed'] else 'FAILED'} in {record['seconds']} s, written to {arguments.out}")
    sys.exit(0 if record["passed"] else 1)


if __name__ == "__main__":
    main()

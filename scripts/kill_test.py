"""Kills trainings at random moments and compares what the resumed runs end with against an uninterrupted one.

    python3 scripts/kill_test.py --mnist target/release/mnist --kills 50 [--seed 1] [--iterations 12] [--json FILE]

Every run is killed (SIGKILL) up to five times, at moments drawn uniformly over the time that the rest of the run may take, then
continued to its end. A run holds when every tensor of its checkpoint, the whole checkpoint file and every row of metrics.csv are
equal to those of the uninterrupted run, and no temporary file or lock is left. Python's standard library alone.
"""

import argparse
import json
import os
import pathlib
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time

OPTIONS = ["--preset", "paper", "--dataset", "strokes", "--train-size", "60", "--batch", "4", "--critic-steps", "1", "--threads", "1",
           "--checkpoint-every", "1", "--log-every", "4", "--sample-every", "5"]


def tensors(path):
    """Name to bytes of a safetensors file, read by its format alone."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    body = data[8 + length:]
    return {name: (entry["dtype"], entry["shape"], body[slice(*entry["data_offsets"])])
            for name, entry in header.items() if name != "__metadata__"}


def command(mnist, run, iterations):
    """Start anew where nothing is left of the run, else resume."""
    if (run / "config.toml").exists():
        return [mnist, "--out", str(run), "--resume", "--iterations", str(iterations)]
    return [mnist, *OPTIONS, "--out", str(run), "--iterations", str(iterations)]


def phase(run):
    """What the kill left."""
    if not run.exists():
        return "before the folder"
    if not (run / "config.toml").exists():
        return "before config.toml"
    if not (run / "checkpoint.safetensors").exists():
        return "before the first checkpoint"
    if (run / "run.lock").exists():
        return "during the run"
    return "after the end"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", default="target/release/mnist")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--iterations", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        whole = folder / "whole"
        begin = time.monotonic()
        subprocess.run(command(arguments.mnist, whole, arguments.iterations), check=True, stderr=subprocess.DEVNULL)
        length = time.monotonic() - begin
        expected, metrics = tensors(whole / "checkpoint.safetensors"), (whole / "metrics.csv").read_bytes()
        phases, kills, runs, unfinished, failures = {}, 0, 0, 0, []
        while kills < arguments.kills:
            runs += 1
            run = folder / f"run-{runs}"
            for _ in range(min(5, arguments.kills - kills)):
                child = subprocess.Popen(command(arguments.mnist, run, arguments.iterations), stderr=subprocess.DEVNULL)
                time.sleep(generator.uniform(0.0, length))
                if child.poll() is not None:
                    break  # It had ended before the moment came: no kill.
                os.kill(child.pid, signal.SIGKILL)
                child.wait()
                kills += 1
                left = phase(run)
                phases[left] = phases.get(left, 0) + 1
                unfinished += len(list(run.glob(".tmp*"))) if run.exists() else 0
            last = subprocess.run(command(arguments.mnist, run, arguments.iterations), stderr=subprocess.PIPE, text=True)
            if last.returncode != 0:
                failures.append(f"run {runs}: exit {last.returncode}: {last.stderr.strip()}")
                continue
            found = tensors(run / "checkpoint.safetensors")
            different = [name for name in expected if found.get(name) != expected[name]]
            if different or found.keys() != expected.keys():
                failures.append(f"run {runs}: tensors differ: {different}")
            if (run / "checkpoint.safetensors").read_bytes() != (whole / "checkpoint.safetensors").read_bytes():
                failures.append(f"run {runs}: the checkpoint files differ")
            if (run / "metrics.csv").read_bytes() != metrics:
                failures.append(f"run {runs}: metrics.csv differs")
            left = [path.name for path in run.iterdir() if path.name.startswith(".tmp") or path.name == "run.lock"]
            if left:
                failures.append(f"run {runs}: left behind: {left}")
        result = {"kills": kills, "runs": runs, "iterations": arguments.iterations, "tensors": len(expected),
                  "seed": arguments.seed, "uninterrupted_seconds": round(length, 2),
                  "found_after_kills": phases, "unfinished_files_removed": unfinished, "failures": failures,
                  "seconds": round(time.monotonic() - started, 1)}
    print(json.dumps(result, indent=2))
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(result, indent=2) + "\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

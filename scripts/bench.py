#!/usr/bin/env python3
"""One table: this project beside named peers, timed in the same run on the same machine.

Peers live in a throwaway environment (.venv/bench): PyTorch for the training step; POT and Clarabel for the certified divergence."""
import argparse
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv" / "bench"
PINNED = ["torch==2.11.0", "numpy==2.2.6", "scipy==1.15.3", "POT==0.9.6.post1", "clarabel==0.11.1"]


def environment():
    """Python of the peers' environment, made once."""
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / "complete").exists():
        print("bench: installing the peers into", ENVIRONMENT.relative_to(ROOT), flush=True)
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PINNED], check=True)
        (ENVIRONMENT / "complete").touch()
    return python


def timed(command):
    """The last two numbers that a command prints, processor and wall-clock seconds, and its peak memory in MiB."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    unit = 1024**2 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    processor, wall = map(float, text.split()[-2:])
    return processor, wall, usage.ru_maxrss / unit


def median(values):
    return sorted(values)[len(values) // 2]


def training_step(python, device, rounds, threads, steps, loads):
    """One table: seconds per outer step of ours and the peer's in turn, alone and beside busy processes."""
    subprocess.run(["cargo", "build", "--release", "-q", "-p", "proxflow-gpu", "--example", "seconds_per_step"], cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    ours = [str(target / "release" / "examples" / "seconds_per_step"), device, str(steps), str(threads)]
    peer = [str(python), str(ROOT / "scripts" / "peers" / "torch_eager.py"), "--device", device, "--iterations", str(steps), "--threads", str(threads)]
    print(f"\ntraining step, published MNIST set-up, {device}, {threads} threads of {os.cpu_count()} cores, medians of {steps} steps, {rounds} rounds")
    print(f"{'busy':>5}{'load':>6}{'round':>6} | {'proxflow cpu s':>15}{'wall s':>8}{'MiB':>7} | {'eager cpu s':>12}{'wall s':>8}{'MiB':>7} | {'cpu ratio':>10}{'wall ratio':>11}")
    for busy in loads:
        burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
        try:
            pairs = []
            for index in range(rounds):
                load = os.getloadavg()[0]
                pairs.append((timed(ours), timed(peer)))
                mine, theirs = pairs[-1]
                print(f"{busy:>5}{load:>6.1f}{index:>6} | {mine[0]:>15.3f}{mine[1]:>8.3f}{mine[2]:>7.0f} | {theirs[0]:>12.3f}{theirs[1]:>8.3f}{theirs[2]:>7.0f}"
                      f" | {theirs[0] / mine[0]:>10.2f}{theirs[1] / mine[1]:>11.2f}", flush=True)
        finally:
            for burner in burners:
                burner.kill()
                burner.wait()
        for name, column in (("cpu", 0), ("wall", 1)):
            ratios = sorted(theirs[column] / mine[column] for mine, theirs in pairs)
            print(f"{busy} busy processes: median {name} ratio {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--loads", default="0", help="numbers of busy processes beside the step, as in 0,8")
    parser.add_argument("--python", help="a Python that has the peers already")
    parser.add_argument("--only", choices=("training", "oracle"))
    arguments = parser.parse_args()
    python = arguments.python or environment()
    if arguments.only != "oracle":
        training_step(python, arguments.device, arguments.rounds, arguments.threads, arguments.steps, [int(busy) for busy in arguments.loads.split(",")])
    if arguments.only != "training":
        oracle = ROOT / "scripts" / "peers.py"
        if subprocess.run([python, oracle], cwd=ROOT).returncode != 0:
            sys.exit("bench: the oracle's table failed")

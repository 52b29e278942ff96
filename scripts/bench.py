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
    """The last number that a command prints, and its peak memory in MiB."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    unit = 1024**2 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    return float(text.split()[-1]), usage.ru_maxrss / unit


def training_step(python, device, rounds):
    """Median seconds per outer step and peak memory, ours and the peer's in turn."""
    subprocess.run(["cargo", "build", "--release", "-q", "-p", "proxflow-gpu", "--example", "seconds_per_step"], cwd=ROOT, check=True)
    ours = [str(ROOT / "target" / "release" / "examples" / "seconds_per_step"), device, "8"]
    peer = [str(python), str(ROOT / "scripts" / "peers" / "torch_eager.py"), "--device", device, "--iterations", "8"]
    pairs = [(timed(ours), timed(peer)) for _ in range(rounds)]
    print(f"\ntraining step, published MNIST set-up, {device}, {os.cpu_count()} cores, {rounds} rounds")
    print(f"{'round':>6}{'proxflow s/step':>17}{'MiB':>7}{'PyTorch eager s/step':>22}{'MiB':>7}{'ratio':>7}")
    for index, ((mine, memory), (theirs, their_memory)) in enumerate(pairs):
        print(f"{index:>6}{mine:>17.3f}{memory:>7.0f}{theirs:>22.3f}{their_memory:>7.0f}{theirs / mine:>7.2f}")
    ratios = sorted(theirs / mine for (mine, _), (theirs, _) in pairs)
    print(f"median ratio {ratios[len(ratios) // 2]:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("training", "oracle"))
    arguments = parser.parse_args()
    python = environment()
    if arguments.only != "oracle":
        training_step(python, arguments.device, arguments.rounds)
    if arguments.only != "training":
        oracle = ROOT / "scripts" / "peers.py"
        if subprocess.run([python, oracle], cwd=ROOT).returncode != 0:
            sys.exit("bench: the oracle's table failed")

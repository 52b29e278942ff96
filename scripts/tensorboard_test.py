"""Reads the event file of a short training back by TensorBoard itself and compares it with metrics.csv.

    python3 scripts/tensorboard_test.py [--mnist target/release/mnist]

TensorBoard is installed from PyPI into a virtual environment of its own under target/, once.
"""

import argparse
import csv
import math
import pathlib
import subprocess
import sys
import tempfile
import venv

VERSION = "tensorboard==2.21.0"
READER = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
accumulator = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0}).Reload()
print(json.dumps({tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]}))
"""


def environment():
    folder = pathlib.Path(__file__).resolve().parent.parent / "target" / "tensorboard"
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", VERSION, "setuptools<81"], check=True)
    return python


def main():
    import json
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", default="target/release/mnist")
    arguments = parser.parse_args()
    python = environment()
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder) / "run"
        common = ["--out", str(run), "--log-every", "1"]
        small = ["--preset", "paper", "--dataset", "strokes", "--train-size", "60", "--batch", "4", "--critic-steps", "1", "--threads", "1"]
        subprocess.run([arguments.mnist, *common, *small, "--iterations", "3"], check=True, stderr=subprocess.DEVNULL)
        subprocess.run([arguments.mnist, *common, "--resume", "--iterations", "5"], check=True, stderr=subprocess.DEVNULL)
        output = subprocess.run([python, "-c", READER, str(run)], check=True, capture_output=True, text=True)
        found = json.loads(output.stdout)
        with open(run / "metrics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
    compared = 0
    for tag in [name for name in rows[0] if name != "iteration"]:
        expected = [(int(row["iteration"]), float(row[tag])) for row in rows if math.isfinite(float(row[tag]))]
        got = found.get(tag, [])
        assert [step for step, _ in got] == [step for step, _ in expected], (tag, got, expected)
        for (_, value), (_, other) in zip(got, expected):
            # Events hold single precision.
            assert abs(value - other) <= 1e-6 * abs(other), (tag, value, other)
            compared += 1
    assert compared >= 5 * 30, compared
    print(f"TensorBoard reads {len(found)} tags, {compared} values, all equal to metrics.csv")


if __name__ == "__main__":
    sys.exit(main())

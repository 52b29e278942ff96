#!/usr/bin/env python3
"""Random command lines for every program: options from its own --help, values and files that are extreme, damaged or absurd.

    python3 scripts/random_hostile.py --bin target/release [--runs 2000] [--seed 1] [--programs certify,torus,validate,mnist]

The matrix of tests/hostile says what each row must come to; this looks for rows that nobody thought of. Every run must end within 20 s
with exit code 0, 1 or 2 and no panic; 1 and 2 with one printable line of at most 300 characters; 2 leaves nothing behind; 0 prints no NaN and
no infinity, and its bounds are in order; inputs stay as they were. Standard library alone.
"""

import argparse
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile

TASKS = {
    "certify": ["divergence", "proximal", "potential", "wasserstein", "transport", "illustrate"],
    "torus": ["solve"],
    "mnist": ["train", "sample", "evaluate", "export"],
    "validate": [""],
}
NUMBERS = ["0", "-0", "1", "2", "-1", "0.5", "1e-300", "5e-324", "1e300", "1.7976931348623157e308", "1e308", "nan", "inf", "-inf", "1e-15", "1e15",
           "3", "7", "8", "64", "1000000000000", "18446744073709551615", "18446744073709551616", "1e-17", "1e17", "1.0000000000000002", "", "abc", "1e",
           "0x10", "1_000", "+5", "5,40", "40,5", "5,5", "5,", "1e-160", "1e160"]
PLAUSIBLE = ["1", "2", "0.5", "1e-3", "1e3", "1e-8", "1e8", "1e-12", "4", "kl", "js", "chi2", "alpha:3", "priced"]
NAMES = ["kl", "reverse-kl", "chi2", "js", "hellinger", "alpha:0.5", "alpha:1", "alpha:0", "alpha:-1", "alpha:nan", "alpha:1e-320", "alpha:1e-15", "alpha:2",
         "alpha:1.0000000000000002", "alpha:1e308", "alpha:300", "alpha:", "static", "dual", "pde", "forbidden", "priced", "uniform", "gaussian", "w1w2",
         "none", "linear:3", "cosine:0", "ci", "normal", "uniform:0,1", "uniform:1,0", "uniform:nan,1", "cpu", "cuda:9", "strokes", "mnist", "auto", "\u00e9\u4e2d",
         "a\x1b[31mb", "-", "--", "/", ".", "x" * 400]


def npy(descr, shape, data, order=False):
    header = f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def doubles(shape, values):
    return npy("<f8", shape, struct.pack(f"<{len(values)}d", *values))


def inputs(folder, generator):
    """Arrays of every rank with numbers of every size, some of them damaged."""
    extreme = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-300, 5e-324, 1e300, 1.7e308, -1.7e308, 1e-160, 1e160, 3.0, 1e-8, 1e8, 1.0 + 2**-52]
    number = 0
    for _ in range(60):
        rank = generator.choice([1, 1, 2, 2, 2, 3])
        shape = tuple(generator.choice([1, 2, 3, 5, 8]) for _ in range(rank))
        size = 1
        for n in shape:
            size *= n
        kind = generator.random()
        if kind < 0.35:
            values = [generator.uniform(-1, 1) for _ in range(size)]
        elif kind < 0.5:
            values = [1 / size] * size
        elif kind < 0.6:
            masses = [10 ** generator.uniform(-300, 0) for _ in range(size)]
            values = [mass / sum(masses) for mass in masses]
        elif kind < 0.85:
            values = [generator.choice(extreme) for _ in range(size)]
        else:
            values = [generator.choice([*extreme, float("nan"), float("inf")]) for _ in range(size)]
        bytes_ = doubles(f"({','.join(map(str, shape))},)", values)
        if generator.random() < 0.15:
            at = generator.randrange(len(bytes_))
            bytes_ = bytes_[:at] + bytes([generator.randrange(256)]) + bytes_[at + 1 :]
        if generator.random() < 0.05:
            bytes_ = bytes_[: generator.randrange(len(bytes_))]
        (folder / f"r{number}.npy").write_bytes(bytes_)
        number += 1
    grid = [generator.uniform(0.1, 1) for _ in range(64)]
    (folder / "density.npy").write_bytes(doubles("(64,)", [g / sum(grid) for g in grid]))
    square = [generator.uniform(0.1, 1) for _ in range(64)]
    (folder / "density2.npy").write_bytes(doubles("(8, 8)", [g / sum(square) for g in square]))
    (folder / "empty").write_bytes(b"")
    (folder / "text.toml").write_text("iterations = 1\n[training]\nbatch = 'x'\n")
    (folder / "folder").mkdir()
    os.symlink("/dev/zero", folder / "zero")
    os.symlink("nowhere", folder / "dangling")


def options(program, task):
    """`--name` and its value's name, from the help."""
    text = subprocess.run([program, *([task] if task else []), "--help"], capture_output=True, text=True).stdout
    return [(name, value or "") for name, value in re.findall(r"^\s+(?:-\w, )?(--[a-z][a-z0-9-]*)(?: <([^>]+)>)?", text, flags=re.M) if name != "--help"]


def value(generator, name, kind, files):
    if name in ("--grid", "--dim"):
        return generator.choice(["1", "2", "8", "8", "16", "64", "0", "-1", "100000", *generator.sample(NUMBERS, 2)])
    if "FILE" in kind or "DIR" in kind or name in ("--out", "--json", "--checkpoint", "--trajectories", "--data", "--source", "--target", "--document", "--config"):
        outward = name in ("--out", "--json", "--potential", "--plan", "--intermediate", "--endpoints", "--values", "--gradients", "--density", "--npy", "--png",
                           "--hub", "--document", "--report")
        if outward:
            return generator.choice(["out1", "out2", "-", "absent/x", "/dev/full", "/dev/null", "in/folder", "in/dangling", "out.html", "out.npy", "INPUT"])
        return generator.choice([f"in/{generator.choice(files)}"] * 12 + ["absent", "in/folder", "in/zero", "/dev/null", generator.choice(NAMES)])
    if generator.random() < 0.4:
        return generator.choice(PLAUSIBLE)
    return generator.choice([*NUMBERS, *NAMES] if generator.random() < 0.3 else (NUMBERS if generator.random() < 0.6 else NAMES))


REQUIRED = {"divergence": ["--model", "--data"], "proximal": ["--source", "--data"], "potential": ["--model", "--data", "--at", "--values"],
            "wasserstein": ["--model", "--data"], "transport": ["--cost"], "sample": ["--checkpoint", "--npy"], "evaluate": ["--checkpoint"],
            "export": ["--checkpoint", "--hub"]}
# So that what is accepted ends soon.
SMALL = {"train": ["--dataset", "strokes", "--train-size", "8", "--batch", "2", "--iterations", "0", "--out", "run", "--threads", "1"],
         "evaluate": ["--dataset", "strokes", "--samples", "4", "--steps", "2"], "": ["--only", "none"],
         "solve": ["--grid", "16", "--dim", "1"]}


def command_line(generator, program, task, known, files):
    share = generator.choice([0.3, 1.0, 2.5])
    chosen = [(name, kind) for name, kind in known if name in REQUIRED.get(task, []) or generator.random() < share / max(4, len(known))]
    words = [program, *([task] if task else [])]
    names = {name for name, _ in chosen}
    small = SMALL.get(task, [])
    for name, default in zip(small[::2], small[1::2]):
        if name not in names or generator.random() < 0.5:
            chosen = [pair for pair in chosen if pair[0] != name]
            words += [name, default]
    for name, kind in chosen:
        words.append(name)
        if kind:
            words.append(value(generator, name, kind, files))
    # An output over one of the inputs, which must be refused; over another file it would be right.
    read = [word for word in words if word.startswith("in/r")]
    words = [(generator.choice(read) if read else "out3") if word == "INPUT" else word for word in words]
    if generator.random() < 0.5 and "--json" not in words and any(name == "--json" for name, _ in known):
        words += ["--json", "-"]
    return words


def state(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else "" for path in folder.iterdir()}


def judge(words, ran, place):
    error = ran.stderr.decode(errors="replace")
    output = ran.stdout.decode(errors="replace")
    if ran.returncode not in (0, 1, 2):
        return f"exit {ran.returncode}: {error[-400:]}"
    if "panicked" in error:
        return f"panic: {error[:400]}"
    name = pathlib.Path(words[0]).name
    lines = [line for line in error.splitlines() if not line.startswith(("data: ", "note: ", "run: ", "done: "))]
    if ran.returncode != 0:
        if len(lines) != 1 or not lines[0].startswith(f"{name}: ") or len(lines[0]) > 300 or any(ord(c) < 32 or ord(c) == 127 for c in lines[0]):
            return f"exit {ran.returncode}, {len(lines)} lines: {error[:500]!r}"
        if ran.returncode == 2 and "allowed" not in lines[0] and "--help" not in lines[0]:
            return f"does not say what is allowed: {lines[0]}"
    if ran.returncode == 2:
        left = [path.name for path in place.iterdir() if path.name != "in"]
        # A device that turns out to be full takes none of the other outputs with it.
        if left and "/dev/full" not in words:
            return f"a refusal leaves {left}: {lines}"
    if any(path.name.startswith(".tmp") for path in place.rglob("*")):
        return "a temporary file stays"
    if ran.returncode == 0 and not {"--help", "--list"} & set(words):
        if re.search(r"(?<![\w.-])-?(nan|inf|infinity)(?![\w:.])", output, flags=re.I):
            return f"prints NaN or infinity: {output[:400]}"
        try:
            report = json.loads(output)
        except ValueError:
            report = {}
        lower, upper = (report.get("lower"), report.get("upper")) if isinstance(report, dict) else (None, None)
        if isinstance(report, dict) and "lower" in report:
            if not (isinstance(lower, (int, float)) and isinstance(upper, (int, float)) and lower <= upper + 1e-9 * (1 + abs(upper))):
                return f"bounds {lower}, {upper}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="target/release")
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--programs", default="certify,torus,validate,mnist")
    parser.add_argument("--checkpoint", help="a checkpoint that is put beside the other inputs")
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    binaries = pathlib.Path(arguments.bin).resolve()
    tasks = [(str(binaries / program), task) for program in arguments.programs.split(",") for task in TASKS[program]]
    known = {pair: options(*pair) for pair in tasks}
    counts, faults, slowest = {}, [], (0.0, "")
    import time

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        shared = folder / "in"
        shared.mkdir()
        inputs(shared, generator)
        if arguments.checkpoint:
            shutil.copy(arguments.checkpoint, shared / "whole.safetensors")
        files = sorted(path.name for path in shared.iterdir() if path.is_file() or path.is_symlink())
        if arguments.checkpoint:
            files += ["whole.safetensors"] * (len(files) // 2)
        before = state(shared)
        environment = {key: text for key, text in os.environ.items() if key != "PROXFLOW_MNIST"} | {"OPENBLAS_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
        for number in range(arguments.runs):
            program, task = pair = generator.choice(tasks)
            words = command_line(generator, program, task, known[pair], files)
            place = folder / f"run-{number}"
            place.mkdir()
            (place / "in").symlink_to(shared)
            begin = time.monotonic()
            limited = ["sh", "-c", "ulimit -v 8388608; exec \"$0\" \"$@\"", *[word.replace("\0", "") for word in words]]
            try:
                ran = subprocess.run(limited, cwd=place, capture_output=True, timeout=60, env=environment, stdin=subprocess.DEVNULL)
                fault = judge(words, ran, place)
                code = ran.returncode
            except subprocess.TimeoutExpired:
                fault, code = "longer than 60 s", "timeout"
            spent = time.monotonic() - begin
            slowest = max(slowest, (spent, " ".join(words[1:])))
            counts[code] = counts.get(code, 0) + 1
            after = state(shared)
            if after != before:
                changed = [name for name in after.keys() | before.keys() if after.get(name) != before.get(name)]
                fault, before = f"inputs changed: {changed}", after
            if fault:
                faults.append((words, fault))
                print(f"{pathlib.Path(words[0]).name} {words[1:]}\n    {fault}", flush=True)
            shutil.rmtree(place, ignore_errors=True)
    print(json.dumps({"runs": arguments.runs, "seed": arguments.seed, "exit codes": counts, "faults": len(faults), "slowest": [round(slowest[0], 1), slowest[1]]}, default=str))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

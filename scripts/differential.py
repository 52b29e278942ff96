#!/usr/bin/env python3
"""Random .npy, .npz and .safetensors files, read by Python and by the commands' reader: equal bit for bit.

    python3 scripts/differential.py [--files 3000] [--seed 1]

Runs itself in an environment with numpy and safetensors (made once under target/, from the package index), writes the files with what
Python reads beside them, then calls `cargo test -p proxflow-io --test differential`. Files that hold what f64 cannot (complex numbers,
text, objects, structures) must be refused.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
REQUIREMENTS = ["numpy==2.2.6", "safetensors==0.6.2", "ml_dtypes==0.5.3"]


def environment():
    folder = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "differential-python"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS], check=True)
        (folder / "complete").touch()
    return python


def write(folder, files, seed):
    import ml_dtypes
    import numpy
    from safetensors import safe_open
    from safetensors.numpy import save_file

    generator = numpy.random.default_rng(seed)
    kinds = ["<f8", ">f8", "<f4", ">f4", "<f2", ">f2", "|i1", "|u1", "<i2", ">i2", "<u2", ">u4", "<i4", "<u4", "<i8", ">i8", "<u8", "|b1"]
    lines = []

    def random_array(kind):
        shape = tuple(int(n) for n in generator.integers(0, 5, size=generator.integers(0, 5)))
        kind = numpy.dtype(kind)
        size = int(numpy.prod(shape, dtype=int))
        if kind.kind == "f":
            # Every bit pattern: denormals, infinities, NaN.
            array = numpy.frombuffer(generator.bytes(size * kind.itemsize), dtype=kind).reshape(shape)
        elif kind.kind == "b":
            array = generator.integers(0, 2, size=shape).astype(kind)
        else:
            bits = min(8 * kind.itemsize - (kind.kind == "i"), 53)
            low = -(2**bits) + 1 if kind.kind == "i" else 0
            array = generator.integers(low, 2**bits, size=shape).astype(kind)
        return numpy.asfortranarray(array) if generator.random() < 0.3 else array

    def expect(name, member, array):
        wide = numpy.ascontiguousarray(array).astype("<f8").reshape(array.shape)
        expected = f"expected-{len(lines)}"
        (folder / expected).write_bytes(wide.tobytes())
        lines.append(f"{name}\t{member}\t{','.join(map(str, array.shape))},\t{expected}")

    for number in range(files):
        pick = generator.integers(0, 10)
        if pick < 4:
            name = f"{number}.npy"
            with open(folder / name, "wb") as file:
                version = [None, (1, 0), (2, 0), (3, 0)][generator.integers(0, 4)]
                numpy.lib.format.write_array(file, random_array(kinds[generator.integers(0, len(kinds))]), version=version)
            expect(name, "", numpy.load(folder / name))
        elif pick < 7:
            name = f"{number}.npz"
            members = {f"m{k}": random_array(kinds[generator.integers(0, len(kinds))]) for k in range(generator.integers(1, 4))}
            (numpy.savez_compressed if generator.random() < 0.5 else numpy.savez)(folder / name, **members)
            with numpy.load(folder / name) as read:
                for member in read.files:
                    expect(name, member, read[member])
        elif pick < 9:
            name = f"{number}.safetensors"
            single = ["<f8", "<f4", "<f2", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "|b1"]
            members = {f"m{k}": numpy.ascontiguousarray(random_array(single[generator.integers(0, len(single))])) for k in range(generator.integers(1, 4))}
            if generator.random() < 0.5:
                members["brain"] = numpy.frombuffer(generator.bytes(12), dtype=ml_dtypes.bfloat16).reshape(2, 3)
            save_file(members, folder / name)
            with safe_open(folder / name, framework="numpy") as read:
                for member in read.keys():
                    expect(name, member, read.get_tensor(member))
        else:
            name = f"{number}.npy"
            array = [numpy.zeros(2, "<c16"), numpy.array(["a", "bc"]), numpy.zeros(1, [("x", "<f8")]), numpy.zeros(2, "<M8[s]"),
                     numpy.array([2**63 - 1], "<i8"), numpy.zeros(2, "S3"), numpy.array([None], object)][generator.integers(0, 7)]
            numpy.save(folder / name, array, allow_pickle=True)
            lines.append(f"{name}\t\trefused\t")
    (folder / "list.tsv").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=pathlib.Path, help="only write the files into this folder (with numpy at hand)")
    arguments = parser.parse_args()
    if arguments.write:
        write(arguments.write, arguments.files, arguments.seed)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([environment(), __file__, "--write", folder, "--files", str(arguments.files), "--seed", str(arguments.seed)], check=True)
        command = ["cargo", "test", "--release", "--package", "proxflow-io", "--test", "differential", "--", "--nocapture"]
        return subprocess.run(command, cwd=ROOT, env=os.environ | {"PROXFLOW_DIFFERENTIAL": folder}).returncode


if __name__ == "__main__":
    sys.exit(main())
